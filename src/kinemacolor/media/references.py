"""Which pictures of a video others refer to, read from the packets' heads without decoding them, codec by codec.

Of each packet is asked: may decoding begin here as if nothing came before, may any later picture need this one, is it shown,
on which temporal level does it stand, and, where the heads say it, which packets it needs. Only what the bitstream itself
promises is believed; a stream of which it cannot be read is left to the full decode by a `Doubt`.

Sources: ITU-T H.262 (6.2), ISO 14496-2 (6.2), RFC 9043 (4.3), RFC 6386 (9) and the VP9 bitstream specification (6.2, annex B); H.264 and HEVC
have a module of their own (nals), and so has AV1 (av1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from av.packet import Packet
from av.video.stream import VideoStream

from kinemacolor.media.av1 import Av1
from kinemacolor.media.bits import Bits
from kinemacolor.media.nals import H264, Hevc
from kinemacolor.media.roles import INTRA, Doubt, Role, Rules


def rules_of(video: VideoStream) -> Rules:
    """The rules of a stream's codec, to be asked about every packet of the stream in order.

    Raises:
        Doubt: here, or by the rules later: nothing certain can be said.
    """
    codec = codec_name(video)
    if codec in INTRA:
        return lambda packet: Role(packet.is_keyframe, False)
    if codec not in _RULES:
        raise Doubt(f"nothing is known of what refers to what in {codec}")
    return _RULES[codec](video)


def codec_name(video: VideoStream) -> str:
    """The format's name, whichever library decodes it."""
    return video.codec_context.codec.canonical_name


def needed(roles: Sequence[Role], wanted: Sequence[bool], first: int = 0) -> list[bool]:
    """Which of these pictures, in decoding order, must be decoded so that the wanted ones come out as they are.

    Args:
        first: position in the stream of the first of them.
    """
    keep = list(wanted)
    top, named = -1, set()
    for place in range(len(roles) - 1, -1, -1):
        role = roles[place]
        keep[place] = keep[place] or role.level < top or (role.reference and role.level == top) or first + place in named
        if not keep[place]:
            continue
        if role.needs is None:
            top = max(top, role.level)
        else:
            named |= role.needs
    return keep


class _Mpeg2:
    """MPEG-1 and MPEG-2: nothing refers to a B picture."""

    def __init__(self, _video: VideoStream) -> None:
        pass

    def __call__(self, packet: Packet) -> Role:
        data = bytes(packet)
        kind, head, fields = 0, False, False
        at = data.find(b"\0\0\1")
        while at >= 0 and at + 7 < len(data):
            code = data[at + 3]
            if code == 0 and not kind:
                kind = data[at + 5] >> 3 & 7
            elif code == 0xB3:
                head = True
            elif code == 0xB5 and data[at + 4] >> 4 == 3 and kind == 3:
                raise Doubt("its quantiser matrices change on the way")
            elif code == 0xB5 and data[at + 4] >> 4 == 8:
                fields = data[at + 6] & 3 != 3
            elif 0 < code < 0xB0:
                break
            at = data.find(b"\0\0\1", at + 3)
        if kind not in (1, 2, 3):
            raise Doubt("a packet holds no picture")
        if fields and data.count(b"\0\0\1\0") != 2:
            raise Doubt("its fields come in packets of their own")
        return Role(head and kind == 1, kind != 3)


class _Mpeg4:
    """MPEG-4 part 2: nothing refers to a B picture."""

    def __init__(self, video: VideoStream) -> None:
        self._extra = video.codec_context.extradata or b""
        at = next(
            (at for at in range(len(self._extra) - 4) if self._extra[at : at + 3] == b"\0\0\1" and self._extra[at + 3] >> 4 == 2),
            -1,
        )
        if at < 0:
            raise Doubt("its head lacks what decoding needs")
        self._time_bits = _layer_time_bits(Bits(self._extra[at + 4 :]))

    def __call__(self, packet: Packet) -> Role:
        data = bytes(packet)
        kinds = []
        at = data.find(b"\0\0\1")
        while at >= 0 and at + 4 < len(data):
            code = data[at + 3]
            after = data.find(b"\0\0\1", at + 4)
            if code == 0xB6:
                bits = Bits(data[at + 4 : at + 16])
                kinds.append(bits.u(2))
                while bits.u(1):
                    pass
                bits.u(1 + self._time_bits + 1)
                if not bits.u(1):
                    raise Doubt("it has pictures that repeat the one before")
            elif (code >> 4 == 2 or code == 0xB2) and data[at : after if after >= 0 else len(data)] not in self._extra:
                raise Doubt("its parameters change on the way")
            at = after
        if len(kinds) != 1:
            raise Doubt("a packet does not hold one picture")
        return Role(kinds[0] == 0 and packet.is_keyframe, kinds[0] != 2)


