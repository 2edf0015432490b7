"""Compiled loops over the pixels of a frame, for frames/grey.py, which says what they are for.

Sums run in one order and in float64, so that the figures in the filter table are the same whatever the number of threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types

from kinemacolor.compiled import compiled
from kinemacolor.frames.tint_kernels import KNOTS, NO_TINT, TONING, fit, knot_of, narrow, smallest
from kinemacolor.lab_values import CUBE_FROM, OFFSET, RATIOS_FROM_RGB, SLOPE, linear_steps

_LINEAR = linear_steps().astype(np.float64)
_STEPS = 1 << 14
_ROOTS = np.cbrt(np.arange(_STEPS + 2) / _STEPS)
"""Cube roots from 0 to 1; between two of them a straight line is off by 3e-7 at most where Lab takes roots."""
_WEIGHTS = np.array(RATIOS_FROM_RGB)

_NEAR, _POINTS = 2, 3
_SLACK, _BLUE_SLACK = 0.15, 0.28
"""Share of a tint's own chroma by which a pixel may miss it; of blue toning more, since what lies between navy and white bends in Lab."""
_CLIPS = 95.0
"""L* from which a dye's channels may be clipped."""
_LAG = 5
"""Places between windows that share no pixel."""
_CLEAR = 6.0
"""Chroma (Lab units) with which a place is clearly coloured."""
_APART, _EXPLAINED = 4.0, 0.95
"""Chroma that a slope of one L* a place may have by misregistration, and what share of all must be left at most for it to be that."""
_WIDE = 3
"""Places to either side over which the rest of a fringe is averaged."""
_ROUGH = 0.4
"""Share of the mean length that the mean may keep by chance."""
_CANCELS = 0.85
"""A fringe's means over _WIDE places are shorter than this share of its lengths."""
_MOST_NOISE = 4.0
"""Noise of the smoothed places (Lab units, standard deviation) is no more than this; what differs by more is colours."""

_u8_4d = types.Array(types.uint8, 4, "C", readonly=True)
_f4_4d = types.Array(types.float32, 4, "C", readonly=True)
_bool_2d = types.Array(types.boolean, 2, "C", readonly=True)
_f8_3d = types.Array(types.float64, 3, "C", readonly=True)


@njit(inline="always", error_model="numpy")
def _linear(value):
    step = min(int(value), 254)
    return _LINEAR[step] + (_LINEAR[step + 1] - _LINEAR[step]) * (value - step)


@njit(inline="always", error_model="numpy")
def _root(ratio):
    if ratio <= CUBE_FROM:
        return SLOPE * ratio + OFFSET
    place = min(ratio, 1.0) * _STEPS
    step = int(place)
    return _ROOTS[step] + (_ROOTS[step + 1] - _ROOTS[step]) * (place - step)


@compiled(types.void(_f4_4d, _bool_2d, types.float64[:, ::1], types.intp, types.intp))
def plain(lab, counted, out, begin, end):
    """Mean chroma, mean L* and the spread (standard deviation) of L* over the counted pixels of pictures begin to end."""
    height, width = counted.shape
    for picture in range(begin, end):
        pixels, chroma, lightness, square = 0, 0.0, 0.0, 0.0
        for y in range(height):
            for x in range(width):
                if counted[y, x]:
                    a, b, value = lab[picture, 1, y, x], lab[picture, 2, y, x], np.float64(lab[picture, 0, y, x])
                    pixels += 1
                    chroma += math.sqrt(np.float64(a * a + b * b))
                    lightness += value
                    square += value * value
        mean = lightness / pixels
        out[picture, 0] = chroma / pixels
        out[picture, 1] = mean
        out[picture, 2] = math.sqrt(max(0.0, square / pixels - mean * mean))


