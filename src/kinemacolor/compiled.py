"""Compiling inner loops with numba, so that it never stands in the way, and spreading them over plain threads.

Compiled code is kept on disk by numba. Four things it does not do by itself: it refuses to start where no folder for that can
be written, it passes on the errors of a full disk or a torn file, two processes that store different code of one function at
the same time may each point at the other's, and it looks for changes in the kernel's own file alone, though constants and
functions of other modules become part of the code. Here the first two cost a compilation anew, a lock keeps the third away, and
the names under which code is kept hold a digest of all our files that it may have been made of: old code is never found. No `parallel=True`: its thread layers do not survive a fork. Floating point stays as IEEE says, operation by
operation (nothing contracted, no sum reordered), so the same input gives the same bytes on every machine.

numba takes half a second to import: this module does so when a kernel is made, and modules with kernels are imported when
they are first used.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import glob
import hashlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

_log = logging.getLogger(__name__)

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_PATIENCE = 20
"""Seconds to wait for others that store code; without the lock it is compiled again next time."""


def compiled(signature: Any) -> Callable[[Kernel], Kernel]:
    """Decorator: compile for one signature, at once (or take what is stored), to run without the interpreter's lock.

    Args:
        signature: types of the arguments; arrays that are only read should be read-only types, which take both kinds.
    """

    import numba

    def decorated(function: Kernel) -> Kernel:
        options = {"nogil": True, "error_model": "numpy"}
        try:
            kernel = numba.njit(cache=True, **options)(function)
            kernel._cache = _Store(kernel._cache, made_of(Path(function.__code__.co_filename)))
        except Exception as error:  # no folder to keep it in, mostly; whatever it is, it only costs a compilation
            _cannot_be_kept(error)
            kernel = numba.njit(**options)(function)
        kernel.compile(signature)
        kernel.disable_compile()
        return kernel

    return decorated


@functools.cache
def made_of(file: Path) -> str:
    """A digest of a module's source and of those of our modules that it imports, by itself or through others: a change of any
    may change its compiled code. And of numpy's version, since tables are computed with it.

    Raises:
        OSError: there are no sources.
    """
    import numpy

    ours = Path(__file__).parent
    found: dict[Path, bytes] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        source = found[path] = path.read_bytes()
        for node in ast.walk(ast.parse(source)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                package, *inside = name.split(".")
                if package == ours.name:
                    place = ours.joinpath(*inside)
                    files = (place / "__init__.py", place.with_suffix(".py"))
                    waiting += [imported for imported in files if imported.is_file() and imported not in found]
    digest = hashlib.sha256(numpy.__version__.encode())
    for path, source in sorted(found.items()):
        digest.update(f"\0{path.name} {len(source)}\0".encode() + source)
    return digest.hexdigest()[:16]


_told: list[str] = []


def _cannot_be_kept(error: Exception) -> None:
    """Say so once, for however many kernels."""
    if not _told:
        _told.append(str(error))
        _log.warning(
            "compiling, which takes some seconds and cannot be kept (%s): set NUMBA_CACHE_DIR to a folder that can be written",
            error or type(error).__name__,
        )


class _Store:
    """numba's store of one function's code, under names that hold a digest, whose failures only cost a compilation.

    In the names and not in the stamp inside the index, since numba writes an index before the code that it points at: in between
    the new index points at old code.
    """

    def __init__(self, store: Any, digest: str) -> None:
        from numba.core.caching import IndexDataCacheFile

        self._store, self._base, self._digest = store, store._impl.filename_base, digest
        store._cache_file = IndexDataCacheFile(
            cache_path=store.cache_path,
            filename_base=f"{self._base}-{digest}",
            source_stamp=store._impl.locator.get_source_stamp(),
        )

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            return self._store.load_overload(signature, context)
        except Exception:  # whatever a torn or foreign file leads to, it must not stand in the way of a whole one
            with contextlib.suppress(OSError):
                self._remove(lambda name: self._digest in name)
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        try:
            with FileLock(Path(self._store.cache_path) / "kinemacolor.lock", timeout=_PATIENCE):
                self._store.save_overload(signature, result)
                self._remove(lambda name: self._digest not in name)
        except Exception as error:
            _cannot_be_kept(error)

    def _remove(self, which: Callable[[str], bool]) -> None:
        """Files of this function that are no longer of use; whoever wanted one compiles anew."""
        for file in Path(self._store.cache_path).glob(f"{glob.escape(self._base)}[-.]*nb[ic]"):
            if which(file.name):
                file.unlink(missing_ok=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def in_slabs(work: Callable[[int, int], object], length: int, *, slab: int, threads: int) -> None:
    """Do `work(begin, end)` for consecutive slabs of range(length), on the caller's thread and up to threads - 1 others.

    Which thread takes which slab is left to chance: what they write must not hang on it. An error of any slab is raised.
    """
    slabs = -(-length // slab)
    hands = min(threads, slabs)
    if hands <= 1:
        for begin in range(0, length, slab):
            work(begin, min(length, begin + slab))
        return
    begins = iter(range(0, length, slab))

    def take() -> None:
        for begin in begins:  # the interpreter's lock makes every step of it whole
            work(begin, min(length, begin + slab))

    helpers = [_pool(hands - 1).submit(take) for _ in range(hands - 1)]
    try:
        take()
    finally:
        for helper in helpers:
            # Where cores are scarce one may not have begun, and there is nothing left for it to do.
            if not helper.cancel():
                helper.result()


_pools: dict[int, ThreadPoolExecutor] = {}
_making = threading.Lock()


def _pool(threads: int) -> ThreadPoolExecutor:
    with _making:
        if threads not in _pools:
            _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="kernel")
        return _pools[threads]


def _forget() -> None:
    """A forked child has none of its parent's threads."""
    global _making
    _pools.clear()
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
