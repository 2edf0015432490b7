"""`extract` gives what `decode` gives, to the byte, for any choice of frames of any film of the matrix."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinemacolor.media.decode import Picture, decode
from kinemacolor.media.sparse import Effort, extract
from tests.unit.made_videos import VIDEOS, made

SPARSE = {
    *("h264-ippp", "h264-b", "h264-pyramid", "h264-open", "h264-open-ts", "h264-bluray", "h264-refs", "h264-strict"),
    *("h264-10bit", "h264-422", "h264-444-odd", "h264-mbaff", "h264-bff", "h264-one-group", "hevc-closed", "hevc-open"),
    *("hevc-layers", "hevc-10bit", "vp8-hidden", "vp8-odd", "vp9-hidden", "vp9-odd", "av1-svt", "av1-aom", "mpeg2-closed"),
    *("mpeg4-b", "prores", "mjpeg", "variable", "variable-mp4", "late", "rotated", "anamorphic", "anamorphic-mkv"),
    *("601-full", "709-limited", "2020-10bit", "hevc-dropping", "hevc-ended", "ffv1", "ffv1-intra", "utvideo", "dv"),
    *(name for name in VIDEOS if name.startswith("leader-") and name != "leader-fields"),
}
"""Films of which packets must be left out where few frames are wanted."""
FULL = {"h264-avi", "h264-paff", "repeated"}
"""Films that must be decoded in full, whose effort must say why."""


@functools.cache
def whole(name: str) -> list[Picture]:
    return list(decode(made(name)))


def extracted(name: str, **choice) -> tuple[list[tuple[int, float, Picture]], Effort]:
    told: list[Effort] = []
    found = list(extract(made(name), note=told.append, **choice))
    (effort,) = told
    return found, effort


def assert_same(found: list[tuple[int, float, Picture]], expected: list[Picture]) -> None:
    assert [(number, time) for number, time, _ in found] == [picture[:2] for picture in expected]
    for (number, time, picture), other in zip(found, expected, strict=True):
        assert (picture.number, picture.time, picture.pixel_aspect) == (number, time, other.pixel_aspect)
        assert picture.pixels.shape == other.pixels.shape
        assert np.array_equal(picture.pixels, other.pixels)


@st.composite
def choices(draw: st.DrawFn) -> tuple[str, dict]:
    name = draw(st.sampled_from(sorted(VIDEOS)))
    choice = {"every": draw(st.integers(1, 50)), "first": draw(st.integers(0, 60)), "threads": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        choice["start"] = draw(st.one_of(st.floats(0, 3.5), st.sampled_from([picture.time for picture in whole(name)])))
    if draw(st.booleans()):
        choice["end"] = draw(st.one_of(st.floats(0, 3.5), st.sampled_from([picture.time for picture in whole(name)])))
    if draw(st.booleans()):
        choice["wanted"] = draw(st.frozensets(st.integers(0, 90), max_size=12))
        choice["every"] = draw(st.sampled_from([1, choice["every"]]))
    return name, choice


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(choices(), st.one_of(st.none(), st.tuples(st.integers(0, 80), st.integers(0, 90))))
def test_any_choice_of_any_film_is_that_of_the_full_decode(choice: tuple[str, dict], between: tuple[int, int] | None):
    name, options = choice
    every, first = options["every"], options["first"]
    expected = [
        picture
        for picture in whole(name)
        if picture.number % every == first % every
        and picture.number >= first
        and picture.time >= options.get("start", 0.0)
        and picture.time < options.get("end", float("inf"))
        and picture.number in options.get("wanted", {picture.number})
        and (between is None or between[0] <= picture.number < between[1])
    ]
    found, _ = extracted(name, **options, **({"between": between} if between else {}))
    assert_same(found, expected)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", sorted(VIDEOS))
def test_every_frame_of_each_film_by_any_number_of_threads(name: str, threads: int):
    """So many that the compiled conversion takes over, in threads that began at the head and in others."""
    assert_same(extracted(name, threads=threads)[0], whole(name))


@pytest.mark.parametrize("name", sorted(VIDEOS))
def test_few_frames_of_each_film(name: str):
    """Of every film: what is said of the effort, which does not depend on the threads, and grey pictures."""
    found, effort = extracted(name, every=29, first=3, threads=1)
    assert_same(found, [picture for picture in whole(name) if picture.number % 29 == 3])
    again, same = extracted(name, every=29, first=3, threads=3)
    assert same == effort
    assert_same(again, [picture for _, _, picture in found])
    if name in SPARSE:
        assert (effort.way, effort.why) == ("sparse", "")
        assert len(found) <= effort.decoded <= effort.packets
    elif name in FULL:
        assert effort.way == "full"
    if effort.way == "full":
        assert effort.why
    grey = [picture for _, _, picture in extracted(name, every=40, first=7, grey=True)[0]]
    expected = list(decode(made(name), every=40, first=7, grey=True))
    assert [picture[:2] for picture in grey] == [picture[:2] for picture in expected]
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(grey, expected, strict=True))


@pytest.mark.parametrize(
    "name", ["h264-b", "h264-pyramid", "h264-open", "hevc-closed", "hevc-open", "mpeg2-closed", "mpeg4-b", "prores"]
)
def test_what_no_wanted_frame_needs_is_not_decoded(name: str):
    _, effort = extracted(name, every=20)
    assert effort.way == "sparse"
    assert effort.decoded < 0.8 * effort.packets
