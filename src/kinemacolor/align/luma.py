"""Mean luma of the cells of a grid, straight from decoded pictures.

A decoder's first plane is the luma already; only its range may have to be stretched. Lines are summed within each row of
cells by numpy, which adds bytes as fast as memory gives them, and the columns of a few pictures at a time by OpenCV on
what is left, a fortieth. Cells whose edges fall within a line or a column share it by area. What is no plain plane (RGB,
palettes, picture of few pixels) is averaged by swscale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from kinemacolor.media.decode import pixels_of

_TOGETHER = 8  # pictures
_BYTES = {
    *("gray", "nv12", "nv21", "nv16", "nv24", "yuva420p", "yuva422p", "yuva444p"),
    *("yuv410p", "yuv411p", "yuv420p", "yuv422p", "yuv440p", "yuv444p"),
    *("yuvj411p", "yuvj420p", "yuvj422p", "yuvj440p", "yuvj444p"),
}
"""Formats whose first plane is luma in bytes."""
_WORDS = {f"yuv{sampling}p{bits}le": bits for sampling in (420, 422, 444) for bits in (9, 10, 12)} | {
    **{f"p{sampling}{bits}le": 16 for sampling in (0, 2, 4) for bits in (10, 12, 16)},
    **{f"gray{bits}le": bits for bits in (9, 10, 12)},
}
"""Those in words of 16 bits, and how many of them count; the P formats fill them from the top."""


class LumaGrids:
    """Turns pictures into grids of `rows` x `columns` cells, upright, full range, 0..255."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        self._converter = VideoReformatter()

    def of(self, frames: Iterable[VideoFrame]) -> Iterator[NDArray[np.float32]]:
        """Grids (n, rows, columns) of the next few frames, in order, none left out; each its own memory.

        A film whose pictures change in size or kind half-way is taken as it comes.
        """
        batch: _Batch | None = None
        for frame in frames:
            kind = (frame.format.name, frame.width, frame.height, round(frame.rotation / 90) % 4, frame.color_range)
            if batch is None or batch.kind != kind:
                if batch is not None and batch.filled:
                    yield batch.grids()
                batch = _Batch(kind, self._rows, self._columns)
            if not batch.plain(frame):
                if batch.filled:
                    yield batch.grids()
                yield self._scaled(frame)
                continue
            batch.add(frame)
            if batch.filled == _TOGETHER:
                yield batch.grids()
        if batch is not None and batch.filled:
            yield batch.grids()

    def _scaled(self, frame: VideoFrame) -> NDArray[np.float32]:
        size = (2 * self._rows, 2 * self._columns)
        pixels = pixels_of(self._converter, frame, True, size)
        return pixels.reshape(1, self._rows, 2, self._columns, 2).sum(axis=(2, 4), dtype=np.uint16) * np.float32(0.25)


class _Batch:
    """A few pictures of one kind whose lines are summed but not yet their columns."""

    def __init__(self, kind: tuple[str, int, int, int, int], rows: int, columns: int) -> None:
        self.kind = kind
        self.filled = 0
        name, self._width, self._height, self._turns, colour_range = kind
        self._rows, self._columns = (columns, rows) if self._turns % 2 else (rows, columns)
        bits = 8 if name in _BYTES else _WORDS.get(name, 0)
        # Lines and columns are shared by area, but no cell may lie within a single one.
        self._known = bits > 0 and self._height >= 2 * self._rows and self._width >= 2 * self._columns
        if not self._known:
            return
        self._pixel = np.dtype(np.uint8 if bits == 8 else np.uint16)
        full = colour_range == ColorRange.JPEG or name.startswith("yuvj")
        # In 10 bits, black is 16 x 4 and white 235 x 4; of the full range, white is 1023.
        unit = 2.0 ** (bits - 8)
        self._black, white = (0.0, 2.0**bits - 1) if full else (16 * unit, 235 * unit)
        self._gain = 255 / (white - self._black)

        edges = np.arange(self._rows + 1) * self._height / self._rows
        self._inner = list(zip(np.ceil(edges[:-1] - 1e-9).astype(int), np.floor(edges[1:] + 1e-9).astype(int), strict=True))
        self._even = self._height % self._rows == 0
        above = np.floor(edges[1:-1] + 1e-9).astype(int)
        part = edges[1:-1] - above
        self._split = np.flatnonzero(part > 1e-6)  # the cells whose lower edge cuts a line
        self._lines, self._part = above[self._split], part[self._split, None].astype(np.float32)
        sums = np.uint16 if bits == 8 and self._height // self._rows < 256 else np.uint32
        self._sums = np.empty((_TOGETHER, self._rows, self._width), sums)
        self._cut = np.empty((_TOGETHER, len(self._split), self._width), self._pixel)

    def plain(self, frame: VideoFrame) -> bool:
        """Whether the picture's luma can be read as it lies."""
        return self._known and frame.planes[0].line_size >= self._width * self._pixel.itemsize

    def add(self, frame: VideoFrame) -> None:
        plane = frame.planes[0]
        strides = (plane.line_size, self._pixel.itemsize)
        sums = self._sums[self.filled]
        if self._even:
            step = self._height // self._rows
            strips = np.ndarray((self._rows, step, self._width), self._pixel, plane, strides=(step * strides[0], *strides))
            np.add.reduce(strips, axis=1, dtype=sums.dtype, out=sums)
        else:
            luma = np.ndarray((self._height, self._width), self._pixel, plane, strides=strides)
            for row, (first, end) in enumerate(self._inner):
                np.add.reduce(luma[first:end], axis=0, dtype=sums.dtype, out=sums[row])
            self._cut[self.filled] = luma[self._lines]
        self.filled += 1

    def grids(self) -> NDArray[np.float32]:
        """The pictures added so far, (n, rows, columns), and begin anew."""
        count, self.filled = self.filled, 0
        cells = self._narrowed(self._sums[:count])
        if len(self._split):
            cut = self._narrowed(self._cut[:count])
            above = cut * self._part
            cells[:, self._split] += above
            cells[:, self._split + 1] += cut - above
        means = cells * np.float32(self._rows / self._height)
        grids = np.clip((means - np.float32(self._black)) * np.float32(self._gain), 0, 255)
        # As ffmpeg counts the turn, anticlockwise.
        return np.ascontiguousarray(np.rot90(grids, self._turns, axes=(1, 2)))

    def _narrowed(self, lines: NDArray[np.integer]) -> NDArray[np.float32]:
        """The mean of each column of cells of (n, lines, width) -> (n, lines, columns)."""
        count, height, width = lines.shape
        flat = lines.reshape(count * height, width).astype(np.float32)
        return cv2.resize(flat, (self._columns, count * height), interpolation=cv2.INTER_AREA).reshape(
            count, height, self._columns
        )
