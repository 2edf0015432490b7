"""Archives give the member that is asked for, and nothing else, wherever their names point."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kinemacolor.errors import UserError
from kinemacolor.media.archive import DamagedArchive, extract, members

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


def plain_tar(files: dict[str, bytes], **options: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def read_all(path: Path) -> dict[str, bytes]:
    with members(path, path.parent, key="k") as opened:
        return {name: opened.read(name, 1 << 20) for name in opened.names}


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_that_lacks_its_last_members_is_refused(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    """Cut between two members, where tarfile sees nothing wrong; by whoever wrote it, before it was compressed, too."""
    files = {f"{number}.txt": random.Random(number).randbytes(700) for number in range(4)}
    whole, member = plain_tar(files), 512 + 1024
    path = tmp_path / "a.tar"
    path.write_bytes(packed(whole))
    assert read_all(path) == files
    path.write_bytes(packed(whole[: 4 * member + 512]))  # one empty block is enough
    assert read_all(path) == files
    for end in (2 * member, 2 * member + 200, 4 * member, 4 * member + 300):
        path.write_bytes(packed(whole[:end]))
        sentence = r"a\.tar is a tar that was cut off before its end: run again to fetch it anew, or correct k\.$"
        with pytest.raises(DamagedArchive, match=sentence):
            read_all(path)
        with pytest.raises(UserError, match=sentence):
            extract(path, ["0.txt"], tmp_path / "taken.txt", key="k")
    path.write_bytes(packed(whole[: 2 * member] + b"nonsense" * 64 + whole[3 * member :]))
    with pytest.raises(DamagedArchive, match="cut off"):
        read_all(path)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_that_was_cut_is_refused(tmp_path: Path, kind: str) -> None:
    whole = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](
        plain_tar({"a.txt": random.Random(0).randbytes(5000)})
    )
    for cut in (20, len(whole) // 2, len(whole) - 9):
        (tmp_path / "a.tar").write_bytes(whole[:cut])
        with pytest.raises(DamagedArchive, match=r"a\.tar is no tar or zip, or a damaged one"):
            read_all(tmp_path / "a.tar")


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("packed", [bytes, lambda content: gzip.compress(content, 0)])
def test_a_tar_that_ends_with_a_small_zip_is_a_tar(tmp_path: Path, form: int, packed: Callable[[bytes], bytes]) -> None:
    files = {"a.txt": b"a", "inner.zip": zipped(**{"other.txt": b"other"})}
    content = packed(plain_tar(files, format=form))
    assert zipfile.is_zipfile(io.BytesIO(content)), "what it was taken for"
    (tmp_path / "a.tar").write_bytes(content)
    assert read_all(tmp_path / "a.tar") == files
    extract(tmp_path / "a.tar", ["inner.zip", "other.txt"], tmp_path / "taken.txt", key="k")
    assert (tmp_path / "taken.txt").read_bytes() == b"other"
    # And a zip in which a tar is stored is a zip.
    (tmp_path / "a.zip").write_bytes(zipped(**{"a.tar": content}))
    assert read_all(tmp_path / "a.zip") == {"a.tar": content}


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_cut_archive_is_named(tmp_path: Path, name: str, share: float) -> None:
    film = random.Random(0).randbytes(200_000)
    content = tarred({"film.mp4": film}) if name == "a.tar.gz" else zipped(**{"film.mp4": film})
    (tmp_path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=rf"{re.escape(name)} is no tar or zip, or a damaged one"):
        extract(tmp_path / name, ["film.mp4"], tmp_path / "taken.mp4", key="k")
    assert [file.name for file in tmp_path.iterdir()] == [name]
