"""Which frame belongs to train, validation or test, so that no part knows another.

Neighbouring frames are near-duplicates. Chronological parts keep a guard gap between them; seeded parts are drawn in
blocks of time, in shots, or in larger units. A draw hashes the seed, the source's name and the unit, and what is done with it
depends on no other source, so that no frame moves because a source was added. In a collection the unit is known by its clip's
or photograph's name, and a shot by the time of its first frame: the running number of a frame would not do.

All is done in whole columns: a unit is a run of rows, and nothing but its hash costs a step of Python.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.params import ChronologicalSplit, SeededSplit

PARTS = ("train", "val", "test")
_DROPPED = -1
_CHUNK = 1 << 16  # units whose texts exist at once


def split_frames(table: pd.DataFrame, params: ChronologicalSplit | SeededSplit) -> pd.DataFrame:
    """Assign a part to every frame; frames inside a guard gap are left out.

    What holds when another source comes: by fractions no frame ever changes its part, whatever the unit. By counts, which
    are of all sources together, it may: seeded, the units rank by their draws, and over each of the two borders at most as
    many are pushed as came; chronological, a source that comes last leaves train and validation as they are.

    Args:
        table: rows of one or several indexes: source, frame, time (seconds); for sources of clips or photographs the column
            clip (missing or null elsewhere); for unit `shot` the column cut: a shot begins here. Sources in the dataset's
            order.
        params: how to split.

    Returns:
        source, frame, split (`train`, `val` or `test`), in the order of `table` sorted by source, clip and time.

    Raises:
        UserError: a part that is to have frames gets none, or there are fewer units than were counted on.
    """
    order, rows = _sorted(table)
    assigned = np.array([PARTS.index(params.sources[name]) if name in params.sources else 3 for name in rows.names], np.int8)
    part = assigned[rows.source]
    free = rows.taken(np.flatnonzero(part == 3))
    if len(free):
        part[part == 3] = _seeded(free, params) if isinstance(params, SeededSplit) else _chronological(free, params)
    keep = np.flatnonzero(part != _DROPPED)
    out = table[["source", "frame"]].take(order[keep]).reset_index(drop=True)
    out = out.assign(split=pd.Series(PARTS, dtype="str").take(part[keep]).array)

    shares = (params.fractions or (1.0, 1.0, 0.0)) if len(free) else (0.0, 0.0, 0.0)  # by counts, the rest may be nothing
    given = set(params.sources.values())
    held = np.bincount(part[keep], minlength=len(PARTS))
    for number, (name, share) in enumerate(zip(PARTS, shares, strict=True)):
        if (share > 0 or name == "train" or name in given) and not held[number]:
            raise UserError(
                f"The split leaves no frame for {name} out of {len(table)}: {_remedy(name, share, shares, free, params)}."
            )
    return out


@dataclass(frozen=True)
class _Rows:
    """Rows of indexes, in the order of sources, clips and time.

    Attributes:
        names: of the sources.
        source: (N,) number of the row's source in `names`.
        clips: names of clips; the first is empty.
        clip: (N,) number of the row's clip in `clips`; 0 in sources without clips.
        frame, time: (N,) of the index.
        cut: (N,) bool, a shot begins here; None where nobody looked.
    """

    names: list[str]
    source: np.ndarray
    clips: pd.Series
    clip: np.ndarray
    frame: np.ndarray
    time: np.ndarray
    cut: np.ndarray | None

    def __len__(self) -> int:
        return len(self.frame)

    def taken(self, at: np.ndarray) -> _Rows:
        """Some of the rows."""
        cut = None if self.cut is None else self.cut[at]
        return _Rows(self.names, self.source[at], self.clips, self.clip[at], self.frame[at], self.time[at], cut)

    @functools.cached_property
    def film(self) -> np.ndarray:
        """(N,) running number of the film or clip that a row is of."""
        return np.cumsum(_changes(self.source, self.clip)) - 1

    def by_source(self) -> Iterator[tuple[int, int]]:
        """First row and end of each source."""
        borders = np.flatnonzero(_changes(self.source))
        return zip(borders.tolist(), [*borders[1:].tolist(), len(self)], strict=True)


def _sorted(table: pd.DataFrame) -> tuple[np.ndarray, _Rows]:
    """Where each row of the order that counts stands in `table`, and the rows in that order."""
    source, names = pd.factorize(table["source"])
    clip, clips = np.zeros(len(table), np.int64), pd.Series([""], dtype="str")
    if "clip" in table:
        clip, found = pd.factorize(table["clip"].replace("", None))  # null has the number -1
        clip, clips = clip + 1, pd.concat([clips, pd.Series(found, dtype="str")], ignore_index=True)
    frame, time = table["frame"].to_numpy(np.int64), table["time"].to_numpy(np.float64)
    # Order of sources as given, of clips as their frames are numbered, of frames by time: never by where a row happens to stand.
    place = np.zeros(len(table), np.int64)
    if clip.any():
        place = pd.Series(frame).groupby([source, clip]).transform("min").where(clip > 0, 0).to_numpy()
    order = np.lexsort((time, place, source))
    cut = table["cut"].to_numpy(bool)[order] if "cut" in table else None
    return order, _Rows(list(names), source[order], clips, clip[order], frame[order], time[order], cut)


def _changes(*columns: np.ndarray) -> np.ndarray:
    """Of each row: one of these differs from the row before."""
    found = np.ones(len(columns[0]), bool)
    found[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return found


def _remedy(name: str, share: float, shares: tuple[float, ...], free: _Rows, params: ChronologicalSplit | SeededSplit) -> str:
    """What would help a part that got no frame."""
    if share <= 0:
        return f"give {name} a share above 0 (`split.fractions`), or a source that has frames (`split.sources`)"
    seeded = isinstance(params, SeededSplit)
    whole = free.clip > 0
    wanted = sum(share > 0 for share in shares)
    there = len(_units(free, params)[1]) if seeded else 0
    remedies = []
    if seeded and there >= wanted:
        # Each is drawn for itself, or it would move when another source came; and so none may be drawn for a part.
        remedies.append(f"none of {there} {_PLURAL[params.unit]} was drawn for it, so draw by another `split.seed`")
        remedies.append("name a source for it in `split.sources`")
    if seeded and params.unit in ("clip", "source"):
        if there < wanted:
            what = "clips or sources" if params.unit == "clip" else "sources"
            remedies.append(f"{wanted} parts need as many {what} and there are {there}, so take more")
    elif whole.all():
        remedies.append("take more clips or photographs")
    else:
        remedies.append("take more frames (`frames.every`)")
    if seeded and params.unit == "block":
        remedies.append("smaller blocks or guards (`split.block`, `split.guard`)")
    elif not seeded and not whole.all():
        remedies.append("a smaller guard (`split.guard`)")
    if whole.any() or (seeded and params.unit in ("clip", "source")):
        remedies.append("say how many by `split.counts`")
    return ", ".join([*remedies, f"or give {name if name != 'train' else 'another part'} a share of 0"])


# ------------------------------------------------------------------------------------------------ chronological


def _chronological(rows: _Rows, params: ChronologicalSplit) -> np.ndarray:
    if params.counts is not None:
        return _cut(rows, np.cumsum(params.counts), params.guard)
    parts = []
    for begin, end in rows.by_source():
        cuts = np.rint(np.cumsum(params.fractions[:2]) * (end - begin)).astype(int)
        parts.append(_cut(rows.taken(np.arange(begin, end)), cuts, params.guard))
    return np.concatenate(parts)


def _cut(rows: _Rows, cuts: np.ndarray, guard: float) -> np.ndarray:
    """Part of each row when the rows are cut at two counts and `guard` seconds are dropped after each cut.

    A cut that would divide a clip moves to the nearer of its ends, and needs no guard.
    """
    part = np.full(len(rows), 2, np.int8)
    begin, dropped = 0, 0
    for number, cut in enumerate(cuts):
        end = min(len(rows), max(begin, int(cut) + dropped))
        if 0 < end < len(rows) and rows.clip[end] and rows.film[end - 1] == rows.film[end]:
            first, after = np.searchsorted(rows.film, [rows.film[end], rows.film[end] + 1]).tolist()
            end = after if (first + after - 1) / 2 < end else max(begin, first)
        part[begin:end] = number
        begin = end
        if 0 < end < len(rows) and not rows.clip[end - 1]:
            # The gap reaches as far as the guard and never into another source, which no neighbour shares.
            source_end = int(np.searchsorted(rows.source, rows.source[end - 1], side="right"))
            gap = int(np.searchsorted(rows.time[end:source_end], rows.time[end - 1] + guard))
            part[end : end + gap] = _DROPPED
            begin, dropped = end + gap, dropped + gap
    return part


# ------------------------------------------------------------------------------------------------------- seeded

_PLURAL = {"block": "blocks", "shot": "shots", "clip": "clips", "frame": "frames", "source": "sources"}


def _seeded(rows: _Rows, params: SeededSplit) -> np.ndarray:
    """Part of each row."""
    unit, first, draws = _units(rows, params)
    if params.counts is not None:
        if len(first) < sum(params.counts):
            what = _PLURAL[params.unit]
            raise UserError(
                f"The split asks for {params.counts[0]} + {params.counts[1]} {what}, but there are {len(first)}: "
                "lower `split.counts`, or mend the clips that are missing."
            )
        part = np.searchsorted(np.cumsum(params.counts), _ranks(draws), side="right")
    else:
        part = _by_fractions(rows, unit, first, draws, params)
    part = part.astype(np.int8)[unit]
    return _guarded(part, rows, params.guard) if params.unit in ("block", "shot") else part


def _units(rows: _Rows, params: SeededSplit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The number of each row's unit (N,), and of each unit the first row (U,) and the draw (U,), source by source."""
    if params.unit == "source":
        begins = _changes(rows.source)
    else:
        begins = _changes(rows.film)
        if params.unit == "frame":
            begins |= _changes(np.where(rows.clip > 0, rows.time, rows.frame))
        elif params.unit == "block":
            begins |= _changes(_block(rows.time, params))
        elif params.unit == "shot":
            if rows.cut is None:
                raise ValueError("unit `shot` needs a column cut")
            begins |= rows.cut
    first = np.flatnonzero(begins)
    hashes = np.fromiter(_hashes(rows, first, params), np.uint64, len(first))
    # Rows far from each other may be of one unit, by its text; sixty-four bits of a hash stand for the text.
    unit, drawn = pd.factorize(hashes)
    several = np.full(len(drawn), len(rows))
    np.minimum.at(several, unit, first)
    return unit[np.cumsum(begins) - 1], several, np.asarray(drawn) / 2.0**64


