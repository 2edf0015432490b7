"""params.yaml: what it refuses, in which words, and what its slices depend on."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from kinemacolor import params

ROOT = Path(__file__).parents[2]
# A frozen copy of the default params: a user's own entries must not fail a test.
DOCUMENT = params.read_document(ROOT / "tests/golden/params.yaml")


def changed(**changes):
    """The default document with `{"a.b.c": value}` changed; None removes the key."""
    document = copy.deepcopy(DOCUMENT)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = document
        for key in above:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return document


def test_the_params_that_ship_are_valid():
    assert params.load(ROOT / "params.yaml").experiments


def test_schema_file_is_generated_from_the_models():
    written = json.loads((ROOT / "workflow/params.schema.json").read_text())
    assert written == params.schema(), "run `kinemacolor schema`"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (changed(datasets__bunny__frames__evry=3), ["datasets.bunny.frames.evry", "unknown key"]),
        (changed(modles={}), ["modles", "unknown key"]),
        (changed(datasets__bunny__sources=["bunyn"]), ["datasets.bunny.sources", "'bunyn'", "sources"]),
        (changed(datasets__bunny__split__fractions=[0.7, 0.2, 0.2]), ["datasets.bunny.split", "1.1", "not to 1"]),
        (changed(experiments__bunny=["naive", "nave"]), ["experiments.bunny", "'nave'", "models"]),
        (changed(experiments__bunny=["naive", "naive"]), ["experiments.bunny", "twice"]),
        (changed(experiments__rabbit=["naive"]), ["experiments", "'rabbit'", "datasets"]),
        (changed(sources__bunny__colour__sha256="12"), ["sources.bunny.colour.sha256", "64 hexadecimal"]),
        (changed(sources__bunny__colour__member=["../../etc/passwd"]), ["sources.bunny.colour.member", "inside the archive"]),
        (changed(sources__wario_land_3__path="x.mp4"), ["sources.wario_land_3", "exactly one of url, path and package"]),
        (changed(sources__wario_land_3__url="file:///etc/passwd"), ["sources.wario_land_3.url", "http"]),
        (changed(models__alpha__optimiser__lr=-1), ["models.alpha.optimiser.lr", "greater than 0", "-1"]),
        (changed(datasets__bunny__frames__end=0.0), ["datasets.bunny.frames.end"]),
        (changed(sources__bunny__licence=None), ["sources.bunny.licence", "missing"]),
        ({}, ["sources", "missing"]),
        (changed(sources__video={"kind": "video", "licence": "a", "credit": "b", "url": "x"}), ["sources.video.url: must begin"]),
        (changed(models__game={"family": "alpha", "epochs": 0}), ["models.game.epochs: "]),
        (changed(models__sources={"family": "alpha", "epochs": 0}), ["models.sources.epochs: "]),
        (changed(datasets__bunny__split__sources={"video": "trian"}), ["datasets.bunny.split.sources.video: ", "'trian'"]),
        (
            changed(models__alpha__options={"width": [1]}),
            ["models.alpha.options.width: must be a number, a word, true or false ("],
        ),
        (changed(datasets__bunny__split__counts=[3, 3]), ["datasets.bunny.split: fractions and counts both stand here"]),
        (changed(datasets__bunny__split__fractions=None), ["datasets.bunny.split: needs either fractions or counts"]),
        (changed(experiments__bunny=[]), ["experiments.bunny names no model"]),
        (changed(datasets__pictures=DOCUMENT["datasets"]["bunny"]), ["datasets.pictures: reports/pictures", "another name"]),
        (changed(datasets__presets=DOCUMENT["datasets"]["bunny"]), ["datasets.presets: reports/presets", "another name"]),
    ],
)
def test_a_wrong_document_is_one_sentence_that_names_the_key(document, words):
    with pytest.raises(params.ParamsError) as caught:
        params.check(document)
    sentence = str(caught.value)
    assert sentence.startswith("params.yaml: ") and sentence.endswith(".") and "\n" not in sentence
    for word in words:
        assert word in sentence


def test_a_name_that_could_leave_its_folder_is_refused():
    document = changed()
    document["sources"]["../evil"] = document["sources"]["freedoom"]
    with pytest.raises(params.ParamsError, match=r"evil"):
        params.check(document)


def test_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("models:\n  a: {family: alpha}\n  a: {family: beta}\n")
    with pytest.raises(params.ParamsError, match="'a' stands twice"):
        params.load(path)


def test_broken_yaml_and_missing_file_name_the_file(tmp_path):
    with pytest.raises(params.ParamsError, match="is missing"):
        params.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1,")
    with pytest.raises(params.ParamsError, match=r"bad.yaml is no valid YAML"):
        params.load(tmp_path / "bad.yaml")


def test_a_learning_rate_without_a_dot_is_a_number(tmp_path):
    path = tmp_path / "params.yaml"
    document = changed(models__alpha__optimiser={"name": "adam", "lr": "RATE"})
    path.write_text(yaml.safe_dump(document).replace("RATE", "1e-4"))
    assert params.load(path).models["alpha"].optimiser.lr == 1e-4


def slices(document):
    return params.slices(params.check(document))


def differing(document):
    before, after = slices(DOCUMENT), slices(document)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_a_slice_changes_with_its_own_values_only():
    assert differing(changed(models__lab_unet__optimiser__lr=0.5)) == {"train-bunny-lab_unet"}
    assert differing(changed(datasets__bunny__filter__grey=9.0)) == {"filter-bunny"}
    assert differing(changed(datasets__bunny__render__start=3)) == {"render-bunny"}
    assert differing(changed(sources__bunny__sync={"offset": 7})) == {"sync-bunny"}
    assert differing(changed(sources__freedoom__seed=8)) == {"download-freedoom"}


def test_only_the_pieces_know_how_many_there_are():
    spread = changed(datasets__bunny__frames__pieces=3)
    assert differing(spread) == {"pieces-bunny"} and differing(changed(datasets__bunny__frames__pieces=1)) == set()
    assert slices(spread)["pieces-bunny"] == slices(spread)["frames-bunny"] | {"pieces": 3}
    with pytest.raises(params.ParamsError, match=r"datasets.bunny.frames.pieces"):
        params.check(changed(datasets__bunny__frames__pieces=0))


def test_reordered_keys_and_whole_floats_change_nothing():
    document = changed(
        models__lab_unet__optimiser={"weight_decay": 0.01, "lr": 1e-3, "name": "adamw"}, datasets__bunny__filter__black=3
    )
    document["models"] = dict(reversed(document["models"].items()))
    assert differing(document) == set()


def test_a_slice_may_be_read_as_a_section():
    """Although a default that is written out would be refused beside an address."""
    pair = {"kind": "film_pair", "licence": "l", "credit": "c", "colour": {"url": "https://a/b"}, "grey": {"path": "g.mkv"}}
    listed = {"kind": "clips", "licence": "l", "credit": "c", "list": ["a.mp4", "https://a/b", {"path": "c.mkv"}]}
    for written in (pair, listed, DOCUMENT["sources"]["bunny"], DOCUMENT["sources"]["wario_land_3"]):
        source = params.section(params.AnySource, written, "params.yaml")
        again = params.section(params.AnySource, json.loads(source.model_dump_json()), "slice")
        assert again == source
    weights = params.section(params.Weights, WEIGHTS["given"], "params.yaml")
    assert params.section(params.Weights, weights.model_dump(mode="json"), "slice") == weights
    bunny = params.section(params.AnySource, DOCUMENT["sources"]["bunny"], "params.yaml").model_dump()["colour"]
    assert bunny["archive"] == "sdist" and bunny["version"] == "2.2.1"


def test_an_unused_source_makes_no_stage():
    assert not any("casablanca" in name or "wario" in name for name in slices(DOCUMENT))


WEIGHTS = {"given": {"architecture": "vgg16", "path": "vgg16.bin", "sha256": "0" * 64, "licence": "none"}}


def test_a_model_that_colours_for_another_is_trained_but_not_compared():
    document = changed(models__alpha__precoloured_by="film_unet")
    made = slices(document)
    assert params.check(document).trained == {
        "bunny": ["naive", "film_unet", "lab_unet"],
        "freedoom": ["alpha", "beta_half", "film_unet"],
    }
    assert "train-freedoom-film_unet" in made and made["report"]["experiments"]["freedoom"] == ["alpha", "beta_half"]
    # Listed already, it keeps its place.
    document["experiments"]["freedoom"] = ["film_unet", "alpha"]
    assert params.check(document).trained["freedoom"] == ["film_unet", "alpha"]


def test_weights_have_a_slice_if_a_trained_model_begins_with_them():
    unasked = changed(weights=DOCUMENT["weights"] | WEIGHTS)
    assert slices(unasked) == slices(DOCUMENT)
    document = changed(
        weights=DOCUMENT["weights"] | WEIGHTS, models__film_unet__pretrained="given", models__alpha__precoloured_by="film_unet"
    )
    document["experiments"] = {"freedoom": ["alpha"]}
    assert slices(document)["weights-given"]["architecture"] == "vgg16"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (changed(models__alpha__pretrained="given"), ["models.alpha.pretrained", "'given'", "weights"]),
        (changed(models__alpha__precoloured_by="nobody"), ["models.alpha.precoloured_by", "'nobody'", "models"]),
        (changed(models__alpha__precoloured_by="alpha"), ["models.alpha.precoloured_by", "precoloured itself"]),
        (
            changed(models__alpha__precoloured_by="beta_half", models__beta_half__precoloured_by="alpha"),
            ["precoloured_by", "precoloured itself"],
        ),
        (changed(weights={"given": WEIGHTS["given"] | {"url": "https://a/b"}}), ["weights.given", "exactly one"]),
        (
            changed(weights={"given": WEIGHTS["given"] | {"member": ["a"]}}),
            ["weights.given: member would be ignored beside path"],
        ),
        (changed(weights={"given": WEIGHTS["given"] | {"architecture": "vgg19"}}), ["weights.given.architecture", "vgg19"]),
        (changed(models__alpha__loss="none"), ["models.alpha.loss", "nothing to minimise"]),
        (changed(models__alpha__loss={"name": "l1", "gann": {}}), ["models.alpha.loss.gann", "unknown key"]),
        (changed(models__alpha__schedule="sine"), ["models.alpha.schedule", "sine"]),
        (changed(models__alpha__epochs=3, models__alpha__images=[1, 4]), ["models.alpha: images names epoch 4", "from 1 to 3"]),
        (changed(models__alpha__images=[0]), ["models.alpha: images names epoch 0"]),
    ],
)
def test_a_wrong_section_of_a_model_is_one_sentence(document, words):
    test_a_wrong_document_is_one_sentence_that_names_the_key(document, words)


def test_a_loss_and_a_schedule_may_be_a_name():
    named = params.check(changed(models__alpha__loss="l1", models__alpha__schedule="step")).models["alpha"]
    written = params.check(changed(models__alpha__loss={"name": "l1"}, models__alpha__schedule={"name": "step"})).models["alpha"]
    assert named == written


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"shift": [float("nan"), 0]}, ["shift.0", "finite"]),
        ({"shift": [0, 1e9]}, ["shift.1", "8192"]),
        ({"contrast": float("inf")}, ["contrast", "finite"]),
        ({"contrast": 1e6}, ["contrast", "50"]),
        ({"gamma": 1e-9}, ["gamma", "0.05"]),
        ({"turn": float("nan")}, ["turn", "finite"]),
        ({"paint": float("nan")}, ["paint", "finite"]),
        ({"height": 1_000_000}, ["height", "8192"]),
        ({"width": 100_000}, ["width", "8192"]),
        ({"intro_frames": 1e14}, ["intro_frames", "10000000"]),
        ({"hold": [{"at": 0, "frames": 10**14}]}, ["hold.0.frames", "10000000"]),
        ({"remove": [[0, 10**15]]}, ["remove", "10000000"]),
        ({"frame_rate": 23.976}, ["frame_rate", "24000/1001", "23.976"]),
        ({"frame_rate": float("nan")}, ["frame_rate", "exact"]),
        ({"frame_rate": 0}, ["frame_rate", "from 1 to 240"]),
        ({"frame_rate": True}, ["frame_rate"]),
        ({"frame_rate": "1e999999999"}, ["frame_rate", "from 1 to 240"]),
        ({"frame_rate": "25/0"}, ["frame_rate", "from 1 to 240"]),
    ],
)
def test_absurd_recipes_are_refused(values, words):
    with pytest.raises(params.ParamsError) as caught:
        params.section(params.Recipe, values, "recipe.yaml")
    sentence = str(caught.value)
    assert sentence.startswith("recipe.yaml: ") and sentence.endswith(".") and "\n" not in sentence
    for word in words:
        assert word in sentence


def test_a_whole_frame_rate_may_be_a_number():
    for given in (25, 25.0, "25"):
        assert params.Recipe(frame_rate=given).frame_rate == "25"
    assert params.Recipe(frame_rate="24000/1001").frame_rate == "24000/1001"
    kinds = params.schema()["$defs"]["Recipe"]["properties"]["frame_rate"]["anyOf"]
    assert {kind["type"] for kind in kinds} == {"string", "integer", "null"}
