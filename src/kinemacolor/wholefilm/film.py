"""A whole film in colour: read, coloured, encoded and joined with everything else that its file holds.

Four things go on at once: reading and decoding, the network on batches, painting, and encoding; none waits for another but
where nothing is ready. The network is shown every frame at the size it was trained at, in the shape of the film. One with a
memory is shown them in order, and forgets at cuts (frames/cuts.py).

What is encoded is kept in segments (writing.py). Started again after a kill, the work goes on behind the last complete one;
a network with a memory is first shown its shot once more from the beginning, in the very batches of before, so that the film
is what an unbroken run makes, to the byte on a CPU.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import av.error
import torch

from kinemacolor import colorize, cores
from kinemacolor.colorize import Colorizer
from kinemacolor.compiled import made_of
from kinemacolor.errors import UserError, full_disk
from kinemacolor.files import atomic_file, is_full_disk, sha256_of
from kinemacolor.media.pace import ahead
from kinemacolor.media.probe import Probe, probe, truncated
from kinemacolor.media.sources import read_source
from kinemacolor.wholefilm.chroma import METHODS
from kinemacolor.wholefilm.line import run
from kinemacolor.wholefilm.looks import Look
from kinemacolor.wholefilm.painting import KEEPS, Painter
from kinemacolor.wholefilm.reading import Reader, Sight, Stream, stream_of
from kinemacolor.wholefilm.streams import SUFFIXES, join, refuse_unfit
from kinemacolor.wholefilm.writing import CODECS, Coding, Packet, Workshop

_log = logging.getLogger(__name__)

SEGMENT = 240
"""Frames that are encoded together, and lost at a kill."""
_PIXELS = 22_000_000
"""Of luma in a batch, at most: several batches are under way at a time."""
_GREY = 1.0
"""Mean distance from grey in Lab units under which a film counts as uncoloured."""


@dataclass(frozen=True)
class Options:
    """How a film is coloured.

    Attributes:
        chroma: how the network's colours are enlarged; see chroma.py.
        keep: lightness, or the film's own luma; see painting.py.
        codec, crf, preset: see writing.Coding.
        batch: frames that go through the network together; None chooses.
        segment: frames to a segment.
    """

    chroma: str = "guided"
    keep: str = "lightness"
    codec: str = "h264"
    crf: int = 18
    preset: str = "medium"
    batch: int | None = None
    segment: int = SEGMENT

    def __post_init__(self) -> None:
        for name, known in (("chroma", METHODS), ("keep", KEEPS), ("codec", CODECS)):
            if getattr(self, name) not in known:
                raise UserError(f"--{name} {getattr(self, name)!r} is unknown: choose one of {', '.join(known)}.")
        if not 0 <= self.crf <= 51:
            raise UserError(f"--crf {self.crf} is no quality of x264: give 0 (the best) to 51.")
        for name in ("batch", "segment"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"--{name} {value} is too few: give 1 frame or more.")
        if self.preset not in _PRESETS:
            raise UserError(f"--preset {self.preset!r} is unknown: choose one of {', '.join(_PRESETS)}.")

    @property
    def coding(self) -> Coding:
        return Coding(self.codec, self.crf, self.preset)


_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class Coloured:
    """What was written.

    Attributes:
        frames: in the film.
        resumed: of them, those that an earlier run had coloured.
        chroma: mean distance of the film's colours from grey, Lab units, at the network's size.
    """

    frames: int
    resumed: int
    chroma: float


def colour_film(
    model: Path,
    film: Path,
    *,
    out: Path,
    options: Options | None = None,
    allow_truncated: bool = False,
    device: str | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Coloured:
    """Colour a film.

    Args:
        model: the model's folder.
        film: a video, or the folder of a downloaded source (of a pair, its grey print).
        out: the film to write: .mkv, .mp4, .m4v or .mov.
        allow_truncated: take what can be decoded of a damaged film.
        device: torch's name of where the network runs; a GPU if there is one and None is given.
        progress: is told milliseconds of the film that are done, and of how many.

    Raises:
        UserError: a file is missing or damaged; `out` cannot hold what the film holds; the network does not fit into memory
            even with one frame, or gives values that are no numbers; the disk is full. What is coloured stays, and the same
            call goes on there.
    """
    options = options or Options()
    film, out = _video_of(Path(film)), Path(out)
    _refuse_target(film, out)
    facts = probe(film)
    if facts.last_good_time is not None and not allow_truncated:
        raise truncated(film, facts.last_good_time)
    colorizer = _quick(colorize.load(Path(model), device=device))
    job = {"film": sha256_of(film), "model": _hashes(Path(model)), "options": asdict(options), "code": _code()}
    job |= {"device": colorizer.device.type, "allow_truncated": allow_truncated}
    job |= {"torch": torch.__version__, "av": av.__version__}
    with Workshop(out, job) as workshop:
        resumed = workshop.place
        if resumed:
            _log.warning("%s: %d frames are coloured already; going on behind them", out, resumed)
        stream = stream_of(film)
        with _threads(colorizer):
            look = _coloured(colorizer, stream, facts, workshop, options, out, allow_truncated=allow_truncated, progress=progress)
        with atomic_file(out) as temporary:
            try:
                join(stream, workshop.segments, temporary, look, options.coding)
            except av.error.FFmpegError as error:
                if is_full_disk(error):
                    raise full_disk(out) from error
                raise UserError(
                    f"{out} cannot be written ({error}): name another place, or, where a stream of {film} is at fault, "
                    "a copy of the film without it."
                ) from error
        done = Coloured(workshop.place, resumed, _mean_chroma(workshop))
        workshop.clear()
    if done.chroma < _GREY:
        _log.warning(
            "%s is all but grey (its colours are %.2f from it on average): %s gives none to this film",
            out, done.chroma, colorizer.name,
        )  # fmt: skip
    return done


def _video_of(film: Path) -> Path:
    """The file of moving pictures that a path means."""
    if not film.is_dir():
        return film
    source = read_source(film)
    if source.kind in ("clips", "images"):
        raise UserError(f"{film} is a collection, and this colours one film: name one of its files.")
    return source.print("grey" if source.kind == "film_pair" else "video").path


def _refuse_target(film: Path, out: Path) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {out} is no name of a film that is written here: let it end in .mkv or .mp4.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file.")
    if out.exists() and film.exists() and out.samefile(film):
        raise UserError(f"--out {out} is the film itself: name another file.")


def _quick(colorizer: Colorizer) -> Colorizer:
    """With weights that lie channel by channel for each pixel: convolutions take half the time, for the same numbers but for rounding."""
    for one in (colorizer, colorizer.before):
        if one is not None:
            one.network.to(memory_format=torch.channels_last)
    return colorizer


def _hashes(model: Path) -> dict[str, str]:
    """sha256 of all that a model is."""
    files = [*model.glob("*.safetensors"), *model.glob("meta.json"), *(model / colorize.BEFORE).glob("*.*")]
    return {str(file.relative_to(model)): sha256_of(file) for file in sorted(files)}


def _code() -> str:
    """A digest of the code that makes the film, as far as there are sources."""
    try:
        return made_of(Path(__file__))
    except OSError:
        return ""


@contextlib.contextmanager
def _threads(colorizer: Colorizer) -> Iterator[None]:
    """On a CPU, several batches on a thread each, and not one batch on several: they would wait for each other among all else
    that goes on. A network with a memory, which has one batch at a time, gets half of the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, cores.usable() // 2) if colorizer.remembers else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _coloured(
    colorizer: Colorizer,
    film: Stream,
    facts: Probe,
    workshop: Workshop,
    options: Options,
    out: Path,
    *,
    allow_truncated: bool,
    progress: Callable[[int, int | None], None],
) -> Look:
    """Colour all that is not coloured yet, segment by segment; the film's look."""
    side = _side(colorizer)
    reader = Reader(film, side=side, cuts=colorizer.remembers, allow_truncated=allow_truncated)
    number, place, kept = workshop.after, workshop.place, workshop.kept()
    if kept is not None:
        reader.look = Look.from_json(kept)
        if kept["frames"] == place:
            return reader.look
        if colorizer.remembers and place:
            number, place = workshop.segments[-1].shot
    colorizer.reset()
    batch = options.batch or max(1, min(8 if colorizer.device.type == "cpu" else 32, _PIXELS // (facts.height * facts.width)))

    def seconds(stamp: int) -> float:
        return float((stamp - film.origin) * film.base)

    def painter() -> Painter:
        if kept is None:
            refuse_unfit(film, out, reader.look, options.coding, workshop.folder)
            _tell_of_losses(reader.look, options.coding, film)
            workshop.keep(reader.look.to_json() | {"frames": None})
        return Painter(reader.look, side, method=options.chroma, keep=options.keep)

    def told(sight: Sight) -> None:
        if promised:
            progress(min(promised, round(seconds(sight.stamp) * 1000)), promised)
        else:
            progress(sight.place + 1, None)

    promised = round(facts.duration * 1000)
    ends = (packet.stamp + max(packet.duration, round(1 / (film.rate * film.base))) for packet in _last(workshop))
    until = facts.duration if facts.last_good_time is None else None
    sights = ahead(reader.sights(number, place, end=seconds(max(ends, default=film.origin)), until=until), depth=batch)
    with contextlib.closing(sights):
        run(
            sights, colorizer, painter, workshop, film, options.coding, batch=batch, segment=options.segment, progress=told
        )  # fmt: skip
    if not workshop.segments:
        raise UserError(f"{film.path} has no picture that can be decoded: fetch it again.")
    workshop.keep(reader.look.to_json() | {"frames": workshop.place})
    progress(promised or workshop.place, promised or workshop.place)
    return reader.look


def _last(workshop: Workshop) -> list[Packet]:
    """The packets of the last segment."""
    return workshop.segments[-1].packets if workshop.segments else []


def _tell_of_losses(look: Look, coding: Coding, film: Stream) -> None:
    if look.interlaced and not coding.keeps_fields(look):
        why = (
            "h264 and ffv1 alone keep fields here"
            if coding.codec == "hevc"
            else f"{look.height} lines are no whole pairs of fields"
        )
        _log.warning("%s is interlaced, and what is written says that it is not: %s", film.path.name, why)
    if look.captions and coding.codec == "ffv1":
        _log.warning("%s loses its captions (CEA-608 or 708): ffv1 has no place for them, and h264 has", film.path.name)


def _side(colorizer: Colorizer) -> int:
    try:
        return min(map(int, colorizer.meta["size"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"meta.json of {colorizer.name} does not say at which size it was trained: train it again.") from None


def _mean_chroma(workshop: Workshop) -> float:
    return sum(segment.chroma * segment.frames for segment in workshop.segments) / max(1, workshop.place)
