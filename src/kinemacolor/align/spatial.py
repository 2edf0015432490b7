"""The transform between two prints in pixels, and the area that both show.

Corners found in the grey pictures are followed into the colour pictures (Lucas-Kanade 1981 in pyramids, as OpenCV has it),
after both have been freed of their local brightness and contrast: what is left is structure, which neither gamma nor grading
changes. Thousands of such small displacements, from frames all over the film, give one transform by least squares
with Tukey's weights, so that a logo, a subtitle or a bad pair has no say. The colour pictures are then transformed and
followed anew, until nothing moves.

Coordinates are continuous: pixel i covers i to i + 1, its centre lies at i + 0.5, and a picture reaches from 0 to its
width and height. Hence a crop is mapped by the transform as a point is, and scaling needs no half pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.grid import Window
from kinemacolor.errors import UserError

_LINES = 480  # pictures are compared at this height at most
_CORNERS = 250  # a picture
_ROUNDS = 6
_SETTLED = 0.01  # pixels by which the corners of the picture may still move in the last round
_LEAST = 60  # displacements below which a transform is not believed
_BLACK = 24  # luma that no bar exceeds


@dataclass(frozen=True)
class Geometry:
    """How the colour picture lies on the grey one.

    Attributes:
        grey_size, colour_size: height and width of each print in pixels.
        transform: float64 (2, 3), from colour to grey coordinates (continuous, see above), x before y.
        grey_crop, colour_crop: left, top, right, bottom of the area that both show, in each print's coordinates. Without
            rotation the transform maps one onto the other.
        residual_px: median distance between where the transform puts a corner and where it is found, in grey pixels: the
            noise of single corners, which the transform itself averages away.
        corners: how many corners agree on the transform.
    """

    grey_size: tuple[int, int]
    colour_size: tuple[int, int]
    transform: NDArray[np.float64]
    grey_crop: tuple[float, float, float, float]
    colour_crop: tuple[float, float, float, float]
    residual_px: float
    corners: int

    def to_json(self) -> dict[str, Any]:
        """The content of geometry.json."""
        return {
            "colour_crop": [round(v, 3) for v in self.colour_crop],
            "grey_crop": [round(v, 3) for v in self.grey_crop],
            "size": {"colour": list(self.colour_size), "grey": list(self.grey_size)},
            "transform": [[round(v, 8) for v in row] for row in self.transform.tolist()],
            "residual_px": round(self.residual_px, 4),
        }


def fit_geometry(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    *,
    grey_size: tuple[int, int],
    colour_size: tuple[int, int],
    window: Window,
) -> Geometry:
    """Fit the transform from colour to grey pixels over many pairs of pictures.

    Args:
        pairs: grey and colour luma (H, W) uint8 of the same moments, whole pictures, reduced or not.
        grey_size, colour_size: height and width of the prints themselves.
        window: a first guess: the part of the colour picture that the grey one shows.

    Raises:
        UserError: the pictures have too little structure in common.
    """
    if not pairs:
        raise UserError("No pair of frames could be compared, so the prints' common crop is unknown: re-encode both prints.")
    # Compared where neither print has to be enlarged much: the colour print is brought to the grey one's scale.
    lines = min(_LINES, grey_size[0], round(colour_size[0] / max(window.bottom - window.top, 0.1)))
    work = (lines, round(grey_size[1] * lines / grey_size[0]))
    near = (round(work[0] / (window.bottom - window.top)), round(work[1] / (window.right - window.left)))
    greys = [_resized(grey, work) for grey, _ in pairs]
    colours = [_resized(colour, near) for _, colour in pairs]
    grey_area, colour_area = _lit_area(greys), _lit_area(colours)

    transform = np.array([[1.0, 0.0, -window.left * near[1]], [0.0, 1.0, -window.top * near[0]]])
    structure = [_structure(grey) for grey in greys]
    corners = [_corners(grey, _shared(grey.shape, grey_area, transform, colour_area)) for grey in structure]
    free = False
    for turn in range(_ROUNDS):
        at, moved = _follow(structure, corners, colours, transform, levels=2 if turn < 2 else 1)
        # Where each corner lies in the colour picture: the transform is a guess, `moved` is what corrects it.
        source = _apply(_inverse(transform), moved)
        straight, kept, residual = _robust(source, at, free=False)
        if turn >= 2 and not free:
            # Rotation and shear only where the pictures ask for them.
            _, _, other = _robust(source, at, free=True)
            free = other < 0.9 * residual
        if free:
            straight, kept, residual = _robust(source, at, free=True)
        settled = np.abs(_apply(straight, _frame(near)) - _apply(transform, _frame(near))).max() < _SETTLED
        transform = straight
        if settled and turn >= 2:
            break
    if kept < _LEAST:
        raise UserError(
            f"The two prints could not be laid on each other (only {kept} points agree): check that both show the same film, "
            "or give prints with a sharper picture."
        )
    to_grey, to_near = np.array(grey_size) / work, np.array(near) / colour_size
    whole = np.diag(to_grey[::-1]) @ transform @ np.diag([to_near[1], to_near[0], 1.0])
    grey_box = np.array(grey_area) * np.tile(to_grey[::-1], 2)
    colour_box = np.array(colour_area) / np.tile(to_near[::-1], 2)
    crops = _crops(whole, grey_box, colour_box)
    return Geometry(tuple(grey_size), tuple(colour_size), whole, *crops, float(residual * to_grey[0]), kept)


def overlaid(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], geometry: Geometry) -> tuple[NDArray, NDArray]:
    """Both pictures of a pair cut to what both show, at one size, pixel on pixel.

    Args:
        pair: grey (H, W) and colour (H, W, 3), whole pictures, reduced or not.

    Returns:
        grey (h, w) and colour (h, w, 3), uint8, at the grey picture's scale.
    """
    grey, colour = pair
    scale_grey = grey.shape[0] / geometry.grey_size[0]
    left, top, right, bottom = np.array(geometry.grey_crop) * scale_grey
    size = (max(2, round(right - left)), max(2, round(bottom - top)))
    cut = np.array([[1, 0, -left], [0, 1, -top]])
    scale_colour = np.array(colour.shape[:2]) / geometry.colour_size
    onto = np.vstack([scale_grey * geometry.transform @ np.diag([1 / scale_colour[1], 1 / scale_colour[0], 1]), [0, 0, 1]])
    reduce = abs(np.linalg.det(onto[:2, :2])) ** 0.5
    if reduce < 1:
        small = cv2.resize(colour, None, fx=reduce, fy=reduce, interpolation=cv2.INTER_AREA)
        factor = np.array(small.shape[:2]) / colour.shape[:2]
        onto = onto @ np.diag([1 / factor[1], 1 / factor[0], 1])
        colour = small
    return _warp(grey, cut, size), _warp(colour, (np.vstack([cut, [0, 0, 1]]) @ onto)[:2], size)


def _resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    shrinks = size[0] <= picture.shape[0]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _lit_area(pictures: Sequence[NDArray[np.uint8]]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what is not bars in any of the pictures; whole if there are none."""
    brightest = np.maximum.reduce([cv2.blur(picture, (5, 1)) for picture in pictures])
    height, width = brightest.shape

    def ends(lit: NDArray[np.bool_]) -> tuple[int, int]:
        at = np.flatnonzero(lit)
        return (int(at[0]), int(at[-1]) + 1) if len(at) > len(lit) / 3 else (0, len(lit))

    # A bar may carry a subtitle in some picture; a picture may be dark at one end of a row.
    top, bottom = ends((brightest > _BLACK).mean(axis=1) > 0.25)
    left, right = ends((brightest > _BLACK).mean(axis=0) > 0.25)
    # The edge of a bar is blurred over a pixel or two.
    trim = [2 * (left > 0), 2 * (top > 0), 2 * (right < width), 2 * (bottom < height)]
    return left + trim[0], top + trim[1], right - trim[2], bottom - trim[3]


