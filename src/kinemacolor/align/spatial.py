"""The transform between two prints in pixels, and the area that both show.

From a rough start (outset.py), corners found in the grey pictures are followed into the colour pictures, thousands of them in
frames from all over the film, and one transform is fitted on which most agree (corners.py). The colour pictures are then
transformed and followed anew, until nothing moves. The transform is upright (scale and shift of each axis) unless corners
that it was not made from are foretold clearly better by a similarity or an affine transform.

Coordinates are continuous; laying.py says how, and how the result is applied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.bars import Box, picture_area
from kinemacolor.align.common import borders, common_area
from kinemacolor.align.corners import Fit, Followed, Kind, choose, corners, fit, follow, structure
from kinemacolor.align.grid import Window
from kinemacolor.align.laying import Matrix, apply, chain, corners_of, inverse, scaling, turn_left_over, upright, warped
from kinemacolor.align.outset import outset
from kinemacolor.errors import UserError

_LINES = 480  # pictures are compared at this height at most
_ROUNDS = 8
_SETTLED = 0.02  # pixels by which the corners of the picture may still move in the last round
_SIDE = 16  # pixels that an area set by hand must have
_LEAST = 60  # corners below which a transform is not believed
_NEAR = 2.0  # pixels by which those may miss it at most
_SHARE = 0.5  # of all that were followed that must; 0.88 and more in real prints, under 0.48 in pictures of noise


class Crop(Protocol):
    """What is set by hand; params.SyncCrop has it. Left, top, right, bottom in pixels of each print."""

    colour: Box | None
    grey: Box | None


@dataclass(frozen=True)
class Geometry:
    """How the colour picture lies on the grey one.

    Attributes:
        grey_size, colour_size: height and width of each print in pixels.
        transform: float64 (2, 3), from colour to grey coordinates (continuous, see laying.py), x before y.
        grey_crop, colour_crop: left, top, right, bottom of the area that both show, in each print's coordinates. An upright
            transform maps one onto the other; another one does so once the grey picture is set upright (laying.py).
        residual_px: median distance between where the transform puts a corner and where it is found, in grey pixels: the
            noise of single corners, which the transform itself averages away. NaN where a transform set by hand could not
            be measured.
        corners: how many corners agree on the transform.
        kind: `upright` is scale and shift of each axis, `similarity` one scale, a turn and a shift, `affine` any.
    """

    grey_size: tuple[int, int]
    colour_size: tuple[int, int]
    transform: NDArray[np.float64]
    grey_crop: Box
    colour_crop: Box
    residual_px: float
    corners: int
    kind: Kind = "upright"

    def to_json(self) -> dict[str, Any]:
        """The content of geometry.json."""
        return {
            "colour_crop": [round(v, 3) for v in self.colour_crop],
            "grey_crop": [round(v, 3) for v in self.grey_crop],
            "size": {"colour": list(self.colour_size), "grey": list(self.grey_size)},
            "kind": self.kind,
            "transform": [[round(v, 8) for v in row] for row in self.transform.tolist()],
            "residual_px": None if math.isnan(self.residual_px) else round(self.residual_px, 4),
            "corners": self.corners,
        }


def fit_geometry(
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    *,
    grey_size: tuple[int, int],
    colour_size: tuple[int, int],
    window: Window,
    crop: Crop | None = None,
) -> Geometry:
    """Fit the transform from colour to grey pixels over many pairs of pictures.

    Args:
        pairs: grey and colour luma (H, W) uint8 of the same moments, whole pictures, reduced or not. Up to a third may be
            wrong; a dozen or more are well spent.
        grey_size, colour_size: height and width of the prints themselves.
        window: a first guess: the part of the colour picture that the grey one shows. Turns of up to ten degrees and
            shifts of a quarter of the picture beside it are found.
        crop: areas set by hand. One restricts the common area; two are laid on each other, and nothing is searched.

    Raises:
        UserError: the pictures have too little structure in common, or a crop lies outside its picture.
    """
    if not pairs:
        raise UserError("No pair of frames could be compared, so the prints' common crop is unknown: re-encode both prints.")
    by_hand = _by_hand(crop, grey_size, colour_size)
    work = _Work(pairs, grey_size, colour_size, window)
    grey_box = by_hand[0] or work.grey_box()
    colour_box = by_hand[1] or work.colour_box()

    if all(by_hand):
        transform = upright(colour_box, grey_box)
        seen = work.follow(transform, grey_box, colour_box, levels=2)
        found = work.measure(transform, seen)
        boxes = tuple(tuple(float(v) for v in box) for box in (grey_box, colour_box))
        return Geometry(
            tuple(grey_size), tuple(colour_size), transform, *boxes, found.residual / work.scale, int(found.agree.sum())
        )

    transform = work.outset(grey_box, colour_box)
    for turn in range(_ROUNDS):
        seen = work.follow(transform, grey_box, colour_box, levels=3 if turn == 0 else 2 if turn == 1 else 1)
        _require(len(seen.source), 8)
        before, transform = transform, work.whole(fit("affine", seen).transform)
        moved = np.abs(apply(transform, corners_of(colour_box)) - apply(before, corners_of(colour_box))).max() * work.scale
        if turn > 0 and moved < _SETTLED:
            break
    kind, found = choose(seen, work.points(colour_box))
    near = int((found.misses < _NEAR).sum())
    _require(near if near > _SHARE * len(found.misses) else 0, _LEAST)
    transform = work.whole(found.transform)
    colour_crop, grey_crop = common_area(transform, grey_box=grey_box, colour_box=colour_box)
    geometry = Geometry(
        tuple(grey_size),
        tuple(colour_size),
        transform,
        grey_crop,
        colour_crop,
        found.residual / work.scale,
        int(found.agree.sum()),
        kind,
    )
    return work.without_borders(geometry, seen.pair[found.agree])


def overlaid(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], geometry: Geometry) -> tuple[NDArray, NDArray]:
    """Both pictures of a pair cut to what both show, at one size, pixel on pixel.

    Args:
        pair: grey (H, W) and colour (H, W, 3) or (H, W), whole pictures, reduced or not.

    Returns:
        grey (h, w) and colour (h, w, 3) or (h, w), uint8, at the grey picture's scale.
    """
    grey, colour = pair
    grey_scale = scaling(*np.array(grey.shape[1::-1]) / geometry.grey_size[::-1])
    left, top, right, bottom = geometry.grey_crop
    size = (max(2, round((right - left) * grey_scale[0, 0])), max(2, round((bottom - top) * grey_scale[1, 1])))
    onto = upright(geometry.grey_crop, (0, 0, *size))  # from grey coordinates, set upright
    left_over = turn_left_over(geometry.transform, geometry.colour_crop, geometry.grey_crop)
    cut = onto if left_over is None else chain(onto, inverse(left_over))
    from_colour = upright(geometry.colour_crop, (0, 0, *size))
    # A far larger colour picture is averaged first, since sampling would alias.
    wide = (geometry.colour_crop[2] - geometry.colour_crop[0]) * colour.shape[1] / geometry.colour_size[1]
    tall = (geometry.colour_crop[3] - geometry.colour_crop[1]) * colour.shape[0] / geometry.colour_size[0]
    shrunk = (round(colour.shape[1] * min(1, size[0] / wide)), round(colour.shape[0] * min(1, size[1] / tall)))
    if shrunk != colour.shape[1::-1]:
        colour = cv2.resize(colour, shrunk, interpolation=cv2.INTER_AREA)
    to_colour = scaling(*np.array(geometry.colour_size[::-1]) / colour.shape[1::-1])
    return warped(grey, chain(cut, inverse(grey_scale)), size), warped(colour, chain(from_colour, to_colour), size)


class _Work:
    """The pictures at the size at which they are compared: at most 480 lines of the grey print, the colour print alike.

    Sources are coordinates of the colour print; targets are those of the grey print times `scale`, so that distances are
    pixels at that size.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
        grey_size: tuple[int, int],
        colour_size: tuple[int, int],
        window: Window,
    ) -> None:
        self._sizes = grey_size, colour_size
        self._guess = upright(
            (
                window.left * colour_size[1],
                window.top * colour_size[0],
                window.right * colour_size[1],
                window.bottom * colour_size[0],
            ),
            (0, 0, grey_size[1], grey_size[0]),
        )
        # Compared where neither print has to be enlarged much.
        lines = min(_LINES, grey_size[0], max(16, round(colour_size[0] * (window.bottom - window.top))))
        self.scale = lines / grey_size[0]
        self._raw = [colour for _, colour in pairs]
        self._greys = [_resized(grey, (lines, round(grey_size[1] * self.scale))) for grey, _ in pairs]
        self._to_grey = self._picture_scale(self._greys[0], grey_size)
        near = min(1.0, _LINES / colour_size[0])
        self._colours = [_resized(colour, (round(colour_size[0] * near), round(colour_size[1] * near))) for colour in self._raw]
        self._structures = [structure(grey) for grey in self._greys]
        self._corners: list[NDArray[np.float32]] | None = None

    @staticmethod
    def _picture_scale(picture: NDArray, size: tuple[int, int]) -> Matrix:
        """From a print's coordinates to those of its reduced pictures."""
        return scaling(picture.shape[1] / size[1], picture.shape[0] / size[0])

    def grey_box(self) -> Box:
        return _scaled_box(picture_area(self._greys), inverse(self._to_grey))

    def colour_box(self) -> Box:
        return _scaled_box(picture_area(self._colours), inverse(self._picture_scale(self._colours[0], self._sizes[1])))

    def points(self, colour_box: Box) -> NDArray[np.float64]:
        """A grid over the colour print's picture."""
        left, top, right, bottom = colour_box
        return np.stack(np.meshgrid(np.linspace(left, right, 9), np.linspace(top, bottom, 9)), axis=-1).reshape(-1, 2)

    def whole(self, transform: Matrix) -> Matrix:
        """What was fitted from sources to targets, as the transform between the prints."""
        return transform / self.scale

    def measure(self, transform: Matrix, seen: Followed) -> Fit:
        """How well a given transform does."""
        misses = np.hypot(*(seen.target - self.scale * apply(transform, seen.source)).T)
        reach = max(4 * float(np.median(misses)), 0.1) if len(misses) else 0.1
        return Fit(transform, misses < reach, misses, reach)

    def outset(self, grey_box: Box, colour_box: Box) -> Matrix:
        """A start, and the colour pictures at the scale that it tells."""
        to_colour = self._picture_scale(self._colours[0], self._sizes[1])
        rough = outset(
            self._greys,
            self._colours,
            guess=chain(self._to_grey, self._guess, inverse(to_colour)),
            grey_area=_scaled_box(grey_box, self._to_grey),
            colour_area=_scaled_box(colour_box, to_colour),
        )
        return chain(inverse(self._to_grey), rough, to_colour)

    def _scale_colours(self, transform: Matrix) -> None:
        """Bring the colour pictures to the grey ones' scale, by averaging areas; never enlarged."""
        height, width = self._sizes[1]
        onto = chain(self._to_grey, transform)
        wanted = [min(1.0, float(np.hypot(*onto[:, axis]))) for axis in (1, 0)]
        size = (round(height * wanted[0]), round(width * wanted[1]))
        have = self._colours[0].shape
        if max(abs(size[axis] / have[axis] - 1) for axis in (0, 1)) > 0.05:
            self._colours = [_resized(colour, size) for colour in self._raw]

    def follow(self, transform: Matrix, grey_box: Box, colour_box: Box, *, levels: int) -> Followed:
        """Corners of the grey pictures, and where the colour pictures have them, by way of a transform between the prints."""
        self._scale_colours(transform)
        onto = chain(self._to_grey, transform, inverse(self._picture_scale(self._colours[0], self._sizes[1])))
        height, width = self._structures[0].shape
        mask = self._mask(transform, grey_box, colour_box)
        back, starts, ends, pair = inverse(transform), [np.zeros((0, 2))], [np.zeros((0, 2))], [np.zeros(0, np.int64)]
        to_print = inverse(self._to_grey)
        for number, (grey, colour) in enumerate(zip(self._structures, self._colours, strict=True)):
            at, moved = follow(grey, corners(grey, mask), structure(warped(colour, onto, (width, height))), levels=levels)
            # Where each corner lies in the colour picture: the transform is a guess, `moved` is what corrects it.
            starts.append(apply(back, apply(to_print, moved)))
            ends.append(self.scale * apply(to_print, at))
            pair.append(np.full(len(at), number))
        return Followed(np.concatenate(starts), np.concatenate(ends), np.concatenate(pair))

    def _mask(self, transform: Matrix, grey_box: Box, colour_box: Box) -> NDArray[np.uint8]:
        """The grey pictures' pixels that both prints show, a few pixels inside the edges."""
        masks = []
        for outline in (corners_of(grey_box), apply(transform, corners_of(colour_box))):
            mask = np.zeros(np.array(self._structures[0].shape) + 2, np.uint8)
            points = apply(self._to_grey, outline) + 0.5  # OpenCV's centres, one pixel inside the frame
            cv2.fillConvexPoly(mask, np.round(np.clip(points, -1e4, 1e4)).astype(np.int32), 255)
            mask[[0, -1]], mask[:, [0, -1]] = 0, 0
            masks.append(mask)
        return cv2.erode(masks[0] & masks[1], np.ones((17, 17), np.uint8), borderValue=0)[1:-1, 1:-1]

    def without_borders(self, geometry: Geometry, pair: NDArray[np.int64]) -> Geometry:
        """The geometry less what is black in one print alone, by the pairs that agree on it."""
        votes = np.bincount(pair, minlength=len(self._greys))
        good = np.flatnonzero(votes >= max(8, 0.3 * np.median(votes[votes > 0])))
        laid = [overlaid((cv2.blur(self._greys[i], (5, 5)), cv2.blur(self._colours[i], (5, 5))), geometry) for i in good]
        cut = borders(laid)
        if not any(cut):
            return geometry
        height, width = laid[0][0].shape
        return replace(
            geometry,
            grey_crop=_inset(geometry.grey_crop, cut, height, width),
            colour_crop=_inset(geometry.colour_crop, cut, height, width),
        )


