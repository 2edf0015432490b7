"""The sync stage: two prints of one film in, the pairing of their frames and pixels out.

Both prints are decoded once, in full, to a tiny size; from that comes which frame is which. A few whole pairs are then fetched
by seeking, for the geometry. Writes `alignment.parquet`, `segments.json`, `geometry.json`, `path.png` and `pairs.png`.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemacolor.align import path as align_path
from kinemacolor.align.passes import signatures
from kinemacolor.align.picks import Pair, pick_pairs
from kinemacolor.align.signature import Signature
from kinemacolor.align.spatial import Geometry, fit_geometry, overlaid
from kinemacolor.align.temporal import check_path, find_path
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, refuse_foreign, write_json
from kinemacolor.media.probe import Probe, probe
from kinemacolor.media.progress import shown
from kinemacolor.media.sources import read_source
from kinemacolor.params import SyncParams
from kinemacolor.report.contact import PairFacts, draw_pairs, shown_pairs
from kinemacolor.report.sync_plots import PathFacts, draw_path

_MARKER = "alignment.parquet"
_PAIRS = 20  # for the geometry
_CHOICE = 24  # pairs near each other of which any will do for the geometry
_STRUCTURE = 10.0  # standard deviation of luma from which a frame has something to show
_SURE = 0.5  # confidence from which a pair may speak for the geometry

ALIGNMENT_SCHEMA = pa.schema(
    [
        ("colour_frame", pa.int64()),
        ("grey_frame", pa.int64()),
        ("colour_time", pa.float64()),
        ("grey_time", pa.float64()),
        ("segment", pa.int32()),
        ("confidence", pa.float32()),
    ]
)


@dataclass(frozen=True)
class SyncResult:
    """What sync found: the path in time, the geometry in space, and of both prints frames a second, frames and the seconds
    (float64) at which each of these is shown.
    """

    path: align_path.Path
    geometry: Geometry
    grey_rate: Fraction
    colour_rate: Fraction
    grey_frames: int
    colour_frames: int
    grey_times: NDArray[np.float64]
    colour_times: NDArray[np.float64]


def sync(grey: Path, colour: Path, *, params: SyncParams, out: Path, allow_truncated: bool = False) -> SyncResult:
    """Bring two prints of one film together, whatever was cut, added, reordered or run at another speed; write the folder `out`.

    Args:
        grey, colour: the two videos.
        params: what to believe, or what is set by hand.
        allow_truncated: take a print that ends before it says it does.

    Raises:
        UserError: a file that is no video or is truncated; prints that do not belong together, with the best score found; an
            `out` that holds something else.
    """
    refuse_foreign(out, marker=_MARKER)
    films = probe(grey), probe(colour)
    with shown(f"sync {colour.name}") as progress:
        small = signatures(grey, colour, allow_truncated=allow_truncated, progress=progress)
    with _named(grey, colour):
        path = _path(*small, params, names=f"{grey} and {colour}")
        index = shown_pairs(path, good=_good(*small, path))
        pairs = _fetched(grey, colour, *small, path, index)
        geometry = fit_geometry(
            [(pair.grey, cv2.cvtColor(pair.colour, cv2.COLOR_RGB2GRAY)) for pair in pairs],
            grey_size=(films[0].height, films[0].width),
            colour_size=(films[1].height, films[1].width),
            window=path.window,
            crop=params.crop,
        )
    by_hand = params.offset is not None or params.segments is not None
    with atomic_folder(out, marker=_MARKER) as folder:
        pq.write_table(alignment(*small, path), folder / _MARKER)
        write_json(folder / "geometry.json", geometry.to_json())
        write_json(folder / "segments.json", segments_json(*small, path))
        draw_path(folder / "path.png", _path_facts(grey, colour, films, small, path, by_hand=by_hand))
        draw_pairs(folder / "pairs.png", _pair_facts(pairs, geometry, *small, path, dict(index)), note=_note(geometry))
    rates, times = [film.frame_rate for film in films], [np.asarray(one.times) for one in small]
    return SyncResult(path, geometry, *rates, *map(len, small), *times)


def sync_source(folder: Path, *, params: SyncParams, out: Path, allow_truncated: bool = False) -> SyncResult:
    """As `sync`, for the two prints of a downloaded film pair, whose record may allow truncated ones as well."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder of a downloaded film pair: name one, or both prints.")
    source = read_source(folder)
    prints = source.print("grey").path, source.print("colour").path
    return sync(*prints, params=params, out=out, allow_truncated=allow_truncated or source.allow_truncated)


def alignment(grey: Signature, colour: Signature, path: align_path.Path) -> pa.Table:
    """The frames that belong together, one row for every colour frame that has a partner, sorted by it.

    A path counts the pictures that could be read, the table as `media.decode` does; of a whole film that is the same.
    """
    columns = [
        colour.numbers[path.colour_frame],
        grey.numbers[path.grey_frame],
        colour.times[path.colour_frame],
        grey.times[path.grey_frame],
        path.segment,
        np.round(path.confidence, 4),
    ]
    return pa.table([pa.array(column) for column in columns], schema=ALIGNMENT_SCHEMA)


