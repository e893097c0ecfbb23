"""IDX files, the format of MNIST and its many relatives.

The format, from Yann LeCun's page "The MNIST database of handwritten digits": two zero bytes, a
byte for the type, a byte for the number of dimensions, the sizes as big-endian int32, then the
values in C order, big-endian.
"""

from __future__ import annotations

import io
import math
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

import numpy as np

from tinycnn._checks import as_path, shown
from tinycnn.files.archive import MAX_RATIO, UNSUSPICIOUS_BYTES
from tinycnn.files.bounded import Readable, read_bounded, refuse_special

from .gunzip import Gunzip
from .image_arrays import Array

GZIP_MAGIC = b"\x1f\x8b"

_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_AGAIN = "fetch or copy it again"
_MAX_DIMENSIONS = 64  # of a NumPy array; IDX files in use have one to four


class _Header(NamedTuple):
    """What the start of an IDX file announces."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    header_bytes: int
    data_bytes: int


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read one IDX file, plain or gzip (told by its content, not by its name).

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    ndarray
        Of the shape the file announces, in native byte order: uint8, int8, int16, int32, float32
        or float64.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no IDX file, or a damaged one: the message names the file and what is wrong.
    """
    path = as_path("read_idx: path", path)
    with _opened(path) as (stream, file_bytes):
        header = _read_header(stream, path)
        if file_bytes is not None:
            _check_data_bytes(file_bytes - header.header_bytes, header, path)
        elif header.data_bytes > max(UNSUSPICIOUS_BYTES, MAX_RATIO * path.stat().st_size):
            raise ValueError(
                f"{path} claims {header.data_bytes:,} bytes from {path.stat().st_size:,} in the "
                "file: no images compress so well; unpack it (gunzip) if it is genuine"
            )
        data = read_bounded(stream, header.data_bytes)
    _check_data_bytes(len(data), header, path)
    values = np.frombuffer(data, header.dtype).reshape(header.shape)
    return values.astype(header.dtype.newbyteorder("="), copy=False)


def is_idx(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an IDX file, plain or gzip, by its first bytes.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    bool
        True does not promise that the rest is undamaged; `read_idx` tells.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    try:
        with _opened(as_path("is_idx: path", path)) as (stream, _):
            magic = stream.read(4)
    except ValueError:  # damaged gzip
        return False
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _TYPES


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Readable, int | None]]:
    """Open the bytes inside the file; tell how many they are where that is known beforehand."""
    refuse_special(path)
    with path.open("rb") as file:
        if file.peek(2)[:2] != GZIP_MAGIC:
            status = os.fstat(file.fileno())
            yield file, status.st_size if S_ISREG(status.st_mode) else None
            return
        try:
            yield io.BufferedReader(Gunzip(file)), None
        except (EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}; {_AGAIN}") from error


def _read_header(stream: Readable, path: Path) -> _Header:
    magic = stream.read(4)
    if magic[:2] == GZIP_MAGIC:
        raise ValueError(f"{path} is compressed twice: unpack it once (gunzip)")
    if magic[:2] != b"\0\0":
        raise ValueError(
            f"{path} is no IDX file: it begins with bytes {magic.hex(' ') or '(none)'}, an IDX "
            f"file with 00 00, a type and the number of dimensions; {_AGAIN}"
        )
    if len(magic) < 4:
        raise ValueError(
            f"{path} is truncated: only {len(magic)} bytes of its IDX header; {_AGAIN}"
        )
    type_code, n_dimensions = magic[2:]
    if type_code not in _TYPES:
        known = ", ".join(f"0x{code:02x}" for code in _TYPES)
        raise ValueError(
            f"{path} has the IDX type 0x{type_code:02x}: known types are {known}; {_AGAIN}"
        )
    if n_dimensions > _MAX_DIMENSIONS:
        raise ValueError(
            f"{path} announces {n_dimensions} dimensions: an IDX file may have {_MAX_DIMENSIONS} "
            f"at most here; {_AGAIN}"
        )
    sizes = stream.read(4 * n_dimensions)
    if len(sizes) < 4 * n_dimensions:
        raise ValueError(
            f"{path} is truncated: its IDX header announces {n_dimensions} dimensions and ends "
            f"after {4 + len(sizes)} of {4 + 4 * n_dimensions} bytes; {_AGAIN}"
        )
    shape = struct.unpack(f">{n_dimensions}i", sizes)
    dtype = _TYPES[type_code]
    _check_shape(shape, dtype, path)
    return _Header(dtype, shape, 4 + len(sizes), math.prod(shape) * dtype.itemsize)


def _check_shape(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    if any(size < 0 for size in shape):
        raise ValueError(
            f"{path} announces the shape {shown(shape)}: sizes must not be negative; {_AGAIN}"
        )
    # Zeros left out: NumPy refuses (0, huge, huge) too.
    if math.prod(size for size in shape if size) * dtype.itemsize > sys.maxsize:
        raise ValueError(
            f"{path} announces the shape {shown(shape)}: no memory holds so much; {_AGAIN}"
        )


def _check_data_bytes(n_bytes: int, header: _Header, path: Path) -> None:
    expected = header.data_bytes
    announced = f"its header announces {shown(header.shape)} {header.dtype.name}, {expected} bytes"
    if n_bytes < expected:
        raise ValueError(
            f"{path} is truncated: {announced} of data, but there are {n_bytes}; {_AGAIN}"
        )
    if n_bytes > expected:
        raise ValueError(
            f"{path} has extra bytes after its data: {announced} of data, but at least {n_bytes} "
            f"follow the header; {_AGAIN}"
        )
