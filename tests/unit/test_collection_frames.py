"""Collections after the download: their frames, splits, comparison videos and their place on the report page."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kinemacolor import params as parameters
from kinemacolor.comparison import compare
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.findings.sources import collection
from kinemacolor.footage import open_footage
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.photographs import prepared, write_photographs
from kinemacolor.frames.resize import AreaResize
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.frames.splits import split_frames
from kinemacolor.media.clips import clip_name
from kinemacolor.media.decode import decode
from kinemacolor.media.gallery import Gallery
from kinemacolor.media.pictures import decode_picture
from kinemacolor.media.sources import read_source
from kinemacolor.params import ChronologicalSplit, FramesParams, ParamsError, RenderParams, SeededSplit
from kinemacolor.stages.filter import filter_frames
from kinemacolor.stages.frames import frames
from kinemacolor.stages.report import report
from kinemacolor.stages.split import split

from .collecting import CLIPS, clips, encoded, get, images, laid_out, make_clip, photographs, scene
from .taken import digests, in_pieces

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/raw with the source of clips `reel` and that of photographs `album`."""
    root = tmp_path_factory.mktemp("collections")
    for name, (size, rate, count) in CLIPS.items():
        make_clip(root / "clips" / name, size, rate, count)
    get(clips(path=str(root / "clips")), root, "reel")
    laid_out(root / "pictures", photographs()[0])
    get(images(path=str(root / "pictures"), max_broken=0.3), root, "album")
    return root / "raw"


# ------------------------------------------------------------------------------------------------------- frames


@pytest.mark.parametrize(
    ("every", "start", "end"), [(1, 0.0, None), (4, 0.0, None), (3, 0.12, 0.5)], ids=["all", "every fourth", "within"]
)
def test_the_frames_of_a_clip_are_those_of_a_full_decode(raw: Path, tmp_path: Path, every: int, start: float, end: float) -> None:
    params = FramesParams(every=every, size=[32, 48], start=start, end=end)
    table = frames(raw / "reel", source="reel", params=params, out=tmp_path / "f")
    store = FrameStore(tmp_path / "f")
    assert list(store.table.columns) == ["source", "frame", "time", "shard", "row", "height", "width", "clip"]
    assert store.table.equals(table) and store.clips.tolist() == table["clip"].tolist()
    assert table["frame"].is_unique and table["frame"].is_monotonic_increasing
    row, before = 0, 0
    for clip in read_source(raw / "reel").clips:
        whole = list(decode(clip.path))
        assert len(whole) == clip.probe.frames
        for picture in whole:
            if picture.number % every == 0 and start <= picture.time < (end or 99):
                here = table.loc[row]
                assert (here["clip"], here["frame"], here["time"]) == (clip.name, before + picture.number, picture.time)
                resize = AreaResize(picture.pixels.shape[:2], (32, 48))
                assert np.array_equal(store.colour([row])[0], resize(picture.pixels))
                row += 1
        before += len(whole)
    assert row == len(table) and before == sum(count for _, _, count in CLIPS.values())
    assert store.facts["every"] == every and store.facts["kind"] == "clips"


def test_threads_and_pieces_of_clips_change_no_byte(raw: Path, tmp_path: Path) -> None:
    given = {"size": 192, "shard_mib": 1, "every": 1}  # nine frames to a shard
    for name, more in (("all", {}), ("within", {"start": 0.12, "end": 0.5})):
        frames(raw / "reel", source="film", params=FramesParams(**given, **more), out=tmp_path / name, threads=1)
        whole = digests(tmp_path / name)
        for threads in (2, 4):
            frames(raw / "reel", source="film", params=FramesParams(**given, **more), out=tmp_path / "t", threads=threads)
            assert digests(tmp_path / "t") == whole
        for count in (2, 3):
            assert digests(in_pieces(raw / "reel", tmp_path / f"{name}{count}", count, **given, **more)) == whole
    told = FrameStore(tmp_path / "all").facts["decoding"]
    assert told["sparse"] + told["full"] == 3 and told["packets"] == 38