def _block(time: np.ndarray, params: SeededSplit) -> np.ndarray:
    return np.floor(time / params.block).astype(np.int64)


def _hashes(rows: _Rows, first: np.ndarray, params: SeededSplit) -> Iterator[int]:
    """Of each unit, by its first row, a number below 2**64 that depends on nothing but seed, source and unit."""
    for begin in range(0, len(first), _CHUNK):
        some = rows.taken(first[begin : begin + _CHUNK])
        clips = some.clips.take(some.clip).tolist()
        match params.unit:
            case "source":
                texts = ["source"] * len(some)
            case "clip":
                texts = [f"clip/{clip}" if clip else "clip" for clip in clips]
            case "frame":
                columns = zip(clips, some.frame.tolist(), some.time.tolist(), strict=True)
                texts = [f"{clip}\0{time!r}" if clip else str(frame) for clip, frame, time in columns]
            case "shot":
                texts = [f"{clip}\0shot/{time!r}" for clip, time in zip(clips, some.time.tolist(), strict=True)]
            case _:
                blocks = _block(some.time, params).tolist()
                texts = [f"{clip}\0{block}" if clip else str(block) for clip, block in zip(clips, blocks, strict=True)]
        for source, text in zip(some.source.tolist(), texts, strict=True):
            digest = hashlib.sha256(f"{params.seed}\0{rows.names[source]}\0{text}".encode()).digest()
            yield int.from_bytes(digest[:8], "big")


