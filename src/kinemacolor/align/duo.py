"""Two prints side by side: their signatures, clocks and picture areas, and how the one's grids are laid on the other's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemacolor.align.grid import Overlay, Window, fit_window
from kinemacolor.align.signature import Signature, active_area
from kinemacolor.align.ticks import Ticks, ticks_of
from kinemacolor.errors import UserError

_LEAST = 12  # frames of a print
_LEAP = 3600.0  # seconds
_OVERLAYS = 200  # pairs that the overlay is fitted on
_FLOOR = 0.002  # of 1 - correlation**2: what encoding and rounding leave between equal pictures


@dataclass(frozen=True)
class Prints:
    """Both prints of a film.

    Attributes:
        grey, colour: their signatures.
        grey_ticks, colour_ticks: their clocks.
        areas: active area of the grey and of the colour print (`signature.active_area`).
    """

    grey: Signature
    colour: Signature
    grey_ticks: Ticks
    colour_ticks: Ticks
    areas: tuple[tuple[float, float, float, float], tuple[float, float, float, float]]

    @property
    def rates(self) -> tuple[float, float]:
        """Ticks a second of the grey and of the colour print."""
        return self.grey_ticks.rate, self.colour_ticks.rate

    @property
    def halves(self) -> tuple[int, int]:
        """Half a second in frames of the grey and of the colour print."""
        return max(2, round(self.rates[0] / 2)), max(2, round(self.rates[1] / 2))


def prints_of(grey: Signature, colour: Signature, names: str) -> Prints:
    """Both prints, for signatures with at least a dozen frames each; `names` is what an error calls them."""
    if min(len(grey), len(colour)) < _LEAST:
        raise UserError(f"{names}: a print of {min(len(grey), len(colour))} frames is too short to be synced: give a longer one.")
    for which, print_ in (("grey", grey), ("colour", colour)):
        _check_times(print_.times, f"{names}: the {which} print")
    areas = active_area(grey.grids), active_area(colour.grids)
    return Prints(grey, colour, ticks_of(grey.times), ticks_of(colour.times), areas)


def _check_times(times: NDArray[np.float64], name: str) -> None:
    """Refuse time stamps that go back, repeat, or leap further than a film is long."""
    steps = np.diff(times)
    wrong = np.flatnonzero((steps <= 0) | (steps > _LEAP))
    if len(wrong):
        raise UserError(
            f"{name} has time stamps that go back, repeat or leap after {times[wrong[0]]:.2f} s: give it new ones (ffmpeg -i PRINT "
            "-fps_mode cfr OUT.mkv)."
        )


def frames_within(print_: Signature, start: float, end: float) -> NDArray[np.int64]:
    """Numbers of the frames with start <= seconds < end."""
    return np.arange(np.searchsorted(print_.times, start), np.searchsorted(print_.times, end), dtype=np.int64)


def partners_at(prints: Prints, base: NDArray, lags: NDArray) -> NDArray[np.int64]:
    """(n, m) grey frames at ticks base + lags; -1 for none."""
    return prints.grey_ticks.frames(base[:, None] + lags[None])


def surprise_of(alike: NDArray) -> NDArray:
    """log(1 - r**2): the log likelihood of a picture as a gain and lift of the other, a pixel, without its sign."""
    return np.log(np.clip(1 - np.maximum(alike, 0) ** 2, 0, 1) + _FLOOR)


def overlay_on(prints: Prints, pairs: NDArray[np.int64]) -> tuple[Overlay, Window]:
    """The overlay that lays the colour grids on the grey ones, by some pairs with much to see from all over them."""
    chosen = []
    for part in np.array_split(np.arange(len(pairs)), min(_OVERLAYS, len(pairs))):
        some = part[np.linspace(0, len(part) - 1, min(5, len(part))).astype(int)]
        contrast = np.stack([np.asarray(prints.colour.grids[n], np.float32).std() for n in pairs[some, 0]])
        chosen.append(some[int(np.argmax(contrast))])
    frames = pairs[chosen]
    grids = [
        np.stack([np.asarray(print_.grids[n], np.float32) for n in column])
        for print_, column in zip((prints.grey, prints.colour), (frames[:, 1], frames[:, 0]), strict=True)
    ]
    window = fit_window(*grids, *prints.areas)
    return Overlay(window, *prints.areas).masked(*grids), window
