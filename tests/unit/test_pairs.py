"""Pairs of frames as they are cut and shown: turned prints, reels in another order, frames repeated and left out."""

from __future__ import annotations

import json
import subprocess
import weakref
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import skimage.data

from kinemacolor.align.common import common_area
from kinemacolor.align.laying import chain, warped
from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.footage import open_footage
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.resize import AreaResize
from kinemacolor.media.decode import decode
from kinemacolor.media.probe import probe
from kinemacolor.media.sources import PrintRecord, SourceRecord
from kinemacolor.params import FramesParams
from kinemacolor.stages.frames import _partners, frames

HEIGHT, WIDTH, RATE, FRAMES = 120, 200, 25, 90


def film() -> np.ndarray:
    """(90, 120, 200, 3): a camera that moves over a photograph, so that no two frames are alike."""
    large = cv2.resize(skimage.data.coffee(), (420, 300), interpolation=cv2.INTER_AREA)
    return np.stack([large[n : n + HEIGHT, 2 * n : 2 * n + WIDTH] for n in range(FRAMES)])


def encode(pictures: np.ndarray, target: Path, *, uneven: bool = False) -> Path:
    """Without loss where it is grey; with a key picture every 12. Uneven: presentation times that no constant step explains."""
    grey = pictures.ndim == 3
    layout = "gray" if grey else "rgb24"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", layout]
    command += ["-s", f"{pictures.shape[2]}x{pictures.shape[1]}", "-r", str(RATE), "-i", "-"]
    times = "(N+0.4*mod(N\\,3)+4*floor(N/20))/25/TB" if uneven else "PTS"
    command += ["-vf", f"settb=1/1000,setpts={times}", "-fps_mode", "passthrough", "-pix_fmt", "yuv420p"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "4", "-g", "12", "-bf", "2", str(target)]
    subprocess.run(command, input=pictures.tobytes(), check=True)
    return target


class Pair:
    """A downloaded pair with an alignment and a geometry made by hand."""

    def __init__(self, root: Path, grey: np.ndarray, partners: list[int], transform: np.ndarray, *, uneven: bool = False) -> None:
        self.raw, self.sync = root / "raw" / "film", root / "sync" / "film"
        self.raw.mkdir(parents=True)
        self.sync.mkdir(parents=True)
        self.colour = encode(film(), self.raw / "colour.mkv")
        self.grey = encode(grey, self.raw / "grey.mkv", uneven=uneven)
        prints = {
            name: PrintRecord(path, {"path": "x"}, sha256_of(path), path.stat().st_size, probe(path), None)
            for name, path in (("colour", self.colour), ("grey", self.grey))
        }
        SourceRecord(self.raw, "film_pair", "CC0", "Made by a test", "2026-01-01T00:00:00Z", prints).write()
        self.greys = list(decode(self.grey, grey=True))
        self.partners = partners
        times = [picture.time for picture in decode(self.colour)]
        colour = [number for number, partner in enumerate(partners) if partner >= 0]
        grey_frames = [partners[number] for number in colour]
        self.rows = pd.DataFrame(
            {
                "colour_frame": colour,
                "grey_frame": grey_frames,
                "colour_time": [times[n] for n in colour],
                "grey_time": [self.greys[n].time for n in grey_frames],
                "segment": np.zeros(len(colour), np.int32),
                "confidence": np.ones(len(colour), np.float32),
            }
        )
        self.rows.to_parquet(self.sync / "alignment.parquet")
        box = (0.0, 0.0, float(grey.shape[2]), float(grey.shape[1]))
        self.colour_crop, self.grey_crop = common_area(transform, grey_box=box, colour_box=(0.0, 0.0, WIDTH, HEIGHT))
        geometry = {"colour_crop": self.colour_crop, "grey_crop": self.grey_crop, "transform": transform.tolist()}
        (self.sync / "geometry.json").write_text(json.dumps(geometry))

    def store(self, out: Path, **params) -> FrameStore:
        frames(self.raw, source="film", params=FramesParams(**params), out=out, sync=self.sync)
        return FrameStore(out)


