"""Films, prints and painters for the tests of comparison videos, and how panels are taken out of a frame and compared."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from kinemacolor.files import sha256_of
from kinemacolor.media.decode import decode
from kinemacolor.media.prints import make_print
from kinemacolor.media.probe import probe
from kinemacolor.media.sources import PrintRecord, SourceRecord
from kinemacolor.params import Recipe

HEIGHT, WIDTH, RATE, SECONDS = 120, 160, 25, 4
# Of a panel: without its caption, and without the columns into which halved chroma carries its neighbours' colours.
INNER = (slice(0, -20), slice(4, -4))


class Tint:
    """Predicts one and the same ab everywhere and keeps L*."""

    name, keeps_luminance, remembers = "tint", True, False

    def __init__(self, a: float, b: float, height: int = 32) -> None:
        self.meta, self.ab, self.seen = {"size": [height, height]}, torch.tensor([a, b]), []

    def __call__(self, lightness):
        self.seen.append(lightness)
        assert lightness.dtype == torch.float32 and lightness.shape[-2] == self.meta["size"][0]
        return torch.cat((lightness, self.ab.view(1, 2, 1, 1).expand(len(lightness), 2, *lightness.shape[-2:])), 1)


class Soft(Tint):
    """Predicts RGB: the grey that it was shown, so its panel shows how much of the picture its size keeps."""

    name, keeps_luminance = "soft", False


def made_clip(path: Path) -> Path:
    """Colours that change in every frame and place, smooth enough to survive 4:2:0, and a tone."""
    moving = f"gradients=size={WIDTH}x{HEIGHT}:rate={RATE}:duration={SECONDS}:speed=.06:seed=7:x0=0:y0=0:x1={WIDTH}:y1={HEIGHT}"
    moving += ":nb_colors=5:c0=red:c1=green:c2=blue:c3=orange:c4=cyan"  # everything said, since the rest is drawn anew each time
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", moving]
    command += ["-f", "lavfi", "-i", f"sine=frequency=440:duration={SECONDS}", "-vf", "scale=out_color_matrix=bt709"]
    command += ["-pix_fmt", "yuv420p", "-colorspace", "bt709", "-crf", "8", "-g", "30", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True)
    return path


def made_pair(root: Path) -> tuple[Path, Path]:
    """A film, its grey print by a recipe, and the alignment and geometry that the recipe implies: their folders."""
    raw, sync = root / "raw" / "film", root / "sync" / "film"
    raw.mkdir(parents=True)
    sync.mkdir(parents=True)
    pattern = f"mandelbrot=size=320x240:rate={RATE}:start_scale=1.2:end_scale=.2:end_pts=120"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i", pattern, "-t", "4"]
    command += ["-pix_fmt", "yuv420p", "-crf", "10", str(raw / "colour.mp4")]
    subprocess.run(command, check=True)
    recipe = Recipe(trim_frames=5, intro_frames=17, crop=(0.1, 0.05, 0.05, 0.1), height=120, crf=10)
    truth = make_print(raw / "colour.mp4", recipe, raw / "grey.mkv")
    prints = {}
    for name, file, origin in (("colour", "colour.mp4", {"path": "x"}), ("grey", "grey.mkv", {"made_from": "colour"})):
        path = raw / file
        offset = truth.truth_offset if name == "grey" else None
        prints[name] = PrintRecord(path, origin, sha256_of(path), path.stat().st_size, probe(path), offset)
    SourceRecord(raw, "film_pair", "CC0", "Made by a test", "2026-01-01T00:00:00Z", prints).write()

    crop, grey = (32.0, 12.0, 304.0, 216.0), prints["grey"].probe
    scale = grey.width / (crop[2] - crop[0]), grey.height / (crop[3] - crop[1])
    transform = [[scale[0], 0, -crop[0] * scale[0]], [0, scale[1], -crop[1] * scale[1]]]
    geometry = {"colour_crop": crop, "grey_crop": [0, 0, grey.width, grey.height], "transform": transform, "residual_px": 0.0}
    (sync / "geometry.json").write_text(json.dumps(geometry))
    colour = np.arange(recipe.trim_frames, prints["colour"].probe.frames)
    grey_frames = colour + truth.truth_offset
    columns = {
        "colour_frame": colour,
        "grey_frame": grey_frames,
        "colour_time": colour / RATE,
        "grey_time": grey_frames / RATE,
        "segment": np.zeros(len(colour), np.int32),
        "confidence": np.ones(len(colour), np.float32),
    }
    pq.write_table(pa.table(columns), sync / "alignment.parquet")
    return raw, sync


def frames_of(path: Path) -> list[np.ndarray]:
    """All pictures of a video."""
    return [picture.pixels for picture in decode(path)]


def panel(frame: np.ndarray, place: int, *, columns: int = 3, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """The inner part of one panel, as numbers that can be subtracted."""
    row, column = divmod(place, columns)
    return frame[row * height : (row + 1) * height, column * width : (column + 1) * width][INNER].astype(int)


def close(one: np.ndarray, other: np.ndarray, mean: float = 2.0, worst: float = 8.0) -> None:
    """Equal but for what two encodings with halved chroma change."""
    difference = np.abs(one.astype(int) - other.astype(int))
    assert difference.mean() < mean, difference.mean()
    assert np.percentile(difference, 99.5) < worst, np.percentile(difference, 99.5)


def luma(rgb: np.ndarray) -> np.ndarray:
    """Of BT.709."""
    return rgb @ np.array([0.2126, 0.7152, 0.0722])
