"""Find one of millions of records by its key, with sixteen bytes of memory for each: eight of the key's hash, eight that say
where the record lies in a file without a name."""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_HEAD = struct.Struct("<II")  # bytes of key and value
_RECENT = 1 << 16  # hashes that wait in a dictionary until they are sorted in among the others
_BLOCK = 1 << 20


class Lookup:
    """Values by their keys, both bytes. A context manager.

    Args:
        scratch: a folder on a disk with room for all records.
        hash_bytes: of each key that are held in memory; two keys may share them.
        recent: see above; for tests.
    """

    def __init__(self, scratch: Path, *, hash_bytes: int = 8, recent: int = _RECENT) -> None:
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by __exit__
        self._hash_bytes, self._limit = hash_bytes, recent
        self._end = 0
        self._waiting = bytearray()
        self._hashes, self._places = array("Q"), array("q")  # sorted by hash
        self._recent: dict[int, list[int]] = {}

    def __enter__(self) -> Lookup:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is none."""
        hashed = self._hash(key)
        candidates = list(self._recent.get(hashed, ()))
        # Not numpy's search, which lets go of the interpreter's lock and waits longer for it than it searches.
        at = bisect_left(self._hashes, hashed)
        while at < len(self._hashes) and self._hashes[at] == hashed:
            candidates.append(self._places[at])
            at += 1
        for place in candidates:
            found, value = self._record(place)
            if found == key:
                return value
        return None

    def add(self, key: bytes, value: bytes) -> None:
        """Note a key that is not known yet."""
        self._recent.setdefault(self._hash(key), []).append(self._end)
        record = _HEAD.pack(len(key), len(value)) + key + value
        self._waiting += record
        self._end += len(record)
        if len(self._waiting) >= _BLOCK:
            self._write()
        if len(self._recent) >= self._limit:
            self._sort_in()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and values, in the order in which they came."""
        self._write()
        block, at, place = b"", 0, 0
        while place < self._end:
            left = len(block) - at
            if left < _HEAD.size or left < _HEAD.size + sum(_HEAD.unpack_from(block, at)):
                need = _HEAD.size if left < _HEAD.size else _HEAD.size + sum(_HEAD.unpack_from(block, at))
                block, at = os.pread(self._file.fileno(), max(need, _BLOCK), place), 0
                continue
            key_size, value_size = _HEAD.unpack_from(block, at)
            begin = at + _HEAD.size
            yield block[begin : begin + key_size], block[begin + key_size : begin + key_size + value_size]
            at += _HEAD.size + key_size + value_size
            place += _HEAD.size + key_size + value_size

    def _hash(self, key: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(key, digest_size=self._hash_bytes).digest(), "little")

    def _record(self, place: int) -> tuple[bytes, bytes]:
        self._write()
        start = os.pread(self._file.fileno(), 512, place)
        key_size, value_size = _HEAD.unpack_from(start)
        end = _HEAD.size + key_size + value_size
        if end > len(start):
            start = os.pread(self._file.fileno(), end, place)
        return start[_HEAD.size : _HEAD.size + key_size], start[_HEAD.size + key_size : end]

    def _write(self) -> None:
        if self._waiting:
            self._file.write(self._waiting)
            self._file.flush()
            self._waiting.clear()

    def _sort_in(self) -> None:
        """Merge the recent hashes with the sorted ones."""
        count = sum(map(len, self._recent.values()))
        hashes = np.fromiter((hashed for hashed, places in self._recent.items() for _ in places), np.uint64, count)
        places = np.fromiter((place for places in self._recent.values() for place in places), np.int64, count)
        self._recent.clear()
        order = np.argsort(hashes, kind="stable")
        hashes, places = hashes[order], places[order]
        known = np.frombuffer(self._hashes, np.uint64)
        at = np.searchsorted(known, hashes, "right")
        merged = np.insert(known, at, hashes), np.insert(np.frombuffer(self._places, np.int64), at, places)
        self._hashes, self._places = array("Q", merged[0].tobytes()), array("q", merged[1].tobytes())
