"""Compiled loops over a film's own planes, of 8 bits or of more: shrinking, the guide, and colours in the place of colours.

A film's planes lie with a margin at the end of every line, which is why their width is told. `paint` works in tiles whose
numbers all lie in one small array at distances that the compiler knows: of arrays from outside it could not tell whether
they overlap, and would not compute several pixels at once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit, types

from kinemacolor.compiled import compiled
from kinemacolor.lab_kernels import _bits, _number, _root
from kinemacolor.lab_values import OFFSET, RATIOS_FROM_RGB, SLOPE

_F = np.float32
_TILE = 256
_XR, _XG, _XB = (_F(value) for value in RATIOS_FROM_RGB[0])
_YR, _YG, _YB = (_F(value) for value in RATIOS_FROM_RGB[1])
_ZR, _ZG, _ZB = (_F(value) for value in RATIOS_FROM_RGB[2])
_BACK = np.linalg.inv(np.array(RATIOS_FROM_RGB))
(_RX, _RY, _RZ), (_GX, _GY, _GZ), (_BX, _BY, _BZ) = ((_F(value) for value in row) for row in _BACK)
_ROOT_FROM, _LINE_OFFSET, _PER_SLOPE = _F(0.2068966), _F(OFFSET), _F(1 / SLOPE)
_BENT_FROM, _LINEAR_FROM, _FLAT, _PER_FLAT = _F(0.04045), _F(0.0031308), _F(12.92), _F(1 / 12.92)
_A, _ONE_A, _PER_ONE_A = _F(0.055), _F(1.055), _F(1 / 1.055)
_PER_200, _PER_500 = _F(1 / 200), _F(1 / 500)
_STEEPEST = _F(0.5)

# Bits of a first guess, within a few hundredths: the bits of a power are about that power times the bits.
_FIFTH_GUESS, _CUBE_GUESS = np.int32(1278263000), np.int32(0x54A20000)
_FIFTH, _FIFTH_2, _FIFTH_3 = _F(1 / 5), _F(3 / 25), _F(11 / 125)
_THIRD, _THIRD_2, _THIRD_3 = _F(1 / 3), _F(2 / 9), _F(14 / 81)


@njit(inline="always", error_model="numpy")
def _fifth(value):
    """The inverse fifth root, of .05 to 1: a guess, twice bettered by three terms of (1 - h)^(-1/5)."""
    inverse = _number(_FIFTH_GUESS - np.int32(_F(_bits(value)) * _FIFTH))
    square = inverse * inverse
    h = _F(1) - value * (square * square * inverse)
    inverse = inverse + inverse * h * (_FIFTH + h * (_FIFTH_2 + h * _FIFTH_3))
    square = inverse * inverse
    h = _F(1) - value * (square * square * inverse)
    return inverse + inverse * h * (_FIFTH + h * (_FIFTH_2 + h * _FIFTH_3))


@njit(inline="always", error_model="numpy")
def _cube_root(value):
    """The cube root, of .003 to 1, in the same way."""
    inverse = _number(_CUBE_GUESS - np.int32(_F(_bits(value)) * _THIRD))
    h = _F(1) - value * (inverse * inverse * inverse)
    inverse = inverse + inverse * h * (_THIRD + h * (_THIRD_2 + h * _THIRD_3))
    h = _F(1) - value * (inverse * inverse * inverse)
    inverse = inverse + inverse * h * (_THIRD + h * (_THIRD_2 + h * _THIRD_3))
    return value * inverse * inverse


@njit(inline="always", error_model="numpy")
def _within(value):
    value = value if value > _F(0) else _F(0)
    return value if value < _F(1) else _F(1)


@njit(inline="always", error_model="numpy")
def _expanded(companded):
    """Linear light of an sRGB value in 0 to 1, and how fast it rises there."""
    t = (companded + _A) * _PER_ONE_A
    inverse = _fifth(t)
    cube = inverse * inverse * inverse  # t^(-3/5)
    bent = companded > _BENT_FROM
    return (
        t * t * t * cube if bent else companded * _PER_FLAT,
        _F(2.4 / 1.055) * (t * t * cube) if bent else _PER_FLAT,
    )


@njit(inline="always", error_model="numpy")
def _companded(linear):
    """The sRGB value of linear light in 0 to 1, and how fast the light rises there."""
    root = _cube_root(linear if linear > _LINEAR_FROM else _LINEAR_FROM)
    curve = root * math.sqrt(math.sqrt(root))  # its power of 5/12
    bent = linear > _LINEAR_FROM
    return (
        _ONE_A * curve - _A if bent else linear * _FLAT,
        _F(2.4 / 1.055) * (linear / curve) if bent else _PER_FLAT,
    )


@njit(inline="always", error_model="numpy")
def _cubed(root):
    """The inverse of Lab's curve."""
    return root * root * root if root > _ROOT_FROM else (root - _LINE_OFFSET) * _PER_SLOPE


