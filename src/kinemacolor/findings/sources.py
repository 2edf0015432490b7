"""What a dataset is made from, by source.json and by what sync found: prints, collections, alignments, in the page's words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.media.sources import PrintRecord, SourceRecord, read_source
from kinemacolor.report.album import Album
from kinemacolor.report.recipes import recipe_words
from kinemacolor.report.results import Print, Source, Sync, SyncSegment
from kinemacolor.report.segments import (
    UNSURE,
    Agreement,
    agreement,
    clock_words,
    own_stretches,
    own_words,
    span_words,
    speed_words,
    speeds_summary,
)
from kinemacolor.report.words import duration, thousands

_LABELS = {"video": "Video", "colour": "Colour print", "grey": "Grey print"}
_KINDS = {
    "upright": "scaled and shifted",
    "similarity": "turned, scaled and shifted",
    "affine": "turned, scaled, sheared and shifted",
}
_PLOTS = {"path.png": "How the prints run beside each other", "pairs.png": "Pairs that the alignment found"}


def source(name: str, data: Path, album: Album) -> Source:
    """A source as the page shows it; the plots of its alignment go into `album`.

    Raises:
        UserError: source.json is missing, or a film pair's alignment.
    """
    record = read_source(data / "raw" / name)
    prints = [_print(_LABELS.get(key, key), record.prints[key]) for key in _LABELS if key in record.prints]
    sync = _sync(record, data / "sync" / name, album) if record.kind == "film_pair" else None
    return Source(name, record.kind, record.licence, record.credit, prints, sync, collection(record))


def collection(record: SourceRecord) -> str:
    """In a sentence or two: how many clips or photographs a source holds, how large, and what was left out. Else empty."""
    if record.pictures is not None:
        count = record.pictures.count
        sizes = [record.pictures.smallest, record.pictures.largest]
        said = f"{thousands(count)} photograph{'s' if count != 1 else ''}"
    elif record.clips:
        probes = [clip.probe for clip in record.clips]
        shapes = [(facts.width, facts.height) for facts in probes]
        sizes = [tuple(map(choose, zip(*shapes, strict=True))) for choose in (min, max)]
        rates = sorted({facts.frame_rate for facts in probes})
        span = f"{float(rates[0]):.6g}" if len(rates) == 1 else f"{float(rates[0]):.6g} to {float(rates[-1]):.6g}"
        frames, seconds = sum(facts.frames for facts in probes), sum(facts.duration for facts in probes)
        said = f"{thousands(len(probes))} clip{'s' if len(probes) != 1 else ''}, {thousands(frames)} frames at {span} a second"
        said += f", {duration(seconds)}"
    else:
        return ""
    small, large = (f"{width}×{height}" for width, height in sizes)
    said = f"{said}, {small if small == large else f'{small} to {large}'} pixels."
    if "limit" in record.origin:
        said += f" At most {thousands(record.origin['limit'])}, drawn with seed {record.origin.get('seed', 0)}."
    if record.broken:
        shown = ", ".join(entry["name"] for entry in record.broken[:3])
        said += f" {record.broken_count} left out as broken ({shown}{', …' if record.broken_count > 3 else ''})."
    if record.duplicates:
        said += f" {record.duplicates_count} left out as the same file as another."
    return f"{said} {origin(record.origin)}".strip()


def _print(label: str, record: PrintRecord) -> Print:
    facts, address = record.probe, str(record.origin.get("url", ""))
    return Print(
        label=label,
        origin=origin(record.origin),
        width=facts.width,
        height=facts.height,
        frame_rate=f"{float(facts.frame_rate):.6g}",
        frames=facts.frames,
        duration=facts.duration,
        sound=facts.audio is not None,
        address=address if address.startswith(("https://", "http://")) else None,
        sha256=record.sha256,
    )


def origin(where: Mapping[str, Any]) -> str:
    """In a sentence: where a print is from, by its `origin` in source.json."""
    if "made_from" in where:
        return f"Made from the {where['made_from']} print: {recipe_words(where.get('recipe', {}))}."
    if "package" in where:
        member = where.get("member")
        inside = member if isinstance(member, str) else Path(member[-1]).name if member else "its media"
        return f"{inside}, from the package {where['package']} {where.get('version', '')}".strip() + "."
    if "game" in where:
        rest = ", ".join(
            f"{key.replace('_', ' ')} {_plain(value)}" for key, value in where.items() if key != "game" and _is_plain(value)
        )
        return f"Played by the pipeline: {where['game']}{f' ({rest})' if rest else ''}."
    for key in ("url", "path"):
        if key in where:
            return f"From {where[key]}."
    return ""


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _sync(record: SourceRecord, folder: Path, album: Album) -> Sync:
    if not (folder / "alignment.parquet").is_file():
        raise UserError(f"{folder}/alignment.parquet is missing: run the sync stage.")
    table = pd.read_parquet(folder / "alignment.parquet")
    geometry = read_json(folder / "geometry.json", "run the sync stage")
    plots = {title: album.copy(folder / file, f"sync/{folder.name}_{file}") for file, title in _PLOTS.items()}
    offsets = (table["grey_frame"] - table["colour_frame"]).unique()
    offset = int(offsets[0]) if len(offsets) == 1 else None
    rates = {name: record.prints[name].probe.frame_rate for name in ("grey", "colour")}
    one_clock = offset is not None and rates["grey"] == rates["colour"]
    return Sync(
        offset=offset,
        pairs=len(table),
        segments=int(table["segment"].nunique()),
        confidence=float(table["confidence"].mean()),
        residual_px=geometry.get("residual_px"),
        truth_offset=record.truth_offset,
        seconds=offset / float(rates["grey"]) if one_clock else None,
        plots={title: plot for title, plot in plots.items() if plot},
        kind=_KINDS.get(geometry.get("kind", ""), ""),
        agreement=_agreement(record, table),
        **_segments(record, folder, table),
    )


def _segments(record: SourceRecord, folder: Path, table: pd.DataFrame) -> dict[str, Any]:
    """What segments.json says, for Sync; nothing for a folder of a version that wrote none."""
    if not (folder / "segments.json").is_file():
        return {}
    said = read_json(folder / "segments.json", "run the sync stage")
    segments = [SimpleNamespace(**one) for one in said["segments"]]
    rates = {name: float(record.prints[name].probe.frame_rate) for name in ("grey", "colour")}
    rows = []
    for number, one in enumerate(segments):
        pairs = table[table["segment"] == number]
        # A frame lasts until the next one; those of a print with gaps have times of their own.
        times = {
            name: "–".join(
                clock_words(seconds) for seconds in (pairs[f"{name}_time"].min(), pairs[f"{name}_time"].max() + 1 / rates[name])
            )
            if len(pairs)
            else "–"
            for name in rates
        }
        rows.append(
            SyncSegment(
                colour=span_words(one.colour_start, one.colour_end),
                colour_time=times["colour"],
                grey=span_words(one.grey_start, one.grey_end),
                grey_time=times["grey"],
                speed=speed_words(one.speed, one.clock),
                alike="–" if one.alike is None or math.isnan(one.alike) else f"{one.alike:.3f}",
                confidence=f"{one.confidence:.3f}",
                unsure=one.confidence < UNSURE,
            )
        )
    own = {}
    for name in ("grey", "colour"):
        spans = [(getattr(one, f"{name}_start"), getattr(one, f"{name}_end")) for one in segments]
        own[_LABELS[name]] = own_words(
            own_stretches(spans, record.prints[name].probe.frames), rates[name], times=_times(table, name, record.prints[name])
        )
    known = {key: said[key] for key in ("correlation", "share") if key in said}
    return {"rows": rows, "own": own, "speeds": speeds_summary(segments), **known}


def _times(table: pd.DataFrame, name: str, record: PrintRecord) -> np.ndarray:
    """Seconds at which each frame of a print begins, and at which the last ends; those without a pair lie evenly between.

    Empty for a sync of a version that wrote no times.
    """
    if f"{name}_time" not in table:
        return np.empty(0)
    known = table[[f"{name}_frame", f"{name}_time"]].drop_duplicates(f"{name}_frame").sort_values(f"{name}_frame")
    frames, times = known[f"{name}_frame"].to_numpy(), known[f"{name}_time"].to_numpy()
    # Without a pair at either end, what is known of it is that the film begins at zero and how long it lasts.
    count, step = record.probe.frames, 1 / float(record.probe.frame_rate)
    if not len(frames) or frames[0] > 0:
        frames, times = np.insert(frames, 0, 0), np.insert(times, 0, 0.0)
    if frames[-1] < count:
        end = max(record.probe.duration, times[-1] + step)
        frames, times = np.append(frames, count), np.append(times, end)
    return np.interp(np.arange(count + 1), frames, times)


def _agreement(record: SourceRecord, table: pd.DataFrame) -> Agreement | None:
    """How the pairs compare with the truth that lies beside a made print; None where there is none."""
    file = record.truth_path
    if file is None:
        return None
    if not file.is_file():
        raise UserError(f"{file} is missing: remove {record.folder} and run the download stage again.")
    truth = pd.read_parquet(file, columns=["colour_frame", "grey_frame", "confidence"])
    columns = table["colour_frame"], table["grey_frame"], truth["colour_frame"], truth["grey_frame"]
    return agreement(*columns, confidence=truth["confidence"])
