"""Films, excerpts, masters and prints of benchmarks/sync.py, made once and kept under a hash of what they are made of."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from sync_recipes import EXCERPTS, FILMS, Case, Excerpt, Keys

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, sha256_of
from kinemacolor.media.decode import decode
from kinemacolor.media.fetch import fetch
from kinemacolor.media.prints import make_print
from kinemacolor.media.probe import probe
from kinemacolor.params import Media, Recipe

MAKER_VERSION = 1
"""Raised by hand when the maker (media/programme.py, prints, darkroom, scenes, burnin, soundtrack, release, leader, and
params/recipe.py) comes to make other pictures, sounds or times of the same recipe: all prints are then made anew."""

VIDEO = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ogv", ".mpg", ".mpeg", ".m2ts", ".mts", ".ts", ".wmv", ".flv", ".y4m")
)
"""Suffixes of what --folder may find."""

_SEEN = (72, 128)  # lines and columns at which a print is looked at; four of these pixels are a cell
_IN_MATROSKA = ("mpeg2", "vp9", "mpeg4")  # whose times are whole milliseconds, as they often are
_SAME = 0.5  # luma steps of 255 by which no cell may differ in a standing picture


@dataclass(frozen=True)
class Facts:
    """What is seen of a print at a tiny size; one entry a frame.

    Attributes:
        times: float64 seconds, as decoded.
        mean: float32, mean luma 0..255.
        contrast: float32, standard deviation of luma; below 2.5 there is nothing to see.
        still: int64, the same number for all frames of a standing picture, which no method could tell apart.
    """

    times: NDArray[np.float64]
    mean: NDArray[np.float32]
    contrast: NDArray[np.float32]
    still: NDArray[np.int64]


@dataclass(frozen=True)
class Made:
    """A film in the cache, and the recipe by which it was made from its film; None for an excerpt or a film itself."""

    path: Path
    key: str
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Prints:
    """The two prints of a case, the master that both were made from, and the film that it was made from.

    Without a master the prints are unrelated.
    """

    case: Case
    grey: Made
    colour: Made
    master: Made | None
    film: Made


class Shelf:
    """Where everything is kept, and what makes what is not there yet."""

    def __init__(self, cache: Path, films: dict[str, Path], folders: list[Path]) -> None:
        self.cache = cache
        self._films = dict(films)
        self._folders = folders
        self._keys: dict[Path, str] = {}
        self._sought: set[str] = set()
        for part in ("films", "excerpts", "prints", "facts"):
            (cache / part).mkdir(parents=True, exist_ok=True)

    def prints(self, case: Case) -> Prints:
        """Both prints of a case, made if need be.

        Raises:
            UserError: a film is not at hand.
        """
        film = self.excerpt(case.film)
        master = film if case.master is None else self.made(film, case.master, f"{case.name}.master", case.version)
        grey = self.made(master, case.grey, f"{case.name}.grey", case.version)
        if case.other is not None:
            return Prints(case, grey, self.excerpt(case.other), None, film)
        colour = master if case.colour is None else self.made(master, case.colour, f"{case.name}.colour", case.version)
        return Prints(case, grey, colour, master, film)

    def missing(self, case: Case) -> list[str]:
        """Names of the films of a case that nobody has given and no package has."""
        names = {EXCERPTS[name].film for name in (case.film, case.other) if name in EXCERPTS}
        return sorted(name for name in names if self._given(name) is None and FILMS[name].package is None)

    def film(self, name: str) -> Path:
        """The file of a film: as given, from the folders, or fetched."""
        given = self._given(name)
        if given is not None:
            return given
        package = FILMS[name].package if name in FILMS else None
        if package is None:
            raise UserError(f"The film {name} is not at hand: give --film {name}=PATH, or --folder with the folder it lies in.")
        return fetch(Media(**package), self.cache / "films" / name, key=name)

    def excerpt(self, name: str) -> Made:
        """A stretch of a film as a film of its own; for drawn films, which have no stretches, the film."""
        excerpt = EXCERPTS.get(name, Excerpt(name))
        film = self.film(excerpt.film)
        if excerpt.seconds is None:
            return Made(film, self._key(film))
        key = _hash(self._key(film), asdict(excerpt))
        target = self.cache / "excerpts" / f"{name}-{key[:10]}.mp4"
        if not target.is_file():
            _cut(film, excerpt, target)
        return Made(target, key)

    def made(self, film: Made, keys: Keys, name: str, version: int = 1) -> Made:
        """A print of a film; `version` as in Case."""
        recipe = Recipe(**keys)
        # Only what is said counts: a new key of the recipe, whose default does nothing, leaves the prints as they are.
        said = recipe.model_dump(mode="json", exclude_defaults=True)
        # The first versions are not said either: what they made stays good.
        said |= {name: number for name, number in (("MAKER_VERSION", MAKER_VERSION), ("version", version)) if number > 1}
        key = _hash(film.key, said)
        suffix = ".mkv" if recipe.codec in _IN_MATROSKA else ".mp4"
        target = self.cache / "prints" / f"{name}-{key[:10]}{suffix}"
        if not target.is_file():
            make_print(film.path, recipe, target)
        return Made(target, key, recipe)

    def facts(self, made: Made) -> Facts:
        """What is seen of a print; kept, since it takes a whole decode."""
        target = self.cache / "facts" / f"{made.key}.npz"
        if not target.is_file():
            seen = look(made.path)
            with atomic_file(target) as temporary, temporary.open("wb") as file:
                np.savez(file, times=seen.times, mean=seen.mean, contrast=seen.contrast, still=seen.still)
        with np.load(target) as held:
            return Facts(**{name: held[name] for name in ("times", "mean", "contrast", "still")})

    def _given(self, name: str) -> Path | None:
        if name not in self._films and name in FILMS and name not in self._sought:
            self._sought.add(name)
            wanted = (FILMS[name].package or {}).get("sha256")
            for file in (file for folder in self._folders for file in sorted(folder.rglob(f"{FILMS[name].stem}.*"))):
                if not file.is_file() or file.suffix.lower() not in VIDEO:
                    continue
                if wanted is None or self._key(file) == wanted:
                    self._films[name] = file
                    break
                print(f"{file} is not the film {name}: its SHA-256 is not {wanted[:12]}…; passed over", file=sys.stderr)
        return self._films.get(name)

    def _key(self, film: Path) -> str:
        if film not in self._keys:
            self._keys[film] = sha256_of(film)
        return self._keys[film]


def look(path: Path) -> Facts:
    """Decode a print at a tiny size and say what is seen."""
    times, mean, contrast, still = [], [], [], []
    first: NDArray[np.float32] | None = None
    for picture in decode(path, grey=True, size=_SEEN):
        cells = picture.pixels.reshape(_SEEN[0] // 2, 2, _SEEN[1] // 2, 2).mean(axis=(1, 3), dtype=np.float32)
        # Against the first of the run: a slow pan or fade must not pass for one long still.
        if first is None or np.abs(cells - first).max() > _SAME:
            first = cells
            still.append(picture.number)
        else:
            still.append(still[-1])
        times.append(picture.time)
        mean.append(cells.mean())
        contrast.append(cells.std())
    return Facts(np.array(times), np.array(mean, np.float32), np.array(contrast, np.float32), np.array(still, np.int64))


def draw_film(target: Path, *, which: int, seconds: float = 12) -> Path:
    """A small film of ffmpeg's own moving patterns, for trying things out; 24 frames a second, with a sound."""
    if not target.is_file():
        kinds = (
            "mandelbrot=size=160x90:rate=24:maxiter=200",
            "testsrc2=size=160x90:rate=24",
            "life=size=160x90:rate=24:mold=9:ratio=.3:seed=7",
        )
        chosen = (kinds[0], kinds[1]) if which == 0 else (kinds[2],)
        inputs = [part for kind in chosen for part in ("-f", "lavfi", "-t", f"{seconds / len(chosen):g}", "-i", kind)]
        hum = f"aevalsrc=sin(440*t)*(.5+.5*sin(t*t)):d={seconds:g}"
        joined = "".join(f"[{number}:v]format=yuv420p,setsar=1[p{number}];" for number in range(len(chosen)))
        joined += "".join(f"[p{number}]" for number in range(len(chosen))) + f"concat=n={len(chosen)}[v]"
        with atomic_file(target) as temporary:
            _ffmpeg(
                *inputs, "-f", "lavfi", "-i", hum, "-filter_complex", joined, "-map", "[v]", "-map", f"{len(chosen)}:a",
                "-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-c:a", "aac", "-f", "mp4", str(temporary),
            )  # fmt: skip
    return target


