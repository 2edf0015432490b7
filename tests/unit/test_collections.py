"""Collections in the download stage: clips of folders, lists and playlists, photographs of folders and archives."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from kinemacolor.errors import UserError
from kinemacolor.media.clips import clip_name
from kinemacolor.media.fetch import _says_gone
from kinemacolor.media.listing import drawn
from kinemacolor.media.packing import NAMED, pack
from kinemacolor.media.pictures import BrokenPicture, decode_picture
from kinemacolor.media.sources import read_source
from kinemacolor.params import AnySource, ParamsError, section

from .collecting import ABOUT, CLIPS, clips, encoded, get, images, laid_out, make_clip, photographs, scene
from .serving import Server, tarred, zipped


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    for name, (size, rate, frames) in CLIPS.items():
        make_clip(root / name, size, rate, frames)
    return root


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


# -------------------------------------------------------------------------------------------------------- clips


def test_the_clips_of_a_folder_stand_in_the_order_of_their_names(folder: Path, tmp_path: Path) -> None:
    (folder / ".hidden.mp4").write_bytes(b"")
    (folder / "notes.txt").write_text("no clip")
    out = get(clips(path=str(folder)), tmp_path)
    record = read_source(out)
    assert [clip.origin["path"] for clip in record.clips] == [str(folder / name) for name in sorted(CLIPS)]
    assert [clip.name for clip in record.clips] == [clip_name(name) for name in sorted(CLIPS)]
    assert record.clips[0].name.startswith("a_first-") and record.clips[1].name.startswith("b_second-")
    assert sorted(path.name for path in out.iterdir()) == sorted([*(clip.path.name for clip in record.clips), "source.json"])
    for clip, name in zip(record.clips, sorted(CLIPS), strict=True):
        _, rate, frames = CLIPS[name]
        assert clip.path.read_bytes() == (folder / name).read_bytes() and clip.path.suffix == Path(name).suffix
        assert (clip.probe.frames, str(clip.probe.frame_rate)) == (frames, rate)
        assert clip.sha256 == hashlib.sha256(clip.path.read_bytes()).hexdigest()
    assert (record.kind, record.licence, record.credit, record.broken) == ("clips", "CC0", "the tests", ())
    assert record.origin["path"] == str(folder)


def test_neither_the_order_of_a_directory_nor_its_place_matters(folder: Path, tmp_path: Path) -> None:
    names = []
    for place, order in enumerate((list(CLIPS), list(CLIPS)[::-1])):
        copy = tmp_path / f"copy{place}"
        for name in order:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, copy / name)
        names.append([clip.path.name for clip in read_source(get(clips(path=str(copy)), tmp_path, f"s{place}")).clips])
    assert names[0] == names[1]


def test_a_part_is_drawn_by_the_seed_and_a_clip_that_comes_moves_at_most_one_out() -> None:
    names = sorted(f"clip{number:03d}.mp4" for number in range(300))
    first, other = drawn(names, limit=30, seed=0), drawn(names, limit=30, seed=1)
    assert len(first) == 30 and first == sorted(first) and first != other
    assert first == sorted(drawn(names[::-1], limit=30, seed=0)), "the order of the names does not matter"
    for number in range(300, 400):
        more = drawn(sorted([*names, f"clip{number:03d}.mp4"]), limit=30, seed=0)
        assert len(set(first) - set(more)) <= 1 and set(more) <= {*first, f"clip{number:03d}.mp4"}
    assert drawn(names, limit=None, seed=0) == drawn(names, limit=999, seed=0) == names


def test_a_pattern_and_a_limit_choose(folder: Path, tmp_path: Path) -> None:
    record = read_source(get(clips(path=str(folder), pattern="*/*.MP4"), tmp_path, "pattern"))
    assert [clip.name for clip in record.clips] == [clip_name("b/second.mp4")]
    record = read_source(get(clips(path=str(folder), limit=2, seed=5), tmp_path, "limit"))
    assert len(record.clips) == 2 and record.origin == {"path": str(folder), "limit": 2, "seed": 5}
    with pytest.raises(UserError, match=r"holds no clip that fits '\*\.avi': correct sources\.toy\.path|correct sources\.toy"):
        get(clips(path=str(folder), pattern="*.avi"), tmp_path)


def test_a_list_in_params_and_a_file_of_lines_keep_their_order(server: Server, folder: Path, tmp_path: Path) -> None:
    server.files["/served.mp4"] = (folder / "b/second.mp4").read_bytes()
    url = server.url("/served.mp4")
    (folder / "mine.txt").write_text(f"# my clips\n\nc.webm\n{url}\na first.mkv\nc.webm\n")
    try:
        record = read_source(get(clips(path=str(folder / "mine.txt")), tmp_path, "lines"))
    finally:
        (folder / "mine.txt").unlink()
    assert [clip.name for clip in record.clips] == [clip_name("c.webm"), clip_name(url), clip_name("a first.mkv")]

    sha256 = hashlib.sha256(server.files["/served.mp4"]).hexdigest()
    listed = [{"path": str(folder / "c.webm")}, {"url": url, "sha256": sha256}]
    assert [clip.probe.frames for clip in read_source(get(clips(list=listed), tmp_path, "listed")).clips] == [6, 12]
    listed[1]["sha256"] = "0" * 64
    with pytest.raises(UserError, match=rf"has sha256 {sha256}, not 0+: .* correct sources\.toy\.list\.1\.sha256"):
        get(clips(list=listed, max_broken=1), tmp_path)


def feed(server: Server, names: list[str]) -> bytes:
    items = "".join(
        f'<item><title>Film {name}</title><enclosure url="{server.url(f"/{name}")}" type="video/mp4"/></item>' for name in names
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>{items}</channel></rss>'.encode()


def test_a_playlist_is_resolved_and_fetched_by_yt_dlp(server: Server, folder: Path, tmp_path: Path) -> None:
    server.files["/two.mp4"] = (folder / "b/second.mp4").read_bytes()
    server.files["/one.mp4"] = server.files["/two.mp4"][:-1] + b"1"
    server.files["/feed.rss"] = feed(server, ["two.mp4", "one.mp4", "gone.mp4"])
    source = clips(url=server.url("/feed.rss"), max_broken=0.34)
    record = read_source(get(source, tmp_path))
    assert [clip.origin["url"] for clip in record.clips] == [server.url("/two.mp4"), server.url("/one.mp4")]
    assert [entry["name"] for entry in record.broken] == [server.url("/gone.mp4")] and "404" in record.broken[0]["reason"]
    for clip in record.clips:
        assert record.checked(clip).path.read_bytes() == server.files[f"/{Path(clip.origin['url']).name}"]
    with pytest.raises(UserError, match=r"1 of 3 clips cannot be used.*gone\.mp4.*raise sources\.strict\.max_broken"):
        get(clips(url=server.url("/feed.rss")), tmp_path, "strict")
    # Of what was fetched before the refusal nothing is fetched again.
    before = len(server.ranges["/two.mp4"])
    server.files["/gone.mp4"] = server.files["/two.mp4"]
    assert len(read_source(get(clips(url=server.url("/feed.rss")), tmp_path, "strict")).clips) == 3
    assert before <= len(server.ranges["/two.mp4"]) <= before + 1

    titled = read_source(get(clips(url=server.url("/feed.rss"), pattern="film one*"), tmp_path, "titled"))
    assert [clip.origin["url"] for clip in titled.clips] == [server.url("/one.mp4")]

    tracks = "".join(f"<track><location>{server.url(f'/{name}.mp4')}</location></track>" for name in ("one", "two"))
    server.files["/list.xspf"] = f'<playlist xmlns="http://xspf.org/ns/0/"><trackList>{tracks}</trackList></playlist>'.encode()
    listed = read_source(get(clips(url=server.url("/list.xspf")), tmp_path, "xspf"))
    # A clip keeps its name whatever list names it.
    assert {clip.name for clip in listed.clips} == {clip.name for clip in record.clips}

    with pytest.raises(UserError, match=r"two\.mp4 is no playlist"):
        get(clips(url=server.url("/two.mp4")), tmp_path, "single")


def test_broken_clips_are_counted_and_named_and_too_many_are_refused(folder: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(folder, mixed)
    whole = (mixed / "b/second.mp4").read_bytes()
    (mixed / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (mixed / "text.mp4").write_text("no film")
    record = read_source(get(clips(path=str(mixed), max_broken=0.5), tmp_path))
    assert len(record.clips) == 3
    assert [Path(entry["name"]).name for entry in record.broken] == ["cut.mp4", "text.mp4"]
    assert json.loads((tmp_path / "raw/toy/source.json").read_text())["broken"] == list(record.broken)
    with pytest.raises(UserError, match=r"^2 of 5 clips cannot be used, more than a share of 0\.3; the first is .*cut\.mp4"):
        get(clips(path=str(mixed), max_broken=0.3), tmp_path, "strict")
    assert not (tmp_path / "raw/strict").exists()


def test_a_lost_network_ends_the_stage_and_makes_no_dataset_smaller(server: Server, folder: Path, tmp_path: Path) -> None:
    server.files["/one.mp4"] = server.files["/two.mp4"] = server.files["/three.mp4"] = (folder / "b/second.mp4").read_bytes()
    server.files["/three.mp4"] += b"3"
    with Server() as closed:
        nobody = closed.url("/two.mp4")
    one, three = server.url("/one.mp4"), server.url("/three.mp4")
    for status in (500, 503, 429, 403):
        server.fails["/three.mp4"] = status
        with pytest.raises(UserError, match=rf"^\S+/three\.mp4 could not be fetched \(.*{status}.*or run again to go on\.$"):
            get(clips(list=[one, three], max_broken=1), tmp_path)
    [kept] = (tmp_path / "cache").rglob("download.mp4")
    fetched = kept.stat()
    with pytest.raises(UserError, match=r"refused.*correct sources\.toy\.list\.1\.url, or run again to go on"):
        get(clips(list=[one, nobody], max_broken=1), tmp_path)
    with pytest.raises(UserError, match=r"none\.mp4 is missing: put the file there or correct sources\.toy\.list\.1\.path"):
        get(clips(list=[one, str(tmp_path / "none.mp4")], max_broken=1), tmp_path)
    assert not (tmp_path / "raw").exists() or not list((tmp_path / "raw").iterdir())
    assert kept.stat() == fetched, "what was fetched waits in the cache"
    server.fails.clear()
    assert [clip.origin["url"] for clip in read_source(get(clips(list=[one, three]), tmp_path)).clips] == [one, three]
    for status in (404, 410):
        server.fails["/three.mp4"] = status
        two = server.url("/two.mp4")
        record = read_source(get(clips(list=[two, three], max_broken=0.5), tmp_path, f"s{status}"))
        assert len(record.clips) == 1 and str(status) in record.broken[0]["reason"]


@pytest.mark.parametrize(
    ("reason", "gone"),
    [
        ("Private video. Sign in if you've been granted access to this video", True),
        ("Video unavailable. This video has been removed by the uploader", True),
        ("Video unavailable. The account associated with this video has been terminated", True),
        ("This video is no longer available", True),
        ("Sign in to confirm your age. This video may be inappropriate for some users", True),
        ("Unable to download webpage: HTTP Error 410: Gone", True),
        ("Video unavailable. This content isn't available, try again later", False),
        ("Sign in to confirm you're not a bot", False),
        ("Unable to download webpage: HTTP Error 503: Service Unavailable", False),
        ("Unable to download webpage: Failed to resolve 'private.example.org'", False),
        ("unable to download video data: [Errno 11] Resource temporarily unavailable", False),
        ("Requested format is not available", False),
        ("The read operation timed out", False),
        ("Unsupported URL: http://example.org/deleted", False),
    ],
)
def test_only_what_its_site_calls_gone_is_gone(reason: str, gone: bool) -> None:
    assert _says_gone(reason) is gone


def test_a_list_may_name_addresses_and_paths_alone(folder: Path) -> None:
    short = clips(list=[str(folder / "c.webm"), "https://example.org/a.mp4", {"path": "x.mkv", "allow_truncated": True}])
    long = [{"path": str(folder / "c.webm")}, {"url": "https://example.org/a.mp4"}, {"path": "x.mkv", "allow_truncated": True}]
    assert short == clips(list=long)
    with pytest.raises(ParamsError, match=r"list\.1\.url: must begin with http"):
        section(AnySource, ABOUT | {"kind": "clips", "list": ["a.mp4", "ftp://b/c.mp4"]}, "params.yaml")


def test_a_clip_that_changed_is_refused_until_it_is_accepted(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    source = clips(path=str(mine))
    first = read_source(get(source, tmp_path))
    make_clip(mine / "new.mp4", frames=5)
    second = read_source(get(source, tmp_path))  # a new one is no change of the others
    assert len(second.clips) == 4 and {clip.name for clip in first.clips} < {clip.name for clip in second.clips}
    make_clip(mine / "new.mp4", frames=6)
    with pytest.raises(UserError, match=r"new\.mp4 has sha256 .* to accept it, delete .*sha256\.json"):
        get(clips(path=str(mine), max_broken=1), tmp_path)
    (tmp_path / "cache/toy/sha256.json").unlink()
    third = read_source(get(source, tmp_path))
    assert next(clip for clip in third.clips if clip.name.startswith("new-")).probe.frames == 6
    third.clips[0].path.write_bytes(b"other")
    with pytest.raises(UserError, match="is not the file that was downloaded"):
        third.checked(third.clips[0])
    with pytest.raises(UserError, match=r"has no video print \(it is a source of clips\)"):
        third.print("video")


# -------------------------------------------------------------------------------------------------- photographs


def gathered(out: Path) -> dict[str, np.ndarray]:
    with read_source(out).gallery() as gallery:
        assert [gallery.name(number) for number in range(len(gallery))] == sorted(map(gallery.name, range(len(gallery))))
        found = {gallery.name(number): gallery.pixels(number) for number in range(len(gallery))}
        assert all(found[gallery.name(n)].shape[:2] == gallery.size(n) for n in range(len(gallery)))
        return found


def test_photographs_of_every_kind_come_back_as_they_are_meant_to_be_seen(tmp_path: Path) -> None:
    files, shown = photographs()
    laid_out(tmp_path / "mine", files | {"readme.txt": b"about"})
    out = get(images(path=str(tmp_path / "mine"), max_broken=0.3), tmp_path)
    found = gathered(out)
    assert set(found) == set(shown)
    for name, pixels in shown.items():
        assert found[name].shape == pixels.shape and found[name].dtype == np.uint8 and found[name].flags["C_CONTIGUOUS"]
        allowed = 3.0 if name.startswith("n01") else 0.51  # JPEG
        assert np.abs(found[name].astype(float) - pixels).mean() < allowed, name
        if not name.startswith("n01"):
            assert np.abs(found[name].astype(int) - pixels).max() <= 1, name
    record = read_source(out)
    assert [entry["name"] for entry in record.broken] == ["n03/cut.jpg", "z.png"]
    assert record.pictures.count == 6 and record.pictures.smallest == (24, 20) and record.pictures.largest == (60, 60)
    assert sorted(path.name for path in out.iterdir()) == ["pictures.parquet", "pictures.tar", "source.json"]
    table = pq.read_table(out / "pictures.parquet").to_pandas()
    assert table["sha256"].tolist() == [hashlib.sha256(files[name]).hexdigest() for name in table["name"]]
    with tarfile.open(out / "pictures.tar") as tar:  # an ordinary tar, whose names are ours
        assert [tar.extractfile(entry).read() for entry in tar] == [files[name] for name in table["name"]]
        assert all(entry.name[:8].isdigit() and entry.mtime == 0 for entry in tar)
    with pytest.raises(
        UserError, match=r"^2 of 8 pictures cannot be used, more than a share of 0\.05; the first is n03/cut\.jpg"
    ):
        get(images(path=str(tmp_path / "mine")), tmp_path, "strict")
    assert not list((tmp_path / "raw").glob("*strict*"))


def test_a_folder_and_every_archive_of_it_give_the_same_bytes(server: Server, tmp_path: Path) -> None:
    files = {name: content for name, content in photographs()[0].items() if name not in ("n03/cut.jpg", "z.png")}
    laid_out(tmp_path / "mine", files)
    archives = {"a.zip": zipped(**files), "a.tar.gz": tarred(dict(reversed(files.items())))}
    with tarfile.open(fileobj=io.BytesIO(archives["a.tar.gz"])) as tar:
        for name, mode in (("a.tar", "w"), ("a.tar.xz", "w:xz"), ("a.tar.bz2", "w:bz2")):
            with tarfile.open(stream := tmp_path / name, mode) as copy:
                for entry in tar:
                    copy.addfile(entry, tar.extractfile(entry))
            archives[name] = stream.read_bytes()
            tar.members.sort(key=lambda entry: entry.size)
    whole = get(images(path=str(tmp_path / "mine")), tmp_path, "folder")
    for name, content in archives.items():
        (tmp_path / name).write_bytes(content)
        out = get(images(path=str(tmp_path / name)), tmp_path, "archive")
        for file in ("pictures.tar", "pictures.parquet"):
            assert (out / file).read_bytes() == (whole / file).read_bytes(), name
    # The same over the network, although the connection breaks off once.
    server.files["/all.zip"] = archives["a.zip"]
    server.breaks_off.add("/all.zip")
    sha256 = hashlib.sha256(archives["a.zip"]).hexdigest()
    out = get(images(url=server.url("/all.zip"), sha256=sha256), tmp_path, "fetched")
    assert (out / "pictures.tar").read_bytes() == (whole / "pictures.tar").read_bytes()
    assert server.ranges["/all.zip"] == [0, len(archives["a.zip"]) // 2]
    assert not (tmp_path / "cache/fetched/pictures").exists()
    with pytest.raises(UserError, match=r"404.*correct sources\.toy\.url"):
        get(images(url=server.url("/none.zip")), tmp_path)


def test_names_in_an_archive_lead_nowhere(tmp_path: Path) -> None:
    good = encoded_png(1)
    hostile = {"../../escaped.png": good, "/tmp/escaped-absolute.png": good, "a/../../up.png": good, "good.png": good}
    place = tmp_path / "deep" / "er"
    place.mkdir(parents=True)
    for name, content in {"a.zip": zipped(**hostile), "a.tar.gz": tarred(hostile, {"link.png": "/etc/passwd"})}.items():
        (place / name).write_bytes(content)
        record = read_source(get(images(path=str(place / name), max_broken=0.75), place, name[2:5].strip(".")))
        assert record.pictures.count == 1 and len(record.broken) == 3
        assert {entry["reason"] for entry in record.broken} == {"its name leads out of the archive"}
    assert not list(tmp_path.rglob("*escaped*")) and not list(tmp_path.rglob("up.png"))
    assert not Path("/tmp/escaped-absolute.png").exists()


def encoded_png(seed: int) -> bytes:
    return encoded(Image.fromarray(scene(20, 20, seed)), "PNG")


def test_photographs_are_drawn_by_their_names_and_checked_from_then_on(tmp_path: Path) -> None:
    mine = laid_out(tmp_path / "mine", {f"{number:03d}.png": encoded_png(number) for number in range(40)})
    source = images(path=str(mine), limit=12, seed=3)
    first = get(source, tmp_path)
    names, bytes_before = set(gathered(first)), (first / "pictures.tar").read_bytes()
    assert len(names) == 12
    assert (get(source, tmp_path) / "pictures.tar").read_bytes() == bytes_before
    laid_out(mine, {"new.png": encoded_png(99)})
    assert len(names - set(gathered(get(source, tmp_path)))) <= 1
    changed = sorted(names)[0]
    (mine / changed).write_bytes(encoded_png(77))
    with pytest.raises(UserError, match=rf"{changed} has sha256 .* to accept it, delete .*pictures-\w+\.sha256"):
        get(source, tmp_path)
    next((tmp_path / "cache/toy").glob("pictures-*.sha256")).unlink()
    assert changed in gathered(get(source, tmp_path))


def test_one_photograph_under_two_names_is_taken_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {"b.png": encoded_png(1), "a/z.png": encoded_png(0), "c.png": encoded_png(0), "d/b.png": encoded_png(1)}
    (tmp_path / "mine.zip").write_bytes(zipped(**files))
    laid_out(tmp_path / "mine", files)
    archive, out = (get(images(path=str(tmp_path / name)), tmp_path, name[:4] + name[5:]) for name in ("mine.zip", "mine"))
    assert (out / "pictures.tar").read_bytes() == (archive / "pictures.tar").read_bytes()
    assert list(gathered(out)) == ["a/z.png", "b.png"]
    record = read_source(out)
    same = [{"name": "c.png", "same_as": "a/z.png"}, {"name": "d/b.png", "same_as": "b.png"}]
    assert list(record.duplicates) == json.loads((out / "source.json").read_text())["duplicates"] == same
    assert record.pictures.count == 2 and record.broken == ()
    assert "c.png is left out: it is the same file as a/z.png" in caplog.text
    assert "sources.mine: photographs under a second name, left out: 2" in caplog.text


def test_what_is_packed_does_not_depend_on_threads_nor_on_what_is_named(tmp_path: Path) -> None:
    files, _ = photographs()
    files |= {f"many/{number:03d}.png": encoded_png(number % 40) for number in range(90)}
    laid_out(tmp_path / "mine", files)
    source, found = images(path=str(tmp_path / "mine"), max_broken=0.3), []
    for threads, named in ((1, 1000), (2, 1000), (5, 3)):
        (out := tmp_path / f"packed{threads}").mkdir()
        packed = pack(source, tmp_path / "mine", out, key="k", threads=threads, named=named)
        assert (packed.broken_count, packed.duplicates_count) == (2, 50)
        assert packed.broken == [{"name": "n03/cut.jpg", "reason": packed.broken[0]["reason"]}, packed.broken[1]]
        assert len(packed.duplicates) == min(50, named)
        found.append((packed.digest, packed.record, packed.duplicates[:3], *((out / name).read_bytes() for name in FILES)))
        assert (out / "left_out.jsonl").exists() == (named == 3)
    assert found[0] == found[1] == found[2]
    lines = [json.loads(line) for line in (tmp_path / "packed5/left_out.jsonl").read_text().splitlines()]
    assert (
        len(lines) == 52
        and lines[0]["same_as"] == "many/000.png"
        and [line["name"] for line in lines[-2:]]
        == [
            "n03/cut.jpg",
            "z.png",
        ]
    )


FILES = ("pictures.tar", "pictures.parquet")


def test_the_tar_is_what_tarfile_writes(tmp_path: Path) -> None:
    files = {f"{number}.png": encoded_png(number) for number in range(3)} | {
        "d.odd": encoded_png(3),
        "e.bmp": 60 * encoded_png(4),
    }
    laid_out(tmp_path / "mine", files)
    out = get(images(path=str(tmp_path / "mine"), pattern="*"), tmp_path)
    with tarfile.open(tmp_path / "same.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (name, content) in enumerate(files.items()):
            entry = tarfile.TarInfo(f"{number:08d}{Path(name).suffix if name != 'd.odd' else ''}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    assert (out / "pictures.tar").read_bytes() == (tmp_path / "same.tar").read_bytes()
    assert read_source(out).pictures.files[0][1] == hashlib.sha256((out / "pictures.tar").read_bytes()).hexdigest()


def test_what_is_too_much_to_name_is_counted(tmp_path: Path) -> None:
    mine = laid_out(tmp_path / "mine", {f"{number:04d}.png": b"nothing" for number in range(NAMED + 7)})
    laid_out(mine, {"good.png": encoded_png(0), "same.png": encoded_png(0)})
    out = get(images(path=str(mine), max_broken=1), tmp_path)
    record = read_source(out)
    assert (len(record.broken), record.broken_count, len(record.duplicates), record.duplicates_count) == (NAMED, NAMED + 7, 1, 1)
    said = json.loads((out / "source.json").read_text())["left_out"]
    assert said == {"broken": NAMED + 7, "duplicates": 1, "file": "left_out.jsonl"}
    lines = [json.loads(line) for line in (out / said["file"]).read_text().splitlines()]
    assert lines[-1] == {"name": "same.png", "same_as": "good.png"} and [*lines[:NAMED]] == list(record.broken)
    assert len(lines) == NAMED + 8
    with pytest.raises(UserError, match=rf"^{NAMED + 1} of {NAMED + 9} pictures cannot be used"):  # not all were looked at
        get(images(path=str(mine), max_broken=0.1), tmp_path, "strict")
    assert not (tmp_path / "raw/strict").exists()


def test_the_first_few_broken_pictures_are_named_with_the_remedy(tmp_path: Path) -> None:
    mine = laid_out(tmp_path / "mine", {f"{number:02d}.png": b"nothing" for number in range(5)})
    laid_out(mine, {f"good{number:02d}.png": encoded_png(number) for number in range(5)})
    why = r"\(it is no picture\)"
    few = rf"^5 of 10 pictures cannot be used, more than a share of 0\.4; the first is 00\.png {why}, then 01\.png {why} and "
    with pytest.raises(UserError, match=few + rf"02\.png {why}: mend or remove them, or raise sources\.toy\.max_broken\.$"):
        get(images(path=str(mine), max_broken=0.4), tmp_path)
    assert read_source(get(images(path=str(mine), max_broken=0.5), tmp_path)).broken_count == 5
    laid_out(mine, {f"good{number:02d}.png": b"" for number in range(5)})
    with pytest.raises(UserError, match=r"^None of the 10 pictures of .* can be read: correct sources\.none\.$"):
        get(images(path=str(mine), max_broken=1), tmp_path, "none")


def test_an_archive_that_changed_or_is_damaged_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = zipped(**{"a.png": encoded_png(0)})
    source = images(url=server.url("/a.zip"))
    get(source, tmp_path)
    server.files["/a.zip"] = zipped(**{"a.png": encoded_png(1)})
    for _ in range(2):  # what was refused is not taken for a finished download
        with pytest.raises(UserError, match=r"when it was first downloaded.*set sources\.toy\.sha256"):
            get(source, tmp_path)
    whole = tarred({"a.png": encoded_png(0)})
    server.files["/a.tgz"] = whole[: len(whole) // 2]
    with pytest.raises(UserError, match=r"is no tar or zip, or a damaged one: run again"):
        get(images(url=server.url("/a.tgz")), tmp_path, "other")
    server.files["/a.tgz"] = whole
    assert len(gathered(get(images(url=server.url("/a.tgz")), tmp_path, "other"))) == 1
    with pytest.raises(UserError, match=r"is a folder, which has no sha256"):
        get(images(path=str(tmp_path), sha256="0" * 64), tmp_path, "third")
    with pytest.raises(UserError, match=r"holds no picture: correct sources\.third"):
        get(images(path=str(tmp_path / "cache")), tmp_path, "third")
    with pytest.raises(UserError, match=r"is missing: put the pictures there"):
        get(images(path=str(tmp_path / "nowhere")), tmp_path, "third")


def test_a_table_that_was_tampered_with_is_not_read(tmp_path: Path) -> None:
    laid_out(tmp_path / "mine", {"a.png": encoded_png(0)})
    out = get(images(path=str(tmp_path / "mine")), tmp_path)
    content = (out / "pictures.tar").read_bytes()
    (out / "pictures.tar").write_bytes(content[:-1] + b"x")
    with pytest.raises(UserError, match=r"pictures\.tar is not the file that was downloaded"):
        read_source(out).gallery()


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(60), encoded_png(0)[:-30]])
def test_no_picture_is_no_crash(data: bytes) -> None:
    with pytest.raises(BrokenPicture):
        decode_picture(data)


# ------------------------------------------------------------------------------------------------------ params


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"kind": "images", "url": "https://a/b.zip", "archive_sha256": "0" * 64},
            ["archive_sha256", "beside url", "write sha256"],
        ),
        ({"kind": "images", "path": "b.zip", "member": ["a"], "version": "1"}, ["version and member", "beside path"]),
        ({"kind": "video", "url": "https://a/b", "archive": "sdist"}, ["archive would be ignored beside url"]),
        ({"kind": "clips", "list": [{"path": "a", "version": "1"}]}, ["list.0: version would be ignored"]),
        ({"kind": "clips"}, ["exactly one of path, list and url"]),
        ({"kind": "clips", "path": "a", "url": "https://b"}, ["exactly one of path, list and url"]),
        ({"kind": "clips", "list": []}, ["list holds no clip"]),
        ({"kind": "clips", "list": [{"path": "a"}, {"pth": "b"}]}, ["list.1.pth", "unknown key"]),
        ({"kind": "clips", "list": [{"path": "a"}], "pattern": "*"}, ["pattern"]),
        ({"kind": "images"}, ["exactly one of url, path and package"]),
        ({"kind": "images", "path": "a", "limit": 0}, ["limit: ", "greater than or equal to 1"]),
        ({"kind": "images", "path": "a", "max_broken": 2}, ["max_broken: ", "less than or equal to 1"]),
        ({"kind": "photos", "path": "a"}, ["kind: ", "video, game, film_pair, clips, images"]),
    ],
)
def test_wrong_sections_are_one_sentence(given: dict, words: list[str]) -> None:
    with pytest.raises(ParamsError) as caught:
        section(AnySource, ABOUT | given, "params.yaml")
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
