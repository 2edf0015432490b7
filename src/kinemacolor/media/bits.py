"""Numbers in the heads of bitstreams, bit by bit, as the standards of video write them."""

from __future__ import annotations

from kinemacolor.media.roles import Doubt


class Bits:
    """The bits of a head from its first on.

    Raises:
        Doubt: more is read than there is.
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        self._left -= count
        if self._left < 0:
            raise Doubt("a head is damaged")
        return self._value >> self._left & (1 << count) - 1

    def ue(self) -> int:
        """An unsigned number in Golomb's code (H.264, 9.1)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed one."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
