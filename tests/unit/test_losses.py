"""Losses, learning rates, averages and draws of a training, against plain numpy and hand computation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from kinemacolor import models
from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames.loader import Batch
from kinemacolor.models.coding import AB110, AB128, RGB_PM1, Classes, View, ab_coding
from kinemacolor.params import Gan, Loss, Model
from kinemacolor.training.adversary import Adversary, verdict_loss
from kinemacolor.training.average import Average
from kinemacolor.training.figures import LossFigure
from kinemacolor.training.losses import Error, Objective, class_error, colourful, unsteadiness
from kinemacolor.training.record import describe
from kinemacolor.training.schedules import make_optimiser, rate_factor
from kinemacolor.training.views import in_training, own_share

RNG = np.random.default_rng(5)


def frames(count=6, side=8) -> torch.Tensor:
    """Lab of random pictures."""
    return rgb_to_lab(torch.from_numpy(RNG.random((count, 3, side, side), np.float32)))


def output_like(lab: torch.Tensor, channels=2) -> torch.Tensor:
    return torch.from_numpy(RNG.normal(0, 0.4, (len(lab), channels, *lab.shape[2:])).astype(np.float32)).requires_grad_()


LAB = frames()
NUMPY = {
    "mse": lambda x, y: np.mean((x - y) ** 2),
    "l1": lambda x, y: np.mean(np.abs(x - y)),
    "huber": lambda x, y: np.mean(np.where(np.abs(x - y) < 0.25, (x - y) ** 2 / 2, 0.25 * (np.abs(x - y) - 0.125))),
}


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("coding", [AB128, AB110, RGB_PM1])
def test_distances_equal_numpy_in_every_coding(name, coding):
    output = output_like(LAB, coding.channels[1])
    error = Objective(Loss(name=name, weight=3.0, delta=0.25), coding)(output, LAB[:, :1], LAB)
    target = coding.encode_target(LAB).double().numpy()
    assert error.told.item() == pytest.approx(3 * NUMPY[name](output.detach().double().numpy(), target), rel=1e-5)
    assert error.minimised.item() == error.told.item() and error.minimised.requires_grad and not error.told.requires_grad


def test_a_loss_is_computed_in_float32_under_autocast():
    output = output_like(LAB)
    plain = Objective(Loss(), AB128)(output, LAB[:, :1], LAB).told
    with torch.autocast("cpu", dtype=torch.bfloat16):
        error = Objective(Loss(), AB128)(output, LAB[:, :1], LAB)
    assert error.minimised.dtype == torch.float32 and torch.equal(error.told, plain)


@pytest.mark.parametrize("name", NUMPY)
def test_beta_weighs_truth_against_the_frame_before_and_never_crosses_a_cut(name):
    window = 3  # two lanes of three frames; a cut in the second lane
    starts = torch.tensor([True, False, False, False, False, True])
    output = output_like(LAB)
    error = Objective(Loss(name=name, beta=0.8, delta=0.25), AB128, window=window)(output, LAB[:, :1], LAB, starts, window)
    values, target = output.detach().double().numpy(), AB128.encode_target(LAB).double().numpy()
    pairs = [(1, 0), (2, 1), (4, 3)]  # not (3, 2): another lane; not (5, 4): a cut
    steady = np.mean([NUMPY[name](values[now], values[before]) for now, before in pairs])
    assert error.told.item() == pytest.approx(0.8 * NUMPY[name](values, target) + 0.2 * steady, rel=1e-5)


def test_an_epochs_loss_weighs_frames_by_frames_and_pairs_by_pairs():
    """However the frames lie in batches, and where a batch has no pair at all."""
    starts = torch.tensor([True, False, False, True, True, True])
    output = output_like(LAB)
    values, target = output.detach().double().numpy(), AB128.encode_target(LAB).double().numpy()
    steady = np.mean([(values[now] - values[before]) ** 2 for now, before in ((1, 0), (2, 1))])
    expected = 2 * (0.75 * np.mean((values - target) ** 2) + 0.25 * steady)
    objective = Objective(Loss(beta=0.75, weight=2), AB128, window=3)
    for sizes in ((6,), (3, 3), (3, 2, 1)):
        figure = LossFigure(of_pairs=True)
        for part in torch.arange(6).split(sizes):
            error = objective(output[part], LAB[part, :1], LAB[part], starts[part], len(part))
            assert error.pairs == int((~starts[part][1:]).sum())
            figure.update(error, len(part))
        figure.update(error, 0)  # made up, for a device that had no frame
        assert figure.compute().item() == pytest.approx(expected, rel=1e-5), sizes
    figure.update(error._replace(told=torch.tensor(torch.nan)), 1)
    assert figure.compute().isnan()
    figure.reset()
    plain = LossFigure(of_pairs=False)
    for count, told in ((3, 1.0), (1, 5.0)):
        plain.update(Error(torch.tensor(told), torch.tensor(told)), count)
    assert plain.compute().item() == 2.0


def test_no_gradient_crosses_a_cut():
    values = torch.randn(4, 2, 3, 3, requires_grad=True)
    starts = torch.tensor([True, False, True, False])
    unsteadiness(values[:], starts, 4, torch.nn.functional.mse_loss).backward()
    both = torch.autograd.grad((values[0] - values[1]).square().sum() + (values[2] - values[3]).square().sum(), values)[0]
    assert torch.allclose(values.grad, both / 2 / 18, atol=1e-7)
    assert unsteadiness(values, torch.ones(4, dtype=torch.bool), 4, torch.nn.functional.mse_loss).item() == 0


def test_saturation_is_the_error_in_chroma_of_what_is_decoded():
    output = output_like(LAB)
    error = Objective(Loss(saturation=0.5), AB110)(output, LAB[:, :1], LAB)
    ab = output.detach().double().numpy() * 110
    truth = LAB[:, 1:].double().numpy()
    chroma = np.mean(np.abs(np.hypot(*ab.swapaxes(0, 1)) - np.hypot(*truth.swapaxes(0, 1)))) / 128
    mse = np.mean((ab / 110 - truth / 110) ** 2)
    assert error.told.item() == pytest.approx(mse + 0.5 * chroma, rel=1e-5)


def test_saturation_of_an_rgb_network_is_that_of_its_lab():
    output = output_like(LAB, 3)
    error = Objective(Loss(name="l1", saturation=1.0), RGB_PM1)(output, LAB[:, :1], LAB)
    rgb = (output.detach().double().numpy().clip(-1, 1) + 1) / 2
    ab = rgb2lab(rgb, channel_axis=1)[:, 1:]
    chroma = np.mean(np.abs(np.hypot(*ab.swapaxes(0, 1)) - np.hypot(*LAB[:, 1:].double().numpy().swapaxes(0, 1)))) / 128
    l1 = np.mean(np.abs(output.detach().double().numpy() - RGB_PM1.encode_target(LAB).double().numpy()))
    assert error.told.item() == pytest.approx(l1 + chroma, rel=1e-4)
    error.minimised.backward()
    assert torch.isfinite(output.grad).all()


def test_saturation_has_a_gradient_at_grey():
    output = torch.zeros(2, 2, 4, 4, requires_grad=True)
    Objective(Loss(saturation=1.0), AB128)(output, LAB[:2, :1, :4, :4], LAB[:2, :, :4, :4]).minimised.backward()
    assert torch.isfinite(output.grad).all()


# ------------------------------------------------------------------------------------------------- classes

CENTRES = torch.tensor([[0.0, 0.0], [40.0, 10.0], [-30.0, 20.0]])


def voting_coding():
    """Votes of three classes, at every second pixel; the values are the plain mean of the votes."""

    def encode(ab):
        distance = (ab[:, None, :, ::2, ::2] - CENTRES.view(1, 3, 2, 1, 1)).square().sum(dim=2)
        return torch.softmax(-distance / 800, dim=1)

    def values(output):
        ab = torch.einsum("nqhw,qc->nchw", output.softmax(dim=1), CENTRES) / 110
        return torch.nn.functional.interpolate(ab, scale_factor=2)

    classes = Classes(CENTRES, 2, lambda output: output, encode)
    return ab_coding("votes", scale=110.0, encode_input=lambda view: view.lightness, values=values, classes=classes)


def test_class_error_equals_numpy_with_rare_classes_weighed_and_grey_pictures_left_out():
    lab = LAB.clone()
    lab[2, 1:] = 3.0  # a grey picture
    coding, weights = voting_coding(), torch.tensor([0.5, 2.0, 7.0])
    logits = output_like(LAB[..., ::2, ::2], 3)
    told = Objective(Loss(name="classes", weight=2.0), coding, class_weights=weights)(logits, lab[:, :1], lab).told
    target = coding.classes.encode(lab[:, 1:]).double().numpy()
    x = logits.detach().double().numpy()
    log_share = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    votes = -(target * log_share).sum(axis=1) * weights.numpy()[target.argmax(axis=1)]
    votes[2] = 0
    assert told.item() == pytest.approx(2 * votes.mean(), rel=1e-5)
    assert colourful(lab).tolist() == [True, True, False, True, True, True]


def test_classes_beside_a_regression_add_up():
    coding, logits = voting_coding(), output_like(LAB[..., ::2, ::2], 3)
    told = Objective(Loss(name="l1", weight=10.0, classes=0.5), coding)(logits, LAB[:, :1], LAB).told
    votes = class_error(logits, coding.classes.encode(LAB[:, 1:]), None, colourful(LAB))
    l1 = (coding.values(logits) - LAB[:, 1:] / 110).abs().mean()
    assert told.item() == pytest.approx((10 * l1 + 0.5 * votes).item(), rel=1e-5)


def test_losses_that_do_not_fit_say_so_in_one_sentence():
    with pytest.raises(UserError, match=r"`classes` needs a network with colour classes, eccv16 or siggraph17: choose"):
        Objective(Loss(name="classes"), AB128)
    with pytest.raises(UserError, match=r"needs a network with colour classes"):
        Objective(Loss(name="l1", classes=1.0), AB128)
    with pytest.raises(UserError, match=r"loss.beta 0.8 compares a frame with the one before, and a window of 1 has none"):
        Objective(Loss(beta=0.8), AB128)
    with pytest.raises(UserError, match=r"loss.beta below 1 weighs mse, l1 or huber, not classes"):
        Objective(Loss(name="classes", beta=0.8), voting_coding(), window=4)


# --------------------------------------------------------------------------------------------- adversarial


@pytest.mark.parametrize("kind", ["vanilla", "least_squares"])
def test_verdicts_equal_numpy(kind):
    logits = torch.from_numpy(RNG.normal(0, 2, (5, 1, 3, 3)))
    x = logits.numpy()
    for true, target in ((True, 0.9), (False, 0.0)):
        if kind == "vanilla":
            share = 1 / (1 + np.exp(-x))
            expected = -np.mean(target * np.log(share) + (1 - target) * np.log(1 - share))
        else:
            expected = np.mean((x - target) ** 2)
        assert verdict_loss(logits, true, kind, smoothing=0.1).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("conditional", [True, False])
def test_a_discriminator_learns_from_halves_and_is_frozen_while_the_network_learns(conditional):
    torch.manual_seed(0)
    adversary = Adversary(Gan(layers=1, conditional=conditional), AB128, (16, 16))
    lab = frames(3, 16)
    true, painted = AB128.encode_target(lab), output_like(lab)
    verdict = adversary.judged(lab[:, :1], true, painted)
    seen = [torch.cat((lab[:, :1] / 50 - 1, values), dim=1) if conditional else values for values in (true, painted)]
    real, fake = (adversary.discriminator(values) for values in seen)
    assert next(adversary.discriminator.parameters()).shape[1] == (3 if conditional else 2)
    halves = (verdict_loss(real, True, "vanilla") + verdict_loss(fake, False, "vanilla")) / 2
    assert verdict.loss.item() == pytest.approx(halves.item(), rel=1e-6)
    right = [*(real.flatten(1).mean(1) > 0).tolist(), *(fake.flatten(1).mean(1) <= 0).tolist()]
    assert verdict.accuracy.item() == pytest.approx(np.mean(right))
    verdict.loss.backward()
    assert painted.grad is None, "the fake is detached"
    for parameter in adversary.parameters():
        parameter.grad = None
    adversary.fooled(lab[:, :1], painted).backward()
    assert painted.grad.abs().sum() > 0 and all(parameter.grad is None for parameter in adversary.parameters())


def test_a_discriminator_is_built_as_params_say():
    for changes, field, norms in (({}, 34, 2), ({"first_norm": True}, 34, 3), ({"halve_last": True}, 46, 2)):
        network = Adversary(Gan(layers=2, **changes), AB110, (64, 64)).discriminator
        assert network.receptive_field == field
        assert sum(isinstance(one, torch.nn.BatchNorm2d) for one in network.modules()) == norms


@pytest.mark.parametrize("family", ["alexnet_prev", "film_unet", "unet_gan", "cunet", "koalarization", "nazeri_gan"])
def test_a_discriminator_sees_about_minus_one_to_one_whatever_the_coding(family):
    coding, seen = models.family(family).coding, []
    adversary = Adversary(Gan(layers=1, conditional=False), coding, (16, 16))
    adversary.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rgb = torch.cartesian_prod(*[torch.tensor([0, 85, 170, 255], dtype=torch.uint8)] * 3).T.reshape(3, 8, 8)
    lab = rgb_to_lab(rgb)[None].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    adversary.fooled(lab[:, :1], coding.encode_target(lab))
    assert -1 - 1e-4 <= float(seen[0].min()) < -0.7 and 0.7 < float(seen[0].max()) <= 1 + 1e-4


def test_a_discriminator_rests_above_its_running_accuracy_and_wins_after_epochs():
    adversary = Adversary(Gan(layers=1, rest_above=0.8, won_after=2), AB128, (16, 16))
    assert not adversary.rests()
    for accuracy, running in ((1.0, 1.0), (0.0, 0.9), (0.0, 0.81), (0.0, 0.729)):
        adversary.remember(accuracy)
        assert adversary.accuracy == pytest.approx(running)
        assert adversary.rests() == (running > 0.8)
    said = [adversary.epoch_over(accuracy) for accuracy in (0.995, 0.9, 0.995, 1.0)]
    assert said[:3] == [None] * 3 and "told more than 99% of the pictures apart for 2 epochs" in said[3]
    other = Adversary(Gan(layers=1), AB128, (16, 16))
    other.recall(adversary.memory())
    assert other.memory() == adversary.memory()


# ---------------------------------------------------------------------------- rates, averages, what is shown


def test_learning_rates():
    def rates(epochs, **schedule):
        model = Model(family="alpha", epochs=epochs, schedule=schedule)
        return [rate_factor(model, epoch) for epoch in range(epochs)]

    assert rates(4, name="constant") == [1, 1, 1, 1]
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=5)
    for ours in rates(5, name="cosine"):
        assert ours == pytest.approx(torchs.get_last_lr()[0])
        optimiser.step()
        torchs.step()
    # pix2pix: 100 epochs at full rate, then in 101 equal steps towards nought.
    linear = rates(200, name="linear")
    assert linear[:100] == [1] * 100 and linear[100] == pytest.approx(100 / 101) and linear[199] == pytest.approx(1 / 101)
    assert rates(5, name="step", every=2, factor=0.1) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@settings(max_examples=50, deadline=None)
@given(epochs=st.integers(1, 60), name=st.sampled_from(["constant", "cosine", "linear", "step"]), hold=st.floats(0, 1))
def test_learning_rates_never_rise_and_never_reach_nought(epochs, name, hold):
    model = Model(family="alpha", epochs=epochs, schedule={"name": name, "hold": hold})
    rates = [rate_factor(model, epoch) for epoch in range(epochs)]
    assert rates[0] <= 1 and all(after <= before for before, after in itertools.pairwise(rates)) and rates[-1] > 0


def test_an_average_equals_one_by_hand_with_running_statistics():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    optimiser = make_optimiser(network.parameters(), Model(family="alpha").optimiser)
    average = Average(network, 0.3)
    by_hand = {name: value.double().numpy().copy() for name, value in network.state_dict().items()}
    for step in range(1, 6):
        network(torch.randn(4, 1, 3, 3)).square().mean().backward()
        optimiser.step()
        average.follow(network)
        keep = min(0.3, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            by_hand[name] = keep * by_hand[name] + (1 - keep) * value.double().numpy()
    for name, value in average.values.items():
        if name.endswith("num_batches_tracked"):
            assert value == 5
        else:
            assert np.allclose(value, by_hand[name], atol=1e-6), name
    own = {name: value.clone() for name, value in network.state_dict().items()}
    with average.shown_by(network):
        assert all(torch.equal(value, average.values[name]) for name, value in network.state_dict().items())
    assert all(torch.equal(value, own[name]) for name, value in network.state_dict().items())


def family(**changes):
    return models.Family(build=torch.nn.Identity, coding=AB110, multiple=1, source="test", **changes)


def test_hints_and_own_colours_are_drawn_from_where_the_batch_stands():
    lab = frames(40, 8)
    view = View(lab[:, :1], starts=torch.arange(40) % 20 == 0, previous=lab.roll(1, 0))
    batch = Batch(view, lab, window=20)
    model = Model(family="alpha", epochs=11, previous={"own": [0.0, 0.5], "drop": 0.25})
    one, again = (in_training(batch, family(hints=True), model, epoch=0, at=(1, 2, 3, 0)) for _ in range(2))
    other = in_training(batch, family(hints=True), model, epoch=0, at=(1, 2, 4, 0))
    assert one.hints.shape == (40, 3, 8, 8) and torch.equal(one.hints, again.hints) and not torch.equal(one.hints, other.hints)
    assert in_training(batch, family(), model, epoch=0, at=(1, 2, 3, 0)) is view

    first, last = (in_training(batch, family(memory="own"), model, epoch=epoch, at=(1, 2, 3, 0)) for epoch in (0, 10))
    assert first.given.all(), "in the first epoch all frames are shown the truth"
    assert 5 < last.given.sum() < 35 and torch.equal(first.starts, last.starts)
    assert (first.starts & view.starts).sum() == view.starts.sum() and 4 < first.starts.sum() < 24
    assert [own_share(model, epoch) for epoch in (0, 5, 10)] == pytest.approx([0, 0.25, 0.5])


def test_a_loss_in_one_line():
    assert describe(Loss()) == "mse"
    assert describe(Loss(name="l1", weight=100, gan={})) == "100 l1 + vanilla gan (patch, conditional)"
    gan = {"kind": "least_squares", "discriminator": "film", "conditional": False, "weight": 0.5}
    assert describe(Loss(name="none", gan=gan)) == "0.5 least_squares gan (film, unconditional)"
    assert describe(Loss(beta=0.8, saturation=0.1)).startswith("(0.8 mse + 0.2 mse against the frame before) + 0.1 saturation")
