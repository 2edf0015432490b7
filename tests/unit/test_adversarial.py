"""Trainings against a discriminator, with averages, schedules, memories and pictures: they repeat and resume to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from kinemacolor import models
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Material
from kinemacolor.models.coding import AB110, ab_coding
from kinemacolor.params import AugmentParams, Model
from kinemacolor.training import fit
from kinemacolor.training.adversarial import AdversarialTraining
from kinemacolor.training.module import Training
from tests.unit.tiny_title import TIMES, bytes_of, curves_of, run_train, settings, write_title

GAN = {"name": "l1", "weight": 100, "gan": {"layers": 1, "optimiser": {"lr": 0.0002, "betas": [0.5, 0.999]}}}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The title; the test runs inside its folder, without tracking."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return write_title(tmp_path)


# ------------------------------------------------------------------------------------- families for the tests


class Recurrent(torch.nn.Module):
    """A recurrent network as small as can be: the mean of all frames since the start goes into the colour."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.past = torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.Conv2d(1, 2, 1)

    def forward(self, x, starts, state):
        past = x.new_zeros(len(x), *x.shape[2:]) if state is None else state[0]
        out = []
        for step in range(x.shape[1]):
            past = torch.where(starts[:, step, None, None, None], 0.0, past)
            out.append(self.now(x[:, step]) + self.past(past))
            past = 0.5 * past + x[:, step]
        return torch.stack(out, dim=1), (past,)


class OwnColours(torch.nn.Module):
    """Sees its own ab of the frame before."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.layer(x))


def _own_input(view):
    return torch.cat((view.lightness / 50 - 1, view.previous[:, 1:] / 110), dim=1)


STATE = models.Family(build=Recurrent, coding=AB110, multiple=1, source="test", memory="state")
OWN = models.Family(
    build=OwnColours,
    coding=ab_coding("own", scale=110.0, encode_input=_own_input, channels=3),
    multiple=1,
    source="test",
    memory="own",
)


class Killed(BaseException):
    """The power went."""


def training_of(data: Path, model: Model, *, family=None, window=1, killed_at=None) -> Training:
    """A training by itself; it dies when it would tell of epoch `killed_at`, before that epoch's checkpoint is written."""
    table = pd.read_parquet(data / "filter.parquet")
    parts = {part: rows.reset_index(drop=True) for part, rows in table.groupby("split")}
    material = {part: Material({"film": FrameStore(data / "frames")}, rows, torch.device("cpu")) for part, rows in parts.items()}
    torch.manual_seed(model.seed)
    family = family or models.family(model.family)
    network = family.build(**model.options).to(memory_format=torch.channels_last)

    told = []

    def on_epoch(curve):
        told.append(curve["epoch"])
        if curve["epoch"] == killed_at:
            raise Killed

    training = (Training if model.loss.gan is None else AdversarialTraining)(
        network,
        family,
        model=model,
        augment=AugmentParams(),
        train=material["train"],
        val=material["val"],
        window=window,
        on_epoch=on_epoch,
    )
    training.told = told
    return training


EVERYTHING = {
    "loss": GAN | {"gan": GAN["gan"] | {"generator_steps": 2, "rest_above": 0.6, "smoothing": 0.1, "won_after": None}},
    "schedule": "linear",
    "ema": 0.9,
    "clip_gradient": 1.0,
}


@pytest.mark.parametrize(
    ("changes", "family", "window"),
    [
        (EVERYTHING, None, 1),
        ({"loss": {"name": "none", "gan": {"discriminator": "film", "kind": "least_squares"}}}, None, 1),
        ({"family": "lab_unet", "options": {"width": 8, "dropout": 0.3}, "ema": 0.5, "schedule": "cosine"}, None, 1),
        ({"loss": GAN | {"beta": 0.8}}, STATE, 3),
        ({"ema": 0.9, "previous": {"own": [0.2, 0.9], "drop": 0.2}}, OWN, 3),
    ],
    ids=["gan with everything", "film's gan alone", "average and dropout", "recurrent gan", "own colours"],
)
def test_a_resumed_training_equals_an_unbroken_one_to_the_byte(data, changes, family, window):
    model = settings(**changes)
    unbroken = training_of(data, model, family=family, window=window)
    fit.fit(unbroken, model, torch.device("cpu"), data / "unbroken")
    with pytest.raises(Killed):
        killed = training_of(data, model, family=family, window=window, killed_at=3)
        fit.fit(killed, model, torch.device("cpu"), data / "killed")
    again = training_of(data, model, family=family, window=window)
    fit.fit(again, model, torch.device("cpu"), data / "killed")
    assert again.told == [3, 4] and unbroken.told == [1, 2, 3, 4]
    assert len(again.curves) == 4 and again.trainer.global_step == unbroken.trainer.global_step
    assert bytes_of(again.state_dict()) == bytes_of(unbroken.state_dict()), "the discriminator's weights too"
    assert bytes_of(again.weights()) == bytes_of(unbroken.weights())
    assert bytes_of(again.best["state"]) == bytes_of(unbroken.best["state"]) and again.best["epoch"] == unbroken.best["epoch"]
    if model.loss.gan is not None:
        assert again.adversary.memory() == unbroken.adversary.memory()
    for ours, theirs in zip(again.curves, unbroken.curves, strict=True):
        assert {k: v for k, v in ours.items() if k not in TIMES} == {k: v for k, v in theirs.items() if k not in TIMES}
    states = [[optimiser.state_dict() for optimiser in training.trainer.optimizers] for training in (again, unbroken)]
    for ours, theirs in zip(*states, strict=True):
        assert ours["param_groups"] == theirs["param_groups"]
        for number, state in theirs["state"].items():
            assert all(torch.equal(torch.as_tensor(ours["state"][number][key]), torch.as_tensor(state[key])) for key in state)


