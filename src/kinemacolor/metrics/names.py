"""Every figure by its name: how it is headed, explained and printed, which way is better, and over what it is taken.

The one table that the page, MLflow, DVC and the command line ask, so that none of them calls a figure by another name or
takes a loss for a gain. Plain data: it imports neither numpy nor torch, and nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A figure of metrics.json.

    Attributes:
        name: its key.
        heading: a few letters, for the head of a column.
        title: one line that says what it is, without a full stop.
        form: how it is printed, as `format` takes it.
        better: -1 if less is better, 1 if more is, 0 if neither (a count, or a figure to be held against the truth's: a picture
            without colour flickers least, and steadier than the truth is no better than less steady).
        of: what the pooled figure is taken over. pixel: all pixels of the split, each alike, as a mean or a quantile;
            frame: the frames, each alike; set: the split as a whole, so that single frames have none; motion: pairs of
            neighbouring frames inside a shot.
        least, most: between which it lies, whatever the pictures.
    """

    name: str
    heading: str
    title: str
    form: str
    better: Literal[-1, 0, 1]
    of: Literal["pixel", "frame", "set", "motion"]
    least: float = 0.0
    most: float = float("inf")


_ALL = (
    # ------------------------------------------------------------------------------- colour against colour
    Metric("mse_ab@128", "MSE ab", "Mean squared error of ab / 128 over all pixels", ".5f", -1, "pixel"),
    Metric("mse_rgb_pm1", "MSE RGB", "Mean squared error of RGB in [-1, 1], 8 bits, over all pixels", ".5f", -1, "pixel"),
    Metric("psnr_rgb", "PSNR", "Peak signal-to-noise ratio of 8-bit RGB in dB, mean over frames", ".2f", 1, "frame", 0, 100),
    Metric(
        "psnr_ab",
        "PSNR ab",
        "Peak signal-to-noise ratio of ab in dB with a peak of 255, mean over frames",
        ".2f",
        1,
        "frame",
        least=float("-inf"),
        most=100,
    ),
    Metric("ssim", "SSIM", "Structural similarity, Gaussian window, mean over frames", ".4f", 1, "frame", -1, 1),
    Metric(
        "lpips",
        "LPIPS",
        "Perceptual distance LPIPS v0.1, AlexNet unless params.yaml names VGG-16, mean over frames",
        ".4f",
        -1,
        "frame",
    ),
    Metric("de2000", "ΔE₀₀", "CIEDE2000, mean over pixels", ".2f", -1, "pixel"),
    Metric("de2000_p50", "ΔE₀₀ p50", "CIEDE2000 that half of all pixels do not exceed", ".2f", -1, "pixel"),
    Metric("de2000_p95", "ΔE₀₀ p95", "CIEDE2000 that 95 % of all pixels do not exceed", ".2f", -1, "pixel"),
    Metric(
        "auc_raw", "AuC", "Share of pixels whose ab is off by at most t, mean over t from 0 to 150", ".4f", 1, "pixel", most=1
    ),
    Metric(
        "auc_rebal", "AuC rebal.", "The same with each of the 313 classes of true colour counting alike", ".4f", 1, "set", most=1
    ),
    # ------------------------------------------------------------------------------------- how colourful
    Metric("cf", "Colourful", "Colourfulness after Hasler and Süsstrunk, mean over frames", ".1f", 0, "frame"),
    Metric("cf_truth", "CF truth", "The same of the truth", ".1f", 0, "frame"),
    Metric(
        "cf_abs",
        "CF abs",
        "Colourfulness of absolute opponents, as the DDColor scripts have it, mean over frames",
        ".1f",
        0,
        "frame",
    ),
    Metric("cf_abs_truth", "CF abs truth", "The same of the truth", ".1f", 0, "frame"),
    Metric(
        "dcf", "ΔCF", "Difference of mean colourfulness from the truth's (tables of DDColor and MultiColor)", ".1f", -1, "frame"
    ),
    Metric(
        "dcf_mean_abs", "ΔCF frame", "Mean over frames of the difference of colourfulness (tables of VVFM)", ".1f", -1, "frame"
    ),
    # -------------------------------------------------------------------------------------- how it moves
    Metric("cdc", "CDC", "Colour distribution consistency: how much histograms change in 1, 2 and 4 frames", ".5f", 0, "motion"),
    Metric("cdc_truth", "CDC truth", "The same of the truth", ".5f", 0, "motion"),
    Metric(
        "cdc_excess",
        "CDC excess",
        "CDC above the truth's, to be held against nought; below it colours are steadier than the truth's",
        ".5f",
        0,
        "motion",
        least=float("-inf"),
    ),
    Metric(
        "warp_err",
        "Warp",
        "Squared change of RGB in [0, 1] along the truth's motion, where nothing is hidden, to be held against the truth's",
        ".6f",
        0,
        "motion",
    ),
    Metric("warp_err_truth", "Warp truth", "The same of the truth", ".6f", 0, "motion"),
    Metric(
        "warp_err_ab",
        "Warp ab",
        "Squared change of ab / 110 along the truth's motion, where nothing is hidden, to be held against the truth's",
        ".6f",
        0,
        "motion",
    ),
    Metric("warp_err_ab_truth", "Warp ab truth", "The same of the truth", ".6f", 0, "motion"),
    Metric(
        "flicker_ab",
        "Flicker",
        "Mean change of ab from frame to frame where L stands still, to be held against the truth's",
        ".3f",
        0,
        "motion",
    ),
    Metric("flicker_ab_truth", "Flicker truth", "The same of the truth", ".3f", 0, "motion"),
    # ------------------------------------------------------------------------------------ what was measured
    Metric("frames", "Frames", "Frames measured", ",d", 0, "set"),
    Metric("height", "Height", "Height in pixels at which it was measured", "d", 0, "set"),
    Metric("width", "Width", "Width in pixels at which it was measured", "d", 0, "set"),
    Metric("motion_frames", "Motion frames", "Consecutive frames on which motion was measured", ",d", 0, "set"),
)

METRICS: dict[str, Metric] = {entry.name: entry for entry in _ALL}
"""Name -> figure, in the order in which tables show them; `metric` knows those of a named backbone too."""

FRECHET, KERNEL = "fd_", "kid_"
"""How the names of set distances begin; the backbone's name in params.yaml follows."""


def metric(name: str) -> Metric:
    """The figure of that name: one of `METRICS`, or `fd_<backbone>` or `kid_<backbone>`.

    Raises:
        ValueError: there is none.
    """
    if name in METRICS:
        return METRICS[name]
    if backbone := _after(name, FRECHET):
        title = f"Fréchet distance of {backbone} features between coloured and true frames; too high where frames are fewer than 2,048"
        return Metric(name, f"FD {backbone}", title, ".2f", -1, "set")
    if backbone := _after(name, KERNEL):
        title = f"Kernel distance of {backbone} features between coloured and true frames, without bias; may fall below nought"
        return Metric(name, f"KID {backbone}", title, ".5f", -1, "set", least=float("-inf"))
    raise ValueError(f"no metric is called {name!r}: choose one of {', '.join(METRICS)}, fd_<backbone> or kid_<backbone>")


def _after(name: str, beginning: str) -> str:
    return name.removeprefix(beginning) if name.startswith(beginning) else ""
