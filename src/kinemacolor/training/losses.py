"""What a network is trained to make small, beside what a discriminator says: see params.Loss for the words.

Losses are written against a family's colour coding and never against a family, so that each goes with every network whose
output fits. All is computed in float32, whatever the network computes in: a bfloat16 has no digits left for a mean over
a batch of pixels. Sources: models.md sections 6 to 8, and the papers and projects that it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kinemacolor.errors import UserError
from kinemacolor.models.coding import Coding
from kinemacolor.params import Loss

GREY_WITHIN = 5.0
"""A picture whose every |a| and |b| stays within this teaches classes nothing (Zhang et al. 2016: non-grey mask)."""


class Error(NamedTuple):
    """How wrong a batch was: means over its frames, but for the part that compares each with the one before."""

    minimised: Tensor
    """Scalar with gradient."""
    told: Tensor
    """Scalar without: what curves show. The same, but for the loss `none`: the squared error in the network's coding."""
    unsteady: Tensor | None = None
    """With beta below 1, the part of `told` that is against the frame before: a mean over pairs."""
    pairs: int = 0
    """How many pairs that is."""


class Objective:
    """The loss of params.yaml without its adversarial term.

    Args:
        loss: the section.
        coding: the network's colour coding.
        window: consecutive frames that are trained on together.
        class_weights: weight of every colour class (Q,), whose mean over the dataset is one; None weighs all alike.

    Raises:
        UserError: the loss does not fit the network or the window.
    """

    def __init__(self, loss: Loss, coding: Coding, *, window: int = 1, class_weights: Tensor | None = None) -> None:
        if needs_classes(loss) and coding.classes is None:
            raise UserError(
                "The loss `classes` needs a network with colour classes, eccv16 or siggraph17: choose one of them, or mse, l1 or huber."
            )
        if loss.beta < 1 and loss.name in ("classes", "none"):
            raise UserError(f"loss.beta below 1 weighs mse, l1 or huber, not {loss.name}: choose one of these, or set beta to 1.")
        if loss.beta < 1 and window < 2:
            raise UserError(
                f"loss.beta {loss.beta:g} compares a frame with the one before, and a window of 1 has none: raise `window`."
            )
        self._loss, self._coding, self._class_weights = loss, coding, class_weights

    def __call__(self, output: Any, lightness: Tensor, lab: Tensor, starts: Tensor | None = None, window: int = 1) -> Error:
        """The error of a batch.

        Args:
            output: what the network gave for N frames.
            lightness: L* that it was shown (N,1,H,W).
            lab: true colours (N,3,H,W).
            starts: (N,) bool: the frame before belongs to another shot; None: nowhere.
            window: N = lanes x window, lane by lane; within a lane, consecutive frames.
        """
        loss, coding = self._loss, self._coding
        output = as_float(output)
        with torch.autocast(lab.device.type, enabled=False):
            terms, unsteady = [], None
            if loss.name in DISTANCES:
                values = coding.values(output)
                distance = distance_of(loss)
                term = distance(values, coding.encode_target(lab))
                if loss.beta < 1:
                    steady = (1 - loss.beta) * unsteadiness(values, starts, window, distance)
                    term, unsteady = loss.beta * term + steady, loss.weight * steady.detach()
                terms.append(loss.weight * term)
            elif loss.name == "classes":
                terms.append(loss.weight * self._of_classes(output, lab))
            if loss.classes:
                terms.append(loss.classes * self._of_classes(output, lab))
            if loss.saturation:
                terms.append(loss.saturation * chroma_error(coding.decode(lightness, output), lab))
            minimised = torch.stack(terms).sum() if terms else lab.new_zeros(())
            if loss.name == "none":
                with torch.no_grad():
                    return Error(minimised, functional.mse_loss(coding.values(output), coding.encode_target(lab)))
            return Error(minimised, minimised.detach(), unsteady, 0 if unsteady is None else pairs(len(lab), starts, window))

    def _of_classes(self, output: Any, lab: Tensor) -> Tensor:
        classes = self._coding.classes
        assert classes is not None
        weights = None if self._class_weights is None else self._class_weights.to(lab.device)
        return class_error(classes.logits(output).float(), classes.encode(lab[:, 1:]), weights, colourful(lab))


