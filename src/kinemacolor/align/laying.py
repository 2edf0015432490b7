"""How a geometry is applied: affine maps of continuous coordinates, and the grey picture set upright.

Pixel i covers i to i + 1, its centre lies at i + 0.5, and a picture reaches from 0 to its width and height. Hence a crop is
mapped by a transform as a point is, and scaling needs no half pixels.

Two prints that differ by crop, scale and shift alone need upright crops and nothing else, and their pixels are read only
once. Where one print is turned or sheared against the other, the grey picture is first warped by just that, at its own size
and about the middle of its crop; then upright crops lie on each other as in any other pair. The colour picture, which is
what is learned, is never warped.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""(2, 3): an affine map of points, x before y."""


def apply(transform: Matrix, points: NDArray) -> NDArray[np.float64]:
    """Points (n, 2) under a transform."""
    return points @ transform[:, :2].T + transform[:, 2]


def inverse(transform: Matrix) -> Matrix:
    """The map back."""
    return np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]


def chain(*transforms: Matrix) -> Matrix:
    """One map for several; the last is applied first, as in a product of matrices."""
    whole = np.eye(3)
    for transform in transforms:
        whole = whole @ np.vstack([transform, [0, 0, 1]])
    return whole[:2]


def scaling(across: float, down: float) -> Matrix:
    """The map that enlarges x by `across` and y by `down`."""
    return np.array([[across, 0.0, 0.0], [0.0, down, 0.0]])


def corners_of(box: Sequence[float]) -> NDArray[np.float64]:
    """The corners (4, 2) of a box left, top, right, bottom, in the order of its outline."""
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def upright(source: Sequence[float], target: Sequence[float]) -> Matrix:
    """The map without turn that lays one box (left, top, right, bottom) on another."""
    across = (target[2] - target[0]) / (source[2] - source[0])
    down = (target[3] - target[1]) / (source[3] - source[1])
    return np.array([[across, 0.0, target[0] - across * source[0]], [0.0, down, target[1] - down * source[1]]])


def turn_left_over(
    transform: Matrix | Sequence[Sequence[float]], colour_crop: Sequence[float], grey_crop: Sequence[float]
) -> Matrix | None:
    """What remains of a geometry's transform beside its two crops.

    Args:
        transform: from colour to grey coordinates (2, 3).
        colour_crop, grey_crop: left, top, right, bottom of the common area in each print.

    Returns:
        From the grey picture set upright, whose crop lies on the colour picture's, to the grey picture as it is, both in
        grey coordinates; None where the crops say everything.
    """
    transform = np.asarray(transform, np.float64)
    if transform[0, 1] == 0 and transform[1, 0] == 0:
        return None
    return chain(transform, upright(grey_crop, colour_crop))


def set_upright(grey: NDArray, left_over: Matrix) -> NDArray:
    """A grey picture (H, W) of any type, whole and at its own size, with the turn taken back, bicubically.

    Args:
        left_over: see `turn_left_over`.
    """
    return warped(grey, inverse(left_over), grey.shape[1::-1])


def warped(picture: NDArray, transform: Matrix, size: tuple[int, int], *, linear: bool = False) -> NDArray:
    """`picture` under a transform, on a canvas of this width and height; edges are carried on outwards."""
    # OpenCV puts the centre of the first pixel at 0.
    shifted = transform.copy()
    shifted[:, 2] += transform[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR if linear else cv2.INTER_CUBIC
    return cv2.warpAffine(picture, shifted, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
