"""Grey, coloured and true pictures of a stretch of film in one video, frame for frame and with its sound.

How they stand together is the layout's matter (report/layouts.py): side by side, one above the other, or one wiped over the
other. Panels have the film's own size, or that of training. At the film's size a network that predicts ab sees the picture at
the size it was trained at; its chroma is enlarged bilinearly and joined with the film's own lightness, which keeps every
detail. A network that predicts RGB has its whole prediction enlarged, so that it looks as soft as it is. There a network sees
the whole picture in its own shape, at the number of lines that it was trained at, also where training cut frames to another
shape (`fit: crop`, `stretch`, `pad`). At the training size it sees frames cut as those of training were, and panels show them
and what it makes of them, pixel for pixel, each pixel enlarged to a square so that a person can see it.

Reading, computing and encoding overlap: pictures are read ahead on a thread, finished frames wait for ffmpeg on another.
What a panel shows goes through kernels of its own (report/painting_kernels.py), several times as fast as colour.py and within
one step of 255 of it (tests/unit/test_render.py). The PSNR in a caption is that of the picture as it is shown, without bars that
we put around it, against the truth at the same size; no other figure is computed from it.

Networks compute with a fixed number of threads: sums round differently with another, and equal inputs are to give equal bytes
whatever `--cores` says.

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from kinemacolor import cores
from kinemacolor.colour import lab_to_rgb, to_uint8
from kinemacolor.compiled import in_slabs
from kinemacolor.errors import UserError
from kinemacolor.files import refuse_foreign
from kinemacolor.footage import Footage, Sight
from kinemacolor.frames.cuts import CutDetector
from kinemacolor.media.encode import VideoWriter
from kinemacolor.media.numbered import Numbered, open_numbered
from kinemacolor.media.pace import ahead, steady
from kinemacolor.params import RenderParams
from kinemacolor.placing import Framing
from kinemacolor.report.layouts import Grid, Label, Layout, Wipe
from kinemacolor.report.panels import save_still
from kinemacolor.report.segments import clock_words
from kinemacolor.report.stills import INDEX, Album
from kinemacolor.training_size import TrainingSize

_log = logging.getLogger(__name__)
_BATCH = 8  # frames that go through a network together
_SEEN = 360  # lines of a panel, about, to which pictures of the training size are enlarged
_EQUAL = 99.95  # dB from which pictures count as equal
_ROWS = 64  # of a panel that one thread paints at a time
_THREADS = 2  # of networks: more of them help little at the sizes of training


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


def compare(
    painters: Sequence[Painter],
    footage: Footage,
    *,
    params: RenderParams,
    out: Path,
    poster: Path,
    stills: Path | None = None,
    external: Mapping[str, Path] | None = None,
) -> Comparison:
    """Write the video of grey, each painter, each external result and truth, and a still from its middle.

    Args:
        painters: the models, in the order of their panels, captioned by their names.
        footage: see `footage.open_footage`.
        params: the stretch to show; what of it lies outside the film is left out, with a warning in the log.
        out: the video (mp4).
        poster: the still (PNG).
        stills: a folder for the pictures of six moments of the stretch (report/stills.py), named `grey`, by their painters or
            external results, and `truth`. Moments at which there is no grey picture are left out.
        external: name -> a video or a folder of numbered pictures (media/numbered.py), the film as another program coloured
            it: picture n is frame n of the grey print, or of the film that is its own.

    Raises:
        UserError: the film has no picture in the stretch, an external result lacks one, two panels have one name, or the disk
            is full.
    """
    names = ["grey", *(painter.name for painter in painters), *(external or {}), "truth"]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"Two panels would be called {twice!r}: rename one of the models' folders or external results.")
    others = [open_numbered(path) for path in (external or {}).values()]
    if stills is not None:
        refuse_foreign(stills, marker=INDEX)
    zoom = 1
    if params.size == "training":
        footage = TrainingSize(footage, list(map(_framing, painters)))
        zoom = max(1, round(_SEEN / footage.height))
    start, end, note = clamp(params, footage.begin, footage.end)
    if note:
        _log.warning("%s: %s", footage.name, note)
    captions = [footage.captions[0], *names[1:-1], footage.captions[1]]
    layout = _layout(params, captions, footage, zoom, end - start)
    rate = footage.frame_rate
    middle = int((end - start) * rate / 2)
    written, still = 0, None
    size = {"height": zoom * footage.height, "width": zoom * footage.width}
    told = {"layout": params.layout, "size": params.size}
    album = None if stills is None else Album(names, start=start, end=end, shown=told, **size)
    writer = VideoWriter(
        out,
        height=layout.height,
        width=layout.width,
        frame_rate=rate,
        crf=params.crf,
        audio=footage.sound,
        audio_start=start,
        audio_seconds=end - start,
        compiled=True,
        credit=footage.credit,
    )
    pictures = _frames(painters, others, footage, layout, zoom, start, end, album)
    frames = steady(pictures, rate, start=start, end=end)
    with _fixed_threads(), writer, contextlib.closing(ahead(frames, depth=4)) as finished:
        for written, frame in enumerate(finished, start=1):
            writer.write(frame)
            if still is None or written <= middle + 1:
                still = frame
        if still is None:
            raise UserError(
                f"{footage.name} has no picture from {start:.2f} to {end:.2f} s: correct render.start and render.seconds."
            )
    save_still(still, poster)
    if album is not None:
        album.write(stills)
    return Comparison(written, layout.height, layout.width, start, float(written / rate), note)


@contextlib.contextmanager
def _fixed_threads() -> Iterator[None]:
    """Has networks compute with `_THREADS` threads, on whatever thread they are called."""
    before = torch.get_num_threads()
    torch.set_num_threads(_THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _layout(params: RenderParams, captions: Sequence[str], footage: Footage, zoom: int, seconds: float) -> Layout:
    """The layout that was asked for, of panels `zoom` times the footage's size."""
    clock = "0:00:00.00" if footage.end >= 3600 else "00:00.00"
    labels = [*(Label(words, "00.0 dB") for words in captions[:-1]), Label(captions[-1])]
    size = {"height": zoom * footage.height, "width": zoom * footage.width}
    if params.layout == "wipe":
        return Wipe(labels, seconds=seconds, clock=clock, **size)
    truth = len(labels) - 1
    labels[truth] = Label(captions[-1], clock)
    if params.layout == "over":
        return Grid(labels, columns=1, order=[truth, *range(1, truth)], clock=truth, **size)
    return Grid(labels, clock=truth, credit=footage.credit, **size)


