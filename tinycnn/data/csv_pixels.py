"""CSV files with an image in each line, as Kaggle has them: a label and the pixels.

With a line of names, the label is the column called so, and columns whose names tell nothing of
pixels must not be there. Without one, it is the first or the last column: the one without which
the others make a square image, and that is not the same in every line.
"""

from __future__ import annotations

import csv
import itertools
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from tinycnn._checks import shown
from tinycnn.files.bounded import refuse_special

from .dataset import Dataset, make_dataset
from .emnist import is_emnist, upright
from .folders import holds_only_files, visible
from .image_arrays import Array, as_images
from .part_names import file_part, in_order
from .reader import Glance, Options, Reader

_FEWEST_PIXELS = 16
_MOST_LINE_CHARACTERS = 1 << 22
_LINES_AT_ONCE = 2_000
_LINES_TO_TELL = 200

_LABEL_NAMES = frozenset({"label", "labels", "class", "target", "y", "digit", "category"})


# Columns that count the lines; pandas writes one without a name.
_NUMBER_NAMES = frozenset({"", "id", "index", "unnamed: 0"})


class _Columns(NamedTuple):
    """What the columns of a file are."""

    delimiter: str
    has_names: bool
    n_columns: int
    label: int | None  # None if there is none
    others: tuple[int, ...]


def is_pixel_csv(path: Path) -> bool:
    """Whether a text file looks like an image in each line, by its first two lines."""
    if path.suffix.lower() not in (".csv", ".tsv", ".txt", ".data") or not path.is_file():
        return False
    with _opened(path) as file:
        lines = [file.readline(_MOST_LINE_CHARACTERS) for _ in range(2)]
    cells = _cells(lines[1] or lines[0], _delimiter(lines[0]))
    return len(cells) > _FEWEST_PIXELS and sum(map(_is_number, cells)) >= len(cells) - 1


def _opened(path: Path) -> TextIO:
    refuse_special(path)
    return path.open(encoding="utf-8-sig", errors="replace", newline=None)


def _delimiter(line: str) -> str:
    return max((",", ";", "\t", " "), key=line.count)


