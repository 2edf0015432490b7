"""The download stage: a source's media and source.json in data/raw/<source>/.

Everything is fetched, played or made in the cache folder and looked at there; the source's folder then appears in one
rename, whole. A kill at any moment leaves the cache, from which the next run goes on. What was downloaded once is what is
downloaded ever after: the first sha256 of every origin is kept in the cache too, and another one is refused.

What only one kind of source needs is imported by it alone, so that editing it fetches no other kind again (dag.py).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, canonical_json, is_full_disk, refuse_foreign, sha256_of
from kinemacolor.media.ledger import Differs, Ledger
from kinemacolor.media.probe import probe, truncated
from kinemacolor.media.progress import shown
from kinemacolor.media.sources import ClipRecord, PrintName, PrintRecord, SourceRecord
from kinemacolor.params import (
    ClipsSource,
    FilmPairSource,
    GameSource,
    ImagesSource,
    MadePrint,
    Media,
    Origin,
    VideoSource,
)

if TYPE_CHECKING:
    from kinemacolor.media.packing import Packed

_log = logging.getLogger(__name__)
_MARKER = "source.json"
_Record = TypeVar("_Record", bound=PrintRecord)
_Prints = VideoSource | GameSource | FilmPairSource


class _Undecodable(UserError):
    """A file that was fetched and is no whole video."""


def download(source: _Prints | ClipsSource | ImagesSource, *, out: Path, cache: Path, name: str | None) -> None:
    """Fetch, make or play the media of a source into the folder `out`.

    Args:
        out: data/raw/<source>; replaced as a whole, or untouched on any error.
        cache: a folder for this source alone, which holds what is half done and sha256.json.
        name: the source's name in params.yaml, for error messages; None for one that was given by hand and stands
            nowhere.

    Raises:
        UserError: a print cannot be fetched, differs from its sha256, is no video, or is truncated and not allowed to be;
            too many clips or photographs are broken; or `out` holds something else.
    """
    refuse_foreign(out, marker=_MARKER)
    cache.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(cache / "sha256.json")
    key = None if name is None else f"sources.{name}"
    match source:
        case ClipsSource():
            record = _download_clips(source, out, cache / "clips", ledger, key)
        case ImagesSource():
            record = _download_pictures(source, out, cache / "pictures", ledger, key)
        case _:
            record = _download_prints(source, out, cache, ledger, key)
    ledger.save()
    for left in ("clips", "pictures", *record.prints):
        shutil.rmtree(cache / left, ignore_errors=True)


def _download_prints(source: _Prints, out: Path, cache: Path, ledger: Ledger, key: str | None) -> SourceRecord:
    prints: dict[PrintName, PrintRecord]
    match source:
        case GameSource():
            prints = {"video": _played(source, cache / "video", key or "game")}
        case VideoSource():
            prints = {"video": _fetched(source, cache / "video", ledger, "video", key)}
        case FilmPairSource():
            prints = {"colour": _fetched(source.colour, cache / "colour", ledger, "colour", f"{key}.colour")}
            if isinstance(source.grey, MadePrint):
                prints["grey"] = _made(prints["colour"].path, source, cache / "grey", key)
            else:
                prints["grey"] = _fetched(source.grey, cache / "grey", ledger, "grey", f"{key}.grey")

    seen = max(ledger.first_seen(print_name, record.origin, record.sha256) for print_name, record in prints.items())
    with atomic_folder(out, marker=_MARKER) as folder:
        placed = {print_name: _placed(record, folder, print_name) for print_name, record in prints.items()}
        written = SourceRecord(folder, source.kind, source.licence, source.credit, seen, placed)
        written.write()
    return written


def _download_clips(source: ClipsSource, out: Path, cache: Path, ledger: Ledger, key: str | None) -> SourceRecord:
    """Fetch clip by clip; one that is gone or cannot be decoded is named and left out, if there are few of them.

    Whatever else fails (a network, a server, a file that is missing) is no fault of a clip and ends the stage, lest a bad
    night make the dataset smaller; what was fetched waits in the cache.
    """
    from kinemacolor.media.clips import wanted_clips
    from kinemacolor.media.fetch import Gone
    from kinemacolor.media.listing import readable, refuse_too_many_broken

    wanted = wanted_clips(source, key=key)
    fetched: list[ClipRecord] = []
    broken: list[dict[str, str]] = []
    with shown(f"clips of {key or source.path or source.url}") as progress:
        for done, clip in enumerate(wanted, start=1):
            try:
                record = _fetched(clip.media, cache / clip.name, ledger, f"clips/{clip.name}", clip.key)
            except (Gone, _Undecodable) as error:
                if is_full_disk(error):
                    raise
                broken.append({"name": _described(clip.media, None), "reason": readable(str(error))})
                _log.warning("%s is left out: %s", clip.name, broken[-1]["reason"])
                # Who would only hear of it at the end has waited for nothing.
                refuse_too_many_broken(broken, len(wanted), source.max_broken, key=key, what="clips")
            else:
                fetched.append(ClipRecord.of(record, clip.name))
            progress(done, len(wanted))
    if not fetched:
        raise UserError(f"None of the {len(wanted)} clips of {key} can be used; the first: {broken[0]['reason']}")
    seen = max(ledger.first_seen(f"clips/{record.name}", record.origin, record.sha256) for record in fetched)
    with atomic_folder(out, marker=_MARKER) as folder:
        placed = tuple(_placed(record, folder, record.name) for record in fetched)
        about = (source.kind, source.licence, source.credit, seen)
        written = SourceRecord(folder, *about, {}, _origin(source) | _part(source), placed, broken=tuple(broken))
        written.write()
    return written


def _download_pictures(source: ImagesSource, out: Path, cache: Path, ledger: Ledger, key: str | None) -> SourceRecord:
    """Pack the pictures of a folder where they lie, or those of an archive, which is fetched first if need be."""
    from kinemacolor.media.archive import DamagedArchive
    from kinemacolor.media.packing import LEFT_OUT, pack
    from kinemacolor.media.picture_ledger import PictureLedger

    origin = _origin(source)
    place, sums = Path(source.path or "").expanduser(), None
    if source.path is None or place.is_file():
        place, seen = _archive(source, place, cache, ledger, key)
    elif not place.is_dir():
        raise UserError(f"{place} is missing: put the pictures there or correct {f'{key}.path' if key else 'the path'}.")
    elif source.sha256 is not None:
        raise UserError(f"{place} is a folder, which has no sha256: remove {key or 'the source'}.sha256, or name an archive.")
    else:
        sums, seen = PictureLedger(cache.parent / f"pictures-{_short(origin)}.sha256"), None
    whole = origin | _part(source)
    with sums or contextlib.nullcontext():
        with atomic_folder(out, marker=_MARKER) as folder, shown(f"pictures of {key or place}") as progress:
            try:
                packed = pack(source, place, folder, key=key, check=sums.check if sums else None, progress=progress)
            except DamagedArchive:
                if source.path is None:  # what was fetched would pass for a finished download
                    place.unlink()
                raise
            _tell_left_out(packed, key or place, out / LEFT_OUT)
            seen = seen or ledger.first_seen("pictures", whole, packed.digest)
            about = (source.kind, source.licence, source.credit, seen)
            missing = {"broken": tuple(packed.broken), "duplicates": tuple(packed.duplicates)}
            counts = {"broken_count": packed.broken_count, "duplicates_count": packed.duplicates_count}
            written = SourceRecord(folder, *about, {}, whole, pictures=packed.record, **missing, **counts)
            written.write()
        if sums:
            sums.save()
    return written


def _tell_left_out(packed: Packed, what: object, more: Path) -> None:
    """Say in the log which photographs are not taken, and where all are named if they are too many."""
    for left_out in packed.broken:
        _log.warning("%s is left out: %s", left_out["name"], left_out["reason"])
    for left_out in packed.duplicates:
        _log.warning("%s is left out: it is the same file as %s", left_out["name"], left_out["same_as"])
    if packed.duplicates:
        _log.warning("%s: photographs under a second name, left out: %d", what, packed.duplicates_count)
    if (packed.broken_count, packed.duplicates_count) != (len(packed.broken), len(packed.duplicates)):
        _log.warning("%s: broken photographs, left out: %d; %s names all that are left out", what, packed.broken_count, more)


def _archive(source: ImagesSource, place: Path, cache: Path, ledger: Ledger, key: str | None) -> tuple[Path, str]:
    """The archive of the pictures, fetched if it is not a local file, and when these bytes were first seen."""
    origin = _origin(source)
    if source.path is None:
        from kinemacolor.media.fetch import fetch

        place = fetch(source, cache / _short(origin), key=key)
        sha256 = source.sha256 or sha256_of(place)
    else:
        sha256 = sha256_of(place)
        if source.sha256 not in (None, sha256):
            raise Differs(f"{place} has sha256 {sha256}, not {source.sha256}: put the right file there, or correct {key}.sha256.")
    if source.sha256 is None:
        try:
            ledger.check("archive", origin, sha256, what=place if source.path else source.url, key=key)
        except Differs:
            if source.path is None:
                place.unlink()
            raise
    return place, ledger.first_seen("archive", origin, sha256)


def _placed(record: _Record, folder: Path, name: str) -> _Record:
    """Move a finished file out of the cache into the source's folder, under its print's or clip's name."""
    target = folder / f"{name}{record.path.suffix}"
    shutil.move(record.path, target)
    if record.truth_path is None:
        return dataclasses.replace(record, path=target)
    truth = folder / f"{name}.alignment.parquet"
    shutil.move(record.truth_path, truth)
    return dataclasses.replace(record, path=target, truth_path=truth)


