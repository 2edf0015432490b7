"""The numbers between sRGB and CIE Lab, for the torch code and the compiled code alike.

IEC 61966-2-1 and CIE 15 (D65, 2 degrees) as scikit-image 0.26 rounds them.
"""

from __future__ import annotations

import numpy as np

XYZ_FROM_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
CUBE_FROM = 0.008856
"""Below it the cube root gives way to a straight line."""
SLOPE, OFFSET = 7.787, 16.0 / 116.0

RATIOS_FROM_RGB = tuple(tuple(value / white for value in row) for row, white in zip(XYZ_FROM_RGB, WHITE, strict=True))
"""Rows divided by the white point: linear RGB to X/Xn, Y/Yn, Z/Zn."""


def linear_steps() -> np.ndarray:
    """The linear value of every 8-bit step, float32 (256,), computed in float64."""
    return _linear().astype(np.float32)


def lightness_steps() -> np.ndarray:
    """L* of every grey of 8 bits, float32 (256,), computed in float64. The matrix's row of Y adds up to one."""
    linear = _linear()
    return (116 * np.where(linear > CUBE_FROM, np.cbrt(linear), SLOPE * linear + OFFSET) - 16).astype(np.float32)


def _linear() -> np.ndarray:
    steps = np.arange(256) / 255
    return np.where(steps > 0.04045, ((steps + 0.055) / 1.055) ** 2.4, steps / 12.92)
