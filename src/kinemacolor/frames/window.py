"""Which part of each frame of a batch is wanted, and which way round."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """What to cut out of each of N frames."""

    size: tuple[int, int]
    """Height and width."""
    corners: np.ndarray | None = None
    """Row and column of the top left pixel, (N,2) whole numbers; None: of all 0."""
    flips: np.ndarray | None = None
    """Whether it is mirrored left to right, (N,) bool; None: none is."""

    def fits(self, count: int, size: tuple[int, int]) -> Window:
        """The same with every field filled in, checked for `count` frames of `size` (the code that reads does not check)."""
        corners = np.zeros((count, 2), np.int64) if self.corners is None else np.ascontiguousarray(self.corners, np.int64)
        flips = np.zeros(count, np.uint8) if self.flips is None else np.ascontiguousarray(self.flips, np.uint8)
        if corners.shape != (count, 2) or flips.shape != (count,):
            raise ValueError(f"{count} frames with corners {corners.shape} and flips {flips.shape}")
        low, high = ((0, 0), (0, 0)) if self.corners is None or not count else (corners.min(axis=0), corners.max(axis=0))
        if min(low) < 0 or any(at + side > whole for at, side, whole in zip(high, self.size, size, strict=True)):
            raise ValueError(f"windows of {self.size} reach out of frames of {size}")
        return Window(self.size, corners, flips)
