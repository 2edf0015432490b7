"""Print the table of the README and docs from the figures on disk: every model of every dataset, beside grey.

    python benchmarks/results.py

Reads reports/<dataset>/<model>/metrics.json and data/models/<dataset>/<model>/meta.json; trains and measures nothing.
Ratios are against `naive` where it is among the models: below one is better than leaving the film grey.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

SPLITS = ("train", "val", "test")


def machine() -> str:
    """Processor, cores and system of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def rows(dataset: Path) -> list[list[str]]:
    """One row a model: name, parameters, seconds, then for every split the figures and their ratios."""
    found = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(dataset.glob("*/metrics.json"))}
    naive = found.get("naive")
    table = []
    for model, splits in found.items():
        meta = json.loads(Path("data/models", dataset.name, model, "meta.json").read_text(encoding="utf-8"))
        row = [model, f"{meta['parameters']:,}", f"{meta['seconds']:.0f}"]
        for split in SPLITS:
            figures = splits.get(split)
            for key, digits in (("mse_ab@128", 5), ("mse_rgb_pm1", 4)):
                if figures is None:
                    row.append("–")
                    continue
                ratio = f" ({figures[key] / naive[split][key]:.3f})" if naive and model != "naive" else ""
                row.append(f"{figures[key]:.{digits}f}".replace("0.", ".", 1) + ratio)
        for key, digits in (("psnr_rgb", 2), ("ssim", 3), ("de2000", 2)):
            row.append(f"{splits['val'][key]:.{digits}f}" if "val" in splits else "–")
        table.append(row)
    return table


def main() -> None:
    """Print the tables as Markdown."""
    print(f"Machine: {machine()}. Command: `python benchmarks/results.py`.")
    head = ["model", "parameters", "training s"]
    head += [f"{split} {name}" for split in SPLITS for name in ("MSE ab/128", "MSE RGB")]
    head += ["val PSNR", "val SSIM", "val CIEDE2000"]
    for dataset in sorted(path for path in Path("reports").iterdir() if any(path.glob("*/metrics.json"))):
        print(f"\n### {dataset.name}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows(dataset):
            print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
