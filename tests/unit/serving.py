"""What the tests of downloading share: a server on 127.0.0.1 that can fail in known ways, and archives made in memory."""

from __future__ import annotations

import hashlib
import html
import http.server
import io
import re
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import ClassVar


class Server(http.server.ThreadingHTTPServer):
    """Serves what is put into `files`, with ranges, and writes down what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks_off: set[str] = set()
        """Whoever asks for one of these from its beginning gets half of it and a closed connection."""
        self.stalls: set[str] = set()
        """Whoever asks for one of these from its beginning gets half of it and then nothing more."""
        self.fails: dict[str, int] = {}
        """Whoever asks for one of these gets this status, however often."""
        self.refused: dict[str, int] = {}
        """How often each path was asked for in vain."""
        self.ends = threading.Event()
        self.marks = "ETag"
        """The header that says which file it is: ETag, a weak ETag (W/), Last-Modified, or none."""
        self.heeds_conditions = True
        """Whether it knows If-Range."""
        self.ranges: dict[str, list[int]] = {}
        """Where each request for a path began, in order."""

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are nothing to report."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    types: ClassVar = {".mp4": "video/mp4", ".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".txt": "text/plain"}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        if content is None or self.path in self.server.fails:
            self.server.refused[self.path] = self.server.refused.get(self.path, 0) + 1
            self.send_error(self.server.fails.get(self.path, 404))
            return
        mark = {"ETag": '"{}"', "W/": 'W/"{}"', "Last-Modified": "{}", "none": ""}[self.server.marks]
        mark = mark.format(hashlib.sha256(content).hexdigest()[:12])
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.server.heeds_conditions and self.headers.get("If-Range", mark) != mark:
            wanted = None
        first = int(wanted[1]) if wanted else 0
        self.server.ranges.setdefault(self.path, []).append(first)
        body = content[first : int(wanted[2]) + 1 if wanted and wanted[2] else None]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", self.types.get(Path(self.path).suffix, "text/html"))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        if mark:
            self.send_header("Last-Modified" if self.server.marks == "Last-Modified" else "ETag", mark)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        half = first == 0 and self.path in self.server.breaks_off | self.server.stalls
        try:
            self.wfile.write(body[: len(body) // 2] if half else body)
            self.wfile.flush()
        except ConnectionError:  # the client has seen enough
            self.close_connection = True
        if half:
            self.close_connection = True
            if self.path in self.server.stalls:
                self.server.ends.wait()

    def log_message(self, *_: object) -> None: ...


def publish(server: Server, package: str, files: dict[str, bytes]) -> None:
    """Put files onto the server's index, PEP 503."""
    links = [f'<a href="/files/{html.escape(name)}">{html.escape(name)}</a>' for name in files]
    server.files[f"/simple/{package}/"] = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
    server.files |= {f"/files/{name}": content for name, content in files.items()}


def zipped(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, to in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, to
            archive.addfile(entry)
    return stream.getvalue()
