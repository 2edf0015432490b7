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
from kinemacolor.metrics.auc import AucPool

PSNR_CAP = 100.0
"""dB given to identical pictures, whose PSNR is infinite; of RGB as of ab."""
SSIM_WINDOW = 11
"""Side of SSIM's window: a picture must be at least this high and wide."""
DE2000_STEPS = 100
"""Quantiles of CIEDE2000 are taken of values rounded to this many steps a unit: off by half a step, .005, at most."""
_DE2000_BINS = 25_000  # up to 250; differences inside the gamut stay under 120, and more than 250 counts as 250
_BY_PIXEL = ("mse_rgb_pm1", "mse_ab@128", "de2000")
_BY_FRAME = ("psnr_rgb", "psnr_ab", "ssim", "cf", "cf_truth", "cf_abs", "cf_abs_truth")


def _at_once(device: torch.device) -> int:
    """Pixels to measure at once: their planes of float64, some 30, stay in a core's cache; a GPU wants to be filled."""
    return 2**15 if device.type == "cpu" else 2**20


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
    return _decibels(_mse_8bit(predicted, true))


def _decibels(mse: Tensor) -> Tensor:
    """PSNR of a mean squared error, for a peak of 255."""
    return (10 * torch.log10(255**2 / mse)).clamp(max=PSNR_CAP)


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


