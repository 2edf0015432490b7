"""The sync stage on real small files: what it writes, what is set by hand, what it refuses and in which words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.media.decode import decode
from kinemacolor.media.prints import make_print
from kinemacolor.media.programme import placement
from kinemacolor.params import ParamsError, Recipe, SyncParams, section
from kinemacolor.stages.sync import ALIGNMENT_SCHEMA, sync
from tests.unit.drawn_prints import FRAMES, HEIGHT, WIDTH, scenes, write_film

RECIPE = Recipe(
    trim_frames=9, intro_frames=40, crop=(14 / WIDTH, 6 / HEIGHT, 9 / WIDTH, 12 / HEIGHT), height=160, gamma=1.3, grain=4
)
OFFSET = 31
GREY_SIZE = (160, 292)
OTHER = (70, 52, 88, 60)  # frames of the shots of another film
NAMES = ["alignment.parquet", "geometry.json", "pairs.png", "path.png", "segments.json"]


@pytest.fixture(scope="module")
def colour(tmp_path_factory) -> Path:
    return write_film(scenes(1), tmp_path_factory.mktemp("colour") / "colour.mp4")


@pytest.fixture(scope="module")
def grey(colour, tmp_path_factory) -> Path:
    """Lacks 9 frames of the film and has 40 of its own."""
    target = tmp_path_factory.mktemp("grey") / "grey.mp4"
    assert make_print(colour, RECIPE, target).truth_offset == OFFSET
    return target


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    """Another film altogether."""
    return write_film(scenes(2, OTHER), tmp_path_factory.mktemp("other") / "other.mp4")


@pytest.fixture(scope="module")
def paired(grey, colour, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sync") / "pair"
    sync(grey, colour, params=SyncParams(), out=out)
    return out


def alignment(folder: Path):
    return pq.read_table(folder / "alignment.parquet").to_pandas()


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kinemacolor.cli", "sync", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


# ------------------------------------------------------------------------------------------------------------ what it writes


def test_alignment_pairs_the_same_pictures_and_nothing_else(paired, grey, colour):
    assert sorted(path.name for path in paired.iterdir()) == NAMES
    assert pq.read_table(paired / "alignment.parquet").schema.equals(ALIGNMENT_SCHEMA)
    rows = alignment(paired)
    assert (rows.grey_frame - rows.colour_frame == OFFSET).all()
    # The first 9 frames of the film have no partner: at that offset the leader stands where they would be.
    assert rows.colour_frame.tolist() == list(range(9, FRAMES))
    assert (rows.segment == 0).all()
    assert rows.confidence.between(0.5, 1).all()
    assert rows.colour_time.tolist() == [picture.time for picture in decode(colour)][9:]
    assert rows.grey_time.tolist() == [picture.time for picture in decode(grey)][40:]


def test_segments_and_geometry_are_told_in_json(paired):
    told = read_json(paired / "segments.json")
    assert sorted(told) == ["correlation", "segments", "share"]
    (only,) = told["segments"]
    assert (only["colour_start"], only["colour_end"]) == (9, FRAMES)
    assert (only["grey_start"], only["grey_end"]) == (40, FRAMES + OFFSET)
    assert (only["speed"], only["clock"]) == (1, 1)
    assert only["alike"] > 0.95 and only["confidence"] > 0.9
    assert told["correlation"] > 0.95 and told["share"] > 0.97
    geometry = read_json(paired / "geometry.json")
    assert sorted(geometry) == ["colour_crop", "corners", "grey_crop", "kind", "residual_px", "size", "transform"]
    assert geometry["size"] == {"colour": [HEIGHT, WIDTH], "grey": list(GREY_SIZE)}
    assert geometry["colour_crop"] == pytest.approx((14, 6, WIDTH - 9, HEIGHT - 12), abs=0.7)
    mapped = (
        np.array(geometry["colour_crop"]).reshape(2, 2) @ np.diag(np.diag(geometry["transform"]))
        + np.array(geometry["transform"])[:, 2]
    )
    assert mapped.ravel() == pytest.approx(geometry["grey_crop"], abs=0.01)
    np.testing.assert_allclose(geometry["transform"], placement(RECIPE, HEIGHT, WIDTH).transform, atol=0.3)


def test_what_is_returned_has_the_times_of_every_frame(colour, tmp_path):
    """Of a print with dropped frames they are no multiples of anything."""
    told = make_print(colour, Recipe(height=160, drop=0.3, intro_frames=40, seed=2), tmp_path / "grey.mp4")
    found = sync(tmp_path / "grey.mp4", colour, params=SyncParams(), out=tmp_path / "pair")
    assert (found.grey_frames, found.colour_frames) == (told.frames, FRAMES)
    np.testing.assert_allclose(found.grey_times, told.time, atol=1e-6)
    assert found.colour_times.tolist() == [picture.time for picture in decode(colour)]
    done = command(tmp_path / "grey.mp4", colour, "--out", tmp_path / "again")
    begins = f"{told.time[found.path.segments[0].grey_start]:05.2f}"
    assert done.returncode == 0 and f"0:{begins}" in done.stdout.splitlines()[1], done.stdout


def test_pictures_for_a_person_are_whole(paired):
    for name in ("path.png", "pairs.png"):
        picture = cv2.imread(str(paired / name))
        assert picture is not None and min(picture.shape[:2]) > 400 and picture.std() > 10


def test_same_prints_same_bytes(paired, grey, colour, tmp_path):
    sync(grey, colour, params=SyncParams(), out=tmp_path / "again")
    assert all((paired / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in NAMES)


def test_roles_of_the_prints_may_be_swapped(grey, colour, tmp_path):
    """The grey print may be the one that shows more."""
    result = sync(colour, grey, params=SyncParams(), out=tmp_path / "out")
    rows = alignment(tmp_path / "out")
    assert (rows.grey_frame - rows.colour_frame == -OFFSET).all()
    assert rows.colour_frame.tolist() == list(range(40, FRAMES + OFFSET))
    assert result.geometry.grey_crop == pytest.approx((14, 6, WIDTH - 9, HEIGHT - 12), abs=0.7)
    assert result.geometry.colour_crop == pytest.approx((0, 0, *GREY_SIZE[::-1]), abs=0.5)


def test_the_command_prints_the_segments_as_a_table(grey, colour, tmp_path):
    done = command(grey, colour, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["colour", "frames", "at", "grey"]
    assert re.search(rf"\b1\s+9\D+{FRAMES - 1}\b.*\b40\D+{FRAMES + OFFSET - 1}\b", lines[1]), lines[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == NAMES


def test_frames_of_a_damaged_film_are_numbered_as_decode_does(grey, colour, tmp_path):
    content = bytearray(colour.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        sync(grey, damaged, params=SyncParams(), out=tmp_path / "refused")
    sync(grey, damaged, params=SyncParams(), out=tmp_path / "out", allow_truncated=True)
    pictures = {picture.number: picture.time for picture in decode(damaged, allow_truncated=True)}
    assert 0 < FRAMES - len(pictures) < 200
    rows = alignment(tmp_path / "out")
    assert [pictures[number] for number in rows.colour_frame] == rows.colour_time.tolist()
    sure = rows[rows.confidence >= 0.5]
    assert (sure.grey_frame - sure.colour_frame == OFFSET).mean() > 0.98
    # On both sides of the damage.
    lost = sorted(set(range(FRAMES)) - set(pictures))
    assert (sure.colour_frame < lost[0]).sum() > 0.9 * (lost[0] - 9)
    assert (sure.colour_frame > lost[-1]).sum() > 0.9 * (FRAMES - 1 - lost[-1])
    assert not (tmp_path / "refused").exists()


# ------------------------------------------------------------------------------------------------------------ by hand


def test_offset_by_hand_is_taken_and_checked(grey, colour, tmp_path):
    result = sync(grey, colour, params=SyncParams(offset=OFFSET), out=tmp_path / "right")
    rows = alignment(tmp_path / "right")
    assert (rows.grey_frame - rows.colour_frame == OFFSET).all() and rows.colour_frame.min() == 0
    assert result.path.correlation > 0.95
    with pytest.raises(UserError, match=r"correlate by -?\d\.\d\d, .* 0\.5 is needed; correct or remove sync\.offset"):
        sync(grey, colour, params=SyncParams(offset=150), out=tmp_path / "wrong")
    with pytest.raises(UserError, match=r"leaves nothing that both prints show .* remove sync\.offset"):
        sync(grey, colour, params=SyncParams(offset=5000), out=tmp_path / "outside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["right"]


def test_offset_by_hand_on_the_command_line(grey, colour, tmp_path):
    done = command(grey, colour, "--offset", 150, "--out", tmp_path / "out")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert "sync.offset" in done.stderr.splitlines()[-1]


def test_segments_by_hand_are_taken_and_checked(grey, colour, tmp_path):
    def by_hand(*segments: dict) -> SyncParams:
        return section(SyncParams, {"segments": list(segments)}, "params.yaml")

    right = by_hand({"colour": [200, 260], "grey": 231}, {"colour": [20, 120], "grey": 51})
    sync(grey, colour, params=right, out=tmp_path / "right")
    rows = alignment(tmp_path / "right")
    assert rows.colour_frame.tolist() == [*range(20, 120), *range(200, 260)]
    assert (rows.grey_frame - rows.colour_frame == OFFSET).all()
    assert [one["colour_start"] for one in read_json(tmp_path / "right" / "segments.json")["segments"]] == [20, 200]
    twice = by_hand({"colour": [20, 120], "grey": 51}, {"colour": [100, 160], "grey": 131})
    with pytest.raises(UserError, match=r"sync\.segments names some frames of the colour print twice: "):
        sync(grey, colour, params=twice, out=tmp_path / "twice")
    with pytest.raises(UserError, match=r"do not belong together as set by hand: .* sync\.segments"):
        sync(grey, colour, params=by_hand({"colour": [20, 120], "grey": 300}), out=tmp_path / "wrong")
    with pytest.raises(UserError, match=r"needs frame 9099 of the colour print, .* sync\.segments"):
        sync(grey, colour, params=by_hand({"colour": [9000, 9100], "grey": 0}), out=tmp_path / "outside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["right"]


def test_crop_by_hand_is_taken_and_checked(grey, colour, tmp_path):
    def by_hand(**boxes: list) -> SyncParams:
        return section(SyncParams, {"crop": boxes, "offset": OFFSET}, "params.yaml")

    both = sync(grey, colour, params=by_hand(colour=[14, 6, 375, 204], grey=[0, 0, 292, 160]), out=tmp_path / "both").geometry
    assert both.colour_crop == (14, 6, 375, 204) and both.grey_crop == (0, 0, 292, 160)
    np.testing.assert_allclose(both.transform, placement(RECIPE, HEIGHT, WIDTH).transform, atol=1e-9)
    assert both.residual_px < 0.5
    one = sync(grey, colour, params=by_hand(colour=[100, 50, 300, 150]), out=tmp_path / "one").geometry
    assert one.colour_crop == pytest.approx((100, 50, 300, 150), abs=0.01)
    np.testing.assert_allclose(one.transform, placement(RECIPE, HEIGHT, WIDTH).transform, atol=0.5)
    with pytest.raises(UserError, match=r"sync\.crop\.grey reaches to 400, 160, but the grey print has 292x160 pixels"):
        sync(grey, colour, params=by_hand(grey=[0, 0, 400, 160]), out=tmp_path / "outside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["both", "one"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"offset": 3, "segments": [{"colour": [0, 9], "grey": 3}]}, r"offset or segments, not both"),
        ({"segments": []}, r"segments holds none"),
        ({"segments": [{"colour": [9, 0], "grey": 3}]}, r"segments\S*colour"),
        ({"segments": [{"colour": [0, 9], "grey": -3}]}, r"segments\S*grey"),
        ({"crop": {"grey": [10, 0, 5, 9]}}, r"left < right"),
        ({"max_offset": 300}, r"max_offset"),
        ({"min_share": 1.5}, r"min_share"),
    ],
)
def test_values_that_cannot_be_are_refused_by_their_key(values, words):
    with pytest.raises(ParamsError, match=words):
        section(SyncParams, values, "params.yaml")


# ------------------------------------------------------------------------------------------------------------ what it refuses


def test_unrelated_prints_are_refused_with_the_score(other, colour, tmp_path):
    done = command(other, colour, "--out", tmp_path / "out")
    assert done.returncode == 2
    sentence = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "other.mp4" in sentence and "colour.mp4" in sentence and "do not belong together" in sentence
    assert 0 <= float(re.search(r"(?:other is|correlation of) (-?\d\.\d\d)", sentence)[1]) < 0.9
    assert list(tmp_path.iterdir()) == []


def test_a_trailer_with_too_little_in_common_is_refused_and_may_be_allowed(colour, tmp_path):
    """A fifth of the trailer is the film's."""
    own = scenes(2, OTHER)
    trailer = write_film(np.concatenate([own[:122], scenes(1)[104:179], own[122:]]), tmp_path / "trailer.mp4")
    with pytest.raises(UserError, match=r"trailer\.mp4 and \S*colour\.mp4 do not belong together.*sync\.min_share") as error:
        sync(trailer, colour, params=SyncParams(min_share=0.4), out=tmp_path / "out")
    assert 10 < float(re.search(r"([\d.]+) % of the shorter", str(error.value))[1]) < 40
    assert not (tmp_path / "out").exists()
    sync(trailer, colour, params=SyncParams(min_share=0.1), out=tmp_path / "out")
    rows = alignment(tmp_path / "out")
    sure = rows[rows.confidence >= 0.5]
    assert (sure.grey_frame - sure.colour_frame == 122 - 104).mean() > 0.97
    assert len(sure) > 60


def test_prints_of_a_few_frames_are_refused(colour, tmp_path):
    short = write_film(scenes(1, (8,)), tmp_path / "short.mp4")
    with pytest.raises(UserError, match=r"short\.mp4 .* a print of 8 frames is too short to be synced"):
        sync(short, colour, params=SyncParams(), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_left_alone(grey, colour, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match="out"):
        sync(grey, colour, params=SyncParams(), out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["diary.txt"]
