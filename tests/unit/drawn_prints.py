"""A small drawn film, prints made of it, and how right a pairing of them is: what the tests of sync share."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq

from kinemacolor.media.prints import make_print
from kinemacolor.media.programme import Programme
from kinemacolor.params import Recipe, SyncParams
from kinemacolor.stages.sync import SyncResult, sync

WIDTH, HEIGHT, RATE = 384, 216, 24
SHOTS = (60, 44, 75, 52, 90, 48, 71, 40)  # frames; none a multiple of another, as nothing in a film is
FRAMES = sum(SHOTS)


def scenes(seed: int, shots: tuple[int, ...] = SHOTS, *, still: tuple[int, ...] = ()) -> np.ndarray:
    """(frames, H, W, 3) uint8: a camera pans over a painted set while a disc crosses it. Shots in `still` stand still."""
    rng = np.random.default_rng(seed)
    frames = np.empty((sum(shots), HEIGHT, WIDTH, 3), np.uint8)
    at = 0
    for number, length in enumerate(shots):
        stage = np.zeros((HEIGHT + 200, WIDTH + 200, 3), np.float32)
        for cells in (5, 12, 40, 110):
            noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
            stage += cv2.resize(noise, stage.shape[1::-1], interpolation=cv2.INTER_CUBIC) * (30 if cells < 40 else 14)
        stage = np.clip(stage + rng.uniform(100, 150, 3), 0, 255).astype(np.uint8)
        for _ in range(12):
            centre = tuple(map(int, rng.integers(0, (WIDTH + 200, HEIGHT + 200))))
            cv2.circle(stage, centre, int(rng.integers(8, 40)), rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
        pan = rng.uniform(0.5, 1.0, 2) * rng.choice((-1, 1), 2) * (number not in still)
        walk, shade = rng.uniform(2, 3) * (number not in still), rng.integers(0, 256, 3).tolist()
        for step in range(length):
            corner = -100 - pan * (step - length / 2)
            picture = cv2.warpAffine(stage, np.column_stack([np.eye(2), corner]), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
            cv2.circle(picture, (int(60 + walk * step), 70 + 10 * (number % 7)), 22, shade, -1, cv2.LINE_AA)
            frames[at + step] = picture
        at += length
    return frames


def write_film(frames: np.ndarray, target: Path, *, rate: int = RATE, sound: bool = False) -> Path:
    """Encode frames (n, H, W, 3) with x264, with a rising tone if it is to have sound."""
    height, width = frames.shape[1:3]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "-"]
    if sound:
        command += ["-f", "lavfi", "-i", f"aevalsrc=0.3*sin(6*t*t*t):s=16000:d={len(frames) / rate}", "-c:a", "aac"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", "yuv420p", str(target)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return target


@dataclass(frozen=True)
class Judged:
    """A pairing against the truth; of the film's own frames as colour frames.

    Attributes:
        off: grey frames between each pair and the nearest right one; 99 for a film frame that the print does not show.
        confidence: of each pair.
        found: share of the film frames that the print shows that were paired within one.
        share_wrong: of each segment, share of its pairs that are not within one.
    """

    off: np.ndarray
    confidence: np.ndarray
    found: float
    share_wrong: list[float]

    @property
    def sure(self) -> np.ndarray:
        """`off` of the pairs that sync believes in."""
        return self.off[self.confidence >= 0.5]


def judge(colour: np.ndarray, grey: np.ndarray, segment: np.ndarray, confidence: np.ndarray, told: Programme) -> Judged:
    """Judge pairs of film frames and print frames by what the print's maker says it shows."""
    places: dict[int, list[int]] = {}
    for at in range(told.frames):
        if told.weight[at] >= 0.5 and told.first[at] >= 0:
            places.setdefault(int(told.first[at]), []).append(at)
        if told.weight[at] <= 0.5 and told.second[at] >= 0:
            places.setdefault(int(told.second[at]), []).append(at)
    off = np.full(len(colour), 99)
    for row, (frame, partner) in enumerate(zip(colour.tolist(), grey.tolist(), strict=True)):
        if frame in places:
            off[row] = min(abs(partner - place) for place in places[frame])
        elif any(partner in places.get(frame + beside, ()) for beside in (-1, 1)):
            off[row] = 1  # left out by the print's rate or drop: what stood beside it is near
    shown = set(places) & set(colour[off <= 1].tolist())
    wrong = [float((off[segment == number] > 1).mean()) for number in np.unique(segment)]
    return Judged(off, np.asarray(confidence), len(shown) / len(places), wrong)


@dataclass(frozen=True)
class Synced:
    """A print that was made and synced."""

    recipe: Recipe
    told: Programme
    result: SyncResult
    judged: Judged


def synced(film: Path, folder: Path, recipe: Recipe, *, params: SyncParams | None = None) -> Synced:
    """Make a print in `folder`, sync it with the film, and judge what `alignment.parquet` says."""
    told = make_print(film, recipe, folder / "grey.mkv")
    result = sync(folder / "grey.mkv", film, params=params or SyncParams(), out=folder / "out")
    rows = pq.read_table(folder / "out" / "alignment.parquet").to_pandas()
    columns = (rows[name].to_numpy() for name in ("colour_frame", "grey_frame", "segment", "confidence"))
    return Synced(recipe, told, result, judge(*columns, told))
