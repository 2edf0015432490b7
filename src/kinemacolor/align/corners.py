"""Corners of pictures, followed from one print into the other, and the transform that most of them agree on.

Corners are followed (Lucas-Kanade 1981 in pyramids, as OpenCV has it) after both pictures have been freed of their local
brightness and contrast: what is left is structure, which neither gamma nor grading changes. The transform is fitted by
least squares with Tukey's weights, twice over: a corner that disagrees with the others has no say, and neither has a pair
of pictures that as a whole disagrees with the other pairs, be it wrong, half a frame late or a blend of two frames.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.laying import Matrix, apply

Kind = Literal["upright", "similarity", "affine"]

_CORNERS = 250  # a picture
_TUKEY = 4.7 / 1.18  # Tukey's constant; the median of a two-dimensional normal's distances is 1.18 standard deviations
_PAIR_REACH = 5.0  # medians by which a whole pair may be off
_FOLDS = 8
_CLEARLY = 2.0  # standard errors by which a freer transform must do better
_VISIBLE = 0.1  # pixels by which it must differ at all


class Followed(NamedTuple):
    """Corners that were found in both pictures of a pair; n of them over all pairs."""

    source: NDArray[np.float64]
    """(n, 2): where the colour pictures have them."""
    target: NDArray[np.float64]
    """(n, 2): where the grey pictures have them."""
    pair: NDArray[np.int64]
    """(n,): of which pair."""


class Fit(NamedTuple):
    """A transform and how well it does."""

    transform: Matrix
    agree: NDArray[np.bool_]
    """(n,): which corners it is made from."""
    misses: NDArray[np.float64]
    """(n,): distance of each from where the transform puts it."""
    reach: float
    """The distance from which on a corner has no say."""

    @property
    def residual(self) -> float:
        """Median distance of the corners that agree; NaN if there are none."""
        return float(np.median(self.misses[self.agree])) if self.agree.any() else float("nan")


def structure(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture less its local mean, divided by its local contrast, as uint8 about 128: robust to gamma and grading."""
    luma = cv2.GaussianBlur(picture, (0, 0), 1.0).astype(np.float32)
    # Two means of means are close to a Gaussian and far cheaper.
    detail = luma - cv2.blur(cv2.blur(luma, (21, 21)), (21, 21))
    # Running sums leave a trace below nought.
    contrast = np.sqrt(np.maximum(cv2.blur(cv2.blur(detail * detail, (29, 29)), (29, 29)), 0))
    return np.clip(128 + 40 * detail / (contrast + 3), 0, 255).astype(np.uint8)


def corners(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 1, 2) float32 corners of a structure in OpenCV's coordinates, spread over the picture."""
    found = cv2.goodFeaturesToTrack(picture, _CORNERS, 0.02, 10, mask=mask, blockSize=7)
    return np.zeros((0, 1, 2), np.float32) if found is None else found


