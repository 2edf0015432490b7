"""What params.yaml may say: one pydantic model per section, and the slice of values that each stage gets.

params.yaml is read here and nowhere else. A stage never sees it: it gets its own slice, written by the Snakefile as
canonical JSON under .params/, so that a stage runs again when a value it uses changes and only then.
The JSON schema at workflow/params.schema.json is generated from these models: `kinemacolor schema`.
"""

from kinemacolor.params.base import Name, ParamsError, Section
from kinemacolor.params.datasets import (
    AnySplit,
    AugmentParams,
    ChronologicalSplit,
    Dataset,
    EvaluateParams,
    FilterParams,
    FramesParams,
    MotionParams,
    RenderParams,
    SeededSplit,
)
from kinemacolor.params.external import External
from kinemacolor.params.models import Gan, Hints, Loss, Model, Optimiser
from kinemacolor.params.reading import check, load, read_document, schema, section
from kinemacolor.params.recipe import LONGEST_SIDE, MOST_FRAMES, SHORTEST_SIDE, Inserted, Recipe
from kinemacolor.params.slices import slices
from kinemacolor.params.sources import (
    AnySource,
    ClipsSource,
    FilmPairSource,
    GameSource,
    ImagesSource,
    MadePrint,
    Media,
    Origin,
    SyncCrop,
    SyncParams,
    SyncSegment,
    VideoSource,
)
from kinemacolor.params.weights import Weights
from kinemacolor.params.whole import Params

__all__ = [
    "LONGEST_SIDE",
    "MOST_FRAMES",
    "SHORTEST_SIDE",
    "AnySource",
    "AnySplit",
    "AugmentParams",
    "ChronologicalSplit",
    "ClipsSource",
    "Dataset",
    "EvaluateParams",
    "External",
    "FilmPairSource",
    "FilterParams",
    "FramesParams",
    "GameSource",
    "Gan",
    "Hints",
    "ImagesSource",
    "Inserted",
    "Loss",
    "MadePrint",
    "Media",
    "Model",
    "MotionParams",
    "Name",
    "Optimiser",
    "Origin",
    "Params",
    "ParamsError",
    "Recipe",
    "RenderParams",
    "Section",
    "SeededSplit",
    "SyncCrop",
    "SyncParams",
    "SyncSegment",
    "VideoSource",
    "Weights",
    "check",
    "load",
    "read_document",
    "schema",
    "section",
    "slices",
]
