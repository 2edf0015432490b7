"""A dataset's frames as the page shows them: how many, what the filter decided, where the parts lie; and stills to wipe between."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.frames.duplicates import MANY
from kinemacolor.frames.index import FrameStore, located
from kinemacolor.frames.shards import METADATA_KEY
from kinemacolor.report.album import STILL_WIDTH, STILLS, Album
from kinemacolor.report.borderline import Shown, borderline, draw_borderline
from kinemacolor.report.filtering import Double, Filtering, counts
from kinemacolor.report.results import Moment, Part, Showing, Stills
from kinemacolor.report.segments import clock_words
from kinemacolor.report.timeline import LEFT_OUT, TimeLine, lanes
from kinemacolor.report.words import thousands

_PARTS = ("train", "val", "test")
_MARKS = 4  # equal distances of a time line


def filter_table(path: Path) -> pd.DataFrame:
    """source, frame, split, keep, reason.

    Raises:
        UserError: it is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run the filter stage.")
    return pd.read_parquet(path, columns=["source", "frame", "split", "keep", "reason"])


def facts(index: Path) -> dict[str, Any]:
    """What an index says of itself: size, every.

    Raises:
        UserError: it is missing.
    """
    if not index.is_file():
        raise UserError(f"{index} is missing: run the frames stage.")
    return json.loads(pq.read_schema(index).metadata[METADATA_KEY])


def parts(table: pd.DataFrame) -> dict[str, Part]:
    """Part -> how many frames it has and keeps, of the filter table's rows."""
    return {split: _part(rows) for split in _PARTS if len(rows := table[table["split"] == split])}


def _part(rows: pd.DataFrame) -> Part:
    reasons = rows.loc[~rows["keep"], "reason"].value_counts()
    return Part(len(rows), int(rows["keep"].sum()), {str(reason): int(count) for reason, count in sorted(reasons.items())})


# ------------------------------------------------------------------------------------------------ the filter


def filtering(path: Path, sheet: Callable[[float], Path] | None = None) -> Filtering | None:
    """What the filter says of its own work; None for a table of a version that said nothing.

    Args:
        path: the filter table.
        sheet: of the threshold, to be drawn.
    """
    said = json.loads((pq.read_schema(path).metadata or {}).get(METADATA_KEY, b"null"))
    if said is None:
        return None
    table = pd.read_parquet(path, columns=["colour", "keep", "reason"])
    return Filtering(
        grey=said["grey"],
        kept=counts(table.loc[table["keep"], "colour"].to_numpy()),
        dropped=counts(table.loc[table["reason"] == "grey", "colour"].to_numpy()),
        doubles=[
            Double(part, source, count["frames"], count["same"], count["other"])
            for part, sources in sorted(said["doubles"].items(), reverse=True)
            for source, count in sources.items()
        ],
        left_out={source: 1 - share for source, share in said["counted"].items() if share < 1},
        sheet=None if sheet is None else sheet(said["grey"]),
        hue=int((table["keep"] & (table["colour"] < said["grey"])).sum()),
        many=MANY,
    )


def draw_narrowest(dataset: str, data: Path, out: Path, *, grey: float) -> None:
    """Draw the frames that the threshold parts most narrowly, of those that nothing else decides."""
    table = pd.read_parquet(data / "filter" / f"{dataset}.parquet", columns=["source", "frame", "colour", "reason"])
    table = table[table["reason"].isin(["", "grey"])]
    stores = [FrameStore(data / "frames" / dataset / source, verify=False) for source in table["source"].unique()]
    table = located(table.drop(columns="reason"), stores)
    columns: dict[str, Any] = {name: table[name].to_numpy() for name in ("store", "at", "colour", "time")}
    chosen = borderline(columns["colour"], columns["store"], columns["at"], grey=grey)
    shown = [
        Shown(
            picture=stores[columns["store"][place]].colour([int(columns["at"][place])])[0].transpose(1, 2, 0),
            source=stores[columns["store"][place]].source,
            seconds=float(columns["time"][place]),
            colour=float(columns["colour"][place]),
        )
        for place in chosen
    ]
    draw_borderline(shown, out, grey=grey)


