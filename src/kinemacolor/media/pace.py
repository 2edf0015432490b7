"""Frames at a steady pace, and made ahead: what every video that we write needs, whatever its frames show."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_JITTER = Fraction(1, 10)  # of a frame by which time stamps are off that were rounded (Matroska: to milliseconds)


def steady(
    frames: Iterable[tuple[float, _Item]], rate: Fraction, *, start: float | None = None, end: float | None = None
) -> Iterator[_Item]:
    """Frames of whatever times as frames of a constant rate, so that picture and sound stay together.

    A film of constant rate passes frame for frame. Elsewhere a frame stays until the next is due, and of two that are due
    together the first is kept.

    Args:
        frames: times in seconds, rising, and frames.
        rate: frames a second.
        start: where the sound begins: the first frame also stands for those that are missing before it. None: nothing is.
        end: until when the last frame stays. None: no longer than itself.
    """
    origin, done, last = None, 0, None
    for time, frame in frames:
        if origin is None:
            # Whole places only: a stretch that begins between two frames of an even film has nothing missing.
            missing = 0 if start is None else max(0, int((time - start) * rate + _JITTER))
            origin, last = time - float(missing / rate), frame
        due = round((time - origin) * rate)
        while done < due:
            yield last
            done += 1
        if done == due:
            yield frame
            done, last = done + 1, frame
    while origin is not None and end is not None and origin + float(done / rate) < end - float(_JITTER / rate):
        yield last
        done += 1


def ahead(items: Iterable[_Item], *, depth: int) -> Iterator[_Item]:
    """The same items, made on a thread of its own up to `depth` ahead; its errors are raised here.

    Close the iterator to end the thread before the last item.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    closed = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put((kind, value), timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    break
            put("end", None)
        except BaseException as error:  # to be raised where the items are taken
            put("error", error)
        finally:
            if hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        closed.set()
        thread.join()
