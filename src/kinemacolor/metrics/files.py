"""By hand: the same measures for any coloured video against the true one, or for two folders of pictures.

Frames are paired by their place in two videos of equally many frames, pictures by their names, never by their place in a
list. One pair lies in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from kinemacolor.colour import rgb_to_lab
from kinemacolor.errors import UserError
from kinemacolor.media.decode import decode
from kinemacolor.media.probe import probe
from kinemacolor.metrics.pixel import SSIM_WINDOW, PixelMetrics

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})


def evaluate_files(predicted: Path, truth: Path, *, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Measure a coloured video against the true one, frame by frame; or a folder of pictures, paired by name.

    Args:
        predicted, truth: two videos with equally many frames, or two folders with pictures of the same names (endings
            may differ).
        size: (height, width) to which both are brought first, by area averaging; their own, equal sizes if None.

    Returns:
        `PixelMetrics.pooled` with the height and width at which it was measured (None where pictures differ in size).

    Raises:
        UserError: a file or folder is missing or no picture; frame counts, names or sizes differ; pictures are too small.
    """
    predicted, truth = Path(predicted), Path(truth)
    for path in (predicted, truth):
        if not path.exists():
            raise UserError(f"{path} is missing: name two videos or two folders of pictures.")
    if predicted.is_dir() != truth.is_dir():
        raise UserError(f"{predicted} and {truth} are not of one kind: name two videos or two folders of pictures.")
    pairs = _picture_pairs(predicted, truth, size) if predicted.is_dir() else _frame_pairs(predicted, truth, size)
    pool = PixelMetrics()
    sizes = set()
    for first, second in pairs:
        if min(second.shape[:2]) < SSIM_WINDOW:
            raise UserError(
                f"{truth} has pictures under {SSIM_WINDOW}x{SSIM_WINDOW} pixels, too small for SSIM: use larger ones."
            )
        sizes.add(second.shape[:2])
        pool.update(rgb_to_lab(_planes(first)), _planes(second))
    height, width = sizes.pop() if len(sizes) == 1 else (None, None)
    return pool.pooled() | {"height": height, "width": width}


def _planes(picture: np.ndarray) -> Tensor:
    """(H,W,3) to (1,3,H,W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).unsqueeze(0)


def _frame_pairs(predicted: Path, truth: Path, size: tuple[int, int] | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    first, second = probe(predicted), probe(truth)
    if first.frames != second.frames:
        raise UserError(f"{predicted} has {first.frames} frames and {truth} has {second.frames}: cut them to the same frames.")
    if size is None and (first.height, first.width) != (second.height, second.width):
        raise _sizes_differ(predicted, (first.height, first.width), truth, (second.height, second.width))
    # Decoding is asked as well: a packet that holds no picture after all would shift one film against the other.
    for one, other in zip_longest(decode(predicted, size=size), decode(truth, size=size)):
        if one is None or other is None:
            raise UserError(
                f"{predicted if one is None else truth} ends before the other video does: encode both from the same frames."
            )
        yield one.pixels, other.pixels


def _picture_pairs(predicted: Path, truth: Path, size: tuple[int, int] | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    first, second = _pictures_by_name(predicted), _pictures_by_name(truth)
    if odd := sorted(first.keys() ^ second.keys()):
        name, there, absent = odd[0], *((predicted, truth) if odd[0] in first else (truth, predicted))
        raise UserError(
            f"{there} has a picture {name!r} and {absent} has none ({len(odd)} such names): give both folders the same names."
        )
    for name in sorted(first):
        one, other = _read_picture(first[name], size), _read_picture(second[name], size)
        if one.shape != other.shape:
            raise _sizes_differ(first[name], one.shape, second[name], other.shape)
        yield one, other


def _sizes_differ(first: Path, one: tuple[int, ...], second: Path, other: tuple[int, ...]) -> UserError:
    return UserError(f"{first} is {one[1]}x{one[0]} and {second} is {other[1]}x{other[0]}: give a size at which to compare them.")


def _pictures_by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _PICTURES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UserError(f"{found[path.stem]} and {path} have the same name: remove one.")
        found[path.stem] = path
    if not found:
        raise UserError(f"{folder} holds no picture ({', '.join(sorted(_PICTURES))}): name a folder of pictures.")
    return found


def _read_picture(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """uint8 RGB (H,W,3), upright, averaged to `size`."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{path} has more than 8 bits a channel: save it as 8-bit RGB.")
            picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{path} cannot be read as a picture ({error}): replace it.") from None
    if size is None or picture.shape[:2] == size:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
