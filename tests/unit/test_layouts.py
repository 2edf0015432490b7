"""How pictures stand together in a frame: grids, columns and wipes, their captions, and the stills beside a video."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import get_sampling

from kinemacolor.errors import UserError
from kinemacolor.report.layouts import PASS, Grid, Label, Wipe
from kinemacolor.report.panels import Caption, jpeg_of, save_still
from kinemacolor.report.stills import MOMENTS, Album

LABELS = [Label(words, "00.0 dB") for words in ("grey", "one", "two")] + [Label("truth", "00:00.00")]


class Shades:
    """Fills each panel with a shade of its own, and notes what it was asked for."""

    def __init__(self, step: int = 40) -> None:
        self.step, self.asked = step, []

    def __call__(self, number: int, panel: np.ndarray) -> str:
        self.asked.append(number)
        panel[:] = self.step * (number + 1)
        return f"{number}0.5 dB"


# ------------------------------------------------------------------------------------------------------ captions


def drawn(caption: Caption, figures: str = "", size: tuple[int, int] = (240, 320), shade: int = 200) -> np.ndarray:
    panel = np.full((*size, 3), shade, np.uint8)
    caption.draw(panel, figures)
    return panel


def box(changed: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is true."""
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def test_a_caption_covers_only_a_corner_and_its_letters_are_light_on_any_picture():
    caption = Caption("grey print", panel=(240, 320))
    assert drawn(caption, shade=0).max() == 238
    for shade in (200, 255):
        panel = drawn(caption, shade=shade)
        changed = (panel != shade).any(axis=-1)
        top, bottom, _, right = box(changed)
        assert top > 240 * 0.9 and bottom == 240 and right < 160 and panel[changed].max() == 238


@pytest.mark.parametrize(
    ("right", "top", "corner"), [(False, False, "lower left"), (True, False, "lower right"), (False, True, "top")]
)
def test_a_caption_stands_in_its_corner(right: bool, top: bool, corner: str):
    upper, lower, first, last = box((drawn(Caption("model", panel=(240, 320), right=right, top=top)) != 200).any(axis=-1))
    assert (upper == 0, lower == 240) == (top, not top), corner
    assert (first == 0, last == 320) == (not right, right), corner


def test_figures_change_and_the_plate_stands_still():
    caption = Caption("model", panel=(240, 320), figures="00.0 dB")
    empty, one, other = (drawn(caption, figures) for figures in ("", "11.1 dB", "28.9 dB"))
    plates = {box((panel != 200).any(axis=-1)) for panel in (empty, one, other)}
    assert len(plates) == 1
    words = box((drawn(Caption("model", panel=(240, 320))) != 200).any(axis=-1))
    assert box((one != empty).any(axis=-1))[2] >= words[3] - 4, "figures stand behind the words"
    # What both share (point and unit) stands at one place: digits are equally wide.
    same = (one == other).all(axis=-1)
    unit = slice(box((one != empty).any(axis=-1))[3] - 14, None)
    assert same[:, unit].all() and not same.all()
    assert np.array_equal(drawn(caption, "11.1 dB"), one)


def test_where_there_is_no_room_the_words_stay_and_the_figures_go():
    caption = Caption("lab_unet", panel=(60, 64), figures="00.0 dB")
    with_figures, without = (drawn(caption, figures, size=(60, 64)) for figures in ("23.4 dB", ""))
    assert np.array_equal(with_figures, without) and (without != 200).any()
    tiny = drawn(Caption("a model with a long name", panel=(16, 16)), size=(16, 16))
    assert (tiny != 200).any()


# ------------------------------------------------------------------------------------------------------- layouts


