"""Which shot a frame is of, as a number. Frames of one shot are alike: what is drawn anew for an interval is shots, not frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kinemacolor.errors import UserError


def shots_of(rows: pd.DataFrame) -> np.ndarray:
    """Number the shots of a dataset.

    A shot is a longest sequence of rows of one source, clip and part without a cut inside. A photograph is one by itself.
    Where a guard gap parts two rows of the same part, a cut inside the gap is not seen.

    Args:
        rows: all rows of the filter table, kept or not, since a shot may begin at a frame that was dropped: source, frame,
            split, cut; clip where it is known (`located`), else clips are told apart by the cut with which each begins. Rows
            may stand in any order.

    Returns:
        (N,) int64, running over the dataset: sources as they come in `rows`, frames by their number.

    Raises:
        UserError: there is no column `cut`.
    """
    if "cut" not in rows:
        raise UserError("The filter table has no column `cut`, which tells where shots begin: run the filter stage again.")
    source = pd.factorize(rows["source"])[0]
    order = np.lexsort((rows["frame"].to_numpy(np.int64), source))
    begins = rows["cut"].to_numpy(bool)[order]
    begins[:1] = False  # the first is number 0
    for name in ("source", "split", "clip"):
        if name in rows:
            values = pd.factorize(rows[name])[0][order]
            begins[1:] |= values[1:] != values[:-1]
    shots = np.empty(len(rows), np.int64)
    shots[order] = np.cumsum(begins)
    return shots
