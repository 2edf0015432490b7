"""Evaluation of made frames by models whose errors are known, and of files by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import color, metrics
from torch import Tensor

from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.files import write_json
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.params import EvaluateParams
from kinemacolor.stages.evaluate import epochs_table, evaluate_files, evaluate_frames, evaluate_model, spread

SIZE = (20, 24)


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


def _frames(count: int, seed: int) -> np.ndarray:
    """Smooth coloured pictures (count,3,H,W), each another one."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 5, 6, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(picture).resize(SIZE[::-1], Image.Resampling.BICUBIC)) for picture in small]
    return np.ascontiguousarray(np.stack(large).transpose(0, 3, 1, 2))


def _store(folder: Path, source: str, colour: np.ndarray, grey: np.ndarray | None = None) -> FrameStore:
    folder.mkdir(parents=True)
    shapes = {"colour": (3, *SIZE)} | ({"grey": (1, *SIZE)} if grey is not None else {})
    writer = ShardWriter(folder, source=source, shapes=shapes, shard_bytes=4 * 2**10, facts={"every": 24})
    for index, picture in enumerate(colour):
        pictures = {"colour": picture} | ({"grey": grey[index]} if grey is not None else {})
        writer.add(pictures, frame=24 * index, time=float(index))
    writer.close()
    return FrameStore(folder)


def _table(source: str, splits: str, dropped: tuple[int, ...] = ()) -> pd.DataFrame:
    """A filter table from letters: t(rain), v(al), x (test), . (in a guard gap, so absent)."""
    names = {"t": "train", "v": "val", "x": "test"}
    rows = [(source, 24 * index, names[letter], index not in dropped) for index, letter in enumerate(splits) if letter != "."]
    return pd.DataFrame(rows, columns=["source", "frame", "split", "keep"]).assign(reason="", mean_chroma=20.0)


def test_figures_of_a_split_are_those_of_its_kept_frames(tmp_path: Path) -> None:
    colour = _frames(12, 0)
    store = _store(tmp_path / "a", "a", colour)
    found = evaluate_frames(Grey(), [store], _table("a", "ttttt..vvxxx", dropped=(1, 10)), samples=2)

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
    for name in ("mse_rgb_pm1", "ssim", "cf", "cf_truth", "dcf", "de2000_p50", "de2000_p95"):
        assert np.isfinite(row[name])


def test_a_pair_is_given_the_grey_print_and_judged_by_the_colour_print(tmp_path: Path) -> None:
    colour = _frames(3, 1)
    grey = np.random.default_rng(2).integers(0, 256, (3, 1, *SIZE), dtype=np.uint8)
    model = Grey()
    found = evaluate_frames(model, [_store(tmp_path / "a", "a", colour, grey)], _table("a", "vvv"))
    assert torch.equal(torch.cat(model.given), lightness_of_grey(torch.from_numpy(grey)))
    ab = rgb_to_lab(torch.from_numpy(colour))[:, 1:].double()
    assert found.metrics["val"]["mse_ab@128"] == pytest.approx(ab.square().mean().item() / 128**2, rel=1e-9)
    # On the sheet the grey print itself stands beside the model and the truth.
    headings, shown = zip(*found.samples["val"][1].pictures, strict=True)
    assert headings == ("grey", "grey_model", "true")
    assert np.array_equal(shown[0], np.repeat(grey[1].transpose(1, 2, 0), 3, axis=2))
    assert np.array_equal(shown[2], colour[1].transpose(1, 2, 0))


