"""path.png, by which a person judges at a glance how one print runs beside the other; pairs.png is drawn in `contact`.

From the top: both prints as strips, each on its own clock, joined by ribbons; the path of one against the other over what
the coarse search saw; the breaks frame by frame; likeness and confidence along the film. Green is sure, amber is not, red
is what a print has for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from kinemacolor.report.breaks import Break, chosen_breaks, draw_break
from kinemacolor.report.contact import PairFacts, draw_pairs, shown_pairs
from kinemacolor.report.segments import (
    SAME_SPEED,
    frame_time,
    own_stretches,
    seconds_words,
    span_words,
    speed_words,
    speeds_summary,
)
from kinemacolor.report.sync_style import INK, OWN, SURE, VOTES, Label, clock, settle, tidy

if TYPE_CHECKING:
    from kinemacolor.align.path import Path as PrintsPath

__all__ = ["PairFacts", "PathFacts", "draw_pairs", "draw_path", "path_figure", "shown_pairs"]

_GREY_STRIP, _COLOUR_STRIP = (2.0, 2.34), (0.0, 0.34)  # low and high
_NUMBERED = 150  # segments that are given a number, the longest first
_PIECES = 2000  # of the path over the whole film
_VOTES = 20_000  # drawn at most, the strongest


@dataclass(frozen=True)
class PathFacts:
    """What path.png shows.

    Attributes:
        grey_name, colour_name: names of the prints.
        grey_rate, colour_rate: frames a second.
        grey_frames, colour_frames: how many frames each print has.
        path: what was found; anything with the attributes of `align.path.Path`.
        grey_times, colour_times: float64, seconds of each frame on its print's own clock.
        by_hand: whether offset or segments were set by hand.
    """

    grey_name: str
    colour_name: str
    grey_rate: float
    colour_rate: float
    grey_frames: int
    colour_frames: int
    path: PrintsPath
    grey_times: NDArray[np.float64]
    colour_times: NDArray[np.float64]
    by_hand: bool

    def grey_at(self, frame: float) -> float:
        """Seconds at which a grey frame begins; those after the last go on at the print's rate."""
        return frame_time(self.grey_times, self.grey_rate, frame)

    def colour_at(self, frame: float) -> float:
        """Seconds at which a colour frame begins."""
        return frame_time(self.colour_times, self.colour_rate, frame)

    def own(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Frames start <= n < end that the grey and the colour print have for themselves."""
        segments = self.path.segments
        return (
            own_stretches(((one.grey_start, one.grey_end) for one in segments), self.grey_frames),
            own_stretches(((one.colour_start, one.colour_end) for one in segments), self.colour_frames),
        )


def draw_path(target: Path, facts: PathFacts) -> None:
    """Draw path.png; see `path_figure`."""
    path_figure(facts).savefig(target, format="png", metadata={"Software": None})


def path_figure(facts: PathFacts) -> Figure:
    """The picture of two prints beside each other: strips with ribbons, path, breaks, likeness and confidence.

    Artists are named (gid) for whoever looks for them: ribbon-1, number-1, own-grey-1, own-colour-1, break-1, votes, path.
    """
    breaks = chosen_breaks(facts.path, grey_frames=facts.grey_frames, colour_frames=facts.colour_frames)
    figure = Figure(figsize=(14, 13.2), dpi=110, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(h_pad=0.09, w_pad=0.06, hspace=0.03)
    grid = figure.add_gridspec(3, 2, height_ratios=[1.05, 1.75, 0.62], width_ratios=[1, 1.12])
    figure.suptitle(_headline(facts), fontsize=12.5, color=INK)
    labels = _strips(figure.add_subplot(grid[0, :]), facts)
    path = figure.add_subplot(grid[1, 0])
    labels += _path(path, facts)
    _breaks(figure, grid[1, 1], facts, breaks)
    labels += _along(figure.add_subplot(grid[2, :]), facts)
    bar = figure.colorbar(
        ScalarMappable(colors.Normalize(0, 1), SURE), ax=path, location="bottom", shrink=0.7, aspect=40, pad=0.02
    )
    bar.set_label("confidence of a pair, in all of the picture; red: a print's own", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=7.5)
    settle(figure, labels)
    return figure


def _breaks(figure: Figure, place: SubplotSpec, facts: PathFacts, breaks: Sequence[Break]) -> None:
    """The breaks under a line that says which they are."""
    columns = 2 if len(breaks) > 3 else 1
    rows = max(1, -(-len(breaks) // columns))
    grid = place.subgridspec(rows + 1, columns, height_ratios=[0.01, *[1] * rows])
    head = figure.add_subplot(grid[0, :])
    head.set_axis_off()
    inner = len(facts.path.segments) - 1
    which = f"The {len(breaks)} least sure of {inner} breaks" if inner > len(breaks) else "Breaks"
    head.set_title(f"{which}, frame by frame: rungs are pairs", loc="left", fontsize=10.5, fontweight="bold", color=INK)
    for number, one in enumerate(breaks):
        axes = figure.add_subplot(grid[1 + number // columns, number % columns])
        axes.set_gid(f"break-{number + 1}")
        draw_break(axes, facts.path, one, at=facts.colour_at)


def _headline(facts: PathFacts) -> str:
    path = facts.path
    count, pairs = len(path.segments), len(path.colour_frame)
    sure = f"mean confidence {np.mean(path.confidence):.3f} · " if pairs else ""
    speeds = speeds_summary(path.segments)
    return (
        f"{pairs:,} pairs in {count} segment{'s' if count != 1 else ''}, {'set by hand' if facts.by_hand else 'found'} · "
        f"{path.share:.1%} of the shorter print · {sure}correlation {path.correlation:.3f}\n"
        f"The grey print beside the colour print: {shorten(speeds, 130, placeholder=' …') or 'nothing in common'}"
    )


def _strips(axes: Axes, facts: PathFacts) -> list[Label]:
    """Both prints as strips from their own zero on; what belongs together is joined."""
    own = dict(zip(("grey", "colour"), facts.own(), strict=True))
    sides = (
        ("grey", _GREY_STRIP, facts.grey_at, facts.grey_frames),
        ("colour", _COLOUR_STRIP, facts.colour_at, facts.colour_frames),
    )
    longest = max(at(frames) for _, _, at, frames in sides)
    labels: list[Label] = []
    for name, (low, high), at, frames in sides:
        axes.add_patch(Rectangle((at(0), low), at(frames) - at(0), high - low, facecolor="none", edgecolor=INK, linewidth=0.6))
        for number, (start, end) in enumerate(own[name], start=1):
            left, right = at(start), at(end)
            box = Rectangle((left, low), right - left, high - low, facecolor=OWN, linewidth=0, gid=f"own-{name}-{number}")
            axes.add_patch(box)
            length = seconds_words(right - left)
            texts = [
                axes.text(
                    (left + right) / 2, (low + high) / 2, said, color="white", fontsize=8, ha="center", va="center_baseline"
                )
                for said in (f"{end - start:,} own ({length})", length)
            ]
            labels.append(Label([(text, (left, right)) for text in texts]))
    numbers: list[Label] = []
    speeds: list[Label] = []
    few = len(facts.path.segments) <= 12
    order = sorted(enumerate(facts.path.segments, start=1), key=lambda pair: pair[1].colour_start - pair[1].colour_end)
    for place, (number, one) in enumerate(order):
        upper = facts.grey_at(one.grey_start), facts.grey_at(one.grey_end)
        lower = facts.colour_at(one.colour_start), facts.colour_at(one.colour_end)
        shade = SURE(float(one.confidence))
        for (left, right), (low, high) in ((upper, _GREY_STRIP), (lower, _COLOUR_STRIP)):
            axes.add_patch(Rectangle((left, low), right - left, high - low, facecolor=shade, edgecolor="white", linewidth=0.4))
        axes.add_patch(_ribbon(upper, lower, shade, gid=f"ribbon-{number}"))
        if place < _NUMBERED:
            numbers += _numbers(axes, number, one, upper, lower)
        words = speed_words(one.speed, one.clock)
        if len(facts.path.segments) == 1 or (few and words != SAME_SPEED):
            middle = (sum(upper) + sum(lower)) / 4
            text = axes.text(
                middle, 1.17, words, color=INK, fontsize=8.5, ha="center", va="center", zorder=5, gid=f"speed-{number}"
            )
            half = (upper[1] - upper[0] + lower[1] - lower[0]) / 4
            speeds.append(Label([(text, (middle - half, middle + half))]))
    axes.set_yticks(
        [np.mean(_GREY_STRIP), np.mean(_COLOUR_STRIP)],
        [f"grey print\n{_short(facts.grey_name)}", f"colour print\n{_short(facts.colour_name)}"],
    )
    axes.set_xlim(-0.004 * longest, 1.004 * longest)
    axes.set_ylim(-0.34, 2.68)
    clock(axes.xaxis, longest, ticks=16)
    title = "What belongs together: both prints from their own first frame on, segments numbered, a print's own in red"
    tidy(axes, title, "time of each print" + (" in seconds" if longest < 4 else ""), "")
    axes.spines["left"].set_visible(False)
    return numbers + labels + speeds


def _ribbon(upper: tuple[float, float], lower: tuple[float, float], shade, *, gid: str) -> PathPatch:
    top, bottom = _GREY_STRIP[0], _COLOUR_STRIP[1]
    bend = (top + bottom) / 2
    points = [
        (upper[0], top), (upper[0], bend), (lower[0], bend), (lower[0], bottom),
        (lower[1], bottom), (lower[1], bend), (upper[1], bend), (upper[1], top), (upper[0], top),
    ]  # fmt: skip
    codes = [Outline.MOVETO, *[Outline.CURVE4] * 3, Outline.LINETO, *[Outline.CURVE4] * 3, Outline.CLOSEPOLY]
    look = dict(facecolor=(*shade[:3], 0.38), edgecolor=(*shade[:3], 0.95), linewidth=0.7)
    return PathPatch(Outline(points, codes), gid=gid, **look)


def _numbers(axes: Axes, number: int, one, upper: tuple[float, float], lower: tuple[float, float]) -> list[Label]:
    """A segment's number in both strips: with its frames where there is room, outside where there is little."""
    labels = []
    sides = (
        (upper, _GREY_STRIP, (one.grey_start, one.grey_end), 1),
        (lower, _COLOUR_STRIP, (one.colour_start, one.colour_end), -1),
    )
    for (left, right), (low, high), frames, way in sides:
        middle, inside = (left + right) / 2, (low + high) / 2
        look = dict(ha="center", va="center_baseline", gid=f"number-{number}")
        within = dict(color="white", fontweight="bold", **look)
        texts = [
            (axes.text(middle, inside, f"{number}:  frames {span_words(*frames)}", fontsize=8.5, **within), (left, right)),
            (axes.text(middle, inside, str(number), fontsize=8.5, **within), (left, right)),
            (axes.text(middle, inside, str(number), fontsize=6.5, **within), (left, right)),
        ]
        outside = high if way > 0 else low
        for level in (0.1, 0.24):
            texts.append((axes.text(middle, outside + way * level, str(number), color=INK, fontsize=6.5, **look), None))
        labels.append(Label(texts))
    return labels


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:12]}…{name[-12:]}"


