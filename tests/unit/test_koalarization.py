"""Fusion networks: sizes, what they join, and that the encoder inside is frozen and the embedding the one that is kept."""

import pytest
import torch
from torch.nn import functional

from kinemacolor import colorize, models
from kinemacolor.errors import UserError
from kinemacolor.models import encoders
from kinemacolor.models.coding import View
from tests.unit import network_checks as checks

# family, options -> parameters to train (models.md, section 14; 1000 in place of 1001 logits are 256 fewer), and in all
COUNTS = [
    ("koalarization", {"embedding_size": 1001}, 6_574_050, 6_574_050),
    ("koalarization", {}, 6_573_794, 6_573_794 + 3_504_872),
    ("koalarization", {"embedding": "efficientnet_lite0"}, 6_573_794, 6_573_794 + 4_652_008),
    ("koalarization", {"embedding": "vgg16"}, 6_573_794 - 488 * 256, 6_573_794 - 488 * 256 + 14_714_688),
    ("fusion", {}, 6_541_202, 6_541_202 + 3_504_872),
]
BOTH = ["koalarization", "fusion"]

# Mean and standard deviation of the output for seed 0 at a quarter of the width, float32 on a CPU.
GOLDEN = {"koalarization": (-0.07347368, 0.09262241), "fusion": (0.00051968, 0.00799451)}


@pytest.mark.parametrize(("name", "options", "trainable", "every"), COUNTS)
def test_parameter_counts(name, options, trainable, every):
    with torch.device("meta"):
        network, _ = checks.built(name, **options)
    assert (checks.parameters(network, trainable=True), checks.parameters(network)) == (trainable, every)
    if "embedding" not in options and options:
        assert network.fusion.weight.numel() + 256 == 322_048  # models.md, section 2


@pytest.mark.parametrize("name", BOTH)
def test_shape_range_and_golden_forward(name):
    network, family = checks.built(name, width=0.25)
    lab = checks.eight_frames(32)[:2]
    checks.check_shape_and_range(network, family, lab)
    assert float(forward(network, family, lab).abs().max()) < 1
    assert checks.golden(network, family, lab) == pytest.approx(GOLDEN[name], rel=1e-3, abs=1e-6)


def forward(network, family, lab, **extra):
    return checks.forward(network, family, View(lab[:, :1], **extra))


def test_the_sources_own_codings():
    lab = checks.eight_frames(16)
    for name, scale, low, high in (("koalarization", 127, -1, 1), ("fusion", 128, 0, 100)):
        coding = models.family(name).coding
        x = coding.encode_input(View(torch.tensor([0.0, 100.0]).view(2, 1, 1, 1)))
        assert x.flatten().tolist() == [low, high]
        assert torch.equal(coding.encode_target(lab), lab[:, 1:] / scale)


@pytest.mark.parametrize("name", BOTH)
def test_fusing_by_parts_equals_one_convolution_of_both(name):
    """The papers tile the embedding over all places, join it to the local features and convolve 1x1."""
    network, family = checks.built(name, width=0.25)
    lab, embedding = checks.eight_frames(32)[:2], torch.randn(2, 1000)
    found = forward(network, family, lab, embedding=embedding)
    with torch.no_grad():
        local = network.down(family.coding.encode_input(View(lab[:, :1])))
        whole = torch.softmax(embedding, dim=1) if name == "fusion" else embedding
        tiled = whole[:, :, None, None].expand(-1, -1, *local.shape[-2:])
        expected = network.up(functional.relu(network.fusion(torch.cat((local, tiled), dim=1))))
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, forward(network, family, lab, embedding=embedding.flip(0)), atol=1e-4), (
        "the embedding counts"
    )


@pytest.mark.parametrize("name", BOTH)
def test_a_kept_embedding_gives_what_the_encoder_inside_gives(name):
    network, family = checks.built(name, width=0.25)
    lab = checks.eight_frames(40)[:2]
    kept = network.embed(lab[:, :1])
    assert kept.shape == (2, 1000) and not kept.requires_grad
    assert torch.equal(forward(network, family, lab), forward(network, family, lab, embedding=kept))


@pytest.mark.parametrize(("name", "stated"), [("koalarization", 0.35), ("fusion", 0.4)])
def test_eight_frames_are_learnt_and_the_encoder_stays_as_it_is(name, stated):
    """To a share of the best single colour's error. `overfit` compares the frozen tensors, statistics included, before and after."""
    network, family = checks.built(name, width=0.25)
    lab = checks.eight_frames(32)
    before = network.embed(lab[:, :1])
    found = checks.overfit(network, family, lab, steps=150, lr=2e-3, embedding=before)
    assert found.shown < stated * found.least
    network.train()
    assert not network.encoder.training and network.down.training
    assert torch.equal(network.embed(lab[:, :1]), before)


def test_published_weights_go_into_the_encoder_and_others_are_refused():
    network, _ = checks.built("koalarization", width=0.25)
    assert network.architecture == "mobilenet_v2"
    torch.manual_seed(1)
    published = encoders.frozen(encoders.build("mobilenet_v2"))
    network.load_encoder(published.state_dict())
    lightness = checks.eight_frames(32)[:2, :1]
    assert torch.equal(network.embed(lightness), published.embed_grey(lightness))
    assert not any(parameter.requires_grad for parameter in network.encoder.parameters())
    with pytest.raises(UserError, match=r"The weights for mobilenet_v2 do not fit: features.0.0.weight is missing, "):
        network.load_encoder(encoders.build("alexnet").state_dict())


def test_an_embedding_of_another_size_is_refused():
    network, family = checks.built("koalarization", width=0.25)
    with pytest.raises(UserError, match="The embedding has 512 numbers and this network takes 1000"):
        forward(network, family, checks.eight_frames(16), embedding=torch.zeros(8, 512))
    network, _ = checks.built("koalarization", width=0.25, embedding_size=1001)
    with pytest.raises(UserError, match="takes embeddings of 1001 numbers, which mobilenet_v2 does not give"):
        network.embed(torch.zeros(1, 1, 8, 8))
    with pytest.raises(UserError, match=r"'koalarization' does not take these options \(no encoder is called 'inception'"):
        models.build("koalarization", {"embedding": "inception"})


@pytest.mark.parametrize("name", BOTH)
def test_any_size_can_be_coloured(name):
    network, family = checks.built(name, width=0.25)
    lab = colorize.Colorizer(network, family, {"name": name})(checks.eight_frames(64)[:2, :1, :37, :51])
    assert lab.shape == (2, 3, 37, 51) and torch.isfinite(lab).all()
