"""What a network is shown in training beyond the batch: made-up colour hints, and its own colours of the frame before.

All draws follow from where the batch stands (seed, epoch, number, device), so that a resumed training draws the same.
"""

from __future__ import annotations

import numpy as np
import torch

from kinemacolor.frames.loader import Batch
from kinemacolor.models import Family
from kinemacolor.models.coding import View
from kinemacolor.params import Model


def in_training(batch: Batch, family: Family, model: Model, *, epoch: int, at: tuple[int, ...]) -> View:
    """The view of a batch that a network is trained on.

    Args:
        batch: for memory `own` its view holds the true colours of the frame before as `previous`.
        family: says what the network takes.
        model: `hints`, `previous` and `epochs` are read.
        epoch: from 0.
        at: seeds the draws.
    """
    view = batch.view
    random = np.random.default_rng(at)
    if family.hints:
        # Only here, so that networks without hints do not depend on how they are made up (dag.py).
        from kinemacolor.frames.hints import simulate_hints

        view = view.with_(hints=simulate_hints(batch.lab, model.hints, random))
    if family.memory == "own":
        given, dropped = (random.random(len(view)) for _ in range(2))
        given, dropped = given >= own_share(model, epoch), dropped < model.previous.drop
        device = view.lightness.device
        dropped = torch.from_numpy(dropped).to(device)
        starts = dropped if view.starts is None else view.starts | dropped
        view = view.with_(given=torch.from_numpy(given).to(device), starts=starts)
    return view


def own_share(model: Model, epoch: int) -> float:
    """Share of the frames that are shown the network's own output in an epoch (from 0): grows evenly over the epochs."""
    first, last = model.previous.own
    return first + (last - first) * (epoch / (model.epochs - 1) if model.epochs > 1 else 0.0)
