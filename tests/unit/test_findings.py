"""What the page is told: time lines, stills, differences, what made a model; and that older or missing artefacts do no harm."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.findings.datasets import showing, stills, time_line
from kinemacolor.findings.judging import differences
from kinemacolor.findings.models import making
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.metrics.intervals import difference
from kinemacolor.report.album import STILLS, Album, small_still
from kinemacolor.report.results import Showing
from kinemacolor.report.timeline import LEFT_OUT, lane_path, lanes
from kinemacolor.report.words import energy, signed
from kinemacolor.stages.report import report

from .made_artefacts import lay_out
from .made_page import figures


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_lanes_hold_every_frame_and_no_frame_of_another(numbers: list[int]):
    count = len(numbers)
    edges = np.arange(count + 1) / count
    found = lanes(edges[:-1], edges[1:], numbers, ["a", "b", "c", "d"])
    assert sorted(found) == sorted({"abcd"[number] for number in numbers if number >= 0})
    for name, stretches in found.items():
        middles = (edges[:-1] + edges[1:]) / 2
        inside = np.any([(begin <= middles) & (middles <= end) for begin, end in stretches], axis=0)
        assert (inside == [number == "abcd".index(name) for number in numbers]).all()
        assert all(end < later for (_, end), (later, _) in pairwise(stretches))


def test_a_million_frames_drawn_one_by_one_make_a_short_line():
    edges = np.arange(200_001) / 200_000
    numbers = np.random.default_rng(0).integers(0, 3, 200_000)
    found = lanes(edges[:-1], edges[1:], numbers, ["a", "b", "c"])
    assert all(len(stretches) <= 500 for stretches in found.values())
    assert lane_path([(0.0, 0.25), (0.5, 1.0)]) == "M0 0H2500V1H0ZM5000 0H10000V1H5000Z"
    single = lanes([0.5], [0.500001], [0], ["a"])["a"]
    assert single[0][1] - single[0][0] >= 0.001, "a frame of a long film is seen"


def index(folder: Path, times: list[float], clips: list[str] | None = None) -> Path:
    folder.mkdir()
    writer = ShardWriter(
        folder, source="s", shapes={"colour": (3, 4, 4)}, shard_bytes=1 << 20, facts={"every": 1, "size": [4, 4]}
    )
    for number, seconds in enumerate(times):
        more = {} if clips is None else {"clip": clips[number], "place": number}
        writer.add({"colour": np.zeros((3, 4, 4), np.uint8)}, frame=number, time=seconds, **more)
    writer.close()
    return folder / "index.parquet"


def test_a_time_line_knows_guard_gaps_and_what_the_filter_left_out(tmp_path: Path):
    path = index(tmp_path / "film", [float(second) for second in range(100)])
    rows = pd.DataFrame({"source": "s", "frame": [*range(60), *range(70, 100)]})
    rows["split"] = ["train"] * 60 + ["val"] * 10 + ["test"] * 20
    rows["keep"] = ~rows["frame"].between(20, 29)
    line = time_line(
        "s", path, pd.concat([rows, pd.DataFrame({"source": ["other"], "frame": [65], "split": ["val"], "keep": [True]})])
    )
    assert line.lanes == {"train": [(0, 0.2), (0.3, 0.6)], "val": [(0.7, 0.8)], "test": [(0.8, 1)], LEFT_OUT: [(0.2, 0.3)]}
    assert line.marks == ["0:00", "0:25", "0:50", "1:15", "1:40"]


def test_a_gap_in_the_film_is_a_gap_on_its_line(tmp_path: Path):
    path = index(tmp_path / "film", [*map(float, range(10)), *map(float, range(90, 100))])
    rows = pd.DataFrame({"source": "s", "frame": range(20), "split": "train", "keep": True})
    (first, last), (begin, end) = time_line("s", path, rows).lanes["train"]
    assert (first, begin, end) == (0, 0.9, 1) and last == pytest.approx(0.105, abs=1e-3)


def test_photographs_lie_by_their_order(tmp_path: Path):
    path = index(tmp_path / "album", [0.0] * 8, [f"{number}.png" for number in range(8)])
    rows = pd.DataFrame({"source": "s", "frame": range(8), "split": ["train"] * 6 + ["val"] * 2, "keep": True})
    line = time_line("s", path, rows)
    assert line.lanes == {"train": [(0, 0.75)], "val": [(0.75, 1)]}
    assert line.marks[0] == "no. 0" and line.marks[-1] == "no. 8"


def test_a_single_photograph_makes_a_line(tmp_path: Path):
    path = index(tmp_path / "album", [0.0], ["a.png"])
    rows = pd.DataFrame({"source": ["s"], "frame": [0], "split": ["train"], "keep": [True]})
    assert time_line("s", path, rows).lanes == {"train": [(0, 1)]}


def frames_table(seed: int, shots: int = 12, *, better: float = 0.0) -> pd.DataFrame:
    """A table a row a frame, as evaluate writes it: scenes differ much, the models by `better` and a little chance."""
    hard = np.repeat(np.random.default_rng(7).uniform(0.01, 0.05, shots), 5)
    rows = pd.DataFrame(
        {"source": "s", "frame": range(5 * shots), "time": 0.0, "split": "val", "shot": np.arange(5 * shots) // 5}
    )
    return rows.assign(**{"mse_ab@128": hard - better + np.random.default_rng(seed).normal(0, 5e-4, len(hard)), "ssim": 0.5})


def test_differences_are_those_of_the_metrics_own_and_leave_out_what_knows_no_shots(tmp_path: Path):
    tables = {"one": frames_table(0, better=0.004), "two": frames_table(1), "old": frames_table(2).drop(columns="shot")}
    for name, table in tables.items():
        (tmp_path / name).mkdir()
        table.to_parquet(tmp_path / name / "frames.parquet")
    flicker = {
        "split": "val",
        "shot": range(4),
        "source": "s",
        "first": [0, 5, 10, 15],
        "frames": 5,
        "flicker_ab": [1.0, 2, 3, 4],
    }
    for name, more in (("one", 0.0), ("two", 0.5)):
        pd.DataFrame(flicker).assign(flicker_ab=lambda rows, more=more: rows["flicker_ab"] + more).to_parquet(
            tmp_path / name / "shots.parquet"
        )
    found = {one.metric: one for one in differences({name: tmp_path / name for name in (*tables, "none")})}
    assert {(one.first, one.second, one.split) for one in found.values()} == {("one", "two", "val")}
    assert sorted(found) == ["flicker_ab", "mse_ab@128", "ssim"]
    ab, own = found["mse_ab@128"], difference(tables["one"], tables["two"], "mse_ab@128", "val")
    assert (ab.mean, ab.low, ab.high, ab.shots) == (own.mean, own.low, own.high, 12)
    assert ab.low < -0.004 < ab.high < 0, "far smaller than what scenes differ by, and still seen"
    assert found["flicker_ab"].mean == pytest.approx(-0.5) and found["ssim"].mean == 0


def still_folder(folder: Path, **changed: str) -> Path:
    """What compare leaves: two moments of four panels, noisy, so that they are large; the file has its keys in another order."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    moments = []
    for number in range(2):
        panels = {}
        for name in ("truth", "beside", "net", "grey"):
            panels[name] = f"{number}-{name}.jpg"
            picture = random.integers(0, 256, (54, 96, 3), np.uint8).repeat(10, 0).repeat(10, 1)
            Image.fromarray(picture).save(folder / panels[name], quality=92, subsampling=0)
        moments.append({"time": 1.5 + number, "panels": panels | changed})
    write_json(folder / "stills.json", {"moments": moments})
    return folder


