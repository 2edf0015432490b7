"""Read a zip of a million members without an object for each: its directory a part at a time, a member by its record alone.

zipfile does all the reading, of names, sizes, methods and checksums, but is never shown the whole directory: what it opens is
the file as far as the directory, and behind that a directory of only the members that are asked for.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zipfile
from collections.abc import Iterator, Sequence
from typing import IO

_ENTRY, _ENTRY_MARK = struct.Struct("<4s24xHHH12x"), b"PK\x01\x02"  # the lengths of name, extra field and comment
_END, _END_MARK = struct.Struct("<4s4HLLH"), b"PK\x05\x06"
_END64, _END64_MARK = struct.Struct("<4sQ2H2L4Q"), b"PK\x06\x06"
_LOCATOR, _LOCATOR_MARK = struct.Struct("<4sLQL"), b"PK\x06\x07"
_BLOCK = 1 << 20
_TOGETHER = 1024  # members that zipfile is shown at once


class ZipDirectory:
    """The directory of an open zip.

    Args:
        file: a file of the system, which stays open.

    Raises:
        zipfile.BadZipFile: it has none.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        length = os.fstat(self._descriptor).st_size
        end = _end(self._descriptor, length)
        _, *_, size, offset, _ = _END.unpack(os.pread(self._descriptor, _END.size, end))
        locator = os.pread(self._descriptor, _LOCATOR.size, max(0, end - _LOCATOR.size))
        if locator.startswith(_LOCATOR_MARK):
            end -= _LOCATOR.size + _END64.size
            large = os.pread(self._descriptor, _END64.size, max(0, end))
            if len(large) == _END64.size and large.startswith(_END64_MARK):
                size, offset = _END64.unpack(large)[-2:]
            else:
                end += _LOCATOR.size + _END64.size
        self._begin, self._size = end - size, size
        self._before = self._begin - offset  # bytes before the zip, such as a program that unpacks it
        if self._begin < 0:
            raise zipfile.BadZipFile("its directory begins before the file does")

    def entries(self) -> Iterator[tuple[zipfile.ZipInfo, bytes]]:
        """What the directory says of each member, and its record, by which `opened` finds the member again; in its order.

        Raises:
            zipfile.BadZipFile: the directory is damaged.
        """
        together: list[bytes] = []
        for record in self._records():
            together.append(record)
            if len(together) == _TOGETHER:
                yield from self._shown(together)
                together = []
        if together:
            yield from self._shown(together)

    @contextlib.contextmanager
    def opened(self, record: bytes) -> Iterator[IO[bytes]]:
        """The content of one member. Raises as zipfile does."""
        with self._zip([record]) as archive, archive.open(archive.infolist()[0]) as content:
            yield content

    def _shown(self, records: Sequence[bytes]) -> Iterator[tuple[zipfile.ZipInfo, bytes]]:
        with self._zip(records) as archive:
            yield from zip(archive.infolist(), records, strict=True)

    def _zip(self, records: Sequence[bytes]) -> zipfile.ZipFile:
        directory = b"".join(records)
        offset, count = self._begin - self._before, len(records)
        end64 = _END64.pack(_END64_MARK, _END64.size - 12, 45, 45, 0, 0, count, count, len(directory), offset)
        locator = _LOCATOR.pack(_LOCATOR_MARK, 0, offset + len(directory), 1)
        end = _END.pack(_END_MARK, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        return zipfile.ZipFile(_Spliced(self._descriptor, self._begin, directory + end64 + locator + end))

    def _records(self) -> Iterator[bytes]:
        block, at, place, left = b"", 0, self._begin, self._size
        while left:
            if len(block) - at < 1 << 18 and place < self._begin + self._size:  # a record is smaller
                more = os.pread(self._descriptor, min(_BLOCK, self._begin + self._size - place), place)
                block, at, place = block[at:] + more, 0, place + max(1, len(more))
            if len(block) - at < _ENTRY.size or not block.startswith(_ENTRY_MARK, at):
                raise zipfile.BadZipFile("its directory is damaged")
            record = block[at : at + _ENTRY.size + sum(_ENTRY.unpack_from(block, at)[1:])]
            if len(record) > left or len(record) < _ENTRY.size + sum(_ENTRY.unpack_from(record)[1:]):
                raise zipfile.BadZipFile("its directory breaks off")
            yield record
            at += len(record)
            left -= len(record)


class _Spliced(io.RawIOBase):
    """A file to its byte `begin`, and something else behind that. Several may read one file at a time."""

    def __init__(self, descriptor: int, begin: int, rest: bytes) -> None:
        self._descriptor, self._begin, self._rest, self._place = descriptor, begin, rest, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._begin + len(self._rest)}[whence]
        if base + offset < 0:
            raise ValueError("a place before the beginning")
        self._place = base + offset
        return self._place

    def readinto(self, buffer: memoryview) -> int:
        if self._place < self._begin:
            data = os.pread(self._descriptor, min(len(buffer), self._begin - self._place), self._place)
        else:
            at = self._place - self._begin
            data = self._rest[at : at + len(buffer)]
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _end(descriptor: int, length: int) -> int:
    """Where the record begins that ends a zip; only a comment may follow."""
    begin = max(0, length - _END.size - 0xFFFF)
    tail = os.pread(descriptor, length - begin, begin)
    if tail[-_END.size :].startswith(_END_MARK) and tail.endswith(b"\0\0"):
        return length - _END.size
    at = tail.rfind(_END_MARK)
    if at < 0 or at + _END.size > len(tail):
        raise zipfile.BadZipFile("it has no directory")
    return begin + at
