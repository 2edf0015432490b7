"""The parts that pair two prints in time, each against what it must give: clocks, speeds, the chain, the coarse search, grids."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kinemacolor.align.chain import NOTHING, Costs, Lane, best_path, certainty
from kinemacolor.align.coarse import search
from kinemacolor.align.evidence import widened
from kinemacolor.align.grid import Overlay, Window, area_matrix, fit_window
from kinemacolor.align.signature import DECODE_SIZE, Signature, active_area, signature
from kinemacolor.align.speed import RATIOS, fit_speed
from kinemacolor.align.ticks import ticks_of
from tests.unit.drawn_signatures import drawn_film, shot_lengths

# ------------------------------------------------------------------------------------------------------------ clocks


@given(
    rate=st.sampled_from([18.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 50.0]), count=st.integers(3, 5000), start=st.floats(0, 9)
)
def test_even_times_are_numbers_even_if_rounded_to_milliseconds(rate, count, start):
    exact = start + np.arange(count) / rate
    for times in (exact, np.round(exact, 3)):
        ticks = ticks_of(times)
        assert ticks.even
        assert ticks.at.tolist() == list(range(count))
        assert ticks.rate == pytest.approx(rate, rel=1e-3 / (exact[-1] - start) * rate * 0.1 + 1e-9)
    assert ticks.frames(np.array([-0.6, -0.4, 0.0, 1.4, 1.6, count - 1.0, count - 0.4])).tolist() == [
        -1, 0, 0, 1, 2, count - 1, -1,
    ]  # fmt: skip


@given(seed=st.integers(0, 500), share=st.floats(0.05, 0.4))
def test_a_frame_of_a_variable_rate_stands_at_its_own_time(seed, share):
    """Frames left out leave holes; what begins within half a tick of a place is there, nothing else is."""
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(np.concatenate([[True], rng.random(299) > share, [True]]))
    ticks = ticks_of(np.round(kept / 24, 3))
    assert not ticks.even
    assert ticks.rate == pytest.approx(24, rel=2e-3)
    place = {int(number): at for at, number in enumerate(kept)}
    # Milliseconds make the tick known to a thousandth, so that it is a quarter beside the number at most.
    sought = np.arange(0, 120)
    assert ticks.frames(sought).tolist() == [place.get(int(number), -1) for number in sought]


def test_a_gap_of_damaged_pictures_moves_no_later_frame():
    times = np.delete(np.arange(400) / 25, slice(150, 190))
    ticks = ticks_of(times)
    assert not ticks.even and ticks.rate == pytest.approx(25)
    assert ticks.frames(np.array([149, 150, 170, 189, 190, 399])).tolist() == [149, -1, -1, -1, 150, 359]


def test_two_frames_have_a_clock():
    assert ticks_of(np.array([0.0, 0.5])).frames(np.array([0, 1, 2])).tolist() == [0, 1, -1]


# ------------------------------------------------------------------------------------------------------------ speeds


@st.composite
def measured(draw):
    """A speed, and runs of moments measured at it: half a tick off, splices between them, some simply wrong."""
    speed = draw(st.sampled_from([*RATIOS[:8], 1000 / 1001, 25 / 24 * 1.001]))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    runs = []
    for _ in range(draw(st.integers(1, 4))):
        x = np.cumsum(rng.uniform(40, 56, draw(st.integers(12, 60))))
        y = speed * x + rng.uniform(-500, 500) + rng.uniform(-0.4, 0.4, len(x))
        for at in rng.integers(0, len(x), draw(st.integers(0, 2))):
            y[at:] += rng.integers(-40, 40)
        wrong = rng.random(len(x)) < draw(st.floats(0, 0.15))
        y[wrong] += rng.uniform(-12, 12, int(wrong.sum()))
        runs.append((x, y))
    return speed, runs


@settings(max_examples=40, deadline=None)
@given(measured(), st.floats(-0.01, 0.01))
def test_a_known_ratio_is_found_exactly_over_splices_and_wrong_measurements(drawn, off):
    speed, runs = drawn
    found = fit_speed(runs, speed * (1 + off), (24.0, 24.0))
    if speed in RATIOS:
        assert found == pytest.approx(speed, rel=1e-12)
    # A thousandth beside a plain ratio is two ticks after a minute and a half, which splices and errors may hide.
    assert found == pytest.approx(speed, rel=1.01e-3)
    if sum(len(x) for x, _ in runs) > 150:
        assert found == pytest.approx(speed, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(speed=st.floats(0.7, 1.45), seed=st.integers(0, 1000))
@example(speed=18 / 25, seed=0)
def test_any_other_speed_is_free(speed, seed):
    """Within a frame over the whole run, whether the speed is near a known one or not."""
    rng = np.random.default_rng(seed)
    x = np.arange(80) * 48.0
    y = speed * x + 100 + rng.uniform(-0.3, 0.3, len(x))
    found = fit_speed([(x, y)], speed * 1.004, (24.0, 24.0))
    assert abs(found / speed - 1) * x[-1] < 2


def test_a_single_moment_leaves_the_nearest_known_speed():
    assert fit_speed([(np.array([3.0]), np.array([5.0]))], 1.0415, (24.0, 24.0)) == 25 / 24


# ------------------------------------------------------------------------------------------------------------ the chain


@st.composite
def lanes(draw):
    """One to three short lanes over at most six frames, which may overlap and share states."""
    frames = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 100_000)))
    out = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, frames - 1))
        length = draw(st.integers(1, frames - start))
        states = np.sort(rng.choice(5, draw(st.integers(1, 3)), replace=False)).astype(np.int64)
        out.append(Lane(start, states, rng.normal(0, 3, (length, len(states))).astype(np.float32)))
    return out, frames


@st.composite
def prices(draw) -> Costs:
    return Costs(draw(st.floats(0.5, 6)), draw(st.floats(0.5, 4)), draw(st.sampled_from([0.0, 0.7])), draw(st.floats(0, 3)))


def plainly(some: list[Lane], frames: int, costs: Costs) -> tuple[list[tuple[tuple[int, ...], float]], np.ndarray]:
    """Every path with its log weight, and the states: nothing else than the model's own words."""
    gain: list[dict[int, float]] = [{NOTHING: 0.0} for _ in range(frames)]
    for lane in some:
        for row, values in enumerate(lane.gain):
            for state, value in zip(lane.states.tolist(), values.tolist(), strict=True):
                here = gain[lane.start + row]
                here[state] = max(here.get(state, -np.inf), value)
    paths = []
    for states in itertools.product(*(list(here) for here in gain)):
        weight = -costs.leave if states[0] != NOTHING else 0.0
        weight += sum(gain[at][state] for at, state in enumerate(states))
        for before, after in itertools.pairwise(states):
            if NOTHING in (before, after) and before != after:
                weight -= costs.leave
            elif before != after:
                weight -= costs.change + min(costs.most, costs.again * max(0, before - after))
        paths.append((states, weight))
    return paths, np.array([weight for _, weight in paths])


