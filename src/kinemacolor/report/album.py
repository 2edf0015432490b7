"""The folder of the page's own pictures: what is small and belongs into git, whole or not at all."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from kinemacolor.files import atomic_file, atomic_folder
from kinemacolor.report.plots import Curves, save_curves, small_copy

_MARKER = "made-by-kinemacolor.txt"
_QUALITIES = (88, 80, 70, 60, 50)

STILLS = 900_000
"""Bytes that the stills of a dataset may take together."""
STILL_WIDTH = 640
_NARROWEST = 64  # pixels; less would show nothing


class Album:
    """Pictures to be copied or drawn into `folder`; none lies there before `write`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._copies: dict[str, Path] = {}
        self._stills: dict[str, tuple[Path, int]] = {}
        self._drawn: dict[str, Callable[[Path], None]] = {}

    def copy(self, picture: Path, name: str) -> Path | None:
        """Where the copy of `picture`, a PNG, will lie; None if there is no such picture."""
        if not picture.is_file():
            return None
        self._copies[name] = picture
        return self.folder / name

    def still(self, picture: Path, name: str, *, limit: int) -> Path:
        """Where a small copy of `picture` as JPEG will lie, of at most `limit` bytes."""
        self._stills[name] = (picture, limit)
        return self.folder / name

    def draw(self, name: str, drawing: Callable[[Path], None]) -> Path:
        """Where what `drawing` writes, a PNG at the path that it is given, will lie."""
        self._drawn[name] = drawing
        return self.folder / name

    def write(self, curves: Mapping[str, Curves], colour: Mapping[str, str]) -> None:
        """Write the pictures, and <dataset>/curves.png."""
        with atomic_folder(self.folder, marker=_MARKER) as folder:
            (folder / _MARKER).write_text("Made by `kinemacolor report`, which replaces this folder.\n", encoding="utf-8")
            for name, picture in self._copies.items():
                small_copy(picture, folder / name)
            for name, (picture, limit) in self._stills.items():
                small_still(picture, folder / name, limit=limit)
            for name, drawing in self._drawn.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                drawing(folder / name)
            for dataset, drawn in curves.items():
                save_curves(drawn, colour, folder / dataset / "curves.png")


def small_still(picture: Path, out: Path, *, limit: int, width: int = STILL_WIDTH) -> None:
    """Copy a picture as JPEG, at most `width` wide, its colours at full resolution, since they are what it shows.

    Args:
        picture: what Pillow reads.
        out: the JPEG.
        limit: its bytes. As much quality goes as that takes, from 88 down to 50, then width, down to 64 pixels, at which it
            may be larger.
        width: in pixels.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(picture) as image:
        if image.format == "JPEG" and image.width <= width and picture.stat().st_size <= limit:
            shutil.copyfile(picture, out)
            return
        still = image.convert("RGB")
    width = min(width, still.width)
    while len(data := _coded(still, width, limit)) > limit and width > _NARROWEST:
        # Bytes go about with the pixels; the step is bounded, since they do so only about.
        width = max(_NARROWEST, round(width * min(0.9, max(0.5, math.sqrt(limit / len(data))))))
    with atomic_file(out) as temporary:
        temporary.write_bytes(data)


def _coded(picture: Image.Image, width: int, limit: int) -> bytes:
    """A picture as JPEG of a width, in the best quality that `limit` bytes allow, or the least."""
    if picture.width != width:
        picture = picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)
    for quality in _QUALITIES:
        data = _jpeg(picture, quality)
        if len(data) <= limit:
            break
    return data


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    for optimize in (True, False):  # to optimize, Pillow holds as many bytes as the picture has pixels; noise takes more
        target = io.BytesIO()
        with contextlib.suppress(OSError):
            picture.save(target, format="JPEG", quality=quality, subsampling=0, optimize=optimize)
            break
    return target.getvalue()
