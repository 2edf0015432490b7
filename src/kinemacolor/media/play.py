"""Play Freedoom by itself and record it: thousands of frames of a colourful game without a network or a display.

ViZDoom runs the game in processes of its own, one for each phase of Freedoom, tic by tic and never in real time, so the
same seed gives the same frames. The player (explorer.py) sees through ViZDoom's depth and labels buffers. It cannot be
hurt and begins every map with all weapons and keys: a recording wants rooms, not a high score, and a player that dies
shows the same first corridor again and again. There is no sound: ViZDoom needs a sound device for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.media.doors import acting_lines, haunts
from kinemacolor.media.encode import VideoWriter
from kinemacolor.media.explorer import Explorer, Orders, Thing
from kinemacolor.params import GameSource

FRAME_RATE = Fraction(35)
"""Tics a second of Doom; one frame each."""
MAPS = {
    "freedoom1.wad": [f"E{episode}M{number}" for episode in range(1, 5) for number in range(1, 10)],
    "freedoom2.wad": [f"MAP{number:02d}" for number in range(1, 33)],
}
_LOOK_EVERY = 4  # tics
_START_TIC = 14  # the first tics of a map are a screen wipe and a weapon being raised
_GIFTS = ("god", "give all")


def play(source: GameSource, target: Path, *, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Record `source.frames` frames of play into the video `target`: RGB with status bar, 35 a second, no sound. Ours.

    Maps follow each other in an order drawn by the seed (or as listed), each for `frames_per_map` frames or until it is
    left; when all have been played the round begins again, with other moves.

    Args:
        progress: called with frames done and frames in all.

    Returns:
        {"frames": n, "maps": names in the order of play, "deaths": n, "exits": maps left through the exit}

    Raises:
        UserError: vizdoom is not installed, a map does not exist, or the disk is full.
    """
    height, width = source.width * 3 // 4, source.width
    told: dict[str, Any] = {"frames": 0, "maps": [], "deaths": 0, "exits": 0}
    frames = play_frames(source, told)
    with (
        VideoWriter(target, height=height, width=width, frame_rate=FRAME_RATE, crf=source.crf) as video,
        contextlib.closing(frames),
    ):
        for frame in frames:
            video.write(frame)
            if progress and told["frames"] % 350 == 0:
                progress(told["frames"], source.frames)
    if progress:
        progress(told["frames"], source.frames)
    return told


