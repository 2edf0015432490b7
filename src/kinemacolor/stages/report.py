"""report: gathers what the other stages wrote and writes the page and its pictures.

Figures come from the artefacts as they stand. Only where no `naive` model was trained is something computed: the error
of an uncoloured picture, so that ratios always have the same meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch

import kinemacolor
from kinemacolor.colour import grey_rgb, lightness_of_grey, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, read_json
from kinemacolor.frames.duplicates import MANY
from kinemacolor.frames.index import FrameStore, located
from kinemacolor.frames.shards import METADATA_KEY
from kinemacolor.media.sources import PrintRecord, SourceRecord, read_source
from kinemacolor.metrics.pixel import mse_ab, mse_rgb_pm1
from kinemacolor.report import page
from kinemacolor.report.borderline import Shown, borderline, draw_borderline
from kinemacolor.report.filtering import Double, Filtering, counts
from kinemacolor.report.plots import Curves, colours, save_curves, small_copy
from kinemacolor.report.recipes import recipe_words
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

_LABELS = {"video": "Video", "colour": "Colour print", "grey": "Grey print"}
_MARKER = "made-by-kinemacolor.txt"
_KINDS = {
    "upright": "scaled and shifted",
    "similarity": "turned, scaled and shifted",
    "affine": "turned, scaled, sheared and shifted",
}
_PLOTS = {"path.png": "How the prints run beside each other", "pairs.png": "Pairs that the alignment found"}


class Album:
    """The folder of the page's own pictures: what is small and belongs into git, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._copies: dict[str, Path] = {}
        self._drawn: dict[str, Callable[[Path], None]] = {}

    def copy(self, picture: Path, name: str) -> Path | None:
        """Where the copy of `picture` will lie; None if there is no such picture."""
        if not picture.is_file():
            return None
        self._copies[name] = picture
        return self.folder / name

    def draw(self, name: str, drawing: Callable[[Path], None]) -> Path:
        """Where what `drawing` writes, a PNG at the path that it is given, will lie."""
        self._drawn[name] = drawing
        return self.folder / name

    def write(self, curves: Mapping[str, Curves], colour: Mapping[str, str]) -> None:
        """Write the copies, and <dataset>/curves.png."""
        with atomic_folder(self.folder, marker=_MARKER) as folder:
            (folder / _MARKER).write_text("Made by `kinemacolor report`, which replaces this folder.\n", encoding="utf-8")
            for name, picture in self._copies.items():
                small_copy(picture, folder / name)
            for name, drawing in self._drawn.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                drawing(folder / name)
            for dataset, drawn in curves.items():
                save_curves(drawn, colour, folder / dataset / "curves.png")


def report(experiments: Mapping[str, Sequence[str]], *, data: Path, reports: Path, out: Path) -> page.ReportData:
    """Write `out`, and beside it the folder `pictures` with stills, sync plots and curves, all small enough for git.

    Args:
        experiments: dataset -> models, in the order of the page.
        data: folder that holds raw/, sync/, frames/, filter/, models/, render/ and compare/.
        reports: folder that holds <dataset>/<model>/ with metrics.json, epochs.json and the sample sheets.
        out: the page, reports/index.html.

    Returns:
        All that the page says.

    Raises:
        UserError: an artefact is missing. Videos may be: the page then shows their stills.
    """
    data, reports, out = Path(data), Path(reports), Path(out)
    album = Album(out.parent / "pictures")
    datasets = [_dataset(name, models, data, reports, album) for name, models in experiments.items()]
    colour = colours([model.name for dataset in datasets for model in dataset.models])
    album.write({dataset.name: page.curves_of(dataset) for dataset in datasets}, colour)
    gathered = page.ReportData(datasets, kinemacolor.__version__)
    page.build_page(gathered, out)
    return gathered


