"""What a user can get wrong, through the real command: one sentence, exit status 2, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest
import yaml

from kinemacolor.errors import UserError
from kinemacolor.footage import open_footage

from .serving import Server
from .test_download import SMALL_DISK, has_small_disks

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "kinemacolor.cli"]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two films that have nothing in common, ten seconds each; grainy, so that they are larger than a small disk."""
    folder = tmp_path_factory.mktemp("films")
    found = {}
    for name, picture in {"film": "testsrc2=size=192x108", "other": "life=size=48x27:mold=10:ratio=0.3:seed=3"}.items():
        given = ["-f", "lavfi", "-i", f"{picture}:rate=24", "-t", "10", "-vf", "scale=192:108,noise=alls=30:allf=t:all_seed=1"]
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "24"]
        target = folder / f"{name}.mp4"
        subprocess.run([FFMPEG, "-v", "error", *given, *coded, "-movflags", "+faststart", str(target)], check=True)
        found[name] = target.read_bytes()
    return found


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def params_with(folder: Path, key: str, value: object) -> None:
    """Write the repository's params.yaml into `folder` with one value changed."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    *above, last = key.split(".")
    place = document
    for name in above:
        place = place[name]
    place[last] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def said(command: list[str], folder: Path) -> tuple[int, list[str], str]:
    """Exit status, the lines on standard error that do not tell of progress, and standard output."""
    environment = os.environ | {"no_proxy": "127.0.0.1", "MPLBACKEND": "agg"}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    lines = [line for line in ended.stderr.splitlines() if not re.fullmatch(r".*: \d+ %|.* \.\.\.", line)]
    return ended.returncode, lines, ended.stdout


def refused(arguments: list[str], folder: Path, words: list[str]) -> None:
    """The command refuses in one sentence that holds `words`, and leaves nothing in the place of --out."""
    before = sorted(path.name for path in folder.iterdir())
    status, lines, _ = said([*COMMAND, *arguments], folder)
    assert len(lines) == 1, "\n".join(lines)
    sentence = lines[0]
    assert status == 2, sentence
    assert sentence.startswith("kinemacolor: ") and sentence.endswith(".")
    for word in words:
        assert word in sentence
    assert sorted(path.name for path in folder.iterdir() if path.name != ".cache") == before


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("datasets.bunny.frames.evry", 3, ["datasets.bunny.frames.evry", "unknown key", "correct its spelling or remove it"]),
        ("sources.bunny.grey", {"recipe": {"heigth": 3}}, ["sources.bunny.grey.recipe.heigth", "unknown key"]),
        ("datasets.bunny.sources", ["bunyn"], ["datasets.bunny.sources", "'bunyn'", "add it there or correct the name"]),
        ("datasets.bunny.split.fractions", [0.7, 0.2, 0.2], ["datasets.bunny.split", "sum to 1.1, not to 1", "mend them"]),
        ("datasets.bunny.sources", ["bunny", "bunny"], ["datasets.bunny.sources", "'bunny' twice", "remove one"]),
        ("datasets.bunny.sources", ["freedoom", "bunny"], ["datasets.bunny.sources", "mixes", "a dataset of each"]),
    ],
)
def test_a_wrong_params_file(tmp_path: Path, key: str, value: object, words: list[str]) -> None:
    params_with(tmp_path, key, value)
    refused(["dag", "--check"], tmp_path, ["params.yaml: ", *words])


@pytest.mark.parametrize("content", [b"sources: {\xff: 1}\n", b"? [a]: b\n", b"a: [1,\n", None])
def test_a_params_file_that_is_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "params.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    refused(["dag", "--check"], tmp_path, ["params.yaml"])


def test_an_address_that_answers_404(server: Server, tmp_path: Path) -> None:
    url = server.url("/gone.mp4")
    refused(["download", url, "--out", "out"], tmp_path, [url, "404", "correct the address"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # A file that is no video.
        (["frames", "text.mp4", "--size", "32", "--out", "out"], ["text.mp4 is no video", "give a video file"]),
        (["sync", "text.mp4", "film.mp4", "--out", "out"], ["text.mp4 is no video"]),
        (["download", "text.mp4", "--out", "out"], ["text.mp4 is no video"]),
        # A truncated one.
        (["frames", "cut.mp4", "--size", "32", "--out", "out"], ["cut.mp4 is truncated", "last good time", "--allow-truncated"]),
        (["sync", "film.mp4", "cut.mp4", "--out", "out"], ["cut.mp4 is truncated", "--allow-truncated"]),
        (["download", "cut.mp4", "--out", "out"], ["cut.mp4 is truncated", "allow_truncated at its source in params.yaml"]),
        # An sha256 that differs.
        (["download", "toy", "--params", "toy.json", "--out", "out"], ["sources.toy.sha256", "0" * 64, "run again"]),
        # Prints of two films.
        (["sync", "film.mp4", "other.mp4", "--out", "out"], ["film.mp4", "other.mp4", "do not belong together"]),
        # And other slips.
        (["frames", "film.mp4", "--size", "32", "--out", "mine"], ["mine holds other files: name a new folder"]),
        (["sync", "film.mp4", "film.mp4", "--out", "."], ["holds other files: name a new folder"]),
        (["frames", "none.mkv", "--size", "32", "--out", "out"], ["none.mkv is missing"]),
        (["frames", "film.mp4", "--size", "8", "--out", "out"], ["size must be at least 16"]),
        (["sync", "film.mp4", "--out", "out"], ["film.mp4", "name one, or both prints"]),
        (["evaluate", "film.mp4", "other.mp4", "--size", "0x0"], ["--size '0x0'", "360x640"]),
        (["download", "toy", "--params", "empty.json", "--out", "out"], ["empty.json: kind: is missing"]),
        (["split", "mine", "--params", "empty.json", "--out", "out.parquet"], ["empty.json: kind: is missing"]),
        (["split", "mine", "--params", "mine", "--out", "out.parquet"], ["mine cannot be read"]),
        (["render", "mine", "film.mp4", "--out", "r2"], ["--out r2", ".mp4"]),
        # Prints that cannot be made.
        (["make-print", "film.mp4", "--recipe", "recipe.json", "--out", "film.mp4"], ["film.mp4 is the film itself"]),
        (["make-print", "cut.mp4", "--recipe", "recipe.json", "--out", "p.mp4"], ["cut.mp4 is truncated", "make-print"]),
        (["make-print", "film.mp4", "--recipe", "recipe.json", "--out", "film.mp4/a.mp4"], ["film.mp4/a.mp4 cannot be written"]),
        (["make-print", "film.mp4", "--recipe", "recipe.json", "--out", "/proc/a.mp4"], ["/proc/a.mp4 cannot be written"]),
        (["download", "pair", "--params", "pair.json", "--out", "out"], ["sources.pair.grey: recipe.remove", "has 240 frames"]),
    ],
)
def test_wrong_files_and_options(films: dict[str, bytes], tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    (tmp_path / "text.mp4").write_text("This is no film.\n" * 100)
    (tmp_path / "film.mp4").write_bytes(films["film"])
    (tmp_path / "other.mp4").write_bytes(films["other"])
    (tmp_path / "cut.mp4").write_bytes(films["film"][: len(films["film"]) // 2])
    toy = {"kind": "video", "licence": "CC0", "credit": "the tests", "path": "film.mp4", "sha256": "0" * 64}
    (tmp_path / "toy.json").write_text(json.dumps(toy))
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "recipe.json").write_text('{"height": 54}')
    about = {"licence": "CC0", "credit": "the tests", "colour": {"path": "film.mp4"}, "grey": {"recipe": {"remove": [[9, 999]]}}}
    (tmp_path / "pair.json").write_text(json.dumps({"kind": "film_pair"} | about))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(arguments, tmp_path, words)
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]


@pytest.mark.skipif(not has_small_disks(), reason="needs Linux and the right to mount a tmpfs in a namespace of one's own")
@pytest.mark.parametrize(
    ("size", "arguments"),
    [
        ("100k", ["download", "../film.mp4", "--out", "out"]),
        ("1m", ["frames", "../film.mp4", "--size", "108", "--every", "1", "--out", "out"]),
    ],
)
def test_no_space_left(films: dict[str, bytes], tmp_path: Path, size: str, arguments: list[str]) -> None:
    (tmp_path / "film.mp4").write_bytes(films["film"])
    (tmp_path / "disk").mkdir()
    # What is left on the disk is listed before it goes away with its namespace.
    shell = f'mount -t tmpfs -o size={size} tmpfs disk && cd disk && "$@"; status=$?; ls -A; exit $status'
    status, lines, left = said([*SMALL_DISK, "sh", "-c", shell, "sh", *COMMAND, *arguments], tmp_path)
    assert len(lines) == 1 and status == 2, lines
    assert re.fullmatch(
        r"kinemacolor: No space is left on the device while writing \S+: free some space and run again; .*\.", lines[0]
    )
    assert left.split() in ([], [".cache"])


def test_a_truncated_film_can_be_allowed_by_hand(films: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(films["film"][: len(films["film"]) * 3 // 4])
    cut = {"path": "cut.mp4", "allow_truncated": True}
    pair = {"kind": "film_pair", "licence": "CC0", "credit": "the tests", "colour": cut, "grey": cut}
    (tmp_path / "pair.json").write_text(json.dumps(pair))
    (tmp_path / "recipe.json").write_text('{"height": 54}')
    (tmp_path / "made.json").write_text(json.dumps(pair | {"grey": {"recipe": {"height": 54}}}))
    for arguments in (
        ["download", "cut.mp4", "--allow-truncated", "--out", "raw"],
        ["frames", "cut.mp4", "--size", "32", "--allow-truncated", "--out", "frames"],
        ["frames", "raw", "--size", "32", "--out", "of_raw"],  # the record says that it was allowed
        ["sync", "cut.mp4", "cut.mp4", "--allow-truncated", "--out", "sync"],
        ["download", "pair", "--params", "pair.json", "--out", "pair"],
        ["make-print", "cut.mp4", "--recipe", "recipe.json", "--allow-truncated", "--out", "print.mp4"],
        ["download", "made", "--params", "made.json", "--out", "made"],
        ["sync", "pair", "--out", "sync"],
        ["frames", "pair", "--sync", "sync", "--size", "32", "--out", "of_pair"],
    ):
        status, lines, _ = said([*COMMAND, *arguments], tmp_path)
        assert status == 0, lines
    assert (tmp_path / "frames/index.parquet").read_bytes() and (tmp_path / "of_raw/index.parquet").read_bytes()
    with pytest.raises(UserError, match=r"cut\.mp4 is truncated .* allow_truncated"):
        open_footage(tmp_path / "cut.mp4")
    assert 7.0 < open_footage(tmp_path / "raw").end < 8.0
    # A second run replaces what the first one wrote.
    status, lines, _ = said([*COMMAND, "frames", "cut.mp4", "--size", "16", "--allow-truncated", "--out", "frames"], tmp_path)
    assert status == 0, lines


def test_a_params_file_that_somebody_named_must_be_there(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "models", "--params", "none.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "kinemacolor: none.yaml is missing: run inside a clone of kinemacolor, or name the file.\n"
    families = subprocess.run([*COMMAND, "models", "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "lab_unet" in {row["name"] for row in json.loads(families.stdout)}
