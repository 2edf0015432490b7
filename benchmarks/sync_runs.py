"""One sync in a process of its own, with its time, its memory and the plain decode of the same prints. See sync.py."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

from kinemacolor.errors import UserError
from kinemacolor.files import read_json, write_json

_EVERY = 0.1  # seconds between looks at the memory


@dataclass(frozen=True)
class Run:
    """One sync in a process of its own.

    Attributes:
        seconds: of the call, without the start of Python.
        memory: greatest sum of the process and its children in MiB; None where the system does not tell.
        decode: seconds of the plain decode of both prints, mean of before and after; None if it was not asked for.
        error: the sentence of a refusal; None for a success.
    """

    seconds: float
    memory: float | None
    decode: float | None
    error: str | None


def run_sync(grey: Path, colour: Path, out: Path, *, timed: bool) -> Run:
    """Sync two prints and measure it.

    Raises:
        RuntimeError: the sync died of something that is no sentence for a user.
    """
    before = plain_decode(grey) + plain_decode(colour) if timed else None
    out.parent.mkdir(parents=True, exist_ok=True)
    told = out.with_name(f"{out.name}.run.json")
    told.unlink(missing_ok=True)
    command = [sys.executable, __file__, str(grey), str(colour), str(out), str(told)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    memory = 0.0
    with process:
        while process.poll() is None:
            memory = max(memory, tree_memory(process.pid))
            time.sleep(_EVERY)
        said = process.stderr.read()
    if process.returncode or not told.is_file():
        raise RuntimeError(said.strip() or f"exit status {process.returncode}")
    facts = read_json(told)
    after = plain_decode(grey) + plain_decode(colour) if timed else None
    return Run(facts["seconds"], memory or facts["rss"], None if before is None else (before + after) / 2, facts["error"])


def child(grey: Path, colour: Path, out: Path, told: Path) -> None:
    """The process that syncs: what it took goes to the file `told`."""
    from kinemacolor.params import SyncParams
    from kinemacolor.stages.sync import sync

    begin = time.perf_counter()
    error = None
    try:
        sync(grey, colour, params=SyncParams(), out=out)
    except UserError as refusal:
        error = str(refusal)
    seconds = time.perf_counter() - begin
    unit = 1 if sys.platform == "darwin" else 1024
    rss = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * unit / 2**20
    write_json(told, {"seconds": seconds, "rss": rss, "error": error})


def plain_decode(path: Path) -> float:
    """Seconds that ffmpeg takes to decode the pictures of a film, all threads, and to do nothing with them."""
    begin = time.perf_counter()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-i", f"file:{path}", "-map", "0:v:0"]
    subprocess.run([*command, "-f", "null", "-"], check=True, capture_output=True)
    return time.perf_counter() - begin


def tree_memory(process: int) -> float:
    """MiB that a process and all below it hold (PSS: shared pages in parts); 0 where /proc does not tell."""
    total, waiting = 0, [process]
    while waiting:
        number = waiting.pop()
        folder = Path("/proc") / str(number)
        try:
            pss = next(line for line in (folder / "smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
            total += int(pss.split()[1])
            for task in (folder / "task").iterdir():
                waiting += [int(word) for word in (task / "children").read_text().split()]
        except (OSError, StopIteration, ValueError):
            continue  # it has ended meanwhile
    return total / 1024


if __name__ == "__main__":
    child(*map(Path, sys.argv[1:]))
