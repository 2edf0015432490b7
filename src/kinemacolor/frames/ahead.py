"""Work done ahead by threads, whose results come in the order in which it was given out.

Threads and not processes: what they run lets go of the interpreter's lock, they share one memory map, and what they make is
handed over without a copy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Made = TypeVar("Made")


def done_ahead(tasks: Iterable[Task], work: Callable[[Task], Made], *, workers: int) -> Iterator[tuple[Task, Made]]:
    """Each task with what `work` makes of it, in order; the same whatever the number of workers.

    Args:
        tasks: are taken as they are given out, on the caller's thread: what they draw at random follows their order.
        work: called in the workers' threads.
        workers: threads; 0 does the work when its result is asked for. At most two results more than that wait.

    Raises:
        Whatever `work` raises, in the place of its result.
    """
    if not workers:
        for task in tasks:
            yield task, work(task)
        return
    waiting: deque[tuple[Task, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        for task in tasks:
            waiting.append((task, pool.submit(work, task)))
            if len(waiting) > workers + 1:
                first, made = waiting.popleft()
                yield first, made.result()
        while waiting:
            first, made = waiting.popleft()
            yield first, made.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
