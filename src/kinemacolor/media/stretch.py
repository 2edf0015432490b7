"""A stretch of a film without decoding all that comes before it: the very pictures that `decode` gives, found by seeking.

Seeking is trusted only as far as it is checked. One pass over the packets, which decodes nothing, lists every picture's
time and so its number. Decoding starts one key picture earlier than need be, so that whatever refers across the border of
an open group has what it refers to, and so that a whole group can be compared with the list before anything is given
out. Where the list and the pictures disagree, the film is decoded from its start.
"""

from __future__ import annotations

import functools
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Set
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from kinemacolor.errors import UserError
from kinemacolor.media.decode import Picture, decode, frames_of, picture_of, pixel_aspect
from kinemacolor.media.nals import Joints
from kinemacolor.media.order import Order, begins_closed, is_shown, stamps_are_guessed, take_head
from kinemacolor.media.probe import Probe, best_video, open_video
from kinemacolor.media.salvage import STRICT

_LATE = 0.25  # seconds: AVI files whose frames lean on later ones begin a frame or two after their own zero


class _Damaged(Exception):
    """What follows is for the full decode to judge."""


def decode_stretch(
    path: Path, *, start: float, end: float, grey: bool = False, wanted: Set[int] | None = None
) -> Iterator[Picture]:
    """Every frame with start <= time < end, as `decode(path, start=start, end=end, grey=grey, allow_truncated=True)`.

    Args:
        wanted: only these numbers; the others are decoded but not converted.

    Raises:
        UserError: no video.
    """
    stat = path.stat() if path.exists() else None
    stamps, keys, origin, base = _listed(path, (stat.st_mtime_ns, stat.st_size) if stat else None)
    before = bisect_right(keys, start, key=lambda stamp: float(stamp * base - origin))
    frames = _from_key(path, stamps, keys[before - 2], start, origin, base) if before >= 2 else None
    first = next(frames, None) if frames is not None else None
    if first is None:
        yield from decode(path, start=start, end=end, grey=grey, wanted=wanted, allow_truncated=True)
        return
    converter = VideoReformatter()
    with open_video(path) as container:
        aspect = pixel_aspect(best_video(container))
    number = -1
    try:
        while first is not None:
            number, frame = first
            time = float(frame.pts * frame.time_base - origin)
            if time >= end:
                return
            if wanted is None or number in wanted:
                yield picture_of(converter, number, time, frame, aspect, grey=grey)
            first = next(frames, None)
    except _Damaged:
        for picture in decode(path, start=start, end=end, grey=grey, wanted=wanted, allow_truncated=True):
            if picture.number > number:
                yield picture


def frames_from(path: Path, first: int) -> Iterator[tuple[int, VideoFrame]]:
    """Number and frame of every frame from `first` on that can be decoded, numbered as `decode` does and not converted.

    Damaged frames are left out. Nothing is listed for `first` 0.

    Raises:
        UserError: no video.
    """
    path = Path(path)
    stat = path.stat() if first > 0 and path.exists() else None
    given = -1
    if stat is not None:
        stamps, keys, origin, base = _listed(path, (stat.st_mtime_ns, stat.st_size))
        before = bisect_right(keys, stamps[first]) if keys and first < len(stamps) else 0
        if before >= 2:
            start = float(stamps[first] * base - origin)
            try:
                for given, frame in _from_key(path, stamps, keys[before - 2], start, origin, base):
                    yield given, frame
                if given >= 0:  # otherwise the list was wrong, and nothing was given
                    return
            except _Damaged:
                pass
    for number, _, frame in frames_of(path, allow_truncated=True):
        if number >= first and number > given:
            yield number, frame


