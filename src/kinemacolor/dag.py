"""What Snakemake and DVC must agree on: parameter slices, import closures, and the dvc.yaml made from them.

The Snakefile is the one description of the stages. dvc.yaml is written from what Snakemake itself says about its jobs,
so that the two cannot differ; a hash of the DAG's shape in its head line tells when it is out of date.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kinemacolor import models, params
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, canonical_json, read_json, sha256_of

PACKAGE = "kinemacolor"
SLICES = Path(".params")
DVC_YAML = Path("dvc.yaml")
_SHAPE = "# shape: "
_HEAD = """\
# Written by `kinemacolor dag` from the Snakefile and params.yaml; a full `snakemake all` does it by itself.
# Every stage runs its Snakemake rule alone; the comment in each command is what that rule runs.
"""


# ------------------------------------------------------------------------------------------------- slices


def write_slices(values: Mapping[str, Any], folder: Path = SLICES) -> None:
    """Write each slice as canonical JSON, only where the content differs, and remove slices of nothing.

    File times change with content alone, because Snakemake reads them.
    """
    folder.mkdir(exist_ok=True)
    for name, value in values.items():
        text = canonical_json(value)
        path = folder / f"{name}.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            with atomic_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    for stale in folder.glob("*.json"):
        if stale.stem not in values:
            stale.unlink()


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
    data = [file for path in seen.values() if path.name == "page.py" for file in path.parent.glob("*.html")]
    return sorted(_relative(path) for path in {*seen.values(), *data})


def _relative(path: Path) -> Path:
    """Relative to the working directory where the package lies below it, as it does in a clone."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# --------------------------------------------------------------------------------------------------- shape


def param_keys(document: Mapping[str, Any], slice_name: str) -> list[str]:
    """Keys of params.yaml that decide a slice, for DVC; only keys that stand in the document."""
    stage, _, key = slice_name.partition("-")
    dataset, _, model = key.partition("-")
    match stage:
        case "download":
            wanted = [f"sources.{key}.{name}" for name in document["sources"][key] if name != "sync"]
        case "sync":
            wanted = [f"sources.{key}.sync"]
        case "train":
            wanted = [f"models.{model}", f"datasets.{dataset}.augment"]
        case "report":
            wanted = []  # what it shows are its dependencies
        case _:
            wanted = [f"datasets.{key}.{stage}"]
    return [name for name in wanted if _stands(document, name.split("."))]


