"""What H.264 and HEVC packets are to each other, from the types of their units and the heads of a few.

Sources: ITU-T H.264 (7.3, 7.4.1, D.1.8) and H.265 (7.3.1, 7.4.2.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from av.packet import Packet
from av.video.stream import VideoStream

from kinemacolor.media.bits import Bits
from kinemacolor.media.roles import Doubt, Role


class _Units:
    """The units of a packet of H.264 or HEVC, by lengths (mp4, mkv) or by start codes (transport streams)."""

    def __init__(self, size: int | None) -> None:
        """`size` is that of a length in bytes; None for start codes."""
        self._size = size

    def of(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Begin and end of each unit in the data; the end is -1 where nobody looked for it (`end` does)."""
        if self._size is None:
            at = data.find(b"\0\0\1")
            while at >= 0:
                yield at + 3, -1
                at = data.find(b"\0\0\1", at + 3)
            return
        at, size = 0, self._size
        while at + size < len(data):
            length = int.from_bytes(data[at : at + size], "big")
            at += size
            if not length or at + length > len(data):
                raise Doubt("a packet is damaged")
            yield at, at + length
            at += length

    @staticmethod
    def cut(data: bytes, begin: int, end: int) -> bytes:
        """One unit of `of`, without the bytes that keep start codes from appearing in it."""
        if end < 0:
            after = data.find(b"\0\0\1", begin)
            end = len(data) if after < 0 else after
        return data[begin:end].rstrip(b"\0").replace(b"\0\0\3", b"\0\0")


class _Sets:
    """Parameter sets: those of the head, and whether others come on the way, which a decoder that began late would lack."""

    def __init__(self, known: set[bytes]) -> None:
        self.known = known

    def meet(self, unit: bytes) -> bool:
        """Take note of a set; whether it is new, which it may be only while none is known.

        Raises:
            Doubt: it changes what holds.
        """
        if unit in self.known:
            return False
        if self.known:
            raise Doubt("its parameter sets change on the way")
        return True


def _listed(extra: bytes, at: int, count: int) -> tuple[list[bytes], int]:
    """`count` units with lengths of two bytes from `at` on, and where the last one ends."""
    units = []
    for _ in range(count):
        length = int.from_bytes(extra[at : at + 2], "big")
        at += 2 + length
        units.append(_Units.cut(extra, at - length, at))
    return units, at


class H264:
    """H.264: nal_ref_idc says of each picture whether it is a reference."""

    def __init__(self, video: VideoStream) -> None:
        extra = video.codec_context.extradata or b""
        if extra[:1] == b"\1" and len(extra) > 6:
            self._units = _Units((extra[4] & 3) + 1)
            sets, at = [], 5
            for mask in (31, 255):
                if at < len(extra):
                    count, at = extra[at] & mask, at + 1
                    units, at = _listed(extra, at, count)
                    sets += units
        else:
            self._units = _Units(None)
            sets = [_Units.cut(extra, *span) for span in self._units.of(extra)]
        sets = [unit for unit in sets if unit and unit[0] & 31 in (7, 8)]
        self._sets = _Sets(set(sets))
        if not sets:
            raise Doubt("its head has no parameter sets")
        if sum(unit[0] & 31 == 7 for unit in set(sets)) > 1:
            raise Doubt("it has several sequence parameter sets")  # which may tell of colours in different ways
        self._fields = {found for unit in sets if unit[0] & 31 == 7 and (found := _frame_number_bits(unit)) is not None}

    def __call__(self, packet: Packet) -> Role:
        data = bytes(packet)
        idr = recovery = reference = False
        slices = fields = 0
        for begin, end in self._units.of(data):
            kind = data[begin] & 31
            if kind in (1, 5):
                slices += 1
                idr = idr or kind == 5
                reference = reference or bool(data[begin] & 0x60)
                if self._fields:
                    fields += self._begins_field(data[begin + 1 : begin + 24])
                elif reference:  # further slices cannot change that
                    break
            elif kind in (7, 8):
                self._sets.meet(self._units.cut(data, begin, end))
            elif kind == 6 and packet.is_keyframe:
                recovery = recovery or _recovers_at_once(self._units.cut(data, begin, end))
            elif kind in (2, 3, 4):
                raise Doubt("its slices are partitioned")
        if not slices:
            raise Doubt("a packet holds no picture")
        if fields % 2:
            raise Doubt("its fields come in packets of their own")
        return Role(idr or (recovery and reference), reference, open=not idr)

    def _begins_field(self, head: bytes) -> bool:
        """Whether a slice is the first of a field."""
        bits = Bits(head.replace(b"\0\0\3", b"\0\0"))
        first = bits.ue()
        bits.ue()
        bits.ue()
        (frame_number_bits,) = self._fields
        bits.u(frame_number_bits)
        return bits.u(1) == 1 and first == 0


