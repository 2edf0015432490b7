"""The film frames that an edit asks for, each with the shot that it belongs to.

A colourist paints shot by shot. What is asked for has gaps (frames dropped, removed, left out for a lower rate), so every
frame that is passed over is looked at as well: a gap inside a shot begins no other one, and a cut inside a gap does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from kinemacolor.errors import UserError
from kinemacolor.media.darkroom import tiny_luma
from kinemacolor.media.stretch import frames_from

_JUMP = 240  # film frames left out from which on seeking is quicker than decoding them
_CUT = 22  # mean change of luma codes from one film frame to the next that is taken for a cut
_ELSEWHERE = 24  # film frames: what is further away is another place of the film, whatever it looks like


def film_frames(film: Path, numbers: Iterable[int]) -> Iterator[tuple[VideoFrame, int]]:
    """The film frames of `numbers`, in that order, each with the film frame at which its shot begins here.

    A shot begins at a cut, and where the film jumps by more than a second.

    Raises:
        UserError: one of them cannot be decoded.
    """
    frames, at = frames_from(film, 0), -1
    frame, tiny, shot = None, None, 0
    for wanted in map(int, numbers):
        if wanted == at:  # again, after something of the print's own
            yield frame, shot
            continue
        before = at
        if wanted <= at or wanted > at + _JUMP:
            frames.close()
            frames = frames_from(film, wanted)
        if tiny is None or abs(wanted - before) > _ELSEWHERE:
            tiny, shot = None, wanted
        for at, frame in frames:
            if tiny is not None or at >= wanted:
                seen = tiny_luma(frame)
                if tiny is not None and np.abs(seen - tiny).mean() > _CUT:
                    shot = at
                tiny = seen
            if at >= wanted:
                break
        else:
            at = -1
        if at != wanted:
            raise UserError(
                f"Frame {wanted} of {film} cannot be decoded (the film is damaged there): leave it out by recipe.remove, or "
                "fetch the film again."
            )
        yield frame, shot
