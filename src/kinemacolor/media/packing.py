"""Pack the photographs of a folder or an archive into the tar and the table of `gallery`, in the order of their names.

Every picture is decoded once, so that no later stage meets a broken one; what cannot be decoded is left out and named. Of
equal files only the first is kept, lest one photograph stand in two parts of a split.
Names from an archive are only ever text: in the tar the pictures have numbers. The same pictures give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.media import gallery
from kinemacolor.media.archive import members
from kinemacolor.media.gallery import COLUMNS, PicturesRecord
from kinemacolor.media.listing import PICTURES, chosen, drawn, files_below, readable, refuse_too_many_broken
from kinemacolor.media.pictures import LARGEST, BrokenPicture, decode_picture, quietly
from kinemacolor.params import ImagesSource

_ROWS = 4096  # of the table that are written together
_AHEAD = 32  # pictures that are looked at while others are written


class Packed(NamedTuple):
    """What was packed."""

    record: PicturesRecord
    broken: list[dict[str, str]]
    """Name and reason of each picture that was left out, in the order of names."""
    duplicates: list[dict[str, str]]
    """Name of each picture that was left out as the same file as another, and that one's name (same_as), in the order of names."""
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
) -> Packed:
    """Write pictures.tar and pictures.parquet into `folder`.

    Args:
        source: which pictures, and how many may be broken.
        place: the folder or archive that holds them.
        key: where the source stands in params.yaml, for error messages.
        check: called with each good picture's name and sha256; may raise.
        progress: called with pictures done and pictures in all.

    Raises:
        UserError: there is no picture, too many are broken, or the archive is damaged.
    """
    digest = hashlib.sha256()
    broken: list[dict[str, str]] = []
    duplicates: list[dict[str, str]] = []
    first: dict[str, str] = {}  # sha256: name
    rows: list[dict[str, Any]] = []
    sides: list[tuple[int, int, int, int]] = []
    count = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(quietly())
        names, read = _opened(place, folder, stack, key)
        names = drawn(chosen(names, pattern=source.pattern, suffixes=PICTURES), limit=source.limit, seed=source.seed)
        if not names:
            fits = f" that fits {source.pattern!r}" if source.pattern else ""
            raise UserError(f"{place} holds no picture{fits}: correct {key or 'the path'}.")
        tar = stack.enter_context(tarfile.open(folder / gallery.TAR, "w", format=tarfile.USTAR_FORMAT))
        table = stack.enter_context(pq.ParquetWriter(folder / gallery.TABLE, COLUMNS))
        for done, looked in enumerate(_looked_at(names, read), start=1):
            if progress:
                progress(done, len(names))
            if looked.reason is not None:
                broken.append({"name": looked.name, "reason": looked.reason})
                continue
            if check:
                check(looked.name, looked.sha256)
            if (same := first.setdefault(looked.sha256, looked.name)) != looked.name:
                duplicates.append({"name": looked.name, "same_as": same})
                continue
            digest.update(f"{looked.name}\0{looked.sha256}\n".encode())
            suffix = os.path.splitext(looked.name)[1].lower()
            offset = _add(tar, f"{count:08d}{suffix if suffix in PICTURES else ''}", looked.data)
            facts = {"sha256": looked.sha256, "width": looked.width, "height": looked.height}
            rows.append({"name": looked.name, "file": gallery.TAR, "offset": offset, "bytes": len(looked.data)} | facts)
            count += 1
            if len(rows) == _ROWS:
                sides.append(_flush(table, rows))
        if rows:
            sides.append(_flush(table, rows))
    refuse_too_many_broken(broken, len(names), source.max_broken, key=key, what="pictures")
    if not count:
        raise UserError(f"None of the {len(names)} pictures of {place} can be read: correct {key or 'the path'}.")
    files = tuple((name, sha256_of(folder / name), (folder / name).stat().st_size) for name in (gallery.TAR, gallery.TABLE))
    least = min(side[0] for side in sides), min(side[1] for side in sides)
    most = max(side[2] for side in sides), max(side[3] for side in sides)
    return Packed(PicturesRecord(count, least, most, files), broken, duplicates, digest.hexdigest())


def _opened(
    place: Path, scratch: Path, stack: contextlib.ExitStack, key: str | None
) -> tuple[Sequence[str], Callable[[str], bytes]]:
    """Names of all files, and a function that reads one of them."""
    if place.is_dir():
        return list(files_below(place)), lambda name: _file(place / name)
    opened = stack.enter_context(members(place, scratch, key=key or "the path"))

    def read(name: str) -> bytes:
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts:
            raise ValueError("its name leads out of the archive")
        return opened.read(name, LARGEST)

    return [name for name in opened.names if not _is_hidden(name)], read


def _is_hidden(name: str) -> bool:
    """Whether a system's own file, such as a Mac's __MACOSX/._picture.jpg."""
    return any(part.startswith("._") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _file(path: Path) -> bytes:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
    return path.read_bytes()


def _looked_at(names: Sequence[str], read: Callable[[str], bytes]) -> Iterator[_Looked]:
    """Read and decode each file, in order; decoding, which is most of the work, runs on several threads."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting: deque = deque()
        for name in names:
            try:
                waiting.append(pool.submit(_look, readable(name), read(name)))
            except (ValueError, OSError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                waiting.append(pool.submit(_Looked, readable(name), b"", "", 0, 0, reason))
            if len(waiting) == _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _look(name: str, data: bytes) -> _Looked:
    try:
        height, width = decode_picture(data).shape[:2]
    except BrokenPicture as error:
        return _Looked(name, b"", "", 0, 0, str(error))
    return _Looked(name, data, hashlib.sha256(data).hexdigest(), height, width, None)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Append a file to the tar, the same bytes at any time and for any user; where its content begins."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    offset = tar.offset + tarfile.BLOCKSIZE  # a short plain name has a head of one block
    tar.addfile(info, io.BytesIO(data))
    return offset


def _flush(table: pq.ParquetWriter, rows: list[dict[str, Any]]) -> tuple[int, int, int, int]:
    """Write the rows and forget them; least and greatest width and height among them."""
    table.write_table(pa.Table.from_pylist(rows, schema=COLUMNS))
    widths, heights = [row["width"] for row in rows], [row["height"] for row in rows]
    rows.clear()
    return min(widths), min(heights), max(widths), max(heights)
