"""The offset between two prints of equal frame rate, to the frame.

Three steps. The coarse one correlates both prints at every offset at once (FFT): the pictures themselves, less each
print's average picture, and what changes from frame to frame, which is a spike at the true offset wherever the film
cuts or moves. The second brings the colour grids onto the grey ones (grid.py), without which a steady pan under another
crop passes for a shift in time. The third compares neighbouring offsets frame by frame on the grids so matched.

How sure one can be is measured, not assumed: where a shot stands still, the neighbours match as well as the frame itself.
The method is ours; the correlation by FFT is textbook.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from kinemacolor.align.curves import Curve, contrast_weight, curves, peaks
from kinemacolor.align.grid import Overlay, Window, fit_window, normalised
from kinemacolor.align.signature import Signature, active_area
from kinemacolor.errors import UserError

_CANDIDATES = 3
_REFINE = 6  # frames on either side of a candidate that are compared in full
_NEIGHBOURS = 2  # frames on either side that the confidence of a frame is measured against
_CHUNK = 4096  # frames in float at one time
_MIN_SHARE = 0.25  # of the frames that overlap: prints of one film share at least that


@dataclass(frozen=True)
class Match:
    """How the frames of the overlap agree at an offset.

    Attributes:
        first: colour frame that the first entry of the arrays stands for; the rest follow one by one.
        alike: float32 (n,), correlation of the two pictures' grids, -1..1; NaN where one of them is flat (black).
        sure: float32 (n,), how much better this offset explains the moment than its neighbours do, 0..1.
        start, end: colour frames start <= frame < end that belong together; what lies outside is intro or outro.
    """

    first: int
    alike: np.ndarray
    sure: np.ndarray
    start: int
    end: int


@dataclass(frozen=True)
class Offset:
    """The constant offset of two prints.

    Attributes:
        frames: grey frame number minus colour frame number of the same picture.
        correlation: of the two prints over the frames that belong together, each print's average picture taken off, -1..1.
        runner_up: the best correlation at any offset more than a second away.
        confidence: 0..1, that no other offset, the neighbours above all, is the true one.
        window: the part of the colour picture that the grey one shows.
        match: the frames that belong together.
        pictures, changes: correlation against offset, of the pictures and of what changes from frame to frame.
    """

    frames: int
    correlation: float
    runner_up: float
    confidence: float
    window: Window
    match: Match
    pictures: Curve
    changes: Curve


def require_equal_rates(grey: Fraction, colour: Fraction) -> None:
    """Refuse prints that run at different speeds.

    Raises:
        UserError: the frame rates differ by more than one in ten thousand.
    """
    if abs(grey / colour - 1) > Fraction(1, 10_000):
        raise UserError(
            f"The grey print runs at {_rate(grey)} and the colour print at {_rate(colour)} frames a second, and prints of "
            "different frame rates cannot be synced yet: convert one of them to the other's rate."
        )


def _rate(rate: Fraction) -> str:
    return f"{float(rate):.6g}"


def find_offset(
    grey: Signature,
    colour: Signature,
    frame_rate: Fraction,
    *,
    max_offset_seconds: float,
    min_correlation: float,
    names: str = "The two prints",
) -> Offset:
    """Find the offset at which two prints show the same film.

    Args:
        grey, colour: signatures of both prints, which run at `frame_rate`.
        max_offset_seconds: offsets beyond are not considered.
        min_correlation: the least correlation of prints that belong together.
        names: what an error calls them.

    Raises:
        UserError: a print without enough frames, or two prints that do not belong together, with the best score found.
    """
    pictures, changes = curves(grey, colour, frame_rate, max_offset_seconds)
    best: Offset | None = None
    for candidate in peaks(pictures.scores + changes.scores, _CANDIDATES, apart=_REFINE):
        found = _settle(grey, colour, int(pictures.offsets[candidate]), frame_rate, max_offset_seconds)
        if best is None or found.correlation > best.correlation:
            best = found
        # A second look is only worth its time where the first did not convince.
        if best.correlation >= max(0.8, min_correlation):
            break
    assert best is not None
    _require(best, min_correlation, frame_rate, names, "at their best, at")
    return best


def check_offset(
    grey: Signature,
    colour: Signature,
    frame_rate: Fraction,
    *,
    frames: int,
    max_offset_seconds: float,
    min_correlation: float,
    names: str = "The two prints",
) -> Offset:
    """The same account of an offset that was set by hand. Nothing is searched, but what is wrong is refused.

    Raises:
        UserError: the prints do not overlap at this offset or correlate less than `min_correlation` there.
    """
    overlap = min(len(colour), len(grey) - frames) - max(0, -frames)
    if overlap < 2:
        raise UserError(
            f"The offset of {frames} frames set by hand leaves nothing that both prints show (they have {len(grey)} and "
            f"{len(colour)} frames): correct or remove sync.offset."
        )
    reach = max(max_offset_seconds, (abs(frames) + 1) / float(frame_rate))
    found = _settle(grey, colour, frames, frame_rate, reach, refine=False)
    _require(found, min_correlation, frame_rate, names, "at the offset set by hand,")
    return found


def _require(found: Offset, min_correlation: float, frame_rate: Fraction, names: str, where: str) -> None:
    if found.correlation < min_correlation:
        raise UserError(
            f"{names} do not belong together: their pictures correlate by {found.correlation:.2f} {where} "
            f"{found.frames:+d} frames ({found.frames / float(frame_rate):+.2f} s), and {min_correlation:g} is needed; check "
            "that both are the same film, or change sync.max_offset, sync.offset or sync.min_correlation."
        )


# ---------------------------------------------------------------------------------------------- one offset in full


def _settle(
    grey: Signature, colour: Signature, offset: int, frame_rate: Fraction, max_offset_seconds: float, *, refine: bool = True
) -> Offset:
    """Bring the grids onto each other at an offset, move to the best of its neighbours, and account for the result."""
    areas = active_area(grey.grids), active_area(colour.grids)
    for _ in range(3):
        overlay, window = _overlay(grey, colour, offset, areas)
        similarity, weight, first = _similarities(grey, colour, overlay, offset, _REFINE if refine else _NEIGHBOURS)
        middle = similarity.shape[1] // 2
        start, end = _belonging(similarity[:, middle], weight)
        if not refine:
            break
        # Offsets whose frames lie outside a print have no similarity there; the frames that all have are compared.
        rows = similarity[start:end]
        whole = np.isfinite(rows).all(axis=1)
        total = (rows[whole] * weight[start:end][whole, None]).sum(axis=0)
        step = int(np.argmax(total)) - middle if whole.any() else 0
        if step == 0:
            break
        offset += step
    near = similarity[:, middle - _NEIGHBOURS : middle + _NEIGHBOURS + 1]
    match = Match(
        first,
        np.where(weight > 0, near[:, _NEIGHBOURS], np.nan).astype(np.float32),
        _sureness(near, weight, max(3, round(float(frame_rate) / 2))),
        first + start,
        first + end,
    )
    share = (end - start) / len(near)
    correlation = _correlation(grey, colour, overlay, offset, match) * min(1.0, share / _MIN_SHARE)
    pictures, changes = curves(grey, colour, frame_rate, max_offset_seconds, overlay)
    away = np.abs(pictures.offsets - offset) > float(frame_rate)
    runner_up = float(pictures.scores[away].max()) if away.any() else 0.0
    confidence = _certainty(near[start:end], weight[start:end], round(float(frame_rate)))
    confidence *= float(np.clip((correlation - runner_up) / max(0.2 * correlation, 1e-6), 0, 1))
    return Offset(offset, correlation, runner_up, confidence, window, match, pictures, changes)


def _overlay(
    grey: Signature, colour: Signature, offset: int, areas: tuple[tuple[float, ...], tuple[float, ...]]
) -> tuple[Overlay, Window]:
    """The window at an offset, from some 200 frames with the most to see, spread over the overlap."""
    first, last = max(0, -offset), min(len(colour), len(grey) - offset)
    bins = np.array_split(np.arange(first, last), min(200, last - first))
    # One frame of each stretch, without reading them all: the one of most contrast among five.
    frames = []
    for part in bins:
        some = part[np.linspace(0, len(part) - 1, min(5, len(part))).astype(int)]
        contrast = np.asarray(colour.grids[some], np.float32).std(axis=(1, 2))
        frames.append(some[int(np.argmax(contrast))])
    index = np.array(frames)
    window = fit_window(
        np.asarray(grey.grids[index + offset], np.float32), np.asarray(colour.grids[index], np.float32), areas[0], areas[1]
    )
    return Overlay(window, areas[0], areas[1]), window


def _chunks(
    grey: Signature, colour: Signature, overlay: Overlay, offset: int, first: int, last: int, margin: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Normalised grids of colour frames first..last and of their grey partners with `margin` more on either side."""
    for at in range(first, last, _CHUNK):
        end = min(at + _CHUNK, last)
        low, high = max(0, at + offset - margin), min(len(grey), end + offset + margin)
        a, contrast_a = normalised(overlay.grey(grey.grids[low:high]))
        b, contrast_b = normalised(overlay.colour(colour.grids[at:end]))
        pad = (low - (at + offset - margin), end + offset + margin - high)
        a = np.pad(a, (pad, (0, 0)), constant_values=np.nan)
        yield at, a, np.pad(contrast_a, pad), b, contrast_b


