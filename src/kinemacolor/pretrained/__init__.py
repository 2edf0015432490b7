"""Published ImageNet weights: reading foreign files, giving them our names, and making sure that they do what they should.

A weights folder is what the stage `weights` leaves: weights.safetensors, named as the encoder of its architecture in
models/encoders.py (of LPIPS, as in lpips.py), and weights.json, which says what it is without torch.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from kinemacolor.errors import UserError
from kinemacolor.files import read_json, sha256_of
from kinemacolor.models import encoders

FILE, FACTS = "weights.safetensors", "weights.json"
REMEDY = "run the weights stage"


@dataclass(frozen=True)
class Weights:
    """An encoder's published weights, converted.

    Attributes:
        architecture: as `params.Weights` and models/encoders.py name it.
        sha256: of weights.safetensors.
        tensors: by the names of the encoder of that architecture.
        facts: the content of weights.json: name, architecture, sha256, origin, licence, parameters, check.
    """

    architecture: str
    sha256: str
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def encoder(self) -> encoders.Encoder:
        """The encoder with these weights, frozen and in evaluation mode."""
        encoder = encoders.build(self.architecture)
        encoders.load_tensors(encoder, self.tensors)
        return encoders.frozen(encoder)


def load(folder: Path) -> Weights:
    """Read a folder of an encoder's weights.

    Raises:
        UserError: it is none, or its file is missing or damaged.
    """
    facts, tensors = stored(folder, encoders.ARCHITECTURES, "an encoder")
    return Weights(facts["architecture"], facts["sha256"], tensors, facts)


def stored(folder: Path, architectures: Container[str], whose: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a weights folder of one of some architectures.

    Args:
        whose: what these are of, in words, for error messages.

    Returns:
        The content of weights.json, and the tensors.

    Raises:
        UserError: it is none, or its file is missing or damaged.
    """
    folder = Path(folder)
    facts = read_json(folder / FACTS, REMEDY)
    file = folder / FILE
    if not isinstance(facts, dict) or facts.get("architecture") not in architectures or "sha256" not in facts:
        raise UserError(
            f"{folder / FACTS} does not name {whose} as what its weights are of: name a folder of such weights, or {REMEDY} again."
        )
    if not file.is_file():
        raise UserError(f"{file} is missing: {REMEDY} again.")
    if sha256_of(file) != facts["sha256"]:
        raise UserError(f"{file} is damaged (its sha256 is not the one in {FACTS}): {REMEDY} again.")
    try:
        return facts, load_file(file)
    except SafetensorError:
        raise UserError(f"{file} is no safetensors file: {REMEDY} again.") from None
