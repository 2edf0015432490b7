"""eccv16 and siggraph17: sizes, codings, hints, published weights, and that they learn."""

import hashlib

import pytest
import torch
from torch.nn import functional

from kinemacolor import colorize, models
from kinemacolor.errors import UserError
from kinemacolor.models import bins
from kinemacolor.models.coding import View
from kinemacolor.models.running import run
from kinemacolor.models.zhang import Eccv16, Siggraph17
from kinemacolor.params import Loss, Model, Weights
from kinemacolor.pretrained import colouring
from kinemacolor.stages.weights import weights
from kinemacolor.training.inputs import begin_with
from kinemacolor.training.losses import Objective
from tests.unit import network_checks as checks


def hints_of(lab, every=8):
    """The truth at one pixel in every 8x8."""
    mask = torch.zeros_like(lab[:, :1])
    mask[:, :, ::every, ::every] = 1
    return torch.cat((lab[:, 1:] * mask, mask), dim=1)


def minimised(**settings):
    """A loss of params.yaml, with weights from the frames' own prior where it has classes."""

    def loss(network, family, view, lab):
        output, _ = run(network, family, view)
        weights = bins.rebalancing(bins.count(family.coding.classes.encode(lab[:, 1:])))
        return Objective(Loss(**settings), family.coding, class_weights=weights)(output, view.lightness, lab).minimised

    return loss


