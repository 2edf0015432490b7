"""What the sections of params.yaml are made of: strict pydantic models, and types for names, addresses and hashes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)


class ParamsError(ValueError):
    """params.yaml is wrong: one sentence that names the key and the remedy."""


class Section(BaseModel):
    """A section of params.yaml: unknown keys are errors, numbers are finite, values never change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Located(Section):
    """A section whose file comes from exactly one of `url`, `path` and `package`."""

    @model_validator(mode="after")
    def _one_origin(self) -> Located:
        if sum(origin is not None for origin in (self.url, self.path, self.package)) != 1:
            raise ValueError("needs exactly one of url, path and package")
        if self.package is None:
            idle = [key for key in _OF_A_PACKAGE if key in self.model_fields_set and getattr(self, key) is not None]
            if idle:
                raise ValueError(
                    f"{' and '.join(idle)} would be ignored beside {'url' if self.url is not None else 'path'}: "
                    "only a package has them; to check the file itself, an archive too, write sha256"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_idle(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What a stage's slice says must be what somebody may write: a default written out would be refused beside a url.
        return {key: value for key, value in inner(self).items() if self.package is not None or key not in _OF_A_PACKAGE}


_OF_A_PACKAGE = ("version", "archive", "archive_sha256", "member")


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
