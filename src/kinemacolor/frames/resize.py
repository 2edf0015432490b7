"""Area-averaged resizing with fractional crops: weighted means down the lines, then across.

Each output pixel is the mean of the input area it covers, edges weighted by the share they cover. A crop may begin
between two pixels, which is what aligning two prints asks for; no library's resize takes such a box. The loops are compiled
(resize_kernel.py) and let go of the interpreter's lock.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from kinemacolor.errors import UserError

_ROUND = 0.5 + 1e-6
"""Sums in float64 are off by less than 1e-11, whatever their order; as halves round up by this margin, no pixel hangs on it."""

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels."""


def area_weights(length: int, low: float, high: float, out: int) -> np.ndarray:
    """Weights (out, length) float64 that average the interval [low, high) of a line of pixels into `out` pixels.

    Rows sum to one, and only pixels that the interval touches have weight. Where it must grow instead of shrink, weights
    interpolate linearly between the centres of those.
    """
    step = (high - low) / out
    pixels = np.arange(length, dtype=np.float64)
    if step >= 1:
        begin = low + step * np.arange(out, dtype=np.float64)[:, None]
        overlap = np.minimum(begin + step, pixels + 1) - np.maximum(begin, pixels)
        weights = np.clip(overlap, 0, None)
    else:
        first, last = np.floor(low), min(np.ceil(high), length) - 1
        centres = np.clip(low + step * (np.arange(out, dtype=np.float64)[:, None] + 0.5) - 0.5, first, last)
        weights = np.clip(1 - np.abs(centres - pixels), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def fitted_box(box: Box, height: float, width: float) -> Box:
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
        pixel_aspect: width over height of one pixel of the pictures as it is shown (`Picture.pixel_aspect`). `crop` and `pad`
            keep the shape that is shown, so that a DVD's discs stay round.
    """

    def __init__(
        self,
        source: tuple[int, int],
        size: tuple[int, int],
        *,
        box: Box | None = None,
        fit: Literal["crop", "stretch", "pad"] = "crop",
        pixel_aspect: float = 1.0,
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
            left, top, right, bottom = fitted_box(box, height, width / pixel_aspect)
        elif fit == "pad":
            shown = (right - left) * pixel_aspect
            scale = min(height / (bottom - top), width / shown)
            height = max(1, min(height, round((bottom - top) * scale)))
            width = max(1, min(width, round(shown * scale)))
        self._down = _runs(area_weights(source[0], top, bottom, height))
        self._across = _runs(area_weights(source[1], left, right, width))
        self._offset = ((size[0] - height) // 2, (size[1] - width) // 2)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Resize uint8 (H,W,C) or (H,W) to uint8 planes (C,h,w); C is 1 for (H,W)."""
        if picture.shape[:2] != self.source:
            raise UserError(
                f"A frame of {picture.shape[1]}x{picture.shape[0]} pixels stands in a video of {self.source[1]}x{self.source[0]}: re-encode it at one size."
            )
        from kinemacolor.frames.resize_kernel import average  # numba takes half a second to import

        channels = 1 if picture.ndim == 2 else picture.shape[2]
        canvas = np.zeros((channels, *self.size), np.uint8)
        lines = np.ascontiguousarray(picture, np.uint8).reshape(self.source[0], -1)
        average(lines, channels, *self._down, *self._across, _ROUND, canvas, *self._offset)
        return canvas


def _runs(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of weights (out, length), which are not nought in one run each, without the noughts around it.

    Returns:
        The first place of each run (out,), how many there are (out,), and the weights (out, longest run).
    """
    carries = weights > 0
    first = carries.argmax(axis=1)
    count = weights.shape[1] - carries[:, ::-1].argmax(axis=1) - first
    places = np.minimum(first[:, None] + np.arange(count.max()), weights.shape[1] - 1)
    return first, count, np.take_along_axis(weights, places, axis=1)
