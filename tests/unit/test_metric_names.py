"""The table of figures: whole, without doubts, and light."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from kinemacolor.colour import rgb_to_lab
from kinemacolor.metrics.names import METRICS, metric
from kinemacolor.metrics.pixel import PixelMetrics


def test_every_figure_has_a_heading_a_title_and_a_form() -> None:
    assert len({entry.heading for entry in METRICS.values()}) == len(METRICS)
    for name, entry in METRICS.items():
        assert entry.name == name == metric(name).name
        assert entry.title and not entry.title.endswith(".") and "\n" not in entry.title
        assert format(7 if entry.form.endswith("d") else 7.25, entry.form)
        assert entry.better in (-1, 0, 1) and entry.of in ("pixel", "frame", "set", "motion")
    assert all(entry.better == 0 for name, entry in METRICS.items() if name.endswith("_truth"))
    assert all(entry.least < entry.most for entry in METRICS.values())


def test_how_colours_move_is_held_against_the_truth_since_a_picture_without_any_moves_least() -> None:
    moving = [entry for entry in METRICS.values() if entry.of == "motion" and not entry.name.endswith("_truth")]
    assert {entry.name for entry in moving} == {"cdc", "cdc_excess", "warp_err", "warp_err_ab", "flicker_ab"}
    assert not any(entry.better for entry in moving)
    assert all("to be held against" in entry.title for entry in moving if entry.name != "cdc")


def test_distances_of_any_backbone_are_known_and_say_its_name() -> None:
    for name in ("fd_mobilenet_v2", "kid_vgg16_bn"):
        entry = metric(name)
        assert entry.name == name and entry.better == -1 and entry.of == "set"
        assert name.split("_", 1)[1] in entry.heading and name.split("_", 1)[1] in entry.title
    assert "2,048" in metric("fd_alexnet").title
    for name in ("fd_", "fid", "mse", ""):
        with pytest.raises(ValueError, match=r"no metric is called '.*': choose one of mse_ab@128"):
            metric(name)


def test_what_is_measured_is_named() -> None:
    pool = PixelMetrics()
    true = torch.full((1, 3, 12, 12), 90, dtype=torch.uint8)
    rows = pool.update(rgb_to_lab(true), true)
    assert set(pool.pooled()) <= set(METRICS)
    assert set(rows) <= set(METRICS) and {METRICS[name].of for name in rows} == {"pixel", "frame"}


def test_the_names_cost_nothing_to_ask_for() -> None:
    code = "import sys, kinemacolor.metrics.names; print([m for m in ('torch', 'numpy', 'cv2', 'pandas') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"
