"""All that measures single frames and sets of frames, fed together, batch by batch: one `Pool` a split.

What belongs to a network (LPIPS, the distances between sets of features) is measured where its weights were given, and
absent elsewhere. Networks take 8-bit pictures, those that anybody gets to see, as the other measures of RGB do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kinemacolor.colour import lab_to_rgb, to_uint8
from kinemacolor.metrics.pixel import PixelMetrics

if TYPE_CHECKING:
    from kinemacolor.metrics.perceptual import Lpips
    from kinemacolor.models.encoders import Encoder


@dataclass(frozen=True)
class Tools:
    """The networks that measure; each may be absent.

    Attributes:
        lpips: the perceptual distance.
        encoder: whose features the distances between sets are of.
        backbone: its name in the figures' names, `fd_<backbone>`.
    """

    lpips: Lpips | None = None
    encoder: Encoder | None = None
    backbone: str = ""

    def of_frames(self) -> Tools:
        """Those that measure single frames alone."""
        return replace(self, encoder=None)


NO_TOOLS = Tools()


def load_tools(lpips: Path | None, features: Path | None, *, device: torch.device | str = "cpu") -> Tools:
    """The networks of some folders that `weights` wrote; None for none.

    Raises:
        UserError: a folder is missing, damaged, or of another kind of network.
    """
    distance = encoder = None
    backbone = ""
    if lpips is not None:
        from kinemacolor.metrics.perceptual import load_lpips

        distance = load_lpips(lpips, device=device)
    if features is not None:
        from kinemacolor import pretrained

        weights = pretrained.load(features)
        encoder, backbone = weights.encoder().to(device), str(weights.facts.get("name", weights.architecture))
    return Tools(distance, encoder, backbone)


class Pool:
    """All metrics of one split but those of motion, fed batch by batch; memory grows by a row of figures a frame."""

    def __init__(self, tools: Tools = NO_TOOLS, *, device: torch.device | str = "cpu") -> None:
        self._pixel = PixelMetrics()
        self._lpips = tools.lpips
        self._distances: list[float] = []
        self._features = None
        if tools.encoder is not None:
            from kinemacolor.metrics.features import FeaturePool

            self._features = FeaturePool(tools.encoder, tools.backbone, device=device)

    @torch.inference_mode()
    def update(self, predicted: Tensor, true: Tensor) -> dict[str, np.ndarray]:
        """Measure a batch and take it into the pool.

        Args:
            predicted: Lab, floating point (B, 3, H, W), finite.
            true: RGB, uint8 (B, 3, H, W), on the same device.

        Returns:
            Metric name to float64 (B,), of each picture alone.

        Raises:
            UserError: the pictures are smaller than a network takes.
        """
        rows = self._pixel.update(predicted, true)
        if self._lpips is None and self._features is None:
            return rows
        seen = to_uint8(lab_to_rgb(predicted))
        if self._lpips is not None:
            rows["lpips"] = np.asarray(self._lpips(seen, true).cpu(), dtype=np.float64)
            self._distances.extend(rows["lpips"].tolist())
        if self._features is not None:
            self._features.update(seen, true)
        return rows

    def pooled(self) -> dict[str, float]:
        """The figures so far: those of `PixelMetrics.pooled`, lpips as the mean over frames, and distances between sets."""
        found = self._pixel.pooled()
        if self._distances:
            found["lpips"] = math.fsum(self._distances) / len(self._distances)
        return found | (self._features.pooled() if self._features is not None else {})
