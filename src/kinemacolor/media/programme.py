"""What a made print shows: which film frame in which of its frames, when, and where in the picture. Pure; no file is read.

A print is made in two steps. The edit is the film as it was cut together: one position for each frame, at the film's own
rate. The programme is what becomes of it at the print's rate: each print frame shows one position of the edit, a mix of two
neighbours, or two fields of neighbours. The truth about a print is read from the programme, never from the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.params import MOST_FRAMES, Recipe

FILM, LEADER, ADDED, BLACK = range(4)
"""Kinds of frames: of the film; of a leader, an added scene or black, which are the print's own."""

# Four frames A B C D are ten fields AA BBB CC DDD: what the upper and the lower field of each of five frames show.
_UPPER, _LOWER = np.array([0, 1, 1, 2, 3]), np.array([0, 1, 2, 3, 3])


@dataclass(frozen=True)
class Edit:
    """The film as cut together. All arrays have one entry a position.

    Attributes:
        frame: int64, film frame; -1 for the print's own.
        kind: int8, FILM, LEADER, ADDED or BLACK.
        scene: int32, which leader (0 head, 1 tail) or which entry of `recipe.added`; 0 otherwise.
        number: int64, of a leader or added scene: its frame; of a film frame that is held: how long it has stood.
        length: int64, of a leader or added scene: its frames; 1 otherwise.
        gain: float32, brightness by which it is faded, 0..1.
        run: int32, rises by one wherever film does not follow on.
    """

    frame: NDArray[np.int64]
    kind: NDArray[np.int8]
    scene: NDArray[np.int32]
    number: NDArray[np.int64]
    length: NDArray[np.int64]
    gain: NDArray[np.float32]
    run: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class Programme:
    """What each frame of a print shows. All arrays have one entry a print frame.

    Attributes:
        first: int64, film frame, -1 for the print's own.
        second: int64, film frame that is mixed or woven in, -1 for none and for the print's own.
        weight: float32, share of `first` in the picture, 0..1; `second` has the rest.
        woven: bool: `first` in the even lines (0, 2, ...) and `second` in the odd ones, rather than a mix.
        time: float64, seconds from the first frame.
        tick: int64, the same in frames of `rate`, exact.
        kind: int8: FILM, LEADER, ADDED or BLACK; of a mix, what has the greater share.
        one, other: int64, the positions of the edit that stand behind `first` and `second`; `other` is -1 for none.
        rate: frames a second.
        clock: seconds of the film in a second of the print: 25/24 for PAL.
        edit: the film as cut together.
        film_rate: frames a second of the film.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weight: NDArray[np.float32]
    woven: NDArray[np.bool_]
    time: NDArray[np.float64]
    tick: NDArray[np.int64]
    kind: NDArray[np.int8]
    one: NDArray[np.int64]
    other: NDArray[np.int64]
    rate: Fraction
    clock: Fraction
    edit: Edit
    film_rate: Fraction

    @property
    def frames(self) -> int:
        """Frames of the print."""
        return len(self.first)

    @property
    def truth_offset(self) -> int | None:
        """Print frame minus film frame where that is the same for every film frame that is shown; None otherwise."""
        shown = np.flatnonzero(self.first >= 0)
        if (self.second >= 0).any() or not len(shown):
            return None
        offsets = shown - self.first[shown]
        return int(offsets[0]) if (offsets == offsets[0]).all() else None

    def alignment(self) -> dict[str, NDArray]:
        """The columns of alignment.parquet, sorted by film frame; only film frames that the print shows.

        Of a film frame that is shown more than once, the print frame that shows it best, and the first of equals.

        Returns:
            colour_frame, grey_frame (int64), colour_time, grey_time (float64, seconds), segment (int32, counted in the order
            of the film), confidence (float32: share of the film frame in that print frame, 0..1).
        """
        number = np.arange(self.frames)
        film = np.concatenate([self.first, self.second])
        shown = np.concatenate([number, number])
        share = np.concatenate([self.weight, 1 - self.weight]).astype(np.float32)
        place = np.concatenate([self.one, self.other])
        keep = (film >= 0) & (share > 0)
        film, shown, share, place = film[keep], shown[keep], share[keep], place[keep]
        # Shares of equal mixes differ by rounding.
        order = np.lexsort((shown, -np.round(share, 5), film))
        colour, best = np.unique(film[order], return_index=True)
        best = order[best]
        runs = self.edit.run[place[best]]
        _, at, which = np.unique(runs, return_index=True, return_inverse=True)
        segment = np.argsort(np.argsort(at))[which]
        grey = shown[best]
        return {
            "colour_frame": colour.astype(np.int64),
            "grey_frame": grey.astype(np.int64),
            "colour_time": colour * float(1 / self.film_rate),
            "grey_time": self.time[grey],
            "segment": segment.astype(np.int32),
            "confidence": share[best],
        }


class Placement(NamedTuple):
    """Where the film's picture lies in the print's. Coordinates are continuous: pixel i covers i..i + 1."""

    transform: NDArray[np.float64]
    """(2, 3): film pixels to print pixels, x before y."""
    box: tuple[float, float, float, float]
    """Left, top, right and bottom of the area of the print in which the film is seen; around a turned picture."""


def programme(recipe: Recipe, film_frames: int, film_rate: Fraction) -> Programme:
    """What each frame of the print shows.

    Raises:
        UserError: the recipe names film frames that the film does not have, or leaves nothing of it.
    """
    film_rate = Fraction(film_rate)
    rate = film_rate if recipe.frame_rate is None else Fraction(recipe.frame_rate)
    edit = _edit(recipe, film_frames)
    _refuse_long(float(len(edit) * rate / film_rate) if recipe.conversion != "speed" else len(edit))
    one, other, weight, woven, clock = _converted(recipe, len(edit), film_rate, rate)
    tick = _kept(recipe, len(one))
    one, other, weight, woven = one[tick], other[tick], weight[tick], woven[tick]
    second = np.where(other >= 0, edit.frame[other], -1)
    return Programme(
        first=edit.frame[one],
        second=second,
        weight=weight,
        woven=woven,
        time=tick * rate.denominator / rate.numerator,
        tick=tick,
        kind=np.where((other >= 0) & (weight < 0.5), edit.kind[other], edit.kind[one]),
        one=one,
        other=other,
        rate=rate,
        clock=clock,
        edit=edit,
        film_rate=film_rate,
    )


def print_size(recipe: Recipe, film_height: int, film_width: int) -> tuple[int, int]:
    """Height and width of the print in pixels, both even."""
    if recipe.width is not None:
        return recipe.height, recipe.width
    left, top, right, bottom = crop_box(recipe, film_height, film_width)
    tall = recipe.height * (1 - recipe.bars[1] - recipe.bars[3])
    wide = (right - left) * tall / (bottom - top) / (1 - recipe.bars[0] - recipe.bars[2])
    return recipe.height, max(2, 2 * round(wide / 2))


def crop_box(recipe: Recipe, film_height: int, film_width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is left of the film's picture, in whole film pixels."""
    left, right = round(recipe.crop[0] * film_width), film_width - round(recipe.crop[2] * film_width)
    top, bottom = round(recipe.crop[1] * film_height), film_height - round(recipe.crop[3] * film_height)
    return left, top, right, bottom


