"""The scripts that make the tables: a whole tiny run of train_all, and what results.py says of figures."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.collecting import make_clip
from tests.unit.tiny_title import write_title

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import results  # noqa: E402

PARAMS = {
    "sources": {"film": {"kind": "video", "path": "film.mp4", "licence": "none", "credit": "none"}},
    "datasets": {"tiny": {"sources": ["film"], "frames": {"every": 2, "size": 16}}},
    "models": {
        "naive": {"family": "naive", "epochs": 1},
        "alpha": {"family": "alpha", "epochs": 1},
        "alexnet_prev": {"family": "alpha", "epochs": 1},
        "film_unet": {"family": "film_unet", "epochs": 1},
    },
    "experiments": {"tiny": ["naive", "alpha", "film_unet"]},
}


def train_all(folder, *arguments):
    command = [sys.executable, str(ROOT / "benchmarks/train_all.py"), "params.yaml", "--jobs", "2", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder whose data/ is what `all_frames` leaves."""
    folder = tmp_path_factory.mktemp("benchmark")
    title = write_title(folder / "title")
    (folder / "data/frames/tiny").mkdir(parents=True)
    shutil.move(title / "frames", folder / "data/frames/tiny/film")
    (folder / "data/filter").mkdir()
    shutil.move(title / "filter.parquet", folder / "data/filter/tiny.parquet")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return folder


def test_one_call_trains_evaluates_and_prints_the_table_of_the_chosen_models(folder):
    keeper = folder / ".checkpoints/tiny-alpha/of-the-pipeline"
    keeper.mkdir(parents=True)
    done = train_all(folder, "--models", "naive", "alpha")
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in table] == ["| model", "| naive", "| alpha"]
    assert "film_unet" not in done.stdout
    assert keeper.is_dir(), "checkpoints of the pipeline stay"
    assert not (folder / "data/models").exists() and not (folder / "reports").exists()


def test_what_the_time_does_not_allow_is_named_and_not_shown(folder):
    done = train_all(folder, "--minutes", "0")
    assert done.returncode == 0 and "not done in time: train tiny naive" in done.stdout
    assert "| alpha" not in done.stdout, "figures of an earlier call are not this one's"


def test_unknown_names_are_refused(folder):
    assert "--datasets names 'nope'" in train_all(folder, "--datasets", "nope").stderr
    assert "--models names 'nope'" in train_all(folder, "--models", "nope").stderr


def figures(ab, rgb=0.1, dcf=1.0):
    return {"metrics": {"test": {"mse_ab@128": ab, "mse_rgb_pm1": rgb, "dcf": dcf}}}


def test_a_question_is_answered_by_the_figures_of_the_test_part():
    question = results.Question("Games", "beta beats alpha", "beta_half", "alpha")
    said = [results.answer(question, {"beta_half": figures(ab), "alpha": figures(0.01)}) for ab in (0.008, 0.0099, 0.012)]
    assert said == [
        "holds (.00800 against .01000)",
        "makes no difference (.00990 against .01000)",
        "does not hold (.01200 against .01000)",
    ]
    assert results.answer(question, {"alpha": figures(0.01)}) is None
    assert results.answer(question, {"beta_half": figures(0.01), "alpha": {"metrics": {"val": {"mse_ab@128": 1.0}}}}) is None


def test_every_question_is_about_models_of_the_preset():
    models = yaml.safe_load((ROOT / "presets/results.yaml").read_text())["models"]
    assert {name for question in results.QUESTIONS for name in (question.better, question.worse)} <= set(models)


def test_photographs_are_measured_against_pillow_and_their_memory_is_told(tmp_path):
    film = make_clip(tmp_path / "film.mp4", "160x120", "25", 30)
    command = [sys.executable, str(ROOT / "benchmarks/pictures.py"), "--small", "--rounds", "1", "--film", str(film)]
    done = subprocess.run(
        [*command, "--scratch", str(tmp_path), "--out", str(tmp_path / "table.md")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "table.md").read_text()
    firsts = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert firsts[1:4] == [f"{name}, sides of about 24" for name in ("Pillow, one process", "frames", "download and frames")]
    assert firsts[5:] == ["60 in a tar"] and str(tmp_path) not in table


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["colour.py"], ["scikit-image, per picture", "Largest difference"]),
        (["loader.py"], ["JPEG files, PIL", "WebDataset", "the projects' way"]),
        (
            ["scale.py"],
            ["write index and shards", "split by shot", "one shuffled epoch of indexes", "of its own", "The median of 2"],
        ),
        (["frames.py"], ["ffmpeg command line, JPEG", "to the byte the full decode's frames"]),
        (["colorize.py"], ["decode and encode alone", "ffmpeg command line", "colorize, alpha"]),
        (["loader.py", "--device", "cpu"], ["resident: loader alone", "sent: training"]),
    ],
)
def test_a_benchmark_runs_at_a_small_size_and_writes_what_it_prints(tmp_path, command, said):
    script, *options = command
    out = tmp_path / "tables.md"
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / script),
            "--small",
            "--rounds",
            "2" if script == "scale.py" else "1",
            "--out",
            str(out),
            *options,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert out.read_text().strip() == done.stdout.strip() and "cores" in done.stdout
    assert all(words in done.stdout for words in said)
