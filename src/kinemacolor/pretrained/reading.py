"""Foreign weight files to tensors, and foreign names and layouts to ours.

Files are told by their content, never by their suffix: safetensors, torch's own (new or old; `weights_only`, so no code in
it runs), or pickled numpy arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kinemacolor.errors import UserError
from kinemacolor.models import encoders
from kinemacolor.pretrained.unpickling import read_arrays

_ZIP = b"PK\x03\x04"
# What torch wrote before its files were zips: a pickle of this number comes first.
_OLD_TORCH = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")


def read(file: Path) -> dict[str, Tensor]:
    """Read a file of weights.

    Returns:
        float32 tensors by the file's own names (a pickle's nested names are joined by `/`); counters stay int64.

    Raises:
        UserError: it cannot be read, is of no known kind, or holds anything but finite numbers.
    """
    file = Path(file)
    try:
        with open(file, "rb") as stream:
            head = stream.read(64)
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): name a file of weights.") from None
    if head.startswith(_ZIP) or _OLD_TORCH in head[:20]:
        tensors = _torch(file)
    elif head[:1] == b"\x80":
        tensors = {name: torch.from_numpy(np.array(array, order="C")) for name, array in _native(read_arrays(file)).items()}
    elif head[8:9] == b"{":
        try:
            tensors = load_file(file)
        except SafetensorError as error:
            raise UserError(f"{file} is a damaged safetensors file ({error}): fetch it again.") from None
    else:
        raise UserError(f"{file} is no file of weights: name a safetensors file, one of torch, or pickled numpy arrays.")
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"{file} holds values that are no numbers, in {name}: name another file.")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _native(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In this machine's byte order, which torch wants."""
    return {name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()}


def _torch(file: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # refused, or damaged in any of many ways
        reason = str(error).strip().splitlines()[0].split(". ")[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{file} is no plain file of torch weights ({reason[:120].rstrip('.')}): nothing in it was run; name a file that holds only weights."
        ) from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{file} holds no weights by name: name a file that holds a state dict.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise UserError(f"{file} holds something else than weights, in {name!r}: name a file that holds a state dict alone.")
    return {name.removeprefix("module."): value.detach() for name, value in content.items()}


def convert(tensors: Mapping[str, Tensor], architecture: str, *, what: str) -> dict[str, Tensor]:
    """Give tensors the names and layouts of our encoder.

    Args:
        tensors: as `read` gives them, named as torchvision does, as the encoder does, or as flax does.
        architecture: of models/encoders.py.
        what: the file, for error messages.

    Returns:
        Exactly the encoder's tensors; the classifier of a network that is kept without one is left out.

    Raises:
        UserError: names or shapes differ; the first few are listed.
    """
    with torch.device("meta"):  # names and shapes are enough
        encoder = encoders.build(architecture)
    tensors = _from_flax(tensors, encoder) if any(name.endswith("/kernel") for name in tensors) else dict(tensors)
    if encoder.classes is None:
        tensors = {name: value for name, value in tensors.items() if not name.startswith("classifier.")}
    expected = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    for name in expected:  # files older than torch 0.4.1 do not count batches, and nothing here uses the count
        if name.endswith(".num_batches_tracked"):
            tensors.setdefault(name, torch.zeros((), dtype=torch.int64))
    encoders.refuse_differences(expected, tensors, what=f"{what}: its tensors", strict=True)
    return {name: tensors[name].contiguous() for name in expected}


def _from_flax(tensors: Mapping[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Convolutions that flax numbered in order, HWIO, to the encoder's, OIHW; what else is in the file is left out."""
    groups: dict[str, dict[tuple[int, str], Tensor]] = {}
    for name, value in tensors.items():
        if found := re.fullmatch(r"(?:(.+)/)?Conv_(\d+)/(kernel|bias)", name):
            groups.setdefault(found[1] or "", {})[int(found[2]), found[3]] = value
    if not groups:
        return dict(tensors)
    largest = max(groups.values(), key=len)
    ours = [name for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d)]
    renamed = {}
    for (number, kind), value in largest.items():
        name = ours[number] if number < len(ours) else f"Conv_{number}"
        renamed[f"{name}.bias" if kind == "bias" else f"{name}.weight"] = (
            value.permute(3, 2, 0, 1) if kind == "kernel" and value.ndim == 4 else value
        )
    return renamed
