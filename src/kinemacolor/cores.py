"""How many cores this process may use: those that it is bound to, where the system tells, and not all that the machine has."""

from __future__ import annotations

import os


def usable() -> int:
    """Cores, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
