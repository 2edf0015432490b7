"""Reading frames: the index of a source, and its shards as memory maps.

Opening reads the index alone. A shard is mapped, and its sha256 compared with that in the index, when it is first touched:
no pixel of a damaged shard is ever given out, and a stage that reads a part of the frames pays for that part. What was found
whole is remembered in the process for as long as the file stays as it is. A reader that needs several new shards has them
verified by several threads, and none waits for a shard that it does not need. Maps keep no file open, so that there may be
more shards than a process may open files. Indexing the zero-copy view is sixty times faster than Arrow's own `take`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import mmap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from kinemacolor import cores
from kinemacolor.errors import UserError
from kinemacolor.files import checked_name, sha256_of
from kinemacolor.frames.shards import codec, read_index

_log = logging.getLogger(__name__)

_whole: dict[tuple[int, ...], str] = {}
"""Of files that this process has hashed: device, inode, size and time of the last change -> sha256."""
_SETTLED = 10**9
"""Nanoseconds after which a file's time tells a further change for sure; clocks of file systems are coarse."""
_SAID = 10
"""Seconds between two lines on how far the shards are verified."""

_TRIMMED = 16
"""Steps of a walk after which freed memory is given back, too."""
_OF_INDEX = ("time", "height", "width")


class FrameStore:
    """The frames of one source of a dataset, memory-mapped. Threads may read from it at the same time.

    Attributes:
        source: its name, which may become part of a path.
        table: the index: source, frame, time, shard, row, height, width; for pairs also grey_frame, grey_time; of a
            collection also clip. Text is backed by Arrow.
        facts: what the index says of itself: size, every, pixel format, pictures, compression, shards.
        is_pair: rows carry a grey picture too.
        folder: where it lies.
        shard_of: of each row, the number of its shard in facts["shards"], (N,) int64.
        row_of: of each row, its place in that shard, (N,) int64.
    """

    def __init__(self, folder: Path, *, verify: bool = True) -> None:
        """Open a folder that `frames` wrote.

        Args:
            folder: with index.parquet and the shards that it names.
            verify: compare each shard's sha256 with the index before its first picture is given out.

        Raises:
            UserError: the index is missing or damaged, a shard is missing or not as long as the index says, or the rows
                are not of one source whose name may become part of a path. A shard that is damaged otherwise is named when
                it is first touched, and by `verify`.
        """
        self.folder = folder = Path(folder)
        self.table, self.facts = read_index(folder)
        self.source = _source_of(self.table, folder)
        self.is_pair = "grey" in self.facts["pictures"]
        self.shard_of = self.table["shard"].to_numpy()
        self.row_of = self.table["row"].to_numpy()
        for shard in self.facts["shards"]:
            path = folder / shard["name"]
            if not path.is_file():
                raise UserError(f"{path} is missing: run the frames stage again, or `dvc pull`.")
            if "bytes" in shard and path.stat().st_size != shard["bytes"]:
                raise _damaged(path, f"it has {path.stat().st_size} bytes and the index says {shard['bytes']}")
        self._verify = verify
        self._shards: list[_Shard | None] = [None] * len(self.facts["shards"])
        self._opening = [threading.Lock() for _ in self._shards]
        self._said = float("inf")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def clips(self) -> np.ndarray | None:
        """Of a collection, the clip or photograph that each row is of, (N,) str; None for other sources."""
        return self.table["clip"].to_numpy(dtype=object) if "clip" in self.table else None

    @property
    def sha256(self) -> str:
        """sha256 of the index, which holds that of every shard: it says which frames these are."""
        return sha256_of(self.folder / "index.parquet")

    @property
    def is_compressed(self) -> bool:
        """Pictures are compressed one by one, and no shard can be viewed."""
        return self.facts["compression"] != "none"

    def colour(self, rows: Iterable[int]) -> np.ndarray:
        """True colours of the given index rows: uint8 RGB (B,3,H,W), a copy."""
        return self._gather("colour", rows)

    def grey(self, rows: Iterable[int]) -> np.ndarray:
        """The grey print's frames of the given rows: uint8 (B,1,H,W), full range; pairs only."""
        return self._gather("grey", rows)

    def view(self, name: str, shard: int) -> np.ndarray | None:
        """The pictures `colour` or `grey` of a whole shard as they lie in the file: uint8 (rows,C,H,W), read-only, no copy.

        None if the pictures are compressed.

        Raises:
            UserError: the shard is damaged.
        """
        if self.is_compressed:
            return None
        return self._touched([shard])[0].views[name]

    def touch(self, shards: Sequence[int]) -> None:
        """Map some shards; those that are new are verified first, several at once.

        Raises:
            UserError: one is damaged.
        """
        self._touched(shards)

    def verify(self, shards: Iterable[int] | None = None) -> None:
        """Compare the sha256 of shards (all of them if None) with the index, several at once.

        Raises:
            UserError: one is damaged.
        """
        _side_by_side(self._verify_one, list(range(len(self._shards)) if shards is None else shards))

    def _verify_one(self, number: int) -> None:
        entry = self.facts["shards"][number]
        if not self._is_whole(entry):
            raise _damaged(self.folder / entry["name"], "its sha256 is not the one in the index")

    def walk(self, step: int) -> Iterator[np.ndarray]:
        """All rows in order, at most `step` at a time; what was read is given back to the system as the walk goes on."""
        begun = 0
        for number, begin in enumerate(range(0, len(self), step), start=1):
            yield np.arange(begin, min(begin + step, len(self)))
            end = int(self.shard_of[min(begin + step, len(self) - 1)])
            self.release(range(begun, end))
            begun = end
            if number % _TRIMMED == 0:
                _trim()
        self.release()
        _trim()

    def release(self, shards: Iterable[int] | None = None) -> None:
        """Tell the system that the pictures of some shards (None: of all) are not needed in memory for now.

        The maps stay good: what is read again comes from the system's cache or the disk. Without this a pass over a large
        store leaves all of it in the process's resident memory, which others then have to take back page by page.
        """
        for number in range(len(self._shards)) if shards is None else shards:
            if (shard := self._shards[number]) is not None:
                shard.release()

    def advise(self, begin: int, end: int, *, needed: bool) -> None:
        """Tell the system that pictures of the rows begin to end are wanted soon, or not for now: advice, no more.

        Wanted ones are read ahead in one go; the others' pages leave this process and stay in the system's cache.
        """
        shards, rows = self.shard_of[begin:end], self.row_of[begin:end]
        for number in np.unique(shards).tolist():
            here = rows[shards == number]
            shard = self._touched([number])[0] if needed else self._shards[number]
            if shard is not None:
                shard.advise(int(here[0]), int(here[-1]) + 1, needed=needed)

    def _is_whole(self, entry: dict[str, Any]) -> bool:
        path = self.folder / entry["name"]
        state = path.stat()
        key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
        if key in _whole:
            return _whole[key] == entry["sha256"]
        found = sha256_of(path)
        if time.time_ns() - state.st_mtime_ns > _SETTLED:
            _whole[key] = found
        return found == entry["sha256"]

    def _touched(self, numbers: Sequence[int]) -> list[_Shard]:
        """Some shards, mapped; those that are new are verified first."""
        _side_by_side(self._open, [number for number in numbers if self._shards[number] is None])
        return [self._shards[number] for number in numbers]

    def _open(self, number: int) -> None:
        with self._opening[number]:  # who needs the same one waits for it, and nobody else does
            if self._shards[number] is None:
                if self._verify:
                    self._said = min(self._said, time.monotonic())
                    self._verify_one(number)
                self._shards[number] = _Shard(self.folder / self.facts["shards"][number]["name"], self.facts)
        if time.monotonic() - self._said > _SAID:
            done, count = sum(shard is not None for shard in self._shards), len(self._shards)
            self._said = time.monotonic() if done < count else float("inf")
            _log.info("%s: %d of %d shards verified against the index", self.folder, done, count)

    def _gather(self, name: str, rows: Iterable[int]) -> np.ndarray:
        rows = np.asarray(list(rows) if not isinstance(rows, np.ndarray) else rows, dtype=np.int64)
        out = np.empty((len(rows), *self.facts["pictures"][name]), np.uint8)
        shards, places = self.shard_of[rows], self.row_of[rows]
        numbers = np.unique(shards).tolist()
        for number, shard in zip(numbers, self._touched(numbers), strict=True):
            chosen = np.flatnonzero(shards == number)
            shard.read(name, places[chosen], out, chosen)
        return out


