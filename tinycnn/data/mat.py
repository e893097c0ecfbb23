"""MATLAB files of images and labels: numbers and texts of versions 5 to 7; those of 7.3 are HDF5.

The format is MathWorks' "MAT-File Format", version 5: elements, each a tag that tells its type and
size, and data. Read here, since SciPy's reader looks types up in a table without asking whether
they are in it: a changed byte ends the process.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

from tinycnn._checks import shown
from tinycnn.files.archive import MAX_RATIO, UNSUSPICIOUS_BYTES
from tinycnn.files.bounded import open_file

from .dataset import Dataset
from .hdf5 import hdf5_store
from .image_arrays import Array
from .named_arrays import ArrayStore, load_store, store_images, store_parts
from .reader import Glance, Options, Reader

_MATLAB_5_START = b"MATLAB 5.0 MAT-file"
_MATLAB_7_3_START = b"MATLAB 7.3"

_FILE_HEADER_BYTES = 128
_MOST_HEADER_BYTES = 4_096  # of an array, in front of its values
_MOST_VARIABLES = 10_000
_MOST_DIMENSIONS = 32

_MATRIX, _COMPRESSED = 14, 15

# Types of data, by their numbers in tags. Texts are 8 or 16 bits a character, or UTF.
_INTEGERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}
_NUMBERS = {**_INTEGERS, 7: "f4", 9: "f8"}
_TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}

# Classes of arrays, by their numbers in flags.
_CHARACTERS = 4
_NUMERIC = range(6, 16)
_OTHERS = {1: "cell", 2: "struct", 3: "object", 5: "sparse", 16: "function", 17: "object"}
_IS_COMPLEX = 0x0800

# SVHN, http://ufldl.stanford.edu/housenumbers/: "1 has label 1, 9 has label 9 and 0 has label 10".
_SVHN_NAME = re.compile(r"(train|test|extra)_32x32\.mat")
_SVHN_ZERO = 10


Order = Literal["<", ">"]


class _DamageError(ValueError):
    """What is wrong with a file, in words that follow on its name."""


class _Element(NamedTuple):
    """Where an array is in a file, and whether it is packed."""

    start: int
    n_bytes: int
    packed: bool


class _Variable(NamedTuple):
    """An array's header, and where its values begin: behind so many bytes of its element."""

    name: str
    shape: tuple[int, ...]
    kind: int
    is_complex: bool
    element: _Element
    values_at: int


@contextmanager
def mat_store(path: Path) -> Iterator[ArrayStore]:
    """Open the variables of a MATLAB file.

    Raises
    ------
    ImportError
        Without h5py, for a file of version 7.3.
    ValueError
        If the file is damaged.
    """
    with open_file(path) as file:
        if file.read(len(_MATLAB_7_3_START)) != _MATLAB_7_3_START:
            yield _store(file, path)
            return
    with hdf5_store(path) as store:
        yield store


def _store(file: BinaryIO, path: Path) -> ArrayStore:
    with _damage_told(path):
        order = _byte_order(file)
        variables = {v.name: v for v in _variables(file, order, path.stat().st_size)}

    def read(key: str) -> Array:
        with _damage_told(path):
            values = _read(file, order, variables[key])
        return _svhn_labels(values) if _SVHN_NAME.fullmatch(path.name) else values

    return ArrayStore(
        str(path), tuple(variables), read, lambda key: f"{path}: {key!r}", samples_last=True
    )


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (_DamageError, struct.error, zlib.error, UnicodeError, OverflowError) as error:
        way_out = "" if isinstance(error, _DamageError) else "; save it again"
        raise ValueError(f"{path} cannot be read as a MATLAB file: {error}{way_out}") from error


def _byte_order(file: BinaryIO) -> Order:
    file.seek(0)
    mark = file.read(_FILE_HEADER_BYTES)[-2:]
    if mark not in (b"IM", b"MI"):
        raise _DamageError("it is of no version from 5 to 7: save it again")
    return "<" if mark == b"IM" else ">"


def _variables(file: BinaryIO, order: Order, n_bytes: int) -> Iterator[_Variable]:
    """Yield the headers of all arrays that have names; each name once."""
    names: set[str] = set()
    at = _FILE_HEADER_BYTES
    while at < n_bytes:
        file.seek(at)
        kind, length = struct.unpack(order + "II", file.read(8))
        at += 8 + length
        if kind not in (_MATRIX, _COMPRESSED) or at > n_bytes:
            raise _DamageError(f"an element of type {kind} has {length} bytes; fetch it again")
        element = _Element(at - length, length, kind == _COMPRESSED)
        variable = _variable(_start(file, element), order, element)
        if variable.name in names or len(names) == _MOST_VARIABLES:
            raise _DamageError(f"it holds {shown(variable.name)} twice, or too many arrays")
        names.add(variable.name)
        if variable.name:  # those without hold functions
            yield variable


def _start(file: BinaryIO, element: _Element) -> bytes:
    """Return the first bytes of an array, behind its tag."""
    file.seek(element.start)
    content = file.read(min(element.n_bytes, _MOST_HEADER_BYTES))
    if not element.packed:
        return content
    unpacked = zlib.decompressobj().decompress(content, _MOST_HEADER_BYTES)
    if unpacked[:4] not in (b"\x0e\0\0\0", b"\0\0\0\x0e"):
        raise _DamageError("what is packed is no array; fetch it again")
    return unpacked[8:]


