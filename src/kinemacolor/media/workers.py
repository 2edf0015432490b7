"""Decoders of one thread each, several at once, whose pictures come out in order; what waits is bounded in bytes.

Every picture is checked against what the packets promised before it is given.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from kinemacolor.errors import UserError
from kinemacolor.media.decode import Picture, picture_of, pixel_aspect
from kinemacolor.media.plan import Run
from kinemacolor.media.probe import best_video, open_video
from kinemacolor.media.rgb import Converter
from kinemacolor.media.roles import Doubt
from kinemacolor.media.salvage import STRICT

T = TypeVar("T")
LOST = object()
"""In place of a picture that needs something damaged."""
WAITING = 192 << 20
"""Bytes of finished pictures that may wait for their turn, and of packets that may wait to be decoded."""


class Finish:
    """Turns a decoder's frame into what the caller gets, in whatever thread."""

    def __init__(self, grey: bool, prepare: Callable[[Picture], T] | None, *, steady: bool) -> None:
        """`steady` says that all frames are of one stream whose parameters do not change."""
        self._grey, self.prepare, self._steady = grey, prepare, steady
        self._own = threading.local()

    def __call__(self, number: int, time: float, frame: VideoFrame, aspect: float) -> tuple[int, float, T]:
        """Number, time and what was made of the picture."""
        if not hasattr(self._own, "picture"):
            self._own.picture = Converter().picture if self._steady else functools.partial(picture_of, VideoReformatter())
        picture = self._own.picture(number, time, frame, aspect, grey=self._grey)
        return number, time, self.prepare(picture) if self.prepare else picture


def bytes_of(value: object) -> int:
    """Bytes that an array, or the arrays in a tuple, list or dictionary, keep in memory; at least 1."""
    match value:
        case np.ndarray():
            while isinstance(value.base, np.ndarray):  # a view keeps all of what it looks at
                value = value.base
            return max(1, value.nbytes)
        case bytes() | bytearray() | memoryview():
            return max(1, memoryview(value).nbytes)
        case dict():
            return max(1, sum(map(bytes_of, value.values())))
        case tuple() | list():
            return max(1, sum(map(bytes_of, value)))
        case _:
            return 1


@dataclass
class _Job:
    runs: list[Run]
    packed: int
    """Bytes of its packets, as long as it has them."""
    results: deque = field(default_factory=deque)
    done: bool = False
    error: BaseException | None = None


