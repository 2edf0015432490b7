"""What the pictures of two prints have in common: colours, axes that read as clocks, labels that never cover each other.

Green is sure, amber is not, red is what a print has for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from kinemacolor.report.segments import clock_words

INK = "#222222"
OWN = "#c0392b"
VOTES = "#56606b"
SURE = colors.LinearSegmentedColormap.from_list("sure", ["#e9b44c", "#cdb35a", "#2a7f62"])
"""Confidence 0..1."""

_TEXT = dict(fontsize=9, color=INK)
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # seconds between ticks


@dataclass(frozen=True)
class Label:
    """Texts of which `settle` keeps the first that has room, none where none has.

    Attributes:
        texts: each with the stretch of the x axis, in data, within which it must fit; None where only its axes bound it.
    """

    texts: Sequence[tuple[Text, tuple[float, float] | None]]


def tidy(axes: Axes, title: str, x: str, y: str) -> None:
    """Titles and little else."""
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=INK)
    axes.set_xlabel(x, **_TEXT)
    axes.set_ylabel(y, **_TEXT)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def clock(axis: Axis, seconds: float, *, ticks: int = 12) -> None:
    """Ticks as a clock has them."""
    step = next((step for step in _STEPS if seconds / step <= ticks), None)
    if seconds < 4:
        axis.set_major_locator(MaxNLocator(6))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return
    axis.set_major_locator(MaxNLocator(ticks) if step is None else _Every(step))
    axis.set_major_formatter(FuncFormatter(lambda value, _: clock_words(value, digits=0)))


class _Every(MaxNLocator):
    """A tick at every multiple of some seconds."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.step = step

    def tick_values(self, low: float, high: float) -> NDArray:
        return np.arange(np.ceil(low / self.step), np.floor(high / self.step) + 1) * self.step


def settle(figure: Figure, labels: Sequence[Label]) -> None:
    """Lay the figure out for good, and keep of each label the first text that has room and covers no other."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    taken: dict[Axes, list[Bbox]] = {}
    for label in labels:
        found = False
        for text, room in label.texts:
            box = text.get_window_extent()
            axes = text.axes
            others = taken.setdefault(axes, [])
            good = not found and axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and box.y1 <= axes.bbox.y1
            if good and room is not None:
                left, right = axes.transData.transform([(room[0], 0), (room[1], 0)])[:, 0]
                good = box.width + 2 <= right - left
            if good and not any(box.overlaps(other) for other in others):
                others.append(box)
                found = True
            else:
                text.remove()
