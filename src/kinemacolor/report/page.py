"""The page that shows it all: one HTML file that opens from disk, with everything inline but pictures and videos.

It takes plain values (results.py) and knows neither artefacts nor stages. Whatever comes from a user (names, credits, licences,
addresses) is escaped by the template; only our own curves, styles and script enter as markup. A policy in its head
lets a browser load nothing but pictures and videos beside it and run nothing but that script. No date stands on it, so
that equal results give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from PIL import Image

from kinemacolor.files import atomic_file
from kinemacolor.report import captions
from kinemacolor.report.figures import chosen_epochs, headline, paired, table
from kinemacolor.report.filtering import histogram_svg
from kinemacolor.report.plots import NEUTRAL, PALETTE, Curves, colours, curves_svg
from kinemacolor.report.results import SPLITS, DatasetResult, ReportData
from kinemacolor.report.segments import clock_words
from kinemacolor.report.timeline import LEFT_OUT, lane_path
from kinemacolor.report.words import duration, percent, spaced, thousands

FOLDED = 12
"""Rows above which a table of segments or of differences is folded away."""

GROUPS = {
    "main": "The main ones",
    "pixel": "Of pixels",
    "frame": "Of frames",
    "set": "Of sets of frames",
    "motion": "Of motion",
    "all": "All",
}
"""Which columns of the figures are shown: `Column.main`, `Column.of`, or all."""

_HERE = Path(__file__).parent
_LANES = {"train": NEUTRAL, "val": PALETTE[1], "test": PALETTE[0], LEFT_OUT: PALETTE[2]}


def build_page(data: ReportData, out: Path) -> None:
    """Write the page, atomically.

    Args:
        data: what it says. Paths may lie anywhere; the page links to them relative to its own folder.
        out: the HTML file.
    """
    out = Path(out)
    here = os.path.abspath(out.parent)

    def link(path: Path) -> str:
        return quote(os.path.relpath(os.path.abspath(path), here).replace(os.sep, "/"))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "thousands": thousands, "percent": percent, "spaced": spaced}
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    environment.globals |= {
        "style": Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "policy": _policy(script),
        "link": link,
        "shape": _shape,
        "table": lambda dataset, split: table(dataset, split, data.columns),
        "paired": lambda dataset, split: paired(dataset, split, data.columns),
        "parts": SPLITS,
        "groups": _groups(data),
        "folded": FOLDED,
        "columns": data.columns,
        "curves": _curves,
        "histogram": lambda dataset: Markup(histogram_svg(dataset.filtering, dataset.name)),
        "lanes": _LANES,
        "lane_path": lane_path,
        "clock": lambda seconds: clock_words(seconds, digits=0),
        "zip": zip,
        "panels": lambda moment: json.dumps({name: link(path) for name, path in moment.panels.items()}, sort_keys=True),
        "headline": headline,
        "caption": captions.of_all,
        "order": lambda dataset: captions.of_one(dataset.showing),
        "colour": colours([model.name for dataset in data.datasets for model in dataset.models]),
        "epochs": chosen_epochs,
        "externals": list(
            {model.name: model for dataset in data.datasets for model in dataset.models if model.external}.values()
        ),
        "dropped": lambda dataset: sorted({reason for part in dataset.parts.values() for reason in part.reasons}),
        "sources": list({source.name: source for dataset in data.datasets for source in dataset.sources}.values()),
    }
    html = environment.get_template("page.html").render(data=data)
    with atomic_file(out) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _shape(picture: Path | None) -> Markup:
    """A picture's size as attributes, so that what stands under it does not move when it comes; nothing if it is not there."""
    if picture is None or not picture.is_file():
        return Markup()
    with Image.open(picture) as image:
        return Markup(' width="{}" height="{}"').format(*image.size)


def _policy(script: str) -> str:
    """What a browser may load and run: files beside the page, styles in it, and this very script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    beside = "'self' file:"  # a page opened from disk has no origin of its own
    return f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src {beside} data:; media-src {beside}; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _groups(data: ReportData) -> dict[str, str]:
    """The choices of columns, where more are known than the main ones."""
    if all(column.main for column in data.columns):
        return {}
    known = {"main", "all", *(column.of for column in data.columns)}
    return {name: title for name, title in GROUPS.items() if name in known}


def curves_of(dataset: DatasetResult) -> Curves:
    """The dataset's curves for `plots`; a model that was not trained is a level line."""
    reference = None
    if dataset.reference and "val" in dataset.reference[1]:
        reference = (dataset.reference[0], dataset.reference[1]["val"]["mse_ab@128"])
    return Curves({model.name: model.curves for model in dataset.models if model.trainable and model.curves}, reference)


def _curves(dataset: DatasetResult, colour: Mapping[str, str]) -> list[tuple[str, Any]]:
    return [(title, Markup(svg)) for title, svg in curves_svg(curves_of(dataset), colour)]
