"""The sync benchmark: its scores against pairings that are right or wrong in known ways, its peers, and a whole small run."""

import re
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from kinemacolor.media.programme import placement, programme
from kinemacolor.params import Recipe

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import sync_peers  # noqa: E402
import sync_recipes  # noqa: E402
import sync_tables  # noqa: E402
import sync_truth  # noqa: E402

FRAMES = 600


def pair_of(grey, colour=None, *, still=None, flat=()):
    """The truth between two prints of a film of 600 frames, and the programme of the grey one."""
    still = np.arange(FRAMES) if still is None else still
    dark = np.isin(np.arange(FRAMES), flat)
    sides = []
    for keys in (grey, colour):
        made = None if keys is None else programme(Recipe(**keys), FRAMES, Fraction(24))
        unlit = dark if made is None else np.zeros(made.frames, bool)
        rate = 24.0 if made is None else float(made.rate)
        sides.append(sync_truth.shown(made, master_still=still, master_flat=dark, flat=unlit, rate=rate))
    return sync_truth.truth(*sides), programme(Recipe(**grey), FRAMES, Fraction(24))


def told(made):
    """The pairing that the print's own truth gives, for a colour print that is the film."""
    truth = made.alignment()
    return sync_truth.Found(*(truth[name] for name in ("colour_frame", "grey_frame", "segment", "confidence")))


def scores(found, true):
    return sync_truth.scores(found, sync_truth.judge(found, true), true)


@pytest.mark.parametrize(
    "keys",
    [
        {"intro_frames": 30, "trim_frames": 11},
        {"frame_rate": "25"},
        {"frame_rate": "30", "conversion": "pulldown"},
        {"frame_rate": "25", "conversion": "blend"},
        {"frame_rate": "30000/1001", "conversion": "repeat"},
        {"drop": 0.3, "seed": 3},
        {"reels": [[300, 600], [0, 300]], "remove": [[100, 140]], "added": [{"at": 450, "frames": 40}]},
        {"hold": [{"at": 200, "frames": 50}], "black": [{"at": 400, "frames": 20}], "fade": 12},
    ],
)
def test_the_truth_itself_is_exact_and_whole(keys):
    true, made = pair_of(keys)
    found = scores(told(made), true)
    assert found["exact"] == found["recall"] == 1 and found["wrong"] == found["false"] == 0
    assert found["segments_missed"] == found["segments_false"] == 0


def test_one_off_is_near_two_off_is_wrong_and_neither_is_exact():
    true, made = pair_of({"intro_frames": 30})
    right = told(made)
    for step, near in ((1, 1.0), (-1, 1.0), (2, 0.0)):
        moved = replace(right, grey_frame=np.clip(right.grey_frame + step, 0, made.frames - 1))
        figures = scores(moved, true)
        assert figures["exact"] < 0.01 and abs(figures["near"] - near) < 0.01 and abs(figures["wrong"] - (1 - near)) < 0.01
        assert figures["segments_false"] == (near == 0)


def test_frames_without_partner_are_false_and_a_missed_stretch_is_missed():
    true, made = pair_of({"intro_frames": 30, "remove": [[200, 300]]})
    everything = np.arange(FRAMES)
    constant = sync_truth.Found(
        everything, np.minimum(everything + 30, made.frames - 1), np.zeros(FRAMES, np.int32), np.ones(FRAMES)
    )
    figures = scores(constant, true)
    assert figures["false"] == 100
    assert figures["true_pairs"] == 500 and figures["segments"] == 1 and figures["segments_missed"] == 1
    assert figures["recall"] == pytest.approx(0.4, abs=0.01)


def test_a_standing_picture_is_one_and_black_counts_nowhere():
    still = np.arange(FRAMES)
    still[100:150] = 100
    true, made = pair_of({"intro_frames": 10}, still=still, flat=range(300, 320))
    right = told(made)
    assert scores(right, true)["pairs"] == FRAMES - 20
    moved = replace(right, grey_frame=np.where((right.colour_frame >= 100) & (right.colour_frame < 149), 110, right.grey_frame))
    figures = scores(moved, true)
    assert figures["exact"] == 1 and figures["strict"] == pytest.approx(1 - 48 / 580)


