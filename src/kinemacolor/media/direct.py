"""Get one plain file from a web address: an archive, where yt-dlp would look for a video.

What is half fetched stays beside the target, and the next attempt, or the next run, goes on from it.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

import kinemacolor
from kinemacolor.errors import UserError, full_disk
from kinemacolor.files import is_full_disk
from kinemacolor.media.progress import shown

_ATTEMPTS = 5
_BLOCK = 1 << 20
_TIMEOUT = 30  # seconds without a byte


def fetch_file(url: str, target: Path, *, key: str | None) -> Path:
    """Fetch `url` into `target` and return it; a target that is there already is taken as it is.

    Proxies and certificates are those of the environment. Redirections lead to http, https or ftp only, never to a local file.

    Args:
        key: where the address stands in params.yaml, for error messages; None if it stands nowhere.

    Raises:
        UserError: it cannot be fetched, or the disk is full.
    """
    part = target.with_name(target.name + ".part")
    reason = ""
    with shown(f"download {key or url}") as progress:
        for _ in range(_ATTEMPTS):
            if target.is_file():
                break
            done = part.stat().st_size if part.is_file() else 0
            headers = {"User-Agent": f"kinemacolor/{kinemacolor.__version__}", "Accept-Encoding": "identity"}
            request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={done}-"} if done else {}))
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
                    done = done if response.status == 206 else 0
                    length = response.headers.get("Content-Length")
                    total = done + int(length) if length else None
                    with open(part, "ab" if done else "wb") as file:
                        while block := response.read(_BLOCK):
                            file.write(block)
                            done += len(block)
                            progress(done, total)
                if total is None or done == total:
                    os.replace(part, target)
                reason = f"it broke off after {done} of {total} bytes"
            except urllib.error.HTTPError as error:
                if error.code == 416:  # no such range: what is here is not a beginning of what is there
                    part.unlink()
                    continue
                reason = f"HTTP Error {error.code}: {error.reason}"
                break
            except (OSError, http.client.HTTPException) as error:
                if is_full_disk(error):
                    raise full_disk(target) from error
                reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        if not target.is_file():
            setting = f"{key}.url" if key else "the address"
            raise UserError(f"{url} could not be fetched ({reason}): correct {setting}, or run again to go on.")
    return target