def psnr_ab(predicted: Tensor, true: Tensor) -> Tensor:
    """10 log10(255^2 / mse) of ab in Lab units, in dB, at most `PSNR_CAP`; ours, since there is no standard.

    In float: what is published of 8-bit ab ends at the error of rounding.

    Args:
        predicted, true: Lab, floating point (B, 3, H, W).

    Returns:
        float64 (B,).
    """
    return _decibels(mse_ab(predicted, true, scale=1.0))


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
    height, width = true.shape[-2:]
    around, rows = SSIM_WINDOW - 1, max(1, _at_once(true.device) // width)
    total = torch.zeros(len(true), dtype=torch.float64, device=true.device)
    for top in range(0, height - around, rows):
        slab = slice(top, top + rows + around)
        total += _similarity(predicted[..., slab, :].double(), true[..., slab, :].double()).sum(dim=(1, 2, 3))
    return total / (3 * (height - around) * (width - around))


def _similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM at every place where the window fits, of two float64 pictures, which are overwritten."""
    mean_1, mean_2, cross = _gauss(first), _gauss(second), _gauss(first * second)
    power = _gauss(first.square_().add_(second.square_()))  # only the sum of the two variances is asked for
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    product, squares = mean_1 * mean_2, mean_1.square_().add_(mean_2.square_())
    structure = (cross - product).mul_(2).add_(c2).div_((power - squares).add_(c2))
    luminance = product.mul_(2).add_(c1).div_(squares.add_(c1))
    return luminance.mul_(structure)


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
    stretch = 1.5 - 0.5 * _chroma_share(0.5 * (_length(a1, b1) + _length(a2, b2)))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = _length(a1, b1), _length(a2, b2)
    h1, h2 = torch.atan2(b1, a1), torch.atan2(b2, a2)

    lightness, chroma = 0.5 * (l1 + l2), 0.5 * (c1 + c2)
    # Mean hue: of the two means that lie opposite each other, the one on the shorter arc. Where a colour is neutral its
    # hue is arbitrary, but hue then stands only in terms that are multiplied with a hue difference of nought.
    half = 0.5 * (h2 - h1)
    turn = half.abs() > 0.5 * math.pi
    hue = 0.5 * (h1 + h2)
    hue = torch.where(turn, hue + math.pi, hue)
    # The sine of half the difference changes its sign when one hue makes a full turn.
    half_sine = half.sin_()
    delta_h = (c1 * c2).sqrt_().mul_(torch.where(turn, -half_sine, half_sine)).mul_(2)

    off_middle = lightness.sub_(50).square_()
    term_l = (l2 - l1).div_(off_middle.mul(0.015).div_(off_middle.add(20).sqrt_()).add_(1))
    term_c = (c2 - c1).div_(chroma.mul(0.045).add_(1))
    term_h = delta_h.div_(_hue_weight(hue).mul_(chroma).mul_(0.015).add_(1))
    degrees = torch.rad2deg(hue).remainder_(360)
    rotation = degrees.sub_(275).div_(25).square_().neg_().exp_().mul_(math.radians(60)).sin_()
    cross = _chroma_share(chroma).mul_(rotation).mul_(term_c).mul_(term_h).mul_(-2)
    return cross.add_(term_l.square_()).add_(term_c.square_()).add_(term_h.square_()).clamp_(min=0).sqrt_()


def _length(a: Tensor, b: Tensor) -> Tensor:
    return a.square().addcmul_(b, b).sqrt_()


def _hue_weight(hue: Tensor) -> Tensor:
    """1 - .17 cos(h - 30) + .24 cos(2h) + .32 cos(3h + 6) - .20 cos(4h - 63), in degrees: T of the formula.

    Multiples by the addition theorems: two powers of the unit instead of four cosines, and as exact.
    """
    cos, sin = torch.cos(hue), torch.sin(hue)
    cos2, sin2 = (2 * cos).mul_(cos).sub_(1), (2 * sin).mul_(cos)
    cos3, sin3 = (cos2 * cos).addcmul_(sin2, sin, value=-1), (sin2 * cos).addcmul_(cos2, sin)
    cos4, sin4 = (2 * cos2).mul_(cos2).sub_(1), (2 * sin2).mul_(cos2)
    weight = cos2.mul_(0.24).add_(1)
    for share, turned, c, s in ((-0.17, -30, cos, sin), (0.32, 6, cos3, sin3), (-0.20, -63, cos4, sin4)):
        turned = math.radians(turned)
        weight.add_(c, alpha=share * math.cos(turned)).sub_(s, alpha=share * math.sin(turned))
    return weight


def _chroma_share(chroma: Tensor) -> Tensor:
    """sqrt(C^7 / (C^7 + 25^7)): 0 for neutral colours, near 1 for strong ones."""
    square = chroma.square()
    seventh = square.square().mul_(square).mul_(chroma)  # several times faster than a power
    return seventh.div_(seventh + 25.0**7).sqrt_()


def colourfulness(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Hasler and Suesstrunk 2003 of rg = R - G and yb = (R + G) / 2 - B on 0..255, signed and absolute.

    Standard deviation plus .3 of the mean, both over the plane of rg and yb. The paper's is the signed one; the published
    scripts of DDColor, ColorFormer and ColorMNet take the absolute values of rg and yb first, which gives another figure.

    Args:
        rgb: uint8 (B, 3, H, W).

    Returns:
        cf and cf_abs, float64 (B,) each; 0 for a grey picture.
    """
    red, green, blue = rgb.flatten(2).int().unbind(1)
    # Twice yb, so that every sum is a whole number and exact. Squares are the same for both, only means differ.
    planes = torch.stack((red - green, red + green - 2 * blue), dim=1)
    unit = torch.tensor([1.0, 0.5], dtype=torch.float64, device=rgb.device)
    power = planes.square().sum(dim=2).double() / planes.shape[-1] * unit.square()
    signed, absolute = (values.sum(dim=2).double() / planes.shape[-1] * unit for values in (planes, planes.abs()))
    return _spread(signed, power), _spread(absolute, power)


def _spread(mean: Tensor, power: Tensor) -> Tensor:
    """Deviation and mean of two opponents in one figure (B,), from their means and mean squares (B, 2)."""
    squared = mean.square()
    return (power - squared).clamp(min=0).sum(dim=1).sqrt() + 0.3 * squared.sum(dim=1).sqrt()


# ----------------------------------------------------------------------------------------------------- pooling


class PixelMetrics:
    """All metrics of one split, fed batch by batch."""

    def __init__(self) -> None:
        self._rows: dict[str, list[float]] = {}
        self._pixels: list[int] = []
        self._differences = np.zeros(_DE2000_BINS + 1, dtype=np.int64)
        self._auc = AucPool()

    @torch.inference_mode()
    def update(self, predicted: Tensor, true: Tensor) -> dict[str, np.ndarray]:
        """Measure a batch and take it into the pool.

        Args:
            predicted: Lab, floating point (B, 3, H, W), as the model gave it.
            true: RGB, uint8 (B, 3, H, W), on the same device.

        Returns:
            Metric name to float64 (B,): the figures of `pooled`, of each picture alone. `dcf` is abs(cf - cf_truth);
            auc_rebal is the split's alone.

        Raises:
            ValueError: shapes differ, or a value of the prediction is not finite.
        """
        if predicted.shape != true.shape:
            raise ValueError(f"predicted {tuple(predicted.shape)} and true {tuple(true.shape)} differ in shape")
        if not bool(torch.isfinite(predicted).all()):
            raise ValueError("a predicted value is not finite")
        together = max(1, _at_once(true.device) // (true.shape[-2] * true.shape[-1]))
        parts = [self._measure(some, truth) for some, truth in zip(predicted.split(together), true.split(together), strict=True)]
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for name, row in rows.items():
            self._rows.setdefault(name, []).extend(row.tolist())
        self._pixels.extend([true.shape[-2] * true.shape[-1]] * len(true))
        return rows

    def pooled(self) -> dict[str, float]:
        """The split's figures so far; empty if there was no picture.

        frames: pictures. mse_rgb_pm1, mse_ab@128, de2000: means over all pixels of the split, not of batch means.
        psnr_rgb, psnr_ab, ssim, cf, cf_truth, cf_abs, cf_abs_truth: means over pictures. de2000_p50, de2000_p95: quantiles
        (nearest rank) over all pixels, in hundredths. dcf: abs(mean cf - mean cf_truth), the convention of the DDColor and
        MultiColor tables; dcf_mean_abs: mean of abs(cf - cf_truth), that of VVFM. auc_raw, auc_rebal: see metrics/auc.py.
        """
        if not self._pixels:
            return {}
        frames, pixels = len(self._pixels), sum(self._pixels)
        by_pixel = {
            name: math.fsum(value * weight for value, weight in zip(self._rows[name], self._pixels, strict=True)) / pixels
            for name in _BY_PIXEL
        }
        by_frame = {name: math.fsum(self._rows[name]) / frames for name in _BY_FRAME}
        return {
            "frames": frames,
            **by_pixel,
            "de2000_p50": _quantile(self._differences, 0.50),
            "de2000_p95": _quantile(self._differences, 0.95),
            **by_frame,
            **self._auc.pooled(),
            "dcf": abs(by_frame["cf"] - by_frame["cf_truth"]),
            "dcf_mean_abs": math.fsum(self._rows["dcf"]) / frames,
        }

    def _measure(self, predicted: Tensor, true: Tensor) -> dict[str, np.ndarray]:
        """The rows of a few pictures; the pool's sums over pixels grow."""
        true_lab, predicted_rgb = rgb_to_lab(true), to_uint8(lab_to_rgb(predicted))
        (cf, cf_abs), (cf_truth, cf_abs_truth) = colourfulness(predicted_rgb), colourfulness(true)
        values = {
            "mse_rgb_pm1": mse_rgb_pm1(predicted_rgb, true),
            "mse_ab@128": mse_ab(predicted, true_lab, scale=128.0),
            "psnr_rgb": psnr_rgb(predicted_rgb, true),
            "psnr_ab": psnr_ab(predicted, true_lab),
            "ssim": ssim(predicted_rgb, true),
            "cf": cf,
            "cf_truth": cf_truth,
            "cf_abs": cf_abs,
            "cf_abs_truth": cf_abs_truth,
            "dcf": (cf - cf_truth).abs(),
            "auc_raw": self._auc.update(predicted, true_lab),
        }
        rows = {name: value.cpu().numpy() for name, value in values.items()}
        slabs = (picture.split(max(1, _at_once(true.device) // true.shape[-1]), dim=-2) for picture in (predicted, true_lab))
        differences = torch.cat([ciede2000(one, other).flatten(1) for one, other in zip(*slabs, strict=True)], dim=1)
        rows["de2000"] = differences.mean(dim=1).cpu().numpy()
        steps = (differences * DE2000_STEPS).round_().clamp_(max=_DE2000_BINS).int().cpu().numpy()
        quantiles = []
        for picture in steps:
            counts = np.bincount(picture)
            quantiles.append([_quantile(counts, share) for share in (0.50, 0.95)])
            self._differences[: len(counts)] += counts
        rows["de2000_p50"], rows["de2000_p95"] = np.array(quantiles, dtype=np.float64).T
        return rows


def _quantile(counts: np.ndarray, share: float) -> float:
    """The smallest value such that at least `share` of the counted values are no greater."""
    reached = np.cumsum(counts)
    return float(np.searchsorted(reached, math.ceil(share * reached[-1])) / DE2000_STEPS)
