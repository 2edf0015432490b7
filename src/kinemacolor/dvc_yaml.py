"""dvc.yaml, written from what Snakemake itself says about its jobs, so that the two cannot differ.

A hash of the DAG's shape in its head line tells when it is out of date.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from kinemacolor import params
from kinemacolor.dag import PARAMS_FILE, SLICES, asked_for, closures_of, weights_of
from kinemacolor.dvc_figures import figures, parts_of
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, canonical_json

DVC_YAML = Path("dvc.yaml")
PIECES = Path("data/pieces")
_SHAPE = "# shape: "
_HEAD = """\
# Written by `kinemacolor dag` from the Snakefile and params.yaml; a full `snakemake all` does it by itself.
# Every stage runs its Snakemake rule alone; the comment in each command is what that rule runs.
"""


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
        case "weights":
            wanted = [f"weights.{key}"]
        case "external":
            wanted = [f"external.{model}", *_of_frames(document, dataset)]
        case "frames":
            wanted = _of_frames(document, key)
        case "motion":
            wanted = [*_of_frames(document, key), f"datasets.{key}.evaluate.motion"]
        case "report" | "":
            wanted = []  # what it shows are its dependencies; embed and precolour have no values of their own
        case _:
            wanted = [f"datasets.{key}.{stage}"]
    return [name for name in wanted if _stands(document, name.split("."))]


def _of_frames(document: Mapping[str, Any], dataset: str) -> list[str]:
    """All keys but how many jobs take the frames, which is no matter of what they are."""
    frames = document["datasets"][dataset]["frames"]
    if "pieces" not in frames:
        return [f"datasets.{dataset}.frames"]
    return [f"datasets.{dataset}.frames.{name}" for name in frames if name != "pieces"]


def _stands(document: Any, path: list[str]) -> bool:
    for key in path:
        if not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True


def shape(document: Mapping[str, Any], chosen: params.Params) -> str:
    """Hash of all that dvc.yaml is made from, except values: which stages, which keys, which code, which rules."""
    rules = [Path("Snakefile"), *sorted(Path("workflow/rules").glob("*.smk"))]
    content = {
        "keys": {name: param_keys(document, name) for name in params.slices(chosen) if not _is_of_pieces(name)},
        "sources": {name: _shown(document["datasets"][name]) for name in document["experiments"]},
        "families": {name: chosen.models[name].family for names in chosen.trained.values() for name in names},
        "asked": {f"{dataset}-{name}": asked for (dataset, name), asked in asked_for(chosen).items()},
        "experiments": document["experiments"],
        "measured": chosen.measured_with,
        "external": _of_externals(chosen),
        "parts": {name: parts_of(chosen.datasets[name].split) for name in chosen.experiments},
        "code": {name: [str(path) for path in paths] for name, paths in closures_of(chosen).items() if not _is_of_pieces(name)},
        "rules": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in rules if path.is_file()},
    }
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def _of_externals(chosen: params.Params) -> dict[str, list[str]]:
    """Of each result of another program its dataset and its source.

    Its file is no matter of DVC's, which holds what was made of it and not the file: a fresh clone has none.
    """
    return {name: [dataset, chosen.coloured_source(name)] for dataset, names in chosen.shown_beside.items() for name in names}


def _is_of_pieces(name: str) -> bool:
    return name.startswith("pieces-")


def _shown(dataset: Mapping[str, Any]) -> list[Any]:
    """A dataset's sources and the one that its videos show."""
    return [dataset["sources"], dataset.get("render", {}).get("source")]


