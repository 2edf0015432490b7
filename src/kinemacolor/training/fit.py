"""Running Lightning: one device or several, precision, checkpoints, and as little talk as possible.

Several devices are several processes: Lightning runs the same command once more for each of the others. Only the first
process writes, tracks and prints; the others leave when the training is over.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import time
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy

from kinemacolor.errors import UserError
from kinemacolor.params import Model
from kinemacolor.training.module import Curve, Training

CHECKPOINT = "last.ckpt"

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Of malloc.h."""


def rank_of(model: Model) -> int:
    """Number of this process among those of one training; the first is 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if model.devices > 1 else 0


def device_of(model: Model) -> torch.device:
    """Where this process trains: a GPU of its own if there is one, else the CPU.

    Raises:
        UserError: more GPUs are asked for than there are.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    there = torch.cuda.device_count()
    if model.devices > there:
        raise UserError(f"`devices` asks for {model.devices} GPUs and this machine has {there}: lower it.")
    return torch.device("cuda", rank_of(model))


def precision_of(model: Model, device: torch.device) -> str:
    """Lightning's word for the precision; `auto` takes bf16 where the device computes in it natively."""
    if model.precision == "auto":
        cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else cpu
        return "bf16-mixed" if native else "32-true"
    return {"32": "32-true", "bf16": "bf16-mixed"}[model.precision]


def fit(training: Training, model: Model, device: torch.device, checkpoints: Path) -> None:
    """Train, from the last finished epoch if `checkpoints` holds one of these very values.

    Raises:
        UserError: the training diverged, or the checkpoint is damaged.
        SystemExit: in every process but the first, when the training is over.
    """
    keep = ModelCheckpoint(
        dirpath=checkpoints, filename=Path(CHECKPOINT).stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    trainer = lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=model.devices if model.devices > 1 or device.type == "cpu" else [device.index],
        strategy=_strategy(training, model),
        precision=precision_of(model, device),
        max_epochs=model.epochs,
        callbacks=[keep],
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        deterministic="warn",
    )
    last = checkpoints / CHECKPOINT
    try:
        trainer.fit(training, ckpt_path=str(last) if last.is_file() else None, weights_only=True)
    except UserError:
        if rank_of(model):
            raise SystemExit(0) from None  # the first process says it; another status would have it killed before it can
        raise
    except (EOFError, RuntimeError) as error:
        # A checkpoint that a power cut left half written is worth less than one epoch.
        if not last.is_file() or "PytorchStreamReader" not in str(error):
            raise
        last.unlink()
        raise UserError(f"{last} was damaged and has been removed: run again, the training starts anew.") from error
    if trainer.interrupted:
        raise KeyboardInterrupt
    if torch.distributed.is_initialized():
        trainer.strategy.barrier()
        torch.distributed.destroy_process_group()
    if rank_of(model):
        raise SystemExit(0)


def _strategy(training: Training, model: Model) -> Strategy | str:
    if model.devices == 1 and model.strategy == "auto":
        return "auto"
    # While one of a GAN's networks learns the other has no gradient; nor has a class branch that no loss asks.
    unused = model.loss.gan is not None or training.has_classes
    return DDPStrategy(find_unused_parameters=unused, cluster_environment=LightningEnvironment())


def validate(training: Training, device: torch.device) -> None:
    """The curve of a network that has nothing to train: one row, epoch 0."""
    trainer = lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    begin = time.monotonic()
    curve: Curve = {"epoch": 0}
    if training.val_dataloader():
        trainer.validate(training, verbose=False)
        curve |= training.validated()
    training.curves = [curve | {"seconds": time.monotonic() - begin}]


def keep_memory() -> None:
    """Have the C library keep the memory of freed tensors for the next step; elsewhere than on glibc, do nothing.

    By itself it hands every large tensor back to the kernel and faults fresh pages in at the next step, which costs a fifth
    of a training's CPU time and more on a busy machine (benchmarks/keep_memory.py).
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 256 << 20)):
        set_option(option, value)


def quiet() -> None:
    """Leave out what Lightning tells on every run; errors and warnings of ours stay."""
    for logger in (
        "lightning",
        "lightning.pytorch",
        "lightning.fabric",
        "pytorch_lightning",
        "lightning.pytorch.utilities.rank_zero",
        "pytorch_lightning.utilities.rank_zero",
    ):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
