"""Splits: exact sizes, gaps that no frame crosses, and stability."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kinemacolor.errors import UserError
from kinemacolor.frames.splits import _allotted, _none_empty, split_frames
from kinemacolor.params import ChronologicalSplit, SeededSplit


def film(count, *, source="film", step=1.0):
    return pd.DataFrame({"source": source, "frame": np.arange(count) * 24, "time": np.arange(count) * step})


def sizes(table):
    return [int((table["split"] == part).sum()) for part in ("train", "val", "test")]


def test_project_film_counts_drop_no_frame():
    table = split_frames(film(5600), ChronologicalSplit(counts=(4000, 1000), guard=0))
    assert sizes(table) == [4000, 1000, 600]
    assert table["split"].tolist() == ["train"] * 4000 + ["val"] * 1000 + ["test"] * 600


def test_fractions_cut_every_source_and_guard_gaps_stay_empty():
    table = split_frames(pd.concat([film(100), film(50, source="other")]), ChronologicalSplit(fractions=(0.8, 0.1, 0.1), guard=3))
    per = table.groupby(["source", "split"]).size()
    assert per["film", "train"] == 80 and per["other", "train"] == 40
    # A frame a second: after the last training frame (79 s) nothing until 82 s.
    times = table[table["source"] == "film"].merge(film(100)).set_index("split")["time"]
    assert times["val"].min() - times["train"].max() == 3 and times["test"].min() - times["val"].max() == 3


@given(
    count=st.integers(30, 300),
    guard=st.floats(0, 5),
    block=st.floats(3, 40),
    seed=st.integers(0, 5),
    chronological=st.booleans(),
    shuffle=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_no_frame_has_a_neighbour_of_another_part_within_the_guard(count, guard, block, seed, chronological, shuffle):
    frames = film(count, step=0.7)
    params = (
        ChronologicalSplit(fractions=(0.6, 0.2, 0.2), guard=guard)
        if chronological
        else SeededSplit(fractions=(0.6, 0.2, 0.2), block=block, guard=guard, seed=seed)
    )
    try:
        table = split_frames(frames, params)
    except UserError:
        assume(False)  # fewer blocks than parts
    assert table.equals(split_frames(frames.sample(frac=1, random_state=shuffle), params)), "the order of rows does not matter"
    merged = table.merge(frames)
    time, part = merged["time"].to_numpy(), merged["split"].to_numpy()
    different = part[:, None] != part[None, :]
    if different.any():
        assert np.abs(time[:, None] - time[None, :])[different].min() >= guard - 1e-9


@pytest.mark.parametrize("unit", ["block", "clip", "frame"])
def test_an_old_frame_never_moves_because_a_source_was_added(unit):
    params = SeededSplit(fractions=(0.6, 0.2, 0.2), unit=unit, block=7, guard=0, seed=3)
    old = [film(80, source=f"s{number}") for number in range(24)]
    before = split_frames(pd.concat(old), params)
    after = split_frames(pd.concat([film(80, source="new"), *old[::-1]]), params)
    both = before.merge(after, on=["source", "frame"], suffixes=("", "_after"))
    assert len(both) == len(before) and (both["split"] == both["split_after"]).all()


def test_blocks_and_clips_stay_whole_and_fractions_are_met():
    params = SeededSplit(fractions=(0.8, 0.1, 0.1), block=10, guard=0, seed=0)
    table = split_frames(film(1000), params)
    assert sizes(table) == [800, 100, 100]
    assert (table.groupby(table["frame"] // 240)["split"].nunique() == 1).all()
    clips = split_frames(
        pd.concat([film(9, source=f"c{n}") for n in range(60)]), SeededSplit(fractions=(0.5, 0.25, 0.25), unit="clip")
    )
    assert (clips.groupby("source")["split"].nunique() == 1).all() and clips["split"].nunique() == 3


def test_the_seed_decides():
    params = [SeededSplit(fractions=(0.8, 0.1, 0.1), block=10, guard=0, seed=seed) for seed in (0, 0, 1)]
    a, b, c = (split_frames(film(500), p)["split"].tolist() for p in params)
    assert a == b and a != c


def test_a_part_with_a_share_gets_frames_or_the_split_is_refused():
    with pytest.raises(UserError, match="no frame for train"):
        split_frames(film(3), SeededSplit(fractions=(0.0, 0.5, 0.5), block=1, guard=0))
    # Four blocks of 30 s and shares of .8, .1, .1: rounding alone would leave test empty.
    table = split_frames(film(120), SeededSplit(fractions=(0.8, 0.1, 0.1), guard=0))
    assert sizes(table) == [60, 30, 30]
    with pytest.raises(UserError, match=r"no frame for test out of 60.*smaller blocks"):
        split_frames(film(60), SeededSplit(fractions=(0.8, 0.1, 0.1)))
    assert sizes(split_frames(film(60), SeededSplit(fractions=(0.9, 0.1, 0.0), guard=0))) == [30, 30, 0]


def few(count, *, length=4):
    """An index of a few clips, of `length` frames a second apart."""
    clips = [f"clip{number}" for number in range(count) for _ in range(length)]
    return pd.DataFrame({"source": "reel", "frame": range(len(clips)), "time": list(range(length)) * count, "clip": clips})


@given(count=st.integers(1, 9), seed=st.integers(0, 10_000), unit=st.sampled_from(["clip", "frame", "block"]))
@settings(max_examples=150, deadline=None)
def test_few_clips_fill_every_part_if_they_can(count, seed, unit):
    params = SeededSplit(fractions=(0.8, 0.1, 0.1), unit=unit, guard=0, seed=seed)
    if count < 3 and unit != "frame":
        with pytest.raises(
            UserError, match=r"no frame for (train|val|test) out of .*(take more).*split\.counts.*a share of 0\.$"
        ) as caught:
            split_frames(few(count), params)
        assert "frames.every" not in str(caught.value) and len(str(caught.value).split(". ")) == 1
        return
    table = split_frames(few(count), params)
    assert min(sizes(table)) >= 1 and sum(sizes(table)) == 4 * count
    if unit != "frame":
        assert (table.groupby(table["frame"] // 4)["split"].nunique() == 1).all()


def test_an_empty_part_gets_the_unit_whose_draw_lies_nearest():
    shares = (0.8, 0.1, 0.1)
    draws = np.array([0.1, 0.7, 0.79, 0.95, 0.3])
    assert _none_empty(np.array([0, 0, 0, 2, 0]), draws, shares, frozenset()).tolist() == [0, 0, 1, 2, 0]
    # The nearest of all, .95, is the only one that its part has.
    draws = np.array([0.1, 0.2, 0.95])
    assert _none_empty(np.array([0, 0, 2]), draws, shares, frozenset()).tolist() == [0, 1, 2]
    # Nothing moves where nothing is missing, where another source fills the part, or where there is too little.
    for part, filled in (([0, 1, 2], ()), ([0, 0, 2], (1,)), ([0, 0], ())):
        part = np.array(part)
        assert (_none_empty(part, draws[: len(part)], shares, frozenset(filled)) == part).all()
    assert _none_empty(np.array([0, 0, 0]), draws, (0.9, 0.1, 0.0), frozenset()).tolist() == [0, 0, 1]


def test_blocks_of_several_short_films_fill_every_part():
    """Two blocks a film: each by itself has none for test."""
    films = [film(60, source=name) for name in "abc"]
    for seed in range(20):
        assert min(sizes(split_frames(pd.concat(films), SeededSplit(fractions=(0.8, 0.1, 0.1), guard=0, seed=seed)))) == 30


def test_a_part_without_a_share_is_not_advised_to_have_none():
    with pytest.raises(UserError, match=r"no frame for train out of 3: give train a share above 0"):
        split_frames(film(3), SeededSplit(fractions=(0.0, 0.5, 0.5), block=1, guard=0))
    with pytest.raises(UserError, match=r"no frame for (val|test) out of 24: take more clips or photographs, say how many by"):
        split_frames(few(6), ChronologicalSplit(fractions=(0.8, 0.1, 0.1)))


@given(count=st.integers(1, 200), shares=st.tuples(*[st.floats(0, 1)] * 3).filter(lambda shares: sum(shares) > 0.1))
@settings(max_examples=200, deadline=None)
def test_units_are_allotted_whole_and_close_to_their_shares(count, shares):
    shares = np.array(shares) / sum(shares)
    units = _allotted(count, shares)
    assert units.sum() == max(count, (shares > 1e-9).sum()) and (units[shares <= 1e-9] == 0).all()
    if count >= 3:
        assert (units[shares > 1e-9] >= 1).all() and np.abs(units - shares * count).max() <= 2
