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
    + [(name, pa.bool_()) for name in ("refuse", "refused", "same_rate")]
    + [
        (name, pa.int64())
        for name in ("grey_frames", "colour_frames", "pairs", "exact_pairs", "near_pairs", "true_pairs", "recalled")
    ]
    + [(name, pa.int64()) for name in ("false", "segments", "segments_missed", "segments_false", "segments_said")]
    + [(name, pa.float64()) for name in ("exact", "strict", "near", "wrong", "recall", "residual", "error", "score")]
    + [(name, pa.float64()) for name in ("seconds", "decode", "memory")]
    + [("said", pa.string())]
)
METHODS = {"sync": "sync", "brightness": "constant offset, mean brightness", "sound": "constant offset, loudness of the sound"}
_HEAD = (
    "| print | film | exact | within 1 | wrong | recall | false | segments found / missed / false | residual | true error | time | MiB "
    "| brightness exact / within 1 | sound exact / within 1 |"
)


def line(row: Row) -> str:
    """One print in one line, for whoever watches."""
    end = f"{row['seconds']:6.1f} s{_ratio(row):>6} {row['memory'] or 0:5.0f} MiB"
    if row["refused"]:
        return f"{row['print']:24} {'refused':60} {end}  {row['said']}"
    parts = (
        f"exact {_share(row['exact']):>6} near {_share(row['near']):>6} recall {_share(row['recall']):>6} false {row['false']:4}"
    )
    segments = f"segments {row['segments']}/{row['segments_missed']}/{row['segments_false']}"
    return f"{row['print']:24} {parts} {segments} px {_number(row['residual'])} {_number(row['error'])} {end}"


def report(rows: Sequence[Row], sure: Sequence[tuple[np.ndarray, np.ndarray]], broken: Sequence[tuple[str, str]]) -> str:
    """All tables.

    Args:
        rows: one for each print and method, in the order of the prints.
        sure: confidence and exactness of the pairs of every sync.
        broken: names of the prints that could not be synced, and why.
    """
    ours = [row for row in rows if row["method"] == "sync"]
    if not ours:
        return "No print was synced.\n" + _broken(broken)
    related = [row for row in ours if not row["refuse"]]
    parts = [_prints(related, rows)] if related else []
    if related:
        parts += [_together(rows), _goals(ours), _calibration(sure), _worst(related)]
    parts += [_refusals(ours), _broken(broken)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _prints(related: Sequence[Row], rows: Sequence[Row]) -> str:
    lines = [_HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
    others = {(row["print"], row["method"]): row for row in rows}
    for row in related:
        cells = [row["print"], row["film"]]
        if row["refused"]:
            cells += ["refused", *["–"] * 7]
        else:
            cells += [_share(row[name]) for name in ("exact", "near", "wrong", "recall")]
            cells += [str(row["false"]), f"{row['segments']} / {row['segments_missed']} / {row['segments_false']}"]
            cells += [_number(row["residual"]), _number(row["error"])]
        cells += [_ratio(row) or "–", f"{row['memory']:.0f}" if row["memory"] else "–"]
        for method in ("brightness", "sound"):
            other = others.get((row["print"], method))
            cells.append("–" if other is None else f"{_share(other['exact'])} / {_share(other['near'])}")
        lines.append("| " + " | ".join(cells) + " |")
    note = (
        "exact, within 1, wrong: of the pairs found that count. recall: of the colour frames that have a partner, those paired within one. "
        "residual (median, as the sync says) and true error (mean over the common area): pixels at 480 lines. time: of a plain decode "
        "of both prints."
    )
    return "\n".join(lines) + "\n\n" + note


def _together(rows: Sequence[Row]) -> str:
    head = "| all prints | method | prints | pairs | exact | strict | within 1 | wrong | recall | false | segments found / missed / false |"
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
            strict = sum(row["strict"] * row["pairs"] for row in some if row["pairs"])
            cells = [title, name, str(len(some)), f"{total['pairs']:,}", _of(total["exact_pairs"], total["pairs"])]
            cells += [_of(strict, total["pairs"]), _of(total["near_pairs"], total["pairs"])]
            cells += [_of(total["pairs"] - total["near_pairs"], total["pairs"]), _of(total["recalled"], total["true_pairs"])]
            cells += [f"{total['false']:,}", f"{total['segments']} / {total['segments_missed']} / {total['segments_false']}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\nstrict: exact where each frame of a standing picture must meet its own."


_SUMMED = (
    "pairs",
    "exact_pairs",
    "near_pairs",
    "recalled",
    "true_pairs",
    "false",
    "segments",
    "segments_missed",
    "segments_false",
)


def _goals(ours: Sequence[Row]) -> str:
    good = [row for row in ours if not row["refuse"] and not row["refused"]]
    lines = ["| goal | reached |", "|---|---|"]

    def add(goal: str, reached: str, met: bool) -> None:
        lines.append(f"| {goal} | {'yes' if met else 'no'}: {reached} |")

    for title, name, least, belongs in (
        ("99.5 % exact at one rate", "exact", 0.995, True),
        ("99 % within one at other rates", "near", 0.99, False),
    ):
        some = [row for row in good if row["same_rate"] is belongs and row["pairs"]]
        if some:
            all_pairs = sum(row[f"{name}_pairs"] for row in some) / sum(row["pairs"] for row in some)
            worst = min(some, key=lambda row: row[name])
            below = sum(row[name] < least for row in some)
            reached = (
                f"{_share(all_pairs)} in all; {below} of {len(some)} prints below, least {_share(worst[name])} ({worst['print']})"
            )
            add(title, reached, all_pairs >= least)
    false = sum(row["segments_false"] for row in good)
    add("no false segment", str(false), false == 0)
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
    lost = [row["print"] for row in ours if not row["refuse"] and row["refused"]]
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


def _worst(related: Sequence[Row]) -> str:
    """The ten prints of least use: by what they lack of being paired exactly (within one at other rates), then by geometry."""

    def lack(row: Row) -> tuple[float, float]:
        if row["refused"]:
            return 2.0, 0.0
        share = row["exact"] if row["same_rate"] else row["near"]
        right = 0.0 if math.isnan(share) else share
        return 1 - right * (1 if math.isnan(row["recall"]) else row["recall"]), row["error"] or 0.0

    lines = ["The worst ten, by what is not found or not right:", ""]
    for row in sorted(related, key=lack, reverse=True)[:10]:
        if row["refused"]:
            lines.append(f"- {row['print']} ({row['film']}): refused. {row['said']}")
            continue
        lines.append(
            f"- {row['print']} ({row['film']}): {row['pairs']:,} pairs of {row['true_pairs']:,}, exact {_share(row['exact'])}, within one "
            f"{_share(row['near'])}, recall {_share(row['recall'])}, false {row['false']}, segments {row['segments']} found of "
            f"{row['segments'] + row['segments_missed']}, {row['segments_false']} false, {row['segments_said']} said; true error "
            f"{_number(row['error'])} px"
        )
    return "\n".join(lines)


def _refusals(ours: Sequence[Row]) -> str:
    lines = [
        f"- {row['print']} ({row['film']}): {'refused' if row['refused'] else 'TAKEN'} in {row['seconds']:.1f} s"
        f"{f', {_ratio(row)} of the decode' if row['decode'] else ''}. {row['said'] or ''}"
        for row in ours
        if row["refuse"]
    ]
    return "\n".join(["What does not belong together:", "", *lines]) if lines else ""


def _broken(broken: Sequence[tuple[str, str]]) -> str:
    return "\n".join(["Without figures:", "", *(f"- {name}: {why}" for name, why in broken)]) if broken else ""


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
