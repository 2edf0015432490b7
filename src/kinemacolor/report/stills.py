"""Stills of a stretch of film, each picture of a moment by itself, so that a page can wipe between any two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kinemacolor.files import atomic_folder, canonical_json
from kinemacolor.report.layouts import Fill
from kinemacolor.report.panels import jpeg_of

INDEX = "stills.json"
"""The file of a folder of stills that says what the others are."""
MOMENTS = 6
"""Moments of a stretch that are kept, where it has as many frames."""


class Album:
    """Keeps the pictures of `MOMENTS` moments, spread evenly over a stretch, as JPEG files.

    Args:
        names: of the pictures, counted as `Fill` counts them.
        start, end: of the stretch, in seconds.
        height, width: of the pictures in pixels; wider ones than 960 are shrunk.
        shown: what a page should know of the video beside them, such as its layout.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        start: float,
        end: float,
        height: int,
        width: int,
        shown: Mapping[str, str] | None = None,
    ) -> None:
        self._names, self._size, self._shown = names, (height, width), dict(shown or {})
        self._due = [start + (end - start) * (moment + 0.5) / MOMENTS for moment in range(MOMENTS)]
        self._moments: list[dict[str, Any]] = []
        self._files: dict[str, bytes] = {}

    def look(self, seconds: float, fill: Fill) -> None:
        """Show a moment, in the order of time; it is kept if one is due."""
        if not self._due or seconds < self._due[0] - 1e-6:
            return
        self._due = [due for due in self._due if due > seconds + 1e-6]
        panels = {}
        for number, name in enumerate(self._names):
            panel = np.empty((*self._size, 3), np.uint8)
            fill(number, panel)
            panels[name] = f"{len(self._moments) + 1}-{number}.jpg"
            self._files[panels[name]] = jpeg_of(panel)
        self._moments.append({"time": round(seconds, 3), "panels": panels})

    def write(self, folder: Path) -> None:
        """Write what was kept, whole or not at all: the files, and {"moments": [{"time": ..., "panels": {name: file}}]}.

        What the video is like stands beside "moments".
        """
        with atomic_folder(folder, marker=INDEX) as temporary:
            for name, data in self._files.items():
                (temporary / name).write_bytes(data)
            (temporary / INDEX).write_text(canonical_json({**self._shown, "moments": self._moments}), encoding="utf-8")
