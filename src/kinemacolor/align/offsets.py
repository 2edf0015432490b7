"""Segments to the frame: which offset explains each colour frame, given the stretches and their speeds.

Every stretch is compared with the grey frames around it, the chain (chain.py) chooses among the offsets, and what it says is
then held against two facts that it does not know: a print shows no frame twice, and a cut is sharp.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.bands import band
from kinemacolor.align.chain import NOTHING, Costs, Lane, best_path, certainty
from kinemacolor.align.coarse import Stretch
from kinemacolor.align.duo import Prints, frames_within, partners_at, surprise_of
from kinemacolor.align.grid import Overlay
from kinemacolor.align.moments import Group, Moments
from kinemacolor.align.phase import nearest_frames

_REACH = 24  # ticks around what was measured that are offered to the chain: what lies between two shots is sought there as well
_PIECE, _BESIDE = 30, 3  # measurements of one piece of a stretch, and those beside it that it heeds
_BEYOND, _LAP = 6.0, 4.0  # seconds beyond a stretch's windows in which its ends are sought; by which pieces overlap
_CALM = 0.5  # weight of a frame's likelihood: frames that follow each other err alike
_MIDDLE = 0.3  # between no likeness and the usual match: where a pair is as likely by chance as it is right
_LEVELS = (-0.9, -0.35)  # limits of that, as a surprise
_NEVER = -8.0  # log likelihood of what cannot be
_CHANGE, _LEAVE = 12.0, 6.0  # nats: to another offset, to nothing and back
_AGAIN = 25.0  # nats at most for showing frames again
_ANYWHERE = 1.5  # of these costs in the sum over all paths, in which a change may be anywhere
_TRIES = 4  # of the best path, each without what the one before had claimed twice
_BLUR = 0.6  # seconds by which a change may be moved
_SLIDES = (10.0, 5.0, 2.5, 1.25)  # seconds by which a gap might lie elsewhere
_FURTHER = 2.0  # nats by which a place further than _BLUR must explain more: in a still shot any place is a little better
_WORTH = 6.0  # log likelihood against no match below which a run is chance
_GAP = 1.0  # seconds without a partner that begin a new segment
_HALF = 1 << 39  # middle of the offsets within a state's name


@dataclass(frozen=True)
class Segmented:
    """Pairs in segments: `pairs` int64 (n, 2) colour and grey frames, `segment` int32 (n,) from 0, `sure` float32 (n,) 0..1, and
    the speed of each segment, grey ticks a colour tick."""

    pairs: NDArray[np.int64]
    segment: NDArray[np.int32]
    sure: NDArray[np.float32]
    speeds: tuple[float, ...]


def segmented(prints: Prints, groups: Sequence[Group], overlay: Overlay, pool: Executor) -> Segmented:
    """Pair the frames of two prints, given the overlay and the speeds; `pool` does stretches at once."""
    asked = [
        (group.speed, number, *piece)
        for number, group in enumerate(groups)
        for part, run in group.stretches
        for piece in _pieces(prints, part, run, group.speed)
    ]
    evidence = list(pool.map(lambda one: _evidence(prints, *one, overlay), asked))
    usual = _usual(evidence)
    level = float(np.clip(_MIDDLE * usual, *_LEVELS))
    costs = Costs(_CHANGE, _LEAVE, again=_CALM * max(level - usual, 0.0), most=_AGAIN)
    lanes = [Lane(one.start, one.states, one.gain(level)) for one in evidence]
    pictures = [one.pictures(level) for one in evidence]
    speeds = [group.speed for group in groups]
    blur = round(_BLUR * prints.rates[1])
    for _ in range(_TRIES):
        states = best_path(lanes, len(prints.colour), costs)
        states = _sharpened(states, lanes, pictures, blur)
        kept = _each_once(prints, states, lanes, speeds)
        refused = _wholly(states, kept)
        if not refused.any():
            break
        # Without what was claimed twice, the rest may reach further.
        lanes = _without(lanes, states, refused)
    reaches = [round(one * prints.rates[1]) for one in _SLIDES]
    # A moved run may reach what a third one shows.
    kept = _each_once(prints, _moved(kept, lanes, pictures, reaches, blur), lanes, speeds)
    sure = certainty(lanes, kept, replace(costs, change=_ANYWHERE * costs.change, leave=_ANYWHERE * costs.leave))
    sure = np.minimum(sure, _slid(kept, lanes, pictures, reaches))
    frames = np.flatnonzero(kept != NOTHING)
    group, offset = _parts(kept[frames])
    partner = prints.grey_ticks.frames(_centre(prints.colour_ticks.at[frames], np.array([*speeds, 1.0])[group]) + offset)
    known = partner >= 0
    frames, partner, group = frames[known], partner[known], group[known]
    segment = _numbered(frames, kept[frames], round(_GAP * prints.rates[1]))
    first = np.flatnonzero(np.diff(segment, prepend=-1))
    pairs, sure = np.column_stack([frames, partner]), sure[frames]
    for number, at in enumerate(first):
        speed = speeds[group[at]]
        if abs(speed - 1) > 1e-9 or not prints.colour_ticks.even:
            rows = segment == number
            pairs[rows], sure[rows] = nearest_frames(prints, overlay, pairs[rows], speed, sure[rows])
    return Segmented(pairs, segment, sure, tuple(speeds[group[at]] for at in first))


@dataclass(frozen=True)
class _Evidence:
    """How alike the prints are over a stretch of colour frames from `start` on, at several offsets named `states`.

    `alike` and `moves` are float32 (n, m) as `bands.band` gives them, alike -1 beyond an end of the grey print; `weight` (n,).
    """

    start: int
    states: NDArray[np.int64]
    alike: NDArray[np.float32]
    moves: NDArray[np.float32]
    weight: NDArray[np.float32]

    def gain(self, level: float) -> NDArray[np.float32]:
        """Log likelihood against no match; beyond an end of a print no match is better than any."""
        gain = (level - surprise_of(self.alike) - surprise_of(self.moves)) * self.weight[:, None]
        # A frame that the grey print left out neither speaks for an offset nor against it.
        best = np.where(np.isfinite(gain), gain, -np.inf).max(axis=1, keepdims=True)
        gain = np.where(np.isfinite(gain), gain, np.where(np.isfinite(best), best, 0))
        return (_CALM * np.where(self.alike == -1, _NEVER, gain)).astype(np.float32)

    def pictures(self, level: float) -> NDArray[np.float32]:
        """The same by the pictures alone, without what moves in them; NaN where a frame is missing."""
        return (_CALM * (level - surprise_of(self.alike)) * self.weight[:, None]).astype(np.float32)


def _pieces(prints: Prints, part: Stretch, run: Moments, speed: float) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """A stretch in pieces of a minute or so: the colour frames of each, and the offsets near those measured in it.

    Where a print was spliced a hundred times offsets wander far, but within a minute they are few.
    """
    seen = run.y - speed * run.x
    pieces = []
    for some in np.array_split(np.arange(len(seen)), max(1, round(len(seen) / _PIECE))):
        if len(some) == 0:
            continue
        near = seen[max(0, some[0] - _BESIDE) : some[-1] + 1 + _BESIDE]
        # A measurement that stands alone is a still shot's; splices move many.
        backed = np.array([np.sum(np.abs(near - one) < 1.5) > 1 for one in near])
        found = np.floor(near[backed] if backed.any() else near[[len(near) // 2]]).astype(np.int64)
        offsets = np.unique(found[:, None] + np.arange(-_REACH, _REACH + 2)[None])
        start = part.start - _BEYOND if some[0] == 0 else _seconds(prints, run.x[some[0]]) - _LAP
        end = part.end + _BEYOND if some[-1] == len(seen) - 1 else _seconds(prints, run.x[some[-1]]) + _LAP
        frames = frames_within(prints.colour, start, end)
        if len(frames):
            pieces.append((frames, offsets))
    return pieces


def _seconds(prints: Prints, tick: float) -> float:
    """Seconds of the colour print at a tick."""
    ticks = prints.colour_ticks
    return float(np.interp(tick, ticks.at, prints.colour.times))


def _evidence(
    prints: Prints, speed: float, group: int, frames: NDArray[np.int64], offsets: NDArray[np.int64], overlay: Overlay
) -> _Evidence:
    """The likeness of the prints at some offsets over some colour frames."""
    base = _centre(prints.colour_ticks.at[frames], speed)
    alike, moves, weight = band(prints.grey, prints.colour, overlay, frames, partners_at(prints, base, offsets), prints.halves)
    # Of a frame that the grey print left out nothing is known; before its head and after its end there is no match.
    at = base[:, None] + offsets[None]
    within = (at >= prints.grey_ticks.at[0]) & (at <= prints.grey_ticks.at[-1])
    alike[~within] = -1
    return _Evidence(int(frames[0]), _state(group, offsets), alike, moves, weight)


def _centre(ticks: NDArray, speed: NDArray | float) -> NDArray[np.int64]:
    """The whole tick that a state's offset is counted from."""
    return np.floor(ticks * speed + 0.5).astype(np.int64)


