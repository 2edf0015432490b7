"""The transform between two prints: photographs that are distorted here, in every way that prints are, and found again."""

from __future__ import annotations

import functools
import json
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.align.bars import picture_area
from kinemacolor.align.common import borders, common_area
from kinemacolor.align.corners import Followed, choose, fit
from kinemacolor.align.grid import Window
from kinemacolor.align.laying import apply, chain, corners_of, inverse, set_upright, turn_left_over, upright, warped
from kinemacolor.align.spatial import Geometry, fit_geometry, overlaid
from kinemacolor.errors import UserError
from kinemacolor.frames.resize import AreaResize
from kinemacolor.params.sources import SyncCrop

HEIGHT, WIDTH = 300, 450  # of the colour print
GREY = (260, 390)


@functools.cache
def photographs() -> tuple[np.ndarray, ...]:
    """Twelve moments of a film, (300, 450, 3): four photographs, each seen from three places."""
    moments = []
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        large = cv2.resize(getattr(skimage.data, name)(), (520, 360), interpolation=cv2.INTER_AREA)
        moments += [large[y : y + HEIGHT, x : x + WIDTH].copy() for x, y in ((0, 0), (70, 30), (30, 60))]
    return tuple(moments)


def turned(degrees: float, matrix: np.ndarray, *, across: float = 1.0) -> np.ndarray:
    """A transform, then stretched and turned about the middle of the grey print."""
    angle = np.radians(degrees)
    linear = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ np.diag([across, 1])
    middle = np.array(GREY[::-1]) / 2
    return chain(np.column_stack([linear, middle - linear @ middle]), matrix)


class Made(NamedTuple):
    """Pairs and what is true of them."""

    pairs: list[tuple[np.ndarray, np.ndarray]]
    truth: np.ndarray

    def fit(self, window: Window, **more) -> Geometry:
        return fit_geometry(self.pairs, grey_size=GREY, colour_size=self.pairs[0][1].shape, window=window, **more)

    def error(self, found: np.ndarray) -> float:
        """Mean distance over the grey picture, in pixels at 480 lines."""
        points = np.stack(np.meshgrid(np.linspace(0, GREY[1], 20), np.linspace(0, GREY[0], 20)), -1).reshape(-1, 2)
        points = apply(inverse(self.truth), points)
        points = points[((points >= 0) & (points <= (WIDTH, HEIGHT))).all(axis=1)]
        return float(np.hypot(*(apply(found, points) - apply(self.truth, points)).T).mean() * 480 / GREY[0])


def make(
    matrix: np.ndarray, *, grain: float = 5, paint: float = 0, wrong: int = 0, gamma: float = 1.4, overlay=None, colour=None
) -> Made:
    """Grey prints of the photographs under a transform, graded and grainy.

    Args:
        paint: luma by which a colourist changed it, by place and anew for every picture.
        wrong: how many pairs show another moment.
        overlay, colour: functions that draw on the grey and on the colour luma.
    """
    rng, pairs, film = np.random.default_rng(0), [], photographs()
    for number, moment in enumerate(film):
        luma = cv2.cvtColor(moment, cv2.COLOR_RGB2GRAY)
        shown = luma if number % 3 or number // 3 >= wrong else cv2.cvtColor(film[(number + 5) % len(film)], cv2.COLOR_RGB2GRAY)
        shown = shown.astype(np.float32)
        places = cv2.resize(rng.normal(0, 1, (5, 7)).astype(np.float32), shown.shape[::-1], interpolation=cv2.INTER_CUBIC)
        shown = np.clip(shown + paint * np.clip(places, -1, 1), 0, 255)
        # What the film does not show is black in the print.
        inside = warped(np.full(shown.shape, 255, np.uint8), matrix, GREY[::-1], linear=True)
        at = apply(inverse(matrix), np.stack(np.meshgrid(np.arange(GREY[1]) + 0.5, np.arange(GREY[0]) + 0.5), -1).reshape(-1, 2))
        inside = ((at >= 0) & (at <= (WIDTH, HEIGHT))).all(axis=1).reshape(GREY)
        grey = warped(cv2.GaussianBlur(shown, (0, 0), 0.6), matrix, GREY[::-1])
        grey = np.where(inside, 255 * (np.clip(grey, 0, 255) / 255) ** (1 / gamma), 0) + rng.normal(0, grain, GREY)
        grey = np.clip(grey, 0, 255).round().astype(np.uint8)
        if overlay is not None:
            overlay(grey, number)
        if colour is not None:
            luma = colour(luma)
        pairs.append((grey, luma))
    return Made(pairs, matrix)


