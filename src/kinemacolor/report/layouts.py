"""How the pictures of a moment stand together in one frame: in a grid, one above the other, or one wiped over the other.

Panels touch each other without a seam, so that every pixel outside the captions is a pixel of what it shows. A layout asks
for the pictures that it shows and for no other, straight into their places.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kinemacolor.report.panels import Caption, written_credit

COLUMNS = 3
"""More panels than this wrap to the next row."""
PASS = 4.0
"""Seconds in which one picture is wiped over another; less where the film is too short to show them all."""
_MOVING = 0.75  # of them; then the picture stands alone

Fill = Callable[[int, np.ndarray], str]
"""Fills a panel (h,w,3) uint8 in place with the picture of a number, and gives the figures for its caption."""


class Label(NamedTuple):
    """What is written on a panel."""

    words: str
    figures: str = ""
    """The widest figures that will be written behind them; empty if there are none."""


class Layout(ABC):
    """A frame and the pictures in it, which are counted as their labels are.

    Attributes:
        height, width: of the frame in pixels.
    """

    height: int
    width: int

    @abstractmethod
    def picture(self, fill: Fill, *, seconds: float = 0.0, clock: str = "") -> np.ndarray:
        """The finished frame (height,width,3) uint8.

        Args:
            fill: is asked for each picture that is shown.
            seconds: since the first frame of the video.
            clock: the time that is written.
        """


class Grid(Layout):
    """Equal panels in rows of at most `columns`, each with its caption.

    Args:
        labels: one a picture.
        height, width: of one panel in pixels.
        columns: panels in a row.
        order: which pictures stand in the cells, in reading order; all if None.
        clock: the picture whose figures are the time; none if None.
        credit: written into the last cell where the panels leave it empty, so that the credit travels with the video.
    """

    def __init__(
        self,
        labels: Sequence[Label],
        *,
        height: int,
        width: int,
        columns: int = COLUMNS,
        order: Sequence[int] | None = None,
        clock: int | None = None,
        credit: str = "",
    ) -> None:
        self._order = list(range(len(labels))) if order is None else list(order)
        self._panel, self._clock = (height, width), clock
        self._columns = min(columns, len(self._order))
        rows = math.ceil(len(self._order) / self._columns)
        self.height, self.width = rows * height, self._columns * width
        self._captions = [Caption(labels[n].words, panel=self._panel, figures=labels[n].figures) for n in self._order]
        self._blank = np.zeros((self.height, self.width, 3), np.uint8)
        if credit and len(self._order) < rows * self._columns:
            self.cell(self._blank, rows * self._columns - 1)[:] = written_credit(credit, self._panel)[..., None]

    def picture(self, fill: Fill, *, seconds: float = 0.0, clock: str = "") -> np.ndarray:
        canvas = np.empty_like(self._blank)
        for place in range(len(self._order), self.height // self._panel[0] * self._columns):
            self.cell(canvas, place)[:] = self.cell(self._blank, place)
        for place, (number, caption) in enumerate(zip(self._order, self._captions, strict=True)):
            cell = self.cell(canvas, place)
            figures = fill(number, cell)
            caption.draw(cell, clock if number == self._clock else figures)
        return canvas

    def cell(self, canvas: np.ndarray, place: int) -> np.ndarray:
        """The view of a frame that belongs to the cell `place`, in reading order, (h,w,3)."""
        row, column = divmod(place, self._columns)
        height, width = self._panel
        return canvas[row * height : (row + 1) * height, column * width : (column + 1) * width]


class Wipe(Layout):
    """One picture after the other in the same place: a line runs from left to right and leaves the next one behind it.

    After the last comes the first. What is left of the line is named at the left, what is right of it at the right.

    Args:
        labels: one a picture, two at least.
        height, width: of the frame in pixels.
        seconds: length of the video, within which every picture gets its turn.
        clock: the widest time that will be written.
    """

    def __init__(self, labels: Sequence[Label], *, height: int, width: int, seconds: float, clock: str = "") -> None:
        self.height, self.width = height, width
        panel = (height, width)
        self._left, self._right = (
            [Caption(label.words, panel=panel, figures=label.figures, right=right) for label in labels] for right in (False, True)
        )
        self._clock = Caption("", panel=panel, figures=clock, top=True) if clock else None
        self._period = min(PASS, seconds / len(labels))
        self._line = max(2, width // 400)

    def at(self, seconds: float) -> tuple[int, int, int]:
        """Which picture comes and which goes at a time, and how many columns of it the coming one has."""
        passes, part = divmod(seconds / self._period, 1)
        going = int(passes) % len(self._left)
        return (going + 1) % len(self._left), going, round(self.width * min(1.0, part / _MOVING))

    def picture(self, fill: Fill, *, seconds: float = 0.0, clock: str = "") -> np.ndarray:
        coming, going, column = self.at(seconds)
        canvas = np.empty((self.height, self.width, 3), np.uint8)
        if column < self.width:
            figures = fill(going, canvas)
            self._right[going].draw(canvas, figures)
        if column == self.width:
            self._left[coming].draw(canvas, fill(coming, canvas))
        elif column > 0:
            other = np.empty_like(canvas)
            self._left[coming].draw(other, fill(coming, other))
            canvas[:, :column] = other[:, :column]
            # Light beside dark is seen on any picture.
            canvas[:, max(0, column - self._line) : column] = 235
            canvas[:, column : column + self._line] = 20
        if self._clock is not None:
            self._clock.draw(canvas, clock)
        return canvas
