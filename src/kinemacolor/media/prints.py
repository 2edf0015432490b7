"""Make a print out of a film: what sixty years, other laboratories and colourists do to it.

A print that is made has a known truth: which film frame each of its frames shows, and where each pixel lies. That is what
the synchronisation is tried against, and it stands in a Parquet beside the print. What is shown is decided in `programme`;
here it is done, in a stream: one thread decodes the film in the order of the edit, a few make pictures of it, and one
encodes, so that neither the length of the film nor the order of its reels costs memory.

The same film, recipe and versions of the libraries give the same bytes, whatever else the machine does meanwhile.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.media.burnin import BurnIn
from kinemacolor.media.darkroom import NEUTRAL, STEPS, Darkroom, Planes
from kinemacolor.media.leader import leader_frame
from kinemacolor.media.probe import Probe, probe, truncated
from kinemacolor.media.programme import ADDED, BLACK, LEADER, Programme, placement, print_size, programme
from kinemacolor.media.release import SUFFIXES, PrintWriter, interleaved
from kinemacolor.media.scenes import scene_frame
from kinemacolor.media.shots import film_frames
from kinemacolor.media.soundtrack import Soundtrack
from kinemacolor.media.stretch import even_rate, frames_from
from kinemacolor.params import LONGEST_SIDE, SHORTEST_SIDE, Recipe

TRUTH_SUFFIX = ".alignment.parquet"
_CONTAINER = b"container"  # of the print, among the truth's metadata
_AHEAD = 12  # frames under way at once: enough to keep the threads busy, little memory
_ROAM = (251, 257)  # primes: the plate's place (x, y) repeats after 251 * 257 frames, 45 minutes of film
_PER_CODE = 219 / 255  # limited range: codes of video luma to one step of 255
_BT709, _GUESSED = 1, {True: 1, False: 6}  # H.273; untagged films are BT.709 from 720 lines up, BT.601 below


def truth_file(target: Path) -> Path:
    """Where the true alignment of the print `target` lies: beside it."""
    return Path(target).with_name(Path(target).stem + TRUTH_SUFFIX)


def make_print(
    film: Path,
    recipe: Recipe,
    target: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    allow_truncated: bool = False,
) -> Programme:
    """Make the print `target` (.mp4, .m4v, .mov or .mkv) of `film` by `recipe`, and the truth beside it (`truth_file`). Ours.

    The steps, in order: the edit, area-averaged scale, paint, 1 / gamma and contrast about the middle on luma in [0, 1], turn
    and shift, leaders and added scenes, another rate, Gaussian grain (white, another for every frame; `recipe.grain` is its
    standard deviation in the decoded luma of 0 to 255, before encoding), logo and subtitles. yuv420p of limited range; a
    grey print has neutral chroma and is tagged BT.709, a print in colour has the film's own matrix. Frame k of a print of one
    reel shows film frame k - intro_frames + trim_frames. A film without sound gives a print without.

    Args:
        progress: called with frames done and frames in all.
        allow_truncated: make a print of what is there of a film that ends before it says it does.

    Returns:
        What every frame of the print shows.

    Raises:
        UserError: the film cannot be read, is truncated or of variable frame rate, the recipe asks for frames that it does
            not have or that are damaged, `target` is the film, a folder, no name of a print, or one whose truth would
            replace another print's, or the disk is full.
    """
    film, target = Path(film), Path(target)
    _refuse_target(film, target)
    found = probe(film)
    if found.last_good_time is not None and not allow_truncated:
        raise truncated(film, found.last_good_time)
    frames, rate = even_rate(film, found)
    shown = programme(recipe, frames, rate)
    truth = shown.alignment()
    if not len(truth["colour_frame"]):
        raise UserError(f"The recipe leaves nothing of {film} at {shown.rate} frames a second: shorten what it cuts.")
    _refuse_shape(recipe, found)
    # Another container's print of the same stem would have its truth in the same file.
    about = {_CONTAINER: target.suffix.lower()}
    with atomic_file(target) as temporary, atomic_file(truth_file(target)) as table:
        pq.write_table(pa.table(truth).replace_schema_metadata(about), table)
        _write(film, found, recipe, shown, temporary, progress)
    return shown


def _refuse_target(film: Path, target: Path) -> None:
    """Refuse a target before the work that would have no place afterwards, or would destroy something."""
    if target.suffix.lower() not in SUFFIXES:
        raise UserError(f"{target} is no name of a print: let it end in {' or '.join(SUFFIXES)}.")
    truth = truth_file(target)
    for file in (target, truth):
        if os.path.isdir(file):  # unlike Path.is_dir, false where a part of the path is a file
            raise UserError(f"{file} is a folder: give the print another name.")
    if os.path.exists(target) and os.path.exists(film) and os.path.samefile(film, target):
        raise UserError(f"{target} is the film itself, which the print would replace: give the print another name.")
    if os.path.isfile(truth):
        suffix = _container_of(truth)
        other = target.with_suffix(suffix) if suffix in SUFFIXES and suffix != target.suffix.lower() else None
        if other is not None and other.is_file():
            raise UserError(f"{truth} is the truth of {other}: give the new print another stem, or remove {other}.")


def _container_of(truth: Path) -> str | None:
    """The suffix of the print that a truth lies beside, as far as it says so."""
    try:
        return (pq.read_schema(truth).metadata or {}).get(_CONTAINER, b"").decode()
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return None


def _refuse_shape(recipe: Recipe, found: Probe) -> None:
    height, width = print_size(recipe, found.height, found.width)
    if width > LONGEST_SIDE:
        raise UserError(
            f"The recipe makes a print of {width}×{height} pixels, wider than {LONGEST_SIDE}: lower recipe.height, or crop less."
        )
    if width < SHORTEST_SIDE:
        raise UserError(
            f"The recipe makes a print {width} pixels wide, under {SHORTEST_SIDE}: raise recipe.height, or crop less."
        )
    left, top, right, bottom = placement(recipe, found.height, found.width).box
    if right - left < 1 or bottom - top < 1:
        raise UserError("recipe.shift moves the whole picture out of the print: lower it.")


def _write(
    film: Path,
    found: Probe,
    recipe: Recipe,
    shown: Programme,
    target: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    room = Darkroom(recipe, found.height, found.width)
    with ExitStack() as stack:
        track = stack.enter_context(Soundtrack(film, shown, seed=recipe.seed)) if recipe.sound and found.audio else None
        pool = stack.enter_context(ThreadPoolExecutor(max(2, min(4, os.cpu_count() or 1))))
        source = stack.enter_context(_Positions(film, recipe, shown, room, pool))
        matrix = source.matrix() if recipe.colour else _BT709
        writer = stack.enter_context(
            PrintWriter(
                target,
                height=room.height,
                width=room.width,
                rate=shown.rate,
                codec=recipe.codec,
                crf=recipe.crf,
                colorspace=matrix,
                sound=(track.rate, track.channels) if track else None,
            )
        )
        sounds = interleaved(track.blocks(), track.rate) if track else iter(())
        sound = next(sounds, None)
        finish = _Finish(recipe, shown, room)
        for number, (luma, chroma) in enumerate(_finished(shown, source, finish, pool)):
            while sound is not None and sound[2] <= shown.time[number]:
                writer.sound(*sound[:2])
                sound = next(sounds, None)
            following = shown.tick[number + 1] if number + 1 < shown.frames else shown.tick[number] + 1
            writer.picture(luma, chroma, int(shown.tick[number]), int(following - shown.tick[number]))
            if progress:
                progress(number + 1, shown.frames)
        while sound is not None:
            writer.sound(*sound[:2])
            sound = next(sounds, None)


def _finished(
    shown: Programme, source: _Positions, finish: _Finish, pool: ThreadPoolExecutor
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """The print's pictures in order, a few of them under way at once."""
    under_way: deque[Future] = deque()
    for number in range(shown.frames):
        first = source.picture(int(shown.one[number]))
        second = source.picture(int(shown.other[number])) if shown.other[number] >= 0 else None
        under_way.append(pool.submit(finish, number, first, second))
        if len(under_way) >= _AHEAD:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


