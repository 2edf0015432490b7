"""The report page on made values: figures, ratios, links, escaping; its curves; and the grey reference."""

import math
import re
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.frames.index import FrameStore, ShardWriter
from kinemacolor.media.probe import Probe
from kinemacolor.media.sources import PrintRecord, SourceRecord
from kinemacolor.report import page
from kinemacolor.report.page import DatasetResult, ModelResult, Part, Print, ReportData, Source, Sync, build_page, duration, table
from kinemacolor.report.plots import NEUTRAL, Curves, colours, curves_svg, save_curves, small_copy
from kinemacolor.stages.report import grey_error, origin, report


def figures(ab: float) -> dict[str, dict[str, float]]:
    more = {"psnr_rgb": 20.0, "ssim": 0.9, "de2000": 10.0, "cf": 20.0, "cf_truth": 33.3}
    return {split: {"frames": 1234, "mse_ab@128": ab, "mse_rgb_pm1": ab * 3, **more} for split in ("train", "val")}


def curve(epochs: int) -> list[dict[str, float]]:
    return [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.2 / e, "val_mse_ab@128": 0.02 / e} for e in range(1, epochs + 1)]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "reports" / "film" / "a sheet.png"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (30, 20), (200, 80, 40)).save(path)
    return path


@pytest.fixture
def data(tmp_path: Path, picture: Path) -> ReportData:
    video = tmp_path / "data" / "render" / "film" / "net.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"not looked into")
    naive = ModelResult("naive", 0, 0.4, "cpu", 0, figures(0.0100), trainable=False)
    net = ModelResult(
        "net",
        1885827,
        200.0,
        "cpu",
        25,
        figures(0.0075),
        {"10": {"val_mse_ab@128": 0.00812}},
        curve(25),
        {"val": picture},
        video,
        picture,
    )
    prints = [Print("Colour print", "From the web.", 1280, 720, "24", 14315, 596.5, True, "https://example.org/film?a=1&b=2")]
    sync = Sync(173, 14000, 1, 0.95, 0.1, 173, 7.208, {"pairs": picture})
    source = Source("film", "film_pair", "CC BY 3.0", "A film, (c) Somebody", prints, sync)
    parts = {"train": Part(40, 37, {"grey": 2, "black": 1}), "val": Part(9, 9, {})}
    dataset = DatasetResult("film", [source], (64, 96), 24, parts, [naive, net], ("naive", naive.metrics), video, picture)
    return ReportData([dataset], "9.9")


class Page(HTMLParser):
    """What a browser would load or follow, the text that it would show, and whether every tag is closed."""

    VOID = frozenset({"meta", "img", "link", "br", "input", "hr", "source"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href", "poster"):
                self.links.append(value)
            if key == "id" and "svg" not in self.open:
                self.ids.append(value)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(text)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.words))


@pytest.fixture
def built(tmp_path: Path, data: ReportData) -> Page:
    out = tmp_path / "reports" / "index.html"
    build_page(data, out)
    return Page(out)


def test_the_page_holds_the_figures(built: Page):
    for figure in (
        "0.01000",
        "0.00750",
        "0.750",
        "0.02250",
        "20.00",
        "33.3",
        "0.00812",
        "1\u202f885\u202f827",
        "3 min 20 s",
        "1\u202f234",
    ):
        assert figure in built.text, figure
    assert "Best is net, whose ab error is 0.75 on validation of that of naive." in built.text
    assert "Grey frame 173 shows what colour frame 0 shows (+7.208 s)" in built.text
    assert "The recipe's own offset is 173 frames: equal." in built.text
    assert "CC BY 3.0" in built.text and "A film, (c) Somebody" in built.text


def test_every_tag_is_closed_and_every_id_is_its_own(built: Page):
    assert built.open == []
    assert len(set(built.ids)) == len(built.ids)
    for wanted in ("video", "svg", "table", "img"):
        assert wanted in built.tags


