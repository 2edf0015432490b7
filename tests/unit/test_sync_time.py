"""Every cut and every rate that a print may have, each by itself: film frames and print frames paired as the print was made."""

from __future__ import annotations

import numpy as np
import pytest

from kinemacolor.params import Recipe
from tests.unit.drawn_prints import FRAMES, Synced, scenes, synced, write_film

SEGMENTS = {
    "untouched": ({}, 1),
    "head and tail lost": ({"trim_frames": 37, "trim_end_frames": 50}, 1),
    "leaders": ({"intro_frames": 83, "outro_frames": 61}, 1),
    "reordered reels": ({"reels": [(179, 321), (0, 179), (321, FRAMES)]}, 3),
    "half as long": ({"reels": [(120, 350)]}, 1),
    "missing scene": ({"remove": [(104, 179)]}, 2),
    "added scene": ({"added": [{"at": 179, "frames": 70}]}, 2),
    "black": ({"black": [{"at": 104, "frames": 30}]}, 2),
    "standing picture": ({"hold": [{"at": 260, "frames": 20}]}, 2),
    "fade": ({"fade": 20}, 1),
    "speed of PAL": ({"frame_rate": "25"}, 1),
    "speed of NTSC": ({"frame_rate": "24000/1001"}, 1),
    "variable frame rate": ({"drop": 0.2}, 1),
    "no sound": ({"sound": False}, 1),
}
"""Recipes under which every frame of the print is one of the film, with the segments that they leave."""

RATES = {
    "pulldown": ({"frame_rate": "30000/1001", "conversion": "pulldown"}, 1.25),
    "blended": ({"frame_rate": "25", "conversion": "blend"}, 25 / 24),
    "repeated": ({"frame_rate": "30", "conversion": "repeat"}, 1.25),
    "left out": ({"frame_rate": "18", "conversion": "repeat"}, 0.75),
}
"""Recipes under which they are not one for one, with the grey frames a colour frame."""


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(scenes(1), tmp_path_factory.mktemp("film") / "film.mkv", sound=True)


def made(film, folder, keys: dict) -> Synced:
    return synced(film, folder, Recipe(**{"height": 180, "grain": 2, "seed": 4} | keys))


@pytest.mark.parametrize("name", SEGMENTS)
def test_print_frames_that_are_film_frames_are_paired_exactly(film, tmp_path, name):
    keys, segments = SEGMENTS[name]
    done = made(film, tmp_path, keys)
    assert done.judged.sure.max() == 0
    assert len(done.judged.sure) > 0.97 * len(done.judged.off)
    assert done.judged.found > 0.99
    assert done.judged.share_wrong == [0] * segments
    path = done.result.path
    assert [one.speed for one in path.segments] == [1] * segments
    assert [one.clock for one in path.segments] == pytest.approx([float(done.told.clock)] * segments, rel=2e-3)
    assert path.correlation > 0.95
    assert path.share == pytest.approx(1, abs=0.02) if name not in ("half as long", "missing scene") else path.share > 0.98


@pytest.mark.parametrize("name", RATES)
def test_another_rate_is_paired_within_a_frame(film, tmp_path, name):
    keys, speed = RATES[name]
    done = made(film, tmp_path, {"intro_frames": 31} | keys)
    assert done.judged.sure.max() <= 1
    assert done.judged.found > 0.99 and max(done.judged.share_wrong) == 0
    # Of four film frames one is not in the print; the others meet their own.
    expected = 0.73 if name == "left out" else 0.94
    assert np.mean(done.judged.off == 0) > expected
    assert [one.speed for one in done.result.path.segments] == pytest.approx([speed], rel=1e-4)


def test_splices_of_few_frames_are_found(film, tmp_path):
    """A single lost frame shows in its neighbours' places alone, and beside a splice a frame may be as like its neighbour."""
    done = made(film, tmp_path, {"remove": [(30, 33), (140, 141), (280, 292)]})
    assert len(done.result.path.segments) == 4
    assert np.count_nonzero(done.judged.sure) <= 3 and done.judged.sure.max() <= 1
    assert done.judged.found > 0.98
    starts = [one.colour_start for one in done.result.path.segments]
    assert np.abs(np.array(starts) - [0, 33, 141, 292]).max() <= 3


def test_still_shots_take_their_place_from_their_neighbours(tmp_path):
    """Inside a shot nothing is cut, so that what stands still there is known too; where the print lacks some of it, nobody can say
    which."""
    film = write_film(scenes(2, (60, 48, 70, 48, 66), still=(1, 3)), tmp_path / "film.mkv")
    done = made(film, tmp_path, {"intro_frames": 20, "remove": [(190, 204)], "grain": 3})
    whole = done.result.path.colour_frame < 170
    assert (done.judged.off[whole] == 0).all()
    around = (done.result.path.colour_frame >= 180) & (done.result.path.colour_frame < 216)
    wrong = done.judged.off[around] > 0
    assert np.count_nonzero(done.judged.confidence[around][wrong] > 0.9) <= 3
    assert (done.judged.off[done.result.path.colour_frame >= 230] == 0).all()
