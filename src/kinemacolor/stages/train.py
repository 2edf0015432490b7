"""train: one network on one dataset, from the filter table and the shards to weights and curves.

A killed training goes on from its last finished epoch and ends as an unbroken one would. Checkpoints live outside the
declared outputs, in a folder named by a hash of everything that decides the result, so that none of other parameters or
other data can be resumed.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save

import kinemacolor
from kinemacolor import models, tracking
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, canonical_json, read_json, refuse_foreign, sha256_of, write_json
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Batches, Material, kept
from kinemacolor.params import AugmentParams, Model
from kinemacolor.training.module import Curve, Training


def train(
    frames: list[Path],
    *,
    filter_table: Path,
    name: str,
    dataset: str,
    model: Model,
    augment: AugmentParams,
    out: Path,
    checkpoints: Path,
) -> dict[str, Any]:
    """Train a network.

    Args:
        frames: folders that the frames stage wrote.
        filter_table: Parquet file that the filter stage wrote.
        name, dataset: what the model and its dataset are called in params.yaml.
        model, augment: their sections.
        out: folder to write: weights.safetensors, meta.json, curves.json.
        checkpoints: folder for resuming; it survives kills, and is emptied when the training is complete.

    Returns:
        The content of meta.json.

    Raises:
        UserError: an input is missing or damaged, options do not fit, the loss diverged.
    """
    refuse_foreign(out, marker="meta.json")
    settings = {"model": model.model_dump(mode="json"), "augment": augment.model_dump(mode="json")}
    family = models.family(model.family)
    _quiet()
    torch.set_num_threads(model.threads)
    lightning.seed_everything(model.seed, workers=True, verbose=False)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    table = kept(filter_table)
    stores = {store.table["source"].iloc[0]: store for store in map(FrameStore, frames)}
    parts = {part: rows.reset_index(drop=True) for part, rows in table.groupby("split")}
    material = {part: Material(stores, rows, device) for part, rows in parts.items() if part != "test"}
    _check_size(material["train"].size, augment, family.multiple, name)
    data_md5 = _md5([filter_table, *(folder / "index.parquet" for folder in frames)])

    network = models.build(model.family, model.options).to(memory_format=torch.channels_last)
    trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    resume = checkpoints / hashlib.sha256(canonical_json([settings, data_md5, str(device), _code()]).encode()).hexdigest()[:16]
    run = _run(resume, dataset, name, settings, data_md5)
    run.dataset(table, name=dataset, source=str(filter_table), digest=data_md5)

    def report(curve: Curve) -> None:
        figures = "  ".join(f"{key} {value:.5g}" for key, value in curve.items() if key != "epoch")
        print(f"{dataset}/{name}  epoch {curve['epoch']:.0f}/{model.epochs}  {figures}", file=sys.stderr, flush=True)
        run.metrics({key: value for key, value in curve.items() if key != "epoch"}, step=int(curve["epoch"]))

    training = Training(
        network, family.coding, model=model, augment=augment, train=material["train"], val=material.get("val"), on_epoch=report
    )
    try:
        if trainable:
            _fit(training, model, device, resume)
        else:
            _only_validate(training)
    except BaseException:
        run.end("FAILED")
        raise

    weights = training.network.state_dict() if model.keep == "last" or training.best["state"] is None else training.best["state"]
    training.network.load_state_dict(weights)
    meta = {
        "name": name,
        "dataset": dataset,
        "params": settings,
        "params_hash": hashlib.sha256(canonical_json(settings).encode()).hexdigest(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "trainable": trainable,
        "coding": family.coding.name,
        "size": list(material["train"].size),
        "epochs": len(training.curves) if trainable else 0,
        "best_epoch": training.best["epoch"] if model.keep == "best" else len(training.curves),
        "seed": model.seed,
        "git_commit": _commit(),
        "data_md5": data_md5,
        "mlflow_run_id": run.id,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "precision": _precision(model, device),
        "seconds": round(sum(curve["seconds"] for curve in training.curves), 3),
    }
    with atomic_folder(out, marker="meta.json") as folder:
        # The format has no order of memory: weights are stored plainly, and channels-last is chosen again on loading.
        # Written by us, since the library's own writer does not tell a full disk from any other error.
        (folder / "weights.safetensors").write_bytes(save({key: value.cpu().contiguous() for key, value in weights.items()}))
        write_json(folder / "curves.json", training.curves)
        write_json(folder / "meta.json", meta)
    run.file(out / "meta.json", "")
    # Two pictures, so that the logged model's batch dimension is understood as free.
    example = next(iter(Batches(material["train"], batch_size=2, augment=augment, shuffle=None)))
    run.model(training.network, example=family.coding.encode_input(example.view).cpu().numpy())
    run.end()
    _forget(checkpoints)
    return meta


def _fit(training: Training, model: Model, device: torch.device, resume: Path) -> None:
    """Run the trainer, from the last finished epoch if there is a checkpoint of these very values."""
    keep = ModelCheckpoint(dirpath=resume, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision=_precision(model, device),
        max_epochs=model.epochs,
        callbacks=[keep],
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        deterministic="warn",
    )
    last = resume / "last.ckpt"
    try:
        trainer.fit(training, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except (EOFError, RuntimeError) as error:
        # A checkpoint that a power cut left half written is worth less than one epoch.
        if not last.is_file() or "PytorchStreamReader" not in str(error):
            raise
        last.unlink()
        raise UserError(f"{last} was damaged and has been removed: run again, the training starts anew.") from error
    if trainer.interrupted:
        raise KeyboardInterrupt


def _only_validate(training: Training) -> None:
    """The curve of a network that has nothing to train: one row."""
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False
    )
    begin = time.monotonic()
    curve: Curve = {"epoch": 0}
    if training.val_dataloader():
        trainer.validate(training, verbose=False)
        curve |= training.validated()
    curve["seconds"] = time.monotonic() - begin
    training.curves = [curve]


def _precision(model: Model, device: torch.device) -> str:
    """Lightning's word for the precision; `auto` takes bf16 where the device computes in it natively."""
    if model.precision == "auto":
        cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else cpu
        return "bf16-mixed" if native else "32-true"
    return {"32": "32-true", "bf16": "bf16-mixed"}[model.precision]


