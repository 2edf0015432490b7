"""The split on a time line: a lane for each part, and one for what the filter left out.

A lane shows stretches rather than frames: neighbours of one part are joined, and so is what lies nearer together than a line
of that width can show, so that a million photographs drawn one by one make no longer a page than a film cut in three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FINEST = 1 / 500
"""Share of the line under which a gap is not shown."""
LEFT_OUT = "Left out"


@dataclass(frozen=True)
class TimeLine:
    """Where the parts of a source lie.

    Attributes:
        source: its name.
        lanes: part, or `LEFT_OUT` -> stretches (start, end), shares of the whole from 0 to 1, in order and apart.
        marks: what stands at the beginning, at equal distances, and at the end.
    """

    source: str
    lanes: Mapping[str, Sequence[tuple[float, float]]]
    marks: Sequence[str]


def lanes(starts: ArrayLike, ends: ArrayLike, lane: ArrayLike, names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Stretches of each lane.

    Args:
        starts, ends: (N,) where each frame begins and ends, shares of the whole from 0 to 1, in order.
        lane: (N,) number of its lane in `names`.
        names: of the lanes.

    Returns:
        Lane -> its stretches, of those that have any. Shares are rounded to four digits.
    """
    starts, ends, lane = np.asarray(starts, np.float64), np.asarray(ends, np.float64), np.asarray(lane)
    found = {name: _joined(starts[lane == number], ends[lane == number]) for number, name in enumerate(names)}
    return {name: stretches for name, stretches in found.items() if stretches}


def _joined(starts: NDArray[np.float64], ends: NDArray[np.float64]) -> list[tuple[float, float]]:
    if not len(starts):
        return []
    breaks = np.flatnonzero(starts[1:] - ends[:-1] > _FINEST) + 1
    firsts, lasts = np.insert(breaks, 0, 0), np.append(breaks, len(starts)) - 1
    # A single frame of a long film would be thinner than a line.
    widest = np.maximum(ends[lasts], starts[firsts] + _FINEST / 2)
    return [
        (round(float(start), 4), round(min(1.0, float(end)), 4)) for start, end in zip(starts[firsts], widest, strict=True)
    ]  # fmt: skip


def lane_path(stretches: Sequence[tuple[float, float]]) -> str:
    """The stretches as the `d` of an SVG path, 10,000 wide and 1 high."""
    return "".join(f"M{round(1e4 * start)} 0H{round(1e4 * end)}V1H{round(1e4 * start)}Z" for start, end in stretches)
