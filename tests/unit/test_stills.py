"""Colouring one photograph: its own lightness at full size, hints where they were given, and sentences for what is no picture."""

import json
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import nn

from kinemacolor import stills
from kinemacolor.colorize import Colorizer
from kinemacolor.errors import UserError
from kinemacolor.models import Family
from kinemacolor.models.coding import AB110, RGB_PM1, ab_coding
from kinemacolor.stills import Hint, colour_picture, colour_pixels, read_hints
from tests.unit.test_memory import remembering, write_model

PHOTO = skimage.data.coffee()  # 400x600


class Ramp(nn.Module):
    """ab that grows with the place: a downwards, b to the right."""

    def forward(self, x):
        self.seen = tuple(x.shape[-2:])
        a = torch.linspace(-0.2, 0.2, x.shape[2])[:, None].expand(x.shape[2:])
        b = torch.linspace(-0.2, 0.2, x.shape[3]).expand(x.shape[2:])
        return torch.stack((a, b)).expand(len(x), 2, *x.shape[2:])


def test_chroma_is_enlarged_and_the_pictures_own_lightness_stays_whatever_the_shape():
    for photo in (PHOTO, PHOTO.transpose(1, 0, 2), PHOTO[180:210, 250:290]):
        model = Colorizer(Ramp(), Family(Ramp, AB110, 8, "test"), {"name": "m", "size": [64, 64]})
        found = rgb2lab(colour_pixels(model, photo))
        height, width = photo.shape[:2]
        small = [round(side * 64 / min(height, width)) for side in (height, width)]
        assert model.network.seen == tuple(-(-side // 8) * 8 for side in small), "the shorter side as in training, then padded"
        middle = (rgb2lab(photo)[..., 0] > 35) & (rgb2lab(photo)[..., 0] < 75)  # where sRGB has room for the ramp
        assert np.abs(found[..., 0] - rgb2lab(photo)[..., 0])[middle].max() < 1
        y, x = np.mgrid[:height, :width]
        for channel, place, along, seen in ((1, y, height, small[0]), (2, x, width, small[1])):
            span = 22 * (seen / (-(-seen // 8) * 8)) * 2
            expected = -22 + span * (place + 0.5) / along
            assert np.abs(found[..., channel] - expected)[middle].max() < 2.5


def test_chroma_may_follow_the_edges_of_the_picture():
    model = Colorizer(Ramp(), Family(Ramp, AB110, 8, "test"), {"name": "m", "size": [64, 64]})
    plain, guided = (rgb2lab(colour_pixels(model, PHOTO, chroma=way)) for way in ("bilinear", "guided"))
    assert np.abs(guided[..., 0] - plain[..., 0]).mean() < 0.5
    assert 0.01 < np.abs(guided[..., 1:] - plain[..., 1:]).mean() < 3


def test_what_paints_rgb_is_enlarged_whole():
    class Flat(nn.Module):
        def forward(self, x):
            return torch.tensor([0.5, -0.5, 0.0])[:, None, None].expand(len(x), 3, *x.shape[2:])

    model = Colorizer(Flat(), Family(Flat, RGB_PM1, 1, "test"), {"name": "m", "size": [32, 48]})
    assert np.abs(colour_pixels(model, PHOTO).astype(int) - [191, 64, 128]).max() <= 1


@pytest.mark.parametrize("kind", ["state", "own", "coloured"])
def test_a_network_with_a_memory_colours_it_as_the_first_of_a_shot(kind):
    model = remembering(kind)
    model.meta["size"] = [16, 16]
    first = colour_pixels(model, PHOTO)
    assert np.array_equal(colour_pixels(model, PHOTO), first)


class Hinted(nn.Module):
    """Paints the hints, and nothing else."""

    def forward(self, x):
        self.mask = x[0, 3]
        return x[:, 1:3]


def hinted():
    coding = ab_coding("t", scale=110, channels=4, encode_input=lambda v: torch.cat((v.lightness, v.hints / 110), 1))
    return Colorizer(Hinted(), Family(Hinted, coding, 8, "test", hints=True), {"name": "m", "size": [80, 80]})


def test_hints_are_given_in_the_pictures_own_pixels():
    model, grey = hinted(), np.full((400, 600, 3), 119, np.uint8)
    found = rgb2lab(colour_pixels(model, grey, [Hint(250, 100, 30, -40), Hint(50, 500, -20, 30, radius=50)]))
    assert found.shape == (400, 600, 3)
    assert np.abs(found[250, 100, 1:] - [30, -40]).max() < 1 and np.abs(found[50, 500, 1:] - [-20, 30]).max() < 1
    assert np.abs(found[250, 500, 1:]).max() < 1 and np.abs(found[50, 100, 1:]).max() < 1
    # A fifth of the size: the hint without a radius is the 5 pixels that networks are trained with, the other 2 x 10 + 1.
    mask = (model.network.mask > 0).nonzero()
    assert len(mask) == 5 * 5 + 21 * 21
    for corner in ((0, 0), (399, 599), (0, 599.5)):
        assert (
            np.abs(rgb2lab(colour_pixels(model, grey, [Hint(*corner, 30, -40)]))[int(corner[0]), int(corner[1]), 1:]).max() > 20
        )


def test_hints_that_fit_nothing_are_a_sentence():
    with pytest.raises(UserError, match=r"Hint 2 lies outside the picture \(y 3, x 600 of 400x600\): give y from 0 to 399"):
        colour_pixels(hinted(), PHOTO, [Hint(3, 599, 0, 0), Hint(3, 600, 0, 0)])
    with pytest.raises(UserError, match=r"asks for a colour that no screen shows"):
        colour_pixels(hinted(), PHOTO, [Hint(3, 3, 120, 120)])
    with pytest.raises(UserError, match=r"The model m takes no colour hints: choose one whose family does"):
        colour_pixels(
            Colorizer(Ramp(), Family(Ramp, AB110, 8, "test"), {"name": "m", "size": [64, 64]}), PHOTO, [Hint(1, 1, 0, 0)]
        )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "is no list of hints"),
        ('[{"y": 1, "x": 2}]', "hint 1: give y, x, and either rgb or a and b"),
        ('[{"y": 1, "x": 2, "a": 3, "b": 4}, {"y": 1, "x": 2, "a": 3, "rgb": "#000000"}]', "hint 2: give y, x, and either"),
        ('[{"y": 1, "x": 2, "a": 3}]', "hint 1: b is missing"),
        ('[{"y": 1, "x": 2, "rgb": "red"}]', "hint 1: 'red' is no colour: write it as #aabbcc"),
        ('[{"y": 1, "x": 2, "rgb": "#aabbcc", "size": 3}]', "hint 1: 'size' is unknown"),
        ('[{"y": "1", "x": 2, "rgb": "#aabbcc"}]', "hint 1: y is '1', which is no number"),
        ('[{"y": NaN, "x": 2, "rgb": "#aabbcc"}]', "hint 1: y is nan, which is no number"),
        ('[{"y": 1, "x": 2, "rgb": "#aabbcc", "radius": -1}]', "hint 1: radius is -1"),
        ("[1]", "hint 1: give y, x"),
        ("[", "is no valid JSON"),
    ],
)
def test_a_file_of_hints_that_is_wrong_is_named(tmp_path, text, sentence):
    (tmp_path / "hints.json").write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_hints(tmp_path / "hints.json")


def test_hints_as_rgb_are_turned_to_lab(tmp_path):
    (tmp_path / "hints.json").write_text('[{"y": 1, "x": 2, "rgb": "#E04020"}, {"y": 3, "x": 4, "a": -5, "b": 6.5, "radius": 7}]')
    first, second = read_hints(tmp_path / "hints.json")
    assert np.allclose([first.a, first.b], rgb2lab(np.array([[[0xE0, 0x40, 0x20]]], np.uint8))[0, 0, 1:], atol=1e-3)
    assert first[:2] == (1, 2) and first.radius is None and second == Hint(3, 4, -5, 6.5, 7)


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path / "model", "siggraph17", width=0.1)
    meta = json.loads((tmp_path / "model/meta.json").read_text()) | {"size": [64, 64]}
    (tmp_path / "model/meta.json").write_text(json.dumps(meta))
    return tmp_path / "model"


def test_the_command_writes_a_picture_of_the_same_size_and_hints_change_it(model, tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.jpg")
    (tmp_path / "hints.json").write_text('[{"y": 200, "x": 300, "rgb": "#e04020", "radius": 60}]')
    command = [sys.executable, "-m", "kinemacolor.cli", "colorize", str(model), str(tmp_path / "photo.jpg")]
    subprocess.run([*command, "--out", str(tmp_path / "plain.png")], check=True, capture_output=True)
    subprocess.run(
        [*command, "--out", str(tmp_path / "hinted.png"), "--hints", str(tmp_path / "hints.json")],
        check=True,
        capture_output=True,
    )
    plain, other = (rgb2lab(np.asarray(Image.open(tmp_path / name))) for name in ("plain.png", "hinted.png"))
    assert plain.shape == other.shape == PHOTO.shape and np.abs(plain[..., 1:] - other[..., 1:]).max() > 0.5
    own = rgb2lab(np.asarray(Image.open(tmp_path / "photo.jpg")))[..., 0]
    assert np.abs(plain[..., 0] - own).mean() < 0.5
    done = subprocess.run([*command, "--out", str(tmp_path / "film.mp4")], capture_output=True, text=True)
    assert done.returncode == 2 and "is no video that can be read" in done.stderr


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_every_kind_is_read_and_written_upright(model, tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    Image.fromarray(PHOTO[:60, :90]).save(tmp_path / f"in{suffix}", exif=exif)
    colour_picture(model, tmp_path / f"in{suffix}", out=tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as found:
        assert found.size == (60, 90) and found.mode == "RGB"


def test_what_is_no_picture_is_a_sentence(model, tmp_path):
    moving = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10", "-t", "1", "-pix_fmt", "yuv420p"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *moving, str(tmp_path / "film.mp4")], check=True)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out.png"
    for name, sentence in (
        ("film.mp4", "is a video: let --out end in .mkv or .mp4, and all of it is coloured"),
        ("text.png", r"cannot be read as a picture \(it is no picture\): name a PNG"),
        ("half.png", "cannot be read as a picture"),
        ("nothing.png", "is missing: name a picture"),
        (".", "cannot be read"),
    ):
        with pytest.raises(UserError, match=sentence):
            colour_picture(model, tmp_path / name, out=out)
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    with pytest.raises(UserError, match="is the picture itself"):
        colour_picture(model, tmp_path / "photo.png", out=tmp_path / "photo.png")
    assert (tmp_path / "photo.png").read_bytes() == before and not out.exists()
    scroll = Colorizer(Ramp(), Family(Ramp, AB110, 8, "test"), {"name": "m", "size": [256, 256]})
    with pytest.raises(UserError, match=r"A picture of 3000x2 pixels is too long and narrow"):
        colour_pixels(scroll, np.zeros((2, 3000, 3), np.uint8))


def test_large_pictures_are_joined_in_strips(monkeypatch):
    model = Colorizer(Ramp(), Family(Ramp, AB110, 8, "test"), {"name": "m", "size": [64, 64]})
    whole = colour_pixels(model, PHOTO)
    monkeypatch.setattr(stills, "_STRIP", 7 * 600)
    assert np.array_equal(colour_pixels(model, PHOTO), whole)
