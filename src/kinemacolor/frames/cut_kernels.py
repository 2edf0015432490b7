"""Compiled loops for frames/cuts.py, which says what they are for. One thread a slab: torch's threads took fifteen times as
long here when other work shared the cores."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types

from kinemacolor.compiled import compiled

_SIDE, _BLOCK, _REACH = 32, 8, 4
_PADDED = _SIDE + 2 * _REACH
_F = np.float32
_thumbnails = types.Array(types.float32, 3, "C", readonly=True)


@njit(error_model="numpy")
def _levelled(small, floor, out):
    """A thumbnail with its mean and spread (standard deviation, and a floor) taken out."""
    total = 0.0
    for y in range(_SIDE):
        for x in range(_SIDE):
            total += small[y, x]
    mean = total / (_SIDE * _SIDE)
    square = 0.0
    for y in range(_SIDE):
        for x in range(_SIDE):
            square += (small[y, x] - mean) ** 2
    spread = math.sqrt(square / (_SIDE * _SIDE - 1)) + floor
    for y in range(_SIDE):
        for x in range(_SIDE):
            out[y, x] = _F((small[y, x] - mean) / spread)


@njit(error_model="numpy")
def _moved(before, now, padded, sums, best):
    """Mean difference of blocks of `now` from the places in `before` that resemble them most."""
    for y in range(_PADDED):
        for x in range(_PADDED):
            padded[y, x] = before[min(_SIDE - 1, max(0, y - _REACH)), min(_SIDE - 1, max(0, x - _REACH))]
    best[:] = np.inf
    for down in range(2 * _REACH + 1):
        for right in range(2 * _REACH + 1):
            for block in range(_SIDE // _BLOCK):
                # Column by column, which a vector can hold; a sum along the row it could not reorder.
                for x in range(_SIDE):
                    sums[x] = _F(0)
                for y in range(block * _BLOCK, (block + 1) * _BLOCK):
                    there, here = padded[y + down, right : right + _SIDE], now[y]
                    for x in range(_SIDE):
                        sums[x] += abs(there[x] - here[x])
                for beside in range(_SIDE // _BLOCK):
                    total = _F(0)
                    for x in range(beside * _BLOCK, (beside + 1) * _BLOCK):
                        total += sums[x]
                    if total < best[block, beside]:
                        best[block, beside] = total
    total = 0.0
    for value in best.flat:
        total += value
    return total / (_SIDE * _SIDE)


@compiled(
    types.void(_thumbnails, _thumbnails, types.float64, types.float64, types.float64, types.float32[::1], types.intp, types.intp)
)
def between(before, now, unit_plain, unit_levelled, floor, out, begin, end):
    """The smaller of both distances of pairs begin to end, in units of what cuts begin at."""
    padded, sums = np.empty((_PADDED, _PADDED), np.float32), np.empty(_SIDE, np.float32)
    best = np.empty((_SIDE // _BLOCK, _SIDE // _BLOCK), np.float32)
    one, other = np.empty((_SIDE, _SIDE), np.float32), np.empty((_SIDE, _SIDE), np.float32)
    for pair in range(begin, end):
        plain = _moved(before[pair], now[pair], padded, sums, best) / unit_plain
        _levelled(before[pair], floor, one)
        _levelled(now[pair], floor, other)
        out[pair] = _F(min(plain, _moved(one, other, padded, sums, best) / unit_levelled))
