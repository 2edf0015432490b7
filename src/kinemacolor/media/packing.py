"""Pack the photographs of a folder or an archive into the tar and the table of `gallery`, in the order of their names.

Every picture is decoded once, so that no later stage meets a broken one; what cannot be decoded is left out and named. Of
equal files only the first is kept, lest one photograph stand in two parts of a split.
Names from an archive are only ever text: in the tar the pictures have numbers. The same pictures give the same bytes.
However many there are, memory holds a few at a time, and sixteen bytes for each that was packed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.media import gallery
from kinemacolor.media.archive import members
from kinemacolor.media.gallery import COLUMNS, PicturesRecord
from kinemacolor.media.listing import PICTURES, files_below, readable, refuse_too_many_broken
from kinemacolor.media.lookup import Lookup
from kinemacolor.media.pictures import LARGEST, BrokenPicture, quietly, size_of
from kinemacolor.media.selection import Selection
from kinemacolor.params import ImagesSource

LEFT_OUT = "left_out.jsonl"
NAMED = 1000  # of what is left out, in source.json; all the others too in a file of lines

_ROWS = 4096  # of the table that are written together
_TOGETHER = 32  # pictures that a thread looks at in one go
_BYTES_TOGETHER = 8 << 20

_Entry = tuple[str, bytes]  # name, and where it lies
_Read = Callable[[str, bytes], bytes]


class Packed(NamedTuple):
    """What was packed."""

    record: PicturesRecord
    broken: list[dict[str, str]]
    """Name and reason of the first pictures that were left out, in the order of names."""
    broken_count: int
    """How many in all."""
    duplicates: list[dict[str, str]]
    """Names of the first pictures that were left out as the same file as another, and that one's name (same_as), in the order
    of names."""
    duplicates_count: int
    digest: str
    """sha256 over the names and sha256s of all pictures that were packed: equal if and only if the pictures are."""


class _Looked(NamedTuple):
    """A picture file that was looked at."""

    name: str
    data: bytes
    sha256: str
    height: int
    width: int
    reason: str | None
    """Why it is no picture; None if it is one."""


def pack(
    source: ImagesSource,
    place: Path,
    folder: Path,
    *,
    key: str | None,
    check: Callable[[str, str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    named: int = NAMED,
) -> Packed:
    """Write pictures.tar and pictures.parquet into `folder`, and left_out.jsonl if more was left out than can be named.

    Args:
        source: which pictures, and how many may be broken.
        place: the folder or archive that holds them.
        key: where the source stands in params.yaml, for error messages.
        check: called with each good picture's name and sha256; may raise.
        progress: called with pictures done and pictures in all.
        threads: that decode; as many as cores if None. The result does not depend on it.
        named: how many of the pictures that were left out are named in what is returned.

    Raises:
        UserError: there is no picture, too many are broken, or the archive is damaged.
    """
    digest = hashlib.sha256()
    rows: list[tuple[Any, ...]] = []
    sides: tuple[int, ...] = ()
    done = count = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(quietly())
        entries, read = _opened(place, folder, stack, key)
        which = {"pattern": source.pattern, "suffixes": PICTURES, "limit": source.limit, "seed": source.seed}
        selection = stack.enter_context(Selection(entries, **which, scratch=folder))
        if not len(selection):
            fits = f" that fits {source.pattern!r}" if source.pattern else ""
            raise UserError(f"{place} holds no picture{fits}: correct {key or 'the path'}.")
        first = stack.enter_context(Lookup(folder))  # names by sha256
        left_out = _LeftOut(stack.enter_context(open(folder / LEFT_OUT, "w", encoding="utf-8")), named)
        tar = stack.enter_context(_Tar(folder / gallery.TAR))
        table = stack.enter_context(pq.ParquetWriter(folder / gallery.TABLE, COLUMNS))
        for done, looked in enumerate(_looked_at(selection, read, threads), start=1):
            if progress:
                progress(done, len(selection))
            if looked.reason is not None:
                left_out.add("broken", {"name": looked.name, "reason": looked.reason})
                if left_out.count["broken"] > named:  # who would only hear of it at the end has waited for nothing
                    left_out.refuse(len(selection), source.max_broken, key)
                continue
            if check:
                check(looked.name, looked.sha256)
            if (same := first.get(sum_ := bytes.fromhex(looked.sha256))) is not None:
                left_out.add("duplicates", {"name": looked.name, "same_as": same.decode()})
                continue
            first.add(sum_, looked.name.encode())
            digest.update(f"{looked.name}\0{looked.sha256}\n".encode())
            suffix = os.path.splitext(looked.name)[1].lower()
            offset = tar.add(f"{count:08d}{suffix if suffix in PICTURES else ''}", looked.data)
            rows.append((looked.name, gallery.TAR, offset, len(looked.data), looked.sha256, looked.width, looked.height))
            count += 1
            if len(rows) == _ROWS:
                sides = _flush(table, rows, sides)
        if rows:
            sides = _flush(table, rows, sides)
    left_out.refuse(done, source.max_broken, key)
    if not count:
        raise UserError(f"None of the {done} pictures of {place} can be read: correct {key or 'the path'}.")
    if not left_out.exceeds:
        (folder / LEFT_OUT).unlink()
    sums = {gallery.TAR: tar.sha256, gallery.TABLE: sha256_of(folder / gallery.TABLE)}
    files = tuple((name, sha256, (folder / name).stat().st_size) for name, sha256 in sums.items())
    record = PicturesRecord(count, (sides[0], sides[1]), (sides[2], sides[3]), files)
    names, counts = left_out.named, left_out.count
    return Packed(record, names["broken"], counts["broken"], names["duplicates"], counts["duplicates"], digest.hexdigest())


def _opened(place: Path, scratch: Path, stack: contextlib.ExitStack, key: str | None) -> tuple[Iterator[_Entry], _Read]:
    """Names of all files with where each lies, and a function that reads one of them."""
    if place.is_dir():
        return ((name, b"") for name in files_below(place)), lambda name, _: _file(os.path.join(place, name))
    opened = stack.enter_context(members(place, scratch, key=key or "the path"))

    def read(name: str, where: bytes) -> bytes:
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError("its name leads out of the archive")
        return opened.read(where, LARGEST)

    return (entry for entry in opened.entries() if not _is_hidden(entry[0])), read


def _is_hidden(name: str) -> bool:
    """Whether a system's own file, such as a Mac's __MACOSX/._picture.jpg."""
    return any(part.startswith("._") or part == "__MACOSX" for part in name.split("/"))


def _file(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
        return file.readall()


def _looked_at(entries: Iterator[_Entry] | Selection, read: _Read, threads: int | None) -> Iterator[_Looked]:
    """Read and decode each file, in order, on several threads, a few at a time each: fewer of large files, so that what waits
    stays small."""
    threads = threads or min(8, os.cpu_count() or 1)
    remaining, together = iter(entries), 1
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[_Looked]]] = deque()
        try:
            while True:
                while len(waiting) < threads + 2 and (some := list(islice(remaining, together))):
                    waiting.append(pool.submit(_look_at_some, some, read))
                if not waiting:
                    return
                found = waiting.popleft().result()
                largest = max(len(looked.data) for looked in found)
                together = max(1, min(_TOGETHER, 2 * together, _BYTES_TOGETHER // max(1, largest)))
                yield from found
        finally:
            for future in waiting:
                future.cancel()


def _look_at_some(entries: list[_Entry], read: _Read) -> list[_Looked]:
    return [_look(name, where, read) for name, where in entries]


def _look(name: str, where: bytes, read: _Read) -> _Looked:
    shown = readable(name)
    try:
        data = read(name, where)
        height, width = size_of(data)
    except BrokenPicture as error:
        return _Looked(shown, b"", "", 0, 0, str(error))
    except (ValueError, OSError) as error:
        return _Looked(shown, b"", "", 0, 0, getattr(error, "strerror", None) or str(error))
    return _Looked(shown, data, hashlib.sha256(data).hexdigest(), height, width, None)


class _LeftOut:
    """What is left out and why: the first of each kind by name, the others counted, and all of them as lines of a file."""

    def __init__(self, lines: Any, most: int) -> None:
        self._lines, self._most = lines, most
        self.named: dict[str, list[dict[str, str]]] = {"broken": [], "duplicates": []}
        self.count = {"broken": 0, "duplicates": 0}

    def add(self, kind: str, entry: dict[str, str]) -> None:
        self.count[kind] += 1
        if len(self.named[kind]) < self._most:
            self.named[kind].append(entry)
        self._lines.write(json.dumps(entry, ensure_ascii=False) + "\n")

    @property
    def exceeds(self) -> bool:
        """Whether more was left out than is named."""
        return max(self.count.values()) > self._most

    def refuse(self, of: int, share: float, key: str | None) -> None:
        """Raise if more than a share of so many pictures are broken."""
        broken = self.named["broken"]
        refuse_too_many_broken(broken, of, share, number=self.count["broken"], key=key, what="pictures")


_HEAD = b"%b0000644\0" + b"0000000\0" * 2 + b"%011o\0" + b"00000000000\0" + b"%b0" + bytes(100) + b"ustar\x0000" + bytes(247)
"""Of a file in a tar: its name, bytes, and the sum of the head; all else is nobody's, and of no time."""


