"""The kept frames of every split: each is coloured once, in batches, and measured.

Memory holds one batch, the shards it lies in, a row of figures a frame and the few frames of the sheets: of a longer film only the
rows of figures are more. A painter
with a memory is given the frames of each split in the order of the index, run by run as in training (frames/runs.py): what
it remembers is forgotten at cuts, gaps, clips and parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.evaluation.measuring import NO_TOOLS, Pool, Tools
from kinemacolor.evaluation.painters import Painter, batches, painted
from kinemacolor.evaluation.showing import Chosen, chosen_rows, extremes, headed, spread
from kinemacolor.frames import runs
from kinemacolor.frames.index import FrameStore, located
from kinemacolor.metrics.intervals import shots_of
from kinemacolor.metrics.pixel import SSIM_WINDOW
from kinemacolor.report.sheets import Row

SPLITS = ("train", "val", "test")
SHOWN = ("val", "test")
"""Splits that have sheets."""
OF_A_FRAME = ("source", "frame", "time", "split", "shot")
"""Columns of the table of frames before the figures."""


@dataclass(frozen=True)
class Evaluation:
    """What a painter did on a dataset.

    Attributes:
        metrics: split -> metric -> number; a split without frames is absent.
        frames: source, frame, time, split, shot (numbered over the dataset) and the figures of each frame.
        samples: split -> rows of its sample sheet, validation and test only.
        extremes: split -> its best, typical and worst frames, validation and test only.
    """

    metrics: dict[str, dict[str, float]]
    frames: pd.DataFrame
    samples: dict[str, list[Row]]
    extremes: dict[str, Chosen]


def evaluate_frames(
    painter: Painter,
    stores: Sequence[FrameStore],
    table: pd.DataFrame,
    *,
    tools: Tools = NO_TOOLS,
    samples: int = 12,
    source: str | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Evaluation:
    """Colour and measure every kept frame of each split.

    Args:
        painter: who colours.
        stores: one a source, in any order.
        table: the filter table: source, frame, split, keep, cut. Rows of sources without a store are left out.
        tools: the networks that measure; distances between sets of frames are of validation and test alone.
        samples: rows of a sample sheet, spread evenly over the split, and of the sheet of best, typical and worst frames.
        source: measure its frames alone; shots keep the numbers that they have among all.
        progress: told how many frames are done, of how many.

    Raises:
        UserError: no frame is kept, a frame is in no store, frames are too small for SSIM, or the painter gives values that
            are no numbers.
    """
    rows = rows_to_measure(stores, table, source=source)
    metrics: dict[str, dict[str, float]] = {}
    tables, sheets, far = [], {}, {}
    done = 0
    for split in SPLITS:
        part = rows[rows["split"] == split].reset_index(drop=True)
        if part.empty:
            continue
        if painter.remembers:
            part["starts"] = runs.begins(part)
        painter.reset()
        # Distances between sets cost as much as all the rest, and of what was trained on say the least.
        pool = Pool(tools if split in SHOWN else tools.of_frames(), device=painter.device)
        measured: list[dict[str, np.ndarray]] = []
        for batch in batches(stores, part, painter.device):
            measured.append(pool.update(painted(painter, batch), batch.true))
            done += len(batch.rows)
            progress(done, len(rows))
        figures = pd.DataFrame({name: np.concatenate([values[name] for values in measured]) for name in measured[0]})
        tables.append(pd.concat([part[list(OF_A_FRAME)], figures.astype(np.float64)], axis=1))
        metrics[split] = pool.pooled() | {name: int(part[name].iloc[0]) for name in ("height", "width")}
        if split in SHOWN:
            places = spread(len(part), samples)
            kinds, rule = extremes(figures["de2000"].to_numpy(), part["shot"].to_numpy(), samples // 3)
            shown = chosen_rows(painter, stores, part, figures, {*places, *kinds})
            sheets[split] = [shown[place] for place in places]
            far[split] = Chosen([headed(shown[place], kind) for place, kind in kinds.items()], rule)
    return Evaluation(metrics, pd.concat(tables, ignore_index=True), sheets, far)


def rows_to_measure(stores: Sequence[FrameStore], table: pd.DataFrame, *, source: str | None = None) -> pd.DataFrame:
    """The kept rows of the filter table, by source and in the order of its index, with where each frame lies and its shot.

    With `source`, those of that source.

    Returns:
        The table's columns, those of `located`, and `shot`: numbered over all rows of the table, kept or not, since a shot
        may begin with a frame that is not.

    Raises:
        UserError: as `evaluate_frames`, but for the painter.
    """
    known = table["source"].isin([store.source for store in stores])
    rows = located(table[known], stores).sort_values(["source", "at"], ignore_index=True)
    rows["shot"] = shots_of(rows)
    rows = rows[rows["keep"] & (rows["source"].eq(source) if source is not None else True)].reset_index(drop=True)
    if rows.empty:
        raise UserError("The filter leaves no frame of the dataset: lower datasets.<name>.filter, or take more frames.")
    if rows[["height", "width"]].min().min() < SSIM_WINDOW:
        raise UserError(
            f"SSIM needs frames of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels: set datasets.<name>.frames.size to that or more."
        )
    return rows
