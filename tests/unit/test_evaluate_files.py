"""Evaluation by hand: two videos, or two folders of pictures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from PIL import Image
from skimage import metrics
from typer.testing import CliRunner

from kinemacolor.cli import app
from kinemacolor.errors import UserError
from kinemacolor.evaluation.files import evaluate_files
from kinemacolor.evaluation.measuring import Tools
from kinemacolor.models import encoders
from kinemacolor.stages.evaluate import compare_files, figures_table


def encode(path: Path, pictures: np.ndarray) -> Path:
    """(N,H,W,3) without loss, 12 a second."""
    size = f"{pictures.shape[2]}x{pictures.shape[1]}"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        size,
        "-r",
        "12",
    ]
    command += ["-i", "-", "-c:v", "ffv1", "-pix_fmt", "gbrp", str(path)]
    subprocess.run(command, input=np.ascontiguousarray(pictures).tobytes(), check=True)
    return path


def moving(frames: int, size: tuple[int, int] = (32, 48), photographs: int = 2) -> np.ndarray:
    """A camera that moves over two photographs or three, equally many frames each: a cut between them."""
    height, width = size
    shots = []
    for picture in (skimage.data.coffee(), skimage.data.astronaut(), skimage.data.rocket())[:photographs]:
        small = np.asarray(Image.fromarray(picture).resize((2 * width, 2 * height), Image.Resampling.BOX))
        shots += [small[n : n + height, 2 * n : 2 * n + width] for n in range(frames // photographs)]
    return np.stack(shots)


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """truth.mkv of 16 frames, the same in grey, and one whose colours are half as strong in every second frame.

    cuts.mkv and its grey have a third shot.
    """
    folder = tmp_path_factory.mktemp("films")
    true = moving(16)
    grey = np.repeat(true.mean(axis=3, keepdims=True).round().astype(np.uint8), 3, axis=3)
    flickering = true.copy()
    flickering[1::2] = ((true[1::2].astype(int) + grey[1::2]) // 2).astype(np.uint8)
    for name, pictures in {"truth": true, "grey": grey, "flickering": flickering, "short": true[:15]}.items():
        encode(folder / f"{name}.mkv", pictures)
    cuts = moving(18, photographs=3)
    encode(folder / "cuts.mkv", cuts)
    encode(folder / "cuts_grey.mkv", np.repeat(cuts.mean(axis=3, keepdims=True).round().astype(np.uint8), 3, axis=3))
    return folder


def test_the_truth_itself_is_perfect_and_grey_has_no_colour(films: Path) -> None:
    same = evaluate_files(films / "truth.mkv", films / "truth.mkv", draws=100)
    assert same.metrics["psnr_rgb"] == 100 and same.metrics["de2000"] == 0 and same.metrics["auc_raw"] == 1
    assert same.metrics["cdc_excess"] == 0 and same.metrics["flicker_ab"] == same.metrics["flicker_ab_truth"]
    assert (same.metrics["frames"], same.metrics["motion_frames"]) == (16, 16)
    assert (same.metrics["height"], same.metrics["width"]) == (32, 48)

    grey = evaluate_files(films / "grey.mkv", films / "truth.mkv", draws=100)
    assert grey.metrics["cf"] == 0 < grey.metrics["cf_truth"] and grey.metrics["mse_ab@128"] > 0.001
    assert grey.metrics["warp_err_ab"] < grey.metrics["warp_err_ab_truth"], "grey does not flicker"
    half = evaluate_files(films / "grey.mkv", films / "truth.mkv", size=(16, 24), draws=100)
    assert (half.metrics["height"], half.metrics["width"]) == (16, 24)
    assert 0 < half.metrics["mse_ab@128"] < grey.metrics["mse_ab@128"]


def test_shots_are_found_and_intervals_are_drawn_over_them(films: Path) -> None:
    found = evaluate_files(films / "flickering.mkv", films / "truth.mkv", draws=200)
    assert found.frames["shot"].tolist() == [0] * 8 + [1] * 8 and found.frames["frame"].tolist() == list(range(16))
    assert found.frames["time"].tolist() == pytest.approx([n / 12 for n in range(16)], abs=1e-3)
    assert found.shots["frames"].tolist() == [8, 8] and found.shots["cdc"].notna().all()
    assert found.metrics["psnr_rgb"] == pytest.approx(found.frames["psnr_rgb"].mean())
    assert found.metrics["warp_err_ab"] > 1.5 * found.metrics["warp_err_ab_truth"]
    assert found.intervals == {}, "two shots do not tell how far shots lie apart"
    assert (found.frames["pixels"] == 32 * 48).all() and (found.shots["pixels"] == 32 * 48).all()
    three = evaluate_files(films / "cuts_grey.mkv", films / "cuts.mkv", draws=200)
    means = three.frames.groupby("shot")["psnr_rgb"].mean()
    low, high = three.intervals["psnr_rgb"]
    assert len(means) == 3 and low < means.min() < three.metrics["psnr_rgb"] < means.max() < high, "wider than they are"
    low, high = three.intervals["flicker_ab_truth"]
    assert low <= three.metrics["flicker_ab_truth"] <= high


def test_batches_make_no_difference_to_motion(tmp_path: Path) -> None:
    """70 frames are more than one batch, and a shot goes on over its end."""
    large = np.asarray(Image.fromarray(skimage.data.coffee()).resize((120, 100), Image.Resampling.BOX))
    true = np.stack([large[n // 2 : n // 2 + 24, n : n + 32] for n in range(70)])
    film = encode(tmp_path / "film.mkv", true)
    found = evaluate_files(film, film, draws=100)
    assert found.frames["shot"].nunique() == 1 and found.metrics["motion_frames"] == 70
    assert found.intervals == {}, "one shot has none"


def test_networks_measure_by_hand_too(films: Path) -> None:
    torch.manual_seed(0)
    tools = Tools(encoder=encoders.frozen(encoders.build("alexnet")), backbone="made")
    assert evaluate_files(films / "truth.mkv", films / "truth.mkv", tools=tools, draws=100).metrics["fd_made"] < 1e-6
    assert evaluate_files(films / "grey.mkv", films / "truth.mkv", tools=tools, draws=100).metrics["fd_made"] > 1e-6


def test_the_command_prints_figures_and_writes_tables(films: Path, tmp_path: Path) -> None:
    paths = [str(films / "cuts_grey.mkv"), str(films / "cuts.mkv")]
    done = CliRunner().invoke(app, ["evaluate", *paths, "--json", "--size", "16x24", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["frames"] == 18 and printed["height"] == 16 and printed["intervals"]["psnr_rgb"][0] > 0
    assert json.loads((tmp_path / "out/metrics.json").read_text())["all"] == {
        k: v for k, v in printed.items() if k != "intervals"
    }
    assert json.loads((tmp_path / "out/intervals.json").read_text())["all"] == printed["intervals"]
    assert [len(pd.read_parquet(tmp_path / f"out/{name}.parquet")) for name in ("frames", "shots")] == [18, 3]
    found = compare_files(films / "cuts_grey.mkv", films / "cuts.mkv", size=(16, 24))
    line = next(line for line in figures_table(found).splitlines() if line.startswith("psnr_rgb"))
    assert f"{printed['psnr_rgb']:.2f}" in line and "[" in line and "signal-to-noise" in line


# ---------------------------------------------------------------------------------------------------- pictures


def write_folder(folder: Path, pictures: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / name)
    return folder


def test_two_folders_are_paired_by_name(tmp_path: Path) -> None:
    pictures = moving(4)[:3]
    # Endings differ, and then the order of the files does too: a.png, a.q.png, but a.q.tiff, a.tiff.
    truth = write_folder(
        tmp_path / "truth", {f"{name}.png": picture for name, picture in zip(("a", "a.q", "c"), pictures, strict=True)}
    )
    shifted = np.clip(pictures[1].astype(int) + 20, 0, 255).astype(np.uint8)
    given = dict(zip(("a.tiff", "a.q.tiff", "c.tiff"), (pictures[0], shifted, pictures[2]), strict=True))
    predicted = write_folder(tmp_path / "predicted", given)
    (truth / "notes.txt").write_text("no picture")
    found = evaluate_files(predicted, truth, draws=100)
    expected = metrics.peak_signal_noise_ratio(pictures[1], shifted)
    assert found.metrics["frames"] == 3 and found.metrics["psnr_rgb"] == pytest.approx((200 + expected) / 3, abs=1e-9)
    assert found.frames["name"].tolist() == ["a", "a.q", "c"] and found.frames["shot"].tolist() == [0, 1, 2]
    assert "motion_frames" not in found.metrics, "names that do not count stand alone"


def test_numbered_pictures_are_the_frames_of_films(tmp_path: Path) -> None:
    true = moving(20)[:10]
    names = [*(f"a{n}.png" for n in range(5, 13)), "b1.png", "b3.png"]  # a9, a10: numbers, not texts
    folder = write_folder(tmp_path / "truth", dict(zip(names, true, strict=True)))
    found = evaluate_files(folder, folder, draws=100)
    assert found.frames["name"].tolist() == [name.removesuffix(".png") for name in names]
    assert found.frames["shot"].tolist() == [0] * 8 + [1, 2] and found.metrics["motion_frames"] == 8


def test_pictures_of_several_sizes_have_no_common_one(tmp_path: Path) -> None:
    pictures = {"1.png": moving(2)[0], "2.png": moving(2, (40, 40))[0]}
    folder = write_folder(tmp_path / "truth", pictures)
    found = evaluate_files(folder, folder, draws=100)
    assert found.metrics["frames"] == 2 and "height" not in found.metrics and "motion_frames" not in found.metrics


def test_pictures_of_several_sizes_count_by_their_pixels_where_figures_do(tmp_path: Path) -> None:
    """Nine small pictures that are off by little and a large one that is off by much, as the pooled figure is."""
    rng = np.random.default_rng(0)
    true = {f"p{n}x.png": rng.integers(60, 190, (24, 24, 3), np.uint8) for n in range(9)}
    true["large.png"] = rng.integers(60, 190, (128, 128, 3), np.uint8)
    off = {
        name: (picture + (60 if name == "large.png" else 1 + n)).astype(np.uint8)
        for n, (name, picture) in enumerate(true.items())
    }
    found = evaluate_files(write_folder(tmp_path / "off", off), write_folder(tmp_path / "true", true), draws=500)
    assert sorted(found.frames["pixels"]) == [576] * 9 + [16384]
    assert found.metrics["mse_rgb_pm1"] > 10 * found.frames["mse_rgb_pm1"].median()
    for name in ("mse_rgb_pm1", "mse_ab@128", "de2000", "auc_raw", "psnr_rgb"):
        low, high = found.intervals[name]
        weights = found.frames["pixels"] if name != "psnr_rgb" else None
        assert np.average(found.frames[name], weights=weights) == pytest.approx(found.metrics[name])
        assert low <= found.metrics[name] <= high, name


def test_the_bytes_do_not_hang_on_the_number_of_threads(films: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            compare_files(films / "cuts_grey.mkv", films / "cuts.mkv", out=tmp_path / str(threads), draws=50)
            assert torch.get_num_threads() == 1 or torch.cuda.is_available()
        for name in ("metrics.json", "intervals.json", "frames.parquet", "shots.parquet"):
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes(), name
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------- what is refused


def test_films_that_cannot_be_compared_are_named(films: Path, tmp_path: Path) -> None:
    truth, short = films / "truth.mkv", films / "short.mkv"
    large = encode(tmp_path / "large.mkv", moving(16, (32, 64)))
    with pytest.raises(UserError, match=r"truth\.mkv has 16 frames and .*short\.mkv has 15"):
        evaluate_files(truth, short)
    assert evaluate_files(truth, short, allow_truncated=True, draws=100).metrics["frames"] == 15
    with pytest.raises(UserError, match=r"large\.mkv is 64x32 and .*truth\.mkv is 48x32"):
        evaluate_files(large, truth)
    assert evaluate_files(large, truth, size=(16, 24), draws=100).metrics["frames"] == 16
    with pytest.raises(UserError, match=r"nowhere\.mkv is missing"):
        evaluate_files(truth, tmp_path / "nowhere.mkv")
    with pytest.raises(UserError, match="not of one kind"):
        evaluate_files(truth, tmp_path)
    with pytest.raises(UserError, match="too small for SSIM"):
        evaluate_files(truth, truth, size=(8, 12))


def test_a_film_that_breaks_off_is_taken_where_that_is_allowed(films: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mkv"
    whole = (films / "truth.mkv").read_bytes()
    broken.write_bytes(whole[: len(whole) * 3 // 5])
    with pytest.raises(UserError, match=r"broken\.mkv is truncated or damaged .*--allow-truncated of .*evaluate"):
        evaluate_files(broken, films / "truth.mkv")
    found = evaluate_files(broken, films / "truth.mkv", allow_truncated=True, draws=100)
    assert 4 < found.metrics["frames"] < 12 and found.metrics["psnr_rgb"] == 100


def test_pictures_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    plain = np.full((16, 16, 3), 90, np.uint8)
    one = write_folder(tmp_path / "one", {"a.png": plain, "b.png": plain})
    other = write_folder(tmp_path / "other", {"a.png": plain, "c.png": plain})
    with pytest.raises(UserError, match=r"one has a picture 'b' and .*other has none \(2 such names\)"):
        evaluate_files(one, other)
    (other / "c.png").unlink()
    Image.new("RGB", (16, 18)).save(other / "b.png")
    with pytest.raises(UserError, match=r"b\.png is 16x16 and .*b\.png is 16x18"):
        evaluate_files(one, other)
    assert evaluate_files(one, other, size=(12, 12), draws=100).metrics["frames"] == 2
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
