"""Splits: exact sizes, gaps that no frame crosses, and stability."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kinemacolor.errors import UserError
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.frames.splits import _allotted, _none_empty, split_frames
from kinemacolor.params import ChronologicalSplit, FilterParams, SeededSplit
from kinemacolor.stages.filter import filter_frames
from kinemacolor.stages.split import split


def film(count, *, source="film", step=1.0):
    return pd.DataFrame({"source": source, "frame": np.arange(count) * 24, "time": np.arange(count) * step})


def sizes(table):
    return [int((table["split"] == part).sum()) for part in ("train", "val", "test")]


def several_sources():
    """A film, another at another rate, a collection of clips, an album of photographs."""
    other = pd.DataFrame({"source": "other", "frame": np.arange(333) * 10, "time": np.arange(333) / 2.5})
    length = np.arange(40) % 7 + 1
    number = np.repeat(np.arange(40), length)
    within = np.arange(len(number)) - np.repeat(np.cumsum(length) - length, length)
    clip = [f"clip-{place * 7 % 40:02d}" for place in number]
    reel = pd.DataFrame({"source": "reel", "frame": number * 100 + within * 5, "time": within * 0.2, "clip": clip})
    names = [f"n{place:05d}.jpg" for place in range(90)]
    album = pd.DataFrame({"source": "album", "frame": np.arange(90), "time": 0.0, "clip": names})
    return pd.concat([film(700, step=1.001), other, reel, album], ignore_index=True)


SHARES = (0.7, 0.2, 0.1)
DRAWN = [
    ("d8c2b0fad58b0c22", ChronologicalSplit(fractions=SHARES, guard=2)),
    ("9fcbf4290650fd8e", ChronologicalSplit(counts=(400, 500), guard=1.5)),
    ("57769ff355885fdb", ChronologicalSplit(fractions=(0.8, 0.1, 0.1), guard=0, sources={"other": "val"})),
    ("368117bce263b18f", SeededSplit(fractions=SHARES, block=12, guard=1, seed=0)),
    ("37885cdb2223e362", SeededSplit(fractions=(0.8, 0.1, 0.1), seed=4)),
    ("345e3c38d3de5898", SeededSplit(counts=(120, 20), block=5, guard=1, seed=3)),
    ("6c08e4897e9ea343", SeededSplit(fractions=SHARES, unit="clip", seed=1337)),
    ("02f4157fe5594ada", SeededSplit(counts=(70, 40), unit="clip", seed=5)),
    ("d02e2af4680b4dbb", SeededSplit(fractions=SHARES, unit="frame", seed=2)),
    ("b11e24329a20e576", SeededSplit(counts=(700, 300), unit="frame", guard=0, seed=2)),
    ("34ba287123deb6b1", SeededSplit(fractions=(1.0, 0.0, 0.0), block=7, seed=1, sources={"album": "test"})),
]
"""Drawn when every split was first made, row by row; none may ever come out otherwise."""


@pytest.mark.parametrize(("digest", "params"), DRAWN)
def test_a_split_that_was_drawn_once_is_drawn_so_for_ever(digest, params):
    table = split_frames(several_sources(), params)
    text = "\n".join(f"{source} {frame} {split}" for source, frame, split in table.itertuples(index=False))
    assert hashlib.sha256(text.encode()).hexdigest().startswith(digest)


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
    way=st.sampled_from(["chronological", "block", "shot"]),
    shuffle=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_no_frame_has_a_neighbour_of_another_part_within_the_guard(count, guard, block, seed, way, shuffle):
    frames = film(count, step=0.7)
    frames["cut"] = np.random.default_rng(seed).random(count) < 0.7 / block
    params = (
        ChronologicalSplit(fractions=(0.6, 0.2, 0.2), guard=guard)
        if way == "chronological"
        else SeededSplit(fractions=(0.6, 0.2, 0.2), unit=way, block=block, guard=guard, seed=seed)
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


def drawn_source(kind, count, *, source):
    """An index of a film, a reel of clips or an album, with shots."""
    frames = film(count, source=source)
    frames["cut"] = np.random.default_rng(count).random(count) < 0.2
    if kind == "reel":
        frames["clip"] = [f"clip{place // 5}" for place in range(count)]
        frames["time"] %= 5
    elif kind == "album":
        frames["clip"] = [f"{place}.jpg" for place in range(count)]
        frames["time"] = 0.0
    return frames


KINDS = st.tuples(st.sampled_from(["film", "reel", "album"]), st.integers(1, 90))
UNITS = ["block", "shot", "clip", "source", "frame"]


@given(
    kinds=st.lists(KINDS, min_size=1, max_size=5),
    added=KINDS,
    first=st.booleans(),
    unit=st.sampled_from([*UNITS, "chronological"]),
    shares=st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.5, 0.5, 0.0), (0.9, 0.0, 0.1)]),
    named=st.sampled_from([{}, {"s0": "test"}, {"new": "val"}]),
    seed=st.integers(0, 50),
)
@settings(max_examples=200, deadline=None)
def test_an_old_frame_never_moves_because_a_source_was_added(kinds, added, first, unit, shares, named, seed):
    params = (
        ChronologicalSplit(fractions=shares, guard=1, sources=named)
        if unit == "chronological"
        else SeededSplit(fractions=shares, unit=unit, block=7, guard=1, seed=seed, sources=named)
    )
    old = [drawn_source(*kind, source=f"s{place}") for place, kind in enumerate(kinds)]
    new = drawn_source(*added, source="new")
    try:
        before = split_frames(pd.concat(old), params)
    except UserError:
        assume(False)  # too few: no split, and so nothing that could move
    after = split_frames(pd.concat([new, *old[::-1]] if first else [*old, new]), params)
    after = after[after["source"] != "new"]
    keys = ["source", "frame"]
    pd.testing.assert_frame_equal(before.sort_values(keys, ignore_index=True), after.sort_values(keys, ignore_index=True))


@given(more=st.integers(1, 5), unit=st.sampled_from(["block", "shot", "clip", "frame"]), seed=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_by_counts_no_more_units_move_than_came(more, unit, seed):
    params = SeededSplit(counts=(9, 5), unit=unit, block=10, guard=0, seed=seed)
    old = drawn_source("reel", 200, source="old")
    new = drawn_source("film", more, source="new").assign(cut=True, time=np.arange(more) * 10)
    units = {
        "block": old["clip"],
        "shot": old["cut"].cumsum().astype("str") + old["clip"],
        "clip": old["clip"],
        "frame": old["frame"],
    }
    part = [
        split_frames(table, params)[lambda rows: rows["source"] == "old"].merge(old.assign(unit=units[unit]))
        for table in (old, pd.concat([new, old]))
    ]
    moved = part[0]["unit"][part[0]["split"] != part[1]["split"]].nunique()
    assert moved <= 2 * (1 if unit == "clip" else more)


def test_shots_stay_whole_and_the_shares_are_of_frames():
    frames = film(3000)
    frames["cut"] = np.random.default_rng(0).random(3000) < 0.05
    shot = frames["cut"].cumsum().rename("shot")
    table = split_frames(frames, SeededSplit(fractions=(0.8, 0.1, 0.1), unit="shot", guard=0)).assign(shot=shot)
    assert (table.groupby("shot")["split"].nunique() == 1).all() and len(table) == 3000
    assert np.abs(np.array(sizes(table)) / 3000 - (0.8, 0.1, 0.1)).max() < 0.02
    with pytest.raises(ValueError, match="cut"):
        split_frames(film(9), SeededSplit(fractions=(0.8, 0.1, 0.1), unit="shot"))


@given(seed=st.integers(0, 50), count=st.integers(20, 90), more=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_a_shot_is_drawn_alike_whatever_frames_come_later(seed, count, more):
    """Shots of clips are drawn for themselves: frames that come after a shot's first make no difference to it."""
    long = drawn_source("film", count + more, source="a").assign(clip="x", cut=lambda rows: rows["frame"] % 168 == 0)
    # The clip that all parts have already keeps the few from being dealt out.
    rest = drawn_source("album", 90, source="a").assign(frame=lambda rows: rows["frame"] + 10**6)
    params = SeededSplit(fractions=(0.6, 0.2, 0.2), unit="shot", guard=0, seed=seed)
    short, whole = (split_frames(pd.concat([rows, rest]), params) for rows in (long[:count], long))
    both = short.merge(whole, on=["source", "frame"])
    assert len(both) == len(short) and (both["split_x"] == both["split_y"]).all()


