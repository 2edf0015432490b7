"""What AV1 packets need of each other: every picture names the slots it reads and the slots it fills, so the graph is exact.

Whatever one picture hands to another (pixels, motion, probabilities, filter levels, grain) lies in the eight reference slots
(AV1 bitstream specification, 7.20), and a head names each slot that it reads (5.9.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from av.packet import Packet
from av.video.stream import VideoStream

from kinemacolor.media.bits import Bits
from kinemacolor.media.roles import Doubt, Role

_SELECT = 2
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3


class Av1:
    """The rules of `references` for one stream."""

    def __init__(self, _video: VideoStream) -> None:
        self._sequence: _Sequence | None = None
        self._head = b""
        self._slots: list[int | None] = [None] * 8  # the packet that filled each
        self._kinds = [-1] * 8  # type of the frame in each
        self._place = -1

    def __call__(self, packet: Packet) -> Role:
        self._place += 1
        needs: set[int] = set()
        shown, fresh, restart, frames = 0, False, False, 0
        for kind, body in _units(bytes(packet)):
            if kind == 1:
                fresh = True
                if body != self._head:
                    if self._head:
                        raise Doubt("its parameter sets change on the way")
                    self._sequence, self._head = _Sequence(body), body
            elif kind in (3, 6):
                frame = self._frame(Bits(body[:64]))
                frames += 1
                shown += frame.shown
                needs.update(place for slot in frame.reads if (place := self._slots[slot]) is not None)
                if frames == 1 and frame.kind == _KEY and frame.shown and not frame.repeats:
                    restart = fresh
                for slot in frame.fills:
                    self._slots[slot], self._kinds[slot] = self._place, frame.kind
        if not frames or shown > 1:
            raise Doubt("a packet does not hold one picture")
        return Role(restart, False, shown=shown == 1, needs=frozenset(needs - {self._place}))

    def _frame(self, bits: Bits) -> _Frame:
        """Read a frame's head as far as the slots."""
        sequence = self._sequence
        if sequence is None:
            raise Doubt("it does not begin with an entrance")
        if bits.u(1):
            slot = bits.u(3)
            # A key picture that is shown late resets everything, from its slot.
            return _Frame(self._kinds[slot], True, True, [slot], list(range(8)) if self._kinds[slot] == _KEY else [])
        kind, shown = bits.u(2), bool(bits.u(1))
        intra = kind in (_KEY, _INTRA_ONLY)
        if not shown:
            bits.u(1)
        resilient = kind == _SWITCH or (kind == _KEY and shown) or bool(bits.u(1))
        bits.u(1)
        screen = bits.u(1) if sequence.screen == _SELECT else sequence.screen
        if screen and sequence.integer_motion == _SELECT:
            bits.u(1)
        bits.u(sequence.id_bits)
        if kind != _SWITCH:
            bits.u(1)
        bits.u(sequence.order_bits)
        if not (intra or resilient):
            bits.u(3)  # one of the pictures referred to anyway
        fills = 255 if kind == _SWITCH or (kind == _KEY and shown) else bits.u(8)
        filled = [slot for slot in range(8) if fills >> slot & 1]
        if intra:
            return _Frame(kind, shown, False, [], filled)
        if resilient and sequence.order_bits:
            bits.u(8 * sequence.order_bits)
        if sequence.order_bits and bits.u(1):
            return _Frame(kind, shown, False, list(range(8)), filled)
        reads = []
        for _ in range(7):
            reads.append(bits.u(3))
            bits.u(sequence.id_difference_bits)
        return _Frame(kind, shown, False, reads, filled)


class _Frame:
    def __init__(self, kind: int, shown: bool, repeats: bool, reads: list[int], fills: list[int]) -> None:
        self.kind, self.shown, self.repeats, self.reads, self.fills = kind, shown, repeats, reads, fills


class _Sequence:
    """What a sequence header says of the lengths of what follows in frame headers (5.5)."""

    def __init__(self, data: bytes) -> None:
        bits = Bits(data)
        bits.u(4)
        if bits.u(1):
            raise Doubt("it is a still picture")
        if bits.u(1):  # timing
            bits.u(64)
            if bits.u(1):
                bits.ue()
            if bits.u(1):
                raise Doubt("it has a decoder model")
        delay = bits.u(1)
        if bits.u(5):
            raise Doubt("it has layers")
        bits.u(12)
        if bits.u(5) > 7:
            bits.u(1)
        if delay and bits.u(1):
            bits.u(4)
        width, height = bits.u(4) + 1, bits.u(4) + 1
        bits.u(width + height)
        self.id_bits = self.id_difference_bits = 0
        if bits.u(1):
            self.id_difference_bits = bits.u(4) + 2
            self.id_bits = bits.u(3) + self.id_difference_bits + 1
        bits.u(3 + 4)
        ordered = bits.u(1)
        if ordered:
            bits.u(2)
        self.screen = _SELECT if bits.u(1) else bits.u(1)
        self.integer_motion = _SELECT
        if self.screen and not bits.u(1):
            self.integer_motion = bits.u(1)
        self.order_bits = bits.u(3) + 1 if ordered else 0


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each unit of a packet (5.3)."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1
        length = len(data) - at
        if head & 2:
            length = shift = 0
            while True:
                if at >= len(data) or shift > 28:
                    raise Doubt("a packet is damaged")
                length |= (data[at] & 127) << shift
                at, shift = at + 1, shift + 7
                if data[at - 1] < 128:
                    break
        if at + length > len(data):
            raise Doubt("a packet is damaged")
        yield head >> 3 & 15, data[at : at + length]
        at += length