def subtitles(picture: np.ndarray, number: int) -> None:
    """A logo always, a subtitle at most times."""
    cv2.putText(picture, "TV", (345, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 250, 3)
    if number % 3:
        cv2.putText(picture, "and then " * (1 + number % 2), (60, 252), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 250, 2)


PLAIN = upright((18, 9, 441, 291), (0, 0, *GREY[::-1]))
WINDOW = Window(18 / WIDTH + 0.01, 9 / HEIGHT - 0.008, 441 / WIDTH - 0.01, 291 / HEIGHT + 0.01)  # as coarse as it is found


@pytest.mark.parametrize(
    ("degrees", "across", "kind"),
    [(0, 1, "upright"), (0.4, 1, "similarity"), (-3, 1, "similarity"), (10, 1, "similarity"), (-8, 0.8, "affine")],
)
def test_a_turn_is_found_and_nothing_freer_than_the_pictures_ask_for(degrees, across, kind):
    square = turned(0, np.array([[0.92, 0, -15.0], [0, 0.92, -9.0]]))
    made = make(turned(degrees, square, across=across))
    found = made.fit(WINDOW)
    assert found.kind == kind
    assert made.error(found.transform) < 0.15
    assert 0 < found.residual_px < 0.5 and found.corners > 500
    if kind == "upright":
        assert found.transform[0, 1] == found.transform[1, 0] == 0


@pytest.mark.parametrize("degrees", [0.0, 4.0])
def test_grain_paint_logos_and_wrong_pairs_do_not_matter(degrees):
    made = make(turned(degrees, PLAIN), grain=12, paint=40, wrong=4, overlay=subtitles)
    found = made.fit(WINDOW)
    assert made.error(found.transform) < 0.3


def test_the_window_may_be_wrong():
    made = make(turned(5, upright((45, 30, 405, 270), (0, 0, *GREY[::-1]))))
    assert made.error(made.fit(Window(0, 0, 1, 1)).transform) < 0.2


def test_blended_and_combed_pairs_do_not_matter():
    made = make(PLAIN)
    pairs = list(made.pairs)
    for number in range(0, len(pairs), 3):
        grey, luma = pairs[number]
        # Half a frame late in a pan of six pixels, woven or mixed.
        late = np.roll(grey, 6, axis=1)
        woven = grey.copy()
        woven[::2] = late[::2]
        pairs[number] = (woven if number % 2 else cv2.addWeighted(grey, 0.5, late, 0.5, 0)), luma
    assert made.error(made._replace(pairs=pairs).fit(WINDOW).transform) < 0.1


@pytest.mark.parametrize(
    ("box", "over"),
    [((0, 30, 390, 230), subtitles), ((40, 0, 350, 260), None), ((25, 20, 365, 240), subtitles), ((5, 0, 390, 257), None)],
)
def test_bars_are_no_part_of_the_common_area_whatever_is_burnt_into_them(box, over):
    """Letterbox, pillarbox, both, and the black border of a shifted picture."""
    made = make(upright((0, 0, WIDTH, HEIGHT), box), overlay=over)
    found = made.fit(Window(-0.1, -0.1, 1.1, 1.1))
    assert made.error(found.transform) < 0.2
    assert all(inner >= outer for inner, outer in zip(found.grey_crop[:2], box[:2], strict=True))
    assert all(inner <= outer for inner, outer in zip(found.grey_crop[2:], box[2:], strict=True))
    assert found.grey_crop == pytest.approx(box, abs=3.5)
    assert found.colour_crop == pytest.approx((0, 0, WIDTH, HEIGHT), abs=6)


def test_bars_of_both_prints():
    def letterbox(luma):
        return cv2.copyMakeBorder(luma, 40, 40, 0, 0, cv2.BORDER_CONSTANT, value=2)

    made = make(upright((0, 0, WIDTH, HEIGHT), (40, 0, 350, 260)), colour=letterbox)
    found = fit_geometry(made.pairs, grey_size=GREY, colour_size=(HEIGHT + 80, WIDTH), window=Window(-0.1, 0, 1.1, 1))
    moved = found.transform.copy()
    moved[1, 2] += 40 * moved[1, 1]
    assert made.error(moved) < 0.2
    assert found.grey_crop == pytest.approx((40, 0, 350, 260), abs=4)
    assert found.colour_crop == pytest.approx((0, 40, WIDTH, 40 + HEIGHT), abs=5)


def test_a_dark_film_keeps_its_dark_edge():
    rng = np.random.default_rng(0)
    shade = np.clip(np.linspace(-0.3, 3, WIDTH), 0, 1)
    film = [(cv2.cvtColor(moment, cv2.COLOR_RGB2GRAY) * shade * 0.5).astype(np.uint8) for moment in photographs()]
    assert picture_area(film) == (0, 0, WIDTH, HEIGHT)
    grainy = [np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8) for picture in film]
    assert picture_area(grainy) == (0, 0, WIDTH, HEIGHT)
    found = fit_geometry(
        list(zip(grainy, film, strict=True)), grey_size=(HEIGHT, WIDTH), colour_size=(HEIGHT, WIDTH), window=Window(0, 0, 1, 1)
    )
    assert found.colour_crop == pytest.approx((0, 0, WIDTH, HEIGHT), abs=0.5)


