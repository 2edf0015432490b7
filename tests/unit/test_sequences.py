"""Runs and sequence batches: lanes, frames before, crops and shares."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames import runs
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Batches, Material, kept
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.params import AugmentParams

CPU = torch.device("cpu")
WHOLE = AugmentParams(flip=False)


def numbered(count: int, blue: int = 200, side: int = 16) -> np.ndarray:
    """Plain pictures (count,3,side,side), each of a colour of its own, whatever is cut from it."""
    rgb = np.stack([np.arange(count) % 250, np.arange(count) // 250 + 100, np.full(count, blue)], axis=1)
    return rgb[:, :, None, None].repeat(side, 2).repeat(side, 3).astype(np.uint8)


def numbers(lab: torch.Tensor, pictures: np.ndarray) -> list[int]:
    """Which of `pictures` each of `lab` is."""
    known = rgb_to_lab(torch.from_numpy(pictures[:, :, :1, :1]))[:, :, 0, 0]
    distance = torch.cdist(lab[:, :, 0, 0].double(), known.double())
    assert distance.min(dim=1).values.max() < 1e-2
    return distance.argmin(dim=1).tolist()


def store(folder, pictures, source="film", clips=None):
    folder.mkdir(parents=True)
    facts = {"every": 1, "size": list(pictures.shape[2:])}
    writer = ShardWriter(folder, source=source, shapes={"colour": pictures.shape[1:]}, shard_bytes=1 << 14, facts=facts)
    for number, picture in enumerate(pictures):
        writer.add({"colour": picture}, frame=number, time=number / 24, **({} if clips is None else {"clip": clips[number]}))
    writer.close()
    return FrameStore(folder)


def table_of(*stores, cuts=(), dropped=(), split="train"):
    tables = []
    for one in stores:
        table = one.table[["source", "frame"]].assign(split=split, cut=[n in (0, *cuts) for n in range(len(one))])
        tables.append(table[[n not in dropped for n in range(len(one))]])
    return pd.concat(tables, ignore_index=True)


@pytest.fixture
def film(tmp_path):
    """A source of 30 frames in two clips; a shot begins at 20 and frame 25 is left out: runs begin at 0, 12, 20, 26."""
    pictures, muted = numbered(30), numbered(30, blue=90)
    one = store(tmp_path / "f", pictures, clips=["a"] * 12 + ["b"] * 18)
    table = table_of(one, cuts=(20,), dropped=(25,)).sample(frac=1, random_state=3).reset_index(drop=True)
    embeddings = {"film": np.arange(60, dtype=np.float32).reshape(30, 2)}
    material = Material({"film": one}, table, CPU, coloured={"film": store(tmp_path / "c", muted)}, embeddings=embeddings)
    return material, pictures, muted


BEGINNINGS = {0, 12, 20, 26}


def test_runs_end_at_sources_clips_parts_cuts_and_gaps():
    rows = pd.DataFrame(
        {
            "store": [0] * 8 + [1] * 4,
            "at": [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12],
            "cut": [True, False, False, True, False, False, False, False, False, False, False, False],
            "clip": ["a"] * 10 + ["b"] * 2,
            "split": ["train"] * 6 + ["val"] * 6,
        }
    )
    found = runs.begins(rows)
    assert np.flatnonzero(found).tolist() == [0, 3, 4, 6, 8, 10]
    assert runs.lengths(found).tolist() == [3, 1, 2, 2, 2, 2]
    with pytest.raises(UserError, match="no column `cut`"):
        runs.begins(rows.drop(columns="cut"))


@pytest.mark.parametrize(("window", "size"), [(1, 7), (2, 2), (4, 8), (5, 15)])
def test_the_frame_before_is_the_true_one_at_random_and_in_lanes(film, window, size):
    material, pictures, muted = film
    augment = AugmentParams(crop=8)
    seen = set()
    for batch in Batches(material, batch_size=size, augment=augment, shuffle=(1, 2), window=window, memory="coloured"):
        now = numbers(batch.lab, pictures)
        assert numbers(batch.view.coloured, muted) == now
        assert numbers(batch.view.previous, muted) == [n if n in BEGINNINGS else n - 1 for n in now]
        assert batch.view.starts.tolist() == [n in BEGINNINGS for n in now]
        assert batch.view.embedding.tolist() == [[2 * n, 2 * n + 1] for n in now]
        assert batch.lab.shape[2:] == batch.view.previous.shape[2:] == (8, 8)
        assert torch.equal(batch.view.lightness, batch.lab[:, :1])
        seen |= set(now)
    assert seen == set(range(30)) - {25}


def test_a_network_that_sees_its_own_colours_is_shown_the_truth_in_training_alone(film):
    material, pictures, _ = film
    for batch in Batches(material, batch_size=8, augment=WHOLE, shuffle=(0, 0), window=4, memory="own"):
        for number, previous, start in zip(numbers(batch.lab, pictures), batch.view.previous, batch.view.starts, strict=True):
            if number in BEGINNINGS:
                assert start and not previous[1:].any()
            else:
                assert numbers(previous[None], pictures) == [number - 1]
    for batch in Batches(material, batch_size=8, augment=WHOLE, shuffle=None, window=4, memory="own"):
        assert batch.view.previous is None and batch.view.starts is not None


def test_validation_is_one_lane_in_the_order_of_the_index(film):
    material, pictures, muted = film
    batches = list(Batches(material, batch_size=8, augment=AugmentParams(crop=8), shuffle=None, window=3, memory="coloured"))
    now = [n for batch in batches for n in numbers(batch.lab, pictures)]
    assert now == [n for n in range(30) if n != 25]
    assert [(len(batch.lab), batch.window) for batch in batches] == [(8, 8), (8, 8), (8, 8), (5, 5)]
    assert [start for batch in batches for start in batch.view.starts.tolist()] == [n in BEGINNINGS for n in now]
    before = [n for batch in batches for n in numbers(batch.view.previous, muted)]
    assert before == [n if n in BEGINNINGS else n - 1 for n in now]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    window=st.integers(1, 6),
    size=st.integers(1, 20),
    epoch=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_every_frame_appears_runs_keep_their_order_and_lanes_go_on(tmp_path_factory, lengths, window, size, epoch):
    beginnings = np.cumsum([0, *lengths[:-1]])
    count = sum(lengths)
    pictures = numbered(count)
    one = store(tmp_path_factory.mktemp("s") / "f", pictures)
    material = Material({"film": one}, table_of(one, cuts=beginnings), CPU)

    def batches(share=(0, 1)):
        return Batches(material, batch_size=size, augment=WHOLE, shuffle=(5, epoch), window=window, memory="state", share=share)

    if max(lengths) < window:
        with pytest.raises(UserError, match=rf"No {window} consecutive frames .* has {max(lengths)}\): lower `window`"):
            batches()
        return
    lanes = max(1, size // window)
    found = list(batches())
    assert len(found) == len(batches())
    # Lane by lane, over all batches.
    shown = np.stack([np.reshape(numbers(batch.lab, pictures), (lanes, window)) for batch in found], axis=1).reshape(lanes, -1)
    starts = np.stack([batch.view.starts.numpy().reshape(lanes, window) for batch in found], axis=1).reshape(lanes, -1)
    assert all(batch.window == window and len(batch.lab) == lanes * window for batch in found)
    assert set(shown.ravel()) == set(range(count))
    for lane, marks in zip(shown, starts, strict=True):
        assert marks[0]
        for before, now, mark in zip(lane[:-1], lane[1:], marks[1:], strict=True):
            assert mark == (now in beginnings) and (mark or now == before + 1)
    # The lanes are one line, cut: each goes on where the one before ends, and every run stands in it once.
    line = shown.ravel()
    assert all(b in beginnings or b == a + 1 for a, b in itertools.pairwise(line))
    once = line[:count]
    assert sorted(once) == list(range(count))
    assert line.tolist() == np.resize(once, len(line)).tolist()
    # The same global batches for two ranks.
    if lanes >= 2:
        both = [torch.cat([one.lab, two.lab]) for one, two in zip(batches((0, 2)), batches((1, 2)), strict=True)]
        assert all(torch.equal(two, one.lab) for one, two in zip(found, both, strict=True))
        weights = [batch.weight for rank in (0, 1) for batch in batches((rank, 2))]
        assert np.mean(weights) == pytest.approx(1)
    else:
        with pytest.raises(UserError, match="fewer than the 2 devices"):
            batches((0, 2))


def test_epochs_differ_and_repeat_themselves(film):
    material, pictures, _ = film

    def epoch(number):
        batches = Batches(material, batch_size=8, augment=WHOLE, shuffle=(1, number), window=4, memory="state")
        return [n for batch in batches for n in numbers(batch.lab, pictures)]

    assert epoch(0) == epoch(0) != epoch(1)


def test_crop_and_mirror_stay_the_same_within_a_run_and_differ_between_runs(tmp_path):
    y, x = np.mgrid[:20, :20]
    place = np.stack([5 * y + 60, 5 * x + 60, 0 * x + 80]).astype(np.uint8)  # red tells the row, green the column
    one = store(tmp_path / "f", np.stack([place] * 60))
    other = store(tmp_path / "c", np.stack([place // 2 + 30] * 60))
    cuts = range(0, 60, 6)
    material = Material({"film": one}, table_of(one, cuts=cuts), CPU, coloured={"film": other})
    corners = []
    batches = Batches(material, batch_size=12, augment=AugmentParams(crop=12), shuffle=(0, 0), window=6, memory="coloured")
    halved = rgb_to_lab(torch.from_numpy(place // 2 + 30))
    true = rgb_to_lab(torch.from_numpy(place))
    for batch in batches:
        for lane, muted, before in zip(
            batch.lab.unflatten(0, (2, 6)),
            batch.view.coloured.unflatten(0, (2, 6)),
            batch.view.previous.unflatten(0, (2, 6)),
            strict=True,
        ):
            assert torch.allclose(lane, lane[:1].expand_as(lane), atol=1e-4), "runs of six and windows of six: one crop"
            assert torch.allclose(muted, before, atol=1e-4)
            windows = [(r, c, m) for r in range(9) for c in range(9) for m in (False, True)]
            (corner,) = [w for w in windows if torch.allclose(cut_of(true, w), lane[0], atol=1e-2)]
            assert torch.allclose(cut_of(halved, corner), muted[0], atol=1e-2), "the other model's picture is cut alike"
            corners.append(corner)
    assert len(set(corners)) > 5 and {mirrored for _, _, mirrored in corners} == {False, True}


def cut_of(picture, window):
    row, column, mirrored = window
    part = picture[:, row : row + 12, column : column + 12]
    return part.flip(-1) if mirrored else part


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_the_very_batches_of_one(film, world):
    material, _, _ = film
    augment = AugmentParams(crop=8)
    single = list(Batches(material, batch_size=7, augment=augment, shuffle=(2, 1)))
    ranks = [Batches(material, batch_size=7, augment=augment, shuffle=(2, 1), share=(rank, world)) for rank in range(world)]
    assert {len(rank) for rank in ranks} == {len(single)}
    for whole, *parts in zip(single, *ranks, strict=True):
        counted = [part for part in parts if part.weight]
        assert torch.equal(torch.cat([part.lab for part in counted]), whole.lab)
        means = sum(part.weight * part.lab.mean().item() for part in parts) / world
        assert means == pytest.approx(whole.lab.mean().item(), rel=1e-5)
    # In validation a rank without a frame is given none.
    found = [list(Batches(material, batch_size=7, augment=WHOLE, shuffle=None, share=(rank, world))) for rank in range(world)]
    for rank, batches in enumerate(found):
        assert len(batches) == len(Batches(material, batch_size=7, augment=WHOLE, shuffle=None, share=(rank, world)))
    assert sum(len(batch.lab) for batches in found for batch in batches) == 29


def test_what_does_not_fit_is_named(film, tmp_path):
    material, _, _ = film
    with pytest.raises(UserError, match=r"No 13 consecutive frames stay together \(the longest .* has 12\): lower `window`"):
        Batches(material, batch_size=26, augment=WHOLE, shuffle=(0, 0), window=13, memory="state")
    one = store(tmp_path / "g", numbered(5))
    plain = Material({"film": one}, table_of(one), CPU)
    with pytest.raises(UserError, match="name that model in `precoloured_by`"):
        Batches(plain, batch_size=2, augment=WHOLE, shuffle=(0, 0), memory="coloured")
    with pytest.raises(UserError, match="coloured frames of film are missing or not of these frames"):
        Material({"film": one}, table_of(one), CPU, coloured={"film": store(tmp_path / "h", numbered(4))})
    with pytest.raises(UserError, match="embeddings of film are missing or not of these frames"):
        Material({"film": one}, table_of(one), CPU, embeddings={"film": np.zeros((4, 2), np.float32)})
    no_cuts = Material({"film": one}, one.table[["source", "frame"]], CPU)
    with pytest.raises(UserError, match="no column `cut`"):
        Batches(no_cuts, batch_size=2, augment=WHOLE, shuffle=(0, 0), window=2, memory="state")


def test_the_filter_tables_cuts_come_along(tmp_path):
    table = pd.DataFrame({"source": "a", "frame": [0, 1], "split": "train", "keep": [True, False], "reason": "", "cut": True})
    table.to_parquet(tmp_path / "filter.parquet")
    assert list(kept(tmp_path / "filter.parquet").columns) == ["source", "frame", "split", "cut"]
