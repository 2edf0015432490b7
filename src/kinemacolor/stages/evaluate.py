"""Stage `evaluate`: how well a model colours the frames of each split, in figures and in pictures.

It opens what the other stages made, has evaluation/ do the work, and writes the dataset's part of the report. What another
program coloured (stage `external`) is evaluated here too, on the same frames and into the same files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kinemacolor import colorize, tracking
from kinemacolor.errors import UserError
from kinemacolor.evaluation import files, showing
from kinemacolor.evaluation.measuring import load_tools
from kinemacolor.evaluation.moving import evaluate_stretches
from kinemacolor.evaluation.painters import Network, Painter, Recorded
from kinemacolor.evaluation.splits import evaluate_frames
from kinemacolor.files import atomic_file, checked_name, read_json, write_json
from kinemacolor.frames.index import FrameStore, open_stores
from kinemacolor.frames.stretches import Stretch, open_stretches
from kinemacolor.media.progress import shown
from kinemacolor.metrics.intervals import intervals, shots_table
from kinemacolor.metrics.names import METRICS, metric
from kinemacolor.params import EvaluateParams

EXTERNAL = "external.json"
"""The file by which a folder that `external` wrote is known; of its figures, the file beside them that says whose they are."""
_TOLD = ("name", "source", "licence", "credit", "sha256")
Figures = dict[str, dict[str, float]]
Intervals = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Inputs:
    """What the frames of a dataset are judged on and with.

    Attributes:
        frames: one folder of shards and index a source.
        filter_table: the dataset's filter Parquet; only rows with `keep` count.
        motion: folders that `motion` wrote, one a source; without them there are no figures of motion.
        lpips, features: folders that `weights` wrote, of an LPIPS network and of an encoder; without them, no such figures.
    """

    frames: Sequence[Path]
    filter_table: Path
    motion: Sequence[Path] = ()
    lpips: Path | None = None
    features: Path | None = None

    @property
    def dataset(self) -> str:
        """Its name."""
        return Path(self.filter_table).stem

    def table(self) -> pd.DataFrame:
        """The filter table."""
        if not Path(self.filter_table).is_file():
            raise UserError(f"{self.filter_table} is missing: run the filter stage.")
        return pd.read_parquet(self.filter_table)


def evaluate_model(model: Path, inputs: Inputs, *, params: EvaluateParams, out: Path) -> Figures:
    """Evaluate a trained model on its dataset and write its part of the report.

    Args:
        model: folder with the weights, meta.json and curves.json.
        params: epochs of the error table, number of samples, draws of the intervals.
        out: folder, made if need be; other files in it stay. Each file is written atomically, metrics.json last: metrics.json
            (split, then metric, then number, as metrics/names.py explains), intervals.json (split, then metric, then low and
            high), frames.parquet (a row a frame), shots.parquet (a row a shot), epochs.json, and for validation and test
            sheet_<split>.png and extremes_<split>.png.

    Returns:
        What metrics.json holds.

    Raises:
        UserError: an artefact is missing, artefacts do not fit each other, no frame is kept, frames are too small for
            a measure, or the model gives values that are no numbers.
    """
    table = inputs.table()
    colorizer = colorize.load(model)
    curves = read_json(Path(model) / "curves.json", "train the model")
    painter = Network(colorizer)
    stores, stretches = list(open_stores(inputs.frames).values()), open_stretches(inputs.motion)
    metrics, bounds = _evaluated((painter, painter), stores, stretches, table, inputs, params, Path(out), curves)
    _track(tracking.of_model(colorizer.meta), metrics, bounds, Path(out))
    return metrics


def evaluate_external(result: Path, inputs: Inputs, *, params: EvaluateParams, out: Path) -> Figures:
    """Evaluate another program's result on the frames of a dataset, and write the same files as for a model.

    Args:
        result: folder that `external` wrote.
        inputs: as for a model; frames of sources that the program did not colour are left out.

    Other arguments, what is written, returned and raised: as `evaluate_model`; epochs.json is empty, and external.json lies beside
    the other files. Raised too if `result` is no such folder, or was made for other frames than these.
    """
    about = _about(result)
    table, source = inputs.table(), about["source"]
    stores = open_stores(inputs.frames)
    if source not in stores:
        raise UserError(f"{result} shows {source}, of whose frames no folder was given: name it.")
    _refuse_other_frames(result, about, "frames", stores[source])
    stretches = [stretch for stretch in open_stretches(inputs.motion) if stretch.source == source]
    if stretches:
        if not (Path(result) / "motion").is_dir():
            raise UserError(f"{result} has no consecutive frames: run the external stage again.")
        _refuse_other_frames(result, about, "motion", stretches[0].store)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    painters = [
        Recorded(about["name"], {source: FrameStore(folder)}, device=device)
        for folder in (Path(result) / "frames", Path(result) / "motion")
        if folder.is_dir()
    ]
    both = (painters[0], painters[-1])
    metrics, bounds = _evaluated(both, list(stores.values()), stretches, table, inputs, params, Path(out), [], about=about)
    tags = {name: str(about[name]) for name in ("licence", "credit", "sha256")}
    _track(tracking.of_external(inputs.dataset, about["name"], tags=tags), metrics, bounds, Path(out))
    return metrics


def _about(result: Path) -> dict[str, Any]:
    """What `external` says of a folder that it wrote; the report's folder of such a result holds the same file, and no frames."""
    about = read_json(Path(result) / EXTERNAL, "run the external stage")
    known = isinstance(about, dict) and all(isinstance(about.get(key), str) for key in _TOLD)
    if not known or not isinstance(about.get("indexes"), dict) or not (Path(result) / "frames" / "index.parquet").is_file():
        raise UserError(f"{result} is no folder that the external stage wrote: name that one, or run the stage again.")
    checked_name(about["name"], "external result")
    return about


