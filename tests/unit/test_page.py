"""The report page on made values: figures, ratios, links, escaping; its curves; and the grey reference."""

import json
import math
import re
from dataclasses import replace
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
from kinemacolor.findings.judging import columns, grey_error
from kinemacolor.findings.sources import origin
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.media.sources import read_source
from kinemacolor.params import Recipe
from kinemacolor.report.figures import headline, paired, table
from kinemacolor.report.filtering import counts, histogram_svg
from kinemacolor.report.page import build_page
from kinemacolor.report.plots import NEUTRAL, Curves, colours, curves_svg, save_curves, small_copy
from kinemacolor.report.recipes import recipe_words
from kinemacolor.report.results import DatasetResult, ModelResult, Paired, ReportData, Showing
from kinemacolor.report.segments import Agreement
from kinemacolor.report.words import duration, percent, thousands
from kinemacolor.stages.report import report

from .made_artefacts import lay_out
from .made_page import curve, figures, made_page, row


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
    return made_page(tmp_path / "reports", picture, {"net": video, "film": video})


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


def test_the_page_says_what_was_filtered_and_which_frames_have_doubles(built: Page, data: ReportData, tmp_path: Path):
    assert "12.50 % of the picture of film, bars or what stands still upon it, not counted" in built.text
    assert "Under 2.5 a frame is grey; 2 of one hue stay, since much of their film is in colour." in built.text
    assert "Validation film 9 1 0 11.11 % (high)" in built.text and "Test film 80 0 0 0 %" in built.text
    assert "threshold 2.5" in built.text and "left out as grey" in built.text
    html = (tmp_path / "reports" / "index.html").read_text()
    assert 'alt="The frames of film nearest to the threshold' in html
    filtering = data.datasets[0].filtering
    svg = histogram_svg(filtering, "film")
    assert svg == histogram_svg(filtering, "film") and "currentColor" in svg and 'role="img" aria-label="Frames of film' in svg
    off = replace(filtering, grey=0, dropped=counts(np.empty(0)))
    assert "threshold" not in histogram_svg(off, "film") and "left out as grey" not in histogram_svg(off, "film").split(">", 1)[1]
    silent = replace(data.datasets[0], filtering=None)
    build_page(replace(data, datasets=[silent]), tmp_path / "reports" / "silent.html")
    assert "Dropped, grey" in Page(tmp_path / "reports" / "silent.html").text


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
    assert "The recipe's own offset" not in built.text  # the truth's pairs say more
    assert "Of 14\u202f000 found pairs 99.50 % are exact, 0.30 % one frame beside, 0.20 % wrong." in built.text
    assert "Of the 14\u202f100 pairs that the recipe made, 99.29 % were found, exactly or one frame beside." in built.text
    assert "correlation 0.930; 97.80 % of the shorter print" in built.text
    assert "Grey print's own 173 frames (7.2 s): 0–172" in built.text
    assert "is 0.10 pixels of the grey print" in built.text
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


def synced(data: ReportData, tmp_path: Path, **changes) -> Page:
    """The page with another Sync in its only source."""
    source = data.datasets[0].sources[0]
    other = replace(data.datasets[0], sources=[replace(source, sync=replace(source.sync, **changes))])
    build_page(ReportData([other]), tmp_path / "reports" / "other.html")
    return Page(tmp_path / "reports" / "other.html")


def test_many_segments_are_folded_and_few_are_not(data: ReportData, tmp_path: Path):
    few = synced(data, tmp_path, rows=[row()] * 12)
    assert "All 12 segments" not in few.text
    many = synced(data, tmp_path, rows=[row()] * 70 + [row(unsure=True)] * 3)
    assert "All 73 segments, 3 of low confidence" in many.text
    assert many.text.count("0.400 (low)") == 3
    # The wide table scrolls in a box of its own, which the keyboard reaches.
    html = (tmp_path / "reports" / "other.html").read_text()
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Segments of film in film">' in html
    assert "0–13\u202f999" in many.text and "173–14\u202f172" in many.text


def test_what_is_not_known_of_a_sync_is_not_said(data: ReportData, tmp_path: Path):
    unknown = dict(rows=[], own={}, speeds="", correlation=None, share=None, kind="", agreement=None)
    old = synced(data, tmp_path, offset=None, seconds=None, residual_px=None, truth_offset=None, **unknown)
    assert "in 1 segment, mean confidence 0.950. The offset varies." in old.text
    assert "None" not in old.text and "Against the truth" not in old.text
    constant = synced(data, tmp_path, truth_offset=171, **unknown)
    assert "The recipe's own offset is 171 frames: off by 2." in constant.text


