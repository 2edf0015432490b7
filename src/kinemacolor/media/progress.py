"""How far a long piece of work has come: a bar on a terminal, a plain line every tenth in a log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress


@contextlib.contextmanager
def shown(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a function that takes what is done and what there is in all (None if unknown), in any unit; to standard error."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _lines(title: str) -> Callable[[int, int | None], None]:
    """Print `title` and the share done, once for every tenth that is passed."""
    passed = -1

    def show(done: int, total: int | None) -> None:
        nonlocal passed
        tenth = done * 10 // total if total else 0
        if tenth > passed:
            passed = tenth
            print(f"{title}: {tenth * 10} %" if total else f"{title} ...", file=sys.stderr, flush=True)

    return show
