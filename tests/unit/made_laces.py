"""Matroska films whose sound is laced: several of its packets in one block, as mkvmerge writes MP3, AC3 and AAC by default."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av

_LACE = 8
_SOUND = bytes(320)  # 20 ms at 8 kHz


def laced(source: Path, path: Path, times: Sequence[int]) -> None:
    """Write the H.264 of an mp4 to Matroska beside laced sound, its pictures shown at these milliseconds."""
    with av.open(str(source)) as container:
        video = container.streams.video[0]
        width, height, extra = video.width, video.height, video.codec_context.extradata
        packets = [packet for packet in container.demux(video) if packet.size]
    shown = {stamp: time for stamp, time in zip(sorted(packet.pts for packet in packets), times, strict=True)}
    pictures = _element("E0", _number("B0", width) + _number("BA", height))
    tracks = _element("AE", _track(1, 1, b"V_MPEG4/ISO/AVC") + _element("63A2", extra) + pictures)
    sound = _element("E1", _element("B5", struct.pack(">d", 8000.0)) + _number("9F", 1) + _number("6264", 16))
    tracks += _element("AE", _track(2, 2, b"A_PCM/INT/LIT") + _number("9C", 1) + sound)
    clusters, cluster, begin, heard = b"", b"", 0, 0
    for packet in packets:
        time = shown[packet.pts]
        if packet.is_keyframe and cluster:
            clusters, cluster, begin = clusters + _element("1F43B675", _number("E7", begin) + cluster), b"", time
        while heard <= time:
            fixed_size = b"\x84" + bytes([_LACE - 1])
            cluster += _element("A3", b"\x82" + struct.pack(">h", heard - begin) + fixed_size + _SOUND * _LACE)
            heard += 20 * _LACE
        flags = b"\x80" if packet.is_keyframe else b"\0"
        cluster += _element("A3", b"\x81" + struct.pack(">h", time - begin) + flags + bytes(packet))
    clusters += _element("1F43B675", _number("E7", begin) + cluster)
    length = _element("4489", struct.pack(">d", max(times) + 40))
    info = _element("1549A966", _number("2AD7B1", 1_000_000) + length + _element("4D80", b"-") + _element("5741", b"-"))
    version = _number("4286", 1) + _number("42F7", 1) + _number("42F2", 4) + _number("42F3", 8)
    head = _element("1A45DFA3", version + _element("4282", b"matroska") + _number("4287", 4) + _number("4285", 2))
    path.write_bytes(head + _element("18538067", info + _element("1654AE6B", tracks) + clusters))


def _track(number: int, kind: int, codec: bytes) -> bytes:
    return _number("D7", number) + _number("73C5", number) + _number("83", kind) + _element("86", codec)


def _number(name: str, value: int) -> bytes:
    return _element(name, value.to_bytes(4, "big"))


def _element(name: str, content: bytes) -> bytes:
    """EBML (RFC 8794): name, length in eight bytes, content."""
    return bytes.fromhex(name) + struct.pack(">Q", len(content) | 1 << 56) + content
