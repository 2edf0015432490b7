"""The DAG's own promises: closures are what Python really imports, and dvc.yaml is what the Snakefile says."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kinemacolor import dag, models, params
from kinemacolor.errors import UserError

ROOT = Path(__file__).parents[2]
STAGES = ["download", "sync", "frames", "split", "filter", "train", "evaluate", "render", "compare", "report"]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("stage", STAGES)
def test_a_closure_holds_every_module_that_the_stage_really_imports(stage):
    families = ["lab_unet"] if stage in ("train", "evaluate", "render", "compare") else []
    code = (
        f"import json, sys, kinemacolor.stages.{stage}\nfrom kinemacolor import models\n"
        f"[models.family(name) for name in {families!r}]\n"
        "print(json.dumps(sorted({m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'kinemacolor' and m.__file__})))"
        if families
        else f"import json, sys, kinemacolor.stages.{stage}\n"
        "print(json.dumps(sorted({m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'kinemacolor' and m.__file__})))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    imported = {Path(name).relative_to(ROOT) for name in json.loads(printed.splitlines()[-1])}
    declared = set(dag.closure(f"kinemacolor.stages.{stage}", families))
    assert imported <= declared
    # What is declared and not imported at once is imported inside a function, or is no Python.
    assert all(path.is_file() for path in declared)


def test_editing_one_network_concerns_the_models_of_its_file_alone():
    closures = dag.closures_of(params.load(ROOT / "tests/golden/params.yaml"))
    unet = Path("src/kinemacolor/models/lab_unet.py")
    assert {name for name, files in closures.items() if unet in files} == {
        "train-lab_unet",
        "evaluate-lab_unet",
        "render-lab_unet",
        "compare-bunny",
    }


def test_a_better_player_of_games_fetches_no_film_again():
    closures = dag.closures_of(params.load(ROOT / "tests/golden/params.yaml"))
    names = {source: {path.name for path in closures[f"download-{source}"]} for source in ("bunny", "freedoom")}
    assert "explorer.py" in names["freedoom"] and "fetch.py" not in names["freedoom"]
    assert {"fetch.py", "prints.py"} <= names["bunny"] and "explorer.py" not in names["bunny"]


def test_a_build_is_not_recorded_under_values_or_code_that_changed_meanwhile(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests/golden/params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dag, "__file__", str(tmp_path / "src/kinemacolor/dag.py"))
    manifest = dag.write_manifest(params.load(), tmp_path)
    dag.refuse_changed(manifest)
    code = tmp_path / "src/kinemacolor/colour.py"
    os.utime(code, (0, 0))
    dag.refuse_changed(manifest)
    code.write_text(code.read_text() + "# edited\n")
    os.utime(code, (0, 0))
    with pytest.raises(UserError, match=r"colour.py changed while the build was running: run snakemake again"):
        dag.refuse_changed(manifest)
    assert code.stat().st_mtime > 1e9, "touched, so that it is newer than what was built from it"
    code.write_text((ROOT / "src/kinemacolor/colour.py").read_text())
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("lr: 0.0001", "lr: 0.7"))
    with pytest.raises(UserError, match=r"params.yaml changed"):
        dag.refuse_changed(manifest)


def test_an_import_inside_a_function_counts_and_a_type_checking_one_does_not(tmp_path, monkeypatch):
    package = tmp_path / "kinemacolor"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from kinemacolor import c\n\ndef f():\n    from kinemacolor.b import x\n"
    )
    for name in "bc":
        (package / f"{name}.py").write_text("x = 1\n")
    monkeypatch.setattr(dag, "__file__", str(package / "dag.py"))
    assert [path.name for path in dag.closure("kinemacolor.a")] == ["__init__.py", "a.py", "b.py"]


def test_floors_arrows_point_downwards_only():
    """design.md: cli > stages > what computes > what it computes with > errors and files."""
    floor = {
        "cli": 5,
        "dag": 5,
        "stages": 4,
        "training": 3,
        "frames": 3,
        "metrics": 3,
        "colorize": 3,
        "comparison": 3,
        "footage": 3,
    }
    floor |= {
        "models": 2,
        "media": 2,
        "align": 2,
        "colour": 1,
        "report": 2,
        "tracking": 2,
        "params": 1,
        "errors": 0,
        "files": 0,
        "__init__": -1,
    }
    package = ROOT / "src/kinemacolor"
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        for imported in dag._imports(path):
            target = imported.split(".")[1] if "." in imported else "__init__"
            if target not in floor:  # a name that the package itself defines
                continue
            assert floor[target] <= floor[room], f"{name} imports {imported}, which stands above it"
            if room == "stages" and target == "stages":
                assert imported == "kinemacolor.stages", f"{name} imports another stage: {imported}"
            if room == "models":
                assert target in ("models", "colour", "errors", "__init__"), f"models/ knows no files: {name} imports {imported}"
            if room == "media":
                assert target not in ("colour", "align", "models"), f"media/ knows no colour: {name} imports {imported}"
            if room == "params":
                assert target == "__init__", f"params.py imports nothing of ours, but {imported}"


def test_no_stage_is_imported_by_the_command_line_until_it_runs():
    top = ast.parse((ROOT / "src/kinemacolor/cli.py").read_text()).body
    heavy = [ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom) and "stages" in ast.unparse(node)]
    assert heavy == []
    code = "import sys, kinemacolor.cli; print([m for m in ('torch', 'mlflow', 'lightning', 'cv2', 'av', 'pandas', 'numpy') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


def test_slices_are_written_only_where_the_content_differs(tmp_path):
    values = params.slices(params.load(ROOT / "params.yaml"))
    dag.write_slices(values, tmp_path)
    times = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert set(times) == {f"{name}.json" for name in values}
    dag.write_slices(dict(reversed(values.items())), tmp_path)
    assert times == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    dag.write_slices(values | {"split-bunny": {"other": 1}}, tmp_path)
    assert json.loads((tmp_path / "split-bunny.json").read_text()) == {"other": 1}
    dag.write_slices({name: value for name, value in values.items() if name != "sync-bunny"}, tmp_path)
    assert not (tmp_path / "sync-bunny.json").exists()


def test_dvc_yaml_describes_the_stages_of_the_snakefile():
    """Parity: written from Snakemake's own DAG, so a difference means that `kinemacolor dag` was forgotten."""
    assert dag.dvc_yaml() == (ROOT / "dvc.yaml").read_text(), "run `kinemacolor dag`"
    described = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    chosen = params.load(ROOT / "params.yaml")
    expected = {"dag", "report"}
    for dataset, names in chosen.experiments.items():
        expected |= {f"{stage}-{dataset}" for stage in ("split", "filter", "compare")}
        expected |= {f"{stage}-{dataset}-{name}" for stage in ("train", "evaluate", "render") for name in names}
        for source in chosen.datasets[dataset].sources:
            expected |= {f"download-{source}", f"frames-{dataset}-{source}"}
            if chosen.sources[source].kind == "film_pair":
                expected.add(f"sync-{source}")
    assert set(described["stages"]) == expected
    assert described["stages"].pop("dag")["cmd"] == "kinemacolor dag --check"
    for name, stage in described["stages"].items():
        assert not any(isinstance(out, dict) and out.get("persist") for out in stage["outs"]), name
        rule = name.partition("-")[0]
        assert f"--allowed-rules {rule} --force" in stage["cmd"] and f"# kinemacolor {rule} " in stage["cmd"]
        closure = {path for path in stage["deps"] if path.startswith("src/")}
        assert f"src/kinemacolor/stages/{rule}.py" in closure


def test_dvc_is_told_the_keys_of_a_slice_that_stand_in_params_yaml():
    document = params.read_document(ROOT / "params.yaml")
    assert dag.param_keys(document, "train-bunny-lab_unet") == ["models.lab_unet"]
    assert dag.param_keys(document, "split-bunny") == ["datasets.bunny.split"]
    assert "sources.casablanca.sync" not in dag.param_keys(document, "download-casablanca")


def test_every_family_has_a_file_and_every_file_a_family():
    assert {path.stem for path in (ROOT / "src/kinemacolor/models").glob("*.py")} - {"__init__", "coding"} == set(
        models.MODULES.values()
    )
