"""Get one plain file from a web address: an archive, where yt-dlp would look for a video.

What is half fetched stays beside the target, and the next attempt, or the next run, goes on from it if the server says
that its file is still the same one; the head of one file and the tail of another would make a third.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import kinemacolor
from kinemacolor.errors import UserError, full_disk
from kinemacolor.files import is_full_disk
from kinemacolor.media.progress import shown

_ATTEMPTS = 5
_BLOCK = 1 << 20
_TIMEOUT = 30  # seconds without a byte
_MAY_PASS = (408, 425, 429)  # of the client's errors, those that another time may not have


def fetch_file(url: str, target: Path, *, key: str | None, pause: float = 0.5) -> Path:
    """Fetch `url` into `target` and return it; a target that is there already is taken as it is.

    Proxies and certificates are those of the environment. Redirections lead to http, https or ftp only, never to a local file.

    Args:
        key: where the address stands in params.yaml, for error messages; None if it stands nowhere.
        pause: seconds before the second attempt; twice as many before each further one.

    Raises:
        UserError: it cannot be fetched, or the disk is full.
    """
    part, mark = target.with_name(target.name + ".part"), target.with_name(target.name + ".version")
    reason = ""
    with shown(f"download {key or url}") as progress:
        for attempt in range(_ATTEMPTS):
            if target.is_file():
                break
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            version = mark.read_text(encoding="utf-8") if mark.is_file() else ""
            done = part.stat().st_size if part.is_file() and version else 0
            headers = {"User-Agent": f"kinemacolor/{kinemacolor.__version__}", "Accept-Encoding": "identity"}
            onwards = {"Range": f"bytes={done}-", "If-Range": version} if done else {}
            request = urllib.request.Request(url, headers=headers | onwards)
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                    if response.status == 206 and not _goes_on(response.headers, done, version):
                        part.unlink()
                        reason = "it changes while it is fetched"
                        continue
                    done = done if response.status == 206 else 0
                    length = response.headers.get("Content-Length")
                    total = done + int(length) if length else None
                    if not done:
                        part.unlink(missing_ok=True)  # never an old beginning beside a new mark
                        mark.write_text(_version(response.headers), encoding="utf-8")
                    with open(part, "ab" if done else "wb") as file:
                        while block := response.read(_BLOCK):
                            file.write(block)
                            done += len(block)
                            progress(done, total)
                if total is None or done == total:
                    os.replace(part, target)
                    mark.unlink(missing_ok=True)
                reason = f"it broke off after {done} of {total} bytes"
            except urllib.error.HTTPError as error:
                if error.code == 416:  # no such range: what is here is not a beginning of what is there
                    part.unlink(missing_ok=True)
                reason = f"HTTP Error {error.code}: {error.reason}"
                if error.code < 500 and error.code not in (416, *_MAY_PASS):
                    break
            except (OSError, http.client.HTTPException) as error:
                if is_full_disk(error):
                    raise full_disk(target) from error
                reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        if not target.is_file():
            setting = f"{key}.url" if key else "the address"
            raise UserError(f"{url} could not be fetched ({reason}): correct {setting}, or run again to go on.")
    return target


def _version(headers: Message) -> str:
    """What a server says of which file this is, as If-Range may have it; empty if it says nothing."""
    tag = headers.get("ETag", "")
    # A weak tag (W/"...") stands for files that are as good as equal, not for equal bytes.
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _goes_on(headers: Message, done: int, version: str) -> bool:
    """Whether an answer is the rest of the file that was begun; not every server that knows Range knows If-Range."""
    begins = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    # Who was asked with If-Range may leave out what was named there.
    said = headers.get("ETag" if version.startswith('"') else "Last-Modified", version)
    return begins is not None and int(begins[1]) == done and said == version
