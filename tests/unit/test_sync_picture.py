"""Everything that happens to a print's picture, each by itself: frames are paired exactly and pixels within half a pixel."""

from __future__ import annotations

import numpy as np
import pytest

from kinemacolor.files import read_json
from kinemacolor.media.programme import placement
from kinemacolor.params import Recipe
from tests.unit.drawn_prints import HEIGHT, WIDTH, Synced, scenes, synced, write_film

RECIPES = {
    "crop": {"crop": (0.1, 0.08, 0.06, 0.1)},
    "another shape": {"height": 216, "width": 320},
    "turned": {"turn": 1.5},
    "shifted": {"shift": (6.4, -4.7)},
    "letterbox": {"bars": (0, 0.125, 0, 0.125)},
    "pillarbox": {"bars": (0.125, 0, 0.125, 0)},
    "painted": {"paint": 1.0},
    "tone": {"gamma": 1.5, "contrast": 0.75},
    "grain": {"grain": 12},
    "logo": {"logo": True},
    "subtitles": {"subtitles": True},
    "colours kept": {"colour": True},
    "hevc": {"codec": "hevc", "crf": 30},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg2": {"codec": "mpeg2"},
    "vp9": {"codec": "vp9", "crf": 36},
    "all of it": {
        "crop": (0.05, 0.04, 0.03, 0.06), "turn": -1, "shift": (-3.2, 2.5), "bars": (0, 0.1, 0, 0.1), "paint": 0.5, "gamma": 1.3,
        "contrast": 0.85, "grain": 6, "logo": True, "subtitles": True, "intro_frames": 40, "remove": [(104, 179)],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(scenes(1), tmp_path_factory.mktemp("film") / "film.mkv")


def misplaced(done: Synced) -> float:
    """How far the transform puts a corner of what both prints show from where it lies, at most; pixels of the print."""
    geometry = done.result.geometry
    left, top, right, bottom = geometry.colour_crop
    corners = np.array([[x, y, 1] for x in (left, right) for y in (top, bottom)])
    return float(np.linalg.norm(corners @ (geometry.transform - placement(done.recipe, HEIGHT, WIDTH).transform).T, axis=1).max())


@pytest.mark.parametrize("name", RECIPES)
def test_pictures_are_paired_and_laid_on_each_other(film, tmp_path, name):
    done = synced(film, tmp_path, Recipe(**{"height": 180, "grain": 2, "seed": 4, "intro_frames": 17} | RECIPES[name]))
    assert done.judged.sure.max() == 0
    assert len(done.judged.sure) > 0.97 * len(done.judged.off)
    assert done.judged.found > 0.99 and max(done.judged.share_wrong) == 0
    geometry = done.result.geometry
    assert misplaced(done) < 0.5
    assert geometry.residual_px < 0.5
    assert (geometry.kind == "upright") == (done.recipe.turn == 0)
    # What both show is what the maker left of the film, less a few pixels at the edges.
    left, top, right, bottom = geometry.grey_crop
    box = placement(done.recipe, HEIGHT, WIDTH).box
    assert left > box[0] - 1 and top > box[1] - 1 and right < box[2] + 1 and bottom < box[3] + 1
    assert (right - left) * (bottom - top) > 0.8 * (box[2] - box[0]) * (box[3] - box[1])
    written = read_json(tmp_path / "out" / "geometry.json")
    np.testing.assert_allclose(written["transform"], geometry.transform, atol=1e-6)
    assert (written["kind"], written["corners"]) == (geometry.kind, geometry.corners)
