"""Print the tables of the README and docs from the figures on disk: every model of every dataset, beside grey.

    python benchmarks/results.py                                                      the models of params.yaml
    python benchmarks/results.py --params presets/results.yaml --out docs/results.md  every network on the same titles

Reads <dataset>/<model>/metrics.json below reports/ or reports/presets/<preset>/, and data/models/<dataset>/<model>/meta.json; trains and measures nothing.
Ratios are against `naive` where it is among the models: below one is better than leaving the film grey. What the page says
of the five projects' questions is decided by the figures, by the rules in `QUESTIONS`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinemacolor import params
from kinemacolor.files import atomic_file

SPLITS = ("train", "val", "test")
NOTHING = 0.03
"""A difference below this share is called none: another seed or another encoding of the film moves a figure as much."""

Figures = Mapping[str, Any]
"""One model: name, params, meta, and its metrics by split."""


# ---------------------------------------------------------------------------------------------- what was found


def machine() -> str:
    """Processor or GPU, cores and system of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def read(chosen: params.Params, data: Path, reports: Path) -> dict[str, dict[str, Figures]]:
    """Dataset -> model -> its figures, for every model of an experiment that has been evaluated."""
    found: dict[str, dict[str, Figures]] = {}
    for dataset, names in chosen.experiments.items():
        for name in names:
            metrics, meta = reports / dataset / name / "metrics.json", data / "models" / dataset / name / "meta.json"
            if metrics.is_file() and meta.is_file():
                read_, about = (json.loads(path.read_text(encoding="utf-8")) for path in (metrics, meta))
                found.setdefault(dataset, {})[name] = {"metrics": read_, "meta": about, "params": chosen.models[name]}
    return found


def number(value: float, digits: int) -> str:
    """A figure without the nought before its point."""
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


# ---------------------------------------------------------------------------------------------------- tables


def rows(models: Mapping[str, Figures]) -> list[list[str]]:
    """One row a model: name, parameters, epochs, seconds, then the figures of each split and their ratios to `naive`."""
    naive = models.get("naive")
    table = []
    for name, model in models.items():
        meta = model["meta"]
        row = [name, f"{meta['parameters']:,}", str(meta["epochs"]), f"{meta['seconds']:.0f}"]
        for split in SPLITS:
            figures = model["metrics"].get(split)
            for key, digits in (("mse_ab@128", 5), ("mse_rgb_pm1", 4)):
                if figures is None:
                    row.append("–")
                    continue
                ratio = f" ({number(figures[key] / naive['metrics'][split][key], 3)})" if naive and name != "naive" else ""
                row.append(number(figures[key], digits) + ratio)
        for key, digits in (("psnr_rgb", 2), ("ssim", 3), ("de2000", 2), ("cf", 1)):
            row.append(number(model["metrics"]["val"][key], digits) if "val" in model["metrics"] else "–")
        table.append(row)
    return table


def table(models: Mapping[str, Figures]) -> list[str]:
    """The Markdown table of one dataset."""
    head = ["model", "parameters", "epochs", "training s"]
    head += [f"{split} {name}" for split in SPLITS for name in ("MSE ab/128", "MSE RGB")]
    head += ["val PSNR", "val SSIM", "val CIEDE2000", "val colourfulness"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows(models)]
    truth = next(iter(models.values()))["metrics"].get("val", {}).get("cf_truth")
    return lines if truth is None else [*lines, "", f"Colourfulness of the true validation frames: {number(truth, 1)}."]


# ------------------------------------------------------------------------------------------------- questions


@dataclass(frozen=True)
class Question:
    """Something that a project asked, and which two models answer it on test frames, which chose no weights.

    Attributes:
        project: whose question.
        claim: what the project found or hoped, as a sentence's beginning.
        better, worse: the model that should be the better one by that claim, and the other.
        figure: what it should be better in; smaller is better.
    """

    project: str
    claim: str
    better: str
    worse: str
    figure: str = "mse_ab@128"


