"""Shot cuts: is this frame the first of a shot, compared with the frame before it? Ours.

What a network remembers must be forgotten where a shot begins, in training (column `cut` of the filter table) and in a film
that is being coloured (`CutDetector`, one frame after the other, which never looks ahead). Both go through the same code.

Frames are compared as thumbnails of L*, 32 by 32. Each block of 8 by 8 is looked for in the frame before within 4 pixels in
every direction, so that what has merely moved costs nothing, and the mean difference of the best places is taken twice: in
L* itself, and with each thumbnail's mean and spread taken out. A flash or a fade changes the one and not the other; noise
in the dark the other and not the one. The smaller of the two counts, in units of what cuts begin at. The threshold rises
with the mean of the shot's last distances, since an explosion differs from frame to frame.

On Big Buck Bunny (`benchmarks/cuts.py`, 124 hard cuts, each looked at) precision and recall are .97 and .97 of all frames,
.87 and .94 of every 8th, .84 and .94 of one a second, where motion cannot always be told from a cut. A distance between
histograms, tried beside the two, made the figures worse. Dissolves and fades are not cuts and are not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kinemacolor import cores

if TYPE_CHECKING:
    from kinemacolor.frames.index import FrameStore

SIDE = 32
"""Height and width of a thumbnail in pixels."""
_UNIT_PLAIN, _UNIT_LEVELLED = 9.5, 0.5  # distances at which cuts begin: L*, and in standard deviations
_SPREAD_FLOOR = 2.0  # L* added to the spread, so that the noise of a black frame is not taken for a picture
_THRESHOLD, _OF_LEVEL, _REMEMBERED = 0.9, 0.25, 6


class CutDetector:
    """Tells cuts in a film, frame after frame; how the frames are divided into calls makes no difference."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next frame is the first of its film."""
        self._last: Tensor | None = None
        self._recent: list[float] = []

    def __call__(self, lightness: Tensor, begins: Tensor | None = None) -> Tensor:
        """Look at the next frames of a film.

        Args:
            lightness: L* (N,1,H,W), 0 to 100, any height and width.
            begins: (N,) bool, frames at which a film or clip begins, which need not be compared with the one before.

        Returns:
            (N,) bool, on the CPU: a shot begins at this frame; true for the first frame of all.
        """
        return self.of_thumbnails(thumbnails(lightness), begins)

    def of_thumbnails(self, small: Tensor, begins: Tensor | None = None) -> Tensor:
        """As a call, of what `thumbnails` made."""
        known = torch.zeros(len(small), dtype=torch.bool) if begins is None else begins.clone()
        if self._last is None:
            known[:1] = True
        before = small[:1] if self._last is None else self._last
        # Photographs all begin anew: only what follows on something is compared, or a million of them would take an hour.
        follow = (~known).nonzero()[:, 0]
        value = torch.zeros(len(small))
        value[follow] = _between(torch.cat((before, small[:-1]))[follow], small[follow])
        self._last = small[-1:]
        found = []
        for distance, new in zip(value.tolist(), known.tolist(), strict=True):
            level = sum(self._recent) / len(self._recent) if self._recent else 0.0
            found.append(new or distance > _THRESHOLD + _OF_LEVEL * level)
            # The distance across a cut says nothing about the shot that begins.
            self._recent = [] if found[-1] else [*self._recent, distance][-_REMEMBERED:]
        return torch.tensor(found, dtype=torch.bool)


TOGETHER_PIXELS, _FRAMES = 1 << 21, 1 << 10
"""Pixels of a store that are looked at together: memory stays flat whatever the frames' size."""


def batch_of(store: FrameStore) -> int:
    """Frames of a store that are looked at together."""
    height, width = store.facts["size"]
    # Thumbnails of small frames are larger than they.
    return max(1, min(_FRAMES, TOGETHER_PIXELS // (height * width)))


def first_of_clips(store: FrameStore) -> np.ndarray:
    """(N,) bool: the index rows at which a clip or photograph begins, or, of other sources, the source."""
    begins, clips = np.zeros(len(store), bool), store.clips
    begins[:1] = True
    if clips is not None:
        begins[1:] = clips[1:] != clips[:-1]
    return begins


def shots_of(store: FrameStore) -> np.ndarray:
    """Say at which frames of an index a shot begins, as the filter table's column `cut` does.

    Args:
        store: of a pair, its grey print is looked at; of a collection, every clip begins with a shot.

    Returns:
        (N,) bool, a row of the index each; the first is true.
    """
    from kinemacolor.colour import lightness_of_grey, rgb_to_lab

    begins, detector = first_of_clips(store), CutDetector()
    found = []
    for rows in store.walk(batch_of(store)):
        if store.is_pair:
            lightness = lightness_of_grey(torch.from_numpy(store.grey(rows)))
        else:
            lightness = rgb_to_lab(torch.from_numpy(store.colour(rows)))[:, :1]
        found.append(detector(lightness, torch.from_numpy(begins[rows])).numpy())
    return np.concatenate([*found, np.zeros(0, bool)])


def thumbnails(lightness: Tensor) -> Tensor:
    """L* (N,1,H,W) shrunk by area to (N,32,32), on the CPU."""
    return functional.adaptive_avg_pool2d(lightness.float(), (SIDE, SIDE))[:, 0].cpu()


def distances(small: Tensor) -> Tensor:
    """How much each thumbnail but the first differs from the one before: (N,32,32) -> (N-1,), 1 where cuts begin."""
    return _between(small[:-1], small[1:])


def _between(before: Tensor, now: Tensor) -> Tensor:
    """How much each of `now` differs from its own of `before`: (N,32,32) twice -> (N,), 1 where cuts begin."""
    found = np.empty(len(now), np.float32)
    if len(found):
        from kinemacolor.compiled import in_slabs
        from kinemacolor.frames.cut_kernels import between

        pair = before.contiguous().numpy(), now.contiguous().numpy()
        units = _UNIT_PLAIN, _UNIT_LEVELLED, _SPREAD_FLOOR
        in_slabs(lambda begin, end: between(*pair, *units, found, begin, end), len(found), slab=64, threads=_threads())
    return torch.from_numpy(found)


def _threads() -> int:
    return cores.usable()
