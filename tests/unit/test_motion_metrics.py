"""Metrics of consecutive frames against second implementations, cases worked out by hand, and known shifts and flickers."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import jensenshannon

from kinemacolor.colour import lab_to_rgb, rgb_to_lab, to_uint8
from kinemacolor.metrics.names import METRICS
from kinemacolor.metrics.temporal import TemporalMetrics, divergence, flows, histograms, seen_in_both, warped

NAMES = {name for name, entry in METRICS.items() if entry.of == "motion"}


def camera(frames: int, *, size: int = 64, step: tuple[int, int] = (1, 2)) -> np.ndarray:
    """uint8 (N,3,size,size): a window that moves over a photograph by `step` (down, right) pixels a frame."""
    large = cv2.resize(skimage.data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
    rows, columns = ([40 + one * number for number in range(frames)] for one in step)
    return np.stack([large[:, y : y + size, x : x + size] for y, x in zip(rows, columns, strict=True)])


def standing(frames: int, *, size: int = 64) -> np.ndarray:
    return camera(frames, size=size, step=(0, 0))


def tensors(true: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """A perfect prediction, and the truth."""
    truth = torch.from_numpy(np.ascontiguousarray(true))
    return rgb_to_lab(truth), truth


# ------------------------------------------------------------------------------------------- distributions


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.02, 1.0, 20.0]))
@settings(max_examples=30, deadline=None)
def test_divergence_is_that_of_scipy(seed: int, evenness: float) -> None:
    shares = np.random.default_rng(seed).dirichlet(np.full(256, evenness), 2)
    shares[shares < 1e-6] = 0
    shares /= shares.sum(axis=1, keepdims=True)
    ours = divergence(*torch.from_numpy(shares))
    assert float(ours) == pytest.approx(jensenshannon(*shares) ** 2, abs=1e-12)


def test_divergence_of_equal_and_of_disjoint_distributions() -> None:
    first = torch.tensor([0.25, 0.75, 0.0, 0.0], dtype=torch.float64)
    assert float(divergence(first, first)) == 0
    assert float(divergence(first, first.flip(0))) == pytest.approx(0.693147, abs=1e-6)


def test_histograms_are_those_of_numpy() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 3, 9, 11), dtype=np.uint8)
    pictures[1] = 7
    ours = histograms(torch.from_numpy(pictures))
    theirs = [[np.bincount(channel.ravel(), minlength=256) / 99 for channel in picture] for picture in pictures]
    assert ours.shape == (4, 3, 256) and np.array_equal(ours.numpy(), np.array(theirs))


def test_cdc_is_that_of_a_second_implementation() -> None:
    true = camera(9)
    predicted = rgb_to_lab(torch.from_numpy(np.ascontiguousarray(camera(9, step=(2, 1))[::-1])))
    found = TemporalMetrics().update(predicted, torch.from_numpy(true))

    def cdc(pictures: np.ndarray) -> float:
        shares = [[np.histogram(channel, 256, (0, 256))[0] / channel.size for channel in picture] for picture in pictures]
        of_steps = []
        for step in (1, 2, 4):
            pairs = [(shares[t][c], shares[t + step][c]) for t in range(len(shares) - step) for c in range(3)]
            of_steps.append(np.mean([jensenshannon(*pair) ** 2 for pair in pairs]))
        return float(np.mean(of_steps))

    assert found["cdc_truth"] == pytest.approx(cdc(true), abs=1e-12)
    assert found["cdc"] == pytest.approx(cdc(to_uint8(lab_to_rgb(predicted)).numpy()), abs=1e-12)
    assert found["cdc_excess"] == found["cdc"] - found["cdc_truth"]


def test_cdc_of_two_colours_that_take_turns() -> None:
    # Every histogram is a single bin: neighbours are apart (ln 2), frames two and four apart are equal.
    colours = torch.tensor([[200, 60, 20], [20, 160, 220]], dtype=torch.uint8)[torch.arange(7) % 2]
    frames = colours[:, :, None, None].expand(-1, -1, 16, 16).contiguous()
    found = TemporalMetrics().update(rgb_to_lab(frames), frames[:1].expand(7, -1, -1, -1).contiguous())
    assert found["cdc"] == pytest.approx(math.log(2) / 3, abs=1e-12) and found["cdc_truth"] == 0
    assert found["cdc_excess"] == found["cdc"]


# --------------------------------------------------------------------------------------------------- motion


def test_warping_by_whole_pixels_is_a_copy_and_says_what_leaves_the_picture() -> None:
    planes = torch.arange(2 * 3 * 5 * 6, dtype=torch.float64).view(2, 3, 5, 6)
    flow = torch.tensor([2.0, -1.0], dtype=torch.float64).view(1, 2, 1, 1).expand(2, 2, 5, 6)
    found, inside = warped(planes, flow)
    assert torch.allclose(found[:, :, 1:, :4], planes[:, :, :4, 2:], rtol=0, atol=1e-12)
    expected = torch.zeros(5, 6, dtype=torch.bool)
    expected[1:, :4] = True
    assert torch.equal(inside, expected.expand(2, -1, -1))
    same, all_inside = warped(planes, torch.zeros_like(flow))
    assert torch.allclose(same, planes, rtol=0, atol=1e-12) and bool(all_inside.all())


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_warping_between_pixels_is_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    planes, flow = rng.random((1, 2, 7, 9)), rng.uniform(-4, 4, (1, 2, 7, 9))
    found, inside = warped(torch.from_numpy(planes), torch.from_numpy(flow))
    y, x = np.mgrid[:7, :9] + flow[0, ::-1]
    for ours, plane in zip(found[0].numpy(), planes[0], strict=True):
        assert np.allclose(ours, map_coordinates(plane, [y, x], order=1, mode="nearest"), atol=1e-12)
    assert np.array_equal(inside[0].numpy(), (x >= 0) & (x <= 8) & (y >= 0) & (y <= 6))


@pytest.mark.parametrize("step", [(0, 1), (2, 3), (-1, -4)])
def test_flow_of_a_known_shift(step: tuple[int, int]) -> None:
    # What the window moves over goes the other way.
    found = flows(camera(2, step=step))
    down, right = step
    inner = found[0, :, :, 12:-12, 12:-12].reshape(2, 2, -1)
    assert np.abs(np.median(inner[0], axis=1) - (-right, -down)).max() < 0.1
    assert np.abs(np.median(inner[1], axis=1) - (right, down)).max() < 0.1
    assert found.shape == (1, 2, 2, 64, 64) and found.dtype == np.float32


def test_what_is_seen_in_both_frames() -> None:
    forward = torch.zeros(1, 2, 8, 10, dtype=torch.float64)
    assert bool(seen_in_both(forward, forward).all())
    forward[:, 0] = 1.0
    backward = -forward
    seen = seen_in_both(forward, backward)
    assert bool(seen[..., :9].all()) and not bool(seen[..., 9].any()), "the last column leaves the picture"
    # There and back ends elsewhere: 2^2 > .01 (1 + 1) + .5 where the way back is another.
    backward[:, 0, 3, 5] = 1.0
    seen = seen_in_both(forward, backward)
    assert not bool(seen[0, 3, 4]) and int((~seen).sum()) == 8 + 1
    # A border of motion: the difference of neighbours, 1^2 > .01 * 1^2 + .002.
    step = torch.zeros(1, 2, 8, 10, dtype=torch.float64)
    step[:, 0, :, :4] = -1.0
    assert not bool(seen_in_both(step, -step)[0, :, 3].any())


def lai(first: np.ndarray, second: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> float | None:
    """The warping error of one pair as Lai et al. define it, pixel by pixel: (C,H,W) floats and flows (2,H,W)."""
    height, width = first.shape[1:]

    def look(planes: np.ndarray, y: float, x: float) -> np.ndarray:
        top, left = min(int(y), height - 2), min(int(x), width - 2)
        b, a = y - top, x - left
        upper = planes[:, top, left] * (1 - a) + planes[:, top, left + 1] * a
        return upper * (1 - b) + (planes[:, top + 1, left] * (1 - a) + planes[:, top + 1, left + 1] * a) * b

    errors = []
    for y in range(height):
        for x in range(width):
            u, v = forward[:, y, x].astype(float)
            if not (0 <= x + u <= width - 1 and 0 <= y + v <= height - 1):
                continue
            back = look(backward.astype(float), y + v, x + u)
            size, back_size = u * u + v * v, float((back**2).sum())
            if (u + back[0]) ** 2 + (v + back[1]) ** 2 > 0.01 * (size + back_size) + 0.5:
                continue
            slope = 0.0
            for dy, dx in ((0, 1), (1, 0)):
                if y + dy < height and x + dx < width:
                    slope += float(((forward[:, y + dy, x + dx].astype(float) - (u, v)) ** 2).sum())
            if slope > 0.01 * size + 0.002:
                continue
            errors.append(((first[:, y, x] - look(second, y + v, x + u)) ** 2).mean())
    return float(np.mean(errors)) if errors else None


def test_warping_errors_are_those_of_a_plain_loop() -> None:
    true = camera(3, size=24)
    noise = np.random.default_rng(3).normal(0, 6, (3, 3, 24, 24))
    predicted = rgb_to_lab(torch.from_numpy(true)) + torch.from_numpy(noise).float()
    found = TemporalMetrics().update(predicted, torch.from_numpy(true))
    lab, seen = rgb_to_lab(torch.from_numpy(true)).double().numpy(), to_uint8(lab_to_rgb(predicted)).numpy()
    flow = flows(true)
    for name, planes in {
        "warp_err": seen / 255,
        "warp_err_truth": true / 255,
        "warp_err_ab": predicted[:, 1:].double().numpy() / 110,
        "warp_err_ab_truth": lab[:, 1:] / 110,
    }.items():
        pairs = [lai(planes[t], planes[t + 1], *flow[t]) for t in range(2)]
        assert None not in pairs and found[name] == pytest.approx(np.mean(pairs), rel=1e-9), name


def test_colours_that_move_along_err_less_than_colours_that_stay() -> None:
    true = camera(6)
    lab, truth = tensors(true)
    along = TemporalMetrics().update(lab, truth)
    unmoved = ((true[1:] / 255.0 - true[:-1] / 255.0) ** 2).mean()
    assert along["warp_err_truth"] < 0.1 * unmoved
    staying = torch.cat((lab[:, :1], lab[:1, 1:].expand(6, -1, -1, -1)), dim=1)
    behind = TemporalMetrics().update(staying, truth)
    assert behind["warp_err_ab"] > 10 * along["warp_err_ab"] and behind["warp_err_ab_truth"] == along["warp_err_ab_truth"]


# -------------------------------------------------------------------------------- the right metric, and no other


def test_a_perfect_prediction_is_as_steady_as_the_truth() -> None:
    found = TemporalMetrics().update(*tensors(camera(8)))
    assert set(found) == NAMES | {"motion_frames", "still"} and found["cdc_excess"] == 0
    for name in ("warp_err", "warp_err_ab", "flicker_ab", "cdc"):
        assert found[name] == found[f"{name}_truth"], name


def test_a_grey_film_does_not_flicker() -> None:
    lab, truth = tensors(camera(8))
    lab[:, 1:] = 0
    found = TemporalMetrics().update(lab, truth)
    assert found["flicker_ab"] == 0 and found["warp_err_ab"] == 0
    assert found["flicker_ab_truth"] > 0 and found["warp_err_ab_truth"] > 0 and found["cdc"] > 0, "it moves"


def test_a_known_flicker_is_measured_and_a_steady_error_is_not() -> None:
    lab, truth = tensors(standing(8))
    steady = lab.clone()
    steady[:, 1] += 9
    found = TemporalMetrics().update(steady, truth)
    assert found["flicker_ab"] == 0 and found["cdc"] == 0
    assert found["warp_err"] == pytest.approx(0, abs=1e-20) and found["warp_err_ab"] == pytest.approx(0, abs=1e-20)
    flickering = lab.clone()
    flickering[::2, 1] += 3
    flickering[::2, 2] -= 4
    found = TemporalMetrics().update(flickering, truth)
    assert found["flicker_ab"] == pytest.approx(5, abs=1e-4) and found["flicker_ab_truth"] == 0
    assert found["warp_err_ab"] == pytest.approx((3**2 + 4**2) / 2 / 110**2, rel=1e-4)
    assert found["warp_err_ab_truth"] == pytest.approx(0, abs=1e-20)
    assert found["still"] == 7 * 64 * 64 and found["cdc_excess"] > 0


def test_flicker_is_of_pixels_that_stand_still_in_the_truth() -> None:
    lab, truth = tensors(standing(3))
    truth = truth.clone()
    truth[1, :, :16] = 255 - truth[1, :, :16]  # its light changes there
    changed = (rgb_to_lab(truth)[1:, 0] - rgb_to_lab(truth)[:-1, 0]).abs() >= 1
    flickering = lab.clone()
    flickering[1, 1, :16] += 50
    flickering[1, 1, 16:] += 2
    found = TemporalMetrics().update(flickering, truth)
    assert found["still"] == int((~changed).sum()) < 2 * 64 * 64
    where = torch.where(torch.arange(64)[:, None] < 16, 50.0, 2.0).expand(2, 64, 64)
    assert found["flicker_ab"] == pytest.approx(float(where[~changed].mean()), rel=1e-5)


# ------------------------------------------------------------------------------------------------- streaming


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.sampled_from([1, 2]))
@settings(max_examples=12, deadline=None)
def test_neither_calls_nor_threads_change_a_bit(sizes: list[int], threads: int) -> None:
    count = sum(sizes)
    lab, truth = tensors(camera(count, size=32))
    lab = lab + torch.from_numpy(np.random.default_rng(1).normal(0, 3, lab.shape)).float()
    whole, parts = TemporalMetrics(), TemporalMetrics()
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        expected = whole.update(lab, truth)
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        for some, true in zip(lab.split(sizes), truth.split(sizes), strict=True):
            parts.add(some, true)
        assert parts.end() == expected and parts.pooled() == whole.pooled()
        assert cv2.getNumThreads() == threads, "it is left as it was"
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def test_stretches_are_pooled_each_alike_and_flicker_by_still_pixels() -> None:
    pool = TemporalMetrics()
    first_lab, first = tensors(camera(9))
    second_lab, second = tensors(standing(3))
    second_lab[1, 1] += 8
    one, other = pool.update(first_lab, first), pool.update(second_lab, second)
    alone = pool.update(*tensors(camera(1)))
    assert alone == {} and "cdc" not in other, "one frame does not move, and three have none four apart"
    found = pool.pooled()
    assert found["motion_frames"] == 12 and found["cdc"] == one["cdc"] and found["cdc_excess"] == 0
    for name in ("warp_err", "warp_err_truth", "warp_err_ab", "warp_err_ab_truth"):
        assert found[name] == pytest.approx((one[name] + other[name]) / 2, rel=1e-12)
    assert other["flicker_ab"] == pytest.approx(8, abs=1e-4)
    still = one["still"] + other["still"]
    expected = (one["flicker_ab"] * one["still"] + other["flicker_ab"] * other["still"]) / still
    assert found["flicker_ab"] == pytest.approx(expected, rel=1e-12)
    assert TemporalMetrics().pooled() == {} and set(found) == NAMES | {"motion_frames"}


def test_where_nothing_stands_still_there_is_no_flicker() -> None:
    frames = torch.full((3, 3, 16, 16), 20, dtype=torch.uint8)
    frames[1] = 220
    found = TemporalMetrics().update(rgb_to_lab(frames), frames)
    assert found["still"] == 0 and "flicker_ab" not in found


@pytest.mark.parametrize("shape", [(11, 11), (12, 40), (5, 3)])
def test_small_pictures_move_too(shape: tuple[int, int]) -> None:
    height, width = shape
    found = TemporalMetrics().update(*tensors(camera(5)[:, :, :height, :width]))
    assert found["cdc_excess"] == 0 and found["motion_frames"] == 5


def test_what_does_not_fit_is_refused() -> None:
    lab, truth = tensors(camera(4))
    with pytest.raises(ValueError, match="differ in shape"):
        TemporalMetrics().update(lab[:2], truth)
    with pytest.raises(ValueError, match="not finite"):
        TemporalMetrics().update(lab.masked_fill(lab > 50, float("nan")), truth)
    with pytest.raises(ValueError, match="too small to move in"):
        TemporalMetrics().update(lab[..., :1], truth[..., :1])
    pool = TemporalMetrics()
    pool.add(lab, truth)
    with pytest.raises(ValueError, match=r"a frame of \(32, 64\) follows one of \(64, 64\)"):
        pool.add(lab[:, :, :32], truth[:, :, :32])
