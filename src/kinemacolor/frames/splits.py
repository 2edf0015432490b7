"""Which frame belongs to train, validation or test, so that no part knows another.

Neighbouring frames are near-duplicates. Chronological parts keep a guard gap between them; seeded parts are drawn in
blocks of time. A draw hashes the seed, the source's name and the unit, so that no frame moves because a source was added.
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
        table: rows of one or several indexes: source, frame, time (seconds); sources in the dataset's order.
        params: how to split.

    Returns:
        source, frame, split (`train`, `val` or `test`), in the order of `table` sorted by source and time.

    Raises:
        UserError: a part that is to have frames gets none.
    """
    table = table[["source", "frame", "time"]].reset_index(drop=True)
    # Order of sources as given, order of frames by time: never by where a row happens to stand.
    order = pd.Categorical(table["source"], categories=list(dict.fromkeys(table["source"])))
    table = table.assign(order=order.codes).sort_values(["order", "time"], kind="stable").reset_index(drop=True)
    part = _chronological(table, params) if isinstance(params, ChronologicalSplit) else _seeded(table, params)
    keep = part != _DROPPED
    out = table.loc[keep, ["source", "frame"]].assign(split=np.array(PARTS, dtype=object)[part[keep]])
    wanted = params.fractions or (1.0, 1.0, 0.0)  # by counts, the rest may well be nothing
    for name, share in zip(PARTS, wanted, strict=True):
        if (share > 0 or name == "train") and not (out["split"] == name).any():
            raise UserError(
                f"The split leaves no frame for {name} out of {len(table)}: take more frames (`frames.every`), "
                f"smaller blocks or guards (`split.block`, `split.guard`), or give {name} a share of 0."
            )
    return out.reset_index(drop=True)


def _chronological(table: pd.DataFrame, params: ChronologicalSplit) -> np.ndarray:
    if params.counts is not None:
        return _cut(table, np.cumsum(params.counts), params.guard)
    parts = []
    for _, rows in table.groupby("order", sort=True):
        cuts = np.rint(np.cumsum(params.fractions[:2]) * len(rows)).astype(int)
        parts.append(_cut(rows, cuts, params.guard))
    return np.concatenate(parts)


def _cut(rows: pd.DataFrame, cuts: np.ndarray, guard: float) -> np.ndarray:
    """Part of each row when the rows are cut at two counts and `guard` seconds are dropped after each cut."""
    time = rows["time"].to_numpy()
    source = rows["order"].to_numpy()
    part = np.empty(len(rows), np.int8)
    begin = 0
    for number, size in enumerate([cuts[0], cuts[1] - cuts[0], None]):
        end = len(rows) if size is None else min(len(rows), begin + size)
        part[begin:end] = number
        begin = end
        if 0 < end < len(rows) and size is not None:
            # The gap reaches as far as the guard and never into another source, which no neighbour shares.
            gap = (np.arange(len(rows)) >= end) & (source == source[end - 1]) & (time < time[end - 1] + guard)
            part[gap] = _DROPPED
            begin = end + int(gap.sum())
    return part


def _seeded(table: pd.DataFrame, params: SeededSplit) -> np.ndarray:
    time = table["time"].to_numpy()
    edges = np.cumsum(params.fractions[:2])
    if params.unit == "clip":
        # Ranking clips would move old ones when a new one came; a threshold on each clip's own hash does not.
        draws = {name: _draw(params.seed, name, "clip") for name in table["source"].unique()}
        return np.searchsorted(edges, table["source"].map(draws).to_numpy(), side="right").astype(np.int8)
    part = np.empty(len(table), np.int8)
    for name, rows in table.groupby("source", sort=False):
        here = rows.index.to_numpy()
        unit = rows["frame"].to_numpy() if params.unit == "frame" else np.floor(time[here] / params.block).astype(np.int64)
        part[here] = _ranked(unit, str(name), params.seed, edges)[np.unique(unit, return_inverse=True)[1]]
        if params.unit == "block":
            part[here] = _guarded(part[here], time[here], params.guard)
    return part


def _ranked(unit: np.ndarray, source: str, seed: int, edges: np.ndarray) -> np.ndarray:
    """Part of each distinct unit of one source: units in the order of their hashes, cut at the fractions."""
    units = np.unique(unit)
    rank = np.argsort(np.argsort([_draw(seed, source, str(value)) for value in units]))
    return np.searchsorted(np.cumsum(_allotted(len(units), np.diff(edges, prepend=0, append=1)))[:2], rank, side="right").astype(
        np.int8
    )


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
