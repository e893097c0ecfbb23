"""NPZ archives of images and labels."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tinycnn.files.archive import open_archive, read_array

from .dataset import Dataset, make_dataset

ZIP_MAGIC = b"PK"

_CLASS_NAMES = "class_names"

# Part of the data -> keys of its images and labels, for each way to name them.
_SINGLE_KEYS = {"train": ("images", "labels")}
_KERAS_KEYS = {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")}


def npz_parts(path: Path) -> tuple[str, ...]:
    """Parts of an NPZ archive: those whose images and labels are there.

    Raises
    ------
    ValueError
        If the archive is damaged, or has neither `images` and `labels` nor Keras' names.
    """
    with open_archive(path) as archive:
        return tuple(_keys_by_part(archive, path))


def load_npz(path: Path, part: str) -> Dataset:
    """Load one part of an NPZ archive, and its `class_names` if it has them.

    Raises
    ------
    ValueError
        If the archive or one of its arrays is damaged, compressed by anything but deflate, or
        pickled; or see `make_dataset`.
    """
    with open_archive(path) as archive:
        images_key, labels_key = _keys_by_part(archive, path)[part]
        images = read_array(archive, path, images_key)
        labels = read_array(archive, path, labels_key)
        names = _read_class_names(archive, path) if _CLASS_NAMES in _keys(archive) else None
    return make_dataset(images, labels, names, f"{path}: {images_key!r}", f"{path}: {labels_key!r}")


def _keys(archive: zipfile.ZipFile) -> list[str]:
    """Keys as `numpy.load` has them: names of the members without .npy."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _keys_by_part(archive: zipfile.ZipFile, path: Path) -> dict[str, tuple[str, str]]:
    keys = _keys(archive)
    for layout in (_SINGLE_KEYS, _KERAS_KEYS):
        there = {part: pair for part, pair in layout.items() if set(pair) <= set(keys)}
        if there:
            return there
    found = ", ".join(sorted(keys)) or "no arrays"
    raise ValueError(
        f"{path} has the keys {found}: an NPZ archive must have 'images' and 'labels' (and may "
        "have 'class_names'), or 'x_train', 'y_train', 'x_test' and 'y_test'"
    )


def _read_class_names(archive: zipfile.ZipFile, path: Path) -> list[str]:
    names = read_array(archive, path, _CLASS_NAMES)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError(
            f"{path}: 'class_names' has shape {names.shape} and dtype {names.dtype}: it must be "
            "a 1-D array of strings, np.array(names, dtype=str)"
        )
    return [str(name) for name in names]
