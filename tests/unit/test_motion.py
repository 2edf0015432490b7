"""The stage `motion`: which stretches of consecutive frames are taken, and that they are the film's own frames to the byte."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor import params as parameters
from kinemacolor.errors import UserError
from kinemacolor.frames import cuts
from kinemacolor.frames.index import FrameStore, located
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.frames.stretches import begins_of_stretches, open_stretches, stretches_in
from kinemacolor.params import ChronologicalSplit, FilterParams, FramesParams, MotionParams
from kinemacolor.stages.filter import filter_frames
from kinemacolor.stages.frames import frames
from kinemacolor.stages.motion import motion
from kinemacolor.stages.split import split

from .collecting import clips, get, images, laid_out, make_clip, photographs
from .taken import digests
from .test_pairs import IDENTITY, REELS, Pair, film, reels

SHOT, SHOTS, EVERY = 40, 12, 8


def shown() -> np.ndarray:
    """(480, 64, 96, 3): twelve shots of 40 frames, in each a window that moves over another photograph; the last cut is soft."""
    pictures = [cv2.resize(getattr(skimage.data, name)(), (200, 160)) for name in ("astronaut", "coffee", "cat", "rocket")]
    shifted, soft = ([picture[..., order] for picture in pictures] for order in ([2, 0, 1], [1, 2, 0]))
    pictures = [*pictures, *shifted, *(255 - picture for picture in pictures[:2]), *soft[2:]]
    return np.stack([pictures[n // SHOT][n % SHOT : n % SHOT + 64, n % SHOT : n % SHOT + 96] for n in range(SHOT * SHOTS)])


@pytest.fixture(scope="module")
def title(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film, its frames one in eight, and its filter table."""
    root = tmp_path_factory.mktemp("title")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "96x64", "-r", "25"]
    command += ["-i", "-", "-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-g", "50", "-pix_fmt", "yuv420p"]
    subprocess.run([*command, str(root / "film.mp4")], input=shown().tobytes(), check=True)
    frames(root / "film.mp4", source="film", params=TAKEN, out=root / "frames")
    fractions = ChronologicalSplit(fractions=(0.3, 0.35, 0.35), guard=0.5)
    split([root / "frames"], params=fractions, out=root / "split.parquet")
    filter_frames([root / "frames"], split=root / "split.parquet", params=FilterParams(), out=root / "filter.parquet")
    return root


TAKEN = FramesParams(every=EVERY, size=(32, 48))


def take(title: Path, out: Path, *, shots: int = 3, length: int = 12, **more) -> pd.DataFrame:
    given = {"filter_table": title / "filter.parquet", "params": TAKEN, "wanted": MotionParams(shots=shots, frames=length)}
    return motion(title / "film.mp4", title / "frames", **given, out=out, **more)


# ------------------------------------------------------------------------------------------------- of a film


def test_a_stretch_is_consecutive_frames_of_the_film_to_the_byte(title: Path, tmp_path: Path) -> None:
    table = take(title, tmp_path / "motion")
    assert list(table.columns) == ["stretch", "source", "split", "frame", "last", "row", "rows"]
    assert table["split"].value_counts().to_dict() == {"val": 3, "test": 3} and (table["rows"] == 12).all()
    assert table["stretch"].tolist() == list(range(6))
    frames(title / "film.mp4", source="film", params=TAKEN.model_copy(update={"every": 1}), out=tmp_path / "all")
    whole = FrameStore(tmp_path / "all")
    found = open_stretches([tmp_path / "motion"])
    for stretch, row in zip(found, table.itertuples(), strict=True):
        numbers = stretch.store.table["frame"].to_numpy()[stretch.rows]
        assert numbers.tolist() == list(range(row.frame, row.last + 1)) and stretch.frame == row.frame
        assert np.array_equal(stretch.store.colour(stretch.rows), whole.colour(numbers))
        assert stretch.store.table["time"].to_numpy()[stretch.rows].tolist() == whole.table["time"].to_numpy()[numbers].tolist()
        assert (stretch.source, stretch.split) == ("film", row.split)
    assert found[0].store.facts["every"] == 1 and found[0].store.facts["damaged"] == []


