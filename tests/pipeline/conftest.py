"""A clone of the repository with seconds of film and of game instead of the real ones; every tool runs for real."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch.nn import functional

from kinemacolor.models import encoders
from kinemacolor.pretrained.checking import disturbed, pictures

ROOT = Path(__file__).parents[2]

PARAMS = {
    "sources": {
        "reel": {
            "kind": "film_pair",
            "licence": "none",
            "credit": "made by the test",
            "colour": {"path": "film.mp4"},
            "grey": {
                "recipe": {"trim_frames": 5, "intro_frames": 19, "crop": [0.02, 0.03, 0.02, 0.01], "height": 96, "grain": 2}
            },
        },
        "doom": {
            "kind": "game",
            "licence": "BSD",
            "credit": "Freedoom",
            "game": "freedoom",
            "frames": 240,
            "frames_per_map": 120,
            "maps": ["E1M1", "MAP01"],
        },
        "unused": {"kind": "video", "licence": "none", "credit": "nobody", "path": "not/there.mp4"},
    },
    "datasets": {
        "film": {
            "sources": ["reel"],
            "frames": {"every": 4, "size": 32, "fit": "stretch"},
            "split": {"kind": "chronological", "fractions": [0.6, 0.2, 0.2], "guard": 0.3},
            "evaluate": {"epochs": [1, 2], "samples": 4},
            "render": {"start": 3, "seconds": 1},
        },
        "game": {
            "sources": ["doom"],
            "frames": {"every": 6, "size": 32},
            "split": {"kind": "seeded", "unit": "block", "fractions": [0.6, 0.2, 0.2], "block": 0.6, "guard": 0.1},
            "render": {"start": 1, "seconds": 1},
        },
        "steady": {
            "sources": ["doom"],
            "frames": {"every": 5, "size": 128, "shard_mib": 1, "pieces": 3},
            "split": {"kind": "seeded", "unit": "block", "fractions": [0.6, 0.2, 0.2], "block": 0.6, "guard": 0.1},
            "evaluate": {"features": "made"},
            "render": {"start": 1, "seconds": 1},
        },
    },
    "weights": {"made": {"architecture": "alexnet", "path": "made.safetensors", "sha256": "", "licence": "none"}},
    "models": {
        "naive": {"family": "naive", "epochs": 1},
        "lab": {"family": "lab_unet", "options": {"width": 8}, "optimiser": {"lr": 0.001}, "epochs": 2, "batch_size": 8},
        "alpha": {"family": "alpha", "optimiser": {"name": "rmsprop", "lr": 0.001}, "epochs": 2, "batch_size": 8},
        "prev": {
            "family": "alexnet_prev",
            "options": {"width": 0.05, "normalise": True},
            "precoloured_by": "alpha",
            "loss": {"name": "mse", "beta": 0.8},
            "epochs": 1,
            "batch_size": 8,
            "window": 4,
        },
        "fused": {
            "family": "koalarization",
            "options": {"embedding": "alexnet", "width": 0.1},
            "pretrained": "made",
            "epochs": 1,
            "batch_size": 8,
        },
    },
    # alpha stands in no experiment of `steady`, and is trained there to colour frames for prev.
    "experiments": {"film": ["naive", "lab"], "game": ["alpha"], "steady": ["prev", "fused"]},
}


@dataclass
class Clone:
    """A working tree of its own, with its own package on the path."""

    root: Path

    def run(self, *command: str, check: bool = True, **more) -> subprocess.CompletedProcess:
        """Run a command in the clone; `stdout` holds all its output as text."""
        environment = os.environ | {
            "PYTHONPATH": str(self.root / "src"),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "COLUMNS": "200",
        }
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            command, cwd=self.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-8000:]}")
        return done

    def params(self, change=lambda document: None) -> None:
        """Write params.yaml, changed by a function."""
        document = yaml.safe_load(yaml.safe_dump(PARAMS))
        document["weights"]["made"]["sha256"] = hashlib.sha256((self.root / "made.safetensors").read_bytes()).hexdigest()
        change(document)
        (self.root / "params.yaml").write_text(yaml.safe_dump(document))

    def snakemake_would_run(self) -> set[str]:
        """`rule` or `rule key` of every job of a dry run, but for `all`."""
        text = self.run("snakemake", "--cores", "2", "--dry-run", "all").stdout
        jobs, rule = set(), ""
        for line in text.splitlines():
            if line.startswith(("rule ", "localrule ")):
                rule = line.split()[1].rstrip(":")
                jobs.add(rule)
            elif line.startswith("    wildcards: "):
                jobs.discard(rule)
                jobs.add(f"{rule}-" + "-".join(pair.split("=")[1] for pair in line.removeprefix("    wildcards: ").split(", ")))
        return jobs - {"all"}

    def dvc_would_run(self) -> set[str]:
        """Stages that `dvc repro --dry` says it would run."""
        text = self.run("dvc", "repro", "--dry").stdout
        return {line.split("'")[1] for line in text.splitlines() if line.startswith("Running stage")}


def make_film(path: Path, seconds: float = 9) -> None:
    """Three moving, colourful scenes with sound: cuts and motion for sync, colour for the filter."""
    third = seconds / 3
    scenes = [
        f"mandelbrot=size=192x128:rate=24:start_scale=0.6:end_scale=0.2,trim=duration={third}",
        f"testsrc2=size=192x128:rate=24,hue=h=40*t,trim=duration={third}",
        f"gradients=size=192x128:rate=24:speed=0.2:n=5:seed=3,trim=duration={third}",
    ]
    graph = ";".join(f"{scene},setsar=1,format=yuv420p,setpts=PTS-STARTPTS[v{n}]" for n, scene in enumerate(scenes))
    graph += ";[v0][v1][v2]concat=n=3:v=1:a=0[v]"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-y",
        "-v",
        "error",
        "-filter_complex",
        graph,
        "-f",
        "lavfi",
        "-i",
        f"sine=frequency=300:duration={seconds}",
    ]
    subprocess.run(
        [*command, "-map", "[v]", "-map", "0:a", "-c:v", "libx264", "-crf", "16", "-c:a", "aac", "-shortest", str(path)],
        check=True,
    )


def make_encoder(path: Path) -> None:
    """Weights of an AlexNet that knows the fourteen pictures of `weights`' check again: random, but for a fitted last layer."""
    torch.manual_seed(0)
    network = encoders.build("alexnet").eval()
    count = len(pictures())
    with torch.inference_mode():
        shown = torch.cat((pictures(), disturbed(pictures())))
        known = network.features[:10](encoders.normalised(shown, mean=network.mean, std=network.std))
        places = functional.unfold(known, 3, padding=1).transpose(1, 2)
        seen = places.flatten(0, 1)
        picture = functional.one_hot(torch.arange(count).repeat(2).repeat_interleave(places.shape[1]), count).float()
        square = seen.T @ seen
        ridge = 1e-3 * square.diagonal().mean() * torch.eye(len(square))
        last = network.features[10]
        last.weight.zero_()
        last.weight[:count] = torch.linalg.solve(square + ridge, seen.T @ picture).T.view(count, -1, 3, 3)
        last.bias.fill_(-0.1)
    save_file(network.state_dict(), path)


def make_clone(root: Path, encoder: Path | None = None) -> Clone:
    """Copy what git knows of (and new files it does not ignore) into `root`, as a repository with DVC of its own."""
    root.mkdir(parents=True)
    known = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in known.splitlines():
        if not name.startswith(("tests/", "reports/", "dvc.lock")) and (ROOT / name).is_file():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    made = Clone(root)
    if encoder is None:
        make_encoder(root / "made.safetensors")
    else:
        shutil.copy2(encoder, root / "made.safetensors")
    made.params()
    for command in (["init", "-q"], ["config", "user.name", "test"], ["config", "user.email", "test@example.org"]):
        made.run("git", *command)
    make_film(root / "film.mp4")
    made.run("kinemacolor", "dag")
    made.run("git", "add", "-A")
    made.run("git", "commit", "-qm", "Clone")
    return made


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Clone:
    """A clone in which `snakemake all` has run once."""
    made = make_clone(tmp_path_factory.mktemp("built") / "clone")
    made.run("snakemake", "--cores", "2", "all")
    return made
