"""What the tests of collections share: tiny clips of several shapes and rates, and photographs of every awkward kind."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from PIL import Image

from kinemacolor.params import ClipsSource, ImagesSource
from kinemacolor.stages.download import download

ABOUT = {"licence": "CC0", "credit": "the tests"}
CLIPS = {  # name: size, rate, frames
    "b/second.mp4": ("64x48", "25", 12),
    "a first.mkv": ("96x54", "30000/1001", 20),
    "c.webm": ("40x64", "10", 6),
}


def make_clip(path: Path, size: str = "64x48", rate: str = "25", frames: int = 10, hue: int = 0) -> Path:
    """A clip whose every frame is another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coder = ["libvpx", "-b:v", "300k"] if path.suffix == ".webm" else ["libx264", "-g", "5"]
    given = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate},hue=h={hue}", "-frames:v", str(frames)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *given, "-pix_fmt", "yuv420p", "-c:v", *coder, str(path)]
    subprocess.run(command, check=True)
    return path


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture in colours, (H,W,3) uint8, which survives JPEG."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def encoded(picture: Image.Image, form: str, **more: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **more)
    return stream.getvalue()


def photographs() -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    """Files by name, and what each shows, (H,W,3) uint8; the last two are broken and show nothing."""
    plain, wide = Image.fromarray(scene(40, 60)), (scene(30, 50, 1).astype(np.uint16) * 257)[..., ::-1]
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise
    clear = np.dstack([scene(20, 24, 2), np.tile(np.linspace(0, 255, 24).astype(np.uint8), (20, 1))])
    palette = Image.fromarray(scene(32, 32, 3)).quantize(16)
    deep = np.linspace(0, 65535, 33 * 47).reshape(33, 47).astype(np.uint16)
    files = {
        "n01/cmyk.JPEG": encoded(plain.convert("CMYK"), "JPEG", quality=98, subsampling=0),
        "n01/turned.jpg": encoded(Image.fromarray(scene(40, 60, 4)), "JPEG", exif=turned, quality=98, subsampling=0),
        "n02/wide.png": cv2.imencode(".png", wide)[1].tobytes(),
        "n02/deep.png": encoded(Image.fromarray(deep), "PNG"),
        "palette.gif": encoded(palette, "GIF"),
        "clear.png": encoded(Image.fromarray(clear, "RGBA"), "PNG"),
        "n03/cut.jpg": encoded(Image.fromarray(scene(80, 90, 5)), "JPEG")[:900],
        "z.png": b"<html>not found</html>",
    }
    shown = {
        "n01/cmyk.JPEG": scene(40, 60),
        "n01/turned.jpg": np.rot90(scene(40, 60, 4), -1),
        "n02/wide.png": scene(30, 50, 1),
        "n02/deep.png": np.repeat(np.round(deep / 257).astype(np.uint8)[..., None], 3, axis=2),
        "palette.gif": np.asarray(palette.convert("RGB")),
        "clear.png": np.round(clear[..., :3] * (clear[..., 3:] / 255) + 255 * (1 - clear[..., 3:] / 255)).astype(np.uint8),
    }
    return files, shown


def laid_out(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def clips(**given: object) -> ClipsSource:
    return ClipsSource(kind="clips", **ABOUT, **given)


def images(**given: object) -> ImagesSource:
    return ImagesSource(kind="images", **ABOUT, **given)


def get(source: ClipsSource | ImagesSource, folder: Path, name: str = "toy") -> Path:
    """Run the stage as the command does; returns data/raw/<source>."""
    out = folder / "raw" / name
    download(source, out=out, cache=folder / "cache" / name, name=name)
    return out
