"""Footage as a comparison shows it: the true picture, the grey one, and its lightness, frame for frame.

For a film pair the grey picture is the grey print's own frame, found by the alignment (never by its place in a list) and
laid over the area that both prints show, turned back if it is turned. Any other video is its own grey print: the neutral
rendering of its L*.

A collection is shown as one silent film: clips one after the other, photographs one a second. What has another shape than
the first stands between black bars, since nothing is ever stretched.

At the training size every panel has the pixels that a network saw in training, or makes of such: training_size.py.
"""

from __future__ import annotations

import contextlib
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
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
from kinemacolor.placing import Framing, area, barred, inside_of, refuse_other_shape, sized, upright

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
    number: int | None = None
    """Of the grey picture: its frame in the grey print, or in the film that is its own; as index.parquet counts them. None without
    one."""
    inside: tuple[slice, slice] = (slice(None), slice(None))
    """Rows and columns of the panel that hold the picture; around it stand bars of ours."""
    shape: tuple[int, int] | None = None
    """Height and width of what `number` names, as it is stored: what another program was given to colour."""
    whole: np.ndarray | None = None
    """(h,w,3) uint8, if asked for: the true picture as it is stored, before we cut it or put bars around it."""
    aspect: float = 1.0
    """Width over height of a pixel of `whole` as it is shown."""
    seen: Mapping[Framing, np.ndarray] | None = None
    """At the training size: L* (h,w) float32 of the grey picture as it is cut for each network."""


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
    def sights(self, start: float, end: float, *, whole: bool = False) -> Iterator[Sight]:
        """Every frame with start <= time < end, in order.

        Args:
            whole: whether `Sight.whole` is wanted, which of photographs may be large.
        """

    def seen(self, sights: Sequence[Sight], framing: Framing) -> Tensor:
        """What a network that was trained on frames of this framing is shown of sights with a grey picture: L* (B,1,h,w) float32."""
        return self.network_input([sight.original for sight in sights], framing.height)

    def network_input(self, originals: Sequence[np.ndarray], height: int) -> Tensor:
        """What a network is shown of some sights: L* (B,1,height,w) float32.

        The whole of what the panels show, shrunk by area; the width keeps its shape, to the nearest pixel, whatever shape frames
        had in training. So a picture is coloured from edge to edge where training saw its middle (`fit: crop`), and in its own
        shape where training saw it squeezed (`fit: stretch`); networks that take one square have it fitted (colorize.py).
        """
        size = (height, max(1, round(self.width * height / self.height)))
        resize = AreaResize(originals[0].shape[:2], size, box=self._box, fit="stretch")
        small = np.stack([resize(original) for original in originals])
        if small.shape[1] == 1:
            return lightness_of_grey(torch.from_numpy(small))
        return rgb_to_lab(torch.from_numpy(small))[:, :1]

    def lay(self, picture: np.ndarray, name: str, sight: Sight) -> np.ndarray:
        """What another program made of a sight's grey picture, (h,w,3) uint8 of its shape but any size, as a panel (H,W,3).

        Args:
            name: of where it comes from, for messages.

        Raises:
            UserError: it has another shape.
        """
        refuse_other_shape(picture, sight.shape, name, aspect=sight.aspect)
        return barred(picture, sight.inside, self.height, self.width)

    def cut(self, sight: Sight, framing: Framing) -> tuple[np.ndarray, np.ndarray | None]:
        """A sight as the frames stage cuts it, `whole` having been asked for.

        Returns:
            The true picture (h,w,3) uint8, and L* (h,w) float32 of the grey one; None without one.
        """
        planes = area(sight.whole.shape[:2], framing, aspect=sight.aspect)(sight.whole)
        return upright(planes), rgb_to_lab(torch.from_numpy(planes))[0].numpy()

    def cut_other(self, picture: np.ndarray, name: str, sight: Sight, framing: Framing) -> np.ndarray:
        """As `lay`, but cut as the sight is, (h,w,3)."""
        refuse_other_shape(picture, sight.shape, name, aspect=sight.aspect)
        # Whatever its size, it shows what the film shows.
        squeezed = (sight.shape[1] / sight.shape[0]) / (picture.shape[1] / picture.shape[0])
        return upright(area(picture.shape[:2], framing, aspect=sight.aspect * squeezed)(picture))


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

    def sights(self, start: float, end: float, *, whole: bool = False) -> Iterator[Sight]:
        for picture in decode_stretch(self.sound, start=start, end=end):
            sight = _own_grey(picture.time, picture.pixels, picture.number, (self.height, self.width), whole=whole)
            yield sight._replace(aspect=picture.pixel_aspect)


