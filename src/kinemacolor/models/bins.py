"""Colour classes of the ab plane: the 313 of eccv16, the 529 of siggraph17, and how pictures become shares of them.

The 313 are not recomputed from the gamut: rounding every sRGB colour finds 261 of them, and the four corners around it
307. They are the list that the published weights were trained with, so they stand here as a table of ranges.
Source: Zhang, Isola, Efros 2016 (arXiv 1603.08511) and 2017 (1705.02999) with their released code; models.md, section 6.

Encoding looks only at the few classes that can be near: the plane is cut into cells of 2x2 ab units, and for each cell
the classes that may be among the k nearest of any colour in it are found once. That is exact, and spares the distances
to all 313.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

STEP = 10
"""Distance between neighbouring classes, in ab units."""

_B_RANGES = {
    -90: (50, 90),
    -80: (20, 90),
    -70: (0, 90),
    -60: (-20, 90),
    -50: (-30, 100),
    -40: (-40, 100),
    -30: (-50, 100),
    -20: (-50, 100),
    -10: (-60, 100),
    0: (-70, 100),
    10: (-80, 90),
    20: (-80, 90),
    30: (-90, 90),
    40: (-100, 90),
    50: (-100, 80),
    60: (-110, 80),
    70: (-110, 80),
    80: (-110, 70),
    90: (-110, 70),
    100: (-90, 0),
}
"""a -> first and last b, both included."""

CENTRES = torch.tensor([(a, b) for a, (first, last) in _B_RANGES.items() for b in range(first, last + 1, STEP)]).float()
"""ab of the 313 classes (313,2), sorted by a, then b: the order of the published pts_in_hull."""

_REACH = 110
_SIDE = 2 * _REACH // STEP + 1

SQUARE_CENTRES = torch.cartesian_prod(*[torch.arange(-_REACH, _REACH + 1, STEP)] * 2).float()
"""ab of the 529 classes of siggraph17 (529,2): the whole square of 23x23 from -110 to 110, sorted by a, then b."""

TEMPERATURE = 0.38
"""Of the annealed mean, as Zhang et al. 2016 chose it between vividness and smoothness."""

_EDGE = 130.0  # cells cover ab from -130 to 130; sRGB reaches -107.9 to 98.2
_CELL = 2.0
_CELLS = int(2 * _EDGE / _CELL)


@functools.lru_cache(maxsize=8)
def _near(neighbours: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of every cell, the classes that may be among the k nearest to a colour in it, in the order of the classes.

    Returns:
        Their indices (cells, m) and their ab (cells, m, 2). Rows are filled up with a class that does not exist and is
        infinitely far away.
    """
    low = torch.arange(_CELLS, dtype=torch.float64) * _CELL - _EDGE
    # Squared distance along each axis from class to the nearest and to the farthest point of a cell.
    from_low, from_high = (CENTRES.double().T[:, None] - edge[None, :, None] for edge in (low, low + _CELL))
    nearest = torch.maximum(-from_low, from_high).clamp(min=0).square()
    farthest = torch.maximum(from_low.abs(), from_high.abs()).square()
    least = (nearest[0][:, None] + nearest[1][None]).flatten(0, 1)
    most = (farthest[0][:, None] + farthest[1][None]).flatten(0, 1)
    possible = least <= most.kthvalue(neighbours, dim=1, keepdim=True).values + 1e-2  # room for rounding in float32
    width = int(possible.sum(dim=1).max())
    order = torch.where(possible, torch.arange(len(CENTRES)), len(CENTRES)).sort(dim=1).values[:, :width]
    return order.to(device), torch.cat((CENTRES, torch.full((1, 2), torch.inf)))[order].to(device)


