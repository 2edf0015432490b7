"""train: one network on one dataset, from the filter table and the shards to weights and curves.

A killed training goes on from its last finished epoch and ends as an unbroken one would. Checkpoints live outside the
declared outputs, in a folder named by a hash of everything that decides the result, so that none of other parameters or
other data can be resumed.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from safetensors.torch import save
from torch import nn

from kinemacolor import models, tracking
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, read_json, refuse_foreign, write_json
from kinemacolor.frames.loader import Batches, Material, kept
from kinemacolor.params import AugmentParams, Model
from kinemacolor.training import fit, inputs, record
from kinemacolor.training.losses import needs_classes
from kinemacolor.training.module import Curve, Training
from kinemacolor.training.pictures import Row, save_strip

_BEFORE = ("weights.safetensors", "meta.json")
"""Files of the model that coloured the frames before, which the new model's folder holds too."""


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
    weights: Path | None = None,
    embeddings: Path | None = None,
    coloured: Path | None = None,
    before: Path | None = None,
) -> dict[str, Any]:
    """Train a network.

    Args:
        frames: folders that the frames stage wrote.
        filter_table: Parquet file that the filter stage wrote.
        name, dataset: what the model and its dataset are called in params.yaml.
        model, augment: their sections.
        out: folder to write: weights.safetensors, meta.json, curves.json; prior.json with a loss over colour classes,
            pictures/ where `model.images` names epochs, before/ where another model coloured the frames.
        checkpoints: folder for resuming; it survives kills, and is emptied when the training is complete.
        weights: folder that the weights stage wrote, for an encoder that begins with them.
        embeddings: folder that the embed stage wrote, for a network that takes a global embedding.
        coloured: folder that the precolour stage wrote, for a network that sees another's colours.
        before: folder of the model that coloured them.

    Returns:
        The content of meta.json.

    Raises:
        UserError: an input is missing or damaged, options do not fit, the loss diverged.
    """
    refuse_foreign(out, marker="meta.json")
    settings = {"model": model.model_dump(mode="json"), "augment": augment.model_dump(mode="json")}
    augment = inputs.cropped(model, augment)
    family = models.family(model.family)
    fit.quiet()
    fit.keep_memory()
    torch.set_num_threads(model.threads)
    lightning.seed_everything(model.seed, workers=True, verbose=False)

    device = fit.device_of(model)
    material = inputs.materials(
        frames, filter_table, family, device, name=name, embeddings=embeddings, coloured=coloured, before=before
    )
    network = models.build(model.family, model.options)
    inputs.check_use(network, family, model, name)
    inputs.check_size(material["train"].size, augment, model, network, family, name)
    inputs.begin_with(weights, network, model, name)
    inputs.check_embeddings(embeddings, weights, network, name)
    earlier = _model_before(before, needed=coloured is not None, name=name)
    network = network.to(memory_format=torch.channels_last)
    class_weights, prior = None, None
    if needs_classes(model.loss):
        # Imported where they are needed, here and below: no other training depends on them (dag.py).
        from kinemacolor.training.prior import rebalanced

        class_weights, prior = rebalanced(material["train"], family.coding.classes, model)

    data = [filter_table, *(Path(folder) / "index.parquet" for folder in frames), *_tables(weights, embeddings, coloured)]
    data_md5 = record.md5_of(data)
    resume = checkpoints / record.hash_of([settings, data_md5, device.type, record.code_hash()])[:16]
    journal = _Journal(name, dataset, model.epochs, resume, rank=fit.rank_of(model))
    if journal.first and record.has_other_checkpoints(checkpoints, fit.CHECKPOINT, resume):
        print(
            f"{dataset}/{name}: the checkpoint of an earlier training is of other values, data or code; this one begins anew.",
            file=sys.stderr,
        )
    with journal.told(settings, data_md5):
        journal.run.dataset(kept(filter_table), name=dataset, source=str(filter_table), digest=data_md5)

        training = _kind_of_training(model)(
            network,
            family,
            model=model,
            augment=augment,
            train=material["train"],
            val=material.get("val"),
            window=inputs.window_of(model, family),
            class_weights=class_weights,
            on_epoch=journal.epoch,
            on_pictures=journal.pictures,
        )
        trainable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
        if trainable:
            fit.fit(training, model, device, resume)
        else:
            fit.validate(training, device)
        if training.stopped is not None:
            print(f"{dataset}/{name}: stopped after epoch {len(training.curves)}. {training.stopped}", file=sys.stderr)

        kept_weights = training.weights() if model.keep == "last" or training.best["state"] is None else training.best["state"]
        network.load_state_dict(kept_weights)
        meta = {
            "name": name,
            "dataset": dataset,
            "params": settings,
            "params_hash": record.hash_of(settings),
            "coding": family.coding.name,
            "memory": family.memory,
            "loss": record.describe(model.loss),
            "before": None if earlier is None else earlier["name"],
            "size": list(material["train"].size),
            "fit": material["train"].fit,
            "seed": model.seed,
            "git_commit": record.commit(),
            "data_md5": data_md5,
            "mlflow_run_id": journal.run.id,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "devices": model.devices,
            "precision": fit.precision_of(model, device),
            **_figures(training, network, trainable, model),
        }
        with atomic_folder(out, marker="meta.json") as folder:
            # The format has no order of memory: weights are stored plainly, and channels-last is chosen again on loading.
            # Written by us, since the library's own writer does not tell a full disk from any other error.
            (folder / "weights.safetensors").write_bytes(
                save({key: value.cpu().contiguous() for key, value in kept_weights.items()})
            )
            write_json(folder / "curves.json", training.curves)
            if prior is not None:
                write_json(folder / "prior.json", prior)
            if journal.pictures_folder.is_dir():
                shutil.copytree(journal.pictures_folder, folder / "pictures")
            if before is not None and earlier is not None:
                (folder / "before").mkdir()
                for file in _BEFORE:
                    shutil.copyfile(before / file, folder / "before" / file)
            write_json(folder / "meta.json", meta)
        _log_model(journal.run, out, network, family, material["train"], augment)
    record.forget(checkpoints)
    return meta


