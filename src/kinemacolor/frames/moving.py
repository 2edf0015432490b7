"""Frames of whatever moves: a film, a film pair, or clips. Each is imported where it is met, so that how pairs are cut is no
matter of films (dag.py)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.frames.films import join_film, take_film
from kinemacolor.frames.shards import facts_of, open_index
from kinemacolor.frames.taking import Asked
from kinemacolor.media.probe import probe
from kinemacolor.media.sources import SourceRecord


def take_moving(
    folder: Path,
    video: Path,
    record: SourceRecord | None,
    asked: Asked,
    *,
    sync: Path | None = None,
    pieces: Path | None = None,
    only: Collection[int] | None = None,
) -> pd.DataFrame:
    """Write the frames of a source, or of its piece, into an empty folder; returns the index.

    Args:
        video: a video file, or the folder that `download` wrote for the source.
        record: what that folder says; None for a file.
        sync: folder that `sync` wrote, for a film pair.
        pieces: folder of the source's pieces, 0, 1, ..., which are joined instead.
        only: numbers of the frames to take, as the index counts them, of those that are asked for; all if None. Not for pieces.

    Raises:
        UserError: no video or a truncated one, no frame in the range asked for, a pair that was not synced.
    """
    kind = record.kind if record else "video"
    if kind == "clips":
        from kinemacolor.frames import clips

        if pieces is not None:
            return clips.join_clips(folder, pieces, record, asked)
        return clips.take_clips(folder, record, asked, only=only)
    if kind == "film_pair":
        from kinemacolor.frames import pairs

        if sync is None:
            raise UserError(f"{video} is a film pair: run `kinemacolor sync {video} --out DIR` and pass --sync DIR.")
        prints = pairs.Prints(record.print("grey").path, record.print("colour").path, sync)
        if pieces is not None:
            return pairs.join_pair(folder, pieces, prints, asked)
        return pairs.take_pair(folder, prints, asked, only=only)
    film = record.print("video") if record else None
    path = film.path if film else video
    if pieces is not None:
        return join_film(folder, pieces, path, asked)
    found = film.probe if film else probe(path) if asked.piece.of > 1 else None
    return take_film(folder, path, found, asked, only=only)


def summary(folder: Path) -> str:
    """How the frames of a folder were decoded, for people: `; sparse: 41 % of the packets decoded`; empty for photographs."""
    told = facts_of(open_index(folder), folder).get("decoding")
    if not told:
        return ""
    if "colour" in told:
        return "".join(f"; {name} {_said(one)}" for name, one in sorted(told.items()) if one)
    return f"; {_said(told)}"


def _said(told: Mapping[str, Any]) -> str:
    share = f"{100 * told['decoded'] / max(1, told['packets']):.0f} % of the packets decoded"
    if "way" not in told:
        return f"{told['sparse']} clips sparse, {told['full']} in full: {share}"
    return f"sparse: {share}" if told["way"] == "sparse" else f"decoded in full, because {told['why']}"
