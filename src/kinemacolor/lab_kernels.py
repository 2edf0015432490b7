"""8-bit sRGB to CIE Lab, compiled: twenty to forty times scikit-image on one thread.

What makes it fast: the planes lie one after the other, so that a vector holds pixels and not channels; the table of 256 linear
values is a constant of the code, so that the compiler knows no write can change it (as an argument it would forbid
vectors); and the cube root has no division. All of it is float32, each operation rounded by itself: the same bytes on any
machine and with any number of threads.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from kinemacolor.compiled import compiled, in_slabs
from kinemacolor.lab_values import CUBE_FROM, OFFSET, RATIOS_FROM_RGB, SLOPE, lightness_steps, linear_steps

_SLAB = 2**17
"""Pixels to a slab: enough that starting one does not show, few enough that a batch has some for every thread."""

_LINEAR, _LIGHTNESS = linear_steps(), lightness_steps()
_F = np.float32
_XR, _XG, _XB = (_F(value) for value in RATIOS_FROM_RGB[0])
_YR, _YG, _YB = (_F(value) for value in RATIOS_FROM_RGB[1])
_ZR, _ZG, _ZB = (_F(value) for value in RATIOS_FROM_RGB[2])
_FROM, _LINE_SLOPE, _LINE_OFFSET = _F(CUBE_FROM), _F(SLOPE), _F(OFFSET)

_FIRST_GUESS = np.int32(0x54A20000)
"""Makes the bits of the inverse cube root from a third of the number's own, within a tenth where it matters (h below)."""
_THIRD, _SECOND, _THIRD_TERM = _F(1 / 3), _F(2 / 9), _F(14 / 81)


@intrinsic
def _bits(context, value):
    """The 32 bits of a float as an integer."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _number(context, value):
    """The float that 32 bits stand for."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", error_model="numpy")
def _root(ratio):
    """Lab's curve: the cube root, and a line near black. Both are computed, since a vector cannot branch."""
    cube = ratio if ratio > _FROM else _FROM
    # 1/cbrt first: a guess from the bits, bettered by three terms of (1 - h)^(-1/3); then a step of Newton's on the root itself.
    inverse = _number(_FIRST_GUESS - np.int32(_F(_bits(cube)) * _THIRD))
    h = _F(1) - cube * (inverse * inverse * inverse)
    inverse = inverse + inverse * h * (_THIRD + h * (_SECOND + h * _THIRD_TERM))
    square = inverse * inverse
    root = cube * square
    root = root - (root * root * root - cube) * (square * _THIRD)
    line = ratio * _LINE_SLOPE + _LINE_OFFSET
    return root if ratio > _FROM else line


@compiled(types.void(types.Array(types.uint8, 3, "C", readonly=True), types.float32[:, :, ::1], types.intp, types.intp))
def _convert(rgb, lab, begin, end):
    """Pixels begin to end, counted over all pictures, of (N,3,P)."""
    size = rgb.shape[2]
    at = begin
    while at < end:
        picture = at // size
        low = at - picture * size
        high = min(size, low + end - at)
        red, green, blue = rgb[picture, 0, low:high], rgb[picture, 1, low:high], rgb[picture, 2, low:high]
        lightness, a, b = lab[picture, 0, low:high], lab[picture, 1, low:high], lab[picture, 2, low:high]
        for i in range(red.size):
            r, g, u = _LINEAR[red[i]], _LINEAR[green[i]], _LINEAR[blue[i]]
            x = _root(r * _XR + g * _XG + u * _XB)
            y = _root(r * _YR + g * _YG + u * _YB)
            z = _root(r * _ZR + g * _ZG + u * _ZB)
            lightness[i] = _F(116) * y - _F(16)
            a[i] = _F(500) * (x - y)
            b[i] = _F(200) * (y - z)
        at += high - low


def rgb_to_lab(rgb: np.ndarray, out: np.ndarray, *, threads: int = 1) -> None:
    """sRGB to Lab as `colour.rgb_to_lab`.

    Args:
        rgb: uint8 (N,3,...), contiguous.
        out: float32 of that shape, contiguous; is written.
        threads: how many may be used; the result does not depend on it.
    """
    if rgb.size:
        planes, target = rgb.reshape(rgb.shape[0], 3, -1), out.reshape(rgb.shape[0], 3, -1)
        pixels = rgb.size // 3
        in_slabs(lambda begin, end: _convert(planes, target, begin, end), pixels, slab=_SLAB, threads=threads)


@compiled(types.void(types.Array(types.uint8, 1, "C", readonly=True), types.float32[::1], types.intp, types.intp))
def _look_up(grey, lightness, begin, end):
    source, target = grey[begin:end], lightness[begin:end]
    for i in range(source.size):
        target[i] = _LIGHTNESS[source[i]]


def grey_to_lightness(grey: np.ndarray, out: np.ndarray, *, threads: int = 1) -> None:
    """L* of greys as `colour.lightness_of_grey`: uint8 to float32 of the same shape, both contiguous."""
    source, target = grey.reshape(-1), out.reshape(-1)
    in_slabs(lambda begin, end: _look_up(source, target, begin, end), source.size, slab=8 * _SLAB, threads=threads)
