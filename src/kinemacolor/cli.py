"""The command line: every stage by its name, for one's own files and for the rules of the workflow alike.

This module only hands values on. It imports a stage when its command runs, so that `kinemacolor --help` is quick.
With `--params` a command takes all its values from that slice, as the rules do; without, from its own options and the
defaults of params.py. Errors that a user can mend are one sentence on standard error and exit status 2.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from kinemacolor import __version__
from kinemacolor import params as settings
from kinemacolor.errors import UserError, full_disk
from kinemacolor.files import checked_name, is_full_disk, read_json

app = typer.Typer(
    name="kinemacolor",
    help="Colour one film or one game with networks trained on that title.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Slice = Annotated[
    Path | None, typer.Option("--params", help="A stage's values as JSON; the rules pass .params/<stage>-<key>.json.")
]
Out = Annotated[Path, typer.Option("--out", help="What to write. It appears when it is complete.")]
Truncated = Annotated[bool, typer.Option("--allow-truncated", help="Take a video that ends before it says it does.")]
Sync = Annotated[Path | None, typer.Option("--sync", help="Folder that `sync` wrote; for a film pair.")]
Every = Annotated[int | None, typer.Option(help="One frame of this many.")]
Size = Annotated[int | None, typer.Option(help="Side of the square frames in pixels.")]
Fit = Annotated[str | None, typer.Option(help="crop, stretch or pad.")]
Start = Annotated[float | None, typer.Option(help="Seconds into the film before the first frame.")]
End = Annotated[float | None, typer.Option(help="Seconds after which no frame is taken.")]
ShownFrom = Annotated[float | None, typer.Option("--start", help="Seconds into the film.")]
ShownFor = Annotated[float | None, typer.Option("--seconds", help="Length of the stretch.")]
Whole = Annotated[bool, typer.Option("--whole", help="To the end of the film.")]
Layout = Annotated[
    str | None, typer.Option("--layout", help="grid, wipe (one over the other in one place) or over (truth above the models).")
]
PanelSize = Annotated[str | None, typer.Option("--size", help="Of the panels: film or training.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", "-j", min=1, help="How many work at once, as many as there are cores if not given; the bytes are the same."
    ),
]


def main() -> None:
    """Run the command; exit status 2 for what the user can mend, 1 for the rest."""
    try:
        app(standalone_mode=True)
    except (UserError, settings.ParamsError) as error:
        print(f"kinemacolor: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if not is_full_disk(error):
            raise
        print(f"kinemacolor: {full_disk(getattr(error, 'filename', None) or 'files')}", file=sys.stderr)
        sys.exit(2)


def _slice(slice_file: Path, model: Any) -> Any:
    """A section, or one of a union of sections, from a file of JSON."""
    return settings.section(model, read_json(slice_file, "run snakemake, which writes it"), str(slice_file))


def _entry(slice_file: Path, key: str, default: Any = None) -> Any:
    """One entry of a file of JSON that holds several."""
    values = read_json(slice_file, "run snakemake, which writes it")
    if not isinstance(values, dict) or (key not in values and default is None):
        raise UserError(f"{slice_file} has no {key}: add it, or run snakemake, which writes it.")
    return values.get(key, default)


def _values(slice_file: Path | None, model: type[settings.Section], given: dict[str, Any]) -> Any:
    """A stage's section, from its slice or from what was given on the command line."""
    if slice_file is not None:
        return _slice(slice_file, model)
    return settings.section(model, {key: value for key, value in given.items() if value is not None}, "The options")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kinemacolor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


# -------------------------------------------------------------------------------------------------- stages


