"""Shots, intervals over shots, paired differences: cases by hand, every draw enumerated, scipy, and how often they cover."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kinemacolor.errors import UserError
from kinemacolor.metrics.intervals import difference, intervals, shots_of, shots_table


def frames_of(shots: dict[int, list[float]], *, split: str = "val", **more: dict[int, list[float]]) -> pd.DataFrame:
    """A table of frames from the PSNR of each, shot by shot; `more` are further metrics."""
    rows = []
    for shot, values in shots.items():
        for place, value in enumerate(values):
            row = {"source": "film", "frame": len(rows) * 24, "time": float(len(rows)), "split": split, "shot": shot}
            rows.append(row | {"psnr_rgb": value} | {name: given[shot][place] for name, given in more.items()})
    return pd.DataFrame(rows)


def drawn_frames(shots: int, *, seed: int, between: float = 3.0, within: float = 0.3, frames: int = 8) -> pd.DataFrame:
    """Frames that are alike within a shot, about 25."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(25, between, shots)
    return frames_of({shot: rng.normal(levels[shot], within, frames).tolist() for shot in range(shots)})


# ---------------------------------------------------------------------------------------------------- shots


def test_shots_are_parted_by_cuts_sources_clips_and_parts() -> None:
    rows = pd.DataFrame(
        [
            ("a", 0, "train", True), ("a", 24, "train", False), ("a", 48, "train", True), ("a", 72, "val", False),
            ("a", 96, "val", False), ("b", 0, "val", True), ("b", 24, "val", False),
        ],
        columns=["source", "frame", "split", "cut"],
    )  # fmt: skip
    assert shots_of(rows).tolist() == [0, 0, 1, 2, 2, 3, 3]
    clips = rows.assign(clip=["x", "y", "y", "y", "y", "", ""])
    assert shots_of(clips).tolist() == [0, 1, 2, 3, 3, 4, 4]
    # However rows stand, a frame's shot is the same.
    order = [3, 1, 0, 4, 2, 6, 5]
    assert shots_of(rows.iloc[order]).tolist() == [2, 0, 0, 2, 1, 3, 3]


def test_every_photograph_is_a_shot() -> None:
    rows = pd.DataFrame({"source": "album", "frame": range(5), "split": "val", "cut": True})
    assert shots_of(rows).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"no column `cut`.*run the filter stage again"):
        shots_of(rows.drop(columns="cut"))


def test_a_row_a_shot_holds_the_means_of_its_frames() -> None:
    frames = frames_of({4: [20.0, 22.0], 7: [30.0]}, ssim={4: [0.5, 0.7], 7: [0.9]})
    frames = pd.concat([frames.assign(width=64, remark="x"), frames_of({9: [10.0]}, split="train", ssim={9: [0.1]})])
    motion = pd.DataFrame(
        {"shot": [4, 7, 4, 99], "cdc": [0.1, 0.2, 0.3, 9], "flicker_ab": [1.0, 5.0, 3.0, 9], "still": [30, 10, 10, 9]}
    ).assign(motion_frames=16)
    table = shots_table(frames, motion)
    assert list(table.columns) == [
        "split", "shot", "source", "first", "frames", "psnr_rgb", "ssim", "cdc", "flicker_ab", "still", "motion_frames"
    ]  # fmt: skip
    assert table["split"].tolist() == ["val", "val", "train"] and table["shot"].tolist() == [4, 7, 9]
    assert table["first"].tolist() == [0, 48, 0] and table["frames"].tolist() == [2, 1, 1]
    assert table["psnr_rgb"].tolist() == [21, 30, 10] and table["ssim"].tolist() == pytest.approx([0.6, 0.9, 0.1])
    assert table["cdc"].tolist()[:2] == pytest.approx([0.2, 0.2]) and np.isnan(table["cdc"].iloc[2])
    assert table["flicker_ab"].iloc[0] == pytest.approx((30 * 1 + 10 * 3) / 40) and table["still"].iloc[0] == 40
    assert "cdc" not in shots_table(frames) and "cdc" not in shots_table(frames, motion.iloc[:0])


# ------------------------------------------------------------------------------------------------ intervals


def test_an_interval_is_that_of_all_draws_there_are() -> None:
    """Of two of three shots there are nine draws: their weighted means, enumerated, have the quantiles that drawing finds.

    They are widened as Student's t is, of so many shots as would count alike.
    """
    shots = shots_table(frames_of({0: [10.0] * 5, 1: [14.0] * 2, 2: [30.0]}))
    means, weights = np.array([10.0, 14.0, 30.0]), np.array([5.0, 2.0, 1.0])
    draws = [list(draw) for draw in itertools.product(range(3), repeat=2)]
    every = [(means[draw] * weights[draw]).sum() / weights[draw].sum() for draw in draws]
    low, high = intervals(shots, draws=40_000, level=0.8)["val"]["psnr_rgb"]
    figure, alike = np.average(means, weights=weights), weights.sum() ** 2 / (weights**2).sum()
    expected = (
        figure + (np.quantile(np.repeat(every, 1000), [0.1, 0.9]) - figure) * stats.t.ppf(0.9, alike - 1) / 1.2815515655446004
    )
    assert [low, high] == pytest.approx(expected, abs=1e-9)