def test_a_clip_with_more_pictures_than_its_record_tells_keeps_every_number_its_own(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw / "reel", tmp_path / "reel")
    record = json.loads((tmp_path / "reel/source.json").read_text())
    record["clips"][0]["frames"] -= 3
    (tmp_path / "reel/source.json").write_text(json.dumps(record))
    given = {"size": 192, "shard_mib": 1, "every": 1}
    table = frames(tmp_path / "reel", source="film", params=FramesParams(**given), out=tmp_path / "f")
    assert table["frame"].tolist() == list(range(38))
    with pytest.raises(UserError, match=r"shows more pictures than its packets tell of \(17\).*: set frames.pieces to 1"):
        in_pieces(tmp_path / "reel", tmp_path / "g", 2, **given)


def test_photographs_are_not_taken_in_pieces(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="album holds photographs, which are not taken in pieces"):
        in_pieces(raw / "album", tmp_path / "f", 2, size=16)


def test_a_photograph_is_a_row_averaged_by_area(raw: Path, tmp_path: Path) -> None:
    table = frames(raw / "album", source="album", params=FramesParams(every=24, size=16, start=5), out=tmp_path / "f")
    store = FrameStore(tmp_path / "f")
    shown = photographs()[1]
    assert table["clip"].tolist() == sorted(shown) and table["frame"].tolist() == list(range(6))
    assert (table["time"] == 0).all() and store.facts["every"] == 1 and store.facts["broken"] == 0
    for row, name in enumerate(sorted(shown)):
        height, width = shown[name].shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = shown[name][top : top + side, left : left + side].astype(np.float64)
        small = cv2.resize(square, (16, 16), interpolation=cv2.INTER_AREA)
        difference = np.abs(store.colour([row])[0].transpose(1, 2, 0) - small)
        assert difference.mean() < 3 if name.startswith("n01") else difference.max() < 1.1, name  # n01 went through JPEG


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_bytes_of_photographs_do_not_depend_on_threads(tmp_path: Path, fit: str) -> None:
    files = photographs()[0] | {
        f"many/{number:03d}.jpg": encoded(Image.fromarray(scene(20 + number % 7, 30, number)), "JPEG") for number in range(150)
    }
    laid_out(tmp_path / "mine", files)
    raw, found = get(images(path=str(tmp_path / "mine"), max_broken=0.1), tmp_path), []
    for threads in (1, 2, 5):
        (out := tmp_path / f"{threads}").mkdir()
        writer = ShardWriter(out, source="mine", shapes={"colour": (3, 12, 18)}, shard_bytes=60_000, facts={})
        with read_source(raw).gallery() as gallery:
            assert write_photographs(gallery, writer, size=(12, 18), fit=fit, threads=threads) == 0
            names = gallery.names(0, len(gallery))
            shown = [AreaResize(gallery.size(n), (12, 18), fit=fit)(decode_picture(gallery.data(n))) for n in range(len(gallery))]
        table = writer.close()
        assert table["clip"].tolist() == names == sorted(set(files) - {"n03/cut.jpg", "z.png"})
        assert np.array_equal(FrameStore(out).colour(np.arange(len(table))), shown)
        found.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert len(found[0]) == 3 and found[0] == found[1] == found[2]


def test_a_photograph_that_breaks_later_is_left_out_and_leaves_a_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    laid_out(tmp_path / "mine", {f"{number}.gif": encoded(Image.fromarray(scene(20, 20, number)), "GIF") for number in range(5)})
    raw = get(images(path=str(tmp_path / "mine")), tmp_path)
    with read_source(raw).gallery() as gallery:
        data = gallery.data(2)
        whole = (raw / "pictures.tar").read_bytes()
        (raw / "pictures.tar").write_bytes(whole.replace(data, b"x" * len(data)))
        writer = ShardWriter(tmp_path, source="mine", shapes={"colour": (3, 8, 8)}, shard_bytes=2 * 192, facts={})
        assert write_photographs(gallery, writer, size=(8, 8), fit="crop") == 1
    table = writer.close()
    assert (
        table["frame"].tolist() == [0, 1, 3, 4] and table["shard"].tolist() == [0, 0, 1, 2] and "2.gif is left out" in caplog.text
    )


