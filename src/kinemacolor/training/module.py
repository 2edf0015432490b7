"""The Lightning module: one training of one network, with its curves.

Figures of an epoch are weighted by frames, never means of batch means, and over all devices. The state that makes a resumed
training equal an unbroken one (curves, best weights, moving average) travels in the checkpoint; random numbers
start anew from (seed, epoch) every epoch, and learning rates follow from the epoch alone. Networks are only ever called
through `models.running.run`, so they see in a film what they saw here; what a network with a memory carries goes from
batch to batch within an epoch, without its gradient (truncated back-propagation).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from kinemacolor.errors import UserError
from kinemacolor.frames.loader import Batch, Batches, Material
from kinemacolor.models import Family
from kinemacolor.models.coding import Output, View
from kinemacolor.models.running import State, run
from kinemacolor.params import AugmentParams, Model
from kinemacolor.training import views
from kinemacolor.training.average import Average
from kinemacolor.training.energy import Energy, counters_of
from kinemacolor.training.figures import LossFigure, Mean
from kinemacolor.training.losses import Error, Objective, as_float
from kinemacolor.training.pictures import Row, chosen_batches
from kinemacolor.training.schedules import make_optimiser, rate_factor, set_rate

Curve = dict[str, float]
"""One epoch: epoch (from 1), train_loss, val_loss, val_mse_ab@128, lr, seconds, frames_per_second (of training alone); on a
GPU device_memory, the peak in MiB, and energy_joules where it counts them; of a GAN d_loss, d_real, d_fake, d_acc and g_gan
(training/adversarial.py)."""


class Training(lightning.LightningModule):
    """Trains one network on one dataset.

    Losses in the curves are without an adversarial term, so that training and validation compare; where there is nothing
    else (`none`), they are the squared error in the network's coding. The best epoch is that of the lowest val_loss.

    Args:
        network: of `family`.
        family: says what the network takes, gives and remembers.
        model: the model's section of params.yaml.
        augment: the dataset's augmentation.
        train, val: the frames; `val` may be empty, and then the last epoch's weights are the result.
        window: consecutive frames that are trained on together.
        class_weights: for losses over colour classes; see `losses.Objective`.
        on_epoch: called on the first device with each finished epoch's curve, for logs and tracking; must not raise.
        on_pictures: called there with the epoch (from 1) and rows of pictures, after the epochs that `model.images` names.

    Attributes:
        curves: of the epochs so far.
        best: epoch, val_loss and state (the network's state dict on the CPU) of the best one.
        stopped: one sentence if the training ended before its last epoch.

    Raises:
        UserError: the loss does not fit the network or the window.
    """

    def __init__(
        self,
        network: nn.Module,
        family: Family,
        *,
        model: Model,
        augment: AugmentParams,
        train: Material,
        val: Material | None,
        window: int = 1,
        class_weights: Tensor | None = None,
        on_epoch: Callable[[Curve], None] = lambda curve: None,
        on_pictures: Callable[[int, list[Row]], None] = lambda epoch, rows: None,
    ) -> None:
        super().__init__()
        self.network = network
        self.curves: list[Curve] = []
        self.best: dict[str, Any] = {"epoch": 0, "val_loss": float("inf"), "state": None}
        self.stopped: str | None = None
        self._family, self._coding, self._model, self._augment = family, family.coding, model, augment
        self._train_material, self._val_material, self._window = train, val, window
        self._on_epoch, self._on_pictures = on_epoch, on_pictures
        self._objective = Objective(model.loss, family.coding, window=window, class_weights=class_weights)
        self._average = None if model.ema is None else Average(network, model.ema)
        self._averaged = ExitStack()
        self._train_loss, self._val_loss = LossFigure(model.loss.beta < 1), LossFigure(model.loss.beta < 1)
        self._val_ab = Mean()
        self._carried: State = None
        self._rows: list[Row] = []
        self._since = self._begun = time.monotonic()
        self._frames, self._trained_for = 0, 0.0
        self._energy = Energy([])

    # ------------------------------------------------------------------------------------------------ data

    def setup(self, stage: str) -> None:
        """Lightning gives several processes on the CPU other thread counts, and sums would round differently."""
        torch.set_num_threads(self._model.threads)

    def train_dataloader(self) -> Batches:
        """A new epoch; the trainer asks before each one."""
        # Dropout draws from torch's global generator: begin each epoch where an unbroken run would.
        torch.manual_seed((self._model.seed * 1_000_003 + self.current_epoch) * 1_009 + self._share[0])
        return self._batches(self._train_material, shuffle=(self._model.seed, self.current_epoch))

    def val_dataloader(self) -> Batches | list:
        """Validation frames in order, centre crop."""
        return [] if self._val_material is None else self._batches(self._val_material, shuffle=None)

    def _batches(self, material: Material, shuffle: tuple[int, int] | None) -> Batches:
        # Frames in order cannot be shared among devices where each must see the one before: then every one sees them all.
        together = shuffle is None and (self._window > 1 or self._family.memory in ("own", "state"))
        return Batches(
            material,
            batch_size=self._model.batch_size,
            augment=self._augment,
            shuffle=shuffle,
            window=self._window,
            memory=self._family.memory,
            share=(0, 1) if together else self._share,
        )

    @property
    def has_classes(self) -> bool:
        """Whether the network votes for colour classes, with a part of it that a loss may leave out."""
        return self._coding.classes is not None

    @property
    def _share(self) -> tuple[int, int]:
        trainer = self._trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Batches are made on the device."""
        return batch

    # ----------------------------------------------------------------------------------------------- steps

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Begin an epoch with its first batch: the trainer leaves its own hook out in the first epoch after a resumption."""
        if index == 0:
            self._carried, self._frames = None, 0
            self._begun = time.monotonic()
            factor = rate_factor(self._model, self.current_epoch)
            for optimiser, base in zip(self._optimisers(), self._base_rates(), strict=True):
                set_rate(optimiser, base, factor)
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of one batch, in the network's coding."""
        output = self._output(batch, self._view_in_training(batch, index))
        error = self._error(output, batch)
        self._told(error, batch)
        return error.minimised * batch.weight

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip gradients here, since Lightning refuses to for optimisers that step in one kernel."""
        if self._model.clip_gradient is not None:
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            nn.utils.clip_grad_norm_(weights, self._model.clip_gradient)

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        """Let the moving average follow."""
        if self._average is not None:
            self._average.follow(self.network)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Loss and MSE(ab/128) of one batch; Lightning has set evaluation mode and switched gradients off."""
        output = as_float(self._output(batch, batch.view))
        lab = self._coding.decode(batch.view.lightness, output)
        self._val_loss.update(self._error(output, batch), len(batch.lab))
        self._val_ab.update(((lab[:, 1:] - batch.lab[:, 1:]) / 128).square().mean(), len(batch.lab))
        if index in self._shown:
            self._rows.append((batch.view.lightness[0], lab[0], batch.lab[0]))

    def _view_in_training(self, batch: Batch, index: int) -> View:
        """What the network is shown of a batch, with hints and earlier colours made up for it."""
        at = (self._model.seed, self.current_epoch, index, self._share[0])
        return views.in_training(batch, self._family, self._model, epoch=self.current_epoch, at=at)

    def _output(self, batch: Batch, view: View) -> Output:
        """Run the network, and keep what it carries on."""
        output, state = self._run(batch, view)
        self._carried = detached(state)
        return output

    def _run(self, batch: Batch, view: View) -> tuple[Output, State]:
        try:
            return run(self.network, self._family, view, window=batch.window, state=self._carried)
        except ValueError as error:
            if "Expected more than 1 value per channel" not in str(error):
                raise
            height, width = view.lightness.shape[-2:]
            raise UserError(
                f"A batch of {len(view)} frame of {height}x{width} leaves this network one value where it normalises over the batch: "
                "choose larger frames, or a batch_size that leaves no single frame over."
            ) from None

    def _error(self, output: Output, batch: Batch) -> Error:
        return self._objective(output, batch.view.lightness, batch.lab, batch.view.starts, batch.window)

    def _told(self, error: Error, batch: Batch) -> None:
        """Take a training batch's loss into the curve.

        Raises:
            UserError: it is no number any more.
        """
        self._refuse_infinite(error.minimised, f"optimiser.lr, now {self._model.optimiser.lr:g}")
        count = len(batch.lab) if batch.weight else 0
        self._train_loss.update(error, count)
        self._frames += count

    def _refuse_infinite(self, loss: Tensor, remedy: str) -> None:
        wrong = (~torch.isfinite(loss.detach())).float()
        if self._share[1] > 1:
            torch.distributed.all_reduce(wrong)  # all devices stop, or the others would wait for ever
        if wrong:
            raise UserError(f"Training diverged in epoch {self.current_epoch + 1} (the loss is {loss.item()}): lower {remedy}.")

    # ---------------------------------------------------------------------------------------------- epochs

    def on_validation_start(self) -> None:
        """Show the average, where there is one, and the same running statistics on all devices."""
        self._finish_training_figures()
        if self._average is not None:
            self._averaged.enter_context(self._average.shown_by(self.network))
        if self._share[1] > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)
        self._carried, self._rows = None, []
        wanted = self._share[0] == 0 and self.current_epoch + 1 in self._model.images
        self._shown = chosen_batches(len(self.val_dataloader())) if wanted else ()

    def on_validation_end(self) -> None:
        """Go on with the network's own weights."""
        self._averaged.close()
        self._carried = None
        if self._rows:
            self._on_pictures(self.current_epoch + 1, self._rows)
            self._rows = []

    def _finish_training_figures(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._trained_for = time.monotonic() - self._begun

    def on_train_epoch_end(self) -> None:
        """Close the epoch's figures and keep the best weights; validation has run by now.

        Raises:
            UserError: the validation loss is no number.
        """
        if self._val_material is None:
            self._finish_training_figures()
        curve: Curve = {"epoch": self.current_epoch + 1, "train_loss": self._taken(self._train_loss)}
        curve["lr"] = float(self._optimisers()[0].param_groups[0]["lr"])
        now = time.monotonic()
        curve["seconds"], self._since = now - self._since, now
        curve["frames_per_second"] = self._frames * self._share[1] / max(self._trained_for, 1e-9)
        if self.device.type == "cuda":
            curve["device_memory"] = torch.cuda.max_memory_allocated(self.device) / 2**20
        if (joules := self._energy.used()) is not None:
            curve["energy_joules"] = joules
        if self._val_material is not None:
            curve |= self.validated()
            if not math.isfinite(curve["val_loss"]):
                raise UserError(
                    f"Training diverged in epoch {self.current_epoch + 1} (the validation loss is {curve['val_loss']}): "
                    f"lower optimiser.lr, now {self._model.optimiser.lr:g}."
                )
        curve |= self._more_figures()
        if self._val_material is None or curve["val_loss"] < self.best["val_loss"]:
            state = {name: value.detach().cpu().clone() for name, value in self.weights().items()}
            self.best = {"epoch": curve["epoch"], "val_loss": curve.get("val_loss", 0.0), "state": state}
        self.curves.append(curve)
        if self._share[0] == 0:
            self._on_epoch(curve)

    def weights(self) -> dict[str, Tensor]:
        """The network's state dict as it would be kept now: the moving average, if there is one."""
        return self.network.state_dict() if self._average is None else self._average.values

    def validated(self) -> Curve:
        """Figures of the validation that has just run."""
        return {"val_loss": self._taken(self._val_loss), "val_mse_ab@128": self._taken(self._val_ab)}

    def _more_figures(self) -> Curve:
        return {}

    @staticmethod
    def _taken(metric: Mean | LossFigure) -> float:
        value = float(metric.compute())
        metric.reset()
        return value

    # ------------------------------------------------------------------------------- checkpoints, optimisers

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what the trainer does not know of into the checkpoint."""
        checkpoint |= {"curves": self.curves, "best": self.best, "stopped": self.stopped}
        if self._average is not None:
            checkpoint["average"] = self._average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it out again."""
        self.curves, self.best, self.stopped = checkpoint["curves"], checkpoint["best"], checkpoint["stopped"]
        if self._average is not None:
            self._average.load_state_dict(checkpoint["average"])

    def on_train_start(self) -> None:
        """Start the clock; and a training that had ended by itself and was killed before its model was written is over."""
        self._since = time.monotonic()
        if self._share[0] == 0:
            self._energy = Energy(counters_of(self._gpus()))
        if self.stopped is not None:
            self.trainer.should_stop = True

    def _gpus(self) -> list[torch.device]:
        """The GPUs of all processes of this training."""
        if self.device.type != "cuda" or self._share[1] == 1:
            return [self.device]
        return [torch.device("cuda", index) for index in range(self._share[1])]

    def configure_optimizers(self) -> Any:
        """The optimiser as params say; its rate is set in every epoch."""
        return make_optimiser(self.network.parameters(), self._model.optimiser)

    def _optimisers(self) -> list[Any]:
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def _base_rates(self) -> list[float]:
        return [self._model.optimiser.lr]


def detached(state: State) -> State:
    """What a network carries on, without its history."""
    match state:
        case Tensor():
            return state.detach()
        case tuple() | list():
            return type(state)(map(detached, state))
    return state
