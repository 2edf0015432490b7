"""Evaluation of made frames by painters whose errors are known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from skimage import color, metrics
from torch import Tensor

from kinemacolor.colour import lab_to_rgb, lightness_of_grey, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.evaluation.measuring import Tools
from kinemacolor.evaluation.moving import evaluate_stretches
from kinemacolor.evaluation.painters import Network, Recorded
from kinemacolor.evaluation.showing import KINDS, extremes, spread
from kinemacolor.evaluation.splits import evaluate_frames
from kinemacolor.files import write_json
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.frames.stretches import TABLE, open_stretches
from kinemacolor.metrics.names import metric
from kinemacolor.models import encoders
from kinemacolor.params import EvaluateParams
from kinemacolor.stages.evaluate import Inputs, epochs_table, evaluate_external, evaluate_model

SIZE = (20, 24)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is logged into whatever store lies in the working directory."""
    monkeypatch.chdir(tmp_path)


class Grey:
    """Leaves the picture grey, and remembers how much it was given at once."""

    name = "grey_model"
    device = torch.device("cpu")
    remembers = False

    def __init__(self) -> None:
        self.given: list[Tensor] = []

    def __call__(self, lightness: Tensor) -> Tensor:
        self.given.append(lightness)
        return torch.cat((lightness, torch.zeros_like(lightness), torch.zeros_like(lightness)), dim=1)


class Counting(Grey):
    """Its a is the number of frames since it last forgot."""

    name = "counting"
    remembers = True
    seen = 0

    def reset(self) -> None:
        self.seen = 0

    def __call__(self, lightness: Tensor, starts: Tensor) -> Tensor:
        lab = super().__call__(lightness)
        for picture, begins in zip(lab, starts.tolist(), strict=True):
            self.seen = 1 if begins else self.seen + 1
            picture[1] = self.seen
        return lab


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth coloured pictures (count,3,H,W), each another one."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 5, 6, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(picture).resize(SIZE[::-1], Image.Resampling.BICUBIC)) for picture in small]
    return np.ascontiguousarray(np.stack(large).transpose(0, 3, 1, 2))


def store_of(folder: Path, source: str, colour: np.ndarray, grey: np.ndarray | None = None, *, every: int = 24) -> FrameStore:
    folder.mkdir(parents=True)
    shapes = {"colour": (3, *colour.shape[2:])} | ({"grey": (1, *colour.shape[2:])} if grey is not None else {})
    facts = {"every": every, "size": list(colour.shape[2:]), "fit": "crop"}
    writer = ShardWriter(folder, source=source, shapes=shapes, shard_bytes=4 * 2**10, facts=facts)
    for index, picture in enumerate(colour):
        both = {"colour": picture} | ({"grey": grey[index]} if grey is not None else {})
        writer.add(both, frame=every * index, time=every * index / 24)
    writer.close()
    return FrameStore(folder)


