"""Scenes in colour: of few colours (sunset, cartoon, game screen), and of one hue (snow, under water, green night).

Those of one hue cannot be told from toned prints as single pictures; tests/unit/test_filter.py judges them inside films only.
"""

from collections.abc import Iterator

import numpy as np

SUNSETS = [(20, 10, 60), (160, 50, 70), (250, 140, 40), (255, 230, 150)], [(60, 40, 80), (200, 90, 60), (255, 180, 90)]
SNOWS = [(90, 150, 220), (170, 205, 240), (245, 248, 252), (250, 250, 252)], [(70, 120, 200), (140, 180, 235), (250, 251, 255)]
WATERS = [(120, 220, 230), (30, 140, 180), (5, 50, 90), (0, 15, 40)], [(90, 190, 170), (20, 110, 120), (0, 40, 60)]
NIGHTS = (0.25, 1.0, 0.35), (0.35, 0.9, 0.3)


def scenes(grey: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Of a toneless picture, float (H,W,3), 0 to 255: names, up to a comma of the class, and pictures of its size."""
    luma, (height, width) = grey[..., :1] / 255, grey.shape[:2]
    for number in range(2):
        yield f"sunset, {number}", silhouette(slope(jittered(SUNSETS[number], rng), height, width), luma)
        yield f"flat cartoon, {number}", cartoon(height, width, rng)
        yield f"game screen, {number}", game(height, width, rng)


def of_one_hue(grey: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """The same of scenes whose only colour is one hue."""
    luma, (height, width) = grey[..., :1] / 255, grey.shape[:2]
    for number in range(2):
        snow = slope(jittered(SNOWS[number], rng), height, width)
        snow[height // 2 :] *= 0.75 + 0.25 * luma[height // 2 :]
        yield f"snow under a blue sky, {number}", snow
        yield f"under water, {number}", slope(jittered(WATERS[number], rng), height, width) * (0.6 + 0.4 * luma)
        yield f"green night, {number}", luma * np.array(NIGHTS[number]) * rng.uniform(90, 200)


def jittered(stops: list[tuple[int, int, int]], rng: np.random.Generator) -> np.ndarray:
    return np.clip(np.array(stops, float) + rng.normal(0, 8, (len(stops), 3)), 0, 255)


def slope(stops: np.ndarray, height: int, width: int) -> np.ndarray:
    """From the first colour at the top to the last at the bottom."""
    places = np.linspace(0, len(stops) - 1, height)
    rows = np.stack([np.interp(places, np.arange(len(stops)), stops[:, channel]) for channel in range(3)], axis=1)
    return np.repeat(rows[:, None], width, axis=1)


def silhouette(sky: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """The lowest third of the sky hidden by dark land."""
    picture, land = sky.copy(), len(sky) * 2 // 3
    picture[land:] = 30 * luma[land:]
    return picture


def palette(rng: np.random.Generator, number: int) -> np.ndarray:
    """Clear colours, none grey: (number,3)."""
    colours = rng.permutation(
        np.array([(135, 206, 250), (60, 160, 60), (180, 30, 30), (250, 220, 40), (30, 50, 180), (240, 150, 60)])
    )
    return np.clip(colours[:number] + rng.normal(0, 12, (number, 3)), 0, 255)


def cartoon(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Sky, ground and a house, each of one flat colour, with black outlines."""
    sky, ground, house = palette(rng, 3)
    picture = np.empty((height, width, 3))
    edge, left = int(height * rng.uniform(0.4, 0.8)), int(width * rng.uniform(0.1, 0.6))
    picture[:edge], picture[edge:] = sky, ground
    picture[edge - height // 5 : edge + height // 12, left : left + width // 4] = house
    picture[edge - 1 : edge + 1] = 0
    return picture


def game(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Tiles of a few colours and of black, from coarse to fine."""
    tiles = int(rng.choice([8, 16, 32]))
    colours = np.concatenate([palette(rng, int(rng.integers(2, 5))), np.zeros((2, 3))])
    board = colours[rng.integers(0, len(colours), (tiles, tiles))]
    return np.kron(board, np.ones((height // tiles, width // tiles, 1)))