class _Positions:
    """Pictures of the edit's positions, asked for in rising order (the one before may be asked for again).

    A context manager: a thread of its own decodes the film in the order of the edit.
    """

    def __init__(self, film: Path, recipe: Recipe, shown: Programme, room: Darkroom, pool: ThreadPoolExecutor) -> None:
        self._film, self._recipe, self._shown, self._room, self._pool = film, recipe, shown, room, pool
        wanted = np.union1d(shown.one, shown.other[shown.other >= 0])
        self._wanted: list[int] = wanted.tolist()
        self._queue: queue.Queue = queue.Queue(_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._decode, daemon=True)
        self._recent: dict[int, Future[Planes]] = {}

    def __enter__(self) -> _Positions:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                self._thread.join(0.05)

    def matrix(self) -> int:
        """The film's matrix by H.273's number, as players read it."""
        _, frame = next(frames_from(self._film, 0))
        tagged = int(frame.colorspace)
        return tagged if tagged in (1, 4, 5, 6, 7, 9) else _GUESSED[frame.height >= 720]

    def picture(self, position: int) -> Future[Planes]:
        """The picture at a position of the edit; it may not be ready yet."""
        while position not in self._recent:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            at, made = item
            self._recent[at] = made
            for old in [known for known in self._recent if known < at - 2]:
                del self._recent[old]
        return self._recent[position]

    def _decode(self) -> None:
        try:
            edit = self._shown.edit
            numbers = edit.frame[self._wanted]
            fresh = (numbers >= 0) & (numbers != np.concatenate([[-1], numbers[:-1]]))
            frames = film_frames(self._film, numbers[fresh])
            last: tuple[int, float, Future[Planes]] | None = None
            for position in self._wanted:
                number, gain = int(edit.frame[position]), float(edit.gain[position])
                if number < 0:
                    made = self._pool.submit(self._own, position)
                elif last is not None and last[:2] == (number, gain):  # it stands
                    made = last[2]
                else:
                    if last is None or last[0] != number:
                        frame, shot = next(frames)
                    made = self._pool.submit(self._room.picture, frame, shot=shot, gain=gain)
                last = (number, gain, made) if number >= 0 else None
                if not self._put((position, made)):
                    return
        except BaseException as error:
            self._put(error)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def _own(self, position: int) -> Planes:
        """A picture that the film has no part in."""
        edit, room, seed = self._shown.edit, self._room, self._recipe.seed
        scene, number, length = int(edit.scene[position]), int(edit.number[position]), int(edit.length[position])
        match int(edit.kind[position]):
            case kind if kind == LEADER:
                size = {"height": room.height, "width": room.width}
                rate, tail = self._shown.film_rate, scene == 1
                return room.drawn(leader_frame(number, length, **size, frame_rate=rate, seed=seed, tail=tail))
            case kind if kind == ADDED:
                left, top, right, bottom = room.window
                luma, chroma = scene_frame(scene, number, length, height=bottom - top, width=right - left, seed=seed)
                return room.drawn(luma, chroma)
            case kind:
                assert kind == BLACK
                return room.drawn(np.zeros((room.height, room.width), np.uint8))