def table_of(source: str, splits: str, dropped: tuple[int, ...] = (), cuts: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """A filter table from letters: t(rain), v(al), x (test), . (in a guard gap, so absent)."""
    names = {"t": "train", "v": "val", "x": "test"}
    rows = [
        (source, 24 * index, names[letter], index not in dropped, index in cuts)
        for index, letter in enumerate(splits)
        if letter != "."
    ]
    return pd.DataFrame(rows, columns=["source", "frame", "split", "keep", "cut"]).assign(reason="", mean_chroma=20.0)


def stretch_folder(folder: Path, source: str, colour: np.ndarray, rows: list[tuple[str, int, int]]) -> Path:
    """A folder as `motion` writes it: stretches one after the other, each (split, its first frame, frames)."""
    folder.mkdir(parents=True)
    facts = {"every": 1, "size": list(colour.shape[2:]), "fit": "crop"}
    writer = ShardWriter(folder, source=source, shapes={"colour": colour.shape[1:]}, shard_bytes=2**20, facts=facts)
    table, at = [], 0
    for number, (split, frame, count) in enumerate(rows):
        for index in range(count):
            writer.add({"colour": colour[at + index]}, frame=frame + index, time=(frame + index) / 24)
        table.append((number, source, split, frame, frame + count - 1, at, count))
        at += count
    writer.close()
    pd.DataFrame(table, columns=["stretch", "source", "split", "frame", "last", "row", "rows"]).to_parquet(folder / TABLE)
    return folder


def test_figures_of_a_split_are_those_of_its_kept_frames(tmp_path: Path) -> None:
    colour = pictures(12, 0)
    store = store_of(tmp_path / "a", "a", colour)
    found = evaluate_frames(Network(Grey()), [store], table_of("a", "ttttt..vvxxx", dropped=(1, 10)), samples=2)

    assert list(found.metrics) == ["train", "val", "test"]
    kept = {"train": [0, 2, 3, 4], "val": [7, 8], "test": [9, 11]}
    for split, indices in kept.items():
        lab = color.rgb2lab(colour[indices].transpose(0, 2, 3, 1))
        assert found.metrics[split]["frames"] == len(indices)
        assert found.metrics[split]["mse_ab@128"] == pytest.approx((lab[..., 1:] ** 2).mean() / 128**2, rel=1e-5)
        assert (found.metrics[split]["height"], found.metrics[split]["width"]) == SIZE
        assert found.frames.loc[found.frames["split"] == split, "frame"].tolist() == [24 * index for index in indices]

    row = found.frames[found.frames["frame"] == 7 * 24].iloc[0]
    lab = color.rgb2lab(colour[7].transpose(1, 2, 0))
    grey = np.round(color.lab2rgb(lab * [1, 0, 0]) * 255).astype(np.uint8)
    assert row["time"] == 7.0 and row["source"] == "a"
    assert row["de2000"] == pytest.approx(color.deltaE_ciede2000(lab, lab * [1, 0, 0]).mean(), rel=1e-4)
    assert row["psnr_rgb"] == pytest.approx(metrics.peak_signal_noise_ratio(colour[7].transpose(1, 2, 0), grey), abs=0.01)
    figures = found.frames.columns[5:]
    assert list(found.frames.columns[:5]) == ["source", "frame", "time", "split", "shot"]
    assert np.isfinite(row[figures].to_numpy(float)).all() and (found.frames[figures].dtypes == "float64").all()
    for split in found.metrics.values():
        assert all(metric(name) for name in split), "every figure has an explanation"


def test_shots_run_over_the_dataset_and_begin_at_frames_that_are_dropped_too(tmp_path: Path) -> None:
    stores = [store_of(tmp_path / name, name, pictures(6, 1)) for name in "ab"]
    table = pd.concat([table_of("a", "tttvvv", dropped=(1,), cuts=(0, 1, 5)), table_of("b", "vvvttt")])
    found = evaluate_frames(Network(Grey()), stores, table)
    shots = found.frames.set_index(["source", "frame"])["shot"]
    assert shots["a"].sort_index().tolist() == [0, 1, 2, 2, 3] and shots["b"].sort_index().tolist() == [4, 4, 4, 5, 5, 5]


def test_a_pair_is_given_the_grey_print_and_judged_by_the_colour_print(tmp_path: Path) -> None:
    colour = pictures(3, 1)
    grey = np.random.default_rng(2).integers(0, 256, (3, 1, *SIZE), dtype=np.uint8)
    model = Grey()
    found = evaluate_frames(Network(model), [store_of(tmp_path / "a", "a", colour, grey)], table_of("a", "vvv"))
    assert torch.equal(model.given[0], lightness_of_grey(torch.from_numpy(grey)))
    ab = rgb_to_lab(torch.from_numpy(colour))[:, 1:].double()
    assert found.metrics["val"]["mse_ab@128"] == pytest.approx(ab.square().mean().item() / 128**2, rel=1e-9)
    # On the sheet the grey print itself stands beside the model and the truth.
    headings, shown = zip(*found.samples["val"][1].pictures, strict=True)
    assert headings == ("grey", "grey_model", "true")
    assert np.array_equal(shown[0], np.repeat(grey[1].transpose(1, 2, 0), 3, axis=2))
    assert np.array_equal(shown[2], colour[1].transpose(1, 2, 0))


def test_several_sources_are_joined_by_their_names_whatever_their_order(tmp_path: Path) -> None:
    first, second = store_of(tmp_path / "a", "a", pictures(3, 3)), store_of(tmp_path / "b", "b", pictures(4, 4))
    table = pd.concat([table_of("b", "tvvt"), table_of("a", "vtt")])
    one = evaluate_frames(Network(Grey()), [first, second], table)
    other = evaluate_frames(Network(Grey()), [second, first], table.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(one.frames, other.frames)
    assert one.metrics == other.metrics and "test" not in one.metrics
    assert one.frames[["source", "frame"]].values.tolist()[:2] == [["a", 24], ["a", 48]]


def test_batches_stay_small(tmp_path: Path) -> None:
    model = Grey()
    evaluate_frames(Network(model), [store_of(tmp_path / "a", "a", pictures(150, 5))], table_of("a", "t" * 150))
    assert [len(batch) for batch in model.given] == [64, 64, 22]


def test_networks_measure_where_they_were_given(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = encoders.frozen(encoders.build("alexnet"))
    tools = Tools(
        lpips=lambda one, other: (one.float() - other.float()).abs().mean(dim=(1, 2, 3)).double(),
        encoder=encoder,
        backbone="made",
    )
    colour = pictures(8, 5)
    store = store_of(tmp_path / "a", "a", colour)
    found = evaluate_frames(Network(Grey()), [store], table_of("a", "ttttvvvx"), tools=tools)
    assert found.frames["lpips"].gt(0).all()
    for split in ("train", "val", "test"):
        mean = found.frames.loc[found.frames["split"] == split, "lpips"].mean()
        assert found.metrics[split]["lpips"] == pytest.approx(mean, rel=1e-12)
    assert found.metrics["val"]["fd_made"] > 0 and {"fd_made", "kid_made"} <= found.metrics["val"].keys()
    assert "fd_made" not in found.metrics["train"], "what was trained on says least and costs most"
    assert "kid_made" not in found.metrics["test"], "of one frame nothing varies"
    same = evaluate_frames(Recorded("same", {"a": store}), [store], table_of("a", "ttttvvvx"), tools=tools)
    assert same.metrics["val"]["fd_made"] == pytest.approx(0, abs=1e-6) and same.metrics["val"]["lpips"] == 0


# ------------------------------------------------------------------------------------------------------ sheets


def test_samples_are_spread_evenly(tmp_path: Path) -> None:
    assert spread(12, 3) == [2, 6, 10] and spread(2, 12) == [0, 1] and spread(100, 1) == [50]
    found = evaluate_frames(Network(Grey()), [store_of(tmp_path / "a", "a", pictures(12, 6))], table_of("a", "v" * 12), samples=3)
    assert [row.caption.split()[1] for row in found.samples["val"]] == ["0:00:02", "0:00:06", "0:00:10"]
    assert all("ΔE" in row.notes["grey_model"] and "dB" in row.notes["grey_model"] for row in found.samples["val"])


def test_best_typical_and_worst_are_of_different_shots() -> None:
    error = np.array([5.0, 9, 8, 1, 2, 5, 5.1, 0, 5])
    found, rule = extremes(error, np.array([0, 1, 1, 2, 2, 3, 4, 5, 6]), 2)
    # 9 and 8 are of one shot, as 1 and 2 are: the next ones come from elsewhere.
    assert {kind: [place for place, of in found.items() if of == kind] for kind in KINDS} == {
        "best": [7, 3],
        "typical": [0, 5],
        "worst": [1, 6],
    }
    assert rule == "no two of one shot"
    near, rule = extremes(np.arange(24.0), np.zeros(24, int), 2)
    assert list(near) == [0, 2, 11, 13, 23, 21] and rule == "no two within 2 frames of each other"
    assert extremes(np.array([2.0, 1]), np.array([0, 1]), 3) == ({1: "best", 0: "worst"}, "no two of one shot")
    assert extremes(np.array([2.0]), np.array([0]), 3) == ({0: "typical"}, "no two of one shot")
    few, rule = extremes(np.array([3.0, 2, 1]), np.zeros(3), 3)
    assert few == {2: "best", 1: "typical", 0: "worst"} and rule == "too few to stand apart"


@given(
    st.lists(st.tuples(st.floats(0, 100), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 4),
)
def test_no_two_shown_frames_are_neighbours(drawn: list[tuple[float, bool]], wanted: int) -> None:
    error, shots = np.array([value for value, _ in drawn]), np.cumsum([begins for _, begins in drawn])
    found, rule = extremes(error, shots, wanted)
    counts = [list(found.values()).count(kind) for kind in dict.fromkeys(found.values())]
    assert len(set(counts)) == 1 and 1 <= counts[0] <= wanted
    assert list(found.values()) == sorted(found.values(), key=KINDS.index)
    if "shot" in rule:
        assert len({shots[place] for place in found}) == len(found)
    elif "within" in rule:
        assert np.diff(sorted(found)).min() >= 2
    else:
        assert len(error) < 7
    if "worst" in found.values():
        assert error[next(place for place, kind in found.items() if kind == "worst")] == error.max()


def test_a_painter_with_a_memory_shows_what_was_measured(tmp_path: Path) -> None:
    """It counts the frames of a run; sheets are painted when all is measured, and show the same counts."""
    colour = pictures(40, 7)
    store = store_of(tmp_path / "a", "a", colour)
    cuts = (0, 4, 5, 13, 21, 30, 33, 36, 38)
    table = table_of("a", "v" * 40, dropped=(9, 18), cuts=cuts)
    found = evaluate_frames(Network(Counting()), [store], table, samples=9)
    counted, count = {}, 0
    for index in range(40):
        count = 0 if index in cuts or index in (9, 18) else count
        if index not in (9, 18):
            count += 1
            counted[24 * index] = count
    rows = found.samples["val"] + found.extremes["val"].rows
    assert len(rows) == 18
    for row in rows:
        frame = int(row.caption.split("(frame ")[1].rstrip(")"))
        lab = rgb_to_lab(torch.from_numpy(colour[frame // 24 : frame // 24 + 1]))
        lab[:, 1], lab[:, 2] = counted[frame], 0
        assert np.array_equal(row.pictures[1][1], to_uint8(lab_to_rgb(lab))[0].permute(1, 2, 0).numpy()), row.caption
    kinds = [row.caption.split()[0] for row in found.extremes["val"].rows]
    assert kinds == ["best"] * 3 + ["typical"] * 3 + ["worst"] * 3


def test_epochs_that_were_not_reached_are_absent() -> None:
    curves = [{"epoch": epoch, "train_loss": 1 / epoch, "val_mse_ab@128": 2 / epoch, "lr": 0.1} for epoch in range(1, 13)]
    assert epochs_table(curves, [10, 25]) == {"10": {"train_loss": 0.1, "val_mse_ab@128": 0.2}}


# ------------------------------------------------------------------------------------------------------ motion


def test_a_stretch_is_painted_from_its_first_frame_on_and_counts_for_its_shot(tmp_path: Path) -> None:
    colour = np.repeat(pictures(1, 8), 72, axis=0)
    folder = stretch_folder(tmp_path / "motion", "a", colour, [("val", 24, 66), ("test", 120, 6)])
    frames = pd.DataFrame({"source": "a", "frame": [24, 48, 120], "shot": [3, 4, 7]})
    metrics_, rows = evaluate_stretches(Network(Counting()), open_stretches([folder]), frames)
    # One more a in each frame of a still picture, also where a batch ends.
    assert metrics_["val"]["flicker_ab"] == pytest.approx(1) and metrics_["val"]["flicker_ab_truth"] == 0
    assert metrics_["val"]["motion_frames"] == 66 and metrics_["test"]["motion_frames"] == 6
    assert rows["shot"].tolist() == [3, 7]
    still, _ = evaluate_stretches(Network(Grey()), open_stretches([folder]), frames)
    assert still["val"]["flicker_ab"] == 0 and still["val"]["warp_err_ab"] == 0
    assert evaluate_stretches(Network(Grey()), [], frames) == ({}, None)
    with pytest.raises(UserError, match="Frame 120 of a, where a stretch begins, is not among those that the filter keeps"):
        evaluate_stretches(Network(Grey()), open_stretches([folder]), frames.iloc[:2])


# ---------------------------------------------------------------------------------------- the stage as a whole


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Inputs]:
    """A naive model, a store, stretches and a filter table without test frames."""
    model = tmp_path / "models" / "naive"
    model.mkdir(parents=True)
    write_json(model / "meta.json", {"name": "naive", "params": {"model": {"family": "naive", "options": {}}}})
    write_json(model / "curves.json", [{"epoch": epoch, "train_loss": 0.5, "val_mse_ab@128": 0.1} for epoch in range(1, 11)])
    save_file({}, model / "weights.safetensors")
    store_of(tmp_path / "frames" / "a", "a", pictures(10, 7))
    stretch_folder(tmp_path / "motion", "a", np.repeat(pictures(1, 9), 12, axis=0), [("val", 96, 6), ("val", 168, 6)])
    table_of("a", "ttttvvvvvv", cuts=(0, 5, 7)).to_parquet(tmp_path / "film.parquet", index=False)
    return model, Inputs([tmp_path / "frames" / "a"], tmp_path / "film.parquet", [tmp_path / "motion"])


PARAMS = EvaluateParams(epochs=[10, 25], samples=3, draws=100)
WRITTEN = [
    "epochs.json",
    "extremes_val.png",
    "frames.parquet",
    "intervals.json",
    "metrics.json",
    "sheet_val.png",
    "shots.parquet",
]


def test_the_stage_writes_its_part_of_the_report(tmp_path: Path, trained: tuple[Path, Inputs]) -> None:
    model, inputs = trained
    out = tmp_path / "report"
    out.mkdir()
    (out / "poster.png").write_bytes(b"another stage's")
    for stale in ("sheet_test.png", "extremes_test.png"):
        (out / stale).write_bytes(b"of an earlier run with test frames")
    found = evaluate_model(model, inputs, params=PARAMS, out=out)

    assert sorted(path.name for path in out.iterdir()) == sorted([*WRITTEN, "poster.png"])
    assert json.loads((out / "metrics.json").read_text()) == found
    assert set(found) == {"train", "val"} and found["val"]["frames"] == 6 and found["val"]["motion_frames"] == 12
    assert json.loads((out / "epochs.json").read_text()) == {"10": {"train_loss": 0.5, "val_mse_ab@128": 0.1}}
    rows = pd.read_parquet(out / "frames.parquet")
    assert rows["frame"].tolist() == [24 * index for index in range(10)]
    assert rows.loc[rows["split"] == "val", "psnr_rgb"].mean() == pytest.approx(found["val"]["psnr_rgb"])
    shots = pd.read_parquet(out / "shots.parquet")
    val = shots[shots["split"] == "val"]
    assert val["frames"].tolist() == [1, 2, 3] and val["first"].tolist() == [96, 120, 168]
    assert val["cdc"].notna().tolist() == [True, False, True], "the second shot has no stretch"
    bounds = json.loads((out / "intervals.json").read_text())
    assert "train" not in bounds, "one shot has no interval"
    assert "warp_err_ab" in found["val"] and "warp_err_ab" not in bounds["val"], "nor have two"
    for name in ("psnr_rgb", "mse_ab@128", "de2000"):
        assert bounds["val"][name][0] <= found["val"][name] <= bounds["val"][name][1]
    assert Image.open(out / "sheet_val.png").size[1] > 160 and Image.open(out / "extremes_val.png").size[1] > 160

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    evaluate_model(model, inputs, params=PARAMS, out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_another_program_coloured_is_evaluated_into_the_same_files(tmp_path: Path, trained: tuple[Path, Inputs]) -> None:
    _, inputs = trained
    result, out = tmp_path / "other", tmp_path / "report"
    frames, moving = FrameStore(inputs.frames[0]), open_stretches(inputs.motion)[0].store
    store_of(result / "frames", "a", 255 - frames.colour(range(10)))
    folder = result / "motion"
    folder.mkdir()
    writer = ShardWriter(folder, source="a", shapes={"colour": (3, *SIZE)}, shard_bytes=2**20, facts=dict(moving.facts))
    for row in range(12):
        writer.add({"colour": moving.colour([row])[0]}, frame=int(moving.table["frame"][row]), time=0.0)
    writer.close()
    indexes = {"frames": frames.sha256, "motion": moving.sha256}
    about = {"name": "other", "source": "a", "licence": "MIT", "credit": "They", "sha256": "0" * 64, "indexes": indexes}
    write_json(result / "external.json", about)
    found = evaluate_external(result, inputs, params=PARAMS, out=out)
    assert sorted(path.name for path in out.iterdir()) == sorted([*WRITTEN, "external.json"])
    assert json.loads((out / "epochs.json").read_text()) == {}
    assert found["val"]["psnr_rgb"] < 20 and found["val"]["frames"] == 6, "frames are inverted"
    assert found["val"]["cdc_excess"] == 0 and found["val"]["warp_err_ab"] == found["val"]["warp_err_ab_truth"], (
        "stretches are true"
    )
    table = pd.read_parquet(inputs.filter_table)
    pd.concat([table, table.assign(source="b")]).to_parquet(inputs.filter_table, index=False)
    assert evaluate_external(result, inputs, params=PARAMS, out=out) == found, "other sources are left out"
    write_json(result / "external.json", about | {"source": "b"})
    with pytest.raises(UserError, match="shows b, of whose frames no folder was given"):
        evaluate_external(result, inputs, params=PARAMS, out=out)

    # The frames of a dataset of two sources: shots keep the numbers that the models' tables give them.
    store_of(tmp_path / "frames/0b", "0b", pictures(3, 3))
    parts = [table_of("0b", "vvv", cuts=(0, 1, 2)), table.assign(cut=table["frame"].isin((0, 120, 168)))]
    pd.concat(parts).to_parquet(inputs.filter_table, index=False)
    both = replace(inputs, frames=[*inputs.frames, tmp_path / "frames/0b"])
    write_json(result / "external.json", about)
    evaluate_external(result, both, params=PARAMS, out=out)
    assert set(pd.read_parquet(out / "frames.parquet")["source"]) == {"a"}
    evaluate_model(trained[0], both, params=PARAMS, out=tmp_path / "model")
    own, models = (
        pd.read_parquet(folder / "frames.parquet").set_index(["source", "frame"]) for folder in (out, tmp_path / "model")
    )
    assert set(models.index.get_level_values("source")) == {"a", "0b"}
    assert own["shot"].tolist() == models.loc[own.index, "shot"].tolist() and own["shot"].min() == 3

    # A model's figures in its place are no other program's.
    evaluate_model(trained[0], inputs, params=PARAMS, out=out)
    assert not (out / "external.json").exists()


def test_a_result_that_is_none_or_was_made_for_other_frames_is_refused(tmp_path: Path, trained: tuple[Path, Inputs]) -> None:
    _, inputs = trained
    frames, result, out = FrameStore(inputs.frames[0]), tmp_path / "other", tmp_path / "report"
    moving = open_stretches(inputs.motion)[0].store
    shutil.copytree(frames.folder, result / "frames")
    shutil.copytree(moving.folder, result / "motion")
    indexes = {"frames": frames.sha256, "motion": moving.sha256}
    about = {"name": "other", "source": "a", "licence": "MIT", "credit": "They", "sha256": "0" * 64, "indexes": indexes}

    def refused(words: str, told: object) -> None:
        write_json(result / "external.json", told)
        with pytest.raises(UserError, match=words):
            evaluate_external(result, inputs, params=PARAMS, out=out)

    # The numbers of the frames are the same; what they show is not, as after another fit or alignment.
    for part, folder in (("frames", frames.folder), ("motion", moving.folder)):
        words = rf"other was made for other frames than {folder} holds: run the external stage again"
        refused(words, about | {"indexes": indexes | {part: "0" * 64}})
    refused(r"the external result \"it's\" may hold only|The external result \"it's\" may hold only", about | {"name": "it's"})
    for told in ([], {}, about | {"indexes": None}, {"name": "other"}):
        refused("other is no folder that the external stage wrote", told)
    (result / "motion").rename(tmp_path / "moved")
    refused("has no consecutive frames: run the external stage again", about)
    # The report's folder of a result holds its external.json too.
    shutil.rmtree(result / "frames")
    refused("other is no folder that the external stage wrote: name that one, or run the stage again", about)
    assert not out.exists()


def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path, trained: tuple[Path, Inputs]) -> None:
    model, inputs = trained
    table, out = inputs.filter_table, tmp_path / "report"

    def refused(words: str, **changed) -> None:
        with pytest.raises(UserError, match=words):
            evaluate_model(model, Inputs(**(vars(inputs) | changed)), params=EvaluateParams(), out=out)

    refused(r"nowhere\.parquet is missing", filter_table=tmp_path / "nowhere.parquet")
    refused(r"stretches\.parquet is missing: run the motion stage", motion=[tmp_path])
    table_of("a", "ttttvvvvvvvv").to_parquet(table)
    refused("Frame 240 of a is in the filter table but in no frame index")
    table_of("a", "tt", dropped=(0, 1)).to_parquet(table)
    refused("leaves no frame")
    table_of("a", "tt").drop(columns="cut").to_parquet(table)
    refused("no column `cut`")
    table_of("a", "tt").to_parquet(table)
    (model / "curves.json").unlink()
    refused(r"curves\.json is missing")
    assert not out.exists() or not list(out.iterdir())


def test_a_model_that_diverged_is_named(tmp_path: Path) -> None:
    class Diverged(Grey):
        def __call__(self, lightness: Tensor) -> Tensor:
            lab = super().__call__(lightness)
            lab[1, 1, 0, 0] = float("nan")
            return lab

    with pytest.raises(UserError, match=r"grey_model gives values that are no numbers \(frame 24 of a\)"):
        evaluate_frames(Network(Diverged()), [store_of(tmp_path / "a", "a", pictures(3, 8))], table_of("a", "ttt"))


def test_recorded_frames_of_another_index_are_refused(tmp_path: Path) -> None:
    store, other = store_of(tmp_path / "a", "a", pictures(3, 8)), store_of(tmp_path / "b", "a", pictures(3, 8), every=12)
    with pytest.raises(UserError, match=r"holds other frames than .* run the external stage again"):
        evaluate_frames(Recorded("other", {"a": other}), [store], table_of("a", "ttt"))
