"""Claim: cuts are told from motion, flashes and fades, at 24 frames a second and at one.

    python benchmarks/cuts.py data/raw/bunny/colour.mp4 [--sheet found.png]

The film is Big Buck Bunny (14,315 frames). Its hard cuts are listed below: TransNetV2's list, of which each was looked at,
without what is a fade, a dissolve, an iris or something that passes before the camera, and with two that it set a frame
off. The peer is a threshold on the mean difference of L*, at the value that is best for it at each step. Our own constants
were set on this film and on Tears of Steel, so other films may fare worse.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from kinemacolor.colour import rgb_to_lab
from kinemacolor.frames.cuts import CutDetector
from kinemacolor.media.decode import decode

STEPS = (1, 2, 8, 24, 58)
CUTS = """
285 378 553 1145 1346 1456 1531 1666 1711 1763 1813 1919 2154 2194 2394 2494 2704 2831 2901 2963 3045 3513 3578 3744 3860
3895 3919 3989 4032 4069 4227 4266 4332 4463 4544 4612 4672 4697 4726 4796 4900 4942 4979 5013 5079 5131 5292 5371 5430
5518 5579 5809 5844 6018 6048 6088 6128 6168 6208 6228 6268 6308 6348 6388 6488 6623 6670 6713 6753 6833 7013 7093 7131
7325 7400 7500 7546 7613 7661 7732 7769 8024 8085 8154 8945 9009 9080 9148 9379 9420 9468 9507 9575 9584 9593 9719 9795
9850 9891 9987 10016 10081 10097 10125 10184 10234 10260 10303 10339 10409 10453 10468 10574 10612 10613 10637 10842 11312
11349 11524 11560 11612 11671 13942
"""


def small_frames(video: Path) -> tuple[np.ndarray, np.ndarray]:
    """RGB (N,54,96,3) uint8 and L* (N,1,54,96) float32 of every frame."""
    pictures = [cv2.resize(picture.pixels, (96, 54), interpolation=cv2.INTER_AREA) for picture in decode(video)]
    rgb = np.stack(pictures)
    planar = torch.from_numpy(rgb).permute(0, 3, 1, 2)
    return rgb, torch.cat([rgb_to_lab(part.contiguous())[:, :1] for part in planar.split(256)]).numpy()


def figures(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and their harmonic mean."""
    hits = float((found & true).sum())
    return hits / max(1, found.sum()), hits / true.sum(), 2 * hits / (found.sum() + true.sum())


def sheet(rgb: np.ndarray, found: np.ndarray, target: Path, columns: int = 6) -> None:
    """Two frames before and one after every cut found, as one picture."""
    rows = [np.concatenate([rgb[at - 2], rgb[at - 1], rgb[at], np.zeros((54, 6, 3), np.uint8)], axis=1) for at in found if at > 1]
    rows += [np.zeros_like(rows[0])] * (-len(rows) % columns)
    lines = [np.concatenate(rows[at : at + columns], axis=1) for at in range(0, len(rows), columns)]
    cv2.imwrite(str(target), np.concatenate(lines)[..., ::-1])


def main() -> None:
    """Print precision and recall for each step, ours and the peer's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--sheet", type=Path, help="picture of the cuts found at every frame")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rgb, lightness = small_frames(arguments.video)
    cuts = np.zeros(len(rgb), int)
    cuts[[int(number) for number in CUTS.split()]] = 1
    passed = np.cumsum(cuts)
    for step in STEPS:
        chosen = np.arange(0, len(rgb), step)
        true = np.diff(passed[chosen]) > 0
        ours = CutDetector()(torch.from_numpy(lightness[chosen])).numpy()
        difference = np.abs(np.diff(lightness[chosen], axis=0)).mean(axis=(1, 2, 3))
        peer = max((figures(difference > limit, true) for limit in np.arange(4, 40, 0.5)), key=lambda one: one[2])
        precision, recall, both = figures(ours[1:], true)
        print(
            f"1 of {step:2}  {true.sum():4} cuts in {len(true):6} pairs   precision {precision:.3f}  recall {recall:.3f}  F1 {both:.3f}"
            f"   threshold alone {peer[0]:.3f} {peer[1]:.3f} {peer[2]:.3f}"
        )
        if step == 1 and arguments.sheet is not None:
            sheet(rgb, np.flatnonzero(ours), arguments.sheet)


if __name__ == "__main__":
    main()
