"""What stands in and on a panel: its caption, and stills of it.

Captions are plates that are blended into each frame. Their words are drawn once; figures that change from frame to frame are put
together from digits that were drawn once, which costs a hundredth of drawing them anew.
"""

from __future__ import annotations

import functools
import io
import math
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kinemacolor.files import atomic_file

POSTER_BYTES = 380_000
"""Posters are committed to git: a still shrinks until it is smaller than this."""

_SHADE = (np.arange(256) * 0.35).astype(np.uint8)  # what lies under a caption shows through darkly
_INK = 238


class Caption:
    """A small plate at the edge of a panel: words, and behind them figures that may differ from frame to frame.

    Args:
        words: what is always written.
        panel: height and width of the panel in pixels.
        figures: the widest figures that will be written. The plate keeps room for them, and so stands still; where the panel
            is too narrow for both, there are no figures.
        right: at the right edge instead of the left.
        top: at the upper edge instead of the lower.
    """

    def __init__(self, words: str, *, panel: tuple[int, int], figures: str = "", right: bool = False, top: bool = False) -> None:
        height, width = panel
        font = font_of(max(9, round(height * 0.034)))
        pad = max(3, round(font.size * 0.45))
        ascent, descent = font.getmetrics()
        self._tall = min(height, ascent + descent + pad)
        self._font_size = font.size
        begin = 2 * pad + math.ceil(font.getlength(words)) + (2 * pad if words and figures else 0)
        room = len(self._written(figures)[0]) if figures else 0
        if begin + room + 2 * pad > width:
            room = 0
        wide = min(width, begin + room + 2 * pad)
        picture = Image.new("L", (wide, self._tall))
        ImageDraw.Draw(picture).text((2 * pad, self._tall / 2), words, font=font, fill=_INK, anchor="lm")
        self._words = np.array(picture)
        self._figures = slice(begin, begin + room)
        vertical = slice(0, self._tall) if top else slice(height - self._tall, height)
        self._place = vertical, slice(width - wide, width) if right else slice(0, wide)

    def draw(self, panel: np.ndarray, figures: str = "") -> None:
        """Blend the plate into a panel, (H,W,3) uint8, in place."""
        text = self._words
        if figures and self._figures.stop > self._figures.start:
            written = self._written(figures)[:, : self._figures.stop - self._figures.start]
            text = text.copy()
            text[:, self._figures.start : self._figures.start + written.shape[1]] = written
        region = panel[self._place]
        np.maximum(_SHADE[region], text[..., None], out=region)

    def _written(self, figures: str) -> np.ndarray:
        """(h,w) uint8 coverage."""
        return np.concatenate([_glyph(character, self._font_size, self._tall) for character in figures], axis=1)


@functools.lru_cache(256)
def _glyph(character: str, size: int, height: int) -> np.ndarray:
    """One character on a strip of `height` lines; digits are all of one width, so that figures do not dance."""
    font = font_of(size)
    picture = Image.new("L", (max(1, round(font.getlength(character))), height))
    ImageDraw.Draw(picture).text((0, height / 2), character, font=font, fill=_INK, anchor="lm")
    return np.array(picture)


def written_credit(text: str, panel: tuple[int, int]) -> np.ndarray:
    """A text in the middle of an otherwise black panel of height and width, (h,w) uint8."""
    height, width = panel
    size = max(9, round(height * 0.028))
    lines = _wrapped(text, font_of(size), round(width * 0.8))
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).multiline_text(
        (width / 2, height / 2), lines, font=font_of(size), fill=150, anchor="mm", align="center", spacing=size * 0.6
    )
    return np.asarray(picture)


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


@functools.lru_cache(16)
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The font of captions."""
    # matplotlib brings this font on every platform; a system's own fonts would make other bytes on other machines.
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def save_still(picture: np.ndarray, out: Path, *, width: int = 1280, limit: int = POSTER_BYTES) -> None:
    """Write (H,W,3) uint8 as a PNG at most `width` pixels wide and at most about `limit` bytes large."""
    width = min(width, picture.shape[1])
    while True:
        still = _narrowed(picture, width)
        with atomic_file(out) as temporary:
            Image.fromarray(still).save(temporary, optimize=True)
        size = out.stat().st_size
        if size <= limit or width <= 64:
            return
        # Bytes go roughly with the area, and a little below what that says is sooner found than by small steps.
        width = max(64, round(width * min(0.9, 0.98 * math.sqrt(limit / size))))


def jpeg_of(picture: np.ndarray, *, width: int = 960, quality: int = 92) -> bytes:
    """(H,W,3) uint8 as a JPEG file at most `width` pixels wide, its chroma at full resolution, since chroma is what it shows."""
    file = io.BytesIO()
    still = _narrowed(picture, min(width, picture.shape[1]))
    Image.fromarray(still).save(file, format="JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _narrowed(picture: np.ndarray, width: int) -> np.ndarray:
    """(H,W,3) at a smaller width, areas averaged."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
