"""Cuts in made films: hard ones are found exactly; movement, fades, flashes and noise are none."""

import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch

from kinemacolor.colour import lightness_of_grey
from kinemacolor.frames.cuts import CutDetector, distances, shots_of, thumbnails
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.params import FilterParams
from kinemacolor.stages.filter import filter_frames

PICTURES = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]


def shot(number: int, frames: int, *, speed: float = 0.0, height: int = 72, width: int = 96) -> np.ndarray:
    """Grey frames (frames,height,width), 0 to 255: a window of a photograph that moves by `speed` of its width a frame."""
    picture = PICTURES[number][::2, ::2].mean(axis=2)
    places = [int(width * speed * step) for step in range(frames)]
    return np.stack([picture[20 : 20 + height, place : place + width] for place in places])


def film(*shots: np.ndarray) -> torch.Tensor:
    """L* (N,1,H,W) of grey shots, with a little grain."""
    frames = np.concatenate(shots) + np.random.default_rng(0).normal(0, 2, (sum(map(len, shots)), *shots[0].shape[1:]))
    return lightness_of_grey(torch.from_numpy(np.clip(frames, 0, 255).astype(np.uint8))[:, None])


def found(lightness: torch.Tensor) -> list[int]:
    return CutDetector()(lightness).nonzero().flatten().tolist()


@pytest.mark.parametrize("speed", [0, 0.005, 0.02])
def test_hard_cuts_are_found_exactly(speed):
    lengths = (12, 3, 1, 20, 2, 7)
    shots = [shot(place % 4, length, speed=speed) for place, length in enumerate(lengths)]
    assert found(film(*shots)) == np.cumsum([0, *lengths[:-1]]).tolist()


def test_a_pan_a_fade_a_flash_and_noise_are_no_cuts():
    still = shot(0, 30)
    assert found(film(shot(0, 20, speed=0.05))) == [0], "a window's width in 20 frames"
    down = np.linspace(1, 0, 15)[:, None, None]
    assert found(film(still[:5], still[:15] * down, still[:5] * 0, still[:15] * down[::-1], still)) == [0], "fade and return"
    flashed = still.copy()
    flashed[[4, 11, 12, 20]] = 90 + 0.9 * flashed[[4, 11, 12, 20]]
    assert found(film(flashed)) == [0]
    noise = np.random.default_rng(1).normal(0, 1, still.shape)
    assert found(film(still + 40 * noise)) == [0], "an old print"
    assert found(film(8 + 8 * noise)) == [0], "the grain of a black frame"
    assert found(film(0 * still)) == [0]


def test_a_shot_in_which_all_moves_wildly_is_left_whole_and_its_end_is_found():
    rng = np.random.default_rng(2)
    picture = PICTURES[0][::2, ::2].mean(axis=2)
    shaken = np.stack([picture[20 + y : 92 + y, x : x + 96] for y, x in rng.integers(0, 16, (16, 2))])
    assert found(film(shaken, shot(1, 5))) == [0, 16]


def test_how_the_film_is_divided_and_how_large_it_is_makes_no_difference():
    lightness = film(shot(0, 12, speed=0.02), shot(1, 9), shot(2, 14, speed=0.02))
    detector = CutDetector()
    parts = torch.cat([detector(part) for part in lightness.split([1, 8, 1, 1, 20, 4])])
    assert torch.equal(parts, CutDetector()(lightness)) and parts.nonzero().flatten().tolist() == [0, 12, 21]
    large = torch.nn.functional.interpolate(lightness, scale_factor=3)
    assert torch.equal(CutDetector()(large), parts)
    detector.reset()
    assert detector(lightness[3:5]).tolist() == [True, False]
    assert len(distances(thumbnails(lightness[:1]))) == 0 and len(CutDetector()(lightness[:1])) == 1


def store(folder, source, grey_frames, clips=None):
    folder.mkdir(parents=True)
    colour = np.clip(np.stack([grey_frames, grey_frames * 0.8, grey_frames * 0.5], axis=1), 0, 255).astype(np.uint8)
    facts = {"every": 1, "size": list(colour.shape[2:])}
    writer = ShardWriter(folder, source=source, shapes={"colour": colour.shape[1:]}, shard_bytes=1 << 20, facts=facts)
    for number, picture in enumerate(colour):
        writer.add({"colour": picture}, frame=3 * number, time=number / 8, **({} if clips is None else {"clip": clips[number]}))
    writer.close()
    return folder


def test_the_filter_table_says_where_shots_sources_and_clips_begin(tmp_path):
    first = store(tmp_path / "a", "a", np.concatenate([shot(0, 9, speed=0.01), shot(1, 6)]))
    # Clip y goes on as clip x ended; a cut stands inside it.
    second = store(tmp_path / "b", "b", np.concatenate([shot(2, 8), shot(3, 4)]), clips=["x"] * 5 + ["y"] * 7)
    index = pd.concat([FrameStore(folder).table for folder in (first, second)])
    # A guard gap stands just where the cut is: it is still compared with the frame before it in the index.
    split = index[["source", "frame"]].assign(split="train").iloc[[*range(8), *range(9, 27)]]
    split.to_parquet(tmp_path / "split.parquet", index=False)
    table = filter_frames(
        [first, second], split=tmp_path / "split.parquet", params=FilterParams(grey=0), out=tmp_path / "filter.parquet"
    )
    assert list(table.columns) == ["source", "frame", "split", "keep", "reason", "mean_chroma", "colour", "cut"]
    assert table["cut"].dtype == bool and table["keep"].all()
    cuts = table.loc[table["cut"], ["source", "frame"]].values.tolist()
    assert cuts == [["a", 0], ["a", 27], ["b", 0], ["b", 15], ["b", 24]]
    again = filter_frames(
        [first, second], split=tmp_path / "split.parquet", params=FilterParams(grey=0), out=tmp_path / "again.parquet"
    )
    pd.testing.assert_frame_equal(table, again)
    found = np.concatenate([shots_of(FrameStore(folder)) for folder in (first, second)])
    assert index.loc[found, ["source", "frame"]].values.tolist() == cuts
    photographs = shots_of(FrameStore(store(tmp_path / "c", "c", shot(0, 5), clips=[f"{n}.jpg" for n in range(5)])))
    assert photographs.all()


def test_where_clips_begin_nothing_is_compared_and_levels_are_forgotten():
    lightness = film(shot(0, 12, speed=0.02), shot(1, 9), shot(2, 14, speed=0.02))
    begins = torch.zeros(35, dtype=torch.bool)
    begins[[5, 6, 30]] = True
    detector, parts = CutDetector(), []
    for part, known in zip(lightness.split([1, 8, 1, 1, 20, 4]), begins.split([1, 8, 1, 1, 20, 4]), strict=True):
        parts.append(detector(part, known))
    apart = torch.cat([CutDetector()(part) for part in lightness.split([5, 1, 24, 5])])
    assert torch.equal(torch.cat(parts), apart)
