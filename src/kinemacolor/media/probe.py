"""What a video file says of itself, and whether all of it is there.

One demuxing pass reads every packet and decodes only the first picture. The pass is what tells a whole file from one
that was cut off: containers say at their head how much follows, and a download that broke off still opens and plays.
Only containers of moving pictures are tried, since ffmpeg would gladly read a text file as a film of its letters and
follow a playlist to other files.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from kinemacolor.errors import UserError

CONTAINERS = "matroska,mov,avi,mpegts,mpeg,ogg,flv,asf,gif,ivf,nut,mxf,rm,dv,yuv4mpegpipe"
"""The demuxers that may open a file, in ffmpeg's names."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """The facts of one video file; times are seconds from the first picture."""

    container: str
    """ffmpeg's name of the container, such as mov,mp4,m4a,3gp,3g2,mj2 or matroska,webm."""
    codec: str
    width: int
    """Pixels as shown, so after the rotation that phones write; stored pixels, whatever their aspect."""
    height: int
    frame_rate: Fraction
    """Average frames a second."""
    frames: int
    """Packets that hold a picture to be shown."""
    duration: float
    """End of the last picture."""
    audio: dict[str, Any] | None
    """{"codec", "channels", "rate"} of the sound, if there is any."""
    last_good_time: float | None
    """None for a whole file; otherwise where its pictures stop being complete."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain values; the frame rate as a text such as 24000/1001."""
        return dataclasses.asdict(self) | {"frame_rate": str(self.frame_rate)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Probe:
        """The inverse of `to_json`; further keys are left aside."""
        known = {field.name: value[field.name] for field in dataclasses.fields(cls)}
        return cls(**known | {"frame_rate": Fraction(value["frame_rate"])})


def probe(path: Path) -> Probe:
    """Read every packet of a file and say what it holds.

    Raises:
        UserError: the file is missing, or holds no video that can be decoded.
    """
    width, height = _shown_size(path)
    with open_video(path) as container:
        video = best_video(container)
        extent = Extent(container, video)
        for packet in container.demux():
            extent.add(packet)
        sound = container.streams.best("audio")
        return Probe(
            container=container.format.name,
            codec=video.codec_context.name,
            width=width,
            height=height,
            frame_rate=extent.frame_rate,
            frames=extent.frames,
            duration=extent.end,
            audio=sound and {"codec": sound.codec_context.name, "channels": sound.channels, "rate": sound.rate},
            last_good_time=extent.last_good_time,
        )


def open_video(path: Path) -> InputContainer:
    """Open a file that holds moving pictures; use it in a `with` block.

    Raises:
        UserError: the file is missing, no container of moving pictures, or has no moving picture in it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is missing: put the file there or correct the path.")
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        container = av.open(local_address(path), container_options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{path} is no video that can be read ({reason}): give a video file, or fetch it again if it is a damaged one."
        ) from error
    if best_video(container) is None:
        container.close()
        raise UserError(f"{path} is no video (it holds no moving picture): give a file that does.")
    if best_video(container).codec_context is None:
        container.close()
        raise UserError(f"{path} has pictures of a kind that nothing here decodes, or its head is damaged: fetch it again.")
    return container


def local_address(path: Path) -> str:
    """A local file as ffmpeg must be told of it: 12:30.mkv by itself would be an address of the protocol `12`."""
    return f"file:{path}"


def promised_length(path: Path) -> float | None:
    """Seconds that a file's head promises, for showing how far a work has come; None where it says nothing.

    Raises:
        UserError: as `open_video`.
    """
    with open_video(path) as container:
        return container.duration / av.time_base if container.duration else None


def best_video(container: InputContainer) -> VideoStream | None:
    """The stream of moving pictures that a player would show, never a cover picture; None without one."""
    stream = container.streams.best("video")
    return None if stream is None or av.stream.Disposition.attached_pic in stream.disposition else stream


def _shown_size(path: Path) -> tuple[int, int]:
    """Width and height of the first picture as shown; opened for itself, since not every container can be rewound."""
    try:
        with open_video(path) as container:
            picture = next(container.decode(best_video(container)))
    except (av.error.FFmpegError, StopIteration) as error:
        raise UserError(
            f"{path} is no video that can be decoded (its first picture is damaged or missing): fetch it again."
        ) from error
    return (picture.height, picture.width) if picture.rotation % 180 else (picture.width, picture.height)


class Extent:
    """What the packets of a full pass say of where a file ends, against what its head promised.

    Three signs of a file that was cut off: a packet that lacks its tail; fewer packets than a complete index lists
    (mp4, mov); an end before the duration at the head (Matroska and the rest). An AVI's index lies at its end; without
    one ffmpeg guesses the duration anew from the bytes that are there, so the head's own count of pictures is asked.
    """

    def __init__(self, container: InputContainer, video: VideoStream) -> None:
        self._video = video
        self._is_mov = "mov" in container.format.name.split(",")
        self._indexed = len(video.index_entries) if self._is_mov else 0
        # A Matroska file written live has no duration at its head; ffmpeg then takes it from the last packets.
        self._promised = (container.duration + (container.start_time or 0)) / av.time_base if container.duration else 0.0
        if container.format.name == "avi" and video.start_time is not None:
            self._promised = max(self._promised, float((video.start_time + video.frames) * video.time_base))
        self._seen = 0
        self._last_end = 0.0
        self._start = float((video.start_time or 0) * video.time_base)
        self._good_until = 0.0
        self._damaged = False
        self.frame_rate: Fraction = video.average_rate or video.guessed_rate or Fraction(25)
        self._usual = float(1 / self.frame_rate)
        self._bases: dict[int, tuple[int, int]] = {}
        self.frames = 0
        """Pictures to be shown so far."""
        self.end = 0.0
        """End of the last picture so far, in seconds from the start of the video stream."""

    def add(self, packet: Packet) -> None:
        """Take account of the next packet, of whichever stream."""
        if packet.size == 0:
            return
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return
        # Whole numbers divided are rounded once, as a fraction would be, in a tenth of the time.
        if packet.stream_index not in self._bases:
            base = packet.time_base
            self._bases[packet.stream_index] = (base.numerator, base.denominator) if base else (0, 0)
        numerator, denominator = self._bases[packet.stream_index]
        if not denominator:
            return
        duration = packet.duration * numerator / denominator if packet.duration else 0.0
        end = stamp * numerator / denominator + duration
        self._last_end = max(self._last_end, end)
        if packet.stream_index != self._video.index:
            return
        self._seen += 1
        if packet.is_corrupt:
            self._damaged = True
        if self._damaged:
            return
        if not packet.is_discard and not is_hidden(packet, self._video):
            self.frames += 1
            end += 0.0 if duration else self._usual
            self.end = max(self.end, end - self._start)
        # No later packet may be shown before its decoding time: up to there, no picture is missing.
        if packet.dts is not None:
            self._good_until = packet.dts * numerator / denominator + (duration or self._usual) - self._start

    @property
    def promised(self) -> float:
        """How long the file says that it is, in seconds from the start of the video stream; 0 if it does not say."""
        return max(0.0, self._promised - self._start)

    @property
    def lists_all(self) -> bool:
        """Whether an index names every packet, so that none can go missing in the middle."""
        return self._is_mov

    @property
    def ends_early(self) -> bool:
        """Whether there is less than the file promised."""
        if self._indexed:
            return self._seen < self._indexed
        # Heads round, and sound may end a little before or after the pictures.
        return self._last_end < self._promised - max(0.5, 2 / float(self.frame_rate))

    @property
    def ends_short(self) -> bool:
        """Whether as much as one picture may be missing at the end, or the head rounds upwards; no reason to call a file damaged."""
        return self._last_end < self._promised - 0.9 * self._usual

    @property
    def last_good_time(self) -> float | None:
        """None if the file holds all it promised; otherwise the end of the complete part, in seconds."""
        if not (self.ends_early or self._damaged):
            return None
        # Rounded down: half a millisecond more could be the beginning of the first picture that is missing.
        return math.floor(max(0.0, min(self.end, self._good_until)) * 1000 + 1e-6) / 1000


def is_hidden(packet: Packet, video: VideoStream) -> bool:
    """Whether a packet holds a VP8 picture that only others refer to: its show_frame bit (RFC 6386, 9.1) is zero."""
    return video.codec_context.name == "vp8" and not (memoryview(packet)[0] >> 4) & 1


def truncated(path: Path, last_good_time: float) -> UserError:
    """The error for a file that ends, or is damaged, after `last_good_time` seconds."""
    return UserError(
        f"{path} is truncated or damaged after {last_good_time:.2f} s, its last good time: "
        "fetch it again, or take what is there: allow_truncated at its source in params.yaml; by hand, --allow-truncated of "
        "download, sync, frames, evaluate, colorize and make-print."
    )
