"""The Lightning module: one training of one network, with its curves.

Figures of an epoch are weighted by frames, never means of batch means. The state that makes a resumed training equal an
unbroken one (curves, best weights) travels in the checkpoint; random numbers start anew from (seed, epoch) every epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from kinemacolor.errors import UserError
from kinemacolor.frames.loader import Batch, Batches, Material
from kinemacolor.models.coding import Coding
from kinemacolor.params import AugmentParams, Model, Optimiser
from kinemacolor.training.losses import LOSSES

Curve = dict[str, float]
"""One epoch: epoch (from 1), train_loss, val_loss, val_mse_ab@128, lr, seconds."""


class Training(lightning.LightningModule):
    """Trains one network on one dataset.

    Args:
        network: takes and gives what `coding` says.
        coding: the family's colour coding.
        model: the model's section of params.yaml.
        augment: the dataset's augmentation.
        train, val: the frames; `val` may be empty, and then the last epoch's weights are the result.
        on_epoch: called with each finished epoch's curve, for logs and tracking; must not raise.
    """

    def __init__(
        self,
        network: nn.Module,
        coding: Coding,
        *,
        model: Model,
        augment: AugmentParams,
        train: Material,
        val: Material | None,
        on_epoch: Callable[[Curve], None],
    ) -> None:
        super().__init__()
        self.network = network
        self.curves: list[Curve] = []
        self.best: dict[str, Any] = {"epoch": 0, "val_loss": float("inf"), "state": None}
        self._coding, self._model, self._augment = coding, model, augment
        self._train_material, self._val_material, self._on_epoch = train, val, on_epoch
        self._loss = LOSSES[model.loss.name]
        self._train_loss, self._val_loss, self._val_ab = MeanMetric(), MeanMetric(), MeanMetric()
        self._since = time.monotonic()

    # ------------------------------------------------------------------------------------------------ data

    def train_dataloader(self) -> Batches:
        """A new epoch; the trainer asks before each one."""
        # Dropout draws from torch's global generator: begin each epoch where an unbroken run would.
        torch.manual_seed(self._model.seed * 1_000_003 + self.current_epoch)
        shuffle = (self._model.seed, self.current_epoch)
        return Batches(self._train_material, batch_size=self._model.batch_size, augment=self._augment, shuffle=shuffle)

    def val_dataloader(self) -> Batches | list:
        """Validation frames in order, centre crop."""
        if self._val_material is None:
            return []
        return Batches(self._val_material, batch_size=self._model.batch_size, augment=self._augment, shuffle=None)

    # ----------------------------------------------------------------------------------------------- steps

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss of one batch, in the network's coding."""
        output = self.network(self._coding.encode_input(batch.view)).float()
        loss = self._loss(output, self._coding.encode_target(batch.lab))
        if not torch.isfinite(loss):
            raise UserError(
                f"Training diverged in epoch {self.current_epoch + 1} (the loss is {loss.item()}): lower optimiser.lr, now {self._model.optimiser.lr:g}."
            )
        self._train_loss.update(loss.detach(), len(batch.lab))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Loss and MSE(ab/128) of one batch; Lightning has set evaluation mode and switched gradients off."""
        output = self.network(self._coding.encode_input(batch.view)).float()
        lab = self._coding.decode(batch.view.lightness, output)
        self._val_loss.update(self._loss(output, self._coding.encode_target(batch.lab)), len(batch.lab))
        self._val_ab.update(((lab[:, 1:] - batch.lab[:, 1:]) / 128).square().mean(), len(batch.lab))

    # ---------------------------------------------------------------------------------------------- epochs

    def on_train_epoch_end(self) -> None:
        """Close the epoch's figures and keep the best weights; validation has run by now."""
        curve: Curve = {"epoch": self.current_epoch + 1, "train_loss": self._taken(self._train_loss)}
        curve["lr"] = float(self.optimizers().param_groups[0]["lr"])
        now = time.monotonic()
        curve["seconds"], self._since = now - self._since, now
        if self._val_material is not None:
            curve |= self.validated()
        if self._val_material is None or curve["val_loss"] < self.best["val_loss"]:
            state = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
            self.best = {"epoch": curve["epoch"], "val_loss": curve.get("val_loss", 0.0), "state": state}
        self.curves.append(curve)
        self._on_epoch(curve)

    def validated(self) -> Curve:
        """Figures of the validation that has just run."""
        return {"val_loss": self._taken(self._val_loss), "val_mse_ab@128": self._taken(self._val_ab)}

    @staticmethod
    def _taken(metric: MeanMetric) -> float:
        value = float(metric.compute())
        metric.reset()
        return value

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put curves and best weights into the checkpoint."""
        checkpoint["curves"], checkpoint["best"] = self.curves, self.best

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take curves and best weights out of the checkpoint."""
        self.curves, self.best = checkpoint["curves"], checkpoint["best"]

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser and its schedule as params say."""
        optimiser = make_optimiser(self.network, self._model.optimiser)
        if self._model.schedule.name == "constant":
            return {"optimizer": optimiser}
        return {
            "optimizer": optimiser,
            "lr_scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=self._model.epochs),
        }


def make_optimiser(network: nn.Module, params: Optimiser) -> torch.optim.Optimizer:
    """One of torch's optimisers over the network's trainable parameters."""
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    common = {"lr": params.lr, "weight_decay": params.weight_decay}
    match params.name:
        case "adam":
            return torch.optim.Adam(weights, betas=params.betas, eps=params.eps, fused=True, **common)
        case "adamw":
            return torch.optim.AdamW(weights, betas=params.betas, eps=params.eps, fused=True, **common)
        case "rmsprop":
            return torch.optim.RMSprop(weights, alpha=params.alpha, eps=params.eps, momentum=params.momentum, **common)
        case "sgd":
            return torch.optim.SGD(weights, momentum=params.momentum, **common)