def _by_fractions(rows: _Rows, unit: np.ndarray, first: np.ndarray, draws: np.ndarray, params: SeededSplit) -> np.ndarray:
    """Part of each unit by its draw, source by source: what another source has is no matter."""
    edges = np.cumsum(params.fractions[:2])
    # A threshold on each unit's own draw: ranking would move old clips when a new one came.
    part = np.searchsorted(edges, draws, side="right")
    shares, sizes = np.diff(edges, prepend=0, append=1), np.bincount(unit)
    wanting = sum(share > 0 for share in params.fractions)
    for begin, end in rows.by_source():
        here = slice(*np.searchsorted(first, [begin, end]))
        in_film = params.unit not in ("clip", "source") and not rows.clip[begin:end].any()
        if in_film and params.unit == "shot":
            # Shots are of all lengths: each goes where its middle falls, so that the shares are of frames.
            order = np.argsort(draws[here])
            ends = np.cumsum(sizes[here][order])
            part[here][order] = np.searchsorted(edges * ends[-1], ends - sizes[here][order] / 2, side="right")
        elif in_film and len(draws[here]) >= wanting:
            # The units of one film are all there: in the order of their draws, cut at the fractions exactly.
            allotted = _allotted(len(draws[here]), shares)
            part[here] = np.searchsorted(np.cumsum(allotted)[:2], _ranks(draws[here]), side="right")
        part[here] = _none_empty(part[here], draws[here], params.fractions)
    return part


