"""Small films of every codec and structure that frames are taken from, whose pictures carry their own numbers.

The left upper corner of every picture holds its number as eight bits in blocks of 16x16 pixels, black or white, which
survive any coding and any colours; so a test need trust no decoder to know which frame it sees. `made(name)` makes a film
when it is first asked for, once in a process.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from tests.unit.made_fields import h264_with_fields, in_fields

WIDTH, HEIGHT, RATE, FRAMES = 96, 64, 25, 80
LEADER = 30
_BLOCK = 16


@dataclass(frozen=True)
class Made:
    """How one film is made."""

    suffix: str
    encoder: tuple[str, ...] = ()
    """ffmpeg's options after the input."""
    size: tuple[int, int] = (HEIGHT, WIDTH)
    frames: int = FRAMES
    source: str | None = None
    """The name of the film that it is made from, instead of drawn pictures."""
    change: Callable[[Path, Path], None] | None = None
    """Makes the film from the path of its source."""
    leader: str = ""
    """What most of the first `LEADER` pictures' colours are: "bars", which do not change from row to row, or "black"."""


def ffmpeg(*arguments: object, given: bytes | None = None) -> bytes:
    """Run the ffmpeg binary and return its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout


def drawn(frames: int, height: int, width: int, leader: str = "") -> np.ndarray:
    """(frames, 3, height, width) uint8 Y'CbCr of limited range: numbers on black and white, beside a moving pattern.

    With a `leader`, the first pictures are such as head tapes, and the pattern's colours are coarse ones in every direction.
    """
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    film = np.empty((frames, 3, height, width), np.uint8)
    for number in range(frames):
        t = number + 40 * (number >= 47)  # a cut, so that encoders have a reason for a key picture
        film[number, 0] = 110 + 50 * np.sin(x / 9 + t / 4) + 35 * np.cos(y / 6 - t / 7)
        film[number, 1] = 128 + 60 * np.sin(x / 15 - t / 9)
        film[number, 2] = 128 + 60 * np.cos(y / 13 + t / 11)
        top, left = int(34 + 8 * np.sin(t / 5)), int(40 + 36 * np.cos(t / 8))
        film[number, :, top : top + 16, left : left + 16] = np.array([[[200]], [[70]], [[190]]])
        film[number, 0] += rng.integers(0, 6, (height, width), np.uint8)
        if leader and number >= LEADER:
            cells = rng.integers(60, 196, (2, -(-height // 6), -(-width // 6)), np.uint8)
            film[number, 1:] = cells.repeat(6, axis=1).repeat(6, axis=2)[:, :height, :width]
        elif leader:
            film[number] = np.array([[[100]], [[128]], [[128]]]) if leader == "bars" else np.array([[[16]], [[128]], [[128]]])
        for bit in range(8):
            row, column = divmod(bit, 4)
            block = film[number, :, row * _BLOCK : (row + 1) * _BLOCK, column * _BLOCK : (column + 1) * _BLOCK]
            block[0], block[1:] = (225 if number >> bit & 1 else 25), 128
        if leader == "bars" and number < LEADER:
            film[number, 1:] = 128 + np.array([[[30]], [[-30]]]) * np.cos(x // 8)
    return film


def number_in(pixels: np.ndarray) -> int:
    """The number that a picture, (H, W, 3) RGB or (H, W) grey, carries.

    Raises:
        AssertionError: its blocks are neither black nor white, so that it is no picture of such a film or a broken one.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    number = 0
    for bit in range(8):
        row, column = divmod(bit, 4)
        inner = grey[row * _BLOCK + 4 : (row + 1) * _BLOCK - 4, column * _BLOCK + 4 : (column + 1) * _BLOCK - 4]
        assert not 80 < inner.mean() < 170, f"bit {bit} is neither black nor white: {inner.mean():.0f}"
        number |= int(inner.mean() > 125) << bit
    return number


@functools.cache
def made(name: str) -> Path:
    """The path of one of `VIDEOS`; it must not be written to."""
    plan = VIDEOS[name]
    path = Path(_folder().name) / f"{name}{plan.suffix}"
    if plan.source:
        plan.change(made(plan.source), path)
        return path
    height, width = plan.size
    form = ["-f", "rawvideo", "-pix_fmt", "yuv444p", "-video_size", f"{width}x{height}", "-framerate", RATE, "-i", "-"]
    ffmpeg(*form, *plan.encoder, "-threads", 1, path, given=_drawn_bytes(plan.frames, height, width, plan.leader))
    return path


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="made-videos-")


