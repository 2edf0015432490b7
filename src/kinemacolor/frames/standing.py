"""Which pixels of a source's frames count: neither the bars around the picture, nor a coloured logo or subtitles upon it.

All three keep their place while the picture changes, so they are looked for in frames spread over the whole source, made small.
Bars are rows and columns at the border that are black, or nearly, in nearly all of these frames where the picture is not
dark itself: what is coloured is picture, be it as even as a cartoon's sky. A logo is a small part whose chroma differs from the
rest of the film's and hardly varies; what is larger, such as the status bar of a game, is picture too. Subtitles
are one hue that comes and goes within one narrow band of a film that has no other colour. Ours.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from kinemacolor.colour import rgb_to_lab
from kinemacolor.frames.index import FrameStore

_SIDE = 128
"""Frames are looked at with about as many pixels as a square of this side."""
_FEW, _MANY = 16, 96
"""How many frames are looked at."""
_LIT = 8.0
"""A frame tells of bars if its L* spreads by this much (standard deviation)."""
_EVEN, _NEARLY = 4.0, 0.95
"""A bar's pixels differ by less than this (Lab) from each other, in this share of the frames that tell."""
_DARK, _NEUTRAL = 12.0, 6.0
"""A bar's L* and chroma at most."""
_MOST = 0.35
"""Share of the height or width that one bar may take."""
_CHANGING = 4.0
"""The picture changes where L* varies by this much over the source (1.48 times the median distance from the median)."""
_STEADY, _APART = 2.0, 6.0
"""A logo's chroma varies by less (the same measure, or a fifth of itself), and lies further from the film's own."""
_LOGO = 0.05
"""Share of the picture that logos may take together with their rim; more than that is picture."""
_BAND, _GAUDY = 0.2, 15.0
"""Share of the height that the band of subtitles may take, and by how much (Lab) their chroma differs from the film's."""
_OFTEN, _MOSTLY, _ONE = 0.1, 0.8, 0.95
"""Share of the frames that have gaudy pixels; how many of these have them in the band alone; how much of one hue they are."""


