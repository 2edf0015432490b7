"""The coloured pictures and everything else that a film's file holds, in one file: sound, subtitles, chapters, attachments, words.

What need not change is copied packet by packet with its own time stamps. Text subtitles that the new container holds in
another form are told anew in it (mov_text in MP4, SubRip in Matroska); a cover picture in Matroska is an attachment.
Whether the container takes all of it is tried before the work begins, by writing head and end of such a file: what it cannot
take ends in a sentence then, and not after hours. Two things may stay behind, and are named in the log: data that are
neither sound nor words (a camera's position) where the container has no place for them, and styles of subtitles in MP4. A track
of time code is written anew from its first number, where the container has such tracks.

What an edit list cuts off is sound and words that nobody hears, but in the file. Matroska has no such lists: there it is left out,
but for the one packet that the first sound heard leans on, and all times are moved by what that one stands before nought.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.packet import Packet as Carried
from av.stream import Disposition, Stream

from kinemacolor.errors import UserError
from kinemacolor.media.probe import local_address, open_video
from kinemacolor.wholefilm.looks import Look
from kinemacolor.wholefilm.reading import Stream as Picture
from kinemacolor.wholefilm.writing import Coding, Packet, Segment, decoding_times

_log = logging.getLogger(__name__)

SUFFIXES = (".mkv", ".mp4", ".m4v", ".mov")
"""Of the files that are written."""
_TEXTS = {"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"}
_STYLED = {"ass", "ssa"}
_PICTURES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
_OWN_WORDS = {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time_tz"}
"""What a container says of itself, and not of the film."""
_COUNTED = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS")
"""Beginnings of what a Matroska writer counted of a track."""
_CLOCKED = ("mpegts", "mpeg")
"""Containers whose time stamps begin anywhere."""


@dataclass
class _Copy:
    """A stream that is copied: what becomes of each of its packets."""

    stream: Stream
    tell: Callable[[Carried], list[Carried]] = lambda packet: [packet]


@dataclass
class _File:
    """A file that is being written."""

    picture: Stream
    copies: dict[int, _Copy] = field(default_factory=dict)
    zero: Fraction = Fraction(0)


def refuse_unfit(film: Picture, out: Path, look: Look, coding: Coding, scratch: Path) -> None:
    """Try whether a file named as `out` takes all that the film holds.

    Args:
        scratch: a folder of ours.

    Raises:
        UserError: it does not; names the stream and the remedy.
    """
    trial = scratch / f"trial{out.suffix.lower()}"
    try:
        with open_video(film.path) as source, _opened(trial) as target:
            _begin(source, target, film, look, coding, warn=_log.warning)
            target.start_encoding()
    except (av.error.FFmpegError, ValueError) as error:
        raise UserError(
            f"{out} cannot hold what {film.path} holds ({error}): let --out end in .mkv, or choose another codec."
        ) from error
    finally:
        trial.unlink(missing_ok=True)


def join(film: Picture, segments: list[Segment], target: Path, look: Look, coding: Coding) -> None:
    """Write the whole film.

    Args:
        film: where all but the picture comes from.
        segments: all of the film's, in order.
        target: is written as it stands; a temporary name, mostly.
    """
    with open_video(film.path) as source, _opened(target) as out:
        file = _begin(source, out, film, look, coding)
        pictures = _pictures(film, segments, file.picture, file.zero)
        others = (stream for stream in source.streams if stream.index in file.copies)
        chosen = list(others)
        waiting = next(pictures, None)
        packets = (packet for packet in source.demux(*chosen) if packet.size) if chosen else iter(())
        for packet in _heard(packets) if _cuts(source, out) else packets:
            _shift(packet, file.zero)
            copy = file.copies[packet.stream_index]
            time = _seconds(packet)
            while waiting is not None and (time is None or _seconds(waiting) <= time):
                out.mux(waiting)
                waiting = next(pictures, None)
                if time is None:
                    break
            for told in copy.tell(packet):
                told.stream = copy.stream
                out.mux(told)
        for packet in itertools.chain([] if waiting is None else [waiting], pictures):
            out.mux(packet)


def _opened(target: Path) -> OutputContainer:
    options = {"fflags": "+bitexact"}  # no random numbers, no hour of writing
    if target.suffix.lower() != ".mkv":
        options["movflags"] = "+faststart"
    return av.open(local_address(target), "w", format=_format(target), container_options=options)


def _format(target: Path) -> str:
    return {".mkv": "matroska", ".mov": "mov"}.get(target.suffix.lower(), "mp4")


def _begin(
    source: InputContainer,
    out: OutputContainer,
    film: Picture,
    look: Look,
    coding: Coding,
    *,
    warn: Callable[..., None] = lambda *about: None,
) -> _File:
    """Set up all streams, words and chapters of the new file; `warn` is told what stays behind."""
    file = None
    held: list[tuple[Stream, _Copy]] = []
    for stream in source.streams:
        if stream.index == film.index:
            picture = coding.stream(out, look, film.base, film.rate)
            if coding.codec == "hevc" and out.format.name != "matroska":
                picture.codec_context.codec_tag = "hvc1"  # what players by Apple ask for
            picture.metadata.update(_words(stream.metadata))
            picture.disposition = int(stream.disposition)
            file = _File(picture)
        elif (copy := _copy(source, out, stream, film, warn)) is not None:
            held.append((stream, copy))
    file.copies |= {stream.index: copy for stream, copy in held}
    out.metadata.update({key: value for key, value in source.metadata.items() if key.lower() not in _OWN_WORDS})
    file.zero = _zero(film, source, out)
    out.set_chapters([_moved(chapter, file.zero) for chapter in source.chapters()])
    return file


def _copy(source: InputContainer, out: OutputContainer, stream: Stream, film: Picture, warn: Callable[..., None]) -> _Copy | None:
    """Add a stream to the new file as the old one has it; None if it stays behind, or needs no packets."""
    matroska = out.format.name == "matroska"
    kind = _kind(stream)
    if stream.type == "data" and source.chapters() and kind == "bin_data":
        return None  # the chapters of an MP4 file as a track, which its writer makes anew
    if stream.type == "attachment":
        if not matroska:
            raise ValueError(f"attachment {stream.metadata.get('filename', stream.index)}")
        out.add_stream_from_template(stream)
        return None
    if matroska and stream.type == "video" and Disposition.attached_pic in stream.disposition:
        name, mime = _PICTURES.get(kind, (f"cover.{kind}", f"image/{kind}"))
        words = stream.metadata
        out.add_attachment(words.get("filename", name), words.get("mimetype", mime), _cover(film.path, stream.index))
        return None
    if stream.type == "data":
        if _is_time_code(stream) and not matroska:
            return None  # its writer makes a new one of the word `timecode`
        if matroska or not _takes(out.format.name, stream):
            name = {"matroska": "Matroska", "mov": "QuickTime"}.get(out.format.name, "MP4")
            warn("left out: stream %d (%s), which %s has no place for", stream.index, kind, name)
            return None
    if _moves(stream):
        warn("stream %d, another moving picture, is copied as it is: only stream %d is coloured", stream.index, film.index)
    if stream.type == "subtitle" and kind in _TEXTS and kind not in out.supported_codecs and kind != "ssa":
        return _retold(out, stream, kind, warn)
    try:
        copy = out.add_stream_from_template(stream, opaque=True)
    except ValueError as error:
        raise ValueError(f"stream {stream.index}, {stream.type}, {kind}") from error
    copy.metadata.update(_words(stream.metadata))
    copy.disposition = int(stream.disposition)
    return _Copy(copy)


def _cover(path: Path, index: int) -> bytes:
    """The picture in a stream of one, read apart: what was read of a file cannot always be read again."""
    with open_video(path) as source:
        return next((bytes(packet) for packet in source.demux(source.streams[index]) if packet.size), b"")


def _retold(out: OutputContainer, stream: Stream, kind: str, warn: Callable[..., None]) -> _Copy:
    """Subtitles as text, in the form that the new container has for them."""
    name = "subrip" if out.format.name == "matroska" else "mov_text"
    if kind in _STYLED:
        warn("subtitles of stream %d lose their styles: MP4 has none (Matroska keeps them)", stream.index)
    told = out.add_stream(name, time_base=stream.time_base)
    decoder = stream.codec_context
    decoder.open(strict=False)
    told.codec_context.subtitle_header = decoder.subtitle_header
    told.metadata.update(_words(stream.metadata))
    told.disposition = int(stream.disposition)

    def tell(packet: Carried) -> list[Carried]:
        words = decoder.decode2(packet)
        if words is None or not len(words):
            return []
        new = told.codec_context.encode_subtitle(words)
        new.pts = new.dts = packet.pts
        new.duration, new.time_base = packet.duration or 0, packet.time_base
        return [new]

    return _Copy(told, tell)


def _kind(stream: Stream) -> str:
    """The codec's name, for choices and messages."""
    context = stream.codec_context
    return (context.name if context is not None else getattr(stream, "name", None)) or "unknown"


