"""filter: which frames stay, and why the others do not. A frame never moves between the parts of the split here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.frames.grey import chroma_and_lightness, reasons
from kinemacolor.frames.index import FrameStore
from kinemacolor.params import FilterParams

_BATCH_PIXELS = 1 << 21
"""Pixels looked at together: memory stays flat whatever the frames' size."""


def filter_frames(frames: list[Path], *, split: Path, params: FilterParams, out: Path) -> pd.DataFrame:
    """Mark the frames that teach no colour.

    Args:
        frames: folders that the frames stage wrote.
        split: Parquet file that the split stage wrote.
        params: thresholds.
        out: Parquet file to write: source, frame, split, keep, reason, mean_chroma.

    Raises:
        UserError: an input is missing, or no frame of the training part stays.
    """
    if not split.is_file():
        raise UserError(f"{split} is missing: run the split stage.")
    table = pd.read_parquet(split)
    measured = pd.concat([_measure(FrameStore(folder)) for folder in frames], ignore_index=True)
    table = table.merge(measured, on=["source", "frame"], how="left", validate="one_to_one")
    if table["mean_chroma"].isna().any():
        raise UserError(f"{split} names frames that the index does not have: run the split stage again.")
    table["reason"] = reasons(table["mean_chroma"].to_numpy(), table.pop("lightness").to_numpy(), params)
    table["keep"] = table["reason"] == ""
    if not (table["keep"] & (table["split"] == "train")).any():
        raise UserError(
            f"All {int((table['split'] == 'train').sum())} training frames are grey or black: lower `filter.grey` ({params.grey:g}) or `filter.black` ({params.black:g})."
        )
    table = table[["source", "frame", "split", "keep", "reason", "mean_chroma"]]
    with atomic_file(out) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def _measure(store: FrameStore) -> pd.DataFrame:
    height, width = store.facts["size"]
    step = max(1, _BATCH_PIXELS // (height * width))
    chroma, lightness = [], []
    for begin in range(0, len(store), step):
        batch = chroma_and_lightness(store.colour(np.arange(begin, min(begin + step, len(store)))))
        chroma.append(batch[0])
        lightness.append(batch[1])
    return store.table[["source", "frame"]].assign(mean_chroma=np.concatenate(chroma), lightness=np.concatenate(lightness))
