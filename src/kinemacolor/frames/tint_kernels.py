"""Compiled loops that find a picture's tint, for frames/grey_kernels.py.

A tint is a narrow thing: one hue, no strong one, smooth in lightness, at most fading towards a side of the picture. Whatever needs more than
that is no tint but the colours of what is shown, and then nothing is taken off (`narrow`).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

AT = np.array([0.0, 20.0, 40.0, 60.0, 80.0, 90.0, 100.0])
"""L* at which the tint is known; straight between them. The last are closer, since highlights clip."""
KNOTS = len(AT)
_CONVEX, _ROBUST = 6, 4
"""Rounds of reweighting by 1/distance, which has one solution, then by a weight that gives up what lies far off."""
_BEND, _SLANT = 5e-4, 1e-5
"""Price of a bend and of a slant of the tint between knots, against a weight of one for all pixels together."""
_FADE = 0.02
"""Price of a tint that fades towards a side."""
_NOISE = 1.0
"""Distances below this (Lab) are all the same to the fit."""
_PALE, _PALE_SLOPE, _PALEST = 6.0, 0.33, 32.0
"""A dye's chroma at L* 0, how much more it may have a step of L*, and its most. A dye scales channels, and so chroma with L*."""
_TONED, _TONED_SLOPE, _TONED_MOST = 24.0, 0.7, 42.0
"""The same of toning, which may colour shadows strongly: iron blue has a chroma of 20 at L* 5 and of 37 at L* 42."""
NO_TINT, DYE, TONING = 0, 1, 2
_EXCESS = 0.05
"""Share of the picture at which the curve may have more than that."""
_HUE, _HUELESS = 0.13, 0.5
"""How much shorter the mean tint may be than the mean of its lengths: 1 - cos 30 degrees, or by Lab units."""
_TONES, _STRONG, _WEAKEST = (8.0, 90.0), 0.1, 0.12
"""Between these L* a dye's chroma over L* + 16 is nearly the same throughout. Where it is above the second figure in a tenth of the
picture, and under this share of itself in another, some things are coloured and others are not."""