def _inset(box: Box, cut: tuple[int, int, int, int], height: int, width: int) -> Box:
    """A box that was shown at this height and width, less some lines at each edge."""
    across, down = (box[2] - box[0]) / width, (box[3] - box[1]) / height
    return box[0] + cut[0] * across, box[1] + cut[1] * down, box[2] - cut[2] * across, box[3] - cut[3] * down


def _by_hand(crop: Crop | None, grey_size: tuple[int, int], colour_size: tuple[int, int]) -> tuple[Box | None, Box | None]:
    """The boxes that are set, checked."""
    boxes = (crop.grey, crop.colour) if crop is not None else (None, None)
    for box, (height, width), name in zip(boxes, (grey_size, colour_size), ("grey", "colour"), strict=True):
        if box is not None and (box[2] > width or box[3] > height):
            raise UserError(
                f"sync.crop.{name} reaches to {box[2]:g}, {box[3]:g}, but the {name} print has {width}x{height} pixels: "
                "give left, top, right, bottom inside it."
            )
        if box is not None and min(box[2] - box[0], box[3] - box[1]) < _SIDE:
            raise UserError(
                f"sync.crop.{name} leaves {box[2] - box[0]:g}x{box[3] - box[1]:g} pixels: give left, top, right, bottom in pixels, at "
                f"least {_SIDE} apart."
            )
    return boxes


def _require(count: int, least: int) -> None:
    if count < least:
        few = f"only {count} points agree" if count else "no points agree"
        raise UserError(
            f"The two prints could not be laid on each other ({few}): check that both show the same film, "
            "or give prints with a sharper picture."
        )


def _scaled_box(box: Box, scale: Matrix) -> Box:
    return tuple(float(v) for v in apply(scale, np.array(box, float).reshape(2, 2)).ravel())


def _resized(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if picture.shape[:2] == size:
        return picture
    shrinks = size[0] <= picture.shape[0] and size[1] <= picture.shape[1]
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
