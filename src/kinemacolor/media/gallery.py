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
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.media.pictures import decode_picture

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

    Args:
        folder: data/raw/<source>.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)
        table = pq.read_table(self._folder / TABLE)
        if not table.schema.equals(COLUMNS):
            raise UserError(f"{self._folder / TABLE} is not what the download stage writes: run that stage again.")
        self._table = table.combine_chunks()
        self._open: dict[str, int] = {}

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def __len__(self) -> int:
        return self._table.num_rows

    def name(self, number: int) -> str:
        """The picture's path in the folder or archive that it came from."""
        return self._table["name"][number].as_py()

    def size(self, number: int) -> tuple[int, int]:
        """Height and width, as shown."""
        return self._table["height"][number].as_py(), self._table["width"][number].as_py()

    def data(self, number: int) -> bytes:
        """The picture's file, to the byte."""
        file, offset, size = (self._table[column][number].as_py() for column in ("file", "offset", "bytes"))
        if file not in self._open:
            if Path(file).name != file:
                raise UserError(f"{self._folder / TABLE} names the file {file!r}: run the download stage again.")
            self._open[file] = os.open(self._folder / file, os.O_RDONLY)
        data = os.pread(self._open[file], size, offset)
        if len(data) != size:
            raise UserError(f"{self._folder / file} breaks off: remove {self._folder} and run the download stage again.")
        return data

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """The picture, (H, W, 3) uint8 RGB; see `decode_picture`.

        Raises:
            BrokenPicture: it cannot be decoded.
        """
        return decode_picture(self.data(number))
