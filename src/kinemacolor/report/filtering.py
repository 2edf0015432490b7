"""What the page says of the filter and of the split: a histogram of the measure that decides, and how many frames have doubles."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from kinemacolor.report.plots import INK, PALETTE, inked, inline

_LOW, _HIGH, _BINS = 0.1, 200.0, 66  # Lab units; 20 bins a decade


@dataclass(frozen=True)
class Double:
    """How many kept frames of a part and source look like a training frame of their own source, or only of another."""

    part: str
    source: str
    frames: int
    same: int
    other: int


@dataclass(frozen=True)
class Filtering:
    """What the filter left behind.

    Attributes:
        grey: the threshold of the measure.
        kept, dropped: frames in each of `edges()`'s bins that stay, and that are left out as grey.
        doubles: one a part and source.
        left_out: source -> share of the picture, 0 to 1, that is bars or a logo; only where there is any.
        sheet: the frames nearest to the threshold.
        hue: frames under the threshold that stay, because much of their film is in colour.
        many: share of a part's frames with a double above which it is called high.
    """

    grey: float
    kept: Sequence[int]
    dropped: Sequence[int]
    doubles: Sequence[Double] = ()
    left_out: Mapping[str, float] | None = None
    sheet: Path | None = None
    hue: int = 0
    many: float = 0.05


def edges() -> np.ndarray:
    """Borders of the histogram's bins, Lab units, evenly in the logarithm; what lies beyond is counted at the ends."""
    return np.geomspace(_LOW, _HIGH, _BINS + 1)


def counts(colour: np.ndarray) -> list[int]:
    """How many of these measures lie in each bin."""
    return np.histogram(np.clip(colour, _LOW, _HIGH), edges())[0].tolist()


def histogram_svg(filtering: Filtering, name: str) -> str:
    """The histogram as an <svg> element that takes its ink from the page."""
    title = f"Frames of {name} by their colour; those under {filtering.grey:g} are left out as grey"
    figure = Figure(figsize=(7.4, 2.9), layout="constrained")
    with matplotlib.rc_context(inked(INK) | {"svg.fonttype": "none", "svg.hashsalt": title}):
        axes = figure.add_subplot()
        borders = edges()
        for values, colour, label in ((filtering.dropped, PALETTE[0], "left out as grey"), (filtering.kept, PALETTE[1], "kept")):
            if sum(values):
                axes.stairs(values, borders, fill=True, color=colour, label=label)
        axes.set_xscale("log")
        axes.set_xlim(_LOW, _HIGH)
        axes.set_xticks([0.1, 0.3, 1, 3, 10, 30, 100])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value <= _LOW else f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if filtering.grey > 0:
            axes.axvline(filtering.grey, color=INK, linestyle=(0, (4, 2)), linewidth=1, label=f"threshold {filtering.grey:g}")
        axes.set_xlabel("colour beyond tint and noise, Lab units")
        axes.set_ylabel("frames")
        axes.grid(axis="y", alpha=0.14, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8.5, loc="upper left")
        target = io.StringIO()
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return inline(target.getvalue(), title)
