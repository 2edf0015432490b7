"""Which frame of one print is which of the other, to the frame, for prints that were cut, reordered and run at other speeds.

From coarse to fine. Windows find stretches to a quarter of a second (coarse.py). On some two hundred pairs from these the
colour grids are brought onto the grey ones (grid.py), without which a pan under another crop passes for a shift in time. Many
short measurements then give the speed (speed.py), and with it every stretch is compared with the grey frames around it
(bands.py). A hidden Markov model over offsets finds segments and their ends to the frame, and how sure each is (chain.py).
Where frames are not one for one, each takes the best of its neighbours at last. The method is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.bands import band
from kinemacolor.align.chain import NOTHING, Costs, Lane, best_path, certainty
from kinemacolor.align.coarse import Search, Stretch, search
from kinemacolor.align.grid import Overlay, Window, fit_window, normalised
from kinemacolor.align.path import Path, Segment
from kinemacolor.align.signature import Signature, active_area
from kinemacolor.align.speed import fit_speed, misfit
from kinemacolor.align.ticks import Ticks, ticks_of
from kinemacolor.errors import UserError

_BLOCK = 48  # colour frames of one measurement of the speed
_WELL_COVERED = 0.8  # share of the shorter print from which the first search will do
_ROUGHLY = 4  # of so many frames one is enough for the overlay
_OWN_SPEED = 6  # measurements from which a stretch may have a speed of its own
_REACH = 6  # ticks around what was measured that are offered to the chain
_BEYOND = 6.0  # seconds beyond a stretch's windows in which its ends are sought
_OVERLAYS = 200  # pairs that the overlay is fitted on
_CALM = 0.5  # weight of a frame's likelihood: frames that follow each other err alike
_MOVES, _MOVES_NEAR = 1.0, 0.25  # weight of what moves against the picture as a whole; among neighbours
_LINE = 20.0  # what a grey frame a tick beside the line costs, in the unrest of a film from frame to frame
_FLOOR = 0.002  # of 1 - correlation**2: what encoding and rounding leave between equal pictures
_NEVER = -8.0  # log likelihood of what cannot be
_TRIES = 4  # of the best path, each without what the one before had claimed twice
_BLUR = 14  # frames by which a change may be moved
_MIDDLE = 0.3  # between no likeness and the usual match: where a pair is as likely by chance as it is right
_CHANGE, _LEAVE, _AGAIN, _ANYWHERE = 12.0, 6.0, 25.0, 1.15
_WORTH = 6.0  # log likelihood against no match below which a run is chance


@dataclass(frozen=True)
class _Prints:
    grey: Signature
    colour: Signature
    grey_ticks: Ticks
    colour_ticks: Ticks
    areas: tuple[tuple[float, float, float, float], tuple[float, float, float, float]]

    @property
    def rates(self) -> tuple[float, float]:
        return self.grey_ticks.rate, self.colour_ticks.rate

    @property
    def halves(self) -> tuple[int, int]:
        """Half a second in frames of the grey and of the colour print."""
        return max(2, round(self.rates[0] / 2)), max(2, round(self.rates[1] / 2))


@dataclass(frozen=True)
class _Run:
    """Moments of a stretch: colour ticks `x` and grey ticks `y`, float64 (n,), to about half a tick, some wrong."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.x, self.y

    def pairs(self, prints: _Prints) -> NDArray[np.int64]:
        """(n, 2) colour and grey frames of the moments."""
        found = np.column_stack([prints.colour_ticks.frames(np.round(self.x)), prints.grey_ticks.frames(np.round(self.y))])
        return found[(found >= 0).all(axis=1)]


@dataclass(frozen=True)
class _Group:
    """Stretches of one speed, grey ticks a colour tick, and the moments measured in them."""

    speed: float
    stretches: list[tuple[Stretch, _Run]]


