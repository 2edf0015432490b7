"""compare: all models of a dataset beside each other, grey | each model | truth, with the film's sound and a still."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kinemacolor.colorize import load
from kinemacolor.comparison import Comparison, compare
from kinemacolor.footage import open_footage
from kinemacolor.params import RenderParams


def compare_models(
    models: Sequence[Path],
    media: Path,
    *,
    params: RenderParams,
    out: Path,
    poster: Path | None = None,
    sync: Path | None = None,
) -> Comparison:
    """Write the comparison video of several models, three panels in a row.

    Args:
        models: their folders, in the order of the panels; the folder's name is the caption.
        media: data/raw/<source>, or a video file.
        params: the stretch of film and the quality.
        out: the video (mp4).
        poster: a still from its middle (PNG); beside the video, with its name, if None.
        sync: data/sync/<source>, for a film pair.

    Raises:
        UserError: a file is missing or damaged, or the film has no picture in the stretch.
    """
    painters = [load(folder) for folder in models]
    for painter, folder in zip(painters, models, strict=True):
        painter.name = folder.resolve().name
    return compare(painters, open_footage(media, sync), params=params, out=out, poster=poster or out.with_suffix(".png"))
