"""Every metric against a published value, a second implementation, and what must hold for any pictures."""

from __future__ import annotations

import math
import warnings

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color, data
from skimage import metrics as skimage_metrics
from torch import Tensor

from kinemacolor.colour import lab_to_rgb, rgb_to_lab, to_uint8
from kinemacolor.metrics.pixel import PixelMetrics, ciede2000, colourfulness, mse_ab, mse_rgb_pm1, psnr_ab, psnr_rgb, ssim

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

# Computed once with numpy, OpenCV and scikit-image from the pictures that scikit-image brings (naive: a = b = 0, L kept):
# PSNR, MSE in [-1, 1], MSE of ab/128, mean CIEDE2000, area under the curve of ab errors, and the colourfulness of the picture
# itself, signed and absolute.
GOLDEN = {
    "astronaut": (17.80, 0.0663, 0.0298, 11.34, 0.8625, 72.61, 71.37),
    "coffee": (14.12, 0.1547, 0.0675, 21.36, 0.7132, 76.92, 76.78),
    "rocket": (22.31, 0.0235, 0.0119, 12.84, 0.8779, 38.56, 28.98),
    "cat": (19.40, 0.0459, 0.0186, 15.87, 0.8474, 37.96, 37.93),
}

# Sharma, Wu and Dalal 2005, table 1; the pairs about (2.49, .0010) stand on either side of a jump of the mean hue.
SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


def _picture(name: str) -> Tensor:
    return torch.from_numpy(getattr(data, name)()).permute(2, 0, 1).unsqueeze(0)


def _grey(true: Tensor) -> Tensor:
    lab = rgb_to_lab(true)
    lab[:, 1:] = 0
    return lab


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


pictures = arrays.arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(3), st.integers(11, 14), st.integers(11, 14))).map(
    torch.from_numpy
)


# ------------------------------------------------------------------------------------------------ golden values


@pytest.mark.parametrize("name", GOLDEN)
def test_naive_grey_has_its_golden_values(name: str) -> None:
    true = _picture(name)
    pool = PixelMetrics()
    pool.update(_grey(true), true)
    psnr, mse_rgb, mse_chroma, difference, area, cf, cf_abs = GOLDEN[name]
    found = pool.pooled()
    assert found["psnr_rgb"] == pytest.approx(psnr, abs=0.005)
    assert found["mse_rgb_pm1"] == pytest.approx(mse_rgb, abs=0.00005)
    assert found["mse_ab@128"] == pytest.approx(mse_chroma, abs=0.00005)
    assert found["de2000"] == pytest.approx(difference, abs=0.005)
    assert found["cf_truth"] == pytest.approx(cf, abs=0.005)
    assert found["cf_abs_truth"] == pytest.approx(cf_abs, abs=0.005)
    assert found["auc_raw"] == pytest.approx(area, abs=0.00005)
    assert found["psnr_ab"] == pytest.approx(10 * math.log10(255**2 / (mse_chroma * 128**2)), abs=0.02)
    assert max(found["cf"], found["cf_abs"]) < 0.2 and found["dcf"] == pytest.approx(cf, abs=0.2)


@pytest.mark.parametrize(("first", "second", "published"), SHARMA)
def test_ciede2000_of_the_published_pairs(first: tuple, second: tuple, published: float) -> None:
    one, other = (torch.tensor(lab, dtype=torch.float64).reshape(3, 1, 1) for lab in (first, second))
    assert ciede2000(one, other).item() == pytest.approx(published, abs=0.00005)
    assert ciede2000(other, one).item() == pytest.approx(published, abs=0.00005)


def test_psnr_of_a_published_error() -> None:
    assert 10 * math.log10(4 / 0.1780) == pytest.approx(13.52, abs=0.005)
    true = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    off = torch.full_like(true, 51)  # a fifth of the range: .4 in [-1, 1]
    assert mse_rgb_pm1(off, true).item() == pytest.approx(0.16, abs=1e-12)
    assert psnr_rgb(off, true).item() == pytest.approx(10 * math.log10(4 / 0.16), abs=1e-9)


