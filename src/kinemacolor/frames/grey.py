"""Is a frame grey? By the Lab chroma that is neither a tint, nor noise, nor a logo or a bar.

A mean of chroma is fooled both ways: sepia has more of it than a dark scene, and a red coat on a grey street next to none.
Asked here is what a network could learn from the frame: colour that its lightness does not tell already. The frame is
reduced to some 64 by 64 places and averaged 3 by 3, which leaves little of grain and of a codec's chroma noise. The tint is
the chroma that most places of a lightness have, as a smooth curve over L* (`tint_kernels.fit`), found robustly, so that an
object does not pass for a tint; a tint is of one hue, in no strong colour and upon all tones (`tint_kernels.narrow`), and may
fade to one side. What is no such thing is not taken off. Nor does a fringe of misregistered channels count. What lies beyond
the tint, and beyond a share of its own chroma (.15; of blue toning .28), is what counts; a frame has as much colour as all but
the most colourful .35 % of it stay below, less what the noise makes of such a tail, which is measured in the frame itself by
how much neighbouring places differ. An object of half a per cent of the frame is seen.

What this cannot tell: a frame whose only colour is one hue of moderate chroma in all its tones, such as mist, snow under a blue sky,
water or a green night, passes for toned as a single picture; in a film in colour it stays (`FilterParams.one_hue`). Toning in
two hues passes for colour. Ours; what else was tried stands in docs/log.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kinemacolor import cores
from kinemacolor.colour import rgb_to_lab

SIDE = 64
"""Places along the side of a square frame at which colour is looked for; as many in all where frames are oblong."""
_AREA = 0.0035
_TAIL = 3.4
"""How many deviations of noise (Rayleigh's) _AREA of the places exceed."""


def threads() -> int:
    """Threads that this process may run at once."""
    return cores.usable()


class Look(NamedTuple):
    """What is measured of frames, each (N,) float64.

    Attributes:
        mean_chroma: mean of sqrt(a^2 + b^2), Lab units.
        colour: chroma (Lab units) beyond tint and noise; decides whether a frame is grey.
        lightness: mean L*, 0 to 100.
        spread: standard deviation of L*.
        area: share of the picture, 0 to 1, that is clearly coloured beyond tint and noise.
    """

    mean_chroma: np.ndarray
    colour: np.ndarray
    lightness: np.ndarray
    spread: np.ndarray
    area: np.ndarray


def look_at(rgb: np.ndarray, counted: np.ndarray | None = None, *, lab: Tensor | None = None) -> Look:
    """Measure frames.

    Args:
        rgb: uint8 (N,3,H,W).
        counted: (H,W) bool, pixels that count (`standing.counted_pixels`); None counts all. At least one does.
        lab: `rgb_to_lab(rgb)`, if it is there already.

    Returns:
        A value a frame, rounded to 1e-4; it does not depend on the number of threads.
    """
    from kinemacolor.compiled import in_slabs
    from kinemacolor.frames import grey_kernels as kernels

    number, _, height, width = rgb.shape
    rgb = np.ascontiguousarray(rgb)
    lab_values = np.ascontiguousarray((rgb_to_lab(torch.from_numpy(rgb)) if lab is None else lab).numpy())
    counted = np.ones((height, width), bool) if counted is None else np.ascontiguousarray(counted)
    shrink = min(1.0, SIDE / (height * width) ** 0.5)
    grid = max(1, round(height * shrink)), max(1, round(width * shrink))
    small, there = np.zeros((number, 3, *grid)), np.zeros(grid, bool)
    plain, colour = np.zeros((number, 3)), np.zeros((number, 2))

    def work(begin: int, end: int) -> None:
        kernels.plain(lab_values, counted, plain, begin, end)
        kernels.smoothed(rgb, counted, small, there, begin, end)
        kernels.beyond_tint(small, there, _AREA, _TAIL, colour, begin, end)

    in_slabs(work, number, slab=8, threads=threads())
    columns = (plain[:, 0], colour[:, 0], plain[:, 1], plain[:, 2], colour[:, 1])
    return Look(*(np.round(values, 4) for values in columns))
