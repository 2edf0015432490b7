"""What the benchmarks share: the machine's name, runs in turn, ratios with their spread, and one Markdown table for all.

Contestants run interleaved, round by round, since a machine slows down and recovers while it measures; a ratio is that of
one round, and what is told is the median over the rounds with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kinemacolor import cores


def machine() -> str:
    """The machine in a line: processor, cores that may be used, memory, system; and the GPU if torch sees one."""
    parts = [_processor(), f"{cores.usable()} cores", f"{_memory():.0f} GiB", f"{platform.system()} {platform.release()}"]
    parts.append(f"Python {platform.python_version()}")
    try:
        import torch
    except ImportError:  # a benchmark of another kind may run without it
        return ", ".join(parts)
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    said = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    return " ".join(said.get("model name", platform.machine()).split())


def _memory() -> float:
    """GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def interleaved(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    afterwards: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Run every contestant once a round, one after the other.

    Args:
        contestants: by name, what to time.
        rounds: counted rounds; one more runs before them, which warms up and is dropped.
        clock: seconds; `time.process_time` where all are CPU-bound and the machine is shared.
        afterwards: is called after each run, outside of the clock, such as to remove what was written.

    Returns:
        By name, seconds of each counted round.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, function in contestants.items():
            begin = clock()
            function()
            seconds = clock() - begin
            afterwards()
            if number:
                taken[name].append(seconds)
    return taken


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (smallest to largest)`."""
    median, low, high = statistics.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(taken: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Of each round, seconds over the peer's seconds: below one is faster than the peer."""
    return [ours / theirs for ours, theirs in zip(taken, peer, strict=True)]


def speedups(taken: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Of each round, the peer's seconds over these: above one is faster than the peer."""
    return ratios(peer, taken)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table that can also be read as it stands; the first column is text, the others are set to the right."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]

    def line(row: Sequence[str]) -> str:
        set_out = [
            cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(set_out) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def options(description: str | None, *, rounds: int = 5) -> argparse.ArgumentParser:
    """The options that all benchmarks have: `--rounds`, `--small` and `--out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=rounds, help="interleaved runs that count, at least 5 for figures to publish"
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see in seconds that all of it runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write what is printed as Markdown, too")
    return parser


def publish(title: str, command: str, tables: Sequence[str], *, out: Path | None = None, remarks: Sequence[str] = ()) -> None:
    """Print tables under a title with the machine's name, and write the same to a file."""
    parts = [f"## {title}", f"`{command}`", f"{machine()}.", *tables, *remarks]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
