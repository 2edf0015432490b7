"""How frames lie on the disk: shards of pictures, and the index that names every frame and every shard. The writing side.

A shard is an Arrow IPC file with one record batch. Uncompressed its columns are fixed-shape uint8 tensors, channel first,
which readers map into memory and view without a copy. Compressed each picture is a binary value by itself, so that one can
be read without its neighbours: under lz4 as it is, which is fast, under zstd less what its neighbours foretell, which is small. The index is Parquet, a row a frame, and says in its metadata what the shards are.

Rows leave memory in groups and a picture is copied once, into the shard that is being filled: what is held does not grow
with the number of frames. In which shard a frame lies follows from its place among the frames that were asked for, so that
several jobs may each write their own shards, and `join_pieces` makes of them what one job would have written.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.frames.prediction import NAME, residuals

METADATA_KEY = b"kinemacolor"
PICTURES = ("colour", "grey")
Compression = Literal["none", "lz4", "zstd"]

_GROUP = 1 << 16
"""Rows of a row group of the index; fixed, so that the bytes do not depend on who wrote how many rows at once."""
_COLUMNS = {
    "source": pa.string(),
    "frame": pa.int64(),
    "time": pa.float64(),
    "shard": pa.int64(),
    "row": pa.int64(),
    "height": pa.int64(),
    "width": pa.int64(),
}


def codec(compression: Compression) -> pa.Codec | None:
    """What packs and unpacks a picture; None for `none`."""
    return None if compression == "none" else pa.Codec(compression)


def shard_capacity(shapes: Mapping[str, tuple[int, int, int]], shard_bytes: int) -> int:
    """Places for frames in one shard: (channels, height, width) of each picture, and bytes before any compression."""
    return max(1, shard_bytes // sum(int(np.prod(shape)) for shape in shapes.values()))


class ShardWriter:
    """Writes frames into shards, and their index as it goes. Works in a folder that the caller makes atomic.

    Args:
        folder: an existing, empty folder.
        source: name of the source, written into every row.
        shapes: picture name (`colour`, and `grey` for pairs) -> (channels, height, width).
        shard_bytes: a shard holds as many places as fit into this many bytes uncompressed.
        facts: written to the index's metadata by `close`, such as `every` and `size`.
        compression: of each picture, without loss.
    """

    def __init__(
        self,
        folder: Path,
        *,
        source: str,
        shapes: Mapping[str, tuple[int, int, int]],
        shard_bytes: int,
        facts: Mapping[str, Any],
        compression: Compression = "none",
    ) -> None:
        if unknown := set(shapes) - set(PICTURES):
            raise ValueError(f"unknown pictures {unknown}")
        if compression not in get_args(Compression):
            raise ValueError(f"unknown compression {compression!r}")
        self._folder, self._source, self.facts = Path(folder), source, dict(facts)
        self._shapes = {name: tuple(int(side) for side in shape) for name, shape in shapes.items()}
        self._compression: Compression = compression
        self.capacity = shard_capacity(self._shapes, shard_bytes)
        self._shard: _Filling | None = None
        self._shards: list[dict[str, Any]] = []
        self._place = -1
        self._index = _IndexWriter(self._folder / "index.parquet")

    def add(self, pictures: Mapping[str, np.ndarray], *, frame: int, time: float, place: int | None = None, **extra: Any) -> None:
        """Append one frame.

        Args:
            pictures: as announced in `shapes`, uint8.
            frame: its number.
            time: in seconds.
            place: its number among the frames that were asked for, those included of which none came; it decides the shard
                and rises from call to call. None: the one after the last.
            extra: further columns, the same in every call: text, whole or other numbers.
        """
        for name, shape in self._shapes.items():
            if pictures[name].shape != shape or pictures[name].dtype != np.uint8:
                raise ValueError(f"{name} is {pictures[name].dtype} {pictures[name].shape}, expected uint8 {shape}")
        place = self._place + 1 if place is None else place
        if place <= self._place:
            raise ValueError(f"place {place} comes after place {self._place}")
        number = place // self.capacity
        if self._shard is not None and number != self._shard.number:
            self._close_shard()
        if self._shard is None:
            self._shard = _Filling(number, self._shapes, self.capacity, self._compression)
        row = self._shard.add(pictures)
        self._place = place
        _, height, width = self._shapes["colour"]
        own = {"source": self._source, "frame": frame, "time": time, "shard": len(self._shards), "row": row}
        self._index.add(own | {"height": height, "width": width} | extra)
        if (place + 1) % self.capacity == 0:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._shard is not None:
            self._shards.append(self._shard.write(self._folder))
            self._shard = None

    def close(self) -> pd.DataFrame:
        """Write the last shard and the end of the index; returns the index's rows."""
        self._close_shard()
        shapes = {name: list(shape) for name, shape in self._shapes.items()}
        self._index.close(self.facts | _about(shapes, self._compression, self._shards))
        return read_index(self._folder)[0]


