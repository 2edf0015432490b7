"""alpha and beta of Emil Wallner, as project Games used them (ab/128, tanh).

Plain convolutional stacks without normalisation or skips; Keras's initialisation, because the projects trained there.
"""

from __future__ import annotations

from torch import nn

from kinemacolor.models import Family
from kinemacolor.models.coding import AB128


def _conv(channels_in: int, channels_out: int, stride: int = 1, activation: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(conv.bias)
    return [conv, activation()]


def _double() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def alpha() -> nn.Module:
    """L/100 (B,1,H,W) to ab/128 (B,2,H,W); 32,202 parameters; H and W multiples of 8. The benchmark of project Games."""
    return nn.Sequential(
        *_conv(1, 8, 2),
        *_conv(8, 8),
        *_conv(8, 16),
        *_conv(16, 16, 2),
        *_conv(16, 32),
        *_conv(32, 32, 2),
        _double(),
        *_conv(32, 32),
        _double(),
        *_conv(32, 16),
        _double(),
        *_conv(16, 2, activation=nn.Tanh),
    )


def beta(*, width: float = 1.0) -> nn.Module:
    """L/100 (B,1,H,W) to ab/128 (B,2,H,W); 3,892,194 parameters, or 973,810 at width .5; H and W multiples of 8.

    The last step doubles the ab map itself, so chroma comes in blocks of 2x2 pixels.

    Args:
        width: factor on every hidden layer's channels. Project Games found that full width did not learn.
    """
    n = [round(channels * width) for channels in (64, 128, 256, 512, 32)]
    return nn.Sequential(
        *_conv(1, n[0]),
        *_conv(n[0], n[0], 2),
        *_conv(n[0], n[1]),
        *_conv(n[1], n[1], 2),
        *_conv(n[1], n[2]),
        *_conv(n[2], n[2], 2),
        *_conv(n[2], n[3]),
        *_conv(n[3], n[2]),
        *_conv(n[2], n[1]),
        _double(),
        *_conv(n[1], n[0]),
        _double(),
        *_conv(n[0], n[4]),
        *_conv(n[4], 2, activation=nn.Tanh),
        _double(),
    )


FAMILIES = {
    "alpha": Family(alpha, AB128, multiple=8, source="project Games; E. Wallner, Coloring greyscale images, alpha"),
    "beta": Family(beta, AB128, multiple=8, source="project Games; E. Wallner, Coloring greyscale images, beta"),
}
