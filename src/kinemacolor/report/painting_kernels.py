"""Panels of a video from what a network made, compiled: chroma enlarged and joined with lightness, and a picture's own grey.

One pass over the pixels takes the place of six or seven of OpenCV's, whose arrays of floats are larger than any cache. Colour
conversion is that of colour.py in float32, within one step of 255 of it; the last step, from linear light to sRGB, is a table.
"""

from __future__ import annotations

import numpy as np
from numba import types

from kinemacolor.compiled import compiled
from kinemacolor.lab_values import RATIOS_FROM_RGB

_STEPS = 16384
"""Of linear light in the table: a fifth of a step of 255 where sRGB is steepest."""
_LIGHT = np.arange(_STEPS + 1) / _STEPS
_SRGB = np.where(_LIGHT <= 0.0031308, 12.92 * _LIGHT, 1.055 * np.maximum(_LIGHT, 1e-9) ** (1 / 2.4) - 0.055)
_BYTES = np.floor(255 * _SRGB + 0.5).astype(np.uint8)

_F = np.float32
_FROM = _F(0.2068966)
# Ratios to the white point to linear sRGB.
_INVERSE = np.linalg.inv(np.array(RATIOS_FROM_RGB))
(_RX, _RY, _RZ), (_GX, _GY, _GZ), (_BX, _BY, _BZ) = (tuple(_F(value) for value in row) for row in _INVERSE)

_CHROMA = types.Array(types.float32, 3, "C", readonly=True)
_LINES = types.Array(types.float32, 2, "C", readonly=True)


@compiled(types.void(_CHROMA, _LINES, types.uint8[:, ::1], types.intp, types.intp))
def paint(small, lightness, out, begin, end):
    """Rows begin to end of a panel.

    Args:
        small: ab (h, w, 2) float32, enlarged bilinearly, pixels counted from their centres and the edges repeated.
        lightness: L* (H, W) float32.
        out: (H, W * 3) uint8 RGB; is written. What is no number becomes black.
    """
    height, width = lightness.shape
    rows, columns = small.shape[0], small.shape[1]
    near, far, share = np.empty(width, np.intp), np.empty(width, np.intp), np.empty(width, np.float32)
    for x in range(width):
        at = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
        near[x] = int(at)
        far[x] = min(near[x] + 1, columns - 1)
        share[x] = at - near[x]
    line_a, line_b = np.empty(columns, np.float32), np.empty(columns, np.float32)
    red, green, blue = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(begin, end):
        at = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        upper = int(at)
        lower = min(upper + 1, rows - 1)
        part = _F(at - upper)
        for x in range(columns):
            line_a[x] = small[upper, x, 0] + part * (small[lower, x, 0] - small[upper, x, 0])
            line_b[x] = small[upper, x, 1] + part * (small[lower, x, 1] - small[upper, x, 1])
        light = lightness[y]
        for x in range(width):
            a = line_a[near[x]] + share[x] * (line_a[far[x]] - line_a[near[x]])
            b = line_b[near[x]] + share[x] * (line_b[far[x]] - line_b[near[x]])
            fy = (light[x] + _F(16)) * _F(1 / 116)
            fx = fy + a * _F(1 / 500)
            fz = fy - b * _F(1 / 200)
            # As scikit-image: where b is so yellow that Z would be negative, Z is nought.
            fz = fz if fz > _F(0) else _F(0)
            cube_x = fx * fx * fx if fx > _FROM else (fx - _F(16 / 116)) * _F(1 / 7.787)
            cube_y = fy * fy * fy if fy > _FROM else (fy - _F(16 / 116)) * _F(1 / 7.787)
            cube_z = fz * fz * fz if fz > _FROM else (fz - _F(16 / 116)) * _F(1 / 7.787)
            red[x] = cube_x * _RX + cube_y * _RY + cube_z * _RZ
            green[x] = cube_x * _GX + cube_y * _GY + cube_z * _GZ
            blue[x] = cube_x * _BX + cube_y * _BY + cube_z * _BZ
        target = out[y]
        for x in range(width):
            # A comparison with what is no number is false, so that no index leaves the table.
            r = red[x] if red[x] > _F(0) else _F(0)
            g = green[x] if green[x] > _F(0) else _F(0)
            u = blue[x] if blue[x] > _F(0) else _F(0)
            r, g, u = min(r, _F(1)), min(g, _F(1)), min(u, _F(1))
            target[3 * x] = _BYTES[np.intp(r * _F(_STEPS) + _F(0.5))]
            target[3 * x + 1] = _BYTES[np.intp(g * _F(_STEPS) + _F(0.5))]
            target[3 * x + 2] = _BYTES[np.intp(u * _F(_STEPS) + _F(0.5))]


@compiled(
    types.void(
        types.Array(types.uint8, 2, "C", readonly=True),
        *(types.Array(types.float32, 2, "C", readonly=True), types.Array(types.uint8, 1, "C", readonly=True)),
        *(types.Array(types.float32, 1, "C", readonly=True), types.uint8[:, ::1], types.float32[:, ::1]),
    )
)
def grey_of(rgb, parts, greys, lightnesses, grey, lightness):
    """The neutral rendering of a picture's L*.

    Args:
        rgb: (H, W * 3) uint8.
        parts: (3, 256) float32: what each channel's values add to the luminance, in steps.
        greys, lightnesses: what each step of luminance is as an 8-bit grey and as L*.
        grey, lightness: (H, W) uint8 and float32; are written.
    """
    reds, greens, blues = parts[0], parts[1], parts[2]
    for y in range(grey.shape[0]):
        line, dull, light = rgb[y], grey[y], lightness[y]
        for x in range(dull.size):
            step = np.uint16(reds[line[3 * x]] + greens[line[3 * x + 1]] + blues[line[3 * x + 2]])
            dull[x] = greys[step]
            light[x] = lightnesses[step]
