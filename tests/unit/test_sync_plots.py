"""The pictures and words of a sync, on made paths: everything is drawn, nothing covers anything, numbers are right."""

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from kinemacolor.align.grid import Window
from kinemacolor.align.path import Path as PrintsPath
from kinemacolor.align.path import Segment
from kinemacolor.report.breaks import chosen_breaks
from kinemacolor.report.contact import blended, caption, chequered
from kinemacolor.report.segments import agreement, clock_words, own_stretches, own_words, speed_words, speeds_summary
from kinemacolor.report.sync_plots import PairFacts, PathFacts, draw_pairs, draw_path, path_figure, shown_pairs
from kinemacolor.report.sync_table import segment_table

PAL = 25 / 24


def made(spans, grey_frames: int, colour_frames: int, *, rates=(24.0, 24.0)) -> PathFacts:
    """Facts of a made path; spans are (colour_start, colour_end, grey_start, speed, clock, confidence)."""
    rng = np.random.default_rng(0)
    segments, columns = [], []
    for number, (start, end, grey, speed, clock, sure) in enumerate(spans):
        frames = np.arange(start, end)
        partners = grey + np.floor((frames - start) * speed).astype(np.int64)
        alike = (0.93 + rng.normal(0, 0.01, len(frames))).astype(np.float32)
        alike[:1] = np.nan  # a black frame
        columns.append((frames, partners, np.full(len(frames), number, np.int32), alike, np.full(len(frames), sure, np.float32)))
        segments.append(Segment(start, end, grey, int(partners[-1]) + 1, speed, clock, 0.93, sure))
    joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
    votes = rng.random((500, 3)).astype(np.float32) * np.float32([colour_frames / rates[1], grey_frames / rates[0], 1])
    share = min(1.0, len(joined[0]) / min(grey_frames, colour_frames))
    path = PrintsPath(*joined, tuple(segments), 0.93, share, Window(0, 0, 1, 1), votes)
    clocks = np.arange(grey_frames) / rates[0], np.arange(colour_frames) / rates[1]
    return PathFacts(
        "grey.mkv", "colour print of 1988 with a long name.mkv", *rates, grey_frames, colour_frames, path, *clocks, False
    )


def one() -> PathFacts:
    return made([(0, 240, 36, 1.0, 1.0, 0.97)], 300, 240)


def reels() -> PathFacts:
    """A missing scene, an added scene, two reels in the other order, a part of low confidence, pulldown."""
    spans = [
        (0, 2400, 173, 1.0, 1.0, 0.98),
        (2640, 5000, 2573, 1.0, 1.0, 0.95),
        (5000, 7400, 9100, 1.0, 1.0, 0.4),
        (7400, 9800, 5173, 1.0, 1.0, 0.99),
        (9800, 10900, 7700, 1.25, 1.0, 0.9),
    ]
    return made(spans, 12000, 11500)


def pal() -> PathFacts:
    return made([(100, 14000, 173, 1.0, PAL, 0.98)], 14200, 14315, rates=(25.0, 24.0))


def few() -> PathFacts:
    return made([(3, 9, 1, 1.0, 1.0, 0.3)], 14, 12)


def eighty() -> PathFacts:
    """Two hours in 80 segments, some of them a second long, two of them swapped."""
    rng = np.random.default_rng(3)
    spans, colour, grey = [], 0, 240
    for number in range(80):
        length = int(rng.integers(300, 4200)) if number % 9 else int(rng.integers(20, 60))
        spans.append((colour, colour + length, grey, 1.0, 1.0 if number % 20 == 0 else PAL, float(rng.choice([0.99, 0.95, 0.3]))))
        colour += length + int(rng.choice([0, 0, 48, 300]))
        grey += length + int(rng.choice([0, 24, 200]))
    a, b = spans[40], spans[41]
    spans[40], spans[41] = (*a[:2], a[2] + b[1] - b[0], *a[3:]), (*b[:2], a[2], *b[3:])
    return made(spans, grey + 500, colour + 100, rates=(25.0, 24.0))


CASES = {"one": one, "reels": reels, "pal": pal, "few": few, "eighty": eighty}


@functools.cache
def figure_of(case: str) -> tuple[PathFacts, Figure]:
    facts = CASES[case]()
    return facts, path_figure(facts)


@pytest.fixture(params=CASES)
def drawn(request) -> tuple[PathFacts, Figure]:
    return figure_of(request.param)


