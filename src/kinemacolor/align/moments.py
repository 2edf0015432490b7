"""Where moments lie in both prints, measured over two seconds each, and the speeds that they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.bands import band
from kinemacolor.align.coarse import Stretch
from kinemacolor.align.duo import Prints, frames_within, partners_at, surprise_of
from kinemacolor.align.grid import Overlay
from kinemacolor.align.speed import fit_speed, misfit

_BLOCK = 2.0  # seconds of one measurement
_OWN_SPEED = 6  # measurements from which a stretch may have a speed of its own


@dataclass(frozen=True)
class Moments:
    """What was measured in a stretch: colour ticks `x` and grey ticks `y`, float64 (n,), to about half a tick, some wrong."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def ticks(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Colour and grey ticks, as `speed.py` takes them."""
        return self.x, self.y

    def pairs(self, prints: Prints) -> NDArray[np.int64]:
        """(n, 2) colour and grey frames of the moments."""
        found = np.column_stack([prints.colour_ticks.frames(np.round(self.x)), prints.grey_ticks.frames(np.round(self.y))])
        return found[(found >= 0).all(axis=1)]


@dataclass(frozen=True)
class Group:
    """Stretches of one speed, grey ticks a colour tick, and the moments measured in them."""

    speed: float
    stretches: list[tuple[Stretch, Moments]]


def measured(prints: Prints, part: Stretch, overlay: Overlay, *, every: int = 2) -> Moments:
    """Where moments of a stretch lie in both prints: blocks of frames at their best offset; of `every` frames one is used."""
    frames = frames_within(prints.colour, part.start, part.end)
    if len(frames) == 0:
        return Moments(np.zeros(0), np.zeros(0))
    blocks = max(1, round(len(frames) / (_BLOCK * prints.rates[1])))
    base = np.floor((part.at(prints.colour.times[frames]) - prints.grey.times[0]) * prints.rates[0] + 0.5).astype(np.int64)
    reach = 10 + round(0.5 * prints.rates[0])
    lags = np.arange(-reach, reach + 1)
    x, y = [], []
    for here in np.array_split(np.arange(len(frames)), blocks):
        some = here[::every]
        partners = partners_at(prints, base[some], lags)
        # Neighbours in `frames` need not follow each other here, so what moves is left out.
        alike, _, weight = band(prints.grey, prints.colour, overlay, frames[some], partners)
        if weight.sum() < 0.3 * len(some):
            continue
        cost = surprise_of(alike)
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
    return Moments(np.array(x), np.array(y))


def grouped(prints: Prints, stretches: Sequence[Stretch], runs: Sequence[Moments]) -> list[Group]:
    """Stretches of like speed together, with the exact speed of each group."""
    to_ticks = prints.rates[0] / prints.rates[1]
    order = sorted((n for n in range(len(runs)) if len(runs[n].x)), key=lambda n: -len(runs[n].x))
    groups: list[tuple[float, list[int]]] = []
    for n in order:  # the longest first: short ones know their speed less well, and prints seldom have two
        coarse = stretches[n].clock * to_ticks
        home = next((group for group in groups if _fits(runs[n], group[0], coarse)), None)
        if home is None and (not groups or len(runs[n].x) >= _OWN_SPEED):
            groups.append((fit_speed([runs[n].ticks], coarse, prints.rates), [n]))
        else:
            (home or groups[0])[1].append(n)
    out = []
    for speed, members in groups:
        speed = fit_speed([runs[n].ticks for n in members], speed, prints.rates)
        out.append(Group(speed, [(stretches[n], runs[n]) for n in sorted(members)]))
    return out


def _fits(run: Moments, speed: float, coarse: float) -> bool:
    """Whether a speed explains a run nearly as well as the run's own would."""
    own = min(misfit([run.ticks], coarse * (1 + nudge)) for nudge in np.linspace(-0.05, 0.05, 51))
    return misfit([run.ticks], speed) < 1.3 * own + 0.15
