"""Every odd stream: numbers that are in the pixels, times, colours and pixels against the ffmpeg binary, and damage."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinemacolor.errors import UserError
from kinemacolor.frames.resize import AreaResize
from kinemacolor.media.decode import Picture, decode, frames_of
from kinemacolor.media.probe import probe
from kinemacolor.media.sparse import Effort, extract
from kinemacolor.media.stretch import decode_stretch, frames_from
from tests.unit.made_laces import laced
from tests.unit.made_videos import FRAMES, HEIGHT, RATE, VIDEOS, WIDTH, decoded, ffmpeg, made, number_in, repacked, restamped

ODD_TIMES = {"variable", "variable-mp4", "repeated", "edit-list", "edit-list-open", "open-cut"}
LATE = {"mpeg4-avi": 1 / RATE, "h264-avi": 1 / RATE}  # AVI counts from when the first packet may be decoded
CUT_AT = {"edit-list": 33, "edit-list-open": 33, "open-cut": 20}


@pytest.fixture(scope="module", params=sorted(VIDEOS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


# ------------------------------------------------------------------------------------------------- whole films


def test_every_frame_is_the_one_that_its_number_says(name: str):
    path, plan = made(name), VIDEOS[name]
    pictures = list(decode(path, grey=True))
    first = CUT_AT.get(name, 0)
    turned = {"rotated": 3}.get(name, 0)
    count = plan.frames if not plan.source else VIDEOS[plan.source].frames
    assert [picture.number for picture in pictures] == list(range(count - first))
    assert [number_in(np.rot90(picture.pixels, turned)) for picture in pictures] == list(range(first, count))
    if name not in ODD_TIMES:
        expected = np.arange(count) / RATE + LATE.get(name, 0)
        assert np.abs(np.array([picture.time for picture in pictures]) - expected).max() < 0.00051  # Matroska's milliseconds
    facts = probe(path)
    assert facts.last_good_time is None
    assert facts.frames == len(pictures) or name == "h264-paff"  # of which every field is a packet
    assert (facts.height, facts.width) == pictures[0].pixels.shape


def test_frames_are_those_of_the_ffmpeg_binary(name: str):
    path, plan = made(name), VIDEOS[name]
    height, width = (WIDTH, HEIGHT) if name == "rotated" else plan.size
    ours = np.stack([picture.pixels.ravel() for picture in decode(path, grey=True)])
    deep = name in ("h264-10bit", "hevc-10bit", "2020-10bit", "prores")
    twin = made("hevc-closed") if name == "hevc-dropping" else path  # of which the binary leaves out what is to be dropped
    stored = decoded(twin, chain="extractplanes=y", pixel="gray10le" if deep else "gray", shape=(height, width))
    low, high = (0, 255) if name in ("601-full", "mjpeg") else (64, 940) if deep else (16, 235)
    theirs = np.clip((stored - float(low)) / (high - low) * 255, 0, 255)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < 1.01  # fixed point


def test_the_films_are_what_they_are_made_to_be():
    def packets(name: str) -> list[tuple[int, int, bool]]:
        with av.open(str(made(name))) as container:
            return [(packet.pts, packet.dts, packet.is_keyframe) for packet in container.demux(video=0) if packet.size]

    def leads(name: str) -> bool:
        """Whether some pictures are shown before the key picture that they follow."""
        listed = packets(name)
        return any(key and any(one[0] < pts for one in listed[at + 1 : at + 4]) for at, (pts, _, key) in enumerate(listed))

    assert leads("h264-open") and leads("hevc-open") and leads("mpeg2-open") and leads("h264-open-ts")
    assert not leads("h264-b") and not leads("hevc-closed") and not leads("mpeg2-closed")
    assert len(packets("vp8-hidden")) > FRAMES == probe(made("vp8-hidden")).frames
    assert sum(key for *_, key in packets("h264-one-group")) == 1
    with av.open(str(made("h264-mbaff"))) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    with av.open(str(made("edit-list"))) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))


def test_all_pictures_before_the_end_of_a_sequence_are_shown(tmp_path: Path):
    """Of HEVC: decoders drop those that wait there if no IDR follows. What leads the next entrance then leans on nothing."""
    film = tmp_path / "ended.mkv"
    with av.open(str(made("hevc-open"))) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    entrance = next(place for place, packet in enumerate(packets) if place and packet.is_keyframe)
    leading = {round(packet.pts * packet.time_base * RATE) for packet in packets[entrance:] if packet.pts < packets[entrance].pts}
    repacked(lambda k, packet: packet + b"\0\0\0\2\x48\1" * (k == entrance - 1))(made("hevc-open"), film)
    pictures = list(decode(film))
    shown = [number for number in range(FRAMES) if number not in leading]
    assert leading
    assert [number_in(picture.pixels) for picture in pictures] == shown
    assert [round(picture.time * RATE) for picture in pictures] == shown
    found = [picture for _, _, picture in extract(film, threads=2)]
    assert [picture[:2] for picture in found] == [picture[:2] for picture in pictures]
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(found, pictures, strict=True))
    assert [number for number, _ in frames_from(film, 30)] == list(range(30, len(shown)))


# ------------------------------------------------------------------------------------------------- times


def test_uneven_times_are_the_frames_own():
    for name in ("variable", "variable-mp4"):
        times = [picture.time for picture in decode(made(name))]
        expected = [(number // 5 * 250 + (0, 40, 47, 180, 190)[number % 5]) / 1000 for number in range(FRAMES)]
        assert times == pytest.approx(expected, abs=1e-9)


def test_repeated_times_keep_every_frame():
    pictures = list(decode(made("repeated")))
    assert [picture.time for picture in pictures] == [number // 2 * 80 / 1000 for number in range(FRAMES)]
    wanted = list(decode(made("repeated"), every=3, first=1))
    assert [number_in(picture.pixels) for picture in wanted] == list(range(1, FRAMES, 3))


def test_an_edit_list_begins_where_it_says():
    """What lies before the edit is decoded, since the rest leans on it, and neither shown nor counted."""
    with av.open(str(made("edit-list"))) as container:
        assert next(container.decode(video=0)).pts == 0
    first = next(decode(made("edit-list")))
    assert (first.number, first.time, number_in(first.pixels)) == (0, 0.0, 33)


def test_frames_without_times_and_without_order_are_refused(tmp_path: Path):
    """AVI knows only the order in which packets are decoded: with gaps between them, nothing says which frame is late."""
    uneven = tmp_path / "uneven.avi"
    restamped(lambda k: k + (k > 30), Fraction(1, RATE))(made("h264-avi"), uneven)
    assert len(list(decode(uneven, end=0.8))) == 19
    with pytest.raises(UserError, match=r"uneven\.avi does not say when its frames are shown"):
        list(decode(uneven))
    raw = tmp_path / "raw.h264"
    ffmpeg("-i", made("h264-b"), "-c", "copy", raw)
    with pytest.raises(UserError, match=r"raw\.h264 is no video that can be read"):
        next(decode(raw))


@pytest.mark.parametrize("stretch", ["h264-open", "h264-avi", "repeated", "edit-list", "open-cut", "mpeg2-fields", "variable"])
def test_stretches_and_frames_from_are_those_of_the_full_decode(stretch: str):
    whole = list(decode(made(stretch)))
    for start, end in ((0.0, 0.3), (1.31, 1.7), (1.9, 9.0)):
        found = list(decode_stretch(made(stretch), start=start, end=end))
        assert same(found, [picture for picture in whole if start <= picture.time < end])
    numbers = [number for number, _ in frames_from(made(stretch), 37)]
    assert numbers == list(range(37, len(whole)))


# ------------------------------------------------------------------------------------------------- shapes and colours


@pytest.mark.parametrize(("name", "aspect"), [("anamorphic", 16 / 11), ("anamorphic-mkv", 16 / 9 / 1.5), ("h264-b", 1.0)])
def test_pixels_that_are_not_square_say_so(name: str, aspect: float):
    picture = next(decode(made(name)))
    assert picture.pixel_aspect == pytest.approx(aspect, rel=0.003)
    assert next(decode_stretch(made(name), start=2.0, end=3.0)).pixel_aspect == picture.pixel_aspect


def test_turned_pixels_are_as_wide_as_they_were_high(tmp_path: Path):
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation:v", 90, "-i", made("anamorphic"), "-c", "copy", turned)
    assert next(decode(turned)).pixel_aspect == pytest.approx(11 / 16, rel=1e-6)


def disc(width: int, pixel_aspect: float) -> np.ndarray:
    """A picture (120, width) uint8 that shows a round white disc, if its pixels have that aspect."""
    y, x = np.mgrid[:120, :width] + 0.5
    return ((np.hypot((x - width / 2) * pixel_aspect, y - 60) < 40) * 255).astype(np.uint8)


@pytest.mark.parametrize("pixel_aspect", [0.5, 1.0, 16 / 11, 2.0])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_discs_stay_round(pixel_aspect: float, fit: str):
    width = round(180 / pixel_aspect)
    resize = AreaResize((120, width), (64, 64), fit=fit, pixel_aspect=pixel_aspect)
    small = resize(disc(width, pixel_aspect))[0] / 255
    across, down = small.max(axis=0).sum(), small.max(axis=1).sum()
    shape = {"crop": 1.0, "pad": 1.0, "stretch": 120 / 180}[fit]
    assert across / down == pytest.approx(shape, abs=0.05)


@pytest.mark.parametrize(
    "name", ["601-full", "709-limited", "2020-10bit", "h264-444-odd", "h264-422", "vp8-odd", "h264-10bit", "prores"]
)
def test_colours_are_those_of_the_ffmpeg_binary(name: str):
    height, width = VIDEOS[name].size
    matrix = {"709-limited": "bt709", "2020-10bit": "bt2020"}.get(name, "smpte170m")
    place = ":in_chroma_loc=left" if name[:3] not in ("vp8", "pro") else ""  # what the streams say, or do not
    flags = f"flags=area+accurate_rnd+full_chroma_int+full_chroma_inp:in_color_matrix={matrix}{place}"
    theirs = decoded(made(name), chain=f"scale={flags}", pixel="rgb24", shape=(height, width))
    ours = np.stack([picture.pixels for picture in decode(made(name))])
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_chroma_of_interlaced_pictures_belongs_to_its_field():
    """In 4:2:0 a line of chroma is shared by two lines of one field, which lie two apart in the woven picture."""
    y = np.full((16, 32), 120, np.uint8)
    chroma = np.full((8, 16), 128, np.uint8)
    chroma[1::2] = 200  # the lower field is red, the upper grey
    raw = (y.tobytes() + np.full((8, 16), 128, np.uint8).tobytes() + chroma.tobytes()) * 2
    form = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", "32x16", "-framerate", 25, "-i", "-"]
    film = made("h264-b").parent / "fields.mkv"
    ffmpeg(*form, "-vf", "setfield=tff", "-c:v", "libx264", "-qp", 0, "-x264-params", "tff=1", film, given=raw)
    pixels = next(decode(film)).pixels.astype(int)
    upper, lower = pixels[4:-4:2], pixels[5:-4:2]
    assert np.abs(upper - upper.mean(axis=2, keepdims=True)).max() <= 2
    assert (lower[..., 0] - lower[..., 1]).min() > 60


# ------------------------------------------------------------------------------------------------- damage


def same(found: list[Picture], expected: list[Picture]) -> bool:
    return [picture[:2] for picture in found] == [picture[:2] for picture in expected] and all(
        np.array_equal(one.pixels, other.pixels) for one, other in zip(found, expected, strict=True)
    )


def broken(name: str, packet: int, path: Path, spoil: Callable[[bytearray, int, int], None]) -> Path:
    """A copy of a film whose given packet `spoil` has changed: content, position and size."""
    with av.open(str(made(name))) as container:
        position, size = [(one.pos, one.size) for one in container.demux(video=0) if one.size][packet]
    content = bytearray(made(name).read_bytes())
    spoil(content, position, size)
    path.write_bytes(content)
    return path


def noise(content: bytearray, position: int, size: int) -> None:
    begin, length = position + size // 4, max(4, size // 2)
    content[begin : begin + length] = np.random.default_rng(position).bytes(length)


def zeroes(content: bytearray, position: int, size: int) -> None:
    content[position : position + size] = bytes(size)


GUESSED = {"mpeg4-b", "mpeg4-avi", "variable", "repeated"}  # where a packet that is lost whole leaves too little behind
DAMAGED = [
    "h264-ippp",
    "h264-b",
    "h264-pyramid",
    "h264-open",
    "h264-bluray",
    "h264-one-group",
    "av1-svt",
    "mpeg4-b",
    "mpeg4-avi",
    "mpeg2-closed",
    "prores",
    "variable",
    "repeated",
]


@pytest.mark.parametrize(
    ("name", "spoil"), [(name, noise) for name in DAMAGED] + [(name, zeroes) for name in DAMAGED if name not in GUESSED]
)
def test_good_frames_of_a_damaged_film_keep_their_numbers(name: str, spoil: Callable, tmp_path: Path):
    whole = list(decode(made(name)))
    film = broken(name, len(whole) // 2 + 1, tmp_path / f"broken{VIDEOS[name].suffix}", spoil)
    bad: list[tuple[float, float]] = []
    found = list(decode(film, allow_truncated=True, on_bad_range=lambda begin, end: bad.append((begin, end))))

    given = {picture.number for picture in found}
    assert same(found, [picture for picture in whole if picture.number in given])
    missing = [picture for picture in whole if picture.number not in given]
    assert missing and bad
    for picture in missing:
        assert any(begin - 1e-3 <= picture.time < end for begin, end in bad)
    # No more is lost than what may lean on the damage: up to the next key picture that is certain, if there is one.
    assert len(found) >= len(whole) // 2 - 4
    assert len(missing) <= 33 or name == "h264-one-group"
    # On one thread, for with several libavcodec may own to a damaged H.264 picture after it was given (see `frames_of`).
    with pytest.raises(UserError, match=rf"broken.* is truncated or damaged after {missing[0].time:.2f} s"):
        for _ in frames_of(film, threads=1):
            pass
    # Who wants only what lies before it gets it.
    assert same(list(decode(film, end=bad[0][0])), [picture for picture in whole if picture.time < bad[0][0]])


@pytest.mark.parametrize("name", ["variable", "repeated"])
def test_packets_lost_from_a_film_of_uneven_rate_are_missed(name: str, tmp_path: Path):
    """How many were lost cannot be known; that some were, and when, can."""
    whole = {picture.time: picture for picture in decode(made(name))}
    film = broken(name, 41, tmp_path / "broken.mkv", zeroes)
    bad: list[tuple[float, float]] = []
    found = list(decode(film, allow_truncated=True, on_bad_range=lambda begin, end: bad.append((begin, end))))
    assert [picture.number for picture in found] == sorted({picture.number for picture in found})
    assert {picture.time for picture in found} <= set(whole)
    times = sorted(whole)
    assert any(begin < times[len(times) * 48 // FRAMES] and end > times[len(times) * 41 // FRAMES] for begin, end in bad)
    with pytest.raises(UserError, match=r"broken\.mkv is truncated or damaged after (1\.6|2\.0)"):
        list(decode(film))


def test_pictures_that_wait_in_the_decoder_when_it_fails_are_kept(tmp_path: Path):
    """H.264's decoder drops the one that it was about to give; those that lean on it would go with it."""
    whole = list(decode(made("h264-b")))
    with av.open(str(made("h264-b"))) as container:
        packets = [(one.pts, one.is_keyframe) for one in container.demux(video=0) if one.size]
    latest = max(pts for pts, _ in packets[:24])
    inner = next(k for k in range(26, 40) if packets[k][0] > max(pts for pts, _ in packets[:k]) + 40)
    for at in (next(k for k, (_, key) in enumerate(packets) if key and k), inner):
        film = broken("h264-b", at, tmp_path / f"{at}.mkv", noise)
        before = [
            one for one in whole if round(one.time * 1000) <= (latest if packets[at][1] else max(p for p, _ in packets[:at]))
        ]
        assert same(list(decode(film, allow_truncated=True))[: len(before)], before)


