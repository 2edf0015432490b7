"""How alike two prints are over a stretch of colour frames, at the offsets that come into question there.

An offset is counted in grey ticks from where the speed of a group of stretches puts a colour frame; with its group it is one
state of the chain (chain.py), named by one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.bands import band
from kinemacolor.align.coarse import Stretch
from kinemacolor.align.duo import Prints, frames_within, partners_at, surprise_of
from kinemacolor.align.grid import Overlay
from kinemacolor.align.moments import Moments

CALM = 0.5
"""Weight of a frame's likelihood: frames that follow each other err alike."""
NEVER = -8.0
"""Log likelihood of what cannot be."""
_REACH = 24  # ticks around what was measured that are offered to the chain: what lies between two shots is sought there as well
_SHORT = 12  # frames in one state that are worth a look further off
_PIECE, _BESIDE = 30, 3  # measurements of one piece of a stretch, and those beside it that it heeds
_BEYOND, _LAP = 6.0, 4.0  # seconds beyond a stretch's windows in which its ends are sought; by which pieces overlap
_HALF = 1 << 39  # middle of the offsets within a state's name


@dataclass(frozen=True)
class Evidence:
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
        return (CALM * np.where(self.alike == -1, NEVER, gain)).astype(np.float32)

    def pictures(self, level: float) -> NDArray[np.float32]:
        """The same by the pictures alone, without what moves in them; NaN where a frame is missing."""
        return (CALM * (level - surprise_of(self.alike)) * self.weight[:, None]).astype(np.float32)


def pieces_of(prints: Prints, part: Stretch, run: Moments, speed: float) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
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


def evidence_at(
    prints: Prints, speed: float, group: int, frames: NDArray[np.int64], offsets: NDArray[np.int64], overlay: Overlay
) -> Evidence:
    """The likeness of the prints at some offsets over some colour frames."""
    base = centre(prints.colour_ticks.at[frames], speed)
    alike, moves, weight = band(prints.grey, prints.colour, overlay, frames, partners_at(prints, base, offsets), prints.halves)
    # Of a frame that the grey print left out nothing is known; before its head and after its end there is no match.
    at = base[:, None] + offsets[None]
    within = (at >= prints.grey_ticks.at[0]) & (at <= prints.grey_ticks.at[-1])
    alike[~within] = -1
    return Evidence(int(frames[0]), _state(group, offsets), alike, moves, weight)


def widened(asked: tuple[int, NDArray[np.int64], NDArray[np.int64]], states: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Further offsets for a stretch where what was chosen lies at an edge of those that it was compared at; None if nothing does.

    What was measured may all be on one side of a cut, and the offset on the other side further away than `_REACH`.

    Args:
        asked: group, colour frames and offsets of the stretch.
        states: of every colour frame of the film.
    """
    group, frames, offsets = asked
    chosen, times = np.unique(states[frames], return_counts=True)
    of, at = parts(chosen)
    here = (chosen >= 0) & (of == group) & (times >= _SHORT) & np.isin(at, offsets)
    at = at[here]
    edge = at[~(np.isin(at - 1, offsets) & np.isin(at + 1, offsets))]
    if len(edge) == 0:
        return None
    return np.union1d(offsets, (edge[:, None] + np.arange(-_REACH, _REACH + 1)[None]).ravel())


def centre(ticks: NDArray, speed: NDArray | float) -> NDArray[np.int64]:
    """The whole tick that a state's offset is counted from."""
    return np.floor(ticks * speed + 0.5).astype(np.int64)


def _state(group: int, offset: NDArray) -> NDArray[np.int64]:
    """The name of an offset in grey ticks at a group's speed; within a group names are in the order of the offsets."""
    return (np.int64(group) << 40) + (np.asarray(offset, np.int64) + _HALF)


def parts(states: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group and offset that states name."""
    return states >> 40, (states & ((1 << 40) - 1)) - _HALF


def usual_surprise(evidence: Sequence[Evidence]) -> float:
    """The surprise of the film's usual match: the median over frames of the least at any offset."""
    best = [np.zeros(0)]
    for one in evidence:
        rows = one.weight > 0.5
        best.append(surprise_of(np.nan_to_num(one.alike[rows], nan=-1).max(axis=1)))  # -1 is no likeness
    found = np.concatenate(best)
    return float(np.median(found)) if len(found) else -2.0
