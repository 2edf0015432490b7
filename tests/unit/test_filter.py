"""The filter: what is grey, black, white, within a fade or twice; what stands still; doubles across a split; the stage itself."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from kinemacolor.errors import UserError
from kinemacolor.findings.datasets import filtering
from kinemacolor.frames.duplicates import Prints, doubles, joined, prints_of, repeats
from kinemacolor.frames.fades import fading, reasons
from kinemacolor.frames.grey import look_at
from kinemacolor.frames.index import FrameStore
from kinemacolor.frames.shards import METADATA_KEY, ShardWriter
from kinemacolor.frames.standing import counted_pixels
from kinemacolor.params import FilterParams
from kinemacolor.report.borderline import Shown, borderline, draw_borderline
from kinemacolor.report.filtering import counts, edges
from kinemacolor.stages.filter import filter_frames

from .labelled_pictures import CHOOSING, GIVEN_UP, JUDGING, MISREGISTERED, SEPIA, barred, jpeg, labelled, reduced, tones
from .painted_scenes import of_one_hue

PICTURES = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
PARAMS = FilterParams()


def planar(pictures) -> np.ndarray:
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def lab_of(pictures) -> np.ndarray:
    return np.ascontiguousarray(rgb2lab(np.stack(pictures)).transpose(0, 3, 1, 2), np.float32)


@pytest.fixture(scope="module")
def judging():
    return labelled(JUDGING, seed=1)


def judged(pictures, side):
    """The measure of labelled pictures at a size, whether they are grey, and whether they are of the classes that were asked for."""
    look = look_at(planar([one.picture if len(one.picture) == side else reduced(one.picture, side) for one in pictures]))
    apart = GIVEN_UP + MISREGISTERED
    return look.colour, np.array([one.grey for one in pictures]), np.array([one.sort not in apart for one in pictures])


@pytest.mark.parametrize("side", [64, 256])
def test_precision_and_recall_of_grey_on_pictures_that_no_threshold_was_chosen_on(side, judging, capsys):
    """Over all classes but GIVEN_UP, toning in two hues, which is printed only, and MISREGISTERED, with a bound of its own.

    Still wrong are dark chelsea (mean L* of 5), taken for grey, and blue toning of astronaut's corner (docs/log.md).
    """
    colour, true, asked = judged(judging, side)
    said = colour < PARAMS.grey
    lines = [f"{side}x{side}: {len(true)} labelled pictures, wrong among the pictures of each class:"]
    for sort in dict.fromkeys(one.sort for one in judging):
        here = np.array([one.sort == sort for one in judging])
        wrong = [f"{judging[place].what} {colour[place]:.1f}" for place in np.flatnonzero(here & (said != true))]
        apart = " (given up)" if sort in GIVEN_UP else " (misregistered)" if sort in MISREGISTERED else ""
        lines.append(f"  {len(wrong):3d} of {here.sum():3d} {sort}{apart} {wrong[:6] or ''}")
    precision = (said & true & asked).sum() / (said & asked).sum()
    recall = (said & true & asked).sum() / (true & asked).sum()
    fringed = np.array([one.sort in MISREGISTERED for one in judging])
    lines.append(
        f"precision of grey {precision:.4f}, recall {recall:.4f}; recall of misregistered {said[fringed].mean():.4f}, "
        f"with these {said[true & (asked | fringed)].mean():.4f}, with those given up too {said[true].mean():.4f}"
    )
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert asked.sum() >= 600 and (true & asked).sum() >= 250
    assert precision >= 0.99 and recall >= 0.99, lines
    assert said[fringed].mean() >= 0.9, lines


def test_the_threshold_parts_the_pictures_that_it_was_chosen_on():
    colour, true, asked = judged(labelled(CHOOSING, side=64), 64)
    wrong = ((colour < PARAMS.grey) != true) & asked
    assert wrong.sum() <= 0.01 * asked.sum(), f"{wrong.sum()} of {asked.sum()}"


def test_means_are_those_of_scikit_image_and_do_not_hang_on_the_batch():
    pictures = planar([reduced(picture, 48) for picture in PICTURES])
    look, lab = look_at(pictures), rgb2lab(pictures.transpose(0, 2, 3, 1))
    assert np.allclose(look.mean_chroma, np.hypot(lab[..., 1], lab[..., 2]).mean(axis=(1, 2)), atol=1e-3)
    assert np.allclose(look.lightness, lab[..., 0].mean(axis=(1, 2)), atol=1e-3)
    assert np.allclose(look.spread, lab[..., 0].std(axis=(1, 2)), atol=1e-3)
    single = [look_at(pictures[place : place + 1]) for place in range(4)]
    assert all(np.array_equal(values, np.concatenate(ones)) for values, ones in zip(look, zip(*single, strict=True), strict=True))
    counted = np.zeros((48, 48), bool)
    counted[8:40, 4:] = True
    inside, cut = look_at(pictures, counted), look_at(np.ascontiguousarray(pictures[:, :, 8:40, 4:]))
    assert np.allclose(inside.mean_chroma, cut.mean_chroma, atol=1e-4) and np.allclose(inside.spread, cut.spread, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (17, 300), (90, 160), (1, 1)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_plain_frames_of_any_shape_have_no_colour(shape, value):
    look = look_at(np.full((2, 3, *shape), value, np.uint8))
    assert look.colour.tolist() == [0, 0] and look.spread.max() < 1e-3 and np.isfinite(np.concatenate(look)).all()


def looks(lightness, spread, colour=30.0, mean_chroma=20.0, area=None):
    """What `reasons` is given, of frames in a row."""
    one = look_at(np.zeros((len(lightness), 3, 8, 8), np.uint8))
    values = (mean_chroma, colour, lightness, spread, np.asarray(colour) > 10 if area is None else area)
    full = [np.broadcast_to(np.asarray(value, float), (len(lightness),)) for value in values]
    return type(one)(*full)


def begins(length, *places):
    return np.isin(np.arange(length), [0, *places])


def test_reasons_in_their_order():
    look = looks([50, 1, 1, 99, 50, 50], [20, 1, 1, 1, 20, 20], [30, 0, 40, 0, 1, 2.5], [20, 0, 5, 0, 3, 3])
    found = reasons(look, begins(6), PARAMS, is_film=False)
    assert found.tolist() == ["", "black", "", "white", "grey", ""], "a light in the dark is not black"
    nothing = FilterParams(grey=0, black=0, white=100, fade=0)
    assert reasons(look, begins(6), nothing, is_film=False).tolist() == [""] * 6


def test_frames_of_one_hue_are_a_tint_but_in_a_film_that_is_in_colour():
    colour = np.array([30.0] * 19 + [1.0])
    sky = looks([60] * 20, [20] * 20, colour, [20] * 20)
    assert reasons(sky, begins(20), PARAMS, is_film=True).tolist() == [""] * 20
    assert reasons(sky, begins(20), PARAMS, is_film=False)[-1] == "grey", "a photograph tells nothing about another"
    assert reasons(sky, begins(20), FilterParams(one_hue=1), is_film=True)[-1] == "grey"
    plain = looks([60] * 20, [20] * 20, colour, [20.0] * 19 + [1.0])
    assert reasons(plain, begins(20), PARAMS, is_film=True)[-1] == "grey"
    reels = looks([60] * 20, [20] * 20, np.array([30.0] * 9 + [1.0] * 11), [20] * 20)
    assert reasons(reels, begins(20), PARAMS, is_film=True).tolist() == [""] * 9 + ["grey"] * 11, "a film with tinted reels"
    small = looks([60] * 20, [20] * 20, colour, [20] * 20, area=0.04)
    assert reasons(small, begins(20), PARAMS, is_film=True)[-1] == "grey", "a film with subtitles or a logo throughout"


def test_fades_are_followed_from_black_and_white_and_end_where_the_picture_stands():
    lightness = np.array([50, 40, 12, 6, 0, 0, 5, 9, 30, 98, 94, 90, 60.0])
    spread = np.array([20, 15, 3.5, 1.5, 0, 0, 1, 3, 12, 0.2, 1, 3, 15])
    ends = (lightness < 3) | (lightness > 97)
    assert np.flatnonzero(fading(lightness, spread, ends, begins(13), below=4)).tolist() == [2, 3, 6, 7, 10, 11]
    assert np.flatnonzero(fading(lightness, spread, ends, begins(13, 6, 9), below=4)).tolist() == [2, 3, 10, 11]
    assert not fading(lightness, spread, ends, begins(13), below=0).any()
    fog = np.array([0, 30, 30, 30, 30, 60.0])
    assert np.flatnonzero(fading(fog, np.array([0, 2, 2, 2, 2, 20.0]), fog < 3, begins(6), below=4)).tolist() == [1]


@given(seed=st.integers(0, 10**6), bits=st.integers(0, 7))
@settings(max_examples=25, deadline=None)
def test_doubles_and_repeats_are_those_that_every_pair_compared_has(seed, bits):
    rng = np.random.default_rng(seed)
    bases, small = rng.integers(0, 2**63, 12, dtype=np.uint64), rng.integers(60, 200, (12, 96), dtype=np.uint8)
    which = rng.integers(0, 12, 90)
    hashes = bases[which]
    for _ in range(5):
        hashes ^= (rng.random(90) < 0.6).astype(np.uint64) << rng.integers(0, 64, 90, dtype=np.uint64)
    prints = Prints(hashes, (small[which] + (rng.random(90) < 0.3)[:, None] * rng.integers(0, 9, (90, 96))).astype(np.uint8))
    source = rng.integers(0, 3, 90)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None])
    steps = np.abs(prints.small[:, None].astype(int) - prints.small[None].astype(int))
    alike = (apart <= bits) & (steps[..., :64].sum(axis=2) <= 480) & (steps[..., 64:].sum(axis=2) <= 96)
    same = source[:, None] == source[None]
    known, asked = slice(0, 50), slice(50, 90)
    found = doubles(prints[known], source[known], prints[asked], source[asked], bits=bits)
    own, other = (alike & same)[asked, known].any(axis=1), (alike & ~same)[asked, known].any(axis=1)
    assert found.tolist() == np.where(own, 2, np.where(other, 1, 0)).tolist()
    stays = []
    for place in range(90):
        if not any(alike[place, earlier] for earlier in stays):
            stays.append(place)
    assert np.flatnonzero(~repeats(prints, bits=bits)).tolist() == stays


def test_a_picture_is_known_again_after_noise_a_codec_and_another_size_and_not_in_other_colours():
    rng = np.random.default_rng(0)
    plain = [reduced(picture[:, : picture.shape[0]], 128) for picture in PICTURES]
    first = prints_of(lab_of(plain))
    changed = {
        "noise": [np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8) for picture in plain],
        "codec": [jpeg(picture, 50).astype(np.uint8) for picture in plain],
        "size": [reduced(picture, 64) for picture in plain],
    }
    sources = np.zeros(4, int)
    for what, pictures in changed.items():
        assert doubles(first, sources, prints_of(lab_of(pictures)), sources, bits=PARAMS.alike).tolist() == [2] * 4, what
    other = prints_of(lab_of([np.ascontiguousarray(picture[..., ::-1]) for picture in plain[:3]]))
    assert doubles(first, sources, other, sources[:3], bits=7).tolist() == [0, 0, 0], "red for blue"
    mirrored = prints_of(lab_of([np.ascontiguousarray(picture[:, ::-1]) for picture in plain]))
    assert doubles(first, sources, mirrored, sources, bits=7).tolist() == [0] * 4
    assert len(joined([]).hashes) == 0 and doubles(first, sources, joined([]), sources[:0], bits=4).tolist() == []
    with pytest.raises(ValueError, match="8 bits"):
        repeats(first, bits=8)


def scenes(number: int, *, side: int = 64, seed: int = 3) -> list[np.ndarray]:
    """Frames that have little in common: windows of the photographs."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < number:
        picture = PICTURES[len(found) % 4]
        part = int(rng.integers(120, 280))
        top, left = (int(rng.integers(0, length - part)) for length in picture.shape[:2])
        window = reduced(picture[top : top + part, left : left + part], side)
        if window.std() > 30:
            found.append(window)
    return found


