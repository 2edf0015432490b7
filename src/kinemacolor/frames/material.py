"""The kept frames of one part of a dataset, by place, as windows in Lab on the device that trains.

There are three ways to them. On a CPU compiled code cuts a window out of the memory-mapped shards and turns it to Lab in one go
(`host`). On a GPU with room for all frames they live there as bytes, and one index operation cuts and mirrors (`resident`).
On a GPU without that room the host cuts bytes, a quarter of what Lab would take to send, and the GPU makes Lab of them (`sent`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames import runs, shuffling
from kinemacolor.frames.index import FrameStore, located
from kinemacolor.frames.reading import Reader
from kinemacolor.frames.window import Window

Way = Literal["host", "resident", "sent"]

_RESIDENT_SHARE = 0.3
"""Share of a GPU's free memory that a dataset may take to live there whole."""
_GAP = 16
"""Frames that were filtered out between two others and are read along with them."""
_UPLOAD = 2**26
"""Bytes that are sent at a time when the whole of a dataset goes to the GPU."""


class Material:
    """The kept frames of one part of a dataset, over all its sources.

    Args:
        stores: opened frame stores by source name; all of one size, all pairs or none.
        table: rows of the filter table of this part (source, frame, and for networks with a memory cut), in the order of
            an unshuffled epoch.
        device: where batches are wanted.
        coloured: by source name, the same frames as another model coloured them, row for row.
        embeddings: by source name, a global embedding of every row of the index, float32 (rows, D).
        way: how frames reach the device, if not as the device and its memory suggest.

    Attributes:
        size: height and width of the frames in pixels.
        fit: how they came to that shape: crop, stretch or pad.
        way: how frames reach the device.
        fits: the frames are so few (less than shuffling.WHOLE bytes) that they are drawn at random from all of them. It hangs
            on the frames alone, so that an epoch's order is the same on every machine.

    Raises:
        UserError: stores of different sizes or kinds, rows of frames that no store has, or colours or embeddings that are
            not of these frames.
    """

    def __init__(
        self,
        stores: Mapping[str, FrameStore],
        table: pd.DataFrame,
        device: torch.device,
        coloured: Mapping[str, FrameStore] | None = None,
        embeddings: Mapping[str, np.ndarray] | None = None,
        *,
        way: Way | None = None,
    ) -> None:
        sizes = {tuple(store.facts["size"]) for store in stores.values()}
        if len(sizes) > 1 or len({store.is_pair for store in stores.values()}) > 1:
            raise UserError(
                f"The sources {', '.join(stores)} have frames of different sizes or kinds: run the frames stage of each again."
            )
        self.size: tuple[int, int] = sizes.pop()
        self.device = device
        self._pictures = {"colour": list(stores.values())}
        if next(iter(stores.values())).is_pair:
            self._pictures["grey"] = self._pictures["colour"]
        if coloured is not None:
            self._pictures["coloured"] = [_same_frames(name, store, coloured.get(name)) for name, store in stores.items()]
        self.fit = str(next(iter(stores.values())).facts.get("fit", "crop"))
        self._table = located(table.reset_index(drop=True), list(stores.values()))
        self._store, self._row = self._table["store"].to_numpy(), self._table["at"].to_numpy()
        self._embeddings = None if embeddings is None else self._of_rows(stores, embeddings)
        self._readers = {
            name: Reader("grey" if name == "grey" else "colour", opened, self._store, self._row)
            for name, opened in self._pictures.items()
        }
        self.way: Way = way or self._way()
        self._resident = {name: self._sent_whole(name) for name in self._readers} if self.way == "resident" else {}
        self.fits = self._bytes() < shuffling.WHOLE

    def __len__(self) -> int:
        return len(self._row)

    @property
    def is_coloured(self) -> bool:
        """Another model's colours of these frames are there."""
        return "coloured" in self._pictures

    @functools.cached_property
    def order(self) -> np.ndarray:
        """Places of all frames in the order of the indexes: source by source, row by row."""
        return np.lexsort((self._row, self._store))

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """Of each frame, by its place: whether a run begins there (frames/runs.py)."""
        found = np.empty(len(self), bool)
        found[self.order] = runs.begins(self._table.iloc[self.order])
        return found

    @functools.cached_property
    def before(self) -> np.ndarray:
        """Of each frame, by its place: the place of the frame before it in its run, or its own where a run begins."""
        found = np.empty(len(self), np.int64)
        found[self.order] = np.roll(self.order, 1)
        return np.where(self.starts, np.arange(len(self)), found)

    def _of_rows(self, stores: Mapping[str, FrameStore], embeddings: Mapping[str, np.ndarray]) -> Tensor:
        for name, store in stores.items():
            if name not in embeddings or len(embeddings[name]) != len(store):
                raise UserError(f"The embeddings of {name} are missing or not of these frames: run the embed stage again.")
        arrays = [np.asarray(embeddings[name], np.float32) for name in stores]
        found = np.empty((len(self), arrays[0].shape[1]), np.float32)
        for number, array in enumerate(arrays):
            here = self._store == number
            found[here] = array[self._row[here]]
        return torch.from_numpy(found).to(self.device)

    @property
    def frame_bytes(self) -> int:
        """Bytes of all pictures of one frame."""
        return sum(int(np.prod(reader.shape)) for reader in self._readers.values())

    def _bytes(self) -> int:
        return len(self) * self.frame_bytes

    def _way(self) -> Way:
        if self.device.type == "cpu":
            return "host"
        if self.device.type == "cuda" and self._bytes() < _RESIDENT_SHARE * torch.cuda.mem_get_info(self.device)[0]:
            return "resident"
        return "sent"

    def _sent_whole(self, name: str) -> Tensor:
        """All pictures of one name on the device, read in the order in which they lie on the disk."""
        shape = self._readers[name].shape
        whole = torch.empty((len(self), *shape), dtype=torch.uint8, device=self.device)
        step = max(1, _UPLOAD // int(np.prod(shape)))
        for at in range(0, len(self), step):
            places = self.order[at : at + step]
            whole[torch.from_numpy(places).to(self.device)] = self._cut(name, places, Window(self.size)).to(self.device)
        return whole

    def _cut(
        self,
        name: str,
        places: np.ndarray,
        window: Window,
        *,
        threads: int | None = None,
        pinned: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        """Windows of pictures as they are: uint8 (N,C,h,w) in the host's memory."""
        from kinemacolor.frames import kernels  # numba takes half a second to import

        reader, threads = self._readers[name], threads or torch.get_num_threads()
        if out is None:
            out = torch.empty((len(places), reader.shape[0], *window.size), dtype=torch.uint8, pin_memory=pinned)
        cut = functools.partial(kernels.cut, shape=reader.shape, window=window, out=out.numpy(), threads=threads)
        reader.read(places, cut, threads=threads)
        return out

    def has(self, name: str) -> bool:
        """Whether these frames have a picture called colour, grey or coloured."""
        return name in self._readers

    def pictures(self, name: str, places: np.ndarray, *, out: Tensor | None = None) -> Tensor | None:
        """The pictures called colour, grey or coloured of the frames at some places.

        Args:
            name: colour, grey or coloured.
            places: of the frames, (N,).
            out: uint8 (N,C,H,W), contiguous, in the host's memory, which is written and used again: new memory costs a third
                of the rate. Without effect where frames live on the device.

        Returns:
            uint8 (N,C,H,W) on the device; None if this material has no such pictures.
        """
        if not self.has(name):
            return None
        if name in self._resident:
            return self._resident[name][torch.from_numpy(places).to(self.device)]
        return self._cut(name, places, Window(self.size), out=out).to(self.device)

    def prepared(self, name: str, places: np.ndarray, window: Window, *, threads: int | None = None) -> Tensor:
        """What can be done ahead for windows of pictures, in any thread: what `lab` then takes.

        Args:
            name: colour, grey or coloured, of which there must be pictures.
            places: of the frames, (N,).
            window: the part of each.
            threads: how many may be used; None: as many as torch uses.
        """
        if self.way == "resident":
            return _indexed(self._resident[name], places, window)
        if self.way == "sent":
            return self._cut(name, places, window, threads=threads, pinned=self.device.type == "cuda")
        from kinemacolor.frames import kernels

        reader, threads = self._readers[name], threads or torch.get_num_threads()
        out = torch.empty((len(places), reader.shape[0], *window.size), dtype=torch.float32)
        cut = functools.partial(kernels.cut_to_lab, shape=reader.shape, window=window, out=out.numpy(), threads=threads)
        reader.read(places, cut, threads=threads)
        return out

    def lab(self, prepared: Tensor) -> Tensor:
        """Lab (N,3,h,w) of what was prepared, of grey pictures L* (N,1,h,w); float32 on the device."""
        if prepared.dtype != torch.uint8:
            return prepared
        # The copy is only queued: pinned memory is not used again before it has happened.
        pictures = prepared.to(self.device, non_blocking=True)
        return lightness_of_grey(pictures) if pictures.shape[1] == 1 else rgb_to_lab(pictures)

    def advise(self, places: np.ndarray, *, needed: bool) -> None:
        """Tell the system that the pictures at some places, in the order of the indexes, are wanted soon, or no longer."""
        apart = (np.abs(np.diff(self._row[places])) > _GAP) | (np.diff(self._store[places]) != 0)
        for part in np.split(places, np.flatnonzero(apart) + 1):
            if len(part):
                for name in self._pictures.keys() - {"grey"}:  # which lies beside the colours
                    store = self._pictures[name][self._store[part[0]]]
                    store.advise(int(self._row[part[0]]), int(self._row[part[-1]]) + 1, needed=needed)

    def embedding(self, places: np.ndarray) -> Tensor | None:
        """Global embeddings (N,D) of the frames at some places; None if there are none."""
        return None if self._embeddings is None else self._embeddings[torch.from_numpy(places).to(self.device)]


def _indexed(pictures: Tensor, places: np.ndarray, window: Window) -> Tensor:
    """Windows of some of the pictures (M,C,H,W), by one index operation."""
    full = window.fits(len(places), tuple(pictures.shape[2:]))
    rows = full.corners[:, :1] + np.arange(full.size[0])
    across = np.arange(full.size[1])
    columns = full.corners[:, 1:] + np.where(full.flips[:, None] == 1, across[::-1], across)

    def index(values: np.ndarray, *shape: int) -> Tensor:
        return torch.from_numpy(values).to(pictures.device, non_blocking=True).view(shape)

    count, channels = len(places), pictures.shape[1]
    return pictures[
        index(places, count, 1, 1, 1),
        index(np.arange(channels), 1, channels, 1, 1),
        index(rows, count, 1, -1, 1),
        index(columns, count, 1, 1, -1),
    ]


def _same_frames(name: str, store: FrameStore, coloured: FrameStore | None) -> FrameStore:
    if coloured is None or not np.array_equal(store.table["frame"], coloured.table["frame"]):
        raise UserError(f"The coloured frames of {name} are missing or not of these frames: run the precolour stage again.")
    if coloured.facts["size"] != store.facts["size"]:
        have, want = ("x".join(map(str, one.facts["size"])) for one in (coloured, store))
        raise UserError(f"The coloured frames of {name} are {have} pixels and the frames {want}: run the precolour stage again.")
    return coloured


def kept(filter_table: Path) -> pd.DataFrame:
    """The rows of a filter table that count: source, frame, split, and cut where the table has it.

    Raises:
        UserError: the file is missing.
    """
    if not Path(filter_table).is_file():
        raise UserError(f"{filter_table} is missing: run the filter stage.")
    table = pd.read_parquet(filter_table)
    columns = [name for name in ("source", "frame", "split", "cut") if name in table]
    return table.loc[table["keep"], columns].reset_index(drop=True)
