"""Discriminators: sizes and fields of view from models.md, and that each can tell, and can be fooled."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from kinemacolor.errors import UserError
from kinemacolor.models.discriminators import PatchGAN, build_discriminator, seen
from tests.unit import network_checks as checks

# channels, options -> patch in pixels, parameters; models.md, section 5.
PATCHES = [
    (3, {"layers": 2}, 34, 663_361),
    (3, {"layers": 2, "halve_last": True}, 46, 663_361),
    (3, {"layers": 3}, 70, 2_765_633),
    (6, {"layers": 3}, 70, 2_768_705),
    # BatchNorm brings 128 weights and makes the first convolution's 64 biases needless.
    (3, {"layers": 2, "first_norm": True}, 34, 663_361 + 128 - 64),
]


@pytest.mark.parametrize(("channels", "options", "field", "count"), PATCHES)
def test_patchgan_has_the_published_size_and_field(channels, options, field, count):
    network = build_discriminator("patch", channels=channels, size=(128, 128), **options)
    assert checks.parameters(network, trainable=True) == count
    assert network.receptive_field == field


@pytest.mark.parametrize(("layers", "halve_last", "field"), [(2, False, 34), (2, True, 46), (3, False, 70)])
def test_a_patch_is_what_its_logit_depends_on(layers, halve_last, field):
    torch.manual_seed(0)
    network = PatchGAN(1, layers=layers, halve_last=halve_last, width=4).double().eval()
    picture = torch.randn(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = network(picture)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    for axis in (0, 1):
        touched = picture.grad[0, 0].abs().sum(axis).nonzero().flatten()
        assert int(touched[-1] - touched[0]) + 1 == field


@given(side=st.integers(1, 80), layers=st.integers(1, 4), halve_last=st.booleans())
@settings(max_examples=40, deadline=None)
def test_logits_are_foretold_and_pictures_too_small_are_refused(side, layers, halve_last):
    foretold = PatchGAN(1, layers=layers, halve_last=halve_last, width=1).patches(side)
    if foretold < 1:
        with pytest.raises(UserError, match=rf"loss.gan.layers {layers} leaves nothing of pictures of {side}x{side + 3}"):
            build_discriminator("patch", channels=1, size=(side, side + 3), layers=layers, halve_last=halve_last)
    else:
        network = build_discriminator(
            "patch", channels=1, size=(side, side), layers=layers, halve_last=halve_last, width=1
        ).eval()
        assert network(torch.zeros(1, 1, side, side)).shape == (1, 1, foretold, foretold)


def test_films_discriminator_has_its_size_and_follows_the_picture():
    film = build_discriminator("film", channels=3, size=(64, 64))
    assert checks.parameters(film, trainable=True) == 17_144_401
    assert film(torch.zeros(2, 3, 64, 64)).shape == (2, 1)
    for size in ((32, 48), (8, 8), (37, 50)):
        assert build_discriminator("film", channels=6, size=size)(torch.zeros(2, 6, *size)).shape == (2, 1)
    with pytest.raises(UserError, match="needs pictures of 8x8 pixels or more, not 7x64"):
        build_discriminator("film", channels=3, size=(7, 64))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="patch or film"):
        build_discriminator("stylegan", channels=3, size=(64, 64))


def test_what_is_seen_holds_the_condition_first_or_not_at_all():
    condition, values = torch.rand(2, 1, 8, 8), torch.rand(2, 2, 8, 8)
    both = seen(condition, values, conditional=True)
    assert torch.equal(both[:, :1], condition) and torch.equal(both[:, 1:], values)
    assert seen(condition, values, conditional=False) is values


@pytest.mark.parametrize(("kind", "size"), [("patch", 32), ("film", 16)])
def test_it_learns_to_tell_true_colours_from_none_and_its_gradient_reaches_everything(kind, size):
    torch.manual_seed(0)
    network = build_discriminator(kind, channels=3, size=(size, size), layers=2, width=8)
    lab = checks.eight_frames(size)
    condition, true = lab[:, :1] / 50 - 1, lab[:, 1:] / 110
    painted = torch.zeros_like(true, requires_grad=True)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.5, 0.999))
    reached = set()
    for _ in range(25):
        judged = [network(seen(condition, values, conditional=True)) for values in (true, painted)]
        loss = (
            sum(
                functional.binary_cross_entropy_with_logits(one, torch.full_like(one, label))
                for one, label in zip(judged, (1.0, 0.0), strict=True)
            )
            / 2
        )
        optimiser.zero_grad()
        loss.backward()
        reached |= {name for name, one in network.named_parameters() if bool(one.grad.any())}
        optimiser.step()
    assert reached == {name for name, _ in network.named_parameters()}
    assert loss.item() < 0.3 and bool(judged[0].mean() > judged[1].mean())
    assert bool(painted.grad.any()), "the painter hears from it"
    assert bool((judged[0].abs() > 1).any()), "logits, not shares"