def _refuse_other_frames(result: Path, about: Mapping[str, Any], part: str, store: FrameStore) -> None:
    """Frames that were taken anew, with another size, fit or alignment, may have the numbers of those before."""
    if about["indexes"].get(part) != store.sha256:
        raise UserError(f"{result} was made for other frames than {store.folder} holds: run the external stage again.")


def _evaluated(
    painters: tuple[Painter, Painter],
    stores: Sequence[FrameStore],
    stretches: Sequence[Stretch],
    table: pd.DataFrame,
    inputs: Inputs,
    params: EvaluateParams,
    out: Path,
    curves: Sequence[Mapping[str, Any]],
    *,
    about: Mapping[str, Any] | None = None,
) -> tuple[Figures, Intervals]:
    """Evaluate who colours the frames and who colours the stretches, and write everything.

    `about` is what `external` says of a result of another program, whose source alone is then measured.
    """
    painter, mover = painters
    _pin(painter.device)
    tools = load_tools(inputs.lpips, inputs.features, device=painter.device)
    with shown(f"evaluate {painter.name}") as progress:
        found = evaluate_frames(
            painter,
            stores,
            table,
            tools=tools,
            samples=params.samples,
            source=None if about is None else about["source"],
            progress=progress,
        )
        moved, motion = evaluate_stretches(mover, stretches, found.frames)
    metrics = {split: figures | moved.get(split, {}) for split, figures in found.metrics.items()}
    shots = shots_table(found.frames, motion)
    bounds = intervals(shots, draws=params.draws)

    # What a stopped evaluation leaves must not look whole: its figures go first and come back last.
    (out / "metrics.json").unlink(missing_ok=True)
    counts = {split: int(figures["frames"]) for split, figures in metrics.items()}
    showing.draw_sheets(out, painter.name, inputs.dataset, found.samples, found.extremes, counts)
    _write_tables(out, found.frames, shots)
    write_json(out / "epochs.json", epochs_table(curves, params.epochs))
    write_json(out / "intervals.json", bounds)
    if about is None:
        (out / EXTERNAL).unlink(missing_ok=True)  # of another program's result that stood here before
    else:
        write_json(out / EXTERNAL, about)
    write_json(out / "metrics.json", metrics)
    return metrics, bounds


def _pin(device: torch.device) -> None:
    """Sums round differently with another number of threads, and equal inputs are to give equal bytes."""
    if device.type == "cpu":
        torch.set_num_threads(1)


def compare_files(
    predicted: Path,
    truth: Path,
    *,
    out: Path | None = None,
    size: tuple[int, int] | None = None,
    lpips: Path | None = None,
    features: Path | None = None,
    allow_truncated: bool = False,
    draws: int = 2000,
) -> files.Compared:
    """Measure any coloured video or folder of pictures against the true one, on the GPU if there is one.

    Args:
        out: folder, made if need be, for metrics.json, intervals.json, frames.parquet and shots.parquet in the form of a model's,
            with `all` for the split; None writes nothing.
        lpips, features: as `Inputs`.
        size, allow_truncated, draws: as `evaluation.files.evaluate_files`, which says what is measured and raised.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _pin(device)
    tools = load_tools(lpips, features, device=device)
    how = {"size": size, "allow_truncated": allow_truncated, "draws": draws}
    with shown(f"evaluate {Path(predicted).name}") as progress:
        found = files.evaluate_files(predicted, truth, tools=tools, device=device, progress=progress, **how)
    if out is not None:
        out = Path(out)
        _write_tables(out, found.frames, found.shots)
        write_json(out / "intervals.json", {files.ALL: found.intervals})
        write_json(out / "metrics.json", {files.ALL: found.metrics})
    return found


def figures_table(found: files.Compared) -> str:
    """The figures to be read on a terminal: name, number, interval and what it is, a line each."""
    order = [name for name in METRICS if name in found.metrics]
    lines = []
    for name in [*order, *(name for name in found.metrics if name not in METRICS)]:
        entry = metric(name)
        ends = found.intervals.get(name)
        interval = f"[{', '.join(format(end, entry.form) for end in ends)}]" if ends else ""
        lines.append((name, format(found.metrics[name], entry.form), interval, entry.title))
    wide = [max(len(line[column]) for line in lines) for column in range(3)]
    return "\n".join(
        f"{name:<{wide[0]}}  {number:>{wide[1]}}  {interval:<{wide[2]}}  {title}" for name, number, interval, title in lines
    )


def _write_tables(out: Path, frames: pd.DataFrame, shots: pd.DataFrame) -> None:
    for name, table in (("frames", frames), ("shots", shots)):
        with atomic_file(out / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)


def _track(run: tracking.Run, metrics: Figures, bounds: Intervals, out: Path) -> None:
    """Log figures and sheets into a run; MLflow has a copy of what is on the disk by now."""
    names = {name for figures in metrics.values() for name in figures}
    better = {-1: "less is better", 0: "", 1: "more is better"}
    titles = {}
    for name in sorted(names):
        entry = metric(name)
        titles[name] = "; ".join(part for part in (entry.title, better[entry.better]) if part)
    run.evaluation(metrics, bounds, titles=titles)
    for picture in sorted(out.glob("*_*.png")):
        if picture.stem.startswith(("sheet_", "extremes_")):
            run.image(picture, picture.stem)


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
