"""What brings two prints together, in words and numbers: said in the same way by the pictures, the command and the page.

Neither matplotlib nor files are needed here. Segments may be those of `align.path` or anything with the same attributes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNSURE = 0.5
"""A confidence below this is marked wherever it is shown: the pair is more likely wrong than right."""

SAME_SPEED = "same speed"

_SAME = 5e-4  # clocks this close are one: half of what lies between 24 and 23.976
_PAL = (25 / 24, 25 * 1001 / 24000)
_PULLDOWN = 1.25
_NAMED = 2e-3


class SegmentLike(Protocol):
    """A stretch that both prints show without a break: see `align.path.Segment`."""

    @property
    def colour_start(self) -> int: ...
    @property
    def colour_end(self) -> int: ...
    @property
    def grey_start(self) -> int: ...
    @property
    def grey_end(self) -> int: ...
    @property
    def speed(self) -> float: ...
    @property
    def clock(self) -> float: ...
    @property
    def alike(self) -> float: ...
    @property
    def confidence(self) -> float: ...


def speed_words(speed: float, clock: float) -> str:
    """How the grey print runs beside the colour print: "same speed", "1.042 faster (PAL)", "3:2 pulldown".

    Args:
        speed: grey frames a colour frame.
        clock: seconds of the colour print a second of the grey one.
    """
    said = []
    if abs(clock - 1) >= _SAME:
        ratio = max(clock, 1 / clock)
        said.append(f"{ratio:.3f} {'faster' if clock > 1 else 'slower'}")
        if any(abs(ratio - pal) < _NAMED / 4 for pal in _PAL):
            said[0] += " (PAL)" if clock > 1 else " (colour is PAL)"
    if abs(speed - _PULLDOWN) < _NAMED:
        said.append("3:2 pulldown")
    elif abs(speed - 1 / _PULLDOWN) < _NAMED:
        said.append("3:2 pulldown in colour")
    elif abs(speed - 1) >= _SAME:
        said.append(f"{speed:.4g} grey frames a colour frame")
    return ", ".join(said) or SAME_SPEED


def speeds_summary(segments: Sequence[SegmentLike]) -> str:
    """All segments' speeds in one line: "1.042 faster (PAL)", or "same speed: 1–4, 6; 3:2 pulldown: 5"."""
    by_words: dict[str, list[int]] = {}
    for number, segment in enumerate(segments, start=1):
        by_words.setdefault(speed_words(segment.speed, segment.clock), []).append(number)
    if len(by_words) <= 1:
        return next(iter(by_words), "")
    return "; ".join(f"{words}: {_ranges(numbers)}" for words, numbers in by_words.items())


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as 1–4, 6."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def clock_words(seconds: float, *, digits: int = 2) -> str:
    """Seconds as a clock shows them: 0:07.21, 12:34.50, 1:02:03.45; a whole number of seconds with `digits` 0."""
    ticks = round(abs(seconds) * 10**digits)
    whole, part = divmod(ticks, 10**digits)
    minutes, left = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    said = f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
    said += f".{part:0{digits}}" if digits else ""
    return f"−{said}" if seconds < 0 and ticks else said


def own_stretches(spans: Iterable[tuple[int, int]], frames: int) -> list[tuple[int, int]]:
    """Frames start <= n < end that no span covers, in order: what a print of `frames` frames has for itself."""
    own, at = [], 0
    for start, end in sorted(spans):
        if start > at:
            own.append((at, start))
        at = max(at, end)
    if at < frames:
        own.append((at, frames))
    return own


def frame_time(times: NDArray[np.float64], rate: float, frame: float) -> float:
    """Seconds at which a frame begins; between frames in proportion, and after the last on at the print's rate.

    Args:
        times: float64, seconds of each frame; empty where they are not known.
        rate: frames a second.
    """
    known = len(times)
    if not known:
        return frame / rate
    if frame > known - 1:
        return float(times[-1]) + (frame - known + 1) / rate
    return float(np.interp(frame, (int(frame), int(frame) + 1), (times[int(frame)], times[min(int(frame) + 1, known - 1)])))


