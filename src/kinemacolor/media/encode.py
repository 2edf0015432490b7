"""Write RGB frames as an H.264 video that plays everywhere, whole or not at all.

ffmpeg runs as a process of its own and takes raw frames through a pipe, so that encoding overlaps with whatever makes the
frames. The matrix is BT.709 at every size and the tags say so: players guess the matrix of untagged files from their size
and guess differently. The temporary file is renamed only when ffmpeg ended well.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from kinemacolor.files import atomic_file
from kinemacolor.media.probe import best_video

# x264 by frames in parallel writes other bytes from run to run when the cores are busy; by slices it does not. Their number
# decides the bytes too, so it is the same on every machine. Its macroblock tree, whose assembly reads memory that nobody
# wrote where a row is no multiple of its step, writes other bytes in one run of five, whatever the threads.
DETERMINISTIC = {"threads": 4, "x264-params": "sliced-threads=1:mbtree=0"}
_BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}


class VideoWriter:
    """A context manager that encodes the frames written to it into `path`.

    The file appears when the block ends well; on any error in it nothing is left and a file of that name stays as it was.

    Args:
        path: the video; its suffix names the container (.mp4, .mkv).
        height, width: of the frames, in pixels. Odd sizes gain a line or column equal to the last.
        frame_rate: frames a second, exact.
        crf: quality of x264; lower is better.
        preset: x264's trade of time for size.
        audio: a file whose sound goes along, if it has any. Where the sound is shorter, silence follows.
        audio_start: where in that file the sound begins, in seconds on the clock of `decode.Picture.time`.
        audio_seconds: length of the sound; to the end of the video if None.
        compiled: halve chroma here (yuv_kernel.py) instead of in ffmpeg, in a fraction of its time; the same picture but for
            the filter, ffmpeg's bicubic one being a little sharper.
        credit: who made what it shows and under which licence, written into the container (comment and copyright), so that it
            travels with the video; nothing if empty.

    Raises:
        UserError: no space is left on the device.
        RuntimeError: ffmpeg ended with an error; the message is the first line of what it said.
    """

    def __init__(
        self,
        path: Path,
        *,
        height: int,
        width: int,
        frame_rate: Fraction,
        crf: int = 23,
        preset: str = "veryfast",
        audio: Path | None = None,
        audio_start: float = 0.0,
        audio_seconds: float | None = None,
        compiled: bool = False,
        credit: str = "",
    ) -> None:
        self.path = Path(path)
        self._shape = (height, width, 3)
        self._planes = _Planes(height + height % 2, width + width % 2) if compiled else None
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        self._video = dict(
            vcodec="libx264", crf=crf, preset=preset, pix_fmt="yuv420p", movflags="+faststart", **DETERMINISTIC, **_BT709
        )
        if credit:
            # ffmpeg-python takes each option once; `:g` is the whole file too. Line ends would be cut off by some players.
            words = " ".join(credit.split())
            self._video |= {"metadata": f"comment={words}", "metadata:g": f"copyright={words}"}
        self._frame_rate = Fraction(frame_rate)
        self._sound = _sound(audio, audio_start, audio_seconds) if audio else None
        self._sound_ends = audio_seconds is not None
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes]
        self._messages: IO[bytes]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_file(self.path))
            self._messages = stack.enter_context(tempfile.TemporaryFile())
            command = self._command(temporary)
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._messages)
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def write(self, rgb: NDArray[np.uint8]) -> None:
        """Append one frame, uint8 (height, width, 3)."""
        if rgb.shape != self._shape or rgb.dtype != np.uint8:
            raise ValueError(f"a frame of {self.path} is uint8 {self._shape}, not {rgb.dtype} {rgb.shape}")
        if self._padding != ((0, 0), (0, 0), (0, 0)):
            rgb = np.pad(rgb, self._padding, mode="edge")
        try:
            pixels = np.ascontiguousarray(rgb)
            self._process.stdin.write((pixels if self._planes is None else self._planes.of(pixels)).data)
        except BrokenPipeError:
            self._process.wait()
            raise self._failure() from None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        return bool(self._stack.__exit__(kind, error, trace))

    def _finish(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End ffmpeg: gracefully after the last frame, at once after an error."""
        if kind is not None:
            self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.wait() != 0 and kind is None:
            raise self._failure()

    def _failure(self) -> Exception:
        """What the dead ffmpeg said; a full disk as the OSError that `atomic_file` turns into a sentence."""
        self._messages.seek(0)
        lines = self._messages.read().decode(errors="replace").split("\n")
        if any("No space left on device" in line for line in lines):
            return OSError(errno.ENOSPC, "No space left on device", str(self.path))
        # The first line names the cause; those after it only what followed.
        cause = next((line.strip() for line in lines if line.strip()), "it said nothing")
        return RuntimeError(f"ffmpeg could not write {self.path}: {cause}")

    def _command(self, target: Path) -> list[str]:
        height, width = (side + side % 2 for side in self._shape[:2])
        raw = {"format": "rawvideo", "video_size": (width, height), "framerate": str(self._frame_rate)}
        # The filters' frames overrule the encoder's options, so the tags are set on them.
        tags = {"color_primaries": "bt709", "color_trc": "bt709"}
        if self._planes is not None:
            frames = ffmpeg.input("pipe:", pix_fmt="yuv420p", **raw)
            frames = frames.filter("setparams", colorspace="bt709", range="tv", **tags)
        else:
            frames = ffmpeg.input("pipe:", pix_fmt="rgb24", **raw)
            # Decoders take the chroma of H.264 to sit at the left of its pixels unless told otherwise; swscale would centre it.
            scaling = {"out_color_matrix": "bt709", "out_range": "tv", "out_chroma_loc": "left"}
            frames = frames.filter("scale", flags="bicubic+accurate_rnd+full_chroma_inp", **scaling).filter("setparams", **tags)
        place = f"file:{target}"  # a colon in a name would read as a protocol
        if self._sound is None:
            output = ffmpeg.output(frames, place, fflags="+bitexact", **self._video)
        else:
            # `-shortest` cuts a little sooner or later from run to run: only for sound whose length is not known.
            ending = {} if self._sound_ends else {"shortest": None}
            output = ffmpeg.output(frames, self._sound, place, fflags="+bitexact", acodec="aac", **ending, **self._video)
        options = output.global_args("-hide_banner", "-nostdin", "-loglevel", "error")
        return ffmpeg.compile(options, cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)