def loop_places(length: float, *, hours: float, seed: int) -> list[tuple[float, float]]:
    """Stretches of a film, (start, end) in seconds, 40 to 100 s each, that together last so many hours."""
    rng = np.random.default_rng(seed)
    places, total = [], 0.0
    while total < hours * 3600:
        seconds = min(float(rng.uniform(40, 100)), length / 2)
        start = float(rng.uniform(0, length - seconds))
        places.append((start, start + seconds))
        total += seconds
    return places


def loop_film(film: Path, target: Path, places: list[tuple[float, float]]) -> Path:
    """A long film out of stretches of one (H.264 in MP4), joined as they are encoded, so that it takes seconds and not an hour.

    A stretch begins and ends at the key pictures nearest to where it should: another encoding of the same film is cut a few
    seconds elsewhere, so that each lacks a little of what the other has. Without sound.
    """
    if target.is_file():
        return target
    with atomic_file(target) as temporary, av.open(f"file:{film}") as source, av.open(f"file:{temporary}", "w") as joined:
        video = source.streams.best("video")
        out = joined.add_stream_from_template(video)
        at = 0
        for low, high in _stretches(source, places)[0]:
            source.seek(low, stream=video)
            begun = False
            shift, end = at - low, at
            for packet in source.demux(video):
                begun = begun or packet.pts == low
                if packet.pts is None or (begun and packet.pts == high):
                    break
                # What is shown before the first key frame refers to pictures that are not taken along.
                if begun and packet.pts >= low:
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    end = max(end, packet.pts + packet.duration)
                    packet.stream = out
                    joined.mux(packet)
            at = end
    return target