def test_a_gan_trains_repeats_and_tells_of_both_sides(data):
    meta = run_train(data, "first", loss=GAN, schedule="linear", images=[2, 4])
    run_train(data, "second", loss=GAN, schedule="linear", images=[2, 4])
    assert (data / "first/weights.safetensors").read_bytes() == (data / "second/weights.safetensors").read_bytes()
    curves = curves_of(data / "first")
    assert curves == curves_of(data / "second")
    assert curves[-1]["train_loss"] < curves[0]["train_loss"] and curves[-1]["val_loss"] == pytest.approx(
        curves[-1]["train_loss"], rel=0.5
    ), "both without the adversarial term"
    assert all({"d_loss", "d_real", "d_fake", "d_acc", "g_gan"} <= curve.keys() for curve in curves)
    assert all(0 <= curve[name] <= 1 for curve in curves for name in ("d_real", "d_fake", "d_acc"))
    assert [curve["lr"] for curve in curves] == pytest.approx([0.002, 0.002, 0.002 * 2 / 3, 0.002 / 3])
    assert meta["loss"] == "100 l1 + vanilla gan (patch, conditional)" and meta["discriminator"] > 0
    assert meta["stopped"] is None and meta["frames_per_second"] > 0 and meta["memory"] == "none"
    assert set(load_file(data / "first/weights.safetensors")) == set(models.build("alpha", {}).state_dict()), "no discriminator"
    pictures = sorted(path.name for path in (data / "first/pictures").iterdir())
    assert pictures == ["epoch-0002.png", "epoch-0004.png"]
    strip = np.asarray(Image.open(data / "first/pictures/epoch-0004.png"))
    assert strip.shape == (16, 3 * 16 + 2 * 4, 3), "one batch of validation frames, so one row of three pictures"
    assert np.ptp(strip[:, :16].astype(int), axis=2).max() == 0 and np.ptp(strip[:, 40:].astype(int), axis=2).max() > 50
    truth = FrameStore(data / "frames").colour([21])[0].transpose(1, 2, 0)
    assert np.abs(strip[:, 40:].astype(int) - truth).max() <= 1


def test_a_discriminator_that_wins_ends_the_training_in_order(data, capsys):
    gan = {"discriminator": "film", "conditional": False, "won_after": 2, "optimiser": {"lr": 0.002}}
    changes = {"loss": {"name": "none", "gan": gan}, "epochs": 30, "optimiser": {"lr": 1e-6}}
    meta = run_train(data, "beaten", **changes)
    assert 2 <= meta["epochs"] < 30 and "told more than 99% of the pictures apart for 2 epochs" in meta["stopped"]
    assert f"film/beaten: stopped after epoch {meta['epochs']}. The discriminator told" in capsys.readouterr().err
    assert [curve["d_acc"] > 0.99 for curve in curves_of(data / "beaten")][-3:] in ([False, True, True], [True, True])
    assert (data / "beaten/weights.safetensors").is_file()

    # Killed after the last checkpoint and before the model was written: it does not go on.
    model = settings(**changes)
    first = training_of(data, model)
    fit.fit(first, model, torch.device("cpu"), data / "again")
    again = training_of(data, model)
    fit.fit(again, model, torch.device("cpu"), data / "again")
    assert again.stopped == first.stopped and again.curves == first.curves


def test_without_another_loss_the_best_epoch_is_that_of_the_lowest_squared_error(data):
    meta = run_train(data, "alone", loss={"name": "none", "gan": {"layers": 1, "won_after": None}})
    curves = curves_of(data / "alone")
    assert all(curve["val_loss"] == pytest.approx(curve["val_mse_ab@128"], rel=1e-5) for curve in curves), "alpha's own coding"
    assert meta["best_epoch"] == 1 + int(np.argmin([curve["val_loss"] for curve in curves]))


