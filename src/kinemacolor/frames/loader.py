"""Batches ready to train: gathered from memory-mapped shards, cropped, flipped and turned to Lab on the device.

There are no loader processes: on a memory-mapped store they halve the rate. A material (frames/material.py) that fits
lives on the GPU as uint8. Every random choice follows from (seed, epoch), so an epoch is the same whether or not a training was interrupted.

Networks with a memory are given runs (frames/runs.py) in random order, joined to one line that is cut into lanes: a batch
is the next few frames of every lane, so a state carried from batch to batch always meets the frame that follows.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames import runs
from kinemacolor.frames.material import Material, kept
from kinemacolor.models import Memory
from kinemacolor.models.coding import View
from kinemacolor.params import AugmentParams

__all__ = ["Batch", "Batches", "Material", "kept"]


class Batch(NamedTuple):
    """A batch as every network family reads it, float32, on the training device."""

    view: View
    """What the network may see. Its L* is the grey print's for a pair, else the true frame's own."""
    lab: Tensor
    """True colours in Lab (N,3,H,W)."""
    window: int = 1
    """N = lanes x window: consecutive frames, lane by lane."""
    weight: float = 1.0
    """Where several ranks share a batch: factor on this one's mean, so that the mean over ranks is that of the batch."""


class Batches:
    """One epoch over a material; iterable as often as wanted, the same each time.

    With window 1 a training epoch is all frames in random order; the last batch may be smaller, no frame is dropped.
    With a longer window, or for a network that carries something on (memory `state` or `own`), it is lanes: batch_size //
    window of them (at least one), `window` frames of each in a batch. The line of runs is padded by going round, so that
    every batch is full and no frame is dropped; crop and mirror are drawn once a run, since a state must not jump.
    In validation frames come in order, those of networks with a memory as one lane of batch_size frames at a time.

    Of the view, besides L*: `starts`, for lanes and for networks with a memory: the first frame of each run, and of each
    lane where something is carried on; `embedding` and `coloured` if the material has them; `previous` for memory
    `coloured`, the frame before as the other model coloured it (the frame's own where a run begins), and for memory
    `own` in training, the true colours of the frame before (grey where a run begins). The frame before is that of the
    index, so it is the true one at the first frame of a window and in random order too.

    Args:
        material: the frames.
        batch_size: frames in a batch, over all ranks.
        augment: crop and flip; the crop is random in training and central in validation.
        shuffle: (seed, epoch) of a training epoch, or None for validation: in order, centre crop, no flip.
        window: consecutive frames that are trained on together.
        memory: what the network knows of the frame before; see `models.Family`.
        share: (rank, ranks): this rank's part of every batch, which is the same batch however many there are. In training
            a rank for which a small last batch has no frame is given its first one with weight 0; in validation it is
            given none, and networks with a memory are validated by one rank, or by each alone.

    Raises:
        UserError: the crop is larger than the frames, no run is as long as the window, fewer lanes than ranks, or a
            memory `coloured` without another model's colours.
    """

    def __init__(
        self,
        material: Material,
        *,
        batch_size: int,
        augment: AugmentParams,
        shuffle: tuple[int, int] | None,
        window: int = 1,
        memory: Memory = "none",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if augment.crop is not None and augment.crop > min(material.size):
            raise UserError(
                f"augment.crop ({augment.crop}) is larger than the frames ({material.size[0]}x{material.size[1]}): lower it."
            )
        if memory == "coloured" and not material.is_coloured:
            raise UserError(
                "This network sees frames as another model coloured them, and there are none: name that model in `precoloured_by`."
            )
        self._material, self._batch_size, self._augment, self._shuffle = material, batch_size, augment, shuffle
        self._window, self._memory, (self._rank, self._ranks) = window, memory, share
        self._in_lanes = window > 1 or memory in ("state", "own")
        self._lanes = max(1, batch_size // window)
        if not self._in_lanes:
            return
        if shuffle is None:
            if self._ranks > 1:
                raise ValueError("frames in order are one lane, which cannot be shared")
            return
        longest = int(runs.lengths(material.starts[material.order]).max())
        if longest < window:
            raise UserError(
                f"No {window} consecutive frames stay together (the longest run without a cut or a gap has {longest}): "
                "lower `window`, or take frames that lie closer together (`frames.every`)."
            )
        if self._lanes < self._ranks:
            raise UserError(
                f"batch_size {batch_size} holds {self._lanes} windows of {window} frames, fewer than the {self._ranks} devices: "
                "raise `batch_size`, or lower `window` or `devices`."
            )

    def __len__(self) -> int:
        count = len(self._material)
        if self._in_lanes and self._shuffle is not None:
            return -(-count // (self._lanes * self._window))
        batches = -(-count // self._batch_size)
        if self._shuffle is None and batches:
            # Whether this rank has a frame of the last batch, too.
            last = count - (batches - 1) * self._batch_size
            begin, end = self._bounds(last)
            return batches - (begin == end)
        return batches

    def __iter__(self) -> Iterator[Batch]:
        if not self._in_lanes:
            return self._frames()
        return self._line_in_order() if self._shuffle is None else self._line_of_runs(self._shuffle)

    def _frames(self) -> Iterator[Batch]:
        """Frames by themselves: at random, or in the table's order."""
        count = len(self._material)
        random = None if self._shuffle is None else np.random.default_rng(self._shuffle)
        order = np.arange(count) if random is None else random.permutation(count)
        for at in range(0, count, self._batch_size):
            chosen = order[at : at + self._batch_size]
            # Drawn for the whole batch, whoever gets which part of it.
            corners = self._corners(len(chosen), random)
            flips = random.random(len(chosen)) < 0.5 if random is not None and self._augment.flip else None
            begin, end = self._bounds(len(chosen))
            weight = (end - begin) * self._ranks / len(chosen)
            if begin == end:
                if random is None:
                    continue
                begin, end = 0, 1
            part = slice(begin, end)
            taken = chosen[part, None]
            starts = self._material.starts[taken] if self._memory != "none" else None
            yield self._batch(taken, starts, _part(corners, part), _part(flips, part), weight)

    def _line_in_order(self) -> Iterator[Batch]:
        """Validation of networks with a memory: one lane."""
        order, starts = self._material.order, self._material.starts
        for at in range(0, len(order), self._batch_size):
            chosen = order[None, at : at + self._batch_size]
            corners = self._corners(chosen.size, None)
            yield self._batch(chosen, starts[chosen], _part(corners, np.zeros_like(chosen)), None)

    def _line_of_runs(self, shuffle: tuple[int, int]) -> Iterator[Batch]:
        """Training in lanes."""
        material, random = self._material, np.random.default_rng(shuffle)
        first = np.flatnonzero(material.starts[material.order])
        length = runs.lengths(material.starts[material.order])
        drawn = random.permutation(len(first))
        # The line: places in the order of the index, run after run; and the number of the run that each belongs to.
        line = np.concatenate([np.arange(first[run], first[run] + length[run]) for run in drawn])
        run = np.repeat(drawn, length[drawn])
        corners = self._corners(len(first), random)
        flips = random.random(len(first)) < 0.5 if self._augment.flip else None
        steps = len(self)
        lanes = np.arange(self._lanes * steps * self._window).reshape(self._lanes, -1) % len(line)
        begin, end = self._bounds(self._lanes)
        weight = (end - begin) * self._ranks / self._lanes
        for step in range(steps):
            at = lanes[begin:end, step * self._window : (step + 1) * self._window]
            chosen = material.order[line[at]]
            starts = material.starts[chosen]
            if step == 0 and self._memory != "coloured":  # whose frame before is known there as well
                starts[:, 0] = True
            yield self._batch(chosen, starts, _part(corners, run[at]), _part(flips, run[at]), weight)

    def _bounds(self, count: int) -> tuple[int, int]:
        """First and end of this rank's part of `count` things."""
        return count * self._rank // self._ranks, count * (self._rank + 1) // self._ranks

    def _corners(self, count: int, random: np.random.Generator | None) -> np.ndarray | None:
        """Top left corners (count,2) of the crops."""
        if self._augment.crop is None:
            return None
        room = np.array(self._material.size) - self._augment.crop
        return np.tile(room // 2, (count, 1)) if random is None else random.integers(0, room + 1, (count, 2))

    def _batch(
        self,
        chosen: np.ndarray,
        starts: np.ndarray | None,
        corners: np.ndarray | None,
        flips: np.ndarray | None,
        weight: float = 1.0,
    ) -> Batch:
        """A batch of the frames at the places `chosen` (lanes, window)."""
        material = self._material
        lanes, window = chosen.shape
        corners = None if corners is None else corners.reshape(lanes, window, 2)
        flips = None if flips is None else flips.reshape(lanes, window)

        def lab(name: str, *, before: bool) -> Tensor | None:
            """Lab (lanes, window, 3, H, W); with the frame before each lane's first, if asked for, in front."""
            places, cut, mirrored = chosen, corners, flips
            if before:  # in the same run and so cut and mirrored alike
                places = np.concatenate((material.before[chosen[:, :1]], chosen), axis=1)
                cut = None if cut is None else np.concatenate((cut[:, :1], cut), axis=1)
                mirrored = None if mirrored is None else np.concatenate((mirrored[:, :1], mirrored), axis=1)
            pictures = material.pictures(name, places.ravel())
            if pictures is None:
                return None
            pictures = self._augmented(pictures, cut, mirrored)
            # A grey picture has 256 tones and so 256 values of L*.
            values = _tones(material.device)[pictures.long()] if name == "grey" else rgb_to_lab(pictures)
            return values.unflatten(0, places.shape)

        own = self._memory == "own" and self._shuffle is not None
        true, grey = lab("colour", before=own), lab("grey", before=False)
        coloured = lab("coloured", before=self._memory == "coloured")
        previous = None
        if own:
            previous, true = true[:, :-1], true[:, 1:]
        elif self._memory == "coloured":
            previous, coloured = coloured[:, :-1], coloured[:, 1:]
        lightness = (true[:, :, :1] if grey is None else grey).contiguous()
        if previous is not None:
            first = torch.from_numpy(material.starts[chosen]).to(material.device)[..., None, None, None]
            nothing = torch.cat((lightness, torch.zeros_like(true[:, :, 1:])), dim=2) if own else coloured
            previous = torch.where(first, nothing, previous).flatten(0, 1)
        view = View(
            lightness.flatten(0, 1),
            starts=None if starts is None else torch.from_numpy(starts).to(material.device).flatten(),
            embedding=material.embedding(chosen.ravel()),
            coloured=None if coloured is None else coloured.flatten(0, 1),
            previous=previous,
        )
        return Batch(view, true.flatten(0, 1), window, weight)

    def _augmented(self, pictures: Tensor, corners: np.ndarray | None, flips: np.ndarray | None) -> Tensor:
        if corners is not None:
            side = self._augment.crop
            places = corners.reshape(-1, 2)
            pictures = torch.stack(
                [picture[:, y : y + side, x : x + side] for picture, (y, x) in zip(pictures, places, strict=True)]
            )
        if flips is None:
            return pictures
        mirrored = torch.from_numpy(flips.ravel()).to(pictures.device)[:, None, None, None]
        return torch.where(mirrored, pictures.flip(-1), pictures)


@functools.lru_cache(maxsize=8)
def _tones(device: torch.device) -> Tensor:
    """L* of the 256 greys."""
    return lightness_of_grey(torch.arange(256, dtype=torch.uint8).view(1, 1, 256)).flatten().to(device)


def _part(values: np.ndarray | None, chosen: slice | np.ndarray) -> np.ndarray | None:
    return None if values is None else values[chosen]
