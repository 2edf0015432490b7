"""Whole paths between simulated prints: what is lost, added, reordered and run at other speeds is found to the frame."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.align.path import Path
from kinemacolor.align.temporal import check_path, find_path
from kinemacolor.errors import UserError
from tests.unit.drawn_signatures import BLACK, OWN, Print, Score, drawn_film, shot_lengths

SHOTS = tuple(shot_lengths(1, 1200))
CUTS = np.concatenate([[0], np.cumsum(SHOTS)])
WHOLE = np.arange(1200)


@functools.cache
def film() -> np.ndarray:
    return drawn_film(1, SHOTS)


def found(grey: Print, colour: Print, *, share: float = 0.2) -> Path:
    return find_path(grey.signature, colour.signature, min_correlation=0.5, min_share=share)


def joined(*parts: object) -> np.ndarray:
    """An edit: ranges as they are, (kind, count) for frames of the print's own."""
    return np.concatenate([np.full(part[1], part[0]) if isinstance(part, tuple) else np.asarray(part) for part in parts])


EDITS = {
    "leader and tail": (joined((OWN, 90), WHOLE, (OWN, 50)), None, 1),
    "missing scene": (np.delete(WHOLE, slice(420, 560)), None, 2),
    "missing in both": (np.delete(WHOLE, slice(300, 420)), np.delete(WHOLE, slice(800, 900)), 3),
    "added scene": (joined(WHOLE[:500], (OWN, 110), WHOLE[500:]), None, 2),
    "added in both": (joined(WHOLE[:300], (OWN, 80), WHOLE[300:]), joined(WHOLE[:900], (OWN, 60), WHOLE[900:]), 3),
    "reordered": (joined(WHOLE[:400], WHOLE[800:], WHOLE[400:800]), None, 3),
    "half as long": (WHOLE[350:900], None, 1),
    "black": (joined(WHOLE[:700], (BLACK, 40), WHOLE[700:]), None, 2),
    "splices": (np.delete(WHOLE, [*range(150, 158), *range(640, 644), *range(1000, 1012)]), None, 4),
}
"""What the grey print shows, what the colour print shows, and the segments that leaves."""


@pytest.mark.parametrize("name", EDITS)
def test_cuts_are_found_to_the_frame(name):
    grey_edit, colour_edit, segments = EDITS[name]
    grey, colour = Print(film(), grey_edit, gamma=1.2, seed=1), Print(film(), colour_edit, seed=2)
    path = found(grey, colour)
    score = Score(path, grey, colour)
    # Beside a cut within a shot a frame or two may be as like the wrong frame.
    assert np.count_nonzero(score.believed) <= 2 * segments
    assert np.count_nonzero(score.off) <= 3 * segments
    assert score.found > 0.985
    assert len(path.segments) == segments
    assert {one.speed for one in path.segments} == {1}
    assert len(np.unique(path.colour_frame)) == len(path.colour_frame)
    assert (np.diff(path.colour_frame) > 0).all()
    assert path.correlation > 0.9


RATES = {
    "pal": ({"rate": 25.0}, 1, 24 / 25 * 25 / 24),
    "ntsc": ({"rate": 24000 / 1001}, 1, 1),
    "pulldown": ({"way": "pulldown", "rate": 30000 / 1001}, 1.25, 1),
    "blended": ({"way": "blend", "ratio": 25 / 24, "rate": 25.0}, 25 / 24, 1),
    "repeated": ({"way": "repeat", "ratio": 1.25, "rate": 30.0}, 1.25, 1),
    "left out": ({"way": "repeat", "ratio": 0.75, "rate": 18.0}, 0.75, 1),
    "dropped": ({"drop": 0.25}, 1, 1),
}


