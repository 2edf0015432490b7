"""What was downloaded once is what is downloaded ever after: the first sha256 of every origin, kept beside the cache.

sha256.json is a list of {"print", "origin", "sha256", "fetched_at"}. It lies outside data/raw so that it outlives what is
there.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from kinemacolor.errors import UserError
from kinemacolor.files import canonical_json, read_json, write_json


class Differs(UserError):
    """A file has another sha256 than it must have."""


class Ledger:
    """The first sha256 of every print and origin, and when it was; written by `save`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        entries: list[dict[str, Any]] = read_json(path, "run again") if path.is_file() else []
        self._entries = {_place(entry["print"], entry["origin"]): entry for entry in entries}

    def check(self, name: str, origin: Any, sha256: str, *, what: object, key: str | None) -> None:
        """Refuse a file whose origin gave another one the first time.

        Args:
            name: of the print, clip or archive within its source.
            what: the file in the user's words.
            key: where its sha256 may be set in params.yaml; None if nowhere.

        Raises:
            Differs: it does; the sentence says how to accept it.
        """
        entry = self._entries.get(_place(name, origin))
        if entry is not None and entry["sha256"] != sha256:
            accept = f"set {key}.sha256 in params.yaml or delete" if key else "delete"
            raise Differs(
                f"{what} has sha256 {sha256}, but {entry['sha256']} when it was first downloaded on "
                f"{entry['fetched_at'][:10]}: to accept it, {accept} {self._path}."
            )

    def first_seen(self, name: str, origin: Any, sha256: str) -> str:
        """When these bytes first came from this origin (now, if this is the first time): UTC, ISO 8601. Noted."""
        entry = self._entries.get(_place(name, origin))
        if entry is None or entry["sha256"] != sha256:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            entry = {"print": name, "origin": origin, "sha256": sha256, "fetched_at": now}
            self._entries[_place(name, origin)] = entry
        return entry["fetched_at"]

    def save(self) -> None:
        """Write what was noted."""
        write_json(self._path, list(self._entries.values()))


def _place(name: str, origin: Any) -> str:
    return canonical_json([name, origin])
