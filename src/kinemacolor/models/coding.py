"""Colour codings: what a network sees of L*, and how its output becomes Lab again.

Every network is handed the L* of a grey picture and gives back Lab; the coding between is the family's own business
and written down once, here. Sources: models.md section 0 and the papers and projects it names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kinemacolor.colour import grey_rgb, lab_to_rgb, rgb_to_lab


@dataclass(frozen=True)
class Coding:
    """One family's view of colour. All tensors are float32, channel first.

    Attributes:
        name: as written to meta.json.
        channels: channels of the network's input and output.
        keeps_luminance: the network predicts ab only and L* passes through untouched.
        encode_input: L* (B,1,H,W) in 0..100 -> network input.
        encode_target: Lab (B,3,H,W) -> what the loss compares the output with.
        decode: L* (B,1,H,W) and network output -> Lab (B,3,H,W).
    """

    name: str
    channels: tuple[int, int]
    keeps_luminance: bool
    encode_input: Callable[[Tensor], Tensor]
    encode_target: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor, Tensor], Tensor]


def ab_coding(name: str, *, scale: float, encode_input: Callable[[Tensor], Tensor]) -> Coding:
    """A coding whose network predicts ab / `scale` and leaves L* alone."""
    return Coding(
        name=name,
        channels=(1, 2),
        keeps_luminance=True,
        encode_input=encode_input,
        encode_target=lambda lab: lab[:, 1:] / scale,
        decode=lambda lightness, output: torch.cat((lightness, output * scale), dim=1),
    )


AB128 = ab_coding("L/100 -> ab/128", scale=128.0, encode_input=lambda lightness: lightness / 100)
"""Project Games, 'lab v1': every ab of sRGB fits tanh with room to spare."""

AB110 = ab_coding("L/50-1 -> ab/110", scale=110.0, encode_input=lambda lightness: lightness / 50 - 1)
"""pix2pix and its descendants: centred input, ab/110."""

RGB_PM1 = Coding(
    name="RGB[-1,1] -> RGB[-1,1]",
    channels=(3, 3),
    keeps_luminance=False,
    encode_input=lambda lightness: grey_rgb(lightness) * 2 - 1,
    encode_target=lambda lab: lab_to_rgb(lab) * 2 - 1,
    decode=lambda lightness, output: rgb_to_lab(((output + 1) / 2).clamp(0, 1)),
)
"""Project Film: pixels in [-1, 1]; what leaves the range is clipped."""
