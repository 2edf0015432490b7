"""The tables of benchmarks/sync.py, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sync_truth import calibration, miscalibration

Row = dict[str, Any]

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("print", "film", "method")]
    + [(name, pa.bool_()) for name in ("refuse", "refused", "crashed", "same_rate")]
    + [(name, pa.int64()) for name in ("grey_frames", "colour_frames", "true_pairs", "exact_frames", "strict_frames")]
    + [(name, pa.int64()) for name in ("near_frames", "wrong_frames", "pairs", "exact_pairs", "near_pairs", "false")]
    + [(name, pa.int64()) for name in ("segments", "segments_missed", "segments_false", "segments_said", "splits", "merges")]
    + [(name, pa.float64()) for name in ("exact", "strict", "near", "wrong", "said_exact", "said_near")]
    + [(name, pa.float64()) for name in ("residual", "error", "edges", "score")]
    + [(name, pa.float64()) for name in ("seconds", "decode", "memory")]
    + [("said", pa.string())]
)
METHODS = {"sync": "sync", "brightness": "constant offset, mean brightness", "sound": "constant offset, loudness of the sound"}
_HEAD = (
    "| print | film | exact | within 1 | wrong | of the pairs exact / within 1 | false | segments found / missed / false "
    "| said (split / merged) | residual | true error | edges | time | MiB | brightness exact / within 1 | sound exact / within 1 |"
)
NOT_ASKED = "not asked for"
LEAST = 40  # prints that belong together must be measured


def line(row: Row) -> str:
    """One print in one line, for whoever watches."""
    if row["crashed"]:
        return f"{row['print']:24} CRASHED  {row['said']}"
    end = f"{row['seconds']:6.1f} s{_ratio(row):>6} {row['memory'] or 0:5.0f} MiB"
    if row["refused"]:
        return f"{row['print']:24} {'refused':60} {end}  {row['said']}"
    parts = (
        f"exact {_share(row['exact']):>6} near {_share(row['near']):>6} wrong {_share(row['wrong']):>6} false {row['false']:4}"
    )
    segments = f"segments {_found(row)} of {_said(row)} said"
    return f"{row['print']:24} {parts} {segments} px {_number(row['residual'])} {_number(row['error'])} {_number(row['edges'])} {end}"


def matched(row: Row) -> str:
    """What of one pairing is right, in words."""
    return (
        f"of {row['true_pairs']:,} frames with a partner exact {_share(row['exact'])}, within one {_share(row['near'])}, wrong "
        f"{_share(row['wrong'])}; false {row['false']:,}; segments {row['segments']} found of "
        f"{row['segments'] + row['segments_missed']}, {row['segments_false']} false, {row['segments_said']} said "
        f"({row['splits']} splits, {row['merges']} merges)"
    )


def report(
    rows: Sequence[Row],
    sure: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    broken: Sequence[tuple[str, str]],
    left: Sequence[tuple[str, str]],
    known: int,
    explain: int = 10,
) -> str:
    """All tables.

    Args:
        rows: one for each print and method, in the order of the prints.
        sure: confidence and exactness of the pairs of every sync.
        broken: names of the prints that could not be measured, and why.
        left: names of the prints that were left out or could not be made, and why.
        known: how many prints there are in all.
        explain: how many of the worst are told of.
    """
    ours = [row for row in rows if row["method"] == "sync"]
    if not ours:
        return "\n\n".join(["No print was synced.", *_without(ours, broken, left)]) + "\n"
    related = [row for row in ours if not row["refuse"]]
    parts = [_prints(related, rows)] if related else []
    if related:
        parts.append(_together(rows))
    parts.append(_goals(ours, broken, left, known))
    if related:
        parts += [_calibration(sure), _worst(related, explain)]
    parts += [_refusals(ours), *_without(ours, broken, left)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _prints(related: Sequence[Row], rows: Sequence[Row]) -> str:
    lines = [_HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
    others = {(row["print"], row["method"]): row for row in rows}
    for row in related:
        cells = [row["print"], row["film"]]
        if row["refused"]:
            cells += ["refused", *["–"] * 9]
        elif row["crashed"]:
            cells += ["crashed", *["–"] * 9]
        else:
            cells += [_share(row[name]) for name in ("exact", "near", "wrong")]
            cells += [f"{_share(row['said_exact'])} / {_share(row['said_near'])}", str(row["false"]), _found(row), _said(row)]
            cells += [_number(row["residual"]), _number(row["error"]), _number(row["edges"])]
        cells += [_ratio(row) or "–", f"{row['memory']:.0f}" if row["memory"] else "–"]
        for method in ("brightness", "sound"):
            other = others.get((row["print"], method))
            cells.append("–" if other is None else f"{_share(other['exact'])} / {_share(other['near'])}")
        lines.append("| " + " | ".join(cells) + " |")
    note = (
        "exact, within 1, wrong: of all colour frames that have a partner; the rest is not paired. of the pairs: of those that are said "
        "and count. false: pairs of what has no partner. residual (median, as the sync says), true error (mean over the common area) "
        "and edges (mean distance of those of the colour crop from the true common box): pixels at 480 lines. time: of a plain decode "
        "of both prints."
    )
    return "\n".join(lines) + "\n\n" + note


def _together(rows: Sequence[Row]) -> str:
    head = (
        "| all prints | method | prints | frames | exact | strict | within 1 | wrong | of the pairs exact / within 1 | false "
        "| segments found / missed / false | said (split / merged) |"
    )
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    kinds: list[tuple[str, Callable[[Row], bool]]] = [
        ("one rate", lambda row: row["same_rate"]),
        ("other rates", lambda row: not row["same_rate"]),
        ("all", lambda row: True),
    ]
    for title, belongs in kinds:
        for method, name in METHODS.items():
            some = [row for row in rows if row["method"] == method and not row["refuse"] and belongs(row)]
            if not some:
                continue
            total = {key: sum(row[key] for row in some) for key in _SUMMED}
            cells = [title, name, str(len(some)), f"{total['true_pairs']:,}"]
            cells += [_of(total[f"{key}_frames"], total["true_pairs"]) for key in ("exact", "strict", "near", "wrong")]
            cells.append(f"{_of(total['exact_pairs'], total['pairs'])} / {_of(total['near_pairs'], total['pairs'])}")
            cells += [f"{total['false']:,}", _found(total), _said(total)]
            lines.append("| " + " | ".join(cells) + " |")
    note = (
        "Frames: the colour frames that have a partner, of refused and crashed prints too. strict: exact where each frame of a standing "
        "picture must meet its own."
    )
    return "\n".join(lines) + f"\n\n{note}"


_SUMMED = (
    *(
        "true_pairs",
        "exact_frames",
        "strict_frames",
        "near_frames",
        "wrong_frames",
        "pairs",
        "exact_pairs",
        "near_pairs",
        "false",
    ),
    *("segments", "segments_missed", "segments_false", "segments_said", "splits", "merges"),
)


def _goals(ours: Sequence[Row], broken: Sequence[tuple[str, str]], left: Sequence[tuple[str, str]], known: int) -> str:
    """What is asked for. A print that was refused or died has paired nothing: all its frames and segments are missed."""
    related = [row for row in ours if not row["refuse"]]
    good = [row for row in related if not row["refused"] and not row["crashed"]]
    lines = ["| goal | reached |", "|---|---|"]

    def add(goal: str, reached: str, met: bool) -> None:
        lines.append(f"| {goal} | {'yes' if met else 'no'}: {reached} |")

    reached = f"{len(ours)} of {known}, {len(related)} of them belong together"
    add(f"at least {LEAST} prints that belong together measured", reached, len(related) >= LEAST)
    died = [row["print"] for row in ours if row["crashed"]] + [name for name, _ in broken]
    add("no crash", ", ".join(died) or "none", not died)
    unmade = [name for name, why in left if why != NOT_ASKED]
    add("no print that was asked for left out", ", ".join(unmade) or "none", not unmade)
    for title, name, least, belongs in (
        ("99.5 % exact at one rate", "exact", 0.995, True),
        ("99 % within one at other rates", "near", 0.99, False),
    ):
        some = [row for row in related if row["same_rate"] is belongs and row["true_pairs"]]
        if some:
            whole = sum(row[f"{name}_frames"] for row in some) / sum(row["true_pairs"] for row in some)
            mean = float(np.mean([row[name] for row in some]))
            worst = min(some, key=lambda row: row[name])
            below = sum(row[name] < least for row in some)
            reached = (
                f"{_share(whole)} of all frames that have a partner, mean of the prints {_share(mean)}; {below} of {len(some)} prints "
                f"below, least {_share(worst[name])} ({worst['print']})"
            )
            add(title, reached, whole >= least)
    for kind in ("missed", "false"):
        some = {row["print"]: row[f"segments_{kind}"] for row in related if row[f"segments_{kind}"]}
        reached = f"{sum(some.values())}{f' ({_listed(some)})' if some else ''}"
        if kind == "missed":
            reached += f" of {sum(row['segments'] + row['segments_missed'] for row in related)}"
        add("no true segment missed" if kind == "missed" else "no false segment", reached, not some)
    errors = [row for row in good if row["error"] is not None]
    if errors:
        worst = max(errors, key=lambda row: row["error"])
        middle = float(np.median([row["error"] for row in errors]))
        reached = f"true error {middle:.2f} px in the middle, {worst['error']:.2f} px at most ({worst['print']})"
        add("geometry within half a pixel at 480 lines", reached, worst["error"] < 0.5)
    timed = [row for row in ours if row["decode"]]
    if timed:
        ratios = {row["print"]: row["seconds"] / row["decode"] for row in timed}
        whole = sum(row["seconds"] for row in timed) / sum(row["decode"] for row in timed)
        worst = max(ratios, key=ratios.get)
        reached = (
            f"{whole:.2f} in all, {np.median(list(ratios.values())):.2f} in the middle, {ratios[worst]:.2f} at most ({worst})"
        )
        add("at most 1.3 times the decode of both", reached, whole <= 1.3)
    memory = [row for row in ours if row["memory"]]
    if memory:
        most = max(memory, key=lambda row: row["memory"])
        add("memory under 1 GiB", f"{most['memory']:.0f} MiB at most ({most['print']})", most["memory"] < 1024)
    lost = [row["print"] for row in related if row["refused"]]
    add("nothing refused that belongs together", ", ".join(lost) or "none", not lost)
    taken = [row["print"] for row in ours if row["refuse"] and not row["refused"]]
    if any(row["refuse"] for row in ours):
        add("everything refused that does not", f"taken: {', '.join(taken)}" if taken else "all refused", not taken)
    return "\n".join(lines)


def _calibration(sure: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    if not sum(len(confidence) for confidence, _ in sure):
        return ""
    rows = calibration(np.concatenate([confidence for confidence, _ in sure]), np.concatenate([exact for _, exact in sure]))
    lines = ["| confidence | pairs | mean confidence | exact |", "|---|---|---|---|"]
    for number, (count, mean, share) in enumerate(rows):
        lines.append(f"| {number / 10:.1f} to {number / 10 + 0.1:.1f} | {count:,} | {_number(mean, 3)} | {_number(share, 3)} |")
    return "\n".join(lines) + f"\n\nMean distance between confidence and what is exact: {miscalibration(rows):.3f}."


def _worst(related: Sequence[Row], explain: int) -> str:
    """The prints of least use: by what they lack of being paired exactly (within one at other rates), then by geometry."""

    def lack(row: Row) -> tuple[float, float]:
        if row["refused"] or row["crashed"]:
            return 2.0, 0.0
        share = row["exact"] if row["same_rate"] else row["near"]
        return (1.0 if math.isnan(share) else 1 - share), row["error"] or 0.0

    worst = sorted(related, key=lack, reverse=True)[: max(0, explain)]
    if not worst:
        return ""
    lines = [f"The worst {len(worst)}, by what is not found or not right:", ""]
    for row in worst:
        if row["refused"] or row["crashed"]:
            lines.append(f"- {row['print']} ({row['film']}): {'crashed' if row['crashed'] else 'refused'}. {row['said']}")
            continue
        rate = "one rate" if row["same_rate"] else "other rates"
        lines.append(
            f"- {row['print']} ({row['film']}, {rate}): {matched(row)}; true error {_number(row['error'])} px, edges "
            f"{_number(row['edges'])} px"
        )
    return "\n".join(lines)


def _refusals(ours: Sequence[Row]) -> str:
    lines = []
    for row in (row for row in ours if row["refuse"]):
        if row["crashed"]:
            lines.append(f"- {row['print']} ({row['film']}): CRASHED. {row['said']}")
            continue
        of_decode = f", {_ratio(row)} of the decode" if row["decode"] else ""
        ended = "refused" if row["refused"] else "TAKEN"
        lines.append(f"- {row['print']} ({row['film']}): {ended} in {row['seconds']:.1f} s{of_decode}. {row['said'] or ''}")
    return "\n".join(["What does not belong together:", "", *lines]) if lines else ""


def _without(ours: Sequence[Row], broken: Sequence[tuple[str, str]], left: Sequence[tuple[str, str]]) -> list[str]:
    """What crashed, what was left out, and what nobody asked for; each by its name."""
    crashed = [*((row["print"], row["said"]) for row in ours if row["crashed"]), *broken]
    parts = []
    for title, some in (("Crashed:", crashed), ("Left out:", [entry for entry in left if entry[1] != NOT_ASKED])):
        if some:
            parts.append("\n".join([title, "", *(f"- {name}: {why}" for name, why in some)]))
    unasked = [name for name, why in left if why == NOT_ASKED]
    if unasked:
        parts.append(f"Not asked for: {', '.join(unasked)}.")
    return parts


def _found(row: Row) -> str:
    return f"{row['segments']} / {row['segments_missed']} / {row['segments_false']}"


def _said(row: Row) -> str:
    return f"{row['segments_said']} ({row['splits']} / {row['merges']})"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(name if count == 1 else f"{name} {count}" for name, count in counts.items())


def _ratio(row: Row) -> str:
    return f"{row['seconds'] / row['decode']:.2f}" if row["decode"] else ""


def _of(part: float, whole: float) -> str:
    return _share(part / whole if whole else float("nan"))


def _share(value: float) -> str:
    """A share in percent; what is not all is never shown as all."""
    if math.isnan(value):
        return "–"
    return "100" if value == 1 else f"{min(value * 100, 99.99):.2f}" if value > 0.99 else f"{value * 100:.1f}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"
