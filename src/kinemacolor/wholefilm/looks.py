"""What the planes of a film are: size, bits, subsampling, matrix, range and tags; and frames brought to that form.

The film's own form is kept where x264 has it: planar Y'CbCr of 4:2:0, 4:2:2 or 4:4:4 in 8 or 10 bits. A grey one gains
4:2:0 planes for its colours. What is packed, RGB or of other bits becomes the nearest of these by swscale, and its luma with it.

What a file does not say of its colours is written into the coloured one as it was taken here, since players guess, and guess
differently: the matrix as in media/decode.py; of primaries and curve those of sRGB and BT.709, which the network's colours are.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from kinemacolor.errors import UserError
from kinemacolor.media.decode import is_full_range, matrix_of

_log = logging.getLogger(__name__)

_WEIGHTS = {
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.FCC: (0.30, 0.11),
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.SMPTE240M: (0.212, 0.087),
    Colorspace.BT2020: (0.2627, 0.0593),
}
"""Weights of red and blue in luma (ITU-T H.273)."""
_CODES = {Colorspace.ITU709: 1, Colorspace.FCC: 4, Colorspace.ITU601: 6, Colorspace.SMPTE240M: 7, Colorspace.BT2020: 9}
_UNSAID = (0, 2)  # reserved and unspecified, in H.273's tables
_BT709 = 1
_BRIGHT = {16: "PQ", 18: "HLG"}
_WIDE = {4: "BT.470 M", 8: "film", 9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "Display P3"}
"""Primaries, by their numbers in H.273, that are so far from sRGB's that its colours look otherwise under their name."""
_MASTERED = {
    Type.MASTERING_DISPLAY_METADATA: "mastering display",
    Type.CONTENT_LIGHT_LEVEL: "content light level",
    Type.DYNAMIC_HDR_PLUS: "HDR10+",
    Type.DOVI_RPU_BUFFER: "Dolby Vision",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid",
}