def test_panels_wrap_after_three_and_the_empty_cell_holds_the_credit():
    grid = Grid([Label(name) for name in "abcde"], height=90, width=120, credit="Somebody · CC BY")
    assert (grid.height, grid.width) == (180, 360)
    shades = Shades()
    frame = grid.picture(shades)
    assert shades.asked == [0, 1, 2, 3, 4]
    assert [frame[90 * (place // 3) + 2, 120 * (place % 3) + 2, 0] for place in range(5)] == [40, 80, 120, 160, 200]
    assert 100 < frame[90:, 240:].max() <= 150 and frame[92, 242].max() == 0
    single = Grid([Label("only")], height=90, width=120)
    assert (single.height, single.width) == (90, 120)


def test_captions_change_nothing_else_and_the_clock_stands_on_the_truth():
    grid = Grid(LABELS, height=240, width=320, clock=3)
    frame, later = (grid.picture(Shades(0), clock=clock) for clock in ("1:02.03", "1:02.04"))
    changed = np.flatnonzero((frame[:240] != 0).any(axis=(1, 2)))
    assert changed.min() > 240 * 0.9
    top, bottom, _, right = box((frame != later).any(axis=-1))
    assert top >= 240 and bottom <= 480 and right <= 320, "the fourth panel stands below the first"


def test_over_is_a_column_of_truth_and_models():
    column = Grid(LABELS, height=48, width=64, columns=1, order=[3, 1, 2], clock=3)
    assert (column.height, column.width) == (144, 64)
    shades = Shades()
    frame = column.picture(shades, clock="0:01.00")
    assert shades.asked == [3, 1, 2] and [frame[48 * row + 2, 40, 0] for row in range(3)] == [160, 80, 120]


def test_a_wipe_shows_every_picture_by_itself_and_all_within_the_video():
    for seconds in (0.5, 6.0, 100.0):
        wipe = Wipe(LABELS, height=48, width=160, seconds=seconds)
        period = min(PASS, seconds / 4)
        assert [wipe.at((turn + 0.9) * period)[0] for turn in range(4)] == [1, 2, 3, 0]
        assert wipe.at(0.0) == (1, 0, 0) and wipe.at(period * 0.99)[2] == 160
        columns = [wipe.at(period * part)[2] for part in np.linspace(0, 0.999, 50)]
        assert columns == sorted(columns) and max(np.diff(columns)) < 8, "the line runs evenly to the right"


def test_a_wipe_shows_the_coming_picture_left_of_the_line_and_the_going_one_right_of_it():
    wipe, shades = Wipe(LABELS, height=240, width=640, seconds=100, clock="00:00.00"), Shades()
    seconds = PASS + 0.5 * 0.75 * PASS  # the second pass, half way
    assert wipe.at(seconds) == (2, 1, 320)
    frame = wipe.picture(shades, seconds=seconds, clock="0:05.50")
    assert sorted(shades.asked) == [1, 2], "nothing is computed that is not seen"
    middle = frame[120, :, 0]
    assert (middle[:310] == 120).all() and (middle[330:] == 80).all() and {235, 20} <= set(middle[310:330].tolist())
    captioned = (frame[-8:] != 120).any(axis=(0, 2)), (frame[-8:] != 80).any(axis=(0, 2))
    assert captioned[0][:40].all() and captioned[1][-40:].all()
    assert (frame[:8, :40] != 120).any(), "the time stands above"
    for seconds, shown in ((0.0, 0), (0.9 * PASS, 1), (3.9 * PASS, 0)):
        shades.asked.clear()
        alone = wipe.picture(shades, seconds=seconds)
        assert shades.asked == [shown] and (alone[60:180] == 40 * (shown + 1)).all()


# -------------------------------------------------------------------------------------------------------- stills


def test_a_still_is_small_enough_for_git(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (400, 1200, 3), np.uint8)
    save_still(noise, tmp_path / "still.png")
    assert (tmp_path / "still.png").stat().st_size <= 380_000
    assert Image.open(tmp_path / "still.png").width > 300


def test_stills_keep_their_chroma_and_are_at_most_960_wide(tmp_path: Path):
    stripes = np.zeros((54, 96, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 200, 200  # red beside blue, pixel by pixel
    (tmp_path / "s.jpg").write_bytes(jpeg_of(stripes))
    with Image.open(tmp_path / "s.jpg") as still:
        assert still.format == "JPEG" and get_sampling(still) == 0 and still.size == (96, 54)
        assert np.abs(np.asarray(still).astype(int) - stripes).mean() < 8
    (tmp_path / "w.jpg").write_bytes(jpeg_of(np.zeros((720, 1280, 3), np.uint8)))
    assert Image.open(tmp_path / "w.jpg").size == (960, 540)


def test_an_album_keeps_moments_spread_over_the_stretch(tmp_path: Path):
    album = Album(["grey", "one", "truth"], start=10, end=22, height=36, width=64, shown={"layout": "over"})
    shades = Shades()
    for number in range(120):
        if not 40 <= number < 70:  # nothing to see from 14 to 17 s
            album.look(10 + number / 10, shades)
    assert len(shades.asked) == 15, "only what is kept is made"
    album.write(tmp_path / "stills")
    said = json.loads((tmp_path / "stills/stills.json").read_text())
    moments = said["moments"]
    assert said["layout"] == "over"
    assert [moment["time"] for moment in moments] == [11, 13, 17, 19, 21], "two moments are due at 17 s, and one is kept"
    named = [name for moment in moments for name in moment["panels"].values()]
    assert sorted(named) == sorted(file.name for file in (tmp_path / "stills").glob("*.jpg")) and len(set(named)) == 15
    for place, name in enumerate(("grey", "one", "truth")):
        with Image.open(tmp_path / "stills" / moments[2]["panels"][name]) as still:
            assert still.size == (64, 36) and abs(int(np.asarray(still).mean()) - 40 * (place + 1)) <= 1
    assert len(moments) < MOMENTS


def test_an_album_of_a_few_frames_keeps_each_once_and_replaces_no_other_folder(tmp_path: Path):
    album = Album(["grey", "truth"], start=0, end=0.2, height=16, width=16)
    for number in range(2):
        album.look(number / 10, Shades())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds other files"):
        album.write(tmp_path / "mine")
    album.write(tmp_path / "stills")
    times = [moment["time"] for moment in json.loads((tmp_path / "stills/stills.json").read_text())["moments"]]
    assert times == [0.1], "the first frame lies before the first moment"
