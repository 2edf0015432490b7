"""The engine of sparse decoding: in order, bounded, the same with any number of threads, and honest about what it left to `decode`.

That it gives `decode`'s pictures for every codec and structure is test_sparse_exact.py's.
"""

import threading
import weakref
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.errors import UserError
from kinemacolor.media import plan, rgb, sparse, workers
from kinemacolor.media.bits import Bits
from kinemacolor.media.decode import Picture, decode, pixels_of
from kinemacolor.media.references import needed, rules_of
from kinemacolor.media.roles import Doubt, Role
from kinemacolor.media.sparse import Effort, extract
from tests.unit.made_videos import FRAMES, ffmpeg, made, number_in


def of_us() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]


def seen(path: Path, **arguments) -> tuple[list[tuple[int, float, bytes]], list[Effort]]:
    """Number, time and bytes of every picture of `extract`, and what it noted."""
    efforts: list[Effort] = []
    found = extract(path, note=efforts.append, **arguments)
    return [(number, time, picture.pixels.tobytes()) for number, time, picture in found], efforts


def full(path: Path, between: tuple[int, int] = (0, 10**9), **arguments) -> list[tuple[int, float, bytes]]:
    pictures = decode(path, **arguments)
    return [(one.number, one.time, one.pixels.tobytes()) for one in pictures if between[0] <= one.number < between[1]]


@pytest.mark.parametrize("name", ["h264-open", "vp8-hidden", "repeated"])
@pytest.mark.parametrize("every", [1, 6])
def test_the_number_of_threads_changes_nothing(name: str, every: int):
    path = made(name)
    results = [seen(path, every=every, threads=threads) for threads in (1, 2, 4)]
    assert results[0] == results[1] == results[2]
    assert results[0][0] == full(path, every=every)
    assert len(results[0][1]) == 1, "it is noted once"


def test_little_is_decoded_where_little_is_wanted():
    found, (effort,) = seen(made("h264-b"), every=24)
    assert [number_in(np.frombuffer(pixels, np.uint8).reshape(64, 96, 3)) for *_, pixels in found] == [0, 24, 48, 72]
    # Every key picture, and the last of all with what it leans on.
    assert effort == Effort("sparse", "h264", "", FRAMES, 7)
    _, (effort,) = seen(made("h264-b"), every=24, first=9)
    assert effort.way == "sparse" and 4 < effort.decoded < FRAMES // 2


def test_a_wanted_leading_picture_takes_the_whole_group_before_it_and_no_other():
    """Groups of 20 in coding order, whose leading pictures are 17, 18, 19, 37 ... in showing order."""
    path = made("h264-open")
    for number in (38, 39, 58):
        found, (effort,) = seen(path, wanted={number})
        assert found == full(path, wanted={number}) and [one[0] for one in found] == [number]
        assert 2 < effort.decoded <= 30
    found, (effort,) = seen(path, wanted={40})
    assert found == full(path, wanted={40}) and effort.decoded == 1


def test_long_chains_of_open_groups_are_cut(monkeypatch):
    path = made("h264-open")
    whole, (unbroken,) = seen(path)
    monkeypatch.setattr(plan, "_CHAIN", 20)
    cut, (effort,) = seen(path)
    assert cut == whole == full(path)
    assert unbroken.decoded == FRAMES < effort.decoded


@pytest.mark.parametrize("name", ["h264-pyramid", "hevc-open", "ffv1"])
def test_pieces_make_the_whole(name: str):
    path = made(name)
    whole, _ = seen(path, every=3, first=1)
    pieces = [seen(path, every=3, first=1, between=between)[0] for between in ((0, 11), (11, 12), (12, 50), (50, 500))]
    assert list(chain.from_iterable(pieces)) == whole == full(path, every=3, first=1)


def test_a_late_piece_costs_little():
    found, (effort,) = seen(made("h264-b"), between=(74, 77))
    assert [one[0] for one in found] == [74, 75, 76]
    assert effort.decoded < 10 < effort.packets


