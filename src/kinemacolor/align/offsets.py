"""Segments to the frame: which offset explains each colour frame, given the stretches and their speeds.

Every stretch is compared with the grey frames around it (evidence.py), the chain (chain.py) chooses among the offsets, and what it
says is then held against what it does not know (gaps.py). What is left over is searched once more for short pieces (pieces.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.chain import NOTHING, Costs, Lane, best_path, certainty
from kinemacolor.align.duo import Prints
from kinemacolor.align.evidence import CALM, NEVER, centre, evidence_at, parts, pieces_of, usual_surprise, widened
from kinemacolor.align.gaps import each_once, placed, sharpened, slid
from kinemacolor.align.grid import Overlay
from kinemacolor.align.moments import Group
from kinemacolor.align.phase import nearest_frames
from kinemacolor.align.pieces import short_pieces

_MIDDLE = 0.3  # between no likeness and the usual match: where a pair is as likely by chance as it is right
_LEVELS = (-0.9, -0.35)  # limits of that, as a surprise
_CHANGE, _LEAVE = 12.0, 6.0  # nats: to another offset, to nothing and back
_AGAIN = 25.0  # nats at most for showing frames again
_ANYWHERE = 1.5  # of these costs in the sum over all paths, in which a change may be anywhere
_TRIES = 4  # of the best path, each without what the one before had claimed twice
_WIDENED = 4  # times that a stretch is compared at further offsets
_GAP = 1.0  # seconds without a partner that begin a new segment


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
        for piece in pieces_of(prints, part, run, group.speed)
    ]
    evidence = list(pool.map(lambda one: evidence_at(prints, *one, overlay), asked))
    usual = usual_surprise(evidence)
    level = float(np.clip(_MIDDLE * usual, *_LEVELS))
    costs = Costs(_CHANGE, _LEAVE, again=CALM * max(level - usual, 0.0), most=_AGAIN)
    speeds = [group.speed for group in groups]
    for _ in range(_WIDENED + 1):
        lanes = [Lane(one.start, one.states, one.gain(level)) for one in evidence]
        pictures = [one.pictures(level) for one in evidence]
        kept, left = _chosen(prints, lanes, pictures, costs, speeds)
        # A run at the edge of what was compared may be nearer to its place than to any place.
        wider = {number: offsets for number, one in enumerate(asked) if (offsets := widened(one[1:], kept)) is not None}
        if not wider:
            break
        for number, offsets in wider.items():
            asked[number] = (*asked[number][:3], offsets)
        again = pool.map(lambda number: evidence_at(prints, *asked[number], overlay), wider)
        for number, one in zip(wider, again, strict=True):
            evidence[number] = one
    if more := short_pieces(prints, kept, speeds, overlay, level, usual):
        pictures += [one.pictures(level) for one in more]
        lanes += [Lane(one.start, one.states, one.gain(level)) for one in more]
        kept, left = _chosen(prints, lanes, pictures, costs, speeds)
    # What was taken from one run may have left the gap beside it in the wrong place.
    kept = each_once(prints, placed(prints, kept, left, pictures, speeds), left, speeds)
    sure = certainty(left, kept, replace(costs, change=_ANYWHERE * costs.change, leave=_ANYWHERE * costs.leave))
    sure = np.minimum(sure, slid(prints, kept, left, pictures))
    frames = np.flatnonzero(kept != NOTHING)
    group, offset = parts(kept[frames])
    partner = prints.grey_ticks.frames(centre(prints.colour_ticks.at[frames], np.array([*speeds, 1.0])[group]) + offset)
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


def _chosen(
    prints: Prints, lanes: list[Lane], pictures: Sequence[NDArray], costs: Costs, speeds: Sequence[float]
) -> tuple[NDArray[np.int64], list[Lane]]:
    """The state of every colour frame by the best path that claims nothing twice, and the lanes that are left for it."""
    for _ in range(_TRIES):
        states = best_path(lanes, len(prints.colour), costs)
        states = placed(prints, sharpened(prints, states, lanes, pictures), lanes, pictures, speeds)
        kept = each_once(prints, states, lanes, speeds)
        refused = _wholly(states, kept)
        if not refused.any():
            break
        # Without what was claimed twice, the rest may reach further.
        lanes = _without(lanes, states, refused)
    return kept, lanes


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
        gain[rows, column[rows]] = CALM * NEVER
        out.append(replace(lane, gain=gain))
    return out


def _numbered(frames: NDArray, states: NDArray, gap: int) -> NDArray[np.int32]:
    """Segments: a new one where the state changes, or where more than a second of frames has no partner."""
    if len(frames) == 0:
        return np.zeros(0, np.int32)
    new = (np.diff(states) != 0) | (np.diff(frames) > gap)
    return np.concatenate([[0], np.cumsum(new)]).astype(np.int32)
