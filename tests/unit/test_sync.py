"""Two prints of one film, made here from drawn scenes: the offset to the frame, the geometry, and what is refused."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kinemacolor.align.curves import correlate

from kinemacolor.align.grid import Overlay, area_matrix, fit_window
from kinemacolor.align.signature import DECODE_SIZE, Signature, active_area, signature
from kinemacolor.align.temporal import check_offset, find_offset
from kinemacolor.errors import UserError
from kinemacolor.files import read_json
from kinemacolor.media.decode import decode
from kinemacolor.params import SyncParams
from kinemacolor.stages.sync import ALIGNMENT_SCHEMA, sync

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
WIDTH, HEIGHT, RATE, SECONDS = 384, 216, 24, 10
STILL = range(6 * RATE, 8 * RATE)  # the scene that stands still
CROP = (14, 6, 9, 12)  # left, top, right, bottom in pixels of the colour print


def scenes(seed: int) -> np.ndarray:
    """(frames, H, W, 3) uint8: five scenes of two seconds, the camera moving over each but the fourth."""
    rng = np.random.default_rng(seed)
    frames = np.empty((SECONDS * RATE, HEIGHT, WIDTH, 3), np.uint8)
    for number, first in enumerate(range(0, len(frames), 2 * RATE)):
        large = np.zeros((HEIGHT + 160, WIDTH + 160, 3), np.float32)
        for cells in (5, 12, 40, 110):
            noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
            large += cv2.resize(noise, large.shape[1::-1], interpolation=cv2.INTER_CUBIC) * (30 if cells < 40 else 14)
        picture = np.clip(large + rng.uniform(100, 150, 3), 0, 255).astype(np.uint8)
        for _ in range(12):
            at = rng.integers(0, (WIDTH + 160, HEIGHT + 160))
            cv2.circle(picture, tuple(map(int, at)), int(rng.integers(8, 40)), rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
        speed = rng.uniform(0.6, 1.4, 2) * (0 if first in STILL else 1)
        for step in range(2 * RATE):
            move = np.array([[1, 0, -20 - speed[0] * step], [0, 1, -20 - (-1) ** number * speed[1] * step - 60 * (number % 2)]])
            frames[first + step] = cv2.warpAffine(picture, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    return frames


def encode(frames: np.ndarray, target: Path, *, rate: int = RATE, filters: str = "null") -> Path:
    height, width = frames.shape[1:3]
    command = [FFMPEG, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate)]
    command += [
        "-i",
        "-",
        "-vf",
        f"{filters},format=yuv420p",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "20",
        str(target),
    ]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return target


def grey_print(
    film: np.ndarray, target: Path, *, trim: int = 0, intro: int = 0, crop=CROP, height: int = 160, bars: int = 0
) -> Path:
    """What time does to a film: head lost, another intro, cropped, scaled, graded, grainy, perhaps between black bars."""
    left, top, right, bottom = crop
    cut = film[trim:, top : HEIGHT - bottom, left : WIDTH - right]
    luma = cut @ np.array([0.299, 0.587, 0.114])
    rng = np.random.default_rng(7)
    leader = np.empty((intro, *luma.shape[1:]))
    for number in range(intro):
        leader[number] = np.indices(luma.shape[1:])[number % 2] % 90 + 3 * (number % 30) + 20
    luma = 255 * (np.concatenate([leader, luma]) / 255) ** (1 / 1.3) * 0.85 + 19
    grain = rng.normal(0, 6, (2 * HEIGHT, 2 * WIDTH))
    for frame, (y, x) in zip(luma, rng.integers(0, (HEIGHT, WIDTH), (len(luma), 2)), strict=True):
        frame += grain[y : y + luma.shape[1], x : x + luma.shape[2]]
    width = round(luma.shape[2] * height / luma.shape[1] / 2) * 2
    filters = f"scale={width}:{height}:flags=area,pad={width}:{height + 2 * bars}:0:{bars}"
    return encode(np.repeat(np.clip(luma, 0, 255).astype(np.uint8)[..., None], 3, axis=3), target, filters=filters)


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    return scenes(1)


@pytest.fixture(scope="module")
def colour(film, tmp_path_factory) -> Path:
    return encode(film, tmp_path_factory.mktemp("colour") / "colour.mp4")


@pytest.fixture(scope="module")
def grey(film, tmp_path_factory) -> Path:
    """Lacks 9 frames of the film and has 40 of its own: offset 31."""
    return grey_print(film, tmp_path_factory.mktemp("grey") / "grey.mp4", trim=9, intro=40)


@pytest.fixture(scope="module")
def paired(grey, colour, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sync") / "pair"
    sync(grey, colour, params=SyncParams(), out=out)
    return out


def small(path: Path) -> Signature:
    return signature(decode(path, grey=True, size=DECODE_SIZE))


def corner_errors(transform: np.ndarray, crop=CROP, height: int = 160) -> np.ndarray:
    """Distance in grey pixels between where a transform and the truth put the corners of the common area."""
    left, top, right, bottom = crop
    box = (left, top, WIDTH - right, HEIGHT - bottom)
    width = round((box[2] - left) * height / (box[3] - top) / 2) * 2
    truth = np.array([[width / (box[2] - left), 0, 0], [0, height / (box[3] - top), 0]])
    truth[:, 2] = -truth[:, :2] @ box[:2]
    points = np.array([[x, y, 1] for x in box[::2] for y in box[1::2]])
    return np.linalg.norm(points @ (np.asarray(transform) - truth).T, axis=1)


# ------------------------------------------------------------------------------------------------------------ the stage


def test_alignment_pairs_the_same_pictures_and_nothing_else(paired, grey, colour):
    table = pq.read_table(paired / "alignment.parquet")
    assert table.schema.equals(ALIGNMENT_SCHEMA)
    rows = table.to_pandas()
    assert (rows.grey_frame - rows.colour_frame == 31).all()
    # The first 9 frames of the film have no partner: at the offset, the leader stands where they would be.
    assert rows.colour_frame.tolist() == list(range(9, SECONDS * RATE))
    assert (rows.segment == 0).all()
    assert rows.confidence.between(0, 1).all()
    assert rows.colour_time.tolist() == [p.time for p in decode(colour)][9:]
    assert rows.grey_time.tolist() == [p.time for p in decode(grey)][40:]


def test_geometry_is_within_half_a_pixel_and_crops_show_the_same_area(paired):
    geometry = read_json(paired / "geometry.json")
    transform = np.array(geometry["transform"])
    assert corner_errors(transform).max() < 0.5
    assert geometry["residual_px"] < 0.5
    assert geometry["size"] == {"colour": [HEIGHT, WIDTH], "grey": [160, 292]}
    left, top, right, bottom = geometry["colour_crop"]
    assert (left, top, right, bottom) == pytest.approx((14, 6, WIDTH - 9, HEIGHT - 12), abs=0.7)
    mapped = np.array([[left, top, 1], [right, bottom, 1]]) @ transform.T
    assert mapped.ravel() == pytest.approx(geometry["grey_crop"], abs=0.01)


def test_still_scene_has_low_confidence_and_moving_ones_high(paired):
    rows = pq.read_table(paired / "alignment.parquet").to_pandas()
    inner = rows.colour_frame.isin(range(STILL.start + RATE // 2 + 2, STILL.stop - RATE // 2 - 2))
    assert rows.confidence[inner].max() < 0.3
    moving = rows.confidence[~rows.colour_frame.isin(STILL)]
    assert moving.min() > 0.3 and moving.median() > 0.6


def test_pictures_for_a_person_are_whole(paired):
    for name in ("path.png", "pairs.png"):
        picture = cv2.imread(str(paired / name))
        assert picture is not None and min(picture.shape[:2]) > 400 and picture.std() > 10


@pytest.mark.parametrize(("trim", "intro"), [(0, 0), (0, 1), (31, 75)])
def test_offset_is_exact_in_both_directions(film, colour, tmp_path, trim, intro):
    print_ = grey_print(film, tmp_path / "grey.mp4", trim=trim, intro=intro)
    result = sync(print_, colour, params=SyncParams(), out=tmp_path / "out")
    assert result.offset == intro - trim
    assert (result.grey_intro, result.colour_intro) == (intro, trim)
    assert result.frames == SECONDS * RATE - trim
    assert result.correlation > 0.9 > 0.7 > result.runner_up
    assert result.confidence > 0.99
    assert corner_errors(result.geometry.transform).max() < 0.5


def test_roles_of_the_prints_may_be_swapped(grey, colour, tmp_path):
    """The grey print may be the one that shows more."""
    result = sync(colour, grey, params=SyncParams(), out=tmp_path / "out")
    assert result.offset == -31
    assert result.geometry.grey_crop == pytest.approx((14, 6, WIDTH - 9, HEIGHT - 12), abs=0.7)
    assert result.geometry.colour_crop == pytest.approx((0, 0, 292, 160), abs=0.5)


def test_letterbox_is_no_part_of_the_common_area(film, colour, tmp_path):
    print_ = grey_print(film, tmp_path / "grey.mp4", trim=12, bars=30)
    result = sync(print_, colour, params=SyncParams(), out=tmp_path / "out")
    assert result.offset == -12
    left, top, right, bottom = result.geometry.grey_crop
    assert (left, right) == pytest.approx((0, 292), abs=0.5)
    assert 30 <= top <= 33 and 187 <= bottom <= 190
    moved = result.geometry.transform - [[0, 0, 0], [0, 0, 30]]
    assert corner_errors(moved).max() < 0.5


def test_same_prints_same_bytes(paired, grey, colour, tmp_path):
    sync(grey, colour, params=SyncParams(), out=tmp_path / "again")
    names = sorted(path.name for path in paired.iterdir())
    assert names == ["alignment.parquet", "geometry.json", "pairs.png", "path.png"]
    assert all((paired / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_offset_by_hand_is_taken_and_checked(grey, colour, tmp_path):
    result = sync(grey, colour, params=SyncParams(offset=31), out=tmp_path / "right")
    assert (result.offset, result.colour_intro, result.grey_intro) == (31, 9, 40)
    assert result.confidence > 0.99
    beside = sync(grey, colour, params=SyncParams(offset=32), out=tmp_path / "beside")
    assert beside.offset == 32 and beside.confidence < 0.01
    with pytest.raises(UserError, match=r"correlate by -?\d\.\d\d at the offset set by hand, \+120 frames"):
        sync(grey, colour, params=SyncParams(offset=120), out=tmp_path / "wrong")
    with pytest.raises(UserError, match=r"offset of 5000 frames .* remove sync\.offset"):
        sync(grey, colour, params=SyncParams(offset=5000), out=tmp_path / "outside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beside", "right"]


def test_unrelated_prints_are_refused_with_the_score(colour, tmp_path):
    other = grey_print(scenes(2), tmp_path / "other.mp4")
    with pytest.raises(UserError) as error:
        sync(other, colour, params=SyncParams(), out=tmp_path / "out")
    sentence = str(error.value)
    assert "other.mp4" in sentence and "colour.mp4" in sentence and "do not belong together" in sentence
    assert float(re.search(r"correlate by (-?\d\.\d\d)", sentence)[1]) < 0.5
    assert "0.5 is needed" in sentence and "sync.min_correlation" in sentence
    assert not (tmp_path / "out").exists()


def test_different_frame_rates_are_refused_with_both(film, colour, tmp_path):
    faster = encode(film[:48], tmp_path / "pal.mp4", rate=25)
    with pytest.raises(UserError, match=r"grey print runs at 25 and the colour print at 24 frames"):
        sync(faster, colour, params=SyncParams(), out=tmp_path / "out")


def test_offset_beyond_the_search_is_not_found(film, colour, tmp_path):
    print_ = grey_print(film, tmp_path / "grey.mp4", trim=60)
    with pytest.raises(UserError, match=r"sync\.max_offset"):
        sync(print_, colour, params=SyncParams(max_offset=1), out=tmp_path / "out")


# ------------------------------------------------------------------------------------------------------------ its parts


def test_signature_is_the_mean_of_each_cell():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, *DECODE_SIZE), dtype=np.uint8)

    class Frame:
        def __init__(self, number: int) -> None:
            self.time, self.pixels = number / 24, pixels[number]

    found = signature((Frame(i) for i in range(3)), frames=1)
    expected = [cv2.resize(p.astype(np.float32), (32, 18), interpolation=cv2.INTER_AREA) for p in pixels]
    assert found.grids.dtype == np.float16
    # A quarter is exact in half precision.
    np.testing.assert_array_equal(found.grids, np.array(expected, np.float16))
    assert found.times.tolist() == [0, 1 / 24, 2 / 24]


def test_active_area_leaves_bars_out_but_no_dark_film():
    rng = np.random.default_rng(0)
    grids = rng.uniform(40, 200, (100, 18, 32))
    grids[:, :3], grids[:, 16:] = 1, 1
    assert active_area(grids) == (0, 3 / 18, 1, 16 / 18)
    assert active_area(np.full((100, 18, 32), 3.0)) == (0, 0, 1, 1)


@given(low=st.floats(-0.2, 0.3), high=st.floats(0.7, 1.2), out=st.integers(1, 40))
def test_area_matrix_keeps_the_mean_of_a_ramp(low, high, out):
    """Areas of a constant are constant inside, and those outside the picture count as nothing."""
    matrix = area_matrix(low, high, 32, out)
    edges = np.linspace(low, high, out + 1)
    inside = np.clip(edges[1:], 0, 1) - np.clip(edges[:-1], 0, 1)
    np.testing.assert_allclose(matrix.sum(axis=1), inside / np.diff(edges), atol=1e-5)


def test_area_matrix_equals_opencv():
    line = np.random.default_rng(0).uniform(0, 255, (1, 32)).astype(np.float32)
    expected = cv2.resize(line, (12, 1), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(area_matrix(0, 1, 32, 12) @ line[0], expected[0], rtol=1e-4)


def test_correlation_at_every_offset_equals_the_plain_sum():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(33, 4)).astype(np.float32)
    curve = correlate(a, b, reach=40, least=5)
    for offset, score in zip(curve.offsets, curve.scores, strict=True):
        pairs = [(a[t + offset], b[t]) for t in range(33) if 0 <= t + offset < 50]
        x, y = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        plain = (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()) * np.sqrt(len(pairs) / 33)
        assert score == pytest.approx(plain, abs=1e-4)
    assert (curve.offsets.min(), curve.offsets.max()) == (-28, 40)


def wandering(seed: int, frames: int) -> np.ndarray:
    """Grids of a film that changes a little with every frame and altogether now and then."""
    rng = np.random.default_rng(seed)
    grids = np.empty((frames, 18, 32))
    for first in range(0, frames, 40):
        grids[first : first + 40] = cv2.resize(rng.uniform(30, 220, (5, 8)), (32, 18), interpolation=cv2.INTER_CUBIC)
        grids[first : first + 40] += np.cumsum(rng.normal(0, 2, grids[first : first + 40].shape), axis=0)
    return grids


@settings(max_examples=12, deadline=None)
@given(offset=st.integers(-60, 60), seed=st.integers(0, 1000))
def test_any_offset_is_found_from_noisy_signatures(offset, seed):
    film = wandering(seed, 260)
    rng = np.random.default_rng(seed)
    own = wandering(seed + 5000, max(offset, 0))
    grey = np.concatenate([own, film[max(-offset, 0) :]])
    grey = 255 * (np.clip(grey, 0, 255) / 255) ** 0.8 + rng.normal(0, 1, grey.shape)
    prints = [Signature(grids.astype(np.float16), np.arange(len(grids)) / 24) for grids in (grey, film)]
    found = find_offset(*prints, Fraction(24), max_offset_seconds=20, min_correlation=0.5)
    assert found.frames == offset
    assert found.match.start == max(-offset, 0)
    assert found.confidence > 0.99


def test_titles_inside_do_not_split_the_film_and_have_no_confidence():
    film = wandering(3, 300)
    grey = film.copy()
    grey[120:150] = wandering(9, 30)
    prints = [Signature(grids.astype(np.float16), np.arange(300) / 24) for grids in (grey, film)]
    found = check_offset(*prints, Fraction(24), frames=0, max_offset_seconds=5, min_correlation=0.5)
    assert (found.match.start, found.match.end) == (0, 300)
    assert found.match.sure[124:146].max() < 0.1
    assert found.match.sure[:100].min() > 0.5


def test_window_of_a_crop_is_found_on_the_grids():
    rng = np.random.default_rng(0)
    pictures = [cv2.resize(rng.uniform(0, 255, (12, 20)), (320, 180), interpolation=cv2.INTER_CUBIC) for _ in range(20)]
    colour = np.array([cv2.resize(p, (32, 18), interpolation=cv2.INTER_AREA) for p in pictures])
    grey = np.array(
        [
            cv2.resize(255 * (np.clip(p[9:162, 16:308], 0, 255) / 255) ** 0.7, (32, 18), interpolation=cv2.INTER_AREA)
            for p in pictures
        ]
    )
    window = fit_window(grey, colour)
    assert window == pytest.approx((16 / 320, 9 / 180, 308 / 320, 162 / 180), abs=0.008)
    assert Overlay(window, (0, 0, 1, 1), (0, 0, 1, 1)).cells == 18 * 32
