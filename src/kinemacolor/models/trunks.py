"""Networks whose way down is the beginning of an ImageNet encoder: ResNet-18 as lukemelas had it, and VGG-16.

Project Games used the first (grey when its outputs were unbounded: bright spots, single colours) and wished for the second.
The decoder here is mended as models.md proposes: normalisation after each of its convolutions, ReLU, and tanh at the end;
`mended: false` gives the published form. The encoders see one grey channel, so the first convolution's weights for R, G and
B are summed, and grey is normalised as their grey pictures were.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from kinemacolor.colour import grey_rgb
from kinemacolor.models import Family
from kinemacolor.models.coding import View, ab_coding
from kinemacolor.models.encoders import GREY_MEAN, GREY_STD, frozen, he_fan_out, load_tensors, resnet18_stages, vgg16_features

_CUTS = {"pool3": (17, 24, 256), "relu4_3": (23, 33, 512)}
"""Where VGG-16 is cut -> modules without and with batch normalisation, and channels; both are an eighth of the size."""


def _decoder(channels: int, *, mended: bool, hidden: type[nn.Module]) -> nn.Sequential:
    """Feature maps (N,channels,H/8,W/8) to (N,2,H,W).

    Args:
        mended: normalise after every hidden convolution and end in tanh; else only after the first two, and end in nothing.
        hidden: activation after the convolution to 32 channels, unless mended, which has ReLU.
    """

    def layer(channels_in: int, channels_out: int, *, norm: bool, activation: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
        norms = [nn.BatchNorm2d(channels_out)] if norm or mended else []
        return [nn.Conv2d(channels_in, channels_out, 3, padding=1), *norms, activation()]

    return nn.Sequential(
        *layer(channels, 128, norm=True),
        nn.Upsample(scale_factor=2, mode="nearest"),
        *layer(128, 64, norm=True),
        *layer(64, 64, norm=False),
        nn.Upsample(scale_factor=2, mode="nearest"),
        *layer(64, 32, norm=False, activation=nn.ReLU if mended else hidden),
        nn.Conv2d(32, 2, 3, padding=1),
        nn.Tanh() if mended else nn.Identity(),
        nn.Upsample(scale_factor=2, mode="nearest"),
    )


class _Trunk(nn.Module):
    """An encoder's beginning and a decoder.

    Args:
        encoder: takes one channel and gives an eighth of the height and width; named as the published encoder.
        decoder: gives ab.
        stem: name of the encoder's first weight.
        architecture: of models/encoders.py, whose weights the encoder may begin with.
        freeze: the encoder is never trained and stays in evaluation mode.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, stem: str, architecture: str, freeze: bool) -> None:
        super().__init__()
        self.architecture = architecture
        self._stem, self._freeze = stem, freeze
        he_fan_out(encoder)
        self.encoder = frozen(encoder) if freeze else encoder
        self.decoder = decoder

    def forward(self, grey: Tensor) -> Tensor:
        """Normalised grey (N,1,H,W), H and W multiples of 8, to ab/128 (N,2,H,W); in (-1, 1) if mended."""
        return self.decoder(self.encoder(grey))

    def train(self, mode: bool = True) -> nn.Module:
        """As for any module, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self._freeze:
            self.encoder.eval()
        return self

    def load_encoder(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with published weights of `architecture`; what lies behind the cut is left out.

        Args:
            tensors: by the names of the encoder of that architecture, for RGB input.

        Raises:
            UserError: names or shapes differ.
        """
        load_tensors(self.encoder, tensors, grey_stem=self._stem, what=f"The weights for {self.architecture}")


class ResNet18Lab(_Trunk):
    """ResNet-18 to its second stage, and a decoder: 954,722 parameters; as published 954,530 in use.

    Args:
        freeze: train the decoder only.
        mended: see the module; False is lukemelas's form, sigmoid and all. (It declares one more normalisation that it
            does not use, which is left out here.)
    """

    def __init__(self, *, freeze: bool = False, mended: bool = True) -> None:
        super().__init__(
            nn.Sequential(resnet18_stages(1, stages=2)),
            _decoder(128, mended=mended, hidden=nn.Sigmoid),
            stem="conv1.weight",
            architecture="resnet18",
            freeze=freeze,
        )


class VGG16Lab(_Trunk):
    """VGG-16 to its third pooling or to relu4_3, both an eighth of the size, and a decoder.

    2,159,714 parameters at pool3 (2,162,018 with batch normalisation); not mended, 2,159,522 as models.md has it.

    Args:
        cut: pool3 (like for like with ResNet-18) or relu4_3 (8,354,402 parameters).
        batch_norm: VGG-16 with batch normalisation. Without it, VGG-16 seldom learns from random weights.
        freeze: train the decoder only.
        mended: see the module.
    """

    def __init__(self, *, cut: str = "pool3", batch_norm: bool = False, freeze: bool = False, mended: bool = True) -> None:
        if cut not in _CUTS:
            raise ValueError(f"cut is {cut!r}, but must be one of {', '.join(_CUTS)}")
        *ends, channels = _CUTS[cut]
        features = vgg16_features(batch_norm=batch_norm, channels_in=1)[: ends[batch_norm]]
        super().__init__(
            nn.Sequential(OrderedDict(features=features)),
            _decoder(channels, mended=mended, hidden=nn.ReLU),
            stem="features.0.weight",
            architecture="vgg16_bn" if batch_norm else "vgg16",
            freeze=freeze,
        )


def _normalised_grey(view: View) -> Tensor:
    return (grey_rgb(view.lightness)[:, :1] - GREY_MEAN) / GREY_STD


GREY_AB128 = ab_coding("(grey-.449)/.226 -> ab/128", scale=128.0, encode_input=_normalised_grey)
"""Grey as the encoders' pictures were normalised, in sRGB and not in L*; ab/128."""

FAMILIES = {
    "resnet18_lab": Family(
        ResNet18Lab, GREY_AB128, multiple=8, source="project Games; lukemelas/Automatic-Image-Colorization, decoder mended"
    ),
    "vgg16_lab": Family(VGG16Lab, GREY_AB128, multiple=8, source="project Games; ResNet-18 network with a VGG-16 trunk"),
}
