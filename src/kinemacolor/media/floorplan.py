"""The floor plan that a player of Doom draws in its head, out of what the depth buffer shows.

An occupancy grid (Elfes 1989): cells are unknown, free or wall, and what was walked on is free for good. The ways over it
are found breadth first. Lengths are Doom's map units (a player is 32 wide, a step of 24 can be climbed), angles degrees,
anticlockwise, 0 = east; cells are (row, column), rows to the north. Ours.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

Cell = tuple[int, int]

# The picture is read as if it were 320 wide: columns every 4, rows every 3 from the status bar up, nearest floor first.
_COLUMNS = np.arange(2, 320, 4)
_ROWS = np.arange(204, 40, -3)
_HORIZON = 105.0
_UNITS_PER_DEPTH = 6.6  # measured: walking towards a wall
_FLOOR = 1305.0  # measured: depth times rows below the horizon, on the floor one stands on
_EYE, _STEP = 41.0, 24.0
_SAME_PLACE = 1.5  # depth: rows that differ by less show one upright face, not a floor
_ASIDE = (_COLUMNS - 159.5) / 160  # sideways per forward, 90 degrees of view
SIGHT = 700.0

_CELL = 16
_SIDE = 1600  # cells: more than the largest map
_WINDOW = 96  # cells each way that a plan looks at
_UNKNOWN, _FREE, _WALL = 0, 1, 2
_BORDER = 3  # unknown neighbours that make a free cell one of the border
_NEIGHBOURS = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1)]


def reach_of(depth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far one can walk along each sampled column: units forward to the first thing too high to climb.

    Going up a column, the floor recedes; where it does not, there is an upright face. A face of more than a step stops the
    player; stairs are many low faces with floor between.

    Args:
        depth: (240, 320) uint8 as ViZDoom gives it; 0 is the player's own weapon and the status bar.
    """
    near = depth[np.ix_(_ROWS, _COLUMNS)].astype(np.float64)
    height = _EYE * (1 - near * (_ROWS[:, None] - _HORIZON) / _FLOOR)
    place, foot = near[0].copy(), np.minimum(height[0], 0.0)
    reach = np.full(len(_COLUMNS), 255.0)
    walking = np.ones(len(_COLUMNS), bool)
    for row in range(1, len(_ROWS)):
        seen = near[row] > 0
        onward = seen & (near[row] > place + _SAME_PLACE)
        # What the weapon hides is taken for floor: a wall close by shows above it, without its foot.
        foot[onward] = np.where(place[onward] > 0, height[row][onward], np.minimum(height[row][onward], 0.0))
        place[onward] = near[row][onward]
        stopped = walking & seen & ~onward & (height[row] - foot > _STEP) & (place > 0)
        reach[stopped] = place[stopped]
        walking &= ~stopped
    return reach * _UNITS_PER_DEPTH


def wrapped(angle: float) -> float:
    """The same angle between -180 and 180 degrees."""
    return (angle + 180.0) % 360.0 - 180.0


