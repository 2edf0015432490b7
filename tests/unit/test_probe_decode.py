"""Probing and decoding against the ffmpeg binary, and against colours computed by hand from the standards."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from kinemacolor.errors import UserError
from kinemacolor.media.decode import decode
from kinemacolor.media.prints import make_print
from kinemacolor.media.probe import Probe, probe
from kinemacolor.media.stretch import decode_stretch
from kinemacolor.params import Recipe

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SOURCE = ["-f", "lavfi", "-i"]


def ffmpeg(*arguments: object, given: bytes | None = None) -> bytes:
    """Run the ffmpeg binary and return its standard output."""
    command = [FFMPEG, "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of moving test pattern with sound, open groups of pictures, at 24000/1001 frames a second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    ffmpeg(
        *(*SOURCE, "testsrc2=size=320x180:rate=24000/1001:duration=10", *SOURCE, "sine=duration=10"),
        *("-c:v", "libx264", "-x264-params", "open-gop=1:keyint=24:bframes=3:b-pyramid=normal", "-pix_fmt", "yuv420p"),
        *("-c:a", "aac", "-movflags", "+faststart", path),
    )
    return path


def all_frames(path: Path, height: int, width: int, chain: str, pixel: str = "rgb24") -> np.ndarray:
    """Every frame as the ffmpeg binary decodes it."""
    raw = ffmpeg("-i", path, "-map", "0:v:0", "-vf", chain, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixel, "-")
    return np.frombuffer(raw, np.uint8).reshape((-1, height, width) + ((3,) if pixel == "rgb24" else ()))


def cut(path: Path, target: Path, share: float) -> Path:
    """A copy that ends early."""
    content = path.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return target


# ------------------------------------------------------------------------------------------------- probe


def test_probe_says_what_the_file_holds(film: Path) -> None:
    facts = probe(film)
    assert (facts.codec, facts.width, facts.height) == ("h264", 320, 180)
    assert facts.frame_rate == Fraction(24000, 1001)
    assert facts.frames == 240
    assert facts.duration == pytest.approx(240 * 1001 / 24000)
    assert facts.audio == {"codec": "aac", "channels": 1, "rate": 44100}
    assert facts.last_good_time is None
    assert Probe.from_json(facts.to_json()) == facts


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mkv", "libx264"),
        (".webm", "libvpx"),
        (".webm", "libvpx-vp9"),
        (".avi", "mpeg4"),
        (".ts", "libx264"),
        (".ogv", "libtheora"),
    ],
)
def test_frames_are_those_that_decode(film: Path, tmp_path: Path, suffix: str, codec: str) -> None:
    """Also where packets hold pictures that are never shown (VP8's alternative references)."""
    other = tmp_path / f"other{suffix}"
    extra = ["-auto-alt-ref", 1, "-lag-in-frames", 16, "-cpu-used", 5] if "vpx" in codec else []
    ffmpeg("-i", film, "-t", 4, "-c:v", codec, *extra, "-an", other)
    pictures = list(decode(other))
    facts = probe(other)
    assert facts.last_good_time is None
    assert facts.frames == len(pictures) == len(all_frames(other, 180, 320, "null", "gray"))
    assert [picture.number for picture in pictures] == list(range(len(pictures)))
    assert facts.duration == pytest.approx(pictures[-1].time + 1001 / 24000, abs=0.002)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
@pytest.mark.parametrize("share", [0.25, 0.6, 0.9])
def test_truncated_file_names_its_last_good_time(film: Path, tmp_path: Path, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    ffmpeg("-i", film, "-c:v", "copy" if suffix != ".avi" else "mpeg4", "-c:a", "aac", "-movflags", "+faststart", whole)
    short = cut(whole, tmp_path / f"short{suffix}", share)

    last_good_time = probe(short).last_good_time
    assert last_good_time is not None
    with pytest.raises(UserError, match=r"short.*truncated or damaged after \d+\.\d\d s.*allow_truncated"):
        list(decode(short, every=7))

    pictures = list(decode(short, allow_truncated=True))
    reference = list(decode(whole, end=last_good_time))
    assert len(reference) > 10
    # Up to its last good time the file is as good as the whole one.
    for one, other in zip(pictures, reference, strict=False):
        assert one.number == other.number
        assert one.time == other.time
        assert np.array_equal(one.pixels, other.pixels)
    assert len(pictures) >= len(reference)


@pytest.mark.parametrize("share", [0.25, 0.6, 0.9])
def test_an_avi_cut_between_two_packets_is_truncated_as_well(film: Path, tmp_path: Path, share: float) -> None:
    """Without its index, which lies at the end, ffmpeg takes the duration of what is there, and no packet lacks its tail."""
    whole = tmp_path / "whole.avi"
    ffmpeg("-i", film, "-c:v", "mpeg4", "-c:a", "aac", whole)
    with av.open(str(whole)) as container:
        ends = [packet.pos + packet.size + packet.size % 2 for packet in container.demux() if packet.size]
    end = ends[int(len(ends) * share)]
    short = tmp_path / "short.avi"
    short.write_bytes(whole.read_bytes()[:end])
    assert probe(whole).last_good_time is None
    assert probe(short).last_good_time == pytest.approx(10 * share, abs=0.2)


def test_a_name_with_a_colon_is_a_file(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("12:30.mp4").write_bytes(film.read_bytes())
    assert probe(Path("12:30.mp4")).frames == 240
    assert next(decode(Path("12:30.mp4"))).pixels.shape == (180, 320, 3)
    assert next(decode_stretch(Path("12:30.mp4"), start=5.0, end=6.0)).number == 120
    made = make_print(Path("12:30.mp4"), Recipe(height=90, trim_frames=200), Path("grey:print.mp4"))
    assert probe(Path("grey:print.mp4")).frames == made.frames == 40


def test_what_lies_before_the_cut_can_be_read(film: Path, tmp_path: Path) -> None:
    short = cut(film, tmp_path / "short.mp4", 0.6)
    assert len(list(decode(short, end=2.0))) == 48


def test_damage_in_the_middle_is_named(film: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    content = bytearray(film.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.mp4 is truncated or damaged after \d+\.\d\d s") as caught:
        list(decode(damaged))
    last_good_time = float(re.search(r"after (\d+\.\d\d) s", str(caught.value))[1])
    assert 3 < last_good_time < 7
    for one, other in zip(decode(damaged, end=last_good_time - 0.05), decode(film), strict=False):
        assert np.array_equal(one.pixels, other.pixels)
    # What can be had is had, and keeps its times.
    numbers = {picture.number: picture.time for picture in decode(damaged, allow_truncated=True)}
    assert 200 < len(numbers) < 240
    assert max(numbers.values()) == pytest.approx(239 * 1001 / 24000, abs=0.001)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.mp4", b"<!DOCTYPE html><html><body>Sign in to watch</body></html>"),
        ("text.txt", b"A text that ffmpeg would gladly show as a film of its letters.\n" * 50),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n"),
        ("files.ffconcat", b"ffconcat version 1.0\nfile film.mp4\n"),
        ("empty.mp4", b""),
        ("noise.mkv", bytes(range(256)) * 40),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is no video"):
        probe(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name} is no video"):
        next(decode(tmp_path / name))


def test_sound_and_cover_picture_are_no_video(film: Path, tmp_path: Path) -> None:
    cover, sound = tmp_path / "cover.png", tmp_path / "sound.mp4"
    ffmpeg("-i", film, "-frames:v", 1, cover)
    ffmpeg("-i", film, "-i", cover, "-map", "0:a", "-map", "1:v", "-c", "copy", "-disposition:v", "attached_pic", sound)
    with pytest.raises(UserError, match=r"no video .it holds no moving picture"):
        probe(sound)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.mp4 is missing"):
        probe(tmp_path / "nowhere.mp4")


# ------------------------------------------------------------------------------------------------- which frames


@pytest.mark.parametrize(
    "options", [{}, {"every": 7}, {"every": 7, "first": 3}, {"every": 5, "first": 12}, {"start": 1.0, "end": 2.5}]
)
def test_wanted_frames_are_those_of_a_full_decode(film: Path, options: dict) -> None:
    whole = {picture.number: picture for picture in decode(film)}
    first, every = options.get("first", 0), options.get("every", 1)
    wanted = [
        number
        for number, picture in whole.items()
        if number >= first and (number - first) % every == 0 and options.get("start", 0) <= picture.time < options.get("end", 1e9)
    ]
    pictures = list(decode(film, **options))
    assert [picture.number for picture in pictures] == wanted
    for picture in pictures:
        assert picture.time == float(Fraction(picture.number * 1001, 24000))
        assert np.array_equal(picture.pixels, whole[picture.number].pixels)


def test_times_are_the_frames_own_where_the_rate_varies(tmp_path: Path) -> None:
    path = tmp_path / "variable.mkv"
    # Frames 10 to 19 of each 30 are missing; the others keep their times.
    select = "select='lt(mod(n,30),10)+gte(mod(n,30),20)'"
    ffmpeg(*SOURCE, "testsrc2=size=64x48:rate=25:duration=4", "-vf", select, "-fps_mode", "vfr", "-c:v", "libx264", path)
    kept = [number for number in range(100) if not 10 <= number % 30 < 20]
    assert [picture.time for picture in decode(path)] == pytest.approx([number / 25 for number in kept], abs=0.001)


def test_time_counts_from_the_start_of_the_stream(film: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.ts"
    ffmpeg("-i", film, "-c", "copy", "-an", "-output_ts_offset", 30, late)
    assert next(decode(late)).time == 0.0


# ------------------------------------------------------------------------------------------------- which colours


def rgb_by_hand(y: int, cb: int, cr: int, kr: float, kb: float, full: bool) -> np.ndarray:
    """R'G'B' in 0..255 from Y'CbCr by ITU-T H.273, equations 33 to 38 and 41 to 43, inverted."""
    luma, blue, red = (
        (y / 255, (cb - 128) / 255, (cr - 128) / 255) if full else ((y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224)
    )
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return np.clip([r, g, b], 0, 1) * 255


BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


@pytest.mark.parametrize(
    ("tags", "size", "coefficients", "full"),
    [
        ("colorspace=smpte170m:range=tv", (64, 96), BT601, False),
        ("colorspace=bt470bg:range=pc", (64, 96), BT601, True),
        ("colorspace=bt709:range=tv", (64, 96), BT709, False),
        ("colorspace=bt709:range=pc", (64, 96), BT709, True),
        ("colorspace=bt2020nc:range=tv", (64, 96), BT2020, False),
        ("colorspace=smpte170m:range=tv", (720, 1280), BT601, False),
        ("", (64, 96), BT601, False),
        ("", (576, 720), BT601, False),
        ("", (720, 1280), BT709, False),
    ],
)
@pytest.mark.parametrize("colour", [(120, 90, 170), (60, 150, 110), (200, 128, 128)])
def test_colours_follow_the_tags(tmp_path: Path, tags: str, size: tuple[int, int], coefficients, full: bool, colour) -> None:
    path = tmp_path / "colour.mkv"
    pixels = size[0] * size[1]
    raw = bytes([colour[0]]) * pixels + bytes([colour[1]]) * (pixels // 4) + bytes([colour[2]]) * (pixels // 4)
    chain = ["-vf", f"setparams={tags}"] if tags else []
    form = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{size[1]}x{size[0]}"]
    ffmpeg(*form, "-i", "-", *chain, "-c:v", "ffv1" if not tags else "libx264", "-qp", 0, path, given=raw)

    by_hand = rgb_by_hand(*colour, *coefficients, full)
    picture = next(decode(path)).pixels
    assert picture.shape == (*size, 3)
    assert np.abs(picture - by_hand).max() <= 1.0  # swscale computes in fixed point
    small = next(decode(path, size=(16, 16))).pixels
    assert np.abs(small - by_hand).max() <= 1.0

    luma = colour[0] if full else (colour[0] - 16) / 219 * 255
    grey = next(decode(path, grey=True)).pixels
    assert grey.shape == size
    assert np.abs(grey - luma).max() <= 0.6


@pytest.mark.parametrize("size", [None, (90, 160), (64, 64)])
def test_pixels_equal_the_ffmpeg_binary(film: Path, size: tuple[int, int] | None) -> None:
    height, width = size or (180, 320)
    flags = "area+accurate_rnd+full_chroma_int+full_chroma_inp"
    reference = all_frames(film, height, width, f"scale={width}:{height}:flags={flags}:in_chroma_loc=left")
    pictures = np.stack([picture.pixels for picture in decode(film, size=size)])
    assert pictures.shape == reference.shape
    difference = np.abs(pictures.astype(int) - reference)
    assert difference.max() <= 1
    assert difference.mean() < 0.001


def test_downscaling_averages_areas(film: Path) -> None:
    whole = next(decode(film, first=100)).pixels
    small = next(decode(film, first=100, size=(45, 80))).pixels
    averaged = whole.reshape(45, 4, 80, 4, 3).mean(axis=(1, 3))
    # Averaging before clipping and after it differ a little at saturated edges.
    assert np.abs(small - averaged).mean() < 1.0


def test_a_frame_without_subsampling_or_matrix_keeps_its_values(tmp_path: Path) -> None:
    path = tmp_path / "rgb.mkv"
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    form = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", "64x48"]
    ffmpeg(*form, "-i", "-", "-c:v", "libx264rgb", "-qp", 0, path, given=pixels.tobytes())
    assert np.array_equal(next(decode(path)).pixels, pixels)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_films_stand_upright(film: Path, tmp_path: Path, turn: int) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation:v", turn, "-i", film, "-t", 0.5, "-c", "copy", turned)
    height, width = (320, 180) if turn != 180 else (180, 320)
    facts = probe(turned)
    assert (facts.height, facts.width) == (height, width)
    reference = (all_frames(turned, height, width, "extractplanes=y", "gray").astype(float) - 16) / 219 * 255
    for picture, luma in zip(decode(turned, grey=True), reference, strict=True):
        assert picture.pixels.flags.c_contiguous
        assert np.abs(picture.pixels - np.clip(luma, 0, 255)).max() <= 1
    assert next(decode(turned, size=(60, 40))).pixels.shape == (60, 40, 3)
