"""Faults of params.yaml that are certain when it is read, though its sections are right one by one.

A network that does not fit its frames, its loss or its weights would say so when it is trained: after a download, an hour of
frames, or another model's training. It needs no torch to know (models/needs.py), so the Snakefile asks at once.
"""

from __future__ import annotations

from kinemacolor import models, params
from kinemacolor.errors import UserError
from kinemacolor.models.needs import Needs, needs_of


def refuse(chosen: params.Params) -> None:
    """Refuse models that an experiment trains and that cannot be trained as they are described.

    Raises:
        UserError: one sentence, which names models.<name>.<key> and the remedy.
    """
    for dataset, names in chosen.trained.items():
        for name in names:
            model = chosen.models[name]
            models.module_of(model.family)
            needs = needs_of(model.family, model.options)
            _colours(chosen, name, needs)
            _weights(chosen, name, needs)
            _loss(chosen, name, needs)
            _size(chosen, dataset, name, needs)


def _colours(chosen: params.Params, name: str, needs: Needs) -> None:
    model = chosen.models[name]
    by = model.precoloured_by
    if needs.coloured and by is None:
        raise UserError(
            f"models.{name}.precoloured_by is missing: {model.family!r} sees frames as another model coloured them; name that model."
        )
    if by is None:
        return
    if not needs.coloured:
        raise UserError(
            f"models.{name}.precoloured_by names {by!r}, but {model.family!r} does not see what another model coloured: remove it."
        )
    other = chosen.models[by]
    if needs_of(other.family, other.options).coloured:
        raise UserError(
            f"models.{name}.precoloured_by names {by!r}, whose family {other.family!r} sees coloured frames itself: "
            "name a model that colours grey frames."
        )


def _weights(chosen: params.Params, name: str, needs: Needs) -> None:
    model = chosen.models[name]
    if model.pretrained is None:
        if model.family in models.EMBEDS:
            raise UserError(
                f"models.{name}.pretrained is missing: {model.family!r} sees an embedding of the whole picture; "
                "name the weights of its encoder."
            )
        if needs.must_begin:
            raise UserError(
                f"models.{name}.pretrained is missing: {model.family!r} has an encoder that is never trained; "
                f"name weights of {needs.begins_with}."
            )
        return
    there = chosen.weights[model.pretrained].architecture
    if needs.begins_with is None:
        raise UserError(
            f"models.{name}.pretrained names {model.pretrained!r}, but {model.family!r} does not begin with published weights: remove it."
        )
    if there != needs.begins_with:
        raise UserError(
            f"models.{name}.pretrained names {model.pretrained!r}, which are weights of {there}, but this {model.family!r} needs those of "
            f"{needs.begins_with}: name such."
        )


def _loss(chosen: params.Params, name: str, needs: Needs) -> None:
    model = chosen.models[name]
    if needs.classes:
        return
    key = "loss" if model.loss.name == "classes" else "loss.classes" if model.loss.classes > 0 else None
    if key is not None:
        raise UserError(
            f"models.{name}.{key} weighs votes for colour classes, and this {model.family!r} has none: take eccv16 or siggraph17, "
            "or mse, l1 or huber alone."
        )


def _size(chosen: params.Params, dataset: str, name: str, needs: Needs) -> None:
    model, settings = chosen.models[name], chosen.datasets[dataset]
    sides = settings.frames.height_width
    key = f"datasets.{dataset}.frames.size"
    crop = model.crop or settings.augment.crop
    if crop is not None:
        whole, sides = sides, (crop, crop)
        key = f"models.{name}.crop" if model.crop is not None else f"datasets.{dataset}.augment.crop"
        if crop > min(whole):
            who = "" if model.crop is not None else f" that models.{name}.family is trained on"
            raise UserError(
                f"{key} is {crop}, larger than the frames{who} (datasets.{dataset}.frames.size is {_shown(whole)}): "
                f"set it to {min(whole)} or less."
            )
    family = f"models.{name}.family: {model.family!r}"
    if needs.side is not None:
        if set(sides) != {needs.side}:
            only = f"{needs.side}x{needs.side}"
            raise UserError(
                f"{family} takes pictures of {only} and no others, but {key} is {_shown(sides)}: set it to {needs.side}."
            )
        return
    if any(side % needs.multiple for side in sides):
        below = _shown(tuple(max(side // needs.multiple, 1) * needs.multiple for side in sides))
        above = _shown(tuple(-(-side // needs.multiple) * needs.multiple for side in sides))
        nearest = below if below == above else f"{below} or {above}"
        raise UserError(
            f"{family} needs sides that are multiples of {needs.multiple}, but {key} is {_shown(sides)}: set it to {nearest}."
        )


def _shown(sides: tuple[int, ...]) -> str:
    return str(sides[0]) if len(set(sides)) == 1 else f"[{', '.join(map(str, sides))}]"
