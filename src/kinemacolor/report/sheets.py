"""Sample sheets: rows of small pictures side by side, labelled, to be read on a white page or as a file by itself.

Frames are often 64 x 64, too small to judge colours by eye, so they are enlarged, and the sheet says how. Several rows
stand beside each other so that a sheet is about as wide as a page, whatever the number of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kinemacolor.files import atomic_file

_SMALL, _LARGE = 160, 256  # a picture's height on the sheet lies between these
_PAGE = 1600  # pixels in width that a sheet of several blocks may have
_MARGIN, _GAP, _BLOCK_GAP, _LINE = 24, 6, 36, 17
_INK, _FAINT, _PAPER = (25, 25, 25), (105, 105, 105), (255, 255, 255)


@dataclass(frozen=True)
class Row:
    """One frame in all its versions.

    Attributes:
        pictures: (heading, uint8 RGB (H, W, 3) or grey (H, W)), from left to right: grey, each model's, true. All of one
            size, and with the same headings in every row of a sheet.
        caption: stands over the pictures, such as `bunny 0:03:25`.
        notes: heading -> a figure that stands under that picture, such as `dE 4.1`.
    """

    pictures: Sequence[tuple[str, np.ndarray]]
    caption: str = ""
    notes: dict[str, str] = field(default_factory=dict)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss, cut off (not rounded) to the second, as players show it."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def sheet(rows: Sequence[Row], path: Path, *, title: str, remark: str = "") -> None:
    """Draw a labelled sheet and write it as PNG, atomically.

    Args:
        rows: what to show, in reading order: from left to right where several fit beside each other, then down.
        path: the PNG.
        title: heading of the sheet.
        remark: stands at the foot, before the line that says how the pictures were scaled.

    Raises:
        ValueError: no rows, or rows that differ in headings or picture size.
    """
    headings, (height, width) = _common(rows)
    shown = _shown_size(height, width)
    block = len(headings) * (shown[1] + _GAP) - _GAP
    across = max(1, min(len(rows), (_PAGE - 2 * _MARGIN + _BLOCK_GAP) // (block + _BLOCK_GAP)))
    # As many lines as needed, then no more blocks across than these lines need: no ragged half-empty sheet.
    down = -(-len(rows) // across)
    across = -(-len(rows) // down)
    cell = shown[0] + 2 * _LINE + 14
    foot = " ".join(part for part in (remark, _scaling((height, width), shown)) if part)

    title_font, font, small = _font(20, bold=True), _font(13), _font(11)
    inner = max(across * (block + _BLOCK_GAP) - _BLOCK_GAP, int(title_font.getlength(title)))
    feet = _wrapped(foot, small, inner)
    top = _MARGIN + 36 + _LINE + 4
    page = Image.new("RGB", (inner + 2 * _MARGIN, top + down * cell + len(feet) * _LINE + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=title_font)
    for column in range(across):
        for position, heading in enumerate(headings):
            left = _MARGIN + column * (block + _BLOCK_GAP) + position * (shown[1] + _GAP)
            draw.text((left, _MARGIN + 36), _fitting(heading, font, shown[1]), fill=_INK, font=_font(13, bold=True))
    for index, row in enumerate(rows):
        line, column = divmod(index, across)
        left, upper = _MARGIN + column * (block + _BLOCK_GAP), top + line * cell
        draw.text((left, upper), _fitting(row.caption, font, block), fill=_INK, font=font)
        for position, (heading, picture) in enumerate(row.pictures):
            x = left + position * (shown[1] + _GAP)
            page.paste(_scaled(picture, shown), (x, upper + _LINE))
            note = _fitting(row.notes.get(heading, ""), small, shown[1])
            draw.text((x, upper + _LINE + shown[0] + 2), note, fill=_FAINT, font=small)
    for number, text in enumerate(feet):
        draw.text((_MARGIN, top + down * cell + number * _LINE), text, fill=_FAINT, font=small)
    with atomic_file(path) as temporary:
        page.save(temporary, format="PNG", optimize=True)


def _common(rows: Sequence[Row]) -> tuple[list[str], tuple[int, int]]:
    """The headings and the picture size that all rows share."""
    if not rows:
        raise ValueError("a sheet needs at least one row")
    headings = [heading for heading, _ in rows[0].pictures]
    sizes = {picture.shape[:2] for row in rows for _, picture in row.pictures}
    if any([heading for heading, _ in row.pictures] != headings for row in rows) or len(sizes) != 1:
        raise ValueError("the rows of a sheet must have the same headings, and all pictures the same size")
    return headings, sizes.pop()


def _shown_size(height: int, width: int) -> tuple[int, int]:
    shown = min(max(height, _SMALL), _LARGE)
    return shown, max(1, round(width * shown / height))


def _scaling(size: tuple[int, int], shown: tuple[int, int]) -> str:
    """How the pictures came to their size on the sheet, for the foot."""
    was, now = (f"{width}x{height}" for height, width in (size, shown))
    if shown[0] == size[0]:
        return f"Pictures at their own size, {was}."
    return (
        f"Pictures of {was} enlarged to {now}, bicubic."
        if shown[0] > size[0]
        else f"Pictures of {was} reduced to {now}, by area."
    )


def _scaled(picture: np.ndarray, shown: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(picture).convert("RGB")
    if shown == picture.shape[:2]:
        return image
    enlarged = shown[0] > picture.shape[0]
    return image.resize((shown[1], shown[0]), Image.Resampling.BICUBIC if enlarged else Image.Resampling.BOX)


@lru_cache(maxsize=8)
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    # matplotlib brings DejaVu, which has Greek and accents and is the same on every machine.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """`text`, or as much of it as `width` holds with three dots behind."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
