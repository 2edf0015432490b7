"""Who coloured the frames that are judged: memory that is given back while a store is gone through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from kinemacolor.evaluation.painters import Recorded, batches, painted
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.shards import ShardWriter
from tests.unit.resident_pages import counted, resident

SIDE, FRAMES = 64, 300


def store_of(folder: Path, seed: int, compression: str) -> FrameStore:
    """Noise in shards of a megabyte, some 85 frames each."""
    folder.mkdir()
    settings = {"shapes": {"colour": (3, SIDE, SIDE)}, "shard_bytes": 1 << 20, "facts": {}, "compression": compression}
    writer = ShardWriter(folder, source="film", **settings)
    for number, picture in enumerate(np.random.default_rng(seed).integers(0, 256, (FRAMES, 3, SIDE, SIDE), np.uint8)):
        writer.add({"colour": picture}, frame=number, time=number / 24)
    writer.close()
    return FrameStore(folder)


@counted
@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_what_was_judged_is_given_back_of_the_truth_and_of_what_another_program_coloured(
    tmp_path: Path, compression: str
) -> None:
    true, other = store_of(tmp_path / "true", 0, compression), store_of(tmp_path / "other", 1, compression)
    assert len(true.facts["shards"]) >= 4
    part = pd.DataFrame(
        {"source": "film", "frame": range(FRAMES), "store": 0, "at": range(FRAMES), "height": SIDE, "width": SIDE}
    )
    shown, most = [], 0
    for batch in batches([true], part, torch.device("cpu")):
        assert torch.isfinite(painted(Recorded("other", {"film": other}), batch)).all()
        assert resident(tmp_path / "other") == 0
        most = max(most, resident(tmp_path / "true"))
        shown.append(batch.true.numpy().copy())
    assert np.array_equal(np.concatenate(shown), true.colour(range(FRAMES))), "all are there, in order"
    assert most < 0.6 * resident(tmp_path / "true"), "no more than the shards of one batch"
    # Few rows of many shards, as sheets ask for them.
    true.release()
    for batch in batches([true], part.iloc[[0, 100, 200, 299]], torch.device("cpu")):
        assert np.array_equal(batch.true.numpy(), true.colour([0, 100, 200, 299]))
    assert resident(tmp_path / "true") == 0
