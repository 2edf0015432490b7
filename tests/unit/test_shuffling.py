"""Orders of frames that do not fit in memory, and batches that are the same whoever prepares them and however they come."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.errors import UserError
from kinemacolor.frames import shuffling
from kinemacolor.frames.ahead import done_ahead
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Batch, Batches, Material
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.models.coding import View
from kinemacolor.params import AugmentParams

CPU = torch.device("cpu")
SIDE = 14
SEEN = tuple(field.name for field in dataclasses.fields(View))


def store(folder, count, *, source="film", seed=0, grey=False, compression="none", per_shard=5):
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    shapes = {"colour": (3, SIDE, SIDE)} | ({"grey": (1, SIDE, SIDE)} if grey else {})
    frame_bytes = sum(int(np.prod(shape)) for shape in shapes.values())
    writer = ShardWriter(
        folder,
        source=source,
        shapes=shapes,
        shard_bytes=per_shard * frame_bytes,
        facts={"every": 1, "size": [SIDE, SIDE]},
        compression=compression,
    )
    for number in range(count):
        pictures = {name: random.integers(0, 256, shape, dtype=np.uint8) for name, shape in shapes.items()}
        writer.add(pictures, frame=number, time=number / 24)
    writer.close()
    return FrameStore(folder)


def table_of(*stores, cut=9):
    parts = [
        pd.DataFrame({"source": one.source, "frame": one.table["frame"], "cut": np.arange(len(one)) % cut == 0}) for one in stores
    ]
    return pd.concat(parts, ignore_index=True).sample(frac=1, random_state=1).reset_index(drop=True)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {
        "one": store(folder / "one", 37, source="one", grey=True),
        "two": store(folder / "two", 23, source="two", grey=True, seed=1, compression="zstd"),
        "coloured one": store(folder / "c1", 37, source="one", seed=2, compression="lz4"),
        "coloured two": store(folder / "c2", 23, source="two", seed=3),
    }


def material(stores, **options):
    both = {name: stores[name] for name in ("one", "two")}
    others = {name: stores[f"coloured {name}"] for name in both}
    return Material(both, table_of(*both.values()), CPU, coloured=others, **options)


def same(first: Batch, second: Batch) -> bool:
    """To the byte, with everything that the network may see."""
    pairs = [(first.lab, second.lab), *((getattr(first.view, name), getattr(second.view, name)) for name in SEEN)]
    alike = all((a is None and b is None) or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)
    return alike and first.window == second.window and first.weight == second.weight


KINDS = {
    "at random": {"shuffle": (1, 2)},
    "in order": {"shuffle": None},
    "in lanes": {"shuffle": (1, 2), "window": 3, "memory": "state"},
    "shown the truth before": {"shuffle": (1, 2), "window": 2, "memory": "own"},
    "shown another's colours": {"shuffle": (1, 2), "memory": "coloured"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("crop", [None, 9])
def test_the_same_batches_whatever_the_workers_and_the_way_to_the_device(stores, kind, crop):
    def epoch(workers, **options):
        frames = material(stores, **options)
        augment = AugmentParams(crop=crop, flip=True)
        return list(Batches(frames, batch_size=8, augment=augment, workers=workers, **KINDS[kind]))

    expected = epoch(0)
    assert len(expected) >= 7
    for workers in (1, 3):
        assert all(same(a, b) for a, b in zip(epoch(workers), expected, strict=True))
    for way in ("resident", "sent"):
        assert all(same(a, b) for a, b in zip(epoch(2, way=way), expected, strict=True))


def test_an_epoch_that_is_left_early_leaves_no_thread_at_work(stores):
    batches = iter(Batches(material(stores), batch_size=4, augment=AugmentParams(), shuffle=(0, 0), workers=3))
    next(batches)
    assert any(thread.name.startswith("batches") for thread in threading.enumerate())
    batches.close()
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


@given(
    kept=st.lists(st.booleans(), min_size=1, max_size=200),
    block=st.integers(1, 40),
    window=st.integers(1, 9),
    seed=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
@settings(max_examples=100, deadline=None)
def test_every_frame_comes_once_window_after_window_of_blocks(kept, block, window, seed):
    in_order = np.random.default_rng(0).permutation(np.flatnonzero(kept))
    drawn = shuffling.windowed(in_order, np.random.default_rng(seed), block=block, window=window)
    again = shuffling.windowed(in_order, np.random.default_rng(seed), block=block, window=window)
    assert np.array_equal(drawn.places, again.places)
    assert sorted(drawn.places) == sorted(in_order)
    rank = np.empty(len(kept), int)
    rank[in_order] = np.arange(len(in_order))
    begin = 0
    for end, read in zip(drawn.ends, drawn.blocks, strict=True):
        assert sorted(drawn.places[begin:end]) == sorted(read)
        assert (np.diff(rank[read]) > 0).all(), "what is read ahead is named in the order of the disk"
        assert len(np.unique(rank[read] // block)) <= window
        begin = end
    assert begin == len(in_order)
    blocks = [len(np.unique(rank[read] // block)) for read in drawn.blocks]
    assert np.ptp(blocks or [0]) <= 1 and len(blocks) == -(-sum(blocks) // window), "no window of a few neighbours"


def test_batches_of_a_windowed_shuffle_are_about_as_mixed_as_of_a_true_one():
    """200,000 frames of 256x256 whose value is their place in the film."""
    count, block, size = 200_000, shuffling.BLOCK // (3 * 256 * 256), 32
    place = np.arange(count) / count
    windowed = [shuffling.windowed(np.arange(count), np.random.default_rng((0, epoch)), block=block).places for epoch in range(4)]
    true = [np.random.default_rng((1, epoch)).permutation(count) for epoch in range(4)]

    def scatter(orders):
        means = [place[order[: count // size * size]].reshape(-1, size).mean(axis=1) for order in orders]
        return np.concatenate(means).std()

    assert 1.0 < scatter(windowed) / scatter(true) < 1.2, "about the root of 1 + 31/128"
    # Neighbours in an epoch are not neighbours in the film.
    gap = np.abs(np.diff(windowed[0]))
    assert np.median(gap) > count / 5
    # Another epoch brings frames together that were apart.
    window = shuffling.WINDOW * block
    first, second = (np.argsort(order) // window for order in windowed[:2])
    together = np.flatnonzero(first == 0)
    assert np.bincount(second[together]).max() < 0.2 * len(together)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_what_does_not_fit_is_drawn_by_windows_and_read_ahead(stores, monkeypatch, workers):
    frames = material(stores)
    whole = AugmentParams(crop=None, flip=False)
    fits = [batch.lab for batch in Batches(frames, batch_size=8, augment=whole, shuffle=(0, 1))]
    monkeypatch.setattr(shuffling, "WHOLE", 1000)
    monkeypatch.setattr(shuffling, "BLOCK", 4 * frames.frame_bytes)
    large = material(stores)
    assert frames.fits and not large.fits
    told = []
    advise = large.advise
    monkeypatch.setattr(
        large, "advise", lambda places, *, needed: (told.append((len(places), needed)), advise(places, needed=needed))
    )
    batches = Batches(large, batch_size=8, augment=whole, shuffle=(0, 1), workers=workers)
    found = [batch.lab for batch in batches]
    assert told == [(60, True)]
    key = lambda labs: sorted(torch.cat(labs).sum(dim=(1, 2, 3)).tolist())  # noqa: E731
    assert np.allclose(key(found), key(fits)) and not torch.equal(torch.cat(found), torch.cat(fits))
    assert all(torch.equal(a.lab, b) for a, b in zip(batches, found, strict=True)), "the same each time"
    # Ranks share the very batches of one.
    parts = [Batches(large, batch_size=8, augment=whole, shuffle=(0, 1), share=(rank, 2), workers=workers) for rank in (0, 1)]
    for one, first, second in zip(found, *parts, strict=True):
        assert torch.equal(torch.cat([first.lab, second.lab]), one)


@pytest.mark.parametrize("lanes", [False, True])
def test_the_order_hangs_on_the_frames_and_not_on_where_they_live(stores, monkeypatch, lanes):
    """A rank with room on its GPU and one without, or a training that goes on elsewhere."""
    options = {"window": 3, "memory": "state"} if lanes else {}
    monkeypatch.setattr(shuffling, "BLOCK", 4 * material(stores).frame_bytes)
    orders = []
    for whole in (2**33, 1000):
        monkeypatch.setattr(shuffling, "WHOLE", whole)
        chosen = []
        for way in ("host", "resident", "sent"):
            frames = material(stores, way=way)
            assert frames.fits == (whole > 1000)
            batches = Batches(frames, batch_size=8, augment=AugmentParams(), shuffle=(0, 1), **options)
            chosen.append(np.concatenate([plan.chosen.ravel() for plan in batches._plans()]))
        assert all(np.array_equal(one, chosen[0]) for one in chosen)
        orders.append(chosen[0])
    assert np.array_equal(*orders) == lanes, "lanes are drawn alike from few frames and from many"
    assert set(orders[0]) == set(orders[1]) == set(range(60))


def test_lanes_of_many_frames_are_read_ahead_each_part_of_them_once(stores, monkeypatch):
    frames = material(stores)
    monkeypatch.setattr(shuffling, "WHOLE", 1000)
    monkeypatch.setattr(shuffling, "BLOCK", frames.frame_bytes)
    monkeypatch.setattr(shuffling, "WINDOW", 12)
    large = material(stores)
    told, advise = [], large.advise

    def tell(places, *, needed):
        told.append((tuple(places), needed))
        advise(places, needed=needed)

    monkeypatch.setattr(large, "advise", tell)
    options = {"batch_size": 6, "augment": AugmentParams(flip=True), "shuffle": (0, 1), "window": 3, "memory": "state"}
    expected = list(Batches(frames, **options))
    monkeypatch.setattr(shuffling, "WHOLE", 2**33)
    assert all(same(a, b) for a, b in zip(Batches(large, **options), expected, strict=True))
    wanted = [places for places, needed in told if needed]
    assert sorted(set().union(*wanted)) == list(range(60)) and len(wanted) == 5
    assert [places for places, needed in told if not needed] == wanted[:-1], "and given back when the lanes have left it"
    rank = np.argsort(large.order)
    assert all((np.diff(rank[list(places)]) > 0).all() for places in wanted)


class Damaged:
    """Material whose second window lies in a damaged shard."""

    def advise(self, places, *, needed):
        if needed and 1 in places:
            raise UserError("shard-00001 is damaged")


@pytest.mark.parametrize("last", [1, 9])
def test_an_error_of_the_thread_that_reads_ahead_reaches_the_training(last):
    ends, blocks = np.array([5, 10]), [np.array([0]), np.array([1])]
    with pytest.raises(UserError, match="shard-00001"), shuffling.ReadAhead(ends, blocks, Damaged()) as ahead:
        for at in range(last):
            ahead.reached(at)
    with pytest.raises(KeyError), shuffling.ReadAhead(ends, blocks, Damaged()) as ahead:
        ahead.reached(0)
        raise KeyError("what came first is told")


def test_pages_are_asked_for_and_given_back_without_harm(stores):
    frames = material(stores)
    before = frames.pictures("colour", np.arange(60))
    for needed in (True, False):
        frames.advise(frames.order, needed=needed)
    assert torch.equal(frames.pictures("colour", np.arange(60)), before)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_order_and_an_error_in_its_place(workers):
    def work(number):
        if number == 5:
            raise KeyError(number)
        return number * number

    assert list(done_ahead(range(5), work, workers=workers)) == [(number, number**2) for number in range(5)]
    came = []
    with pytest.raises(KeyError):
        for task, _ in done_ahead(range(9), work, workers=workers):
            came.append(task)
    assert came == [0, 1, 2, 3, 4]
