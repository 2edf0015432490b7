"""The sections of `models`: a network family, its loss, its optimiser, and how it is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from kinemacolor.params.base import Fraction, Name, Section


class Optimiser(Section):
    """One of torch's optimisers, with the names and defaults of the paper or project it comes from."""

    name: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    lr: float = Field(1e-3, gt=0)
    """Learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """For adam and adamw."""
    alpha: Fraction = 0.9
    """For rmsprop: smoothing constant. Keras's default .9, not torch's .99."""
    eps: float = Field(1e-7, gt=0)
    """Keras's default, not torch's 1e-8."""
    momentum: Fraction = 0.0
    """For sgd."""


class Schedule(Section):
    """How the learning rate moves from epoch to epoch. The discriminator of a GAN follows the same one."""

    name: Literal["constant", "cosine", "linear", "step"] = "constant"
    """cosine falls to nothing over the epochs; linear stays, then falls to nothing; step falls by `factor` every `every` epochs."""
    hold: Fraction = 0.5
    """For linear: share of the epochs before it begins to fall (pix2pix: 100 of 200)."""
    every: int = Field(10, ge=1)
    """For step: epochs between two falls."""
    factor: float = Field(0.1, gt=0, lt=1)
    """For step."""


class Gan(Section):
    """An adversarial term: a discriminator learns to tell coloured pictures from true ones, and the network to fool it."""

    kind: Literal["vanilla", "least_squares"] = "vanilla"
    """Binary cross-entropy of logits, or the squared error of LSGAN."""
    discriminator: Literal["patch", "film"] = "patch"
    """patch: one verdict a patch (pix2pix); film: one a picture, through three dense layers, as project Film tried it."""
    layers: int = Field(3, ge=1, le=5)
    """For patch: convolutions that halve, first one included; 3 see 70 pixels, 2 (project Recurrent) 34."""
    first_norm: bool = False
    """For patch: batch norm on the first convolution too, so on all hidden ones, as project Recurrent's text has it; pix2pix has none there."""
    halve_last: bool = False
    """For patch: the last convolution but one halves as well: with 2 `layers` it then sees 46 pixels."""
    conditional: bool = True
    """Show the discriminator the grey picture too. Without it (project Film) a gaudy picture of anything will do."""
    weight: float = Field(1.0, gt=0)
    """Factor on the adversarial term beside the loss."""
    optimiser: Optimiser = Optimiser(lr=2e-4, betas=(0.5, 0.999), eps=1e-8)
    """The discriminator's."""
    generator_steps: int = Field(1, ge=1)
    """Steps of the network for one of the discriminator."""
    smoothing: Fraction = 0.0
    """One-sided label smoothing: true pictures count as 1 minus this."""
    rest_above: Fraction | None = None
    """The discriminator rests while its running accuracy is above this; None never lets it rest."""
    won_after: int | None = Field(5, ge=1)
    """Training ends when the discriminator has told nearly every picture apart (accuracy above .99) for this many epochs."""


class Loss(Section):
    """What is minimised, in the network's own colour coding."""

    name: Literal["mse", "l1", "huber", "classes", "none"] = "mse"
    """classes: cross-entropy over the classes of a network that has them; none: the adversarial term alone."""
    weight: float = Field(1.0, gt=0)
    """Factor on it (pix2pix: 100 on L1 beside the adversarial term)."""
    delta: float = Field(1.0, gt=0)
    """For huber: where squared error becomes linear, in units of the coding."""
    beta: Fraction = 1.0
    """Share of the error against the truth; the rest is against the prediction for the frame before (project Previous)."""
    saturation: float = Field(0.0, ge=0)
    """Weight of the error in chroma, sqrt(a^2 + b^2) / 128: squared error alone makes pictures grey."""
    classes: float = Field(0.0, ge=0)
    """Weight of the cross-entropy over classes beside the named loss, for networks that give both (siggraph17)."""
    rebalance: Fraction | None = 0.5
    """For classes: lambda of Zhang et al.; 1 rebalances not at all, 0 wholly by the dataset's own prior. None: not at all."""
    gan: Gan | None = None

    @model_validator(mode="after")
    def _something(self) -> Loss:
        if self.name == "none" and self.gan is None:
            raise ValueError("`none` leaves nothing to minimise: name a loss, or give a gan")
        return self


class Hints(Section):
    """Colour hints made up in training, as Zhang et al. 2017 do it."""

    stop: float = Field(0.125, gt=0, le=1)
    """The number of hints is geometric with this probability of stopping: 1/8 gives 7 in the mean."""
    patch: int = Field(9, ge=1)
    """Largest side of a hint in pixels; sides are uniform from 1."""
    reveal: Fraction = 0.01
    """Share of the pictures that are revealed whole."""


class Previous(Section):
    """How a network that sees its own colours of the frame before is trained. Ours."""

    own: tuple[Fraction, Fraction] = (0.0, 0.9)
    """Share of the frames shown the network's own output rather than the truth, in the first and in the last epoch."""
    drop: Fraction = 0.15
    """Share of the frames that are shown nothing of the frame before, as after a cut."""


def _by_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Model(Section):
    """A network family with its loss and optimiser. `kinemacolor models` lists the families."""

    family: Name
    """Which network: `kinemacolor models` lists them."""
    options: dict[str, bool | int | float | str] = Field({})
    """The family's own options, such as width; its docstring explains them."""
    pretrained: Name | None = None
    """Entry of `weights` that the network's encoder begins with."""
    precoloured_by: Name | None = None
    """Another model: it colours the frames one by one, and this network sees them coloured."""
    loss: Annotated[Loss, BeforeValidator(_by_name, json_schema_input_type=Loss | str)] = Loss()
    """A name (mse, l1, huber, classes) or a section."""
    optimiser: Optimiser = Optimiser()
    schedule: Annotated[Schedule, BeforeValidator(_by_name, json_schema_input_type=Schedule | str)] = Schedule()
    """A name (constant, cosine, linear, step) or a section."""
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=1)
    """Frames in a batch, over all devices; of windows as many as it holds whole, at least one: 30 with a window of 8 are 24."""
    window: int | None = Field(None, ge=1)
    """Consecutive frames that are trained on together, for networks with a memory (8 if not given) or a beta below 1."""
    crop: int | None = Field(None, ge=8)
    """Side of a random square crop in pixels instead of the dataset's."""
    hints: Hints = Hints()
    """For networks that take colour hints."""
    previous: Previous = Previous()
    """For networks that see their own colours of the frame before."""
    clip_gradient: float | None = Field(None, gt=0)
    """Largest norm of the gradient."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, a step; the average is what is validated and kept."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto: bf16 where the device computes in it (GPUs since Ampere, CPUs with AVX512-BF16 or AMX), else 32 bit."""
    devices: int = Field(1, ge=1)
    """GPUs, or processes on the CPU; a batch is shared out among them."""
    strategy: Literal["auto", "ddp"] = "auto"
    """How devices work together, in Lightning's words. auto: ddp for several, none for one; ddp: for one device too."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights become the model: of the lowest validation loss, or of the last epoch."""
    images: list[int] = Field([])
    """Epochs after which pictures of validation frames are logged."""
    threads: int = Field(1, ge=1)
    """CPU threads of one training. Sums round differently with another number, so it is said here and not guessed."""
    seed: int = 0

    @model_validator(mode="after")
    def _images_of_epochs_there_are(self) -> Model:
        if wrong := [epoch for epoch in self.images if not 1 <= epoch <= self.epochs]:
            raise ValueError(f"images names epoch {wrong[0]}, and epochs go from 1 to {self.epochs}: correct it")
        return self
