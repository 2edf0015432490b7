"""compare: all models of a dataset in one video with the film's sound, a still of it, and the pictures of some of its moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kinemacolor import tracking
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
    stills: Path | None = None,
    sync: Path | None = None,
    external: Mapping[str, Path] | None = None,
) -> Comparison:
    """Write the comparison video of several models.

    Args:
        models: their folders, in the order of the panels; the folder's name is the caption.
        media: data/raw/<source>, or a video file.
        params: the stretch of film, the layout, the size and the quality.
        out: the video (mp4).
        poster: a still from its middle (PNG); beside the video, with its name, if None.
        stills: a folder for the pictures of six moments, each by itself (report/stills.py); <name of the video>_stills
            beside it if None.
        sync: data/sync/<source>, for a film pair.
        external: name -> the film as another program coloured it, a panel each behind those of the models: a video or a folder
            of pictures named by frame number (media/numbered.py).

    Raises:
        UserError: a file is missing or damaged, or the film has no picture in the stretch.
    """
    painters = [load(folder) for folder in models]
    for painter, folder in zip(painters, models, strict=True):
        painter.name = folder.resolve().name
    poster = poster or out.with_suffix(".png")
    written = compare(
        painters,
        open_footage(media, sync),
        params=params,
        out=out,
        poster=poster,
        stills=stills or out.with_name(f"{out.stem}_stills"),
        external=external,
    )
    tracking.of_dataset(painter.meta for painter in painters).image(poster, "comparison")
    return written