@app.command()
def download(
    source: Annotated[str, typer.Argument(help="Name of the source in --params; by hand, an address or a file.")],
    out: Out,
    params: Slice = None,
    licence: Annotated[str, typer.Option(help="Licence of the material.")] = "not stated",
    credit: Annotated[str, typer.Option(help="Whom to credit.")] = "not stated",
    kind: Annotated[str, typer.Option(help="By hand: video, clips (a folder, list or playlist) or images.")] = "video",
    allow_truncated: Truncated = False,
) -> None:
    """Fetch a source: by yt-dlp, from a file or folder, from a Python package, or by playing a game."""
    from kinemacolor.stages import download as stage

    if params is not None:
        name = checked_name(source, "source")
        chosen = _slice(params, settings.AnySource)
    else:
        name = None
        origin = {"url": source} if "://" in source else {"path": source}
        about = {"kind": kind, "licence": licence, "credit": credit} | ({"allow_truncated": True} if allow_truncated else {})
        chosen = settings.section(settings.AnySource, about | origin, "The options")
    stage.download(chosen, out=out, cache=Path(".cache/download") / (name or "by_hand"), name=name)


@app.command()
def sync(
    grey: Annotated[Path, typer.Argument(help="The grey print, or the folder of a downloaded film pair, which holds both.")],
    out: Out,
    colour: Annotated[Path | None, typer.Argument(help="The colour print.")] = None,
    params: Slice = None,
    offset: Annotated[int | None, typer.Option(help="Grey frame minus colour frame, if it is known.")] = None,
    allow_truncated: Truncated = False,
) -> None:
    """Find which frame of one print is which of the other, and what both show."""
    from kinemacolor.report.sync_table import segment_table
    from kinemacolor.stages import sync as stage

    values = _values(params, settings.SyncParams, {"offset": offset})
    if colour is None:
        found = stage.sync_source(grey, params=values, out=out, allow_truncated=allow_truncated)
    else:
        found = stage.sync(grey, colour, params=values, out=out, allow_truncated=allow_truncated)
    names = ("grey_rate", "colour_rate", "grey_frames", "colour_frames", "grey_times", "colour_times", "geometry")
    print(segment_table(found.path, **{name: getattr(found, name) for name in names}))


@app.command()
def frames(
    video: Annotated[Path, typer.Argument(help="A video, or the folder of a downloaded source.")],
    out: Out,
    params: Slice = None,
    source: Annotated[str, typer.Option(help="Name written into every row.")] = "video",
    sync: Sync = None,
    every: Every = None,
    size: Size = None,
    fit: Fit = None,
    start: Start = None,
    end: End = None,
    threads: Threads = None,
    pieces: Annotated[
        Path | None, typer.Option(help="Folder in which `pieces` wrote all pieces, 0, 1, ...: they are joined.")
    ] = None,
    allow_truncated: Truncated = False,
) -> None:
    """Extract exact frames into shards with an index."""
    from kinemacolor.frames.moving import summary
    from kinemacolor.stages import frames as stage

    begun = time.monotonic()
    given = {"every": every, "size": size, "fit": fit, "start": start, "end": end}
    values = _values(params, settings.FramesParams, given)
    name = checked_name(source, "source")
    how = {"sync": sync, "allow_truncated": allow_truncated, "threads": threads, "pieces": pieces}
    table = stage.frames(video, source=name, params=values, out=out, **how)
    print(f"{out}: {len(table)} frames in {time.monotonic() - begun:.1f} s{summary(out)}", file=sys.stderr)


@app.command()
def pieces(
    video: Annotated[Path, typer.Argument(help="A video, or the folder of a downloaded source.")],
    number: Annotated[int, typer.Argument(help="Which piece, counted from 0.")],
    out: Out,
    params: Slice = None,
    source: Annotated[str, typer.Option(help="Name written into every row.")] = "video",
    sync: Sync = None,
    every: Every = None,
    size: Size = None,
    fit: Fit = None,
    start: Start = None,
    end: End = None,
    of: Annotated[int | None, typer.Option(help="How many pieces there are.")] = None,
    threads: Threads = None,
    allow_truncated: Truncated = False,
) -> None:
    """Extract one of several parts of a source's frames, which `frames --pieces` joins."""
    from kinemacolor.stages import pieces as stage

    given = {"every": every, "size": size, "fit": fit, "start": start, "end": end, "pieces": of}
    values = _values(params, settings.FramesParams, given)
    how = {"sync": sync, "allow_truncated": allow_truncated, "threads": threads}
    table = stage.piece(video, number=number, source=checked_name(source, "source"), params=values, out=out, **how)
    print(f"{out}: {len(table)} frames", file=sys.stderr)


