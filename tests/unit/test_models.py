"""The networks: sizes from models.md, codings, and what a trained model needs to load."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kinemacolor import colorize, models
from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.models import MODULES

# (family, options) -> parameters; models.md, section 14.
COUNTS = {
    ("alpha", ()): 32_202,
    ("beta", ()): 3_892_194,
    ("beta", (("width", 0.5),)): 973_810,
    ("film_unet", ()): 1_885_827,
    ("naive", ()): 0,
}


@pytest.mark.parametrize(("key", "count"), COUNTS.items())
def test_parameter_counts(key, count):
    family, options = key
    assert sum(parameter.numel() for parameter in models.build(family, dict(options)).parameters()) == count


def lightness(height=40, width=56, batch=2):
    return torch.rand(batch, 1, height, width, generator=torch.Generator().manual_seed(1)) * 100


@pytest.mark.parametrize("name", MODULES)
def test_any_size_goes_in_and_lab_of_that_size_comes_out(name):
    torch.manual_seed(0)
    colorizer = colorize.Colorizer(models.build(name, {}), models.family(name), {"name": name})
    for height, width in ((40, 56), (37, 51), (5, 3)):
        grey = lightness(height, width)
        lab = colorizer(grey)
        assert lab.shape == (2, 3, height, width) and torch.isfinite(lab).all()
        if colorizer.keeps_luminance:
            assert torch.equal(lab[:, :1], grey)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "naive"])
def test_gradient_reaches_every_parameter_and_the_network_fits_frames(name):
    torch.manual_seed(0)
    family = models.family(name)
    network = models.build(name, {})
    rgb = torch.nn.functional.interpolate(torch.rand(4, 3, 4, 4), size=32, mode="bilinear")
    lab = rgb_to_lab(rgb)
    inputs, target = family.coding.encode_input(lab[:, :1]), family.coding.encode_target(lab)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        loss = (network(inputs) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        if len(losses) == 2:  # the last layer of lab_unet begins at zero and lets gradients through from the second step
            for weight_name, weight in network.named_parameters():
                assert weight.grad is not None and weight.grad.abs().max() > 0, weight_name
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.parametrize("name", MODULES)
def test_coding_takes_the_truth_back(name):
    coding = models.family(name).coding
    rgb = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    lab = rgb_to_lab(rgb)
    back = coding.decode(lab[:, :1], coding.encode_target(lab))
    assert np.allclose(back, lab, atol=2e-2)


def test_unknown_families_and_options_are_named():
    with pytest.raises(UserError, match=r"'alhpa' is unknown: choose one of alpha, beta"):
        models.build("alhpa", {})
    with pytest.raises(UserError, match=r"'beta' does not take these options .*'widht'"):
        models.build("beta", {"widht": 2})


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
