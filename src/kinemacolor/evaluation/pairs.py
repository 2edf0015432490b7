"""Two films, or two folders of pictures, as pairs of what was coloured and what is true.

Frames of films are paired by their number and pictures by their name, never by their place in a list. One pair lies in memory
at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from kinemacolor.errors import UserError
from kinemacolor.media.decode import Picture, decode
from kinemacolor.media.pictures import BrokenPicture, decode_picture, quietly
from kinemacolor.media.probe import Probe, probe, truncated

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})


class Pair(NamedTuple):
    """One frame, coloured and true."""

    number: int
    """Of a film's frame, as a full decode counts it; of a picture, its place in the order of names."""
    time: float
    """Seconds of the true film; 0 for pictures."""
    name: str
    """Of a picture; empty for films."""
    predicted: np.ndarray
    """(H,W,3) uint8 RGB."""
    true: np.ndarray
    """The same size."""
    follows: bool
    """It is the next frame of the film that the pair before is of."""


def open_pairs(
    predicted: Path, truth: Path, *, size: tuple[int, int] | None = None, allow_truncated: bool = False
) -> tuple[Iterator[Pair], int | None]:
    """The pairs of two videos of equally many frames, or of two folders of pictures with the same names.

    Pictures whose names differ in nothing but a number that is one more (shot_0041.png, shot_0042.png) follow on each other as
    the frames of a film; whether a shot ends between them is for a detector to say. Others stand alone.

    Args:
        size: (height, width) to which both are brought, by area averaging; their own, equal sizes if None.
        allow_truncated: of videos that end too early, or are damaged, take the frames that both have.

    Returns:
        The pairs in order, and how many there are (None if only the end will tell).

    Raises:
        UserError: a file or folder is missing, the two are not of one kind, or frame counts, names or sizes differ.
    """
    for path in (predicted, truth):
        if not path.exists():
            raise UserError(f"{path} is missing: name two videos or two folders of pictures.")
    if predicted.is_dir() != truth.is_dir():
        raise UserError(f"{predicted} and {truth} are not of one kind: name two videos or two folders of pictures.")
    if predicted.is_dir():
        names = _paired_names(predicted, truth)
        return _pictures(names, size), len(names)
    first, second = probe(predicted), probe(truth)
    _refuse_unequal(predicted, first, truth, second, size, allow_truncated)
    return _frames(predicted, truth, size, allow_truncated), None if allow_truncated else second.frames


# ----------------------------------------------------------------------------------------------------- films


def _refuse_unequal(
    predicted: Path, first: Probe, truth: Path, second: Probe, size: tuple[int, int] | None, allow_truncated: bool
) -> None:
    if not allow_truncated:
        for path, facts in ((predicted, first), (truth, second)):
            if facts.last_good_time is not None:
                raise truncated(path, facts.last_good_time)
        if first.frames != second.frames:
            raise UserError(
                f"{predicted} has {first.frames} frames and {truth} has {second.frames}: cut them to the same frames."
            )
    if size is None and (first.height, first.width) != (second.height, second.width):
        raise _sizes_differ(predicted, (first.height, first.width), truth, (second.height, second.width))


def _frames(predicted: Path, truth: Path, size: tuple[int, int] | None, allow_truncated: bool) -> Iterator[Pair]:
    one, other = (decode(path, size=size, allow_truncated=allow_truncated) for path in (predicted, truth))
    first, second, last = next(one, None), next(other, None), -2
    while first is not None and second is not None:
        # Where damage left out frames of one, those of the other go too.
        if first.number < second.number:
            first = _next_of_the_same(one, predicted, truth, allow_truncated)
        elif second.number < first.number:
            second = _next_of_the_same(other, truth, predicted, allow_truncated)
        else:
            if first.pixels.shape != second.pixels.shape:
                raise _sizes_differ(predicted, first.pixels.shape, truth, second.pixels.shape)
            yield Pair(second.number, second.time, "", first.pixels, second.pixels, second.number == last + 1)
            last = second.number
            first, second = next(one, None), next(other, None)
    # Decoding is asked as well as the packets: one that holds no picture after all would shift one film against the other.
    if (first is None) != (second is None) and not allow_truncated:
        raise UserError(
            f"{predicted if first is None else truth} ends before the other video does: encode both from the same frames."
        )


def _next_of_the_same(frames: Iterator[Picture], path: Path, other: Path, allow_truncated: bool) -> Picture | None:
    if not allow_truncated:
        raise UserError(f"{other} lacks a frame that {path} has: encode both from the same frames.")
    return next(frames, None)


# -------------------------------------------------------------------------------------------------- pictures


def _paired_names(predicted: Path, truth: Path) -> list[tuple[str, Path, Path]]:
    """Name, coloured file and true file of every picture, in the order of names; numbers in them count as numbers."""
    first, second = _by_name(predicted), _by_name(truth)
    if odd := sorted(first.keys() ^ second.keys()):
        name, there, absent = odd[0], *((predicted, truth) if odd[0] in first else (truth, predicted))
        raise UserError(
            f"{there} has a picture {name!r} and {absent} has none ({len(odd)} such names): give both folders the same names."
        )
    return [(name, first[name], second[name]) for name in sorted(first, key=_counted)]


def _counted(name: str) -> tuple[str, int, str]:
    """A name as what stands before its last number, the number (-1 without one), and the name itself."""
    found = re.fullmatch(r"(.*?)([0-9]{1,18})", name)
    return (found[1], int(found[2]), name) if found else (name, -1, name)


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _PICTURES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UserError(f"{found[path.stem]} and {path} have the same name: remove one.")
        found[path.stem] = path
    if not found:
        raise UserError(f"{folder} holds no picture ({', '.join(sorted(_PICTURES))}): name a folder of pictures.")
    return found


def _pictures(names: list[tuple[str, Path, Path]], size: tuple[int, int] | None) -> Iterator[Pair]:
    before, last = "", -1
    with quietly():
        for number, (name, first, second) in enumerate(names):
            one, other = _read(first, size), _read(second, size)
            if one.shape != other.shape:
                raise _sizes_differ(first, one.shape, second, other.shape)
            prefix, count, _ = _counted(name)
            follows = last >= 0 and prefix == before and count == last + 1
            before, last = prefix, count
            yield Pair(number, 0.0, name, one, other, follows)


def _read(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 RGB (H,W,3), upright, averaged to `size`."""
    try:
        picture = decode_picture(path.read_bytes())
    except (BrokenPicture, OSError) as error:
        raise UserError(f"{path} cannot be read as a picture ({error}): replace it.") from None
    if size is None or picture.shape[:2] == size:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def _sizes_differ(first: Path, one: tuple[int, ...], second: Path, other: tuple[int, ...]) -> UserError:
    return UserError(f"{first} is {one[1]}x{one[0]} and {second} is {other[1]}x{other[0]}: give a size at which to compare them.")
