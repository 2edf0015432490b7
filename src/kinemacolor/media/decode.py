"""Pictures of a video, exact: every wanted frame of a full sequential decode, with its own presentation time.

Decoding from the start is the one way that is right for every stream. Seeking lands a few frames off where groups of
pictures are open, and filters that resample time (`fps=`) are half a step late. Frames that nobody asked for are decoded,
since others refer to them, but never converted.

The conversion to RGB follows the stream's own tags. swscale's defaults do not: they read an untagged high-definition
film by BT.601, and they turn grey by way of another matrix, so both are said here explicitly. Interlaced pictures are woven
as they are stored; the chroma of those that are marked so is converted field by field.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from kinemacolor.media.nals import Joints
from kinemacolor.media.order import Order, Seam, Times, begins_closed, is_shown, stamps_are_guessed, take_head
from kinemacolor.media.probe import Extent, best_video, open_video, truncated
from kinemacolor.media.salvage import STRICT, BadRange, Given, salvage, tell_of_damage

_SCALING = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
# ITU-T H.273's matrix coefficients, which frames carry, to swscale's own numbers.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


class Picture(NamedTuple):
    """One frame of a video."""

    number: int
    """Position in presentation order; the first frame that is shown is 0."""
    time: float
    """Its own presentation time minus the video stream's start time, in seconds."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, or (H, W) luma; full range, 0 to 255; contiguous and the caller's own."""
    pixel_aspect: float = 1.0
    """Width over height of one pixel as it is shown: 1 for square ones, 1.067 for a DVD of 4:3 in PAL."""


def decode(
    path: Path,
    *,
    every: int = 1,
    first: int = 0,
    start: float = 0.0,
    end: float | None = None,
    grey: bool = False,
    size: tuple[int, int] | None = None,
    wanted: Set[int] | None = None,
    allow_truncated: bool = False,
    on_bad_range: BadRange | None = None,
) -> Iterator[Picture]:
    """Yield the wanted frames in presentation order.

    A frame is wanted if its number leaves the same remainder by `every` as `first`, is not below `first`, and
    start <= time < end.

    Args:
        every: one frame of this many.
        first: number of the first frame that may be wanted.
        start: seconds.
        end: seconds; None for the end of the film. Nothing past it is read.
        grey: luma as the stream stores it, stretched to the full range, instead of RGB.
        size: (height, width) to which swscale averages areas while it converts; the frame's own if None.
        wanted: further restricts the numbers to these, and nothing past the last of them is read.
        allow_truncated: take what can be decoded of a cut-off or damaged file: every picture that no known damage can have
            reached, under its own number and time (see salvage.py).
        on_bad_range: is told, with begin and end in seconds, of every range before `end` whose pictures are left out for damage,
            in order, when what follows it is found. A log line says the same.

    Raises:
        UserError: no video; or the file breaks off or is damaged before `end`, with its last good time.
    """
    last_wanted = max(wanted, default=-1) if wanted is not None else None
    converter = VideoReformatter()
    with open_video(path) as container:
        aspect = pixel_aspect(best_video(container))
        frames = _frames_in(
            path, container, end=end, last=last_wanted, allow_truncated=allow_truncated, on_bad_range=on_bad_range
        )
        for number, time, frame in frames:
            if number >= first and number % every == first % every and time >= start and (wanted is None or number in wanted):
                yield picture_of(converter, number, time, frame, aspect, grey=grey, size=size)


def frames_of(
    path: Path,
    *,
    end: float | None = None,
    last: int | None = None,
    allow_truncated: bool = False,
    threads: int = 0,
    options: Mapping[str, str] | None = None,
    on_damage: Callable[[], None] | None = None,
    on_bad_range: BadRange | None = None,
) -> Iterator[tuple[int, float, VideoFrame]]:
    """The pictures of `decode` before they are converted: number, time in seconds and the decoder's own frame, in order.

    Args:
        end, allow_truncated: as for `decode`.
        last: number after which nothing is read.
        threads: of the decoder; 0 for as many as there are cores. H.264 gets one under `allow_truncated` without `on_damage`,
            since of several, which damaged pictures are noticed in time is a matter of chance.
        options: further options of the decoder, in ffmpeg's names.
        on_damage: called once, when the decoder first fails or owns to a damaged picture, and may raise. When that is
            depends on the number of threads; and so may, in H.264, which pictures come before it.
        on_bad_range: as for `decode`.

    Raises:
        UserError: as `decode`.
    """
    with open_video(path) as container:
        yield from _frames_in(
            path,
            container,
            end=end,
            last=last,
            allow_truncated=allow_truncated,
            threads=threads,
            options=options,
            on_damage=on_damage,
            on_bad_range=on_bad_range,
        )


def _frames_in(
    path: Path,
    container: InputContainer,
    *,
    end: float | None,
    last: int | None,
    allow_truncated: bool,
    threads: int = 0,
    options: Mapping[str, str] | None = None,
    on_damage: Callable[[], None] | None = None,
    on_bad_range: BadRange | None = None,
) -> Iterator[tuple[int, float, VideoFrame]]:
    """`frames_of` an opened film."""
    video = best_video(container)
    video.thread_type = "FRAME"
    # Of several threads, H.264's own may tell of a damaged picture when those that lean on it are out already.
    alone = allow_truncated and on_damage is None and video.codec_context.codec.canonical_name == "h264"
    video.codec_context.thread_count = 1 if alone else threads
    extent = Extent(container, video)
    times, order = Times(path, container, video), Order(trusted=not stamps_are_guessed(container, video))
    given: Given | None = None
    seam, joints = Seam(container), Joints(video)
    number, position, torn = -1, -1, False
    packets = container.demux()
    head = list(take_head(packets, video))
    video.codec_context.options = (STRICT if begins_closed(head, video) else {}) | dict(options or {})
    for packet in itertools.chain(head, packets):
        extent.add(packet)
        torn = seam.torn_before(packet) or torn or (packet.size == 0 and seam.lost_end(extent))
        if packet.stream.index != video.index:  # the last packets, which are empty, all say 0 of themselves
            continue
        position += 1
        if torn:
            order.tear(position)
            torn = False
        drains, skipped = joints.meet(packet)
        if is_shown(packet, video) and not skipped:
            times.add(packet)
            order.add(packet, position)
        frames, damaged = [], packet.is_corrupt
        try:
            frames = [*(_drained(video) if drains else ()), *packet.decode()]
        except av.error.FFmpegError:
            damaged = True
        for frame in frames:
            order.place(frame)
            damaged = damaged or frame.is_corrupt
        free = list(order.free(all_of_them=packet.size == 0))
        if damaged or order.lost is not None:
            if on_damage:
                on_damage()
            yield from salvage(
                path,
                given=given,
                end=end,
                last=last,
                allow_truncated=allow_truncated,
                options=options,
                on_bad_range=on_bad_range,
            )
            return
        for _, frame in free:
            number += 1
            time = times.of(frame)
            if (end is not None and time >= end) or (last is not None and number > last):
                return
            yield number, time, frame
            given = Given(number, frame.pts, time + float(1 / extent.frame_rate), order.apart)
    # Who asked only for what lies before the break has got all of it.
    until = extent.last_good_time
    if until is not None and (end is None or until < end):
        if not allow_truncated:
            raise truncated(path, until)
        until = max(until, given.end if given else 0.0)
        tell_of_damage(path, until, max(until, extent.promised), on_bad_range)


def _drained(video: VideoStream) -> list[VideoFrame]:
    """The pictures that still wait in the decoder, which is then ready for an entrance."""
    nothing = Packet()
    nothing.stream = video
    nothing.time_base = video.time_base
    frames = video.decode(nothing)
    video.codec_context.flush_buffers()
    return frames


def pixel_aspect(video: VideoStream) -> float:
    """Width over height of a stored pixel, before any rotation; 1 where nothing says. The container's word goes first."""
    return float(video.sample_aspect_ratio or 1)