def _dataset(name: str, models: Sequence[str], data: Path, reports: Path, album: Album) -> page.DatasetResult:
    table = _table(data / "filter" / f"{name}.parquet")
    sources = list(dict.fromkeys(table["source"]))
    facts = _facts(data / "frames" / name / sources[0] / "index.parquet")
    results = [_model(name, model, data, reports, album) for model in models]
    reference = next((("naive", result.metrics) for result in results if result.name == "naive"), None)
    if reference is None:
        reference = ("grey", grey_error([FrameStore(data / "frames" / name / source, verify=False) for source in sources], table))
    return page.DatasetResult(
        name=name,
        sources=[_source(source, data, album) for source in sources],
        size=tuple(facts["size"]),
        every=facts["every"],
        parts={
            split: _part(table[table["split"] == split]) for split in ("train", "val", "test") if (table["split"] == split).any()
        },
        models=results,
        reference=reference,
        video=_there(data / "compare" / f"{name}.mp4"),
        poster=album.copy(data / "compare" / f"{name}.png", f"{name}/comparison.png"),
        filtering=_filtering(
            data / "filter" / f"{name}.parquet",
            lambda grey: album.draw(f"{name}/filter.png", partial(_draw_borderline, name, data, grey=grey)),
        ),
    )


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path} is missing: run the filter stage.")
    return pd.read_parquet(path, columns=["source", "frame", "split", "keep", "reason"])


def _filtering(path: Path, sheet: Callable[[float], Path] | None = None) -> Filtering | None:
    """What the filter says of its own work; None for a table of a version that said nothing. sheet: of the threshold, to be drawn."""
    facts = json.loads((pq.read_schema(path).metadata or {}).get(METADATA_KEY, b"null"))
    if facts is None:
        return None
    table = pd.read_parquet(path, columns=["colour", "keep", "reason"])
    return Filtering(
        grey=facts["grey"],
        kept=counts(table.loc[table["keep"], "colour"].to_numpy()),
        dropped=counts(table.loc[table["reason"] == "grey", "colour"].to_numpy()),
        doubles=[
            Double(part, source, count["frames"], count["same"], count["other"])
            for part, sources in sorted(facts["doubles"].items(), reverse=True)
            for source, count in sources.items()
        ],
        left_out={source: 1 - share for source, share in facts["counted"].items() if share < 1},
        sheet=None if sheet is None else sheet(facts["grey"]),
        hue=int((table["keep"] & (table["colour"] < facts["grey"])).sum()),
        many=MANY,
    )


def _draw_borderline(dataset: str, data: Path, out: Path, *, grey: float) -> None:
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


def _facts(index: Path) -> dict[str, Any]:
    """What an index says of itself: size, every."""
    if not index.is_file():
        raise UserError(f"{index} is missing: run the frames stage.")
    return json.loads(pq.read_schema(index).metadata[METADATA_KEY])


def _part(rows: pd.DataFrame) -> page.Part:
    reasons = rows.loc[~rows["keep"], "reason"].value_counts()
    return page.Part(len(rows), int(rows["keep"].sum()), {str(reason): int(count) for reason, count in sorted(reasons.items())})


def _model(dataset: str, name: str, data: Path, reports: Path, album: Album) -> page.ModelResult:
    folder, shown = data / "models" / dataset / name, reports / dataset / name
    meta = read_json(folder / "meta.json", "run the train stage")
    return page.ModelResult(
        name=name,
        parameters=int(meta["parameters"]),
        seconds=float(meta["seconds"]),
        device=str(meta["device"]),
        trained_epochs=int(meta.get("epochs", 0)),
        metrics=read_json(shown / "metrics.json", "run the evaluate stage"),
        epochs=read_json(shown / "epochs.json", "run the evaluate stage"),
        curves=read_json(folder / "curves.json", "run the train stage"),
        sheets={split: sheet for split in ("val", "test") if (sheet := _there(shown / f"sheet_{split}.png"))},
        video=_there(data / "render" / dataset / f"{name}.mp4"),
        poster=album.copy(data / "render" / dataset / f"{name}.png", f"{dataset}/{name}.png"),
        trainable=bool(meta.get("trainable", meta["parameters"])),
    )


def _source(name: str, data: Path, album: Album) -> page.Source:
    record = read_source(data / "raw" / name)
    prints = [_print(_LABELS.get(key, key), record.prints[key]) for key in _LABELS if key in record.prints]
    sync = _sync(record, data / "sync" / name, album) if record.kind == "film_pair" else None
    return page.Source(name, record.kind, record.licence, record.credit, prints, sync, collection(record))


