"""Chroma at a film's own size: edges kept, lightness kept, the same as slow and plain computations."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab
from torch.nn import functional

from kinemacolor.errors import UserError
from kinemacolor.frames.resize import AreaResize
from kinemacolor.wholefilm.chroma import METHODS, Enlarger, Grid
from kinemacolor.wholefilm.looks import look_of, planes_of
from kinemacolor.wholefilm.painting import Painter
from kinemacolor.wholefilm.reading import Sight, _Shrinker

PHOTO = skimage.data.coffee()[:240, :320]


# ------------------------------------------------------------------------------------------------ enlarging


def enlarged(small, low, guide, method, **options):
    return Enlarger(small.shape[1:], guide.shape, method=method, **options)(small, low, guide)


def field(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 20, shape).astype(np.float32)


def test_bilinear_is_what_torch_does():
    small, guide = field((2, 7, 11)), np.zeros((40, 60), np.float32)
    found = enlarged(small, np.zeros((7, 11), np.float32), guide, "bilinear")
    wanted = functional.interpolate(torch.from_numpy(small)[None], (40, 60), mode="bilinear", align_corners=False)[0].numpy()
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_without_luminance_to_go_by_all_ways_are_smooth_and_within_what_was_given(method):
    small, guide = field((2, 9, 9)), np.full((50, 70), 40, np.float32)
    found = enlarged(small, np.full((9, 9), 40, np.float32), guide, method)
    assert found.min() >= small.min() - 1e-3 and found.max() <= small.max() + 1e-3
    if method == "guided":
        assert np.abs(found - enlarged(small, np.full((9, 9), 40, np.float32), guide, "bilinear")).max() < 1e-3


def test_the_guided_way_says_at_the_small_size_what_the_network_said():
    photo = cv2.cvtColor(PHOTO, cv2.COLOR_RGB2GRAY).astype(np.float32) / 2.55
    low = cv2.resize(photo, (40, 30), interpolation=cv2.INTER_AREA)
    small = np.stack((low - 50, 50 - low)) * 0.5
    found = enlarged(small, low, photo, "guided")
    again = np.stack([cv2.resize(plane, (40, 30), interpolation=cv2.INTER_AREA) for plane in found])
    assert np.abs(again - small).mean() < 0.15 * np.abs(small).mean()


@pytest.mark.parametrize(("method", "share"), [("guided", 0.5), ("bilateral", 0.75)])
def test_colours_end_at_outlines(method, share):
    """A disc of another colour and lightness: the error around its edge, against the linear enlargement's."""
    y, x = np.mgrid[:240, :320]
    disc = (np.hypot(y - 117.3, x - 161.9) < 70).astype(np.float32)
    guide = 30 + 40 * disc + field((240, 320)) / 20
    true = np.stack((40 * disc - 10, 20 - 50 * disc))
    low, *small = (cv2.resize(plane, (40, 30), interpolation=cv2.INTER_AREA) for plane in (guide, *true))
    wrong = {name: np.abs(enlarged(np.stack(small), low, guide, name) - true).mean() for name in (method, "bilinear")}
    assert wrong[method] < share * wrong["bilinear"]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 9)] * 2, *[st.integers(1, 70)] * 2),
    across=st.sampled_from([1, 2]),
    threads=st.integers(2, 4),
)
def test_any_sizes_go_and_threads_change_nothing(method, sizes, across, threads):
    height, width = sizes[2:]
    grids = Grid(-(-height // across), across, across / 2), Grid(-(-width // across), across, 0.5)
    enlarge = Enlarger(sizes[:2], (height, width), grids, method=method)
    small, low, guide = field((2, *sizes[:2])), np.abs(field(sizes[:2], 1)), np.abs(field(enlarge.size, 2))
    found = enlarge(small, low, guide)
    assert np.isfinite(found).all() and found.shape == (2, *enlarge.size)
    assert np.array_equal(found, enlarge(small, low, guide, threads=threads))


def test_an_unknown_way_is_named():
    with pytest.raises(UserError, match="The way 'best' to enlarge chroma is unknown: choose one of guided, bilateral, bilinear"):
        Enlarger((4, 4), (8, 8), method="best")


# ------------------------------------------------------------------------------------------------- painting

_WEIGHTS = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}


def frame_of(rgb, form="yuv444p", matrix="709", full=False):
    """A frame of a picture in [0, 1], by the definition of Y'CbCr and rounding."""
    kr, kb = _WEIGHTS[matrix]
    red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)]
    frame = VideoFrame(rgb.shape[1], rgb.shape[0], form)
    frame.colorspace, frame.color_range = int({"601": 6, "709": 1}[matrix]), 2 if full else 1
    frame.color_primaries = frame.color_trc = 1
    bits = 10 if "10" in form else 8
    down, across = (2 if "420" in form else 1), (1 if "444" in form else 2)
    offset, scale = (0, 2**bits - 1) if full else (16 << bits - 8, 219 << bits - 8)
    span = 2**bits - 1 if full else 224 << bits - 8
    for at, (plane, width) in enumerate(planes_of(frame)):
        values = luma * scale + offset if at == 0 else chroma[at - 1][::down, ::across] * span + (1 << bits - 1)
        plane[:, :width] = np.rint(values)
    return frame


