"""Sample sheets: what is pasted is what was given, at a size to be seen, and labels stay in their places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kinemacolor.report.sheets import Row, clock, sheet

COLOURS = {"grey": (120, 120, 120), "model_a": (200, 40, 40), "model_b": (40, 200, 40), "true": (40, 40, 200)}


def _row(height: int, width: int, names: tuple[str, ...] = tuple(COLOURS)) -> Row:
    pictures = [(name, np.full((height, width, 3), COLOURS[name], dtype=np.uint8)) for name in names]
    return Row(pictures=pictures, caption="bunny  0:03:25  (frame 4920)", notes={"model_a": "ΔE 4.1   24.3 dB"})


def _areas(path: Path) -> dict[str, int]:
    page = np.asarray(Image.open(path).convert("RGB"))
    return {name: int((page == colour).all(axis=2).sum()) for name, colour in COLOURS.items()}


@pytest.mark.parametrize(
    ("size", "shown"), [((64, 64), (160, 160)), ((128, 128), (160, 160)), ((200, 300), (200, 300)), ((720, 1280), (256, 455))]
)
def test_every_picture_is_shown_whole_at_a_size_to_be_seen(tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]) -> None:
    path = tmp_path / "sheet.png"
    sheet([_row(*size)] * 5, path, title="a title")
    # Text may be drawn over no picture, so each colour covers exactly five times the area of one.
    area = 5 * shown[0] * shown[1]
    assert [count for name, count in _areas(path).items() if name != "grey"] == [area] * 3
    assert _areas(path)["grey"] >= area  # antialiased text on white has this grey too


def test_a_sheet_is_white_and_about_as_wide_as_a_page(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    sheet([_row(64, 64, ("grey", "model_a", "true"))] * 12, path, title="model_a on bunny, validation", remark="What is what.")
    page = np.asarray(Image.open(path).convert("RGB"))
    assert 1000 <= page.shape[1] <= 1600 and page.shape[0] <= 1200
    assert (page[[0, -1]] == 255).all() and (page[:, [0, -1]] == 255).all()


def test_pictures_are_not_moved_or_mixed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (170, 170, 3), dtype=np.uint8)
    grey = noise[..., 0]
    sheet([Row(pictures=[("grey", grey), ("true", noise)])], tmp_path / "sheet.png", title="t")
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    found = [
        (y, x)
        for y in range(page.shape[0] - 169)
        for x in range(page.shape[1] - 169)
        if (page[y, x] == noise[0, 0]).all() and (page[y : y + 170, x : x + 170] == noise).all()
    ]
    assert len(found) == 1
    y, x = found[0]
    assert (page[y : y + 170, x - 176 : x - 6] == grey[..., None]).all()


def test_long_labels_are_cut_and_not_drawn_over_their_neighbours(tmp_path: Path) -> None:
    name = "a_model_with_a_name_that_nobody_would_give_it"
    pictures = [(name, np.zeros((64, 64, 3), np.uint8)), ("true", np.zeros((64, 64, 3), np.uint8))]
    sheet([Row(pictures=pictures, caption="c" * 200, notes={name: "n" * 200})], tmp_path / "sheet.png", title="t")
    page = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert (page[:, 24 + 160 : 24 + 160 + 6] == 255)[45:62].all()  # the gap beside the heading
    assert (page[:, -24:] == 255).all()


def test_equal_input_gives_equal_bytes_and_nothing_half_written(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        sheet([_row(64, 64)], tmp_path / name, title="t")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_rows_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    for rows in ([], [_row(64, 64), _row(64, 65)], [_row(64, 64), _row(64, 64, ("grey", "true"))]):
        with pytest.raises(ValueError, match="row"):
            sheet(rows, tmp_path / "sheet.png", title="t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00:00"), (59.99, "0:00:59"), (205, "0:03:25"), (3725.5, "1:02:05")])
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown
