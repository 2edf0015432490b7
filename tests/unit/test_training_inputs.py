"""What a training stands on besides its frames: sizes, weights, embeddings, another model's colours, a prior of colours."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from kinemacolor import colorize, models
from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of, write_json
from kinemacolor.frames.index import FrameStore, open_stores
from kinemacolor.models import encoders
from kinemacolor.params import AugmentParams
from tests.unit.test_frames import write_store
from tests.unit.tiny_title import curves_of, run_train, settings, write_title


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The title; the test runs inside its folder, without tracking."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return write_title(tmp_path)


def test_sizes_name_the_multiple_and_the_nearest(data):
    with pytest.raises(UserError, match=r"m needs sides that are multiples of 8, but augment.crop is 12: choose 8 or 16\.$"):
        run_train(data, "m", augment=AugmentParams(crop=12))
    with pytest.raises(UserError, match=r"m needs sides that are multiples of 8, but crop is 10: choose 8 or 16\.$"):
        run_train(data, "m", augment=AugmentParams(crop=12), crop=10)
    with pytest.raises(UserError, match=r"takes pictures of 128x128 and no others, but frames.size is 16x16: set frames.size to"):
        run_train(data, "m", family="alexnet_prev_own")
    with pytest.raises(UserError, match=r"m: crop \(24\) is larger than the frames \(16x16\): lower it\.$"):
        run_train(data, "m", crop=24)


def test_a_network_that_films_are_shrunk_for_is_not_trained_on_crops(tmp_path, data):
    write_store(tmp_path / "large/frames", np.zeros((28, 3, 144, 144), np.uint8))
    shutil.copyfile(data / "filter.parquet", tmp_path / "large/filter.parquet")
    sentence = (
        r"m takes pictures of 128x128 and no others, but frames.size is 144x144 and {} is 128: set frames.size to 128 and remove"
    )
    with pytest.raises(UserError, match=sentence.format("crop")):
        run_train(tmp_path / "large", "m", family="alexnet_prev_own", crop=128)
    with pytest.raises(UserError, match=sentence.format("augment.crop")):
        run_train(tmp_path / "large", "m", family="alexnet_prev_own", augment=AugmentParams(crop=128))


def test_options_that_training_can_make_nothing_of_are_refused(data):
    with pytest.raises(
        UserError, match=r"m leaves its trunk to the loss over classes \(options.detach\), and its loss has none: set"
    ):
        run_train(data, "m", family="siggraph17", options={"detach": True, "width": 0.1})
    with pytest.raises(
        UserError, match=r"m takes embeddings of 7 numbers, which mobilenet_v2 inside it does not give, and could"
    ):
        run_train(data, "m", family="koalarization", options={"embedding_size": 7, "width": 0.1})


def test_frames_that_no_index_has_and_sources_given_twice_are_named(data):
    table = pd.read_parquet(data / "filter.parquet")
    for column, value, sentence in (
        ("source", "other", "Frame 10 of other is in the filter table but in no frame index"),
        ("frame", 11, "Frame 11 of film is in the filter table but in no frame index"),
        ("frame", 12, "Frame 12 of film is twice in the filter table"),
    ):
        wrong = table.copy()
        wrong.loc[5, column] = value
        wrong.to_parquet(data / "filter.parquet", index=False)
        with pytest.raises(UserError, match=sentence):
            run_train(data, "m")
    table.to_parquet(data / "filter.parquet", index=False)
    shutil.copytree(data / "frames", data / "again")
    with pytest.raises(UserError, match="again holds frames of 'film', as another folder does"):
        open_stores([data / "frames", data / "again"])


def test_a_sources_name_is_never_a_path(tmp_path):
    for name in ("../up", "/root", "A b"):
        write_store(tmp_path / "frames", np.zeros((1, 3, 8, 8), np.uint8), source=name)
        with pytest.raises(UserError, match=r"The source in .*frames/index.parquet .* may hold only a-z, 0-9 and _"):
            FrameStore(tmp_path / "frames")
        shutil.rmtree(tmp_path / "frames")


def test_only_checkpoints_are_removed_from_the_folder_that_was_named(data):
    (data / "own/0123456789abcdef").mkdir(parents=True)
    (data / "own/0123456789abcdef/last.ckpt").touch()
    (data / "own/notes").mkdir()
    write_json(data / "slice.json", {"model": settings(epochs=1).model_dump(mode="json")})
    command = [sys.executable, "-m", "kinemacolor.cli", "train", "frames", "--filter", "filter.parquet", "--params", "slice.json"]
    done = subprocess.run([*command, "--out", "m", "--checkpoints", "own"], stderr=subprocess.PIPE, text=True, check=True)
    assert "dataset/model: the checkpoint of an earlier training is of other values" in done.stderr
    assert [entry.name for entry in (data / "own").iterdir()] == ["notes"] and not (data / ".checkpoints").exists()


def test_a_validation_loss_that_is_no_number_stops_the_training(data, monkeypatch):
    spoilt = alpha_that_spoils_evaluation()
    monkeypatch.setattr(models, "build", lambda name, options: spoilt)
    with pytest.raises(
        UserError, match=r"Training diverged in epoch 1 \(the validation loss is nan\): lower optimiser.lr, now 0.002"
    ):
        run_train(data, "m")


def alpha_that_spoils_evaluation() -> torch.nn.Module:
    class Spoilt(torch.nn.Sequential):
        def forward(self, x):
            found = super().forward(x)
            return found if self.training else torch.where(torch.arange(len(found))[:, None, None, None] == 1, torch.nan, found)

    return Spoilt(*models.family("alpha").build())


def test_one_device_by_ddp_gives_what_it_gives_without(data):
    values = {"model": settings(epochs=2, strategy="ddp").model_dump(mode="json")}
    run_train(data, "plain", epochs=2)
    write_json(data / "slice.json", values)
    command = [sys.executable, "-m", "kinemacolor.cli", "train", "frames", "--filter", "filter.parquet", "--params", "slice.json"]
    subprocess.run([*command, "--out", "ddp"], check=True, capture_output=True)
    assert curves_of(data / "ddp") == curves_of(data / "plain")


def test_what_is_missing_for_a_network_is_said_in_one_sentence(data):
    with pytest.raises(UserError, match=r"m begins with the weights 'vgg': give the folder that holds them with --weights"):
        run_train(data, "m", pretrained="vgg")
    with pytest.raises(UserError, match=r"m sees frames as another model coloured them: name that model in its `precoloured_by`"):
        run_train(data, "m", family="alexnet_prev")
    with pytest.raises(UserError, match=r"`classes` needs a network with colour classes"):
        run_train(data, "m", loss="classes")
    with pytest.raises(UserError, match=r"No 9 consecutive frames stay together .* has 7\): lower `window`"):
        run_train(data, "m", loss={"beta": 0.8}, window=9)


def write_weights(folder: Path, architecture: str) -> Path:
    """Random weights as the weights stage would leave them."""
    folder.mkdir()
    torch.manual_seed(3)
    save_file(encoders.build(architecture).state_dict(), folder / "weights.safetensors")
    facts = {"architecture": architecture, "sha256": sha256_of(folder / "weights.safetensors")}
    write_json(folder / "weights.json", facts)
    return folder


def test_an_encoder_begins_with_its_weights_and_embeddings_must_come_from_them(data):
    vgg, mobile = write_weights(data / "vgg", "vgg16"), write_weights(data / "mobile", "mobilenet_v2")
    with pytest.raises(UserError, match=r"The family 'alpha' does not begin with published weights: remove `pretrained` of m"):
        run_train(data, "m", pretrained="vgg", folders={"weights": vgg})
    changes = {"family": "koalarization", "options": {"width": 0.1}, "epochs": 1, "pretrained": "mobile"}
    with pytest.raises(UserError, match=r"m needs weights of mobilenet_v2, and .*vgg holds those of vgg16: name others"):
        run_train(data, "m", folders={"weights": vgg}, **changes)
    (data / "embeddings").mkdir()
    vectors = np.random.default_rng(1).normal(size=(28, 1000)).astype(np.float32)
    np.save(data / "embeddings/film.npy", vectors)
    facts = {"architecture": "mobilenet_v2", "dimension": 1000, "sha256": "0" * 64, "rows": {"film": 28}}
    write_json(data / "embeddings/embeddings.json", facts)
    with pytest.raises(
        UserError, match=r"embeddings was made of other frames of film than .*frames holds: run the embed stage again"
    ):
        run_train(data, "m", folders={"weights": mobile, "embeddings": data / "embeddings"}, **changes)
    facts |= {"indexes": {"film": sha256_of(data / "frames/index.parquet")}}
    write_json(data / "embeddings/embeddings.json", facts | {"dimension": 512})
    with pytest.raises(UserError, match=r"The embeddings in .* have 512 numbers and m takes 1000: embed the frames with"):
        run_train(data, "m", folders={"weights": mobile, "embeddings": data / "embeddings"}, **changes)
    write_json(data / "embeddings/embeddings.json", facts)
    folders = {"weights": mobile, "embeddings": data / "embeddings"}
    with pytest.raises(UserError, match=r"The embeddings in .* come from other weights than .*mobile: run the embed stage again"):
        run_train(data, "m", folders=folders, **changes)
    with pytest.raises(UserError, match=r"m takes no embedding: leave --embeddings out"):
        run_train(data, "m", folders={"embeddings": data / "embeddings"})
    write_json(data / "embeddings/embeddings.json", facts | {"sha256": sha256_of(mobile / "weights.safetensors")})
    run_train(data, "m", folders=folders, **changes)
    trained, begun = load_file(data / "m/weights.safetensors"), load_file(mobile / "weights.safetensors")
    assert all(torch.equal(trained[f"encoder.{name}"], value) for name, value in begun.items()), "the encoder is frozen"
    (mobile / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"weights.safetensors is damaged .*: run the weights stage again"):
        run_train(data, "m", folders=folders, **changes)


def test_a_model_that_sees_others_colours_keeps_that_other_inside_its_folder(tmp_path, data):
    base = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8)).repeat(16, axis=2).repeat(16, axis=3).astype(np.uint8)
    write_store(tmp_path / "large/frames", base)
    write_store(tmp_path / "large/coloured/film", base // 2)
    frame = np.arange(8)
    table = pd.DataFrame({"source": "film", "frame": frame * 2, "split": np.where(frame < 6, "train", "val"), "keep": True})
    table.assign(cut=frame == 0).to_parquet(tmp_path / "large/filter.parquet", index=False)
    run_train(data, "other", epochs=1)
    large = tmp_path / "large"
    changes = {"family": "alexnet_prev", "options": {"width": 0.1}, "loss": {"beta": 0.8}, "epochs": 1, "precoloured_by": "other"}
    coloured = {"coloured": large / "coloured"}
    said = {"weights_sha256": "0" * 64, "indexes": {"film": "0" * 64}}
    write_json(large / "coloured/precolour.json", said)
    with pytest.raises(
        UserError, match=r"coloured was made of other frames of film than .*frames holds: run the precolour stage"
    ):
        run_train(large, "m", folders=coloured, window=2, **changes)
    said["indexes"] = {"film": sha256_of(large / "frames/index.parquet")}
    write_json(large / "coloured/precolour.json", said)
    with pytest.raises(
        UserError, match=r"were not coloured by the model in .*other as it is now: run the precolour stage again, or"
    ):
        run_train(large, "m", folders=coloured | {"before": data / "other"}, window=2, **changes)
    said["weights_sha256"] = sha256_of(data / "other/weights.safetensors")
    write_json(large / "coloured/precolour.json", said)
    shutil.move(large / "coloured/film", large / "film")
    write_store(large / "coloured/film", base[:, :, :64, :64])
    with pytest.raises(
        UserError, match=r"The coloured frames of film are 64x64 pixels and the frames 128x128: run the precolour stage"
    ):
        run_train(large, "m", folders=coloured | {"before": data / "other"}, window=2, **changes)
    shutil.rmtree(large / "coloured/film")
    shutil.move(large / "film", large / "coloured/film")
    with pytest.raises(UserError, match=r"m sees another model's colours, which it will need again: give that model's folder"):
        run_train(large, "m", folders=coloured, window=2, **changes)
    with pytest.raises(UserError, match=r"m cannot see what another model coloured: remove its `precoloured_by`"):
        run_train(large, "m", folders=coloured, epochs=1)
    meta = run_train(large, "m", folders=coloured | {"before": data / "other"}, window=2, **changes)
    assert meta["before"] == "other" and meta["memory"] == "coloured"
    for file in ("weights.safetensors", "meta.json"):
        assert (large / "m/before" / file).read_bytes() == (data / "other" / file).read_bytes()
    assert colorize.load(large / "m").before.name == "other"


@pytest.mark.parametrize("family", ["eccv16", "siggraph17"])
def test_the_prior_of_colours_is_that_of_the_frames_trained_on(data, family):
    store = FrameStore(data / "frames")
    grey = store.colour(np.arange(28))
    grey[3:6] = grey[3:6, :1]
    write_store(data / "greyer/frames", grey)
    table = pd.read_parquet(data / "filter.parquet")
    table.to_parquet(data / "greyer/filter.parquet", index=False)
    changes = {"family": family, "options": {"width": 0.1}, "epochs": 1, "loss": {"name": "classes", "rebalance": 0.25}}
    run_train(data / "greyer", "m", augment=AugmentParams(crop=8), **changes)
    said = json.loads((data / "greyer/m/prior.json").read_text())
    classes = models.family(family).coding.classes
    assert said["centres"] == classes.centres.tolist() and said["rebalance"] == 0.25
    # Whole frames, whatever the crop; frames without colour do not count, nor those that are not trained on.
    lab = rgb_to_lab(torch.from_numpy(grey[[*range(3), *range(6, 21)]]))
    prior = classes.encode(lab[:, 1:]).double().numpy().mean(axis=(0, 2, 3))
    if family == "siggraph17":  # one class a colour: spread over the neighbours
        distance = np.linalg.norm(classes.centres.numpy()[:, None] - classes.centres.numpy()[None], axis=2)
        kernel = np.exp(-(distance**2) / 50)
        prior = (kernel / kernel.sum(axis=0)) @ prior
        colours = lab[:, 0, ::4, ::4].numel()
        prior = np.where(prior * colours > 0.01, prior, 0)
        prior /= prior.sum()
    assert np.allclose(said["prior"], prior, atol=1e-6)
    p, seen = np.array(said["prior"]), prior > 0
    weights = 1 / (0.75 * p[seen] + 0.25 / seen.sum())
    assert np.allclose(np.array(said["weights"])[seen], weights / (p[seen] * weights).sum(), rtol=1e-3)

    run_train(data, "even", augment=AugmentParams(crop=8), **(changes | {"loss": {"name": "classes", "rebalance": None}}))
    assert not (data / "even/prior.json").exists()
    write_store(data / "none/frames", grey[:, :1].repeat(3, axis=1))
    table.to_parquet(data / "none/filter.parquet", index=False)
    with pytest.raises(UserError, match=r"The training frames are grey, and colour classes need colours"):
        run_train(data / "none", "m", **changes)
