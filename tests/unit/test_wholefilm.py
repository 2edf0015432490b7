"""Whole films in colour: every stream and every time stamp kept, lightness kept, kills survived, and sentences for what cannot be."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from skimage.color import rgb2lab
from torch import nn

from kinemacolor.colorize import Colorizer
from kinemacolor.errors import UserError
from kinemacolor.media.decode import decode, frames_of
from kinemacolor.media.probe import probe
from kinemacolor.wholefilm.film import Options, colour_film
from kinemacolor.wholefilm.line import Network, batches
from kinemacolor.wholefilm.looks import planes_of
from kinemacolor.wholefilm.reading import Reader, stream_of
from kinemacolor.wholefilm.writing import Packet, decoding_times

from .made_videos import ffmpeg
from .test_memory import remembering, write_model

LOSSLESS = Options(codec="ffv1", segment=16)
QUICK = Options(preset="ultrafast", segment=16)

WORDS = "1\n00:00:00,200 --> 00:00:00,900\n{} one\n\n2\n00:00:01,000 --> 00:00:01,600\n{} two\n"
CHAPTERS = """;FFMETADATA1
title=A film
comment=with words
[CHAPTER]
TIMEBASE=1/1000
START=0
END=700
title=Beginning
[CHAPTER]
TIMEBASE=1/1000
START=700
END=1900
title=End
"""
PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=80x48:rate=25,format=gray,format=yuv420p"]
TONES = [*["-f", "lavfi", "-i", "sine=440:duration=2"], *["-f", "lavfi", "-i", "sine=880:duration=1.9"]]
# Of every seven frames two are left out, so that the rest stand unevenly.
UNEVEN = ["-vf", "select='not(eq(mod(n,7),2)+eq(mod(n,7),3))'", "-fps_mode", "vfr"]


def tinted(folder: Path, family: str = "alpha", **options: object) -> Path:
    """A model that gives every picture a colour."""
    write_model(folder, family, **options)
    weights = load_file(folder / "weights.safetensors")
    last = [name for name, value in weights.items() if name.endswith("bias") and len(value) == 2][-1]
    weights[last] = torch.tensor([0.12, -0.18])
    save_file(weights, folder / "weights.safetensors")
    meta = json.loads((folder / "meta.json").read_text()) | {"size": [32, 32]}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tinted(tmp_path_factory.mktemp("models") / "tinted")


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> dict[str, Path]:
    """One film with two sound tracks, two of subtitles, chapters, words and uneven frames, in Matroska and in MP4."""
    folder = tmp_path_factory.mktemp("films")
    for name in ("english", "french"):
        (folder / f"{name}.srt").write_text(WORDS.format(name, name))
    (folder / "chapters.txt").write_text(CHAPTERS)
    (folder / "letters.ttf").write_bytes(b"no real font, but bytes\0\xff" * 9)
    inputs = [*PICTURE, *TONES, "-i", folder / "english.srt", "-i", folder / "french.srt", "-i", folder / "chapters.txt"]
    maps = [part for at in range(5) for part in ("-map", at)] + ["-map_metadata", 5, "-map_chapters", 5]
    about = ["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fra", "-metadata:s:a:1", "title=Version française"]
    about += ["-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=fra", "-disposition:a:1", "0"]
    about += ["-disposition:s:1", "forced"]
    shared = [*inputs, *maps, *UNEVEN, *about, "-t", "1.92", "-c:v", "libx264", "-preset", "veryfast", "-g", "12", "-c:a", "aac"]
    attached = ["-attach", folder / "letters.ttf", "-metadata:s:t", "mimetype=font/ttf", "-metadata:s:t", "filename=letters.ttf"]
    found = {"mkv": folder / "film.mkv", "mp4": folder / "film.mp4"}
    ffmpeg(*shared, "-c:s", "srt", *attached, found["mkv"])
    ffmpeg(*shared, "-c:s", "mov_text", found["mp4"])
    return found


def contents(path: Path) -> dict:
    """All that a film's file says of itself but for its pictures: streams, words, chapters, packets, and when frames are shown."""
    with av.open(str(path)) as container:
        streams = [
            (stream.type, stream.codec_context.name if stream.codec_context else None, stream.metadata.get("language"),
             stream.metadata.get("title"), int(stream.disposition))
            for stream in container.streams if stream.type != "data"
        ]  # fmt: skip
        chapters = [
            (float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"]), one["metadata"].get("title"))
            for one in container.chapters()
        ]
        attached = [(stream.name, stream.mimetype, stream.data) for stream in container.streams if stream.type == "attachment"]
        words = {key.lower(): value for key, value in container.metadata.items() if key.lower() in ("title", "comment")}
        packets: dict[int, list] = {}
        for packet in container.demux([one for one in container.streams if one.type in ("audio", "subtitle")]):
            if packet.size and packet.pts is not None:
                time = round(float(packet.pts * packet.time_base), 3)
                packets.setdefault(packet.stream_index, []).append((time, bytes(packet)))
        duration = container.duration
    shown = [round(time, 3) for _, time, _ in frames_of(path)]
    return {
        "streams": streams, "chapters": chapters, "attached": attached, "words": words, "packets": packets,
        "shown": shown, "duration": round(duration / 1000),
    }  # fmt: skip


def spoken(path: Path) -> list[tuple[float, str]]:
    """Time and words of the first subtitles."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        found = []
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                words = stream.codec_context.decode2(packet)
                found += [(round(float(packet.pts * packet.time_base), 2), one.dialogue.decode()) for one in words or ()]
        return [one for one in found if one[1]]


def planes(path: Path) -> list[list[np.ndarray]]:
    return [[plane[:, :width].copy() for plane, width in planes_of(frame)] for _, _, frame in frames_of(path)]


# ------------------------------------------------------------------------------------------------ all is kept


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_everything_but_the_colours_stays(films, model, tmp_path, kind):
    film, out = films[kind], tmp_path / f"out.{kind}"
    done = colour_film(model, film, out=out, options=QUICK)
    before, after = contents(film), contents(out)
    assert (
        len(before["streams"]) == (6 if kind == "mkv" else 5)
        and len(before["chapters"]) == 2
        and len(set(np.diff(before["shown"]).round(2))) == 2
    )
    assert after == before, "streams, chapters, words, every packet of sound and subtitles, every frame's time, the length"
    assert done.frames == len(before["shown"]) and done.chroma > 10
    own, found = (np.stack([rgb2lab(picture.pixels) for picture in decode(path)]) for path in (film, out))
    difference = np.abs(found[..., 0] - own[..., 0])
    assert difference.mean() < 1, "8 bits, halved chroma, and x264 at quality 18"
    assert np.hypot(found[..., 1], found[..., 2]).mean() > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name]


def test_without_loss_lightness_is_off_by_eight_bits(films, model, tmp_path):
    out = tmp_path / "out.mkv"
    colour_film(model, films["mkv"], out=out, options=LOSSLESS)
    own, found = (np.stack([rgb2lab(picture.pixels)[..., 0] for picture in decode(path)]) for path in (films["mkv"], out))
    assert np.abs(found - own).mean() < 0.3
    colour_film(model, films["mkv"], out=out, options=Options(codec="ffv1", keep="luma"))
    for (own, *_), (found, *_) in zip(planes(films["mkv"]), planes(out), strict=True):
        assert np.array_equal(own, found)


@pytest.mark.parametrize(("kind", "other"), [("mkv", "mp4"), ("mp4", "mkv")])
def test_subtitles_are_told_in_the_form_of_another_container(films, model, tmp_path, kind, other):
    out = tmp_path / f"out.{other}"
    film = films[kind]
    if kind == "mkv":
        with pytest.raises(
            UserError, match=r"out.mp4 cannot hold what .* holds \(attachment letters.ttf\): let --out end in .mkv"
        ):
            colour_film(model, film, out=out)
        assert not list(tmp_path.iterdir())
        film = tmp_path / "bare.mkv"
        ffmpeg("-i", films["mkv"], "-map", "0:v", "-map", "0:a", "-map", "0:s", "-c", "copy", film)
    colour_film(model, film, out=out, options=QUICK)
    before, after = contents(film), contents(out)
    told = spoken(out)
    assert [words for _, words in told] == [words for _, words in spoken(film)] == ["english one", "english two"]
    # Matroska knows no time before nought, where the sound of an MP4 begins: all of it then comes that much later.
    assert np.abs(np.array([time for time, _ in told]) - [0.2, 1.0]).max() < 0.03
    assert [one[0] for one in after["streams"]] == [one[0] for one in before["streams"]]
    assert [one[2] for one in after["streams"][1:]] == ["eng", "fra", "eng", "fra"]
    assert after["words"] == before["words"] and [one[2] for one in after["chapters"]] == [one[2] for one in before["chapters"]]
    assert np.abs(np.array(after["shown"]) - before["shown"]).max() < 0.002
    with av.open(str(out)) as container:
        moved = float(container.streams.video[0].start_time * container.streams.video[0].time_base)
    assert 0 <= moved < 0.03
    for one, own in zip(after["chapters"], before["chapters"], strict=True):
        assert one[:2] == pytest.approx([time + moved for time in own[:2]], abs=0.001), "as the picture"
    sounds = [[content for _, content in found["packets"][1]] for found in (before, after)]
    assert sounds[0] == sounds[1]


def test_a_cover_picture_stays_and_is_not_coloured(model, tmp_path):
    ffmpeg(*PICTURE, "-frames:v", 1, "-c:v", "mjpeg", tmp_path / "cover.jpg")
    sources = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1", "-i", tmp_path / "cover.jpg", "-map", 0, "-map", 1]
    ffmpeg(*sources, "-c:v:0", "libx264", "-c:v:1", "copy", "-disposition:v:1", "attached_pic", tmp_path / "film.mp4")
    colour_film(model, tmp_path / "film.mp4", out=tmp_path / "out.mp4", options=QUICK)
    colour_film(model, tmp_path / "film.mp4", out=tmp_path / "out.mkv", options=QUICK)
    cover = (tmp_path / "cover.jpg").read_bytes()
    for name in ("film.mp4", "out.mp4", "out.mkv"):
        with av.open(str(tmp_path / name)) as container:
            assert [bool(stream.disposition & 1024) for stream in container.streams.video] == [False, True], name
            packet = next(packet for packet in container.demux(container.streams.video[1]) if packet.size)
            assert bytes(packet) == cover, name


@pytest.mark.parametrize(
    ("form", "tags", "told", "expected"),
    [
        ("yuv420p10le", "colorprim=bt709:transfer=bt709:colormatrix=bt709", (1, 1, 1), (1, 1, 1, 1)),
        ("yuvj420p", "colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m", (6, 6, 6), (6, 6, 6, 2)),
        ("yuv420p", "colorprim=bt470bg:transfer=iec61966-2-1:colormatrix=bt470bg", (5, 5, 13), (5, 5, 13, 1)),
        ("yuv422p", "colormatrix=bt470bg", (5, 2, 2), (5, 1, 1, 1)),
        ("gray", None, (2, 2, 2), (6, 1, 1, 2)),
    ],
)
def test_bits_range_and_tags_stay(model, tmp_path, form, tags, told, expected):
    film, out = tmp_path / "film.mkv", tmp_path / "out.mkv"
    source = ["-f", "lavfi", "-i", f"testsrc2=size=64x48:rate=10:duration=0.5,format=gray,format={form}"]
    # As options of x264: ffmpeg's own would be overruled by what the frames say of themselves.
    coding = ["-c:v", "ffv1"] if tags is None else ["-c:v", "libx264", "-x264-params", tags]
    ffmpeg(*source, "-pix_fmt", form, *coding, film)
    own = next(frames_of(film))[2]
    assert (own.colorspace, own.color_primaries, own.color_trc) == told
    for options in (LOSSLESS, QUICK):
        colour_film(model, film, out=out, options=options)
        frame = next(frames_of(out))[2]
        assert frame.format.name.replace("yuvj", "yuv") == {"gray": "yuv420p", "yuvj420p": "yuv420p"}.get(form, form)
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == expected
        own, found = (np.stack([rgb2lab(picture.pixels)[..., 0] for picture in decode(path)]) for path in (film, out))
        assert np.abs(own - found).mean() < (0.35 if options is LOSSLESS else 1.5)


def test_what_lies_on_its_side_is_coloured_upright(model, tmp_path):
    ffmpeg(*PICTURE, "-t", 0.4, "-c:v", "libx264", tmp_path / "lying.mp4")
    ffmpeg("-display_rotation", 90, "-i", tmp_path / "lying.mp4", "-c", "copy", tmp_path / "film.mp4")
    colour_film(model, tmp_path / "film.mp4", out=tmp_path / "out.mp4", options=Options(preset="ultrafast", keep="luma", crf=1))
    own, found = ([picture.pixels for picture in decode(tmp_path / name, grey=True)] for name in ("film.mp4", "out.mp4"))
    assert own[0].shape == found[0].shape == (80, 48)
    assert max(np.abs(one.astype(int) - other).mean() for one, other in zip(own, found, strict=True)) < 1


def test_odd_sides_gain_a_line_and_old_containers_are_read(model, tmp_path):
    source = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=0.5,format=yuv444p,crop=51:37,format=yuv420p"]
    ffmpeg(*source, "-c:v", "libvpx", "-deadline", "realtime", tmp_path / "film.webm")
    ffmpeg(*source, "-vf", "scale=52:38", "-c:v", "libx264", "-bf", 2, tmp_path / "film.avi")
    ffmpeg(*source, "-vf", "scale=52:38", "-c:v", "mpeg2video", tmp_path / "film.ts")
    for name in ("film.webm", "film.avi", "film.ts"):
        colour_film(model, tmp_path / name, out=tmp_path / "out.mkv", options=QUICK)
        times = [[round(time, 2) for _, time, _ in frames_of(path)] for path in (tmp_path / name, tmp_path / "out.mkv")]
        assert times[0] == times[1] and len(times[0]) == 5, name
        frame = next(frames_of(tmp_path / "out.mkv"))[2]
        assert (frame.width, frame.height) == (52, 38) and frame.pts < 300


# ------------------------------------------------------------------------------------------------------ kills

KILLED = """
import os, signal, sys
from pathlib import Path
from kinemacolor.wholefilm.film import Options, colour_film
def progress(done, total):
    if done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
colour_film(Path(sys.argv[1]), Path(sys.argv[2]), out=Path(sys.argv[3]), options=Options(segment=8, preset='ultrafast', batch=5),
            device='cpu', progress=progress)
"""


def killed(model: Path, film: Path, out: Path, at: int) -> int:
    return subprocess.run([sys.executable, "-c", KILLED, *map(str, (model, film, out, at))], capture_output=True).returncode


@pytest.mark.parametrize("kind", ["alone", "remembering"])
def test_after_a_kill_the_film_is_what_an_unbroken_run_makes(films, model, tmp_path, kind, caplog):
    film = films["mkv"]
    if kind == "remembering":
        model = tinted(tmp_path / "own", "alexnet_prev_own", width=0.05)
    options = Options(segment=8, preset="ultrafast", batch=5)
    colour_film(model, film, out=tmp_path / "whole.mkv", options=options)
    out = tmp_path / "out.mkv"
    assert killed(model, film, out, 1100) == -signal.SIGKILL
    assert not out.exists() and len(list((tmp_path / ".out.mkv.colorize").glob("*.segment"))) >= 1
    with caplog.at_level(logging.WARNING):
        done = colour_film(model, film, out=out, options=options, device="cpu")
    assert done.resumed % 8 == 0 and 8 <= done.resumed < done.frames and "going on behind them" in caplog.text
    assert out.read_bytes() == (tmp_path / "whole.mkv").read_bytes()
    assert not list(tmp_path.glob(".out*"))


def test_what_was_begun_with_other_values_is_begun_anew(films, model, tmp_path, caplog):
    out = tmp_path / "out.mkv"
    assert killed(model, films["mkv"], out, 900) == -signal.SIGKILL
    with caplog.at_level(logging.WARNING):
        done = colour_film(model, films["mkv"], out=out, options=QUICK)
    assert done.resumed == 0 and "was begun with other values" in caplog.text
    assert probe(out).frames == done.frames


def test_one_process_at_a_time(films, model, tmp_path):
    out = tmp_path / "out.mkv"
    raised = []

    def again(done, total):
        if not raised:
            with pytest.raises(UserError, match=r"out\.mkv is being written by another process") as found:
                colour_film(model, films["mkv"], out=out, options=QUICK)
            raised.append(found)

    colour_film(model, films["mkv"], out=out, options=QUICK, progress=again)
    assert raised and out.is_file()


# --------------------------------------------------------------------------------------------- memory, cuts


def sight(place: int, *, starts: bool = False, seed: int = 0) -> SimpleNamespace:
    lightness = torch.from_numpy(np.random.default_rng([seed, place]).uniform(0, 100, (1, 16, 20)).astype(np.float32))
    return SimpleNamespace(place=place, number=place, starts=starts, lightness=lightness)


@pytest.mark.parametrize("kind", ["alone", "state", "own", "coloured"])
def test_out_of_memory_halves_the_batch_says_so_and_changes_nothing(kind, caplog):
    """A network that runs out of memory with more than three frames, as a device does."""

    def made(limit: int | None) -> Colorizer:
        painter = remembering(kind) if kind != "alone" else remembering("coloured").before

        def check(module: nn.Module, inputs: tuple) -> None:
            count = inputs[0].shape[1] if kind == "state" else len(inputs[0])
            if limit is not None and count > limit:
                raise torch.OutOfMemoryError("no memory is left")

        painter.network.register_forward_pre_hook(check)
        return painter

    group = [sight(place, starts=place == 4) for place in range(10)]
    whole = Network(made(None), "film")(group)
    with caplog.at_level(logging.WARNING):
        found = Network(made(3), "film")(group)
    assert np.allclose(found, whole, atol=1e-4)
    if kind != "own":  # which is given one frame at a time anyway
        assert "out of memory on cpu with 10 frames together: going on with 5" in caplog.text
        with pytest.raises(UserError, match=r"The memory of cpu does not hold .* and one frame of film: free some of it"):
            Network(made(0), "film")(group)


def test_values_that_are_no_numbers_are_no_grey(films, model, tmp_path):
    weights = load_file(model / "weights.safetensors")
    weights[list(weights)[-1]] = torch.full_like(weights[list(weights)[-1]], float("nan"))
    broken = tinted(tmp_path / "broken")
    save_file(weights, broken / "weights.safetensors")
    with pytest.raises(UserError, match=r"The model broken gives values that are no numbers \(frame 0 of film.mkv"):
        colour_film(broken, films["mkv"], out=tmp_path / "out.mkv", options=QUICK)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]


def test_a_film_that_stays_grey_is_told(films, tmp_path, caplog):
    write_model(tmp_path / "naive", "naive")
    meta = json.loads((tmp_path / "naive/meta.json").read_text()) | {"size": [32, 32]}
    (tmp_path / "naive/meta.json").write_text(json.dumps(meta))
    with caplog.at_level(logging.WARNING):
        done = colour_film(tmp_path / "naive", films["mkv"], out=tmp_path / "out.mkv", options=LOSSLESS)
    assert (
        done.chroma == 0 and "out.mkv is all but grey (its colours are 0.00 from it on average): naive gives none" in caplog.text
    )
    for (own, *_), (found, *chroma) in zip(planes(films["mkv"]), planes(tmp_path / "out.mkv"), strict=True):
        assert np.array_equal(own, found) and all((plane == 128).all() for plane in chroma)


def test_a_network_with_a_memory_forgets_at_cuts(tmp_path):
    scenes = "testsrc2=size=80x48:rate=10:duration=1[a];life=size=80x48:rate=10:ratio=0.4:seed=3,trim=end_frame=1,loop=9:1[b]"
    ffmpeg("-f", "lavfi", "-i", f"{scenes};[a][b]concat,format=yuv420p", "-c:v", "libx264", tmp_path / "film.mp4")
    sights = list(Reader(stream_of(tmp_path / "film.mp4"), side=32, cuts=True).sights())
    assert [one.number for one in sights if one.starts] == [0, 10]
    assert [one.shot for one in sights] == [(0, 0)] * 10 + [(10, 10)] * (len(sights) - 10)
    network = Network(remembering("state"), "film")  # its a counts the frames of a run
    counts = np.concatenate([network(group) for group in batches(sights, 4, 240)])[:, 0, 0, 0]
    assert np.allclose(counts / 1.1, [*range(1, 11), *range(1, len(sights) - 9)], atol=1e-3)


@given(
    count=st.integers(0, 60),
    size=st.integers(1, 9),
    segment=st.integers(1, 20),
    starts=st.sets(st.integers(0, 59)),
    taken=st.integers(0, 59),
)
def test_batches_are_the_same_wherever_the_work_is_taken_up(count, size, segment, starts, taken):
    sights = [SimpleNamespace(place=place, starts=place in starts) for place in range(count)]
    whole = [[one.place for one in group] for group in batches(sights, size, segment)]
    assert list(itertools.chain(*whole)) == list(range(count)) and all(len(group) <= size for group in whole)
    borders = {group[0] for group in whole}
    assert {place for place in range(count) if place % segment == 0 or place in starts} <= borders
    begin = max((place for place in range(min(taken, count)) if place % segment == 0 or place in starts), default=0)
    again = [[one.place for one in group] for group in batches(sights[begin:], size, segment)]
    assert again == [group for group in whole if group[0] >= begin]


@given(stamps=st.lists(st.integers(1, 50), min_size=1, max_size=40), seed=st.integers(0, 9))
def test_decoding_times_rise_and_are_never_late(stamps, seed):
    shown = list(itertools.accumulate(stamps))
    order = np.argsort(np.arange(len(shown)) + np.random.default_rng(seed).uniform(0, 4, len(shown)))
    packets = [Packet(shown[at], 1, True, 1) for at in order]
    times = decoding_times(packets, Fraction(1, 1000), Fraction(25))
    assert len(times) == len(packets) and all(one < other for one, other in itertools.pairwise(times))
    assert all(time <= packet.stamp for time, packet in zip(times, packets, strict=True))


# ------------------------------------------------------------------------------------------------- sentences


def test_what_cannot_be_is_a_sentence(films, model, tmp_path):
    (tmp_path / "text.mkv").write_text("no film")
    (tmp_path / "folder.mkv").mkdir()
    own = tmp_path / "own.mkv"
    own.write_bytes(films["mkv"].read_bytes())
    for film, out, options, words in (
        (own, tmp_path / "out.avi", {}, r"out.avi is no name of a film that is written here: let it end in .mkv or .mp4"),
        (own, own, {}, "is the film itself: name another file"),
        (own, tmp_path / "folder.mkv", {}, "is a folder: name a file"),
        (own, tmp_path / "no/where/out.mkv/x.mkv", {"crf": 99}, "--crf 99 is no quality"),
        (own, tmp_path / "out.mkv", {"chroma": "best"}, "--chroma 'best' is unknown: choose one of guided, bilateral, bilinear"),
        (own, tmp_path / "out.mkv", {"keep": "all"}, "--keep 'all' is unknown: choose one of lightness, luma"),
        (own, tmp_path / "out.mkv", {"preset": "best"}, "--preset 'best' is unknown"),
        (tmp_path / "text.mkv", tmp_path / "out.mkv", {}, "is no video that can be read"),
        (tmp_path / "nothing.mkv", tmp_path / "out.mkv", {}, "is missing"),
    ):
        with pytest.raises(UserError, match=words):
            colour_film(model, film, out=out, options=Options(**options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.mkv", "own.mkv", "text.mkv"]
    assert own.read_bytes() == films["mkv"].read_bytes()


def test_a_film_that_is_cut_off_is_refused_or_coloured_as_far_as_it_goes(model, tmp_path):
    film, out = tmp_path / "film.mkv", tmp_path / "out.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=4", "-c:v", "libx264", "-g", 5, film)
    whole = film.read_bytes()
    film.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"film.mkv is truncated or damaged after"):
        colour_film(model, film, out=out, options=QUICK)
    assert not out.exists() and len(list(tmp_path.iterdir())) == 1
    done = colour_film(model, film, out=out, options=QUICK, allow_truncated=True)
    assert done.frames == len(list(decode(film, allow_truncated=True))) == probe(out).frames > 5


def test_frames_of_several_sizes_are_refused(model, tmp_path):
    parts = []
    for name, size in (("a", "64x48"), ("b", "80x48")):
        ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=10:duration=0.4", "-c:v", "libvpx", tmp_path / f"{name}.ivf")
        parts.append((tmp_path / f"{name}.ivf").read_bytes())
    # IVF: a head of 32 bytes, then packets of a size of 4 bytes, a time of 8 and their content.
    film, rest, time = parts[0], parts[1][32:], 4
    while rest:
        size = int.from_bytes(rest[:4], "little")
        film += rest[:4] + time.to_bytes(8, "little") + rest[12 : 12 + size]
        rest, time = rest[12 + size :], time + 1
    (tmp_path / "film.ivf").write_bytes(film[:24] + bytes([8]) + film[25:])
    with pytest.raises(UserError, match=r"A frame of 80x48 pixels stands in film.ivf, which begins with 64x48"):
        colour_film(model, tmp_path / "film.ivf", out=tmp_path / "out.mkv", options=QUICK, allow_truncated=True)


def test_the_command_colours_a_film_and_says_how_fast(films, model, tmp_path):
    command = [sys.executable, "-m", "kinemacolor.cli", "colorize", str(model), str(films["mp4"]), "--out"]
    options = ["--preset", "ultrafast", "--chroma", "bilinear", "--device", "cpu"]
    done = subprocess.run([*command, str(tmp_path / "out.mkv"), *options], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "colour " in done.stderr and "100 %" in done.stderr and "frames a second" in done.stderr
    assert probe(tmp_path / "out.mkv").frames == probe(films["mp4"]).frames
    for arguments, words in (
        (["out.png", "--crf", "20"], "--crf is for films, and --out out.png is none"),
        (["out.mkv", "--hints", "hints.json"], "--hints are for photographs"),
    ):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr


def test_the_folder_of_a_source_is_a_film_too(films, model, tmp_path):
    from kinemacolor import params
    from kinemacolor.stages.download import download

    about = {"licence": "none", "credit": "me"}
    source = {"kind": "video", "path": str(films["mp4"])} | about
    download(params.section(params.AnySource, source, "x"), out=tmp_path / "raw", cache=tmp_path / "cache", name="film")
    done = colour_film(model, tmp_path / "raw", out=tmp_path / "out.mkv", options=QUICK)
    assert done.frames == probe(films["mp4"]).frames


def test_of_a_film_whose_sound_comes_first_all_frames_are_read(tmp_path):
    inputs = ["-f", "lavfi", "-i", "sine=440:duration=1", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1"]
    ffmpeg(*inputs, "-map", 0, "-map", 1, "-c:v", "libx264", "-bf", 3, tmp_path / "film.mp4")
    assert len(list(frames_of(tmp_path / "film.mp4"))) == probe(tmp_path / "film.mp4").frames == 10
