"""What another program coloured lies on the dataset's frames as the grey print does, found by number; and how it enters the DAG."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from kinemacolor import dag, dvc_yaml, params
from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.stretches import TABLE
from kinemacolor.media.decode import decode
from kinemacolor.media.probe import probe
from kinemacolor.media.sources import PrintRecord, SourceRecord
from kinemacolor.params import External, FramesParams, ParamsError
from kinemacolor.stages.external import external
from kinemacolor.stages.frames import frames

from .collecting import clips, encoded, get, images, laid_out, make_clip, scene
from .test_evaluate_files import encode, moving
from .test_pairs import FRAMES, IDENTITY, Pair, film, turned_transform
from .test_pairs import encode as encode_h264

GOLDEN = Path(__file__).parents[2] / "tests/golden/params.yaml"


def entry_of(path: Path) -> External:
    return External(dataset="film", path=str(path), licence="MIT", credit="They")


# ------------------------------------------------------------------------------------------------------- a film


class Film:
    """A downloaded film of 24 frames, and frames that were taken of it."""

    def __init__(self, root: Path, **options) -> None:
        self.root, self.pictures = root, moving(24)
        raw = root / "raw/reel"
        raw.mkdir(parents=True)
        video = encode(raw / "video.mkv", self.pictures)
        record = PrintRecord(video, {"path": "x"}, sha256_of(video), video.stat().st_size, probe(video), None)
        SourceRecord(raw, "video", "CC0", "Made by a test", "2026-01-01T00:00:00Z", {"video": record}).write()
        self.video, self.raw = video, raw
        self.params = FramesParams(**({"every": 5, "size": (16, 24)} | options))
        frames(raw, source="reel", params=self.params, out=root / "frames")
        self.store = FrameStore(root / "frames")

    def take(self, path: Path, **more) -> Path:
        out = self.root / "out"
        external(entry_of(path), name="other", params=self.params, frames=self.root / "frames", media=self.raw, out=out, **more)
        return out

    def folder(self, numbers: range, size: int = 1) -> Path:
        out = self.root / f"pictures{size}"
        out.mkdir()
        for number in numbers:
            Image.fromarray(self.pictures[number].repeat(size, axis=0).repeat(size, axis=1)).save(out / f"f_{number:04d}.png")
        return out


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_the_film_itself_gives_the_dataset_s_own_frames(tmp_path: Path, fit: str) -> None:
    made = Film(tmp_path, fit=fit, size=16)
    out = made.take(made.video)
    found = FrameStore(out / "frames")
    assert np.array_equal(found.colour(range(len(found))), made.store.colour(range(len(made.store))))
    pd.testing.assert_frame_equal(found.table, made.store.table)
    said = json.loads((out / "external.json").read_text())
    assert said["name"] == "other" and said["source"] == "reel" and said["kind"] == "video"
    assert said["sha256"] == sha256_of(made.video) and said["licence"] == "MIT" and said["credit"] == "They"
    assert not (out / "motion").exists()


def test_pictures_of_any_size_are_found_by_their_number(tmp_path: Path) -> None:
    made = Film(tmp_path)
    for size in (1, 2):  # doubled pixels average back to what they were
        found = FrameStore(made.take(made.folder(range(0, 24, 5), size)) / "frames")
        assert np.array_equal(found.colour(range(5)), made.store.colour(range(5)))
    (tmp_path / "pictures1/f_0010.png").unlink()
    with pytest.raises(UserError, match="pictures1 has no picture of frame 10"):
        made.take(tmp_path / "pictures1")
    assert json.loads((tmp_path / "out/external.json").read_text())["kind"] == "pictures", "the one before is still there"


def test_stretches_are_taken_too(tmp_path: Path) -> None:
    made = Film(tmp_path)
    frames(made.raw, source="reel", params=FramesParams(every=1, size=(16, 24), start=0.4, end=0.9), out=tmp_path / "motion")
    moves = FrameStore(tmp_path / "motion")
    row = {"stretch": 0, "source": "reel", "split": "val", "frame": 5, "last": 10, "row": 0, "rows": len(moves)}
    pd.DataFrame([row]).to_parquet(tmp_path / "motion" / TABLE)
    found = FrameStore(made.take(made.video, motion=tmp_path / "motion") / "motion")
    assert len(found) == len(moves) > 4
    assert np.array_equal(found.colour(range(len(found))), moves.colour(range(len(moves))))


def test_what_cannot_be_taken_is_named(tmp_path: Path) -> None:
    made = Film(tmp_path)
    with pytest.raises(
        UserError, match=r"nowhere\.mp4 is missing: put the coloured video or folder there, or correct external\.other\.path"
    ):
        made.take(tmp_path / "nowhere.mp4")
    with pytest.raises(UserError, match=r"square\.mkv has pictures of 32x32, another shape than the print's"):
        made.take(encode(tmp_path / "square.mkv", made.pictures[:, :, :32]))
    # Every frame that the dataset wants is there, and each would be judged as the one before it.
    for name, shown in (("late", made.pictures[1:]), ("short", made.pictures[:18]), ("twice", made.pictures[[0, *range(24)]])):
        said = rf"{name}\.mkv has {len(shown)} frames and .*video\.mkv has 24, so that its frame n would not be the print's"
        with pytest.raises(UserError, match=said):
            made.take(encode(tmp_path / f"{name}.mkv", shown))
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        made.take(made.video)


def test_of_a_print_that_breaks_off_fewer_frames_will_do(tmp_path: Path) -> None:
    made = Film(tmp_path)
    said = json.loads((made.raw / "source.json").read_text())
    said["prints"]["video"] |= {"last_good_time": 1.5, "frames": 30}
    (made.raw / "source.json").write_text(json.dumps(said))
    assert len(FrameStore(made.take(made.video) / "frames")) == 5
    with pytest.raises(UserError, match=r"long\.mkv has 31 frames and"):
        made.take(encode(tmp_path / "long.mkv", made.pictures[[*range(24), *range(7)]]))


# ------------------------------------------------------------------------------------------------ collections


def test_pictures_of_clips_have_the_shape_of_their_clip_and_are_numbered_over_all(tmp_path: Path) -> None:
    """One clip has pixels twice as wide as high; another program's pictures of it are square."""
    make_clip(tmp_path / "clips/a.mp4", "64x48", "25", 7)
    make_clip(tmp_path / "plain.mp4", "32x48", "25", 6)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "plain.mp4"), "-c", "copy"]
    subprocess.run([*command, "-aspect", "4:3", str(tmp_path / "clips/b.mp4")], check=True)
    get(clips(path=str(tmp_path / "clips")), tmp_path, "reel")
    taken = FramesParams(every=5, size=24, fit="pad")
    frames(tmp_path / "raw/reel", source="reel", params=taken, out=tmp_path / "frames")
    store = FrameStore(tmp_path / "frames")
    assert store.table["frame"].tolist() == [0, 5, 7, 12]
    options = {"name": "other", "params": taken, "frames": tmp_path / "frames", "media": tmp_path / "raw/reel"}

    def shown(name: str, size: tuple[int, int] | None) -> Path:
        (tmp_path / name).mkdir()
        for clip, first in (("a", 0), ("b", 7)):
            for picture in decode(tmp_path / f"clips/{clip}.mp4", wanted={0, 5}):
                image = Image.fromarray(picture.pixels)
                image = image if clip == "a" or size is None else image.resize(size, Image.Resampling.BOX)
                image.save(tmp_path / name / f"{first + picture.number:04d}.png")
        return tmp_path / name

    for name, size in (("stored", None), ("square", (64, 48))):
        external(entry_of(shown(name, size)), out=tmp_path / "out", **options)
        found = FrameStore(tmp_path / "out/frames")
        off = np.abs(found.colour(range(4)).astype(int) - store.colour(range(4)))
        assert off.max() <= 1, name
    with pytest.raises(UserError, match=r"cut has pictures of 48x48, another shape than that of clip b"):
        external(entry_of(shown("cut", (48, 48))), out=tmp_path / "out", **options)
    with pytest.raises(UserError, match=r"plain\.mp4 is a video, but"):
        external(entry_of(tmp_path / "plain.mp4"), out=tmp_path / "out", **options)


