"""Training: the same seed gives the same bytes, a killed run ends as an unbroken one, and tracking never stops the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from kinemacolor import colorize, tracking
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Batches, Material
from kinemacolor.params import AugmentParams, Model
from kinemacolor.stages.train import train
from tests.unit.test_frames import write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One MLflow store for all tests: making a new one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def data(tmp_path, monkeypatch, store):
    """A made pair of prints with learnable colours, split and filtered; the test runs inside its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (40, 1, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    pictures = np.concatenate([base, base // 2, 255 - base], axis=1).astype(np.uint8)
    write_store(tmp_path / "frames", pictures, greys=base.astype(np.uint8))
    parts = np.array(["train"] * 28 + ["val"] * 6 + ["test"] * 6)
    table = pd.DataFrame(
        {"source": "film", "frame": np.arange(40) * 2, "split": parts, "keep": True, "reason": "", "mean_chroma": 20.0}
    )
    table.to_parquet(tmp_path / "filter.parquet", index=False)
    return tmp_path


SETTINGS = {
    "model": {
        "family": "lab_unet",
        "options": {"width": 8},
        "optimiser": {"name": "adamw", "lr": 0.003},
        "schedule": "cosine",
        "epochs": 6,
        "batch_size": 5,
    },
    "augment": {"crop": 16, "flip": True},
}


TIMES = ("seconds", "frames_per_second", "energy_joules")

COMMAND = [sys.executable, "-m", "kinemacolor.cli", "train", "frames", "--filter", "filter.parquet", "--params", "slice.json"]
COMMAND += ["--dataset", "film", "--name", "killed", "--out", "killed"]


def run_train(data: Path, out: str, **changes) -> dict:
    return train(
        [data / "frames"],
        filter_table=data / "filter.parquet",
        name=out,
        dataset="film",
        model=Model(**(SETTINGS["model"] | changes)),
        augment=AugmentParams(**SETTINGS["augment"]),
        out=data / out,
        checkpoints=data / "checkpoints" / out,
    )


def test_it_learns_and_repeats_itself_to_the_byte(data):
    first, second = run_train(data, "first"), run_train(data, "second")
    assert (data / "first/weights.safetensors").read_bytes() == (data / "second/weights.safetensors").read_bytes()
    curves = json.loads((data / "first/curves.json").read_text())
    assert [curve["epoch"] for curve in curves] == [1, 2, 3, 4, 5, 6]
    assert curves[-1]["train_loss"] < 0.8 * curves[0]["train_loss"]
    assert first["data_md5"] == second["data_md5"] and first["size"] == [32, 32] and first["trainable"] > 0
    assert not list((data / "checkpoints").rglob("*.ckpt")), "checkpoints of a finished training are removed"
    # The validation figure of the best epoch is what the saved weights give, in evaluation mode.
    best = curves[first["best_epoch"] - 1]
    colorizer = colorize.load(data / "first")
    store = FrameStore(data / "frames")
    table = pd.read_parquet(data / "filter.parquet")
    material = Material({"film": store}, table[table["split"] == "val"].reset_index(drop=True), torch.device("cpu"))
    (batch,) = Batches(material, batch_size=6, augment=AugmentParams(**SETTINGS["augment"]), shuffle=None)
    error = ((colorizer(batch.view.lightness)[:, 1:] - batch.lab[:, 1:]) / 128).square().mean().item()
    assert best["val_mse_ab@128"] == pytest.approx(error, rel=0.03), "bf16 in training, float32 here"


def test_a_killed_training_ends_as_an_unbroken_one(data):
    run_train(data, "unbroken")
    write_json(data / "slice.json", SETTINGS)
    kill_after(data, 3)
    again = subprocess.run(COMMAND, stderr=subprocess.PIPE, text=True, check=True)
    assert "epoch 1/6" not in again.stderr and "epoch 6/6" in again.stderr
    assert (data / "killed/weights.safetensors").read_bytes() == (data / "unbroken/weights.safetensors").read_bytes()
    figures = [
        [{k: v for k, v in curve.items() if k not in TIMES} for curve in json.loads((data / name / "curves.json").read_text())]
        for name in ("killed", "unbroken")
    ]
    assert figures[0] == figures[1]
    meta = json.loads((data / "killed/meta.json").read_text())
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    history = client.get_metric_history(meta["mlflow_run_id"], "train_loss")
    assert sorted({metric.step for metric in history}) == [1, 2, 3, 4, 5, 6], "one MLflow run holds the whole curve"


def kill_after(data: Path, epoch: int) -> None:
    """Start the training `killed` as slice.json says and kill it when that epoch is reported."""
    process = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if f"epoch {epoch}/" in line:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL and not (data / "killed").exists()


def test_a_checkpoint_of_other_values_is_not_resumed(data):
    write_json(data / "slice.json", SETTINGS | {"model": SETTINGS["model"] | {"optimiser": {"name": "adam", "lr": 0.03}}})
    kill_after(data, 2)
    assert list((data / ".checkpoints").rglob("last.ckpt"))
    write_json(data / "slice.json", SETTINGS)
    again = subprocess.run(COMMAND, stderr=subprocess.PIPE, text=True, check=True)
    assert "epoch 1/6" in again.stderr
    assert "film/killed: the checkpoint of an earlier training is of other values, data or code" in again.stderr
    run_train(data, "unbroken")
    assert (data / "killed/weights.safetensors").read_bytes() == (data / "unbroken/weights.safetensors").read_bytes()
    assert not list((data / ".checkpoints").rglob("*.ckpt")), "checkpoints of older values go too"


def test_frames_that_the_network_cannot_take_are_refused(data):
    with pytest.raises(UserError, match=r"big needs sides that are multiples of 16, but augment\.crop is 20: choose"):
        train(
            [data / "frames"],
            filter_table=data / "filter.parquet",
            name="big",
            dataset="film",
            model=Model(**SETTINGS["model"]),
            augment=AugmentParams(crop=20),
            out=data / "big",
            checkpoints=data / "checkpoints",
        )
    assert not (data / "big").exists()


def test_divergence_says_what_happened(data):
    with pytest.raises(UserError, match=r"Training diverged in epoch \d+ \(the loss is (nan|inf)\): lower optimiser.lr"):
        run_train(data, "bad", family="film_unet", options={}, optimiser={"name": "sgd", "lr": 1e9}, precision="32")
    assert not (data / "bad").exists()


def test_mlflow_has_params_curves_dataset_and_a_model_with_a_signature(data, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    meta = run_train(data, "model", epochs=2)
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run = client.get_run(meta["mlflow_run_id"])
    assert (
        run.info.status == "FINISHED"
        and run.data.params["optimiser.lr"] == "0.003"
        and run.data.tags["data_md5"] == meta["data_md5"]
    )
    assert {"train_loss", "val_loss", "val_mse_ab.128", "lr", "seconds"} <= set(run.data.metrics)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(run.data.metrics)
    assert run.inputs.dataset_inputs[0].dataset.name == "film"
    assert "meta.json" in [artifact.path for artifact in client.list_artifacts(meta["mlflow_run_id"])]
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    logged = mlflow.models.get_model_info(
        run.outputs.model_outputs[0].model_id and f"models:/{run.outputs.model_outputs[0].model_id}"
    )
    assert logged.signature.inputs.inputs[0].shape[1:] == (1, 16, 16)
    again = tracking.of_model(meta)
    again.metrics({"test/psnr_rgb": 30.0})
    assert client.get_run(meta["mlflow_run_id"]).data.metrics["test/psnr_rgb"] == 30.0


@pytest.mark.parametrize("blocked", ["blocked", "checkpoints"])
def test_a_training_that_cannot_be_written_is_a_failed_run(data, blocked):
    (data / blocked).write_text("a file where a folder is to be made")
    with pytest.raises(UserError, match="cannot be written"):
        run_train(data, "blocked/net", epochs=1)
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    found = client.search_runs([client.get_experiment_by_name("film").experiment_id], "attributes.run_name = 'blocked/net'")
    assert found and {run.info.status for run in found} == {"FAILED"}
    assert "SystemMetricsMonitor" not in [thread.name for thread in threading.enumerate()]


def test_a_tracking_server_that_is_away_stops_nothing(data, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    meta = run_train(data, "model", epochs=1)
    assert meta["mlflow_run_id"] is None and (data / "model/weights.safetensors").is_file()
    assert "MLflow is away, the work goes on without it" in capsys.readouterr().err


_WRITER = """
import os, sys
told = []
def look(event, args):
    if event == "import" and args[0] == "mlflow":
        told.append(os.environ.get("MLFLOW_DISABLE_TELEMETRY"))
sys.addaudithook(look)
from kinemacolor import tracking
run = tracking.start("shared", sys.argv[1], params={"a": {"b": 1}}, tags={})
run.metrics({"loss": float(sys.argv[1])}, step=1)
run.evaluation({"val": {"ssim": 0.5}})
run.end()
assert run.id, "no run"
assert told[0] == "true", "MLflow asks when it is imported whether to tell its makers what it is used for"
"""


def test_processes_that_open_a_fresh_store_together_lose_nothing(tmp_path):
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    environment.pop("MLFLOW_DISABLE_TELEMETRY", None)  # ours, once a test has opened a store
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(n)], cwd=tmp_path, env=environment) for n in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("shared")
    models, datasets = (client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'") for kind in ("model", "dataset"))
    assert sorted(run.data.metrics["loss"] for run in models) == [0, 1, 2, 3] and len(datasets) == 1
    assert experiment.artifact_location.endswith("mlartifacts/shared")
    table = pd.read_csv(client.download_artifacts(datasets[0].info.run_id, "models/val.csv", str(tmp_path)))
    assert list(table["model"]) == [0, 1, 2, 3], "of evaluations side by side none loses its row"
