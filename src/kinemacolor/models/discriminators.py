"""Discriminators: what tells true colours from painted ones while a GAN trains. They colour nothing and are no families.

A discriminator sees cat(condition, values): the grey picture and the values of the network's coding (L/50-1 and ab/110, say);
an unconditional one sees the values alone. All give logits, without a sigmoid: binary cross-entropy is steadier so.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from kinemacolor.errors import UserError


class PatchGAN(nn.Module):
    """pix2pix's: one logit for every patch of the picture, (B,channels,H,W) to (B,1,h,w).

    Convolutions 4x4: 64 channels doubling up to 512, each but the last halving; then one to a single channel. Parameters for 3
    channels: 663,361 with 2 halvings (4 convolutions in all, project Recurrent), 2,765,633 with 3 (pix2pix). It sees patches
    of 34, 70, 142 pixels for 2, 3, 4 halvings.

    Args:
        channels: of what it sees.
        layers: halvings; a hidden convolution that does not halve follows.
        width: channels after the first.
        first_norm: BatchNorm on the first convolution too, as project Recurrent's text has it; pix2pix has none there.
        halve_last: the last hidden convolution halves as well: the project's three halving ones, 46 pixels for 2 `layers`.
    """

    def __init__(
        self, channels: int, *, layers: int = 3, width: int = 64, first_norm: bool = False, halve_last: bool = False
    ) -> None:
        super().__init__()
        n = [channels, *(min(2**layer, 8) * width for layer in range(layers + 1))]
        blocks: list[nn.Module] = []
        self.strides: list[int] = [2] * layers + [2 if halve_last else 1, 1]
        for layer, (before, after) in enumerate(itertools.pairwise(n)):
            normed = layer > 0 or first_norm
            blocks.append(nn.Conv2d(before, after, 4, self.strides[layer], 1, bias=not normed))
            blocks += [nn.BatchNorm2d(after), nn.LeakyReLU(0.2)] if normed else [nn.LeakyReLU(0.2)]
        self.blocks = nn.Sequential(*blocks, nn.Conv2d(n[-1], 1, 4, 1, 1))
        for module in self.blocks:
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, seen: Tensor) -> Tensor:
        """(B,channels,H,W) to logits (B,1,h,w)."""
        return self.blocks(seen)

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the patch that one logit judges."""
        field = 1
        for stride in reversed(self.strides):
            field = (field - 1) * stride + 4
        return field

    def patches(self, side: int) -> int:
        """Logits along a side of so many pixels."""
        for stride in self.strides:
            side = max((side + 2 - 4) // stride + 1, 0)
        return side


class Film(nn.Module):
    """Project Film's: one logit a picture, (B,channels,H,W) to (B,1); 17,144,401 parameters for 3 channels of 64x64.

    Nearly all of them are in the first dense layer, which grows with the picture: 66 million at 128x128. The project let it see
    the values alone, unconditionally, with no other loss, and it won.

    Args:
        channels: of what it sees.
        size: height and width in pixels, at least 8.
    """

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        convolutions: list[nn.Module] = []
        for before, after, dropout in ((channels, 64, 0.2), (64, 128, 0.2), (128, 256, 0.3)):
            norm = [nn.BatchNorm2d(after)] if before != channels else []
            convolutions += [nn.Conv2d(before, after, 4, 2, 1, bias=False), *norm, nn.LeakyReLU(0.1), nn.Dropout(dropout)]
        self.convolutions = nn.Sequential(*convolutions)
        dense = ((size[0] // 8) * (size[1] // 8) * 256, 1000, 100)
        self.verdict = nn.Sequential(
            nn.Flatten(),
            nn.Linear(dense[0], dense[1]),
            nn.ReLU(),
            nn.Linear(dense[1], dense[2]),
            nn.ReLU(),
            nn.Linear(dense[2], 1),
        )

    def forward(self, seen: Tensor) -> Tensor:
        """(B,channels,H,W) to logits (B,1)."""
        return self.verdict(self.convolutions(seen))


def seen(condition: Tensor, values: Tensor, *, conditional: bool) -> Tensor:
    """What a discriminator is shown.

    Args:
        condition: the grey picture (N,C,H,W), about -1..1.
        values: values of the coding (N,C',H,W), true or painted.
        conditional: whether it sees the condition.

    Returns:
        (N,C+C',H,W), or `values`.
    """
    return torch.cat((condition.to(values.dtype), values), dim=1) if conditional else values


def build_discriminator(
    kind: str,
    *,
    channels: int,
    size: tuple[int, int],
    layers: int = 3,
    first_norm: bool = False,
    halve_last: bool = False,
    width: int = 64,
) -> nn.Module:
    """A discriminator with fresh weights.

    Args:
        kind: patch or film.
        channels: of what it sees: those of the values, and of the condition if it is conditional.
        size: height and width of the pictures it will see, in pixels.
        layers, first_norm, halve_last, width: of PatchGAN.

    Raises:
        UserError: the pictures are too small for it.
        ValueError: unknown kind.
    """
    side = min(size)
    shown = f"{size[0]}x{size[1]}"
    if kind == "film":
        if side < 8:
            raise UserError(
                f"loss.gan.discriminator film needs pictures of 8x8 pixels or more, not {shown}: choose larger frames."
            )
        return Film(channels, size)
    if kind != "patch":
        raise ValueError(f"unknown discriminator {kind!r}: patch or film")
    network = PatchGAN(channels, layers=layers, width=width, first_norm=first_norm, halve_last=halve_last)
    if network.patches(side) < 1:
        raise UserError(f"loss.gan.layers {layers} leaves nothing of pictures of {shown}: lower it, or choose larger frames.")
    return network