def segments_json(grey: Signature, colour: Signature, path: align_path.Path) -> dict[str, object]:
    """The content of segments.json; frames are counted as in alignment.parquet."""
    segments = []
    for one in path.segments:
        told = {key: round(value, 6) if isinstance(value, float) else value for key, value in dataclasses.asdict(one).items()}
        for name, print_ in (("colour", colour), ("grey", grey)):
            told[f"{name}_start"] = int(print_.numbers[told[f"{name}_start"]])
            told[f"{name}_end"] = int(print_.numbers[told[f"{name}_end"] - 1]) + 1
        segments.append(told)
    return {"segments": segments, "correlation": round(path.correlation, 4), "share": round(path.share, 4)}


def _path(grey: Signature, colour: Signature, params: SyncParams, *, names: str) -> align_path.Path:
    """The pairs: found, or as set by hand."""
    if params.offset is not None:
        start = max(0, -params.offset)
        end = min(int(colour.numbers[-1]), int(grey.numbers[-1]) - params.offset) + 1
        segments = [(start, max(start, end), start + params.offset, 1.0)]
    elif params.segments is not None:
        segments = [(*one.colour, one.grey, one.speed) for one in params.segments]
    else:
        return find_path(grey, colour, min_correlation=params.min_correlation, min_share=params.min_share, names=names)
    return check_path(grey, colour, segments=segments, min_correlation=params.min_correlation, names=names)


@contextlib.contextmanager
def _named(grey: Path, colour: Path) -> Iterator[None]:
    """Name the files in the sentences of those who know the two prints by their pictures alone."""
    try:
        yield
    except UserError as error:
        sentence = str(error)
        if str(grey) in sentence or str(colour) in sentence:
            raise
        raise UserError(f"{grey} and {colour}: {sentence[0].lower()}{sentence[1:]}") from error


def _good(grey: Signature, colour: Signature, path: align_path.Path) -> Callable[[int], bool]:
    """Whether a pair, by its place in the path, has something to see."""

    def good(place: int) -> bool:
        both = grey.grids[path.grey_frame[place]], colour.grids[path.colour_frame[place]]
        return min(float(np.std(grid, dtype=np.float32)) for grid in both) > _STRUCTURE

    return good


def _fetched(
    grey: Path, colour: Path, grey_small: Signature, colour_small: Signature, path: align_path.Path, index: list[tuple[int, str]]
) -> list[Pair]:
    """Whole pairs: some from all over the path for the geometry, and those that are to be shown."""
    good, wanted = _good(grey_small, colour_small, path), []
    sure = np.flatnonzero(path.confidence >= min(_SURE, float(np.median(path.confidence))))
    for part in np.array_split(sure, min(_PAIRS, len(sure))):
        some = [int(place) for place in part[np.linspace(0, len(part) - 1, min(_CHOICE, len(part))).astype(int)]]
        wanted.append([place for place in some if good(place)] or some[:1])
    wanted += [[place] for place, _ in index]
    frames = [[(int(path.colour_frame[place]), int(path.grey_frame[place])) for place in some] for some in wanted]
    pairs = pick_pairs(grey, colour, grey_times=grey_small.times, colour_times=colour_small.times, wanted=frames)
    if not pairs:
        raise UserError(f"No frames of {grey} and {colour} could be read again: give files on a disk, not a pipe.")
    return pairs


def _path_facts(
    grey: Path,
    colour: Path,
    films: tuple[Probe, Probe],
    small: tuple[Signature, Signature],
    path: align_path.Path,
    *,
    by_hand: bool,
) -> PathFacts:
    return PathFacts(
        grey_name=grey.name,
        colour_name=colour.name,
        grey_rate=float(films[0].frame_rate),
        colour_rate=float(films[1].frame_rate),
        grey_frames=len(small[0]),
        colour_frames=len(small[1]),
        path=path,
        grey_times=small[0].times,
        colour_times=small[1].times,
        by_hand=by_hand,
    )


def _pair_facts(
    pairs: list[Pair], geometry: Geometry, grey: Signature, colour: Signature, path: align_path.Path, where: dict[int, str]
) -> list[PairFacts]:
    """The pairs that are to be shown, laid on each other; others in their place if they could not be read."""
    place = {int(frame): index for index, frame in enumerate(path.colour_frame)}
    at = {pair.colour_frame: pair for pair in pairs}
    shown = [at[frame] for frame in sorted(at) if place[frame] in where] or list(at.values())
    return [
        PairFacts(
            *overlaid((pair.grey, pair.colour), geometry),
            pair.grey_frame,
            pair.colour_frame,
            float(colour.times[pair.colour_frame]),
            float(grey.times[pair.grey_frame]),
            int(path.segment[place[pair.colour_frame]]),
            float(path.confidence[place[pair.colour_frame]]),
            where.get(place[pair.colour_frame], ""),
        )
        for pair in shown
    ]


def _note(geometry: Geometry) -> str:
    left, top, right, bottom = geometry.colour_crop
    height, width = geometry.colour_size
    cut = (left, top, width - right, height - bottom)
    return (
        f"of the colour print's {width}×{height} pixels {cut[0]:.1f} left, {cut[1]:.1f} top, {cut[2]:.1f} right, "
        f"{cut[3]:.1f} bottom are cut off · {geometry.kind} · residual {geometry.residual_px:.2f} px"
    )
