"""Why a frame is left out, by what was measured of it and of its neighbours: grey, black, white, or within a fade. Ours."""

from __future__ import annotations

import numpy as np

from kinemacolor.frames.grey import Look
from kinemacolor.params import FilterParams

_SHOWS = 10.0
"""Colour (Lab units) with which a dark frame is not black."""
_CLEARLY = 0.1
"""Share of the picture in clear colour from which a frame speaks for a film in colour; subtitles and a logo have less."""
HUE = 5.0
"""Mean chroma (Lab units) from which a frame is tinted, or of one hue, rather than plainly grey."""


def reasons(look: Look, begins: np.ndarray, params: FilterParams, *, is_film: bool) -> np.ndarray:
    """Why each frame is left out; an empty string for one that stays.

    Black and white are asked first and fades before grey: a black frame is grey too, and its darkness is the better reason.
    A lamp in the dark is not black, however dark the rest. Where much of a film is clearly in colour, frames of one hue are
    no tint (`FilterParams.one_hue`).

    Args:
        look: of frames of one source in the order of its index.
        begins: (N,) bool, a film or clip begins at this frame, whose neighbour before it tells nothing.
        params: thresholds.
        is_film: the frames belong together, and one tells about another.

    Returns:
        (N,) of `black`, `white`, `fade`, `grey` and ``.
    """
    black = (look.lightness < params.black) & (look.colour < _SHOWS)
    white = look.lightness > params.white
    grey = look.colour < params.grey
    lit = ~(black | white)
    clear = (look.area >= _CLEARLY) & ~grey
    if is_film and clear[lit].sum() >= params.one_hue * lit.sum() > 0:
        grey &= look.mean_chroma < HUE
    found = np.full(len(begins), "", dtype=object)
    found[grey] = "grey"
    found[fading(look.lightness, look.spread, black | white, begins, below=params.fade)] = "fade"
    found[white] = "white"
    found[black] = "black"
    return found


def fading(lightness: np.ndarray, spread: np.ndarray, ends: np.ndarray, begins: np.ndarray, *, below: float) -> np.ndarray:
    """Find what lies within a fade from or to black or white.

    A fade is followed from each black or white frame, in both directions, for as long as the spread of L* stays small but
    grows, and the mean moves away: a night scene that merely stands beside a black frame is followed for one frame at most.

    Args:
        lightness: mean L* of each frame (N,), in the order of the film.
        spread: standard deviation of L*, (N,).
        ends: (N,) bool, frames that are black or white.
        begins: (N,) bool, a film or clip begins here.
        below: the spread under which a frame may be part of a fade.

    Returns:
        (N,) bool; none of `ends`.
    """
    found = np.zeros(len(ends), bool)
    for step, barred in ((1, begins), (-1, np.append(begins[1:], True))):
        for end in np.flatnonzero(ends):
            last, at = end, end + step
            while 0 <= at < len(ends) and not ends[at] and not barred[at] and spread[at] < below:
                away = abs(lightness[at] - lightness[end]) > abs(lightness[last] - lightness[end])
                if not (away and spread[at] > spread[last]):
                    break
                found[at] = True
                last, at = at, at + step
    return found
