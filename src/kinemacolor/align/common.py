"""The area that two prints share, as an upright crop of each, once the transform between them is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.bars import Box
from kinemacolor.align.laying import Matrix, apply, inverse
from kinemacolor.errors import UserError

_BLACK = 8.0  # luma above a print's black level that a border does not exceed
_LIT = (25.0, 35.0, 50.0, 70.0, 100.0)  # luma above it that may say that there is something to be seen
_BY_CHANCE = 0.002  # of the middle of the picture may be dead in one print and that light in the other
_BORDER = 0.05  # of a line is border on this account: it is cut off


def common_area(transform: Matrix, *, grey_box: Sequence[float], colour_box: Sequence[float]) -> tuple[Box, Box]:
    """The largest upright crop of the colour picture that both boxes hold, and the crop of the grey picture that goes with it.

    Args:
        transform: from colour to grey coordinates.
        grey_box, colour_box: left, top, right, bottom of what may be used of each print.

    Returns:
        The colour crop and the grey crop; where the transform is turned, the latter is that of the picture set upright.

    Raises:
        UserError: there is no such area.
    """
    if transform[0, 1] == 0 and transform[1, 0] == 0:
        back = apply(inverse(transform), np.array(grey_box, float).reshape(2, 2)).ravel()
        colour = np.concatenate([np.maximum(back[:2], colour_box[:2]), np.minimum(back[2:], colour_box[2:])])
    else:
        colour = _largest(transform, np.array(grey_box, float), np.array(colour_box, float))
    across, down = np.hypot(*transform[:, 0]), np.hypot(*transform[:, 1])
    half = np.array([across, down]) * (colour[2:] - colour[:2]) / 2
    if (half < 8).any():
        raise UserError("The two prints show no common area: check that both are the same film.")
    middle = apply(transform, (colour[None, :2] + colour[None, 2:]) / 2)[0]
    grey = np.concatenate([middle - half, middle + half])
    # Rounding aside this changes nothing.
    grey = np.clip(grey, np.tile(grey_box[:2], 2), np.tile(grey_box[2:], 2))
    return tuple(float(v) for v in colour), tuple(float(v) for v in grey)


def _largest(transform: Matrix, grey_box: NDArray, colour_box: NDArray) -> NDArray[np.float64]:
    """The upright box in colour coordinates of the largest area whose image lies inside the grey box.

    The logarithm of the area is concave and every side a linear condition, so there is one best box.
    """
    from scipy.optimize import minimize

    scale = float((colour_box[2:] - colour_box[:2]).max())
    box, offset = colour_box / scale, transform[:, 2]
    # Of the four corners, the one farthest out on a side of the grey box is told by the signs of the transform.
    rows, limits = [], []
    for axis in (0, 1):
        for side in (-1.0, 1.0):
            slope = side * transform[axis, :2]
            row = np.zeros(4)
            for along in (0, 1):
                row[along + (2 if slope[along] > 0 else 0)] = slope[along]
            rows.append(row * scale)
            limits.append(side * (grey_box[axis + (2 if side > 0 else 0)] - offset[axis]))
    rows, limits = np.array(rows), np.array(limits)
    norm = np.abs(rows).max(axis=1)
    rows, limits = rows / norm[:, None], limits / norm
    middle = apply(inverse(transform), ((grey_box[:2] + grey_box[2:]) / 2)[None])[0] / scale
    middle = np.clip(middle, box[:2] + 0.05, box[2:] - 0.05)
    start = np.concatenate([middle - 0.05, middle + 0.05])

    def sides(v: NDArray) -> NDArray:
        return np.maximum(v[2:] - v[:2], 1e-6)

    found = minimize(
        lambda v: -float(np.log(sides(v)).sum()),
        start,
        jac=lambda v: np.concatenate([1 / sides(v), -1 / sides(v)]),
        bounds=[(box[0], box[2]), (box[1], box[3])] * 2,
        constraints={"type": "ineq", "fun": lambda v: limits - rows @ v, "jac": lambda v: -rows},
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-10},
    )
    # A hair inside, for what the method leaves over.
    left, top, right, bottom = found.x * scale
    return np.array([left + 1e-3, top + 1e-3, right - 1e-3, bottom - 1e-3])


def borders(laid: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[int, int, int, int]:
    """How many lines to cut off at the left, top, right and bottom where one print is black and the other is not.

    What no straight bar told: the wedge beside a turned picture, a border that both a crop and a turn have left. What is
    dark in both prints stays.

    Args:
        laid: luma of the two prints laid on each other (H, W) uint8, several pairs that are right.
    """
    if len(laid) < 3:
        return 0, 0, 0, 0
    stacks = [np.stack([pair[print_] for pair in laid]).astype(np.float32) for print_ in (0, 1)]
    # Means, which grain does not move; black is what the darkest places of a print have in common.
    mean = [stack.mean(axis=0) for stack in stacks]
    black = [min(float(np.percentile(stack, 0.2)), 40.0) for stack in mean]
    dead = [usual <= level + _BLACK for usual, level in zip(mean, black, strict=True)]
    border = _contrary(dead[0], mean[1] - black[1]) | _contrary(dead[1], mean[0] - black[0])
    height, width = border.shape
    low, high = [0, 0], [width, height]
    while high[0] - low[0] > width / 2 and high[1] - low[1] > height / 2:
        part = border[low[1] : high[1], low[0] : high[0]]
        shares = [part[:, 0].mean(), part[0].mean(), part[:, -1].mean(), part[-1].mean()]
        worst = int(np.argmax(shares))
        if shares[worst] <= _BORDER:
            break
        if worst < 2:
            low[worst] += 1
        else:
            high[worst - 2] -= 1
    cut = (low[0], low[1], width - high[0], height - high[1])
    # The edge of a border is blurred over a pixel.
    return tuple(lines + 1 if lines else 0 for lines in cut)


def _contrary(dead: NDArray[np.bool_], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where one print is dead while the other shows something; (H, W).

    How light the other must be for that, the middle of the picture tells, where no border is: two prints differ in tone.
    """
    height, width = dead.shape
    inner = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    for light in _LIT:
        contrary = dead & (other >= light)
        if contrary[inner].mean() <= _BY_CHANCE:
            return contrary
    return np.zeros_like(dead)