def _words(metadata: dict[str, str]) -> dict[str, str]:
    return {
        key: value for key, value in metadata.items() if key.lower() not in _OWN_WORDS and not key.upper().startswith(_COUNTED)
    }


def _moves(stream: Stream) -> bool:
    """Whether a stream is of moving pictures, and no cover."""
    return stream.type == "video" and Disposition.attached_pic not in stream.disposition


def _is_time_code(stream: Stream) -> bool:
    return "timecode" in stream.metadata and stream.type == "data"


def _takes(form: str, stream: Stream) -> bool:
    """Whether a container has a place for a stream of data: tried with a file of that alone."""
    try:
        with av.open(io.BytesIO(), "w", format=form) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _zero(film: Picture, source: InputContainer, out: OutputContainer) -> Fraction:
    """Seconds on the source's clock that are nought in the new file."""
    if source.format.name in _CLOCKED and source.start_time:
        return Fraction(source.start_time, av.time_base)
    if not _cuts(source, out):
        return Fraction(0)
    with open_video(film.path) as again:  # what is read of a file cannot always be read once more
        chosen = [stream for stream in again.streams if stream.type == "audio" or (_moves(stream) and stream.index != film.index)]
        waited = {stream.index for stream in chosen}
        earliest = Fraction(0)
        for packet in _heard(packet for packet in again.demux(*chosen) if packet.size) if chosen else ():
            earliest = min(earliest, _seconds(packet) or Fraction(0))
            if not packet.is_discard:
                waited.discard(packet.stream_index)
            if not waited:
                break
    return earliest


