"""MLflow, kept at arm's length: every call may fail without harm, since what gates anything lives in files.

An experiment is a dataset. One run in it, found again by its tag, stands for the dataset; every training is a run below it, so
that the UI folds them together and its charts compare them. Figures have the names of metrics.json behind their part, `val/ssim`,
and those of intervals.json are `val/interval/ssim.low` and `.high`; the @ of `mse_ab@128`, which MLflow refuses, becomes a dot.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from kinemacolor.mlflow_store import (
    NOTE,
    PARENT,
    about,
    alone,
    client_of,
    flat,
    is_missing,
    is_silent,
    metric_name,
    opened,
    prepared,
    serial,
    table,
    uri,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import nn

_NOTE_LENGTH = 5000
"""Characters that every store takes of a tag."""
_SAMPLE_SECONDS = 5
"""Between two looks at the machine; MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL says otherwise."""
_PARAMS_AT_ONCE = 100
"""That a store takes."""
_NEWEST = 500
"""Runs of a dataset that are looked through for its table."""


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Do nothing without a run, turn every failure into a warning, and ask a server that does not answer no more."""

    @functools.wraps(method)
    def call(self: Run, *args: Any, **kwargs: Any) -> None:
        if self.id is None or self._silent:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # tracking must never stop the work
            self._silent = is_silent(error)  # each further call would wait for it in vain
            _warn(error)

    return call


