"""A labelled set for the filter: real pictures made grey, tinted, faded, noisy, dark, or given a small object in colour.

Beside them stand scenes of few colours (tests/unit/painted_scenes.py). All that a film or a codec does is done at 256 by
256 and then reduced to the frame's size, as it is to a film's frames. The thresholds were chosen on CHOOSING; JUDGING was
looked at afterwards. GIVEN_UP are grey pictures that the filter takes for coloured, since a tint is of one hue. MISREGISTERED are
prints whose channels lie apart, which nobody asked for and which have figures of their own.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import skimage.data
from PIL import Image
from scipy.interpolate import PchipInterpolator
from skimage.color import lab2rgb, rgb2lab

from .painted_scenes import scenes

CHOOSING = ("motorcycle", "rocket"), ("camera", "coins", "page", "grass")
GIVEN_UP = "grey: two tones", "grey: cold shadows, warm lights"
MISREGISTERED = tuple(f"grey: {how}" for how in ("fringe of 1", "fringe of 2", "fringe of 2, JPEG 75", "sepia, fringe of 1"))
JUDGING = ("astronaut", "coffee", "chelsea"), ("brick", "moon", "clock", "gravel")
SIDE = 256
SEPIA = (1.0, 0.86, 0.65)
OBJECTS = ((200, 30, 30), (40, 160, 60), (40, 70, 200), (220, 180, 40), (200, 90, 160))


@dataclass(frozen=True)
class Labelled:
    """A picture uint8 (H,W,3), whether it is grey, its class, and how it came about."""

    picture: np.ndarray
    grey: bool
    sort: str
    what: str


def labelled(names: tuple[tuple[str, ...], tuple[str, ...]], *, side: int = SIDE, seed: int = 0) -> list[Labelled]:
    """The set made of coloured and of grey photographs, at side by side pixels."""
    coloured, grey = names
    rng = np.random.default_rng(seed)
    made: list[tuple[str, bool, str, str, np.ndarray]] = []
    for name in coloured:
        for number, view in enumerate(views(photograph(name))):
            toneless = np.repeat((view @ (0.299, 0.587, 0.114))[..., None], 3, axis=2)
            for what, is_grey, pictures in (
                ("grey", True, greys(toneless, rng)),
                ("colour", False, colours(view, rng)),
                ("object", False, objects(toneless, rng)),
            ):
                made += [(f"{name} {number}", is_grey, what, how, picture) for how, picture in pictures]
            made += [(f"{name} {number}", False, "scene", how, picture) for how, picture in scenes(toneless, rng)]
    for name in grey:
        view = reduced(np.repeat(photograph(name)[..., None], 3, axis=2).astype(float), SIDE)
        made += [(name, True, "grey", how, picture) for how, picture in greys(view, rng)]
        made += [(name, False, "object", how, picture) for how, picture in objects(view, rng)]
        made += [(name, False, "scene", how, picture) for how, picture in scenes(view, rng)]
    return [
        Labelled(reduced(in_bytes(picture), side), is_grey, f"{what}: {how.partition(',')[0] if what == 'scene' else how}", name)
        for name, is_grey, what, how, picture in made
    ]


def photograph(name: str) -> np.ndarray:
    """One of scikit-image's own."""
    return skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()


def views(picture: np.ndarray) -> Iterator[np.ndarray]:
    """The middle square and two corners, float, 256 by 256."""
    height, width = picture.shape[:2]
    side = min(height, width)
    part = int(side * 0.6)
    top, left = (height - side) // 2, (width - side) // 2
    for view in (picture[top : top + side, left : left + side], picture[:part, :part], picture[-part:, -part:]):
        yield reduced(view, SIDE).astype(float)


