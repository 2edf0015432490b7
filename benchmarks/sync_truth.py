"""What is right between two made prints, and how right a pairing is. Pure, but for the facts that it is given.

Both prints are made from one master, so a colour frame and a grey frame belong together if they show the same master frame.
What counts, and what does not:

- A grey frame shows a master frame if no other grey frame shows more of it; of several that show as much, all do. A woven or
  blended half of a picture that stands whole elsewhere is not exact. A colour frame is asked for every master frame of which
  it shows half or more.
- Shares are of all colour frames that have a partner, which is one that shows the same master frame, not only the same
  standing picture: what is not paired is not matched. A colour frame that is paired more
  than once counts by the worst of its pairs.
- Frames of a standing picture of the master are one: whichever of them is shown, the pair is exact (`strict` says how many
  are exact without that).
- A pair of two frames without anything to see (black) is neither right nor wrong and counted nowhere.
- Within one: the grey frame before or after is exact; or, for a master frame that the grey print leaves out at its rate, the
  grey frame shows a neighbour of it.
- Pairs of frames that have no partner at all (leaders, added scenes, what the other print lacks) are false; they are among
  the wrong ones.
- A segment of the truth is a stretch without a splice in either print. It is looked for if it lasts a second, and found if
  one said segment pairs nine tenths of its frames within one. A said segment is false if not half of its pairs are within
  one. A split is each said segment more than one that lies mostly in the same true one; a merge is each true one more than
  one of which a single said segment pairs half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinemacolor.media.programme import BLACK, Programme

SEE = 2.5  # standard deviation of luma at a tiny size below which a frame has nothing to show
LINES = 480  # pixels of the geometry are those of a print of so many lines
COVERED = 0.9  # of the frames of a true segment must be paired by one said segment
BINS = 10
LOOP = 1 << 20  # more frames than any film has of which a long one is joined


@dataclass(frozen=True)
class Found:
    """A pairing: int64 colour and grey frames, int32 segment, float32 confidence 0..1; one entry a pair."""

    colour_frame: NDArray[np.int64]
    grey_frame: NDArray[np.int64]
    segment: NDArray[np.int32]
    confidence: NDArray[np.float32]


@dataclass(frozen=True)
class Shown:
    """What the frames of one print show of the master; one row a frame.

    Attributes:
        pictures: int64 (n, 2), the master's frames that the frame shows, a standing picture by its first; -1 for none.
        frames: the same without that.
        place: float64, master frame with fractions; NaN for frames of the print's own.
        flat: nothing to see.
        run: int64, rises by one at every splice; -1 for frames of the print's own.
        rate: frames a second.
    """

    pictures: NDArray[np.int64]
    frames: NDArray[np.int64]
    place: NDArray[np.float64]
    flat: NDArray[np.bool_]
    run: NDArray[np.int64]
    rate: float


def shown(
    made: Programme | None, *, master_still: NDArray, master_flat: NDArray, flat: NDArray, rate: float, halves: bool
) -> Shown:
    """What a print shows.

    Args:
        made: its programme over the master; None for the master itself.
        master_still: number of the standing picture of every master frame.
        master_flat: whether it has nothing to see.
        flat: the same of the print's frames, as decoded.
        halves: a frame shows whatever half of it is of, though another may show more: for the colour print, whose every frame
            asks for a partner. Not for the grey one, whose frames are the answers.
    """
    count = len(flat)
    if made is None:
        # A file may say that it has a frame more than it gives.
        number = np.arange(min(count, len(master_still)))
        lone = np.stack([number, np.full(len(number), -1)], axis=1)
        pictures = np.stack([master_still[number], lone[:, 1]], axis=1)
        return Shown(pictures, lone, number.astype(float), master_flat[number], np.zeros(len(number), np.int64), rate)
    first, second = made.first, made.second
    weight = made.weight.astype(np.float64)
    place = np.where(second >= 0, weight * first + (1 - weight) * second, first).astype(float)
    place[first < 0] = np.where(second >= 0, second, np.nan)[first < 0]
    still = np.append(master_still, -1)
    frames = _shows(first, second, weight, halves=halves)
    pictures = _shows(still[first], still[second], weight, halves=halves)
    unlit = np.append(master_flat, True)  # the last stands for frames of the print's own, which are at -1
    of_film = unlit[first] & unlit[second] & (first >= 0)
    whole = np.zeros(made.frames, bool)
    whole[:count] = flat[: made.frames]
    run = np.where((first >= 0) | (second >= 0), made.edit.run[made.one], -1).astype(np.int64)
    return Shown(pictures, frames, place, whole | of_film | (made.kind == BLACK), run, rate)


def _shows(first: NDArray, second: NDArray, weight: NDArray, *, halves: bool) -> NDArray[np.int64]:
    """The pictures (n, 2) that nobody shows better, and with `halves` those of which half is seen; -1 for none.

    A mix of two frames of one picture shows it whole.
    """
    one = first == second
    picture = np.concatenate([first, second])
    share = np.concatenate([np.where(one, 1.0, weight), np.where(one, 0.0, 1 - weight)])
    best = np.zeros(int(picture.max(initial=0)) + 1)
    film = picture >= 0
    np.maximum.at(best, picture[film], share[film])
    good = film & (share > 0.05)
    good[film] &= (share[film] >= best[picture[film]] - 1e-4) | (halves & (share[film] >= 0.499))
    return np.where(good, picture, -1).reshape(2, -1).T


def looped(side: Shown, cuts: list[tuple[int, int]]) -> Shown:
    """What a film joined from stretches of a print shows, where every stretch counts as pictures of its own.

    Args:
        cuts: frames start <= n < end of the print, stretch by stretch.
    """
    frame = np.concatenate([np.arange(*cut) for cut in cuts])
    stretch = np.repeat(np.arange(len(cuts)), [max(0, end - start) for start, end in cuts])

    def apart(values: NDArray, step: int) -> NDArray:
        moved = values[frame] + (stretch * step).reshape(-1, *[1] * (values.ndim - 1))
        return np.where(values[frame] < 0, -1, moved)

    runs = int(side.run.max(initial=0)) + 1
    return Shown(
        apart(side.pictures, LOOP), apart(side.frames, LOOP), side.place[frame] + stretch * LOOP, side.flat[frame],
        apart(side.run, runs), side.rate,
    )  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """Two prints against each other."""

    grey: Shown
    colour: Shown
    has_partner: NDArray[np.bool_]
    """Colour frames whose own master frame is seen in the grey print. Where that is lost and its standing picture is not, a pair
    is exact, but nobody need make it."""
    segment: NDArray[np.int64]
    """Colour frames' segment of the truth; -1 without partner."""


