"""Which part of the colour picture the grey picture shows, found on the tiny grids.

Two prints are cropped differently, and a pan seen through another crop looks like a shift in time. So before frames are
told apart to one frame, the grids of the colour print are brought onto the grey print's. At 18 x 32 cells a crop with
its scale is two small matrices (one for rows, one for columns), applied to thousands of frames in one product.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.signature import COLUMNS, ROWS

Area = tuple[float, float, float, float]
"""Left, top, right, bottom in shares of a picture's width and height."""

_FLAT = 0.8  # standard deviation of luma over a grid up to which a frame shows nothing: black, with its grain
_STARTS = 3  # of the coarse search's best that are followed up
_ALIEN = 4.0  # times the usual difference of a cell, from which it shows what is one print's own
_NUDGE = 0.002  # shares: a fifteenth of a cell, to see how the grids change


class Window(NamedTuple):
    """The stretch of the colour picture that the whole grey picture shows, in shares of the colour picture's width and
    height; below 0 or above 1 where the grey picture shows more."""

    left: float
    top: float
    right: float
    bottom: float


def area_matrix(low: float, high: float, cells: int, out: int) -> np.ndarray:
    """Area averages: the `out` equal parts of [low, high] (shares of the whole) from `cells` equal cells.

    Returns float32 (out, cells); a row sums to the share of its part that lies inside the picture.
    """
    edges = np.linspace(low * cells, high * cells, out + 1)
    cell = np.arange(cells)
    overlap = np.minimum(edges[1:, None], cell + 1) - np.maximum(edges[:-1, None], cell)
    return (np.clip(overlap, 0, None) / np.diff(edges)[:, None]).astype(np.float32)


class Overlay:
    """Brings colour grids onto grey ones and cuts both to the cells that both show."""

    def __init__(self, window: Window, grey_area: Area, colour_area: Area) -> None:
        """`grey_area` and `colour_area` are the prints' active areas (shares, left top right bottom)."""
        self.row_slice = _inside(window.top, window.bottom, ROWS, (grey_area[1], grey_area[3]), (colour_area[1], colour_area[3]))
        self.column_slice = _inside(
            window.left, window.right, COLUMNS, (grey_area[0], grey_area[2]), (colour_area[0], colour_area[2])
        )
        self.mask: NDArray[np.bool_] | None = None
        self._bring(window)

    def _bring(self, window: Window) -> None:
        self.rows = area_matrix(window.top, window.bottom, ROWS, ROWS)[self.row_slice]
        self.columns = area_matrix(window.left, window.right, COLUMNS, COLUMNS)[self.column_slice]

    def moved(self, window: Window) -> Overlay:
        """An overlay by another window that gives the same cells."""
        other = copy.copy(self)
        other._bring(window)
        return other

    def masked(self, grey: np.ndarray, colour: np.ndarray) -> Overlay:
        """An overlay without the cells that a logo or subtitles fill in one print, by (pairs, 18, 32) grids that belong together.

        Such cells differ far more than the others do, in most pictures (a logo) or in many (subtitles).
        """
        a, b = (normalised(frames)[0] for frames in (self.grey(grey), self.colour(colour)))
        miss = np.abs(a - b)
        often = np.maximum(np.median(miss, axis=0), 0.7 * np.percentile(miss, 75, axis=0))
        usual = max(float(np.median(often)), 1e-4)
        good = often < _ALIEN * usual
        # Where a quarter differs so much, that is how the prints are.
        if good.mean() < 0.75:
            good = often <= np.quantile(often, 0.75)
        other = copy.copy(self)
        other.mask = good
        return other

    @property
    def cells(self) -> int:
        """How many cells both prints show."""
        return len(self.rows) * len(self.columns)

    def shared(self, grey: np.ndarray | None = None, colour: np.ndarray | None = None) -> np.ndarray:
        """Grids of one print as float32 (frames, cells): those that both show and the mask leaves."""
        frames = self.grey(grey) if grey is not None else self.colour(colour)
        flat = frames.reshape(len(frames), -1)
        return flat if self.mask is None else flat[:, self.mask]

    def grey(self, grids: np.ndarray) -> np.ndarray:
        """(frames, 18, 32) -> float32 (frames, rows, columns) that both show."""
        return np.asarray(grids[:, self.row_slice, self.column_slice], np.float32)

    def colour(self, grids: np.ndarray) -> np.ndarray:
        """(frames, 18, 32) of the colour print -> float32, the same cells as `grey` gives."""
        return np.matmul(np.matmul(self.rows, np.asarray(grids, np.float32)), self.columns.T)


def _inside(low: float, high: float, cells: int, grey: tuple[float, float], colour: tuple[float, float]) -> slice:
    """Cells of the grey print that lie inside both prints' active areas, allowing a twentieth of a cell."""
    edges = np.arange(cells + 1) / cells
    at = low + (high - low) * edges
    slack = 0.05 / cells
    good = (edges[:-1] >= grey[0] - slack) & (edges[1:] <= grey[1] + slack)
    good &= (at[:-1] >= colour[0] - slack) & (at[1:] <= colour[1] + slack)
    index = np.flatnonzero(good)
    return slice(index[0], index[-1] + 1) if len(index) else slice(0, 0)


