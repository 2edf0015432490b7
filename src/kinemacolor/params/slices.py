"""The slice of values that each stage gets."""

from __future__ import annotations

from typing import Any

from kinemacolor.params.base import Section
from kinemacolor.params.sources import FilmPairSource, ImagesSource, SyncParams
from kinemacolor.params.whole import Params


def slices(params: Params, *, preset: str | None = None) -> dict[str, dict[str, Any]]:
    """The values of every stage that the experiments need: slice name such as `train-bunny-lab_unet` -> JSON values.

    A slice holds all that its stage may know. Two equal params files give equal slices whatever the order of keys.

    Args:
        preset: whose report this is, if not that of params.yaml: every preset has a page, and a slice for it, of its own.
    """
    values: dict[str, Section | dict[str, Any]] = {}
    for dataset_name, models in params.trained.items():
        dataset = params.datasets[dataset_name]
        of_dataset = [params.sources[name] for name in dataset.sources]
        for name in dataset.sources:
            source = params.sources[name]
            values[f"download-{name}"] = (
                source.model_copy(update={"sync": SyncParams()}) if isinstance(source, FilmPairSource) else source
            )
            if isinstance(source, FilmPairSource):
                values[f"sync-{name}"] = source.sync
        # How many jobs take the frames is no matter of what they are: only the slice of `pieces` knows.
        values[f"frames-{dataset_name}"] = dataset.frames.model_dump(mode="json", exclude={"pieces"})
        if dataset.frames.pieces > 1:
            values[f"pieces-{dataset_name}"] = dataset.frames
        values[f"split-{dataset_name}"] = dataset.split
        values[f"filter-{dataset_name}"] = dataset.filter
        values[f"evaluate-{dataset_name}"] = dataset.evaluate
        if dataset.evaluate.motion is not None and not all(isinstance(source, ImagesSource) for source in of_dataset):
            values[f"motion-{dataset_name}"] = {
                "frames": dataset.frames.model_dump(mode="json", exclude={"pieces"}),
                "motion": dataset.evaluate.motion.model_dump(mode="json"),
            }
        values[f"render-{dataset_name}"] = dataset.render
        for name in models:
            values[f"train-{dataset_name}-{name}"] = {
                "model": params.models[name].model_dump(mode="json"),
                "augment": dataset.augment.model_dump(mode="json"),
            }
            if (weights := params.models[name].pretrained) is not None:
                values[f"weights-{weights}"] = params.weights[weights]
        for weights in params.measured_with[dataset_name].values():
            values[f"weights-{weights}"] = params.weights[weights]
        for name in params.shown_beside[dataset_name]:
            values[f"external-{dataset_name}-{name}"] = {
                "external": params.external[name].model_dump(mode="json"),
                "frames": dataset.frames.model_dump(mode="json", exclude={"pieces"}),
            }
    values["report" if preset is None else f"report-{preset}"] = {
        "experiments": {d: list(m) for d, m in params.experiments.items()},
        "external": params.shown_beside,
    }
    return {name: value.model_dump(mode="json") if isinstance(value, Section) else value for name, value in values.items()}