def _path(axes: Axes, facts: PathFacts) -> list[Label]:
    """Grey time against colour time, over what the coarse search saw; a print's own is shaded."""
    path = facts.path
    across, up = facts.colour_at(facts.colour_frames), facts.grey_at(facts.grey_frames)
    grey_own, colour_own = facts.own()
    for start, end in colour_own:
        axes.axvspan(facts.colour_at(start), facts.colour_at(end), color=OWN, alpha=0.12, linewidth=0)
    for start, end in grey_own:
        axes.axhspan(facts.grey_at(start), facts.grey_at(end), color=OWN, alpha=0.12, linewidth=0)
    votes = np.asarray(path.votes, np.float32).reshape(-1, 3)
    if len(votes):
        votes = votes[np.argsort(votes[:, 2], kind="stable")[-_VOTES:]]
        shades = np.tile(np.float32([*colors.to_rgb(VOTES), 0]), (len(votes), 1))
        shades[:, 3] = 0.08 + 0.5 * np.clip(votes[:, 2], 0, 1)
        axes.scatter(votes[:, 0], votes[:, 1], s=5, c=shades, linewidths=0, rasterized=True, gid="votes")
    axes.add_collection(_line(facts))
    labels = []
    order = sorted(enumerate(path.segments, start=1), key=lambda pair: pair[1].colour_start - pair[1].colour_end)
    for number, one in order[:_NUMBERED]:
        at = (one.colour_start + one.colour_end) / 2, (one.grey_start + one.grey_end) / 2
        text = axes.annotate(
            str(number),
            (facts.colour_at(at[0]), facts.grey_at(at[1])),
            xytext=(-5, 5),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=INK,
            fontsize=8,
        )
        labels.append(Label([(text, None)]))
    axes.set_xlim(0, across)
    axes.set_ylim(0, up)
    clock(axes.xaxis, across, ticks=8)
    clock(axes.yaxis, up)
    title = f"The path{' over what the coarse search saw (dots)' if len(votes) else ''}"
    tidy(axes, title, "time of the colour print", "time of the grey print")
    return labels


