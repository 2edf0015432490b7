"""Write a print: planar pictures with exact time stamps, and sound, in one of five codecs.

PyAV rather than ffmpeg in a process of its own: frames keep the times they are given, which a pipe of raw pictures does not
carry. Every encoder is told to work in a way whose bytes do not depend on how busy the machine is; see `encode`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.codec.context
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.media.encode import DETERMINISTIC
from kinemacolor.media.probe import local_address

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
"""Names of the containers that a print may have."""
_BT709 = 1  # of H.273, for matrix, primaries and transfer alike
_LIMITED = 1
_MPEG2_RATES = (*map(Fraction, (24, 25, 30, 50, 60)), *(Fraction(n * 1000, 1001) for n in (24, 30, 60)))
_SOUND_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)  # of AAC


def _codec(codec: str, crf: int) -> tuple[str, int, dict[str, str]]:
    """The encoder's name, its threads and its options for a quality on x264's scale."""
    # A quantiser of MPEG-4 and MPEG-2 is half a step wide; x264's step doubles every six.
    quantiser = str(min(31, max(1, round(0.3125 * 2 ** (crf / 6)))))
    match codec:
        case "h264":
            options = {"preset": "veryfast", "crf": str(crf), "x264-params": DETERMINISTIC["x264-params"]}
            return "libx264", DETERMINISTIC["threads"], options
        case "hevc":
            quiet = "frame-threads=1:pools=2:log-level=none"
            return "libx265", 1, {"preset": "superfast", "crf": str(crf), "x265-params": quiet}
        case "mpeg4" | "mpeg2":
            name = "mpeg4" if codec == "mpeg4" else "mpeg2video"
            return name, 1, {"qmin": quantiser, "qmax": quantiser, "bf": "2", "g": "15"}
        case _:
            options = {"crf": str(min(63, round(crf * 63 / 51))), "b": "0", "deadline": "realtime", "cpu-used": "8"}
            return "libvpx-vp9", 1, options


def _legal_rate(codec: str, rate: Fraction) -> Fraction:
    """The nearest rate that the codec can write into its own stream; players go by the container, which has the true one."""
    if codec == "mpeg4":
        return rate if rate.numerator <= 65535 else 1 / (1 / rate).limit_denominator(65535)
    if codec == "mpeg2":
        known = (base * factor / divisor for base in _MPEG2_RATES for factor in range(1, 5) for divisor in range(1, 33))
        return min(known, key=lambda other: (abs(other - rate), other.denominator))
    return rate


class PrintWriter:
    """A context manager that encodes a print into `path`, whose suffix names the container (.mp4 or .mkv).

    Args:
        height, width: of the pictures, both even.
        rate: frames a second; time stamps count in it.
        colorspace: matrix by H.273's number.
        sound: rate and channels of the sound; None for none.

    Raises:
        UserError: the container cannot hold the codec.
        OSError: the disk is full, and whatever else the system says.
    """

    def __init__(
        self,
        path: Path,
        *,
        height: int,
        width: int,
        rate: Fraction,
        codec: str,
        crf: int,
        colorspace: int = _BT709,
        sound: tuple[int, int] | None = None,
    ) -> None:
        if codec == "vp9" and Path(path).suffix.lower() == ".mov":
            raise UserError(
                "A .mov file cannot hold vp9: let the print's name end in .mp4 or .mkv, or choose another recipe.codec."
            )
        name, threads, options = _codec(codec, crf)
        form = {".mkv": "matroska", ".mov": "mov"}.get(Path(path).suffix.lower(), "mp4")
        flags = {"fflags": "+bitexact"} | ({} if form == "matroska" else {"movflags": "+faststart"})
        self._container = av.open(local_address(path), "w", format=form, options=flags)
        try:
            legal = _legal_rate(codec, rate)
            video = self._container.add_stream(name, rate=legal, options=options)
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            video.time_base, video.codec_context.time_base = 1 / rate, 1 / legal
            self._tick = 1 / rate
            context = video.codec_context
            context.thread_count, context.thread_type = threads, "SLICE"
            context.flags |= av.codec.context.Flags.bitexact
            if name in ("mpeg4", "mpeg2video"):
                context.bit_rate = 400_000_000  # the quantiser rules, not the rate
            context.colorspace, context.color_range = colorspace, _LIMITED
            context.color_primaries = context.color_trc = _BT709
            self._video, self._colorspace = video, colorspace
            self._sound = None
            if sound is not None:
                self._sound = self._container.add_stream("aac", rate=sound[0], bit_rate=128_000)
                self._sound.layout = "mono" if sound[1] == 1 else "stereo"
                self._sound.codec_context.flags |= av.codec.context.Flags.bitexact
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Self:
        return self

    def picture(self, luma: NDArray[np.uint8], chroma: NDArray[np.uint8], tick: int, duration: int = 1) -> None:
        """Append a picture: luma (H, W), chroma (2, H / 2, W / 2), at `tick` frames of `rate`, for so many of them."""
        height, width = luma.shape
        whole = np.empty((height * 3 // 2, width), np.uint8)
        whole[:height] = luma
        whole[height:].reshape(chroma.shape)[...] = chroma
        frame = VideoFrame.from_ndarray(whole, format="yuv420p")
        frame.pts, frame.duration, frame.time_base = tick, duration, self._video.codec_context.time_base
        frame.colorspace, frame.color_range = self._colorspace, _LIMITED
        frame.color_primaries = frame.color_trc = _BT709
        self._deliver(frame)

    def _deliver(self, frame: VideoFrame | None) -> None:
        for packet in self._video.encode(frame):
            packet.time_base = self._tick  # what the encoder counts in may differ by a little: see `_legal_rate`
            self._container.mux(packet)

    def sound(self, samples: NDArray[np.float32], start: int) -> None:
        """Append sound (samples, channels) of -1..1; `start` counts the samples before it."""
        layout = self._sound.layout.name
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout=layout)
        frame.rate, frame.pts, frame.time_base = self._sound.rate, start, Fraction(1, self._sound.rate)
        self._container.mux(self._sound.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._deliver(None)
                if self._sound is not None:
                    self._container.mux(self._sound.encode(None))
        finally:
            self._container.close()


def sound_rate(rate: int) -> int:
    """The rate that AAC can have which is nearest to the film's from above."""
    return min((known for known in _SOUND_RATES if known >= rate), default=_SOUND_RATES[0])


def interleaved(sounds: Iterator[NDArray[np.float32]] | None, rate: int) -> Iterator[tuple[NDArray[np.float32], int, float]]:
    """Blocks of sound with the samples before them and their start in seconds."""
    at = 0
    for block in sounds or ():
        yield block, at, at / rate
        at += len(block)