def _variable(start: bytes, order: Order, element: _Element) -> _Variable:
    flags, at = _part(start, 0, order)
    (told,) = struct.unpack(order + "I", flags[:4])
    sizes, at = _part(start, at, order)
    name, at = _part(start, at, order)
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if not 2 <= len(shape) <= _MOST_DIMENSIONS or min(shape) < 0:
        raise _DamageError(f"an array has the shape {shown(shape)}; save it again")
    return _Variable(
        name.decode("latin1"), shape, told & 0xFF, bool(told & _IS_COMPLEX), element, at
    )


def _part(data: bytes, at: int, order: Order) -> tuple[bytes, int]:
    """Return the data of an element within an array, and where the next begins."""
    _, length, first = _tag(data[at : at + 8], order)
    end = at + first + length
    if end > len(data):
        raise _DamageError("the header of an array is cut off; fetch it again")
    return data[at + first : end], at + (8 if first == 4 else 8 + -(-length // 8) * 8)


def _tag(tag: bytes, order: Order) -> tuple[int, int, int]:
    """Type, number of bytes, and where they begin: a small element has them in its tag."""
    kind, length = struct.unpack(order + "II", tag)
    return (kind & 0xFFFF, kind >> 16, 4) if kind >> 16 else (kind, length, 8)


def _read(file: BinaryIO, order: Order, variable: _Variable) -> Array:
    """Read the values of an array, no more than its shape and the file allow."""
    name, kind = shown(variable.name), variable.kind
    if kind in _OTHERS or variable.is_complex:
        words = "complex array" if variable.is_complex else _OTHERS[kind]
        raise _DamageError(f"{name} is a MATLAB {words}: save a numeric array")
    if kind != _CHARACTERS and kind not in _NUMERIC:
        raise _DamageError(f"{name} is of a class {kind} that MATLAB does not have: save it again")
    n_values = math.prod(variable.shape)
    most = max(UNSUSPICIOUS_BYTES, MAX_RATIO * variable.element.n_bytes)
    tag, values = _values(file, variable, min(8 * n_values, most) + 8)
    stored, length, first = _tag(tag, order)
    content = (tag[first:] + values)[:length]
    if kind == _CHARACTERS:
        return _texts(content, stored, order, variable)
    if stored not in _NUMBERS:
        raise _DamageError(f"{name} is damaged: its values are of type {stored}")
    dtype = np.dtype(_NUMBERS[stored]).newbyteorder(order)
    if n_values * dtype.itemsize != length or len(content) != length:
        raise _DamageError(
            f"{name} announces {shown(variable.shape)}, more than the file can hold, or other than "
            f"its {length} bytes"
        )
    return np.frombuffer(content, dtype).reshape(variable.shape, order="F").copy()


def _values(file: BinaryIO, variable: _Variable, most: int) -> tuple[bytes, bytes]:
    """Return the tag of an array's values, and at most so many bytes behind it."""
    element, skipped = variable.element, variable.values_at
    file.seek(element.start)
    if not element.packed:
        file.seek(skipped, 1)
        content = file.read(max(min(element.n_bytes - skipped, 8 + most), 0))
    else:
        stream = zlib.decompressobj()
        content = stream.decompress(file.read(element.n_bytes), 8 + skipped + 8 + most)[
            8 + skipped :
        ]
        stream.decompress(stream.unconsumed_tail, 64)  # padding, and a checksum that has to fit
        if not stream.eof:
            raise _DamageError(f"{shown(variable.name)} is cut off, or longer than it says")
    return content[:8], content[8:]


def _texts(content: bytes, stored: int, order: Order, variable: _Variable) -> Array:
    """Rows of a table of characters, as texts."""
    if stored not in _TEXTS or len(variable.shape) != 2:
        raise _DamageError(
            f"{shown(variable.name)} is damaged: its characters are of type {stored}"
        )
    encoding = _TEXTS[stored]
    if encoding in ("utf-16", "utf-32"):
        encoding += "-le" if order == "<" else "-be"
    text = content.decode(encoding)
    n_rows, n_columns = variable.shape
    if len(text) != n_rows * n_columns:
        raise _DamageError(f"{shown(variable.name)} is damaged: it has {len(text)} characters")
    if not n_rows * n_columns:
        return np.zeros(n_rows, "U1")
    rows = np.array(list(text)).reshape(n_columns, n_rows).T
    return np.array(["".join(row).rstrip() for row in rows])


def _svhn_labels(values: Array) -> Array:
    """Labels of SVHN with 0 for the digit zero; images pass unchanged."""
    return np.where(values == _SVHN_ZERO, 0, values) if values.ndim == 2 else values


def _parts(path: Path, options: Options) -> tuple[str, ...]:
    with mat_store(path) as store:
        return store_parts(store)


def _load(path: Path, part: str, options: Options) -> Dataset:
    with mat_store(path) as store:
        return load_store(store, part)


def _images(path: Path) -> Array:
    with mat_store(path) as store:
        return store_images(store)


def _recognises(glance: Glance) -> bool:
    return glance.start.startswith((_MATLAB_5_START, _MATLAB_7_3_START))


MAT = Reader("a MATLAB file", _recognises, _parts, _load, _images)
