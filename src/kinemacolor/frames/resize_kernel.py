"""Weighted means over boxes of pixels, compiled: the loops of frames/resize.py.

Bytes are read where they lie and become float64 in the registers; a picture is never copied as floats, which is what made two
products with sparse matrices slow. The interpreter's lock is not held, so decoding threads resize side by side.
"""

from __future__ import annotations

import numpy as np
from numba import types

from kinemacolor.compiled import compiled

_BYTES = types.Array(types.uint8, 2, "C", readonly=True)
_PLACES = types.Array(types.intp, 1, "C", readonly=True)
_WEIGHTS = types.Array(types.float64, 2, "C", readonly=True)


@compiled(
    types.void(
        *(_BYTES, types.intp, _PLACES, _PLACES, _WEIGHTS, _PLACES, _PLACES, _WEIGHTS),
        *(types.float64, types.uint8[:, :, ::1], types.intp, types.intp),
    )
)
def average(picture, channels, top, rows, down, left, columns, across, half, canvas, offset_y, offset_x):
    """Average boxes of a picture into planes.

    Args:
        picture: (H, W * channels) uint8, the channels of a pixel side by side.
        channels: of a pixel.
        top, rows, down: for each row of the result, the first of its rows in the picture, how many, and their weights.
        left, columns, across: the same for its columns.
        half: added before rounding down.
        canvas: (channels, h, w) uint8; is written.
        offset_y, offset_x: where on it the result begins.
    """
    begin, end = left[0], left[0]
    for x in range(left.size):
        begin = min(begin, left[x])
        end = max(end, left[x] + columns[x])
    line = np.empty((end - begin) * channels, np.float64)
    for y in range(top.size):
        # Down first, a whole line at a time: one weight for a run of bytes is what vectors are made for.
        source, weight = picture[top[y], begin * channels : end * channels], down[y, 0]
        for i in range(line.size):
            line[i] = weight * source[i]
        for row in range(1, rows[y]):
            source, weight = picture[top[y] + row, begin * channels : end * channels], down[y, row]
            for i in range(line.size):
                line[i] += weight * source[i]
        if channels == 3:
            # Three sums at once, which do not wait for each other.
            red, green, blue = canvas[0, offset_y + y], canvas[1, offset_y + y], canvas[2, offset_y + y]
            for x in range(left.size):
                first, second, third = half, half, half
                at = (left[x] - begin) * 3
                for column in range(columns[x]):
                    share = across[x, column]
                    first += share * line[at]
                    second += share * line[at + 1]
                    third += share * line[at + 2]
                    at += 3
                red[offset_x + x], green[offset_x + x], blue[offset_x + x] = np.uint8(first), np.uint8(second), np.uint8(third)
        else:
            for x in range(left.size):
                for channel in range(channels):
                    total = half
                    at = (left[x] - begin) * channels + channel
                    for column in range(columns[x]):
                        total += across[x, column] * line[at + column * channels]
                    canvas[channel, offset_y + y, offset_x + x] = np.uint8(total)
