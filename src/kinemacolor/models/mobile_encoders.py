"""Small ImageNet encoders with a classifier: MobileNetV2, and EfficientNet-lite 0 to 2."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from kinemacolor.models.encoder_base import Encoder, he_fan_out

# ---------------------------------------------------------------------------------------------------- MobileNetV2

# expansion, channels, blocks, stride of the first
_MOBILENET_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _conv_bn_relu6(channels_in: int, channels_out: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, stride=stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Widen, convolve each channel by itself, narrow (Sandler et al. 2018)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_conv_bn_relu6(channels_in, wide, 1)]
        layers.append(_conv_bn_relu6(wide, wide, 3, stride, groups=wide))
        layers += [nn.Conv2d(wide, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)]
        self.conv = nn.Sequential(*layers)
        self._passes = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self._passes else self.conv(x)


class MobileNetV2(Encoder):
    """MobileNetV2, 3,504,872 parameters; forward to 1000 logits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_bn_relu6(3, 32, 3, 2)]
        before = 32
        for expansion, channels, blocks, stride in _MOBILENET_V2:
            for block in range(blocks):
                layers.append(InvertedResidual(before, channels, stride if block == 0 else 1, expansion))
                before = channels
        layers.append(_conv_bn_relu6(before, 1280, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))
        he_fan_out(self)

    def maps(self, x: Tensor) -> Tensor:
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB (N,3,H,W) to logits (N,1000)."""
        return self.classifier(self.features(x).mean(dim=(2, 3)))


# ----------------------------------------------------------------------------------------------- EfficientNet-lite

# blocks, kernel, stride of the first, expansion, channels: EfficientNet-B0 (Tan and Le 2019)
_EFFICIENTNET = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's `same`: an odd pixel goes to the bottom and the right."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, size, stride=stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        down, right = (
            max((-(-length // stride) - 1) * stride + size - length, 0)
            for length, stride, size in zip(x.shape[-2:], self.stride, self.kernel_size, strict=True)
        )
        if down or right:
            x = functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return super().forward(x)


def _tf_bn(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class MBConv(nn.Module):
    """EfficientNet's block without squeeze and excitation, with ReLU6: the lite form."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        self._expands = expansion != 1
        if self._expands:
            self._expand_conv, self._bn0 = SameConv(channels_in, wide, 1), _tf_bn(wide)
        self._depthwise_conv, self._bn1 = SameConv(wide, wide, size, stride, groups=wide), _tf_bn(wide)
        self._project_conv, self._bn2 = SameConv(wide, channels_out, 1), _tf_bn(channels_out)
        self._passes = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        past = x
        if self._expands:
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + past if self._passes else x


class EfficientNetLite(Encoder):
    """EfficientNet-lite 0, 1 or 2: 4,652,008, 5,416,680 or 6,092,072 parameters; forward to 1000 logits.

    Named as in the published PyTorch files, which were converted from TensorFlow: its padding, its normalisation of the
    input ((x * 255 - 127) / 128) and its epsilon belong to the weights.

    Args:
        width: factor on channels. Stem and head keep theirs, which is the lite form's own rule.
        depth: factor on blocks; the first and the last stage keep theirs.
        side: of the picture it was trained on.
    """

    mean = (127 / 255, 127 / 255, 127 / 255)
    std = (128 / 255, 128 / 255, 128 / 255)

    def __init__(self, *, width: float = 1.0, depth: float = 1.0, side: int = 224) -> None:
        super().__init__()
        self.side = side
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, 2), _tf_bn(32)
        blocks: list[nn.Module] = []
        before = 32
        for stage, (count, size, stride, expansion, channels) in enumerate(_EFFICIENTNET):
            channels = _eights(channels * width)
            if 0 < stage < len(_EFFICIENTNET) - 1:
                count = math.ceil(count * depth)
            for block in range(count):
                blocks.append(MBConv(before, channels, size, stride if block == 0 else 1, expansion))
                before = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv(before, 1280, 1), _tf_bn(1280)
        self._dropout = nn.Dropout(0.2 if side < 260 else 0.3)
        self._fc = nn.Linear(1280, 1000)
        he_fan_out(self)

    def maps(self, x: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB (N,3,H,W) to logits (N,1000)."""
        return self._fc(self._dropout(self.maps(x).mean(dim=(2, 3))))


def _eights(channels: float) -> int:
    """The nearest multiple of eight that is not more than a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
