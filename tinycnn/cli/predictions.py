"""How predictions are written: as lines for people, as CSV, as JSON; to stdout or into a file."""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tinycnn.cli.streams import visible
from tinycnn.files.writing import atomic_file

# How a file of predictions begins, in each of its forms.
OWN_BEGINNING = re.compile(
    rb"image,class(_1)?,probability|\[\n\{\"image\": |\[\n\]|.*: .* \(\d+\.\d%\)"
)
BEGINNING_BYTES = 4096

WriteText = Callable[[str], object]


class Prediction(NamedTuple):
    """The most likely classes of an image with their probabilities, the likeliest first."""

    image: str
    classes: list[tuple[str, float]]


class Writer:
    """Base of all writers: takes predictions one by one, and hands text on when it is flushed.

    Parameters
    ----------
    write_text : callable
        Takes the text.
    n_top : int
        How many classes each prediction has.
    """

    def __init__(self, write_text: WriteText, n_top: int) -> None:
        self._write_text = write_text
        self._parts: list[str] = []
        self.n_top = n_top

    def begin(self) -> None:
        """Write what stands before all predictions."""

    def write(self, prediction: Prediction) -> None:
        """Write one prediction."""
        raise NotImplementedError

    def end(self) -> None:
        """Write what stands behind all predictions."""

    def flush(self) -> None:
        """Hand on what was written."""
        self._write_text("".join(self._parts))
        self._parts.clear()

    def add(self, text: str) -> None:
        """Collect some text."""
        self._parts.append(text)


class Lines(Writer):
    """A line an image: its name, and its classes with their probabilities."""

    def write(self, prediction: Prediction) -> None:
        """Write the line."""
        classes = ", ".join(f"{name} ({share:.1%})" for name, share in prediction.classes)
        self.add(f"{visible(prediction.image)}: {visible(classes)}\n")


class Csv(Writer):
    """A row an image, under a row of names."""

    def begin(self) -> None:
        """Name the columns."""
        suffixes = [""] if self.n_top == 1 else [f"_{k}" for k in range(1, self.n_top + 1)]
        columns = [
            f"{column}{suffix}" for suffix in suffixes for column in ("class", "probability")
        ]
        self._add_row(["image", *columns])

    def write(self, prediction: Prediction) -> None:
        """Write the row."""
        cells = [cell for name, share in prediction.classes for cell in (name, f"{share:.6g}")]
        self._add_row([prediction.image, *cells])

    def _add_row(self, cells: list[str]) -> None:
        row = io.StringIO()
        csv.writer(row, lineterminator="\n").writerow(map(visible, cells))
        self.add(row.getvalue())


class Json(Writer):
    """An array with an object an image, each in a line of its own."""

    def __init__(self, write_text: WriteText, n_top: int) -> None:
        super().__init__(write_text, n_top)
        self._before = "[\n"

    def write(self, prediction: Prediction) -> None:
        """Write the object."""
        classes = [{"class": name, "probability": share} for name, share in prediction.classes]
        told: dict[str, object] = {"image": prediction.image, **classes[0]}
        if self.n_top > 1:
            told["top"] = classes
        self.add(f"{self._before}{json.dumps(told)}")
        self._before = ",\n"

    def end(self) -> None:
        """Close the array."""
        self.add("[\n]\n" if self._before == "[\n" else "\n]\n")


@contextmanager
def open_writer(arguments: argparse.Namespace, n_top: int) -> Iterator[Writer]:
    """Make the writer that the arguments of ``tinycnn predict`` ask for.

    A file is there as a whole, once all is written, or not at all.

    Raises
    ------
    ValueError
        If the file is there and holds no predictions.
    """
    kind = _kind(arguments)
    if arguments.output is None:
        yield from _write_all(kind(_to_stdout, n_top))
        return
    path = Path(arguments.output)
    _require_free(path)
    with atomic_file(path) as file:
        yield from _write_all(kind(lambda text: file.write(text.encode("utf-8")), n_top))


def _write_all(writer: Writer) -> Iterator[Writer]:
    writer.begin()
    try:
        yield writer
    finally:
        writer.end()
        writer.flush()


def _kind(arguments: argparse.Namespace) -> type[Writer]:
    """Choose the form: as asked for, or as the file's name says."""
    ending = Path(arguments.output or "").suffix.lower()
    if arguments.json or (ending == ".json" and not arguments.csv):
        return Json
    return Csv if arguments.csv or ending == ".csv" else Lines


def _to_stdout(text: str) -> None:
    if sys.stdout is not None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _require_free(path: Path) -> None:
    """Raise ValueError where another file than one of predictions would be lost."""
    if not path.parent.is_dir():
        raise ValueError(f"--output: there is no folder {path.parent}; make it first")
    if not path.exists():
        return
    if not path.is_file():
        raise ValueError(f"--output: {path} is no file; choose another name")
    with path.open("rb") as file:
        beginning = file.read(BEGINNING_BYTES)
    if beginning and not OWN_BEGINNING.match(beginning):
        raise ValueError(f"--output: {path} exists and holds no predictions; choose another name")
