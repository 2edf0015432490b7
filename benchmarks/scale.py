"""A million frames: memory stays flat and time grows with the frames, from the first shard to a shuffled epoch of indexes.

    python benchmarks/scale.py [--frames 125000 250000 500000 1000000] [--side 16] [--scratch DIR] [--rounds 5] [--out FILE]

The frames are made: half are of a film with shots of four seconds, a quarter of a collection of clips of eight frames, a
quarter photographs, each with a name of its own. What is measured is what the stages run: `ShardWriter`, `FrameStore`, the
split and filter stages, `Material`, and the random order of one epoch. Every step runs in a process of its own, on one thread
of torch's. Seconds are of the processor, since a step has no peer to be interleaved with; those of the clock stand beside them.
The quick steps run --rounds times, each time in a new process, and the median is told with the least and the most; the slow
ones (HEAVY) run once.

Memory is told in three ways: the most that was resident in the process, which counts pages of shards that happen to be mapped
and that the system takes back when it likes; the most that was its own (anonymous, counted a hundred times a second), which
nobody can take back; and what its imports alone had taken before it began, which is part of both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import options, publish, spread, table

SOURCES = ("film", "reel", "album")
SHOT, CLIP = 96, 8
"""Frames of a shot of the film, and of a clip of the reel."""
RATE = 24
SHARD_BYTES = 1 << 22
EPOCH_BATCH = 32
LIMIT = 1024
"""MiB that no step may need."""


def main() -> None:
    """Run every step for every size; print seconds, seconds per million frames, and memory."""
    parser = options(__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[125_000, 250_000, 500_000, 1_000_000])
    parser.add_argument("--side", type=int, default=16, help="height and width of a frame in pixels")
    parser.add_argument("--compression", choices=["none", "lz4", "zstd"], default="none")
    parser.add_argument("--scratch", type=Path, help="a folder on a disk with room")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        name, folder, count, side = chosen.step
        print(json.dumps(_measured(name, Path(folder), int(count), int(side), chosen.compression)))
        return
    if chosen.small:
        chosen.frames = [800, 1600]
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        for count in chosen.frames:
            folder = Path(scratch) / str(count)
            folder.mkdir()
            for name in STEPS:
                run = _measured if chosen.small else _in_own_process
                rounds = range(1 if name in HEAVY else chosen.rounds)
                found[name, count] = [run(name, folder, count, chosen.side, chosen.compression) for _ in rounds]
                print(f"{count} {name}: {found[name, count]}", file=sys.stderr)
    shown = f" --side {chosen.side}" + (f" --compression {chosen.compression}" if chosen.compression != "none" else "")
    command = f"python benchmarks/scale.py --frames {' '.join(map(str, chosen.frames))}{shown} --rounds {chosen.rounds}"
    tables = [_times(found, chosen.frames), _memory(found, chosen.frames)]
    every = [step for steps in found.values() for step in steps]
    most = max(step["resident"] for step in every)
    growth = max(step["own"] - step["at first"] for step in every)
    remark = (
        f"The most that any step had resident is {most:.0f} MiB ({'under' if most < LIMIT else 'OVER'} the limit of {LIMIT} MiB); "
        f"the most that any held of its own beyond its imports is {growth:.0f} MiB."
    )
    how = (
        f"The median of {chosen.rounds} runs (least to most), each in a new process; but once only: {', '.join(HEAVY)}. "
        "Memory is the most of all runs."
    )
    publish("A million frames", command, tables, out=chosen.out, remarks=[how, remark])


def _times(found: dict[tuple[str, int], list[dict[str, float]]], counts: list[int]) -> str:
    rows = []
    for name in STEPS:
        each = [found[name, count] for count in counts]
        processor = [[one["processor"] for one in runs] for runs in each]
        clock = [statistics.median(one["clock"] for one in runs) for runs in each]
        rate = [statistics.median(one) / count for one, count in zip(processor, counts, strict=True)]
        told = [spread(one) if len(one) > 1 else f"{one[0]:.2f}" for one in processor]
        seconds = [f"{one} / {wall:.2f}" for one, wall in zip(told, clock, strict=True)]
        rows.append([name, *seconds, f"{rate[-1] * 1e6:.1f}", f"{rate[-1] / rate[0]:.2f}"])
    columns = ["step: seconds, processor / clock", *[f"{count:,}" for count in counts]]
    return table([*columns, "a million", "a frame, last / first"], rows)


def _memory(found: dict[tuple[str, int], list[dict[str, float]]], counts: list[int]) -> str:
    rows = []
    for name in STEPS:
        each = [{key: max(run[key] for run in found[name, count]) for key in found[name, count][0]} for count in counts]
        rows.append([name, *[f"{one['resident']:.0f} / {one['own']:.0f}" for one in each], f"{each[-1]['at first']:.0f}"])
    return table(["step: MiB resident / own", *[f"{count:,}" for count in counts], "own after imports"], rows)


def _in_own_process(name: str, folder: Path, count: int, side: int, compression: str) -> dict[str, float]:
    step = ["--step", name, str(folder), str(count), str(side), "--compression", compression]
    # Kernels of two threads on small batches fall off a cliff where the cores are shared.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__, *step], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} of {count} frames failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _measured(name: str, folder: Path, count: int, side: int, compression: str) -> dict[str, float]:
    """Run one step in this process; its seconds, and MiB at first, at most its own and at most resident."""
    # What the steps import, so that it is not blamed on the frames.
    import kinemacolor.frames.loader
    import kinemacolor.stages.filter
    import kinemacolor.stages.split  # noqa: F401

    first, own, done = _status("RssAnon"), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            own[0] = max(own[0], _status("RssAnon"))

    watching = threading.Thread(target=watch)
    watching.start()
    clock, processor = time.perf_counter(), time.process_time()
    try:
        STEPS[name](folder, count, side, compression)
    finally:
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        done.set()
        watching.join()
    return {"clock": clock, "processor": processor, "at first": first, "own": max(own[0], first), "resident": _status("VmHWM")}


def _status(name: str) -> float:
    """A figure of this process in MiB, as Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"this system does not tell {name}")