def _cuts(source: InputContainer, out: OutputContainer) -> bool:
    """Whether an edit list may cut off what the new container cannot."""
    return "mov" in source.format.name.split(",") and out.format.name == "matroska"


def _heard(packets: Iterable[Carried]) -> Iterator[Carried]:
    """Without what an edit list cuts off, but for the last packet before the first of a sound that is heard."""
    before: dict[int, Carried | None] = {}
    for packet in packets:
        if packet.is_discard and packet.stream.type != "video":  # pictures that are cut off may be leant on
            if before.get(packet.stream_index, packet) is not None:
                before[packet.stream_index] = packet
            continue
        held = before.get(packet.stream_index)
        before[packet.stream_index] = None
        if held is not None and held.stream.type == "audio":
            yield held
        yield packet


def _moved(chapter: dict[str, Any], zero: Fraction) -> dict[str, Any]:
    back = round(zero / chapter["time_base"])
    return chapter | {"start": chapter["start"] - back, "end": chapter["end"] - back}


def _shift(packet: Carried, zero: Fraction) -> None:
    back = round(zero / packet.time_base) if zero else 0
    if packet.pts is not None:
        packet.pts -= back
    if packet.dts is not None:
        packet.dts -= back


def _seconds(packet: Carried) -> Fraction | None:
    stamp = packet.pts if packet.dts is None else packet.dts
    return None if stamp is None else stamp * packet.time_base


def _pictures(film: Picture, segments: Iterable[Segment], stream: Stream, zero: Fraction) -> Iterator[Carried]:
    """Every coded picture of the film, in decoding order."""
    told: list[Packet] = [packet for segment in segments for packet in segment.packets]
    back = round(zero / film.base)
    times = iter(decoding_times(told, film.base, film.rate))
    for segment in segments:
        for packet, content in segment.read():
            carried = Carried(content)
            carried.stream, carried.time_base = stream, film.base
            carried.pts, carried.dts, carried.duration = packet.stamp - back, next(times) - back, packet.duration
            carried.is_keyframe = packet.key
            yield carried
