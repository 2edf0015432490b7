"""Project Film's network and its baseline: RGB in [-1, 1] to RGB in [-1, 1].

The network has no skip at full resolution, so its pictures are blurred and muted; that is the project's own complaint
and is kept as it was, to be compared with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kinemacolor.models import Family
from kinemacolor.models.coding import RGB_PM1, ab_coding


class Naive(nn.Module):
    """The grey input unchanged: ab = 0. Project Film's baseline; it has nothing to train."""

    def forward(self, lightness: Tensor) -> Tensor:
        """(B,1,H,W) to zeros (B,2,H,W)."""
        return lightness.new_zeros(lightness.shape[0], 2, *lightness.shape[2:])


def _double_conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class FilmUNet(nn.Module):
    """Project Film's U-Net; 1,885,827 parameters; H and W multiples of 8; no output activation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = _double_conv(3, 64, stride=2)
        self.down2 = _double_conv(64, 128, stride=2)
        self.down3 = _double_conv(128, 256, stride=2)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.up2 = _double_conv(256 + 128, 128)
        self.up1 = _double_conv(128 + 64, 64)
        self.out = nn.Conv2d(64, 3, 1)

    def forward(self, grey: Tensor) -> Tensor:
        """(B,3,H,W) in [-1, 1] to (B,3,H,W), about [-1, 1]."""
        half = self.down1(grey)
        quarter = self.down2(half)
        eighth = self.down3(quarter)
        quarter = self.up2(torch.cat((self.upsample(eighth), quarter), dim=1))
        half = self.up1(torch.cat((self.upsample(quarter), half), dim=1))
        return self.out(self.upsample(half))


FAMILIES = {
    "naive": Family(
        Naive,
        ab_coding("L -> ab = 0", scale=1.0, encode_input=lambda view: view.lightness),
        multiple=1,
        source="project Film's baseline",
    ),
    "film_unet": Family(FilmUNet, RGB_PM1, multiple=8, source="project Film; ece324-2020/FilmColorizer"),
}
