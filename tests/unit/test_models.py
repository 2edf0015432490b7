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

# family, options, learning rate, steps, squared error on eight frames that must be reached (no colour: .034, .31 in RGB).
FITS = [
    ("alpha", {}, 5e-3, 400, 0.004),
    ("beta", {"width": 0.25}, 2e-3, 120, 0.006),
    ("film_unet", {}, 2e-3, 25, 0.06),
    ("lab_unet", {"width": 8, "dropout": 0.0}, 1e-2, 40, 0.008),
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
    _, last = checks.overfit(network, family, checks.eight_frames(32), steps=steps, lr=lr)
    assert last < stated


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


def test_every_family_is_listed_with_what_it_takes_and_gives():
    printed = subprocess.run(
        [sys.executable, "-m", "kinemacolor.cli", "models", "--json"], check=True, capture_output=True, text=True
    ).stdout
    rows = {row["name"]: row for row in json.loads(printed)}
    assert set(rows) == set(MODULES)
    for row in rows.values():
        assert row["source"] and row["input"] and row["output"] and 0 <= row["trainable"] <= row["parameters"]
    assert rows["film_unet"]["parameters"] == 1_885_827


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
