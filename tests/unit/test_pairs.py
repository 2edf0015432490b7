"""Pairs of frames as they are cut and shown: turned prints, reels in another order, frames repeated and left out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from kinemacolor.align.common import common_area
from kinemacolor.align.laying import chain, warped
from kinemacolor.errors import UserError
from kinemacolor.files import sha256_of
from kinemacolor.footage import open_footage
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.pairs import _resizers, partners, wanted_rows
from kinemacolor.frames.resize import AreaResize
from kinemacolor.frames.taking import Asked
from kinemacolor.media.decode import Picture, decode
from kinemacolor.media.probe import probe
from kinemacolor.media.sources import PrintRecord, SourceRecord
from kinemacolor.media.sparse import Effort
from kinemacolor.params import FramesParams
from kinemacolor.stages.frames import frames

from .taken import digests, in_pieces

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
        self._record()
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

    def _record(self) -> None:
        prints = {
            name: PrintRecord(path, {"path": "x"}, sha256_of(path), path.stat().st_size, probe(path), None)
            for name, path in (("colour", self.colour), ("grey", self.grey))
        }
        SourceRecord(self.raw, "film_pair", "CC0", "Made by a test", "2026-01-01T00:00:00Z", prints).write()

    def damage(self, name: str, share: float) -> None:
        """Overwrite some bytes of a print, as if it had been downloaded so."""
        path = {"colour": self.colour, "grey": self.grey}[name]
        data = bytearray(path.read_bytes())
        begin = int(len(data) * share)
        data[begin : begin + 300] = bytes(255 - byte for byte in data[begin : begin + 300])
        path.write_bytes(data)
        self._record()

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


def grey_of(pair: Pair, rows: pd.DataFrame, *, sought: Effort | None = None) -> list:
    asked = Asked("film", FramesParams(size=60))
    return list(partners(pair.grey, rows, asked, prepare=lambda picture: picture.number, efforts=[], sought=sought))


@pytest.mark.parametrize("sought", [None, Effort("full", "h264", "a test says so", 0, 0)], ids=["extracted", "by seeking"])
def test_every_row_gets_its_own_partner_whatever_the_order_of_the_reels(reordered, sought):
    for shown, row in zip(grey_of(reordered, reordered.rows, sought=sought), reordered.rows.itertuples(), strict=True):
        assert (shown.colour_frame, shown.number, shown.time) == (row.colour_frame, row.grey_frame, row.grey_time)
        assert shown.picture == row.grey_frame


def test_a_grey_frame_that_is_not_there_is_named(reordered):
    rows = reordered.rows.copy()
    rows.loc[rows.index[-1], "grey_frame"] = 5000
    with pytest.raises(UserError, match=r"grey.mkv has no frame 5000, which the alignment names: run the sync stage again"):
        grey_of(reordered, rows)
    in_order = rows[rows["colour_frame"] >= 50]
    with pytest.raises(UserError, match="has no frame 5000"):
        grey_of(reordered, in_order)


@pytest.mark.parametrize("spoil", [lambda rows: rows.iloc[::-1], lambda rows: rows.iloc[[0, 1, 1, 2]]], ids=["back", "twice"])
def test_an_alignment_in_no_order_is_refused(reordered, tmp_path, spoil):
    table = pd.read_parquet(reordered.sync / "alignment.parquet")
    spoil(table).to_parquet(tmp_path / "alignment.parquet")
    with pytest.raises(
        UserError, match=r"alignment\.parquet does not name every colour frame once.*: run the sync stage again\.$"
    ):
        wanted_rows(tmp_path, FramesParams(size=60))


def test_threads_and_pieces_change_no_byte(reordered, tmp_path):
    given = {"size": 160, "shard_mib": 1, "every": 1, "fit": "stretch"}  # ten pairs to a shard
    store = reordered.store(tmp_path / "whole", **given)
    whole = digests(tmp_path / "whole")
    frames(reordered.raw, source="film", params=FramesParams(**given), out=tmp_path / "one", sync=reordered.sync, threads=1)
    assert digests(tmp_path / "one") == whole
    for count in (1, 3):
        assert digests(in_pieces(reordered.raw, tmp_path / f"of{count}", count, sync=reordered.sync, **given)) == whole
    assert set(store.facts["decoding"]) == {"colour", "grey"} and store.facts["damaged"] == []
    assert len(store.facts["shards"]) >= 3


def test_damage_in_either_print_takes_the_pair_and_no_other(tmp_path):
    luma = np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in film()])
    pair = Pair(tmp_path, luma, list(range(FRAMES)), IDENTITY)
    given = {"size": 160, "shard_mib": 1, "every": 1, "fit": "stretch"}
    whole = pair.store(tmp_path / "whole", **given)
    for name, share in (("colour", 0.3), ("grey", 0.7)):
        pair.damage(name, share)
    with pytest.raises(UserError, match=r"(colour|grey).mkv is truncated or damaged after"):
        pair.store(tmp_path / "out", **given)
    more = {"params": FramesParams(**given), "sync": pair.sync, "allow_truncated": True}
    table = frames(pair.raw, source="film", out=tmp_path / "out", **more)
    found = FrameStore(tmp_path / "out")
    first, second = (hole["between"] for hole in found.facts["damaged"])
    lost = {*range(first[0] + 1, first[1]), *range(second[0] + 1, second[1])}
    assert table["frame"].tolist() == [number for number in range(FRAMES) if number not in lost] and first[1] < second[0]
    assert (table["grey_frame"] == table["frame"]).all()
    rows = table["frame"].tolist()
    assert np.array_equal(found.colour(range(len(rows))), whole.colour(rows))
    assert np.array_equal(found.grey(range(len(rows))), whole.grey(rows))
    joined = in_pieces(pair.raw, tmp_path / "of3", 3, sync=pair.sync, allow_truncated=True, **given)
    assert [shard["sha256"] for shard in FrameStore(joined).facts["shards"]] == [s["sha256"] for s in found.facts["shards"]]


@given(aspect=st.sampled_from([1.0, 1.5, 0.8]), narrow=st.sampled_from([1.0, 0.5, 0.75]), fit=st.sampled_from(["crop", "pad"]))
@settings(deadline=None, max_examples=12)
def test_both_prints_are_cut_to_one_shape_whatever_their_pixels_are_said_to_be(aspect, narrow, fit):
    """A crop of the grey print that went by its own shape would cut off something else."""
    luma = cv2.cvtColor(film()[7], cv2.COLOR_RGB2GRAY)
    squeezed = cv2.resize(luma, (round(WIDTH * narrow), HEIGHT), interpolation=cv2.INTER_AREA)
    geometry = {
        "transform": [[narrow, 0, 0], [0, 1, 0]],
        "colour_crop": (0.0, 0.0, float(WIDTH), float(HEIGHT)),
        "grey_crop": (0.0, 0.0, WIDTH * narrow, float(HEIGHT)),
    }
    colour, grey = _resizers(geometry, FramesParams(size=48, fit=fit), pixel_aspect=aspect)
    truth = colour(Picture(0, 0.0, luma, aspect)).planes[0].astype(float)
    found = grey(Picture(0, 0.0, squeezed, 1.0)).planes[0].astype(float)
    shifted = np.abs(truth - np.roll(truth, 1, axis=1)).mean()
    assert np.abs(truth - found).mean() < 0.5 * shifted


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
