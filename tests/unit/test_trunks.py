"""Networks that begin with ResNet-18 or VGG-16: sizes, cuts, freezing, and published RGB weights seen through grey."""

import pytest
import torch
from torch.nn import functional

from kinemacolor import colorize, models
from kinemacolor.errors import UserError
from kinemacolor.models import encoders
from kinemacolor.models.coding import View
from tests.unit import network_checks as checks

# family, options -> parameters. Not mended: models.md, section 3; mended adds 192 in the decoder's two further normalisations.
COUNTS = [
    ("resnet18_lab", {"mended": False}, 954_530),
    ("resnet18_lab", {}, 954_530 + 192),
    ("vgg16_lab", {"mended": False}, 1_735_488 - 2 * 576 + 425_186),
    ("vgg16_lab", {}, 2_159_522 + 192),
    ("vgg16_lab", {"batch_norm": True, "mended": False}, 1_737_792 - 2 * 576 + 425_186),
    ("vgg16_lab", {"cut": "relu4_3", "mended": False}, 7_635_264 - 2 * 576 + 425_186 + 256 * 128 * 9),
    ("vgg16_lab", {"cut": "relu4_3", "batch_norm": True, "mended": False}, 7_640_640 - 2 * 576 + 425_186 + 256 * 128 * 9),
]

# Mean and standard deviation of the output for seed 0, float32 on a CPU.
GOLDEN = [
    ("resnet18_lab", {}, (-0.05357707, 0.00644401)),
    ("resnet18_lab", {"mended": False}, (-0.02682788, 0.10896182)),
    ("vgg16_lab", {}, (-0.02179915, 0.01065369)),
    ("vgg16_lab", {"batch_norm": True, "cut": "relu4_3"}, (-0.04516957, 0.01488916)),
]

# family, options, steps, share of the best single colour's squared error that must be reached in evaluation.
FITS = [
    ("resnet18_lab", {}, 60, 0.25),
    ("resnet18_lab", {"mended": False}, 60, 0.3),
    ("resnet18_lab", {"freeze": True}, 60, 0.3),
    ("vgg16_lab", {"batch_norm": True}, 60, 0.4),
    ("vgg16_lab", {"freeze": True}, 80, 0.5),
    ("vgg16_lab", {"freeze": True, "batch_norm": True}, 80, 0.5),
]


@pytest.mark.parametrize(("name", "options", "count"), COUNTS)
def test_parameter_counts(name, options, count):
    with torch.device("meta"):
        network, _ = checks.built(name, **options)
        frozen, _ = checks.built(name, **options, freeze=True)
    assert checks.parameters(network) == checks.parameters(network, trainable=True) == count
    assert checks.parameters(frozen, trainable=True) == checks.parameters(network.decoder)
    if name == "resnet18_lab" and options:
        assert (checks.parameters(network.encoder), checks.parameters(network.decoder)) == (676_800, 277_730)


@pytest.mark.parametrize(("name", "options", "expected"), GOLDEN)
def test_shape_range_and_golden_forward(name, options, expected):
    network, family = checks.built(name, **options)
    lab = checks.eight_frames(32)[:2]
    checks.check_shape_and_range(network, family, lab)
    assert checks.golden(network, family, lab) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(("name", "options", "steps", "stated"), FITS)
def test_eight_frames_are_learnt_and_what_is_frozen_stays(name, options, steps, stated):
    network, family = checks.built(name, **options)
    found = checks.overfit(network, family, checks.eight_frames(32), steps=steps, lr=2e-3)
    assert found.shown < stated * found.least
    network.train()
    assert network.encoder.training is not bool(options.get("freeze"))


def test_the_grey_input_is_normalised_as_the_encoders_pictures_were():
    """In sRGB, not in L*: the mean grey of ImageNet's pictures becomes nought."""
    coding = models.family("resnet18_lab").coding
    x = coding.encode_input(View(torch.tensor([0.0, 100.0, 48.2783]).view(3, 1, 1, 1)))
    assert x.flatten().tolist() == pytest.approx([-0.449 / 0.226, (1 - 0.449) / 0.226, 0.0], abs=2e-3)


@pytest.mark.parametrize(
    ("name", "options", "architecture"),
    [
        ("resnet18_lab", {}, "resnet18"),
        ("vgg16_lab", {}, "vgg16"),
        ("vgg16_lab", {"cut": "relu4_3", "batch_norm": True}, "vgg16_bn"),
    ],
)
def test_published_rgb_weights_seen_through_grey(name, options, architecture):
    """The first convolution's R, G and B are summed; what lies behind the cut is left out; the rest is as it was."""
    network, _ = checks.built(name, **options)
    torch.manual_seed(1)
    published = encoders.build(architecture)
    for module in published.modules():  # as if trained: statistics that are not those of a fresh network
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    assert network.architecture == architecture
    network.load_encoder(published.state_dict())
    x = functional.interpolate(torch.randn(2, 1, 8, 8), size=32)
    stem = "conv1.weight" if architecture == "resnet18" else "features.0.weight"
    rgb = published.state_dict() | {stem: published.state_dict()[stem].sum(dim=1, keepdim=True)}
    own = network.encoder.state_dict()
    assert set(own) < set(rgb) and all(torch.equal(own[name], rgb[name]) for name in own)
    network.eval()
    published.eval()
    with torch.no_grad():
        if architecture == "resnet18":
            whole = x.expand(-1, 3, -1, -1)
            for module in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2"):
                whole = getattr(published, module)(whole)
        else:
            whole = published.features[: len(network.encoder.features)](x.expand(-1, 3, -1, -1))
        found = network.encoder(x)
    assert torch.allclose(found, whole, atol=1e-4 * float(whole.std()))
    with pytest.raises(UserError, match=rf"The weights for {architecture} do not fit: .* is missing, "):
        network.load_encoder(encoders.build("alexnet").state_dict())


def test_an_unknown_cut_is_named():
    with pytest.raises(
        UserError, match=r"'vgg16_lab' does not take these options \(cut is 'pool4', but must be one of pool3, relu4_3"
    ):
        models.build("vgg16_lab", {"cut": "pool4"})


@pytest.mark.parametrize("name", ["resnet18_lab", "vgg16_lab"])
def test_any_size_can_be_coloured(name):
    network, family = checks.built(name)
    lab = colorize.Colorizer(network, family, {"name": name})(checks.eight_frames(64)[:2, :1, :37, :51])
    assert lab.shape == (2, 3, 37, 51) and torch.isfinite(lab).all()
