"""The picture of a made print: the film's planes cropped, scaled, painted over, toned, turned and set between bars.

Luma is taken as the film stores it, whichever weights made it, and never goes through RGB: it is carried in 16 bits, 64
steps to a code of video, and rounded once, when the print's frame is whole. Chroma follows only where it is asked for.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from kinemacolor.media.programme import crop_box, placement, print_size, turning, window
from kinemacolor.params import Recipe

STEPS = 64
"""Steps of working luma in one code of video luma."""
BLACK_CODE, WHITE_CODE = 16, 235
NEUTRAL = 128
_PAINT = 40.0  # of 255: by how much a paint of 1 changes luma, as a standard deviation
_PAINT_SCALE = 4  # paint is laid on at a quarter of the size: it is smooth
_PLANAR = re.compile(r"gray|nv12|nv21|yuvj?4\d\dp")  # whose first plane is 8-bit luma
_FULL_RANGE = re.compile(r"gray|yuvj")
_FLAGS = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP


class Planes(NamedTuple):
    """A picture at the print's size."""

    luma: NDArray[np.int16]
    """(H, W), `STEPS` to a code of limited-range video luma."""
    chroma: NDArray[np.uint8] | None
    """(2, H / 2, W / 2), sited as H.264 has it; None for grey."""


