"""What `kinemacolor sync` prints: the segments as a table in plain columns, which a log keeps as well as a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinemacolor.report.segments import (
    UNSURE,
    clock_words,
    frame_time,
    own_stretches,
    own_words,
    seconds_words,
    span_words,
    speed_words,
)

if TYPE_CHECKING:
    from kinemacolor.align.path import Path

_HEAD = ("", "colour frames", "at", "grey frames", "at", "lasts", "speed", "alike", "sure")


def segment_table(
    path: Path,
    *,
    grey_rate: float,
    colour_rate: float,
    grey_frames: int,
    colour_frames: int,
    grey_times: ArrayLike = (),
    colour_times: ArrayLike = (),
    geometry: Any = None,
) -> str:
    """The segments of a path as lines of text, and under them what else a person wants to know.

    Args:
        path: what was found.
        grey_rate, colour_rate: frames a second; fractions will do.
        grey_frames, colour_frames: how many frames each print has.
        grey_times, colour_times: float64, seconds of each of them, as decoded; by the rate where they are not known.
        geometry: `align.spatial.Geometry`, if it is known.

    Returns:
        Lines without a newline at the end. Frames are given by the first and the last, times by the first; "sure" is the
        mean confidence and is followed by a mark where it is low.
    """
    rates = float(grey_rate), float(colour_rate)
    times = np.asarray(grey_times, np.float64), np.asarray(colour_times, np.float64)
    grey_at, colour_at = (partial(frame_time, shown, rate) for shown, rate in zip(times, rates, strict=True))
    rows = [
        (
            str(number),
            span_words(one.colour_start, one.colour_end),
            clock_words(colour_at(one.colour_start)),
            span_words(one.grey_start, one.grey_end),
            clock_words(grey_at(one.grey_start)),
            seconds_words(colour_at(one.colour_end) - colour_at(one.colour_start)),
            speed_words(one.speed, one.clock),
            "-" if np.isnan(one.alike) else f"{one.alike:.3f}",
            f"{one.confidence:.3f}{' ?' if one.confidence < UNSURE else ''}",
        )
        for number, one in enumerate(path.segments, start=1)
    ]
    facts = _facts(path, rates=rates, times=times, frames=(grey_frames, colour_frames), geometry=geometry)
    wide = max(len(name) for name, _ in facts)
    return "\n".join([*_columns([_HEAD, *rows]), "", *(f"{name:>{wide}}  {value}" for name, value in facts)])


def _facts(
    path: Path,
    *,
    rates: tuple[float, float],
    times: tuple[NDArray[np.float64], NDArray[np.float64]],
    frames: tuple[int, int],
    geometry: Any,
) -> list[tuple[str, str]]:
    unsure = float(np.mean(path.confidence < UNSURE)) if len(path.confidence) else 0.0
    sure = f"mean {np.mean(path.confidence):.3f}" if len(path.confidence) else "none"
    grey = own_stretches(((one.grey_start, one.grey_end) for one in path.segments), frames[0])
    colour = own_stretches(((one.colour_start, one.colour_end) for one in path.segments), frames[1])
    count = len(path.segments)
    facts = [
        ("pairs", f"{len(path.colour_frame):,} in {count} segment{'s' if count != 1 else ''}"),
        ("in common", f"{path.share:.1%} of the shorter print"),
        ("correlation", f"{path.correlation:.3f}"),
        ("confidence", f"{sure}; below {UNSURE} (marked ?): {unsure:.1%} of the pairs"),
        ("grey print's own", own_words(grey, rates[0], times=times[0])),
        ("colour print's own", own_words(colour, rates[1], times=times[1])),
    ]
    if geometry is not None:
        kind = getattr(geometry, "kind", None)
        crop = " ".join(f"{value:.1f}" for value in geometry.colour_crop)
        facts += [
            ("common area", f"{crop} (left top right bottom, pixels of the colour print)"),
            ("residual", f"{geometry.residual_px:.2f} pixels of the grey print{f', {kind}' if kind else ''}"),
        ]
    return facts


def _columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Rows of equal length as lines: words to the left, numbers to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = [
            f"{cell:<{width}}" if name in ("speed", "sure") else f"{cell:>{width}}"
            for cell, width, name in zip(row, widths, rows[0], strict=True)
        ]
        yield "  ".join(cells).rstrip()
