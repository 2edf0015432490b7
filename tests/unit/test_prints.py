"""Made grey prints: exact to the frame, to the tone and to the sample, on films whose every frame carries its number."""

from __future__ import annotations

import itertools
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest

from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.media.prints import make_print
from kinemacolor.params import Recipe

HEIGHT, WIDTH, FRAMES, BITS = 144, 256, 60, 8
SIDE = 16  # of the squares that spell a frame's number
FIRST_SQUARE = (64, 56)  # y, x: inside every crop tried here


def ffmpeg(*arguments: str, feed: bytes | None = None) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, input=feed, check=True)


def encode(path: Path, rgb: np.ndarray, rate: str, *extra: str) -> Path:
    """An H.264 film (BT.709) of the frames (N, H, W, 3)."""
    size = f"{rgb.shape[2]}x{rgb.shape[1]}"
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", "pipe:", *extra),
        *("-vf", "scale=out_color_matrix=bt709:out_range=tv", "-c:v", "libx264", "-crf", "8", "-pix_fmt", "yuv420p"),
        *("-preset", "fast", "-bf", "3", *tags, str(path)),
        feed=rgb.tobytes(),
    )
    return path


def numbered(path: Path, rate: str, frames: int = FRAMES) -> Path:
    """A colourful moving film, each of whose frames carries its number as a row of black and white squares."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    film = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(frames):
        film[number] = np.stack([x + 3 * number, 2 * y + number, 255 - x + 2 * number], -1) % 200 + 20
        for bit in range(BITS):
            top, left = FIRST_SQUARE[0], FIRST_SQUARE[1] + bit * SIDE
            film[number, top : top + SIDE, left : left + SIDE] = 255 * (number >> bit & 1)
    return encode(path, film, rate)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {rate: numbered(folder / f"{rate.replace('/', '_')}.mp4", rate) for rate in ("24/1", "24000/1001")}


def planes(path: Path) -> tuple[np.ndarray, np.ndarray, list[Fraction]]:
    """Luma codes (N, H, W), chroma codes (N, H, W / 2) and times of a yuv420p film."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    codes = np.stack([frame.to_ndarray() for frame in frames])
    height = frames[0].height
    return codes[:, :height], codes[:, height:], [frame.pts * frame.time_base for frame in frames]


def full_range(luma: np.ndarray) -> np.ndarray:
    return (luma.astype(np.float64) - 16) / 219 * 255


def read_number(luma: np.ndarray, recipe: Recipe) -> int:
    """The number that a frame of the print spells, read at the places to which crop and scale moved the squares."""
    left, top = round(recipe.crop[0] * WIDTH), round(recipe.crop[1] * HEIGHT)
    kept_h = HEIGHT - top - round(recipe.crop[3] * HEIGHT)
    kept_w = WIDTH - left - round(recipe.crop[2] * WIDTH)
    number = 0
    for bit in range(BITS):
        y = (FIRST_SQUARE[0] + SIDE / 2 - top) * luma.shape[0] / kept_h
        x = (FIRST_SQUARE[1] + SIDE * (bit + 0.5) - left) * luma.shape[1] / kept_w
        centre = luma[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3]
        number |= int(centre.mean() > 126) << bit
    return number


@pytest.mark.parametrize(
    ("rate", "trim", "intro"),
    [("24/1", 0, 0), ("24/1", 7, 0), ("24/1", 0, 13), ("24000/1001", 9, 31), ("24000/1001", 36, 1), ("24/1", 59, 100)],
)
def test_every_frame_is_the_one_it_should_be(films, tmp_path, rate, trim, intro):
    recipe = Recipe(
        trim_frames=trim, intro_frames=intro, crop=(0.05, 0.03, 0.02, 0.06), height=108, gamma=1.2, contrast=0.88, grain=5, seed=3
    )
    calls = []
    made = make_print(films[rate], recipe, tmp_path / "grey.mp4", progress=lambda *step: calls.append(step))
    luma, chroma, times = planes(tmp_path / "grey.mp4")
    assert made == {"offset": intro - trim, "frames": len(luma)}
    assert len(luma) == FRAMES - trim + intro
    assert [read_number(frame, recipe) for frame in luma[intro:]] == list(range(trim, FRAMES))
    assert (chroma == 128).all()
    assert times == [number / Fraction(rate) for number in range(len(luma))]
    assert calls[-1] == (len(luma), len(luma))


def test_format_and_tags(films, tmp_path):
    make_print(films["24000/1001"], Recipe(intro_frames=5, height=108), tmp_path / "grey.mp4")
    with av.open(str(tmp_path / "grey.mp4")) as container:
        video = container.streams.video[0]
        frame = next(container.decode(video))
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.average_rate == Fraction(24000, 1001)
        assert (video.codec_context.colorspace, video.codec_context.color_primaries, video.codec_context.color_trc) == (1, 1, 1)
        assert (video.codec_context.color_range, int(frame.color_range)) == (1, 1)  # limited
        assert (frame.width, frame.height) == (192, 108)
        assert not container.streams.audio


