"""Y'CbCr 4:2:0 of eight bits to RGB, compiled: swscale's arithmetic with full chroma and accurate rounding, three times as fast.

swscale keeps luma as 15-bit numbers, interpolates chroma linearly in both directions, which is exact in whole numbers, and
then multiplies by coefficients of 16 bits in numbers of 32, which may run over; so do these loops (libswscale/output.c,
yuv2rgb_full).
"""

from __future__ import annotations

import numpy as np
from numba import types

from kinemacolor.compiled import compiled

_PLANE = types.Array(types.uint8, 2, "C", readonly=True)
_COEFFICIENTS = types.Array(types.int32, 1, "C", readonly=True)


@compiled(types.void(_PLANE, _PLANE, _PLANE, _COEFFICIENTS, types.boolean, types.uint8[:, ::1]))
def to_rgb(luma, blue, red, coefficients, left, out):
    """Convert one picture of even width and height.

    Args:
        luma: (H, W or more) uint8.
        blue, red: (H / 2, W / 2 or more) uint8, Cb and Cr.
        coefficients: (6,) int32, as `rgb.coefficients` makes them.
        left: whether chroma samples lie on the left of their two pixels (H.264's default), or between them (MPEG-1, VP8).
        out: (H, W * 3) uint8 RGB; is written.
    """
    luma_factor, black, red_red, green_red, green_blue, blue_blue = coefficients
    most = np.int32((1 << 30) - 1)
    width = out.shape[1] // 3
    half = width // 2
    down_b, down_r = np.empty(half + 2, np.int32), np.empty(half + 2, np.int32)
    across_b, across_r = np.empty(width, np.int32), np.empty(width, np.int32)
    for row in range(out.shape[0]):
        near = row // 2
        far = max(near - 1, 0) if row % 2 == 0 else min(near + 1, out.shape[0] // 2 - 1)
        for column in range(half):
            down_b[column + 1] = 3 * np.int32(blue[near, column]) + np.int32(blue[far, column]) - 512
            down_r[column + 1] = 3 * np.int32(red[near, column]) + np.int32(red[far, column]) - 512
        down_b[0], down_b[half + 1] = down_b[1], down_b[half]
        down_r[0], down_r[half + 1] = down_r[1], down_r[half]
        for column in range(half):
            at, before, after = column + 1, column, column + 2
            if left:
                across_b[2 * column] = down_b[at] << 7
                across_r[2 * column] = down_r[at] << 7
                across_b[2 * column + 1] = (down_b[at] + down_b[after]) << 6
                across_r[2 * column + 1] = (down_r[at] + down_r[after]) << 6
            else:
                across_b[2 * column] = (3 * down_b[at] + down_b[before]) << 5
                across_r[2 * column] = (3 * down_r[at] + down_r[before]) << 5
                across_b[2 * column + 1] = (3 * down_b[at] + down_b[after]) << 5
                across_r[2 * column + 1] = (3 * down_r[at] + down_r[after]) << 5
        for column in range(width):
            grey = np.int32(np.int32((np.int32(luma[row, column]) << 9) - black) * luma_factor + np.int32(1 << 21))
            r = np.int32(grey + across_r[column] * red_red)
            g = np.int32(grey + np.int32(across_r[column] * green_red) + np.int32(across_b[column] * green_blue))
            b = np.int32(grey + across_b[column] * blue_blue)
            out[row, 3 * column] = min(max(r, np.int32(0)), most) >> 22
            out[row, 3 * column + 1] = min(max(g, np.int32(0)), most) >> 22
            out[row, 3 * column + 2] = min(max(b, np.int32(0)), most) >> 22
