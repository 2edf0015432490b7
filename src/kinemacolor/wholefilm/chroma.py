"""Enlarging a network's chroma to a picture's own size, along the edges of the picture's own luminance.

A network sees a film at 64 or 128 lines; enlarged linearly, its colours run over every outline. Where colour changes at an
outline, so does luminance mostly, and that is there at full size. Three ways:

- `guided`: around every small pixel, how much a and b change with the luminance (a regression in a window, steadied by
  `eps`: He, Sun and Tang 2013, with the coefficients at the small size: He and Sun 2015). Here ours: the linear enlargement,
  plus this slope times what the full-size luminance has beyond its own linear enlargement. So where nothing is known the
  result is the linear one, and shrunk again it is what the network said.
- `bilateral`: the mean of the sixteen nearest colours, weighted by place and by likeness of luminance (joint bilateral
  upsampling: Kopf, Cohen, Lischinski and Uyttendaele 2007). Never a colour that the network did not give; some five times
  as slow.
- `bilinear`: linear, for comparison.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemacolor.compiled import in_slabs
from kinemacolor.errors import UserError

Method = Literal["guided", "bilateral", "bilinear"]
METHODS: tuple[str, ...] = get_args(Method)

_LINES = 32
"""Lines to a slab."""
_TABLE, _FARTHEST = 256, 4.0  # entries of the table of likeness, and the standard deviations that it reaches


class Grid(NamedTuple):
    """Where the samples of a plane lie in a picture, along one side.

    Attributes:
        count: samples.
        step: pixels of the picture from one to the next.
        first: place of the first one's centre, in pixels from the picture's edge.
    """

    count: int
    step: float = 1.0
    first: float = 0.5


class Enlarger:
    """Brings ab from a small size to that of a picture's chroma; made once for all pictures of a film.

    Args:
        small: height and width of what the network gives.
        picture: height and width of the picture, in pixels of luminance.
        grids: the samples wanted, downwards and across; one for every pixel of the picture if None.
        method: see the module.
        radius: guided: half a window's side, in small pixels.
        eps: guided: squared units of the guide below which a change of luminance says nothing about colour.
        sigma: bilateral: standard deviation of place in small pixels, and of likeness in units of the guide.

    Raises:
        UserError: unknown method.
    """

    def __init__(
        self,
        small: tuple[int, int],
        picture: tuple[int, int],
        grids: tuple[Grid, Grid] | None = None,
        *,
        method: str = "guided",
        radius: int = 1,
        eps: float = 75.0,
        sigma: tuple[float, float] = (0.5, 12.0),
    ) -> None:
        if method not in METHODS:
            raise UserError(f"The way {method!r} to enlarge chroma is unknown: choose one of {', '.join(METHODS)}.")
        self.method, self._small, self._window, self._eps = method, small, (2 * radius + 1,) * 2, eps
        grids = grids or (Grid(picture[0]), Grid(picture[1]))
        self.size = grids[0].count, grids[1].count
        sides = [_places(grid, few, many) for grid, few, many in zip(grids, small, picture, strict=True)]
        (self._top, self._down), (self._left, self._right) = sides
        if method == "bilateral":
            self._weights = [_by_place(fraction, sigma[0]) for _, fraction in sides]
            likeness = np.linspace(0, _FARTHEST, _TABLE)
            self._table = np.exp(-(likeness**2) / 2).astype(np.float32)
            self._steps = np.float32((_TABLE - 1) / (_FARTHEST * sigma[1]))

    def __call__(
        self, ab: NDArray[np.float32], low: NDArray[np.float32], guide: NDArray[np.float32], *, threads: int = 1
    ) -> NDArray[np.float32]:
        """Enlarge one picture's ab.

        Args:
            ab: (2,h,w), Lab units.
            low: (h,w) the guide at the small size: luminance on a scale from 0 to 100.
            guide: (H,W) the same at the size wanted.
            threads: how many may be used; the result does not depend on it.

        Returns:
            (2,H,W) float32.
        """
        ab, out = np.ascontiguousarray(ab, np.float32), np.empty((2, *self.size), np.float32)
        if self.method == "bilateral":
            self._bilateral(ab, np.ascontiguousarray(low), guide, out, threads)
            return out
        from kinemacolor.wholefilm.chroma_kernels import across, down  # numba takes half a second to import

        planes = np.concatenate((ab, self._slopes(ab, low), low[None])) if self.method == "guided" else ab
        wide = np.empty((*planes.shape[:2], self.size[1]), np.float32)
        lines = planes.shape[0] * planes.shape[1]
        in_slabs(lambda begin, end: across(planes, self._left, self._right, wide, begin, end), lines, slab=256, threads=threads)
        in_slabs(
            lambda begin, end: down(wide, self._top, self._down, guide, out, begin, end),
            self.size[0],
            slab=_LINES,
            threads=threads,
        )
        return out

    def _bilateral(
        self,
        ab: NDArray[np.float32],
        low: NDArray[np.float32],
        guide: NDArray[np.float32],
        out: NDArray[np.float32],
        threads: int,
    ) -> None:
        from kinemacolor.wholefilm.chroma_kernels import bilateral

        y, x = self._weights

        def work(begin: int, end: int) -> None:
            bilateral(ab, low, guide, self._top, y, self._left, x, self._table, self._steps, out, begin, end)

        in_slabs(work, self.size[0], slab=_LINES, threads=threads)

    def _slopes(self, ab: NDArray[np.float32], low: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much a and b change with the guide around every small pixel: (2,h,w)."""
        low = low - low.mean()  # squares of large numbers would leave float32 fewer digits for their differences
        mean = _mean(low, self._window)
        spread = np.maximum(_mean(low * low, self._window) - mean * mean, 0) + self._eps
        slopes = [(_mean(plane * low, self._window) - _mean(plane, self._window) * mean) / spread for plane in ab]
        return np.stack([_mean(slope, self._window) for slope in slopes])


def _mean(plane: NDArray[np.float32], window: tuple[int, int]) -> NDArray[np.float32]:
    return cv2.boxFilter(plane, cv2.CV_32F, window, borderType=cv2.BORDER_REFLECT)


def _places(grid: Grid, small: int, picture: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each sample, the small pixel before it and how far beyond its centre it lies; beyond the outermost ones, theirs."""
    at = (grid.first + grid.step * np.arange(grid.count)) * small / picture - 0.5
    at = np.clip(at, 0, small - 1)
    before = np.minimum(np.floor(at), max(0, small - 2)).astype(np.int64)
    return before, (at - before).astype(np.float32)


def _by_place(fraction: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """(N,4) Gaussian weights of the pixels at -1, 0, 1 and 2 from the one before a sample."""
    distance = np.arange(-1, 3) - fraction[:, None].astype(np.float64)
    return np.exp(-(distance**2) / (2 * sigma**2)).astype(np.float32)
