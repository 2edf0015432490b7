"""How models compare: the error of an uncoloured picture, to which ratios are taken, and differences between two models.

Differences are of figures on the same frames, so that what makes a scene hard for both falls out of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import torch

from kinemacolor.colour import grey_rgb, lightness_of_grey, rgb_to_lab, to_uint8
from kinemacolor.frames.index import FrameStore
from kinemacolor.metrics.intervals import difference
from kinemacolor.metrics.names import METRICS, metric
from kinemacolor.metrics.pixel import mse_ab, mse_rgb_pm1
from kinemacolor.report.results import Column, Paired

_RATIOS = ("mse_ab@128", "mse_rgb_pm1")
_OF_FRAMES = ("mse_ab@128", "psnr_rgb", "ssim", "lpips", "de2000")
"""Figures by which two models are held against each other, one of every kind; those of motion are of shots alone."""
_OF_SHOTS = ("flicker_ab",)
_KEYS = ("source", "frame", "first", "split", "shot", "frames", "still", "pixels")


def columns(found: Iterable[str]) -> list[Column]:
    """The columns of the table of figures.

    Args:
        found: names of metrics. Those that count something (frames, height ...) or are the truth's own have no column.

    Returns:
        One for each, in the order of `names.METRICS`, ratios after what they divide; those of a named backbone last.
    """
    order = {name: place for place, name in enumerate(METRICS)}
    shown = []
    for name in sorted(set(found), key=lambda name: (order.get(name, len(order)), name)):
        if name.endswith("_truth") or name in ("frames", "height", "width", "motion_frames"):
            continue
        one = metric(name)
        shown.append(Column(one.name, one.heading, one.title, one.form, one.better, one.of))
        if name in _RATIOS:
            shown.append(Column(one.name, "ratio", f"{one.heading}, divided by the reference's", ".3f", -1, one.of, ratio=True))
    return shown


def differences(folders: Mapping[str, Path]) -> list[Paired]:
    """Every two models' difference on validation and on test, as their tables of frames and of shots have it.

    Args:
        folders: model -> the folder with its frames.parquet and shots.parquet. One that has none, or of a version that knew no
            shots, is left out.

    Returns:
        A row a pair, split and metric of `_OF_FRAMES` and `_OF_SHOTS` that both have on at least three shots.
    """
    found = []
    for file, metrics in (("frames.parquet", _OF_FRAMES), ("shots.parquet", _OF_SHOTS)):
        tables = {name: table for name, folder in folders.items() if (table := _read(folder / file, metrics)) is not None}
        for (first, one), (second, other) in itertools.combinations(tables.items(), 2):
            for split, name in itertools.product(("val", "test"), metrics):
                if (said := difference(one, other, name, split)) is not None:
                    found.append(Paired(first, second, split, name, said.mean, said.low, said.high, said.shots))
    return found


def _read(path: Path, metrics: Sequence[str]) -> pd.DataFrame | None:
    """What a difference needs of a table; None where it is missing or knows no shots."""
    if not path.is_file():
        return None
    names = set(pq.read_schema(path).names)
    return pd.read_parquet(path, columns=[name for name in (*_KEYS, *metrics) if name in names]) if "shot" in names else None


@torch.inference_mode()
def grey_error(stores: Sequence[FrameStore], table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The error of uncoloured pictures: split -> "mse_ab@128" and "mse_rgb_pm1", means over the kept frames' pixels.

    The uncoloured picture of a film pair is the grey print's frame; elsewhere it is the neutral rendering of L*. Frames of
    a dataset are equal in size, so that the mean over frames is the mean over pixels.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for store in stores:
        rows = store.table[["source", "frame"]].merge(table[table["keep"]], on=["source", "frame"], how="left")
        for split, part in rows.groupby("split"):
            for begin in range(0, len(part), 32):
                at = part.index.to_numpy()[begin : begin + 32]
                true = torch.from_numpy(store.colour(at))
                lab = rgb_to_lab(true)
                lightness = lightness_of_grey(torch.from_numpy(store.grey(at))) if store.is_pair else lab[:, :1]
                grey = torch.cat((lightness, torch.zeros_like(lab[:, 1:])), dim=1)
                errors = mse_ab(grey, lab, scale=128.0), mse_rgb_pm1(to_uint8(grey_rgb(lightness)), true)
                found.setdefault(str(split), []).extend(zip(*(error.tolist() for error in errors), strict=True))
    return {
        split: {
            key: sum(error[place] for error in errors) / len(errors) for place, key in enumerate(("mse_ab@128", "mse_rgb_pm1"))
        }
        for split, errors in found.items()
    }
