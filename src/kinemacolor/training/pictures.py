"""Pictures of validation frames while a network learns: grey, coloured and true side by side, a row for each frame."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kinemacolor.colour import grey_rgb, lab_to_rgb, to_uint8
from kinemacolor.files import atomic_file

Row = tuple[Tensor, Tensor, Tensor]
"""L* (1,H,W) of one frame, its Lab (3,H,W) as the network gives it, and its true Lab."""

ROWS = 4
"""Frames on a strip, spread evenly over the validation frames."""
_GAP = 4


def chosen_batches(batches: int, rows: int = ROWS) -> Collection[int]:
    """Numbers of the batches whose first frame is shown."""
    return {int(at) for at in np.linspace(0, batches - 1, min(rows, batches)).round()} if batches else ()


def strip(rows: list[Row]) -> np.ndarray:
    """One picture of all rows: grey, coloured, true from left to right; uint8 (H,W,3), white between."""
    lines = []
    for lightness, coloured, true in rows:
        shown = (grey_rgb(lightness.float()), lab_to_rgb(coloured.float()), lab_to_rgb(true.float()))
        lines.append(_joined([to_uint8(picture.cpu()) for picture in shown], dim=2))
    return _joined(lines, dim=1).permute(1, 2, 0).contiguous().numpy()


def save_strip(rows: list[Row], target: Path) -> None:
    """Write a strip as PNG."""
    with atomic_file(target) as temporary:
        Image.fromarray(strip(rows)).save(temporary)


def _joined(pictures: list[Tensor], dim: int) -> Tensor:
    """Pictures (3,H,W) in a row or a column, white between."""
    shape = list(pictures[0].shape)
    shape[dim] = _GAP
    gap = torch.full(shape, 255, dtype=torch.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return torch.cat(parts, dim=dim)
