"""Decode the plainest of pictures with OpenCV, which needs half of Pillow's time for a small one and lets other threads run.

Plain is a JPEG or PNG of 8-bit colour or grey without transparency, animation or a turn: there both libraries give the same
bytes (tests/unit/test_plain_pictures.py looks). Whatever else a file holds is left to `pictures`, and so is the judgement
whether it is whole, since OpenCV fills up what breaks off; but a JPEG of one scan, in which nothing but pixels stands between
its head and its end, breaks off nowhere.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_SEQUENTIAL = (0xC0, 0xC1)  # baseline and extended, with Huffman codes
_FRAMES = (*_SEQUENTIAL, 0xC2)  # and progressive
_HARMLESS = frozenset((b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"tIME", b"hIST", b"IDAT", b"IEND"))
_ORIENTATION = 0x0112


def decode_plain(data: bytes | memoryview, *, largest: int) -> NDArray[np.uint8] | None:
    """The pixels of a picture that is known to be whole, (H, W, 3) RGB, contiguous; None if it is not of the plain kinds.

    Args:
        data: the file.
        largest: pixels; a larger one counts as not plain.
    """
    view = memoryview(data)
    head = _jpeg_head(view) if view[:3] == _JPEG else _png_head(view) if view[:8] == _PNG else None
    if head is None or not 0 < head.height * head.width <= largest:
        return None
    pixels = _decoded(view, cv2.IMREAD_COLOR_RGB)
    return pixels if pixels is not None and pixels.shape == (head.height, head.width, 3) else None


def size_if_surely_whole(data: bytes, *, largest: int) -> tuple[int, int] | None:
    """Height and width of a plain picture that breaks off nowhere, as far as its kind can tell; None if there is a doubt.

    The picture is decoded at an eighth of its size: all that is stored is read, and half the time saved.

    Args: as of `decode_plain`, of a file of which nothing is known.
    """
    head = _jpeg_head(memoryview(data)) if data.startswith(_JPEG) else None
    if head is None or head.kind not in _SEQUENTIAL or not data.endswith(b"\xff\xd9"):
        return None
    # In the scan 0xFF stands before a nought, or begins what is no pixel: only the end may.
    if data.count(b"\xff", head.pixels) != data.count(b"\xff\0", head.pixels) + 1:
        return None
    if not 0 < head.height * head.width <= largest:
        return None
    eighth = _decoded(memoryview(data), cv2.IMREAD_REDUCED_COLOR_8)
    fits = eighth is not None and eighth.shape == (-(-head.height // 8), -(-head.width // 8), 3)
    return (head.height, head.width) if fits else None


class _Head(NamedTuple):
    """What a file says of itself before its pixels."""

    height: int
    width: int
    kind: int
    """Of a JPEG, the marker of its frame."""
    pixels: int
    """Where they begin."""


def _decoded(data: memoryview, how: int) -> NDArray[np.uint8] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


def _jpeg_head(data: memoryview) -> _Head | None:
    """The head of a plain JPEG."""
    place, head, told = 2, None, 0
    while place + 4 <= len(data):
        mark, kind, length = data[place], data[place + 1], data[place + 2] << 8 | data[place + 3]
        if mark != 0xFF or length < 2:
            return None  # stray bytes, which readers skip in ways of their own
        if kind == 0xDA:
            return head and head._replace(pixels=place + 2 + length)
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            if kind not in _FRAMES or head is not None or place + 10 > len(data):
                return None
            depth, height, width, channels = struct.unpack_from(">BHHB", data, place + 4)
            if depth != 8 or channels not in (1, 3):
                return None
            head = _Head(height, width, kind, 0)
        elif kind == 0xE1:
            told += 1
            if told > 1 or not _is_upright(data[place + 4 : place + 2 + length]):
                return None
        elif kind == 0xE2 and data[place + 4 : place + 8] == b"MPF\0":
            return None  # several pictures
        place += 2 + length
    return None


def _is_upright(segment: memoryview) -> bool:
    """Whether what a camera wrote says nothing of a turn, in a way that leaves no doubt."""
    if segment[:6] != b"Exif\0\0":
        return b"rientation" not in bytes(segment)  # XMP may say it
    tiff = segment[6:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]))
    if order is None or len(tiff) < 8:
        return False
    (first,) = struct.unpack_from(f"{order}I", tiff, 4)
    if first + 2 > len(tiff):
        return False
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    if first + 2 + 12 * count > len(tiff):
        return False
    for place in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind, number, value = struct.unpack_from(f"{order}HHIH", tiff, place)
        if tag == _ORIENTATION and (kind, number, value) != (3, 1, 1):
            return False
    return True


def _png_head(data: memoryview) -> _Head | None:
    """The head of a plain PNG."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, depth, kind, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if depth != 8 or kind not in (0, 2) or interlaced:
        return None
    place = 33
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        name = bytes(data[place + 4 : place + 8])
        if name not in _HARMLESS:
            return None
        if name == b"IEND":
            return _Head(height, width, 0, 33)
        place += 12 + length
    return None