def rgb_of(frame):
    """The picture in [0, 1] of a frame, by the definition, chroma repeated."""
    look = look_of(frame, 1, "test")
    (black, steps), (middle, span) = look.luma_codes, look.chroma_codes
    luma, blue, red = (plane[:, :width].astype(np.float64) for plane, width in planes_of(frame))
    blue, red = (
        (plane.repeat(look.down, 0).repeat(look.across, 1)[: luma.shape[0], : luma.shape[1]] - middle) / span
        for plane in (blue, red)
    )
    luma = (luma - black) / steps
    green = luma - (
        2 * look.red * (1 - look.red) * red + 2 * look.blue * (1 - look.blue) * blue
    ) / (1 - look.red - look.blue)  # fmt: skip
    return np.clip(np.stack((luma + (2 - 2 * look.red) * red, green, luma + (2 - 2 * look.blue) * blue), -1), 0, 1)


def painted(frame, ab, *, side=60, **options):
    """The frame with new colours; ab (h,w,2) at the network's size, or one colour."""
    look = look_of(frame, 1, "test")
    shrink = _Shrinker(look, side)
    grey = len(frame.planes) == 1
    low, lightness = shrink(frame, not grey)
    small = np.broadcast_to(
        np.asarray(ab, np.float32).reshape(2, *([1, 1] if np.ndim(ab) == 1 else shrink.size)), (2, *shrink.size)
    )
    return Painter(look, side, **options)(Sight(0, 0, 7, 1, frame, not grey, low, lightness), small)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["601", "709"])
@pytest.mark.parametrize("form", ["yuv444p", "yuv444p10le"])
def test_lightness_stays_and_colours_are_those_asked_for(form, matrix, full):
    """Against scikit-image, in float64: L* of every pixel is the film's, ab what was wanted, but for 8 or 10 bits."""
    own = rgb2lab(PHOTO)[..., 0]
    found = rgb2lab(rgb_of(painted(frame_of(PHOTO / 255, form, matrix, full), (14, -20))))
    step = 0.25 if "10" in form else 1.0
    lit = own > 8  # nearly black pixels have steps of L* as large as this tolerance
    assert np.abs(found[..., 0] - own)[lit].max() < 1.1 * step and np.abs(found[..., 0] - own).mean() < 0.3 * step
    room = (
        np.linalg.norm(
            rgb2lab(lab2rgb(np.dstack((own, np.full_like(own, 14), np.full_like(own, -20)))))[..., 1:] - [14, -20], axis=-1
        )
        < 0.1
    )
    error = np.linalg.norm(found[..., 1:] - [14, -20], axis=-1)[room & (own > 25)]
    assert room.mean() > 0.5 and error.mean() < 0.8 * step and error.max() < 3 * step


@pytest.mark.parametrize("form", ["yuv420p", "yuv420p10le", "yuv422p"])
def test_lightness_stays_where_chroma_is_halved(form):
    own = rgb2lab(PHOTO)[..., 0]
    grey = frame_of(np.repeat(lab2rgb(np.dstack((own, own * 0, own * 0)))[..., :1], 3, -1), form)
    found = rgb2lab(rgb_of(painted(grey, (14, -20))))[..., 0]
    before = rgb2lab(rgb_of(grey))[..., 0]
    assert np.abs(found - before).mean() < 0.25 and np.percentile(np.abs(found - before), 99) < 1


def test_without_colours_a_grey_film_stays_as_it_is_to_the_bit():
    grey = frame_of(np.repeat(PHOTO[..., :1] / 255, 3, -1), "yuv420p")
    found = painted(grey, (0, 0))
    for (one, width), (other, _) in zip(planes_of(grey), planes_of(found), strict=True):
        assert np.array_equal(one[:, :width], other[:, :width])
    assert found.pts == 7


