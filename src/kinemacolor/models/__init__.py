"""The networks, one module a family of papers or projects, and the table that finds them by name.

A family's module is imported only when it is asked for, so that editing one network re-trains that network alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kinemacolor.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from kinemacolor.models.coding import Coding

MODULES: Mapping[str, str] = {
    "naive": "film",
    "film_unet": "film",
    "lab_unet": "lab_unet",
    "alpha": "wallner",
    "beta": "wallner",
    "eccv16": "zhang",
    "siggraph17": "zhang",
    "cunet": "cunet",
    "unet_gan": "pix2pix",
    "unet_lstm_gan": "pix2pix",
    "nazeri_gan": "nazeri",
    "alexnet_prev": "previous",
    "vgg16_prev": "previous",
    "alexnet_prev_own": "previous",
    "vgg16_prev_own": "previous",
    "koalarization": "koalarization",
    "fusion": "koalarization",
    "resnet18_lab": "trunks",
    "vgg16_lab": "trunks",
}
"""Family -> module below kinemacolor.models."""

EMBEDS = frozenset({"koalarization", "fusion"})
"""Families that take a global embedding, known without importing torch, since the Snakefile asks."""

Memory = Literal["none", "coloured", "own", "state"]
"""What a network knows of the frame before: nothing; its colours by another model; its own colours; a recurrent state."""


@dataclass(frozen=True)
class Family:
    """A way to build a network.

    Attributes:
        build: makes the network; keyword arguments are the options of params.yaml.
        coding: its colour coding.
        multiple: height and width must be a multiple of this many pixels; `colorize` pads. Ask `multiple_of`.
        source: paper, project, or 'ours'.
        memory: what it knows of the frame before; see models.coding.View for what it is handed, and `models.run`.
        side: height and width that it takes and no other, in pixels; None takes any multiple. Ask `side_of`.
        embeds: it takes a global embedding, `forward(x, embedding)`, and has `embed(lightness)` and `encoder`.
        hints: it takes colour hints.
    """

    build: Callable[..., nn.Module]
    coding: Coding
    multiple: int
    source: str
    memory: Memory = "none"
    side: int | None = None
    embeds: bool = False
    hints: bool = False


def module_of(family: str) -> str:
    """Name of the module that holds `family`.

    Raises:
        UserError: unknown family; names those there are.
    """
    if family not in MODULES:
        raise UserError(f"models: the family {family!r} is unknown: choose one of {', '.join(sorted(MODULES))}.")
    return f"kinemacolor.models.{MODULES[family]}"


def family(name: str) -> Family:
    """The family called `name`; errors as `module_of`."""
    return importlib.import_module(module_of(name)).FAMILIES[name]


def build(name: str, options: Mapping[str, Any]) -> nn.Module:
    """Build a network of family `name`.

    Raises:
        UserError: unknown family, or an option that the family does not take.
    """
    found = family(name)
    try:
        return found.build(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"models: the family {name!r} does not take these options ({error}): correct `options`.") from None


def multiple_of(network: nn.Module, family: Family) -> int:
    """Pixels that height and width must be a multiple of: the network's own word, where an option decides, else the family's."""
    return getattr(network, "multiple", family.multiple)


def side_of(network: nn.Module, family: Family) -> int | None:
    """Height and width in pixels that the network takes and no other; None if it takes any multiple."""
    return getattr(network, "side", family.side)
