"""Scenes of a made print's own: drawn, but so that nothing tells them from film by a look at one frame.

Each scene is cut into shots. A shot is a textured set, wider than the picture, over which a camera moves, with things that
cross it on paths of their own. Everything is drawn from the seed, the scene's number and the shot's: the same arguments give
the same pictures, in any order, and no two scenes are alike.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_SHOT = (44, 130)  # frames
_MARGIN = 1.7  # the set's size, in pictures


class _Thing(NamedTuple):
    """Something that crosses the set."""

    sprite: NDArray[np.float32]  # (side, side, 4): luma, two chromas, cover
    start: NDArray[np.float64]  # in pictures
    travel: NDArray[np.float64]
    sway: NDArray[np.float64]  # reach in pictures, turns a shot, phase
    spin: float
    growth: float


class _Shot(NamedTuple):
    stage: NDArray[np.float32]  # (H, W, 3): luma 0..1, chromas -1..1
    camera: NDArray[np.float64]  # start and end: x, y (-1..1 of the margin), zoom, roll
    shake: NDArray[np.float64]
    things: tuple[_Thing, ...]


def scene_frame(
    scene: int, number: int, length: int, *, height: int, width: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Frame `number` of an added scene of `length` frames. Ours.

    Returns:
        Luma (height, width), full range 0..255, and the two chromas (2, height / 2, width / 2), 128 for none; both sides even.
    """
    which, start, end = _place(scene, number, length, seed)
    shot = _shot(scene, which, height, width, seed)
    share = (number - start) / max(1, end - start - 1)
    picture = _seen(shot, share, number, height, width)
    for thing in shot.things:
        _cross(picture, thing, share)
    luma = np.clip(np.rint(picture[..., 0] * 255), 0, 255).astype(np.uint8)
    small = cv2.resize(picture[..., 1:], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma = np.clip(np.rint(128 + 112 * small), 16, 240).astype(np.uint8)
    return luma, np.ascontiguousarray(chroma.transpose(2, 0, 1))


def _place(scene: int, number: int, length: int, seed: int) -> tuple[int, int, int]:
    """The shot in which a frame lies: its number, first frame and the one after its last."""
    rng, start, which = np.random.default_rng([abs(seed), 0x5CE, scene]), 0, 0
    while True:
        end = start + int(rng.integers(*_SHOT))
        if length - end < _SHOT[0] // 2:  # no shot of a few frames at the end
            end = length
        if number < end:
            return which, start, end
        start, which = end, which + 1


@functools.lru_cache(maxsize=3)
def _shot(scene: int, which: int, height: int, width: int, seed: int) -> _Shot:
    rng = np.random.default_rng([abs(seed), 0x5CE, scene, which])
    stage = _stage(rng, round(height * _MARGIN), round(width * _MARGIN))
    camera = np.empty((2, 4))
    camera[:, :2] = rng.uniform(-0.9, 0.9, (2, 2))
    camera[:, 2] = rng.uniform(1.0, 1.35, 2)
    camera[:, 3] = rng.normal(0, 1.5, 2)
    if rng.random() < 0.4:  # a camera that hardly moves
        camera[1] = camera[0] + rng.normal(0, 0.03, 4)
    things = tuple(_thing(rng, height, width) for _ in range(rng.integers(2, 6)))
    return _Shot(stage, camera, np.append(rng.uniform(0, 0.004, 2), rng.uniform(0, 6.28, 2)), things)


def _noise(rng: np.random.Generator, height: int, width: int, *, coarsest: int, octaves: int, fall: float) -> NDArray[np.float32]:
    """Noise of many sizes, mean zero, deviation one."""
    whole = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        rows = coarsest << octave
        grid = rng.normal(0, 1, (rows, max(2, rows * width // height))).astype(np.float32)
        whole += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * fall**octave
    return (whole - whole.mean()) / max(1e-6, float(whole.std()))


def _stage(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A set: ground and sky or a room, with fronts and posts before it, each of its own texture and light."""
    texture = _noise(rng, height, width, coarsest=3, octaves=7, fall=rng.uniform(0.55, 0.75))
    stage = np.empty((height, width, 3), np.float32)
    light = np.linspace(rng.uniform(0.3, 0.85), rng.uniform(0.15, 0.6), height, dtype=np.float32)[:, None]
    stage[..., 0] = light + rng.uniform(0.06, 0.14) * texture
    for channel in (1, 2):
        stage[..., channel] = rng.normal(0, 0.14) + 0.07 * _noise(rng, height, width, coarsest=2, octaves=3, fall=0.5)
    for _ in range(rng.integers(6, 15)):
        mask = np.zeros((height, width), np.uint8)
        middle = rng.uniform([0, 0.1 * height], [width, height])
        if rng.random() < 0.6:  # a front
            size = rng.uniform([0.04 * width, 0.1 * height], [0.3 * width, 0.6 * height])
            box = cv2.boxPoints((middle.tolist(), size.tolist(), float(rng.normal(0, 4))))
            cv2.fillPoly(mask, [np.int32(box)], 255, cv2.LINE_AA)
        else:  # a tree, a rock, a crowd
            angles = np.sort(rng.uniform(0, 2 * np.pi, 11))
            reach = rng.uniform(0.04, 0.22) * height * rng.uniform(0.6, 1.3, 11)
            outline = middle + np.stack([np.cos(angles) * reach * 1.2, np.sin(angles) * reach], 1)
            cv2.fillPoly(mask, [np.int32(outline)], 255, cv2.LINE_AA)
        cover = cv2.GaussianBlur(mask, (0, 0), max(0.6, height * rng.uniform(0.001, 0.004))).astype(np.float32)[..., None] / 255
        grain = _noise(rng, height, width, coarsest=6, octaves=5, fall=0.8) if rng.random() < 0.35 else texture
        paint = np.empty_like(stage)
        paint[..., 0] = rng.uniform(0.08, 0.9) + rng.uniform(0.02, 0.1) * grain
        paint[..., 1:] = rng.normal(0, 0.16, 2)
        stage += cover * (paint - stage)
    across, down = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    stage[..., 0] = np.clip(stage[..., 0], 0.02, 0.98) * (1 - 0.12 * (across**2 + down**2))
    return stage


def _thing(rng: np.random.Generator, height: int, width: int) -> _Thing:
    """A soft-edged body with light on one side."""
    side = 2 * round(height * rng.uniform(0.07, 0.28))
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j].astype(np.float32)
    angle, radius = np.arctan2(y, x), np.hypot(x / rng.uniform(0.5, 0.95), y / 0.95)
    edge = 1 + sum(rng.normal(0, 0.09) * np.cos(k * angle + rng.uniform(0, 6.28)) for k in range(2, 6))
    cover = np.clip((edge * 0.85 - radius) * side * 0.3, 0, 1)
    sprite = np.empty((side, side, 4), np.float32)
    shade = rng.normal(0, 1, 2)
    light = (x * shade[0] + y * shade[1]) / max(0.3, float(np.hypot(*shade)))
    texture = _noise(rng, side, side, coarsest=2, octaves=5, fall=0.7)
    sprite[..., 0] = np.clip(rng.uniform(0.15, 0.85) + 0.16 * light + 0.07 * texture, 0.02, 0.98)
    sprite[..., 1:3] = rng.normal(0, 0.22, 2)
    sprite[..., 3] = cover
    ratio = height / width
    start = np.array([rng.uniform(0, 1), rng.uniform(0.3, 0.95)])
    travel = np.array([rng.choice([-1, 1]) * rng.uniform(0.1, 0.9), rng.normal(0, 0.15) * ratio])
    sway = np.array([rng.uniform(0, 0.05), rng.uniform(0.5, 5), rng.uniform(0, 6.28)])
    return _Thing(sprite, start - travel / 2, travel, sway, rng.normal(0, 40), rng.normal(0, 0.35))


def _seen(shot: _Shot, share: float, number: int, height: int, width: int) -> NDArray[np.float32]:
    """The set through the camera at `share` of the shot."""
    smooth = share + 0.3 * math.sin(2 * math.pi * share) / (2 * math.pi)
    x, y, zoom, roll = shot.camera[0] + smooth * (shot.camera[1] - shot.camera[0])
    reach = (_MARGIN - 1) / 2 - 0.08
    x = x * reach + shot.shake[0] * math.sin(0.31 * number + shot.shake[2])
    y = y * reach + shot.shake[1] * math.sin(0.23 * number + shot.shake[3])
    tall, wide = shot.stage.shape[:2]
    matrix = cv2.getRotationMatrix2D((wide / 2 + x * width, tall / 2 + y * height), roll, zoom)
    matrix[:, 2] += (width / 2 - wide / 2 - x * width, height / 2 - tall / 2 - y * height)
    return cv2.warpAffine(shot.stage, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _cross(picture: NDArray[np.float32], thing: _Thing, share: float) -> None:
    """Lay a thing over the picture where it is at `share` of the shot; in place."""
    height, width = picture.shape[:2]
    side = len(thing.sprite)
    middle = thing.start + share * thing.travel
    middle[1] += thing.sway[0] * math.sin(2 * math.pi * thing.sway[1] * share + thing.sway[2])
    at, scale = middle * (width, height), max(0.3, 1 + thing.growth * share)
    reach = side / 2 * scale * 1.45
    left, top = (max(0, int(v)) for v in at - reach)
    right, bottom = min(width, int(at[0] + reach) + 1), min(height, int(at[1] + reach) + 1)
    if left >= right or top >= bottom:
        return
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), thing.spin * share, scale)
    matrix[:, 2] += at - side / 2 - (left, top)
    sprite = cv2.warpAffine(thing.sprite, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    area = picture[top:bottom, left:right]
    area += sprite[..., 3:] * (sprite[..., :3] - area)
