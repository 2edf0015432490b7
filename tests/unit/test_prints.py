"""Made prints: exact to the frame, the pixel, the tone and the sample, on films whose every frame carries its number."""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest

from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.media.decode import decode
from kinemacolor.media.prints import make_print, truth_file
from kinemacolor.media.probe import probe
from kinemacolor.media.programme import ADDED, BLACK, placement
from kinemacolor.media.shots import film_frames
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


def read_number(luma: np.ndarray, recipe: Recipe, *, lines: slice = slice(None), middle: float = 126) -> int:
    """The number that a frame of the print spells, read where the recipe puts the squares; in some lines only."""
    transform, number = placement(recipe, HEIGHT, WIDTH).transform, 0
    rows = np.arange(luma.shape[0])[lines]
    for bit in range(BITS):
        x, y = transform @ (FIRST_SQUARE[1] + SIDE * (bit + 0.5), FIRST_SQUARE[0] + SIDE / 2, 1)
        near = rows[np.abs(rows + 0.5 - y) < 3]
        number |= int(luma[near, int(x) - 2 : int(x) + 3].mean() > middle) << bit
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
    assert (made.truth_offset, made.frames) == (intro - trim, len(luma))
    assert len(luma) == FRAMES - trim + intro
    assert [read_number(frame, recipe) for frame in luma[intro:]] == list(range(trim, FRAMES))
    assert (chroma == 128).all()
    assert times == [number / Fraction(rate) for number in range(len(luma))]
    assert calls[-1] == (len(luma), len(luma))