@pytest.mark.parametrize(
    "arguments",
    [
        {"start": 1.0, "end": 2.0, "every": 4},
        {"end": 0.3, "every": 2},
        {"wanted": {3, 4, 41, 60, 700}},
        {"wanted": set()},
        {"start": 99.0},
        {"grey": True, "every": 30},
        {"first": 33, "every": 7},
    ],
)
def test_arguments_mean_what_they_mean_to_decode(arguments: dict):
    for name in ("h264-open-ts", "repeated"):
        assert seen(made(name), **arguments)[0] == full(made(name), **arguments)


def test_pictures_are_prepared_in_the_threads_of_the_decoders():
    for name in ("h264-b", "ffv1"):
        threads = set()

        def small(picture: Picture, threads: set = threads) -> tuple[int, int]:
            threads.add(threading.current_thread())
            return picture.number, int(picture.pixels[:16, :16].mean())

        found = [value for _, _, value in extract(made(name), every=7, threads=2, prepare=small)]
        assert found == [(one.number, int(one.pixels[:16, :16].mean())) for one in decode(made(name), every=7)]
        assert threads and threading.main_thread() not in threads
        assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("name", ["h264-b", "h264-open"])
@pytest.mark.parametrize("waiting", [0, 1 << 20, 8 << 20])
def test_what_waits_for_a_slow_consumer_is_bounded_in_bytes(name: str, waiting: int):
    """Arrays that are alive are counted, each of them larger than the view into it that is given."""
    size, threads = 1 << 20, 3
    lock, alive, most, came = threading.Lock(), 0, 0, threading.Semaphore(0)

    def gone() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    def large(picture: Picture) -> tuple[int, dict[str, np.ndarray]]:
        nonlocal alive, most
        whole = np.full(size, picture.number, np.uint8)
        with lock:
            alive += 1
            most = max(most, alive)
        weakref.finalize(whole, gone)
        came.release()
        return picture.number, {"view": whole[::2][:7]}

    for taken, (_, _, (number, held)) in enumerate(extract(made(name), threads=threads, prepare=large, waiting=waiting)):
        assert number == taken and (held["view"] == number).all()
        for _ in range(waiting // size if taken == 0 else 0):  # as many as may wait do come, though nobody takes any
            assert came.acquire(timeout=60)
    assert taken == FRAMES - 1
    # Those waiting, two of the foremost job, one of each other that is being decoded, one in each hand, this one and the last.
    assert most <= waiting // size + 2 + (threads - 1) + threads + 2


@pytest.mark.parametrize("share", [0, 0.3])
def test_packets_ahead_are_bounded_in_bytes(share: float, monkeypatch: pytest.MonkeyPatch):
    """Of a film whose packets are large, fewer stretches are read ahead, however many threads there are."""
    jobs, most = [], 0

    class Watched(workers.Line):
        def _hand(self, job):
            nonlocal most
            with self._turn:  # which workers take jobs by, so that none is done meanwhile
                super()._hand(job)
                held = [sum(packet.size for run in one.runs for packet in run.packets) for one in self._line]
            jobs.append(held[-1])
            most = max(most, sum(held))

    monkeypatch.setattr(sparse, "Line", Watched)
    path = made("h264-b")
    with av.open(str(path)) as container:
        waiting = int(share * sum(packet.size for packet in container.demux(video=0)))
    found = [number for number, _, _ in extract(path, threads=8, prepare=lambda picture: picture.number, waiting=waiting)]
    assert found == list(range(FRAMES))
    assert 0 < most <= waiting + max(jobs) < sum(jobs)


@pytest.mark.parametrize("name", ["h264-b", "ffv1"])
@pytest.mark.parametrize("taken", [0, 1, 20])
def test_who_stops_early_leaves_no_thread(name: str, taken: int):
    before = of_us()
    found = extract(made(name), threads=4)
    assert [next(found)[0] for _ in range(taken)] == list(range(taken))
    found.close()
    assert of_us() == before


@pytest.mark.parametrize("name", ["h264-b", "ffv1"])
def test_an_error_in_prepare_comes_after_what_went_well(name: str):
    def picky(picture: Picture) -> int:
        if picture.number >= 17:
            raise UserError("Seventeen is too many: take fewer.")
        return picture.number

    before, given = of_us(), []
    with pytest.raises(UserError, match="Seventeen"):
        given.extend(number for number, _, _ in extract(made(name), threads=2, prepare=picky))
    assert given == [] or given == list(range(17))
    found = extract(made(name), threads=2, prepare=picky)
    assert [next(found)[0] for _ in range(17)] == list(range(17))
    with pytest.raises(UserError, match="Seventeen"):
        next(found)
    assert of_us() == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("repeated", "its time stamps repeat"),
        ("h264-avi", "its container does not say when its pictures are shown"),
    ],
)
def test_what_leaves_doubt_is_decoded_in_full_and_said_why(name: str, why: str):
    found, (effort,) = seen(made(name), every=5)
    assert (effort.way, effort.why) == ("full", why)
    assert effort.packets == effort.decoded == len(full(made(name)))
    assert found == full(made(name), every=5)


