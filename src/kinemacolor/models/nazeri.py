"""nazeri_gan: the generator of Nazeri, Ng and Ebrahimi 2018, which project Film named and which, conditional and with L1, works.

Unlike pix2pix's it paints L as well, has skips up to full resolution, and normalises after every convolution but the last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor.models import Family
from kinemacolor.models.coding import Coding, View

_FORMS = {
    32: ((64, 128, 256, 512, 512), (0.5, 0.5, 0.0, 0.0)),
    256: ((64, 64, 128, 256, 512, 512, 512, 512), (0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0)),
}
"""Channels on the way down, of which the first does not halve, and the dropout on the way up; by the paper's picture sizes."""


class Nazeri(nn.Module):
    """L/50-1 (B,1,H,W) to Lab (B,3,H,W) through tanh: L/50-1, a/110, b/110. Source: Colorizing-with-GANs.

    H and W must be multiples of 2 ** halvings, which is the attribute `multiple`: 16 or 128.

    Args:
        form: 32 (4 halvings, 16,654,851 parameters) or 256 (7 halvings, 42,023,811): the picture size it was made for.
        width: factor on every layer's channels.
    """

    def __init__(self, *, form: int = 32, width: float = 1.0) -> None:
        super().__init__()
        if form not in _FORMS:
            raise ValueError(f"form must be 32 or 256, not {form}")
        channels, dropouts = _FORMS[form]
        n = [round(one * width) for one in channels]
        self.multiple = 2 ** len(dropouts)
        self.stem = nn.Sequential(nn.Conv2d(1, n[0], 4), nn.BatchNorm2d(n[0]), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n[level], n[level + 1], 4, 2, 1), nn.BatchNorm2d(n[level + 1]), nn.LeakyReLU(0.2))
            for level in range(len(dropouts))
        )
        up: list[nn.Module] = []
        before = n[-1]
        for after, dropout in zip(reversed(n[:-1]), dropouts, strict=True):
            up.append(
                nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1), nn.BatchNorm2d(after), nn.ReLU(), nn.Dropout(dropout))
            )
            before = 2 * after
        self.up = nn.ModuleList(up)
        self.out = nn.Conv2d(before, 3, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)

    def forward(self, lightness: Tensor) -> Tensor:
        """(B,1,H,W) in [-1, 1] to (B,3,H,W) in (-1, 1)."""
        # An even kernel at stride one: TensorFlow pads the larger half at the bottom and right.
        skips = [self.stem(functional.pad(lightness, (1, 2, 1, 2)))]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for block in self.up:
            x = torch.cat((skips.pop(), block(x)), dim=1)
        return torch.tanh(self.out(x))


def _encode_input(view: View) -> Tensor:
    return view.lightness / 50 - 1


def _encode_target(lab: Tensor) -> Tensor:
    return torch.cat((lab[:, :1] / 50 - 1, lab[:, 1:] / 110), dim=1)


def _decode(lightness: Tensor, output: Tensor) -> Tensor:
    output = output.float()
    return torch.cat(((output[:, :1] + 1) * 50, output[:, 1:] * 110), dim=1)


LAB_PM1 = Coding(
    name="L/50-1 -> L/50-1, ab/110",
    channels=(1, 3),
    keeps_luminance=False,
    encode_input=_encode_input,
    encode_target=_encode_target,
    decode=_decode,
)
"""Lab whole, in about [-1, 1]; the L that comes back is the network's."""

FAMILIES = {
    "nazeri_gan": Family(
        Nazeri, LAB_PM1, multiple=16, source="project Film's reference; Nazeri et al. 2018; ImagingLab/Colorizing-with-GANs"
    )
}
