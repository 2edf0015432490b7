"""What the Snakefile asks when it is read: which params file, its slices, what a training needs, and import closures.

The Snakefile is the one description of the stages; dvc_yaml.py writes it down for DVC.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kinemacolor import misfits, models, params
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, canonical_json, read_json, sha256_of
from kinemacolor.models.needs import needs_of

PACKAGE = "kinemacolor"
SLICES = Path(".params")
LOCKS = Path(".snakemake/locks")
PARAMS_FILE = Path("params.yaml")


# -------------------------------------------------------------------------------------------- which params


def params_file(configfiles: Sequence[Path], config: Mapping[str, Any]) -> tuple[Path, str | None]:
    """The params file of a build, and the name of the preset if it is another than params.yaml.

    Args:
        configfiles: what Snakemake was given as `--configfile`.
        config: what it was given as `--config`.

    Raises:
        UserError: it was given more than one file, or single values.
    """
    if config:
        raise UserError(
            f"--config cannot set {next(iter(config))!r}: write it into params.yaml, or into a file for --configfile."
        )
    if len(configfiles) > 1:
        raise UserError(f"--configfile names {len(configfiles)} files: give one, which says everything.")
    if not configfiles or Path(configfiles[0]).resolve() == PARAMS_FILE.resolve():
        return PARAMS_FILE, None
    path = _relative(Path(configfiles[0]))
    return path, re.sub(r"[^a-z0-9_]+", "_", path.stem.lower())


# ------------------------------------------------------------------------------------------------- slices


def write_slices(
    values: Mapping[str, Any],
    folder: Path = SLICES,
    *,
    alone: bool = True,
    locks: Path | None = None,
    unlocking: bool = False,
    respread: Sequence[str] = (),
) -> None:
    """Write each slice as canonical JSON, only where the content differs, and remove slices of nothing if `alone`.

    File times change with content alone, because Snakemake reads them. While a build runs, which is told by Snakemake's locks,
    no slice changes or goes: its jobs that wait would run under other values.

    A slice of pieces is as old as that of the frames: their number, which it alone knows, is no reason to take them again.

    Args:
        alone: no preset is in use, and what is not in `values` is nobody's.
        locks: folder that holds files while a build runs, or after one was killed (`LOCKS`); None looks for no build.
        unlocking: Snakemake was started to remove the locks: slices that are there stay as they are.
        respread: what `respread` says. `forget_pieces` of these comes first: whoever is killed between the two does it again.

    Raises:
        UserError: a slice would change while a build runs, or as `forget_pieces`.
    """
    building = locks is not None and locks.is_dir() and any(locks.iterdir())
    differing = _differing(values, folder)
    there = [name for name in differing if _slice(folder, name).is_file()] or [f"pieces-{name}" for name in respread]
    if building and there and not unlocking:
        raise UserError(
            f"Another build is running, and {_slice(folder, there[0])} would change under it: wait for its end; "
            "if it was killed, run `snakemake --unlock`."
        )
    if not unlocking:
        forget_pieces(respread)
    folder.mkdir(exist_ok=True)
    for name, text in sorted(differing.items(), key=lambda item: _frames_of(item[0]) is not None):
        if not unlocking or name not in there:
            with atomic_file(_slice(folder, name)) as temporary:
                temporary.write_text(text, encoding="utf-8")
                if (frames := _slice(folder, str(_frames_of(name)))).is_file():
                    os.utime(temporary, ns=(frames.stat().st_atime_ns, frames.stat().st_mtime_ns))
    for stale in folder.glob("*.json") if not building and not unlocking else ():
        # A preset's dataset that is not taken in pieces has no slice of them, as `respread` goes by.
        whole = _frames_of(stale.stem) in values
        if stale.stem not in values and (alone or whole):
            stale.unlink()


def _differing(values: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Slices that are not in their files as they should be, and what they should hold."""
    texts = {name: canonical_json(value) for name, value in values.items()}
    return {
        name: text
        for name, text in texts.items()
        if not _slice(folder, name).is_file() or _slice(folder, name).read_text(encoding="utf-8") != text
    }


def _frames_of(name: str) -> str | None:
    """Name of the slice of frames beside one of pieces; None if it is another."""
    return f"frames-{name.removeprefix('pieces-')}" if name.startswith("pieces-") else None