def _frame_number_bits(unit: bytes) -> int | None:
    """How many bits a picture's number has, where a sequence parameter set allows of fields; None where it does not."""
    bits = Bits(unit[1:])
    profile = bits.u(8)
    bits.u(16)
    bits.ue()
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
        chroma = bits.ue()
        if chroma == 3 and bits.u(1):
            raise Doubt("its colours are coded as planes of their own")
        bits.ue()
        bits.ue()
        bits.u(1)
        if bits.u(1):
            for number in range(8 if chroma != 3 else 12):
                if bits.u(1):
                    _pass_scaling_list(bits, 16 if number < 6 else 64)
    frame_number_bits = bits.ue() + 4
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.ue()
        bits.ue()
        for _ in range(bits.ue()):
            bits.ue()
    bits.ue()
    bits.u(1)
    bits.ue()
    bits.ue()
    return None if bits.u(1) else frame_number_bits


def _pass_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _recovers_at_once(unit: bytes) -> bool:
    """Whether an H.264 message says that this very picture and all shown after it are exact (recovery point, D.1.8)."""
    for kind, payload in _messages(unit, 1):
        if kind == 19:
            raise Doubt("film grain is to be drawn into it")
        if kind == 6:
            bits = Bits(payload)
            return bits.ue() == 0 and bits.u(1) == 1 and bits.u(1) == 0
    return False


def recovers_late(packet: Packet, video: VideoStream) -> bool:
    """Whether an H.264 packet says that only later pictures are whole, as in films that are refreshed strip by strip (D.1.8)."""
    extra, data = video.codec_context.extradata or b"", bytes(packet)
    units = _Units((extra[4] & 3) + 1 if len(extra) > 4 and extra[0] == 1 else None)
    try:
        for begin, end in units.of(data):
            if data[begin] & 31 in (1, 5):
                return False
            if data[begin] & 31 == 6:
                for kind, payload in _messages(units.cut(data, begin, end), 1):
                    if kind == 6:
                        return Bits(payload).ue() > 0
    except (Doubt, IndexError):
        pass
    return False