class _Clips(Footage):
    """Clips one after the other, in their order, without their sound; as large as the first and at its frame rate."""

    sound = None

    def __init__(self, name: str, source: SourceRecord, credit: str) -> None:
        self.name, self.credit, self._source = name, credit, source
        first = source.clips[0].probe
        self.height, self.width, self.frame_rate = first.height, first.width, first.frame_rate
        lengths = [clip.probe.duration if (good := clip.probe.last_good_time) is None else good for clip in source.clips]
        self._begins = np.cumsum([0.0, *lengths])
        self._before = np.cumsum([0, *(clip.probe.frames for clip in source.clips)])
        self.begin, self.end = 0.0, float(self._begins[-1])

    def sights(self, start: float, end: float, *, whole: bool = False) -> Iterator[Sight]:
        size = self.height, self.width
        begins = zip(self._begins, self._begins[1:], self._before.tolist(), strict=False)
        for clip, (begin, until, before) in zip(self._source.clips, begins, strict=True):
            if begin < end and until > start:
                stretch = decode_stretch(self._source.checked(clip).path, start=max(0.0, start - begin), end=end - begin)
                for place, picture in enumerate(stretch):
                    time, number = float(begin) + picture.time, before + picture.number
                    sight = _own_grey(time, picture.pixels, number, size, starts=place == 0, whole=whole)
                    yield sight._replace(aspect=picture.pixel_aspect)


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

    def sights(self, start: float, end: float, *, whole: bool = False) -> Iterator[Sight]:
        size = self.height, self.width
        with self._source.gallery() as gallery, quietly():
            for number in range(max(0, math.ceil(start)), min(len(gallery), math.ceil(end))):
                with contextlib.suppress(BrokenPicture):  # the one before stays
                    yield _own_grey(float(number), gallery.pixels(number), number, size, starts=True, whole=whole)


