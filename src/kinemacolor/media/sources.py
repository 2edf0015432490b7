"""A downloaded source: data/raw/<source>/ with its media and source.json, the one file that says what they are.

source.json is written here and read here, so its form stands in one place:

    {"kind", "licence", "credit", "fetched_at", "prints": {"video": {...}} or {"colour": {...}, "grey": {...}}}

and each print holds "file", "origin", "sha256", "bytes" and the fields of `probe.Probe`; a print made by a recipe also
"truth": {"alignment": the name of a Parquet beside it with the columns of alignment.parquet, and where it is the same for all
its frames, "offset": grey frame number minus colour frame number of the same picture}.

A collection has no prints, but an "origin". Clips stand in their order in "clips", each as a print with a "name"; what is
said of photographs in "pictures": see `gallery`. "broken" names what was left out: {"name", "reason"}; "duplicates" those
photographs that are the same file as another: {"name", "same_as"}. Where those are too many to name, the first are, and
"left_out" counts them all: {"broken", "duplicates", "file": the name of a file beside it with a line of JSON for each}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kinemacolor.errors import UserError
from kinemacolor.files import read_json, sha256_of, write_json
from kinemacolor.media.probe import Probe

if TYPE_CHECKING:
    # Imported where there are photographs: other sources do not depend on how those are read (dag.py).
    from kinemacolor.media.gallery import Gallery, PicturesRecord

PrintName = Literal["video", "colour", "grey"]


@dataclasses.dataclass(frozen=True)
class PrintRecord:
    """One moving picture of a source, as it was downloaded or made."""

    path: Path
    origin: dict[str, Any]
    """Where from: {"url", "format"}, {"path"}, {"package", ...}, {"game", ...} or {"made_from", "recipe"}."""
    sha256: str
    bytes: int
    probe: Probe
    truth_offset: int | None = None
    """Of a made grey print: its frame number minus the colour print's of the same picture; None where that changes."""
    truth_path: Path | None = None
    """Of a made grey print: the Parquet beside it that says which of its frames is which of the colour print's."""

    def to_json(self) -> dict[str, Any]:
        """The print's entry in source.json."""
        entry = {
            "file": self.path.name,
            "origin": self.origin,
            "sha256": self.sha256,
            "bytes": self.bytes,
            **self.probe.to_json(),
        }
        truth = {} if self.truth_offset is None else {"offset": self.truth_offset}
        truth |= {} if self.truth_path is None else {"alignment": self.truth_path.name}
        return entry | {"truth": truth} if truth else entry

    @classmethod
    def from_json(cls, folder: Path, entry: dict[str, Any]) -> PrintRecord:
        """The inverse of `to_json`; the file lies in `folder`."""
        truth = entry.get("truth", {})
        alignment = truth.get("alignment")
        for name in (entry["file"], alignment):
            if name is not None and Path(name).name != name:
                raise ValueError("a print's files lie beside source.json")
        known = (truth.get("offset"), folder / alignment if alignment else None)
        return cls(folder / entry["file"], entry["origin"], entry["sha256"], entry["bytes"], Probe.from_json(entry), *known)


@dataclasses.dataclass(frozen=True)
class ClipRecord(PrintRecord):
    """One clip of a source of clips."""

    name: str = ""
    """Its own within the source, whatever other clips there are."""

    def to_json(self) -> dict[str, Any]:
        """The clip's entry in source.json."""
        return {"name": self.name} | super().to_json()

    @classmethod
    def from_json(cls, folder: Path, entry: dict[str, Any]) -> ClipRecord:
        """The inverse of `to_json`."""
        return cls.of(PrintRecord.from_json(folder, entry), str(entry["name"]))

    @classmethod
    def of(cls, record: PrintRecord, name: str) -> ClipRecord:
        """A record with a name."""
        return cls(**{field.name: getattr(record, field.name) for field in dataclasses.fields(PrintRecord)}, name=name)


