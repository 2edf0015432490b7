"""The clips that a source of kind `clips` means: a folder's, a list's or a playlist's, each under a name that stays its own.

A clip's name is made from where it lies (its path inside the folder, its address, its name at a video site) and ends in a
hash of that, so that it depends on no other clip: splits know a clip by it, and its file in data/raw is called so.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from kinemacolor.errors import UserError
from kinemacolor.media.fetch import playlist
from kinemacolor.media.listing import VIDEOS, chosen, drawn, files_below, matches, readable
from kinemacolor.params import ClipsSource, Media


class Clip(NamedTuple):
    """One clip that is to be fetched."""

    name: str
    """Small letters, digits, _ and -."""
    media: Media
    key: str | None
    """Where it stands in params.yaml by itself; None for one of a folder, a file of lines or a playlist."""


def wanted_clips(source: ClipsSource, *, key: str | None) -> list[Clip]:
    """The clips of a source in their order: a folder's by name, others as they are listed. What stands twice counts once.

    Args:
        key: where the source stands in params.yaml, for error messages.

    Raises:
        UserError: the folder, list or playlist cannot be read or holds no clip, or an address in it is none.
    """
    places: dict[str, dict[str, str]] = {}  # identity: url or path
    if source.list is not None:
        listed = {_identity(media): (media, f"{key}.list.{place}") for place, media in enumerate(source.list)}
        identities = list(listed)
    else:
        places = _of_playlist(source, key) if source.url is not None else _of_path(source, key)
        identities = list(places)
    if not identities:
        fits = f" that fits {source.pattern!r}" if source.pattern else ""
        raise UserError(f"{source.path or source.url} holds no clip{fits}: correct {key or 'the path'}.")
    taken = drawn(identities, limit=source.limit, seed=source.seed)
    if source.list is not None:
        return [Clip(clip_name(identity), *listed[identity]) for identity in taken]
    return [Clip(clip_name(identity), _media(source, places[identity]), None) for identity in taken]


def clip_name(identity: str) -> str:
    """A name for a clip from where it lies: its legible part, and eight digits of the whole's hash."""
    legible = re.sub(r"https?://|\.\w{1,5}$", "", readable(identity).lower())
    legible = re.sub(r"[^a-z0-9]+", "_", legible).strip("_")[-40:].strip("_")
    return f"{legible or 'clip'}-{hashlib.sha256(identity.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _of_playlist(source: ClipsSource, key: str | None) -> dict[str, dict[str, str]]:
    """Where the clips of a playlist lie, by their identity."""
    found: dict[str, dict[str, str]] = {}
    for entry in playlist(source.url, key=key):
        if source.pattern is None or matches(entry.title, source.pattern) or matches(entry.url, source.pattern):
            found.setdefault(entry.identity, {"url": entry.url})
    return found


def _of_path(source: ClipsSource, key: str | None) -> dict[str, dict[str, str]]:
    """Where the clips of a folder or of a file of lines lie, by their identity."""
    path, setting = Path(source.path).expanduser(), f"{key}.path" if key else "the path"
    if path.is_dir():
        names = chosen(files_below(path), pattern=source.pattern, suffixes=VIDEOS)
        return {name: {"path": str(path / name)} for name in names}
    if not path.is_file():
        raise UserError(f"{path} is missing: put the clips there or correct {setting}.")
    if path.suffix.lower() != ".txt":
        raise UserError(f"{path} is neither a folder nor a list of clips (.txt): correct {setting}.")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8: save it in that encoding, a path or address in every line.") from None
    found = {}
    for line in lines:
        if line and not line.startswith("#") and (source.pattern is None or matches(line, source.pattern)):
            found[line] = {"url": line} if "://" in line else {"path": str(path.parent / Path(line).expanduser())}
    return found


def _media(source: ClipsSource, origin: dict[str, str]) -> Media:
    try:
        return Media(**origin, format=source.format, allow_truncated=source.allow_truncated)
    except ValidationError:
        where = source.path or source.url
        raise UserError(f"{where} names {next(iter(origin.values()))!r}, which is no web address: correct it there.") from None


def _identity(media: Media) -> str:
    """Where an entry of a list lies, as it stands there."""
    if media.package is not None:
        return " ".join([media.package, str(media.version), *media.member])
    return str(media.url or media.path)
