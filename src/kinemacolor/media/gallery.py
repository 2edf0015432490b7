"""Thousands of photographs in two files: a tar of the pictures as they came, and a table that says where each lies in it.

pictures.tar is an ordinary uncompressed tar; pictures.parquet has a row for each picture, sorted by name:

    name      its path in the folder or archive that it came from
    file      which tar it lies in
    offset    of its first byte in that tar
    bytes, sha256, width, height (as shown, after the turn that a camera wrote)

Few large files are what DVC handles well, and a picture is read by its offset without looking at the others.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.media.pictures import decode_sound

TAR, TABLE = "pictures.tar", "pictures.parquet"
COLUMNS = pa.schema(
    [
        ("name", pa.string()),
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)


@dataclasses.dataclass(frozen=True)
class PicturesRecord:
    """What source.json says of the photographs of a source."""

    count: int
    smallest: tuple[int, int]
    """Least width and least height."""
    largest: tuple[int, int]
    files: tuple[tuple[str, str, int], ...]
    """Name, sha256 and bytes of the tar and of the table."""

    def to_json(self) -> dict[str, Any]:
        """The entry in source.json."""
        files = [{"file": name, "sha256": sha256, "bytes": size} for name, sha256, size in self.files]
        return dataclasses.asdict(self) | {"smallest": list(self.smallest), "largest": list(self.largest), "files": files}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PicturesRecord:
        """The inverse of `to_json`."""
        files = tuple((entry["file"], entry["sha256"], int(entry["bytes"])) for entry in value["files"])
        if any(Path(name).name != name for name, _, _ in files):
            raise ValueError("the files of a source lie beside source.json")
        return cls(int(value["count"]), tuple(value["smallest"]), tuple(value["largest"]), files)


class Gallery:
    """The photographs of a source, by number in the order of their names; a context manager.

    Of a million, memory holds the names as they lie in the table, and four numbers for each. Several threads may read.

    Args:
        folder: data/raw/<source>.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        path = self._folder / TABLE
        if not pq.read_schema(path).equals(COLUMNS):
            raise UserError(f"{path} is not what the download stage writes: run that stage again.")
        columns = ["name", "file", "offset", "bytes", "width", "height"]
        table = pq.read_table(path, columns=columns, read_dictionary=["file"], use_threads=False).unify_dictionaries()
        self._names = table["name"]
        files = table["file"].combine_chunks() if table.num_rows else pa.array([], pa.string()).dictionary_encode()
        self._files: list[str] = files.dictionary.to_pylist()
        if any(Path(file).name != file for file in self._files):
            raise UserError(f"{path} names a file that does not lie beside it: run the download stage again.")
        self._file = files.indices.to_numpy()
        self._offset, self._bytes, self._width, self._height = (table[column].to_numpy() for column in columns[2:])
        self._open: dict[str, int] = {}

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def __len__(self) -> int:
        return len(self._offset)

    def name(self, number: int) -> str:
        """The picture's path in the folder or archive that it came from."""
        return self._names[number].as_py()

    def names(self, first: int, end: int) -> list[str]:
        """Those of all pictures from `first` to before `end`."""
        return self._names.slice(first, end - first).to_pylist()

    def size(self, number: int) -> tuple[int, int]:
        """Height and width, as shown."""
        return int(self._height[number]), int(self._width[number])

    def data(self, number: int) -> bytes:
        """The picture's file, to the byte."""
        return bytes(self.stretch(number, number + 1)[0])

    def stretch(self, first: int, end: int) -> list[memoryview]:
        """The files of all pictures from `first` to before `end`, with one reading where they lie in one tar."""
        offsets, sizes, files = (column[first:end] for column in (self._offset, self._bytes, self._file))
        if not (files == files[0]).all() or not (np.diff(offsets) >= sizes[:-1]).all():
            return [self.stretch(number, number + 1)[0] for number in range(first, end)]
        begin, length = int(offsets[0]), int(offsets[-1] + sizes[-1] - offsets[0])
        data = memoryview(self._read(self._files[files[0]], begin, length))
        begins = (offsets - begin).tolist()
        return [data[at : at + size] for at, size in zip(begins, sizes.tolist(), strict=True)]

    def stretches(self, *, most: int, most_bytes: int) -> Iterator[tuple[int, int]]:
        """Cut all pictures into runs (first, end) of at most so many, and unless it is one picture, of so many bytes."""
        first = 0
        while first < len(self):
            weights = np.cumsum(self._bytes[first : first + most])
            end = first + max(1, int(np.searchsorted(weights, most_bytes, "right")))
            yield first, end
            first = end

    def _read(self, file: str, offset: int, size: int) -> bytes:
        if file not in self._open:
            opened = os.open(self._folder / file, os.O_RDONLY)
            if self._open.setdefault(file, opened) != opened:  # another thread was first
                os.close(opened)
        data = os.pread(self._open[file], size, offset)
        if len(data) != size:
            raise UserError(f"{self._folder / file} breaks off: remove {self._folder} and run the download stage again.")
        return data

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """The picture, (H, W, 3) uint8 RGB; see `decode_picture`.

        Raises:
            BrokenPicture: it cannot be decoded.
        """
        return decode_sound(self.stretch(number, number + 1)[0])
