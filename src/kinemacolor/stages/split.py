"""split: train, validation or test for every frame of a dataset; see kinemacolor.frames.splits for how."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.frames.shards import read_index
from kinemacolor.frames.splits import split_frames
from kinemacolor.params import ChronologicalSplit, SeededSplit

_COLUMNS = ("source", "frame", "time", "clip")


def split(frames: list[Path], *, params: ChronologicalSplit | SeededSplit, out: Path) -> pd.DataFrame:
    """Split the frames of a dataset's sources. Pictures are read only where shots are drawn.

    Args:
        frames: folders that the frames stage wrote, in the dataset's order of sources.
        params: how to split.
        out: Parquet file to write: source, frame, split.

    Raises:
        UserError: an index is missing or damaged, two are of one source, or nothing is left for training; where shots are
            drawn, a shard is missing or damaged.
    """
    tables = []
    for folder in frames:
        table, _ = read_index(folder, _COLUMNS)
        if isinstance(params, SeededSplit) and params.unit == "shot":
            table["cut"] = _cuts(folder)
        tables.append(table)
    _refuse_twice(frames, tables)
    whole = pd.concat(tables, ignore_index=True)
    tables.clear()  # a million rows need not be there twice
    table = split_frames(whole, params)
    del whole
    with atomic_file(out) as temporary:
        table.to_parquet(temporary, index=False)
    return table


def _cuts(folder: Path) -> pd.Series:
    # Only here, so that how pictures are read and looked at is no matter of the other ways to split (dag.py).
    from kinemacolor.frames.cuts import shots_of
    from kinemacolor.frames.index import FrameStore

    return pd.Series(shots_of(FrameStore(folder)))


def _refuse_twice(frames: list[Path], tables: list[pd.DataFrame]) -> None:
    seen: set[str] = set()
    for folder, table in zip(frames, tables, strict=True):
        here = set(table["source"].unique())
        if again := seen & here:
            raise UserError(f"{folder} holds frames of {again.pop()!r}, as another folder does: name each source once.")
        seen |= here
