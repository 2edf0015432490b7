"""The whole of params.yaml, and what must hold between its sections."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from kinemacolor.params.base import Name, Section
from kinemacolor.params.datasets import Dataset
from kinemacolor.params.external import External
from kinemacolor.params.models import Model
from kinemacolor.params.sources import AnySource, FilmPairSource
from kinemacolor.params.weights import Weights

_TAKEN = ("pictures", "presets")
"""Folders of reports/ that are no dataset's."""
_MEASURED_WITH = {"lpips": "architecture lpips_alex or lpips_vgg", "features": "an encoder"}
"""Keys of `evaluate` that name weights."""


class Params(Section):
    """The whole of params.yaml."""

    sources: dict[Name, AnySource]
    datasets: dict[Name, Dataset]
    weights: dict[Name, Weights] = Field({})
    models: dict[Name, Model]
    experiments: dict[Name, list[Name]]
    """Dataset: the models to train on it. What `all` builds."""
    external: dict[Name, External] = Field({})
    """Results of other programs, measured beside the models of their dataset's experiment."""

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        if taken := next((name for name in self.datasets if name in _TAKEN), None):
            raise ValueError(f"datasets.{taken}: reports/{taken} is the report page's own folder: choose another name")
        for dataset, settings in self.datasets.items():
            for source in settings.sources:
                _known(source, self.sources, f"datasets.{dataset}.sources", "sources")
            if twice := next((name for name in settings.sources if settings.sources.count(name) > 1), None):
                raise ValueError(f"datasets.{dataset}.sources names {twice!r} twice: remove one")
            pairs = [name for name in settings.sources if isinstance(self.sources[name], FilmPairSource)]
            if pairs and len(pairs) < len(settings.sources):
                other = next(name for name in settings.sources if name not in pairs)
                raise ValueError(
                    f"datasets.{dataset}.sources mixes a film pair ({pairs[0]!r}) with another kind ({other!r}): "
                    "make a dataset of each"
                )
            for source in settings.split.sources:
                if source not in settings.sources:
                    raise ValueError(
                        f"datasets.{dataset}.split.sources names {source!r}, which is not one of its sources: mend it"
                    )
            if settings.render.source is not None and settings.render.source not in settings.sources:
                raise ValueError(
                    f"datasets.{dataset}.render.source names {settings.render.source!r}, which is not one of its sources"
                )
        for name, model in self.models.items():
            if model.pretrained is not None:
                _known(model.pretrained, self.weights, f"models.{name}.pretrained", "weights")
            if model.precoloured_by is not None:
                _known(model.precoloured_by, self.models, f"models.{name}.precoloured_by", "models")
                if self.models[model.precoloured_by].precoloured_by is not None:
                    raise ValueError(
                        f"models.{name}.precoloured_by names {model.precoloured_by!r}, which is precoloured itself: "
                        "name a model that colours grey frames"
                    )
        if taken := next((name for name in ("grey", "truth") if name in self.models or name in self.external), None):
            raise ValueError(
                f"{taken!r} is what videos and pages call a picture of their own: give the model or result another name"
            )
        for dataset, models in self.experiments.items():
            _known(dataset, self.datasets, "experiments", "datasets")
            for model in models:
                _known(model, self.models, f"experiments.{dataset}", "models")
            if not models:
                raise ValueError(f"experiments.{dataset} names no model: name one or remove the line")
            if len(set(models)) != len(models):
                raise ValueError(f"experiments.{dataset} names a model twice: remove one")
        for name, settings in self.datasets.items():
            self._measures_exist(name, settings)
        for name, entry in self.external.items():
            self._external_fits(name, entry)
        return self

    def _measures_exist(self, name: str, dataset: Dataset) -> None:
        for key in _MEASURED_WITH:
            if (weights := getattr(dataset.evaluate, key)) is None:
                continue
            where = f"datasets.{name}.evaluate.{key}"
            _known(weights, self.weights, where, "weights")
            if _kind(self.weights[weights].architecture) != key:
                raise ValueError(
                    f"{where} names {weights!r}, whose architecture is another: name weights of {_MEASURED_WITH[key]}"
                )

    def _external_fits(self, name: str, entry: External) -> None:
        where = f"external.{name}"
        _known(entry.dataset, self.datasets, f"{where}.dataset", "datasets")
        if name in self.models:
            raise ValueError(f"{where}: a model has this name, and both would stand in one folder: choose another name")
        sources = self.datasets[entry.dataset].sources
        if entry.source is not None and entry.source not in sources:
            raise ValueError(f"{where}.source names {entry.source!r}, which is not a source of {entry.dataset!r}: mend it")

    @property
    def measured_with(self) -> dict[str, dict[str, str]]:
        """Dataset of an experiment -> option of `evaluate` -> the entry of `weights` that it is given."""
        asked = {dataset: self.datasets[dataset].evaluate for dataset in self.experiments}
        return {
            dataset: {key: weights for key in _MEASURED_WITH if (weights := getattr(values, key)) is not None}
            for dataset, values in asked.items()
        }

    @property
    def shown_beside(self) -> dict[str, list[str]]:
        """Dataset of an experiment -> the entries of `external` that stand beside its models."""
        return {
            dataset: [name for name, entry in self.external.items() if entry.dataset == dataset] for dataset in self.experiments
        }

    def coloured_source(self, external: str) -> str:
        """The source that an entry of `external` shows."""
        entry = self.external[external]
        return entry.source or self.datasets[entry.dataset].sources[0]

    @property
    def trained(self) -> dict[str, list[str]]:
        """Dataset -> the models to train on it: those of its experiment, and those that colour frames for them."""
        found = {}
        for dataset, names in self.experiments.items():
            others = (self.models[name].precoloured_by for name in names)
            found[dataset] = list(dict.fromkeys([*names, *(other for other in others if other is not None)]))
        return found


def _kind(architecture: str) -> str:
    """What weights can measure with: `lpips`, `features`, or nothing, as those of a whole network that colours."""
    if architecture.startswith("lpips_"):
        return "lpips"
    return "" if architecture in ("eccv16", "siggraph17") else "features"


def _known(name: str, there: dict[str, Any], where: str, section: str) -> None:
    if name not in there:
        raise ValueError(f"{where} names {name!r}, but {section} has no such entry: add it there or correct the name")
