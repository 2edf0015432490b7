"""Import closures leave out what a use of a stage never reaches, and nothing that it does."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from kinemacolor import dag, params

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/params.yaml"
ABOUT = {"licence": "none", "credit": "me"}
PACKAGE = {"package": "thing", "version": "1", "member": ["a.mp4"], "sha256": "0" * 64}
SOURCES = {
    "by_url": {"kind": "video", "url": "https://a/b"},
    "by_path": {"kind": "video", "path": "film.mp4"},
    "by_package": {"kind": "video", **PACKAGE},
    "pair": {"kind": "film_pair", "colour": {"url": "https://a/b"}, "grey": {"url": "https://a/c"}},
    "made": {"kind": "film_pair", "colour": {"path": "film.mp4"}, "grey": {"recipe": {"height": 32}}},
    "game": {"kind": "game", "game": "freedoom", "frames": 35},
    "clips": {"kind": "clips", "path": "clips"},
    "listed": {"kind": "clips", "list": [PACKAGE]},
    "images": {"kind": "images", "path": "photographs"},
    "images_by_url": {"kind": "images", "url": "https://a/b.zip"},
    "images_by_package": {"kind": "images", **PACKAGE},
}


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def source(name: str) -> params.AnySource:
    return params.section(params.AnySource, SOURCES[name] | ABOUT, name)


def write_video(path: Path, *, frames: int) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=12"]
    subprocess.run([*command, "-frames:v", str(frames), "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)], check=True)


def loaded(code: str, folder: Path = ROOT) -> set[str]:
    """Our modules that a process has imported after some code."""
    code = f"{code}\nimport json, sys\nprint(json.dumps([name for name in sys.modules if name.startswith('kinemacolor')]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_no_plot_retrains_anything():
    """The filter's closure, on which every training depends, holds nothing of the report."""
    for name in ("frames", "split", "filter", "train"):
        assert not [path for path in dag.closure(f"kinemacolor.stages.{name}") if "report" in path.parts]


def test_what_is_left_out_is_imported_by_no_module_that_is_loaded_at_once():
    """Else the closure would lie: a source or a training would run code that it does not depend on."""
    for stage in ("download", "weights", "frames", "pieces", "motion", "split", "sync", "train"):
        there = loaded(f"import kinemacolor.stages.{stage}")
        match stage:
            case "download":
                left_out = {module for name in SOURCES for module in dag.unreached_by_source(source(name))}
            case "train":
                left_out = set(dag.unreached_by_training(params.section(params.Model, {"family": "alpha"}, "")))
                assert len(left_out) == 5
            case "weights":
                left_out = {f"kinemacolor.media.{name}" for name in ("direct", "index_client", "archive")}
            case "split":
                left_out = set(dag.PIXELS)
            case "frames" | "pieces" | "motion":
                left_out = {module for name in SOURCES for module in dag.unreached_by_frames(source(name))}
            case _:
                left_out = set(dag.PHOTOGRAPHS)
        assert not there & left_out, stage


@pytest.mark.parametrize("name", ["by_path", "made", "clips", "images"])
def test_a_download_loads_nothing_beyond_its_closure(name, tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "photographs").mkdir()
    write_video(tmp_path / "film.mp4", frames=12)
    write_video(tmp_path / "clips/a.mp4", frames=4)
    cv2.imwrite(str(tmp_path / "photographs/a.png"), np.full((32, 32, 3), 90, np.uint8))
    code = (
        "from pathlib import Path\nfrom kinemacolor import params\nfrom kinemacolor.stages.download import download\n"
        f"chosen = params.section(params.AnySource, {SOURCES[name] | ABOUT!r}, 'x')\n"
        "download(chosen, out=Path('out'), cache=Path('cache'), name='x')"
    )
    closure = {str(path) for path in dag.closure("kinemacolor.stages.download", without=dag.unreached_by_source(source(name)))}
    files = {str(dag._file(module).relative_to(ROOT)) for module in loaded(code, tmp_path)}
    assert files <= closure


def names(paths) -> set[str]:
    return {path.name for path in paths}


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("by_url", {"fetch"}),
        ("by_path", {"fetch", "listing"}),
        ("by_package", {"fetch", "index_client", "archive"}),
        ("pair", {"fetch"}),
        ("made", {"fetch", "listing", "prints"}),
        ("game", {"play"}),
        ("clips", {"fetch", "listing", "clips"}),
        ("listed", {"fetch", "listing", "clips", "index_client", "archive"}),
        ("images", {"listing", "packing", "gallery", "pictures", "archive"}),
        ("images_by_url", {"fetch", "direct", "listing", "packing", "gallery", "pictures", "archive"}),
        ("images_by_package", {"fetch", "index_client", "listing", "packing", "gallery", "pictures", "archive"}),
    ],
)
def test_a_source_depends_on_the_code_of_its_own_kind(name, reached):
    files = names(dag.closure("kinemacolor.stages.download", without=dag.unreached_by_source(source(name))))
    some = ["fetch", "direct", "index_client", "archive", "listing", "clips", "packing", "gallery", "pictures", "play", "prints"]
    assert {module for module in some if f"{module}.py" in files} == reached


def test_reading_photographs_concerns_no_film():
    closures = dag.closures_of(params.load(GOLDEN))
    holding = {
        stage for stage, files in closures.items() if "pictures.py" in {path.name for path in files if "media" in path.parts}
    }
    assert not any(stage.startswith(("download", "frames", "sync", "train")) for stage in holding)


def test_weights_of_a_whole_network_depend_on_its_family_and_those_of_an_encoder_on_none():
    document = copy.deepcopy(params.read_document(GOLDEN))
    about = {"sha256": "0" * 64, "licence": "none"}
    document["weights"] |= {
        "whole": about | {"architecture": "eccv16", "url": "https://a/b.pth"},
        "encoder": about | {"architecture": "vgg16", "path": "vgg16.bin"},
        "unused": about | {"architecture": "siggraph17", "path": "s.bin"},
    }
    document["models"]["begun"] = {"family": "eccv16", "pretrained": "whole", "loss": "classes"}
    document["models"]["trunk"] = {"family": "vgg16_lab", "pretrained": "encoder"}
    document["experiments"] = {"freedoom": ["begun", "trunk"]}
    document["datasets"]["freedoom"].pop("evaluate", None)  # which asks for weights too
    closures = dag.closures_of(params.check(document))
    assert {stage for stage in closures if stage.startswith("weights")} == {"weights-whole", "weights-encoder"}
    assert {"zhang.py", "direct.py"} <= names(closures["weights-whole"])
    assert not {"zhang.py", "trunks.py", "direct.py", "index_client.py"} & names(closures["weights-encoder"])


def test_a_training_depends_on_discriminators_classes_and_hints_only_where_it_has_them():
    def closure(**model):
        chosen = params.section(params.Model, model, "")
        return names(dag.closure("kinemacolor.stages.train", [chosen.family], without=dag.unreached_by_training(chosen)))

    some = {"adversarial.py", "adversary.py", "discriminators.py", "prior.py", "hints.py"}
    assert not some & closure(family="lab_unet")
    assert some & closure(family="unet_gan", loss={"name": "l1", "gan": {}}) == {
        "adversarial.py",
        "adversary.py",
        "discriminators.py",
    }
    assert some & closure(family="eccv16", loss="classes") == {"prior.py"}
    assert some & closure(family="siggraph17", loss="l1") == {"hints.py"}
    assert some & closure(family="siggraph17", loss={"name": "l1", "classes": 1}) == {"prior.py", "hints.py"}
