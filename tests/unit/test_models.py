"""The registry, the networks of projects Games and Film, ours, and what a trained model needs to load."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kinemacolor import colorize, models
from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.models import MODULES
from kinemacolor.models.coding import View
from tests.unit import network_checks as checks

# (family, options) -> parameters; models.md, section 14.
COUNTS = {
    ("alpha", ()): 32_202,
    ("beta", ()): 3_892_194,
    ("beta", (("width", 0.5),)): 973_810,
    ("film_unet", ()): 1_885_827,
    ("naive", ()): 0,
}

# (family, options) -> mean and standard deviation of the output for fixed weights and pictures, float32 on a CPU.
GOLDEN = {
    ("alpha", ()): (-0.0028061577, 0.0033012077),
    ("beta", (("width", 0.5),)): (-0.0033034837, 0.0022568454),
    ("film_unet", ()): (0.0559734949, 0.0788635812),
    ("lab_unet", ()): (-0.0007171558, 0.0017439459),
}

# family, options, learning rate, steps, share of the best single colour's squared error that must be reached in evaluation.
FITS = [
    ("alpha", {}, 5e-3, 400, 0.15),
    ("beta", {"width": 0.25}, 2e-3, 120, 0.4),
    ("film_unet", {}, 2e-3, 40, 0.3),
    ("lab_unet", {"width": 8, "dropout": 0.0}, 1e-2, 80, 0.2),
]


@pytest.mark.parametrize(("key", "count"), COUNTS.items())
def test_parameter_counts(key, count):
    family, options = key
    assert sum(parameter.numel() for parameter in models.build(family, dict(options)).parameters()) == count


@pytest.mark.parametrize(("key", "expected"), GOLDEN.items())
def test_golden_forward(key, expected):
    network, family = checks.built(key[0], **dict(key[1]))
    if key[0] == "lab_unet":  # it begins at grey; let its last layer say something
        torch.nn.init.normal_(network.out.weight, std=0.1)
    found = checks.golden(network, family, checks.eight_frames(32)[:2])
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(("name", "options", "lr", "steps", "stated"), FITS)
def test_eight_frames_are_learnt_and_gradients_reach_everything(name, options, lr, steps, stated):
    network, family = checks.built(name, **options)
    found = checks.overfit(network, family, checks.eight_frames(32), steps=steps, lr=lr)
    assert found.shown < stated * found.least


def lightness(height=40, width=56, batch=2):
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(1)) * 100


@pytest.mark.parametrize("name", ["naive", "film_unet", "lab_unet", "alpha", "beta"])
def test_any_size_goes_in_and_lab_of_that_size_comes_out(name):
    torch.manual_seed(0)
    colorizer = colorize.Colorizer(models.build(name, {}), models.family(name), {"name": name})
    for height, width in ((40, 56), (37, 51), (5, 3)):
        grey = lightness(height, width)
        lab = colorizer(grey)
        assert lab.shape == (2, 3, height, width) and torch.isfinite(lab).all()
        if colorizer.keeps_luminance:
            assert torch.equal(lab[:, :1], grey)


@pytest.mark.parametrize("name", ["naive", "film_unet", "lab_unet", "alpha", "beta"])
def test_coding_takes_the_truth_back(name):
    coding = models.family(name).coding
    rgb = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    lab = rgb_to_lab(rgb)
    back = coding.decode(lab[:, :1], coding.encode_target(lab))
    assert np.allclose(back, lab, atol=2e-2)


# model of params.yaml -> (parameters, of which trainable); models.md, section 14, where it gives one.
LISTED = {
    "naive": (0, 0),
    "alpha": (32_202, 32_202),
    "beta": (3_892_194, 3_892_194),
    "beta_half": (973_810, 973_810),
    # Trainable 6,574,050 with the 1001 classes of TensorFlow, 6,541,202 for fusion; beside them a frozen MobileNetV2.
    "koalarization": (6_574_050 - 256 + 3_504_872, 6_574_050 - 256),
    "fusion": (6_541_202 + 3_504_872, 6_541_202),
    # The published 954,530 and three batch norms of the decoder, which declares but does not use them (options.mended).
    "resnet18_lab": (954_530 + 192, 954_530 + 192),
    "vgg16_lab": (2_159_714, 2_159_714),  # "about 2.16 M"
    "vgg16_lab_frozen": (8_354_402, 720_290),
    "vgg16_lab_bn": (2_162_018, 2_162_018),
    "film_unet": (1_885_827, 1_885_827),
    "film_gan": (1_885_827, 1_885_827),
    "film_cgan": (1_885_827, 1_885_827),
    "unet_gan": (41_824_898, 41_824_898),
    "unet_l1": (41_824_898, 41_824_898),
    "unet_lstm_gan": (41_824_898 + 18_876_416, 41_824_898 + 18_876_416),
    "unet_lstm_l1": (41_824_898 + 18_876_416, 41_824_898 + 18_876_416),
    "eccv16": (32_235_385, 32_235_385),
    "cunet": (23_156_674, 23_156_674),
    "siggraph17": (34_187_027, 34_187_027),
    # Keras counts the running statistics of batch norms, torch does not: 9,127,971 and 21,783,396 there.
    "alexnet_prev": (9_122_467, 9_122_467),
    "vgg16_prev": (7_065_438 + 14_714_688, 7_065_438),
    # L, ab of the frame before and a flag go in where six colours did, and two channels come out instead of three.
    "alexnet_prev_own": (9_104_514, 9_104_514),
    "vgg16_prev_own": (7_063_031 + 14_714_688, 7_063_031),
    "lab_unet": (1_226_034, 1_226_034),
}


def test_every_model_of_the_projects_is_listed_with_its_size():
    listing = [sys.executable, "-m", "kinemacolor.cli", "models", "--json", "--params", "tests/golden/params.yaml"]
    rows = {row["name"]: row for row in json.loads(subprocess.run(listing, check=True, capture_output=True, text=True).stdout)}
    assert {name: (rows[name]["parameters"], rows[name]["trainable"]) for name in LISTED} == LISTED
    assert {row["family"] for row in rows.values()} == set(MODULES), "families that no model is of are listed too"
    assert all(row["source"] and row["input"] and row["output"] for row in rows.values())


def test_unknown_families_and_options_are_named():
    with pytest.raises(UserError, match=r"'alhpa' is unknown: choose one of alexnet_prev, "):
        models.build("alhpa", {})
    with pytest.raises(UserError, match=r"'beta' does not take these options .*'widht'"):
        models.build("beta", {"widht": 2})


def test_a_view_maps_and_changes_what_is_there():
    view = View(lightness(), starts=torch.tensor([True, False]))
    first = view.map(lambda tensor: tensor[:1])
    assert len(first) == 1 and first.starts.tolist() == [True] and first.hints is None
    assert view.with_(starts=None).starts is None and view.starts is not None


def test_a_model_folder_loads_without_pickle_and_says_what_is_wrong(tmp_path):
    network = models.build("alpha", {})
    with pytest.raises(UserError, match=r"meta.json is missing: train the model"):
        colorize.load(tmp_path)
    write_json(tmp_path / "meta.json", {"name": "m", "params": {"model": {"family": "alpha", "options": {}}}})
    with pytest.raises(UserError, match=r"weights.safetensors is missing"):
        colorize.load(tmp_path)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    loaded = colorize.load(tmp_path)
    reference = colorize.Colorizer(network, models.family("alpha"), {})
    assert torch.equal(loaded(lightness()), reference(lightness()))
    save_file(models.build("beta", {"width": 0.5}).state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"does not fit the network 'alpha'"):
        colorize.load(tmp_path)
