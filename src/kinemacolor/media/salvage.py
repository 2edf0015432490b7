"""What is good of a damaged film: every picture that no damage can have reached, under the number and time it has in the film.

A damaged picture spoils all that lean on it, and decoders tell only of the first: those after it come out whole and wrong.
So everything decoded after the damage is left out up to the next key picture, where the decoder starts anew; in H.264 those
count that are whole at once, not those from which a film is refreshed strip by strip. What still waits in the decoder when it
fails is decoded once more up to the packet before, since H.264's decoder drops the picture that it was about to give. Numbers are
those of the packets' time stamps, since damaged pictures are in the container's list even when they cannot be decoded; what
is lost from the list as well is counted by the time that it left empty.

What is told is what the decoder or the container notices. VP8, VP9, AV1 and HEVC have no checksums: damage that can still be
read as a picture is one. After damage in a film without presentation times (H.264 in AVI) nothing is certain, and the rest
of it is left out.

Decoding is by one thread, so that it is certain which packet the decoder complained of; `decode` comes here only when it
has met damage.
"""

from __future__ import annotations

import functools
import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinemacolor.media.nals import Joints, recovers_late
from kinemacolor.media.order import Order, Seam, begins_closed, is_shown, stamps_are_guessed
from kinemacolor.media.probe import Extent, best_video, open_video, truncated

_log = logging.getLogger(__name__)

STRICT = {"err_detect": "explode"}
"""The decoder's option to refuse a damaged picture rather than guess at it, often without a word."""

_REORDERED = 8  # pictures: how far from the place of its packet a picture may be shown
_LAG = 4  # packets: MPEG transport streams tell of what they lost a little early

BadRange = Callable[[float, float], None]
"""Is told of a range of a film whose pictures are missing: begin and end in seconds from the start of the stream."""


class Given(NamedTuple):
    """The last picture that was given out before damage was met."""

    number: int
    stamp: int | None
    end: float
    """Seconds."""
    apart: int | None = None
    """The distance of two pictures in ticks, if fields come in packets of their own."""


@dataclass(frozen=True)
class Listing:
    """The packets of a film, as far as they can be read."""

    stamps: list[int]
    """Presentation times of all shown pictures, sorted, in the stream's time base; repeated ones as often as they stand."""
    numbers: list[int]
    """The number of each of them; they go up by more than one where the container lost packets."""
    keys: list[tuple[int, int]]
    """Position in the stream and presentation time of every key packet from which on pictures are whole, in decoding order."""
    closed: bool
    """Whether the film's beginning lacks nothing; see `begins_closed`."""
    torn: set[int]
    """Positions before which packets are missing from the file."""
    origin: Fraction
    base: Fraction
    told: bool
    """Whether packets tell their pictures, having presentation times of their own."""
    step: float
    """Seconds that a picture is shown on average."""
    length: float
    """Seconds that the film has or promised to have."""
    ends_early: bool
    """Whether the file ends before it should."""

    def seconds(self, stamp: int) -> float:
        """A time stamp in seconds from the start of the stream, rounded once."""
        return float(stamp * self.base - self.origin)


def _listed(path: Path, *, apart: int | None = None) -> Listing:
    """Read all packets of a film; of fields that are `apart`, the first of each picture."""
    with open_video(path) as container:
        video = best_video(container)
        extent = Extent(container, video)
        guessed = stamps_are_guessed(container, video)
        is_h264 = video.codec_context.codec.canonical_name == "h264"
        stamps: list[int] = []
        keys: list[tuple[int, int]] = []
        seam, joints, torn_now = Seam(container), Joints(video), False
        torn: dict[int, int] = {}
        head: list[Packet] = []
        position = -1
        for packet in container.demux():
            extent.add(packet)
            torn_now = seam.torn_before(packet) or torn_now
            if packet.stream_index != video.index or packet.size == 0:
                continue
            position += 1
            _, skipped = joints.meet(packet)
            if torn_now and packet.pts is not None:
                torn[position] = packet.pts
                torn_now = False
            if position < 2:
                head.append(packet)
            if packet.pts is None:  # the second field of a picture, if these are not all so
                continue
            if is_shown(packet, video) and not skipped:
                stamps.append(packet.pts)
            if packet.is_keyframe and not (keys and is_h264 and recovers_late(packet, video)):
                keys.append((position, packet.pts))
        stamps.sort()
        if apart:
            stamps = _spaced(stamps, apart)
        told = not guessed and len(stamps) > position // 3
        # Leading pictures of the first key picture lean on what is not in the file: the first that is shown has number 0.
        # Recordings begin anywhere; in a file that was written as one, a first packet that is no key picture lost its mark.
        written = seam.knows or extent.lists_all
        leading = bisect_left(stamps, keys[0][1]) if keys and not (written and keys[0][0]) else 0
        if seam.lost_end(extent) and stamps:
            torn[position + 1] = stamps[-1] + 1
        torn, lost = _lost(np.array(stamps), torn if seam.knows else None, whole=extent.lists_all)
        numbers = (np.arange(len(stamps)) - leading + lost).tolist()
        origin = (video.start_time or 0) * video.time_base
        return Listing(
            stamps=stamps,
            numbers=numbers,
            keys=keys,
            closed=begins_closed(head, video),
            torn=torn,
            origin=origin,
            base=video.time_base,
            told=told,
            step=float(apart * video.time_base if apart else 1 / extent.frame_rate),
            length=max(extent.end, extent.promised),
            ends_early=extent.ends_early,
        )


