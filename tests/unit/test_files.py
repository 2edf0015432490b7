"""Files are whole or absent."""

import errno
import os
import subprocess
import sys

import pytest

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, atomic_folder, checked_name, read_json, refuse_foreign, write_json


def test_a_file_appears_only_when_complete(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("new")
        assert not target.exists() and temporary.suffix == ".txt"
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["a.txt"]


def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    target = tmp_path / "d"
    for content in ("one", "two"):
        with atomic_folder(target) as folder:
            (folder / content).write_text(content)
    assert os.listdir(target) == ["two"] and os.listdir(tmp_path) == ["d"]
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as folder:
        (folder / "three").write_text("half")
        raise ZeroDivisionError
    assert os.listdir(target) == ["two"] and os.listdir(tmp_path) == ["d"]


def test_a_folder_of_somebody_else_is_never_replaced(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"mine holds other files: name a new folder\.$"), atomic_folder(mine, marker="m"):
        pytest.fail("the work had begun")
    assert (mine / "thesis.txt").read_text() == "years of work" and os.listdir(tmp_path) == ["mine"]
    with pytest.raises(UserError, match=r"thesis.txt is a file: name a new folder\.$"):
        refuse_foreign(mine / "thesis.txt", marker="index.parquet")


def test_what_came_into_the_folder_during_the_work_stays(tmp_path):
    with pytest.raises(UserError, match="holds other files"), atomic_folder(tmp_path / "d", marker="m") as folder:
        (folder / "m").touch()
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "thesis.txt").touch()
    assert os.listdir(tmp_path) == ["d"] and os.listdir(tmp_path / "d") == ["thesis.txt"]


@pytest.mark.parametrize("there", [[], [".snakemake_timestamp"], ["m", "more"]])
def test_an_empty_folder_and_one_of_ours_are_replaced(tmp_path, there):
    (tmp_path / "d").mkdir()
    for name in there:
        (tmp_path / "d" / name).touch()
    with atomic_folder(tmp_path / "d", marker="m") as folder:
        (folder / "m").write_text("new")
    assert os.listdir(tmp_path / "d") == ["m"] and (tmp_path / "d" / "m").read_text() == "new"


def test_the_working_directory_and_a_link_can_be_named(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with atomic_folder(tmp_path / "link", marker="m") as folder:
        (folder / "m").touch()
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path / "real") == ["m"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="holds other files"), atomic_folder(".", marker="m"):
        pass
    monkeypatch.chdir(tmp_path / "real")
    with atomic_folder(".", marker="m") as folder:
        (folder / "new").touch()
    assert os.listdir(tmp_path / "real") == ["new"]


def test_what_a_killed_process_left_is_swept_and_a_living_ones_work_is_not(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for pid in (child.pid, 1):
        (tmp_path / f".a.{pid}.part.txt").write_text("half")
        (tmp_path / f".d.{pid}.part").mkdir()
    with atomic_file(tmp_path / "a.txt") as file, atomic_folder(tmp_path / "d"):
        file.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == [".a.1.part.txt", ".d.1.part", "a.txt", "d"]


def test_a_full_disk_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"No space is left on the device while writing .*a.bin"), atomic_file(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_found_in_what_other_errors_came_from(tmp_path):
    with pytest.raises(UserError, match="No space is left"), atomic_folder(tmp_path / "d"):
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the library gave up") from error
    with pytest.raises(UserError, match="No space is left"), atomic_folder(tmp_path / "d"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(OSError, match="Permission"), atomic_folder(tmp_path / "d"):
        raise OSError(errno.EACCES, "Permission denied")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_of_the_real_kind(tmp_path):
    with pytest.raises(UserError, match="No space is left"), atomic_file(tmp_path / "a.bin") as temporary:
        temporary.symlink_to("/dev/full")
        with open(temporary, "wb", buffering=0) as handle:
            handle.write(b"x")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "-x", "a b", "a.b", ".hidden", "_x"])
def test_names_that_must_not_become_paths(name):
    with pytest.raises(UserError, match="rename it"):
        checked_name(name)


def test_json_errors_name_the_file_and_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"none.json is missing: run sync"):
        read_json(tmp_path / "none.json", "run sync")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"bad.json is no valid JSON"):
        read_json(tmp_path / "bad.json")
    for path in (tmp_path, tmp_path / "bad.json" / "none.json"):
        with pytest.raises(UserError, match=r": run sync\.$"):
            read_json(path, "run sync")
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "é"]})
    assert read_json(tmp_path / "a.json") == {"a": [1.5, "é"], "b": 1}
