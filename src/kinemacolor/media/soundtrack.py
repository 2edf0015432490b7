"""The sound of a made print: the film's, cut where its pictures were cut, and as fast as they run.

The film's sound is decoded once into a file without a name, whose size is the film's and not memory's; the print's sound
is then read from it in any order. Where the print plays at another speed the sound does too, pitch and all, through a cubic
between four samples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from kinemacolor.media.probe import best_video, open_video
from kinemacolor.media.programme import Programme
from kinemacolor.media.release import sound_rate

_BLOCK = 1 << 15
_HISS = 0.003  # standard deviation of the noise under what is the print's own
_LONGEST_GAP = 3600  # seconds: a stamp further on is no gap but damage


class Soundtrack:
    """The sound of a film, edited for a print. A context manager.

    Args:
        film: a film that has sound.
        seed: of the hiss.

    Attributes:
        rate: samples a second.
        channels: 1 or 2; more are mixed down.
    """

    def __init__(self, film: Path, programme: Programme, *, seed: int) -> None:
        self._programme, self._seed = programme, abs(seed)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 closed by __exit__
        try:
            self.rate, self.channels, self._length = _decoded(film, self._file, self._last_second())
            shape = (max(1, self._length), self.channels)
            self._file.truncate(max(1, shape[0]) * self.channels * 2)
            self._film = np.memmap(self._file, np.int16, "r", shape=shape)
        except BaseException:
            self._file.close()
            raise
        self._runs = self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._film = None
        self._file.close()

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The print's whole sound, in order, in blocks (samples, channels) of -1..1, as long as its pictures."""
        edit = self._programme.edit
        whole = round(len(edit) / self._programme.film_rate / self._programme.clock * self.rate)
        last = self._programme.tick[-1] + 1
        whole = max(whole, round(last / self._programme.rate * self.rate))
        for start in range(0, whole, _BLOCK):
            yield self._between(start, min(whole, start + _BLOCK))

    def _last_second(self) -> float:
        """No film sound after it is heard."""
        return float((int(self._programme.edit.frame.max()) + 1) / self._programme.film_rate) + 1

    def _cut(self) -> list[tuple[float, float, float]]:
        """Stretches of film in the edit: first print sample, the one after the last, and the film sample of the first."""
        edit, film_rate = self._programme.edit, self._programme.film_rate
        step = self.rate / film_rate / self._programme.clock  # print samples a position
        starts = np.flatnonzero(np.diff(edit.run, prepend=-1))
        ends = np.append(starts[1:], len(edit))
        # A picture that stands is the print's own: there is no sound that belongs to it.
        film = (edit.frame[starts] >= 0) & (edit.number[starts] == 0)
        return [
            (float(start * step), float(end * step), float(int(edit.frame[start]) * self.rate / film_rate))
            for start, end, real in zip(starts.tolist(), ends.tolist(), film.tolist(), strict=True)
            if real
        ]

    def _between(self, start: int, end: int) -> NDArray[np.float32]:
        hiss = np.random.default_rng([self._seed, 0x50D, start // _BLOCK])
        block = hiss.normal(0, _HISS, (end - start, self.channels)).astype(np.float32)
        clock = float(self._programme.clock)
        for first, last, source in self._runs:
            one, other = max(start, int(np.ceil(first))), min(end, int(np.ceil(last)))
            if one < other:
                places = source + (np.arange(one, other) - first) * clock
                block[one - start : other - start] = self._at(places, whole=clock == 1)
        return block

    def _at(self, places: NDArray[np.float64], *, whole: bool) -> NDArray[np.float32]:
        """The film's sound at fractional samples; silence past its end. Catmull and Rom's cubic, or the nearest if `whole`."""
        base = np.rint(places) if whole else np.floor(places)
        index = base.astype(np.int64)
        if whole:
            return self._samples(index)
        t = (places - base).astype(np.float32)[:, None]
        a, b, c, d = (self._samples(index + step) for step in (-1, 0, 1, 2))
        return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))

    def _samples(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        inside = (index >= 0) & (index < self._length)
        samples = self._film[np.clip(index, 0, len(self._film) - 1)].astype(np.float32) / 32768
        samples[~inside] = 0
        return samples


def _decoded(film: Path, file: IO[bytes], until: float) -> tuple[int, int, int]:
    """Write the film's sound as 16-bit samples, those at its first picture first; rate, channels, length in samples.

    Nothing later than `until`, in seconds, is decoded.
    """
    with open_video(film) as container:
        video, sound = best_video(container), container.streams.best("audio")
        origin = (video.start_time or 0) * video.time_base
        rate, channels = sound_rate(sound.rate), min(2, sound.channels)
        shaper = av.AudioResampler(format="s16", layout="mono" if channels == 1 else "stereo", rate=rate)
        at = length = None
        for packet in container.demux(sound):
            try:
                frames = [] if packet.is_corrupt else packet.decode()
            except av.error.FFmpegError:
                continue
            if at is not None and at > until * rate:
                break
            for frame in frames:
                stamp = None if frame.pts is None else round((frame.pts * frame.time_base - origin) * rate)
                # Stamps are rounded, more than a sample in some containers; only a real gap moves the sound.
                if at is None or (stamp is not None and rate // 20 < abs(stamp - at) < _LONGEST_GAP * rate):
                    at = stamp or 0
                for shaped in shaper.resample(frame):
                    samples = shaped.to_ndarray().reshape(-1, channels)
                    skipped = max(0, -at)
                    at += len(samples)
                    if skipped < len(samples):
                        file.seek((at - len(samples) + skipped) * channels * 2)
                        file.write(samples[skipped:].tobytes())
                        length = max(length or 0, at)
        return rate, channels, length or 0
