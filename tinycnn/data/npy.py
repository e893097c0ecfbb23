"""NPY files: one array each, mapped into memory instead of read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinycnn.files.archive import MAX_HEADER_BYTES, parse_header
from tinycnn.files.bounded import refuse_special

from .image_arrays import Array
from .named_arrays import ArrayStore

NPY_MAGIC = b"\x93NUMPY"

_MAX_HEADER_CHARACTERS = 1_024  # as in archive.py


def map_npy(path: Path) -> Array:
    """Map the array of an NPY file; what is announced but not there is refused, not allocated.

    Returns
    -------
    ndarray
        Read-only; its values come from the file when they are looked at.

    Raises
    ------
    ValueError
        If it is no NPY file, is truncated, or holds something other than numbers and strings.
    """
    refuse_special(path)
    with path.open("rb") as file:  # NumPy divides by the size of an item, which may be 0
        parse_header(file.read(MAX_HEADER_BYTES), str(path))
    try:
        mapped: Any = np.load(
            path, mmap_mode="r", allow_pickle=False, max_header_size=_MAX_HEADER_CHARACTERS
        )
    except OSError:
        raise
    except Exception as error:  # the header is parsed as Python, which fails in many ways
        raise ValueError(
            f"{path} cannot be read as an NPY array: {_first_line(error)}; save numbers, or "
            "strings, with np.save"
        ) from error
    array: Array = np.asarray(mapped)
    if array.dtype.kind not in "biufU":
        raise ValueError(
            f"{path} has dtype {array.dtype}: save plain numbers, and names as strings"
        )
    return array


@contextmanager
def npy_store(path: Path) -> Iterator[ArrayStore]:
    """Open an NPY file as a store of one array, called as the file is."""
    yield ArrayStore(
        str(path), (path.stem,), lambda key: np.array(map_npy(path)), lambda key: str(path)
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
