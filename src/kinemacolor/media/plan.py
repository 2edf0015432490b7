"""Which packets of a film must be decoded for the frames that are wanted, found in one pass over the packets.

The time stamps tell every picture's number. Per group of pictures, from one true entrance to the next, only what the wanted
ones need is planned. Leading pictures, which are shown before the entrance they follow, lean on the group before it: groups
are planned one late, when it is known which of the next one's leading pictures are wanted.
"""

from __future__ import annotations

import functools
from bisect import insort
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from kinemacolor.media.order import Seam, stamps_are_guessed
from kinemacolor.media.probe import Extent, best_video, open_video, truncated
from kinemacolor.media.references import needed, rules_of
from kinemacolor.media.roles import Doubt, Role
from kinemacolor.media.salvage import BadRange

_GROUP_BYTES = 128 << 20  # of packets: a film without entrances must not be taken into memory whole
_JOB = 24  # packets to decode from which on a stretch is worth being handed over by itself
_EARLY = 8  # steps from picture to picture, fewer of which do not tell what is usual and what is a hole
_CHAIN = 250  # packets: longer chains of open groups are cut, and an entrance decoded twice


@dataclass(frozen=True)
class Choice:
    """Which frames are wanted."""

    every: int
    first: int
    start: float
    end: float | None
    wanted: Set[int] | None
    between: tuple[int, int] | None

    @functools.cached_property
    def last(self) -> int | None:
        """Number after which nothing is wanted; None if that cannot be told."""
        ends = [max(self.wanted, default=-1)] if self.wanted is not None else []
        ends += [self.between[1] - 1] if self.between else []
        return min(ends, default=None)

    def has(self, number: int) -> bool:
        """Whether the number is one of those asked for, whatever its time."""
        return (
            number % self.every == self.first % self.every
            and number >= self.first
            and (self.between is None or self.between[0] <= number < self.between[1])
            and (self.wanted is None or number in self.wanted)
        )


@dataclass
class Tally:
    """Counts of what was read and what was planned so far."""

    packets: int = 0
    decoded: int = 0


@dataclass
class Run:
    """Packets to decode one after the other, from an entrance on."""

    packets: list[Packet]
    begin: int
    """Stamp before which whatever comes out leans on what was not decoded."""
    stamps: list[int]
    """Of the pictures that must come out, in order."""
    wanted: dict[int, tuple[int, float]]
    """Number and time of the wanted ones by stamp."""
    releases: dict[int, int]
    """For each wanted one by stamp, how many of `stamps` must have come out before all that it may lean on has."""
    strict: bool
    """Whether any complaint of the decoder means damage."""
    missing: bool
    """Whether there are pictures before `begin`, whatever comes of them."""
    items: list[Item]
    """All from the entrance on, also what is not decoded, but that without its packets."""

    def next_of(self, came: int) -> int | None:
        """The stamp of the picture that must come after so many; None if no more must."""
        return self.stamps[came] if came < len(self.stamps) else None

    def only(self, stamp: int | None) -> Run:
        """The part of it that one picture needs; nothing if there is none of that time stamp."""
        return _run_of(self.items, [item.pts == stamp for item in self.items])

    def rest(self, given: int, bad: Set[int | None]) -> tuple[Run | None, list[tuple[int, float]]]:
        """What remains of it after frame `given` without the pictures that need one of those with the time stamps `bad`.

        A picture's fate follows from what it needs itself, and not from what else is wanted.

        Returns:
            a run from the first entrance that is still needed, for what leans on it, if anything remains; number and time of the wanted ones that are left out, in order.
        """
        roles = [item.role for item in self.items]
        hurt = [place for place, item in enumerate(self.items) if item.pts in bad]
        gone: list[tuple[int, float]] = []
        begin: int | None = None
        left: list[int] = []
        for place, item in enumerate(self.items):
            if item.frame is None or item.frame <= given:
                continue
            # Only what leads an entrance leans on the group before it.
            entrances = [at for at in range(place + 1) if roles[at].restart][-2:]
            from_ = entrances[0 if item.pts < self.items[entrances[-1]].pts else -1]
            needs = needed(roles[from_ : place + 1], [False] * (place - from_) + [True], self.items[from_].place)
            if any(needs[one - from_] for one in hurt if from_ <= one <= place):
                gone.append((item.frame, item.time))
            elif begin is None or from_ < begin:
                begin, left = from_, [place]
            elif from_ == begin:
                left.append(place)
        if begin is None:
            return None, sorted(gone)
        items = self.items[begin : left[-1] + 1]
        return _run_of(items, [begin + place in left for place in range(len(items))]), sorted(gone)


