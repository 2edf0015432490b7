"""Windows of the colour print against every place of the grey print, at one speed: where each fits best, and how well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STEP = 6
"""Slots from one window to the next; a window is a whole number of steps."""
_KEPT = 3  # places of a window that are kept for being the best
_FOLLOWED = 12  # places more, where windows before it lead
_AROUND = 4  # slots around a place that are no other place
_ROOM = 1 << 21  # scores held at one time
_LEAST = 1e-3  # energy of a window, of the film's usual one, below which there is nothing to compare


class Windows:
    """Windows of `window` slots, one every STEP slots, of the colour print's features (slots, cells) at a speed in grey slots a
    colour slot; with a `limit` only so many of them, evenly."""

    def __init__(
        self, grey: NDArray[np.float32], colour: NDArray[np.float32], window: int, speed: float, *, limit: int | None = None
    ) -> None:
        self.grey, self.colour, self.window, self.speed = grey, colour, window, speed
        self.starts = np.arange(0, len(colour) - window + 1, STEP)
        if limit is not None:
            self.starts = self.starts[:: max(1, len(self.starts) // limit)]
        steps = window // STEP
        self._within = np.round(speed * np.arange(STEP)).astype(int)
        self._across = np.round(speed * STEP * np.arange(steps)).astype(int)
        self.reach = (self._across[:, None] + self._within[None]).ravel()
        self.count = max(0, len(grey) - int(self.reach[-1]))
        square = np.sum(grey**2, axis=1)
        energy = np.add.reduce([square[r : r + self.count] for r in self.reach])
        self._grey_scale = 1 / np.sqrt(np.maximum(energy, _LEAST * window * square.mean() + 1e-6))
        square = np.sum(colour**2, axis=1)
        energy = np.add.reduce([square[self.starts + k] for k in range(window)])
        self._colour_scale = 1 / np.sqrt(np.maximum(energy, _LEAST * window * square.mean() + 1e-6))

    def candidates(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """For each window its best places (first grey slot) and their scores, -1..1; both (windows, 15), score -1 for none.

        Beside its own best places a window is given those to which the windows before it lead, so that a film that
        repeats itself is still followed along one line.
        """
        place = np.zeros((len(self.starts), _KEPT + _FOLLOWED))
        score = np.full(place.shape, -1.0, np.float32)
        if self.count:
            many = max(1, _ROOM // self.count)
            for low in range(0, len(self.starts), many):
                self._best(low, min(low + many, len(self.starts)), place, score)
            self._follow(place, score)
        return place, score

    def best(self) -> NDArray[np.float32]:
        """The best score of each window, wherever it is, (windows,)."""
        place = np.zeros((len(self.starts), _KEPT))
        score = np.full(place.shape, -1.0, np.float32)
        for n in range(len(self.starts) if self.count else 0):
            self._best(n, n + 1, place, score)
        return score[:, 0]

    def _best(self, low: int, high: int, place: NDArray, score: NDArray) -> None:
        """The best places of windows low <= n < high."""
        steps = len(self._across)
        rows = self.colour[self.starts[low] : self.starts[high - 1] + self.window]
        alike = (rows @ self.grey.T).reshape(high - low + steps - 1, STEP, -1)
        wide = alike.shape[2] - int(self._within[-1])
        # Windows overlap: the sum over each step serves several of them.
        step = alike[:, 0, :wide].copy()
        for k, r in enumerate(self._within[1:], start=1):
            step += alike[:, k, r : r + wide]
        total = step[: high - low, : self.count].copy()
        for q, r in enumerate(self._across[1:], start=1):
            total += step[q : q + high - low, r : r + self.count]
        total *= self._grey_scale[None].astype(np.float32)
        total *= self._colour_scale[low:high, None].astype(np.float32)
        index = np.arange(high - low)
        for kept in range(min(_KEPT, self.count)):
            best = total.argmax(axis=1)
            place[low:high, kept], score[low:high, kept] = best, total[index, best]
            for shift in range(-_AROUND, _AROUND + 1):
                total[index, np.clip(best + shift, 0, self.count - 1)] = -1

    def _follow(self, place: NDArray, score: NDArray) -> None:
        """Add the places to which the windows before lead, those that were followed furthest first."""
        length = np.zeros(place.shape[1])
        for at in range(1, len(place)):
            lead = np.flatnonzero(score[at - 1] > 0.5)
            here = np.round(place[at - 1, lead] + self.speed * STEP).astype(int)
            new = (here >= 0) & (here < self.count)
            lead, here = lead[new], here[new]
            own = np.abs(here[:, None] - place[at, None, :_KEPT]) <= 1
            longer = np.zeros(place.shape[1])
            for column in range(_KEPT):
                longer[column] = 1 + length[lead[own[:, column]]].max(initial=0)
            fresh = ~own.any(axis=1)
            lead, here = lead[fresh], here[fresh]
            order = np.argsort(-length[lead], kind="stable")
            _, first = np.unique(here[order], return_index=True)
            order = order[np.sort(first)][:_FOLLOWED]
            if len(order):
                there = here[order]
                columns = slice(_KEPT, _KEPT + len(order))
                place[at, columns], score[at, columns] = there, self._at(at, there)
                longer[columns] = 1 + length[lead[order]]
            length = longer

    def _at(self, number: int, places: NDArray) -> NDArray[np.float32]:
        """Scores of a window at given places."""
        start = self.starts[number]
        there = self.grey[places[:, None] + self.reach[None]].reshape(len(places), -1)
        products = there @ self.colour[start : start + self.window].ravel()
        return products * self._grey_scale[places] * self._colour_scale[number]