def test_eight_bit_differences_do_not_wrap() -> None:
    bright, dark = torch.full((1, 3, 12, 12), 250, dtype=torch.uint8), torch.full((1, 3, 12, 12), 5, dtype=torch.uint8)
    assert psnr_rgb(bright, dark).item() == psnr_rgb(dark, bright).item() == pytest.approx(20 * math.log10(255 / 245))


# ------------------------------------------------------------------------------------- second implementations


def test_ciede2000_equals_scikit_image_on_random_and_neutral_colours() -> None:
    generator = np.random.default_rng(0)
    first, second = (generator.uniform((0, -110, -110), (100, 110, 110), (100, 100, 3)) for _ in range(2))
    first[:20, :, 1:] = 0
    second[10:30, :, 1:] = 0
    second[30:40] = first[30:40]
    ours = ciede2000(torch.from_numpy(first).permute(2, 0, 1), torch.from_numpy(second).permute(2, 0, 1))
    assert np.abs(ours.numpy() - color.deltaE_ciede2000(first, second)).max() < 1e-9


@pytest.fixture(scope="module")
def blurred() -> tuple[Tensor, Tensor]:
    """Eight crops of the astronaut and what is left of them after noise."""
    true = torch.cat([_picture("astronaut")[..., y : y + 96, x : x + 96] for y in (0, 200) for x in (0, 100, 200, 400)])
    noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(0)) * 12
    return (true + noise).round().clamp(0, 255).to(torch.uint8), true