def test_an_interval_of_shots_of_one_length_is_that_of_scipy() -> None:
    frames = drawn_frames(40, seed=1)
    means = frames.groupby("shot")["psnr_rgb"].mean().to_numpy()
    theirs = stats.bootstrap((means,), np.mean, n_resamples=20_000, method="percentile", random_state=0).confidence_interval
    ours = intervals(shots_table(frames), draws=20_000)["val"]["psnr_rgb"]
    # Theirs draws as many shots as there are and trusts their spread, and so is a little narrower.
    wider = np.sqrt(40 / 39) * stats.t.ppf(0.975, 39) / stats.norm.ppf(0.975)
    wider = (np.array([theirs.low, theirs.high]) - means.mean()) * wider + means.mean()
    assert ours == pytest.approx(wider, abs=0.05)


def test_an_interval_over_shots_covers_the_mean_and_one_over_frames_does_not() -> None:
    hits = {"shots": 0, "frames": 0}
    for seed in range(50):
        frames = drawn_frames(25, seed=seed)
        for unit in hits:
            table = frames if unit == "shots" else frames.assign(shot=range(len(frames)))
            low, high = intervals(shots_table(table), draws=200)["val"]["psnr_rgb"]
            hits[unit] += low <= 25 <= high
    assert 0.85 <= hits["shots"] / 50 <= 0.99 and hits["frames"] / 50 < 0.7


@pytest.mark.parametrize("shots", [3, 6])
def test_intervals_of_few_shots_cover_what_they_say(shots: int) -> None:
    """Of 120 films; what is drawn covers 76 % of them for three shots and 89 % for six, before it is widened."""
    hits = 0
    for seed in range(120):
        low, high = intervals(shots_table(drawn_frames(shots, seed=seed, frames=2)), draws=300)["val"]["psnr_rgb"]
        hits += low <= 25 <= high
    assert hits / 120 >= 0.9


@pytest.mark.parametrize("shots", [3, 6])
def test_equal_models_are_seldom_called_different(shots: int) -> None:
    """Of 120 pairs that differ by chance; before intervals are widened it is 29 % for three shots and 13 % for six."""
    false = 0
    for seed in range(120):
        first, more = drawn_frames(shots, seed=seed, frames=2), np.random.default_rng(1000 + seed).normal(0, 1, shots)
        found = difference(first, first.assign(psnr_rgb=first["psnr_rgb"] + more[first["shot"]]), "psnr_rgb", "val", draws=300)
        false += found.low > 0 or found.high < 0
    assert false / 120 <= 0.1


def test_two_shots_have_no_interval() -> None:
    frames = drawn_frames(2, seed=0)
    assert intervals(shots_table(frames)) == {}
    assert difference(frames, frames.assign(psnr_rgb=0.0), "psnr_rgb", "val") is None


def test_no_interval_leaves_what_a_figure_can_be() -> None:
    frames = frames_of({shot: [99.0 + shot % 2] for shot in range(4)}).assign(ssim=[0.2, 0.99, 1, 1], cf=[0.0, 0, 0, 9])
    found = intervals(shots_table(frames.assign(**{"mse_ab@128": [0.0, 0, 0, 0.1]})))["val"]
    assert found["psnr_rgb"][1] == 100 and found["ssim"][1] == 1 and found["cf"][0] == found["mse_ab@128"][0] == 0
    frames = frames_of({shot: [20.0] for shot in range(4)})
    below = intervals(shots_table(frames, pd.DataFrame({"shot": range(4), "cdc_excess": [-0.1, -0.2, -0.3, 0.1]})))["val"]
    assert below["cdc_excess"][0] < -0.2, "colours may be steadier than the truth"