@app.command()
def split(
    frames: Annotated[list[Path], typer.Argument(help="Folders that `frames` wrote.")],
    out: Out,
    params: Annotated[Path, typer.Option("--params", help="The split's values as JSON.")],
) -> None:
    """Say train, val or test for every frame."""
    from kinemacolor.stages import split as stage

    table = stage.split(frames, params=_slice(params, settings.AnySplit), out=out)
    print(f"{out}: {table['split'].value_counts().to_dict()}", file=sys.stderr)


@app.command("filter")
def filter_(
    frames: Annotated[list[Path], typer.Argument(help="Folders that `frames` wrote.")],
    split: Annotated[Path, typer.Option(help="File that `split` wrote.")],
    out: Out,
    params: Slice = None,
    grey: Annotated[float | None, typer.Option(help="Chroma beyond tint and noise under which a frame is grey.")] = None,
    black: Annotated[float | None, typer.Option(help="Mean lightness under which a frame is black.")] = None,
) -> None:
    """Mark the frames that teach no colour, and why."""
    from kinemacolor.stages import filter as stage

    values = _values(params, settings.FilterParams, {"grey": grey, "black": black})
    table = stage.filter_frames(frames, split=split, params=values, out=out)
    print(
        f"{out}: {int(table['keep'].sum())} of {len(table)} frames kept; {table.loc[~table['keep'], 'reason'].value_counts().to_dict()}",
        file=sys.stderr,
    )


@app.command()
def motion(
    video: Annotated[Path, typer.Argument(help="A video, or the folder of a downloaded source.")],
    frames: Annotated[Path, typer.Argument(help="The dataset's frames of it, which `frames` wrote.")],
    filter_table: Annotated[Path, typer.Option("--filter", help="File that `filter` wrote.")],
    out: Out,
    params: Annotated[Path, typer.Option("--params", help="How, as JSON: {frames: ..., motion: ...}.")],
    sync: Sync = None,
    threads: Threads = None,
    allow_truncated: Truncated = False,
) -> None:
    """Take a few stretches of consecutive frames, on which `evaluate` measures how colours move."""
    from kinemacolor.stages import motion as stage

    table = stage.motion(
        video,
        frames,
        filter_table=filter_table,
        params=settings.section(settings.FramesParams, _entry(params, "frames"), f"{params}: frames"),
        wanted=settings.section(settings.MotionParams, _entry(params, "motion", {}), f"{params}: motion"),
        out=out,
        sync=sync,
        allow_truncated=allow_truncated,
        threads=threads,
    )
    print(f"{out}: {len(table)} stretches, {int(table['rows'].sum())} frames", file=sys.stderr)


@app.command()
def weights(
    name: Annotated[str, typer.Argument(help="Name of the weights in params.yaml.")],
    out: Out,
    params: Annotated[Path, typer.Option("--params", help="The weights' values as JSON.")],
) -> None:
    """Fetch published ImageNet weights, convert them once, and try them on photographs."""
    from kinemacolor.stages import weights as stage

    name = checked_name(name, "weights")
    facts = stage.weights(_slice(params, settings.Weights), name=name, out=out, cache=Path(".cache/weights") / name)
    print(f"{out}: {facts['architecture']}, {facts['parameters']:,} parameters", file=sys.stderr)