def _ranks(draws: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(draws))


def _none_empty(part: np.ndarray, draws: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """The parts of one source's units, each of which has a unit if it has a share and there are enough units.

    An empty part gets the unit whose draw lies nearest to its interval, from a part that has more than one. A split that
    leaves no part empty stays as it is.
    """
    part = part.copy()
    wanting = [number for number, share in enumerate(shares) if share > 0]
    ends = np.cumsum(shares)
    for number in wanting if len(part) >= len(wanting) else ():
        held = np.bincount(part, minlength=len(PARTS))
        if held[number] == 0 and held.max() > 1:
            distance = np.maximum(ends[number] - shares[number] - draws, draws - ends[number])
            part[np.argmin(np.where(held[part] > 1, distance, np.inf))] = number
    return part


def _allotted(count: int, shares: np.ndarray) -> np.ndarray:
    """Units for each part: by largest remainder, but at least one for every part with a share while there are enough."""
    exact = shares * count
    units = np.maximum(np.floor(exact + 1e-9), shares > 1e-9).astype(int)
    while units.sum() > count and units.max() > 1:
        units[np.argmax(np.where(units > 1, units - exact, -np.inf))] -= 1
    for place in np.argsort(units - exact, kind="stable")[: max(0, count - units.sum())]:
        units[place] += 1
    return units


def _guarded(part: np.ndarray, rows: _Rows, guard: float) -> np.ndarray:
    """Drop frames until frames of different parts of one film or clip are at least `guard` seconds apart.

    Half of the gap is taken from either side of a border, measured from the middle between the two frames that meet.
    """
    out, film, count = part.copy(), rows.film, len(part)
    border = np.flatnonzero((part[1:] != part[:-1]) & (film[1:] == film[:-1]))
    if not len(border):
        return out
    middle = (rows.time[border] + rows.time[border + 1]) / 2
    after = np.searchsorted(border, np.arange(count))  # of each row, the first border that does not lie before it
    for nearest in (np.maximum(after - 1, 0), np.minimum(after, len(border) - 1)):
        near = np.abs(rows.time - middle[nearest]) < guard / 2
        out[near & (film[border[nearest]] == film)] = _DROPPED
    return out