def find_path(
    grey: Signature, colour: Signature, *, min_correlation: float, min_share: float, names: str = "The two prints"
) -> Path:
    """Pair the frames of two prints.

    Args:
        grey, colour: signatures of both prints.
        min_correlation: the least correlation of the paired pictures of prints that belong together.
        min_share: the least share of the shorter print that must be paired.
        names: what an error calls them.

    Raises:
        UserError: a print without enough frames, or prints that do not belong together, with the best score found.
    """
    prints = _prints(grey, colour, names)
    found = search(grey, colour, _likely(prints))
    if not found.stretches:
        raise UserError(_strangers(names, found))
    overlay, _ = _overlay(prints, _nearest(prints, found.stretches))
    if found.covered < _WELL_COVERED * min(float(grey.times[-1]), float(colour.times[-1])):
        # On grids that lie on each other more may be recognised.
        better = search(grey, colour, _likely(prints), overlay)
        found = better if better.covered > found.covered else found
    rough = [_measured(prints, part, overlay, every=_ROUGHLY) for part in found.stretches]
    overlay, window = _overlay(prints, np.concatenate([run.pairs(prints) for run in rough]))
    runs = [_measured(prints, part, overlay) for part in found.stretches]
    groups = _groups(prints, found.stretches, runs)
    if not groups:
        raise UserError(_strangers(names, found))
    path = _settle(prints, groups, overlay, window, found.votes)
    _require(path, min_correlation, min_share, names)
    return path


def _strangers(names: str, found: Search) -> str:
    return (
        f"{names} do not belong together: the best that any few seconds of one correlate with the other is {found.best:.2f}; "
        "check that both are the same film, or set sync.segments by hand."
    )


def check_path(
    grey: Signature,
    colour: Signature,
    *,
    segments: Sequence[tuple[int, int, int, float]],
    min_correlation: float,
    names: str = "The two prints",
) -> Path:
    """The same account of segments that were set by hand. Nothing is searched, but what is wrong is refused.

    Args:
        segments: (first colour frame, colour frame after the last, grey frame of the first, grey frames a colour frame).

    Raises:
        UserError: the prints have no such frames, or correlate less than `min_correlation` there.
    """
    prints = _prints(grey, colour, names)
    rows, number = [], []
    for index, (start, end, first, speed) in enumerate(segments):
        frames = np.arange(max(0, start), min(end, len(colour)), dtype=np.int64)
        partner = np.floor(first + speed * (frames - start) + 0.5).astype(np.int64)
        inside = (partner >= 0) & (partner < len(grey))
        rows.append(np.column_stack([frames, partner])[inside])
        number.append(np.full(int(inside.sum()), index, np.int32))
    pairs, segment = np.concatenate(rows), np.concatenate(number)
    order = np.argsort(pairs[:, 0], kind="stable")
    pairs, segment = pairs[order], segment[order]
    if len(pairs) < 2:
        raise UserError(
            f"What was set by hand leaves nothing that both prints show (they have {len(grey)} and {len(colour)} frames): "
            "correct or remove sync.offset or sync.segments."
        )
    if (np.diff(pairs[:, 0]) <= 0).any():
        raise UserError("sync.segments names some frames of the colour print twice: let its stretches not overlap.")
    overlay, window = _overlay(prints, pairs)
    alike, weight = _alike(prints, overlay, pairs)
    speeds = {index: segments[index][3] for index in range(len(segments))}
    path = _told(prints, pairs, segment, speeds, alike, weight, weight, window, overlay, np.zeros((0, 3), np.float32))
    if path.correlation < min_correlation:
        raise UserError(
            f"{names} do not belong together as set by hand: their pictures correlate by {path.correlation:.2f} there, and "
            f"{min_correlation:g} is needed; correct or remove sync.offset or sync.segments, or change sync.min_correlation."
        )
    return path


def _prints(grey: Signature, colour: Signature, names: str) -> _Prints:
    if min(len(grey), len(colour)) < 12:
        raise UserError(f"{names}: a print of {min(len(grey), len(colour))} frames is too short to be synced: give a longer one.")
    areas = active_area(grey.grids), active_area(colour.grids)
    return _Prints(grey, colour, ticks_of(grey.times), ticks_of(colour.times), areas)


def _likely(prints: _Prints) -> list[float]:
    """Clocks, grey seconds a colour second, that frames one for one and 3:2 pulldown would give."""
    one = prints.rates[1] / prints.rates[0]
    return [one, 1.25 * one, 0.8 * one]


def _require(path: Path, min_correlation: float, min_share: float, names: str) -> None:
    if path.share < min_share or path.correlation < min_correlation:
        raise UserError(
            f"{names} do not belong together: at their best {100 * path.share:.1f} % of the shorter one can be paired, with a "
            f"correlation of {path.correlation:.2f}, and {100 * min_share:g} % with {min_correlation:g} is needed; check that "
            "both are the same film, or change sync.min_share, sync.min_correlation or sync.segments."
        )