def test_ssim_equals_torchmetrics_and_scikit_image(blurred: tuple[Tensor, Tensor]) -> None:
    predicted, true = blurred
    ours = ssim(predicted, true)
    _, everywhere = structural_similarity_index_measure(
        predicted.double(), true.double(), sigma=1.5, kernel_size=11, data_range=255.0, return_full_image=True
    )
    # Its own mean counts the borders too, where the window hangs over mirrored pixels; ours is the valid region.
    valid = everywhere[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    assert torch.allclose(ours, valid, atol=1e-9)
    for index in range(len(true)):
        value = skimage_metrics.structural_similarity(
            predicted[index].numpy(),
            true[index].numpy(),
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        )
        assert ours[index].item() == pytest.approx(value, abs=1e-9)


def test_pictures_too_large_to_be_measured_at_once_are_measured_alike() -> None:
    """In slabs of rows, of which SSIM's overlap."""
    true = _picture("astronaut")[..., :301, :]
    predicted = true // 2 + 50
    value = skimage_metrics.structural_similarity(
        predicted[0].numpy(), true[0].numpy(), channel_axis=0, gaussian_weights=True, use_sample_covariance=False, data_range=255
    )
    assert ssim(predicted, true).item() == pytest.approx(value, abs=1e-9)
    rows = PixelMetrics().update(rgb_to_lab(predicted), true)
    every = ciede2000(rgb_to_lab(predicted), rgb_to_lab(true)).flatten()
    assert rows["de2000"][0] == pytest.approx(every.mean().item(), rel=1e-9)
    assert abs(rows["de2000_p95"][0] - np.quantile(every, 0.95, method="inverted_cdf")) <= 0.005 + 1e-9


def test_psnr_equals_torchmetrics_and_scikit_image(blurred: tuple[Tensor, Tensor]) -> None:
    predicted, true = blurred
    ours = psnr_rgb(predicted, true)
    theirs = peak_signal_noise_ratio(predicted.double(), true.double(), data_range=255.0, dim=(1, 2, 3), reduction="none")
    assert torch.allclose(ours, theirs, atol=1e-9)
    first = skimage_metrics.peak_signal_noise_ratio(true[0].numpy(), predicted[0].numpy(), data_range=255)
    assert ours[0].item() == pytest.approx(first, abs=1e-9)


def test_colourfulness_equals_the_paper_in_numpy() -> None:
    rgb = _random(3, 5, 3, 20, 30)
    rgb[0, 0] //= 4  # mostly greener than red, so that signed and absolute differ much
    for picture, *ours in zip(rgb.numpy().astype(np.float64), *(found.tolist() for found in colourfulness(rgb)), strict=True):
        red, green, blue = picture
        rg, yb = red - green, 0.5 * (red + green) - blue
        for found, (one, other) in zip(ours, ((rg, yb), (np.abs(rg), np.abs(yb))), strict=True):
            assert found == pytest.approx(
                math.hypot(one.std(), other.std()) + 0.3 * math.hypot(one.mean(), other.mean()), abs=1e-9
            )


def test_psnr_of_ab_by_hand() -> None:
    lab = rgb_to_lab(_random(4, 2, 3, 12, 12))
    found = psnr_ab(lab + torch.tensor([7.0, 3.0, 4.0]).reshape(3, 1, 1), lab)
    assert found.tolist() == pytest.approx([10 * math.log10(255**2 / 12.5)] * 2, abs=1e-5)
    assert psnr_ab(lab, lab).tolist() == [100, 100]


def test_quantiles_are_those_of_all_pixels_to_half_a_hundredth() -> None:
    true = torch.cat([_picture("coffee")[..., y : y + 64, :64] for y in range(0, 320, 64)])
    predicted = _grey(true)
    pool = PixelMetrics()
    pool.update(predicted, true)
    every = ciede2000(predicted, rgb_to_lab(true)).flatten().numpy()
    found = pool.pooled()
    for key, share in (("de2000_p50", 0.5), ("de2000_p95", 0.95)):
        assert abs(found[key] - np.quantile(every, share, method="inverted_cdf")) <= 0.005 + 1e-9
    assert found["de2000"] == pytest.approx(every.mean(), abs=1e-9)


# -------------------------------------------------------------------------------------------------- properties


@given(pictures)
@settings(max_examples=25, deadline=None)
def test_the_truth_itself_is_perfect(true: Tensor) -> None:
    pool = PixelMetrics()
    pool.update(rgb_to_lab(true), true)
    found = pool.pooled()
    perfect = {"mse_rgb_pm1": 0, "mse_ab@128": 0, "psnr_rgb": 100, "psnr_ab": 100, "auc_raw": 1, "auc_rebal": 1}
    perfect |= {"de2000": 0, "de2000_p95": 0, "dcf": 0, "dcf_mean_abs": 0}
    assert {name: found[name] for name in perfect} == perfect
    assert found["ssim"] == pytest.approx(1, abs=1e-12)
    assert found["frames"] == len(true)


@given(st.integers(0, 2**31), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_pooling_depends_neither_on_batches_nor_on_order(seed: int, batches: list[int], random) -> None:
    count = sum(batches)
    true, predicted = _random(seed, count, 3, 12, 13), rgb_to_lab(_random(seed + 1, count, 3, 12, 13))
    whole = PixelMetrics()
    rows = whole.update(predicted, true)

    order = list(range(count))
    random.shuffle(order)
    parts, at = PixelMetrics(), 0
    for size in batches:
        chosen = order[at : at + size]
        values = parts.update(predicted[chosen], true[chosen])
        for name in rows:
            _assert_close(name, values[name], rows[name][chosen])
        at += size
    expected = whole.pooled()
    for name, value in parts.pooled().items():
        _assert_close(name, value, expected[name])


def _assert_close(name: str, value: np.ndarray | float, expected: np.ndarray | float) -> None:
    """Equal but for the last bit of float32: torch's powers differ between whole vectors and what is left over of them."""
    step = 0.0101 if name in ("de2000_p50", "de2000_p95") else 1e-9  # a pixel may fall into the next hundredth
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=step)


def test_pixels_count_alike_where_pictures_differ_in_size() -> None:
    small, large = _random(0, 1, 3, 12, 12), _random(1, 1, 3, 24, 36)
    pool, errors = PixelMetrics(), []
    for true in (small, large):
        predicted = _grey(true)
        pool.update(predicted, true)
        errors.append((to_uint8(lab_to_rgb(predicted)).double() / 127.5 - true.double() / 127.5).square().flatten())
    assert pool.pooled()["mse_rgb_pm1"] == pytest.approx(torch.cat(errors).mean().item(), rel=1e-12)


@given(st.floats(-40, 40), st.floats(-40, 40))
@settings(max_examples=20, deadline=None)
def test_a_shift_of_chroma_shows_as_its_size_and_leaves_lightness_alone(a: float, b: float) -> None:
    true = _random(5, 2, 3, 12, 12)
    lab = rgb_to_lab(true)
    shifted = lab + torch.tensor([0, a, b]).reshape(3, 1, 1)
    expected = (a * a + b * b) / 2
    assert mse_ab(shifted, lab, scale=1.0).tolist() == pytest.approx([expected] * 2, rel=1e-3, abs=1e-8)
    assert mse_ab(shifted, lab, scale=128.0).tolist() == pytest.approx([expected / 128**2] * 2, rel=1e-3, abs=1e-12)


def test_a_shift_of_lightness_moves_rgb_and_not_ab() -> None:
    true = torch.full((1, 3, 16, 16), 119, dtype=torch.uint8)
    lab = rgb_to_lab(true)
    lab[:, 0] += 5
    rows = PixelMetrics().update(lab, true)
    assert rows["mse_ab@128"][0] == 0 and rows["psnr_ab"][0] == 100 and rows["auc_raw"][0] == 1
    assert rows["mse_rgb_pm1"][0] > 0 and rows["psnr_rgb"][0] < 40
    off = lab[0, 0, 0, 0].item() - 2.5 - 50  # mean lightness of both, from the middle of the range
    assert rows["de2000"][0] == pytest.approx(5 / (1 + 0.015 * off**2 / math.sqrt(20 + off**2)), rel=1e-5)


def test_each_known_change_moves_its_own_figures_and_no_other() -> None:
    """Colours of the right amounts in the wrong places leave colourfulness; a bleached picture does not; grey keeps L alone."""
    true = torch.cat([_picture("coffee")[..., y : y + 64, 100:164] for y in (0, 150, 300)])
    lab = rgb_to_lab(true)

    def found(predicted: Tensor) -> dict[str, float]:
        pool = PixelMetrics()
        pool.update(predicted, true)
        return pool.pooled()

    same, moved, grey = found(lab), found(lab.roll(9, -1)), found(_grey(true))
    assert moved["cf"] == pytest.approx(same["cf"], abs=1e-9) and moved["cf_abs"] == pytest.approx(same["cf_abs"], abs=1e-9)
    assert moved["dcf"] == pytest.approx(0, abs=1e-9) and moved["dcf_mean_abs"] == pytest.approx(0, abs=1e-9)
    for name in ("mse_rgb_pm1", "mse_ab@128", "de2000"):
        assert moved[name] > same[name] + 1e-4
    for name in ("psnr_rgb", "psnr_ab", "ssim", "auc_raw", "auc_rebal"):
        assert moved[name] < same[name] - 1e-4
    bleached = lab.clone()
    bleached[:, 1:] *= 0.5
    half = found(bleached)
    assert same["cf"] > half["cf"] > grey["cf"] and 0 < half["dcf"] < grey["dcf"]
    assert grey["mse_ab@128"] == pytest.approx(4 * half["mse_ab@128"], rel=1e-5)
    assert grey["psnr_ab"] == pytest.approx(half["psnr_ab"] - 20 * math.log10(2), abs=1e-5)
    assert grey["auc_raw"] < half["auc_raw"] < 1


def test_ab_is_judged_as_predicted_and_rgb_as_shown() -> None:
    """Chroma beyond the gamut costs in ab, though the screen cannot show it."""
    true = torch.zeros(1, 3, 12, 12, dtype=torch.uint8)
    true[:, 1] = 255
    predicted = rgb_to_lab(true)
    predicted[:, 1] -= 30
    rows = PixelMetrics().update(predicted, true)
    assert rows["mse_ab@128"][0] == pytest.approx(30**2 / 2 / 128**2, rel=1e-5)
    assert rows["mse_rgb_pm1"][0] < rows["mse_ab@128"][0]


def test_nothing_measured_gives_nothing_and_bad_input_is_refused() -> None:
    pool = PixelMetrics()
    assert pool.pooled() == {}
    true = _random(0, 1, 3, 12, 12)
    with pytest.raises(ValueError, match="shape"):
        pool.update(torch.zeros(1, 3, 12, 13), true)
    with pytest.raises(ValueError, match="finite"):
        pool.update(torch.full((1, 3, 12, 12), math.nan), true)
    with pytest.raises(ValueError, match="11x11"):
        pool.update(torch.zeros(1, 3, 10, 12), true[:, :, :10])
    assert pool.pooled() == {}