@pytest.mark.parametrize("name", RATES)
def test_rates_are_found(name):
    keys, speed, _ = RATES[name]
    edit = joined((OWN, 60), np.delete(WHOLE, slice(500, 620)))
    grey, colour = Print(film(), edit, seed=3, **keys), Print(film(), seed=4)
    path = found(grey, colour)
    score = Score(path, grey, colour)
    assert score.believed.max() <= 1 or np.mean(score.believed > 1) < 0.003
    assert score.found > 0.98
    assert [one.speed for one in path.segments] == pytest.approx([speed] * len(path.segments), rel=2e-4)
    if name in ("pal", "ntsc"):
        assert np.mean(score.believed == 0) > 0.995
        clock = {"pal": 25 / 24, "ntsc": 1000 / 1001}[name]
        assert [one.clock for one in path.segments] == pytest.approx([clock] * len(path.segments), rel=1e-4)


@settings(max_examples=12, deadline=None)
@given(
    head=st.integers(0, 150),
    lost=st.integers(0, 1000),
    length=st.sampled_from([0, 15, 60, 150]),
    own=st.integers(0, 200),
    seed=st.integers(0, 50),
)
def test_any_cut_is_found(head, lost, length, own, seed):
    edit = joined((OWN, own), np.delete(WHOLE[head:], slice(lost, lost + length)))
    grey, colour = Print(film(), edit, seed=seed), Print(film(), seed=seed + 1)
    score = Score(found(grey, colour), grey, colour)
    # What is left between an end and the cut is sought from a second on; less of it may not be found.
    pieces = (lost, 1200 - head - lost - length) if length else ()
    unsure = sum(piece for piece in pieces if 0 < piece < 24) / (1200 - head - length)
    assert np.mean(score.believed == 0) > 0.99
    assert score.found > 0.99 - unsure


@pytest.mark.parametrize("length", [15, 60, 150])
@pytest.mark.parametrize("piece", [26, 40, 60, 95])
@pytest.mark.parametrize("end", ["head", "tail"])
def test_a_second_between_an_end_and_a_cut_is_found(end, piece, length):
    """No window of the coarse search fits into it; frames at the wrong offset would look much like it."""
    first = piece if end == "head" else 1200 - piece - length
    grey = Print(film(), joined((OWN, 40), np.delete(WHOLE, slice(first, first + length))), seed=14)
    colour = Print(film(), seed=15)
    score = Score(found(grey, colour), grey, colour)
    assert np.count_nonzero(score.off) <= 1
    assert score.found > 0.998


def test_a_short_piece_that_the_other_print_lacks_is_not_found_elsewhere():
    """What is left over in both prints is not alike."""
    grey = Print(film(), joined((OWN, 90), WHOLE[60:600], (OWN, 80), WHOLE[680:1130], (OWN, 70)), seed=16)
    colour = Print(film(), seed=17)
    path = found(grey, colour)
    assert Score(path, grey, colour).off.max() <= 1
    assert len(path.segments) == 2


