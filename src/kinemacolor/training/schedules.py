"""Optimisers and learning rates by the names they have in params.yaml.

A rate is a function of the epoch alone, set anew when an epoch begins: there is no scheduler whose state a resumed
training could get wrong, and a discriminator follows the same one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from kinemacolor.params import Model, Optimiser


def rate_factor(model: Model, epoch: int) -> float:
    """What the learning rate is multiplied with in an epoch.

    Args:
        model: its schedule and number of epochs.
        epoch: from 0.

    Returns:
        From 1 down. cosine: half a period over the epochs. linear: one until `hold` of the epochs have passed, then in
        equal steps, of which the one after the last epoch would reach nought (pix2pix). step: `factor` once more every
        `every` epochs.
    """
    schedule, epochs = model.schedule, model.epochs
    match schedule.name:
        case "cosine":
            return (1 + math.cos(math.pi * epoch / epochs)) / 2
        case "linear":
            held = round(schedule.hold * epochs)
            return 1 - max(0, epoch + 1 - held) / (epochs - held + 1)
        case "step":
            return schedule.factor ** (epoch // schedule.every)
        case _:
            return 1.0


def set_rate(optimiser: torch.optim.Optimizer, base: float, factor: float) -> None:
    """Set the learning rate of all groups to `base` x `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = base * factor


def make_optimiser(parameters: Iterable[nn.Parameter], params: Optimiser) -> torch.optim.Optimizer:
    """One of torch's optimisers over the trainable ones of `parameters`."""
    weights = [parameter for parameter in parameters if parameter.requires_grad]
    common = {"lr": params.lr, "weight_decay": params.weight_decay}
    match params.name:
        case "adam":
            return torch.optim.Adam(weights, betas=params.betas, eps=params.eps, fused=True, **common)
        case "adamw":
            return torch.optim.AdamW(weights, betas=params.betas, eps=params.eps, fused=True, **common)
        case "rmsprop":
            return torch.optim.RMSprop(weights, alpha=params.alpha, eps=params.eps, momentum=params.momentum, **common)
        case "sgd":
            return torch.optim.SGD(weights, momentum=params.momentum, **common)
