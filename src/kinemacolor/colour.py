"""Between sRGB and CIE Lab, in batches, on whatever device the pictures lie on.

One definition for the whole pipeline: D65, 2 degrees, with the very constants of scikit-image, so that a figure of ours
and a figure computed with `skimage.color.rgb2lab` are the same figure. OpenCV's Lab differs from it by up to .45 in float
and 2.5 in 8 bits, which is why no library is mixed in (models.md, sections 0 and 10).

Pictures are channel first. 8-bit pictures go through a table of 256 linear values, which is exact and spares the slowest
power; on a CPU they have compiled code of their own (lab_kernels.py). Other large batches on a CPU are worked through in slabs
that stay in the cache, which makes them two to three times faster. The 3x3 matrices are written out as sums: a matrix
product would run in TF32 or bfloat16 under autocast or a lowered matmul precision, and colours would change with a switch of
the trainer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from kinemacolor.lab_values import CUBE_FROM, OFFSET, RATIOS_FROM_RGB, SLOPE, lightness_steps, linear_steps

_SLAB = 2**16  # pixels whose temporaries stay in a core's cache

_RGB_FROM_RATIOS = tuple(map(tuple, torch.linalg.inv(torch.tensor(RATIOS_FROM_RGB, dtype=torch.float64)).tolist()))


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB to CIE Lab.

    Args:
        rgb: (..., 3, H, W), uint8, or floating point in [0, 1] (not clipped).

    Returns:
        float32 (..., 3, H, W): L in [0, 100], a and b unscaled. Within 1e-4 of `skimage.color.rgb2lab` in float64
        (8e-5 over all 2^24 colours of 8 bits, and given as float, on a CPU). Of uint8 on a CPU, outside of torch.compile,
        the same bytes on every machine of one kind, with any number of threads and for any batch a pixel is in; the tables
        behind it are numpy's, whose powers may differ in the last digit on another. On a GPU, and of floats, the last
        digits differ: from those of the CPU, and from one GPU or batch to another.
        Differentiable for floating-point input.
    """
    _check(rgb, 3)
    if _has_kernel(rgb):
        from kinemacolor.lab_kernels import rgb_to_lab as convert  # numba takes half a second to import

        lab = torch.empty(rgb.shape, dtype=torch.float32)
        pictures = (math.prod(rgb.shape[:-3]), *rgb.shape[-3:])
        convert(rgb.contiguous().view(pictures).numpy(), lab.view(pictures).numpy(), threads=torch.get_num_threads())
        return lab
    return _in_slabs(_to_lab, rgb)


def _to_lab(rgb: Tensor) -> Tensor:
    red, green, blue = _linear(rgb).unbind(-3)
    x, y, z = (_root(_weigh(row, red, green, blue)) for row in RATIOS_FROM_RGB)
    return torch.stack((116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)), dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """CIE Lab to sRGB, clipped to the gamut.

    Args:
        lab: (..., 3, H, W), floating point: L in [0, 100], a, b.

    Returns:
        float32 (..., 3, H, W) in [0, 1]; equal to `skimage.color.lab2rgb` to 1e-5, also where colours are clipped.
    """
    _check(lab, 3)
    return _in_slabs(_to_rgb, lab)


def _to_rgb(lab: Tensor) -> Tensor:
    lightness, a, b = lab.float().unbind(-3)
    y = (lightness + 16.0) / 116.0
    # As scikit-image: an impossible (negative) Z is clipped before the cube, X is not.
    ratios = (_cube(a / 500.0 + y), _cube(y), _cube((y - b / 200.0).clamp(min=0.0)))
    return _companded(torch.stack([_weigh(row, *ratios) for row in _RGB_FROM_RATIOS], dim=-3))


def grey_rgb(lightness: Tensor) -> Tensor:
    """The neutral sRGB colour of a lightness: what a grey picture looks like.

    Args:
        lightness: (..., 1, H, W), floating point, L in [0, 100].

    Returns:
        float32 (..., 3, H, W) in [0, 1] with R = G = B to the bit. (Lab's own a = b = 0 is neutral to 2e-5 only, since
        the rounded white point is not the sum of the matrix's rows.)
    """
    _check(lightness, 1)
    grey = _companded(_cube((lightness.float() + 16.0) / 116.0))
    return grey.expand(*grey.shape[:-3], 3, *grey.shape[-2:])


