"""The page that shows it all: one HTML file that opens from disk, with everything inline but pictures and videos.

It takes plain values and knows neither artefacts nor stages. Whatever comes from a user (names, credits, licences,
addresses) is escaped by the template; only our own curves enter as markup. No date stands on it, so that equal
results give equal bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from kinemacolor.files import atomic_file
from kinemacolor.report.filtering import Filtering, histogram_svg
from kinemacolor.report.plots import Curves, colours, curves_svg
from kinemacolor.report.segments import Agreement

FOLDED = 12
"""Segments above which their table is folded away."""

SPLITS = {"val": "Validation", "test": "Test", "train": "Training"}
"""In the order in which they matter: training error says little."""


@dataclass(frozen=True)
class Print:
    """One moving picture: what it is called, where it is from, and its probe."""

    label: str
    origin: str
    width: int
    height: int
    frame_rate: str
    frames: int
    duration: float
    sound: bool
    address: str | None = None
    """Where it can be looked at, if it came from the web."""


@dataclass(frozen=True)
class SyncSegment:
    """A stretch that both prints show without a break, in words; `unsure` marks a low confidence."""

    colour: str
    """First and last frame, and so on."""
    colour_time: str
    grey: str
    grey_time: str
    speed: str
    alike: str
    confidence: str
    unsure: bool = False


@dataclass(frozen=True)
class Sync:
    """What brought two prints together."""

    offset: int | None
    """Grey frame minus colour frame, if it is the same throughout."""
    pairs: int
    segments: int
    confidence: float
    """Mean over the pairs, 0 to 1."""
    residual_px: float | None
    truth_offset: int | None = None
    """For a made print: the offset that its recipe gave it, if it gave one."""
    seconds: float | None = None
    """The offset in seconds of the grey print, if both prints keep one clock."""
    plots: Mapping[str, Path] = field(default_factory=dict)
    """What a plot shows -> its picture."""
    rows: Sequence[SyncSegment] = ()
    """The segments, in the order of the colour print; none if they were not recorded."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Print -> what it has for itself, in words."""
    speeds: str = ""
    correlation: float | None = None
    share: float | None = None
    """Paired frames, of the shorter print's, 0 to 1."""
    kind: str = ""
    """How the colour picture lies on the grey one, in words."""
    agreement: Agreement | None = None
    """For a made print: how the found pairs compare with the true ones."""


@dataclass(frozen=True)
class Source:
    """What a dataset is made from."""

    name: str
    kind: str
    licence: str
    credit: str
    prints: Sequence[Print]
    sync: Sync | None = None
    collection: str = ""
    """Of clips or photographs: how many, how large, from where, in a sentence or two."""


@dataclass(frozen=True)
class Part:
    """One part of a split: frames in it, frames kept, and how many were dropped for which reason."""

    frames: int
    kept: int
    reasons: Mapping[str, int]


@dataclass(frozen=True)
class ModelResult:
    """One model on one dataset.

    `metrics` is metrics.json (split -> metric -> number), `epochs` epochs.json (epoch -> {"val_mse_ab@128": ...}), `curves`
    curves.json; pictures and video may be absent.
    """

    name: str
    parameters: int
    seconds: float
    device: str
    trained_epochs: int
    metrics: Mapping[str, Mapping[str, float]]
    epochs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Sequence[Mapping[str, float]] = ()
    sheets: Mapping[str, Path] = field(default_factory=dict)
    """Split -> sample sheet."""
    video: Path | None = None
    poster: Path | None = None
    trainable: bool = True


@dataclass(frozen=True)
class DatasetResult:
    """One experiment. `reference` is what ratios are taken to: its name, and split -> metric -> number."""

    name: str
    sources: Sequence[Source]
    size: tuple[int, int]
    """Height and width of a frame in pixels."""
    every: int
    parts: Mapping[str, Part]
    models: Sequence[ModelResult]
    reference: tuple[str, Mapping[str, Mapping[str, float]]] | None = None
    video: Path | None = None
    poster: Path | None = None
    filtering: Filtering | None = None


@dataclass(frozen=True)
class ReportData:
    """All that the page says."""

    datasets: Sequence[DatasetResult]
    version: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the table of figures: metric, heading, explanation, format, and which way is better (-1 low, 1 high)."""

    metric: str
    heading: str
    title: str
    form: str
    better: int
    ratio: bool = False


COLUMNS = (
    Column("mse_ab@128", "MSE ab", "Mean squared error of ab / 128 over all pixels", ".5f", -1),
    Column("mse_ab@128", "ratio", "The same, divided by the reference's", ".3f", -1, ratio=True),
    Column("mse_rgb_pm1", "MSE RGB", "Mean squared error of RGB in [-1, 1], 8 bits, over all pixels", ".5f", -1),
    Column("mse_rgb_pm1", "ratio", "The same, divided by the reference's", ".3f", -1, ratio=True),
    Column("psnr_rgb", "PSNR", "Peak signal-to-noise ratio of RGB in dB, mean over frames", ".2f", 1),
    Column("ssim", "SSIM", "Structural similarity, Gaussian window, mean over frames", ".4f", 1),
    Column("de2000", "ΔE₀₀", "CIEDE2000, mean over pixels", ".2f", -1),
    Column("cf", "Colourful", "Colourfulness after Hasler and Süsstrunk, mean over frames", ".1f", 0),
)


@dataclass(frozen=True)
class Cell:
    """A figure as the table shows it: text, the number to sort by, and whether it is its column's best."""

    text: str
    value: float | None
    best: bool = False


