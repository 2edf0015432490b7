"""The recipe of a made print: every thing that time, laboratories and colourists do to a film, each by its name.

A print that is made has a known truth: which of its frames shows which frame of the film, and where each pixel lies. The
synchronisation of prints is tried against that.
"""

from __future__ import annotations

import re
from fractions import Fraction as Ratio
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from kinemacolor.params.base import Fraction, Section

SHORTEST_SIDE, LONGEST_SIDE = 16, 8192
"""Pixels: what the side of a print may be; smaller ones some encoders refuse."""
MOST_FRAMES = 10_000_000
"""Frames: the most that a print may have, more than four days of film."""


def _rate(value: str) -> str:
    # Ratio would take days over 1e999999999.
    plain = re.fullmatch(r"[0-9]{1,9}(/[0-9]{1,9}|\.[0-9]{1,9})?", value) is not None
    try:
        good = plain and 1 <= Ratio(value) <= 240
    except ZeroDivisionError:
        good = False
    if not good:
        raise ValueError("must be frames a second from 1 to 240, such as 25 or 24000/1001")
    return value


def _rate_text(value: Any) -> Any:
    """A whole number as text; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if float(value) != value // 1:
        raise ValueError(f"must be exact: write a fraction such as 24000/1001, not {value}")
    return str(int(value))


def _stretch(value: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= value[0] < value[1]:
        raise ValueError("must be [first frame, frame after the last] with 0 <= first < last")
    if value[1] > MOST_FRAMES:
        raise ValueError(f"must end at frame {MOST_FRAMES} at most")
    return value


Stretch = Annotated[tuple[int, int], AfterValidator(_stretch)]
"""Film frames start <= n < end."""
Rate = Annotated[str, BeforeValidator(_rate_text, json_schema_input_type=str | int), AfterValidator(_rate)]
Frames = Annotated[int, Field(ge=0, le=MOST_FRAMES)]
Shift = Annotated[float, Field(ge=-LONGEST_SIDE, le=LONGEST_SIDE)]


class Inserted(Section):
    """Something of the print's own, put in before a frame of the film."""

    at: Frames
    """Film frame before which it stands."""
    frames: int = Field(ge=1, le=MOST_FRAMES)
    """How many frames it lasts."""


class Recipe(Section):
    """How a print is made from a film: what sixty years, other laboratories and a colourist do to it. Ours.

    Frames are the film's own unless said otherwise. The steps, in order: which frames (reels, trim, remove, hold, black,
    added, leaders), the picture (crop, scale), tones (paint, gamma, contrast, fade), its place (turn, shift, bars), the rate,
    grain, what is burnt in, encoding.
    """

    reels: tuple[Stretch, ...] | None = None
    """Stretches of the film, in the order in which the print shows them; the whole film if not given."""
    trim_frames: Frames = 0
    """Frames that the print lacks at its head (of the first reel)."""
    trim_end_frames: Frames = 0
    """Frames that the print lacks at its end (of the last reel)."""
    remove: tuple[Stretch, ...] = ()
    """Stretches that the print lacks: scenes cut, frames lost at a splice."""
    added: tuple[Inserted, ...] = ()
    """Scenes of the print's own (drawn, seeded, moving), before a film frame."""
    black: tuple[Inserted, ...] = ()
    """Black frames before a film frame."""
    hold: tuple[Inserted, ...] = ()
    """Standing pictures: film frame `at` is shown for so many frames more."""
    fade: Frames = 0
    """Frames over which the print fades in from black at its first film frame and out to black at its last."""
    intro_frames: Frames = 0
    """Frames of a leader of its own (made, not filmed) that the print shows first."""
    outro_frames: Frames = 0
    """Frames of a leader of its own that the print shows last."""

    frame_rate: Rate | None = None
    """Frames a second of the print, such as 25 or 24000/1001; the film's if not given."""
    conversion: Literal["speed", "repeat", "blend", "pulldown"] = "speed"
    """How the print comes to another rate. speed: the same frames, played faster or slower, sound and pitch with them (PAL).
    repeat: frames are shown twice or left out, so that the clock stays. blend: neighbours are mixed as their times ask.
    pulldown: 3:2, four frames to ten fields, which are woven (two of five frames are combed); the clock is the film's at
    23.976 for a print at 29.97."""
    drop: Fraction = 0.0
    """Share of the print's frames that are left out at random while the others keep their times: variable frame rate."""

    crop: tuple[Fraction, Fraction, Fraction, Fraction] = (0.0, 0.0, 0.0, 0.0)
    """Shares of the width or height cut off at the left, top, right and bottom."""
    height: int = Field(360, ge=SHORTEST_SIDE, le=LONGEST_SIDE, multiple_of=2)
    """Height of the print in pixels."""
    width: int | None = Field(None, ge=SHORTEST_SIDE, le=LONGEST_SIDE, multiple_of=2)
    """Width of the print in pixels: another one than the crop asks for stretches the picture; that one if not given."""
    turn: float = Field(0.0, ge=-10, le=10)
    """Degrees by which the picture is turned anticlockwise about the middle of the print."""
    shift: tuple[Shift, Shift] = (0.0, 0.0)
    """Pixels of the print by which the picture is moved to the right and down; black follows."""
    bars: tuple[Fraction, Fraction, Fraction, Fraction] = (0.0, 0.0, 0.0, 0.0)
    """Letterbox and pillarbox: shares of the print's width or height that are black at the left, top, right and bottom. The
    picture is scaled into what is left."""

    colour: bool = False
    """Keep the film's colours; a grey print otherwise."""
    paint: float = Field(0.0, ge=0, le=1)
    """How far a colourist changed the luma: by hue and by place, anew for every shot. 1 is by some 40 of 255."""
    gamma: float = Field(1.0, ge=0.05, le=20)
    """Luma is raised to 1 / gamma: above one the mid-tones are lighter."""
    contrast: float = Field(1.0, gt=0, le=50)
    """Luma is stretched about its middle by this factor."""
    grain: float = Field(0.0, ge=0, le=64)
    """Standard deviation of the film grain in luma steps of 255."""
    logo: bool = False
    """A sender's logo in the upper right corner."""
    subtitles: bool = False
    """Subtitles at the bottom, for about two thirds of the time."""
    sound: bool = True
    """Whether the print has the film's sound."""
    codec: Literal["h264", "hevc", "mpeg4", "mpeg2", "vp9"] = "h264"
    """How the print is encoded."""
    crf: int = Field(20, ge=0, le=51)
    """Quality of the encoding on x264's scale; lower is better."""
    seed: int = 0
    """Seed of all that is drawn or left to chance."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Recipe:
        for name in ("crop", "bars"):
            left, top, right, bottom = getattr(self, name)
            if left + right >= 0.9 or top + bottom >= 0.9:
                raise ValueError(f"{name} leaves less than a tenth of the picture")
        if self.conversion != "speed" and self.frame_rate is None:
            raise ValueError(f"conversion {self.conversion} needs frame_rate")
        if self.drop > 0.5:
            raise ValueError("drop leaves less than half of the frames: at most 0.5")
        return self