def weight_of(path: list[int], paths: list[tuple[tuple[int, ...], float]]) -> float:
    return dict(paths)[tuple(path)]


@settings(max_examples=150, deadline=None)
@given(lanes(), prices())
def test_the_best_path_is_the_best_of_all_paths(drawn, costs):
    some, frames = drawn
    paths, weights = plainly(some, frames, costs)
    found = best_path(some, frames, costs).tolist()
    assert weight_of(found, paths) == pytest.approx(weights.max(), abs=1e-3)


@settings(max_examples=150, deadline=None)
@given(lanes(), prices())
def test_certainty_is_the_share_of_all_paths_through_a_state(drawn, costs):
    some, frames = drawn
    paths, weights = plainly(some, frames, costs)
    share = np.exp(weights - weights.max())
    share /= share.sum()
    path = best_path(some, frames, costs)
    expected = [sum(p for (states, _), p in zip(paths, share, strict=True) if states[at] == path[at]) for at in range(frames)]
    np.testing.assert_allclose(certainty(some, path, costs), expected, atol=2e-3)


def test_a_film_without_lanes_is_nothing_for_sure():
    assert best_path([], 4, Costs(3, 2)).tolist() == [NOTHING] * 4
    assert certainty([], np.full(4, NOTHING), Costs(3, 2)) == pytest.approx(1)