def test_the_size_of_a_difference_of_two_means_may_be_nought() -> None:
    """Colourfulness 3 above and below the truth's in turn: the means agree, and the interval of their difference says so."""
    shots = {shot: [25.0] for shot in range(12)}
    frames = frames_of(shots, cf={shot: [40 + 3 * (-1) ** shot] for shot in shots}, cf_truth={shot: [39.995] for shot in shots})
    frames = frames.assign(dcf=(frames["cf"] - frames["cf_truth"]).abs())
    found = intervals(shots_table(frames))["val"]
    low, high = found["dcf"]
    assert low == 0 and 1 < high < 3 and abs(frames["cf"].mean() - frames["cf_truth"].mean()) < high
    assert found["dcf_mean_abs"] == pytest.approx([3, 3], abs=0.02)
    # Below the truth, or above it: the size is the same.
    off = [
        intervals(shots_table(frames.assign(cf=frames["cf_truth"] + way * (9 + frames["cf"] - 40))))["val"]["dcf"]
        for way in (1, -1)
    ]
    assert off[0] == pytest.approx(off[1]) and 6 < off[0][0] < 9 < off[0][1] < 12


def test_figures_over_pixels_are_drawn_by_pixels_where_sizes_differ() -> None:
    """Nine small pictures and a large one: what is pooled by pixels has an interval that holds it."""
    frames = frames_of({shot: [20.0] for shot in range(10)}).assign(**{"mse_ab@128": [*np.linspace(0.0002, 0.0009, 9), 0.1]})
    sized = frames.assign(pixels=[576] * 9 + [65536])
    table = shots_table(sized)
    assert table["pixels"].tolist() == [576] * 9 + [65536]
    found = intervals(table)["val"]
    pooled = np.average(sized["mse_ab@128"], weights=sized["pixels"])
    low, high = found["mse_ab@128"]
    assert low <= pooled <= high and found["psnr_rgb"] == pytest.approx([20, 20])
    other = sized.assign(**{"mse_ab@128": sized["mse_ab@128"] + [*[0.01] * 9, 0.0]})
    assert difference(other, sized, "mse_ab@128", "val").mean == pytest.approx(0.01 * 9 * 576 / (9 * 576 + 65536))
    mixed = shots_table(sized.assign(shot=[0] * 5 + [1] * 5))
    expected = np.average(sized["mse_ab@128"][5:], weights=sized["pixels"][5:])
    assert mixed["mse_ab@128"].iloc[1] == pytest.approx(expected) and mixed["pixels"].iloc[1] == pytest.approx(
        (4 * 576 + 65536) / 5
    )
    # Equal sizes change nothing, not by a bit.
    means = drawn_frames(9, seed=2, frames=7).rename(columns={"psnr_rgb": "de2000"})
    assert intervals(shots_table(means.assign(pixels=4095))) == intervals(shots_table(means))


def test_what_is_no_mean_over_frames_has_no_interval_and_dcf_is_of_two_means() -> None:
    frames = drawn_frames(12, seed=3)
    rng = np.random.default_rng(0)
    frames["cf"], frames["cf_truth"] = rng.normal(40, 5, len(frames)), rng.normal(60, 5, len(frames))
    frames["dcf"] = (frames["cf"] - frames["cf_truth"]).abs()
    frames["de2000_p95"], frames["auc_rebal"] = 20.0, 0.8
    found = intervals(shots_table(frames))["val"]
    assert list(found) == ["cf", "cf_truth", "dcf", "dcf_mean_abs", "psnr_rgb"]
    low, high = found["dcf"]
    pooled = abs(frames["cf"].mean() - frames["cf_truth"].mean())
    assert low < pooled < high and found["dcf_mean_abs"][0] < frames["dcf"].mean() < found["dcf_mean_abs"][1]
    assert low == pytest.approx(20, abs=3)


def test_motion_has_intervals_over_the_shots_that_have_it() -> None:
    frames = pd.concat([drawn_frames(10, seed=0), drawn_frames(3, seed=1).assign(split="test", shot=lambda t: t["shot"] + 10)])
    motion = pd.DataFrame({"shot": [1, 4, 6, 8, 11], "cdc": [0.1, 0.2, 0.6, 0.2, 0.3], "cdc_truth": 0.1, "motion_frames": 16})
    motion["flicker_ab"], motion["still"] = [1.0, 2.0, 90.0, 3.0, 3.0], [100, 100, 0, 100, 100]
    found = intervals(shots_table(frames, motion), draws=5000)
    low, high = found["val"]["cdc"]
    assert low < 0.2 < 0.275 < 0.5 < high
    assert found["val"]["cdc_truth"] == pytest.approx([0.1, 0.1], abs=1e-12)
    wider = stats.t.ppf(0.975, 2) / stats.norm.ppf(0.975)
    expected = [max(0, 2 - wider), 2 + wider]
    assert found["val"]["flicker_ab"] == pytest.approx(expected, abs=1e-9), "a shot without a still pixel has no say"
    two = shots_table(frames, motion.assign(still=[100, 100, 0, 0, 100]))
    assert "flicker_ab" not in intervals(two)["val"] and "cdc" in intervals(two)["val"]
    assert set(found["test"]) == {"psnr_rgb"}, "a single shot says nothing of others"


