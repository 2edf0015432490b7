"""Loss curves, as vectors for the page and as a picture for everything else; and copies of pictures that are small.

A model has one colour wherever it appears. On the page the ink of axes and letters is the page's own, so that curves
are as readable in the dark as in the light.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter
from PIL import Image

from kinemacolor.files import atomic_file

NEUTRAL = "#8c8780"
PALETTE = ("#d0502f", "#23907a", "#d29a1c", "#5769b8", "#a3538f", "#6d9a3a", "#3f9ac4", "#8a6144")
"""Red and green first: the two colours of Kinemacolor. All of them stand out from white and from near-black."""

INK = "#010203"
"""Stands for the page's ink until the vectors are written."""


@dataclass(frozen=True)
class Curves:
    """model -> its curves.json (one entry an epoch), and the reference's name and validation MSE(ab/128), if there is one."""

    models: Mapping[str, Sequence[Mapping[str, float]]]
    reference: tuple[str, float] | None = None


def colours(models: Iterable[str]) -> dict[str, str]:
    """One colour for every model, by the order in which names first come; `naive` is grey, as its pictures are."""
    names = [name for name in dict.fromkeys(models) if name != "naive"]
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)} | {"naive": NEUTRAL}


def curves_svg(curves: Curves, colour: Mapping[str, str]) -> list[tuple[str, str]]:
    """The curves as (title, <svg> element) that takes its ink from the page; no element for what was not measured."""
    drawn = []
    for title, draw in _plots(curves):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        with matplotlib.rc_context(inked(INK) | {"svg.fonttype": "none", "svg.hashsalt": title}):
            draw(figure.add_subplot(), curves, colour)
            target = io.StringIO()
            figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        drawn.append((title, inline(target.getvalue(), title)))
    return drawn


def save_curves(curves: Curves, colour: Mapping[str, str], out: Path) -> None:
    """The same as one PNG on white. Nothing trained gives an empty figure that says so."""
    plots = _plots(curves)
    with matplotlib.rc_context(inked("#26221e")):
        figure = Figure(figsize=(5.6 * max(1, len(plots)), 3.6), layout="constrained", dpi=110)
        for place, (title, draw) in enumerate(plots, start=1):
            axes = figure.add_subplot(1, len(plots), place)
            axes.set_title(title, fontsize=10, loc="left")
            draw(axes, curves, colour)
        if not plots:
            figure.text(0.5, 0.5, "nothing was trained", ha="center")
        with atomic_file(out) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def _plots(curves: Curves) -> list[tuple[str, Any]]:
    plots = []
    if any("val_mse_ab@128" in entry for entries in curves.models.values() for entry in entries):
        plots.append(("Validation error, MSE of ab / 128", _draw_error))
    if any("train_loss" in entry for entries in curves.models.values() for entry in entries):
        plots.append(("Loss, each model in its own colour coding", _draw_loss))
    return plots


def _draw_error(axes: Axes, curves: Curves, colour: Mapping[str, str]) -> None:
    for name, entries in curves.models.items():
        _line(axes, entries, "val_mse_ab@128", color=colour[name], label=name)
    if curves.reference:
        name, value = curves.reference
        axes.axhline(value, color=NEUTRAL, linestyle=(0, (1, 2)), label=name)
    _finish(axes, curves)


def _draw_loss(axes: Axes, curves: Curves, colour: Mapping[str, str]) -> None:
    for name, entries in curves.models.items():
        _line(axes, entries, "train_loss", color=colour[name], label=f"{name}, training", alpha=0.55, linewidth=1.2)
        _line(axes, entries, "val_loss", color=colour[name], label=f"{name}, validation")
    _finish(axes, curves)


def _line(axes: Axes, entries: Sequence[Mapping[str, float]], key: str, **how: Any) -> None:
    points = [(entry["epoch"], entry[key]) for entry in entries if entry.get(key) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), marker="o" if len(points) < 4 else None, markersize=4, **how)


def _finish(axes: Axes, curves: Curves) -> None:
    values = [value for line in axes.get_lines() for value in line.get_ydata() if value > 0]
    # A logarithm helps where curves span more than half a decade; below, it only makes ticks strange.
    if values and max(values) / min(values) > 3:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(ScalarFormatter(useMathText=False))
        axes.ticklabel_format(axis="y", style="plain")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(left=1)
    axes.grid(axis="y", which="major", alpha=0.14, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="best")


def inked(ink: str) -> dict[str, Any]:
    """matplotlib's settings for a plot whose axes and letters are of one colour."""
    names = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    return {key: ink for key in names} | {"font.size": 9.5, "lines.linewidth": 1.9, "text.usetex": False, "axes.linewidth": 0.7}


def inline(svg: str, title: str) -> str:
    """matplotlib's file as an element of a page: no head, its size from the page, its ink from the text around it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    svg = re.sub(r'(<svg [^>]*?) (?:width|height)="[^"]*"', r"\1", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1).replace(INK, "currentColor")


def small_copy(picture: Path, out: Path, *, limit: int = 380_000) -> None:
    """Copy a PNG; one of more than `limit` bytes is reduced to 256 colours, and then in size, until it is smaller."""
    if picture.stat().st_size <= limit:
        with atomic_file(out) as temporary:
            shutil.copyfile(picture, temporary)
        return
    image = Image.open(picture).convert("RGB")
    while True:
        with atomic_file(out) as temporary:
            image.quantize(256, dither=Image.Dither.NONE).save(temporary, format="PNG", optimize=True)
        if out.stat().st_size <= limit or min(image.size) < 64:
            return
        image = image.resize((round(image.width * 0.85), round(image.height * 0.85)), Image.Resampling.LANCZOS)