@pytest.mark.parametrize("name", ["h264-b", "h264-open", "h264-pyramid"])
@pytest.mark.parametrize("places", [(0.5,), (0.07, 0.6), (0.92,), (0.3, 0.34, 0.9)])
def test_numbers_are_right_wherever_matroska_lost_packets(name: str, places: tuple[float, ...], tmp_path: Path):
    """Reordered pictures leave several holes; at the end of the film, no packet comes that could tell of the loss."""
    film = tmp_path / "film.mkv"
    ffmpeg("-i", made(name), "-c", "copy", film)
    content = bytearray(film.read_bytes())
    for place in places:
        begin = int(len(content) * place)
        content[begin : begin + 700] = bytes(255 - byte for byte in content[begin : begin + 700])
    film.write_bytes(content)
    found = list(decode(film, allow_truncated=True))
    assert len(found) > 10
    for picture in found:
        assert number_in(picture.pixels) == picture.number == round(picture.time * RATE)


@pytest.mark.parametrize("drops", [(), (41,), (3, 60)])
def test_laced_sound_is_no_sign_of_damage(drops: tuple[int, ...], tmp_path: Path):
    """All packets of a lace say that they lie where their block does. A film may lack a picture all the same."""
    film = tmp_path / "film.mkv"
    times = [40 * tick for tick in range(FRAMES + len(drops)) if tick not in drops]
    laced(made("h264-b"), film, times)
    with av.open(str(film)) as container:
        places = [packet.pos for packet in container.demux(audio=0) if packet.size]
    assert len(places) == 8 * len(set(places))
    assert [round(picture.time * 1000) for picture in decode(film)] == times
    efforts: list[Effort] = []
    assert [number_in(picture.pixels) for *_, picture in extract(film, every=5, note=efforts.append)] == list(range(0, FRAMES, 5))
    assert efforts[0].way == "sparse"


