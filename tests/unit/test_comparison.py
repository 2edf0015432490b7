"""What a comparison shows beside its panels of models: other layouts, the training size, external results, figures and stills."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from kinemacolor import cli, comparison
from kinemacolor.colour import lightness_of_grey, rgb_to_lab
from kinemacolor.comparison import clamp, compare
from kinemacolor.errors import UserError
from kinemacolor.footage import open_footage
from kinemacolor.frames.index import FrameStore
from kinemacolor.media import numbered as numbered_pictures
from kinemacolor.media.decode import decode
from kinemacolor.media.encode import VideoWriter
from kinemacolor.media.numbered import open_numbered
from kinemacolor.params import FramesParams, ParamsError, RenderParams, check
from kinemacolor.placing import Framing, is_scaled, refuse_other_shape
from kinemacolor.report.layouts import PASS
from kinemacolor.stages.frames import frames
from kinemacolor.training_size import TrainingSize
from tests.unit.collecting import get, images
from tests.unit.shown_films import HEIGHT, INNER, RATE, WIDTH, Soft, Tint, close, frames_of, made_clip, made_pair, panel


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return made_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    return made_pair(tmp_path_factory.mktemp("pair"))


def shown(tmp_path: Path, painters, footage, **asked) -> list[np.ndarray]:
    """The frames of a comparison video."""
    more = {key: asked.pop(key) for key in ("external", "stills") if key in asked}
    params = RenderParams(**({"crf": 4, "seconds": 0.4} | asked))
    compare(painters, footage, params=params, out=tmp_path / "v.mp4", poster=tmp_path / "p.png", **more)
    return frames_of(tmp_path / "v.mp4")


def tint_and_sepia(height: int = 32) -> list[Tint]:
    painters = [Tint(30, -20, height), Tint(10, 30, height)]
    painters[1].name = "sepia"
    return painters


# ------------------------------------------------------------------------------------------------ layouts and sizes


def test_over_shows_the_truth_and_each_model_one_above_the_other(clip: Path, tmp_path: Path):
    grid = shown(tmp_path, tint_and_sepia(), open_footage(clip))[5]
    column = shown(tmp_path, tint_and_sepia(), open_footage(clip), layout="over")[5]
    assert grid.shape == (2 * HEIGHT, 3 * WIDTH, 3) and column.shape == (3 * HEIGHT, WIDTH, 3)
    for place, same in enumerate((3, 1, 2)):
        close(panel(column, place, columns=1)[4:], panel(grid, same)[4:])  # chroma of the row above reaches into a panel


def test_a_wipe_leads_through_all_pictures_in_one_panel(clip: Path, tmp_path: Path):
    grid = shown(tmp_path, tint_and_sepia(), open_footage(clip), seconds=4)
    frames = shown(tmp_path, tint_and_sepia(), open_footage(clip), seconds=4, layout="wipe")
    assert len(frames) == 4 * RATE and {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    upper = slice(20, -20), slice(4, -4)  # without time and captions
    for number, place in ((0, 0), (22, 1), (47, 2), (72, 3), (97, 0)):  # a second for each of four pictures
        whole = panel(grid[number], place)
        close(frames[number][upper], whole[20:])
    half = frames[25 + 9]  # .36 of the second: 77 columns of sepia, the others still of the tint
    close(half[20:-20, 4:70], panel(grid[34], 2)[20:, :66])
    close(half[20:-20, 84:-4], panel(grid[34], 1)[20:, 80:])
    assert PASS > 1, "a pass is shortened so that all are shown"


def test_at_the_training_size_panels_are_what_the_network_sees_and_makes(clip: Path, tmp_path: Path):
    tint, soft = Tint(30, -20, height=30), Soft(0, 0, height=30)
    for painter in (tint, soft):
        painter.meta = {"size": [30, 40], "fit": "crop"}
    frames = shown(tmp_path, [tint, soft], open_footage(clip), size="training")
    zoom = 12
    assert frames[3].shape == (2 * 30 * zoom, 3 * 40 * zoom, 3)
    film = frames_of(clip)
    centres = frames[3][zoom // 2 :: zoom, zoom // 2 :: zoom]
    small = np.asarray(Image.fromarray(film[3]).resize((40, 30), Image.Resampling.BOX))
    close(centres[30:58, :40], small[:28])
    blocks = frames[3][: 28 * zoom, : 40 * zoom].reshape(28, zoom, 40, zoom, 3).astype(int)
    assert np.abs(blocks[:, 3:9, :, 3:9] - blocks[:, 6:7, :, 6:7]).max() <= 3, "each pixel is a square"
    # The grey panel is the L* that the network was given, and so is what a network gives back of it.
    grey, back = (panel(frames[3], place, height=30 * zoom, width=40 * zoom) for place in (0, 2))
    close(back, grey, mean=1)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("kind", ["film", "pair"])
def test_the_training_size_is_the_pixels_of_the_frame_store(clip: Path, pair, tmp_path: Path, kind: str, fit: str):
    raw, sync = (clip, None) if kind == "film" else pair
    params = FramesParams(size=[30, 26], fit=fit, every=1, start=1.0, end=1.2)
    frames(raw, source="film", params=params, out=tmp_path / "f", sync=sync)
    store, framing = FrameStore(tmp_path / "f"), Framing(30, 26, fit)
    whole = open_footage(raw, sync)
    footage = TrainingSize(whole, [framing, Framing(16, 16, "crop")])
    assert (footage.height, footage.width, footage.captions, footage.sound) == (30, 26, whole.captions, whole.sound)
    sights = list(footage.sights(1.0, 1.2))
    assert len(sights) == len(store) == 5 and all(sight.whole is None for sight in sights)
    seen = footage.seen(sights, framing).numpy()
    for row, sight in enumerate(sights):
        colour = store.colour([row])[0]
        assert np.array_equal(sight.truth, colour.transpose(1, 2, 0))
        if kind == "pair":
            lightness = lightness_of_grey(torch.from_numpy(store.grey([row])[0]))
        else:
            lightness = rgb_to_lab(torch.from_numpy(colour))[:1]
        assert np.array_equal(seen[row], lightness.numpy()) and np.array_equal(sight.lightness, seen[row, 0])
    assert footage.seen(sights, Framing(16, 16, "crop")).shape == (5, 1, 16, 16)


def test_of_a_collection_the_training_size_has_no_bars_of_ours(tmp_path: Path):
    (tmp_path / "album").mkdir()
    for name, size in (("a", (80, 60)), ("b", (40, 64))):
        picture = np.random.default_rng(size[0]).integers(30, 220, (size[1] // 4, size[0] // 4, 3), np.uint8)
        Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC).save(tmp_path / f"album/{name}.png")
    raw = get(images(path=str(tmp_path / "album")), tmp_path, "collection")
    frames(raw, source="collection", params=FramesParams(size=24), out=tmp_path / "f")
    store, footage = FrameStore(tmp_path / "f"), open_footage(raw)
    sights = list(TrainingSize(footage, [Framing(24, 24, "crop")]).sights(0, 9))
    assert len(sights) == 2
    for row, sight in enumerate(sights):
        assert np.array_equal(sight.truth, store.colour([row])[0].transpose(1, 2, 0))


def test_at_the_training_size_another_programs_picture_is_cut_as_the_frames_are(clip: Path, pair):
    framing = Framing(30, 20, "crop")
    for footage, grey in ((open_footage(clip), None), (open_footage(*pair), "grey.mkv")):
        small = TrainingSize(footage, [framing])
        sight = next(small.sights(1.0, 1.1))
        if grey is None:
            assert np.array_equal(small.lay(next(decode(clip, start=1.0)).pixels, "other", sight), sight.truth)
            continue
        own = next(picture.pixels for picture in decode(pair[0] / grey, grey=True) if picture.number == sight.number)
        laid = small.lay(np.repeat(own[..., None], 3, axis=2), "other", sight)
        assert np.abs(laid.astype(int) - sight.grey[..., None]).max() <= 1


def test_the_whole_film(clip: Path, tmp_path: Path):
    assert clamp(RenderParams(seconds=None), 0.0, 4.0) == (0.0, 4.0, "")
    assert clamp(RenderParams(start=3, seconds=None), 0.5, 4.0) == (3, 4.0, "")
    start, stop, note = clamp(RenderParams(start=30, seconds=None), 0.5, 4.0)
    assert (start, stop) == (0.5, 4.0) and "all from 30 s on" in note
    assert len(shown(tmp_path, [Tint(0, 0)], open_footage(clip), seconds=None, start=1, crf=30)) == 3 * RATE


# ------------------------------------------------------------------------------------------------------- figures


def test_captions_say_the_psnr_of_the_panel(clip: Path):
    footage = open_footage(clip)
    sight = next(footage.sights(2.0, 2.1))
    lightness = footage.network_input([sight.original], 32)
    small = Tint(30, -20)(lightness)[0, 1:].permute(1, 2, 0).contiguous().numpy()
    for zoom in (1, 3):
        moment = comparison._Moment(footage, sight, [small], [], 2, zoom)
        panels = np.zeros((3, HEIGHT * zoom, WIDTH * zoom, 3), np.uint8)
        said = [moment.fill(number, panels[number]) for number in range(3)]
        assert said[2] == "" and np.array_equal(panels[2][::zoom, ::zoom], sight.truth)
        for number in range(2):
            assert said[number] == f"{peak_signal_noise_ratio(panels[2], panels[number]):.1f} dB"
    same = comparison._Moment(footage, sight._replace(truth=panels[0][::zoom, ::zoom]), [small], [], 2, 1)
    assert same.fill(0, np.zeros((HEIGHT, WIDTH, 3), np.uint8)) == "equal"


def test_figures_and_time_change_only_the_captions(clip: Path, tmp_path: Path):
    still = [next(open_footage(clip).sights(1.0, 1.1))._replace(time=time) for time in (0.0, 61.5)]
    footage = open_footage(clip)
    layout = comparison._layout(RenderParams(), ["grey", "tint", "truth"], footage, 1, 2.0)
    small = np.zeros((8, 8, 2), np.float32)
    one, other = (
        layout.picture(comparison._Moment(footage, sight, [small], [], 2, 1).fill, clock=comparison.clock_words(sight.time))
        for sight in still
    )
    changed = (one != other).any(axis=-1)
    assert changed[:, : 2 * WIDTH].sum() == 0 and changed[: HEIGHT - 20].sum() == 0 and changed.sum() > 10


def test_the_psnr_leaves_bars_of_ours_out(tmp_path: Path):
    (tmp_path / "album").mkdir()
    scene = np.tile(np.linspace(30, 220, 40).astype(np.uint8)[:, None, None], (1, 40, 3))
    Image.fromarray(np.hstack((scene, scene))).save(tmp_path / "album/a.png")  # 80x40: the first, so that the panel has its shape
    Image.fromarray(scene).save(tmp_path / "album/b.png")
    footage = open_footage(get(images(path=str(tmp_path / "album")), tmp_path, "collection"))
    sight = list(footage.sights(0, 9))[1]
    assert sight.truth.shape == (40, 80, 3) and not sight.truth[:, :20].any() and sight.truth[:, 20:60].all()

    class Off:
        path = Path("off")

        def picture(self, number: int) -> np.ndarray:
            return np.clip(scene.astype(int) + 10, 0, 255).astype(np.uint8)

    said = comparison._Moment(footage, sight, [], [Off()], 2, 1).fill(1, panel := np.zeros((40, 80, 3), np.uint8))
    assert said == f"{20 * np.log10(255 / 10):.1f} dB" and not panel[:, :20].any()


# ---------------------------------------------------------------------------------------------- external results


@pytest.fixture(scope="module")
def swapped(clip: Path, tmp_path_factory) -> Path:
    """The film with red and blue exchanged and twice as large, as a video and as pictures named by number."""
    root = tmp_path_factory.mktemp("swapped")
    (root / "pictures").mkdir()
    with VideoWriter(root / "film.mp4", height=2 * HEIGHT, width=2 * WIDTH, frame_rate=RATE, crf=4) as writer:
        for picture in decode(clip, end=2.0):
            other = Image.fromarray(picture.pixels[..., ::-1])
            writer.write(np.asarray(other.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST)))
            other.save(root / "pictures" / f"frame_{picture.number:06d}.png")
    return root


@pytest.mark.parametrize("name", ["film.mp4", "pictures"])
def test_what_another_program_made_stands_between_models_and_truth(clip: Path, swapped: Path, tmp_path: Path, name: str):
    frames = shown(tmp_path, [Tint(0, 0)], open_footage(clip), start=1.2, external={"other": swapped / name})
    film = frames_of(clip)
    assert frames[0].shape == (2 * HEIGHT, 3 * WIDTH, 3)
    for number in (0, 4, 9):
        close(panel(frames[number], 2), film[30 + number][..., ::-1][INNER], mean=2.5, worst=14)
        close(panel(frames[number], 3)[4:], film[30 + number][INNER][4:])  # chroma of the row above reaches into a panel


def test_of_a_pair_its_frames_are_those_of_the_grey_print(pair, tmp_path: Path):
    raw, sync = pair
    grey = list(decode(raw / "grey.mkv", grey=True))
    (tmp_path / "red").mkdir()
    for picture in grey[30:60]:  # coloured plainly: the print's own grey in red, and nothing of the others
        red = np.zeros((*picture.pixels.shape, 3), np.uint8)
        red[..., 0] = picture.pixels
        Image.fromarray(red).save(tmp_path / "red" / f"{picture.number}.png")
    frames = shown(tmp_path, [Tint(0, 0)], open_footage(raw, sync), start=1.0, crf=1, external={"red": tmp_path / "red"})
    for number in (0, 9):
        ours, other = (panel(frames[number], place, height=204, width=272) for place in (0, 2))
        assert np.abs(other[..., 0] - ours[..., 0]).mean() < 6 and other[..., 1:].mean() < 8
        wrong = (
            panel(frames[number - 4], 0, height=204, width=272)
            if number > 4
            else panel(frames[number + 4], 0, height=204, width=272)
        )
        assert np.abs(other[..., 0] - ours[..., 0]).mean() < np.abs(other[..., 0] - wrong[..., 0]).mean()


def test_external_results_that_cannot_be_shown_are_named(clip: Path, swapped: Path, tmp_path: Path):
    def refused(words: str, path: Path, **asked) -> None:
        with pytest.raises(UserError, match=words):
            shown(tmp_path, [Tint(0, 0)], open_footage(clip), external={"other": path}, **asked)
        assert not (tmp_path / "v.mp4").exists()

    for name in ("film.mp4", "pictures"):
        refused(rf"{name} has no picture of frame 50", swapped / name, start=1.8)
    refused("nothing.mp4 is missing", tmp_path / "nothing.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/picture.png").write_bytes(b"")
    refused("empty holds no picture whose name ends in its frame number", tmp_path / "empty")
    Image.new("RGB", (90, 120)).save(tmp_path / "empty/0.png")
    refused("empty is of 90x120 pixels and what it colours of 160x120", tmp_path / "empty")
    Image.new("RGB", (160, 120)).save(tmp_path / "empty/000.png")
    refused(r"0\.png and .*000\.png both are frame 0", tmp_path / "empty")
    with pytest.raises(UserError, match="Two panels would be called 'tint'"):
        shown(tmp_path, [Tint(0, 0)], open_footage(clip), external={"tint": swapped / "film.mp4"})


@pytest.mark.parametrize(
    ("size", "original", "right"),
    [
        ((720, 1280), (720, 1280), True),
        ((736, 1280), (720, 1280), False),  # padded to a multiple of 32
        ((1088, 1920), (1080, 1920), False),  # of 16
        ((720, 1264), (720, 1280), False),
        ((480, 854), (720, 1280), True),  # scaled, and rounded to even sides
        ((270, 480), (1080, 1920), True),
        ((1440, 2560), (720, 1280), True),
        ((120, 90), (120, 160), False),
    ],
)
def test_a_picture_that_was_padded_or_cut_is_of_another_shape(size, original, right):
    assert is_scaled(size, original) == right
    picture = np.zeros((*size, 3), np.uint8)
    if right:
        refuse_other_shape(picture, original, "other.mp4")
    else:
        with pytest.raises(UserError, match="cut off what was padded"):
            refuse_other_shape(picture, original, "other.mp4")


def test_pixels_that_are_not_square_may_have_been_made_so():
    picture = np.zeros((576, 1024, 3), np.uint8)
    refuse_other_shape(picture, (576, 720), "other.mp4", aspect=64 / 45)
    with pytest.raises(UserError, match="1024x576"):
        refuse_other_shape(picture, (576, 720), "other.mp4")


def test_another_shape_than_its_clip_or_photograph_is_refused_and_its_own_is_laid_into_its_place(tmp_path: Path):
    (tmp_path / "album").mkdir()
    Image.new("RGB", (80, 40), "red").save(tmp_path / "album/a.png")
    Image.new("RGB", (40, 40), "blue").save(tmp_path / "album/b.png")
    footage = open_footage(get(images(path=str(tmp_path / "album")), tmp_path, "collection"))
    first, second = footage.sights(0, 9)
    laid = footage.lay(np.full((20, 20, 3), 99, np.uint8), "other", second)
    assert laid.shape == (40, 80, 3) and (laid[:, 20:60] == 99).all() and not laid[:, :20].any() and not laid[:, 60:].any()
    for one in (footage, TrainingSize(footage, [Framing(16, 16, "crop")])):
        for sight, shape in ((first, (40, 40, 3)), (second, (40, 80, 3))):
            with pytest.raises(UserError, match="bring it to that shape"):
                one.lay(np.zeros(shape, np.uint8), "other", sight)


@pytest.mark.parametrize("far", [250, 5])
def test_pictures_by_number_are_those_of_a_full_decode_in_any_order(clip: Path, swapped: Path, monkeypatch, far: int):
    """Whether it decodes on to the next one or seeks."""
    monkeypatch.setattr(numbered_pictures, "_FAR", far)
    film = frames_of(clip)
    numbered = open_numbered(clip)
    for number in (0, 1, 1, 7, 3, 60, 61, 99, 30):
        assert np.array_equal(numbered.picture(number), film[number])
    folder = open_numbered(swapped / "pictures")
    assert np.array_equal(folder.picture(17), film[17][..., ::-1])
    for source, number in ((numbered, 100), (folder, 51)):
        with pytest.raises(UserError, match=f"no picture of frame {number}"):
            source.picture(number)


# --------------------------------------------------------------------------------------------------------- stills


def test_stills_of_a_comparison_are_its_panels(clip: Path, swapped: Path, tmp_path: Path):
    external = {"other": swapped / "pictures"}
    frames = shown(tmp_path, [Tint(30, -20)], open_footage(clip), seconds=2, external=external, stills=tmp_path / "v_stills")
    said = json.loads((tmp_path / "v_stills/stills.json").read_text())
    moments = said["moments"]
    assert (said["layout"], said["size"]) == ("grid", "film"), "the page's captions go by them"
    assert [moment["time"] for moment in moments] == pytest.approx([0.2, 0.52, 0.84, 1.2, 1.52, 1.84], abs=0.021)
    for moment in moments:
        assert set(moment["panels"]) == {"grey", "tint", "other", "truth"}
        frame = frames[round(moment["time"] * RATE)]
        for place, name in enumerate(("grey", "tint", "other", "truth")):
            with Image.open(tmp_path / "v_stills" / moment["panels"][name]) as still:
                close(np.asarray(still)[INNER][4:], panel(frame, place)[4:], mean=3, worst=20)


def test_no_folder_of_somebody_else_is_replaced_by_stills(clip: Path, tmp_path: Path):
    (tmp_path / "v_stills").mkdir()
    (tmp_path / "v_stills/thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="v_stills holds other files"):
        shown(tmp_path, [Tint(0, 0)], open_footage(clip), stills=tmp_path / "v_stills")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v_stills"], "refused before the work"


def test_a_pair_whose_grey_print_is_shorter_keeps_the_moments_that_there_are(pair, tmp_path: Path):
    raw, sync = pair
    shown(tmp_path, [Tint(0, 0)], open_footage(raw, sync), start=0, seconds=2, stills=tmp_path / "stills")
    moments = json.loads((tmp_path / "stills/stills.json").read_text())["moments"]
    assert len(moments) == 6 and moments[0]["time"] >= 0.2, "the first frames have no partner"


# ---------------------------------------------------------------------------------------------------- the command


def test_options_of_the_command(tmp_path: Path):
    values = cli._render_values(None, 3.0, None, True, "wipe", "training")
    assert (values.start, values.seconds, values.layout, values.size) == (3.0, None, "wipe", "training")
    assert cli._render_values(None, None, None, False, None, None) == RenderParams()
    (tmp_path / "slice.json").write_text(json.dumps(RenderParams(start=7).model_dump(mode="json")))
    assert cli._render_values(tmp_path / "slice.json", None, None, False, None, None).start == 7
    for name, given in {
        "start": (0.0, None, False, None, None),
        "seconds": (None, 3.0, False, None, None),
        "whole": (None, None, True, None, None),
        "layout": (None, None, False, "grid", None),
        "size": (None, None, False, None, "film"),
    }.items():
        with pytest.raises(UserError, match=f"--params says all of what the video shows, --{name} too"):
            cli._render_values(tmp_path / "slice.json", *given)
    with pytest.raises(UserError, match="--whole and --seconds"):
        cli._render_values(None, None, 3.0, True, None, None)
    for wrong in ({"layout": "diagonal"}, {"size": "large"}):
        with pytest.raises(ParamsError, match=next(iter(wrong))):
            cli._render_values(None, None, None, False, wrong.get("layout"), wrong.get("size"))
    assert cli._named_paths(["deoldify=a=b.mp4", "other=c"]) == {"deoldify": Path("a=b.mp4"), "other": Path("c")}
    for wrong, words in ((["film.mp4"], "NAME=PATH"), (["a=b", "a=c"], "twice"), (["../a=b"], "may hold only")):
        with pytest.raises(UserError, match=words):
            cli._named_paths(wrong)


def test_no_model_or_result_takes_the_name_of_a_picture_of_its_own():
    document = {
        "sources": {"film": {"kind": "video", "path": "film.mp4", "licence": "none", "credit": "nobody"}},
        "datasets": {"film": {"sources": ["film"], "frames": {"every": 24, "size": 64}, "render": {"seconds": None}}},
        "models": {"plain": {"family": "naive", "epochs": 1}},
        "experiments": {"film": ["plain"]},
    }
    assert check(document).datasets["film"].render.seconds is None
    document["models"]["grey"] = {"family": "naive", "epochs": 1}
    with pytest.raises(ParamsError, match="'grey' is what videos and pages call"):
        check(document)
    del document["models"]["grey"]
    document["external"] = {"truth": {"dataset": "film", "path": "other.mp4", "licence": "none", "credit": "nobody"}}
    with pytest.raises(ParamsError, match="'truth' is what videos and pages call"):
        check(document)
