"""What a family asks of its section in params.yaml, told without torch, since the Snakefile asks while it is read.

No stage imports this, so that mending it trains nothing again. tests/unit/test_needs.py compares it with the families.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Needs:
    """What a network of one family with certain options needs and can do.

    Attributes:
        multiple: height and width must be a multiple of this many pixels.
        side: height and width that it takes and no other, in pixels; None takes any multiple.
        coloured: it sees frames as another model coloured them.
        hints: it takes colour hints.
        classes: it votes for colour classes.
        begins_with: architecture of the published weights that it can begin with; None begins with none.
        must_begin: a part of it is never trained, and would see through random numbers without them.
    """

    multiple: int = 8
    side: int | None = None
    coloured: bool = False
    hints: bool = False
    classes: bool = False
    begins_with: str | None = None
    must_begin: bool = False


def needs_of(family: str, options: Mapping[str, Any]) -> Needs:
    """What a network of `family` with `options` needs. Of options that are no sense it says anything: `build` refuses them."""
    match family:
        case "naive":
            return Needs(multiple=1)
        case "lab_unet":
            return Needs(multiple=16)
        case "eccv16":
            return Needs(classes=True, begins_with="eccv16")
        case "siggraph17":
            return Needs(hints=True, classes=bool(options.get("classes", True)), begins_with="siggraph17")
        case "unet_gan" | "unet_lstm_gan":
            multiple = 2 ** _whole(options, "levels", 7)
            flat = options.get("cell") == "lstm_flat"
            return Needs(multiple=multiple, side=_whole(options, "bottleneck", 2) * multiple if flat else None)
        case "nazeri_gan":
            return Needs(multiple=128 if options.get("form") == 256 else 16)
        case "koalarization" | "fusion":
            return Needs(begins_with=str(options.get("embedding", "mobilenet_v2")), must_begin=True)
        case "resnet18_lab":
            return Needs(begins_with="resnet18", must_begin=bool(options.get("freeze", False)))
        case "vgg16_lab":
            architecture = "vgg16_bn" if options.get("batch_norm", False) else "vgg16"
            return Needs(begins_with=architecture, must_begin=bool(options.get("freeze", False)))
        case "alexnet_prev":
            return Needs(multiple=1, side=128, coloured=True)
        case "vgg16_prev":
            return Needs(multiple=1, side=128, coloured=True, begins_with="vgg16", must_begin=True)
        case "alexnet_prev_own":
            return Needs(multiple=1, side=128)
        case "vgg16_prev_own":
            return Needs(multiple=1, side=128, begins_with="vgg16", must_begin=True)
        case _:
            return Needs()


def _whole(options: Mapping[str, Any], key: str, default: int) -> int:
    """A small whole number, or what stands for it until `build` refuses it."""
    value = options.get(key, default)
    return value if isinstance(value, int) and 1 <= value <= 16 else default