def test_a_doubt_on_the_way_repeats_and_skips_nothing(tmp_path: Path):
    """Two transport streams one behind the other: time stamps step back, parameter sets change."""
    path = tmp_path / "two.ts"
    path.write_bytes(made("h264-open-ts").read_bytes() + made("h264-mbaff").read_bytes())
    for every in (1, 7):
        found, (effort,) = seen(path, every=every, allow_truncated=True)
        assert effort.way == "full"
        assert found == full(path, every=every, allow_truncated=True)


@pytest.mark.parametrize("name", ["h264-b", "hevc-open", "vp9-hidden", "mpeg2-closed"])
def test_a_file_that_breaks_off_is_told_as_decode_tells_it(name: str, tmp_path: Path):
    whole = made(name).read_bytes()
    path = tmp_path / f"cut{made(name).suffix}"
    path.write_bytes(whole[: int(len(whole) * 0.7)])
    if name == "h264-b" or len(full(path, allow_truncated=True)) < FRAMES:
        messages = []
        for function in (lambda: full(path, every=4), lambda: seen(path, every=4)):
            with pytest.raises(UserError, match="truncated or damaged after") as error:
                function()
            messages.append(str(error.value))
        assert messages[0] == messages[1]
    assert seen(path, every=4, allow_truncated=True)[0] == full(path, every=4, allow_truncated=True)
    assert seen(path, every=4, end=0.5)[0] == full(path, every=4, end=0.5)


def test_damage_in_what_is_needed_is_left_to_decode(tmp_path: Path):
    """A thousand bytes from the second key picture on are noughts."""
    source = made("h264-b")
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as film:
        keys = [packet.pos for packet in film.demux(video=0) if packet.size and packet.is_keyframe]
    data[keys[1] + 200 : keys[1] + 1200] = bytes(1000)
    path = tmp_path / "damaged.mkv"
    path.write_bytes(data)
    found, (effort,) = seen(path, every=3, allow_truncated=True)
    assert effort.way == "full" and found == full(path, every=3, allow_truncated=True)
    assert 21 in {one[0] for one in found} and set(found) < set(full(source, every=3))
    with pytest.raises(UserError, match="truncated or damaged"):
        seen(path, every=3)
    # The container lost packets, so that nothing behind the damage could be numbered.
    found, (effort,) = seen(path, wanted={5, 75}, allow_truncated=True)
    assert effort == Effort("full", "h264", "it lacks packets", effort.packets, effort.packets)
    assert found == [one for one in full(source) if one[0] in (5, 75)]
    # Who wants nothing behind it need not know.
    found, (effort,) = seen(path, wanted={5, 6})
    assert effort.way == "sparse" and found == [one for one in full(source) if one[0] in (5, 6)]


@pytest.mark.parametrize("name", ["h264-b", "h264-bluray"])
@pytest.mark.parametrize("packet", [1, 2, 5])
def test_packets_that_are_lost_early_on_are_missed(name: str, packet: int, tmp_path: Path):
    """Before it is known how far apart pictures are."""
    source = tmp_path / "whole.mkv"
    ffmpeg("-i", made(name), "-c", "copy", source)
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as film:
        begins = [one.pos for one in film.demux(video=0) if one.size]
    data[begins[packet] - 8 : begins[packet + 12]] = bytes(begins[packet + 12] - begins[packet] + 8)
    path = tmp_path / "damaged.mkv"
    path.write_bytes(data)
    whole = full(source)
    for every in (1, 7):
        found, (effort,) = seen(path, every=every, allow_truncated=True)
        assert effort.way == "full" and found == full(path, every=every, allow_truncated=True)
        assert set(found) < set(whole) and found[-1][0] > 70