def test_stills_are_copied_small_and_in_full_colour(tmp_path: Path):
    folder, album = still_folder(tmp_path / "d_stills"), Album(tmp_path / "pictures")
    found = stills(folder, "d", album, order=["net", "beside"])
    assert found.size == (640, 360) and found.panels == ["grey", "net", "beside", "truth"]
    assert [moment.time for moment in found.moments] == [1.5, 2.5]
    assert not album.folder.exists()
    album.write({}, {})
    copies = [path for moment in found.moments for path in moment.panels.values()]
    assert len(set(copies)) == 8 and sum(path.stat().st_size for path in copies) <= STILLS
    for path in copies:
        with Image.open(path) as picture:
            assert picture.size == found.size and picture.format == "JPEG"
            assert picture.layer[0][1:3] == picture.layer[1][1:3] == (1, 1), "chroma at full resolution"
    before = {path: path.read_bytes() for path in copies}
    album.write({}, {})
    assert before == {path: path.read_bytes() for path in copies}


def test_a_still_is_as_good_as_its_bytes_allow(tmp_path: Path):
    picture = tmp_path / "in.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)).save(picture)
    for limit in (10**6, 12_000, 1):
        small_still(picture, tmp_path / f"{limit}.jpg", limit=limit)
    large, less, least = ((tmp_path / f"{limit}.jpg").stat().st_size for limit in (10**6, 12_000, 1))
    assert large > less > least > 1 and less <= 12_000
    assert Image.open(tmp_path / "1.jpg").size == (64, 36), "no narrower, whatever the limit"
    small_still(tmp_path / "12000.jpg", tmp_path / "again.jpg", limit=10**6)
    assert (tmp_path / "again.jpg").read_bytes() == (tmp_path / "12000.jpg").read_bytes(), "what is small is not coded anew"


