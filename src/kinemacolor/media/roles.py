"""What a packet of video is to the others, and the doubt whether that can be told from its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from av.packet import Packet

INTRA = frozenset({"dnxhd", "dvvideo", "ffvhuff", "huffyuv", "jpeg2000", "mjpeg", "png", "prores", "rawvideo", "utvideo", "v210"})
"""Codecs whose pictures refer to no other, so that they are shown in the order in which they are stored."""


class Doubt(Exception):
    """Why a film must be decoded in full: a clause that can follow `because`."""


class Role(NamedTuple):
    """What a packet is to the others."""

    restart: bool
    """Whether all that is shown after it can be decoded from here on, exactly."""
    reference: bool
    """Whether a later picture may need it."""
    shown: bool = True
    """Whether a picture comes of it."""
    level: int = 0
    """Pictures never refer to one of a higher level, nor to one of their own level that is no reference."""
    open: bool = False
    """Of an entrance: whether decoders that begin there may complain of what they are told to drop and never saw."""
    needs: frozenset[int] | None = None
    """Exactly the packets that this one needs, as positions in the stream; None where the heads do not say."""


Rules = Callable[[Packet], Role]
