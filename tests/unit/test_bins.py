"""Colour classes: the published table, soft encoding against a second implementation, annealed means, priors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional

from kinemacolor.models import bins


def of(*ab):
    """A picture of one pixel."""
    return torch.tensor(ab, dtype=torch.float32).view(1, 2, 1, 1)


def shares_of(*ab, **options):
    """Class -> share of one colour, as (a, b) -> share."""
    shares = bins.soft_encode(of(*ab), stride=1, **options)[0, :, 0, 0]
    return {tuple(bins.CENTRES[at].int().tolist()): shares[at].item() for at in shares.nonzero()[:, 0]}


def plainly_encoded(colours, neighbours, sigma):
    """The definition, with distances to all 313 classes: (P,2) to (P,313)."""
    distance = ((colours[:, None].astype(np.float32) - bins.CENTRES.numpy()[None]) ** 2).sum(axis=2)
    order = np.argsort(distance, axis=1, kind="stable")[:, :neighbours]
    near = np.take_along_axis(distance, order, axis=1).astype(np.float64)
    weights = np.exp((near[:, :1] - near) / (2 * sigma**2))
    shares = np.zeros(distance.shape)
    np.put_along_axis(shares, order, weights / weights.sum(axis=1, keepdims=True), axis=1)
    return shares


# ----------------------------------------------------------------------------------------- the classes


def test_the_table_is_that_of_the_published_weights():
    centres = bins.CENTRES.int().tolist()
    assert len(centres) == 313 and centres == sorted(centres)
    assert centres[:3] == [[-90, 50], [-90, 60], [-90, 70]] and centres[-3:] == [[100, -20], [100, -10], [100, 0]]
    assert bins.CENTRES.sum(dim=0).tolist() == [4910, 2090]
    assert centres.index([0, 0]) == 120


def test_the_square_has_529_classes_and_a_colour_falls_into_the_nearest():
    assert bins.SQUARE_CENTRES.shape == (529, 2)
    assert bins.square_index(bins.SQUARE_CENTRES).tolist() == list(range(529))
    assert bins.square_index(of(0, 0)).item() == 11 * 23 + 11
    assert bins.square_index(of(-110, 110)).item() == 22
    assert bins.square_index(of(-300, 300)).item() == 22, "the class at the edge"
    assert bins.square_index(of(-103, 4)).item() == 1 * 23 + 11
    # Halves to even steps, as the released code: (-105 + 110) / 10 = .5 and (-95 + 110) / 10 = 1.5.
    assert bins.square_index(of(-105, -95)).item() == 0 * 23 + 2


def test_hard_shares_are_the_index_at_one_pixel_in_four():
    ab = torch.rand(2, 2, 8, 12, generator=torch.Generator().manual_seed(0)) * 200 - 100
    shares = bins.square_encode(ab)
    assert shares.shape == (2, 529, 2, 3) and shares.unique().tolist() == [0, 1]
    assert torch.equal(shares.argmax(dim=1), bins.square_index(ab[:, :, 2::4, 2::4]))


# ---------------------------------------------------------------------------------------- soft encoding


def test_a_vote_learns_from_the_middle_of_the_pixels_it_colours():
    """Sharp votes of a picture, enlarged as eccv16 enlarges them, lie on the picture and not beside it."""
    ramp = torch.linspace(-60, 60, 64).expand(1, 2, 64, 64)
    shown = functional.interpolate(
        bins.annealed_mean(bins.soft_encode(ramp).log(), temperature=1.0), scale_factor=4.0, mode="bilinear"
    )
    inner = (shown - ramp)[..., 8:-8, 8:-8].mean()
    assert abs(inner) < 0.75 * 120 / 63, (
        "half a pixel, which four pixels have between their middle and the nearest; not one and a half"
    )


def test_golden_shares():
    assert shares_of(0, 0) == pytest.approx(
        {(0, 0): 0.64879, (10, 0): 0.08780, (-10, 0): 0.08780, (0, 10): 0.08780, (0, -10): 0.08780}, abs=6e-6
    )
    assert shares_of(3, -7) == pytest.approx(
        {(0, -10): 0.46700, (0, 0): 0.20984, (10, -10): 0.20984, (10, 0): 0.09429, (-10, -10): 0.01904}, abs=6e-6
    )


def test_golden_shares_of_ten_neighbours_as_released():
    shares = shares_of(0, 0, neighbours=10)
    assert shares.pop((0, 0)) == pytest.approx(0.61922, abs=6e-6)
    for at in ((10, 0), (-10, 0), (0, 10), (0, -10)):
        assert shares.pop(at) == pytest.approx(0.08380, abs=6e-6)
    for at in ((10, 10), (-10, 10), (10, -10), (-10, -10)):
        assert shares.pop(at) == pytest.approx(0.01134, abs=6e-6)
    # Four classes are 20 away: the first of the table is taken.
    assert shares == {(-20, 0): pytest.approx(2.1e-4, abs=6e-6)}


ab_planes = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 2), st.just(2), st.integers(1, 3), st.integers(1, 3)),
    elements=st.floats(-128, 127, width=32),
)
on_the_grid = arrays.arrays(np.float32, (1, 2, 3, 3), elements=st.integers(-25, 25).map(lambda steps: float(5 * steps)))


@settings(deadline=None)
@given(st.one_of(ab_planes, on_the_grid), st.integers(1, 12), st.sampled_from([2.0, 5.0, 8.0]))
def test_encoding_equals_its_definition_and_shares_sum_to_one(ab, neighbours, sigma):
    shares = bins.soft_encode(torch.from_numpy(ab), neighbours=neighbours, sigma=sigma, stride=1).numpy()
    assert shares.shape == (len(ab), 313, *ab.shape[2:])
    assert (shares >= 0).all() and np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert ((shares > 0).sum(axis=1) <= neighbours).all()
    colours = ab.transpose(0, 2, 3, 1).reshape(-1, 2)
    plain = plainly_encoded(colours, neighbours, sigma)
    assert np.allclose(shares.transpose(0, 2, 3, 1).reshape(-1, 313), plain, atol=1e-5)


def test_many_colours_of_the_whole_plane_equal_the_definition():
    random = np.random.default_rng(3)
    colours = random.uniform(-130, 130, (20_000, 2)).astype(np.float32)
    shares = bins.soft_encode(torch.from_numpy(colours.T[None, :, None].copy()), stride=1)[0, :, 0].T.numpy()
    assert np.allclose(shares, plainly_encoded(colours, 5, 5.0), atol=1e-5)


def test_the_top_left_pixel_of_four_by_four_is_encoded():
    ab = torch.rand(2, 2, 16, 24, generator=torch.Generator().manual_seed(0)) * 100 - 50
    shares = bins.soft_encode(ab)
    assert shares.shape == (2, 313, 4, 6) and shares.dtype == torch.float32
    assert torch.equal(shares, bins.soft_encode(ab[:, :, 2::4, 2::4], stride=1))
    assert shares.is_contiguous(memory_format=torch.channels_last)


def test_what_inference_mode_prepared_serves_training():
    bins._near.cache_clear()
    with torch.inference_mode():
        bins.soft_encode(of(1, 2), stride=1)
    logits = torch.zeros(1, 313, 1, 1, requires_grad=True)
    (bins.soft_encode(of(1, 2), stride=1) * logits.log_softmax(dim=1)).sum().backward()
    assert logits.grad.abs().sum() > 0


# --------------------------------------------------------------------------------------- annealed means


def test_golden_annealed_means():
    logits = bins.soft_encode(of(3, -7), stride=1).log()
    assert bins.annealed_mean(logits, temperature=0.38).flatten().tolist() == pytest.approx([1.084, -8.914], abs=6e-4)
    assert bins.annealed_mean(logits, temperature=1.0).flatten().tolist() == pytest.approx([2.851, -6.959], abs=6e-4)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.floats(0, 20))
def test_at_temperature_one_it_is_the_mean_and_towards_nought_the_mode(seed, spread):
    logits = torch.randn(1, 313, 1, 2, generator=torch.Generator().manual_seed(seed)) * spread
    shares = logits.double().softmax(dim=1)[0, :, 0]
    mean = bins.annealed_mean(logits, temperature=1.0)[0, :, 0]
    assert torch.allclose(mean.double(), bins.CENTRES.double().T @ shares, atol=1e-3)
    first = logits.argmax(dim=1, keepdim=True)  # (1,1,1,2)
    logits = logits.scatter(1, first, logits.max().item() + 0.5)  # one mode, and that clearly
    mode = bins.annealed_mean(logits, temperature=1e-3)[0, :, 0]
    assert torch.allclose(bins.CENTRES[first.flatten()].T, mode, atol=1e-3)


def test_the_mean_keeps_its_digits_under_autocast_and_has_a_gradient():
    logits = torch.randn(2, 313, 4, 4, generator=torch.Generator().manual_seed(0)).mul_(3).requires_grad_()
    plain = bins.annealed_mean(logits, temperature=0.38)
    with torch.autocast("cpu", torch.bfloat16):
        cast = bins.annealed_mean(logits, temperature=0.38)
    assert plain.shape == (2, 2, 4, 4) and cast.dtype == torch.float32 and torch.equal(plain, cast)
    plain.sum().backward()
    assert torch.isfinite(logits.grad).all() and logits.grad.any()


def test_the_mean_of_other_classes_and_a_temperature_that_is_none():
    logits = torch.full((1, 529, 1, 1), -torch.inf)
    logits[0, 7] = 0
    assert torch.equal(bins.annealed_mean(logits, bins.SQUARE_CENTRES, temperature=1.0).flatten(), bins.SQUARE_CENTRES[7])
    with pytest.raises(ValueError, match="temperature of an annealed mean must be above 0"):
        bins.annealed_mean(logits, bins.SQUARE_CENTRES, temperature=0.0)


# ------------------------------------------------------------------------------------------------ priors


def test_counts_add_up_over_batches():
    ab = torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 160 - 80
    whole = bins.count(bins.soft_encode(ab))
    parts = bins.count(bins.soft_encode(ab[:2])) + bins.count(bins.soft_encode(ab[2:]))
    assert whole.dtype == torch.float64 and whole.shape == (313,)
    assert torch.allclose(whole, parts, atol=1e-5) and whole.sum().item() == pytest.approx(5 * 4)


counts = arrays.arrays(np.float64, st.integers(2, 40), elements=st.integers(0, 10**6).map(float)).filter(
    lambda found: found.sum() > 0
)


@settings(deadline=None)
@given(counts, st.floats(0, 1))
def test_weights_have_mean_one_over_the_dataset_and_follow_the_formula(counts, mix):
    weights = bins.rebalancing(torch.from_numpy(counts), mix=mix).double().numpy()
    prior, seen = counts / counts.sum(), counts > 0
    assert (prior * weights).sum() == pytest.approx(1, rel=1e-5)
    plain = 1 / ((1 - mix) * prior[seen] + mix / seen.sum())
    assert np.allclose(weights[seen], plain / (prior[seen] * plain).sum(), rtol=1e-5)
    assert np.allclose(weights[~seen], weights[seen].max()), "a colour never seen weighs as much as the rarest"


def test_lambda_one_weighs_all_alike_and_nought_by_the_prior():
    counts = torch.tensor([8.0, 2.0, 0.0, 6.0])
    assert bins.rebalancing(counts, mix=1.0).tolist() == [1, 1, 1, 1]
    wholly = bins.rebalancing(counts, mix=0.0)
    assert wholly.tolist() == pytest.approx([16 / 3 / 8, 16 / 3 / 2, 16 / 3 / 2, 16 / 3 / 6])
    with pytest.raises(ValueError, match="none were counted"):
        bins.rebalancing(torch.zeros(4))
    with pytest.raises(ValueError, match="from 0 to 1"):
        bins.rebalancing(counts, mix=1.5)


def test_smoothing_spreads_hard_counts_over_neighbours_and_keeps_their_sum():
    counts = torch.zeros(529)
    counts[bins.square_index(of(0, 0)).item()] = 100
    counts[bins.square_index(of(110, 110)).item()] = 40
    spread = bins.smoothed(counts, bins.SQUARE_CENTRES)
    assert spread.sum().item() == pytest.approx(140)
    centre, side, corner = (spread[bins.square_index(of(*at)).item()].item() for at in ((0, 0), (10, 0), (10, 10)))
    # exp(-10^2 / (2 * 5^2)) = exp(-2) of the middle.
    assert side / centre == pytest.approx(np.exp(-2)) and corner / centre == pytest.approx(np.exp(-4))
