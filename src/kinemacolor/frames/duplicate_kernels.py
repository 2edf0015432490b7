"""Compiled loops for frames/duplicates.py, which says what they are for."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types

from kinemacolor.compiled import compiled
from kinemacolor.frames.tint_kernels import smallest

_SIDE, _COSINES = 32, 8
_BASIS = np.array(
    [[math.cos(math.pi * (2 * place + 1) * wave / (2 * _SIDE)) for place in range(_SIDE)] for wave in range(_COSINES)]
)
_FAR = 64 * 3 / 0.4, 32 * 3
"""Sums of differences up to which small pictures are alike: 3 steps of L*, and 3 of a and b, a place on the mean."""
_FAR_LIGHTNESS, _FAR_CHROMA = int(_FAR[0]), int(_FAR[1])

_TRIES = 512
"""Frames of one value of a quarter that are compared, the last ones first; an eighth of it where a bit is turned."""

_hashes = types.Array(types.uint64, 1, "C", readonly=True)
_smalls = types.Array(types.uint8, 2, "C", readonly=True)
_sources = types.Array(types.int64, 1, "C", readonly=True)
_heads, _following = types.int32[:, ::1], types.int32[:, ::1]


@njit(error_model="numpy")
def _reduced(plane, out, side):
    """Means over side by side areas that divide the plane."""
    height, width = plane.shape
    for y in range(side):
        top, bottom = y * height // side, max(y * height // side + 1, (y + 1) * height // side)
        for x in range(side):
            left, right = x * width // side, max(x * width // side + 1, (x + 1) * width // side)
            total = 0.0
            for v in range(top, bottom):
                for u in range(left, right):
                    total += plane[v, u]
            out[y, x] = total / ((bottom - top) * (right - left))


@compiled(
    types.void(types.Array(types.float32, 4, "C", readonly=True), types.uint64[::1], types.uint8[:, ::1], types.intp, types.intp)
)
def prints(lab, hashes, small, begin, end):
    """Hash and small picture of pictures begin to end."""
    area, few = np.empty((_SIDE, _SIDE)), np.empty((8, 8))
    half = np.empty((_COSINES, _SIDE))
    cosines = np.empty(_COSINES * _COSINES)
    again = np.empty(_COSINES * _COSINES - 1)
    for picture in range(begin, end):
        _reduced(lab[picture, 0], area, _SIDE)
        for wave in range(_COSINES):
            for x in range(_SIDE):
                total = 0.0
                for y in range(_SIDE):
                    total += _BASIS[wave, y] * area[y, x]
                half[wave, x] = total
        for down in range(_COSINES):
            for across in range(_COSINES):
                total = 0.0
                for x in range(_SIDE):
                    total += _BASIS[across, x] * half[down, x]
                cosines[down * _COSINES + across] = total
        cosines[0] = 0.0  # the mean, and the one bit that is always the same
        again[:] = cosines[1:]
        middle = smallest(again, len(again), len(again) // 2)  # of 63: the one in the middle
        value = np.uint64(0)
        for bit in range(1, _COSINES * _COSINES):
            if cosines[bit] > middle:
                value |= np.uint64(1) << np.uint64(bit)
        hashes[picture] = value
        _reduced(lab[picture, 0], few, 8)
        for y in range(8):
            for x in range(8):
                small[picture, 8 * y + x] = np.uint8(min(255.0, max(0.0, few[y, x] / 0.4 + 0.5)))
        for channel in (1, 2):
            _reduced(lab[picture, channel], few, 4)
            for y in range(4):
                for x in range(4):
                    small[picture, 48 + 16 * channel + 4 * y + x] = np.uint8(min(255.0, max(0.0, few[y, x] + 128.5)))


@njit(inline="always", error_model="numpy")
def _differing(one, other):
    """Bits in which two hashes differ."""
    value = one ^ other
    value = value - ((value >> np.uint64(1)) & np.uint64(0x5555555555555555))
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((value * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(inline="always", error_model="numpy")
def _quarter(value, number):
    return np.int64((value >> np.uint64(16 * number)) & np.uint64(0xFFFF))


@njit(error_model="numpy")
def _alike(one, other):
    """Are two small pictures alike?"""
    lightness, chroma = 0, 0
    for place in range(64):
        lightness += abs(np.int64(one[place]) - np.int64(other[place]))
    for place in range(64, 96):
        chroma += abs(np.int64(one[place]) - np.int64(other[place]))
    return lightness <= _FAR_LIGHTNESS and chroma <= _FAR_CHROMA


@njit(error_model="numpy")
def _enter(value, place, heads, following):
    for number in range(4):
        key = _quarter(value, number)
        following[number, place] = heads[number, key]
        heads[number, key] = place


@njit(error_model="numpy")
def _search(value, small, source, hashes, smalls, sources, bits, heads, following):
    """0: nothing is alike; 1: something of another source; 2: something of the same. Ends at the first of the same."""
    best = 0
    for number in range(4):
        key = _quarter(value, number)
        for flip in range(-1, 16 if bits > 3 else 0):
            at = heads[number, key if flip < 0 else key ^ (1 << flip)]
            tries = _TRIES if flip < 0 else _TRIES // 8
            while at >= 0 and tries > 0:
                tries -= 1
                same = sources[at] == source
                if (same or best == 0) and _differing(hashes[at], value) <= bits and _alike(smalls[at], small):
                    if same:
                        return 2
                    best = 1
                at = following[number, at]
    return best


@compiled(types.void(_hashes, types.Array(types.boolean, 1, "C", readonly=True), _heads, _following))
def fill(hashes, among, heads, following):
    """Enter hashes into the tables, those that `among` says."""
    for place in range(len(hashes)):
        if among[place]:
            _enter(hashes[place], place, heads, following)


@compiled(types.void(_hashes, _smalls, _sources, _hashes, _smalls, _sources, types.intp, _heads, _following, types.int8[::1]))
def doubles(known, known_small, known_source, asked, asked_small, asked_source, bits, heads, following, found):
    """What `_search` finds for each asked frame."""
    for place in range(len(asked)):
        if (
            place > 0
            and found[place - 1] == 2
            and asked[place] == asked[place - 1]
            and asked_source[place] == asked_source[place - 1]
        ):
            same = True
            for at in range(96):
                same = same and asked_small[place, at] == asked_small[place - 1, at]
            if same:
                found[place] = 2
                continue
        found[place] = _search(
            asked[place], asked_small[place], asked_source[place], known, known_small, known_source, bits, heads, following
        )


@compiled(types.void(_hashes, _smalls, types.intp, _heads, _following, types.boolean[::1]))
def repeats(hashes, smalls, bits, heads, following, found):
    """Which frames look like an earlier one that is no repeat."""
    sources = np.zeros(len(hashes), np.int64)
    for place in range(len(hashes)):
        found[place] = _search(hashes[place], smalls[place], 0, hashes, smalls, sources, bits, heads, following) == 2
        if not found[place]:
            _enter(hashes[place], place, heads, following)