@dataclasses.dataclass(frozen=True)
class SourceRecord:
    """What source.json says of a source."""

    folder: Path
    kind: Literal["video", "game", "film_pair", "clips", "images"]
    licence: str
    credit: str
    fetched_at: str
    """When these very bytes were first fetched or made: UTC, ISO 8601."""
    prints: Mapping[str, PrintRecord]
    """As source.json has them, unchecked: to read a file, ask `print` for it. A collection has none."""
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Of a collection: where all of it is from ({"url"}, {"path"}, {"package", ...} or {"list": how many}), and `pattern`,
    `limit` and `seed` where a part was taken."""
    clips: tuple[ClipRecord, ...] = ()
    """In their order, unchecked: to read a file, ask `checked` for it."""
    pictures: PicturesRecord | None = None
    broken: tuple[dict[str, str], ...] = ()
    """Name and reason of each clip or photograph that was left out."""
    duplicates: tuple[dict[str, str], ...] = ()
    """Name of each photograph that was left out as the same file as another, and that one's name (same_as)."""
    broken_count: int = -1
    """How many were left out as broken, of which `broken` may name only the first; -1 stands for as many as it names."""
    duplicates_count: int = -1
    """The same of `duplicates`."""

    def __post_init__(self) -> None:
        for name in ("broken", "duplicates"):
            if getattr(self, f"{name}_count") < 0:
                object.__setattr__(self, f"{name}_count", len(getattr(self, name)))

    @property
    def truth_offset(self) -> int | None:
        """The true offset of a made grey print; None where nobody knows it."""
        return self.prints["grey"].truth_offset if "grey" in self.prints else None

    @property
    def truth_path(self) -> Path | None:
        """The true alignment of a made grey print, a Parquet; None where nobody knows it."""
        return self.prints["grey"].truth_path if "grey" in self.prints else None

    @property
    def allow_truncated(self) -> bool:
        """Whether a print ends before it says it does and was taken all the same."""
        return any(record.probe.last_good_time is not None for record in (*self.prints.values(), *self.clips))

    def print(self, name: PrintName) -> PrintRecord:
        """One print, once its file is known to be the one that was downloaded.

        Raises:
            UserError: the source has no such print, or the file is missing or differs from its recorded sha256.
        """
        if name not in self.prints:
            what = f"it has {', '.join(self.prints)}" if self.prints else f"it is a source of {self.kind}"
            raise UserError(f"{self.folder} has no {name} print ({what}): name another source.")
        return self.checked(self.prints[name])

    def checked(self, record: PrintRecord) -> PrintRecord:
        """A print or clip of this source, once its file is known to be the one that was downloaded.

        Raises:
            UserError: the file is missing or differs from its recorded sha256.
        """
        self._check(record.path, record.sha256, record.bytes)
        return record

    def gallery(self) -> Gallery:
        """The photographs, once their files are known to be those that were downloaded; use it in a `with` block.

        Raises:
            UserError: the source has none, or a file is missing or differs from its recorded sha256.
        """
        if self.pictures is None:
            raise UserError(f"{self.folder} holds no photographs (it is a source of kind {self.kind}): name another source.")
        for name, sha256, size in self.pictures.files:
            self._check(self.folder / name, sha256, size)
        from kinemacolor.media.gallery import Gallery

        return Gallery(self.folder)

    def _check(self, path: Path, sha256: str, size: int) -> None:
        remedy = f"remove {self.folder} and run the download stage again"
        if not path.is_file():
            raise UserError(f"{path} is missing: {remedy}.")
        if path.stat().st_size != size or sha256_of(path) != sha256:
            raise UserError(f"{path} is not the file that was downloaded (its sha256 differs from source.json): {remedy}.")

    def to_json(self) -> dict[str, Any]:
        """The content of source.json."""
        about = {key: getattr(self, key) for key in ("kind", "licence", "credit", "fetched_at")}
        content: dict[str, Any] = {"prints": {name: record.to_json() for name, record in self.prints.items()}}
        if self.kind in ("clips", "images"):
            content |= {"origin": dict(self.origin), "broken": list(self.broken)}
        if self.kind == "clips":
            content |= {"clips": [record.to_json() for record in self.clips]}
        if self.pictures is not None:
            content |= {"pictures": self.pictures.to_json(), "duplicates": list(self.duplicates)}
        if (self.broken_count, self.duplicates_count) != (len(self.broken), len(self.duplicates)):
            content["left_out"] = {"broken": self.broken_count, "duplicates": self.duplicates_count, "file": "left_out.jsonl"}
        return about | content

    def write(self) -> None:
        """Write source.json into the source's folder."""
        write_json(self.folder / "source.json", self.to_json())


def read_source(folder: Path) -> SourceRecord:
    """Read data/raw/<source>/.

    Raises:
        UserError: source.json is missing or is none of ours.
    """
    folder = Path(folder)
    value = read_json(folder / "source.json", "run the download stage")
    try:
        prints = {name: PrintRecord.from_json(folder, entry) for name, entry in value["prints"].items()}
        clips = tuple(ClipRecord.from_json(folder, entry) for entry in value.get("clips", ()))
        pictures = _pictures(value["pictures"]) if "pictures" in value else None
        about = (value[key] for key in ("kind", "licence", "credit", "fetched_at"))
        left_out = {name: tuple(value.get(name, ())) for name in ("broken", "duplicates")}
        counts = value.get("left_out", {})
        left_out |= {f"{name}_count": int(counts.get(name, -1)) for name in ("broken", "duplicates")}
        return SourceRecord(folder, *about, prints, value.get("origin", {}), clips, pictures, **left_out)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder / 'source.json'} is not what the download stage writes: run that stage again.") from error


def _pictures(value: dict[str, Any]) -> PicturesRecord:
    from kinemacolor.media.gallery import PicturesRecord

    return PicturesRecord.from_json(value)