class Run:
    """One MLflow run, or a stand-in that does nothing when the store is away. No method raises.

    Attributes:
        id: MLflow's run id, None when the store was away from the beginning. A server that falls silent later is left alone
            until the run ends; the run is still there.
    """

    def __init__(self, store: str, run_id: str | None) -> None:
        self.id = run_id
        self._store = store
        self._silent = False
        self._watcher: Any = None

    @_harmless
    def params(self, values: Mapping[str, Any]) -> None:
        """Log settings, nested; flat in MLflow, `optimiser.lr`."""
        logged = [opened(self._store).entities.Param(key, value) for key, value in flat(values).items()]
        for at in range(0, len(logged), _PARAMS_AT_ONCE):
            client_of(self._store).log_batch(self.id, params=logged[at : at + _PARAMS_AT_ONCE])

    @_harmless
    def metrics(self, values: Mapping[str, float], *, step: int | None = None) -> None:
        """Log figures, of an epoch if `step` is given."""
        self._log(values, step)

    @_harmless
    def evaluation(
        self,
        metrics: Mapping[str, Mapping[str, float]],
        intervals: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        *,
        titles: Mapping[str, str] | None = None,
    ) -> None:
        """Log what an evaluation found, and bring the dataset's tables of models up to date: `models/val.csv` of its run.

        Args:
            metrics: split -> metric -> number, as in metrics.json.
            intervals: split -> metric -> low and high, as in intervals.json.
            titles: metric -> what it is and which way is better, for the description of the dataset's run.
        """
        figures = {f"{split}/{name}": value for split, values in metrics.items() for name, value in values.items()}
        for split, bounds in (intervals or {}).items():
            for name, (low, high) in bounds.items():
                figures |= {f"{split}/interval/{name}.low": low, f"{split}/interval/{name}.high": high}
        self._log(figures)
        client = client_of(self._store)
        own = client.get_run(self.id)
        if (parent := own.data.tags.get(PARENT)) is None:
            return
        newest = ["attributes.start_time DESC"]
        # Alone, since of two that read side by side the later writer would lose the other's row. Machines that share a server
        # share no lock: there the next evaluation brings the row back.
        with serial():
            below = client.search_runs(
                [own.info.experiment_id], f"tags.`{PARENT}` = '{parent}'", max_results=_NEWEST, order_by=newest
            )
            measured = [(run.info.run_name, run.data.metrics) for run in below]
            for split in metrics:
                client.log_text(parent, table(measured, split), f"models/{split}.csv")
        if titles:
            lines = [about(client.get_run(parent).data.tags["dataset"])]
            lines += [f"- `{metric_name(name)}`: {title}" for name, title in titles.items()]
            while len("\n".join(lines)) > _NOTE_LENGTH:
                lines.pop()
            client.set_tag(parent, NOTE, "\n".join(lines))

    @_harmless
    def file(self, path: Path, folder: str) -> None:
        """Log a file as an artifact below `folder`."""
        client_of(self._store).log_artifact(self.id, str(path), artifact_path=folder)

    @_harmless
    def image(self, path: Path, name: str, *, step: int = 0) -> None:
        """Log a picture under a name, which the UI shows beside those of the same name of other runs.

        Args:
            path: of a PNG or JPEG.
            name: letters, digits, `_`, `-`, `.`, `/` and spaces.
            step: the epoch that it is of.
        """
        client_of(self._store).log_image(self.id, opened(self._store).Image(str(path)), key=name, step=step)

    @_harmless
    def dataset(self, content: pd.DataFrame, *, name: str, source: str, digest: str) -> None:
        """Log which frames the run was trained on, and the dataset's run stands for: the table, its origin, and its md5."""
        mlflow = opened(self._store)
        data = mlflow.data.from_pandas(content, source=source, name=name, digest=digest)
        context = mlflow.entities.InputTag(key="mlflow.data.context", value="training")
        # Not through a `with` of the run, which would mark it finished when the training has only begun.
        described = mlflow.entities.DatasetInput(data._to_mlflow_entity(), [context])
        client = client_of(self._store)
        for run_id in (self.id, client.get_run(self.id).data.tags.get(PARENT)):
            if run_id is not None:
                client.log_inputs(run_id, [described])

    @_harmless
    def model(self, network: nn.Module, *, example: np.ndarray) -> None:
        """Log a torch network with its signature, taken from `example`, and the example itself."""
        import torch

        mlflow = opened(self._store)
        network = network.cpu().eval()
        with torch.inference_mode():
            output = network(torch.from_numpy(example)).numpy()
        signature = mlflow.models.infer_signature(example, output)
        # Said here, since MLflow otherwise loads the model in another process to see what it imports, five seconds a training.
        needs = [f"{package}=={version(package).split('+')[0]}" for package in ("mlflow", "torch", "numpy", "kinemacolor")]
        with mlflow.start_run(run_id=self.id):
            mlflow.pytorch.log_model(network, name="model", signature=signature, input_example=example, pip_requirements=needs)

    @_harmless
    def watch(self) -> None:
        """Log what the machine does until the run ends: `system/cpu_utilization_percentage` and others, of GPUs too."""
        opened(self._store)
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        watcher = SystemMetricsMonitor(self.id, sampling_interval=_SAMPLE_SECONDS, resume_logging=True, tracking_uri=self._store)
        watcher.start()
        self._watcher = watcher

    def end(self, status: str = "FINISHED") -> None:
        """Close the run; the dataset's run has then lasted until now."""
        self._silent = False  # a server that is back is told at least this
        self._unwatch()
        self._terminate(status)

    @_harmless
    def _unwatch(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.finish()

    @_harmless
    def _terminate(self, status: str) -> None:
        client = client_of(self._store)
        client.set_terminated(self.id, status)
        if (parent := client.get_run(self.id).data.tags.get(PARENT)) is not None:
            client.set_terminated(parent)

    def _log(self, values: Mapping[str, float], step: int | None = None) -> None:
        clean = {metric_name(name): float(value) for name, value in values.items()}
        opened(self._store).log_metrics(clean, step=step, run_id=self.id)


def start(experiment: str, name: str, *, params: Mapping[str, Any], tags: Mapping[str, str], resume: str | None = None) -> Run:
    """Start a run below the dataset's, or go on with the run `resume` if it is still there.

    Args:
        experiment: the dataset's name.
        name: the model's name.
        params: settings, nested; logged flat, `optimiser.lr`.
        tags: commit, md5s and the like.
        resume: id of an interrupted run.
    """
    store = uri()
    try:
        experiment_id, parent = prepared(store, experiment)
        client = client_of(store)
        if resume is not None:
            with contextlib.suppress(Exception):
                earlier = client.get_run(resume)
                client.update_run(resume, status="RUNNING")
                if earlier.info.experiment_id == experiment_id:  # else somebody gave that one another name
                    client.set_tag(resume, PARENT, parent)  # which may have been deleted and made anew
                return Run(store, resume)
        run = client.create_run(experiment_id, run_name=name, tags={"kind": "model", PARENT: parent, **tags})
    except Exception as error:  # tracking must never stop the work
        _warn(error)
        return Run(store, None)
    begun = Run(store, run.info.run_id)
    begun.params(params)
    return begun


def of_model(meta: Mapping[str, Any]) -> Run:
    """The run that trained a model, from its meta.json, so that evaluate and render log into it."""
    store, run_id = uri(), meta.get("mlflow_run_id")
    if is_missing(store):
        run_id = None  # the model came from elsewhere: there is nothing to log into, and no store to be made for it
    if run_id is not None:
        try:
            with alone(store):
                deleted = client_of(store).get_run(run_id).info.lifecycle_stage == "deleted"
        except Timeout as error:
            _warn(error)
            run_id = None
        except Exception:  # trained on another machine, or the store is away
            run_id = None
        else:
            if deleted:  # it takes no figures any more
                print(f"The MLflow run of {meta.get('name')} was deleted: nothing is logged into it.", file=sys.stderr)
                run_id = None
    return Run(store, run_id)


def of_dataset(metas: Iterable[Mapping[str, Any]]) -> Run:
    """The run that stands for the dataset of models, from the meta.json of each: for what shows all of them."""
    store = uri()
    for meta in metas:
        if (found := of_model(meta).id) is None:
            continue
        with contextlib.suppress(Exception):
            if (parent := client_of(store).get_run(found).data.tags.get(PARENT)) is not None:
                return Run(store, parent)
    return Run(store, None)


def of_external(experiment: str, name: str, *, tags: Mapping[str, str]) -> Run:
    """The run of another program's result, below the dataset's: the one that there is by this name, or a new one.

    Args:
        experiment: the dataset's name.
        name: the result's.
        tags: licence, credit and the like.
    """
    store = uri()
    if is_missing(store):
        return Run(store, None)  # no model was trained here, so there is nothing to stand beside
    try:
        experiment_id, parent = prepared(store, experiment)
        client = client_of(store)
        found = client.search_runs([experiment_id], f"tags.kind = 'external' AND attributes.run_name = '{name}'", max_results=1)
        own = {"kind": "external", PARENT: parent}
        run_id = (found[0] if found else client.create_run(experiment_id, run_name=name, tags=own)).info.run_id
        client.set_terminated(run_id)  # nothing runs here
        for key, value in {**tags, PARENT: parent}.items():  # the run above may have been deleted and made anew
            client.set_tag(run_id, key, value)
        return Run(store, run_id)
    except Exception as error:  # tracking must never stop the work
        _warn(error)
        return Run(store, None)


def _warn(error: Exception) -> None:
    print(
        f"MLflow is away, the work goes on without it: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
        file=sys.stderr,
    )
