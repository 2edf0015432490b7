"""A print as one tiny luma grid a frame: all that finding the offset needs, from a single pass.

A grid of 18 x 32 averages some 1,600 pixels of a 720-line picture into each cell, so that grain and encoding vanish,
while a cut, a step or a turn of the head still moves many cells. Frames come in at twice that size and are averaged
once more here, which keeps two more bits than eight. Two hours of film take 200 MiB a print.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

ROWS, COLUMNS = 18, 32
DECODE_SIZE = (2 * ROWS, 2 * COLUMNS)
"""Height and width at which a print is to be decoded for `signature`."""

_GROWTH = 8192  # frames
_BLACK = 20.0  # luma that no bar exceeds, blurred edge and encoding included


class GreyPicture(Protocol):
    """What `signature` needs of a decoded frame; `media.decode.Picture` has it."""

    time: float
    pixels: np.ndarray


@dataclass(frozen=True)
class Signature:
    """One print in small.

    Attributes:
        grids: float16 (frames, 18, 32), mean luma of each cell, 0..255.
        times: float64 (frames,), seconds.
    """

    grids: np.ndarray
    times: np.ndarray

    def __len__(self) -> int:
        return len(self.times)


def signature(pictures: Iterable[GreyPicture], *, frames: int = _GROWTH) -> Signature:
    """Gather a print's signature from its frames, in order, none left out.

    Args:
        pictures: luma frames uint8 of `DECODE_SIZE`, 0..255, as `media.decode` yields them.
        frames: how many there will be, about; only saves memory from being moved.
    """
    grids = np.empty((max(frames, 1), ROWS, COLUMNS), np.float16)
    times: list[float] = []
    for picture in pictures:
        if len(times) == len(grids):
            # In place, so that a long film is never held twice.
            grids.resize((len(grids) + _GROWTH, ROWS, COLUMNS), refcheck=False)
        grids[len(times)] = picture.pixels.reshape(ROWS, 2, COLUMNS, 2).sum(axis=(1, 3), dtype=np.uint16) * np.float32(0.25)
        times.append(picture.time)
    grids.resize((len(times), ROWS, COLUMNS), refcheck=False)
    return Signature(grids, np.array(times, np.float64))


def active_area(grids: np.ndarray) -> tuple[float, float, float, float]:
    """The part of the picture that is not letterbox or pillarbox: left, top, right, bottom as shares of width and height.

    A row or column counts as a bar if it stays black in 95 of 100 frames; an intro without bars may fill the rest.
    """
    frames = np.asarray(grids[:: max(1, len(grids) // 2000)], np.float32)
    if len(frames) == 0:
        return (0.0, 0.0, 1.0, 1.0)
    top, bottom = _lit(np.percentile(frames.max(axis=2), 95, axis=0))
    left, right = _lit(np.percentile(frames.max(axis=1), 95, axis=0))
    return (left, top, right, bottom)


def _lit(brightest: np.ndarray) -> tuple[float, float]:
    """First and last lit row (or column) as shares; the whole if less than a third is lit (a dark film, not bars)."""
    lit = np.flatnonzero(brightest > _BLACK)
    if len(lit) < len(brightest) / 3:
        return 0.0, 1.0
    return lit[0] / len(brightest), (lit[-1] + 1) / len(brightest)
