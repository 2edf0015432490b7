"""Frames of a film pair: each colour frame beside the grey frame that the alignment names for it.

A pair is formed by number and never by list position: a damaged frame of either print takes its partner with it, and nothing
else. Where one print is turned against the other, the grey picture is set upright before it is cut and resized. The place of
a pair is its row among the rows that are wanted, which the alignment tells every job alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from kinemacolor.align.laying import set_upright, turn_left_over
from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.frames.resize import Box
from kinemacolor.frames.taking import Asked, Lost, OneSize, Resizer, Small, closed, first_full, join, said, writer_of
from kinemacolor.media.decode import Picture, decode
from kinemacolor.media.probe import probe, truncated
from kinemacolor.media.sparse import Effort, effort, extract
from kinemacolor.media.stretch import decode_stretch
from kinemacolor.params import FramesParams


@dataclass(frozen=True)
class Prints:
    """A film pair, and the folder that `sync` wrote for it."""

    grey: Path
    colour: Path
    sync: Path


class Partner(NamedTuple):
    """A grey frame beside a colour frame; `picture` is None if it is damaged."""

    colour_frame: int
    number: int
    time: float
    picture: Small | None


def take_pair(folder: Path, prints: Prints, asked: Asked, *, only: Collection[int] | None = None) -> pd.DataFrame:
    """Write the pairs of a film pair, or of its piece, into an empty folder; returns the index.

    Args:
        only: numbers of the colour frames to take, of those that are asked for; all if None.

    Raises:
        UserError: it was not synced, no pair is sure enough, or the alignment names a frame that is not there.
    """
    writer = writer_of(folder, asked, pair=True)
    rows = wanted_rows(prints.sync, asked.params)
    if only is not None:
        rows = rows[rows["colour_frame"].isin(list(only))]
    sought = _found_by_seeking(prints.grey, rows, asked)
    begin, end = asked.piece.places(0, len(rows), writer.capacity)
    rows = rows.iloc[begin:end]
    place_of = dict(zip(rows["colour_frame"].tolist(), range(begin, begin + len(rows)), strict=True))
    geometry = read_json(prints.sync / "geometry.json", "run the sync stage")
    first = next(decode(prints.colour, wanted={0}, allow_truncated=True), None)
    colour_small, grey_small = _resizers(geometry, asked.params, pixel_aspect=first.pixel_aspect if first else 1.0)
    colour_size, grey_size = OneSize(prints.colour), OneSize(prints.grey)
    lost = Lost()
    efforts: list[Effort] = []
    grey_efforts: list[Effort] = []
    if len(rows):
        greys = partners(prints.grey, rows, asked, prepare=grey_small, efforts=grey_efforts, sought=sought)
        pictures = extract(
            prints.colour,
            wanted=place_of.keys(),
            allow_truncated=asked.allow_truncated,
            threads=asked.threads,
            prepare=colour_small,
            note=efforts.append,
        )
        for number, time, picture in pictures:
            other = next(partner for partner in greys if partner.colour_frame == number)
            colour = colour_size.same(picture)
            if other.picture is not None:
                lost.see(place_of[number], number, time)
                writer.add(
                    {"colour": colour, "grey": grey_size.same(other.picture)},
                    frame=number,
                    time=time,
                    place=place_of[number],
                    grey_frame=other.number,
                    grey_time=other.time,
                )
            asked.progress(place_of[number] - begin + 1, len(rows))
        for _ in greys:  # damaged colour frames at the end leave partners, and what was done is told behind them
            pass
    writer.facts |= {"decoding": {"colour": said(efforts), "grey": said(grey_efforts)}, "damaged": lost.ranges}
    return closed(writer, prints.colour, asked)


def join_pair(folder: Path, pieces: Path, prints: Prints, asked: Asked) -> pd.DataFrame:
    """Make of a pair's pieces, in an empty folder, what `take_pair` would have written; returns the index."""
    rows = wanted_rows(prints.sync, asked.params)

    def decoding(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        full = {name: first_full(piece.get(name) or {} for piece in told) for name in ("colour", "grey")}
        told_of = functools.partial(effort, allow_truncated=asked.allow_truncated)
        colour = full["colour"] or said([told_of(prints.colour, wanted=set(rows["colour_frame"].tolist()))])
        grey = full["grey"] or said([told_of(prints.grey, wanted=part.wanted, between=part.between) for part in _stretches(rows)])
        return {"colour": colour, "grey": grey}

    def places(table: pd.DataFrame) -> np.ndarray:
        return np.searchsorted(rows["colour_frame"].to_numpy(), table["frame"].to_numpy())

    return join(folder, pieces, prints.colour, asked, decoding=decoding, places=places)


def wanted_rows(sync: Path, params: FramesParams) -> pd.DataFrame:
    """The pairs that are wanted: sure ones of one in `every` colour frames inside the range."""
    path = sync / "alignment.parquet"
    if not path.is_file():
        raise UserError(f"{path} is missing: run the sync stage.")
    table = pd.read_parquet(path)
    if not (np.diff(table["colour_frame"].to_numpy()) > 0).all():
        raise UserError(f"{path} does not name every colour frame once and in order: run the sync stage again.")
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


def _resizers(geometry: Mapping[str, Any], params: FramesParams, *, pixel_aspect: float) -> tuple[Resizer, Resizer]:
    """What cuts and resizes the colour print, whose pixel aspect is given, and the grey one."""
    colour_box, grey_box = tuple(geometry["colour_crop"]), tuple(geometry["grey_crop"])
    left_over = turn_left_over(geometry["transform"], colour_box, grey_box)

    class Upright(Resizer):
        def __call__(self, picture: Picture) -> Small:
            if left_over is not None:
                picture = picture._replace(pixels=set_upright(picture.pixels, left_over))
            # Both crops show the same: whatever the grey print's pixels are said to be, they are cut to one shape.
            return super().__call__(picture._replace(pixel_aspect=pixel_aspect * _shape(colour_box) / _shape(grey_box)))

    return Resizer(params, box=colour_box), Upright(params, box=grey_box)


def _shape(box: Box) -> float:
    left, top, right, bottom = box
    return (right - left) / (bottom - top)


class _Stretch(NamedTuple):
    """A run of rows through which the grey print runs on. Where it steps back (reels in another order), another begins."""

    rows: np.ndarray
    wanted: set[int]
    between: tuple[int, int]
    """Grey frame numbers that bound it."""
    times: tuple[float, float]
    """Seconds of its first and last frame."""


def _stretches(rows: pd.DataFrame) -> Iterator[_Stretch]:
    numbers, times = rows["grey_frame"].to_numpy(), rows["grey_time"].to_numpy()
    for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(numbers) < 0) + 1):
        between = int(numbers[run[0]]), int(numbers[run[-1]]) + 1
        yield _Stretch(run, set(numbers[run].tolist()), between, (float(times[run[0]]), float(times[run[-1]])))


