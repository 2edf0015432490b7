"""Claim: 8-bit RGB becomes float32 Lab at least fifteen times as fast as by scikit-image picture by picture, within 1e-4.

    python benchmarks/colour.py [--rounds 9] [--out FILE]

On the same random pictures, interleaved, on one thread and on two (scikit-image has one). scikit-image gets pictures with
channels last, ours with channels first, each as it likes them. The error is the largest over all 2^24 colours, against
scikit-image in float64. Beside them OpenCV, which is fast and another Lab.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable

import cv2
import numpy as np
import torch
from machine import interleaved, options, publish, speedups, spread, table
from skimage import color

from kinemacolor.colour import rgb_to_lab


def on_threads(count: int, function: Callable[[], object]) -> Callable[[], None]:
    """The function, with this many threads for torch and our kernels."""

    def run() -> None:
        torch.set_num_threads(count)
        function()

    return run


def opencv(pictures: np.ndarray) -> None:
    """OpenCV's float Lab of uint8 (N,H,W,3)."""
    for picture in pictures:
        cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def error(step: int) -> tuple[float, float]:
    """Largest difference from scikit-image of ours and of OpenCV's float Lab, over every `step`th red of all colours."""
    other = np.stack(np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij"), axis=-1)
    worst = [0.0, 0.0]
    for red in range(0, 256, step):
        picture = np.dstack((np.full_like(other[..., :1], red), other))
        true = color.rgb2lab(picture)
        ours = rgb_to_lab(torch.from_numpy(picture).permute(2, 0, 1)).permute(1, 2, 0).numpy()
        theirs = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        worst = [max(worst[0], float(np.abs(ours - true).max())), max(worst[1], float(np.abs(theirs - true).max()))]
    return worst[0], worst[1]


def main() -> None:
    """Print ratios for both sizes, and the errors."""
    parser = options(__doc__, rounds=9)
    parser.add_argument("--count", type=int, default=32, help="pictures in a batch")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rows = []
    for size in (32, 16) if arguments.small else (256, 64):
        planar = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (arguments.count, 3, size, size), dtype=np.uint8))
        pictures = planar.permute(0, 2, 3, 1).contiguous().numpy()
        taken = interleaved(
            {
                "scikit-image, per picture": on_threads(1, lambda pictures=pictures: [color.rgb2lab(one) for one in pictures]),
                "kinemacolor, a batch, one thread": on_threads(1, lambda planar=planar: rgb_to_lab(planar)),
                "kinemacolor, a batch, two threads": on_threads(2, lambda planar=planar: rgb_to_lab(planar)),
                "kinemacolor, per picture, one thread": on_threads(1, lambda planar=planar: [rgb_to_lab(one) for one in planar]),
                "OpenCV float, per picture": on_threads(1, lambda pictures=pictures: opencv(pictures)),
            },
            arguments.rounds,
        )
        peer = taken["scikit-image, per picture"]
        for name, seconds in taken.items():
            rates = [arguments.count / one for one in seconds]
            rows.append([f"{size}x{size}: {name}", spread(rates, 0), spread(speedups(seconds, peer), 1)])
    ours, opencvs = error(51 if arguments.small else 1)
    publish(
        "RGB to Lab",
        shlex.join(["python", *sys.argv]),
        [table(["pictures", "a second", "times scikit-image"], rows)],
        out=arguments.out,
        remarks=[
            f"Largest difference from scikit-image in float64 over all colours of 8 bits: {ours:.1e} (OpenCV float: {opencvs:.1e})."
        ],
    )


if __name__ == "__main__":
    main()
