"""Make a grey print out of a colour print: what sixty years and another laboratory do to a film.

A pair whose grey print is made has a known truth: the offset between the prints, their crop and their tones. That is
what the synchronisation is tried against. Everything happens in one ffmpeg process: the film is cut, cropped, scaled and
graded as planar YUV, so that luma is never rounded through RGB; the leader is drawn by us and piped in; the grain is a
plate of exact standard deviation that is moved to another place for every frame, since ffmpeg's own noise filter takes
whole strengths only, half a step of luma apart.

The same file, recipe and version of ffmpeg give the same bytes; see `encode.DETERMINISTIC`.
"""

from __future__ import annotations

import contextlib
import errno
import subprocess
import tempfile
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import ffmpeg
import imageio_ffmpeg
import numpy as np

from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file
from kinemacolor.media.encode import DETERMINISTIC
from kinemacolor.media.leader import leader_frames
from kinemacolor.media.probe import Probe, best_video, local_address, probe
from kinemacolor.params import Recipe

_BT709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
_ROAM = (251, 257)  # primes: the plate's place (x, y) repeats after 251 * 257 frames, 45 minutes of film
_PER_CODE = 219 / 255  # limited range: codes of video luma to one step of 255


def make_print(
    colour: Path, recipe: Recipe, target: Path, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Make the grey print `target` (.mp4 or .mkv) of the film `colour` by `recipe`.

    Frame k of the print, k >= intro_frames, shows frame k - intro_frames + trim_frames of the film, and the sound moves
    with the picture: faint noise under the leader, then the film's own sound. A film without sound gives a print without.
    The steps, in order: trim, crop, area-averaged scale, 1 / gamma and contrast about the middle on luma in [0, 1], leader,
    Gaussian grain (white, another for every frame; `recipe.grain` is its standard deviation in the decoded luma of 0 to
    255, before encoding), x264 and AAC. H.264 yuv420p with neutral chroma, tagged BT.709 and limited range, at the film's
    constant frame rate. Ours.

    Args:
        progress: called with frames done and frames in all.

    Returns:
        {"offset": grey frame number minus colour frame number of the same picture, "frames": frames of the print}

    Raises:
        UserError: the film cannot be read, is shorter than what is trimmed, or the disk is full.
        RuntimeError: ffmpeg ended with an error; the message is its last line.
    """
    film = probe(colour)
    if recipe.trim_frames >= film.frames:
        raise UserError(
            f"The recipe's trim_frames ({recipe.trim_frames}) leaves nothing of {colour}, which has {film.frames} frames: lower it."
        )
    expected = film.frames - recipe.trim_frames + recipe.intro_frames
    with atomic_file(target) as temporary, tempfile.TemporaryDirectory(prefix="kinemacolor-") as scratch:
        left, top, width, height, print_width = _geometry(film, recipe)
        picture = _film_picture(colour, recipe, film.frame_rate, (left, top, width, height), print_width)
        if recipe.intro_frames:
            picture = _after_leader(picture, recipe, film.frame_rate, print_width)
        if recipe.grain:
            picture = _with_grain(picture, recipe, film.frame_rate, print_width, Path(scratch) / "grain.yuv")
        picture = picture.filter(
            "setparams", range="tv", **{key: "bt709" for key in ("colorspace", "color_primaries", "color_trc")}
        )
        streams = [picture]
        if film.audio:
            streams.append(_sound(colour, recipe, film, scratch))
        frames = _run(_command(streams, recipe, film, temporary), recipe, film, print_width, expected, progress)
        if frames <= recipe.intro_frames:
            raise RuntimeError(f"ffmpeg decoded no picture of {colour}")
    return {"offset": recipe.intro_frames - recipe.trim_frames, "frames": frames}


def _geometry(film: Probe, recipe: Recipe) -> tuple[int, int, int, int, int]:
    """Left, top, width and height of the crop in the film's pixels, and the width of the print, which is even."""
    left, right = round(recipe.crop[0] * film.width), round(recipe.crop[2] * film.width)
    top, bottom = round(recipe.crop[1] * film.height), round(recipe.crop[3] * film.height)
    width, height = film.width - left - right, film.height - top - bottom
    return left, top, width, height, max(2, 2 * round(width * recipe.height / height / 2))


def _counted(stream: Any, rate: Fraction) -> Any:
    """Time stamps that count frames, whatever they were: constant frame rate, exact."""
    return stream.filter("settb", f"{rate.denominator}/{rate.numerator}").filter("setpts", "N")


def _film_picture(colour: Path, recipe: Recipe, rate: Fraction, crop: tuple[int, int, int, int], print_width: int) -> Any:
    """The film's luma: cut, cropped, scaled and graded."""
    left, top, width, height = crop
    picture = ffmpeg.input(local_address(colour), threads=2).video
    # The matrix is neutralised first: luma stays the luma that the film has, whichever weights made it.
    picture = picture.filter("setparams", colorspace="bt709") if _is_yuv(colour) else picture
    picture = picture.filter("trim", start_frame=recipe.trim_frames)
    # exact=1: chroma is thrown away, so the crop need not keep to its coarser grid.
    picture = picture.filter("crop", width, height, left, top, exact=1)
    flags = "area+accurate_rnd+bitexact"
    picture = picture.filter("scale", print_width, recipe.height, flags=flags, out_color_matrix="bt709", out_range="tv")
    picture = picture.filter("format", "yuv420p")
    toned = f"(pow(clip((val-16)/219,0,1),1/{recipe.gamma})-0.5)*{recipe.contrast}+0.5"
    picture = picture.filter("lutyuv", y=f"16+219*clip({toned},0,1)+0.5", u="128", v="128")
    return _counted(picture.filter("setsar", "1"), rate)


def _is_yuv(colour: Path) -> bool:
    """Whether the film is stored as luma and chroma; RGB has no matrix that could be relabelled."""
    with av.open(local_address(colour), metadata_errors="replace") as container:
        layout = best_video(container).codec_context.pix_fmt or ""
    return layout.startswith(("yuv", "nv", "p0", "p2", "p4", "gray"))


def _after_leader(picture: Any, recipe: Recipe, rate: Fraction, print_width: int) -> Any:
    """The film after the leader, whose frames come through the pipe."""
    size = (print_width, recipe.height)
    leader = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="yuv420p", video_size=size, framerate=str(rate)).video
    leader = _counted(leader.filter("setparams", range="tv", **{"colorspace": "bt709"}).filter("setsar", "1"), rate)
    return _counted(ffmpeg.concat(leader, picture, v=1, a=0), rate)