@pytest.mark.parametrize("name", ["h264-open", "h264-bluray"])
def test_damage_behind_open_entrances_is_not_overlooked(name: str, tmp_path: Path):
    """Decoders that begin there are lenient, since they are told to drop pictures that they never saw."""
    whole = dict(zip(range(FRAMES), full(made(name)), strict=True))
    with av.open(str(made(name))) as film:
        packets = [(one.pos, one.size) for one in film.demux(video=0) if one.size]
    for at, (position, size) in list(enumerate(packets))[26:76:7]:
        data = bytearray(made(name).read_bytes())
        data[position + size // 3 : position + size] = bytes(
            np.random.default_rng(at).integers(0, 256, size - size // 3, np.uint8)
        )
        path = tmp_path / f"{at}{made(name).suffix}"
        path.write_bytes(data)
        expected = full(path, allow_truncated=True)
        for every in (1, 5):
            found, _ = seen(path, every=every, allow_truncated=True)
            assert set(one for one in expected if one[0] % every == 0) <= set(found)
            assert all(one == whole[one[0]] or one in expected for one in found)


def test_no_video_is_told_at_the_first_picture(tmp_path: Path):
    with pytest.raises(UserError, match="is missing"):
        next(extract(tmp_path / "none.mp4"))


# ------------------------------------------------------------------------------------------------ what refers to what


def roles_of(name: str) -> list[Role]:
    with av.open(str(made(name))) as film:
        video = film.streams.video[0]
        rules = rules_of(video)
        return [rules(packet) for packet in film.demux(video) if packet.size]


@pytest.mark.parametrize(
    ("name", "restarts", "references"),
    [
        ("h264-ippp", [0, 24, 47, 71], 80),  # a cut at 47
        ("h264-one-group", [0], None),
        ("h264-refresh", [0], None),  # its key packets are none
        ("hevc-layers", [0, 24, 47, 71], None),
        ("mpeg2-open", [0, 12, 24, 36, 48, 60, 72], None),
        ("mpeg4-b", None, None),
        ("prores", list(range(30)), 0),
    ],
)
def test_entrances_and_references_are_where_the_encoder_put_them(name: str, restarts: list[int] | None, references: int | None):
    roles = roles_of(name)
    found = [place for place, role in enumerate(roles) if role.restart]
    assert found[0] == 0
    if restarts is not None:
        assert len(found) == len(restarts) and all(abs(one - other) <= 3 for one, other in zip(found, restarts, strict=True))
    if references is not None:
        assert sum(role.reference for role in roles) == references


def test_pictures_that_are_not_shown_are_known():
    roles = roles_of("vp8-hidden")
    assert sum(role.shown for role in roles) == FRAMES < len(roles)
    assert {role.level for role in roles_of("hevc-layers")} == {0, 1, 2}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.booleans()), min_size=1, max_size=12), st.data())
