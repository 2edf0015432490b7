"""What networks there are: one row each, for `kinemacolor models`.

Networks are built on torch's meta device, where a tensor has a shape and no memory, so that listing a quarter of a
thousand million parameters takes no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from kinemacolor import models
from kinemacolor.models import multiple_of


def rows(entries: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Describe models and, after them, the families that no model is of.

    Args:
        entries: model -> its family and options.

    Returns:
        Rows of name, family, parameters, trainable, input, output, multiple, memory, source, sorted by name.

    Raises:
        UserError: a family is unknown or does not take the options.
    """
    unused = set(models.MODULES) - {family for family, _ in entries.values()}
    everything = {**entries, **{family: (family, {}) for family in unused}}
    return [row(name, *everything[name]) for name in sorted(everything)]


def row(name: str, family_name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """One model's row; see `rows`."""
    family = models.family(family_name)
    with torch.device("meta"):
        network = models.build(family_name, options)
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    takes, gives = family.coding.name.split(" -> ")
    return {
        "name": name,
        "family": family_name,
        "parameters": sum(number for number, _ in counts),
        "trainable": sum(number for number, trains in counts if trains),
        "input": takes,
        "output": gives,
        "multiple": multiple_of(network, family),
        "memory": None if family.memory == "none" else family.memory,
        "source": family.source,
    }