def test_sources_are_drawn_whole():
    params = SeededSplit(fractions=(0.6, 0.2, 0.2), unit="source", seed=1)
    table = split_frames(pd.concat([drawn_source("reel", 20, source=f"s{place}") for place in range(40)]), params)
    assert (table.groupby("source")["split"].nunique() == 1).all() and len(table) == 800 and min(sizes(table)) > 60
    counted = split_frames(pd.concat([film(4, source=name) for name in "abcd"]), SeededSplit(counts=(2, 1), unit="source"))
    assert sizes(counted) == [8, 4, 4]
    with pytest.raises(UserError, match=r"asks for 2 \+ 1 sources, but there are 1: lower `split.counts`"):
        split_frames(film(9), SeededSplit(counts=(2, 1), unit="source"))
    with pytest.raises(UserError, match=r"no frame for \w+ out of 9: 3 parts need as many sources and there are 1, so take more"):
        split_frames(film(9), SeededSplit(fractions=SHARES, unit="source"))


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
    with pytest.raises(UserError, match=r"no frame for (train|val|test) out of 60.*smaller blocks"):
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
    assert _none_empty(np.array([0, 0, 0, 2, 0]), draws, shares).tolist() == [0, 0, 1, 2, 0]
    # The nearest of all, .95, is the only one that its part has.
    draws = np.array([0.1, 0.2, 0.95])
    assert _none_empty(np.array([0, 0, 2]), draws, shares).tolist() == [0, 1, 2]
    # Nothing moves where nothing is missing, or where there is too little.
    for part in (np.array([0, 1, 2]), np.array([0, 0])):
        assert (_none_empty(part, draws[: len(part)], shares) == part).all()
    assert _none_empty(np.array([0, 0, 0]), draws, (0.9, 0.1, 0.0)).tolist() == [0, 0, 1]


