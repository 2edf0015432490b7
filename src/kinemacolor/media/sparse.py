"""The pictures of a film that are wanted, as `decode` gives them to the byte, without decoding what none of them needs.

One pass over the packets plans what must be decoded (plan.py, by the rules of references.py), decoders of one thread each do
it, several at once (workers.py). Every picture that comes out is checked against the plan before it is given. Where they
disagree, or the stream leaves room for doubt, `decode` is the judge: the rest of the film is decoded in full from its
start.

Damage inside a picture that nothing wanted depends on is never seen. Where damage is allowed and met, a picture is given if
all that it needs itself decodes without complaint, and `decode` is asked for the others only; so what comes of a film does
not depend on what else is wanted, nor on how it is cut in pieces. On a damaged film `extract` may keep good frames that `decode`
drops, which leaves out everything decoded between the damage and the next key picture.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from av.video.frame import VideoFrame

from kinemacolor import cores
from kinemacolor.media.decode import Picture, frames_of, pixel_aspect
from kinemacolor.media.plan import Choice, Tally, jobs_of
from kinemacolor.media.probe import best_video, open_video
from kinemacolor.media.references import codec_name
from kinemacolor.media.roles import Doubt
from kinemacolor.media.salvage import BadRange, tell_of_damage
from kinemacolor.media.workers import LOST, WAITING, Finish, Line, shown_alone

T = TypeVar("T")


class Effort(NamedTuple):
    """What the extraction of a film took; the same whatever the number of threads."""

    way: str
    """`sparse`, or `full` where (the rest of) the film was left to `decode`; not counting what was done again for damage."""
    codec: str
    why: str
    """Why it was decoded in full; empty where it was not."""
    packets: int
    """Pictures in the part that was read."""
    decoded: int
    """Of these, the ones that were decoded."""


def extract(
    path: Path,
    *,
    every: int = 1,
    first: int = 0,
    start: float = 0.0,
    end: float | None = None,
    grey: bool = False,
    wanted: Set[int] | None = None,
    between: tuple[int, int] | None = None,
    allow_truncated: bool = False,
    threads: int | None = None,
    prepare: Callable[[Picture], T] | None = None,
    note: Callable[[Effort], None] | None = None,
    on_bad_range: BadRange | None = None,
    waiting: int = WAITING,
) -> Iterator[tuple[int, float, T]]:
    """Yield number, time in seconds and picture of the wanted frames, in order, as `decode` gives them for the same arguments.

    Args:
        every, first, start, end, grey, wanted, allow_truncated, on_bad_range: as for `decode`.
        between: (a, b) further restricts the numbers to a <= number < b; little is done for what lies before a.
        threads: decoders at work at once; None for as many as there are cores. The result does not depend on it.
        prepare: what is to be made of each picture (the picture itself without it); called in several threads at once.
        note: is told once, at the end, what was done.
        waiting: bytes that finished pictures may have that wait, and again packets; a few of either wait whatever it is.

    Raises:
        UserError: as `decode`. Damage inside pictures that no wanted frame depends on is not noticed, and under `allow_truncated`
            costs only what does.
    """
    path = Path(path)
    choice = Choice(every, first, start, end, wanted, between)
    threads = threads or cores.usable()
    damage = {"allow_truncated": allow_truncated, "on_bad_range": on_bad_range}
    given = -1
    codec, tally = _codec(path), Tally()
    ends: list[tuple[float, float]] = []
    finish = Finish(grey, prepare, steady=False)
    jobs = jobs_of(
        path,
        choice,
        tally,
        shown=functools.partial(shown_alone, path),
        allow_truncated=allow_truncated,
        guess=not allow_truncated,
        on_end=lambda *both: ends.append(both),
    )
    line = Line(path, threads, Finish(grey, prepare, steady=True), waiting=waiting, mends=allow_truncated)
    whole = _Whole(path, choice, threads, **damage)
    try:
        try:
            for number, time, value in line.work(jobs):
                if value is LOST:
                    frame = whole.find(number)
                    if frame is not None:
                        yield finish(*frame, whole.aspect)
                else:
                    yield number, time, value
                given = max(given, number)
        finally:
            line.stop()
            jobs.close()
        effort = Effort("sparse", codec, "", tally.packets, tally.decoded)
        if whole.begun:
            whole.find(1 << 62)  # tells of all damage there is
        else:
            for begin, until in ends:
                tell_of_damage(path, begin, until, on_bad_range)
    except Doubt as doubt:
        count = 0
        for count, result in _full(whole, choice, finish, threads, given):  # noqa: B007 - the last one counts
            if result is not None:
                yield result
        effort = Effort("full", codec, str(doubt), count, count)
    finally:
        whole.close()
    if note:
        note(effort)


def effort(
    path: Path,
    *,
    every: int = 1,
    first: int = 0,
    start: float = 0.0,
    end: float | None = None,
    wanted: Set[int] | None = None,
    between: tuple[int, int] | None = None,
    allow_truncated: bool = False,
) -> Effort:
    """What `extract` would tell of its effort for these arguments, from the packets alone, which nothing is decoded of.

    Where packets already say that the film must be decoded in full, none are counted.
    """
    path, tally = Path(path), Tally()
    choice = Choice(every, first, start, end, wanted, between)
    shown = functools.partial(shown_alone, path)
    try:
        for _ in jobs_of(path, choice, tally, shown=shown, allow_truncated=True, guess=not allow_truncated):
            pass
    except Doubt as doubt:
        return Effort("full", _codec(path), str(doubt), 0, 0)
    return Effort("sparse", _codec(path), "", tally.packets, tally.decoded)


def _codec(path: Path) -> str:
    with open_video(path) as container:
        return codec_name(best_video(container))


class _Whole:
    """The full decode of a film, which begins when it is first asked."""

    def __init__(self, path: Path, choice: Choice, threads: int, **damage: object) -> None:
        self._path = path
        self._frames = frames_of(path, end=choice.end, last=choice.last, threads=threads, **damage)
        self._held: list[tuple[int, float, VideoFrame]] = []
        self.begun = False

    @functools.cached_property
    def aspect(self) -> float:
        with open_video(self._path) as container:
            return pixel_aspect(best_video(container))

    def find(self, number: int) -> tuple[int, float, VideoFrame] | None:
        """The frame of this number, if it is good; numbers may only go up."""
        for frame in self:
            if frame[0] >= number:
                if frame[0] == number:
                    return frame
                self._held = [frame]
                break
        return None

    def __iter__(self) -> Iterator[tuple[int, float, VideoFrame]]:
        """The frames that are still to come."""
        self.begun = True
        held, self._held = self._held, []
        return itertools.chain(held, self._frames)

    def close(self) -> None:
        self._frames.close()


def _full(
    whole: _Whole, choice: Choice, finish: Finish, threads: int, given: int
) -> Iterator[tuple[int, tuple[int, float, T] | None]]:
    """The frames after `given` by way of the full decode: pictures seen so far, and a result if there is one."""
    waiting: deque[Future] = deque()
    pool = ThreadPoolExecutor(threads)
    frames = iter(whole)
    number, error = -1, None
    try:
        while True:
            try:
                number, time, frame = next(frames)
            except StopIteration:
                break
            except Exception as raised:  # whatever came before it is given first
                error = raised
                break
            if number > given and time >= choice.start and choice.has(number):
                waiting.append(pool.submit(finish, number, time, frame, whole.aspect))
            if len(waiting) > 2 * threads:
                yield number + 1, waiting.popleft().result()
        while waiting:
            yield number + 1, waiting.popleft().result()
        if error is not None:
            raise error
        yield number + 1, None
    finally:
        pool.shutdown(cancel_futures=True)
