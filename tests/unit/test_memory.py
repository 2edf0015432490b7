"""Colouring with memory: the same frames, run by run, in training, in validation, in evaluation and in a film."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kinemacolor import models
from kinemacolor.colorize import Colorizer, load, misfits
from kinemacolor.colour import lab_to_rgb, lightness_of_grey, rgb_to_lab, to_uint8
from kinemacolor.errors import UserError
from kinemacolor.evaluation.painters import Network
from kinemacolor.evaluation.splits import evaluate_frames
from kinemacolor.files import read_json, sha256_of, write_json
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.loader import Batches, Material
from kinemacolor.frames.shards import ShardWriter
from kinemacolor.models import Family
from kinemacolor.models.coding import AB110, View, ab_coding
from kinemacolor.models.running import run
from kinemacolor.params import AugmentParams
from kinemacolor.stages.precolour import precolour

CPU = torch.device("cpu")
SIZE = (16, 20)


class Counting(nn.Module):
    """Recurrent: its a says how many frames its run has had, its b is a running mean of L."""

    def forward(self, x, starts, state):
        count, mean = state if state is not None else (torch.zeros(len(x)), torch.zeros(len(x), *x.shape[2:]))
        out = []
        for step in range(x.shape[1]):
            count = torch.where(starts[:, step], 0.0, count) + 1
            mean = torch.where(starts[:, step, None, None, None], 0.0, 0.5 * mean) + 0.5 * x[:, step]
            out.append(torch.cat((count[:, None, None, None].expand_as(mean) / 100, mean / 10), dim=1))
        return torch.stack(out, dim=1), (count, mean)


class Fed(nn.Module):
    """Fed with its own colours: adds .01 to the a of the frame before, and takes b from L."""

    def forward(self, x):
        return torch.cat((x[:, 1:2] + 0.01, x[:, :1] / 10), dim=1)


class Muted(nn.Module):
    """Sees another's colours: half the ab of this frame and half that of the frame before."""

    def forward(self, x):
        return (x[:, :2] + x[:, 2:]) / 2


FED = ab_coding("t", scale=110, channels=3, encode_input=lambda v: torch.cat((v.lightness / 50 - 1, v.previous[:, 1:] / 110), 1))
MUTED = ab_coding("t", scale=110, channels=4, encode_input=lambda v: torch.cat((v.coloured[:, 1:], v.previous[:, 1:]), 1) / 110)
ALONE = ab_coding("t", scale=110, encode_input=lambda v: v.lightness / 50 - 1)


class Tinting(nn.Module):
    """Colours a frame by itself."""

    def forward(self, x):
        return torch.cat((0.3 * x, -0.2 * x.roll(1, dims=-1)), dim=1)


def remembering(kind: str) -> Colorizer:
    match kind:
        case "state":
            return Colorizer(Counting(), Family(Counting, AB110, 1, "test", memory="state"), {"name": kind})
        case "own":
            return Colorizer(Fed(), Family(Fed, FED, 1, "test", memory="own"), {"name": kind})
    before = Colorizer(Tinting(), Family(Tinting, ALONE, 1, "test"), {"name": "before"})
    return Colorizer(Muted(), Family(Muted, MUTED, 1, "test", memory="coloured"), {"name": kind}, before=before)


KINDS = ["state", "own", "coloured"]


def frames(count, seed=0, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (count, 3, *size), dtype=np.uint8)


def store(folder, colour, grey=None, source="film", clips=None):
    folder.mkdir(parents=True)
    shapes = {"colour": colour.shape[1:]} | ({} if grey is None else {"grey": grey.shape[1:]})
    facts = {"every": 3, "size": list(colour.shape[2:]), "fit": "crop"}
    writer = ShardWriter(folder, source=source, shapes=shapes, shard_bytes=1 << 13, facts=facts)
    for number, picture in enumerate(colour):
        pictures = {"colour": picture} | ({} if grey is None else {"grey": grey[number]})
        extra = {} if clips is None else {"clip": clips[number]}
        extra |= {} if grey is None else {"grey_frame": 3 * number + 7, "grey_time": number / 8 + 1}
        writer.add(pictures, frame=3 * number, time=number / 8, **extra)
    writer.close()
    return FrameStore(folder)


def lightness(count=9, seed=3, size=SIZE):
    return rgb_to_lab(torch.from_numpy(frames(count, seed, size)))[:, :1].contiguous()


# ----------------------------------------------------------------------------------------------- a model in calls


