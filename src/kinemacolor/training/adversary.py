"""The adversarial term: a discriminator, what it says of true and of painted pictures, and whether it has won.

The discriminator is shown cat(grey, values) if it is conditional: the grey picture as L/50 - 1, whatever the network itself
takes, and the values of the network's colour coding, brought to about [-1, 1] where they are not. Sources: pix2pix and LSGAN; models.md section 5.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor.models.coding import Coding
from kinemacolor.models.discriminators import build_discriminator, seen
from kinemacolor.params import Gan

TELLS_APART = 0.99
"""Accuracy over an epoch above which a discriminator tells nearly every picture apart."""
_MEMORY = 0.9
"""Share of the running accuracy that a step keeps."""


class Verdict(NamedTuple):
    """One look of the discriminator at true pictures and at painted ones."""

    loss: Tensor
    """Scalar with gradient: half the error on the true ones and half that on the painted ones."""
    real: Tensor
    """Mean belief, 0 to 1, that true pictures are true; without gradient."""
    fake: Tensor
    """Mean belief that painted pictures are true."""
    accuracy: Tensor
    """Share of the pictures, true and painted, that it judged rightly: by the mean of a picture's logits."""


class Adversary(nn.Module):
    """A discriminator with its losses.

    Args:
        gan: the section of params.yaml.
        coding: the network's colour coding.
        size: height and width of the pictures in pixels.

    Attributes:
        discriminator: gives logits.
        accuracy: running accuracy, None before the first step.
        won_for: epochs in a row in which it told nearly every picture apart.
    """

    def __init__(self, gan: Gan, coding: Coding, size: tuple[int, int]) -> None:
        super().__init__()
        self._gan = gan
        low, high = coding.span
        self._middle, self._reach = (low + high) / 2, (high - low) / 2
        channels = coding.channels[1] + (1 if gan.conditional else 0)
        self.discriminator = build_discriminator(
            gan.discriminator,
            channels=channels,
            size=size,
            layers=gan.layers,
            first_norm=gan.first_norm,
            halve_last=gan.halve_last,
        )
        self.accuracy: float | None = None
        self.won_for = 0

    def judged(self, lightness: Tensor, true: Tensor, painted: Tensor) -> Verdict:
        """What the discriminator is trained on; no gradient reaches the painter.

        Args:
            lightness: L* of the grey pictures (N,1,H,W).
            true, painted: values of the coding (N,C,H,W).
        """
        real, fake = self._logits(lightness, true), self._logits(lightness, painted.detach())
        with torch.autocast(real.device.type, enabled=False):
            loss = (verdict_loss(real, True, self._gan.kind, self._gan.smoothing) + verdict_loss(fake, False, self._gan.kind)) / 2
        with torch.no_grad():
            right = torch.cat((self._believed(real.flatten(1).mean(dim=1)), ~self._believed(fake.flatten(1).mean(dim=1))))
            return Verdict(loss, self._belief(real), self._belief(fake), right.float().mean())

    def fooled(self, lightness: Tensor, painted: Tensor) -> Tensor:
        """The network's adversarial loss, a scalar: how far the painted pictures (N,C,H,W) are from passing as true.

        The discriminator's own parameters get no gradient.
        """
        self.discriminator.requires_grad_(False)
        try:
            logits = self._logits(lightness, painted)
        finally:
            self.discriminator.requires_grad_(True)
        with torch.autocast(logits.device.type, enabled=False):
            return verdict_loss(logits, True, self._gan.kind)

    def rests(self) -> bool:
        """Whether it is so far ahead that it should not learn for the moment."""
        limit = self._gan.rest_above
        return limit is not None and self.accuracy is not None and self.accuracy > limit

    def remember(self, accuracy: float) -> None:
        """Take a step's accuracy into the running one."""
        self.accuracy = accuracy if self.accuracy is None else _MEMORY * self.accuracy + (1 - _MEMORY) * accuracy

    def epoch_over(self, accuracy: float) -> str | None:
        """Take in the accuracy over an epoch.

        Returns:
            One sentence if it has won and the training should end, else None.
        """
        self.won_for = self.won_for + 1 if accuracy > TELLS_APART else 0
        if self._gan.won_after is None or self.won_for < self._gan.won_after:
            return None
        epochs = "1 epoch" if self.won_for == 1 else f"{self.won_for} epochs"
        return (
            f"The discriminator told more than {TELLS_APART:.0%} of the pictures apart for {epochs}, so the network learns nothing more from it: "
            "make it conditional, set an L1 loss beside it, or let it rest (loss.gan.rest_above)."
        )

    def memory(self) -> dict[str, float | int | None]:
        """What a checkpoint must hold beside the weights."""
        return {"accuracy": self.accuracy, "won_for": self.won_for}

    def recall(self, memory: dict[str, float | int | None]) -> None:
        """From a checkpoint."""
        self.accuracy, self.won_for = memory["accuracy"], int(memory["won_for"] or 0)

    def _logits(self, lightness: Tensor, values: Tensor) -> Tensor:
        shown = (values - self._middle) / self._reach
        return self.discriminator(seen(lightness / 50 - 1, shown, conditional=self._gan.conditional)).float()

    def _belief(self, logits: Tensor) -> Tensor:
        return logits.sigmoid().mean() if self._gan.kind == "vanilla" else logits.mean()

    def _believed(self, logits: Tensor) -> Tensor:
        return logits > (0.0 if self._gan.kind == "vanilla" else 0.5)


def verdict_loss(logits: Tensor, true: bool, kind: str, smoothing: float = 0.0) -> Tensor:
    """How far logits are from saying that pictures are true, or painted.

    Args:
        logits: of any shape.
        true: what they should say.
        kind: vanilla (binary cross-entropy) or least_squares.
        smoothing: true pictures count as 1 minus this.

    Returns:
        A scalar mean.
    """
    target = torch.full_like(logits, 1.0 - smoothing if true else 0.0)
    if kind == "vanilla":
        return functional.binary_cross_entropy_with_logits(logits, target)
    return functional.mse_loss(logits, target)