@pytest.mark.parametrize(
    ("share", "said"),
    [(1, "100 %"), (0.999999, "over 99.99 %"), (0.5, "50 %"), (0.9963, "99.63 %"), (1e-6, "under 0.01 %"), (0, "0 %")],
)
def test_a_share_is_whole_only_where_it_is(share: float, said: str):
    assert percent(share) == said


def test_equal_values_give_equal_bytes(data: ReportData, tmp_path: Path):
    build_page(data, tmp_path / "reports" / "a.html")
    build_page(data, tmp_path / "reports" / "b.html")
    assert (tmp_path / "reports" / "a.html").read_bytes() == (tmp_path / "reports" / "b.html").read_bytes()


def test_a_bare_dataset_makes_a_page(tmp_path: Path):
    model = ModelResult("one", 5, 1.0, "cpu", 1, {"val": {"frames": 2, "mse_ab@128": 0.1}})
    bare = DatasetResult("d", [], (8, 8), 1, {}, [model])
    build_page(ReportData([bare], columns=columns(["mse_ab@128", "frames"])), tmp_path / "index.html")
    assert "0.10000" in Page(tmp_path / "index.html").text


@pytest.mark.parametrize(
    ("layout", "size", "all_of_them", "each", "never"),
    [
        (
            "grid",
            "film",
            "Grey, naive, net and the truth, frame for frame. A model",
            "grey, predicted, true",
            "of training, pixel",
        ),
        (
            "wipe",
            "training",
            "in turn, each wiped over the one before, frame for frame. All",
            "wiped one over the other",
            "own lightness",
        ),
        (
            "over",
            "film",
            "The truth, and under it naive and net, frame for frame. A model",
            "true above predicted",
            "Grey, naive",
        ),
        (None, None, "The truth and what naive and net made of the grey", "predicted and true", "own lightness"),
    ],
)
def test_captions_say_what_the_videos_show(
    data: ReportData, tmp_path: Path, layout: str | None, size: str | None, all_of_them: str, each: str, never: str
):
    showing = None if layout is None else Showing(layout, size)
    build_page(replace(data, datasets=[replace(data.datasets[0], showing=showing)]), tmp_path / "reports" / "shown.html")
    text = Page(tmp_path / "reports" / "shown.html").text
    assert all_of_them in text and re.search(rf"net ?: [^.]*{each}", text) and never not in text


def test_ratios_and_intervals_are_explained_over_the_first_table_there_is(data: ReportData, built: Page, tmp_path: Path):
    said = "; ÷ naive: divided by the error of the uncoloured picture; small: 95 % intervals over shots"
    assert built.text.count(said) == 1
    dataset = data.datasets[0]
    models = [replace(model, metrics={"train": model.metrics["train"]}) for model in dataset.models]
    build_page(replace(data, datasets=[replace(dataset, models=models)]), tmp_path / "reports" / "train.html")
    only = Page(tmp_path / "reports" / "train.html").text
    assert "Training · 1" in only and only.count(said) == 1


def test_the_best_figure_is_marked_in_the_right_direction(data: ReportData):
    dataset = data.datasets[0]
    better = replace(dataset.models[1], metrics={"val": figures(0.0075)["val"] | {"psnr_rgb": 25.0}})
    said = table(replace(dataset, models=[dataset.models[0], better]), "val", data.columns)
    best = {
        column.metric + str(column.ratio): [row[1][place].best for row in said.rows] for place, column in enumerate(said.columns)
    }
    assert best["mse_ab@128False"] == best["mse_ab@128True"] == best["psnr_rgbFalse"] == [False, True]
    assert best["ssimFalse"] == [False, False]  # equal: nobody is best
    assert best["cfFalse"] == [False, False]  # more colour is not better colour


