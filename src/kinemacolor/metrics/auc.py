"""How much of a picture's colour is near the true one: the area under the curve of what is off by at most t.

The curve of a set of pixels is acc(t), the share of them whose ab lies at most t from the true ab, for t = 0, 1, ..., 150;
the figure is its integral by trapezia, over 150. Zhang, Isola and Efros 2016 (arXiv 1603.08511) plot it raw and rebalanced,
where a pixel counts by one over the share that the class of its true colour has; there the shares are ImageNet's, here
they are those of the very pixels that are judged, so that every one of the 313 classes that occurs counts alike.

Nothing is kept of a pixel but what it adds: one that is off by e is counted by every t from ceil(e) on, which is a
whole number of halves, so that sums are exact and depend neither on batches nor on order. Released code takes one pixel in
sixteen; here it is all of them.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from kinemacolor.models.bins import CENTRES, STEP

REACH = 150
"""The largest t, in Lab units."""

_SIDE = 13  # steps of the grid of classes on either side of grey; sRGB reaches eleven


def true_class(ab: Tensor) -> Tensor:
    """Which of the 313 classes of models/bins.py is nearest to every true colour.

    Args:
        ab: (B, 2, ...) in Lab units, of 8-bit sRGB: rounding to the grid of classes finds the nearest of them for all of
            these, and for a colour outside sRGB one that is near.

    Returns:
        int64 (B, ...), 0 to 312.
    """
    steps = (ab / STEP).round_().clamp_(-_SIDE, _SIDE).add_(_SIDE).long()
    return _grid(ab.device)[steps[:, 0] * (2 * _SIDE + 1) + steps[:, 1]]


@functools.lru_cache(maxsize=8)
def _grid(device: torch.device) -> Tensor:
    """The class nearest to every place of the grid of ten ab units, by rows of a."""
    places = torch.cartesian_prod(*[torch.arange(-_SIDE, _SIDE + 1) * STEP] * 2).double()
    return (places[:, None] - CENTRES.double()).square().sum(dim=-1).argmin(dim=1).to(device)


def halves(predicted: Tensor, true: Tensor) -> Tensor:
    """What every pixel adds to the integral, in halves of a t: 300 if its colour is right, 0 if it is off by more than 150.

    Args:
        predicted, true: ab, floating point (B, 2, ...), Lab units.

    Returns:
        int64 (B, ...).
    """
    off = (predicted.double() - true.double()).square_().sum(dim=1).sqrt_()
    # A trapezium's two ends count half: t = 0 and t = 150.
    return (2 * REACH + 1 - 2 * off.ceil_().clamp_(max=REACH + 1)).clamp_(0, 2 * REACH).long()


class AucPool:
    """The figures of one split, fed batch by batch. Memory is two numbers a class."""

    def __init__(self) -> None:
        self._pixels = np.zeros(len(CENTRES), dtype=np.int64)
        self._halves = np.zeros(len(CENTRES), dtype=np.int64)

    def update(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Take in a batch.

        Args:
            predicted: Lab, floating point (B, 3, H, W).
            true: Lab of 8-bit sRGB, floating point (B, 3, H, W).

        Returns:
            float64 (B,): auc_raw of each picture, 0 to 1.
        """
        added, classes = halves(predicted[:, 1:], true[:, 1:]), true_class(true[:, 1:]).flatten()
        self._pixels += classes.bincount(minlength=len(CENTRES)).cpu().numpy()
        # Whole numbers far below 2^53: exact in float64, whatever their order.
        sums = classes.bincount(weights=added.flatten().double(), minlength=len(CENTRES))
        self._halves += sums.cpu().numpy().astype(np.int64)
        return added.flatten(1).sum(dim=1).double() / (2 * REACH * added[0].numel())

    def pooled(self) -> dict[str, float]:
        """auc_raw over all pixels so far, and auc_rebal, the mean over the classes that occur; empty if there was none."""
        seen = self._pixels > 0
        if not seen.any():
            return {}
        whole = int(self._halves.sum()) / (2 * REACH * int(self._pixels.sum()))
        return {"auc_raw": whole, "auc_rebal": float((self._halves[seen] / self._pixels[seen]).mean() / (2 * REACH))}
