"""The sync benchmark: its scores against pairings that are right or wrong in known ways, its peers, and a whole small run."""

import hashlib
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
    for halves, keys in ((False, grey), (True, colour)):
        made = None if keys is None else programme(Recipe(**keys), FRAMES, Fraction(24))
        unlit = dark if made is None else np.zeros(made.frames, bool)
        rate = 24.0 if made is None else float(made.rate)
        sides.append(sync_truth.shown(made, master_still=still, master_flat=dark, flat=unlit, rate=rate, halves=halves))
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
    assert found["exact"] == found["near"] == 1 and found["wrong"] == found["false"] == 0
    assert found["segments_missed"] == found["segments_false"] == found["merges"] == 0


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
    assert figures["near"] == pytest.approx(0.4, abs=0.01) and figures["wrong"] == pytest.approx(0.6, abs=0.01)


def test_what_is_not_said_is_not_matched():
    true, made = pair_of({"intro_frames": 30})
    right = told(made)
    tenth = sync_truth.Found(*(getattr(right, name)[:60] for name in ("colour_frame", "grey_frame", "segment", "confidence")))
    figures = scores(tenth, true)
    assert figures["said_exact"] == 1 and figures["exact"] == pytest.approx(0.1) and figures["wrong"] == 0
    assert figures["segments"] == 0 and figures["segments_missed"] == 1
    nothing = sync_truth.Found(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    figures = scores(nothing, true)
    assert figures["exact"] == 0 and figures["segments_missed"] == 1 and figures["segments_said"] == 0


def test_a_frame_paired_twice_counts_by_its_worse_pair():
    true, made = pair_of({"intro_frames": 30})
    right = told(made)
    both = [np.concatenate([getattr(right, name)] * 2) for name in ("colour_frame", "grey_frame", "segment", "confidence")]
    both[1][FRAMES:] = np.minimum(both[1][FRAMES:] + 5, made.frames - 1)
    figures = scores(sync_truth.Found(*both), true)
    assert figures["near"] < 0.01 and figures["wrong"] > 0.99


def test_splits_and_merges_are_counted():
    true, made = pair_of({"intro_frames": 30, "remove": [[200, 300]]})
    right = told(made)
    figures = scores(right, true)
    assert (figures["segments"], figures["segments_said"], figures["splits"], figures["merges"]) == (2, 2, 0, 0)
    figures = scores(replace(right, segment=np.zeros_like(right.segment)), true)
    assert (figures["segments"], figures["segments_said"], figures["splits"], figures["merges"]) == (2, 1, 0, 1)
    # The first of 200 frames, the second of 300: halves find neither, nine tenths do.
    halved = np.where(right.colour_frame < 100, 0, np.where(right.colour_frame < 450, 1, 2))
    figures = scores(replace(right, segment=halved), true)
    assert (figures["segments"], figures["segments_missed"], figures["splits"]) == (0, 2, 1)
    nearly = np.where(right.colour_frame < 185, 0, np.where(right.colour_frame < 200, 1, 2))
    figures = scores(replace(right, segment=nearly), true)
    assert (figures["segments"], figures["segments_missed"], figures["splits"]) == (2, 0, 1)


def test_a_woven_half_is_exact_only_for_what_stands_whole_nowhere():
    true, _ = pair_of({"frame_rate": "30", "conversion": "pulldown"})
    # Four frames A B C D are AA, BB, BC, CD and DD: the halves of C are even, those of B and D are not.
    pairs = [(0, 0, True), (1, 1, True), (1, 2, False), (2, 2, True), (2, 3, True), (3, 3, False), (3, 4, True)]
    colour, grey, exact = map(np.array, zip(*pairs, strict=True))
    found = sync_truth.Found(colour + 40, grey + 50, np.zeros(len(pairs), int), np.ones(len(pairs)))
    judged = sync_truth.judge(found, true)
    assert judged.exact.tolist() == exact.tolist() and judged.near.all()


def test_dropped_frames_have_no_partner_and_the_others_keep_theirs():
    true, made = pair_of({"drop": 0.3, "seed": 3})
    assert true.has_partner.sum() == made.frames
    late = told(made)
    late = replace(late, grey_frame=np.minimum(late.grey_frame + 1, made.frames - 1))
    assert scores(late, true)["exact"] < 0.01
    # Nor has what is lost out of a standing picture, though to pair it with the rest of that is right.
    still = np.arange(FRAMES)
    still[100:200] = 100
    true, made = pair_of({"drop": 0.3, "seed": 3}, still=still)
    assert true.has_partner.sum() == made.frames and scores(told(made), true)["exact"] == 1
    lost = np.setdiff1d(np.arange(100, 200), made.first)
    found = sync_truth.Found(
        lost, np.full(len(lost), np.searchsorted(made.first, 150)), np.zeros(len(lost), int), np.ones(len(lost))
    )
    assert sync_truth.judge(found, true).exact.all()


def test_a_looped_film_tells_its_stretches_apart():
    true, _ = pair_of({"intro_frames": 30})
    greys, colours = [(40, 140), (100, 200), (40, 140)], [(5, 110), (75, 165), (10, 105)]
    long = sync_truth.truth(sync_truth.looped(true.grey, greys), sync_truth.looped(true.colour, colours))
    colour = np.concatenate([np.arange(*cut) for cut in colours])
    starts = np.cumsum([0, *(end - start for start, end in greys)])[:3]
    lengths = [end - start for start, end in colours]
    grey = np.concatenate([np.arange(*cut) + 30 - first + at for cut, (first, _), at in zip(colours, greys, starts, strict=True)])
    there = np.concatenate(
        [(np.arange(*cut) + 30 >= low) & (np.arange(*cut) + 30 < high) for cut, (low, high) in zip(colours, greys, strict=True)]
    )
    segment = np.repeat(np.arange(3), lengths)
    found = sync_truth.Found(np.arange(len(colour))[there], grey[there], segment[there], np.ones(there.sum()))
    figures = scores(found, long)
    assert figures["exact"] == 1 and figures["true_pairs"] == there.sum() and figures["segments"] == 3
    # The third stretch shows the same pictures as the first, and is not it.
    elsewhere = replace(found, grey_frame=np.where(found.segment == 2, found.grey_frame - starts[2], found.grey_frame))
    assert scores(elsewhere, long)["segments_missed"] == 1 and scores(elsewhere, long)["wrong"] > 0.3


def row(name, **other):
    empty = {key: 0 for key in ("true_pairs", "pairs", "exact_pairs", "near_pairs", "false", "segments", "segments_missed")}
    empty |= {key: 0 for key in ("segments_false", "segments_said", "splits", "merges")}
    empty |= {f"{key}_frames": 0 for key in ("exact", "strict", "near", "wrong")}
    empty |= {key: 0.0 for key in ("exact", "strict", "near", "wrong", "said_exact", "said_near")}
    empty |= {key: None for key in ("residual", "error", "edges", "seconds", "decode", "memory", "said")}
    flags = {"refuse": False, "refused": False, "crashed": False, "same_rate": True}
    return {"print": name, "film": "drawn", "method": "sync"} | empty | flags | other


def test_the_goals_count_what_failed_and_what_was_left_out():
    good = row("good", true_pairs=100, exact_frames=100, exact=1.0, near=1.0, segments=1, seconds=1.0)
    lost = row("lost", true_pairs=100, segments_missed=1, refused=True, said="Too little.", seconds=1.0)
    died = row("died", true_pairs=100, segments_missed=1, crashed=True, said="ValueError")
    left = [("unmade", "could not be made: no film"), ("other", sync_tables.NOT_ASKED)]
    text = sync_tables.report([good, lost, died], [], broken=[("broken", "KeyError")], left=left, known=6)
    assert "measured | no: 3 of 6, 3 of them belong together" in text
    assert "| no crash | no: died, broken |" in text and "left out | no: unmade |" in text
    assert "one rate | no: 33.3 of all frames" in text and "segment missed | no: 2 (lost, died) of 3" in text
    assert "- died: ValueError" in text and "- unmade: could not be made: no film" in text and "Not asked for: other." in text
    assert text.count("crashed") >= 2 and "The worst 1, " in sync_tables.report(
        [good], [], broken=[], left=[], known=1, explain=1
    )


def test_the_class_of_a_print_is_that_of_its_recipe(tmp_path):
    import sync
    from sync_prints import Made, Prints, Shelf, draw_film

    film = Made(draw_film(tmp_path / "drawn.mp4", which=1, seconds=1), "film")
    shelf = Shelf(tmp_path, {}, [])
    case = sync_recipes.Case("some", "drawn", {})
    for keys, same in (
        ({"drop": 0.3}, True),
        ({"frame_rate": "24"}, True),
        ({"frame_rate": "25"}, False),
        ({"frame_rate": "24000/1001"}, False),
        ({"frame_rate": "30", "conversion": "repeat"}, False),
    ):
        recipe = Recipe(**keys, height=90)
        assert sync.same_rate(Prints(case, Made(film.path, "grey", recipe), film, film, film)) is same, keys
    assert shelf.missing(case) == []


def test_a_film_in_a_folder_is_one_by_suffix_and_sum(tmp_path, capsys):
    from sync_prints import Shelf

    (tmp_path / "films").mkdir()
    for name in ("tears-of-steel-battle-clip-medium.md", "tears-of-steel-battle-clip-medium.webm", "bbb.mp4"):
        (tmp_path / "films" / name).write_bytes(b"no film")
    shelf = Shelf(tmp_path / "cache", {}, [tmp_path / "films"])
    assert shelf.film("tears").suffix == ".webm"
    assert shelf._given("bunny") is None and shelf._given("bunny") is None
    assert capsys.readouterr().err.count("is not the film bunny") == 1


def test_a_version_makes_prints_anew_and_the_first_leaves_them(tmp_path):
    from sync_prints import Made, Shelf, draw_film

    film = Made(draw_film(tmp_path / "drawn.mp4", which=1, seconds=1), "film")
    shelf = Shelf(tmp_path, {}, [])
    keys = {"height": 90}
    first, same, second = (shelf.made(film, keys, "some", *version) for version in ((), (1,), (2,)))
    assert first.path == same.path != second.path
    said = '{"height": 90}'
    assert first.key == hashlib.sha256(f"film{said}".encode()).hexdigest()


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
    assert all(row["edges"] < 2 and row["segments_said"] >= 1 and not row["crashed"] for row in rows[:4])
    assert "no: 5 of 5, 4 of them" in (tmp_path / "out/results.md").read_text()
    # What is made is kept: the prints' times stay.
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/prints").iterdir()}
    again = subprocess.run([*command, "--make-only"], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and {path: path.stat().st_mtime_ns for path in (tmp_path / "cache/prints").iterdir()} == made