def _stands(document: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True


def shape(document: Mapping[str, Any], slice_names: Iterable[str], closures: Mapping[str, list[Path]]) -> str:
    """Hash of all that dvc.yaml is made from, except values: which stages, which keys, which code, which rules."""
    rules = [Path("Snakefile"), *sorted(Path("workflow/rules").glob("*.smk"))]
    content = {
        "keys": {name: param_keys(document, name) for name in slice_names},
        "sources": {name: _shown(document["datasets"][name]) for name in document["experiments"]},
        "families": {name: document["models"][name]["family"] for names in document["experiments"].values() for name in names},
        "experiments": document["experiments"],
        "code": {name: [str(path) for path in paths] for name, paths in closures.items()},
        "rules": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in rules if path.is_file()},
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _shown(dataset: Mapping[str, Any]) -> list[Any]:
    """A dataset's sources and the one that its videos show."""
    return [dataset["sources"], dataset.get("render", {}).get("source")]


def recorded_shape(path: Path = DVC_YAML) -> str | None:
    """The shape that dvc.yaml was made from."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.removeprefix(_SHAPE) for line in lines if line.startswith(_SHAPE)), None)


_UNREACHED = {
    "video": ("play", "prints"),
    "game": ("fetch", "prints"),
    "film_pair": ("play", "prints"),
    "film_pair, made": ("play",),
}
"""Kind of source -> modules of media/ that downloading it never reaches: a better player of games fetches no film again."""


def closures_of(chosen: params.Params) -> dict[str, list[Path]]:
    """Import closure of every stage that the experiments need; by source or by model family where these differ."""
    stages = ("sync", "frames", "split", "filter", "report")
    found = {stage: closure(f"{PACKAGE}.stages.{stage}") for stage in stages}
    for dataset, names in chosen.experiments.items():
        for source in chosen.datasets[dataset].sources:
            entry = chosen.sources[source]
            kind = f"{entry.kind}, made" if isinstance(getattr(entry, "grey", None), params.MadePrint) else entry.kind
            without = [f"{PACKAGE}.media.{name}" for name in _UNREACHED[kind]]
            found[f"download-{source}"] = closure(f"{PACKAGE}.stages.download", without=without)
        families = [chosen.models[name].family for name in names]
        found[f"compare-{dataset}"] = closure(f"{PACKAGE}.stages.compare", families)
        for family in families:
            for stage in ("train", "evaluate", "render"):
                found[f"{stage}-{family}"] = closure(f"{PACKAGE}.stages.{stage}", [family])
    return found


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
    """Refuse to record a build whose code or values changed while it ran.

    Files that changed are touched, so that they are newer than every output and Snakemake runs what stands on them.

    Raises:
        UserError: something changed; names it.
    """
    before, now = read_json(manifest, "run snakemake again"), _manifest(params.load())
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    for name in changed:
        if Path(name).is_file():
            Path(name).touch()
    if changed:
        what = "params.yaml" if changed[0] == "params" else changed[0]
        raise UserError(f"{what} changed while the build was running: run snakemake again; nothing was recorded.")


# ------------------------------------------------------------------------------------------ staleness of dvc.yaml


def refuse_stale_dvc_yaml(document: Mapping[str, Any], chosen: params.Params, params_file: Path) -> None:
    """Under `dvc repro`, stop if dvc.yaml describes another DAG than the Snakefile does.

    Raises:
        UserError: it does.
    """
    if "DVC_STAGE" in os.environ and shape(document, params.slices(chosen), closures_of(chosen)) != recorded_shape():
        raise UserError(f"dvc.yaml is older than {params_file} or the rules: run `kinemacolor dag`, then `dvc repro` again.")


# ------------------------------------------------------------------------------------------------ dvc.yaml


def update_dvc_yaml(*, write: bool = True) -> bool:
    """Make dvc.yaml say what the Snakefile says; True if it did not.

    Raises:
        UserError: Snakemake cannot build the DAG; says why.
    """
    text = dvc_yaml()
    if DVC_YAML.is_file() and DVC_YAML.read_text(encoding="utf-8") == text:
        return False
    if write:
        with atomic_file(DVC_YAML) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return True


def dvc_yaml() -> str:
    """The text of dvc.yaml: one stage for every job of the Snakefile's `all`, but for `record` and `all` themselves."""
    document = params.read_document("params.yaml")
    chosen = params.check(document)
    stages: dict[str, Any] = {"dag": _check_stage(chosen)}
    metrics, plots = [], []
    for job in _jobs():
        outs: list[Any] = []
        for out in job["outputs"]:
            outs.append({out: {"cache": False}} if out.startswith("reports/") else out)
            if job["rule"] == "evaluate":
                metrics.append(f"{out}/metrics.json")
            if job["rule"] == "train":
                plots.append({f"{out}/curves.json": {"x": "epoch", "y": ["train_loss", "val_loss"]}})
        stage = {
            "cmd": f"snakemake --cores 1 --quiet rules progress --allowed-rules {job['rule']} --force {job['outputs'][0]}  # {job['shell']}",
            "deps": job["deps"],
            "params": param_keys(document, job["slice"]),
            "outs": outs,
        }
        stages[f"{job['rule']}-{job['key']}" if job["key"] else job["rule"]] = {
            key: value for key, value in stage.items() if value
        }
    body = yaml.safe_dump({"stages": stages, "metrics": metrics, "plots": plots}, sort_keys=False, width=1000)
    return f"{_HEAD}{_SHAPE}{shape(document, params.slices(chosen), closures_of(chosen))}\n{body}"


def _check_stage(chosen: params.Params) -> dict[str, Any]:
    """A stage without outputs that stops `dvc repro` when entries of params.yaml came, went or gained a section.

    DVC cannot track a key that is not there yet, and it deletes a stage's outputs before the stage can refuse to run.
    """
    sources = {source for dataset in chosen.experiments for source in chosen.datasets[dataset].sources}
    models_used = {name for names in chosen.experiments.values() for name in names}
    keys = ["experiments", *(f"datasets.{name}" for name in chosen.experiments), *(f"sources.{name}" for name in sorted(sources))]
    keys += [f"models.{name}.family" for name in sorted(models_used)]
    return {"cmd": "kinemacolor dag --check", "params": keys}


def _jobs() -> list[dict[str, Any]]:
    """The jobs of `all` as a dry run tells them: rule, key, slice, deps, outputs and shell command.

    Snakemake has no machine-readable form of this; its text is stable, the version is pinned, and a test compares.
    """
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "all",
        "--cores",
        "1",
        "--dry-run",
        "--forceall",
        "--printshellcmds",
        "--nolock",
    ]
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"Snakemake cannot build the DAG: {reason}")
    jobs = []
    for rule, block in re.findall(
        r"^(?:local)?rule (\w+):\n(.*?)(?=^\[|^Job stats|\Z)", done.stdout + done.stderr, re.MULTILINE | re.DOTALL
    ):
        if rule in ("all", "record"):
            continue
        said = dict(re.findall(r"^    (input|output|wildcards): (.*)$", block, re.MULTILINE))
        inputs = [Path(path) for path in said["input"].split(", ")]
        wildcards = dict(pair.split("=", 1) for pair in said.get("wildcards", "").split(", ") if pair)
        jobs.append(
            {
                "rule": rule,
                "key": "-".join(wildcards.values()),
                "slice": next(path.stem for path in inputs if path.parent == SLICES),
                "deps": sorted({str(path) for path in inputs if path.parent != SLICES}),
                "outputs": said["output"].split(", "),
                "shell": re.search(r"^Shell command: (.*)$", block, re.MULTILINE)[1],
            }
        )
    return sorted(jobs, key=lambda job: (job["rule"], job["key"]))