class Item:
    """A packet of the film's video, and what became known of it."""

    __slots__ = ("frame", "last", "packet", "place", "pts", "role", "shown", "time", "torn")

    def __init__(self, place: int, packet: Packet, role: Role, torn: bool) -> None:
        self.place, self.packet, self.role, self.torn = place, packet, role, torn
        self.pts: int = packet.pts
        self.shown = role.shown and not packet.is_discard
        self.frame: int | None = None  # the number, if it is wanted
        self.time = 0.0
        self.last = False  # of the film: where files break off, so it is looked at whether it is wanted or not

    def copy(self, *, packet: bool) -> Item:
        """As it is now, with its packet or without."""
        twin = object.__new__(Item)
        for name in Item.__slots__:
            setattr(twin, name, getattr(self, name))
        if not packet:
            twin.packet = None
        return twin


def jobs_of(
    path: Path,
    choice: Choice,
    tally: Tally,
    *,
    shown: Callable[[list[Packet]], set[int]],
    allow_truncated: bool = False,
    guess: bool = True,
    on_end: BadRange | None = None,
) -> Iterator[list[Run]]:
    """What is to be decoded, stretch by stretch in order.

    Args:
        tally: is kept up to date.
        shown: gives the time stamps of what a decoder that knows nothing gives for these packets, those of a whole group.
        allow_truncated: as for `decode`.
        guess: whether damage may go unnoticed where decoding begins at open groups.
        on_end: is told of the range that is missing because the file breaks off, if that is allowed.

    Raises:
        Doubt: the rest is for the full decode; what was planned before it is right.
        UserError: the file ends before it said it would.
    """
    with open_video(path) as container:
        video = best_video(container)
        extent = Extent(container, video)
        numbering = _Numbering(choice, video)
        job: list[Run] = []
        packets = 0
        try:
            for run in _runs(_groups(container, video, extent, guess=guess), numbering, shown, tally):
                tally.decoded += len(run.packets)
                packets += len(run.packets)
                job.append(run)
                if packets >= _JOB:
                    yield job
                    job, packets = [], 0
        except _Enough:
            yield job
            return
        except Doubt:
            yield job
            raise
        yield job
        until = extent.last_good_time
        if until is not None and (choice.end is None or until < choice.end):
            if not allow_truncated:
                raise truncated(path, until)
            until = max(until, numbering.last_time + float(1 / extent.frame_rate))
            if on_end:
                on_end(until, max(until, extent.promised))


class _Enough(Exception):
    """Nothing further is wanted."""


class _Lacking(Doubt):
    """Packets are missing before a picture; those before it are right."""


