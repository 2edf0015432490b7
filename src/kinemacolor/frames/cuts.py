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

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 32
"""Height and width of a thumbnail in pixels."""
_BLOCK, _REACH = 8, 4
_UNIT_PLAIN, _UNIT_LEVELLED = 9.5, 0.5  # distances at which cuts begin: L*, and in standard deviations
_SPREAD_FLOOR = 2.0  # L* added to the spread, so that the noise of a black frame is not taken for a picture
_THRESHOLD, _OF_LEVEL, _REMEMBERED = 0.9, 0.25, 6
_TOGETHER = 512  # pairs compared at once


class CutDetector:
    """Tells cuts in a film, frame after frame; how the frames are divided into calls makes no difference."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next frame is the first of its film."""
        self._last: Tensor | None = None
        self._recent: list[float] = []

    def __call__(self, lightness: Tensor) -> Tensor:
        """Look at the next frames of a film.

        Args:
            lightness: L* (N,1,H,W), 0 to 100, any height and width.

        Returns:
            (N,) bool, on the CPU: a shot begins at this frame; true for the first frame of all.
        """
        small = thumbnails(lightness)
        if self._last is None:
            found, rest = [True], small
        else:
            found, rest = [], torch.cat((self._last, small))
        self._last = small[-1:]
        for value in distances(rest).tolist():
            level = sum(self._recent) / len(self._recent) if self._recent else 0.0
            found.append(value > _THRESHOLD + _OF_LEVEL * level)
            # The distance across a cut says nothing about the shot that begins.
            self._recent = [] if found[-1] else [*self._recent, value][-_REMEMBERED:]
        return torch.tensor(found, dtype=torch.bool)


def thumbnails(lightness: Tensor) -> Tensor:
    """L* (N,1,H,W) shrunk by area to (N,32,32), on the CPU."""
    return functional.adaptive_avg_pool2d(lightness.float(), (SIDE, SIDE))[:, 0].cpu()


def distances(small: Tensor) -> Tensor:
    """How much each thumbnail but the first differs from the one before: (N,32,32) -> (N-1,), 1 where cuts begin."""
    if len(small) < 2:
        return torch.empty(0)
    spread = small.std(dim=(1, 2), keepdim=True) + _SPREAD_FLOOR
    levelled = (small - small.mean(dim=(1, 2), keepdim=True)) / spread
    found = []
    for begin in range(0, len(small) - 1, _TOGETHER):
        pair = slice(begin, begin + _TOGETHER), slice(begin + 1, begin + 1 + _TOGETHER)
        plain, equal = (_moved(one[pair[0]][: len(one[pair[1]])], one[pair[1]]) for one in (small, levelled))
        found.append(torch.minimum(plain / _UNIT_PLAIN, equal / _UNIT_LEVELLED))
    return torch.cat(found)


def _moved(before: Tensor, now: Tensor) -> Tensor:
    """Mean difference of blocks of `now` from the places in `before` that resemble them most: (N,32,32) twice -> (N,)."""
    framed = functional.pad(before[:, None], (_REACH,) * 4, mode="replicate")[:, 0]
    best = torch.full((len(now), SIDE // _BLOCK, SIDE // _BLOCK), torch.inf)
    for down in range(2 * _REACH + 1):
        for right in range(2 * _REACH + 1):
            difference = (framed[:, down : down + SIDE, right : right + SIDE] - now).abs_()
            best = torch.minimum(best, functional.avg_pool2d(difference[:, None], _BLOCK)[:, 0])
    return best.mean(dim=(1, 2))
