"""frames: exact frames of one source, resized by area averaging, in shards with an index.

Reads the media (for a film pair both prints, their alignment and geometry); writes `index.parquet` and the shards.
A pair is formed by the alignment and never by list position, and its row carries both timestamps. Where one print is
turned against the other, the grey picture is set upright before it is cut and resized.

In a collection a row also names its clip or photograph. `frame` runs on over all clips, so that (source, frame) stays the key
of a row: it is the picture's number in its own clip plus the pictures of all clips before it, as source.json counts them.
`time` is that in its own clip. Of photographs `frame` is the number in the order of names, and `time` nought.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from kinemacolor.align.laying import set_upright, turn_left_over
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, read_json, refuse_foreign
from kinemacolor.frames.index import ShardWriter
from kinemacolor.frames.resize import AreaResize, Box
from kinemacolor.media.decode import Picture, decode
from kinemacolor.media.probe import probe, truncated
from kinemacolor.media.sources import SourceRecord, read_source
from kinemacolor.media.stretch import decode_stretch
from kinemacolor.params import FramesParams

if TYPE_CHECKING:
    from kinemacolor.media.gallery import Gallery
    from kinemacolor.media.pictures import BrokenPicture

_log = logging.getLogger(__name__)
_MARKER = "index.parquet"
_AHEAD = 32  # photographs that are decoded and resized while others are written


def frames(
    video: Path, *, source: str, params: FramesParams, out: Path, sync: Path | None = None, allow_truncated: bool = False
) -> pd.DataFrame:
    """Extract the frames of one source.

    Args:
        video: a video file, or the folder that `download` wrote for the source.
        source: name of the source, written into every row.
        params: which frames and what size; for a pair, `every`, `start` and `end` count in the colour print, for clips in each
            clip anew. Of photographs only the size matters: every one is taken.
        out: folder to make; it appears when it is complete.
        sync: folder that `sync` wrote, for a film pair.
        allow_truncated: take a video that ends before it says it does; of a source, its record may allow it as well.

    Returns:
        The index: source, frame, time, shard, row, height, width; for a pair also grey_frame and grey_time, for a
        collection also clip.

    Raises:
        UserError: no video or a truncated one, no frame in the range asked for, a pair that was not synced, or an `out`
            that holds something else.
    """
    refuse_foreign(out, marker=_MARKER)
    if not video.is_dir():
        return _of_video(video, source, params, out, allow_truncated=allow_truncated)
    record = read_source(video)
    allow_truncated = allow_truncated or record.allow_truncated
    if record.kind == "clips":
        return _of_clips(record, source, params, out, allow_truncated=allow_truncated)
    if record.kind == "images":
        return _of_pictures(record, source, params, out)
    if record.kind != "film_pair":
        return _of_video(record.print("video").path, source, params, out, allow_truncated=allow_truncated)
    if sync is None:
        raise UserError(f"{video} is a film pair: run `kinemacolor sync {video} --out DIR` and pass --sync DIR.")
    prints = record.print("grey").path, record.print("colour").path
    return _of_pair(*prints, sync, source, params, out, allow_truncated=allow_truncated)


def _of_video(video: Path, source: str, params: FramesParams, out: Path, *, allow_truncated: bool) -> pd.DataFrame:
    pictures = decode(video, every=params.every, start=params.start, end=params.end, allow_truncated=allow_truncated)
    with atomic_folder(out, marker=_MARKER) as folder:
        writer = _writer(folder, source, params, pair=False)
        resize: AreaResize | None = None
        for picture in pictures:
            resize = resize or AreaResize(picture.pixels.shape[:2], params.height_width, fit=params.fit)
            writer.add({"colour": resize(picture.pixels)}, frame=picture.number, time=picture.time)
        return _closed(writer, video, params)


def _of_clips(record: SourceRecord, source: str, params: FramesParams, out: Path, *, allow_truncated: bool) -> pd.DataFrame:
    resizer = functools.lru_cache(64)(functools.partial(_resizer, params))
    with atomic_folder(out, marker=_MARKER) as folder:
        writer = _writer(folder, source, params, pair=False, kind="clips")
        before = 0
        for clip in record.clips:
            number = -1
            pictures = decode(
                record.checked(clip).path,
                every=params.every,
                start=params.start,
                end=params.end,
                allow_truncated=allow_truncated,
            )
            for picture in pictures:
                number = picture.number
                pixels = resizer(picture.pixels.shape[:2])(picture.pixels)
                writer.add({"colour": pixels}, frame=before + number, time=picture.time, clip=clip.name)
            if number < 0:
                _log.warning("%s has no frame in the range that `frames` asks for", clip.path)
            # A file that shows more pictures than its packets told of still leaves every number its own.
            before += max(clip.probe.frames, number + 1)
        return _closed(writer, record.folder, params)


def _of_pictures(record: SourceRecord, source: str, params: FramesParams, out: Path) -> pd.DataFrame:
    # Only here, so that how photographs are read is no matter of films (dag.py).
    from kinemacolor.media.pictures import BrokenPicture, decode_picture, quietly

    resizer = functools.lru_cache(64)(functools.partial(_resizer, params))

    def ready(data: bytes) -> np.ndarray | BrokenPicture:
        try:
            pixels = decode_picture(data)
        except BrokenPicture as error:
            return error
        return resizer(pixels.shape[:2])(pixels)

    with atomic_folder(out, marker=_MARKER) as folder, record.gallery() as gallery, quietly():
        writer = _writer(folder, source, params, pair=False, kind="images")
        broken = 0
        for number, pixels in enumerate(_each(gallery, ready)):
            if isinstance(pixels, BrokenPicture):
                # The download stage decoded every one; what breaks now does so with another version of a library.
                broken += 1
                _log.warning("%s of %s is left out: %s", gallery.name(number), record.folder, pixels)
                continue
            writer.add({"colour": pixels}, frame=number, time=0.0, clip=gallery.name(number))
        writer.facts["broken"] = broken
        return _closed(writer, record.folder, params)


def _each(gallery: Gallery, ready: Callable[[bytes], np.ndarray | BrokenPicture]) -> Iterator[np.ndarray | BrokenPicture]:
    """What `ready` makes of each picture, in their order; several at once, since decoding is most of the work."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waiting: deque[Future] = deque()
        for number in range(len(gallery)):
            waiting.append(pool.submit(ready, gallery.data(number)))
            if len(waiting) == _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _resizer(params: FramesParams, size: tuple[int, int]) -> AreaResize:
    return AreaResize(size, params.height_width, fit=params.fit)


