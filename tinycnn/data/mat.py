"""MATLAB files of images and labels, through SciPy; those of version 7.3 are HDF5."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .dataset import Dataset
from .hdf5 import hdf5_store
from .image_arrays import Array
from .named_arrays import ArrayStore, load_store, store_images, store_parts
from .optional import require
from .reader import Glance, Options, Reader

_MATLAB_5_START = b"MATLAB 5.0 MAT-file"
_MATLAB_7_3_START = b"MATLAB 7.3"

# Deflate packs 1,032 times at most, so this many times its size is what a file can hold.
_MOST_PACKED = 1_100

# SVHN, http://ufldl.stanford.edu/housenumbers/: "1 has label 1, 9 has label 9 and 0 has label 10".
_SVHN_NAME = re.compile(r"(train|test|extra)_32x32\.mat")
_SVHN_ZERO = 10


@contextmanager
def mat_store(path: Path) -> Iterator[ArrayStore]:
    """Open the variables of a MATLAB file.

    Raises
    ------
    ImportError
        Without SciPy, or h5py for a file of version 7.3.
    ValueError
        If the file is damaged.
    """
    with path.open("rb") as file:
        start = file.read(len(_MATLAB_7_3_START))
    if start == _MATLAB_7_3_START:
        with hdf5_store(path) as store:
            yield store
        return
    io = require("scipy.io", "SciPy", "mat", str(path))
    shapes = {name: (shape, kind) for name, shape, kind in _attempt(path, io.whosmat, path)}
    largest = path.stat().st_size * _MOST_PACKED

    def read(key: str) -> Array:
        shape, kind = shapes[key]
        if int(np.prod([float(n) for n in shape])) > largest:
            raise ValueError(f"{path}: {key!r} announces {shape}, more than the file can hold")
        values = np.asarray(_attempt(path, io.loadmat, path, variable_names=[key])[key])
        if values.dtype.kind not in "biufU":
            raise ValueError(f"{path}: {key!r} is a MATLAB {kind}: save a numeric array")
        return _svhn_labels(values) if _SVHN_NAME.fullmatch(path.name) else values

    yield ArrayStore(
        str(path), tuple(shapes), read, lambda key: f"{path}: {key!r}", samples_last=True
    )


def _svhn_labels(values: Array) -> Array:
    """Labels of SVHN with 0 for the digit zero; images pass unchanged."""
    return np.where(values == _SVHN_ZERO, 0, values) if values.ndim == 2 else values


def _attempt(path: Path, function: Any, *arguments: Any, **named: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return function(*arguments, **named)
    except Exception as error:  # SciPy's reader meets damage with anything
        raise ValueError(
            f"{path} cannot be read as a MATLAB file: {str(error)[:200]}; save it again"
        ) from error


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
