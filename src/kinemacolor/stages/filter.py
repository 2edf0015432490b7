"""filter: which frames stay, and why the others do not, and where shots begin. A frame never moves between parts here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.frames.cuts import CutDetector
from kinemacolor.frames.grey import chroma_and_lightness_of_lab, reasons
from kinemacolor.frames.index import FrameStore
from kinemacolor.params import FilterParams

_BATCH_PIXELS = 1 << 21
"""Pixels looked at together: memory stays flat whatever the frames' size."""


def filter_frames(frames: list[Path], *, split: Path, params: FilterParams, out: Path) -> pd.DataFrame:
    """Mark the frames that teach no colour, and those at which a shot begins.

    Args:
        frames: folders that the frames stage wrote.
        split: Parquet file that the split stage wrote.
        params: thresholds.
        out: Parquet file to write: source, frame, split, keep, reason, mean_chroma, and cut: a shot begins at this frame,
            compared with the frame before it in the index, or a source or clip does. All frames of the index are looked
            at, also those that are in no part; of a pair, the grey print's.

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
    table = table[["source", "frame", "split", "keep", "reason", "mean_chroma", "cut"]]
    with atomic_file(out) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def _measure(store: FrameStore) -> pd.DataFrame:
    height, width = store.facts["size"]
    step = max(1, _BATCH_PIXELS // (height * width))
    measured: list[tuple[np.ndarray, ...]] = []
    detector = CutDetector()
    for clip in _clips(store):
        detector.reset()
        for begin in range(0, len(clip), step):
            rows = clip[begin : begin + step]
            lab = rgb_to_lab(torch.from_numpy(store.colour(rows)))
            lightness = lightness_of_grey(torch.from_numpy(store.grey(rows))) if store.is_pair else lab[:, :1]
            measured.append((*chroma_and_lightness_of_lab(lab), detector(lightness).numpy()))
    columns = zip(("mean_chroma", "lightness", "cut"), zip(*measured, strict=True), strict=True)
    return store.table[["source", "frame"]].assign(**{name: np.concatenate(values) for name, values in columns})


def _clips(store: FrameStore) -> list[np.ndarray]:
    """Rows of the index, clip by clip; of a source without clips, all of them."""
    rows = np.arange(len(store))
    if "clip" not in store.table:
        return [rows]
    clip = store.table["clip"].to_numpy()
    return np.split(rows, np.flatnonzero(clip[1:] != clip[:-1]) + 1)
