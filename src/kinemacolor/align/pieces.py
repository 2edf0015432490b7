"""Short pieces of film beside a cut, which no window of the coarse search can find.

They are sought among the frames that neither print has a partner for yet, near the offsets of what stands beside them, and
offered to the chain (chain.py), which decides. Ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.duo import Prints, partners_at
from kinemacolor.align.evidence import CALM, Evidence, centre, evidence_at, parts
from kinemacolor.align.gaps import partners_of, runs_of
from kinemacolor.align.grid import Overlay

_LEAST = 1.0  # seconds of a piece
_WITHIN = 15.0  # seconds from either end of what has no partner
_AROUND = 30.0  # seconds around the offsets of what stands beside it
_WORTH = 20.0  # log likelihood against no match; by chance the best of all offsets has reached 4
_SHARE = 0.5  # of what the film's usual match explains, that a piece must explain a frame
_SURPLUS = 1.0  # what a usual match explains at least, so that a poor film does not let everything pass
_CLOSE = 12.0  # nats within which other offsets are as good
_BESIDE = 2  # ticks beside these that are offered too


def short_pieces(
    prints: Prints, states: NDArray[np.int64], speeds: Sequence[float], overlay: Overlay, level: float, usual: float
) -> list[Evidence]:
    """Evidence of pieces of a second or more, between an end of a print and a cut or between two cuts.

    Args:
        states: of every colour frame, as the chain has them so far.
        speeds: of the groups.
        level, usual: surprise at which a match is as likely by chance as it is right, and that of the film's usual match.
    """
    needed = _SHARE * CALM * max(level - usual, _SURPLUS)
    taken = _taken(prints, states, speeds)
    found = []
    for frames, group, offsets in _asked(prints, states):
        one = evidence_at(prints, speeds[group], group, frames, offsets, overlay)
        partner = partners_at(prints, centre(prints.colour_ticks.at[frames], speeds[group]), offsets)
        one.alike[(partner >= 0) & taken[partner]] = -1
        # A frame that the grey print left out must not help any offset.
        gain = np.where(np.isnan(one.alike), 0, one.gain(level))
        value, start, end = _best_runs(gain)
        best = int(np.argmax(value))
        long = int(end[best] - start[best])
        if long >= _LEAST * prints.rates[1] and value[best] >= max(_WORTH, long * needed):
            # All that are nearly as good, so that what cannot be told apart is known to be unsure.
            close = np.flatnonzero(value > value[best] - _CLOSE)
            close = np.unique(np.clip(close[:, None] + np.arange(-_BESIDE, _BESIDE + 1), 0, len(offsets) - 1))
            found.append(Evidence(one.start, one.states[close], one.alike[:, close], one.moves[:, close], one.weight))
    return found


def _asked(prints: Prints, states: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int, NDArray[np.int64]]]:
    """Colour frames without a partner, a group of what stands beside them, and the offsets at which they may be shown."""
    least, most = (round(seconds * prints.rates[1]) for seconds in (_LEAST, _WITHIN))
    around = np.arange(-round(_AROUND * prints.rates[0]), round(_AROUND * prints.rates[0]) + 1)
    for before, after in pairwise([None, *runs_of(states), None]):
        frames = np.arange(before.end if before else 0, after.start if after else len(states))
        if len(frames) < least or (before or after) is None:
            continue
        group, offset = parts(np.array([run.state for run in (before, after) if run], np.int64))
        for some in [frames] if len(frames) <= most else [frames[:most], frames[-most:]]:
            for number in np.unique(group).tolist():
                yield some, number, np.unique(offset[group == number][:, None] + around)


def _taken(prints: Prints, states: NDArray[np.int64], speeds: Sequence[float]) -> NDArray[np.bool_]:
    """Whether each grey frame is some run's; those between two partners of a run (3:2 pulldown) are."""
    taken = np.zeros(len(prints.grey), bool)
    for run in runs_of(states):
        claimed = partners_of(prints, run, speeds)
        if len(claimed := claimed[claimed >= 0]):
            taken[claimed.min() : claimed.max() + 1] = True
    return taken


def _best_runs(gain: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """For each column the rows start <= n < end with the greatest sum, and that sum."""
    total = np.concatenate([np.zeros((1, gain.shape[1])), np.cumsum(gain, axis=0, dtype=np.float64)])
    lowest = np.minimum.accumulate(total, axis=0)
    end = (total - lowest).argmax(axis=0)
    columns = np.arange(gain.shape[1])
    value = total[end, columns] - lowest[end, columns]
    start = (total == lowest[end, columns][None]).argmax(axis=0)
    return value, start, end
