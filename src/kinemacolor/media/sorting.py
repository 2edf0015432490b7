"""Sort more records than memory should hold: sorted runs of bounded size in a file without a name, merged as they are read."""

from __future__ import annotations

import heapq
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path

_HEAD = struct.Struct("<II")  # bytes of key and value
_OBJECTS = 160  # what Python spends on a record beyond its bytes
_LEAST_READ = 4096


class Sorter:
    """Records, each a key and a value, that come in any order and are read in the order of their keys.

    Of equal keys the one that came first is read first. A context manager; it may be read several times, but takes no further
    record once it was.

    Args:
        scratch: a folder on a disk with room for all records.
        run_bytes: about what is held in memory, while records come as while they are read.
    """

    def __init__(self, scratch: Path, *, run_bytes: int = 16 << 20) -> None:
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by __exit__
        self._run_bytes = run_bytes
        self._held: list[tuple[bytes, bytes]] = []
        self._held_bytes = 0
        self._runs: list[tuple[int, int]] = []  # where each begins and ends
        self._count = 0

    def __enter__(self) -> Sorter:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.clear()
        self._file.close()

    def __len__(self) -> int:
        """How many records came."""
        return self._count

    def add(self, key: bytes, value: bytes = b"") -> None:
        """Take a record in."""
        self._held.append((key, value))
        self._count += 1
        self._held_bytes += len(key) + len(value) + _OBJECTS
        if self._held_bytes >= self._run_bytes:
            self._spill()

    def _spill(self) -> None:
        """Write what is held as a run, and forget it."""
        self._held.sort(key=itemgetter(0))
        begin = self._file.tell()
        for key, value in self._held:
            self._file.write(_HEAD.pack(len(key), len(value)) + key + value)
        self._file.flush()
        self._runs.append((begin, self._file.tell()))
        self._held.clear()
        self._held_bytes = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """The records in order."""
        if not self._runs:  # few enough to need no file
            self._held.sort(key=itemgetter(0))
            return iter(self._held)
        if self._held:
            self._spill()
        share = max(_LEAST_READ, self._run_bytes // len(self._runs))
        return heapq.merge(*(self._run(begin, end, share) for begin, end in self._runs), key=itemgetter(0))

    def _run(self, place: int, end: int, share: int) -> Iterator[tuple[bytes, bytes]]:
        """The records of one run, a share of which is read at a time."""
        block, at = b"", 0
        while place < end or at < len(block):
            if len(block) - at < _HEAD.size or len(block) - at < _HEAD.size + sum(_HEAD.unpack_from(block, at)):
                wanted = _HEAD.size + sum(_HEAD.unpack_from(block, at)) if len(block) - at >= _HEAD.size else 0
                more = os.pread(self._file.fileno(), min(max(share, wanted), end - place), place)
                block, at, place = block[at:] + more, 0, place + len(more)
                continue
            key_size, value_size = _HEAD.unpack_from(block, at)
            at += _HEAD.size
            yield block[at : at + key_size], block[at + key_size : at + key_size + value_size]
            at += key_size + value_size


def last_of_equal(records: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Of sorted records with equal keys only the last."""
    kept: tuple[bytes, bytes] | None = None
    for record in records:
        if kept is not None and kept[0] != record[0]:
            yield kept
        kept = record
    if kept is not None:
        yield kept
