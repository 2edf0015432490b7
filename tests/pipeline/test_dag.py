"""The whole DAG on seconds of film and game: it builds, it knows what is up to date, and both tools say the same."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.pipeline.conftest import PARAMS, make_clone, make_film

pytestmark = pytest.mark.pipeline


@pytest.fixture
def clone(built):
    """The built clone, put back to its params afterwards."""
    yield built
    built.params()


def read(clone, path):
    return json.loads((clone.root / path).read_text())


def test_everything_is_there(clone):
    truth = read(clone, "data/raw/reel/source.json")["prints"]["grey"]["truth"]["offset"]
    alignment = pd.read_parquet(clone.root / "data/sync/reel/alignment.parquet")
    assert truth == 14 and set(alignment["grey_frame"] - alignment["colour_frame"]) == {truth}
    index = pd.read_parquet(clone.root / "data/frames/film/reel/index.parquet")
    assert (index["frame"] % 4 == 0).all() and (index["grey_frame"] - index["frame"] == truth).all()
    for dataset, models in PARAMS["experiments"].items():
        for model in models:
            metrics = read(clone, f"reports/{dataset}/{model}/metrics.json")
            assert set(metrics) <= {"train", "val", "test"} and metrics["train"]["frames"] > 0
            meta = read(clone, f"data/models/{dataset}/{model}/meta.json")
            assert meta["mlflow_run_id"] and meta["data_md5"] and meta["git_commit"]
            assert (clone.root / f"data/render/{dataset}/{model}.mp4").stat().st_size > 1000
        assert (clone.root / f"data/compare/{dataset}.mp4").stat().st_size > 1000
        stills = json.loads((clone.root / f"data/compare/{dataset}_stills/stills.json").read_text())["moments"]
        assert len(stills) == 6 and all({"grey", "truth"} < set(moment["panels"]) for moment in stills)
    assert read(clone, "data/weights/made/weights.json")["architecture"] == "alexnet"
    rows = len(pd.read_parquet(clone.root / "data/frames/steady/doom/index.parquet"))
    assert np.load(clone.root / "data/embeddings/steady/made/doom.npy").shape == (rows, 256)
    measured = read(clone, "reports/steady/prev/metrics.json")
    assert measured["val"]["fd_made"] > 0 and "fd_made" not in measured["train"]
    bounds = read(clone, "reports/steady/prev/intervals.json")
    assert all(name in measured[split] for split, figures in bounds.items() for name in figures)
    assert len(pd.read_parquet(clone.root / "data/coloured/steady/alpha/doom/index.parquet")) == rows
    other = (clone.root / "data/models/steady/alpha/weights.safetensors").read_bytes()
    assert (clone.root / "data/models/steady/prev/before/weights.safetensors").read_bytes() == other
    assert not (clone.root / "reports/steady/alpha").exists(), "it colours for another and is not compared"
    page = (clone.root / "reports/index.html").read_text()
    assert "made by the test" in page and "Freedoom" in page
    assert not (clone.root / "data/raw/unused").exists()
    left = [path for path in clone.root.rglob("*.part*") if ".snakemake" not in path.parts and ".cache" not in path.parts]
    assert left == []


def test_dvc_and_the_report_of_snakemake_show_what_was_built(clone, tmp_path):
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert set(shown) == {
        f"reports/{name}/{model}/metrics.json" for name, models in PARAMS["experiments"].items() for model in models
    }
    assert all(figures["data"]["train"]["frames"] > 0 for figures in shown.values())
    plots = json.loads(clone.run("dvc", "plots", "show", "--json", "--out", str(tmp_path / "plots")).stdout)
    assert "errors" not in plots and all(plots["data"].values())
    charts = {name for name in plots["data"] if "/" not in name}
    assert charts >= {f"{name}_{chart}" for name in PARAMS["experiments"] for chart in ("val_error", "val_loss", "train_loss")}
    clone.run("snakemake", "--cores", "1", "all", "--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as packed:
        held = [Path(name).name for name in packed.namelist()]
        report = packed.read("report/report.html").decode()
    count = sum(len(models) for models in PARAMS["experiments"].values())
    assert held.count("sheet_val.png") == held.count("extremes_val.png") == count and held.count("index.html") == 1
    assert held.count("curves.png") == len(PARAMS["experiments"])
    for label in ("Sample sheet, validation", "Best, typical and worst, test", "Still of the video", "Curves"):
        assert label in report
    assert clone.snakemake_would_run() == set(), "a report builds nothing"


def test_the_guard_gap_holds_in_the_artefacts(clone):
    table = pq.read_table(clone.root / "data/split/film.parquet").to_pandas()
    index = pd.read_parquet(clone.root / "data/frames/film/reel/index.parquet")
    time = table.merge(index, on=["source", "frame"]).groupby("split")["time"].agg(["min", "max"])
    assert time.loc["val", "min"] - time.loc["train", "max"] >= 0.3 and time.loc["test", "min"] - time.loc["val", "max"] >= 0.3


def test_nothing_is_left_to_do(clone):
    assert "Nothing to be done" in clone.run("snakemake", "--cores", "2", "all").stdout
    assert clone.run("dvc", "status", "-q", check=False).returncode == 0
    assert "up to date" in clone.run("dvc", "repro").stdout
    assert clone.snakemake_would_run() == set()


def test_a_learning_rate_concerns_its_model_alone(clone):
    clone.params(lambda document: document["models"]["lab"]["optimiser"].update(lr=0.002))
    # compare and report show the model too; record writes down what was built.
    assert clone.snakemake_would_run() == {
        "train-film-lab",
        "evaluate-film-lab",
        "render-film-lab",
        "compare-film",
        "report",
        "record",
    }
    # `dag` looks whether the section asks for something new.
    assert set(json.loads(clone.run("dvc", "status", "--json", check=False).stdout)) == {"dag", "train-film-lab"}
    assert clone.dvc_would_run() >= {"train-film-lab"}
    assert not any("game" in stage or "naive" in stage for stage in clone.dvc_would_run())


def test_a_model_that_colours_for_another_brings_it_along(clone):
    clone.params(lambda document: document["models"]["alpha"].update(epochs=1))
    own = {f"{stage}-game-alpha" for stage in ("train", "evaluate", "render")} | {"compare-game"}
    steady = {"train-steady-alpha", "precolour-steady-alpha", "compare-steady"}
    after = {f"{stage}-steady-prev" for stage in ("train", "evaluate", "render")}
    assert clone.snakemake_would_run() == own | steady | after | {"report", "record"}


def test_the_number_of_pieces_is_no_matter_of_what_is_built(clone):
    frames = clone.root / "data/frames/steady/doom"
    assert len(list(frames.glob("*.arrow"))) == 3 and not list((clone.root / "data/pieces").rglob("*.arrow"))
    clone.params(lambda document: document["datasets"]["steady"]["frames"].update(pieces=1))
    before = (clone.root / ".params/pieces-steady.json").stat()
    assert clone.snakemake_would_run() == set()
    assert (clone.root / ".params/pieces-steady.json").stat() == before, "a dry run changes nothing"
    for count in (1, 2, 3, 1):
        clone.params(lambda document, count=count: document["datasets"]["steady"]["frames"].update(pieces=count))
        assert clone.snakemake_would_run() == set()
        for target in ("data/frames/steady/doom", "data/split/steady.parquet"):
            assert "Nothing to be done" in clone.run("snakemake", "--cores", "2", target).stdout
        assert clone.snakemake_would_run() == set()
    assert set(json.loads(clone.run("dvc", "status", "--json", check=False).stdout)) == {"dag"}
    assert clone.dvc_would_run() <= {"dag"}
    command = ["kinemacolor", "frames", "data/raw/doom", "--source", "doom", "--params", ".params/frames-steady.json"]
    clone.run(*command, "--out", "whole")
    for file in frames.glob("*.*"):
        assert file.name.startswith(".") or file.read_bytes() == (clone.root / "whole" / file.name).read_bytes()
    shutil.rmtree(clone.root / "whole")


def test_other_weights_concern_what_begins_with_them(clone):
    clone.params(lambda document: document["weights"]["made"].update(licence="another"))
    after = {f"{stage}-steady-fused" for stage in ("train", "evaluate", "render")}
    # Every evaluation of the dataset measures with them.
    after.add("evaluate-steady-prev")
    assert clone.snakemake_would_run() == after | {"weights-made", "embed-steady-made", "compare-steady", "report", "record"}


def test_what_another_program_coloured_is_measured_beside_the_models(clone):
    film = next(path for path in (clone.root / "data/raw/doom").iterdir() if path.suffix in (".mp4", ".mkv"))
    about = {"dataset": "game", "licence": "BSD", "credit": "Freedoom itself"}

    def added(path):
        clone.params(lambda document: document.update(external={"itself": about | {"path": path}}))
        return clone.run("snakemake", "--cores", "2", "reports/game/itself", check=False).stdout

    assert "nowhere.mp4 is missing: put the coloured video or folder there, or correct external.itself.path" in added(
        "nowhere.mp4"
    )
    given = clone.root / f"theirs, by hand{film.suffix}"
    shutil.copy(film, given)
    added(given.name)
    figures, model = (read(clone, f"reports/game/{name}/metrics.json") for name in ("itself", "alpha"))
    assert all(figures[split]["psnr_rgb"] == 100 for split in figures)
    assert {split: figures[split].keys() for split in figures} == {split: model[split].keys() for split in model}
    assert read(clone, "reports/game/itself/external.json")["credit"] == "Freedoom itself"
    # The video of all models and the page show it too.
    assert clone.snakemake_would_run() == {"compare-game", "report", "record"}
    os.utime(given, ns=(0, 0))
    # Older or newer: it is another one.
    assert clone.snakemake_would_run() >= {"external-game-itself", "evaluate-game-itself", "compare-game"}
    given.unlink()
    clone.params()
    for folder in ("reports/game/itself", "data/external"):
        shutil.rmtree(clone.root / folder)
    assert clone.snakemake_would_run() == set()


def test_a_section_that_asks_for_more_stops_dvc_before_it_deletes(clone):
    begun = {"family": "koalarization", "options": {"embedding": "alexnet", "width": 0.1}, "pretrained": "made"}
    clone.params(lambda document: document["models"]["lab"].update(begun))
    stale = clone.run("dvc", "repro", check=False)
    assert stale.returncode != 0 and "run `kinemacolor dag`" in stale.stdout
    assert (clone.root / "data/models/film/lab/weights.safetensors").is_file()


def test_a_preset_shares_what_it_describes_alike_and_records_nothing(clone):
    document = yaml.safe_load((clone.root / "params.yaml").read_text())
    document["experiments"] = {"game": ["alpha"]}
    (clone.root / "Mine.yaml").write_text(yaml.safe_dump(document))
    lock = (clone.root / "dvc.lock").read_bytes()
    said = clone.run("snakemake", "--cores", "2", "all", "--configfile", "Mine.yaml").stdout
    built = {line.split()[1].rstrip(":") for line in said.splitlines() if line.startswith(("rule ", "localrule "))}
    assert built == {"evaluate", "report", "all"}, "figures of a preset lie beside its page, which git passes over"
    assert (clone.root / "reports/presets/mine/game/alpha/metrics.json").is_file()
    page = (clone.root / "reports/presets/mine/index.html").read_text()
    assert "Freedoom" in page and "made by the test" not in page
    again = clone.run("snakemake", "--cores", "2", "all", "--configfile", "Mine.yaml").stdout
    assert "Nothing to be done" in again
    assert clone.snakemake_would_run() == set()
    assert clone.run("dvc", "status", "-q", check=False).returncode == 0 and (clone.root / "dvc.lock").read_bytes() == lock
    shutil.rmtree(clone.root / "reports/presets")


def test_reordered_keys_concern_nothing(clone):
    def reorder(document):
        for section in ("sources", "datasets", "models"):
            document[section] = dict(reversed(document[section].items()))

    clone.params(reorder)
    assert clone.snakemake_would_run() == set()
    assert clone.run("dvc", "status", "-q", check=False).returncode == 0


def test_a_new_source_brings_its_own_stages_only(clone):
    make_film(clone.root / "other.mp4", seconds=3)

    def add(document):
        document["sources"]["mine"] = {"kind": "video", "path": "other.mp4", "licence": "none", "credit": "me"}
        document["datasets"]["mine"] = {
            "sources": ["mine"],
            "frames": {"every": 6, "size": 32},
            "split": {"kind": "chronological", "fractions": [0.8, 0.2, 0]},
        }
        document["experiments"]["mine"] = ["alpha"]

    def add_and_change(document):
        add(document)
        document["models"]["lab"]["optimiser"]["lr"] = 0.5

    # A changed value beside a new entry: the check comes first, before DVC deletes what it would build anew.
    clone.params(add_and_change)
    stale = clone.run("dvc", "repro", check=False)
    assert stale.returncode != 0 and "run `kinemacolor dag`" in stale.stdout
    assert (clone.root / "data/models/film/lab/weights.safetensors").is_file(), "a refused run loses nothing"
    clone.params(add)
    before = (clone.root / "dvc.yaml").read_text()
    try:
        own = {
            "download-mine",
            "frames-mine-mine",
            "split-mine",
            "filter-mine",
            "motion-mine-mine",
            "train-mine-alpha",
            "evaluate-mine-alpha",
            "render-mine-alpha",
            "compare-mine",
        }
        assert clone.snakemake_would_run() == own | {"report", "record"}
        assert clone.run("kinemacolor", "dag", "--check", check=False).returncode == 2
        clone.run("kinemacolor", "dag")
        assert set(json.loads(clone.run("dvc", "status", "--json", check=False).stdout)) == own | {"report", "dag"}
    finally:
        (clone.root / "dvc.yaml").write_text(before)


def test_a_wrong_key_is_one_sentence(clone):
    clone.params(lambda document: document["datasets"]["film"]["frames"].update(evry=2))
    done = clone.run("snakemake", "--cores", "1", "all", check=False)
    said = [line for line in done.stdout.splitlines() if "evry" in line]
    assert done.returncode != 0 and len(said) == 1 and "datasets.film.frames.evry: unknown key" in said[0]


def digests(root: Path) -> dict[str, str]:
    """sha256 of the artefacts that must be equal whoever built them; meta.json and curves hold times and run ids."""
    wanted = [
        *root.glob("data/sync/*/*.parquet"),
        *root.glob("data/frames/**/*.*"),
        *root.glob("data/split/*"),
        *root.glob("data/filter/*"),
        *root.glob("data/motion/**/*.*"),
    ]
    wanted += [
        *root.glob("data/weights/**/*.safetensors"),
        *root.glob("data/embeddings/**/*.*"),
        *root.glob("data/coloured/**/*.*"),
    ]
    wanted += [*root.glob("data/models/**/*.safetensors"), *root.glob("reports/*/*/*.json"), *root.glob("reports/*/*/*.parquet")]
    wanted += [*root.glob("data/raw/*/*.mp4"), *root.glob("data/render/**/*.mp4"), *root.glob("data/compare/**/*.*")]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in wanted if path.is_file()}


def test_dvc_repro_builds_the_same_bytes_and_snakemake_agrees(clone, tmp_path):
    other = make_clone(tmp_path / "clone", encoder=clone.root / "made.safetensors")
    shutil.copy2(clone.root / "film.mp4", other.root / "film.mp4")
    other.run("dvc", "repro")
    assert digests(other.root) == digests(clone.root) and len(digests(other.root)) > 25
    assert other.snakemake_would_run() <= {"record"}
    assert "up to date" in other.run("dvc", "repro").stdout


def test_a_fresh_clone_restores_and_builds_nothing(clone, tmp_path):
    clone.run("dvc", "remote", "add", "-f", "-d", "here", str(tmp_path / "remote"))
    clone.run("dvc", "push", "-q")
    clone.run("git", "add", "-A")
    clone.run("git", "commit", "-qm", "Record a build")
    fresh = type(clone)(tmp_path / "fresh")
    clone.run("git", "clone", "-q", str(clone.root), str(fresh.root))
    # `make restore` itself, with this environment taken as installed.
    environment = str(Path(sys.prefix))
    fresh.run("make", "restore", f"VENV={environment}", "-o", f"{environment}/installed")
    assert fresh.snakemake_would_run() == set()
    assert "up to date" in fresh.run("dvc", "repro").stdout
    assert digests(fresh.root) == digests(clone.root)
