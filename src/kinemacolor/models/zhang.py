"""eccv16 and siggraph17 of Zhang et al.: a network that votes for colour classes, and one that takes colour hints.

Modules carry the names and places of the published files of richzhang/colorization, so that those weights fit as they
are. Sources: arXiv 1603.08511 and 1705.02999, the released code; models.md, section 6.

Two things are ours. `width` narrows every hidden layer, for small machines. And the weights begin as He et al. 2015 say,
because the k-means initialisation of the paper is not published for torch and torch's own stalls (the cross-entropy stays
near 3.1, the pictures yellow).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor.errors import UserError
from kinemacolor.models import Family
from kinemacolor.models.bins import CENTRES, SQUARE_CENTRES, TEMPERATURE, annealed_mean, soft_encode, square_encode
from kinemacolor.models.coding import Classes, Output, View, ab_coding


def _block(*channels: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """3x3 convolutions, each with ReLU, the last one strided."""
    layers: list[nn.Module] = []
    for number, (channels_in, channels_out) in enumerate(itertools.pairwise(channels)):
        step = stride if number == len(channels) - 2 else 1
        layers.append(nn.Conv2d(channels_in, channels_out, 3, stride=step, padding=dilation, dilation=dilation))
        layers.append(nn.ReLU(inplace=True))
    return layers


def _normed(*channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """As `_block`, with one batch norm at the end."""
    return nn.Sequential(*_block(*channels, stride=stride, dilation=dilation), nn.BatchNorm2d(channels[-1]))


def _doubled(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)


def _channels(width: float) -> list[int]:
    if not width > 0:
        raise ValueError(f"width must be above 0, not {width}")
    return [max(1, round(channels * width)) for channels in (64, 128, 256, 512)]


def _begin(network: nn.Module, *heads: nn.Conv2d) -> None:
    """He et al.'s weights; small ones for the heads, so that ab begins at grey and votes begin about equal; zero biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.ConvTranspose2d):
            # Of its 4x4 places only 2x2 meet any one pixel of the output.
            nn.init.normal_(layer.weight, std=(2 / (layer.in_channels * 4)) ** 0.5)
        else:
            continue
        nn.init.zeros_(layer.bias)
    for head in heads:
        nn.init.normal_(head.weight, std=0.01)


def _load(network: nn.Module, tensors: Mapping[str, Tensor], architecture: str, *, unused: tuple[str, ...] = ()) -> None:
    """Copy published tensors into a network of the same names and shapes.

    Args:
        unused: beginnings of names that the published file has and this network does without.
    """
    own = network.state_dict()
    given = {name: tensor for name, tensor in tensors.items() if not name.startswith(unused)} if unused else dict(tensors)
    # Files of old torch versions do not count batches; the count is used nowhere.
    wrong = [f"{name} is missing" for name in own if name not in given and not name.endswith("num_batches_tracked")]
    wrong += [f"{name} is unknown" for name in given if name not in own]
    wrong += [
        f"{name} is {_shape(tensor)}, not {_shape(own[name])}"
        for name, tensor in given.items()
        if name in own and tensor.shape != own[name].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"The weights do not fit {architecture} ({'; '.join(wrong[:3])}{more}): "
            "point `pretrained` at weights of this architecture, and leave options.width at 1."
        )
    network.load_state_dict(given, strict=False)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


