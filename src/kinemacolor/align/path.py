"""What brings two prints together in time: pairs of frames in segments, each with a confidence. No method, only the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.grid import Window


@dataclass(frozen=True)
class Segment:
    """A stretch that both prints show without a break.

    Attributes:
        colour_start, colour_end: colour frames start <= n < end.
        grey_start, grey_end: grey frames from the partner of the first colour frame to after that of the last.
        speed: grey frames a colour frame: 1 where every frame has its own, 1.25 for 3:2 pulldown.
        clock: how much faster the grey print plays: seconds of the colour print a second of the grey one (1.0427 for PAL).
        alike: median correlation of the paired pictures, -1..1.
        confidence: mean over its pairs, 0..1.
    """

    colour_start: int
    colour_end: int
    grey_start: int
    grey_end: int
    speed: float
    clock: float
    alike: float
    confidence: float


@dataclass(frozen=True)
class Path:
    """Which grey frame shows the same as which colour frame. All arrays have one entry a pair, sorted by colour frame.

    Attributes:
        colour_frame, grey_frame: int64 (n,). A colour frame appears once; a grey frame may appear more than once.
        segment: int32 (n,), index into `segments`.
        alike: float32 (n,), correlation of the two tiny pictures, -1..1; NaN where one of them is flat (black).
        confidence: float32 (n,), probability that the pair is right to the frame, 0..1.
        segments: in the order of the colour print.
        correlation: of the two prints over all pairs, each print's average picture taken off, -1..1.
        share: paired frames, of the shorter print's frames (both counted at the colour print's speed), 0..1.
        window: the part of the colour picture that the grey one shows.
        votes: float32 (m, 3): what the coarse search saw: colour seconds, grey seconds, strength 0..1.
    """

    colour_frame: NDArray[np.int64]
    grey_frame: NDArray[np.int64]
    segment: NDArray[np.int32]
    alike: NDArray[np.float32]
    confidence: NDArray[np.float32]
    segments: tuple[Segment, ...]
    correlation: float
    share: float
    window: Window
    votes: NDArray[np.float32]
