"""CIFAR-10 and CIFAR-100 in their "binary version", https://www.cs.toronto.edu/~kriz/cifar.html.

A record is the label (of CIFAR-100: the coarse and the fine label), then 32 x 32 pixels of red,
of green and of blue.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path

import numpy as np

from .dataset import Dataset, make_dataset
from .image_arrays import Array
from .reader import Glance, Options, Reader
from .records import read_names, read_records

_PIXEL_BYTES = 3 * 32 * 32

# Patterns of the files of each part.
_CIFAR_10 = {"train": "data_batch_[1-9].bin", "test": "test_batch.bin"}
_CIFAR_100 = {"train": "train.bin", "test": "test.bin"}


def _files(folder: Path, patterns: dict[str, str], part: str) -> list[Path]:
    return sorted(
        entry for entry in folder.iterdir() if fnmatch.fnmatch(entry.name, patterns[part])
    )


def _patterns(folder: Path) -> dict[str, str]:
    return _CIFAR_10 if any(_files(folder, _CIFAR_10, part) for part in _CIFAR_10) else _CIFAR_100


def _parts(folder: Path, options: Options) -> tuple[str, ...]:
    patterns = _patterns(folder)
    return tuple(part for part in patterns if _files(folder, patterns, part))


def _load(folder: Path, part: str, options: Options) -> Dataset:
    patterns = _patterns(folder)
    n_labels, n_classes, names_file = 1, 10, "batches.meta.txt"
    if patterns is _CIFAR_100:
        n_labels, n_classes, names_file = 2, 100, "fine_label_names.txt"
    files = _files(folder, patterns, part)
    records = np.concatenate(
        [read_records(file, n_labels + _PIXEL_BYTES, "images") for file in files]
    )
    images = records[:, n_labels:].reshape(-1, 3, 32, 32)
    labels = records[:, n_labels - 1]
    names = read_names(folder / names_file) or tuple(str(n) for n in range(n_classes))
    return make_dataset(images, labels, names, str(files[0]), str(files[0]))


def _images(folder: Path) -> Array:
    return _load(folder, _parts(folder, Options())[-1], Options()).images


def _recognises(glance: Glance) -> bool:
    return glance.is_folder and any(
        fnmatch.filter(glance.names, pattern)
        for patterns in (_CIFAR_10, _CIFAR_100)
        for pattern in patterns.values()
    )


CIFAR = Reader("a folder of CIFAR's binary files", _recognises, _parts, _load, _images)
