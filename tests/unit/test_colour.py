"""Lab against scikit-image in float64, on every colour that 8 bits can say."""

from __future__ import annotations

import warnings

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import color

from kinemacolor.colour import grey_rgb, lab_to_rgb, lightness_of_grey, rgb_to_lab, to_uint8


def _last(picture: torch.Tensor) -> np.ndarray:
    return picture.movedim(-3, -1).double().numpy()


def _skimage_rgb(lab: torch.Tensor) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of colours outside the gamut, which is what is tested
        return color.lab2rgb(_last(lab))


@pytest.fixture(scope="module")
def lattice() -> torch.Tensor:
    """Every 5th step of each channel, 0 and 255 included: 52^3 colours as one picture."""
    steps = torch.arange(0, 256, 5, dtype=torch.uint8)
    return torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, 52, 52 * 52)


def test_equals_scikit_image_on_a_lattice_of_all_colours(lattice: torch.Tensor) -> None:
    reference = color.rgb2lab(_last(lattice) / 255)
    assert np.abs(_last(rgb_to_lab(lattice)) - reference).max() < 1e-4
    assert np.abs(_last(rgb_to_lab(lattice.float() / 255)) - reference).max() < 1e-4


def test_dark_colours_cross_from_the_line_to_the_cube_root() -> None:
    steps = torch.arange(0, 32, dtype=torch.uint8)
    dark = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, 32, 1024)
    assert np.abs(_last(rgb_to_lab(dark)) - color.rgb2lab(_last(dark) / 255)).max() < 1e-4


def test_corners_have_their_published_values() -> None:
    corners = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    lab = rgb_to_lab(corners.T.reshape(3, 1, 5)).reshape(3, 5).T
    published = torch.tensor(
        [
            [0, 0, 0],
            [100, -0.0025, 0.0047],
            [53.2406, 80.0923, 67.2032],
            [87.7351, -86.1827, 83.1793],
            [32.2957, 79.1856, -107.8573],
        ]
    )
    assert torch.allclose(lab, published, atol=2e-3)


def test_eight_bits_survive_the_way_there_and_back(lattice: torch.Tensor) -> None:
    assert torch.equal(to_uint8(lab_to_rgb(rgb_to_lab(lattice))), lattice)


def test_back_equals_scikit_image_also_outside_the_gamut() -> None:
    random = torch.rand(3, 200, 200, generator=torch.Generator().manual_seed(0))
    lab = torch.stack((random[0] * 100, random[1] * 280 - 140, random[2] * 280 - 140))
    rgb = lab_to_rgb(lab)
    assert rgb.min() == 0 and rgb.max() == 1
    assert np.abs(_last(rgb) - _skimage_rgb(lab)).max() < 1e-5


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(3), st.integers(1, 5), st.integers(1, 5))))
def test_any_batch_shape_and_memory_layout(rgb: np.ndarray) -> None:
    planar = torch.from_numpy(rgb)
    lab = rgb_to_lab(planar)
    assert lab.shape == planar.shape and lab.dtype == torch.float32
    interleaved = planar.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    # Not to the bit: torch's powers differ in the last one between whole vectors and what is left over of them.
    assert torch.allclose(rgb_to_lab(interleaved), lab, rtol=0, atol=1e-4)
    assert torch.allclose(rgb_to_lab(planar[0]), lab[0], rtol=0, atol=1e-4)


def test_large_batches_and_pictures_are_worked_through_in_slabs_without_seams() -> None:
    for shape in ((40, 3, 50, 70), (2, 3, 3, 300, 333)):
        rgb = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
        lab = rgb_to_lab(rgb)
        assert np.abs(_last(lab) - color.rgb2lab(_last(rgb) / 255)).max() < 1e-4
        assert torch.equal(to_uint8(lab_to_rgb(lab)), rgb)
        assert torch.allclose(rgb_to_lab((rgb.float() / 255).requires_grad_()), lab, rtol=0, atol=2e-4)  # at once


def test_grey_is_neutral_to_the_bit_and_has_its_lightness() -> None:
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    lightness = lightness_of_grey(grey)
    assert torch.allclose(lightness, rgb_to_lab(grey.expand(3, 16, 16))[:1], atol=1e-4)
    rgb = to_uint8(grey_rgb(lightness))
    assert torch.equal(rgb, grey.expand(3, 16, 16))


def test_rounds_to_the_nearest_step_and_clips() -> None:
    steps = torch.tensor([-0.5, 0.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 254.6 / 255, 1.0, 1.5])
    assert to_uint8(steps).tolist() == [0, 0, 0, 1, 254, 255, 255, 255]


def test_gradients_are_finite_everywhere_even_at_black() -> None:
    rgb = torch.tensor([0.0, 0.001, 0.04, 0.5, 1.0]).reshape(1, 1, 5).repeat(3, 1, 1).requires_grad_()
    rgb_to_lab(rgb).sum().backward()
    assert torch.isfinite(rgb.grad).all()
    lab = torch.tensor([[0.0, 50.0, 100.0], [0.0, 20.0, 0.0], [0.0, -120.0, 120.0]]).reshape(3, 1, 3).requires_grad_()
    lab_to_rgb(lab).sum().backward()
    assert torch.isfinite(lab.grad).all()


def test_a_lowered_precision_of_matrix_products_changes_no_colour(lattice: torch.Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = rgb_to_lab(lattice)
    assert torch.equal(inside, rgb_to_lab(lattice))


@pytest.mark.parametrize("wrong", [torch.zeros(4, 4, 3), torch.zeros(3), torch.zeros(3, 2, 2, dtype=torch.int64)])
def test_refuses_what_would_give_wrong_colours(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected"):
        rgb_to_lab(wrong)