def _groups(container: InputContainer, video: VideoStream, extent: Extent, *, guess: bool) -> Iterator[list[Item]]:
    """The packets of the film's video from entrance to entrance; `guess`: also those where damage may go unnoticed."""
    rules = rules_of(video)
    if stamps_are_guessed(container, video):
        raise Doubt("its container does not say when its pictures are shown")
    group: list[Item] = []
    size = place = 0
    seam, torn = Seam(container), False
    # Only from where Matroska's packets lie can it be told that some are missing; mov lists all, and AVI counts them.
    unsure = not (seam.knows or extent.lists_all or container.format.name == "avi")
    try:
        for packet in container.demux():
            extent.add(packet)
            torn = seam.torn_before(packet) or torn
            if packet.stream_index != video.index or packet.size == 0:
                continue
            if packet.is_corrupt:
                raise Doubt("a packet is damaged")
            if packet.pts is None:
                raise Doubt("its packets have no time stamps")
            if packet.is_keyframe and (packet.has_sidedata("new_extradata") or packet.has_sidedata("param_change")):
                raise Doubt("its parameters change on the way")
            if torn and place <= 2 * _EARLY:  # pictures are shown in another order than that of their packets
                raise Doubt("it lacks packets")
            role = rules(packet)
            if role.restart and role.open and not guess and group:
                # From there on decoders must be lenient, and what they notice would depend on where they began.
                raise Doubt("damage in open groups is noticed only if nothing is passed over")
            if role.restart and group:
                yield group
                group, size = [], 0
            elif not (role.restart or group):
                raise Doubt("it does not begin with an entrance")
            group.append(Item(place, packet, role, torn or unsure))
            torn = False
            size, place = size + packet.size, place + 1
            if size > _GROUP_BYTES:
                raise Doubt("its groups of pictures are too long to be held")
    except av.error.FFmpegError as error:
        raise Doubt("it is damaged") from error
    if group:
        group[-1].torn = group[-1].torn or seam.lost_end(extent)
        yield group


def _runs(
    groups: Iterator[list[Item]], numbering: _Numbering, shown: Callable[[list[Packet]], set[int]], tally: Tally
) -> Iterator[Run]:
    """What must be decoded of each group.

    Raises:
        _Enough: nothing further is wanted.
    """
    before: list[Item] = []
    chain: list[Item] = []  # whole groups that the wanted leading pictures of the next one lean on
    leads: list[int] = []
    numbered = _and_none(groups)
    while True:
        try:
            group = next(numbered, None)
        except Doubt:
            # What is left to the full decode must not depend on what is wanted of it.
            if chain:
                yield from _run(chain + before[: leads[-1] + 1])
            raise
        if group is None:
            return
        tally.packets += len(group)
        if not before:
            if not group:
                raise Doubt("it holds no picture")
            if any(item.pts < group[0].pts for item in group):
                # What leads the first entrance leans on what is not in the file: some of it decoders give, some not.
                came = shown([item.packet for item in group])
                for item in group:
                    item.shown = item.shown and item.pts in came
            numbering.add(group)
            before = group
            continue
        numbering.add(group)
        # All that is shown before the entrance of `group` is known by now.
        lacking = None
        try:
            over = numbering.settle(group[0].pts if group else None)
        except _Lacking as doubt:
            over, lacking = True, doubt
        chain += before
        if not (group or over):
            chain[-1].last = True
        leads = [place for place, item in enumerate(group) if item.frame is not None and item.pts < group[0].pts]
        if not leads:
            yield from _run(chain)
            chain = []
        elif over or len(chain) >= _CHAIN:
            yield from _run(chain + group[: leads[-1] + 1])
            for place in leads:
                group[place].frame = None
            chain = []
        if over:
            raise lacking or _Enough
        before = group


def _and_none(groups: Iterator[list[Item]]) -> Iterator[list[Item]]:
    yield from groups
    yield []


