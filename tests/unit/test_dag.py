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

from kinemacolor import dag, dvc_yaml, models, params
from kinemacolor.errors import UserError

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/params.yaml"
STAGES = [
    *("download", "sync", "pieces", "frames", "split", "filter", "motion", "weights", "embed"),
    *("train", "precolour", "external", "evaluate", "render", "compare", "report"),
]
NO_FAMILIES = {
    *("__init__", "coding", "running", "needs", "bins", "discriminators"),
    *("encoders", "encoder_base", "mobile_encoders"),
}
"""Modules of models/ that families stand on."""


def asking(**changes):
    """The default document with a film whose models ask for weights, embeddings and another model's colours."""
    document = params.read_document(GOLDEN)
    about = {"architecture": "vgg16", "path": "vgg16.bin", "sha256": "0" * 64, "licence": "none"}
    document["weights"] |= {"given": about, "other": about, "unused": about}
    document["models"] = {
        "first": {"family": "lab_unet"},
        "second": {"family": "alexnet_prev", "precoloured_by": "first"},
        "warm": {"family": "vgg16_lab", "pretrained": "given"},
        "fused": {"family": "koalarization", "options": {"embedding": "vgg16"}, "pretrained": "other"},
        "idle": {"family": "alpha", "pretrained": "unused"},
    } | changes
    document["experiments"] = {"freedoom": ["second", "warm", "fused"]}
    return document


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("stage", STAGES)
def test_a_closure_holds_every_module_that_the_stage_really_imports(stage):
    families = ["lab_unet"] if stage in ("train", "precolour", "evaluate", "render", "compare") else []
    code = (
        f"import json, sys, kinemacolor.stages.{stage}\n"
        + "".join(f"from kinemacolor import models; models.family({name!r})\n" for name in families)
        + "print(json.dumps(sorted({m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'kinemacolor' and m.__file__})))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    imported = {Path(name).relative_to(ROOT) for name in json.loads(printed.splitlines()[-1])}
    declared = set(dag.closure(f"kinemacolor.stages.{stage}", families))
    assert imported <= declared
    # What is declared and not imported at once is imported inside a function, or is no Python.
    assert all(path.is_file() for path in declared)


def test_editing_one_network_concerns_the_models_of_its_file_alone():
    closures = dag.closures_of(params.load(GOLDEN))
    unet = Path("src/kinemacolor/models/lab_unet.py")
    assert {name for name, files in closures.items() if unet in files} == {
        "train-lab_unet",
        "precolour-lab_unet",
        "evaluate-lab_unet",
        "render-lab_unet",
        "compare-bunny",
    }


def test_no_shared_module_imports_a_family():
    """A family imported from shared code would train every model again whenever it is edited."""
    families = {f"kinemacolor.models.{module}" for module in models.MODULES.values()}
    for path in sorted((ROOT / "src/kinemacolor").rglob("*.py")):
        if path.parent.name != "models" or path.stem in NO_FAMILIES:
            assert not dag._imports(path) & families, path


def test_families_that_embed_are_known_without_importing_them():
    embedding = {name for name in models.MODULES if models.family(name).embeds}
    assert embedding == models.EMBEDS


def test_a_training_is_given_what_its_section_asks_for():
    assert dag.asked_for(params.check(asking())) == {
        ("freedoom", "second"): {"coloured": "data/coloured/freedoom/first", "before": "data/models/freedoom/first"},
        ("freedoom", "warm"): {"weights": "data/weights/given"},
        ("freedoom", "fused"): {"weights": "data/weights/other", "embeddings": "data/embeddings/freedoom/other"},
        ("freedoom", "first"): {},
    }
    with pytest.raises(UserError, match=r"models.fused.pretrained is missing: 'koalarization' sees an embedding"):
        dag.asked_for(params.check(asking(fused={"family": "koalarization"})))


def test_who_runs_a_precoloured_model_runs_the_other_too():
    closures = dag.closures_of(params.check(asking()))
    first, second = Path("src/kinemacolor/models/lab_unet.py"), Path("src/kinemacolor/models/previous.py")
    holding = {name for name, files in closures.items() if first in files}
    both = {"evaluate-second", "render-second", "precolour-second", "compare-freedoom"}
    assert holding == both | {"train-first", "evaluate-first", "render-first", "precolour-first"}
    assert all(second in closures[name] for name in both | {"train-second"})


def test_a_better_player_of_games_fetches_no_film_again():
    closures = dag.closures_of(params.load(GOLDEN))
    names = {source: {path.name for path in closures[f"download-{source}"]} for source in ("bunny", "freedoom")}
    assert "explorer.py" in names["freedoom"] and "fetch.py" not in names["freedoom"]
    assert {"fetch.py", "prints.py"} <= names["bunny"] and "explorer.py" not in names["bunny"]


def test_a_build_is_not_recorded_under_values_or_code_that_changed_meanwhile(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "tests/golden/params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dag, "__file__", str(tmp_path / "src/kinemacolor/dag.py"))
    manifest = dag.write_manifest(params.load(), tmp_path)
    dag.write_slices(params.slices(params.load()))
    dag.refuse_changed(manifest)
    # Another build has run meanwhile, under other values.
    (tmp_path / ".params/filter-bunny.json").write_text('{"grey": 9}')
    with pytest.raises(UserError, match=r"^\.params/filter-bunny\.json holds other values than params\.yaml"):
        dag.refuse_changed(manifest)
    dag.write_slices(params.slices(params.load()))
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
        "dvc_yaml": 5,
        "dvc_figures": 5,
        "misfits": 5,
        "stages": 4,
        "training": 3,
        "frames": 3,
        "metrics": 3,
        "evaluation": 3,
        "colorize": 3,
        "comparison": 3,
        "stills": 3,
        "wholefilm": 3,
        "footage": 3,
        "placing": 3,
        "training_size": 3,
        "overview": 3,
        "findings": 3,
    }
    floor |= {
        "models": 2,
        "media": 2,
        "pretrained": 2,
        "align": 2,
        "colour": 1,
        "lab_kernels": 1,
        "lab_values": 1,
        "compiled": 1,
        "report": 2,
        "tracking": 2,
        "mlflow_store": 2,
        "params": 1,
        "cores": 0,
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
            if target not in floor:
                assert target == "__version__", f"{name} imports {imported}, which stands on no floor: give it one"
                continue
            assert floor[target] <= floor[room], f"{name} imports {imported}, which stands above it"
            if room == "stages" and target == "stages":
                assert imported == "kinemacolor.stages", f"{name} imports another stage: {imported}"
            if room == "models":
                assert target in ("models", "colour", "errors", "__init__"), f"models/ knows no files: {name} imports {imported}"
            if room == "media":
                assert target not in ("colour", "align", "models"), f"media/ knows no colour: {name} imports {imported}"
            if room == "params":
                assert target in ("params", "__init__"), f"params/ imports nothing else of ours: {name} imports {imported}"


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


def test_slices_of_a_preset_leave_those_of_params_yaml_alone(tmp_path):
    values = params.slices(params.load(GOLDEN))
    dag.write_slices(values, tmp_path)
    dag.write_slices({"split-casablanca": {"kind": "other"}}, tmp_path, alone=False)
    assert {path.stem for path in tmp_path.iterdir()} == {*values, "split-casablanca"}


def test_no_slice_changes_under_a_build(tmp_path):
    folder, locks = tmp_path / "slices", tmp_path / "locks"
    dag.write_slices({"a": {"x": 1}, "b": {"x": 1}}, folder, locks=locks)
    locks.mkdir()
    dag.write_slices({"a": {"x": 2}}, folder, locks=locks)
    assert [path.name for path in folder.iterdir()] == ["a.json"], "an empty folder is no lock"
    (locks / "0.input.lock").write_text("data/raw/bunny")
    before = (folder / "a.json").stat().st_mtime_ns
    dag.write_slices({"a": {"x": 2}}, folder, locks=locks)
    with pytest.raises(
        UserError, match=r"^Another build is running, and .*a\.json would change under it: .* `snakemake --unlock`\.$"
    ):
        dag.write_slices({"a": {"x": 3}, "new": {}}, folder, locks=locks)
    assert [path.name for path in folder.iterdir()] == ["a.json"] and (folder / "a.json").stat().st_mtime_ns == before
    dag.write_slices({"new": {}}, folder, locks=locks)
    assert {path.name for path in folder.iterdir()} == {"a.json", "new.json"}, "nothing goes while a build runs"
    dag.write_slices({"a": {"x": 3}, "other": {}}, folder, locks=locks, unlocking=True)
    assert json.loads((folder / "a.json").read_text()) == {"x": 2} and (folder / "other.json").is_file()


def test_the_report_of_a_preset_has_a_slice_of_its_own():
    chosen = params.load(GOLDEN)
    default, preset = params.slices(chosen), params.slices(chosen, preset="film")
    assert preset.keys() - default.keys() == {"report-film"} and default.keys() - preset.keys() == {"report"}
    assert preset["report-film"] == default["report"]


def test_which_params_file_a_build_goes_by(tmp_path):
    default = (Path("params.yaml"), None)
    assert dag.params_file([], {}) == default
    assert dag.params_file([ROOT / "params.yaml"], {}) == default
    assert dag.params_file([ROOT / "presets/film.yaml"], {}) == (Path("presets/film.yaml"), "film")
    assert dag.params_file([tmp_path / "My own.2.yml"], {}) == (tmp_path / "My own.2.yml", "my_own_2")
    with pytest.raises(UserError, match=r"--configfile names 2 files"):
        dag.params_file([ROOT / "a.yaml", ROOT / "b.yaml"], {})
    with pytest.raises(UserError, match=r"--config cannot set 'epochs'"):
        dag.params_file([], {"epochs": 3})


def test_dvc_yaml_describes_the_stages_of_the_snakefile():
    """Parity: written from Snakemake's own DAG, so a difference means that `kinemacolor dag` was forgotten."""
    assert dvc_yaml.written() == (ROOT / "dvc.yaml").read_text(), "run `kinemacolor dag`"
    described = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    chosen = params.load(ROOT / "params.yaml")
    expected = {"dag", "report"}
    for dataset, names in chosen.experiments.items():
        expected |= {f"{stage}-{dataset}" for stage in ("split", "filter", "compare")}
        expected |= {f"{stage}-{dataset}-{name}" for stage in ("evaluate", "render") for name in names}
        expected |= {f"train-{dataset}-{name}" for name in chosen.trained[dataset]}
        expected |= {f"weights-{weights}" for weights in chosen.measured_with[dataset].values()}
        expected |= {f"{stage}-{dataset}-{name}" for name in chosen.shown_beside[dataset] for stage in ("external", "evaluate")}
        for name in chosen.trained[dataset]:
            model = chosen.models[name]
            expected |= {f"weights-{model.pretrained}"} if model.pretrained else set()
            expected |= {f"embed-{dataset}-{model.pretrained}"} if model.family in models.EMBEDS else set()
            expected |= {f"precolour-{dataset}-{model.precoloured_by}"} if model.precoloured_by else set()
        for source in chosen.datasets[dataset].sources:
            expected |= {f"download-{source}", f"frames-{dataset}-{source}"}
            expected |= {f"motion-{dataset}-{source}"} if dag.moves(chosen, dataset, source) else set()
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
    assert dvc_yaml.param_keys(document, "train-bunny-lab_unet") == ["models.lab_unet"]
    assert dvc_yaml.param_keys(asking(), "weights-given") == ["weights.given"]
    assert dvc_yaml.param_keys(document, "") == [], "embed and precolour have no values of their own"
    assert dvc_yaml.param_keys(document, "split-bunny") == ["datasets.bunny.split"]
    assert "sources.casablanca.sync" not in dvc_yaml.param_keys(document, "download-casablanca")


def in_pieces(count):
    """The default document, the frames of one dataset taken in `count` pieces; None leaves the key out."""
    document = params.read_document(GOLDEN)
    if count is not None:
        document["datasets"]["bunny"]["frames"]["pieces"] = count
    return document


def test_dvc_does_not_know_how_many_pieces_there_are():
    def shape(document):
        return dvc_yaml.shape(document, params.check(document))

    frames = in_pieces(3)["datasets"]["bunny"]["frames"]
    keys = dvc_yaml.param_keys(in_pieces(3), "frames-bunny")
    assert keys == [f"datasets.bunny.frames.{name}" for name in frames if name != "pieces"]
    assert dvc_yaml.param_keys(in_pieces(None), "frames-bunny") == ["datasets.bunny.frames"]
    assert shape(in_pieces(3)) == shape(in_pieces(1)) != shape(in_pieces(None))


def test_pieces_depend_on_what_frames_depend_on():
    chosen = params.check(in_pieces(3))
    closures = dag.closures_of(chosen)
    assert "pieces-freedoom" not in closures and dag.pieces_of(chosen, "freedoom", "freedoom") == 0
    own = {Path("src/kinemacolor/stages/pieces.py")}
    assert set(closures["pieces-bunny"]) - own <= set(closures["frames-bunny"])
    assert dag.pieces_of(chosen, "bunny", "bunny") == 3
    # How pairs are cut is no matter of games, nor how clips are taken one of either.
    names = {source: {path.name for path in closures[f"frames-{source}"]} for source in ("bunny", "freedoom")}
    assert "pairs.py" in names["bunny"] and "pairs.py" not in names["freedoom"]
    assert not {"in_order.py", "photographs.py"} & (names["bunny"] | names["freedoom"])


SPREAD = """
import json
from pathlib import Path

COUNT = json.loads(Path(".params/pieces-bunny.json").read_text())["pieces"] if Path(".params/pieces-bunny.json").is_file() else 1


rule frames:
    input:
        params=".params/frames-bunny.json",
        pieces=[f"data/pieces/bunny/bunny/{piece}" for piece in range(COUNT if COUNT > 1 else 0)],
    output:
        directory("data/frames/bunny/bunny"),
    shell:
        "mkdir {output}"


rule pieces:
    input:
        ".params/pieces-bunny.json",
    output:
        temp(directory("data/pieces/bunny/bunny/{piece}")),
    shell:
        "mkdir {output}"
"""


def test_another_number_of_pieces_makes_nothing_again(tmp_path, monkeypatch):
    """Snakemake itself says so, of rules as those of workflow/rules/frames.smk."""
    monkeypatch.chdir(tmp_path)
    Path("Snakefile").write_text(SPREAD)

    def snakemake(*more):
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *more, "data/frames/bunny/bunny"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def write(count, **changed):
        document = in_pieces(count)
        document["datasets"]["bunny"]["frames"].update(changed)
        chosen = params.check(document)
        spread = dag.respread(chosen)
        dag.write_slices(params.slices(chosen), respread=spread)
        assert dag.respread(chosen) == []
        return spread

    assert write(3) == [], "there is nothing yet"
    snakemake("--nolock")
    assert Path("data/frames/bunny/bunny").is_dir() and not Path("data/pieces/bunny/bunny/0").exists()
    for count in (2, 1, 4):
        Path("data/pieces/bunny/bunny/0").mkdir(parents=True)  # as a build leaves it that was killed
        assert write(count) == ["bunny"]
        assert not Path("data/pieces/bunny").exists()
        assert "Nothing to be done" in snakemake()
    assert write(4, every=7) == []
    assert "updated input files" in snakemake("--dry-run").lower(), "another value does"


def test_a_dry_run_looks_at_frames_in_the_pieces_that_they_were_taken_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    once, thrice = params.check(in_pieces(1)), params.check(in_pieces(3))
    assert dag.as_taken(thrice) == thrice
    Path("data/frames/bunny/bunny").mkdir(parents=True)
    assert dag.respread(once) == [] and dag.respread(thrice) == ["bunny"]
    assert dag.as_taken(thrice) == once
    dag.write_slices(params.slices(thrice), respread=["bunny"])  # nothing was recorded: there is nothing to forget
    assert dag.respread(thrice) == [] and dag.respread(once) == ["bunny"]
    assert dag.as_taken(once) == thrice
    # A preset, which removes no slices else, has it right as well.
    dag.write_slices(params.slices(once), alone=False, respread=["bunny"])
    assert dag.respread(once) == [] and Path(".params/frames-bunny.json").is_file()


def test_the_memory_of_pieces_goes_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data/frames/bunny/bunny").mkdir(parents=True)
    once, thrice = params.check(in_pieces(1)), params.check(in_pieces(3))
    dag.write_slices(params.slices(thrice))
    Path(".snakemake").write_text("so that Snakemake fails")
    with pytest.raises(UserError, match=r"^Snakemake could not forget from how many pieces data/frames/bunny/bunny was made \("):
        dag.write_slices(params.slices(once), respread=dag.respread(once))
    assert dag.respread(once) == ["bunny"], "the next run tries again"
    Path(".snakemake").unlink()
    Path(".snakemake/locks").mkdir(parents=True)
    Path(".snakemake/locks/0.output.lock").touch()
    with pytest.raises(UserError, match=r"Another build is running, and \.params/pieces-bunny\.json would change under it"):
        dag.write_slices(params.slices(once), respread=dag.respread(once), locks=dag.LOCKS)


def test_every_change_of_what_is_built_changes_the_shape_and_no_value_does():
    def shape(document):
        return dvc_yaml.shape(document, params.check(document))

    before = shape(asking())
    assert shape(asking(first={"family": "lab_unet", "epochs": 7})) == before
    assert shape(asking(idle={"family": "beta"})) == before, "no experiment names it"
    for changed in (
        asking(first={"family": "alpha"}),
        asking(warm={"family": "vgg16_lab"}),
        asking(warm={"family": "vgg16_lab", "pretrained": "other"}),
        asking(second={"family": "alexnet_prev_own"}),
        asking(second={"family": "alexnet_prev", "precoloured_by": "warm"}),
    ):
        assert shape(changed) != before


def test_every_family_has_a_file_and_every_file_a_family():
    there = {path.stem for path in (ROOT / "src/kinemacolor/models").glob("*.py")}
    assert there - NO_FAMILIES == set(models.MODULES.values()) and there >= NO_FAMILIES
