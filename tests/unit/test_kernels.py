"""Compiled inner loops against plain second implementations, to the byte: Lab, resizing, and windows out of frames."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from skimage import color

from kinemacolor import cores, lab_kernels
from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.compiled import in_slabs
from kinemacolor.frames import kernels
from kinemacolor.frames.resize import AreaResize, area_weights
from kinemacolor.frames.window import Window
from kinemacolor.lab_values import CUBE_FROM, OFFSET, RATIOS_FROM_RGB, SLOPE, linear_steps

PACKAGE = Path(lab_kernels.__file__).parent
F = np.float32


def lab_step_by_step(rgb: np.ndarray) -> np.ndarray:
    """The kernel's own operations in numpy, each rounded to float32, in the same order."""
    red, green, blue = linear_steps()[rgb]

    def root(ratio: np.ndarray) -> np.ndarray:
        cube = np.where(ratio > F(CUBE_FROM), ratio, F(CUBE_FROM))
        thirds = (cube.view(np.int32).astype(np.float32) * F(1 / 3)).astype(np.int32)
        inverse = (np.int32(0x54A20000) - thirds).view(np.float32)
        h = F(1) - cube * (inverse * inverse * inverse)
        inverse = inverse + inverse * h * (F(1 / 3) + h * (F(2 / 9) + h * F(14 / 81)))
        square = inverse * inverse
        found = cube * square
        found = found - (found * found * found - cube) * (square * F(1 / 3))
        return np.where(ratio > F(CUBE_FROM), found, ratio * F(SLOPE) + F(OFFSET))

    x, y, z = (root(red * F(row[0]) + green * F(row[1]) + blue * F(row[2])) for row in RATIOS_FROM_RGB)
    return np.stack((F(116) * y - F(16), F(500) * (x - y), F(200) * (y - z)))


def reds(step: int):
    """All greens and blues with every `step`th red, uint8 (3, 256, 256)."""
    green, blue = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8), indexing="ij")
    for red in range(0, 256, step):
        yield np.stack((np.full_like(green, red), green, blue))


def test_lab_of_a_million_colours_is_scikit_images_and_to_the_bit_that_of_ieee_operations_one_by_one():
    for picture in reds(17):
        found = rgb_to_lab(torch.from_numpy(picture)).numpy()
        assert np.array_equal(found, lab_step_by_step(picture)), "nothing is contracted or reordered"
        assert np.abs(found - color.rgb2lab(picture.transpose(1, 2, 0)).transpose(2, 0, 1)).max() < 8e-5


@given(
    shape=st.tuples(st.integers(0, 3), st.just(3), st.integers(1, 40), st.integers(1, 40)),
    threads=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_lab_does_not_hang_on_the_batch_the_layout_or_the_threads(shape, threads, data):
    rgb = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 256, shape, dtype=np.uint8)
    expected = np.empty(shape, np.float32)
    for picture, lab in zip(rgb, expected, strict=True):
        lab[:] = lab_step_by_step(picture)
    found = np.empty(shape, np.float32)
    lab_kernels.rgb_to_lab(rgb, found, threads=threads)
    assert np.array_equal(found, expected)
    other = torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2)
    assert np.array_equal(rgb_to_lab(other).numpy(), expected)
    assert np.array_equal(rgb_to_lab(torch.from_numpy(rgb)[..., ::2, 1:]).numpy(), expected[..., ::2, 1:])


def test_large_batches_are_the_same_on_one_thread_and_on_three():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 3, 200, 301), dtype=np.uint8)
    one, three = np.empty(rgb.shape, np.float32), np.empty(rgb.shape, np.float32)
    lab_kernels.rgb_to_lab(rgb, one)
    lab_kernels.rgb_to_lab(rgb, three, threads=3)
    assert np.array_equal(one, three) and np.array_equal(one[-1], lab_step_by_step(rgb[-1]))


def test_lightness_of_grey_is_a_table_of_scikit_images_values():
    grey = np.random.default_rng(0).integers(0, 256, (2, 1, 70, 33), dtype=np.uint8)
    expected = color.rgb2lab(np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2))[:, 0, 0]
    assert np.abs(lightness_of_grey(torch.from_numpy(grey)).numpy() - expected[grey]).max() < 1e-5
    assert torch.equal(
        lightness_of_grey(torch.from_numpy(grey).transpose(2, 3)), lightness_of_grey(torch.from_numpy(grey)).transpose(2, 3)
    )


