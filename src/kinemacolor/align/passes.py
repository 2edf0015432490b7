"""The one pass over both prints: every frame of both, decoded once, as the tiny grids of `signature`.

Nearly all of the time is the decoders', so what is saved is theirs. Both prints are decoded at once, one thread for each
of two cores, since a decoder that shares its frames between threads does a tenth to a fifth more work; and what no other frame
refers to is not smoothed at its block edges (ffmpeg's loop filter), which the mean of a cell never shows. The smoothing
of other frames must stay: without it, errors add up to 28 luma steps. The grids come from the decoder's own luma
plane, no picture is scaled: summing lines costs a third of swscale's averaging.

At the first sign of damage a print is begun again as `decode` reads it, so that both agree on the frames there are.

The grids go to a file without a name, so that memory does not grow with the film, and nothing is left of a pass that fails.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import numpy as np
from av.video.frame import VideoFrame

from kinemacolor.align.luma import LumaGrids
from kinemacolor.align.signature import COLUMNS, ROWS, Signature
from kinemacolor.errors import full_disk
from kinemacolor.files import is_full_disk
from kinemacolor.media.decode import frames_of
from kinemacolor.media.probe import best_video, open_video

_UNSMOOTHED = {"skip_loop_filter": "noref"}
_OURS = {
    "h264",
    "hevc",
    "vp8",
    "vp9",
    "mpeg1video",
    "mpeg2video",
    "mpeg4",
    "msmpeg4v3",
    "theora",
    "mjpeg",
    "prores",
    "vc1",
    "wmv3",
}
"""ffmpeg's own decoders, which share work by frames; others (dav1d for AV1) know better, and get all cores."""
_TELL = 0.25  # seconds between two reports of progress


def signatures(
    grey: Path,
    colour: Path,
    *,
    allow_truncated: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> tuple[Signature, Signature]:
    """The signatures of both prints; frame by frame those that `media.decode.decode` gives, with their times.

    Args:
        allow_truncated: take a print that ends before it says it does; damaged pictures are left out.
        progress: told now and then, from the calling thread, how many frames of both are done, and of how many.

    Returns:
        grey and colour; their grids are read-only maps of files that have no name.

    Raises:
        UserError: as `decode`; or the disk of temporary files is full.
    """
    films = [_Film(path) for path in (grey, colour)]
    threads = _threads([film.work for film in films], len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0)
    stop = Event()
    with ThreadPoolExecutor(len(films)) as pool:
        passes = [
            pool.submit(film.signature, threads=count, allow_truncated=allow_truncated, stop=stop)
            for film, count in zip(films, threads, strict=True)
        ]
        try:
            while wait(passes, timeout=_TELL, return_when=FIRST_EXCEPTION).not_done:
                failed = [one for one in passes if one.done() and one.exception()]
                if failed:
                    raise failed[0].exception()
                if progress:
                    progress(sum(film.done for film in films), sum(film.frames for film in films) or None)
            found = tuple(one.result() for one in passes)
        finally:
            stop.set()
    if progress:
        progress(sum(map(len, found)), sum(map(len, found)))
    return found


def one_signature(path: Path, *, allow_truncated: bool = False) -> Signature:
    """The signature of one print alone; see `signatures`."""
    return _Film(path).signature(threads=0, allow_truncated=allow_truncated, stop=Event())


def _threads(work: list[float], cores: int) -> list[int]:
    """Threads of each decoder, by the share of the work that is its own: both should end together.

    One thread is worth more than two halves, so a decoder gets a second one only where the other would leave a core idle.
    """
    cores = cores or os.cpu_count() or 1
    whole = sum(work) or 1.0
    return [max(1, min(16, round(cores * one / whole + 0.2))) for one in work]


class _Damaged(Exception):
    pass


def _begin_again() -> None:
    raise _Damaged


class _Film:
    """One print on its way to a signature; `done` frames of about `frames`, as another thread may see."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with open_video(path) as container:
            video = best_video(container)
            seconds = float(video.duration * video.time_base) if video.duration else (container.duration or 0) / 1e6
            self.frames = video.frames or round(seconds * float(video.average_rate or 25))
            self.work = float(self.frames * video.codec_context.width * video.codec_context.height)
            self._shared = video.codec_context.name not in _OURS
        self.done = 0

    def signature(self, *, threads: int, allow_truncated: bool, stop: Event) -> Signature:
        try:
            try:
                threads = 0 if self._shared else threads
                return self._pass(stop, allow_truncated, threads=threads, options=_UNSMOOTHED, on_damage=_begin_again)
            except _Damaged:
                return self._pass(stop, allow_truncated)
        except OSError as error:
            if is_full_disk(error):
                raise full_disk(tempfile.gettempdir()) from error
            raise

    def _pass(self, stop: Event, allow_truncated: bool, **decoding: Any) -> Signature:
        self.done = 0
        numbers: list[int] = []
        times: list[float] = []

        def frames() -> Iterator[VideoFrame]:
            for number, time, frame in frames_of(self._path, allow_truncated=allow_truncated, **decoding):
                if stop.is_set():
                    return
                numbers.append(number)
                times.append(time)
                yield frame
                self.done = len(times)

        with tempfile.TemporaryFile(prefix="kinemacolor-") as file:
            for grids in LumaGrids(ROWS, COLUMNS).of(frames()):
                file.write(grids.astype(np.float16).data)
            return Signature(_mapped(file, len(times)), np.array(times, np.float64), np.array(numbers, np.int64))


def _mapped(file: BinaryIO, frames: int) -> np.ndarray:
    file.flush()
    if frames == 0:
        return np.empty((0, ROWS, COLUMNS), np.float16)
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(content, np.float16).reshape(frames, ROWS, COLUMNS)
