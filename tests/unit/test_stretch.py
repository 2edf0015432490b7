"""A stretch found by seeking is the stretch of a full decode: same numbers, times and pixels."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from kinemacolor.media import stretch
from kinemacolor.media.decode import decode
from kinemacolor.media.stretch import decode_stretch

FILMS = {
    "closed.mp4": ["-c:v", "libx264", "-g", "25", "-bf", "3"],
    "open.mkv": ["-c:v", "libx264", "-g", "20", "-bf", "3", "-x264-params", "open-gop=1:b-pyramid=normal"],
    "late.ts": ["-c:v", "libx264", "-g", "25", "-bf", "2", "-output_ts_offset", "7"],
    "refresh.mp4": ["-c:v", "libx264", "-x264-params", "intra-refresh=1:keyint=15"],
    "open265.mp4": ["-c:v", "libx265", "-x265-params", "keyint=20:open-gop=1:log-level=error"],
    "hidden.webm": [
        "-c:v",
        "libvpx",
        "-g",
        "25",
        "-auto-alt-ref",
        "1",
        "-lag-in-frames",
        "10",
        "-b:v",
        "300k",
        "-deadline",
        "realtime",
    ],
    "part2.avi": ["-c:v", "mpeg4", "-g", "12", "-bf", "2"],
    "fields.mp4": ["-c:v", "libx264", "-g", "25", "-flags", "+ilme+ildct"],
}


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("films") / request.param
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=96x64:rate=25:duration=5",
    ]
    subprocess.run([*command, "-pix_fmt", "yuv420p", *FILMS[request.param], str(path)], check=True)
    return path


@pytest.mark.parametrize("grey", [False, True])
def test_a_stretch_equals_the_full_decode(film: Path, grey: bool):
    whole = list(decode(film, grey=grey, allow_truncated=True))
    assert len(whole) == 125
    for start, end in ((0.0, 0.5), (1.0, 1.2), (2.02, 2.5), (3.6, 3.96), (4.7, 9.0), (8.0, 9.0)):
        found = list(decode_stretch(film, start=start, end=end, grey=grey))
        wanted = [picture for picture in whole if start <= picture.time < end]
        assert [picture[:2] for picture in found] == [picture[:2] for picture in wanted]
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(found, wanted, strict=True))


def test_only_the_wanted_numbers_of_a_stretch_are_given(film: Path):
    whole = list(decode(film, allow_truncated=True))
    for start, end in ((0.0, 0.5), (2.0, 4.0)):
        found = list(decode_stretch(film, start=start, end=end, wanted={3, 60, 61, 80, 120}))
        wanted = [picture for picture in whole if start <= picture.time < end and picture.number in (3, 60, 61, 80, 120)]
        assert [picture[:2] for picture in found] == [picture[:2] for picture in wanted]
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(found, wanted, strict=True))


def test_a_film_that_was_replaced_is_listed_anew(tmp_path: Path):
    path = tmp_path / "film.mp4"
    for seconds in (2, 4):
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-f", "lavfi"]
        command += ["-i", f"testsrc2=size=96x64:rate=25:duration={seconds}", "-pix_fmt", "yuv420p", "-g", "25", str(path)]
        subprocess.run(command, check=True)
        assert [picture.number for picture in decode_stretch(path, start=1.6, end=9)] == list(range(40, 25 * seconds))


def test_ordinary_films_are_sought(tmp_path: Path, monkeypatch):
    path = tmp_path / "film.mp4"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=96x64:rate=25:duration=5",
    ]
    subprocess.run([*command, "-pix_fmt", "yuv420p", "-g", "25", str(path)], check=True)
    monkeypatch.setattr(stretch, "decode", None)  # would fail if the film were decoded from its start
    assert [picture.number for picture in decode_stretch(path, start=4.0, end=4.2)] == [100, 101, 102, 103, 104]
