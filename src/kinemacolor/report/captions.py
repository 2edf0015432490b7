"""What stands under a video: which pictures it shows, and where; only what is known of its layout and size is said."""

from __future__ import annotations

from collections.abc import Sequence

from kinemacolor.report.results import DatasetResult, Showing

_ONE = {
    "grid": "grey, predicted, true",
    "wipe": "grey, predicted and true, wiped one over the other",
    "over": "true above predicted",
}
_SIZES = {
    "film": "A model that predicts chroma keeps the film's own lightness; one that predicts RGB is enlarged from the size it was "
    "trained at.",
    "training": "All are of the size of training, pixel for pixel.",
}


def of_all(dataset: DatasetResult) -> str:
    """A caption of the video of all models, in sentences."""
    there = dataset.stills.panels if dataset.stills else ()
    models = [model.name for model in dataset.models if not model.external or model.name in there]
    layout = dataset.showing.layout if dataset.showing else ""
    if layout == "grid":
        shown = f"{_listed(['Grey', *models, 'the truth'])}, frame for frame."
    elif layout == "wipe":
        shown = f"{_listed(['Grey', *models, 'the truth'])} in turn, each wiped over the one before, frame for frame."
    elif layout == "over":
        shown = f"The truth, and under it {_listed(models)}, frame for frame."
    else:
        shown = f"The truth and what {_listed(models)} made of the grey picture, frame for frame."
    size = _SIZES.get(dataset.showing.size, "") if dataset.showing else ""
    return f"{shown} {size}".rstrip()


def of_one(showing: Showing | None) -> str:
    """Which pictures the video of one model shows."""
    return _ONE.get(showing.layout, "predicted and true") if showing else "predicted and true"


def _listed(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