def _layer_time_bits(bits: Bits) -> int:
    """How many bits a picture's time has, from the head of a video object layer."""
    bits.u(9)
    version = 1
    if bits.u(1):
        version = bits.u(4)
        bits.u(3)
    if bits.u(4) == 15:
        bits.u(16)
    if bits.u(1):
        bits.u(3)
        if bits.u(1):
            bits.u(79)
    if bits.u(2):
        raise Doubt("it has shapes")
    bits.u(1)
    time_bits = max(1, (bits.u(16) - 1).bit_length())
    bits.u(1)
    if bits.u(1):
        bits.u(time_bits)
    bits.u(29)
    if bits.u(1):
        raise Doubt("it is interlaced")  # direct motion then counts in the distance of the first pair of B pictures
    bits.u(1)
    if bits.u(1 if version == 1 else 2) == 1:
        raise Doubt("it has sprites")
    return time_bits


class _Ffv1:
    """FFV1: every picture starts from the statistics of the one before; only key pictures reset them (RFC 9043, 4.3)."""

    def __init__(self, _video: VideoStream) -> None:
        pass

    def __call__(self, packet: Packet) -> Role:
        # The first bit of a picture's range coder, which stands at even odds: half of 0xFF00 and above is one.
        return Role(int.from_bytes(bytes(memoryview(packet)[:2]), "big") >= 0x7F80, True)


class _Vp8:
    """VP8: every picture may change the state that the next ones start from; only key pictures reset it."""

    def __init__(self, _video: VideoStream) -> None:
        pass

    def __call__(self, packet: Packet) -> Role:
        head = memoryview(packet)[0]
        return Role(not head & 1, True, shown=bool(head >> 4 & 1))


class _Vp9:
    """VP9: every picture may lend its motion to the next one; only key pictures reset all state."""

    def __init__(self, _video: VideoStream) -> None:
        pass

    def __call__(self, packet: Packet) -> Role:
        data = bytes(packet)
        shown, key = 0, False
        for number, frame in enumerate(_vp9_frames(data)):
            bits = Bits(frame[:2])
            if bits.u(2) != 2:
                raise Doubt("a packet is damaged")
            if bits.u(1) + 2 * bits.u(1) == 3:
                bits.u(1)
            if bits.u(1):
                shown += 1
                continue
            is_key = not bits.u(1)
            shown += bits.u(1)
            key = key or (is_key and number == 0)
        if shown > 1:
            raise Doubt("a packet holds several pictures")
        return Role(key, True, shown=shown == 1)


def _vp9_frames(data: bytes) -> Iterator[bytes]:
    """The frames of a packet, which may be several with an index at its end (annex B)."""
    mark = data[-1]
    if mark >> 5 == 6:
        count, size = (mark & 7) + 1, (mark >> 3 & 3) + 1
        index = 2 + count * size
        if len(data) > index and data[-index] == mark:
            at = 0
            for number in range(count):
                begin = len(data) - index + 1 + number * size
                length = int.from_bytes(data[begin : begin + size], "little")
                if length:
                    yield data[at : at + length]
                at += length
            return
    yield data


_RULES: dict[str, Callable[[VideoStream], Rules]] = {
    "av1": Av1,
    "ffv1": _Ffv1,
    "h264": H264,
    "hevc": Hevc,
    "mpeg1video": _Mpeg2,
    "mpeg2video": _Mpeg2,
    "mpeg4": _Mpeg4,
    "vp8": _Vp8,
    "vp9": _Vp9,
}