Plane = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Look:
    """The form in which a film is coloured and written.

    Attributes:
        height, width: in pixels, upright.
        form: ffmpeg's name of the pixel format.
        down, across: pixels of luma to one of chroma.
        bits: 8 or 10.
        full: black is 0 and white the highest code.
        red, blue: their weights in luma.
        matrix, primaries, curve: as H.273 numbers them.
        aspect: width over height of a pixel as it is shown.
        interlaced: its pictures are woven of two fields.
        fields: which of them is shown first, as ffmpeg numbers it; 0 if the file does not say.
        captions: its first frame has words for the deaf in it.
    """

    height: int
    width: int
    form: str
    down: int
    across: int
    bits: int
    full: bool
    red: float
    blue: float
    matrix: int
    primaries: int
    curve: int
    aspect: Fraction
    interlaced: bool = False
    fields: int = 0
    captions: bool = False

    @property
    def chroma(self) -> tuple[int, int]:
        """Height and width of the planes of chroma."""
        return -(-self.height // self.down), -(-self.width // self.across)

    @property
    def luma_codes(self) -> tuple[int, int]:
        """The code of black, and how many codes lie between it and white."""
        return (0, 2**self.bits - 1) if self.full else (16 << self.bits - 8, 219 << self.bits - 8)

    @property
    def chroma_codes(self) -> tuple[int, int]:
        """The code of no colour, and how many codes lie between -.5 and .5."""
        return 1 << self.bits - 1, 2**self.bits - 1 if self.full else 224 << self.bits - 8

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"aspect": str(self.aspect)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Look:
        """The inverse of `to_json`; further keys are left aside."""
        known = {field.name: value[field.name] for field in fields(cls)}
        return cls(**known | {"aspect": Fraction(value["aspect"])})


def look_of(frame: VideoFrame, aspect: Fraction, name: str, *, fields: int = 0) -> Look:
    """How a film whose first frame this is will be coloured.

    Args:
        aspect: of the stream's pixels, before any turn.
        name: of the film, for messages.
        fields: reading.Stream's.
    """
    turned = round(frame.rotation / 90) % 2 != 0
    height, width = (frame.width, frame.height) if turned else (frame.height, frame.width)
    down, across, bits = _planes(frame.format, turned)
    matrix = matrix_of(frame)
    if frame.format.is_rgb:
        matrix = Colorspace.ITU709
    red, blue = _WEIGHTS[matrix]
    said = int(frame.colorspace)
    primaries, curve = int(frame.color_primaries), int(frame.color_trc)
    if curve in _BRIGHT:
        _log.warning("%s is of high dynamic range (%s): its colours are computed as if it were not", name, _BRIGHT[curve])
    if primaries in _WIDE:
        _log.warning(
            "%s is of primaries other than sRGB's (%s): the colours written are those of sRGB under its name, and look stronger",
            name, _WIDE[primaries],
        )  # fmt: skip
    if lost := [_MASTERED[one.type] for one in frame.side_data if one.type in _MASTERED]:
        _log.warning("%s loses what it says of its high dynamic range: %s", name, ", ".join(lost))
    interlaced = frame.interlaced_frame and not turned
    if fields and not frame.interlaced_frame:
        _log.warning("%s says that it is interlaced, its first frame that it is not: it is written as if it were not", name)
    if frame.interlaced_frame:
        _log.warning("%s is interlaced: a frame's two fields are coloured as one picture, which smears colours that move", name)
    chroma = {(2, 2): "420", (1, 2): "422", (1, 1): "444"}[down, across]
    return Look(
        height=height,
        width=width,
        form=f"yuv{chroma}p" + ("10le" if bits > 8 else ""),
        down=down,
        across=across,
        bits=bits,
        full=not frame.format.is_rgb and is_full_range(frame),
        red=red,
        blue=blue,
        matrix=_CODES[matrix] if frame.format.is_rgb or said in _UNSAID or said not in (1, 4, 5, 6, 7, 9, 10) else said,
        primaries=_BT709 if primaries in _UNSAID else primaries,
        curve=_BT709 if curve in _UNSAID else curve,
        aspect=1 / aspect if turned else aspect,
        interlaced=interlaced,
        fields=fields if interlaced else 0,
        captions=any(one.type is Type.A53_CC for one in frame.side_data),
    )


def _planes(form: VideoFormat, turned: bool) -> tuple[int, int, int]:
    """Subsampling downwards and across, and bits, of the form in which frames of `form` are coloured."""
    bits = 8 if max(component.bits for component in form.components) <= 8 else 10
    grey = len(form.components) <= 2 and not form.is_rgb
    if form.is_rgb or form.has_palette:
        return 1, 1, bits
    down, across = (2, 2) if grey else (16 // form.chroma_height(16), 16 // form.chroma_width(16))
    if (down, across) not in ((1, 1), (1, 2), (2, 2)) or (turned and down != across):
        down, across = 2, 2
    return down, across, bits


def in_look(frame: VideoFrame, look: Look, name: str) -> tuple[VideoFrame, bool]:
    """The frame as planes of `look`, upright, and whether it has planes of chroma.

    Raises:
        UserError: the frame is of another size than the film's first.
    """
    turned = round(frame.rotation / 90) % 4
    height, width = (frame.width, frame.height) if turned % 2 else (frame.height, frame.width)
    if (height, width) != (look.height, look.width):
        raise UserError(
            f"A frame of {width}x{height} pixels stands in {name}, which begins with {look.width}x{look.height}: "
            "re-encode it at one size."
        )
    form = frame.format.name.replace("yuvj", "yuv")
    wide = look.bits > 8
    grey = form == ("gray10le" if wide else "gray")
    if form != look.form and not grey:
        # Range and matrix stay as they are: only the arrangement changes. RGB has neither, and gets the look's.
        matrix = matrix_of(frame)
        full = is_full_range(frame)
        frame = frame.reformat(
            format=look.form,
            src_colorspace=matrix,
            dst_colorspace=Colorspace.ITU709 if frame.format.is_rgb else matrix,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG if look.full else ColorRange.MPEG,
            threads=1,
        )
    return (_turned(frame, turned) if turned else frame), not grey


def _turned(frame: VideoFrame, quarters: int) -> VideoFrame:
    """Turned anticlockwise, as ffmpeg counts, by quarters of a circle."""
    swap = quarters % 2
    height, width = (frame.width, frame.height) if swap else (frame.height, frame.width)
    upright = VideoFrame(width, height, frame.format.name)
    for source, target in zip(planes_of(frame), planes_of(upright), strict=True):
        pixels = np.rot90(source[0][:, : source[1]], quarters)
        target[0][:, : target[1]] = pixels
    return upright


def planes_of(frame: VideoFrame) -> list[tuple[Plane, int]]:
    """A frame's planes (H, W or more), which are the frame's own memory, and the width of each."""
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    return [
        (np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind().itemsize), plane.width)
        for plane in frame.planes
    ]