class _Pair(Footage):
    """A colour print and a grey one, brought together by the artefacts of the sync stage."""

    captions = ("grey print", "colour print")

    def __init__(self, name: str, colour: object, grey: object, sync: Path, credit: str) -> None:
        self.name, self.credit, self.sound = name, credit, colour.path
        self._grey_path, self.frame_rate = grey.path, colour.probe.frame_rate
        self._grey_size = grey.probe.height, grey.probe.width
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
        self._box, self._colour_box = tuple(geometry["grey_crop"]), tuple(geometry["colour_crop"])
        transform = np.array(geometry["transform"], np.float64)
        # What a network sees is cut upright, as the frames stage does it.
        self._left_over = turn_left_over(transform, geometry["colour_crop"], geometry["grey_crop"])
        self._panel_to_grey = transform @ np.array([[1, 0, self._left], [0, 1, self._top], [0, 0, 1]], np.float64)

    def sights(self, start: float, end: float, *, whole: bool = False) -> Iterator[Sight]:
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
            sight = self._sight(picture, None if wanted is None else grey)
            yield sight._replace(whole=picture.pixels if whole else None, aspect=picture.pixel_aspect)

    def _greys(self, rows: np.ndarray) -> Iterator[Picture]:
        """The grey print's frames that `rows` name, in the rows' order, and those between them."""
        # Where the grey print steps back (a scene that was moved), its file is read anew.
        for run in np.split(rows, np.flatnonzero(np.diff(self._grey_frame[rows]) < 0) + 1):
            if len(run):
                start, end = self._grey_time[run[0]] - 1e-3, self._grey_time[run[-1]] + 1e-3
                yield from decode_stretch(self._grey_path, start=start, end=end, grey=True)

    def lay(self, picture: np.ndarray, name: str, sight: Sight) -> np.ndarray:
        return self._laid_over(self._as_grey(picture, name))

    def _as_grey(self, picture: np.ndarray, name: str) -> np.ndarray:
        """A picture of the grey print as another program coloured it, at the print's size."""
        refuse_other_shape(picture, self._grey_size, name)
        return sized(picture, self._grey_size)

    def cut(self, sight: Sight, framing: Framing) -> tuple[np.ndarray, np.ndarray | None]:
        truth = area(sight.whole.shape[:2], framing, box=self._colour_box, aspect=sight.aspect)(sight.whole)
        if sight.original is None:
            return upright(truth), None
        grey = torch.from_numpy(self._cut_grey(sight.original, sight, framing))
        return upright(truth), lightness_of_grey(grey)[0].numpy()

    def cut_other(self, picture: np.ndarray, name: str, sight: Sight, framing: Framing) -> np.ndarray:
        laid = self._as_grey(picture, name)
        laid = laid if self._left_over is None else set_upright(laid, self._left_over)
        return upright(self._cut_grey(laid, sight, framing))

    def _cut_grey(self, picture: np.ndarray, sight: Sight, framing: Framing) -> np.ndarray:
        """The upright grey print, or what was made of it, as planes (C,h,w)."""
        # Both crops show the same, and are cut to one shape.
        aspect = sight.aspect * _shape(self._colour_box) / _shape(self._box)
        return area(picture.shape[:2], framing, box=self._box, aspect=aspect)(picture)

    def _sight(self, picture: Picture, partner: Picture | None) -> Sight:
        truth = picture.pixels[self._top : self._top + self.height, self._left : self._left + self.width]
        if partner is None:
            return Sight(picture.time, truth, None, None, None)
        grey = partner.pixels
        original = grey if self._left_over is None else set_upright(grey, self._left_over)
        lightness = self._laid_over(_grey_lightness()[grey])
        laid = self._laid_over(grey)
        return Sight(picture.time, truth, laid, lightness, original, number=partner.number, shape=self._grey_size)

    def _laid_over(self, grey: np.ndarray) -> np.ndarray:
        """The grey print's pixels, (h,w) or (h,w,3), where the true panel shows the same thing, bilinearly."""
        matrix, shrink = self._panel_to_grey, float(np.hypot(*self._panel_to_grey[:, 0]))
        if shrink > 1.25:  # a grey print much larger than the colour one: averaged first, since sampling would alias
            tall, wide = grey.shape[:2]
            small = (round(wide / shrink), round(tall / shrink))
            grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
            matrix = matrix * np.array([[small[0] / wide], [small[1] / tall]])
        # The transform counts from the edge of the first pixel, OpenCV from its centre.
        matrix = np.column_stack((matrix[:, :2], matrix[:, 2] + matrix[:, :2].sum(axis=1) / 2 - 0.5))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(grey, matrix, (self.width, self.height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _shape(box: Box) -> float:
    left, top, right, bottom = box
    return (right - left) / (bottom - top)


def _own_grey(
    time: float, rgb: np.ndarray, number: int, size: tuple[int, int], *, starts: bool = False, whole: bool = False
) -> Sight:
    """A picture that is its own grey print, in a panel of `size` (height, width)."""
    from kinemacolor.report.painting_kernels import grey_of  # numba takes half a second to import

    inside = inside_of(rgb.shape[:2], *size)
    shown = barred(rgb, inside, *size)
    grey, lightness = np.empty(size, np.uint8), np.empty(size, np.float32)
    lightnesses, greys = _luminance_tables()
    grey_of(np.ascontiguousarray(shown).reshape(len(shown), -1), _luminance_parts(), greys, lightnesses, grey, lightness)
    stored = {"shape": rgb.shape[:2], "whole": rgb if whole else None}
    return Sight(time, shown, grey, lightness, shown, starts, number, inside, **stored)


@functools.cache
def _luminance_parts() -> np.ndarray:
    """What each channel's 256 values add to the luminance, (3,256) float32, in steps."""
    values = torch.arange(256, dtype=torch.uint8)
    parts = []
    for channel in range(3):
        colours = torch.zeros(3, 1, 256, dtype=torch.uint8)
        colours[channel, 0] = values
        parts.append(_luminance_of(rgb_to_lab(colours)[0, 0].double()))
    # Half a step makes the truncation to whole numbers a rounding.
    return (torch.stack(parts) * (_STEPS - 1) + 0.5 / 3).float().numpy()


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