def test_pictures_of_photographs_have_their_shape(tmp_path: Path) -> None:
    laid_out(tmp_path / "album", {f"{n}.png": encoded(Image.fromarray(scene(40, 60 - 20 * n, n)), "PNG") for n in range(2)})
    get(images(path=str(tmp_path / "album")), tmp_path, "album")
    taken = FramesParams(size=24, fit="crop")
    frames(tmp_path / "raw/album", source="album", params=taken, out=tmp_path / "frames")
    store = FrameStore(tmp_path / "frames")
    options = {"name": "other", "params": taken, "frames": tmp_path / "frames", "media": tmp_path / "raw/album"}
    external(entry_of(tmp_path / "album"), out=tmp_path / "out", **options)
    assert np.array_equal(FrameStore(tmp_path / "out/frames").colour(range(2)), store.colour(range(2)))
    Image.fromarray(scene(40, 60, 1)).save(tmp_path / "album/1.png")
    with pytest.raises(UserError, match=r"album has pictures of 60x40, another shape than that of 1\.png"):
        external(entry_of(tmp_path / "album"), out=tmp_path / "out", **options)


# ------------------------------------------------------------------------------------------------------- a pair


def upright_transform() -> np.ndarray:
    """The grey print is 1.2 times as large and shows less of the right and the bottom."""
    return np.array([[1.2, 0, -6.0], [0, 1.2, -3.0]])