def greyed(pictures):
    return [np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8) for picture in pictures]


def write(folder, pictures, *, source="film", clips=None, greys=None, step=24):
    folder.mkdir(parents=True)
    colour = planar(pictures)
    shapes = {"colour": colour.shape[1:]} | ({"grey": (1, *colour.shape[2:])} if greys is not None else {})
    facts = {"every": step, "size": list(colour.shape[2:])}
    writer = ShardWriter(folder, source=source, shapes=shapes, shard_bytes=1 << 18, facts=facts)
    for number, picture in enumerate(colour):
        frame = {"colour": picture} | ({"grey": greys[number]} if greys is not None else {})
        extra = {} if clips is None else {"clip": clips[number]}
        extra |= {} if greys is None else {"grey_frame": number, "grey_time": float(number)}
        writer.add(frame, frame=step * number, time=float(number), **extra)
    writer.close()
    return folder


def test_bars_and_a_logo_are_found_and_what_moves_is_not(tmp_path):
    pictures = [barred(picture) for picture in scenes(40)]
    for picture in pictures:
        picture[14:22, 50:58] = (210, 40, 30)
        picture[:, :3] = (14, 12, 13)
    counted = counted_pixels(FrameStore(write(tmp_path / "a", pictures)))
    assert not counted[:9].any() and not counted[-9:].any() and not counted[:, :3].any() and not counted[14:22, 50:58].any()
    assert counted[9:-9, 3:].sum() >= 46 * 61 - 100, "and little beside it"
    assert counted_pixels(FrameStore(write(tmp_path / "b", scenes(40)))).all()
    for name, colour in (
        ("sky", (120, 170, 230)),
        ("ground", (60, 160, 60)),
        ("white", (250, 250, 250)),
        ("night", (10, 10, 60)),
    ):
        flat = greyed(scenes(40))
        for picture in flat:
            picture[:20] = colour
        assert counted_pixels(FrameStore(write(tmp_path / name, flat))).all(), f"{name} is no bar"
    wide = [np.ascontiguousarray(np.kron(picture, np.ones((5, 6, 1), np.uint8))) for picture in pictures]
    large = counted_pixels(FrameStore(write(tmp_path / "large", wide)))
    assert large.shape == (320, 384) and not large[:42].any() and not large[-42:].any() and large[50:-50, 20:].mean() > 0.9
    assert counted_pixels(FrameStore(write(tmp_path / "c", pictures[:8]))).all(), "too few to tell"
    assert counted_pixels(FrameStore(write(tmp_path / "d", pictures, clips=[f"{n}.mp4" for n in range(40)]))).all()
    assert counted_pixels(FrameStore(write(tmp_path / "e", [pictures[0]] * 40))).sum() >= 46 * 61, "a picture that stands still"
    assert counted_pixels(FrameStore(write(tmp_path / "f", [np.zeros((64, 64, 3), np.uint8)] * 40))).all()


