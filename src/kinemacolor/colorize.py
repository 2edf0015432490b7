"""Pictures in, colour out: a trained model as one callable, whatever its network, colour coding and memory.

Pictures are fitted to what the network takes, and never seen in a shape that training did not show: at the bottom and right
they are continued by reflection to its multiple of pixels. A network that takes one square is shown the whole picture, continued
at both sides to a square and shrunk, and what was added is cut off again. Where training saw frames stretched to
the square, or on black bars (`frames.fit`), so does the network here.

The model's folder holds `weights.safetensors` and `meta.json` (readable without torch); nothing is unpickled. A model that
sees frames as another one coloured them has that other model's two files in its folder `before`, so a folder is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from kinemacolor import models
from kinemacolor.colour import lab_to_rgb, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.models.coding import View
from kinemacolor.models.running import State, run

BEFORE = "before"
"""Folder inside a model's folder: the model that colours the frames one by one before it sees them."""
_NAMED = 3  # tensors that a message names


class Colorizer:
    """Gives Lab to L*: fits it to the network's sizes, runs it in evaluation mode, decodes, and undoes the fitting.

    A network with a memory is given consecutive frames in order, in calls of any length, and carries on from the last
    call until `reset`, a frame in `starts`, or pictures of another size.

    Attributes:
        name: the model's name in params.yaml.
        meta: the content of meta.json.
        keeps_luminance: the network predicts ab only, and L* comes back as it went in.
        remembers: it has a memory, so that the order of the frames matters.
        device: where the network lives; results come back on the input's device.
        before: the model that colours the frames one by one before this one sees them, if there is one.
    """

    def __init__(
        self,
        network: nn.Module,
        family: models.Family,
        meta: Mapping[str, Any],
        device: str | torch.device = "cpu",
        *,
        before: Colorizer | None = None,
    ) -> None:
        self.network = network.eval().to(device)
        self.family = family
        self.meta = dict(meta)
        self.name = str(meta.get("name", "model"))
        self.keeps_luminance = family.coding.keeps_luminance
        self.remembers = family.memory != "none"
        self.device = torch.device(device)
        self.before = before
        self._multiple = models.multiple_of(network, family)
        self._side = models.side_of(network, family)
        self._fit = str(meta.get("fit", "crop"))
        self._size: torch.Size | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one is the first."""
        self._state: State = None
        self._last: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, lightness: Tensor, starts: Tensor | None = None, hints: Tensor | None = None) -> Tensor:
        """Colour a batch of grey pictures; for a network with a memory, consecutive frames in order.

        Args:
            lightness: L* (N,1,H,W), 0 to 100, any height and width.
            starts: (N,) bool, for networks with a memory: nothing before these frames belongs to them. None: all do.
            hints: (N,3,H,W): a and b of colour hints, 0 elsewhere, and a mask of 0 and 1, for networks that take hints.

        Returns:
            Lab (N,3,H,W) float32 on the input's device; ab as the network predicts it, not clipped to the gamut.

        Raises:
            UserError: hints for a network that takes none, or of another size than the picture.
        """
        there = lightness.to(self.device, torch.float32)
        if self._size != there.shape[-2:]:
            self.reset()
            self._size = there.shape[-2:]
        view = View(there, hints=self._checked(hints, there))
        if self.remembers:
            view = view.with_(starts=self._starts(starts, len(there)))
        if self.family.embeds:
            view = view.with_(embedding=self.network.embed(there))
        last = self._last
        try:
            if self.before is not None:
                view = self._coloured(view)
            fitted = self._fitted(view)
            output, self._state = run(self.network, self.family, fitted, window=len(fitted), state=self._state)
        except BaseException:
            self._last = last  # whoever tries again with fewer frames, for want of memory, goes on from the same one
            raise
        return self._unfitted(self.family.coding.decode(fitted.lightness, output), there).to(lightness.device)

    def _starts(self, starts: Tensor | None, count: int) -> Tensor:
        found = torch.zeros(count, dtype=torch.bool) if starts is None else starts.to("cpu", torch.bool, copy=True)
        found[0] |= self._state is None and self._last is None
        return found.to(self.device)

    def _checked(self, hints: Tensor | None, lightness: Tensor) -> Tensor | None:
        if hints is None:
            return None
        if not self.family.hints:
            raise UserError(f"The model {self.name} takes no colour hints: choose one whose family does, such as siggraph17.")
        if hints.shape != (len(lightness), 3, *lightness.shape[-2:]):
            raise UserError(
                f"The hints are {'x'.join(map(str, hints.shape[-2:]))} pixels and the picture is "
                f"{'x'.join(map(str, lightness.shape[-2:]))}: make them of one size."
            )
        return hints.to(self.device, torch.float32)

    def _coloured(self, view: View) -> View:
        """With the frames as the model before colours them, each by itself, and for `coloured` memory the frames before."""
        alone = torch.ones(len(view), dtype=torch.bool, device=self.device)
        # In 8 bits and back, as the precolour stage stores them and the loader reads them.
        coloured = rgb_to_lab(to_uint8(lab_to_rgb(self.before(view.lightness, alone))))
        if self.family.memory != "coloured":
            return view.with_(coloured=coloured)
        previous = torch.cat((coloured[:1] if self._last is None else self._last, coloured[:-1]))
        self._last = coloured[-1:]
        return view.with_(coloured=coloured, previous=torch.where(view.starts[:, None, None, None], coloured, previous))

    def _fitted(self, view: View) -> View:
        """At a size that the network takes."""
        side = self._side

        def fit(picture: Tensor | None) -> Tensor | None:
            if picture is None or side is None:
                return None if picture is None else pad_to_multiple(picture, self._multiple)
            return resized(pad_to_square(picture, self._fit), (side, side))

        hints = view.hints
        if hints is not None and side is not None:
            square = hints if self._fit == "stretch" else functional.pad(hints, margins(hints.shape[-2:]))
            hints = functional.interpolate(square, (side, side), mode="nearest")
        elif hints is not None:  # a reflected hint would be one that nobody gave
            height, width = hints.shape[-2:]
            hints = functional.pad(hints, (0, -width % self._multiple, 0, -height % self._multiple))
        return view.with_(lightness=fit(view.lightness), coloured=fit(view.coloured), previous=fit(view.previous), hints=hints)

    def _unfitted(self, lab: Tensor, lightness: Tensor) -> Tensor:
        """At the size of the picture again."""
        height, width = lightness.shape[-2:]
        if self._side is None:
            return lab[..., :height, :width]
        if self._fit == "stretch":
            lab = resized(lab, (height, width))
        else:
            left, _, top, _ = margins((height, width))
            extent = max(height, width)
            lab = resized(lab, (extent, extent))[..., top : top + height, left : left + width]
        return torch.cat((lightness, lab[:, 1:]), dim=1) if self.keeps_luminance else lab


def resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """(B,C,H,W) at another size, bilinearly; averaged where it shrinks."""
    if picture.shape[-2:] == size:
        return picture
    return functional.interpolate(picture, size, mode="bilinear", antialias=True)


def margins(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels to add left, right, above and below a picture of height and width, to make it a square with it in the middle."""
    down, across = (max(size) - extent for extent in size)
    return across // 2, across - across // 2, down // 2, down - down // 2


