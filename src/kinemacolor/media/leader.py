"""The leaders that a made print shows before the film, a title card and a countdown, and after it, an end card.

Drawn, not filmed, so that the package carries no picture of somebody else's, and drawn to differ from any film: flat
grey, a sweeping hand, big numerals. It weaves, flickers and gathers dust, so that no two of its frames are equal and
nothing can mistake it for a still.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_TRIPLEX
_CARD_SHARE = 0.3  # of the leader: the title card, when there is time for one
_TITLE = ("KINEMACOLOR", "a print made from the colour film")
_END = ("THE END", "end of the print")


def leader_frame(
    number: int, count: int, *, height: int, width: int, frame_rate: Fraction, seed: int, tail: bool = False
) -> NDArray[np.uint8]:
    """Frame `number` of a leader of `count` frames: grey (height, width), full range 0..255. Same arguments, same picture. Ours.

    At the head of a print the numerals count the seconds left until the film begins; at its tail an end card stands, and
    then nothing but dust runs through the gate.
    """
    per_second = max(1, round(frame_rate))
    card_frames = int(count * _CARD_SHARE) if count >= 3 * per_second else 0
    if tail:
        picture = _card(height, width, _END) if number < max(card_frames, 2 * per_second) else _run_out(height, width)
    elif number < card_frames:
        picture = _card(height, width, _TITLE)
    else:
        picture = _count(height, width, left=count - number, per_second=per_second)
    return _age(picture, np.random.default_rng([abs(seed), number, 1] if tail else [abs(seed), number]))


@functools.lru_cache(maxsize=4)  # it stands for seconds
def _card(height: int, width: int, words: tuple[str, str]) -> np.ndarray:
    """A card: pale letters on near-black, in a double frame."""
    picture = np.full((height, width), 26, np.uint8)
    margin, line = round(height * 0.08), max(1, height // 240)
    for inset in (margin, margin + 4 * line):
        cv2.rectangle(picture, (inset, inset), (width - 1 - inset, height - 1 - inset), 150, line, cv2.LINE_AA)
    _text(picture, words[0], centre=0.46, share=0.12, value=222)
    _text(picture, words[1], centre=0.64, share=0.045, value=180)
    picture.setflags(write=False)
    return picture


@functools.lru_cache(maxsize=4)
def _run_out(height: int, width: int) -> np.ndarray:
    """Film that was never exposed: pale, darker towards the edges."""
    across, down = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    picture = np.rint(188 - 34 * (across**2 + down**2)).astype(np.uint8)
    picture.setflags(write=False)
    return picture


def _count(height: int, width: int, *, left: int, per_second: int) -> np.ndarray:
    """The countdown, `left` frames before the film: a hand sweeps once a second behind the numeral."""
    picture = np.full((height, width), 150, np.uint8)
    middle, line = (width // 2, height // 2), max(1, height // 180)
    seconds = math.ceil(left / per_second)
    swept = 1 - (left - (seconds - 1) * per_second) / per_second
    reach = width + height
    cv2.ellipse(picture, middle, (reach, reach), -90, 0, 360 * swept, 104, -1, cv2.LINE_AA)
    angle = 2 * math.pi * swept - math.pi / 2
    tip = (round(middle[0] + reach * math.cos(angle)), round(middle[1] + reach * math.sin(angle)))
    cv2.line(picture, middle, tip, 30, 2 * line, cv2.LINE_AA)
    cv2.line(picture, (0, middle[1]), (width, middle[1]), 40, line, cv2.LINE_AA)
    cv2.line(picture, (middle[0], 0), (middle[0], height), 40, line, cv2.LINE_AA)
    for radius in (0.40, 0.36):
        cv2.circle(picture, middle, round(height * radius), 235, 2 * line, cv2.LINE_AA)
    _text(picture, str(seconds), centre=0.5, share=0.40, value=16)
    return picture


def _text(picture: np.ndarray, words: str, *, centre: float, share: float, value: int) -> None:
    """Write `words` across the middle of `picture`, `share` of its height tall, but never wider than the picture."""
    height, width = picture.shape
    (unit_width, unit_height), _ = cv2.getTextSize(words, _FONT, 1.0, 1)
    scale = min(height * share / unit_height, width * 0.84 / unit_width)
    thick = max(1, round(scale * 2))
    (wide, tall), _ = cv2.getTextSize(words, _FONT, scale, thick)
    origin = (round((width - wide) / 2), round(height * centre + tall / 2))
    cv2.putText(picture, words, origin, _FONT, scale, value, thick, cv2.LINE_AA)


def _age(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gate weave, flicker, dust and a scratch or two."""
    height, width = picture.shape
    weave = rng.normal(0, height / 700, 2)
    picture = cv2.warpAffine(
        picture, np.float32([[1, 0, weave[0]], [0, 1, weave[1]]]), (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    picture = np.clip(picture * rng.normal(1, 0.02), 0, 255).astype(np.uint8)
    for _ in range(rng.poisson(5)):
        spot = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(picture, spot, int(rng.integers(1, max(2, height // 120) + 1)), int(rng.choice([10, 240])), -1, cv2.LINE_AA)
    for _ in range(rng.poisson(0.7)):
        top = int(rng.integers(width))
        cv2.line(picture, (top, 0), (top + int(rng.integers(-3, 4)), height), 225, 1, cv2.LINE_AA)
    return picture
