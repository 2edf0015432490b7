"""motion: a few stretches of consecutive frames of validation and test, on which evaluation measures how colours move.

Reads the media as `frames` does, and the dataset's own frames and filter table, by which it chooses (frames/stretches.py).
Writes a folder of the same kind as that of `frames`, at the same size, geometry and pairing but at the film's own rate, and in it
`stretches.parquet`. Made once a dataset and source, for all models. Photographs have no motion.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, refuse_foreign
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.moving import take_moving
from kinemacolor.frames.stretches import TABLE, begins_of_stretches, numbers_of, stretches_in
from kinemacolor.frames.taking import Asked
from kinemacolor.media.progress import shown
from kinemacolor.media.sources import read_source
from kinemacolor.params import FramesParams, MotionParams


def motion(
    video: Path,
    frames: Path,
    *,
    filter_table: Path,
    params: FramesParams,
    wanted: MotionParams,
    out: Path,
    sync: Path | None = None,
    allow_truncated: bool = False,
    threads: int | None = None,
) -> pd.DataFrame:
    """Take stretches of consecutive frames of one source of a dataset.

    Args:
        video: a video file, or the folder that `download` wrote for the source.
        frames: the dataset's frames of this source.
        filter_table: the dataset's.
        params: how those frames were taken; `every`, `start`, `compression` and `pieces` say nothing here.
        wanted: how many stretches and how long.
        out: folder to make; it appears when it is complete. Without a stretch it holds an empty table alone.
        sync: folder that `sync` wrote, for a film pair.
        allow_truncated: take a video that ends before it says it does; of a source, its record may allow it as well.
        threads: that decode and resize; as many as there are cores if None. The bytes are the same.

    Returns:
        stretches.parquet: stretch (from 0), source, split, frame (number of its first, a kept row of the filter table), last (of
        its last), row (of the first, in the folder's index), rows.

    Raises:
        UserError: an input is missing or damaged, inputs do not fit each other, the source holds photographs, or as `frames`.
    """
    refuse_foreign(out, marker=TABLE)
    record = read_source(video) if video.is_dir() else None
    if record is not None and record.kind == "images":
        raise UserError(f"{video} holds photographs, which do not move: evaluate them without --motion.")
    if not filter_table.is_file():
        raise UserError(f"{filter_table} is missing: run the filter stage.")
    store = FrameStore(frames)
    if tuple(store.facts["size"]) != params.height_width or store.facts["fit"] != params.fit:
        raise UserError(f"{frames} was taken at another size or fit: run the frames stage again, or give the same values.")
    begins = begins_of_stretches(store, pd.read_parquet(filter_table), shots=wanted.shots, frames=wanted.frames)
    dense = params.model_copy(update={"every": 1, "start": 0.0, "compression": "none", "pieces": 1})
    allow_truncated = allow_truncated or (record is not None and record.allow_truncated)
    with atomic_folder(out, marker=TABLE) as folder, shown(f"motion of {store.source}") as progress:
        taken = None
        if len(begins):
            asked = Asked(store.source, dense, allow_truncated, threads, progress=progress)
            take_moving(folder, video, record, asked, sync=sync, only=numbers_of(begins, wanted.frames))
            taken = FrameStore(folder, verify=False)
        table = stretches_in(taken, begins, frames=wanted.frames)
        table.to_parquet(folder / TABLE, index=False)
    return table