@torch.no_grad()
def _picked(ab: Tensor, stride: int) -> Tensor:
    """The pixel nearest the middle of every block."""
    return ab[..., stride // 2 :: stride, stride // 2 :: stride]


def soft_encode(ab: Tensor, *, neighbours: int = 5, sigma: float = 5.0, stride: int = 4) -> Tensor:
    """Shares of the 313 classes in the colours of pictures: a Gaussian over the nearest few.

    Args:
        ab: (N,2,H,W) in Lab units, on any device; taken as at the edge beyond -130 and 130.
        neighbours: classes that share a colour. 5 is the paper's, 10 the released training code's. Of classes equally
            far away those that come first in the table are taken.
        sigma: of the Gaussian, in ab units.
        stride: one pixel in so many is encoded, in each direction: the one nearest the middle of its block, where the vote
            is shown. The released code takes the top left one, which moves colours by 1.5 pixels; ours.

    Returns:
        float32 (N,313,H/stride,W/stride), channels last in memory; sums to one over the classes. Not differentiable.
    """
    picked = _picked(ab, stride).float().clamp(-_EDGE, _EDGE)
    count, _, height, width = picked.shape
    colours = picked.permute(0, 2, 3, 1).reshape(-1, 1, 2)
    classes, centres = _near(neighbours, ab.device)
    cell = ((colours[:, 0] + _EDGE) / _CELL).long().clamp(max=_CELLS - 1)
    cell = cell[:, 0] * _CELLS + cell[:, 1]
    distance, order = (centres[cell] - colours).square().sum(dim=-1).sort(dim=1, stable=True)
    distance, order = distance[:, :neighbours], order[:, :neighbours]
    # Relative to the nearest, or a colour far outside the hull would have no weight at all.
    weights = torch.exp((distance[:, :1] - distance) / (2 * sigma**2))
    weights /= weights.sum(dim=1, keepdim=True)
    shares = weights.new_zeros(len(colours), len(CENTRES)).scatter_(1, classes[cell].gather(1, order), weights)
    return shares.view(count, height, width, len(CENTRES)).permute(0, 3, 1, 2)


@torch.no_grad()
def square_index(ab: Tensor) -> Tensor:
    """The class of siggraph17, 0 to 528, of every colour.

    Args:
        ab: (N,2,...) in Lab units; beyond -110 and 110 it is the class at the edge.

    Returns:
        int64 (N,...): 23 times the step of a, plus the step of b, each rounded (halves to even, as the released code).
    """
    steps = ((ab.float() + _REACH) / STEP).round().clamp(0, _SIDE - 1).long()
    return steps[:, 0] * _SIDE + steps[:, 1]


@torch.no_grad()
def square_encode(ab: Tensor, *, stride: int = 4) -> Tensor:
    """As `soft_encode`, with the 529 classes of siggraph17, one of which has the whole share: (N,529,H/stride,W/stride)."""
    index = square_index(_picked(ab, stride))
    shares = torch.zeros(*index.shape, len(SQUARE_CENTRES), device=ab.device).scatter_(-1, index[..., None], 1.0)
    return shares.permute(0, 3, 1, 2)


def annealed_mean(logits: Tensor, centres: Tensor = CENTRES, *, temperature: float) -> Tensor:
    """The colour that votes stand for: the mean of the classes, after sharpening.

    Temperature 1 gives the plain mean of the shares, which is grey where the network is torn; towards 0 it becomes the
    colour with most votes, which is blotchy. `shares.log()` may be given for logits.

    Args:
        logits: (N,Q,...), any floating point.
        centres: ab of the classes (Q,2).
        temperature: above 0; the paper's is `TEMPERATURE`.

    Returns:
        ab (N,2,...), float32, Lab units, differentiable.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature of an annealed mean must be above 0, not {temperature}")
    votes = torch.softmax(logits.float() / temperature, dim=1)
    # Sums, because a matrix product would run in bfloat16 or TF32 when the trainer says so, and round colours.
    across = (-1, *[1] * (logits.ndim - 2))
    return torch.stack([(votes * axis.view(across)).sum(dim=1) for axis in centres.to(votes.device).T], dim=1)


# ----------------------------------------------------------------------------------------- rare colours


def count(shares: Tensor) -> Tensor:
    """How often each class occurs in a batch: add these up over a dataset, or over ranks.

    Args:
        shares: (N,Q,...) as an encoding gives them. Counting soft shares smooths the counts by their Gaussian.

    Returns:
        float64 (Q,); their sum is the number of colours.
    """
    # In two steps, since all shares in float64 would take twice the memory of the batch.
    return shares.sum(dim=tuple(range(2, shares.ndim))).double().sum(dim=0)


def smoothed(counts: Tensor, centres: Tensor, *, sigma: float = 5.0) -> Tensor:
    """Spread counts of hard classes over their neighbours by a Gaussian of ab units, keeping their sum.

    Args:
        counts: (Q,).
        centres: ab of the classes (Q,2).
    """
    kernel = torch.exp(-torch.cdist(centres.double(), centres.double()).square() / (2 * sigma**2)).to(counts.device)
    return (kernel / kernel.sum(dim=0)) @ counts.double()


def rebalancing(counts: Tensor, *, mix: float = 0.5) -> Tensor:
    """Weights that make rare colours count for more: one over the prior mixed with a uniform share.

    w is proportional to 1 / ((1 - mix) p + mix / Q), where p is the prior and Q the number of classes that occur, and
    normalised so that its mean over the dataset is 1. A class that does not occur has the largest weight of those that
    do: the released code mixes the uniform share in only where p > 0 and then divides by nothing; it relied on a prior
    without gaps.

    Args:
        counts: (Q,) not negative, summed up by `count`.
        mix: lambda of Zhang et al.; 1 gives ones, 0 one over the prior.

    Returns:
        float32 (Q,), on the device of `counts`.

    Raises:
        ValueError: nothing was counted, or `mix` is not from 0 to 1.
    """
    total = counts.sum()
    if not total > 0:
        raise ValueError("a prior needs colours, and none were counted")
    if not 0 <= mix <= 1:
        raise ValueError(f"the share of the uniform prior must be from 0 to 1, not {mix}")
    prior = counts.double() / total
    seen = prior > 0
    weights = torch.where(seen, 1 / ((1 - mix) * prior + mix / seen.sum()), 0.0)
    weights = torch.where(seen, weights, weights.max())
    return (weights / (prior * weights).sum()).float()
