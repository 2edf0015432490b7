"""MLflow, kept at arm's length: every call may fail without harm, since what gates anything lives in files.

SQLite is the default store. Processes that open a fresh SQLite store together leave it half migrated for good, so the
first one prepares it alone, under a lock, and creates the experiment with an artifact location that is said explicitly.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import nn

DEFAULT_URI = "sqlite:///mlflow.db"
_ARTIFACTS = "mlartifacts"


def uri() -> str:
    """The tracking store: MLFLOW_TRACKING_URI, or `mlflow.db` in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Do nothing without a run, and turn every failure into a warning."""

    @functools.wraps(method)
    def call(self: Run, *args: Any, **kwargs: Any) -> None:
        if self.id is None:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # tracking must never stop the work
            _warn(error)

    return call


class Run:
    """One MLflow run, or a stand-in that does nothing when the store is away. No method raises.

    Attributes:
        id: MLflow's run id, None when the store is away.
    """

    def __init__(self, store: str, run_id: str | None) -> None:
        self.id = run_id
        self._store = store

    @_harmless
    def metrics(self, values: Mapping[str, float], *, step: int | None = None) -> None:
        """Log figures, of an epoch if `step` is given."""
        clean = {_metric_name(name): float(value) for name, value in values.items()}
        _mlflow(self._store).log_metrics(clean, step=step, run_id=self.id)

    @_harmless
    def file(self, path: Path, folder: str) -> None:
        """Log a file as an artifact below `folder`; the UI shows pictures."""
        _mlflow(self._store).MlflowClient(self._store).log_artifact(self.id, str(path), artifact_path=folder)

    @_harmless
    def dataset(self, table: pd.DataFrame, *, name: str, source: str, digest: str) -> None:
        """Log which frames the run was trained on: the table, its origin, and its md5."""
        mlflow = _mlflow(self._store)
        data = mlflow.data.from_pandas(table, source=source, name=name, digest=digest)
        context = mlflow.entities.InputTag(key="mlflow.data.context", value="training")
        # Not through a `with` of the run, which would mark it finished when the training has only begun.
        described = mlflow.entities.DatasetInput(data._to_mlflow_entity(), [context])
        mlflow.MlflowClient(self._store).log_inputs(self.id, [described])

    @_harmless
    def model(self, network: nn.Module, *, example: np.ndarray) -> None:
        """Log a torch network with its signature, taken from `example`, and the example itself."""
        import torch

        mlflow = _mlflow(self._store)
        network = network.cpu().eval()
        with torch.inference_mode():
            output = network(torch.from_numpy(example)).numpy()
        signature = mlflow.models.infer_signature(example, output)
        # Said here, since MLflow otherwise loads the model in another process to see what it imports, five seconds a training.
        needs = [f"{package}=={version(package).split('+')[0]}" for package in ("mlflow", "torch", "numpy", "kinemacolor")]
        with mlflow.start_run(run_id=self.id):
            mlflow.pytorch.log_model(network, name="model", signature=signature, input_example=example, pip_requirements=needs)

    @_harmless
    def end(self, status: str = "FINISHED") -> None:
        """Close the run."""
        _mlflow(self._store).MlflowClient(self._store).set_terminated(self.id, status)


def start(experiment: str, name: str, *, params: Mapping[str, Any], tags: Mapping[str, str], resume: str | None = None) -> Run:
    """Start a run, or go on with the run `resume` if it is still there.

    Args:
        experiment: the dataset's name.
        name: the model's name.
        params: settings, nested; logged flat, `optimiser.lr`.
        tags: commit, md5s and the like.
        resume: id of an interrupted run.
    """
    store = uri()
    try:
        mlflow = _mlflow(store)
        experiment_id = _prepared(store, experiment)
        client = mlflow.MlflowClient(store)
        if resume is not None:
            with contextlib.suppress(Exception):
                client.get_run(resume)
                client.update_run(resume, status="RUNNING")
                return Run(store, resume)
        run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
        started = Run(store, run.info.run_id)
        for key, value in _flat(params).items():
            client.log_param(started.id, key, value)
        return started
    except Exception as error:  # tracking must never stop the work
        _warn(error)
        return Run(store, None)


def of_model(meta: Mapping[str, Any]) -> Run:
    """The run that trained a model, from its meta.json, so that evaluate and render log into it."""
    store, run_id = uri(), meta.get("mlflow_run_id")
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).is_file():
        run_id = None  # the model came from elsewhere: there is nothing to log into, and no store to be made for it
    if run_id is not None:
        try:
            with _alone(store):
                _mlflow(store).MlflowClient(store).get_run(run_id)
        except Exception:  # trained on another machine, or the store is away
            run_id = None
    return Run(store, run_id)


def _alone(store: str) -> contextlib.AbstractContextManager:
    """The lock under which a SQLite store is opened for the first time; a server needs none."""
    return FileLock(".mlflow.lock") if store.startswith("sqlite") else contextlib.nullcontext()


def _prepared(store: str, experiment: str) -> str:
    """Id of the experiment; the store is created and migrated by one process at a time."""
    mlflow = _mlflow(store)
    with _alone(store):
        client = mlflow.MlflowClient(store)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return found.experiment_id
        # A server places artifacts itself; a store of our own gets a folder beside it.
        location = (Path(_ARTIFACTS).absolute() / experiment).as_uri() if store.startswith("sqlite") else None
        return client.create_experiment(experiment, artifact_location=location)


def _mlflow(store: str) -> Any:
    """MLflow, imported when first needed (it takes a second) and told its store."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    if not store.startswith("sqlite"):
        # A server that is away must not hold a training up for MLflow's default of some minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    import mlflow

    for talkative in ("alembic", "mlflow", "torch.export", "torch._export"):
        logging.getLogger(talkative).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="mlflow")
    warnings.filterwarnings("ignore", module="torch.export")
    mlflow.set_tracking_uri(store)
    return mlflow


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits, _ - . space : and /; the @ of mse_ab@128 becomes a dot."""
    return name.replace("@", ".")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _warn(error: Exception) -> None:
    print(
        f"MLflow is away, the work goes on without it: {type(error).__name__}: {' '.join(str(error).split())[:200]}",
        file=sys.stderr,
    )