def lightness_of_grey(grey: Tensor) -> Tensor:
    """L* of a grey picture: what every network is given when the input is a genuine black-and-white print.

    Args:
        grey: (..., 1, H, W), uint8, or floating point in [0, 1]: the common value of R, G and B.

    Returns:
        float32 (..., 1, H, W), L in [0, 100]; equal to the L of `rgb_to_lab` of the same grey as three channels, to 1e-4.
    """
    _check(grey, 1)
    if _has_kernel(grey):
        from kinemacolor.lab_kernels import grey_to_lightness as convert

        lightness = torch.empty(grey.shape, dtype=torch.float32)
        convert(grey.contiguous().numpy(), lightness.numpy(), threads=torch.get_num_threads())
        return lightness
    if grey.dtype == torch.uint8:
        return _looked_up(_lightness_table(grey.device), grey)
    return 116.0 * _root(_linear(grey)) - 16.0


def to_uint8(rgb: Tensor) -> Tensor:
    """[0, 1] to 8 bits, rounded to the nearest step (halves to even); values outside are clipped."""
    return rgb.mul(255.0).round_().clamp_(0.0, 255.0).to(torch.uint8)


def _check(picture: Tensor, channels: int) -> None:
    """Fail early on channel-last pictures, which would give wrong colours in silence."""
    if picture.ndim < 3 or picture.shape[-3] != channels:
        raise ValueError(f"expected (..., {channels}, H, W), got {tuple(picture.shape)}")


def _in_slabs(convert: Callable[[Tensor], Tensor], picture: Tensor) -> Tensor:
    """`convert` of (..., 3, H, W), slab by slab; at once on an accelerator, and where gradients are asked for."""
    height, width = picture.shape[-2:]
    if picture.device.type != "cpu" or picture.requires_grad or picture.numel() <= 3 * _SLAB:
        return convert(picture)
    pictures = picture.reshape(-1, 3, height, width)
    out = torch.empty(pictures.shape, dtype=torch.float32)
    together, rows = max(1, _SLAB // (height * width)), max(1, _SLAB // width)
    for source, target in zip(pictures.split(together), out.split(together), strict=True):
        for part, place in zip(source.split(rows, dim=-2), target.split(rows, dim=-2), strict=True):
            place.copy_(convert(part))
    return out.view(picture.shape)


def _weigh(row: tuple[float, ...], first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    return (first * row[0]).add_(second, alpha=row[1]).add_(third, alpha=row[2])


def _has_kernel(rgb: Tensor) -> bool:
    """Whether compiled code takes it: a real picture of 8 bits, and not what a tracer sees in its place."""
    return type(rgb) is Tensor and rgb.dtype == torch.uint8 and rgb.device.type == "cpu" and not torch.compiler.is_compiling()


@functools.lru_cache(maxsize=8)
def _linear_table(device: torch.device) -> Tensor:
    return torch.from_numpy(linear_steps()).to(device)


@functools.lru_cache(maxsize=8)
def _lightness_table(device: torch.device) -> Tensor:
    return torch.from_numpy(lightness_steps()).to(device)


def _looked_up(table: Tensor, steps: Tensor) -> Tensor:
    return table.index_select(0, steps.reshape(-1).int()).view(steps.shape)


def _linear(rgb: Tensor) -> Tensor:
    if rgb.dtype == torch.uint8:
        return _looked_up(_linear_table(rgb.device), rgb)
    if not rgb.is_floating_point():
        raise ValueError(f"expected uint8 or floating point, got {rgb.dtype}")
    return _expanded(rgb.float())


def _expanded(companded: Tensor) -> Tensor:
    """sRGB transfer curve, away from the screen: to linear light."""
    bent = ((companded.clamp(min=0.04045) + 0.055) / 1.055).pow(2.4)
    return torch.where(companded > 0.04045, bent, companded / 12.92)


def _companded(linear: Tensor) -> Tensor:
    """sRGB transfer curve, towards the screen: from linear light, clipped to [0, 1]."""
    bent = linear.clamp(min=0.0031308).pow(1 / 2.4) * 1.055 - 0.055
    return torch.where(linear > 0.0031308, bent, linear * 12.92).clamp(0.0, 1.0)


def _root(ratio: Tensor) -> Tensor:
    # The cube root by way of logarithms is a third faster than a power. Clamped first, since its gradient at nought is
    # infinite even where `where` drops it.
    curve = ratio.clamp(min=CUBE_FROM).log2().mul_(1 / 3).exp2_()
    return torch.where(ratio > CUBE_FROM, curve, ratio * SLOPE + OFFSET)


def _cube(root: Tensor) -> Tensor:
    return torch.where(root > 0.2068966, root * root * root, (root - OFFSET) / SLOPE)
