"""Plain files from a web address: what is half fetched is only gone on with while it is the same file."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinemacolor.errors import UserError
from kinemacolor.media.direct import fetch_file

from .serving import Server

FIRST, SECOND = (random.Random(seed).randbytes(200_000) for seed in range(2))
HALF = len(FIRST) // 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        running.files["/a.zip"] = FIRST
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def got(server: Server, folder: Path) -> bytes:
    content = fetch_file(server.url("/a.zip"), folder / "download.zip", key="sources.toy", pause=0).read_bytes()
    assert [file.name for file in folder.iterdir()] == ["download.zip"], "of the download itself nothing stays"
    return content


@pytest.mark.parametrize("marks", ["ETag", "Last-Modified"])
def test_the_same_file_is_gone_on_with(server: Server, tmp_path: Path, marks: str) -> None:
    server.marks = marks
    server.breaks_off.add("/a.zip")
    assert got(server, tmp_path) == FIRST and server.ranges["/a.zip"] == [0, HALF]


@pytest.mark.parametrize("marks", ["W/", "none"])
def test_a_server_that_does_not_say_which_file_it_is_begins_anew(server: Server, tmp_path: Path, marks: str) -> None:
    server.marks = marks
    server.breaks_off.add("/a.zip")
    with pytest.raises(UserError, match=rf"a\.zip could not be fetched \(it broke off after {HALF} of 200000 bytes\)"):
        got(server, tmp_path)
    assert server.ranges["/a.zip"] == [0] * 5
    server.breaks_off.clear()
    assert got(server, tmp_path) == FIRST


@pytest.mark.parametrize("marks", ["ETag", "Last-Modified"])
@pytest.mark.parametrize("heeds", [True, False])
def test_half_of_one_file_is_no_beginning_of_another(server: Server, tmp_path: Path, marks: str, heeds: bool) -> None:
    """Between two runs the server's file was replaced by one of the same length."""
    server.marks, server.heeds_conditions = marks, heeds
    (tmp_path / "download.zip.part").write_bytes(FIRST[:HALF])
    (tmp_path / "download.zip.version").write_text('"other"' if marks == "ETag" else "other")
    server.files["/a.zip"] = SECOND
    assert got(server, tmp_path) == SECOND


def test_a_server_in_trouble_is_asked_again_and_a_missing_file_is_not(server: Server, tmp_path: Path) -> None:
    server.fails["/a.zip"] = 503
    with pytest.raises(UserError, match=r"HTTP Error 503.*correct sources\.toy\.url, or run again"):
        got(server, tmp_path)
    assert server.refused["/a.zip"] == 5
    with pytest.raises(UserError, match=r"HTTP Error 404"):
        fetch_file(server.url("/none.zip"), tmp_path / "none.zip", key="sources.toy", pause=0)
    assert server.refused["/none.zip"] == 1
