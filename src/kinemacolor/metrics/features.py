"""How far a set of coloured frames is from the set of true ones, in the features of a named network: Fréchet and kernel distance.

FID is such a Fréchet distance with one Inception network that cannot be had here; these are called by the network that they
were taken with (fd_mobilenet_v2, kid_mobilenet_v2) and are to be compared among themselves alone. Features are the means
of the network's last maps, 1280 for MobileNetV2, of the whole picture brought to the square that the network was trained on.

fd: Heusel et al. 2017 (arXiv 1706.08500), of means and covariances in float64. Few frames make it too high; below 2,048 it
says how models stand to each other and little more.

kid: Binkowski et al. 2018 (arXiv 1801.01401), the squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, over a
seeded sample of at most 2,000 frames. Ours in one thing: since a coloured frame has its true frame, a pair's own cross term
is left out (the estimate for paired samples, Gretton et al. 2012, lemma 6). So it is free of bias, and nought for the truth
itself; with the cross terms of pairs, which are the most alike, it would fall below.
"""

from __future__ import annotations

import contextlib
import copy
import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from kinemacolor.metrics.names import FRECHET, KERNEL
from kinemacolor.models.encoders import Encoder, frozen, normalised

SAMPLE = 2000
"""Frames, at most, whose features are kept."""
_TOGETHER = 4  # pictures in the network at once: larger batches leave the cache, and take twice as long


def float32(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Convolutions in full float32: a GPU's TF32 would round features to three digits."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _folded(encoder: Encoder) -> Encoder:
    """A copy with each normalisation made part of the convolution before it, and channels last: twice as fast on a CPU."""
    encoder = frozen(copy.deepcopy(encoder))
    for stack in [module for module in encoder.modules() if isinstance(module, nn.Sequential)]:
        for place, (first, second) in enumerate(pairwise(list(stack))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                stack[place], stack[place + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return encoder.to(memory_format=torch.channels_last)


class FeaturePool:
    """Distances between two sets of frames, fed batch by batch.

    Memory: a mean and a covariance of each set, and the features of `SAMPLE` frames, however many there are.

    Args:
        encoder: gives the features; stays as it is.
        name: of the backbone, as the figures are to be called.
        device: where it computes.
        seed: of the sample.
    """

    def __init__(self, encoder: Encoder, name: str, *, device: torch.device | str = "cpu", seed: int = 0) -> None:
        self._encoder, self._name, self._device = _folded(encoder).to(device), name, torch.device(device)
        self._draw = np.random.default_rng(seed)
        self._frames = 0
        self._kept: list[Tensor] = []
        self._sum = self._products = torch.zeros((), dtype=torch.float64)

    @torch.inference_mode()
    def update(self, predicted: Tensor, true: Tensor) -> None:
        """Take in a batch.

        Args:
            predicted, true: RGB, uint8 (B, 3, H, W), on any device.

        Raises:
            ValueError: their shapes differ.
        """
        if predicted.shape != true.shape:
            raise ValueError(f"predicted {tuple(predicted.shape)} and true {tuple(true.shape)} differ in shape")
        if not len(true):
            return
        both = torch.stack([self._features(predicted), self._features(true)])
        self._sum = self._sum + both.sum(dim=1)
        self._products = self._products + both.mT @ both
        for frame in both.unbind(1):
            self._keep(frame.clone())  # a view would keep its whole batch

    @torch.inference_mode()
    def pooled(self) -> dict[str, float]:
        """fd_<name> and kid_<name> of the frames so far; empty below two, of which nothing varies."""
        if self._frames < 2:
            return {}
        predicted, true = torch.stack(self._kept, dim=1)
        return {
            f"{FRECHET}{self._name}": frechet(*self._moments(predicted, 0), *self._moments(true, 1)),
            f"{KERNEL}{self._name}": kernel_distance(predicted, true),
        }

    def _features(self, rgb: Tensor) -> Tensor:
        """float64 (B, D), on the CPU, whose sums have one order."""
        side, found = self._encoder.side, []
        with float32(self._device), torch.autocast(self._device.type, enabled=False):
            for some in rgb.split(_TOGETHER):
                square = some.to(self._device).float() / 255
                if square.shape[-2:] != (side, side):
                    square = functional.interpolate(square, (side, side), mode="bilinear", antialias=True)
                shown = normalised(square, mean=self._encoder.mean, std=self._encoder.std)
                maps = self._encoder.maps(shown.contiguous(memory_format=torch.channels_last))
                found.append(maps.double().mean(dim=(2, 3)).cpu())
        return torch.cat(found)

    def _keep(self, frame: Tensor) -> None:
        """Each frame with the same chance, whatever the batches (Vitter's algorithm R)."""
        self._frames += 1
        if len(self._kept) < SAMPLE:
            self._kept.append(frame)
        elif (place := int(self._draw.integers(self._frames))) < SAMPLE:
            self._kept[place] = frame

    def _moments(self, rows: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Mean (D,) and a factor F of the covariance F'F: the rows themselves where they are all there and few."""
        mean = self._sum[side] / self._frames
        if self._frames == len(rows) < rows.shape[1]:
            return mean, (rows - mean) / math.sqrt(self._frames - 1)
        covariance = (self._products[side] - self._frames * mean.outer(mean)) / (self._frames - 1)
        variances, axes = torch.linalg.eigh(covariance)
        return mean, variances.clamp(min=0).sqrt()[:, None] * axes.mT


def frechet(mean_1: Tensor, factor_1: Tensor, mean_2: Tensor, factor_2: Tensor) -> float:
    """Squared Fréchet distance of two normal distributions: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    The trace of the root is the sum of the singular values of F1 F2', which needs no root of a matrix and, of few frames, is
    no larger than these are many.

    Args:
        mean_1, mean_2: float64 (D,).
        factor_1, factor_2: float64 (any, D); the covariances are F'F.
    """
    shift, traces = (mean_1 - mean_2).square().sum(), factor_1.square().sum() + factor_2.square().sum()
    return max(0.0, float(shift + traces - 2 * torch.linalg.svdvals(factor_1 @ factor_2.mT).sum()))


def kernel_distance(predicted: Tensor, true: Tensor) -> float:
    """Squared maximum mean discrepancy of paired samples with the kernel (x.y / D + 1)^3; may fall below nought.

    Args:
        predicted, true: float64 (N, D), N at least 2; row i of one belongs to row i of the other.
    """

    def between(first: Tensor, second: Tensor) -> float:
        kernel = (first @ second.mT / first.shape[1] + 1) ** 3
        return float(kernel.sum() - kernel.trace())

    pairs = len(true) * (len(true) - 1)
    return (between(predicted, predicted) + between(true, true) - 2 * between(predicted, true)) / pairs
