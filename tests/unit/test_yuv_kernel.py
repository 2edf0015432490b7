"""RGB to 4:2:0 by the kernel: against the formulas of BT.709 in floating point, and against what decoders make of it."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from skimage import data

from kinemacolor.media.decode import decode
from kinemacolor.media.encode import VideoWriter
from kinemacolor.media.yuv_kernel import from_rgb


def converted(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    height, width = rgb.shape[:2]
    planes = np.zeros((height, width), np.uint8), *(np.zeros((height // 2, width // 2), np.uint8) for _ in range(2))
    from_rgb(np.ascontiguousarray(rgb).reshape(height, -1), *planes)
    return planes


def exact(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ITU-R BT.709 with eight bits, and chroma as the mean of what stands around its place."""
    red, green, blue = np.moveaxis(rgb / 255.0, -1, 0)
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def halved(full: np.ndarray) -> np.ndarray:
        rows = (full[::2] + full[1::2]) / 2
        before = np.concatenate((rows[:, :1], rows[:, 1:-1:2]), axis=1)
        return (before + 2 * rows[:, ::2] + rows[:, 1::2]) / 4

    cb, cr = halved((blue - luma) / 1.8556), halved((red - luma) / 1.5748)
    return 16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr


@pytest.mark.parametrize("size", [(2, 2), (2, 4), (48, 64), (34, 130)])
def test_the_kernel_is_the_formula_to_the_nearest(size: tuple[int, int]):
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    for plane, value in zip(converted(noise), exact(noise), strict=True):
        assert np.abs(plane - value).max() < 0.52


def test_white_black_and_greys_have_no_colour():
    for shade, luma in ((0, 16), (255, 235), (128, 126)):
        planes = converted(np.full((4, 6, 3), shade, np.uint8))
        assert [set(plane.flat) for plane in planes] == [{luma}, {128}, {128}]


@pytest.mark.parametrize("size", [(256, 256), (255, 253)])
def test_a_video_shows_the_photograph_where_it_was(tmp_path: Path, size: tuple[int, int]):
    """As near to it as what ffmpeg makes by itself, and nearest without a shift: chroma sits where decoders look for it."""
    photograph = np.ascontiguousarray(data.astronaut()[100 : 100 + size[0], 100 : 100 + size[1]])
    shown = {}
    for compiled in (False, True):
        path = tmp_path / f"{compiled}.mp4"
        with VideoWriter(path, height=size[0], width=size[1], frame_rate=Fraction(25), crf=1, compiled=compiled) as writer:
            for _ in range(3):
                writer.write(photograph)
        picture = next(decode(path)).pixels
        assert picture.shape[:2] == (size[0] + size[0] % 2, size[1] + size[1] % 2)
        shown[compiled] = picture[: size[0], : size[1]].astype(int)
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (1, 1, 1, 1)
    off = {compiled: np.abs(picture - photograph).mean() for compiled, picture in shown.items()}
    assert off[True] < 1.15 * off[False] < 4
    for shift in (-1, 1):
        chroma = shown[True] - shown[True].mean(axis=-1, keepdims=True)
        true = photograph - photograph.mean(axis=-1, keepdims=True)
        assert np.abs(chroma - true).mean() < np.abs(np.roll(chroma, shift, 1) - true)[:, 4:-4].mean()
