"""pairs.png: pairs of frames laid on each other, by which a person sees that two prints are in step and in register."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from matplotlib import colors, font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from kinemacolor.report.segments import UNSURE, clock_words
from kinemacolor.report.sync_style import INK, OWN, SURE

if TYPE_CHECKING:
    from kinemacolor.align.path import Path as PrintsPath

LIMIT = 12
"""Pairs that a sheet shows at most."""
_PICTURE_WIDTH, _GAP, _LINE = 250, 6, 26  # pixels of the contact sheet
_SIDES, _INWARD = 4, 24  # breaks shown by both their sides where all have no room; pairs by which one may evade a dark frame


@dataclass(frozen=True)
class PairFacts:
    """One pair for pairs.png.

    Attributes:
        grey, colour: (h, w) and (h, w, 3) RGB of the same size, uint8, laid on each other.
        grey_frame, colour_frame: their numbers in their prints.
        seconds: time of the colour frame; `grey_seconds` of the grey one, if it is known.
        segment: index of the segment, from 0; None if it is not said.
        confidence: of the pair, 0..1; None if it is not said.
        where: what is told of its place, such as "last before a break"; may be empty.
    """

    grey: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    grey_frame: int
    colour_frame: int
    seconds: float
    grey_seconds: float | None = None
    segment: int | None = None
    confidence: float | None = None
    where: str = ""


def shown_pairs(path: PrintsPath, *, limit: int = LIMIT, good: Callable[[int], bool] | None = None) -> list[tuple[int, str]]:
    """Which pairs a sheet should show: some of every segment, and those next to the least sure breaks.

    Args:
        path: its pairs.
        limit: how many at most.
        good: whether a pair, by its index in the path's arrays, has something to see; near ones are tried if not.

    Returns:
        Indices into the path's arrays, ascending, each with what is told of its place (`PairFacts.where`).
    """
    spans = [np.flatnonzero(path.segment == number) for number in range(len(path.segments))]
    spans = [span for span in spans if len(span)]
    if not spans or limit < 1:
        return []
    chosen: dict[int, str] = {}

    def add(span: NDArray[np.intp], place: int, where: str, tries: Sequence[int]) -> None:
        # A dark frame shows nothing; one that is there already is no other.
        near = [int(span[place + step]) for step in tries if 0 <= place + step < len(span)]
        near = [pair for pair in near if pair not in chosen]
        if near and len(chosen) < limit:
            chosen.setdefault(next((pair for pair in near if good is None or good(pair)), near[0]), where)

    sides = range(len(spans) - 1)
    if len(spans) + 2 * len(sides) > limit:
        unsure = sorted(sides, key=lambda n: min(np.mean(path.confidence[s]) for s in (spans[n][-12:], spans[n + 1][:12])))
        sides = sorted(unsure[: max(0, min(_SIDES, (limit - min(len(spans), limit // 2)) // 2))])
    for n in sides:
        add(spans[n], len(spans[n]) - 1, "last before a break", range(0, -_INWARD, -1))
        add(spans[n + 1], 0, "first after a break", range(_INWARD))
    room = limit - len(chosen)
    ends = np.cumsum([len(span) for span in spans])
    # As many of each segment as its length asks for, at least one while there is room.
    asked = np.zeros(len(spans), int)
    if room >= len(spans):
        asked += 1
    while asked.sum() < min(room, ends[-1]):
        asked[
            np.argmax(
                [len(span) / (have + 0.5) / (1 if have < len(span) else np.inf) for span, have in zip(spans, asked, strict=True)]
            )
        ] += 1
    for span, count in zip(spans, asked, strict=True):
        for part in np.array_split(np.arange(len(span)), count) if count else ():
            middle, reach = int(part[len(part) // 2]), max(1, len(part) // 2)
            steps = np.unique(np.linspace(-reach, reach, 61).astype(int))
            add(span, middle, "", sorted(steps.tolist(), key=abs))
    return sorted(chosen.items())


def draw_pairs(target: Path, pairs: Sequence[PairFacts], *, note: str) -> None:
    """Draw pairs.png: for each pair the grey picture, the colour picture, both half and half, and both as a chequerboard.

    Args:
        pairs: up to LIMIT are shown, evenly from all of them.
        note: one line about all of them, such as the geometry.
    """
    if len(pairs) > LIMIT:
        pairs = [pairs[n] for n in np.linspace(0, len(pairs) - 1, LIMIT).round().astype(int)]
    shape = pairs[0].grey.shape if pairs else (9, 16)
    width, height = _PICTURE_WIDTH, max(8, round(shape[0] * _PICTURE_WIDTH / shape[1]))
    columns = 2 if len(pairs) > 4 else 1
    rows = -(-len(pairs) // columns)
    step_x, step_y = 4 * (width + _GAP) + 3 * _GAP, height + _LINE + 2 * _GAP
    top = round(3.2 * _LINE)
    sheet = Image.new("RGB", (columns * step_x + _GAP, top + rows * step_y), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 15)
    heading = "Grey print | colour print | both half and half | both as a chequerboard, in which edges must run on unbroken"
    for size, line, text in ((19, 0.85, heading), (15, 2.0, note)):
        _fitted(draw, (sheet.width // 2, round(line * _LINE)), text, font.font_variant(size=size), sheet.width - 2 * _GAP, "mm")
    for index, pair in enumerate(pairs):
        row, side = divmod(index, columns)
        x, y = _GAP + side * step_x, top + row * step_y
        _caption(draw, pair, (x, y + _LINE // 2), font, 4 * width + 3 * _GAP)
        pictures = (pair.grey, pair.colour, blended(pair.grey, pair.colour), chequered(pair.grey, pair.colour))
        shrinks = pair.grey.shape[1] > width
        for part, picture in enumerate(pictures):
            small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
            sheet.paste(Image.fromarray(small), (x + part * (width + _GAP), y + _LINE))
    sheet.save(target, format="PNG")


def caption(pair: PairFacts) -> str:
    """What stands above a pair: frames, times, segment, confidence, place."""
    said = [
        f"grey {pair.grey_frame:,}{'' if pair.grey_seconds is None else f' ({clock_words(pair.grey_seconds)})'}",
        f"colour {pair.colour_frame:,} ({clock_words(pair.seconds)})",
    ]
    said += [] if pair.segment is None else [f"segment {pair.segment + 1}"]
    said += [] if pair.confidence is None else [f"sure {pair.confidence:.2f}"]
    return " · ".join([*said, *([pair.where] if pair.where else [])])


def _caption(draw: ImageDraw.ImageDraw, pair: PairFacts, at: tuple[int, int], font: ImageFont.FreeTypeFont, room: int) -> None:
    """The caption behind a square in the colour of the confidence; red letters where that is low."""
    x, y = at
    ink = INK
    if pair.confidence is not None:
        draw.rectangle((x, y - 6, x + 12, y + 6), fill=colors.to_hex(SURE(pair.confidence)))
        ink = OWN if pair.confidence < UNSURE else INK
        x, room = x + 20, room - 20
    _fitted(draw, (x, y), caption(pair), font, room, "lm", ink)


def _fitted(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont,
    room: int,
    anchor: str,
    ink: str = INK,
) -> None:
    """A line of text, smaller where it has no room."""
    size = font.size * min(1.0, room / max(draw.textlength(text, font), 1))
    draw.text(at, text, ink, font.font_variant(size=size), anchor=anchor)


def _toned(grey: NDArray[np.uint8], colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The grey picture in the colour one's mean and spread of luma."""
    luma = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(np.float32)
    toned = (grey.astype(np.float32) - grey.mean()) * (luma.std() / max(float(grey.std()), 1.0)) + luma.mean()
    return np.clip(toned, 0, 255).astype(np.uint8)


def blended(grey: NDArray[np.uint8], colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Both pictures half and half, the grey one brought to the colour one's tone; (h, w, 3) uint8."""
    return cv2.addWeighted(cv2.cvtColor(_toned(grey, colour), cv2.COLOR_GRAY2RGB), 0.5, colour, 0.5, 0)


def chequered(grey: NDArray[np.uint8], colour: NDArray[np.uint8], *, fields: int = 6) -> NDArray[np.uint8]:
    """A chequerboard of both pictures, `fields` fields high, the grey one brought to the colour one's tone; (h, w, 3) uint8."""
    side = max(2, grey.shape[0] // fields)
    rows, columns = np.indices(grey.shape) // side
    turn = ((rows + columns) % 2 == 0)[..., None]
    return np.where(turn, _toned(grey, colour)[..., None], colour)
