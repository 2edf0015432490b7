"""How well two prints agree at every offset at once: correlation by FFT of coarse pictures and of what changes in them.

Pictures, less each print's average picture, tell films apart but fall off slowly around the true offset; changes from
frame to frame are a spike there wherever the film cuts or moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from kinemacolor.align.grid import Overlay, area_matrix, normalised
from kinemacolor.align.signature import Signature, active_area
from kinemacolor.errors import UserError

_CHUNK = 4096  # frames in float at one time
_COARSE = (6, 8)  # cells of the grids that are correlated at every offset
_FLAT = 2.0  # standard deviation of luma over a grid up to which a frame shows nothing


@dataclass(frozen=True)
class Curve:
    """A score at every offset that was considered: `offsets` int64 and `scores` float32, both (n,)."""

    offsets: np.ndarray
    scores: np.ndarray


def curves(
    grey: Signature, colour: Signature, frame_rate: Fraction, max_offset_seconds: float, overlay: Overlay | None = None
) -> tuple[Curve, Curve]:
    """Correlation of pictures and of changes at every offset; with an overlay, of what both prints show."""
    if min(len(grey), len(colour)) < 3:
        raise UserError(f"A print of {min(len(grey), len(colour))} frames is too short to be synced: give a longer one.")
    a, b = _features(grey.grids, overlay, "grey"), _features(colour.grids, overlay, "colour")
    reach = math.ceil(max_offset_seconds * float(frame_rate))
    least = min(math.ceil(2 * float(frame_rate)), min(len(grey), len(colour)) // 2)
    return correlate(a, b, reach, least), correlate(_changes(a), _changes(b), reach, least)


def _features(grids: np.ndarray, overlay: Overlay | None, which: str) -> np.ndarray:
    """(frames, 48) float32: the coarse picture, without its gain and lift, less the print's average picture."""
    if overlay is None:
        left, top, right, bottom = active_area(grids)
        rows = area_matrix(top, bottom, grids.shape[1], _COARSE[0])
        columns = area_matrix(left, right, grids.shape[2], _COARSE[1])
    out = np.empty((len(grids), _COARSE[0] * _COARSE[1]), np.float32)
    for at in range(0, len(grids), _CHUNK):
        part = np.asarray(grids[at : at + _CHUNK], np.float32)
        if overlay is not None:
            part = overlay.grey(part) if which == "grey" else overlay.colour(part)
            rows = area_matrix(0, 1, part.shape[1], _COARSE[0])
            columns = area_matrix(0, 1, part.shape[2], _COARSE[1])
        vectors, contrast = normalised(np.matmul(np.matmul(rows, part), columns.T))
        out[at : at + _CHUNK] = vectors * contrast_weight(contrast)[:, None]
    return out - out.mean(axis=0)


def contrast_weight(contrast: np.ndarray) -> np.ndarray:
    """What a frame of this contrast counts: nothing if it is flat (black, a fade's end), all from three times that."""
    return np.clip((contrast - _FLAT) / (2 * _FLAT), 0, 1)


def _changes(features: np.ndarray) -> np.ndarray:
    """Difference to the frame before; its square root in length, so that cuts do not silence everything else."""
    change = np.diff(features, axis=0, prepend=features[:1])
    length = np.linalg.norm(change, axis=1, keepdims=True)
    return change / np.sqrt(np.maximum(length, 1e-3))


def correlate(a: np.ndarray, b: np.ndarray, reach: int, least: int) -> Curve:
    """Normalised correlation sum_t a[t + d] b[t] at every offset d with |d| <= reach and an overlap of at least `least`.

    Short overlaps match by chance: the score is weighted by the square root of the overlap's share.
    """
    size = 1 << math.ceil(math.log2(len(a) + len(b)))
    spectrum = np.zeros(size // 2 + 1, np.complex64)
    for channel in range(a.shape[1]):
        spectrum += np.fft.rfft(a[:, channel], size) * np.conj(np.fft.rfft(b[:, channel], size))
    products = np.fft.irfft(spectrum, size)
    offsets = np.arange(max(-reach, 1 - len(b)), min(reach, len(a) - 1) + 1)
    start = np.maximum(0, -offsets)
    end = np.minimum(len(b), len(a) - offsets)
    offsets, start, end = (values[end - start >= least] for values in (offsets, start, end))
    if len(offsets) == 0:
        raise UserError("The two prints are too short to be synced: give longer ones, or raise sync.max_offset.")
    energy_a = np.concatenate([[0], np.cumsum(np.sum(a.astype(np.float64) ** 2, axis=1))])
    energy_b = np.concatenate([[0], np.cumsum(np.sum(b.astype(np.float64) ** 2, axis=1))])
    energy = (energy_a[end + offsets] - energy_a[start + offsets]) * (energy_b[end] - energy_b[start])
    # Where one print shows nothing, rounding must not become a correlation.
    floor = 1e-6 * energy_a[-1] * energy_b[-1] + 1e-12
    share = (end - start) / max(1, (end - start).max())
    return Curve(offsets, (products[offsets] / np.sqrt(np.maximum(energy, floor)) * np.sqrt(share)).astype(np.float32))


def peaks(scores: np.ndarray, count: int, *, apart: int) -> list[int]:
    """Indices of the best scores, each more than `apart` entries from the ones before."""
    left = scores.copy()
    found: list[int] = []
    while len(found) < count and np.isfinite(left).any():
        best = int(np.argmax(left))
        found.append(best)
        left[max(0, best - apart) : best + apart + 1] = -np.inf
    return found