def texts(figure: Figure) -> list[Text]:
    """All that can be read."""
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = {text for axes in figure.axes if not axes.axison for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(Text)}
    # Ticks outside the limits are there, but not drawn.
    for axes in figure.axes:
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            shown = {id(tick.label1) for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high}
            hidden |= {tick.label1 for tick in axis.get_major_ticks() if id(tick.label1) not in shown}
    return [text for text in found if text not in hidden]


def test_nothing_that_is_written_covers_anything_else_or_leaves_the_picture(drawn):
    _, figure = drawn
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    assert len(boxes) > 30
    covered = [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    assert covered == []
    whole = figure.bbox
    assert [said for said, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > whole.x1 or box.y1 > whole.y1] == []


def test_every_segment_has_its_ribbon_between_its_own_times(drawn):
    facts, figure = drawn
    found = {patch.get_gid(): patch for axes in figure.axes for patch in axes.patches if patch.get_gid()}
    for number, segment in enumerate(facts.path.segments, start=1):
        corners = found[f"ribbon-{number}"].get_path().vertices
        high, low = corners[:, 1].max(), corners[:, 1].min()
        upper, lower = (np.unique(corners[corners[:, 1] == level, 0]) for level in (high, low))
        np.testing.assert_allclose(upper, np.array([segment.grey_start, segment.grey_end]) / facts.grey_rate)
        np.testing.assert_allclose(lower, np.array([segment.colour_start, segment.colour_end]) / facts.colour_rate)
    assert f"ribbon-{len(facts.path.segments) + 1}" not in found
    for name, own in zip(("grey", "colour"), facts.own(), strict=True):
        assert sum(str(gid).startswith(f"own-{name}-") for gid in found) == len(own)


def test_segments_are_numbered_in_both_strips(drawn):
    facts, figure = drawn
    count = len(facts.path.segments)
    numbered = [text for axes in figure.axes for text in axes.texts if str(text.get_gid()).startswith("number-")]
    assert all(text.get_text().startswith(text.get_gid().removeprefix("number-")) for text in numbered)
    # The shortest of eighty may find no room; of a few, each has its number in both.
    assert len(numbered) == 2 * count if count <= 12 else len(numbered) >= 1.8 * count


def test_the_path_is_drawn_where_the_pairs_are(drawn):
    facts, figure = drawn
    lines = next(one for axes in figure.axes for one in axes.collections if one.get_gid() == "path")
    ends = np.concatenate(lines.get_segments())
    assert ends[:, 0].min() == facts.colour_times[facts.path.colour_frame[0]]
    assert ends[:, 1].min() == facts.grey_times[facts.path.grey_frame.min()]
    assert len(lines.get_segments()) <= 2000 + len(facts.path.segments)
    assert set(np.unique(np.round(lines.get_array(), 3))) == {round(one.confidence, 3) for one in facts.path.segments}


def test_the_breaks_are_the_least_sure_and_in_their_order():
    facts, figure = figure_of("eighty")
    found = chosen_breaks(facts.path, grey_frames=facts.grey_frames, colour_frames=facts.colour_frames)
    assert len(found) == 6
    assert [one.before for one in found] == sorted(one.before for one in found)
    assert all(min(one.sure_before, one.sure_after) < 0.5 for one in found)
    assert sum(str(axes.get_gid()).startswith("break-") for axes in figure.axes) == 6
    assert "The 6 least sure of 79 breaks, frame by frame: rungs are pairs" in [text.get_text() for text in texts(figure)]


def test_breaks_tell_what_is_a_print_s_own_from_a_jump():
    facts, figure = figure_of("reels")
    found = chosen_breaks(facts.path, grey_frames=facts.grey_frames, colour_frames=facts.colour_frames)
    assert [(one.grey, one.grey_own, one.colour) for one in found] == [
        (173, True, 0),  # the grey print's intro
        (0, False, 240),  # a scene that only the colour print has; the grey one runs on
        (4167, False, 0),  # another reel
        (-6327, False, 0),
        (127, True, 0),  # a scene of the grey print
        (12000 - 9074, False, 600),  # the reel that was shown before
    ]
    said = " ".join(text.get_text() for text in texts(figure))
    for words in ("173 own", "240 own", "on 4,167", "back 6,327", "127 own", "elsewhere", "600 own", "3:2 pulldown"):
        assert words in said, words


def test_the_pictures_are_written_whole_and_equal_for_equal_facts(tmp_path: Path):
    for name in ("a.png", "b.png"):
        draw_path(tmp_path / name, few())
    assert Image.open(tmp_path / "a.png").size == (1540, 1452)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_attributes_are_enough_and_uneven_times_are_kept(tmp_path: Path):
    facts = few()
    loose = SimpleNamespace(**vars(facts.path))
    uneven = facts.colour_times + np.where(np.arange(12) >= 5, 2.0, 0.0)
    other = replace(facts, path=loose, colour_times=uneven, by_hand=True)
    assert other.colour_at(12) == pytest.approx(2 + 12 / 24)
    figure = path_figure(other)
    ribbon = next(patch for axes in figure.axes for patch in axes.patches if patch.get_gid() == "ribbon-1")
    assert ribbon.get_path().vertices[:, 0].max() == pytest.approx(2 + 9 / 24)
    assert any("set by hand" in text.get_text() for text in texts(figure))


def test_a_path_by_hand_has_no_votes():
    facts = few()
    figure = path_figure(replace(facts, path=replace(facts.path, votes=np.empty((0, 3), np.float32))))
    gids = [one.get_gid() for axes in figure.axes for one in axes.collections]
    assert "path" in gids and "votes" not in gids


def test_a_two_hour_film_is_drawn_from_some_thousand_pieces():
    _, figure = figure_of("eighty")
    pieces = sum(len(axes.patches) + sum(len(one.get_paths()) for one in axes.collections) for axes in figure.axes)
    assert pieces < 8000


# ------------------------------------------------------------------------------------------------ pairs.png


def pair(number: int, *, size=(90, 160), sure: float | None = 0.9) -> PairFacts:
    picture = cv2.GaussianBlur(np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8), (0, 0), 3)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return PairFacts(grey, picture, 1000 + number, 900 + number, 37.5, 40.0, 2, sure, "first after a break")


