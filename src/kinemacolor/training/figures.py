"""Means over an epoch and all devices: what is said of frames weighted by frames, what is said of pairs of frames by pairs.

Written with two sums: torchmetrics' mean leaves out what is no number, so that a training that has diverged looks sound, and
where it is told not to (nan_strategy disable) it forgets the weights (1.9).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchmetrics import SumMetric

from kinemacolor.training.losses import Error


class Mean(nn.Module):
    """A weighted mean; one value that is no number makes it none."""

    def __init__(self) -> None:
        super().__init__()
        self._sum, self._weight = SumMetric(nan_strategy="disable"), SumMetric(nan_strategy="disable")

    def update(self, value: Tensor, weight: float) -> None:
        """Take in a value that counts for so much; one that counts for nothing is left out."""
        self._sum.update(value.detach() * weight if weight else torch.zeros_like(value))
        self._weight.update(weight)

    def compute(self) -> Tensor:
        """The mean so far; nought of nothing."""
        total, weight = self._sum.compute(), self._weight.compute()
        return total / torch.where(weight > 0, weight, 1)

    def reset(self) -> None:
        """Begin anew."""
        self._sum.reset()
        self._weight.reset()


class LossFigure(nn.Module):
    """The mean error of an epoch's batches.

    Args:
        of_pairs: the loss has a part that compares each frame with the one before.
    """

    def __init__(self, of_pairs: bool) -> None:
        super().__init__()
        self._frames, self._pairs = Mean(), Mean() if of_pairs else None

    def update(self, error: Error, frames: int) -> None:
        """Take in a batch of so many frames; none if it only makes up the numbers of a device."""
        if error.unsteady is None or self._pairs is None:
            self._frames.update(error.told, frames)
            return
        self._frames.update(error.told - error.unsteady, frames)
        self._pairs.update(error.unsteady, error.pairs if frames else 0)

    def compute(self) -> Tensor:
        """The mean so far."""
        return self._frames.compute() if self._pairs is None else self._frames.compute() + self._pairs.compute()

    def reset(self) -> None:
        """Begin anew."""
        self._frames.reset()
        if self._pairs is not None:
            self._pairs.reset()