def test_runs_of_photographs_are_cut_by_number_and_by_bytes(tmp_path: Path) -> None:
    sizes = [12, 14, 90, 10, 12, 11, 13, 120, 9]
    files = {f"{number}.bmp": encoded(Image.fromarray(scene(size, size, number)), "BMP") for number, size in enumerate(sizes)}
    laid_out(tmp_path / "mine", files)
    with read_source(get(images(path=str(tmp_path / "mine")), tmp_path)).gallery() as gallery:
        for most, most_bytes in ((1, 1 << 20), (3, 1 << 20), (100, 1500), (100, 1)):
            runs = list(gallery.stretches(most=most, most_bytes=most_bytes))
            assert [number for run in runs for number in range(*run)] == list(range(9))
            for first, end in runs:
                read = gallery.stretch(first, end)
                assert [bytes(data) for data in read] == [files[f"{number}.bmp"] for number in range(first, end)]
                assert end - first <= most and (end - first == 1 or sum(map(len, read)) <= most_bytes)
        assert [gallery.name(number) for number in range(9)] == gallery.names(0, 9) == sorted(files)


class Counting(Gallery):
    """Says how many photographs were read."""

    read = 0

    def stretch(self, first: int, end: int) -> list[memoryview]:
        self.read += end - first
        return super().stretch(first, end)


def test_photographs_are_read_ahead_only_so_far(tmp_path: Path) -> None:
    mine = {f"{number:03d}.png": encoded(Image.fromarray(scene(20, 20, number)), "PNG") for number in range(120)}
    raw = get(images(path=str(laid_out(tmp_path / "mine", mine))), tmp_path)
    side = 512  # whose frames go five together
    with Counting(raw) as gallery:
        for threads in (1, 3):
            gallery.read, most = 0, 0
            for number, _, _ in prepared(gallery, size=(side, side), fit="crop", threads=threads):
                most = max(most, gallery.read - number)
            assert gallery.read == 120 and most <= 5 * (threads + 2)


def test_clips_without_a_frame_in_the_range_are_passed_over_and_none_at_all_is_refused(raw: Path, tmp_path: Path) -> None:
    table = frames(raw / "reel", source="reel", params=FramesParams(every=1, size=32, start=0.45), out=tmp_path / "f")
    assert table["clip"].nunique() == 2
    with pytest.raises(UserError, match=r"reel has no frame between 9 s and its end"):
        frames(raw / "reel", source="reel", params=FramesParams(every=1, size=32, start=9), out=tmp_path / "g")
    assert not (tmp_path / "g").exists()


# ------------------------------------------------------------------------------------------------------- splits


def reel(count: int, *, source: str = "reel", length: int = 9, step: float = 0.1, skip: int | None = None) -> pd.DataFrame:
    """An index of clips of a few lengths; without the clip numbered `skip`, whose absence shifts the frames after it."""
    rows, frame = [], 0
    for number in range(count):
        if number == skip:
            continue
        for place in range(length + number % 3):
            rows.append({"source": source, "frame": frame, "time": place * step, "clip": f"clip{number:03d}"})
            frame += 1
    return pd.DataFrame(rows)


def parts(table: pd.DataFrame, params: ChronologicalSplit | SeededSplit) -> pd.DataFrame:
    """The split, with each row's clip and time."""
    return split_frames(table, params).merge(table, on=["source", "frame"], validate="one_to_one")


def test_a_split_by_clip_divides_no_clip_and_meets_its_shares() -> None:
    found = parts(reel(500), SeededSplit(fractions=(0.8, 0.1, 0.1), unit="clip", seed=1337))
    assert len(found) == len(reel(500)) and (found.groupby("clip")["split"].nunique() == 1).all()
    share = found.drop_duplicates("clip")["split"].value_counts(normalize=True)
    assert abs(share["train"] - 0.8) < 0.04 and abs(share["val"] - 0.1) < 0.03
    assert (found["clip"] != "").all()