def _spaced(stamps: list[int], step: int) -> list[int]:
    """Those of the sorted stamps that lie whole steps apart; second fields lie between them."""
    kept = stamps[:1]
    for stamp in stamps[1:]:
        steps = (stamp - kept[-1]) / step
        if round(steps) >= 1 and abs(steps - round(steps)) < 0.3:
            kept.append(stamp)
    return kept


def _lost(stamps: np.ndarray, torn: dict[int, int] | None, *, whole: bool) -> tuple[set[int], np.ndarray]:
    """Which of the torn places lack pictures, and how many pictures the container lost before each of those stamped (N,).

    Where the container tells of its torn places, holes in time there are filled at the film's average rate: all of them in a
    film of an even rate, the longest in others. Where it does not tell, all holes of a film of an even rate are filled.

    Args:
        torn: time stamp by position of the packets before which bytes are missing; None if the container does not tell.
        whole: the container lists all its packets, so that none are lost.
    """
    steps = np.diff(stamps)
    lost = np.zeros(len(stamps), np.int64)
    if whole or len(steps) < 8:
        return set(), lost
    middle = np.median(steps)
    holes = np.flatnonzero(steps > 1.7 * middle)
    # A hole lies where packets are shown that were decoded shortly before; more than one if pictures between the lost ones are left.
    places = {position: np.searchsorted(stamps, stamp) for position, stamp in (torn or {}).items()}
    beside = {position: holes[np.abs(holes + 1 - place) <= _REORDERED] for position, place in places.items()}
    near = np.abs(steps - middle) <= 1  # stamps round to one tick, which in Matroska is a millisecond
    sound = np.ones(len(steps), bool)
    for some in beside.values():
        sound[some] = False
    even = near.sum() > 0.9 * sound.sum()
    usual = np.mean(steps[near]) if even else np.mean(steps)
    if torn is None:
        for hole in holes if even else ():
            lost[hole + 1] = max(0, round(steps[hole] / usual) - 1)
        return set(), np.cumsum(lost)
    for some in beside.values():
        # Where the rate is uneven, only the longest is certain to be a hole.
        for hole in some if even or not len(some) else some[[np.argmax(steps[some])]]:
            lost[hole + 1] = max(1, round(steps[hole] / usual) - 1)
    lacking = {position for position, some in beside.items() if len(some)}
    return lacking, np.cumsum(lost)


def salvage(
    path: Path,
    *,
    given: Given | None = None,
    end: float | None = None,
    last: int | None = None,
    allow_truncated: bool = False,
    options: Mapping[str, str] | None = None,
    on_bad_range: BadRange | None = None,
) -> Iterator[tuple[int, float, VideoFrame]]:
    """Number, time in seconds and frame of every picture after `given` that is certain to be good, in order.

    Args:
        given: the last picture that is not to come again; None if all are to come.
        end, last: as for `frames_of`.
        allow_truncated: otherwise the first picture that is missing raises.
        options: of the decoder.
        on_bad_range: is told where pictures are missing, as soon as the next good one is found.

    Raises:
        UserError: a picture is missing and `allow_truncated` is False; the sentence names the bad range's begin.
    """
    given = given or Given(-1, None, 0.0)
    listing = _listed(path, apart=given.apart)
    film = _Numbers(listing, given)
    expected = given.number + 1

    def missing(until: float) -> None:
        """Tell that the pictures from `expected` on are missing."""
        begin = film.time(expected) if listing.told else given.end
        if (end is not None and begin >= end) or (last is not None and expected > last):
            return
        if not allow_truncated:
            raise truncated(path, begin)
        until = until if end is None else min(until, end)
        tell_of_damage(path, begin, until, on_bad_range)

    # Without times of their own, nothing tells which pictures those after the damage are.
    again = film.copies(given)
    for frame in _good(path, listing, given.stamp, options) if listing.told else ():
        if frame.pts == given.stamp and again:
            again -= 1
            continue
        time = listing.seconds(frame.pts)
        number = film.number(frame.pts, expected)
        if number < expected:
            continue
        if number > expected:
            missing(time)
        if (end is not None and time >= end) or (last is not None and number > last):
            return
        yield number, time, frame
        expected = number + 1
    if listing.ends_early or expected < film.count or not listing.told:
        missing(listing.length)


