"""Take one file out of an archive, or out of an archive inside an archive; or read its files one by one.

Only the bytes of the named member are read, and they go to a path that the caller chose: no name from an archive ever
becomes a path, so a hostile archive cannot write anywhere. Links and devices are refused.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file

_BLOCK = 1 << 20
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, NotImplementedError)


class _CutOff(tarfile.ReadError):
    """A tar without the empty block that ends one."""


class DamagedArchive(UserError):
    """A file that is no archive, or not a whole one."""


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
        raise UserError(_sentence(place, key, error)) from error


def _sentence(place: object, key: str, error: Exception) -> str:
    what = "is a tar that was cut off before its end" if isinstance(error, _CutOff) else "is no tar or zip, or a damaged one"
    return f"{place} {what}: run again to fetch it anew, or correct {key}."


def _is_tar(archive: IO[bytes]) -> bool:
    """Whether an open file begins as a tar does, compressed or not.

    Asked before whether it is a zip, which is told by its end: a tar may end with a small zip that is stored in it.
    """
    archive.seek(0)
    head = archive.read(tarfile.BLOCKSIZE)
    archive.seek(0)
    if head.startswith(tuple(_COMPRESSED)):
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")  # by its checksum, so also those from before `ustar`
    except tarfile.TarError:
        return False
    return True


def _all_of(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """All members of a tar, which must end as one: tarfile takes the end of the file, or nonsense, for the end of the tar.

    Raises:
        _CutOff: it does not.
    """
    found = tar.getmembers()
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise _CutOff("no empty block behind the last member")
    return found


@contextlib.contextmanager
def _opened(archive: IO[bytes], member: str, place: str, key: str) -> Iterator[IO[bytes]]:
    """Open one member for reading. A KeyError says that there is none of that name."""
    refusal = UserError(f"{member} in {place} is no plain file: correct {key}.")
    if not _is_tar(archive) and zipfile.is_zipfile(archive):
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
        _all_of(tarred)
        entry = tarred.getmember(member)
        if not entry.isreg():
            raise refusal
        with tarred.extractfile(entry) as content:
            yield content


class Members(NamedTuple):
    """The plain files of an open archive."""

    names: list[str]
    """As the archive has them, each once, in no order."""
    read: Callable[[str, int], bytes]
    """The content of one by its name, of no more than so many bytes. A ValueError says that it is larger or damaged."""


@contextlib.contextmanager
def members(archive: Path, scratch: Path, *, key: str) -> Iterator[Members]:
    """Open an archive to read its files in any order.

    A compressed tar can only be read from its beginning, so it is unpacked, still as a tar, into a file without a name.

    Args:
        archive: a zip, or a tar, plain or compressed by gzip, bzip2 or xz.
        scratch: a folder on a disk with room for the unpacked tar.
        key: where the archive stands in params.yaml, for error messages.

    Raises:
        DamagedArchive: it is neither, or damaged.
    """
    with contextlib.ExitStack() as stack:
        try:
            file: IO[bytes] = stack.enter_context(open(archive, "rb"))
            if not _is_tar(file) and zipfile.is_zipfile(file):
                opened = _of_zip(stack.enter_context(zipfile.ZipFile(file)))
            else:
                opened = _of_tar(stack.enter_context(tarfile.open(fileobj=_plain_tar(file, scratch, stack), mode="r:")))
        except (*_DAMAGED, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DamagedArchive(_sentence(archive, key, error)) from error
        yield opened


def _plain_tar(file: IO[bytes], scratch: Path, stack: contextlib.ExitStack) -> IO[bytes]:
    """An uncompressed tar: the file itself, or its unpacked content."""
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    for mark, unpacked in _COMPRESSED.items():
        if head.startswith(mark):
            plain: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115
            shutil.copyfileobj(unpacked(file), plain, _BLOCK)
            plain.seek(0)
            return plain
    return file


def _of_zip(archive: zipfile.ZipFile) -> Members:
    # The file type of a Unix mode: 8 is a plain file, 0 is not said.
    plain = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir() and entry.external_attr >> 28 in (0, 8)}

    def read(name: str, limit: int) -> bytes:
        try:
            with archive.open(plain[name]) as content:
                return _at_most(content, limit)
        except (*_DAMAGED, OSError) as error:
            raise ValueError(str(error)) from error

    return Members(list(plain), read)


def _of_tar(archive: tarfile.TarFile) -> Members:
    plain = {entry.name: entry for entry in _all_of(archive) if entry.isreg() and not entry.issparse()}

    def read(name: str, limit: int) -> bytes:
        try:
            with archive.extractfile(plain[name]) as content:
                return _at_most(content, limit)
        except (*_DAMAGED, OSError) as error:
            raise ValueError(str(error)) from error

    return Members(list(plain), read)


def _at_most(content: IO[bytes], limit: int) -> bytes:
    """All that a file holds; what the archive says of its size is not believed."""
    data = content.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit >> 20} MiB")
    return data