def parts(folder, frames, split, source="film", step=24):
    path = folder / f"{source}-split.parquet"
    pd.DataFrame({"source": source, "frame": np.arange(frames) * step, "split": split}).to_parquet(path, index=False)
    return path


def test_a_colour_logo_on_a_grey_film_does_not_make_it_colour_and_a_colour_film_stays(tmp_path):
    colourful = scenes(40)
    mixed = [
        grey if place < 36 else colour for place, (grey, colour) in enumerate(zip(greyed(colourful), colourful, strict=True))
    ]
    for picture in mixed:
        picture[2:8, 52:60] = (30, 90, 210)
    folder, split = write(tmp_path / "f", mixed), parts(tmp_path, 40, "train")
    table = filter_frames([folder], split=split, params=PARAMS, out=tmp_path / "out.parquet")
    assert table["reason"].tolist() == ["grey"] * 36 + [""] * 4


def toned(pictures):
    return [np.clip(picture * SEPIA, 0, 255).astype(np.uint8) for picture in greyed(pictures)]


def blue(pictures):
    stops = [(0, 0, 20), (60, 100, 160), (225, 240, 255)]
    return [tones(picture.astype(float), stops, smooth=False).astype(np.uint8) for picture in greyed(pictures)]


def painted(pictures, name):
    """Scenes of one hue, by name, made of the pictures."""
    rng, found = np.random.default_rng(4), []
    for picture in greyed(pictures):
        found += [np.clip(one, 0, 255).astype(np.uint8) for what, one in of_one_hue(picture.astype(float), rng) if name in what]
    return found[: len(pictures)]


