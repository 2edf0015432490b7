"""Claims: random batches come at least 50 (256x256) and 80 (64x64) times as fast as from JPEG files with PIL; and batches ready to
train at least 13 times as fast as the projects made them (45 was hoped for at 64x64: see docs/performance.md). With a GPU,
neither `alpha` nor `eccv16` waits for frames.

    python benchmarks/loader.py [--film FILE] [--folder DIR] [--rounds 5] [--out FILE]
    python benchmarks/loader.py --device cuda [...]

7,640 frames, of a film or smooth made-up ones, at both sizes: as our shards, as JPEG files (quality 95) and as a tar of them.

(a) random batches of 32 as bytes: ours on one thread and on two, and on one into the same memory again and again; JPEG files
    with PIL and WebDataset (a whole epoch through a shuffle buffer of 1,000), which run on one thread. Batches are new memory
    each but for that one row.
(b) batches ready to train (a crop of 224 or 56 of them, mirrored or not, Lab in float32): ours on one thread and on two;
    JPEG, PIL, resize, scikit-image's rgb2lab a picture in two DataLoader workers, which are started before the clock is.
(c) with --device: frames a second of our loader alone, of training steps on one batch again and again, and of training; with
    the frames resident on the device, and sent to it by threads. On a CPU it shows that the code runs, and no more.

Everything is in the system's cache: disks are not what is compared.
"""

from __future__ import annotations

import shlex
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import webdataset
from machine import interleaved, options, publish, ratios, speedups, spread, table
from PIL import Image
from skimage.color import rgb2lab
from torch.utils.data import DataLoader, Dataset

from kinemacolor import models
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Batch, Batches, Material
from kinemacolor.frames.material import Way
from kinemacolor.frames.resize import AreaResize
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.media.decode import decode
from kinemacolor.media.probe import probe
from kinemacolor.models.running import run
from kinemacolor.params import AugmentParams, Loss
from kinemacolor.training.fit import keep_memory
from kinemacolor.training.losses import Objective

BATCH = 32


def film_frames(film: Path, size: int, count: int) -> Iterator[np.ndarray]:
    """`count` frames spread over a film, planes (3,size,size); it begins anew if it has fewer."""
    every = max(1, probe(film).frames // count)
    given = 0
    while given < count:
        resize: AreaResize | None = None
        for picture in decode(film, every=every):
            resize = resize or AreaResize(picture.pixels.shape[:2], (size, size))
            yield resize(picture.pixels)
            given += 1
            if given == count:
                return


def made_frames(size: int, count: int) -> Iterator[np.ndarray]:
    """Smooth pictures with a little grain, which a JPEG takes about as much work for as a film's."""
    random = np.random.default_rng(0)
    for _ in range(count):
        small = random.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC), np.int16)
        grain = random.integers(-4, 5, picture.shape, dtype=np.int16)
        yield np.clip(picture + grain, 0, 255).astype(np.uint8).transpose(2, 0, 1)


def prepare(folder: Path, frames: Iterator[np.ndarray], size: int, count: int) -> None:
    """The same frames as shards, as JPEG files and as a tar of these."""
    (folder / "shards").mkdir(parents=True)
    (folder / "jpeg").mkdir()
    facts = {"every": 1, "size": [size, size], "fit": "crop"}
    writer = ShardWriter(folder / "shards", source="film", shapes={"colour": (3, size, size)}, shard_bytes=2**27, facts=facts)
    for number, planes in enumerate(frames):
        writer.add({"colour": planes}, frame=number, time=number / 24)
        picture = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
        picture.save(folder / "jpeg" / f"{number:06d}.jpg", quality=95)
    writer.close()
    with tarfile.open(folder / "frames.tar.part", "w") as tar:
        for number in range(count):
            tar.add(folder / "jpeg" / f"{number:06d}.jpg", arcname=f"{number:06d}.jpg")
    (folder / "frames.tar.part").rename(folder / "frames.tar")  # whole: the sign that all of it is


def opened(file: Path) -> np.ndarray:
    """A JPEG file as (H,W,3)."""
    with Image.open(file) as picture:
        return np.asarray(picture)