@app.command()
def embed(
    frames: Annotated[list[Path], typer.Argument(help="Folders that `frames` wrote.")],
    weights: Annotated[Path, typer.Option(help="Folder that `weights` wrote.")],
    out: Out,
) -> None:
    """Keep what an encoder says of every grey frame as a whole."""
    from kinemacolor.stages import embed as stage

    facts = stage.embed(frames, weights=weights, out=out)
    print(f"{out}: {sum(facts['rows'].values())} frames, {facts['dimension']} numbers each", file=sys.stderr)


@app.command()
def train(
    frames: Annotated[list[Path], typer.Argument(help="Folders that `frames` wrote.")],
    filter_table: Annotated[Path, typer.Option("--filter", help="File that `filter` wrote.")],
    out: Out,
    params: Annotated[Path, typer.Option("--params", help="The model's values as JSON: {model: ..., augment: ...}.")],
    dataset: Annotated[str, typer.Option(help="Name of the dataset.")] = "dataset",
    name: Annotated[str, typer.Option(help="Name of the model.")] = "model",
    weights: Annotated[Path | None, typer.Option(help="Folder that `weights` wrote; the encoder begins with them.")] = None,
    embeddings: Annotated[Path | None, typer.Option(help="Folder that `embed` wrote.")] = None,
    coloured: Annotated[Path | None, typer.Option(help="Folder that `precolour` wrote.")] = None,
    before: Annotated[Path | None, typer.Option(help="The model that coloured them.")] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(help="Folder of this training alone, to go on from if killed; .checkpoints/DATASET-NAME if not given."),
    ] = None,
) -> None:
    """Train one network; goes on where a killed training stopped."""
    from kinemacolor.stages import train as stage

    asked = {"weights": weights, "embeddings": embeddings, "coloured": coloured, "before": before}
    dataset = checked_name(dataset, "dataset")
    stage.train(
        frames,
        filter_table=filter_table,
        name=checked_name(name, "model"),
        dataset=dataset,
        model=settings.section(settings.Model, _entry(params, "model"), f"{params}: model"),
        augment=settings.section(settings.AugmentParams, _entry(params, "augment", {}), f"{params}: augment"),
        out=out,
        checkpoints=checkpoints or Path(".checkpoints") / f"{dataset}-{name}",
        **{option: folder for option, folder in asked.items() if folder is not None},
    )


@app.command()
def precolour(
    model: Annotated[Path, typer.Argument(help="A model's folder.")],
    frames: Annotated[list[Path], typer.Argument(help="Folders that `frames` wrote.")],
    filter_table: Annotated[Path, typer.Option("--filter", help="File that `filter` wrote.")],
    out: Out,
) -> None:
    """Colour every frame by itself with a trained model, for networks that see frames already coloured."""
    from kinemacolor.stages import precolour as stage

    stage.precolour(model, frames, filter_table=filter_table, out=out)


@app.command()
def external(
    name: Annotated[str, typer.Argument(help="What the result is called.")],
    frames: Annotated[Path, typer.Argument(help="The dataset's frames of the source, which `frames` wrote.")],
    media: Annotated[Path, typer.Option(help="Folder that `download` wrote of the source.")],
    out: Out,
    params: Annotated[Path, typer.Option("--params", help="What it is, as JSON: {external: ..., frames: ...}.")],
    motion: Annotated[Path | None, typer.Option(help="Folder that `motion` wrote of the source.")] = None,
    sync: Sync = None,
) -> None:
    """Take what another program made of a source, on the frames of a dataset, to be judged beside our models."""
    from kinemacolor.stages import external as stage

    stage.external(
        settings.section(settings.External, _entry(params, "external"), f"{params}: external"),
        name=checked_name(name, "external result"),
        params=settings.section(settings.FramesParams, _entry(params, "frames"), f"{params}: frames"),
        frames=frames,
        media=media,
        out=out,
        motion=motion,
        sync=sync,
    )


