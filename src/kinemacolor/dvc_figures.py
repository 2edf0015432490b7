"""What `dvc metrics` and `dvc plots` show: figures, curves of all models on one chart, and pictures, for dvc.yaml.

DVC overlays what one plot names together and sets commits beside each other, so curves stand in one plot a dataset, not one a
model. It gives up on a whole plot in which one file lacks a column, so a file is named only where it holds what is plotted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kinemacolor.params import AnySplit, Params

UNTRAINED = ("naive",)
"""Families without anything to train: their curve is one row, of epoch 0, without a training loss, and the other loss says nothing."""

_CURVES = {
    "val_error": ("val_mse_ab@128", "validation error of all models", "MSE of ab / 128"),
    "val_loss": ("val_loss", "validation loss, each model in its own colour coding", "loss"),
    "train_loss": ("train_loss", "training loss, each model in its own colour coding", "loss"),
}
"""End of a plot's name -> column of curves.json, end of the title, label."""
_PARTS = ("train", "val", "test")
_PICTURES = ("sheet", "extremes")
"""Of validation and test: `sheet_val.png` and so on, as `evaluate` writes them."""


def figures(jobs: Iterable[Mapping[str, Any]], chosen: Params) -> tuple[list[str], list[Any]]:
    """The sections `metrics` and `plots` of dvc.yaml.

    Args:
        jobs: of the DAG, each with `rule` and `outputs`.
        chosen: what the DAG was made from.

    Returns:
        Files of figures; and plots, each a path or a mapping of a name to its description.
    """
    metrics: list[str] = []
    curves: dict[str, dict[str, str]] = {}
    pictures: list[str] = []
    for job in jobs:
        match job["rule"]:
            case "evaluate":
                folder = next(Path(out) for out in job["outputs"] if not Path(out).suffix)
                metrics.append(f"{folder}/metrics.json")
                parts = [part for part in parts_of(chosen.datasets[folder.parent.name].split) if part != "train"]
                pictures += [f"{folder}/{kind}_{part}.png" for kind in _PICTURES for part in parts]
            case "train":
                folder = Path(job["outputs"][0])
                curves.setdefault(folder.parent.name, {})[folder.name] = f"{folder}/curves.json"
            case "render" | "compare":
                pictures += [out for out in job["outputs"] if out.endswith(".png")]
    plots: list[Any] = []
    for dataset, files in curves.items():
        for end, (column, title, label) in _CURVES.items():
            if column.startswith("val_") and "val" not in parts_of(chosen.datasets[dataset].split):
                continue
            shown = {
                file: column
                for model, file in files.items()
                if not column.endswith("loss") or chosen.models[model].family not in UNTRAINED
            }
            if shown:
                about = {"x": "epoch", "y": shown, "title": f"{dataset}: {title}", "x_label": "epoch", "y_label": label}
                plots.append({f"{dataset}_{end}": about})
    return metrics, plots + pictures


def parts_of(split: AnySplit) -> list[str]:
    """Parts of a dataset that have frames."""
    if split.fractions is None:
        return list(_PARTS)
    return [part for part, share in zip(_PARTS, split.fractions, strict=True) if share > 0 or part in split.sources.values()]