@pytest.mark.parametrize("kind", KINDS)
def test_frames_in_several_calls_are_coloured_as_in_one(kind):
    grey = lightness()
    starts = torch.tensor([False, False, False, True, False, False, True, True, False])
    whole = remembering(kind)(grey, starts)
    model = remembering(kind)
    parts = [model(g, s) for g, s in zip(grey.split([2, 1, 1, 4, 1]), starts.split([2, 1, 1, 4, 1]), strict=True)]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)
    # A run is coloured as if there had been nothing before it.
    for begin, end in ((0, 3), (3, 6), (6, 7), (7, 9)):
        assert torch.allclose(remembering(kind)(grey[begin:end]), whole[begin:end], atol=1e-5)
    assert not torch.allclose(remembering(kind)(grey)[3], whole[3], atol=1e-2), "without the start it would be another"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_and_another_size_begin_anew(kind):
    model, grey = remembering(kind), lightness()
    first = model(grey)
    assert not torch.allclose(model(grey)[0], first[0], atol=1e-2)
    model.reset()
    assert torch.equal(model(grey), first)
    small = lightness(size=(12, 12))
    assert torch.equal(model(small), remembering(kind)(small))


def test_the_frame_before_is_the_true_one():
    """a counts frames, own colours add up, and another's colours are those of the frame just before."""
    grey = lightness(5)
    starts = torch.tensor([True, False, False, True, False])
    assert (remembering("state")(grey, starts)[:, 1, 0, 0] * 100 / 110).round().tolist() == [1, 2, 3, 1, 2]
    assert (remembering("own")(grey, starts)[:, 1, 0, 0] / 1.1).round().tolist() == [1, 2, 3, 1, 2]
    model = remembering("coloured")
    seen = rgb_to_lab(to_uint8(lab_to_rgb(model.before(grey))))[:, 1:]
    shown = model(grey, starts)[:, 1:]
    for now, before in enumerate((0, 0, 1, 3, 3)):
        assert torch.allclose(shown[now], (seen[now] + seen[before]) / 2, atol=1e-4)


# ------------------------------------------------------------------------------------------------- sizes, hints


def test_a_network_of_one_side_is_given_it_and_its_chroma_comes_back():
    class Sided(nn.Module):
        multiple = 1

        def forward(self, x):
            assert x.shape[-2:] == (32, 32)
            ramp = torch.linspace(-1, 1, 32).expand(len(x), 1, 32, 32)
            return torch.cat((ramp, 0 * ramp), dim=1)

    model = Colorizer(Sided(), Family(Sided, AB110, 1, "test", side=32), {})
    grey = lightness(2, size=(48, 96))
    lab = model(grey)
    assert torch.equal(lab[:, :1], grey)
    assert torch.allclose(lab[:, 1], (torch.linspace(-110, 110, 96)).expand(2, 48, 96), atol=3)
    rgb = Colorizer(models.build("film_unet", {}), Family(Sided, models.family("film_unet").coding, 1, "test", side=32), {})
    assert rgb(grey).shape == (2, 3, 48, 96)
    sized = Colorizer(Tinting(), Family(Tinting, AB110, 8, "test"), {})
    sized.network.multiple = 8
    assert sized(lightness(1, size=(13, 9))).shape == (1, 3, 13, 9)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_a_network_of_one_side_sees_no_shape_that_training_did_not_show(fit):
    """A disc stays a disc, in the middle, unless the frames were stretched; and the chroma lies over it again."""

    class Copying(nn.Module):
        def forward(self, x):
            self.seen = x
            return torch.cat((x, -x), dim=1)

    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(96.0), indexing="ij")
    grey = torch.where((y - 23.5) ** 2 + (x - 47.5) ** 2 < 16**2, 90.0, 30.0)[None, None]
    model = Colorizer(Copying(), Family(Copying, AB110, 1, "test", side=48), {"fit": fit})
    lab = model(grey)
    seen = model.network.seen[0, 0] > 0.2
    own = seen if fit == "stretch" else seen[12:36]  # above and below, its reflection
    tall, wide = (int(own.any(dim=1).sum()), int(own.any(dim=0).sum()))
    assert abs(wide - 16) <= 1 and abs(tall - (32 if fit == "stretch" else 16)) <= 1
    assert float(model.network.seen[0, 0, 0].min()) == pytest.approx(-1.0 if fit == "pad" else -0.4, abs=1e-3)
    assert lab.shape == (1, 3, 48, 96) and torch.equal(lab[:, :1], grey)
    assert ((lab[0, 1] > 20) == (grey[0, 0] > 60)).float().mean() > 0.97
    assert model(grey[:, :, :7]).shape == (1, 3, 7, 96), "too flat to reflect"


def test_the_networks_own_multiple_counts():
    class Halving(nn.Module):
        def __init__(self, multiple):
            super().__init__()
            self.multiple, self.seen = multiple, None

        def forward(self, x):
            self.seen = x.shape[-2:]
            return torch.cat((x, x), dim=1)

    network = Halving(32)
    Colorizer(network, Family(Halving, AB110, 4, "test"), {})(lightness(1, size=(33, 20)))
    assert network.seen == (64, 32)