def resized_by_matrices(picture: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    """Two products with sparse matrices in float64: how it was done before there was a kernel."""
    left, top, right, bottom = box
    part = picture.reshape(*picture.shape[:2], -1).astype(np.float64)
    down = csr_array(area_weights(part.shape[0], top, bottom, size[0]))
    across = csr_array(area_weights(part.shape[1], left, right, size[1]))
    lines = (down @ part.reshape(part.shape[0], -1)).reshape(-1, *part.shape[1:]).transpose(1, 2, 0)
    columns = across @ np.ascontiguousarray(lines).reshape(part.shape[1], -1)
    return np.floor(columns.reshape(-1, *lines.shape[1:]) + 0.5 + 1e-6).astype(np.uint8).transpose(1, 2, 0)


@given(
    picture=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(2, 60), st.integers(2, 60), st.sampled_from([1, 3, 4])),
        elements=st.sampled_from([0, 1, 7, 128, 255]),
    ),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_resizing_gives_the_bytes_of_two_matrix_products(picture, size, fit, data):
    height, width = picture.shape[:2]
    left, top = data.draw(st.floats(0, width - 1)), data.draw(st.floats(0, height - 1))
    right, bottom = data.draw(st.floats(left + 0.5, width)), data.draw(st.floats(top + 0.5, height))
    resize = AreaResize((height, width), size, box=(left, top, right, bottom), fit="stretch")
    expected = resized_by_matrices(picture, size, (left, top, right, bottom))
    assert np.array_equal(resize(picture), expected)
    turned = np.ascontiguousarray(picture[::-1, ::-1])[::-1, ::-1]  # as a rotated film comes
    assert np.array_equal(resize(turned), expected)
    if picture.shape[2] == 1:
        assert np.array_equal(resize(picture[..., 0]), expected)
    fitted = AreaResize((height, width), size, fit=fit)(picture)
    assert fitted.shape == (picture.shape[2], *size) and fitted.max() <= picture.max()