@njit(inline="always", error_model="numpy")
def _room(lowest, highest, grey):
    """The share of the way from a grey to three linear values, of which the extremes are given, that stays within 0 to 1."""
    above = (_F(1) - grey) / (highest - grey if highest > _F(1) else _F(1))
    above = above if highest > _F(1) else _F(1)
    below = grey / (grey - lowest if lowest < _F(0) else _F(1))
    below = below if lowest < _F(0) else _F(1)
    return above if above < below else below


def _shrink(plane, first_y, count_y, weight_y, first_x, count_x, weight_x, width, out, begin, end):
    """Lines begin to end of the area mean of a plane (H, `width` or more), as float32 (h,w)."""
    line = np.empty(width, np.float32)
    for y in range(begin, end):
        line[:] = _F(0)
        for k in range(count_y[y]):
            source, weight = plane[first_y[y] + k], weight_y[y, k]
            for x in range(width):
                line[x] += weight * _F(source[x])
        for x in range(out.shape[1]):
            total = _F(0)
            for k in range(count_x[x]):
                total += weight_x[x, k] * line[first_x[x] + k]
            out[y, x] = total


def _guide(luma, height, width, down, across, black, scale, out, begin, end):
    """Lines begin to end of luminance on 0 to 100 where chroma lies: on the left of its two pixels, in the middle of its two lines."""
    for y in range(begin, end):
        upper, lower = luma[min(y * down, height - 1)], luma[min(y * down + down - 1, height - 1)]
        target = out[y]
        half = scale / _F(2)
        if across == 1:
            for x in range(target.size):
                target[x] = (_F(upper[x]) + _F(lower[x])) * half - black
        else:
            quarter = half / _F(4)
            for x in range(1, width // 2):
                own = _F(upper[2 * x]) + _F(lower[2 * x])
                beside = _F(upper[2 * x - 1]) + _F(lower[2 * x - 1]) + _F(upper[2 * x + 1]) + _F(lower[2 * x + 1])
                target[x] = (own + own + beside) * quarter - black
            for x in (0, target.size - 1):
                before, after = max(2 * x - 1, 0), min(2 * x + 1, width - 1)
                own = _F(upper[2 * x]) + _F(lower[2 * x])
                beside = _F(upper[before]) + _F(lower[before]) + _F(upper[after]) + _F(lower[after])
                target[x] = (own + own + beside) * quarter - black


def _paint(luma, blue, red, ab, guide, numbers, down, across, height, width, keep_luma, luma_out, blue_out, red_out, begin, end):
    """Lines begin to end of chroma, and of the luma that goes with them: new colours for a picture's own lightness.

    Args:
        luma, blue, red: the film's planes.
        ab: (2,Hc,Wc) wanted, Lab units.
        guide: (Hc,Wc) from `_guide`.
        numbers: float32: weights of red and blue in luma, luma's black and its codes from 0 to 1, chroma's middle and its codes
            from -.5 to .5, the highest code.
        down, across: pixels of luma to one of chroma.
        height, width: of luma.
        keep_luma: leave `luma_out` alone; it is otherwise moved so that L* stays what it was.
        luma_out, blue_out, red_out: are written.
    """
    kr, kb, black, steps, middle, chroma_steps, most = (
        numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        numbers[4],
        numbers[5],
        numbers[6],
    )
    kg = _F(1) - kr - kb
    to_red, to_blue = _F(2) * (_F(1) - kr), _F(2) * (_F(1) - kb)
    green_red, green_blue = to_red * kr / kg, to_blue * kb / kg
    from_red, from_blue, per_step = _F(1) / to_red, _F(1) / to_blue, _F(1) / chroma_steps
    work = np.empty((9, _TILE), np.float32)
    columns = guide.shape[1]
    for row in range(begin, end):
        for start in range(0, columns, _TILE):
            count = min(_TILE, columns - start)
            own, one, other = guide[row, start : start + count], blue[row, start : start + count], red[row, start : start + count]
            a_wanted, b_wanted = ab[0, row, start : start + count], ab[1, row, start : start + count]
            for i in range(count):
                work[0, i] = own[i] * _F(0.01)
            for i in range(count):
                work[1, i] = (_F(one[i]) - middle) * per_step
            for i in range(count):
                work[2, i] = (_F(other[i]) - middle) * per_step
            for i in range(count):
                work[3, i] = a_wanted[i]
            for i in range(count):
                work[4, i] = b_wanted[i]
            for i in range(count):
                e, u, v = work[0, i], work[1, i], work[2, i]
                r, slope_r = _expanded(_within(e + to_red * v))
                g, slope_g = _expanded(_within(e - green_red * v - green_blue * u))
                b, slope_b = _expanded(_within(e + to_blue * u))
                light = r * _YR + g * _YG + b * _YB
                slope = slope_r * _YR + slope_g * _YG + slope_b * _YB
                root = _root(light)
                root_z = root - work[4, i] * _PER_200
                x = _cubed(root + work[3, i] * _PER_500)
                z = _cubed(root_z if root_z > _F(0) else _F(0))
                r = x * _RX + light * _RY + z * _RZ
                g = x * _GX + light * _GY + z * _GZ
                b = x * _BX + light * _BY + z * _BZ
                # Colours that no screen shows are brought in along equal luminance, so that only they fade.
                lowest, highest = r if r < g else g, r if r > g else g
                lowest, highest = b if b < lowest else lowest, b if b > highest else highest
                share = _room(lowest, highest, light)
                r, slope_r = _companded(_within(light + share * (r - light)))
                g, slope_g = _companded(_within(light + share * (g - light)))
                b, slope_b = _companded(_within(light + share * (b - light)))
                y = r * kr + g * kg + b * kb
                # What the luma of a brighter pixel must rise by for L* to rise as it did.
                steeper = slope / (slope_r * _YR + slope_g * _YG + slope_b * _YB) - _F(1)
                steeper = steeper if steeper > -_STEEPEST else -_STEEPEST
                work[5, i] = (b - y) * from_blue
                work[6, i] = (r - y) * from_red
                work[7, i] = y - e
                work[8, i] = steeper if steeper < _STEEPEST else _STEEPEST
            target = blue_out[row, start : start + count]
            for i in range(count):
                value = work[5, i] * chroma_steps + middle + _F(0.5)
                target[i] = np.int32(min(max(value, _F(0)), most))
            target = red_out[row, start : start + count]
            for i in range(count):
                value = work[6, i] * chroma_steps + middle + _F(0.5)
                target[i] = np.int32(min(max(value, _F(0)), most))
            if keep_luma:
                continue
            # luma + moved + steeper * (its distance from the guide), in codes
            for i in range(count):
                work[7, i] = (work[7, i] - work[8, i] * work[0, i]) * steps - work[8, i] * black + _F(0.5)
            for i in range(count):
                work[8, i] = work[8, i] + _F(1)
            left, right = start * across, min(width, (start + count) * across)
            for line in range(row * down, min(height, row * down + down)):
                source, target = luma[line, left:right], luma_out[line, left:right]
                if across == 1:
                    for i in range(target.size):
                        value = _F(source[i]) * work[8, i] + work[7, i]
                        target[i] = np.int32(min(max(value, _F(0)), most))
                else:
                    for i in range(target.size // 2):
                        value = _F(source[2 * i]) * work[8, i] + work[7, i]
                        after = _F(source[2 * i + 1]) * work[8, i] + work[7, i]
                        target[2 * i] = np.int32(min(max(value, _F(0)), most))
                        target[2 * i + 1] = np.int32(min(max(after, _F(0)), most))
                    if target.size % 2:
                        i = target.size // 2
                        value = _F(source[2 * i]) * work[8, i] + work[7, i]
                        target[2 * i] = np.int32(min(max(value, _F(0)), most))


class Kernels(NamedTuple):
    """The three loops for planes of one kind of number; see their docstrings."""

    shrink: Callable
    guide: Callable
    paint: Callable


@functools.cache
def kernels(wide: bool) -> Kernels:
    """The loops for 8 bits, or for more in two bytes; compiled when they are first asked for."""
    number = types.uint16 if wide else types.uint8
    plane, out = types.Array(number, 2, "C", readonly=True), number[:, ::1]
    places = types.Array(types.int64, 1, "C", readonly=True)
    weights = types.Array(types.float32, 2, "C", readonly=True)
    numbers = types.Array(types.float32, 1, "C", readonly=True)
    planes = types.Array(types.float32, 3, "C", readonly=True)
    whole, real = types.intp, types.float32
    side = (places, places, weights)
    return Kernels(
        compiled(types.void(plane, *side, *side, whole, types.float32[:, ::1], whole, whole))(_shrink),
        compiled(types.void(plane, *[whole] * 4, real, real, types.float32[:, ::1], whole, whole))(_guide),
        compiled(types.void(*[plane] * 3, planes, weights, numbers, *[whole] * 4, types.boolean, *[out] * 3, whole, whole))(
            _paint
        ),
    )
