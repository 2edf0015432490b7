"""Where runs of frames end and begin, held against what the chain does not know: a cut is sharp, a gap is one, and a print shows
no frame twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.chain import NOTHING, Lane
from kinemacolor.align.duo import Prints
from kinemacolor.align.evidence import centre, parts

_BLUR = 0.6  # seconds by which a change may be moved
_SLIDES = (10.0, 5.0, 2.5, 1.25)  # seconds by which a gap might lie elsewhere
_FURTHER = 2.0  # nats by which a place further than _BLUR must explain more: in a still shot any place is a little better
_AS_WELL = 1e-6  # nats: no more than rounding
_WORTH = 6.0  # log likelihood against no match below which a run is chance


class Run(NamedTuple):
    """Colour frames start <= n < end in one state."""

    start: int
    end: int
    state: int


def runs_of(states: NDArray[np.int64]) -> list[Run]:
    """The runs of frames that have a partner."""
    edges = [0, *(np.flatnonzero(np.diff(states)) + 1).tolist(), len(states)]
    return [Run(a, b, int(states[a])) for a, b in pairwise(edges) if states[a] != NOTHING]


def partners_of(prints: Prints, run: Run, speeds: Sequence[float]) -> NDArray[np.int64]:
    """The grey frames of a run, -1 for none."""
    group, offset = parts(np.int64(run.state))
    return prints.grey_ticks.frames(centre(prints.colour_ticks.at[run.start : run.end], speeds[int(group)]) + offset)


def _frames(prints: Prints, seconds: float) -> int:
    """Seconds in colour frames."""
    return round(seconds * prints.rates[1])


def sharpened(prints: Prints, states: NDArray, lanes: Sequence[Lane], gains: Sequence[NDArray]) -> NDArray[np.int64]:
    """Every change of state moved to the frame where the pictures alone put it.

    What moves in a picture is seen from its neighbours, so it blurs a cut over half a second; the pictures do not.
    """
    out, reach = states.copy(), _frames(prints, _BLUR)
    changes = np.flatnonzero(np.diff(states)) + 1
    for number, at in enumerate(changes):
        low = max(at - reach, int(changes[number - 1]) if number else 0)
        high = min(at + reach, int(changes[number + 1]) if number + 1 < len(changes) else len(states))
        before, after = _along(states[at - 1], low, high, lanes, gains), _along(states[at], low, high, lanes, gains)
        if before is None or after is None:
            continue
        total = np.concatenate([[0], np.cumsum(before)]) + np.concatenate([np.cumsum(after[::-1])[::-1], [0]])
        best = low + int(np.argmax(total))
        if total[best - low] > total[at - low] + _AS_WELL:
            out[low:best], out[best:high] = states[at - 1], states[at]
    return out


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


def _gap(one: Run, other: Run, length: int, reach: int, lanes: Sequence[Lane], gains: Sequence[NDArray]) -> _Gap | None:
    """A gap of some length between two runs if it may lie up to `reach` frames beside; None if they were not compared that far.

    As for `sharpened`, the pictures alone say where.
    """
    reach += length - (other.start - one.end)
    low, high = max(one.start, one.end - reach), min(other.end, other.start + reach)
    if one.state == other.state or high - low < length:
        return None
    before = _along(one.state, low, high - length, lanes, gains)
    after = _along(other.state, low + length, high, lanes, gains)
    if before is None or after is None:
        return None
    total = np.concatenate([[0], np.cumsum(before)]) + np.concatenate([np.cumsum(after[::-1])[::-1], [0]])
    return _Gap(low, high, length, one.end - low, total)


def placed(
    prints: Prints, states: NDArray, lanes: Sequence[Lane], gains: Sequence[NDArray], speeds: Sequence[float]
) -> NDArray[np.int64]:
    """Every gap where the pictures put it, and as long as it must be for the runs beside it to share no grey frame.

    The path moves one end of a gap at a time, and may claim grey frames before it and after it.
    """
    out, runs = states.copy(), runs_of(states)
    reaches, blur = [_frames(prints, seconds) for seconds in _SLIDES], _frames(prints, _BLUR)
    for at in range(len(runs) - 1):
        one, other = runs[at], runs[at + 1]
        length = max(other.start - one.end, _overlap(prints, one, other, speeds))
        known = (_gap(one, other, length, reach, lanes, gains) for reach in reaches)
        if (gap := next((gap for gap in known if gap is not None), None)) is None:
            continue
        begin = gap.low + np.arange(len(gap.total))
        # Where it is now; where it must grow, at the cost of the one run or of the other.
        away = np.minimum(np.abs(begin - one.end), np.abs(begin - (other.start - length)))
        best = int(np.argmax(gap.total - _FURTHER * (away > blur) + _AS_WELL * (away == 0)))
        end, start = gap.low + best, gap.low + best + length
        out[gap.low : end], out[end:start], out[start : gap.high] = one.state, NOTHING, other.state
        # The next gap must not reach back over this one.
        runs[at + 1] = other._replace(start=start)
    return out


def _overlap(prints: Prints, one: Run, other: Run, speeds: Sequence[float]) -> int:
    """Colour frames that must have no partner between two runs, the second of which begins within what the first one shows."""
    (group, first), (same, second) = parts(np.int64(one.state)), parts(np.int64(other.state))
    back = (first - second) / speeds[int(group)]
    ticks = prints.colour_ticks.at
    if group != same or back <= 0:
        return 0
    begins, ends = ticks[other.start] - back, ticks[other.end - 1] - back  # in the first run's time
    if not ticks[one.start] < begins <= ticks[one.end - 1] <= ends:
        return 0
    return int(np.searchsorted(ticks, ticks[one.end - 1] + back - 1e-6)) - (one.end - 1)


def slid(prints: Prints, states: NDArray, lanes: Sequence[Lane], gains: Sequence[NDArray]) -> NDArray[np.float32]:
    """Probability of each frame's state if each gap might lie anywhere between its neighbours, float32 (frames,).

    The sum over all paths lets a print show frames twice, and so believes too firmly in one side of a gap in a still shot. Here
    a gap keeps its length and moves as a whole.
    """
    sure = np.ones(len(states), np.float32)
    for (one, other), seconds in product(pairwise(runs_of(states)), _SLIDES):
        gap = _gap(one, other, other.start - one.end, _frames(prints, seconds), lanes, gains)
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


def each_once(prints: Prints, states: NDArray, lanes: Sequence[Lane], speeds: Sequence[float]) -> NDArray[np.int64]:
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
    for start, end, state in sorted(runs_of(states), key=lambda run: -float(worth[run.start : run.end].sum())):
        if worth[start:end].sum() < _WORTH:
            continue
        partner = partners_of(prints, Run(start, end, state), speeds)
        free = (partner >= 0) & ~taken[partner]
        if 2 * free.sum() < (partner >= 0).sum():
            continue
        kept[start:end][free | (partner < 0)] = state
        if len(claimed := partner[partner >= 0]):
            # Grey frames between two partners (3:2 pulldown) are this run's too.
            taken[claimed.min() : claimed.max() + 1] = True
    return kept