def test_every_link_exists_and_none_leads_to_the_network_but_the_sources(built: Page, tmp_path: Path):
    local = [link for link in built.links if not link.startswith(("#", "https://"))]
    assert len(local) >= 6
    for link in local:
        assert not link.startswith("/")
        assert (tmp_path / "reports" / unquote(link)).is_file(), link
    assert [link for link in built.links if link.startswith("http")] == ["https://example.org/film?a=1&b=2"]
    assert all(link[1:] in built.ids for link in built.links if link.startswith("#"))
    source = (tmp_path / "reports" / "index.html").read_text()
    assert not re.search(r"@import|url\((?!#)|<link|<script[^>]* src", source)


def test_names_and_credits_are_escaped(data: ReportData, tmp_path: Path):
    bad = '<script>alert("x")</script>&'
    dataset = data.datasets[0]
    source = replace(dataset.sources[0], credit=bad, licence=bad, name="s")
    model = replace(dataset.models[1], name=bad, device=bad)
    build_page(ReportData([replace(dataset, sources=[source], models=[dataset.models[0], model])]), tmp_path / "x" / "index.html")
    read = Page(tmp_path / "x" / "index.html")
    assert read.tags.count("script") == 1  # ours
    assert bad in read.text


def test_equal_values_give_equal_bytes(data: ReportData, tmp_path: Path):
    build_page(data, tmp_path / "reports" / "a.html")
    build_page(data, tmp_path / "reports" / "b.html")
    assert (tmp_path / "reports" / "a.html").read_bytes() == (tmp_path / "reports" / "b.html").read_bytes()


def test_a_bare_dataset_makes_a_page(tmp_path: Path):
    model = ModelResult("one", 5, 1.0, "cpu", 1, {"val": {"frames": 2, "mse_ab@128": 0.1}})
    build_page(ReportData([DatasetResult("d", [], (8, 8), 1, {}, [model])]), tmp_path / "index.html")
    assert "0.10000" in Page(tmp_path / "index.html").text


def test_the_best_figure_is_marked_in_the_right_direction(data: ReportData):
    dataset = data.datasets[0]
    better = replace(dataset.models[1], metrics={"val": figures(0.0075)["val"] | {"psnr_rgb": 25.0}})
    rows = table(replace(dataset, models=[dataset.models[0], better]), "val")
    best = {column.metric + str(column.ratio): [row[1][place].best for row in rows] for place, column in enumerate(page.COLUMNS)}
    assert best["mse_ab@128False"] == best["mse_ab@128True"] == best["psnr_rgbFalse"] == [False, True]
    assert best["ssimFalse"] == [False, False]  # equal: nobody is best
    assert best["cfFalse"] == [False, False]  # more colour is not better colour


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.42, "0.4 s"), (48, "48 s"), (59.9, "1 min 0 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")]
)
def test_duration(seconds: float, said: str):
    assert duration(seconds) == said


def test_a_model_has_one_colour_everywhere():
    found = colours(["naive", "a", "b", "a", "c"])
    assert found["naive"] == NEUTRAL
    assert len(set(found.values())) == 4
    assert {name: found[name] for name in "ab"} == {name: colours(["a", "b"])[name] for name in "ab"}


def test_curves_take_their_ink_from_the_page_and_their_colour_from_the_model():
    drawn = curves_svg(Curves({"net": curve(25)}, ("naive", 0.01)), {"net": "#123abc"})
    assert [title for title, _ in drawn] == ["Validation error, MSE of ab / 128", "Loss, each model in its own colour coding"]
    for _, svg in drawn:
        assert "#123abc" in svg and "currentColor" in svg and "#010203" not in svg
        assert re.match(r'<svg (?![^>]* (width|height)=)[^>]*viewBox="', svg)