def _kind_of_training(model: Model) -> type[Training]:
    if model.loss.gan is None:
        return Training
    from kinemacolor.training.adversarial import AdversarialTraining

    return AdversarialTraining


def _figures(training: Training, network: nn.Module, trainable: int, model: Model) -> dict[str, Any]:
    """What meta.json says of the course of a training."""
    curves = training.curves
    rates = [curve["frames_per_second"] for curve in curves if "frames_per_second" in curve]
    memory = [curve["device_memory"] for curve in curves if "device_memory" in curve]
    energy = [curve["energy_joules"] for curve in curves if "energy_joules" in curve]
    adversary = getattr(training, "adversary", None)
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "trainable": trainable,
        "discriminator": None if adversary is None else sum(parameter.numel() for parameter in adversary.parameters()),
        "epochs": len(curves) if trainable else 0,
        "best_epoch": training.best["epoch"] if model.keep == "best" else len(curves),
        "stopped": training.stopped,
        "seconds": round(sum(curve["seconds"] for curve in curves), 3),
        "frames_per_second": round(statistics.median(rates), 3) if rates else None,
        "device_memory": round(max(memory), 1) if memory else None,
        # Of a part of the epochs it would be no figure of the training.
        "energy_joules": round(sum(energy), 1) if energy and len(energy) == len(curves) else None,
    }