def test_a_stretch_begins_at_a_kept_frame_and_stays_in_its_shot_and_part(title: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(title / "filter.parquet").set_index("frame")
    parts = rows.groupby("split").apply(lambda part: (part.index.min(), part.index.max()), include_groups=False)
    for length, shots in ((12, 3), (30, 20), (200, 20)):
        table = take(title, tmp_path / f"{length}", shots=shots, length=length)
        assert rows.loc[table["frame"], "keep"].all() and (rows.loc[table["frame"], "split"].array == table["split"].array).all()
        assert (table["frame"] // SHOT == table["last"] // SHOT).all(), "no cut inside"
        assert table["frame"].floordiv(SHOT).is_unique, "no two of one shot"
        assert (table["rows"] >= 5).all() and (table["rows"] <= length).all()
        short = table[table["rows"] < length]
        assert ((short["last"] + 1) % SHOT == 0).all(), "shorter only where the shot ends"
        for row in table.itertuples():
            first, last = parts[row.split]
            assert first <= row.frame and (row.last < last or row.split == "test")
    assert set(table["split"]) == {"test"} and len(table) >= 3, "validation is shorter than that"


def test_a_stretch_ends_where_the_dataset_does(title: Path, tmp_path: Path) -> None:
    """`frames.end` leaves out the end credits: they are no part of what motion is measured on either."""
    taken = TAKEN.model_copy(update={"end": 421 / 25})
    frames(title / "film.mp4", source="film", params=taken, out=tmp_path / "frames")
    rows = pd.read_parquet(title / "filter.parquet")
    rows = rows[rows["frame"] <= 420]
    rows.assign(keep=rows["frame"].isin((408, 416))).to_parquet(tmp_path / "filter.parquet")
    given = {"filter_table": tmp_path / "filter.parquet", "params": taken, "wanted": MotionParams(shots=2, frames=16)}
    found = motion(title / "film.mp4", tmp_path / "frames", **given, out=tmp_path / "motion")
    assert len(found) == 1 and found["last"].max() == 420 and FrameStore(tmp_path / "motion").table["frame"].max() == 420


def test_a_cut_that_the_detector_doubts_ends_a_stretch_too(title: Path, tmp_path: Path) -> None:
    frames(title / "film.mp4", source="film", params=TAKEN.model_copy(update={"every": 1, "start": 17.0}), out=tmp_path / "end")
    end = FrameStore(tmp_path / "end")
    assert not cuts.shots_of(end)[1:].any(), "it is none for the detector, whose threshold rises where much moves"
    begins = pd.DataFrame({"split": ["test"], "frame": [430], "time": [430 / 25], "clip": [""]})
    found = stretches_in(end, begins, frames=30)
    assert found["last"].tolist() == [439] and found["row"].tolist() == [5]


def test_threads_change_no_byte_and_a_second_run_replaces_the_first(title: Path, tmp_path: Path) -> None:
    take(title, tmp_path / "motion", threads=1)
    once = digests(tmp_path / "motion")
    take(title, tmp_path / "motion", shots=2)
    assert digests(tmp_path / "motion") != once
    take(title, tmp_path / "motion", threads=2)
    assert digests(tmp_path / "motion") == once


def test_where_no_shot_is_long_enough_the_table_is_empty(title: Path, tmp_path: Path) -> None:
    rows = pd.read_parquet(title / "filter.parquet")
    shutil.copytree(title / "frames", tmp_path / "frames")
    shutil.copy(title / "film.mp4", tmp_path)
    rows.assign(keep=rows["split"] == "train").to_parquet(tmp_path / "filter.parquet")
    assert take(tmp_path, tmp_path / "none").empty
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["stretches.parquet"]
    # Kept frames from which the shot does not go on for five frames: each but the last of its shot is dropped.
    last = rows["frame"] % SHOT == SHOT - EVERY
    rows.assign(keep=rows["keep"] & last, cut=True).to_parquet(tmp_path / "filter.parquet")
    assert (take(tmp_path, tmp_path / "some")["rows"] == EVERY).all()
    both = open_stretches([tmp_path / "none", tmp_path / "some"])
    assert len(both) == len(pd.read_parquet(tmp_path / "some/stretches.parquet")) > 0


def test_what_is_wrong_is_one_sentence(title: Path, tmp_path: Path) -> None:
    given = {"filter_table": title / "filter.parquet", "params": TAKEN, "wanted": MotionParams(), "out": tmp_path / "out"}
    with pytest.raises(UserError, match=r"nowhere.parquet is missing: run the filter stage\.$"):
        motion(title / "film.mp4", title / "frames", **given | {"filter_table": tmp_path / "nowhere.parquet"})
    with pytest.raises(UserError, match=r"frames was taken at another size or fit: run the frames stage again"):
        motion(title / "film.mp4", title / "frames", **given | {"params": FramesParams(size=32)})
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(UserError, match="holds other files: name a new folder"):
        motion(title / "film.mp4", title / "frames", **given)
    pd.read_parquet(title / "filter.parquet").drop(columns="cut").to_parquet(tmp_path / "old.parquet")
    with pytest.raises(UserError, match=r"no column `cut`.*run the filter stage again"):
        motion(title / "film.mp4", title / "frames", **given | {"filter_table": tmp_path / "old.parquet", "out": tmp_path / "o"})
    with pytest.raises(UserError, match=r"stretches.parquet is missing: run the motion stage"):
        open_stretches([tmp_path / "nothing"])
    take(title, tmp_path / "motion")
    table = pd.read_parquet(tmp_path / "motion/stretches.parquet")
    table.assign(row=table["row"] + 1000).to_parquet(tmp_path / "motion/stretches.parquet")
    with pytest.raises(UserError, match=r"names frames that .*index.parquet has not: run the motion stage again"):
        open_stretches([tmp_path / "motion"])


# ------------------------------------------------------------------------------------- of pairs and collections


def test_stretches_of_a_pair_carry_the_grey_frames_of_the_alignment(tmp_path: Path) -> None:
    pair = Pair(tmp_path, reels(film()), REELS, IDENTITY, uneven=True)
    taken = FramesParams(every=10, size=60, fit="stretch")
    store = pair.store(tmp_path / "frames", every=10, size=60, fit="stretch")
    numbers = store.table["frame"].tolist()
    assert numbers == [0, 10, 20, 30, 50, 60, 70, 80]
    table = pd.DataFrame({"source": "film", "frame": numbers, "split": ["train", *["val"] * 7], "keep": True})
    table.assign(cut=[number in (0, 30, 50) for number in numbers]).to_parquet(tmp_path / "filter.parquet")
    given = {"filter_table": tmp_path / "filter.parquet", "params": taken, "wanted": MotionParams(shots=3, frames=16)}
    found = motion(pair.raw, tmp_path / "frames", **given, out=tmp_path / "motion", sync=pair.sync)
    assert found["frame"].tolist() == [10, 30, 50] and found["last"].tolist() == [25, 39, 65], "a scene is missing after 39"
    whole = pair.store(tmp_path / "all", every=1, size=60, fit="stretch")
    at = whole.table.reset_index().set_index("frame")["index"]
    for stretch in open_stretches([tmp_path / "motion"]):
        rows = stretch.store.table.iloc[stretch.rows]
        same = at[rows["frame"]].to_numpy()
        assert np.array_equal(stretch.store.grey(stretch.rows), whole.grey(same))
        assert np.array_equal(stretch.store.colour(stretch.rows), whole.colour(same))
        assert rows["grey_frame"].tolist() == [REELS[number] for number in rows["frame"]]
    with pytest.raises(UserError, match="is a film pair: run `kinemacolor sync"):
        motion(pair.raw, tmp_path / "frames", **given, out=tmp_path / "other")


def test_stretches_of_clips_end_with_their_clip(tmp_path: Path) -> None:
    for name, count in (("a.mp4", 12), ("b.mkv", 20), ("c.mp4", 4), ("d.mp4", 9)):
        make_clip(tmp_path / "clips" / name, "64x48", "25", count)
    get(clips(path=str(tmp_path / "clips")), tmp_path, "reel")
    taken = FramesParams(every=5, size=(24, 32))
    store_of = {}
    for every in (5, 1):
        params = taken.model_copy(update={"every": every})
        frames(tmp_path / "raw/reel", source="reel", params=params, out=tmp_path / f"frames{every}")
        store_of[every] = FrameStore(tmp_path / f"frames{every}")
    index = store_of[5].table
    table = index[["source", "frame"]].assign(split="test", keep=True, cut=index["clip"] != index["clip"].shift())
    table.to_parquet(tmp_path / "filter.parquet")
    given = {"filter_table": tmp_path / "filter.parquet", "params": taken, "wanted": MotionParams(shots=9, frames=10)}
    found = motion(tmp_path / "raw/reel", tmp_path / "frames5", **given, out=tmp_path / "motion")
    whole = store_of[1]
    clip_of = dict(zip(whole.table["frame"], whole.clips, strict=True))
    assert [clip_of[number][0] for number in found["frame"]] == ["a", "b", "d"], "c is too short"
    assert [clip_of[number][0] for number in found["last"]] == ["a", "b", "d"]
    at = whole.table.reset_index().set_index("frame")["index"]
    for stretch in open_stretches([tmp_path / "motion"]):
        rows = stretch.store.table.iloc[stretch.rows]
        assert np.array_equal(stretch.store.colour(stretch.rows), whole.colour(at[rows["frame"]].to_numpy()))
        assert rows["clip"].nunique() == 1

    # A clip that shows more pictures than its record tells shifts the numbers of those behind it: none is mistaken for another.
    record = json.loads((tmp_path / "raw/reel/source.json").read_text())
    record["clips"][0]["frames"] -= 3
    (tmp_path / "raw/reel/source.json").write_text(json.dumps(record))
    again = motion(tmp_path / "raw/reel", tmp_path / "frames5", **given, out=tmp_path / "motion")
    assert set(again["frame"]) <= set(found["frame"])
    for stretch in open_stretches([tmp_path / "motion"]):
        rows = stretch.store.table.iloc[stretch.rows]
        assert rows["clip"].iloc[0] == clip_of[stretch.frame]
        assert np.array_equal(stretch.store.colour(stretch.rows), whole.colour(at[rows["frame"]].to_numpy()))


def test_photographs_do_not_move(tmp_path: Path) -> None:
    laid_out(tmp_path / "pictures", photographs()[0])
    get(images(path=str(tmp_path / "pictures"), max_broken=0.3), tmp_path, "album")
    given = {"filter_table": tmp_path / "f.parquet", "params": FramesParams(size=16), "wanted": MotionParams()}
    with pytest.raises(UserError, match="album holds photographs, which do not move"):
        motion(tmp_path / "raw/album", tmp_path / "frames", **given, out=tmp_path / "motion")


# -------------------------------------------------------------------------------------------------- choosing

ROWS = 60


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Sixty frames, one in ten of a film."""
    folder = tmp_path_factory.mktemp("store")
    writer = ShardWriter(folder, source="film", shapes={"colour": (3, 2, 2)}, shard_bytes=1 << 20, facts={"size": [2, 2]})
    for number in range(ROWS):
        writer.add({"colour": np.zeros((3, 2, 2), np.uint8)}, frame=10 * number, time=number * 0.4)
    writer.close()
    return FrameStore(folder)


def filter_table(parts: str, *, cuts: set[int] = frozenset(), dropped: set[int] = frozenset()) -> pd.DataFrame:
    """From letters a row of the index: t, v, x (test), . (in a guard gap, so absent)."""
    names = {"t": "train", "v": "val", "x": "test"}
    rows = [("film", 10 * n, names[letter], n not in dropped, n in cuts) for n, letter in enumerate(parts) if letter != "."]
    return pd.DataFrame(rows, columns=["source", "frame", "split", "keep", "cut"])


def test_stretches_are_spread_evenly_over_a_part(store: FrameStore) -> None:
    table = filter_table("t" * 20 + "v" * 40, cuts=set(range(ROWS)))
    found = begins_of_stretches(store, table, shots=4, frames=8)
    # All have a cut behind them, so none is sure; the last row of the film counts too.
    assert found["frame"].tolist() == [250, 350, 450, 550] and set(found["split"]) == {"val"}
    whole = begins_of_stretches(store, table, shots=1000, frames=8)
    assert whole["frame"].tolist() == [10 * number for number in range(20, 60)]
    assert whole["time"].tolist() == pytest.approx([0.4 * number for number in range(20, 60)])


def test_frames_from_which_the_shot_goes_on_come_first(store: FrameStore) -> None:
    # Shots of two rows: after the first of each the shot goes on for ten frames, after the second it does not.
    table = filter_table("v" * 60, cuts=set(range(0, ROWS, 2)))
    assert (begins_of_stretches(store, table, shots=10, frames=10)["frame"] % 20 == 0).all()
    # Of too few, the others make up the number: the first shot is long, the others are single rows.
    table = filter_table("v" * 60, cuts={0, *range(57, 60)})
    found = begins_of_stretches(store, table, shots=4, frames=10)["frame"].tolist()
    assert found[1:] == [570, 580, 590] and 0 <= found[0] < 570


def test_a_stretch_does_not_reach_into_a_guard_gap_or_another_part(store: FrameStore) -> None:
    table = filter_table("v" * 10 + "...." + "x" * 10 + "t" * 36, cuts=set(range(ROWS)))
    found = begins_of_stretches(store, table, shots=100, frames=15)
    # Fifteen frames reach two rows further.
    assert found["frame"].tolist() == [*range(0, 80, 10), *range(140, 220, 10)]


def first_of_shot(parts: list[str], cuts: set[int], at: int) -> int:
    """The row at which the shot of a row begins; a cut inside a guard gap is not seen."""
    while at not in cuts:
        before = next((n for n in range(at - 1, -1, -1) if parts[n] != "."), -1)
        if before < 0 or parts[before] != parts[at]:
            break
        at = before
    return at


@given(st.lists(st.sampled_from("ttvvxx."), min_size=ROWS, max_size=ROWS), st.sets(st.integers(0, ROWS - 1)),
       st.sets(st.integers(0, ROWS - 1)), st.integers(1, 8), st.integers(5, 40))  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_whatever_the_table_every_beginning_is_fit(
    store: FrameStore, parts: list[str], cuts: set[int], dropped: set[int], shots: int, length: int
) -> None:
    table = filter_table("".join(parts), cuts=cuts, dropped=dropped)
    if table.empty:
        return
    found = begins_of_stretches(store, table, shots=shots, frames=length)
    names = {"v": "val", "x": "test"}
    assert found["frame"].is_monotonic_increasing and (found["split"].value_counts() <= shots).all()
    taken = set()
    for row in found.itertuples():
        at = row.frame // 10
        assert names[parts[at]] == row.split and at not in dropped
        reached = parts[at : min(ROWS - 1, -(-(row.frame + length - 1) // 10)) + 1]
        assert set(reached) == {parts[at]}, "its part goes on beyond the stretch"
        begins = first_of_shot(parts, cuts, at)
        assert begins not in taken, "a shot of its own"
        taken.add(begins)
    # Nothing fit is left out while a place is free.
    for letter, name in names.items():
        if (found["split"] == name).sum() < shots:
            fit = [n for n in range(ROWS) if parts[n] == letter and n not in dropped]
            fit = [n for n in fit if set(parts[n : min(ROWS - 1, -(-(10 * n + length - 1) // 10)) + 1]) == {letter}]
            assert {first_of_shot(parts, cuts, n) for n in fit} <= taken


def test_the_values_of_the_stage_are_those_of_the_frames_and_of_the_evaluation() -> None:
    document = parameters.read_document(Path(__file__).parents[1] / "golden/params.yaml")
    document["datasets"]["bunny"]["frames"]["pieces"] = 3
    document["datasets"]["bunny"].setdefault("evaluate", {})["motion"] = {"shots": 2}
    document["datasets"]["freedoom"].setdefault("evaluate", {})["motion"] = None
    chosen = parameters.check(document)
    slices = parameters.slices(chosen)
    assert slices["motion-bunny"] == {"frames": slices["frames-bunny"], "motion": {"shots": 2, "frames": 16}}
    assert "motion-freedoom" not in slices
    with pytest.raises(parameters.ParamsError, match=r"datasets.bunny.evaluate.motion.frames"):
        document["datasets"]["bunny"]["evaluate"]["motion"] = {"frames": 4}
        parameters.check(document)


def test_the_index_and_the_table_must_fit(store: FrameStore) -> None:
    table = filter_table("v" * 60)
    with pytest.raises(UserError, match="is in the filter table but in no frame index"):
        begins_of_stretches(store, pd.concat([table, table.iloc[:1].assign(frame=5)]), shots=1, frames=8)
    assert located(table, [store])["at"].tolist() == list(range(60))