class _Tar:
    """Writes a tar: the same bytes at any time and for any user, as tarfile does, which would remember every member."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=1 << 20)  # noqa: SIM115 - closed by __exit__
        self._sum = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._write(bytes(-(self._size + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE + 2 * tarfile.BLOCKSIZE))
        self._file.close()

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._sum.hexdigest()

    def add(self, name: str, data: bytes) -> int:
        """Append a file; where its content begins."""
        about = name.encode().ljust(100, b"\0"), len(data)
        self._write(_HEAD % (*about, b"%06o\0 " % sum(_HEAD % (*about, b" " * 8))))
        offset = self._size
        self._write(data)
        self._write(bytes(-len(data) % tarfile.BLOCKSIZE))
        return offset

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sum.update(data)
        self._size += len(data)


def _flush(table: pq.ParquetWriter, rows: list[tuple[Any, ...]], sides: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Write the rows and forget them; least and greatest width and height among them and what is known of those before."""
    columns = list(zip(*rows, strict=True))
    rows.clear()
    table.write_table(
        pa.table([pa.array(column, field.type) for column, field in zip(columns, COLUMNS, strict=True)], schema=COLUMNS)
    )
    *_, widths, heights = columns
    least = (*sides[:2], min(widths), min(heights))
    most = (*sides[2:], max(widths), max(heights))
    return min(least[::2]), min(least[1::2]), max(most[::2]), max(most[1::2])