def clamp(params: RenderParams, begin: float, end: float) -> tuple[float, float, str]:
    """The stretch of `params` that lies within `begin` to `end` seconds, and a note where that is not what was asked for.

    A stretch that lies wholly outside becomes as many seconds at the nearer end of the film.
    """
    whole = params.seconds is None
    seconds = end - begin if whole else params.seconds
    first, last = params.start, max(params.start, end) if whole else params.start + seconds
    if first >= end:
        start, stop = max(begin, end - seconds), end
    elif last <= begin:
        start, stop = begin, min(end, begin + seconds)
    else:
        start, stop = max(begin, first), min(end, last)
    # A hundredth of a second is less than a frame: nobody asks for it to the letter. The whole film is all that there is of it.
    if (whole and first < end) or (abs(start - first) < 0.01 and abs(stop - last) < 0.01):
        return start, stop, ""
    asked = f"all from {first:g} s on" if whole else f"{first:g} to {last:g} s"
    return start, stop, (
        f"render asks for {asked}, but there are pictures from {begin:.2f} to {end:.2f} s; "
        f"shown is {start:.2f} to {stop:.2f} s"
    )  # fmt: skip


def _frames(
    painters: Sequence[Painter],
    others: Sequence[Numbered],
    footage: Footage,
    layout: Layout,
    zoom: int,
    start: float,
    end: float,
    album: Album | None,
) -> Iterator[tuple[float, np.ndarray]]:
    """Time and finished picture, (H,W,3) uint8, of every frame of the stretch."""
    torch.set_num_threads(_THREADS)  # OpenMP counts for each thread by itself, and this runs on one of its own
    shots = _Shots() if _begin_anew(painters) else None
    with contextlib.closing(ahead(footage.sights(start, end), depth=2 * _BATCH)) as sights:
        while batch := list(itertools.islice(sights, _BATCH)):
            painted = _paint(painters, footage, batch, shots)
            for sight in batch:
                small = [] if sight.grey is None else [next(pictures) for pictures in painted]
                fill = _Moment(footage, sight, small, others, len(painters) + len(others) + 1, zoom).fill
                if album is not None and sight.grey is not None:
                    album.look(sight.time, fill)
                yield sight.time, layout.picture(fill, seconds=sight.time - start, clock=clock_words(sight.time))


