"""Reading params.yaml: a safe YAML loader that settles nothing in silence, and errors that are one sentence."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from kinemacolor.params.base import ParamsError
from kinemacolor.params.whole import Params


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key given twice, which YAML would settle in silence, and that reads 1e-4 as a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ParamsError(f"the key in line {key_node.start_mark.line + 1} is a list or a mapping: write a name")
            if key in seen:
                raise ParamsError(f"the key {key!r} stands twice (line {key_node.start_mark.line + 1}): remove one")
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-4 for a string because it has no dot; everybody who writes a learning rate means the number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read_document(path: Path | str = "params.yaml") -> dict[str, Any]:
    """Read a params file as plain values, unchecked.

    Raises:
        ParamsError: it is missing, cannot be read or is no YAML, or a key in it is no name or stands twice.
    """
    path = Path(path)
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing: run inside a clone of kinemacolor, or name the file.") from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path} is not UTF-8 (byte {error.start + 1}): save it in that encoding.") from None
    except OSError as error:
        raise ParamsError(f"{path} cannot be read ({error.strerror}): name a file that can.") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is no valid YAML: {' '.join(str(error).split())}.") from None
    except ParamsError as error:
        raise ParamsError(f"{path}: {error}.") from None
    return document if isinstance(document, dict) else {}


def load(path: Path | str = "params.yaml") -> Params:
    """Read and check a params file.

    Raises:
        ParamsError: one sentence that names the file, the key and what is wrong with it.
    """
    return check(read_document(path), str(path))


def check(document: Any, origin: str = "params.yaml") -> Params:
    """Check an already parsed params document.

    Raises:
        ParamsError: as `load`.
    """
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise ParamsError(f"{origin}: {_sentence(error)}.") from None


def section(model: Any, values: Any, origin: str) -> Any:
    """Check one section given by hand or read from a slice; errors as `check`.

    Args:
        model: a section's class, or a union of such, like `AnySource`.
    """
    try:
        return TypeAdapter(model).validate_python(values)
    except ValidationError as error:
        raise ParamsError(f"{origin}: {_sentence(error)}.") from None


def _sentence(error: ValidationError) -> str:
    """The most telling of pydantic's errors, as `key: what is wrong`."""
    # Of unknown keys the deepest: what stands above it was refused on its account.
    unknown = [one for one in error.errors() if one["type"] == "extra_forbidden"]
    first = max(unknown, key=lambda one: len(one["loc"])) if unknown else error.errors()[0]
    parts = [str(part) for place, part in enumerate(first["loc"]) if not _is_ours(first["loc"], place)]
    key = ".".join(parts)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key: correct its spelling or remove it"
    elif first["type"] == "missing":
        message = "is missing: add it"
    elif first["type"] == "union_tag_not_found":
        key, message = ".".join([*parts, "kind"]), "is missing: add it"
    elif first["type"] == "union_tag_invalid":
        known = first["ctx"]["expected_tags"].replace("'", "")
        key, message = ".".join([*parts, "kind"]), f"is {first['ctx']['tag']!r}, but must be one of {known}: correct it"
    elif first["type"] not in ("value_error",):
        if _is_an_option(first["loc"]):
            message = "must be a number, a word, true or false"
        said = repr(first["input"])
        said = said if len(said) <= 60 else f"{said[:57]}..."
        message = f"{message[0].lower()}{message[1:]} (it says {said})"
    return f"{key}: {message}" if key else message


def _is_ours(location: tuple[int | str, ...], place: int) -> bool:
    """Whether a part of a location is a tag of a union or a class's name, which no user wrote.

    The kind of a source stands behind its name, or at the head of a section by itself; elsewhere the word is a key.
    """
    if _is_a_name(location, place):
        return False
    part = str(location[place])
    if part in ("clips", "images"):
        return place == 0 or (place == 2 and location[0] == "sources")
    return bool(
        re.fullmatch(
            r"film_pair|video|game|chronological|seeded|Media|MadePrint|function.*|bool|int|float|str|tuple\[.*|\[key\]", part
        )
    )


def _is_a_name(location: tuple[int | str, ...], place: int) -> bool:
    """Whether a part of a location is a name that a user chose, whatever word it is: what stands behind such a key."""
    named = ("sources", "datasets", "weights", "models", "experiments", "external", "options")
    return place > 0 and location[place - 1] in named and not _is_a_name(location, place - 1)


def _is_an_option(location: tuple[int | str, ...]) -> bool:
    return len(location) > 2 and location[-3] == "options" and location[-1] in ("bool", "int", "float", "str")


def schema() -> dict[str, Any]:
    """The JSON schema of params.yaml, for editors that complete and check keys."""
    return Params.model_json_schema()