def test_a_film_that_is_refreshed_strip_by_strip_is_not_entered_on_the_way(tmp_path: Path):
    """Its key packets say that pictures are whole only some time later."""
    whole = list(decode(made("h264-refresh")))
    film = broken("h264-refresh", 20, tmp_path / "broken.mp4", noise)
    assert same(list(decode(film, allow_truncated=True)), whole[:20])


def test_pictures_that_nothing_here_decodes_are_told(tmp_path: Path):
    film = tmp_path / "unknown.mp4"
    film.write_bytes(made("h264-ippp").read_bytes().replace(b"avc1", b"xyz1").replace(b"avcC", b"xyzC"))
    with pytest.raises(UserError, match=r"unknown\.mp4 "):
        list(decode(film))


def test_damage_in_a_film_of_field_pairs(tmp_path: Path):
    whole = list(decode(made("h264-paff")))
    content = bytearray(made("h264-paff").read_bytes())
    # A transport stream of 188 bytes a packet: some of the middle's never came.
    begin = len(content) // 376 * 188
    film = tmp_path / "broken.ts"
    film.write_bytes(content[:begin] + content[begin + 20 * 188 :])
    bad: list[tuple[float, float]] = []
    found = list(decode(film, allow_truncated=True, on_bad_range=lambda *both: bad.append(both)))
    given = {picture.number for picture in found}
    assert same(found, [picture for picture in whole if picture.number in given])
    assert bad and 0 in given and whole[-1].number in given and len(given) > 15


