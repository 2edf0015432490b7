"""Comparison videos of made films: what each panel shows, frame for frame, with the sound, within the stretch."""

import itertools
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from kinemacolor import comparison
from kinemacolor.colour import lab_to_rgb, rgb_to_lab, to_uint8
from kinemacolor.comparison import ahead, clamp, compare, enlarge, steady
from kinemacolor.errors import UserError
from kinemacolor.footage import open_footage
from kinemacolor.media.decode import decode
from kinemacolor.media.probe import probe
from kinemacolor.params import RenderParams
from tests.unit.shown_films import HEIGHT, INNER, RATE, WIDTH, Soft, Tint, close, frames_of, luma, made_clip, made_pair, panel


class Honest(Tint):
    """The identity: knows the true picture of every frame, and predicts its chroma at the size asked for."""

    name = "honest"

    def __init__(self, truths, height: int) -> None:
        super().__init__(0, 0, height)
        self.truths = iter(truths)

    def __call__(self, lightness):
        size = (lightness.shape[-1], lightness.shape[-2])
        small = [
            np.asarray(Image.fromarray(truth).resize(size, Image.Resampling.BOX))
            for truth in itertools.islice(self.truths, len(lightness))
        ]
        lab = rgb_to_lab(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2))
        return torch.cat((lightness, lab[:, 1:]), 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return made_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


def test_a_video_has_all_frames_the_sound_and_the_truth_untouched(clip: Path, tmp_path: Path):
    params = RenderParams(start=1.0, seconds=2.0, crf=8)
    found = compare([Tint(30, -20)], open_footage(clip), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    facts = probe(tmp_path / "v.mp4")
    assert (facts.width, facts.height, facts.frames, facts.frame_rate) == (3 * WIDTH, HEIGHT, 2 * RATE, RATE)
    assert facts.audio is not None and facts.duration == pytest.approx(2.0, abs=0.05)
    assert (found.frames, found.width, found.height, found.start, found.seconds, found.note) == (50, 480, 120, 1.0, 2.0, "")

    film, shown = frames_of(clip), frames_of(tmp_path / "v.mp4")
    for number in (0, 1, 24, 49):
        truth = film[RATE + number][INNER]
        close(panel(shown[number], 2), truth)
        lab = rgb2lab(truth)
        grey = lab2rgb(np.stack([lab[..., 0], 0 * lab[..., 0], 0 * lab[..., 0]], -1)) * 255
        close(panel(shown[number], 0), grey)
        close(
            panel(shown[number], 1), lab2rgb(np.stack([lab[..., 0], 0 * lab[..., 0] + 30, 0 * lab[..., 0] - 20], -1)) * 255, 3, 14
        )
    with Image.open(tmp_path / "p.png") as still:
        assert still.size == (480, 120)
        close(panel(np.asarray(still), 2), film[50][INNER])


def test_the_sound_is_that_of_the_stretch(tmp_path: Path):
    """A tone that begins at 2 s stands at 1 s in a video that begins at 1 s."""
    film = tmp_path / "beep.mp4"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=64x48:rate=25:duration=4",
    ]
    command += [
        "-f",
        "lavfi",
        "-i",
        "aevalsrc=if(gte(t\\,2)\\,sin(2*PI*600*t)\\,0):d=4:s=44100",
        "-pix_fmt",
        "yuv420p",
        str(film),
    ]
    subprocess.run(command, check=True)
    compare(
        [Tint(0, 0)],
        open_footage(film),
        params=RenderParams(start=1, seconds=2),
        out=tmp_path / "v.mp4",
        poster=tmp_path / "p.png",
    )
    with av.open(str(tmp_path / "v.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        rate = container.streams.audio[0].rate
    begins = np.flatnonzero(np.abs(sound) > 0.3)[0] / rate
    assert begins == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(("start", "seconds", "length"), [(3.0, 5.0, 5.0), (1.0, 3.0, 3.0), (6.5, 9.0, 1.5)])
def test_a_film_with_a_gap_stays_in_step_with_its_sound(tmp_path: Path, start: float, seconds: float, length: float):
    """No picture from 2 to 5 s; a flash and a tone at 6 s. The stretch begins in the gap, ends in it, or behind it."""
    film = tmp_path / "gap.mkv"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "color=gray:size=64x48:rate=25:duration=8",
    ]
    command += ["-f", "lavfi", "-i", "aevalsrc=if(gte(t\\,6)\\,sin(2*PI*600*t)\\,0):d=8:s=44100"]
    command += ["-vf", "drawbox=color=white:t=fill:enable='gte(t,6)',select='lt(t,2)+gte(t,5)'", "-fps_mode", "vfr"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(film)], check=True)
    params = RenderParams(start=start, seconds=seconds)
    found = compare([Tint(0, 0)], open_footage(film), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    shown = list(decode(tmp_path / "v.mp4"))
    step = 1 / float(probe(tmp_path / "v.mp4").frame_rate)
    assert found.seconds == pytest.approx(length, abs=1.5 * step) and shown[0].time == pytest.approx(0, abs=1e-3)
    with av.open(str(tmp_path / "v.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        rate = container.streams.audio[0].rate
    assert len(sound) / rate == pytest.approx(length, abs=0.06)
    bright, loud = [picture.time for picture in shown if picture.pixels[:20].mean() > 190], np.flatnonzero(np.abs(sound) > 0.3)
    assert bool(bright) == bool(len(loud)) == (start + seconds > 6)
    if bright:
        assert bright[0] == pytest.approx(max(0.0, 6 - start), abs=1.5 * step)
        assert loud[0] / rate == pytest.approx(max(0.0, 6 - start), abs=0.06)


def test_true_chroma_comes_back_as_the_true_picture(clip: Path, tmp_path: Path):
    """Chroma at half the height, enlarged and joined with the film's own lightness, is the film again."""
    film = frames_of(clip)
    honest = Honest(film, height=HEIGHT // 2)
    params = RenderParams(seconds=0.4, crf=4)
    compare([honest], open_footage(clip), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    for number, frame in enumerate(frames_of(tmp_path / "v.mp4")):
        close(panel(frame, 1), film[number][INNER], mean=2.5, worst=16)


def test_a_network_sees_the_film_at_its_training_height(clip: Path, tmp_path: Path):
    tint = Tint(0, 0, height=30)
    compare([tint], open_footage(clip), params=RenderParams(seconds=0.4), out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    seen = torch.cat(tint.seen)
    assert seen.shape == (10, 1, 30, 40)
    film = frames_of(clip)
    small = np.asarray(Image.fromarray(film[3]).resize((40, 30), Image.Resampling.BOX))
    assert np.abs(seen[3, 0].numpy() - rgb2lab(small)[..., 0]).max() < 0.6  # 8-bit rounding of the small picture


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    return made_pair(tmp_path_factory.mktemp("pair"))


def test_an_rgb_network_looks_as_soft_as_it_is(pair, tmp_path: Path):
    film, params = pair[0] / "colour.mp4", RenderParams(start=1, seconds=0.4, crf=4)
    painters = [Soft(0, 0, height=24), Tint(0, 0, height=24)]
    compare(painters, open_footage(film), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    shown = frames_of(tmp_path / "v.mp4")[4]
    assert shown.shape == (2 * 240, 3 * 320, 3)
    whole = shown[:240, :320, 1]  # the grey panel
    small = Image.fromarray(whole).resize((32, 24), Image.Resampling.BOX).resize((320, 240), Image.Resampling.BILINEAR)
    soft, sharp = (panel(shown, place, height=240, width=320)[..., 1] for place in (1, 2))
    assert np.abs(sharp - whole[INNER]).mean() < 1.5
    assert np.abs(soft - np.asarray(small)[INNER]).mean() < 0.5 * np.abs(soft - whole[INNER]).mean()


def test_a_pair_shows_the_grey_print_over_what_the_colour_print_shows(pair, tmp_path: Path):
    raw, sync = pair
    tint = Tint(0, 0, height=30)
    params = RenderParams(start=1.0, seconds=1.2, crf=8)
    found = compare([tint], open_footage(raw, sync), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    assert (found.frames, found.height, found.width) == (30, 204, 3 * 272)
    film, print_ = frames_of(raw / "colour.mp4"), [picture.pixels for picture in decode(raw / "grey.mkv", grey=True)]
    shown = frames_of(tmp_path / "v.mp4")
    for number in (0, 13, 29):
        grey, coloured, truth = (panel(shown[number], place, height=204, width=272) for place in range(3))
        close(truth, film[RATE + number][12:216, 32:304][INNER], mean=3, worst=32)  # halved chroma at hard edges
        # The print is another picture than the film (its own grain and tones), but of the same thing at the same place.
        assert np.corrcoef(luma(grey).ravel(), luma(truth).ravel())[0, 1] > 0.95
        own = print_[RATE + number + 12]
        enlarged = np.asarray(Image.fromarray(own).resize((272, 204), Image.Resampling.BILINEAR))[INNER]
        assert np.abs(luma(grey) - enlarged).mean() < 2.5
        assert np.abs(coloured - grey).mean() < 2.5  # no chroma: the grey print's own lightness
    # Shifted by a frame or by two pixels, it fits worse: neither time nor place is off.
    grey, truth = (panel(shown[13], place, height=204, width=272) for place in (0, 2))
    right = np.corrcoef(luma(grey)[4:-4, 4:-4].ravel(), luma(truth)[4:-4, 4:-4].ravel())[0, 1]
    for dy, dx in ((0, 2), (0, -2), (2, 0), (-2, 0)):
        assert (
            np.corrcoef(luma(grey)[4:-4, 4:-4].ravel(), np.roll(luma(truth), (dy, dx), (0, 1))[4:-4, 4:-4].ravel())[0, 1] < right
        )
    assert torch.cat(tint.seen).shape == (30, 1, 30, 40)


def test_a_frame_without_a_partner_leaves_the_grey_panels_black(pair, tmp_path: Path):
    raw, sync = pair
    gappy = tmp_path / "sync"
    gappy.mkdir()
    (gappy / "geometry.json").write_bytes((sync / "geometry.json").read_bytes())
    table = pq.read_table(sync / "alignment.parquet")
    lost = [28, 29, 30, 31, 32, 33, 34, 35, 36, 37]
    pq.write_table(table.filter(pc.invert(pc.is_in(table["colour_frame"], pa.array(lost)))), gappy / "alignment.parquet")
    params = RenderParams(start=1.0, seconds=0.8, crf=8)
    compare([Tint(0, 0)], open_footage(raw, gappy), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    shown, film = frames_of(tmp_path / "v.mp4"), frames_of(raw / "colour.mp4")
    assert len(shown) == 20
    for number in (2, 3, 12, 13):
        empty = RATE + number in lost
        assert (panel(shown[number], 0, height=204, width=272).mean() < 3) == empty
        assert (panel(shown[number], 1, height=204, width=272).mean() < 3) == empty
        close(
            panel(shown[number], 2, height=204, width=272), film[RATE + number][12:216, 32:304][INNER], mean=3, worst=32
        )  # halved chroma at hard edges


class Remembering(Tint):
    """Notes what it is told of the film's order."""

    name, remembers = "remembering", True

    def __init__(self, height: int = 32) -> None:
        super().__init__(0, 0, height)
        self.starts, self.resets = [], 0

    def reset(self):
        self.resets += 1
        self.starts, self.seen = [], []

    def __call__(self, lightness, starts):
        assert len(starts) == len(lightness) <= 8
        self.starts += starts.tolist()
        return super().__call__(lightness)


def test_a_model_with_a_memory_sees_every_frame_in_order_and_begins_anew_at_cuts(tmp_path: Path):
    film = tmp_path / "cuts.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error"]
    shots = ("testsrc2", "smptebars", "mandelbrot", "testsrc2")
    for shot, frames in zip(shots, (11, 9, 17, 5), strict=True):
        command += ["-f", "lavfi", "-i", f"{shot}=size=64x48:rate=25,trim=end_frame={frames}"]
    command += ["-lavfi", "concat=n=4,format=yuv420p", "-crf", "8", str(film)]
    subprocess.run(command, check=True)
    memory, other = Remembering(height=24), Tint(10, 10, height=32)
    params, pictures = RenderParams(seconds=2), frames_of(film)
    for _ in range(2):  # what it saw before does not count
        compare([other, memory], open_footage(film), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    assert memory.resets == 2 and memory.starts == [number in (0, 11, 20, 37) for number in range(42)]
    seen = torch.cat(memory.seen)
    assert len(pictures) == len(seen) == 42
    for number in (0, 10, 11, 25, 41):
        small = np.asarray(Image.fromarray(pictures[number]).resize((32, 24), Image.Resampling.BOX))
        assert np.abs(seen[number, 0].numpy() - rgb2lab(small)[..., 0]).mean() < 0.6


def test_a_model_with_a_memory_begins_anew_where_the_grey_print_has_a_gap(pair, tmp_path: Path):
    raw, sync = pair
    gappy = tmp_path / "sync"
    gappy.mkdir()
    (gappy / "geometry.json").write_bytes((sync / "geometry.json").read_bytes())
    table = pq.read_table(sync / "alignment.parquet")
    lost = [28, *range(31, 45), 49]  # one frame, a whole batch, and the last of one
    pq.write_table(table.filter(pc.invert(pc.is_in(table["colour_frame"], pa.array(lost)))), gappy / "alignment.parquet")
    memory, params = Remembering(), RenderParams(start=1.0, seconds=1.2)
    compare([memory], open_footage(raw, gappy), params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png")
    there = [number for number in range(25, 55) if number not in lost]
    assert memory.starts == [number in (25, 29, 45, 50) for number in there]


def test_a_pair_needs_its_alignment(pair):
    with pytest.raises(UserError, match="film pair"):
        open_footage(pair[0])


def test_media_that_changed_since_the_download_is_refused(pair, tmp_path: Path):
    raw = tmp_path / "film"
    raw.mkdir()
    for file in pair[0].iterdir():
        (raw / file.name).write_bytes(file.read_bytes())
    with open(raw / "grey.mkv", "ab") as handle:
        handle.write(b"x")
    with pytest.raises(UserError, match=r"grey\.mkv"):
        open_footage(raw, pair[1])


@pytest.mark.parametrize(
    ("start", "seconds", "begin", "end", "expected"),
    [
        (10, 20, 0, 100, (10, 30)),
        (90, 20, 0, 100, (90, 100)),  # runs over the end
        (500, 20, 0, 100, (80, 100)),  # lies behind it: the film's last seconds
        (0, 20, 5, 100, (5, 20)),  # begins before both prints run
        (0, 2, 5, 100, (5, 7)),
        (0, 500, 0, 100, (0, 100)),
        (3, 500, 0, 2, (0, 2)),
    ],
)
def test_a_stretch_is_cut_to_the_film_and_says_so(start, seconds, begin, end, expected):
    found = clamp(RenderParams(start=start, seconds=seconds), begin, end)
    assert found[:2] == expected
    assert bool(found[2]) == (expected != (start, start + seconds))


def test_a_clamped_video_still_holds_the_film_that_there_is(clip: Path, tmp_path: Path, caplog):
    found = compare(
        [Tint(0, 0)],
        open_footage(clip),
        params=RenderParams(start=3, seconds=20),
        out=tmp_path / "v.mp4",
        poster=tmp_path / "p.png",
    )
    assert found.frames == probe(tmp_path / "v.mp4").frames == RATE
    assert "3 to 23 s" in found.note and found.note in caplog.text


def test_a_failing_network_leaves_nothing_and_no_thread(clip: Path, tmp_path: Path):
    class Broken(Tint):
        def __call__(self, lightness):
            raise RuntimeError("broken network")

    with pytest.raises(RuntimeError, match="broken network"):
        compare(
            [Broken(0, 0)], open_footage(clip), params=RenderParams(seconds=1), out=tmp_path / "v.mp4", poster=tmp_path / "p.png"
        )
    assert list(tmp_path.iterdir()) == []


def test_the_fast_lab_of_panels_is_ours_within_a_step():
    rng = np.random.default_rng(3)
    lightness = rng.uniform(0, 100, (200, 300)).astype(np.float32)
    ab = rng.uniform(-110, 110, (200, 300, 2)).astype(np.float32)  # mostly out of gamut: clipping must agree, too
    shown = np.zeros((200, 300, 3), np.uint8)
    enlarge(ab, lightness, shown)
    lab = torch.from_numpy(np.concatenate([lightness[None], ab.transpose(2, 0, 1)]))
    exact = to_uint8(lab_to_rgb(lab)).permute(1, 2, 0).numpy()
    difference = np.abs(shown.astype(int) - exact)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_the_fast_lightness_of_a_film_is_ours(clip: Path):
    picture = next(decode(clip, start=2.0)).pixels
    sight = next(open_footage(clip).sights(2.0, 2.1))
    lab = rgb_to_lab(torch.from_numpy(picture).permute(2, 0, 1))
    assert np.abs(sight.lightness - lab[0].numpy()).max() < 0.02
    assert sight.lightness.shape == sight.grey.shape == picture.shape[:2]


def test_frames_of_uneven_times_keep_pace_with_the_sound():
    times = [0.0, 0.1, 0.2, 0.5, 0.6, 0.62, 0.7]
    assert list(steady([(time, time) for time in times], Fraction(10))) == [0.0, 0.1, 0.2, 0.2, 0.2, 0.5, 0.6, 0.7]
    ntsc = Fraction(24000, 1001)
    rounded = [(round(float(number / ntsc), 3), number) for number in range(500)]  # Matroska's milliseconds
    assert list(steady(rounded, ntsc)) == list(range(500))


def test_frames_that_are_missing_at_either_end_are_stood_in_for():
    late = [(5.0, "a"), (5.1, "b"), (5.4, "c")]
    assert "".join(steady(late, Fraction(10), start=4.7, end=5.8)) == "aaaabbbcccc"
    assert "".join(steady(late, Fraction(10), start=4.7)) == "aaaabbbc"
    assert "".join(steady(late, Fraction(10), end=5.6)) == "abbbcc"
    assert list(steady([], Fraction(10), start=0.0, end=9.0)) == []
    # A film of constant rate passes frame for frame, wherever between two of its frames a stretch begins and ends.
    for rate in (Fraction(24000, 1001), Fraction(25), Fraction(60000, 1001)):
        for digits in (3, 9):
            times = [(round(float(number / rate), digits), number) for number in range(300)]
            for start, end in itertools.product((0.0, 0.4, 1.001, 1.015, 1.035), (4.0, 4.02, 4.037)):
                inside = [(time, number) for time, number in times if start <= time < end]
                found = list(steady(inside, rate, start=start, end=end))
                assert found == [number for _, number in inside] or found[0] == found[1] or found[-1] == found[-2]
                assert abs(len(found) - (end - start) * rate) <= 1.1


def test_reading_ahead_keeps_order_raises_and_can_be_closed():
    assert list(ahead(iter(range(100)), depth=3)) == list(range(100))

    def failing():
        yield 1
        raise ValueError("from the thread")

    items = ahead(failing(), depth=3)
    assert next(items) == 1
    with pytest.raises(ValueError, match="from the thread"):
        next(items)
    ended = []

    def endless():
        try:
            yield from itertools.count()
        finally:
            ended.append(True)

    items = ahead(endless(), depth=3)
    assert next(items) == 0
    items.close()
    assert ended == [True]


class Sum(Tint):
    """Shows the last bits of a sum, which another number of threads rounds otherwise."""

    def __call__(self, lightness):
        bits = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).sum().view(torch.int32)
        self.ab = torch.tensor([float(bits % 64) - 32, 0.0])
        return super().__call__(lightness)


def test_the_number_of_threads_changes_no_byte_and_stays_as_it_was(clip: Path, tmp_path: Path):
    """Snakemake lowers it to `--cores`, by OMP_NUM_THREADS."""
    before, made = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            out = tmp_path / "v.mp4"
            compare([Sum(0, 0)], open_footage(clip), params=RenderParams(seconds=0.2), out=out, poster=tmp_path / "p.png")
            made.add(out.read_bytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(made) == 1


def test_a_batch_is_as_long_as_the_film_is_not(clip: Path, tmp_path: Path, monkeypatch):
    """Frames are the same whatever goes through a network together."""
    stills = []
    for batch in (1, 7):
        monkeypatch.setattr(comparison, "_BATCH", batch)
        out = tmp_path / f"{batch}.mp4"
        compare([Tint(20, 20)], open_footage(clip), params=RenderParams(seconds=0.4), out=out, poster=tmp_path / "p.png")
        stills.append(np.stack(frames_of(out)))
    assert np.array_equal(*stills)