@pytest.mark.parametrize("count", [0, 1, 5, 12, 40])
def test_the_contact_sheet_holds_up_to_twelve_pairs(tmp_path: Path, count: int):
    draw_pairs(tmp_path / "pairs.png", [pair(number) for number in range(count)], note="a note " * 60)
    sheet = np.asarray(Image.open(tmp_path / "pairs.png").convert("RGB"))
    coloured = (np.ptp(sheet.astype(int), axis=-1) > 12).any(axis=1)
    bands = np.flatnonzero(np.diff(np.concatenate([[0], coloured, [0]])) == 1)
    rows = {0: 0, 1: 1, 5: 3, 12: 6, 40: 6}[count]
    # Each row of pairs has its square of confidence and then its pictures, parted by white.
    assert len(bands) == 2 * rows
    assert sheet.shape[1] == (1048 if count < 5 else 2090)


def test_captions_name_both_frames_times_segment_and_confidence():
    assert caption(pair(34)) == "grey 1,034 (0:40.00) · colour 934 (0:37.50) · segment 3 · sure 0.90 · first after a break"
    bare = PairFacts(pair(1).grey, pair(1).colour, 5, 6, 0.25)
    assert caption(bare) == "grey 5 · colour 6 (0:00.25)"


def test_a_blend_of_equal_pictures_is_that_picture_and_a_chequerboard_holds_both():
    one = pair(0, size=(60, 120))
    dark = (one.grey // 2 + 20).astype(np.uint8)
    luma = cv2.cvtColor(blended(dark, one.colour), cv2.COLOR_RGB2GRAY).astype(int)
    assert np.abs(luma - one.grey).max() <= 3  # toned, the grey print adds no light of its own
    board = chequered(dark, one.colour)
    plain = (np.ptp(board.astype(int), axis=-1) == 0)[5::10, 5::10]
    assert plain.shape == (6, 12)
    rows, columns = np.indices(plain.shape)
    assert (plain == ((rows + columns) % 2 == 0)).mean() > 0.9
    assert np.array_equal(board[0:10, 10:20], one.colour[0:10, 10:20])


@pytest.mark.parametrize("case", CASES)
def test_shown_pairs_are_of_all_segments_and_beside_breaks(case: str):
    path = CASES[case]().path
    shown = shown_pairs(path)
    at = [index for index, _ in shown]
    assert at == sorted(set(at)) and len(at) == min(12, len(path.colour_frame))
    segments = {int(path.segment[index]) for index in at}
    assert len(segments) == len(path.segments) if len(path.segments) <= 5 else len(segments) >= 6
    for index, where in shown:
        if where == "last before a break":
            assert path.segment[index] != path.segment[index + 1]
        if where == "first after a break":
            assert path.segment[index] != path.segment[index - 1]
    if len(path.segments) > 1:
        assert {where for _, where in shown} == {"", "last before a break", "first after a break"}


def test_shown_pairs_evade_what_shows_nothing():
    path = reels().path
    dark = (path.colour_frame % 100 < 60) | (path.colour_frame > 10890)
    assert not any(dark[index] for index, _ in shown_pairs(path, good=lambda index: not dark[index]) if index % 100 > 60)
    middles = [index for index, where in shown_pairs(path, good=lambda index: not dark[index]) if not where]
    assert len(middles) >= 5 and not dark[middles].any()
    assert len(shown_pairs(path, good=lambda _: False)) == 12
    assert shown_pairs(path, limit=0) == []


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("speed", "clock", "said"),
    [
        (1, 1, "same speed"),
        (1.0001, 0.9998, "same speed"),
        (1, 25 / 24, "1.042 faster (PAL)"),
        (1, 25 * 1001 / 24000, "1.043 faster (PAL)"),
        (1, 24 / 25, "1.042 slower (colour is PAL)"),
        (1, 1.001, "1.001 faster"),
        (1.25, 1, "3:2 pulldown"),
        (0.8, 1, "3:2 pulldown in colour"),
        (1.25, 1 / 1.001, "1.001 slower, 3:2 pulldown"),
        (25 / 24, 1, "1.042 grey frames a colour frame"),
        (2, 1.1, "1.100 faster, 2 grey frames a colour frame"),
    ],
)
def test_speeds_have_names(speed: float, clock: float, said: str):
    assert speed_words(speed, clock) == said


