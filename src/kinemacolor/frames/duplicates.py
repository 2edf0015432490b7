"""Frames that look alike, told by a perceptual hash, and how many of them stand on both sides of a split.

The hash is 64 bits: the signs, against their median, of the lowest 8 by 8 cosines of L* reduced to 32 by 32, without the mean.
Noise, a codec, another size or another brightness change a few of them. Since a hash knows no colour and makes much of the
little that a plain picture has, two frames are alike only if small pictures of both (L* 8 by 8, a and b 4 by 4) are too.

Pairs are found through four tables of 16 bits: two hashes that differ by 7 bits or fewer agree in one of the four quarters
but for one bit. Memory and time grow with the frames and not with their pairs (a menu that stands for an hour has millions),
which is why frames are counted that have a double, and not pairs. Where hundreds of frames have nearly the same hash and other
colours, the last of them alone are compared: a double may be missed, and time stays linear. Hash after Zauner's survey of
perceptual hashes (2010), tables after Norouzi, Punjani and Fleet, Fast Search in Hamming Space (2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_BITS = 7
"""Bits by which hashes of frames that are alike may differ at most."""
MANY = 0.05
"""Share of a part's frames with a double above which it is called high."""


@dataclass(frozen=True)
class Prints:
    """What is kept of each frame to compare it by: 104 bytes.

    Attributes:
        hashes: (N,) uint64.
        small: (N,96) uint8: L* 8 by 8 in steps of .4, then a and b 4 by 4 in steps of 1 from -128.
    """

    hashes: np.ndarray
    small: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> Prints:
        return Prints(self.hashes[rows], self.small[rows])

    def __setitem__(self, rows: np.ndarray | slice, prints: Prints) -> None:
        self.hashes[rows], self.small[rows] = prints.hashes, prints.small


def prints_of(lab: np.ndarray) -> Prints:
    """Hash frames: Lab float32 (N,3,H,W), at least 8 by 8 pixels."""
    from kinemacolor.compiled import in_slabs
    from kinemacolor.frames import duplicate_kernels as kernels
    from kinemacolor.frames.grey import threads

    hashes, small = np.zeros(len(lab), np.uint64), np.zeros((len(lab), 96), np.uint8)
    lab = np.ascontiguousarray(lab)
    in_slabs(lambda begin, end: kernels.prints(lab, hashes, small, begin, end), len(lab), slab=32, threads=threads())
    return Prints(hashes, small)


def empty_prints(number: int) -> Prints:
    """Room for the prints of so many frames."""
    return Prints(np.zeros(number, np.uint64), np.zeros((number, 96), np.uint8))


def joined(parts: list[Prints]) -> Prints:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    return Prints(
        np.concatenate([np.zeros(0, np.uint64), *(part.hashes for part in parts)]),
        np.concatenate([np.zeros((0, 96), np.uint8), *(part.small for part in parts)]),
    )


def repeats(prints: Prints, *, bits: int) -> np.ndarray:
    """Say which frames look like one before them that is no repeat itself: (N,) bool.

    Args:
        prints: of frames of one source, in order.
        bits: by how many of 64 the hashes may differ, 0 to MOST_BITS.
    """
    from kinemacolor.frames import duplicate_kernels as kernels

    found = np.zeros(len(prints.hashes), bool)
    heads, following = _tables(len(found))
    kernels.repeats(prints.hashes, prints.small, _checked(bits), heads, following, found)
    return found


def doubles(
    known: Prints,
    known_source: np.ndarray,
    asked: Prints,
    asked_source: np.ndarray,
    *,
    bits: int,
    among: np.ndarray | None = None,
) -> np.ndarray:
    """For each frame that is asked of, whether one that is known looks like it.

    Args:
        known, asked: frames of two sides of a split.
        known_source, asked_source: the number of each frame's source, integers.
        bits: by how many of 64 the hashes may differ, 0 to MOST_BITS.
        among: (N,) bool, those of the known ones that are meant; None means all.

    Returns:
        (N,) int8, of the asked ones: 0 none, 1 in another source only, 2 in its own source.
    """
    from kinemacolor.frames import duplicate_kernels as kernels

    found = np.zeros(len(asked.hashes), np.int8)
    heads, following = _tables(len(known.hashes))
    kernels.fill(known.hashes, np.ones(len(known.hashes), bool) if among is None else among, heads, following)
    sides = ((known, known_source), (asked, asked_source))
    arrays = [array for side, source in sides for array in (side.hashes, side.small, np.ascontiguousarray(source, np.int64))]
    kernels.doubles(*arrays, _checked(bits), heads, following, found)
    return found


def _tables(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each quarter and value the first frame, and of each frame the next with that value; -1 where there is none."""
    return np.full((4, 1 << 16), -1, np.int32), np.full((4, number), -1, np.int32)


def _checked(bits: int) -> int:
    if not 0 <= bits <= MOST_BITS:
        raise ValueError(f"{bits} bits: 0 to {MOST_BITS} can be looked for")
    return bits