def test_flat_and_black_pictures_are_whole():
    assert picture_area([np.full((40, 60), 3, np.uint8)] * 3) == (0, 0, 60, 40)
    assert picture_area([np.full((40, 60), 200, np.uint8)]) == (0, 0, 60, 40)


# ------------------------------------------------------------------------------------------------------- the common area


@settings(max_examples=60, deadline=None)
@given(degrees=st.floats(-10, 10), across=st.floats(0.7, 1.4), x=st.floats(-40, 40), y=st.floats(-40, 40))
def test_the_common_area_lies_in_both_prints_and_no_side_can_move_out(degrees, across, x, y):
    transform = turned(degrees, np.array([[0.9, 0, x], [0, 0.9, y]]), across=across)
    grey_box, colour_box = (3.0, 5.0, 380.0, 255.0), (10.0, 0.0, 440.0, 290.0)
    colour, grey = common_area(transform, grey_box=grey_box, colour_box=colour_box)

    def inside(box, slack):
        at = apply(transform, corners_of(box))
        good = all(low >= edge - slack for low, edge in zip(box[:2], colour_box[:2], strict=True))
        good &= all(high <= edge + slack for high, edge in zip(box[2:], colour_box[2:], strict=True))
        return good and (at >= np.array(grey_box[:2]) - slack).all() and (at <= np.array(grey_box[2:]) + slack).all()

    assert inside(colour, 1e-6)
    for side in range(4):
        wider = list(colour)
        wider[side] += -1 if side < 2 else 1
        assert not inside(wider, 1e-6)
    # No other box is larger: a few thousand at random.
    rng = np.random.default_rng(0)
    area = (colour[2] - colour[0]) * (colour[3] - colour[1])
    for moved in np.array(colour) + rng.normal(0, 12, (300, 4)):
        if moved[2] > moved[0] and moved[3] > moved[1] and inside(moved, 0):
            assert (moved[2] - moved[0]) * (moved[3] - moved[1]) < area * 1.001
    # The crops lie on each other once the grey print is set upright, and the turn about their middle is all that is left.
    left_over = turn_left_over(transform, colour, grey)
    straight = upright(colour, grey)
    at = np.random.default_rng(1).uniform(0, 300, (9, 2))
    both = apply(transform, at) if left_over is None else apply(left_over, apply(straight, at))
    np.testing.assert_allclose(both if left_over is not None else apply(straight, at), apply(transform, at), atol=0.05)
    assert min(grey) >= 0 and grey[2] <= GREY[1] and grey[3] <= GREY[0]


