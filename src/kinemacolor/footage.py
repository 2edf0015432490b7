"""Footage as a comparison shows it: the true picture, the grey one, and its lightness, frame for frame.

For a film pair the grey picture is the grey print's own frame, found by the alignment (never by its place in a list) and
laid over the area that both prints show, turned back if it is turned. Any other video is its own grey print: the neutral
rendering of its L*.

A collection is shown as one silent film: clips one after the other, photographs one a second. What has another shape than
the first stands between black bars, since nothing is ever stretched.
"""

from __future__ import annotations

import contextlib
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from kinemacolor.align.laying import set_upright, turn_left_over
from kinemacolor.colour import grey_rgb, lightness_of_grey, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.frames.resize import AreaResize, Box
from kinemacolor.media.decode import Picture
from kinemacolor.media.pictures import BrokenPicture, quietly
from kinemacolor.media.probe import Probe, probe, truncated
from kinemacolor.media.sources import SourceRecord, read_source
from kinemacolor.media.stretch import decode_stretch

_SCREEN = (720, 1280)  # height and width of a panel that shows photographs, at most
_STEPS = 65536  # of luminance; L* then errs by less than .007, far below what 8 bits can show


class Sight(NamedTuple):
    """One moment of a film."""

    time: float
    """Seconds of the colour print or video."""
    truth: np.ndarray
    """(H,W,3) uint8."""
    grey: np.ndarray | None
    """(H,W) uint8, as the grey panel shows it; None where the grey print has no such frame."""
    lightness: np.ndarray | None
    """(H,W) float32, L* of the grey picture."""
    original: np.ndarray | None
    """What a network sees before it is cut and shrunk: (h,w) grey or (h,w,3) RGB, uint8."""
    starts: bool = False
    """Nothing of what was shown before leads here: the first picture of a clip, or a photograph."""


class Footage(ABC):
    """A film that can be shown.

    Attributes:
        name: for messages.
        height, width: of a panel in pixels: the film's own size, or that of the area both prints show.
        frame_rate: exact.
        begin, end: seconds between which there are pictures.
        sound: the file whose sound goes along; None for silence.
        credit: who made it and under which licence; empty for a file by itself.
        captions: what the grey and the true panel are called.
    """

    name: str
    height: int
    width: int
    frame_rate: Fraction
    begin: float
    end: float
    sound: Path | None
    credit: str = ""
    captions: tuple[str, str] = ("grey", "truth")
    _box: Box | None = None  # the part of `original` that the panels show

    @abstractmethod
    def sights(self, start: float, end: float) -> Iterator[Sight]:
        """Every frame with start <= time < end, in order."""

    def network_input(self, originals: Sequence[np.ndarray], height: int) -> Tensor:
        """What a network is shown of some sights: L* (B,1,height,w) float32.

        Cut and shrunk by area as the frames stage does it; the width keeps the picture's shape, to the nearest pixel.
        """
        size = (height, max(1, round(self.width * height / self.height)))
        resize = AreaResize(originals[0].shape[:2], size, box=self._box, fit="stretch")
        small = np.stack([resize(original) for original in originals])
        if small.shape[1] == 1:
            return lightness_of_grey(torch.from_numpy(small))
        return rgb_to_lab(torch.from_numpy(small))[:, :1]


def open_footage(media: Path, sync: Path | None = None) -> Footage:
    """Open a folder of data/raw, or a video file.

    Args:
        media: data/raw/<source>, or a video.
        sync: data/sync/<source>; needed if, and only if, the source is a film pair.

    Raises:
        UserError: a file is missing, damaged or truncated (if its source does not allow it), or `sync` is.
    """
    media = Path(media)
    if not media.is_dir():
        facts = probe(media)
        if facts.last_good_time is not None:
            raise truncated(media, facts.last_good_time)
        return _Video(media.name, media, facts)
    source = read_source(media)
    credit = f"{source.credit} · {source.licence}"
    if source.kind == "clips":
        return _Clips(media.name, source, credit)
    if source.kind == "images":
        return _Slides(media.name, source, credit)
    if source.kind != "film_pair":
        print_ = source.print("video")
        return _Video(media.name, print_.path, print_.probe, credit)
    if sync is None:
        raise UserError(f"{media} is a film pair: name the folder of its alignment with --sync.")
    return _Pair(media.name, source.print("colour"), source.print("grey"), Path(sync), credit)


class _Video(Footage):
    """A single video, its own grey print."""

    def __init__(self, name: str, path: Path, facts: Probe, credit: str = "") -> None:
        self.name, self.credit, self.sound, self.frame_rate = name, credit, path, facts.frame_rate
        self.height, self.width = facts.height, facts.width
        self.begin, self.end = 0.0, facts.duration if facts.last_good_time is None else facts.last_good_time

    def sights(self, start: float, end: float) -> Iterator[Sight]:
        for picture in decode_stretch(self.sound, start=start, end=end):
            yield _own_grey(picture.time, picture.pixels)


