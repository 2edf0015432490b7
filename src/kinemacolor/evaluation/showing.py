"""Which frames a sheet shows, and the frames themselves: spread evenly, or the best, the typical and the worst.

They are coloured once more when all figures are known, since only then is it known which frames they are. A painter with a
memory sees the run again from its beginning, up to the frame, so that it shows what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from kinemacolor.colour import grey_rgb, lab_to_rgb, to_uint8
from kinemacolor.evaluation.painters import Batch, Painter, batches, painted
from kinemacolor.frames.index import FrameStore
from kinemacolor.report.sheets import Row, clock, sheet

KINDS = ("best", "typical", "worst")


@dataclass(frozen=True)
class Chosen:
    """Frames that were chosen by their figures.

    Attributes:
        rows: of a sheet: the best, then the typical, then the worst.
        rule: in words, how far they stand apart.
    """

    rows: list[Row]
    rule: str


def spread(count: int, wanted: int) -> list[int]:
    """Positions of min(count, wanted) of `count` things, each in the middle of its equal share, increasing."""
    wanted = min(count, wanted)
    return [(2 * index + 1) * count // (2 * wanted) for index in range(wanted)]


def extremes(error: np.ndarray, shots: np.ndarray, wanted: int) -> tuple[dict[int, str], str]:
    """The frames of the lowest error, of those nearest to the median, and of the highest: `wanted` of each kind, if there are.

    No two of them are neighbours: all are of different shots. Where there are too few shots for that, all stand apart by a
    quarter of what an even spread would give; where even that is too much, of a handful of frames, they only differ.

    Args:
        error: (N,) of each frame.
        shots: (N,) numbers of their shots, in the same order.
        wanted: of each kind; one at least is shown.

    Returns:
        Place -> kind, the best first, then the typical, then the worst; and the rule in words. Of two frames there is no typical
        one, and a single one is that.
    """
    error, count = np.asarray(error, np.float64), len(error)
    kinds = KINDS if count > 2 else ("best", "worst") if count == 2 else ("typical",)
    wanted = max(1, min(wanted, count // len(kinds)))
    # Ties go by place, so that the choice is the same everywhere.
    orders = {
        "best": np.argsort(error, kind="stable").tolist(),
        "typical": np.argsort(np.abs(error - np.median(error)), kind="stable").tolist(),
        "worst": np.argsort(-error, kind="stable").tolist(),
    }
    apart = max(2, count // (4 * len(kinds) * wanted))
    rules: list[tuple[Callable[[int, int], bool], str]] = [
        (lambda one, other: abs(one - other) < apart, f"no two within {apart} frames of each other"),
        (lambda one, other: one == other, "too few to stand apart"),
    ]
    if len(np.unique(shots)) >= len(kinds) * wanted:
        rules.insert(0, (lambda one, other: shots[one] == shots[other], "no two of one shot"))
    tried = ((_picked({kind: orders[kind] for kind in kinds}, wanted, near), rule) for near, rule in rules)
    found, rule = next((found, rule) for found, rule in tried if found)
    return {place: kind for kind in kinds for place in found[kind]}, rule


def _picked(orders: dict[str, list[int]], wanted: int, near: Callable[[int, int], bool]) -> dict[str, list[int]]:
    """Of each kind the first places of its order of which no two are near, equally many of each; nothing if there is not one."""
    taken: list[int] = []
    found: dict[str, list[int]] = {kind: [] for kind in orders}
    for turn in range(wanted):
        # In turns, and the far ends first: else the typical frames would take the shots of the worst.
        for kind in sorted(orders, key=("worst", "best", "typical").index):
            place = next((place for place in orders[kind] if not any(near(place, other) for other in taken)), None)
            if place is None:
                return {kind: places[:turn] for kind, places in found.items()} if turn else {}
            taken.append(place)
            found[kind].append(place)
    return found


def headed(row: Row, kind: str) -> Row:
    """The row with its kind before the caption."""
    return replace(row, caption=f"{kind}  ·  {row.caption}")


def chosen_rows(
    painter: Painter, stores: Sequence[FrameStore], part: pd.DataFrame, figures: pd.DataFrame, places: Collection[int]
) -> dict[int, Row]:
    """Rows of a sheet for some places of a split.

    Args:
        part: as `batches`, numbered from 0.
        figures: de2000 and psnr_rgb of each frame, for the notes.
    """
    found = {}
    for place, lightness, predicted, true in _coloured(painter, stores, part, sorted(places)):
        frame = part.iloc[place]
        pictures = [("grey", to_uint8(grey_rgb(lightness))), (painter.name, to_uint8(lab_to_rgb(predicted))), ("true", true)]
        found[place] = Row(
            pictures=[(heading, picture.permute(1, 2, 0).cpu().numpy()) for heading, picture in pictures],
            caption=f"{frame['source']}  {clock(frame['time'])}  (frame {frame['frame']})",
            notes={painter.name: f"ΔE {figures['de2000'].iloc[place]:.1f}   {figures['psnr_rgb'].iloc[place]:.1f} dB"},
        )
    return found


@torch.inference_mode()
def _coloured(
    painter: Painter, stores: Sequence[FrameStore], part: pd.DataFrame, places: Sequence[int]
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Each of some rising places with its lightness, what the painter makes of it, and the true frame."""
    if not painter.remembers:
        for place in places:
            (batch,) = batches(stores, part.iloc[place : place + 1], painter.device)
            yield from _of(batch, painted(painter, batch), {0: place})
        return
    begins = np.flatnonzero(part["starts"].to_numpy())
    run_of = np.searchsorted(begins, places, side="right") - 1
    for run in np.unique(run_of).tolist():
        here = {places[at] for at in np.flatnonzero(run_of == run).tolist()}
        painter.reset()
        at = int(begins[run])
        for batch in batches(stores, part.iloc[at : max(here) + 1], painter.device):
            predicted = painted(painter, batch)
            yield from _of(batch, predicted, {place - at: place for place in sorted(here) if at <= place < at + len(batch.rows)})
            at += len(batch.rows)


def _of(batch: Batch, predicted: Tensor, wanted: dict[int, int]) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    for index, place in wanted.items():
        yield place, batch.lightness[index], predicted[index], batch.true[index]


def draw_sheets(
    out: Path, painter: str, dataset: str, samples: dict[str, list[Row]], extremes: dict[str, Chosen], frames: dict[str, int]
) -> None:
    """Write sheet_<split>.png and extremes_<split>.png for every split that has any; those of an earlier run go.

    Args:
        painter, dataset: names for the titles.
        frames: how many each split has.
    """
    remark = "ΔE is the mean CIEDE2000 of the frame, dB the PSNR of its 8-bit RGB."
    for split, title in (("val", "validation"), ("test", "test")):
        for kind in ("sheet", "extremes"):
            (out / f"{kind}_{split}.png").unlink(missing_ok=True)  # a sheet must not outlive its split
        head = f"{painter} on {dataset}, {title}"
        if rows := samples.get(split):
            counted = f"{len(rows)} of {frames[split]} frames"
            sheet(rows, out / f"sheet_{split}.png", title=f"{head}: {counted}", remark=remark)
        if (chosen := extremes.get(split)) is not None:
            named = f"best, typical and worst of {frames[split]} frames by mean CIEDE2000, {chosen.rule}"
            typical = "Typical are the frames nearest to the median."
            sheet(chosen.rows, out / f"extremes_{split}.png", title=f"{head}: {named}", remark=f"{typical} {remark}")