EDITS = {
    "reels": {"reels": [(30, 60), (0, 20), (40, 50)]},
    "cuts": {"remove": [(10, 17), (40, 41)], "trim_end_frames": 3},
    "own": {
        "hold": [{"at": 20, "frames": 5}], "black": [{"at": 30, "frames": 4}], "added": [{"at": 8, "frames": 6}],
        "intro_frames": 4, "outro_frames": 3,
    },
    "fade": {"fade": 6, "intro_frames": 2},
    "pal": {"frame_rate": "25"},
    "repeat": {"frame_rate": "30", "conversion": "repeat", "intro_frames": 3},
    "fewer": {"frame_rate": "18", "conversion": "repeat"},
    "pulldown": {"frame_rate": "30000/1001", "conversion": "pulldown", "remove": [(20, 23)], "trim_end_frames": 1},
    "woven in colour": {"frame_rate": "30000/1001", "conversion": "pulldown", "colour": True},
    "dropped": {"drop": 0.2, "intro_frames": 3},
    "turned": {"turn": 4.0, "shift": (3.4, -2.6), "crop": (0.02, 0.03, 0.04, 0.01)},
    "boxed": {"bars": (0.1, 0.12, 0.05, 0.12), "width": 300, "reels": [(5, 60)]},
    "painted": {"paint": 1.0, "grain": 9},
    "all": {
        "reels": [(25, 60), (0, 25)], "hold": [{"at": 40, "frames": 3}], "frame_rate": "30000/1001", "conversion": "pulldown",
        "drop": 0.1, "crop": (0.05, 0.02, 0.03, 0.04), "width": 210, "turn": -2, "bars": (0, 0.1, 0, 0.1), "colour": True,
        "paint": 0.4, "gamma": 1.2, "contrast": 0.8, "grain": 4, "logo": True, "subtitles": True, "intro_frames": 5,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_every_frame_shows_what_the_programme_says(films, tmp_path, name):
    recipe = Recipe(**{"height": 144, "seed": 8, "crf": 12} | EDITS[name])
    told = make_print(films["24/1"], recipe, tmp_path / "grey.mp4")
    luma, _, times = planes(tmp_path / "grey.mp4")
    luma = full_range(luma)
    assert len(luma) == told.frames == len(times)
    assert times == [int(tick) / told.rate for tick in told.tick]
    for k in range(told.frames):
        middle = 126 * float(told.edit.gain[told.one[k]])
        if told.first[k] >= 0 and told.woven[k]:
            assert read_number(luma[k], recipe, lines=slice(0, None, 2)) == told.first[k]
            assert read_number(luma[k], recipe, lines=slice(1, None, 2)) == told.second[k]
        elif told.first[k] >= 0:
            assert read_number(luma[k], recipe, middle=middle) == told.first[k], k
        elif told.kind[k] == BLACK:
            assert luma[k].max() < 6
    pairs = pq.read_table(truth_file(tmp_path / "grey.mp4")).to_pydict()
    assert {key: list(column) for key, column in told.alignment().items()} == pairs


def test_blended_frames_are_the_mix_that_the_programme_says(films, tmp_path):
    one = {"height": 144, "crf": 1}
    make_print(films["24/1"], Recipe(**one), tmp_path / "plain.mp4")
    told = make_print(films["24/1"], Recipe(**one, frame_rate="25", conversion="blend"), tmp_path / "blend.mp4")
    plain, blend = (planes(tmp_path / f"{name}.mp4")[0].astype(float) for name in ("plain", "blend"))
    assert len(blend) == told.frames
    for k in range(told.frames):
        mixed = plain[told.first[k]] * told.weight[k]
        if told.second[k] >= 0:
            mixed += plain[told.second[k]] * (1 - told.weight[k])
        assert np.abs(mixed - blend[k]).mean() < 1


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "mpeg2", "vp9"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_every_codec_keeps_frames_and_times(films, tmp_path, codec, suffix):
    recipe = Recipe(codec=codec, height=108, drop=0.1, intro_frames=5, crf=14)
    path = tmp_path / f"grey{suffix}"
    told = make_print(films["24000/1001"], recipe, path)
    luma, chroma, times = planes(path)
    assert [read_number(frame, recipe) for frame in luma[told.first >= 0]] == told.first[told.first >= 0].tolist()
    assert np.array(times, float) == pytest.approx(told.time, abs=6e-4)  # Matroska counts milliseconds
    assert np.abs(chroma.astype(int) - 128).max() <= 1
    found = probe(path)
    assert found.codec == {"mpeg2": "mpeg2video"}.get(codec, codec) and found.frames == told.frames
    assert found.last_good_time is None


def test_lower_crf_is_better_for_every_codec(films, tmp_path):
    make_print(films["24/1"], Recipe(height=144, crf=1), tmp_path / "best.mp4")
    best = planes(tmp_path / "best.mp4")[0].astype(float)
    for codec in ("h264", "hevc", "mpeg4", "mpeg2", "vp9"):
        errors = []
        for crf in (12, 36):
            make_print(films["24/1"], Recipe(height=144, codec=codec, crf=crf), tmp_path / "print.mp4")
            errors.append(np.abs(planes(tmp_path / "print.mp4")[0] - best).mean())
        assert errors[0] < 1.6 and errors[1] > 1.5 * errors[0], (codec, errors)


PLACES = {
    "plain": {},
    "cropped": {"crop": (0.07, 0.03, 0.02, 0.08), "height": 150},
    "stretched": {"crop": (0.05, 0.02, 0.01, 0.03), "width": 240, "height": 100},
    "larger": {"height": 220, "width": 330},
    "turned": {"turn": 6.5, "shift": (4.3, -3.7), "height": 160},
    "boxed and turned": {"bars": (0.12, 0.1, 0.06, 0.14), "turn": -3.0, "shift": (-2.25, 1.5), "height": 200, "width": 340},
}


@pytest.mark.parametrize("name", PLACES)
def test_pixels_lie_where_placement_says(tmp_path, name):
    """Blobs of light and of colour, whose middles are known to a hundredth of a pixel."""
    recipe = Recipe(**{"height": 144, "crf": 1, "colour": True} | PLACES[name])
    blobs = [(80.3, 60.7), (180.6, 88.2), (128.0, 70.5)]  # x, y of the film, continuous
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    bell = lambda x, y, at: np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * 6.0**2))  # noqa: E731
    luma = 50 + 150 * sum(bell(x, y, blob) for blob in blobs)
    # H.264's chroma: at the left of two luma pixels, between two lines.
    v, u = np.mgrid[: HEIGHT // 2, : WIDTH // 2]
    chroma = 128 + 90 * sum(bell(2 * u + 0.5, 2 * v + 1.0, blob) for blob in blobs)
    frame = np.concatenate([np.rint(part).astype(np.uint8).ravel() for part in (luma, chroma, 256 - chroma)])
    about = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", "24", "-i", "pipe:"]
    film = tmp_path / "film.mp4"
    ffmpeg(*about, "-c:v", "libx264", "-crf", "1", str(film), feed=frame.tobytes() * 4)
    make_print(film, recipe, tmp_path / "print.mp4")
    seen, colours, _ = planes(tmp_path / "print.mp4")
    height, width = seen.shape[1:]
    blue = colours[2].reshape(2, height // 2, width // 2)[0].astype(float) - 128
    placed = placement(recipe, HEIGHT, WIDTH)
    for blob in blobs:
        at = placed.transform @ (*blob, 1)
        assert middle(seen[2] - 50.0, at, 13) == pytest.approx(at, abs=0.08)
        sited = middle(blue, ((at[0] + 0.5) / 2, at[1] / 2), 7)
        assert (2 * sited[0] - 0.5, 2 * sited[1]) == pytest.approx(at, abs=0.15)
    left, top, right, bottom = placed.box
    outside = np.ones((height, width), bool)
    outside[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = False
    assert np.abs(seen[2][outside] - 16.0).max(initial=0) <= 3


def middle(light: np.ndarray, near: tuple[float, float], reach: int) -> tuple[float, float]:
    """Where a blob of light is: its bell, fitted by the logarithm, in continuous coordinates."""
    left, top = round(near[0] - 0.5) - reach // 2, round(near[1] - 0.5) - reach // 2
    area = np.log(np.maximum(light[top : top + reach, left : left + reach], 1))
    y, x = np.mgrid[:reach, :reach]
    terms = np.stack([x**2, x * y, y**2, x, y, np.ones_like(x)], -1).reshape(-1, 6).astype(float)
    a, b, c, d, e, _ = np.linalg.lstsq(terms, area.ravel(), rcond=None)[0]
    at = np.linalg.solve([[2 * a, b], [b, 2 * c]], [-d, -e])
    return at[0] + left + 0.5, at[1] + top + 0.5


@pytest.mark.parametrize("layout", ["yuv420p10le", "yuv444p", "yuvj420p", "gray", "gbrp", "yuv422p"])
def test_films_in_other_layouts(tmp_path, layout):
    ramp = np.tile(np.linspace(10, 245, 256).astype(np.uint8), (4, 144, 1))
    rgb = np.stack([ramp, np.roll(ramp, 20, 2), ramp], -1) if layout != "gray" else np.stack([ramp] * 3, -1)
    about = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "256x144", "-r", "24", "-i", "pipe:"]
    coding = ["-c:v", "libx264rgb" if layout == "gbrp" else "libx264", "-crf", "1", "-pix_fmt"]
    range_ = "pc" if layout in ("yuvj420p", "gray", "gbrp") else "tv"
    scaling = [] if layout == "gbrp" else ["-vf", f"scale=out_color_matrix=bt709:out_range={range_}"]
    tags = [] if layout == "gbrp" else ["-colorspace", "bt709", "-color_range", range_]
    coding += ["rgb24" if layout == "gbrp" else layout]
    ffmpeg(*about, *scaling, *coding, *tags, str(tmp_path / "film.mkv"), feed=rgb.tobytes())
    expected = rgb[0] @ (0.2126, 0.7152, 0.0722)
    for colour in (False, True):
        make_print(tmp_path / "film.mkv", Recipe(height=144, crf=1, colour=colour, paint=0.0), tmp_path / "print.mp4")
        luma, chroma, _ = planes(tmp_path / "print.mp4")
        assert np.abs(full_range(luma[2]) - expected)[:, 30:-30].mean() < 1.2
        assert (chroma.std() > 3) == (colour and layout != "gray")


def test_a_film_that_is_shown_turned(tmp_path):
    """As phones write it: the picture lies on its side and a number says so."""
    film = np.zeros((4, 96, 160, 3), np.uint8)
    film[:, :48] = (200, 60, 60)
    encode(tmp_path / "lying.mp4", film, "24/1")
    ffmpeg("-display_rotation", "90", "-i", str(tmp_path / "lying.mp4"), "-c", "copy", str(tmp_path / "film.mp4"))
    make_print(tmp_path / "film.mp4", Recipe(height=160, colour=True, crf=4), tmp_path / "print.mp4")
    expected = next(decode(tmp_path / "film.mp4")).pixels
    got = next(decode(tmp_path / "print.mp4")).pixels
    assert got.shape == expected.shape == (160, 96, 3)
    assert np.abs(got.astype(float) - expected).mean() < 4


def test_colours_are_kept_and_grey_has_none(films, tmp_path):
    make_print(films["24/1"], Recipe(height=144, colour=True, crf=4), tmp_path / "colour.mp4")
    for film, made in zip(decode(films["24/1"]), decode(tmp_path / "colour.mp4"), strict=True):
        assert np.abs(film.pixels.astype(float) - made.pixels).mean() < 4


def test_paint_is_smooth_fixed_in_a_shot_and_new_in_the_next(tmp_path):
    rng = np.random.default_rng(0)
    shots = [
        cv2.resize(rng.integers(60, 200, (5, 8, 3)).astype(np.uint8), (192, 128), interpolation=cv2.INTER_CUBIC) for _ in "ab"
    ]
    film = encode(tmp_path / "film.mp4", np.stack([shots[0]] * 6 + [255 - shots[1]] * 6), "24/1")
    differences = {}
    for paint in (0.5, 1.0):
        for name, value in (("plain", 0.0), ("painted", paint)):
            make_print(film, Recipe(height=128, paint=value, crf=1, seed=2), tmp_path / f"{name}.mp4")
        plain, painted = (full_range(planes(tmp_path / f"{name}.mp4")[0]) for name in ("plain", "painted"))
        differences[paint] = painted - plain
    change = differences[1.0]
    assert 25 < np.sqrt((change**2).mean()) < 55
    assert differences[0.5].std() == pytest.approx(change.std() / 2, rel=0.1)
    assert np.abs(np.diff(change, axis=2)).mean() < 2.5, "smooth"
    within = [np.abs(change[a] - change[b]).mean() for a, b in ((1, 5), (6, 11))]
    assert max(within) < 2 < 15 < np.abs(change[5] - change[6]).mean()


GAPS = {
    "dropped": {"drop": 0.3, "seed": 4},
    "fewer": {"frame_rate": "16", "conversion": "repeat"},
    "cut": {"remove": [(7, 8), (12, 14), (20, 43)]},
    "back a little": {"reels": [(0, 30), (20, 48)]},
}


@pytest.mark.parametrize("name", GAPS)
def test_paint_stays_over_gaps_within_a_shot(tmp_path, name):
    """One shot of 48 frames, whose luma stands, and another one: paint changes where that begins and nowhere else."""
    y, x = np.mgrid[:96, :128]
    one = np.stack([60 + x % 90, 70 + y, 200 - y], -1).astype(np.uint8)
    film = encode(tmp_path / "film.mp4", np.stack([one] * 48 + [255 - one] * 12), "24/1")
    told = make_print(film, Recipe(**{"height": 96, "crf": 1, "paint": 1} | GAPS[name]), tmp_path / "print.mp4")
    luma = full_range(planes(tmp_path / "print.mp4")[0])
    first = told.first
    steps = np.abs(np.diff(luma, axis=0)).mean((1, 2))
    assert np.flatnonzero(steps > 3).tolist() == np.flatnonzero((first[1:] >= 48) != (first[:-1] >= 48)).tolist()


def test_shots_begin_at_cuts_inside_gaps_and_far_away(tmp_path):
    film = np.zeros((300, 64, 96, 3), np.uint8)
    film[:20], film[20:280], film[280:] = 60, 140, 220
    path = encode(tmp_path / "film.mp4", film, "24/1", "-g", "48")
    begins = lambda *numbers: [shot for _, shot in film_frames(path, numbers)]  # noqa: E731
    assert begins(0, 3, 10, 19, 20, 21) == [0, 0, 0, 0, 20, 20]
    assert begins(15, 25, 26) == [15, 20, 20], "the cut lies in the gap"
    assert begins(30, 54, 55, 80, 81) == [30, 30, 30, 80, 80], "25 frames on is elsewhere"
    assert begins(30, 279, 281) == [30, 279, 280]
    assert begins(100, 90, 91, 40) == [100, 100, 100, 40], "and so it is backwards"
    assert begins(5, 5, 6) == [5, 5, 5]


def test_the_film_is_never_its_own_print(films, tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(films["24/1"].read_bytes())
    (tmp_path / "link.mp4").symlink_to(film)
    before = sha256_of(film)
    for target in (film, tmp_path / "link.mp4", tmp_path / "." / "film.mp4"):
        with pytest.raises(UserError, match=r"is the film itself, which the print would replace: give the print another name\.$"):
            make_print(film, Recipe(height=96), target)
    assert sha256_of(film) == before and sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "link.mp4"]


def test_two_prints_of_one_stem_would_share_a_truth(films, tmp_path):
    recipe = Recipe(height=96, trim_frames=40)
    make_print(films["24/1"], recipe, tmp_path / "a.mp4")
    make_print(films["24/1"], recipe, tmp_path / "a.mp4")  # replaces itself
    truth = truth_file(tmp_path / "a.mp4").read_bytes()
    with pytest.raises(UserError, match=r"a\.alignment\.parquet is the truth of \S+a\.mp4: give the new print another stem"):
        make_print(films["24/1"], Recipe(height=96), tmp_path / "a.mkv")
    assert truth_file(tmp_path / "a.mkv").read_bytes() == truth and not (tmp_path / "a.mkv").exists()
    (tmp_path / "a.mp4").unlink()
    make_print(films["24/1"], Recipe(height=96), tmp_path / "a.mkv")
    make_print(tmp_path / "a.mkv", recipe, tmp_path / "b.mp4")
    assert pq.read_table(truth_file(tmp_path / "a.mkv")).num_rows == FRAMES


def test_a_film_of_variable_frame_rate_is_refused(films, tmp_path):
    dropped = tmp_path / "dropped.mp4"
    make_print(films["24/1"], Recipe(height=96, drop=0.3), dropped)
    with pytest.raises(UserError, match=r"dropped\.mp4 has a variable frame rate.*-fps_mode cfr.*\.$"):
        make_print(dropped, Recipe(height=96), tmp_path / "print.mp4")
    assert not (tmp_path / "print.mp4").exists()
    ffmpeg("-i", str(dropped), "-fps_mode", "cfr", "-r", "24", str(tmp_path / "even.mp4"))  # as the sentence says
    make_print(tmp_path / "even.mp4", Recipe(height=96), tmp_path / "print.mp4")


@pytest.mark.parametrize("rate", ["24000/1001", "30000/1001", "12", "25"])
def test_times_in_milliseconds_are_no_variable_frame_rate(tmp_path, rate):
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=size=64x48:rate={rate}:duration=60", "-c:v", "libvpx", "-deadline", "realtime",
           "-cpu-used", "8", str(tmp_path / "film.webm"))  # fmt: skip
    told = make_print(tmp_path / "film.webm", Recipe(height=48, reels=[(0, 10)]), tmp_path / "print.mp4")
    assert float(told.film_rate) == pytest.approx(float(Fraction(rate)), rel=1e-4)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "libx264"), ("avi", "mpeg4"), ("ts", "mpeg2video"), ("flv", "flv"), ("mkv", "libx264")]
)
def test_even_films_of_other_containers_are_taken(tmp_path, suffix, codec):
    """Among them those whose first frame stands after the file's own zero."""
    film, reorder = tmp_path / f"film.{suffix}", [] if codec == "flv" else ["-bf", "2"]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30000/1001:duration=8", "-c:v", codec, *reorder, str(film))
    told = make_print(film, Recipe(height=48), tmp_path / "print.mp4")
    assert told.film_rate == Fraction(30000, 1001) and told.frames == 240


