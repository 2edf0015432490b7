"""embed: what an encoder says of every frame as a whole, computed once and kept.

A network with a frozen encoder would compute the same numbers again in every epoch. They are those of the grey picture, as
the network's own `embed` gives them: of the grey print's frame for a pair, else of the frame's L*.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinemacolor import pretrained
from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.files import atomic_folder, refuse_foreign, write_json
from kinemacolor.frames.index import FrameStore, open_stores
from kinemacolor.media.progress import shown
from kinemacolor.models.encoders import Encoder

FACTS = "embeddings.json"
_BATCH = {"cpu": 4, "cuda": 64}
"""Frames together. On a CPU more only cost: their maps leave the cache and are mapped and unmapped by the system."""
_BATCH_PIXELS = 1 << 22
"""Fewer where frames are large."""


def embed(frames: list[Path], *, weights: Path, out: Path) -> dict[str, Any]:
    """Embed every frame of some sources.

    Args:
        frames: folders that the frames stage wrote.
        weights: folder that the weights stage wrote.
        out: folder to write: <source>.npy, float32 (rows of the source's index, dimension), and embeddings.json.

    Returns:
        What embeddings.json holds: architecture, dimension, sha256 of the weights; rows, and sha256 of the index, by source.

    Raises:
        UserError: an input is missing or damaged, or two folders are of one source.
    """
    refuse_foreign(out, marker=FACTS)
    published = pretrained.load(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)  # sums round differently with another number, and equal inputs are to give equal bytes
    encoder = published.encoder().to(device)
    stores = open_stores(frames)
    facts = {
        "architecture": published.architecture,
        "dimension": encoder.dimension,
        "sha256": published.sha256,
        "rows": {name: len(store) for name, store in stores.items()},
        "indexes": {name: store.sha256 for name, store in stores.items()},
    }
    with atomic_folder(out, marker=FACTS) as folder, shown("embed") as progress:
        total, before = sum(map(len, stores.values())), 0
        for name, store in stores.items():
            shape = (len(store), encoder.dimension)
            kept = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)
            step = max(1, min(_BATCH[device.type], _BATCH_PIXELS // (store.facts["size"][0] * store.facts["size"][1])))
            for begin in range(0, len(store), step):
                rows = np.arange(begin, min(begin + step, len(store)))
                kept[rows] = embeddings(encoder, store, rows, device)
                progress(before + int(rows[-1]) + 1, total)
            kept.flush()
            del kept
            before += len(store)
        write_json(folder / FACTS, facts)
    return facts


@torch.inference_mode()
def embeddings(encoder: Encoder, store: FrameStore, rows: np.ndarray, device: torch.device) -> np.ndarray:
    """Embeddings of the grey pictures of some index rows: float32 (N,D)."""
    if store.is_pair:
        lightness = lightness_of_grey(torch.from_numpy(store.grey(rows)).to(device))
    else:
        lightness = rgb_to_lab(torch.from_numpy(store.colour(rows)).to(device))[:, :1]
    return encoder.embed_grey(lightness).cpu().numpy()
