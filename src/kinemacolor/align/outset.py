"""Roughly how one print lies on the other: a start from which corners can be followed. Ours.

Three kinds of guess compete: the upright window that the search in time came to; that window turned by a few angles and
moved to where the structure of many pairs agrees (phase correlation, Kuglin and Hines 1975); and what most matches of SIFT
features (Lowe 2004) over all pairs agree on, which needs no window at all. Judge is how alike the structures then are in the
pairs that do best, so pairs that are wrong have no say.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.corners import structure
from kinemacolor.align.laying import Matrix, apply, chain, inverse, scaling, warped

_LINES = 240  # for features
_SMALL = 120  # lines for judging
_TURNS = (-9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0)  # degrees
_BEST = 0.6  # share of the pairs that judge
_ENOUGH = 0.75  # correlation of structures from which no better start is looked for
_LEAST = 0.15  # of the grey picture must be covered


def outset(
    greys: Sequence[NDArray[np.uint8]],
    colours: Sequence[NDArray[np.uint8]],
    *,
    guess: Matrix,
    grey_area: Sequence[float],
    colour_area: Sequence[float],
) -> Matrix:
    """The best of many guesses: from colour to grey coordinates of these pictures, some pixels right at 480 lines.

    Args:
        greys, colours: luma (H, W) uint8, pairs; each print's pictures of one size.
        guess: the window's transform.
        grey_area, colour_area: left, top, right, bottom of what is no bar.
    """
    judge = _Judge(greys, colours, grey_area, colour_area)
    alike, best = max(((judge(each), each) for each in (guess, *judge.turned(guess))), key=lambda entry: entry[0])
    if alike > _ENOUGH:
        return best
    matched = _matched(greys, colours, grey_area, colour_area)
    return matched if matched is not None and _sensible(matched, guess) and judge(matched) > alike else best


class _Judge:
    """Compares structures at a size at which a few pixels do not matter."""

    def __init__(self, greys, colours, grey_area, colour_area) -> None:
        self._grey_scale, self._greys, self._grey_mask = _reduced(greys, grey_area, _SMALL)
        self._colour_scale, self._colours, self._colour_mask = _reduced(colours, colour_area, _SMALL)

    def _brought(self, transform: Matrix) -> tuple[list[NDArray], NDArray]:
        """The colour structures under a transform, about 0, and the mask of what both prints show."""
        small = chain(self._grey_scale, transform, inverse(self._colour_scale))
        size = self._grey_mask.shape[::-1]
        mask = (warped(self._colour_mask, small, size, linear=True) > 0.99) & (self._grey_mask > 0.99)
        mask &= self._within(small)
        return [warped(colour, small, size, linear=True) for colour in self._colours], mask

    def _within(self, small: Matrix) -> NDArray[np.bool_]:
        height, width = self._grey_mask.shape
        points = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)
        at = apply(inverse(small), points)
        high = np.array(self._colour_mask.shape[::-1])
        return ((at >= 0) & (at <= high)).all(axis=1).reshape(height, width)

    def __call__(self, transform: Matrix) -> float:
        brought, mask = self._brought(transform)
        if mask.mean() < _LEAST:
            return -1.0
        alike = []
        for grey, colour in zip(self._greys, brought, strict=True):
            a, b = grey[mask] - grey[mask].mean(), colour[mask] - colour[mask].mean()
            alike.append(float(a @ b) / np.sqrt(float(a @ a) * float(b @ b) + 1e-9))
        best = np.sort(alike)[-max(1, round(_BEST * len(alike))) :]
        return float(best.mean())

    def turned(self, guess: Matrix) -> list[Matrix]:
        """The guess turned about the middle of the grey picture, each moved to where most agrees."""
        height, width = self._grey_mask.shape
        middle = inverse(self._grey_scale)[:, :2] @ [width / 2, height / 2]
        window = cv2.createHanningWindow((width, height), cv2.CV_32F)
        found = []
        for degrees in _TURNS:
            angle = np.radians(degrees)
            linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            transform = chain(np.column_stack([linear, middle - linear @ middle]), guess)
            brought, mask = self._brought(transform)
            power = np.zeros((height, width // 2 + 1), complex)
            for grey, colour in zip(self._greys, brought, strict=True):
                cross = np.fft.rfft2(grey * window) * np.conj(np.fft.rfft2(colour * mask * window))
                power += cross / (np.abs(cross) + 1e-6)
            peak = cv2.GaussianBlur(np.fft.fftshift(np.fft.irfft2(power, (height, width))), (0, 0), 1.0)
            reach = np.zeros_like(peak)
            reach[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 1
            y, x = np.unravel_index(np.argmax(np.where(reach > 0, peak, -np.inf)), peak.shape)
            move = inverse(self._grey_scale)[:, :2] @ [x - width // 2, y - height // 2]
            found.append(np.column_stack([transform[:, :2], transform[:, 2] + move]))
        return found


def _reduced(pictures, area, lines: int) -> tuple[Matrix, list[NDArray[np.float32]], NDArray[np.float32]]:
    """The map to the small size, small structures about 0, and the small mask of the area."""
    height, width = pictures[0].shape
    lines = min(lines, height)
    size = (max(8, round(width * lines / height)), lines)
    scale = scaling(size[0] / width, size[1] / height)
    mask = np.zeros((height, width), np.float32)
    left, top, right, bottom = (round(edge) for edge in area)
    mask[top:bottom, left:right] = 1
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    small = []
    for picture in pictures:
        reduced = structure(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)).astype(np.float32) - 128
        small.append(cv2.GaussianBlur(reduced, (0, 0), 1.0) * (mask > 0.99))
    return scale, small, mask


def _matched(greys, colours, grey_area, colour_area) -> Matrix | None:
    """The affine transform that most matches of features over all pairs agree on."""
    sift = cv2.SIFT_create(nfeatures=400, contrastThreshold=0.03)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    points: list[list[NDArray]] = [[], []]
    for grey, colour in zip(greys, colours, strict=True):
        found = [_features(sift, *print_) for print_ in ((colour, colour_area), (grey, grey_area))]
        if min(len(at) for at, _ in found) < 8:
            continue
        pairs = matcher.knnMatch(found[0][1], found[1][1], k=2)
        good = [first for first, second in pairs if first.distance < 0.8 * second.distance]
        points[0] += [found[0][0][match.queryIdx] for match in good]
        points[1] += [found[1][0][match.trainIdx] for match in good]
    if len(points[0]) < 12:
        return None
    # Reached to a pixel or two at the size of the features.
    reach = 3.0 * max(1.0, greys[0].shape[0] / _LINES)
    transform, agree = cv2.estimateAffine2D(
        np.array(points[0]), np.array(points[1]), ransacReprojThreshold=reach, maxIters=20000, confidence=0.9999
    )
    return transform if transform is not None and agree.sum() >= 12 else None


def _features(sift: cv2.SIFT, picture: NDArray[np.uint8], area: Sequence[float]) -> tuple[NDArray, NDArray]:
    """Places (n, 2), continuous coordinates of the picture, and descriptors (n, 128)."""
    height, width = picture.shape
    lines = min(_LINES, height)
    size = (round(width * lines / height), lines)
    scale = np.array([width / size[0], height / size[1]])
    mask = np.zeros(size[::-1], np.uint8)
    left, top, right, bottom = np.round(np.array(area) / np.tile(scale, 2)).astype(int)
    mask[top + 4 : max(bottom - 4, 0), left + 4 : max(right - 4, 0)] = 255
    keys, descriptors = sift.detectAndCompute(structure(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)), mask)
    if not keys:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    return (np.array([key.pt for key in keys]) + 0.5) * scale, descriptors


def _sensible(transform: Matrix, guess: Matrix) -> bool:
    """Upright within 15 degrees, not mirrored, and of a scale that prints may have beside the guess."""
    relative = chain(transform, inverse(guess))[:, :2]
    stretch = np.linalg.svd(relative, compute_uv=False)
    angle = np.degrees(np.arctan2(relative[1, 0] - relative[0, 1], relative[0, 0] + relative[1, 1]))
    return np.linalg.det(relative) > 0 and abs(angle) < 15 and stretch[0] < 2 and stretch[1] > 0.5
