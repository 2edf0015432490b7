"""Frames of moving pictures into shards: what a film, a film pair and a collection of clips share.

Where a frame lies follows from its number alone: frame n of a film has place n // every, whatever came before it or is
damaged. So a source may be taken in pieces of whole shards, by jobs that know nothing of each other, and `join` makes of
these what one job would have written. What such a job is told is `Asked`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.frames.resize import AreaResize, Box
from kinemacolor.frames.shards import ShardWriter, facts_of, join_pieces, open_index, read_index
from kinemacolor.media.decode import Picture
from kinemacolor.media.sparse import Effort
from kinemacolor.params import FramesParams

WITHOUT_END = 1 << 62
Progress = Callable[[int, int | None], None]
"""Told what is done and what there is in all (None if unknown), in any unit."""


class Piece(NamedTuple):
    """One of the jobs over which a source is spread."""

    number: int = 0
    of: int = 1

    def places(self, low: int, high: int, capacity: int) -> tuple[int, int]:
        """The places [a, b) of this piece, whole shards; the first piece begins at 0, the last has no end.

        Args:
            low, high: between which the source's places are expected. A wrong guess makes the pieces uneven, no more.
            capacity: places in a shard.
        """
        first, last = low // capacity, -(-high // capacity)
        cuts = [0, *(first + (last - first) * cut // self.of for cut in range(1, self.of)), WITHOUT_END]
        begin, end = cuts[self.number], cuts[self.number + 1]
        return begin * capacity, min(end * capacity, WITHOUT_END)


WHOLE = Piece()


@dataclass(frozen=True)
class Asked:
    """What is to be taken, and how."""

    source: str
    """Name of the source, written into every row."""
    params: FramesParams
    allow_truncated: bool = False
    threads: int | None = None
    """That decode and resize; None for as many as there are cores. Nothing else depends on it."""
    piece: Piece = WHOLE
    progress: Progress = lambda done, total: None


def ranks(only: Collection[int] | None) -> dict[int, int] | None:
    """Places of frames of which no others are taken: number -> how many smaller ones there are; None for None."""
    return None if only is None else {number: place for place, number in enumerate(sorted(only))}


class Small(NamedTuple):
    """A picture cut and resized, and what it was before."""

    planes: np.ndarray
    """(C,h,w) uint8."""
    shown: tuple[int, int]
    """Height and width of the whole picture."""


def first_full(told: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """`decoding` of one job, from what pieces say, if it was a full decode: why the first had to, and how far the last came."""
    told = [one for one in told if one]
    full = [one for one in told if one["way"] == "full"]
    if not full:
        return None
    most = max(one["packets"] for one in full)  # sparse ones count packets of which no picture is shown
    return dict(full[0]) | {"packets": most, "decoded": most}


class Resizer:
    """Cuts and resizes pictures of whatever size, in whatever thread."""

    def __init__(self, params: FramesParams, *, box: Box | None = None) -> None:
        """`box` is the part to use, the whole picture by default."""
        self._of = lru_cache(64)(
            lambda size, aspect: AreaResize(size, params.height_width, box=box, fit=params.fit, pixel_aspect=aspect)
        )

    def __call__(self, picture: Picture) -> Small:
        """(H,W,3) or (H,W) to planes (C,h,w)."""
        size = picture.pixels.shape[:2]
        return Small(self._of(size, picture.pixel_aspect)(picture.pixels), size)


class OneSize:
    """Sees to it that all pictures of a film have the size of the first, whichever thread had it."""

    def __init__(self, video: Path) -> None:
        self._video = video
        self.size: tuple[int, int] | None = None
        """Height and width; None before the first."""

    def same(self, picture: Small) -> np.ndarray:
        """Its planes.

        Raises:
            UserError: it is of another size than the first.
        """
        self.see(picture.shown)
        return picture.planes

    def see(self, shown: tuple[int, int] | None) -> None:
        """Take account of a size; None is of no picture."""
        self.size = self.size or shown
        if shown is not None and shown != self.size:
            one, other = (f"{width}x{height}" for height, width in (shown, self.size))
            raise UserError(f"{self._video} has a frame of {one} pixels among frames of {other}: re-encode it at one size.")


def writer_of(folder: Path, asked: Asked, *, pair: bool, kind: str | None = None) -> ShardWriter:
    """A writer of the shards and index that `asked` means."""
    params = asked.params
    height, width = params.height_width
    shapes = {"colour": (3, height, width)} | ({"grey": (1, height, width)} if pair else {})
    facts: dict[str, Any] = {"every": 1 if kind == "images" else params.every, "size": [height, width], "fit": params.fit}
    facts |= {"kind": kind} if kind else {}
    facts |= {"piece": asked.piece._asdict()} if asked.piece.of > 1 else {}
    return ShardWriter(
        folder,
        source=asked.source,
        shapes=shapes,
        shard_bytes=params.shard_mib << 20,
        facts=facts,
        compression=params.compression,
    )


def closed(writer: ShardWriter, video: Path, asked: Asked) -> pd.DataFrame:
    """Close a writer; returns the index.

    Raises:
        UserError: there was no frame; a piece may have none.
    """
    table = writer.close()
    if asked.piece.of == 1:
        refuse_empty(table, video, asked.params)
    return table


def refuse_empty(table: pd.DataFrame, video: Path, params: FramesParams) -> None:
    """Refuse an index without a frame."""
    if table.empty:
        until = f"{params.end:g} s" if params.end is not None else "its end"
        raise UserError(f"{video} has no frame between {params.start:g} s and {until}: correct `frames.start` and `frames.end`.")


class Lost:
    """Finds where frames that were asked for did not come, because the video is damaged there: holes among the places."""

    def __init__(self) -> None:
        self.ranges: list[dict[str, Any]] = []
        """`frames`, how many were asked for in a hole; `between`, the frames that came before and after it; `seconds`, their
        times; for clips `clip`. Holes at the very beginning or end are not seen."""
        self._last: tuple[int, int, float, str | None] | None = None

    def see(self, place: int, frame: int, time: float, clip: str | None = None) -> None:
        """Take account of the next frame that came."""
        last, self._last = self._last, (place, frame, time, clip)
        if last is not None and place > last[0] + 1 and clip == last[3]:
            hole = {"frames": place - last[0] - 1, "between": [last[1], frame], "seconds": [last[2], time]}
            self.ranges.append(hole | ({} if clip is None else {"clip": clip}))


def said(efforts: Sequence[Effort]) -> dict[str, Any]:
    """`decoding` of an index: what was done to one print, in one stretch or several; {} for nothing."""
    if not efforts:
        return {}
    if full := first_full(one._asdict() for one in efforts):
        return full
    packets = max(one.packets for one in efforts)
    return efforts[0]._asdict() | {"packets": packets, "decoded": sum(one.decoded for one in efforts)}


# --------------------------------------------------------------------------------------------------------- pieces


def join(
    folder: Path,
    pieces: Path,
    video: Path,
    asked: Asked,
    *,
    decoding: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]],
    places: Callable[[pd.DataFrame], np.ndarray],
) -> pd.DataFrame:
    """Make of all pieces of a source, in an empty folder, what one job would have written; returns the index.

    Args:
        pieces: holds one folder a piece, named by its number: 0, 1, ...
        video: the source, for error messages.
        decoding: what one job would say of how it decoded, from what the pieces say.
        places: the places of an index's rows.

    Raises:
        UserError: a piece is missing, damaged, of another source or of another number of pieces, or none has a frame.
    """
    folders, told, lost, size = _pieces_in(pieces), [], Lost(), OneSize(video)
    for piece in folders:
        table, facts = read_index(piece)
        if len(table) and table["source"].iloc[0] != asked.source:
            raise UserError(f"{piece} is of {table['source'].iloc[0]} and not of {asked.source}: run the pieces stage again.")
        wanted = {"every": asked.params.every, "size": list(asked.params.height_width), "fit": asked.params.fit}
        if other := [name for name, value in wanted.items() if facts.get(name) != value]:
            raise UserError(f"{piece} was taken with another `{other[0]}`: run the pieces stage again, or give the same value.")
        told.append(facts)
        size.see(facts.get("shown") and tuple(facts["shown"]))
        clips = table["clip"].tolist() if "clip" in table else [None] * len(table)
        for row in zip(places(table).tolist(), table["frame"].tolist(), table["time"].tolist(), clips, strict=True):
            lost.see(*row)
    left_out = ("piece", "shown", "shards", "pictures", "pixel_format")
    own = {name: value for name, value in told[0].items() if name not in left_out}
    own |= {"decoding": decoding([facts["decoding"] for facts in told]), "damaged": lost.ranges}
    table = join_pieces(folders, folder, own)
    refuse_empty(table, video, asked.params)
    return table


def _pieces_in(folder: Path) -> list[Path]:
    """The folders of all pieces of a source, in their order."""
    of, found = 1, []
    while len(found) < of:
        piece = Path(folder) / str(len(found))
        told = facts_of(open_index(piece, "run the pieces stage again"), piece).get("piece", WHOLE._asdict())
        of = of if found else told["of"]
        if told != {"number": len(found), "of": of}:
            raise UserError(
                f"{piece} is not piece {len(found)} of {of} of a source: remove {folder} and run the pieces stage again."
            )
        found.append(piece)
    return found