def _found_by_seeking(grey: Path, rows: pd.DataFrame, asked: Asked) -> Effort | None:
    """What to tell of a grey print that is read in several stretches and could only be decoded in full for each; or None."""
    if not (np.diff(rows["grey_frame"].to_numpy()) < 0).any():
        return None
    whole = effort(grey, allow_truncated=asked.allow_truncated)
    return whole if whole.way == "full" else None


def partners(
    grey: Path,
    rows: pd.DataFrame,
    asked: Asked,
    *,
    prepare: Callable[[Picture], Any],
    efforts: list[Effort],
    sought: Effort | None = None,
) -> Iterator[Partner]:
    """Every row's colour frame and its grey picture, in the rows' order. A grey frame may be that of several colour frames.

    Args:
        prepare: what is to be made of each picture, once.
        efforts: is told what was done.
        sought: what `_found_by_seeking` says.

    Raises:
        UserError: the grey print has no such frame; where damage is allowed it may be lost.
    """
    colour_frames, grey_frames = rows["colour_frame"].to_numpy(), rows["grey_frame"].to_numpy()
    if sought is not None:
        efforts.append(sought)
        if not asked.allow_truncated and (good := probe(grey).last_good_time) is not None:
            raise truncated(grey, good)
    for stretch in _stretches(rows):
        pictures = _sought(grey, stretch, prepare) if sought else _extracted(grey, stretch, asked, prepare, efforts)
        number, time, picture = -1, 0.0, None
        for row in stretch.rows.tolist():
            while number < grey_frames[row]:
                number, time, picture = next(pictures, (1 << 62, 0.0, None))
            there = number == grey_frames[row]
            if not there and not asked.allow_truncated:
                raise UserError(f"{grey} has no frame {grey_frames[row]}, which the alignment names: run the sync stage again.")
            yield Partner(int(colour_frames[row]), int(grey_frames[row]), time, picture if there else None)
        for _ in pictures:  # it tells what was done when it has ended
            pass


def _extracted(
    grey: Path, stretch: _Stretch, asked: Asked, prepare: Callable[[Picture], Any], efforts: list[Effort]
) -> Iterator[tuple[int, float, Any]]:
    return extract(
        grey,
        grey=True,
        wanted=stretch.wanted,
        between=stretch.between,
        allow_truncated=asked.allow_truncated,
        threads=asked.threads,
        prepare=prepare,
        note=efforts.append,
    )


def _sought(grey: Path, stretch: _Stretch, prepare: Callable[[Picture], Any]) -> Iterator[tuple[int, float, Any]]:
    # By number, not by time: the margin only makes sure that rounding loses none.
    start, end = stretch.times
    for picture in decode_stretch(grey, start=start - 1e-3, end=end + 1e-3, grey=True, wanted=stretch.wanted):
        yield picture.number, picture.time, prepare(picture)