@pytest.mark.parametrize(
    ("where", "remedy"),
    [({"optimiser": {"name": "sgd", "lr": 1e30}}, "optimiser.lr, now 1e"), ({}, "loss.gan.optimiser.lr, now 1e")],
)
def test_divergence_names_the_side_that_diverged(data, where, remedy):
    changes = {"loss": GAN, "family": "film_unet"} | where
    if not where:
        changes["loss"] = GAN | {"gan": {"layers": 1, "optimiser": {"name": "sgd", "lr": 1e30}}}
    with pytest.raises(UserError, match=rf"Training diverged in epoch \d+ \(the loss is (nan|inf)\): lower {remedy}"):
        run_train(data, "bad", **changes)
    assert not (data / "bad").exists()


def test_the_average_is_what_is_validated_and_kept(data):
    run_train(data, "average", ema=0.95, keep="last")
    run_train(data, "plain", keep="last")
    average, plain = (load_file(data / name / "weights.safetensors") for name in ("average", "plain"))
    assert any(not torch.equal(average[name], plain[name]) for name in plain)
    assert [c["train_loss"] for c in curves_of(data / "average")] == [c["train_loss"] for c in curves_of(data / "plain")]
    assert curves_of(data / "average")[-1]["val_loss"] != curves_of(data / "plain")[-1]["val_loss"]
    model = settings(ema=0.95)
    training = training_of(data, model)
    fit.fit(training, model, torch.device("cpu"), data / "checkpoints" / "by_itself")
    assert bytes_of(training.weights()) == bytes_of(average)


def test_gradients_are_clipped_to_the_norm(data):
    norms = []

    class Watched(Training):
        def on_before_optimizer_step(self, optimizer):
            super().on_before_optimizer_step(optimizer)
            norms.append(torch.stack([weight.grad.norm() for weight in self.network.parameters()]).norm().item())

    for limit, least in ((0.001, None), (None, 0.002)):
        model = settings(clip_gradient=limit, epochs=1)
        training = training_of(data, model)
        training.__class__ = Watched
        norms.clear()
        fit.fit(training, model, torch.device("cpu"), data / f"clip{limit}")
        assert norms and (max(norms) <= 0.001 * (1 + 1e-4) if least is None else min(norms) > least)


def test_a_state_is_carried_from_batch_to_batch_and_begins_anew_with_the_epoch(data):
    """What a recurrent network gives in training windows of 2 is what it gives for whole runs."""
    seen = []

    class Watched(Training):
        def _output(self, batch, view):
            output = super()._output(batch, view)
            seen.append((batch, output.detach()))
            return output

    model = settings(epochs=2, batch_size=2, window=2, optimiser={"name": "sgd", "lr": 1e-12})
    training = training_of(data, model, family=STATE, window=2)
    training.__class__ = Watched
    fit.fit(training, model, torch.device("cpu"), data / "state")
    train_batches = [pair for pair in seen if pair[0].lab.requires_grad is False]
    weights = training.network
    epoch = len(training.train_dataloader())
    for begin in (0, len(training.val_dataloader()) + epoch):
        batches = train_batches[begin : begin + epoch]
        x = torch.cat([AB110.encode_input(batch.view) for batch, _ in batches])[None]
        starts = torch.cat([batch.view.starts for batch, _ in batches])[None]
        assert 3 <= starts.sum() <= 4 and starts[0, 0]
        with torch.no_grad():
            whole, _ = weights(x, starts, None)
        assert torch.allclose(torch.cat([output for _, output in batches]), whole[0], atol=1e-5)


def test_two_processes_give_the_curve_of_one(data):
    """Under gloo, without batch norm: equal to 1e-4, which is what sums in another order cost; batches of unequal halves."""
    one = run_train(data, "one", batch_size=5, augment=AugmentParams(crop=8))
    values = {"model": settings(batch_size=5, devices=2).model_dump(mode="json"), "augment": {"crop": 8}}
    write_json(data / "slice.json", values)
    command = [sys.executable, "-m", "kinemacolor.cli", "train", "frames", "--filter", "filter.parquet", "--params", "slice.json"]
    command += ["--dataset", "film", "--name", "two", "--out", "two"]
    environment = {key: value for key, value in os.environ.items() if key not in ("LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True, env=environment)
    assert done.stderr.count("epoch 1/4") == 1, "only the first process tells"
    for ours, theirs in zip(curves_of(data / "two"), curves_of(data / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    two = load_file(data / "two/weights.safetensors")
    for name, value in load_file(data / "one/weights.safetensors").items():
        assert torch.allclose(value, two[name], atol=1e-4), name
    assert one["devices"] == 1 and json.loads((data / "two/meta.json").read_text())["devices"] == 2