@app.command()
def evaluate(
    predicted: Annotated[
        Path,
        typer.Argument(help="A model's folder, or one that `external` wrote; by hand, a coloured video or a folder of pictures."),
    ],
    truth: Annotated[list[Path], typer.Argument(help="Folders that `frames` wrote; by hand, the true video or folder.")],
    filter_table: Annotated[Path | None, typer.Option("--filter", help="File that `filter` wrote.")] = None,
    motion: Annotated[list[Path] | None, typer.Option(help="Folder that `motion` wrote; one for every source.")] = None,
    lpips: Annotated[
        Path | None, typer.Option(help="Folder that `weights` wrote, of LPIPS: its distance is measured too.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="Folder that `weights` wrote, of an encoder: distances between sets of frames are measured too."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for figures, tables of frames and shots, and sheets.")] = None,
    params: Slice = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH at which two videos or folders are compared; their own if not given.")
    ] = None,
    allow_truncated: Truncated = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure a model on its dataset, or any two videos or folders of pictures against each other."""
    from kinemacolor.stages import evaluate as stage

    values = _values(params, settings.EvaluateParams, {})
    if filter_table is not None and out is not None:
        inputs = stage.Inputs(truth, filter_table, motion or [], lpips, features)
        judge = stage.evaluate_external if (predicted / stage.EXTERNAL).is_file() else stage.evaluate_model
        figures = judge(predicted, inputs, params=values, out=out)
        if as_json:
            print(json.dumps(figures, indent=2, sort_keys=True))
    elif len(truth) == 1 and filter_table is None and not motion:
        how = {"size": _height_width(size), "lpips": lpips, "features": features, "allow_truncated": allow_truncated}
        found = stage.compare_files(predicted, truth[0], out=out, draws=values.draws, **how)
        if as_json:
            print(json.dumps(found.metrics | {"intervals": found.intervals}, indent=2, sort_keys=True))
        elif out is None:
            print(stage.figures_table(found))
    else:
        raise UserError(
            "evaluate takes a model with --filter and --out, or two videos or folders: see `kinemacolor evaluate --help`."
        )


@app.command()
def render(
    model: Annotated[Path, typer.Argument(help="A model's folder.")],
    video: Annotated[Path, typer.Argument(help="A video, or the folder of a downloaded source.")],
    out: Out,
    params: Slice = None,
    sync: Sync = None,
    start: ShownFrom = None,
    seconds: ShownFor = None,
    whole: Whole = False,
    layout: Layout = None,
    size: PanelSize = None,
) -> None:
    """Make a video with sound that compares: grey, the model, truth."""
    from kinemacolor.stages import render as stage

    values = _render_values(params, start, seconds, whole, layout, size)
    stage.render_model(model, video, params=values, sync=sync, out=_video_path(out), poster=out.with_suffix(".png"))


@app.command()
def colorize(
    model: Annotated[Path, typer.Argument(help="A model's folder.")],
    film: Annotated[Path, typer.Argument(help="A film, the folder of a downloaded source, or a photograph: PNG, JPEG, TIFF.")],
    out: Annotated[
        Path, typer.Option("--out", help="The film to write: .mkv, .mp4 or .mov; of a photograph .png, .jpg or .tif.")
    ],
    hints: Annotated[
        Path | None,
        typer.Option(
            help='Of a photograph: JSON list of {"y", "x", "rgb": "#aabbcc"} or {"y", "x", "a", "b"}, in the picture\'s pixels.'
        ),
    ] = None,
    chroma: Annotated[
        str | None,
        typer.Option(
            help="How colours are enlarged: guided by edges (for films unless given), bilateral or bilinear (for photographs)."
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(help="What stays as it was: lightness (L*, the default), or the film's luma to the last bit.")
    ] = None,
    codec: Annotated[str | None, typer.Option(help="h264 (the default), hevc, or ffv1 without loss.")] = None,
    crf: Annotated[int | None, typer.Option(help="Quality of h264 and hevc, lower is better; 18 if not given.")] = None,
    preset: Annotated[str | None, typer.Option(help="Time for size, ultrafast to veryslow; medium if not given.")] = None,
    batch: Annotated[int | None, typer.Option(help="Frames that go through the network together.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU if there is one.")] = None,
    allow_truncated: Truncated = False,
) -> None:
    """Colour a whole film at its own size with all its streams, or one photograph. A film that was begun is gone on with."""
    options = {"chroma": chroma, "keep": keep, "codec": codec, "crf": crf, "preset": preset, "batch": batch}
    given = {name: value for name, value in options.items() if value is not None}
    from kinemacolor import stills

    if stills.is_meant(film, out):
        films = given | ({"device": device} if device else {}) | ({"allow-truncated": True} if allow_truncated else {})
        if names := sorted(set(films) - {"chroma"}):
            raise UserError(f"--{names[0]} is for films, and --out {out} is none: leave it out, or let it end in .mkv.")
        stills.colour_picture(model, film, out=out, hints=hints, **given)
        return
    if hints is not None:
        raise UserError("--hints are for photographs: leave them out for a film.")
    from kinemacolor.media.progress import shown
    from kinemacolor.wholefilm.film import Options, colour_film

    begun, chosen = time.monotonic(), Options(**given)
    with shown(f"colour {out}") as progress:
        done = colour_film(
            model, film, out=out, options=chosen, allow_truncated=allow_truncated, device=device, progress=progress
        )
    seconds = time.monotonic() - begun
    rate = (done.frames - done.resumed) / seconds
    print(f"{out}: {done.frames} frames, {seconds:.0f} s, {rate:.1f} frames a second", file=sys.stderr)


@app.command()
def compare(
    video: Annotated[Path, typer.Argument(help="A video, or the folder of a downloaded source.")],
    models: Annotated[list[Path], typer.Argument(help="Models' folders.")],
    out: Out,
    params: Slice = None,
    sync: Sync = None,
    start: ShownFrom = None,
    seconds: ShownFor = None,
    whole: Whole = False,
    layout: Layout = None,
    size: PanelSize = None,
    external: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=PATH: the film as another program coloured it, a video or a folder of pictures named by frame number."
        ),
    ] = None,
) -> None:
    """Make one video of all models: grey, each model, truth; beside it a still, and in OUT_stills pictures of six moments."""
    from kinemacolor.stages import compare as stage

    values = _render_values(params, start, seconds, whole, layout, size)
    out, others = _video_path(out), _named_paths(external or [])
    stage.compare_models(models, video, params=values, sync=sync, out=out, poster=out.with_suffix(".png"), external=others)


@app.command()
def report(
    params: Annotated[Path, typer.Option("--params", help="Which experiments, as JSON.")],
    out: Out = Path("reports/index.html"),
    data: Annotated[Path, typer.Option(help="Folder of the artefacts.")] = Path("data"),
    reports: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path("reports"),
    alone: Annotated[Path | None, typer.Option(help="The page once more, in one file with its pictures inside.")] = None,
) -> None:
    """Write the page that compares the models."""
    from kinemacolor.stages import report as stage

    external = _entry(params, "external", {})
    stage.report(_entry(params, "experiments"), external=external, data=data, reports=reports, out=out, alone=alone)


# ------------------------------------------------------------------------------------------------ about it


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    params: Annotated[Path, typer.Option("--params", help="File whose models are listed.")] = Path("params.yaml"),
) -> None:
    """List the models of params.yaml, and the families that none of them uses, each with its size and colour coding."""
    from kinemacolor import overview

    # Without a file the families alone are listed; one that somebody named must be there.
    wanted = params.is_file() or params != Path("params.yaml")
    chosen = settings.load(params).models if wanted else {}
    rows = overview.rows({name: (model.family, model.options) for name, model in chosen.items()})
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*(key for key in rows[0] if key != "source"))
    for row in rows:
        table.add_row(
            *(f"{value:,}" if isinstance(value, int) else str(value or "") for key, value in row.items() if key != "source")
        )
    Console().print(table)


@app.command("make-print")
def make_print(
    film: Annotated[Path, typer.Argument(help="The film of which a print is made.")],
    recipe: Annotated[Path, typer.Option(help="How it is made: YAML or JSON with the keys of a recipe.")],
    out: Out,
    allow_truncated: Truncated = False,
) -> None:
    """Make a print of a film by a recipe, with the true alignment beside it (<name>.alignment.parquet)."""
    from kinemacolor.media import prints
    from kinemacolor.media.progress import shown

    if not recipe.is_file():
        raise UserError(f"{recipe} is missing: put the recipe there or correct the path.")
    values = settings.read_document(recipe)
    if not values:
        raise UserError(f"{recipe} holds no key of a recipe: write some, such as height: 360.")
    chosen = settings.section(settings.Recipe, values, str(recipe))
    with shown(f"make {out}") as progress:
        made = prints.make_print(film, chosen, _video_path(out), progress=progress, allow_truncated=allow_truncated)
    print(f"{made.frames} frames at {made.rate} a second; the truth is in {prints.truth_file(out)}")


@app.command()
def schema(out: Out = Path("workflow/params.schema.json")) -> None:
    """Write the JSON schema of params.yaml, for editors."""
    from kinemacolor.files import write_json

    write_json(out, settings.schema())


@app.command()
def dag(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 2 if dvc.yaml is out of date.")] = False,
    made_from: Annotated[
        Path | None, typer.Option("--made-from", help="Manifest of a build; exit with 2 if code or values changed since.")
    ] = None,
) -> None:
    """Bring dvc.yaml up to date with params.yaml and the workflow's rules."""
    from kinemacolor import dag as workflow
    from kinemacolor import dvc_yaml

    if made_from is not None:
        workflow.refuse_changed(made_from)
    if dvc_yaml.update(write=not check):
        if check:
            raise UserError("dvc.yaml is older than params.yaml or the rules: run `kinemacolor dag`, then go on.")
        print("dvc.yaml brought up to date.", file=sys.stderr)


