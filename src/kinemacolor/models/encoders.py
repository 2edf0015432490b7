"""Bare image encoders that published ImageNet weights fit: VGG-16, AlexNet, ResNet-18, MobileNetV2, EfficientNet-lite.

Written by ourselves from the published layer tables, since torchvision and its like cannot stand beside a CPU build of torch.
Parameters are named as in the published files (torchvision's names; for EfficientNet-lite those of the files converted
from TensorFlow), so a file fits without renaming. Every encoder knows how a picture must be normalised for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from kinemacolor.models.encoder_base import (
    GREY_MEAN,
    GREY_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Encoder,
    frozen,
    grey_input,
    he_fan_out,
    load_tensors,
    normalised,
    refuse_differences,
)
from kinemacolor.models.mobile_encoders import EfficientNetLite, MobileNetV2, SameConv

__all__ = [
    "ARCHITECTURES",
    "GREY_MEAN",
    "GREY_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "BasicBlock",
    "EfficientNetLite",
    "Encoder",
    "Features",
    "MobileNetV2",
    "ResNet18",
    "SameConv",
    "alexnet",
    "alexnet_features",
    "build",
    "frozen",
    "grey_input",
    "he_fan_out",
    "load_tensors",
    "normalised",
    "refuse_differences",
    "resnet18_stages",
    "vgg16",
    "vgg16_bn",
    "vgg16_features",
]

# --------------------------------------------------------------------------------- VGG-16 and AlexNet, features only

_VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")


class Features(Encoder):
    """A plain stack `features`, without the classifier; `forward` gives the feature maps.

    Args:
        features: the stack; its modules are numbered as in the published files.
        channels: of the last feature map.
    """

    classes = None

    def __init__(self, features: nn.Sequential, channels: int) -> None:
        super().__init__()
        self.features = features
        self.dimension = channels
        he_fan_out(self)

    def maps(self, x: Tensor) -> Tensor:
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB (N,3,H,W) to feature maps (N,C,h,w)."""
        return self.features(x)


def vgg16_features(*, batch_norm: bool = False, channels_in: int = 3) -> nn.Sequential:
    """The convolutional part of VGG-16, configuration D (Simonyan and Zisserman 2014), numbered as torchvision's.

    Its first 10, 16, 17, 23, 24 and 30 modules end at pool2, relu3_3, pool3, relu4_3, pool4 and relu5_3; with batch
    normalisation 24, 33, 34 and 43 end at pool3, relu4_3, pool4 and relu5_3.
    """
    layers: list[nn.Module] = []
    for step in _VGG16:
        if step == "pool":
            layers.append(nn.MaxPool2d(2))
            continue
        layers.append(nn.Conv2d(channels_in, step, 3, padding=1))
        layers += [nn.BatchNorm2d(step)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        channels_in = step
    return nn.Sequential(*layers)


def alexnet_features() -> nn.Sequential:
    """The convolutional part of AlexNet in its one-column form (Krizhevsky 2014), numbered as torchvision's."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
    )


def vgg16() -> Features:
    """VGG-16's features, 14,714,688 parameters; forward to (N,512,H/32,W/32)."""
    return Features(vgg16_features(), 512)


def vgg16_bn() -> Features:
    """VGG-16's features with batch normalisation, 14,723,136 parameters."""
    return Features(vgg16_features(batch_norm=True), 512)


def alexnet() -> Features:
    """AlexNet's features, 2,469,696 parameters; forward to (N,256,6,6) for 224 pixels."""
    return Features(alexnet_features(), 256)


# ------------------------------------------------------------------------------------------------------ ResNet-18


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes (He et al. 2015)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        past = x if self.downsample is None else self.downsample(x)
        return self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))) + past)


def resnet18_stages(channels_in: int = 3, *, stages: int = 4) -> OrderedDict[str, nn.Module]:
    """ResNet-18's modules by torchvision's names, from the stem to the last wanted of its four stages."""
    modules: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels_in, 64, 7, stride=2, padding=3, bias=False),
        bn1=nn.BatchNorm2d(64),
        relu=nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d(3, 2, padding=1),
    )
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512)[:stages], start=1):
        modules[f"layer{stage}"] = nn.Sequential(
            BasicBlock(before, channels, 1 if stage == 1 else 2), BasicBlock(channels, channels)
        )
        before = channels
    return modules


class ResNet18(Encoder):
    """ResNet-18, 11,689,512 parameters; forward to 1000 logits."""

    def __init__(self) -> None:
        super().__init__()
        for name, module in resnet18_stages().items():
            self.add_module(name, module)
        self.fc = nn.Linear(512, 1000)
        he_fan_out(self)

    def maps(self, x: Tensor) -> Tensor:
        for name, module in self.named_children():
            if name != "fc":
                x = module(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Normalised RGB (N,3,H,W) to logits (N,1000)."""
        return self.fc(self.maps(x).mean(dim=(2, 3)))


# ------------------------------------------------------------------------------------------------------- by name

ARCHITECTURES: Mapping[str, Callable[[], Encoder]] = {
    "vgg16": vgg16,
    "vgg16_bn": vgg16_bn,
    "alexnet": alexnet,
    "resnet18": ResNet18,
    "mobilenet_v2": MobileNetV2,
    "efficientnet_lite0": EfficientNetLite,
    "efficientnet_lite1": lambda: EfficientNetLite(depth=1.1, side=240),
    "efficientnet_lite2": lambda: EfficientNetLite(width=1.1, depth=1.2, side=260),
}
"""Architecture, as params.Weights names it -> the encoder with random weights."""


def build(architecture: str) -> Encoder:
    """An encoder with random weights.

    Raises:
        ValueError: unknown architecture; names those there are.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"no encoder is called {architecture!r}: choose one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[architecture]()
