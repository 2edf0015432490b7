"""The section `external`: a dataset's source as another program coloured it, to stand beside our models."""

from __future__ import annotations

from pydantic import Field

from kinemacolor.params.base import Name, Section


class External(Section):
    """One result of another program. Its frame n is frame n of the grey print, or of the film where there is no pair."""

    dataset: Name
    """The dataset on whose frames it is measured."""
    source: Name | None = None
    """Which of its sources was coloured; the dataset's first if not given. Its frames alone are measured."""
    path: str = Field(min_length=1)
    """A video of all frames of the source, as many as the print has, or a folder of pictures named by frame number (0.png,
    000024.jpg). It shows the whole picture, at whatever size. Of clips and photographs it is a folder; a clip's frame number runs
    on over all clips, as in the index of the frames, and a photograph's is its place in the order of names."""
    licence: str
    """Licence of the result."""
    credit: str
    """Whom to credit, such as the program and its authors."""
