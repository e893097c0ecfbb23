"""Images and labels in IDX files, found by their names: MNIST, Fashion-MNIST, EMNIST, QMNIST."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .dataset import Dataset, make_dataset
from .emnist import emnist_classes, is_emnist, upright
from .folders import visible
from .foreign import identify
from .idx import GZIP_MAGIC, is_idx, read_idx
from .image_arrays import Array, as_images
from .part_names import file_part, in_order
from .reader import Glance, Options, Reader

_IDX_MAGIC = b"\0\0"

# "train-images-idx3-ubyte.gz", "emnist-letters-test-images-idx3-ubyte", "t10k-images.idx3-ubyte"
_IMAGES_NAME = re.compile(
    r"(?P<set>.*?)(?P<part>train|t10k|test|val|valid|validation)[-_.]images"
    r"([-_.]?idx\d[-_a-z0-9]*)?(\.gz)?",
    re.IGNORECASE,
)

# QMNIST's labels are eight numbers each: the class, the series, the writer, ...
_N_QMNIST_COLUMNS = 8


def _recognises_folder(glance: Glance) -> bool:
    """Whether a folder holds IDX images, by the names of its files."""
    return glance.is_folder and any(
        _IMAGES_NAME.fullmatch(name) and (glance.path / name).is_file() for name in glance.names
    )


def _images_files(folder: Path) -> dict[str, list[Path]]:
    """Files of images by part; sorted, so a plain file stands before its .gz."""
    found: dict[str, list[Path]] = {}
    for entry in visible(folder):
        if _IMAGES_NAME.fullmatch(entry.name) and entry.is_file():
            part = file_part(entry.name) or "train"
            found.setdefault(part, []).append(entry)
    return found


def _images_file(folder: Path, part: str) -> Path:
    files = _images_files(folder)[part]
    if len({file.name.removesuffix(".gz") for file in files}) > 1:
        names = ", ".join(file.name for file in files[:8])
        raise ValueError(
            f"{folder} has several files for the {part} images: {names}; leave one, or give "
            "load the path of the file you mean"
        )
    return files[0]


def _folder_parts(folder: Path, options: Options) -> tuple[str, ...]:
    return in_order(_images_files(folder))


def _load_folder(folder: Path, part: str, options: Options) -> Dataset:
    train_path = _images_file(folder, "train") if part != "train" and _has_train(folder) else None
    return load_idx_pair(_images_file(folder, part), train_path)


def _has_train(folder: Path) -> bool:
    return "train" in _images_files(folder)


def _folder_images(folder: Path) -> Array:
    part = _folder_parts(folder, Options())[-1]
    return _images(_images_file(folder, part))


def load_idx_pair(images_path: Path, train_images_path: Path | None = None) -> Dataset:
    """Load an IDX file of images and, from beside it, the IDX file of their labels.

    Parameters
    ----------
    images_path : path
    train_images_path : path, optional
        Images of the training part, whose labels number the classes of this one too.

    Raises
    ------
    FileNotFoundError
        If no file of labels is beside it.
    ValueError
        If the file's name does not say "images", or either file is damaged, or they do not fit
        together.
    """
    images = read_idx(images_path)  # first, as it may be no IDX file at all
    labels_path = _find_labels(images_path)
    labels = _read_labels(labels_path)
    train_labels = None
    if train_images_path is not None:
        train_labels = _read_labels(_find_labels(train_images_path))
    if not is_emnist(images_path.name):
        return make_dataset(
            images, labels, None, str(images_path), str(labels_path), train_labels=train_labels
        )
    labels, names = emnist_classes(images_path.name, labels)
    return make_dataset(upright(images), labels, names, str(images_path), str(labels_path))


def _read_labels(path: Path) -> Array:
    labels = read_idx(path)
    if labels.ndim == 2 and labels.shape[1] == _N_QMNIST_COLUMNS and "idx2-int" in path.name:
        return np.ascontiguousarray(labels[:, 0])
    return labels


def _find_labels(images_path: Path) -> Path:
    if "images" not in images_path.name.lower():
        raise ValueError(
            f"{images_path} is an IDX file without 'images' in its name: load takes the file of "
            "images and finds the labels beside it by putting 'labels' for 'images'; read a "
            "single file with read_idx"
        )
    names = _labels_names(images_path.name)
    beside = {entry.name.lower(): entry for entry in visible(images_path.parent)}
    for name in names:
        found = beside.get(name.lower())
        if found is not None and found.is_file():
            return found
    shown = ", ".join(names)
    raise FileNotFoundError(f"{images_path} has no labels beside it: looked for {shown}")


def _labels_names(images_name: str) -> list[str]:
    """Names the labels may have, likeliest first.

    Examples
    --------
    >>> _labels_names("train-images.idx3-ubyte")[:2]
    ['train-labels.idx1-ubyte', 'train-labels.idx1-ubyte.gz']
    """
    plain = re.sub("images", "labels", images_name.removesuffix(".gz"), flags=re.IGNORECASE)
    same = re.sub(r"idx\d", "idx1", plain, flags=re.IGNORECASE)
    # Both spellings of the same files are about, sometimes in one folder.
    other = re.sub(r"[-.]idx1", lambda m: ".idx1" if m[0][0] == "-" else "-idx1", same)
    of_qmnist = re.sub(r"idx1-ubyte", "idx2-int", same)
    spellings = list(dict.fromkeys([same, other, of_qmnist]))
    endings = (".gz", "") if images_name.endswith(".gz") else ("", ".gz")
    return [spelling + ending for spelling in spellings for ending in endings]


def _images(path: Path) -> Array:
    images = read_idx(path)
    return as_images(upright(images) if is_emnist(path.name) else images, str(path))[0]


def _recognises_file(glance: Glance) -> bool:
    if glance.start.startswith(_IDX_MAGIC):  # as are icons and many pictures of newer kinds
        return identify(glance.path, glance.start) is None
    return glance.start.startswith(GZIP_MAGIC) and is_idx(glance.path)


IDX_FILE = Reader(
    "an IDX file",
    _recognises_file,
    lambda path, options: ("train",),
    lambda path, part, options: load_idx_pair(path),
    _images,
)
IDX_FOLDER = Reader(
    "a folder of IDX files",
    _recognises_folder,
    _folder_parts,
    _load_folder,
    _folder_images,
)
