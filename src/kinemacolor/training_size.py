"""Footage in the frames of training: cut, fitted and shrunk as the frames stage does it, pixel for pixel.

So a panel shows what a network saw when it was trained, and what it makes of that: the middle only where `frames.fit` is crop,
squeezed where it is stretch, between bars where it is pad. Pictures are cut from what is stored, never from a panel, which is
cut to whole pixels and may have bars of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from kinemacolor.colour import grey_rgb, to_uint8
from kinemacolor.footage import Footage, Framing, Sight


class TrainingSize(Footage):
    """Another footage in the frames of training.

    Args:
        film: at its own size.
        framings: of all networks that will be shown it. Panels have the one with the most lines.
    """

    def __init__(self, film: Footage, framings: Sequence[Framing]) -> None:
        self._film, self._framings = film, list(dict.fromkeys(framings))
        self._framing = max(self._framings, key=lambda framing: framing.height)
        self.name, self.credit, self.captions = film.name, film.credit, film.captions
        self.begin, self.end, self.frame_rate, self.sound = film.begin, film.end, film.frame_rate, film.sound
        self.height, self.width = self._framing.height, self._framing.width

    def sights(self, start: float, end: float, *, whole: bool = False) -> Iterator[Sight]:
        for sight in self._film.sights(start, end, whole=True):
            cuts = {framing: self._film.cut(sight, framing) for framing in self._framings}
            truth, lightness = cuts[self._framing]
            small = sight._replace(truth=truth, inside=Sight._field_defaults["inside"], whole=sight.whole if whole else None)
            if lightness is not None:
                grey = to_uint8(grey_rgb(torch.from_numpy(lightness)[None, None]))[0, 0].numpy()
                seen = {framing: found for framing, (_, found) in cuts.items()}
                small = small._replace(grey=grey, lightness=lightness, seen=seen)
            yield small

    def seen(self, sights: Sequence[Sight], framing: Framing) -> Tensor:
        return torch.from_numpy(np.stack([sight.seen[framing] for sight in sights]))[:, None]

    def lay(self, picture: np.ndarray, name: str, sight: Sight) -> np.ndarray:
        return self._film.cut_other(picture, name, sight, self._framing)