def counted_pixels(store: FrameStore) -> np.ndarray:
    """Find the pixels that count in all frames of a source.

    Args:
        store: of a collection nothing is left out, since its pictures have nothing in common.

    Returns:
        (H,W) bool; at least a twentieth of it is true.
    """
    height, width = store.facts["size"]
    if store.clips is not None or len(store) < _FEW:
        return np.ones((height, width), bool)
    rows = np.unique(np.linspace(0, len(store) - 1, min(len(store), _MANY)).round().astype(np.int64))
    shrink = min(1.0, _SIDE / (height * width) ** 0.5)
    shape = max(1, round(height * shrink)), max(1, round(width * shrink))
    small = np.empty((len(rows), 3, *shape), np.uint8)
    for place, row in enumerate(rows):
        picture = np.ascontiguousarray(store.colour([row])[0].transpose(1, 2, 0))
        small[place] = cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA).reshape(*shape, 3).transpose(2, 0, 1)
    counted = _counted(rgb_to_lab(torch.from_numpy(small)).numpy())
    at = (((2 * np.arange(side) + 1) * few) // (2 * side) for side, few in zip((height, width), shape, strict=True))
    return np.ascontiguousarray(counted[np.ix_(*at)])


def _counted(lab: np.ndarray) -> np.ndarray:
    """As counted_pixels, of Lab (N,3,H,W)."""
    counted = np.zeros(lab.shape[2:], bool)
    telling = lab[lab[:, 0].std(axis=(1, 2)) > _LIT]
    if len(telling) < _FEW // 2:
        telling = lab[:0]
    top, bottom = _bars(telling)
    left, right = _bars(telling[:, :, top : lab.shape[2] - bottom].swapaxes(2, 3))
    counted[top : lab.shape[2] - bottom, left : lab.shape[3] - right] = True
    counted &= ~_logo(lab, counted)
    return counted & ~_subtitles(lab, counted)


def _bars(lab: np.ndarray) -> tuple[int, int]:
    """Rows of the bar at the top and of that at the bottom."""
    if not len(lab):
        return 0, 0
    middle = np.median(lab, axis=3, keepdims=True)
    off = np.abs(lab - middle).max(axis=1)
    # 95 of 100 pixels, since a logo, subtitles, or a narrow bar across reach into a bar.
    even = (np.quantile(off, 0.95, axis=2) < _EVEN).mean(axis=0) >= _NEARLY
    middle = middle[..., 0]
    black = ((middle[:, 0] < _DARK) & (np.hypot(middle[:, 1], middle[:, 2]) < _NEUTRAL)).mean(axis=0) >= _NEARLY
    same = (np.abs(middle - np.median(middle, axis=0)).max(axis=1) < _EVEN).mean(axis=0) >= _NEARLY
    bar = even & black & same
    rows = len(bar)
    top, bottom = (int(np.argmin(side)) if not side.all() else rows for side in (bar, bar[::-1]))
    return tuple(count if count <= _MOST * rows else 0 for count in (top, bottom))


def _logo(lab: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(H,W) bool: what stands still in colour."""
    middle = np.median(lab, axis=0)
    varies = np.stack([1.48 * np.median(np.abs(lab[:, channel] - middle[channel]), axis=0) for channel in range(3)])
    if not (varies[0][counted] > _CHANGING).mean() > 0.5:
        return np.zeros(counted.shape, bool)
    apart = np.hypot(*(middle[1:] - np.median(middle[1:][:, counted], axis=1)[:, None, None]))
    logo = counted & (apart > _APART) & (np.hypot(*varies[1:]) < np.maximum(_STEADY, 0.2 * apart))
    # Its rim, where it blends into the picture.
    logo = cv2.dilate(logo.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & counted
    return logo if 0 < logo.sum() <= _LOGO * counted.sum() else np.zeros(counted.shape, bool)


def _subtitles(lab: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """(H,W) bool: the band in which text of one hue comes and goes; nothing where there is colour beside it."""
    none = np.zeros(counted.shape, bool)
    # A tint has chroma in proportion to L* + 16.
    lift = lab[:, :1] + 16.0
    own = np.median((lab[:, 1:] / lift)[:, :, counted], axis=(0, 2))[:, None, None] * lift
    apart = lab[:, 1:] - own
    more = np.hypot(lab[:, 1], lab[:, 2]) > np.hypot(own[:, 0], own[:, 1])
    gaudy = (np.hypot(apart[:, 0], apart[:, 1]) > _GAUDY) & more & counted
    rows = gaudy.sum(axis=2)
    has = rows.sum(axis=1) > 0
    if not has.mean() >= _OFTEN:
        return none
    gaudy, apart, rows = gaudy[has], apart[has], rows[has] / rows[has].sum(axis=1, keepdims=True)
    # The band that has nearly all of it, but for a few frames in colour; what changes there and is of one hue is text.
    mean = rows.mean(axis=0)
    reach = np.flatnonzero(mean > 0.03 * mean.max())
    top, bottom = max(0, int(reach[0]) - 1), min(len(mean), int(reach[-1]) + 2)
    within = rows[:, top:bottom].sum(axis=1) >= _ONE
    if bottom - top > max(3, _BAND * len(mean)) or within.mean() < _MOSTLY:
        return none
    gaudy, apart = gaudy[within], apart[within]
    stands = gaudy.mean(axis=0)
    hues = apart.transpose(1, 0, 2, 3)[:, gaudy]
    hues = hues / np.hypot(*hues)
    if np.hypot(*hues.mean(axis=1)) < _ONE or (stands[stands > 0.05] > 0.9).mean() > 0.5:
        return none
    none[top:bottom] = counted[top:bottom]
    return none
