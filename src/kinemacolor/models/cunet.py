"""CUNet of project Photos: a U-Net whose blocks are convolution, sigmoid, batch norm, in that order.

Source: Wang, Chen, Tian 2022, Symmetry 14(11):2295, as project Photos built it (jzhe727/colorizer); models.md, section 7.

The project works in raw units: L from 0 to 100 goes in, tanh x 127 comes out, and its squared error is of ab itself. Here
the values that losses see are ab/127, so that weights of losses, deltas and gradient norms mean for cunet what they mean
for every other network; the project's figure is 127^2 times ours, with the same minimum and, under Adam, the same steps.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

from kinemacolor.models import Family
from kinemacolor.models.coding import ab_coding

_CHANNELS = (64, 128, 256, 512)


class CUNet(nn.Module):
    """L, 0 to 100 (N,1,H,W), to ab/127 (N,2,H,W) through tanh; 23,156,674 parameters; H and W multiples of 8.

    Weights begin as torch's convolutions do, which is what the project left them at.

    Args:
        act: the nonlinearity of the blocks. The project's sigmoid saturates on raw L, and learns slowly; relu is ours.
        scale_input: L/100 instead of the project's raw L. Ours.
        width: factor on the channels of every hidden layer. Ours, for small machines.
    """

    def __init__(self, *, act: Literal["sigmoid", "relu"] = "sigmoid", scale_input: bool = False, width: float = 1.0) -> None:
        super().__init__()
        activations = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}
        if act not in activations:
            raise ValueError(f"act must be sigmoid or relu, not {act!r}")
        if not width > 0:
            raise ValueError(f"width must be above 0, not {width}")
        n = [max(1, round(channels * width)) for channels in _CHANNELS]

        def block(conv: nn.Module) -> nn.Sequential:
            return nn.Sequential(conv, activations[act](), nn.BatchNorm2d(conv.out_channels))

        def convs(channels_in: int, channels_out: int, count: int, dilation: int = 1) -> nn.Sequential:
            inputs = [channels_in] + [channels_out] * (count - 1)
            return nn.Sequential(*(block(nn.Conv2d(one, channels_out, 3, padding=dilation, dilation=dilation)) for one in inputs))

        self.scale = 0.01 if scale_input else 1.0
        self.halve = nn.AvgPool2d(2)
        self.down = nn.ModuleList(convs(a, b, 2) for a, b in zip((1, *n[:2]), n[:3], strict=True))
        self.bottom = nn.Sequential(convs(n[2], n[3], 2), convs(n[3], n[3], 4, dilation=2), convs(n[3], n[3], 2))
        self.doubled = nn.ModuleList(block(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)) for b, a in _upwards(n))
        self.up = nn.ModuleList(convs(2 * b, b, 1) for b, _ in _upwards(n))
        self.out = nn.Conv2d(n[0], 2, 1)

    def forward(self, lightness: Tensor) -> Tensor:
        """(N,1,H,W), L from 0 to 100, to (N,2,H,W) in (-1, 1)."""
        x = lightness * self.scale
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = self.halve(x)
        x = self.bottom(x)
        for doubled, level in zip(self.doubled, self.up, strict=True):
            x = level(torch.cat((doubled(x), skips.pop()), dim=1))
        return torch.tanh(self.out(x))


def _upwards(channels: list[int]) -> list[tuple[int, int]]:
    """(channels of a level, channels below it), deepest first."""
    return list(itertools.pairwise(channels))[::-1]


FAMILIES = {
    "cunet": Family(
        CUNet,
        ab_coding("L -> ab/127", scale=127.0, encode_input=lambda view: view.lightness),
        multiple=8,
        source="project Photos; Wang, Chen, Tian 2022, CU-Net; jzhe727/colorizer",
    )
}
