"""Prints simulated as the tiny grids that sync sees, thousands of frames a second: drawn films, and what prints do to them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from kinemacolor.align.path import Path
from kinemacolor.align.signature import COLUMNS, ROWS, Signature

BLACK, OWN = -1, -2
"""Entries of an edit beside film frames: a black frame, one of the print's own."""


def shot_lengths(seed: int, frames: int, shortest: int = 30, longest: int = 120) -> list[int]:
    """Lengths of shots that add up to `frames`."""
    rng = np.random.default_rng(seed)
    lengths: list[int] = []
    while sum(lengths) < frames:
        lengths.append(min(int(rng.integers(shortest, longest)), frames - sum(lengths)))
    return lengths


def drawn_film(seed: int, shots: Sequence[int], *, still: Sequence[int] = (), again: dict[int, int] | None = None) -> np.ndarray:
    """(frames, 18, 32) float32 luma: over each shot a camera pans while something of its own crosses.

    Args:
        still: shots that stand still.
        again: shot -> earlier shot whose pictures it repeats from their beginning.
    """
    film: list[np.ndarray] = []
    for number, length in enumerate(shots):
        if again and number in again:
            earlier = film[again[number]]
            film.append(earlier[np.arange(length) % len(earlier)])
            continue
        rng = np.random.default_rng([seed, number])
        stage = np.zeros((3 * ROWS, 3 * COLUMNS), np.float32)
        for cells, height in ((5, 30), (12, 25), (30, 15)):
            noise = rng.normal(0, height, (cells, cells)).astype(np.float32)
            stage += cv2.resize(noise, stage.shape[::-1], interpolation=cv2.INTER_CUBIC)
        stage = np.clip(stage + rng.uniform(90, 150), 5, 250)
        moves = number not in still
        pan = rng.uniform(0.02, 0.08, 2) * rng.choice((-1, 1), 2) * moves
        start, walk, light = (
            rng.uniform(4, COLUMNS - 4),
            rng.choice((-1, 1)) * rng.uniform(0.08, 0.2) * moves,
            rng.uniform(30, 220),
        )
        y, x = np.mgrid[:ROWS, :COLUMNS]
        pictures = np.empty((length, ROWS, COLUMNS), np.float32)
        for step in range(length):
            corner = -np.array([COLUMNS, ROWS]) - pan * step
            picture = cv2.warpAffine(stage, np.column_stack([np.eye(2), corner]), (COLUMNS, ROWS), borderMode=cv2.BORDER_REFLECT)
            cover = np.clip(3 - np.hypot(x - (start + walk * step) % COLUMNS, y - ROWS * 0.6), 0, 1)
            pictures[step] = picture * (1 - cover) + light * cover
        film.append(pictures)
    return np.concatenate(film)


class Print:
    """A print of a film in grids, with what each of its frames shows."""

    def __init__(
        self,
        film: np.ndarray,
        edit: Sequence[int] | None = None,
        *,
        ratio: float = 1.0,
        rate: float = 24.0,
        way: str = "speed",
        drop: float = 0.0,
        noise: float = 0.3,
        gamma: float = 1.0,
        seed: int = 0,
    ) -> None:
        """
        Args:
            edit: film frames in the order shown, with BLACK and OWN; the whole film if not given.
            ratio: print frames a film frame, for the ways `repeat` and `blend`; `pulldown` has its own.
            rate: frames a second of the print.
            way: speed (every frame as it is), repeat, blend or pulldown.
            drop: share of frames left out at random.
            noise: standard deviation of what grain leaves in a cell.
        """
        rng = np.random.default_rng(seed)
        edit = np.arange(len(film)) if edit is None else np.asarray(edit)
        own = drawn_film(seed + 9000, [max(int((edit == OWN).sum()), 1)])
        pictures = np.empty((len(edit), ROWS, COLUMNS), np.float32)
        pictures[edit >= 0] = film[edit[edit >= 0]]
        pictures[edit == BLACK] = 2
        pictures[edit == OWN] = own[: int((edit == OWN).sum())]
        count = len(edit)
        if way == "pulldown":
            number = np.arange(count // 4 * 5)
            first = number // 5 * 4 + np.array([0, 0, 1, 2, 3])[number % 5]
            second = number // 5 * 4 + np.array([0, 1, 2, 2, 3])[number % 5]
            weight = np.where(first == second, 1, 0.5)
        else:
            at = np.arange(int((count - 1) * ratio) + 1) / ratio
            first = np.floor(at + 1e-6).astype(int)
            mixed = way == "blend"
            second = np.minimum(first + mixed, count - 1)
            weight = 1 - (at - first) * mixed
        kept = np.flatnonzero(rng.random(len(first)) >= drop)
        first, second, weight = first[kept], second[kept], weight[kept]
        grids = pictures[first] * weight[:, None, None] + pictures[second] * (1 - weight)[:, None, None]
        grids = 255 * (np.clip(grids, 0, 255) / 255) ** (1 / gamma) + rng.normal(0, noise, grids.shape)
        self.signature = Signature(np.clip(grids, 0, 255).astype(np.float16), kept / rate)
        self.first, self.second, self.weight = edit[first], edit[second], weight

    def altered(self, change) -> Print:
        """The same with grids (n, 18, 32) that a function draws on."""
        grids = self.signature.grids.astype(np.float32)
        change(grids)
        self.signature = Signature(np.clip(grids, 0, 255).astype(np.float16), self.signature.times)
        return self

    def places(self) -> dict[int, list[int]]:
        """Where each film frame is shown, with half of the picture at least."""
        found: dict[int, list[int]] = {}
        for at, (one, other, weight) in enumerate(zip(self.first.tolist(), self.second.tolist(), self.weight, strict=True)):
            for frame, share in {one: weight, other: 1 - weight if one != other else 1}.items():
                if frame >= 0 and share >= 0.5:
                    found.setdefault(frame, []).append(at)
        return found


class Score:
    """A path from a grey print to a colour print of the same film against the truth.

    Attributes:
        off: grey frames beside the right one, for each pair; 99 for what has none.
        sure: the confidence of each pair.
        found: share of the colour frames with a partner that were paired within one.
    """

    def __init__(self, path: Path, grey: Print, colour: Print) -> None:
        places = grey.places()
        film = np.where(colour.weight >= 0.5, colour.first, colour.second)
        self.off, self.sure = np.full(len(path.colour_frame), 99), path.confidence
        for row, (frame, partner) in enumerate(zip(film[path.colour_frame].tolist(), path.grey_frame.tolist(), strict=True)):
            if frame >= 0 and frame in places:
                self.off[row] = min(abs(partner - place) for place in places[frame])
            elif frame >= 0 and any(partner in places.get(frame + beside, ()) for beside in (-1, 1)):
                self.off[row] = 1
        shown = sum(frame in places for frame in film.tolist() if frame >= 0)
        self.found = float((self.off <= 1).sum() / max(1, shown))

    @property
    def believed(self) -> np.ndarray:
        """`off` of the pairs with a confidence of a half and more."""
        return self.off[self.sure >= 0.5]
