"""Pictures of a video, exact: every wanted frame of a full sequential decode, with its own presentation time.

Decoding from the start is the one way that is right for every stream. Seeking lands a few frames off where groups of
pictures are open, and filters that resample time (`fps=`) are half a step late. Frames that nobody asked for are decoded,
since others refer to them, but never converted.

The conversion to RGB follows the stream's own tags. swscale's defaults do not: they read an untagged high-definition
film by BT.601, and they turn grey by way of another matrix, so both are said here explicitly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.media.probe import Extent, best_video, open_video, truncated

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
        allow_truncated: take what can be decoded of a cut-off or damaged file. Pictures known to be damaged are left out.

    Raises:
        UserError: no video; or the file breaks off or is damaged before `end`, with its last good time.
    """
    last_wanted = max(wanted, default=-1) if wanted is not None else None
    converter = VideoReformatter()
    for number, time, frame in frames_of(path, end=end, last=last_wanted, allow_truncated=allow_truncated):
        if number >= first and number % every == first % every and time >= start and (wanted is None or number in wanted):
            yield Picture(number, time, pixels_of(converter, frame, grey, size))


def frames_of(
    path: Path,
    *,
    end: float | None = None,
    last: int | None = None,
    allow_truncated: bool = False,
    threads: int = 0,
    options: Mapping[str, str] | None = None,
    on_damage: Callable[[], None] | None = None,
) -> Iterator[tuple[int, float, VideoFrame]]:
    """The pictures of `decode` before they are converted: number, time in seconds and the decoder's own frame, in order.

    Args:
        end, allow_truncated: as for `decode`.
        last: number after which nothing is read.
        threads: of the decoder; 0 for as many as there are cores.
        options: further options of the decoder, in ffmpeg's names.
        on_damage: called when the decoder fails or owns to a damaged picture, and may raise. Which pictures those are
            depends on the number of threads; without damage, nothing does.

    Raises:
        UserError: as `decode`.
    """
    with open_video(path) as container:
        video = best_video(container)
        video.thread_type = "FRAME"
        video.codec_context.thread_count = threads
        video.codec_context.options = dict(options or {})
        extent = Extent(container, video)
        origin = (video.start_time or 0) * video.time_base
        number, last_good = -1, 0.0

        # A damaged packet may yield nothing, raise, or give a picture patched from its neighbours.
        for packet in container.demux():
            extent.add(packet)
            if packet.stream_index != video.index:
                continue
            try:
                frames = [] if packet.is_corrupt else packet.decode()
            except av.error.FFmpegError as error:
                if on_damage:
                    on_damage()
                if not allow_truncated:
                    raise truncated(path, last_good) from error
                continue
            for frame in frames:
                number += 1
                time = _time(path, frame, origin)
                if (end is not None and time >= end) or (last is not None and number > last):
                    return
                if frame.is_corrupt and on_damage:
                    on_damage()
                if frame.is_corrupt or extent.breaks_before(time):
                    if not allow_truncated:
                        raise truncated(path, last_good)
                    if frame.is_corrupt:
                        continue
                yield number, time, frame
                last_good = time + float(1 / extent.frame_rate)
        # Who asked only for what lies before the break has got all of it.
        until = extent.last_good_time
        if until is not None and (end is None or until < end) and not allow_truncated:
            raise truncated(path, until)


def _time(path: Path, frame: VideoFrame, origin: object) -> float:
    """Seconds from the start of the stream, rounded once from the exact fraction."""
    if frame.pts is None:
        raise UserError(f"{path} has frames without presentation times: put it into an mkv or mp4 first (ffmpeg -c copy).")
    return float(frame.pts * frame.time_base - origin)


def pixels_of(converter: VideoReformatter, frame: VideoFrame, grey: bool, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Convert one frame, upright, to (H, W, 3) RGB or (H, W) luma, of `size` (height, width) or its own; see `decode`."""
    turned = frame.rotation % 180 != 0
    height, width = size or ((frame.width, frame.height) if turned else (frame.height, frame.width))
    if turned:
        height, width = width, height
    # Luma needs no matrix: naming the same one twice keeps swscale from going through RGB.
    matrix = Colorspace.ITU601 if grey else _matrix(frame)
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj") or frame.format.is_rgb
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


def _matrix(frame: VideoFrame) -> Colorspace:
    """The frame's tagged matrix; untagged, what players assume: BT.709 from 720 lines up, BT.601 below."""
    guess = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    return _MATRICES.get(int(frame.colorspace), guess)
