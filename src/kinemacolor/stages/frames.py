"""frames: exact frames of one source, resized by area averaging, in shards with an index.

Reads the media (for a film pair both prints, their alignment and geometry); writes `index.parquet` and the shards.
A pair is formed by the alignment and never by list position, and its row carries both timestamps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, read_json
from kinemacolor.frames.index import ShardWriter
from kinemacolor.frames.resize import AreaResize, Box
from kinemacolor.media.decode import Picture, decode
from kinemacolor.params import FramesParams


def frames(video: Path, *, source: str, params: FramesParams, out: Path, allow_truncated: bool = False) -> pd.DataFrame:
    """Extract the frames of one video.

    Args:
        video: a playthrough, a recorded game, any video file.
        source: name of the source, written into every row.
        params: which frames and what size.
        out: folder to make; it appears when it is complete.
        allow_truncated: take what there is of a video that breaks off.

    Returns:
        The index: source, frame, time, shard, row, height, width.

    Raises:
        UserError: no video, or no frame in the range asked for.
    """
    pictures = decode(video, every=params.every, start=params.start, end=params.end, allow_truncated=allow_truncated)
    with atomic_folder(out) as folder:
        writer = _writer(folder, source, params, pair=False)
        resize: AreaResize | None = None
        for picture in pictures:
            resize = resize or AreaResize(picture.pixels.shape[:2], params.height_width, fit=params.fit)
            writer.add({"colour": resize(picture.pixels)}, frame=picture.number, time=picture.time)
        return _closed(writer, video, params)


class Prints(NamedTuple):
    """Both prints of a film and what `sync` found out about them."""

    grey: Path
    colour: Path
    sync: Path
    """Folder with alignment.parquet and geometry.json."""


def frames_of_pair(prints: Prints, *, source: str, params: FramesParams, out: Path) -> pd.DataFrame:
    """Extract aligned frames of both prints; `every`, `start` and `end` count in the colour print.

    Returns:
        The index, with grey_frame and grey_time beside frame and time (those of the colour print).

    Raises:
        UserError: sync has not run, no pair lies in the range, or a print lacks a frame that the alignment names.
    """
    alignment = _alignment(prints.sync, params)
    geometry = read_json(prints.sync / "geometry.json", "run the sync stage")
    partner = dict(zip(alignment["colour_frame"], alignment["grey_frame"], strict=True))
    colours = decode(prints.colour, wanted=set(partner))
    greys = _on_demand(decode(prints.grey, wanted=set(partner.values()), grey=True), prints.grey)
    next(greys)
    with atomic_folder(out) as folder:
        writer = _writer(folder, source, params, pair=True)
        resize_colour: AreaResize | None = None
        for picture in colours:
            grey = greys.send(partner[picture.number])
            if resize_colour is None:
                resize_colour = _resize(picture, params, geometry["colour_crop"])
                resize_grey = _resize(grey, params, geometry["grey_crop"])
            writer.add(
                {"colour": resize_colour(picture.pixels), "grey": resize_grey(grey.pixels)},
                frame=picture.number,
                time=picture.time,
                grey_frame=grey.number,
                grey_time=grey.time,
            )
        return _closed(writer, prints.colour, params)


def _writer(folder: Path, source: str, params: FramesParams, *, pair: bool) -> ShardWriter:
    height, width = params.height_width
    shapes = {"colour": (3, height, width)} | ({"grey": (1, height, width)} if pair else {})
    facts = {"every": params.every, "size": [height, width], "fit": params.fit}
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
    """The pairs that are wanted, one of `every` colour frames inside the range."""
    path = sync / "alignment.parquet"
    if not path.is_file():
        raise UserError(f"{path} is missing: run the sync stage.")
    table = pd.read_parquet(path)
    inside = (table["colour_time"] >= params.start) & (table["colour_frame"] % params.every == 0)
    if params.end is not None:
        inside &= table["colour_time"] < params.end
    return table[inside]


def _on_demand(pictures: Iterator[Picture], path: Path) -> Iterator[Picture]:
    """A coroutine that hands out pictures by number: `send(number)` gives that picture.

    Pictures that come by before they are asked for wait; with segments in order none ever does.
    """
    waiting: dict[int, Picture] = {}
    answer: Picture | None = None
    while True:
        number = yield answer  # type: ignore[misc]
        while number not in waiting:
            picture = next(pictures, None)
            if picture is None:
                raise UserError(f"{path} has no frame {number}, which the alignment names: run the sync stage again.")
            waiting[picture.number] = Picture(picture.number, picture.time, np.array(picture.pixels))
        answer = waiting.pop(number)
