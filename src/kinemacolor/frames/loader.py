"""Batches ready to train: gathered from memory-mapped shards, cropped, flipped and turned to Lab.

There are no loader processes: on a memory-mapped store they halve the rate. A material (frames/material.py) that fits lives on
the GPU as uint8 and needs no helper; else threads prepare batches ahead. What is in a batch is drawn by the thread that asks
for it, before any helper sees it. Every random choice follows from (seed, epoch) and the frames, so an epoch is of the same
frames, cut and mirrored alike, whether or not a training was interrupted, on whatever machine and whoever prepares it. Their
Lab is the same to the byte where compiled code makes it (way `host`); a GPU's (`resident` and `sent`) differs from it, and
from another GPU's, in the last digits.

Networks with a memory are given runs (frames/runs.py) in random order, joined to one line that is cut into lanes: a batch
is the next few frames of every lane, so a state carried from batch to batch always meets the frame that follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kinemacolor import cores
from kinemacolor.errors import UserError
from kinemacolor.frames import runs, shuffling
from kinemacolor.frames.ahead import done_ahead
from kinemacolor.frames.material import Material, kept
from kinemacolor.frames.window import Window
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


class _Plan(NamedTuple):
    """What a batch is made of."""

    chosen: np.ndarray
    """Places of its frames (lanes, window)."""
    starts: np.ndarray | None
    """Whether a run, or for the network its lane, begins at each, (lanes, window)."""
    corners: np.ndarray | None
    """Of the crops, (lanes, window, 2)."""
    flips: np.ndarray | None
    """(lanes, window)."""
    weight: float = 1.0


class Batches:
    """One epoch over a material; iterable as often as wanted, the same each time.

    With window 1 a training epoch is all frames in random order; the last batch may be smaller, no frame is dropped. Frames
    of 8 GiB or more are shuffled in windows that are read ahead (shuffling.py), whatever memory there is.
    With a longer window, or for a network that carries something on (memory `state` or `own`), it is lanes: batch_size //
    window of them (at least one), `window` frames of each in a batch. The line of runs is padded by going round, so that
    every batch is full and no frame is dropped; crop and mirror are drawn once a run, since a state must not jump.
    Runs are drawn from all of the material also where it is many frames, and read ahead: a disk then follows as many places
    as there are lanes, each from one end of a run to the other, which suits it where shots are long. Where most runs are of a
    few frames only, as of a collection of short clips on a slow disk, it does not, and lanes wait for it.
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
        workers: threads that prepare batches ahead, which changes nothing in them; None: none where frames live on the
            GPU, or are in memory and trained on by the same processor; else up to four.

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
        workers: int | None = None,
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
        self._workers = _workers(material) if workers is None else workers
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
        # Helpers work side by side; alone, the kernels may use all threads.
        threads = 1 if self._workers else None
        for plan, prepared in done_ahead(self._plans(), lambda plan: self._prepared(plan, threads), workers=self._workers):
            yield self._batch(plan, prepared)

    def _plans(self) -> Iterator[_Plan]:
        if not self._in_lanes:
            return self._frames()
        return self._line_in_order() if self._shuffle is None else self._line_of_runs(self._shuffle)

    def _frames(self) -> Iterator[_Plan]:
        """Frames by themselves: at random, or in the table's order."""
        material, count = self._material, len(self._material)
        random = None if self._shuffle is None else np.random.default_rng(self._shuffle)
        reading: AbstractContextManager[shuffling.ReadAhead | None] = nullcontext()
        if random is None:
            order = np.arange(count)
        elif material.fits:
            order = random.permutation(count)
        else:
            drawn = shuffling.windowed(material.order, random, block=max(1, shuffling.BLOCK // material.frame_bytes))
            order = drawn.places
            if material.way != "resident":
                reading = shuffling.ReadAhead(drawn.ends, drawn.blocks, material)
        with reading as ahead:
            for at in range(0, count, self._batch_size):
                if ahead is not None:
                    ahead.reached(at)
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
                starts = material.starts[taken] if self._memory != "none" else None
                yield _plan(taken, starts, _part(corners, part), _part(flips, part), weight)

    def _line_in_order(self) -> Iterator[_Plan]:
        """Validation of networks with a memory: one lane."""
        order, starts = self._material.order, self._material.starts
        for at in range(0, len(order), self._batch_size):
            chosen = order[None, at : at + self._batch_size]
            corners = self._corners(chosen.size, None)
            yield _plan(chosen, starts[chosen], _part(corners, np.zeros_like(chosen)), None)

    def _line_of_runs(self, shuffle: tuple[int, int]) -> Iterator[_Plan]:
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
        with self._lanes_ahead(line[lanes[begin:end]]) as ahead:
            for step in range(steps):
                if ahead is not None:
                    ahead.reached(step)
                at = lanes[begin:end, step * self._window : (step + 1) * self._window]
                chosen = material.order[line[at]]
                starts = material.starts[chosen]
                if step == 0 and self._memory != "coloured":  # whose frame before is known there as well
                    starts[:, 0] = True
                yield _plan(chosen, starts, _part(corners, run[at]), _part(flips, run[at]), weight)

    def _lanes_ahead(self, ranks: np.ndarray) -> AbstractContextManager[shuffling.ReadAhead | None]:
        """Reads ahead what lanes come to: ranks in the order of the indexes (lanes, frames), of every frame of the epoch."""
        material = self._material
        if material.fits or material.way == "resident":
            return nullcontext()
        step = material.frame_bytes * self._window * len(ranks)
        steps = max(1, shuffling.BLOCK * shuffling.WINDOW // step)
        begins = np.arange(0, ranks.shape[1], steps * self._window)
        blocks = [material.order[np.unique(part)] for part in np.split(ranks, begins[1:], axis=1)]
        return shuffling.ReadAhead(np.append(begins[1:], ranks.shape[1]) // self._window, blocks, material)

    def _bounds(self, count: int) -> tuple[int, int]:
        """First and end of this rank's part of `count` things."""
        return count * self._rank // self._ranks, count * (self._rank + 1) // self._ranks

    def _corners(self, count: int, random: np.random.Generator | None) -> np.ndarray | None:
        """Top left corners (count,2) of the crops."""
        if self._augment.crop is None:
            return None
        room = np.array(self._material.size) - self._augment.crop
        return np.tile(room // 2, (count, 1)) if random is None else random.integers(0, room + 1, (count, 2))

    @property
    def _own(self) -> bool:
        """The network is shown the true frame before."""
        return self._memory == "own" and self._shuffle is not None

    def _prepared(self, plan: _Plan, threads: int | None) -> dict[str, Tensor]:
        """What can be done ahead: the windows of each kind of picture, with the frame before each lane's first, if asked for,
        in front."""
        before = {"colour": self._own, "coloured": self._memory == "coloured"}
        found: dict[str, Tensor] = {}
        for name in ("colour", "grey", "coloured"):
            if not self._material.has(name):
                continue
            places, corners, flips = plan.chosen, plan.corners, plan.flips
            if before.get(name):  # in the same run and so cut and mirrored alike
                places = np.concatenate((self._material.before[plan.chosen[:, :1]], places), axis=1)
                corners = None if corners is None else np.concatenate((corners[:, :1], corners), axis=1)
                flips = None if flips is None else np.concatenate((flips[:, :1], flips), axis=1)
            window = Window(
                self._material.size if corners is None else (self._augment.crop, self._augment.crop),
                None if corners is None else corners.reshape(-1, 2),
                None if flips is None else flips.ravel(),
            )
            found[name] = self._material.prepared(name, places.ravel(), window, threads=threads).unflatten(0, places.shape)
        return found

    def _batch(self, plan: _Plan, prepared: dict[str, Tensor]) -> Batch:
        material, (lanes, window) = self._material, plan.chosen.shape

        def lab(name: str) -> Tensor | None:
            """Lab (lanes, window, 3, H, W)."""
            if name not in prepared:
                return None
            return material.lab(prepared[name].flatten(0, 1)).unflatten(0, (lanes, -1))

        true, grey, coloured = lab("colour"), lab("grey"), lab("coloured")
        previous = None
        if self._own:
            previous, true = true[:, :-1], true[:, 1:]
        elif self._memory == "coloured":
            previous, coloured = coloured[:, :-1], coloured[:, 1:]
        lightness = _contiguous(true[:, :, :1]) if grey is None else grey
        if previous is not None:
            first = torch.from_numpy(material.starts[plan.chosen]).to(material.device)[..., None, None, None]
            nothing = torch.cat((lightness, torch.zeros_like(true[:, :, 1:])), dim=2) if self._own else coloured
            previous = torch.where(first, nothing, previous).flatten(0, 1)
        view = View(
            lightness.flatten(0, 1),
            starts=None if plan.starts is None else torch.from_numpy(plan.starts).to(material.device).flatten(),
            embedding=material.embedding(plan.chosen.ravel()),
            coloured=None if coloured is None else coloured.flatten(0, 1),
            previous=previous,
        )
        return Batch(view, true.flatten(0, 1), window, plan.weight)


def _contiguous(values: Tensor) -> Tensor:
    # Where cores are scarce torch's threads may wait for milliseconds to share out a copy of as many microseconds.
    return torch.from_numpy(np.ascontiguousarray(values.numpy())) if values.device.type == "cpu" else values.contiguous()


def _workers(material: Material) -> int:
    if material.way == "resident" or (material.way == "host" and material.fits):
        return 0
    return min(4, cores.usable())


def _plan(
    chosen: np.ndarray, starts: np.ndarray | None, corners: np.ndarray | None, flips: np.ndarray | None, weight: float = 1.0
) -> _Plan:
    lanes, window = chosen.shape
    corners = None if corners is None else corners.reshape(lanes, window, 2)
    return _Plan(chosen, starts, corners, None if flips is None else flips.reshape(lanes, window), weight)


def _part(values: np.ndarray | None, chosen: slice | np.ndarray) -> np.ndarray | None:
    return None if values is None else values[chosen]
