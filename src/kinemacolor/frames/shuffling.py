"""The random order of a training epoch: any order where the frames are few, and one that a disk can follow where they are many.

Which of the two follows from the bytes of the frames alone, and never from the memory that is there or free: several devices
that share their batches, and a training that goes on elsewhere, must draw the same order.

Many frames are drawn in two steps. All of them, in the order of their indexes, are cut into blocks of neighbours (8 MiB,
read in one go); the blocks are shuffled, and windows of up to 128 (1 GiB), all about as large, are shuffled frame by frame,
while the blocks of the window after it are read ahead. A frame so meets frames of 128 places anywhere in the material,
other ones in every epoch.

What is lost against a true shuffle: of a batch of 32, three or four frames are of a block that is in it already, where
hardly any would be, and a block's frames come within one window. The means of batches scatter 1.11 times as widely as in a
true shuffle if all that counts is where in the film a frame is (the square root of 1 + 31/128), and less if shots differ more
than acts do; tests/unit/test_shuffling.py measures it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Protocol

import numpy as np

BLOCK = 2**23
"""Bytes of neighbouring frames that stay together until they are in memory."""
WINDOW = 128
"""Blocks that are shuffled together, at most."""
WHOLE = 2**33
"""Bytes of frames from which on they are drawn by windows: what a machine that trains may be hoped to hold in memory."""


class Order(NamedTuple):
    """A random order and what it needs of the disk."""

    places: np.ndarray
    """Every place once."""
    ends: np.ndarray
    """Where in `places` each window ends."""
    blocks: Sequence[np.ndarray]
    """Of each window, the places in it, in the order of the indexes."""


def windowed(in_order: np.ndarray, random: np.random.Generator, *, block: int, window: int = WINDOW) -> Order:
    """Shuffle blocks, and frames within windows of them.

    Args:
        in_order: all places in the order in which their frames lie on the disk, (N,).
        random: decides.
        block: frames that lie side by side and are read together.
        window: blocks that are shuffled together, at most: there are as few windows as that allows, and they differ by a block
            at most, lest the last one be a few neighbours.
    """
    blocks = random.permutation(-(-len(in_order) // block))
    drawn: list[np.ndarray] = []
    read: list[np.ndarray] = []
    for some in np.array_split(blocks, max(1, -(-len(blocks) // window))):
        together = np.sort(some)
        if not len(together):
            continue
        read.append(np.concatenate([in_order[number * block : (number + 1) * block] for number in together]))
        drawn.append(random.permutation(read[-1]))
    places = np.concatenate(drawn) if drawn else np.empty(0, np.int64)
    return Order(places, np.cumsum([len(part) for part in drawn]), read)


class Advised(Protocol):
    """What can be told which places are wanted soon, and which no longer."""

    def advise(self, places: np.ndarray, *, needed: bool) -> None: ...


class ReadAhead:
    """Has the system read the next window while one is being trained on; a context, and one thread that waits for disks.

    It changes when pages are read and never what is read.

    Args:
        ends: how far an epoch has come when it leaves each window.
        blocks: of each window, the places in it, in the order of the indexes; each is asked for twice.
        material: is told.

    Raises:
        UserError: by `reached` or at the end, a shard that was to be read is damaged.
    """

    def __init__(self, ends: np.ndarray, blocks: Sequence[np.ndarray], material: Advised) -> None:
        self._ends, self._blocks, self._material, self._window = ends, blocks, material, -1
        self._told: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def reached(self, at: int) -> None:
        """The epoch has come this far."""
        while self._told and self._told[0].done():
            self._told.popleft().result()
        window = int(np.searchsorted(self._ends, at, side="right"))
        if window == self._window:
            return
        if self._window >= 0:
            self._submit(self._window, needed=False)
        for coming in range(max(window, self._window + 2 if self._window >= 0 else 0), window + 2):
            self._submit(coming, needed=True)
        self._window = window

    def _submit(self, window: int, *, needed: bool) -> None:
        if 0 <= window < len(self._blocks):
            self._told.append(self._thread.submit(self._material.advise, self._blocks[window], needed=needed))

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for told in self._told:
                told.result()
