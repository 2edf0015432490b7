"""filter: which frames stay, and why the others do not, and where shots begin. A frame never moves between parts here.

Frames are read once, in order and a few at a time; of each only some numbers and 104 bytes to compare it by are kept, in arrays
that are there from the start. What a person may want to see of it is drawn by the report, so that a
change of a plot trains nothing again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.frames.cuts import CutDetector, batch_of, first_of_clips
from kinemacolor.frames.duplicates import MANY, Prints, doubles, empty_prints, prints_of, repeats
from kinemacolor.frames.fades import HUE, reasons
from kinemacolor.frames.grey import Look, look_at
from kinemacolor.frames.index import FrameStore, located, open_stores
from kinemacolor.frames.shards import METADATA_KEY
from kinemacolor.frames.standing import counted_pixels
from kinemacolor.params import FilterParams

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Measured:
    """What is known of every frame of one source's index."""

    mean_chroma: np.ndarray
    colour: np.ndarray
    cut: np.ndarray
    reason: np.ndarray
    counted: float


def filter_frames(frames: list[Path], *, split: Path, params: FilterParams, out: Path) -> pd.DataFrame:
    """Mark the frames that teach no colour, and those at which a shot begins.

    Args:
        frames: folders that the frames stage wrote.
        split: Parquet file that the split stage wrote.
        params: thresholds.
        out: Parquet file to write: source, frame, split, keep, reason (`black`, `white`, `fade`, `grey`, `duplicate` or
            nothing), mean_chroma, colour (the measure that decides about grey; frames/grey.py), and cut: a shot begins at
            this frame, compared with the frame before it in the index, or a source or clip does. All frames of the index
            are looked at, also those that are in no part; of a pair, chroma is the colour print's and cuts are the grey
            one's. In its metadata: `grey`, the threshold; `counted`, of each source the share of pixels that count; and
            `doubles`, part -> source -> frames kept, and how many of them look like a training frame of the same source,
            or of another only.

    Raises:
        UserError: an input is missing, or no frame of the training part stays.
    """
    if not split.is_file():
        raise UserError(f"{split} is missing: run the split stage.")
    stores = list(open_stores(frames).values())
    table = _located(pd.read_parquet(split, columns=["source", "frame", "split"]), stores, split)
    begins = np.cumsum([0, *(len(store) for store in stores)])
    prints = empty_prints(int(begins[-1]))
    measured = [
        _measure(store, params, prints[begin : begin + len(store)]) for store, begin in zip(stores, begins[:-1], strict=True)
    ]
    for name in ("reason", "cut", "mean_chroma", "colour"):
        table[name] = _spread(table, [getattr(one, name) for one in measured])
    table["keep"] = table["reason"] == ""
    counted = {store.source: one.counted for store, one in zip(stores, measured, strict=True)}
    del measured
    if not (table["keep"] & (table["split"] == "train")).any():
        raise UserError(_refusal(table, counted, params))
    facts = {"grey": params.grey, "counted": counted, "doubles": _doubles(table, stores, prints, begins, bits=params.alike)}
    del prints
    _tell(facts["doubles"])
    table = table[["source", "frame", "split", "keep", "reason", "mean_chroma", "colour", "cut"]]
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata(
        (arrow.schema.metadata or {}) | {METADATA_KEY: json.dumps(facts, sort_keys=True).encode()}
    )
    with atomic_file(out) as temporary:
        pq.write_table(arrow, temporary)
    return table


def _located(table: pd.DataFrame, stores: Sequence[FrameStore], split: Path) -> pd.DataFrame:
    """The split's rows with `store` and `at`, the place in that store's index."""
    known = {store.source for store in stores}
    if foreign := sorted(set(table["source"].unique()) - known):
        raise UserError(f"{split} names frames of {foreign[0]}, whose folder was not given: run the split stage again.")
    where = located(table, stores)
    table["store"], table["at"] = where["store"].to_numpy(np.int16), where["at"].to_numpy(np.int32)
    return table


