"""What all ImageNet encoders have in common: how a picture must be normalised, what an embedding is, and loading weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor.colour import grey_rgb
from kinemacolor.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's RGB in [0, 1]: what torchvision's published weights were trained with."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Its standard deviation."""
GREY_MEAN, GREY_STD = 0.449, 0.226
"""The same for one grey channel: their means over R, G and B."""


def grey_input(
    lightness: Tensor, *, mean: tuple[float, float, float] = IMAGENET_MEAN, std: tuple[float, float, float] = IMAGENET_STD
) -> Tensor:
    """What an encoder is shown of a grey picture: the neutral sRGB colour of its lightness, normalised.

    Args:
        lightness: L* (N,1,H,W), 0 to 100.
        mean, std: of R, G and B in [0, 1], as the weights were trained; ImageNet's if not given.

    Returns:
        float32 (N,3,H,W).
    """
    return normalised(grey_rgb(lightness), mean=mean, std=std)


def normalised(rgb: Tensor, *, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Tensor:
    """(rgb - mean) / std for RGB (N,3,H,W) in [0, 1]."""
    return (rgb - rgb.new_tensor(mean)[:, None, None]) / rgb.new_tensor(std)[:, None, None]


class Encoder(nn.Module):
    """A network trained on ImageNet, or its convolutional part.

    Attributes:
        side: of the square picture that it was trained on, in pixels.
        mean, std: of R, G and B in [0, 1], for normalising.
        classes: number of class logits that `forward` gives; None for the networks kept without their classifier.
        dimension: size of an embedding: the logits, or else the channels of the features.
    """

    side: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    classes: int | None = 1000
    dimension: int = 1000

    def maps(self, x: Tensor) -> Tensor:
        """Normalised RGB (N,3,H,W) to feature maps (N,C,h,w)."""
        raise NotImplementedError

    @torch.no_grad()
    def embed(self, rgb: Tensor) -> Tensor:
        """A picture as one vector: class logits, or the feature maps' means where there is no classifier.

        Args:
            rgb: (N,3,H,W) in [0, 1], any size; the whole picture is brought to the square the encoder knows.

        Returns:
            float32 (N,dimension), the same under any autocast, so that what was kept equals what is computed anew.
        """
        with torch.autocast(rgb.device.type, enabled=False):
            square = rgb.float()
            if square.shape[-2:] != (self.side, self.side):
                square = functional.interpolate(square, (self.side, self.side), mode="bilinear", antialias=True)
            x = normalised(square, mean=self.mean, std=self.std)
            return self.maps(x).mean(dim=(2, 3)) if self.classes is None else self(x)

    def embed_grey(self, lightness: Tensor) -> Tensor:
        """`embed` of the grey picture with L* (N,1,H,W), 0 to 100."""
        # One channel is scaled and three are seen: the same numbers at a third of the work.
        grey = grey_rgb(lightness)[:, :1].float()
        if grey.shape[-2:] != (self.side, self.side):
            grey = functional.interpolate(grey, (self.side, self.side), mode="bilinear", antialias=True)
        return self.embed(grey.expand(-1, 3, -1, -1))


def he_fan_out(network: nn.Module) -> None:
    """Random weights as these papers begin: He's normal by fan out, normalisation at identity, dense layers N(0, .01)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            # Counted per group: else a picture fades to nothing on its way through depthwise convolutions.
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)


def frozen(encoder: nn.Module) -> nn.Module:
    """The encoder with nothing to train, in evaluation mode. Who owns it must keep it there: see `train` of its owner."""
    return encoder.eval().requires_grad_(False)


def load_tensors(
    module: nn.Module, tensors: Mapping[str, Tensor], *, grey_stem: str | None = None, what: str = "The weights"
) -> None:
    """Copy tensors of an encoder into a module that is the encoder or its beginning; what it does not have is left out.

    Args:
        module: names its tensors as the encoder does.
        tensors: by the encoder's names.
        grey_stem: name of the first convolution's weight, if `module` takes one channel: its R, G and B are summed, so
            that one grey channel gives what three equal ones gave.
        what: subject of the error sentence.

    Raises:
        UserError: a tensor is missing or has another shape; the first few are named, and nothing has been copied.
    """
    tensors = dict(tensors)
    if grey_stem is not None and grey_stem in tensors and tensors[grey_stem].ndim == 4 and tensors[grey_stem].shape[1] == 3:
        tensors[grey_stem] = tensors[grey_stem].sum(dim=1, keepdim=True)
    own = module.state_dict()
    refuse_differences({name: tuple(value.shape) for name, value in own.items()}, tensors, what=what)
    module.load_state_dict({name: tensors[name] for name in own})


def refuse_differences(
    expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], *, what: str, strict: bool = False
) -> None:
    """Check names and shapes.

    Args:
        expected: name -> shape.
        strict: refuse what is not expected too.

    Raises:
        UserError: names the first few that are missing, differ or are too many.
    """
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [
        f"{name} is {'x'.join(map(str, tensors[name].shape)) or 'one number'} and not {'x'.join(map(str, shape)) or 'one number'}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if strict:
        wrong += [f"{name} is not known" for name in tensors if name not in expected]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(f"{what} do not fit: {', '.join(wrong[:3])}{more}: name weights of the right architecture.")
