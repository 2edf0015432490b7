"""Which frame of one print is which of the other, to the frame, for prints that were cut, reordered and run at other speeds.

From coarse to fine. Windows find stretches to a quarter of a second (coarse.py). On some two hundred pairs from these the
colour grids are brought onto the grey ones (duo.py, grid.py), without which a pan under another crop passes for a shift in time. Many
short measurements then give the speed (moments.py, speed.py), and with it every stretch is compared with the grey frames around it
(bands.py, evidence.py). A hidden Markov model over offsets finds segments and their ends to the frame, and how sure each is
(offsets.py, chain.py, gaps.py); what is left over is searched for short pieces (pieces.py). Where frames are not one for one, each takes the best of its neighbours at last (phase.py). The method is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from kinemacolor.align.bands import band
from kinemacolor.align.coarse import Search, Stretch, search
from kinemacolor.align.duo import Prints, overlay_on, prints_of, surprise_of
from kinemacolor.align.evidence import CALM
from kinemacolor.align.grid import Overlay, Window, normalised
from kinemacolor.align.moments import grouped, measured
from kinemacolor.align.offsets import Segmented, segmented
from kinemacolor.align.path import Path, Segment
from kinemacolor.align.signature import Signature
from kinemacolor.errors import UserError

_THREADS = 2
_WELL_COVERED = 0.8  # share of the shorter print from which the first search will do
_ROUGHLY = 8  # of so many frames one is enough for the overlay
_FLAT = 1.0  # standard deviation of luma over a grid up to which a picture tells nothing
_UNLIKE = 0.4  # correlation up to which a pair set by hand is not believed
_PULLS = 0.25  # share of the pairs from which a segment may pull the overlay
_ASTRAY = 0.01  # of the picture by which overlays differ that cannot both be right
_BETTER = 20.0  # nats by which another overlay must explain more
_SOME = 20_000  # pairs that the correlation is computed over at most
_CHUNK = 2048  # pairs in float at one time


def find_path(
    grey: Signature, colour: Signature, *, min_correlation: float, min_share: float, names: str = "The two prints"
) -> Path:
    """Pair the frames of two prints.

    Args:
        grey, colour: signatures of both prints.
        min_correlation: the least correlation of the paired pictures of prints that belong together.
        min_share: the least share of the shorter print that must be paired.
        names: what an error calls them.

    Raises:
        UserError: a print without enough frames, or prints that do not belong together, with the best score found.
    """
    # Two threads of our own, which work on stretches, beat BLAS's on small products; and these choke where the cores are busy.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(_THREADS) as pool:
        return _found(prints_of(grey, colour, names), pool, min_correlation, min_share, names)


def _found(prints: Prints, pool: Executor, min_correlation: float, min_share: float, names: str) -> Path:
    grey, colour = prints.grey, prints.colour
    found = search(grey, colour, _likely(prints))
    if not found.stretches:
        raise UserError(_strangers(names, found))
    overlay, _ = overlay_on(prints, _nearest(prints, found.stretches))
    if found.covered < _WELL_COVERED * min(float(grey.times[-1]), float(colour.times[-1])):
        # On grids that lie on each other more may be recognised.
        better = search(grey, colour, _likely(prints), overlay)
        found = better if better.covered > found.covered else found
    rough = list(pool.map(lambda part: measured(prints, part, overlay, every=_ROUGHLY), found.stretches))
    pairs = np.concatenate([run.pairs(prints) for run in rough])
    if len(pairs) == 0:
        raise UserError(_strangers(names, found))
    overlay, window = overlay_on(prints, pairs)
    laid = _laid(prints, found.stretches, overlay, window, pool)
    if laid is None:
        raise UserError(_strangers(names, found))
    for overlay, window in _own_overlays(prints, laid):
        other = _laid(prints, found.stretches, overlay, window, pool)
        if other is not None and other.explained > laid.explained + _BETTER:
            laid = other
    path = _told(prints, laid.found, laid.window, laid.overlay, found.votes)
    _require(path, min_correlation, min_share, names)
    return path


class _Laid(NamedTuple):
    """Segments under one overlay, and how much they explain: log likelihood, over all pairs, of the pictures."""

    found: Segmented
    overlay: Overlay
    window: Window
    explained: float


def _laid(prints: Prints, stretches: Sequence[Stretch], overlay: Overlay, window: Window, pool: Executor) -> _Laid | None:
    """The segments under an overlay; None if nothing can be measured under it."""
    runs = list(pool.map(lambda part: measured(prints, part, overlay), stretches))
    groups = grouped(prints, stretches, runs)
    if not groups:
        return None
    found = segmented(prints, groups, overlay, pool)
    alike, weight = _likeness(prints, overlay, found.pairs)
    return _Laid(found, overlay, window, float(-(CALM * weight * surprise_of(np.nan_to_num(alike))).sum()))


def _own_overlays(prints: Prints, laid: _Laid) -> list[tuple[Overlay, Window]]:
    """Overlays by single long segments, where these lie otherwise than under the one by all.

    In a film of a few shots one that is misplaced in time pulls the overlay with it, and under that overlay a pan is at home there.
    """
    out, segment = [], laid.found.segment
    count = np.bincount(segment) if len(segment) else np.zeros(0, int)
    for number in np.flatnonzero((count >= _PULLS * len(segment)) & (count < len(segment))):
        overlay, window = overlay_on(prints, laid.found.pairs[segment == number])
        if max(abs(a - b) for a, b in zip(window, laid.window, strict=True)) > _ASTRAY:
            out.append((overlay, window))
    return out


def _strangers(names: str, found: Search) -> str:
    return (
        f"{names} do not belong together: the best that any few seconds of one correlate with the other is {found.best:.2f}; "
        "check that both are the same film, or set sync.segments by hand."
    )


def check_path(
    grey: Signature,
    colour: Signature,
    *,
    segments: Sequence[tuple[int, int, int, float]],
    min_correlation: float,
    names: str = "The two prints",
) -> Path:
    """The same account of segments that were set by hand. Nothing is searched, but what is wrong is refused.

    Args:
        segments: (first colour frame, colour frame after the last, grey frame of the first, grey frames a colour frame), in
            numbers as `media.decode` counts frames.

    Raises:
        UserError: the prints have no such frames, or correlate less than `min_correlation` there.
    """
    prints, segments = prints_of(grey, colour, names), sorted(segments)
    rows, number = [], []
    for index, (start, end, first, speed) in enumerate(segments):
        frames = np.arange(start, end, dtype=np.int64)
        partner = np.floor(first + speed * (frames - start) + 0.5).astype(np.int64)
        needed = (("colour", colour, end - 1), ("grey", grey, int(partner[-1]) if len(partner) else 0))
        for which, print_, last in needed if len(frames) else ():
            if last > print_.numbers[-1]:
                raise UserError(
                    f"What was set by hand needs frame {last} of the {which} print, which has {int(print_.numbers[-1]) + 1}: correct "
                    "or remove sync.segments."
                )
        # Numbers count damaged pictures, places do not.
        places = np.column_stack([_places(colour.numbers, frames), _places(grey.numbers, partner)])
        places = places[(places >= 0).all(axis=1)]
        rows.append(places)
        number.append(np.full(len(places), index, np.int32))
    pairs, segment = np.concatenate(rows), np.concatenate(number)
    if len(pairs) < 2:
        raise UserError(
            f"What was set by hand leaves nothing that both prints show (they have {len(grey)} and {len(colour)} frames): "
            "correct or remove sync.offset or sync.segments."
        )
    if (np.diff(pairs[:, 0]) <= 0).any():
        raise UserError("sync.segments names some frames of the colour print twice: let its stretches not overlap.")
    overlay, window = overlay_on(prints, pairs)
    alike, weight = _likeness(prints, overlay, pairs)
    # Nothing is known of neighbours that were not compared: what is alike at all is taken as said.
    sure = weight * np.clip((np.nan_to_num(alike) - _UNLIKE) / (1 - 2 * _UNLIKE), 0, 1)
    path = _told(
        prints,
        Segmented(pairs, segment, sure, tuple(speed for *_, speed in segments)),
        window,
        overlay,
        np.zeros((0, 3), np.float32),
    )
    for number, one in enumerate(path.segments):
        rows = path.segment == number
        correlation = _correlation(prints, overlay, pairs[rows]) if len(path.segments) > 1 else path.correlation
        if correlation < min_correlation:
            raise UserError(
                f"{names} do not belong together as set by hand: from colour frame {one.colour_start} to {one.colour_end - 1} their "
                f"pictures correlate by {correlation:.2f}, and {min_correlation:g} is needed; correct or remove sync.offset or "
                "sync.segments, or change sync.min_correlation."
            )
    return path


def _places(numbers: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the frames with these numbers, -1 for a damaged one."""
    place = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return np.where(numbers[place] == wanted, place, -1)


