"""A film's frames as they come: in the film's look, with what a network is shown of them.

Frames are exact (media/decode.py), each with its own time stamp. What a network sees is made from the planes: luma and chroma
are averaged over areas and become RGB afterwards, which is the same but for rounding, and a tenth of the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from torch import Tensor

from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.frames.cuts import CutDetector
from kinemacolor.frames.resize import area_weights
from kinemacolor.media.decode import frames_of, pixel_aspect
from kinemacolor.media.order import stamps_are_guessed
from kinemacolor.media.probe import best_video, open_video, truncated
from kinemacolor.media.stretch import frames_from
from kinemacolor.wholefilm.looks import Look, in_look, look_of, planes_of
from kinemacolor.wholefilm.paint_kernels import kernels

_LARGEST_SMALL = 1 << 22
"""Pixels that a network is shown at most."""
_FIELDS = (2, 3, 4, 5)  # ffmpeg's orders of two fields; 1 is a whole picture, and 0 unknown


@dataclass(frozen=True)
class Stream:
    """What a film says of its moving picture before any of it is decoded.

    Attributes:
        path: the file.
        index: the stream's place in it.
        base: seconds of a tick of its time stamps.
        origin: ticks of the first one.
        rate: frames a second, on average.
        aspect: width over height of a stored pixel.
        guessed: its frames have no time stamps of their own.
        fields: which of two fields is shown first, as ffmpeg numbers it; 0 if it has none, or says nothing.
    """

    path: Path
    index: int
    base: Fraction
    origin: int
    rate: Fraction
    aspect: Fraction
    guessed: bool
    fields: int = 0


def stream_of(path: Path) -> Stream:
    """Open a film and look at its stream.

    Raises:
        UserError: no video.
    """
    with open_video(path) as container:
        video = best_video(container)
        return Stream(
            path=path,
            index=video.index,
            base=video.time_base,
            origin=video.start_time or 0,
            rate=video.average_rate or video.guessed_rate or Fraction(25),
            aspect=Fraction(pixel_aspect(video)).limit_denominator(1 << 15),
            guessed=stamps_are_guessed(container, video),
            fields=order if (order := int(video.codec_context.field_order)) in _FIELDS else 0,
        )


@dataclass
class Sight:
    """One frame of a film, ready to be coloured.

    Attributes:
        number: in order of showing, as `decode` numbers them.
        place: how many frames came before it; the number but in a damaged film.
        stamp: when it is shown, in ticks.
        duration: ticks, 0 if the file does not say.
        frame: in the film's look.
        coloured: it has planes of chroma.
        low: (h,w) float32: its luminance as the network's picture is small, on 0 to 100.
        lightness: L* (1,h,w) float32, what the network is shown.
        starts: nothing before it belongs to it.
        shot: number and place of the first frame of its shot, for networks to which shots matter; else its own.
    """

    number: int
    place: int
    stamp: int
    duration: int
    frame: VideoFrame
    coloured: bool
    low: NDArray[np.float32]
    lightness: Tensor
    starts: bool = False
    shot: tuple[int, int] = (0, 0)


class Reader:
    """Reads a film for a network.

    Args:
        stream: the film.
        side: the shorter side of what the network was trained on, in pixels.
        cuts: whether shots matter to the network.
        allow_truncated: take what can be decoded of a damaged film.

    Attributes:
        look: the film's, when the first frame was read.
    """

    def __init__(self, stream: Stream, *, side: int, cuts: bool, allow_truncated: bool = False) -> None:
        self.stream, self._side, self._allow = stream, side, allow_truncated
        self._cuts = CutDetector() if cuts else None
        self.look: Look | None = None
        self._shrink: _Shrinker | None = None
        self._last: int | None = None
        self._shot = (0, 0)

    def sights(self, number: int = 0, place: int = 0, *, end: float = 0.0, until: float | None = None) -> Iterator[Sight]:
        """Every frame from `number` on, which is the `place`th, in order.

        Args:
            end: seconds at which the frame before it ends.
            until: seconds at which the film says that its last frame ends; asked for where decoding begins amid the film, since
                only a whole pass notices by itself that the end is missing.

        Raises:
            UserError: the film is damaged or cut off, and that is not allowed; frames of several sizes.
        """
        last, amid = number - 1, number > 0
        with contextlib.closing(self._frames(number)) as frames:
            for found, time, frame in frames:
                if amid and found != last + 1 and not self._allow:
                    raise truncated(self.stream.path, end)
                length = float((frame.duration or 0) * self.stream.base)
                yield self._sight(found, place, time, frame)
                last, place, end = found, place + 1, max(end, time + max(length, float(1 / self.stream.rate)))
        if amid and until is not None and not self._allow and end < until - 1.5 / float(self.stream.rate):
            raise truncated(self.stream.path, end)

    def _frames(self, first: int) -> Iterator[tuple[int, float, VideoFrame]]:
        """Number, seconds and frame, without what comes before `first`, which is not even decoded where the film can be sought in."""
        stream = self.stream
        if first and not stream.guessed:
            for number, frame in frames_from(stream.path, first):
                if frame.pts is None:
                    break
                yield number, float((frame.pts - stream.origin) * stream.base), frame
            else:
                return
        for number, time, frame in frames_of(stream.path, allow_truncated=self._allow):
            if number >= first:
                yield number, time, frame

    def _sight(self, number: int, place: int, time: float, frame: VideoFrame) -> Sight:
        stream = self.stream
        told = frame.pts is not None and not stream.guessed
        stamp = frame.pts if told else stream.origin + round(Fraction(time) / stream.base)
        if self._last is not None and stamp <= self._last:  # two frames of one time: no container holds them
            stamp = self._last + 1
        self._last = stamp
        if self.look is None:
            self.look = look_of(frame, stream.aspect, stream.path.name, fields=stream.fields)
        if self._shrink is None:
            self._shrink = _Shrinker(self.look, self._side)
        duration = frame.duration or 0
        frame, coloured = in_look(frame, self.look, stream.path.name)
        low, lightness = self._shrink(frame, coloured)
        starts = self._cuts is not None and bool(self._cuts(lightness[None])[0])
        if starts or self._cuts is None:
            self._shot = number, place
        return Sight(number, place, stamp, duration, frame, coloured, low, lightness, starts, self._shot)


def small_size(look: Look, side: int) -> tuple[int, int]:
    """Height and width at which a network is shown a film: the shorter side as in training, the shape as it is shown.

    Raises:
        UserError: the film is too long and narrow.
    """
    shown = look.width * float(look.aspect)
    scale = side / min(look.height, shown)
    small = max(1, round(look.height * scale)), max(1, round(shown * scale))
    if small[0] * small[1] > _LARGEST_SMALL:
        raise UserError(f"A film of {look.width}x{look.height} pixels is too long and narrow to be coloured.")
    return small


class _Shrinker:
    """Makes what a network is shown of frames of one look."""

    def __init__(self, look: Look, side: int) -> None:
        self._look, self.size = look, small_size(look, side)
        self._kernels = kernels(look.bits > 8)
        self._luma = [_runs(many, few) for many, few in zip((look.height, look.width), self.size, strict=True)]
        self._chroma = [_runs(many, few) for many, few in zip(look.chroma, self.size, strict=True)]

    def __call__(self, frame: VideoFrame, coloured: bool) -> tuple[NDArray[np.float32], Tensor]:
        """Luminance (h,w) on 0 to 100, and L* (1,h,w)."""
        look, planes = self._look, planes_of(frame)
        black, steps = look.luma_codes
        luma = (self._mean(*planes[0], self._luma) - np.float32(black)) * np.float32(1 / steps)
        rgb = np.empty((3, *self.size), np.float32)
        if coloured:
            middle, span = look.chroma_codes
            blue, red = ((self._mean(*plane, self._chroma) - np.float32(middle)) * np.float32(1 / span) for plane in planes[1:3])
            green = 1 - look.red - look.blue
            rgb[0] = luma + np.float32(2 * (1 - look.red)) * red
            rgb[1] = luma - np.float32(2 * look.red * (1 - look.red) / green) * red
            rgb[1] -= np.float32(2 * look.blue * (1 - look.blue) / green) * blue
            rgb[2] = luma + np.float32(2 * (1 - look.blue)) * blue
        else:
            rgb[:] = luma
        # In 8 bits, as the frames that a network is trained on.
        steps_of_eight = np.clip(rgb * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
        return luma * np.float32(100), rgb_to_lab(torch.from_numpy(steps_of_eight))[:1]

    def _mean(self, plane: NDArray, width: int, sides: list) -> NDArray[np.float32]:
        out = np.empty(self.size, np.float32)
        self._kernels.shrink(plane, *sides[0], *sides[1], width, out, 0, self.size[0])
        return out


def _runs(many: int, few: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each of `few` samples, the first of `many` that it is a mean of, how many, and their weights."""
    weights = area_weights(many, 0, many, few)
    carries = weights > 0
    first = carries.argmax(axis=1)
    count = carries.sum(axis=1)
    places = np.minimum(first[:, None] + np.arange(count.max()), many - 1)
    return first, count, np.take_along_axis(weights, places, axis=1).astype(np.float32)