class Projects(Dataset):
    """Pictures as the projects read them: one file, one crop and one conversion at a time."""

    def __init__(self, files: list[Path], size: int, crop: int) -> None:
        self._files, self._size, self._crop = files, size, crop

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, at: int) -> torch.Tensor:
        with Image.open(self._files[at]) as opened:
            picture = np.asarray(opened.resize((self._size, self._size)))
        y, x = (int(torch.randint(0, self._size - self._crop + 1, ())) for _ in range(2))
        picture = picture[y : y + self._crop, x : x + self._crop]
        if torch.rand(()) < 0.5:
            picture = picture[:, ::-1]
        return torch.from_numpy(rgb2lab(picture).astype(np.float32).transpose(2, 0, 1))


def material(folder: Path, device: torch.device, way: Way | None = None) -> Material:
    """All frames of the shards."""
    store = FrameStore(folder / "shards", verify=False)
    return Material({"film": store}, store.table[["source", "frame"]], device, way=way)


def drained(batches: Iterable) -> None:
    """Take all of them."""
    for _ in batches:
        pass


def random_batches(folder: Path, size: int, count: int, rounds: int) -> list[list[str]]:
    """Table (a)."""
    frames, files = material(folder, torch.device("cpu")), sorted((folder / "jpeg").iterdir())
    random = np.random.default_rng(1)
    some = min(count, 640 if size > 100 else 2560)

    kept = torch.empty((2 * BATCH, 3, size, size), dtype=torch.uint8)

    def ours(threads: int, again: bool = False) -> Callable[[], None]:
        def epoch() -> None:
            torch.set_num_threads(threads)
            for at in np.array_split(random.permutation(count), max(1, count // BATCH)):
                frames.pictures("colour", at, out=kept[: len(at)] if again else None)

        return epoch

    def jpeg() -> None:
        for batch in np.array_split(random.permutation(count)[:some], max(1, some // BATCH)):
            torch.from_numpy(np.stack([opened(files[at]) for at in batch]))

    def tar() -> None:
        pictures = webdataset.WebDataset(str(folder / "frames.tar"), shardshuffle=False).shuffle(1000).decode("rgb8")
        drained(pictures.to_tuple("jpg").batched(BATCH))

    contestants = {
        "JPEG files, PIL, one thread": jpeg,
        "WebDataset, one thread": tar,
        "kinemacolor, one thread": ours(1),
        "kinemacolor, two threads": ours(2),
        "kinemacolor, one thread, the same memory again": ours(1, again=True),
    }
    taken = interleaved(contestants, rounds)
    rate = {name: [(some if at == 0 else count) / one for one in taken[name]] for at, name in enumerate(taken)}
    peer = rate["JPEG files, PIL, one thread"]
    return [[f"{size}x{size}: {name}", spread(rate[name], 0), spread(ratios(rate[name], peer), 1)] for name in rate]


def ready_batches(folder: Path, size: int, crop: int, count: int, rounds: int) -> list[list[str]]:
    """Table (b)."""
    frames, files = material(folder, torch.device("cpu")), sorted((folder / "jpeg").iterdir())
    some = min(count, 640 if size > 100 else 1920)
    theirs = DataLoader(
        Projects(files[:: max(1, count // some)][:some], size, crop),
        batch_size=BATCH,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
    )

    def ours(threads: int) -> Callable[[], None]:
        def epoch() -> None:
            torch.set_num_threads(threads)
            drained(Batches(frames, batch_size=BATCH, augment=AugmentParams(crop=crop, flip=True), shuffle=(0, 0)))

        return epoch

    contestants = {
        "the projects' way": lambda: drained(theirs),
        "kinemacolor, one thread": ours(1),
        "kinemacolor, two threads": ours(2),
    }
    taken = interleaved(contestants, rounds)
    rate = {name: [(some if at == 0 else count) / one for one in taken[name]] for at, name in enumerate(taken)}
    peer = rate["the projects' way"]
    return [[f"{size}x{size}, crop {crop}: {name}", spread(rate[name], 0), spread(ratios(rate[name], peer), 1)] for name in rate]


class Steps:
    """Training steps of one network, without what Lightning adds to them."""

    def __init__(self, name: str, loss: Loss, device: torch.device) -> None:
        self._family, self._device = models.family(name), device
        self._network = models.build(name, {}).to(device, memory_format=torch.channels_last).train()
        self._objective = Objective(loss, self._family.coding)
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=1e-4)

    def __call__(self, batches: Iterable[Batch]) -> None:
        """A step on each."""
        for batch in batches:
            with torch.autocast(self._device.type, torch.bfloat16):
                output, _ = run(self._network, self._family, batch.view, window=1, state=None)
            self._objective(output, batch.view.lightness, batch.lab, None, 1).minimised.backward()
            self._optimiser.step()
            self._optimiser.zero_grad()
        self.finished()

    def finished(self) -> None:
        """Wait for the device."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def on_device(folder: Path, size: int, crop: int, device: torch.device, rounds: int, small: bool) -> list[list[str]]:
    """Table (c)."""
    rows = []
    augment = AugmentParams(crop=crop, flip=True)
    trained = (("alpha", 32, Loss()), ("eccv16", 16, Loss(name="classes", rebalance=None)))
    for name, together, loss in trained[:1] if small else trained:
        train = Steps(name, loss, device)
        for way in ("resident", "sent"):
            frames = material(folder, device, way)
            batches = Batches(frames, batch_size=together, augment=augment, shuffle=(0, 0))
            first, count = next(iter(batches)), 2 if small else min(len(batches), 100)
            taken = interleaved(
                {
                    "loader alone": lambda train=train, batches=batches, count=count: [
                        drained(islice(batches, count)),
                        train.finished(),
                    ],
                    "steps alone": lambda train=train, first=first, count=count: train([first] * count),
                    "training": lambda train=train, batches=batches, count=count: train(islice(batches, count)),
                },
                rounds,
            )
            for what, seconds in taken.items():
                rate, peer = [count * together / one for one in seconds], taken["steps alone"]
                title = f"{name}, {crop}x{crop} of {size}x{size}, {way}: {what}"
                rows.append([title, spread(rate, 0), spread(speedups(seconds, peer))])
    return rows


def main() -> None:
    """Make the frames where they are not there yet, and print the tables."""
    parser = options(__doc__)
    parser.add_argument("--film", type=Path, help="take the frames of this film; without it they are made up")
    parser.add_argument("--folder", type=Path, help="keep the frames here, or find them here from an earlier call; empty or new")
    parser.add_argument("--frames", type=int, default=7640)
    parser.add_argument("--device", help="cuda: table (c), with training on the GPU, instead of (a) and (b)")
    arguments = parser.parse_args()
    keep_memory()  # as trainings do
    count = 96 if arguments.small else arguments.frames
    sizes = ((32, 24), (16, 8)) if arguments.small else ((256, 224), (64, 56))
    if arguments.small and arguments.device:
        sizes = ((64, 32),)
    found: list[list[list[str]]] = [[], [], []]
    with tempfile.TemporaryDirectory() as temporary:
        for size, crop in sizes:
            folder = (arguments.folder or Path(temporary)) / str(size)
            if not (folder / "frames.tar").is_file():
                frames = film_frames(arguments.film, size, count) if arguments.film else made_frames(size, count)
                prepare(folder, frames, size, count)
            if arguments.device:
                device = torch.device(arguments.device)
                found[2] += on_device(folder, size, crop, device, arguments.rounds, arguments.small)
            else:
                found[0] += random_batches(folder, size, count, arguments.rounds)
                found[1] += ready_batches(folder, size, crop, count, arguments.rounds)
    titles = (
        ["random batches of 32", "frames a second", "times JPEG files"],
        ["batches ready to train", "frames a second", "times the projects' way"],
        ["with a network", "frames a second", "of the rate of steps alone"],
    )
    publish(
        "Loading frames",
        shlex.join(["python", *sys.argv]),
        [table(title, rows) for title, rows in zip(titles, found, strict=True) if rows],
        out=arguments.out,
        remarks=[f"{count} frames of {arguments.film.name if arguments.film else 'made-up content'}."],
    )


if __name__ == "__main__":
    main()