class _Shard:
    """One shard, memory-mapped.

    Attributes:
        views: picture name -> (rows,C,H,W) uint8 in the map; empty if compressed.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        with pa.memory_map(str(path)) as file:
            self._map = file.read_buffer()  # stays mapped when the file is closed, which Python's own maps keep open
        try:
            batch = pa.ipc.open_file(pa.BufferReader(self._map)).get_batch(0)
        except (pa.ArrowInvalid, OSError, IndexError) as error:
            raise _damaged(path, "it is no Arrow file") from error
        self._path, self._shapes = path, facts["pictures"]
        self._codec = codec(facts["compression"])
        self._restore: Callable[[np.ndarray, np.ndarray], None] | None = None
        if facts["compression"] == "zstd":
            from kinemacolor.frames.prediction_kernels import restore  # numba takes half a second to import

            self._restore = restore
        self.views: dict[str, np.ndarray] = {}
        self._packed: dict[str, tuple[np.ndarray, pa.Buffer]] = {}
        for column in batch.schema.names:
            if self._codec is None:
                self.views[column] = batch.column(column).to_numpy_ndarray()
            else:
                _, offsets, data = batch.column(column).buffers()
                self._packed[column] = np.frombuffer(offsets, np.int64), data

    def read(self, name: str, rows: np.ndarray, out: np.ndarray, places: np.ndarray) -> None:
        """Copy pictures of some rows to some places of `out`."""
        if self._codec is None:
            out[places] = self.views[name][rows]
            return
        offsets, data = self._packed[name]
        size = int(np.prod(self._shapes[name]))
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            begin, end = int(offsets[row]), int(offsets[row + 1])
            try:
                raw = self._codec.decompress(data.slice(begin, end - begin), decompressed_size=size)
            except (pa.ArrowInvalid, OSError) as error:
                raise _damaged(self._path, f"picture {row} cannot be unpacked") from error
            told = np.frombuffer(raw, np.uint8).reshape(out.shape[1:])
            if self._restore is None:
                out[place] = told
            else:
                self._restore(told, out[place])

    def release(self) -> None:
        """Drop the map's pages from this process; they stay in the system's cache."""
        _advise(self._map.address, self._map.size, needed=False)

    def advise(self, begin: int, end: int, *, needed: bool) -> None:
        """Of rows begin to end; see FrameStore.advise."""
        spans = [(view.ctypes.data + begin * view[0].nbytes, (end - begin) * view[0].nbytes) for view in self.views.values()]
        for offsets, data in self._packed.values():
            spans.append((data.address + int(offsets[begin]), int(offsets[end] - offsets[begin])))
        for address, length in spans:
            _advise(address, length, needed=needed)


def _side_by_side(work: Callable[[int], None], numbers: Sequence[int]) -> None:
    """`work` for each number, by as many threads as there are cores; the first error in the order of the numbers is raised."""
    if len(numbers) < 2:
        for number in numbers:
            work(number)
        return
    with ThreadPoolExecutor(min(len(numbers), cores.usable())) as pool:
        for _ in pool.map(work, numbers):
            pass


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """The C library's; None where there is none."""
    try:
        found = ctypes.CDLL(None).madvise
    except (OSError, TypeError, AttributeError):
        return None
    found.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return found