IDENTITY = np.array([[1.0, 0, 0], [0, 1.0, 0]])
# Two reels in the other order, in the grey print at a lower rate (each frame for two of the film), one scene missing.
REELS = [40 + n // 2 for n in range(40)] + [-1] * 10 + [n - 50 for n in range(50, FRAMES)]


def reels(pictures: np.ndarray) -> np.ndarray:
    """The grey print that REELS says: 40 frames of the second reel, then every second one of the first."""
    luma = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures])
    return np.concatenate([luma[50:], luma[0:40:2], luma[40:50]])


@pytest.fixture(scope="module")
def reordered(tmp_path_factory) -> Pair:
    return Pair(tmp_path_factory.mktemp("reordered"), reels(film()), REELS, IDENTITY, uneven=True)


def turned_transform() -> np.ndarray:
    """Enlarged, turned by four degrees about the middle of a print of 150 x 240 pixels, a little sheared."""
    angle, middle = np.radians(4), np.array([120.0, 75.0])
    linear = np.array([[np.cos(angle), np.sin(angle) + 0.01], [-np.sin(angle), np.cos(angle)]])
    scale = np.array([[1.3, 0, -10.0], [0, 1.35, -6.0]])
    return chain(np.column_stack([linear, middle - linear @ middle]), scale)


@pytest.fixture(scope="module")
def turned(tmp_path_factory) -> Pair:
    luma = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in film()]
    grey = np.stack([warped(picture, turned_transform(), (240, 150)) for picture in luma])
    return Pair(tmp_path_factory.mktemp("turned"), grey, list(range(FRAMES)), turned_transform())


def luma_of(planes: np.ndarray) -> np.ndarray:
    """(3,H,W) uint8 RGB to (H,W) luma."""
    return np.tensordot(np.array([0.299, 0.587, 0.114]), planes.astype(float), 1)


# ------------------------------------------------------------------------------------------------------ the frames stage


@pytest.mark.parametrize("every", [1, 7])
def test_reordered_repeated_and_skipped_frames_come_by_the_alignment_alone(reordered, tmp_path, every):
    store = reordered.store(tmp_path / "out", size=60, every=every, fit="stretch")
    wanted = reordered.rows[reordered.rows["colour_frame"] % every == 0].reset_index(drop=True)
    assert store.table["frame"].tolist() == wanted["colour_frame"].tolist()
    assert store.table["grey_frame"].tolist() == wanted["grey_frame"].tolist()
    assert store.table["grey_time"].tolist() == wanted["grey_time"].tolist()
    resize = AreaResize((HEIGHT, WIDTH), (60, 60), fit="stretch")
    for row, number in enumerate(wanted["grey_frame"]):
        assert np.array_equal(store.grey([row])[0], resize(reordered.greys[number].pixels))
    # The film's own frames, so the pictures are alike as well.
    for row in range(0, len(wanted), 9 if every == 1 else 2):
        if wanted["colour_frame"][row] % 2 == 0 or wanted["colour_frame"][row] >= 50:
            assert np.abs(luma_of(store.colour([row])[0]) - store.grey([row])[0, 0]).mean() < 3


def test_the_uneven_print_is_uneven(reordered):
    steps = np.diff([picture.time for picture in reordered.greys])
    assert len(np.unique(steps.round(3))) >= 3 and len(reordered.greys) == 70


def test_one_grey_picture_is_held_at_a_time(reordered):
    """The second reel lies first in the grey print; it is read when it is wanted, not kept."""
    alive: list[weakref.ref] = []
    most = 0
    for _, picture in _partners(reordered.grey, reordered.rows, allow_truncated=False):
        if not alive or alive[-1]() is not picture.pixels:
            alive.append(weakref.ref(picture.pixels))
        most = max(most, sum(reference() is not None for reference in alive))
    assert len(alive) > 50 and most <= 2


