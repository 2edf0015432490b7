"""Distances between sets of frames: by hand, against torchmetrics and scipy, and what must hold for any pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor, nn
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from kinemacolor.metrics import features
from kinemacolor.metrics.features import FeaturePool, frechet, kernel_distance
from kinemacolor.models import encoders
from kinemacolor.models.encoders import Encoder


class Means(Encoder):
    """What can be followed by hand: the mean R, G and B of a picture, neither scaled nor normalised."""

    side, mean, std, classes = 12, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None

    def maps(self, x: Tensor) -> Tensor:
        return x


class Wide(Encoder):
    """Some features of every pixel."""

    side, classes = 12, None

    def __init__(self, dimension: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, dimension, 5, stride=3)

    def maps(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()


def _frames(seed: int, count: int, side: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randint(30, 200, (count, 3, 1, 1), generator=generator)
    return (colours + torch.randint(0, 40, (count, 3, side, side), generator=generator)).to(torch.uint8)


def _pooled(encoder: Encoder, predicted: Tensor, true: Tensor, *, batch: int = 7) -> dict[str, float]:
    pool = FeaturePool(encoder, "toy")
    for some, others in zip(predicted.split(batch), true.split(batch), strict=True):
        pool.update(some, others)
    return pool.pooled()


# ---------------------------------------------------------------------------------------------- by hand


def test_a_shift_of_all_colours_is_its_square() -> None:
    true = _frames(0, 20)
    found = _pooled(Means(), true + 10, true)
    assert found["fd_toy"] == pytest.approx(3 * (10 / 255) ** 2, abs=1e-9)
    assert found["kid_toy"] > 0


def test_a_case_by_hand() -> None:
    """One feature, two frames: truths 0 and 1, predictions 1 and 3. Variances 1/2 and 2, means 1/2 and 2."""
    true, predicted = (torch.tensor(rows, dtype=torch.float64)[:, None] for rows in ([0, 1], [1, 3]))
    first, second = ((rows.mean(dim=0), rows - rows.mean(dim=0)) for rows in (predicted, true))
    assert frechet(*first, *second) == pytest.approx(1.5**2 + (np.sqrt(2) - np.sqrt(0.5)) ** 2, abs=1e-12)
    # (x y + 1)^3 over the two ordered pairs i, j: 1 + 1 of the truth, 64 + 64, and crosswise (1 * 1 + 1)^3 and (3 * 0 + 1)^3.
    assert kernel_distance(predicted, true) == pytest.approx((2 * 1 + 2 * 64 - 2 * (8 + 1)) / 2, abs=1e-12)


def test_the_truth_itself_is_at_no_distance_and_one_frame_has_none() -> None:
    true = _frames(1, 9)
    found = _pooled(Wide(16), true, true)
    assert found == {"fd_toy": pytest.approx(0, abs=1e-9), "kid_toy": 0}
    assert _pooled(Wide(16), true[:1], true[:1]) == {}
    assert FeaturePool(Means(), "toy").pooled() == {}


def test_sets_are_compared_and_not_frames() -> None:
    """Coloured frames in another order are the same set, though no frame is right."""
    true = _frames(2, 40)
    found = _pooled(Wide(8), true.flip(0), true)
    assert found["fd_toy"] == pytest.approx(0, abs=1e-9)
    other = _pooled(Wide(8), (true // 2 + 90).flip(0), true)
    assert other["fd_toy"] > 0.1 and other["kid_toy"] > found["kid_toy"]


# -------------------------------------------------------------------------------- second implementations


@pytest.mark.parametrize("frames", [30, 200])
def test_frechet_distance_equals_torchmetrics_and_scipy(frames: int) -> None:
    """With fewer frames than features, and with more."""
    true, predicted = _frames(3, frames), _frames(4, frames) // 2 + 60
    encoder = Wide(48)
    ours = _pooled(encoder, predicted, true)["fd_toy"]
    one, other = (_seen(encoder, pictures) for pictures in (predicted, true))
    theirs = _compute_fid(*(torch.from_numpy(x) for y in (one, other) for x in (y.mean(axis=0), np.cov(y, rowvar=False))))
    assert ours == pytest.approx(theirs.item(), rel=1e-6)
    if frames > 48:  # the root of a matrix without full rank is not to be trusted
        root = linalg.sqrtm(np.cov(one, rowvar=False) @ np.cov(other, rowvar=False)).real
        traces = np.trace(np.cov(one, rowvar=False) + np.cov(other, rowvar=False) - 2 * root)
        assert ours == pytest.approx(np.square(one.mean(axis=0) - other.mean(axis=0)).sum() + traces, rel=1e-6)


def _seen(encoder: Encoder, pictures: Tensor) -> np.ndarray:
    with torch.no_grad():
        rgb = (pictures.float() / 255 - torch.tensor(encoder.mean)[:, None, None]) / torch.tensor(encoder.std)[:, None, None]
        return encoder.maps(rgb).mean(dim=(2, 3)).double().numpy()


def test_kernel_distance_equals_torchmetrics_but_for_the_pairs_own_terms() -> None:
    generator = np.random.default_rng(0)
    predicted, true = torch.from_numpy(generator.normal(size=(2, 50, 24)))
    cross = (predicted @ true.T / 24 + 1) ** 3
    own = float(2 * cross.sum() / 50**2 - 2 * (cross.sum() - cross.trace()) / (50 * 49))
    theirs = poly_mmd(predicted, true).item()
    assert kernel_distance(predicted, true) == pytest.approx(theirs + own, abs=1e-12)


def test_kernel_distance_is_free_of_bias_for_pairs() -> None:
    """Pairs that are nearly one, from one distribution: the mean over many small samples is nought."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(400):
        true, other = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
        found.append(kernel_distance(0.9 * true + math.sqrt(1 - 0.81) * other, true))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(400)


