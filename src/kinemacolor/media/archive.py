"""Take one file out of an archive, or out of an archive inside an archive, and nothing else.

Only the bytes of the named member are read, and they go to a path that the caller chose: no name from an archive ever
becomes a path, so a hostile archive cannot write anywhere. Links and devices are refused.
"""

from __future__ import annotations

import contextlib
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file

_BLOCK = 1 << 20
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError)


def extract(archive: Path, members: Sequence[str], target: Path, *, key: str) -> None:
    """Write the last of `members` to `target`: the first is found in `archive`, each further one in the one before.

    Inner archives pass through an unnamed temporary file beside `target`, block by block.

    Args:
        archive: a tar, compressed or not, or a zip (so a wheel too).
        key: where the members stand in params.yaml, for error messages.

    Raises:
        UserError: a member is missing or is no plain file, or an archive is damaged or none.
    """
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(atomic_file(target))
        outer: IO[bytes] = stack.enter_context(open(archive, "rb"))
        place = archive.name
        for member in members[:-1]:
            inner = stack.enter_context(tempfile.TemporaryFile(dir=target.parent))
            _copy_member(outer, member, inner, place, key)
            outer, place = inner, f"{place}/{member}"
        with open(temporary, "wb") as file:
            _copy_member(outer, members[-1], file, place, key)


def _copy_member(archive: IO[bytes], member: str, target: IO[bytes], place: str, key: str) -> None:
    """Copy one member of an open archive into an open file."""
    archive.seek(0)
    try:
        with _opened(archive, member, place, key) as content:
            shutil.copyfileobj(content, target, _BLOCK)
    except KeyError:
        raise UserError(f"{place} holds no {member}: correct {key}.") from None
    except (*_DAMAGED, OSError) as error:
        # gzip's BadGzipFile and bz2's errors are OSErrors that no system call gave; a full disk is another matter.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{place} is no tar or zip, or a damaged one: run again to fetch it anew, or correct {key}.") from error


@contextlib.contextmanager
def _opened(archive: IO[bytes], member: str, place: str, key: str) -> Iterator[IO[bytes]]:
    """Open one member for reading. A KeyError says that there is none of that name."""
    refusal = UserError(f"{member} in {place} is no plain file: correct {key}.")
    if zipfile.is_zipfile(archive):
        archive.seek(0)
        with zipfile.ZipFile(archive) as zipped:
            entry = zipped.getinfo(member)
            kind = entry.external_attr >> 28  # the file type of a Unix mode: 8 is a plain file, 0 is not said
            if entry.is_dir() or kind not in (0, 8):
                raise refusal
            with zipped.open(entry) as content:
                yield content
        return
    archive.seek(0)
    with tarfile.open(fileobj=archive, mode="r:*") as tarred:
        entry = tarred.getmember(member)
        if not entry.isreg():
            raise refusal
        with tarred.extractfile(entry) as content:
            yield content
