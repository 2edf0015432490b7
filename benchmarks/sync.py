"""Claim: two prints of one film are brought together to the frame and to the pixel, whatever was done to them.

    python benchmarks/sync.py --cache FOLDER --out FOLDER --folder FOLDER_WITH_FILMS

Prints of several real films are made, each with another mix of distortions (sync_recipes.py), and synced; what is found is
compared with what is known of them (sync_truth.py says how, and what is not counted). Two peers stand beside it: a constant
offset by mean brightness, and one by the loudness of the sound (sync_peers.py). Films on the package index are fetched;
others are given by --film NAME=PATH, or --folder and found there by their file names (and SHA-256, where that is known). What
is left out, cannot be made or dies is named in results.md, and the goals count it. Everything made is kept in the cache: a
second run syncs only. Time is that of the sync alone, in a process of its own, against `ffmpeg -f null` of both prints one
after the other, before and after it; memory is the greatest sum over that process and its children (PSS, where the system
tells it), seen ten times a second.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
import sync_recipes
import sync_tables
from sync_peers import by_brightness, by_sound
from sync_prints import Facts, Made, Prints, Shelf, draw_film, loop_cuts, loop_film, loop_places
from sync_runs import run_sync
from sync_truth import SEE, Found, Truth, box_error, judge, looped, misplaced, scores, shown, truth, unrelated

from kinemacolor.align.common import common_area
from kinemacolor.align.laying import apply, corners_of
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_file, read_json, write_json
from kinemacolor.media.probe import probe
from kinemacolor.media.programme import crop_box, placement, programme, window

# ------------------------------------------------------------------------------------------------- one pair of prints


def read_found(out: Path) -> Found:
    """The pairing that a sync has written."""
    table = pq.read_table(out / "alignment.parquet")
    columns = {name: table[name].to_numpy() for name in ("colour_frame", "grey_frame", "segment", "confidence")}
    return Found(**columns)


def true_pairing(prints: Prints, shelf: Shelf) -> Truth:
    """What is right between the two prints of a case."""
    facts = {side: shelf.facts(made) for side, made in (("grey", prints.grey), ("colour", prints.colour))}
    flat = {side: fact.contrast < SEE for side, fact in facts.items()}
    rates = {"grey": float(probe(prints.grey.path).frame_rate), "colour": float(probe(prints.colour.path).frame_rate)}
    if prints.master is None:
        sizes = (len(flat["grey"]), len(flat["colour"]))
        return unrelated(*sizes, flat=(flat["grey"], flat["colour"]), rates=(rates["grey"], rates["colour"]))
    film = shelf.facts(prints.master)
    film_rate = probe(prints.master.path).frame_rate
    still = film.still.copy()
    if prints.master.recipe is not None:
        # Where the master holds a picture it stands by its recipe, whatever the encoding made of it.
        source = shelf.facts(prints.film)
        first = programme(prints.master.recipe, len(source.times), probe(prints.film.path).frame_rate).first[: len(still)]
        held = np.flatnonzero((first[1:] == first[:-1]) & (first[1:] >= 0)) + 1
        for number in held:
            still[number] = still[number - 1]
    sides = {}
    for side, made in (("grey", prints.grey), ("colour", prints.colour)):
        told = None
        if made != prints.master:
            told = programme(made.recipe, len(film.times), film_rate)
            if told.frames != len(facts[side].times):
                print(
                    f"{prints.case.name}: the {side} print has {len(facts[side].times)} frames, not {told.frames}",
                    file=sys.stderr,
                )
        sides[side] = shown(
            told, master_still=still, master_flat=film.contrast < SEE, flat=flat[side],
            rate=rates[side] if told is None else float(told.rate), halves=side == "colour",
        )  # fmt: skip
    return truth(sides["grey"], sides["colour"])


def geometry_error(prints: Prints, out: Path) -> tuple[float, float, float]:
    """Residual that the sync reports, true error, and error of the edges of the colour crop, all in pixels at 480 lines."""
    geometry = read_json(out / "geometry.json")
    film = probe(prints.master.path)
    sides = []
    grey_window = whole = (0.0, 0.0, float(film.width), float(film.height))
    for made in (prints.grey, prints.colour):
        if made == prints.master:
            sides.append((np.eye(2, 3), whole))
        else:
            sides.append(tuple(placement(made.recipe, film.height, film.width)))
    lines = geometry["size"]["grey"][0]
    error, right = misplaced(np.array(geometry["transform"]), grey=sides[0], colour=sides[1], lines=lines)
    # What the grey print has of the film, as it lies in the colour print.
    crop = np.array(sides[1][1])
    if prints.grey != prints.master:
        grey_window = window(prints.grey.recipe, film.height, film.width)
        cut = apply(sides[1][0], corners_of(crop_box(prints.grey.recipe, film.height, film.width)))
        crop = np.concatenate([np.maximum(crop[:2], cut.min(axis=0)), np.minimum(crop[2:], cut.max(axis=0))])
    common, _ = common_area(right, grey_box=grey_window, colour_box=crop)
    edges = box_error(geometry["colour_crop"], common, geometry["size"]["colour"][0])
    return geometry["residual_px"] * 480 / lines, error, edges


def same_rate(prints: Prints) -> bool:
    """Whether the recipes leave both prints at one rate, frame by frame, so that exactness may be asked for.

    Frames that are dropped while the others keep their times change nothing of that: those that are there have a partner.
    """
    of_film = probe(prints.film.path).frame_rate
    of_master = of_film if prints.master is None else _rate_of(prints.master, of_film)
    of_grey = _rate_of(prints.grey, of_master)
    if prints.master is None:
        of_colour = probe(prints.colour.path).frame_rate
    else:
        of_colour = of_master if prints.colour == prints.master else _rate_of(prints.colour, of_master)
    recipes = [made.recipe for made in (prints.grey, prints.colour) if made.recipe is not None]
    return of_grey == of_colour and all(recipe.conversion == "speed" for recipe in recipes)


def _rate_of(made: Made, before: Fraction) -> Fraction:
    """Frames a second that the recipe asks of a print of a film that has `before`."""
    return before if made.recipe is None or made.recipe.frame_rate is None else Fraction(made.recipe.frame_rate)


def peers(prints: Prints, facts: tuple[Facts, Facts], cache: Path) -> dict[str, tuple[Found, float] | None]:
    """The pairings of both peers, kept in the cache."""
    target = cache / "facts" / f"peers-{prints.grey.key[:16]}-{prints.colour.key[:16]}.npz"
    names = ("colour_frame", "grey_frame", "segment", "confidence")
    if not target.is_file():
        grey, colour = facts
        found = {
            "brightness": by_brightness((grey.times, grey.mean), (colour.times, colour.mean)),
            "sound": by_sound(prints.grey.path, prints.colour.path, (grey.times, colour.times)),
        }
        held: dict[str, Any] = {}
        for method, pairing in found.items():
            if pairing is not None:
                held |= {f"{method}.{name}": getattr(pairing[0], name) for name in names} | {f"{method}.score": pairing[1]}
        with atomic_file(target) as temporary, temporary.open("wb") as file:
            np.savez(file, **held)
    with np.load(target) as held:
        return {
            method: (Found(*(held[f"{method}.{name}"] for name in names)), float(held[f"{method}.score"]))
            if f"{method}.score" in held
            else None
            for method in ("brightness", "sound")
        }


def measure(
    prints: Prints, shelf: Shelf, out: Path, *, timed: bool
) -> tuple[list[dict[str, Any]], tuple[np.ndarray, np.ndarray]]:
    """Sync the two prints of a case and score it and its peers.

    Returns:
        A row of figures for each method; the sync's confidence and exactness, pair by pair.
    """
    case = prints.case
    true = true_pairing(prints, shelf)
    common = {
        "print": case.name, "film": case.film, "refuse": case.refused, "same_rate": same_rate(prints),
        "grey_frames": len(true.grey.flat), "colour_frames": len(true.colour.flat),
    }  # fmt: skip
    found = Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    residual = error = edges = None
    try:
        run = run_sync(prints.grey.path, prints.colour.path, out, timed=timed)
    except RuntimeError as death:
        # It has paired nothing, and counts so.
        print(f"{case.name}: {death}", file=sys.stderr, flush=True)
        cost = {"crashed": True, "refused": False, "said": str(death).strip().splitlines()[-1]}
        cost |= dict.fromkeys(("seconds", "decode", "memory"))
    else:
        cost = {"crashed": False, "refused": run.error is not None, "said": run.error}
        cost |= {"seconds": run.seconds, "decode": run.decode, "memory": run.memory}
        if run.error is None:
            found = read_found(out)
            if prints.master is not None:
                residual, error, edges = geometry_error(prints, out)
    judged = judge(found, true)
    placed = {"residual": residual, "error": error, "edges": edges}
    rows = [common | {"method": "sync"} | cost | placed | scores(found, judged, true)]
    for method, pairing in peers(prints, (shelf.facts(prints.grey), shelf.facts(prints.colour)), shelf.cache).items():
        if pairing is not None:
            rows.append(common | {"method": method, "score": pairing[1]} | scores(pairing[0], judge(pairing[0], true), true))
    return rows, (found.confidence[judged.counted], judged.exact[judged.counted])


# ------------------------------------------------------------------------------------------------- a long film


def long_film(shelf: Shelf, out: Path, hours: float) -> str:
    """Time, memory and pairs of two prints of so many hours, looped with cuts from those of the case `whole_pal`."""
    prints = shelf.prints(next(case for case in sync_recipes.CASES if case.name == "whole_pal"))
    film = probe(prints.colour.path)
    places = loop_places(film.duration, hours=hours, seed=4)
    shows = programme(prints.grey.recipe, film.frames, film.frame_rate).alignment()
    there = [tuple(np.interp(place, shows["colour_time"], shows["grey_time"])) for place in places]
    films = {
        side: loop_film(made.path, shelf.cache / "prints" / f"long.{side}-{hours:g}h-{made.key[:8]}.mp4", stretches)
        for side, made, stretches in (("grey", prints.grey, there), ("colour", prints.colour, places))
    }
    run = run_sync(films["grey"], films["colour"], out / "long", timed=True)
    facts = [probe(film) for film in films.values()]
    if run.error is None:
        once = true_pairing(prints, shelf)
        true = truth(
            looped(once.grey, loop_cuts(prints.grey.path, there)), looped(once.colour, loop_cuts(prints.colour.path, places))
        )
        found = read_found(out / "long")
        ended = sync_tables.matched(scores(found, judge(found, true), true))
    else:
        ended = f"refused: {run.error}"
    return (
        f"Long film: {facts[0].duration / 3600:.2f} h and {facts[1].duration / 3600:.2f} h, {facts[0].frames:,} and {facts[1].frames:,} "
        f"frames: {run.seconds:.0f} s, {run.seconds / run.decode:.2f} of the decode of both, {run.memory:.0f} MiB; {ended}"
    )


# ------------------------------------------------------------------------------------------------- the whole


def chosen_cases(
    cases: Iterable[sync_recipes.Case], only: list[str] | None, shelf: Shelf
) -> tuple[list[sync_recipes.Case], list[tuple[str, str]]]:
    """The cases that are asked for and whose films are at hand; and of the others the names, and why."""
    chosen, left = [], []
    for case in cases:
        if not _wanted(case.name, only):
            left.append((case.name, sync_tables.NOT_ASKED))
        elif lacking := shelf.missing(case):
            left.append((case.name, f"without the film {' and '.join(lacking)} (give --film NAME=PATH or --folder)"))
            print(f"{case.name} left out: {left[-1][1]}", file=sys.stderr)
        else:
            chosen.append(case)
    return chosen, left


def _wanted(name: str, patterns: list[str] | None) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def made_prints(cases: Iterable[sync_recipes.Case], shelf: Shelf) -> tuple[list[Prints], list[tuple[str, str]]]:
    """The prints of all cases, with what is to be known of them; and the names of those that cannot be made, and why."""
    done, failed = [], []
    for case in cases:
        begin = time.perf_counter()
        try:
            prints = shelf.prints(case)
            for made in {prints.grey, prints.colour, *([prints.master] if prints.master else [])}:
                shelf.facts(made)
            peers(prints, (shelf.facts(prints.grey), shelf.facts(prints.colour)), shelf.cache)
        except Exception as error:  # one case that fails must not cost the others
            if not isinstance(error, UserError | RuntimeError):
                traceback.print_exc()
            failed.append((case.name, f"could not be made: {_sentence(error)}"))
            print(f"{case.name} {failed[-1][1]}", file=sys.stderr)
            continue
        done.append(prints)
        _add_to_index(prints, shelf.cache / "prints.json")
        if time.perf_counter() - begin > 1:
            print(f"made {case.name} in {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
    return done, failed


def _sentence(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def _add_to_index(prints: Prints, target: Path) -> None:
    """Say where the prints of a case lie, for those who work with them by hand."""
    known = read_json(target) if target.is_file() else {}
    known[prints.case.name] = {"grey": str(prints.grey.path), "colour": str(prints.colour.path)}
    write_json(target, known)


def main() -> None:
    """Make the prints, sync them, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", action="append", default=[], metavar="NAME=PATH", help="a film; may be repeated")
    parser.add_argument(
        "--folder", action="append", default=[], type=Path, help="a folder in which films are found by name; may be repeated"
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/sync"), help="where films and prints are kept (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path(".cache/sync/results"), help="where results and pictures go (%(default)s)"
    )
    parser.add_argument("--only", action="append", metavar="PATTERN", help="names of prints, such as 'pal*'; may be repeated")
    parser.add_argument("--seconds", type=float, help="begin no further sync after so many seconds")
    parser.add_argument("--jobs", type=int, default=1, help="syncs at the same time; above one, times mean little")
    parser.add_argument("--make-only", action="store_true", help="make the prints and stop")
    parser.add_argument("--no-time", action="store_true", help="leave out the plain decodes")
    parser.add_argument(
        "--explain", type=int, default=10, metavar="N", help="how many of the worst prints are told of (%(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="five small prints of drawn films")
    parser.add_argument("--long", type=float, metavar="HOURS", help="only the two long prints: time and memory")
    arguments = parser.parse_args()
    films = dict(entry.split("=", 1) for entry in arguments.film if "=" in entry)
    if len(films) != len(arguments.film):
        parser.error("--film takes NAME=PATH, each name once")
    shelf = Shelf(arguments.cache, {name: Path(path) for name, path in films.items()}, arguments.folder)
    if arguments.quick:
        drawn = {name: shelf.cache / "films" / f"{name}.mp4" for name in ("drawn", "drawn_other")}
        films = {name: draw_film(path, which=which) for which, (name, path) in enumerate(drawn.items())}
        shelf = Shelf(arguments.cache, films, [])
    try:
        if arguments.long:
            print(long_film(shelf, arguments.out, arguments.long))
            return
        benchmark(arguments, shelf)
    except UserError as error:
        sys.exit(str(error))


def benchmark(arguments: argparse.Namespace, shelf: Shelf) -> None:
    """Everything but the long film."""
    cases = sync_recipes.quick_cases(288) if arguments.quick else sync_recipes.CASES
    chosen, left = chosen_cases(cases, arguments.only, shelf)
    prints, failed = made_prints(chosen, shelf)
    left += failed
    if arguments.make_only:
        return
    begin = time.perf_counter()
    rows: list[dict[str, Any]] = []
    sure: list[tuple[np.ndarray, np.ndarray]] = []
    broken: list[tuple[str, str]] = []

    def one(case_prints: Prints) -> None:
        name = case_prints.case.name
        if arguments.seconds is not None and time.perf_counter() - begin > arguments.seconds:
            left.append((name, "not begun in time"))
            return
        try:
            figures, confidence = measure(case_prints, shelf, arguments.out / name, timed=not arguments.no_time)
        except Exception as error:  # one print that fails must not cost the figures of the others
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            broken.append((name, _sentence(error)))
            return
        rows.extend(figures)
        sure.append(confidence)
        print(sync_tables.line(figures[0]), flush=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(one, prints))
    order = {case_prints.case.name: number for number, case_prints in enumerate(prints)}
    rows.sort(key=lambda row: order[row["print"]])
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = sync_tables.report(rows, sure, broken=broken, left=left, known=len(cases), explain=arguments.explain)
    (arguments.out / "results.md").write_text(text)
    if rows:
        pq.write_table(pa.Table.from_pylist(rows, schema=sync_tables.SCHEMA), arguments.out / "results.parquet")
    print(f"\n{text}")


if __name__ == "__main__":
    main()