# -------------------------------------------------------------------------------------------------------- steps


def _write(folder: Path, count: int, side: int, compression: str) -> None:
    from kinemacolor.frames.shards import ShardWriter

    shares = {"film": count // 2, "reel": count // 4, "album": count - count // 2 - count // 4}
    facts = {"every": 1, "size": [side, side], "fit": "crop"}
    noise = np.random.default_rng(0).integers(0, 24, (64, 3, side, side), np.uint8)  # grain, so that no two frames are alike
    ramp = np.linspace(0, 160, side, dtype=np.uint8)
    for source, frames in shares.items():
        (folder / source).mkdir()
        writer = ShardWriter(
            folder / source,
            source=source,
            shapes={"colour": (3, side, side)},
            shard_bytes=SHARD_BYTES,
            facts=facts,
            compression=compression,
        )
        for number in range(frames):
            shot = number // (SHOT if source == "film" else CLIP if source == "reel" else 1)
            picture = noise[number % 64] + np.roll(ramp, shot * 5)
            picture[shot % 3] += np.uint8(40 + shot * 7 % 30)
            if source == "film":
                writer.add({"colour": picture}, frame=number, time=number / RATE)
            elif source == "reel":
                clip = f"a_clip_of_some_name-{shot:08x}"
                writer.add({"colour": picture}, frame=number, time=number % CLIP / RATE, clip=clip)
            else:
                writer.add({"colour": picture}, frame=number, time=0.0, clip=f"{number % 977:03d}/a photograph {number:08d}.jpg")
        writer.close()


def _folders(folder: Path) -> list[Path]:
    return [folder / source for source in SOURCES]


def _open(folder: Path, count: int, side: int, compression: str) -> None:
    from kinemacolor.frames.index import FrameStore

    stores = [FrameStore(one) for one in _folders(folder)]
    assert sum(map(len, stores)) == count


def _pass(folder: Path, count: int, side: int, compression: str) -> None:
    from kinemacolor.frames.index import FrameStore

    for store in map(FrameStore, _folders(folder)):
        for rows in store.walk(4096):
            store.colour(rows)


def _split(**how: object) -> Callable[..., None]:
    def run(folder: Path, count: int, side: int, compression: str) -> None:
        from kinemacolor.params import ChronologicalSplit, SeededSplit
        from kinemacolor.stages.split import split

        kind = SeededSplit if "unit" in how else ChronologicalSplit
        # One source of three would leave a part without any.
        named = {"film": "train", "reel": "val", "album": "test"} if how.get("unit") == "source" else {}
        params = kind(fractions=(0.8, 0.1, 0.1), sources=named, **how)
        split(_folders(folder), params=params, out=folder / "split.parquet")

    return run


def _filter(folder: Path, count: int, side: int, compression: str) -> None:
    from kinemacolor.params import FilterParams
    from kinemacolor.stages.filter import filter_frames

    filter_frames(_folders(folder), split=folder / "split.parquet", params=FilterParams(), out=folder / "filter.parquet")


def _epoch(folder: Path, count: int, side: int, compression: str) -> None:
    """The random order of one epoch of all kept frames, in either way, and where each batch of it lies."""
    import torch

    from kinemacolor.frames import runs, shuffling
    from kinemacolor.frames.index import open_stores
    from kinemacolor.frames.loader import Material, kept

    rows = kept(folder / "filter.parquet")
    material = Material(open_stores(_folders(folder)), rows, torch.device("cpu"))
    random = np.random.default_rng((0, 1))
    everywhere = random.permutation(len(material))
    in_windows = shuffling.windowed(material.order, random, block=max(1, (1 << 20) // material.frame_bytes)).places
    assert runs.lengths(material.starts[material.order]).sum() == len(material)
    seen, first = np.zeros(len(material), np.int64), 0
    for places in (everywhere, in_windows):
        for at in range(0, len(places), EPOCH_BATCH):
            batch = places[at : at + EPOCH_BATCH]
            first += np.count_nonzero(material.before[batch] == batch)
            seen[batch] += 1
    assert (seen == 2).all() and first == 2 * material.starts.sum()


STEPS: dict[str, Callable[..., None]] = {
    "write index and shards": _write,
    "open": _open,
    "read all, in order": _pass,
    "split, chronological": _split(guard=2.0),
    "split by frame": _split(unit="frame"),
    "split by shot": _split(unit="shot"),
    "split by clip": _split(unit="clip"),
    "split by source": _split(unit="source"),
    "split by block": _split(unit="block"),
    "filter": _filter,
    "one shuffled epoch of indexes": _epoch,
}
"""In the order in which they run: the filter takes the last split."""
HEAVY = ("write index and shards", "read all, in order", "split by shot", "filter")

if __name__ == "__main__":
    main()
