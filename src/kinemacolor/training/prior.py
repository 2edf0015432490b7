"""How often each colour class occurs in the frames that are trained on, so that rare colours can be made to count for more.

Counted once before the first epoch, over whole frames in order, and stored in the model's folder: every dataset has its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kinemacolor.errors import UserError
from kinemacolor.frames.loader import Batches, Material
from kinemacolor.models import bins
from kinemacolor.models.coding import Classes
from kinemacolor.params import AugmentParams, Model
from kinemacolor.training.losses import colourful, needs_classes

_TOGETHER = 16
"""Frames that are encoded at a time: shares of all classes take much memory."""

_TAIL = 0.01
"""Of one colour: what of it reaches a class farther than two or three steps away."""


def counted(material: Material, classes: Classes) -> Tensor:
    """How often each class (Q,) occurs, float64 on the CPU; frames that are grey all over count as little as in the loss.

    Classes of which each colour has one are spread over their neighbours, as shared ones are by their encoding.
    """
    counts = torch.zeros(len(classes.centres), dtype=torch.float64)
    hard = True
    whole = AugmentParams(crop=None, flip=False)
    for batch in Batches(material, batch_size=_TOGETHER, augment=whole, shuffle=None):
        lab = batch.lab[colourful(batch.lab)]
        if len(lab):
            shares = classes.encode(lab[:, 1:])
            counts += bins.count(shares).cpu()
            hard = hard and bool((shares.amax(dim=1) == 1).all())
    if not hard:
        return counts
    spread = bins.smoothed(counts, classes.centres.cpu())
    # The Gaussian's far tail reaches every class, and what counts as occurring must not hang on it.
    return torch.where(spread > _TAIL, spread, 0.0)


def rebalanced(material: Material, classes: Classes | None, model: Model) -> tuple[Tensor | None, dict[str, Any] | None]:
    """Weights of the classes (Q,) for the loss, and what prior.json says; None where the loss needs neither.

    Raises:
        UserError: no frame has any colour.
    """
    if not needs_classes(model.loss) or classes is None or model.loss.rebalance is None:
        return None, None
    counts = counted(material, classes)
    if not counts.sum() > 0:
        raise UserError("The training frames are grey, and colour classes need colours: choose other frames, or another loss.")
    weights = bins.rebalancing(counts, mix=model.loss.rebalance)
    prior = {
        "rebalance": model.loss.rebalance,
        "centres": classes.centres.tolist(),
        "prior": (counts / counts.sum()).tolist(),
        "weights": weights.tolist(),
    }
    return weights.to(material.device), prior