def test_whatever_is_needed_is_kept_and_nothing_else(film, data):
    """Against the closure of the relation written out: later, not of a lower level, and a reference or of a higher level."""
    roles = [Role(False, reference, level=level) for reference, level, _ in film]
    wanted = [one for *_, one in film]
    named = {}
    for place in range(len(roles)):
        if place and data.draw(st.booleans()):
            named[place] = data.draw(st.frozensets(st.integers(0, place - 1), max_size=3))
            roles[place] = roles[place]._replace(needs=frozenset(5 + one for one in named[place]))

    def leans(later: int, earlier: int) -> bool:
        if later in named:
            return earlier in named[later]
        one, other = roles[later], roles[earlier]
        return earlier < later and (other.level < one.level or (other.level == one.level and other.reference))

    expected = set(place for place, one in enumerate(wanted) if one)
    while more := {e for e in range(len(roles)) for place in expected if leans(place, e)} - expected:
        expected |= more
    assert needed(roles, wanted, 5) == [place in expected for place in range(len(roles))]


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(9)), st.lists(st.booleans(), min_size=9, max_size=9))
def test_a_picture_is_given_when_all_that_was_decoded_before_it_is_out(places, wanted):
    coming = [(40 * count, place, one) for count, (place, one) in enumerate(zip(places, wanted, strict=True))]
    expected = {
        stamp: max(count + 1 for count, earlier in enumerate(places) if earlier <= place) for stamp, place, one in coming if one
    }
    # Later ones cannot come before it anyway, so that what is shown before it counts as out.
    assert plan._releases(coming) == {stamp: max(count, stamp // 40 + 1) for stamp, count in expected.items()}


@given(st.lists(st.tuples(st.integers(0, 3000), st.sampled_from(["ue", "se", "u"])), max_size=20))
def test_numbers_are_read_as_they_are_written(numbers):
    def golomb(value: int) -> str:
        code = f"{value + 1:b}"
        return "0" * (len(code) - 1) + code

    text = "".join(
        golomb(value) if kind == "ue" else f"{value:012b}" if kind == "u" else golomb(2 * value - 1 if value else 0)
        for value, kind in numbers
    )
    bits = Bits(int((text + "0" * (-len(text) % 8)) or "0", 2).to_bytes(-(-len(text) // 8) or 1, "big"))
    assert [bits.u(12) if kind == "u" else getattr(bits, kind)() for _, kind in numbers] == [value for value, _ in numbers]
    with pytest.raises(Doubt):
        bits.u(100)


# ------------------------------------------------------------------------------------------------ the same RGB, faster


@pytest.mark.parametrize("matrix", [1, 4, 5, 7, 9])
@pytest.mark.parametrize("pixel", ["yuv420p", "yuvj420p"])
@pytest.mark.parametrize("shape", [(64, 96), (2, 4), (38, 50)])
def test_the_kernel_makes_the_bytes_that_swscale_makes(matrix: int, pixel: str, shape: tuple[int, int]):
    """Of noise, in which every value stands beside every other, and far outside the colours there are."""
    height, width = shape
    noise = np.random.default_rng(matrix).integers(0, 256, (height * 3 // 2, width), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format=pixel)
    frame.colorspace = matrix
    exact = pixels_of(VideoReformatter(), frame, False, None)
    assert np.array_equal(rgb.fast_rgb(frame, left=False), exact)
    if width > 4:
        assert not np.array_equal(rgb.fast_rgb(frame, left=True), exact)


@pytest.mark.parametrize(("name", "left"), [("h264-pyramid", True), ("mjpeg", False), ("601-full", True), ("rotated", True)])
def test_where_chroma_lies_is_found_out_and_the_pictures_stay_the_same(name: str, left: bool):
    converter = rgb.Converter()
    with av.open(str(made(name))) as film:
        for number, frame in enumerate(film.decode(video=0)):
            picture = converter.picture(number, 0.5, frame, 1.0, grey=False)
            assert np.array_equal(picture.pixels, pixels_of(VideoReformatter(), frame, False, None))
    assert list(converter._left.values()) == [left], "otherwise the kernel was never used"


def test_pictures_without_colour_settle_it_too_and_odd_ones_are_left_to_swscale():
    converter = rgb.Converter()
    grey = av.VideoFrame.from_ndarray(np.full((96, 96), 128, np.uint8), format="yuv420p")
    for number in range(40):
        assert (converter.picture(number, 0.0, grey, 1.0, grey=False).pixels == 130).all()
    assert list(converter._left.values()) == [False], "noise in their place tells what they themselves do not"
    odd = av.VideoFrame.from_ndarray(np.zeros((65, 97, 3), np.uint8), format="rgb24")
    for frame in (odd, odd.reformat(format="yuv420p")):
        assert converter.picture(0, 0.0, frame, 1.0, grey=False).pixels.shape == (65, 97, 3)
    assert len(converter._left) == 1
