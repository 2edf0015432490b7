"""Grey, coloured and true pictures of a stretch of film, side by side, frame for frame and with its sound.

Panels have the film's own size. A network that predicts ab sees the picture at the size it was trained at; its chroma is
enlarged bilinearly and joined with the film's own lightness, which keeps every detail. A network that predicts RGB has
its whole prediction enlarged, so that it looks as soft as it is.

Reading, computing and encoding overlap: pictures are read ahead on a thread, finished frames wait for ffmpeg on another.
What a panel shows goes through OpenCV's Lab, which is several times as fast as ours and within one step of 255 of it
(tests/unit/test_render.py); no figure is ever computed from it.

A model with a memory is given every frame of the stretch in order and forgets at cuts (frames/cuts.py) and where the grey
print has no picture. It was trained at the dataset's step, on frames up to seconds apart, and here meets frames a
twenty-fourth of a second apart: what it carries on is closer to the picture than it learned, and it carries it on through
many more frames, so an error can build up that no figure of the evaluation, which is at the dataset's step, shows. Train
it with `frames.every: 1` to see it as it was trained; the log says so too.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
from torch import Tensor

from kinemacolor.colour import lab_to_rgb, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.footage import Footage, Sight
from kinemacolor.frames.cuts import CutDetector
from kinemacolor.media.encode import VideoWriter
from kinemacolor.params import RenderParams
from kinemacolor.report.panels import Grid, save_still

_log = logging.getLogger(__name__)
_BATCH = 8  # frames that go through a network together
_Item = TypeVar("_Item")


class Painter(Protocol):
    """What a comparison needs of a model; `colorize.Colorizer` is one."""

    name: str
    meta: Mapping[str, Any]
    keeps_luminance: bool
    remembers: bool

    def reset(self) -> None:
        """Forget all frames."""

    def __call__(self, lightness: Tensor, starts: Tensor | None = None, /) -> Tensor:
        """L* (B,1,H,W) -> Lab (B,3,H,W); `starts` (B,) bool, if it remembers: nothing before these frames belongs to them."""


@dataclass(frozen=True)
class Comparison:
    """What was written: frames and size of the video, and the stretch that it shows, in seconds of the colour print."""

    frames: int
    height: int
    width: int
    start: float
    seconds: float
    note: str
    """Why the stretch is not the one asked for; empty if it is."""


def compare(painters: Sequence[Painter], footage: Footage, *, params: RenderParams, out: Path, poster: Path) -> Comparison:
    """Write the video grey | each painter | truth, and a still from its middle.

    Args:
        painters: the models, in the order of their panels, captioned by their names.
        footage: see `footage.open_footage`.
        params: the stretch to show; what of it lies outside the film is left out, with a warning in the log.
        out: the video (mp4).
        poster: the still (PNG).

    Raises:
        UserError: the film has no picture in the stretch, or the disk is full.
    """
    start, end, note = clamp(params, footage.begin, footage.end)
    if note:
        _log.warning("%s: %s", footage.name, note)
    captions = [footage.captions[0], *(painter.name for painter in painters), footage.captions[1]]
    grid = Grid(captions, height=footage.height, width=footage.width, credit=footage.credit)
    rate = footage.frame_rate
    middle = int((end - start) * rate / 2)
    written, still = 0, None
    writer = VideoWriter(
        out,
        height=grid.height,
        width=grid.width,
        frame_rate=rate,
        crf=params.crf,
        audio=footage.sound,
        audio_start=start,
        audio_seconds=end - start,
    )
    frames = steady(_frames(painters, footage, grid, start, end), rate)
    with writer, contextlib.closing(ahead(frames, depth=4)) as finished:
        for written, frame in enumerate(finished, start=1):
            writer.write(frame)
            if still is None or written <= middle + 1:
                still = frame
        if still is None:
            raise UserError(
                f"{footage.name} has no picture from {start:.2f} to {end:.2f} s: correct render.start and render.seconds."
            )
    save_still(still, poster)
    return Comparison(written, grid.height, grid.width, start, float(written / rate), note)


def clamp(params: RenderParams, begin: float, end: float) -> tuple[float, float, str]:
    """The stretch of `params` that lies within `begin` to `end` seconds, and a note where that is not what was asked for.

    A stretch that lies wholly outside becomes as many seconds at the nearer end of the film.
    """
    first, last = params.start, params.start + params.seconds
    if first >= end:
        start, stop = max(begin, end - params.seconds), end
    elif last <= begin:
        start, stop = begin, min(end, begin + params.seconds)
    else:
        start, stop = max(begin, first), min(end, last)
    # A hundredth of a second is less than a frame: nobody asks for it to the letter.
    if abs(start - first) < 0.01 and abs(stop - last) < 0.01:
        return start, stop, ""
    return start, stop, (
        f"render asks for {first:g} to {last:g} s, but there are pictures from {begin:.2f} to {end:.2f} s; "
        f"shown is {start:.2f} to {stop:.2f} s"
    )  # fmt: skip


def _frames(
    painters: Sequence[Painter], footage: Footage, grid: Grid, start: float, end: float
) -> Iterator[tuple[float, np.ndarray]]:
    """Time and finished picture, (H,W,3) uint8, of every frame of the stretch."""
    shots = _Shots() if _begin_anew(painters) else None
    with contextlib.closing(ahead(footage.sights(start, end), depth=2 * _BATCH)) as sights:
        while batch := list(itertools.islice(sights, _BATCH)):
            painted = _paint(painters, footage, batch, shots)
            for sight in batch:
                canvas = grid.canvas()
                grid.cell(canvas, len(painters) + 1)[:] = sight.truth
                if sight.grey is not None:
                    grid.cell(canvas, 0)[:] = cv2.cvtColor(sight.grey, cv2.COLOR_GRAY2RGB)  # broadcasting takes 20 times as long
                    for panel, pictures in enumerate(painted, start=1):
                        enlarge(next(pictures), sight.lightness, grid.cell(canvas, panel))
                grid.caption(canvas)
                yield sight.time, canvas


def _begin_anew(painters: Sequence[Painter]) -> bool:
    """Have all painters forget what they saw; whether any of them has a memory."""
    remembering = [painter for painter in painters if painter.remembers]
    for painter in remembering:
        painter.reset()
        _log.warning("%s remembers the frame before: trained at its dataset's step, it is shown every frame here", painter.name)
    return bool(remembering)


class _Shots:
    """Says for each grey picture of a film whether nothing before it belongs to it: after a cut, a gap or another clip."""

    def __init__(self) -> None:
        self._cuts, self._gap = CutDetector(), True

    def gap(self) -> None:
        """A whole batch had no grey picture."""
        self._gap = True

    def starts(self, batch: Sequence[Sight], lightness: Tensor) -> Tensor:
        """(B,) bool for the L* (B,1,h,w) of those sights of the batch that have a grey picture."""
        found = self._cuts(lightness)
        there = 0
        for sight in batch:
            if sight.original is None:
                self._gap = True
                continue
            found[there] |= self._gap or sight.starts
            self._gap = False
            there += 1
        return found


def _paint(
    painters: Sequence[Painter], footage: Footage, batch: Sequence[Sight], shots: _Shots | None
) -> list[Iterator[np.ndarray]]:
    """Every painter's small pictures of the sights that have a grey picture: ab (h,w,2) float32, or RGB (h,w,3) uint8.

    `shots` is asked if a painter remembers.
    """
    originals = [sight.original for sight in batch if sight.original is not None]
    if not originals:
        if shots is not None:
            shots.gap()
        return [iter(()) for _ in painters]
    inputs = {height: footage.network_input(originals, height) for height in {_height(painter) for painter in painters}}
    # The same thumbnails at any size, but for rounding: one painter's is as good as another's.
    starts = None if shots is None else shots.starts(batch, inputs[max(inputs)])
    painted = []
    for painter in painters:
        shown = inputs[_height(painter)]
        lab = painter(shown, starts) if painter.remembers else painter(shown)
        small = lab[:, 1:] if painter.keeps_luminance else to_uint8(lab_to_rgb(lab))
        painted.append(iter(small.permute(0, 2, 3, 1).contiguous().numpy()))
    return painted


def _height(painter: Painter) -> int:
    """Height in pixels at which the network was trained."""
    return int(painter.meta["size"][0])


def enlarge(small: np.ndarray, lightness: np.ndarray, panel: np.ndarray) -> None:
    """Fill a panel from a network's small picture, bilinearly.

    Args:
        small: ab (h,w,2) float32, joined with `lightness` and clipped to the gamut; or RGB (h,w,3) uint8, shown as it is.
        lightness: L* (H,W) float32.
        panel: (H,W,3) uint8, written in place.
    """
    size = (lightness.shape[1], lightness.shape[0])
    large = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    if small.dtype == np.uint8:
        panel[:] = large
        return
    a, b = cv2.split(large)
    # As scikit-image: where b is so yellow that Z would be negative, Z is nought.
    b = cv2.min(b, lightness * (200 / 116) + 200 * 16 / 116)
    rgb = cv2.cvtColor(cv2.merge((lightness, a, b)), cv2.COLOR_Lab2RGB)
    panel[:] = cv2.convertScaleAbs(rgb, alpha=255)


def steady(frames: Iterable[tuple[float, _Item]], rate: Fraction) -> Iterator[_Item]:
    """Frames of whatever times as frames of a constant rate, so that picture and sound stay together.

    A film of constant rate passes frame for frame. Elsewhere a frame stays until the next is due, and of two that are due
    together the first is kept.
    """
    origin, done, last = None, 0, None
    for time, frame in frames:
        origin = time if origin is None else origin
        due = round((time - origin) * rate)
        while last is not None and done < due:
            yield last
            done += 1
        if done == due:
            yield frame
            done, last = done + 1, frame


def ahead(items: Iterable[_Item], *, depth: int) -> Iterator[_Item]:
    """The same items, made on a thread of its own up to `depth` ahead; its errors are raised here.

    Close the iterator to end the thread before the last item.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    closed = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put((kind, value), timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    break
            put("end", None)
        except BaseException as error:  # to be raised where the items are taken
            put("error", error)
        finally:
            if hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        closed.set()
        thread.join()