def _of_pair(
    grey: Path, colour: Path, sync: Path, source: str, params: FramesParams, out: Path, *, allow_truncated: bool
) -> pd.DataFrame:
    rows = _alignment(sync, params)
    geometry = read_json(sync / "geometry.json", "run the sync stage")
    left_over = turn_left_over(geometry["transform"], geometry["colour_crop"], geometry["grey_crop"])
    with atomic_folder(out, marker=_MARKER) as folder:
        writer = _writer(folder, source, params, pair=True)
        resize_colour: AreaResize | None = None
        shown: tuple[int, np.ndarray] | None = None  # a grey frame may be that of several colour frames
        greys = _partners(grey, rows, allow_truncated=allow_truncated)
        for picture in decode(colour, wanted=set(rows["colour_frame"]), allow_truncated=allow_truncated):
            # By number: a damaged colour frame is left out, and so is its partner.
            other = next(partner for frame, partner in greys if frame == picture.number)
            if resize_colour is None:
                resize_colour = _resize(picture, params, geometry["colour_crop"])
                resize_grey = _resize(other, params, geometry["grey_crop"])
            if shown is None or shown[0] != other.number:
                upright = other.pixels if left_over is None else set_upright(other.pixels, left_over)
                shown = other.number, resize_grey(upright)
            writer.add(
                {"colour": resize_colour(picture.pixels), "grey": shown[1]},
                frame=picture.number,
                time=picture.time,
                grey_frame=other.number,
                grey_time=other.time,
            )
        return _closed(writer, colour, params)


def _writer(folder: Path, source: str, params: FramesParams, *, pair: bool, kind: str | None = None) -> ShardWriter:
    height, width = params.height_width
    shapes = {"colour": (3, height, width)} | ({"grey": (1, height, width)} if pair else {})
    facts = {"every": 1 if kind == "images" else params.every, "size": [height, width], "fit": params.fit}
    facts |= {"kind": kind} if kind else {}
    return ShardWriter(folder, source=source, shapes=shapes, shard_bytes=params.shard_mib << 20, facts=facts)


def _closed(writer: ShardWriter, video: Path, params: FramesParams) -> pd.DataFrame:
    table = writer.close()
    if table.empty:
        until = f"{params.end:g} s" if params.end is not None else "its end"
        raise UserError(f"{video} has no frame between {params.start:g} s and {until}: correct `frames.start` and `frames.end`.")
    return table


def _resize(picture: Picture, params: FramesParams, crop: Box) -> AreaResize:
    return AreaResize(picture.pixels.shape[:2], params.height_width, box=tuple(crop), fit=params.fit)


def _alignment(sync: Path, params: FramesParams) -> pd.DataFrame:
    """The pairs that are wanted: sure ones of one in `every` colour frames inside the range."""
    path = sync / "alignment.parquet"
    if not path.is_file():
        raise UserError(f"{path} is missing: run the sync stage.")
    table = pd.read_parquet(path)
    inside = (table["colour_time"] >= params.start) & (table["colour_frame"] % params.every == 0)
    if params.end is not None:
        inside &= table["colour_time"] < params.end
    sure = table["confidence"] >= params.min_confidence
    if inside.any() and not (inside & sure).any():
        raise UserError(
            f"{path} has no pair inside the range of a confidence of {params.min_confidence:g} or more: lower "
            "`frames.min_confidence`, or set sync.segments by hand."
        )
    return table[inside & sure]


def _partners(grey: Path, rows: pd.DataFrame, *, allow_truncated: bool) -> Iterator[tuple[int, Picture]]:
    """Every row's colour frame and its grey picture, in the rows' order. Holds one picture at a time.

    Where the grey print runs on, it is decoded once, in order; where it steps back (reels in another order), it is read
    anew from there, by seeking.
    """
    colour_frames, grey_frames, times = (rows[name].to_numpy() for name in ("colour_frame", "grey_frame", "grey_time"))
    runs = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(grey_frames) < 0) + 1)
    if len(runs) > 1 and not allow_truncated and (good := probe(grey).last_good_time) is not None:
        raise truncated(grey, good)
    for run in runs:
        wanted = set(grey_frames[run].tolist())
        if len(runs) == 1:
            pictures = decode(grey, wanted=wanted, grey=True, allow_truncated=allow_truncated)
        else:
            # By number, not by time: the margin only makes sure that rounding loses none.
            start, end = float(times[run[0]]) - 1e-3, float(times[run[-1]]) + 1e-3
            pictures = decode_stretch(grey, start=start, end=end, grey=True, wanted=wanted)
        picture: Picture | None = None
        for row in run:
            while picture is None or picture.number < grey_frames[row]:
                picture = next(pictures, None)
                if picture is None:
                    break
            if picture is None or picture.number != grey_frames[row]:
                raise UserError(f"{grey} has no frame {grey_frames[row]}, which the alignment names: run the sync stage again.")
            yield int(colour_frames[row]), picture
