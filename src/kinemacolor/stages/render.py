"""render: one model's comparison video, grey | model | truth, with the film's sound and a still for the report."""

from __future__ import annotations

from pathlib import Path

from kinemacolor import tracking
from kinemacolor.colorize import load
from kinemacolor.comparison import Comparison, compare
from kinemacolor.footage import open_footage
from kinemacolor.params import RenderParams


def render_model(
    model: Path,
    media: Path,
    *,
    params: RenderParams,
    out: Path,
    poster: Path | None = None,
    name: str | None = None,
    sync: Path | None = None,
) -> Comparison:
    """Write the comparison video of one model.

    Args:
        model: its folder, data/models/<dataset>/<model>.
        media: data/raw/<source>, or a video file.
        params: the stretch of film, the layout, the size and the quality.
        out: the video (mp4).
        poster: a still from its middle (PNG); beside the video, with its name, if None.
        name: what the model's caption says; its own name if None.
        sync: data/sync/<source>, for a film pair.

    Raises:
        UserError: a file is missing or damaged, or the film has no picture in the stretch.
    """
    painter = load(model)
    painter.name = name or painter.name
    poster = poster or out.with_suffix(".png")
    written = compare([painter], open_footage(media, sync), params=params, out=out, poster=poster)
    run = tracking.of_model(painter.meta)
    run.image(poster, "poster")
    run.file(out, "render")
    return written
