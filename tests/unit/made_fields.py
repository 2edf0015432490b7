"""H.264 whose pictures are coded now as a whole, now as two fields, as broadcasters do it and no free encoder.

The samples are stored as they are (I_PCM), so that the encoder is but a writer of headers (ITU-T H.264, 7.3).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def in_fields(number: int) -> bool:
    """Whether this picture is coded as two fields."""
    return number % 3 != 2


def h264_with_fields(film: np.ndarray) -> bytes:
    """A stream in Annex B's form; every eighth picture is an entrance, and nothing refers to anything.

    Args:
        film: (frames, 3, H, W) uint8 Y'CbCr, H divisible by 32 and W by 16.
    """
    film = np.clip(film, 1, 254)
    height, width = film.shape[2:]
    sequence = _Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 2, 1).u(1, 0).ue(width // 16 - 1, height // 32 - 1).u(4, 0b0010)
    picture = _Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0b100)
    heads = _unit(0x67, sequence.u(2, 0b01).bytes()) + _unit(0x68, picture.u(1, 1).bytes())
    return b"".join(
        (heads if number % 8 == 0 and field in (None, 0) else b"") + _slice(planes, number, field)
        for number, planes in enumerate(film)
        for field in ((0, 1) if in_fields(number) else (None,))
    )


def _slice(planes: np.ndarray, number: int, field: int | None) -> bytes:
    entrance = number % 8 == 0 and field in (None, 0)
    head = _Bits().ue(0, 7, 0).u(4, number % 8)
    head = head.u(1, 0) if field is None else head.u(2, 2 + field)
    head = head.ue(0).u(2, 0) if entrance else head.u(1, 0)
    lines = slice(field, None, 2 if field is not None else 1)
    small = planes[1:, ::2, ::2]
    blocks = _macroblocks(planes[0, lines], small[0, lines], small[1, lines])
    # 25 is I_PCM; whole bytes follow it.
    content = head.ue(0, 1, 25).bytes() + (_Bits().ue(25).bytes()).join(blocks) + b"\x80"
    return _unit(0x65 if entrance else 0x61, content)


def _macroblocks(y: np.ndarray, cb: np.ndarray, cr: np.ndarray) -> Iterator[bytes]:
    for row in range(y.shape[0] // 16):
        for column in range(y.shape[1] // 16):
            yield b"".join(
                plane[row * size : (row + 1) * size, column * size : (column + 1) * size].tobytes()
                for plane, size in ((y, 16), (cb, 8), (cr, 8))
            )


def _unit(head: int, content: bytes) -> bytes:
    """A unit with its start code, and with bytes that prevent any other in it."""
    out, zeroes = bytearray(), 0
    for byte in content:
        if zeroes >= 2 and byte <= 3:
            out.append(3)
            zeroes = 0
        out.append(byte)
        zeroes = zeroes + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([head]) + bytes(out)


class _Bits:
    def __init__(self) -> None:
        self._bits: list[int] = []

    def u(self, count: int, value: int) -> _Bits:
        self._bits += [value >> bit & 1 for bit in range(count - 1, -1, -1)]
        return self

    def ue(self, *values: int) -> _Bits:
        """Exponential-Golomb codes (9.1)."""
        for value in values:
            self.u(2 * (value + 1).bit_length() - 1, value + 1)
        return self

    def bytes(self) -> bytes:
        """Filled up with zeroes."""
        return np.packbits(np.array(self._bits, np.uint8)).tobytes()
