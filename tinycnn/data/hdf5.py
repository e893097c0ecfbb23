"""HDF5 files of images and labels, through h5py (and MATLAB's files of version 7.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.files.archive import MAX_RATIO, UNSUSPICIOUS_BYTES
from tinycnn.files.bounded import open_file

from .dataset import Dataset
from .image_arrays import Array
from .named_arrays import ArrayStore, load_store, store_images, store_parts
from .optional import require
from .reader import Glance, Options, Reader

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MATLAB_START = b"MATLAB 7.3"  # which puts HDF5 behind a page of its own

_MOST_ARRAYS = 1_000
_MOST_CHUNK_BYTES = 1 << 26  # each is unpacked whole, however little of it is asked for
_MOST_CHUNKS = 200_000  # for each of which HDF5 takes 2 KB
_TEXTS_AT_ONCE = 1_000
_TEXT_BYTES_AT_ONCE = 1 << 27


class _HostileError(ValueError):
    """What is wrong with a data set, in words of ours."""


@contextmanager
def hdf5_store(path: Path) -> Iterator[ArrayStore]:
    """Open the data sets of an HDF5 file, whose keys are their paths in it.

    Raises
    ------
    ImportError
        Without h5py.
    ValueError
        If the file is damaged.
    """
    h5py = require("h5py", "h5py", "hdf5", str(path))
    with open_file(path) as start:
        of_matlab = start.read(len(_MATLAB_START)) == _MATLAB_START
    with _damage_told(str(path)):
        file = h5py.File(path, "r")
    with file:
        with _damage_told(str(path)):
            keys = _keys(file, h5py)
        yield ArrayStore(
            str(path),
            keys,
            lambda key: _read(file, key, f"{path}: {key!r}", of_matlab),
            lambda key: f"{path}: {key!r}",
            samples_last=of_matlab,
        )


@contextmanager
def _damage_told(what: str) -> Iterator[None]:
    """Turn whatever h5py raises for a damaged file into one ValueError."""
    try:
        yield
    except (MemoryError, _HostileError):
        raise
    except Exception as error:  # RuntimeError, KeyError, OSError, TypeError, ...
        words = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(
            f"{what} cannot be read as HDF5: {words}; fetch it again, or write it again"
        ) from error


def _keys(file: Any, h5py: Any) -> tuple[str, ...]:
    """Paths of the data sets; MATLAB keeps its references in a group '#refs#'."""
    keys: list[str] = []

    def note(key: Any, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and isinstance(key, str) and not key.startswith("#"):
            keys.append(key)
        return True if len(keys) >= _MOST_ARRAYS else None  # anything but None ends the visit

    file.visititems(note)
    return tuple(keys)


def _read(file: Any, key: str, what: str, of_matlab: bool) -> Array:
    with _damage_told(what):
        dataset = file[key]
        elsewhere = dataset.is_virtual or bool(dataset.external)
        shape = dataset.shape
    if elsewhere:
        raise ValueError(f"{what} has its values in another file: copy them into this one")
    if shape is None:
        raise ValueError(f"{what} is empty: it has no shape")
    with _damage_told(what):
        _check_sizes(dataset, what)
        if dataset.dtype.kind == "O":
            values = _read_texts(dataset, what)
        else:
            values = np.asarray(dataset[()])
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8")
    return values.T if of_matlab else values  # HDF5 lists MATLAB's axes the other way round


def _check_sizes(dataset: Any, what: str) -> None:
    """Refuse what unpacks to far more than the file holds, before it is unpacked."""
    n_bytes, stored = dataset.nbytes, dataset.id.get_storage_size()
    announced = f"announces {dataset.shape} {dataset.dtype}, {n_bytes} bytes"
    if n_bytes > max(UNSUSPICIOUS_BYTES, stored * MAX_RATIO):
        raise _HostileError(
            f"{what} {announced}, but the file holds {stored}: it is damaged, or was never filled"
        )
    if dataset.chunks is None:
        return
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
    n_chunks = math.prod(-(-n // m) for n, m in zip(dataset.shape, dataset.chunks, strict=True))
    if chunk > max(n_bytes, _MOST_CHUNK_BYTES) or n_chunks > _MOST_CHUNKS:
        raise _HostileError(
            f"{what} {announced}, in {n_chunks} chunks of {chunk}: write it with chunks=True"
        )


def _read_texts(dataset: Any, what: str) -> Array:
    """Texts of any length, some at a time: the same one may stand there without end."""
    if dataset.dtype.metadata is None or dataset.dtype.metadata.get("vlen") not in (str, bytes):
        raise _HostileError(f"{what} has elements that are no numbers: save an array of numbers")
    texts = dataset.asstr()
    longest = dataset.file.id.get_filesize()
    n = max(min(_TEXT_BYTES_AT_ONCE // longest, _TEXTS_AT_ONCE), 1)
    if dataset.ndim != 1:
        raise _HostileError(f"{what} has texts of shape {dataset.shape}: save a list of them")
    found: list[str] = []
    n_characters = 0
    for start in range(0, len(dataset), n):
        some = [str(text) for text in texts[start : start + n]]
        n_characters = max(n_characters, *map(len, some))
        found += some
        if n_characters * len(dataset) * 4 > UNSUSPICIOUS_BYTES:
            raise _HostileError(f"{what} has texts of {n_characters} characters: shorten them")
    return np.array(found, dtype=str)


def _parts(path: Path, options: Options) -> tuple[str, ...]:
    with hdf5_store(path) as store:
        return store_parts(store)


def _load(path: Path, part: str, options: Options) -> Dataset:
    with hdf5_store(path) as store:
        return load_store(store, part)


def _images(path: Path) -> Array:
    with hdf5_store(path) as store:
        return store_images(store)


def _recognises(glance: Glance) -> bool:
    return glance.start.startswith((HDF5_MAGIC, _MATLAB_START))


HDF5 = Reader("an HDF5 file", _recognises, _parts, _load, _images)
