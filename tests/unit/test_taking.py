"""Frames of moving pictures: the same bytes by however many threads and in however many pieces, and what is said of damage."""

from __future__ import annotations

import shutil
import threading
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from kinemacolor.cli import app
from kinemacolor.errors import UserError
from kinemacolor.frames.in_order import in_order
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.resize import AreaResize
from kinemacolor.frames.taking import Piece
from kinemacolor.media.decode import decode
from kinemacolor.media.references import rules_of
from kinemacolor.params import FramesParams
from kinemacolor.stages.frames import frames
from kinemacolor.stages.pieces import piece

from .made_videos import FRAMES, made, number_in
from .taken import digests, in_pieces

SIZE = 192
"""Nine frames of this size to a shard of 1 MiB."""


# ---------------------------------------------------------------------------------------------------------- films


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("h264-open", {"every": 1}),
        ("h264-pyramid", {"every": 3, "start": 0.7, "end": 2.9}),
        ("variable", {"every": 2, "start": 0.5}),
        ("mpeg4-avi", {"every": 2}),
    ],
)
def test_threads_and_pieces_change_no_byte(name: str, given: dict, tmp_path: Path) -> None:
    given |= {"size": SIZE, "shard_mib": 1}
    table = frames(made(name), source="film", params=FramesParams(**given), out=tmp_path / "one", threads=1)
    whole = digests(tmp_path / "one")
    for threads in (2, 4):
        frames(made(name), source="film", params=FramesParams(**given), out=tmp_path / "more", threads=threads)
        assert digests(tmp_path / "more") == whole
    for count in (2, 3, 30):
        if count < 30 or name == "h264-open":  # more pieces than shards: some are empty
            assert digests(in_pieces(made(name), tmp_path / f"of{count}", count, **given)) == whole
    store = FrameStore(tmp_path / "one")
    pictures = [
        picture for picture in decode(made(name), every=given["every"], start=given.get("start", 0.0), end=given.get("end"))
    ]
    assert table["frame"].tolist() == [picture.number for picture in pictures]
    assert table["time"].tolist() == [picture.time for picture in pictures]
    for row, picture in enumerate(pictures):
        resize = AreaResize(picture.pixels.shape[:2], (SIZE, SIZE), pixel_aspect=picture.pixel_aspect)
        assert np.array_equal(store.colour([row])[0], resize(picture.pixels))
    # A frame's shard follows from its number alone.
    shards = table["frame"] // given["every"] // 9
    assert [store.facts["shards"][shard]["name"] for shard in table["shard"]] == [f"shard-{n:05d}.arrow" for n in shards]


def test_the_index_says_how_a_film_was_decoded(tmp_path: Path) -> None:
    for name, way in (("h264-pyramid", "sparse"), ("ffv1", None)):
        frames(made(name), source="film", params=FramesParams(every=20, size=32), out=tmp_path / name)
        told = FrameStore(tmp_path / name).facts["decoding"]
        assert set(told) == {"way", "codec", "why", "packets", "decoded"} and told["codec"] == name.split("-")[0]
        assert way is None or (told["way"] == way and told["decoded"] < told["packets"] == FRAMES)
        assert (told["way"] == "full") == bool(told["why"])


def test_by_hand_it_says_how_it_decoded_and_how_long_it_took(tmp_path: Path) -> None:
    arguments = ["--every", "20", "--size", "32", "--threads", "2", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, ["frames", str(made("h264-pyramid")), *arguments])
    last = done.stderr.splitlines()[-1]
    assert done.exit_code == 0 and last.startswith(f"{tmp_path / 'out'}: 4 frames in ")
    assert " s; sparse: " in last and last.endswith(" % of the packets decoded")
    pieces = tmp_path / "pieces"
    for number in ("0", "1"):
        arguments = [number, "--of", "2", "--every", "20", "--size", "32", "--out", str(pieces / number)]
        assert CliRunner().invoke(app, ["pieces", str(made("h264-pyramid")), *arguments]).exit_code == 0
    arguments = ["--pieces", str(pieces), "--every", "20", "--size", "32", "--out", str(tmp_path / "joined")]
    assert CliRunner().invoke(app, ["frames", str(made("h264-pyramid")), *arguments]).exit_code == 0
    assert digests(tmp_path / "joined") == digests(tmp_path / "out")


