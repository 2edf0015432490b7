"""The player who makes the recording: it looks at depth and labels, keeps a map in its head, explores, fights, opens doors.

A player that presses random keys stares at walls. This one does what a robot does that is put into an unknown building: it
draws a floor plan of what it sees and walks to the nearest border between what it has seen and what it has not (frontier
exploration, Yamauchi 1997). Doors and switches, whose places it is told, count as borders until they were pushed.
Monsters come first, though not for long; then things worth having that lie within reach. It turns away from walls.

Nothing here knows ViZDoom: eyes are arrays and plain records, orders are plain numbers. Lengths are Doom's map units (a
player is 32 wide and 56 high, a step of 24 can be climbed), angles degrees, anticlockwise, 0 = east. Ours.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from kinemacolor.media.floorplan import SIGHT, Cell, FloorPlan, reach_of, wrapped

_BY_A_DOOR = [(down, right) for down in range(-3, 4) for right in range(-3, 4)]  # cells
_FIGHT, _PEACE = 70, 80  # tics: a recording wants to get on
_BORED = 140  # tics in one small place
_NARROW, _OPEN = 130.0, 190.0  # units: a view that shows a wall only, a view worth walking into
_DULL = 11  # looks at walls only, one after the other

_WANTED = frozenset({"Health", "Armor", "Ammo", "Weapon", "Key"})


@dataclasses.dataclass(frozen=True)
class Thing:
    """Something seen: where it stands, and how wide it looks."""

    identity: int
    category: str
    x: float
    y: float
    half_width: float
    """Half its width on the screen, in degrees."""


@dataclasses.dataclass(frozen=True)
class Line:
    """The middle of a line on the floor or a wall that does something."""

    x: float
    y: float
    cross: bool
    """It acts when it is walked over (a teleporter), not when USE is pressed before it."""


@dataclasses.dataclass
class Orders:
    """What to do in one tic. Turn is degrees clockwise, forward and aside (right) are units of thrust, 50 being a run."""

    forward: float = 0.0
    aside: float = 0.0
    turn: float = 0.0
    attack: bool = False
    use: bool = False
    weapon: int = 0
    """Number of the weapon to take up, or 0."""


class Explorer:
    """One player on one map. Call `look` every few tics and `act` every tic."""

    def __init__(self, seed: int, *, doors: list[Line] | None = None, weapons: tuple[int, ...] = (2, 3, 4, 5, 6, 7)) -> None:
        self._rng = np.random.default_rng(seed)
        self._doors = list(doors or [])
        self._doors_left = list(self._doors)
        self._door_ahead: Line | None = None
        self._push: Line | None = None
        self._push_since = 0
        self._pressed_at = 0
        self._weapons = weapons
        self._floor: FloorPlan | None = None
        self._path: deque[Cell] = deque()
        self._purpose = ""
        self._target: Thing | None = None
        self._target_since = 0
        self._fighting_since = 0
        self._peace_until = 0
        self._in_sight: list[Thing] = []
        self._ignored: dict[int, int] = {}
        self._tic = 0
        self._plan_at = 0
        self._weapon_at = 0
        self._escape_until = 0
        self._escape = Orders()
        self._trail: deque[tuple[float, float]] = deque(maxlen=18)
        self._effort: deque[float] = deque(maxlen=18)
        self._ahead = self._openness = SIGHT
        self._open_side = 1.0
        self._dull = 0
        self._spin = 0.0
        self._spin_until = self._spin_not_before = 0
        self._places: deque[tuple[float, float]] = deque(maxlen=_BORED)
        self._strafe = 1.0

    @property
    def is_bored(self) -> bool:
        """Whether all of the last seconds were spent in one small place, or before walls."""
        if self._dull > _DULL:
            return True
        if len(self._places) < _BORED:
            return False
        return all(max(side) - min(side) < 200 for side in zip(*self._places, strict=True))

    # ------------------------------------------------------------------------------------------------ seeing

    def look(self, depth: NDArray[np.uint8], things: list[Thing], x: float, y: float, angle: float) -> None:
        """Take in what is to be seen from (x, y) in direction `angle`, and decide what to do next."""
        if self._floor is None:
            self._floor = FloorPlan(x, y)
        reach = reach_of(depth)
        self._ahead = float(np.median(reach[36:44]))
        self._openness = float(np.percentile(reach, 80))
        self._open_side = 1.0 if reach[40:].mean() > reach[:40].mean() else -1.0
        self._dull = self._dull + 1 if self._openness < _NARROW else 0
        self._floor.draw(reach, x, y, angle)
        self._choose_target(things, x, y)
        if self._target or self._push:
            return
        if self._purpose == "border" and self._path and not self._floor.is_border(self._path[-1]):
            self._path.clear()  # seen from afar what was to be seen there
        if self._tic >= self._plan_at or not self._path:
            self._plan(things, x, y, angle)

    # ---------------------------------------------------------------------------------------------- deciding

    def _choose_target(self, things: list[Thing], x: float, y: float) -> None:
        """Fight the nearest monster in sight, but none for longer than three seconds: some cannot be hit from here."""
        monsters = [
            thing for thing in things if thing.category == "Monster" and self._ignored.get(thing.identity, 0) <= self._tic
        ]
        monsters.sort(key=lambda thing: math.hypot(thing.x - x, thing.y - y))
        same = next((thing for thing in monsters if self._target and thing.identity == self._target.identity), None)
        if same and self._tic - self._target_since > 105:
            self._ignored[same.identity] = self._tic + 140
            monsters.remove(same)
            same = None
        before = self._target
        if before is None:
            self._fighting_since = self._tic
        elif self._tic - self._fighting_since > _FIGHT:
            self._peace_until = self._tic + _PEACE
        self._in_sight = monsters
        if self._tic < self._peace_until:
            monsters, same = [], None
        self._target = same or (monsters[0] if monsters else None)
        if self._target and (before is None or before.identity != self._target.identity):
            self._target_since = self._tic
            self._strafe = float(self._rng.choice([-1.0, 1.0]))
        if self._target is None and before is not None:
            self._path.clear()

    def _plan(self, things: list[Thing], x: float, y: float, angle: float) -> None:
        """Find a way: to a thing worth having, else to the border of the unknown or to a door."""
        self._plan_at = self._tic + 40
        start = self._floor.cell(x, y)
        came_from = self._floor.flood(start)
        order = list(came_from)
        goal, self._purpose = self._thing_goal(things, came_from), "thing"
        if goal is None:
            border, border_cost = self._floor.frontier(order, start, angle, self._rng)
            door, door_cost = self._door(came_from, start, angle)
            goal, self._purpose = (door, "door") if door_cost < border_cost else (border, "border")
        if goal is None:
            goal, self._purpose = order[int(self._rng.integers(len(order)))], "stroll"
            self._floor.tried[:] = False
            self._doors_left = list(self._doors)
        path = deque()
        while goal != start:
            path.appendleft(goal)
            goal = came_from[goal]
        self._path = path

    def _thing_goal(self, things: list[Thing], came_from: dict) -> Cell | None:
        for thing in things:
            cell = self._floor.cell(thing.x, thing.y)
            if (
                thing.category in _WANTED
                and cell in came_from
                and not self._floor.visited[cell]
                and self._ignored.get(thing.identity, 0) <= self._tic
            ):
                self._ignored[thing.identity] = self._tic + 200
                return cell
        return None

    def _door(self, came_from: dict, start: Cell, angle: float) -> tuple[Cell | None, float]:
        """The reachable cell before the door or switch that costs least; it becomes the one to push."""
        best, best_cost = None, math.inf
        for door in self._doors_left:
            row, column = self._floor.cell(door.x, door.y)
            # The cell of the door itself is a wall, and the player keeps from it by his own width.
            near = [cell for cell in ((row + down, column + right) for down, right in _BY_A_DOOR) if cell in came_from]
            if not near:
                continue
            cell = min(near, key=lambda cell: math.dist(self._floor.centre(cell), (door.x, door.y)))
            away = math.dist(cell, start)
            bearing = math.degrees(math.atan2(cell[0] - start[0], cell[1] - start[1])) if away else angle
            cost = away + 0.16 * abs(wrapped(bearing - angle)) + 4.0
            if cost < best_cost:
                best, best_cost, self._door_ahead = cell, cost, door
        return best, best_cost

    # ------------------------------------------------------------------------------------------------ acting

    def act(self, x: float, y: float, angle: float) -> Orders:
        """Orders for the next tic, given where one is now."""
        self._tic += 1
        if self._places and math.dist(self._places[-1], (x, y)) > 100:  # a teleporter
            self._places.clear()
            self._path.clear()
            self._push, self._dull, self._spin_not_before = None, 0, 0
        self._places.append((x, y))
        if self._tic < self._escape_until:
            return self._escape
        if self._target:
            orders = self._fight(x, y, angle)
        elif not self._push and self._turns_to_the_open():
            return Orders(turn=12.0 * self._spin)
        elif self._push:
            return self._open(x, y, angle)
        else:
            orders = self._walk(x, y, angle)
            orders.attack = any(abs(_off(thing, x, y, angle)) < thing.half_width for thing in self._in_sight)
        self._notice_being_stuck(orders, x, y, angle)
        if self._tic >= self._weapon_at:
            orders.weapon = int(self._rng.choice(self._weapons))
            self._weapon_at = self._tic + int(self._rng.integers(100, 200))
        return orders

    def _turns_to_the_open(self) -> bool:
        """Whether to go on turning away from a wall: at most once round, until there is something to see."""
        if self._tic < self._spin_until:
            if self._openness > _OPEN:
                self._spin_until = 0
                self._path.clear()
        elif self._openness < _NARROW and self._tic >= self._spin_not_before:
            self._spin = self._open_side
            self._spin_until = self._tic + 30
            self._spin_not_before = self._tic + 70
        return self._tic < self._spin_until

    def _fight(self, x: float, y: float, angle: float) -> Orders:
        """Turn to the monster, shoot when it is in the sights, dance a little, keep a distance."""
        monster = self._target
        off = _off(monster, x, y, angle)
        distance = math.hypot(monster.x - x, monster.y - y)
        if self._rng.random() < 0.03:
            self._strafe = -self._strafe
        forward = 18.0 if distance > 350 and self._ahead > 150 else (-14.0 if distance < 130 else 4.0)
        return Orders(forward, 12.0 * self._strafe, _turn(off), attack=abs(off) < max(2.0, monster.half_width))

    def _walk(self, x: float, y: float, angle: float) -> Orders:
        """Follow the path, cutting corners where the way is clear."""
        here = self._floor.cell(x, y)
        while self._path and max(abs(self._path[0][0] - here[0]), abs(self._path[0][1] - here[1])) <= 1:
            arrived = self._path.popleft()
            if not self._path:
                self._arrive(arrived)
                if self._push:
                    return self._open(x, y, angle)
        if not self._path:
            return Orders(forward=8.0)
        aim = self._path[0]
        for cell in list(self._path)[2:20:2]:
            if not self._floor.clear(here, cell):
                break
            aim = cell
        east, north = self._floor.centre(aim)
        off = wrapped(math.degrees(math.atan2(north - y, east - x)) - angle)
        eager = max(0.0, math.cos(math.radians(off))) ** 2
        return Orders(forward=6.0 + 26.0 * eager if abs(off) < 70 else 0.0, turn=_turn(off))

    def _arrive(self, cell: Cell) -> None:
        """The end of a path: mark it, and begin to push what stands there if it is a door."""
        row, column = cell
        self._floor.tried[row - 2 : row + 3, column - 2 : column + 3] = True
        self._plan_at = self._tic
        if self._purpose == "door":
            self._push, self._push_since, self._pressed_at = self._door_ahead, self._tic, 0
            # A door has a line on either side: one push does for both.
            self._doors_left = [
                door for door in self._doors_left if math.dist((door.x, door.y), (self._push.x, self._push.y)) > 80
            ]

    def _open(self, x: float, y: float, angle: float) -> Orders:
        """Face the door, go up to it, press USE once (twice would close it), and watch it open; walk into a teleporter."""
        door = self._push
        off = wrapped(math.degrees(math.atan2(door.y - y, door.x - x)) - angle)
        distance = math.dist((x, y), (door.x, door.y))
        if door.cross:
            if distance < 10 or distance > 160 or self._tic - self._push_since > 45:
                self._push = None
            return Orders(forward=16.0 if abs(off) < 40 else 0.0, turn=_turn(off))
        if self._pressed_at:
            waited = self._tic - self._pressed_at
            if waited > 18:
                self._push = None
            return Orders(forward=-5.0 if waited < 8 else 0.0, turn=_turn(off))
        if (abs(off) < 20 and (distance < 48 or self._ahead < 44)) or self._tic - self._push_since > 20:
            self._pressed_at = self._tic
            return Orders(turn=_turn(off), use=True)
        return Orders(forward=14.0 if abs(off) < 30 else 0.0, turn=_turn(off))

    def _notice_being_stuck(self, orders: Orders, x: float, y: float, angle: float) -> None:
        """Half a second of walking without getting anywhere: push, remember the obstacle, step back and turn away."""
        self._trail.append((x, y))
        self._effort.append(abs(orders.forward) + abs(orders.aside))
        if len(self._trail) < 18 or sum(self._effort) < 18 * 8:
            return
        if math.hypot(x - self._trail[0][0], y - self._trail[0][1]) > 20:
            return
        orders.use = True
        ahead = math.radians(angle)
        for away in (22.0, 34.0):
            self._floor.obstruct(x + away * math.cos(ahead), y + away * math.sin(ahead))
        if self._path:
            self._floor.tried[self._path[-1]] = True
        self._path.clear()
        self._trail.clear()
        self._effort.clear()
        self._plan_at = self._tic + 10
        side = self._open_side if self._rng.random() < 0.8 else -self._open_side
        self._escape = Orders(forward=-14.0, aside=16.0 * side, turn=7.0 * side)
        self._escape_until = self._tic + int(self._rng.integers(6, 14))


def _off(thing: Thing, x: float, y: float, angle: float) -> float:
    """Degrees anticlockwise from where one looks to `thing`."""
    return wrapped(math.degrees(math.atan2(thing.y - y, thing.x - x)) - angle)


def _turn(off: float) -> float:
    """Degrees to turn clockwise this tic to lose an error of `off` (anticlockwise) smoothly."""
    return min(max(-0.3 * off, -9.0), 9.0)
