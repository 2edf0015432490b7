"""The photographs of a gallery, decoded and resized on several threads, written to shards in their order.

Runs of neighbours are read, decoded and resized together: for a small picture handing it from thread to thread would cost
more than the work, which is done without the interpreter's lock (plain_pictures.py, resize_kernel.py). Only a few runs wait at
a time, cut by number and by bytes, so that memory depends on neither how many photographs there are nor how large they are.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kinemacolor.frames.resize import AreaResize
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.media.gallery import Gallery
from kinemacolor.media.pictures import BrokenPicture, decode_sound, one_at_a_time, quietly

_log = logging.getLogger(__name__)
_TOGETHER = 64  # photographs of a run
_BYTES_TOGETHER = 4 << 20  # of their files, or of what is made of them
_SIZES = 256  # whose weights are kept
_NAMED = 100  # broken ones that are named in the log

Prepared = NDArray[np.uint8] | BrokenPicture


def write_photographs(
    gallery: Gallery,
    writer: ShardWriter,
    *,
    size: tuple[int, int],
    fit: Literal["crop", "stretch", "pad"],
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Add every photograph to the shards: `frame` and place are its number in the gallery, `time` is nought, `clip` its name.

    Args:
        gallery: of the source.
        writer: takes `colour` (3, height, width).
        size: height and width wanted.
        fit: see `AreaResize`.
        threads: as many as cores if None, but no more than 8. The bytes do not depend on it.
        progress: called now and then with photographs done and photographs in all.

    Returns:
        How many could not be decoded. The download stage decoded every one; what breaks now does so with another version of
        a library. They are left out, and the first of them are named in the log.
    """
    broken = 0
    with quietly():
        for number, name, pixels in prepared(gallery, size=size, fit=fit, threads=threads):
            if progress and ((number + 1) % _TOGETHER == 0 or number + 1 == len(gallery)):
                progress(number + 1, len(gallery))
            if not isinstance(pixels, BrokenPicture):
                writer.add({"colour": pixels}, frame=number, time=0.0, place=number, clip=name)
                continue
            broken += 1
            if broken <= _NAMED:
                _log.warning("%s is left out: %s", name, pixels)
    if broken > _NAMED:
        _log.warning("photographs left out: %d, of which the first %d are named", broken, _NAMED)
    return broken


def prepared(
    gallery: Gallery,
    *,
    size: tuple[int, int],
    fit: Literal["crop", "stretch", "pad"],
    threads: int | None = None,
) -> Iterator[tuple[int, str, Prepared]]:
    """Number, name and pixels (3, height, width) uint8 of every photograph, or why it has none; in order.

    Args: as of `write_photographs`.
    """
    threads = threads or min(8, os.cpu_count() or 1)
    most = max(1, min(_TOGETHER, _BYTES_TOGETHER // (3 * size[0] * size[1])))
    resizer = functools.lru_cache(_SIZES)(lambda of: AreaResize(of, size, fit=fit))
    runs = gallery.stretches(most=most, most_bytes=_BYTES_TOGETHER)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[tuple[int, int, Future[list[Prepared]]]] = deque()
        try:
            while True:
                while len(waiting) < threads + 2 and (run := next(runs, None)):
                    waiting.append((*run, pool.submit(_prepare, gallery, *run, resizer)))
                if not waiting:
                    return
                first, end, future = waiting.popleft()
                yield from zip(range(first, end), gallery.names(first, end), future.result(), strict=True)
        finally:
            for *_, future in waiting:
                future.cancel()


def _prepare(gallery: Gallery, first: int, end: int, resizer: Callable[[tuple[int, int]], AreaResize]) -> list[Prepared]:
    found: list[Prepared] = []
    for number, data in enumerate(gallery.stretch(first, end), start=first):
        height, width = gallery.size(number)
        try:
            with one_at_a_time(height * width):
                pixels = decode_sound(data)
                found.append(resizer(pixels.shape[:2])(pixels))
        except BrokenPicture as error:
            found.append(error)
    return found
