"""Training against a discriminator, in pix2pix's order: it learns from the pictures just painted, then the network from it.

Both have an optimiser of their own and follow one schedule. Figures: d_loss; d_real and d_fake, how much the discriminator
believes true and painted pictures, both .5 at a draw; d_acc, the share that it told apart; g_gan, the network's
adversarial loss without its weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kinemacolor.frames.loader import Batch
from kinemacolor.training.adversary import Adversary, Verdict
from kinemacolor.training.figures import Mean
from kinemacolor.training.losses import as_float
from kinemacolor.training.module import Curve, Training, detached
from kinemacolor.training.schedules import make_optimiser

FIGURES = ("d_loss", "d_real", "d_fake", "d_acc", "g_gan")


class AdversarialTraining(Training):
    """Trains one network beside a discriminator; `model.loss.gan` must be given. Otherwise as Training.

    Attributes:
        adversary: the discriminator and its losses.
    """

    def __init__(self, network: torch.nn.Module, family: Any, **settings: Any) -> None:
        super().__init__(network, family, **settings)
        self.automatic_optimization = False
        assert self._model.loss.gan is not None
        self._gan = self._model.loss.gan
        size = self._train_material.size if self._augment.crop is None else (self._augment.crop,) * 2
        self.adversary = Adversary(self._gan, self._coding, size)
        self._figures = torch.nn.ModuleDict({name: Mean() for name in FIGURES})

    def training_step(self, batch: Batch, index: int) -> None:
        """A step of the discriminator and one or more of the network."""
        network_optimiser, discriminator_optimiser = self.optimizers()
        view = self._view_in_training(batch, index)
        lightness = batch.view.lightness
        state = None
        for step in range(self._gan.generator_steps):
            output, state = self._run(batch, view)
            with torch.autocast(lightness.device.type, enabled=False):
                painted = self._coding.values(as_float(output))
            if step == 0:
                self._teach_discriminator(discriminator_optimiser, batch, painted)
            error = self._error(output, batch)
            fooled = self.adversary.fooled(lightness, painted)
            self._step(network_optimiser, (error.minimised + self._gan.weight * fooled) * batch.weight)
            if step == 0:
                self._told(error, batch)
                self._refuse_infinite(fooled, f"loss.gan.optimiser.lr, now {self._gan.optimiser.lr:g}")
                self._note(batch, g_gan=fooled)
            if self._average is not None:
                self._average.follow(self.network)
        self._carried = detached(state)

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        """The moving average has followed every step already."""

    def _teach_discriminator(self, optimiser: Any, batch: Batch, painted: Tensor) -> None:
        verdict = self.adversary.judged(batch.view.lightness, self._coding.encode_target(batch.lab), painted)
        self._note(batch, d_loss=verdict.loss, d_real=verdict.real, d_fake=verdict.fake, d_acc=verdict.accuracy)
        if not self.adversary.rests():
            self._step(optimiser, verdict.loss * batch.weight)
        self.adversary.remember(self._over_devices(verdict, batch))

    def _over_devices(self, verdict: Verdict, batch: Batch) -> float:
        """The step's accuracy, the same number on every device, or some would rest and some would not."""
        accuracy = verdict.accuracy * batch.weight
        if self._share[1] > 1:
            torch.distributed.all_reduce(accuracy)
        return float(accuracy / self._share[1])

    def _step(self, optimiser: Any, loss: Tensor) -> None:
        optimiser.zero_grad()
        self.manual_backward(loss)
        optimiser.step()

    def _note(self, batch: Batch, **figures: Tensor) -> None:
        for name, value in figures.items():
            self._figures[name].update(value.detach(), len(batch.lab) if batch.weight else 0)

    def _more_figures(self) -> Curve:
        figures = {name: self._taken(self._figures[name]) for name in FIGURES}
        won = self.adversary.epoch_over(figures["d_acc"])
        if won is not None and self.current_epoch + 1 < self._model.epochs:
            self.stopped = won
            self.trainer.should_stop = True
        return figures

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As Training, and the running accuracy."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["adversary"] = self.adversary.memory()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As Training, and the running accuracy."""
        super().on_load_checkpoint(checkpoint)
        self.adversary.recall(checkpoint["adversary"])

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """The network's optimiser and the discriminator's."""
        return [
            make_optimiser(self.network.parameters(), self._model.optimiser),
            make_optimiser(self.adversary.parameters(), self._gan.optimiser),
        ]

    def _base_rates(self) -> list[float]:
        return [self._model.optimiser.lr, self._gan.optimiser.lr]