def unrelated(grey_frames: int, colour_frames: int, *, flat: tuple[NDArray, NDArray], rates: tuple[float, float]) -> Truth:
    """The truth of prints that have nothing in common. `flat` and `rates` of grey, then colour."""
    sides = []
    for count, dark, rate in zip((grey_frames, colour_frames), flat, rates, strict=True):
        none = np.full((count, 2), -1)
        sides.append(Shown(none, none, np.full(count, np.nan), dark, np.full(count, -1), rate))
    return Truth(sides[0], sides[1], np.zeros(colour_frames, bool), np.full(colour_frames, -1))


def truth(grey: Shown, colour: Shown) -> Truth:
    """Bring two prints of one master together."""
    size = int(max(grey.frames.max(initial=0), colour.frames.max(initial=0))) + 2
    first = np.full(size, -1)
    for column in (1, 0):  # the frame of which more is seen has the last word
        lit = np.flatnonzero((grey.frames[:, column] >= 0) & ~grey.flat)[::-1]
        first[grey.frames[lit, column]] = lit
    partner = np.where(colour.frames[:, 0] >= 0, first[colour.frames[:, 0]], -1)
    other = np.where(colour.frames[:, 1] >= 0, first[colour.frames[:, 1]], -1)
    partner = np.where(partner >= 0, partner, other)
    has = (partner >= 0) & ~colour.flat
    segment = np.full(len(partner), -1)
    if has.any():
        pairs = np.stack([colour.run[has], grey.run[partner[has]]], axis=1)
        segment[has] = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    return Truth(grey, colour, has, segment)


