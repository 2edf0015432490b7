"""Archives give the member that is asked for, and nothing else, wherever their names point."""

from __future__ import annotations

import random
import re
import zipfile
from pathlib import Path

import pytest

from kinemacolor.errors import UserError
from kinemacolor.media.archive import extract

from .serving import tarred, zipped


def test_nothing_but_the_member_leaves_an_archive(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    escaping = {"../escaped.txt": b"out", "/tmp/escaped-absolute.txt": b"out", "good.txt": b"good"}
    for name, content in {"a.tar.gz": tarred(escaping), "a.zip": zipped(**escaping)}.items():
        (inside / name).write_bytes(content)
        extract(inside / name, ["good.txt"], inside / "taken.txt", key="k")
        assert (inside / "taken.txt").read_bytes() == b"good"
        # Even the name of a member that climbs out is only looked up, never walked.
        extract(inside / name, ["../escaped.txt"], inside / "taken.txt", key="k")
        assert (inside / "taken.txt").read_bytes() == b"out"
    assert sorted(file.name for file in inside.iterdir()) == ["a.tar.gz", "a.zip", "taken.txt"]
    assert not (tmp_path / "escaped.txt").exists()


@pytest.mark.parametrize("to", ["/etc/passwd", "good.txt"])
def test_links_in_archives_are_refused(tmp_path: Path, to: str) -> None:
    (tmp_path / "a.tar.gz").write_bytes(tarred({"good.txt": b"good"}, {"link.txt": to}))
    linked = zipfile.ZipInfo("link.txt")
    linked.create_system, linked.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(linked, to)
    for name in ("a.tar.gz", "a.zip"):
        with pytest.raises(UserError, match=r"link\.txt in a\..* is no plain file"):
            extract(tmp_path / name, ["link.txt"], tmp_path / "taken.txt", key="k")
    assert not (tmp_path / "taken.txt").exists()


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_archive_is_named(tmp_path: Path, name: str, share: float) -> None:
    film = random.Random(0).randbytes(200_000)
    content = tarred({"film.mp4": film}) if name == "a.tar.gz" else zipped(**{"film.mp4": film})
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=rf"{re.escape(name)} is no tar or zip, or a damaged one"):
        extract(tmp_path / name, ["film.mp4"], tmp_path / "taken.mp4", key="k")
    assert [file.name for file in tmp_path.iterdir()] == [name]