def test_hints_reach_the_network_unmirrored_and_wrong_ones_are_named():
    class Hinted(nn.Module):
        def forward(self, x):
            self.mask = x[:, 3]
            return x[:, 1:3]

    coding = ab_coding("t", scale=110, channels=4, encode_input=lambda v: torch.cat((v.lightness, v.hints), 1))
    model = Colorizer(Hinted(), Family(Hinted, coding, 8, "test", hints=True), {"name": "hinted"})
    grey = lightness(1, size=(9, 9))
    hints = torch.zeros(1, 3, 9, 9)
    hints[:, :, 8, 8] = torch.tensor([0.5, -0.5, 1])
    lab = model(grey, hints=hints)
    assert lab[0, 1, 8, 8] == 55 and model.network.mask.sum() == 1, "the padding repeats no hint"
    with pytest.raises(UserError, match="hints are 8x8 pixels and the picture is 9x9"):
        model(grey, hints=hints[..., :8, :8])
    with pytest.raises(UserError, match="The model own takes no colour hints"):
        remembering("own")(grey, hints=hints)


# ---------------------------------------------------------------------------- validation, evaluation and film agree


@pytest.fixture(params=["video", "pair"])
def dataset(request, tmp_path):
    """Two sources, one with clips; cuts, gaps and frames left out in validation."""
    colour = [frames(40, seed) for seed in (0, 1)]
    grey = [frames(40, seed + 5)[:, :1] if request.param == "pair" else None for seed in (0, 1)]
    clips = [None, ["x"] * 23 + ["y"] * 17]
    folders = [tmp_path / name for name in ("one", "two")]
    stores = {
        folder.name: store(folder, c, g, folder.name, clip)
        for folder, c, g, clip in zip(folders, colour, grey, clips, strict=True)
    }
    tables = []
    for name, one in stores.items():
        part = np.array(["train"] * 12 + ["val"] * 20 + ["test"] * 8)
        table = one.table[["source", "frame"]].assign(split=part, keep=True, reason="", mean_chroma=20.0, cut=False)
        table.loc[[0, 15, 16, 30], "cut"] = True
        table.loc[[19, 25], "keep"] = False
        tables.append(table.drop(index=[12, 32]) if name == "one" else table)
    table = pd.concat(tables, ignore_index=True)
    table.to_parquet(tmp_path / "filter.parquet", index=False)
    return stores, folders, table, tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_validation_and_evaluation_agree(dataset, kind):
    stores, _, table, tmp_path = dataset
    model = remembering(kind)
    coloured = None
    if kind == "coloured":
        coloured = {name: of_before(model.before, one, tmp_path / "coloured" / name) for name, one in stores.items()}
    rows = table[table["keep"] & (table["split"] == "val")].reset_index(drop=True)
    material = Material(stores, rows, CPU, coloured=coloured)
    error = frames_ = 0
    state = None
    for batch in Batches(material, batch_size=7, augment=AugmentParams(), shuffle=None, window=4, memory=model.family.memory):
        output, state = run(model.network, model.family, batch.view, window=batch.window, state=state)
        lab = model.family.coding.decode(batch.view.lightness, output)
        error += ((lab[:, 1:] - batch.lab[:, 1:]) / 128).square().mean(dim=(1, 2, 3)).double().sum().item()
        frames_ += len(batch.lab)
    model.reset()
    found = evaluate_frames(Network(model), list(stores.values()), table)
    assert found.metrics["val"]["frames"] == frames_ == 35
    assert found.metrics["val"]["mse_ab@128"] == pytest.approx(error / frames_, rel=1e-5)
    if kind == "state":  # a counts the frames of a run: gaps, cuts, clips, parts and sources begin anew
        with pytest.raises(UserError, match="no column `cut`"):
            evaluate_frames(Network(model), list(stores.values()), table.drop(columns="cut"))


def of_before(before, one, folder):
    """What the precolour stage would store, written here by other means."""
    grey = lightness_of_grey(torch.from_numpy(one.grey(range(len(one))))) if one.is_pair else None
    shown = rgb_to_lab(torch.from_numpy(one.colour(range(len(one)))))[:, :1] if grey is None else grey
    return store(folder, to_uint8(lab_to_rgb(before(shown))).numpy(), source=folder.name)


