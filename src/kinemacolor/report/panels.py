"""Pictures side by side: where each panel lies, what is written on it, and a still of the whole.

Panels keep the film's own size and touch each other without a seam, so that every pixel outside the captions is a pixel
of what it shows. Captions are drawn once and blended into each frame, which costs a hundredth of drawing them anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from kinemacolor.files import atomic_file

COLUMNS = 3
"""More panels than this wrap to the next row."""

POSTER_BYTES = 380_000
"""Posters are committed to git: a still shrinks until it is smaller than this."""

_SHADE = (np.arange(256) * 0.35).astype(np.uint8)  # what lies under a caption shows through darkly


@dataclass(frozen=True)
class Caption:
    """A strip of text, ready to be blended: `text` is (h,w) uint8 coverage, `top` and `left` its place on the canvas."""

    text: np.ndarray
    top: int
    left: int

    def draw(self, canvas: np.ndarray) -> None:
        """Blend the strip into (H,W,3) uint8 in place."""
        height, width = self.text.shape
        region = canvas[self.top : self.top + height, self.left : self.left + width]
        np.maximum(_SHADE[region], self.text[..., None], out=region)


class Grid:
    """Equal panels in rows of at most three, each with its caption.

    Args:
        labels: one per panel, in reading order.
        height, width: of one panel in pixels.
        credit: written into the last cell where the panels leave it empty, so that the credit travels with the video.
    """

    def __init__(self, labels: Sequence[str], *, height: int, width: int, credit: str = "") -> None:
        self.panel = (height, width)
        self.columns = min(COLUMNS, len(labels))
        rows = math.ceil(len(labels) / self.columns)
        self.height, self.width = rows * height, self.columns * width
        self._labels = tuple(labels)
        self._captions = [_strip(label, self.panel, *self._corner(place)) for place, label in enumerate(labels)]
        self._blank = np.zeros((self.height, self.width, 3), np.uint8)
        if credit and len(labels) < rows * self.columns:
            self._write_credit(credit, rows * self.columns - 1)

    def canvas(self) -> np.ndarray:
        """A new canvas (H,W,3) uint8: black, with the credit in the empty cell."""
        return self._blank.copy()

    def cell(self, canvas: np.ndarray, place: int) -> np.ndarray:
        """The view of `canvas` that belongs to panel `place`, (h,w,3)."""
        top, left = self._corner(place)
        return canvas[top : top + self.panel[0], left : left + self.panel[1]]

    def caption(self, canvas: np.ndarray) -> None:
        """Write every panel's caption, in place; call it when the panels are filled."""
        for strip in self._captions:
            strip.draw(canvas)

    def _corner(self, place: int) -> tuple[int, int]:
        row, column = divmod(place, self.columns)
        return row * self.panel[0], column * self.panel[1]

    def _write_credit(self, credit: str, place: int) -> None:
        height, width = self.panel
        size = max(9, round(height * 0.028))
        lines = _wrapped(credit, _font(size), round(width * 0.8))
        picture = Image.new("L", (width, height))
        ImageDraw.Draw(picture).multiline_text(
            (width / 2, height / 2), lines, font=_font(size), fill=150, anchor="mm", align="center", spacing=size * 0.6
        )
        self.cell(self._blank, place)[:] = np.asarray(picture)[..., None]


def _strip(label: str, panel: tuple[int, int], top: int, left: int) -> Caption:
    """The caption of one panel: a small plate at its lower left."""
    height, width = panel
    font = _font(max(9, round(height * 0.034)))
    pad = max(3, round(font.size * 0.45))
    ascent, descent = font.getmetrics()
    plate = (min(width, math.ceil(font.getlength(label)) + 4 * pad), min(height, ascent + descent + pad))
    picture = Image.new("L", plate)
    ImageDraw.Draw(picture).text((2 * pad, plate[1] / 2), label, font=font, fill=238, anchor="lm")
    return Caption(np.asarray(picture), top + height - plate[1], left)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Break `text` at its spaces so that no line is wider than `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib brings this font on every platform; a system's own fonts would make other bytes on other machines.
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans", fallback_to_default=True), size)


def save_still(picture: np.ndarray, out: Path, *, width: int = 1280, limit: int = POSTER_BYTES) -> None:
    """Write (H,W,3) uint8 as a PNG at most `width` pixels wide and at most about `limit` bytes large."""
    width = min(width, picture.shape[1])
    while True:
        height = max(1, round(picture.shape[0] * width / picture.shape[1]))
        still = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        with atomic_file(out) as temporary:
            Image.fromarray(still).save(temporary, optimize=True)
        if out.stat().st_size <= limit or width <= 64:
            return
        width = round(width * 0.85)