def test_between_two_equal_offsets_the_neighbours_decide():
    """Ten frames that fit both offsets alike lie between frames that fit one: it is taken throughout, and sure."""
    gain = np.full((30, 2), 2.0, np.float32)
    gain[:10, 1], gain[20:, 1] = -2, -2
    lane = [Lane(0, np.array([4, 5]), gain)]
    assert best_path(lane, 30, Costs(12, 6)).tolist() == [4] * 30
    assert certainty(lane, np.full(30, 4), Costs(12, 6))[2:].min() > 0.99
    # With the second offset right at the end, where the change lies is unknown, and said to be.
    gain[20:] = (-2, 2)
    path = best_path(lane, 30, Costs(12, 6))
    sure = certainty(lane, path, Costs(12, 6))
    assert (path[:10] == 4).all() and (path[20:] == 5).all()
    assert sure[[2, 27]].min() > 0.99 and sure[14:16].max() < 0.7


# ------------------------------------------------------------------------------------------------------------ the coarse search


def signed(grids: np.ndarray, rate: float = 24.0) -> Signature:
    return Signature(grids.astype(np.float16), np.arange(len(grids)) / rate)


def test_coarse_search_finds_stretches_to_a_quarter_of_a_second():
    film = drawn_film(5, shot_lengths(5, 2400))
    own = drawn_film(77, shot_lengths(77, 300))
    grey = np.concatenate([own[:200], film[1300:2100], own[200:], film[:1000]])
    found = search(signed(grey), signed(film), [1.0])
    assert [part.clock for part in found.stretches] == [1.0] * len(found.stretches)
    for part in found.stretches:
        expected = np.where(part.colour < 1150 / 24, part.colour + 1100 / 24, part.colour - 1100 / 24)
        assert np.median(np.abs(part.grey - expected)) < 0.25
    assert found.covered == pytest.approx(1800 / 24, abs=8)
    assert found.best > 0.9
    assert found.votes.shape[1] == 3 and found.votes.dtype == np.float32


def test_coarse_search_prefers_the_speed_that_fits():
    film = drawn_film(6, shot_lengths(6, 2000))
    found = search(signed(film, 18.0), signed(film), [1.0, 1.25, 4 / 3])
    assert found.covered > 60
    assert [part.clock for part in found.stretches] == pytest.approx([4 / 3] * len(found.stretches), rel=0.02)
    for part in found.stretches:
        assert np.median(np.abs(part.grey - part.colour * 4 / 3)) < 0.4


def test_coarse_search_believes_nothing_of_another_film():
    found = search(signed(drawn_film(8, shot_lengths(8, 1500))), signed(drawn_film(9, shot_lengths(9, 1800))), [1.0])
    assert found.covered < 8
    assert found.best < 0.85


# ------------------------------------------------------------------------------------------------------------ signatures and grids


def test_signature_is_the_mean_of_each_cell():
    pixels = np.random.default_rng(0).integers(0, 256, (3, *DECODE_SIZE), dtype=np.uint8)

    class Frame:
        def __init__(self, number: int) -> None:
            self.time, self.pixels = number / 24, pixels[number]

    found = signature((Frame(i) for i in range(3)), frames=1)
    expected = [cv2.resize(p.astype(np.float32), (32, 18), interpolation=cv2.INTER_AREA) for p in pixels]
    assert found.grids.dtype == np.float16
    # A quarter is exact in half precision.
    np.testing.assert_array_equal(found.grids, np.array(expected, np.float16))
    assert found.times.tolist() == [0, 1 / 24, 2 / 24]
    assert found.numbers.tolist() == [0, 1, 2]