QUESTIONS = (
    Question("Games", "beta at half width beats alpha", "beta_half", "alpha"),
    Question("Games", "the ResNet-18 network beats alpha", "resnet18_lab", "alpha"),
    Question("Games", "ImageNet's VGG-16 as trunk beats the ResNet-18 from random weights", "vgg16_lab", "resnet18_lab"),
    Question("Film", "the U-Net beats the grey input", "film_unet", "naive", "mse_rgb_pm1"),
    Question("Film", "the plain GAN fails beside the same network with squared error", "film_unet", "film_gan", "mse_rgb_pm1"),
    Question("Film", "a conditional GAN with L1 cures it", "film_cgan", "film_gan", "mse_rgb_pm1"),
    Question("Recurrent", "the LSTM helps, with the GAN", "unet_lstm_gan", "unet_gan"),
    Question("Recurrent", "the LSTM helps, with L1 alone", "unet_lstm_l1", "unet_l1"),
    Question(
        "Photos", "classes cure greyness: colourfulness nearer the truth's than by squared error", "eccv16", "eccv16_mse", "dcf"
    ),
    Question("Photos", "weighing the classes by rarity does so further", "eccv16", "eccv16_plain", "dcf"),
    Question("Photos", "a saturation loss cures greyness", "cunet_saturated", "cunet", "dcf"),
    Question("Photos", "and costs nothing in ab error", "eccv16", "eccv16_mse"),
    Question("Previous", "beta = 1 beats .8 with VGG-16", "vgg16_prev_beta1", "vgg16_prev"),
    Question("Previous", "beta = 1 beats .8 with AlexNet", "alexnet_prev_beta1", "alexnet_prev"),
    Question("Previous", "its own last frame is a better input than another model's", "vgg16_prev_own", "vgg16_prev_mended"),
)


def answer(question: Question, models: Mapping[str, Figures]) -> str | None:
    """What the test frames say to a question, in words; None if the dataset lacks one of the models or has no test frames."""
    if question.better not in models or question.worse not in models:
        return None
    better, worse = (models[name]["metrics"].get("test", {}).get(question.figure) for name in (question.better, question.worse))
    if better is None or worse is None:
        return None
    gain = 1 - better / worse
    verdict = "makes no difference" if abs(gain) < NOTHING else "holds" if gain > 0 else "does not hold"
    digits = 1 if question.figure == "dcf" else 5 if "ab" in question.figure else 4
    return f"{verdict} ({number(better, digits)} against {number(worse, digits)})"


def answers(found: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    """One Markdown line a question that can be answered."""
    lines = []
    for question in QUESTIONS:
        said = [f"{dataset}: {text}" for dataset, models in found.items() if (text := answer(question, models)) is not None]
        if said:
            who = f"`{question.better}` and `{question.worse}`, {question.figure}"
            lines.append(f"- **{question.project}**, “{question.claim}” ({who}): {'; '.join(said)}.")
    return lines


# ------------------------------------------------------------------------------------------------------ page


def page(chosen: params.Params, found: Mapping[str, Mapping[str, Figures]], command: str, where: Callable[[], str]) -> str:
    """The whole page as Markdown."""
    lines = [f"Machine of the table: {where()}. Command: `{command}`.", ""]
    said = answers(found)
    for dataset, models in found.items():
        first = next(iter(models.values()))
        height, width = first["meta"]["size"]
        frames = ", ".join(f"{figures['frames']} {split}" for split, figures in first["metrics"].items())
        devices = sorted({model["meta"]["device"] for model in models.values()})
        every = chosen.datasets[dataset].frames.every
        lines += [
            f"### {dataset}",
            "",
            f"{height}x{width} pixels, one frame of {every}; frames: {frames}. Trained on: {', '.join(devices)}.",
        ]
        lines += ["", *table(models), ""]
    if said:
        lines += ["### What the five projects asked", ""]
        lines += [f"By test frames, which chose no weights; a difference under {NOTHING:.0%} is called none.", "", *said, ""]
    return "\n".join(lines)


def main() -> None:
    """Print the tables, or put them into a page between its two marks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="where models/ lies")
    parser.add_argument("--reports", type=Path, help="figures; if not given, those of the preset that --params is, or reports/")
    parser.add_argument("--out", type=Path, help="page whose part between the marks is replaced; standard output if not given")
    given = parser.parse_args()
    chosen = params.load(given.params)
    command = f"python benchmarks/results.py --params {given.params}"
    beside = Path("reports/presets") / given.params.stem
    reports = given.reports or (beside if beside.is_dir() else Path("reports"))
    text = page(chosen, read(chosen, given.data, reports), command, machine)
    if given.out is None:
        print(text)
        return
    if not given.out.is_file():
        raise SystemExit(f"{given.out} is missing: make it, with the marks <!-- figures --> and <!-- end of figures -->.")
    begin, end = "<!-- figures -->\n", "<!-- end of figures -->"
    before, _, rest = given.out.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    with atomic_file(given.out) as temporary:
        temporary.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
