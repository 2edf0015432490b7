"""Colour hints: made up from the truth in training, and as a person gives them.

A hint is a small square of one colour. Networks get them as a picture of three channels: a and b in Lab units, 0 where
there is no hint, and a mask of 0 and 1. Source: Zhang, Zhu et al. 2017 (arXiv 1705.02999) and its training code;
models.md, section 6.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kinemacolor.colour import lab_to_rgb, rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.params import Hints

RADIUS = 2
"""Of a hint whose radius is not given: a square of 5 pixels, the mean of those that the networks were trained with."""


def simulate_hints(lab: Tensor, params: Hints, random: np.random.Generator) -> Tensor:
    """Colour hints as a person might have given them for true pictures.

    Of each picture: how many hints is geometric, the side of each is uniform, its place is Gaussian around the middle with
    a quarter of the picture for sigma, kept inside, its colour is the mean of the true ones in it. A later hint covers an
    earlier one. A few pictures are revealed whole.

    Args:
        lab: true pictures (N,3,H,W), on any device.
        params: how many, how large, how often all.
        random: decides everything; the device does not.

    Returns:
        float32 (N,3,H,W) on the device of `lab`: a and b in Lab units, and a mask of 0 and 1.
    """
    count, _, height, width = lab.shape
    # Which hint covers a pixel is worked out here, and only that goes to the device: one copy instead of one a hint.
    covering = np.zeros((count, height, width), np.int64)
    squares = []
    revealed = np.zeros(count, bool)
    for picture in range(count):
        revealed[picture] = random.random() < params.reveal
        for _ in range(random.geometric(params.stop) - 1):
            side = min(int(random.integers(1, params.patch + 1)), height, width)
            top, left = (_place(extent, side, random) for extent in (height, width))
            squares.append((picture, top, left, side))
            covering[picture, top : top + side, left : left + side] = len(squares)
    colours = torch.cat((lab.new_zeros(1, 2, dtype=torch.float32), _means(lab, np.array(squares, np.int64).reshape(-1, 4))))
    there = torch.from_numpy(covering).to(lab.device)
    hints = torch.cat((colours[there], (there > 0).float()[..., None]), dim=-1).permute(0, 3, 1, 2)
    whole = torch.cat((lab[:, 1:].float(), torch.ones_like(hints[:, 2:])), dim=1)
    return torch.where(torch.from_numpy(revealed).to(lab.device)[:, None, None, None], whole, hints).contiguous()


def _place(extent: int, side: int, random: np.random.Generator) -> int:
    """First pixel of a square of `side` along an edge of `extent`."""
    room = extent - side
    return int(np.clip(random.normal((room + 1) / 2, (room + 1) / 4), 0, room))


def _means(lab: Tensor, squares: np.ndarray) -> Tensor:
    """Mean ab (M,2) of squares (M,4): picture, top, left, side."""
    if not len(squares):
        return lab.new_zeros(0, 2, dtype=torch.float32)
    picture, top, left, side = torch.from_numpy(squares).to(lab.device).T
    step = torch.arange(int(squares[:, 3].max()), device=lab.device)
    inside = step < side[:, None]
    y = (top[:, None] + step).clamp(max=lab.shape[2] - 1)[:, :, None]
    x = (left[:, None] + step).clamp(max=lab.shape[3] - 1)[:, None, :]
    ab = lab[picture[:, None, None], 1:, y, x].float()
    counted = (inside[:, :, None] & inside[:, None, :])[..., None]
    return torch.where(counted, ab, 0.0).sum(dim=(1, 2)) / side.square()[:, None]


def hints_from_points(points: Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """The hints that a person gave for one picture.

    Args:
        points: (y, x, a, b) or (y, x, a, b, radius) each: a pixel counted from the top left one, which is 0, 0; a colour in
            Lab units; and how many pixels the square reaches beyond that pixel. Later ones cover earlier ones; what
            reaches beyond the picture is cut off.
        height, width: of the picture in pixels.

    Returns:
        float32 (1,3,height,width): a and b in Lab units, and a mask of 0 and 1.

    Raises:
        UserError: not four or five numbers, a pixel outside the picture, or a colour that sRGB cannot show at any
            lightness.
    """
    hints = torch.zeros(1, 3, height, width)
    for number, point in enumerate(points, 1):
        y, x, a, b, radius = _checked(number, point, height, width)
        hints[0, :, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = torch.tensor([a, b, 1.0])[
            :, None, None
        ]
    return hints


def _checked(number: int, point: Sequence[float], height: int, width: int) -> tuple[int, int, float, float, int]:
    try:
        y, x, a, b, radius = [float(value) for value in (point if len(point) == 5 else (*point, RADIUS))]
    except (TypeError, ValueError):
        y = math.nan
    if not (math.isfinite(y) and all(map(math.isfinite, (x, a, b, radius))) and radius >= 0):
        raise UserError(
            f"Hint {number} ({point!r}) is not four or five numbers: give y, x, a, b and, if wanted, a radius of 0 or more."
        )
    if not (0 <= y < height and 0 <= x < width):
        raise UserError(
            f"Hint {number} lies outside the picture (y {y:g}, x {x:g} of {height}x{width}): "
            f"give y from 0 to {height - 1} and x from 0 to {width - 1}."
        )
    if not shown_by_srgb(a, b):
        raise UserError(
            f"Hint {number} asks for a colour that no screen shows (a {a:g}, b {b:g}): choose an sRGB colour and convert it to Lab."
        )
    return int(y), int(x), a, b, int(radius)


def shown_by_srgb(a: float, b: float) -> bool:
    """Whether sRGB has the colour a, b at some lightness, to within one unit of ab."""
    lightness = torch.arange(0, 100.01, 0.25)
    lab = torch.stack((lightness, torch.full_like(lightness, a), torch.full_like(lightness, b)))[None, :, None]
    back = rgb_to_lab(lab_to_rgb(lab))
    return bool(((back - lab).abs().amax(dim=1) < 1).any())