def tell_of_damage(path: Path, begin: float, until: float, on_bad_range: BadRange | None) -> None:
    """Log a bad range, and tell of it."""
    _log.warning("%s is damaged from %.2f s to %.2f s: its frames there are left out.", path, begin, until)
    if on_bad_range:
        on_bad_range(begin, until)


class _Numbers:
    """The number of a picture by its time stamp, and the time of one by its number."""

    def __init__(self, listing: Listing, given: Given) -> None:
        self._stamps, self._numbers, self._seconds, self._length = (
            listing.stamps,
            listing.numbers,
            listing.seconds,
            listing.length,
        )
        self._step = listing.step
        # A film whose packets are not its pictures, such as single fields, is counted from where it was sound.
        known = self._numbered(given.stamp)
        self._shift = given.number - known[-1] if known and given.number not in known else 0
        self.count = listing.numbers[-1] + self._shift + 1 if listing.numbers else 0

    def _numbered(self, stamp: int | None) -> list[int]:
        if stamp is None:
            return []
        return self._numbers[bisect_left(self._stamps, stamp) : bisect_right(self._stamps, stamp)]

    def copies(self, given: Given) -> int:
        """How many pictures with the stamp of the last one given were given."""
        return sum(number + self._shift <= given.number for number in self._numbered(given.stamp)) or 1

    def number(self, stamp: int, expected: int) -> int:
        """Of pictures with one stamp, the first that is not below `expected`; `expected` for a stamp that is not listed."""
        known = [number + self._shift for number in self._numbered(stamp)]
        return next((number for number in known if number >= expected), known[-1]) if known else expected

    def time(self, number: int) -> float:
        """In seconds; of one that the container lost, where it would lie between its neighbours."""
        behind = bisect_left(self._numbers, number - self._shift)
        if behind == len(self._numbers):
            after = self._seconds(self._stamps[-1]) + self._step if self._stamps else 0.0
            return min(self._length, after)
        time = self._seconds(self._stamps[behind])
        ahead = self._numbers[behind] - (number - self._shift)
        if not ahead or not behind:
            return time
        before = self._seconds(self._stamps[behind - 1])
        return round(time - (time - before) * ahead / (self._numbers[behind] - self._numbers[behind - 1]), 6)


def _good(path: Path, listing: Listing, after: int | None, options: Mapping[str, str] | None) -> Iterator[VideoFrame]:
    """Every picture that is certain to be good and is shown after the time stamp `after`."""
    # From the film's beginning, where decoders may be strict; else one key picture earlier than need be, so that an open group's
    # leading pictures have theirs.
    before = [position for position, stamp in listing.keys if after is not None and stamp <= after][:-1]
    begin = before[-1] if before and not listing.closed else 0
    with open_video(path) as container, open_video(path) as other:
        video = _alone(container, STRICT, options)
        reader = _Reader(listing, video, _alone(other, {}, options), functools.partial(_before, path, options))
        position = -1
        for packet in container.demux(video):
            position += packet.size > 0
            if position >= begin or packet.size == 0:
                if position in listing.torn:
                    reader.spoil(position)
                yield from (frame for frame in reader.read(packet, position) if after is None or frame.pts >= after)


def _alone(container: InputContainer, strictness: Mapping[str, str], options: Mapping[str, str] | None) -> VideoStream:
    """The film in a container, its decoder made to work in one thread."""
    video = best_video(container)
    video.thread_type = "NONE"
    video.codec_context.thread_count = 1
    video.codec_context.options = dict(strictness) | dict(options or {})
    return video


def _before(
    path: Path, options: Mapping[str, str] | None, first: int, broken: int, waiting: Set[int], *, strict: bool
) -> list[VideoFrame]:
    """The pictures with the time stamps `waiting`, in order, decoded from the packet at position `first` up to the broken one."""
    found: dict[int, VideoFrame] = {}
    with open_video(path) as container:
        video = _alone(container, STRICT if strict else {}, options)
        position = -1
        for packet in container.demux(video):
            position += packet.size > 0
            if position < first:
                continue
            try:
                frames = video.codec_context.decode(packet if position < broken else None)
            except av.error.FFmpegError:  # of what was to be dropped, or it would be the broken one itself
                frames = []
            for frame in frames:
                if frame.pts in waiting:
                    found.pop(frame.pts, None)  # of pictures with one stamp, the earlier ones have come
                    found[frame.pts] = frame
            if position >= broken:
                break
    return list(found.values())