def _height_width(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if sides is None:
        raise UserError(f"--size {text!r} is no HEIGHTxWIDTH in pixels: write it as 360x640.")
    return int(sides[1]), int(sides[2])


def _render_values(
    params: Path | None, start: float | None, seconds: float | None, whole: bool, layout: str | None, size: str | None
) -> settings.RenderParams:
    """What a comparison video shows, from a slice or from options."""
    if whole and seconds is not None:
        raise UserError("--whole and --seconds say different lengths: give one of them.")
    given = {"start": start, "seconds": seconds, "layout": layout, "size": size}
    if params is not None and (told := [name for name, value in {**given, "whole": whole or None}.items() if value is not None]):
        raise UserError(f"--params says all of what the video shows, --{told[0]} too: leave out one of the two.")
    values = _values(params, settings.RenderParams, given)
    return values.model_copy(update={"seconds": None}) if whole else values


def _named_paths(given: list[str]) -> dict[str, Path]:
    """NAME=PATH, each name once."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise UserError(f"--external {text!r} is no NAME=PATH: write it as other=film.mp4.")
        if checked_name(name, "external result") in found:
            raise UserError(f"--external names {name!r} twice: give each result a name of its own.")
        found[name] = Path(path)
    return found


def _video_path(out: Path) -> Path:
    """`out` if its name says that it is a video that we write."""
    if out.suffix.lower() not in (".mp4", ".m4v", ".mov", ".mkv"):
        raise UserError(f"--out {out} is no name of a video: let it end in .mp4.")
    return out


if __name__ == "__main__":
    main()
