"""From packets to pictures: which packet a picture came from, when it is shown, and when it may be believed.

A decoder takes packets in one order and gives pictures in another. A picture that leans on a damaged one may be shown, and
so be given, before the damaged one itself comes out and owns to its damage. So pictures are held until everything that was
decoded before them is out.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinemacolor.errors import UserError
from kinemacolor.media.probe import Extent, is_hidden
from kinemacolor.media.roles import INTRA

_MOST_HELD = 32  # twice what any codec reorders; beyond it the packets' stamps are nonsense
_SEAM = 64  # bytes: Matroska's own between two packets are fewer
# Codecs for which ffmpeg knows a picture's place from an AVI file's packets, though AVI stores none.
_TOLD = INTRA | {"mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "mpeg1video", "mpeg2video", "ffv1"}


def is_shown(packet: Packet, video: VideoStream) -> bool:
    """Whether a packet of a film holds a picture that players show: none that is only referred to or that edits cut away."""
    return packet.size > 0 and not packet.is_discard and not is_hidden(packet, video)


def stamps_are_guessed(container: InputContainer, video: VideoStream) -> bool:
    """Whether presentation times are ffmpeg's guess: AVI has none, and for H.264 or HEVC the guess counts in decoding order."""
    return container.format.name == "avi" and video.codec_context.codec.canonical_name not in _TOLD


def take_head(packets: Iterator[Packet], video: VideoStream) -> Iterator[Packet]:
    """The packets up to the second one of the film's video."""
    seen = 0
    for packet in packets:
        yield packet
        seen += packet.stream_index == video.index
        if seen == 2:
            return


def begins_closed(head: Iterable[Packet], video: VideoStream) -> bool:
    """Whether decoding that begins with these packets lacks nothing, so that any complaint of the decoder means damage.

    Films that were cut out of others may begin with a key picture that others lead, or in H.264 with one after which the
    decoder is told to drop pictures that it never saw.
    """
    first, *rest = [packet for packet in head if packet.stream_index == video.index] or [None]
    if first is None or not first.is_keyframe or any(one.size and is_leading(one, first.pts) for one in rest):
        return False
    return video.codec_context.codec.canonical_name != "h264" or 5 in _h264_units(bytes(first), video.codec_context.extradata)


def _h264_units(data: bytes, extra: bytes | None) -> set[int]:
    """The types of the units in a packet of H.264 (ITU-T H.264, table 7-1); those of mp4 and Matroska have lengths before them."""
    if not extra or extra[0] != 1 or len(extra) < 5:
        return {data[at.end()] & 31 for at in re.finditer(rb"\x00\x00\x01", data[:-1])}
    kinds, at, size = set(), 0, (extra[4] & 3) + 1
    while at + size < len(data):
        kinds.add(data[at + size] & 31)
        at += size + int.from_bytes(data[at : at + size], "big")
    return kinds


def is_leading(packet: Packet, key: int | None) -> bool:
    """Whether a packet's picture is shown before the key picture of this time stamp, or may be so."""
    return packet.pts is None or key is None or packet.pts < key


