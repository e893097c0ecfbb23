"""STL-10 in binary files, https://cs.stanford.edu/~acoates/stl10/.

Images of 3 x 96 x 96 bytes, each channel column by column; labels 1..10 in a file of their own.
"""

from __future__ import annotations

from pathlib import Path

from .dataset import Dataset, make_dataset
from .image_arrays import Array
from .reader import Glance, Options, Reader
from .records import read_names, read_records

_SIDE = 96
_PARTS = ("train", "test")


def _parts(folder: Path, options: Options) -> tuple[str, ...]:
    return tuple(
        part for part in _PARTS if all((folder / f"{part}_{k}.bin").is_file() for k in "Xy")
    )


def _read_images(path: Path) -> Array:
    records = read_records(path, 3 * _SIDE * _SIDE, "images")
    return records.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 1, 3, 2)


def _load(folder: Path, part: str, options: Options) -> Dataset:
    images_path, labels_path = folder / f"{part}_X.bin", folder / f"{part}_y.bin"
    labels = read_records(labels_path, 1, "labels")[:, 0].astype(int) - 1
    names = read_names(folder / "class_names.txt")
    if names is not None and len(names) <= labels.max():
        names = None
    if names is None:
        names = tuple(str(n) for n in range(1, max(int(labels.max()) + 1, 10) + 1))
    return make_dataset(
        _read_images(images_path), labels, names, str(images_path), str(labels_path)
    )


def _images(folder: Path) -> Array:
    return _read_images(folder / f"{_parts(folder, Options())[-1]}_X.bin").copy()


def _recognises(glance: Glance) -> bool:
    return glance.is_folder and any(
        {f"{part}_X.bin", f"{part}_y.bin"} <= set(glance.names) for part in _PARTS
    )


STL10 = Reader("a folder of STL-10's binary files", _recognises, _parts, _load, _images)
