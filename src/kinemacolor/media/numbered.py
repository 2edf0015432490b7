"""Pictures by their number: a video's frames, counted as `decode` counts them, or a folder of pictures named by number.

What another program made of a film, frame for frame, is matched with the film by these numbers and never by a place in a list:
a folder that lacks a picture then lacks that picture, and does not shift all that follow.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.media.decode import pixels_of
from kinemacolor.media.pictures import BrokenPicture, decode_picture, quietly
from kinemacolor.media.stretch import frames_from

_ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"))
_FAR = 250  # frames ahead from which seeking is sooner than decoding what lies between


class Numbered(ABC):
    """A film as pictures that are asked for by number; quick where the numbers rise, right in any order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Picture `number`, (H,W,3) RGB, upright.

        Raises:
            UserError: there is no such picture, or it cannot be read.
        """
        found = self._picture(number)
        if found is None:
            raise UserError(f"{self.path} has no picture of frame {number}: colour every frame, or show a stretch that has them.")
        return found

    @abstractmethod
    def _picture(self, number: int) -> NDArray[np.uint8] | None: ...


def open_numbered(path: Path) -> Numbered:
    """Open a video, or a folder of pictures whose names end in their number (17.png, frame_000017.jpg).

    Raises:
        UserError: there is no such file, the folder holds no such picture, or two of one number.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} is missing: name a video, or a folder of pictures named by frame number.")
    return _Folder(path) if path.is_dir() else _Video(path)


class _Video(Numbered):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._converter = VideoReformatter()
        self._frames: Iterator[tuple[int, VideoFrame]] = iter(())
        self._at, self._last = -1, None  # number of the frame that was read last, and its pixels once they were asked for
        self._frame: VideoFrame | None = None
        next(frames_from(path, 0), None)  # no video at all is said before the work

    def _picture(self, number: int) -> NDArray[np.uint8] | None:
        if number < self._at or number > self._at + _FAR or self._frame is None:
            self._frames, self._at, self._frame = frames_from(self.path, number), -1, None
        while self._at < number:
            self._at, self._frame = next(self._frames, (number, None))
            self._last = None
        if self._at != number or self._frame is None:
            return None
        if self._last is None:
            self._last = pixels_of(self._converter, self._frame, False, None)
        return self._last


class _Folder(Numbered):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._files: dict[int, Path] = {}
        for file in sorted(path.iterdir()):
            digits = re.search(r"[0-9]+$", file.stem)
            if file.suffix.lower() not in _ENDINGS or file.name.startswith(".") or digits is None:
                continue
            number = int(digits[0])
            if number in self._files:
                raise UserError(f"{self._files[number]} and {file} both are frame {number}: remove one.")
            self._files[number] = file
        if not self._files:
            raise UserError(f"{path} holds no picture whose name ends in its frame number, such as 000017.png: rename them.")

    def _picture(self, number: int) -> NDArray[np.uint8] | None:
        file = self._files.get(number)
        if file is None:
            return None
        try:
            with quietly():
                return decode_picture(file.read_bytes())
        except (BrokenPicture, OSError) as error:
            raise UserError(f"{file} cannot be read as a picture ({error}): make it again.") from None
