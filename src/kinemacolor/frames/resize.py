"""Area-averaged resizing with fractional crops, as two small products with sparse matrices.

Each output pixel is the mean of the input area it covers, edges weighted by the share they cover. A crop may begin
between two pixels, which is what aligning two prints asks for; no library's resize takes such a box.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from kinemacolor.errors import UserError

_ROUND = 0.5 + 1e-6
"""A matrix product may add in an order that differs between machines. In float64 the sums then differ by less than
1e-11, and as halves round up by this margin, no pixel does."""

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels."""


def area_weights(length: int, low: float, high: float, out: int) -> np.ndarray:
    """Weights (out, length) float64 that average the interval [low, high) of a line of pixels into `out` pixels.

    Rows sum to one. Where the interval must grow instead of shrink, weights interpolate linearly between centres.
    """
    step = (high - low) / out
    pixels = np.arange(length, dtype=np.float64)
    if step >= 1:
        begin = low + step * np.arange(out, dtype=np.float64)[:, None]
        overlap = np.minimum(begin + step, pixels + 1) - np.maximum(begin, pixels)
        weights = np.clip(overlap, 0, None)
    else:
        centres = np.clip(low + step * (np.arange(out, dtype=np.float64)[:, None] + 0.5) - 0.5, 0, length - 1)
        weights = np.clip(1 - np.abs(centres - pixels), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def fitted_box(box: Box, height: int, width: int) -> Box:
    """The largest centred box inside `box` with the shape of `height` x `width`."""
    left, top, right, bottom = box
    have = (right - left) / (bottom - top)
    want = width / height
    if have > want:
        trim = ((right - left) - (bottom - top) * want) / 2
        return left + trim, top, right - trim, bottom
    trim = ((bottom - top) - (right - left) / want) / 2
    return left, top + trim, right, bottom - trim


class AreaResize:
    """Cuts a box out of pictures of one size and resizes it; the weights are computed once.

    Args:
        source: height and width of the pictures that will come.
        size: height and width wanted.
        box: the part to use, the whole picture by default.
        fit: `crop` cuts the box to the wanted shape, `stretch` ignores shapes, `pad` puts the whole box on black.
    """

    def __init__(
        self,
        source: tuple[int, int],
        size: tuple[int, int],
        *,
        box: Box | None = None,
        fit: Literal["crop", "stretch", "pad"] = "crop",
    ) -> None:
        self.source, self.size = source, size
        box = box or (0.0, 0.0, float(source[1]), float(source[0]))
        left, top, right, bottom = box
        if not (0 <= left < right <= source[1] + 1e-6 and 0 <= top < bottom <= source[0] + 1e-6):
            raise UserError(
                f"A crop of {box} lies outside a picture of {source[1]}x{source[0]} pixels: correct the crop or run sync again."
            )
        height, width = size
        if fit == "crop":
            left, top, right, bottom = fitted_box(box, height, width)
        elif fit == "pad":
            scale = min(height / (bottom - top), width / (right - left))
            height = max(1, min(height, round((bottom - top) * scale)))
            width = max(1, min(width, round((right - left) * scale)))
        # Only the rows and columns that carry weight are touched.
        self._rows = slice(int(top), min(source[0], int(np.ceil(bottom))))
        self._columns = slice(int(left), min(source[1], int(np.ceil(right))))
        self._down = csr_array(area_weights(source[0], top, bottom, height)[:, self._rows])
        self._across = csr_array(area_weights(source[1], left, right, width)[:, self._columns])
        self._offset = ((size[0] - height) // 2, (size[1] - width) // 2)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Resize uint8 (H,W,C) or (H,W) to uint8 planes (C,h,w); C is 1 for (H,W)."""
        if picture.shape[:2] != self.source:
            raise UserError(
                f"A frame of {picture.shape[1]}x{picture.shape[0]} pixels stands in a video of {self.source[1]}x{self.source[0]}: re-encode it at one size."
            )
        part = picture[self._rows, self._columns]
        part = part.reshape(*part.shape[:2], -1).astype(np.float64)
        # Rows first: they shrink the larger half of the work with one product over contiguous memory.
        lines = self._down @ part.reshape(part.shape[0], -1)
        lines = lines.reshape(-1, part.shape[1], part.shape[2]).transpose(1, 2, 0)
        columns = self._across @ np.ascontiguousarray(lines).reshape(part.shape[1], -1)
        planes = np.floor(columns.reshape(-1, *lines.shape[1:]) + _ROUND).astype(np.uint8).transpose(1, 2, 0)
        planes = np.ascontiguousarray(planes)
        if planes.shape[1:] == self.size:
            return planes
        canvas = np.zeros((planes.shape[0], *self.size), np.uint8)
        y, x = self._offset
        canvas[:, y : y + planes.shape[1], x : x + planes.shape[2]] = planes
        return canvas
