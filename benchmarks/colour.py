"""Claim: Lab in batches is faster than scikit-image picture by picture, and is the same Lab.

    python benchmarks/colour.py [--size 256] [--count 32] [--rounds 9]

Both run in turn on one thread, on the same random 8-bit pictures; the medians' ratio is what counts. scikit-image gets
pictures with channels last, ours with channels first, each as it likes them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage import color

from kinemacolor.colour import rgb_to_lab


def seconds(function: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main() -> None:
    """Print the ratio of the medians, and the largest difference of any value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of a picture")
    parser.add_argument("--count", type=int, default=32, help="pictures in a batch")
    parser.add_argument("--rounds", type=int, default=9, help="interleaved runs, at least 5")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    shape = (arguments.count, 3, arguments.size, arguments.size)
    planar = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    interleaved = planar.permute(0, 2, 3, 1).contiguous().numpy()
    contestants: dict[str, Callable[[], object]] = {
        "scikit-image": lambda: [color.rgb2lab(picture) for picture in interleaved],
        "kinemacolor, whole batch": lambda: rgb_to_lab(planar),
        "kinemacolor, picture by picture": lambda: [rgb_to_lab(picture) for picture in planar],
    }
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(max(5, arguments.rounds) + 1):
        for name, function in contestants.items():
            taken[name].append(seconds(function))
    medians = {name: statistics.median(times[1:]) for name, times in taken.items()}  # the first round warms up

    off = np.abs(rgb_to_lab(planar).permute(0, 2, 3, 1).numpy() - color.rgb2lab(interleaved)).max()
    print(
        f"RGB to Lab, {arguments.count} pictures of {arguments.size}x{arguments.size}, one thread, largest difference {off:.1e}"
    )
    for name, median in medians.items():
        rate = arguments.count / median
        print(f"{name:32} {rate:9.0f} pictures/s   {medians['scikit-image'] / median:5.2f} x scikit-image")


if __name__ == "__main__":
    main()