class Eccv16(nn.Module):
    """(L-50)/100 (N,1,H,W) to votes for 313 colours (N,313,H/4,W/4); 32,235,385 parameters; H and W multiples of 8.

    What the published network ends with, a 1x1 convolution of 626 fixed weights that are the classes' own colours, is
    the annealed mean in this family's coding.

    Args:
        width: factor on the channels of every hidden layer.
    """

    architecture = "eccv16"

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        n = _channels(width)
        self.model1 = _normed(1, n[0], n[0], stride=2)
        self.model2 = _normed(n[0], n[1], n[1], stride=2)
        self.model3 = _normed(n[1], n[2], n[2], n[2], stride=2)
        self.model4 = _normed(n[2], n[3], n[3], n[3])
        self.model5 = _normed(n[3], n[3], n[3], n[3], dilation=2)
        self.model6 = _normed(n[3], n[3], n[3], n[3], dilation=2)
        self.model7 = _normed(n[3], n[3], n[3], n[3])
        self.model8 = nn.Sequential(
            _doubled(n[3], n[2]), nn.ReLU(inplace=True), *_block(n[2], n[2], n[2]), nn.Conv2d(n[2], len(CENTRES), 1)
        )
        _begin(self, self.model8[-1])

    def forward(self, lightness: Tensor) -> Tensor:
        """(N,1,H,W) to logits (N,313,H/4,W/4)."""
        x = lightness
        for block in (self.model1, self.model2, self.model3, self.model4, self.model5, self.model6, self.model7, self.model8):
            x = block(x)
        return x

    def load_encoder(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with the published weights, all of them, so that pictures are those of the published network.

        That network shows the plain mean of its votes, this family the annealed one (whether the paper's temperature is
        already in the weights is not documented). The last layer is scaled so that both are the same colours.

        Raises:
            UserError: names or shapes differ, or the classes are others or in another order.
        """
        published = dict(tensors)
        centres = published.pop("model_out.weight", None)
        if centres is not None and (
            centres.shape != (2, len(CENTRES), 1, 1)
            or not torch.allclose(centres[:, :, 0, 0].T.float().cpu() * 110, CENTRES, atol=1.0)
        ):
            raise UserError(
                "The weights do not fit eccv16 (model_out.weight does not hold the 313 colours in their order, divided by 110): "
                "point `pretrained` at the published eccv16 weights."
            )
        _load(self, published, self.architecture)
        with torch.no_grad():
            for tensor in (self.model8[-1].weight, self.model8[-1].bias):
                tensor.mul_(TEMPERATURE)


class Coloured(NamedTuple):
    """What siggraph17 gives.

    Attributes:
        ab: ab/110 (N,2,H,W), in (-1, 1).
        logits: votes for 529 colours (N,529,H/4,W/4); None without the class head.
    """

    ab: Tensor
    logits: Tensor | None


class Siggraph17(nn.Module):
    """[(L-50)/100, hint ab/110, mask] (N,4,H,W) to `Coloured`; 34,187,027 parameters; H and W multiples of 8.

    Args:
        width: factor on the channels of every hidden layer.
        classes: whether it votes for 529 colours, too; 34,051,074 parameters if not.
        mask_centre: taken from the mask: 0 as in the released weights, or .5 as in the authors' training code.
        detach: colours are painted from the trunk without training it, which the classes then do alone (authors'
            training code); needs a loss over classes.
    """

    architecture = "siggraph17"

    def __init__(self, *, width: float = 1.0, classes: bool = True, mask_centre: float = 0.0, detach: bool = False) -> None:
        super().__init__()
        if not 0 <= mask_centre <= 1:
            raise ValueError(f"mask_centre must be from 0 to 1, not {mask_centre}")
        if detach and not classes:
            raise ValueError("detach without classes leaves nothing that trains the trunk")
        n = _channels(width)
        self.mask_centre, self.detach = mask_centre, detach
        self.model1 = _normed(4, n[0], n[0])
        self.model2 = _normed(n[0], n[1], n[1])
        self.model3 = _normed(n[1], n[2], n[2], n[2])
        self.model4 = _normed(n[2], n[3], n[3], n[3])
        self.model5 = _normed(n[3], n[3], n[3], n[3], dilation=2)
        self.model6 = _normed(n[3], n[3], n[3], n[3], dilation=2)
        self.model7 = _normed(n[3], n[3], n[3], n[3])
        self.model8up = nn.Sequential(_doubled(n[3], n[2]))
        self.model3short8 = nn.Sequential(nn.Conv2d(n[2], n[2], 3, padding=1))
        self.model8 = nn.Sequential(nn.ReLU(inplace=True), *_normed(n[2], n[2], n[2]))
        self.model9up = nn.Sequential(_doubled(n[2], n[1]))
        self.model2short9 = nn.Sequential(nn.Conv2d(n[1], n[1], 3, padding=1))
        self.model9 = nn.Sequential(nn.ReLU(inplace=True), *_normed(n[1], n[1]))
        self.model10up = nn.Sequential(_doubled(n[1], n[1]))
        self.model1short10 = nn.Sequential(nn.Conv2d(n[0], n[1], 3, padding=1))
        self.model10 = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(n[1], n[1], 3, padding=1), nn.LeakyReLU(0.2))
        self.model_class = nn.Sequential(nn.Conv2d(n[2], len(SQUARE_CENTRES), 1)) if classes else None
        self.model_out = nn.Sequential(nn.Conv2d(n[1], 2, 1), nn.Tanh())
        _begin(self, self.model_out[0], *(self.model_class or ()))

    def forward(self, x: Tensor) -> Coloured:
        """(N,4,H,W), the mask being 0 or 1, to ab/110 (N,2,H,W) and logits (N,529,H/4,W/4)."""
        if self.mask_centre:
            x = torch.cat((x[:, :3], x[:, 3:] - self.mask_centre), dim=1)
        full = self.model1(x)
        half = self.model2(full[:, :, ::2, ::2])
        quarter = self.model3(half[:, :, ::2, ::2])
        eighth = self.model7(self.model6(self.model5(self.model4(quarter[:, :, ::2, ::2]))))
        trunk = self.model8(self.model8up(eighth) + self.model3short8(quarter))
        logits = None if self.model_class is None else self.model_class(trunk)
        if self.detach:
            trunk, half, full = trunk.detach(), half.detach(), full.detach()
        painted = self.model9(self.model9up(trunk) + self.model2short9(half))
        painted = self.model10(self.model10up(painted) + self.model1short10(full))
        return Coloured(self.model_out(painted), logits)

    def load_encoder(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with the published weights, all of them; they expect `mask_centre` 0.

        Raises:
            UserError: names or shapes differ.
        """
        _load(self, tensors, self.architecture, unused=() if self.model_class else ("model_class.",))


def _annealed(logits: Tensor) -> Tensor:
    """ab/110 at the picture's size: enlarged bilinearly by 4, as released, each vote in the middle of its 4x4 pixels."""
    ab = annealed_mean(logits, temperature=TEMPERATURE) / 110
    return functional.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)


