"""What a training stands on besides its frames: a size that fits, published weights, embeddings, another model's colours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from kinemacolor import models
from kinemacolor.errors import UserError
from kinemacolor.files import read_json, sha256_of
from kinemacolor.frames.index import FrameStore, open_stores
from kinemacolor.frames.loader import Material, kept
from kinemacolor.models import Family
from kinemacolor.params import AugmentParams, Model
from kinemacolor.training.losses import needs_classes

LONG_WINDOW = 8
"""Consecutive frames that networks with a memory are trained on together if params do not say."""


def window_of(model: Model, family: Family) -> int:
    """Consecutive frames that are trained on together."""
    if model.window is not None:
        return model.window
    return LONG_WINDOW if family.memory in ("own", "state") or model.loss.beta < 1 else 1


def cropped(model: Model, augment: AugmentParams) -> AugmentParams:
    """The dataset's augmentation with the model's own crop, if it has one."""
    return augment if model.crop is None else augment.model_copy(update={"crop": model.crop})


def check_size(
    size: tuple[int, int], augment: AugmentParams, model: Model, network: nn.Module, family: Family, name: str
) -> None:
    """Refuse pictures that the network cannot take, and crops that would show it what it never sees again.

    Films are shrunk as a whole for a network that takes one size, so it must not be trained on parts of frames.

    Args:
        size: height and width of the frames in pixels.
        augment: with the crop that will be used.
        model: says whose crop that is.
        network: of `family`.
        name: the model's, for the sentence.

    Raises:
        UserError: names the multiple it needs and the nearest sizes, or the one size it takes, or the crop.
    """
    side = models.side_of(network, family)
    if side is not None and (set(size) != {side} or augment.crop not in (None, side)):
        shown, more, remedy = "x".join(map(str, size)), "", f"set frames.size to {side}"
        if augment.crop is not None:
            key = "augment.crop" if model.crop is None else "crop"
            more, remedy = f" and {key} is {augment.crop}", f"{remedy} and remove {key}"
        raise UserError(f"{name} takes pictures of {side}x{side} and no others, but frames.size is {shown}{more}: {remedy}.")
    key = "frames.size" if augment.crop is None else "augment.crop" if model.crop is None else "crop"
    sides = size if augment.crop is None else (augment.crop,)
    shown = "x".join(map(str, sides))
    if augment.crop is not None and augment.crop > min(size):
        raise UserError(f"{name}: {key} ({shown}) is larger than the frames ({size[0]}x{size[1]}): lower it.")
    multiple = models.multiple_of(network, family)
    if any(one % multiple for one in sides):
        below = "x".join(str(max(one // multiple, 1) * multiple) for one in sides)
        above = "x".join(str(-(-one // multiple) * multiple) for one in sides)
        nearest = below if below == above else f"{below} or {above}"
        raise UserError(f"{name} needs sides that are multiples of {multiple}, but {key} is {shown}: choose {nearest}.")


def check_use(network: nn.Module, family: Family, model: Model, name: str) -> None:
    """Refuse options that this training could make nothing of.

    Raises:
        UserError: parts of the network would not be trained, or the trained network could never be used.
    """
    if getattr(network, "detach", False) and not needs_classes(model.loss):
        raise UserError(
            f"{name} leaves its trunk to the loss over classes (options.detach), and its loss has none: "
            "set loss.classes, or remove detach."
        )
    if family.embeds and getattr(network, "encoder", None) is None:
        raise UserError(
            f"{name} takes embeddings of {network.embedding_size} numbers, which {network.architecture} inside it does not give, "
            "and could colour nothing but these frames: remove options.embedding_size."
        )


def begin_with(weights: Path | None, network: nn.Module, model: Model, name: str) -> None:
    """Put published weights into the network's encoder.

    Args:
        weights: folder that the weights stage wrote; None where the model names none.

    Raises:
        UserError: they are missing, of another architecture, needed and not named, or the network has no use for them.
    """
    if weights is None:
        if model.pretrained is not None:
            raise UserError(
                f"{name} begins with the weights {model.pretrained!r}: give the folder that holds them with --weights."
            )
        if not all(parameter.requires_grad for parameter in network.parameters()):
            raise UserError(
                f"{name} has an encoder that is never trained, and would see through random numbers: name its weights in `pretrained`."
            )
        return
    if not hasattr(network, "load_encoder"):
        raise UserError(f"The family {model.family!r} does not begin with published weights: remove `pretrained` of {name}.")
    facts = _weights_facts(weights)
    if facts.get("architecture") != network.architecture:
        raise UserError(
            f"{name} needs weights of {network.architecture}, and {weights} holds those of {facts.get('architecture')}: "
            "name others in `pretrained`."
        )
    file = Path(weights) / "weights.safetensors"
    if not file.is_file():
        raise UserError(f"{file} is missing: run the weights stage.")
    if sha256_of(file) != facts.get("sha256"):
        raise UserError(f"{file} is damaged (its sha256 is not the one in weights.json): run the weights stage again.")
    network.load_encoder(load_file(file))


def check_embeddings(embeddings: Path | None, weights: Path | None, network: nn.Module, name: str) -> None:
    """Make sure that embeddings which were computed before are those that the trained network will compute by itself.

    Args:
        embeddings: folder that the embed stage wrote; None where there are none.
        weights: folder of the weights that the network begins with.
        network: of a family that takes embeddings, or not.
        name: the model's, for sentences.

    Raises:
        UserError: they come from other weights, are of another size, or the network has no use for them.
    """
    if embeddings is None:
        return
    if not hasattr(network, "embed"):
        raise UserError(f"{name} takes no embedding: leave --embeddings out.")
    facts = read_json(Path(embeddings) / "embeddings.json", "run the embed stage")
    if facts.get("dimension") != network.embedding_size:
        raise UserError(
            f"The embeddings in {embeddings} have {facts.get('dimension')} numbers and {name} takes {network.embedding_size}: "
            "embed the frames with the weights that it names in `pretrained`."
        )
    if weights is None:
        raise UserError(
            f"{name} has embeddings and not the weights that made them, and could not embed by itself: give --weights."
        )
    if facts.get("sha256") != _weights_facts(weights).get("sha256"):
        raise UserError(f"The embeddings in {embeddings} come from other weights than {weights}: run the embed stage again.")


def _weights_facts(weights: Path) -> dict[str, Any]:
    return read_json(Path(weights) / "weights.json", "run the weights stage")


def materials(
    frames: Iterable[Path],
    filter_table: Path,
    family: Family,
    device: torch.device,
    *,
    name: str,
    embeddings: Path | None = None,
    coloured: Path | None = None,
    before: Path | None = None,
) -> dict[str, Material]:
    """The frames to train on and to validate with.

    Args:
        frames: folders that the frames stage wrote.
        filter_table: file that the filter stage wrote.
        family: says what of the rest the network sees.
        device: where batches are wanted.
        name: the model's, for sentences.
        embeddings, coloured: folders that the embed and the precolour stage wrote.
        before: folder of the model that is said to have coloured them.

    Returns:
        `train`, and `val` if there are such frames.

    Raises:
        UserError: something is missing, damaged, of other frames, or of no use to this network.
    """
    stores = open_stores(frames)
    if coloured is not None and family.memory != "coloured":
        raise UserError(f"{name} cannot see what another model coloured: remove its `precoloured_by`.")
    if coloured is None and family.memory == "coloured":
        raise UserError(
            f"{name} sees frames as another model coloured them: name that model in its `precoloured_by`, or give --coloured."
        )
    vectors = others = None
    if embeddings is not None:
        _of_these_frames(Path(embeddings) / "embeddings.json", stores, "run the embed stage")
        vectors = {source: _embedding(Path(embeddings), source) for source in stores}
    if coloured is not None:
        said = _of_these_frames(Path(coloured) / "precolour.json", stores, "run the precolour stage")
        _by_this_model(said, Path(coloured), before)
        others = {source: FrameStore(Path(coloured) / source) for source in stores}
    parts = {part: rows.reset_index(drop=True) for part, rows in kept(filter_table).groupby("split")}
    if "train" not in parts:
        raise UserError(f"{filter_table} keeps no frame to train on: change the split or the filter.")
    return {part: Material(stores, parts[part], device, others, vectors) for part in ("train", "val") if part in parts}


def _of_these_frames(file: Path, stores: Mapping[str, FrameStore], remedy: str) -> dict[str, Any]:
    """What a stage says of its work, which must be on these very frames."""
    said = read_json(file, remedy)
    of = said.get("indexes", {})
    if wrong := next((source for source, store in stores.items() if of.get(source) != store.sha256), None):
        raise UserError(f"{file.parent} was made of other frames of {wrong} than {stores[wrong].folder} holds: {remedy} again.")
    return said


def _by_this_model(said: Mapping[str, Any], coloured: Path, before: Path | None) -> None:
    """Films will be coloured by the model `before` first: it must be the one that training sees."""
    file = None if before is None else Path(before) / "weights.safetensors"
    if file is not None and file.is_file() and sha256_of(file) != said.get("weights_sha256"):
        raise UserError(
            f"The frames in {coloured} were not coloured by the model in {before} as it is now: run the precolour stage again, "
            "or name the right model with --before."
        )


def _embedding(folder: Path, source: str) -> np.ndarray:
    file = folder / f"{source}.npy"
    try:
        return np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{file} is missing: run the embed stage.") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{file} cannot be read ({error}): run the embed stage again.") from None
