"""Pictures of one name (colour, grey or coloured) of chosen frames over all their stores, by place: windows of them, as bytes
or as Lab.

Where a frame lies in memory is worked out for all frames at once, so that a batch costs one call (kernels.py) however many
shards it is spread over. Compressed pictures are unpacked first and then treated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kinemacolor.compiled import in_slabs
from kinemacolor.frames.index import FrameStore


class Reader:
    """Reads pictures by place; threads may share one.

    Args:
        name: colour or grey, as the stores call it.
        stores: all with pictures of one shape.
        store: of each place, which of `stores`, (N,).
        row: of each place, the row of that store's index, (N,).

    Attributes:
        shape: (C,H,W) of a picture.
    """

    def __init__(self, name: str, stores: Sequence[FrameStore], store: np.ndarray, row: np.ndarray) -> None:
        self.shape: tuple[int, int, int] = tuple(stores[0].facts["pictures"][name])
        self._name, self._stores, self._store, self._row = name, stores, store, row
        self._bytes = int(np.prod(self.shape))
        self._packed = np.array([one.is_compressed for one in stores])
        self._has_packed = bool(self._packed.any())
        # Shards of all stores, numbered through; addresses of their first pictures, nought until one is wanted.
        counts = [len(one.facts["shards"]) for one in stores]
        self._first_shard = np.cumsum([0, *counts[:-1]])
        self._addresses = np.zeros(sum(counts), np.int64)
        self._shard, self._offset = np.zeros(len(row), np.int64), np.zeros(len(row), np.int64)
        for number, one in enumerate(stores):
            here = np.flatnonzero(store == number)
            self._shard[here] = one.shard_of[row[here]] + self._first_shard[number]
            self._offset[here] = one.row_of[row[here]] * self._bytes

    def read(self, places: np.ndarray, work: Callable[[np.ndarray], None], *, threads: int = 1) -> None:
        """Call `work` with the addresses of the pictures at some places, which are good for that long.

        Raises:
            UserError: a shard is damaged.
        """
        shards = self._shard[places]
        packed = np.flatnonzero(self._packed[self._store[places]]) if self._has_packed else ()
        addresses = self._addresses[shards]
        if not addresses.all():
            self._find(np.unique(np.delete(shards, packed)[np.delete(addresses, packed) == 0]))
            addresses = self._addresses[shards]
        addresses += self._offset[places]
        if not len(packed):
            work(addresses)
            return
        unpacked = np.empty((len(packed), *self.shape), np.uint8)
        in_slabs(
            lambda begin, end: self._unpack(places[packed[begin:end]], unpacked[begin:end]), len(packed), slab=4, threads=threads
        )
        addresses[packed] = unpacked.ctypes.data + np.arange(len(packed)) * self._bytes
        work(addresses)

    def _find(self, shards: np.ndarray) -> None:
        of = np.searchsorted(self._first_shard, shards, side="right") - 1
        for number in np.unique(of).tolist():
            store, first = self._stores[number], int(self._first_shard[number])
            here = (shards[of == number] - first).tolist()
            store.touch(here)
            self._addresses[first + np.array(here)] = [store.view(self._name, shard).ctypes.data for shard in here]

    def _unpack(self, places: np.ndarray, out: np.ndarray) -> None:
        for number in np.unique(self._store[places]).tolist():
            here = np.flatnonzero(self._store[places] == number)
            store = self._stores[number]
            out[here] = (store.grey if self._name == "grey" else store.colour)(self._row[places[here]])
