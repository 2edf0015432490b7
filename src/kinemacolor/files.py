"""Files that are either whole or absent: temporary names, hashes, canonical JSON.

Every stage writes through `atomic_file` or `atomic_folder`: the work goes to a temporary name beside the target and is
renamed when complete, so that no half-written artefact is ever taken for a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kinemacolor.errors import UserError, full_disk

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


def checked_name(name: str, what: str = "name") -> str:
    """Return `name` if it may become part of a path: lower-case letters, digits and underscores.

    Raises:
        UserError: for anything else, so that no path is ever built from an unchecked name.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"The {what} {name!r} may hold only a-z, 0-9 and _, and starts with a letter or digit: rename it.")
    return name


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` with the same suffix; rename it to `target` when the block ends well.

    On any error the temporary file is removed and `target` stays as it was. A full disk, and a place where no file can be
    written, become a `UserError`, the latter before the block is entered.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    with _whole_or_absent(target, temporary):
        with _unwritable(target):
            if os.path.isdir(target):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            temporary.open("wb").close()  # before the work, which may take hours
            temporary.unlink()
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)


def refuse_foreign(target: Path, *, marker: str) -> None:
    """Refuse to replace what no stage of ours wrote; call it before the work, whose result would have no place.

    Args:
        marker: the file by which the stage knows a folder of its own, such as index.parquet.

    Raises:
        UserError: `target` is a file, or a folder that holds something but not `marker`.
    """
    target = Path(target).resolve()
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file: name a new folder.")
    # Snakemake leaves its time stamp in folders that it made.
    holds = {entry.name for entry in target.iterdir()} - {".snakemake_timestamp"} if target.is_dir() else set()
    if holds and marker not in holds:
        raise UserError(f"{target} holds other files: name a new folder.")


@contextlib.contextmanager
def atomic_folder(target: Path, *, marker: str | None = None) -> Iterator[Path]:
    """Yield a new temporary folder beside `target`; it takes `target`'s place when the block ends well.

    Args:
        marker: as for `refuse_foreign`, which is asked before and after the block; None replaces whatever is there.

    Raises:
        UserError: `target` holds other files, or the disk is full.
    """
    target = Path(target).resolve()  # `.` has no name, and what a link leads to is what is replaced
    if marker is not None:
        refuse_foreign(target, marker=marker)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    with _whole_or_absent(target, temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        with _unwritable(target):
            temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        if marker is not None:  # hours may lie between
            refuse_foreign(target, marker=marker)
        # An existing target moves aside first: a rename onto a folder that is not empty fails.
        old = target.with_name(f".{target.name}.{os.getpid()}.old")
        if target.exists():
            os.replace(target, old)
        os.replace(temporary, target)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _whole_or_absent(target: Path, temporary: Path) -> Iterator[None]:
    """Make room for `temporary`, remove it on any error, and turn a full disk into a sentence."""
    try:
        with _unwritable(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target)
        yield
    except BaseException as error:
        if os.path.isdir(temporary):  # false, not an error, where the path may not be looked at
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # what failed is the error to tell
                temporary.unlink(missing_ok=True)
        if isinstance(error, Exception) and not isinstance(error, UserError) and is_full_disk(error):
            raise full_disk(target) from error
        raise


@contextlib.contextmanager
def _unwritable(target: Path) -> Iterator[None]:
    """Turn what the system says against writing `target` into a sentence; a full disk has one of its own."""
    try:
        yield
    except OSError as error:
        if is_full_disk(error):
            raise
        raise UserError(f"{target} cannot be written ({error.strerror or error}): name another place.") from error


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that no space is left on the device.

    Libraries in other languages (safetensors, SQLite) have no errno to give and say it in words.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return True
        if re.search(r"No space left on device|database or disk is full", str(error)):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _sweep(target: Path) -> None:
    """Remove what killed processes left of earlier attempts at `target`; what belongs to a living process stays."""
    for left in target.parent.glob(f".{target.stem}*"):
        found = re.fullmatch(
            rf"\.({re.escape(target.name)}|{re.escape(target.stem)})\.(\d+)\.(part|old)({re.escape(target.suffix)})?", left.name
        )
        if found and not _alive(int(found[2])):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync(file: Path) -> None:
    """Force a finished file to the disk, so that a rename never outlives its content in a power cut."""
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys and a final newline: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def write_json(target: Path, value: Any) -> None:
    """Write `value` as canonical JSON, atomically."""
    with atomic_file(target) as temporary:
        temporary.write_text(canonical_json(value), encoding="utf-8")


def read_json(path: Path, remedy: str = "run the stage that writes it") -> Any:
    """Read a JSON artefact.

    Raises:
        UserError: the file is missing, cannot be read or is no JSON; the sentence ends with `remedy`.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing: {remedy}.") from None
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {remedy}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise UserError(f"{path} is no valid JSON: remove it and {remedy}.") from None


def sha256_of(path: Path) -> str:
    """The sha256 of a file as 64 hexadecimal digits, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
