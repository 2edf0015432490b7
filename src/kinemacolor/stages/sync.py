"""The sync stage: two prints of one film in, the pairing of their frames and pixels out.

Both prints are decoded once, in full, to a tiny size; from that comes the offset, to the frame. A few whole pairs are then
fetched by seeking, for the geometry. Writes `alignment.parquet`, `geometry.json`, `path.png` and `pairs.png`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kinemacolor.align.picks import Pair, decode_pairs, pick_pairs
from kinemacolor.align.signature import DECODE_SIZE, Signature, signature
from kinemacolor.align.spatial import Geometry, fit_geometry, overlaid
from kinemacolor.align.temporal import Offset, check_offset, find_offset, require_equal_rates
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, refuse_foreign, write_json
from kinemacolor.media.decode import decode
from kinemacolor.media.probe import Probe, probe
from kinemacolor.media.sources import read_source
from kinemacolor.params import SyncParams
from kinemacolor.report.sync_plots import PairFacts, PathFacts, draw_pairs, draw_path

_MARKER = "alignment.parquet"
_PAIRS = 16  # for the geometry
_SHOWN = 8  # of them on the contact sheet
_SHORT = 3000  # frames up to which decoding anew is as fast as seeking
_STRUCTURE = 10.0  # standard deviation of luma from which a frame has something to show

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
    """What sync found; frames count in each print, seconds are seconds."""

    offset: int
    """Grey frame minus colour frame of the same picture."""
    frame_rate: Fraction
    frames: int
    """Frames that are paired."""
    correlation: float
    runner_up: float
    """Best correlation at any offset more than a second away."""
    confidence: float
    residual_px: float
    grey_intro: int
    """Frames at the head of the grey print that have no partner, and so on."""
    colour_intro: int
    grey_outro: int
    colour_outro: int
    geometry: Geometry

    def rows(self) -> list[tuple[str, str]]:
        """What a person wants to know, as name and value."""
        rate = float(self.frame_rate)
        crop = " ".join(f"{v:.1f}" for v in self.geometry.colour_crop)
        return [
            ("offset", f"{self.offset:+d} frames ({self.offset / rate:+.3f} s): grey frame minus colour frame"),
            ("frames paired", f"{self.frames:,}"),
            ("correlation", f"{self.correlation:.3f} (best other offset: {self.runner_up:.3f})"),
            ("confidence", f"{self.confidence:.3f}"),
            ("grey print", f"intro {self.grey_intro} frames ({self.grey_intro / rate:.2f} s), outro {self.grey_outro} frames"),
            (
                "colour print",
                f"intro {self.colour_intro} frames ({self.colour_intro / rate:.2f} s), outro {self.colour_outro} frames",
            ),
            ("common area", f"{crop} (left top right bottom, pixels of the colour print)"),
            ("residual", f"{self.residual_px:.2f} pixels of the grey print"),
        ]


def sync(grey: Path, colour: Path, *, params: SyncParams, out: Path, allow_truncated: bool = False) -> SyncResult:
    """Bring two prints of one film and of equal frame rate together, and write the folder `out`.

    Args:
        grey, colour: the two videos.
        params: how far to search, what to believe, or the offset itself.
        allow_truncated: take a print that ends before it says it does.

    Raises:
        UserError: a file that is no video or is truncated; different frame rates; prints that do not belong together;
            an `out` that holds something else.
    """
    refuse_foreign(out, marker=_MARKER)
    films = probe(grey), probe(colour)
    with _named(grey, colour):
        require_equal_rates(films[0].frame_rate, films[1].frame_rate)
    rate = films[1].frame_rate
    small = [
        signature(decode(path, grey=True, size=DECODE_SIZE, allow_truncated=allow_truncated), frames=film.frames)
        for path, film in zip((grey, colour), films, strict=True)
    ]
    limits = dict(max_offset_seconds=params.max_offset, min_correlation=params.min_correlation, names=f"{grey} and {colour}")
    with _named(grey, colour):
        if params.offset is None:
            found = find_offset(*small, rate, **limits)
        else:
            found = check_offset(*small, rate, frames=params.offset, **limits)
        pairs = _pairs(grey, colour, *small, found)
        geometry = fit_geometry(
            [(pair.grey, cv2.cvtColor(pair.colour, cv2.COLOR_RGB2GRAY)) for pair in pairs],
            grey_size=(films[0].height, films[0].width),
            colour_size=(films[1].height, films[1].width),
            window=found.window,
        )
    with atomic_folder(out, marker=_MARKER) as folder:
        pq.write_table(alignment(*small, found), folder / _MARKER)
        write_json(folder / "geometry.json", geometry.to_json())
        draw_path(folder / "path.png", _path_facts(grey, colour, films, small, found, by_hand=params.offset is not None))
        draw_pairs(folder / "pairs.png", _pair_facts(pairs, geometry, small[1]), note=_note(geometry, found))
    match = found.match
    return SyncResult(
        offset=found.frames,
        frame_rate=rate,
        frames=match.end - match.start,
        correlation=found.correlation,
        runner_up=found.runner_up,
        confidence=found.confidence,
        residual_px=geometry.residual_px,
        grey_intro=match.start + found.frames,
        colour_intro=match.start,
        grey_outro=len(small[0]) - match.end - found.frames,
        colour_outro=len(small[1]) - match.end,
        geometry=geometry,
    )


def sync_source(folder: Path, *, params: SyncParams, out: Path, allow_truncated: bool = False) -> SyncResult:
    """As `sync`, for the two prints of a downloaded film pair, whose record may allow truncated ones as well."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder of a downloaded film pair: name one, or both prints.")
    source = read_source(folder)
    prints = source.print("grey").path, source.print("colour").path
    return sync(*prints, params=params, out=out, allow_truncated=allow_truncated or source.allow_truncated)


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


