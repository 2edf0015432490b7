"""What is certain when params.yaml is read: the torch-free table is what the families are, and misfits are refused at once."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from kinemacolor import dag, misfits, models, params
from kinemacolor.errors import UserError
from kinemacolor.models.needs import needs_of

ROOT = Path(__file__).parents[2]
DOCUMENT = params.read_document(ROOT / "tests/golden/params.yaml")
WITH_OPTIONS = [
    *((family, {}) for family in models.MODULES),
    *(("unet_gan", {"levels": levels}) for levels in (2, 5)),
    ("unet_lstm_gan", {"levels": 3, "cell": "lstm_vec"}),
    ("unet_lstm_gan", {"levels": 3, "cell": "lstm_flat"}),
    ("unet_lstm_gan", {"levels": 3, "cell": "lstm_flat", "bottleneck": 3}),
    *(("nazeri_gan", {"form": form}) for form in (32, 256)),
    *(("koalarization", {"embedding": name}) for name in ("vgg16", "efficientnet_lite0")),
    ("fusion", {"embedding": "alexnet"}),
    ("resnet18_lab", {"freeze": True}),
    ("vgg16_lab", {"batch_norm": True}),
    ("vgg16_lab", {"freeze": True}),
    ("siggraph17", {"classes": False}),
]


@pytest.mark.parametrize(("name", "options"), WITH_OPTIONS, ids=str)
def test_the_table_says_what_the_network_itself_says(name, options):
    family, needs = models.family(name), needs_of(name, options)
    with torch.device("meta"):
        network = models.build(name, options)
    assert needs.multiple == models.multiple_of(network, family)
    assert needs.side == models.side_of(network, family)
    assert needs.coloured == (family.memory == "coloured")
    assert needs.hints == family.hints
    votes = family.coding.classes is not None and getattr(network, "model_class", True) is not None
    assert needs.classes == votes
    assert needs.begins_with == (network.architecture if hasattr(network, "load_encoder") else None)
    assert needs.must_begin == any(not parameter.requires_grad for parameter in network.parameters())


def described(dataset: dict | None = None, weights: dict | None = None, also: dict | None = None, **model) -> params.Params:
    """The default params with one more model, `mine`, trained on the game."""
    document = copy.deepcopy(DOCUMENT)
    for section, values in (dataset or {}).items():
        document["datasets"]["freedoom"].setdefault(section, {}).update(values)
    document["weights"] |= weights or {}
    document["models"] |= {"mine": model} | (also or {})
    document["experiments"] = {"freedoom": ["mine"]}
    return params.check(document)


@pytest.mark.parametrize(
    "chosen",
    [
        described(family="lab_unet"),
        described(family="lab_unet", crop=64),
        described({"frames": {"size": 96}}, family="unet_gan", options={"levels": 5}),
        described({"frames": {"size": 256}}, family="alexnet_prev_own", crop=128),
        described(family="vgg16_prev", pretrained="vgg16", precoloured_by="alpha"),
        described(family="koalarization", pretrained="mobilenet_v2"),
        described(family="siggraph17", loss={"name": "l1", "classes": 1}),
        described(family="siggraph17", options={"classes": False}, loss="l1"),
    ],
)
def test_what_fits_is_let_through(chosen):
    assert ("freedoom", "mine") in dag.asked_for(chosen)


PREV = {"family": "alexnet_prev", "precoloured_by": "alpha"}


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (described(family="alexnet_prev"), "models.mine.precoloured_by is missing"),
        (
            described(family="lab_unet", precoloured_by="alpha"),
            "models.mine.precoloured_by names 'alpha', but 'lab_unet' does not see",
        ),
        (
            described(family="alexnet_prev", precoloured_by="other", also={"other": {"family": "alexnet_prev"}}),
            "models.mine.precoloured_by names 'other', whose family 'alexnet_prev' sees coloured frames itself",
        ),
        (described(family="lab_unet", pretrained="vgg16"), "models.mine.pretrained names 'vgg16', but 'lab_unet' does not begin"),
        (
            described(family="vgg16_lab", pretrained="vgg16", options={"batch_norm": True}),
            "models.mine.pretrained names 'vgg16', which are weights of vgg16, but this 'vgg16_lab' needs those of vgg16_bn",
        ),
        (
            described(family="vgg16_prev_own"),
            "models.mine.pretrained is missing: 'vgg16_prev_own' has an encoder that is never trained",
        ),
        (described(family="fusion"), "models.mine.pretrained is missing: 'fusion' sees an embedding"),
        (described(family="alpha", loss="classes"), "models.mine.loss weighs votes for colour classes"),
        (described(family="alpha", loss={"name": "l1", "classes": 1}), "models.mine.loss.classes weighs votes"),
        (
            described(family="siggraph17", options={"classes": False}, loss={"name": "l1", "classes": 1}),
            "models.mine.loss.classes weighs votes",
        ),
        (
            described(family="alpha", crop=136),
            "models.mine.crop is 136, larger than the frames (datasets.freedoom.frames.size is 128)",
        ),
        (
            described({"augment": {"crop": 136}}, family="alpha"),
            "datasets.freedoom.augment.crop is 136, larger than the frames that models.mine.family is trained on",
        ),
        (
            described({"frames": {"size": 72}}, family="lab_unet"),
            "models.mine.family: 'lab_unet' needs sides that are multiples of 16, but datasets.freedoom.frames.size is 72: set it to 64 or 80",
        ),
        (
            described({"frames": {"size": [64, 100]}}, family="lab_unet"),
            "but datasets.freedoom.frames.size is [64, 100]: set it to [64, 96] or [64, 112]",
        ),
        (
            described(family="unet_gan", options={"levels": 6}, crop=96),
            "multiples of 64, but models.mine.crop is 96: set it to 64 or 128",
        ),
        (
            described(crop=64, **PREV),
            "'alexnet_prev' takes pictures of 128x128 and no others, but models.mine.crop is 64: set it to 128",
        ),
        (
            described(family="unet_lstm_gan", options={"cell": "lstm_flat"}),
            "takes pictures of 256x256 and no others, but datasets.freedoom.frames.size is 128",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_sentence_that_names_the_key(chosen, words):
    with pytest.raises(UserError) as caught:
        misfits.refuse(chosen)
    assert words in str(caught.value) and str(caught.value).endswith(".") and "models.mine." in str(caught.value)
    with pytest.raises(UserError):
        dag.asked_for(chosen)


def test_a_model_that_no_experiment_trains_is_left_in_peace():
    document = copy.deepcopy(DOCUMENT)
    document["models"]["later"] = {"family": "alexnet_prev", "crop": 4096}
    assert dag.asked_for(params.check(document))
