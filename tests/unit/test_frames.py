"""Index, shards, resizing and the loader."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from kinemacolor.errors import UserError
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Batches, Material
from kinemacolor.frames.resize import AreaResize, area_weights
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.params import AugmentParams


def write_store(folder, pictures, greys=None, *, source="film", shard_bytes=1 << 20):
    folder.mkdir(parents=True)
    pictures = np.asfortranarray(pictures)  # memory order must not matter
    shapes = {"colour": pictures.shape[1:]} | ({} if greys is None else {"grey": greys.shape[1:]})
    writer = ShardWriter(
        folder, source=source, shapes=shapes, shard_bytes=shard_bytes, facts={"every": 2, "size": list(pictures.shape[2:])}
    )
    for number, picture in enumerate(pictures):
        extra = {} if greys is None else {"grey_frame": number + 5, "grey_time": (number + 5) / 24}
        frame = {"colour": picture} | ({} if greys is None else {"grey": greys[number]})
        writer.add(frame, frame=2 * number, time=number / 12, **extra)
    writer.close()
    return folder


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (23, 3, 10, 12), dtype=np.uint8)


def test_frames_come_back_to_the_byte_over_several_shards(tmp_path, pictures):
    store = FrameStore(write_store(tmp_path / "f", pictures, shard_bytes=5 * 3 * 10 * 12))
    assert len(store.facts["shards"]) == 5 and [shard["rows"] for shard in store.facts["shards"]] == [5, 5, 5, 5, 3]
    order = np.random.default_rng(1).permutation(23)
    assert np.array_equal(store.colour(order), pictures[order])
    assert list(store.table.columns) == ["source", "frame", "time", "shard", "row", "height", "width"]
    assert store.table["frame"].tolist() == list(range(0, 46, 2)) and not store.is_pair


def test_pairs_carry_both_pictures_and_both_times(tmp_path, pictures):
    greys = pictures[:, :1] // 2
    store = FrameStore(write_store(tmp_path / "f", pictures, greys))
    assert store.is_pair and np.array_equal(store.grey([3, 1]), greys[[3, 1]])
    assert store.table.loc[3, ["grey_frame", "grey_time"]].tolist() == [8, 8 / 24]


def test_a_damaged_and_a_missing_shard_are_named(tmp_path, pictures):
    folder = write_store(tmp_path / "f", pictures)
    shard = folder / "shard-00000.arrow"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"shard-00000.arrow is damaged"):
        FrameStore(folder).colour([0])
    shard.unlink()
    with pytest.raises(UserError, match=r"shard-00000.arrow is missing"):
        FrameStore(folder)


@pytest.mark.parametrize(("source", "size"), [((720, 1280), (90, 160)), ((240, 320), (120, 160)), ((96, 128), (32, 64))])
def test_whole_factors_equal_opencv_area(source, size):
    picture = np.random.default_rng(2).integers(0, 256, (*source, 3), dtype=np.uint8)
    ours = AreaResize(source, size, fit="stretch")(picture).transpose(1, 2, 0)
    theirs = cv2.resize(picture.astype(np.float64), size[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-3


def test_every_pixel_is_the_exact_mean_with_halves_rounded_up():
    # Extended precision in another order of sums; flat areas and hard edges make many exact halves.
    picture = np.random.default_rng(4).choice(np.array([0, 1, 255], np.uint8), (90, 120, 1)).repeat(3, axis=2)
    box = (2.5, 1.25, 118.75, 88.5)
    rows = area_weights(90, box[1], box[3], 24).astype(np.longdouble)
    columns = area_weights(120, box[0], box[2], 31).astype(np.longdouble)
    exact = np.einsum("oh,hwc,pw->cop", rows[:, ::-1], picture[::-1].astype(np.longdouble), columns)
    ours = AreaResize((90, 120), (24, 31), box=box, fit="stretch")(picture)
    assert np.array_equal(ours, np.floor(exact + 0.5 + 1e-6).astype(np.uint8))


@given(length=st.integers(2, 60), out=st.integers(1, 70), data=st.data())
@settings(max_examples=200, deadline=None)
def test_weights_average_and_keep_a_ramp(length, out, data):
    low = data.draw(st.floats(0, length - 1.5))
    high = data.draw(st.floats(low + 1, length))
    weights = area_weights(length, low, high, out).astype(np.float64)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5) and (weights >= 0).all()
    if (high - low) / out >= 1:
        # The mean of an interval's pixel positions lies within half a pixel of its middle, wherever it begins.
        middle = low + (high - low) / out * (np.arange(out) + 0.5) - 0.5
        assert np.abs(weights @ np.arange(length) - middle).max() <= 0.51


def test_fits():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60] = 200
    crop = AreaResize((40, 80), (20, 20), fit="crop")(picture)
    assert (crop == 200).all(), "the centre square is all bright"
    pad = AreaResize((40, 80), (20, 20), fit="pad")(picture)
    assert (pad[:, :5] == 0).all() and (pad[:, 15:] == 0).all() and pad[:, 10, 10].tolist() == [200] * 3
    stretched = AreaResize((40, 80), (20, 20), fit="stretch")(picture)
    assert (stretched[:, :, 5:15] == 200).all() and (stretched[:, :, :5] == 0).all()
    with pytest.raises(UserError, match="outside a picture of 80x40"):
        AreaResize((40, 80), (20, 20), box=(0, 0, 81, 40))


def material(tmp_path, pictures, greys=None):
    store = FrameStore(write_store(tmp_path / "f", pictures, greys))
    return Material({"film": store}, store.table[["source", "frame"]], torch.device("cpu"))


def test_an_epoch_shows_every_frame_once_and_depends_on_seed_and_epoch_alone(tmp_path, pictures):
    m = material(tmp_path, pictures)
    whole = AugmentParams(flip=False)

    def epoch(seed, number, size):
        return torch.cat([batch.lab for batch in Batches(m, batch_size=size, augment=whole, shuffle=(seed, number))])

    first = epoch(1, 0, 4)
    # Vectorised powers differ in the last bits with the place of a pixel in its batch.
    assert torch.allclose(first, epoch(1, 0, 7), atol=1e-4), "the batch size does not change the order"
    assert not torch.equal(first, epoch(1, 1, 4)) and not torch.equal(first, epoch(2, 0, 4))
    in_order = torch.cat([batch.lab for batch in Batches(m, batch_size=5, augment=whole, shuffle=None)])
    key = lambda lab: sorted(lab.sum(dim=(1, 2, 3)).tolist())  # noqa: E731
    assert len(first) == 23 and np.allclose(key(first), key(in_order))
    assert np.allclose(in_order.permute(0, 2, 3, 1), rgb2lab(pictures.transpose(0, 2, 3, 1)), atol=1e-3)


def test_grey_and_colour_of_a_pair_are_cropped_and_flipped_alike(tmp_path, pictures):
    greys = pictures.mean(axis=1, keepdims=True).astype(np.uint8)
    neutral = np.repeat(greys, 3, axis=1)
    m = material(tmp_path, neutral, greys)
    for batch in Batches(m, batch_size=6, augment=AugmentParams(crop=8), shuffle=(0, 3)):
        assert batch.lab.shape[2:] == (8, 8)
        assert torch.allclose(batch.lab[:, :1], batch.view.lightness, atol=1e-4), "L* of the grey print lies on L* of the truth"


def test_a_crop_larger_than_the_frames_is_refused(tmp_path, pictures):
    with pytest.raises(UserError, match=r"augment.crop \(11\) is larger than the frames \(10x12\)"):
        Batches(material(tmp_path, pictures), batch_size=2, augment=AugmentParams(crop=11), shuffle=None)


def test_material_finds_rows_by_frame_number_not_by_position(tmp_path, pictures):
    store = FrameStore(write_store(tmp_path / "f", pictures))
    table = pd.DataFrame({"source": "film", "frame": [40, 0, 8]})
    colour = Material({"film": store}, table, torch.device("cpu")).pictures("colour", np.arange(3))
    assert np.array_equal(colour.numpy(), pictures[[20, 0, 4]])
