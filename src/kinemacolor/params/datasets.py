"""The sections of `datasets`: which frames of which sources, how they are split, filtered, augmented and shown."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from kinemacolor.params.base import Fraction, Name, Section


class FramesParams(Section):
    """Which frames are taken from each source and what becomes of their size."""

    every: int = Field(24, ge=1)
    """One frame of this many, counted in the colour print's frames, in each clip anew. Of photographs every one is taken."""
    size: int | tuple[int, int]
    """Side of a square, or [height, width], in pixels."""
    fit: Literal["crop", "stretch", "pad"] = "crop"
    """Centre crop to the shape, stretch to it, or pad with black. Sizes shrink by area averaging."""
    start: float = Field(0.0, ge=0)
    """Seconds of the (colour) print, or of each clip, before the first frame."""
    end: float | None = Field(None, gt=0)
    """Seconds of the (colour) print, or of each clip, after which no frame is taken, to leave the credits out."""
    min_confidence: Fraction = 0.5
    """Of a film pair: pairs of frames that are less sure than this are left out. Sync marks so what it cannot know, such as which
    frames of a standing shot are missing."""
    shard_mib: int = Field(128, ge=1, le=1024)
    """Shards are closed at this size, before any compression."""
    compression: Literal["none", "lz4", "zstd"] = "none"
    """Of every picture by itself, always without loss, for collections that outgrow the disk. Of the plain size lz4 leaves .80 at
    256x256 and .94 at 64x64, zstd .37 and .61. Uncompressed pictures are read many times faster, since they are mapped into memory."""
    pieces: int = Field(1, ge=1, le=999)
    """Jobs over which one long source is spread, such as on the machines of a cluster; each takes whole shards, and what `frames`
    makes of them is the same to the byte whatever this number is. One job uses all cores of its machine by itself. Photographs
    are always taken by one."""

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


class Split(Section):
    """What both ways of splitting know: how large the parts are, and which sources are no matter of drawing or order."""

    fractions: tuple[Fraction, Fraction, Fraction] | None = None
    """Shares of train, validation and test; they sum to one."""
    counts: tuple[int, int] | None = None
    """How many for train and validation, instead of shares; the rest is test."""
    sources: dict[Name, Literal["train", "val", "test"]] = Field({})
    """Sources that belong to one part as a whole (project Photos: the ImageNet validation set to val); what is said of
    shares and counts holds for the others."""

    @model_validator(mode="after")
    def _one_way(self) -> Split:
        if self.fractions is None and self.counts is None:
            raise ValueError("needs either fractions or counts")
        if self.fractions is not None and self.counts is not None:
            raise ValueError("fractions and counts both stand here: remove one")
        if self.fractions is not None:
            _sum_to_one(self.fractions)
        if self.counts is not None and min(self.counts) < 1:
            raise ValueError("counts must be at least 1")
        return self


class ChronologicalSplit(Split):
    """Train, then validation, then test, in the order of time, for every source.

    Shares and counts are of frames. A clip is never divided: clips come in their order, and each goes as a whole to the part
    in which its middle frame falls. Photographs come in the order of their names.
    """

    kind: Literal["chronological"] = "chronological"
    guard: float = Field(2.0, ge=0)
    """Seconds left out between two parts, so that no shot stands on both sides of a boundary by a single frame. Between
    clips and between photographs nothing is left out."""


class SeededSplit(Split):
    """Parts drawn by a seed. The draw hashes names and times, so a frame never moves because something else came.

    By fractions every clip, source or photograph is drawn for itself, and the parts only come near their shares. Blocks and
    frames of one film are cut at the shares, exactly but for one block or frame: the shares of blocks are of their number, the last
    may be shorter, and guards take frames away. Shots are cut so that the shares are of frames. No frame ever changes its part
    because another source came. Among the few clips of a collection a part with a share may be left with none although there
    are enough: it then gets the one whose draw lies nearest to its own range, which may go back when more clips come. A part
    for which no source has any is refused. Counts are of units over all sources, by the order of their hashes: exact, but one
    that is added may move another.
    """

    kind: Literal["seeded"] = "seeded"
    unit: Literal["block", "shot", "clip", "source", "frame"] = "block"
    """What is drawn: blocks of time, shots (found in the pictures, as the filter finds them), whole clips (of other sources:
    the whole source), whole sources, or single frames (leaks: near-duplicates land on both sides). Unless by source, a
    photograph is drawn by itself and leaks nothing."""
    block: float = Field(30.0, gt=0)
    """Seconds of a block. No block reaches from one clip into another."""
    guard: float = Field(1.0, ge=0)
    """Seconds left out at the border of two blocks or shots that land in different parts."""
    seed: int = 0