def test_the_precolour_stage_stores_what_a_film_shows_the_network(dataset):
    stores, folders, table, tmp_path = dataset
    write_model(tmp_path / "alpha", "alpha")
    out = tmp_path / "coloured" / "alpha"
    precolour(tmp_path / "alpha", folders, filter_table=tmp_path / "filter.parquet", out=out)
    assert sorted(path.name for path in out.iterdir()) == ["one", "precolour.json", "two"]
    coloured = {name: FrameStore(out / name) for name in stores}
    for name, one in stores.items():
        same = [column for column in one.table if column not in ("shard", "row")]
        pd.testing.assert_frame_equal(coloured[name].table[same], one.table[same])
        assert not coloured[name].is_pair and coloured[name].facts["size"] == list(SIZE)
    # A film shows the network, frame after frame, what the loader shows it.
    seen: list[View] = []

    def spied(view):
        seen.append(view)
        return MUTED.encode_input(view)

    coding = ab_coding("t", scale=110, channels=4, encode_input=spied)
    model = Colorizer(Muted(), Family(Muted, coding, 1, "test", memory="coloured"), {}, before=load(tmp_path / "alpha"))
    material = Material(stores, table[table["keep"]].reset_index(drop=True), CPU, coloured=coloured)
    for batch in Batches(material, batch_size=16, augment=AugmentParams(), shuffle=None, window=2, memory="coloured"):
        model(batch.view.lightness, batch.view.starts)
        for name in ("lightness", "coloured", "previous"):
            assert torch.allclose(getattr(seen[-1], name), getattr(batch.view, name), atol=1e-3), name
        assert torch.equal(seen[-1].starts, batch.view.starts)
    # The same bytes again, in the place of the old ones; and what does not fit is named.
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    precolour(tmp_path / "alpha", folders, filter_table=tmp_path / "filter.parquet", out=out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert read_json(out / "precolour.json") == {
        "model": "alpha",
        "params_hash": None,
        "weights_sha256": sha256_of(tmp_path / "alpha/weights.safetensors"),
        "indexes": {name: sha256_of(folder / "index.parquet") for name, folder in zip(stores, folders, strict=True)},
    }
    with pytest.raises(UserError, match=r"Frame 0 of two is in the filter table but in no frame index"):
        precolour(tmp_path / "alpha", folders[:1], filter_table=tmp_path / "filter.parquet", out=out)
    with pytest.raises(UserError, match=r"holds frames of 'one', as another folder does: name each source once"):
        precolour(tmp_path / "alpha", [*folders, folders[0]], filter_table=tmp_path / "filter.parquet", out=out)
    with pytest.raises(UserError, match="holds other files"):
        precolour(tmp_path / "alpha", folders, filter_table=tmp_path / "filter.parquet", out=tmp_path)
    with pytest.raises(UserError, match=r"nowhere\.parquet is missing"):
        precolour(tmp_path / "alpha", folders, filter_table=tmp_path / "nowhere.parquet", out=out)


# ------------------------------------------------------------------------------------------------ a model's folder


def write_model(folder, family, **options):
    torch.manual_seed(1)
    folder.mkdir(parents=True, exist_ok=True)
    network = models.build(family, options)
    write_json(folder / "meta.json", {"name": folder.name, "params": {"model": {"family": family, "options": options}}})
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "weights.safetensors")
    return network


def test_a_precoloured_model_has_the_other_inside_its_folder(tmp_path):
    write_model(tmp_path / "prev", "alexnet_prev", width=0.05)
    with pytest.raises(UserError, match=r"prev/before, the model that colours the frames first, is missing"):
        load(tmp_path / "prev")
    network = write_model(tmp_path / "prev" / "before", "alpha")
    model = load(tmp_path / "prev")
    assert model.remembers and model.before is not None and not model.before.remembers
    reference = Colorizer(network, models.family("alpha"), {})
    grey = lightness(2, size=(40, 48))
    assert torch.equal(model.before(grey), reference(grey))
    assert model(grey).shape == (2, 3, 40, 48) and torch.isfinite(model(grey)).all()


def test_weights_of_another_network_are_named(tmp_path):
    folder = tmp_path / "m"
    write_model(folder, "alpha")
    meta = read_json(folder / "meta.json")
    weights = models.build("alpha", {}).state_dict()
    first, *_, last = weights
    save_file(
        {name: value for name, value in weights.items() if name != last} | {"odd": torch.ones(2)}, folder / "weights.safetensors"
    )
    with pytest.raises(
        UserError, match=rf"does not fit the network 'alpha' \(it lacks {last}; it has odd\): train the model again\."
    ):
        load(folder)
    save_file(weights | {first: torch.ones(3, 4)}, folder / "weights.safetensors")
    with pytest.raises(UserError, match=rf"\({first} is 3x4, not 8x1x3x3\)"):
        load(folder)
    (folder / "weights.safetensors").write_bytes(b"12345678 no tensors")
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
        load(folder)
    assert meta["name"] == "m"
    many = {str(number): torch.ones(1) for number in range(9)}
    assert misfits({}, many) == "it has 0, 1, 2 and 6 more" and misfits(many, many) == ""
