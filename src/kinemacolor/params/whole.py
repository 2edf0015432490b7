"""The whole of params.yaml, and what must hold between its sections."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from kinemacolor.params.base import Name, Section
from kinemacolor.params.datasets import Dataset
from kinemacolor.params.models import Model
from kinemacolor.params.sources import AnySource, FilmPairSource
from kinemacolor.params.weights import Weights

_TAKEN = ("pictures", "presets")
"""Folders of reports/ that are no dataset's."""


class Params(Section):
    """The whole of params.yaml."""

    sources: dict[Name, AnySource]
    datasets: dict[Name, Dataset]
    weights: dict[Name, Weights] = Field({})
    models: dict[Name, Model]
    experiments: dict[Name, list[Name]]
    """Dataset: the models to train on it. What `all` builds."""

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
        for dataset, models in self.experiments.items():
            _known(dataset, self.datasets, "experiments", "datasets")
            for model in models:
                _known(model, self.models, f"experiments.{dataset}", "models")
            if not models:
                raise ValueError(f"experiments.{dataset} names no model: name one or remove the line")
            if len(set(models)) != len(models):
                raise ValueError(f"experiments.{dataset} names a model twice: remove one")
        return self

    @property
    def trained(self) -> dict[str, list[str]]:
        """Dataset -> the models to train on it: those of its experiment, and those that colour frames for them."""
        found = {}
        for dataset, names in self.experiments.items():
            others = (self.models[name].precoloured_by for name in names)
            found[dataset] = list(dict.fromkeys([*names, *(other for other in others if other is not None)]))
        return found


def _known(name: str, there: dict[str, Any], where: str, section: str) -> None:
    if name not in there:
        raise ValueError(f"{where} names {name!r}, but {section} has no such entry: add it there or correct the name")