class _Clips(Footage):
    """Clips one after the other, in their order, without their sound; as large as the first and at its frame rate."""

    sound = None

    def __init__(self, name: str, source: SourceRecord, credit: str) -> None:
        self.name, self.credit, self._source = name, credit, source
        first = source.clips[0].probe
        self.height, self.width, self.frame_rate = first.height, first.width, first.frame_rate
        lengths = [clip.probe.duration if (good := clip.probe.last_good_time) is None else good for clip in source.clips]
        self._begins = np.cumsum([0.0, *lengths])
        self.begin, self.end = 0.0, float(self._begins[-1])

    def sights(self, start: float, end: float) -> Iterator[Sight]:
        for clip, begin, until in zip(self._source.clips, self._begins[:-1], self._begins[1:], strict=True):
            if begin < end and until > start:
                stretch = decode_stretch(self._source.checked(clip).path, start=max(0.0, start - begin), end=end - begin)
                for place, picture in enumerate(stretch):
                    shown = _barred(picture.pixels, self.height, self.width)
                    yield _own_grey(float(begin) + picture.time, shown, starts=place == 0)


class _Slides(Footage):
    """Photographs, each for a second, in the order of their names; as large as the first one, or as fits a screen."""

    sound = None
    frame_rate = Fraction(1)

    def __init__(self, name: str, source: SourceRecord, credit: str) -> None:
        self.name, self.credit, self._source = name, credit, source
        with source.gallery() as gallery:
            height, width = gallery.size(0)
            self.begin, self.end = 0.0, float(len(gallery))
        scale = min(1.0, _SCREEN[0] / height, _SCREEN[1] / width)
        self.height, self.width = max(16, round(height * scale)), max(16, round(width * scale))

    def sights(self, start: float, end: float) -> Iterator[Sight]:
        with self._source.gallery() as gallery, quietly():
            for number in range(max(0, math.ceil(start)), min(len(gallery), math.ceil(end))):
                with contextlib.suppress(BrokenPicture):  # the one before stays
                    yield _own_grey(float(number), _barred(gallery.pixels(number), self.height, self.width), starts=True)


