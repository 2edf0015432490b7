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
_DARK = 44.0  # luma above which no bar stands, however it was graded
_SAME = 5.0  # luma by which a cell of a bar may differ from the bar
_LIT = 0.7  # of a bar's cells that a subtitle may fill
_STANDS = 0.3  # of a bar's cells that stay black whatever appears in it
_USUAL = 7 / 8  # of the frames


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
        numbers: int64 (frames,), each frame's number as `media.decode` counts: its place here, but that damaged pictures
            have a number and no place. None says that there are none.
    """

    grids: np.ndarray
    times: np.ndarray
    numbers: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.numbers is None:
            object.__setattr__(self, "numbers", np.arange(len(self.times)))

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

    A line of cells is a bar if, in 7 of 8 frames, most of it stands at the dark level of the edge, and a good part of it the
    same part each time: what appears in a bar (subtitles, a logo) leaves the rest of it black, and an intro without bars may
    fill the eighth frame. A film that is black nearly everywhere has no bars. Ours.
    """
    frames = np.asarray(grids[:: max(1, len(grids) // 2000)], np.float32)
    if len(frames) == 0:
        return (0.0, 0.0, 1.0, 1.0)
    # Columns by the middle rows, where no letterbox and no subtitle is; then rows within these columns.
    rows, columns = frames.shape[1:]
    left, right = _picture(frames[:, rows // 4 : rows - rows // 4].transpose(0, 2, 1))
    top, bottom = _picture(frames[:, :, left:right])
    return (left / columns, top / rows, right / columns, bottom / rows)


def _picture(frames: np.ndarray) -> tuple[int, int]:
    """First line that is picture and the one after the last, of (frames, lines, cells); all if less than a third would be."""
    lines = frames.shape[1]
    low, high = np.percentile(frames[::8], (5, 95))
    same = min(_SAME, max(1.5, (high - low) / 16))  # a dark film differs less from its bars
    near, far = _bar(frames, same), _bar(frames[:, ::-1], same)
    return (near, lines - far) if lines - near - far >= lines / 3 else (0, lines)


def _bar(frames: np.ndarray, same: float) -> int:
    """How many lines from the first on are bar, whose luma is the `same` within as much."""
    level = float(np.median(frames[:, 0]))
    if level > _DARK:
        return 0
    for line in range(frames.shape[1]):
        lives = np.abs(frames[:, line] - level) > same
        mostly_black = (lives.mean(axis=1) < _LIT).mean() >= _USUAL
        always_black = (lives.mean(axis=0) <= 1 - _USUAL).mean()
        if not (mostly_black and always_black >= _STANDS):
            return line
    return frames.shape[1]
