"""Metrics of single pictures, streamed over a split: each has one definition, and this is the place of it.

What is compared: a predicted Lab picture (float, as the model gave it) with a true 8-bit RGB picture. Metrics of RGB are
taken after the prediction is clipped to the gamut and rounded to 8 bits, since that is what anybody gets to see; metrics
of Lab are taken in float on the values as predicted, so that no rounding flatters or hides a small difference. All sums
are float64. (Subtracting uint8 arrays, which wraps, has inflated PSNR in published tables.)

Pooling: `PixelMetrics` keeps one row of figures a picture and a histogram of CIEDE2000, and adds the rows up with
`math.fsum`: the pooling depends neither on the batch size nor on the order, and memory does not grow with the pixels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from kinemacolor.colour import lab_to_rgb, rgb_to_lab, to_uint8

PSNR_CAP = 100.0
"""dB given to identical pictures, whose PSNR is infinite."""
SSIM_WINDOW = 11
"""Side of SSIM's window: a picture must be at least this high and wide."""
DE2000_STEPS = 100
"""Quantiles of CIEDE2000 are taken of values rounded to this many steps a unit: off by half a step, .005, at most."""
_DE2000_BINS = 25_000  # up to 250; differences inside the gamut stay under 120, and more than 250 counts as 250
_CHUNK = 2**18  # pixels whose CIEDE2000 is computed at once: some 60 float64 planes of temporaries


# ------------------------------------------------------------------------------------------- one figure a picture


