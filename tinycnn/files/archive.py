"""Arrays of an NPZ archive, without pickle: read with distrust, written all or nothing.

`numpy.load` allocates whatever an array's header announces before it reads a byte of it; a
damaged or hostile archive of 200 bytes may so ask for terabytes. Here the header is compared to
the archive's own sizes first, and the data is read in chunks. The format of the members:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import io
import math
import os
import re
import struct
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinycnn._checks import SHOWN_CHARACTERS, shown
from tinycnn.files.bounded import open_file, read_bounded
from tinycnn.files.writing import atomic_file

# What is read of a member to find its header in.
MAX_HEADER_BYTES = 10_240

# deflate makes at most 1,032 bytes of one; what people save, far fewer. Small arrays may.
MAX_RATIO = 400
UNSUSPICIOUS_BYTES = 2**26

_MAX_DIMENSIONS = 64  # of a NumPy array
_LAST_CHARACTER = 0x10FFFF  # of Unicode

# What zipfile raises for damaged, encrypted or exotic archives.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


Array = NDArray[Any]


class _Header(NamedTuple):
    """What the start of an NPY member announces."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    header_bytes: int
    data_bytes: int


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an NPZ archive for `read_array`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no zip archive, a damaged one, or one in which two members have the same name.
    """
    with open_file(path) as file:
        with _zip_errors(str(path)):
            archive = zipfile.ZipFile(file)
        with archive:
            names = archive.namelist()
            twice = next((name for name, n in Counter(names).items() if n > 1), None)
            if twice is not None:
                raise ValueError(f"{path}: damaged: it holds {shown(twice)} twice")
            yield archive


@contextmanager
def _zip_errors(what: str) -> Iterator[None]:
    try:
        yield
    except _ZIP_ERRORS as error:
        reason = str(error)[:SHOWN_CHARACTERS]
        raise ValueError(
            f"{what} cannot be read as an NPZ (zip) archive: {reason}; fetch it again, or write it "
            "again with np.savez_compressed"
        ) from error


def read_array(
    archive: zipfile.ZipFile, path: Path, key: str, max_bytes: int | None = None
) -> Array:
    """Read one array, allocating no more than the archive holds.

    Parameters
    ----------
    archive : ZipFile
        From `open_archive`.
    path : Path
        Of the archive, for the messages.
    key : str
        One that is there, without `.npy`.
    max_bytes : int, optional
        What the array may have at most; a claim of more is refused before anything is read.

    Returns
    -------
    ndarray
        Of numbers, bools or strings; in the byte order and memory order of the file.

    Raises
    ------
    ValueError
        If the array is damaged, of another kind (Python objects above all), or compressed by
        anything but deflate.
    """
    what = f"{path}: {key!r}"
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile reads these two in bounded chunks; the others it may unpack without bound.
        raise ValueError(
            f"{what} is compressed by zip method {info.compress_type}: write the archive with "
            "np.savez or np.savez_compressed"
        )
    with _zip_errors(what), archive.open(info) as stream:
        start = stream.read(MAX_HEADER_BYTES)
    header = parse_header(start, what)
    if max_bytes is not None and header.data_bytes > max_bytes:
        raise ValueError(
            f"{what} is damaged: it claims {header.data_bytes:,} bytes, at most {max_bytes:,} fit"
        )
    if header.data_bytes > max(UNSUSPICIOUS_BYTES, MAX_RATIO * info.compress_size):
        raise ValueError(
            f"{what} claims {header.data_bytes:,} bytes from {info.compress_size:,} in the file: "
            "no images or parameters compress so well; write it with np.savez if it is genuine"
        )
    _check_data_bytes(info.file_size - header.header_bytes, header, what)
    with _zip_errors(what), archive.open(info) as stream:
        stream.read(header.header_bytes)
        data = read_bounded(stream, header.data_bytes)
    _check_data_bytes(len(data), header, what)  # the archive's own sizes may lie as well
    if header.dtype.kind == "U":
        _check_characters(data, header.dtype, what)
    values: Array = np.frombuffer(data, header.dtype)
    return values.reshape(header.shape, order="F" if header.fortran_order else "C")


def write_archive(path: str | os.PathLike[str], arrays: Mapping[str, ArrayLike]) -> None:
    """Write an NPZ archive that `read_array` reads, all of it or nothing: see `atomic_file`.

    Parameters
    ----------
    path : path-like
        Taken as it is.
    arrays : mapping of str to array_like
        Numbers, bools or strings.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written to.
    ValueError
        For an array of another kind, before anything is written.
    """
    members: dict[str, Any] = {key: np.asarray(array) for key, array in arrays.items()}
    for key, array in members.items():
        _check_dtype(array.dtype, f"{path}: {key!r}")
    with atomic_file(path) as file:
        np.savez(file, **members)


def parse_header(start: bytes, what: str) -> _Header:
    """Read the header of an NPY member.

    `numpy.lib.format` would, too; but of a header that is no Python literal it makes a second
    try that takes half a minute for 10 KB on Python 3.11.
    """
    stream = io.BytesIO(start)
    try:
        version = np.lib.format.read_magic(stream)
        size_format = "<H" if version == (1, 0) else "<I"
        (length,) = struct.unpack(size_format, stream.read(struct.calcsize(size_format)))
        text = stream.read(length).decode("latin1" if version < (3, 0) else "utf-8")
        if len(text) > MAX_HEADER_BYTES:
            raise ValueError(f"its header has {length} bytes")
        # Python 2 wrote long numbers as 3L.
        header = ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text).strip())
        shape, fortran_order = header["shape"], header["fortran_order"]
        if set(header) != {"descr", "fortran_order", "shape"} or type(fortran_order) is not bool:
            raise ValueError("its header has other entries than descr, fortran_order and shape")
        if type(shape) is not tuple or any(type(size) is not int for size in shape):
            raise ValueError(f"its shape is {shown(shape)}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old names of dtypes
            dtype = np.lib.format.descr_to_dtype(header["descr"])
    except Exception as error:  # what is parsed as Python fails in many ways
        raise ValueError(f"{what} does not begin as an NPY array: {shown(str(error))}") from error
    _check_dtype(dtype, what)
    _check_shape(shape, dtype, what)
    return _Header(dtype, shape, fortran_order, stream.tell(), math.prod(shape) * dtype.itemsize)


def _check_dtype(dtype: np.dtype[Any], what: str) -> None:
    if dtype.hasobject:
        raise ValueError(
            f"{what} is an array of Python objects (pickled), which could run code when loaded "
            "and is not read: save numbers, and names as np.array(names, dtype=str)"
        )
    if dtype.kind not in "biufU" or dtype.itemsize == 0:
        raise ValueError(f"{what} has dtype {dtype}: save plain numbers, and names as strings")


def _check_shape(shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    """Refuse what NumPy cannot shape, even if a zero among the sizes makes it hold nothing."""
    if any(size < 0 for size in shape) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"{what} announces the shape {shown(shape)}, which no array has")
    if math.prod(size for size in shape if size) * dtype.itemsize > sys.maxsize:
        raise ValueError(f"{what} announces the shape {shown(shape)}: no memory holds so much")


def _check_characters(data: bytearray, dtype: np.dtype[Any], what: str) -> None:
    # NumPy passes the four bytes of each character on unchecked, to a SystemError later.
    characters = np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder))
    if characters.max(initial=0) > _LAST_CHARACTER:
        raise ValueError(f"{what} is damaged: it holds characters that do not exist")


def _check_data_bytes(n_bytes: int, header: _Header, what: str) -> None:
    if n_bytes != header.data_bytes:
        raise ValueError(
            f"{what} is damaged: its header announces {header.shape} {header.dtype}, "
            f"{header.data_bytes} bytes of data, but the archive holds {n_bytes}"
        )
