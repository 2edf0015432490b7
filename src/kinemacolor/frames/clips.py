"""Frames of many short videos: several clips at once, their frames in the clips' order.

As many clips are decoded at once as fit whole into what may wait, since each waits for those before it; the threads that are
left share out each clip among them.

A row names its clip. `frame` runs on over all clips, so that (source, frame) stays the key of a row: it is the picture's
number in its own clip plus the pictures of all clips before it, as source.json counts them; places run on likewise.
`time` is that in its own clip.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kinemacolor import cores
from kinemacolor.errors import UserError
from kinemacolor.frames.in_order import in_order
from kinemacolor.frames.taking import Asked, Lost, Resizer, Small, closed, join, ranks, writer_of
from kinemacolor.media.sources import ClipRecord, SourceRecord
from kinemacolor.media.sparse import Effort, effort, extract
from kinemacolor.params import FramesParams

_log = logging.getLogger(__name__)

_DECODED = 192 << 20
"""Bytes of finished pictures that may wait in all clips that are being decoded; as many again, packets."""
_IN_LINE = 64 << 20
"""Bytes of those that may wait behind them, to be written."""


class _Clip(NamedTuple):
    """A clip, or the part of one that lies in a piece."""

    record: ClipRecord
    frames_before: int
    """Pictures of all clips before it."""
    places_before: int
    places: int
    begin: int
    """Its first place that is wanted, and the end of those, counted in itself."""
    end: int

    @property
    def whole(self) -> bool:
        return self.begin == 0 and self.end >= self.places


def take_clips(folder: Path, record: SourceRecord, asked: Asked, *, only: Collection[int] | None = None) -> pd.DataFrame:
    """Write the frames of all clips, or of a piece of them, into an empty folder; returns the index.

    Args:
        only: numbers of the frames to take, of those that are asked for, as source.json counts them; all if None. Not for pieces.

    Raises:
        UserError: a clip is missing, damaged, or in pieces shows more pictures than source.json counts.
    """
    params = asked.params
    writer = writer_of(folder, asked, pair=False, kind="clips")
    clips = _clips(record, params)
    if asked.piece.of > 1:
        begin, end = asked.piece.places(0, clips[-1].places_before + clips[-1].places if clips else 0, writer.capacity)
        clips = [part for clip in clips if (part := _part(clip, begin, end)) is not None]
    rank = ranks(only)
    if rank is not None:
        clips = [clip for clip in clips if _chosen(clip, rank)]
    small = Resizer(params)
    efforts: dict[str, Effort] = {}
    threads = asked.threads or cores.usable()
    picture = 3 * math.prod(params.height_width)
    at_once = _at_once(clips, picture, threads)
    # Pictures wait of twice as many clips as are decoded.
    ahead = min(16, max(1, _IN_LINE // (2 * at_once * picture)))

    def pictures(clip: _Clip) -> Iterator[tuple[int, float, Small]]:
        return extract(
            record.checked(clip.record).path,
            every=params.every,
            start=params.start,
            end=params.end,
            wanted=None if rank is None else _chosen(clip, rank),
            between=None if clip.whole else (clip.begin * params.every, clip.end * params.every),
            allow_truncated=asked.allow_truncated,
            threads=-(-threads // at_once),
            prepare=small,
            waiting=_DECODED // at_once,
            note=lambda told: efforts.__setitem__(clip.record.name, told),
        )

    lost = Lost()
    more_frames = more_places = 0
    for done, (clip, shown) in enumerate(in_order(clips, pictures, threads=at_once, ahead=ahead)):
        number = -1
        for number, time, picture in shown:
            _refuse_more(clip, number, asked)
            frame, place = clip.frames_before + more_frames + number, clip.places_before + more_places + number // params.every
            place = place if rank is None else rank[frame]
            lost.see(place, frame, time, clip.record.name)
            writer.add({"colour": picture.planes}, frame=frame, time=time, place=place, clip=clip.record.name)
        if number < 0 and clip.whole:
            _log.warning("%s has no frame in the range that `frames` asks for", clip.record.path)
        # A file that shows more pictures than its packets told of still leaves every number its own.
        if number >= clip.record.probe.frames:
            more_frames += number + 1 - clip.record.probe.frames
            more_places += max(0, number // params.every + 1 - clip.places)
        asked.progress(done + 1, len(clips))
    for clip in clips:
        if clip.begin == 0 and not clip.whole:  # it counts where it begins, and as one job would have taken it
            told = effort(
                clip.record.path,
                every=params.every,
                start=params.start,
                end=params.end,
                allow_truncated=asked.allow_truncated,
            )
            count = clip.record.probe.frames
            efforts[clip.record.name] = told if told.way == "sparse" else told._replace(packets=count, decoded=count)
    told = _said([efforts[clip.record.name] for clip in clips if clip.begin == 0])
    writer.facts |= {"decoding": told, "damaged": lost.ranges}
    return closed(writer, record.folder, asked)


def join_clips(folder: Path, pieces: Path, record: SourceRecord, asked: Asked) -> pd.DataFrame:
    """Make of the pieces of clips, in an empty folder, what `take_clips` would have written; returns the index."""
    clips = {clip.record.name: clip for clip in _clips(record, asked.params)}

    def decoding(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {name: sum(piece[name] for piece in told) for name in ("sparse", "full", "packets", "decoded")}

    def places(table: pd.DataFrame) -> np.ndarray:
        of = [clips[name] for name in (table["clip"].tolist() if len(table) else ())]
        before = np.array([(clip.frames_before, clip.places_before) for clip in of], np.int64).reshape(-1, 2)
        return before[:, 1] + (table["frame"].to_numpy() - before[:, 0]) // asked.params.every

    return join(folder, pieces, record.folder, asked, decoding=decoding, places=places)


def _said(efforts: Sequence[Effort]) -> dict[str, int]:
    """How many clips were decoded in which way, and their pictures."""
    ways = {way: sum(one.way == way for one in efforts) for way in ("sparse", "full")}
    return ways | {"packets": sum(one.packets for one in efforts), "decoded": sum(one.decoded for one in efforts)}


def _clips(record: SourceRecord, params: FramesParams) -> list[_Clip]:
    found, frames, places = [], 0, 0
    for clip in record.clips:
        count = -(-clip.probe.frames // params.every)
        found.append(_Clip(clip, frames, places, count, 0, count))
        frames, places = frames + clip.probe.frames, places + count
    return found


def _at_once(clips: Sequence[_Clip], picture: int, threads: int) -> int:
    """How many clips of pictures of so many bytes are to be decoded at once by so many threads."""
    mean = sum(clip.end - clip.begin for clip in clips) * picture // max(1, len(clips))
    return max(1, min(threads, _DECODED // max(1, mean)))


def _part(clip: _Clip, begin: int, end: int) -> _Clip | None:
    """What of a clip lies between two places; None if nothing does."""
    begin, end = max(0, begin - clip.places_before), min(clip.places, end - clip.places_before)
    return clip._replace(begin=begin, end=end) if begin < end else None


def _chosen(clip: _Clip, numbers: Collection[int]) -> set[int]:
    """Which pictures of a clip are among some numbers of frames."""
    before = clip.frames_before
    return {number - before for number in numbers if 0 <= number - before < clip.record.probe.frames}


def _refuse_more(clip: _Clip, number: int, asked: Asked) -> None:
    if asked.piece.of > 1 and number >= clip.record.probe.frames:
        raise UserError(
            f"{clip.record.path} shows more pictures than its packets tell of ({clip.record.probe.frames}), so that no piece "
            "could number the clips behind it: set frames.pieces to 1."
        )
