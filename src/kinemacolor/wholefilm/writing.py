"""Coloured frames as segments that outlive a kill, and the folder where they wait for the rest of the film.

A segment is encoded by itself, from a key picture to a last one that nothing later leans on, and appears in its folder when it
is complete. Whoever comes after a kill goes on behind the last one, and the film is the same to the byte: an encoder begins
anew at every segment anyway. Segments hold packets with the film's own time stamps; decoding times are counted when all are
there, since each encoder knows only its own frames.

x264 runs as in media/encode.py, where it writes the same bytes whatever else the machine does.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import av
from av.codec.context import CodecContext, Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from filelock import FileLock, Timeout

from kinemacolor.errors import UserError, full_disk
from kinemacolor.files import atomic_file, canonical_json, is_full_disk, write_json
from kinemacolor.media.encode import DETERMINISTIC
from kinemacolor.wholefilm.looks import Look

_log = logging.getLogger(__name__)

Codec = Literal["h264", "hevc", "ffv1"]
CODECS: tuple[str, ...] = get_args(Codec)
_ENCODERS = {"h264": "libx264", "hevc": "libx265", "ffv1": "ffv1"}


@dataclass(frozen=True)
class Coding:
    """How the film is encoded.

    Attributes:
        codec: h264; hevc, smaller and slower; ffv1, without loss, for what is worked on further (Matroska).
        crf: quality of h264 and hevc; lower is better.
        preset: their trade of time for size.
    """

    codec: str = "h264"
    crf: int = 18
    preset: str = "medium"

    def context(self, look: Look, base: Fraction, rate: Fraction) -> VideoCodecContext:
        """An encoder for frames of a look, not yet opened; its stamps are ticks of `base`."""
        context = CodecContext.create(_ENCODERS[self.codec], "w")
        self._set(context, look, base, rate)
        context.flags |= Flags.global_header
        return context

    def stream(self, out: OutputContainer, look: Look, base: Fraction, rate: Fraction) -> VideoStream:
        """The stream of a file for what such encoders made."""
        stream = out.add_stream(_ENCODERS[self.codec], rate=rate, time_base=base)
        self._set(stream.codec_context, look, base, rate)
        stream.time_base = base
        return stream

    def keeps_fields(self, look: Look) -> bool:
        """Whether an interlaced film stays one: x264 wants whole pairs of lines of chroma, and x265 is not asked."""
        fits = self.codec == "ffv1" or (self.codec == "h264" and look.height % (2 * look.down) == 0)
        return look.interlaced and fits

    def _set(self, context: VideoCodecContext, look: Look, base: Fraction, rate: Fraction) -> None:
        context.width, context.height = look.width + look.width % look.across, look.height + look.height % look.down
        context.pix_fmt = look.form
        context.time_base, context.framerate = base, rate
        context.sample_aspect_ratio = look.aspect
        context.color_range = 2 if look.full else 1
        context.colorspace, context.color_primaries, context.color_trc = look.matrix, look.primaries, look.curve
        if self.keeps_fields(look):
            context.field_order = look.fields
            if self.codec == "h264":
                context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        if self.codec == "ffv1":
            context.options = {"level": "3", "slices": "4", "slicecrc": "1"}
            context.thread_count = 4
            return
        context.options = {"crf": str(self.crf), "preset": self.preset}
        if self.codec == "h264":
            context.options |= {key: str(value) for key, value in DETERMINISTIC.items()}
        else:
            # Frames in parallel hang on the number of cores.
            context.options |= {"x265-params": "log-level=error:frame-threads=1", "a53cc": "1"}


@dataclass(frozen=True)
class Packet:
    """One coded picture.

    Attributes:
        stamp: when it is shown, in ticks.
        duration: ticks until the next is; 0 if the film does not say.
        key: decoding may begin with it.
        size: bytes.
    """

    stamp: int
    duration: int
    key: bool
    size: int


class Encoder:
    """Encodes one segment."""

    def __init__(self, coding: Coding, look: Look, base: Fraction, rate: Fraction) -> None:
        self._context = coding.context(look, base, rate)
        self._base = base
        self._durations: dict[int, int] = {}
        self._packets: list[tuple[Packet, bytes]] = []

    def add(self, frame: VideoFrame, duration: int) -> None:
        """Take the next frame; `frame.pts` in ticks of the film."""
        frame.time_base = self._base
        self._durations[frame.pts] = duration
        self._take(self._context.encode(frame))

    def finish(self) -> list[tuple[Packet, bytes]]:
        """All packets, in decoding order."""
        self._take(self._context.encode(None))
        return self._packets

    def _take(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            told = Packet(packet.pts, self._durations.pop(packet.pts), packet.is_keyframe, packet.size)
            self._packets.append((told, bytes(packet)))


@dataclass(frozen=True)
class Segment:
    """What is known of a segment that is complete.

    Attributes:
        number: of its first frame in the film.
        place: how many frames came before.
        frames: in it.
        after: the number of its last frame, plus one.
        shot: number and place of the first frame of the shot that its last frame belongs to.
        chroma: mean of its colours' distance from grey, Lab units.
        packets: in decoding order.
    """

    number: int
    place: int
    frames: int
    after: int
    shot: tuple[int, int]
    chroma: float
    packets: list[Packet]
    file: Path
    begins: int
    """Where in the file the first packet begins; they follow on each other."""

    def read(self) -> Iterator[tuple[Packet, bytes]]:
        """Packets with their bytes, in decoding order."""
        with open(self.file, "rb") as handle:
            handle.seek(self.begins)
            for packet in self.packets:
                yield packet, handle.read(packet.size)


class Workshop:
    """The folder beside the target where segments wait; a context manager that one process has at a time.

    What is in it was made for one job: the same film, model, options, code and libraries. For another it is emptied first.

    Args:
        target: the film to be written.
        job: all that its bytes depend on, as plain values.
    """

    def __init__(self, target: Path, job: dict[str, Any]) -> None:
        self.folder = target.with_name(f".{target.name}.colorize")
        self._target, self._job = target, canonical_json(job)
        self._lock = FileLock(f"{self.folder}.lock")
        self.segments: list[Segment] = []

    def __enter__(self) -> Workshop:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"{self._target} is being written by another process: wait for it, or name another file.") from None
        except OSError as error:
            if is_full_disk(error):
                raise full_disk(self._target) from error
            raise UserError(f"{self._target} cannot be written ({error.strerror or error}): name another place.") from error
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have it; complete segments stay."""
        if not self.segments:
            shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(self._lock.lock_file).unlink()
        self._lock.release()

    def _begin(self) -> None:
        job = self.folder / "job.json"
        if self.folder.exists() and not (job.is_file() and job.read_text(encoding="utf-8") == self._job):
            _log.warning("%s was begun with other values: it is coloured from its beginning", self._target)
            shutil.rmtree(self.folder)
        self.folder.mkdir(exist_ok=True)
        if not job.is_file():
            with atomic_file(job) as temporary:
                temporary.write_text(self._job, encoding="utf-8")
        while (found := self._read(len(self.segments))) is not None:
            self.segments.append(found)

    @property
    def after(self) -> int:
        """The number of the first frame that is still to be coloured."""
        return self.segments[-1].after if self.segments else 0

    @property
    def place(self) -> int:
        """How many frames are coloured."""
        return sum(segment.frames for segment in self.segments)

    def kept(self) -> dict[str, Any] | None:
        """The facts that `keep` was given, if it was."""
        file = self.folder / "film.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def keep(self, facts: dict[str, Any]) -> None:
        """Keep facts of the film for whoever goes on."""
        write_json(self.folder / "film.json", facts)

    def add(self, facts: dict[str, Any], packets: list[tuple[Packet, bytes]]) -> None:
        """Keep a complete segment.

        Args:
            facts: `Segment`'s number, place, frames, after, shot and chroma.
        """
        told = [[packet.stamp, packet.duration, packet.key, packet.size] for packet, _ in packets]
        head = json.dumps(facts | {"packets": told}).encode()
        file = self._file(len(self.segments))
        with atomic_file(file) as temporary, open(temporary, "wb") as handle:
            handle.write(len(head).to_bytes(8, "little") + head)
            for _, content in packets:
                handle.write(content)
        self.segments.append(self._read(len(self.segments)))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.segment"

    def _read(self, number: int) -> Segment | None:
        """A segment that is there, whole."""
        file = self._file(number)
        if not file.is_file():
            return None
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            facts = json.loads(handle.read(length))
        packets = [Packet(*told) for told in facts.pop("packets")]
        return Segment(**facts | {"shot": tuple(facts["shot"])}, packets=packets, file=file, begins=8 + length)

    def clear(self) -> None:
        """Remove it: the film is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def decoding_times(packets: list[Packet], base: Fraction, rate: Fraction) -> list[int]:
    """When each packet must be decoded, in ticks, for packets of a whole film in decoding order: rising, and never after it is shown.

    The stamps themselves in order, as many places earlier as packets are reordered; before the first, as many usual steps.
    """
    shown = sorted(packet.stamp for packet in packets)
    rank = {stamp: at for at, stamp in enumerate(shown)}
    delay = max((at - rank[packet.stamp] for at, packet in enumerate(packets)), default=0)
    step = max(1, round(1 / (rate * base)))
    lead = [shown[0] - step * (delay - at) for at in range(min(delay, len(shown)))]
    return lead + shown[: len(packets) - len(lead)]
