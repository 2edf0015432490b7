"""Fetch one archive of a package from the Python package index, running none of the package's code.

`pip download` will not do: to learn a source archive's dependencies it runs the package's own build script, even with
--no-deps. So pip is asked only for what it knows best, which is where the file lies and how to get it: its finder and its
session carry the user's indexes, links, certificates, proxies and passwords. They are pip's internals; this module, run as
a program, uses them in a process of its own, and should a later pip have changed them, `download_archive` falls back to
`pip download`.

    python -m kinemacolor.media.index_client PACKAGE VERSION sdist|wheel TARGET
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from kinemacolor.errors import UserError, full_disk

_NOT_FOUND, _CHANGED, _FAILED, _FULL = 3, 4, 5, 6  # exit statuses of the program
_ATTEMPTS = 5
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")


def download_archive(
    package: str,
    version: str,
    archive: Literal["sdist", "wheel"],
    folder: Path,
    *,
    key: str,
    sha256: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Path:
    """Return the archive of exactly this version, in `folder`; one that is there already is taken as it is.

    Args:
        key: where the package stands in params.yaml, for error messages.
        sha256: of the archive. Checked here only where pip is to run its code; otherwise the caller's business.
        progress: called with bytes done and bytes in all.

    Raises:
        UserError: there is no such archive, the index cannot be reached, or the disk is full.
    """
    # Both become part of a path and of a command line.
    if not _PACKAGE.fullmatch(package):
        raise UserError(f"{key}.package {package!r} is no name of a package: correct it.")
    if not _VERSION.fullmatch(version):
        raise UserError(f"{key}.version {version!r} is no version: correct it.")
    target = folder / f"{package}-{version}.{archive}"
    if target.is_file():
        return target
    command = [sys.executable, "-m", __name__, package, version, archive, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        told: dict[str, Any] = {}
        for line in process.stdout:
            told = json.loads(line)
            if progress and "done" in told:
                progress(told["done"], told["total"])
    reason = told.get("reason") or "it gave no reason"
    if process.returncode == 0:
        return target
    if process.returncode == _FULL:
        raise full_disk(target)
    if process.returncode == _NOT_FOUND:
        raise UserError(
            f"The package index offers no {archive} of {package} {version} ({reason}): correct {key}, or check the network."
        )
    if process.returncode == _FAILED:
        raise UserError(
            f"{package} {version} of {key} could not be fetched ({reason}): check the network and run again to go on."
        )
    _pip_download(package, version, archive, target, key=key, sha256=sha256)
    return target


def _pip_download(package: str, version: str, archive: str, target: Path, *, key: str, sha256: str | None) -> None:
    """The way round a pip whose inside is not known: its own command, which runs a source archive's build script.

    It runs that script only after it has compared the archive with the hash; without one, no source archive is taken.
    """
    if archive == "sdist" and sha256 is None:
        raise UserError(f"This version of pip would run the code of {package} unchecked: set {key}.archive_sha256.")
    binary = "--no-binary" if archive == "sdist" else "--only-binary"
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(f"{package}=={version}" + (f" --hash=sha256:{sha256}\n" if sha256 else "\n"), encoding="utf-8")
        found = Path(scratch) / "found"
        options = ["--no-deps", "--no-input", "--quiet", "--disable-pip-version-check", binary, package]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(found), "--requirement", str(wanted)]
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if ended.returncode != 0:
            if "No space left" in ended.stderr:
                raise full_disk(target)
            lines = [line for line in ended.stderr.splitlines() if "ERROR" in line] or ended.stderr.splitlines() or ["no message"]
            raise UserError(
                f"pip could not fetch {package} {version} of {key} ({lines[-1].strip()}): correct {key} or run again."
            )
        os.replace(next(found.iterdir()), target)


# ------------------------------------------------------------------------------------------------- the program


def main(package: str, version: str, archive: str, target: Path) -> int:
    """Find the archive, fetch it into `target`, and tell of it in lines of JSON: {"done", "total"} or {"reason"}."""
    failures = _Failures()
    logging.getLogger("pip").addHandler(failures)
    logging.getLogger("pip").setLevel(logging.DEBUG)
    logging.getLogger("pip").propagate = False
    try:
        from pip._internal.commands.download import DownloadCommand
        from pip._vendor.packaging.specifiers import SpecifierSet

        command = DownloadCommand("download", "")
        binary = "--no-binary" if archive == "sdist" else "--only-binary"
        # What is wanted is data: a file for another Python will do.
        options, _ = command.parse_args(["--no-deps", "--no-input", "--ignore-requires-python", binary, package, package])
        with command.main_context():
            session = command.get_default_session(options)
            finder = command._build_package_finder(options, session)
            best = finder.find_best_candidate(package, SpecifierSet(f"=={version}")).best_candidate
            if best is None:
                _tell(reason=failures.last or "neither at the index nor at the other places pip knows")
                return _NOT_FOUND
            reason = _download(session, best.link.url_without_fragment, target)
    except (ImportError, AttributeError, TypeError):
        return _CHANGED
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return _FULL
    if reason is not None:
        _tell(reason=reason)
        return _FAILED
    return 0


def _download(session: Any, url: str, target: Path) -> str | None:
    """Fetch `url` into `target`, going on where an earlier attempt, or an earlier run, broke off; None, or what failed."""
    part = target.with_name(target.name + ".part")
    reason = ""
    for _ in range(_ATTEMPTS):
        done = part.stat().st_size if part.is_file() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
        try:
            with session.get(url, headers=headers, stream=True) as response:
                if response.status_code == 416:  # no such range: what is here is not a beginning of what is there
                    part.unlink()
                    continue
                if response.status_code >= 400:
                    return f"{url} answers {response.status_code}"
                done = done if response.status_code == 206 else 0
                length = response.headers.get("Content-Length")
                total = done + int(length) if length else None
                with open(part, "ab" if done else "wb") as file:
                    for block in response.iter_content(1 << 16):
                        file.write(block)
                        done += len(block)
                        _tell(done=done, total=total)
            if total is None or done == total:
                os.replace(part, target)
                return None
            reason = f"{url} broke off after {done} of {total} bytes"
        except OSError as error:  # requests' errors are OSErrors too
            if error.errno == errno.ENOSPC:
                raise
            reason = f"{url} broke off after {done} bytes: {type(error).__name__}"
    return reason


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


class _Failures(logging.Handler):
    """Keeps why pip's finder passed over an index, which it says in its log alone."""

    last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Could not fetch URL"):
            self.last = message.removesuffix(" - skipping")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])))
