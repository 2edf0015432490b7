"""Which part of a print's pictures is picture: letterbox, pillarbox and the black border of a shifted picture left out.

Black alone says little: dark films have dark edges, bars carry subtitles and a sender's logo, and grain, contrast and
encoding make a bar grey. A bar is told by three things together: a line of pixels from the edge on, of which a good part
stands at one and the same dark level in nearly every picture; that this level is dark; and that the picture begins all at
once, along a straight line. The shade at the edge of a dark picture, and the wedge that a turned picture leaves, do not.
Ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_PARTS = 24  # into which a line is cut
_DARK = 44.0  # luma above which no bar stands, however it was graded
_SAME = 7.0  # luma by which a part of a bar may differ from the bar
_EXCEPT = 8  # one picture of this many may show something in a bar, such as an intro without bars
_STANDS = 0.3  # of the parts of a line must stand still for a bar
_SUDDEN = 0.5  # of the parts must come alive where a bar ends, as a share of those that live inside
_EDGE = 2  # pixels over which the edge of a bar is blurred


def picture_area(pictures: Sequence[NDArray[np.uint8]]) -> Box:
    """The part of the pictures that is not black bars; whole if there are none.

    Args:
        pictures: luma (H, W) uint8, all of one size, from all over the film.
    """
    stack = np.stack(pictures)
    height = stack.shape[1]
    # Columns by the middle of the picture, where no letterbox, subtitle or logo reaches; then rows by these columns.
    left, right = _ends(stack[:, height // 4 : height - height // 4].transpose(0, 2, 1))
    top, bottom = _ends(stack[:, :, left:right])
    return float(left), float(top), float(right), float(bottom)


def _ends(stack: NDArray[np.uint8]) -> tuple[int, int]:
    """First and last line of the picture, (pictures, lines, pixels along the line) -> (start, end)."""
    lines = stack.shape[1]
    cuts = np.linspace(0, stack.shape[2], min(_PARTS, stack.shape[2]) + 1).astype(int)
    sums = np.add.reduceat(stack, cuts[:-1], axis=2, dtype=np.float32)
    parts = sums / np.diff(cuts)
    near, far = _bar(parts), _bar(parts[:, ::-1])
    return (near, lines - far) if lines - near - far > lines / 3 else (0, lines)


def _bar(parts: NDArray[np.float32]) -> int:
    """How many lines from the first on are no picture, of (pictures, lines, parts)."""
    pictures, lines, _ = parts.shape
    level = float(np.percentile(parts[:, 0], 25))
    if level > _DARK:
        return 0
    lives = np.abs(parts - level) > _SAME
    stands = lives.sum(axis=0) <= pictures // _EXCEPT
    bar = stands.mean(axis=1) >= _STANDS
    deep = lines if bar.all() else int(np.argmin(bar))
    if deep == 0 or deep > lines // 2:
        return 0
    share = lives.mean(axis=(0, 2))
    within = float(share[max(0, deep - 4) : deep].mean())
    behind = float(share[deep + _EDGE : deep + _EDGE + 4].mean())
    inside = float(np.median(share[deep:]))
    return deep + _EDGE if behind - within > _SUDDEN * inside > 0.02 else 0