def test_the_wedge_beside_a_turned_picture_is_cut_off_and_what_is_dark_in_both_stays():
    rng = np.random.default_rng(0)
    film = [cv2.cvtColor(moment, cv2.COLOR_RGB2GRAY) for moment in photographs()]
    for picture in film:
        picture[:, 420:] = 4  # the film's own darkness
    graded = [np.clip(0.7 * picture + 20 + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8) for picture in film]
    assert borders(list(zip(graded, film, strict=True))) == (0, 0, 0, 0)
    wedge = np.fromfunction(lambda y, x: x < 12 * (1 - y / 150), (HEIGHT, WIDTH))
    for picture in graded:
        picture[wedge] = 20
    left, top, right, bottom = borders(list(zip(graded, film, strict=True)))
    assert 9 <= left <= 14 and (top, right, bottom) == (0, 0, 0)


# ------------------------------------------------------------------------------------------------------------- by hand


def test_one_crop_by_hand_restricts_the_common_area():
    made = make(turned(2, PLAIN))
    free = made.fit(WINDOW)
    colour = made.fit(WINDOW, crop=SyncCrop(colour=(100, 60, 300, 220)))
    assert colour.colour_crop == pytest.approx((100, 60, 300, 220), abs=0.01)
    assert made.error(colour.transform) < 0.3
    grey = made.fit(WINDOW, crop=SyncCrop(grey=(50, 40, 340, 220)))
    assert grey.colour_crop[0] > free.colour_crop[0] + 20 and grey.colour_crop[3] < free.colour_crop[3] - 20
    at = apply(grey.transform, corners_of(grey.colour_crop))
    assert (at >= np.array([50, 40]) - 0.01).all() and (at <= np.array([340, 220]) + 0.01).all()


def test_two_crops_by_hand_are_laid_on_each_other_and_measured():
    made = make(PLAIN)
    found = made.fit(Window(0, 0, 1, 1), crop=SyncCrop(colour=(18, 9, 441, 291), grey=(0, 0, 390, 260)))
    np.testing.assert_allclose(found.transform, PLAIN)
    assert (found.colour_crop, found.grey_crop, found.kind) == ((18, 9, 441, 291), (0, 0, 390, 260), "upright")
    assert found.residual_px < 0.4 and found.corners > 500
    beside = made.fit(Window(0, 0, 1, 1), crop=SyncCrop(colour=(21, 9, 444, 291), grey=(0, 0, 390, 260)))
    assert beside.residual_px == pytest.approx(3 * PLAIN[0, 0], abs=0.4)


def test_crops_by_hand_are_taken_even_of_flat_pictures():
    flat = [(np.full(GREY, 90, np.uint8), np.full((HEIGHT, WIDTH), 90, np.uint8))]
    crop = SyncCrop(colour=(0, 0, 450, 300), grey=(0, 0, 390, 260))
    found = fit_geometry(flat, grey_size=GREY, colour_size=(HEIGHT, WIDTH), window=Window(0, 0, 1, 1), crop=crop)
    assert found.corners == 0 and np.isnan(found.residual_px)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["residual_px"] is None


@pytest.mark.parametrize("name", ["grey", "colour"])
def test_a_crop_outside_its_print_is_refused_by_its_key(name):
    with pytest.raises(UserError, match=rf"sync\.crop\.{name} reaches to 500, 200, but the {name} print has"):
        make(PLAIN).fit(WINDOW, crop=SyncCrop(**{name: (0, 0, 500, 200)}))


# ------------------------------------------------------------------------------------------------------------ its parts


def test_pictures_that_have_nothing_in_common_are_refused():
    rng = np.random.default_rng(0)
    for size in ((120, 160), (300, 400)):
        pairs = [tuple(rng.integers(0, 256, (2, *size), dtype=np.uint8)) for _ in range(4)]
        with pytest.raises(UserError, match="could not be laid on each other"):
            fit_geometry(pairs, grey_size=size, colour_size=size, window=Window(0, 0, 1, 1))
    film = [cv2.cvtColor(moment, cv2.COLOR_RGB2GRAY) for moment in photographs()]
    other = list(zip(film, film[4:] + film[:4], strict=True))
    with pytest.raises(UserError, match="could not be laid on each other"):
        fit_geometry(other, grey_size=(HEIGHT, WIDTH), colour_size=(HEIGHT, WIDTH), window=Window(0, 0, 1, 1))
    with pytest.raises(UserError, match="No pair of frames could be compared"):
        fit_geometry([], grey_size=(120, 160), colour_size=(120, 160), window=Window(0, 0, 1, 1))


