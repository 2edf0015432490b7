"""What keeps a million files out of memory: sorting, choosing, drawing and looking up on disk give what lists and dicts give."""

from __future__ import annotations

import hashlib
import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.errors import UserError
from kinemacolor.media.ledger import Differs
from kinemacolor.media.listing import PICTURES, chosen, drawn, files_below
from kinemacolor.media.lookup import Lookup
from kinemacolor.media.picture_ledger import PictureLedger
from kinemacolor.media.selection import Selection
from kinemacolor.media.sorting import Sorter, last_of_equal

HERE = Path(tempfile.gettempdir())
RECORDS = st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=9)), max_size=60)
# Letters whose order in UTF-16, in UTF-8 with escapes and by character differ, and a byte that is no UTF-8 (\udcff).
LETTERS = st.sampled_from("abAB/.- äΩ\uffee\U0001f600\udcff\udc80")
NAMES = st.lists(
    st.builds("{}{}".format, st.text(LETTERS, max_size=5), st.sampled_from([".png", ".JPG", ".txt", ""])), max_size=40
)


@given(records=RECORDS, run_bytes=st.sampled_from([1, 400, 1 << 20]))
@settings(max_examples=80, deadline=None)
def test_sorting_on_disk_is_sorting(records: list[tuple[bytes, bytes]], run_bytes: int) -> None:
    with Sorter(HERE, run_bytes=run_bytes) as sorter:
        for record in records:
            sorter.add(*record)
        assert len(sorter) == len(records)
        stable = sorted(records, key=lambda record: record[0])
        assert list(sorter) == stable == list(sorter), "twice the same"
        assert list(last_of_equal(sorter)) == sorted(dict(records).items())


def test_a_record_larger_than_a_run_is_one_of_many() -> None:
    with Sorter(HERE, run_bytes=1000) as sorter:
        for number in range(9):
            sorter.add(bytes([9 - number]), bytes([number]) * 20_000)
        assert [(key[0], len(value)) for key, value in sorter] == [(number, 20_000) for number in range(1, 10)]


@pytest.mark.parametrize("count", [4_000, 40_000])
def test_sorting_holds_a_run_and_no_more(tmp_path: Path, count: int) -> None:
    run_bytes = 100_000
    tracemalloc.start()
    try:
        with Sorter(tmp_path, run_bytes=run_bytes) as sorter:
            for number in range(count):
                sorter.add(hashlib.sha256(str(number).encode()).digest(), b"where it lies")
            last = b""
            for key, _ in sorter:
                assert key > last
                last = key
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    runs = count * (32 + 13 + 160) / run_bytes
    assert most < 3 * run_bytes + runs * 8_000, "the share of every run that is read is 4 KiB at least"


@given(
    names=NAMES,
    pattern=st.sampled_from([None, "*a*", "*.png", "a?*"]),
    limit=st.sampled_from([None, 1, 3, 30]),
    seed=st.integers(0, 3),
    run_bytes=st.sampled_from([1, 700, 1 << 20]),
)
@settings(max_examples=150, deadline=None)
def test_a_selection_is_what_lists_choose_and_draw(
    names: list[str], pattern: str | None, limit: int | None, seed: int, run_bytes: int
) -> None:
    entries = [(name, str(place).encode()) for place, name in enumerate(names)]
    which = {"pattern": pattern, "suffixes": PICTURES}
    expected = drawn(chosen(names, **which), limit=limit, seed=seed)
    with Selection(entries, **which, limit=limit, seed=seed, scratch=HERE, run_bytes=run_bytes) as selection:
        assert list(selection) == [(name, dict(entries)[name]) for name in expected], "of equal names the last"
        assert len(selection) >= len(expected) and (limit is None or len(selection) == len(expected))


@given(
    keys=st.lists(st.binary(max_size=3), max_size=80),
    hash_bytes=st.sampled_from([1, 8]),
    recent=st.sampled_from([1, 7, 1000]),
)
@settings(max_examples=80, deadline=None)
def test_a_lookup_is_a_dictionary_even_where_hashes_collide(keys: list[bytes], hash_bytes: int, recent: int) -> None:
    known: dict[bytes, bytes] = {}
    with Lookup(HERE, hash_bytes=hash_bytes, recent=recent) as lookup:
        for number, key in enumerate(keys):
            assert lookup.get(key) == known.get(key)
            if key not in known:
                known[key] = str(number).encode() * (number % 300)
                lookup.add(key, known[key])
        assert list(lookup) == list(known.items())
        assert all(lookup.get(key) == value for key, value in known.items())


def test_a_lookup_holds_sixteen_bytes_a_record(tmp_path: Path) -> None:
    count = 60_000
    tracemalloc.start()
    try:
        with Lookup(tmp_path, recent=1000) as lookup:
            for number in range(count):
                lookup.add(hashlib.sha256(str(number).encode()).digest(), f"folder/{number:09d}.jpg".encode())
            held = tracemalloc.get_traced_memory()[0]
            assert lookup.get(hashlib.sha256(b"31415").digest()) == b"folder/000031415.jpg"
    finally:
        tracemalloc.stop()
    assert held < 16 * count + (1 << 20) + 1000 * 300, "and the block that waits to be written, and the recent ones"


def test_a_ledger_of_photographs_is_read_and_written_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "pictures.sha256"
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("b/ä.png", "a b.jpg", "\\xff.gif", "Ω.png")}
    with PictureLedger(path) as ledger:
        for name, sha256 in sums.items():
            ledger.check(name, sha256)
            ledger.check(name, sha256)
        ledger.save()
    assert path.read_text(encoding="utf-8") == "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    with PictureLedger(path) as ledger:
        with pytest.raises(Differs, match=r"^a b\.jpg has sha256 0{64}, but .* when it was first taken: to accept it, delete "):
            ledger.check("a b.jpg", "0" * 64)
        ledger.check("c.png", "1" * 64)
        ledger.save()
    assert path.read_text(encoding="utf-8").splitlines()[3] == f"{'1' * 64}  c.png"
    path.write_text("anything\n")
    with pytest.raises(
        UserError, match=r"pictures\.sha256 has a line that is no sha256 and a name \('anything'\): delete the file\.$"
    ):
        PictureLedger(path)


# ------------------------------------------------------------------------------------------------------- walking


def test_a_folder_is_told_as_it_is_read(tmp_path: Path) -> None:
    """Of a folder with very many files the first comes before the last was seen: nothing waits for the whole list."""
    for number in range(3000):
        (tmp_path / f"{number:04d} with quite a long name, so that names weigh.png").touch()
    tracemalloc.start()
    try:
        count = sum(1 for _ in files_below(tmp_path))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3000 and most < 100_000


def test_links_are_followed_once_whatever_the_file_system_lists_first(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    for name in ("a/one.png", "b/deep/two.png", ".hidden/three.png", "c/.four.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/five.png").touch()
    os.symlink("..", root / "a/up")
    os.symlink("../b", root / "a/sibling")
    os.symlink("../other", root / "z")
    os.symlink("../other", root / "y")
    os.symlink(".hidden", root / "shown")
    os.symlink("nowhere", root / "broken.png")
    os.symlink("a/one.png", root / "link.png")
    expected = ["a/one.png", "b/deep/two.png", "broken.png", "link.png", "shown/three.png", "y/five.png"]
    assert sorted(files_below(root)) == expected