@pytest.mark.parametrize("transform", [upright_transform, turned_transform])
@pytest.mark.parametrize("larger", [1, 2])
def test_of_a_pair_it_lies_where_the_grey_print_does(tmp_path: Path, transform, larger: int) -> None:
    """The grey print itself, given as another program's result at its own and at twice its size, is the store's grey picture."""
    matrix = transform()
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in film()]
    shifted = matrix.copy()  # OpenCV puts the centre of the first pixel at 0
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    grey = np.stack([cv2.warpAffine(picture, shifted, (240, 150), borderMode=cv2.BORDER_REPLICATE) for picture in luma])
    pair = Pair(tmp_path, grey, list(range(FRAMES)), matrix)
    store = pair.store(tmp_path / "frames", every=30, size=(40, 64))
    shown = np.stack([picture.pixels for picture in pair.greys])
    coloured = np.repeat(shown[..., None], 3, axis=3).repeat(larger, axis=1).repeat(larger, axis=2)
    path = tmp_path / "pictures"
    path.mkdir()
    for number in range(0, FRAMES, 30):
        Image.fromarray(coloured[number]).save(path / f"{number}.png")
    options = {"name": "other", "params": FramesParams(every=30, size=(40, 64)), "frames": tmp_path / "frames"}
    options |= {"media": pair.raw, "out": tmp_path / "out"}
    with pytest.raises(UserError, match="is a film pair: name the folder of its alignment with --sync"):
        external(entry_of(path), **options)
    external(entry_of(path), sync=pair.sync, **options)
    found = FrameStore(tmp_path / "out/frames").colour(range(3)).astype(int)
    off = np.abs(found - store.grey(range(3)))
    # Doubled pixels are interpolated a quarter of a pixel off where a print is turned; elsewhere they average back.
    assert off.max() <= (0 if larger == 1 else 1 if transform is upright_transform else 12) and off.mean() < 0.6


def test_a_grey_print_in_another_order_is_followed_by_number(tmp_path: Path) -> None:
    """Reels changed round: the grey frame numbers step back, and one is shown twice."""
    order = [50, 51, 51, 10, 12]
    partners = [order[n // 10] if n % 10 == 0 and n < 50 else -1 for n in range(FRAMES)]
    luma = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in film()])
    pair = Pair(tmp_path, luma, partners, IDENTITY)
    store = pair.store(tmp_path / "frames", every=10, size=(24, 40))
    result = encode_h264(film(), tmp_path / "other.mkv")
    options = {"params": FramesParams(every=10, size=(24, 40)), "frames": tmp_path / "frames", "media": pair.raw}
    external(entry_of(result), name="other", sync=pair.sync, out=tmp_path / "out", **options)
    found = FrameStore(tmp_path / "out/frames")
    assert found.table["frame"].tolist() == store.table["frame"].tolist() == [0, 10, 20, 30, 40]
    pictures = found.colour(range(5)).astype(int)
    for row, number in enumerate(order):
        small = cv2.resize(film()[number], (40, 24), interpolation=cv2.INTER_AREA).transpose(2, 0, 1)
        assert np.abs(pictures[row] - small).mean() < 2.5, (row, number)


# -------------------------------------------------------------------------------------------------- params and DAG


def document(**entry) -> dict:
    found = params.read_document(GOLDEN)
    about = {"dataset": "freedoom", "path": "there.mp4", "licence": "MIT", "credit": "They"}
    found["external"] = {"deoldify": about | entry}
    return found


def test_an_external_entry_enters_slices_and_closures_of_its_dataset_alone() -> None:
    chosen = params.check(document())
    assert chosen.shown_beside == {"bunny": [], "freedoom": ["deoldify"]}
    assert chosen.coloured_source("deoldify") == "freedoom"
    before, after = params.slices(params.load(GOLDEN)), params.slices(chosen)
    assert {name for name in after if after[name] != before.get(name)} == {"external-freedoom-deoldify", "report"}
    assert after["report"]["external"] == {"bunny": [], "freedoom": ["deoldify"]}
    own = after["external-freedoom-deoldify"]
    assert params.section(External, own["external"], "slice") == chosen.external["deoldify"] and own["frames"]["size"] == 128
    closures = dag.closures_of(chosen)
    assert Path("src/kinemacolor/stages/external.py") in [dag._relative(path) for path in closures["external-deoldify"]]
    assert not [path for path in closures["evaluate-deoldify"] if path.name == "lab_unet.py"]
    keys = dvc_yaml.param_keys(document(), "external-freedoom-deoldify")
    assert keys == ["external.deoldify", "datasets.freedoom.frames"]
    # A dataset that no experiment builds shows nothing.
    assert params.check(document(dataset="casablanca")).shown_beside == {"bunny": [], "freedoom": []}