def mse_rgb_pm1(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error over pixels and channels with RGB scaled to [-1, 1] (project Film).

    Args:
        predicted, true: uint8 (B, 3, H, W).

    Returns:
        float64 (B,), 0 to 4.
    """
    return _mse_8bit(predicted, true) * (2 / 255) ** 2


def psnr_rgb(predicted: Tensor, true: Tensor) -> Tensor:
    """20 log10(255 / rmse) of 8-bit RGB, in dB, at most `PSNR_CAP`. uint8 (B, 3, H, W) to float64 (B,)."""
    return (10 * torch.log10(255**2 / _mse_8bit(predicted, true))).clamp(max=PSNR_CAP)


def _mse_8bit(predicted: Tensor, true: Tensor) -> Tensor:
    # int32 before the difference, or it wraps; the sum of squares is exact.
    return (predicted.int() - true.int()).square_().sum(dim=(1, 2, 3)).double() / predicted[0].numel()


def mse_ab(predicted: Tensor, true: Tensor, *, scale: float = 128.0) -> Tensor:
    """Mean squared error over pixels and both chroma channels of Lab, in units of `scale` (128: project Games).

    Args:
        predicted, true: Lab, floating point (B, 3, H, W).

    Returns:
        float64 (B,). Times scale**2 it is in units of Lab.
    """
    return (predicted[:, 1:].double() - true[:, 1:].double()).div_(scale).square_().mean(dim=(1, 2, 3))


def ssim(predicted: Tensor, true: Tensor) -> Tensor:
    """Structural similarity of 8-bit RGB: mean over the valid region and over the channels.

    Gaussian window 11 x 11 of sigma 1.5, K = (.01, .03), L = 255, weighted (not sample) covariance, no padding: Wang et
    al. 2004 as in BasicSR and DDColor. scikit-image's default (uniform 7 x 7, sample covariance) is another figure,
    and so is torchmetrics' (the borders, mirrored, count as well).

    Args:
        predicted, true: uint8 (B, 3, H, W), at least 11 x 11.

    Returns:
        float64 (B,), -1 to 1.
    """
    if min(true.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {SSIM_WINDOW}x{SSIM_WINDOW}, got {tuple(true.shape)}")
    first, second = predicted.double(), true.double()
    mean_1, mean_2 = _gauss(first), _gauss(second)
    variance_1 = _gauss(first * first) - mean_1.square()
    variance_2 = _gauss(second * second) - mean_2.square()
    covariance = _gauss(first * second) - mean_1 * mean_2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    structure = (2 * covariance + c2) / (variance_1 + variance_2 + c2)
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1.square() + mean_2.square() + c1)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _gauss(picture: Tensor) -> Tensor:
    """The window's weighted mean at every place where it fits, one axis after the other."""
    weights = [math.exp(-0.5 * (x / 1.5) ** 2) for x in range(-5, 6)]
    for axis in (-2, -1):
        length = picture.shape[axis] - SSIM_WINDOW + 1
        blurred = torch.zeros_like(picture.narrow(axis, 0, length))
        for start, weight in enumerate(weights):
            blurred.add_(picture.narrow(axis, start, length), alpha=weight / sum(weights))
        picture = blurred
    return picture


def ciede2000(first: Tensor, second: Tensor) -> Tensor:
    """CIEDE2000 colour difference of every pixel, with kL = kC = kH = 1 (Sharma, Wu and Dalal 2005).

    Args:
        first, second: Lab, floating point (..., 3, H, W).

    Returns:
        float64 (..., H, W). Symmetric; equal to `skimage.color.deltaE_ciede2000`.
    """
    (l1, a1, b1), (l2, a2, b2) = first.double().unbind(-3), second.double().unbind(-3)
    stretch = 1.5 - 0.5 * _chroma_share(0.5 * (torch.hypot(a1, b1) + torch.hypot(a2, b2)))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = torch.atan2(b1, a1), torch.atan2(b2, a2)

    lightness, chroma = 0.5 * (l1 + l2), 0.5 * (c1 + c2)
    # Mean hue: of the two means that lie opposite each other, the one on the shorter arc. Where a colour is neutral its
    # hue is arbitrary, but hue then stands only in terms that are multiplied with a hue difference of nought.
    turn = (h1 - h2).abs() > math.pi
    hue = torch.where(turn, 0.5 * (h1 + h2) + math.pi, 0.5 * (h1 + h2))
    # The sine of half the difference changes its sign when one hue makes a full turn.
    half_sine = torch.sin(0.5 * (h2 - h1))
    delta_h = 2 * (c1 * c2).sqrt() * torch.where(turn, -half_sine, half_sine)

    weight_t = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    off_middle = (lightness - 50).square()
    term_l = (l2 - l1) / (1 + 0.015 * off_middle / (20 + off_middle).sqrt())
    term_c = (c2 - c1) / (1 + 0.045 * chroma)
    term_h = delta_h / (1 + 0.015 * chroma * weight_t)
    degrees = torch.rad2deg(hue).remainder(360)
    rotation = math.radians(60) * torch.exp(-((degrees - 275) / 25).square())
    cross = -2 * _chroma_share(chroma) * torch.sin(rotation) * term_c * term_h
    return (term_l.square() + term_c.square() + term_h.square() + cross).clamp(min=0).sqrt()


def _chroma_share(chroma: Tensor) -> Tensor:
    """sqrt(C^7 / (C^7 + 25^7)): 0 for neutral colours, near 1 for strong ones."""
    seventh = chroma.pow(7)
    return (seventh / (seventh + 25.0**7)).sqrt()


def colourfulness(rgb: Tensor) -> Tensor:
    """Hasler and Suesstrunk 2003, signed: rg = R - G and yb = (R + G) / 2 - B on 0..255.

    Standard deviation plus .3 of the mean, both over the plane of rg and yb. Some published scripts take the absolute
    values of rg and yb first, which gives another figure.

    Args:
        rgb: uint8 (B, 3, H, W).

    Returns:
        float64 (B,); 0 for a grey picture.
    """
    red, green, blue = rgb.double().flatten(2).unbind(1)
    planes = torch.stack((red - green, 0.5 * (red + green) - blue), dim=1)
    deviation = planes.var(dim=2, correction=0).sum(dim=1).sqrt()
    return deviation + 0.3 * planes.mean(dim=2).square().sum(dim=1).sqrt()


# ----------------------------------------------------------------------------------------------------- pooling


class PixelMetrics:
    """All metrics of one split, fed batch by batch."""

    def __init__(self) -> None:
        self._rows: dict[str, list[float]] = {}
        self._pixels: list[int] = []
        self._differences = np.zeros(_DE2000_BINS + 1, dtype=np.int64)

    @torch.inference_mode()
    def update(self, predicted: Tensor, true: Tensor) -> dict[str, np.ndarray]:
        """Measure a batch and take it into the pool.

        Args:
            predicted: Lab, floating point (B, 3, H, W), as the model gave it.
            true: RGB, uint8 (B, 3, H, W), on the same device.

        Returns:
            Metric name to float64 (B,): the figures of `pooled`, of each picture alone. `dcf` is abs(cf - cf_truth).

        Raises:
            ValueError: shapes differ, or a value of the prediction is not finite.
        """
        if predicted.shape != true.shape:
            raise ValueError(f"predicted {tuple(predicted.shape)} and true {tuple(true.shape)} differ in shape")
        if not bool(torch.isfinite(predicted).all()):
            raise ValueError("a predicted value is not finite")
        true_lab, predicted_rgb = rgb_to_lab(true), to_uint8(lab_to_rgb(predicted))
        cf, cf_truth = colourfulness(predicted_rgb), colourfulness(true)
        values = {
            "mse_rgb_pm1": mse_rgb_pm1(predicted_rgb, true),
            "mse_ab@128": mse_ab(predicted, true_lab, scale=128.0),
            "psnr_rgb": psnr_rgb(predicted_rgb, true),
            "ssim": ssim(predicted_rgb, true),
            "cf": cf,
            "cf_truth": cf_truth,
            "dcf": (cf - cf_truth).abs(),
        }
        rows = {name: value.cpu().numpy() for name, value in values.items()} | self._measure_differences(predicted, true_lab)
        for name, row in rows.items():
            self._rows.setdefault(name, []).extend(row.tolist())
        self._pixels.extend([true.shape[-2] * true.shape[-1]] * len(true))
        return rows

    def pooled(self) -> dict[str, float]:
        """The split's figures so far; empty if there was no picture.

        frames: pictures. mse_rgb_pm1, mse_ab@128, de2000: means over all pixels of the split, not of batch means.
        psnr_rgb, ssim, cf, cf_truth: means over pictures. de2000_p50, de2000_p95: quantiles (nearest rank) over all
        pixels, in hundredths. dcf: abs(mean cf - mean cf_truth), the convention of the DDColor and MultiColor tables;
        dcf_mean_abs: mean of abs(cf - cf_truth), that of VVFM.
        """
        if not self._pixels:
            return {}
        frames, pixels = len(self._pixels), sum(self._pixels)
        by_pixel = {
            name: math.fsum(value * weight for value, weight in zip(self._rows[name], self._pixels, strict=True)) / pixels
            for name in ("mse_rgb_pm1", "mse_ab@128", "de2000")
        }
        by_frame = {name: math.fsum(self._rows[name]) / frames for name in ("psnr_rgb", "ssim", "cf", "cf_truth")}
        return {
            "frames": frames,
            **by_pixel,
            "de2000_p50": _quantile(self._differences, 0.50),
            "de2000_p95": _quantile(self._differences, 0.95),
            **by_frame,
            "dcf": abs(by_frame["cf"] - by_frame["cf_truth"]),
            "dcf_mean_abs": math.fsum(self._rows["dcf"]) / frames,
        }

    def _measure_differences(self, predicted: Tensor, true: Tensor) -> dict[str, np.ndarray]:
        """CIEDE2000 of a batch: mean and quantiles of each picture; the pool's histogram grows."""
        rows: dict[str, list[float]] = {"de2000": [], "de2000_p50": [], "de2000_p95": []}
        together = max(1, _CHUNK // (true.shape[-2] * true.shape[-1]))
        for some, truth in zip(predicted.split(together), true.split(together), strict=True):
            differences = ciede2000(some, truth).flatten(1)
            steps = (differences * DE2000_STEPS).round_().clamp_(max=_DE2000_BINS).int().cpu().numpy()
            rows["de2000"].extend(differences.mean(dim=1).tolist())
            for picture in steps:
                counts = np.bincount(picture, minlength=_DE2000_BINS + 1)
                rows["de2000_p50"].append(_quantile(counts, 0.50))
                rows["de2000_p95"].append(_quantile(counts, 0.95))
                self._differences += counts
        return {name: np.array(row, dtype=np.float64) for name, row in rows.items()}


def _quantile(counts: np.ndarray, share: float) -> float:
    """The smallest value such that at least `share` of the counted values are no greater."""
    reached = np.cumsum(counts)
    return float(np.searchsorted(reached, math.ceil(share * reached[-1])) / DE2000_STEPS)
