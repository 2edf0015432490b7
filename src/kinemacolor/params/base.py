"""What the sections of params.yaml are made of: strict pydantic models, and types for names, addresses and hashes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class ParamsError(ValueError):
    """params.yaml is wrong: one sentence that names the key and the remedy."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, values never change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("must be 64 hexadecimal digits")
    return value


def _member(value: str) -> str:
    parts = PurePosixPath(value).parts
    if value.startswith("/") or ".." in parts or not parts:
        raise ValueError("must be a path inside the archive")
    return value


def _web_address(value: str) -> str:
    if not re.match(r"https?://", value):
        raise ValueError("must begin with http:// or https://")
    return value


Sha256 = Annotated[str, AfterValidator(_sha256)]
Member = Annotated[str, AfterValidator(_member)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