def greys(grey: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """What has no colour of its own."""
    luma = grey[..., :1]

    def grain(sigma: float) -> np.ndarray:
        return rng.normal(0, sigma, luma.shape)

    def noise(sigma: float) -> np.ndarray:
        return rng.normal(0, sigma, grey.shape)

    yield "as it is", grey
    for sigma in (6, 15):
        yield f"grain of {sigma}", grey + grain(sigma)
    for sigma in (4, 8):
        yield f"noise of {sigma} in each channel", grey + noise(sigma)
    for quality in (95, 75, 50, 25):
        yield f"noise and JPEG {quality}", jpeg(grey + noise(8), quality)
    yield "sepia", luma * SEPIA
    yield "sepia, clipped", np.clip(luma * (1.351, 1.203, 0.937), 0, 255)
    yield "sepia, grain, noise, JPEG 75", jpeg(luma * SEPIA + grain(6) + noise(3), 75)
    yield "sepia, JPEG 40", jpeg(luma * SEPIA, 40)
    blue = tones(grey, [(0, 0, 20), (60, 100, 160), (225, 240, 255)], smooth=False)
    yield "blue toning", blue
    yield "blue toning, noise, JPEG 60", jpeg(blue + noise(4), 60)
    yield "blue dye", luma * (0.7, 0.85, 1.0)
    yield "two tones", tones(grey, [(10, 15, 40), (110, 100, 105), (255, 240, 205)], smooth=True)
    yield "cold shadows, warm lights", tinted(grey, lambda tone: (0 * tone, 18 * np.tanh((tone - 0.5) * 3)))
    yield "cyan in the middle", tinted(grey, lambda tone: (-12 * np.sin(np.pi * tone), -8 * np.sin(np.pi * tone)))
    yield "letterboxed", barred(grey)
    yield "sepia, letterboxed, JPEG 80", jpeg(barred(luma * SEPIA), 80)
    across = np.linspace(0, 1, grey.shape[1])[None, :, None]
    down = np.linspace(0, 1, grey.shape[0])[:, None, None]
    yield "sepia, faded to a side", luma * SEPIA * (1 - across) + luma * across
    yield "sepia, faded to the top, grain", luma * SEPIA * down + luma * (1 - down) + grain(6)
    yield "sepia, half faded to a corner, JPEG 75", jpeg(luma * (1 - (1 - np.array(SEPIA)) * (1 - 0.4 * (across + down))), 75)
    for pixels in (1, 2):
        yield f"fringe of {pixels}", fringed(grey, pixels)
    yield "fringe of 2, JPEG 75", jpeg(fringed(grey, 2), 75)
    yield "sepia, fringe of 1", fringed(grey, 1) * SEPIA
    yield "dark", grey * 0.15
    yield "dark, grain and noise", grey * 0.15 + grain(3) + noise(1.5)
    yield "dark sepia", luma * SEPIA * 0.2
    yield "washed out, yellowed", grey * 0.8 + (18, 10, 0)


def colours(picture: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """What is in colour all over."""
    yield "as it is", picture
    yield "saturated", saturated(picture, 1.6)
    yield "at 30 %", saturated(picture, 0.3)
    yield "at 30 %, noise", saturated(picture, 0.3) + rng.normal(0, 4, picture.shape)
    yield "noise", picture + rng.normal(0, 10, picture.shape)
    for quality in (90, 50, 25):
        yield f"JPEG {quality}", jpeg(picture, quality)
    yield "at 50 %, JPEG 60", jpeg(saturated(picture, 0.5), 60)
    for lightness in (10, 7, 5):
        yield f"mean L* {lightness}", darkened(picture, lightness)
    yield "mean L* 7, JPEG 75", jpeg(darkened(picture, 7), 75)
    yield "mean L* 8, noise", darkened(picture, 8) + rng.normal(0, 2, picture.shape)
    yield "letterboxed", barred(picture)


def objects(grey: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """What is grey but for a small object, shaded as the picture is."""
    for share in (0.006, 0.01, 0.03):
        for colour in OBJECTS:
            yield f"{share:.1%} {colour}", painted(grey, rng, share, colour)
    yield "1 %, grain", painted(grey, rng, 0.01, OBJECTS[0]) + rng.normal(0, 8, grey[..., :1].shape)
    yield "1 %, JPEG 70", jpeg(painted(grey, rng, 0.01, OBJECTS[2]), 70)
    yield "1 % on sepia", painted(grey[..., :1] * SEPIA, rng, 0.01, OBJECTS[1])


def fringed(grey: np.ndarray, pixels: int) -> np.ndarray:
    """Red and blue moved apart, by so many pixels either way."""
    wide = np.pad(grey, ((0, 0), (pixels, pixels), (0, 0)), "edge")
    width = grey.shape[1]
    return np.stack([wide[:, :width, 0], grey[..., 1], wide[:, -width:, 2]], axis=2)


def reduced(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def in_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Written with half the chroma in both directions, and read again."""
    file = io.BytesIO()
    Image.fromarray(in_bytes(picture)).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file), float)


def tones(grey: np.ndarray, stops: list[tuple[int, int, int]], *, smooth: bool) -> np.ndarray:
    """The picture with a colour for each tone, given at even stops from black to white."""
    places, tone = np.linspace(0, 255, len(stops)), np.clip(grey[..., 0], 0, 255)
    channels = [[stop[channel] for stop in stops] for channel in range(3)]
    return np.stack([PchipInterpolator(places, c)(tone) if smooth else np.interp(tone, places, c) for c in channels], axis=2)


def tinted(grey: np.ndarray, tint) -> np.ndarray:
    """The picture with a and b as a function of L* / 100."""
    lab = rgb2lab(grey / 255)
    lab[..., 1], lab[..., 2] = tint(lab[..., 0] / 100)
    return lab2rgb(lab) * 255


def saturated(picture: np.ndarray, factor: float) -> np.ndarray:
    lab = rgb2lab(picture / 255)
    lab[..., 1:] *= factor
    return lab2rgb(lab) * 255


def darkened(picture: np.ndarray, lightness: float) -> np.ndarray:
    """As a factor to all channels leaves it that makes its mean L* this; in whole steps, as a dark film has them."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if rgb2lab(picture * middle / 255)[..., 0].mean() > lightness else (middle, high)
    return in_bytes(picture * middle).astype(float)


def barred(picture: np.ndarray) -> np.ndarray:
    """A seventh black at the top and at the bottom."""
    picture, bar = picture.copy(), len(picture) // 7
    picture[:bar] = picture[-bar:] = 0
    return picture


def painted(grey: np.ndarray, rng: np.random.Generator, share: float, colour: tuple[int, int, int]) -> np.ndarray:
    """A square of this share of the picture, somewhere in it, in a colour."""
    picture, side = grey.copy(), round(len(grey) * share**0.5)
    top, left = rng.integers(0, len(grey) - side, 2)
    place = picture[top : top + side, left : left + side]
    place[:] = np.array(colour) * (0.45 + 0.55 * place.mean(axis=2, keepdims=True) / 255)
    return picture