# ------------------------------------------------------------------------------------------------ the split


def time_line(source: str, index: Path, table: pd.DataFrame) -> TimeLine:
    """Where the parts of a source lie, by the clock; of clips and photographs, by their order.

    Args:
        source: its name.
        index: its index.parquet.
        table: the dataset's filter table.
    """
    names = set(pq.read_schema(index).names)
    rows = pd.read_parquet(index, columns=[name for name in ("frame", "time", "clip") if name in names])
    own = table.loc[table["source"] == source, ["frame", "split", "keep"]]
    many = "clip" in rows and rows["clip"].nunique(dropna=False) > 1
    begins = np.arange(len(rows), dtype=np.float64) if many else rows["time"].to_numpy(np.float64)
    step = float(np.median(np.diff(begins))) if len(begins) > 1 else 1.0
    ends = np.append(begins[1:], begins[-1] + step)
    # Frames of sparse or broken films may lie far apart: none lasts longer than to the usual next one.
    ends = np.minimum(ends, begins + 1.5 * step)
    origin, whole = begins[0], float(ends[-1] - begins[0]) or 1.0
    lane = rows[["frame"]].merge(own, on="frame", how="left")
    part = lane["split"].map({name: place for place, name in enumerate(_PARTS)}).fillna(-1).to_numpy(np.int64)
    number = np.where((part >= 0) & ~lane["keep"].eq(True).to_numpy(), len(_PARTS), part)
    found = lanes((begins - origin) / whole, (ends - origin) / whole, number, (*_PARTS, LEFT_OUT))
    ticks = np.linspace(0, len(rows) if many else whole, _MARKS + 1)
    marks = [f"no. {thousands(round(tick))}" if many else clock_words(origin + tick, digits=0) for tick in ticks]
    return TimeLine(source, found, marks)


# ------------------------------------------------------------------------------------------------ stills


def stills(folder: Path, name: str, album: Album, *, order: Sequence[str]) -> Stills | None:
    """The moments that `compare` left in `folder`, small copies of which go into `album`; None where there are none.

    Args:
        folder: with stills.json, whose keys have no order of their own.
        name: of the dataset.
        album: the page's pictures.
        order: of the models; grey comes before them, the truth after.

    Raises:
        UserError: stills.json names a picture that is missing or lies elsewhere.
    """
    if not (folder / "stills.json").is_file():
        return None
    said = read_json(folder / "stills.json", "run the compare stage")["moments"]
    files = [file for moment in said for file in moment["panels"].values()]
    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise UserError(f"{folder}/stills.json names {file!r}, which does not lie beside it: run the compare stage again.")
    if not files:
        return None
    limit = STILLS // len(files)
    places = {panel: place for place, panel in enumerate(("grey", *order))} | {"truth": len(order) + 2}
    moments = [
        Moment(
            float(moment["time"]),
            {
                panel: album.still(folder / moment["panels"][panel], f"{name}/stills/{number}_{place}.jpg", limit=limit)
                for place, panel in enumerate(sorted(moment["panels"], key=lambda panel: places.get(panel, len(order) + 1)))
            },
        )
        for number, moment in enumerate(said)
    ]
    with Image.open(folder / files[0]) as picture:
        width, height = picture.size
    scale = min(1.0, STILL_WIDTH / width)
    return Stills((round(width * scale), max(1, round(height * scale))), moments)


def showing(folder: Path) -> Showing | None:
    """How the videos beside the stills in `folder` are laid out; None if nothing says so."""
    if not (folder / "stills.json").is_file():
        return None
    said = read_json(folder / "stills.json", "run the compare stage")
    return Showing(str(said["layout"]), str(said["size"])) if {"layout", "size"} <= said.keys() else None


def stores_of(data: Path, dataset: str, sources: Sequence[str]) -> list[FrameStore]:
    """The frames of a dataset's sources, unverified."""
    return [FrameStore(data / "frames" / dataset / source, verify=False) for source in sources]
