"""Which files of a folder or list are meant, in an order that no file system decides, and a part of them drawn by a seed."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kinemacolor.errors import UserError

VIDEOS = frozenset(
    f".{name}"
    for name in ("3gp", "avi", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv")
)
"""Suffixes by which a folder's videos are told. What is in a file is looked at later."""
PICTURES = frozenset(
    f".{name}"
    for name in (
        "avif",
        "bmp",
        "gif",
        "jfif",
        "jp2",
        "jpe",
        "jpeg",
        "jpg",
        "pbm",
        "pgm",
        "png",
        "pnm",
        "ppm",
        "tga",
        "tif",
        "tiff",
        "webp",
    )
)
"""Suffixes by which pictures are told."""
_SHOWN = 3  # broken files that an error names


def files_below(folder: Path) -> Iterator[str]:
    """Paths of all files below `folder`, relative to it, with / between the parts, in no order; hidden ones are left out.

    Links are followed, but into no folder twice: of several ways into one, that nearest to the top is taken, and of those the
    first by name. What may not be read is passed over. A folder's files are told as the system lists them; memory holds only
    the names of subfolders that are still to be looked into, and two numbers for each folder.
    """
    seen = {_identity(os.stat(folder))}
    ahead = [""]
    while ahead:
        inside = ahead.pop()
        folders = []
        with contextlib.suppress(OSError), os.scandir(os.path.join(folder, inside)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folders.append(entry.name)
                else:
                    yield inside + entry.name
        kept = []
        for name in sorted(folders):
            with contextlib.suppress(OSError):  # it is gone by now
                true = _identity(os.stat(os.path.join(folder, inside, name)))
                if true not in seen:
                    seen.add(true)
                    kept.append(f"{inside}{name}/")
        ahead += reversed(kept)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def chosen(names: Iterable[str], *, pattern: str | None, suffixes: frozenset[str]) -> list[str]:
    """The names that fit `pattern`, or have one of the suffixes if it is None; sorted, each once."""
    if pattern is not None:
        return sorted({name for name in names if matches(name, pattern)})
    return sorted({name for name in names if os.path.splitext(name)[1].lower() in suffixes})


def matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern in which * stands for anything; capitals are as good as small letters."""
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())


def drawn(names: list[str], *, limit: int | None, seed: int) -> list[str]:
    """`limit` of the names, in their order: those whose hashes with the seed are lowest, so that a name that is added moves none
    but perhaps one out."""
    if limit is None or limit >= len(names):
        return names
    draws = {name: hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).digest() for name in names}
    taken = set(sorted(names, key=draws.__getitem__)[:limit])
    return [name for name in names if name in taken]


def readable(name: str) -> str:
    """A file's name as text that can be stored and shown in one line."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def refuse_too_many_broken(
    broken: Sequence[dict[str, str]], count: int, share: float, *, key: str | None, what: str, number: int | None = None
) -> None:
    """Raise if more than `share` of `count` files are broken.

    Args:
        broken: {"name", "reason"} of the first ones.
        what: such as clips.
        number: how many are broken; as many as `broken` if None.

    Raises:
        UserError: there are; names the first few.
    """
    number = len(broken) if number is None else number
    if number > share * count:
        first, *more = (f"{entry['name']} ({entry['reason'].rstrip('.')})" for entry in broken[:_SHOWN])
        then = f", then {' and '.join(more)}" if more else ""
        setting = f"raise {key}.max_broken" if key else "give a larger max_broken in params.yaml"
        raise UserError(
            f"{number} of {count} {what} cannot be used, more than a share of {share:g}; the first is {first}{then}: "
            f"mend or remove them, or {setting}."
        )
