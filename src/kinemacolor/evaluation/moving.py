"""Motion: stretches of consecutive frames of a few shots, which `motion` took at the film's own rate, coloured and measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.evaluation.painters import Painter, batches, painted
from kinemacolor.frames.stretches import Stretch
from kinemacolor.metrics.temporal import TemporalMetrics


def evaluate_stretches(
    painter: Painter, stretches: Sequence[Stretch], frames: pd.DataFrame
) -> tuple[dict[str, dict[str, float]], pd.DataFrame | None]:
    """Colour each stretch from its first frame on, and measure how colours move.

    Args:
        painter: who colours; one with a memory has forgotten everything when a stretch begins.
        stretches: of any number of sources.
        frames: source, frame, shot of the frames that were measured, to which each stretch's first belongs.

    Returns:
        Split -> the names of motion; and a row a stretch: shot, and its figures. Nothing and None without stretches.

    Raises:
        UserError: a stretch begins at a frame that is not in `frames`, or the painter gives values that are no numbers.
    """
    pools: dict[str, TemporalMetrics] = {}
    rows = []
    shots = frames.set_index(["source", "frame"])["shot"]
    for stretch in stretches:
        if (stretch.source, stretch.frame) not in shots.index:
            raise UserError(
                f"Frame {stretch.frame} of {stretch.source}, where a stretch begins, is not among those that the filter keeps: "
                "run the motion stage again."
            )
        pool = pools.setdefault(stretch.split, TemporalMetrics())
        part = stretch.store.table.iloc[stretch.rows][["source", "frame", "height", "width"]].reset_index(drop=True)
        part = part.assign(store=0, at=stretch.rows, starts=np.arange(len(stretch.rows)) == 0)
        painter.reset()
        for batch in batches([stretch.store], part, painter.device):
            pool.add(painted(painter, batch), batch.true)
        rows.append({"shot": int(shots.loc[(stretch.source, stretch.frame)])} | pool.end())
    return {split: figures for split, pool in pools.items() if (figures := pool.pooled())}, pd.DataFrame(rows) if rows else None
