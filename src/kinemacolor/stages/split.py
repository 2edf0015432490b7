"""split: train, validation or test for every frame of a dataset; see kinemacolor.frames.splits for how."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.frames.splits import split_frames
from kinemacolor.params import ChronologicalSplit, SeededSplit


def split(frames: list[Path], *, params: ChronologicalSplit | SeededSplit, out: Path) -> pd.DataFrame:
    """Split the frames of a dataset's sources.

    Args:
        frames: folders that the frames stage wrote, in the dataset's order of sources.
        params: how to split.
        out: Parquet file to write: source, frame, split.

    Raises:
        UserError: an index is missing, or nothing is left for training.
    """
    tables = []
    for folder in frames:
        if not (folder / "index.parquet").is_file():
            raise UserError(f"{folder}/index.parquet is missing: run the frames stage.")
        index = pq.ParquetFile(folder / "index.parquet")
        columns = [name for name in ("source", "frame", "time", "clip") if name in index.schema_arrow.names]
        tables.append(index.read(columns=columns).to_pandas())
    table = split_frames(pd.concat(tables, ignore_index=True), params)
    with atomic_file(out) as temporary:
        table.to_parquet(temporary, index=False)
    return table
