"""Compiled loops for chroma.py, which says what they are for. Any number of threads may share the lines of a picture."""

from __future__ import annotations

import numpy as np
from numba import types

from kinemacolor.compiled import compiled

_F = np.float32
_EVEN = _F(1e-4)  # a weight that every tap keeps: where no luminance resembles the pixel's, the nearest colours count

_planes = types.Array(types.float32, 3, "C", readonly=True)
_plane = types.Array(types.float32, 2, "C", readonly=True)
_numbers = types.Array(types.float32, 1, "C", readonly=True)
_places = types.Array(types.int64, 1, "C", readonly=True)


@compiled(types.void(_planes, _places, _numbers, types.float32[:, :, ::1], types.intp, types.intp))
def across(small, left, fraction, out, begin, end):
    """Lines begin to end, counted over all planes, of (K,h,w) to (K,h,W), linearly: between `left` and the column after it."""
    height, last = small.shape[1], small.shape[2] - 1
    for line in range(begin, end):
        source, target = small[line // height, line % height], out[line // height, line % height]
        for x in range(target.size):
            one = source[left[x]]
            target[x] = one + (source[min(left[x] + 1, last)] - one) * fraction[x]


@compiled(types.void(_planes, _places, _numbers, _plane, types.float32[:, :, ::1], types.intp, types.intp))
def down(wide, top, fraction, guide, out, begin, end):
    """Lines begin to end of (2 or 5,h,W) to (2,H,W): ab linearly, and what the guide's details add to them.

    Args:
        wide: a, b, and where there are five their slopes on the guide and the guide itself, all as wide as the picture.
        top, fraction: (H,) between which lines, and how far.
        guide: (H,W); read only where there are slopes.
    """
    last, width = wide.shape[1] - 1, wide.shape[2]
    detail = np.zeros(width, np.float32)
    for y in range(begin, end):
        i, j, f = top[y], min(top[y] + 1, last), fraction[y]
        if wide.shape[0] == 5:
            upper, lower, own = wide[4, i], wide[4, j], guide[y]
            for x in range(width):
                detail[x] = own[x] - (upper[x] + (lower[x] - upper[x]) * f)
            for plane in range(2):
                upper, lower, target = wide[plane, i], wide[plane, j], out[plane, y]
                slope, other = wide[2 + plane, i], wide[2 + plane, j]
                for x in range(width):
                    steep = slope[x] + (other[x] - slope[x]) * f
                    target[x] = upper[x] + (lower[x] - upper[x]) * f + steep * detail[x]
        else:
            for plane in range(2):
                upper, lower, target = wide[plane, i], wide[plane, j], out[plane, y]
                for x in range(width):
                    target[x] = upper[x] + (lower[x] - upper[x]) * f


@compiled(
    types.void(
        _planes, _plane, _plane, _places, _plane, _places, _plane, _numbers, types.float32, types.float32[:, :, ::1], types.intp, types.intp
    )
)  # fmt: skip
def bilateral(small, low, guide, top, weight_y, left, weight_x, table, steps, out, begin, end):
    """Lines begin to end of ab (2,h,w) to (2,H,W): the mean of 4x4 colours, weighted by place and by likeness of the guide.

    Args:
        low, guide: the guide at both sizes.
        top, left: (H,), (W,) the second of four lines and columns.
        weight_y, weight_x: (H,4), (W,4) weights by place.
        table: (N,) weight by difference of the guide, in `steps` to a unit.
    """
    height, width = low.shape
    for y in range(begin, end):
        for x in range(guide.shape[1]):
            own = guide[y, x]
            total = a = b = _F(0)
            for down in range(4):
                row = min(max(top[y] - 1 + down, 0), height - 1)
                for right in range(4):
                    column = min(max(left[x] - 1 + right, 0), width - 1)
                    step = min(int(abs(own - low[row, column]) * steps), table.size - 1)
                    weight = weight_y[y, down] * weight_x[x, right] * (table[step] + _EVEN)
                    total += weight
                    a += weight * small[0, row, column]
                    b += weight * small[1, row, column]
            out[0, y, x] = a / total
            out[1, y, x] = b / total