def _similarities(
    grey: Signature, colour: Signature, overlay: Overlay, offset: int, reach: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Correlation of every colour frame of the overlap with the grey frames around its partner.

    Returns (frames, 2 reach + 1) float32, NaN where there is no such grey frame; each frame's weight; the first frame.
    """
    first, last = max(0, -offset), min(len(colour), len(grey) - offset)
    similarity = np.empty((last - first, 2 * reach + 1), np.float32)
    weight = np.empty(last - first, np.float32)
    for at, a, contrast_a, b, contrast_b in _chunks(grey, colour, overlay, offset, first, last, reach):
        here = slice(at - first, at - first + len(b))
        for lag in range(2 * reach + 1):
            similarity[here, lag] = np.einsum("ij,ij->i", a[lag : lag + len(b)], b)
        weight[here] = np.minimum(contrast_weight(contrast_a[reach : reach + len(b)]), contrast_weight(contrast_b))
    return similarity, weight, first


def _belonging(alike: np.ndarray, weight: np.ndarray) -> tuple[int, int]:
    """The stretch start <= i < end that belongs together: the one with the greatest sum of likeness above a threshold.

    Intros and outros of one's own lower the sum and fall away to the frame; a title or a lost shot inside does not.
    """
    seen = alike[weight > 0.5]
    usual = float(np.median(seen)) if len(seen) else 0.0
    gain = weight * (alike - np.clip(usual - 0.15, 0.4, 0.75))
    total = np.concatenate([[0.0], np.cumsum(gain, dtype=np.float64)])
    lowest = np.minimum.accumulate(total)
    end = int(np.argmax(total - lowest))
    start = end - 1 - int(np.argmin(total[:end][::-1])) if end else 0
    return (start, end) if end > start else (0, len(alike))


def _sureness(near: np.ndarray, weight: np.ndarray, half: int) -> np.ndarray:
    """Per frame: does its own partner match better than the neighbours do, by more than the film's own unrest?

    The advantage over each neighbour is averaged over half a second on either side and divided by its standard error,
    as if every third frame were independent; the least advantage counts. 0 in a still, a black or a wrong stretch.
    """
    middle = near.shape[1] // 2
    # Pictures that do not match at all (a title, a leader) say nothing, and nothing about the frames beside them.
    weight = weight * np.clip((np.nan_to_num(near[:, middle]) - 0.4) / 0.3, 0, 1)
    advantage = _tamed(near[:, middle, None] - np.delete(near, middle, axis=1)) * weight[:, None]
    known = np.isfinite(advantage) & (weight > 0)[:, None]
    counts = _sliding(known, half)
    mean = _sliding(np.where(known, advantage, 0), half) / np.maximum(counts, 1)
    square = _sliding(np.where(known, advantage, 0) ** 2, half) / np.maximum(counts, 1)
    # The floor is the root of what rounding to eight bits, averaged over a grid, does to a correlation.
    error = np.sqrt((np.maximum(square - mean**2, 0) + 1e-5) * 3 / np.maximum(counts, 1))
    ratio = np.where(counts > 0, mean / error, np.inf).min(axis=1)
    ratio = np.where(np.isfinite(ratio), ratio, 0)
    return ((1 - np.exp(-((np.maximum(ratio, 0) / 0.8) ** 2))) * weight).astype(np.float32)


def _tamed(advantage: np.ndarray) -> np.ndarray:
    """The root, sign kept: a cut, where the neighbour is another scene, must not pass for unrest beside slow motion."""
    return np.sign(advantage) * np.sqrt(np.abs(advantage))


def _sliding(values: np.ndarray, half: int) -> np.ndarray:
    """Sums over rows i - half .. i + half, cut at the ends, in float64."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    index = np.arange(len(values))
    return total[np.minimum(index + half + 1, len(values))] - total[np.maximum(index - half, 0)]


def _certainty(near: np.ndarray, weight: np.ndarray, block: int) -> float:
    """Whether the offset beats its neighbours over the whole film: the advantage of block after block, as a probability."""
    middle = near.shape[1] // 2
    worst = math.inf
    for lag in (middle - 1, middle + 1):
        advantage = _tamed(np.nan_to_num(near[:, middle] - near[:, lag])) * weight
        parts = np.array([part.mean() for part in np.array_split(advantage, max(2, len(advantage) // max(1, block)))])
        worst = min(worst, float(parts.mean() / (parts.std(ddof=1) / math.sqrt(len(parts)) + 1e-7)))
    return max(0.0, math.erf(worst / math.sqrt(2)))


def _correlation(grey: Signature, colour: Signature, overlay: Overlay, offset: int, match: Match) -> float:
    """Correlation of the two prints over the frames that belong together, each print's average picture taken off."""
    count = match.end - match.start
    sums = np.zeros(3)
    mean_a = mean_b = 0.0
    for _, a, contrast_a, b, contrast_b in _chunks(grey, colour, overlay, offset, match.start, match.end, 0):
        weight = np.minimum(contrast_weight(contrast_a), contrast_weight(contrast_b))[:, None]
        a, b = a * weight, b * weight
        sums += [np.sum(a * b, dtype=np.float64), np.sum(a * a, dtype=np.float64), np.sum(b * b, dtype=np.float64)]
        mean_a, mean_b = mean_a + a.sum(axis=0, dtype=np.float64), mean_b + b.sum(axis=0, dtype=np.float64)
    sums -= np.array([np.sum(mean_a * mean_b), np.sum(mean_a * mean_a), np.sum(mean_b * mean_b)]) / count
    return float(sums[0] / math.sqrt(max(sums[1] * sums[2], 1e-12)))