@given(at=st.floats(0, 30), wide=st.floats(0.5, 30), out=st.integers(1, 80), tone=st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_an_even_area_stays_even_however_it_is_cut_and_enlarged(at, wide, out, tone):
    picture = np.full((8, 61, 3), 0, np.uint8)
    picture[:, int(at) : int(np.ceil(at + wide))] = tone
    enlarged = AreaResize((8, 61), (20, out), box=(at, 2.0, at + wide, 6.0), fit="stretch")(picture)
    assert (enlarged == tone).all(), "nothing from outside the box, and no dark edge"


@given(
    frames=arrays.arrays(np.uint8, st.tuples(st.integers(1, 5), st.sampled_from([1, 3]), st.integers(1, 90), st.integers(1, 90))),
    threads=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_windows_are_cut_and_mirrored_as_by_slices(frames, threads, data):
    frames = np.random.default_rng(int(frames.sum())).integers(0, 256, frames.shape, dtype=np.uint8)
    _, channels, height, width = frames.shape
    size = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    chosen = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=8))
    corners = [(data.draw(st.integers(0, height - size[0])), data.draw(st.integers(0, width - size[1]))) for _ in chosen]
    flips = data.draw(st.none() | st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    window = Window(size, np.array(corners, np.int64).reshape(-1, 2), None if flips is None else np.array(flips, bool))
    addresses = frames.ctypes.data + np.array(chosen, np.int64) * frames[0].nbytes
    expected = np.zeros((len(chosen), channels, *size), np.uint8)
    for place, (frame, (y, x)) in enumerate(zip(chosen, corners, strict=True)):
        part = frames[frame, :, y : y + size[0], x : x + size[1]]
        expected[place] = part[..., ::-1] if flips is not None and flips[place] else part
    found = np.empty_like(expected)
    kernels.cut(addresses, (channels, height, width), window, found, threads=threads)
    assert np.array_equal(found, expected)
    lab = np.empty(expected.shape, np.float32)
    kernels.cut_to_lab(addresses, (channels, height, width), window, lab, threads=threads)
    convert = rgb_to_lab if channels == 3 else lightness_of_grey
    assert np.array_equal(lab, convert(torch.from_numpy(expected)).numpy())


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (3, 0), (0, 5)])
def test_a_window_that_reaches_out_of_the_frames_is_refused(corner):
    frames = np.zeros((2, 3, 6, 8), np.uint8)
    window = Window((4, 4), np.array([(0, 0), corner]))
    with pytest.raises(ValueError, match="reach out of frames"):
        kernels.cut(frames.ctypes.data + np.array([0, 144]), (3, 6, 8), window, np.empty((2, 3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="expected contiguous uint8"):
        kernels.cut(frames.ctypes.data + np.array([0, 144]), (3, 6, 8), Window((4, 4)), np.empty((2, 3, 4, 4), np.float32))


@given(length=st.integers(0, 50), slab=st.integers(1, 20), threads=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_slabs_cover_everything_once_and_errors_come_through(length, slab, threads):
    seen = np.zeros(length, int)

    def mark(begin, end):
        seen[begin:end] += 1

    in_slabs(mark, length, slab=slab, threads=threads)
    assert (seen == 1).all()
    if length:
        with pytest.raises(ZeroDivisionError):
            in_slabs(lambda begin, end: 1 // (length - end), length, slab=slab, threads=threads)


def test_cores_are_those_that_the_process_is_bound_to(monkeypatch):
    assert cores.usable() >= 1
    if hasattr(os, "sched_getaffinity"):
        code = "import os; from kinemacolor import cores; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(cores.usable())"
        assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "1"
        monkeypatch.delattr(os, "sched_getaffinity")
    assert cores.usable() == (os.cpu_count() or 1)


COLOUR = """
import sys, numpy
from kinemacolor import lab_kernels
assert lab_kernels.__file__.startswith(sys.argv[1]), lab_kernels.__file__
rgb = numpy.arange(3 * 16 * 16, dtype=numpy.uint8).reshape(1, 3, 256)
lab = numpy.empty(rgb.shape, numpy.float32)
lab_kernels.rgb_to_lab(rgb, lab)
print(lab.tobytes().hex())
"""


def coloured(folder: Path, **variables: str) -> str:
    """What a process of its own computes, with the package's modules in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    done = subprocess.run([sys.executable, "-c", COLOUR, str(folder)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    warnings = done.stderr.count("compiling, which takes some seconds and cannot be kept")
    assert warnings == ("NUMBA_CACHE_DIR" in variables), "said once, where it is so"
    return done.stdout


def test_it_runs_where_compiled_code_can_be_kept_nowhere_and_where_what_is_kept_is_torn(tmp_path):
    package = tmp_path / "kinemacolor"
    package.mkdir()
    for name in ("__init__", "compiled", "lab_kernels", "lab_values"):
        shutil.copy(PACKAGE / f"{name}.py", package)
    expected = coloured(tmp_path)
    kept = list((package / "__pycache__").glob("lab_kernels.*.nb[ic]"))
    assert len(kept) == 4, "compiled code is kept beside the package"
    for file in kept:
        file.write_bytes(file.read_bytes()[:50])
    assert coloured(tmp_path) == expected
    assert all(file.stat().st_size > 50 for file in kept), "and made anew"
    shutil.rmtree(package / "__pycache__")
    # A file where each folder would have to be: nobody can write there, not even root.
    (package / "__pycache__").write_text("")
    (tmp_path / "nowhere").write_text("")
    assert coloured(tmp_path, HOME=str(tmp_path / "nowhere"), NUMBA_CACHE_DIR=str(tmp_path / "nowhere")) == expected


def test_code_that_is_kept_is_not_taken_for_that_of_other_constants(tmp_path):
    """The kernel's own file stays as it is: the constants are another module's, or one's that that imports."""
    package = tmp_path / "kinemacolor"
    package.mkdir()
    for name in ("__init__", "compiled", "lab_kernels", "lab_values"):
        shutil.copy(PACKAGE / f"{name}.py", package)
    values = package / "lab_values.py"
    text = values.read_text()
    before = coloured(tmp_path)
    first = {file.name for file in (package / "__pycache__").glob("*.nb[ic]")}
    assert coloured(tmp_path) == before and {file.name for file in (package / "__pycache__").glob("*.nb[ic]")} == first
    values.write_text(text.replace("WHITE = (0.95047,", "WHITE = (0.85047,"))
    after = coloured(tmp_path)
    assert after != before
    further = package / "further"
    further.mkdir()
    (further / "__init__.py").write_text("FROM = 0.008856\n")
    values.write_text(text.replace("CUBE_FROM = 0.008856", "from kinemacolor import further\n\nCUBE_FROM = further.FROM"))
    assert coloured(tmp_path) == before
    (further / "__init__.py").write_text("FROM = 0.2\n")
    assert coloured(tmp_path) not in (before, after)
    kept = list((package / "__pycache__").glob("*.nb[ic]"))
    assert len(kept) == 4, "what was made of other sources is removed"


def test_the_command_line_starts_without_the_compiler():
    code = "import sys, kinemacolor.cli, kinemacolor.colour, kinemacolor.frames.loader, kinemacolor.frames.resize; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