def _slice(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


# ------------------------------------------------------------------------------------ what a training asks for


def asked_for(chosen: params.Params) -> dict[tuple[str, str], dict[str, str]]:
    """What each training is given beside frames and filter: (dataset, model) -> option of `train` -> artefact.

    Raises:
        UserError: a model cannot be trained as params.yaml describes it; see `misfits`.
    """
    misfits.refuse(chosen)
    return {(dataset, name): _asked(chosen, dataset, name) for dataset, names in chosen.trained.items() for name in names}


def _asked(chosen: params.Params, dataset: str, name: str) -> dict[str, str]:
    model = chosen.models[name]
    found = {}
    if model.pretrained is not None:
        found["weights"] = f"data/weights/{model.pretrained}"
    if model.family in models.EMBEDS:
        found["embeddings"] = f"data/embeddings/{dataset}/{model.pretrained}"
    if model.precoloured_by is not None:
        found["coloured"] = f"data/coloured/{dataset}/{model.precoloured_by}"
        found["before"] = f"data/models/{dataset}/{model.precoloured_by}"
    return found


def weights_of(chosen: params.Params) -> list[str]:
    """Entries of `weights` that something of an experiment needs: a model that begins with them, or a dataset measured with them."""
    begun = {chosen.models[name].pretrained for names in chosen.trained.values() for name in names} - {None}
    return sorted(begun | {weights for asked in chosen.measured_with.values() for weights in asked.values()})


# ------------------------------------------------------------------------------------------------- given


def mark_of(path: Path) -> str:
    """What changes with a user's own file, or with any picture in a user's own folder: a hash of names, sizes and times.

    Snakemake is given it as a value, and DVC is not told: as an input a folder would be as old as its list of names, and DVC
    would miss in a fresh clone what it does not hold. "" where nothing is there; hidden files do not count.
    """
    path = Path(path)
    if not path.exists():
        return ""
    files = [file for file in path.iterdir() if not file.name.startswith(".")] if path.is_dir() else [path]
    stats = {file.name: file.stat() for file in files if file.is_file()}
    content = {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


# ------------------------------------------------------------------------------------------------- pieces


def pieces_of(chosen: params.Params, dataset: str, source: str) -> int:
    """Pieces in which the frames of a source are taken; 0 if one job takes them all."""
    if isinstance(chosen.sources[source], params.ImagesSource) or chosen.datasets[dataset].frames.pieces == 1:
        return 0
    return chosen.datasets[dataset].frames.pieces


def moves(chosen: params.Params, dataset: str, source: str) -> bool:
    """Whether evaluation measures motion on a source: photographs have none."""
    return chosen.datasets[dataset].evaluate.motion is not None and not isinstance(chosen.sources[source], params.ImagesSource)


def respread(chosen: params.Params, folder: Path = SLICES) -> list[str]:
    """Datasets of which there is something, and whose number of pieces is another than when the slices were last written."""
    found = [name for name in chosen.trained if _pieces_before(name, folder) != chosen.datasets[name].frames.pieces]
    return [name for name in found if _slice(folder, f"pieces-{name}").is_file() or _frame_folders(name)]


def as_taken(chosen: params.Params, folder: Path = SLICES) -> params.Params:
    """The same, but frames that are there are in as many pieces as the slices say: what a dry run has to look at.

    It may not forget anything (`forget_pieces`), and would say without this that everything is made again.
    """
    there = [name for name in respread(chosen, folder) if _frame_folders(name)]
    datasets = dict(chosen.datasets)
    for name in there:
        frames = datasets[name].frames.model_copy(update={"pieces": _pieces_before(name, folder)})
        datasets[name] = datasets[name].model_copy(update={"frames": frames})
    return chosen.model_copy(update={"datasets": datasets})


def forget_pieces(datasets: Sequence[str]) -> None:
    """Have Snakemake forget from which inputs it made frames of these datasets, and let go pieces that were never joined.

    Pieces are inputs of frames, and the same frames come of any number of them: without this another number would have them
    taken again, and all that stands on them trained again. Of what was never recorded there is nothing to forget.

    Raises:
        UserError: it would not.
    """
    for name in datasets:
        shutil.rmtree(Path("data/pieces") / name, ignore_errors=True)
    if not (outputs := [folder for name in datasets for folder in _frame_folders(name)]):
        return
    command = [sys.executable, "-m", "snakemake", "--snakefile", os.devnull, "--cleanup-metadata", *outputs]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "metadata was not present" not in done.stderr + done.stdout:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"Snakemake could not forget from how many pieces {outputs[0]} was made ({said}): run it again, or set "
            "frames.pieces back."
        )


def _pieces_before(dataset: str, folder: Path) -> int:
    path = _slice(folder, f"pieces-{dataset}")
    return read_json(path, "run snakemake again")["pieces"] if path.is_file() else 1


def _frame_folders(dataset: str) -> list[str]:
    """Folders of frames of a dataset that are there."""
    return sorted(str(path) for path in Path("data/frames", dataset).glob("*") if path.is_dir())


# ----------------------------------------------------------------------------------------------- closures


@functools.cache
def _imports(path: Path) -> frozenset[str]:
    """Names of our modules that a file imports anywhere but under `if TYPE_CHECKING`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            # `from package import module` imports a module; `from module import name` does not.
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return frozenset(name for name in found if name.split(".")[0] == PACKAGE)


def _file(module: str) -> Path | None:
    """Source file of one of our modules; None if there is no such module."""
    base = Path(__file__).parent.joinpath(*module.split(".")[1:])
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def closure(module: str, families: Iterable[str] = (), *, without: Iterable[str] = ()) -> list[Path]:
    """Source files that a module needs, itself and everything of ours that it imports, relative to the repository.

    Args:
        module: such as `kinemacolor.stages.train`.
        families: network families that it will load by name, which no import statement shows.
        without: modules that it imports inside functions and that this use of it never reaches.
    """
    waiting = [module, *map(models.module_of, families)]
    without = set(without)
    seen: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in seen or name in without or path is None:
            continue
        seen[name] = path
        waiting += _imports(path)
        if "." in name:
            waiting.append(name.rpartition(".")[0])  # importing a.b runs a/__init__.py first
    drawn = [path.parent for path in seen.values() if path.name == "page.py"]
    data = [file for folder in drawn for kind in ("html", "css", "js") for file in folder.glob(f"*.{kind}")]
    return sorted(_relative(path) for path in {*seen.values(), *data})


def _relative(path: Path) -> Path:
    """Relative to the working directory where the package lies below it, as it does in a clone."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def closures_of(chosen: params.Params) -> dict[str, list[Path]]:
    """Import closure of every stage that the experiments need; by source, weights or model where these differ."""
    found = {stage: closure(f"{PACKAGE}.stages.{stage}") for stage in ("filter", "embed", "report")}
    found["sync"] = closure(f"{PACKAGE}.stages.sync", without=PHOTOGRAPHS)
    for dataset, names in chosen.experiments.items():
        for source in chosen.datasets[dataset].sources:
            entry = chosen.sources[source]
            found[f"download-{source}"] = closure(f"{PACKAGE}.stages.download", without=unreached_by_source(entry))
            found[f"frames-{source}"] = closure(f"{PACKAGE}.stages.frames", without=unreached_by_frames(entry))
            if pieces_of(chosen, dataset, source):
                found[f"pieces-{source}"] = closure(f"{PACKAGE}.stages.pieces", without=unreached_by_frames(entry))
            if moves(chosen, dataset, source):
                found[f"motion-{source}"] = closure(f"{PACKAGE}.stages.motion", without=unreached_by_frames(entry))
        unread = () if _looks_for_shots(chosen.datasets[dataset].split) else PIXELS
        found[f"split-{dataset}"] = closure(f"{PACKAGE}.stages.split", without=unread)
        shown = [family for name in names for family in _families(chosen, name)]
        found[f"compare-{dataset}"] = closure(f"{PACKAGE}.stages.compare", shown)
    for name in {name for names in chosen.trained.values() for name in names}:
        model = chosen.models[name]
        # A training is given the other model's pictures; who runs the model runs the other too.
        found[f"train-{name}"] = closure(f"{PACKAGE}.stages.train", [model.family], without=unreached_by_training(model))
        for stage in ("precolour", "evaluate", "render"):
            found[f"{stage}-{name}"] = closure(f"{PACKAGE}.stages.{stage}", _families(chosen, name))
    for name in weights_of(chosen):
        weights = chosen.weights[name]
        # Weights of a whole network are tried in it, which is found by name.
        families = [weights.architecture] if weights.architecture in models.MODULES else []
        without = _modules("media", _unreached_by_origins([weights], direct=weights.url is not None))
        found[f"weights-{name}"] = closure(f"{PACKAGE}.stages.weights", families, without=without)
    for name in (name for names in chosen.shown_beside.values() for name in names):
        for stage in ("external", "evaluate"):
            found[f"{stage}-{name}"] = closure(f"{PACKAGE}.stages.{stage}")
    return found


def _modules(room: str, names: Iterable[str]) -> list[str]:
    return [f"{PACKAGE}.{room}.{name}" for name in names]


PHOTOGRAPHS = (*_modules("media", ("gallery", "pictures")), *_modules("frames", ("photographs",)))
"""Modules that only photographs are read with."""


PIXELS = tuple(_modules("frames", ("cuts", "index")))
"""Modules that splitting reaches only where shots are drawn."""


def _looks_for_shots(split: params.AnySplit) -> bool:
    return isinstance(split, params.SeededSplit) and split.unit == "shot"


def unreached_by_frames(source: params.AnySource) -> list[str]:
    """Modules that taking the frames of a source never reaches: how pairs are cut is no matter of films."""
    pairs, clips = _modules("frames", ("pairs",)), _modules("frames", ("clips", "in_order"))
    match source:
        case params.ImagesSource():
            return [*pairs, *clips]
        case params.FilmPairSource():
            return [*clips, *PHOTOGRAPHS]
        case params.ClipsSource():
            return [*pairs, *PHOTOGRAPHS]
        case _:
            return [*pairs, *clips, *PHOTOGRAPHS]


def unreached_by_source(source: params.AnySource) -> list[str]:
    """Modules that downloading a source never reaches: a better player of games fetches no film again.

    Every one of them is imported inside a function, by that which needs it (tests/unit/test_closures.py looks).
    """
    parts = {"play", "prints", "clips", "listing", "packing", "picture_ledger", "gallery", "pictures"}
    match source:
        case params.GameSource():
            return _modules("media", sorted((parts - {"play"}) | {"fetch", *_unreached_by_origins([], direct=False)}))
        case params.ImagesSource():
            origins, reached = [source], {"listing", "packing", "picture_ledger", "gallery", "pictures", "archive"}
        case params.ClipsSource():
            origins, reached = list(source.list or ()), {"clips", "listing"}
        case params.FilmPairSource(grey=params.MadePrint()):
            origins, reached = [source.colour], {"prints"}
        case params.FilmPairSource():
            origins, reached = [source.colour, source.grey], set()
        case _:
            origins, reached = [source], set()
    if any(origin.path is not None for origin in origins):
        reached.add("listing")  # a path is shown as text
    direct = isinstance(source, params.ImagesSource) and source.url is not None
    left_out = parts | set(_unreached_by_origins(origins, direct=direct))
    if isinstance(source, params.ImagesSource) and source.path is not None:
        left_out.add("fetch")
    return _modules("media", sorted(left_out - reached))


def _unreached_by_origins(origins: Iterable[params.Origin | params.Weights], *, direct: bool) -> list[str]:
    """Modules of media/ that fetching from these origins never reaches; `direct` if one is the address of a plain file."""
    packed = any(origin.package is not None for origin in origins)
    return [*(() if direct else ("direct",)), *(() if packed else ("index_client", "archive"))]


def unreached_by_training(model: params.Model) -> list[str]:
    """Modules that training a model never reaches: discriminators, colour classes, and made-up hints."""
    without = []
    if model.loss.gan is None:
        without += [*_modules("training", ("adversarial", "adversary")), *_modules("models", ("discriminators",))]
    if model.loss.name != "classes" and not model.loss.classes:
        without += _modules("training", ("prior",))
    if not needs_of(model.family, model.options).hints:
        without += _modules("frames", ("hints",))
    return without


def _families(chosen: params.Params, name: str) -> list[str]:
    """Families of a model and of the one that colours for it, which lies in its folder."""
    model = chosen.models[name]
    return [model.family, *([] if model.precoloured_by is None else [chosen.models[model.precoloured_by].family])]


# ---------------------------------------------------------------------------------- what a build was made from


def write_manifest(chosen: params.Params, folder: Path = Path(".snakemake")) -> Path:
    """Write what a build is about to be made from: a hash of every source file and of all values.

    `dvc commit` records code and params as they are at the end of a build; whoever edits them meanwhile must not find the
    old output recorded under the new value. The name holds the content's hash, so builds do not disturb each other.
    """
    text = canonical_json(_manifest(chosen))
    path = folder / f"kinemacolor-made-from-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path


def _manifest(chosen: params.Params) -> dict[str, str]:
    files = {path for paths in closures_of(chosen).values() for path in paths}
    values = canonical_json(params.slices(chosen))
    return {str(path): sha256_of(path) for path in sorted(files)} | {"params": hashlib.sha256(values.encode()).hexdigest()}


def refuse_changed(manifest: Path) -> None:
    """Refuse to record a build whose code or values changed while it ran, or whose slices hold other values than these.

    Files that changed are touched, so that they are newer than every output and Snakemake runs what stands on them.

    Raises:
        UserError: something changed; names it.
    """
    chosen = params.load()
    before, now = read_json(manifest, "run snakemake again"), _manifest(chosen)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    for name in changed:
        if Path(name).is_file():
            Path(name).touch()
    if changed:
        what = "params.yaml" if changed[0] == "params" else changed[0]
        raise UserError(f"{what} changed while the build was running: run snakemake again; nothing was recorded.")
    if wrong := sorted(_differing(params.slices(chosen), SLICES)):
        raise UserError(
            f"{_slice(SLICES, wrong[0])} holds other values than params.yaml gives its stage: run snakemake again; nothing was recorded."
        )
