"""Colouring one picture: a photograph in, the same photograph in colour out, with colour hints if the network takes them.

As in films (comparison.py), a network that predicts ab is shown the picture at the size it was trained at, its shape
kept, and its chroma is enlarged bilinearly and joined with the picture's own lightness, which keeps every detail. A network that
predicts RGB has its whole prediction enlarged, so that the picture looks as soft as it is. A network with a memory colours it as the first
frame of a shot.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from kinemacolor import colorize
from kinemacolor.colour import lab_to_rgb, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, read_json
from kinemacolor.frames.hints import RADIUS, hints_from_points
from kinemacolor.frames.resize import AreaResize
from kinemacolor.media.pictures import LARGEST, BrokenPicture, decode_picture, quietly
from kinemacolor.media.probe import probe

_FORMATS: Mapping[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},  # halved chroma would blur what the network coloured
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".tif": {"format": "TIFF", "compression": "tiff_deflate"},
    ".tiff": {"format": "TIFF", "compression": "tiff_deflate"},
}
_LARGEST_SMALL = 1 << 22
"""Pixels that a network is shown at most; a picture as long as that is a scroll."""
_STRIP = 1 << 22
"""Pixels that are joined and converted together."""


class Hint(NamedTuple):
    """A colour that a person wants at one place.

    Attributes:
        y, x: pixel of the picture, counted from its top left one, which is 0, 0.
        a, b: the colour in Lab units.
        radius: pixels of the picture that the square reaches beyond that one; None: as large as the network was trained with.
    """

    y: float
    x: float
    a: float
    b: float
    radius: float | None = None


def is_meant(picture: Path, out: Path) -> bool:
    """Whether one picture is to be coloured and not a film: by the name of `out`, and where that says nothing, by what `picture` is."""
    suffix = Path(out).suffix.lower()
    if suffix in _FORMATS or suffix in (".mp4", ".m4v", ".mov", ".mkv"):
        return suffix in _FORMATS
    return not (Path(picture).is_dir() or _is_video(Path(picture)))


def colour_picture(model: Path, picture: Path, *, out: Path, hints: Path | None = None, chroma: str = "bilinear") -> None:
    """Colour a picture file with a trained model.

    Args:
        model: the model's folder.
        picture: PNG, JPEG, TIFF or what else Pillow reads; colours that it has are not looked at. Turned upright.
        out: PNG, JPEG or TIFF to write, 8-bit RGB of the picture's size, without its metadata.
        hints: JSON file, see `read_hints`.
        chroma: how a network's ab is enlarged; see wholefilm/chroma.py.

    Raises:
        UserError: a file is missing or damaged, `picture` is no picture, `out` no name of one, hints lie outside the picture
            or are of no use to the model.
    """
    settings = _FORMATS.get(Path(out).suffix.lower())
    if settings is None:
        raise UserError(f"--out {out} is no name of a picture that is written here: let it end in .png, .jpg or .tif.")
    if Path(out).exists() and Path(picture).exists() and Path(out).samefile(picture):
        raise UserError(f"--out {out} is the picture itself: name another file.")
    pixels = _read(Path(picture))
    wanted = [] if hints is None else read_hints(Path(hints))
    coloured = colour_pixels(colorize.load(model), pixels, wanted, chroma=chroma)
    with atomic_file(out) as temporary:
        Image.fromarray(coloured).save(temporary, **settings)


def colour_pixels(
    colorizer: colorize.Colorizer, pixels: NDArray[np.uint8], hints: Sequence[Hint] = (), *, chroma: str = "bilinear"
) -> NDArray[np.uint8]:
    """Colour a picture.

    Args:
        colorizer: a trained model; `meta` says at which size it was trained.
        pixels: (H,W,3) RGB, of which only the lightness is used.
        hints: later ones cover earlier ones.
        chroma: how ab is enlarged: bilinear, or along the edges of the picture's own luminance; see wholefilm/chroma.py.

    Returns:
        (H,W,3) RGB.

    Raises:
        UserError: hints outside the picture, of a colour that no screen shows, or for a network that takes none; a picture
            too long and narrow; the model gives values that are no numbers.
    """
    height, width = size = pixels.shape[:2]
    small_height, small_width = _small(size, colorizer)
    resize = AreaResize(size, (small_height, small_width), fit="stretch")
    lightness = rgb_to_lab(torch.from_numpy(resize(pixels)))[None, :1]
    shown = _shown(hints, size, (small_height, small_width)) if hints else None
    colorizer.reset()
    lab = colorizer(lightness, hints=shown).cpu()
    if not bool(torch.isfinite(lab).all()):
        raise UserError(
            f"The model {colorizer.name} gives values that are no numbers: train it again with a lower learning rate."
        )
    small = lab[:, 1:] if colorizer.keeps_luminance else lab_to_rgb(lab)
    if colorizer.keeps_luminance and chroma != "bilinear":
        large = _along_edges(small[0], pixels, resize, chroma)
    else:
        large = _enlarged(small, (height, width))
    return _joined(large, pixels, keeps_luminance=colorizer.keeps_luminance)


def _small(size: tuple[int, int], colorizer: colorize.Colorizer) -> tuple[int, int]:
    """Height and width at which the network is shown a picture of `size`: the shorter side as in training, the shape kept."""
    try:
        short = min(map(int, colorizer.meta["size"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"meta.json of {colorizer.name} does not say at which size it was trained: train it again.") from None
    scale = short / min(size)
    small = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
    if small[0] * small[1] > _LARGEST_SMALL:
        raise UserError(
            f"A picture of {size[1]}x{size[0]} pixels is too long and narrow to be coloured as one: cut it into parts."
        )
    return small


def _enlarged(small: Tensor, size: tuple[int, int]) -> Tensor:
    """(1,C,h,w) to (C,H,W), bilinearly."""
    return functional.interpolate(small, size, mode="bilinear", antialias=size[0] < small.shape[2])[0]


def _along_edges(small: Tensor, pixels: NDArray[np.uint8], resize: AreaResize, method: str) -> Tensor:
    """ab (2,h,w) to (2,H,W) along the edges of a picture's own luminance."""
    import cv2

    from kinemacolor.wholefilm.chroma import Enlarger

    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    guides = [plane.astype(np.float32) / np.float32(2.55) for plane in (resize(luma)[0], luma)]
    return torch.from_numpy(Enlarger(small.shape[1:], luma.shape, method=method)(small.numpy(), *guides))