def _same(one: NDArray, other: NDArray) -> NDArray[np.bool_]:
    """Whether two rows of two have a frame in common."""
    return ((one[:, :, None] == other[:, None, :]) & (one[:, :, None] >= 0)).any(axis=(1, 2))


@dataclass(frozen=True)
class Judged:
    """Every pair's judgement, in the order of the pairing.

    Attributes:
        counted: the pair is right or wrong at all.
        exact, strict, near: exact; exact without regard to standing pictures; within one (exact ones too).
        false: there is no partner.
    """

    counted: NDArray[np.bool_]
    exact: NDArray[np.bool_]
    strict: NDArray[np.bool_]
    near: NDArray[np.bool_]
    false: NDArray[np.bool_]


def judge(found: Found, true: Truth) -> Judged:
    """Say of every pair whether it is right."""
    colour, grey = (
        np.clip(found.colour_frame, 0, len(true.colour.flat) - 1),
        np.clip(found.grey_frame, 0, len(true.grey.flat) - 1),
    )
    counted = ~(true.colour.flat[colour] & true.grey.flat[grey])
    wanted = true.colour.pictures[colour]
    strict = _same(true.colour.frames[colour], true.grey.frames[grey])
    exact = strict | _same(wanted, true.grey.pictures[grey])
    near = exact.copy()
    for step in (-1, 1):
        beside = grey + step
        there = (beside >= 0) & (beside < len(true.grey.flat))
        near |= there & _same(wanted, true.grey.pictures[np.clip(beside, 0, len(true.grey.flat) - 1)])
    apart = np.abs(true.colour.place[colour] - true.grey.place[grey])
    close = np.nan_to_num(apart, nan=np.inf) < 1.5
    near |= close
    own = (true.grey.run[grey] < 0) | (~true.has_partner[colour] & ~close)
    return Judged(counted, exact & counted, strict & counted, near & counted, own & counted & ~near)


def scores(found: Found, judged: Judged, true: Truth) -> dict[str, float]:
    """The measures of one pairing.

    Returns:
        exact, strict, near, wrong: shares of the colour frames that have a partner (`true_pairs`), NaN where there are none,
        and as numbers, `exact_frames` and so on. said_exact, said_near: shares of the pairs that count (`pairs`). false: pairs of
        what has no partner. Segments, see above.
    """
    has = true.has_partner
    colour = np.clip(found.colour_frame, 0, len(has) - 1)
    paired = np.zeros(len(has), bool)
    paired[colour] = True
    matched = {}
    for name in ("exact", "strict", "near"):
        matched[name] = paired & has
        matched[name][colour[~getattr(judged, name)]] = False
    matched["wrong"] = paired & has & ~matched["near"]
    wanted, counted = int(has.sum()), int(judged.counted.sum())
    result: dict[str, float] = {name: _share(frames.sum(), wanted) for name, frames in matched.items()}
    result |= {f"{name}_frames": int(frames.sum()) for name, frames in matched.items()}
    result |= {
        "true_pairs": wanted,
        "pairs": counted,
        "exact_pairs": int(judged.exact.sum()),
        "near_pairs": int(judged.near.sum()),
        "said_exact": _share(judged.exact.sum(), counted),
        "said_near": _share(judged.near.sum(), counted),
        "false": int(judged.false.sum()),
    }
    return result | _segments(found, judged, true, colour, matched["near"])


