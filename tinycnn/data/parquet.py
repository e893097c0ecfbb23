"""Parquet files of encoded pictures, as Hugging Face publishes image data sets, through pyarrow.

A column holds pictures, as bytes or as a struct of `bytes` and `path`; another holds labels, as
numbers, whose names stand in the file's metadata, or as names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinycnn.files.bounded import refuse_special

from .dataset import Dataset
from .folders import visible
from .image_arrays import Array
from .image_file import require_pillow
from .label_arrays import flatten_labels, number_labels
from .optional import require
from .parquet_pages import page_sizes
from .part_names import file_part, in_order
from .pictures import Source, read_pictures
from .reader import Glance, Options, Reader

_PARQUET_MAGIC = b"PAR1"

_PICTURE_COLUMNS = ("image", "img", "picture", "photo")  # others may be checksums
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "category", "target", "digit")
_ROWS_AT_ONCE = 100
# A column can repeat one long value without end; pictures are packed in themselves.
_MOST_PACKED = 20
_SLACK_BYTES = 1 << 24
_MOST_PAGE_BYTES = 1 << 27  # pyarrow holds up to three copies
_BATCH_BYTES = 1 << 26  # if every row had the largest value
_MOST_METADATA = 1 << 22


class _Columns(NamedTuple):
    """Names of the columns of pictures and of labels, and the classes if they are told."""

    pictures: str
    labels: str | None
    class_names: tuple[str, ...] | None


def _open(path: Path) -> Any:
    refuse_special(path)
    parquet = require("pyarrow.parquet", "pyarrow", "parquet", str(path))
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise ValueError(
            f"{path} cannot be read as a Parquet file: {_first_line(error)}; fetch it again"
        ) from error


def _columns(file: Any, path: Path) -> _Columns:
    types = require("pyarrow", "pyarrow", "parquet", str(path)).types
    schema = file.schema_arrow
    pictures = [field.name for field in schema if _holds_pictures(field.type, types)]
    pictures.sort(key=lambda name: name.lower() not in _PICTURE_COLUMNS)
    if not pictures:
        raise ValueError(
            f"{path} has the columns {', '.join(schema.names[:8])}, none of which holds pictures "
            "as bytes: save it with a column 'image' of encoded pictures, or its arrays as NPZ"
        )
    lower = {name.lower(): name for name in schema.names}
    labels = next((lower[name] for name in _LABEL_COLUMNS if name in lower), None)
    return _Columns(pictures[0], labels, _class_names(schema, labels))


def _holds_pictures(kind: Any, types: Any) -> bool:
    if types.is_dictionary(kind):
        return _holds_pictures(kind.value_type, types)
    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    binary = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(is_kind(kind) for is_kind in (*binary, types.is_fixed_size_binary))


def _class_names(schema: Any, labels: str | None) -> tuple[str, ...] | None:
    """Names in Hugging Face's metadata; None if there are none, or they are not as expected."""
    text = (schema.metadata or {}).get(b"huggingface", b"")
    if labels is None or not text or len(text) > _MOST_METADATA:
        return None
    try:
        names = json.loads(text)["info"]["features"][labels]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _rows(file: Any, path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    allowed = path.stat().st_size * _MOST_PACKED + _SLACK_BYTES
    try:
        largest = max(page_sizes(path, file.metadata, columns), default=0)
        if largest > min(allowed, _MOST_PAGE_BYTES):
            raise ValueError(f"a page of it unpacks to {largest} bytes")
        n_rows = max(min(_ROWS_AT_ONCE, _BATCH_BYTES // max(largest, 1)), 1)
        for batch in file.iter_batches(batch_size=n_rows, columns=list(columns)):
            allowed -= batch.nbytes
            if allowed < 0:
                break
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is a damaged Parquet file: {_first_line(error)}; fetch it again"
        ) from error
    if allowed < 0:
        raise ValueError(
            f"{path} unpacks to more than {_MOST_PACKED} times its size, as no pictures do: leave "
            "repeated ones out"
        )


def _content(cell: Any) -> bytes:
    """Bytes of a picture; none where the table holds only the path of one."""
    value = cell.get("bytes") if isinstance(cell, dict) else cell
    return value if isinstance(value, bytes) else b""


def _load_files(files: Sequence[Path], train: Sequence[Path], options: Options) -> Dataset:
    require_pillow(str(files[0]))
    sources: list[Source] = []
    labels: list[Any] = []
    class_names = None
    for path in files:
        with _open(path) as file:
            columns = _columns(file, path)
            class_names = columns.class_names
            if columns.labels is None:
                raise ValueError(
                    f"{path} has no column of labels: call it 'label'; or give it to predict"
                )
            for row in _rows(file, path, (columns.pictures, columns.labels)):
                name = Path(f"{path}[{len(sources)}]")
                sources.append(Source(name, _content(row[columns.pictures])))
                labels.append(row[columns.labels])
    what = str(files[0])
    pictures = read_pictures(sources, Path(what), options)
    flat = _flat(labels, what)
    train_labels = _flat(_read_labels(train), str(train[0])) if train else None
    numbers, names, notes = number_labels(flat[pictures.kept], class_names, what, train_labels)
    return Dataset(pictures.images, numbers, names, notes=(*pictures.notes, *notes))


def _flat(labels: Sequence[Any], source: str) -> Array:
    if any(label is None for label in labels):
        raise ValueError(f"{source} has rows without a label: leave them out")
    return flatten_labels(np.array(labels), source)


def _read_labels(files: Sequence[Path]) -> list[Any]:
    labels: list[Any] = []
    for path in files:
        with _open(path) as file:
            column = _columns(file, path).labels
            if column is not None:
                labels += [row[column] for row in _rows(file, path, (column,))]
    return labels


def iter_pictures(path: Path) -> Iterator[Source]:
    """Yield the pictures of a Parquet file, without regard to labels, few at a time in memory."""
    with _open(path) as file:
        columns = _columns(file, path)
        for number, row in enumerate(_rows(file, path, (columns.pictures,))):
            yield Source(Path(f"{path}[{number}]"), _content(row[columns.pictures]))


def _files_by_part(folder: Path) -> dict[str, list[Path]]:
    """Files by the part their names tell, in the folder or its folder `data`."""
    places = [folder, folder / "data"]
    found: dict[str, list[Path]] = {}
    for place in places:
        for file in visible(place) if place.is_dir() else []:
            if file.suffix.lower() == ".parquet":
                found.setdefault(file_part(file.name) or "train", []).append(file)
        if found:
            break
    return found


def _load_folder(folder: Path, part: str, options: Options) -> Dataset:
    files = _files_by_part(folder)
    train = files.get("train", []) if part != "train" else []
    return _load_files(files[part], train, options)


def _recognises_file(glance: Glance) -> bool:
    return glance.start.startswith(_PARQUET_MAGIC)


def _recognises_folder(glance: Glance) -> bool:
    return glance.is_folder and bool(_files_by_part(glance.path))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


_OPTIONS = frozenset({"size", "skip_broken"})

PARQUET_FILE = Reader(
    "a Parquet file of pictures",
    _recognises_file,
    lambda path, options: ("train",),
    lambda path, part, options: _load_files([path], [], options),
    options=_OPTIONS,
)
PARQUET_FOLDER = Reader(
    "a folder of Parquet files of pictures",
    _recognises_folder,
    lambda path, options: in_order(_files_by_part(path)),
    _load_folder,
    options=_OPTIONS,
)
