"""Which frame belongs to train, validation or test, so that no part knows another.

Neighbouring frames are near-duplicates. Chronological parts keep a guard gap between them; seeded parts are drawn in
blocks of time. A draw hashes the seed, the source's name and the unit, so that no frame moves because a source was added.
In a collection the unit is known by its clip's or photograph's name, so that none moves because another one came: the
running number of a frame would not do.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.params import ChronologicalSplit, SeededSplit

PARTS = ("train", "val", "test")
_DROPPED = -1


def split_frames(table: pd.DataFrame, params: ChronologicalSplit | SeededSplit) -> pd.DataFrame:
    """Assign a part to every frame; frames inside a guard gap are left out.

    Args:
        table: rows of one or several indexes: source, frame, time (seconds), and for sources of clips or photographs the
            column clip (missing or null elsewhere); sources in the dataset's order.
        params: how to split.

    Returns:
        source, frame, split (`train`, `val` or `test`), in the order of `table` sorted by source, clip and time.

    Raises:
        UserError: a part that is to have frames gets none, or there are fewer units than were counted on.
    """
    table = table.reindex(columns=["source", "frame", "time", "clip"]).reset_index(drop=True)
    table["clip"] = table["clip"].astype(object).where(table["clip"].notna(), "")
    # Order of sources as given, of clips as their frames are numbered, of frames by time: never by where a row happens to stand.
    order = pd.Categorical(table["source"], categories=list(dict.fromkeys(table["source"])))
    table = table.assign(order=order.codes)
    place = table.groupby(["order", "clip"])["frame"].transform("min").where(table["clip"] != "", 0)
    table = table.assign(place=place).sort_values(["order", "place", "time"], kind="stable").reset_index(drop=True)

    assigned = {name: PARTS.index(given) for name, given in params.sources.items()}
    part = table["source"].map(assigned).to_numpy(np.float64, copy=True)
    free = table[np.isnan(part)].reset_index(drop=True)
    if len(free):
        filled = frozenset(part[~np.isnan(part)].astype(int))
        seeded = isinstance(params, SeededSplit)
        part[np.isnan(part)] = _seeded(free, params, filled) if seeded else _chronological(free, params)
    part = part.astype(np.int8)
    keep = part != _DROPPED
    out = table.loc[keep, ["source", "frame"]].assign(split=np.array(PARTS, dtype=object)[part[keep]])

    shares = (params.fractions or (1.0, 1.0, 0.0)) if len(free) else (0.0, 0.0, 0.0)  # by counts, the rest may be nothing
    given = set(params.sources.values())
    for name, share in zip(PARTS, shares, strict=True):
        if (share > 0 or name == "train" or name in given) and not (out["split"] == name).any():
            raise UserError(
                f"The split leaves no frame for {name} out of {len(table)}: {_remedy(name, share, shares, free, params)}."
            )
    return out.reset_index(drop=True)


def _remedy(
    name: str, share: float, shares: tuple[float, ...], free: pd.DataFrame, params: ChronologicalSplit | SeededSplit
) -> str:
    """What would help a part that got no frame."""
    if share <= 0:
        return f"give {name} a share above 0 (`split.fractions`), or a source that has frames (`split.sources`)"
    seeded = isinstance(params, SeededSplit)
    remedies = []
    if seeded and params.unit == "clip":
        there = _units(free, params)[0].max() + 1
        wanted = sum(share > 0 and part not in params.sources.values() for part, share in zip(PARTS, shares, strict=True))
        remedies.append(f"{wanted} parts need as many clips or sources and there are {there}, so take more")
    elif (free["clip"] != "").all():
        remedies.append("take more clips or photographs")
    else:
        remedies.append("take more frames (`frames.every`)")
    if seeded and params.unit == "block":
        remedies.append("smaller blocks or guards (`split.block`, `split.guard`)")
    elif not seeded and (free["clip"] == "").any():
        remedies.append("a smaller guard (`split.guard`)")
    if (free["clip"] != "").any():
        remedies.append("say how many by `split.counts`")
    return ", ".join([*remedies, f"or give {name if name != 'train' else 'another part'} a share of 0"])


def _chronological(table: pd.DataFrame, params: ChronologicalSplit) -> np.ndarray:
    if params.counts is not None:
        return _cut(table, np.cumsum(params.counts), params.guard)
    parts = []
    for _, rows in table.groupby("order", sort=True):
        cuts = np.rint(np.cumsum(params.fractions[:2]) * len(rows)).astype(int)
        parts.append(_cut(rows, cuts, params.guard))
    return np.concatenate(parts)


def _cut(rows: pd.DataFrame, cuts: np.ndarray, guard: float) -> np.ndarray:
    """Part of each row when the rows are cut at two counts and `guard` seconds are dropped after each cut.

    A cut that would divide a clip moves to the nearer of its ends, and needs no guard.
    """
    time = rows["time"].to_numpy()
    source = rows["order"].to_numpy()
    is_clip = (rows["clip"] != "").to_numpy()
    clip = pd.factorize(pd.MultiIndex.from_frame(rows[["order", "clip"]]))[0]
    part = np.full(len(rows), 2, np.int8)
    begin, dropped = 0, 0
    for number, cut in enumerate(cuts):
        end = min(len(rows), max(begin, int(cut) + dropped))
        if 0 < end < len(rows) and is_clip[end] and clip[end - 1] == clip[end]:
            first, last = np.flatnonzero(clip == clip[end])[[0, -1]]
            end = last + 1 if (first + last) / 2 < end else max(begin, first)
        part[begin:end] = number
        begin = end
        if 0 < end < len(rows) and not is_clip[end - 1]:
            # The gap reaches as far as the guard and never into another source, which no neighbour shares.
            gap = (np.arange(len(rows)) >= end) & (source == source[end - 1]) & (time < time[end - 1] + guard)
            part[gap] = _DROPPED
            begin, dropped = end + int(gap.sum()), dropped + int(gap.sum())
    return part


def _units(table: pd.DataFrame, params: SeededSplit) -> tuple[np.ndarray, pd.MultiIndex]:
    """The number of each row's unit, and source and name of each unit."""
    return pd.factorize(pd.MultiIndex.from_arrays([table["source"], _unit(table, params)]))


