"""Take one file out of an archive, or out of an archive inside an archive; or read its files one by one.

Only the bytes of the named member are read, and they go to a path that the caller chose: no name from an archive ever
becomes a path, so a hostile archive cannot write anywhere. Links and devices are refused.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.media.zip_directory import ZipDirectory

_BLOCK = 1 << 20
_FOLD = 200  # times the bytes of its archive that a content may have: what is worth packing is packed far less
_HARMLESS = 1 << 30  # bytes that it may have however well it was packed
_SPARE = 64 << 20  # bytes that are left free on the disk
_WHERE = struct.Struct("<QQ")  # offset and bytes of a member of a tar
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
        UserError: a member is missing or is no plain file, an archive is damaged or none, or unpacks into more than is
            sensible or than the disk has room for.
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
            _copy(content, target, _size_of(archive), place, key)
    except KeyError:
        raise UserError(f"{place} holds no {member}: correct {key}.") from None
    except (*_DAMAGED, OSError) as error:
        # gzip's BadGzipFile and bz2's errors are OSErrors that no system call gave; a full disk is another matter.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(_sentence(place, key, error)) from error


def _copy(content: IO[bytes], target: IO[bytes], packed: int, place: object, key: str) -> None:
    """Copy what an archive of `packed` bytes holds, unless it is far too much.

    Raises:
        UserError: it is a bomb, or would fill the disk.
    """
    done = 0
    while block := content.read(_BLOCK):
        done += len(block)
        if done > max(_HARMLESS, _FOLD * packed):
            raise UserError(
                f"{place} unpacks into more than {_FOLD} times its {packed} bytes, as no honest archive does: correct {key}."
            )
        room = os.fstatvfs(target.fileno())
        if room.f_bavail * room.f_frsize < _SPARE + len(block):
            raise UserError(f"{place} unpacks into more than the disk has room for: make room, or correct {key}.")
        target.write(block)


def _size_of(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


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


def _each_of(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, which must end as one: tarfile takes the end of the file, or nonsense, for the end of the tar.

    Raises:
        _CutOff: it does not.
    """
    while (entry := tar.next()) is not None:
        yield entry
        tar.members.clear()  # or it would remember every one
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise _CutOff("no empty block behind the last member")


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
        entry = None
        for other in _each_of(tarred):
            if other.name == member.rstrip("/"):
                entry = other  # of several the last, which would lie over the others
        if entry is None:
            raise KeyError(member)
        if not entry.isreg():
            raise refusal
        with tarred.extractfile(entry) as content:
            yield content


class Members(NamedTuple):
    """The plain files of an open archive."""

    entries: Callable[[], Iterator[tuple[str, bytes]]]
    """Their names, as the archive has them, each with its whereabouts; in no order. Of one name the last entry is meant. A
    DamagedArchive says that the archive is damaged."""
    read: Callable[[bytes, int], bytes]
    """The content of one by its whereabouts, of no more than so many bytes; several threads may. A ValueError says that it is
    larger or damaged."""


@contextlib.contextmanager
def members(archive: Path, scratch: Path, *, key: str) -> Iterator[Members]:
    """Open an archive to read its files in any order. However many there are, nothing of them is held in memory.

    A compressed tar can only be read from its beginning, so it is unpacked, still as a tar, into a file without a name.

    Args:
        archive: a zip, or a tar, plain or compressed by gzip, bzip2 or xz.
        scratch: a folder on a disk with room for the unpacked tar.
        key: where the archive stands in params.yaml, for error messages.

    Raises:
        DamagedArchive: it is neither, or damaged.
        UserError: it unpacks into more than is sensible or than the disk has room for.
    """
    with contextlib.ExitStack() as stack:
        with _told(archive, key):
            file: IO[bytes] = stack.enter_context(open(archive, "rb"))
            if not _is_tar(file) and zipfile.is_zipfile(file):
                opened = _of_zip(ZipDirectory(file))
            else:
                plain = _plain_tar(file, scratch, stack, archive, key)
                opened = _of_tar(stack.enter_context(tarfile.open(fileobj=plain, mode="r:")), plain.fileno())

        def entries() -> Iterator[tuple[str, bytes]]:
            with _told(archive, key):
                yield from opened.entries()

        yield Members(entries, opened.read)


@contextlib.contextmanager
def _told(archive: Path, key: str) -> Iterator[None]:
    """Say in a sentence that an archive is damaged."""
    try:
        yield
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedArchive(_sentence(archive, key, error)) from error


def _plain_tar(file: IO[bytes], scratch: Path, stack: contextlib.ExitStack, place: Path, key: str) -> IO[bytes]:
    """An uncompressed tar: the file itself, or its unpacked content."""
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    for mark, unpacked in _COMPRESSED.items():
        if head.startswith(mark):
            plain: IO[bytes] = stack.enter_context(tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115
            _copy(unpacked(file), plain, _size_of(file), place, key)
            plain.seek(0)
            return plain
    return file


def _of_zip(directory: ZipDirectory) -> Members:
    def entries() -> Iterator[tuple[str, bytes]]:
        for entry, record in directory.entries():
            # The file type of a Unix mode: 8 is a plain file, 0 is not said.
            if not entry.is_dir() and entry.external_attr >> 28 in (0, 8):
                yield entry.filename, record

    def read(record: bytes, limit: int) -> bytes:
        try:
            with directory.opened(record) as content:
                data = content.read(limit + 1)  # what the archive says of its size is not believed
        except (*_DAMAGED, OSError) as error:
            raise ValueError(str(error)) from error
        return _at_most(data, limit)

    return Members(entries, read)


def _of_tar(archive: tarfile.TarFile, descriptor: int) -> Members:
    def entries() -> Iterator[tuple[str, bytes]]:
        for entry in _each_of(archive):
            if entry.isreg() and not entry.issparse():
                yield entry.name, _WHERE.pack(entry.offset_data, entry.size)

    def read(where: bytes, limit: int) -> bytes:
        offset, size = _WHERE.unpack(where)
        data = os.pread(descriptor, min(size, limit + 1), offset)
        if len(data) < min(size, limit + 1):
            raise ValueError("unexpected end of data")
        return _at_most(data, limit)

    return Members(entries, read)


def _at_most(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise ValueError(f"it is larger than {limit >> 20} MiB")
    return data