def test_active_area_leaves_bars_out_but_no_dark_film():
    grids = np.random.default_rng(0).uniform(40, 200, (100, 18, 32))
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


def cropped(left: int, top: int, right: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
    """(20, 18, 32) grids of 180x320 pictures, and of the same cropped and graded."""
    rng = np.random.default_rng(0)
    pictures = [cv2.resize(rng.uniform(0, 255, (12, 20)), (320, 180), interpolation=cv2.INTER_CUBIC) for _ in range(20)]
    graded = [255 * (np.clip(p[top:bottom, left:right], 0, 255) / 255) ** 0.7 for p in pictures]
    return tuple(np.array([cv2.resize(p, (32, 18), interpolation=cv2.INTER_AREA) for p in some]) for some in (graded, pictures))


def test_window_of_a_crop_is_found_on_the_grids():
    grey, colour = cropped(16, 9, 308, 162)
    window = fit_window(grey, colour)
    assert window == pytest.approx((16 / 320, 9 / 180, 308 / 320, 162 / 180), abs=0.008)
    assert Overlay(window, (0, 0, 1, 1), (0, 0, 1, 1)).cells == 18 * 32


def test_window_is_found_although_a_third_of_the_pairs_is_wrong():
    grey, colour = cropped(16, 9, 308, 162)
    grey[::3] = np.roll(grey[::3], 1, axis=0)
    assert fit_window(grey, colour) == pytest.approx((16 / 320, 9 / 180, 308 / 320, 162 / 180), abs=0.01)


def test_overlay_leaves_out_what_only_one_print_shows():
    """A logo stands always, a subtitle half of the time, in the grey print alone; and its bars."""
    grey, colour = cropped(0, 0, 320, 180)
    grey[:, 1:3, 27:31] = 235
    grey[::2, 15:17, 8:24] = 220
    overlay = Overlay(Window(0, 0, 1, 1), (0, 0, 1, 1), (0, 0, 1, 1)).masked(grey, colour)
    assert overlay.mask.shape == (18 * 32,)
    mask = overlay.mask.reshape(18, 32)
    assert not mask[1:3, 27:31].any()
    assert mask[15:17, 8:24].mean() < 0.2
    elsewhere = np.ones((18, 32), bool)
    elsewhere[1:3, 27:31], elsewhere[15:17, 8:24] = False, False
    assert mask[elsewhere].mean() > 0.9
    assert overlay.shared(grey).shape == overlay.shared(colour=colour).shape == (20, overlay.mask.sum())
    boxed = Overlay(Window(0, 0, 1, 1), (0, 3 / 18, 1, 15 / 18), (0, 0, 1, 1))
    assert (boxed.row_slice, boxed.column_slice, boxed.cells) == (slice(3, 15), slice(0, 32), 12 * 32)


def test_an_overlay_of_prints_that_differ_everywhere_still_leaves_most_cells():
    grey, colour = cropped(0, 0, 320, 180)
    grey[:, :, 16:] = np.random.default_rng(1).uniform(0, 255, (20, 18, 16))
    overlay = Overlay(Window(0, 0, 1, 1), (0, 0, 1, 1), (0, 0, 1, 1)).masked(grey, colour)
    assert overlay.mask.mean() >= 0.74


def test_a_run_at_the_edge_of_what_was_compared_is_looked_for_further_off():
    """All of a short print was measured behind a cut: what stands before it had but one edge of those offsets to choose."""
    group, half = np.int64(2) << 40, 1 << 39
    frames, offsets = np.arange(100), np.arange(6, 55)
    states = group + half + np.where(frames < 40, 6, 30)
    further = widened((2, frames, offsets), states)
    assert further.tolist() == list(range(6 - 24, 55))
    assert widened((2, frames, further), states) is None, "no longer an edge"
    assert widened((1, frames, offsets), states) is None, "another group's"
    assert widened((2, frames, offsets), np.where(frames < 92, group + half + 30, states[0])) is None, "a few frames are chance"
    assert widened((2, frames, offsets), np.full(100, NOTHING)) is None
