"""A made title of 28 tiny frames, and trainings on it, for the tests of training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kinemacolor.params import AugmentParams, Model
from kinemacolor.stages.train import train
from tests.unit.test_frames import write_store

TIMES = ("seconds", "frames_per_second", "energy_joules")
"""Figures of a curve that differ from run to run."""


def write_title(folder: Path) -> Path:
    """Frames of 16x16 with learnable colours in runs of 7, split and filtered: 21 to train on, 7 to validate with."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (28, 1, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    write_store(folder / "frames", np.concatenate([base, base // 2, 255 - base], axis=1).astype(np.uint8))
    frame = np.arange(28)
    table = pd.DataFrame({"source": "film", "frame": frame * 2, "split": np.where(frame < 21, "train", "val")})
    table = table.assign(keep=True, reason="", mean_chroma=20.0, cut=frame % 7 == 0)
    table.to_parquet(folder / "filter.parquet", index=False)
    return folder


def settings(**changes) -> Model:
    plain = {"family": "alpha", "optimiser": {"name": "adam", "lr": 0.002}, "epochs": 4, "batch_size": 8, "precision": "32"}
    return Model(**(plain | changes))


def run_train(data: Path, out: str, augment=None, folders=None, **changes) -> dict:
    return train(
        [data / "frames"],
        filter_table=data / "filter.parquet",
        name=out,
        dataset="film",
        model=settings(**changes),
        augment=augment or AugmentParams(),
        out=data / out,
        checkpoints=data / "checkpoints" / out,
        **(folders or {}),
    )


def curves_of(folder: Path) -> list[dict[str, float]]:
    """Curves without times."""
    curves = json.loads((folder / "curves.json").read_text())
    return [{key: value for key, value in curve.items() if key not in TIMES} for curve in curves]


def bytes_of(state: dict[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: value.detach().cpu().numpy().tobytes() for name, value in state.items()}