@dataclass
class _Journal:
    """Tells of a training: on standard error, to MLflow, and in pictures. Only the first of several processes does.

    Attributes:
        run: the MLflow run.
        pictures_folder: where pictures wait for the model's folder; it survives a kill.
    """

    name: str
    dataset: str
    epochs: int
    resume: Path
    rank: int

    def __post_init__(self) -> None:
        self.first = self.rank == 0
        self.run = tracking.Run("", None)
        self.pictures_folder = self.resume / "pictures"

    @contextlib.contextmanager
    def told(self, settings: dict[str, Any], data_md5: str) -> Iterator[None]:
        """Hold an MLflow run open around a training; it ends as finished or, whatever was raised, as failed."""
        try:
            self._start(settings, data_md5)
            yield
        except BaseException:
            self.run.end("FAILED")
            raise
        self.run.end()

    def _start(self, settings: dict[str, Any], data_md5: str) -> None:
        """Begin an MLflow run, or go on with the one that the interrupted training had begun."""
        if not self.first:
            return
        note = self.resume / "run.json"
        earlier = read_json(note)["id"] if note.is_file() else None
        tags = {"model": self.name, "dataset": self.dataset, "git_commit": record.commit(), "data_md5": data_md5}
        params = settings["model"] | {"augment": settings["augment"]}
        self.run = tracking.start(self.dataset, self.name, params=params, tags=tags, resume=earlier)
        write_json(note, {"id": self.run.id})
        self.run.watch()

    def epoch(self, curve: Curve) -> None:
        """One line and one step of every figure."""
        figures = {key: value for key, value in curve.items() if key != "epoch"}
        shown = "  ".join(f"{key} {value:.5g}" for key, value in figures.items())
        print(f"{self.dataset}/{self.name}  epoch {curve['epoch']:.0f}/{self.epochs}  {shown}", file=sys.stderr, flush=True)
        self.run.metrics(figures, step=int(curve["epoch"]))

    def pictures(self, epoch: int, rows: list[Row]) -> None:
        """Keep and log pictures of validation frames."""
        target = self.pictures_folder / f"epoch-{epoch:04d}.png"
        save_strip(rows, target)
        self.run.image(target, "validation", step=epoch)


def _tables(weights: Path | None, embeddings: Path | None, coloured: Path | None) -> list[Path]:
    """Files that say what the optional inputs are; their hashes stand in them."""
    files = [] if weights is None else [Path(weights) / "weights.json"]
    files += [] if embeddings is None else sorted(Path(embeddings).glob("*.npy"))
    files += [] if coloured is None else sorted(Path(coloured).glob("*/index.parquet"))
    return files


def _model_before(before: Path | None, *, needed: bool, name: str) -> dict[str, Any] | None:
    """meta.json of the model that coloured the frames.

    Raises:
        UserError: it is needed and not given, or not whole.
    """
    if before is None:
        if needed:
            raise UserError(
                f"{name} sees another model's colours, which it will need again: give that model's folder with --before."
            )
        return None
    if not needed:
        raise UserError(f"{name} is given the model {before} and none of its colours: give --coloured, or leave --before out.")
    meta = read_json(Path(before) / "meta.json", "train the model that colours the frames before")
    if not (Path(before) / "weights.safetensors").is_file():
        raise UserError(f"{before}/weights.safetensors is missing: train that model again.")
    return meta


def _log_model(
    run: tracking.Run, out: Path, network: nn.Module, family: models.Family, material: Material, augment: AugmentParams
) -> None:
    """Log the model: as one that MLflow can serve if one tensor goes in and one comes out, and its files in any case."""
    for file in ("meta.json", "curves.json", "prior.json"):
        if (out / file).is_file():
            run.file(out / file, "")
    plain = family.memory == "none" and not family.embeds and not family.hints and family.coding.classes is None
    if not plain:
        run.file(out / "weights.safetensors", "")
        return
    # Two pictures, so that the logged model's batch dimension is understood as free.
    example = next(iter(Batches(material, batch_size=2, augment=augment, shuffle=None)))
    run.model(network, example=family.coding.encode_input(example.view).cpu().numpy())
