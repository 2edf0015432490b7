"""Which offset explains each moment of the colour print: a hidden Markov model over offsets.

Every colour frame is in one state: it is shown by the grey print at a certain offset, or not at all. Staying in a state is
free, any change costs the same (a cut in one of the prints); what a state explains is the likeness of the two frames. The
best path (Viterbi 1967) gives the segments, to the frame; the sum over all paths (forward-backward) says how sure each frame's
state is: in a still shot between two equal offsets it is sure, beside a cut it is not. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def best_path(lanes: Sequence[Lane], frames: int, *, change: float, leave: float) -> NDArray[np.int64]:
    """The state of every colour frame, int64 (frames,).

    Args:
        lanes: may overlap; equal states in two lanes are one.
        change: penalty of going from one offset to another.
        leave: penalty of going from an offset to NOTHING, and back.
    """
    slabs = _slabs(lanes, frames)
    value = np.zeros(1)
    states = np.array([NOTHING])
    history: list[tuple[_Slab, NDArray, NDArray, NDArray]] = []
    for slab in slabs:
        value, origin = _carried(value, states, slab.states, change, leave)
        states = slab.states
        count = slab.end - slab.start
        came = np.empty((count, 2), np.int32)  # where a jump to an offset, and one to NOTHING, comes from
        jumped = np.empty((count, len(states)), bool)
        for at in range(count):
            top = int(value.argmax())
            to_offset = max(value[top] - (change if top else leave), value[0] - leave)
            came[at] = (top if value[top] - (change if top else leave) >= value[0] - leave else 0), top
            to_nothing = value[top] - leave
            better = value < to_offset
            better[0] = value[0] < to_nothing
            value = np.where(better, to_offset, value)
            if better[0]:
                value[0] = to_nothing
            jumped[at] = better
            value = value + slab.gain[at]
        history.append((slab, origin, came, jumped))
    found = np.empty(frames, np.int64)
    here = int(value.argmax())
    for slab, origin, came, jumped in reversed(history):
        for at in range(slab.end - slab.start - 1, -1, -1):
            found[slab.start + at] = slab.states[here]
            if jumped[at, here]:
                here = int(came[at, 1 if here == 0 else 0])
        here = int(origin[here])
    return found


def certainty(lanes: Sequence[Lane], path: NDArray[np.int64], *, change: float, leave: float) -> NDArray[np.float32]:
    """Probability of the path's state at every frame, float32 (frames,), by the sum over all paths."""
    slabs = _slabs(lanes, len(path))
    stay, leap, exit_ = 1.0, np.exp(-change), np.exp(-leave)

    def moved(p: NDArray) -> NDArray:
        total, none = p.sum(), p[0]
        out = p * stay + (total - none) * leap + none * exit_
        out[0] = none * stay + (total - none) * exit_
        return out

    forward: list[NDArray] = []
    p, states = np.ones(1), np.array([NOTHING])
    for slab in slabs:
        p = _renamed(p, states, slab.states, leap)
        states = slab.states
        likelihood = np.exp(slab.gain - slab.gain.max(axis=1, keepdims=True)).astype(np.float64)
        kept = np.empty((slab.end - slab.start, len(states)), np.float32)
        for at in range(slab.end - slab.start):
            p = moved(p) * likelihood[at]
            p /= p.sum()
            kept[at] = p
        forward.append(kept)
    found = np.empty(len(path), np.float32)
    q = np.ones(len(states))
    for index in range(len(slabs) - 1, -1, -1):
        slab = slabs[index]
        if slab.states is not states:
            q, states = _renamed(q, states, slab.states, leap), slab.states
        likelihood = np.exp(slab.gain - slab.gain.max(axis=1, keepdims=True)).astype(np.float64)
        column = np.searchsorted(slab.states[1:], path[slab.start : slab.end]) + 1
        column = np.where(path[slab.start : slab.end] == NOTHING, 0, column)
        for at in range(slab.end - slab.start - 1, -1, -1):
            both = forward[index][at] * q
            found[slab.start + at] = both[column[at]] / max(both.sum(), 1e-300)
            q = moved(q * likelihood[at])
            q /= q.sum()
    return found


def _slabs(lanes: Sequence[Lane], frames: int) -> list[_Slab]:
    edges = sorted({0, frames, *(max(0, lane.start) for lane in lanes), *(min(frames, lane.end) for lane in lanes)})
    slabs = []
    for start, end in zip(edges[:-1], edges[1:], strict=True):
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


def _carried(
    value: NDArray, old: NDArray, new: NDArray, change: float, leave: float
) -> tuple[NDArray, NDArray[np.int64]]:
    """Values of the new states before any frame of theirs, and from which old one each comes."""
    top = int(value.argmax())
    jump = value[top] - (change if top else leave)
    carried, origin = np.full(len(new), jump), np.full(len(new), top)
    carried[0], origin[0] = value[0], 0
    if value[top] - leave > value[0]:
        carried[0], origin[0] = value[top] - leave, top
    # States that go on.
    place = np.searchsorted(old[1:], new[1:]) + 1
    goes_on = (place < len(old)) & (old[np.minimum(place, len(old) - 1)] == new[1:])
    rows = np.flatnonzero(goes_on)
    better = value[place[rows]] >= carried[rows + 1]
    carried[rows[better] + 1], origin[rows[better] + 1] = value[place[rows[better]]], place[rows[better]]
    return carried, origin


def _renamed(p: NDArray, old: NDArray, new: NDArray, leap: float) -> NDArray:
    """Probabilities of the new states: equal ones go on, others get a jump's share."""
    out = np.full(len(new), leap * p.sum())
    out[0] = p[0]
    place = np.searchsorted(old[1:], new[1:]) + 1
    rows = np.flatnonzero((place < len(old)) & (old[np.minimum(place, len(old) - 1)] == new[1:]))
    out[rows + 1] += p[place[rows]]
    return out / out.sum()