def play_frames(source: GameSource, told: dict[str, Any]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of `play`, uint8 (H, W, 3) RGB, and keep its account in `told`. Same seed, same frames."""
    maps = _checked_maps(source.maps)
    told.update(frames=0, maps=[], deaths=0, exits=0)
    with _Games(source.width, source.seed) as games:
        rounds = 0
        while told["frames"] < source.frames:
            rng = np.random.default_rng([abs(source.seed), rounds])
            order = list(maps) if source.maps else [maps[place] for place in rng.permutation(len(maps))]
            for name in order:
                seed = _seed(source.seed, rounds, name)
                told["maps"].append(name)
                game = games.enter(name, seed)
                left = min(source.frames_per_map, source.frames - told["frames"])
                for frame in _one_map(game, games.wad(name), name, seed, left):
                    told["frames"] += 1
                    yield frame
                told["deaths"] += game.is_player_dead()
                told["exits"] += game.is_episode_finished() and not game.is_player_dead()
                if told["frames"] >= source.frames:
                    return
            rounds += 1


def _one_map(game: Any, wad: Path, name: str, seed: int, frames: int) -> Iterator[NDArray[np.uint8]]:
    """Play the map that was just entered, for so many frames or until it ends.

    A player who is bored (walled in, or on a ledge that he cannot leave) is set down somewhere else on the map: a cut.
    """
    rng = np.random.default_rng(seed)
    lines, elsewhere = acting_lines(wad, name), haunts(wad, name)
    player = Explorer(seed, doors=lines)
    for tic in range(frames):
        if game.is_episode_finished():
            return
        state = game.get_state()
        x, y, angle = state.game_variables
        screen = state.screen_buffer
        if tic % _LOOK_EVERY == 0:
            scale = screen.shape[1] // 320
            player.look(state.depth_buffer[::scale, ::scale], _things(state.labels, screen.shape[1]), x, y, angle)
        yield screen
        if player.is_bored and elsewhere:
            game.send_game_command("warp {} {}".format(*elsewhere[int(rng.integers(len(elsewhere)))]))
        game.make_action(_buttons(player.act(x, y, angle)))


def _things(labels: list[Any], width: int) -> list[Thing]:
    """What the labels buffer shows, without the player's own hands."""
    degrees = 90 / width
    return [
        Thing(label.object_id, label.object_category, label.object_position_x, label.object_position_y, label.width * degrees / 2)
        for label in labels
        if label.object_category != "Self"
    ]


def _buttons(orders: Orders) -> list[float]:
    """Orders in the order of the buttons in `_Games`."""
    weapons = [float(orders.weapon == number) for number in range(1, 8)]
    return [orders.forward, orders.aside, orders.turn, float(orders.attack), float(orders.use), *weapons]


def _checked_maps(names: list[str] | None) -> list[str]:
    """The maps to play, each of which exists."""
    known = [name for names in MAPS.values() for name in names]
    for name in names or []:
        if name not in known:
            raise UserError(
                f"Freedoom has no map {name!r}: name some of E1M1 to E4M9 and MAP01 to MAP32, for instance E1M1 or MAP07."
            )
    return list(names or known)


def _seed(seed: int, rounds: int, name: str) -> int:
    """A seed of its own for every map and round."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{rounds}/{name}".encode()).digest()[:4], "big") >> 1


def _wad_of(name: str) -> str:
    return next(wad for wad, names in MAPS.items() if name in names)


class _Games:
    """One ViZDoom process for each phase of Freedoom, started when first needed; a context manager."""

    def __init__(self, width: int, seed: int) -> None:
        try:
            import vizdoom  # no other source needs it: a pipeline without games works where it cannot be installed
        except ImportError:
            raise UserError(
                "The package vizdoom, which plays the game, is missing: install it with pip install vizdoom."
            ) from None
        self._vizdoom = vizdoom
        self._width, self._seed = width, seed
        self._running: dict[str, Any] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Games:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kinemacolor-")))
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            for game in self._running.values():
                game.close()

    def enter(self, name: str, seed: int) -> Any:
        """The game at the first tic of a map, the player equipped."""
        wad = _wad_of(name)
        if wad not in self._running:
            self._running[wad] = self._start(wad, name)
        game = self._running[wad]
        game.set_doom_map(name)
        game.set_seed(seed)
        game.new_episode()
        for gift in _GIFTS:
            game.send_game_command(gift)
        return game

    def wad(self, name: str) -> Path:
        """The file that holds a map."""
        return Path(self._vizdoom.__file__).parent / _wad_of(name)

    def _start(self, wad: str, name: str) -> Any:
        vzd = self._vizdoom
        game = vzd.DoomGame()
        game.set_doom_game_path(str(Path(vzd.__file__).parent / wad))
        game.set_doom_config_path(str(self._folder / "vizdoom.ini"))
        game.set_doom_map(name)
        game.set_seed(abs(self._seed))
        game.set_mode(vzd.Mode.PLAYER)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_screen_resolution(getattr(vzd.ScreenResolution, f"RES_{self._width}X{self._width * 3 // 4}"))
        game.set_screen_format(vzd.ScreenFormat.RGB24)
        game.set_render_hud(True)
        game.set_depth_buffer_enabled(True)
        game.set_labels_buffer_enabled(True)
        game.set_episode_start_time(_START_TIC)
        game.set_doom_skill(4)
        game.add_game_args("+sv_cheats 1")
        button, variable = vzd.Button, vzd.GameVariable
        deltas = [button.MOVE_FORWARD_BACKWARD_DELTA, button.MOVE_LEFT_RIGHT_DELTA, button.TURN_LEFT_RIGHT_DELTA]
        weapons = [getattr(button, f"SELECT_WEAPON{number}") for number in range(1, 8)]
        game.set_available_buttons([*deltas, button.ATTACK, button.USE, *weapons])
        game.set_available_game_variables([variable.POSITION_X, variable.POSITION_Y, variable.ANGLE])
        # The engine makes a folder _vizdoom where it is started.
        with contextlib.chdir(self._folder):
            game.init()
        return game
