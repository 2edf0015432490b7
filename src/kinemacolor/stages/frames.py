"""frames: exact frames of one source, resized by area averaging, in shards with an index.

Reads the media (for a film pair both prints, their alignment and geometry); writes `index.parquet` and the shards. Frames are
decoded and resized on all cores, and only as far as the wanted ones need it; the bytes written do not depend on how many
cores there are. Pieces that other jobs took of the source (stage `pieces`) are only joined: their shards are linked, not
copied, and the result is what one job writes.

A pair is formed by the alignment and never by list position, and its row carries both timestamps. In a collection a row also
names its clip or photograph. Of photographs `frame` is the number in the order of names, and `time` nought.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, refuse_foreign
from kinemacolor.frames.moving import take_moving
from kinemacolor.frames.taking import Asked, closed, writer_of
from kinemacolor.media.progress import shown
from kinemacolor.media.sources import SourceRecord, read_source
from kinemacolor.params import FramesParams

_MARKER = "index.parquet"


def frames(
    video: Path,
    *,
    source: str,
    params: FramesParams,
    out: Path,
    sync: Path | None = None,
    allow_truncated: bool = False,
    threads: int | None = None,
    pieces: Path | None = None,
) -> pd.DataFrame:
    """Extract the frames of one source.

    Args:
        video: a video file, or the folder that `download` wrote for the source.
        source: name of the source, written into every row.
        params: which frames and what size; for a pair, `every`, `start` and `end` count in the colour print, for clips in each
            clip anew. Of photographs only the size matters: every one is taken. `pieces` says nothing here.
        out: folder to make; it appears when it is complete.
        sync: folder that `sync` wrote, for a film pair.
        allow_truncated: take a video that ends before it says it does; of a source, its record may allow it as well.
        threads: that decode and resize; as many as there are cores if None.
        pieces: folder that holds all pieces of this very source, 0, 1, ...: they are joined, and nothing is decoded.

    Returns:
        The index: source, frame, time, shard, row, height, width; for a pair also grey_frame and grey_time, for a
        collection also clip.

    Raises:
        UserError: no video or a truncated one, no frame in the range asked for, a pair that was not synced, a piece that is
            missing or damaged, or an `out` that holds something else.
    """
    refuse_foreign(out, marker=_MARKER)
    record = read_source(video) if video.is_dir() else None
    allow_truncated = allow_truncated or (record is not None and record.allow_truncated)
    asked = Asked(source, params, allow_truncated, threads)
    if record is not None and record.kind == "images":
        if pieces is not None:
            raise UserError(f"{video} holds photographs, which are not taken in pieces: leave --pieces out.")
        return _of_photographs(record, asked, out)
    with atomic_folder(out, marker=_MARKER) as folder, shown(f"frames of {video.name}") as progress:
        return take_moving(folder, video, record, replace(asked, progress=progress), sync=sync, pieces=pieces)


def _of_photographs(record: SourceRecord, asked: Asked, out: Path) -> pd.DataFrame:
    # Only here, so that how photographs are read is no matter of films (dag.py).
    from kinemacolor.frames.photographs import write_photographs

    params = asked.params
    title = f"frames of {record.folder.name}"
    with atomic_folder(out, marker=_MARKER) as folder, record.gallery() as gallery, shown(title) as progress:
        writer = writer_of(folder, asked, pair=False, kind="images")
        how = {"size": params.height_width, "fit": params.fit, "threads": asked.threads, "progress": progress}
        writer.facts["broken"] = write_photographs(gallery, writer, **how)
        return closed(writer, record.folder, asked)
