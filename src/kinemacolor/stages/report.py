"""report: gathers what the other stages wrote and writes the page and its pictures.

Figures come from the artefacts as they stand. Computed are only differences between two models, and, where no `naive` model
was trained, the error of an uncoloured picture, so that ratios always have the same meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import kinemacolor
from kinemacolor.findings import datasets, judging, models
from kinemacolor.findings.sources import source
from kinemacolor.report import page
from kinemacolor.report.album import Album
from kinemacolor.report.alone import write_alone
from kinemacolor.report.plots import colours
from kinemacolor.report.results import DatasetResult, ReportData


def report(
    experiments: Mapping[str, Sequence[str]],
    *,
    external: Mapping[str, Sequence[str]] | None = None,
    data: Path,
    reports: Path,
    out: Path,
    alone: Path | None = None,
) -> ReportData:
    """Write `out`, and beside it the folder `pictures` with stills, sync plots and curves, all small enough for git.

    Args:
        experiments: dataset -> models, in the order of the page.
        external: dataset -> what other programs made of its source, by name; rows beside the models'.
        data: folder that holds raw/, sync/, frames/, filter/, models/, render/ and compare/.
        reports: folder that holds <dataset>/<model>/ with metrics.json, intervals.json, epochs.json, frames.parquet and the
            sheets.
        out: the page, reports/index.html.
        alone: the same page as one file with its pictures inside and without the videos; none is written if None.

    Returns:
        All that the page says.

    Raises:
        UserError: an artefact is missing. Videos may be: the page then shows their stills. So may what earlier versions
            did not write: intervals, shots, sheets of extremes, stills to wipe between.
    """
    data, reports, out = Path(data), Path(reports), Path(out)
    album = Album(out.parent / "pictures")
    found = [_dataset(name, names, (external or {}).get(name, ()), data, reports, album) for name, names in experiments.items()]
    colour = colours([model.name for dataset in found for model in dataset.models])
    album.write({dataset.name: page.curves_of(dataset) for dataset in found}, colour)
    measured = {name for dataset in found for model in dataset.models for split in model.metrics.values() for name in split}
    gathered = ReportData(found, kinemacolor.__version__, judging.columns(measured))
    page.build_page(gathered, out)
    if alone is not None:
        write_alone(out, alone)
    return gathered


def _dataset(name: str, names: Sequence[str], others: Sequence[str], data: Path, reports: Path, album: Album) -> DatasetResult:
    filtered = data / "filter" / f"{name}.parquet"
    table = datasets.filter_table(filtered)
    sources = list(dict.fromkeys(table["source"]))
    indexes = {one: data / "frames" / name / one / "index.parquet" for one in sources}
    facts = datasets.facts(indexes[sources[0]])
    results = [models.model(name, model, data, reports, album) for model in names]
    reference = next((("naive", result.metrics) for result in results if result.name == "naive"), None)
    if reference is None:
        reference = ("grey", judging.grey_error(datasets.stores_of(data, name, sources), table))
    return DatasetResult(
        name=name,
        sources=[source(one, data, album) for one in sources],
        size=tuple(facts["size"]),
        every=facts["every"],
        parts=datasets.parts(table),
        models=[*results, *(models.external(name, other, reports) for other in others)],
        reference=reference,
        video=models.there(data / "compare" / f"{name}.mp4"),
        poster=album.copy(data / "compare" / f"{name}.png", f"{name}/comparison.png"),
        filtering=datasets.filtering(
            filtered, lambda grey: album.draw(f"{name}/filter.png", partial(datasets.draw_narrowest, name, data, grey=grey))
        ),
        paired=judging.differences({one: reports / name / one for one in (*names, *others)}),
        stills=datasets.stills(data / "compare" / f"{name}_stills", name, album, order=[*names, *others]),
        showing=datasets.showing(data / "compare" / f"{name}_stills"),
        lines=[datasets.time_line(one, index, table) for one, index in indexes.items()],
    )
