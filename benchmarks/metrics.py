"""Claim: all figures of a picture cost less than SSIM and CIEDE2000 alone do with scikit-image, and LPIPS is the published one.

    python benchmarks/metrics.py [--lpips data/weights/lpips_alex ...] [--rounds 5] [--out FILE]

On the same photographs and their grey copies, interleaved, on one thread, by CPU time: every figure of `PixelMetrics` against
scikit-image's structural similarity (our window) and CIEDE2000 from RGB, picture by picture. With folders of LPIPS weights also
the largest difference from torchmetrics, which gets the same features and brings the published heads itself; these are compared
number by number as well.
"""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torchmetrics.functional.image.lpips as peer
from machine import interleaved, options, publish, speedups, spread, table
from skimage import color, data
from skimage.metrics import structural_similarity
from torch import Tensor

from kinemacolor.colour import grey_rgb, rgb_to_lab, to_uint8
from kinemacolor.metrics.perceptual import load_lpips
from kinemacolor.metrics.pixel import PixelMetrics
from kinemacolor.models import encoders
from kinemacolor.pretrained import lpips


def photographs(side: int) -> tuple[Tensor, Tensor]:
    """Crops of photographs, uint8 (N,3,side,side), and the same in grey."""
    crops = [
        picture[y : y + side, x : x + side] for picture in (data.astronaut(), data.coffee()) for y in (0, 140) for x in (0, 200)
    ]
    true = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
    return to_uint8(grey_rgb(rgb_to_lab(true)[:, :1])).contiguous(), true


def by_scikit_image(predicted: Tensor, true: Tensor) -> None:
    """SSIM and CIEDE2000 of each pair."""
    for one, other in zip(*(pictures.permute(0, 2, 3, 1).numpy() for pictures in (predicted, true)), strict=True):
        structural_similarity(
            one, other, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        color.deltaE_ciede2000(color.rgb2lab(one), color.rgb2lab(other)).mean()


def differences(folder: Path) -> list[str]:
    """A row: the distance of the first photograph from grey, the largest difference from the peer's, and whether heads are equal."""
    network, architecture = lpips.load(folder)
    encoder = encoders.build(network.kind.encoder)
    encoder.features.load_state_dict(network.features.state_dict())
    peer._get_tv_model_features = lambda *_: encoder.features  # torchvision's, which cannot stand beside a CPU build of torch
    other = peer._LPIPS(net=architecture.removeprefix("lpips_"))
    predicted, true = photographs(128)
    with torch.no_grad():
        expected = other(predicted.float() / 255, true.float() / 255, normalize=True).flatten().double()
    found = load_lpips(folder)(predicted, true)
    equal = all(
        torch.equal(head, theirs.model[-1].weight.flatten()) for head, theirs in zip(network.heads, other.lins, strict=True)
    )
    return [architecture, f"{found[0]:.5f}", f"{(found - expected).abs().max():.1e}", "yes" if equal else "no"]


def main() -> None:
    """Print speeds for two sizes, and differences from the published LPIPS."""
    parser = options(__doc__)
    parser.add_argument("--lpips", type=Path, nargs="*", default=[], metavar="FOLDER", help="what the stage weights made")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for side in (32,) if arguments.small else (64, 128, 256):
        predicted, true = photographs(side)
        lab = rgb_to_lab(predicted)
        taken = interleaved(
            {
                "scikit-image, SSIM and CIEDE2000": lambda predicted=predicted, true=true: by_scikit_image(predicted, true),
                "kinemacolor, all figures": lambda lab=lab, true=true: PixelMetrics().update(lab, true),
            },
            arguments.rounds,
            clock=time.process_time,
        )
        for name, seconds in taken.items():
            rates = [len(true) / one for one in seconds]
            faster = speedups(seconds, taken["scikit-image, SSIM and CIEDE2000"])
            rows.append([f"{side}x{side}: {name}", spread(rates, 0), spread(faster, 1)])
    tables = [table(["", "pictures a CPU second", "times scikit-image"], rows)]
    if arguments.lpips:
        columns = ["", "first photograph from grey", "largest difference from torchmetrics", "heads equal"]
        tables.append(table(columns, [differences(folder) for folder in arguments.lpips]))
    publish("Metrics", shlex.join(["python", *sys.argv]), tables, out=arguments.out)


if __name__ == "__main__":
    main()