def test_what_was_measured_on_other_frames_is_shown_and_not_ranked(data: ReportData, tmp_path: Path):
    dataset = data.datasets[0]
    easy = figures(0.0001, cf_truth=11.1)["val"] | {"frames": 617, "ssim": 0.99}
    few = replace(dataset, models=[replace(dataset.models[2], metrics={"val": easy}), *dataset.models[:2]])
    said = table(few, "val", data.columns)
    places = {(column.metric, column.ratio): place for place, column in enumerate(said.columns)}
    assert said.frames == 1234
    assert [cells[places["mse_ab@128", False]].best for _, cells in said.rows] == [False, False, True]
    assert said.rows[0][1][places["mse_ab@128", False]].text == "0.00010"
    assert [cells[places["mse_ab@128", True]].text for _, cells in said.rows] == ["–", "1.000", "0.750"]
    assert not any(cells[places["ssim", False]].best for _, cells in said.rows)
    assert said.truth[places["cf", False]].text == "33.3", "of all frames"
    assert headline(few).startswith("Best is net")
    build_page(replace(data, datasets=[few]), tmp_path / "index.html")
    shown = Page(tmp_path / "index.html").text
    assert "617 frames, not ranked" in shown and shown.count("not ranked") == 1 and f"{thousands(1234)} frames of 96×64" in shown


def test_figures_carry_their_intervals_and_the_truth_its_own(data: ReportData, built: Page):
    said = table(data.datasets[0], "val", data.columns)
    places = {(column.metric, column.ratio): place for place, column in enumerate(said.columns)}
    net = said.rows[1][1]
    assert net[places["mse_ab@128", False]].interval == "0.00600–0.00900"
    assert net[places["mse_ab@128", True]].interval == "", "the ratio's uncertainty is another"
    assert said.rows[0][1][places["lpips", False]].text == "–", "naive was given none"
    assert ("kid_mobilenet_v2", False) not in places and said.rows[2][1][places["fd_mobilenet_v2", False]].text == "33.25"
    assert said.truth[places["cf", False]].text == "33.3" and said.truth[places["flicker_ab", False]].text == "0.500"
    assert said.truth[places["mse_ab@128", False]].value is None
    assert "0.00750 0.00600–0.00900" in built.text and "the truth" in built.text
    assert [column.metric for column in columns(["kid_b", "fd_a", "frames", "cf_truth", "ssim", "mse_ab@128"])] == [
        *("mse_ab@128", "mse_ab@128", "ssim", "fd_a", "kid_b")
    ]


def test_a_difference_is_only_called_one_where_its_interval_leaves_out_nought(data: ReportData, built: Page):
    shown, rows = paired(data.datasets[0], "val", data.columns)
    assert [column.metric for column in shown] == ["mse_ab@128", "psnr_rgb"]
    (first, (ab, psnr)), (second, (other, none)) = rows
    assert (first.first, first.second, second.second, none) == ("naive", "net", "far", None)
    assert (ab.text, ab.interval, ab.verdict, psnr.verdict, other.verdict) == (
        *("+0.00250", "+0.00100 to +0.00400", "worse"),  # less error is better
        *("even", "better"),
    )
    assert (other.low, ab.high) == (-1.0, pytest.approx(0.8)), "all of a column on one scale"
    dearer = replace(data.datasets[0], paired=[Paired("naive", "net", "val", "psnr_rgb", 1.0, 0.5, 2.0, 3)])
    assert paired(dearer, "val", data.columns)[1][0][1][0].verdict == "better"  # more decibels are
    assert "naive − net" in built.text and "second is better" in built.text and "may be chance" in built.text
    assert paired(data.datasets[0], "test", data.columns)[1] == []


def test_who_flickers_least_is_not_best_and_who_flickers_less_is_not_better(data: ReportData, tmp_path: Path):
    """A picture without colour does not flicker at all: the truth's figure stands below, and a difference is no more than one."""
    dataset = data.datasets[0]
    shown = columns(["flicker_ab", "warp_err_ab", "cdc_excess"])
    moved = {"flicker_ab": 0.0, "warp_err_ab": 0.0, "cdc_excess": -0.5, "flicker_ab_truth": 0.5, "warp_err_ab_truth": 0.25}
    grey = replace(dataset.models[0], metrics={"val": moved})
    net = replace(dataset.models[1], metrics={"val": moved | {"flicker_ab": 0.6, "warp_err_ab": 0.3, "cdc_excess": 0.01}})
    said = table(replace(dataset, models=[grey, net]), "val", shown)
    assert len(said.columns) == 3 and not any(cell.best for _, cells in said.rows for cell in cells)
    truth = {column.metric: cell.value for column, cell in zip(said.columns, said.truth, strict=True)}
    assert truth == {"flicker_ab": 0.5, "warp_err_ab": 0.25, "cdc_excess": None}
    for low, high, verdict in ((-0.8, -0.4, "apart"), (-0.8, 0.1, "even")):
        one = Paired("naive", "net", "val", "flicker_ab", -0.6, low, high, 6)
        assert paired(replace(dataset, paired=[one]), "val", shown)[1][0][1][0].verdict == verdict
        build_page(replace(data, datasets=[replace(dataset, paired=[one])], columns=shown), tmp_path / f"{verdict}.html")
        assert ("they differ" in Page(tmp_path / f"{verdict}.html").text) == (verdict == "apart")