def _with_grain(picture: Any, recipe: Recipe, rate: Fraction, print_width: int, plate: Path) -> Any:
    """The picture plus a window of the grain plate, whose place jumps with every frame."""
    width, height = print_width + _ROAM[0] + 1, recipe.height + _ROAM[1] + 1
    width, height = width + width % 2, height + height % 2
    rng = np.random.default_rng(abs(recipe.seed))
    noise = rng.normal(128, recipe.grain * _PER_CODE, (height, width))
    neutral = np.full(width * height // 2, 128, np.uint8)
    plate.write_bytes(np.clip(np.rint(noise), 0, 255).astype(np.uint8).tobytes() + neutral.tobytes())
    grain = ffmpeg.input(str(plate), format="rawvideo", pix_fmt="yuv420p", video_size=(width, height), framerate=str(rate))
    grain = _counted(grain.video.filter("loop", loop=-1, size=1), rate)
    # Quadratic in the frame's number: from frame to frame the jump itself changes, so the grain never seems to travel.
    across = f"mod(7*n*n+91*n+{abs(recipe.seed) % 9973},{_ROAM[0]})"
    down = f"mod(5*n*n+123*n+{abs(recipe.seed) % 9949},{_ROAM[1]})"
    grain = grain.filter("crop", print_width, recipe.height, across, down, exact=1)
    grain = grain.filter("setparams", range="tv", **{"colorspace": "bt709"}).filter("setsar", "1")
    # grainmerge adds and takes 128 away again; both chromas are 128, and stay.
    return ffmpeg.filter([picture, grain], "blend", all_mode="grainmerge", shortest=1)


def _sound(colour: Path, recipe: Recipe, film: Probe, scratch: str) -> Any:
    """Noise as long as the leader, then the film's sound from the first picture that is kept."""
    with av.open(local_address(colour), metadata_errors="replace") as container:
        video = best_video(container)
        # ffmpeg counts from the start of the file; pictures may begin later than sound.
        begin = float((video.start_time or 0) * video.time_base) - (container.start_time or 0) / av.time_base
    rate, layout = film.audio["rate"], "mono" if film.audio["channels"] == 1 else "stereo"
    form = {"sample_rates": rate, "channel_layouts": layout, "sample_fmts": "fltp"}
    start = begin + float(recipe.trim_frames / film.frame_rate)
    sound = ffmpeg.input(local_address(colour)).audio.filter("aresample", rate, **{"async": 1, "first_pts": 0})
    sound = sound.filter("aformat", **form).filter("atrim", start=f"{start:.6f}").filter("asetpts", "PTS-STARTPTS")
    # No longer than the pictures: a player would show the last one for as long as the sound goes on.
    seconds = float((film.frames - recipe.trim_frames) / film.frame_rate)
    sound = sound.filter("atrim", duration=f"{seconds:.6f}")
    samples = round(recipe.intro_frames / film.frame_rate * rate)
    if not samples:
        return sound
    hiss = ffmpeg.input(f"anoisesrc=color=pink:amplitude=0.01:seed={abs(recipe.seed)}:sample_rate={rate}", format="lavfi")
    hiss = hiss.audio.filter("aformat", **form).filter("atrim", end_sample=samples)
    return ffmpeg.concat(hiss, sound, v=0, a=1)


def _command(streams: list[Any], recipe: Recipe, film: Probe, target: Path) -> list[str]:
    """The one command that makes the print."""
    options: dict[str, Any] = dict(
        vcodec="libx264", preset="veryfast", crf=recipe.crf, pix_fmt="yuv420p", fps_mode="cfr",
        r=str(film.frame_rate), color_range="tv", movflags="+faststart", fflags="+bitexact", map_metadata=-1, map_chapters=-1,
        **DETERMINISTIC, **_BT709,
    )  # fmt: skip
    if film.audio:
        options |= {"acodec": "aac", "audio_bitrate": "128k"}
    output = ffmpeg.output(*streams, local_address(target), **options)
    output = output.global_args("-hide_banner", "-loglevel", "error", "-progress", "pipe:1", "-filter_complex_threads", "2")
    return ffmpeg.compile(output, cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)


def _run(
    command: list[str],
    recipe: Recipe,
    film: Probe,
    print_width: int,
    expected: int,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Run ffmpeg, feed it the leader, report its progress, and return the number of frames it wrote."""
    frames = 0
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages)
        try:
            feeder = threading.Thread(target=_feed, args=(process.stdin, recipe, film.frame_rate, print_width), daemon=True)
            feeder.start()
            for line in process.stdout:
                if line.startswith(b"frame="):
                    frames = int(line.removeprefix(b"frame="))
                    if progress:
                        progress(min(frames, expected), expected)
            feeder.join()
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()
        if status != 0:
            messages.seek(0)
            raise _failure(messages.read().decode(errors="replace"))
    if progress:
        progress(frames, frames)
    return frames


def _feed(pipe: IO[bytes], recipe: Recipe, rate: Fraction, print_width: int) -> None:
    """Write the leader into ffmpeg's input as limited-range luma with neutral chroma; ffmpeg may die meanwhile."""
    neutral = np.full(print_width * recipe.height // 2, 128, np.uint8).data
    to_codes = np.rint(16 + np.arange(256) * _PER_CODE).astype(np.uint8)
    with contextlib.suppress(BrokenPipeError), pipe:
        for grey in leader_frames(
            recipe.intro_frames, height=recipe.height, width=print_width, frame_rate=rate, seed=recipe.seed
        ):
            pipe.write(to_codes[grey].data)
            pipe.write(neutral)


def _failure(messages: str) -> Exception:
    """What the dead ffmpeg said; a full disk as the OSError that `atomic_file` turns into a sentence."""
    if "No space left on device" in messages:
        return OSError(errno.ENOSPC, "No space left on device")
    last = next((line.strip() for line in reversed(messages.split("\n")) if line.strip()), "no message")
    return RuntimeError(f"ffmpeg could not make the grey print: {last}")