def test_pieces_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    given = {"every": 1, "size": SIZE, "shard_mib": 1}
    video, pieces = made("h264-open"), tmp_path / "of3-pieces"
    in_pieces(video, tmp_path / "of3", 3, **given)
    params = FramesParams(**given)
    with pytest.raises(UserError, match=r"of3-pieces/0 is of film and not of other"):
        frames(video, source="other", params=params, out=tmp_path / "x", pieces=pieces)
    with pytest.raises(UserError, match=r"of3-pieces/0 was taken with another `every`"):
        frames(video, source="film", params=FramesParams(**given | {"every": 2}), out=tmp_path / "x", pieces=pieces)
    shutil.move(pieces / "1", tmp_path / "aside")
    with pytest.raises(UserError, match=r"of3-pieces/1/index.parquet is missing"):
        frames(video, source="film", params=params, out=tmp_path / "x", pieces=pieces)
    shutil.copytree(pieces / "2", pieces / "1")
    with pytest.raises(UserError, match=r"of3-pieces/1 is not piece 1 of 3"):
        frames(video, source="film", params=params, out=tmp_path / "x", pieces=pieces)
    shutil.rmtree(pieces / "1")
    shutil.move(tmp_path / "aside", pieces / "1")
    (pieces / "1" / "shard-00004.arrow").unlink()
    with pytest.raises(UserError, match=r"1/shard-00004.arrow is missing"):
        frames(video, source="film", params=params, out=tmp_path / "x", pieces=pieces)
    with pytest.raises(UserError, match=r"There is no piece 3 of 3"):
        piece(video, number=3, source="film", params=FramesParams(**given, pieces=3), out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_shards_of_pieces_are_linked_and_not_copied(tmp_path: Path) -> None:
    out = in_pieces(made("h264-open"), tmp_path / "out", 2, every=1, size=SIZE, shard_mib=1)
    assert all(shard.stat().st_nlink == 2 for shard in out.glob("*.arrow"))


@given(low=st.integers(0, 500), length=st.integers(1, 500), capacity=st.integers(1, 60), of=st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_pieces_are_whole_shards_that_leave_nothing_out(low: int, length: int, capacity: int, of: int) -> None:
    spans = [Piece(number, of).places(low, low + length, capacity) for number in range(of)]
    assert spans[0][0] == 0 and spans[-1][1] >= 1 << 60
    assert all(one[1] == other[0] for one, other in pairwise(spans))
    assert all(begin % capacity == 0 for begin, _ in spans)
    shards = [min(end, low + length + capacity) // capacity - max(begin, low) // capacity for begin, end in spans]
    assert max(shards) - min(shards) <= 2, "about as many for each"


# --------------------------------------------------------------------------------------------------------- damage


def damaged(path: Path, source: Path, at: tuple[float, ...] = (0.5,)) -> Path:
    """A copy with some bytes of its packets overwritten, in the places given as shares of the file."""
    data = bytearray(source.read_bytes())
    for share in at:
        begin = int(len(data) * share)
        data[begin : begin + 400] = bytes(255 - byte for byte in data[begin : begin + 400])
    path.write_bytes(data)
    return path


def test_good_frames_around_damage_are_kept_and_the_hole_is_named(tmp_path: Path) -> None:
    video = damaged(tmp_path / "film.mkv", made("h264-b"))
    given = {"every": 1, "size": SIZE, "shard_mib": 1, "fit": "stretch"}
    with pytest.raises(UserError, match=r"film.mkv is truncated or damaged after"):
        frames(video, source="film", params=FramesParams(**given), out=tmp_path / "out")
    table = frames(video, source="film", params=FramesParams(**given), out=tmp_path / "out", allow_truncated=True)
    store = FrameStore(tmp_path / "out")
    (hole,) = store.facts["damaged"]
    before, after = hole["between"]
    lost = sorted(set(range(FRAMES)) - set(table["frame"]))
    assert lost == list(range(before + 1, after)) and hole["frames"] == len(lost) <= 50
    assert hole["seconds"] == [before / 25, after / 25]
    for row, number in enumerate(table["frame"]):
        assert number_in(store.colour([row])[0].transpose(1, 2, 0)[::3, ::2]) == number
    for count in (2, 3):
        out = in_pieces(video, tmp_path / f"of{count}", count, allow_truncated=True, **given)
        joined = FrameStore(out)
        assert joined.table.equals(table) and joined.facts["damaged"] == store.facts["damaged"]
        assert [shard["sha256"] for shard in joined.facts["shards"]] == [shard["sha256"] for shard in store.facts["shards"]]


def hurt(path: Path, source: Path, packets: set[int]) -> Path:
    """A copy in which most bytes of these packets are noise; nought in VP8, which takes any noise for a picture."""
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        listed = [(one.pos, one.size) for one in container.demux(video=0) if one.size]
    for packet in packets:
        position, size = listed[packet]
        begin = position + (3 if source.suffix == ".webm" else size // 4)
        length = position + size - begin
        data[begin : begin + length] = bytes(length) if source.suffix == ".webm" else np.random.default_rng(packet).bytes(length)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("name", "every"), [("h264-b", 6), ("h264-open", 5), ("mpeg2-closed", 4), ("vp8-hidden", 6)])
def test_what_pieces_keep_of_a_film_with_two_damaged_places_is_what_one_job_keeps(name: str, every: int, tmp_path: Path) -> None:
    """One is in a picture that others need, the other in one that nothing wanted does."""
    video, whole = tmp_path / f"film{made(name).suffix}", list(decode(made(name)))
    with av.open(str(made(name))) as container:
        packets = [one for one in container.demux(video=0) if one.size]
        rules = rules_of(container.streams.video[0])
        unneeded = [not rules(one).reference for one in packets]
        wanted = [round(one.pts * one.time_base * 25) % every == 0 for one in packets]
    needed = next(place for place in range(27, len(packets)) if not unneeded[place])
    spared = next((place for place in range(60, len(packets)) if unneeded[place] and not wanted[place]), 60)
    hurt(video, made(name), {needed, spared})
    given = {"every": every, "size": SIZE, "shard_mib": 1, "fit": "stretch"}
    frames(video, source="film", params=FramesParams(**given), out=tmp_path / "out", allow_truncated=True)
    kept = FrameStore(tmp_path / "out").table["frame"].tolist()
    by_decode = [picture.number for picture in decode(video, every=every, allow_truncated=True)]
    assert set(by_decode) <= set(kept) < {picture.number for picture in whole if picture.number % every == 0}
    for count in (2, 3):
        for threads in (1, 3):
            out = in_pieces(video, tmp_path / f"of{count}by{threads}", count, threads=threads, allow_truncated=True, **given)
            assert digests(out) == digests(tmp_path / "out")


# ---------------------------------------------------------------------------------------------- several at once


@given(lengths=st.lists(st.integers(0, 40), max_size=12), threads=st.integers(1, 4), ahead=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_results_come_in_order_and_few_wait(lengths: list[int], threads: int, ahead: int) -> None:
    lock, made_so_far, taken = threading.Lock(), 0, 0
    most = 0

    def work(task: int):
        nonlocal made_so_far, most
        for number in range(lengths[task]):
            with lock:
                made_so_far += 1
                most = max(most, made_so_far - taken)
            yield task, number

    found = []
    for task, results in in_order(range(len(lengths)), work, threads=threads, ahead=ahead):
        assert task == len(found)
        found.append([])
        for result in results:
            taken += 1
            found[-1].append(result)
    assert found == [[(task, number) for number in range(length)] for task, length in enumerate(lengths)]
    assert most <= (ahead + 1) * 2 * threads + threads


def test_an_error_comes_in_its_turn_and_ends_all() -> None:
    ended = []

    def work(task: int):
        try:
            yield task
            if task == 2:
                raise UserError("the third is damaged.")
            yield from range(1000)
        finally:
            ended.append(task)

    seen = []
    with pytest.raises(UserError, match="the third"):
        for task, results in in_order(range(50), work, threads=3, ahead=4):
            for _ in results:
                seen.append(task)
    assert seen.count(0) == seen.count(1) == 1001 and seen.count(2) == 1 and set(seen) == {0, 1, 2}
    assert len(ended) < 10 and not [thread for thread in threading.enumerate() if thread.name.startswith("in_order")]


def test_what_is_not_taken_is_passed_over_and_a_caller_may_leave() -> None:
    seen = [task for task, _ in in_order(range(9), lambda task: range(100), threads=2, ahead=3)]
    assert seen == list(range(9))
    walk = in_order(range(9), lambda task: range(100), threads=2, ahead=3)
    next(walk)
    walk.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("in_order")]
