"""Several long tasks at once, their results in order, and never many of them waiting.

A pool's own `map` holds whole results, and a clip's frames may be gigabytes: here every task gives its results one by one
into a short queue, and waits where nobody takes them. The task whose turn it is has always begun, so none waits for ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import Full, Queue
from typing import NamedTuple, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 16
"""Results of one task that may wait."""
_PATIENCE = 0.2
"""Seconds after which a task that waits looks whether anybody still wants what it has."""


class _End(NamedTuple):
    error: BaseException | None


def in_order(
    tasks: Iterable[Task], work: Callable[[Task], Iterable[Result]], *, threads: int, ahead: int = _AHEAD
) -> Iterator[tuple[Task, Iterator[Result]]]:
    """Each task with its results, in the order of tasks; results that were not taken when the next one is asked for are lost.

    Args:
        tasks: looked at as they are needed, on the caller's thread.
        work: gives a task's results; runs on a thread of its own. What it raises is raised where its results are taken.
        threads: tasks at work at a time; up to twice as many have begun or wait with at most `ahead` results each.
    """
    stop = threading.Event()
    coming = iter(tasks)
    lines: deque[tuple[Task, Queue]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="in_order") as pool:

        def begin(count: int) -> None:
            for task in islice(coming, count):
                line: Queue = Queue(ahead)
                pool.submit(_do, work, task, line, stop)
                lines.append((task, line))

        try:
            begin(2 * threads)
            while lines:
                task, line = lines.popleft()
                results = _taken(line)
                yield task, results
                for _ in results:
                    pass
                begin(1)
        finally:
            stop.set()


def _do(work: Callable[[Task], Iterable[Result]], task: Task, line: Queue, stop: threading.Event) -> None:
    error: BaseException | None = None
    results: Iterable[Result] | None = None
    try:
        results = () if stop.is_set() else work(task)
        for result in results:
            if not _put(line, result, stop):
                break
    except BaseException as raised:
        error = raised
    finally:
        if hasattr(results, "close"):
            with contextlib.suppress(Exception):  # the first error is the one to tell
                results.close()
    _put(line, _End(error), stop)


def _put(line: Queue, value: object, stop: threading.Event) -> bool:
    """Whether it found room before nobody wanted it any more."""
    while not stop.is_set():
        with contextlib.suppress(Full):
            line.put(value, timeout=_PATIENCE)
            return True
    return False


def _taken(line: Queue) -> Iterator:
    while not isinstance(value := line.get(), _End):
        yield value
    if value.error is not None:
        raise value.error
