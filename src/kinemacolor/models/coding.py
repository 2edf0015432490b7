"""Colour codings: what a network sees of a picture, and how its output becomes Lab again.

Every network is handed a View of some frames and what it gives back becomes Lab; the coding between is the family's own
business and written down once, here or in the family's module. Sources: models.md section 0 and the papers it names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from kinemacolor.colour import grey_rgb, lab_to_rgb, rgb_to_lab

Output = Any
"""What a network gives: a tensor (N,C,H,W), or whatever its coding's `values` and `classes` understand."""


@dataclass(frozen=True)
class View:
    """What networks may see of N frames; all float32, channel first, Lab in its own units.

    Attributes:
        lightness: L* of the grey picture (N,1,H,W), 0 to 100.
        starts: (N,) bool: no frame before belongs to this one (first of a clip, a shot or an unbroken run). None: all do.
        hints: (N,3,H,W): a and b of colour hints, 0 elsewhere, and a mask of 0 and 1.
        embedding: (N,D): a global embedding of the grey picture.
        coloured: Lab (N,3,H,W) of these frames as another model coloured them, one by one.
        previous: Lab (N,3,H,W) of the frame before each: as that other model coloured it, or as this network did itself.
            Where `starts`, it is the frame's own `coloured`, or grey (a = b = 0).
        given: (N,) bool, in training, for networks that see their own colours: where true, `previous` is shown instead.
    """

    lightness: Tensor
    starts: Tensor | None = None
    hints: Tensor | None = None
    embedding: Tensor | None = None
    coloured: Tensor | None = None
    previous: Tensor | None = None
    given: Tensor | None = None

    def __len__(self) -> int:
        return len(self.lightness)

    def map(self, function: Callable[[Tensor], Tensor]) -> View:
        """A view with `function` applied to every tensor that is there."""
        there = {field.name: getattr(self, field.name) for field in fields(self)}
        return View(**{name: None if value is None else function(value) for name, value in there.items()})

    def with_(self, **changes: Tensor | None) -> View:
        """A view with some attributes changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Classes:
    """The colour classes of a network that votes for them.

    Attributes:
        centres: ab of every class (Q,2), Lab units.
        stride: pixels of the picture for one vote, in each direction.
        logits: the network's output -> votes (N,Q,H/stride,W/stride).
        encode: ab (N,2,H,W) -> target shares (N,Q,H/stride,W/stride) that sum to one over Q.
    """

    centres: Tensor
    stride: int
    logits: Callable[[Output], Tensor]
    encode: Callable[[Tensor], Tensor]


def _itself(output: Output) -> Tensor:
    return output


@dataclass(frozen=True)
class Coding:
    """One family's view of colour. All tensors are float32, channel first.

    Attributes:
        name: as written to meta.json, `input -> output`.
        channels: channels of the network's input and output.
        keeps_luminance: the network predicts ab only and L* passes through untouched.
        encode_input: View -> the network's input (N,C,H,W).
        encode_target: Lab (N,3,H,W) -> what a loss compares `values` with.
        decode: L* (N,1,H,W) and the network's output -> Lab (N,3,H,W).
        values: the network's output -> values of the coding (N,C,H,W), differentiable.
        classes: the classes that it votes for, if it does.
        span: lowest and highest of `values`, about; a discriminator is shown them brought to [-1, 1].
    """

    name: str
    channels: tuple[int, int]
    keeps_luminance: bool
    encode_input: Callable[[View], Tensor]
    encode_target: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor, Output], Tensor]
    values: Callable[[Output], Tensor] = _itself
    classes: Classes | None = None
    span: tuple[float, float] = (-1.0, 1.0)


def ab_coding(
    name: str,
    *,
    scale: float,
    encode_input: Callable[[View], Tensor],
    channels: int = 1,
    values: Callable[[Output], Tensor] = _itself,
    classes: Classes | None = None,
) -> Coding:
    """A coding whose network predicts ab / `scale` and leaves L* alone.

    Args:
        channels: of the network's input.
        values: the network's output -> ab / `scale` at the picture's size.
    """
    return Coding(
        name=name,
        channels=(channels, 2),
        keeps_luminance=True,
        encode_input=encode_input,
        encode_target=lambda lab: lab[:, 1:] / scale,
        decode=lambda lightness, output: torch.cat((lightness, values(output).float() * scale), dim=1),
        values=values,
        classes=classes,
    )


AB128 = ab_coding("L/100 -> ab/128", scale=128.0, encode_input=lambda view: view.lightness / 100)
"""Project Games, 'lab v1': every ab of sRGB fits tanh with room to spare."""

AB110 = ab_coding("L/50-1 -> ab/110", scale=110.0, encode_input=lambda view: view.lightness / 50 - 1)
"""pix2pix and its descendants: centred input, ab/110."""

RGB_PM1 = Coding(
    name="RGB[-1,1] -> RGB[-1,1]",
    channels=(3, 3),
    keeps_luminance=False,
    encode_input=lambda view: grey_rgb(view.lightness) * 2 - 1,
    encode_target=lambda lab: lab_to_rgb(lab) * 2 - 1,
    decode=lambda lightness, output: rgb_to_lab(((output + 1) / 2).clamp(0, 1)),
)
"""Project Film: pixels in [-1, 1]; what leaves the range is clipped."""
