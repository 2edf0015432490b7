"""Where a Doom map has doors, switches, teleporters and things, read from the WAD itself: what a player who knows the game would know.

A closed door looks like any other wall to a depth buffer. The format is the one of id Software's Doom of 1993 (The
Unofficial Doom Specs, M. Fell, 1994): a directory of lumps, in which a map's name is followed by the lumps of the map.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from kinemacolor.errors import UserError
from kinemacolor.media.explorer import Line

_LINE = np.dtype([("start", "<u2"), ("end", "<u2"), ("flags", "<u2"), ("special", "<u2"), ("tag", "<u2"), ("sides", "<u2", 2)])
_THING = np.dtype([("x", "<i2"), ("y", "<i2"), ("angle", "<i2"), ("kind", "<i2"), ("flags", "<i2")])
_MONSTERS = {3004, 9, 3001, 3002, 58, 3003, 3005, 3006, 69, 65, 66, 67, 68, 71, 64, 7, 16}
_NOT_ALONE = 16  # a thing of games of several players
_VERTEX = np.dtype([("x", "<i2"), ("y", "<i2")])
# Actions that a line does when USE is pressed before it; the exits (11, 51) are left out, for the map would end.
_DOORS = {1, 26, 27, 28, 29, 31, 32, 33, 34, 42, 50, 61, 63, 99, 103, 111, 112, 114, 115, 117, 118, 133, 134, 135, 136, 137}
_TELEPORTERS = {39, 97}
_SWITCHES = {7, 9, 14, 15, 18, 20, 21, 23, 41, 43, 45, 49, 55, 60, 62, 64, 65, 66, 67, 68, 69, 70, 71, 101, 102, 122, 123, 127}


def acting_lines(wad: Path, name: str) -> list[Line]:
    """The lines of map `name` that open a door, work a switch or teleport.

    Raises:
        UserError: the file is no WAD, or has no such map.
    """
    lumps = _map_lumps(wad, name)
    lines, vertices = np.frombuffer(lumps["LINEDEFS"], _LINE), np.frombuffer(lumps["VERTEXES"], _VERTEX)
    wanted = lines[np.isin(lines["special"], sorted(_DOORS | _SWITCHES | _TELEPORTERS))]
    x, y = ((vertices[axis][wanted["start"]].astype(float) + vertices[axis][wanted["end"]]) / 2 for axis in "xy")
    return [Line(float(x[place]), float(y[place]), int(line["special"]) in _TELEPORTERS) for place, line in enumerate(wanted)]


def haunts(wad: Path, name: str) -> list[tuple[int, int]]:
    """Where monsters stand on map `name` at the beginning (x, y): places with room to move and something to see."""
    things = np.frombuffer(_map_lumps(wad, name)["THINGS"], _THING)
    met = (things["flags"] & _NOT_ALONE == 0) & np.isin(things["kind"], sorted(_MONSTERS))
    return sorted({(int(thing["x"]), int(thing["y"])) for thing in things[met]})


def _map_lumps(wad: Path, name: str) -> dict[str, bytes]:
    """The lumps that follow the marker `name` in the directory."""
    with open(wad, "rb") as file:
        kind, count, offset = struct.unpack("<4sii", file.read(12))
        if kind not in (b"IWAD", b"PWAD"):
            raise UserError(f"{wad} is no WAD file of Doom: install vizdoom again.")
        file.seek(offset)
        entries = [struct.unpack("<ii8s", file.read(16)) for _ in range(count)]
        names = [entry[2].rstrip(b"\0").decode("ascii", "replace") for entry in entries]
        if name not in names:
            raise UserError(f"{wad} has no map {name}: install vizdoom again.")
        place = names.index(name)
        lumps: dict[str, bytes] = {}
        for begin, size, label in entries[place + 1 : place + 11]:
            file.seek(begin)
            lumps.setdefault(label.rstrip(b"\0").decode("ascii", "replace"), file.read(size))
    return lumps