def picture_of(
    converter: VideoReformatter,
    number: int,
    time: float,
    frame: VideoFrame,
    aspect: float,
    *,
    grey: bool = False,
    size: tuple[int, int] | None = None,
) -> Picture:
    """One of `frames_of` as `decode` gives it; `aspect` is the stream's `pixel_aspect`."""
    pixels = pixels_of(converter, frame, grey, size)
    return Picture(number, time, pixels, 1 / aspect if frame.rotation % 180 else aspect)


def pixels_of(converter: VideoReformatter, frame: VideoFrame, grey: bool, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Convert one frame, upright, to (H, W, 3) RGB or (H, W) luma, of `size` (height, width) or its own; see `decode`."""
    turned = frame.rotation % 180 != 0
    height, width = size or ((frame.width, frame.height) if turned else (frame.height, frame.width))
    if turned:
        height, width = width, height
    # Luma needs no matrix: naming the same one twice keeps swscale from going through RGB.
    matrix = Colorspace.ITU601 if grey else matrix_of(frame)
    full = is_full_range(frame)
    converted = converter.reformat(
        frame,
        width=width,
        height=height,
        format="gray" if grey else "rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_SCALING,
        threads=1,
    )
    pixels = converted.to_ndarray()
    # ffmpeg counts the turn anticlockwise, as numpy does. The copy makes turned pixels contiguous.
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))) if frame.rotation else pixels


def is_full_range(frame: VideoFrame) -> bool:
    """Whether black is 0 and white the highest number, not 16 and 235."""
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj") or frame.format.is_rgb


def matrix_of(frame: VideoFrame) -> Colorspace:
    """The frame's tagged matrix; untagged, what players assume: BT.709 from 720 lines up, BT.601 below."""
    guess = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    return _MATRICES.get(int(frame.colorspace), guess)