def test_the_edits_of_both_prints_meet():
    true, _ = pair_of({"remove": [[100, 200]]}, {"colour": True, "remove": [[300, 350]], "intro_frames": 24})
    assert true.has_partner.sum() == FRAMES - 100 - 50
    assert len(np.unique(true.segment[true.has_partner])) == 3
    assert not true.has_partner[:24].any(), "the colour print's own leader"


def test_calibration_of_a_gambler_and_of_an_honest_one():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0, 1, 40_000)
    right = rng.uniform(0, 1, 40_000) < sure
    assert sync_truth.miscalibration(sync_truth.calibration(sure, right)) < 0.02
    assert sync_truth.miscalibration(sync_truth.calibration(np.full(100, 0.95), np.zeros(100, bool))) == pytest.approx(0.95)


def test_the_error_of_a_geometry_is_its_distance_at_480_lines():
    recipe = Recipe(height=240, crop=(0.1, 0.0, 0.05, 0.1), turn=1.5)
    place = placement(recipe, 480, 640)
    film = (np.eye(2, 3), (0.0, 0.0, 640.0, 480.0))
    right, _ = sync_truth.misplaced(place.transform, grey=tuple(place), colour=film, lines=240)
    assert right == pytest.approx(0, abs=1e-9)
    moved = place.transform + np.array([[0, 0, 0.3], [0, 0, 0.4]])
    off, _ = sync_truth.misplaced(moved, grey=tuple(place), colour=film, lines=240)
    assert off == pytest.approx(1.0), "half a pixel at 240 lines"


def test_peers_find_a_constant_offset_in_seconds():
    rng = np.random.default_rng(5)
    values = np.cumsum(rng.normal(0, 5, 1000))
    colour = np.arange(700) / 24, values[200:900]
    grey = np.arange(1000) / 24, values
    found, score = sync_peers.by_brightness(grey, colour)
    assert score > 0.999 and (found.grey_frame - found.colour_frame == 200).all() and len(found.colour_frame) == 700
    # At another rate the same moments are paired.
    at_30 = np.arange(1250) / 30
    found, _ = sync_peers.by_brightness((at_30, np.interp(at_30, *grey)), colour)
    assert np.abs(at_30[found.grey_frame] - colour[0][found.colour_frame] - 200 / 24).max() < 0.02


def test_every_recipe_is_one_and_every_film_has_an_origin_or_a_name():
    names = [case.name for case in sync_recipes.CASES]
    assert len(names) == len(set(names)) and len([case for case in sync_recipes.CASES if not case.refused]) >= 40
    for case in (*sync_recipes.CASES, *sync_recipes.quick_cases(300)):
        for keys in (case.grey, case.colour, case.master):
            assert keys is None or Recipe(**keys)
        for film in (case.film, case.other):
            assert film in (None, "drawn", "drawn_other") or sync_recipes.EXCERPTS[film].film in sync_recipes.FILMS


def test_a_small_run_makes_syncs_scores_and_refuses(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/sync.py"), "--quick", "--cache", "cache", "--out", "out", "--no-time"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pq.read_table(tmp_path / "out/results.parquet")
    assert table.schema.equals(sync_tables.SCHEMA)
    rows = [row for row in table.to_pylist() if row["method"] == "sync"]
    assert [row["print"] for row in rows] == [case.name for case in sync_recipes.quick_cases(288)], done.stdout + done.stderr
    assert [row["refused"] for row in rows] == [False] * 4 + [True]
    assert all(row["exact"] > 0.9 for row in rows[:4]) and all(row["memory"] > 10 for row in rows)
    assert re.search(r"^\| all \| sync \| 4 ", done.stdout, re.M)
    # What is made is kept: the prints' times stay.
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/prints").iterdir()}
    again = subprocess.run([*command, "--make-only"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/prints").iterdir()} == made