class _Planes:
    """Memory for one frame of 4:2:0, height and width being even."""

    def __init__(self, height: int, width: int) -> None:
        self._whole = np.empty(height * width * 3 // 2, np.uint8)
        half = height * width // 4
        shape = (height // 2, width // 2)
        self._luma = self._whole[: 4 * half].reshape(height, width)
        self._blue, self._red = self._whole[4 * half : 5 * half].reshape(shape), self._whole[5 * half :].reshape(shape)

    def of(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The bytes of a frame (H,W,3), until the next one."""
        from kinemacolor.media.yuv_kernel import from_rgb  # numba takes half a second to import

        from_rgb(rgb.reshape(len(rgb), -1), self._luma, self._blue, self._red)
        return self._whole


def _sound(path: Path, start: float, seconds: float | None) -> object | None:
    """The filtered sound of a file, followed by silence up to `seconds` or without end; None if the file has none."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        if not container.streams.audio:
            return None
        video = best_video(container)
        # ffmpeg counts from the start of the file, Picture.time from the start of the video in it.
        if video is not None and video.start_time is not None:
            start += float(video.start_time * video.time_base) - (container.start_time or 0) / av.time_base
    cut = {"ss": f"{start:.6f}"} | ({} if seconds is None else {"t": f"{seconds:.6f}"})
    sound = ffmpeg.input(f"file:{path}", **cut).audio.filter("aresample", **{"async": 1, "first_pts": 0})
    return sound.filter("apad") if seconds is None else sound.filter("apad", whole_dur=seconds).filter("atrim", duration=seconds)