def _cells(line: str, delimiter: str) -> list[str]:
    """Cells of a line, without empty ones at its end; none if it is no line of CSV."""
    try:
        (cells,) = csv.reader([line.rstrip("\n")], delimiter=delimiter, skipinitialspace=True)
    except (csv.Error, ValueError):  # a text of 131,072 characters, no or several lines
        return []
    while cells and not cells[-1].strip():
        cells.pop()
    return [cell.strip() for cell in cells]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(path: Path) -> _Columns:
    """Tell what the columns are from the file's first lines."""
    with _opened(path) as file:
        lines = [line for line in itertools.islice(file, _LINES_TO_TELL + 1) if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty")
    delimiter = _delimiter(lines[0])
    rows = [_cells(line, delimiter) for line in lines]
    first = rows[0]
    has_names = sum(not _is_number(cell) for cell in first) > 1
    if has_names:
        return _named_columns(path, first, delimiter)
    label = _unnamed_label(path, rows)
    others = tuple(i for i in range(len(first)) if i != label)
    return _Columns(delimiter, False, len(first), label, others)


def _named_columns(path: Path, names: list[str], delimiter: str) -> _Columns:
    labels = [i for i, name in enumerate(names) if name.lower() in _LABEL_NAMES]
    if len(labels) > 1:
        raise ValueError(
            f"{path} has several columns of labels, {names[labels[0]]!r} and "
            f"{names[labels[1]]!r}: leave one"
        )
    label = labels[0] if labels else None
    others = tuple(
        i for i in range(len(names)) if i != label and names[i].lower() not in _NUMBER_NAMES
    )
    return _Columns(delimiter, True, len(names), label, others)


def _is_square(n: int) -> bool:
    return math.isqrt(n) ** 2 == n


def _unnamed_label(path: Path, rows: list[list[str]]) -> int | None:
    n = len(rows[0])
    if _is_square(n):
        return None
    varying = [i for i in (0, n - 1) if len({row[i] for row in rows if len(row) == n}) > 1]
    if not _is_square(n - 1) or len(varying) > 1:
        raise ValueError(
            f"{path} has {n} columns without names, of which it is not clear which is the label: "
            "begin the file with a line of names, label,pixel0,pixel1,..."
        )
    return varying[0] if varying else 0


def _read(path: Path) -> tuple[Array, Array | None]:
    """Images (N, D) and labels (N,), which are None if the file has none."""
    columns = _columns(path)
    images: list[Array] = []
    labels: list[str] = []
    with _opened(path) as file:
        if columns.has_names:
            file.readline(_MOST_LINE_CHARACTERS)
        for lines in _batches(file):
            images.append(_numbers(path, lines, columns))
            if columns.label is not None:
                labels += _texts(path, lines, columns)
    if not images:
        raise ValueError(f"{path} has a line of names, but no images follow")
    stacked = np.concatenate(images)
    if is_emnist(path.name) and _is_square(stacked.shape[1]):
        side = math.isqrt(stacked.shape[1])
        stacked = np.ascontiguousarray(upright(stacked.reshape(-1, side, side)))
    return stacked, _labels(labels) if columns.label is not None else None


def _batches(file: TextIO) -> Iterator[list[str]]:
    lines = (line for line in file if line.strip())
    while batch := list(itertools.islice(lines, _LINES_AT_ONCE)):
        yield batch


def _numbers(path: Path, lines: list[str], columns: _Columns) -> Array:
    """Pixels of some lines, as bytes or counts if they are such."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no data: there is some
            values = np.loadtxt(
                lines,
                dtype=np.float64,
                delimiter=columns.delimiter,
                usecols=columns.others,
                ndmin=2,
                comments=None,
                quotechar='"',
            )
    except ValueError as error:
        raise ValueError(
            f"{path} has a line that is no image: {str(error).splitlines()[0][:200]}; every line "
            f"must have {columns.n_columns} columns, and numbers for pixels"
        ) from error
    whole = bool((values == np.floor(values)).all()) and values.min(initial=0) >= 0
    if whole and values.max(initial=0) <= 65535:
        return values.astype(np.uint8 if values.max(initial=0) <= 255 else np.uint16)
    with np.errstate(over="ignore"):  # what is infinite then is refused with all others
        return values.astype(np.float32)


def _texts(path: Path, lines: list[str], columns: _Columns) -> list[str]:
    """Labels of some lines, as they stand there."""
    position = columns.label or 0
    texts = []
    for line in lines:
        cells = _cells(line, columns.delimiter)
        if position >= len(cells) or not cells[position]:
            raise ValueError(
                f"{path} has a line without a label, {shown(line.strip())}: label it, or leave it "
                "out"
            )
        if len(cells) > columns.n_columns:
            raise ValueError(
                f"{path} has a line of {len(cells)} columns, {shown(line.strip())}: every line "
                f"must have {columns.n_columns}"
            )
        texts.append(cells[position])
    return texts


def _labels(texts: list[str]) -> Array:
    """Labels as numbers if all are such, else as names."""
    if all(_is_number(text) for text in texts):
        return np.array([float(text) for text in texts])
    return np.array(texts, dtype=str)


def _load_file(path: Path, train_path: Path | None = None) -> Dataset:
    images, labels = _read(path)
    if labels is None:
        raise ValueError(
            f"{path} has pixels but no column of labels: begin it with a line of names, "
            "label,pixel0,pixel1,...; or give it to predict"
        )
    train_labels = None if train_path in (None, path) else _read_labels(train_path or path)
    return make_dataset(images, labels, None, str(path), str(path), train_labels=train_labels)


def _read_labels(path: Path) -> Array:
    columns = _columns(path)
    with _opened(path) as file:
        if columns.has_names:
            file.readline(_MOST_LINE_CHARACTERS)
        texts = [text for lines in _batches(file) for text in _texts(path, lines, columns)]
    return _labels(texts)


def _files_by_part(folder: Path) -> dict[str, Path]:
    """CSV files of pixels with labels by the part their names tell; a lone one is train."""
    files = [file for file in visible(folder) if file.is_file() and is_pixel_csv(file)]
    labelled = [file for file in files if _columns(file).label is not None]
    found: dict[str, Path] = {}
    for file in labelled:
        part = file_part(file.name) or "train"
        if part in found:
            raise ValueError(
                f"{folder} has several CSV files of the {part} part, {found[part].name} and "
                f"{file.name}: give the path of the one you mean"
            )
        found[part] = file
    return found


def _folder_parts(folder: Path, options: Options) -> tuple[str, ...]:
    return in_order(_files_by_part(folder))


def _load_folder(folder: Path, part: str, options: Options) -> Dataset:
    files = _files_by_part(folder)
    return _load_file(files[part], files.get("train"))


def _file_images(path: Path) -> Array:
    return as_images(_read(path)[0], str(path))[0]


def _folder_images(folder: Path) -> Array:
    files = [file for file in visible(folder) if is_pixel_csv(file)]
    tests = [file for file in files if file_part(file.name) == "test"]
    return _file_images((tests or files)[0])


def _recognises_folder(glance: Glance) -> bool:
    tables = [glance.path / name for name in glance.names if name.lower().endswith(".csv")]
    return bool(tables) and holds_only_files(glance.path) and any(map(is_pixel_csv, tables))


CSV_FILE = Reader(
    "a CSV file of labels and pixels",
    lambda glance: not glance.is_folder and is_pixel_csv(glance.path),
    lambda path, options: ("train",),
    lambda path, part, options: _load_file(path),
    _file_images,
)
CSV_FOLDER = Reader(
    "a folder of CSV files of labels and pixels",
    _recognises_folder,
    _folder_parts,
    _load_folder,
    _folder_images,
)