@pytest.mark.parametrize("form", ["gray", "gray10le", "yuv420p", "yuv422p", "yuv444p10le"])
def test_luma_can_be_kept_to_the_bit(form):
    frame = frame_of(PHOTO[:, :319] / 255, form) if "gray" not in form else VideoFrame(319, 240, form)
    if "gray" in form:
        plane, width = planes_of(frame)[0]
        plane[:, :width] = PHOTO[:, :319, 0].astype(np.uint16) * (4 if "10" in form else 1)
    found = painted(frame, (30, 40), keep="luma")
    (one, width), (other, _) = planes_of(frame)[0], planes_of(found)[0]
    assert np.array_equal(one[:, :width], other[:, :width])
    middle = 512 if "10" in form else 128
    assert all((plane[:, :width] > middle + 4).mean() > 0.5 for plane, width in planes_of(found)[2:])


def test_colours_that_no_screen_shows_fade_and_do_not_darken():
    own = rgb2lab(PHOTO)[..., 0]
    found = rgb2lab(rgb_of(painted(frame_of(PHOTO / 255), (120, -110))))
    assert np.abs(found[..., 0] - own)[own > 8].max() < 1.2
    assert np.hypot(found[..., 1], found[..., 2]).mean() > 25
    hue = np.degrees(np.arctan2(found[..., 2], found[..., 1]))[(own > 25) & (own < 90)]
    assert np.abs(hue - np.degrees(np.arctan2(-110, 120))).max() < 25


def test_a_film_with_its_own_colours_comes_out_as_it_was():
    lab = rgb2lab(PHOTO)
    small = np.stack([cv2.resize(lab[..., channel], (320, 240)) for channel in (1, 2)])
    frame = frame_of(PHOTO / 255)
    found = painted(frame, small, side=240, method="bilinear")
    for (one, width), (other, _) in zip(planes_of(frame), planes_of(found), strict=True):
        assert np.abs(one[:, :width].astype(int) - other[:, :width]).max() <= 1


@pytest.mark.parametrize("form", ["yuv420p", "yuv422p10le", "yuv444p"])
def test_what_a_network_is_shown_is_the_picture_averaged_over_areas(form):
    frame = frame_of(PHOTO / 255, form)
    _, lightness = _Shrinker(look_of(frame, 1, "test"), 48)(frame, True)
    small = AreaResize((240, 320), (48, 64), fit="stretch")(np.rint(rgb_of(frame) * 255).astype(np.uint8))
    wanted = rgb2lab(small.transpose(1, 2, 0))[..., 0]
    assert lightness.shape == (1, 48, 64) and np.abs(lightness[0].numpy() - wanted).max() < (1.5 if form == "yuv444p" else 4)
    assert np.abs(lightness[0].numpy() - wanted).mean() < 0.3


def test_pixels_that_are_not_square_are_shown_to_the_network_as_they_are_seen():
    frame = frame_of(PHOTO / 255, "yuv420p")
    assert _Shrinker(look_of(frame, 2, "test"), 48).size == (48, 128)


def test_forms_are_kept_where_they_can_be():
    found = {}
    for form in (
        "yuv420p",
        "yuvj422p",
        "yuv444p10le",
        "gray",
        "gray10le",
        "nv12",
        "rgb24",
        "yuv420p12le",
        "yuv411p",
        "p010le",
        "gbrp",
    ):
        look = look_of(VideoFrame(64, 48, form), 1, "test")
        found[form] = look.form, look.full
    assert found == {
        "yuv420p": ("yuv420p", False),
        "yuvj422p": ("yuv422p", True),
        "yuv444p10le": ("yuv444p10le", False),
        "gray": ("yuv420p", False),
        "gray10le": ("yuv420p10le", False),
        "nv12": ("yuv420p", False),
        "rgb24": ("yuv444p", False),
        "yuv420p12le": ("yuv420p10le", False),
        "yuv411p": ("yuv420p", False),
        "p010le": ("yuv420p10le", False),
        "gbrp": ("yuv444p", False),
    }


def test_what_is_not_said_of_colours_is_guessed_as_players_do_and_written_down():
    small, large = (look_of(VideoFrame(width, height), 1, "test") for width, height in ((640, 480), (1280, 720)))
    assert (small.matrix, large.matrix) == (6, 1) and small.primaries == large.primaries == small.curve == large.curve == 1
    told = VideoFrame(1280, 720)
    told.colorspace, told.color_primaries, told.color_trc = 5, 5, 6
    look = look_of(told, 1, "test")
    assert (look.matrix, look.primaries, look.curve, look.red) == (5, 5, 6, 0.299)
