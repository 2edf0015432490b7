"""precolour: a trained model colours every frame of a dataset by itself, for networks that see frames already coloured.

Project Previous did so with another people's network, frame by frame and off-line; here it is a model of params.yaml, and
the stage runs once for all models that name it in `precoloured_by`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from kinemacolor import colorize
from kinemacolor.colour import lab_to_rgb, lightness_of_grey, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, refuse_foreign, sha256_of, write_json
from kinemacolor.frames.index import FrameStore, located, open_stores
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.media.progress import shown

_MARKER = "precolour.json"
_SHARD_BYTES = 128 << 20
_BATCH_PIXELS = 2**18  # coloured together: 64 frames of 64x64
_OURS = ("source", "frame", "time", "shard", "row", "height", "width")


def precolour(model: Path, frames: list[Path], *, filter_table: Path, out: Path) -> None:
    """Colour every frame of some indexes, each by itself.

    Args:
        model: folder of a trained model.
        frames: folders that the frames stage wrote, one a source.
        filter_table: the dataset's filter Parquet: its frames are those that training will ask for.
        out: folder to make; it appears when it is complete. In it, one folder a source with `index.parquet`, its rows as
            in the index of the frames, and shards with one picture `colour`, 8-bit RGB; and precolour.json, which says by
            which model (sha256 of its weights) and of which frames (sha256 of each index).

    Raises:
        UserError: an input is missing or damaged, two folders are of one source, the indexes lack frames of the filter
            table, or the model gives values that are no numbers.
    """
    refuse_foreign(out, marker=_MARKER)
    if not Path(filter_table).is_file():
        raise UserError(f"{filter_table} is missing: run the filter stage.")
    stores = open_stores(frames)
    located(pd.read_parquet(filter_table, columns=["source", "frame"]), list(stores.values()))
    colorizer = colorize.load(model)
    with atomic_folder(out, marker=_MARKER) as folder, shown(f"{colorizer.name} colours") as progress:
        done, total = 0, sum(map(len, stores.values()))
        for source, store in stores.items():
            (folder / source).mkdir()
            facts = {name: value for name, value in store.facts.items() if name in ("every", "size", "fit")}
            writer = ShardWriter(
                folder / source,
                source=source,
                shapes={"colour": (3, *store.facts["size"])},
                shard_bytes=_SHARD_BYTES,
                facts=facts | {"model": colorizer.name},
            )
            size = max(1, min(64, _BATCH_PIXELS // int(np.prod(store.facts["size"]))))
            for begin in range(0, len(store), size):
                rows = np.arange(begin, min(begin + size, len(store)))
                _write(writer, store, rows, coloured(colorizer, store, rows))
                done += len(rows)
                progress(done, total)
            writer.close()
        said = {
            "model": colorizer.name,
            "params_hash": colorizer.meta.get("params_hash"),
            "weights_sha256": sha256_of(Path(model) / "weights.safetensors"),
            "indexes": {source: store.sha256 for source, store in stores.items()},
        }
        write_json(folder / _MARKER, said)


@torch.inference_mode()
def coloured(colorizer: colorize.Colorizer, store: FrameStore, rows: np.ndarray) -> np.ndarray:
    """Rows of a store as a model colours them, each by itself: uint8 RGB (N,3,H,W)."""
    if store.is_pair:
        lightness = lightness_of_grey(torch.from_numpy(store.grey(rows)).to(colorizer.device))
    else:
        lightness = rgb_to_lab(torch.from_numpy(store.colour(rows)).to(colorizer.device))[:, :1]
    lab = colorizer(lightness, torch.ones(len(rows), dtype=torch.bool))
    if not bool(torch.isfinite(lab).all()):
        raise UserError(
            f"The model {colorizer.name} gives values that are no numbers: train it again with a lower learning rate."
        )
    return to_uint8(lab_to_rgb(lab)).cpu().numpy()


def _write(writer: ShardWriter, store: FrameStore, rows: np.ndarray, pictures: np.ndarray) -> None:
    extra = [name for name in store.table if name not in _OURS]
    for picture, entry in zip(pictures, store.table.iloc[rows].to_dict("records"), strict=True):
        more = {name: entry[name] for name in extra}
        writer.add({"colour": picture}, frame=entry["frame"], time=entry["time"], **more)
