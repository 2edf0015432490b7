"""The presets: params files of the five projects at their own settings. Each is whole, fits its networks, and can be run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kinemacolor import dag, models, params
from kinemacolor.models import multiple_of, side_of
from kinemacolor.models.discriminators import build_discriminator
from kinemacolor.training.losses import Objective

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
PROJECTS = {"games", "film", "recurrent", "photos", "previous"}
DEFAULT_BUILD = {"naive", "film_unet", "lab_unet", "alpha", "beta_half"}
"""Models that params.yaml trains by default, for fewer or more epochs than their projects did."""


@pytest.fixture(params=PRESETS, ids=lambda path: path.stem)
def preset(request) -> Path:
    return request.param


def trained(chosen: params.Params) -> list[tuple[str, params.Dataset, str, params.Model]]:
    return [
        (dataset, chosen.datasets[dataset], name, chosen.models[name])
        for dataset, names in chosen.trained.items()
        for name in names
    ]


def test_every_project_has_one():
    assert {path.stem for path in PRESETS} >= PROJECTS


def test_nothing_in_it_is_unused(preset):
    chosen = params.load(preset)
    used = trained(chosen)
    assert {name for _, _, name, _ in used} == set(chosen.models)
    assert set(chosen.experiments) == set(chosen.datasets)
    assert {source for dataset in chosen.datasets.values() for source in dataset.sources} == set(chosen.sources)
    assert {model.pretrained for _, _, _, model in used} - {None} == set(chosen.weights)


def test_every_network_can_be_built_with_its_options_loss_and_size(preset):
    for dataset, settings, name, model in trained(params.load(preset)):
        family = models.family(model.family)
        with torch.device("meta"):
            network = models.build(model.family, model.options)
        crop = model.crop or settings.augment.crop
        size = (crop, crop) if crop else settings.frames.height_width
        assert all(side % multiple_of(network, family) == 0 for side in size), (dataset, name, size)
        assert all(crop <= side for side in settings.frames.height_width) if crop else True, (dataset, name)
        side = side_of(network, family)
        assert side is None or set(size) == {side}, (dataset, name, size)
        window = model.window or (8 if family.memory in ("own", "state") else 1)
        Objective(model.loss, family.coding, window=window)
        assert model.batch_size % window == 0, (dataset, name)
        if model.loss.gan is not None:
            channels = family.coding.channels[1] + model.loss.gan.conditional
            with torch.device("meta"):
                build_discriminator(model.loss.gan.discriminator, channels=channels, size=size, layers=model.loss.gan.layers)
        assert (model.precoloured_by is not None) == (family.memory == "coloured"), (dataset, name)


def test_weights_are_those_of_the_network_that_begins_with_them(preset):
    chosen = params.load(preset)
    for _, _, name, model in trained(chosen):
        if model.pretrained is not None:
            with torch.device("meta"):
                network = models.build(model.family, model.options)
            assert network.architecture == chosen.weights[model.pretrained].architecture, name
    assert dag.asked_for(chosen)


@pytest.mark.parametrize("name", sorted(PROJECTS))
def test_params_yaml_says_the_same_of_what_both_describe(name):
    """params.yaml holds every model of the projects; where a preset says another thing, one of them was forgotten."""
    preset, default = params.load(ROOT / f"presets/{name}.yaml"), params.load(ROOT / "params.yaml")
    for section in ("sources", "datasets", "weights", "models"):
        assert set(getattr(preset, section)) <= set(getattr(default, section))
        here, there = getattr(preset, section), getattr(default, section)
        for key in here.keys() - (DEFAULT_BUILD if section == "models" else set()):
            assert here[key] == there[key], f"{section}.{key}"
    for key in preset.models.keys() & DEFAULT_BUILD:
        assert preset.models[key].model_copy(update={"epochs": 1, "batch_size": 1}) == default.models[key].model_copy(
            update={"epochs": 1, "batch_size": 1}
        )


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Path:
    """The workflow without any data."""
    folder = tmp_path_factory.mktemp("workflow")
    for name in ("workflow", "presets"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("Snakefile", "params.yaml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def dry_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", *(arguments or ("all",)), "--dry-run"]
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def jobs(text: str) -> set[str]:
    """`rule-wildcards` of every job."""
    found = re.findall(r"^(?:local)?rule (\w+):\n(.*?)(?=^\[|^Job stats|\Z)", text, re.MULTILINE | re.DOTALL)
    keys = (re.findall(r"^    wildcards: (.*)$", block, re.MULTILINE) for _, block in found)
    return {
        "-".join([rule, *(pair.split("=")[1] for line in key for pair in line.split(", "))])
        for (rule, _), key in zip(found, keys, strict=True)
    }


def test_snakemake_takes_it_as_its_configuration(preset, workflow):
    written = re.findall(r"^#   snakemake (.*)$", preset.read_text(), re.MULTILINE)
    assert len(written) == 1, "its head says how to run it"
    done = dry_run(workflow, *written[0].split())
    assert done.returncode == 0, done.stderr
    chosen = params.load(preset)
    planned = jobs(done.stdout + done.stderr)
    assert {job for job in planned if job.startswith("train-")} == {
        f"train-{dataset}-{name}" for dataset, _, name, _ in trained(chosen)
    }
    assert {job for job in planned if job.startswith("evaluate-")} == {
        f"evaluate-{dataset}-{name}" for dataset, names in chosen.experiments.items() for name in names
    }
    assert {job for job in planned if job.startswith("weights-")} == {f"weights-{name}" for name in chosen.weights}
    assert {job for job in planned if job.startswith("precolour-")} == {
        f"precolour-{dataset}-{model.precoloured_by}" for dataset, _, _, model in trained(chosen) if model.precoloured_by
    }
    assert "record" not in planned, "dvc.lock describes params.yaml"
    if written[0].split()[2] == "all":
        assert f"reports/presets/{preset.stem}/index.html" in done.stdout + done.stderr
        assert re.search(rf"reports/(?!presets/{preset.stem}/)", done.stdout + done.stderr) is None, (
            "git passes over a preset's figures"
        )
    there = {path.stem for path in (workflow / ".params").iterdir()}
    assert there >= set(params.slices(chosen, preset=preset.stem)) and "report" not in there, (
        "the default page's slice never flips"
    )


def test_while_a_build_runs_its_slices_stay(workflow, tmp_path):
    root = tmp_path / "locked"
    shutil.copytree(workflow, root, ignore=shutil.ignore_patterns(".snakemake", ".params"))
    assert dry_run(root, "all").returncode == 0
    (root / ".snakemake/locks").mkdir(exist_ok=True)
    (root / ".snakemake/locks/0.output.lock").write_text("data/raw/bunny\n")
    assert dry_run(root, "all").returncode == 0, "`record` asks for a dry run while its own build holds the lock"
    assert dry_run(root, "all", "--configfile", "presets/film.yaml").returncode == 0, "it shares no slice"
    before = (root / ".params/train-bunny-lab_unet.json").read_text()
    (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("weight_decay: 0.01 ", "weight_decay: 0.5 "))
    refused = dry_run(root, "all")
    assert refused.returncode != 0 and "Traceback" not in refused.stderr
    assert (
        "Another build is running, and .params/train-bunny-lab_unet.json would change under it" in refused.stdout + refused.stderr
    )
    unlocked = subprocess.run([sys.executable, "-m", "snakemake", "--unlock"], cwd=root, capture_output=True, text=True)
    assert unlocked.returncode == 0, unlocked.stderr
    assert (root / ".params/train-bunny-lab_unet.json").read_text() == before
    assert dry_run(root, "all").returncode == 0
    assert (root / ".params/train-bunny-lab_unet.json").read_text() != before


def test_a_training_takes_the_gpus_of_its_model(workflow, tmp_path):
    root = tmp_path / "gpus"
    shutil.copytree(workflow, root, ignore=shutil.ignore_patterns(".snakemake", ".params"))
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("    family: lab_unet\n", "    family: lab_unet\n    devices: 2\n"))
    (root / "nvidia-smi").write_text("#!/bin/sh\n")
    (root / "nvidia-smi").chmod(0o755)
    command = [sys.executable, "-m", "snakemake", "data/models/bunny/lab_unet", "data/models/bunny/naive", "--dry-run"]
    environment = os.environ | {"PATH": f"{root}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([*command, "--resources", "gpu=4"], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    blocks = re.findall(r"^rule train:\n(.*?)(?=^\[|^Job stats|\Z)", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
    assert {re.search(r"model=(\w+)", block)[1]: int(re.search(r"gpu=(\d+)", block)[1]) for block in blocks} == {
        "lab_unet": 2,
        "naive": 1,
    }


def test_a_learning_rate_without_a_dot_is_a_number_in_a_preset_too(workflow):
    text = (workflow / "presets/film.yaml").read_text().replace("lr: 0.0001", "lr: 1e-4")
    assert "lr: 1e-4" in text
    (workflow / "mine.yaml").write_text(text)
    done = dry_run(workflow, "all", "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert '"lr":0.0001' in (workflow / ".params/train-casablanca-film_unet.json").read_text().replace(" ", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: {a: {family: alpha}, a: {family: beta}}", ["mine.yaml: the key 'a' stands twice"]),
        ("modles: {}", ["mine.yaml: modles: unknown key"]),
    ],
)
def test_a_wrong_preset_is_one_sentence_that_names_it(workflow, text, words):
    (workflow / "mine.yaml").write_text(text)
    done = dry_run(workflow, "all", "--configfile", "mine.yaml")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    for word in words:
        assert word in done.stdout + done.stderr


def test_single_values_on_the_command_line_are_refused(workflow):
    done = dry_run(workflow, "all", "--config", "epochs=3")
    assert done.returncode != 0 and "--config cannot set 'epochs'" in done.stdout + done.stderr