def _messages(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Type and content of each supplemental message."""
    while at + 2 < len(data):
        values = []
        for _ in range(2):
            value = 0
            while at < len(data) and data[at] == 255:
                value, at = value + 255, at + 1
            if at >= len(data):
                return
            values.append(value + data[at])
            at += 1
        yield values[0], data[at : at + values[1]]
        at += values[1]


class Hevc:
    """HEVC: the type of a unit says whether pictures of its temporal level refer to it, and which pictures are leading."""

    def __init__(self, video: VideoStream) -> None:
        extra = video.codec_context.extradata or b""
        sets = []
        if extra[:1] == b"\1" and len(extra) > 22:
            self._units = _Units((extra[21] & 3) + 1)
            at = 23
            for _ in range(extra[22]):
                count, at = int.from_bytes(extra[at + 1 : at + 3], "big"), at + 3
                units, at = _listed(extra, at, count)
                sets += units
        else:
            self._units = _Units(None)
            sets = [_Units.cut(extra, *span) for span in self._units.of(extra)]
        sets = [unit for unit in sets if len(unit) > 2 and unit[0] >> 1 in (32, 33, 34)]
        self._sets = _Sets(set(sets))
        if not sets:
            raise Doubt("its head has no parameter sets")
        for unit in sets:
            if unit[0] >> 1 == 34:
                bits = Bits(unit[2:])
                bits.ue()
                bits.ue()
                bits.u(1)
                if bits.u(1):
                    raise Doubt("its slices say which pictures are shown")
        if sum(unit[0] >> 1 == 33 for unit in set(sets)) > 1:
            raise Doubt("it has several sequence parameter sets")
        self._entrances = _Entrances()

    def __call__(self, packet: Packet) -> Role:
        data = bytes(packet)
        found, ends = None, False
        for begin, end in self._units.of(data):
            kind, layer = data[begin] >> 1 & 63, (data[begin] & 1) << 5 | data[begin + 1] >> 3
            if layer:
                continue
            if kind < 32:
                if found is None:
                    found = kind, (data[begin + 1] & 7) - 1
                if end < 0:  # by start codes the slices are not gone through; what ends a sequence is short and comes last
                    ends = data.rstrip(b"\0")[-5:-1] in (b"\0\0\1\x48", b"\0\0\1\x4a")
                    break
            elif kind in (36, 37):
                ends = True
            elif kind in (32, 33, 34):
                self._sets.meet(self._units.cut(data, begin, end))
            elif kind == 39 and packet.is_keyframe:
                for message, _ in _messages(self._units.cut(data, begin, end), 2):
                    if message == 19:
                        raise Doubt("film grain is to be drawn into it")
        if found is None:
            raise Doubt("a packet holds no picture")
        kind, level = found
        if self._entrances.skips(kind, ends=ends):
            return Role(False, False, shown=False)
        return Role(16 <= kind <= 21, kind >= 16 or kind % 2 == 1, level=level)


class _Entrances:
    """Whether a packet of HEVC opens a sequence of its own, and which pictures that leaves with nothing to lean on."""

    def __init__(self) -> None:
        self._fresh, self._skips = True, False

    def opens(self, kind: int) -> bool:
        """Whether the next packet opens a sequence, if its slices are of this type."""
        return 16 <= kind <= 23 and (self._fresh or kind < 21)

    def skips(self, kind: int, *, ends: bool) -> bool:
        """Go past a packet, with which a sequence may end; whether its picture is one that every decoder skips.

        Those are the ones that lead such an entrance and lean on what came before.
        """
        if 16 <= kind <= 23:
            self._skips = self.opens(kind)
            self._fresh = False
        self._fresh = self._fresh or ends
        return kind in (8, 9) and self._skips


class Joints:
    """Where a film of HEVC goes over into a sequence of its own, at which decoders may drop what waits to be shown.

    They drop it where the entrance says so (no_output_of_prior_pics_flag), and where a sequence was ended before a picture of
    type CRA (C.5.2.2). It is there for players that change over to another film. Of a file all pictures are shown, as H.264's
    decoder does whatever its flag says: so at such a place the decoder is to be drained before.
    """

    def __init__(self, video: VideoStream) -> None:
        extra = video.codec_context.extradata or b""
        self._is_hevc = video.codec_context.codec.canonical_name == "hevc"
        self._units = _Units((extra[21] & 3) + 1 if extra[:1] == b"\1" and len(extra) > 22 else None)
        self._entrances, self._begun = _Entrances(), False

    def meet(self, packet: Packet) -> tuple[bool, bool]:
        """Go past the film's next packet: whether the decoder is to be drained before it, and whether its picture is skipped."""
        if not self._is_hevc or not packet.size:
            return False, False
        data, kind, drops, ends = bytes(packet), None, False, False
        try:
            for begin, end in self._units.of(data):
                if kind is None and data[begin] >> 1 & 63 < 32 and not (data[begin] & 1 or data[begin + 1] >> 3):
                    kind, drops = data[begin] >> 1 & 63, bool(data[begin + 2] & 64)
                    if end < 0:
                        ends = data.rstrip(b"\0")[-5:-1] in (b"\0\0\1\x48", b"\0\0\1\x4a")
                        break
                ends = ends or data[begin] >> 1 & 63 in (36, 37)
        except (Doubt, IndexError):
            pass
        if kind is None:
            return False, False
        drains = self._begun and self._entrances.opens(kind) and (drops or kind == 21)
        self._begun = True
        return drains, self._entrances.skips(kind, ends=ends)
