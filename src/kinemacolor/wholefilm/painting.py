"""One frame with new colours: the network's ab at the size of the film's chroma, joined with the film's own lightness.

In Y'CbCr, without a detour over RGB pictures: of every sample of chroma the film's own colour says how light it is, that
lightness with the new a and b is a colour of sRGB (brought into the gamut along equal luminance where no screen shows it), and
its Cb and Cr are written. Luma is the film's own, moved by what keeps L* as it was: two colours of equal luma are not equally
light, by one unit of L* where colours are muted and by ten where they glow. `keep: luma` leaves luma untouched to the last
bit instead; the film then turns grey again exactly where a player's saturation is turned to nought.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import PictureType, VideoFrame
from numpy.typing import NDArray

from kinemacolor.compiled import in_slabs
from kinemacolor.errors import UserError
from kinemacolor.wholefilm.chroma import Enlarger, Grid
from kinemacolor.wholefilm.looks import Look, planes_of
from kinemacolor.wholefilm.paint_kernels import kernels
from kinemacolor.wholefilm.reading import Sight, small_size

Keep = Literal["lightness", "luma"]
KEEPS: tuple[str, ...] = get_args(Keep)

_LINES = 16
_TINY = 16


class Painter:
    """Colours frames of one look; may be called by several threads at once.

    Args:
        look: of the film.
        side: the shorter side of what the network was trained on.
        method: how chroma is enlarged; see chroma.py.
        keep: `lightness` keeps L*, `luma` the film's own luma.

    Raises:
        UserError: unknown `method` or `keep`.
    """

    def __init__(self, look: Look, side: int, *, method: str = "guided", keep: str = "lightness") -> None:
        if keep not in KEEPS:
            raise UserError(f"What to keep of the film, {keep!r}, is unknown: choose one of {', '.join(KEEPS)}.")
        self.look, self._keep_luma = look, keep == "luma"
        self._kernels = kernels(look.bits > 8)
        height, width = look.chroma
        # H.264 and its heirs hold chroma, unless they say otherwise, to lie on the left of its two pixels.
        rows, columns = Grid(height, look.down, look.down / 2), Grid(width, look.across, 0.5)
        self._enlarge = Enlarger(small_size(look, side), (look.height, look.width), (rows, columns), method=method)
        black, steps = look.luma_codes
        self._black, self._scale = np.float32(100 * black / steps), np.float32(100 / steps)
        self._numbers = np.array([look.red, look.blue, black, steps, *look.chroma_codes, 2**look.bits - 1], np.float32)
        self._no_colour = np.full((height, width), look.chroma_codes[0], np.uint16 if look.bits > 8 else np.uint8)

    def __call__(self, sight: Sight, ab: NDArray[np.float32], *, threads: int = 1) -> VideoFrame:
        """A new frame: that of `sight` with ab (2,h,w) as the network gave it. Odd sides gain a line or column equal to the last."""
        look = self.look
        planes = planes_of(sight.frame)
        luma = planes[0][0]
        blue, red = (planes[1][0], planes[2][0]) if sight.coloured else (self._no_colour, self._no_colour)
        guide = np.empty(look.chroma, np.float32)
        sides = look.height, look.width, look.down, look.across

        def see(begin: int, end: int) -> None:
            self._kernels.guide(luma, *sides, self._black, self._scale, guide, begin, end)

        in_slabs(see, len(guide), slab=_LINES, threads=threads)
        large = self._enlarge(ab, sight.low, guide, threads=threads)
        frame = self._blank(sight.frame)
        out = [plane for plane, _ in planes_of(frame)]

        def paint(begin: int, end: int) -> None:
            self._kernels.paint(
                luma, blue, red, large, guide, self._numbers, look.down, look.across, look.height, look.width, self._keep_luma,
                *out, begin, end,
            )  # fmt: skip

        in_slabs(paint, len(guide), slab=_LINES, threads=threads)
        if self._keep_luma:
            out[0][: look.height, : look.width] = luma[: look.height, : look.width]
        if frame.width > look.width:
            out[0][: look.height, look.width] = out[0][: look.height, look.width - 1]
        if frame.height > look.height:
            out[0][look.height] = out[0][look.height - 1]
        frame.pts = sight.stamp
        frame.color_range, frame.colorspace = 2 if look.full else 1, look.matrix
        frame.color_primaries, frame.color_trc = look.primaries, look.curve
        return frame

    def _blank(self, own: VideoFrame) -> VideoFrame:
        """A frame to paint; where encoders ask for the order of fields or captions, it has them of the film's `own`."""
        look = self.look
        width, height = look.width + look.width % look.across, look.height + look.height % look.down
        if not (look.interlaced or any(one.type is Type.A53_CC for one in own.side_data)):
            return VideoFrame(width, height, look.form)
        # A conversion hands them on, and is the only thing that does; by way of a tiny picture it costs next to nothing.
        tiny = own.reformat(width=_TINY, height=_TINY, format="gray", threads=1)
        frame = tiny.reformat(width=width, height=height, format=look.form, threads=1)
        frame.pict_type = PictureType.NONE  # the encoder chooses
        return frame