class FloorPlan:
    """The grid, drawn from (x, y), the place where the player begins."""

    def __init__(self, x: float, y: float) -> None:
        self._origin = (x - _SIDE / 2 * _CELL, y - _SIDE / 2 * _CELL)
        self._grid = np.zeros((_SIDE, _SIDE), np.uint8)
        self.visited = np.zeros((_SIDE, _SIDE), bool)
        """Where the player has stood."""
        self.tried = np.zeros((_SIDE, _SIDE), bool)
        """Where it is no use going again."""

    def cell(self, x: float, y: float) -> Cell:
        column, row = int((x - self._origin[0]) // _CELL), int((y - self._origin[1]) // _CELL)
        return min(max(row, 1), _SIDE - 2), min(max(column, 1), _SIDE - 2)

    def centre(self, cell: Cell) -> tuple[float, float]:
        return self._origin[0] + (cell[1] + 0.5) * _CELL, self._origin[1] + (cell[0] + 0.5) * _CELL

    def draw(self, reach: NDArray[np.float64], x: float, y: float, angle: float) -> None:
        """Draw what each column shows into the grid: free up to the first obstacle, then a wall."""
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        forward = np.arange(12.0, SIGHT, 12.0)[:, None]
        clear = forward < np.minimum(reach, SIGHT) - 6
        rows, columns = self._cells_of(x, y, forward, forward * _ASIDE, cos, sin)
        self._grid[rows[clear], columns[clear]] = _FREE
        solid = reach < 500  # what is farther away is too coarse in depth
        rows, columns = self._cells_of(x, y, reach[solid] + 6, (reach[solid] + 6) * _ASIDE[solid], cos, sin)
        keep = ~self.visited[rows, columns]
        self._grid[rows[keep], columns[keep]] = _WALL
        here = self.cell(x, y)
        self._grid[here] = _FREE
        self.visited[here] = True

    def _cells_of(self, x, y, forward, aside, cos, sin) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Cells of points given forward and to the right of the eye."""
        east, north = x + forward * cos + aside * sin, y + forward * sin - aside * cos
        columns = np.clip((east - self._origin[0]) // _CELL, 1, _SIDE - 2).astype(np.intp)
        rows = np.clip((north - self._origin[1]) // _CELL, 1, _SIDE - 2).astype(np.intp)
        return rows, columns

    def flood(self, start: Cell) -> dict[Cell, Cell]:
        """Breadth-first over the free cells that are wide enough for the player: where each was reached from, nearest first."""
        top, left = max(start[0] - _WINDOW, 1), max(start[1] - _WINDOW, 1)
        bottom, right = min(start[0] + _WINDOW, _SIDE - 1), min(start[1] + _WINDOW, _SIDE - 1)
        wall = self._grid[top - 1 : bottom + 1, left - 1 : right + 1] == _WALL
        near_wall = wall[1:-1, :-2] | wall[1:-1, 2:] | wall[:-2, 1:-1] | wall[2:, 1:-1]
        free = self._grid[top:bottom, left:right] == _FREE
        passable = free & ~near_wall | self.visited[top:bottom, left:right]
        row, column = start[0] - top, start[1] - left
        around = (slice(max(row - 2, 0), row + 3), slice(max(column - 2, 0), column + 3))
        passable[around] |= free[around]
        passable[[0, -1]] = passable[:, [0, -1]] = False  # so that no step leaves the window
        width = right - left
        # A byte string is several times faster than an array when read cell by cell.
        is_open = bytearray(passable.tobytes())
        first = row * width + column
        came_from, queue, steps = {first: first}, deque([first]), [down * width + right for down, right in _NEIGHBOURS]
        is_open[first] = 0
        while queue and len(came_from) < 9000:
            cell = queue.popleft()
            for step in steps:
                following = cell + step
                if is_open[following]:
                    is_open[following] = 0
                    came_from[following] = cell
                    queue.append(following)
        return {
            (top + cell // width, left + cell % width): (top + before // width, left + before % width)
            for cell, before in came_from.items()
        }

    def is_border(self, cell: Cell) -> bool:
        row, column = cell
        return int((self._grid[row - 1 : row + 2, column - 1 : column + 2] == _UNKNOWN).sum()) >= _BORDER

    def frontier(self, order: list[Cell], start: Cell, angle: float, rng: np.random.Generator) -> tuple[Cell | None, float]:
        """The reachable cell at the border of the unknown that costs least: distance, and turning round."""
        cells = np.array(order)
        unknown = np.zeros(len(cells), int)
        for down, right in _NEIGHBOURS:
            unknown += self._grid[cells[:, 0] + down, cells[:, 1] + right] == _UNKNOWN
        away = np.hypot(cells[:, 0] - start[0], cells[:, 1] - start[1])
        border = (unknown >= _BORDER) & (away >= 5) & ~self.tried[cells[:, 0], cells[:, 1]]
        if not border.any():
            return None, math.inf
        cells, away, steps = cells[border], away[border], np.arange(len(order))[border]
        bearing = np.degrees(np.arctan2(cells[:, 0] - start[0], cells[:, 1] - start[1]))
        turn = np.abs((bearing - angle + 180) % 360 - 180)
        cost = away + 0.16 * turn + np.sqrt(steps) * 0.5 + rng.exponential(6.0, len(cells))
        best = int(np.argmin(cost))
        return (int(cells[best, 0]), int(cells[best, 1])), float(cost[best])

    def obstruct(self, x: float, y: float) -> None:
        """Note that the way ends at (x, y), whatever the eyes say."""
        cell = self.cell(x, y)
        if not self.visited[cell]:
            self._grid[cell] = _WALL
        self.tried[cell] = True

    def clear(self, start: Cell, end: Cell) -> bool:
        """Whether the straight line between two cells crosses free cells only."""
        steps = max(abs(end[0] - start[0]), abs(end[1] - start[1])) * 2
        for step in range(1, steps):
            share = step / steps
            cell = (round(start[0] + (end[0] - start[0]) * share), round(start[1] + (end[1] - start[1]) * share))
            row, column = cell
            if self._grid[row, column] != _FREE or (self._grid[row - 1 : row + 2, column - 1 : column + 2] == _WALL).any():
                return False
        return True
