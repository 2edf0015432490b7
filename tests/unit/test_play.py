"""Freedoom plays itself: the same seed gives the same frames, the player sees, walks, shoots and opens doors."""

from __future__ import annotations

import builtins
import hashlib
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from kinemacolor.errors import UserError
from kinemacolor.media.doors import acting_lines, haunts
from kinemacolor.media.explorer import Explorer, Line, Thing
from kinemacolor.media.floorplan import FloorPlan, reach_of
from kinemacolor.media.play import MAPS, play, play_frames
from kinemacolor.params import GameSource

vizdoom = pytest.importorskip("vizdoom")
WADS = Path(vizdoom.__file__).parent


def source(**changes) -> GameSource:
    values = {"kind": "game", "licence": "BSD-3-Clause", "credit": "Freedoom", "game": "freedoom", "frames": 120, "seed": 3}
    return GameSource(**values | {"frames_per_map": 60, "maps": ["MAP01", "E1M1"]} | changes)


def digest(frames) -> str:
    whole = hashlib.sha256()
    for frame in frames:
        whole.update(frame.tobytes())
    return whole.hexdigest()


def test_same_seed_same_frames_and_another_seed_others():
    first, again, other = ({} for _ in range(3))
    one, same = digest(play_frames(source(), first)), digest(play_frames(source(), again))
    assert one == same and first == again
    assert first == {"frames": 120, "maps": ["MAP01", "E1M1"], "deaths": 0, "exits": 0}
    assert digest(play_frames(source(seed=4), other)) != one


def test_all_maps_in_an_order_of_the_seed():
    orders = []
    for seed in (1, 1, 2):
        told: dict = {}
        for _ in play_frames(source(maps=None, frames=175, frames_per_map=35, seed=seed), told):
            pass
        orders.append(told["maps"])
    assert orders[0] == orders[1] != orders[2]
    assert len(set(orders[0])) == 5
    assert set(orders[0]) <= {name for names in MAPS.values() for name in names}