def test_pictures_that_were_drawn_on_are_paired():
    """Letterbox, a logo, subtitles that come and go, and a colourist who was at it anew in every shot."""
    rng = np.random.default_rng(5)

    def draw(grids: np.ndarray) -> None:
        shot = np.searchsorted(CUTS, np.arange(len(grids)), "right")
        paint = rng.normal(0, 1, (shot.max() + 1, 3, 4)).repeat(6, axis=1).repeat(8, axis=2) * 14
        grids += paint[shot]
        grids[:, 2:4, 27:30] = 0.4 * grids[:, 2:4, 27:30] + 140
        titled = (np.arange(len(grids)) // 70) % 3 > 0
        grids[titled, 13:15, 8:24] = 190
        grids[:, :2], grids[:, 16:] = 0, 0

    edit = np.delete(WHOLE, slice(500, 600))
    grey = Print(film(), joined((OWN, 40), edit), gamma=0.8, noise=0.8, seed=5).altered(draw)
    colour = Print(film(), seed=6)
    score = Score(found(grey, colour), grey, colour)
    assert np.mean(score.believed == 0) > 0.99
    assert score.found > 0.95


def test_a_still_shot_has_the_place_that_its_neighbours_give_it():
    shots = [80, 70, 90, 60, 100]
    still = drawn_film(11, shots, still=[1, 3])
    grey, colour = Print(still, joined((OWN, 30), np.arange(400)), seed=7), Print(still, seed=8)
    path = found(grey, colour)
    assert (Score(path, grey, colour).off == 0).all()
    assert len(path.colour_frame) == 400


@pytest.mark.parametrize("first", [82, 90, 100, 110, 125])
def test_what_a_print_lacks_of_a_still_shot_cannot_be_known_and_is_said_to_be_unsure(first):
    """Twenty of the shot's seventy frames are missing: any of them may be."""
    shots = [80, 70, 90, 60, 100]
    still = drawn_film(11, shots, still=[1, 3])
    grey, colour = Print(still, np.delete(np.arange(400), slice(first, first + 20)), seed=7), Print(still, seed=8)
    path = found(grey, colour)
    score = Score(path, grey, colour)
    inside = (path.colour_frame >= 80) & (path.colour_frame < 150)
    assert (score.off[~inside] == 0).all() and (score.sure[~inside] > 0.5).mean() > 0.97
    assert (score.off[inside & (score.sure > 0.9)] > 0).sum() <= 3
    assert score.sure[inside].mean() < 0.9


@pytest.mark.parametrize("lost", [24, 40])
@pytest.mark.parametrize("first", [175, 190, 205, 220, 280])
def test_what_a_print_lacks_of_a_fixed_camera_is_known_by_what_passes(first, lost):
    """Frames are missing between cars on a road: the road is alike before and after, and only the whole gap's place tells."""
    road = drawn_film(11, [80, 300, 100], still=[1])
    y, x = np.mgrid[: road.shape[1], : road.shape[2]]
    for passes, frames in ((110, 30), (190, 40), (270, 35), (330, 30)):
        for step in range(frames):
            cover = np.clip(3 - np.hypot(x - step * 36 / frames + 2, y - 10), 0, 1)
            road[passes + step] = road[passes + step] * (1 - cover) + 30 * cover
    grey = Print(road, np.delete(np.arange(480), slice(first, first + lost)), noise=0.6, seed=7)
    colour = Print(road, noise=0.6, seed=8)
    score = Score(found(grey, colour), grey, colour)
    assert (score.off == 0).all()
    assert score.found > 0.97


def test_repeated_shots_are_told_apart_by_what_stands_around_them():
    lengths = [90, 60, 80, 60, 100, 60, 90]
    again = drawn_film(12, lengths, again={3: 1, 5: 1})
    count = sum(lengths)
    grey, colour = Print(again, np.delete(np.arange(count), slice(0, 30)), seed=9), Print(again, seed=10)
    path = found(grey, colour)
    score = Score(path, grey, colour)
    assert (score.off == 0).all() and score.found == 1
    assert len(path.segments) == 1


def test_a_repeated_shot_that_one_print_lacks_is_not_paired_with_its_like():
    lengths = [90, 60, 80, 60, 100, 60, 90]
    again = drawn_film(12, lengths, again={3: 1})
    grey = Print(again, np.delete(np.arange(sum(lengths)), slice(230, 290)), seed=9)
    colour = Print(again, seed=10)
    path = found(grey, colour)
    score = Score(path, grey, colour)
    assert np.mean(score.believed == 0) > 0.99 and score.found > 0.99


def test_black_is_paired_by_its_place_and_without_a_likeness():
    """Forty black frames stand in both prints."""
    edit = joined(WHOLE[:500], (BLACK, 40), WHOLE[500:])
    grey, colour = Print(film(), edit, seed=11), Print(film(), edit, seed=12)
    path = found(grey, colour)
    assert (path.grey_frame == path.colour_frame).all()
    dark = (path.colour_frame >= 500) & (path.colour_frame < 540)
    assert np.isnan(path.alike[dark]).all()
    assert (path.alike[~dark] > 0.9).mean() > 0.99


# ------------------------------------------------------------------------------------------------------------ refused


def refused(grey: Print, colour: Print, *, share: float = 0.2) -> str:
    with pytest.raises(UserError) as error:
        find_path(grey.signature, colour.signature, min_correlation=0.5, min_share=share, names="a.mp4 and b.mp4")
    return str(error.value)


@pytest.mark.parametrize("seed", range(4))
def test_unrelated_films_are_refused_with_the_best_score(seed):
    one, other = drawn_film(20 + seed, shot_lengths(20 + seed, 900)), drawn_film(40 + seed, shot_lengths(40 + seed, 1100))
    sentence = refused(Print(one), Print(other))
    assert sentence.startswith("a.mp4 and b.mp4 do not belong together: ") and "sync." in sentence
    assert float(re.search(r"(?:other is|correlation of) (-?\d\.\d\d)", sentence)[1]) < 0.95
    assert sentence.count(". ") == 0


def test_a_trailer_is_refused_until_its_share_is_allowed():
    own = drawn_film(60, shot_lengths(60, 500))
    both = np.concatenate([film(), own])
    trailer = Print(both, joined(np.arange(1200, 1450), WHOLE[300:420], np.arange(1450, 1700)), seed=1)
    colour = Print(film(), seed=2)
    sentence = refused(trailer, colour, share=0.5)
    share = float(re.search(r"best ([\d.]+) % of the shorter", sentence)[1])
    assert 15 < share < 40 and "50 % with 0.5 is needed" in sentence and "sync.min_share" in sentence
    score = Score(found(trailer, colour, share=0.1), trailer, colour)
    assert np.mean(score.believed == 0) > 0.95 and score.found > 0.95


def test_prints_too_short_are_refused():
    assert "a print of 9 frames is too short" in refused(Print(film()[:9]), Print(film()))


# ------------------------------------------------------------------------------------------------------------ by hand


def by_hand(*segments: tuple[int, int, int, float], colour: Print | None = None) -> Path:
    grey, colour = Print(film(), joined((OWN, 50), WHOLE), seed=1), colour or Print(film(), seed=2)
    return check_path(grey.signature, colour.signature, segments=segments, min_correlation=0.5)


def test_segments_by_hand_are_taken_as_they_are():
    path = by_hand((600, 700, 650, 1.0), (100, 200, 150, 1.0))
    assert path.colour_frame.tolist() == [*range(100, 200), *range(600, 700)]
    assert (path.grey_frame - path.colour_frame == 50).all()
    assert [(one.colour_start, one.grey_start) for one in path.segments] == [(100, 150), (600, 650)]
    assert path.correlation > 0.9


def test_a_speed_by_hand_rounds_to_the_nearest_frame():
    pulled = Print(film(), way="pulldown", rate=30000 / 1001, seed=3)
    path = check_path(pulled.signature, Print(film(), seed=4).signature, segments=[(0, 1200, 0, 1.25)], min_correlation=0.5)
    np.testing.assert_array_equal(path.grey_frame, np.floor(1.25 * path.colour_frame + 0.5))
    assert path.segments[0].speed == 1.25


def test_wrong_segments_by_hand_are_refused_in_a_sentence():
    for segments, words in (
        (
            [(100, 200, 400, 1.0)],
            r"do not belong together as set by hand: from colour frame 100 to 199 .* correlate by -?\d\.\d\d, ",
        ),
        ([(100, 200, 150, 1.0), (150, 250, 200, 1.0)], r"sync\.segments names some frames of the colour print twice"),
        ([(5000, 5100, 0, 1.0)], r"needs frame 5099 of the colour print, which has 1200: "),
        ([(100, 200, 150, 1.0), (1000, 1100, 1200, 1.0)], r"needs frame 1299 of the grey print, which has 1250: "),
        ([(100, 900, 150, 1.0), (1000, 1100, 300, 1.0)], r"from colour frame 1000 to 1099 "),
    ):
        with pytest.raises(UserError, match=words):
            by_hand(*segments)
