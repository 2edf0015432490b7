"""How much of mapped files lies in this process's memory, as Linux tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

counted = pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="counts resident pages as Linux tells them")


def resident(folder: Path) -> int:
    """Bytes of files in a folder that are resident in this process."""
    found, ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            ours = str(folder) in line
        elif ours and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found