def window(recipe: Recipe, film_height: int, film_width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the bars leave of the print, in whole print pixels; even, as chroma asks."""
    height, width = print_size(recipe, film_height, film_width)
    left, right = (2 * round(recipe.bars[side] * width / 2) for side in (0, 2))
    top, bottom = (2 * round(recipe.bars[side] * height / 2) for side in (1, 3))
    return left, top, width - right, height - bottom


def placement(recipe: Recipe, film_height: int, film_width: int) -> Placement:
    """Where the film's picture lies in the print's: cropped, scaled into what the bars leave, turned, shifted."""
    height, width = print_size(recipe, film_height, film_width)
    crop = crop_box(recipe, film_height, film_width)
    inner = window(recipe, film_height, film_width)
    scale = [(inner[axis + 2] - inner[axis]) / (crop[axis + 2] - crop[axis]) for axis in (0, 1)]
    upright = np.array([[scale[0], 0, inner[0] - scale[0] * crop[0]], [0, scale[1], inner[1] - scale[1] * crop[1]], [0, 0, 1]])
    whole = turning(recipe, height, width) @ upright
    if recipe.turn == 0:
        corners = np.array([[crop[0], crop[1], 1], [crop[2], crop[3], 1]]).T
    else:
        corners = np.array([[crop[x], crop[y], 1] for x in (0, 2) for y in (1, 3)]).T
    x, y = (whole @ corners)[:2]
    box = (max(inner[0], x.min()), max(inner[1], y.min()), min(inner[2], x.max()), min(inner[3], y.max()))
    return Placement(whole[:2], tuple(float(edge) for edge in box))


def turning(recipe: Recipe, height: int, width: int) -> NDArray[np.float64]:
    """(3, 3): the turn about the middle of the print and the shift, print pixels to print pixels."""
    angle = np.deg2rad(recipe.turn)
    cosine, sine = np.cos(angle), np.sin(angle)
    # y points down: anticlockwise to the eye.
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    middle = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1]])
    shift = np.array([[1, 0, recipe.shift[0]], [0, 1, recipe.shift[1]], [0, 0, 1]])
    return shift @ middle @ turn @ np.linalg.inv(middle)


# ------------------------------------------------------------------------------------------------------ the edit

_FIELDS = [("frame", "i8"), ("kind", "i1"), ("scene", "i4"), ("number", "i8"), ("length", "i8"), ("held", "?")]


def _edit(recipe: Recipe, film_frames: int) -> Edit:
    """Cut the film together: reels, insertions at their film frames, then what is taken away."""
    reels = recipe.reels if recipe.reels is not None else ((0, film_frames),)
    for key, stretches in (("reels", reels), ("remove", recipe.remove)):
        for start, end in stretches:
            if end > film_frames:
                raise UserError(
                    f"recipe.{key} names frames {start} to {end}, but the film has {film_frames} frames: "
                    "name only frames that it has."
                )
    if not reels:
        raise UserError("recipe.reels holds none: add some or remove the key.")
    own = sum(insert.frames for key in ("hold", "black", "added") for insert in getattr(recipe, key))
    _refuse_long(sum(end - start for start, end in reels) + own + recipe.intro_frames + recipe.outro_frames)
    shown = np.concatenate([np.arange(start, end) for start, end in reels])
    kept = np.ones(len(shown), bool)
    kept[: recipe.trim_frames] = False
    kept[max(0, len(shown) - recipe.trim_end_frames) :] = False
    for key, count, (start, end) in (
        ("trim_frames", recipe.trim_frames, reels[0]),
        ("trim_end_frames", recipe.trim_end_frames, reels[-1]),
    ):
        if count >= end - start:
            raise UserError(
                f"recipe.{key} ({count}) leaves nothing of "
                + (f"a film of {film_frames} frames" if recipe.reels is None else f"the reel [{start}, {end}]")
                + ": lower it."
            )
    for start, end in recipe.remove:
        kept &= (shown < start) | (shown >= end)
    if not kept.any():
        raise UserError(
            f"The recipe leaves nothing of the film's {film_frames} frames: lower recipe.trim_frames or trim_end_frames, "
            "or shorten recipe.remove."
        )
    pieces: list[tuple[int, int, np.ndarray]] = []  # position in `shown` before which it stands, rank there, what
    for rank, key in enumerate(("hold", "black", "added")):
        for which, insert in enumerate(getattr(recipe, key)):
            place = _first_place(shown, insert.at, key, film_frames)
            piece = np.zeros(insert.frames, _FIELDS)
            piece["frame"], piece["length"] = -1, 1
            match key:
                case "hold":
                    if not kept[place]:
                        raise UserError(f"recipe.hold names film frame {insert.at}, which the print lacks: name another frame.")
                    piece["frame"], piece["number"], piece["held"] = insert.at, np.arange(1, insert.frames + 1), True
                    place += 1
                case "black":
                    piece["kind"] = BLACK
                case "added":
                    piece["kind"], piece["scene"], piece["length"] = ADDED, which, insert.frames
                    piece["number"] = np.arange(insert.frames)
            pieces.append((place, rank, piece))
    film = np.zeros(len(shown), _FIELDS)
    film["frame"], film["length"] = shown, 1
    parts, at = [_leader(0, recipe.intro_frames)], 0
    for place, _, piece in sorted(pieces, key=lambda entry: entry[:2]):
        parts += [film[at:place][kept[at:place]], piece]
        at = place
    parts += [film[at:][kept[at:]], _leader(1, recipe.outro_frames)]
    whole = np.concatenate(parts)
    follows = (
        (whole["frame"][1:] == whole["frame"][:-1] + 1) & (whole["frame"][:-1] >= 0) & ~whole["held"][1:] & ~whole["held"][:-1]
    )
    run = np.concatenate([[0], np.cumsum(~follows)])
    gain = _fade(whole["frame"] >= 0, recipe.fade)
    names = ("frame", "kind", "scene", "number", "length")
    return Edit(*(np.ascontiguousarray(whole[name]) for name in names), gain, run.astype(np.int32))


def _refuse_long(frames: float) -> None:
    if frames > MOST_FRAMES:
        raise UserError(f"The recipe makes a print of {frames:.0f} frames, more than {MOST_FRAMES}: shorten it.")


def _first_place(shown: NDArray[np.int64], frame: int, key: str, film_frames: int) -> int:
    if frame >= film_frames:
        raise UserError(f"recipe.{key} names film frame {frame}, but the film has {film_frames} frames: name one that it has.")
    places = np.flatnonzero(shown == frame)
    if not len(places):
        raise UserError(f"recipe.{key} names film frame {frame}, which is in none of recipe.reels: name another frame.")
    return int(places[0])


def _leader(which: int, frames: int) -> np.ndarray:
    leader = np.zeros(frames, _FIELDS)
    leader["frame"], leader["kind"], leader["scene"] = -1, LEADER, which
    leader["number"], leader["length"] = np.arange(frames), frames
    return leader


def _fade(film: NDArray[np.bool_], frames: int) -> NDArray[np.float32]:
    """No frame of a fade is wholly black: each still shows which one it is."""
    places = np.flatnonzero(film)
    steps = np.arange(len(film))
    near = np.minimum(steps - places[0], places[-1] - steps) + 1
    return np.where(film, np.clip(near / (frames + 1), 0, 1), 1).astype(np.float32)


# ---------------------------------------------------------------------------------------------------- its rate


def _converted(
    recipe: Recipe, positions: int, film_rate: Fraction, rate: Fraction
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_], Fraction]:
    """Which positions of the edit each print frame shows: one, other, weight, woven; and the clock."""
    ratio = film_rate / rate
    up, down = ratio.numerator, ratio.denominator
    if recipe.conversion == "pulldown":
        if abs(float(ratio) * 5 / 4 - 1) > 0.05:
            raise UserError(
                f"recipe.frame_rate {recipe.frame_rate} is no 3:2 pulldown of a film at {film_rate} frames a second: "
                f"ask for {5 * film_rate / 4}, or for another recipe.conversion."
            )
        fields = positions // 4 * 10 + (0, 2, 5, 7)[positions % 4]
        number = np.arange((fields + 1) // 2)
        one = number // 5 * 4 + _UPPER[number % 5]
        # An odd last field has no partner: the frame is shown whole.
        other = np.minimum(number // 5 * 4 + _LOWER[number % 5], positions - 1)
        woven = other != one
        return one, np.where(woven, other, -1), np.where(woven, 0.5, 1).astype(np.float32), woven, rate * 4 / 5 / film_rate
    if recipe.conversion == "speed":
        one, clock = np.arange(positions), 1 / ratio
    elif recipe.conversion == "repeat":
        one, clock = np.arange(-(-positions * down // up)) * up // down, Fraction(1)
    else:
        number, clock = np.arange((positions - 1) * down // up + 1), Fraction(1)
        one, rest = number * up // down, number * up % down
        mixed = rest > 0
        weight = (1 - rest / down).astype(np.float32)
        return one, np.where(mixed, one + 1, -1), weight, np.zeros(len(one), bool), clock
    return one, np.full(len(one), -1), np.ones(len(one), np.float32), np.zeros(len(one), bool), clock


def _kept(recipe: Recipe, frames: int) -> NDArray[np.int64]:
    """The print frames that are not dropped; the first and the last always stay, so that the length does."""
    lost = min(round(recipe.drop * frames), max(0, frames - 2))
    chance = np.random.default_rng([abs(recipe.seed), 0xD20])
    gone = 1 + chance.choice(max(0, frames - 2), lost, replace=False) if lost else []
    return np.setdiff1d(np.arange(frames), gone)
