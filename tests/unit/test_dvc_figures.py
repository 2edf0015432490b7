"""What `dvc metrics` and `dvc plots` show, by DVC itself: on made figures of two commits, in a repository of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from kinemacolor import params
from kinemacolor.dvc_figures import UNTRAINED, figures, parts_of
from kinemacolor.files import write_json
from kinemacolor.models import build

GOLDEN = Path(__file__).parents[2] / "tests/golden/params.yaml"
JOBS = [
    {"rule": "compare", "outputs": ["data/compare/bunny.mp4", "data/compare/bunny.png", "data/compare/bunny_stills"]},
    {"rule": "evaluate", "outputs": ["reports/bunny/lab_unet"]},
    {"rule": "evaluate", "outputs": ["reports/bunny/naive"]},
    {"rule": "render", "outputs": ["data/render/bunny/lab_unet.mp4", "data/render/bunny/lab_unet.png"]},
    {"rule": "report", "outputs": ["reports/index.html", "reports/pictures"]},
    {"rule": "train", "outputs": ["data/models/bunny/lab_unet"]},
    {"rule": "train", "outputs": ["data/models/bunny/naive"]},
]


def of(change=lambda document: None):
    """Params with the split of bunny changed by a function."""
    document = params.read_document(GOLDEN)
    change(document["datasets"]["bunny"]["split"])
    return params.check(document)


def test_curves_of_one_dataset_share_a_plot_and_pictures_stand_by_themselves():
    metrics, plots = figures(JOBS, of())
    assert metrics == ["reports/bunny/lab_unet/metrics.json", "reports/bunny/naive/metrics.json"]
    described = {name: about for plot in plots if isinstance(plot, dict) for name, about in plot.items()}
    lab, naive = (f"data/models/bunny/{model}/curves.json" for model in ("lab_unet", "naive"))
    assert described["bunny_val_error"]["y"] == {lab: "val_mse_ab@128", naive: "val_mse_ab@128"}
    # There is nothing to train in the other.
    assert described["bunny_val_loss"]["y"] == {lab: "val_loss"} and described["bunny_train_loss"]["y"] == {lab: "train_loss"}
    pictures = [plot for plot in plots if isinstance(plot, str)]
    sheets = [f"reports/bunny/lab_unet/{kind}_{part}.png" for kind in ("sheet", "extremes") for part in ("val", "test")]
    assert set(pictures) > {*sheets, "data/compare/bunny.png", "data/render/bunny/lab_unet.png"} and len(pictures) == 10


def test_a_part_without_frames_is_not_asked_for():
    chosen = of(lambda split: split.update(fractions=[1, 0, 0]))
    _, plots = figures(JOBS, chosen)
    assert [name for plot in plots if isinstance(plot, dict) for name in plot] == ["bunny_train_loss"]
    assert [plot for plot in plots if isinstance(plot, str)] == ["data/compare/bunny.png", "data/render/bunny/lab_unet.png"]
    given = of(lambda split: split.update(fractions=[1, 0, 0], sources={"bunny": "test"}))
    assert parts_of(given.datasets["bunny"].split) == ["train", "test"]


def test_who_has_no_training_loss_has_nothing_to_train():
    assert [sum(weight.numel() for weight in build(name, {}).parameters()) for name in UNTRAINED] == [0]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits of figures, curves and pictures of two models, described as dvc.yaml describes them, and a third on the disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "test")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "test@example.org")
    git("init", "-q", "-b", "main")
    dvc("init", "-q")
    metrics, plots = figures(JOBS, of())
    Path("dvc.yaml").write_text(yaml.safe_dump({"metrics": metrics, "plots": plots}, sort_keys=False))
    for number, error in enumerate((0.02, 0.015, 0.012)):
        for path in [plot for plot in plots if isinstance(plot, str)]:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 8), (80 * number, 0, 0)).save(path)
        for model in ("lab_unet", "naive"):
            figure = error if model == "lab_unet" else 0.02
            write_json(Path(f"reports/bunny/{model}/metrics.json"), {"val": {"mse_ab@128": figure, "frames": 71}})
            trained = {"train_loss": 0.1, "lr": 0.001} if model == "lab_unet" else {}
            curve = [
                {"epoch": e, "val_loss": figure / e, "val_mse_ab@128": figure / e, **trained}
                for e in (1, 2, 3)
                if trained or e == 1
            ]
            write_json(Path(f"data/models/bunny/{model}/curves.json"), curve)
        if number < 2:
            git("add", "-A")
            git("commit", "-qm", f"Build {number}")
    return tmp_path


def git(*command):
    subprocess.run(["git", *command], check=True, capture_output=True)


def dvc(*command):
    return subprocess.run([sys.executable, "-m", "dvc", *command], check=True, capture_output=True, text=True)


def said(*command):
    """What a DVC command prints; it must succeed without a word of warning."""
    done = dvc(*command)
    assert done.stderr == ""
    return done.stdout


def test_dvc_shows_and_compares_figures(repository):
    shown = json.loads(said("metrics", "show", "--json"))[""]["data"]
    assert shown["reports/bunny/lab_unet/metrics.json"]["data"]["val"] == {"mse_ab@128": 0.012, "frames": 71}
    changed = json.loads(said("metrics", "diff", "--json", "HEAD"))
    assert changed == {
        "reports/bunny/lab_unet/metrics.json": {"val.mse_ab@128": {"old": 0.015, "new": 0.012, "diff": pytest.approx(-0.003)}}
    }
    between = said("metrics", "diff", "--md", "HEAD~1", "HEAD")
    assert "val.mse_ab@128" in between and "0.02" in between and "-0.005" in between


def test_dvc_shows_and_compares_curves_and_pictures(repository):
    shown = json.loads(said("plots", "show", "--json", "--split"))["data"]
    (error,) = shown["bunny_val_error"]
    points = error["anchor_definitions"]["<DVC_METRIC_DATA>"]
    assert len(points) == 4 and {point["epoch"] for point in points} == {1, 2, 3}
    assert all(isinstance(plot, list) and plot for plot in shown.values()) and len(shown) == 3 + 10
    said("plots", "diff", "HEAD~1", "HEAD", "--out", "seen")
    page = Path("seen/index.html").read_text()
    assert "bunny: validation error of all models" in page
    pictures = {path.name for path in Path("seen/static").iterdir()}
    assert {name for name in pictures if "lab_unet_sheet_val" in name} and len(pictures) == 20, "every picture of both commits"


def test_what_is_missing_is_said_and_hides_nothing_else(repository):
    shutil.rmtree("reports/bunny/naive")
    done = dvc("plots", "show", "--json")
    assert "failed to load some plots" in done.stderr
    assert json.loads(done.stdout)["data"]["reports/bunny/lab_unet/sheet_val.png"]