def alignment(grey: Signature, colour: Signature, found: Offset) -> pa.Table:
    """The frames that belong together, one row for every colour frame, sorted by it; one segment."""
    match = found.match
    frames = np.arange(match.start, match.end, dtype=np.int64)
    columns = [
        frames,
        frames + found.frames,
        colour.times[frames],
        grey.times[frames + found.frames],
        np.zeros(len(frames), np.int32),
        match.sure[frames - match.first].astype(np.float32),
    ]
    return pa.table([pa.array(column) for column in columns], schema=ALIGNMENT_SCHEMA)


def _pairs(grey: Path, colour: Path, grey_small: Signature, colour_small: Signature, found: Offset) -> list[Pair]:
    """Some whole pairs from all over the film, each with something to see."""
    match = found.match
    edges = np.linspace(match.start, match.end, min(_PAIRS, match.end - match.start) + 1).round().astype(int)
    bins = [range(low, high) for low, high in pairwise(edges)]

    def good(frame: int) -> bool:
        both = grey_small.grids[frame + found.frames], colour_small.grids[frame]
        return min(float(np.std(grid, dtype=np.float32)) for grid in both) > _STRUCTURE

    pairs = []
    if len(colour_small) > _SHORT:
        pairs = pick_pairs(
            grey, colour, grey_times=grey_small.times, colour_times=colour_small.times, offset=found.frames, bins=bins, good=good
        )
    if len(pairs) < _PAIRS // 3:
        frames = [next((n for n in stretch[len(stretch) // 2 :] if good(n)), stretch[0]) for stretch in bins]
        pairs = decode_pairs(grey, colour, offset=found.frames, frames=frames)
    if not pairs:
        raise UserError(f"No frames of {grey} and {colour} could be read again: give files on a disk, not a pipe.")
    return pairs


def _path_facts(
    grey: Path, colour: Path, films: tuple[Probe, Probe], small: list[Signature], found: Offset, *, by_hand: bool
) -> PathFacts:
    match = found.match
    paired = slice(match.start - match.first, match.end - match.first)
    return PathFacts(
        grey_name=grey.name,
        colour_name=colour.name,
        frame_rate=float(films[1].frame_rate),
        grey_frames=len(small[0]),
        colour_frames=len(small[1]),
        offset=found.frames,
        start=match.start,
        end=match.end,
        correlation=found.correlation,
        runner_up=found.runner_up,
        confidence=found.confidence,
        by_hand=by_hand,
        alike=match.alike[paired],
        sure=match.sure[paired],
        offsets=found.pictures.offsets,
        pictures=found.pictures.scores,
        changes=found.changes.scores,
    )


def _pair_facts(pairs: list[Pair], geometry: Geometry, colour: Signature) -> list[PairFacts]:
    facts = []
    # Of each few neighbours the one with most to see.
    for some in np.array_split(np.arange(len(pairs)), min(_SHOWN, len(pairs))):
        pair = max((pairs[i] for i in some), key=lambda pair: float(pair.colour.std()))
        cut_grey, cut_colour = overlaid((pair.grey, pair.colour), geometry)
        facts.append(PairFacts(cut_grey, cut_colour, pair.grey_frame, pair.colour_frame, float(colour.times[pair.colour_frame])))
    return facts


def _note(geometry: Geometry, found: Offset) -> str:
    left, top, right, bottom = geometry.colour_crop
    height, width = geometry.colour_size
    cut = (left, top, width - right, height - bottom)
    return (
        f"offset {found.frames:+d} frames · of the colour print's {width}×{height} pixels "
        f"{cut[0]:.1f} left, {cut[1]:.1f} top, {cut[2]:.1f} right, {cut[3]:.1f} bottom are cut off · "
        f"residual {geometry.residual_px:.2f} px"
    )
