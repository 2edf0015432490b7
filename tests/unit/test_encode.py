"""What VideoWriter writes, read back by the decoder, the prober and the ffmpeg binary."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from kinemacolor.media.decode import decode
from kinemacolor.media.encode import VideoWriter
from kinemacolor.media.probe import probe

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def frames(count: int, height: int, width: int) -> list[np.ndarray]:
    """Smooth colours that drift: what 4:2:0 and a low crf keep almost exactly."""
    down, across = np.mgrid[0:height, 0:width]
    return [
        np.stack([down * 200 // height + 20, across * 200 // width + 20, np.full_like(down, 40 + 3 * number)], axis=-1).astype(
            np.uint8
        )
        for number in range(count)
    ]


def write(path: Path, pictures: list[np.ndarray], frame_rate: Fraction = Fraction(24), **options) -> None:
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, height=height, width=width, frame_rate=frame_rate, **options) as writer:
        for picture in pictures:
            writer.write(picture)


def sound_of(path: Path) -> np.ndarray:
    """The sound as 8 kHz mono samples in -1..1, decoded by the ffmpeg binary."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:a", "-ac", "1", "-ar", "8000", "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout, np.float32)


@pytest.fixture(scope="module")
def beep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of film, silent but for a tone from 3.0 to 3.5 s."""
    path = tmp_path_factory.mktemp("beep") / "beep.mp4"
    sound = "sine=frequency=440:duration=6,volume='between(t,3,3.5)':eval=frame"
    inputs = ["-f", "lavfi", "-i", "color=size=64x48:rate=24:duration=6", "-f", "lavfi", "-i", sound]
    subprocess.run([FFMPEG, "-v", "error", *inputs, "-c:v", "libx264", "-c:a", "aac", str(path)], check=True)
    return path


def tone(path: Path) -> tuple[float, float]:
    """Begin and end of the tone in seconds."""
    loud = np.flatnonzero(np.abs(sound_of(path)) > 0.03) / 8000
    return float(loud[0]), float(loud[-1])


def test_colours_rate_and_length_come_back(tmp_path: Path) -> None:
    pictures = frames(25, 96, 128)
    path = tmp_path / "film.mp4"
    write(path, pictures, Fraction(24000, 1001), crf=4)
    facts = probe(path)
    assert (facts.codec, facts.frames, facts.frame_rate, facts.audio) == ("h264", 25, Fraction(24000, 1001), None)
    for picture, original in zip(decode(path), pictures, strict=True):
        assert np.abs(picture.pixels.astype(int) - original).mean() < 1.5
        assert picture.time == pytest.approx(picture.number * 1001 / 24000, abs=1e-6)


@pytest.mark.parametrize("size", [(48, 64), (720, 1280)])
def test_tags_say_what_was_done(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "film.mp4"
    colour = np.array([200, 60, 90], np.uint8)
    write(path, [np.broadcast_to(colour, (*size, 3))] * 3, crf=4)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert frame.format.name == "yuv420p"
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (
            1,
            1,
            1,
            1,
        )  # H.273: BT.709, limited
        # The stored luma is BT.709's, whatever the size: 16 + 219 (.2126 R + .7152 G + .0722 B).
        luma = 16 + 219 * (np.array([0.2126, 0.7152, 0.0722]) @ colour) / 255
        assert frame.to_ndarray()[0, 0] == pytest.approx(luma, abs=1)
    assert np.abs(next(decode(path)).pixels.astype(int) - colour).max() <= 3
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # plays while it loads


@pytest.mark.parametrize("axis", [0, 1])
def test_chroma_stays_where_it_was(tmp_path: Path, axis: int) -> None:
    """Half a pixel of shift, left by a codec that places chroma otherwise than the decoder does, would show on a ramp."""
    ramp = np.broadcast_to(np.arange(64)[:, None] if axis == 0 else np.arange(64)[None], (64, 64))
    picture = np.stack([128 - ramp, np.full_like(ramp, 128), 128 - ramp + 64], axis=-1).astype(np.uint8)
    path = tmp_path / "ramp.mp4"
    write(path, [picture] * 3, crf=1)
    difference = next(decode(path)).pixels[8:-8, 8:-8].astype(int) - picture[8:-8, 8:-8]
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.3


def test_odd_sizes_are_padded_with_their_last_line(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    picture = frames(1, 45, 67)[0]
    write(path, [picture], crf=4)
    decoded = next(decode(path)).pixels
    assert decoded.shape == (46, 68, 3)
    assert np.abs(decoded[:45, :67].astype(int) - picture).mean() < 1.5
    assert np.abs(decoded[45].astype(int) - decoded[44]).mean() < 3


def test_same_frames_same_bytes(tmp_path: Path) -> None:
    for name in ("one.mp4", "two.mp4"):
        write(tmp_path / name, frames(10, 48, 64))
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_sound_begins_where_it_is_told(tmp_path: Path, beep: Path) -> None:
    path = tmp_path / "sound.mp4"
    write(path, frames(48, 48, 64), audio=beep, audio_start=2.5)
    facts = probe(path)
    assert facts.audio["codec"] == "aac"
    assert tone(path) == pytest.approx((0.5, 1.0), abs=0.03)
    assert len(sound_of(path)) / 8000 == pytest.approx(2.0, abs=0.1)


def test_sound_that_ends_early_is_followed_by_silence(tmp_path: Path, beep: Path) -> None:
    path = tmp_path / "sound.mp4"
    write(path, frames(96, 48, 64), audio=beep, audio_start=3.0, audio_seconds=0.25)
    assert probe(path).frames == 96  # the pictures are never cut to the sound
    assert tone(path) == pytest.approx((0.0, 0.25), abs=0.05)


def test_sound_of_a_late_video_stream_stays_with_its_pictures(tmp_path: Path, beep: Path) -> None:
    """Picture.time counts from the first picture, which in this file comes a second after the first sound."""
    late, path = tmp_path / "late.mkv", tmp_path / "sound.mp4"
    command = [
        FFMPEG,
        "-v",
        "error",
        "-i",
        str(beep),
        "-itsoffset",
        "1",
        "-i",
        str(beep),
        "-map",
        "1:v",
        "-map",
        "0:a",
        "-c",
        "copy",
    ]
    subprocess.run([*command, str(late)], check=True)
    write(path, frames(48, 48, 64), audio=late, audio_start=1.0)
    assert tone(path) == pytest.approx((1.0, 1.5), abs=0.05)


def test_a_film_without_sound_gives_none(tmp_path: Path) -> None:
    write(tmp_path / "silent.mp4", frames(3, 48, 64))
    write(tmp_path / "again.mp4", frames(3, 48, 64), audio=tmp_path / "silent.mp4")
    assert probe(tmp_path / "again.mp4").audio is None


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"the old film")
    with pytest.raises(ZeroDivisionError), VideoWriter(path, height=48, width=64, frame_rate=Fraction(24)) as writer:
        writer.write(frames(1, 48, 64)[0])
        raise ZeroDivisionError
    assert path.read_bytes() == b"the old film"
    assert list(tmp_path.iterdir()) == [path]


def test_a_frame_of_another_shape_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="48, 64, 3"),
        VideoWriter(tmp_path / "film.mp4", height=48, width=64, frame_rate=Fraction(24)) as w,
    ):
        w.write(np.zeros((64, 48, 3), np.uint8))


def test_a_dead_ffmpeg_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"film\.mp4: .*(preset|nonsense)"):
        write(tmp_path / "film.mp4", frames(40, 480, 640), preset="nonsense")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_the_credit_travels_in_the_container(tmp_path: Path, name: str):
    credit = "Big Buck Bunny, © 2008 Blender = Foundation; peach.blender.org · CC BY 3.0"
    write(tmp_path / name, [np.zeros((48, 64, 3), np.uint8)] * 3, credit=credit)
    write(tmp_path / f"plain_{name}", [np.zeros((48, 64, 3), np.uint8)] * 3)
    for file, words in ((name, credit), (f"plain_{name}", None)):
        with av.open(str(tmp_path / file)) as container:
            told = {key.lower(): value for key, value in container.metadata.items()}
        assert (told.get("comment"), told.get("copyright")) == (words, words)
