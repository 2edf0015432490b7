"""Takes a prediction back (prediction.py). Long chains of single additions suit compiled code and nothing else, hence numba."""

from __future__ import annotations

import numpy as np
from numba import types

from kinemacolor.compiled import compiled

_READ = types.Array(types.uint8, 3, "C", readonly=True)


@compiled((_READ, types.uint8[:, :, ::1]))
def restore(left_over: np.ndarray, out: np.ndarray) -> None:
    """Undo `prediction.residuals`: both uint8 (C,H,W); `out` is written."""
    channels, height, width = left_over.shape
    for channel in range(channels):
        for y in range(height):
            across = np.uint8(0)
            if y == 0:
                for x in range(width):
                    across = np.uint8(across + left_over[channel, y, x])
                    out[channel, y, x] = across
            else:
                for x in range(width):
                    across = np.uint8(across + left_over[channel, y, x])
                    out[channel, y, x] = np.uint8(across + out[channel, y - 1, x])
    if channels == 3:
        for y in range(height):
            for x in range(width):
                out[0, y, x] = np.uint8(out[0, y, x] + out[1, y, x])
                out[2, y, x] = np.uint8(out[2, y, x] + out[1, y, x])
