"""The area under the curve of ab errors: by hand, by the definition itself, and with classes found the long way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kinemacolor.colour import rgb_to_lab
from kinemacolor.metrics.auc import AucPool, true_class
from kinemacolor.models.bins import CENTRES


def _random(seed: int, *shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def _plain(colours: list[tuple[int, int, int]]) -> Tensor:
    """A picture of one row with these pixels, in Lab (1,3,1,n)."""
    return rgb_to_lab(torch.tensor(colours, dtype=torch.uint8).T.reshape(1, 3, 1, -1))


def _by_definition(error: np.ndarray, weight: np.ndarray) -> float:
    """Weighted share of pixels off by at most t, for t = 0 to 150, integrated by trapezia."""
    shares = [(weight * (error <= t)).sum() / weight.sum() for t in range(151)]
    return float(np.trapezoid(shares) / 150)


def test_a_case_by_hand() -> None:
    """Three grey pixels right, one red pixel off by 74.5: seen by t = 75 to 150, of which the last counts half."""
    true = _plain([(90, 90, 90)] * 3 + [(255, 0, 0)])
    predicted = true.clone()
    predicted[0, 1, 0, 3] -= 74.5
    pool = AucPool()
    assert pool.pooled() == {}
    rows = pool.update(predicted, true)
    red = 75.5 / 150
    assert rows.tolist() == [pytest.approx((3 + red) / 4, abs=1e-12)]
    assert pool.pooled() == {
        "auc_raw": pytest.approx((3 + red) / 4, abs=1e-12),
        "auc_rebal": pytest.approx((1 + red) / 2, abs=1e-12),
    }


@pytest.mark.parametrize(("off", "share"), [(0, 1), (0.5, 149.5 / 150), (1.5, 148.5 / 150), (149.5, 0.5 / 150), (150.5, 0)])
def test_what_a_pixel_adds(off: float, share: float) -> None:
    true = _plain([(128, 128, 128)] * 4)
    predicted = true.clone()
    predicted[:, 2] += off
    assert AucPool().update(predicted, true).tolist() == [pytest.approx(share, abs=1e-12)]


@given(st.integers(0, 2**31), st.floats(0, 2))
@settings(max_examples=15, deadline=None)
def test_equal_to_the_definition(seed: int, strength: float) -> None:
    true = rgb_to_lab(_random(seed, 3, 3, 8, 9))
    predicted = true + strength * (rgb_to_lab(_random(seed + 1, 3, 3, 8, 9)) - true)
    pool = AucPool()
    rows = np.concatenate([pool.update(predicted[:1], true[:1]).numpy(), pool.update(predicted[1:], true[1:]).numpy()])
    error = torch.hypot(*(predicted - true).double()[:, 1:].unbind(1)).reshape(3, -1)
    assert rows == pytest.approx([_by_definition(one, np.ones_like(one)) for one in error.numpy()], abs=1e-12)
    ab = true[:, 1:].permute(0, 2, 3, 1).reshape(-1, 2).double()
    classes = torch.cdist(ab, CENTRES.double()).argmin(dim=1)
    weight = 1 / np.bincount(classes, minlength=313)[classes]
    flat = error.reshape(-1).numpy()
    assert pool.pooled() == {
        "auc_raw": pytest.approx(_by_definition(flat, np.ones_like(flat)), abs=1e-12),
        "auc_rebal": pytest.approx(_by_definition(flat, weight), abs=1e-12),
    }


def test_the_class_of_a_true_colour_is_the_nearest_of_all_313() -> None:
    """Along the faces of the RGB cube, where sRGB's ab reaches furthest, and within."""
    steps = [*range(0, 256, 15)]
    faces = [
        colour for axis in range(3) for end in (0, 255) for colour in (
            (*pair[:axis], end, *pair[axis:]) for pair in itertools.product(steps, steps)
        )
    ]  # fmt: skip
    inside = _random(0, 3000, 3).tolist()
    ab = _plain([*faces, *map(tuple, inside)])[:, 1:]
    found = true_class(ab)[0, 0]
    distances = torch.cdist(ab[0, :, 0].T.double(), CENTRES.double())
    assert torch.allclose(distances.gather(1, found[:, None])[:, 0], distances.amin(dim=1), atol=1e-4)
    assert len(found.unique()) > 200


def test_common_colours_do_not_hide_rare_ones() -> None:
    """A network that leaves one red flower in a green meadow grey is good by pixels and middling by classes."""
    true = _plain([(40, 160, 40)] * 99 + [(230, 20, 20)])
    predicted = true.clone()
    predicted[..., 99] *= torch.tensor([1.0, 0, 0]).reshape(1, 3, 1)
    pool = AucPool()
    pool.update(predicted, true)
    found = pool.pooled()
    assert found["auc_raw"] > 0.99 and 0.6 < found["auc_rebal"] < 0.8
