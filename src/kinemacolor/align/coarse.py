"""Which stretch of one print is which of the other, to about a quarter of a second: windows of the colour print against the whole
grey one.

Each print is averaged over slots of time into tiny pictures (48 cells), freed of their gain, lift and of the print's median
picture. A window of six seconds is then correlated with the grey print at every place and at every speed that prints are
known to have; its best few places are its candidates. The path through the candidates of all windows that explains most
with the fewest jumps (Viterbi 1967) gives the stretches: lost and added scenes and reordered reels are jumps, what only one
print has is explained by nothing. Repeated shots are told apart by what stands around them. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.grid import Overlay, area_matrix, contrast_weight, normalised
from kinemacolor.align.signature import Signature, active_area
from kinemacolor.align.windows import STEP, Windows

_CELLS = (6, 8)
_CHUNK = 4096  # frames in float at one time
_SLOT = 0.25  # seconds; shorter for short films
_SLOTS_LEAST = 160  # slots that the shorter print should have
_WINDOW = 24  # slots
_THREADS = 2  # speeds tried at one time: more would take more memory than they save time
_SAMPLE, _TRIED = 96, 3  # windows by which uncommon speeds are judged, and how many of these are tried in full
_SEVERAL = 6  # windows of a stretch at an uncommon speed
_BELIEVED = 0.5  # score that different films reach by chance at the best of all places; the same film has .75 and more
_GAIN = 10.0  # what a score counts above that, in the unit of the penalties
_WELL = 0.8  # mean score of a stretch that leaves no doubt
_JUMP, _LEAVE, _BEND, _OTHER = 4.0, 1.5, 1.2, 0.4  # penalties: to another place, to nothing and back, beside, another speed
_CLIP = 0.15  # of the other print's length, below which a print is a clip
_COMMON = (1.0, 24 / 25, 25 / 24)  # speeds by which equal pictures run apart: none, and PAL against film
_UNCOMMON = tuple(np.geomspace(0.6, 1.67, 48).tolist())


@dataclass(frozen=True)
class Stretch:
    """A part of the colour print that the grey print shows without a large jump.

    Attributes:
        colour, grey: float64 (n,), seconds in each print of n >= 1 moments that belong together, increasing in `colour`.
        clock: seconds of the grey print a second of the colour print, roughly: the speed at which most windows fitted.
        start, end: seconds of the colour print from the first window's begin to the last one's end.
        score: mean score of its windows, 0..1.
    """

    colour: NDArray[np.float64]
    grey: NDArray[np.float64]
    clock: float
    start: float
    end: float
    score: float

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grey seconds for colour seconds; straight on beyond the ends."""
        inside = np.interp(seconds, self.colour, self.grey)
        before, after = np.minimum(seconds - self.colour[0], 0), np.maximum(seconds - self.colour[-1], 0)
        return inside + self.clock * (before + after)


@dataclass(frozen=True)
class Search:
    """What the coarse search found: `stretches` in the colour print's order; `votes` (m, 3) colour seconds, grey seconds and
    score of every candidate above chance; `best` the best score of any window."""

    stretches: list[Stretch]
    votes: NDArray[np.float32]
    best: float

    @property
    def covered(self) -> float:
        """Seconds of the colour print within stretches, each as far as it is believed."""
        return sum((part.end - part.start) * min(1.0, part.score / _WELL) for part in self.stretches)


def search(grey: Signature, colour: Signature, speeds: Sequence[float], overlay: Overlay | None = None) -> Search:
    """Find the stretches that both prints show.

    Args:
        grey, colour: signatures of both prints.
        speeds: grey seconds a colour second that are likely, beside the common ones. Only if these explain little of the
            shorter print are all speeds from .6 to 1.67 tried.
        overlay: brings the colour grids onto the grey ones, if that is known already.
    """
    shorter = min(float(grey.times[-1]), float(colour.times[-1]))
    slot = float(np.clip(shorter / _SLOTS_LEAST, 1 / 24, _SLOT))
    a, b = features(grey, slot, overlay, "grey"), features(colour, slot, overlay, "colour")
    # What stands behind all pictures of a film, by the median, since a leader must not shine through where the camera stands
    # still. A clip is too short to know: it would take itself away.
    behind_a, behind_b = np.median(a, axis=0), np.median(b, axis=0)
    a = a - (behind_b if len(a) < _CLIP * len(b) else behind_a)
    b = b - (behind_a if len(b) < _CLIP * len(a) else behind_b)
    tried = _distinct([*_COMMON, *speeds])
    found = _search(a, b, tried, slot)
    if found.covered < 0.4 * shorter:
        # Any speed would do: so many are tried that only what leaves no doubt counts.
        other = _search(a, b, _distinct([*tried, *_promising(a, b)]), slot)
        sure = [part for part in other.stretches if part.score > _WELL and len(part.colour) >= _SEVERAL]
        other = Search(sure, other.votes, other.best)
        found = other if other.covered > 1.5 * found.covered else found
    return found


def _promising(grey: NDArray, colour: NDArray) -> list[float]:
    """Of all speeds, the few at which a sample of windows fits best."""
    window = min(_WINDOW, len(colour), int(len(grey) / max(_UNCOMMON))) // STEP * STEP
    if window == 0:
        return []

    def fit(speed: float) -> float:
        return float(Windows(grey, colour, window, speed, limit=_SAMPLE).best().mean())

    with ThreadPoolExecutor(_THREADS) as pool:
        fits = list(pool.map(fit, _UNCOMMON))
    return [_UNCOMMON[n] for n in np.argsort(fits)[::-1][:_TRIED]]


