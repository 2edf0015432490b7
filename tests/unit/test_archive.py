"""Archives give the member that is asked for, and nothing else, wherever their names point."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import re
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kinemacolor.errors import UserError
from kinemacolor.media import archive
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
        return {name: opened.read(where, 1 << 20) for name, where in opened.entries()}


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


# --------------------------------------------------------------------------------------------- very many members


def listed(path: Path) -> list[str]:
    with members(path, path.parent, key="k") as opened:
        return [name for name, _ in opened.entries()]


NAMES = ["plain.txt", "ä/ü.txt", "with space.txt", "a/" * 40 + "deep.txt", "\U0001f600.txt"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\nexit\n" * 40])
@pytest.mark.parametrize("comment", [b"", b"PK\x05 and more of a comment" * 9])
def test_every_zip_that_zipfile_reads_is_read(tmp_path: Path, method: int, before: bytes, comment: bytes) -> None:
    files = {name: random.Random(name).randbytes(900) * 3 for name in NAMES}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.comment = comment
        archive.mkdir("folder")
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.comment, entry.extra = method, b"of a member", b"\x99\x99\x04\x00more"
            with archive.open(entry, "w", force_zip64=name == "plain.txt") as content_file:
                content_file.write(content)
    (tmp_path / "a.zip").write_bytes(before + stream.getvalue())
    assert read_all(tmp_path / "a.zip") == files
    assert listed(tmp_path / "a.zip") == list(files)


def test_a_zip_with_more_members_than_its_old_form_could_count(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"{number:06d}"), b"")
        archive.writestr("last", b"content")
    with members(tmp_path / "a.zip", tmp_path, key="k") as opened:
        whereabouts = dict(opened.entries())
        assert len(whereabouts) == 66_001 and opened.read(whereabouts["last"], 7) == b"content"
        with pytest.raises(ValueError, match="larger than 0 MiB"):
            opened.read(whereabouts["last"], 6)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_memory_does_not_grow_with_the_members(tmp_path: Path, form: str) -> None:
    most = []
    for count in (500, 4000):
        files = {f"folder/a name of some length {number:06d}.jpg": b"" for number in range(count)}
        path = tmp_path / f"{count}.{form}"
        path.write_bytes(zipped(**files) if form == "zip" else plain_tar(files))
        tracemalloc.start()
        try:
            with members(path, tmp_path, key="k") as opened:
                assert sum(1 for _ in opened.entries()) == count
            most.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    # zipfile holds 700 bytes for a member and tarfile a thousand: 2.4 MB and more between the two.
    assert most[1] - most[0] < 1_000_000


def test_of_members_with_one_name_the_last_is_meant(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for content in (b"first", b"second"):
            entry = tarfile.TarInfo("a.txt")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for content in (b"first", b"second"):
            archive.writestr("a.txt", content)
    for name in ("a.tar", "a.zip"):
        assert read_all(tmp_path / name) == {"a.txt": b"second"}
        extract(tmp_path / name, ["a.txt"], tmp_path / "taken.txt", key="k")
        assert (tmp_path / "taken.txt").read_bytes() == b"second"


def test_a_damaged_directory_or_member_of_a_zip_is_told(tmp_path: Path) -> None:
    whole = bytearray(zipped(**{f"{number}.txt": random.Random(number).randbytes(700) for number in range(4)}))
    path, directory = tmp_path / "a.zip", whole.index(b"PK\x01\x02")
    damaged = whole.copy()
    damaged[whole.index(b"PK\x01\x02", directory + 4)] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedArchive, match=r"a\.zip is no tar or zip, or a damaged one"):
        read_all(path)
    damaged = whole.copy()
    damaged[300] ^= 1  # inside the first member
    path.write_bytes(damaged)
    with members(path, tmp_path, key="k") as opened:
        entries = dict(opened.entries())
        assert len(opened.read(entries["3.txt"], 1000)) == 700
        with pytest.raises(ValueError, match=r"CRC|invalid|incorrect|Error"):
            opened.read(entries["0.txt"], 1000)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_HARMLESS", 1 << 20)  # else it would take a gigabyte
    path = tmp_path / "a.tar"
    plain = plain_tar({"zeros.txt": bytes(40 << 20)})
    path.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress(plain))
    sentence = r"a\.tar unpacks into more than 200 times its \d+ bytes, as no honest archive does: correct k\.$"
    with pytest.raises(UserError, match=sentence), members(path, tmp_path, key="k"):
        pass
    with pytest.raises(UserError, match=sentence):
        extract(path, ["zeros.txt"], tmp_path / "taken.txt", key="k")
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar"]
    monkeypatch.setattr(archive, "_HARMLESS", 64 << 20)
    extract(path, ["zeros.txt"], tmp_path / "taken.txt", key="k")
    assert (tmp_path / "taken.txt").read_bytes() == bytes(40 << 20)


def test_an_archive_leaves_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_SPARE", 1 << 62)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tarred({"a.txt": b"some"}))
    with pytest.raises(UserError, match=r"a\.tar\.gz unpacks into more than the disk has room for: make room, or correct k\.$"):
        read_all(path)
    assert list(tmp_path.iterdir()) == [path]
