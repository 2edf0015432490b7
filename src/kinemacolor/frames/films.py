"""Frames of one film: one of `every`, found by number, as a full decode would give them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kinemacolor.frames.taking import WITHOUT_END, Asked, Lost, OneSize, Resizer, closed, first_full, join, ranks, said, writer_of
from kinemacolor.media.probe import Probe, promised_length
from kinemacolor.media.sparse import Effort, effort, extract
from kinemacolor.params import FramesParams


def take_film(
    folder: Path, video: Path, found: Probe | None, asked: Asked, *, only: Collection[int] | None = None
) -> pd.DataFrame:
    """Write the frames of a film, or of its piece, into an empty folder; returns the index.

    Args:
        found: what `probe` says of the film; pieces are cut by it, and None will do for the whole.
        only: numbers of the frames to take, of those that are asked for; all if None. Not for pieces.
    """
    params = asked.params
    writer = writer_of(folder, asked, pair=False)
    begin, end = 0, WITHOUT_END
    rank = ranks(only)
    if asked.piece.of > 1:
        begin, end = asked.piece.places(*_expected(found, params), writer.capacity)
    efforts: list[Effort] = []
    lost, size = Lost(), OneSize(video)
    length = found.duration if found else promised_length(video)
    until = length if params.end is None or length is None else min(length, params.end)
    if begin < end:
        pictures = extract(
            video,
            every=params.every,
            start=params.start,
            end=params.end,
            wanted=None if rank is None else rank.keys(),
            between=(begin * params.every, min(end * params.every, WITHOUT_END)) if asked.piece.of > 1 else None,
            allow_truncated=asked.allow_truncated,
            threads=asked.threads,
            prepare=Resizer(params),
            note=efforts.append,
        )
        for number, time, picture in pictures:
            place = number // params.every if rank is None else rank[number]
            lost.see(place, number, time)
            writer.add({"colour": size.same(picture)}, frame=number, time=time, place=place)
            asked.progress(round(1000 * (time - params.start)), until and max(1, round(1000 * (until - params.start))))
    if asked.piece.of > 1:
        writer.facts["shown"] = size.size
    writer.facts |= {"decoding": said(efforts), "damaged": lost.ranges}
    return closed(writer, video, asked)


def join_film(folder: Path, pieces: Path, video: Path, asked: Asked) -> pd.DataFrame:
    """Make of a film's pieces, in an empty folder, what `take_film` would have written; returns the index."""
    params = asked.params

    def decoding(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return first_full(told) or said([effort(video, every=params.every, start=params.start, end=params.end)])

    def places(table: pd.DataFrame) -> np.ndarray:
        return table["frame"].to_numpy() // params.every

    return join(folder, pieces, video, asked, decoding=decoding, places=places)


def _expected(found: Probe, params: FramesParams) -> tuple[int, int]:
    """Places between which a film's frames lie, if its rate is even."""
    rate = float(found.frame_rate)
    last = found.frames if params.end is None else min(found.frames, round(params.end * rate))
    low = min(round(params.start * rate), last) // params.every
    return low, max(low + 1, -(-last // params.every))