def test_tones_crop_and_scale_against_a_second_implementation(films, tmp_path):
    recipe = Recipe(crop=(0.1, 0.05, 0.05, 0.1), height=72, gamma=1.3, contrast=0.8, crf=1)
    make_print(films["24/1"], recipe, tmp_path / "grey.mp4")
    film = full_range(planes(films["24/1"])[0][10])
    cropped = film[7 : HEIGHT - 14, 26 : WIDTH - 13]
    width = 2 * round(cropped.shape[1] * 72 / cropped.shape[0] / 2)
    small = cv2.resize(cropped, (width, 72), interpolation=cv2.INTER_AREA).clip(0, 255) / 255
    expected = (((small ** (1 / 1.3) - 0.5) * 0.8 + 0.5) * 255).clip(0, 255)
    got = full_range(planes(tmp_path / "grey.mp4")[0][10])
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 1.0


@pytest.mark.parametrize("grain", [1.0, 2.5, 5.0, 12.0])
def test_grain_has_its_deviation_and_is_new_in_every_frame(tmp_path, grain):
    flat = encode(tmp_path / "flat.mp4", np.full((8, 128, 192, 3), 120, np.uint8), "24/1")
    make_print(flat, Recipe(height=128, grain=grain, crf=1, seed=5), tmp_path / "grey.mp4")
    luma = full_range(planes(tmp_path / "grey.mp4")[0])
    residue = luma - luma.mean()
    assert residue.std() == pytest.approx(grain, rel=0.1)
    assert abs(luma.mean() - 120) < 1
    moments = residue / residue.std()
    assert abs((moments**3).mean()) < 0.1 and abs((moments**4).mean() - 3) < 0.3  # Gaussian
    for one, other in itertools.pairwise(moments):
        assert abs((one * other).mean()) < 0.06


def test_leader_moves_and_is_no_part_of_the_film(films, tmp_path):
    make_print(films["24/1"], Recipe(intro_frames=90, height=108), tmp_path / "grey.mp4")
    luma = full_range(planes(tmp_path / "grey.mp4")[0])
    leader, film = luma[:90], luma[90:]
    steps = np.abs(np.diff(leader, axis=0)).mean((1, 2))
    assert steps.min() > 0.2, "two frames of the leader are alike"
    flat = [(part - part.mean((1, 2), keepdims=True)).reshape(len(part), -1) for part in (leader, film)]
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in flat]
    assert (unit[0] @ unit[1].T).max() < 0.5


def test_sound_stays_with_the_picture(tmp_path):
    """A tone sets in at frame 30 of the film, and the screen turns white there."""
    film = np.zeros((72, 96, 128, 3), np.uint8)
    film[30:] = 255
    tone = ["-f", "lavfi", "-i", "aevalsrc=0.5*sin(1000*2*PI*t)*gte(t\\,1.25):s=44100:d=3", "-c:a", "aac", "-b:a", "128k"]
    colour = encode(tmp_path / "colour.mp4", film, "24/1", *tone)
    recipe = Recipe(trim_frames=11, intro_frames=50, height=96)
    make_print(colour, recipe, tmp_path / "grey.mp4")
    luma, _, times = planes(tmp_path / "grey.mp4")
    shown = float(times[int(np.argmax(luma[50:].mean((1, 2)) > 126)) + 50])
    assert shown == pytest.approx((30 + 50 - 11) / 24)
    with av.open(str(tmp_path / "grey.mp4")) as container:
        rate = container.streams.audio[0].rate
        blocks = list(container.decode(audio=0))
    start = float(blocks[0].pts * blocks[0].time_base)
    samples = np.concatenate([block.to_ndarray()[0] for block in blocks])
    heard = start + np.argmax(np.abs(samples) > 0.25) / rate
    assert heard == pytest.approx(shown, abs=0.01)
    leader = samples[: int(rate * 50 / 24)]
    assert 0 < leader.std() < 0.02, "the leader's sound is a faint noise"
    assert len(samples) / rate == pytest.approx((72 - 11 + 50) / 24, abs=0.06)


def test_same_recipe_same_bytes_and_another_seed_other_bytes(films, tmp_path):
    recipe = Recipe(trim_frames=4, intro_frames=20, height=108, grain=4, seed=1)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_print(films["24/1"], recipe.model_copy(update={"seed": seed}), tmp_path / f"{name}.mp4")
    one, same, other = (sha256_of(tmp_path / f"{name}.mp4") for name in "abc")
    assert one == same != other


def test_errors_name_the_remedy_and_leave_nothing(films, tmp_path):
    with pytest.raises(UserError, match="trim_frames"):
        make_print(films["24/1"], Recipe(trim_frames=FRAMES), tmp_path / "grey.mp4")
    with pytest.raises(UserError, match="missing"):
        make_print(tmp_path / "absent.mp4", Recipe(), tmp_path / "grey.mp4")
    assert list(tmp_path.iterdir()) == []
