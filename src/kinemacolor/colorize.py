"""Pictures in, colour out: a trained model as one callable, whatever its network and colour coding.

The model's folder holds `weights.safetensors` and `meta.json` (readable without torch); nothing is unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor import models
from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.models.coding import View
from kinemacolor.models.running import run


class Colorizer:
    """Gives Lab to L*: pads to the network's multiple, runs it in evaluation mode, decodes, crops back.

    Attributes:
        name: the model's name in params.yaml.
        meta: the content of meta.json.
        keeps_luminance: the network predicts ab only, and L* comes back as it went in.
        device: where the network lives; results come back on the input's device.
    """

    def __init__(
        self, network: nn.Module, family: models.Family, meta: Mapping[str, Any], device: str | torch.device = "cpu"
    ) -> None:
        self.network = network.eval().to(device)
        self.family = family
        self.meta = dict(meta)
        self.name = str(meta.get("name", "model"))
        self.keeps_luminance = family.coding.keeps_luminance
        self.device = torch.device(device)

    @torch.inference_mode()
    def __call__(self, lightness: Tensor) -> Tensor:
        """Colour a batch of grey pictures.

        Args:
            lightness: L* (B,1,H,W), 0 to 100, any height and width.

        Returns:
            Lab (B,3,H,W) float32 on the input's device; ab as the network predicts it, not clipped to the gamut.
        """
        height, width = lightness.shape[-2:]
        there = lightness.to(self.device, torch.float32)
        padded = pad_to_multiple(there, self.family.multiple)
        output, _ = run(self.network, self.family, View(padded))
        lab = self.family.coding.decode(padded, output)
        return lab[..., :height, :width].to(lightness.device)


def pad_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Extend (B,C,H,W) at the bottom and right by reflection (by repetition where it is too small to reflect)."""
    height, width = picture.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not (down or right):
        return picture
    mode = "reflect" if down < height and right < width else "replicate"
    return functional.pad(picture, (0, right, 0, down), mode=mode)


def load(folder: Path, *, device: str | torch.device | None = None) -> Colorizer:
    """Load a trained model from its folder, onto the GPU if there is one.

    Raises:
        UserError: a file is missing, or the weights are of another network than meta.json says.
    """
    meta = read_json(Path(folder) / "meta.json", "train the model, or name a folder under data/models/")
    try:
        settings = meta["params"]["model"]
        name, options = settings["family"], settings["options"]
    except (KeyError, TypeError):
        raise UserError(f"{folder}/meta.json does not say which network it is of: train the model again.") from None
    network = models.build(name, options)
    try:
        network.load_state_dict(load_file(Path(folder) / "weights.safetensors"))
    except FileNotFoundError:
        raise UserError(f"{folder}/weights.safetensors is missing: train the model again.") from None
    except RuntimeError as error:
        raise UserError(
            f"{folder}/weights.safetensors does not fit the network {name!r} ({str(error).splitlines()[-1].strip()}): train the model again."
        ) from None
    return Colorizer(network, models.family(name), meta, device or ("cuda" if torch.cuda.is_available() else "cpu"))
