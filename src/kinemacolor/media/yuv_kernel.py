"""RGB to Y'CbCr 4:2:0 of BT.709 in eight bits, compiled: what an encoder takes, at half the bytes of RGB.

Chroma is the mean of what a chroma sample of H.264 stands for: it sits at the left of its two columns, so these are weighted 1, 2
and 1, and its two rows alike. Whole numbers throughout, so that every machine makes the same bytes.
"""

from __future__ import annotations

import numpy as np
from numba import types

from kinemacolor.compiled import compiled

_BITS = 16
_I = np.int32
_RED, _BLUE = 0.2126, 0.0722
_GREEN = 1 - _RED - _BLUE
_LUMA, _CHROMA = 219 / 255 * 2**_BITS, 224 / 255 * 2**_BITS
# What red, green and blue add to luma (Y), Cb (B) and Cr (R).
_YR, _YB = _I(round(_RED * _LUMA)), _I(round(_BLUE * _LUMA))
_YG = _I(round(_LUMA)) - _YR - _YB  # so that white is white
_BR, _BG = _I(round(-_RED / (2 - 2 * _BLUE) * _CHROMA)), _I(round(-_GREEN / (2 - 2 * _BLUE) * _CHROMA))
_BB = -_BR - _BG  # so that grey has no colour
_RG, _RB = _I(round(-_GREEN / (2 - 2 * _RED) * _CHROMA)), _I(round(-_BLUE / (2 - 2 * _RED) * _CHROMA))
_RR = -_RG - _RB
_BLACK = _I((16 << _BITS) + (1 << (_BITS - 1)))
_SUM = _BITS + 3  # a chroma sample is of eight pixels' weight
_HALF = _I(1 << (_SUM - 1))


@compiled(
    types.void(
        types.Array(types.uint8, 2, "C", readonly=True),
        *(types.uint8[:, ::1], types.uint8[:, ::1], types.uint8[:, ::1]),
    )
)
def from_rgb(rgb, luma, blue, red):
    """Convert one picture of even height and width.

    Args:
        rgb: (H, W * 3) uint8.
        luma: (H, W) uint8; is written, as are
        blue, red: (H / 2, W / 2) uint8, Cb and Cr.
    """
    width = luma.shape[1]
    half = width // 2
    reds, greens, blues = np.empty(width + 1, np.int32), np.empty(width + 1, np.int32), np.empty(width + 1, np.int32)
    for row in range(blue.shape[0]):
        upper, lower = rgb[2 * row], rgb[2 * row + 1]
        light, dark = luma[2 * row], luma[2 * row + 1]
        for x in range(width):
            r, g, b = _I(upper[3 * x]), _I(upper[3 * x + 1]), _I(upper[3 * x + 2])
            r2, g2, b2 = _I(lower[3 * x]), _I(lower[3 * x + 1]), _I(lower[3 * x + 2])
            light[x] = _I(r * _YR + g * _YG + b * _YB + _BLACK) >> _BITS
            dark[x] = _I(r2 * _YR + g2 * _YG + b2 * _YB + _BLACK) >> _BITS
            reds[x + 1], greens[x + 1], blues[x + 1] = r + r2, g + g2, b + b2
        reds[0], greens[0], blues[0] = reds[1], greens[1], blues[1]
        cb, cr = blue[row], red[row]
        for x in range(half):
            r = reds[2 * x] + 2 * reds[2 * x + 1] + reds[2 * x + 2]
            g = greens[2 * x] + 2 * greens[2 * x + 1] + greens[2 * x + 2]
            b = blues[2 * x] + 2 * blues[2 * x + 1] + blues[2 * x + 2]
            cb[x] = _I(128) + (_I(r * _BR + g * _BG + b * _BB + _HALF) >> _SUM)
            cr[x] = _I(128) + (_I(r * _RR + g * _RG + b * _RB + _HALF) >> _SUM)