class _Pair(Footage):
    """A colour print and a grey one, brought together by the artefacts of the sync stage."""

    captions = ("grey print", "colour print")

    def __init__(self, name: str, colour: object, grey: object, sync: Path, credit: str) -> None:
        self.name, self.credit, self.sound = name, credit, colour.path
        self._grey_path, self.frame_rate = grey.path, colour.probe.frame_rate
        geometry = read_json(sync / "geometry.json", "run the sync stage")
        alignment = pq.read_table(sync / "alignment.parquet", columns=["colour_frame", "grey_frame", "colour_time", "grey_time"])
        self._colour_frame, self._grey_frame, self._colour_time, self._grey_time = (
            column.to_numpy() for column in alignment.columns
        )
        if not len(self._colour_frame):
            raise UserError(f"{sync}/alignment.parquet pairs no frames: run the sync stage again.")
        step = 1 / float(self.frame_rate)
        self.begin, self.end = float(self._colour_time[0]), float(self._colour_time[-1]) + step

        # Whole pixels, so that the true panel is the colour print's own pixels; even sides, since video wants them.
        left, top, right, bottom = geometry["colour_crop"]
        self._left, self._top = int(np.ceil(left)), int(np.ceil(top))
        self.width, self.height = (int(np.floor(far)) - near & ~1 for near, far in ((self._left, right), (self._top, bottom)))
        self._box = tuple(geometry["grey_crop"])
        transform = np.array(geometry["transform"], np.float64)
        # What a network sees is cut upright, as the frames stage does it.
        self._left_over = turn_left_over(transform, geometry["colour_crop"], geometry["grey_crop"])
        self._panel_to_grey = transform @ np.array([[1, 0, self._left], [0, 1, self._top], [0, 0, 1]], np.float64)

    def sights(self, start: float, end: float) -> Iterator[Sight]:
        rows = np.flatnonzero((self._colour_time >= start - 1e-6) & (self._colour_time < end))
        partners = dict(zip(self._colour_frame[rows].tolist(), self._grey_frame[rows].tolist(), strict=True))
        greys, grey = self._greys(rows), None
        for picture in decode_stretch(self.sound, start=start, end=end):
            wanted = partners.get(picture.number)
            while wanted is not None and (grey is None or grey.number != wanted):
                grey = next(greys, None)
                if grey is None:
                    raise UserError(
                        f"{self._grey_path} has no frame {wanted}, which the alignment names: run the sync stage again."
                    )
            yield self._sight(picture, None if wanted is None else grey.pixels)

    def _greys(self, rows: np.ndarray) -> Iterator[Picture]:
        """The grey print's frames that `rows` name, in the rows' order, and those between them."""
        # Where the grey print steps back (a scene that was moved), its file is read anew.
        for run in np.split(rows, np.flatnonzero(np.diff(self._grey_frame[rows]) < 0) + 1):
            if len(run):
                start, end = self._grey_time[run[0]] - 1e-3, self._grey_time[run[-1]] + 1e-3
                yield from decode_stretch(self._grey_path, start=start, end=end, grey=True)

    def _sight(self, picture: Picture, grey: np.ndarray | None) -> Sight:
        truth = picture.pixels[self._top : self._top + self.height, self._left : self._left + self.width]
        if grey is None:
            return Sight(picture.time, truth, None, None, None)
        original = grey if self._left_over is None else set_upright(grey, self._left_over)
        return Sight(picture.time, truth, self._laid_over(grey), self._laid_over(_grey_lightness()[grey]), original)

    def _laid_over(self, grey: np.ndarray) -> np.ndarray:
        """The grey print's pixels where the true panel shows the same thing, bilinearly."""
        matrix, shrink = self._panel_to_grey, float(np.hypot(*self._panel_to_grey[:, 0]))
        if shrink > 1.25:  # a grey print much larger than the colour one: averaged first, since sampling would alias
            tall, wide = grey.shape
            small = (round(wide / shrink), round(tall / shrink))
            grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
            matrix = matrix * np.array([[small[0] / wide], [small[1] / tall]])
        # The transform counts from the edge of the first pixel, OpenCV from its centre.
        matrix = np.column_stack((matrix[:, :2], matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(grey, matrix, (self.width, self.height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _own_grey(time: float, rgb: np.ndarray, *, starts: bool = False) -> Sight:
    """A picture that is its own grey print."""
    luminance = _luminance(rgb)
    lightness, grey = _luminance_tables()
    return Sight(time, rgb, grey[luminance], lightness[luminance], rgb, starts)


def _barred(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """The whole picture (h,w,3) in its own shape on a black (height,width,3); areas are averaged where it shrinks."""
    if rgb.shape[:2] == (height, width):
        return rgb
    scale = min(height / rgb.shape[0], width / rgb.shape[1])
    inner = max(1, round(rgb.shape[0] * scale)), max(1, round(rgb.shape[1] * scale))
    small = cv2.resize(rgb, inner[::-1], interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas[top : top + inner[0], left : left + inner[1]] = small
    return canvas


def _luminance(rgb: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 -> relative luminance in 65,536 steps, (H,W) uint16."""
    weighted = cv2.LUT(rgb, _luminance_parts())
    return cv2.transform(weighted, np.ones((1, 3), np.float32)).astype(np.uint16)


@functools.cache
def _luminance_parts() -> np.ndarray:
    """What each channel's 256 values add to the luminance, (1,256,3) float32, in steps."""
    values = torch.arange(256, dtype=torch.uint8)
    parts = []
    for channel in range(3):
        colours = torch.zeros(3, 1, 256, dtype=torch.uint8)
        colours[channel, 0] = values
        parts.append(_luminance_of(rgb_to_lab(colours)[0, 0].double()))
    # Half a step makes the truncation to whole numbers a rounding.
    return ((torch.stack(parts, -1) * (_STEPS - 1))[None] + 0.5 / 3).float().numpy()


@functools.cache
def _luminance_tables() -> tuple[np.ndarray, np.ndarray]:
    """For every step of luminance: its L* (float32), and the 8-bit grey that has it."""
    luminance = torch.arange(_STEPS, dtype=torch.float64) / (_STEPS - 1)
    root = torch.where(luminance > 0.008856, luminance ** (1 / 3), 7.787 * luminance + 16 / 116)
    lightness = (116 * root - 16).float()
    return lightness.numpy(), to_uint8(grey_rgb(lightness[None, None]))[0, 0].numpy()


def _luminance_of(lightness: Tensor) -> Tensor:
    """CIE: relative luminance of L*."""
    root = (lightness + 16) / 116
    return torch.where(root > 0.2068966, root**3, (root - 16 / 116) / 7.787)


@functools.cache
def _grey_lightness() -> np.ndarray:
    """L* of the 256 greys, float32."""
    return lightness_of_grey(torch.arange(256, dtype=torch.uint8).view(1, 1, 256))[0, 0].numpy()
