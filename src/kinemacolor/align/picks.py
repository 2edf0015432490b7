"""A few whole pairs of frames, fetched by seeking instead of a second pass over both prints.

Seeking is trusted only as far as it can be checked: a frame is taken if its own presentation time is the one that the full
pass recorded, and pictures before the key frame that a seek lands on (open groups) are skipped. Both prints are read at
once, each from its beginning to its end whatever the order of the pairs, so that a group of pictures is decoded once; on
the way to a wanted picture, those that no other refers to are skipped. What cannot be found so is decoded from the start.

Frames are named by their place in the signature, which in a print with damaged pictures is not their number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from kinemacolor.media.decode import frames_of, pixels_of
from kinemacolor.media.probe import best_video, open_video

_LINES = 720  # taller pictures are reduced: memory, and nothing is gained
_PATIENCE = 600  # frames decoded after a seek before it is given up
_EARLIER = (0.0, 1.0, 6.0)  # seconds before the wanted frame at which it is sought, if not found there
_NEAR = 2.0  # seconds to a later frame that are decoded rather than leapt over where key frames are not known
_MANY = 3  # one group of this many may be left out before the film is decoded from its start for the rest
_SKIPPING = {"h264", "mpeg1video", "mpeg2video", "mpeg4", "vp8"}
"""Codecs whose pictures say for certain that no other refers to them (HEVC's do only within their layer)."""


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
    wanted: Sequence[Sequence[tuple[int, int]]],
) -> list[Pair]:
    """One pair for each of `wanted`, in that order; of its alternatives the one that is cheapest to reach.

    Pairs that cannot be had are left out. Files that cannot be sought are decoded anew.

    Args:
        grey_times, colour_times: presentation time of every frame, seconds from the stream's start, increasing.
        wanted: for each pair some alternatives (colour frame, grey frame), best first. Grey frames may go backwards.
    """
    with ThreadPoolExecutor(2) as pool:
        films = list(pool.map(_Film, (colour, grey), (colour_times, grey_times), ("rgb", "grey")))
        try:
            # Where keys are known, the fewest frames to decode; a stable sort keeps the best of equals first.
            ranked = [
                sorted(group, key=lambda pair: sum(f.cost(n) for f, n in zip(films, pair, strict=True))) for group in wanted
            ]
            chosen: list[tuple[int, int] | None] = [None] * len(ranked)
            for attempt in zip_longest(*ranked):
                asked = [pair for pair, have in zip(attempt, chosen, strict=True) if have is None and pair is not None]
                list(pool.map(_Film.fetch, films, ([pair[0] for pair in asked], [pair[1] for pair in asked])))
                for place, pair in enumerate(attempt):
                    if chosen[place] is None and pair is not None and all(n in f.found for f, n in zip(films, pair, strict=True)):
                        chosen[place] = pair
                if None not in chosen:
                    break
        finally:
            for film in films:
                film.close()
    missing = [group[0] for group, pair in zip(wanted, chosen, strict=True) if pair is None and len(group)]
    again = {}
    if len(missing) * _MANY > len(wanted):
        again = {(pair.colour_frame, pair.grey_frame): pair for pair in decode_pairs(grey, colour, pairs=missing)}
    pairs = []
    for group, pair in zip(wanted, chosen, strict=True):
        if pair is not None:
            pairs.append(Pair(pair[1], pair[0], films[1].found[pair[1]], films[0].found[pair[0]]))
        elif len(group) and tuple(group[0]) in again:
            pairs.append(again[tuple(group[0])])
    return pairs


def decode_pairs(grey: Path, colour: Path, *, pairs: list[tuple[int, int]]) -> list[Pair]:
    """These pairs (colour frame, grey frame) by sequential decoding, for files that cannot be sought; what is not there is left out.

    Raises:
        UserError: a file is no video.
    """
    with ThreadPoolExecutor(2) as pool:
        wanted = [{pair[0] for pair in pairs}, {pair[1] for pair in pairs}]
        colours, greys = pool.map(_decoded, (colour, grey), wanted, ("rgb", "grey"))
    return [Pair(g, c, greys[g], colours[c]) for c, g in pairs if c in colours and g in greys]


def _decoded(path: Path, wanted: set[int], kind: str) -> dict[int, NDArray[np.uint8]]:
    found, pixels, last = {}, _Pixels(kind), max(wanted, default=-1)
    if last < 0:
        return found
    for place, (_, _, frame) in enumerate(frames_of(path, allow_truncated=True)):
        if place in wanted:
            found[place] = pixels(frame)
        if place >= last:
            break
    return found


