"""What is burnt into a made print: a sender's logo and subtitles, over the picture and its grain."""

from __future__ import annotations

import functools
from bisect import bisect_right
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from kinemacolor.media.darkroom import BLACK_CODE, NEUTRAL, STEPS, WHITE_CODE

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WORDS = [
    "the",
    "a",
    "and",
    "I",
    "you",
    "he",
    "she",
    "we",
    "it",
    "that",
    "this",
    "was",
    "not",
    "with",
    "never",
    "always",
    "come",
    "go",
    "see",
    "know",
    "think",
    "tell",
    "again",
    "tomorrow",
    "morning",
    "night",
    "house",
    "road",
    "river",
    "garden",
    "king",
    "brother",
    "mother",
    "letter",
    "money",
    "train",
    "window",
    "door",
    "light",
    "water",
    "horse",
    "story",
    "truth",
    "please",
    "wait",
    "listen",
    "believe",
    "remember",
    "forgive",
    "perhaps",
    "nothing",
    "everything",
    "somebody",
    "where",
    "when",
    "why",
    "how",
]


class _Mark(NamedTuple):
    """Something burnt in: an area, how much it covers (0..1) and its luma in steps."""

    top: int
    left: int
    cover: NDArray[np.float32]
    value: NDArray[np.float32]


class _Title(NamedTuple):
    start: float
    end: float
    lines: tuple[str, ...]


class BurnIn:
    """Burns a logo and subtitles into the frames of a print; may be called from several threads.

    Subtitles stand one and a half to five seconds each, about two thirds of the time.

    Args:
        seconds: length of the print.
    """

    def __init__(self, *, height: int, width: int, seconds: float, logo: bool, subtitles: bool, seed: int) -> None:
        self._size = (height, width)
        self._logo = _logo(height, width) if logo else None
        self._titles = _titles(seconds, seed) if subtitles else []
        self._drawn = functools.lru_cache(maxsize=8)(self._draw)

    def burn(self, luma: NDArray[np.int16], chroma: NDArray[np.uint8] | None, time: float) -> None:
        """Burn what stands at `time` (seconds) into luma (H, W), in steps, and chroma (2, H / 2, W / 2); in place."""
        if self._logo is not None:
            _lay(self._logo, luma, chroma)
        at = bisect_right(self._titles, time, key=lambda title: title.start) - 1
        if at >= 0 and time < self._titles[at].end:
            _lay(self._drawn(self._titles[at].lines), luma, chroma)

    def _draw(self, lines: tuple[str, ...]) -> _Mark:
        """White letters with a dark rim, centred, above the lower edge."""
        height, width = self._size
        scale, thick = height * 0.058 / 21, max(1, round(height / 260))
        widest = max(cv2.getTextSize(line, _FONT, scale, thick)[0][0] for line in lines)
        scale *= min(1, 0.86 * width / widest)
        step, face = round(height * 0.085), np.zeros((height, width), np.uint8)
        for number, line in enumerate(lines):
            x = round((width - cv2.getTextSize(line, _FONT, scale, thick)[0][0]) / 2)
            place = (x, round(height * 0.93) - step * (len(lines) - 1 - number))
            cv2.putText(face, line, place, _FONT, scale, 255, thick, cv2.LINE_AA)
        side = 2 * max(1, round(height / 160)) + 1
        rim = cv2.dilate(face, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        return _mark(rim / 255, BLACK_CODE + (WHITE_CODE - BLACK_CODE) * (face / 255))


def _logo(height: int, width: int) -> _Mark:
    """A ring with a letter in the upper right corner, seven tenths opaque."""
    cover, radius = np.zeros((height, width), np.uint8), round(height * 0.055)
    middle = (width - round(height * 0.07) - radius, round(height * 0.07) + radius)
    cv2.circle(cover, middle, radius, 255, max(1, height // 110), cv2.LINE_AA)
    scale = radius * 1.1 / 21
    (wide, tall), _ = cv2.getTextSize("K", cv2.FONT_HERSHEY_DUPLEX, scale, 1)
    place = (middle[0] - wide // 2, middle[1] + tall // 2)
    cv2.putText(cover, "K", place, cv2.FONT_HERSHEY_DUPLEX, scale, 255, max(1, height // 150), cv2.LINE_AA)
    return _mark(0.7 * cover / 255, np.full((height, width), 225.0))


def _titles(seconds: float, seed: int) -> list[_Title]:
    rng, at, titles = np.random.default_rng([abs(seed), 0x5B]), 0.0, []
    while True:
        at += rng.uniform(0.3, 2.9)
        end = at + rng.uniform(1.5, 5.0)
        if at >= seconds:
            return titles
        lines = tuple(" ".join(rng.choice(_WORDS, rng.integers(3, 7))).capitalize() + "." for _ in range(rng.integers(1, 3)))
        titles.append(_Title(at, end, lines))
        at = end


def _mark(cover: NDArray[np.float64], codes: NDArray[np.float64]) -> _Mark:
    """Cut to the area that is covered; even, as chroma asks."""
    rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
    top, left = rows[0] // 2 * 2, columns[0] // 2 * 2
    area = np.s_[top : (rows[-1] + 2) // 2 * 2, left : (columns[-1] + 2) // 2 * 2]
    return _Mark(int(top), int(left), cover[area].astype(np.float32), (codes[area] * STEPS).astype(np.float32))


def _lay(mark: _Mark, luma: NDArray[np.int16], chroma: NDArray[np.uint8] | None) -> None:
    height, width = mark.cover.shape
    area = luma[mark.top : mark.top + height, mark.left : mark.left + width]
    area[...] = np.rint(area + mark.cover * (mark.value - area))
    if chroma is None:
        return
    small = cv2.resize(mark.cover, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    part = chroma[:, mark.top // 2 : (mark.top + height) // 2, mark.left // 2 : (mark.left + width) // 2]
    part[...] = np.rint(part + small * (NEUTRAL - part.astype(np.float32)))
