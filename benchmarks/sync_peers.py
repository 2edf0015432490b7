"""What benchmarks/sync.py compares with: one constant offset for the whole film, found by cross-correlation. Ours, plainly
written, and given every chance: times instead of frame numbers, so that another frame rate is no harm by itself; every lag
at which a fifth of the shorter print overlaps; correlation normalised over the overlap."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from sync_truth import Found

HERTZ = 120  # of the curves: five steps a frame at 24, four at 30
_LEAST = 0.2  # of the shorter print must overlap
_SOUND_RATE = 8000


def by_brightness(grey: tuple[NDArray, NDArray], colour: tuple[NDArray, NDArray]) -> tuple[Found, float]:
    """The pairing at the offset where the mean brightness of the frames agrees best, and its correlation.

    Args:
        grey, colour: times in seconds and mean luma of the frames.
    """
    curves = [_curve(*side) for side in (grey, colour)]
    lag, score = best_lag(*curves)
    return paired(grey[0], colour[0], lag, score), score


def by_sound(grey: Path, colour: Path, times: tuple[NDArray, NDArray]) -> tuple[Found, float] | None:
    """The pairing at the offset where the loudness of the sound agrees best; None where a print has no sound.

    Args:
        times: seconds of the frames of the grey and of the colour print.
    """
    curves = [envelope(path) for path in (grey, colour)]
    if any(curve is None for curve in curves):
        return None
    lag, score = best_lag(*curves)
    return paired(*times, lag, score), score


def best_lag(grey: NDArray, colour: NDArray) -> tuple[float, float]:
    """Seconds by which the grey curve is later, and the correlation there, normalised over what overlaps."""
    size = 1 << int(np.ceil(np.log2(len(grey) + len(colour))))

    def across(one: NDArray, other: NDArray) -> NDArray:
        found = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)), size)
        return np.concatenate([found[size - len(colour) + 1 :], found[: len(grey)]])

    grey, colour = grey - grey.mean(), colour - colour.mean()
    ones = np.ones(len(grey)), np.ones(len(colour))
    count = np.maximum(np.rint(across(*ones)), 1)
    sums = across(grey, ones[1]), across(ones[0], colour)
    spread = (across(grey**2, ones[1]) - sums[0] ** 2 / count, across(ones[0], colour**2) - sums[1] ** 2 / count)
    floor = 1e-6 * count * min(float(grey.var()), float(colour.var())) + 1e-12
    score = (across(grey, colour) - sums[0] * sums[1] / count) / np.sqrt(
        np.maximum(spread[0], floor) * np.maximum(spread[1], floor)
    )
    score[count < _LEAST * min(len(grey), len(colour))] = -1
    best = int(np.argmax(score))
    return (best - len(colour) + 1) / HERTZ, float(score[best])


def paired(grey_times: NDArray, colour_times: NDArray, lag: float, score: float) -> Found:
    """Every colour frame with the grey frame nearest in time, where there is one within half a frame (of the slower print)."""
    wanted = colour_times + lag
    after = np.clip(np.searchsorted(grey_times, wanted), 1, len(grey_times) - 1)
    grey = np.where(wanted - grey_times[after - 1] <= grey_times[after] - wanted, after - 1, after)
    half = 0.51 * max(float(np.median(np.diff(times))) for times in (grey_times, colour_times))
    frames = np.flatnonzero(np.abs(grey_times[grey] - wanted) <= half)
    sure = np.full(len(frames), max(0.0, score), np.float32)
    return Found(frames, grey[frames].astype(np.int64), np.zeros(len(frames), np.int32), sure)


def _curve(times: NDArray, values: NDArray) -> NDArray[np.float64]:
    """Values at a constant rate."""
    at = np.arange(times[0], times[-1] + 1 / HERTZ, 1 / HERTZ)
    return np.interp(at, times, values.astype(float))


def envelope(path: Path) -> NDArray[np.float64] | None:
    """Loudness (root mean square) of the sound `HERTZ` times a second, from the first picture on; None without sound."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        sound = container.streams.best("audio")
        if sound is None:
            return None
        video = container.streams.best("video")
        begin = float((video.start_time or 0) * video.time_base)
        resampler = av.AudioResampler("flt", "mono", _SOUND_RATE)
        parts, first = [], None
        for frame in container.decode(sound):
            first = frame.time if first is None else first
            parts += [part.to_ndarray().ravel() for part in resampler.resample(frame)]
        parts += [part.to_ndarray().ravel() for part in resampler.resample(None)]
    if first is None:
        return None
    wave = np.concatenate(parts)
    lead = round((first - begin) * _SOUND_RATE)
    wave = np.concatenate([np.zeros(lead, np.float32), wave]) if lead >= 0 else wave[-lead:]
    steps = np.arange(0, len(wave), _SOUND_RATE / HERTZ).astype(int)
    return np.sqrt(np.add.reduceat(wave.astype(np.float64) ** 2, steps) / np.diff(np.append(steps, len(wave))))
