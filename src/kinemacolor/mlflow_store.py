"""Where MLflow keeps what it is told: opening the store, a dataset's experiment and its run, and MLflow's own words for things.

SQLite is the default store. Processes that open a fresh SQLite store together leave it half migrated for good, so the
first one prepares it alone, under a lock, and creates the experiment with an artifact location that is said explicitly.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from filelock import FileLock, Timeout

DEFAULT_URI = "sqlite:///mlflow.db"
PARENT = "mlflow.parentRunId"
"""Tag by which the UI folds runs together."""
NOTE = "mlflow.note.content"
"""Tag that the UI shows as a run's description."""
_ARTIFACTS = "mlartifacts"
_LOCK_SECONDS = 120
"""Far longer than anybody needs the lock for: who holds it still has been stopped, or hangs."""


def uri() -> str:
    """The tracking store: MLFLOW_TRACKING_URI, or `mlflow.db` in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def opened(store: str) -> Any:
    """MLflow, imported when first needed (it takes a second) and told its store."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it is looked at by the import
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


def client_of(store: str) -> Any:
    """MLflow's client of a store."""
    return opened(store).MlflowClient(store)


def is_missing(store: str) -> bool:
    """Whether the store is a file that nobody has made yet."""
    return store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).is_file()


def serial() -> FileLock:
    """The lock of all that one process at a time may do; entering it raises filelock.Timeout when somebody keeps it too long."""
    return FileLock(".mlflow.lock", timeout=_LOCK_SECONDS)


def alone(store: str) -> contextlib.AbstractContextManager:
    """The lock under which a SQLite store is opened for the first time; a server needs none."""
    return serial() if store.startswith("sqlite") else contextlib.nullcontext()


def is_silent(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that a server did not answer, rather than what it answered."""
    while error is not None:
        if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
            return not isinstance(error, Timeout)  # a lock is no server
        error = error.__cause__ or error.__context__
    return False


def prepared(store: str, dataset: str) -> tuple[str, str]:
    """Ids of a dataset's experiment and of the run in it that stands for the dataset; both are made if they are not there."""
    with alone(store):
        client = client_of(store)
        if (found := client.get_experiment_by_name(dataset)) is not None:
            experiment = found.experiment_id
            if found.lifecycle_stage == "deleted":
                # It takes no runs, and its name is not to be had again.
                print(f"The experiment {dataset} was deleted in MLflow: it is restored, with its runs.", file=sys.stderr)
                with contextlib.suppress(Exception):  # of a server's clients another one may have done it
                    client.restore_experiment(experiment)
        else:
            # A server places artifacts itself; a store of our own gets a folder beside it.
            location = (Path(_ARTIFACTS).absolute() / dataset).as_uri() if store.startswith("sqlite") else None
            experiment = client.create_experiment(dataset, artifact_location=location)
        if (parent := _oldest(client, experiment)) is None:
            tags = {"kind": "dataset", "dataset": dataset, NOTE: about(dataset)}
            made = client.create_run(experiment, run_name=dataset, tags=tags).info.run_id
            client.set_terminated(made)
            client.set_experiment_tag(experiment, NOTE, charts(experiment))
            # Of a server's clients two may have come here together: both go by the older run, and the other one goes.
            parent = _oldest(client, experiment) or made
            if parent != made:
                client.delete_run(made)
        return experiment, parent


def _oldest(client: Any, experiment: str) -> str | None:
    """The run that stands for the dataset."""
    found = client.search_runs([experiment], "tags.kind = 'dataset'", max_results=10, order_by=["attributes.start_time ASC"])
    return min(((run.info.start_time, run.info.run_id) for run in found), default=(0, None))[1]


# -------------------------------------------------------------------------------------------- names and texts


def metric_name(name: str) -> str:
    """MLflow allows letters, digits, _ - . space : and /; the @ of mse_ab@128 becomes a dot."""
    return name.replace("@", ".")


def about(dataset: str) -> str:
    """Description of a dataset's run."""
    return (
        f"The dataset {dataset}. Every run below is one model trained on it, with its figures by part: `val/ssim`, and the bounds "
        "of the 95 % interval as `val/interval/ssim.low` and `.high`. `models/val.csv` among the artifacts holds them all.\n"
    )


def charts(experiment: str) -> str:
    """Description of an experiment: where its charts are, since the UI draws none of runs that it has folded away.

    It folds them unless it sorts by a figure.
    """
    query = {"orderByKey": "metrics.`val/mse_ab.128`", "orderByAsc": "true", "compareRunsMode": "CHART"}
    return f"[Charts of all models](#/experiments/{experiment}/runs?{urlencode(query, quote_via=quote)}), the best by validation error first."


def table(measured: Iterable[tuple[str, Mapping[str, float]]], split: str) -> str:
    """The figures of one split as CSV, a row a model, bounds of intervals beside what they bound.

    Args:
        measured: name of a run and its metrics, the newest first; of several of one name the first with figures counts.
        split: part whose figures are wanted.
    """
    rows: dict[str, dict[str, float]] = {}
    for name, metrics in measured:
        own = {key.removeprefix(f"{split}/"): value for key, value in metrics.items() if key.startswith(f"{split}/")}
        if own:
            rows.setdefault(name, {key.removeprefix("interval/"): value for key, value in own.items()})
    columns = sorted({column for figures in rows.values() for column in figures})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", *columns])
    writer.writerows([name, *(figures.get(column, "") for column in columns)] for name, figures in sorted(rows.items()))
    return text.getvalue()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as params: `optimiser.lr` -> `0.001`."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return found
