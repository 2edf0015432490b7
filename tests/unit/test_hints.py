"""Colour hints: as made up in training, and as a person gives them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames.hints import hints_from_points, shown_by_srgb, simulate_hints
from kinemacolor.params import Hints


def pictures(count, height=24, width=24):
    return rgb_to_lab(torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)))


def simulated(lab, seed=0, **settings):
    return simulate_hints(lab, Hints(**settings), np.random.default_rng(seed))


# --------------------------------------------------------------------------------------------- made up


def test_hints_of_one_pixel_are_the_truth_there_and_nought_elsewhere():
    lab = pictures(50)
    hints = simulated(lab, patch=1, reveal=0)
    assert hints.shape == (50, 3, 24, 24) and hints.dtype == torch.float32
    mask = hints[:, 2:]
    assert set(mask.unique().tolist()) == {0, 1}
    assert torch.allclose(hints[:, :2], lab[:, 1:] * mask)


def test_a_hint_is_a_square_with_the_mean_of_the_true_colours():
    lab = pictures(400)
    hints = simulated(lab, stop=0.5, reveal=0)
    alone = 0
    for truth, hint in zip(lab, hints, strict=True):
        rows, columns = hint[2].nonzero().T.unbind() if hint[2].any() else (None, None)
        colours = {tuple(one) for one in hint[:2, hint[2] > 0].T.tolist()}
        if rows is None or len(colours) > 1:
            continue
        alone += 1
        top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
        assert bottom - top == right - left <= 9 and hint[2, top:bottom, left:right].all()
        mean = truth[1:, top:bottom, left:right].mean(dim=(1, 2)).tolist()
        assert next(iter(colours)) == pytest.approx(mean, abs=1e-3)
    assert alone > 80


def test_a_later_hint_covers_an_earlier_one_so_that_every_pixel_has_one_colour():
    lab = pictures(20, 8, 8)
    hints = simulated(lab, stop=0.02, patch=4, reveal=0)
    masked = hints[:, 2] > 0
    assert masked.float().mean() > 0.5
    inside = hints.permute(0, 2, 3, 1)[masked][:, :2]
    assert inside.min() >= lab[:, 1:].min() and inside.max() <= lab[:, 1:].max()


def test_how_many_how_large_and_where_follow_the_paper():
    """One-pixel hints: geometric count of mean 7, none for an eighth; places Gaussian around the middle."""
    hints = simulated(pictures(1, 96, 64).expand(2000, -1, -1, -1), patch=1, reveal=0)
    found = hints[:, 2].sum(dim=(1, 2))
    assert (found == 0).float().mean().item() == pytest.approx(1 / 8, abs=0.02)
    assert found.mean().item() == pytest.approx(7, abs=0.4), "a few hints fall onto each other"
    _, y, x = hints[:, 2].nonzero().T
    assert y.float().mean().item() == pytest.approx(48, abs=1.5) and x.float().mean().item() == pytest.approx(32, abs=1)
    # A Gaussian of a quarter of the size, clipped at two sigma, has .955 of that spread within.
    assert y.float().std().item() == pytest.approx(24, rel=0.06) and x.float().std().item() == pytest.approx(16, rel=0.06)


def test_sides_are_uniform():
    hints = simulated(pictures(1, 64, 64).expand(3000, -1, -1, -1), stop=0.5, reveal=0)
    area = hints[:, 2].sum(dim=(1, 2))
    one = [round(value**0.5) for value in area.tolist() if value in {side**2 for side in range(1, 10)}]
    shares = np.bincount(one, minlength=10)[1:] / len(one)
    assert shares == pytest.approx(np.full(9, 1 / 9), abs=0.05)


def test_some_pictures_are_revealed_whole():
    lab = pictures(1).expand(2000, -1, -1, -1)
    hints = simulated(lab, reveal=0.1)
    whole = (hints[:, 2] == 1).all(dim=(1, 2))
    assert whole.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(hints[whole][:, :2], lab[whole][:, 1:])
    assert (simulated(lab[:5], reveal=1.0)[:, 2] == 1).all()
    assert not simulated(lab[:5], stop=1.0, reveal=0).any()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32), st.integers(1, 30))
def test_any_size_of_picture_and_patch_gives_finite_hints_that_follow_from_the_seed(height, width, seed, patch):
    lab = pictures(3, height, width)
    hints = simulated(lab, seed, patch=patch, reveal=0.2)
    assert hints.shape == lab.shape and torch.isfinite(hints).all()
    assert torch.equal(hints[:, :2] * (1 - hints[:, 2:]), torch.zeros(3, 2, height, width))
    assert torch.equal(hints, simulated(lab, seed, patch=patch, reveal=0.2))


# ---------------------------------------------------------------------------------------------- by hand


def test_points_become_squares_and_later_ones_cover_earlier_ones():
    hints = hints_from_points([(10, 5, 20, -30), (10, 7, 40, 10, 0), (0, 31, -20, 20, 1)], 24, 32)
    assert hints.shape == (1, 3, 24, 32) and hints.dtype == torch.float32
    assert hints[0, 2].sum() == 25 + 4, "five by five; one that lies in it; a corner of three by three"
    assert hints[0, :, 8, 3].tolist() == hints[0, :, 12, 7].tolist() == [20, -30, 1]
    assert hints[0, :, 10, 7].tolist() == [40, 10, 1]
    assert hints[0, :, 1, 30].tolist() == hints[0, :, 0, 31].tolist() == [-20, 20, 1]
    assert hints[0, :, 8, 8].tolist() == [0, 0, 0]
    assert not hints_from_points([], 8, 8).any()


@pytest.mark.parametrize(
    ("point", "sentence"),
    [
        ((24, 0, 0, 0), r"Hint 2 lies outside the picture \(y 24, x 0 of 24x32\): give y from 0 to 23 and x from 0 to 31\."),
        ((0, -1, 0, 0), r"Hint 2 lies outside the picture"),
        ((0, 0, 120, 0), r"Hint 2 asks for a colour that no screen shows \(a 120, b 0\)"),
        ((0, 0, -86, -107), r"no screen shows"),
        ((0, 0, float("nan"), 0), r"Hint 2 \(.*nan.*\) is not four or five numbers"),
        ((0, 0, 10), r"is not four or five numbers"),
        ((0, 0, 10, 10, -1), r"is not four or five numbers"),
        ((0, 0, "red", 10), r"is not four or five numbers"),
        (7, r"is not four or five numbers"),
    ],
)
def test_hints_that_cannot_be_are_refused_in_one_sentence(point, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        hints_from_points([(1, 1, 5, 5), point], 24, 32)
    assert "\n" not in str(refused.value)


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_every_colour_of_srgb_may_be_asked_for(rgb):
    _, a, b = rgb_to_lab(torch.tensor(rgb, dtype=torch.uint8)[:, None, None]).flatten().tolist()
    assert shown_by_srgb(a, b)


def test_the_corners_of_the_gamut_may_be_asked_for_and_what_lies_beyond_not():
    for corner in ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)):
        _, a, b = rgb_to_lab(torch.tensor(corner, dtype=torch.uint8)[:, None, None]).flatten().tolist()
        assert shown_by_srgb(a, b) and not shown_by_srgb(1.1 * a, 1.1 * b)
