"""Two pictures by which a person sees that two prints are in step: the path of one against the other, and pairs of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib import colors, font_manager
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GREY, _COLOUR, _GOOD, _WRONG, _INK = "#8a8a8a", "#d9822b", "#2a7f62", "#c0392b", "#222222"
_SURE = colors.LinearSegmentedColormap.from_list("sure", ["#d8b365", "#2a7f62"])
_SHADE = dict(color="#c0392b", alpha=0.13, linewidth=0)
_PICTURE_WIDTH, _GAP, _LINE = 300, 6, 22  # pixels of the contact sheet
_TEXT = dict(fontsize=9, color=_INK)


@dataclass(frozen=True)
class PathFacts:
    """What path.png shows.

    Attributes:
        grey_name, colour_name: names of the prints.
        frame_rate: frames a second of both.
        grey_frames, colour_frames: how many frames each print has.
        offset: grey frame minus colour frame.
        start, end: colour frames start <= frame < end that are paired.
        correlation, runner_up, confidence: of the offset.
        by_hand: whether the offset was set by hand.
        alike, sure: (end - start,), likeness (NaN for a flat picture) and confidence of each pair.
        offsets, pictures, changes: the correlation of pictures and of changes at every offset.
    """

    grey_name: str
    colour_name: str
    frame_rate: float
    grey_frames: int
    colour_frames: int
    offset: int
    start: int
    end: int
    correlation: float
    runner_up: float
    confidence: float
    by_hand: bool
    alike: NDArray
    sure: NDArray
    offsets: NDArray
    pictures: NDArray
    changes: NDArray


def draw_path(target: Path, facts: PathFacts) -> None:
    """Draw path.png: both prints on one clock, the path, the correlation against the offset, the confidence along the film."""
    figure = Figure(figsize=(13, 10), dpi=100, layout="constrained", facecolor="white")
    grid = figure.add_gridspec(3, 3, height_ratios=[0.7, 1.55, 0.8], width_ratios=[1, 1, 1.15])
    found = "set by hand" if facts.by_hand else "found"
    figure.suptitle(
        f"Frame n of the colour print is frame n {'+' if facts.offset >= 0 else '−'} {abs(facts.offset)} of the grey print "
        f"({facts.offset / facts.frame_rate:+.2f} s, {found})\n"
        f"correlation {facts.correlation:.3f} there, {facts.runner_up:.3f} at the best offset over a second away · "
        f"confidence {facts.confidence:.3f} · {facts.end - facts.start:,} pairs",
        fontsize=13,
        color=_INK,
    )
    _strips(figure.add_subplot(grid[0, :]), facts)
    seconds = facts.colour_frames / facts.frame_rate
    intro = max(facts.start, facts.start + facts.offset) / facts.frame_rate
    head = min(max(4.0, 2.2 * intro), max(seconds, facts.grey_frames / facts.frame_rate))
    _path(figure.add_subplot(grid[1, 0]), facts, None, "Path: the whole film")
    _path(figure.add_subplot(grid[1, 1]), facts, head, f"Path: the first {head:.0f} s")
    right = grid[1, 2].subgridspec(2, 1)
    _curve(figure.add_subplot(right[0]), facts)
    _peak(figure.add_subplot(right[1]), facts)
    _along(figure.add_subplot(grid[2, :]), facts)
    figure.savefig(target, metadata={"Software": None})


def _tidy(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=_INK)
    axes.set_xlabel(x, **_TEXT)
    axes.set_ylabel(y, **_TEXT)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _strips(axes: Axes, facts: PathFacts) -> None:
    """Both prints as strips on the grey print's clock; what is paired is green, what is cut off is red."""
    rate = facts.frame_rate
    strips = [
        (1.0, f"grey print\n{facts.grey_name}", 0, facts.grey_frames, 0),
        (0.0, f"colour print\n{facts.colour_name}", facts.offset, facts.offset + facts.colour_frames, facts.offset),
    ]
    paired = ((facts.start + facts.offset) / rate, (facts.end + facts.offset) / rate)
    for level, _, first, last, shift in strips:
        axes.add_patch(Rectangle((first / rate, level - 0.3), (last - first) / rate, 0.6, color=_WRONG, alpha=0.3, linewidth=0))
        axes.add_patch(Rectangle((paired[0], level - 0.3), paired[1] - paired[0], 0.6, color=_GOOD, linewidth=0))
        head, tail = round(paired[0] * rate) - first, last - round(paired[1] * rate)
        note = (
            f"frames {round(paired[0] * rate) - shift:,} to {round(paired[1] * rate) - shift - 1:,} are paired; "
            f"cut off: {head:,} at the head ({head / rate:.2f} s), {tail:,} at the tail ({tail / rate:.2f} s)"
        )
        axes.text(sum(paired) / 2, level, note, ha="center", va="center", color="white", fontsize=10)
    for at in paired:
        axes.plot([at, at], [-0.3, 1.3], color=_INK, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_yticks([strip[0] for strip in strips], [strip[1] for strip in strips])
    low, high = min(0, facts.offset) / rate, max(facts.grey_frames, facts.offset + facts.colour_frames) / rate
    axes.set_xlim(low - 0.005 * (high - low), high + 0.005 * (high - low))
    axes.set_ylim(-0.45, 1.45)
    _tidy(axes, "Both prints on one clock: green is in both, red is one print's own", "seconds of the grey print", "")


def _path(axes: Axes, facts: PathFacts, head: float | None, title: str) -> None:
    """Grey time against colour time; each print's own head and tail are shaded; the line's colour is the confidence."""
    rate = facts.frame_rate
    across, up = facts.colour_frames / rate, facts.grey_frames / rate
    start, end = facts.start / rate, facts.end / rate
    shift = facts.offset / rate
    for low, high in ((0, start), (end, across)):
        axes.axvspan(low, high, **_SHADE)
    for low, high in ((0, start + shift), (end + shift, up)):
        axes.axhspan(low, high, **_SHADE)
    axes.plot([0, max(across, up)], [0, max(across, up)], color=_GREY, linewidth=0.8, linestyle=":")
    # Some thousand pieces at most; a piece has the least confidence within it.
    frames = slice(None) if head is None else slice(0, max(2, round(head * rate) - facts.start))
    pieces = np.array_split(facts.sure[frames], min(1000, max(2, len(facts.sure[frames]))))
    pieces = [piece for piece in pieces if len(piece)]
    edges = (facts.start + np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])])) / rate
    lines = np.stack([np.column_stack([edges, edges + shift])[:-1], np.column_stack([edges, edges + shift])[1:]], axis=1)
    path = LineCollection(lines, cmap=_SURE, norm=colors.Normalize(0, 1), linewidths=3.5, capstyle="butt")
    path.set_array(np.array([np.median(piece) for piece in pieces]))
    axes.add_collection(path)
    limit = (across, up) if head is None else (head, head)
    axes.set_xlim(0, limit[0])
    axes.set_ylim(0, limit[1])
    if head is not None:
        axes.set_aspect("equal")
        axes.plot(start, start + shift, "o", color=_INK, markersize=5)
        right = start < 0.5 * head
        axes.annotate(
            f"first pair:\ncolour frame {facts.start}\ngrey frame {facts.start + facts.offset}",
            (start, start + shift),
            xytext=(14 if right else -14, -4),
            textcoords="offset points",
            ha="left" if right else "right",
            va="top",
            fontsize=9,
        )
    else:
        bar = axes.figure.colorbar(path, ax=axes, location="bottom", shrink=0.75, pad=0.02, aspect=30)
        bar.set_label("confidence of the pair", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    _tidy(axes, title, "seconds of the colour print", "seconds of the grey print")


def _curve(axes: Axes, facts: PathFacts) -> None:
    """The correlation of the pictures at every offset that was considered."""
    at = facts.offsets / facts.frame_rate
    axes.plot(at, facts.pictures, color=_GREY, linewidth=0.8, label="pictures")
    axes.plot(at, facts.changes, color=_COLOUR, linewidth=0.8, label="changes")
    here = np.flatnonzero(facts.offsets == facts.offset)
    if len(here):
        axes.plot(at[here], facts.changes[here], "o", color=_GOOD, markersize=6)
        axes.plot(at[here], facts.pictures[here], "o", color=_GOOD, markersize=6)
    axes.set_ylim(min(-0.3, float(facts.pictures.min())), 1.05)
    axes.axvline(0, color=_INK, linewidth=0.5, linestyle=":")
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    _tidy(axes, "Correlation of the prints at every offset", "offset in seconds (grey minus colour)", "")


def _peak(axes: Axes, facts: PathFacts) -> None:
    """The same a few frames around the offset: a peak one frame wide."""
    near = np.abs(facts.offsets - facts.offset) <= 8
    shades = [_GOOD if offset == facts.offset else "#e3b587" for offset in facts.offsets[near]]
    axes.bar(facts.offsets[near], facts.changes[near], color=shades, width=0.8, label="changes")
    axes.plot(facts.offsets[near], facts.pictures[near], "o-", color=_GREY, markersize=3, linewidth=0.8, label="pictures")
    axes.set_xticks(facts.offsets[near][::2] if facts.offset % 2 == facts.offsets[near][0] % 2 else facts.offsets[near][1::2])
    axes.set_ylim(min(-0.1, float(facts.changes[near].min(initial=0))), 1.1)
    _tidy(axes, "The same, frame by frame around the peak", "offset in frames", "")


def _along(axes: Axes, facts: PathFacts) -> None:
    """Likeness and confidence of the pairs along the film."""
    width = max(1, len(facts.sure) // 1200)
    count = len(facts.sure) // width
    if count:
        time = (facts.start + width * (np.arange(count) + 0.5)) / facts.frame_rate
        sure = facts.sure[: count * width].reshape(count, width)
        # The best of each handful: a flat frame has no likeness.
        alike = np.nanmax(np.column_stack([facts.alike[: count * width].reshape(count, width), np.full(count, -np.inf)]), axis=1)
        axes.fill_between(time, sure.mean(axis=1), color=_GOOD, alpha=0.45, linewidth=0, step="mid")
        axes.plot(time, np.where(np.isfinite(alike), alike, np.nan), color=_INK, linewidth=0.8)
    for low, high in ((0, facts.start), (facts.end, facts.colour_frames)):
        axes.axvspan(low / facts.frame_rate, high / facts.frame_rate, **_SHADE)
    axes.set_xlim(0, facts.colour_frames / facts.frame_rate)
    axes.set_ylim(0, 1.05)
    _tidy(
        axes,
        "Along the film: likeness of the paired pictures (line), confidence to the frame (green; none where a shot stands still)",
        "seconds of the colour print",
        "",
    )


@dataclass(frozen=True)
class PairFacts:
    """One pair for pairs.png: grey (h, w) and colour (h, w, 3) RGB of the same size, uint8, laid on each other."""

    grey: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    grey_frame: int
    colour_frame: int
    seconds: float


def draw_pairs(target: Path, pairs: Sequence[PairFacts], *, note: str) -> None:
    """Draw pairs.png: for each pair the grey picture, the colour picture and both as a chequerboard, two pairs a row."""
    scale = _PICTURE_WIDTH / pairs[0].grey.shape[1]
    width, height = _PICTURE_WIDTH, round(pairs[0].grey.shape[0] * scale)
    columns = 2 if len(pairs) > 1 else 1
    rows = -(-len(pairs) // columns)
    step_x, step_y = 3 * (width + _GAP) + 3 * _GAP, height + _LINE + 2 * _GAP
    top = round(3.4 * _LINE)
    sheet = Image.new("RGB", (columns * step_x + _GAP, top + rows * step_y), "white")
    draw = ImageDraw.Draw(sheet)
    fonts = [ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size) for size in (19, 15, 13)]
    heading = "Pairs of frames: grey print | colour print | both as a chequerboard, in which edges must run on unbroken"
    middle = sheet.width // 2
    for font, at, text in ((fonts[0], 0.9, heading), (fonts[1], 2.2, note)):
        # A single pair makes a narrow sheet.
        size = font.size * min(1.0, (sheet.width - 2 * _GAP) / draw.textlength(text, font))
        draw.text((middle, at * _LINE), text, _INK, font.font_variant(size=size), anchor="mm")
    for index, pair in enumerate(pairs):
        row, side = divmod(index, columns)
        minutes, seconds = divmod(pair.seconds, 60)
        titles = (
            f"grey, frame {pair.grey_frame:,}",
            f"colour, frame {pair.colour_frame:,}",
            f"both, at {minutes:.0f}:{seconds:05.2f}",
        )
        for part, (picture, title) in enumerate(
            zip((pair.grey, pair.colour, chequered(pair.grey, pair.colour)), titles, strict=True)
        ):
            x, y = _GAP + side * step_x + part * (width + _GAP), top + row * step_y
            draw.text((x + width // 2, y + _LINE // 2), title, _INK, fonts[2], anchor="mm")
            shrinks = scale < 1
            small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
            sheet.paste(Image.fromarray(small), (x, y + _LINE))
    sheet.save(target)


def chequered(grey: NDArray[np.uint8], colour: NDArray[np.uint8], *, fields: int = 6) -> NDArray[np.uint8]:
    """A chequerboard of both pictures, `fields` fields high, the grey one brought to the colour one's tone; (h, w, 3) uint8."""
    luma = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(np.float32)
    toned = (grey.astype(np.float32) - grey.mean()) * (luma.std() / max(float(grey.std()), 1.0)) + luma.mean()
    side = max(2, grey.shape[0] // fields)
    rows, columns = np.indices(grey.shape) // side
    turn = ((rows + columns) % 2 == 0)[..., None]
    return np.where(turn, np.clip(toned, 0, 255).astype(np.uint8)[..., None], colour)
