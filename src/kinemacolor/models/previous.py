"""Project Previous's networks, which colour a frame knowing the one before, and the same fed with their own colours.

As the project had them (`alexnet_prev`, `vgg16_prev`) they see two frames that another network coloured one by one, and paint the
picture anew in RGB from 0 to 255. What they are shown as previous is then no output of theirs, so nothing they do can be steady
or drift; the `*_own` networks, ours, are shown their own colours of the frame before, paint ab alone and leave L as it is.
Keras's initialisation and normalisation, because the project trained there; its "deconvolution" is nearest doubling.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kinemacolor.colour import lab_to_rgb, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.models import Family
from kinemacolor.models.coding import Coding, View, ab_coding
from kinemacolor.models.encoders import frozen, load_tensors, vgg16

SIDE = 128
"""The only height and width that these networks take: unpadded convolutions fit no other."""

_QUIET = 0.002
"""Spread of the last convolution's weights where it is to begin at grey: Keras's would begin with outputs of some 1.4."""


class _Stack(nn.Sequential):
    """Layers of Keras, written one after the other.

    Args:
        channels: of the input.
        width: factor on the channels of hidden layers.
        momentum: share of a batch in BatchNorm's running statistics.
    """

    def __init__(self, channels: int, *, width: float, momentum: float) -> None:
        super().__init__()
        self.channels, self._width, self._momentum = channels, width, momentum

    def conv(self, size: int, channels: int, *, stride: int = 1, valid: bool = False, hidden: bool = True) -> _Stack:
        """A convolution; `valid` does not pad."""
        channels = max(round(channels * self._width), 1) if hidden else channels
        conv = nn.Conv2d(self.channels, channels, size, stride=stride, padding=0 if valid else size // 2)
        nn.init.xavier_uniform_(conv.weight)
        nn.init.zeros_(conv.bias)
        self.append(conv)
        self.channels = channels
        return self

    def relu(self) -> _Stack:
        self.append(nn.ReLU())
        return self

    def pool(self) -> _Stack:
        """The mean of 3x3 at every second pixel, not padded."""
        self.append(nn.AvgPool2d(3, 2))
        return self

    def double(self) -> _Stack:
        self.append(nn.Upsample(scale_factor=2, mode="nearest"))
        return self

    def norm(self) -> _Stack:
        self.append(nn.BatchNorm2d(self.channels, eps=1e-3, momentum=self._momentum))
        return self


def _alexnet_down(stack: _Stack) -> _Stack:
    """128x128 to 6x6."""
    stack.conv(9, 96, stride=2, valid=True).relu().pool().norm()
    stack.conv(5, 256).relu().pool().norm()
    stack.conv(3, 384).relu().norm().conv(3, 384).relu().norm()
    return stack.conv(3, 256).relu().pool().norm()


def _alexnet_up(stack: _Stack) -> _Stack:
    """6x6 to 128x128."""
    stack.conv(1, 256).relu().double().norm()
    stack.conv(3, 384, valid=True).relu().double().norm()
    stack.conv(3, 384, valid=True).relu().double().norm()
    stack.conv(5, 256, valid=True).relu().double().norm()
    return stack.conv(5, 96).relu().double().norm()


def _vgg_up(stack: _Stack) -> _Stack:
    """4x4 to 128x128."""
    stack.conv(1, 256).relu().double().norm()
    stack.conv(3, 384, valid=True).relu().double().norm()
    stack.conv(3, 384, valid=True).relu().double().norm()
    stack.conv(5, 256, valid=True).relu().double().norm()
    stack.conv(5, 256).relu().double().norm()
    return stack.conv(5, 96).relu().double().norm()


class _Network(nn.Module):
    """What the four have in common: a way down, a way up, and a last convolution, computed in float32.

    Args:
        channels: of input and output.
        width, momentum: see _Stack.
    """

    def __init__(self, channels: tuple[int, int], *, width: float, momentum: float) -> None:
        super().__init__()
        self._build(channels[0], width, momentum)
        self.out = nn.Conv2d(self.up.channels, channels[1], 5, padding=2)
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def _build(self, channels: int, width: float, momentum: float) -> None:
        self.down = _alexnet_down(_Stack(channels, width=width, momentum=momentum))
        self.up = _alexnet_up(_Stack(self.down.channels, width=width, momentum=momentum))

    def _painted(self, x: Tensor) -> Tensor:
        """Input (N,C,128,128) to the last convolution's output (N,C',128,128), float32."""
        if x.shape[-2:] != (SIDE, SIDE):
            raise UserError(
                f"The networks of project Previous take pictures of {SIDE}x{SIDE} and no other, not {x.shape[-2]}x{x.shape[-1]}: "
                f"set frames.size to {SIDE}."
            )
        x = self.up(self.down(x))
        # Values up to 255 have no fractions left in bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            return self.out(x.float())


class _VGG(_Network):
    """The same with a frozen VGG-16 as the way down.

    The layers before it end in BatchNorm, whose mean of 0 and spread of 1 is about what torchvision's ImageNet weights
    expect, so its input needs no other normalising. (Keras's weights, as the project used them, expect 0 to 255.)
    """

    architecture = "vgg16"

    def _build(self, channels: int, width: float, momentum: float) -> None:
        self.before = _Stack(channels, width=1.0, momentum=momentum).conv(1, 3).relu().norm()
        self.encoder = frozen(vgg16())
        self.up = _vgg_up(_Stack(512, width=width, momentum=momentum))

    def down(self, x: Tensor) -> Tensor:
        return self.encoder(self.before(x))

    def train(self, mode: bool = True) -> nn.Module:
        """As for any module, but the encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def load_encoder(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with published weights of `architecture`.

        Args:
            tensors: by torchvision's names, `features.N.weight`.

        Raises:
            UserError: names or shapes differ.
        """
        load_tensors(self.encoder, tensors, what="The VGG-16 weights")


# ------------------------------------------------------------------------------ as the project had them, in RGB


class _Coloured(_Network):
    """RGB 0..255 (N,6,128,128) of the previous and of this frame, coloured by another, to RGB 0..255 (N,3,128,128).

    Args:
        normalise: False is the project: raw input, and a ReLU at the end, behind which a channel that begins below nought stays black
            for long. True brings the input to -1..1 and the output from 0..1, begins it at mid-grey, and leaves the ReLU out.
        width: factor on the channels of every hidden layer but the encoder's.
        momentum: share of a batch in BatchNorm's running statistics; Keras's .99 is .01 here, and takes some 500 steps to settle.
    """

    def __init__(self, *, normalise: bool = False, width: float = 1.0, momentum: float = 0.01) -> None:
        super().__init__((6, 3), width=width, momentum=momentum)
        self.normalise = normalise
        if normalise:
            nn.init.normal_(self.out.weight, std=_QUIET)
            nn.init.constant_(self.out.bias, 0.5)

    def forward(self, frames: Tensor) -> Tensor:
        """(N,6,128,128) to (N,3,128,128), both 0..255; with `normalise` the output may leave that range."""
        if self.normalise:
            return self._painted(frames / 127.5 - 1) * 255
        return torch.relu(self._painted(frames))


class AlexNetPrev(_Coloured):
    """The AlexNet-shaped network of project Previous: 9,122,467 parameters. See _Coloured for arguments and shapes."""


class VGG16Prev(_VGG, _Coloured):
    """With a frozen VGG-16: 7,065,438 parameters to train and 14,714,688 frozen. See _Coloured for arguments and shapes."""


def _two_coloured_frames(view: View) -> Tensor:
    if view.coloured is None:
        raise UserError("This network sees frames that another model has coloured: name that model under `precoloured_by`.")
    previous = view.coloured if view.previous is None else view.previous
    return torch.cat((lab_to_rgb(previous), lab_to_rgb(view.coloured)), dim=1) * 255


RGB_255 = Coding(
    name="2 x RGB[0,255] -> RGB[0,255]",
    channels=(6, 3),
    keeps_luminance=False,
    encode_input=_two_coloured_frames,
    encode_target=lambda lab: lab_to_rgb(lab) * 255,
    decode=lambda lightness, output: rgb_to_lab((output.float() / 255).clamp(0, 1)),
    span=(0.0, 255.0),
)
"""Project Previous: the frame before and this one, coloured by another; what leaves the range is clipped."""


# ---------------------------------------------------------------------------------- fed with their own colours


class _Own(_Network):
    """L/50-1, own ab/110 of the frame before and a flag (N,4,128,128) to ab/110 (N,2,128,128) through tanh.

    Args:
        width: factor on the channels of every hidden layer but the encoder's.
        momentum: share of a batch in BatchNorm's running statistics.
    """

    def __init__(self, *, width: float = 1.0, momentum: float = 0.1) -> None:
        super().__init__((4, 2), width=width, momentum=momentum)
        nn.init.normal_(self.out.weight, std=_QUIET)

    def forward(self, frames: Tensor) -> Tensor:
        """(N,4,128,128) to (N,2,128,128) in (-1, 1)."""
        return torch.tanh(self._painted(frames))


class AlexNetPrevOwn(_Own):
    """AlexNet-shaped: 9,104,514 parameters, two channels fewer at the input and one at the output. See _Own."""


class VGG16PrevOwn(_VGG, _Own):
    """With a frozen VGG-16: 7,063,031 parameters to train and 14,714,688 frozen. See _Own."""


def _own_frame_before(view: View) -> Tensor:
    """L/50-1 of this frame; ab/110 of the frame before and a plane of ones, or nought and nought where there is none."""
    count, _, height, width = view.lightness.shape
    if view.previous is None:
        known = view.lightness.new_zeros(count, 3, height, width)
    else:
        there = view.lightness.new_ones(count) if view.starts is None else (~view.starts).to(view.lightness.dtype)
        flag = there[:, None, None, None].expand(-1, 1, height, width)
        known = torch.cat((torch.where(flag > 0, view.previous[:, 1:] / 110, 0.0), flag), dim=1)
    return torch.cat((view.lightness / 50 - 1, known), dim=1)


OWN_AB110 = ab_coding("L/50-1, previous ab/110, flag -> ab/110", scale=110.0, encode_input=_own_frame_before, channels=4)
"""Ours: the network's own colours of the frame before, and whether there was one."""


_PROJECT = "project Previous; yangfangk/cs230-video-colorization"
_OURS = "ours, from project Previous's network"

FAMILIES = {
    "alexnet_prev": Family(AlexNetPrev, RGB_255, multiple=1, source=_PROJECT, memory="coloured", side=SIDE),
    "vgg16_prev": Family(VGG16Prev, RGB_255, multiple=1, source=_PROJECT, memory="coloured", side=SIDE),
    "alexnet_prev_own": Family(AlexNetPrevOwn, OWN_AB110, multiple=1, source=_OURS, memory="own", side=SIDE),
    "vgg16_prev_own": Family(VGG16PrevOwn, OWN_AB110, multiple=1, source=_OURS, memory="own", side=SIDE),
}