def _measure(store: FrameStore, params: FilterParams, prints: Prints) -> _Measured:
    """Look at all frames of a store, and fill its prints."""
    begins, counted, detector = first_of_clips(store), counted_pixels(store), CutDetector()
    look = Look(*(np.empty(len(store)) for _ in Look._fields))
    cut = np.empty(len(store), bool)
    for rows in store.walk(batch_of(store)):
        rgb = store.colour(rows)
        lab = rgb_to_lab(torch.from_numpy(rgb))
        lightness = lightness_of_grey(torch.from_numpy(store.grey(rows))) if store.is_pair else lab[:, :1]
        for values, found in zip(look, look_at(rgb, counted, lab=lab), strict=True):
            values[rows] = found
        cut[rows] = detector(lightness, torch.from_numpy(begins[rows])).numpy()
        prints[rows] = prints_of(lab.numpy())
    reason = reasons(look, begins, params, is_film=store.clips is None)
    if params.duplicates:
        stays = np.flatnonzero(reason == "")
        reason[stays[repeats(prints[stays], bits=params.alike)]] = "duplicate"
    return _Measured(look.mean_chroma, look.colour, cut, reason, float(counted.mean()))


def _spread(table: pd.DataFrame, values: Sequence[np.ndarray]) -> np.ndarray:
    """Values of every index's frames, to the table's rows."""
    out = np.empty(len(table), values[0].dtype)
    store, at = table["store"].to_numpy(), table["at"].to_numpy()
    for number, one in enumerate(values):
        here = np.flatnonzero(store == number)
        out[here] = one[at[here]]
    return out


def _refusal(table: pd.DataFrame, counted: dict[str, float], params: FilterParams) -> str:
    """Why no training frame stays, and which thresholds would let some."""
    train = table[table["split"] == "train"]
    if not len(train):
        return "There are no training frames: give the part `train` of `split` a share."
    found = train["reason"].value_counts()
    said = ", ".join(f"{count} {reason}" for reason, count in found.items())
    remedies = {
        "grey": f"lower `filter.grey` ({params.grey:g})",
        "black": f"lower `filter.black` ({params.black:g})",
        "white": f"raise `filter.white` ({params.white:g})",
        "fade": f"lower `filter.fade` ({params.fade:g})",
        "duplicate": "set `filter.duplicates` to false",
    }
    advice = [remedies[reason] for reason in found.index]
    if ((train["reason"] == "grey") & (train["mean_chroma"] >= HUE)).any():
        advice.append(f"lower `filter.one_hue` ({params.one_hue:g}), since some have a hue")
    for source in train["source"].unique():
        if counted[source] < 1:
            said += f"; bars, a logo or subtitles, {1 - counted[source]:.0%} of the picture of {source}, do not count"
    return f"None of the {len(train)} training frames stays ({said}): {' or '.join(advice)}."


def _doubles(
    table: pd.DataFrame, stores: Sequence[FrameStore], prints: Prints, begins: np.ndarray, *, bits: int
) -> dict[str, dict[str, dict[str, int]]]:
    """Part -> source -> kept frames, and how many of them have a double among the kept training frames."""
    store, keep = table["store"].to_numpy(), table["keep"].to_numpy()
    place = begins[store] + table["at"].to_numpy()
    sources = np.repeat(np.arange(len(stores)), np.diff(begins))
    known = np.zeros(len(sources), bool)
    known[place[keep & (table["split"] == "train").to_numpy()]] = True
    found: dict[str, dict[str, dict[str, int]]] = {}
    for name in ("val", "test"):
        here = np.flatnonzero(keep & (table["split"] == name).to_numpy())
        if not len(here):
            continue
        source, asked = store[here], place[here]
        double = doubles(prints, sources, prints[asked], source, bits=bits, among=known)
        found[name] = {
            stores[number].source: {
                "frames": int((source == number).sum()),
                "same": int((double[source == number] == 2).sum()),
                "other": int((double[source == number] == 1).sum()),
            }
            for number in np.unique(source)
        }
    return found


def _tell(found: dict[str, dict[str, dict[str, int]]]) -> None:
    for part, sources in found.items():
        frames = sum(count["frames"] for count in sources.values())
        twice = sum(count["same"] + count["other"] for count in sources.values())
        if twice > MANY * frames:
            _log.warning(
                "%d of %d frames of %s look like a training frame, so its figures flatter: a larger `split.guard`, larger blocks "
                "or whole clips (`split.unit`) keep them apart.",
                twice,
                frames,
                part,
            )
