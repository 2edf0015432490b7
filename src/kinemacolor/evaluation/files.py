"""By hand: the same measures for any coloured video against the true one, or for two folders of pictures.

So other people's results can be ranked by the measures of our own. Videos are consecutive: the detector of frames/cuts.py tells
their shots, which intervals are drawn over and inside which motion is measured. Memory holds one batch and a row of figures a
frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.evaluation.measuring import NO_TOOLS, Pool, Tools
from kinemacolor.evaluation.pairs import Pair, open_pairs
from kinemacolor.frames.cuts import CutDetector
from kinemacolor.metrics.intervals import PIXELS, intervals, shots_table
from kinemacolor.metrics.pixel import SSIM_WINDOW
from kinemacolor.metrics.temporal import TemporalMetrics

ALL = "all"
"""What stands for the split where there is none."""
_BATCH_PIXELS = 2**18
_BATCH = 64


@dataclass(frozen=True)
class Compared:
    """How a coloured film or folder compares with the true one.

    Attributes:
        metrics: name -> number; height and width only where all pictures are of one size.
        intervals: name -> low and high end of the 95 % interval, over shots.
        frames: source, frame, time, split (`all`), shot, pixels (of the frame: figures over pixels are pooled by them), of
            pictures `name`, and the figures of each frame.
        shots: as `metrics.intervals.shots_table` gives it, motion's figures included.
    """

    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    frames: pd.DataFrame
    shots: pd.DataFrame


def evaluate_files(
    predicted: Path,
    truth: Path,
    *,
    size: tuple[int, int] | None = None,
    tools: Tools = NO_TOOLS,
    allow_truncated: bool = False,
    draws: int = 2000,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Compared:
    """Measure a coloured video against the true one, frame by frame; or a folder of pictures, paired by name.

    Args:
        predicted, truth: two videos with equally many frames, or two folders with pictures of the same names (endings may
            differ). Pictures that are numbered one by one are taken for the frames of films, as `open_pairs` says.
        size: (height, width) to which both are brought first, by area averaging; their own, equal sizes if None.
        tools: the networks that measure, on `device`.
        allow_truncated: take videos that end before they say they do; only frames that both have are measured.
        draws: times that shots are drawn anew for the intervals.
        device: where it is computed.
        progress: told how many frames are done, of how many.

    Raises:
        UserError: a file or folder is missing, no video or no picture; frame counts, names or sizes differ; there is no frame;
            pictures are too small.
    """
    predicted, truth, device = Path(predicted), Path(truth), torch.device(device)
    pairs, count = open_pairs(predicted, truth, size=size, allow_truncated=allow_truncated)
    pool, motion, detector = Pool(tools, device=device), TemporalMetrics(), CutDetector()
    columns: dict[str, list] = {}
    stretches: list[dict[str, float]] = []
    shot, done, before = -1, 0, None
    sizes: set[tuple[int, ...]] = set()
    for batch in _batches(pairs):
        if min(batch[0].true.shape[:2]) < SSIM_WINDOW:
            raise UserError(
                f"{truth} has pictures under {SSIM_WINDOW}x{SSIM_WINDOW} pixels, too small for SSIM: use larger ones."
            )
        true = _planes((pair.true for pair in batch), device)
        coloured = rgb_to_lab(_planes((pair.predicted for pair in batch), device))
        # Nothing leads from a picture to one of another size.
        begins = torch.tensor([not pair.follows for pair in batch])
        begins[0] |= batch[0].true.shape != before
        before = batch[-1].true.shape
        sizes.add(before[:2])
        figures = pool.update(coloured, true)
        starts = detector(rgb_to_lab(true)[:, :1], begins).numpy()
        shots = shot + np.cumsum(starts)
        for begin, end in _runs(starts):
            if starts[begin]:
                _end(motion, shot, stretches)
            shot = int(shots[begin])
            motion.add(coloured[begin:end], true[begin:end])
        about = {
            "source": [truth.name] * len(batch),
            "frame": [pair.number for pair in batch],
            "time": [pair.time for pair in batch],
            "split": [ALL] * len(batch),
            "shot": shots.tolist(),
            PIXELS: [before[0] * before[1]] * len(batch),
        }
        named = {"name": [pair.name for pair in batch]} if batch[0].name else {}
        for name, values in (about | named | {name: row.tolist() for name, row in figures.items()}).items():
            columns.setdefault(name, []).extend(values)
        done += len(batch)
        progress(done, count)
    _end(motion, shot, stretches)
    if not columns:
        raise UserError(f"{truth} and {predicted} have no frame in common: encode both from the same frames.")
    frames = pd.DataFrame(columns)
    table = shots_table(frames, pd.DataFrame(stretches) if stretches else None)
    metrics = pool.pooled() | motion.pooled()
    if len(sizes) == 1:
        metrics |= dict(zip(("height", "width"), sizes.pop(), strict=True))
    return Compared(metrics, intervals(table, draws=draws).get(ALL, {}), frames, table)


def _end(motion: TemporalMetrics, shot: int, stretches: list[dict[str, float]]) -> None:
    if figures := motion.end():
        stretches.append({"shot": shot} | figures)


def _runs(starts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Of a batch, where each part of one shot begins and ends."""
    borders = sorted({0, *np.flatnonzero(starts).tolist(), len(starts)})
    yield from pairwise(borders)


def _planes(pictures: Iterable[np.ndarray], device: torch.device) -> Tensor:
    """(H,W,3) each to (B,3,H,W)."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(list(pictures)).transpose(0, 3, 1, 2))).to(device)


def _batches(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """Neighbouring pairs of one size, as many as may be measured at once."""
    waiting: list[Pair] = []
    for pair in pairs:
        height, width = pair.true.shape[:2]
        most = max(1, min(_BATCH, _BATCH_PIXELS // (height * width)))
        if waiting and (waiting[0].true.shape != pair.true.shape or len(waiting) >= most):
            yield waiting
            waiting = []
        waiting.append(pair)
    if waiting:
        yield waiting