class Seam:
    """Whether bytes were passed over between packets: Matroska's demuxer resumes behind damage without a word."""

    def __init__(self, container: InputContainer) -> None:
        self.knows = container.format.name.startswith("matroska")
        """Whether the container is one in which this can be told."""
        self._place: int | None = None
        self._end: int | None = None

    def torn_before(self, packet: Packet) -> bool:
        """Take account of the next packet, of whichever stream."""
        if not self.knows or not packet.size or packet.pos is None:
            return False
        if packet.pos == self._place:
            # The next packet of a lace: all have the place of their block, and lie one after the other behind a table of sizes.
            self._end += packet.size + packet.size // 255 + 1
            return False
        torn = self._end is not None and packet.pos - self._end > _SEAM
        self._place = packet.pos
        self._end = max(self._end or 0, packet.pos + packet.size + packet.size // 255 + 1)
        return torn

    def lost_end(self, extent: Extent) -> bool:
        """Whether packets may be missing behind the last one, once all are told of to `extent`; certain if a hole in time shows."""
        return self.knows and extent.ends_short


class Times:
    """When each picture is shown, in seconds from the start of the stream, rounded once from the exact fraction.

    Pictures without presentation times of their own (H.264 in AVI or in old Matroska files) get those of the packets, in
    order. That is exact as long as the packets follow each other evenly, and refused where they do not.
    """

    def __init__(self, path: Path, container: InputContainer, video: VideoStream) -> None:
        self._path, self._video = path, video
        self._base: Fraction = video.time_base
        self._origin = (video.start_time or 0) * video.time_base
        self._by_order = stamps_are_guessed(container, video)
        self._stamps: list[int] = []
        self._previous: list[int] = []

    def add(self, packet: Packet) -> None:
        """Take account of a packet that `is_shown`."""
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            heapq.heappush(self._stamps, stamp)

    def of(self, frame: VideoFrame) -> float:
        """The time of the next picture, in the order in which the decoder gives them.

        Raises:
            UserError: neither the picture nor the packets' order tells it.
        """
        self._by_order = self._by_order or frame.pts is None
        stamp = heapq.heappop(self._stamps) if self._stamps else None
        if not self._by_order:
            return float(frame.pts * frame.time_base - self._origin)
        if stamp is None or not self._is_even(stamp):
            raise UserError(
                f"{self._path} does not say when its frames are shown: write it anew at its own rate, which only you can know "
                "(ffmpeg -r 24 -i FILM -c:v ffv1 FILM.mkv)."
            )
        return float(stamp * self._base - self._origin)

    def _is_even(self, stamp: int) -> bool:
        self._previous.append(stamp)
        if len(self._previous) <= 2:
            return True
        first, second, before = self._previous[0], self._previous[1], self._previous[-2]
        if len(self._previous) > 3:
            del self._previous[2]
        usual = second - first
        return abs(stamp - before - usual) <= (usual > 4)  # stamps in milliseconds round by one


class Order:
    """Holds pictures back until everything that was decoded before them is out."""

    def __init__(self, *, trusted: bool = True) -> None:
        self._trusted = trusted
        self._coming: dict[int, int] = {}
        self._before: int | None = None
        self._step: int | None = None
        self._torn: int | None = None
        self._interlaced = False
        self._apart = False
        self.lost: int | None = None
        """Index of the first packet whose picture did not come, once that is certain."""
        self._held: deque[tuple[int, VideoFrame]] = deque()

    @property
    def apart(self) -> int | None:
        """The distance of two pictures in ticks if fields seem to come in packets of their own, two to a picture."""
        return self._step if self._apart else None

    @property
    def waiting(self) -> Mapping[int, int]:
        """By time stamp, the indexes of packets whose pictures have not come yet."""
        return self._coming

    def add(self, packet: Packet, index: int) -> None:
        """Take account of a packet that `is_shown`; `index` is its position in the stream."""
        if packet.pts is None:
            self._trusted = False
        else:
            self._coming[packet.pts] = index

    def tear(self, index: int) -> None:
        """Packets may be missing before the one of this index; that they are is certain when a hole in time shows."""
        self._torn = index

    def place(self, frame: VideoFrame) -> int:
        """Hand in the decoder's next picture; returns the index of its packet, or -1 if that is unknown."""
        index = -1
        if self._trusted and frame.pts is not None:
            index = self._coming.pop(frame.pts, -1)
            self._pass_by(frame.pts)
            self._interlaced = frame.interlaced_frame
        self._held.append((index, frame))
        return index

    def free(self, *, all_of_them: bool = False) -> Iterator[tuple[int, VideoFrame]]:
        """The pictures, with the indexes of their packets, that need wait no longer; at the end of a film, all that are held."""
        if all_of_them and self._trusted:
            self._pass_by(None)
        first = min(self._coming.values(), default=None) if self._trusted else None
        while self._held and (first is None or self._held[0][0] < first or len(self._held) > _MOST_HELD):
            yield self._held.popleft()

    def _pass_by(self, stamp: int | None) -> None:
        """What was to be shown before `stamp` and did not come will not come any more.

        The second field of a picture may have a packet of its own, but leaves no hole in time. At the film's beginning, what
        leads an open group cannot be shown at all.
        """
        gone = [one for one in self._coming if stamp is None or one < stamp]
        step = self._step
        if stamp is not None:
            passed = stamp - self._before if self._before is not None else 0
            if passed > 0:
                self._step = passed if step is None else min(step, passed)
            # Before the first step is known, bytes that are missing are sign enough for looking into the matter (salvage.py).
            hole = passed > 1.5 * step if step is not None else passed > 0 and self._torn is not None
        else:
            hole = step is not None and bool(gone) and max(gone) - self._before > 0.75 * step
        missed = [self._coming.pop(one) for one in gone]
        if self._interlaced and len(missed) == 1:
            self._apart = True
            missed = []
        if hole and self._torn is not None:
            missed.append(self._torn)
            self._torn = None
        if hole and missed:
            self.lost = min(missed if self.lost is None else [*missed, self.lost])
        self._before = stamp if stamp is not None else self._before
