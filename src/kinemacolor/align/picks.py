"""A few whole pairs of frames, fetched by seeking instead of a second pass over both prints.

Seeking is trusted only as far as it can be checked: a frame is taken if its own presentation time is one that the full
pass recorded, and pictures before the key frame that a seek lands on (open groups) are skipped. What cannot be found so
is left out; a file that cannot be sought at all gives no pairs, and the caller decodes instead.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from kinemacolor.media.decode import Picture, decode
from kinemacolor.media.probe import best_video, open_video

_LINES = 720  # taller pictures are reduced: memory, and nothing is gained
_PATIENCE = 400  # frames decoded after a seek before it is given up


class Pair(NamedTuple):
    """One moment in both prints.

    `grey` (H, W) and `colour` (H, W, 3) RGB are uint8, at most 720 lines, each with the whole picture of its print.
    """

    grey_frame: int
    colour_frame: int
    grey: NDArray[np.uint8]
    colour: NDArray[np.uint8]


def pick_pairs(
    grey: Path,
    colour: Path,
    *,
    grey_times: np.ndarray,
    colour_times: np.ndarray,
    offset: int,
    bins: list[range],
    good: Callable[[int], bool],
) -> list[Pair]:
    """One pair from each stretch of colour frames: the first key frame that is good, and its partner.

    Args:
        grey_times, colour_times: presentation time of every frame, seconds from the stream's start, increasing.
        offset: grey frame minus colour frame.
        bins: stretches of colour frames, in order.
        good: says of a colour frame whether it has something to show.
    """
    pairs = []
    with open_video(colour) as colour_film, open_video(grey) as grey_film:
        for stretch in bins:
            found = _key_frame(colour_film, colour_times, stretch, good)
            if found is None:
                continue
            partner = _frame_at(grey_film, grey_times, found[0] + offset)
            if partner is not None:
                pairs.append(Pair(found[0] + offset, found[0], _pixels(partner, "gray"), _pixels(found[1], "rgb24")))
    return pairs


def decode_pairs(grey: Path, colour: Path, *, offset: int, frames: list[int]) -> list[Pair]:
    """The pairs of these colour frames by sequential decoding, for files that cannot be sought."""
    colours = {p.number: _small(p.pixels) for p in decode(colour, wanted=set(frames), allow_truncated=True)}
    partners: Iterator[Picture] = decode(grey, grey=True, wanted={n + offset for n in frames}, allow_truncated=True)
    greys = {p.number: _small(p.pixels) for p in partners}
    return [Pair(n + offset, n, greys[n + offset], colours[n]) for n in frames if n in colours and n + offset in greys]


def _key_frame(
    film: InputContainer, times: np.ndarray, stretch: range, good: Callable[[int], bool]
) -> tuple[int, VideoFrame] | None:
    """The first good frame that a seek into the stretch comes upon."""
    wanted = next((n for n in stretch if good(n)), None)
    if wanted is None:
        return None
    for frame, number in _frames_from(film, times, wanted):
        if number is not None and number in stretch and good(number):
            return number, frame
        if number is None or number >= stretch.stop:
            return None
    return None


def _frame_at(film: InputContainer, times: np.ndarray, number: int) -> VideoFrame | None:
    """Exactly this frame, or None."""
    for frame, here in _frames_from(film, times, number):
        if here == number:
            return frame
        if here is None or here > number:
            return None
    return None


def _frames_from(film: InputContainer, times: np.ndarray, number: int) -> Iterator[tuple[VideoFrame, int | None]]:
    """Frames with their numbers, from the key frame at or before `number` on; the number is None where it is unknown."""
    video = best_video(film)
    origin = (video.start_time or 0) * video.time_base
    key_time = None
    try:
        # Half a frame early would be another group; a hair late is rounded away.
        film.seek(int((origin + float(times[number])) / video.time_base), stream=video)
        for count, frame in enumerate(film.decode(video)):
            if frame.pts is None or frame.is_corrupt or count > _PATIENCE:
                return
            time = float(frame.pts * frame.time_base - origin)
            if key_time is None and not frame.key_frame:
                continue  # leading pictures of an open group lack what they refer to
            key_time = time if key_time is None else key_time
            yield frame, _number(times, time)
    except (av.error.FFmpegError, ValueError):
        return


def _number(times: np.ndarray, time: float) -> int | None:
    at = bisect_left(times, time - 1e-6)
    return at if at < len(times) and abs(times[at] - time) < 1e-6 else None


def _pixels(frame: VideoFrame, pixel_format: str) -> NDArray[np.uint8]:
    pixels = _small(frame.to_ndarray(format=pixel_format))
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))) if frame.rotation else pixels


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if height <= _LINES:
        return pixels
    return cv2.resize(pixels, (round(width * _LINES / height), _LINES), interpolation=cv2.INTER_AREA)
