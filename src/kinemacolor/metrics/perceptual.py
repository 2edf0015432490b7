"""LPIPS of coloured frames: how different two pictures look, judged by a network (pretrained/lpips.py has the network)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from kinemacolor.errors import UserError
from kinemacolor.metrics.features import float32
from kinemacolor.pretrained import lpips

_TOGETHER = 2**18  # pixels whose maps are held at once: some 150 MB at AlexNet's first depth


class Lpips:
    """LPIPS v0.1 of 8-bit pictures at their own size, in float32.

    Attributes:
        architecture: lpips_alex, which is what tables mean by LPIPS, or lpips_vgg.
        least: side of the smallest picture that it can measure.
    """

    def __init__(self, network: lpips.Network, architecture: str, *, device: torch.device | str = "cpu") -> None:
        self._network = network.to(device)
        self._device = torch.device(device)
        self.architecture, self.least = architecture, network.kind.least

    @torch.inference_mode()
    def __call__(self, predicted: Tensor, true: Tensor) -> Tensor:
        """Distance of each pair of pictures; symmetric.

        Args:
            predicted, true: RGB, uint8 (B, 3, H, W), on any device.

        Returns:
            float64 (B,) on the CPU: 0 for identical pictures, mostly below 1.

        Raises:
            UserError: the pictures are smaller than the network can look at.
            ValueError: their shapes differ.
        """
        if predicted.shape != true.shape:
            raise ValueError(f"predicted {tuple(predicted.shape)} and true {tuple(true.shape)} differ in shape")
        height, width = true.shape[-2:]
        if min(height, width) < self.least:
            raise UserError(
                f"LPIPS needs pictures of at least {self.least}x{self.least} pixels and not {width}x{height}: use larger ones, "
                "or leave LPIPS out."
            )
        together = max(1, _TOGETHER // (height * width))
        found = []
        with float32(self._device):
            for one, other in zip(predicted.split(together), true.split(together), strict=True):
                found.append(self._network(*(picture.to(self._device).float() / 255 for picture in (one, other))).cpu())
        return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def load_lpips(folder: Path, *, device: torch.device | str = "cpu") -> Lpips:
    """The distance whose weights a folder of the stage `weights` holds.

    Raises:
        UserError: the folder is none of LPIPS weights, or its file is missing or damaged.
    """
    network, architecture = lpips.load(folder)
    return Lpips(network, architecture, device=device)
