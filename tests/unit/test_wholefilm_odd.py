"""Whole films that are not as most are: fields, captions, edit lists, late clocks, time code, wide colours, long last frames."""

from __future__ import annotations

import itertools
import logging
import resource
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type
from skimage import data

from kinemacolor import colorize
from kinemacolor.errors import UserError
from kinemacolor.media.decode import decode, frames_of
from kinemacolor.media.probe import probe
from kinemacolor.wholefilm.film import Options, colour_film

from .made_videos import ffmpeg
from .test_wholefilm import CHAPTERS, QUICK, contents, tinted

SMALL = Options(preset="ultrafast", segment=8, batch=5)


def moving(size: str, rate: int, seconds: float) -> list[object]:
    return ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tinted(tmp_path_factory.mktemp("models") / "tinted")


class Stop(Exception):
    """The work is broken off."""


def broken_off(model: Path, film: Path, out: Path, *, at: int, **more: object) -> None:
    def progress(done: int, total: int | None) -> None:
        if done >= at:
            raise Stop

    with pytest.raises(Stop):
        colour_film(model, film, out=out, options=SMALL, progress=progress, **more)


def test_a_film_whose_last_frame_is_shown_for_long_is_gone_on_with(model, tmp_path):
    ffmpeg(*moving("64x48", 10, 4), "-c:v", "libx264", "-bf", 0, "-g", 5, tmp_path / "even.mp4")
    film, out = tmp_path / "film.mp4", tmp_path / "out.mkv"
    with av.open(str(tmp_path / "even.mp4")) as source, av.open(str(film), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux() if packet.size]
        packets[-1].duration *= 30
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
    assert probe(film).duration == pytest.approx(6.9, abs=0.01)
    colour_film(model, film, out=tmp_path / "whole.mkv", options=SMALL, device="cpu")
    broken_off(model, film, out, at=2500, device="cpu")
    done = colour_film(model, film, out=out, options=SMALL, device="cpu")
    assert 8 <= done.resumed < done.frames == 40
    assert out.read_bytes() == (tmp_path / "whole.mkv").read_bytes()


def test_what_was_begun_leniently_is_no_beginning_of_a_strict_run(model, tmp_path, caplog):
    film, out = tmp_path / "film.mp4", tmp_path / "out.mkv"
    ffmpeg(*moving("64x48", 10, 3), "-c:v", "libx264", "-g", 5, film)
    broken_off(model, film, out, at=2200, allow_truncated=True)
    with caplog.at_level(logging.WARNING):
        assert colour_film(model, film, out=out, options=SMALL).resumed == 0
    assert "was begun with other values" in caplog.text


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_time_code_stays_or_is_told_of(model, tmp_path, suffix, caplog):
    sound = ["-f", "lavfi", "-i", "sine=440:duration=1"]
    film, out = tmp_path / "film.mov", tmp_path / f"out{suffix}"
    ffmpeg(*moving("64x48", 25, 1), *sound, "-c:v", "libx264", "-c:a", "aac", "-timecode", "01:02:03:04", film)
    with caplog.at_level(logging.WARNING):
        colour_film(model, film, out=out, options=QUICK)
    with av.open(str(out)) as container:
        tracks = [stream.metadata.get("timecode") for stream in container.streams if stream.type == "data"]
        assert container.streams.video[0].metadata.get("timecode", container.streams.video[0].metadata.get("TIMECODE"))
    assert tracks == ([] if suffix == ".mkv" else ["01:02:03:04"])
    assert caplog.text.count("left out: stream 2") == (suffix == ".mkv"), "told once, before the work"


