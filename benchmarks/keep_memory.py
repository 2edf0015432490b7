"""CPU time of training steps with the C library's memory kept (training.fit.keep_memory), against glibc's own ways.

    python benchmarks/keep_memory.py

Five processes of each kind take turns; the ratio is of the medians of user and system time of eight steps of beta_half at 128x128.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

STEPS, RUNS = 8, 5


def measure(keep: bool) -> None:
    """Print seconds of CPU time and the page faults of the steps."""
    import torch

    from kinemacolor import models
    from kinemacolor.training.fit import keep_memory

    if keep:
        keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = models.build("beta", {"width": 0.5}).to(memory_format=torch.channels_last)
    optimiser = torch.optim.RMSprop(network.parameters(), lr=1e-4)
    inputs, target = torch.rand(32, 1, 128, 128), torch.rand(32, 2, 128, 128)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for step in range(STEPS + 2):
        if step == 2:
            before = resource.getrusage(resource.RUSAGE_SELF)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = network(inputs)
        (output.float() - target).square().mean().backward()
        optimiser.step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_minflt - before.ru_minflt)


def main() -> None:
    """Run both kinds in turns and print the ratio."""
    found: dict[str, list[tuple[float, int]]] = {"plain": [], "keep": []}
    for _ in range(RUNS):
        for kind, figures in found.items():
            printed = subprocess.run([sys.executable, __file__, kind], check=True, capture_output=True, text=True).stdout.split()
            figures.append((float(printed[0]), int(printed[1])))
    seconds = {kind: statistics.median(figure[0] for figure in figures) for kind, figures in found.items()}
    faults = {kind: statistics.median(figure[1] for figure in figures) for kind, figures in found.items()}
    print(f"CPU time of {STEPS} steps: {seconds['keep']:.2f} s with memory kept, {seconds['plain']:.2f} s without")
    print(f"ratio {seconds['keep'] / seconds['plain']:.2f}; page faults {faults['keep']:.0f} against {faults['plain']:.0f}")


if __name__ == "__main__":
    measure(sys.argv[1] == "keep") if len(sys.argv) > 1 else main()