class _Reader:
    """Decodes packet by packet and gives the pictures that no damage has reached."""

    def __init__(
        self, listing: Listing, strict: VideoStream, lenient: VideoStream, before: Callable[..., list[VideoFrame]]
    ) -> None:
        """`before` is `_before` of the film."""
        self._listing, self._video, self._order, self._before = listing, strict, Order(), before
        self._strict, self._lenient = strict.codec_context, lenient.codec_context
        self._is_h264 = self._strict.codec.canonical_name == "h264"
        self._joints = Joints(strict)
        self._context = self._strict
        self._begun = False
        self._settling = True
        """Whether pictures that lack their references are to be expected and just dropped, as after starting anew."""
        self._bad: int | None = None
        """Position of the first damaged packet since the last key picture."""
        self._unsure = -1
        """Position up to which key packets are not trusted."""
        self._lead: int | None = None
        """Time stamp of the key picture that decoding started with: what is shown before it leans on what was not read."""
        self._entrances: list[int] = []
        """Positions from which on decoding gives what it gave, the last ones last."""
        self._emptied = False
        """Whether all that waited in the decoder was got in another way."""

    def _begin(self, packet: Packet, position: int) -> None:
        self._context = self._strict if position == 0 and self._listing.closed else self._lenient
        if self._context.is_open:
            self._context.flush_buffers()
        self._order, self._begun = Order(), True
        self._bad, self._settling, self._lead = None, True, packet.pts if packet.is_keyframe else None
        self._entrances, self._emptied = [position], False

    def _is_late(self, packet: Packet) -> bool:
        return self._is_h264 and recovers_late(packet, self._video)

    def read(self, packet: Packet, position: int) -> Iterator[VideoFrame]:
        """The pictures that are known to be good after this packet; one without content ends the film."""
        if packet.size == 0:
            yield from self._drained()
            return
        drains, skipped = self._joints.meet(packet)
        if self._bad is not None:
            if packet.is_corrupt:
                self._unsure = position + _LAG
            if not packet.is_keyframe or packet.is_corrupt or position <= self._unsure or self._is_late(packet):
                return
            yield from self._drained()
            self._begin(packet, position)
        elif not self._begun:
            self._begin(packet, position)
        if packet.is_corrupt:
            self._unsure = position + _LAG
            self.spoil(position)
            return
        if is_shown(packet, self._video) and not skipped:
            self._order.add(packet, position)
        if self._is_h264 and packet.is_keyframe and begins_closed([packet], self._video):
            self._entrances.append(position)
        try:
            frames = self._context.decode(None) if drains else []
            if drains:
                self._context.flush_buffers()
            frames += self._context.decode(packet)
        except av.error.FFmpegError:
            if self._lead is None or packet.pts is None or packet.pts >= self._lead:
                yield from self._rescued(position)
            return
        for frame in frames:
            self._place(frame, position)
            yield from self._sound(self._order.free())

    def _rescued(self, position: int) -> Iterator[VideoFrame]:
        """What waited in the decoder when the packet at this position failed: some of it decoders then drop (H.264's does)."""
        self.spoil(position)
        waiting = {stamp: place for stamp, place in self._order.waiting.items() if place < position}
        if not waiting:
            return
        first = self._entrances[max(0, bisect_right(self._entrances, min(waiting.values())) - 1)]
        self._emptied = True
        for frame in self._before(first, position, waiting.keys(), strict=self._context is self._strict):
            self._place(frame, None)
        yield from self._sound(self._order.free())

    def _drained(self) -> Iterator[VideoFrame]:
        try:
            frames = self._context.decode(None) if self._begun and not self._emptied else []
        except av.error.FFmpegError:
            frames = []
        for frame in frames:
            self._place(frame, None)
        rest = list(self._order.free(all_of_them=True))
        self._miss()
        yield from self._sound(iter(rest))

    def _place(self, frame: VideoFrame, position: int | None) -> None:
        own = self._order.place(frame)
        self._miss()
        if not frame.is_corrupt:
            self._settling = self._settling and self._lead is not None and frame.pts is not None and frame.pts < self._lead
        elif not self._settling and (own >= 0 or position is not None):
            self.spoil(own if own >= 0 else position)

    def _miss(self) -> None:
        """Where a picture did not come, nothing said why: its packet counts as damaged."""
        if self._order.lost is not None and not self._settling:
            self.spoil(self._order.lost)
        self._order.lost = None

    def spoil(self, position: int) -> None:
        """Say that the packet at this position is damaged, or that one is missing before it."""
        self._bad = position if self._bad is None else min(self._bad, position)

    def _sound(self, frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[VideoFrame]:
        for position, frame in frames:
            if frame.is_corrupt or frame.pts is None or (self._bad is not None and position >= self._bad):
                continue
            if self._lead is None or frame.pts >= self._lead:
                yield frame
