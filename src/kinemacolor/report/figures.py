"""Figures as tables show them: cells with their intervals, which is best, and differences between two models.

A difference is called one only where its interval leaves out nought: two models whose figures differ by chance are not ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kinemacolor.report.results import SPLITS, Column, DatasetResult, ModelResult, Paired
from kinemacolor.report.words import signed

_ERROR = "mse_ab@128"


@dataclass(frozen=True)
class Cell:
    """A figure as the table shows it: text, the number to sort by, whether it is its column's best, and its interval."""

    text: str
    value: float | None
    best: bool = False
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """The figures of one split.

    Attributes:
        columns: those that any model has a figure for.
        rows: (model, a cell a column).
        truth: the true pictures' own figures, a cell a column; none if nothing of them is known.
        frames: how many our models were measured on. A row of another number (of one source alone) is neither the best of a
            column nor divided by the reference's figure; None if nobody says.
    """

    columns: Sequence[Column]
    rows: Sequence[tuple[ModelResult, list[Cell]]]
    truth: Sequence[Cell] = ()
    frames: int | None = None


@dataclass(frozen=True)
class PairedCell:
    """A difference as the table shows it, and where it lies between the smallest and largest of its column, -1 to 1."""

    text: str
    interval: str
    verdict: str
    """`better` or `worse`, the first than the second; `apart` where they differ in what makes none of them better; `even` where the
    interval holds nought; `alike` where no digit differs."""
    shots: int
    mean: float
    low: float
    high: float


def table(dataset: DatasetResult, split: str, columns: Sequence[Column]) -> Table:
    """The figures of one split: a row a model that has any."""
    models = [model for model in dataset.models if split in model.metrics]
    frames, alike = _measured_alike(models, split)
    reference = dataset.reference[1].get(split, {}) if dataset.reference else {}
    found: list[tuple[Column, list[Cell], Cell]] = []
    for column in columns:
        base = reference.get(column.metric) if column.ratio else 1.0
        values = [model.metrics[split].get(column.metric) if base else None for model in models]
        values = [None if value is None else value / (base or 1.0) for value in values]
        if column.ratio:  # the reference's error is that on all frames
            values = [value if same else None for value, same in zip(values, alike, strict=True)]
        if all(value is None for value in values):
            continue
        best = _best([value for value, same in zip(values, alike, strict=True) if same], column)
        cells = [
            Cell(text := _written(value, column), value, same and text == best, _interval(model, split, column))
            for model, value, same in zip(models, values, alike, strict=True)
        ]
        # Of those measured on all frames first.
        truths = [
            model.metrics[split].get(f"{column.metric}_truth")
            for _, model in sorted(zip(alike, models, strict=True), key=lambda both: not both[0])
        ]
        true = next((value for value in truths if value is not None), None)
        found.append((column, cells, Cell("" if column.ratio else _written(true, column, none=""), true)))
    truth = [cell for *_, cell in found]
    return Table(
        [column for column, *_ in found],
        [(model, [cells[place] for _, cells, _ in found]) for place, model in enumerate(models)],
        truth if any(cell.value is not None for cell in truth) else (),
        frames,
    )


def _measured_alike(models: Sequence[ModelResult], split: str) -> tuple[int | None, list[bool]]:
    """How many frames our models were measured on, or else the first result, and whether each result was on as many."""
    counts = [model.metrics[split].get("frames") for model in models]
    frames = next((count for model, count in zip(models, counts, strict=True) if not model.external), next(iter(counts), None))
    return None if frames is None else int(frames), [count == frames for count in counts]


def _written(value: float | None, column: Column, *, none: str = "–") -> str:
    return none if value is None else format(value, column.form)


def _interval(model: ModelResult, split: str, column: Column) -> str:
    """A ratio has none: that of its figure, divided by a figure that is as uncertain, would be too narrow or too wide."""
    bounds = None if column.ratio else model.intervals.get(split, {}).get(column.metric)
    if bounds is None:
        return ""
    return (" to " if min(bounds) < 0 else "–").join(format(bound, column.form) for bound in bounds)


def _best(values: Sequence[float | None], column: Column) -> str | None:
    """The best figure as it is written: who is better by less than that is not better."""
    there = [value for value in values if value is not None]
    if not column.better or len({_written(value, column) for value in there}) < 2:  # where all are equal, none is best
        return None
    return _written(max(there) if column.better > 0 else min(there), column)


def paired(
    dataset: DatasetResult, split: str, columns: Sequence[Column]
) -> tuple[list[Column], list[tuple[Paired, list[PairedCell | None]]]]:
    """Differences between two models on one split: the columns, and a row a pair of models with a cell a column."""
    said = [one for one in dataset.paired if one.split == split]
    shown = [column for column in columns if not column.ratio and any(one.metric == column.metric for one in said)]
    widest = {
        column.metric: max(max(abs(one.low), abs(one.high), abs(one.mean)) for one in said if one.metric == column.metric)
        for column in shown
    }
    rows: dict[tuple[str, str], dict[str, Paired]] = {}
    for one in said:
        rows.setdefault((one.first, one.second), {})[one.metric] = one
    return shown, [
        (
            next(iter(pair.values())),
            [_paired(pair.get(column.metric), column, widest[column.metric]) for column in shown],
        )
        for pair in rows.values()
    ]


def _paired(one: Paired | None, column: Column, widest: float) -> PairedCell | None:
    if one is None:
        return None
    said, verdict = signed(one.mean, column.form), "even"
    if said[0] not in "+−" and signed(one.low, column.form) == signed(one.high, column.form):
        verdict = "alike"
    elif said[0] in "+−" and (one.low > 0 or one.high < 0):
        verdict = ("better" if (one.mean > 0) == (column.better > 0) else "worse") if column.better else "apart"
    mean, low, high = (value / (widest or 1.0) for value in (one.mean, one.low, one.high))
    bounds = f"{signed(one.low, column.form)} to {signed(one.high, column.form)}"
    return PairedCell(said, bounds, verdict, one.shots, mean, low, high)


def headline(dataset: DatasetResult) -> str:
    """One sentence: what the best model leaves of the reference's ab error, on validation and on test."""
    if not dataset.reference:
        return ""
    name, reference = dataset.reference
    judged = next((split for split in SPLITS if any(_ERROR in model.metrics.get(split, {}) for model in dataset.models)), None)
    if judged is None:
        return ""
    there = [model for model in dataset.models if judged in model.metrics]
    alike = _measured_alike(there, judged)[1]
    there = [model for model, same in zip(there, alike, strict=True) if same and _ERROR in model.metrics[judged]]
    if not there:
        return ""
    best = min(there, key=lambda model: model.metrics[judged][_ERROR])
    said = [
        f"{best.metrics[split][_ERROR] / reference[split][_ERROR]:.2f} on {SPLITS[split].lower()}"
        for split in ("val", "test")
        if _ERROR in best.metrics.get(split, {}) and reference.get(split, {}).get(_ERROR)
    ]
    if best.name == name or not said:
        return ""
    return f"Best is {best.name}, whose ab error is {' and '.join(said)} of that of {name}."


def chosen_epochs(dataset: DatasetResult) -> list[str]:
    """The epochs for which any model has an error, in order."""
    return sorted({epoch for model in dataset.models for epoch in model.epochs}, key=int)
