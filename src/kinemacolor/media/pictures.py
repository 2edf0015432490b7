"""A photograph as it is meant to be looked at: upright, 8-bit RGB, from whatever a file holds.

What Pillow does not do by itself is done here: 16 bits of grey are scaled where a plain conversion would clip, the turn that
a camera wrote is carried out, and what is transparent lies on white, since the colours under it were never meant to be seen.
Colour profiles are not applied: nearly every photograph of the web is sRGB, or shown as if it were.
"""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kinemacolor.media.plain_pictures import decode_plain, size_if_surely_whole

LARGEST = 256 << 20
"""Bytes of a file; a larger one is no photograph."""
_LARGEST_PIXELS = 150_000_000
_GREAT = 1 << 24  # pixels from which pictures are worked on one at a time
_one_great = threading.RLock()
_PROGRAMS = frozenset(("EPS", "WMF"))  # what Pillow hands to another program, or to the system, to be drawn
_ORIENTATION = 0x0112
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I;16", "I;16B", "I;16L", "I")
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    MemoryError,
    OverflowError,
)
_BROKEN += (struct.error, zlib.error, ZeroDivisionError, RuntimeError, cv2.error, Image.DecompressionBombError)


class BrokenPicture(ValueError):
    """A file that holds no picture, or half of one; says why in a few words."""


def decode_picture(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a picture file, (H, W, 3) RGB, contiguous; of an animation, the first picture.

    Raises:
        BrokenPicture: there is none, it breaks off, or it is of a kind that has no colours to show (floating point).
    """
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            if picture.width * picture.height > _LARGEST_PIXELS:
                raise BrokenPicture(f"{picture.width}x{picture.height} pixels are too many")
            if picture.mode not in _MODES:
                raise BrokenPicture(f"its pixels are of a kind that is not known ({picture.mode})")
            # Pillow drops the lower half of 16-bit colours, half a step of 255 in the mean; OpenCV gives them whole.
            wide = picture.mode in ("RGB", "RGBA", "LA") and any("16" in str(tile[3]) for tile in picture.tile)
            with one_at_a_time(picture.width * picture.height):
                picture.load()
                upright = _narrowed(picture, data) if wide else picture
                if upright.getexif().get(_ORIENTATION, 1) != 1:
                    upright = ImageOps.exif_transpose(upright)
                return np.ascontiguousarray(np.asarray(_rgb(upright)))
    except BrokenPicture:
        raise
    except Image.UnidentifiedImageError:
        raise BrokenPicture("it is no picture") from None
    except _BROKEN as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BrokenPicture(reason) from error


def decode_sound(data: bytes | memoryview) -> NDArray[np.uint8]:
    """The same to the byte as `decode_picture`, sooner, of a file that was decoded before and so is known to be whole.

    Raises:
        BrokenPicture: it cannot be decoded after all.
    """
    plain = decode_plain(data, largest=_GREAT)
    return decode_picture(bytes(data)) if plain is None else plain


def size_of(data: bytes) -> tuple[int, int]:
    """Height and width of what `decode_picture` gives, which is tried; sooner, where a picture is surely whole.

    Raises:
        BrokenPicture: it cannot be decoded.
    """
    sure = size_if_surely_whole(data, largest=_GREAT)
    if sure is not None:
        return sure
    height, width, _ = decode_picture(data).shape
    return height, width


@contextlib.contextmanager
def one_at_a_time(pixels: int) -> Iterator[None]:
    """For work on a picture of so many pixels: the great ones wait for each other, or a few threads would fill the memory."""
    with _one_great if pixels > _GREAT else contextlib.nullcontext():
        yield


@functools.cache
def _formats() -> list[str]:
    """What Pillow reads by itself."""
    Image.init()
    return [name for name in Image.ID if name not in _PROGRAMS]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No warnings of damaged metadata, which nobody asked for. For the whole of a work: it is the process that is told."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _narrowed(picture: Image.Image, data: bytes) -> Image.Image:
    """The picture in 8 bits, from a file whose colours have 16; with the turn that it says."""
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    order = {"RGB": [2, 1, 0], "RGBA": [2, 1, 0, 3], "LA": [0, 3]}[picture.mode]
    if values is None or values.dtype != np.uint16 or values.shape != (picture.height, picture.width, max(3, max(order) + 1)):
        return picture
    narrow = Image.fromarray(_eight_bits(values[..., order]))
    narrow.info["exif"] = picture.getexif().tobytes()
    return narrow


def _eight_bits(values: np.ndarray) -> NDArray[np.uint8]:
    """0 to 65535, whatever wide numbers they came in, to 0 to 255, to the nearest."""
    return ((np.clip(values.astype(np.int64), 0, 65535) * 255 + 32767) // 65535).astype(np.uint8)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(picture))).convert("RGB")
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        seen = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