def own_words(own: Sequence[tuple[int, int]], rate: float, *, times: ArrayLike = (), most: int = 6) -> str:
    """What a print has for itself: "nothing", or "2 stretches, 240 frames (10.0 s): 0–172 (7.2 s), 3,000–3,066 (2.8 s)".

    Args:
        own: frames start <= n < end, as `own_stretches` gives them; what is said are the first and the last frame.
        rate: frames a second.
        times: float64, seconds of each frame, for a print whose frames do not all last equally long.
        most: how many of them are named; the longest are.
    """
    if not own:
        return "nothing"
    lengths, shown = [end - start for start, end in own], np.asarray(times, np.float64)
    seconds = [frame_time(shown, rate, end) - frame_time(shown, rate, start) for start, end in own]
    total, whole = sum(lengths), seconds_words(sum(seconds))
    named = sorted(sorted(range(len(own)), key=lambda i: -lengths[i])[:most])
    listed = [f"{span_words(*own[i])} ({seconds_words(seconds[i])})" for i in named]
    if len(own) == 1:
        return f"{total:,} frame{'s' if total != 1 else ''} ({whole}): {span_words(*own[0])}"
    more = f", and {len(own) - most} more" if len(own) > most else ""
    return f"{len(own)} stretches, {total:,} frames ({whole}): {', '.join(listed)}{more}"


def span_words(start: int, end: int) -> str:
    """Frames start <= n < end by the first and the last of them."""
    return f"{start:,}–{end - 1:,}" if end - start > 1 else f"{start:,}"


def seconds_words(seconds: float) -> str:
    """Seconds, as minutes from one on: 0.04 s, 7.2 s, 12:03."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    return clock_words(seconds, digits=0)


@dataclass(frozen=True)
class Agreement:
    """A found alignment beside the true one of a made print.

    Attributes:
        pairs: how many were found.
        exact, within_one, wrong: shares of them: the true grey frame, one beside it, neither; they add up to 1. A pair of
            a colour frame that the grey print does not show at all is wrong.
        truths: how many colour frames the grey print really shows.
        found: share of those whose pair was found, exactly or one frame beside.
    """

    pairs: int
    exact: float
    within_one: float
    wrong: float
    truths: int
    found: float


def agreement(
    colour_frame: ArrayLike, grey_frame: ArrayLike, true_colour: ArrayLike, true_grey: ArrayLike, *, confidence: ArrayLike = ()
) -> Agreement:
    """Compare found pairs with true ones, joined on the colour frame. All are int arrays; each has every colour frame once.

    Args:
        confidence: of the true pairs: where it is given, a pair is compared with the surest truth of its colour frame.
    """
    colour, grey, at, to = (np.asarray(values, np.int64) for values in (colour_frame, grey_frame, true_colour, true_grey))
    sure = np.asarray(confidence, np.float64) if len(np.asarray(confidence)) else np.zeros(len(at))
    order = np.lexsort((-sure, at))
    at, first = np.unique(at[order], return_index=True)
    to = to[order][first]
    place = np.searchsorted(at, colour).clip(max=max(len(at) - 1, 0))
    known = at[place] == colour if len(at) else np.zeros(len(colour), bool)
    apart = np.full(len(colour), np.iinfo(np.int64).max)
    apart[known] = np.abs(grey[known] - to[place[known]])
    count = max(len(colour), 1)
    exact, beside = int((apart == 0).sum()), int((apart == 1).sum())
    return Agreement(
        pairs=len(colour),
        exact=exact / count,
        within_one=beside / count,
        wrong=(len(colour) - exact - beside) / count,
        truths=len(at),
        found=len(np.unique(colour[apart <= 1])) / max(len(at), 1),
    )