@given(
    skip=st.integers(0, 39),
    seed=st.integers(0, 4),
    unit=st.sampled_from(["clip", "block", "frame"]),
    shuffle=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_no_clip_moves_when_a_clip_is_added(skip: int, seed: int, unit: str, shuffle: int) -> None:
    params = SeededSplit(fractions=(0.6, 0.2, 0.2), unit=unit, block=0.4, guard=0.1, seed=seed)
    before = parts(reel(40, skip=skip).sample(frac=1, random_state=shuffle), params)
    after = parts(reel(40), params)
    both = before.merge(after, on=["clip", "time"], suffixes=("", "_after"))
    assert len(both) == len(before) and (both["split"] == both["split_after"]).all()
    if skip < 39:
        assert (both["frame"] != both["frame_after"]).any(), "their running numbers did move"


def test_counts_are_of_clips_and_exact() -> None:
    params = SeededSplit(counts=(20, 10), unit="clip")
    found = parts(reel(30), params)
    assert found.drop_duplicates("clip")["split"].value_counts().to_dict() == {"train": 20, "val": 10}
    assert (found.groupby("clip")["split"].nunique() == 1).all()
    assert parts(reel(34), params).drop_duplicates("clip")["split"].value_counts().to_dict() == {
        "train": 20,
        "val": 10,
        "test": 4,
    }
    with pytest.raises(UserError, match=r"asks for 20 \+ 10 clips, but there are 28: lower `split.counts`"):
        parts(reel(28), params)


@pytest.mark.parametrize("way", [{"fractions": (0.34, 0.33, 0.33)}, {"counts": (100, 100)}])
def test_a_chronological_split_of_clips_keeps_their_order_and_divides_none(way: dict) -> None:
    found = parts(reel(30), ChronologicalSplit(**way, guard=5))
    assert len(found) == len(reel(30)), "no guard between clips"
    assert (found.groupby("clip")["split"].nunique() == 1).all()
    order = found.sort_values("clip")["split"].map({"train": 0, "val": 1, "test": 2})
    assert order.is_monotonic_increasing and set(order) == {0, 1, 2}
    assert abs((found["split"] == "train").sum() - 100) < 8
    three = parts(reel(3), ChronologicalSplit(fractions=(0.34, 0.33, 0.33))).drop_duplicates("clip")
    assert three["split"].tolist() == ["train", "val", "test"]


def test_blocks_lie_within_clips_and_guards_between_blocks_only() -> None:
    table = reel(6, length=100)
    found = parts(table, SeededSplit(fractions=(0.5, 0.5, 0.0), block=2, guard=0.5))
    for _, rows in found.groupby("clip"):
        time, part = rows["time"].to_numpy(), rows["split"].to_numpy()
        different = part[:, None] != part[None, :]
        if different.any():
            assert np.abs(time[:, None] - time[None, :])[different].min() >= 0.5 - 1e-9
    firsts = found.groupby("clip")["time"].min()
    assert (firsts == 0).all(), "no clip loses its beginning to another clip"


def album(count: int, source: str) -> pd.DataFrame:
    names = [f"{source}/{number:05d}.jpg" for number in range(count)]
    return pd.DataFrame({"source": source, "frame": range(count), "time": 0.0, "clip": names})


@pytest.mark.parametrize("unit", ["frame", "clip", "block"])
def test_photographs_are_drawn_one_by_one_and_none_is_lost_to_a_guard(unit: str) -> None:
    params = SeededSplit(fractions=(0.8, 0.1, 0.1), unit=unit, guard=9)
    found = parts(album(2000, "a"), params)
    assert len(found) == 2000
    assert abs((found["split"] == "train").sum() - 1600) < 70
    less = album(2000, "a").drop(index=range(0, 2000, 7)).assign(frame=lambda rows: range(len(rows)))
    both = parts(less, params).merge(found, on="clip", suffixes=("", "_before"))
    assert (both["split"] == both["split_before"]).all()


def test_sources_belong_to_a_part_as_a_whole() -> None:
    table = pd.concat([album(250, "mirflickr"), album(450, "imagenet_train"), album(240, "imagenet_val")])
    settings = parameters.load(ROOT / "params.yaml").datasets["photos"].split
    found = split_frames(table, settings)
    assert found.groupby(["source", "split"]).size().to_dict() == {
        ("mirflickr", "train"): 250,
        ("imagenet_train", "train"): 450,
        ("imagenet_val", "val"): 240,
    }
    mixed = split_frames(table, ChronologicalSplit(fractions=(0.5, 0.0, 0.5), sources={"imagenet_val": "val"}))
    assert mixed.groupby("split").size().to_dict() == {"train": 350, "val": 240, "test": 350}
    everything = {"mirflickr": "train", "imagenet_train": "train", "imagenet_val": "test"}
    whole = split_frames(table, SeededSplit(fractions=(0.8, 0.1, 0.1), sources=everything))
    assert whole.groupby("split").size().to_dict() == {"train": 700, "test": 240}
    with pytest.raises(UserError, match="no frame for train"):
        split_frames(table, SeededSplit(fractions=(0, 1, 0), sources={"imagenet_val": "val"}))


def test_a_film_and_clips_in_one_dataset_keep_their_own_ways() -> None:
    film = pd.DataFrame({"source": "film", "frame": np.arange(100) * 24, "time": np.arange(100) * 1.0})
    for params in (SeededSplit(fractions=(0.8, 0.1, 0.1), block=10), ChronologicalSplit(fractions=(0.8, 0.1, 0.1))):
        alone = split_frames(film, params)
        together = split_frames(pd.concat([reel(60), film]), params)
        assert together[together["source"] == "film"].reset_index(drop=True).equals(alone)


def test_a_split_names_only_sources_of_its_dataset() -> None:
    document = parameters.read_document(ROOT / "params.yaml")
    document["datasets"]["photos"]["split"]["sources"] = {"bunny": "val"}
    with pytest.raises(ParamsError, match=r"datasets\.photos\.split\.sources names 'bunny', which is not one of its sources"):
        parameters.check(document)


def test_the_three_projects_stand_in_params_at_their_own_settings() -> None:
    chosen = parameters.load(ROOT / "params.yaml")
    photos, previous, recurrent = (chosen.datasets[name] for name in ("photos", "previous", "recurrent"))
    assert photos.frames.height_width == (256, 256)
    assert [chosen.sources[name].limit for name in photos.sources] == [None, 45000, 25000]
    assert (previous.frames.size, previous.frames.every, previous.split.unit) == (128, 1, "clip")
    assert previous.split.fractions == (0.8, 0.1, 0.1) and chosen.sources[previous.sources[0]].limit == 500
    assert (recurrent.split.unit, recurrent.split.counts) == ("clip", (20, 10))
    assert chosen.sources[recurrent.sources[0]].kind == "clips"


# ------------------------------------------------------------------------------------------------------- videos


class Tint:
    """Predicts one and the same ab everywhere."""

    name, keeps_luminance, remembers = "tint", True, False
    meta = {"size": [16, 16]}  # noqa: RUF012

    def __call__(self, lightness: torch.Tensor) -> torch.Tensor:
        return torch.cat((lightness, torch.full_like(lightness, 20).expand(-1, 2, -1, -1)), 1)


def test_clips_are_shown_one_after_the_other_and_never_stretched(raw: Path) -> None:
    footage = open_footage(raw / "reel")
    records = read_source(raw / "reel").clips
    assert [clip.name for clip in records] == [clip_name(name) for name in sorted(CLIPS)]
    assert (footage.height, footage.width, footage.frame_rate, footage.sound) == (54, 96, Fraction(30000, 1001), None)
    begins = np.cumsum([0, *(clip.probe.duration for clip in records)])
    assert (footage.begin, footage.end) == (0, pytest.approx(begins[-1]))

    sights = list(footage.sights(0, 99))
    assert len(sights) == sum(clip.probe.frames for clip in records)
    assert [number for number, sight in enumerate(sights) if sight.starts] == [0, 20, 32]
    assert all(one.time < other.time for one, other in pairwise(sights))
    assert all(sight.truth.shape == (54, 96, 3) and sight.grey.shape == (54, 96) for sight in sights)
    first = next(decode(records[0].path))
    assert np.array_equal(sights[0].truth, first.pixels)
    assert sights[20].time == pytest.approx(begins[1])

    tall = sights[32].truth  # 40x64 in 96x54: 34 wide, between bars of 31
    assert (tall[:, :31] == 0).all() and (tall[:, 65:] == 0).all() and tall[:, 32:64].mean() > 20
    own = next(decode(records[2].path)).pixels
    inside = np.asarray(Image.fromarray(own).resize((34, 54), Image.Resampling.BOX)).astype(int)
    assert np.abs(tall[:, 31:65].astype(int) - inside).mean() < 12

    middle = begins[1] + 0.1  # a stretch across a border holds the same pictures
    part = list(footage.sights(middle, begins[2] + 0.25))
    chosen = [sight for sight in sights if middle <= sight.time < begins[2] + 0.25]
    assert [sight.time for sight in part] == pytest.approx([sight.time for sight in chosen])
    assert all(np.array_equal(one.truth, other.truth) for one, other in zip(part, chosen, strict=True))


@pytest.mark.parametrize(("name", "seconds", "count"), [("reel", 1.5, 45), ("album", 4.0, 4)])
def test_a_collection_has_a_silent_comparison_video(raw: Path, tmp_path: Path, name: str, seconds: float, count: int) -> None:
    out, poster = tmp_path / "v.mp4", tmp_path / "p.png"
    footage = open_footage(raw / name)
    made = compare([Tint()], footage, params=RenderParams(start=0, seconds=seconds, crf=12), out=out, poster=poster)
    shown = list(decode(out))
    assert abs(len(shown) - count) <= 1 and made.frames == len(shown)
    assert shown[0].pixels.shape[1] == 3 * footage.width + 3 * footage.width % 2
    assert poster.stat().st_size > 0


def test_photographs_are_shown_for_a_second_each(raw: Path, tmp_path: Path) -> None:
    footage = open_footage(raw / "album")
    sights = list(footage.sights(0, 99))
    assert [sight.time for sight in sights] == list(range(6)) and all(sight.starts for sight in sights)
    assert [sight.time for sight in footage.sights(1.5, 4.0)] == [2, 3]
    assert (footage.end, footage.frame_rate, footage.sound) == (6, 1, None)
    assert {sight.truth.shape for sight in sights} == {(20, 24, 3)}  # that of clear.png, the first by name
    laid_out(tmp_path / "mine", {"large.png": encoded(Image.fromarray(scene(1500, 900)), "PNG")})
    large = open_footage(get(images(path=str(tmp_path / "mine")), tmp_path, "large"))
    assert (large.height, large.width) == (720, 432)


# ----------------------------------------------------------------------------------------------------- the page


def test_a_collection_goes_through_split_and_filter_onto_the_page(raw: Path, tmp_path: Path) -> None:
    data, reports = tmp_path / "data", tmp_path / "reports"
    data.mkdir()
    (data / "raw").symlink_to(raw)
    for name in ("reel", "album"):
        frames(raw / name, source=name, params=FramesParams(every=2, size=16), out=data / "frames/both" / name)
    folders = [data / "frames/both" / name for name in ("reel", "album")]
    both = SeededSplit(fractions=(0.5, 0.5, 0.0), unit="clip", seed=2, sources={"album": "val"})
    table = split(folders, params=both, out=data / "split/both.parquet")
    assert set(table["source"]) == {"reel", "album"} and set(table["split"]) == {"train", "val"}
    filter_frames(folders, split=data / "split/both.parquet", params=parameters.FilterParams(), out=data / "filter/both.parquet")
    figures = {"frames": 9, "mse_ab@128": 0.5, "mse_rgb_pm1": 0.5, "psnr_rgb": 9.0, "ssim": 0.5, "de2000": 9.0, "cf": 9.0}
    write_json(
        data / "models/both/net/meta.json", {"parameters": 7, "seconds": 6.0, "device": "cpu", "epochs": 1, "trainable": 7}
    )
    write_json(data / "models/both/net/curves.json", [{"epoch": 1, "train_loss": 1.0, "val_loss": 1.0, "val_mse_ab@128": 0.5}])
    write_json(reports / "both/net/metrics.json", {"val": figures, "train": figures})
    write_json(reports / "both/net/epochs.json", {})
    report({"both": ["net"]}, data=data, reports=reports, out=reports / "index.html")
    page = (reports / "index.html").read_text(encoding="utf-8")
    for said in ("3 clips, 38 frames at 10 to 29.97 a second", "40×48 to 96×64 pixels", "6 photographs", "2 left out as broken"):
        assert said in page, said
    assert "n03/cut.jpg, z.png" in page and "CC0" in page


def test_what_a_collection_is_is_said_in_a_sentence(raw: Path, tmp_path: Path) -> None:
    assert collection(read_source(raw / "album")).startswith("6 photographs, 24×20 to 60×60 pixels. 2 left out as broken (")
    laid_out(tmp_path / "mine", {f"{seed}.png": encoded(Image.fromarray(scene(20, 30, seed)), "PNG") for seed in range(5)})
    drawn = read_source(get(images(path=str(tmp_path / "mine"), limit=2, seed=9), tmp_path))
    assert collection(drawn) == f"2 photographs, 30×20 pixels. At most 2, drawn with seed 9. From {tmp_path / 'mine'}."
    laid_out(tmp_path / "mine", {"again.png": (tmp_path / "mine/3.png").read_bytes()})
    whole = read_source(get(images(path=str(tmp_path / "mine")), tmp_path, "whole"))
    assert collection(whole).startswith("5 photographs, 30×20 pixels. 1 left out as the same file as another.")