def _state(group: int, offset: NDArray) -> NDArray[np.int64]:
    """The name of an offset in grey ticks at a group's speed; within a group names are in the order of the offsets."""
    return (np.int64(group) << 40) + (np.asarray(offset, np.int64) + _HALF)


def _parts(states: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group and offset that states name."""
    return states >> 40, (states & ((1 << 40) - 1)) - _HALF


def _usual(evidence: Sequence[_Evidence]) -> float:
    """The surprise of the film's usual match: the median over frames of the least at any offset."""
    best = [np.zeros(0)]
    for one in evidence:
        rows = one.weight > 0.5
        best.append(surprise_of(np.nan_to_num(one.alike[rows], nan=-1).max(axis=1)))  # -1 is no likeness
    found = np.concatenate(best)
    return float(np.median(found)) if len(found) else -2.0


def _wholly(states: NDArray, kept: NDArray) -> NDArray[np.bool_]:
    """Frames of runs of which nothing was kept."""
    run = np.concatenate([[0], np.cumsum(np.diff(states) != 0)])
    return (np.bincount(run, kept != NOTHING) == 0)[run] & (states != NOTHING)


def _without(lanes: Sequence[Lane], states: NDArray, refused: NDArray) -> list[Lane]:
    """The lanes with the refused frames' states made worse than no match."""
    out = []
    for lane in lanes:
        gain = lane.gain.copy()
        here = slice(lane.start, lane.end)
        column = np.minimum(np.searchsorted(lane.states, states[here]), len(lane.states) - 1)
        rows = np.flatnonzero(refused[here] & (lane.states[column] == states[here]))
        gain[rows, column[rows]] = _CALM * _NEVER
        out.append(replace(lane, gain=gain))
    return out


def _sharpened(states: NDArray, lanes: Sequence[Lane], gains: Sequence[NDArray], reach: int) -> NDArray[np.int64]:
    """Every change of state moved to the frame where the pictures alone put it.

    What moves in a picture is seen from its neighbours, so it blurs a cut over half a second; the pictures do not.
    """
    out = states.copy()
    changes = np.flatnonzero(np.diff(states)) + 1
    for number, at in enumerate(changes):
        low = max(at - reach, int(changes[number - 1]) if number else 0)
        high = min(at + reach, int(changes[number + 1]) if number + 1 < len(changes) else len(states))
        before, after = _along(states[at - 1], low, high, lanes, gains), _along(states[at], low, high, lanes, gains)
        if before is None or after is None:
            continue
        total = np.concatenate([[0], np.cumsum(before)]) + np.concatenate([np.cumsum(after[::-1])[::-1], [0]])
        best = low + int(np.argmax(total))
        if total[best - low] > total[at - low] + 1e-6:
            out[low:best], out[best:high] = states[at - 1], states[at]
    return out


class _Run(NamedTuple):
    """Colour frames start <= n < end in one state."""

    start: int
    end: int
    state: int


def _runs(states: NDArray[np.int64]) -> list[_Run]:
    """The runs of frames that have a partner."""
    edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
    return [_Run(a, b, int(states[a])) for a, b in pairwise(edges) if states[a] != NOTHING]


class _Gap(NamedTuple):
    """What lies between two runs, of whatever length, and where else it might lie, as long as it is.

    Attributes:
        low, high: the colour frames low <= n < high are concerned.
        length: of the gap, in colour frames; 0 where one run follows the other.
        here: it begins at colour frame low + here now.
        total: log likelihood if it begins at colour frame low + n, for every n that leaves it between low and high.
    """

    low: int
    high: int
    length: int
    here: int
    total: NDArray[np.float64]


def _gap(one: _Run, other: _Run, reach: int, lanes: Sequence[Lane], gains: Sequence[NDArray]) -> _Gap | None:
    """The gap between two runs if it may lie up to `reach` frames beside; None if the offsets were not compared that far.

    As for `_sharpened`, the pictures alone say where.
    """
    length, low, high = other.start - one.end, max(one.start, one.end - reach), min(other.end, other.start + reach)
    before = _along(one.state, low, high - length, lanes, gains)
    after = _along(other.state, low + length, high, lanes, gains)
    if before is None or after is None or one.state == other.state:
        return None
    total = np.concatenate([[0], np.cumsum(before)]) + np.concatenate([np.cumsum(after[::-1])[::-1], [0]])
    return _Gap(low, high, length, one.end - low, total)


def _moved(
    states: NDArray, lanes: Sequence[Lane], gains: Sequence[NDArray], reaches: Sequence[int], blur: int
) -> NDArray[np.int64]:
    """Every gap moved, as a whole, to where the pictures put it, as far as the widest of `reaches` that is known.

    The path moves one end of a gap at a time. Where it claims grey frames before the gap and after it, `_each_once` leaves them to
    the longer run, whichever they belong to.
    """
    out, runs = states.copy(), _runs(states)
    for at in range(len(runs) - 1):
        one, other = runs[at], runs[at + 1]
        known = (_gap(one, other, reach, lanes, gains) for reach in reaches)
        if (gap := next((gap for gap in known if gap is not None), None)) is None:
            continue
        worth = gap.total - _FURTHER * (np.abs(np.arange(len(gap.total)) - gap.here) > blur)
        best = int(np.argmax(worth))
        if worth[best] > worth[gap.here] + 1e-6:
            end, start = gap.low + best, gap.low + best + gap.length
            out[gap.low : end], out[end:start], out[start : gap.high] = one.state, NOTHING, other.state
            # The next gap must not reach back over this one.
            runs[at + 1] = other._replace(start=start)
    return out


def _slid(states: NDArray, lanes: Sequence[Lane], gains: Sequence[NDArray], reaches: Sequence[int]) -> NDArray[np.float32]:
    """Probability of each frame's state if each gap might lie anywhere between its neighbours, float32 (frames,).

    The sum over all paths lets a print show frames twice, and so believes too firmly in one side of a gap in a still shot. Here
    a gap keeps its length and moves as a whole.
    """
    sure = np.ones(len(states), np.float32)
    for (one, other), reach in product(pairwise(_runs(states)), reaches):
        gap = _gap(one, other, reach, lanes, gains)
        if gap is None:
            continue
        share = np.exp(gap.total - gap.total.max())
        until = np.cumsum(share / share.sum())  # that the gap begins no later than frame low + n
        before, after = slice(gap.low, one.end), slice(other.start, gap.high)
        sure[before] = np.minimum(sure[before], 1 - until[: gap.here])
        sure[after] = np.minimum(sure[after], until[gap.here : gap.here + gap.high - other.start])
    return sure


def _along(state: int, low: int, high: int, lanes: Sequence[Lane], gains: Sequence[NDArray]) -> NDArray | None:
    """Gain of a state at colour frames low <= n < high; None if it is not known at all of them."""
    if state == NOTHING:
        return np.zeros(high - low)
    out, known = np.zeros(high - low), np.zeros(high - low, bool)
    for lane, gain in zip(lanes, gains, strict=True):
        first, last = max(low, lane.start), min(high, lane.end)
        column = int(np.searchsorted(lane.states, state))
        if first < last and column < len(lane.states) and lane.states[column] == state:
            out[first - low : last - low] = np.nan_to_num(gain[first - lane.start : last - lane.start, column], nan=0.0)
            known[first - low : last - low] = True
    return out if known.all() else None


def _each_once(prints: Prints, states: NDArray, lanes: Sequence[Lane], speeds: Sequence[float]) -> NDArray[np.int64]:
    """No moment of the grey print twice: of two runs of frames that claim it, the one that explains more keeps it.

    What a print lacks would else be paired with what stands beside it, if the camera stands still.
    """
    worth = np.zeros(len(states))
    for lane in lanes:
        column = np.searchsorted(lane.states, states[lane.start : lane.end])
        known = lane.states[np.minimum(column, len(lane.states) - 1)] == states[lane.start : lane.end]
        value = lane.gain[np.arange(len(column)), np.minimum(column, len(lane.states) - 1)]
        here = worth[lane.start : lane.end]
        here[known] = value[known]
    taken = np.zeros(len(prints.grey) + 2, bool)
    kept = np.full_like(states, NOTHING)
    for start, end, state in sorted(_runs(states), key=lambda run: -float(worth[run.start : run.end].sum())):
        if worth[start:end].sum() < _WORTH:
            continue
        group, offset = _parts(np.int64(state))
        partner = prints.grey_ticks.frames(_centre(prints.colour_ticks.at[start:end], speeds[int(group)]) + offset)
        free = (partner >= 0) & ~taken[partner]
        if 2 * free.sum() < (partner >= 0).sum():
            continue
        kept[start:end][free | (partner < 0)] = state
        if len(claimed := partner[partner >= 0]):
            # Grey frames between two partners (3:2 pulldown) are this run's too.
            taken[claimed.min() : claimed.max() + 1] = True
    return kept


def _numbered(frames: NDArray, states: NDArray, gap: int) -> NDArray[np.int32]:
    """Segments: a new one where the state changes, or where more than a second of frames has no partner."""
    if len(frames) == 0:
        return np.zeros(0, np.int32)
    new = (np.diff(states) != 0) | (np.diff(frames) > gap)
    return np.concatenate([[0], np.cumsum(new)]).astype(np.int32)
