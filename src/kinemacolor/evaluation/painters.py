"""Who coloured the frames that are judged: a network that does it now, or another program that did it before.

Either is asked for some frames of a store, in order, and gives them in Lab.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames.index import FrameStore

_BATCH_PIXELS = 2**18  # 64 frames of 64 x 64: some 100 MB of float64 planes while they are measured


class Batch(NamedTuple):
    """Consecutive rows of one store."""

    store: FrameStore
    rows: pd.DataFrame
    """source, frame, and `at`, the place in the store's index; `starts` for painters that remember."""
    lightness: Tensor
    """L* (B,1,H,W): what a network is given, of the grey print where there is one, else of the true frame."""
    true: Tensor
    """uint8 RGB (B,3,H,W)."""


class Painter(Protocol):
    """What evaluation needs of whoever colours."""

    name: str
    device: torch.device
    remembers: bool
    """The order of frames matters, and `reset` and `starts` say where it begins anew."""

    def reset(self) -> None:
        """Forget all frames."""

    def paint(self, batch: Batch) -> Tensor:
        """Lab (B,3,H,W) on `device`."""


class Colours(Protocol):
    """What evaluation needs of a model; `colorize.Colorizer` is one."""

    name: str
    device: torch.device
    remembers: bool

    def reset(self) -> None:
        """Forget all frames."""

    def __call__(self, lightness: Tensor, starts: Tensor | None = None) -> Tensor:
        """L* (B,1,H,W) to Lab (B,3,H,W), on the device of the input; `starts` is given if the model remembers."""


class Network:
    """A model as a painter."""

    def __init__(self, colorizer: Colours) -> None:
        self.name, self.device, self.remembers = colorizer.name, colorizer.device, colorizer.remembers
        self._colorizer = colorizer

    def reset(self) -> None:
        if self.remembers:
            self._colorizer.reset()

    def paint(self, batch: Batch) -> Tensor:
        if not self.remembers:
            return self._colorizer(batch.lightness)
        return self._colorizer(batch.lightness, torch.tensor(batch.rows["starts"].tolist()))


class Recorded:
    """Frames that another program coloured, kept as a store with the rows of the one whose frames they are."""

    remembers = False

    def __init__(self, name: str, stores: Mapping[str, FrameStore], *, device: torch.device | str = "cpu") -> None:
        """`stores` by the name of their source."""
        self.name, self.device, self._stores = name, torch.device(device), dict(stores)

    def reset(self) -> None:
        """There is nothing to forget."""

    def paint(self, batch: Batch) -> Tensor:
        store = self._stores[batch.store.source]
        if not np.array_equal(store.table["frame"].to_numpy(), batch.store.table["frame"].to_numpy()):
            raise UserError(f"{store.folder} holds other frames than {batch.store.folder}: run the external stage again.")
        places = batch.rows["at"].to_numpy()
        coloured = rgb_to_lab(torch.from_numpy(store.colour(places)).to(self.device))
        _give_back(store, places)
        return coloured


def batches(stores: Sequence[FrameStore], part: pd.DataFrame, device: torch.device) -> Iterator[Batch]:
    """Rows as batches on a device, in order: consecutive ones that lie in one store, as many as `_BATCH_PIXELS` holds.

    The shards behind the last row are given back to the system as the rows go on, or a long film would stay in memory.

    Args:
        part: source, frame, store (which of `stores`), at, height, width; `starts` for painters that remember.
    """
    if part.empty:
        return
    size = max(1, min(64, _BATCH_PIXELS // int((part["height"] * part["width"]).max())))
    borders = np.flatnonzero(np.diff(part["store"].to_numpy())) + 1
    for begin, end in zip([0, *borders], [*borders, len(part)], strict=True):
        for at in range(begin, end, size):
            rows = part.iloc[at : min(at + size, end)]
            store, following = stores[rows["store"].iloc[0]], part["at"].iloc[at + size] if at + size < end else None
            yield _batch(store, rows, device)
            _give_back(store, rows["at"].to_numpy(), following)


def _give_back(store: FrameStore, places: np.ndarray, following: int | None = None) -> None:
    """Let the shards of some rows go, but for that of the row which is asked for next."""
    kept = () if following is None else (int(store.shard_of[following]),)
    store.release(shard for shard in np.unique(store.shard_of[places]).tolist() if shard not in kept)


def _batch(store: FrameStore, rows: pd.DataFrame, device: torch.device) -> Batch:
    places = rows["at"].to_numpy()
    true = torch.from_numpy(store.colour(places)).to(device)
    if not store.is_pair:
        return Batch(store, rows, rgb_to_lab(true)[:, :1], true)
    return Batch(store, rows, lightness_of_grey(torch.from_numpy(store.grey(places)).to(device)), true)


@torch.inference_mode()
def painted(painter: Painter, batch: Batch) -> Tensor:
    """What a painter makes of a batch: Lab (B,3,H,W), all of it finite.

    Raises:
        UserError: it gives values that are no numbers.
    """
    predicted = painter.paint(batch)
    sound = torch.isfinite(predicted).flatten(1).all(dim=1)
    if not bool(sound.all()):
        bad = batch.rows.iloc[int((~sound).nonzero()[0])]
        raise UserError(
            f"The model {painter.name} gives values that are no numbers (frame {bad['frame']} of {bad['source']}): "
            "train it again with a lower learning rate."
        )
    return predicted