def test_a_file_that_cannot_be_joined_is_a_sentence(model, tmp_path):
    """No file of this process may be larger than a segment: the whole film is."""
    film, out = tmp_path / "film.mkv", tmp_path / "out.mkv"
    ffmpeg(*moving("64x48", 10, 4), *["-f", "lavfi", "-i", "sine=440:duration=4"], "-c:a", "pcm_s16le", film)
    code = (
        "import sys; from pathlib import Path; from kinemacolor.errors import UserError\n"
        "from kinemacolor.wholefilm.film import Options, colour_film\n"
        "options = Options(preset='ultrafast', segment=8)\n"
        "try: colour_film(Path(sys.argv[1]), Path(sys.argv[2]), out=Path(sys.argv[3]), options=options, device='cpu')\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, (model, film, out))],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert "out.mkv cannot be written (" in done.stdout and not out.exists(), done.stderr


def test_pictures_and_sound_lie_side_by_side_whenever_the_clock_begins(model, tmp_path):
    sound = ["-f", "lavfi", "-i", "sine=440:duration=24"]
    film, out = tmp_path / "film.ts", tmp_path / "out.mkv"
    ffmpeg(*moving("64x48", 5, 24), *sound, "-c:v", "libx264", "-c:a", "aac", "-output_ts_offset", 3600, film)
    colour_film(model, film, out=out, options=Options(preset="ultrafast"))
    with av.open(str(out)) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux() if packet.size]
        positions = sorted(range(len(times)), key=times.__getitem__)
    latest = list(itertools.accumulate(times, max))
    assert max(one - other for one, other in zip(latest, times, strict=True)) < 1.5 and positions[0] == 0
    assert min(times) < 0.1 and max(times) == pytest.approx(24, abs=0.5)


def fields(path: Path) -> tuple[int, set[bool]]:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        return int(video.codec_context.field_order), {frame.interlaced_frame for frame in container.decode(video)}


@pytest.mark.parametrize(("first", "orders"), [("tff", (2, 4)), ("bff", (3, 5))])
def test_an_interlaced_film_stays_one(model, tmp_path, first, orders, caplog):
    film = tmp_path / "film.mkv"
    woven = ["-vf", f"interlace=scan={first}", "-c:v", "libx264", "-flags", "+ildct+ilme", "-x264-params", f"{first}=1"]
    ffmpeg(*moving("80x48", 20, 1), *woven, film)
    assert fields(film)[0] in orders and fields(film)[1] == {True}
    for codec in ("h264", "ffv1", "hevc"):
        out = tmp_path / f"{codec}.mkv"
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            colour_film(model, film, out=out, options=Options(preset="ultrafast", codec=codec, segment=4, keep="luma"))
        assert caplog.text.count("film.mkv is interlaced: a frame's two fields are coloured as one picture") == 1
        assert ("what is written says that it is not" in caplog.text) == (codec == "hevc")
        if codec != "hevc":
            assert fields(out)[0] in orders and fields(out)[1] == {True}, codec
        own, found = ([one.pixels.astype(int) for one in decode(path, grey=True)] for path in (film, out))
        assert len(own) == len(found) == 10
        assert np.abs(np.stack(own) - np.stack(found)).mean() < (0.01 if codec == "ffv1" else 2)


def test_fields_that_cannot_be_kept_are_told_of(model, tmp_path, caplog):
    woven = ["-vf", "interlace", "-c:v", "ffv1", "-flags", "+ildct"]
    ffmpeg(*moving("80x50", 20, 0.5), *woven, tmp_path / "narrow.mkv")
    ffmpeg(*moving("80x48", 20, 0.5), "-vf", "setfield=tff", "-c:v", "libx264", tmp_path / "said.mkv")
    assert fields(tmp_path / "narrow.mkv")[1] == {True} and fields(tmp_path / "said.mkv") == (4, {False})
    for name, words in (
        ("narrow.mkv", "50 lines are no whole pairs of fields"),
        ("said.mkv", "said.mkv says that it is interlaced, its first frame that it is not"),
    ):
        with caplog.at_level(logging.WARNING):
            colour_film(model, tmp_path / name, out=tmp_path / "out.mkv", options=QUICK)
        assert words in caplog.text and fields(tmp_path / "out.mkv")[1] == {False}


def captioned(plain: bytes) -> bytes:
    """H.264 in NAL units with a caption of CEA-608 before every slice."""
    words = bytes([0xB5, 0x00, 0x31]) + b"GA94" + bytes([3, 0x41, 0xFF, 0xFC, 0xC8, 0xE9, 0xFF])
    unit = b"\0\0\0\1" + bytes([6, 4, len(words)]) + words + b"\x80"
    pieces = plain.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]
    return b"".join((unit if piece[0] & 31 in (1, 5) else b"") + b"\0\0\0\1" + piece for piece in pieces)


def test_captions_among_the_pictures_stay_where_the_codec_has_a_place_for_them(model, tmp_path, caplog):
    coding = ["-c:v", "libx264", "-x264-params", "slices=1:sliced-threads=0", "-bf", 0, "-f", "h264"]
    (tmp_path / "film.h264").write_bytes(captioned(ffmpeg(*moving("64x48", 10, 0.6), *coding, "-")))
    film = tmp_path / "film.mkv"
    ffmpeg("-r", 10, "-i", tmp_path / "film.h264", "-c", "copy", "-bsf:v", "setts=pts=N*100:dts=N*100", film)

    def words(path: Path) -> list[list[bytes]]:
        return [[bytes(one) for one in frame.side_data if one.type is Type.A53_CC] for _, _, frame in frames_of(path)]

    assert len(words(film)) == 6 and all(words(film))
    for codec in ("h264", "hevc", "ffv1"):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            colour_film(model, film, out=tmp_path / "out.mkv", options=Options(preset="ultrafast", codec=codec))
        assert ("captions" in caplog.text) == (codec == "ffv1")
        assert words(tmp_path / "out.mkv") == (words(film) if codec != "ffv1" else [[]] * 6), codec


