"""cunet: size, order of its blocks, options, and that it learns."""

import pytest
import torch
from torch import nn

from kinemacolor import colorize, models
from kinemacolor.errors import UserError
from tests.unit import network_checks as checks


def test_parameter_count():
    network, _ = checks.built("cunet")
    assert checks.parameters(network) == checks.parameters(network, trainable=True) == 23_156_674
    assert checks.parameters(checks.built("cunet", act="relu", scale_input=True)[0]) == 23_156_674


@pytest.mark.parametrize(("act", "activation"), [("sigmoid", nn.Sigmoid), ("relu", nn.ReLU)])
def test_every_block_is_convolution_activation_batch_norm(act, activation):
    network, _ = checks.built("cunet", act=act)
    layers = [layer for layer in network.modules() if not list(layer.children())]
    convs = [at for at, layer in enumerate(layers) if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convs) == 6 + 8 + 3 * 2 + 1
    for at in convs[:-1]:
        assert type(layers[at + 1]) is activation and isinstance(layers[at + 2], nn.BatchNorm2d)
    dilated = [layers[at] for at in convs if layers[at].dilation == (2, 2)]
    assert [layer.in_channels for layer in dilated] == [512] * 4


def test_shapes_and_ranges_at_the_smallest_sizes():
    network, family = checks.built("cunet")
    lab = checks.eight_frames(40)[:2]
    for height, width in ((8, 8), (24, 40)):
        coloured = checks.check_shape_and_range(network, family, lab[:, :, :height, :width])
        assert coloured[:, 1:].abs().max() <= 127


def test_any_size_goes_in_through_the_colorizer():
    network, family = checks.built("cunet", width=0.1)
    lightness = checks.eight_frames(40)[:2, :1, :37, :21].contiguous()
    lab = colorize.Colorizer(network, family, {"name": "cunet"})(lightness)
    assert lab.shape == (2, 3, 37, 21) and torch.equal(lab[:, :1], lightness) and torch.isfinite(lab).all()


def test_the_coding_takes_the_truth_back_and_is_raw_ab_through_127():
    coding, lab = models.family("cunet").coding, checks.eight_frames(32)
    target = coding.encode_target(lab)
    assert torch.allclose(target * 127, lab[:, 1:]) and target.abs().max() < 1
    assert torch.allclose(coding.decode(lab[:, :1], target), lab, atol=1e-4)


# options -> mean and standard deviation of the output for fixed weights and pictures, float32 on a CPU.
GOLDEN = {(): (-0.0699961, 0.4524703), (("act", "relu"), ("scale_input", True)): (-0.0742060, 0.4487713)}


@pytest.mark.parametrize(("options", "expected"), GOLDEN.items())
def test_golden_forward(options, expected):
    network, family = checks.built("cunet", **dict(options))
    lab = checks.eight_frames(32)[:2]
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # statistics of these frames, without which deep layers say next to nothing
    with torch.no_grad():
        network.train()(lab[:, :1])
    assert checks.golden(network, family, lab) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_scaled_input_is_a_hundredth():
    raw, scaled = (checks.built("cunet", width=0.1, scale_input=choice)[0].eval() for choice in (False, True))
    lightness = checks.eight_frames(32)[:2, :1]
    with torch.no_grad():
        assert torch.allclose(scaled(lightness), raw(lightness / 100), atol=1e-6)


# Share of the best single colour's squared error that must be reached in evaluation.
@pytest.mark.parametrize(
    ("options", "stated"), [({}, 0.3), ({"act": "relu", "scale_input": True}, 0.2)], ids=["as the project", "relu"]
)
def test_eight_frames_are_learnt_and_gradients_reach_everything(options, stated):
    network, family = checks.built("cunet", width=0.125, **options)
    found = checks.overfit(network, family, checks.eight_frames(32), steps=120, lr=1e-2)
    assert found.shown < stated * found.least


def test_wrong_options_are_told():
    with pytest.raises(UserError, match="act must be sigmoid or relu, not 'tanh'"):
        models.build("cunet", {"act": "tanh"})
    with pytest.raises(UserError, match="width must be above 0"):
        models.build("cunet", {"width": -1})
