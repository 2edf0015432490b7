"""Stretches: consecutive frames inside one shot, on which motion is measured. Which ones, and reading them.

The frames of a dataset lie seconds apart; whether colours flicker shows only at the film's own rate. So a few shots of
validation and test are taken anew, frame by frame. A stretch begins at a frame that the filter kept, and ends before a cut, a gap,
or the first frame that belongs to another part: it shows what its part shows, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames.cuts import batch_of, distances, first_of_clips, thumbnails
from kinemacolor.frames.index import FrameStore, located
from kinemacolor.frames.shot_numbers import shots_of

TABLE = "stretches.parquet"
"""The file beside shards and index that names the stretches; where there is none, it has no row, and there is no index."""
FEWEST = 5
"""Frames of the shortest stretch: histograms are compared over four frames."""
_SURE = 0.6
"""Distance of neighbouring frames up to which they are surely of one shot; 1 is where cuts begin (frames/cuts.py). To end
early costs a few frames, to run over a cut that the detector doubts would spoil a figure: .7 from one blue sky to the next."""
_PARTS = ("val", "test")
_COLUMNS = {"stretch": "int64", "source": "str", "split": "str"} | dict.fromkeys(("frame", "last", "row", "rows"), "int64")


class Stretch(NamedTuple):
    """Consecutive frames of one shot."""

    source: str
    split: str
    frame: int
    """Number of the first, which is a kept row of the filter table."""
    store: FrameStore
    """Where they lie: frames of this source at the film's own rate, at the dataset's size."""
    rows: np.ndarray
    """Their rows in its index, (N,) int64, rising by one."""


def open_stretches(folders: Iterable[Path]) -> list[Stretch]:
    """The stretches of some folders that `motion` wrote, in order.

    Raises:
        UserError: a folder is missing or damaged.
    """
    found = []
    for folder in map(Path, folders):
        path = folder / TABLE
        if not path.is_file():
            raise UserError(f"{path} is missing: run the motion stage.")
        table = pd.read_parquet(path)
        if table.empty:
            continue
        store = FrameStore(folder)
        for row in table.itertuples():
            rows = np.arange(row.row, row.row + row.rows)
            if rows[-1] >= len(store):
                raise UserError(f"{path} names frames that {folder}/index.parquet has not: run the motion stage again.")
            found.append(Stretch(row.source, row.split, int(row.frame), store, rows))
    return found


def begins_of_stretches(store: FrameStore, table: pd.DataFrame, *, shots: int, frames: int) -> pd.DataFrame:
    """Choose where stretches are to begin: evenly among the kept frames of a part, no two in one shot.

    Frames from which the shot surely goes on long enough, as far as the dataset's own frames tell, come first. The others make up
    the number where there are too few shots: their stretches may turn out short.

    Args:
        store: the dataset's frames of a source.
        table: the dataset's filter table: source, frame, split, keep, cut.
        shots: how many of validation, and again of test.
        frames: how long a stretch is to be.

    Returns:
        Rows of the index: split, frame, time and clip (empty without clips), in its order.

    Raises:
        UserError: table and index do not fit each other, or the table has no column `cut`.
    """
    rows = located(table[table["source"] == store.source], [store])
    shot, at = shots_of(rows), rows["at"].to_numpy()
    part, keep, cut = np.full(len(store), -1), np.zeros(len(store), bool), first_of_clips(store)
    part[at] = pd.Categorical(rows["split"], [*_PARTS, "train"]).codes
    keep[at] = rows["keep"].to_numpy(bool)
    last_of_clip = np.flatnonzero(np.append(cut[1:], True))[np.cumsum(cut) - 1]
    of_part = _runs(cut, part)
    cut[at] |= rows["cut"].to_numpy(bool)
    of_shot = _runs(cut, part, keep)

    number = store.table["frame"].to_numpy()
    covering = np.searchsorted(number, number + frames - 1)
    end = np.minimum(covering, last_of_clip)
    # Up to the end of a clip all frames are its part's; elsewhere those behind the part's last row may be another's.
    inside = of_part[end] == of_part
    sure = inside & (covering <= last_of_clip) & (of_shot[end] == of_shot)
    chosen: list[int] = []
    for code in range(len(_PARTS)):
        here = np.flatnonzero((part[at] == code) & keep[at] & inside[at])
        here = here[np.argsort(at[here])]
        surest = _of_different_shots(here[sure[at[here]]], shot, shots, [])
        chosen += at[_of_different_shots(here, shot, shots, surest)].tolist()
    chosen.sort()
    found = store.table.iloc[chosen][["frame", "time"]].reset_index(drop=True)
    clips = [""] * len(found) if store.clips is None else store.clips[chosen]
    return found.assign(split=np.array(_PARTS)[part[chosen]], clip=clips)


def _runs(begins: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """Running number of the longest sequences in which nothing begins and no column changes."""
    found = begins.copy()
    for column in columns:
        found[1:] |= column[1:] != column[:-1]
    return np.cumsum(found)


def _of_different_shots(places: np.ndarray, shot: np.ndarray, wanted: int, taken: list[int]) -> list[int]:
    """`taken`, and of `places` as many more as are wanted in all, spread evenly, each in a shot of its own."""
    taken = list(taken)
    while len(taken) < wanted:
        places = places[~np.isin(shot[places], shot[taken])]
        if not len(places):
            break
        more = min(wanted - len(taken), len(places))
        spread = places[(2 * np.arange(more) + 1) * len(places) // (2 * more)]
        taken += spread[np.unique(shot[spread], return_index=True)[1]].tolist()
    return taken


def numbers_of(begins: pd.DataFrame, frames: int) -> set[int]:
    """Numbers of all frames that may become part of stretches that begin there."""
    return {number for frame in begins["frame"].tolist() for number in range(frame, frame + frames)}


def stretches_in(store: FrameStore | None, begins: pd.DataFrame, *, frames: int) -> pd.DataFrame:
    """What of the frames that were taken are stretches: from each beginning as far as the shot and the numbers go on.

    Args:
        store: frames at the film's own rate; of a pair, cuts are looked for in its grey print. None: there is none.
        begins: what `begins_of_stretches` gave.
        frames: of the longest stretch.

    Returns:
        stretch (from 0), source, split, frame (number of the first), last (of the last), row (in the index), rows. Those with
        fewer than `FEWEST` frames are left out, and so is one whose first frame is another than the dataset's.
    """
    found: list[tuple] = []
    if store is not None:
        number, time, clips = store.table["frame"].to_numpy(), store.table["time"].to_numpy(), store.clips
        ends = first_of_clips(store)
        ends[1:] |= np.diff(number) != 1
        for begin in begins.itertuples():
            row = int(np.searchsorted(number, begin.frame))
            if row == len(store) or number[row] != begin.frame or abs(time[row] - begin.time) > 1e-6:
                continue
            if clips is not None and clips[row] != begin.clip:
                continue
            end = row + 1
            while end < min(row + frames, len(store)) and not ends[end]:
                end += 1
            end = row + _in_one_shot(store, np.arange(row, end))
            if end - row >= FEWEST:
                found.append((len(found), store.source, begin.split, begin.frame, int(number[end - 1]), row, end - row))
    return pd.DataFrame(found, columns=list(_COLUMNS)).astype(_COLUMNS)


def _in_one_shot(store: FrameStore, rows: np.ndarray) -> int:
    """How many of some consecutive frames, from the first on, are surely of one shot."""
    small = []
    for some in np.split(rows, range(batch_of(store), len(rows), batch_of(store))):
        if store.is_pair:
            lightness = lightness_of_grey(torch.from_numpy(store.grey(some)))
        else:
            lightness = rgb_to_lab(torch.from_numpy(store.colour(some)))[:, :1]
        small.append(thumbnails(lightness))
    far = np.flatnonzero(distances(torch.cat(small)).numpy() > _SURE)
    return int(far[0]) + 1 if len(far) else len(rows)