@compiled(types.void(_u8_4d, _bool_2d, types.float64[:, :, :, ::1], types.boolean[:, ::1], types.intp, types.intp))
def smoothed(rgb, counted, lab, there, begin, end):
    """Lab (N,3,h,w) of pictures reduced by area and then averaged 3 by 3, of counted pixels alone; there: (h,w), any were."""
    height, width = counted.shape
    rows, columns = there.shape
    sums = np.empty((4, rows, columns), np.int64)
    across = np.empty((4, rows, columns), np.int64)
    for y in range(rows):
        for x in range(columns):
            count = 0
            for v in range(y * height // rows, (y + 1) * height // rows):
                for u in range(x * width // columns, (x + 1) * width // columns):
                    count += counted[v, u]
            sums[3, y, x] = count
    for picture in range(begin, end):
        for y in range(rows):
            for x in range(columns):
                red, green, blue = 0, 0, 0
                for v in range(y * height // rows, (y + 1) * height // rows):
                    for u in range(x * width // columns, (x + 1) * width // columns):
                        if counted[v, u]:
                            red += rgb[picture, 0, v, u]
                            green += rgb[picture, 1, v, u]
                            blue += rgb[picture, 2, v, u]
                sums[0, y, x], sums[1, y, x], sums[2, y, x] = red, green, blue
        for y in range(rows):
            for x in range(columns):
                left, right = max(0, x - 1), min(columns - 1, x + 1)
                for channel in range(4):
                    beside = np.int64(0)
                    for u in range(left, right + 1):
                        beside += sums[channel, y, u]
                    across[channel, y, x] = beside
        for y in range(rows):
            low, high = max(0, y - 1), min(rows - 1, y + 1)
            for x in range(columns):
                # Threads write the same values here.
                there[y, x] = sums[3, y, x] > 0
                if not there[y, x]:
                    continue
                red, green, blue, count = 0, 0, 0, 0
                for v in range(low, high + 1):
                    red += across[0, v, x]
                    green += across[1, v, x]
                    blue += across[2, v, x]
                    count += across[3, v, x]
                share = 1.0 / count
                r, g, b = _linear(red * share), _linear(green * share), _linear(blue * share)
                first = _root(_WEIGHTS[0, 0] * r + _WEIGHTS[0, 1] * g + _WEIGHTS[0, 2] * b)
                second = _root(_WEIGHTS[1, 0] * r + _WEIGHTS[1, 1] * g + _WEIGHTS[1, 2] * b)
                third = _root(_WEIGHTS[2, 0] * r + _WEIGHTS[2, 1] * g + _WEIGHTS[2, 2] * b)
                lab[picture, 0, y, x] = min(100.0, max(0.0, 116.0 * second - 16.0))
                lab[picture, 1, y, x] = 500.0 * (first - second)
                lab[picture, 2, y, x] = 200.0 * (second - third)


@njit(error_model="numpy")
def _extremes(lightness, there, low, high, beside_low, beside_high):
    """Lowest and highest L* within _NEAR places of each."""
    rows, columns = there.shape
    for y in range(rows):
        for x in range(columns):
            least, most = 100.0, 0.0
            for u in range(max(0, x - _NEAR), min(columns, x + _NEAR + 1)):
                if there[y, u]:
                    least, most = min(least, lightness[y, u]), max(most, lightness[y, u])
            beside_low[y, x], beside_high[y, x] = least, most
    for y in range(rows):
        for x in range(columns):
            least, most = 100.0, 0.0
            for v in range(max(0, y - _NEAR), min(rows, y + _NEAR + 1)):
                least, most = min(least, beside_low[v, x]), max(most, beside_high[v, x])
            low[y, x], high[y, x] = least, most


@njit(error_model="numpy")
def _tint_at(tint, scale, lightness, out, place):
    k, f = knot_of(lightness)
    for side in range(2):
        out[side, place] = scale * (tint[side, k] * (1.0 - f) + tint[side, k + 1] * f)


@njit(error_model="numpy")
def _miss(lab, tint, scale, slack, y, x, low, high, ends, miss):
    """How far the chroma at (y, x) lies from the tint: a and b, into miss.

    Where a dark and a bright pixel were averaged (by the frame's reduction, a codec's coarser chroma, or here), the mean lies on
    the chord between their tints and not on the curve: it may be anywhere between what the lightnesses nearby would have. Where
    channels clip, the tint falls to white within a step of L*, and anything in between may be.
    """
    _tint_at(tint, scale, lab[0, y, x], ends, _POINTS)
    own_a, own_b = ends[0, _POINTS], ends[1, _POINTS]
    miss_a, miss_b = lab[1, y, x] - own_a, lab[2, y, x] - own_b
    best = miss_a * miss_a + miss_b * miss_b
    if best > 1.0:
        for point in range(_POINTS):
            _tint_at(tint, scale, low + (high - low) * point / (_POINTS - 1), ends, point)
        if lab[0, y, x] > _CLIPS:
            _tint_at(tint, scale, min(low, _CLIPS - 5.0), ends, 0)
            ends[0, _POINTS - 1] = ends[1, _POINTS - 1] = 0.0
        for first in range(_POINTS):
            for second in range(first + 1, _POINTS):
                along_a, along_b = ends[0, second] - ends[0, first], ends[1, second] - ends[1, first]
                da, db = lab[1, y, x] - ends[0, first], lab[2, y, x] - ends[1, first]
                length = along_a * along_a + along_b * along_b
                share = min(1.0, max(0.0, (da * along_a + db * along_b) / length)) if length > 1e-12 else 0.0
                da -= share * along_a
                db -= share * along_b
                if da * da + db * db < best:
                    best, miss_a, miss_b = da * da + db * db, da, db
    distance = math.sqrt(best)
    allowed = slack * math.sqrt(own_a * own_a + own_b * own_b)
    keep = max(0.0, distance - allowed) / distance if distance > 0.0 else 0.0
    miss[0, y, x], miss[1, y, x] = miss_a * keep, miss_b * keep


@njit(error_model="numpy")
def _averaged(miss, there, rough, spare):
    """Means within _WIDE places, less a share of the mean length, into spare; returns the means' own share of it."""
    rows, columns = there.shape
    before, after = 0.0, 0.0
    for y in range(rows):
        for x in range(columns):
            count, a, b, strength = 0, 0.0, 0.0, 0.0
            for v in range(max(0, y - _WIDE), min(rows, y + _WIDE + 1)):
                for u in range(max(0, x - _WIDE), min(columns, x + _WIDE + 1)):
                    if there[v, u]:
                        count += 1
                        a += miss[0, v, u]
                        b += miss[1, v, u]
                        strength += math.sqrt(miss[0, v, u] * miss[0, v, u] + miss[1, v, u] * miss[1, v, u])
            length = math.sqrt(a * a + b * b)
            before += strength
            after += length
            keep = max(0.0, length - rough * strength) / length / count if length > 0.0 else 0.0
            spare[0, y, x], spare[1, y, x] = keep * a, keep * b
    return after / before if before > 0.0 else 1.0


@njit(error_model="numpy")
def _take_fringe(lightness, there, miss):
    """Take off what misregistered channels leave on edges: chroma that is one multiple of the slope of L* all over the picture.

    Of channels that lie apart by d places the difference is d times the slope, to first order; what that leaves is opposite on
    either side of a line, and averages out. Done only where the slope explains a good part of all chroma.
    """
    rows, columns = there.shape
    turns = np.zeros((2, 2))
    for turn in range(3):
        before, after, xx, xy, yy = 0.0, 0.0, 1e-9, 0.0, 1e-9
        sides = np.zeros((2, 2))
        for y in range(1, rows - 1):
            for x in range(1, columns - 1):
                if there[y, x] and there[y - 1, x] and there[y + 1, x] and there[y, x - 1] and there[y, x + 1]:
                    right, down = (
                        0.5 * (lightness[y, x + 1] - lightness[y, x - 1]),
                        0.5 * (lightness[y + 1, x] - lightness[y - 1, x]),
                    )
                    da = miss[0, y, x] - turns[0, 0] * right - turns[0, 1] * down
                    db = miss[1, y, x] - turns[1, 0] * right - turns[1, 1] * down
                    rest = math.sqrt(da * da + db * db)
                    weight = 1.0 / max(1.0, rest) if turn > 0 else 1.0
                    before += math.sqrt(miss[0, y, x] * miss[0, y, x] + miss[1, y, x] * miss[1, y, x])
                    after += rest
                    xx += weight * right * right
                    xy += weight * right * down
                    yy += weight * down * down
                    for side in range(2):
                        sides[side, 0] += weight * right * miss[side, y, x]
                        sides[side, 1] += weight * down * miss[side, y, x]
        whole = xx * yy - xy * xy
        if turn == 2 or whole <= 1e-6 * xx * yy:
            break
        for side in range(2):
            turns[side, 0] = min(_APART, max(-_APART, (sides[side, 0] * yy - sides[side, 1] * xy) / whole))
            turns[side, 1] = min(_APART, max(-_APART, (sides[side, 1] * xx - sides[side, 0] * xy) / whole))
    if not after < _EXPLAINED * before:
        return
    spare = np.empty((2, rows, columns))
    if _averaged(miss, there, 0.0, spare) > _CANCELS:
        return
    for y in range(rows):
        for x in range(columns):
            if there[y, x]:
                left, right = max(0, x - 1), min(columns - 1, x + 1)
                up, down = max(0, y - 1), min(rows - 1, y + 1)
                across = (lightness[y, right] - lightness[y, left]) / max(1, right - left)
                along = (lightness[down, x] - lightness[up, x]) / max(1, down - up)
                for side in range(2):
                    miss[side, y, x] -= turns[side, 0] * across + turns[side, 1] * along
    _averaged(miss, there, _ROUGH, spare)
    miss[:] = spare


@njit(error_model="numpy")
def _noise(miss, there, stride, apart):
    """Deviation of noise: by how much places differ that share no pixel. Colours hang together, noise does not."""
    rows, columns = there.shape
    pairs = 0
    for y in range(0, rows, stride):
        for x in range(y // stride % stride, columns, stride):
            for down in range(2):
                v, u = y - _LAG * down, x - _LAG * (1 - down)
                if v >= 0 and u >= 0 and there[y, x] and there[v, u]:
                    da, db = miss[0, y, x] - miss[0, v, u], miss[1, y, x] - miss[1, v, u]
                    apart[pairs] = math.sqrt(da * da + db * db)
                    pairs += 1
    # Rayleigh's quarter lies at .7585 of the deviation; a difference has twice the variance.
    return smallest(apart, pairs, pairs // 4) / (0.7585 * math.sqrt(2.0)) if pairs > 0 else 0.0


@compiled(
    types.void(
        types.Array(types.float64, 4, "C", readonly=True),
        _bool_2d,
        types.float64,
        types.float64,
        types.float64[:, ::1],
        types.intp,
        types.intp,
    )
)
def beyond_tint(lab, there, area, tail, out, begin, end):
    """Of pictures begin to end: the chroma beyond tint and noise that `area` of the picture has, and the share that has any."""
    rows, columns = there.shape
    stride = 1 if rows * columns <= 2048 else 2
    places = np.empty((5, rows * columns))
    miss = np.zeros((2, rows, columns))
    tint, fade, ends = np.empty((2, KNOTS)), np.empty(2), np.empty((2, _POINTS + 1))
    far, apart = np.empty(rows * columns), np.empty(2 * rows * columns)
    low, high = np.empty((rows, columns)), np.empty((rows, columns))
    beside_low, beside_high = np.empty((rows, columns)), np.empty((rows, columns))
    for picture in range(begin, end):
        one = lab[picture]
        count = 0
        for y in range(0, rows, stride):
            for x in range(0, columns, stride):
                if there[y, x]:
                    for channel in range(3):
                        places[channel, count] = one[channel, y, x]
                    places[3, count], places[4, count] = (2 * x + 1.0) / columns - 1.0, (2 * y + 1.0) / rows - 1.0
                    count += 1
        fit(places, count, tint, fade)
        kind = narrow(places, count, tint, fade)
        slack = _BLUE_SLACK if kind == TONING and tint[1].sum() < 0.0 else _SLACK
        if kind == NO_TINT:
            tint[:] = 0.0
        _extremes(one[0], there, low, high, beside_low, beside_high)
        for y in range(rows):
            for x in range(columns):
                if there[y, x]:
                    scale = 1.0 + fade[0] * ((2 * x + 1.0) / columns - 1.0) + fade[1] * ((2 * y + 1.0) / rows - 1.0)
                    _miss(one, tint, scale, slack, y, x, low[y, x], high[y, x], ends, miss)
        _take_fringe(one[0], there, miss)
        noise = tail * min(_MOST_NOISE, _noise(miss, there, stride, apart))
        clear = math.sqrt(_CLEAR * _CLEAR + noise * noise)
        count, coloured = 0, 0
        for y in range(rows):
            for x in range(columns):
                if there[y, x]:
                    far[count] = math.sqrt(miss[0, y, x] * miss[0, y, x] + miss[1, y, x] * miss[1, y, x])
                    # What passes for toning may be a brown room: if something in it is in colour, so is the room.
                    a, b = (one[1, y, x], one[2, y, x]) if kind == TONING else (miss[0, y, x], miss[1, y, x])
                    coloured += math.sqrt(a * a + b * b) > clear
                    count += 1
        top = smallest(far, count, count - max(1, int(count * area)))
        out[picture, 0] = math.sqrt(max(0.0, top * top - noise * noise))
        out[picture, 1] = coloured / count