def _sum_to_one(fractions: tuple[float, ...]) -> None:
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise ValueError(f"fractions sum to {sum(fractions):g}, not to 1: mend them")


AnySplit = Annotated[ChronologicalSplit | SeededSplit, Field(discriminator="kind")]


class FilterParams(Section):
    """Which frames are left out of training and of every figure."""

    grey: float = Field(2.5, ge=0)
    """Chroma (Lab units) beyond tint and noise under which a frame counts as grey: neither grain, nor a codec's noise, nor
    sepia or another tint counts as colour, and a small object in colour does; 0 keeps all."""
    one_hue: Fraction = 0.5
    """A frame of one hue, in no strong colour, may be toned (sepia, blue, green), or show mist, a pale sky, snow or water alone,
    which a single frame cannot tell. It counts as coloured in a film or game of which at least this share of the frames (black
    and white ones aside) has clear colour on a tenth of the picture; subtitles have less. Of clips and photographs each stands
    for itself, and is taken for toned."""
    black: float = Field(3.0, ge=0, le=100)
    """Mean lightness (L*, 0 to 100) under which a frame counts as black, unless a light in clear colour is in it;
    0 keeps all."""
    white: float = Field(97.0, ge=0, le=100)
    """Mean lightness above which a frame counts as white; 100 keeps all."""
    fade: float = Field(4.0, ge=0)
    """Spread of lightness (standard deviation of L*) under which frames that rise from a black or white one, or sink into it,
    count as its fade; 0 keeps all."""
    duplicates: bool = False
    """Leave out frames that look like an earlier one of their source. Within a film repeats do little harm, and a network with
    a memory loses its place; of photographs from many places they are worth leaving out."""
    alike: int = Field(4, ge=0, le=7)
    """Bits of 64 by which the perceptual hashes of two frames may differ that look alike; their colours must agree too.
    Decides about duplicates, and how many frames of validation and test are said to have a double in training."""


class AugmentParams(Section):
    """What training does to a batch; the colours themselves are never touched."""

    crop: int | None = Field(None, ge=8)
    """Side of a random square crop in pixels; validation takes the centre. None trains on whole frames."""
    flip: bool = True
    """Mirror left and right at random."""


class MotionParams(Section):
    """The stretches of consecutive frames, at the film's own rate, on which flicker and warping errors are measured."""

    shots: int = Field(6, ge=1, le=1000)
    """How many of validation, and again of test, of each source: chosen evenly, each in a shot of its own."""
    frames: int = Field(16, ge=5, le=1000)
    """How many frames of each; fewer where the shot ends before."""


class EvaluateParams(Section):
    """What evaluation shows beside the figures."""

    epochs: list[int] = Field([10, 25])
    """Epochs whose validation error stands in the table (the Games project asked for several)."""
    samples: int = Field(9, ge=1, le=64)
    """Frames on a sample sheet, spread evenly over the split."""
    lpips: Name | None = None
    """An entry of `weights` of architecture lpips_alex or lpips_vgg, to measure LPIPS with; without one there is no such figure."""
    features: Name | None = None
    """An entry of `weights`, of an encoder, whose features the distances between sets of frames are of: fd_<name>, kid_<name>."""
    draws: int = Field(2000, ge=100, le=100_000)
    """Times that shots are drawn anew for the intervals of the figures."""
    motion: MotionParams | None = MotionParams()
    """Consecutive frames, to measure how steady colours are; null for no such figures. Photographs have none."""


class RenderParams(Section):
    """The stretch of film that the comparison videos show, and how."""

    source: Name | None = None
    """Which source; the dataset's first if not given."""
    start: float = Field(0.0, ge=0)
    """Seconds into the (colour) print. Clips are counted as one film, one after the other; photographs stand for a second
    each, in the order of their names. Neither has sound."""
    seconds: float | None = Field(20.0, gt=0)
    """Length of the stretch; null: to the end of the film, which with `start: 0` is all of it."""
    layout: Literal["grid", "wipe", "over"] = "grid"
    """grid: grey, every model and truth side by side, three in a row. wipe: one after the other in the same place, wiped over
    each other by a line. over: truth and under it every model, one above the other (project Previous)."""
    size: Literal["film", "training"] = "film"
    """film: panels as large as the film, chroma joined with its own lightness; networks see the whole picture in its own shape, at
    the lines of `frames.size`. training: frames cut by `frames.size` and `frames.fit` as those of training, and what networks make
    of them, pixel for pixel, enlarged so that they can be seen."""
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