def _distinct(speeds: Sequence[float]) -> list[float]:
    """Speeds that a window can tell apart: those less than half a hundredth from an earlier one are left out."""
    kept: list[float] = []
    for speed in speeds:
        if all(abs(speed / other - 1) > 0.005 for other in kept):
            kept.append(speed)
    return kept


def features(print_: Signature, slot: float, overlay: Overlay | None, which: str) -> NDArray[np.float32]:
    """(slots, 48) float32: the print's tiny pictures, averaged over slots of time, without gain and lift."""
    if overlay is None:
        left, top, right, bottom = active_area(print_.grids)
        rows = area_matrix(top, bottom, print_.grids.shape[1], _CELLS[0])
        columns = area_matrix(left, right, print_.grids.shape[2], _CELLS[1])
    number = np.floor(print_.times / slot + 1e-6).astype(np.int64)
    total = np.zeros((number[-1] + 1, *_CELLS), np.float32)
    for at in range(0, len(print_), _CHUNK):
        part = np.asarray(print_.grids[at : at + _CHUNK], np.float32)
        if overlay is not None:
            part = overlay.grey(part) if which == "grey" else overlay.colour(part)
            rows = area_matrix(0, 1, part.shape[1], _CELLS[0])
            columns = area_matrix(0, 1, part.shape[2], _CELLS[1])
        np.add.at(total, number[at : at + _CHUNK], np.matmul(np.matmul(rows, part), columns.T))
    count = np.bincount(number, minlength=len(total))
    vectors, contrast = normalised(total / np.maximum(count, 1)[:, None, None])
    vectors *= contrast_weight(contrast)[:, None]
    # A frame that lasts longer than a slot leaves the next ones empty: it is what they show.
    shown = np.maximum.accumulate(np.where(count > 0, np.arange(len(count)), 0))
    return vectors[shown]


def _search(grey: NDArray, colour: NDArray, speeds: list[float], slot: float) -> Search:
    window = min(_WINDOW, len(colour), int(len(grey) / max(speeds))) // STEP * STEP
    if window == 0:
        return Search([], np.zeros((0, 3), np.float32), 0.0)
    tried = [Windows(grey, colour, window, speed) for speed in speeds]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(Windows.candidates, tried))
    place = np.concatenate([at + one.speed * window / 2 for one, (at, _) in zip(tried, found, strict=True)], axis=1)
    score = np.concatenate([value for _, value in found], axis=1)
    clock = np.concatenate([np.full_like(value, one.speed) for one, (_, value) in zip(tried, found, strict=True)], axis=1)
    starts = tried[0].starts
    middle = starts + window / 2
    chosen = _path(place, score, clock)
    stretches = [_stretch(place, score, clock, middle, chosen, part, window, slot) for part in _runs(chosen, place, clock)]
    voted = score > _BELIEVED
    row = np.nonzero(voted)[0]
    votes = np.column_stack([middle[row] * slot, place[voted] * slot, score[voted]]).astype(np.float32)
    return Search([part for part in stretches if part is not None], votes, float(score.max(initial=0.0)))


def _path(place: NDArray, score: NDArray, clock: NDArray) -> NDArray[np.int64]:
    """For every window the candidate on the best path, or -1."""
    windows, count = score.shape
    gain = np.column_stack([_GAIN * (score - _BELIEVED), np.zeros(windows)])
    value, back = gain[0].copy(), np.zeros((windows, count + 1), np.int64)
    for at in range(1, windows):
        expected = place[at - 1] + clock[at - 1] * STEP
        off = np.abs(place[at][None] - expected[:, None])
        step = np.where(off <= 0.8, 0, np.where(off <= 2.2, _BEND, _JUMP)) + _OTHER * (clock[at][None] != clock[at - 1][:, None])
        cost = np.full((count + 1, count + 1), _LEAVE)
        cost[:count, :count] = np.minimum(step, _JUMP)
        cost[count, count] = 0
        total = value[:, None] - cost
        back[at] = total.argmax(axis=0)
        value = total[back[at], np.arange(count + 1)] + gain[at]
    chosen = np.empty(windows, np.int64)
    state = int(value.argmax())
    for at in range(windows - 1, -1, -1):
        chosen[at] = state
        state = int(back[at, state])
    return np.where(chosen == count, -1, chosen)


def _runs(chosen: NDArray, place: NDArray, clock: NDArray) -> list[list[int]]:
    """Windows that lie on one line, run by run. Windows that nothing explains may lie between them."""
    runs: list[list[int]] = []
    for at in np.flatnonzero(chosen >= 0).tolist():
        if runs:
            last = runs[-1][-1]
            steps = at - last
            expected = place[last, chosen[last]] + clock[last, chosen[last]] * STEP * steps
            if steps <= 8 and abs(place[at, chosen[at]] - expected) <= 2.2 + 0.5 * (steps - 1):
                runs[-1].append(at)
                continue
        runs.append([at])
    return runs


def _stretch(
    place: NDArray, score: NDArray, clock: NDArray, middle: NDArray, chosen: NDArray, run: list[int], window: int, slot: float
) -> Stretch | None:
    here = np.array(run)
    best = chosen[here]
    strong = score[here, best]
    if strong.max() < _BELIEVED + 0.1:
        return None
    x, y = middle[here], place[here, best]
    speed = float(np.median(clock[here, best]))
    start, end = (x[0] - window / 2) * slot, (x[-1] + window / 2) * slot
    return Stretch(x * slot, y * slot, speed, float(start), float(end), float(strong.mean()))
