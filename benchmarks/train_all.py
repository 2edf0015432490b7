"""Train and evaluate every model of a params file in one call, several at once, and print the table.

    snakemake --cores 2 all_frames encoders --configfile presets/results.yaml       frames and encoders, once, anywhere
    python benchmarks/train_all.py presets/results.yaml --minutes 9 --jobs 4        then this, where the GPU is

The commands are the very ones that the rules of the workflow run, in the order that the models' needs ask for. What it
writes goes below --root, not among the pipeline's artefacts, so nothing there is taken for the pipeline's. Models that the
time did not allow are named at the end. On one GPU several small trainings run beside each other; on a CPU each takes one
core, so `--jobs` is the number of cores.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from kinemacolor import params
from kinemacolor.dag import asked_for, write_slices
from kinemacolor.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))
import results


@dataclass
class Task:
    """One command of the workflow.

    Attributes:
        name: for messages and for `needs`.
        command: arguments of kinemacolor.
        out: what it makes.
        needs: tasks that must be done first.
        model: (dataset, model) that it serves.
    """

    name: str
    command: list[str]
    out: Path
    model: tuple[str, str]
    needs: set[str] = field(default_factory=set)


def tasks(chosen: params.Params, wanted: set[str], data: Path, root: Path) -> list[Task]:
    """Every training and evaluation of the experiments, with the embeddings and coloured frames that they need.

    Args:
        wanted: names of models; all of the experiments if empty.
        data: folder with frames/, filter/ and weights/.
        root: folder to write.
    """
    found: dict[str, Task] = {}
    asked = asked_for(chosen)

    def add(task: Task) -> str:
        found.setdefault(task.name, task)
        return task.name

    def place(artefact: str) -> str:
        # Weights stand beside the frames; what this run makes for itself lies below the root.
        kind, _, rest = artefact.removeprefix("data/").partition("/")
        return str((data if kind == "weights" else root) / kind / rest)

    def trained(dataset: str, name: str, frames: list[str], table: str, slices: Path) -> str:
        model, needs, extra = chosen.models[name], set(), []
        given = {option: place(artefact) for option, artefact in asked[dataset, name].items()}
        for option, path in given.items():
            extra += [f"--{option}", path]
        if "embeddings" in given:
            command = ["embed", *frames, "--weights", given["weights"], "--out", given["embeddings"]]
            task = Task(f"embed {dataset} {model.pretrained}", command, Path(given["embeddings"]), (dataset, name))
            needs.add(add(task))
        if "coloured" in given:
            first = trained(dataset, model.precoloured_by, frames, table, slices)
            command = ["precolour", given["before"], *frames, "--filter", table, "--out", given["coloured"]]
            task = Task(f"precolour {dataset} {model.precoloured_by}", command, Path(given["coloured"]), (dataset, name), {first})
            needs |= {first, add(task)}
        out = root / "models" / dataset / name
        command = ["train", *frames, "--filter", table, "--params", str(slices / f"train-{dataset}-{name}.json"), *extra]
        command += ["--dataset", dataset, "--name", name, "--out", str(out)]
        command += ["--checkpoints", str(root / "checkpoints" / f"{dataset}-{name}")]
        return add(Task(f"train {dataset} {name}", command, out, (dataset, name), needs))

    slices = root / "params"
    for dataset, names in chosen.experiments.items():
        frames = [str(data / "frames" / dataset / source) for source in chosen.datasets[dataset].sources]
        table = str(data / "filter" / f"{dataset}.parquet")
        for name in names:
            if wanted and name not in wanted:
                continue
            first = trained(dataset, name, frames, table, slices)
            out = root / "reports" / dataset / name
            command = ["evaluate", str(root / "models" / dataset / name), *frames, "--filter", table]
            command += ["--params", str(slices / f"evaluate-{dataset}.json"), "--out", str(out)]
            for option, weights in chosen.measured_with[dataset].items():
                command += [f"--{option}", str(data / "weights" / weights)]
            add(Task(f"evaluate {dataset} {name}", command, out, (dataset, name), {first}))
    return list(found.values())


def run(todo: list[Task], *, jobs: int, seconds: float, logs: Path, threads: int) -> tuple[list[str], list[str]]:
    """Run tasks, `jobs` at once, each after what it needs.

    What an earlier call left of their outputs is removed first, so that nothing old is taken for this call's.

    Returns:
        Names of the tasks that failed, and of those that the time did not allow.
    """
    for task in todo:
        shutil.rmtree(task.out, ignore_errors=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    begin, done, failed = time.monotonic(), set(), []
    running: dict[str, tuple[subprocess.Popen, float]] = {}
    waiting = {task.name: task for task in todo}
    logs.mkdir(parents=True, exist_ok=True)
    while waiting or running:
        if time.monotonic() - begin > seconds:
            for process, _ in running.values():
                process.terminate()
            return failed, [*running, *waiting]
        for name in [name for name, task in waiting.items() if task.needs & set(failed)]:
            failed.append(name)
            del waiting[name]
        for name in [name for name, task in waiting.items() if task.needs <= done]:
            if len(running) == jobs:
                break
            task = waiting.pop(name)
            with (logs / f"{name.replace(' ', '-')}.log").open("wb") as log:
                command = [sys.executable, "-m", "kinemacolor.cli", *task.command]
                running[name] = (
                    subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment),
                    time.monotonic(),
                )
        time.sleep(0.1)
        for name, (process, since) in list(running.items()):
            if process.poll() is None:
                continue
            del running[name]
            took = time.monotonic() - since
            print(
                f"{time.monotonic() - begin:6.0f} s  {name}  {'done' if process.returncode == 0 else 'FAILED'} in {took:.0f} s",
                flush=True,
            )
            if process.returncode == 0:
                done.add(name)
            else:
                failed.append(name)
                print((logs / f"{name.replace(' ', '-')}.log").read_text(errors="replace").strip().splitlines()[-1:], flush=True)
    return failed, []


def main() -> int:
    """The whole of it; exit status 1 if a task failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("params", type=Path, help="params file, such as presets/results.yaml")
    parser.add_argument("--models", nargs="*", default=[], help="only these; what they need is trained too")
    parser.add_argument("--datasets", nargs="*", default=[], help="only these experiments")
    parser.add_argument("--epochs", type=int, help="instead of the params file's")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop then, and name what is left")
    parser.add_argument("--jobs", type=int, default=max(1, min(4, os.cpu_count() or 1)))
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each job")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where frames/, filter/ and weights/ lie")
    parser.add_argument("--root", type=Path, default=Path("data/train_all"), help="folder to write")
    given = parser.parse_args()
    document = params.read_document(given.params)
    if unknown := set(given.datasets) - set(document.get("experiments", {})):
        raise UserError(f"--datasets names {sorted(unknown)[0]!r}, which is no experiment of {given.params}: correct it.")
    if given.datasets:
        document["experiments"] = {name: document["experiments"][name] for name in given.datasets}
    if given.epochs is not None:
        for model in document["models"].values():
            model["epochs"] = given.epochs
            model["images"] = [epoch for epoch in model.get("images", []) if epoch <= given.epochs]
    chosen = params.check(document, str(given.params))
    if unknown := set(given.models) - {name for names in chosen.experiments.values() for name in names}:
        raise UserError(f"--models names {sorted(unknown)[0]!r}, which no experiment of {given.params} has: correct it.")

    (given.root / "params").mkdir(parents=True, exist_ok=True)
    write_slices(params.slices(chosen), given.root / "params")
    begin = time.monotonic()
    todo = tasks(chosen, set(given.models), given.data, given.root)
    planned = {task.name for task in todo}
    failed, late = run(todo, jobs=given.jobs, seconds=60 * given.minutes, logs=given.root / "logs", threads=given.threads)
    missing = {*failed, *late}
    found = {
        dataset: {name: model for name, model in found.items() if f"evaluate {dataset} {name}" in planned - missing}
        for dataset, found in results.read(chosen, given.root, given.root / "reports").items()
    }
    found = {dataset: models_ for dataset, models_ in found.items() if models_}
    print(results.page(chosen, found, " ".join(["python", *sys.argv]), results.machine))
    print(f"{time.monotonic() - begin:.0f} s in all, {given.jobs} jobs at once.")
    for kind, names in (("failed", failed), ("not done in time", late)):
        if names:
            print(f"{kind}: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (UserError, params.ParamsError) as error:
        print(f"train_all: {error}", file=sys.stderr)
        sys.exit(2)
