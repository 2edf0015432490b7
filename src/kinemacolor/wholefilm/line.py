"""The line on which a film's frames become coloured ones: the network on batches, painting, encoding, each ahead of the next.

Batches end where a segment does and where a shot begins, so that they are the same wherever the work is taken up.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from kinemacolor import cores
from kinemacolor.colorize import Colorizer
from kinemacolor.errors import UserError
from kinemacolor.frames.ahead import done_ahead
from kinemacolor.wholefilm.painting import Painter
from kinemacolor.wholefilm.reading import Sight, Stream
from kinemacolor.wholefilm.writing import Coding, Encoder, Workshop

_log = logging.getLogger(__name__)

_Predicted = tuple[Sight, NDArray[np.float32]]


def batches(sights: Iterable[Sight], size: int, segment: int) -> Iterator[list[Sight]]:
    """Frames in order, at most `size` together, never across the border of a segment or into another shot."""
    group: list[Sight] = []
    for sight in sights:
        if group and (len(group) == size or sight.place % segment == 0 or sight.starts):
            yield group
            group = []
        group.append(sight)
    if group:
        yield group


class Network:
    """A model on batches of frames, in pieces where the device's memory does not hold a whole one.

    Args:
        colorizer: the model.
        name: of the film, for messages.
    """

    def __init__(self, colorizer: Colorizer, name: str) -> None:
        self._colorizer, self._name = colorizer, name
        self._most: int | None = None

    def __call__(self, group: list[Sight]) -> NDArray[np.float32]:
        """ab (N,2,h,w) of consecutive frames.

        Raises:
            UserError: not even one frame fits into memory, or the model gives values that are no numbers.
        """
        lightness = torch.stack([sight.lightness for sight in group])
        starts = torch.tensor([sight.starts for sight in group]) if self._colorizer.remembers else None
        done, at = [], 0
        while at < len(group):
            piece = slice(at, at + min(self._most or len(group), len(group) - at))
            try:
                lab = self._colorizer(lightness[piece], None if starts is None else starts[piece])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._shrink(piece.stop - piece.start)
                continue
            if not bool(torch.isfinite(lab).all()):
                raise UserError(
                    f"The model {self._colorizer.name} gives values that are no numbers (frame {group[at].number} of {self._name} "
                    "or one after it): train it again with a lower learning rate."
                )
            done.append(lab[:, 1:].cpu().numpy())
            at = piece.stop
        return np.concatenate(done)

    def _shrink(self, tried: int) -> None:
        height_width = "x".join(map(str, self._colorizer.meta.get("size", ())))
        if tried == 1:
            raise UserError(
                f"The memory of {self._colorizer.device} does not hold {self._colorizer.name} and one frame of {self._name}: "
                f"free some of it, or colour on the CPU with --device cpu (the model was trained at {height_width})."
            )
        self._most = max(1, tried // 2)
        if self._colorizer.device.type == "cuda":
            torch.cuda.empty_cache()
        _log.warning("out of memory on %s with %d frames together: going on with %d", self._colorizer.device, tried, self._most)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left; torch tells of the latter in words alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def run(
    sights: Iterable[Sight],
    colorizer: Colorizer,
    painter: Callable[[], Painter],
    workshop: Workshop,
    stream: Stream,
    coding: Coding,
    *,
    batch: int,
    segment: int,
    progress: Callable[[Sight], None] = lambda sight: None,
) -> None:
    """Colour frames and keep them in segments.

    Args:
        sights: the film from the first frame that is not coloured, or, for a network with a memory, from where its shot begins.
        painter: makes the painter; called when the first frame is there.
        workshop: where segments are kept; what it has already is not coloured again.
        progress: is told of every frame that was encoded.
    """
    network = Network(colorizer, stream.path.name)
    first = workshop.place
    workers = 1 if colorizer.remembers else 2 if colorizer.device.type == "cuda" else cores.usable()
    made: list[Painter] = []

    def tasks(groups: Iterable[tuple[list[Sight], NDArray[np.float32]]]) -> Iterator[_Predicted]:
        for group, ab in groups:
            if not made:
                made.append(painter())
            yield from (task for task in zip(group, ab, strict=True) if task[0].place >= first)

    def paint(task: _Predicted) -> VideoFrame:
        return made[0](*task)

    with contextlib.ExitStack() as stack:
        groups = done_ahead(batches(sights, batch, segment), network, workers=workers)
        stack.callback(groups.close)
        painted = done_ahead(tasks(groups), paint, workers=cores.usable())
        stack.callback(painted.close)
        current: _Current | None = None
        for (sight, ab), frame in painted:
            if current is None:
                current = _Current(sight, Encoder(coding, made[0].look, stream.base, stream.rate))
            current.add(sight, ab, frame)
            progress(sight)
            if (sight.place + 1) % segment == 0:
                current.keep(workshop)
                current = None
        if current is not None:
            current.keep(workshop)


class _Current:
    """The segment that is being encoded."""

    def __init__(self, first: Sight, encoder: Encoder) -> None:
        self._first, self._last, self._encoder = first, first, encoder
        self._frames, self._chroma = 0, 0.0

    def add(self, sight: Sight, ab: NDArray[np.float32], frame: VideoFrame) -> None:
        self._encoder.add(frame, sight.duration)
        self._last = sight
        self._frames += 1
        self._chroma += float(np.sqrt(np.square(ab).sum(axis=0)).mean())

    def keep(self, workshop: Workshop) -> None:
        facts = {
            "number": self._first.number,
            "place": self._first.place,
            "frames": self._frames,
            "after": self._last.number + 1,
            "shot": list(self._last.shot),
            "chroma": self._chroma / self._frames,
        }
        workshop.add(facts, self._encoder.finish())