@functools.lru_cache(4)
def _drawn_bytes(frames: int, height: int, width: int, leader: str) -> bytes:
    return drawn(frames, height, width, leader).tobytes()


def decoded(path: Path, *, chain: str, pixel: str, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """Every frame as the ffmpeg binary gives it: (frames, H, W, 3) uint8 for rgb24, (frames, H * W) for gray and gray10le."""
    output = ["-map", "0:v:0", "-vf", chain, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixel, "-"]
    raw = np.frombuffer(ffmpeg("-i", path, *output), "<u2" if pixel == "gray10le" else np.uint8)
    height, width = shape
    return raw.reshape(-1, height, width, 3) if pixel == "rgb24" else raw.reshape(-1, height * width)


# ------------------------------------------------------------------------------------------------- made from another


def _copied(*options: object, before: tuple[object, ...] = ()) -> Callable[[Path, Path], None]:
    return lambda source, target: ffmpeg(*before, "-i", source, "-c", "copy", *options, target)


def restamped(stamp: Callable[[int], int | None], time_base: Fraction = Fraction(1, 1000)) -> Callable[[Path, Path], None]:
    """A copy of a film without B frames whose packet k stands at `stamp(k)` in units of the time base."""

    def change(source: Path, target: Path) -> None:
        with av.open(str(source)) as given, av.open(str(target), "w") as out:
            stream = out.add_stream_from_template(given.streams.video[0])
            stream.time_base = time_base
            for number, packet in enumerate(packet for packet in given.demux(video=0) if packet.size):
                packet.time_base = time_base
                packet.pts = packet.dts = stamp(number)
                packet.duration = 0
                packet.stream = stream
                out.mux(packet)

    return change


def _field_pairs(_source: Path, target: Path) -> None:
    """A film of as many pictures as the source, whose fields come in packets of their own, each at its own time."""
    frames, step = VIDEOS["ffv1"].frames, 90000 // RATE
    stream, packets = target.with_suffix(".h264"), target.with_suffix(".mp4")
    stream.write_bytes(h264_with_fields(drawn(frames, HEIGHT, WIDTH)))
    ffmpeg("-framerate", RATE, "-i", stream, "-c", "copy", packets)
    halves = (range(2) if in_fields(number) else range(1) for number in range(frames))
    stamps = [number * step + half * step // 2 for number, parts in enumerate(halves) for half in parts]
    restamped(lambda k: stamps[k], Fraction(1, 90000))(packets, target)


def repacked(change: Callable[[int, bytearray], bytearray]) -> Callable[[Path, Path], None]:
    """A copy of a film whose packet k has other content."""

    def copy(source: Path, target: Path) -> None:
        with av.open(str(source)) as given, av.open(str(target), "w") as out:
            stream = out.add_stream_from_template(given.streams.video[0])
            for number, packet in enumerate(packet for packet in given.demux(video=0) if packet.size):
                copied = av.Packet(bytes(change(number, bytearray(bytes(packet)))))
                copied.pts, copied.dts, copied.duration = packet.pts, packet.dts, packet.duration
                copied.time_base, copied.is_keyframe, copied.stream = packet.time_base, packet.is_keyframe, stream
                out.mux(copied)

    return copy


def _dropping(_number: int, packet: bytearray) -> bytearray:
    """HEVC whose entrances tell a decoder to drop what waits to be shown (no_output_of_prior_pics_flag)."""
    at = 0
    while at < len(packet):
        if 16 <= packet[at + 4] >> 1 & 63 < 24:
            packet[at + 6] |= 64
        at += 4 + int.from_bytes(packet[at : at + 4], "big")
    return packet


_MIXED = [0, 40, 47, 180, 190]  # within 250 ms: five frames at most uneven distances


def _two_passes(source: Path, target: Path) -> None:
    """VP8 with hidden pictures, which its encoder makes in a second pass only."""
    for number in (1, 2):
        options = ["-c:v", "libvpx", "-b:v", "200k", "-g", 40, "-auto-alt-ref", 1, "-lag-in-frames", 16, "-cpu-used", 5]
        log = ["-pass", number, "-passlogfile", target.with_suffix("")]
        ffmpeg("-i", source, *options, *log, "-threads", 1, "-f", "webm", target if number == 2 else "/dev/null")


def _x264(parameters: str, pixel: str = "yuv420p", *more: str) -> tuple[str, ...]:
    return ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", pixel, *more, "-x264-params", parameters)


def _x265(parameters: str, pixel: str = "yuv420p") -> tuple[str, ...]:
    shared = "pools=none:frame-threads=1:log-level=error:"
    return ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", pixel, "-x265-params", shared + parameters)


def _part2(*more: str) -> tuple[str, ...]:
    return ("-c:v", "mpeg4", "-q:v", "4", "-pix_fmt", "yuv420p", *more)


def _mpeg2(*more: str) -> tuple[str, ...]:
    return ("-c:v", "mpeg2video", "-q:v", "4", "-pix_fmt", "yuv420p", "-g", "12", *more)


_VPX = ("-pix_fmt", "yuv420p", "-deadline", "realtime", "-cpu-used", "5", "-auto-alt-ref", "1", "-lag-in-frames", "12")
_OPEN = "open-gop=1:keyint=20:bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"

VIDEOS: dict[str, Made] = {
    # H.264
    "h264-ippp": Made(".mp4", _x264("bframes=0:keyint=24:ref=1")),
    "h264-b": Made(".mkv", _x264("bframes=3:b-adapt=0:b-pyramid=none:keyint=24")),
    "h264-pyramid": Made(".mp4", _x264("bframes=7:b-adapt=0:b-pyramid=normal:ref=4:keyint=33")),
    "h264-open": Made(".mp4", _x264(_OPEN)),
    "h264-open-ts": Made(".ts", _x264(_OPEN)),
    "h264-bluray": Made(
        ".mkv", _x264("bluray-compat=1:open-gop=1:keyint=24:slices=4:bframes=3:level=4.1:vbv-maxrate=4000:vbv-bufsize=4000")
    ),
    "h264-refs": Made(".mkv", _x264("ref=8:bframes=5:b-pyramid=normal:weightp=2:keyint=60:me=hex")),
    "h264-strict": Made(".ts", _x264("bframes=4:b-adapt=0:b-pyramid=strict:keyint=25")),
    "h264-refresh": Made(".mp4", _x264("intra-refresh=1:keyint=16:bframes=0")),
    "h264-mbaff": Made(".ts", _x264("tff=1:bframes=2:keyint=24:open-gop=1")),
    "h264-bff": Made(".mkv", _x264("bff=1:bframes=3:keyint=24")),
    "h264-10bit": Made(".mkv", _x264("bframes=3:keyint=24", "yuv420p10le")),
    "h264-422": Made(".mkv", _x264("bframes=2:keyint=24", "yuv422p")),
    "h264-444-odd": Made(".mp4", _x264("bframes=2:keyint=24", "yuv444p"), size=(65, 97)),
    "h264-one-group": Made(".mp4", _x264("bframes=3:keyint=infinite:scenecut=0")),
    "h264-paff": Made(".ts", source="ffv1", change=_field_pairs),
    # HEVC
    "hevc-closed": Made(".mp4", (*_x265("open-gop=0:keyint=20:min-keyint=20:bframes=3:b-adapt=0"), "-tag:v", "hvc1")),
    "hevc-open": Made(".mkv", _x265("open-gop=1:keyint=20:min-keyint=20:bframes=4:b-adapt=0:b-pyramid=1:scenecut=0")),
    "hevc-layers": Made(".ts", _x265("temporal-layers=3:rc-lookahead=20:keyint=24:bframes=7:b-adapt=0:b-pyramid=1:open-gop=0")),
    "hevc-10bit": Made(".mkv", _x265("keyint=24:bframes=3", "yuv420p10le")),
    "hevc-dropping": Made(".mp4", source="hevc-closed", change=repacked(_dropping)),
    "hevc-ended": Made(
        ".mkv", source="hevc-closed", change=repacked(lambda number, packet: packet + b"\0\0\0\2\x48\1" * (number == 39))
    ),
    # VP8, VP9, AV1
    "vp8-hidden": Made(".webm", source="h264-ippp", change=_two_passes),
    "vp8-odd": Made(".mkv", ("-c:v", "libvpx", *_VPX, "-b:v", "300k", "-g", "40"), size=(65, 97)),
    "vp9-hidden": Made(".webm", ("-c:v", "libvpx-vp9", *_VPX, "-b:v", "200k", "-g", "30")),
    "vp9-odd": Made(".mp4", ("-c:v", "libvpx-vp9", *_VPX, "-b:v", "200k", "-g", "40"), size=(65, 97)),
    "av1-svt": Made(".mp4", ("-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lp=1", "-g", "24", "-pix_fmt", "yuv420p")),
    "av1-aom": Made(".webm", ("-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-g", "30", "-pix_fmt", "yuv420p")),
    # MPEG-2, MPEG-4 part 2, and what is all of key pictures
    "mpeg2-closed": Made(".ts", _mpeg2("-bf", "2", "-flags", "+cgop", "-sc_threshold", "1000000000")),
    "mpeg2-open": Made(".mpg", _mpeg2("-bf", "2")),
    "mpeg2-fields": Made(".ts", _mpeg2("-bf", "2", "-flags", "+ilme+ildct", "-vf", "setfield=tff")),
    "mpeg4-b": Made(".mp4", _part2("-bf", "2", "-g", "20")),
    "mpeg4-avi": Made(".avi", _part2("-bf", "2", "-g", "20")),
    "prores": Made(".mov", ("-c:v", "prores_ks", "-profile:v", "0", "-pix_fmt", "yuv422p10le"), frames=30),
    "ffv1": Made(".mkv", ("-c:v", "ffv1", "-pix_fmt", "yuv420p"), frames=30),
    "ffv1-intra": Made(".avi", ("-c:v", "ffv1", "-level", "3", "-g", "1", "-pix_fmt", "yuv420p"), frames=30),
    "utvideo": Made(".avi", ("-c:v", "utvideo", "-pix_fmt", "yuv420p"), frames=30),
    "dv": Made(".avi", ("-c:v", "dvvideo", "-pix_fmt", "yuv420p"), size=(576, 720), frames=12),
    "mjpeg": Made(".avi", ("-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"), frames=30),
    # Time stamps
    "late": Made(".ts", source="h264-open-ts", change=_copied("-output_ts_offset", 30)),
    "edit-list": Made(".mp4", source="h264-pyramid", change=_copied(before=("-ss", "1.3"))),
    "edit-list-open": Made(".mp4", source="h264-open", change=_copied(before=("-ss", "1.3"))),
    "open-cut": Made(".mkv", source="h264-open", change=_copied(before=("-ss", "1.3"))),
    "variable": Made(".mkv", source="h264-ippp", change=restamped(lambda k: k // 5 * 250 + _MIXED[k % 5])),
    "variable-mp4": Made(
        ".mp4", source="h264-ippp", change=restamped(lambda k: (k // 5 * 250 + _MIXED[k % 5]) * 90, Fraction(1, 90000))
    ),
    "repeated": Made(".mkv", source="h264-ippp", change=restamped(lambda k: k // 2 * 80)),
    "h264-avi": Made(".avi", _x264("bframes=3:b-adapt=0:b-pyramid=normal:keyint=24")),
    # Shapes
    "rotated": Made(".mp4", source="h264-open", change=_copied(before=("-display_rotation:v", 90))),
    "anamorphic": Made(".mp4", (*_x264("bframes=2:keyint=24"), "-vf", "setsar=16/11")),
    "anamorphic-mkv": Made(".mkv", source="h264-b", change=_copied("-aspect", "16:9")),
}


def _coloured(space: str, span: str, pixel: str = "yuv420p") -> Made:
    tags = f"setparams=colorspace={space}:range={span}:color_primaries=bt709:color_trc=bt709"
    return Made(".mkv", ("-vf", tags, *_x264("bframes=2:keyint=24", pixel)), frames=40)


VIDEOS |= {
    "601-full": _coloured("smpte170m", "pc"),
    "709-limited": _coloured("bt709", "tv"),
    "2020-10bit": _coloured("bt2020nc", "tv", "yuv420p10le"),
}


def _led(leader: str, parameters: str = "", suffix: str = ".mp4") -> Made:
    """Coded without loss, and with chroma of every other pixel, so that bars stay even."""
    return Made(suffix, (*_x264(f"{parameters}bframes=2:keyint=12:qp=0"), "-vf", "scale=flags=neighbor"), leader=leader)


VIDEOS |= {  # what the first pictures look like must not settle how the others are converted
    "leader-bars": _led("bars"),
    "leader-black": _led("black", suffix=".mkv"),
    "leader-mbaff": _led("bars", "tff=1:", suffix=".mkv"),
    "leader-fields": Made(
        ".mpg",
        _mpeg2("-g", "1", "-q:v", "1", "-flags", "+ilme+ildct", "-vf", "scale=flags=neighbor,setfield=tff"),
        leader="bars",
    ),
    **{f"leader-siting-{siting}": _led("bars", f"chromaloc={siting}:") for siting in (1, 2, 3, 4)},
}