def test_what_an_edit_list_cuts_off_does_not_come_back(model, tmp_path):
    (tmp_path / "chapters.txt").write_text(CHAPTERS)
    tone = ["-f", "lavfi", "-i", "sine=440:duration=2", "-i", tmp_path / "chapters.txt", "-map_chapters", 2]
    ffmpeg(*moving("64x48", 25, 2), *tone, "-c:v", "libx264", "-g", 40, "-c:a", "aac", tmp_path / "whole.mp4")
    film, out = tmp_path / "film.mp4", tmp_path / "out.mkv"
    ffmpeg("-ss", 0.93, "-i", tmp_path / "whole.mp4", "-c", "copy", film)
    with av.open(str(film)) as container:
        heard = [packet for packet in container.demux(audio=0) if packet.size and not packet.is_discard]
        cut = [packet for packet in container.demux(audio=0) if packet.size and packet.is_discard]
    colour_film(model, film, out=out, options=QUICK)
    before, after = contents(film), contents(out)
    with av.open(str(out)) as container:
        times = [[float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.size]
                 for stream in container.streams.video[:1]]  # fmt: skip
    moved = min(times[0]) - before["shown"][0]
    assert 0 <= moved < 0.06
    assert len(after["packets"][1]) == len(heard) + 1, f"{len(cut)} were cut off"
    assert len(before["chapters"]) == len(after["chapters"]) == 1
    for own, found in zip(before["chapters"], after["chapters"], strict=True):
        assert found[:2] == pytest.approx([time + moved for time in own[:2]], abs=0.002)
    assert np.diff(after["shown"]) == pytest.approx(np.diff(before["shown"]), abs=0.0021)


def test_another_moving_picture_is_told_of(model, tmp_path, caplog):
    film = tmp_path / "film.mkv"
    ffmpeg(*moving("80x48", 10, 0.5), *moving("64x48", 10, 0.5), "-map", 0, "-map", 1, "-c:v", "libx264", film)
    with caplog.at_level(logging.WARNING):
        colour_film(model, film, out=tmp_path / "out.mkv", options=QUICK)
    assert caplog.text.count("stream 1, another moving picture, is copied as it is: only stream 0 is coloured") == 1


def test_wide_primaries_are_told_of(model, tmp_path, caplog):
    film, tags = tmp_path / "film.mkv", "colorprim=bt2020:transfer=bt2020-10:colormatrix=bt2020nc"
    ffmpeg(*moving("64x48", 10, 0.3), "-pix_fmt", "yuv420p10le", "-c:v", "libx264", "-x264-params", tags, film)
    with caplog.at_level(logging.WARNING):
        colour_film(model, film, out=tmp_path / "out.mkv", options=QUICK)
    assert "film.mkv is of primaries other than sRGB's (BT.2020)" in caplog.text


def test_a_device_that_is_not_there_is_a_sentence(model):
    for name in ("gpu", "cuda:99", "nowhere:1"):
        with pytest.raises(UserError, match=f"The device '{name}' is not to be had on this machine: give --device cpu"):
            colorize.load(model, device=name)
    assert colorize.load(model, device="cpu").device.type == "cpu"


def test_the_command_takes_films_for_films_and_photographs_for_photographs(model, tmp_path):
    from PIL import Image
    from typer.testing import CliRunner

    from kinemacolor.cli import app

    Image.fromarray(data.astronaut()[:40, :50]).save(tmp_path / "photo.png")
    ffmpeg(*moving("64x48", 10, 0.3), "-c:v", "libx264", tmp_path / "film.mp4")
    for picture, out, options, words in (
        ("film.mp4", "out.avi", [], "is no name of a film that is written here: let it end in .mkv or .mp4"),
        ("photo.png", "out.avi", [], "is no name of a picture that is written here: let it end in .png"),
        ("photo.png", "out.png", ["--device", "cpu"], "--device is for films, and --out .*out.png is none"),
        ("photo.png", "out.png", ["--allow-truncated"], "--allow-truncated is for films"),
        ("film.mp4", "out.mkv", ["--device", "gpu"], "The device 'gpu' is not to be had"),
    ):
        arguments = ["colorize", str(model), str(tmp_path / picture), "--out", str(tmp_path / out), *options]
        with pytest.raises(UserError, match=words):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "photo.png"]