def test_what_differs_by_less_than_is_written_does_not_differ(data: ReportData):
    dataset, near = data.datasets[0], {"val": figures(0.0100000001)["val"]}
    said = table(replace(dataset, models=[dataset.models[0], replace(dataset.models[1], metrics=near)]), "val", data.columns)
    assert not any(cell.best for _, cells in said.rows for cell in cells)
    three = [*dataset.models, replace(dataset.models[1], name="twin", metrics={"val": figures(0.0075000001)["val"]})]
    said = table(replace(dataset, models=three), "val", data.columns)
    assert [cells[0].best for _, cells in said.rows] == [False, True, False, True]
    tiny = replace(dataset, paired=[Paired("naive", "net", "val", "ssim", 1e-9, 1e-10, 2e-9, 12)])
    assert paired(tiny, "val", data.columns)[1][0][1][0].verdict == "alike"
    wide = replace(dataset, paired=[Paired("naive", "net", "val", "ssim", 1e-9, -0.01, 0.01, 12)])
    assert paired(wide, "val", data.columns)[1][0][1][0].verdict == "even"


def test_what_another_program_made_stands_beside_the_models(built: Page):
    assert "far external" in built.text and "33.25" in built.text
    assert "from the same grey pictures, and measured alike: far." in built.text
    assert built.text.count("12.5 kJ") == 1 and "0123abcd" in built.text and "family: lab_unet" in built.text


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
    assert (
        origin({"made_from": "colour", "recipe": {"trim_frames": 36}}) == "Made from the colour print: lacks its first 36 frames."
    )
    assert origin({"game": "freedoom", "seed": 7}) == "Played by the pipeline: freedoom (seed 7)."
    assert origin({"url": "https://example.org/v"}) == "From https://example.org/v."


def test_a_recipe_is_told_by_what_it_says_otherwise_than_the_defaults():
    recipe = Recipe(
        reels=[(500, 9000), (0, 500)], remove=[(5131, 5371), (7000, 7001)], hold=[{"at": 20, "frames": 1}], trim_end_frames=1,
        black=[{"at": 1300, "frames": 4}], added=[{"at": 8, "frames": 6}], frame_rate=25, conversion="blend", drop=0.125,
        crop=(0.1, 0, 0, 0.02), bars=(0, 0.125, 0, 0.125), shift=(2.5, -1), turn=-2, colour=True, sound=False, codec="vp9",
    )  # fmt: skip
    assert recipe_words(recipe.model_dump(mode="json")) == (
        "shows frames 500 to 8,999, 0 to 499 in this order, lacks its last frame, removes frames 5,131 to 5,370, 7,000, "
        "a scene of its own of 6 frames before frame 8, 4 frames of black before frame 1,300, stands for 1 frame at frame 20, "
        "25 frames a second (neighbours blended), drops 12.5 % of its frames, cropped by 10 % at the left and 2 % at the bottom, "
        "turned by -2° anticlockwise, shifted by 2.5 pixels to the right and -1 down, "
        "black bars of 12.5 % at the top and 12.5 % at the bottom, in colour, without sound, codec vp9"
    )
    assert recipe_words(Recipe().model_dump(mode="json")) == "nothing but its default height and codec"
    for key, field in Recipe.model_fields.items():  # a new key is at least named
        assert key == "conversion" or recipe_words({key: CHANGED.get(key, field.default)}), key


CHANGED = {"height": 480, "gamma": 1.1}


