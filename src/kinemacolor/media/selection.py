"""Which of a million files are meant, in the order of their names: chosen and drawn as `listing` does it, held on disk.

The order is that of the names' characters, whatever the order in which a file system or an archive has them.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from kinemacolor.media.listing import matches
from kinemacolor.media.sorting import Sorter, last_of_equal

_LENGTH = struct.Struct("<I")


class Selection:
    """The files that are meant, each as its name and where it lies; equal to `drawn(chosen(...))`. A context manager.

    Args:
        entries: names and where each lies, in any order; of equal names the last is meant.
        pattern: which names; see `listing.matches`. None for those with one of the suffixes.
        suffixes: in small letters, with their dots.
        limit: how many to draw; all if None.
        seed: of the draw.
        scratch: a folder on a disk with room for the names.
        run_bytes: about what is held in memory.
    """

    def __init__(
        self,
        entries: Iterable[tuple[str, bytes]],
        *,
        pattern: str | None,
        suffixes: frozenset[str],
        limit: int | None,
        seed: int,
        scratch: Path,
        run_bytes: int = 16 << 20,
    ) -> None:
        with contextlib.ExitStack() as stack:
            self._sorter = stack.enter_context(Sorter(scratch, run_bytes=run_bytes))
            meant = (entry for entry in entries if _is_meant(entry[0], pattern, suffixes))
            for name, where in meant if limit is None else _drawn(meant, limit, seed, scratch, run_bytes):
                # With `surrogatepass` bytes are in the order of characters, those that are no UTF-8 too.
                self._sorter.add(name.encode("utf-8", "surrogatepass"), where)
            self._stack = stack.pop_all()

    def __enter__(self) -> Selection:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __len__(self) -> int:
        """How many files; an archive's that have one name count each."""
        return len(self._sorter)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Name and whereabouts of each, in order."""
        return ((key.decode("utf-8", "surrogatepass"), where) for key, where in last_of_equal(self._sorter))


def _is_meant(name: str, pattern: str | None, suffixes: frozenset[str]) -> bool:
    return os.path.splitext(name)[1].lower() in suffixes if pattern is None else matches(name, pattern)


def _drawn(
    entries: Iterable[tuple[str, bytes]], limit: int, seed: int, scratch: Path, run_bytes: int
) -> Iterator[tuple[str, bytes]]:
    """The entries whose names' hashes with the seed are lowest, in the order of the hashes."""
    with Sorter(scratch, run_bytes=run_bytes) as draws:
        for name, where in entries:
            draw = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest()
            text = name.encode("utf-8", "surrogatepass")
            draws.add(draw, _LENGTH.pack(len(text)) + text + where)
        for _, value in itertools.islice(last_of_equal(draws), limit):
            end = _LENGTH.size + _LENGTH.unpack_from(value)[0]
            yield value[_LENGTH.size : end].decode("utf-8", "surrogatepass"), value[end:]