def _fetched(media: Media, cache: Path, ledger: Ledger, name: str, key: str | None) -> PrintRecord:
    """Fetch one print into the cache and make sure that it is a whole video, and the one of the first time."""
    from kinemacolor.media.fetch import fetch

    origin = _origin(media)
    # Half a download of one origin is no beginning of another's.
    place = cache / _short(origin)
    for other in cache.glob("*"):
        if other != place:
            shutil.rmtree(other, ignore_errors=True)
    file = fetch(media, place, key=key)
    try:
        record = _recorded(file, origin)
        if record.probe.last_good_time is not None and not media.allow_truncated:
            raise truncated(file, record.probe.last_good_time)
        if media.sha256 is None:
            ledger.check(name, origin, record.sha256, what=file, key=key)
    except UserError as error:
        # Left where it is, it would pass for a finished download.
        file.unlink()
        kind = Differs if isinstance(error, Differs) else _Undecodable
        raise kind(str(error).replace(str(file), _described(media, key))) from error
    return record


def _made(colour: Path, source: FilmPairSource, cache: Path, key: str | None) -> PrintRecord:
    """Make the grey print from the colour print."""
    from kinemacolor.media.prints import make_print, truth_file

    target, name = cache / "made.mp4", f"{key}.grey" if key else "the grey print"
    recipe, allowed = source.grey.recipe, source.colour.allow_truncated
    try:
        with shown(f"make {name}") as progress:
            shown_by_it = make_print(colour, recipe, target, progress=progress, allow_truncated=allowed)
    except UserError as error:
        if is_full_disk(error):
            raise
        raise UserError(f"{name}: {str(error).replace(str(colour), 'the colour print')}") from error
    record = _recorded(target, {"made_from": "colour", "recipe": recipe.model_dump(mode="json")})
    return dataclasses.replace(record, truth_offset=shown_by_it.truth_offset, truth_path=truth_file(target))