# ----------------------------------------------------------------------------------------------------- overlay and speed


def _nearest(prints: _Prints, stretches: Sequence[Stretch]) -> NDArray[np.int64]:
    """(n, 2) colour and grey frames of the stretches' moments, good to a quarter of a second."""
    seconds = np.concatenate([part.colour for part in stretches]), np.concatenate([part.grey for part in stretches])
    frames = [
        np.clip(np.searchsorted(print_.times, at), 0, len(print_) - 1)
        for print_, at in zip((prints.colour, prints.grey), seconds, strict=True)
    ]
    return np.column_stack(frames)


def _overlay(prints: _Prints, pairs: NDArray[np.int64]) -> tuple[Overlay, Window]:
    """The overlay that lays the colour grids on the grey ones, by some pairs with much to see from all over them."""
    chosen = []
    for part in np.array_split(np.arange(len(pairs)), min(_OVERLAYS, len(pairs))):
        some = part[np.linspace(0, len(part) - 1, min(5, len(part))).astype(int)]
        contrast = np.stack([np.asarray(prints.colour.grids[n], np.float32).std() for n in pairs[some, 0]])
        chosen.append(some[int(np.argmax(contrast))])
    frames = pairs[chosen]
    grids = [
        np.stack([np.asarray(print_.grids[n], np.float32) for n in column])
        for print_, column in zip((prints.grey, prints.colour), (frames[:, 1], frames[:, 0]), strict=True)
    ]
    window = fit_window(*grids, *prints.areas)
    return Overlay(window, *prints.areas).masked(*grids), window


def _groups(prints: _Prints, stretches: Sequence[Stretch], runs: Sequence[_Run]) -> list[_Group]:
    """Stretches of like speed together, with the exact speed of each group."""
    to_ticks = prints.rates[0] / prints.rates[1]
    order = sorted((n for n in range(len(runs)) if len(runs[n].x)), key=lambda n: -len(runs[n].x))
    groups: list[tuple[float, list[int]]] = []
    for n in order:  # the longest first: short ones know their speed less well, and prints seldom have two
        coarse = stretches[n].clock * to_ticks
        home = next((group for group in groups if _fits(runs[n], group[0], coarse)), None)
        if home is None and (not groups or len(runs[n].x) >= _OWN_SPEED):
            groups.append((fit_speed([runs[n].moments], coarse, prints.rates), [n]))
        else:
            (home or groups[0])[1].append(n)
    out = []
    for speed, members in groups:
        speed = fit_speed([runs[n].moments for n in members], speed, prints.rates)
        out.append(_Group(speed, [(stretches[n], runs[n]) for n in sorted(members)]))
    return out


def _fits(run: _Run, speed: float, coarse: float) -> bool:
    """Whether a speed explains a run nearly as well as the run's own would."""
    own = min(misfit([run.moments], coarse * (1 + nudge)) for nudge in np.linspace(-0.05, 0.05, 51))
    return misfit([run.moments], speed) < 1.3 * own + 0.15