class _Finish:
    """What is done to a print's frame last: mixed or woven, grain, what is burnt in, and the one rounding."""

    def __init__(self, recipe: Recipe, shown: Programme, room: Darkroom) -> None:
        self._shown, self._room, self._seed = shown, room, abs(recipe.seed)
        self._plate = None
        if recipe.grain:
            size = (room.height + _ROAM[1], room.width + _ROAM[0])
            noise = np.random.default_rng(self._seed).normal(0, recipe.grain * _PER_CODE * STEPS, size)
            self._plate = np.rint(noise).astype(np.int16)
        self._burn = None
        if recipe.logo or recipe.subtitles:
            seconds = float(shown.time[-1]) + 1
            about = {"logo": recipe.logo, "subtitles": recipe.subtitles, "seed": recipe.seed}
            self._burn = BurnIn(height=room.height, width=room.width, seconds=seconds, **about)
        self._neutral = np.full((2, room.height // 2, room.width // 2), NEUTRAL, np.uint8)

    def __call__(
        self, number: int, first: Future[Planes], second: Future[Planes] | None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Luma (H, W) and chroma (2, H / 2, W / 2) of a print frame."""
        luma, chroma = first.result()
        if second is not None:
            luma, chroma = self._joined(number, Planes(luma, chroma), second.result())
        if self._plate is not None:
            luma = luma + self._grain(number)
        if self._burn is not None:
            luma = luma.copy() if luma is first.result().luma else luma
            chroma = chroma.copy() if chroma is not None else None
            self._burn.burn(luma, chroma, float(self._shown.time[number]))
        codes = np.clip((luma + STEPS // 2) // STEPS, 0, 255).astype(np.uint8)
        return codes, self._neutral if chroma is None else chroma

    def _joined(self, number: int, one: Planes, other: Planes) -> Planes:
        if self._shown.woven[number]:
            luma, chroma = one.luma.copy(), one.chroma
            luma[1::2] = other.luma[1::2]
            if chroma is not None:
                chroma = chroma.copy()
                chroma[:, 1::2] = other.chroma[:, 1::2]
            return Planes(luma, chroma)
        share = self._shown.weight[number]
        luma = np.rint(one.luma * share + other.luma * (1 - share)).astype(np.int16)
        chroma = None
        if one.chroma is not None:
            chroma = np.rint(one.chroma * share + other.chroma * (1 - share)).astype(np.uint8)
        return Planes(luma, chroma)

    def _grain(self, number: int) -> NDArray[np.int16]:
        """A window of the plate, whose place jumps with every frame."""
        # Quadratic in the frame's number: from frame to frame the jump itself changes, so the grain never seems to travel.
        x = (7 * number * number + 91 * number + self._seed % 9973) % _ROAM[0]
        y = (5 * number * number + 123 * number + self._seed % 9949) % _ROAM[1]
        return self._plate[y : y + self._room.height, x : x + self._room.width]
