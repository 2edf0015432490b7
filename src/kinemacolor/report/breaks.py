"""Breaks between segments frame by frame: some frames of both prints before and after, joined as they were paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.patches import Rectangle

from kinemacolor.report.segments import clock_words, own_stretches
from kinemacolor.report.sync_style import INK, OWN, SURE

if TYPE_CHECKING:
    from kinemacolor.align.path import Path

SHOWN = 6
"""Breaks that a picture shows at most."""
_FRAMES = 7  # colour frames on either side
_GAP = 5.0  # widths of a frame between both sides
_NEAR = 12  # pairs by which a break's confidence is told
_ROWS = {"grey": (1.0, 1.3), "colour": (0.0, 0.3)}


@dataclass(frozen=True)
class Break:
    """Where one segment ends and the next one, in the order of the colour print, begins.

    Attributes:
        before, after: indices of the segments; None before the first and after the last.
        grey, colour: frames by which each print goes on: 0 where it runs on unbroken, below 0 where it goes back.
        grey_own: whether all these frames are the grey print's own, rather than shown elsewhere; those of the colour print
            are, by the order of the segments.
        sure_before, sure_after: mean confidence of the nearest pairs on either side; NaN where there are none.
    """

    before: int | None
    after: int | None
    grey: int
    colour: int
    grey_own: bool
    sure_before: float
    sure_after: float


def chosen_breaks(path: Path, *, grey_frames: int, colour_frames: int, limit: int = SHOWN) -> list[Break]:
    """The breaks that are shown: the least sure ones if there are too many, head and tail if there is room; in their order."""
    count = len(path.segments)
    if not count:
        return []
    grey_own = own_stretches(((one.grey_start, one.grey_end) for one in path.segments), grey_frames)
    found = [_break(path, place, grey_own, grey_frames, colour_frames) for place in range(count + 1)]
    inner = sorted(
        range(1, count), key=lambda place: (np.nanmin([found[place].sure_before, found[place].sure_after, 1.0]), place)
    )
    chosen = [*inner, 0, count][:limit]
    return [found[place] for place in sorted(chosen)]


def _break(path: Path, place: int, grey_own: list[tuple[int, int]], grey_frames: int, colour_frames: int) -> Break:
    """The break before segment `place`."""
    count = len(path.segments)
    before, after = (place - 1 if place else None), (place if place < count else None)
    ends = (0, 0) if before is None else (path.segments[before].grey_end, path.segments[before].colour_end)
    starts = (
        (grey_frames, colour_frames) if after is None else (path.segments[after].grey_start, path.segments[after].colour_start)
    )
    sure = []
    for segment, side in ((before, slice(-_NEAR, None)), (after, slice(0, _NEAR))):
        near = np.empty(0) if segment is None else path.confidence[path.segment == segment][side]
        sure.append(float(np.mean(near)) if len(near) else float("nan"))
    grey, colour = starts[0] - ends[0], starts[1] - ends[1]
    whole = grey > 0 and any(start <= ends[0] and starts[0] <= end for start, end in grey_own)
    return Break(before, after, grey, colour, whole, *sure)


def draw_break(axes: Axes, path: Path, one: Break, *, at: Callable[[float], float]) -> None:
    """Draw a break as two rows of frames, grey above colour, with a rung for every pair in the colour of its confidence.

    Args:
        at: seconds at which a colour frame begins.
    """
    rungs, sure = [], []
    for segment, side in ((one.before, -1), (one.after, 1)):
        if segment is not None:
            drawn = _side(axes, path, segment, side)
            rungs += drawn[0]
            sure += drawn[1]
    lines = LineCollection(rungs, cmap=SURE, norm=colors.Normalize(0, 1), linewidths=1.8)
    lines.set_array(np.array(sure))
    axes.add_collection(lines)
    for row, frames, own in (("grey", one.grey, one.grey_own), ("colour", one.colour, True)):
        _gap(axes, _ROWS[row], frames, own, end=one.before is None or one.after is None)
    axes.set_xlim(-_FRAMES - 0.3, _GAP + _FRAMES + 0.3)
    axes.set_ylim(-0.32, 1.62)
    axes.set_yticks([np.mean(_ROWS["grey"]), np.mean(_ROWS["colour"])], ["grey", "colour"], fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(_title(path, one, at), loc="left", fontsize=9, fontweight="bold", color=INK)


def _side(axes: Axes, path: Path, segment: int, side: int) -> tuple[list, list[float]]:
    """The frames of one side; returns the rungs and their confidence."""
    stretch = path.segments[segment]
    pairs = np.flatnonzero(path.segment == segment)
    length = stretch.colour_end - stretch.colour_start
    edge, grey_edge, x = (
        (stretch.colour_end, stretch.grey_end, 0.0) if side < 0 else (stretch.colour_start, stretch.grey_start, _GAP)
    )
    away = (edge - 1 - path.colour_frame[pairs]) if side < 0 else (path.colour_frame[pairs] - edge)
    pairs = pairs[(away >= 0) & (away < _FRAMES)]
    width = min(_FRAMES, length)
    colour = range(-width, 0) if side < 0 else range(width)
    greys = max(1, round(width * stretch.speed))
    grey = (
        range(-min(greys, stretch.grey_end - stretch.grey_start), 0)
        if side < 0
        else range(min(greys, stretch.grey_end - stretch.grey_start))
    )
    for row, frames, step in (("grey", grey, 1 / stretch.speed), ("colour", colour, 1.0)):
        low, high = _ROWS[row]
        boxes = [Rectangle((x + n * step + 0.07 * step, low), 0.86 * step, high - low) for n in frames]
        axes.add_collection(
            PatchCollection(boxes, facecolor="#d9d9d9" if row == "grey" else "#f0d9bd", edgecolor="#8a8a8a", linewidth=0.6)
        )
    if width == length and width < _FRAMES:  # the whole of a short segment: its other neighbour is not drawn
        axes.plot([x + side * (width + 0.15)] * 2, [0, 1.3], color=INK, linewidth=0.6, linestyle=":")
    last = (stretch.grey_end - 1, stretch.colour_end - 1) if side < 0 else (stretch.grey_start, stretch.colour_start)
    align = dict(ha="right" if side < 0 else "left", fontsize=7.5, color=INK)
    axes.text(x, 1.36, f"{last[0]:,}", va="bottom", **align)
    axes.text(x, -0.06, f"{last[1]:,}", va="top", **align)
    rungs = [
        [
            (x + path.colour_frame[pair] - edge + 0.5, _ROWS["colour"][1] + 0.03),
            (x + (path.grey_frame[pair] - grey_edge + 0.5) / stretch.speed, _ROWS["grey"][0] - 0.03),
        ]
        for pair in pairs
    ]
    return rungs, path.confidence[pairs].tolist()


def _gap(axes: Axes, row: tuple[float, float], frames: int, own: bool, *, end: bool) -> None:
    low, high = row
    middle = dict(ha="center", va="center", fontsize=7.5)
    if frames > 0 and own:
        axes.add_patch(Rectangle((0.12, low), _GAP - 0.24, high - low, facecolor=OWN, linewidth=0))
        axes.text(_GAP / 2, (low + high) / 2, f"{frames:,} own", color="white", **middle)
    elif frames:
        # Before the first and after the last segment of the colour print the grey one has others.
        said = "elsewhere" if end else f"on {frames:,}" if frames > 0 else f"back {-frames:,}"
        axes.text(_GAP / 2, (low + high) / 2, said, color=INK, **middle)
    else:
        axes.plot([0.12, _GAP - 0.12], [(low + high) / 2] * 2, color="#8a8a8a", linewidth=0.9, linestyle=(0, (2, 2)))


def _title(path: Path, one: Break, at: Callable[[float], float]) -> str:
    sure = "sure " + " | ".join(f"{value:.2f}" for value in (one.sure_before, one.sure_after) if not np.isnan(value))
    if one.before is None:
        return f"head | 1 · {clock_words(at(path.segments[0].colour_start))} · {sure}"
    name = "tail" if one.after is None else str(one.after + 1)
    return f"{one.before + 1} | {name} · {clock_words(at(path.segments[one.before].colour_end))} · {sure}"