@njit(error_model="numpy")
def smallest(values, count, place):
    """The value at `place` of the first `count` if they were sorted; reorders them. Hoare's find."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                held = values[i]
                values[i] = values[j]
                values[j] = held
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            break
    return values[place]


@njit(error_model="numpy")
def knot_of(lightness):
    """The knot below, and how far on to the next, 0 to 1."""
    k = 0
    while k < KNOTS - 2 and lightness >= AT[k + 1]:
        k += 1
    return k, (lightness - AT[k]) / (AT[k + 1] - AT[k])


@njit(error_model="numpy")
def _solve(band, right):
    """Solve a symmetric system of bandwidth two for two right sides; band (3,n): diagonal, first and second beside it."""
    n = band.shape[1]
    for k in range(n):
        for j in range(1, min(3, n - k)):
            share = band[j, k] / band[0, k]
            for i in range(j, min(3, n - k)):
                band[i - j, k + j] -= share * band[i, k]
            for side in range(2):
                right[side, k + j] -= share * right[side, k]
    for k in range(n - 1, -1, -1):
        for side in range(2):
            value = right[side, k]
            for j in range(1, min(3, n - k)):
                value -= band[j, k] * right[side, k + j]
            right[side, k] = value / band[0, k]


@njit(error_model="numpy")
def _prices(band, total):
    """Add what slants and bends cost."""
    for k in range(KNOTS):
        band[0, k] += 1e-9 * total
    for k in range(KNOTS - 1):
        band[0, k] += _SLANT * total
        band[0, k + 1] += _SLANT * total
        band[1, k] -= _SLANT * total
    unit = 100.0 / (KNOTS - 1)
    for k in range(1, KNOTS - 1):
        before, after = unit / (AT[k] - AT[k - 1]), unit / (AT[k + 1] - AT[k])
        here = -(before + after)
        band[0, k - 1] += _BEND * total * before * before
        band[0, k] += _BEND * total * here * here
        band[0, k + 1] += _BEND * total * after * after
        band[1, k - 1] += _BEND * total * before * here
        band[1, k] += _BEND * total * here * after
        band[2, k - 1] += _BEND * total * before * after


@njit(error_model="numpy")
def fit(places, count, tint, fade):
    """The chroma that most places have, as a smooth curve over L* times a slow change across the picture.

    Iteratively reweighted least squares, curve and change in turns.

    Args:
        places: (5,n): L*, a, b, x and y (-1 to 1); the first count hold.
        tint: (2,KNOTS), fade: (2,), to fill: at (x, y) the tint is the curve's times 1 + fade[0] x + fade[1] y.
    """
    weight, far, again = np.ones(count), np.empty(count), np.empty(count)
    knot, part = np.empty(count, np.int64), np.empty(count)
    band = np.empty((3, KNOTS))
    for i in range(count):
        knot[i], part[i] = knot_of(places[0, i])
    fade[:] = 0.0
    for turn in range(_CONVEX + _ROBUST):
        band[:] = 0.0
        tint[:] = 0.0
        total = 0.0
        for i in range(count):
            k, w = knot[i], weight[i]
            scale = 1.0 + fade[0] * places[3, i] + fade[1] * places[4, i]
            f, g = scale * part[i], scale * (1.0 - part[i])
            total += w
            band[0, k] += w * g * g
            band[1, k] += w * f * g
            band[0, k + 1] += w * f * f
            for side in range(2):
                tint[side, k] += w * g * places[1 + side, i]
                tint[side, k + 1] += w * f * places[1 + side, i]
        _prices(band, total)
        _solve(band, tint)
        xx, xy, yy, x_off, y_off, strength = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(count):
            k, f, x, y = knot[i], part[i], places[3, i], places[4, i]
            a, b = tint[0, k] * (1.0 - f) + tint[0, k + 1] * f, tint[1, k] * (1.0 - f) + tint[1, k + 1] * f
            square = weight[i] * (a * a + b * b)
            along = weight[i] * ((places[1, i] - a) * a + (places[2, i] - b) * b)
            strength += square
            xx += square * x * x
            xy += square * x * y
            yy += square * y * y
            x_off += along * x
            y_off += along * y
        # A mean tint of half a unit, and price enough that what has none does not fade.
        price = _FADE * strength + 0.25 * total
        xx += price
        yy += price
        whole = xx * yy - xy * xy
        fade[0], fade[1] = (x_off * yy - y_off * xy) / whole, (y_off * xx - x_off * xy) / whole
        steep = abs(fade[0]) + abs(fade[1])
        if steep > 1.0:
            fade /= steep
        for i in range(count):
            k, f = knot[i], part[i]
            scale = 1.0 + fade[0] * places[3, i] + fade[1] * places[4, i]
            da = places[1, i] - scale * (tint[0, k] * (1.0 - f) + tint[0, k + 1] * f)
            db = places[2, i] - scale * (tint[1, k] * (1.0 - f) + tint[1, k + 1] * f)
            far[i] = math.sqrt(da * da + db * db)
            again[i] = far[i]
        if turn < _CONVEX:
            for i in range(count):
                weight[i] = 1.0 / max(far[i], _NOISE)
        else:
            reach = 1.5 * max(_NOISE, 2.0 * smallest(again, count, count // 2))
            for i in range(count):
                share = 1.0 + (far[i] / reach) * (far[i] / reach)
                weight[i] = 1.0 / (share * share)


@njit(error_model="numpy")
def narrow(places, count, tint, fade):
    """Is what was fitted a tint, of one hue over the whole picture and upon all tones: NO_TINT, or as pale as a DYE, or as TONING?"""
    much, beyond, toned, mean_a, mean_b, mean = 0, 0, 0, 0.0, 0.0, 0.0
    strength = np.empty(count)
    for i in range(count):
        k, f = knot_of(places[0, i])
        scale = 1.0 + fade[0] * places[3, i] + fade[1] * places[4, i]
        a = scale * (tint[0, k] * (1.0 - f) + tint[0, k + 1] * f)
        b = scale * (tint[1, k] * (1.0 - f) + tint[1, k + 1] * f)
        chroma = math.sqrt(a * a + b * b)
        if _TONES[0] < places[0, i] < _TONES[1] and scale > 0.0:
            strength[toned] = chroma / scale / (places[0, i] + 16.0)
            toned += 1
        mean_a += a
        mean_b += b
        mean += chroma
        much += chroma > min(_PALE + _PALE_SLOPE * places[0, i], _PALEST)
        beyond += chroma > min(_TONED + _TONED_SLOPE * places[0, i], _TONED_MOST)
    lost = mean - math.sqrt(mean_a * mean_a + mean_b * mean_b)
    if toned > 0:
        strong = smallest(strength, toned, (9 * toned) // 10)
        weak = smallest(strength, toned, toned // 10)
        if strong > _STRONG and weak < _WEAKEST * strong:
            return NO_TINT
    if beyond > _EXCESS * count or lost > max(_HUE * mean, _HUELESS * count):
        return NO_TINT
    return DYE if much <= _EXCESS * count else TONING
