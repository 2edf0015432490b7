"""Running a network over frames, whatever it remembers of the frame before.

Training, evaluation and colouring all go through `run`, so a network sees in a film what it saw in training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kinemacolor.models import Family
from kinemacolor.models.coding import Output, View

State = Any
"""What a network carries from one call to the next: a recurrent state, or the Lab of the last frame; None at first."""


def run(network: nn.Module, family: Family, view: View, *, window: int = 1, state: State = None) -> tuple[Output, State]:
    """Give the network's output for N frames, and what it carries on.

    Args:
        network: of `family`.
        family: says what the network remembers.
        view: N = lanes x window frames, lane by lane; within a lane, consecutive frames in order. A frame in `starts`
            is the first of its run: what is carried is forgotten there. A family with memory `own` is shown its own
            output for the frame before, without gradient, or `view.previous` where `view.given` says so.
        window: consecutive frames of a lane.
        state: what the call for the frames just before gave; None begins anew.

    Returns:
        The output for all N frames, and the new state (with its history: detach it between batches).
    """
    match family.memory:
        case "state":
            return _recurrent(network, family, view, window, state)
        case "own":
            return _fed_back(network, family, view, window, state)
        case _:
            return _forward(network, family, view), None


def _forward(network: nn.Module, family: Family, view: View) -> Output:
    x = family.coding.encode_input(view)
    if not family.embeds:
        return network(x)
    return network(x, network.embed(view.lightness) if view.embedding is None else view.embedding)


def _recurrent(network: nn.Module, family: Family, view: View, window: int, state: State) -> tuple[Tensor, State]:
    """Networks with `forward(x (B,T,C,H,W), starts (B,T), state) -> (y (B,T,C,H,W), state)`."""
    x = family.coding.encode_input(view)
    starts = torch.zeros(len(view), dtype=torch.bool, device=x.device) if view.starts is None else view.starts
    lanes = x.unflatten(0, (-1, window))
    output, state = network(lanes, starts.unflatten(0, (-1, window)), state)
    return output.flatten(0, 1), state


def _fed_back(network: nn.Module, family: Family, view: View, window: int, state: State) -> tuple[Tensor, State]:
    """Networks that see their own colours of the frame before: one frame of every lane at a time."""
    lanes = len(view) // window
    at = torch.arange(len(view), device=view.lightness.device).view(lanes, window)
    previous = state
    outputs = []
    for step in range(window):
        now = view.map(lambda tensor, step=step: tensor[at[:, step]])
        starts = torch.zeros(lanes, dtype=torch.bool, device=at.device) if now.starts is None else now.starts
        if previous is None:
            starts = torch.ones_like(starts) if now.given is None else starts | ~now.given
            previous = torch.cat((now.lightness, now.lightness.new_zeros(lanes, 2, *now.lightness.shape[2:])), dim=1)
        grey = torch.cat((now.lightness, torch.zeros_like(previous[:, 1:])), dim=1)
        before = previous if now.given is None else torch.where(now.given[:, None, None, None], now.previous, previous)
        shown = torch.where(starts[:, None, None, None], grey, before)
        output = _forward(network, family, now.with_(previous=shown, starts=starts))
        outputs.append(output)
        previous = family.coding.decode(now.lightness, output).detach()
    return torch.stack(outputs, dim=1).flatten(0, 1), previous
