"""external: what another program made of a source, cut and shrunk as the dataset's own frames are, so that it can be judged on them.

A picture of it is found by its number, that of the grey print's frame (of a film without a pair, the film's) which it was made
from, never by a place in a list. Of a collection that is the number of the index: a clip's frames are counted on over all clips,
in their order. A video has as many frames as the print, or its frame n would be another one's. It shows the whole picture of
the print, at whatever size; of a film pair it is cut and turned upright as the grey print is, so that it lies on the true frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from kinemacolor.align.laying import chain, scaling, set_upright, turn_left_over
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, read_json, refuse_foreign, sha256_of, write_json
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.resize import AreaResize, Box
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.frames.stretches import open_stretches
from kinemacolor.media.decode import decode
from kinemacolor.media.numbered import Numbered, open_numbered
from kinemacolor.media.probe import probe
from kinemacolor.media.progress import shown
from kinemacolor.media.sources import PrintRecord, SourceRecord, read_source
from kinemacolor.params import External, FramesParams
from kinemacolor.placing import is_scaled

FACTS = "external.json"
_SHARD_BYTES = 128 << 20

Fit = Callable[[np.ndarray, int, str], np.ndarray]
"""(H,W,3) uint8 of the program, the frame's number and its clip ("" of films) to planes (3,h,w) of the dataset."""


def external(
    entry: External,
    *,
    name: str,
    params: FramesParams,
    frames: Path,
    media: Path,
    out: Path,
    motion: Path | None = None,
    sync: Path | None = None,
) -> dict[str, Any]:
    """Take another program's pictures of all frames of a dataset that are of its source.

    Args:
        entry: where they are.
        name: what the result is called.
        params: the dataset's frames: size and fit.
        frames: folder that `frames` wrote of the source.
        media: folder that `download` wrote of it.
        out: folder to make; it appears when it is complete: frames/ and, where there are stretches, motion/, each with the rows of
            the folder that it was given and shards of one picture `colour`; and external.json.
        motion: folder that `motion` wrote of the source.
        sync: folder that `sync` wrote, for a film pair.

    Returns:
        What external.json holds: name, source, kind (video or pictures), path, sha256 (of the video; of pictures, of their names
        and hashes), licence, credit, and the sha256 of each index that it was made for.

    Raises:
        UserError: the file or a picture of some frame is missing or damaged, it has another shape than the print, a video has
            another number of frames or stands for many clips, or an artefact is missing.
    """
    refuse_foreign(out, marker=FACTS)
    path = Path(entry.path)
    if not path.exists():
        raise UserError(f"{path} is missing: put the coloured video or folder there, or correct external.{name}.path.")
    record = read_source(media)
    if record.kind in ("clips", "images") and not path.is_dir():
        raise UserError(
            f"{path} is a video, but {media} is a source of {record.kind}: name a folder of pictures, by frame number."
        )
    if not path.is_dir():
        _refuse_other_length(path, record.prints["grey" if record.kind == "film_pair" else "video"])
    stores = {"frames": FrameStore(frames)}
    if motion is not None and (stretches := open_stretches([motion])):
        stores["motion"] = stretches[0].store
    fit, pictures = _fit(record, sync, params, path), open_numbered(path)
    with atomic_folder(out, marker=FACTS) as folder, shown(f"pictures of {name}") as progress:
        done, total = 0, sum(map(len, stores.values()))
        for part, store in stores.items():
            (folder / part).mkdir()
            for _ in _take(folder / part, store, pictures, fit):
                done += 1
                progress(done, total)
        facts = {
            "name": name,
            "source": stores["frames"].source,
            "kind": "pictures" if path.is_dir() else "video",
            "path": entry.path,
            "sha256": _sha256(path),
            "licence": entry.licence,
            "credit": entry.credit,
            "indexes": {part: store.sha256 for part, store in stores.items()},
        }
        write_json(folder / FACTS, facts)
    return facts


def _take(folder: Path, store: FrameStore, pictures: Numbered, fit: Fit) -> Iterator[int]:
    """Write a picture for each row of a store; gives the number of each frame when it is written."""
    writer = ShardWriter(
        folder,
        source=store.source,
        shapes={"colour": (3, *store.facts["size"])},
        shard_bytes=_SHARD_BYTES,
        facts={name: value for name, value in store.facts.items() if name in ("every", "size", "fit")},
    )
    table = store.table
    numbers = table["grey_frame" if store.is_pair else "frame"].to_numpy()
    clips = [""] * len(store) if store.clips is None else store.clips.tolist()
    last, planes = -1, None
    for frame, time, number, clip in zip(table["frame"].tolist(), table["time"].tolist(), numbers.tolist(), clips, strict=True):
        if number != last:  # prints of different rates show one grey frame several times
            last, planes = number, fit(pictures.picture(number), number, clip)
        writer.add({"colour": planes}, frame=frame, time=time)
        yield frame
    writer.close()


# ----------------------------------------------------------------------------------------------------- shapes


