"""Numbers as people say them; a share is whole, and a number nought, only where it is."""

from __future__ import annotations

import re


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 3 min 20 s, 1 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def energy(joules: float) -> str:
    """Joules as people say them: 480 J, 12.5 kJ, 3.4 kWh."""
    if joules < 1e3:
        return f"{joules:.0f} J"
    return f"{joules / 1e3:.1f} kJ" if joules < 3.6e5 else f"{joules / 3.6e6:.2f} kWh"


def percent(share: float) -> str:
    """A share as a percentage that is 100 % or 0 % only where it is all or nothing."""
    said = f"{100 * share:.2f}"
    if said == "100.00" and share < 1:
        said = "over 99.99"
    elif said == "0.00":
        said = "0" if share == 0 else "under 0.01"
    return f"{said.removesuffix('.00')} %"


def thousands(number: int) -> str:
    """A whole number in groups of three, parted by thin spaces that do not break."""
    return f"{number:,}".replace(",", "\u202f")


def spaced(said: str) -> str:
    """Words with the commas of their numbers as thin spaces."""
    return re.sub(r"(?<=\d),(?=\d{3})", "\u202f", said)


def signed(number: float, form: str) -> str:
    """A difference with its sign; what rounds to nought has none."""
    said = format(abs(number), form)
    if not float(said):
        return said
    return f"{'−' if number < 0 else '+'}{said}"