def test_a_truncated_film_is_refused_unless_allowed(tmp_path):
    whole = numbered(tmp_path / "film.mkv", "24/1", frames=200)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 5])
    with pytest.raises(UserError, match=r"cut\.mkv is truncated .* make-print"):
        make_print(cut, Recipe(height=144), tmp_path / "print.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.mkv", "film.mkv"]
    recipe = Recipe(height=144)
    told = make_print(cut, recipe, tmp_path / "print.mp4", allow_truncated=True)
    luma, _, times = planes(tmp_path / "print.mp4")
    assert 60 < told.frames < 200
    assert [read_number(frame, recipe) for frame in luma] == told.first.tolist() == list(range(told.frames))
    assert float(times[-1]) < probe(cut).last_good_time


def test_shapes_that_no_print_can_have_are_refused(films, tmp_path):
    for recipe, said in (
        (Recipe(height=8192, crop=(0, 0.8, 0, 0)), r"pixels, wider than 8192: lower recipe\.height"),
        (Recipe(height=16, crop=(0.85, 0, 0, 0), codec="hevc"), r"4 pixels wide, under 16: raise recipe\.height"),
        (Recipe(height=96, shift=(500, 0)), r"recipe\.shift moves the whole picture out"),
        (Recipe(height=96, intro_frames=6_000_000, outro_frames=6_000_000), r"more than 10000000: shorten it"),
        (Recipe(height=96, reels=[(0, 60)] * 200_000), r"more than 10000000: shorten it"),
    ):
        with pytest.raises(UserError, match=said):
            make_print(films["24/1"], recipe, tmp_path / "print.mp4")
    assert list(tmp_path.iterdir()) == []


