"""The artefacts of a film pair `p` with one model `net` on a dataset `d`, as the stages leave them, for tests of what reads them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from kinemacolor.files import write_json
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.media.probe import Probe
from kinemacolor.media.sources import PrintRecord, SourceRecord

from .made_page import curve, figures


def lay_out(root: Path) -> None:
    """The artefacts of a film pair `p` with one model `net`, as the stages leave them."""
    data, reports = root / "data", root / "reports"
    facts = Probe("matroska", "h264", 96, 64, Fraction(24000, 1001), 100, 4.17, None, None)
    grey = PrintRecord(data / "raw/p/grey.mkv", {"made_from": "colour", "recipe": {"grain": 5}}, "0" * 64, 1, facts, 12)
    colour = PrintRecord(data / "raw/p/colour.mkv", {"url": "https://example.org/p"}, "0" * 64, 1, facts)
    (data / "raw/p").mkdir(parents=True)
    SourceRecord(data / "raw/p", "film_pair", "CC0", "Somebody", "2026-01-01T00:00:00Z", {"colour": colour, "grey": grey}).write()

    for folder in ("sync/p", "frames/d/p", "filter", "compare"):
        (data / folder).mkdir(parents=True)
    rows = np.arange(50)
    table = {"colour_frame": rows, "grey_frame": rows + 12, "segment": rows // 30, "confidence": rows * 0 + 0.5}
    table |= {"colour_time": rows / 25, "grey_time": (rows + 12) / 25}
    pd.DataFrame(table).to_parquet(data / "sync/p/alignment.parquet")
    write_json(data / "sync/p/geometry.json", {"residual_px": 0.25, "kind": "similarity"})
    spans = [dict(colour_start=s, colour_end=e, grey_start=s + 12, grey_end=e + 12) for s, e in ((0, 30), (30, 50))]
    more = dict(speed=1.0, clock=1.0, alike=0.9)
    segments = [spans[0] | more | {"confidence": 0.6}, spans[1] | more | {"confidence": 0.4}]
    write_json(data / "sync/p/segments.json", {"segments": segments, "correlation": 0.875, "share": 0.5})
    for picture in ("sync/p/path.png", "sync/p/pairs.png", "compare/d.png"):
        Image.new("RGB", (40, 20), "red").save(data / picture)

    shapes = {"colour": (3, 8, 12), "grey": (1, 8, 12)}
    writer = ShardWriter(
        data / "frames/d/p", source="p", shapes=shapes, shard_bytes=1 << 20, facts={"every": 24, "size": [8, 12]}
    )
    pictures = np.random.default_rng(2).integers(0, 256, (6, 3, 8, 12), np.uint8)
    for frame, picture in enumerate(pictures):
        writer.add(
            {"colour": picture, "grey": picture[:1]}, frame=frame, time=float(frame), grey_frame=frame, grey_time=float(frame)
        )
    writer.close()
    split = {"source": "p", "frame": range(6), "split": ["train"] * 4 + ["val"] * 2, "keep": [True] * 3 + [False] + [True] * 2}
    pd.DataFrame(split | {"reason": ["", "", "", "black", "", ""], "mean_chroma": 9.0}).to_parquet(data / "filter/d.parquet")

    meta = {"parameters": 77, "seconds": 61.0, "device": "cpu", "epochs": 3, "trainable": 77}
    write_json(data / "models/d/net/meta.json", meta)
    write_json(data / "models/d/net/curves.json", curve(3))
    write_json(reports / "d/net/metrics.json", figures(0.5))
    write_json(reports / "d/net/epochs.json", {"2": {"val_mse_ab@128": 0.125}})