def test_own_stretches_of_a_print_with_gaps_last_as_long_as_its_frames(tmp_path: Path):
    """The grey print shows a frame a second before its pairs and after them."""
    lay_out(tmp_path)
    file = tmp_path / "data/sync/p/alignment.parquet"
    table = pd.read_parquet(file)
    table["grey_time"] += 12 - 12 / 25
    table.to_parquet(file)
    entry = json.loads((tmp_path / "data/raw/p/source.json").read_text())
    entry["prints"]["grey"]["duration"] = 12 + 50 / 25 + 38
    write_json(tmp_path / "data/raw/p/source.json", entry)
    out = tmp_path / "reports" / "index.html"
    report({"d": ["net"]}, data=tmp_path / "data", reports=tmp_path / "reports", out=out)
    assert "Grey print's own 2 stretches, 50 frames (49.1 s): 0–11 (12.0 s), 62–99 (37.1 s)" in Page(out).text


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
        "Made from the colour print: grain of 5 steps of 255.",
        "CC0",
        "23.976",
    ):
        assert said in built.text, said
    assert "50 pairs in 2 segments, mean confidence 0.500, correlation 0.875; 50 % of the shorter print." in built.text
    assert (
        "turned, scaled and shifted; the fit's residual (the median over its corners, not its error) is 0.25 pixels" in built.text
    )
    assert "Grey print's own 2 stretches, 50 frames (2.2 s): 0–11 (0.48 s), 62–99 (1.7 s)" in built.text
    assert "0–29 0:00.00–0:01.20 12–41 0:00.48–0:01.68 same speed 0.900 0.600" in built.text
    assert "30–49 0:01.20–0:02.00 42–61 0:01.68–0:02.48 same speed 0.900 0.400 (low)" in built.text
    assert "The recipe's own offset is 12 frames: equal." in built.text
    pictures = tmp_path / "reports" / "pictures"
    there = sorted(str(path.relative_to(pictures)) for path in pictures.rglob("*.png"))
    assert there == ["d/comparison.png", "d/curves.png", "sync/p_pairs.png", "sync/p_path.png"]
    for link in built.links:
        if not link.startswith(("#", "https://")):
            assert (tmp_path / "reports" / link).is_file()
    assert "video" not in built.tags  # none was rendered


def test_a_made_print_is_held_against_its_truth(tmp_path: Path):
    lay_out(tmp_path)
    # Of the fifty pairs: 40 right, 5 one beside, 3 far off, 2 of frames that the print does not show; 10 were not found.
    frames = np.concatenate([np.arange(48), np.arange(60, 70)])
    true = frames + 12
    true[40:45] += 1
    true[45:48] += 30
    truth = {"colour_frame": frames, "grey_frame": true, "confidence": np.ones(58)}
    file = tmp_path / "data/raw/p/grey.alignment.parquet"
    pd.DataFrame(truth).to_parquet(file)
    record = read_source(tmp_path / "data/raw/p")
    prints = dict(record.prints) | {"grey": replace(record.prints["grey"], truth_path=file)}
    replace(record, prints=prints).write()
    out = tmp_path / "reports" / "index.html"
    gathered = report({"d": ["net"]}, data=tmp_path / "data", reports=tmp_path / "reports", out=out)
    assert gathered.datasets[0].sources[0].sync.agreement == Agreement(50, 0.8, 0.1, 0.1, 58, 45 / 58)
    said = "Of 50 found pairs 80 % are exact, 10 % one frame beside, 10 % wrong. Of the 58 pairs that the recipe made, 77.59 %"
    assert said in Page(out).text
    file.unlink()
    with pytest.raises(UserError, match=r"grey\.alignment\.parquet is missing: remove .* and run the download stage again"):
        report({"d": ["net"]}, data=tmp_path / "data", reports=tmp_path / "reports", out=out)


def test_a_sync_of_an_older_version_makes_a_page(tmp_path: Path):
    lay_out(tmp_path)
    (tmp_path / "data/sync/p/segments.json").unlink()
    table = pd.read_parquet(tmp_path / "data/sync/p/alignment.parquet").drop(columns=["colour_time", "grey_time"])
    table.to_parquet(tmp_path / "data/sync/p/alignment.parquet")
    out = tmp_path / "reports" / "index.html"
    report({"d": ["net"]}, data=tmp_path / "data", reports=tmp_path / "reports", out=out)
    assert "50 pairs in 2 segments, mean confidence 0.500." in Page(out).text


def test_a_missing_artefact_is_named(tmp_path: Path):
    lay_out(tmp_path)
    (tmp_path / "reports/d/net/metrics.json").unlink()
    with pytest.raises(UserError, match=r"net/metrics\.json is missing: run the evaluate stage"):
        report({"d": ["net"]}, data=tmp_path / "data", reports=tmp_path / "reports", out=tmp_path / "reports" / "index.html")
    assert not (tmp_path / "reports" / "index.html").exists()
    assert not (tmp_path / "reports" / "pictures").exists()