def _segments(found: Found, judged: Judged, true: Truth, colour: NDArray[np.int64], near: NDArray[np.bool_]) -> dict[str, int]:
    names, said = np.unique(found.segment, return_inverse=True)
    trues = int(true.segment.max(initial=-1)) + 1
    length = np.bincount(true.segment[true.segment >= 0], minlength=trues)
    right = judged.near & near[colour] & (true.segment[colour] >= 0)
    # Of every true segment, the colour frames that each said one pairs within one.
    cells = np.unique(np.stack([true.segment[colour[right]], said[right], colour[right]], axis=1), axis=0)
    hits = np.zeros((trues, max(1, len(names))), np.int64)
    np.add.at(hits, (cells[:, 0], cells[:, 1]), 1)
    long = length >= true.colour.rate
    covered = hits.max(axis=1) >= COVERED * length
    home = hits.argmax(axis=0)[hits.any(axis=0)] if trues else np.zeros(0, np.int64)
    halves = ((hits >= length[:, None] / 2) & long[:, None]).sum(axis=0)
    false = 0
    for number in range(len(names)):
        pairs = (said == number) & judged.counted
        false += bool(pairs.any() and judged.near[pairs].mean() < 0.5)
    return {
        "segments": int((long & covered).sum()),
        "segments_missed": int((long & ~covered).sum()),
        "segments_false": int(false),
        "segments_said": len(names),
        "splits": int(np.maximum(np.bincount(home, minlength=1) - 1, 0).sum()),
        "merges": int(np.maximum(halves - 1, 0).sum()),
    }


def _share(part: float, whole: float) -> float:
    return float(part) / whole if whole else float("nan")


def calibration(confidence: NDArray, exact: NDArray) -> list[tuple[int, float, float]]:
    """Ten bins of confidence: pairs, mean confidence, share that is exact; and see `miscalibration`."""
    which = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    rows = []
    for number in range(BINS):
        inside = which == number
        if inside.any():
            rows.append((int(inside.sum()), float(confidence[inside].mean()), float(exact[inside].mean())))
        else:
            rows.append((0, float("nan"), float("nan")))
    return rows


def miscalibration(rows: list[tuple[int, float, float]]) -> float:
    """Mean distance between confidence and truth over all pairs (expected calibration error)."""
    counts = np.array([row[0] for row in rows], float)
    gaps = np.array([abs(row[1] - row[2]) if row[0] else 0.0 for row in rows])
    return float((counts * gaps).sum() / counts.sum()) if counts.sum() else float("nan")


def misplaced(
    transform: NDArray, *, grey: tuple[NDArray, tuple], colour: tuple[NDArray, tuple], lines: int
) -> tuple[float, NDArray[np.float64]]:
    """How far a found geometry is off.

    Args:
        transform: (2, 3), found, colour to grey pixels.
        grey, colour: of each print, (2, 3) master to print pixels, and the box in which the film is seen.
        lines: height of the grey print.

    Returns:
        Mean distance between the found and the true place over the common area, in pixels at 480 lines; and the true
        transform (2, 3) from colour to grey pixels.
    """
    whole = [np.vstack([side[0], [0, 0, 1]]) for side in (grey, colour)]
    right = whole[0] @ np.linalg.inv(whole[1])
    left, top, right_edge, bottom = grey[1]
    across, down = np.meshgrid(np.linspace(left, right_edge, 33), np.linspace(top, bottom, 19))
    at = np.stack([across.ravel(), down.ravel(), np.ones(across.size)])
    source = np.linalg.inv(right) @ at
    box = colour[1]
    seen = (source[0] >= box[0]) & (source[0] <= box[2]) & (source[1] >= box[1]) & (source[1] <= box[3])
    away = (np.asarray(transform) @ source - at[:2])[:, seen]
    return float(np.hypot(*away).mean() * LINES / lines), right[:2]


def box_error(found: tuple[float, ...], right: tuple[float, ...], lines: int) -> float:
    """Mean distance of the four edges of two boxes (left, top, right, bottom), in pixels at 480 lines of a print of `lines`."""
    return float(np.abs(np.subtract(found, right)).mean() * LINES / lines)
