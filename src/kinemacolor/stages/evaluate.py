"""Stage `evaluate`: how well a model colours the frames of each split, in figures and in pictures.

Every kept frame of every split is coloured once, in batches and in evaluation mode, and measured by `metrics.pixel`; what
the network is given is L* of the grey print where there is one, and L* of the true frame elsewhere. Memory holds one batch,
a row of figures a frame and the few frames of the sample sheets, so it does not grow with the film.

A model with a memory is given the frames of each split in the order of the index, run by run as in training
(frames/runs.py): what it remembers is forgotten at cuts, gaps, clips and parts.

By hand, for any two videos or folders of pictures, the same measures are `evaluate_files`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kinemacolor import colorize, tracking
from kinemacolor.colour import grey_rgb, lab_to_rgb, lightness_of_grey, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, read_json, write_json
from kinemacolor.frames import runs
from kinemacolor.frames.index import FrameStore, located, open_stores
from kinemacolor.metrics.files import evaluate_files
from kinemacolor.metrics.pixel import SSIM_WINDOW, PixelMetrics
from kinemacolor.params import EvaluateParams
from kinemacolor.report.sheets import Row, clock, sheet

__all__ = ["Evaluation", "epochs_table", "evaluate_files", "evaluate_frames", "evaluate_model", "spread"]

SPLITS = ("train", "val", "test")
_SHEETS = {"val": "validation", "test": "test"}
_BATCH_PIXELS = 2**18  # 64 frames of 64 x 64: some 100 MB of float64 planes while they are measured


class Colours(Protocol):
    """What evaluation needs of a model; `colorize.Colorizer` is one."""

    name: str
    device: torch.device
    remembers: bool

    def reset(self) -> None:
        """Forget all frames."""

    def __call__(self, lightness: Tensor, starts: Tensor | None = None) -> Tensor:
        """L* (B,1,H,W) to Lab (B,3,H,W), on the device of the input; `starts` is given if the model remembers."""


@dataclass(frozen=True)
class Evaluation:
    """What a model did on a dataset.

    Attributes:
        metrics: split -> metric -> number; a split without frames is absent.
        frames: source, frame, time, split and the figures of each frame.
        samples: split -> rows of its sample sheet, validation and test only.
    """

    metrics: dict[str, dict[str, float]]
    frames: pd.DataFrame
    samples: dict[str, list[Row]]


def evaluate_model(model: Path, frames: list[Path], filter_table: Path, *, params: EvaluateParams, out: Path) -> dict[str, Any]:
    """Evaluate a trained model on its dataset and write its part of the report.

    Args:
        model: folder with the weights, meta.json and curves.json.
        frames: one folder of shards and index a source.
        filter_table: the dataset's filter Parquet; only rows with `keep` count.
        params: epochs of the error table, number of samples.
        out: folder, made if need be; other files in it stay. Each file is written atomically, metrics.json last:
            frames.parquet, epochs.json, sheet_val.png and sheet_test.png (where the split has frames).

    Returns:
        What metrics.json holds: split, then metric, then number (see `PixelMetrics.pooled`), with height and width.

    Raises:
        UserError: an artefact is missing, artefacts do not fit each other, no frame is kept, frames are too small for
            SSIM, or the model gives values that are no numbers.
    """
    if not Path(filter_table).is_file():
        raise UserError(f"{filter_table} is missing: run the filter stage.")
    colorizer = colorize.load(model)
    curves = read_json(Path(model) / "curves.json", "train the model")
    stores = list(open_stores(frames).values())
    found = evaluate_frames(colorizer, stores, pd.read_parquet(filter_table), samples=params.samples)

    # What a stopped evaluation leaves must not look whole: its figures go first and come back last.
    (Path(out) / "metrics.json").unlink(missing_ok=True)
    for split, title in _SHEETS.items():
        target = Path(out) / f"sheet_{split}.png"
        target.unlink(missing_ok=True)  # a sheet of an earlier run must not outlive its split
        if rows := found.samples.get(split):
            counted = f"{len(rows)} of {found.metrics[split]['frames']} frames"
            remark = "ΔE is the mean CIEDE2000 of the frame, dB the PSNR of its 8-bit RGB."
            sheet(rows, target, title=f"{colorizer.name} on {Path(filter_table).stem}, {title}: {counted}", remark=remark)
    with atomic_file(Path(out) / "frames.parquet") as temporary:
        found.frames.to_parquet(temporary, index=False)
    write_json(Path(out) / "epochs.json", epochs_table(curves, params.epochs))
    write_json(Path(out) / "metrics.json", found.metrics)
    _track(colorizer.meta, found.metrics, Path(out))
    return found.metrics


def _track(meta: Mapping[str, Any], metrics: Mapping[str, Mapping[str, float]], out: Path) -> None:
    """Log figures and sheets into the run that trained the model; MLflow has a copy of what is on the disk by now."""
    run = tracking.of_model(meta)
    run.metrics({f"{split}/{name}": value for split, figures in metrics.items() for name, value in figures.items()})
    for split in _SHEETS:
        if (picture := out / f"sheet_{split}.png").is_file():
            run.file(picture, "pictures")


def evaluate_frames(colorizer: Colours, stores: Sequence[FrameStore], table: pd.DataFrame, *, samples: int = 12) -> Evaluation:
    """Colour and measure every kept frame of each split.

    Args:
        colorizer: the model.
        stores: one a source, in any order.
        table: source, frame, split, keep; and cut, for a model with a memory.
        samples: rows of a sample sheet, spread evenly over the split.

    Raises:
        UserError: as `evaluate_model`, files aside.
    """
    rows = _rows_to_measure(stores, table)
    metrics: dict[str, dict[str, float]] = {}
    tables, sheets = [], {}
    for split in SPLITS:
        part = rows[rows["split"] == split].sort_values(["source", "at"], ignore_index=True)
        if part.empty:
            continue
        if colorizer.remembers:
            part["starts"] = runs.begins(part)
            colorizer.reset()
        wanted = set(spread(len(part), samples)) if split in _SHEETS else set()
        pool = PixelMetrics()
        measured: list[dict[str, np.ndarray]] = []
        for at, batch in _batches(part):
            store, chosen = stores[batch["store"].iloc[0]], [index for index in range(len(batch)) if at + index in wanted]
            values, shown = _measure(colorizer, store, batch, pool, chosen)
            measured.append(values)
            sheets.setdefault(split, []).extend(shown)
        figures = pd.DataFrame({name: np.concatenate([values[name] for values in measured]) for name in measured[0]})
        tables.append(pd.concat([part[["source", "frame", "time", "split"]], figures], axis=1))
        metrics[split] = pool.pooled() | {name: int(part[name].iloc[0]) for name in ("height", "width")}
    return Evaluation(metrics, pd.concat(tables, ignore_index=True), {split: shown for split, shown in sheets.items() if shown})


def epochs_table(curves: Sequence[Mapping[str, Any]], epochs: Sequence[int]) -> dict[str, dict[str, float]]:
    """The losses at chosen epochs, as {"10": {"train_loss": ..., "val_loss": ..., "val_mse_ab@128": ...}}.

    Args:
        curves: what training wrote, one entry an epoch, counted from 1.
        epochs: those wanted; an epoch that was not reached is absent.
    """
    names = ("train_loss", "val_loss", "val_mse_ab@128")
    reached = {int(entry["epoch"]): entry for entry in curves}
    chosen = [epoch for epoch in epochs if epoch in reached]
    return {str(epoch): {name: reached[epoch][name] for name in names if name in reached[epoch]} for epoch in chosen}


def spread(count: int, wanted: int) -> list[int]:
    """Positions of min(count, wanted) of `count` things, each in the middle of its equal share, increasing."""
    wanted = min(count, wanted)
    return [(2 * index + 1) * count // (2 * wanted) for index in range(wanted)]


def _rows_to_measure(stores: Sequence[FrameStore], table: pd.DataFrame) -> pd.DataFrame:
    """The kept rows of the filter table with where each frame lies: `store` and `at`, its place in the index."""
    kept = table.loc[table["keep"], [name for name in ("source", "frame", "split", "cut") if name in table]]
    if kept.empty:
        raise UserError("The filter leaves no frame of the dataset: lower datasets.<name>.filter, or take more frames.")
    rows = located(kept, stores)
    if rows[["height", "width"]].min().min() < SSIM_WINDOW:
        raise UserError(
            f"SSIM needs frames of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels: set datasets.<name>.frames.size to that or more."
        )
    return rows


def _batches(part: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Consecutive rows that lie in one store, as many as `_BATCH_PIXELS` holds, each with the place of its first row."""
    size = max(1, min(64, _BATCH_PIXELS // int((part["height"] * part["width"]).max())))
    borders = np.flatnonzero(np.diff(part["store"].to_numpy())) + 1
    for begin, end in zip([0, *borders], [*borders, len(part)], strict=True):
        for at in range(begin, end, size):
            yield at, part.iloc[at : min(at + size, end)]


@torch.inference_mode()
def _measure(
    colorizer: Colours, store: FrameStore, batch: pd.DataFrame, pool: PixelMetrics, wanted: Sequence[int]
) -> tuple[dict[str, np.ndarray], list[Row]]:
    """Colour a batch; its figures, and the rows of a sheet for those of its frames that are `wanted`."""
    places = batch["at"].to_numpy()
    true = torch.from_numpy(store.colour(places)).to(colorizer.device)
    if store.is_pair:
        lightness = lightness_of_grey(torch.from_numpy(store.grey(places)).to(colorizer.device))
    else:
        lightness = rgb_to_lab(true)[:, :1]
    starts = torch.tensor(batch["starts"].tolist()) if colorizer.remembers else None
    predicted = colorizer(lightness) if starts is None else colorizer(lightness, starts)
    sound = torch.isfinite(predicted).flatten(1).all(dim=1)
    if not bool(sound.all()):
        bad = batch.iloc[int((~sound).nonzero()[0])]
        raise UserError(
            f"The model {colorizer.name} gives values that are no numbers (frame {bad['frame']} of {bad['source']}): "
            "train it again with a lower learning rate."
        )
    values = pool.update(predicted, true)
    rows = []
    for index in wanted:
        frame = batch.iloc[index]
        pictures = [
            ("grey", to_uint8(grey_rgb(lightness[index]))),
            (colorizer.name, to_uint8(lab_to_rgb(predicted[index]))),
            ("true", true[index]),
        ]
        rows.append(
            Row(
                pictures=[(heading, picture.permute(1, 2, 0).cpu().numpy()) for heading, picture in pictures],
                caption=f"{frame['source']}  {clock(frame['time'])}  (frame {frame['frame']})",
                notes={colorizer.name: f"ΔE {values['de2000'][index]:.1f}   {values['psnr_rgb'][index]:.1f} dB"},
            )
        )
    return values, rows