def needs_classes(loss: Loss) -> bool:
    """Whether a loss votes for colour classes."""
    return loss.name == "classes" or loss.classes > 0


def as_float(output: Any) -> Any:
    """A network's output in float32: a tensor, or a tuple, list or mapping of such."""
    match output:
        case Tensor():
            return output.float()
        case tuple() if hasattr(output, "_fields"):
            return type(output)(*map(as_float, output))
        case tuple() | list():
            return type(output)(map(as_float, output))
        case Mapping():
            return {name: as_float(value) for name, value in output.items()}
    return output


# ------------------------------------------------------------------------------------------------- distances


def _huber(values: Tensor, target: Tensor, delta: float) -> Tensor:
    return functional.huber_loss(values, target, delta=delta)


DISTANCES: Mapping[str, Callable[..., Tensor]] = {
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "huber": _huber,
}
"""Name in params.yaml -> mean distance of two tensors of one shape. Keys: mse, l1, huber (which takes `delta`)."""


def distance_of(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The distance that a loss names."""
    if loss.name == "huber":
        return lambda values, target: _huber(values, target, loss.delta)
    return DISTANCES[loss.name]


def unsteadiness(values: Tensor, starts: Tensor | None, window: int, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Distance of each prediction from the one for the frame before, within the window and within the shot.

    Gradient flows to both predictions, as in project Previous. The mean is over the pairs that there are.

    Args:
        values: values of the coding (N,C,H,W), N = lanes x window.
        starts: (N,) bool: no frame before belongs to this one.
        window: consecutive frames of a lane.
        distance: mean distance of two tensors.

    Returns:
        A scalar; nought where no frame has one before it.
    """
    lanes = values.unflatten(0, (-1, window))
    now, before = lanes[:, 1:], lanes[:, :-1]
    if starts is None:
        return distance(now, before) if window > 1 else values.sum() * 0
    together = ~starts.unflatten(0, (-1, window))[:, 1:]
    if not together.any():
        return values.sum() * 0
    return distance(now[together], before[together])


def pairs(frames: int, starts: Tensor | None, window: int) -> int:
    """How many of N frames have one before them, within the window and within the shot."""
    if starts is None:
        return frames // window * (window - 1)
    return int((~starts.unflatten(0, (-1, window))[:, 1:]).sum())


# ------------------------------------------------------------------------------------- saturation and classes


def chroma(lab: Tensor) -> Tensor:
    """Chroma (N,H,W) of Lab (N,3,H,W) in Lab units. The root's gradient is kept finite at grey."""
    return (lab[:, 1:].square().sum(dim=1) + 1e-6).sqrt()


def chroma_error(lab: Tensor, truth: Tensor) -> Tensor:
    """Mean |C - C'| / 128 of Lab (N,3,H,W) against the truth: the saturation loss of models.md section 7.

    Squared error alone makes pictures grey, since the mean of several likely colours has less chroma than any of them.
    """
    return (chroma(lab.float()) - chroma(truth)).abs().mean() / 128


def colourful(lab: Tensor) -> Tensor:
    """(N,) bool: some pixel of Lab (N,3,H,W) leaves grey."""
    return (lab[:, 1:].abs() > GREY_WITHIN).flatten(1).any(dim=1)


def class_error(logits: Tensor, target: Tensor, weights: Tensor | None, counts: Tensor) -> Tensor:
    """Rebalanced cross-entropy against soft targets (Zhang et al. 2016, equations 2 and 3).

    Args:
        logits: (N,Q,h,w).
        target: shares (N,Q,h,w) that sum to one over Q.
        weights: of the classes (Q,); a vote counts as much as the class with its largest share. None: all alike.
        counts: (N,) bool: pictures that count; the others weigh nothing, and the mean is over all.

    Returns:
        Mean over pictures and votes, in nats.
    """
    surprise = -(target * functional.log_softmax(logits, dim=1)).sum(dim=1)
    if weights is not None:
        surprise = surprise * weights[target.argmax(dim=1)]
    return (surprise * counts[:, None, None]).mean()