def join_pieces(folders: Sequence[Path], out_folder: Path, facts: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Make one index of pieces that several writers wrote, and link their shards into its folder.

    The result equals to the byte what one writer makes of all their frames. Shards are linked where the file system can,
    else copied; their sha256 are those that the pieces name, so that damage shows when a shard is read.

    Args:
        folders: what each `ShardWriter` wrote, in the order of their places. Pieces meet at whole shards: the first place
            of each is a multiple of `capacity`.
        out_folder: an existing, empty folder, which the caller makes atomic.
        facts: for the index's metadata, as for `ShardWriter`; None takes those of the first piece.

    Returns:
        The index's rows.

    Raises:
        UserError: a piece or one of its shards is missing or damaged, the pieces are of different shape or compression, or
            two of them have the same shard.
    """
    remedy = "remove it and run the frames stage again"
    index = _IndexWriter(Path(out_folder) / "index.parquet")
    shards: list[dict[str, Any]] = []
    first: dict[str, Any] | None = None
    for folder in map(Path, folders):
        piece = open_index(folder, remedy)
        about = facts_of(piece, folder)
        first = first or about
        if any(about.get(name) != first.get(name) for name in ("pictures", "compression")):
            raise UserError(f"{folder} holds pictures of another shape or compression than {folders[0]}: {remedy}.")
        if about["shards"] and shards and about["shards"][0]["name"] <= shards[-1]["name"]:
            raise UserError(
                f"{folder} holds {about['shards'][0]['name']}, which comes before its place among the pieces: {remedy}."
            )
        before = len(shards)
        for shard in about["shards"]:
            _link(folder / shard["name"], Path(out_folder) / shard["name"], f"remove {folder} and run the frames stage again")
            shards.append(shard)
        for batch in piece.iter_batches(_GROUP):
            if len(batch):
                at = batch.schema.get_field_index("shard")
                moved = pa.array(batch.column(at).to_numpy() + before)
                index.add_rows(batch.set_column(at, batch.schema.field(at), moved))
    if first is None:
        raise ValueError("no pieces to join")
    own = {name: value for name, value in first.items() if name not in ("shards", "pictures", "compression", "pixel_format")}
    index.close(dict(own if facts is None else facts) | _about(first["pictures"], first["compression"], shards))
    return read_index(Path(out_folder))[0]


def _about(shapes: Mapping[str, list[int]], compression: Compression, shards: list[dict[str, Any]]) -> dict[str, Any]:
    said = {"pixel_format": "uint8, channel first", "pictures": dict(shapes), "compression": compression}
    return said | {"shards": shards}


def _link(file: Path, target: Path, remedy: str) -> None:
    if not file.is_file():
        raise UserError(f"{file} is missing: {remedy}.")
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        shutil.copyfile(file, target)  # another file system, or one without links


def open_index(folder: Path, remedy: str = "run the frames stage again, or `dvc pull`") -> pq.ParquetFile:
    """Open the index of a folder that `frames` wrote.

    Raises:
        UserError: it is missing, or is no index.
    """
    path = Path(folder) / "index.parquet"
    if not path.is_file():
        raise UserError(f"{path} is missing: run the frames stage.")
    try:
        index = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is damaged or no Parquet file: {remedy}.") from error
    if METADATA_KEY not in (index.metadata.metadata or {}):
        raise UserError(f"{path} is no frame index (its metadata name no shards): {remedy}.")
    return index


def facts_of(index: pq.ParquetFile, folder: Path) -> dict[str, Any]:
    """What an index says of itself: facts of its source, and `pictures`, `compression` and `shards`."""
    facts: dict[str, Any] = json.loads(index.metadata.metadata[METADATA_KEY])
    if "pictures" not in facts:  # as indexes were written at first
        facts["compression"] = "none"
        shards = facts["shards"]
        with pa.memory_map(str(Path(folder) / shards[0]["name"])) if shards else pa.BufferReader(b"") as file:
            schema = pa.ipc.open_file(file).schema if shards else pa.schema([])
            facts["pictures"] = {field.name: list(field.type.shape) for field in schema}
    return facts


def read_index(folder: Path, columns: Sequence[str] | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows of an index, their text backed by Arrow, so that a million stay small; and what it says of itself.

    Args:
        folder: that `frames` wrote.
        columns: those wanted, as far as the index has them; None for all.

    Raises:
        UserError: it is missing or damaged.
    """
    index = open_index(folder)
    facts = facts_of(index, folder)
    wanted = None if columns is None else [name for name in columns if name in index.schema_arrow.names]
    try:
        table = index.read(columns=wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{folder}/index.parquet is damaged: run the frames stage again, or `dvc pull`.") from error
    rows = table.to_pandas(split_blocks=True, self_destruct=True, ignore_metadata=True)
    del table
    pa.default_memory_pool().release_unused()  # what was decoded on the way is as large as what stays
    return rows, facts


class _Filling:
    """The shard that is being filled."""

    def __init__(self, number: int, shapes: Mapping[str, tuple[int, int, int]], capacity: int, compression: Compression) -> None:
        self.number, self._shapes, self._rows = number, shapes, 0
        self._compression: Compression = compression
        self._codec = codec(compression)
        # Untouched pages of an empty array take no memory: a short film has a small one.
        self._raw = {} if self._codec else {name: np.empty((capacity, *shape), np.uint8) for name, shape in shapes.items()}
        self._packed: dict[str, list[bytes]] = {name: [] for name in shapes}

    def add(self, pictures: Mapping[str, np.ndarray]) -> int:
        """Take a frame; returns its row."""
        for name in self._shapes:
            if self._codec is None:
                self._raw[name][self._rows] = pictures[name]
            else:
                told = residuals(pictures[name]) if self._compression == "zstd" else pictures[name]
                # In C order whatever order the picture has.
                self._packed[name].append(self._codec.compress(told.tobytes(), asbytes=True))
        self._rows += 1
        return self._rows - 1

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the file; returns what the index says of it."""
        if self._codec is None:
            columns = [pa.FixedShapeTensorArray.from_numpy_ndarray(self._raw[name][: self._rows]) for name in self._shapes]
            batch = pa.record_batch(columns, names=list(self._shapes))
        else:
            said: dict[str, Any] = {
                "codec": self._compression,
                "shapes": {name: list(shape) for name, shape in self._shapes.items()},
            }
            said |= {"prediction": NAME} if self._compression == "zstd" else {}
            packed = [pa.array(self._packed[name], pa.large_binary()) for name in self._shapes]
            batch = pa.record_batch(packed, names=list(self._shapes))
            batch = batch.replace_schema_metadata({METADATA_KEY: json.dumps(said, sort_keys=True).encode()})
        path = folder / f"shard-{self.number:05d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return {"name": path.name, "rows": self._rows, "sha256": sha256_of(path), "bytes": path.stat().st_size}


class _IndexWriter:
    """Writes rows to Parquet in groups of a fixed size."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._values: dict[str, list[Any]] = {}
        self._waiting: list[pa.RecordBatch] = []
        self._count = 0

    def add(self, row: Mapping[str, Any]) -> None:
        if self._schema is None:
            self._schema = pa.schema([(name, _COLUMNS.get(name) or _type_of(name, value)) for name, value in row.items()])
            self._values = {name: [] for name in row}
        if row.keys() != self._values.keys():
            raise ValueError(f"columns {sorted(row)} after {sorted(self._values)}")
        for name, value in row.items():
            self._values[name].append(value)
        if len(self._values["frame"]) == _GROUP:
            self._flush_values()

    def _flush_values(self) -> None:
        if self._schema is None or not self._values.get("frame"):
            return
        columns = [pa.array(self._values[field.name], field.type) for field in self._schema]
        self._values = {name: [] for name in self._values}
        self.add_rows(pa.record_batch(columns, schema=self._schema))

    def add_rows(self, rows: pa.RecordBatch) -> None:
        """Rows of one schema; those that do not fill a group wait for more."""
        self._schema = self._schema or rows.schema.remove_metadata()
        self._waiting.append(rows.replace_schema_metadata(None))
        self._count += len(rows)
        while self._count >= _GROUP:
            self._write(_GROUP)

    def _write(self, count: int) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
        self._opened().write_table(table.slice(0, count), row_group_size=count)
        self._waiting, self._count = table.slice(count).to_batches(), self._count - count

    def close(self, facts: Mapping[str, Any]) -> None:
        self._flush_values()
        self._schema = self._schema or pa.schema(list(_COLUMNS.items()))
        if self._count:
            self._write(self._count)
        self._opened().add_key_value_metadata({METADATA_KEY: json.dumps(facts, sort_keys=True).encode()})
        self._opened().close()

    def _opened(self) -> pq.ParquetWriter:
        if self._writer is None:
            # A stored Arrow schema would hide metadata that come at the end, and plain columns need none.
            self._writer = pq.ParquetWriter(self._path, self._schema, store_schema=False)
        return self._writer


def _type_of(name: str, value: Any) -> pa.DataType:
    """The type of a further column by its first value; later values must agree."""
    for kinds, given in (((bool, np.bool_), pa.bool_()), ((int, np.integer), pa.int64()), ((float, np.floating), pa.float64())):
        if isinstance(value, kinds):
            return given
    if isinstance(value, str):
        return pa.string()
    raise ValueError(f"column {name} holds a {type(value).__name__}")
