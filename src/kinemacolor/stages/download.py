"""The download stage: a source's media and source.json in data/raw/<source>/.

Everything is fetched, played or made in the cache folder and looked at there; the source's folder then appears in one
rename, whole. A kill at any moment leaves the cache, from which the next run goes on. What was downloaded once is what is
downloaded ever after: the first sha256 of every origin is kept in the cache too, and another one is refused.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import shutil
from pathlib import Path
from typing import Any

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, canonical_json, read_json, refuse_foreign, sha256_of, write_json
from kinemacolor.media.fetch import fetch
from kinemacolor.media.play import play
from kinemacolor.media.prints import make_print
from kinemacolor.media.probe import probe, truncated
from kinemacolor.media.progress import shown
from kinemacolor.media.sources import PrintName, PrintRecord, SourceRecord
from kinemacolor.params import FilmPairSource, GameSource, MadePrint, Media, Recipe, VideoSource

_MARKER = "source.json"


def download(source: VideoSource | GameSource | FilmPairSource, *, out: Path, cache: Path, name: str | None) -> None:
    """Fetch, make or play the prints of a source into the folder `out`.

    Args:
        out: data/raw/<source>; replaced as a whole, or untouched on any error.
        cache: a folder for this source alone, which holds what is half done and sha256.json.
        name: the source's name in params.yaml, for error messages; None for a video that was given by hand and stands
            nowhere.

    Raises:
        UserError: a print cannot be fetched, differs from its sha256, is no video, or is truncated and not allowed to be;
            or `out` holds something else.
    """
    refuse_foreign(out, marker=_MARKER)
    cache.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(cache / "sha256.json")
    key = None if name is None else f"sources.{name}"
    prints: dict[PrintName, PrintRecord]
    match source:
        case GameSource():
            prints = {"video": _played(source, cache / "video", key or "game")}
        case VideoSource():
            prints = {"video": _fetched(source, cache / "video", ledger, key)}
        case FilmPairSource():
            prints = {"colour": _fetched(source.colour, cache / "colour", ledger, f"{key}.colour")}
            if isinstance(source.grey, MadePrint):
                prints["grey"] = _made(prints["colour"].path, source.grey.recipe, cache / "grey", f"{key}.grey")
            else:
                prints["grey"] = _fetched(source.grey, cache / "grey", ledger, f"{key}.grey")

    fetched_at = max(ledger.first_seen(print_name, record) for print_name, record in prints.items())
    with atomic_folder(out, marker=_MARKER) as folder:
        placed = {print_name: _placed(record, folder, print_name) for print_name, record in prints.items()}
        SourceRecord(folder, source.kind, source.licence, source.credit, fetched_at, placed).write()
    for print_name in prints:
        shutil.rmtree(cache / print_name, ignore_errors=True)


def _placed(record: PrintRecord, folder: Path, name: PrintName) -> PrintRecord:
    """Move a finished file out of the cache into the source's folder, under its print's name."""
    target = folder / f"{name}{record.path.suffix}"
    shutil.move(record.path, target)
    return dataclasses.replace(record, path=target)


def _fetched(media: Media, cache: Path, ledger: Ledger, key: str | None) -> PrintRecord:
    """Fetch one print into the cache and make sure that it is a whole video, and the one of the first time."""
    origin = _origin(media)
    # Half a download of one origin is no beginning of another's.
    place = cache / hashlib.sha256(canonical_json(origin).encode()).hexdigest()[:16]
    for other in cache.glob("*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)
    file = fetch(media, place, key=key)
    try:
        record = _recorded(file, origin)
        if record.probe.last_good_time is not None and not media.allow_truncated:
            raise truncated(file, record.probe.last_good_time)
        if media.sha256 is None:
            ledger.check(cache.name, record, key)
    except UserError as error:
        # Left where it is, it would pass for a finished download.
        file.unlink()
        raise UserError(str(error).replace(str(file), _described(media, key))) from error
    return record


def _made(colour: Path, recipe: Recipe, cache: Path, key: str) -> PrintRecord:
    """Make the grey print from the colour print."""
    target = cache / "made.mp4"
    with shown(f"make {key}") as progress:
        told = make_print(colour, recipe, target, progress=progress)
    return _recorded(target, {"made_from": "colour", "recipe": recipe.model_dump(mode="json")}, told["offset"])


def _played(source: GameSource, cache: Path, key: str) -> PrintRecord:
    """Play the game."""
    target = cache / "played.mp4"
    with shown(f"play {key}") as progress:
        told = play(source, target, progress=progress)
    return _recorded(target, source.model_dump(mode="json", exclude={"kind", "licence", "credit"}) | {"played": told})


def _recorded(file: Path, origin: dict[str, Any], truth_offset: int | None = None) -> PrintRecord:
    """What source.json will say of a finished file."""
    return PrintRecord(file, origin, sha256_of(file), file.stat().st_size, probe(file), truth_offset)


def _origin(media: Media) -> dict[str, Any]:
    """What decides which file is fetched, and nothing else."""
    if media.url is not None:
        return {"url": media.url, "format": media.format}
    if media.path is not None:
        return {"path": media.path}
    return media.model_dump(mode="json", include={"package", "version", "archive", "member"})


def _described(media: Media, key: str | None) -> str:
    """The print in a user's words, where the path in the cache would say nothing."""
    what = media.url or media.path or f"{media.member[-1]} in {media.package} {media.version}"
    return f"{what} ({key})" if key else what


class Ledger:
    """sha256.json in the cache: the first download's hash of every print and origin, and when it was.

    A list of {"print", "origin", "sha256", "fetched_at"}. It lies outside data/raw so that it outlives what is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: list[dict[str, Any]] = read_json(path, "run again") if path.is_file() else []

    def check(self, print_name: str, record: PrintRecord, key: str | None) -> None:
        """Refuse a file whose origin gave another one the first time.

        Raises:
            UserError: it differs; the sentence says how to accept it.
        """
        entry = self._find(print_name, record)
        if entry is not None and entry["sha256"] != record.sha256:
            accept = f"set {key}.sha256 in params.yaml or delete" if key else "delete"
            raise UserError(
                f"{record.path} has sha256 {record.sha256}, but {entry['sha256']} when it was first downloaded on "
                f"{entry['fetched_at'][:10]}: to accept it, {accept} {self._path}."
            )

    def first_seen(self, print_name: str, record: PrintRecord) -> str:
        """When these bytes first came from this origin (now, if this is the first time): UTC, ISO 8601. Recorded."""
        entry = self._find(print_name, record)
        if entry is None or entry["sha256"] != record.sha256:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            self._entries = [other for other in self._entries if other is not entry]
            entry = {"print": print_name, "origin": record.origin, "sha256": record.sha256, "fetched_at": now}
            self._entries.append(entry)
            write_json(self._path, self._entries)
        return entry["fetched_at"]

    def _find(self, print_name: str, record: PrintRecord) -> dict[str, Any] | None:
        for entry in self._entries:
            if entry["print"] == print_name and entry["origin"] == record.origin:
                return entry
        return None