def test_the_same_pictures_give_the_same_geometry_and_json_says_it():
    made = make(turned(1, PLAIN))
    one, other = (made.fit(WINDOW).to_json() for _ in range(2))
    assert one == other
    assert one["kind"] in ("similarity", "affine") and one["corners"] > 500
    assert one["size"] == {"colour": [HEIGHT, WIDTH], "grey": list(GREY)}


def test_reduced_pictures_give_the_geometry_of_the_whole_ones():
    made = make(turned(-2, PLAIN), grain=0)
    whole = made.fit(WINDOW)
    halves = [(cv2.resize(grey, (260, 173), interpolation=cv2.INTER_AREA), colour) for grey, colour in made.pairs]
    found = made._replace(pairs=halves).fit(WINDOW)
    assert made.error(found.transform) < 0.2 and made.error(whole.transform) < 0.2


@pytest.mark.parametrize("degrees", [0.0, -6.0])
def test_overlaid_pictures_lie_on_each_other(degrees):
    made = make(turned(degrees, PLAIN), grain=0, gamma=1)
    found = made.fit(WINDOW)
    for (grey, _), moment in list(zip(made.pairs, photographs(), strict=True))[::4]:
        over, under = overlaid((grey, moment), found)
        assert over.shape == under.shape[:2]
        under = cv2.cvtColor(under, cv2.COLOR_RGB2GRAY)
        inner = (slice(8, -8), slice(8, -8))
        right = np.abs(over.astype(int) - under)[inner].mean()
        assert right < 4
        assert right < 0.7 * min(np.abs(over.astype(int) - np.roll(under, 1, axis))[inner].mean() for axis in (0, 1))
        # So do the crops of what the frames stage makes of the grey picture.
        left_over = turn_left_over(found.transform, found.colour_crop, found.grey_crop)
        straight = grey if left_over is None else set_upright(grey, left_over)
        cut = AreaResize(GREY, over.shape, box=found.grey_crop, fit="stretch")(straight)[0].astype(int)
        right = np.abs(cut - under)[inner].mean()
        assert right < 4
        assert right < 0.7 * min(np.abs(cut - np.roll(under, 1, axis))[inner].mean() for axis in (0, 1))


def points(count: int, pairs: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 400, (count, 2)), rng.integers(0, pairs, count)


@settings(max_examples=30, deadline=None)
@given(degrees=st.floats(-10, 10), noise=st.floats(0.05, 0.4), seed=st.integers(0, 99))
def test_a_third_of_wrong_corners_has_no_say(degrees, noise, seed):
    source, pair = points(600, 12, seed)
    truth = turned(degrees, PLAIN)
    rng = np.random.default_rng(seed)
    target = apply(truth, source) + rng.normal(0, noise, source.shape)
    target[pair >= 8] += rng.normal(0, 30, ((pair >= 8).sum(), 2))
    found = fit("affine", Followed(source, target, pair))
    assert np.hypot(*(apply(found.transform, source) - apply(truth, source)).T).max() < 0.9 * noise
    assert found.agree[pair < 8].mean() > 0.9 and found.agree[pair >= 8].mean() < 0.1


def test_a_pair_that_is_late_as_a_whole_has_no_say():
    source, pair = points(1200, 12)
    rng = np.random.default_rng(0)
    target = apply(PLAIN, source) + rng.normal(0, 0.3, source.shape)
    target[pair < 3] += [0.9, 0]  # within the reach of single corners
    found = fit("upright", Followed(source, target, pair))
    assert np.hypot(*(apply(found.transform, source) - apply(PLAIN, source)).T).max() < 0.08


def test_noise_alone_asks_for_no_freer_transform():
    for seed in range(10):
        source, pair = points(900, 12, seed)
        rng = np.random.default_rng(seed)
        # Corners of one pair err together.
        target = apply(PLAIN, source) + rng.normal(0, 0.2, source.shape) + rng.normal(0, 0.1, (12, 2))[pair]
        assert choose(Followed(source, target, pair), source)[0] == "upright"