def _run(resume: Path, dataset: str, name: str, settings: dict[str, Any], data_md5: str) -> tracking.Run:
    """A new MLflow run, or the one that the interrupted training had begun."""
    note = resume / "run.json"
    earlier = read_json(note)["id"] if note.is_file() else None
    tags = {"model": name, "dataset": dataset, "git_commit": _commit(), "data_md5": data_md5}
    run = tracking.start(dataset, name, params=settings["model"] | {"augment": settings["augment"]}, tags=tags, resume=earlier)
    write_json(note, {"id": run.id})
    return run


def _md5(paths: list[Path]) -> str:
    """md5, DVC's hash, over the bytes of the tables that decide what is trained on (indexes hold the shards' sha256)."""
    digest = hashlib.md5(usedforsecurity=False)
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _code() -> str:
    """Hash of all our source files and torch's version: a checkpoint of other code is of another network."""
    files = sorted(Path(kinemacolor.__file__).parent.rglob("*.py"))
    return hashlib.sha256("".join([torch.__version__, *map(sha256_of, files)]).encode()).hexdigest()


def _check_size(size: tuple[int, int], augment: AugmentParams, multiple: int, name: str) -> None:
    """Refuse frames that the network cannot halve and double again."""
    sides = (augment.crop,) if augment.crop else size
    if any(side % multiple for side in sides):
        key = "augment.crop" if augment.crop else "frames.size"
        shown = "x".join(map(str, sides))
        raise UserError(f"{name} needs sides that are multiples of {multiple}, but {key} is {shown}: choose {key} accordingly.")


def _commit() -> str:
    """The git commit of the working directory, with a mark if tracked files differ from it; empty outside git."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], capture_output=True).returncode != 0
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + "-dirty" if dirty else commit


def _forget(checkpoints: Path) -> None:
    """Remove the checkpoints of a finished training, this one's and those of older values."""
    for file in sorted(checkpoints.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()


def _quiet() -> None:
    """Leave out what Lightning tells on every run; errors and warnings of ours stay."""
    for logger in (
        "lightning",
        "lightning.pytorch",
        "lightning.fabric",
        "pytorch_lightning",
        "lightning.pytorch.utilities.rank_zero",
    ):
        logging.getLogger(logger).setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
