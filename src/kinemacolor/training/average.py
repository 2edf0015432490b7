"""The exponential moving average of a network's weights: what is validated and kept where params say `ema`.

Running statistics of batch normalisation are averaged like weights, since those of the present weights do not belong to
averaged ones; whole numbers are copied. The decay begins small, min(decay, (1 + n) / (10 + n)) at step n, so that random
first weights are soon forgotten even in a training of few steps (as TensorFlow's ExponentialMovingAverage does).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Follows a network.

    Args:
        network: begins as the average.
        decay: share of the average that a step keeps, in the long run.

    Attributes:
        values: the average, as a state dict of the network.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        keep = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for name, value in network.state_dict().items():
            mine = self.values[name]
            if mine.device != value.device:
                mine = self.values[name] = mine.to(value.device)
            if mine.is_floating_point():
                mine.lerp_(value, 1 - keep)
            else:
                mine.copy_(value)

    @contextmanager
    def shown_by(self, network: nn.Module) -> Iterator[None]:
        """Let the network hold the average for a while."""
        own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.values)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state_dict(self) -> dict[str, object]:
        """For a checkpoint."""
        return {"steps": self._steps, "values": self.values}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """From a checkpoint."""
        self._steps = int(state["steps"])
        self.values: dict[str, Tensor] = {name: value.clone() for name, value in state["values"].items()}
