"""Files of fixed-size records without a header, as CIFAR and STL-10 are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinycnn.files.bounded import refuse_special

_MOST_NAME_CHARACTERS = 65_536


def read_records(path: Path, record_bytes: int, what: str) -> NDArray[np.uint8]:
    """Read a file of records.

    Returns
    -------
    ndarray of uint8, (N, record_bytes)

    Raises
    ------
    ValueError
        If its size is not a whole number of records.
    """
    refuse_special(path)
    n_bytes = path.stat().st_size
    if n_bytes == 0 or n_bytes % record_bytes:
        raise ValueError(
            f"{path} has {n_bytes} bytes, which is no whole number of {what} of {record_bytes} "
            "bytes: it is truncated or another kind of file; fetch it again"
        )
    return np.fromfile(path, np.uint8).reshape(-1, record_bytes)


def read_names(path: Path) -> tuple[str, ...] | None:
    """Names of the classes, one in each line of a text file; None if there is no such file."""
    if not path.is_file():
        return None
    text = path.read_bytes()[:_MOST_NAME_CHARACTERS].decode("utf-8", "replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