def even_rate(path: Path, found: Probe) -> tuple[int, Fraction]:
    """How many whole frames a film has, and the rate at which frame k stands k / rate seconds after the first.

    Of a truncated film only the frames before its last good time count. A film whose packets have no time stamps is taken at
    its word.

    Args:
        found: what `probe` says of it.

    Raises:
        UserError: the time stamps leave every rate that the file names by more than half a frame.
    """
    stat = path.stat()
    listed, _, origin, base = _listed(path, (stat.st_mtime_ns, stat.st_size))
    frames = found.frames
    times = np.array([float(stamp * base - origin) for stamp in listed])
    if found.last_good_time is not None:
        times = times[times < found.last_good_time]
        frames = min(frames, len(times) or frames)
    if len(times) and abs(times[0]) <= _LATE:
        times = times - times[0]
    with open_video(path) as container:
        guessed = best_video(container).guessed_rate
    # A head's average counts the last frame's length, which many files have wrong; an average of milliseconds drifts.
    rates = [Fraction(rate) for rate in (found.frame_rate, guessed) if rate]
    off = [np.abs(times * float(rate) - np.arange(len(times))).max(initial=0).round(2) for rate in rates]
    if min(off) <= 0.5:
        return frames, rates[int(np.argmin(off))]
    raise UserError(
        f"{path} has a variable frame rate, so that no recipe could say which of its frames stands when: bring it to an even "
        f"one first (ffmpeg -i FILM -fps_mode cfr -r {float(found.frame_rate):.3f} EVEN.mp4)."
    )


@functools.lru_cache(4)
def _listed(path: Path, _version: tuple[int, int] | None) -> tuple[list[int], list[int], object, object]:
    """Time stamps of all pictures and of the key pictures, in order, the stream's origin in seconds, and its time base.

    A print whose reels are in another order is read in many stretches; its packets are listed once, as long as the file has
    the same `_version`.

    No key pictures are named where packets do not tell pictures: without stamps, with equal ones, or damaged.
    """
    with open_video(path) as container:
        video = best_video(container)
        base = video.time_base
        origin = (video.start_time or 0) * base
        stamps, keys, guessed = [], [], stamps_are_guessed(container, video)
        joints = Joints(video)
        for packet in container.demux(video):
            _, skipped = joints.meet(packet)
            if skipped or not is_shown(packet, video):
                continue
            if packet.pts is None or packet.is_corrupt or guessed:
                return [], [], origin, base
            stamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    stamps.sort()
    trusted = all(one < other for one, other in pairwise(stamps))
    return stamps, sorted(keys) if trusted else [], origin, base


def _from_key(
    path: Path, stamps: list[int], key: int, start: float, origin: object, base: object
) -> Iterator[tuple[int, VideoFrame]]:
    """Numbered frames from `start` on, decoded from the picture stamped `key`; none if these are not the pictures listed.

    Raises:
        _Damaged: after the first of them, where pictures are damaged or others than those listed.
    """
    with open_video(path) as container:
        video = best_video(container)
        video.thread_type = "FRAME"
        number, given, order = bisect_left(stamps, key), False, Order()
        try:
            container.seek(key, stream=video)
            packets = container.demux(video)
            head = list(take_head(packets, video))
            video.codec_context.options = dict(STRICT) if begins_closed(head, video) else {}
            for position, packet in enumerate(itertools.chain(head, packets)):
                if is_shown(packet, video):
                    order.add(packet, position)
                for frame in packet.decode():
                    if frame.pts is not None and frame.pts < key:  # leads an open group whose other half was not read
                        continue
                    order.place(frame)
                    if frame.is_corrupt or packet.is_corrupt or order.lost is not None:
                        raise _Damaged
                for _, frame in order.free(all_of_them=packet.size == 0):
                    if number >= len(stamps) or frame.pts != stamps[number] or frame.time_base != base:
                        raise _Damaged
                    if float(frame.pts * frame.time_base - origin) >= start:
                        yield number, frame
                        given = True
                    number += 1
            if number == len(stamps):
                return
        except _Damaged:
            pass
        except av.error.FFmpegError:
            pass
        if given:
            raise _Damaged