def test_splits_and_figures_do_not_disturb_each_other() -> None:
    val, test = drawn_frames(9, seed=5), drawn_frames(11, seed=6).assign(split="test", shot=lambda t: t["shot"] + 20)
    both = intervals(shots_table(pd.concat([val, test])))
    assert both["val"] == intervals(shots_table(val))["val"] and both["test"] == intervals(shots_table(test))["test"]
    assert intervals(shots_table(val.assign(ssim=0.5)))["val"]["psnr_rgb"] == both["val"]["psnr_rgb"]
    assert intervals(shots_table(val), seed=1)["val"] != both["val"]
    assert intervals(shots_table(frames_of({0: [20.0, 21.0]}))) == {}


@given(st.integers(0, 2**32 - 1), st.integers(3, 30))
@settings(max_examples=25, deadline=None)
def test_an_interval_holds_its_figure_and_grows_with_its_level(seed: int, count: int) -> None:
    shots = shots_table(drawn_frames(count, seed=seed, frames=2))
    narrow, wide = (intervals(shots, draws=200, level=level)["val"]["psnr_rgb"] for level in (0.5, 0.95))
    assert wide[0] <= narrow[0] <= np.average(shots["psnr_rgb"]) + 1e-9 and narrow[1] <= wide[1]
    assert narrow[1] >= np.average(shots["psnr_rgb"]) - 1e-9


# ---------------------------------------------------------------------------------------------- differences


def test_a_difference_is_paired_and_so_far_surer_than_two_intervals() -> None:
    first = drawn_frames(20, seed=0)
    rng = np.random.default_rng(1)
    second = first.assign(psnr_rgb=first["psnr_rgb"] - 0.5 + rng.normal(0, 0.2, len(first)))
    found = difference(first, second.sample(frac=1, random_state=0), "psnr_rgb", "val")
    assert found.shots == 20 and found.mean == pytest.approx((first["psnr_rgb"] - second["psnr_rgb"]).mean(), abs=1e-12)
    assert 0.4 < found.low < found.mean < found.high < 0.6
    alone = intervals(shots_table(first))["val"]["psnr_rgb"]
    assert found.high - found.low < 0.2 * (alone[1] - alone[0])
    back = difference(second, first, "psnr_rgb", "val")
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low), abs=1e-9)
    same = difference(first, first, "psnr_rgb", "val")
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_a_difference_is_of_the_frames_that_both_have() -> None:
    first = frames_of({0: [10.0, 20.0], 1: [30.0], 2: [40.0], 3: [50.0]})
    second = first.assign(psnr_rgb=first["psnr_rgb"] + [1, 3, 5, 7, float("nan")])
    found = difference(first, second, "psnr_rgb", "val")
    assert found.shots == 3 and found.mean == pytest.approx(-4)
    assert difference(first, second.iloc[:3], "psnr_rgb", "val") is None, "two shots"
    assert difference(first, second, "psnr_rgb", "test") is None
    assert difference(first, second, "lpips", "val") is None
    assert difference(first, second.assign(source="other"), "psnr_rgb", "val") is None


def test_differences_of_motion_come_from_tables_of_shots() -> None:
    frames = drawn_frames(6, seed=0)
    motion = pd.DataFrame({"shot": [0, 2, 3, 5], "cdc": 0.1, "flicker_ab": [1.0, 2.0, 2.0, 3.0], "still": [10, 20, 10, 0]})
    first = shots_table(frames, motion)
    second = shots_table(frames, motion.assign(cdc=[0.2, 0.1, 0.1, 0.1], flicker_ab=[2.0, 4.0, 4.0, 9.0]))
    cdc, flicker = (difference(first, second, name, "val") for name in ("cdc", "flicker_ab"))
    assert cdc.mean == pytest.approx(-0.1 / 4) and cdc.shots == 4
    assert flicker.mean == pytest.approx(-(10 * 1 + 30 * 2) / 40) and flicker.shots == 3
    assert difference(first, second, "psnr_rgb", "val").mean == 0


def test_colourfulness_off_in_single_frames_has_a_difference_and_that_of_the_means_has_none() -> None:
    """The first is off by 5 in every frame and right on the whole, the second by 3 and always to one side."""
    first = frames_of({shot: [1.0] for shot in range(4)}).assign(dcf=5.0, de2000_p50=1.0, de2000_p95=9.0)
    second = first.assign(dcf=3.0)
    assert difference(first, second, "dcf_mean_abs", "val").mean == pytest.approx(2)
    for table in (lambda frames: frames, shots_table):
        for name in ("dcf", "de2000_p50", "de2000_p95", "frames"):
            assert difference(table(first), table(second), name, "val") is None