def _structure(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture less its local mean, divided by its local contrast, as uint8 about 128: robust to gamma and grading."""
    luma = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0)
    detail = luma - cv2.GaussianBlur(luma, (0, 0), 8.0)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 12.0))
    return np.clip(128 + 40 * detail / (contrast + 3), 0, 255).astype(np.uint8)


def _shared(
    shape: tuple[int, int], grey_area: tuple[float, ...], transform: NDArray, colour_area: tuple[float, ...]
) -> NDArray[np.uint8]:
    """Mask of the grey picture's pixels that both prints show, a few pixels inside the edges."""
    mapped = _apply(transform, np.array([colour_area[:2], colour_area[2:]], float)).ravel()
    low = np.ceil(np.maximum(grey_area[:2], mapped[:2]) + 8).astype(int)
    high = np.floor(np.minimum(grey_area[2:], mapped[2:]) - 8).astype(int)
    mask = np.zeros(shape, np.uint8)
    mask[max(low[1], 0) : max(high[1], 0), max(low[0], 0) : max(high[0], 0)] = 255
    return mask


def _corners(structure: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, 1, 2) float32 corners in OpenCV's coordinates, spread over the picture."""
    found = cv2.goodFeaturesToTrack(structure, _CORNERS, 0.02, 10, mask=mask, blockSize=7)
    return np.zeros((0, 1, 2), np.float32) if found is None else found


def _follow(
    greys: Sequence[NDArray[np.uint8]],
    corners: Sequence[NDArray[np.float32]],
    colours: Sequence[NDArray[np.uint8]],
    transform: NDArray,
    *,
    levels: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the grey pictures, and where the transformed colour pictures have them; both (n, 2), continuous."""
    options = dict(winSize=(25, 25), maxLevel=levels, criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.003))
    starts, ends = [np.zeros((0, 2))], [np.zeros((0, 2))]
    for grey, points, colour in zip(greys, corners, colours, strict=True):
        if len(points) == 0:
            continue
        brought = _structure(_warp(colour, transform, grey.shape[::-1]))
        there, found, _ = cv2.calcOpticalFlowPyrLK(grey, brought, points, None, **options)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(brought, grey, there, None, **options)
        good = (found & found_back).ravel().astype(bool) & (np.abs(back - points).max(axis=2).ravel() < 0.3)
        starts.append(points[good, 0].astype(np.float64) + 0.5)
        ends.append(there[good, 0].astype(np.float64) + 0.5)
    return np.concatenate(starts), np.concatenate(ends)


def _robust(source: NDArray, target: NDArray, *, free: bool) -> tuple[NDArray[np.float64], int, float]:
    """Least squares with Tukey's weights: scale and shift of each axis, or all six numbers if `free`.

    Returns the transform (2, 3), how many points agree, and the median distance of those.
    """
    count = len(source)
    if count < 8:
        raise UserError(
            f"The two prints could not be laid on each other (only {count} points are seen in both): check that both show "
            "the same film, or give prints with a sharper picture."
        )
    ones = np.ones(count)
    designs = [np.column_stack([source, ones])] * 2 if free else [np.column_stack([source[:, i], ones]) for i in (0, 1)]
    weights = ones
    for _ in range(30):
        rows = []
        for axis, design in enumerate(designs):
            root = np.sqrt(weights)[:, None]
            rows.append(np.linalg.lstsq(design * root, target[:, axis] * root[:, 0], rcond=None)[0])
        misses = np.hypot(*(target[:, axis] - design @ row for axis, (design, row) in enumerate(zip(designs, rows, strict=True))))
        # The median of a two-dimensional normal's distances is 1.18 standard deviations; 4.7 is Tukey's constant.
        reach = 4.7 * max(float(np.median(misses)), 0.01) / 1.18
        weights = np.clip(1 - (misses / reach) ** 2, 0, None) ** 2 + 1e-12
    agree = misses < reach
    if not free:
        rows = [np.array([rows[0][0], 0.0, rows[0][1]]), np.array([0.0, rows[1][0], rows[1][1]])]
    return np.stack(rows), int(agree.sum()), float(np.median(misses[agree]))


def _crops(
    transform: NDArray, grey_box: NDArray, colour_box: NDArray
) -> tuple[tuple[float, float, float, float], tuple[float, float, float, float]]:
    """The common area in grey and in colour coordinates (the largest upright box inside the mapped one if it is turned)."""
    mapped = _apply(transform, _frame_of(colour_box))
    left, right = sorted(mapped[:, 0])[1:3]
    top, bottom = sorted(mapped[:, 1])[1:3]
    low = np.maximum(grey_box[:2], [left, top])
    high = np.minimum(grey_box[2:], [right, bottom])
    if (high - low < 16).any():
        raise UserError("The two prints show no common area: check that both are the same film.")
    back = _apply(_inverse(transform), _frame_of(np.concatenate([low, high])))
    left, right = sorted(back[:, 0])[1:3]
    top, bottom = sorted(back[:, 1])[1:3]
    colour = np.clip([left, top, right, bottom], np.tile(colour_box[:2], 2), np.tile(colour_box[2:], 2))
    return tuple(float(v) for v in (*low, *high)), tuple(float(v) for v in colour)


def _frame(size: tuple[int, int]) -> NDArray[np.float64]:
    """The corners of a picture of this height and width, (4, 2)."""
    return _frame_of(np.array([0.0, 0.0, size[1], size[0]]))


def _frame_of(box: NDArray) -> NDArray[np.float64]:
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [left, bottom], [right, bottom]], float)


def _apply(transform: NDArray, points: NDArray) -> NDArray[np.float64]:
    return points @ transform[:, :2].T + transform[:, 2]


def _inverse(transform: NDArray) -> NDArray[np.float64]:
    return np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]


def _warp(picture: NDArray[np.uint8], transform: NDArray, size: tuple[int, int]) -> NDArray[np.uint8]:
    """`picture` under a transform of continuous coordinates, in a picture of this width and height."""
    # OpenCV puts the centre of the first pixel at 0.
    shifted = transform.copy()
    shifted[:, 2] += transform[:, :2] @ [0.5, 0.5] - 0.5
    return cv2.warpAffine(picture, shifted, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
