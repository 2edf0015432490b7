"""Frames that teach no colour: grey ones by their Lab chroma, black ones by their lightness."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kinemacolor.colour import rgb_to_lab
from kinemacolor.params import FilterParams


def chroma_and_lightness(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean chroma (Lab units, sqrt(a^2 + b^2)) and mean L* (0 to 100) of each picture of uint8 RGB (B,3,H,W)."""
    return chroma_and_lightness_of_lab(rgb_to_lab(torch.from_numpy(rgb)))


def chroma_and_lightness_of_lab(lab: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """As `chroma_and_lightness`, of Lab (B,3,H,W)."""
    chroma = torch.hypot(lab[:, 1], lab[:, 2]).mean(dim=(1, 2))
    return chroma.numpy().astype(np.float64), lab[:, 0].mean(dim=(1, 2)).numpy().astype(np.float64)


def reasons(chroma: np.ndarray, lightness: np.ndarray, params: FilterParams) -> np.ndarray:
    """Why each frame is left out: `black`, `grey`, or an empty string for a frame that stays.

    Black is asked first: a black frame is grey too, and its darkness is the better reason.
    """
    return np.where(lightness < params.black, "black", np.where(chroma < params.grey, "grey", "")).astype(object)
