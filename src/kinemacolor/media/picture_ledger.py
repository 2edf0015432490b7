"""The first sha256 of every photograph of a folder, kept beside the cache: what was taken once is what is taken ever after."""

from __future__ import annotations

import re
from pathlib import Path

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.media.ledger import Differs
from kinemacolor.media.lookup import Lookup
from kinemacolor.media.sorting import Sorter

_LINE = re.compile(r"[0-9a-f]{64}  [^\n]+\n?")


class PictureLedger:
    """The first sha256 of every photograph of a folder, as lines that sha256sum reads; written by `save`. A context manager.

    Args:
        path: the file, in a folder that is there; read if it exists.

    Raises:
        UserError: it is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = Lookup(path.parent)
        if path.is_file():
            with open(path, encoding="utf-8", errors="replace", newline="\n") as lines:
                for line in lines:
                    if not _LINE.fullmatch(line):
                        raise UserError(
                            f"{path} has a line that is no sha256 and a name ({line.strip()[:40]!r}): delete the file."
                        )
                    self._known.add(line[66:].rstrip("\n").encode(), bytes.fromhex(line[:64]))

    def __enter__(self) -> PictureLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self._known.__exit__()

    def check(self, name: str, sha256: str) -> None:
        """Note a photograph, or refuse one that was another the first time.

        Raises:
            Differs: it was.
        """
        known = self._known.get(name.encode())
        if known is None:
            self._known.add(name.encode(), bytes.fromhex(sha256))
        elif known.hex() != sha256:
            raise Differs(
                f"{name} has sha256 {sha256}, but {known.hex()} when it was first taken: to accept it, delete {self._path}."
            )

    def save(self) -> None:
        """Write what was noted, in the order of names."""
        with atomic_file(self._path) as temporary, Sorter(self._path.parent) as lines:
            for name, sha256 in self._known:
                lines.add(name, sha256)
            with open(temporary, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{sha256.hex()}  {name.decode()}\n" for name, sha256 in lines)