def pad_to_square(picture: Tensor, fit: str = "crop") -> Tensor:
    """Continue (B,C,H,W) at its short sides to a square, by reflection (by repetition where it is too small to reflect).

    Args:
        fit: how frames got their shape before training: stretch leaves the picture as it is; pad puts it on black (all
            channels nought: Lab).
    """
    height, width = picture.shape[-2:]
    added = margins((height, width))
    if fit == "stretch" or not any(added):
        return picture
    if fit == "pad":
        return functional.pad(picture, added)
    mode = "reflect" if max(added[:2]) < width and max(added[2:]) < height else "replicate"
    return functional.pad(picture, added, mode=mode)


def pad_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Extend (B,C,H,W) at the bottom and right by reflection (by repetition where it is too small to reflect)."""
    height, width = picture.shape[-2:]
    down, right = -height % multiple, -width % multiple
    if not (down or right):
        return picture
    mode = "reflect" if down < height and right < width else "replicate"
    return functional.pad(picture, (0, right, 0, down), mode=mode)


def load(folder: Path, *, device: str | torch.device | None = None) -> Colorizer:
    """Load a trained model from its folder, onto the GPU if there is one.

    Raises:
        UserError: a file is missing or damaged, the weights are of another network than meta.json says, or there is no such
            device.
    """
    folder = Path(folder)
    device = _device(device)
    meta = read_json(folder / "meta.json", "train the model, or name a folder under data/models/")
    try:
        settings = meta["params"]["model"]
        name, options = settings["family"], settings["options"]
    except (KeyError, TypeError):
        raise UserError(f"{folder}/meta.json does not say which network it is of: train the model again.") from None
    network, family = models.build(name, options), models.family(name)
    _fill(network, folder / "weights.safetensors", name)
    before = load(folder / BEFORE, device=device) if (folder / BEFORE / "meta.json").is_file() else None
    if before is None and family.memory == "coloured":
        raise UserError(f"{folder}/{BEFORE}, the model that colours the frames first, is missing: train the model again.")
    return Colorizer(network, family, meta, device, before=before)


def _device(name: str | torch.device | None) -> torch.device:
    """The device of a name, if this machine has it; a GPU, if there is one and None is given."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):  # the last two where torch was built without it
        kinds = "cpu or cuda" if torch.cuda.is_available() else "cpu, since there is no GPU"
        raise UserError(f"The device {str(name)!r} is not to be had on this machine: give --device {kinds}.") from None
    return device


def _fill(network: nn.Module, file: Path, name: str) -> None:
    """Put the weights of a file into a network of family `name`."""
    try:
        weights = load_file(file)
    except FileNotFoundError:
        raise UserError(f"{file} is missing: train the model again.") from None
    except SafetensorError as error:
        raise UserError(f"{file} is damaged ({error}): train the model again, or `dvc pull`.") from None
    if wrong := misfits(network.state_dict(), weights):
        raise UserError(f"{file} does not fit the network {name!r} ({wrong}): train the model again.")
    network.load_state_dict(weights)


def misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """In words, the first few names and shapes in which two sets of weights differ; empty if they fit."""
    shapes = [
        f"{key} is {_shape(given[key])}, not {_shape(tensor)}"
        for key, tensor in wanted.items()
        if key in given and given[key].shape != tensor.shape
    ]
    found = (
        ("it lacks ", [key for key in wanted if key not in given]),
        ("it has ", [key for key in given if key not in wanted]),
        ("", shapes),
    )
    return "; ".join(what + _few(names) for what, names in found if names)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