class _Pixels:
    """Turns a frame into upright pixels of at most `_LINES`."""

    def __init__(self, kind: str) -> None:
        self._grey = kind == "grey"
        self._converter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        pixels = pixels_of(self._converter, frame, self._grey, None)
        height, width = pixels.shape[:2]
        if height <= _LINES:
            return pixels
        return cv2.resize(pixels, (round(width * _LINES / height), _LINES), interpolation=cv2.INTER_AREA)


class _Film:
    """One print that is read at frames known by their times; `found` holds the pixels of those that were."""

    def __init__(self, path: Path, times: np.ndarray, kind: str) -> None:
        self.found: dict[int, NDArray[np.uint8]] = {}
        self._times = times
        self._pixels = _Pixels(kind)
        self._container: InputContainer = open_video(path)
        self._video: VideoStream = best_video(self._container)
        self._video.codec_context.thread_count = 1  # the other print has the other core
        self._origin = (self._video.start_time or 0) * self._video.time_base
        self._keys = self._key_frames()
        self._area = self._video.codec_context.width * self._video.codec_context.height

    def close(self) -> None:
        self._container.close()

    def cost(self, frame: int) -> float:
        """Pixels to be decoded to reach a frame from the key frame before it; 0 where keys are not known."""
        at = bisect_right(self._keys, frame)
        return float((frame - self._keys[at - 1]) * self._area) if at else 0.0

    def fetch(self, frames: Sequence[int]) -> None:
        """Add to `found` what can be had of these frames."""
        left = sorted({n for n in frames if 0 <= n < len(self._times)} - set(self.found))
        for early in _EARLIER:
            left = [n for n in left if n not in self.found]
            while left:
                left = self._read(left, early)

    def _read(self, frames: list[int], early: float) -> list[int]:
        """Seek to the first of `frames` and read on while the next is near; what is still to be tried of `frames`."""
        waiting = list(frames)
        for frame, here in self._frames_from(waiting[0], early, {self._stamp(n) for n in frames}):
            if here == waiting[0]:
                self.found[here] = self._pixels(frame)
            if here is not None and here >= waiting[0]:
                passed = bisect_right(waiting, here)
                # A frame that was passed without being met will not come.
                waiting = waiting[passed:]
                if not waiting or self._leap(here, waiting[0]):
                    return waiting
        return waiting[1:] if len(waiting) == len(frames) else waiting

    def _leap(self, here: int, there: int) -> bool:
        """Whether seeking anew saves decoding."""
        if self._keys:
            return bisect_right(self._keys, there) > bisect_right(self._keys, here)
        return self._times[there] - self._times[here] > _NEAR

    def _frames_from(self, first: int, early: float, stamps: set[int]) -> Iterator[tuple[VideoFrame, int | None]]:
        """Frames with their places, from the key frame at or before `first` on; None for a frame of unknown place."""
        video, context = self._video, self._video.codec_context
        skipping = context.name in _SKIPPING
        key_time, count = None, 0
        try:
            # Half a frame early would be another group; a hair late is rounded away.
            self._container.seek(max(self._stamp(first) - round(early / video.time_base), 0), stream=video)
            for packet in self._container.demux(video):
                context.skip_frame = "NONREF" if skipping and packet.pts is not None and packet.pts not in stamps else "DEFAULT"
                for frame in packet.decode():
                    count += 1
                    if frame.pts is None or frame.is_corrupt or count > _PATIENCE:
                        return
                    time = float(frame.pts * frame.time_base - self._origin)
                    if key_time is None and not frame.key_frame:
                        continue  # leading pictures of an open group lack what they refer to
                    key_time = time if key_time is None else key_time
                    yield frame, _place(self._times, time)
        except (av.error.FFmpegError, ValueError):
            return

    def _stamp(self, frame: int) -> int:
        return round((float(self._origin) + float(self._times[frame])) / self._video.time_base)

    def _key_frames(self) -> list[int]:
        """Places of the key frames as far as the container's index lists them, a few frames early where pictures are reordered."""
        try:
            stamps = [entry.timestamp for entry in self._video.index_entries if entry.is_keyframe]
        except (AttributeError, ValueError):
            return []
        base, origin = float(self._video.time_base), float(self._origin)
        places = np.searchsorted(self._times, np.array(stamps, np.float64) * base - origin - 1e-6)
        return sorted(set(places.tolist()))


def _place(times: np.ndarray, time: float) -> int | None:
    at = bisect_left(times, time - 1e-6)
    return at if at < len(times) and abs(times[at] - time) < 1e-6 else None
