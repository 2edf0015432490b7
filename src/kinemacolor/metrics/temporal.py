"""Metrics of consecutive frames: do colours stay with what they colour, or do they flicker?

What is compared are stretches: frames that follow each other at the film's own rate inside one shot. Where things move is
told by the truth alone, by OpenCV's DIS flow (Kroeger et al. 2016), so that every model is warped alike and none is helped by
colours of its own. The published protocol of the warping error used FlowNet2: figures taken with DIS are not comparable with
those tables, only with each other. Of a true film neither CDC nor the warping error is nought (it moves, and flow is not
perfect), so the truth's own figures stand beside them.

Frames come in any number of calls: memory holds one call's frames and a few numbers a frame. Elementwise work is done on the
device of the prediction; flow and all sums on the CPU, in one order, so that neither threads nor the division into calls
change a byte.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kinemacolor import cores
from kinemacolor.colour import lab_to_rgb, rgb_to_lab, to_uint8

STEPS = (1, 2, 4)
"""Distances in frames between the histograms that CDC compares."""
AB_SCALE = 110.0
"""Lab units that count as one in `warp_err_ab`."""
STILL_L = 1.0
"""Change of the true L* under which a pixel counts as still, for flicker."""
FINE_SIDE = 256
"""Pictures up to this height and width have their flow found at their own size, larger ones at half of it, as the preset says."""
_CHUNK = 2**18
"""Pixels that are warped at once: some 50 float64 planes of temporaries."""
_LEAST_SIDE = 16
"""Flow needs pictures of this height and width; smaller ones are continued by their border."""
STILL = "still"
"""Among the figures of a stretch: how many pairs of still pixels its flicker is a mean over."""
_WARPED = ("warp_err", "warp_err_truth", "warp_err_ab", "warp_err_ab_truth")


# --------------------------------------------------------------------------------------------- two frames


def histograms(rgb: Tensor) -> Tensor:
    """Share of each of the 256 values in each channel: uint8 (N,3,H,W) to float64 (N,3,256), on the device of the input."""
    offset = torch.arange(3, device=rgb.device)[:, None] * 256
    counts = [torch.bincount((picture.flatten(1) + offset).flatten(), minlength=3 * 256) for picture in rgb.int()]
    return torch.stack(counts).view(-1, 3, 256).double() / (rgb.shape[-2] * rgb.shape[-1])


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of distributions, in natural units: float64 (...,K) twice to (...), 0 (equal) to ln 2 (apart).

    As the entropy of the middle less the mean entropy, which needs no small number beside empty bins.
    """
    middle = 0.5 * (first + second)
    terms = 0.5 * (torch.xlogy(first, first) + torch.xlogy(second, second)) - torch.xlogy(middle, middle)
    return terms.sum(dim=-1).clamp(min=0)


