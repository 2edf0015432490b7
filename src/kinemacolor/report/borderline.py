"""The borderline sheet: the frames that the filter's threshold parts most narrowly, so that a person may judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from kinemacolor.report.sheets import Row, clock, sheet

EACH = 8
"""Frames of either side that a sheet shows at most."""
_APART = 12
"""Frames of an index within which only one is shown: neighbours look alike."""
_SIDE = 160


@dataclass(frozen=True)
class Shown:
    """A frame of the sheet: its picture, uint8 RGB (H,W,3), its source, its time in seconds, and the measure that decides."""

    picture: np.ndarray
    source: str
    seconds: float
    colour: float


def borderline(colour: np.ndarray, store: np.ndarray, at: np.ndarray, *, grey: float, each: int = EACH) -> list[int]:
    """Choose the frames nearest to the threshold.

    Args:
        colour: the measure of each frame, (N,).
        store: a number for each frame's source; at: its place in the index.
        grey: the threshold.
        each: how many of either side.

    Returns:
        Places in these arrays by rising measure: at most `each` under the threshold, and as many from it on.
    """
    chosen: list[int] = []
    for under in (True, False):
        side = np.flatnonzero((colour < grey) == under)
        near = side[np.argsort(np.abs(colour[side] - grey), kind="stable")]
        taken: dict[int, list[int]] = {}
        found: list[int] = []
        for place in near.tolist():
            if len(found) == each:
                break
            others = taken.setdefault(int(store[place]), [])
            if all(abs(int(at[place]) - other) >= _APART for other in others):
                others.append(int(at[place]))
                found.append(place)
        chosen += found[::-1] if under else found
    return chosen


def draw_borderline(shown: Sequence[Shown], out: Path, *, grey: float) -> None:
    """Draw the sheet as PNG.

    Args:
        shown: in the order of the sheet; may be empty, and may differ in size.
        out: the PNG.
        grey: the threshold.
    """
    if not shown:
        page = Image.new("RGB", (480, 60), "white")
        ImageDraw.Draw(page).text((24, 22), "No frame is decided by its colour.", fill=(25, 25, 25))
        page.save(out, format="PNG", optimize=True)
        return
    rows = [
        Row(
            pictures=[("", _fitted(one.picture))],
            caption=f"{one.source} {clock(one.seconds)}",
            notes={"": f"{'grey' if one.colour < grey else 'kept'}, {one.colour:.2f}"},
        )
        for one in shown
    ]
    remark = "By rising measure: chroma (Lab units) beyond tint and noise; the others are further from the threshold."
    sheet(rows, out, title=f"Nearest to the threshold of {grey:g}", remark=remark)


def _fitted(picture: np.ndarray) -> np.ndarray:
    """The picture in a square, on white."""
    image = Image.fromarray(picture)
    scale = _SIDE / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    image = image.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    page = Image.new("RGB", (_SIDE, _SIDE), "white")
    page.paste(image, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return np.asarray(page)
