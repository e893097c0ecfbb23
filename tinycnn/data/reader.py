"""What a reader of one format is: the few functions that `load` and `parts` ask for.

To add a format is to write one module that ends in a `Reader`, and to name it in `sources.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .dataset import Dataset
from .image_arrays import Array

Progress = Callable[[int, int], object]

START_BYTES = 512


class Options(NamedTuple):
    """How to read, where a format leaves a choice; `sources.load` tells what each means."""

    size: tuple[int, int] | None = None
    labels_from: str | None = None
    skip_broken: bool = False
    progress: Progress | None = None


class Glance(NamedTuple):
    """What a source is told by: the first bytes of a file, or the names in a folder."""

    path: Path
    is_folder: bool
    start: bytes = b""
    names: tuple[str, ...] = ()  # sorted

    @property
    def suffix(self) -> str:
        """Ending of the path's name, in small letters, with its dot."""
        return self.path.suffix.lower()


def glance(path: Path) -> Glance:
    """Look at a path, opening it if it is a file.

    Raises
    ------
    OSError
        If there is no such path, or it may not be read.
    """
    if path.is_dir():
        return Glance(path, True, names=tuple(sorted(entry.name for entry in path.iterdir())))
    with path.open("rb") as file:
        return Glance(path, False, file.read(START_BYTES))


class Reader(NamedTuple):
    """A format: what to call it, how it is told, and how to read it.

    Attributes
    ----------
    words : str
        What to call it in a message, "an NPZ archive".
    recognises : callable
        Whether a source is of this format. It should look at the glance alone where it can.
    parts : callable
        Which of "train", "validation" and "test" the path holds with labels.
    load : callable
        One of these parts.
    images : callable or None
        Images without regard to labels, for prediction; None loads a part for that.
    options : frozenset of str
        Names in `Options` that it heeds; `load` refuses the others.
    """

    words: str
    recognises: Callable[[Glance], bool]
    parts: Callable[[Path, Options], tuple[str, ...]]
    load: Callable[[Path, str, Options], Dataset]
    images: Callable[[Path], Array] | None = None
    options: frozenset[str] = frozenset()
