"""Which grey frame each colour frame is best paired with where frames are not one for one: pulldown, repeated or mixed frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.bands import band
from kinemacolor.align.duo import Prints, surprise_of
from kinemacolor.align.grid import Overlay

_MOVES = 0.25  # weight of what moves against the picture as a whole: among neighbours it is smeared by the change of rate
_LINE = 20.0  # what a grey frame a tick beside the line costs, in the unrest of a film from frame to frame
_CALMEST = 0.05  # unrest of a film that stands still


def nearest_frames(
    prints: Prints, overlay: Overlay, pairs: NDArray, speed: float, sure: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pair a segment's frames anew: first its exact phase, then for each frame the best grey frame near it.

    Args:
        pairs: (n, 2) colour and grey frames of one segment, good to two ticks.
        speed: grey ticks a colour tick.
        sure: (n,) confidence of the segment at each frame.

    Returns:
        pairs (n, 2), whose grey frames never go back, and the confidence of each.
    """
    frames, partner = pairs[:, 0], pairs[:, 1]
    lags = np.arange(-2, 3)
    at = prints.grey_ticks.at[partner]
    candidates = prints.grey_ticks.frames(np.round(at)[:, None] + lags[None])
    alike, moves, weight = band(prints.grey, prints.colour, overlay, frames, candidates, prints.halves)
    surprise = np.where(np.isfinite(alike), surprise_of(np.nan_to_num(alike)) + _MOVES * surprise_of(moves), 0.0)
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
    unrest = max(float(np.median(np.abs(np.diff(surprise[:, 2])))) if len(frames) > 2 else 0.1, _CALMEST)
    cost = surprise * weight[:, None] + _LINE * unrest * off
    cost = np.where(candidates >= 0, cost, np.inf)
    best = _ordered(cost, candidates)
    chosen = np.take_along_axis(candidates, best[:, None], axis=1)[:, 0]
    # Of two grey frames that are alike both show the colour frame: only one that is more like it than the chosen is casts doubt.
    mine = np.take_along_axis(surprise, best[:, None], axis=1)
    doubt = np.exp(-(cost - cost.min(axis=1, keepdims=True)) / (2.0 * unrest)) * (surprise < mine - 0.5 * unrest)
    share = 1 / (1 + doubt.sum(axis=1))
    # A row without candidates stays where it was, but never before the one above it.
    chosen = np.maximum.accumulate(np.where(chosen >= 0, chosen, partner))
    return np.column_stack([frames, chosen]), (sure * share).astype(np.float32)


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