@dataclass(frozen=True)
class _Moment:
    """One moment of the film as all have painted it."""

    footage: Footage
    sight: Sight
    painted: Sequence[np.ndarray]
    """Small pictures of the painters, as `enlarge` takes them; none without a grey picture."""
    others: Sequence[Numbered]
    truth: int
    """The number of the true picture; grey is 0, and between them stand painters and external results."""
    zoom: int

    def fill(self, number: int, panel: np.ndarray) -> str:
        """Fill a panel (h,w,3) with picture `number`, black where there is no grey one, and say how near it comes to the truth."""
        if self.zoom == 1:
            return self._fill(number, panel)
        height, width = panel.shape[0] // self.zoom, panel.shape[1] // self.zoom
        small = np.empty((height, width, 3), np.uint8)
        figures = self._fill(number, small)
        panel[:] = cv2.resize(small, (panel.shape[1], panel.shape[0]), interpolation=cv2.INTER_NEAREST)
        return figures

    def _fill(self, number: int, panel: np.ndarray) -> str:
        sight = self.sight
        if number == self.truth:
            panel[:] = sight.truth
            return ""
        if sight.grey is None:
            panel[:] = 0
            return ""
        if number == 0:
            panel[:] = cv2.cvtColor(sight.grey, cv2.COLOR_GRAY2RGB)  # broadcasting takes 20 times as long
        elif number <= len(self.painted):
            enlarge(self.painted[number - 1], sight.lightness, panel)
        else:
            other = self.others[number - 1 - len(self.painted)]
            panel[:] = self.footage.lay(other.picture(sight.number), str(other.path), sight)
        psnr = cv2.PSNR(panel[sight.inside], sight.truth[sight.inside])
        return f"{psnr:.1f} dB" if psnr < _EQUAL else "equal"


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
    there = [sight for sight in batch if sight.original is not None]
    if not there:
        if shots is not None:
            shots.gap()
        return [iter(()) for _ in painters]
    inputs = {framing: footage.seen(there, framing) for framing in dict.fromkeys(map(_framing, painters))}
    # The same thumbnails at any size, but for rounding: one painter's is as good as another's.
    starts = None if shots is None else shots.starts(batch, inputs[max(inputs)])
    painted = []
    for painter in painters:
        shown = inputs[_framing(painter)]
        lab = painter(shown, starts) if painter.remembers else painter(shown)
        small = lab[:, 1:] if painter.keeps_luminance else to_uint8(lab_to_rgb(lab))
        painted.append(iter(small.permute(0, 2, 3, 1).contiguous().numpy()))
    return painted


def _framing(painter: Painter) -> Framing:
    """How the frames were cut that the network was trained on."""
    height, width = map(int, painter.meta["size"])
    return Framing(height, width, str(painter.meta.get("fit", "crop")))


def enlarge(small: np.ndarray, lightness: np.ndarray, panel: np.ndarray) -> None:
    """Fill a panel from a network's small picture, bilinearly.

    Args:
        small: ab (h,w,2) float32, joined with `lightness` and clipped to the gamut; or RGB (h,w,3) uint8, shown as it is.
        lightness: L* (H,W) float32.
        panel: (H,W,3) uint8, written in place.
    """
    height, width = lightness.shape
    if small.dtype == np.uint8:
        panel[:] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        return
    from kinemacolor.report.painting_kernels import paint  # numba takes half a second to import

    small, lightness = np.ascontiguousarray(small, np.float32), np.ascontiguousarray(lightness)
    large = np.empty((height, width * 3), np.uint8)
    in_slabs(lambda begin, end: paint(small, lightness, large, begin, end), height, slab=_ROWS, threads=cores.usable())
    panel[:] = large.reshape(height, width, 3)
