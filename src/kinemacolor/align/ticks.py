"""The clock of a print in its own frames, whether their times are even or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ticks:
    """A print's clock: one tick is the time that a frame usually lasts.

    Attributes:
        rate: ticks a second.
        at: float64 (frames,), when each frame begins, in ticks; its number where the frame rate is constant.
        even: whether the frame rate is constant.
    """

    rate: float
    at: NDArray[np.float64]
    even: bool

    def frames(self, ticks: NDArray) -> NDArray[np.int64]:
        """The frame that begins nearest to each tick; -1 where none begins within half a tick."""
        if self.even:
            found = np.floor(np.asarray(ticks, np.float64) + 0.5).astype(np.int64)
            return np.where((found >= 0) & (found < len(self.at)), found, -1)
        right = np.clip(np.searchsorted(self.at, ticks), 1, len(self.at) - 1)
        left = right - 1
        nearest = np.where(np.abs(self.at[right] - ticks) < np.abs(self.at[left] - ticks), right, left)
        return np.where(np.abs(self.at[nearest] - ticks) <= 0.5 + 1e-6, nearest, -1)


def ticks_of(times: NDArray[np.float64]) -> Ticks:
    """The clock behind presentation times in seconds, (frames,), increasing. Containers round times: up to .4 frame is even."""
    count = len(times)
    if count < 3:
        return Ticks(25.0, np.arange(count, dtype=np.float64), True)
    step = float(np.median(np.diff(times)))
    # Times rounded to milliseconds make the median coarse; the mean of the steps that are about as long is not.
    steps = np.diff(times)
    step = float(steps[np.abs(steps / step - 1) < 0.2].mean())
    at = (times - times[0]) / step
    numbers = np.arange(count)
    slope = float((times[-1] - times[0]) / (count - 1))
    if abs(slope / step - 1) < 0.01 and np.abs((times - times[0]) / slope - numbers).max() < 0.4:
        return Ticks(1 / slope, numbers.astype(np.float64), True)
    return Ticks(1 / step, at, False)