def _line(facts: PathFacts) -> LineCollection:
    """The pairs as some thousand pieces at most; a piece has the mean confidence of its pairs."""
    path = facts.path
    lines, sure = [], []
    share = _PIECES / max(len(path.colour_frame), 1)
    for number in range(len(path.segments)):
        pairs = np.flatnonzero(path.segment == number)
        for piece in np.array_split(pairs, max(1, min(len(pairs), round(share * len(pairs))))) if len(pairs) else ():
            # A single frame has a length, too.
            first, last = piece[0], piece[-1]
            start = facts.colour_at(path.colour_frame[first]), facts.grey_at(path.grey_frame[first])
            end = facts.colour_at(path.colour_frame[last] + 1), facts.grey_at(path.grey_frame[last] + 1)
            lines.append([start, end])
            sure.append(float(np.mean(path.confidence[piece])))
    # Pieces overlap by their caps: where they only touched, their smoothed ends would make the whole line pale.
    look = dict(linewidths=3.2, capstyle="projecting", gid="path")
    drawn = LineCollection(lines, cmap=SURE, norm=colors.Normalize(0, 1), **look)
    drawn.set_array(np.array(sure))
    return drawn


def _along(axes: Axes, facts: PathFacts) -> list[Label]:
    """Likeness and confidence of the pairs along the colour print; nothing where there is no pair."""
    path = facts.path
    width = max(1, -(-facts.colour_frames // 1200))
    count = -(-facts.colour_frames // width)
    bins = path.colour_frame // width
    edges = np.array([facts.colour_at(min(place * width, facts.colour_frames)) for place in range(count + 1)])
    pairs = np.bincount(bins, minlength=count)
    with np.errstate(invalid="ignore", divide="ignore"):
        sure = np.bincount(bins, path.confidence, minlength=count) / pairs
        seen = np.isfinite(path.alike)  # a flat frame has no likeness
        alike = np.bincount(bins[seen], path.alike[seen], minlength=count) / np.bincount(bins[seen], minlength=count)
    for start, end in facts.own()[1]:
        axes.axvspan(facts.colour_at(start), facts.colour_at(end), color=OWN, alpha=0.14, linewidth=0)
    axes.bar(
        edges[:-1], np.nan_to_num(sure), np.diff(edges), align="edge", color=SURE(np.nan_to_num(sure)), alpha=0.6, linewidth=0
    )
    axes.stairs(alike, edges, baseline=None, color=INK, linewidth=0.8)
    labels = []
    order = sorted(enumerate(path.segments, start=1), key=lambda pair: pair[1].colour_start - pair[1].colour_end)
    for number, one in order:
        left, right = facts.colour_at(one.colour_start), facts.colour_at(one.colour_end)
        axes.vlines([left, right], 0, 1, color=INK, linewidth=0.5, alpha=0.6)
        if len(labels) < _NUMBERED:
            text = axes.text((left + right) / 2, 1.03, str(number), color=INK, fontsize=7.5, ha="center", va="bottom")
            labels.append(Label([(text, None)]))
    axes.set_xlim(edges[0], edges[-1])
    low = min(0.0, float(np.nanmin(alike, initial=0.0)))
    axes.set_ylim(low, 1.16)
    axes.set_yticks([0, 0.5, 1])
    clock(axes.xaxis, edges[-1], ticks=16)
    title = "Along the film: confidence to the frame (bars; low where a shot stands still), likeness of the pictures (line)"
    tidy(axes, title, "time of the colour print", "")
    return labels
