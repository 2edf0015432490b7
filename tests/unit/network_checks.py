"""What every network must pass, as functions that the tests of each family call.

The pictures are crops of photographs that scikit-image carries, so a network learns real edges and real colours.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import skimage.data
import torch
from torch import Tensor, nn

from kinemacolor import models
from kinemacolor.colour import rgb_to_lab
from kinemacolor.models.coding import Output, View
from kinemacolor.models.running import run


@functools.cache
def eight_frames(side: int) -> Tensor:
    """Lab (8,3,side,side) of eight crops of real photographs."""
    pictures = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee(), skimage.data.rocket()]
    crops = []
    for picture in pictures:
        step = max(1, min(picture.shape[:2]) // (2 * side))
        small = picture[::step, ::step][: 10**6]
        for at in (0, 1):
            top, left = (small.shape[0] - side) * at // 2, (small.shape[1] - side) * at // 2
            crops.append(np.ascontiguousarray(small[top : top + side, left : left + side].transpose(2, 0, 1)))
    return rgb_to_lab(torch.from_numpy(np.stack(crops)))


def view_of(lab: Tensor, family: models.Family, **extra: Tensor) -> View:
    """A view of true frames as a clip in order: the first begins it. Hints, embeddings and such come as keywords."""
    starts = torch.zeros(len(lab), dtype=torch.bool)
    starts[0] = True
    if family.memory == "coloured" and "coloured" not in extra:
        muted = torch.cat((lab[:, :1], lab[:, 1:] * 0.5), dim=1)  # as a network that colours frames one by one would
        extra |= {"coloured": muted, "previous": torch.cat((muted[:1], muted[:-1]))}
    return View(lab[:, :1].contiguous(), starts=starts, **extra)


def built(name: str, seed: int = 0, **options: object) -> tuple[nn.Module, models.Family]:
    """A network with fixed random weights, and its family."""
    torch.manual_seed(seed)
    return models.build(name, options), models.family(name)


def parameters(network: nn.Module, *, trainable: bool | None = None) -> int:
    """Number of parameters; of the trainable or the frozen ones if asked."""
    return sum(one.numel() for one in network.parameters() if trainable is None or one.requires_grad is trainable)


def forward(network: nn.Module, family: models.Family, view: View) -> Output:
    """The output in evaluation mode, without gradients."""
    network.eval()
    with torch.no_grad():
        return run(network, family, view, window=len(view) if family.memory in ("state", "own") else 1)[0]


def check_shape_and_range(network: nn.Module, family: models.Family, lab: Tensor, **extra: Tensor) -> Tensor:
    """Lab comes back at the picture's size, finite, with L untouched where the coding keeps it; returns it."""
    view = view_of(lab, family, **extra)
    coloured = family.coding.decode(view.lightness, forward(network, family, view))
    assert coloured.shape == lab.shape and coloured.dtype == torch.float32 and bool(torch.isfinite(coloured).all())
    if family.coding.keeps_luminance:
        assert torch.equal(coloured[:, :1], view.lightness)
        assert float(coloured[:, 1:].abs().max()) <= 181, "ab beyond what any colour has"
    return coloured


def golden(network: nn.Module, family: models.Family, lab: Tensor, **extra: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the coding's values in evaluation mode: one number that moves if a layer does."""
    values = family.coding.values(forward(network, family, view_of(lab, family, **extra))).double()
    return float(values.mean()), float(values.std())


def mse(network: nn.Module, family: models.Family, view: View, lab: Tensor) -> Tensor:
    """Mean squared error in the coding's own values."""
    output, _ = run(network, family, view, window=len(view) if family.memory in ("state", "own") else 1)
    return (family.coding.values(output).float() - family.coding.encode_target(lab)).square().mean()


class Fit(NamedTuple):
    """What came of training on eight frames."""

    first: float
    """Loss before the first step, in training mode."""
    last: float
    """Loss before the last step, in training mode."""
    shown: float
    """Squared error in evaluation mode, as a film would be coloured, in units of the coding's values."""
    least: float
    """Squared error of what is had for nothing: of the best single colour or, if it is less, of the coloured frames shown."""


def for_nothing(family: models.Family, view: View, lab: Tensor) -> float:
    """Squared error of the better of: one constant colour, the best there is; and what another model painted, unchanged."""
    target = family.coding.encode_target(lab)
    least = (target - target.mean(dim=(0, 2, 3), keepdim=True)).square().mean()
    if view.coloured is not None:
        least = torch.minimum(least, (family.coding.encode_target(view.coloured) - target).square().mean())
    return least.item()


def overfit(
    network: nn.Module,
    family: models.Family,
    lab: Tensor,
    *,
    steps: int,
    lr: float,
    loss: Callable[[nn.Module, models.Family, View, Tensor], Tensor] = mse,
    **extra: Tensor,
) -> Fit:
    """Train on eight frames and nothing else, at a rate that falls to nought, so that running statistics settle too.

    On the way, checks that a gradient reaches every trainable parameter and that frozen tensors stay equal to the bit.
    """
    view = view_of(lab, family, **extra)
    trainable = [one for one in network.parameters() if one.requires_grad]
    encoder = getattr(network, "encoder", None)
    frozen_names = {name for name, one in network.named_parameters() if not one.requires_grad}
    if encoder is not None and not any(one.requires_grad for one in encoder.parameters()):
        frozen_names |= {f"encoder.{name}" for name, _ in encoder.named_buffers()}
    frozen = {name: value.clone() for name, value in network.state_dict().items() if name in frozen_names}
    optimiser = torch.optim.Adam(trainable, lr=lr)
    first = last = float("nan")
    reached: set[str] = set()
    for step in range(steps):
        network.train()
        for group in optimiser.param_groups:
            group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        optimiser.zero_grad()
        value = loss(network, family, view, lab)
        value.backward()
        reached |= {name for name, one in network.named_parameters() if one.grad is not None and bool(one.grad.any())}
        optimiser.step()
        first, last = value.item() if step == 0 else first, value.item()
    lost = [name for name, one in network.named_parameters() if one.requires_grad and name not in reached]
    assert not lost, f"no gradient reaches {lost[:5]}"
    now = network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in frozen.items()), "frozen parts moved"
    network.eval()
    with torch.no_grad():
        shown = mse(network, family, view, lab).item()
    return Fit(first, last, shown, for_nothing(family, view, lab))
