"""The frame index and its shards: the same bytes whoever writes them, lossless compression, named damage, flat memory."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.errors import UserError
from kinemacolor.frames import index
from kinemacolor.frames.index import FrameStore, located
from kinemacolor.frames.shards import METADATA_KEY, ShardWriter, join_pieces, shard_capacity
from tests.unit.resident_pages import counted, resident

COMPRESSIONS = ["none", "lz4", "zstd"]
SIDES = (10, 12)


def pictures(count: int, *, channels: int = 4) -> np.ndarray:
    """Made pictures (N,C,10,12), no two alike."""
    number = np.arange(count * channels * 120, dtype=np.int64).reshape(count, channels, *SIDES)
    return (number * number * 7919 % 251).astype(np.uint8)


def writer_of(folder: Path, *, capacity: int = 5, compression: str = "none", pair: bool = True, source: str = "film"):
    folder.mkdir(parents=True)
    shapes = {"colour": (3, *SIDES)} | ({"grey": (1, *SIDES)} if pair else {})
    shard_bytes = capacity * 120 * (4 if pair else 3) + 7
    assert shard_capacity(shapes, shard_bytes) == capacity
    facts = {"every": 2, "size": list(SIDES)}
    return ShardWriter(folder, source=source, shapes=shapes, shard_bytes=shard_bytes, facts=facts, compression=compression)


def write(folder: Path, count: int = 13, **how) -> Path:
    writer = writer_of(folder, **how)
    for number, picture in enumerate(pictures(count)):
        extra = {"grey_frame": number + 5, "grey_time": (number + 5) / 24} if how.get("pair", True) else {}
        shown = {"colour": picture[:3]} | ({"grey": picture[3:]} if how.get("pair", True) else {})
        writer.add(shown, frame=2 * number, time=number / 12, **extra)
    writer.close()
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# ------------------------------------------------------------------------------------------------------ writing


def test_shards_have_the_bytes_that_they_always_had(tmp_path):
    folder = write(tmp_path / "f")
    digests = [hashlib.sha256(data).hexdigest()[:16] for name, data in content(folder).items() if name != "index.parquet"]
    assert digests == ["c503ee0fdc719a77", "73ee12f51d17a4cb", "a3c7086e1c8af0cd"]
    assert content(write(tmp_path / "again")) == content(folder)
    schema = pq.read_schema(folder / "index.parquet")
    assert {name: str(schema.field(name).type) for name in schema.names} == {
        **{"source": "string", "frame": "int64", "time": "double", "shard": "int64", "row": "int64"},
        **{"height": "int64", "width": "int64", "grey_frame": "int64", "grey_time": "double"},
    }
    facts = json.loads(schema.metadata[METADATA_KEY])
    assert facts["compression"] == "none" and facts["pictures"] == {"colour": [3, 10, 12], "grey": [1, 10, 12]}
    assert [shard["name"] for shard in facts["shards"]] == [f"shard-{number:05d}.arrow" for number in range(3)]
    for shard in facts["shards"]:
        data = (folder / shard["name"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (shard["sha256"], shard["bytes"])


def test_a_place_decides_the_shard_and_damaged_frames_leave_no_hole(tmp_path):
    writer = writer_of(tmp_path / "f", capacity=4, pair=False)
    places = [1, 2, 3, 13, 14, 24]  # of shards 0, 3 and 6
    for place, picture in zip(places, pictures(6), strict=True):
        writer.add({"colour": picture[:3]}, frame=place * 10, time=place / 2, place=place)
    with pytest.raises(ValueError, match="place 24 comes after place 24"):
        writer.add({"colour": pictures(1)[0, :3]}, frame=0, time=0.0, place=24)
    table = writer.close()
    assert table["shard"].tolist() == [0, 0, 0, 1, 1, 2] and table["row"].tolist() == [0, 1, 2, 0, 1, 0]
    store = FrameStore(tmp_path / "f")
    assert [shard["name"] for shard in store.facts["shards"]] == [f"shard-{number:05d}.arrow" for number in (0, 3, 6)]
    assert [shard["rows"] for shard in store.facts["shards"]] == [3, 2, 1]
    assert np.array_equal(store.colour(range(6)), pictures(6)[:, :3]) and store.table.equals(table)
    assert np.array_equal(store.view("colour", 1), pictures(6)[3:5, :3])


def test_what_does_not_belong_into_a_row_is_refused(tmp_path):
    writer = writer_of(tmp_path / "f", pair=False)
    good = {"colour": pictures(1)[0, :3]}
    writer.add(good, frame=0, time=0, clip="a")
    with pytest.raises(ValueError, match="columns"):
        writer.add(good, frame=1, time=0)
    with pytest.raises(ValueError, match="expected uint8"):
        writer.add({"colour": good["colour"].astype(np.int16)}, frame=1, time=0, clip="a")
    with pytest.raises(ValueError, match="column odd holds a list"):
        writer_of(tmp_path / "g", pair=False).add(good, frame=0, time=0, odd=[1])
    with pytest.raises(ValueError, match="unknown compression 'gzip'"):
        writer_of(tmp_path / "h", compression="gzip")
    assert writer_of(tmp_path / "empty").close().empty


@given(
    count=st.integers(1, 40),
    capacity=st.integers(1, 9),
    borders=st.lists(st.integers(0, 8), max_size=4),
    lost=st.sets(st.integers(0, 39)),
    compression=st.sampled_from(COMPRESSIONS),
    clips=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_joined_pieces_equal_to_the_byte_what_one_writer_makes(
    tmp_path_factory, count, capacity, borders, lost, compression, clips
):
    folder = tmp_path_factory.mktemp("joined")
    shown = pictures(count, channels=3)

    def add(writer: ShardWriter, places: range) -> None:
        for place in places:
            if place < count and place not in lost:
                extra = {"clip": f"clip{place // 7}"} if clips else {}
                writer.add({"colour": shown[place]}, frame=3 * place, time=place / 25, place=place, **extra)
        writer.close()

    add(writer_of(folder / "one", capacity=capacity, compression=compression, pair=False), range(count))
    ends = sorted({0, *(border * capacity for border in borders)})
    pieces = []
    for begin, end in zip(ends, [*ends[1:], max(ends[-1], count)], strict=True):
        pieces.append(folder / f"piece{begin}")
        add(writer_of(pieces[-1], capacity=capacity, compression=compression, pair=False), range(begin, end))
    (folder / "whole").mkdir()
    table = join_pieces(pieces, folder / "whole", {"every": 2, "size": list(SIDES)})
    assert content(folder / "whole") == content(folder / "one")
    (folder / "own").mkdir()
    pd.testing.assert_frame_equal(join_pieces(pieces, folder / "own"), table)
    assert content(folder / "own") == content(folder / "one")
    for piece in pieces:  # a link's other name may go
        shutil.rmtree(piece)
    if len(table):
        assert np.array_equal(FrameStore(folder / "whole").colour(range(len(table))), shown[table["frame"].to_numpy() // 3])


def test_pieces_that_do_not_fit_together_are_named(tmp_path):
    first, second = write(tmp_path / "first"), write(tmp_path / "second")
    packed, out = write(tmp_path / "packed", compression="lz4"), tmp_path / "out"

    def joined(*folders):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        join_pieces(folders, out)

    with pytest.raises(UserError, match=r"second holds shard-00000\.arrow, which comes before its place among the pieces"):
        joined(first, second)
    with pytest.raises(UserError, match=r"packed holds pictures of another shape or compression than .*first"):
        joined(first, packed)
    (second / "shard-00001.arrow").unlink()
    with pytest.raises(UserError, match=r"second/shard-00001\.arrow is missing: remove .*second and run the frames stage again"):
        joined(second)
    with pytest.raises(UserError, match=r"nowhere/index\.parquet is missing"):
        joined(tmp_path / "nowhere")


def test_many_rows_are_written_in_groups_and_opened_small(tmp_path):
    """More rows than a group of the index holds, more shards than anybody looks at."""
    count, clip = 140_000, "a_clip_with_a_name-{:06d}".format
    folder = tmp_path / "f"
    folder.mkdir()
    facts = {"every": 1, "size": [1, 2]}
    writer = ShardWriter(folder, source="reel", shapes={"colour": (3, 1, 2)}, shard_bytes=6 * 1000, facts=facts)
    shown = (np.arange(count * 6) % 251).astype(np.uint8).reshape(count, 3, 1, 2)
    for number in range(count):
        writer.add({"colour": shown[number]}, frame=number, time=number % 9 / 8, clip=clip(number // 9))
    writer.close()
    assert pq.ParquetFile(folder / "index.parquet").num_row_groups == 3
    store = FrameStore(folder)
    assert len(store) == count and len(store.facts["shards"]) == 140
    assert store.table.memory_usage(deep=True).sum() < 110 * count, "no Python object for a row"
    assert store.clips[70_000] == clip(70_000 // 9) and store.table["frame"].is_monotonic_increasing
    rows = np.random.default_rng(0).integers(0, count, 200)
    assert np.array_equal(store.colour(rows), shown[rows])
    half = tmp_path / "joined"
    half.mkdir()
    join_pieces([folder], half)
    assert content(half)["index.parquet"] == content(folder)["index.parquet"]


# ------------------------------------------------------------------------------------------------------ reading


@given(
    count=st.integers(1, 20),
    capacity=st.integers(1, 8),
    compression=st.sampled_from(COMPRESSIONS),
    pair=st.booleans(),
    seed=st.integers(0, 99),
    smooth=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_pictures_come_back_to_the_byte_however_they_are_packed(
    tmp_path_factory, count, capacity, compression, pair, seed, smooth
):
    folder, rng = tmp_path_factory.mktemp("packed") / "f", np.random.default_rng(seed)
    shown = rng.integers(0, 3 if smooth else 256, (count, 4, *SIDES), np.uint8)
    writer = writer_of(folder, capacity=capacity, compression=compression, pair=pair)
    for number, picture in enumerate(np.asfortranarray(shown)):  # memory order must not matter
        kinds = {"colour": picture[:3]} | ({"grey": picture[3:]} if pair else {})
        writer.add(kinds, frame=number, time=float(number))
    writer.close()
    store = FrameStore(folder)
    rows = rng.integers(0, count, 3 * count)
    assert store.is_pair == pair and store.is_compressed == (compression != "none")
    assert np.array_equal(store.colour(rows), shown[rows, :3])
    assert np.array_equal(store.colour([]), np.empty((0, 3, *SIDES)))
    if pair:
        assert np.array_equal(store.grey(rows), shown[rows, 3:])
    views = [store.view("colour", number) for number in range(len(store.facts["shards"]))]
    if compression == "none":
        assert np.array_equal(np.concatenate(views), shown[:, :3]) and not any(view.flags.writeable for view in views)
        assert not any(view.flags.owndata for view in views)
    else:
        assert views == [None] * len(views)
    assert np.array_equal(store.shard_of, np.arange(count) // capacity)
    assert np.array_equal(store.row_of, np.arange(count) % capacity)


def test_threads_may_read_at_the_same_time(tmp_path):
    for compression in COMPRESSIONS:
        store = FrameStore(write(tmp_path / compression, 60, compression=compression))
        rows = [np.random.default_rng(seed).integers(0, 60, 40) for seed in range(40)]
        with ThreadPoolExecutor(4) as pool:
            read = list(pool.map(store.colour, rows))
        assert all(np.array_equal(found, pictures(60)[chosen, :3]) for found, chosen in zip(read, rows, strict=True))


def test_an_index_as_they_were_written_at_first_is_still_read(tmp_path):
    folder = write(tmp_path / "f")
    table = pq.read_table(folder / "index.parquet")
    facts = json.loads(table.schema.metadata[METADATA_KEY])
    old = {name: value for name, value in facts.items() if name not in ("pictures", "compression")}
    for shard in old["shards"]:
        del shard["bytes"]
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(old)}), folder / "index.parquet")
    store = FrameStore(folder)
    assert store.is_pair and np.array_equal(store.grey([7, 2]), pictures(13)[[7, 2], 3:])


@given(compression=st.sampled_from(COMPRESSIONS), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_a_flipped_bit_anywhere_in_a_shard_is_named_before_a_picture_is_given_out(tmp_path_factory, compression, place, bit):
    folder = write(tmp_path_factory.mktemp("damaged") / "f", compression=compression)
    path = folder / "shard-00001.arrow"
    os.utime(path, ns=(10**18, 10**18))  # an old file: this process remembers that it was whole
    FrameStore(folder).verify()
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    store = FrameStore(folder)
    assert np.array_equal(store.colour([0, 12]), pictures(13)[[0, 12], :3]), "the other shards are whole"
    sentence = re.escape(f"{path} is damaged (its sha256 is not the one in the index): remove {folder} and run the frames stage")
    reads = [lambda: store.colour([2, 7]), store.verify, lambda: store.grey([9])]
    for read in reads + ([lambda: store.view("colour", 1)] if compression == "none" else []):
        with pytest.raises(UserError, match=sentence):
            read()


def test_missing_and_cut_off_files_are_named_at_opening(tmp_path):
    folder = write(tmp_path / "f")
    shard, index = folder / "shard-00002.arrow", folder / "index.parquet"
    whole, rows = shard.read_bytes(), index.read_bytes()
    shard.write_bytes(whole[:-8])
    with pytest.raises(UserError, match=rf"shard-00002\.arrow is damaged \(it has {len(whole) - 8} bytes and the index says"):
        FrameStore(folder)
    shard.unlink()
    with pytest.raises(UserError, match=r"shard-00002\.arrow is missing: run the frames stage again, or `dvc pull`"):
        FrameStore(folder)
    shard.write_bytes(whole)
    for damaged in (rows[: len(rows) // 2], b"", b"no Parquet at all"):
        index.write_bytes(damaged)
        with pytest.raises(UserError, match=r"index\.parquet is damaged or no Parquet file"):
            FrameStore(folder)
    pd.DataFrame({"source": ["film"]}).to_parquet(index)
    with pytest.raises(UserError, match=r"index\.parquet is no frame index"):
        FrameStore(folder)
    index.write_bytes(rows)
    assert len(FrameStore(folder)) == 13


MANY = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.material import Material
resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
store = FrameStore(Path(sys.argv[1]))
colours = store.colour(range(len(store)))
assert len(store.facts["shards"]) == len(store) == 120
material = Material({"film": FrameStore(Path(sys.argv[1]))}, store.table[["source", "frame"]], torch.device("cpu"))
material.advise(np.arange(120), needed=True)
assert np.array_equal(material.pictures("colour", np.arange(120)).numpy(), colours)
for rows in store.walk(7):
    assert np.array_equal(store.colour(rows), colours[rows])
"""


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_there_may_be_more_shards_than_a_process_may_open_files(tmp_path, compression):
    pytest.importorskip("resource")
    folder = write(tmp_path / "f", 120, capacity=1, pair=False, compression=compression)
    done = subprocess.run([sys.executable, "-c", MANY, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_threads_that_need_the_same_new_shards_verify_each_once_and_wait_for_no_other(tmp_path, monkeypatch, caplog):
    folder = write(tmp_path / "f", 40, pair=False)
    expected, store = FrameStore(folder).colour(range(40)), FrameStore(folder)
    held, seen, whole = threading.Event(), [], store._is_whole

    def slow(entry):
        seen.append(entry["name"])
        if entry["name"] == "shard-00003.arrow":
            assert held.wait(60)
        return whole(entry)

    monkeypatch.setattr(store, "_is_whole", slow)
    monkeypatch.setattr(index, "_SAID", -1)
    with ThreadPoolExecutor(3) as pool, caplog.at_level("INFO"):
        ahead = [pool.submit(store.touch, range(8)) for _ in range(3)]
        assert np.array_equal(store.colour([0, 39]), expected[[0, 39]]), "while one shard is still being verified"
        held.set()
        assert all(one.result() is None for one in ahead)
    assert sorted(seen) == [f"shard-{number:05d}.arrow" for number in range(8)]
    assert any("of 8 shards verified against the index" in line for line in caplog.messages)


@counted
@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_walk_over_a_store_gives_its_memory_back(tmp_path, compression):
    folder = tmp_path / "f"
    folder.mkdir()
    rng, side = np.random.default_rng(0), 64
    writer = ShardWriter(
        folder, source="film", shapes={"colour": (3, side, side)}, shard_bytes=1 << 20, facts={}, compression=compression
    )
    shown = rng.integers(0, 256, (300, 3, side, side), np.uint8)
    for number, picture in enumerate(shown):
        writer.add({"colour": picture}, frame=number, time=number / 24)
    writer.close()
    store = FrameStore(folder)
    assert np.array_equal(store.colour(range(300)), shown)
    read = resident(folder)
    assert read > 3 << 20, "all of it was touched"
    seen, most = [], 0
    store.release()
    for rows in store.walk(50):
        seen.append(store.colour(rows))
        most = max(most, resident(folder))
    assert np.array_equal(np.concatenate(seen), shown) and most < 0.8 * read
    assert resident(folder) == 0 and np.array_equal(store.colour([299, 0]), shown[[299, 0]])


# ------------------------------------------------------------------------------------------------------- places


@given(data=st.data(), clips=st.booleans())
@settings(max_examples=40, deadline=None)
def test_frames_are_located_as_a_join_of_tables_would(tmp_path_factory, data, clips):
    folder = tmp_path_factory.mktemp("located")
    stores = []
    for source in ("a", "b"):
        writer = writer_of(folder / source, pair=False, source=source)
        frames = data.draw(st.lists(st.integers(0, 99), min_size=1, max_size=30, unique=True), label=source)
        for number, frame in enumerate(frames):
            extra = {"clip": f"c{number // 4}"} if clips and source == "b" else {}
            writer.add({"colour": pictures(1)[0, :3]}, frame=frame, time=number / 3, **extra)
        writer.close()
        stores.append(FrameStore(folder / source))
    index = pd.concat([store.table.assign(store=place, at=range(len(store))) for place, store in enumerate(stores)])
    index["clip"] = index["clip"].fillna("") if "clip" in index else ""
    chosen = data.draw(st.lists(st.integers(0, len(index) - 1), unique=True))
    table = index.iloc[chosen][["source", "frame"]].assign(split="train", keep=True)
    columns = ["source", "frame", "time", "height", "width", "clip", "store", "at"]
    found, expected = located(table, stores), table.merge(index[columns], on=["source", "frame"], how="left")
    pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)
    pd.testing.assert_frame_equal(located(table.astype({"source": "category"}), stores)[["store", "at"]], found[["store", "at"]])
    for wrong in ({"source": "a", "frame": 100}, {"source": "c", "frame": 1}):
        with pytest.raises(
            UserError, match=f"Frame {wrong['frame']} of {wrong['source']} is in the filter table but in no frame"
        ):
            located(pd.concat([table, pd.DataFrame([wrong])]), stores)
    if len(table):
        with pytest.raises(UserError, match=r"is twice in the filter table"):
            located(pd.concat([table, table.iloc[[0]]]), stores)