def test_several_sources_are_joined_by_their_names_whatever_their_order(tmp_path: Path) -> None:
    first, second = _store(tmp_path / "a", "a", _frames(3, 3)), _store(tmp_path / "b", "b", _frames(4, 4))
    table = pd.concat([_table("b", "tvvt"), _table("a", "vtt")])
    one = evaluate_frames(Grey(), [first, second], table)
    other = evaluate_frames(Grey(), [second, first], table.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(one.frames, other.frames)
    assert one.metrics == other.metrics and "test" not in one.metrics
    assert one.frames[["source", "frame"]].values.tolist()[:2] == [["a", 24], ["a", 48]]


def test_batches_stay_small(tmp_path: Path) -> None:
    model = Grey()
    evaluate_frames(model, [_store(tmp_path / "a", "a", _frames(150, 5))], _table("a", "t" * 150))
    assert [len(batch) for batch in model.given] == [64, 64, 22]


def test_samples_are_spread_evenly(tmp_path: Path) -> None:
    assert spread(12, 3) == [2, 6, 10] and spread(2, 12) == [0, 1] and spread(100, 1) == [50]
    found = evaluate_frames(Grey(), [_store(tmp_path / "a", "a", _frames(12, 6))], _table("a", "v" * 12), samples=3)
    assert [row.caption.split()[1] for row in found.samples["val"]] == ["0:00:02", "0:00:06", "0:00:10"]
    assert all("ΔE" in row.notes["grey_model"] and "dB" in row.notes["grey_model"] for row in found.samples["val"])


def test_epochs_that_were_not_reached_are_absent() -> None:
    curves = [{"epoch": epoch, "train_loss": 1 / epoch, "val_mse_ab@128": 2 / epoch, "lr": 0.1} for epoch in range(1, 13)]
    assert epochs_table(curves, [10, 25]) == {"10": {"train_loss": 0.1, "val_mse_ab@128": 0.2}}


# ---------------------------------------------------------------------------------------- the stage as a whole


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A naive model, a store and a filter table without test frames."""
    model = tmp_path / "models" / "naive"
    model.mkdir(parents=True)
    write_json(model / "meta.json", {"name": "naive", "params": {"model": {"family": "naive", "options": {}}}})
    write_json(model / "curves.json", [{"epoch": epoch, "train_loss": 0.5, "val_mse_ab@128": 0.1} for epoch in range(1, 11)])
    save_file({}, model / "weights.safetensors")
    _store(tmp_path / "frames" / "a", "a", _frames(8, 7))
    _table("a", "ttttvvvv").to_parquet(tmp_path / "filter.parquet", index=False)
    return model, tmp_path / "frames" / "a", tmp_path / "filter.parquet"


def test_the_stage_writes_its_part_of_the_report(tmp_path: Path, trained: tuple[Path, Path, Path]) -> None:
    model, frames, table = trained
    out = tmp_path / "report"
    out.mkdir()
    (out / "poster.png").write_bytes(b"another stage's")
    (out / "sheet_test.png").write_bytes(b"of an earlier run with test frames")
    found = evaluate_model(model, [frames], table, params=EvaluateParams(epochs=[10, 25], samples=2), out=out)

    names = sorted(path.name for path in out.iterdir())
    assert names == ["epochs.json", "frames.parquet", "metrics.json", "poster.png", "sheet_val.png"]
    assert json.loads((out / "metrics.json").read_text()) == found
    assert set(found) == {"train", "val"} and found["val"]["frames"] == 4
    assert json.loads((out / "epochs.json").read_text()) == {"10": {"train_loss": 0.5, "val_mse_ab@128": 0.1}}
    rows = pd.read_parquet(out / "frames.parquet")
    assert rows["frame"].tolist() == [24 * index for index in range(8)]
    assert rows.loc[rows["split"] == "val", "psnr_rgb"].mean() == pytest.approx(found["val"]["psnr_rgb"])
    assert Image.open(out / "sheet_val.png").size[1] > 160

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    evaluate_model(model, [frames], table, params=EvaluateParams(epochs=[10, 25], samples=2), out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path, trained: tuple[Path, Path, Path]) -> None:
    model, frames, table = trained
    params, out = EvaluateParams(), tmp_path / "report"
    with pytest.raises(UserError, match=r"nowhere\.parquet is missing"):
        evaluate_model(model, [frames], tmp_path / "nowhere.parquet", params=params, out=out)
    _table("a", "ttttvvvvv").to_parquet(table)
    with pytest.raises(UserError, match="Frame 192 of a is in the filter table but in no frame index"):
        evaluate_model(model, [frames], table, params=params, out=out)
    _table("a", "tt", dropped=(0, 1)).to_parquet(table)
    with pytest.raises(UserError, match="leaves no frame"):
        evaluate_model(model, [frames], table, params=params, out=out)
    _table("a", "tt").to_parquet(table)
    (model / "curves.json").unlink()
    with pytest.raises(UserError, match=r"curves\.json is missing"):
        evaluate_model(model, [frames], table, params=params, out=out)
    assert not out.exists() or not list(out.iterdir())


def test_a_model_that_diverged_is_named(tmp_path: Path) -> None:
    class Diverged(Grey):
        def __call__(self, lightness: Tensor) -> Tensor:
            lab = super().__call__(lightness)
            lab[1, 1, 0, 0] = float("nan")
            return lab

    with pytest.raises(UserError, match=r"grey_model gives values that are no numbers \(frame 24 of a\)"):
        evaluate_frames(Diverged(), [_store(tmp_path / "a", "a", _frames(3, 8))], _table("a", "ttt"))


# ------------------------------------------------------------------------------------------------------ by hand


def _video(path: Path, *, frames: int = 6, size: str = "48x32", filters: str = "null") -> Path:
    """A lossless test picture that moves."""
    source = f"testsrc2=size={size}:rate=12"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", str(frames)]
    subprocess.run([*command, "-vf", filters, "-c:v", "ffv1", "-pix_fmt", "gbrp", str(path)], check=True)
    return path


def test_two_videos_by_the_same_measures(tmp_path: Path) -> None:
    truth = _video(tmp_path / "truth.mkv")
    same = evaluate_files(truth, truth)
    assert same["psnr_rgb"] == 100 and same["de2000"] == 0 and same["frames"] == 6
    assert (same["height"], same["width"]) == (32, 48)

    grey = evaluate_files(_video(tmp_path / "grey.mkv", filters="hue=s=0,format=gbrp"), truth)
    assert grey["cf"] < 0.5 < grey["cf_truth"] and grey["mse_ab@128"] > 0.01
    half = evaluate_files(tmp_path / "grey.mkv", truth, size=(16, 24))
    assert (half["height"], half["width"]) == (16, 24) and 0 < half["mse_ab@128"] < grey["mse_ab@128"]


def test_two_folders_are_paired_by_name(tmp_path: Path) -> None:
    pictures = _frames(3, 9).transpose(0, 2, 3, 1)
    for folder in ("predicted", "truth"):
        (tmp_path / folder).mkdir()
    # Endings differ, and then the order of the files does too: a.png, a.q.png, but a.q.tiff, a.tiff.
    for name, picture in zip(("a", "a.q", "c"), pictures, strict=True):
        Image.fromarray(picture).save(tmp_path / "truth" / f"{name}.png")
        Image.fromarray(picture).save(tmp_path / "predicted" / f"{name}.tiff")
    (tmp_path / "truth" / "notes.txt").write_text("no picture")
    found = evaluate_files(tmp_path / "predicted", tmp_path / "truth")
    assert found["frames"] == 3 and found["psnr_rgb"] == 100

    shifted = np.clip(pictures[1].astype(int) + 20, 0, 255).astype(np.uint8)
    Image.fromarray(shifted).save(tmp_path / "predicted" / "a.q.tiff")
    found = evaluate_files(tmp_path / "predicted", tmp_path / "truth")
    expected = metrics.peak_signal_noise_ratio(pictures[1], shifted)
    assert found["psnr_rgb"] == pytest.approx((200 + expected) / 3, abs=1e-9)


def test_files_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    long, short = _video(tmp_path / "long.mkv"), _video(tmp_path / "short.mkv", frames=5)
    large = _video(tmp_path / "large.mkv", size="64x32")
    with pytest.raises(UserError, match=r"long\.mkv has 6 frames and .*short\.mkv has 5"):
        evaluate_files(long, short)
    with pytest.raises(UserError, match=r"large\.mkv is 64x32 and .*long\.mkv is 48x32"):
        evaluate_files(large, long)
    assert evaluate_files(large, long, size=(16, 24))["frames"] == 6
    with pytest.raises(UserError, match=r"nowhere\.mkv is missing"):
        evaluate_files(long, tmp_path / "nowhere.mkv")
    with pytest.raises(UserError, match="not of one kind"):
        evaluate_files(long, tmp_path)
    with pytest.raises(UserError, match="too small for SSIM"):
        evaluate_files(long, long, size=(8, 12))


def test_pictures_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, names in ((one, ("a", "b")), (other, ("a", "c"))):
        folder.mkdir()
        for name in names:
            Image.new("RGB", (16, 16)).save(folder / f"{name}.png")
    with pytest.raises(UserError, match=r"one has a picture 'b' and .*other has none \(2 such names\)"):
        evaluate_files(one, other)
    (other / "c.png").rename(other / "b.png")
    Image.new("RGB", (16, 18)).save(other / "b.png")
    with pytest.raises(UserError, match=r"b\.png is 16x16 and .*b\.png is 16x18"):
        evaluate_files(one, other)
    assert evaluate_files(one, other, size=(12, 12))["frames"] == 2
    (other / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match=r"b\.png cannot be read"):
        evaluate_files(one, other)
    Image.new("RGB", (16, 16)).save(other / "a.jpg")
    with pytest.raises(UserError, match="have the same name"):
        evaluate_files(one, other)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="holds no picture"):
        evaluate_files(one, empty)
