"""lab_unet, ours: a small U-Net from L to ab with a skip at full resolution.

Where project Film's network paints the whole picture anew and blurs it, this one predicts chroma only: the grey
print's own luminance passes through untouched, and the skip at full resolution keeps colour inside its outlines.
The deepest level sees nearly the whole of a 64x64 frame, which is what tells a meadow from a sky.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from kinemacolor.models import Family
from kinemacolor.models.coding import AB110


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class LabUNet(nn.Module):
    """L/50-1 (B,1,H,W) to ab/110 (B,2,H,W) through tanh; H and W multiples of 16. Ours.

    Args:
        width: channels at full resolution; each of the four halvings doubles them, up to eight times.
        dropout: share of the deepest level's channels dropped in training; a film has few different scenes.
    """

    def __init__(self, *, width: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        n = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.down = nn.ModuleList([_block(1, n[0])] + [_block(a, b) for a, b in itertools.pairwise(n)])
        self.halve = nn.MaxPool2d(2)
        self.drop = nn.Dropout2d(dropout)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.up = nn.ModuleList(_block(n[level + 1] + n[level], n[level]) for level in range(3, -1, -1))
        self.out = nn.Conv2d(n[0], 2, 1)
        # Begin at grey: the first step is then better than no colour, never worse.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, lightness: Tensor) -> Tensor:
        """(B,1,H,W) in [-1, 1] to (B,2,H,W) in (-1, 1)."""
        skips = []
        x = self.down[0](lightness)
        for block in self.down[1:]:
            skips.append(x)
            x = block(self.halve(x))
        x = self.drop(x)
        for block in self.up:
            x = block(torch.cat((self.upsample(x), skips.pop()), dim=1))
        return torch.tanh(self.out(x))


FAMILIES = {"lab_unet": Family(LabUNet, AB110, multiple=16, source="ours")}
