"""unet_gan and unet_lstm_gan: the U-Net of pix2pix as project Recurrent used it, without and with a memory.

The question of that project is whether the memory helps, so both are one graph: the cell's output is added to the
bottleneck, and with nothing added the second network is the first. The project does not say where its LSTM stood nor
of what kind; placement and cells are ours (models.md, section 5). Convolutions run over all B x T frames at once, and
only the cell goes frame by frame. In training BatchNorm therefore sees B x T frames of which each T resemble one another:
take clips of at least four scenes into a batch, or `norm: instance`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor.errors import UserError
from kinemacolor.models import Family
from kinemacolor.models.coding import AB110

State = tuple[Tensor, Tensor]
"""h and c of a cell, batch first, float32."""


def _norm(channels: int, kind: str) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "instance":
        # With weights of its own, unlike in pix2pix, so that `norm` alters no parameter count.
        return nn.InstanceNorm2d(channels, affine=True)
    raise ValueError(f"norm must be batch or instance, not {kind!r}")


def initialise(network: nn.Module) -> None:
    """Set the weights as pix2pix does: convolutions N(0, .02), norms N(1, .02), biases nought."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class UNet(nn.Module):
    """L/50-1 (B,1,H,W) to ab/110 (B,2,H,W) through tanh; 41,824,898 parameters at 7 levels.

    H and W must be multiples of 2 ** levels, which is the attribute `multiple`. Source: pix2pix, `unet_128`.

    Args:
        levels: halvings, and doublings; 7 leave one pixel of a 128x128 picture.
        width: channels after the first halving; they double up to eight times that.
        dropout: share dropped on the way up, next to the innermost level, at the levels of eightfold width from the fifth on.
        norm: batch or instance. The first, the innermost and the last convolution have none: the innermost may be
            one pixel, of which there is no variance.
    """

    def __init__(self, *, levels: int = 7, width: int = 64, dropout: float = 0.5, norm: Literal["batch", "instance"] = "batch"):
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels must be 2 or more, not {levels}")
        n = [min(2**level, 8) * width for level in range(levels)]
        self.multiple = 2**levels
        self.channels = n[-1]
        down: list[nn.Module] = [nn.Conv2d(1, n[0], 4, 2, 1, bias=False)]
        for level in range(1, levels):
            block = [nn.LeakyReLU(0.2), nn.Conv2d(n[level - 1], n[level], 4, 2, 1, bias=False)]
            down.append(nn.Sequential(*block, *([_norm(n[level], norm)] if level < levels - 1 else [])))
        up: list[nn.Module] = []
        for level in range(levels - 1, 0, -1):
            inner = level == levels - 1
            block = [
                nn.ConvTranspose2d(n[level] * (1 if inner else 2), n[level - 1], 4, 2, 1, bias=False),
                _norm(n[level - 1], norm),
            ]
            up.append(nn.Sequential(*block, *([nn.Dropout(dropout)] if level >= 4 and not inner else [])))
        up.append(nn.ConvTranspose2d(2 * n[0], 2, 4, 2, 1))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        initialise(self)

    def encode(self, lightness: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B,1,H,W) to the bottleneck (B,8 width,H/multiple,W/multiple), not negative, and what the skips carry."""
        skips = []
        x = lightness
        for block in self.down:
            x = block(x)
            skips.append(x)
        return functional.relu(skips.pop()), skips

    def decode(self, bottleneck: Tensor, skips: list[Tensor]) -> Tensor:
        """The bottleneck and the skips to ab/110 (B,2,H,W)."""
        x = self.up[0](bottleneck)
        for block, skip in zip(self.up[1:], reversed(skips), strict=True):
            x = block(functional.relu(torch.cat((skip, x), dim=1)))
        return torch.tanh(x)

    def forward(self, lightness: Tensor) -> Tensor:
        """(B,1,H,W) in [-1, 1] to (B,2,H,W) in (-1, 1)."""
        return self.decode(*self.encode(lightness))


class Cell(nn.Module):
    """An LSTM whose two weightings are given, so that one loop serves pictures and vectors.

    The input's part of the gates is computed for all frames at once. Gates and state are float32 under autocast:
    a memory that forgets a thousandth a frame cannot be kept in 8 bits of precision.

    Args:
        of_input, of_state: n -> 4 n channels on dimension 1, in the order in, forget, new, out.
    """

    def __init__(self, of_input: nn.Module, of_state: nn.Module) -> None:
        super().__init__()
        self.of_input, self.of_state = of_input, of_state
        initialise(self)
        # Begin by remembering: with a gate half shut a frame eight back counts for 1/256.
        forget = of_input.bias.shape[0] // 4
        nn.init.ones_(of_input.bias[forget : 2 * forget])

    def forward(self, z: Tensor, starts: Tensor, state: State | None) -> tuple[Tensor, State]:
        """What is remembered at every frame.

        Args:
            z: (B,T,n,...).
            starts: (B,T) bool: the state is zeroed before that frame.
            state: of the call before; None begins at nought.

        Returns:
            h (B,T,n,...), float32, and the state after the last frame.
        """
        fresh = torch.zeros(z[:, 0].shape, device=z.device)
        h, c = (fresh, fresh) if state is None else state
        if h.shape != fresh.shape:
            raise ValueError(
                f"the state is of another batch or size {tuple(h.shape)} than the frames {tuple(fresh.shape)}: begin anew"
            )
        of_input = self.of_input(z.flatten(0, 1)).float().unflatten(0, z.shape[:2])
        begins = starts.reshape(*starts.shape, *[1] * (z.ndim - 2))
        remembered = []
        for step in range(z.shape[1]):
            h, c = (torch.where(begins[:, step], fresh, value) for value in (h, c))
            gate_in, gate_forget, new, gate_out = (of_input[:, step] + self.of_state(h).float()).chunk(4, dim=1)
            c = torch.sigmoid(gate_forget) * c + torch.sigmoid(gate_in) * torch.tanh(new)
            h = torch.sigmoid(gate_out) * torch.tanh(c)
            remembered.append(h)
        return torch.stack(remembered, dim=1), (h, c)


class UNetLSTM(UNet):
    """The U-Net with a recurrent cell at its bottleneck: z' = z + h_t.

    Parameters beyond the U-Net's, at width 64: convlstm3 18,876,416; convlstm1 2,099,200; lstm_vec 2,101,248;
    lstm_flat 33,570,816 (for a bottleneck of 2x2).

    Args:
        cell: convlstm3 or convlstm1: a convolutional LSTM of that kernel, any size of picture. Where the bottleneck is one
            pixel (128x128 at 7 levels) the two compute the same, since eight ninths of the kernel meet only padding:
            take fewer levels there. lstm_vec: a plain LSTM of the bottleneck's mean, added everywhere. lstm_flat: a plain LSTM
            of the whole bottleneck, which ties the network to one size of picture, its attribute `side`.
        bottleneck: side of the bottleneck in its own pixels, for lstm_flat.
        levels, width, dropout, norm: of the U-Net.
    """

    def __init__(
        self,
        *,
        cell: Literal["convlstm3", "convlstm1", "lstm_vec", "lstm_flat"] = "convlstm3",
        bottleneck: int = 2,
        levels: int = 7,
        width: int = 64,
        dropout: float = 0.5,
        norm: Literal["batch", "instance"] = "batch",
    ) -> None:
        super().__init__(levels=levels, width=width, dropout=dropout, norm=norm)
        self.kind, n = cell, self.channels
        if cell in ("convlstm3", "convlstm1"):
            kernel = int(cell[-1])
            self.cell = Cell(
                nn.Conv2d(n, 4 * n, kernel, padding=kernel // 2), nn.Conv2d(n, 4 * n, kernel, padding=kernel // 2, bias=False)
            )
        elif cell == "lstm_vec":
            self.cell = Cell(nn.Linear(n, 4 * n), nn.Linear(n, 4 * n))
        elif cell == "lstm_flat":
            self.side = bottleneck * self.multiple
            n *= bottleneck**2
            self.cell = Cell(nn.Linear(n, 4 * n), nn.Linear(n, 4 * n))
        else:
            raise ValueError(f"cell must be convlstm3, convlstm1, lstm_vec or lstm_flat, not {cell!r}")

    def forward(self, lightness: Tensor, starts: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Colour B runs of T consecutive frames.

        Args:
            lightness: (B,T,1,H,W) in [-1, 1].
            starts: (B,T) bool: the frame begins a clip or shot, and nothing is remembered.
            state: what the call for the T frames before gave.

        Returns:
            ab/110 (B,T,2,H,W) in (-1, 1), and the state, two tensors (B,8 width,h,w) or, for plain LSTMs, (B,n).

        Raises:
            UserError: pictures of another size than lstm_flat was built for.
        """
        z, skips = self.encode(lightness.flatten(0, 1))
        frames = z.unflatten(0, lightness.shape[:2])
        match self.kind:
            case "lstm_vec":
                h, state = self.cell(frames.mean(dim=(-2, -1)), starts, state)
                added = h[..., None, None]
            case "lstm_flat":
                if lightness.shape[-2:] != (self.side, self.side):
                    raise UserError(
                        f"unet_lstm_gan with the cell lstm_flat takes pictures of {self.side}x{self.side} and no other, not "
                        f"{lightness.shape[-2]}x{lightness.shape[-1]}: choose convlstm3, or set `bottleneck` for that size."
                    )
                h, state = self.cell(frames.flatten(2), starts, state)
                added = h.reshape(frames.shape)
            case _:
                added, state = self.cell(frames, starts, state)
        return self.decode(z + added.flatten(0, 1), skips).unflatten(0, lightness.shape[:2]), state


FAMILIES = {
    "unet_gan": Family(UNet, AB110, multiple=128, source="project Recurrent; Isola et al. 2017, pix2pix"),
    "unet_lstm_gan": Family(
        UNetLSTM, AB110, multiple=128, source="project Recurrent; Isola et al. 2017, pix2pix; the cell is ours", memory="state"
    ),
}
