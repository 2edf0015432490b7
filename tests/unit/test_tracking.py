"""MLflow, for real on SQLite: one run a dataset with its models below it, the same figures under the same names, pictures."""

from __future__ import annotations

import csv
import io
import os
import socket

import mlflow
import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image

from kinemacolor import mlflow_store, tracking

METRICS = {
    "val": {"mse_ab@128": 0.0125, "psnr_rgb": 20.5, "frames": 71},
    "test": {"mse_ab@128": 0.016, "psnr_rgb": 18.25, "frames": 68},
}
INTERVALS = {"val": {"mse_ab@128": [0.011, 0.014], "psnr_rgb": [19.5, 21.5]}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One MLflow store for all tests: making a new one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def client(tmp_path, monkeypatch, store):
    """A client of the store that commands use; the test runs inside its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return mlflow.MlflowClient(store)


def begun(dataset, model="net", **more):
    return tracking.start(dataset, model, params={"optimiser": {"lr": 0.001}, "epochs": 2}, tags={"model": model}, **more)


def parent_of(client, run):
    return client.get_run(client.get_run(run.id).data.tags["mlflow.parentRunId"])


def read(client, run_id, path, tmp_path):
    return (tmp_path / client.download_artifacts(run_id, path, str(tmp_path))).read_text()


def test_models_lie_below_one_run_of_their_dataset(client):
    first, second, other = begun("film", "first"), begun("film", "second"), begun("game")
    assert parent_of(client, first).info.run_id == parent_of(client, second).info.run_id != parent_of(client, other).info.run_id
    parent = parent_of(client, first)
    assert parent.info.run_name == parent.data.tags["dataset"] == "film" and parent.info.status == "FINISHED"
    assert parent.info.experiment_id == client.get_run(first.id).info.experiment_id
    found = client.search_runs([parent.info.experiment_id], "tags.kind = 'model'")
    assert sorted(run.info.run_name for run in found) == ["first", "second"]
    assert client.get_run(first.id).data.params == {"optimiser.lr": "0.001", "epochs": "2"}
    first.end()
    own, above = client.get_run(first.id), parent_of(client, first)
    assert own.info.status == "FINISHED" and above.info.end_time >= own.info.end_time > above.info.start_time


def test_a_run_of_a_dataset_that_somebody_deleted_is_made_anew(client):
    before = parent_of(client, begun("deleted")).info.run_id
    client.delete_run(before)
    assert parent_of(client, begun("deleted")).info.run_id != before


def test_an_interrupted_run_goes_on_below_the_same_run(client):
    run = begun("resumed")
    run.end("FAILED")
    again = begun("resumed", resume=run.id)
    assert again.id == run.id and client.get_run(run.id).info.status == "RUNNING"
    assert begun("resumed", resume="0" * 32).id not in (None, run.id), "one that is gone is no reason to stop"
    client.delete_run(above := parent_of(client, run).info.run_id)
    anew = parent_of(client, begun("resumed", resume=run.id)).info.run_id
    assert anew != above and anew == parent_of(client, begun("resumed")).info.run_id, "the dataset's run was made anew"


def test_an_experiment_that_somebody_deleted_is_restored(client, capsys):
    before = begun("restored")
    client.delete_experiment(client.get_run(before.id).info.experiment_id)
    gone = tracking.of_model({"name": "net", "mlflow_run_id": before.id})
    gone.metrics({"val/psnr_rgb": 20.0})
    assert gone.id is None and "The MLflow run of net was deleted: nothing is logged into it." in capsys.readouterr().err
    after = begun("restored")
    assert after.id is not None and parent_of(client, after).info.run_id == parent_of(client, before).info.run_id
    assert client.get_run(before.id).info.lifecycle_stage == "active"
    told = capsys.readouterr().err
    assert told == "The experiment restored was deleted in MLflow: it is restored, with its runs.\n"


def test_figures_and_intervals_have_the_names_of_the_files(client, tmp_path):
    run, other = begun("figures", "net"), begun("figures", "other")
    run.evaluation(METRICS, INTERVALS, titles={"psnr_rgb": "PSNR in dB; more is better", "mse_ab@128": "Error; less is better"})
    other.evaluation({"val": {"psnr_rgb": 30.0}})
    logged = client.get_run(run.id).data.metrics
    expected = {f"{split}/{name}".replace("@", "."): value for split, values in METRICS.items() for name, value in values.items()}
    expected |= {"val/interval/mse_ab.128.low": 0.011, "val/interval/mse_ab.128.high": 0.014}
    assert logged == expected | {"val/interval/psnr_rgb.low": 19.5, "val/interval/psnr_rgb.high": 21.5}
    parent = parent_of(client, run)
    rows = list(csv.DictReader(io.StringIO(read(client, parent.info.run_id, "models/val.csv", tmp_path))))
    assert [row["model"] for row in rows] == ["net", "other"]
    names = list(rows[0])[1:]
    assert names == ["frames", "mse_ab.128", "mse_ab.128.high", "mse_ab.128.low", "psnr_rgb", "psnr_rgb.high", "psnr_rgb.low"]
    assert float(rows[0]["psnr_rgb"]) == 20.5 and float(rows[0]["psnr_rgb.low"]) == 19.5
    assert float(rows[1]["psnr_rgb"]) == 30 and rows[1]["frames"] == rows[1]["psnr_rgb.low"] == ""
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("The dataset figures.") and "- `psnr_rgb`: PSNR in dB; more is better" in note
    assert "- `mse_ab.128`: Error; less is better" in note


def test_a_table_is_read_and_written_by_one_process_at_a_time(client, tmp_path, monkeypatch, capsys):
    first, second = begun("locked", "first"), begun("locked", "second")
    monkeypatch.setattr(mlflow_store, "_LOCK_SECONDS", 0)
    with FileLock(".mlflow.lock"):
        first.evaluation({"val": {"psnr_rgb": 20.0}})
    assert "could not be acquired" in capsys.readouterr().err
    above = parent_of(client, first).info.run_id
    assert client.list_artifacts(above, "models") == [] and client.get_run(first.id).data.metrics == {"val/psnr_rgb": 20.0}
    second.evaluation({"val": {"psnr_rgb": 30.0}})
    assert read(client, above, "models/val.csv", tmp_path) == "model,psnr_rgb\nfirst,20.0\nsecond,30.0\n"


def test_a_lock_that_is_never_given_back_stops_nothing(client, monkeypatch, capsys):
    run = begun("kept")
    monkeypatch.setattr(mlflow_store, "_LOCK_SECONDS", 0)
    with FileLock(".mlflow.lock"):
        assert begun("kept").id is None and tracking.of_model({"mlflow_run_id": run.id}).id is None
    assert capsys.readouterr().err.count("could not be acquired") == 2
    assert tracking.of_model({"mlflow_run_id": run.id}).id == run.id


def test_of_two_trainings_of_one_model_the_table_shows_the_newer(client, tmp_path):
    measured = [("net", {"val/ssim": 0.9}), ("net", {"val/ssim": 0.1}), ("new", {"train/ssim": 0.5})]
    assert mlflow_store.table(measured, "val") == "model,ssim\nnet,0.9\n"


def test_a_long_description_is_cut_between_figures(client):
    run = begun("long")
    run.evaluation(METRICS, titles={f"fd_{number}": "x" * 300 for number in range(40)})
    note = parent_of(client, run).data.tags["mlflow.note.content"]
    assert len(note) <= 5000 and note.endswith("x" * 300)


def test_pictures_are_kept_exactly_and_by_name_and_epoch(client, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "strip.png")
    run = begun("pictures")
    for epoch in (1, 5):
        run.image(tmp_path / "strip.png", "validation", step=epoch)
    assert client.get_run(run.id).data.tags["mlflow.loggedImages"] == "True", "the UI looks for images by this tag"
    paths = sorted(file.path for file in client.list_artifacts(run.id, "images") if file.path.endswith(".png"))
    assert [path.split("+")[:3] for path in paths] == [["images/validation", "step", "1"], ["images/validation", "step", "5"]]
    kept = Image.open(client.download_artifacts(run.id, paths[0], str(tmp_path)))
    assert (np.asarray(kept) == picture).all()


def test_the_dataset_is_input_of_a_model_and_of_the_dataset_s_run(client):
    table = pd.DataFrame({"source": ["film"], "frame": [0], "split": ["train"]})
    runs = [begun("lineage", name) for name in ("one", "two")]
    for run in runs:
        run.dataset(table, name="lineage", source="data/filter/lineage.parquet", digest="d1")
    for run in (client.get_run(runs[0].id), parent_of(client, runs[0])):
        (described,) = run.inputs.dataset_inputs
        assert (described.dataset.name, described.dataset.digest) == ("lineage", "d1")


def test_what_shows_all_models_goes_to_the_run_of_their_dataset(client, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "poster.png")
    run = begun("compared")
    metas = [{"mlflow_run_id": None}, {"mlflow_run_id": "0" * 32}, {"mlflow_run_id": run.id}]
    found = tracking.of_dataset(metas)
    assert found.id == parent_of(client, run).info.run_id
    found.image(tmp_path / "poster.png", "comparison")
    assert any("comparison" in file.path for file in client.list_artifacts(found.id, "images"))
    assert tracking.of_dataset(metas[:2]).id is None
    tracking.of_dataset([]).image(tmp_path / "missing.png", "nothing happens")


def test_what_another_program_coloured_stands_beside_the_models_once(client):
    run = begun("beside")
    first = tracking.of_external("beside", "theirs", tags={"licence": "none", "credit": "them"})
    first.evaluation(METRICS)
    again = tracking.of_external("beside", "theirs", tags={"licence": "CC0"})
    assert again.id == first.id and parent_of(client, again).info.run_id == parent_of(client, run).info.run_id
    client.delete_run(parent_of(client, run).info.run_id)
    anew = tracking.of_external("beside", "theirs", tags={})
    assert anew.id == first.id and parent_of(client, anew).info.lifecycle_stage == "active"
    logged = client.get_run(again.id)
    assert logged.data.tags["kind"] == "external" and logged.data.tags["licence"] == "CC0" and logged.info.status == "FINISHED"
    assert logged.data.metrics["val/psnr_rgb"] == 20.5


def test_no_store_is_made_for_what_was_trained_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking.of_model({"mlflow_run_id": "0" * 32}).id is None
    assert tracking.of_external("film", "theirs", tags={}).id is None
    assert os.listdir(tmp_path) == []


def test_a_failure_is_a_warning(client, tmp_path, capsys):
    run = begun("failing")
    run.image(tmp_path / "missing.png", "poster")
    run.file(tmp_path / "missing.json", "")
    run.metrics({"loss": 1.0, "no?name": 2.0})
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 3 and all(line.startswith("MLflow is away, the work goes on without it: ") for line in warned)
    run.end()
    assert client.get_run(run.id).info.status == "FINISHED"


def test_a_run_whose_settings_are_refused_is_a_run(client, capsys):
    run = tracking.start("refused", "net", params={"no?name": 1}, tags={})
    assert "MLflow is away" in capsys.readouterr().err
    run.end()
    assert client.get_run(run.id).info.status == "FINISHED"


def test_a_run_ends_even_if_its_watcher_fails(client, capsys):
    run = begun("watched")
    run._watcher = object()  # which cannot be finished
    run.end()
    assert client.get_run(run.id).info.status == "FINISHED"
    assert "finish" in capsys.readouterr().err


def test_a_server_that_falls_silent_is_asked_no_more_until_the_run_ends(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png")
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes calls and answers none
        server.setblocking(False)
        run = tracking.Run(f"http://127.0.0.1:{server.getsockname()[1]}", "0" * 32)
        for step in range(5):
            run.metrics({"loss": 1.0}, step=step)
            run.image(tmp_path / "picture.png", "validation", step=step)
        assert calls(server) == 1 and capsys.readouterr().err.count("MLflow is away") == 1
        assert run.id == "0" * 32, "evaluations look for it when the server is back"
        run.end()
        assert calls(server) == 1


def calls(server):
    """How often a server that does not block was called since it was last asked."""
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