def recorded_shape(path: Path = DVC_YAML) -> str | None:
    """The shape that dvc.yaml was made from."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.removeprefix(_SHAPE) for line in lines if line.startswith(_SHAPE)), None)


# ------------------------------------------------------------------------------------------ staleness of dvc.yaml


def refuse_stale(document: Mapping[str, Any], chosen: params.Params, origin: Path) -> None:
    """Under `dvc repro`, stop if dvc.yaml describes another DAG than the Snakefile does.

    Raises:
        UserError: it does.
    """
    if "DVC_STAGE" in os.environ and shape(document, chosen) != recorded_shape():
        raise UserError(f"dvc.yaml is older than {origin} or the rules: run `kinemacolor dag`, then `dvc repro` again.")


# ------------------------------------------------------------------------------------------------ dvc.yaml


def update(*, write: bool = True) -> bool:
    """Make dvc.yaml say what the Snakefile says; True if it did not.

    Raises:
        UserError: Snakemake cannot build the DAG; says why.
    """
    text = written()
    if DVC_YAML.is_file() and DVC_YAML.read_text(encoding="utf-8") == text:
        return False
    if write:
        with atomic_file(DVC_YAML) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return True


def written() -> str:
    """The text of dvc.yaml: one stage for every job of the Snakefile's `all`, but for `record` and `all` themselves."""
    document = params.read_document(PARAMS_FILE)
    chosen = params.check(document)
    stages: dict[str, Any] = {"dag": _check_stage(chosen)}
    jobs = _jobs()
    for job in jobs:
        outs = [{out: {"cache": False}} if out.startswith("reports/") else out for out in job["outputs"]]
        allowed = job["rule"]
        if allowed == "frames" and "pieces" in document["datasets"][job["slice"].removeprefix("frames-")]["frames"]:
            allowed += " pieces"
        stage = {
            "cmd": f"snakemake --cores 1 --quiet rules progress --allowed-rules {allowed} --force {job['outputs'][0]}  # {job['shell']}",
            "deps": job["deps"],
            "params": param_keys(document, job["slice"]),
            "outs": outs,
        }
        stages[f"{job['rule']}-{job['key']}" if job["key"] else job["rule"]] = {
            key: value for key, value in stage.items() if value
        }
    metrics, plots = figures(jobs, chosen)
    body = yaml.safe_dump({"stages": stages, "metrics": metrics, "plots": plots}, sort_keys=False, width=1000)
    return f"{_HEAD}{_SHAPE}{shape(document, chosen)}\n{body}"


def _check_stage(chosen: params.Params) -> dict[str, Any]:
    """A stage without outputs that stops `dvc repro` when entries of params.yaml came, went or gained a section.

    DVC cannot track a key that is not there yet, and it deletes a stage's outputs before the stage can refuse to run.
    """
    sources = {source for dataset in chosen.experiments for source in chosen.datasets[dataset].sources}
    trained = {name for names in chosen.trained.values() for name in names}
    keys = ["experiments", *(f"datasets.{name}" for name in chosen.experiments), *(f"sources.{name}" for name in sorted(sources))]
    keys += [f"models.{name}" for name in sorted(trained)]
    keys += [f"weights.{name}" for name in weights_of(chosen)]
    keys += [f"external.{name}" for names in chosen.shown_beside.values() for name in names]
    return {"cmd": "kinemacolor dag --check", "params": keys}


def _jobs() -> list[dict[str, Any]]:
    """The jobs of `all` as a dry run tells them: rule, key, slice, deps, outputs and shell command.

    Pieces are left out: they go when `frames` has joined them, so that for DVC frames are made of the media, by however many
    jobs. Snakemake has no machine-readable form of this; its text is stable, the version is pinned, and a test compares.
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
        # Behind the sentence stands where in the rules it was raised.
        said = [line for line in done.stderr.strip().splitlines() if not line.startswith("  File ")]
        reason = (said or ["no reason given"])[-1]
        raise UserError(f"Snakemake cannot build the DAG: {reason}")
    jobs = []
    for rule, block in re.findall(
        r"^(?:local)?rule (\w+):\n(.*?)(?=^\[|^Job stats|\Z)", done.stdout + done.stderr, re.MULTILINE | re.DOTALL
    ):
        if rule in ("all", "record", "pieces"):
            continue
        said = dict(re.findall(r"^    (input|output|wildcards): (.*)$", block, re.MULTILINE))
        inputs = [Path(path) for path in said["input"].split(", ")]
        wildcards = dict(pair.split("=", 1) for pair in said.get("wildcards", "").split(", ") if pair)
        jobs.append(
            {
                "rule": rule,
                "key": "-".join(wildcards.values()),
                "slice": next((path.stem for path in inputs if path.parent == SLICES), ""),
                "deps": sorted({str(path) for path in inputs if path.parent != SLICES and not path.is_relative_to(PIECES)}),
                "outputs": said["output"].split(", "),
                "shell": _plain(re.search(r"^Shell command: (.*)$", block, re.MULTILINE)[1]),
            }
        )
    return sorted(jobs, key=lambda job: (job["rule"], job["key"]))


def _plain(command: str) -> str:
    """A stage's command without the pieces that it joins, and with one space between words: the same for any number of them."""
    return " ".join(re.sub(rf"--pieces {PIECES}/\S+", "", command).split())
