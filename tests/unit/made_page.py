"""A page of made values with all that it can show: figures with intervals, stills of one colour each, videos, lanes, settings."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image

from kinemacolor.findings.judging import columns
from kinemacolor.report.filtering import Double, Filtering, counts
from kinemacolor.report.results import (
    DatasetResult,
    Making,
    ModelResult,
    Moment,
    Paired,
    Part,
    Print,
    ReportData,
    Source,
    Stills,
    Sync,
    SyncSegment,
)
from kinemacolor.report.segments import Agreement
from kinemacolor.report.timeline import LEFT_OUT, TimeLine

PANELS = {"grey": (128, 128, 128), "net": (200, 40, 40), "other": (40, 160, 60), "truth": (40, 60, 220)}
"""Panel of a still -> its colour, of the first moment; later ones are darker."""


def figures(ab: float, **more: float) -> dict[str, dict[str, float]]:
    """metrics.json of a model: the same on every split."""
    found = {"frames": 1234, "mse_ab@128": ab, "mse_rgb_pm1": ab * 3, "psnr_rgb": 20.0, "ssim": 0.9, "de2000": 10.0}
    return {split: found | {"cf": 20.0, "cf_truth": 33.3} | more for split in ("train", "val")}


def curve(epochs: int) -> list[dict[str, float]]:
    """curves.json of a model."""
    return [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.2 / e, "val_mse_ab@128": 0.02 / e} for e in range(1, epochs + 1)]


def row(unsure: bool = False) -> SyncSegment:
    """A segment of a sync."""
    return SyncSegment("0–13,999", "0:00.00–9:43.33", "173–14,172", "0:07.21–9:50.54", "same speed", "0.931", "0.400", unsure)


def video(path: Path, *, seconds: int = 20, rate: int = 10) -> Path:
    """A small film that grows brighter, in a form that every build of Chromium plays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(seconds * rate):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), number % 256, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def still_files(folder: Path) -> Stills:
    """Three moments; a panel is of one colour, so that a screenshot tells which of them is seen."""
    folder.mkdir(parents=True, exist_ok=True)
    moments = []
    for number in range(3):
        panels = {}
        for name, colour in PANELS.items():
            panels[name] = folder / f"{number}_{name}.png"
            Image.new("RGB", (320, 180), tuple(value // (number + 1) for value in colour)).save(panels[name])
        moments.append(Moment(60.0 * number, panels))
    return Stills((320, 180), moments)


def made_page(root: Path, picture: Path, films: dict[str, Path]) -> ReportData:
    """The values.

    Args:
        root: reports/ of the page, for its own pictures.
        picture: any PNG. films: model -> its video.
    """
    naive = ModelResult(
        "naive",
        0,
        0.4,
        "cpu",
        0,
        figures(0.0100),
        trainable=False,
        video=films.get("naive"),
        intervals={"val": {"ssim": [0.8, 1]}},
    )
    net = ModelResult(
        *("net", 1885827, 200.0, "cpu", 25, figures(0.0075, lpips=0.25, flicker_ab=1.5, flicker_ab_truth=0.5, auc_raw=0.875)),
        *({"10": {"val_mse_ab@128": 0.00812}}, curve(25), {"val": picture}, films.get("net"), picture),
        intervals={"val": {"mse_ab@128": [0.006, 0.009]}},
        extremes={"val": picture},
        making=Making({"Commit": "0123abcd", "Energy": "12.5 kJ"}, "model:\n  family: lab_unet\n"),
    )
    far = ModelResult("far", 0, 0.0, "", 0, figures(0.0125, fd_mobilenet_v2=33.25), trainable=False, external=True)
    prints = [
        Print("Colour print", "From the web.", 1280, 720, "24", 14315, 596.5, True, "https://example.org/film?a=1&b=2", "ab" * 32)
    ]
    sync = Sync(
        offset=173,
        pairs=14000,
        segments=1,
        confidence=0.95,
        residual_px=0.1,
        truth_offset=173,
        seconds=7.208,
        plots={"pairs": picture},
        rows=[row()],
        own={"Grey print": "173 frames (7.2 s): 0–172", "Colour print": "nothing"},
        speeds="same speed",
        correlation=0.93,
        share=0.978,
        kind="scaled and shifted",
        agreement=Agreement(14000, 0.995, 0.003, 0.002, 14100, 14000 / 14100),
    )
    source = Source("film", "film_pair", "CC BY 3.0", "A film, (c) Somebody", prints, sync)
    doubles = [Double("val", "film", 9, 1, 0), Double("test", "film", 80, 0, 0)]
    filtering = Filtering(
        2.5, counts(np.array([3.0, 40.0])), counts(np.array([0.0, 1.0])), doubles, {"film": 0.125}, picture, hue=2
    )
    dataset = DatasetResult(
        *("film", [source], (64, 96), 24, {"train": Part(40, 37, {"grey": 2, "black": 1}), "val": Part(9, 9, {})}),
        *([naive, net, far], ("naive", naive.metrics), films.get("film"), picture, filtering),
        paired=[
            Paired("naive", "net", "val", "mse_ab@128", 0.0025, 0.001, 0.004, 12),
            Paired("naive", "net", "val", "psnr_rgb", 0.5, -1.0, 2.0, 12),
            Paired("naive", "far", "val", "mse_ab@128", -0.0025, -0.005, -0.001, 12),
        ],
        stills=still_files(root / "pictures" / "film" / "stills"),
        lines=[TimeLine("film", {"train": [(0, 0.5)], "val": [(0.6, 1)], LEFT_OUT: [(0.25, 0.3)]}, ["0:00", "5:00", "10:00"])],
    )
    measured = {name for model in dataset.models for split in model.metrics.values() for name in split}
    return ReportData([dataset], "9.9", columns(measured))