def _with_hints(view: View) -> Tensor:
    """[(L-50)/100, a/110, b/110, mask]; without hints the last three are 0."""
    lightness = (view.lightness - 50) / 100
    if view.hints is None:
        return functional.pad(lightness, (0, 0, 0, 0, 0, 3))
    return torch.cat((lightness, view.hints[:, :2] / 110, view.hints[:, 2:]), dim=1)


def _votes(output: Output) -> Tensor:
    if output.logits is None:
        raise UserError("This siggraph17 votes for no classes: set options.classes to true, or use a loss without classes.")
    return output.logits


FAMILIES = {
    "eccv16": Family(
        Eccv16,
        ab_coding(
            "(L-50)/100 -> 313 classes of ab, annealed mean at T=.38",
            scale=110.0,
            encode_input=lambda view: (view.lightness - 50) / 100,
            values=_annealed,
            classes=Classes(CENTRES, stride=4, logits=lambda output: output, encode=soft_encode),
        ),
        multiple=8,
        source="project Photos; Zhang, Isola, Efros 2016, Colorful Image Colorization",
    ),
    "siggraph17": Family(
        Siggraph17,
        ab_coding(
            "[(L-50)/100, hint ab/110, mask] -> ab/110 and 529 classes of ab",
            scale=110.0,
            channels=4,
            encode_input=_with_hints,
            values=lambda output: output.ab,
            classes=Classes(SQUARE_CENTRES, stride=4, logits=_votes, encode=square_encode),
        ),
        multiple=8,
        source="project Photos; Zhang, Zhu et al. 2017, Real-Time User-Guided Image Colorization",
        hints=True,
    ),
}
