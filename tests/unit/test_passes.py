"""The one pass over both prints against the plain decode: the same frames at the same times, nearly the same grids."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.align.grid import area_matrix
from kinemacolor.align.luma import LumaGrids
from kinemacolor.align.passes import one_signature, signatures
from kinemacolor.align.picks import decode_pairs, pick_pairs
from kinemacolor.align.signature import DECODE_SIZE, Signature, active_area, signature
from kinemacolor.errors import UserError
from kinemacolor.media.decode import decode, frames_of

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
SECONDS = 4


def ffmpeg(*arguments: object) -> None:
    subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments)], check=True)


def made(target: Path, *encoding: object, size: str = "320x180", seconds: float = SECONDS, chain: str = "null") -> Path:
    """A moving test pattern under grain that a loop filter has something to do with."""
    source = f"testsrc2=size={size}:rate=24:duration={seconds},noise=alls=12:allf=t,{chain}"
    ffmpeg("-f", "lavfi", "-i", source, *encoding, target)
    return target


def plain(path: Path, *, allow_truncated: bool = False) -> Signature:
    """By swscale, from every frame of a sequential decode."""
    return signature(decode(path, grey=True, size=DECODE_SIZE, allow_truncated=allow_truncated))


def assert_same(found: Signature, expected: Signature, *, median: float = 0.3, most: float = 3.0) -> None:
    assert np.array_equal(found.times, expected.times)
    assert found.grids.shape == expected.grids.shape and found.grids.dtype == np.float16
    difference = np.abs(found.grids.astype(np.float32) - expected.grids.astype(np.float32))
    assert np.median(difference) <= median and difference.max() <= most


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """With B frames and open groups."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    x264 = "open-gop=1:keyint=24:bframes=3:b-pyramid=normal"
    return made(path, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-x264-params", x264, seconds=8)


# ------------------------------------------------------------------------------------------------- the same frames and grids


@pytest.mark.parametrize(
    ("name", "encoding", "size", "chain"),
    [
        ("h264.mkv", "-c:v libx264 -pix_fmt yuv420p", "320x180", "null"),
        ("h264.ts", "-c:v libx264 -pix_fmt yuv420p -crf 38", "352x240", "null"),
        # Of woven pictures swscale's average is up to 6 off the mean by area; ours is within half a step of it.
        ("woven.mp4", "-c:v libx264 -pix_fmt yuv420p -flags +ildct+ilme", "320x192", "interlace"),
        ("vp8.webm", "-c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 5", "320x166", "null"),
        ("vp9.webm", "-c:v libvpx-vp9 -cpu-used 8 -deadline realtime", "320x180", "null"),
        ("mpeg4.avi", "-c:v mpeg4 -bf 2", "320x180", "null"),
        ("mpeg2.ts", "-c:v mpeg2video -bf 2", "352x288", "setsar=16/11"),
        ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none", "320x180", "null"),
        ("variable.mkv", "-c:v libx264 -pix_fmt yuv420p -fps_mode vfr", "320x180", "select='mod(n,7)*mod(n,5)'"),
        ("odd.mkv", "-c:v libx264 -pix_fmt yuv444p", "323x181", "null"),
        ("tall.mp4", "-c:v libx264 -pix_fmt yuv420p", "180x320", "null"),
        ("ten.mkv", "-c:v libx264 -pix_fmt yuv420p10le", "322x182", "null"),
        ("full.mp4", "-c:v libx264 -pix_fmt yuvj420p -color_range pc", "320x180", "null"),
        ("rgb.mkv", "-c:v libx264rgb -qp 10", "320x180", "null"),
        ("tiny.mkv", "-c:v libx264 -pix_fmt yuv420p", "48x32", "null"),
        ("grey.mkv", "-c:v ffv1 -pix_fmt gray", "320x180", "null"),
    ],
)
def test_frames_and_times_are_those_of_the_plain_decode(tmp_path, name, encoding, size, chain):
    path = made(tmp_path / name, *encoding.split(), size=size, chain=chain)
    found = one_signature(path)
    assert len(found) >= 48
    assert np.array_equal(found.numbers, np.arange(len(found)))
    assert_same(found, plain(path), most=8.0 if name in ("tiny.mkv", "h264.ts", "woven.mp4") else 3.0)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_prints_stand_upright(film, tmp_path, turn):
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation:v", turn, "-i", film, "-t", 1, "-c", "copy", turned)
    assert_same(one_signature(turned), plain(turned))


def test_both_prints_at_once_are_each_as_alone(film, tmp_path):
    other = made(tmp_path / "other.mkv", "-c:v", "libx264", "-pix_fmt", "yuv420p", size="640x360")
    told = []
    grey, colour = signatures(other, film, progress=lambda done, total: told.append((done, total)))
    assert_same(grey, plain(other))
    assert_same(colour, plain(film))
    assert told[-1] == (len(grey) + len(colour),) * 2
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@settings(max_examples=20, deadline=None)
@given(st.integers(36, 90), st.integers(64, 150), st.integers(0, 2**31))
def test_grid_of_any_size_is_the_mean_by_area(height, width, seed):
    """Against the area matrices of grid.py, which know nothing of lines and strips."""
    pixels = np.random.default_rng(seed).integers(16, 236, (height, width), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="gray")
    found = np.concatenate(list(LumaGrids(18, 32).of([frame] * 3)))
    assert found.shape == (3, 18, 32)
    rows, columns = area_matrix(0.0, 1.0, height, 18), area_matrix(0.0, 1.0, width, 32)
    expected = (rows @ pixels @ columns.T - 16) * 255 / 219
    assert np.abs(found - expected).max() < 0.05


def test_a_film_that_changes_size_half_way_is_taken_as_it_comes(tmp_path):
    parts = [
        made(tmp_path / f"{i}.ts", "-c:v", "mpeg2video", size=size, seconds=1) for i, size in enumerate(("352x288", "320x180"))
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    expected = plain(joined, allow_truncated=True)
    assert_same(one_signature(joined, allow_truncated=True), expected)


# ------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("share", [0.3, 0.8])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_truncated_print_is_refused_as_by_the_plain_decode_or_taken(film, tmp_path, suffix, share):
    whole, short = tmp_path / f"whole{suffix}", tmp_path / f"short{suffix}"
    ffmpeg("-i", film, "-c", "copy", "-movflags", "+faststart", whole)
    short.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    with pytest.raises(UserError) as expected:
        plain(short)
    with pytest.raises(UserError) as found:
        signatures(film, short)
    assert str(found.value) == str(expected.value)
    pair = signatures(short, film, allow_truncated=True)
    assert_same(pair[0], plain(short, allow_truncated=True))
    assert len(pair[0]) < len(pair[1])


def test_damaged_pictures_have_a_number_and_no_place(film, tmp_path):
    damaged, content = tmp_path / "damaged.mp4", bytearray(film.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        one_signature(damaged)
    found = one_signature(damaged, allow_truncated=True)
    pictures = list(decode(damaged, grey=True, size=DECODE_SIZE, allow_truncated=True))
    assert_same(found, signature(pictures), most=255)
    assert found.numbers.tolist() == [picture.number for picture in pictures]


def test_a_pass_that_fails_leaves_no_file(film, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    short = tmp_path / "short.mp4"
    short.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    with pytest.raises(UserError):
        signatures(film, short)
    grey, _ = signatures(film, film)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert float(grey.grids[-1].mean(dtype=np.float32)) > 10, "the grids outlive the file's name"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_temporary_disk_is_one_sentence(film, monkeypatch):
    # One for each pass: they run at once, and the first to fail closes its own.
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "r+b", buffering=0))  # noqa: SIM115
    with pytest.raises(UserError, match="No space is left"):
        signatures(film, film)


def test_missing_and_wrong_files_are_named(film, tmp_path):
    with pytest.raises(UserError, match=r"none\.mp4 is missing"):
        signatures(film, tmp_path / "none.mp4")


# ------------------------------------------------------------------------------------------------- picks


@pytest.fixture(scope="module")
def prints(tmp_path_factory, film) -> tuple[Path, Path, Signature, Signature]:
    folder = tmp_path_factory.mktemp("prints")
    grey = folder / "grey.mkv"
    ffmpeg("-i", film, "-vf", "trim=start_frame=5,setpts=PTS-STARTPTS,scale=160:90", "-c:v", "libx264", "-g", 40, grey)
    return grey, film, *signatures(grey, film)


def assert_pixels(sought, decoded) -> None:
    assert [pair[:2] for pair in sought] == [pair[:2] for pair in decoded]
    for one, other in zip(sought, decoded, strict=True):
        assert np.array_equal(one.grey, other.grey)
        assert np.array_equal(one.colour, other.colour)


def test_frames_fetched_by_seeking_are_the_frames_of_a_full_decode(prints):
    grey, colour, small, large = prints
    # Both ends, pictures at the edges of open groups, and grey frames that go backwards.
    places = [0, 1, 22, 23, 24, 25, 26, 47, 48, 71, 96, 120, 150, 185, 186]
    wanted = [[(place + 5, place)] for place in places] + [[(100, place)] for place in (60, 3)]
    sought = pick_pairs(grey, colour, grey_times=small.times, colour_times=large.times, wanted=wanted)
    assert len(sought) == len(wanted)
    decoded = decode_pairs(grey, colour, pairs=[group[0] for group in wanted])
    assert_pixels(sought, decoded)
    picture = next(decode(colour, first=27))
    assert np.array_equal(sought[2].colour, picture.pixels)


def test_of_the_alternatives_one_is_taken_that_is_there(prints):
    grey, colour, small, large = prints
    wanted = [[(40, 35), (50, 45), (60, 55)], [(9999, 9), (70, 65)], [(9999, 9999)], []]
    sought = pick_pairs(grey, colour, grey_times=small.times, colour_times=large.times, wanted=wanted)
    assert [pair[:2] for pair in sought[1:]] == [(65, 70)]
    assert (sought[0].colour_frame, sought[0].grey_frame) in wanted[0]


def test_a_print_that_cannot_be_sought_is_decoded(prints, tmp_path):
    grey, colour, _, large = prints
    raw = tmp_path / "grey.y4m"
    ffmpeg("-i", grey, "-pix_fmt", "yuv420p", raw)
    stuck = tmp_path / "stuck.ts"
    ffmpeg("-i", grey, "-c", "copy", stuck)
    for path in (raw, stuck):
        times = np.array([time for _, time, _ in frames_of(path)])
        sought = pick_pairs(path, colour, grey_times=times, colour_times=large.times, wanted=[[(n + 5, n)] for n in (3, 90, 160)])
        assert_pixels(sought, decode_pairs(path, colour, pairs=[(n + 5, n) for n in (3, 90, 160)]))


# ------------------------------------------------------------------------------------------------- bars


def barred(rng, frames: int = 400, level: float = 1.0, grain: float = 0.0) -> np.ndarray:
    """Grids with three rows of bar above and below, moving picture between."""
    grids = np.zeros((frames, 18, 32), np.float32)
    grids[:, 3:15] = rng.uniform(20, 220, (frames, 12, 32)) * level
    return np.clip(grids + rng.normal(0, grain, grids.shape) if grain else grids, 0, 255)


def test_bars_are_found_under_grain_subtitles_and_an_intro():
    rng = np.random.default_rng(0)
    expected = (0.0, 3 / 18, 1.0, 15 / 18)
    assert active_area(barred(rng)) == expected
    assert active_area(barred(rng, grain=2.0)) == expected
    titled = barred(rng)
    for first in range(0, 400, 20):  # a subtitle in the lower bar three frames of ten
        titled[first : first + 6, 16, 8:24] = 160
    assert active_area(titled) == expected
    intro = barred(rng)
    intro[:40] = rng.uniform(20, 220, (40, 18, 32))
    assert active_area(intro) == expected


def test_dark_films_and_films_without_bars_are_whole():
    rng = np.random.default_rng(1)
    assert active_area(rng.uniform(0, 12, (300, 18, 32))) == (0.0, 0.0, 1.0, 1.0)
    assert active_area(rng.uniform(20, 220, (300, 18, 32))) == (0.0, 0.0, 1.0, 1.0)
    assert active_area(np.zeros((0, 18, 32), np.float16)) == (0.0, 0.0, 1.0, 1.0)
    dark = barred(rng, level=0.2)
    assert active_area(dark) == (0.0, 3 / 18, 1.0, 15 / 18)
