"""Claim: every Nth frame of a film, exact, takes a third of the time of the `ffmpeg` command line.

    python benchmarks/frames.py --film FILM [FILM ...] [--every 58 24] [--start 0 --seconds 600] [--size 256] [--rounds 5]

Contestants, in turn, each with all threads: the ffmpeg command line that selects every Nth frame, scales it and writes a
JPEG (the peer); PyAV's full sequential decode with our exact conversion and resize; ours. These two write shards and their
index, as the frames stage does. All write to a temporary folder, which is emptied outside of the clock. What ours has
written is compared with the full decode's to the byte, number and time included. A part of a film is cut out first, without decoding, so that all
work on the same file. On a machine that others use as well, the ratio of CPU time is the steadier one.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from machine import interleaved, options, publish, ratios, spread, table

from kinemacolor.frames.resize import AreaResize
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.media.decode import Picture, decode
from kinemacolor.media.sparse import Effort, extract

SHARD_BYTES = 2**27
PEER, FULL, OURS = "ffmpeg command line, JPEG", "PyAV, full decode", "kinemacolor"


def main() -> None:
    """Print a line for each film, step and contestant."""
    parser = options(__doc__)
    parser.add_argument("--film", type=Path, nargs="*", default=[], help="video files; without one, a small made one")
    parser.add_argument("--every", type=int, nargs="*", default=[58, 24], help="one frame of this many")
    parser.add_argument("--start", type=float, default=0.0, help="seconds; the part begins at a key picture near it")
    parser.add_argument("--seconds", type=float, help="length of the part; the whole film without it")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures that come out")
    parser.add_argument("--threads", type=int, help="of ours; as many as there are cores without it")
    arguments = parser.parse_args()
    if not (arguments.film or arguments.small):
        parser.error("give --film FILE, or --small for a made one")
    rows, remarks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for film in arguments.film or [_made(Path(folder))]:
            part = film
            if arguments.seconds is not None or arguments.start:
                part = Path(folder) / f"part-{film.name}"
                _cut(film, part, arguments.start, arguments.seconds)
            for every in arguments.every:
                with tempfile.TemporaryDirectory() as out:
                    more, remark = _measured(film.stem, part, every, Path(out), arguments)
                rows += more
                remarks.append(remark)
    columns = ["film", "one in", "contestant", "wall s", "wall, of ffmpeg's", "CPU, of ffmpeg's"]
    title = f"Every Nth frame at {arguments.size}x{arguments.size}"
    publish(title, "python benchmarks/frames.py --film ...", [table(columns, rows)], out=arguments.out, remarks=remarks)


def _measured(name: str, film: Path, every: int, out: Path, arguments: argparse.Namespace) -> tuple[list[list[str]], str]:
    efforts: list[Effort] = []
    size = arguments.size

    def ours() -> None:
        _write(out, size, extract(film, every=every, threads=arguments.threads, prepare=_Resize(size), note=efforts.append))

    def full() -> None:
        resize = _Resize(size)
        _write(out, size, ((picture.number, picture.time, resize(picture)) for picture in decode(film, every=every)))

    contestants = {PEER: functools.partial(_jpegs, film, every, size, out), FULL: full, OURS: ours}
    _emptied(out)
    ours()
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    _emptied(out)
    full()
    same = first == {path.name: path.read_bytes() for path in out.iterdir()}
    del first
    _emptied(out)
    worked: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    counted = {name: functools.partial(_counting, function, worked[name]) for name, function in contestants.items()}
    taken = interleaved(counted, 1 if arguments.small else arguments.rounds, afterwards=functools.partial(_emptied, out))
    rows = [
        [
            name,
            str(every),
            contestant,
            spread(seconds),
            spread(ratios(seconds, taken[PEER])),
            spread(ratios(worked[contestant][1:], worked[PEER][1:])),
        ]
        for contestant, seconds in taken.items()
    ]
    effort = efforts[0]
    if not same:
        raise SystemExit(f"{name}, one frame in {every}: not the frames of the full decode")
    how = "all of it" if effort.way == "full" else f"{effort.decoded:,} of {effort.packets:,} packets"
    why = f", since {effort.why}" if effort.why else ""
    return rows, f"{name} ({effort.codec}), one frame in {every}: {how} decoded{why}; to the byte the full decode's frames."


def _counting(function: Callable[[], object], worked: list[float]) -> None:
    """Run a contestant and note the seconds that processors worked for it, in this process and in those it started."""
    before = os.times()
    function()
    worked.append(sum(os.times()[:4]) - sum(before[:4]))


class _Resize:
    """What the frames stage does with a picture: its middle, averaged over areas."""

    def __init__(self, size: int) -> None:
        self._resize = functools.lru_cache(AreaResize)
        self._size = (size, size)

    def __call__(self, picture: Picture) -> np.ndarray:
        return self._resize(picture.pixels.shape[:2], self._size)(picture.pixels)


def _write(out: Path, size: int, frames: Iterable[tuple[int, float, np.ndarray]]) -> None:
    """What the frames stage writes: shards with their sha256, and the index."""
    shapes = {"colour": (3, size, size)}
    writer = ShardWriter(out, source="film", shapes=shapes, shard_bytes=SHARD_BYTES, facts={"size": [size, size]})
    for number, time, planes in frames:
        writer.add({"colour": planes}, frame=number, time=time)
    writer.close()


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _jpegs(film: Path, every: int, size: int, out: Path) -> None:
    chain = f"select=not(mod(n\\,{every})),crop=min(iw\\,ih):min(iw\\,ih),scale={size}:{size}"
    output = ["-map", "0:v:0", "-vf", chain, "-fps_mode", "passthrough", "-q:v", "2", f"{out}/%06d.jpg"]
    _ffmpeg("-threads", "0", "-i", film, *output)


def _cut(film: Path, part: Path, start: float, seconds: float | None) -> None:
    length = ["-t", seconds] if seconds is not None else []
    _ffmpeg("-ss", start, "-i", film, *length, "-map", "0:v:0", "-c", "copy", part)


def _made(folder: Path) -> Path:
    """Ten seconds of a test pattern, for --small."""
    film = folder / "pattern.mp4"
    source = ["-f", "lavfi", "-i", "testsrc2=size=192x108:rate=24:duration=10"]
    _ffmpeg(*source, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "60", film)
    return film


def _ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
