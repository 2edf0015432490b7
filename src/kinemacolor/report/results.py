"""All that the page says, as plain values: who gathers them (findings/) knows the artefacts, who draws them does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinemacolor.report.filtering import Filtering
from kinemacolor.report.segments import Agreement
from kinemacolor.report.timeline import TimeLine

SPLITS = {"val": "Validation", "test": "Test", "train": "Training"}
"""In the order in which they matter: training error says little."""

# ------------------------------------------------------------------------------------------------ sources


@dataclass(frozen=True)
class Print:
    """One moving picture: what it is called, where it is from, and its probe."""

    label: str
    origin: str
    width: int
    height: int
    frame_rate: str
    frames: int
    duration: float
    sound: bool
    address: str | None = None
    """Where it can be looked at, if it came from the web."""
    sha256: str = ""


@dataclass(frozen=True)
class SyncSegment:
    """A stretch that both prints show without a break, in words; `unsure` marks a low confidence."""

    colour: str
    """First and last frame, and so on."""
    colour_time: str
    grey: str
    grey_time: str
    speed: str
    alike: str
    confidence: str
    unsure: bool = False


@dataclass(frozen=True)
class Sync:
    """What brought two prints together."""

    offset: int | None
    """Grey frame minus colour frame, if it is the same throughout."""
    pairs: int
    segments: int
    confidence: float
    """Mean over the pairs, 0 to 1."""
    residual_px: float | None
    truth_offset: int | None = None
    """For a made print: the offset that its recipe gave it, if it gave one."""
    seconds: float | None = None
    """The offset in seconds of the grey print, if both prints keep one clock."""
    plots: Mapping[str, Path] = field(default_factory=dict)
    """What a plot shows -> its picture."""
    rows: Sequence[SyncSegment] = ()
    """The segments, in the order of the colour print; none if they were not recorded."""
    own: Mapping[str, str] = field(default_factory=dict)
    """Print -> what it has for itself, in words."""
    speeds: str = ""
    correlation: float | None = None
    share: float | None = None
    """Paired frames, of the shorter print's, 0 to 1."""
    kind: str = ""
    """How the colour picture lies on the grey one, in words."""
    agreement: Agreement | None = None
    """For a made print: how the found pairs compare with the true ones."""


@dataclass(frozen=True)
class Source:
    """What a dataset is made from."""

    name: str
    kind: str
    licence: str
    credit: str
    prints: Sequence[Print]
    sync: Sync | None = None
    collection: str = ""
    """Of clips or photographs: how many, how large, from where, in a sentence or two."""


@dataclass(frozen=True)
class Part:
    """One part of a split: frames in it, frames kept, and how many were dropped for which reason."""

    frames: int
    kept: int
    reasons: Mapping[str, int]


# ------------------------------------------------------------------------------------------------ results


@dataclass(frozen=True)
class Making:
    """What made a model: facts in words (commit, md5 of its data, device ...), and all its settings as YAML."""

    facts: Mapping[str, str]
    settings: str = ""


@dataclass(frozen=True)
class ModelResult:
    """One model on one dataset, or what another program made of it.

    `metrics` is metrics.json (split -> metric -> number), `intervals` intervals.json (split -> metric -> [low, high]), `epochs`
    epochs.json (epoch -> {"val_mse_ab@128": ...}), `curves` curves.json; pictures and video may be absent.
    """

    name: str
    parameters: int
    seconds: float
    device: str
    trained_epochs: int
    metrics: Mapping[str, Mapping[str, float]]
    epochs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Sequence[Mapping[str, float]] = ()
    sheets: Mapping[str, Path] = field(default_factory=dict)
    """Split -> sample sheet."""
    video: Path | None = None
    poster: Path | None = None
    trainable: bool = True
    intervals: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    extremes: Mapping[str, Path] = field(default_factory=dict)
    """Split -> sheet of the best, typical and worst frames."""
    making: Making | None = None
    external: bool = False
    """Coloured by another program: of it only the figures are known, and whom to credit."""
    credit: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Paired:
    """The figure of one model less that of another on the same frames: mean and 95 % interval over so many shots."""

    first: str
    second: str
    split: str
    metric: str
    mean: float
    low: float
    high: float
    shots: int


@dataclass(frozen=True)
class Moment:
    """One picture of the film in all its versions: seconds into it, and panel (grey, each model, truth) -> picture."""

    time: float
    panels: Mapping[str, Path]


@dataclass(frozen=True)
class Stills:
    """Pictures to wipe between, all of one size (width, height)."""

    size: tuple[int, int]
    moments: Sequence[Moment]

    @property
    def panels(self) -> list[str]:
        """What every moment shows, in the order of the first."""
        return [name for name in self.moments[0].panels if all(name in moment.panels for moment in self.moments)]


@dataclass(frozen=True)
class Showing:
    """How a dataset's videos show its pictures: `render.layout` and `render.size`."""

    layout: str
    size: str


@dataclass(frozen=True)
class DatasetResult:
    """One experiment. `reference` is what ratios are taken to: its name, and split -> metric -> number."""

    name: str
    sources: Sequence[Source]
    size: tuple[int, int]
    """Height and width of a frame in pixels."""
    every: int
    parts: Mapping[str, Part]
    models: Sequence[ModelResult]
    reference: tuple[str, Mapping[str, Mapping[str, float]]] | None = None
    video: Path | None = None
    poster: Path | None = None
    filtering: Filtering | None = None
    paired: Sequence[Paired] = ()
    stills: Stills | None = None
    lines: Sequence[TimeLine] = ()
    """The split on a time line, one a source."""
    showing: Showing | None = None
    """None if it is not known; then nothing is said of it."""


@dataclass(frozen=True)
class Column:
    """A column of the table of figures.

    Attributes:
        metric: its name in metrics.json.
        heading, title: what stands over it, and what it is, in a sentence.
        form: how a figure is written, such as `.3f`.
        better: -1 where less is better, 1 where more is, 0 where the truth's own figure is the goal.
        of: what it is a figure of: "pixel", "frame", "set" or "motion".
        ratio: whether it is divided by the reference's.
    """

    metric: str
    heading: str
    title: str
    form: str
    better: int
    of: str = "pixel"
    ratio: bool = False

    @property
    def main(self) -> bool:
        """Whether it is among those that are shown first."""
        return self.metric in MAIN


MAIN = ("mse_ab@128", "mse_rgb_pm1", "psnr_rgb", "ssim", "lpips", "de2000", "cf", "flicker_ab")
"""Metrics that the table shows before anybody asks for more: error, likeness, colour, steadiness."""


@dataclass(frozen=True)
class ReportData:
    """All that the page says; `columns` in the order of its tables."""

    datasets: Sequence[DatasetResult]
    version: str = ""
    columns: Sequence[Column] = ()
