"""How alike the frames of two prints are around a guess, on grids that lie on each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.grid import Overlay, contrast_weight, normalised
from kinemacolor.align.signature import Signature

_BLOCK = 96  # colour frames that are compared in one product
_CUT = 0.75  # correlation of a picture with the one before it, below which a shot begins
_REST = 0.03  # length of what moves in a picture that stands still, of the picture's own


def band(
    grey: Signature,
    colour: Signature,
    overlay: Overlay,
    frames: NDArray[np.int64],
    partners: NDArray[np.int64],
    halves: tuple[int, int] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Correlation of colour frames with several grey frames each: of the pictures, and of what moves in them.

    Args:
        frames: (n,) colour frames, increasing.
        partners: (n, m) grey frames for each, -1 for none.
        halves: frames of the grey and of the colour print before and after a frame whose mean is taken off it, which leaves
            what moves; None to do without.

    Returns:
        alike: float32 (n, m), of the pictures, -1..1; NaN where there is no partner.
        moves: float32 (n, m), of what moves in them, each scaled by how much there is, -1..1; zero without `halves`.
        weight: float32 (n,), how much there is to see in the colour frame, 0..1.
    """
    alike, moves = np.full(partners.shape, np.nan, np.float32), np.zeros(partners.shape, np.float32)
    weight = np.zeros(len(frames), np.float32)
    for low in range(0, len(frames), _BLOCK):
        here = slice(low, low + _BLOCK)
        known = partners[here] >= 0
        b, moving_b, contrast_b = _vectors(colour, overlay, frames[here], halves and halves[1], which="colour")
        weight[here] = contrast_weight(contrast_b)
        if not known.any():
            continue
        # An unknown partner counts as any known one, so that it brings no far frame in.
        wanted, column = np.unique(np.where(known, partners[here], partners[here][known][0]), return_inverse=True)
        column = column.reshape(partners[here].shape)
        a, moving_a, _ = _vectors(grey, overlay, wanted, halves and halves[0], which="grey")
        found = np.take_along_axis(b @ a.T, column, axis=1)
        alike[here] = np.where(known, found, np.nan)
        if moving_a is not None and moving_b is not None:
            moves[here] = np.where(known, np.take_along_axis(moving_b @ moving_a.T, column, axis=1), 0)
    return alike, moves, weight


def _vectors(
    print_: Signature, overlay: Overlay, frames: NDArray[np.int64], half: int | None, *, which: str
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32]]:
    """Pictures of mean 0 and length 1, what moves in them (of length below 1: its share against rest), and their contrast.

    Unless the frames are scattered, all from the first one to the last and half a second around them are read, and what moves is a
    frame's difference from the mean of its neighbours in the print.
    """
    first, last = max(0, int(frames[0]) - (half or 0)), min(len(print_), int(frames[-1]) + 1 + (half or 0))
    if last - first > 16 * _BLOCK + 4 * len(frames):  # scattered frames: no neighbours, nothing moves
        vectors, contrast = normalised(overlay.shared(**{which: print_.grids[frames]}))
        return vectors, None, contrast
    vectors, contrast = normalised(overlay.shared(**{which: print_.grids[first:last]}))
    inside = frames - first
    if not half:
        return vectors[inside], None, contrast[inside]
    total = np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), np.cumsum(vectors, axis=0, dtype=np.float32)])
    # Never beyond a cut: another print may lack the shot behind it.
    cut = np.concatenate([[True], np.einsum("ij,ij->i", vectors[1:], vectors[:-1]) < _CUT, [True]])
    place = np.arange(len(cut))
    begin = np.maximum.accumulate(np.where(cut, place, 0))[inside]
    until = np.minimum.accumulate(np.where(cut, place, len(vectors))[::-1])[::-1][inside + 1]
    # As far to the one side as to the other, or steady motion would pass for a shift in time.
    reach = np.minimum(half, np.minimum(inside - begin, until - 1 - inside))
    low, high = inside - reach, inside + reach + 1
    moving = vectors[inside] - (total[high] - total[low]) / (high - low)[:, None]
    length = np.linalg.norm(moving, axis=1, keepdims=True)
    # Grain and encoding move too, a little: what is no longer than they are says nothing.
    moving /= np.sqrt(length**2 + _REST**2)
    return vectors[inside], moving, contrast[inside]
