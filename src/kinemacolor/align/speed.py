"""How many grey frames a colour frame lasts, from many small measurements of where a moment lies in both prints.

Prints are made by machines, so the speed is most often one of a few ratios: one frame for one, five for four (3:2 pulldown),
25 for 24 and so on. One of those is taken unless the measurements say otherwise. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATIOS = (1.0, 5 / 4, 4 / 5, 25 / 24, 24 / 25, 6 / 5, 5 / 6, 30 / 24, 2.0, 0.5)
_NTSC = 1001 / 1000
_NEAR = 0.045  # of the coarse speed: splices bend it
_NOISE = 2.0  # moments: of so few, any speed may seem the best
_CAP = 1.5  # ticks from which a measurement is simply wrong (a splice, a still shot)
_STEPS = (1, 2, 4, 8, 16, 32, 64, 128)


def fit_speed(runs: Sequence[tuple[NDArray, NDArray]], coarse: float, rates: tuple[float, float]) -> float:
    """Grey ticks a colour tick.

    Args:
        runs: for every stretch the colour ticks and the grey ticks of moments that belong together, each (n,), to about half
            a tick, some wrong. Between them a splice may have moved everything.
        coarse: the speed to within a hundredth.
        rates: ticks a second of the grey and of the colour print.
    """
    dx, dy = _steps(runs)
    clock = rates[0] / rates[1]
    known = [base * factor for base in (*RATIOS, clock) for factor in (1.0, _NTSC, 1 / _NTSC)]
    near = [ratio for ratio in dict.fromkeys(known) if abs(ratio / coarse - 1) < _NEAR]
    if len(dx) == 0:
        return min(near, key=lambda ratio: abs(ratio / coarse - 1), default=coarse)

    def cost(speed: float) -> float:
        return _cost(dx, dy, speed)

    # Plain ratios first: a later one must be better by more than the measurements' own noise, which few do not average away.
    noise = _NOISE / sum(len(x) for x, _ in runs)
    best = coarse, np.inf
    for ratio in sorted(near, key=lambda ratio: (ratio not in RATIOS, ratio != clock)):
        value = cost(ratio)
        if best[1] == np.inf or value < (1 - noise) * best[1] - 0.02:
            best = ratio, value
    span = float(dx.max())
    grid = coarse * (1 + np.linspace(-_NEAR, _NEAR, 2 * int(np.clip(_NEAR * span, 10, 1500)) + 1))
    free = min(grid, key=cost)
    for width in (2, 0.5, 0.1):
        around = free + np.linspace(-1, 1, 41) * width / max(span, 1.0)
        free = min(around, key=cost)
    return float(free) if cost(free) < min(0.75, 1 - noise) * best[1] - 0.05 else float(best[0])


def misfit(runs: Sequence[tuple[NDArray, NDArray]], speed: float) -> float:
    """Mean distance in ticks, 1.5 at most, by which moments of a run lie off a line of that speed through each other."""
    dx, dy = _steps(runs)
    return _cost(dx, dy, speed) if len(dx) else 0.0


def _steps(runs: Sequence[tuple[NDArray, NDArray]]) -> tuple[NDArray, NDArray]:
    """Colour ticks and grey ticks from moments of a run to later ones of it."""
    across, up = [np.zeros(0)], [np.zeros(0)]
    for x, y in runs:
        for step in _STEPS:
            if step < len(x):
                across.append(x[step:] - x[:-step])
                up.append(y[step:] - y[:-step])
    return np.concatenate(across), np.concatenate(up)


def _cost(dx: NDArray, dy: NDArray, speed: float) -> float:
    return float(np.minimum(np.abs(dy - speed * dx), _CAP).mean())
