"""pieces: one of several parts of a source's frames, so that jobs on several machines may share a long source.

Reads what `frames` reads; writes a folder of the same kind with the frames of whole shards alone. `frames` joins all pieces
of a source into what it would have written by itself, to the byte. A source has at most as many pieces with frames as it has
shards: for more, lower `frames.shard_mib`. Photographs are not taken in pieces.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, refuse_foreign
from kinemacolor.frames.moving import take_moving
from kinemacolor.frames.taking import Asked, Piece
from kinemacolor.media.progress import shown
from kinemacolor.media.sources import read_source
from kinemacolor.params import FramesParams

_MARKER = "index.parquet"


def piece(
    video: Path,
    *,
    number: int,
    source: str,
    params: FramesParams,
    out: Path,
    sync: Path | None = None,
    allow_truncated: bool = False,
    threads: int | None = None,
) -> pd.DataFrame:
    """Extract one piece of the frames of a source.

    Args:
        video, source, sync, allow_truncated, threads: as for `frames`.
        number: which piece, counted from 0.
        params: as for `frames`; `pieces` says how many there are.
        out: folder to make; it appears when it is complete. It may hold no frame.

    Returns:
        The piece's index, as that of `frames`.

    Raises:
        UserError: as `frames`; or there is no such piece.
    """
    refuse_foreign(out, marker=_MARKER)
    if not 0 <= number < params.pieces:
        raise UserError(f"There is no piece {number} of {params.pieces}: they are counted from 0 (frames.pieces says how many).")
    record = read_source(video) if video.is_dir() else None
    if record is not None and record.kind == "images":
        raise UserError(f"{video} holds photographs, which are not taken in pieces: run the frames stage.")
    allow_truncated = allow_truncated or (record is not None and record.allow_truncated)
    asked = Asked(source, params, allow_truncated, threads, Piece(number, params.pieces))
    title = f"piece {number} of {params.pieces} of {video.name}"
    with atomic_folder(out, marker=_MARKER) as folder, shown(title) as progress:
        return take_moving(folder, video, record, replace(asked, progress=progress), sync=sync)
