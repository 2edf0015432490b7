"""What a made print shows, against golden sequences and a second, slower way to cut a film together."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.errors import UserError
from kinemacolor.media.programme import ADDED, BLACK, FILM, LEADER, crop_box, placement, print_size, programme, window
from kinemacolor.params import Recipe


def made(frames: int = 60, rate: str = "24", **recipe):
    return programme(Recipe(**recipe), frames, Fraction(rate))


def test_a_plain_print_moves_by_a_constant():
    told = made(trim_frames=7, intro_frames=13, trim_end_frames=2, outro_frames=4)
    assert told.frames == 13 + 51 + 4 and told.truth_offset == 6
    assert told.first.tolist() == [-1] * 13 + list(range(7, 58)) + [-1] * 4
    assert (told.kind == [LEADER] * 13 + [FILM] * 51 + [LEADER] * 4).all()
    assert (told.weight == 1).all() and not told.woven.any() and (told.second == -1).all()
    truth = told.alignment()
    assert (truth["grey_frame"] - truth["colour_frame"] == 6).all() and (truth["segment"] == 0).all()
    assert truth["grey_time"] == pytest.approx(truth["grey_frame"] / 24)
    assert {name: column.dtype.name for name, column in truth.items()} == {
        "colour_frame": "int64", "grey_frame": "int64", "colour_time": "float64", "grey_time": "float64",
        "segment": "int32", "confidence": "float32",
    }  # fmt: skip


def test_an_edit_by_hand():
    told = made(
        12, reels=[(6, 12), (0, 6)], remove=[(8, 9), (2, 4)], hold=[{"at": 7, "frames": 2}], black=[{"at": 10, "frames": 1}],
        added=[{"at": 0, "frames": 3}, {"at": 3, "frames": 1}], trim_frames=1, trim_end_frames=1, intro_frames=1,
    )  # fmt: skip
    assert told.first.tolist() == [-1, 7, 7, 7, 9, -1, 10, 11, -1, -1, -1, 0, 1, -1, 4]
    assert told.kind.tolist() == [LEADER] + 4 * [FILM] + [BLACK] + 2 * [FILM] + 3 * [ADDED] + 2 * [FILM] + [ADDED, FILM]
    assert told.truth_offset is None
    truth = told.alignment()
    assert truth["colour_frame"].tolist() == [0, 1, 4, 7, 9, 10, 11]
    assert truth["grey_frame"].tolist() == [11, 12, 14, 1, 4, 6, 7]
    assert truth["segment"].tolist() == [0, 0, 1, 2, 3, 4, 4]


def test_a_reel_that_is_shown_twice_counts_where_it_comes_first():
    truth = made(20, reels=[(5, 10), (0, 20)]).alignment()
    assert truth["colour_frame"].tolist() == list(range(20))
    assert truth["grey_frame"].tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4, *range(15, 25)]


def test_a_hold_is_no_part_of_what_follows():
    told = made(10, hold=[{"at": 4, "frames": 3}])
    assert told.first.tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8, 9]
    assert told.alignment()["segment"].tolist() == [0] * 5 + [1] * 5
    assert told.edit.number.tolist() == [0] * 5 + [1, 2, 3] + [0] * 5


@st.composite
def recipes(draw) -> Recipe:
    stretch = st.tuples(st.integers(0, 39), st.integers(1, 12)).map(lambda pair: (pair[0], min(40, sum(pair))))
    insert = st.fixed_dictionaries({"at": st.integers(0, 39), "frames": st.integers(1, 4)})
    reels = draw(st.none() | st.lists(stretch, min_size=1, max_size=4).map(tuple))
    lists = {key: draw(st.lists(insert, max_size=3)) for key in ("added", "black", "hold")}
    counts = {key: draw(st.integers(0, 5)) for key in ("trim_frames", "trim_end_frames", "intro_frames", "outro_frames")}
    return Recipe(reels=reels, remove=draw(st.lists(stretch, max_size=3)), **lists, **counts)


def by_hand(recipe: Recipe, frames: int) -> list[int] | None:
    """The same edit with lists; None where the recipe cannot be followed."""
    reels = recipe.reels or ((0, frames),)
    if recipe.trim_frames >= reels[0][1] - reels[0][0] or recipe.trim_end_frames >= reels[-1][1] - reels[-1][0]:
        return None
    shown = [frame for start, end in reels for frame in range(start, end)]
    gone = {frame for start, end in recipe.remove for frame in range(start, end)}
    last = len(shown) - recipe.trim_end_frames
    out, done = [-1] * recipe.intro_frames, set()
    for place, frame in enumerate(shown):
        here = [insert for insert in (*recipe.black, *recipe.added) if insert.at == frame] if frame not in done else []
        holds = [insert for insert in recipe.hold if insert.at == frame] if frame not in done else []
        done.add(frame)
        kept = recipe.trim_frames <= place < last and frame not in gone
        if holds and not kept:
            return None
        out += [-1] * sum(insert.frames for insert in here)
        out += [frame] * (kept + sum(insert.frames for insert in holds))
    if any(insert.at not in done for insert in (*recipe.black, *recipe.added, *recipe.hold)) or max(out, default=-1) < 0:
        return None
    return out + [-1] * recipe.outro_frames


@given(recipes())
@settings(max_examples=300, deadline=None)
def test_any_edit_against_lists(recipe):
    expected = by_hand(recipe, 40)
    if expected is None:
        with pytest.raises(UserError, match=r"recipe\.\w+|The recipe leaves nothing"):
            programme(recipe, 40, Fraction(24))
        return
    told = programme(recipe, 40, Fraction(24))
    assert told.first.tolist() == expected
    truth = told.alignment()
    shown = sorted({frame for frame in expected if frame >= 0})
    assert truth["colour_frame"].tolist() == shown
    assert truth["grey_frame"].tolist() == [expected.index(frame) for frame in shown]
    pairs = list(zip(truth["colour_frame"], truth["grey_frame"], truth["segment"], strict=True))
    for one, other in itertools.pairwise(pairs):
        assert (one[2] == other[2]) == (other[0] - one[0] == other[1] - one[1] == 1)


def test_speed_keeps_the_frames_and_changes_the_clock():
    told = made(50, frame_rate="25")
    assert told.first.tolist() == list(range(50)) and told.clock == Fraction(25, 24) and told.rate == 25
    assert told.time == pytest.approx(np.arange(50) / 25)


def test_pulldown_weaves_two_of_five_frames():
    told = made(8, rate="24000/1001", frame_rate="30000/1001", conversion="pulldown")
    assert told.first.tolist() == [0, 1, 1, 2, 3, 4, 5, 5, 6, 7]
    assert told.second.tolist() == [-1, -1, 2, 3, -1, -1, -1, 6, 7, -1]
    assert told.woven.tolist() == [False, False, True, True, False] * 2
    assert told.clock == 1 and made(8, frame_rate="30000/1001", conversion="pulldown").clock == Fraction(1000, 1001)
    truth = told.alignment()
    assert truth["grey_frame"].tolist() == [0, 1, 2, 4, 5, 6, 7, 9]
    assert truth["confidence"].tolist() == [1, 1, 0.5, 1] * 2


@pytest.mark.parametrize("frames", range(1, 14))
def test_pulldown_loses_no_frame_at_the_end(frames):
    told = made(frames, frame_rate="30", conversion="pulldown")
    assert told.frames == -(-(frames // 4 * 10 + (0, 2, 5, 7)[frames % 4]) // 2)
    assert max(told.first.max(), told.second.max()) == frames - 1
    assert len(told.alignment()["colour_frame"]) == frames


@pytest.mark.parametrize(("film", "rate"), [("24", "25"), ("25", "24"), ("24000/1001", "30000/1001"), ("60", "24"), ("24", "60")])
def test_repeat_and_blend_keep_the_clock(film, rate):
    ratio = Fraction(film) / Fraction(rate)
    repeated = made(200, film, frame_rate=rate, conversion="repeat")
    assert repeated.first.tolist() == [int(k * ratio) for k in range(repeated.frames)]
    assert abs(repeated.frames / Fraction(rate) - 200 / Fraction(film)) < 1 / Fraction(rate)
    blended = made(200, film, frame_rate=rate, conversion="blend")
    for k in range(blended.frames):
        place = k * ratio
        mean = blended.first[k] * blended.weight[k]
        mean += blended.second[k] * (1 - blended.weight[k]) if blended.second[k] >= 0 else 0
        assert mean == pytest.approx(float(place), rel=1e-6)
    assert (blended.second[blended.second >= 0] == blended.first[blended.second >= 0] + 1).all()
    assert blended.frames == int(199 / ratio) + 1
    share = blended.alignment()["confidence"]
    assert share.max() == 1 and share.min() > 0


def test_a_leader_mixed_into_the_film_is_no_film():
    told = made(20, frame_rate="25", conversion="blend", intro_frames=5)
    mixed = np.flatnonzero((told.first == -1) & (told.second >= 0))
    assert mixed.tolist() == [5] and told.second[5] == 0
    assert told.alignment()["grey_frame"][0] in (5, 6)


def test_dropped_frames_leave_the_others_their_times():
    told = made(1000, drop=0.13, seed=4)
    assert told.frames == 870 and told.tick[0] == 0 and told.tick[-1] == 999
    assert (told.first == told.tick).all() and told.time == pytest.approx(told.tick / 24)
    assert not (made(1000, drop=0.13, seed=5).first == told.first).all()


def test_fade_is_from_and_to_black_and_never_quite():
    gain = made(20, fade=4, intro_frames=2, trim_frames=1).edit.gain
    assert gain == pytest.approx([1, 1, 0.2, 0.4, 0.6, 0.8] + [1] * 11 + [0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"remove": [(50, 61)]}, r"^recipe\.remove names frames 50 to 61, but the film has 60 frames: "),
        ({"reels": [(0, 70)]}, r"^recipe\.reels .* 60 frames"),
        ({"added": [{"at": 60, "frames": 1}]}, r"^recipe\.added .* 60, but the film has 60 frames"),
        ({"hold": [{"at": 80, "frames": 1}]}, r"^recipe\.hold .* 60 frames"),
        ({"black": [{"at": 50, "frames": 1}], "reels": [(0, 40)]}, r"^recipe\.black .* in none of recipe\.reels"),
        ({"hold": [{"at": 3, "frames": 1}], "trim_frames": 5}, r"^recipe\.hold .* which the print lacks"),
        ({"trim_frames": 60}, r"^recipe\.trim_frames \(60\) leaves nothing of a film of 60 frames"),
        ({"trim_end_frames": 9, "reels": [(0, 30), (40, 49)]}, r"^recipe\.trim_end_frames .* reel \[40, 49\]"),
        ({"trim_frames": 40, "trim_end_frames": 20}, r"60 frames"),
        ({"remove": [(0, 60)]}, r"60 frames"),
        ({"frame_rate": "25", "conversion": "pulldown"}, r"^recipe\.frame_rate 25 is no 3:2 pulldown"),
        ({"reels": []}, r"^recipe\.reels holds none"),
    ],
)
def test_what_cannot_be_is_one_sentence(recipe, said):
    with pytest.raises(UserError, match=said) as caught:
        made(60, **recipe)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def through(transform: np.ndarray, x: float, y: float) -> np.ndarray:
    return transform @ (x, y, 1)


def test_a_crop_fills_the_print():
    recipe = Recipe(crop=(0.1, 0.05, 0.05, 0.1), height=72)
    left, top, right, bottom = crop_box(recipe, 144, 256)
    assert (left, top, right, bottom) == (26, 7, 243, 130)
    height, width = print_size(recipe, 144, 256)
    assert (height, width) == (72, 128)
    told = placement(recipe, 144, 256)
    assert through(told.transform, left, top) == pytest.approx((0, 0)) and told.box == pytest.approx((0, 0, width, height))
    assert through(told.transform, right, bottom) == pytest.approx((width, height))


def test_bars_leave_the_picture_its_shape():
    recipe = Recipe(bars=(0, 0.12, 0, 0.12), height=360)
    assert print_size(recipe, 720, 1280) == (360, 486)
    assert window(recipe, 720, 1280) == (0, 44, 486, 316) and placement(recipe, 720, 1280).box == (0, 44, 486, 316)
    assert print_size(Recipe(bars=(0.125, 0, 0.125, 0), height=360, width=640), 576, 720) == (360, 640)
    assert window(Recipe(bars=(0.125, 0, 0.125, 0), height=360, width=640), 576, 720) == (80, 0, 560, 360)


def test_turned_anticlockwise_about_the_middle_of_the_print_then_shifted():
    recipe = Recipe(turn=10, shift=(3, -2), height=100, width=200)
    told = placement(recipe, 100, 200)
    assert through(told.transform, 100, 50) == pytest.approx((103, 48))
    x, y = through(told.transform, 200, 50) - (103, 48)
    assert (x, y) == pytest.approx((100 * np.cos(np.deg2rad(10)), -100 * np.sin(np.deg2rad(10))))  # the right side rises
    assert told.box == (0, 0, 200, 100)
    assert placement(Recipe(shift=(3, -2), height=100), 100, 200).box == (3, 0, 200, 98)