def test_speeds_are_summed_up_by_segment():
    assert speeds_summary(reels().path.segments) == "same speed: 1–4; 3:2 pulldown: 5"
    assert speeds_summary(pal().path.segments) == "1.042 faster (PAL)"
    assert speeds_summary(eighty().path.segments).startswith("same speed: 1, 21, 41, 61; 1.042 faster (PAL): 2–20, 22–40,")
    assert speeds_summary([]) == ""


@pytest.mark.parametrize(
    ("seconds", "digits", "said"),
    [
        (0, 2, "0:00.00"),
        (59.999, 2, "1:00.00"),
        (3599.996, 2, "1:00:00.00"),
        (3723.456, 2, "1:02:03.46"),
        (-1.5, 1, "−0:01.5"),
        (119.6, 0, "2:00"),
    ],
)
def test_clocks_carry_over(seconds: float, digits: int, said: str):
    assert clock_words(seconds, digits=digits) == said


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6), st.integers(0, 80))
def test_own_frames_are_those_that_no_span_covers(spans, frames):
    spans = [(start, min(start + length, frames)) for start, length in spans if start < frames]
    shown = np.zeros(frames, bool)
    for start, end in spans:
        shown[start:end] = True
    own = own_stretches(spans, frames)
    covered = [frame for start, end in own for frame in range(start, end)]
    assert covered == np.flatnonzero(~shown).tolist()
    assert all(end < start for (_, end), (start, _) in pairwise(own))


def test_own_stretches_in_words():
    assert own_words([], 24) == "nothing"
    assert own_words([(0, 1)], 25) == "1 frame (0.04 s): 0"
    assert own_words([(0, 173), (3000, 3048)], 24) == "2 stretches, 221 frames (9.2 s): 0–172 (7.2 s), 3,000–3,047 (2.0 s)"
    many = own_words([(100 * n, 100 * n + n + 1) for n in range(10)], 24, most=2)
    assert many == "10 stretches, 55 frames (2.3 s): 800–808 (0.38 s), 900–909 (0.42 s), and 8 more"


@given(st.data())
def test_agreement_equals_a_count_by_hand(data):
    true = data.draw(st.dictionaries(st.integers(0, 30), st.integers(0, 40), max_size=20))
    found = data.draw(st.dictionaries(st.integers(0, 30), st.integers(0, 40), max_size=20))
    result = agreement(list(found), list(found.values()), list(true), list(true.values()))
    apart = [abs(grey - true[colour]) if colour in true else 99 for colour, grey in found.items()]
    count = max(len(found), 1)
    assert result.exact == pytest.approx(apart.count(0) / count)
    assert result.within_one == pytest.approx(apart.count(1) / count)
    assert result.wrong == pytest.approx(sum(steps > 1 for steps in apart) / count)
    assert result.found == pytest.approx(sum(steps <= 1 for steps in apart) / max(len(true), 1))
    assert (result.pairs, result.truths) == (len(found), len(true))


