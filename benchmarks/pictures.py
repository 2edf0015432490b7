"""Small photographs into shards, against one process of Pillow; and the memory that a collection takes as it grows.

    python benchmarks/pictures.py --film FILE [--count 60000] [--side 128] [--size 64] [--out FILE]

The photographs are cut from a film's frames, seeded, and saved as JPEG (quality 90, Pillow's defaults) in folders of a thousand. The
peer opens each file, converts it to RGB, cuts and resizes it (box filter) and appends it to one file of numbers: no hash, no
index, no look at whether files are whole or equal, which is the least that anybody writes. Of ours two figures are told: the
`frames` stage alone, which reads what the `download` stage packed once, and both stages together.

Memory is the most that a process of its own held while it took a tar or a zip of so many tiny PNG files (8x8) through a stage.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from machine import interleaved, options, publish, speedups, spread, table
from PIL import Image

from kinemacolor.media.decode import decode
from kinemacolor.params import FramesParams, ImagesSource
from kinemacolor.stages.download import download
from kinemacolor.stages.frames import frames

_FILMS_FRAMES = 120
_A_FOLDER = 1000


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--film", type=Path, metavar="FILE", help="any colour film: the photographs are cut from it")
    parser.add_argument("--count", type=int, default=60_000, help="photographs")
    parser.add_argument("--side", type=int, nargs="+", default=[64, 128, 256], help="mean sides of the photographs, each a row")
    parser.add_argument("--size", type=int, default=64, help="height and width of the frames")
    parser.add_argument(
        "--growth", type=int, nargs="*", default=[1000, 50_000, 100_000, 200_000], help="pictures of the second table"
    )
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with room")
    parser.add_argument("--grown", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.grown:
        stage, archive, grown = chosen.grown
        _grow(stage, Path(archive), Path(grown))
        return
    if chosen.small:
        chosen.count, chosen.side, chosen.size, chosen.growth = 120, [24], 16, [60]
    tables = []
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        if chosen.film:
            tables.append(_speed(chosen, Path(scratch)))
        if chosen.growth:
            tables.append(_memory(chosen.growth, Path(scratch), ["tar"] if chosen.small else ["tar", "zip"]))
    publish("Photographs", _command(chosen), tables, out=chosen.out)


def _command(chosen: argparse.Namespace) -> str:
    film = f" --film {chosen.film.name}" if chosen.film else ""
    sides = " ".join(map(str, chosen.side))
    growth = " ".join(map(str, chosen.growth))
    return f"python benchmarks/pictures.py{film} --count {chosen.count} --side {sides} --size {chosen.size} --growth {growth}"


# -------------------------------------------------------------------------------------------------------- speed


def _speed(chosen: argparse.Namespace, scratch: Path) -> str:
    rows = []
    for side in chosen.side:
        folder = scratch / f"photographs{side}"
        _cut(chosen.film, folder, chosen.count, side)
        source = ImagesSource(kind="images", licence="any", credit="any", path=str(folder))
        raw, out, params = scratch / "raw", scratch / "frames", FramesParams(every=1, size=chosen.size)

        def packed(source: ImagesSource = source, raw: Path = raw) -> None:
            with contextlib.redirect_stderr(io.StringIO()):
                download(source, out=raw, cache=scratch / "cache", name="photographs")

        def ours(raw: Path = raw, out: Path = out, params: FramesParams = params) -> None:
            with contextlib.redirect_stderr(io.StringIO()):
                frames(raw, source="photographs", params=params, out=out)

        packed()
        contestants: dict[str, Callable[[], object]] = {
            "Pillow, one process": lambda folder=folder: _pillow(folder, scratch / "all.bin", chosen.size),
            "frames": ours,
            "download and frames": lambda: (packed(), ours()),
        }
        processor: dict[str, list[float]] = {name: [] for name in contestants}
        timed = {name: partial(_noted, work, processor[name]) for name, work in contestants.items()}
        taken = interleaved(timed, chosen.rounds)
        peer = taken["Pillow, one process"]
        for name, seconds in taken.items():
            rate = [chosen.count / one for one in seconds]
            faster = "1" if seconds is peer else spread(speedups(seconds, peer))
            each = [1e6 * one / chosen.count for one in processor[name][1:]]
            rows.append([f"{name}, sides of about {side}", spread(rate, 0), faster, spread(each, 0)])
        for used in (folder, raw, out, scratch / "cache"):
            shutil.rmtree(used)
    return table([f"{chosen.count} photographs to {chosen.size}x{chosen.size}", "a second", "times as fast", "CPU us each"], rows)


def _noted(work: Callable[[], object], seconds: list[float]) -> None:
    """Do the work and note the seconds of all threads."""
    begin = time.process_time()
    work()
    seconds.append(time.process_time() - begin)


def _cut(film: Path, folder: Path, count: int, side: int) -> None:
    """Photographs of three shapes, no two of them equal."""
    draw = np.random.default_rng(0)
    pictures = [picture.pixels for picture, _ in zip(decode(film, every=12), range(_FILMS_FRAMES), strict=False)]
    for number in range(count):
        whole = pictures[draw.integers(len(pictures))]
        share, (tall, wide) = draw.uniform(0.4, 0.9), [(1, 1), (3, 4), (4, 3)][draw.integers(3)]
        edge = share * min(whole.shape[:2])
        height, width = int(edge * tall / max(tall, wide)), int(edge * wide / max(tall, wide))
        top, left = draw.integers(whole.shape[0] - height), draw.integers(whole.shape[1] - width)
        shown = Image.fromarray(whole[top : top + height, left : left + width])
        shape = max(8, round(side * (wide / tall) ** 0.5)), max(8, round(side * (tall / wide) ** 0.5))
        place = folder / f"{number // _A_FOLDER:04d}"
        place.mkdir(parents=True, exist_ok=True)
        shown.resize(shape, Image.Resampling.BILINEAR, reducing_gap=2).save(place / f"{number:07d}.jpg", quality=90)


def _pillow(folder: Path, out: Path, size: int) -> None:
    """What one writes without the pipeline."""
    with open(out, "wb") as file:
        for path in sorted(folder.rglob("*.jpg")):
            with Image.open(path) as picture:
                width, height = picture.size
                edge = min(width, height)
                left, top = (width - edge) / 2, (height - edge) / 2
                box = (left, top, left + edge, top + edge)
                small = picture.convert("RGB").resize((size, size), Image.Resampling.BOX, box=box)
            file.write(np.asarray(small).tobytes())


# ------------------------------------------------------------------------------------------------------- memory


def _memory(counts: list[int], scratch: Path, forms: Sequence[str]) -> str:
    rows = []
    for count in counts:
        for form in forms:
            archive, grown = scratch / f"tiny.{form}", scratch / "grown"
            _tiny(archive, count)
            row: list[object] = [f"{count} in a {form}"]
            for stage in ("download", "frames"):
                command = [sys.executable, __file__, "--grown", stage, str(archive), str(grown)]
                most, seconds = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
                row += [most, f"{float(seconds):.1f}", f"{1e6 * float(seconds) / count:.0f}"]
            rows.append(row)
            print(*row, sep="\t", file=sys.stderr)
            shutil.rmtree(grown)
            archive.unlink()
    columns = [f"{stage}: {what}" for stage in ("download", "frames") for what in ("MiB", "CPU s", "us each")]
    return table(["tiny pictures", *columns], rows)


def _grow(stage: str, archive: Path, grown: Path) -> None:
    """Take an archive through a stage; print the most memory held, in MiB, and the seconds of all threads."""
    import resource

    with contextlib.redirect_stderr(io.StringIO()):
        if stage == "download":
            source = ImagesSource(kind="images", licence="any", credit="any", path=str(archive))
            download(source, out=grown / "raw", cache=grown / "cache", name="tiny")
        else:
            frames(grown / "raw", source="tiny", params=FramesParams(every=1, size=16), out=grown / "frames")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, time.process_time())


def _tiny(archive: Path, count: int) -> None:
    """An archive of PNG files of 8x8 pixels, no two of them equal, in an order that is not that of their names."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for name, data in _pngs(count):
                file.writestr(name, data)
                if len(file.filelist) % 100_000 == 0:
                    print(f"{archive.name}: {len(file.filelist)}", file=sys.stderr)
        return
    with open(archive, "wb", buffering=1 << 20) as file:
        for name, data in _pngs(count):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.write(info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE))
        file.write(bytes(2 * tarfile.BLOCKSIZE))


def _pngs(count: int) -> Iterator[tuple[str, bytes]]:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    begin = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    for number in range(count):
        shuffled = number * 2_654_435_761 % 2**32
        lines = b"".join(b"\0" + struct.pack("<I", shuffled ^ line) * 6 for line in range(8))
        yield f"n{shuffled % 1000:03d}/{shuffled:010d}.png", begin + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    main()
