"""Runs: which frames follow on each other, so that what a network remembers of the one may be shown to the next.

The loader and the evaluation ask here, and nowhere else, so that a network is validated as it was trained.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError


def begins(rows: pd.DataFrame) -> np.ndarray:
    """Say for each frame whether a run begins at it.

    A run is a longest sequence of frames that are consecutive in the index, of one source, clip and part, all of them
    kept (given here), without a cut between.

    Args:
        rows: frames in the order of their indexes: `store` (anything that tells sources apart), `at` (row of that
            source's index) and `cut` (a shot begins here); `clip` and `split` where there are such.

    Returns:
        (N,) bool; the first is true.

    Raises:
        UserError: there is no column `cut`.
    """
    if "cut" not in rows:
        raise UserError("The filter table has no column `cut`, which tells where shots begin: run the filter stage again.")
    found = rows["cut"].to_numpy(bool).copy()
    if len(rows):
        found[0] = True
        found[1:] |= np.diff(rows["at"].to_numpy(np.int64)) != 1
        for name in ("store", "clip", "split"):
            if name in rows:
                column = rows[name].array  # text stays in Arrow: a million Python strings would not stay small
                found[1:] |= np.asarray(column[1:] != column[:-1], bool)
    return found


def lengths(starts: np.ndarray) -> np.ndarray:
    """Frames of each run, in order, of what `begins` gave."""
    return np.diff(np.append(np.flatnonzero(starts), len(starts)))