class Darkroom:
    """Turns frames of one film into pictures of one print. Its methods may be called from several threads.

    Args:
        film_height, film_width: of the film's frames, as shown.
    """

    def __init__(self, recipe: Recipe, film_height: int, film_width: int) -> None:
        self.recipe = recipe
        self.height, self.width = print_size(recipe, film_height, film_width)
        self.window = window(recipe, film_height, film_width)
        self._crop = crop_box(recipe, film_height, film_width)
        left, top, right, bottom = self.window
        self._size = (right - left, bottom - top)
        self._warp = self._residual()
        self._takes = {full: self._taking(full) for full in (False, True)}
        self._tables = {(full, 1.0): self._table(full, 1.0) for full in (False, True)}
        if recipe.colour:
            self._to_print = placement(recipe, film_height, film_width).transform
            self._cover = self._covered()

    def picture(self, frame: VideoFrame, *, shot: int, gain: float = 1.0) -> Planes:
        """The picture of a film frame.

        Args:
            shot: by which the paint is seeded.
            gain: brightness by which it is faded, 0..1.
        """
        luma, chromas, full = _planes(frame, chroma=self.recipe.colour or self.recipe.paint > 0)
        left, top, right, bottom = self._crop
        work = np.multiply(luma[top:bottom, left:right], STEPS, dtype=np.int16)
        work = scaled(work, self._size)
        if self.recipe.paint:
            work = cv2.add(work, self._paint(work, chromas, luma.shape, full, shot))
        table = self._tables.get((full, gain))
        if table is None:
            table = self._table(full, gain)
        work = table.take(work, mode="clip")
        if self._warp is not None:
            # Cubic at scale one: linear would blur by where the grid falls.
            work = cv2.warpAffine(
                work.astype(np.float32), self._warp, self._size, flags=cv2.INTER_CUBIC, borderValue=BLACK_CODE * STEPS
            )
            work = np.rint(work).astype(np.int16)
        chroma = None
        if self.recipe.colour:
            chroma = np.stack([self._chroma(plane, gain) for plane in chromas])
        return Planes(self._between_bars(work), chroma)

    def drawn(self, luma: NDArray[np.uint8], chroma: NDArray[np.uint8] | None = None) -> Planes:
        """A picture of the print's own: luma of full range, the print's size or that of `window`."""
        work = _TO_CODES.take(luma)
        left, top, right, bottom = self.window
        if work.shape != (self.height, self.width):
            work = self._between_bars(work)
        if not self.recipe.colour:
            return Planes(work, None)
        whole = np.full((2, self.height // 2, self.width // 2), NEUTRAL, np.uint8)
        if chroma is not None:
            whole[:, top // 2 : bottom // 2, left // 2 : right // 2] = chroma
        return Planes(work, whole)

    # ------------------------------------------------------------------------------------------------ tones

    def _table(self, full: bool, gain: float) -> NDArray[np.int16]:
        """Film luma, in steps, to print luma: 1 / gamma, contrast about the middle, and a fade to black."""
        black, white = (0, 255) if full else (BLACK_CODE, WHITE_CODE)
        level = np.clip((np.arange(256 * STEPS) / STEPS - black) / (white - black), 0, 1)
        level = np.clip((level ** (1 / self.recipe.gamma) - 0.5) * self.recipe.contrast + 0.5, 0, 1) * gain
        return np.rint((BLACK_CODE + (WHITE_CODE - BLACK_CODE) * level) * STEPS).astype(np.int16)

    def _taking(self, full: bool) -> NDArray[np.float32]:
        """How much paint film luma, in steps, takes: none where it is black or white."""
        black, white = (0, 255) if full else (BLACK_CODE, WHITE_CODE)
        level = (np.arange(256 * STEPS) / STEPS - black) / (white - black)
        return np.clip(4 * np.minimum(level, 1 - level), 0, 1).astype(np.float32)

    def _paint(
        self, work: NDArray[np.int16], chromas: list[NDArray], film: tuple[int, ...], full: bool, shot: int
    ) -> NDArray[np.int16]:
        """What a colourist did to this picture: luma to add, by place and by hue, in steps.

        Regions are fixed to the picture and to the shot; black and white, which take no paint, stay.
        """
        rng = np.random.default_rng([abs(self.recipe.seed), 0xC01, shot])
        wide, tall = (max(2, -(-side // _PAINT_SCALE)) for side in self._size)
        grid = rng.normal(0, 1, (4, 6)).astype(np.float32)
        place = cv2.resize((grid - grid.mean()) / grid.std(), (wide, tall), interpolation=cv2.INTER_CUBIC)
        turns, phases = rng.choice([1, 2], 2), rng.uniform(0, 2 * np.pi, 2).astype(np.float32)
        left, top, right, bottom = self._crop
        blue, red = (
            cv2.resize(
                plane[
                    top * plane.shape[0] // film[0] : -(-bottom * plane.shape[0] // film[0]),
                    left * plane.shape[1] // film[1] : -(-right * plane.shape[1] // film[1]),
                ],
                (wide, tall),
                interpolation=cv2.INTER_AREA,
            ).astype(np.float32)
            - NEUTRAL
            for plane in chromas
        )
        strong = np.minimum(np.hypot(blue, red) / 40, 1)
        hue = np.arctan2(red, blue)
        by_hue = strong * sum(np.cos(turn * hue + phase) for turn, phase in zip(turns, phases, strict=True))
        field = cv2.GaussianBlur(0.95 * place + 0.75 * by_hue, (0, 0), 1.2)
        amount = self.recipe.paint * _PAINT / 255 * (255 if full else WHITE_CODE - BLACK_CODE) * STEPS
        field = cv2.resize(np.float32(np.clip(field, -2, 2) * amount), self._size, interpolation=cv2.INTER_LINEAR)
        return cv2.multiply(field, self._takes[full].take(work, mode="clip"), dtype=cv2.CV_16S)

    # ------------------------------------------------------------------------------------------------ place

    def _residual(self) -> NDArray[np.float64] | None:
        """The turn and shift as cv2 wants them for the picture in the window; None where there is neither."""
        if self.recipe.turn == 0 and self.recipe.shift == (0, 0):
            return None
        left, top = self.window[:2]
        to_print = np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
        return _indexed(np.linalg.inv(to_print) @ turning(self.recipe, self.height, self.width) @ to_print)

    def _between_bars(self, picture: NDArray[np.int16]) -> NDArray[np.int16]:
        if picture.shape == (self.height, self.width):
            return picture
        left, top, right, bottom = self.window
        whole = np.full((self.height, self.width), BLACK_CODE * STEPS, np.int16)
        whole[top:bottom, left:right] = picture
        return whole

    def _covered(self) -> NDArray[np.float32]:
        """(H / 2, W / 2): how much of each chroma pixel the film covers, 0..1."""
        picture = np.ones(self._size[::-1], np.float32)
        if self._warp is not None:
            picture = cv2.warpAffine(picture, self._warp, self._size, flags=cv2.INTER_LINEAR)
        left, top, right, bottom = self.window
        whole = np.zeros((self.height, self.width), np.float32)
        whole[top:bottom, left:right] = picture
        return cv2.resize(whole, (self.width // 2, self.height // 2), interpolation=cv2.INTER_AREA)

    def _chroma(self, plane: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
        """One chroma plane of the film as the print's, each pixel where its luma is."""
        tall, wide = plane.shape
        across, down = (float(np.linalg.norm(self._to_print[:, axis])) for axis in (0, 1))
        small = (max(1, round(wide * min(1, across))), max(1, round(tall * min(1, down))))
        work = scaled(plane.astype(np.float32), small)
        from_small = np.diag([wide / small[0], tall / small[1], 1])
        film = np.vstack([self._to_print, [0, 0, 1]]) @ _SITED
        matrix = _indexed(np.linalg.inv(_SITED) @ film @ from_small)
        size = (self.width // 2, self.height // 2)
        work = cv2.warpAffine(work, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.clip(np.rint(NEUTRAL + (work - NEUTRAL) * (self._cover * gain)), 0, 255).astype(np.uint8)


_TO_CODES = np.rint((BLACK_CODE + np.arange(256) * (WHITE_CODE - BLACK_CODE) / 255) * STEPS).astype(np.int16)

# Continuous chroma to continuous luma coordinates: chroma lies at the left luma pixel of two, and between two lines.
_SITED = np.array([[2, 0, -0.5], [0, 2, 0], [0, 0, 1.0]])


def _indexed(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same map, (3, 3), for cv2, in whose coordinates the middle of pixel i is i; (2, 3)."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.ascontiguousarray((np.linalg.inv(half) @ matrix @ half)[:2])


def scaled(plane: NDArray, size: tuple[int, int]) -> NDArray:
    """A plane at another size (width, height): averaged over areas where it shrinks, cubic where it grows."""
    height, width = plane.shape
    smaller = (min(width, size[0]), min(height, size[1]))
    if smaller != (width, height):
        plane = cv2.resize(plane, smaller, interpolation=cv2.INTER_AREA)
    return plane if smaller == size else cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC)


def tiny_luma(frame: VideoFrame) -> NDArray[np.int16]:
    """About 32 by 18 picked luma pixels: enough to see a cut, and nearly free."""
    plane = _view(frame, 0) if _PLANAR.fullmatch(frame.format.name) else _planes(frame, chroma=False)[0]
    return plane[:: max(1, plane.shape[0] // 18), :: max(1, plane.shape[1] // 32)].astype(np.int16)


def _planes(frame: VideoFrame, *, chroma: bool) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]], bool]:
    """Luma, the two chroma planes (empty unless asked for) and whether luma has the full range; upright.

    Chroma is 4:2:0. What is stored in another way (10 bits, RGB) is brought to limited-range BT.709 first.
    """
    name = frame.format.name
    simple = _PLANAR.fullmatch(name) is not None and (not chroma or name in ("yuv420p", "yuvj420p", "gray"))
    if not simple and _PLANAR.fullmatch(name):
        # The range stays: only the layout of chroma changes.
        frame_range = ColorRange.JPEG if _is_full(frame) else ColorRange.MPEG
        full, other = (
            _is_full(frame),
            frame.reformat(format="yuv420p", src_color_range=frame_range, dst_color_range=frame_range, interpolation=_FLAGS),
        )
    elif not simple:
        full, other = False, frame.reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709 if frame.format.is_rgb else None, dst_color_range=ColorRange.MPEG,
            interpolation=_FLAGS,
        )  # fmt: skip
    else:
        full, other = _is_full(frame), frame
    planes = [_view(other, 0)]
    if chroma and other.format.name == "gray":
        planes += [np.full((-(-frame.height // 2), -(-frame.width // 2)), NEUTRAL, np.uint8)] * 2
    elif chroma:
        planes += [_view(other, 1), _view(other, 2)]
    if frame.rotation:
        planes = [np.ascontiguousarray(np.rot90(plane, round(frame.rotation / 90))) for plane in planes]
    return planes[0], planes[1:], full


def _is_full(frame: VideoFrame) -> bool:
    return frame.color_range == ColorRange.JPEG or _FULL_RANGE.match(frame.format.name) is not None


def _view(frame: VideoFrame, number: int) -> NDArray[np.uint8]:
    """A plane of 8 bits where the decoder put it, without a copy."""
    plane = frame.planes[number]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