def flows(true: np.ndarray) -> np.ndarray:
    """Motion between neighbouring frames, there and back, by OpenCV's DIS at its medium preset on luma.

    The preset ends at half the picture's size. In pictures of 64 and 128 pixels the truth's warping error is then twice and
    one and a half times that of flow at full size; in large ones full size takes four times as long for little.

    Args:
        true: uint8 RGB (N,3,H,W).

    Returns:
        float32 (N-1,2,2,H,W): of each pair forward and backward, (x, y) in pixels. Forward says where in the later frame a
        pixel of the earlier one has gone.
    """
    height, width = true.shape[-2:]
    below, right = max(0, _LEAST_SIDE - height), max(0, _LEAST_SIDE - width)
    luma = [cv2.cvtColor(np.ascontiguousarray(picture.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY) for picture in true]
    luma = [np.pad(picture, ((0, below), (0, right)), mode="edge") for picture in luma] if below or right else luma

    def one_way(at: int) -> np.ndarray:
        pair = luma[at // 2], luma[at // 2 + 1]
        method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        if max(height, width) <= FINE_SIDE:
            method.setFinestScale(0)
        return method.calc(*(pair[::-1] if at % 2 else pair), None)[:height, :width].transpose(2, 0, 1)

    # DIS divides a picture into as many strips as OpenCV has threads, and finds another flow in each number of strips.
    count = 2 * (len(luma) - 1)
    with _one_thread_each(), ThreadPoolExecutor(max(1, min(cores.usable(), count))) as pool:
        found = list(pool.map(one_way, range(count)))
    return np.array(found, np.float32).reshape(-1, 2, 2, height, width)


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def warped(planes: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """What lies where the flow leads, between pixels by bilinear interpolation.

    Args:
        planes: float64 (P,C,H,W), of the later frame; height and width at least 2.
        flow: float64 (P,2,H,W), (x, y) in pixels, from the earlier frame to it.

    Returns:
        float64 (P,C,H,W) on the earlier frame's pixels, and bool (P,H,W): the flow leads to a place inside the picture.
        Outside of it the nearest border is taken.
    """
    height, width = planes.shape[-2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    places = torch.stack((2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1), dim=-1)
    return functional.grid_sample(planes, places, mode="bilinear", padding_mode="border", align_corners=True), inside


def seen_in_both(forward: Tensor, backward: Tensor) -> Tensor:
    """Where a pixel of the earlier frame is seen in the later one too: Ruder et al. 2016, as Lai et al. 2018 apply it.

    Left out are pixels whose way there and back does not end where it began (hidden), those at a border of motion, and
    those that leave the picture.

    Args:
        forward, backward: float64 (P,2,H,W), flow from the earlier frame to the later one and back.

    Returns:
        bool (P,H,W).
    """
    back, inside = warped(backward, forward)
    square = forward.square().sum(dim=1)
    hidden = (forward + back).square().sum(dim=1) > 0.01 * (square + back.square().sum(dim=1)) + 0.5
    slope = torch.zeros_like(square)
    slope[:, :, :-1] += (forward[:, :, :, 1:] - forward[:, :, :, :-1]).square().sum(dim=1)
    slope[:, :-1] += (forward[:, :, 1:] - forward[:, :, :-1]).square().sum(dim=1)
    return inside & ~hidden & ~(slope > 0.01 * square + 0.002)


# ----------------------------------------------------------------------------------------------- stretches


class TemporalMetrics:
    """All metrics of consecutive frames, fed stretch by stretch.

    Definitions, for a stretch of frames t:
        cdc: mean over channels of the Jensen-Shannon divergence (natural log) between the 256-bin histograms of frames t and
            t + s, mean over t, then over s = 1, 2, 4 (Liu et al. 2021, TCVC). Absent under five frames.
        cdc_excess: cdc - cdc_truth.
        warp_err: mean over pixels seen in both frames, and over channels, of (x[t-1] - W(x[t]))^2 with RGB in [0, 1] after
            rounding to 8 bits; mean over pairs (Lai et al. 2018). warp_err_ab: the same of ab / 110 as predicted, which is
            chroma alone.
        flicker_ab: mean of the length of the change of ab between neighbouring frames, in Lab units, over pixels whose true L*
            changes by less than 1 (ours).
        *_truth: the same of the truth, on the same pixels.
    """

    def __init__(self) -> None:
        self._running = _Stretch()
        self._ended: list[dict[str, float]] = []

    def update(self, predicted: Tensor, true: Tensor) -> dict[str, float]:
        """Measure a whole stretch, as one call of `add` and one of `end`."""
        self.add(predicted, true)
        return self.end()

    @torch.inference_mode()
    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Take the next frames of the stretch that is running; the first begin one.

        Args:
            predicted: Lab, floating point (N,3,H,W), as the model gave it.
            true: RGB, uint8 (N,3,H,W), on the same device.

        Raises:
            ValueError: shapes differ, also from the frames before, a picture is less than 2 pixels wide or high, or a value of
                the prediction is not finite.
        """
        if predicted.shape != true.shape:
            raise ValueError(f"predicted {tuple(predicted.shape)} and true {tuple(true.shape)} differ in shape")
        if min(true.shape[-2:]) < 2:
            raise ValueError(f"pictures of {tuple(true.shape[-2:])} are too small to move in")
        if not bool(torch.isfinite(predicted).all()):
            raise ValueError("a predicted value is not finite")
        together = max(1, _CHUNK // (true.shape[-2] * true.shape[-1]))
        for some, truth in zip(predicted.split(together), true.split(together), strict=True):
            self._running.add(some, truth)

    def end(self) -> dict[str, float]:
        """End the stretch that is running.

        Returns:
            Its figures; those that cannot be had are absent. Beside the names of `pooled`, `still`: how many pairs of still
            pixels its flicker is a mean over. Of fewer than two frames nothing, and such a stretch is not pooled.
        """
        figures, self._running = self._running.figures(), _Stretch()
        if figures:
            self._ended.append(figures)
        return figures

    def pooled(self) -> dict[str, float]:
        """The figures of all stretches that have ended; empty if there was none.

        cdc, warp_err and warp_err_ab: means over the stretches that have them, each counting alike, as published. flicker_ab:
        mean over all still pixels. motion_frames: frames of all stretches.
        """
        if not self._ended:
            return {}
        found: dict[str, float] = {"motion_frames": int(sum(figures["motion_frames"] for figures in self._ended))}
        for name in ("cdc", "cdc_truth", "cdc_excess", *_WARPED):
            if values := [figures[name] for figures in self._ended if name in figures]:
                found[name] = math.fsum(values) / len(values)
        still = sum(figures[STILL] for figures in self._ended)
        for name in ("flicker_ab", "flicker_ab_truth") if still else ():
            found[name] = math.fsum(figures[name] * figures[STILL] for figures in self._ended if figures[STILL]) / still
        return found


class _Stretch:
    """What is known of a stretch so far: a few numbers a frame, its last frame, and the histograms of the last four."""

    def __init__(self) -> None:
        self._frames = 0
        self._last: _Looks | None = None
        self._histograms: list[Tensor] = []
        self._divergences: dict[tuple[str, int], list[float]] = {}
        self._errors: dict[str, list[float]] = {name: [] for name in _WARPED}
        self._still: list[int] = []
        self._changes: dict[str, list[float]] = {"flicker_ab": [], "flicker_ab_truth": []}

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Take the next frames, all of which are looked at together."""
        if self._last is not None and self._last.rgb.shape[-2:] != true.shape[-2:]:
            raise ValueError(f"a frame of {tuple(true.shape[-2:])} follows one of {tuple(self._last.rgb.shape[-2:])}")
        lab, seen = rgb_to_lab(true), to_uint8(lab_to_rgb(predicted))
        looks = _Looks(torch.cat((seen, true), dim=1), torch.cat((predicted[:, 1:], lab[:, 1:]), dim=1).double(), lab[:, 0])
        self._frames += len(true)
        self._compare_histograms(torch.stack((histograms(seen), histograms(true)), dim=1).cpu())
        if self._last is not None:
            looks = _Looks(*(torch.cat(both) for both in zip(self._last, looks, strict=True)))
        self._last = _Looks(*(values[-1:] for values in looks))
        if len(looks.rgb) > 1:
            self._follow_motion(looks)
            self._look_for_flicker(looks)

    def _compare_histograms(self, found: Tensor) -> None:
        """Of the prediction and the truth, (N,2,3,256)."""
        for shares in found:
            self._histograms = [*self._histograms, shares][-max(STEPS) - 1 :]
            for step in STEPS:
                if len(self._histograms) > step:
                    values = divergence(self._histograms[-1 - step], shares).mean(dim=1).tolist()
                    for name, value in zip(("cdc", "cdc_truth"), values, strict=True):
                        self._divergences.setdefault((name, step), []).append(value)

    def _follow_motion(self, looks: _Looks) -> None:
        """Every picture along the truth's motion to the one after it."""
        planes = torch.cat((looks.rgb.double() / 255, looks.ab / AB_SCALE), dim=1)
        flow = torch.from_numpy(flows(looks.rgb[:, 3:].cpu().numpy())).to(planes.device).double()
        visible = seen_in_both(flow[:, 0], flow[:, 1])
        errors = (planes[:-1] - warped(planes[1:], flow[:, 0])[0]).square_() * visible.unsqueeze(1)
        for error, count in zip(errors.cpu().numpy(), visible.flatten(1).sum(dim=1).tolist(), strict=True):
            if count:
                for name, part in zip(_WARPED, np.split(error, (3, 6, 8)), strict=True):
                    self._errors[name].append(float(part.sum()) / (count * len(part)))

    def _look_for_flicker(self, looks: _Looks) -> None:
        """Every picture and the one after it where nothing moves."""
        still = (looks.lightness[1:] - looks.lightness[:-1]).abs() < STILL_L
        self._still.extend(still.flatten(1).sum(dim=1).tolist())
        changes = (looks.ab[1:] - looks.ab[:-1]).unflatten(1, (2, 2))
        lengths = torch.hypot(changes[:, :, 0], changes[:, :, 1]) * still.unsqueeze(1)
        for pair in lengths.cpu().numpy():
            for name, part in zip(self._changes, pair, strict=True):
                self._changes[name].append(float(part.sum()))

    def figures(self) -> dict[str, float]:
        """What `TemporalMetrics.end` tells."""
        if self._frames < 2:
            return {}
        found: dict[str, float] = {"motion_frames": self._frames, STILL: sum(self._still)}
        if self._frames > max(STEPS):
            for name in ("cdc", "cdc_truth"):
                found[name] = math.fsum(_mean(self._divergences[name, step]) for step in STEPS) / len(STEPS)
            found["cdc_excess"] = found["cdc"] - found["cdc_truth"]
        found |= {name: _mean(values) for name, values in self._errors.items() if values}
        if found[STILL]:
            found |= {name: math.fsum(values) / found[STILL] for name, values in self._changes.items()}
        return found


class _Looks(NamedTuple):
    """Consecutive frames as the measures take them, the prediction before the truth."""

    rgb: Tensor
    """uint8 (N,6,H,W)."""
    ab: Tensor
    """float64 (N,4,H,W), in Lab units."""
    lightness: Tensor
    """True L* (N,H,W)."""


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