def _advise(address: int, length: int, *, needed: bool) -> None:
    """Tell the system that mapped bytes are wanted soon, or leave this process and stay in the system's cache."""
    advice = getattr(mmap, "MADV_WILLNEED" if needed else "MADV_DONTNEED", None)
    madvise = _madvise()
    if advice is not None and madvise is not None and length:
        over = address % mmap.PAGESIZE
        madvise(address - over, length + over, advice)  # advice, no more: whether it is taken does not matter


def _trim() -> None:
    """Have the C library give back what was freed.

    Temporaries of a few MiB leave holes in glibc's heap that its next ones do not fit into: three KiB for every small frame
    that is looked at, gigabytes in a million.
    """
    with contextlib.suppress(OSError, TypeError, AttributeError):  # other libraries have no need of it
        ctypes.CDLL(None).malloc_trim(0)


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path} is damaged ({why}): remove {path.parent} and run the frames stage again.")


def _source_of(table: pd.DataFrame, folder: Path) -> str:
    names = table["source"].unique()
    if len(names) != 1:
        held = "no frame" if not len(names) else f"frames of {len(names)} sources"
        raise UserError(f"{folder}/index.parquet holds {held}, and not those of one: run the frames stage again.")
    return checked_name(str(names[0]), f"source in {folder}/index.parquet")


