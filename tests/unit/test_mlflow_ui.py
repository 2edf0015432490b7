"""MLflow's own pages in a real browser: runs fold below their dataset, and two of them compare by the names of metrics.json."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from urllib.parse import quote

import pytest
from PIL import Image

from kinemacolor import tracking
from tests.unit.browsing import chromium

FIGURES = {"first": 20.5, "second": 24.25}


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def served(tmp_path_factory, browser):
    """A server over a store with two models of one dataset: its address, the experiment's id and the runs' by name."""
    folder = tmp_path_factory.mktemp("served")
    store = f"sqlite:///{folder}/mlflow.db"
    Image.new("RGB", (64, 32), (200, 80, 40)).save(folder / "poster.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", store)
        runs = {}
        for name, figure in FIGURES.items():
            run = tracking.start("film", name, params={"family": name, "epochs": 2}, tags={"model": name})
            for epoch in (1, 2):
                run.metrics({"val_loss": 1 / epoch / figure}, step=epoch)
            run.evaluation(
                {"val": {"psnr_rgb": figure, "mse_ab@128": 1 / figure}}, {"val": {"psnr_rgb": [figure - 1, figure + 1]}}
            )
            run.image(folder / "poster.png", "poster")
            run.end()
            runs[name] = run.id
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", port, "--workers", "1"]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            for line in server.stdout:
                log.write(line)
                if "Application startup complete" in line:
                    break
            assert server.poll() is None, (folder / "log").read_text()
            # A pipe that nobody reads would stop it.
            reader = threading.Thread(target=log.writelines, args=[server.stdout], daemon=True)
            reader.start()
            yield f"http://127.0.0.1:{port}", "1", runs
        finally:
            # It has started others, and would wait ten seconds for the browser's last connection.
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        reader.join()


def test_two_models_are_compared_by_the_names_of_their_figures(served, browser):
    address, experiment, runs = served
    chosen = quote(json.dumps(list(runs.values())))
    page = browser.new_page(viewport={"width": 1400, "height": 1600})
    page.goto(f"{address}/#/compare-runs?runs={chosen}&experiments={quote(json.dumps([experiment]))}")
    page.get_by_text("val/psnr_rgb").first.wait_for()
    for name, figure in FIGURES.items():
        assert page.get_by_text(name, exact=True).count() and page.get_by_text(str(figure), exact=True).count()
    assert page.get_by_text("val/interval/psnr_rgb.low").count()


def test_the_charts_of_all_models_are_one_click_away(served, browser):
    address, experiment, _ = served
    page = browser.new_page(viewport={"width": 1400, "height": 1600})
    page.goto(f"{address}/#/experiments/{experiment}/runs")
    page.get_by_role("link", name="film", exact=True).first.wait_for()
    assert not page.get_by_role("link", name="first", exact=True).count(), "models are folded below their dataset"
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Charts of all models").first.click()
    charts = opened.value
    charts.get_by_text("val/psnr_rgb", exact=True).first.wait_for()
    for name in FIGURES:
        assert charts.get_by_role("link", name=name, exact=True).count()