def _played(source: GameSource, cache: Path, key: str) -> PrintRecord:
    """Play the game."""
    from kinemacolor.media.play import play

    target = cache / "played.mp4"
    with shown(f"play {key}") as progress:
        told = play(source, target, progress=progress)
    return _recorded(target, source.model_dump(mode="json", exclude={"kind", "licence", "credit"}) | {"played": told})


def _recorded(file: Path, origin: dict[str, Any]) -> PrintRecord:
    """What source.json will say of a finished file."""
    return PrintRecord(file, origin, sha256_of(file), file.stat().st_size, probe(file))


def _short(origin: dict[str, Any]) -> str:
    """A name of a folder for what comes from one origin."""
    return hashlib.sha256(canonical_json(origin).encode()).hexdigest()[:16]


def _part(source: ClipsSource | ImagesSource) -> dict[str, Any]:
    """Which part of a collection is taken; empty for all of it."""
    seed = {} if source.limit is None else {"limit": source.limit, "seed": source.seed}
    return seed if source.pattern is None else seed | {"pattern": source.pattern}


def _origin(media: Origin | ClipsSource) -> dict[str, Any]:
    """What decides which file is fetched, and nothing else."""
    if media.url is not None:
        return {"url": media.url} | ({"format": media.format} if isinstance(media, Media | ClipsSource) else {})
    if media.path is not None:
        return {"path": _shown(media.path)}
    if isinstance(media, ClipsSource):
        return {"list": len(media.list)}
    return media.model_dump(mode="json", include={"package", "version", "archive", "member"})


def _described(media: Media, key: str | None) -> str:
    """The print in a user's words, where the path in the cache would say nothing."""
    what = media.url or (media.path and _shown(media.path)) or f"{media.member[-1]} in {media.package} {media.version}"
    return f"{what} ({key})" if key else what


def _shown(path: str) -> str:
    """A path as text that can be stored and shown."""
    from kinemacolor.media.listing import readable

    return readable(path)