@pytest.mark.parametrize(("width", "frames"), [(320, 100), (640, 40)])
def test_recording(tmp_path, monkeypatch, width, frames):
    monkeypatch.chdir(tmp_path)
    steps = []
    told = play(source(width=width, frames=frames), tmp_path / "game.mp4", progress=lambda *step: steps.append(step))
    assert told["frames"] == frames and steps[-1] == (frames, frames)
    assert [path.name for path in tmp_path.iterdir()] == ["game.mp4"], "the engine's folders stay out of sight"
    with av.open(str(tmp_path / "game.mp4")) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (width, width * 3 // 4)
        assert video.average_rate == Fraction(35)
        assert not container.streams.audio
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    assert len(pictures) == frames
    assert min(picture.mean() for picture in pictures) > 8, "no black or loading frames"
    assert max(np.ptp(picture.astype(int), axis=-1).mean() for picture in pictures) > 12, "it is in colour"


def test_the_player_gets_about(monkeypatch):
    """On a map with room to walk, ten seconds lead away from the start, with something to see most of the time."""
    seen, opens = [], []
    look = Explorer.look

    def watched(self, depth, things, x, y, angle):
        look(self, depth, things, x, y, angle)
        seen.append((x, y))
        view = depth[20:200:8, ::8]
        opens.append(np.percentile(view[view > 0], 90) > 15 if (view > 0).any() else False)

    monkeypatch.setattr(Explorer, "look", watched)
    frames = list(play_frames(source(maps=["MAP01"], frames=350, frames_per_map=350), {}))
    assert len({(round(x / 128), round(y / 128)) for x, y in seen}) >= 6
    assert np.mean(opens) > 0.7
    steps = [np.abs(one.astype(int) - other).mean() for one, other in zip(frames[::10], frames[10::10], strict=False)]
    assert np.median(steps) > 5


def test_unknown_map_and_missing_package(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no map 'E9M9'.*E1M1"):
        play(source(maps=["MAP01", "E9M9"]), tmp_path / "game.mp4")
    importing = builtins.__import__

    def without(name, *rest, **more):
        if name == "vizdoom":
            raise ImportError(name)
        return importing(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="pip install vizdoom"):
        play(source(), tmp_path / "game.mp4")
    assert list(tmp_path.iterdir()) == []


def test_vizdoom_is_imported_only_for_playing():
    code = "import sys, kinemacolor.media.play; sys.exit('vizdoom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_map_can_be_read():
    for wad, names in MAPS.items():
        for name in names:
            assert haunts(WADS / wad, name), name
            assert all(math.isfinite(line.x + line.y) for line in acting_lines(WADS / wad, name))
    assert any(line.cross for line in acting_lines(WADS / "freedoom1.wad", "E3M7")), "this map's start is left by teleporter"
    with pytest.raises(UserError, match="no map"):
        acting_lines(WADS / "freedoom1.wad", "MAP01")


def depth_of(distance: float) -> np.ndarray:
    """The depth buffer of an endless floor with a wall across it, `distance` units away."""
    rows = np.arange(240.0)[:, None]
    with np.errstate(divide="ignore"):
        floor = np.where(rows > 105, 1305 / (rows - 105), 255.0)
    depth = np.minimum(np.minimum(floor, distance / 6.6), 255.0) * np.ones((1, 320))
    depth[208:] = 0
    return depth.astype(np.uint8)


@pytest.mark.parametrize("distance", [40, 100, 300, 600])
def test_a_wall_is_seen_at_its_distance(distance):
    reach = reach_of(depth_of(distance))
    assert np.abs(reach - distance).max() < 8


def test_a_step_is_no_wall():
    """A face 16 units high at 120, then floor on, and a wall at 500."""
    depth = depth_of(500)
    face = round(120 / 6.6)
    # The rows in which heights 0 to 16 above the floor at that distance are seen, from an eye 41 above it.
    low, high = 105 + 1305 / face, 105 + 1305 * (1 - 16 / 41) / face
    depth[int(high) : int(low) + 1] = face
    above = np.arange(106, int(high))[:, None]
    depth[106 : int(high)] = np.minimum(1305 * (1 - 16 / 41) / (above - 105), 500 / 6.6)
    assert reach_of(depth).min() > 450


def test_ways_lead_through_what_is_free():
    plan = FloorPlan(0.0, 0.0)
    plan.draw(reach_of(depth_of(300)), 0.0, 0.0, 0.0)
    start, beyond, before = plan.cell(0, 0), plan.cell(400, 0), plan.cell(240, 0)
    ways = plan.flood(start)
    assert before in ways and beyond not in ways
    assert plan.clear(start, before) and not plan.clear(start, beyond)


def test_it_turns_to_a_monster_and_shoots():
    player = Explorer(1)
    player.look(depth_of(600), [Thing(5, "Monster", 200.0, 200.0, 3.0)], 0.0, 0.0, 0.0)
    angle, shots = 0.0, 0
    for _ in range(16):  # standing still for longer would count as being stuck
        orders = player.act(0.0, 0.0, angle)
        angle -= orders.turn
        shots += orders.attack
    assert angle == pytest.approx(45, abs=1) and shots > 3


def test_it_goes_to_a_door_and_presses_use():
    """A room that ends at a wall, in which there is a door: it walks up to it and pushes."""
    player = Explorer(1, doors=[Line(400.0, 0.0, cross=False)])
    x, y, angle = 0.0, 0.0, 0.0
    for tic in range(400):
        if tic % 4 == 0:
            # The wall fills what is seen while it is faced; elsewhere the room is shallow, but not cramped.
            away = (400 - x) / max(math.cos(math.radians(angle)), 0.3) if abs(angle) < 70 else 200.0
            player.look(depth_of(max(away, 20.0)), [], x, y, angle)
        orders = player.act(x, y, angle)
        angle = (angle - orders.turn + 180) % 360 - 180
        x = min(x + orders.forward * 0.33 * math.cos(math.radians(angle)), 384.0)
        y += orders.forward * 0.33 * math.sin(math.radians(angle))
        if orders.use and math.dist((x, y), (400, 0)) < 80:
            return
    raise AssertionError("the door was never pushed")
