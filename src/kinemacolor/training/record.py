"""What identifies a training: hashes of data and code, the git commit, and the folder that a killed one goes on from."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

import kinemacolor
from kinemacolor.files import canonical_json, sha256_of
from kinemacolor.params import Loss


def md5_of(paths: Iterable[Path]) -> str:
    """md5, DVC's hash, over the bytes of the tables that decide what is trained on (indexes hold the shards' sha256)."""
    digest = hashlib.md5(usedforsecurity=False)
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def hash_of(values: Any) -> str:
    """sha256 of values as canonical JSON."""
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def code_hash() -> str:
    """Hash of all our source files and torch's version: a checkpoint of other code is of another network."""
    files = sorted(Path(kinemacolor.__file__).parent.rglob("*.py"))
    return hashlib.sha256("".join([torch.__version__, *map(sha256_of, files)]).encode()).hexdigest()


def commit() -> str:
    """The git commit of the working directory, with a mark if tracked files differ from it; empty outside git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], capture_output=True).returncode != 0
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + "-dirty" if dirty else head


def describe(loss: Loss) -> str:
    """A loss in one line, such as `100 l1 + vanilla gan (patch, conditional)`."""
    terms = []
    if loss.name != "none":
        term = f"huber({loss.delta:g})" if loss.name == "huber" else loss.name
        if loss.beta < 1:
            term = f"({loss.beta:g} {term} + {1 - loss.beta:g} {term} against the frame before)"
        terms.append((loss.weight, term))
    terms += [(loss.classes, "classes"), (loss.saturation, "saturation")]
    if loss.gan is not None:
        sight = "conditional" if loss.gan.conditional else "unconditional"
        terms.append((loss.gan.weight, f"{loss.gan.kind} gan ({loss.gan.discriminator}, {sight})"))
    return " + ".join(term if weight == 1 else f"{weight:g} {term}" for weight, term in terms if weight)


def has_other_checkpoints(folder: Path, name: str, ours: Path) -> bool:
    """Whether checkpoints of other values, data or code lie below `folder`, and none in `ours`."""
    return not (ours / name).is_file() and any(file.parent != ours for file in folder.glob(f"*/{name}"))


def forget(folder: Path) -> None:
    """Remove the checkpoints of a finished training, this one's and those of older values; nothing else in `folder`."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and re.fullmatch(r"[0-9a-f]{16}", entry.name):
            shutil.rmtree(entry)