def follow(
    here: NDArray[np.uint8], points: NDArray[np.float32], there: NDArray[np.uint8], *, levels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of one structure and where another has them; both (n, 2), continuous, those only that are found back."""
    if len(points) == 0:
        return np.zeros((0, 2)), np.zeros((0, 2))
    options = dict(winSize=(25, 25), maxLevel=levels, criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.005))
    moved, found, _ = cv2.calcOpticalFlowPyrLK(here, there, points, None, **options)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(there, here, moved, None, **options)
    good = (found & found_back).ravel().astype(bool) & (np.abs(back - points).max(axis=2).ravel() < 0.3)
    return points[good, 0].astype(np.float64) + 0.5, moved[good, 0].astype(np.float64) + 0.5


def fit(kind: Kind, seen: Followed, *, weights: NDArray | None = None) -> Fit:
    """The transform of this kind from source to target that most corners agree on.

    Args:
        seen: at least 4 corners.
        weights: (n,), to start from; by default the largest set that agrees on any affine transform (RANSAC).
    """
    source, target, pair = seen
    if weights is None:
        found, agree = cv2.estimateAffine2D(source, target, ransacReprojThreshold=3.0, maxIters=3000, confidence=0.999)
        weights = np.ones(len(source)) if found is None else agree.ravel().astype(float)
    transform = _least_squares(kind, source, target, weights)
    for _ in range(25):
        off = target - apply(transform, source)
        misses = np.hypot(*off.T)
        # Not of all corners: those of wrong pairs would widen it.
        held = misses[weights > 1e-6]
        reach = _TUKEY * max(float(np.median(held)), 0.02)
        weights = _tukey(misses / reach)
        weights *= _pair_weights(off, weights, pair)[pair]
        if (weights > 0).sum() < 4:
            break
        before, transform = transform, _least_squares(kind, source, target, weights)
        if np.abs(apply(transform, source) - apply(before, source)).max() < 1e-4:
            break
    return Fit(transform, (misses < reach) & (weights > 0), misses, reach)


def choose(seen: Followed, where: NDArray[np.float64]) -> tuple[Kind, Fit]:
    """The simplest kind of transform that explains the corners, judged by pairs of pictures that it was not made from.

    A freer kind must foretell the corners of held-out pairs better by twice the standard error over the pairs, and lay the
    picture somewhere else by a tenth of a pixel.

    Args:
        where: (m, 2) points of the colour picture all over the common area.
    """
    fits: dict[Kind, Fit] = {kind: fit(kind, seen) for kind in ("upright", "similarity", "affine")}
    reach = fits["affine"].reach
    losses = {kind: _foretold(kind, seen, fits["affine"], reach) for kind in fits}
    chosen: Kind = "upright"
    for kind in ("similarity", "affine"):
        gain = losses[chosen] - losses[kind]
        error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
        apart = np.hypot(*(apply(fits[kind].transform, where) - apply(fits[chosen].transform, where)).T).mean()
        if gain.mean() > _CLEARLY * error and apart > _VISIBLE:
            chosen = kind
    return chosen, fits[chosen]


def _least_squares(kind: Kind, source: NDArray, target: NDArray, weights: NDArray) -> Matrix:
    used = weights > 0
    source, target, root = source[used], target[used], np.sqrt(weights[used])
    # About the middle, so that the numbers are of one size.
    middle = source.mean(axis=0)
    x, y = (source - middle).T * root
    goal_x, goal_y = target.T * root
    if kind == "similarity":
        none = np.zeros_like(root)
        design = np.concatenate([np.column_stack([x, -y, root, none]), np.column_stack([y, x, none, root])])
        a, b, c, d = np.linalg.lstsq(design, np.concatenate([goal_x, goal_y]), rcond=None)[0]
        linear, shift = np.array([[a, -b], [b, a]]), np.array([c, d])
    elif kind == "upright":
        first = np.linalg.lstsq(np.column_stack([x, root]), goal_x, rcond=None)[0]
        second = np.linalg.lstsq(np.column_stack([y, root]), goal_y, rcond=None)[0]
        linear, shift = np.diag([first[0], second[0]]), np.array([first[1], second[1]])
    else:
        rows = np.linalg.lstsq(np.column_stack([x, y, root]), np.column_stack([goal_x, goal_y]), rcond=None)[0]
        linear, shift = rows[:2].T, rows[2]
    return np.column_stack([linear, shift - linear @ middle])


def _tukey(ratio: NDArray) -> NDArray[np.float64]:
    return np.clip(1 - ratio**2, 0, None) ** 2


def _pair_weights(off: NDArray, weights: NDArray, pair: NDArray) -> NDArray[np.float64]:
    """How far each pair as a whole may be believed, (pairs,)."""
    pairs = int(pair.max()) + 1
    total = np.bincount(pair, weights, pairs)
    known = total > 5
    if known.sum() < 4:
        return np.ones(pairs)
    mean = np.stack([np.bincount(pair, weights * off[:, axis], pairs) for axis in (0, 1)]) / np.maximum(total, 1e-9)
    # A mean of few corners is off by chance.
    chance = 1.0 / np.sqrt(np.maximum(total, 1))
    spread = np.hypot(*mean)
    reach = _PAIR_REACH * max(float(np.median(spread[known])), 0.05) + chance
    # A pair of which next to nothing fits is no witness at all.
    fits = total > 0.1 * np.bincount(pair, minlength=pairs)
    return np.where(known & fits, _tukey(spread / reach), np.where(fits, 1.0, 0.0))


def _foretold(kind: Kind, seen: Followed, whole: Fit, reach: float) -> NDArray[np.float64]:
    """Mean truncated squared miss, in reaches, of each group of corners by a fit without its fold; (groups,)."""
    agree = whole.agree
    source, target, pair = (part[agree] for part in seen)
    if len(np.unique(pair)) >= 4:
        group = np.unique(pair, return_inverse=True)[1]
    else:
        # Too few pairs to leave some out: places of the picture instead.
        spot = np.floor(8 * (source - source.min(axis=0)) / (np.ptp(source, axis=0) + 1)).astype(int)
        group = np.unique(spot[:, 0] + 8 * spot[:, 1], return_inverse=True)[1]
    loss = np.zeros(len(source))
    for fold in range(_FOLDS):
        out = group % _FOLDS == fold
        if not out.any() or (~out).sum() < 8:
            continue
        transform = fit(kind, Followed(source[~out], target[~out], pair[~out]), weights=np.ones((~out).sum())).transform
        loss[out] = np.minimum(np.hypot(*(target[out] - apply(transform, source[out])).T) / reach, 1) ** 2
    return np.bincount(group, loss) / np.bincount(group)
