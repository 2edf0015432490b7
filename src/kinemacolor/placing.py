"""How a picture takes its place: whole in a panel, between bars if need be, or cut as frames of training are.

What another program made of a picture is taken at any size, since programs scale to what their network takes, but in no other
shape: a picture that was padded to 1280x736 and laid over one of 1280x720 would be stretched, and judged by that.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

from kinemacolor.errors import UserError
from kinemacolor.frames.resize import AreaResize, Box

_ROUNDED = 1.0  # pixel by which each side may be off that another program scaled: what is further off was padded or cut


class Framing(NamedTuple):
    """How the frames that a network was trained on were cut, as meta.json says it."""

    height: int
    width: int
    fit: str


def upright(planes: np.ndarray) -> np.ndarray:
    """Planes (3,h,w) as a picture (h,w,3)."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


@functools.lru_cache(64)
def area(source: tuple[int, int], framing: Framing, *, box: Box | None = None, aspect: float = 1.0) -> AreaResize:
    """What cuts pictures of one size as the frames stage does; see `AreaResize`."""
    return AreaResize(source, (framing.height, framing.width), box=box, fit=framing.fit, pixel_aspect=aspect)


def is_scaled(size: tuple[int, int], original: tuple[float, float]) -> bool:
    """Whether a size (height, width) is a scaling of another, to within a pixel a side."""
    pairs = list(zip(size, original, strict=True))
    return max((side - _ROUNDED) / other for side, other in pairs) <= min((side + _ROUNDED) / other for side, other in pairs)


def refuse_other_shape(picture: np.ndarray, size: tuple[int, int], name: str, *, aspect: float = 1.0) -> None:
    """Refuse a picture (h,w,3) that is no scaling of one of `size` (height, width), as it is stored or as it is shown.

    Args:
        aspect: width over height of one of its pixels as it is shown.

    Raises:
        UserError: it is none.
    """
    height, width = picture.shape[:2]
    if not any(is_scaled((height, width), (size[0], size[1] * pixel)) for pixel in (1.0, aspect)):
        raise UserError(
            f"{name} is of {width}x{height} pixels and what it colours of {size[1]}x{size[0]}: "
            "bring it to that shape, without bars, and cut off what was padded."
        )


def sized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (h,w,3) at another size (height, width); areas are averaged where it shrinks."""
    if picture.shape[:2] == size:
        return picture
    shrinks = picture.shape[0] > size[0] or picture.shape[1] > size[1]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def inside_of(shape: tuple[int, int], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns in the middle of a panel that hold the whole of a picture of another shape (height, width)."""
    scale = min(height / shape[0], width / shape[1])
    inner = max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    return slice(top, top + inner[0]), slice(left, left + inner[1])


def barred(rgb: np.ndarray, inside: tuple[slice, slice], height: int, width: int) -> np.ndarray:
    """A picture (h,w,3) in its place on a black (height,width,3)."""
    small = sized(rgb, (inside[0].stop - inside[0].start, inside[1].stop - inside[1].start))
    if small.shape[:2] == (height, width):
        return small
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[inside] = small
    return canvas