class Line:
    """Workers that take jobs in their order, and results that come out in that order.

    Results wait while they are of fewer bytes than the bound; beyond it the foremost job may have two, so that nobody waits
    for ever, and the others one each. The next job is read when the packets of those before it are of fewer bytes than the
    bound, or there are none before it.
    """

    def __init__(self, path: Path, threads: int, finish: Finish, *, waiting: int = WAITING, mends: bool = False) -> None:
        """`waiting` is the bound, in bytes, of finished pictures and again of packets.

        What needs something damaged comes as `LOST` if `mends`, and otherwise raises Doubt.
        """
        self._mends = mends
        self._path, self._finish = path, finish
        self._turn = threading.Condition()
        self._todo: deque[_Job] = deque()
        self._line: deque[_Job] = deque()
        self._waiting = self._packed = 0
        self._bound = waiting
        self._stopped = False
        self._threads: list[threading.Thread] = []
        self._wanted_threads = threads

    def work(self, jobs: Iterator[list[Run]]) -> Iterator[tuple[int, float, T]]:
        end: BaseException | None = None
        fed = False
        while True:
            while not fed and self._has_room_for_a_job():
                try:
                    runs = next(jobs)
                except StopIteration:
                    fed = True
                except (Doubt, UserError) as raised:
                    fed, end = True, raised
                else:
                    if runs:
                        self._hand(_Job(runs, sum(packet.size for run in runs for packet in run.packets)))
                        del runs  # or the latest job's packets would stay
            if not self._line:
                break
            job = self._line[0]
            while True:
                with self._turn:
                    while not (job.results or job.done):
                        self._turn.wait()
                    if not job.results:
                        break
                    result, size = job.results.popleft()
                    self._waiting -= size
                    self._turn.notify_all()
                yield result
            if job.error is not None:
                raise job.error
            with self._turn:
                self._line.popleft()
                self._turn.notify_all()
        if end is not None:
            raise end

    def stop(self) -> None:
        """End the workers, in the middle of their jobs if need be, and wait until they have ended."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        for thread in self._threads:
            thread.join()

    def _has_room_for_a_job(self) -> bool:
        with self._turn:
            return not self._line or (len(self._line) < 2 * self._wanted_threads + 1 and self._packed < self._bound)

    def _hand(self, job: _Job) -> None:
        with self._turn:
            self._packed += job.packed
            self._todo.append(job)
            self._line.append(job)
            self._turn.notify_all()
        if len(self._threads) < self._wanted_threads:
            thread = threading.Thread(target=self._labour, name="kinemacolor-extract", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _labour(self) -> None:
        decoder: Decoder | None = None
        try:
            while True:
                with self._turn:
                    while not (self._todo or self._stopped):
                        self._turn.wait()
                    if self._stopped:
                        return
                    job = self._todo.popleft()
                try:
                    if decoder is None:
                        decoder = Decoder(self._path)
                    for number, time, frame in (decoder.good if self._mends else decoder.frames)(job.runs):
                        lost = frame is None
                        done = (number, time, LOST) if lost else self._finish(number, time, frame, decoder.aspect)
                        if not self._put(job, done):
                            return
                except BaseException as error:  # told to the consumer, in whose thread it is raised
                    job.error = error
                with self._turn:
                    job.done, job.runs = True, []
                    self._packed -= job.packed
                    self._turn.notify_all()
        finally:
            if decoder is not None:
                decoder.close()

    def _put(self, job: _Job, result: tuple[int, float, T]) -> bool:
        """Hand a result over when there is room; see the class. False once all is stopped."""
        size = bytes_of(result[2])
        with self._turn:
            while not (self._stopped or self._has_room(job, size)):
                self._turn.wait()
            job.results.append((result, size))
            self._waiting += size
            self._turn.notify_all()
            return not self._stopped

    def _has_room(self, job: _Job, size: int) -> bool:
        always = 2 if self._line[0] is job else 1
        return self._waiting + size <= self._bound or len(job.results) < always


class Decoder:
    """A decoder of one thread with all that the container says of the stream."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._containers = []
        self._contexts: dict[bool, VideoCodecContext] = {}
        video = best_video(self._open())
        self.aspect = pixel_aspect(video)

    def close(self) -> None:
        """Let go of the file."""
        for container in self._containers:
            container.close()

    def _open(self) -> InputContainer:
        self._containers.append(open_video(self._path))
        return self._containers[-1]

    def _anew(self, strict: bool) -> VideoCodecContext:
        """A decoder that knows of no picture."""
        if strict in self._contexts:
            self._contexts[strict].flush_buffers()
        else:
            context = best_video(self._containers[0] if self._containers and not self._contexts else self._open()).codec_context
            context.thread_count = 1
            context.options = dict(STRICT) if strict else {}
            self._contexts[strict] = context
        return self._contexts[strict]

    def shown(self, packets: list[Packet]) -> set[int]:
        """The time stamps of what comes of the packets when nothing is known before them.

        Raises:
            Doubt: it is damaged.
        """
        context = self._anew(strict=False)
        try:
            frames = [frame for packet in [*packets, None] for frame in context.decode(packet)]
        except av.error.FFmpegError as error:
            raise Doubt("its first pictures are damaged") from error
        if any(frame.is_corrupt for frame in frames):
            raise Doubt("its first pictures are damaged")
        return {frame.pts for frame in frames}

    def frames(self, runs: list[Run]) -> Iterator[tuple[int, float, VideoFrame]]:
        """Number, time and frame of the wanted pictures.

        Raises:
            Doubt: something else came out than the packets promised.
        """
        for run in runs:
            context = self._anew(run.strict)
            came = 0
            held: deque[VideoFrame] = deque()
            for packet in [*run.packets, None]:
                try:
                    frames = context.decode(packet)
                except av.error.FFmpegError as error:
                    if run.missing and packet is not None and packet.pts < run.begin:
                        continue
                    raise _Bad("the decoder fails", packet.pts if packet is not None else run.next_of(came)) from error
                for frame in frames:
                    if run.missing and frame.pts is not None and frame.pts < run.begin:
                        continue
                    if came == len(run.stamps) or frame.pts != run.stamps[came]:
                        raise _Bad("other pictures come out than its packets tell of", run.next_of(came), frame.pts)
                    if frame.is_corrupt:
                        raise _Bad("a picture is damaged", frame.pts)
                    came += 1
                    if frame.pts in run.wanted:
                        held.append(frame)
                    while held and came >= run.releases[held[0].pts]:
                        first = held.popleft()
                        yield *run.wanted[first.pts], first
            if came != len(run.stamps):
                raise _Bad("fewer pictures come out than its packets tell of", run.next_of(came))

    def _forget(self) -> None:
        """Take new decoders next time: some keep traces of damage whatever they are told (MPEG-4's its clock)."""
        self.close()
        self._containers, self._contexts = [], {}

    def _comes(self, run: Run) -> bool:
        try:
            for _ in self.frames([run]):
                pass
        except Doubt:
            self._forget()
            return False
        return True

    def good(self, runs: list[Run]) -> Iterator[tuple[int, float, VideoFrame | None]]:
        """As `frames`, but whatever needs a picture that does not come as it should is None; -1 if nothing wanted does."""
        for run in runs:
            left: Run | None = run
            gone: list[tuple[int, float]] = []
            bad: set[int | None] = set()
            given = -1
            while left is not None:
                try:
                    for number, time, frame in self.frames([left]):
                        while gone and gone[0][0] < number:
                            yield *gone.pop(0), None
                        given = number
                        yield number, time, frame
                    left = run.rest(given, bad)[0] if bad else None
                except _Bad as one:
                    self._forget()
                    stamp = one.instead if one.instead is not None and self._comes(run.only(one.stamp)) else one.stamp
                    known = stamp not in bad and any(stamp == item.pts for item in run.items)
                    # Where nobody is to blame, all are.
                    bad |= {stamp} if known else {item.pts for item in run.items}
                    left, gone = run.rest(given, bad)
            if bad and not gone:
                yield -1, 0.0, None
            for number, time in gone:
                yield number, time, None


class _Bad(Doubt):
    """Something else came out than the packets promised."""

    def __init__(self, why: str, stamp: int | None, instead: int | None = None) -> None:
        super().__init__(why)
        self.stamp = stamp
        """Of the picture that is to blame, if that is known."""
        self.instead = instead
        """Of the one that came instead of it, which is to blame if the other comes without it."""


def shown_alone(path: Path, packets: list[Packet]) -> set[int]:
    """`Decoder.shown` of a film's packets, by a decoder of their own."""
    decoder = Decoder(path)
    try:
        return decoder.shown(packets)
    finally:
        decoder.close()
