"""Text files of libsvm, ``label index:value index:value ...``, through scikit-learn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .dataset import Dataset, make_dataset
from .image_arrays import Array, as_images
from .optional import require
from .reader import Glance, Options, Reader

_LINE = re.compile(rb"[-+]?[0-9.]+(e[-+]?[0-9]+)?( +[0-9]+:[-+0-9.e]+)+", re.IGNORECASE)

_MOST_COLUMNS = 1 << 20
# Values that are zero are left out; an image that is all but empty still names its classes.
_MOST_VALUES_PER_BYTE = 100


def _read(path: Path) -> tuple[Array, Array]:
    """Images (N, D) and labels (N,)."""
    datasets = require("sklearn.datasets", "scikit-learn", "sklearn", str(path))
    try:
        matrix, labels = datasets.load_svmlight_file(str(path), dtype=np.float32)
    except (ValueError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read as a libsvm file: {str(error)[:200]}; fetch it again"
        ) from error
    n_values = matrix.shape[0] * matrix.shape[1]
    if matrix.shape[1] > _MOST_COLUMNS or n_values > path.stat().st_size * _MOST_VALUES_PER_BYTE:
        raise ValueError(
            f"{path} announces {matrix.shape[1]} values an image, hardly any of which are there: "
            "it holds no images"
        )
    return matrix.toarray(), labels


def _load(path: Path, part: str, options: Options) -> Dataset:
    images, labels = _read(path)
    return make_dataset(images, labels, None, str(path), str(path))


def _recognises(glance: Glance) -> bool:
    first = glance.start.split(b"\n")[0]
    return _LINE.match(first) is not None


LIBSVM = Reader(
    "a libsvm file",
    _recognises,
    lambda path, options: ("train",),
    _load,
    lambda path: as_images(_read(path)[0], str(path))[0],
)