def collection(record: SourceRecord) -> str:
    """In a sentence or two: how many clips or photographs a source holds, how large, and what was left out. Else empty."""
    if record.pictures is not None:
        count = record.pictures.count
        sizes = [record.pictures.smallest, record.pictures.largest]
        said = f"{_thousands(count)} photograph{'s' if count != 1 else ''}"
    elif record.clips:
        probes = [clip.probe for clip in record.clips]
        shapes = [(facts.width, facts.height) for facts in probes]
        sizes = [tuple(map(choose, zip(*shapes, strict=True))) for choose in (min, max)]
        rates = sorted({facts.frame_rate for facts in probes})
        span = f"{float(rates[0]):.6g}" if len(rates) == 1 else f"{float(rates[0]):.6g} to {float(rates[-1]):.6g}"
        frames, seconds = sum(facts.frames for facts in probes), sum(facts.duration for facts in probes)
        said = f"{_thousands(len(probes))} clip{'s' if len(probes) != 1 else ''}, {_thousands(frames)} frames at {span} a second"
        said += f", {page.duration(seconds)}"
    else:
        return ""
    small, large = (f"{width}×{height}" for width, height in sizes)
    said = f"{said}, {small if small == large else f'{small} to {large}'} pixels."
    if "limit" in record.origin:
        said += f" At most {_thousands(record.origin['limit'])}, drawn with seed {record.origin.get('seed', 0)}."
    if record.broken:
        shown = ", ".join(entry["name"] for entry in record.broken[:3])
        said += f" {record.broken_count} left out as broken ({shown}{', …' if record.broken_count > 3 else ''})."
    if record.duplicates:
        said += f" {record.duplicates_count} left out as the same file as another."
    return f"{said} {origin(record.origin)}".strip()


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")


def _print(label: str, record: PrintRecord) -> page.Print:
    facts, address = record.probe, str(record.origin.get("url", ""))
    return page.Print(
        label=label,
        origin=origin(record.origin),
        width=facts.width,
        height=facts.height,
        frame_rate=f"{float(facts.frame_rate):.6g}",
        frames=facts.frames,
        duration=facts.duration,
        sound=facts.audio is not None,
        address=address if address.startswith(("https://", "http://")) else None,
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


def _sync(record: SourceRecord, folder: Path, album: Album) -> page.Sync:
    if not (folder / "alignment.parquet").is_file():
        raise UserError(f"{folder}/alignment.parquet is missing: run the sync stage.")
    table = pd.read_parquet(folder / "alignment.parquet")
    geometry = read_json(folder / "geometry.json", "run the sync stage")
    plots = {title: album.copy(folder / file, f"sync/{folder.name}_{file}") for file, title in _PLOTS.items()}
    offsets = (table["grey_frame"] - table["colour_frame"]).unique()
    offset = int(offsets[0]) if len(offsets) == 1 else None
    rates = {name: record.prints[name].probe.frame_rate for name in ("grey", "colour")}
    one_clock = offset is not None and rates["grey"] == rates["colour"]
    return page.Sync(
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
    """What segments.json says, for page.Sync; nothing for a folder of a version that wrote none."""
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
            page.SyncSegment(
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


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


@torch.inference_mode()
def grey_error(stores: Sequence[FrameStore], table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The error of uncoloured pictures: split -> "mse_ab@128" and "mse_rgb_pm1", means over the kept frames' pixels.

    The uncoloured picture of a film pair is the grey print's frame; elsewhere it is the neutral rendering of L*. Frames of
    a dataset are equal in size, so that the mean over frames is the mean over pixels.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for store in stores:
        rows = store.table[["source", "frame"]].merge(table[table["keep"]], on=["source", "frame"], how="left")
        for split, part in rows.groupby("split"):
            for begin in range(0, len(part), 32):
                at = part.index.to_numpy()[begin : begin + 32]
                true = torch.from_numpy(store.colour(at))
                lab = rgb_to_lab(true)
                lightness = lightness_of_grey(torch.from_numpy(store.grey(at))) if store.is_pair else lab[:, :1]
                grey = torch.cat((lightness, torch.zeros_like(lab[:, 1:])), dim=1)
                errors = mse_ab(grey, lab, scale=128.0), mse_rgb_pm1(to_uint8(grey_rgb(lightness)), true)
                found.setdefault(str(split), []).extend(zip(*(error.tolist() for error in errors), strict=True))
    return {
        split: {
            key: sum(error[place] for error in errors) / len(errors) for place, key in enumerate(("mse_ab@128", "mse_rgb_pm1"))
        }
        for split, errors in found.items()
    }
