"""Claim: colouring a whole film takes half as long again as decoding and encoding it.

    python benchmarks/colorize.py --film FILM --model data/models/DATASET/MODEL [...] [--sizes 960x536 1280x720] [--seconds 20]

Contestants, in turn, each with all cores: decoding and encoding alone (PyAV's decoder, our encoder and its segments, the same
settings of x264, sound copied: what colouring cannot be faster than); the ffmpeg command line doing the same; and `kinemacolor
colorize` with each model, from opening the film to the finished file. A part of the film is cut out first and brought to each
size without a trace of it in the times. Shown are frames a second and, of each round, the share of decoding and encoding
alone. On a machine that others use as well, the ratio of CPU time is the steadier one.

Goals: with `alpha` on two cores, .7 of decoding and encoding alone; on a GPU 100 frames a second at 960x536 with a U-Net.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
from av.video.frame import VideoFrame
from machine import interleaved, options, publish, ratios, spread, table

from kinemacolor import models
from kinemacolor.files import write_json
from kinemacolor.media.decode import frames_of
from kinemacolor.media.encode import DETERMINISTIC
from kinemacolor.media.pace import ahead
from kinemacolor.media.probe import probe
from kinemacolor.wholefilm.film import SEGMENT, Options, colour_film
from kinemacolor.wholefilm.looks import look_of
from kinemacolor.wholefilm.reading import stream_of
from kinemacolor.wholefilm.streams import join
from kinemacolor.wholefilm.writing import Encoder, Workshop

ALONE, PEER = "decode and encode alone", "ffmpeg command line"


def main() -> None:
    """Print a table for each size."""
    parser = options(__doc__)
    parser.add_argument("--film", type=Path, help="a video; without it, a made one")
    parser.add_argument("--model", type=Path, nargs="*", default=[], help="models' folders; without one, an untrained alpha")
    parser.add_argument("--sizes", nargs="*", default=["960x536", "1280x720"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--start", type=float, default=60.0, help="seconds into the film")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the part")
    parser.add_argument("--preset", default=Options.preset, help="x264's")
    parser.add_argument("--chroma", default=Options.chroma, help="how colours are enlarged")
    parser.add_argument("--keep", default=Options.keep, help="lightness or luma")
    parser.add_argument("--device", help="cpu or cuda")
    arguments = parser.parse_args()
    if not (arguments.film or arguments.small):
        parser.error("give --film FILM, or --small for a made one")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = arguments.model or [_untrained(folder)]
        for size in ["96x54"] if arguments.small else arguments.sizes:
            rows += _measured(_part(folder, size, arguments), size, chosen, folder, arguments)
    columns = ["size", "contestant", "frames a second", "of alone", "of alone, by CPU"]
    title = f"Colouring a whole film: x264 {arguments.preset}, chroma {arguments.chroma}, {arguments.keep} kept"
    publish(title, "python benchmarks/colorize.py --film ...", [table(columns, rows)], out=arguments.out)


def _measured(film: Path, size: str, chosen: list[Path], folder: Path, arguments: argparse.Namespace) -> list[list[str]]:
    settings = Options(preset=arguments.preset, chroma=arguments.chroma, keep=arguments.keep)
    out = folder / "out.mkv"
    contestants: dict[str, Callable[[], object]] = {
        ALONE: functools.partial(_alone, film, out, settings),
        PEER: functools.partial(_ffmpeg_alone, film, out, settings),
    }
    for model in chosen:
        name = f"colorize, {model.name}"
        contestants[name] = functools.partial(colour_film, model, film, out=out, options=settings, device=arguments.device)
    worked: dict[str, list[float]] = {name: [] for name in contestants}
    counted = {name: functools.partial(_counting, function, worked[name]) for name, function in contestants.items()}
    rounds = 1 if arguments.small else arguments.rounds
    taken = interleaved(counted, rounds, afterwards=functools.partial(out.unlink, missing_ok=True))
    frames = probe(film).frames
    return [
        [
            size,
            name,
            f"{frames / statistics.median(seconds):.1f}",
            spread(ratios(taken[ALONE], seconds)),
            spread(ratios(worked[ALONE][1:], worked[name][1:])),
        ]
        for name, seconds in taken.items()
    ]


def _counting(function: Callable[[], object], worked: list[float]) -> None:
    """Run a contestant and note the seconds that processors worked for it, in this process and in those it started."""
    before = os.times()
    function()
    worked.append(sum(os.times()[:4]) - sum(before[:4]))


def _alone(film: Path, out: Path, settings: Options) -> None:
    """What colouring does without colouring: the same reading, encoder, segments and joining."""
    stream = stream_of(film)
    with Workshop(out, {}) as workshop, contextlib.closing(ahead(frames_of(film), depth=8)) as frames:
        encoder = look = None
        begin = 0

        def keep(after: int) -> None:
            facts = {
                "number": begin,
                "place": begin,
                "frames": after - begin,
                "after": after,
                "shot": [begin, begin],
                "chroma": 0.0,
            }
            workshop.add(facts, encoder.finish())

        number = -1
        for number, _, frame in frames:
            look = look or look_of(frame, stream.aspect, film.name)
            encoder = encoder or Encoder(settings.coding, look, stream.base, stream.rate)
            encoder.add(_as_new(frame), frame.duration or 0)
            if (number + 1) % SEGMENT == 0:
                keep(number + 1)
                encoder, begin = None, number + 1
        if encoder is not None:
            keep(number + 1)
        join(stream, workshop.segments, out, look, settings.coding)
        workshop.clear()


def _as_new(frame: VideoFrame) -> VideoFrame:
    """The frame, so that its encoder chooses its own key pictures."""
    frame.pict_type = 0
    return frame


def _ffmpeg_alone(film: Path, out: Path, settings: Options) -> None:
    coded = ["-c:v", "libx264", "-crf", settings.crf, "-preset", settings.preset, "-g", 250]
    coded += [part for key, value in DETERMINISTIC.items() for part in (f"-{key}", value)]
    _ffmpeg("-i", film, "-map", "0", "-c", "copy", *coded, out)


def _part(folder: Path, size: str, arguments: argparse.Namespace) -> Path:
    """The part of the film that all work on, at a size, as video sites and x264's defaults make films."""
    part = folder / f"part-{size}.mp4"
    if arguments.film is None:
        source = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate=24:duration=4"]
    else:
        source = ["-ss", arguments.start, "-t", arguments.seconds, "-i", arguments.film]
    _ffmpeg(*source, "-vf", f"scale={size.replace('x', ':')}", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", part)
    return part


def _untrained(folder: Path) -> Path:
    """A model that colours anyhow, as fast as a trained one."""
    from safetensors.torch import save_file

    model = folder / "alpha"
    model.mkdir()
    network = models.build("alpha", {})
    settings = {"model": {"family": "alpha", "options": {}}}
    write_json(model / "meta.json", {"name": "alpha", "size": [128, 128], "params": settings})
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, model / "weights.safetensors")
    return model


def _ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