def _likely(prints: Prints) -> list[float]:
    """Clocks, grey seconds a colour second, that frames one for one and 3:2 pulldown would give."""
    one = prints.rates[1] / prints.rates[0]
    return [one, 1.25 * one, 0.8 * one]


def _require(path: Path, min_correlation: float, min_share: float, names: str) -> None:
    if path.share < min_share or path.correlation < min_correlation:
        raise UserError(
            f"{names} do not belong together: at their best {100 * path.share:.1f} % of the shorter one can be paired, with a "
            f"correlation of {path.correlation:.2f}, and {100 * min_share:g} % with {min_correlation:g} is needed; check that "
            "both are the same film, or change sync.min_share, sync.min_correlation or sync.segments."
        )


def _nearest(prints: Prints, stretches: Sequence[Stretch]) -> NDArray[np.int64]:
    """(n, 2) colour and grey frames of the stretches' moments, good to a quarter of a second."""
    seconds = np.concatenate([part.colour for part in stretches]), np.concatenate([part.grey for part in stretches])
    frames = [
        np.clip(np.searchsorted(print_.times, at), 0, len(print_) - 1)
        for print_, at in zip((prints.colour, prints.grey), seconds, strict=True)
    ]
    return np.column_stack(frames)


def _likeness(prints: Prints, overlay: Overlay, pairs: NDArray) -> tuple[NDArray, NDArray]:
    """Likeness and weight of each pair."""
    alike, _, weight = band(prints.grey, prints.colour, overlay, pairs[:, 0], pairs[:, 1:2])
    return alike[:, 0], weight


