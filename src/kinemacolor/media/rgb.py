"""The RGB that `decode` makes of a frame, faster where a compiled kernel makes the very same bytes.

Where in a frame its chroma samples lie, the frame says to swscale but to nobody who asks. So swscale is shown noise in the
place of the picture, under all that the frame says of itself: noise tells every siting from every other, which a picture whose
chroma is flat, or varies in one direction only, does not. The kernel takes over where exactly one of its ways gives the bytes
that swscale gives, so the decision is the same on whichever picture it falls. It holds for one stream whose parameters the
packets were found not to change. Interlaced frames, whose chroma swscale reads field by field, are always left to it.
"""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from kinemacolor.media.decode import Picture, is_full_range, matrix_of, picture_of, pixels_of

# swscale's table of its matrices: red from Cr, blue from Cb, green from Cb and from Cr, times 65536.
_TABLE = {
    Colorspace.ITU709: (117489, 138438, 13975, 34925),
    Colorspace.FCC: (104448, 132798, 24759, 53109),
    Colorspace.ITU601: (104597, 132201, 25675, 53279),
    Colorspace.SMPTE240M: (117579, 136230, 16907, 35559),
    Colorspace.BT2020: (110013, 140363, 12277, 42626),
}
_FIRST = 6  # pictures of a thread: for so few, loading the compiler is not worth its time


class Converter:
    """Makes pictures of the frames of one stream, in one thread."""

    def __init__(self) -> None:
        self._own = VideoReformatter()
        self._seen: dict[tuple, int] = {}
        self._left: dict[tuple, bool | None] = {}
        """Where chroma lies, for each kind of frame for which that is settled; None where the kernel is of no use."""

    def picture(self, number: int, time: float, frame: VideoFrame, aspect: float, *, grey: bool) -> Picture:
        """As `picture_of`, to the byte."""
        kind = None if grey else _kind(frame)
        if kind is None or (known := self._left.get(kind, self)) is None:
            return picture_of(self._own, number, time, frame, aspect, grey=grey)
        if known is not self:
            return Picture(
                number, time, _turned(fast_rgb(frame, left=known), frame), 1 / aspect if frame.rotation % 180 else aspect
            )
        picture = picture_of(self._own, number, time, frame, aspect)
        self._seen[kind] = seen = self._seen.get(kind, 0) + 1
        if seen > _FIRST:
            left = _left_by_noise(frame)
            if left is not None and not np.array_equal(_turned(fast_rgb(frame, left=left), frame), picture.pixels):
                left = None
            self._left[kind] = left
        return picture


def _left_by_noise(frame: VideoFrame) -> bool | None:
    """`left` of the one way of `fast_rgb` that gives swscale's bytes of noise under all that the frame says; None if there is none."""
    frame.make_writable()  # from here on the decoder has a copy of its own, if it still refers to the picture
    planes = [np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width] for plane in frame.planes]
    kept = [plane.copy() for plane in planes]
    rng = np.random.default_rng(0)
    try:
        for plane in planes:  # a quarter each of the lowest and of the highest values
            plane[:] = np.clip(rng.integers(-128, 384, plane.shape, np.int16), 0, 255)
        exact = pixels_of(VideoReformatter(), frame, False, None)
        same = [left for left in (True, False) if np.array_equal(_turned(fast_rgb(frame, left=left), frame), exact)]
    finally:
        for plane, own in zip(planes, kept, strict=True):
            plane[:] = own
    return same[0] if len(same) == 1 else None


def fast_rgb(frame: VideoFrame, *, left: bool) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a frame of 4:2:0 with eight bits and even sides, not turned upright.

    Args:
        left: whether its chroma samples lie on the left of their two pixels or between them.
    """
    from kinemacolor.media.rgb_kernel import to_rgb  # numba takes half a second to import

    planes = [np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size) for plane in frame.planes]
    out = np.empty((frame.height, frame.width * 3), np.uint8)
    to_rgb(*planes, coefficients(matrix_of(frame), full=is_full_range(frame)), left, out)
    return out.reshape(frame.height, frame.width, 3)


def coefficients(matrix: Colorspace, *, full: bool) -> NDArray[np.int32]:
    """(6,) int32: factor of luma, black, red from Cr, green from Cr, green from Cb, blue from Cb (libswscale/yuv2rgb.c)."""
    red, blue, green_blue, green_red = _TABLE[matrix]
    luma, black = 65536, 0
    if full:
        red, blue, green_blue, green_red = (value * 224 // 255 for value in (red, blue, green_blue, green_red))
    else:
        luma, black = luma * 255 // 219, 16 << 16
    values = (luma << 13, black << 9, red << 13, -green_red << 13, -green_blue << 13, blue << 13)
    return np.array([(value + (1 << 15)) >> 16 for value in values], np.int32)


def _kind(frame: VideoFrame) -> tuple | None:
    """What a conversion depends on; None if the kernel does not know such frames."""
    if frame.format.name not in ("yuv420p", "yuvj420p") or frame.width % 2 or frame.height % 2 or frame.width < 4:
        return None
    if frame.interlaced_frame:
        return None
    colours = (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc)
    return (frame.format.name, frame.width, frame.height, frame.rotation, *map(int, colours))


def _turned(pixels: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))) if frame.rotation else pixels