def test_stills_of_many_models_together_stay_within_their_bytes(tmp_path: Path):
    folder = tmp_path / "d_stills"
    folder.mkdir()
    picture = np.random.default_rng(1).integers(0, 256, (180, 320, 3), np.uint8)  # nothing is harder to code
    Image.fromarray(picture).save(folder / "1.jpg", quality=92, subsampling=0)
    panels = {name: "1.jpg" for name in ("grey", *(f"net_{number}" for number in range(23)), "truth")}
    write_json(folder / "stills.json", {"moments": [{"time": float(number), "panels": panels} for number in range(2)]})
    album = Album(tmp_path / "pictures")
    found = stills(folder, "d", album, order=list(panels)[1:-1])
    album.write({}, {})
    copies = list((tmp_path / "pictures/d/stills").iterdir())
    assert len(found.panels) == 25 and len(copies) == 50
    assert sum(path.stat().st_size for path in copies) <= STILLS
    width, height = Image.open(copies[0]).size
    assert width > 64 and width / height == pytest.approx(16 / 9, rel=0.02)


@pytest.mark.parametrize("named", ["comparison", "filter", "curves", "posters"])
def test_a_model_may_be_called_what_a_picture_of_the_page_is(tmp_path: Path, named: str):
    lay_out(tmp_path)
    data, reports = tmp_path / "data", tmp_path / "reports"
    (data / "models/d/net").rename(data / "models/d" / named)
    (reports / "d/net").rename(reports / "d" / named)
    for folder, name, colour in (("render/d", named, "red"), ("compare", "d", "blue")):
        (data / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), colour).save(data / folder / f"{name}.png")
    gathered = report({"d": [named]}, data=data, reports=reports, out=reports / "index.html")
    (dataset,) = gathered.datasets
    assert Image.open(dataset.models[0].poster).convert("RGB").getpixel((9, 9)) == (255, 0, 0)
    assert Image.open(dataset.poster).convert("RGB").getpixel((9, 9)) == (0, 0, 255)
    assert Image.open(reports / "pictures/d/curves.png").width > 100


def test_how_the_videos_show_their_pictures_is_read_where_it_is_said(tmp_path: Path):
    assert showing(tmp_path) is None
    write_json(tmp_path / "stills.json", {"moments": []})
    assert showing(tmp_path) is None, "of a version that did not say"
    write_json(tmp_path / "stills.json", {"moments": [], "layout": "over", "size": "training"})
    assert showing(tmp_path) == Showing("over", "training")