def test_a_picture_that_is_made_again_in_place_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    assert dag.mark_of(folder) == ""
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"grey")
    marks = [dag.mark_of(folder)]
    old, listed = (folder / "1.png").stat(), folder.stat()
    (folder / "1.png").write_bytes(b"blue")
    os.utime(folder / "1.png", ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    assert folder.stat().st_mtime_ns == listed.st_mtime_ns, "the folder itself tells nothing"
    marks.append(dag.mark_of(folder))
    (folder / "2.png").unlink()
    marks += [dag.mark_of(folder), dag.mark_of(folder / "0.png")]
    assert len(set(marks)) == 4
    (folder / ".DS_Store").touch()
    assert dag.mark_of(folder) == marks[2]


def test_dvc_is_not_told_of_a_file_that_it_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is there or not, dvc.yaml is the same, so that a fresh clone is up to date; and its name may have a comma."""
    root = GOLDEN.parents[2]
    for name in ("workflow", "Snakefile"):
        (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, tmp_path / name)
    found = document(path="theirs, by hand.mp4")
    (tmp_path / "params.yaml").write_text(json.dumps(found))
    monkeypatch.chdir(tmp_path)
    chosen = params.check(found)
    shape = dvc_yaml.shape(found, chosen)
    (tmp_path / "theirs, by hand.mp4").write_bytes(b"film")
    assert dvc_yaml.shape(found, chosen) == shape
    stages = yaml.safe_load(dvc_yaml.written())["stages"]
    assert not [dep for stage in stages.values() for dep in stage.get("deps", ()) if "hand" in dep or "theirs" in dep]
    assert "external.deoldify" in stages["external-freedoom-deoldify"]["params"]
    # What is shown changes with what was taken of it.
    assert "data/external/freedoom/deoldify" in stages["compare-freedoom"]["deps"]
    assert "data/external/freedoom/deoldify" in stages["evaluate-freedoom-deoldify"]["deps"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"dataset": "nowhere"}, "external.deoldify.dataset names 'nowhere', but datasets has no such entry"),
        ({"source": "bunny"}, "external.deoldify.source names 'bunny', which is not a source of 'freedoom'"),
        ({"path": ""}, "external.deoldify.path"),
        ({"colour": True}, "external.deoldify.colour: unknown key"),
    ],
)
def test_a_wrong_entry_is_named(entry: dict, words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        params.check(document(**entry))


def test_a_result_may_not_have_the_name_of_a_model() -> None:
    found = document()
    found["external"]["alpha"] = found["external"].pop("deoldify")
    with pytest.raises(ParamsError, match=r"external\.alpha: a model has this name"):
        params.check(found)


@pytest.mark.parametrize(
    ("key", "weights", "words"),
    [
        ("lpips", "mobilenet_v2", "names 'mobilenet_v2', whose architecture is another: name weights of architecture lpips_alex"),
        ("features", "lpips_alex", "names 'lpips_alex', whose architecture is another: name weights of an encoder"),
        ("features", "nowhere", "names 'nowhere', but weights has no such entry"),
    ],
)
def test_a_dataset_is_measured_with_weights_that_can(key: str, weights: str, words: str) -> None:
    found = params.read_document(GOLDEN)
    found["weights"]["lpips_alex"] = {"architecture": "lpips_alex", "path": "a", "sha256": "0" * 64, "licence": "none"}
    found["datasets"]["freedoom"]["evaluate"] = {key: weights}
    with pytest.raises(ParamsError, match=rf"datasets\.freedoom\.evaluate\.{key} {words}"):
        params.check(found)


def test_weights_that_a_dataset_is_measured_with_are_built_like_a_model_s() -> None:
    found = params.read_document(GOLDEN)
    found["datasets"]["freedoom"]["evaluate"] = {"features": "efficientnet_lite0"}
    found["datasets"]["casablanca"]["evaluate"] = {"features": "resnet18"}
    chosen = params.check(found)
    assert chosen.measured_with["freedoom"] == {"features": "efficientnet_lite0"} and "casablanca" not in chosen.measured_with
    assert "efficientnet_lite0" in dag.weights_of(chosen) and "resnet18" not in dag.weights_of(chosen)
    assert "weights-efficientnet_lite0" in params.slices(chosen) and "weights-efficientnet_lite0" in dag.closures_of(chosen)
    assert dvc_yaml.shape(found, chosen) != dvc_yaml.shape(params.read_document(GOLDEN), params.load(GOLDEN))