class _Numbering:
    """Numbers the pictures of groups in the order in which they are shown, and marks the wanted ones."""

    def __init__(self, choice: Choice, video: VideoStream) -> None:
        self._choice = choice
        self._base = video.time_base
        self._origin = (video.start_time or 0) * video.time_base
        self._open: list[tuple[int, int, Item]] = []
        self._next = self._pushed = 0
        self._settled: int | None = None
        self._latest: int | None = None
        self._previous: int | None = None
        self._steps: list[int] = []
        self._torn = 0  # groups ago that bytes were missing, counted down

    @property
    def last_time(self) -> float:
        """Of the latest picture so far, in seconds."""
        return 0.0 if self._latest is None else float(self._latest * self._base - self._origin)

    def add(self, group: list[Item]) -> None:
        """Take the pictures of the next group, of which none may be shown before what is settled."""
        if group and self._latest is not None and group[0].pts <= self._latest:
            raise Doubt("its time stamps step back")
        self._torn = 2 if any(item.torn for item in group) else self._torn - 1
        for item in group:
            if not item.shown:
                continue
            if self._settled is not None and item.pts < self._settled:
                raise Doubt("its time stamps step back")
            self._latest = item.pts if self._latest is None else max(self._latest, item.pts)
            heappush(self._open, (item.pts, self._pushed, item))
            self._pushed += 1

    def settle(self, bound: int | None) -> bool:
        """Number what is shown before `bound`, and say whether nothing that comes after it is wanted."""
        choice = self._choice
        while self._open and (bound is None or self._open[0][0] < bound):
            pts, _, item = heappop(self._open)
            self._check(pts)
            number, self._next = self._next, self._next + 1
            wanted = choice.has(number)
            if wanted or choice.end is not None:
                item.time = float(pts * self._base - self._origin)
            if (choice.last is not None and number > choice.last) or (choice.end is not None and item.time >= choice.end):
                return True
            if wanted and item.time >= choice.start:
                item.frame = number
        self._settled = bound
        return False

    def _check(self, stamp: int) -> None:
        """Compare a picture's stamp with the one before it."""
        if self._previous is not None:
            step = stamp - self._previous
            if not step:
                raise Doubt("its time stamps repeat")
            if len(self._steps) < 64:
                insort(self._steps, step)
            usual = self._steps[len(self._steps) // 2 if len(self._steps) > _EARLY else 0]
            if self._torn > 0 and step > 1.7 * usual:
                raise _Lacking("it lacks packets")
        self._previous = stamp


def _run(items: list[Item]) -> Iterator[Run]:
    """The run that decodes the wanted ones among the items, if there are any."""
    wanted = [item.frame is not None or item.last for item in items]
    if any(wanted):
        yield _run_of(items, wanted)


def _run_of(items: list[Item], wanted: list[bool]) -> Run:
    """The run that decodes the wanted ones among the items, which are whole groups, or end with a wanted one."""
    keep = needed([item.role for item in items], wanted, items[0].place)
    kept = [item for item, keeps in zip(items, keep, strict=True) if keeps]
    # At the beginning of a film the first pictures may be leading ones.
    begin = items[0].pts if items[0].place else min(item.pts for item in items)
    frames = {
        item.pts: (item.frame, item.time) for item, wants in zip(items, wanted, strict=True) if wants and item.frame is not None
    }
    coming = sorted((item.pts, place, item.pts in frames) for place, item in enumerate(kept) if item.shown and item.pts >= begin)
    return Run(
        packets=[item.packet for item in kept],
        begin=begin,
        stamps=[stamp for stamp, _, _ in coming],
        wanted=frames,
        releases=_releases(coming),
        strict=not items[0].role.open and (items[0].place > 0 or begin == items[0].pts),
        missing=any(item.pts < begin for item in kept),
        items=[item.copy(packet=keeps) for item, keeps in zip(items, keep, strict=True)],
    )


def _releases(coming: list[tuple[int, int, bool]]) -> dict[int, int]:
    """By stamp, when each wanted picture may be given: damage of one that was decoded before it may show only after it."""
    releases: dict[int, int] = {}
    late: list[tuple[int, int]] = []  # places in decoding order, falling, of those that come later, and after how many pictures
    for count in range(len(coming), 0, -1):
        stamp, place, wanted = coming[count - 1]
        if wanted:
            # Of the later ones, the last that was decoded earlier.
            releases[stamp] = next((after for earlier, after in late if earlier < place), count)
        if not late or place < late[-1][0]:
            late.append((place, count))
    return releases