@pytest.mark.parametrize("file", ["../0-net.jpg", "gone.jpg"])
def test_a_still_that_lies_elsewhere_is_refused(tmp_path: Path, file: str):
    folder = still_folder(tmp_path / "d_stills", net=file)
    with pytest.raises(UserError, match=r"stills\.json names .*: run the compare stage again"):
        stills(folder, "d", Album(tmp_path / "pictures"), order=["net"])
    assert stills(tmp_path / "none", "d", Album(tmp_path / "pictures"), order=[]) is None


def test_what_made_a_model_is_said_as_far_as_it_is_known():
    meta = {
        "epochs": 25, "best_epoch": 20, "seconds": 286.2, "device": "cuda", "devices": 2, "size": [64, 96], "coding": "L -> ab",
        "device_memory": 512.5, "energy_joules": 12500.0, "git_commit": "0123abcd", "data_md5": "99", "params_hash": "77", "seed": 0,
        "stopped": None, "params": {"model": {"family": "lab_unet"}},
    }  # fmt: skip
    said = making(meta)
    assert said.facts["Epochs"] == "25, of which no. 20 had the least validation loss" and said.facts["Time"] == "4 min 46 s"
    assert said.facts["Device"] == "cuda × 2" and said.facts["Energy"] == "12.5 kJ" and said.facts["Seed"] == "0"
    assert said.facts["Trained at"] == "96×64 pixels" and said.facts["Commit"] == "0123abcd"
    assert "Stopped" not in said.facts and said.settings == "model:\n  family: lab_unet\n"
    bare = making({"seconds": 0.1, "device": "cpu", "epochs": 0})
    assert dict(bare.facts) == {"Device": "cpu"} and bare.settings == ""


@pytest.mark.parametrize(("joules", "said"), [(480, "480 J"), (12_500, "12.5 kJ"), (3.6e6, "1.00 kWh"), (4.2e5, "0.12 kWh")])
def test_energy(joules: float, said: str):
    assert energy(joules) == said


def test_a_difference_has_a_sign_unless_it_rounds_to_nought():
    assert [signed(number, ".2f") for number in (1.234, -1.234, 0.001, -0.001)] == ["+1.23", "−1.23", "0.00", "0.00"]


def test_the_report_gathers_stills_intervals_differences_and_other_programs(tmp_path: Path):
    lay_out(tmp_path)
    data, reports = tmp_path / "data", tmp_path / "reports"
    still_folder(data / "compare/d_stills")
    write_json(reports / "d/net/intervals.json", {"val": {"ssim": [0.85, 0.95]}})
    write_json(reports / "d/far/metrics.json", figures(0.25))
    write_json(reports / "d/far/external.json", {"credit": "Another & Co", "licence": "CC0", "kind": "video", "sha256": "f00d"})
    for name, better in (("net", 0.0), ("far", 0.004)):
        frames_table(len(name), better=better).to_parquet(reports / "d" / name / "frames.parquet")
    for split in ("val", "test"):
        Image.new("RGB", (40, 20), "red").save(reports / f"d/net/extremes_{split}.png")
    gathered = report({"d": ["net"]}, external={"d": ["far"]}, data=data, reports=reports, out=reports / "index.html")
    (dataset,) = gathered.datasets
    assert [(model.name, model.external) for model in dataset.models] == [("net", False), ("far", True)]
    assert {one.metric for one in dataset.paired} == {"mse_ab@128", "ssim"}
    assert list(dataset.models[0].extremes) == ["val", "test"] and dataset.stills.size == (640, 360)
    assert [line.source for line in dataset.lines] == ["p"]
    page = (reports / "index.html").read_text(encoding="utf-8")
    for said in (
        "0.8500–0.9500",
        "net − far",
        "pictures/d/stills/1_2.jpg",
        "extremes_test.png",
        "measured alike: far",
        "<b>far</b>: Another &amp; Co. Licence: CC0.",
        "f00d",
    ):
        assert said in page, said
    again = reports / "index.html"
    first = again.read_bytes()
    report({"d": ["net"]}, external={"d": ["far"]}, data=data, reports=reports, out=again)
    assert again.read_bytes() == first
    with pytest.raises(UserError, match=r"near/metrics\.json is missing: run the evaluate stage"):
        report({"d": ["net"]}, external={"d": ["near"]}, data=data, reports=reports, out=again)