def _told(prints: Prints, found: Segmented, window: Window, overlay: Overlay, votes: NDArray) -> Path:
    """All that is told of pairs in segments."""
    pairs, sure = found.pairs, np.asarray(found.sure, np.float32)
    alike, weight = _likeness(prints, overlay, pairs)
    numbers = np.unique(found.segment)
    segments = []
    for number in numbers:
        rows = np.flatnonzero(found.segment == number)
        frames, partner = pairs[rows].T
        seen = alike[rows][weight[rows] > 0.5]
        speed = found.speeds[number]
        segments.append(
            Segment(
                colour_start=int(frames[0]),
                colour_end=int(frames[-1]) + 1,
                grey_start=int(partner[0]),
                grey_end=int(partner[-1]) + 1,
                speed=speed,
                clock=prints.rates[0] / prints.rates[1] / speed,
                alike=float(np.median(seen)) if len(seen) else 0.0,
                confidence=float(sure[rows].mean()),
            )
        )
    speed = float(np.mean(np.array(found.speeds)[found.segment])) if len(pairs) else 1.0
    shorter = min(len(prints.colour), len(prints.grey) / speed)
    return Path(
        colour_frame=pairs[:, 0].astype(np.int64),
        grey_frame=pairs[:, 1].astype(np.int64),
        segment=np.searchsorted(numbers, found.segment).astype(np.int32),
        alike=np.where(weight > 0, alike, np.nan).astype(np.float32),
        confidence=sure,
        segments=tuple(segments),
        correlation=_correlation(prints, overlay, pairs),
        share=min(1.0, len(pairs) / shorter),
        window=window,
        votes=votes,
    )


def _correlation(prints: Prints, overlay: Overlay, pairs: NDArray) -> float:
    """Correlation of the two prints over the pairs, each print's average picture taken off."""
    sums, means, count = np.zeros(3), [0.0, 0.0], 0
    some = pairs[:: max(1, len(pairs) // _SOME)]
    for low in range(0, len(some), _CHUNK):
        part = some[low : low + _CHUNK]
        a, contrast_a = normalised(overlay.shared(prints.grey.grids[part[:, 1]]))
        b, contrast_b = normalised(overlay.shared(colour=prints.colour.grids[part[:, 0]]))
        shown = (np.minimum(contrast_a, contrast_b) > _FLAT)[:, None]
        a, b = a * shown, b * shown
        sums += [np.sum(a * b, dtype=np.float64), np.sum(a * a, dtype=np.float64), np.sum(b * b, dtype=np.float64)]
        means = [means[0] + a.sum(axis=0, dtype=np.float64), means[1] + b.sum(axis=0, dtype=np.float64)]
        count += int(shown.sum())
    if not count:
        return 0.0
    sums -= np.array([np.sum(means[0] * means[1]), np.sum(means[0] ** 2), np.sum(means[1] ** 2)]) / count
    return float(sums[0] / np.sqrt(max(sums[1] * sums[2], 1e-12)))
