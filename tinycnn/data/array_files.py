"""Folders of array files: `X.npy` and `y.npy`, KMNIST's archives, SVHN's, Quick Draw's.

The name of a file counts as part of the names of its arrays: `kmnist-train-imgs.npz` holds the
images of `train`. Where no name speaks of images, each NPY file is a class, called as the file is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np

from .dataset import Dataset, make_dataset
from .folders import holds_only_files, visible
from .hdf5 import hdf5_store
from .image_arrays import Array, as_images
from .mat import mat_store
from .named_arrays import ArrayStore, load_store, store_images, store_parts
from .npy import NPY_MAGIC, map_npy, npy_store
from .npz import ZIP_MAGIC, npz_store
from .part_names import meaning
from .reader import Glance, Options, Reader

_Opener = Callable[[Path], AbstractContextManager[ArrayStore]]

_OPENERS: dict[str, _Opener] = {
    ".npy": npy_store,
    ".npz": npz_store,
    ".mat": mat_store,
    ".h5": hdf5_store,
    ".hdf5": hdf5_store,
}

_UNNAMED = "arr_0"  # the key of an array in an NPZ archive that was saved without one
_MOST_FILES = 1_000


@contextmanager
def _folder_store(folder: Path, files: list[Path]) -> Iterator[ArrayStore]:
    """The arrays of several files, under keys that begin with the file's name."""
    with ExitStack() as stack:
        stores = [
            (file, stack.enter_context(_OPENERS[file.suffix.lower()](file))) for file in files
        ]
        found = {f"{file.stem}/{key}": (store, key) for file, store in stores for key in store.keys}

        def read(key: str) -> Array:
            store, inner = found[key]
            return store.read(inner)

        def words(key: str) -> str:
            store, inner = found[key]
            return store.words(inner)

        samples_last = any(store.samples_last for _, store in stores)
        yield ArrayStore(str(folder), tuple(found), read, words, samples_last)


def _array_files(folder: Path) -> list[Path]:
    files = [file for file in visible(folder) if file.suffix.lower() in _OPENERS]
    if len(files) > _MOST_FILES:
        raise ValueError(
            f"{folder} holds {len(files)} array files: save all images as one array, (N, H, W), "
            "and their labels as another, with np.savez_compressed(path, images=..., labels=...)"
        )
    return files


def _is_file_per_class(files: list[Path]) -> bool:
    return all(file.suffix.lower() == ".npy" and meaning(file.stem) is None for file in files)


def _folder_parts(folder: Path, options: Options) -> tuple[str, ...]:
    files = _array_files(folder)
    if _is_file_per_class(files):
        return ("train",)
    with _folder_store(folder, files) as store:
        return store_parts(store)


def _load_folder(folder: Path, part: str, options: Options) -> Dataset:
    files = _array_files(folder)
    if _is_file_per_class(files):
        return _load_file_per_class(folder, files)
    with _folder_store(folder, files) as store:
        return load_store(store, part)


def _folder_images(folder: Path) -> Array:
    with _folder_store(folder, _array_files(folder)) as store:
        return store_images(store)


def _load_file_per_class(folder: Path, files: list[Path]) -> Dataset:
    arrays = [map_npy(file) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.shape[1:] != arrays[0].shape[1:] or array.ndim < 2:
            raise ValueError(
                f"{files[0]} has shape {arrays[0].shape} but {file} {array.shape}: where each "
                "file is a class, each must hold images (N, H, W) of one size"
            )
    labels = np.repeat(np.arange(len(files)), [len(array) for array in arrays])
    names = [file.stem for file in files]
    return make_dataset(np.concatenate(arrays), labels, names, str(folder), str(folder))


def _recognises_folder(glance: Glance) -> bool:
    if not glance.is_folder or not any(_has_suffix(name) for name in glance.names):
        return False
    return holds_only_files(glance.path)


def _has_suffix(name: str) -> bool:
    return Path(name).suffix.lower() in _OPENERS


def _partners(path: Path) -> list[Path]:
    """The file itself, and those beside it that hold labels or names of the same part."""
    mine = meaning(path.stem)
    if mine and mine.kind != "images":
        raise ValueError(f"{path} holds {mine.kind}, as it is called: give the file of the images")
    partners = [path]
    for file in visible(path.parent):
        theirs = meaning(file.stem) if file.suffix.lower() in (".npy", ".npz") else None
        if mine and theirs and theirs.kind != "images" and theirs.part in (mine.part, None):
            partners.append(file)
    return partners


def _load_lone(path: Path, part: str, options: Options) -> Dataset:
    with _folder_store(path, _partners(path)) as store:
        return load_store(store, store_parts(store)[0])


def _lone_parts(path: Path, options: Options) -> tuple[str, ...]:
    if len(_partners(path)) == 1:
        raise ValueError(
            f"{path} is a single array, and no labels are beside it: save both with "
            "np.savez_compressed(path, images=images, labels=labels), or call them X.npy and y.npy"
        )
    return ("train",)


def _lone_images(path: Path) -> Array:
    if path.suffix.lower() == ".npz":
        with npz_store(path) as store:
            return store_images(store)
    return as_images(map_npy(path), str(path))[0]


def _recognises_lone(glance: Glance) -> bool:
    if glance.start.startswith(NPY_MAGIC):
        return glance.suffix != ".npz"
    if not glance.start.startswith(ZIP_MAGIC) or meaning(glance.path.stem) is None:
        return False
    with npz_store(glance.path) as store:
        return store.keys == (_UNNAMED,)


ARRAY_FILE = Reader(
    "an array file with its labels beside it",
    _recognises_lone,
    _lone_parts,
    _load_lone,
    _lone_images,
)
ARRAY_FOLDER = Reader(
    "a folder of array files", _recognises_folder, _folder_parts, _load_folder, _folder_images
)
