"""Which files of a folder or list are meant, in an order that no file system decides, and a part of them drawn by a seed."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterable, Iterator
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


def files_below(folder: Path) -> Iterator[str]:
    """Paths of all files below `folder`, relative to it, with / between the parts, in no order; hidden ones are left out.

    Links are followed, but into no folder twice. Bytes of a name that are no UTF-8 are written as \\xNN.
    """
    seen = {os.path.realpath(folder)}
    for place, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in folders:
            true = os.path.realpath(os.path.join(place, name))
            if not name.startswith(".") and true not in seen:
                seen.add(true)
                kept.append(name)
        folders[:] = kept
        inside = Path(place).relative_to(folder)
        yield from ((inside / name).as_posix() for name in files if not name.startswith("."))


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


def refuse_too_many_broken(broken: list[dict[str, str]], count: int, share: float, *, key: str | None, what: str) -> None:
    """Raise if more than `share` of `count` files are broken.

    Args:
        broken: {"name", "reason"} of each.
        what: such as clips.

    Raises:
        UserError: there are; names the first.
    """
    if len(broken) > share * count:
        first = broken[0]
        setting = f"raise {key}.max_broken" if key else "give a larger max_broken in params.yaml"
        raise UserError(
            f"{len(broken)} of {count} {what} cannot be used, more than a share of {share:g}; the first is {first['name']} "
            f"({first['reason'].rstrip('.')}): mend or remove them, or {setting}."
        )