def _seeded(table: pd.DataFrame, params: SeededSplit, filled: frozenset[int]) -> np.ndarray:
    """Part of each row; `filled` are parts that have frames of other sources already."""
    row, units = _units(table, params)
    draws = np.array([_draw(params.seed, source, unit) for source, unit in units])
    if params.counts is not None:
        if len(units) < sum(params.counts):
            what = {"clip": "clips", "frame": "frames", "block": "blocks"}[params.unit]
            raise UserError(
                f"The split asks for {params.counts[0]} + {params.counts[1]} {what}, but there are {len(units)}: "
                "lower `split.counts`, or mend the clips that are missing."
            )
        part = np.searchsorted(np.cumsum(params.counts), np.argsort(np.argsort(draws)), side="right")
    else:
        part = _by_fractions(draws, units.get_level_values(0), params, frozenset(table.loc[table["clip"] != "", "source"]))
        part = _none_empty(part, draws, params.fractions, filled)
    part = part.astype(np.int8)[row]
    if params.unit == "block":
        several = table.groupby(["order", "clip"])["frame"].transform("size") > 1  # a photograph has no neighbour
        for _, here in table[several].groupby(["order", "clip"], sort=False):
            at = here.index.to_numpy()
            part[at] = _guarded(part[at], here["time"].to_numpy(), params.guard)
    return part


def _unit(table: pd.DataFrame, params: SeededSplit) -> list[str]:
    """What each row is drawn with, as a text that is its own within the source."""
    if params.unit == "clip":
        return [f"clip/{clip}" if clip else "clip" for clip in table["clip"]]
    if params.unit == "frame":
        inside = (
            repr(time) if clip else str(frame) for time, clip, frame in table[["time", "clip", "frame"]].itertuples(index=False)
        )
    else:
        inside = map(str, np.floor(table["time"].to_numpy() / params.block).astype(np.int64))
    return [f"{clip}\0{unit}" if clip else unit for clip, unit in zip(table["clip"], inside, strict=True)]


def _by_fractions(draws: np.ndarray, sources: pd.Index, params: SeededSplit, collections: frozenset[str]) -> np.ndarray:
    """Part of each unit by its draw."""
    edges = np.cumsum(params.fractions[:2])
    # A threshold on each unit's own draw: ranking would move old clips when a new one came.
    part = np.searchsorted(edges, draws, side="right")
    if params.unit == "clip":
        return part
    # The units of one film are all there: in the order of their draws, cut at the fractions exactly.
    for source in sources.unique().difference(list(collections)):
        here = np.flatnonzero(sources == source)
        rank = np.argsort(np.argsort(draws[here]))
        allotted = _allotted(len(here), np.diff(edges, prepend=0, append=1))
        part[here] = np.searchsorted(np.cumsum(allotted)[:2], rank, side="right")
    return part


def _none_empty(part: np.ndarray, draws: np.ndarray, shares: tuple[float, ...], filled: frozenset[int]) -> np.ndarray:
    """The parts, each of which has a unit if it has a share and there are enough units.

    An empty part gets the unit whose draw lies nearest to its interval, from a part that has more than one. A split that
    leaves no part empty stays as it is.
    """
    part = part.copy()
    wanting = [number for number, share in enumerate(shares) if share > 0 and number not in filled]
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


def _guarded(part: np.ndarray, time: np.ndarray, guard: float) -> np.ndarray:
    """Drop frames until frames of different parts are at least `guard` seconds apart; rows are in order of time.

    Half of the gap is taken from either side of a border, measured from the middle between the two frames that meet.
    """
    out = part.copy()
    for border in np.flatnonzero(part[1:] != part[:-1]):
        middle = (time[border] + time[border + 1]) / 2
        out[np.abs(time - middle) < guard / 2] = _DROPPED
    return out


def _draw(seed: int, source: str, unit: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments, on any machine."""
    digest = hashlib.sha256(f"{seed}\0{source}\0{unit}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