@pytest.mark.parametrize("architecture", ["mobilenet_v2", "alexnet"])
def test_features_are_the_means_of_the_networks_last_maps(architecture: str) -> None:
    """Though normalisations are folded into convolutions; the network itself stays as it was."""
    torch.manual_seed(2)
    encoder = encoders.frozen(encoders.build(architecture))
    encoder.side = 64
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    true = _frames(8, 3, side=64)
    pool = FeaturePool(encoder, "toy")
    pool.update(true, true)
    found = torch.stack(pool._kept)[:, 1].numpy()
    expected = _seen(encoder, true)
    assert found.shape == (3, {"mobilenet_v2": 1280, "alexnet": 256}[architecture])
    assert np.abs(found - expected).max() < 1e-4 * expected.std()
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


# ------------------------------------------------------------------------------------------- streaming


def test_neither_batches_nor_a_bounded_memory_change_the_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    true, predicted = _frames(5, 60), _frames(6, 60) // 2 + 40
    whole = _pooled(Wide(16), predicted, true, batch=60)
    assert _pooled(Wide(16), predicted, true, batch=1) == {name: pytest.approx(value, rel=1e-9) for name, value in whole.items()}
    monkeypatch.setattr(features, "SAMPLE", 20)
    sampled, again = (_pooled(Wide(16), predicted, true, batch=batch) for batch in (60, 7))
    assert sampled == {name: pytest.approx(value, rel=1e-9) for name, value in again.items()}
    assert sampled["fd_toy"] == pytest.approx(whole["fd_toy"], rel=1e-9), "of all frames, sampled or not"
    assert sampled["kid_toy"] == pytest.approx(whole["kid_toy"], rel=0.5) and sampled["kid_toy"] != whole["kid_toy"]


def test_a_sample_is_drawn_from_all_frames_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "SAMPLE", 40)
    true = torch.arange(200, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 12, 12)
    pool = FeaturePool(Means(), "toy")
    pool.update(true, true)
    kept = sorted(round(float(frame[1, 0]) * 255) for frame in pool._kept)
    assert len(set(kept)) == 40 and 75 < np.mean(kept) < 125 and kept[-1] > 160


def test_pictures_of_any_size_are_brought_to_the_networks() -> None:
    true = _frames(7, 5, side=30)
    assert _pooled(Means(), true, true)["fd_toy"] == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="differ in shape"):
        FeaturePool(Means(), "toy").update(true, true[:, :, :12])
