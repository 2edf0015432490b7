"""What the tests of taken frames share: the bytes of a folder, and a source taken in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kinemacolor.params import FramesParams
from kinemacolor.stages.frames import frames
from kinemacolor.stages.pieces import piece


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def in_pieces(video: Path, out: Path, count: int, *, threads: int = 2, of: Path | None = None, **given) -> Path:
    """The frames of a source taken in pieces, and joined as `frames` joins them.

    Args:
        out: the folder of joined frames; the pieces lie beside it unless `of` says where.
        given: of `FramesParams`; and allow_truncated and sync.
    """
    allowed = {name: given.pop(name) for name in ("allow_truncated", "sync") if name in given}
    pieces = of or out.with_name(f"{out.name}-pieces")
    for number in range(count):
        params = FramesParams(**given, pieces=count)
        piece(video, number=number, source="film", params=params, out=pieces / str(number), threads=threads, **allowed)
    frames(video, source="film", params=FramesParams(**given), out=out, pieces=pieces, **allowed)
    return out
