"""How many grey frames a colour frame lasts, from many small measurements of where a moment lies in both prints.

Prints are made by machines, so the speed is most often one of a few ratios: one frame for one, five for four (3:2 pulldown),
25 for 24 and so on. One of those is taken unless the measurements say otherwise. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATIOS = (1.0, 5 / 4, 4 / 5, 25 / 24, 24 / 25, 6 / 5, 5 / 6, 2.0, 0.5)
_NTSC = 1001 / 1000
_NEAR = 0.045  # of the coarse speed: splices bend it
_FAMILY = 0.006  # speeds that only a long run tells apart
_GRID = 0.0025  # of the coarse speed, between speeds that nobody has heard of
_FEW, _MANY = 8, 40  # moments below which a speed is a known one; from which those close together say enough
_NOISE = 2.0  # moments: of so few, any speed may seem the best
_CAP = 1.5  # ticks from which a measurement is simply wrong (a splice, a still shot)
_SHORT = (1, 2)  # moments apart: hardly a splice lies between
_STEPS = (*_SHORT, 4, 8, 16, 32, 64, 128)


def fit_speed(runs: Sequence[tuple[NDArray, NDArray]], coarse: float, rates: tuple[float, float]) -> float:
    """Grey ticks a colour tick.

    Moments a few seconds apart decide between speeds that differ by hundredths, since many small splices look like another
    speed from afar; all of them decide between those that differ by thousandths.

    Args:
        runs: for every stretch the colour ticks and the grey ticks of moments that belong together, each (n,), to about half
            a tick, some wrong. Between them a splice may have moved everything.
        coarse: the speed to within a hundredth.
        rates: ticks a second of the grey and of the colour print.
    """
    clock = rates[0] / rates[1]
    count = sum(len(x) for x, _ in runs)
    far = _steps(runs, _STEPS)
    near = _steps(runs, _SHORT) if count >= _MANY else far
    # Short windows take one speed for another; what the moments themselves say, splices bend. Either may be right.
    guesses = [coarse, float(np.median(near[1] / near[0]))] if len(near[0]) else [coarse]
    plain = [one for one in dict.fromkeys((*RATIOS, clock)) if min(abs(one / guess - 1) for guess in guesses) < _NEAR]
    if len(near[0]) == 0:
        return min(plain, key=lambda ratio: abs(ratio / coarse - 1), default=coarse)
    # Plain ratios first: a later one must be better by more than the measurements' own noise, which few do not average away.
    noise = _NOISE / count
    best, least = coarse, np.inf
    for ratio in plain:
        value = _cost(*near, ratio)
        if least == np.inf or value < (1 - noise) * least - 0.02:
            best, least = ratio, value
    family = [best * factor for factor in (1.0, _NTSC, 1 / _NTSC)]
    if count >= _FEW:
        grid = np.concatenate([guess * (1 + np.arange(-_NEAR, _NEAR, _GRID)) for guess in guesses])
        free = min(grid, key=lambda speed: _cost(*near, speed))
        if _cost(*near, free) < min(0.75, 1 - noise) * least - 0.05:
            best, family = free, []
        # Within the family, as exactly as the longest run allows.
        exact, span = best, max(float(far[0].max()), 1.0)
        for width in (_FAMILY * span, 2, 0.5, 0.1):
            count_of = int(np.clip(2 * width, 41, 4001)) | 1
            exact = min(exact + np.linspace(-1, 1, count_of) * width / span, key=lambda speed: _cost(*far, speed))
        known = _first_good([(ratio, _cost(*far, ratio)) for ratio in family], noise)
        if known is None or _cost(*far, exact) < min(0.75, 1 - noise) * known[1] - 0.05:
            return float(exact)
        return float(known[0])
    return float(best)


def _first_good(costs: Sequence[tuple[float, float]], noise: float) -> tuple[float, float] | None:
    """The first of some speeds with their costs, unless a later one is better by more than the noise."""
    best: tuple[float, float] | None = None
    for one in costs:
        if best is None or one[1] < (1 - noise) * best[1] - 0.02:
            best = one
    return best


def misfit(runs: Sequence[tuple[NDArray, NDArray]], speed: float) -> float:
    """Mean distance in ticks, 1.5 at most, by which moments of a run lie off a line of that speed through each other."""
    dx, dy = _steps(runs, _STEPS)
    return _cost(dx, dy, speed) if len(dx) else 0.0


def _steps(runs: Sequence[tuple[NDArray, NDArray]], steps: Sequence[int]) -> tuple[NDArray, NDArray]:
    """Colour ticks and grey ticks from moments of a run to later ones of it."""
    across, up = [np.zeros(0)], [np.zeros(0)]
    for x, y in runs:
        for step in steps:
            if step < len(x):
                across.append(x[step:] - x[:-step])
                up.append(y[step:] - y[:-step])
    return np.concatenate(across), np.concatenate(up)


def _cost(dx: NDArray, dy: NDArray, speed: float) -> float:
    return float(np.minimum(np.abs(dy - speed * dx), _CAP).mean())