def test_a_grey_frame_that_is_not_there_is_named(reordered):
    rows = reordered.rows.copy()
    rows.loc[rows.index[-1], "grey_frame"] = 5000
    with pytest.raises(UserError, match=r"grey.mkv has no frame 5000, which the alignment names: run the sync stage again"):
        list(_partners(reordered.grey, rows, allow_truncated=False))
    in_order = rows[rows["colour_frame"] >= 50]
    with pytest.raises(UserError, match="has no frame 5000"):
        list(_partners(reordered.grey, in_order, allow_truncated=False))


def test_a_turned_grey_print_lies_on_the_colour_print(turned, tmp_path):
    size = [round(turned.colour_crop[3] - turned.colour_crop[1]), round(turned.colour_crop[2] - turned.colour_crop[0])]
    store = turned.store(tmp_path / "out", size=size, every=15, fit="stretch")
    inner = (slice(4, -4), slice(4, -4))
    for row in range(len(store.table)):
        grey, colour = store.grey([row])[0, 0].astype(float), luma_of(store.colour([row])[0])
        right = np.abs(grey - colour)[inner].mean()
        assert right < 5
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            assert right < 0.6 * np.abs(grey - np.roll(colour, shift, axis))[inner].mean()
        # Cut upright and not turned, it would lie beside it.
        plain = AreaResize((150, 240), tuple(size), box=turned.grey_crop, fit="stretch")
        number = store.table["grey_frame"][row]
        assert right < 0.5 * np.abs(plain(turned.greys[number].pixels)[0] - colour)[inner].mean()


def test_an_upright_geometry_is_cut_from_the_pixels_as_they_are(tmp_path):
    luma = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in film()])[:20]
    transform = np.array([[1.0, 0, -7.25], [0, 1.0, -3.5]])
    pair = Pair(tmp_path, luma, list(range(20)), transform)
    store = pair.store(tmp_path / "out", size=[48, 64], every=1, fit="stretch")
    resize = AreaResize((HEIGHT, WIDTH), (48, 64), box=pair.grey_crop, fit="stretch")
    for row in range(20):
        assert np.array_equal(store.grey([row])[0], resize(pair.greys[row].pixels))


# ----------------------------------------------------------------------------------------------------------- the footage


def test_footage_of_reordered_reels_shows_each_frames_own_partner(reordered):
    footage = open_footage(reordered.raw, reordered.sync)
    for start, end in ((0.0, 9.0), (1.1, 2.4)):
        sights = list(footage.sights(start, end))
        numbers = [round(sight.time * RATE) for sight in sights]
        assert len(sights) == len([n for n in range(FRAMES) if start <= n / RATE < end])
        for number, sight in zip(numbers, sights, strict=True):
            partner = reordered.partners[number]
            if partner < 0:
                assert sight.grey is None and sight.original is None
            else:
                assert np.array_equal(sight.original, reordered.greys[partner].pixels)


def test_footage_of_a_turned_print_lies_on_the_truth_in_the_panel_and_in_the_network(turned, tmp_path):
    footage = open_footage(turned.raw, turned.sync)
    sights = list(footage.sights(1.0, 1.2))
    inner = (slice(4, -4), slice(4, -4))
    for sight in sights:
        truth = cv2.cvtColor(sight.truth, cv2.COLOR_RGB2GRAY).astype(float)
        right = np.abs(sight.grey - truth)[inner].mean()
        assert right < 5
        for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
            assert right < 0.6 * np.abs(sight.grey - np.roll(truth, shift, axis))[inner].mean()
    # The network sees what the frames stage cuts: the same grey picture set upright.
    height = 64
    seen = footage.network_input([sight.original for sight in sights], height)[:, 0].numpy()
    width = seen.shape[2]
    store = turned.store(tmp_path / "out", size=[height, width], fit="stretch", every=1, start=1.0, end=1.2)
    assert len(store.table) == len(sights)
    same = np.array([np.corrcoef(seen[row].ravel(), store.grey([row])[0, 0].ravel())[0, 1] for row in range(len(sights))])
    assert same.min() > 0.99