def build_page(data: ReportData, out: Path) -> None:
    """Write the page, atomically.

    Args:
        data: what it says. Paths may lie anywhere; the page links to them relative to its own folder.
        out: the HTML file.
    """
    out = Path(out)
    here = os.path.abspath(out.parent)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "duration": duration,
        "thousands": lambda number: f"{number:,}".replace(",", "\u202f"),
        "percent": percent,
        "spaced": lambda said: re.sub(r"(?<=\d),(?=\d{3})", "\u202f", said),
    }
    environment.globals |= {
        "link": lambda path: quote(os.path.relpath(os.path.abspath(path), here).replace(os.sep, "/")),
        "table": table,
        "parts": SPLITS,
        "folded": FOLDED,
        "columns": COLUMNS,
        "curves": _curves,
        "histogram": lambda dataset: Markup(histogram_svg(dataset.filtering, dataset.name)),
        "headline": headline,
        "colour": colours([model.name for dataset in data.datasets for model in dataset.models]),
        "epochs": chosen_epochs,
        "dropped": lambda dataset: sorted({reason for part in dataset.parts.values() for reason in part.reasons}),
        "sources": list({source.name: source for dataset in data.datasets for source in dataset.sources}.values()),
    }
    html = environment.get_template("page.html").render(data=data)
    with atomic_file(out) as temporary:
        temporary.write_text(html, encoding="utf-8")


def table(dataset: DatasetResult, split: str) -> list[tuple[ModelResult, list[Cell]]]:
    """The figures of one split: a row a model that has them, a cell for each of COLUMNS."""
    models = [model for model in dataset.models if split in model.metrics]
    reference = dataset.reference[1].get(split, {}) if dataset.reference else {}
    rows = []
    for model in models:
        values = []
        for column in COLUMNS:
            value = model.metrics[split].get(column.metric)
            if column.ratio and value is not None:
                base = reference.get(column.metric)
                value = value / base if base else None
            values.append(value)
        rows.append(values)
    best = [_best([row[place] for row in rows], column.better) for place, column in enumerate(COLUMNS)]
    cells = [
        [
            Cell("–" if value is None else format(value, column.form), value, value is not None and value == top)
            for value, column, top in zip(values, COLUMNS, best, strict=True)
        ]
        for values in rows
    ]
    return list(zip(models, cells, strict=True))


def _best(values: Sequence[float | None], better: int) -> float | None:
    there = [value for value in values if value is not None]
    if not better or len(set(there)) < 2:  # where all are equal, none is best
        return None
    return max(there) if better > 0 else min(there)


def headline(dataset: DatasetResult) -> str:
    """One sentence: what the best model leaves of the reference's ab error, on validation and on test."""
    if not dataset.reference:
        return ""
    name, reference = dataset.reference
    judged = next((split for split in ("val", "test", "train") if any(split in model.metrics for model in dataset.models)), None)
    if judged is None:
        return ""
    key = "mse_ab@128"
    best = min((model for model in dataset.models if judged in model.metrics), key=lambda model: model.metrics[judged][key])
    said = [
        f"{best.metrics[split][key] / reference[split][key]:.2f} on {SPLITS[split].lower()}"
        for split in ("val", "test")
        if split in best.metrics and reference.get(split, {}).get(key)
    ]
    if best.name == name or not said:
        return ""
    return f"Best is {best.name}, whose ab error is {' and '.join(said)} of that of {name}."


def chosen_epochs(dataset: DatasetResult) -> list[str]:
    """The epochs for which any model has an error, in order."""
    return sorted({epoch for model in dataset.models for epoch in model.epochs}, key=int)


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 3 min 20 s, 1 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def percent(share: float) -> str:
    """A share as a percentage that is 100 % or 0 % only where it is all or nothing."""
    said = f"{100 * share:.2f}"
    if said == "100.00" and share < 1:
        said = "over 99.99"
    elif said == "0.00":
        said = "0" if share == 0 else "under 0.01"
    return f"{said.removesuffix('.00')} %"


def curves_of(dataset: DatasetResult) -> Curves:
    """The dataset's curves for `plots`; a model that was not trained is a level line."""
    reference = None
    if dataset.reference and "val" in dataset.reference[1]:
        reference = (dataset.reference[0], dataset.reference[1]["val"]["mse_ab@128"])
    return Curves({model.name: model.curves for model in dataset.models if model.trainable and model.curves}, reference)


def _curves(dataset: DatasetResult, colour: Mapping[str, str]) -> list[tuple[str, Any]]:
    return [(title, Markup(svg)) for title, svg in curves_svg(curves_of(dataset), colour)]