def _measured(prints: _Prints, part: Stretch, overlay: Overlay, *, every: int = 1) -> _Run:
    """Where moments of a stretch lie in both prints: blocks of frames at their best offset; of `every` frames one is used."""
    frames = _frames_within(prints.colour, part.start, part.end)
    if len(frames) == 0:
        return _Run(np.zeros(0), np.zeros(0))
    blocks = max(1, round(len(frames) / _BLOCK))
    base = np.floor((part.at(prints.colour.times[frames]) - prints.grey.times[0]) * prints.rates[0] + 0.5).astype(np.int64)
    reach = 10 + round(0.5 * prints.rates[0])
    lags = np.arange(-reach, reach + 1)
    x, y = [], []
    for here in np.array_split(np.arange(len(frames)), blocks):
        some = here[:: every * 2 if every > 1 else 2]
        partners = _partners(prints, base[some], lags)
        # Neighbours in `frames` need not follow each other here, so what moves is left out.
        alike, _, weight = band(prints.grey, prints.colour, overlay, frames[some], partners)
        if weight.sum() < 0.3 * len(some):
            continue
        cost = _surprise(alike)
        # A frame that one print lacks tells nothing of any offset.
        known = np.isfinite(cost)
        usual = np.where(known, cost, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        total = (np.where(known, cost, usual[:, None]) * weight[:, None]).sum(axis=0)
        best = float(total.argmin())
        if 0 < best < 2 * reach:
            before, middle, after = total[int(best) - 1 : int(best) + 2]
            best += 0.5 * (before - after) / max(before - 2 * middle + after, 1e-6)
        x.append(prints.colour_ticks.at[frames[some]].mean())
        y.append(base[some].mean() + best - reach)
    return _Run(np.array(x), np.array(y))


def _surprise(alike: NDArray) -> NDArray:
    """log(1 - r**2): the log likelihood of a picture as a gain and lift of the other, a pixel, without its sign."""
    return np.log(np.clip(1 - np.maximum(alike, 0) ** 2, 0, 1) + _FLOOR)


def _frames_within(print_: Signature, start: float, end: float) -> NDArray[np.int64]:
    return np.arange(np.searchsorted(print_.times, start), np.searchsorted(print_.times, end), dtype=np.int64)


def _partners(prints: _Prints, base: NDArray, lags: NDArray) -> NDArray[np.int64]:
    """(n, m) grey frames at ticks base + lags; -1 for none."""
    return prints.grey_ticks.frames(base[:, None] + lags[None])


# ------------------------------------------------------------------------------------------------------------- the chain


def _settle(prints: _Prints, groups: list[_Group], overlay: Overlay, window: Window, votes: NDArray) -> Path:
    """The path to the frame, given the overlay and the speeds."""
    lanes, alikes = [], []
    for number, group in enumerate(groups):
        for part, run in group.stretches:
            made = _lane(prints, group.speed, number, part, run, overlay)
            if made is not None:
                lanes.append(made[0])
                alikes.append(made[1:])
    usual = _usual(alikes)
    level = float(np.clip(_MIDDLE * usual, -0.9, -0.35))
    costs = Costs(_CHANGE, _LEAVE, again=_CALM * max(level - usual, 0.0), most=_AGAIN)
    lanes = [
        replace(lane, gain=_gain(alike, moves, weight, level))
        for lane, (alike, moves, weight) in zip(lanes, alikes, strict=True)
    ]
    speeds_of = [group.speed for group in groups]
    pictures = [_CALM * (level - _surprise(alike)) * weight[:, None] for alike, _, weight in alikes]
    for _ in range(_TRIES):
        states = best_path(lanes, len(prints.colour), costs)
        states = _sharpened(states, lanes, pictures)
        kept = _each_once(prints, states, lanes, speeds_of)
        refused = _wholly(states, kept)
        if not refused.any():
            break
        # Without what was claimed twice, the rest may reach further.
        lanes = _without(lanes, states, refused)
    # Summed over all paths a change may be anywhere, so there each has to be dearer than in the best one.
    sure = certainty(lanes, kept, replace(costs, change=_ANYWHERE * costs.change, leave=_ANYWHERE * costs.leave))
    states = kept
    frames = np.flatnonzero(states != NOTHING)
    group_of, offset = states[frames] >> 40, (states[frames] & ((1 << 40) - 1)) - (1 << 39)
    speeds = np.array([group.speed for group in groups])[group_of]
    ticks = prints.colour_ticks.at[frames]
    partner = prints.grey_ticks.frames(_centre(ticks, speeds) + offset)
    good = partner >= 0
    frames, partner, group_of, offset = frames[good], partner[good], group_of[good], offset[good]
    segment = _numbered(frames, states[frames])
    pairs = np.column_stack([frames, partner])
    speed_of = {int(number): float(speeds[good][segment == number][0]) for number in np.unique(segment)}
    sure = sure[frames]
    for number, speed in speed_of.items():
        if abs(speed - 1) > 1e-9 or not prints.colour_ticks.even:
            rows = segment == number
            pairs[rows], sure[rows] = _neighbours(prints, overlay, pairs[rows], speed, sure[rows])
    alike, weight = _alike(prints, overlay, pairs)
    return _told(prints, pairs, segment, speed_of, alike, weight, sure, window, overlay, votes)


def _centre(ticks: NDArray, speed: NDArray | float) -> NDArray[np.int64]:
    return np.floor(ticks * speed + 0.5).astype(np.int64)


def _state(group: int, offset: NDArray) -> NDArray[np.int64]:
    return (np.int64(group) << 40) + (np.asarray(offset, np.int64) + (1 << 39))


def _lane(
    prints: _Prints, speed: float, group: int, part: Stretch, run: _Run, overlay: Overlay
) -> tuple[Lane, NDArray, NDArray, NDArray] | None:
    """All offsets near those measured in a stretch, and the likeness at each."""
    frames = _frames_within(prints.colour, part.start - _BEYOND, part.end + _BEYOND)
    if len(run.x) == 0 or len(frames) == 0:
        return None
    seen = run.y - speed * run.x
    # A measurement that stands alone is a still shot's; splices move many.
    low, high = np.floor(np.percentile(seen, 2)) - _REACH, np.ceil(np.percentile(seen, 98)) + _REACH
    offsets = np.arange(int(low), int(high) + 1)
    if len(offsets) > 240:
        middle = int(np.median(seen))
        offsets = np.arange(middle - 120, middle + 121)
    base = _centre(prints.colour_ticks.at[frames], speed)
    alike, moves, weight = band(prints.grey, prints.colour, overlay, frames, _partners(prints, base, offsets), prints.halves)
    # Of a frame that the grey print left out nothing is known; before its head and after its end there is no match.
    at = base[:, None] + offsets[None]
    within = (at >= prints.grey_ticks.at[0]) & (at <= prints.grey_ticks.at[-1])
    alike[~within] = -1
    lane = Lane(int(frames[0]), _state(group, offsets), np.zeros(alike.shape, np.float32))
    return lane, alike, moves, weight


def _usual(alikes: Sequence[tuple[NDArray, NDArray, NDArray]]) -> float:
    """The surprise of the film's usual match: the median over frames of the least at any offset."""
    best = []
    for alike, _, weight in alikes:
        rows = weight > 0.5
        best.append(_surprise(np.nan_to_num(alike[rows], nan=-1).max(axis=1)))  # -1 is no likeness
    best = np.concatenate(best)
    return float(np.median(best)) if len(best) else -2.0


def _gain(alike: NDArray, moves: NDArray, weight: NDArray, level: float) -> NDArray[np.float32]:
    """Log likelihood against no match; beyond an end of a print (alike -1) no match is better than any."""
    gain = (level - _surprise(alike) - _MOVES * _surprise(moves)) * weight[:, None]
    # A frame that the grey print left out neither speaks for an offset nor against it.
    best = np.where(np.isfinite(gain), gain, -np.inf).max(axis=1, keepdims=True)
    gain = np.where(np.isfinite(gain), gain, np.where(np.isfinite(best), best, 0))
    return (_CALM * np.where(alike == -1, _NEVER, gain)).astype(np.float32)


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


def _sharpened(states: NDArray, lanes: Sequence[Lane], gains: Sequence[NDArray]) -> NDArray[np.int64]:
    """Every change of state moved to the frame where the pictures alone put it.

    What moves in a picture is seen from its neighbours, so it blurs a cut over half a second; the pictures do not.
    """
    out = states.copy()
    changes = np.flatnonzero(np.diff(states)) + 1
    for number, at in enumerate(changes):
        low = max(at - _BLUR, int(changes[number - 1]) if number else 0)
        high = min(at + _BLUR, int(changes[number + 1]) if number + 1 < len(changes) else len(states))
        before, after = _along(states[at - 1], low, high, lanes, gains), _along(states[at], low, high, lanes, gains)
        if before is None or after is None:
            continue
        total = np.concatenate([[0], np.cumsum(before)]) + np.concatenate([np.cumsum(after[::-1])[::-1], [0]])
        best = low + int(np.argmax(total))
        if total[best - low] > total[at - low] + 1e-6:
            out[low:best], out[best:high] = states[at - 1], states[at]
    return out


def _along(state: int, low: int, high: int, lanes: Sequence[Lane], gains: Sequence[NDArray]) -> NDArray | None:
    """Gain of a state at colour frames low <= n < high; None if it is not known at all of them."""
    if state == NOTHING:
        return np.zeros(high - low)
    for lane, gain in zip(lanes, gains, strict=True):
        column = int(np.searchsorted(lane.states, state))
        if lane.start <= low and lane.end >= high and column < len(lane.states) and lane.states[column] == state:
            return np.nan_to_num(gain[low - lane.start : high - lane.start, column], nan=0.0)
    return None


def _each_once(prints: _Prints, states: NDArray, lanes: Sequence[Lane], speeds: Sequence[float]) -> NDArray[np.int64]:
    """No moment of the grey print twice: of two runs of frames that claim it, the one that explains more keeps it.

    What a print lacks would else be paired with what stands beside it, if the camera stands still.
    """
    edges = np.flatnonzero(np.diff(states)) + 1
    runs = [(int(a), int(b)) for a, b in pairwise([0, *edges.tolist(), len(states)]) if states[a] != NOTHING]
    worth = np.zeros(len(states))
    for lane in lanes:
        column = np.searchsorted(lane.states, states[lane.start : lane.end])
        known = lane.states[np.minimum(column, len(lane.states) - 1)] == states[lane.start : lane.end]
        value = lane.gain[np.arange(len(column)), np.minimum(column, len(lane.states) - 1)]
        here = worth[lane.start : lane.end]
        here[known] = value[known]
    taken = np.zeros(len(prints.grey) + 2, bool)
    kept = np.full_like(states, NOTHING)
    for start, end in sorted(runs, key=lambda run: -float(worth[run[0] : run[1]].sum())):
        if worth[start:end].sum() < _WORTH:
            continue
        group, offset = int(states[start] >> 40), int(states[start] & ((1 << 40) - 1)) - (1 << 39)
        ticks = _centre(prints.colour_ticks.at[start:end], speeds[group]) + offset
        partner = prints.grey_ticks.frames(ticks)
        free = (partner >= 0) & ~taken[partner]
        if 2 * free.sum() < (partner >= 0).sum():
            continue
        kept[start:end][free | (partner < 0)] = states[start]
        if len(claimed := partner[partner >= 0]):
            # Grey frames between two partners (3:2 pulldown) are this run's too.
            taken[claimed.min() : claimed.max() + 1] = True
    return kept


def _numbered(frames: NDArray, states: NDArray) -> NDArray[np.int32]:
    """Segments: a new one where the state changes, or where more than a second of frames has no partner."""
    if len(frames) == 0:
        return np.zeros(0, np.int32)
    new = (np.diff(states) != 0) | (np.diff(frames) > 24)
    return np.concatenate([[0], np.cumsum(new)]).astype(np.int32)


def _neighbours(
    prints: _Prints, overlay: Overlay, pairs: NDArray, speed: float, sure: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where frames are not one for one: the segment's exact phase, then for each frame the best grey frame beside it."""
    frames, partner = pairs[:, 0], pairs[:, 1]
    lags = np.arange(-2, 3)
    at = prints.grey_ticks.at[partner]
    candidates = prints.grey_ticks.frames(np.round(at)[:, None] + lags[None])
    alike, moves, weight = band(prints.grey, prints.colour, overlay, frames, candidates, prints.halves)
    surprise = np.where(np.isfinite(alike), _surprise(np.nan_to_num(alike)) + _MOVES_NEAR * _surprise(moves), 0.0)
    # The phase: shift the straight line by parts of a tick, and see which roundings are most alike.
    line = speed * prints.colour_ticks.at[frames]
    middle = float(np.median(at - line))
    phases = middle + np.arange(-1.5, 1.51, 0.1)
    totals = []
    for phase in phases:
        column = np.clip(np.floor(line + phase - np.round(at) + 0.5).astype(int) + 2, 0, 4)
        totals.append(float((np.take_along_axis(surprise, column[:, None], 1)[:, 0] * weight).sum()))
    totals = np.array(totals)
    good = phases[totals <= totals.min() + 0.02 * max(np.ptp(totals), 1e-6)]
    phase = float(good.mean())
    # The line knows better than a single frame does: a tick beside it costs many times the film's own unrest.
    off = (np.round(at)[:, None] + lags[None] - (line + phase)[:, None]) ** 2
    unrest = max(float(np.median(np.abs(np.diff(surprise[:, 2])))) if len(frames) > 2 else 0.1, 0.05)
    cost = surprise * weight[:, None] + _LINE * unrest * off
    cost = np.where(candidates >= 0, cost, np.inf)
    best = _ordered(cost, candidates)
    chosen = np.take_along_axis(candidates, best[:, None], axis=1)[:, 0]
    # Of two grey frames that are alike both show the colour frame: only one that is more like it than the chosen is casts doubt.
    mine = np.take_along_axis(surprise, best[:, None], axis=1)
    doubt = np.exp(-(cost - cost.min(axis=1, keepdims=True)) / (2.0 * unrest)) * (surprise < mine - 0.5 * unrest)
    share = 1 / (1 + doubt.sum(axis=1))
    return np.column_stack([frames, np.where(chosen >= 0, chosen, partner)]), (sure * share).astype(np.float32)


def _ordered(cost: NDArray, candidates: NDArray) -> NDArray[np.int64]:
    """The cheapest choice of each row such that the frames chosen never go back."""
    count, width = cost.shape
    value, back = cost[0].copy(), np.zeros((count, width), np.int64)
    for at in range(1, count):
        allowed = candidates[at][:, None] >= candidates[at - 1][None]
        total = np.where(allowed, value[None], np.inf)
        back[at] = total.argmin(axis=1)
        value = total[np.arange(width), back[at]] + cost[at]
        if not np.isfinite(value).any():
            value = cost[at].copy()
    out = np.empty(count, np.int64)
    here = int(value.argmin())
    for at in range(count - 1, -1, -1):
        out[at] = here
        here = int(back[at, here])
    return out


# ---------------------------------------------------------------------------------------------------------------- result


def _alike(prints: _Prints, overlay: Overlay, pairs: NDArray) -> tuple[NDArray, NDArray]:
    """Likeness and weight of each pair."""
    alike, _, weight = band(prints.grey, prints.colour, overlay, pairs[:, 0], pairs[:, 1:2])
    return alike[:, 0], weight


def _told(
    prints: _Prints,
    pairs: NDArray,
    segment: NDArray,
    speeds: dict[int, float],
    alike: NDArray,
    weight: NDArray,
    sure: NDArray,
    window: Window,
    overlay: Overlay,
    votes: NDArray,
) -> Path:
    segments = []
    for number in sorted(speeds):
        rows = np.flatnonzero(segment == number)
        if len(rows) == 0:
            continue
        frames, partner = pairs[rows].T
        seen = alike[rows][weight[rows] > 0.5]
        segments.append(
            Segment(
                int(frames[0]), int(frames[-1]) + 1, int(partner[0]), int(partner[-1]) + 1,
                speeds[number], prints.rates[0] / prints.rates[1] / speeds[number],
                float(np.median(seen)) if len(seen) else 0.0, float(sure[rows].mean()),
            )
        )  # fmt: skip
    usual = float(np.mean([part.speed for part in segments])) if segments else 1.0
    shorter = min(len(prints.colour), len(prints.grey) / max(usual, 1e-3))
    return Path(
        pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64), segment.astype(np.int32),
        np.where(weight > 0, alike, np.nan).astype(np.float32), np.asarray(sure, np.float32),
        tuple(segments), _correlation(prints, overlay, pairs), float(min(1.0, len(pairs) / max(shorter, 1))), window,
        votes,
    )  # fmt: skip


def _correlation(prints: _Prints, overlay: Overlay, pairs: NDArray) -> float:
    """Correlation of the two prints over the pairs, each print's average picture taken off."""
    sums, means, count = np.zeros(3), [0.0, 0.0], 0
    some = pairs[:: max(1, len(pairs) // 20_000)]
    for low in range(0, len(some), 2048):
        part = some[low : low + 2048]
        a, contrast_a = normalised(overlay.both(prints.grey.grids[part[:, 1]]))
        b, contrast_b = normalised(overlay.both(colour=prints.colour.grids[part[:, 0]]))
        shown = (np.minimum(contrast_a, contrast_b) > 4)[:, None]
        a, b = a * shown, b * shown
        sums += [np.sum(a * b, dtype=np.float64), np.sum(a * a, dtype=np.float64), np.sum(b * b, dtype=np.float64)]
        means = [means[0] + a.sum(axis=0, dtype=np.float64), means[1] + b.sum(axis=0, dtype=np.float64)]
        count += int(shown.sum())
    if not count:
        return 0.0
    sums -= np.array([np.sum(means[0] * means[1]), np.sum(means[0] ** 2), np.sum(means[1] ** 2)]) / count
    return float(sums[0] / np.sqrt(max(sums[1] * sums[2], 1e-12)))