def subtitled(pictures, share, *, seed=5, colour=(255, 230, 0)):
    """Yellow text, of another width each time, low in this share of the pictures: broken strokes with the picture between them."""
    rng = np.random.default_rng(seed)
    found = [picture.copy() for picture in pictures]
    for picture in found[: round(share * len(found))]:
        height, width = picture.shape[:2]
        half = int(width * rng.uniform(0.15, 0.4))
        text = picture[int(0.86 * height) : int(0.93 * height), width // 2 - half : width // 2 + half]
        text[rng.random(text.shape[:2]) < 0.45] = colour
    return found


def flat(number, *stripes, seed=0):
    """Frames of a game: a few flat colours, given with where they end, and something grey that moves between them."""
    rng = np.random.default_rng(seed)
    found = [picture.copy() for picture in greyed(scenes(number, seed=seed))]
    for picture in found:
        for begin, end, colour in stripes:
            picture[begin:end] = colour
        top, left = rng.integers(24, 36), rng.integers(0, 50)
        picture[top : top + 6, left : left + 6] = rng.integers(20, 200)
    return found


SKY, GRASS, MIST = (135, 190, 235), (70, 150, 60), (0.75, 0.9, 1.0)
FILMS = {
    "grey": (lambda: greyed(scenes(40)), 0, 0),
    "sepia": (lambda: toned(scenes(40)), 0, 0),
    "sepia, yellow subtitles in 91 %": (lambda: subtitled(toned(scenes(44)), 0.91), 0, 0),
    "sepia, yellow subtitles in 50 %": (lambda: subtitled(toned(scenes(44)), 0.5), 0, 0),
    "grey, white subtitles": (lambda: subtitled(greyed(scenes(40)), 0.8, colour=(255, 255, 255)), 0, 0),
    "grey, letterboxed": (lambda: greyed([barred(picture) for picture in scenes(40)]), 0, 0),
    "grey city under a flat sky": (lambda: flat(60, (0, 20, SKY)), 60, 60),
    "flat ground, grey above": (lambda: flat(60, (44, 64, GRASS)), 60, 60),
    "sky and ground": (lambda: flat(60, (0, 20, SKY), (44, 64, GRASS)), 60, 60),
    "grey rooms and a status bar": (lambda: flat(60, (54, 64, (150, 90, 40))), 60, 60),
    "colour, letterboxed": (lambda: [barred(picture) for picture in scenes(40)], 40, 40),
    "colour, yellow subtitles": (lambda: subtitled(scenes(40), 0.9), 40, 40),
    "colour, 35 % in mist": (
        lambda: scenes(26) + [np.clip(one * MIST, 0, 255).astype(np.uint8) for one in greyed(scenes(14, seed=8))],
        40,
        40,
    ),
    "colour, 35 % snow": (lambda: scenes(26) + painted(scenes(14, seed=8), "snow"), 40, 40),
    "colour, 35 % under water": (lambda: scenes(26) + painted(scenes(14, seed=8), "under water"), 40, 40),
    "colour, 35 % green night": (lambda: scenes(26) + painted(scenes(14, seed=8), "green night"), 40, 40),
    "blue toning, sharp at 64": (lambda: blue(scenes(40)), 0, 2),
    "two thirds tinted reels": (lambda: scenes(13) + toned(scenes(27, seed=8)), 13, 13),
    "a red coat in every third frame of a grey film": (
        lambda: [
            np.where((np.indices((64, 64)) - [[[10 + 3 * (n % 13)]], [[12]]] < 7).all(0)[..., None], (190, 30, 40), one).astype(
                np.uint8
            )
            if n % 3 == 0
            else one
            for n, one in enumerate(greyed(scenes(39)))
        ],
        13,
        13,
    ),
}


@pytest.mark.parametrize("name", FILMS)
def test_whole_films_are_judged_with_what_their_frames_tell_of_each_other(name, tmp_path):
    make, least, most = FILMS[name]
    film = [*make(), *([PICTURES[0][100:164, 200:264]] if not least else [])]  # one frame in colour, else the stage refuses
    folder, split = write(tmp_path / "f", film), parts(tmp_path, len(film), "train")
    keep = filter_frames([folder], split=split, params=PARAMS, out=tmp_path / "out.parquet")["keep"].to_numpy()
    assert least <= keep.sum() - (not least) <= most, keep.sum()


def test_the_stage_says_why_and_counts_doubles(tmp_path, caplog):
    film = scenes(30)
    black, white = np.zeros_like(film[0]), np.full_like(film[0], 255)
    film = [
        *film[:10],
        black,
        (film[10] * 0.16).astype(np.uint8),
        *film[11:20],
        white,
        *greyed(film[20:22]),
        *film[:8],
        *film[22:30],
    ]
    split = np.array(["train"] * 24 + ["val"] * 8 + ["test"] * 8)
    first = write(tmp_path / "f", film)
    other = write(tmp_path / "g", film[2:6], source="other")
    table = pd.concat([pd.read_parquet(parts(tmp_path, 40, split)), pd.read_parquet(parts(tmp_path, 4, "test", "other"))])
    table.sample(frac=1, random_state=0).to_parquet(tmp_path / "split.parquet", index=False)
    found = filter_frames([first, other], split=tmp_path / "split.parquet", params=PARAMS, out=tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(found, pd.read_parquet(tmp_path / "out.parquet"), check_dtype=False)
    assert list(found.columns) == ["source", "frame", "split", "keep", "reason", "mean_chroma", "colour", "cut"]
    why = found[(found["source"] == "film") & ~found["keep"]].sort_values("frame")
    assert dict(zip(why["frame"] // 24, why["reason"], strict=True)) == {
        10: "black",
        11: "fade",
        21: "white",
        22: "grey",
        23: "grey",
    }
    facts = json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[METADATA_KEY])
    assert facts["grey"] == PARAMS.grey and facts["counted"] == {"film": 1.0, "other": 1.0}
    assert facts["doubles"]["val"] == {"film": {"frames": 8, "same": 8, "other": 0}}
    assert facts["doubles"]["test"]["other"] == {"frames": 4, "same": 0, "other": 4}
    assert facts["doubles"]["test"]["film"]["same"] == 0
    assert "8 of 8 frames of val look like a training frame" in caplog.text
    said = filtering(tmp_path / "out.parquet", None)
    assert sum(said.kept) == found["keep"].sum() and sum(said.dropped) == 2 and said.hue == 0
    assert [(one.part, one.source, one.frames, one.same, one.other) for one in said.doubles] == [
        ("val", "film", 8, 8, 0),
        ("test", "film", 8, 0, 0),
        ("test", "other", 4, 0, 4),
    ]
    before = {"out.parquet": (tmp_path / "out.parquet").read_bytes()}
    filter_frames([first, other], split=tmp_path / "split.parquet", params=PARAMS, out=tmp_path / "out.parquet")
    assert before == {name: (tmp_path / name).read_bytes() for name in before}, "the same bytes again"
    dropping = FilterParams(duplicates=True)
    again = filter_frames([first, other], split=tmp_path / "split.parquet", params=dropping, out=tmp_path / "again.parquet")
    twice = again[again["reason"] == "duplicate"]
    assert sorted(twice["frame"] // 24) == list(range(24, 32)) and set(twice["source"]) == {"film"}


def test_of_a_pair_chroma_is_the_colour_prints_and_cuts_are_the_grey_ones(tmp_path):
    colour = scenes(3)
    colour = [colour[0]] * 8 + [colour[1]] * 8
    still = np.repeat(PICTURES[2][:64, :64].mean(axis=2).astype(np.uint8)[None, None], 16, axis=0)
    still[12:] = 255 - still[12:]
    folder, split = write(tmp_path / "p", colour, greys=still), parts(tmp_path, 16, "train")
    table = filter_frames([folder], split=split, params=PARAMS, out=tmp_path / "out.parquet")
    assert np.flatnonzero(table["cut"]).tolist() == [0, 12] and table["keep"].all() and table["colour"].min() > 5


def test_what_cannot_be_is_said_in_a_sentence(tmp_path):
    folder, split = write(tmp_path / "f", greyed(scenes(6))), parts(tmp_path, 6, "train")
    with pytest.raises(UserError, match=r"^None of the 6 training frames stays \(6 grey\): lower `filter.grey` \(2.5\)\.$"):
        filter_frames([folder], split=split, params=PARAMS, out=tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    assert filter_frames([folder], split=split, params=FilterParams(grey=0), out=tmp_path / "all.parquet")["keep"].all()
    toned = [np.clip(picture * SEPIA, 0, 255).astype(np.uint8) for picture in greyed([barred(one) for one in scenes(24)])]
    mixed = write(tmp_path / "toned", [*toned, *[np.zeros_like(toned[0])] * 3], source="toned")
    with pytest.raises(
        UserError,
        match=r"27 training frames stays \(24 grey, 3 black; bars, a logo or subtitles, 28% of the picture of toned, do not "
        r"count\): lower `filter.grey` \(2.5\) or lower `filter.black` \(3\) or lower `filter.one_hue` \(0.5\), since some have a hue\.$",
    ):
        filter_frames([mixed], split=parts(tmp_path, 27, "train", "toned"), params=PARAMS, out=tmp_path / "out.parquet")
    with pytest.raises(UserError, match=r"^There are no training frames: give the part `train`"):
        filter_frames([folder], split=parts(tmp_path, 6, "val"), params=PARAMS, out=tmp_path / "out.parquet")
    with pytest.raises(UserError, match=r"split\.parquet is missing: run the split stage"):
        filter_frames([folder], split=tmp_path / "no/split.parquet", params=PARAMS, out=tmp_path / "out.parquet")
    with pytest.raises(UserError, match="names frames of film, whose folder was not given"):
        other = write(tmp_path / "g", scenes(3), source="other")
        filter_frames([other], split=split, params=PARAMS, out=tmp_path / "out.parquet")
    with pytest.raises(UserError, match=r"Frame 144 of film is in .* but in no frame index"):
        filter_frames([folder], split=parts(tmp_path, 7, "train"), params=PARAMS, out=tmp_path / "out.parquet")


def test_the_sheet_shows_the_nearest_of_both_sides_and_no_neighbours(tmp_path):
    colour = np.array([2.4, 2.41, 2.6, 0.1, 9.0, 2.55, 1.0])
    at = np.array([0, 3, 40, 80, 120, 160, 200])
    assert borderline(colour, np.zeros(7, int), at, grey=2.5, each=2) == [6, 1, 5, 2]
    assert borderline(colour, np.array([0, 1, 0, 0, 0, 0, 0]), at, grey=2.5, each=2) == [0, 1, 5, 2]
    draw_borderline([], tmp_path / "none.png", grey=2.5)
    assert Image.open(tmp_path / "none.png").size == (480, 60)
    sizes = [
        Shown(np.full((20, 90, 3), 200, np.uint8), "a", 61.0, 1.0),
        Shown(np.full((300, 200, 3), 50, np.uint8), "b", 0.0, 3.0),
    ]
    draw_borderline(sizes, tmp_path / "two.png", grey=2.5)
    assert Image.open(tmp_path / "two.png").size[0] > 320
    assert sum(counts(np.array([0.0, 0.05, 2.5, 1e4]))) == 4 and np.searchsorted(edges(), 2.5) > 0