def settle(network, family, view):
    """Give the batch norms the statistics of these frames, without which deep layers say next to nothing in evaluation."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
    network.train()
    with torch.no_grad():
        run(network, family, view)


# ------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [("eccv16", {}, 32_235_385), ("siggraph17", {}, 34_187_027), ("siggraph17", {"classes": False}, 34_051_074)],
)
def test_parameter_counts(name, options, count):
    network, family = checks.built(name, **options)
    assert checks.parameters(network) == checks.parameters(network, trainable=True) == count
    if name == "eccv16":  # models.md counts the colours of the classes as fixed weights; they are the coding's here
        assert family.coding.classes.centres.numel() == 626


@pytest.mark.parametrize(("name", "classes"), [("eccv16", 313), ("siggraph17", 529)])
def test_shapes_and_ranges_at_the_smallest_sizes(name, classes):
    network, family = checks.built(name)
    lab = checks.eight_frames(40)[:2]
    for height, width in ((8, 8), (24, 40)):
        part = lab[:, :, :height, :width]
        coloured = checks.check_shape_and_range(network, family, part)
        assert coloured[:, 1:].abs().max() <= 110
        output = checks.forward(network, family, View(part[:, :1]))
        votes = family.coding.classes.logits(output)
        assert votes.shape == family.coding.classes.encode(part[:, 1:]).shape == (2, classes, height // 4, width // 4)
        assert family.coding.values(output).shape == (2, 2, height, width)


@pytest.mark.parametrize("name", ["eccv16", "siggraph17"])
def test_any_size_goes_in_through_the_colorizer(name):
    network, family = checks.built(name, width=0.1)
    lightness = checks.eight_frames(40)[:2, :1, :37, :21].contiguous()
    lab = colorize.Colorizer(network, family, {"name": name})(lightness)
    assert lab.shape == (2, 3, 37, 21) and torch.equal(lab[:, :1], lightness) and torch.isfinite(lab).all()


# Mean and standard deviation of the output for fixed weights and pictures, float32 on a CPU.
GOLDEN = {"eccv16": (0.1349965, 0.2133249), "siggraph17": (0.0163697, 0.1086964)}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_forward(name):
    network, family = checks.built(name)
    if name == "eccv16":  # its votes begin about equal; let its last layer say something
        torch.nn.init.normal_(network.model8[-1].weight, std=0.1)
    lab = checks.eight_frames(32)[:2]
    extra = {"hints": hints_of(lab)} if family.hints else {}
    settle(network, family, checks.view_of(lab, family, **extra))
    assert checks.golden(network, family, lab, **extra) == pytest.approx(GOLDEN[name], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("eccv16", {"width": 0}, "width must be above 0"),
        ("siggraph17", {"mask_centre": 2}, "mask_centre must be from 0 to 1"),
        ("siggraph17", {"detach": True, "classes": False}, "leaves nothing that trains the trunk"),
    ],
)
def test_wrong_options_are_told(name, options, sentence):
    with pytest.raises(UserError, match=sentence):
        models.build(name, options)


# --------------------------------------------------------------------------------------------- learning

# name, options, loss, learning rate, steps, loss that must be reached, and share of the best single colour's squared error
# that must be reached in evaluation. Entropy of the soft targets leaves 1.11 of the weighted cross-entropy.
FITS = [
    ("eccv16", {"width": 0.25}, {"name": "classes"}, 1e-3, 120, 1.5, 0.3),
    ("eccv16", {"width": 0.25}, {"name": "mse"}, 1e-3, 100, 0.006, 0.2),
    ("siggraph17", {"width": 0.125, "classes": False}, {"name": "mse"}, 3e-3, 100, 0.006, 0.2),
    ("siggraph17", {"width": 0.125}, {"name": "l1", "weight": 10, "classes": 1}, 3e-3, 120, 3.5, 0.35),
    ("siggraph17", {"width": 0.125, "detach": True}, {"name": "l1", "weight": 10, "classes": 1}, 3e-3, 120, 3.5, 0.35),
]


@pytest.mark.parametrize(("name", "options", "loss", "lr", "steps", "stated", "share"), FITS)
def test_eight_frames_are_learnt_and_gradients_reach_everything(name, options, loss, lr, steps, stated, share):
    network, family = checks.built(name, **options)
    lab = checks.eight_frames(32)
    extra = {"hints": hints_of(lab)} if family.hints else {}
    if loss["name"] == "mse":
        found = checks.overfit(network, family, lab, steps=steps, lr=lr, **extra)
    else:
        found = checks.overfit(network, family, lab, steps=steps, lr=lr, loss=minimised(**loss), **extra)
    assert found.last < stated and found.shown < share * found.least


def test_votes_learnt_become_the_colours_of_the_frames():
    """Trained with classes alone, the annealed mean is the picture: far nearer than grey."""
    network, family = checks.built("eccv16", width=0.25)
    lab = checks.eight_frames(32)
    found = checks.overfit(network, family, lab, steps=60, lr=1e-3, loss=minimised(name="classes", rebalance=None))
    assert found.shown < 0.3 * family.coding.encode_target(lab).square().mean()


def test_exact_votes_are_decoded_to_their_colours():
    """Pictures of one colour each come back through encoding, annealed mean and enlargement."""
    ab = torch.tensor([[0.0, 0.0], [30.0, -40.0], [-50.0, 60.0]])[:, :, None, None].expand(3, 2, 16, 16)
    coding = models.family("eccv16").coding
    lab = coding.decode(torch.full((3, 1, 16, 16), 50.0), coding.classes.encode(ab).log())
    assert torch.allclose(lab[:, 1:], ab, atol=0.1)


# ------------------------------------------------------------------------------------ siggraph17's parts


def test_hints_change_the_picture_and_none_is_a_mask_of_noughts():
    network, family = checks.built("siggraph17", width=0.1)
    lab = checks.eight_frames(32)[:2]
    none = checks.forward(network, family, View(lab[:, :1])).ab
    noughts = checks.forward(network, family, View(lab[:, :1], hints=torch.zeros_like(lab))).ab
    assert torch.equal(none, noughts)
    shown = family.coding.encode_input(View(lab[:, :1], hints=hints_of(lab)))
    assert torch.equal(shown[:, 3:], hints_of(lab)[:, 2:]) and torch.allclose(shown[:, 1:3, ::8, ::8] * 110, lab[:, 1:, ::8, ::8])
    assert not torch.allclose(checks.forward(network, family, View(lab[:, :1], hints=hints_of(lab))).ab, none)


def test_the_centre_is_taken_from_the_mask_alone():
    plain, centred = (checks.built("siggraph17", width=0.1, mask_centre=centre)[0].eval() for centre in (0.0, 0.5))
    x = torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    shifted = x - torch.tensor([0, 0, 0, 0.5])[None, :, None, None]
    with torch.no_grad():
        assert torch.equal(centred(x).ab, plain(shifted).ab)


def test_detached_colours_leave_the_trunk_to_the_classes():
    network, family = checks.built("siggraph17", width=0.1, detach=True)
    lab = checks.eight_frames(32)[:2]
    output, _ = run(network, family, View(lab[:, :1]))
    output.ab.square().mean().backward(retain_graph=True)
    painted = {name.split(".")[0] for name, one in network.named_parameters() if one.grad is not None}
    assert painted == {"model9up", "model2short9", "model9", "model10up", "model1short10", "model10", "model_out"}
    output.logits.square().mean().backward()
    assert all(one.grad is not None for one in network.parameters())


def test_without_a_class_head_there_are_no_votes():
    network, family = checks.built("siggraph17", width=0.1, classes=False)
    output = checks.forward(network, family, View(checks.eight_frames(32)[:2, :1]))
    assert output.logits is None and output.ab.shape == (2, 2, 32, 32)
    with pytest.raises(UserError, match=r"set options.classes to true"):
        family.coding.classes.logits(output)


# ------------------------------------------------------------------------------------- published weights

# Layers of the published files, from the layer tables: name, channels in and out, kernel; with a BN after its last layer.
ECCV16 = {
    "model1": ([(0, 1, 64), (2, 64, 64)], 4),
    "model2": ([(0, 64, 128), (2, 128, 128)], 4),
    "model3": ([(0, 128, 256), (2, 256, 256), (4, 256, 256)], 6),
    "model4": ([(0, 256, 512), (2, 512, 512), (4, 512, 512)], 6),
    "model5": ([(0, 512, 512), (2, 512, 512), (4, 512, 512)], 6),
    "model6": ([(0, 512, 512), (2, 512, 512), (4, 512, 512)], 6),
    "model7": ([(0, 512, 512), (2, 512, 512), (4, 512, 512)], 6),
    "model8": ([(2, 256, 256), (4, 256, 256)], None),
}
SIGGRAPH17 = {name: (list(convs), norm) for name, (convs, norm) in ECCV16.items()} | {
    "model1": ([(0, 4, 64), (2, 64, 64)], 4),
    "model8": ([(1, 256, 256), (3, 256, 256)], 5),
    "model3short8": ([(0, 256, 256)], None),
    "model2short9": ([(0, 128, 128)], None),
    "model1short10": ([(0, 64, 128)], None),
    "model9": ([(1, 128, 128)], 3),
    "model10": ([(1, 128, 128)], None),
}
DOUBLED = {"eccv16": [("model8.0", 512, 256)]}
DOUBLED["siggraph17"] = [("model8up.0", 512, 256), ("model9up.0", 256, 128), ("model10up.0", 128, 128)]
HEADS = {"eccv16": [("model8.6", 256, 313)], "siggraph17": [("model_class.0", 256, 529), ("model_out.0", 128, 2)]}


def published(architecture):
    """Random tensors under the names and with the shapes of a published file; BN counts are left out, as old files do."""
    random = torch.Generator().manual_seed(5)
    tensors = {}

    def layer(name, channels_in, channels_out, size, *, turned=False):
        shape = (channels_in, channels_out) if turned else (channels_out, channels_in)
        std = (2 / (channels_in * size**2)) ** 0.5 * (2 if turned else 1)
        tensors[f"{name}.weight"] = torch.randn(*shape, size, size, generator=random) * std
        tensors[f"{name}.bias"] = torch.randn(channels_out, generator=random) * 0.1

    for block, (convs, norm) in (ECCV16 if architecture == "eccv16" else SIGGRAPH17).items():
        for at, channels_in, channels_out in convs:
            layer(f"{block}.{at}", channels_in, channels_out, 3)
        if norm is not None:
            for part in ("weight", "bias", "running_mean", "running_var"):
                drawn = torch.rand(convs[-1][2], generator=random)
                tensors[f"{block}.{norm}.{part}"] = drawn * 0.2 if part in ("bias", "running_mean") else drawn + 0.5
    for name, channels_in, channels_out in DOUBLED[architecture]:
        layer(name, channels_in, channels_out, 4, turned=True)
    for name, channels_in, channels_out in HEADS[architecture]:
        layer(name, channels_in, channels_out, 1)
    if architecture == "eccv16":
        tensors["model_out.weight"] = (bins.CENTRES.T / 110)[:, :, None, None].clone()
    return tensors


class Reference:
    """The published graphs as plain functions of their tensors: a second implementation."""

    def __init__(self, tensors):
        self.of = tensors

    def conv(self, x, name, **options):
        weight = self.of[f"{name}.weight"]
        padding = options.get("dilation", 1) if weight.shape[-1] == 3 else 0
        return functional.conv2d(x, weight, self.of.get(f"{name}.bias"), padding=padding, **options)

    def double(self, x, name):
        return functional.conv_transpose2d(x, self.of[f"{name}.weight"], self.of[f"{name}.bias"], stride=2, padding=1)

    def norm(self, x, name):
        mean, var, weight, bias = (self.of[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, weight, bias)

    def block(self, x, name, numbers, *, stride=1, dilation=1):
        for number in numbers:
            step = stride if number == numbers[-1] else 1
            x = self.conv(x, f"{name}.{number}", stride=step, dilation=dilation).relu()
        return x

    def bottom(self, x):
        for name, dilation in (("model4", 1), ("model5", 2), ("model6", 2), ("model7", 1)):
            x = self.norm(self.block(x, name, (0, 2, 4), dilation=dilation), f"{name}.6")
        return x

    def eccv16(self, lightness):
        """L (N,1,H,W) to ab (N,2,H,W), as the published file paints it."""
        x = (lightness - 50) / 100
        for name, numbers in (("model1", (0, 2)), ("model2", (0, 2)), ("model3", (0, 2, 4))):
            x = self.norm(self.block(x, name, numbers, stride=2), f"{name}.{numbers[-1] + 2}")
        x = self.double(self.bottom(x), "model8.0").relu()
        votes = self.conv(self.block(x, "model8", (2, 4)), "model8.6").softmax(dim=1)
        return functional.interpolate(self.conv(votes, "model_out"), scale_factor=4, mode="bilinear") * 110

    def siggraph17(self, lightness, hints):
        """L and hints to ab and logits."""
        x = torch.cat(((lightness - 50) / 100, hints[:, :2] / 110, hints[:, 2:]), dim=1)
        full = self.norm(self.block(x, "model1", (0, 2)), "model1.4")
        half = self.norm(self.block(full[:, :, ::2, ::2], "model2", (0, 2)), "model2.4")
        quarter = self.norm(self.block(half[:, :, ::2, ::2], "model3", (0, 2, 4)), "model3.6")
        x = self.double(self.bottom(quarter[:, :, ::2, ::2]), "model8up.0") + self.conv(quarter, "model3short8.0")
        trunk = self.norm(self.block(x.relu(), "model8", (1, 3)), "model8.5")
        x = self.double(trunk, "model9up.0") + self.conv(half, "model2short9.0")
        x = self.norm(self.block(x.relu(), "model9", (1,)), "model9.3")
        x = self.double(x, "model10up.0") + self.conv(full, "model1short10.0")
        x = functional.leaky_relu(self.conv(x.relu(), "model10.1"), 0.2)
        return self.conv(x, "model_out.0").tanh() * 110, self.conv(trunk, "model_class.0")


def test_published_eccv16_weights_paint_what_the_published_network_paints():
    network, family = checks.built("eccv16")
    tensors = published("eccv16")
    network.load_encoder(tensors)
    lightness = checks.eight_frames(32)[:2, :1]
    with torch.no_grad():
        expected = Reference(tensors).eccv16(lightness)
        painted = family.coding.decode(lightness, checks.forward(network, family, View(lightness)))[:, 1:]
    assert expected.std() > 1 and torch.allclose(painted, expected, atol=1e-2)


def test_published_siggraph17_weights_paint_what_the_published_network_paints():
    network, family = checks.built("siggraph17")
    tensors = published("siggraph17")
    network.load_encoder(tensors)
    lab = checks.eight_frames(32)[:2]
    with torch.no_grad():
        ab, logits = Reference(tensors).siggraph17(lab[:, :1], hints_of(lab))
        output = checks.forward(network, family, View(lab[:, :1], hints=hints_of(lab)))
    assert ab.std() > 1 and torch.allclose(family.coding.values(output) * 110, ab, atol=1e-2)
    assert torch.allclose(output.logits, logits, atol=1e-3)
    headless = Siggraph17(classes=False)
    headless.load_encoder(tensors)
    assert torch.equal(headless.model_out[0].weight, tensors["model_out.0.weight"])


@pytest.mark.parametrize("architecture", ["eccv16", "siggraph17"])
def test_a_published_file_goes_through_the_weights_stage_into_the_network(architecture, tmp_path):
    tensors, file = published(architecture), tmp_path / "published.pth"
    torch.save(tensors, file)

    def asked():
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        return Weights(architecture=architecture, path=str(file), sha256=sha256, licence="BSD 2-Clause")

    facts = weights(asked(), name="published", out=tmp_path / "weights", cache=tmp_path / "cache")
    assert facts["architecture"] == architecture and facts["parameters"] in (32_235_385, 34_187_027)
    assert facts["check"]["chroma"] > 1 and facts["check"]["mse_ab_grey"] > 0
    begun, straight = models.build(architecture, {}), models.build(architecture, {})
    begin_with(tmp_path / "weights", begun, Model(family=architecture, pretrained="published"), "mine")
    straight.load_encoder(tensors)
    assert all(torch.equal(one, other) for one, other in zip(begun.parameters(), straight.parameters(), strict=True))
    torch.save({name: tensor for name, tensor in tensors.items() if name != "model2.0.bias"}, file)
    with pytest.raises(UserError, match=rf"published.pth \(weights.published\): .*{architecture} \(model2.0.bias is missing\)"):
        weights(asked(), name="published", out=tmp_path / "others", cache=tmp_path / "cache")
    assert not (tmp_path / "others").exists()


def test_weights_that_paint_nothing_are_refused():
    with pytest.raises(UserError, match=r"the file leaves photographs grey"):
        colouring.checked({name: tensor * 0 for name, tensor in published("siggraph17").items()}, "siggraph17", what="the file")


def test_weights_that_do_not_fit_are_told_with_the_first_few_names():
    tensors = published("eccv16")
    network = Eccv16()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(UserError, match=r"do not fit eccv16 \(model1.0.weight is missing; extra is unknown\)"):
        network.load_encoder(
            {name: value for name, value in tensors.items() if name != "model1.0.weight"} | {"extra": torch.ones(1)}
        )
    with pytest.raises(UserError, match=r"model3.0.weight is 1x1x3x3, not 256x128x3x3"):
        network.load_encoder(tensors | {"model3.0.weight": torch.ones(1, 1, 3, 3)})
    with pytest.raises(UserError, match=r"313 colours in their order"):
        network.load_encoder(tensors | {"model_out.weight": tensors["model_out.weight"].flip(1)})
    with pytest.raises(UserError, match=r"do not fit siggraph17 \(.* and \d+ more\)"):
        Siggraph17(width=0.1).load_encoder(tensors)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "nothing was copied"