def test_damage_is_told_once_and_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    content = bytearray(made("h264-ippp").read_bytes())
    with av.open(str(made("h264-ippp"))) as container:
        packets = [(one.pos, one.size) for one in container.demux(video=0) if one.size]
    for packet in (10, 55):
        noise(content, *packets[packet])
    film = tmp_path / "twice.mp4"
    film.write_bytes(content)
    bad: list[tuple[float, float]] = []
    found = list(decode(film, allow_truncated=True, on_bad_range=lambda *both: bad.append(both)))
    # To the next key picture each: those are one in 24, and the one of the cut in the film.
    assert bad == [(0.4, 0.96), (2.2, pytest.approx(71 / 25))] or bad == [(0.4, 0.96), (2.2, 2.88)]
    assert len(found) == FRAMES - sum(round((end - begin) * RATE) for begin, end in bad)
    told = [record.getMessage() for record in caplog.records]
    assert [text.split("twice.mp4 ")[1].split(":")[0] for text in told] == [
        f"is damaged from {begin:.2f} s to {end:.2f} s" for begin, end in bad
    ]


def test_a_damaged_film_gives_the_same_pictures_whatever_the_threads(tmp_path: Path):
    film = broken("h264-pyramid", 41, tmp_path / "broken.mp4", noise)
    given = [[one[:2] for one in frames_of(film, allow_truncated=True, threads=threads)] for threads in (1, 2, 4)]
    assert given[0] == given[1] == given[2]


def test_a_stretch_of_a_damaged_film_is_that_of_the_full_decode(tmp_path: Path):
    film = broken("h264-b", 41, tmp_path / "broken.mkv", noise)
    whole = list(decode(film, allow_truncated=True))
    for start, end in ((1.2, 1.8), (1.5, 3.0), (2.0, 3.0)):
        assert same(list(decode_stretch(film, start=start, end=end)), [one for one in whole if start <= one.time < end])
    assert [number for number, _ in frames_from(film, 30)] == [one.number for one in whole if one.number >= 30]