def test_agreement_takes_the_surest_truth_of_a_frame_that_is_shown_twice():
    assert agreement([7], [5], [7, 7], [4, 5], confidence=[0.3, 0.7]).exact == 1
    assert agreement([7], [5], [7, 7], [4, 5], confidence=[0.7, 0.3]).within_one == 1


# ------------------------------------------------------------------------------------------------ the command's table


def table(facts: PathFacts, **more) -> list[str]:
    frames = dict(grey_frames=facts.grey_frames, colour_frames=facts.colour_frames)
    return segment_table(facts.path, grey_rate=facts.grey_rate, colour_rate=facts.colour_rate, **frames, **more).split("\n")


def test_the_table_has_a_line_for_every_segment():
    lines = table(reels())
    assert lines[0].split("  ")[1:] != [] and lines[0].endswith("sure")
    assert " ".join(lines[2].split()) == "2 2,640–4,999 1:50.00 2,573–4,932 1:47.21 1:38 same speed 0.930 0.950"
    assert lines[3].endswith("0.400 ?") and "45.8 s  3:2 pulldown  0.930  0.900" in lines[5]
    assert lines[6] == ""
    assert {len(line.rstrip(" ?")) for line in lines[1:6]} == {len(lines[1])}
    summary = dict(line.strip().split("  ", 1) for line in lines[7:])
    assert summary["pairs"] == "10,660 in 5 segments"
    assert summary["in common"] == "92.7% of the shorter print"
    assert summary["correlation"] == "0.930"
    assert summary["confidence"].endswith("below 0.5 (marked ?): 22.5% of the pairs")
    assert summary["grey print's own"].startswith("5 stretches, 1,066 frames (44.4 s): 0–172 (7.2 s)")
    assert summary["colour print's own"] == "2 stretches, 840 frames (35.0 s): 2,400–2,639 (10.0 s), 10,900–11,499 (25.0 s)"
    assert len(table(eighty())) == 80 + 8


def test_the_table_and_the_plot_go_by_the_times_of_frames_and_not_by_the_rate():
    """A print with gaps: one frame a second from frame 10 on, so that ten frames last ten seconds."""
    facts = made([(7, 15, 7, 1.0, 1.0, 0.9)], 20, 20)
    times = np.concatenate([np.arange(10) / 24, 10 / 24 + np.arange(10)])
    lines = table(facts, grey_times=times, colour_times=np.arange(20) / 24)
    assert " ".join(lines[1].split()).startswith("1 7–14 0:00.29 7–14 0:00.29 0.33 s")
    summary = dict(line.strip().split("  ", 1) for line in lines[3:])
    assert summary["grey print's own"] == "2 stretches, 12 frames (4.3 s): 0–6 (0.29 s), 15–19 (4.0 s)"
    assert summary["colour print's own"] == "2 stretches, 12 frames (0.50 s): 0–6 (0.29 s), 15–19 (0.21 s)"
    swapped = table(facts, grey_times=np.arange(20) / 24, colour_times=times)
    assert " ".join(swapped[1].split()).startswith("1 7–14 0:00.29 7–14 0:00.29 5.1 s")
    drawn = path_figure(replace(facts, grey_times=times))
    said = [text.get_text() for text in texts(drawn)]
    assert any("4.0 s" in one for one in said)


def test_the_table_tells_the_geometry():
    geometry = SimpleNamespace(kind="similarity", residual_px=0.213, colour_crop=(1.0, 2.25, 1270.0, 700.0))
    lines = table(one(), geometry=geometry)
    assert lines[-2].strip() == "common area  1.0 2.2 1270.0 700.0 (left top right bottom, pixels of the colour print)"
    assert lines[-1].strip() == "residual  0.21 pixels of the grey print, similarity"
    assert "kind" not in "".join(table(one(), geometry=SimpleNamespace(residual_px=0.2, colour_crop=(0, 0, 1, 1))))


def axes_of(figure: Figure, gid: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_gid() == gid)


def test_rungs_of_a_break_join_the_pairs_in_the_colour_of_their_confidence():
    _, figure = figure_of("reels")
    third = axes_of(figure, "break-3")  # segments 2 and 3
    rungs = next(one for one in third.collections if one.get_array() is not None)
    assert len(rungs.get_segments()) == 14
    np.testing.assert_allclose(rungs.get_array(), [0.95] * 7 + [0.4] * 7, atol=1e-6)
    assert all(line[0][0] == pytest.approx(line[1][0]) for line in rungs.get_segments())  # frame on frame