def test_blocks_of_many_short_films_come_near_the_shares():
    """Two blocks a film, fewer than parts: each is drawn for itself, or none of any film would ever be for test."""
    films = pd.concat([film(60, source=f"s{number}") for number in range(300)])
    found = np.array(sizes(split_frames(films, SeededSplit(fractions=(0.8, 0.1, 0.1), guard=0)))) / len(films)
    assert np.abs(found - (0.8, 0.1, 0.1)).max() < 0.03


def test_a_part_that_none_was_drawn_for_is_refused_with_what_helps():
    """Giving it one would take that back when another source came."""
    params = [SeededSplit(fractions=(0.8, 0.1, 0.1), unit="source", seed=seed) for seed in range(20)]
    films = pd.concat([film(60, source=name) for name in "abc"])
    said = []
    for one in params:
        try:
            assert min(sizes(split_frames(films, one))) == 60
        except UserError as error:
            said.append(str(error))
    assert said
    for text in said:
        assert (
            "none of 3 sources was drawn for it, so draw by another `split.seed`, name a source for it in `split.sources`" in text
        )
        assert "say how many by `split.counts`" in text and text.count(". ") == 0
    named = SeededSplit(fractions=(1.0, 0.0, 0.0), unit="source", sources={"b": "val", "c": "test"})
    assert sizes(split_frames(films, named)) == [60, 60, 60]


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


def test_the_split_stage_draws_the_shots_that_the_filter_finds(tmp_path):
    rng = np.random.default_rng(5)
    for source, pair in (("film", False), ("other", True)):
        (tmp_path / source).mkdir()
        shapes = {"colour": (3, 32, 32)} | ({"grey": (1, 32, 32)} if pair else {})
        facts = {"every": 1, "size": [32, 32]}
        writer = ShardWriter(tmp_path / source, source=source, shapes=shapes, shard_bytes=1 << 16, facts=facts)
        for number in range(120):
            if number % 6 == 0:  # a shot: noise that stands still
                shot = np.kron(rng.integers(0, 256, (4, 8, 8), np.uint8), np.ones((4, 4), np.uint8))
            extra = {"grey_frame": number, "grey_time": number / 2.0} if pair else {}
            writer.add({"colour": shot[:3], "grey": shot[3:]}, frame=number, time=number / 2.0, **extra)
        writer.close()
    folders = [tmp_path / "film", tmp_path / "other"]
    params = SeededSplit(fractions=(0.6, 0.2, 0.2), unit="shot", guard=0, seed=3)
    table = split(folders, params=params, out=tmp_path / "split.parquet")
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "split.parquet"))
    assert list(table.columns) == ["source", "frame", "split"] and len(table) == 240
    found = filter_frames(folders, split=tmp_path / "split.parquet", params=FilterParams(), out=tmp_path / "filter.parquet")
    assert found["cut"].sum() == 40
    assert (found.groupby(found["cut"].cumsum())["split"].nunique() == 1).all()
    assert np.abs(np.array(sizes(table)) / 240 - (0.6, 0.2, 0.2)).max() < 0.03
    with pytest.raises(UserError, match="film holds frames of 'film', as another folder does"):
        split([folders[0], folders[0]], params=params, out=tmp_path / "twice.parquet")