def _joined(large: Tensor, pixels: NDArray[np.uint8], *, keeps_luminance: bool) -> NDArray[np.uint8]:
    """ab (2,H,W) with the picture's own L*, or RGB (3,H,W) as it is, as (H,W,3); strip by strip, since photographs are large."""
    out = np.empty_like(pixels)
    step = max(1, _STRIP // pixels.shape[1])
    for top in range(0, len(pixels), step):
        strip = large[:, top : top + step]
        if keeps_luminance:
            own = rgb_to_lab(torch.from_numpy(np.array(pixels[top : top + step].transpose(2, 0, 1), order="C")))
            strip = lab_to_rgb(torch.cat((own[:1], strip)))
        out[top : top + step] = to_uint8(strip).permute(1, 2, 0).numpy()
    return out


# ---------------------------------------------------------------------------------------------------- hints


def read_hints(file: Path) -> list[Hint]:
    """Colour hints from a JSON file: a list of {"y", "x", "a", "b"} or {"y", "x", "rgb": "#aabbcc"}, each with a `radius` if wanted.

    Raises:
        UserError: the file is missing or no such list; names the entry.
    """
    values = read_json(file, "name a file of hints")
    if not isinstance(values, list):
        raise UserError(f'{file} is no list of hints: write [{{"y": 10, "x": 20, "rgb": "#aabbcc"}}, ...].')
    return [_hint(value, f"{file}, hint {number}") for number, value in enumerate(values, 1)]


def _hint(value: Any, where: str) -> Hint:
    if not isinstance(value, dict) or not {"y", "x"} <= value.keys() or ("rgb" in value) == bool({"a", "b"} & value.keys()):
        raise UserError(f"{where}: give y, x, and either rgb or a and b.")
    if unknown := sorted(value.keys() - {"y", "x", "a", "b", "rgb", "radius"}):
        raise UserError(f"{where}: {unknown[0]!r} is unknown: give y, x, rgb or a and b, and radius if wanted.")
    found = dict(value)
    if (rgb := found.pop("rgb", None)) is not None:
        if not isinstance(rgb, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", rgb):
            raise UserError(f"{where}: {rgb!r} is no colour: write it as #aabbcc.")
        colour = torch.tensor(list(bytes.fromhex(rgb[1:])), dtype=torch.uint8)
        found["a"], found["b"] = rgb_to_lab(colour[:, None, None])[1:].flatten().tolist()
    if missing := {"a", "b"} - found.keys():
        raise UserError(f"{where}: {missing.pop()} is missing: give a and b, or rgb.")
    for name, number in found.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < float("inf"):
            raise UserError(f"{where}: {name} is {number!r}, which is no number: correct it.")
    if found.get("radius", 0) < 0:
        raise UserError(f"{where}: radius is {found['radius']:g}: give 0 or more pixels.")
    return Hint(**found)


def _shown(hints: Sequence[Hint], size: tuple[int, int], small: tuple[int, int]) -> Tensor:
    """What the network is shown of hints for a picture of `size`, which it sees as `small`."""
    points = []
    for number, hint in enumerate(hints, 1):
        if not (0 <= hint.y < size[0] and 0 <= hint.x < size[1]):
            raise UserError(
                f"Hint {number} lies outside the picture (y {hint.y:g}, x {hint.x:g} of {size[0]}x{size[1]}): "
                f"give y from 0 to {size[0] - 1} and x from 0 to {size[1] - 1}."
            )
        y, x = (min(int((at + 0.5) * to / of), to - 1) for at, of, to in zip((hint.y, hint.x), size, small, strict=True))
        radius = RADIUS if hint.radius is None else round(hint.radius * small[0] / size[0])
        points.append((y, x, hint.a, hint.b, radius))
    return hints_from_points(points, *small)


# --------------------------------------------------------------------------------------------------- picture


def _read(picture: Path) -> NDArray[np.uint8]:
    """The pixels of a picture file, upright."""
    try:
        data = picture.read_bytes() if picture.stat().st_size <= LARGEST else b""
    except FileNotFoundError:
        raise UserError(f"{picture} is missing: name a picture.") from None
    except OSError as error:
        raise UserError(f"{picture} cannot be read ({error.strerror}): name a picture.") from None
    try:
        with quietly():
            return decode_picture(data)
    except BrokenPicture as error:
        if _is_video(picture):
            raise UserError(f"{picture} is a video: let --out end in .mkv or .mp4, and all of it is coloured.") from None
        raise UserError(f"{picture} cannot be read as a picture ({error}): name a PNG, JPEG or TIFF.") from None


def _is_video(file: Path) -> bool:
    try:
        return probe(file).duration > 0
    except UserError:
        return False