def loop_cuts(film: Path, places: list[tuple[float, float]]) -> list[tuple[int, int]]:
    """Which frames of the film each stretch of `loop_film` shows: start <= n < end, as decoders count them."""
    with av.open(f"file:{film}") as source:
        edges, shown = _stretches(source, places)
    return [tuple(int(number) for number in np.searchsorted(shown, edge)) for edge in edges]


def _stretches(
    source: av.container.InputContainer, places: list[tuple[float, float]]
) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """The key pictures nearest to the ends of each place, and all pictures in the order in which they are shown (pts)."""
    video = source.streams.best("video")
    shown, keys = [], []
    for packet in source.demux(video):
        if packet.pts is not None:
            shown.append(packet.pts)
            if packet.is_keyframe and _is_fresh(packet):
                keys.append(packet.pts)
    seconds = np.array(keys) * float(video.time_base)
    edges = [tuple(keys[int(np.argmin(np.abs(seconds - edge)))] for edge in place) for place in places]
    return edges, np.sort(np.array(shown, np.int64))


def _is_fresh(packet: av.Packet) -> bool:
    """Whether a key picture of H.264 in MP4 is one from which decoders begin anew (IDR): at others they mix up the order."""
    data, at = bytes(packet), 0
    while at + 4 < len(data):
        if data[at + 4] & 31 == 5:
            return True
        at += 4 + int.from_bytes(data[at : at + 4])
    return False


def _cut(film: Path, excerpt: Excerpt, target: Path) -> None:
    rate: Fraction = probe(film).frame_rate
    with atomic_file(target) as temporary:
        _ffmpeg(
            "-ss", f"{excerpt.start:g}", "-i", f"file:{film}", "-t", f"{excerpt.seconds:g}", "-map", "0:v:0", "-map", "0:a:0?",
            "-vf", f"scale=-2:'min({excerpt.height},ih)':flags=area", "-fps_mode", "cfr", "-r", str(rate), "-pix_fmt", "yuv420p",
            "-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-c:a", "aac", "-b:a", "128k", "-f", "mp4", str(temporary),
        )  # fmt: skip


def _ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ffmpeg: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no message'}")


def _hash(parent: str, value: Keys) -> str:
    return hashlib.sha256(f"{parent}{json.dumps(value, sort_keys=True)}".encode()).hexdigest()