def open_stores(folders: Iterable[Path]) -> dict[str, FrameStore]:
    """The stores of some folders that `frames` wrote, by their sources' names, in the order given.

    Raises:
        UserError: as FrameStore; or two folders are of one source.
    """
    stores: dict[str, FrameStore] = {}
    for folder in folders:
        store = FrameStore(folder)
        if store.source in stores:
            raise UserError(f"{folder} holds frames of {store.source!r}, as another folder does: name each source once.")
        stores[store.source] = store
    return stores


def located(table: pd.DataFrame, stores: Sequence[FrameStore]) -> pd.DataFrame:
    """Rows of a filter table with where each frame lies.

    Args:
        table: source, frame, and whatever else.
        stores: one a source.

    Returns:
        The rows in their order, with time, height, width and clip of the index, `store`, which of `stores`, and `at`, the
        place in its index; `clip` is empty for sources without clips.

    Raises:
        UserError: a frame that no index has, or that is named twice.
    """
    remedy = "run frames, split and filter again"
    store_of = np.full(len(table), -1, np.int64)
    at = np.zeros(len(table), np.int64)
    frame = table["frame"].to_numpy(np.int64)
    for number, store in enumerate(stores):
        here = np.flatnonzero(table["source"] == store.source)
        own = store.table["frame"].to_numpy()
        order = np.argsort(own, kind="stable")  # at once where they rise already
        place = order[np.minimum(np.searchsorted(own, frame[here], sorter=order), len(own) - 1)]
        found = own[place] == frame[here]
        store_of[here[found]], at[here] = number, place
        if len(twice := np.flatnonzero(np.bincount(place[found], minlength=len(own)) > 1)):
            raise UserError(f"Frame {own[twice[0]]} of {store.source} is twice in the filter table: {remedy}.")
    if len(lost := np.flatnonzero(store_of < 0)):
        first = table.iloc[lost[0]]
        raise UserError(f"Frame {first['frame']} of {first['source']} is in the filter table but in no frame index: {remedy}.")
    columns: dict[str, Any] = {name: np.zeros(len(table), np.float64 if name == "time" else np.int64) for name in _OF_INDEX}
    clip: list[pd.Series] = []
    places: list[np.ndarray] = []
    for number, store in enumerate(stores):
        here = np.flatnonzero(store_of == number)
        for name, values in columns.items():
            values[here] = store.table[name].to_numpy()[at[here]]
        places.append(here)
        named = "clip" in store.table
        clip.append(store.table["clip"].iloc[at[here]].fillna("") if named else pd.Series([""] * len(here), dtype="str"))
    back = np.argsort(np.concatenate(places or [np.empty(0, np.int64)]))
    columns["clip"] = pd.concat(clip or [pd.Series([], dtype="str")], ignore_index=True).iloc[back].array
    return table.reset_index(drop=True).assign(**columns, store=store_of, at=at)
