"""Which offset explains each moment of the colour print: a hidden Markov model over offsets.

Every colour frame is in one state: it is shown by the grey print at a certain offset, or not at all. Staying in a state is
free; a change (a cut in one of the prints) has its cost, which grows where it shows grey frames again (`Costs.again`); what a
state explains is the likeness of the two frames. The
best path (Viterbi 1967) gives the segments, to the frame; the sum over all paths (forward-backward) says how sure each frame's
state is: in a still shot between two equal offsets it is sure, beside a cut it is not. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NOTHING = -1
"""State of a frame that the grey print does not show."""


@dataclass(frozen=True)
class Lane:
    """The offsets that are possible over a stretch of colour frames.

    Attributes:
        start: first colour frame.
        states: int64 (m,), names of the states; a name means the same offset in every lane.
        gain: float32 (n, m), log likelihood of each state at frames start .. start + n, against that of no match.
    """

    start: int
    states: NDArray[np.int64]
    gain: NDArray[np.float32]

    @property
    def end(self) -> int:
        """The colour frame after the last."""
        return self.start + len(self.gain)


@dataclass(frozen=True)
class _Slab:
    """Colour frames start <= n < end over which the possible states are the same; column 0 is NOTHING."""

    start: int
    end: int
    states: NDArray[np.int64]
    gain: NDArray[np.float32]

    def likelihood(self) -> NDArray[np.float64]:
        """Likelihood of each state at each frame, of the likeliest one's."""
        return np.exp((self.gain - self.gain.max(axis=1, keepdims=True)).astype(np.float64))


@dataclass(frozen=True)
class Costs:
    """What a change of state costs, in nats.

    Attributes:
        change: going from one offset to another, whichever.
        leave: going from an offset to NOTHING, and back.
        again: further cost for every grey frame that going back shows again, up to `most`: a print seldom shows frames twice,
            while a shot that stands still would gladly be shown for longer than it lasts.
    """

    change: float
    leave: float
    again: float = 0.0
    most: float = 0.0

    def between(self, old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[np.float64]:
        """(old, new) cost of each change; column and row 0 are NOTHING."""
        back = np.maximum(old[:, None] - new[None], 0).astype(np.float64)
        cost = self.change + np.minimum(self.again * back, self.most)
        cost[old[:, None] == new[None]] = 0
        cost[0, 1:] = cost[1:, 0] = self.leave
        cost[0, 0] = 0
        return cost


def best_path(lanes: Sequence[Lane], frames: int, costs: Costs) -> NDArray[np.int64]:
    """The state of every colour frame, int64 (frames,). Lanes may overlap; equal states in two lanes are one."""
    value, states = np.zeros(1), np.array([NOTHING])
    history: list[tuple[_Slab, NDArray[np.int32]]] = []
    for slab in _slabs(lanes, frames):
        came = np.empty((slab.end - slab.start, len(slab.states)), np.int32)
        moved = costs.between(states, slab.states)
        stayed = costs.between(slab.states, slab.states)
        columns = np.arange(len(slab.states))
        for at in range(len(came)):
            total = value[:, None] - (stayed if at else moved)
            came[at] = total.argmax(axis=0)
            value = total[came[at], columns] + slab.gain[at]
        states = slab.states
        history.append((slab, came))
    found = np.empty(frames, np.int64)
    here = int(value.argmax())
    for slab, came in reversed(history):
        for at in range(len(came) - 1, -1, -1):
            found[slab.start + at] = slab.states[here]
            here = int(came[at, here])
    return found


def certainty(lanes: Sequence[Lane], path: NDArray[np.int64], costs: Costs) -> NDArray[np.float32]:
    """Probability of the path's state at every frame, float32 (frames,), by the sum over all paths."""
    slabs = _slabs(lanes, len(path))
    before = [np.array([NOTHING]), *(slab.states for slab in slabs[:-1])]
    within = [np.exp(-costs.between(slab.states, slab.states)) for slab in slabs]
    across = [np.exp(-costs.between(old, slab.states)) for old, slab in zip(before, slabs, strict=True)]
    forward: list[NDArray[np.float32]] = []
    p = np.ones(1)
    for index, slab in enumerate(slabs):
        kept = np.empty((slab.end - slab.start, len(slab.states)), np.float32)
        likelihood = slab.likelihood()
        for at in range(len(kept)):
            p = (p @ (within[index] if at else across[index])) * likelihood[at]
            p /= p.sum()
            kept[at] = p
        forward.append(kept)
    found = np.empty(len(path), np.float32)
    q = np.ones(len(slabs[-1].states))
    for index in range(len(slabs) - 1, -1, -1):
        slab = slabs[index]
        named = path[slab.start : slab.end]
        column = np.where(named == NOTHING, 0, np.searchsorted(slab.states[1:], named) + 1)
        likelihood = slab.likelihood()
        for at in range(slab.end - slab.start - 1, -1, -1):
            both = forward[index][at] * q
            found[slab.start + at] = both[column[at]] / max(both.sum(), 1e-300)
            q = (within[index] if at else across[index]) @ (q * likelihood[at])
            q /= q.sum()
    return found


def _slabs(lanes: Sequence[Lane], frames: int) -> list[_Slab]:
    edges = sorted({0, frames, *(max(0, lane.start) for lane in lanes), *(min(frames, lane.end) for lane in lanes)})
    slabs = []
    for start, end in pairwise(edges):
        here = [lane for lane in lanes if lane.start <= start and lane.end >= end]
        states = np.unique(np.concatenate([np.zeros(0, np.int64), *(lane.states for lane in here)]))
        gain = np.full((end - start, len(states) + 1), -np.inf, np.float32)
        gain[:, 0] = 0
        for lane in here:
            columns = np.searchsorted(states, lane.states) + 1
            part = lane.gain[start - lane.start : end - lane.start]
            gain[:, columns] = np.maximum(gain[:, columns], part)
        gain[~np.isfinite(gain)] = -1e3
        slabs.append(_Slab(start, end, np.concatenate([[NOTHING], states]), gain))
    return slabs
