"""Batches ready to train: gathered from memory-mapped shards, cropped, flipped and turned to Lab on the device.

There are no loader processes: on a memory-mapped store they halve the rate. A material that fits lives on the GPU as
uint8. Every random choice follows from (seed, epoch), so an epoch is the same whether or not a training was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames.index import FrameStore
from kinemacolor.models.coding import View
from kinemacolor.params import AugmentParams

_RESIDENT_SHARE = 0.3
"""Share of a GPU's free memory that a dataset may take to live there whole."""


class Batch(NamedTuple):
    """A batch as every network family reads it, float32, on the training device."""

    view: View
    """What the network may see. Its L* is the grey print's for a pair, else the true frame's own."""
    lab: Tensor
    """True colours in Lab (N,3,H,W)."""
    window: int = 1
    """N = lanes x window: consecutive frames, lane by lane."""


class Material:
    """The kept frames of one part of a dataset, over all its sources.

    Args:
        stores: opened frame stores by source name; all of one size, all pairs or none.
        table: rows of the filter table of this part, in the order of an unshuffled epoch.
        device: where batches are wanted.
    """

    def __init__(self, stores: dict[str, FrameStore], table: pd.DataFrame, device: torch.device) -> None:
        sizes = {tuple(store.facts["size"]) for store in stores.values()}
        if len(sizes) > 1 or len({store.is_pair for store in stores.values()}) > 1:
            raise UserError(
                f"The sources {', '.join(stores)} have frames of different sizes or kinds: run the frames stage of each again."
            )
        self.size: tuple[int, int] = sizes.pop()
        self.device = device
        self._stores = list(stores.values())
        self._store = table["source"].map({name: number for number, name in enumerate(stores)}).to_numpy(np.int64)
        rows = [pd.Series(np.arange(len(store)), index=store.table["frame"]) for store in self._stores]
        self._row = np.array([rows[store][frame] for store, frame in zip(self._store, table["frame"], strict=True)], np.int64)
        self._is_pair = self._stores[0].is_pair
        self._grey_lightness = rgb_to_lab(torch.arange(256, dtype=torch.uint8).expand(3, 1, 256))[0, 0].to(device)
        self._resident: tuple[Tensor, Tensor | None] | None = None
        if device.type == "cuda" and self._bytes() < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
            colour, grey = self._gather(np.arange(len(self)))
            self._resident = colour.to(device), None if grey is None else grey.to(device)

    def __len__(self) -> int:
        return len(self._row)

    def _bytes(self) -> int:
        return len(self) * self.size[0] * self.size[1] * (4 if self._is_pair else 3)

    def _gather(self, chosen: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Pictures of the chosen frames, uint8: colour (B,3,H,W) and, for pairs, grey (B,1,H,W)."""
        colour = np.empty((len(chosen), 3, *self.size), np.uint8)
        grey = np.empty((len(chosen), 1, *self.size), np.uint8) if self._is_pair else None
        for number, store in enumerate(self._stores):
            here = np.flatnonzero(self._store[chosen] == number)
            if len(here):
                colour[here] = store.colour(self._row[chosen[here]])
                if grey is not None:
                    grey[here] = store.grey(self._row[chosen[here]])
        return torch.from_numpy(colour), None if grey is None else torch.from_numpy(grey)

    def pictures(self, chosen: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """As `_gather`, on the device."""
        if self._resident is not None:
            index = torch.from_numpy(chosen).to(self.device)
            colour, grey = self._resident
            return colour[index], None if grey is None else grey[index]
        colour, grey = self._gather(chosen)
        return colour.to(self.device), None if grey is None else grey.to(self.device)

    def batch(self, colour: Tensor, grey: Tensor | None) -> Batch:
        """Lab and L* of uint8 pictures."""
        lab = rgb_to_lab(colour)
        # A grey picture has 256 tones and so 256 values of L*.
        lightness = lab[:, :1] if grey is None else self._grey_lightness[grey.long()]
        return Batch(View(lightness.contiguous()), lab)


class Batches:
    """One epoch over a material; iterable as often as wanted, the same each time.

    Args:
        material: the frames.
        batch_size: frames in a batch; the last one may be smaller, no frame is dropped.
        augment: crop and flip; the crop is random in training and central in validation.
        shuffle: (seed, epoch) of a training epoch, or None for validation: in order, centre crop, no flip.
    """

    def __init__(self, material: Material, *, batch_size: int, augment: AugmentParams, shuffle: tuple[int, int] | None) -> None:
        if augment.crop is not None and augment.crop > min(material.size):
            raise UserError(
                f"augment.crop ({augment.crop}) is larger than the frames ({material.size[0]}x{material.size[1]}): lower it."
            )
        self._material, self._batch_size, self._augment, self._shuffle = material, batch_size, augment, shuffle

    def __len__(self) -> int:
        return -(-len(self._material) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self._material)
        random = None if self._shuffle is None else np.random.default_rng(self._shuffle)
        order = np.arange(count) if random is None else random.permutation(count)
        for begin in range(0, count, self._batch_size):
            chosen = order[begin : begin + self._batch_size]
            colour, grey = self._material.pictures(chosen)
            cut = self._crops(len(chosen), random)
            flip = None
            if random is not None and self._augment.flip:
                flip = torch.from_numpy(random.random(len(chosen)) < 0.5).to(colour.device)
            yield self._material.batch(
                self._augmented(colour, cut, flip), None if grey is None else self._augmented(grey, cut, flip)
            )

    def _crops(self, count: int, random: np.random.Generator | None) -> np.ndarray | None:
        """Top left corners (B,2) of the crops."""
        if self._augment.crop is None:
            return None
        room = np.array(self._material.size) - self._augment.crop
        return np.tile(room // 2, (count, 1)) if random is None else random.integers(0, room + 1, (count, 2))

    def _augmented(self, pictures: Tensor, corners: np.ndarray | None, flip: Tensor | None) -> Tensor:
        if corners is not None:
            side = self._augment.crop
            pictures = torch.stack(
                [picture[:, y : y + side, x : x + side] for picture, (y, x) in zip(pictures, corners, strict=True)]
            )
        return pictures if flip is None else torch.where(flip[:, None, None, None], pictures.flip(-1), pictures)


def kept(filter_table: Path) -> pd.DataFrame:
    """The rows of a filter table that count: source, frame, split.

    Raises:
        UserError: the file is missing.
    """
    if not Path(filter_table).is_file():
        raise UserError(f"{filter_table} is missing: run the filter stage.")
    table = pd.read_parquet(filter_table)
    return table.loc[table["keep"], ["source", "frame", "split"]].reset_index(drop=True)