def normalised(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames as vectors of mean 0 and length 1, which no gain and no lift can change.

    Returns float32 (frames, cells), and float32 (frames,) the standard deviation over the cells that was divided out.
    """
    flat = frames.reshape(len(frames), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    contrast = np.sqrt(np.mean(flat * flat, axis=1))
    return flat / (np.sqrt(flat.shape[1]) * np.maximum(contrast, 1e-3))[:, None], contrast


def contrast_weight(contrast: NDArray) -> NDArray:
    """What a frame of this contrast counts: nothing if it is flat (black, a fade's end), all from three times that."""
    return np.clip((contrast - _FLAT) / (2 * _FLAT), 0, 1)


def fit_window(
    grey: np.ndarray,
    colour: np.ndarray,
    grey_area: Area = (0.0, 0.0, 1.0, 1.0),
    colour_area: Area = (0.0, 0.0, 1.0, 1.0),
) -> Window:
    """The window that makes the paired grids most alike. Ours: a search over crop and scale, then least squares.

    Args:
        grey, colour: (pairs, 18, 32) grids of the same moments; up to half of the pairs may be wrong.
        grey_area, colour_area: active areas; the search starts where they coincide.
    """
    few = slice(None, None, max(1, len(grey) // 48))

    def score(window: Window, part: slice = slice(None)) -> float:
        overlay = Overlay(window, grey_area, colour_area)
        if overlay.cells < ROWS * COLUMNS // 8:
            return -1.0
        a, _ = normalised(overlay.grey(grey[part]))
        b, _ = normalised(overlay.colour(colour[part]))
        alike = np.sort(np.einsum("ij,ij->i", a, b))
        return float(alike[len(alike) // 2 :].mean())

    start = _coincide(grey_area, colour_area)
    width, height = start.right - start.left, start.bottom - start.top
    tried = [(score(start, few), start)]
    for scale in (1.0, 0.94, 0.88, 0.82, 1.06, 1.13, 1.2):
        # Shifts of about one cell: less than the distance over which tiny pictures stay alike.
        reach = max(0.06, abs(1 - scale) / 2 + 0.03)
        for dx in np.arange(-reach, reach + 0.001, 0.03):
            for dy in np.arange(-reach, reach + 0.001, 0.04):
                middle_x = (start.left + start.right) / 2 + dx * width
                middle_y = (start.top + start.bottom) / 2 + dy * height
                half_x, half_y = scale * width / 2, scale * height / 2
                window = Window(middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y)
                tried.append((score(window, few), window))
    starts = [window for _, window in sorted(tried, key=lambda entry: -entry[0])[:_STARTS]]
    best = max((_climb(grey, colour, grey_area, colour_area, score, window) for window in starts), key=score)
    return Window(*(float(edge) for edge in best))


def _climb(
    grey: np.ndarray, colour: np.ndarray, grey_area: Area, colour_area: Area, score: Callable[[Window], float], window: Window
) -> Window:
    """Levenberg-Marquardt on the four edges of the window, by the half of the pairs that agrees best."""
    value, damping = score(window), 1e-3
    for _ in range(25):
        overlay = Overlay(window, grey_area, colour_area)
        a, b = normalised(overlay.grey(grey))[0], normalised(overlay.colour(colour))[0]
        alike = np.einsum("ij,ij->i", a, b)
        good = alike >= np.median(alike)
        slopes = []
        for edge in range(4):
            moved = np.array(window)
            moved[edge] += _NUDGE
            # The same cells as before, so that only their content differs.
            nudged = overlay.moved(Window(*moved))
            slopes.append(((normalised(nudged.colour(colour[good]))[0] - b[good]) / _NUDGE).ravel())
        slope, rest = np.stack(slopes), (a[good] - b[good]).ravel()
        normal, right = slope @ slope.T, slope @ rest
        while damping < 1e3:
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), right)
            candidate = Window(*(np.array(window) + np.clip(step, -0.05, 0.05)))
            if (other := score(candidate)) > value:
                break
            damping *= 10
        else:
            return window
        done = other - value < 1e-6
        window, value, damping = candidate, other, damping / 10
        if done:
            break
    return window


def _coincide(grey_area: Area, colour_area: Area) -> Window:
    """The window under which both active areas are the same."""
    scale_x = (colour_area[2] - colour_area[0]) / (grey_area[2] - grey_area[0])
    scale_y = (colour_area[3] - colour_area[1]) / (grey_area[3] - grey_area[1])
    left, top = colour_area[0] - grey_area[0] * scale_x, colour_area[1] - grey_area[1] * scale_y
    return Window(left, top, left + scale_x, top + scale_y)