def _fit(record: SourceRecord, sync: Path | None, params: FramesParams, path: Path) -> Fit:
    """What makes a picture of the dataset's out of one of the program's."""
    if record.kind == "film_pair":
        if sync is None:
            raise UserError(f"{record.folder} is a film pair: name the folder of its alignment with --sync.")
        return _fit_of_pair(record, sync, params, path)
    if record.kind == "images":
        return _fit_of_photographs(record, params, path)
    if record.kind == "clips":
        clips = {clip.name: clip for clip in record.clips}
        of_clip = lru_cache(64)(lambda name: _fit_of_film(record.checked(clips[name]), params, path, of=f"that of clip {name}"))
        return lambda picture, number, clip: of_clip(clip)(picture, number, clip)
    return _fit_of_film(record.print("video"), params, path)


def _fit_of_film(video: PrintRecord, params: FramesParams, path: Path, *, of: str = "the print's") -> Fit:
    stored = video.probe.width / video.probe.height
    aspect = _pixel_aspect(video)

    @lru_cache(8)
    def resize(size: tuple[int, int]) -> AreaResize:
        # Whatever is said of the program's pixels, its picture has the shape of the film's.
        shape = size[1] / size[0]
        whole = (video.probe.height, video.probe.width)
        _refuse_other_shape(path, size, whole, (whole[0], whole[1] * aspect), of=of)
        return AreaResize(size, params.height_width, fit=params.fit, pixel_aspect=stored * aspect / shape)

    return lambda picture, *_: resize(picture.shape[:2])(picture)


def _fit_of_photographs(record: SourceRecord, params: FramesParams, path: Path) -> Fit:
    with record.gallery() as gallery:
        size_of = gallery.size

    @lru_cache(64)
    def resize(size: tuple[int, int], aspect: float) -> AreaResize:
        return AreaResize(size, params.height_width, fit=params.fit, pixel_aspect=aspect)

    def fit(picture: np.ndarray, number: int, name: str) -> np.ndarray:
        (height, width), size = size_of(number), picture.shape[:2]
        _refuse_other_shape(path, size, (height, width), of=f"that of {name}")
        # Whatever side the program rounded, its picture has the photograph's shape.
        return resize(size, (width / height) / (size[1] / size[0]))(picture)

    return fit


def _fit_of_pair(record: SourceRecord, sync: Path, params: FramesParams, path: Path) -> Fit:
    geometry = read_json(sync / "geometry.json", "run the sync stage")
    grey = record.print("grey").probe
    height, width = grey.height, grey.width
    colour_box, grey_box = tuple(geometry["colour_crop"]), tuple(geometry["grey_crop"])
    left_over = turn_left_over(geometry["transform"], colour_box, grey_box)
    shape = _pixel_aspect(record.print("colour")) * _shape(colour_box)

    @lru_cache(8)
    def scaled(size: tuple[int, int]) -> tuple[np.ndarray | None, AreaResize]:
        _refuse_other_shape(path, size, (height, width))
        across, down = size[1] / width, size[0] / height
        left, top, right, bottom = grey_box
        box = (left * across, top * down, right * across, bottom * down)
        turn = None if left_over is None else chain(scaling(across, down), left_over, scaling(1 / across, 1 / down))
        # Both crops show the same, and are cut to one shape.
        return turn, AreaResize(size, params.height_width, box=box, fit=params.fit, pixel_aspect=shape / _shape(box))

    def fit(picture: np.ndarray, *_: object) -> np.ndarray:
        turn, resize = scaled(picture.shape[:2])
        return resize(picture if turn is None else set_upright(picture, turn))

    return fit


def _pixel_aspect(record: PrintRecord) -> float:
    first = next(decode(record.path, wanted={0}, allow_truncated=True), None)
    return 1.0 if first is None else first.pixel_aspect


def _shape(box: Box) -> float:
    left, top, right, bottom = box
    return (right - left) / (bottom - top)


def _refuse_other_shape(path: Path, size: tuple[int, int], *originals: tuple[float, float], of: str = "the print's") -> None:
    if not any(is_scaled(size, original) for original in originals):
        raise UserError(
            f"{path} has pictures of {size[1]}x{size[0]}, another shape than {of}: colour whole pictures, uncut and without what was padded."
        )


def _refuse_other_length(path: Path, video: PrintRecord) -> None:
    count, wanted = probe(path).frames, video.probe.frames
    # Of a print that breaks off, nobody knows how many frames another program could read.
    broken = video.probe.last_good_time is not None
    if count > wanted or (count < wanted and not broken):
        raise UserError(
            f"{path} has {count} frames and {video.path} has {wanted}, so that its frame n would not be the print's: colour "
            "every frame once, or name a folder of pictures by frame number."
        )


def _sha256(path: Path) -> str:
    if not path.is_dir():
        return sha256_of(path)
    found = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            found.update(f"{sha256_of(file)}  {file.name}\n".encode())
    return found.hexdigest()
