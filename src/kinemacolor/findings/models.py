"""A model as the page shows it: its figures, sheets and video, and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kinemacolor.files import read_json
from kinemacolor.report.album import Album
from kinemacolor.report.results import Making, ModelResult
from kinemacolor.report.words import duration, energy

_SPLITS = ("val", "test")
_EVALUATE = "run the evaluate stage"


def model(dataset: str, name: str, data: Path, reports: Path, album: Album) -> ModelResult:
    """A trained model on a dataset; the still of its video goes into `album`.

    Raises:
        UserError: its meta.json, curves or figures are missing.
    """
    folder, shown = data / "models" / dataset / name, reports / dataset / name
    meta = read_json(folder / "meta.json", "run the train stage")
    return ModelResult(
        name=name,
        parameters=int(meta["parameters"]),
        seconds=float(meta["seconds"]),
        device=str(meta["device"]),
        trained_epochs=int(meta.get("epochs", 0)),
        metrics=read_json(shown / "metrics.json", _EVALUATE),
        epochs=read_json(shown / "epochs.json", _EVALUATE),
        curves=read_json(folder / "curves.json", "run the train stage"),
        sheets=_sheets(shown, "sheet"),
        video=there(data / "render" / dataset / f"{name}.mp4"),
        poster=album.copy(data / "render" / dataset / f"{name}.png", f"{dataset}/posters/{name}.png"),
        trainable=bool(meta.get("trainable", meta["parameters"])),
        intervals=_intervals(shown),
        extremes=_sheets(shown, "extremes"),
        making=making(meta),
    )


def external(dataset: str, name: str, reports: Path) -> ModelResult:
    """What another program made of a dataset's source: figures and sheets, and what external.json says of it.

    Raises:
        UserError: its figures are missing.
    """
    shown = reports / dataset / name
    about = read_json(shown / "external.json", _EVALUATE) if (shown / "external.json").is_file() else {}
    told = {"Coloured by": "credit", "Licence": "licence", "Given as": "kind", "SHA-256": "sha256"}
    facts = {title: str(about[key]) for title, key in told.items() if about.get(key)}
    return ModelResult(
        name=name,
        parameters=0,
        seconds=0.0,
        device="",
        trained_epochs=0,
        metrics=read_json(shown / "metrics.json", _EVALUATE),
        sheets=_sheets(shown, "sheet"),
        trainable=False,
        intervals=_intervals(shown),
        extremes=_sheets(shown, "extremes"),
        making=Making(facts) if facts else None,
        external=True,
        credit=str(about.get("credit", "")),
        licence=str(about.get("licence", "")),
    )


def making(meta: Mapping[str, Any]) -> Making:
    """What made a model, by its meta.json; what that does not tell, or what was not used, is not said."""
    epochs, best = int(meta.get("epochs", 0)), meta.get("best_epoch")
    size, joules = meta.get("size"), meta.get("energy_joules")
    devices, memory = int(meta.get("devices") or 1), meta.get("device_memory")
    said = {
        "Colour coding": meta.get("coding"),
        "Loss": meta.get("loss"),
        "Trained at": f"{size[1]}×{size[0]} pixels" if size else None,
        "Epochs": f"{epochs}, of which no. {best} had the least validation loss" if epochs and best else epochs or None,
        "Seed": meta.get("seed"),
        "Device": " ".join(str(part) for part in (meta.get("device"), f"× {devices}" if devices > 1 else None) if part),
        "Precision": meta.get("precision"),
        "Memory of the device": f"{memory:g} MiB at most" if memory else None,
        "Time": duration(float(meta["seconds"])) if epochs else None,
        "Energy": energy(float(joules)) if joules else None,
        "Commit": meta.get("git_commit"),
        "MD5 of the data": meta.get("data_md5"),
        "Hash of the params": meta.get("params_hash"),
        "MLflow run": meta.get("mlflow_run_id"),
        "Stopped": meta.get("stopped"),
    }
    facts = {key: str(value) for key, value in said.items() if value not in (None, "")}
    settings = yaml.safe_dump(meta["params"], sort_keys=True, allow_unicode=True) if meta.get("params") else ""
    return Making(facts, settings)


def _sheets(folder: Path, kind: str) -> dict[str, Path]:
    return {split: sheet for split in _SPLITS if (sheet := there(folder / f"{kind}_{split}.png"))}


def _intervals(folder: Path) -> Mapping[str, Any]:
    """None for figures of a version that gave none."""
    return read_json(folder / "intervals.json", _EVALUATE) if (folder / "intervals.json").is_file() else {}


def there(path: Path) -> Path | None:
    """The path of a file that exists."""
    return path if path.is_file() else None
