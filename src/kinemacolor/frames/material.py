"""The kept frames of one part of a dataset, gathered by place: from memory-mapped shards, or from the GPU if they fit there."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kinemacolor.errors import UserError
from kinemacolor.frames import runs
from kinemacolor.frames.index import FrameStore, located

_RESIDENT_SHARE = 0.3
"""Share of a GPU's free memory that a dataset may take to live there whole."""


class Material:
    """The kept frames of one part of a dataset, over all its sources.

    Args:
        stores: opened frame stores by source name; all of one size, all pairs or none.
        table: rows of the filter table of this part (source, frame, and for networks with a memory cut), in the order of
            an unshuffled epoch.
        device: where batches are wanted.
        coloured: by source name, the same frames as another model coloured them, row for row.
        embeddings: by source name, a global embedding of every row of the index, float32 (rows, D).

    Attributes:
        size: height and width of the frames in pixels.
        fit: how they came to that shape: crop, stretch or pad.

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
        self._resident: dict[str, Tensor] = {}
        if device.type == "cuda" and self._bytes() < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            everything = np.arange(len(self))
            self._resident = {name: self._gather(name, everything).to(device) for name in self._pictures}

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

    def _bytes(self) -> int:
        channels = sum(1 if name == "grey" else 3 for name in self._pictures)
        return len(self) * self.size[0] * self.size[1] * channels

    def _gather(self, name: str, places: np.ndarray) -> Tensor:
        out = np.empty((len(places), 1 if name == "grey" else 3, *self.size), np.uint8)
        for number, store in enumerate(self._pictures[name]):
            here = np.flatnonzero(self._store[places] == number)
            if len(here):
                rows = self._row[places[here]]
                out[here] = store.grey(rows) if name == "grey" else store.colour(rows)
        return torch.from_numpy(out)

    def pictures(self, name: str, places: np.ndarray) -> Tensor | None:
        """The pictures called colour, grey or coloured of the frames at some places.

        Returns:
            uint8 (N,C,H,W) on the device; None if this material has no such pictures.
        """
        if name not in self._pictures:
            return None
        if name in self._resident:
            return self._resident[name][torch.from_numpy(places).to(self.device)]
        return self._gather(name, places).to(self.device)

    def embedding(self, places: np.ndarray) -> Tensor | None:
        """Global embeddings (N,D) of the frames at some places; None if there are none."""
        return None if self._embeddings is None else self._embeddings[torch.from_numpy(places).to(self.device)]


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