def test_places_where_no_print_can_be_written(films, tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "taken.alignment.parquet").mkdir()
    (tmp_path / "file.mp4").write_text("somebody's")
    for target, said in (
        (tmp_path / "folder.mp4", r"folder\.mp4 is a folder: give the print another name\.$"),
        (tmp_path / "taken.mp4", r"taken\.alignment\.parquet is a folder"),
        (tmp_path / "file.mp4" / "a.mp4", r"file\.mp4/a\.mp4 cannot be written \(.*\): name another place\.$"),
        (Path("/proc/none/a.mp4"), r"/proc/none/a\.mp4 cannot be written \(.*\): name another place\.$"),
        (Path("/proc/a.mp4"), r"/proc/a\.mp4 cannot be written \(.*\): name another place\.$"),
    ):
        with pytest.raises(UserError, match=said):
            make_print(films["24/1"], Recipe(height=96), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.mp4", "folder.mp4", "taken.alignment.parquet"]


def test_a_logo_and_subtitles_stand_where_and_when_they_should(tmp_path):
    flat = encode(tmp_path / "flat.mp4", np.full((480, 144, 256, 3), 90, np.uint8), "12/1")
    make_print(flat, Recipe(height=144, logo=True, subtitles=True, crf=12, seed=3), tmp_path / "print.mp4")
    changed = np.abs(full_range(planes(tmp_path / "print.mp4")[0]) - 90) > 40
    logo = changed[:, :60, 190:]
    assert logo.any((1, 2)).all() and logo.mean() > 0.01
    words = changed[:, 90:].any((1, 2))
    assert 0.5 < words.mean() < 0.85
    assert not changed[:, :60, :190].any() and not changed[:, 60:85].any()
    lengths = [len(list(group)) / 12 for on, group in itertools.groupby(words) if on]
    assert all(1.3 < seconds < 5.2 for seconds in lengths[:-1])


def test_added_scenes_move_and_are_like_nothing_else(films, tmp_path):
    recipe = Recipe(added=[{"at": 0, "frames": 90}, {"at": 30, "frames": 70}], height=108, crf=8, seed=1)
    told = make_print(films["24/1"], recipe, tmp_path / "print.mp4")
    luma = full_range(planes(tmp_path / "print.mp4")[0])
    added = luma[told.kind == ADDED]
    assert len(added) == 160
    steps = np.abs(np.diff(added, axis=0)).mean((1, 2))
    assert steps.min() > 0.15, "no two frames are alike"
    assert added.std((1, 2)).min() > 8, "textured"
    one, other, film = (
        (part - part.mean((1, 2), keepdims=True)).reshape(len(part), -1)
        for part in (luma[:90], luma[120:190], luma[told.first >= 0])
    )
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (one, other, film)]
    assert (unit[0] @ unit[1].T).max() < 0.8 and (unit[0] @ unit[2].T).max() < 0.8


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