def test_curves_survive_a_single_epoch_and_none(tmp_path: Path):
    save_curves(Curves({"net": curve(1)}), {"net": "#123abc"}, tmp_path / "one.png")
    save_curves(Curves({}), {}, tmp_path / "none.png")
    for name in ("one.png", "none.png"):
        assert Image.open(tmp_path / name).width > 100
    assert curves_svg(Curves({}), {}) == []


def test_a_copied_picture_is_small_and_still_the_same_picture(tmp_path: Path):
    rng = np.random.default_rng(0)
    noisy = np.repeat(np.repeat(rng.integers(0, 256, (150, 200, 3), np.uint8), 4, 0), 4, 1)
    noisy = (noisy.astype(int) + rng.integers(-9, 10, noisy.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "large.png")
    small_copy(tmp_path / "large.png", tmp_path / "small.png", limit=200_000)
    assert (tmp_path / "large.png").stat().st_size > 500_000
    assert (tmp_path / "small.png").stat().st_size <= 200_000
    copy = Image.open(tmp_path / "small.png").convert("RGB").resize((200, 150), Image.Resampling.BOX)
    assert np.corrcoef(np.asarray(copy, float).ravel(), noisy[::4, ::4].astype(float).ravel())[0, 1] > 0.8
    small_copy(tmp_path / "small.png", tmp_path / "same.png")
    assert (tmp_path / "same.png").read_bytes() == (tmp_path / "small.png").read_bytes()


def test_the_error_of_grey_pictures_equals_scikit_image(tmp_path: Path):
    pictures = np.random.default_rng(1).integers(0, 256, (5, 3, 8, 12), np.uint8)
    writer = ShardWriter(
        tmp_path, source="s", shapes={"colour": (3, 8, 12)}, shard_bytes=1 << 20, facts={"every": 1, "size": [8, 12]}
    )
    for frame, picture in enumerate(pictures):
        writer.add({"colour": picture}, frame=frame, time=float(frame))
    writer.close()
    kept = pd.DataFrame(
        {"source": "s", "frame": range(5), "split": ["train", "val", "val", "val", "val"], "keep": [True] * 4 + [False]}
    )
    found = grey_error([FrameStore(tmp_path)], kept)
    lab = rgb2lab(pictures[1:4].transpose(0, 2, 3, 1))
    assert found["val"]["mse_ab@128"] == pytest.approx(np.mean((lab[..., 1:] / 128) ** 2), rel=1e-5)
    grey = np.rint(lab2rgb(np.concatenate([lab[..., :1], np.zeros_like(lab[..., 1:])], -1)) * 255)
    expected = np.mean(((grey - pictures[1:4].transpose(0, 2, 3, 1)) / 127.5) ** 2)
    assert found["val"]["mse_rgb_pm1"] == pytest.approx(expected, rel=1e-3)
    assert set(found) == {"train", "val"}
    assert math.isfinite(found["train"]["mse_ab@128"])


def test_origins_are_told_in_a_sentence():
    assert (
        origin({"package": "moviepy", "version": "2.2.1", "member": ["a/b.zip", "c/bbb.mp4"]})
        == "bbb.mp4, from the package moviepy 2.2.1."
    )
    assert origin({"made_from": "colour", "recipe": {"trim_frames": 36}}) == "Made from the colour print: trim frames 36."
    assert origin({"game": "freedoom", "seed": 7}) == "Played by the pipeline: freedoom (seed 7)."
    assert origin({"url": "https://example.org/v"}) == "From https://example.org/v."


def lay_out(root: Path) -> None:
    """The artefacts of a film pair `p` with one model `net`, as the stages leave them."""
    data, reports = root / "data", root / "reports"
    facts = Probe("matroska", "h264", 96, 64, Fraction(24000, 1001), 100, 4.17, None, None)
    grey = PrintRecord(data / "raw/p/grey.mkv", {"made_from": "colour", "recipe": {"grain": 5}}, "0" * 64, 1, facts, 12)
    colour = PrintRecord(data / "raw/p/colour.mkv", {"url": "https://example.org/p"}, "0" * 64, 1, facts)
    (data / "raw/p").mkdir(parents=True)
    SourceRecord(data / "raw/p", "film_pair", "CC0", "Somebody", "2026-01-01T00:00:00Z", {"colour": colour, "grey": grey}).write()

    for folder in ("sync/p", "frames/d/p", "filter", "compare"):
        (data / folder).mkdir(parents=True)
    rows = np.arange(50)
    table = {"colour_frame": rows, "grey_frame": rows + 12, "segment": rows * 0, "confidence": rows * 0 + 0.5}
    pd.DataFrame(table).to_parquet(data / "sync/p/alignment.parquet")
    write_json(data / "sync/p/geometry.json", {"residual_px": 0.25})
    for picture in ("sync/p/path.png", "sync/p/pairs.png", "compare/d.png"):
        Image.new("RGB", (40, 20), "red").save(data / picture)

    shapes = {"colour": (3, 8, 12), "grey": (1, 8, 12)}
    writer = ShardWriter(
        data / "frames/d/p", source="p", shapes=shapes, shard_bytes=1 << 20, facts={"every": 24, "size": [8, 12]}
    )
    pictures = np.random.default_rng(2).integers(0, 256, (6, 3, 8, 12), np.uint8)
    for frame, picture in enumerate(pictures):
        writer.add(
            {"colour": picture, "grey": picture[:1]}, frame=frame, time=float(frame), grey_frame=frame, grey_time=float(frame)
        )
    writer.close()
    split = {"source": "p", "frame": range(6), "split": ["train"] * 4 + ["val"] * 2, "keep": [True] * 3 + [False] + [True] * 2}
    pd.DataFrame(split | {"reason": ["", "", "", "black", "", ""], "mean_chroma": 9.0}).to_parquet(data / "filter/d.parquet")

    meta = {"parameters": 77, "seconds": 61.0, "device": "cpu", "epochs": 3, "trainable": 77}
    write_json(data / "models/d/net/meta.json", meta)
    write_json(data / "models/d/net/curves.json", curve(3))
    write_json(reports / "d/net/metrics.json", figures(0.5))
    write_json(reports / "d/net/epochs.json", {"2": {"val_mse_ab@128": 0.125}})


def test_the_report_gathers_what_the_stages_left(tmp_path: Path, monkeypatch):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    report({"d": ["net"]}, data=Path("data"), reports=Path("reports"), out=Path("reports/index.html"))
    built = Page(tmp_path / "reports" / "index.html")
    for said in (
        "0.50000",
        "0.12500",
        "÷ grey",
        "1 min 1 s",
        "Dropped, black",
        "Made from the colour print: grain 5.",
        "CC0",
        "23.976",
    ):
        assert said in built.text, said
    assert "50 pairs in 1 segment, mean confidence 0.500, geometry right to 0.25 pixels" in built.text
    assert "The recipe's own offset is 12 frames: equal." in built.text
    pictures = tmp_path / "reports" / "pictures"
    there = sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.png"))
    assert there == ["d/comparison.png", "d/curves.png", "sync/p_pairs.png", "sync/p_path.png"]
    for link in built.links:
        if not link.startswith(("#", "https://")):
            assert (tmp_path / "reports" / link).is_file()
    assert "video" not in built.tags  # none was rendered


def test_a_missing_artefact_is_named(tmp_path: Path):
    lay_out(tmp_path)
    (tmp_path / "reports/d/net/metrics.json").unlink()
    with pytest.raises(UserError, match=r"net/metrics\.json is missing: run the evaluate stage"):
        report({"d": ["net"]}, data=tmp_path / "data", reports=tmp_path / "reports", out=tmp_path / "reports" / "index.html")
    assert not (tmp_path / "reports" / "index.html").exists()
    assert not (tmp_path / "reports" / "pictures").exists()
