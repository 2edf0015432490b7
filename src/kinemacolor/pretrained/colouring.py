"""Published weights of whole networks that colour by themselves, as the stage `weights` takes them.

They keep the names they were published with, which are our families' own; the family's `load_encoder` refuses what does
not fit. No published file was at hand when this was written, so the check is mild: a network must colour photographs at
all. How near to the truth it comes is written into weights.json beside what grey would give, for a person to judge: vivid
networks may be further from the truth than grey and still be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kinemacolor import models
from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.models.coding import View
from kinemacolor.models.running import run
from kinemacolor.pretrained.checking import pictures

ARCHITECTURES = frozenset({"eccv16", "siggraph17"})
"""As params.Weights names them; each is a network family of the same name, of which a file holds all the weights."""

_COLOURED = 5
"""The first of the check's pictures are the ones in colour."""


def checked(tensors: Mapping[str, Tensor], architecture: str, *, what: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Make sure that a published file is of this network, and that it colours.

    Args:
        tensors: by the file's own names.
        architecture: one of `ARCHITECTURES`.
        what: the file, for error messages.

    Returns:
        The tensors to keep, and what weights.json says: `parameters`, and `check`: `chroma` (mean) and `mse_ab` of five
        photographs at 224x224 coloured from their lightness, and `mse_ab_grey` of the same left grey; Lab units.

    Raises:
        UserError: names or shapes differ, or photographs stay grey.
    """
    network, family = models.build(architecture, {}), models.family(architecture)
    try:
        network.load_encoder(tensors)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None
    lab = rgb_to_lab(pictures()[:_COLOURED])
    lightness = lab[:, :1].contiguous()
    with torch.no_grad():
        output, _ = run(network.eval(), family, View(lightness))
        coloured = family.coding.decode(lightness, output)[:, 1:]
    chroma = coloured.square().sum(dim=1).sqrt().mean().item()
    if not chroma > 1:
        raise UserError(f"{what} leaves photographs grey (a mean chroma of {chroma:.2g}): it is damaged; name other weights.")
    found = {
        "chroma": round(chroma, 3),
        "mse_ab": round((coloured - lab[:, 1:]).square().mean().item(), 2),
        "mse_ab_grey": round(lab[:, 1:].square().mean().item(), 2),
    }
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {name: tensor.contiguous() for name, tensor in tensors.items()}, {"parameters": parameters, "check": found}