def heard(path: Path) -> tuple[np.ndarray, int]:
    """The sound of a film from its first picture on, one channel, and its rate."""
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        blocks = list(container.decode(audio=0))
    samples = np.concatenate([block.to_ndarray()[0] for block in blocks])
    return np.pad(samples, (max(0, round(float(blocks[0].pts * blocks[0].time_base) * rate)), 0)), rate


def pitch(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency, to a hertz or so."""
    strength = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
    return float(np.argmax(strength) * rate / (1 << 18))


@pytest.fixture(scope="module")
def singing(tmp_path_factory) -> Path:
    """A film of four seconds whose tone is a hundred hertz higher in every one, 600 to 900."""
    film = np.zeros((96, 96, 128, 3), np.uint8)
    film[:] = np.arange(96)[:, None, None, None] * 2
    tone = ["-f", "lavfi", "-i", "aevalsrc=0.5*sin(2*PI*t*(600+100*floor(t))):s=48000:d=4", "-c:a", "aac", "-b:a", "192k"]
    return encode(tmp_path_factory.mktemp("singing") / "film.mp4", film, "24/1", *tone)


@pytest.mark.parametrize("rate", ["25", "23", "30"])
def test_sound_of_a_faster_print_is_higher(singing, tmp_path, rate):
    make_print(singing, Recipe(frame_rate=rate, height=96), tmp_path / "print.mp4")
    samples, per_second = heard(tmp_path / "print.mp4")
    clock = int(rate) / 24
    assert len(samples) / per_second == pytest.approx(4 / clock, abs=0.06)
    for second in range(4):
        part = samples[int((second + 0.15) / clock * per_second) : int((second + 0.85) / clock * per_second)]
        assert pitch(part, per_second) == pytest.approx((600 + 100 * second) * clock, rel=0.004)


@pytest.mark.parametrize("conversion", ["repeat", "blend"])
def test_sound_of_a_print_of_the_same_clock_is_as_it_was(singing, tmp_path, conversion):
    make_print(singing, Recipe(frame_rate="25", conversion=conversion, height=96), tmp_path / "print.mp4")
    samples, rate = heard(tmp_path / "print.mp4")
    assert pitch(samples[int(2.15 * rate) : int(2.85 * rate)], rate) == pytest.approx(800, abs=3)


def test_sound_is_cut_with_the_reels(singing, tmp_path):
    recipe = Recipe(
        reels=[(48, 96), (0, 48)], remove=[(72, 84)], black=[{"at": 0, "frames": 24}], hold=[{"at": 24, "frames": 24}], height=96
    )
    told = make_print(singing, recipe, tmp_path / "print.mp4")
    samples, rate = heard(tmp_path / "print.mp4")
    assert len(samples) / rate == pytest.approx(told.frames / 24, abs=0.06)
    # Seconds of the print and what is heard in them; None is the print's own.
    for start, end, hertz in ((0, 1, 800), (1, 1.5, 900), (1.5, 2.5, None), (2.5, 3.5, 600), (3.6, 4.5, None), (4.6, 5.5, 700)):
        part = samples[int((start + 0.1) * rate) : int((end - 0.1) * rate)]
        if hertz is None:
            assert 0 < part.std() < 0.02
        else:
            assert pitch(part, rate) == pytest.approx(hertz, abs=4) and part.std() > 0.2


def test_a_print_may_be_silent(singing, tmp_path):
    make_print(singing, Recipe(sound=False, height=96), tmp_path / "print.mp4")
    assert probe(tmp_path / "print.mp4").audio is None


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "mpeg2", "vp9"])
def test_same_recipe_same_bytes_however_busy_the_machine(singing, tmp_path, codec):
    recipe = Recipe(
        trim_frames=4, intro_frames=20, height=108, grain=4, seed=1, codec=codec, paint=0.3, turn=1, reels=[(60, 96), (0, 60)]
    )
    make_print(singing, recipe, tmp_path / "a.mp4")
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        make_print(singing, recipe, tmp_path / "b.mp4")
    finally:
        for process in busy:
            process.kill()
            process.wait()
    make_print(singing, recipe.model_copy(update={"seed": 2}), tmp_path / "c.mp4")
    one, same, other = (sha256_of(tmp_path / f"{name}.mp4") for name in "abc")
    assert one == same != other
    assert truth_file(tmp_path / "a.mp4").read_bytes() == truth_file(tmp_path / "b.mp4").read_bytes()


def test_errors_name_the_remedy_and_leave_nothing(films, tmp_path):
    for recipe, said in (
        (Recipe(trim_frames=FRAMES), "trim_frames"),
        (Recipe(remove=[(50, 61)]), r"recipe\.remove .* 60 frames"),
        (Recipe(frame_rate="26", conversion="pulldown"), r"recipe\.frame_rate"),
    ):
        with pytest.raises(UserError, match=said):
            make_print(films["24/1"], recipe, tmp_path / "grey.mp4")
    with pytest.raises(UserError, match="missing"):
        make_print(tmp_path / "absent.mp4", Recipe(), tmp_path / "grey.mp4")
    assert list(tmp_path.iterdir()) == []


def test_by_hand(films, tmp_path):
    (tmp_path / "recipe.yaml").write_text("height: 72\ntrim_frames: 10\nlogo: true\n")
    (tmp_path / "wrong.json").write_text('{"hight": 72}')
    (tmp_path / "none.yaml").write_text("- a list")
    command = [sys.executable, "-m", "kinemacolor.cli", "make-print", str(films["24/1"]), "--out", str(tmp_path / "print.mp4")]
    run = lambda recipe: subprocess.run(  # noqa: E731
        [*command, "--recipe", str(tmp_path / recipe)], capture_output=True, text=True, check=False
    )
    done = run("recipe.yaml")
    assert done.returncode == 0 and "50 frames at 24 a second" in done.stdout
    assert probe(tmp_path / "print.mp4").frames == 50
    assert pq.read_table(tmp_path / "print.alignment.parquet").num_rows == 50
    for recipe, said in (("wrong.json", "hight"), ("none.yaml", "no key of a recipe"), ("absent.yaml", "missing")):
        failed = run(recipe)
        assert failed.returncode == 2 and said in failed.stderr and len(failed.stderr.splitlines()) == 1


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2"])
@pytest.mark.parametrize("rate", ["7", "100000/4171", "24000/1001"])
def test_codecs_that_know_few_rates_keep_times_all_the_same(films, tmp_path, codec, rate):
    told = make_print(films["24/1"], Recipe(codec=codec, frame_rate=rate, height=108), tmp_path / "print.mp4")
    luma, _, times = planes(tmp_path / "print.mp4")
    assert len(luma) == told.frames and np.array(times, float) == pytest.approx(told.time, abs=2e-4)


def test_a_frame_that_comes_again_after_black(films, tmp_path):
    """The film frame before a black one and after it are the same: what lies between was taken out."""
    recipe = Recipe(reels=[(8, 10), (5, 12)], remove=[(5, 9)], black=[{"at": 5, "frames": 1}], height=108)
    told = make_print(films["24/1"], recipe, tmp_path / "print.mp4")
    assert told.first.tolist() == [9, -1, 9, 10, 11]
    luma = planes(tmp_path / "print.mp4")[0]
    assert [read_number(luma[k], recipe) for k in (0, 2, 3, 4)] == [9, 9, 10, 11]


def test_a_print_has_the_name_of_one(films, tmp_path):
    with pytest.raises(UserError, match=r"print\.webm is no name of a print"):
        make_print(films["24/1"], Recipe(height=108), tmp_path / "print.webm")
    with pytest.raises(UserError, match=r"\.mov file cannot hold vp9"):
        make_print(films["24/1"], Recipe(height=108, codec="vp9"), tmp_path / "print.mov")
    assert list(tmp_path.iterdir()) == []
