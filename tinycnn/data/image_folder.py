"""Folders of pictures, one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .image_file import check_size, open_picture, require_pillow, to_array

# What file managers and archivers leave behind; names with a leading dot are skipped as well.
_SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "icon\r"})


def load_image_folder(path: str | os.PathLike[str], size: tuple[int, int] | None = None) -> Dataset:
    """Load a folder of pictures that has one subfolder per class.

    Parameters
    ----------
    path : str or path
        The folder. Its subfolders' names, sorted as text ("10" before "2"), are the class names,
        and the files in each, sorted too, the images. Hidden and system files are skipped.
    size : (H, W), optional
        Resize every image to it; without it, all must have one size.

    Returns
    -------
    Dataset
        images uint8, (N, 1, H, W) if every file is grey (Pillow's modes 1, L, LA, I, I;16), else
        (N, 3, H, W). How pictures become bytes, and how they are resized, stands in
        `tinycnn.data.image_file`.

    Raises
    ------
    ImportError
        Without Pillow.
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If there are no class folders, or one is empty or holds something other than pictures; if
        a picture is damaged; if sizes differ and `size` is not given. The message names the file.
    """
    path = Path(path)
    return _load_classes(path, _class_names(path), size)


def image_folder_parts(path: Path) -> tuple[str, ...]:
    """Parts of an image folder: "train" alone, or with "test".

    A folder is divided if its subfolder `train` holds folders in turn; other entries beside
    `train` and `test` are then left alone. A `train` that holds pictures is a class like others.

    Raises
    ------
    ValueError
        If there are no class folders.
    """
    if not _is_divided(path):
        _class_names(path)  # says what is wrong with a folder that has none
        return ("train",)
    return ("train", "test") if (path / "test").is_dir() else ("train",)


def load_image_folder_part(path: Path, part: str, size: tuple[int, int] | None = None) -> Dataset:
    """Load one part of an image folder, divided or not; see `load_image_folder`.

    The classes of every part are those of `train`, so that a label means the same in all.

    Raises
    ------
    ValueError
        If `test` has a class that `train` has not; or see `load_image_folder`.
    """
    if not _is_divided(path):
        return load_image_folder(path, size)
    class_names = _class_names(path / "train")
    unknown = [name for name in _class_names(path / part) if name not in class_names]
    if unknown:
        raise ValueError(
            f"{path / part / unknown[0]} is a class that is not in {path / 'train'}: a network "
            "can only learn the classes of train; add it there, or remove it"
        )
    return _load_classes(path / part, class_names, size)


def _is_divided(path: Path) -> bool:
    train = path / "train"
    return train.is_dir() and any(entry.is_dir() for entry in _visible(train))


def _visible(folder: Path) -> list[Path]:
    """Entries of a folder, sorted by name, without hidden and system files."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if not entry.name.startswith(".") and entry.name.lower() not in _SYSTEM_NAMES
    )


def _class_names(folder: Path) -> list[str]:
    entries = _visible(folder)
    names = [entry.name for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if not entry.is_dir()]
    if not names:
        found = f"{len(files)} files, the first {files[0].name}" if files else "nothing"
        raise ValueError(
            f"{folder} has no class folders but {found}: put the images of each class into a "
            "subfolder named after it; a file of IDX or NPZ data is loaded by its own path"
        )
    if files:
        raise ValueError(
            f"{files[0]} stands beside the class folders: move it into one of them, or elsewhere"
        )
    return names


def _load_classes(
    folder: Path, class_names: Sequence[str], size: tuple[int, int] | None
) -> Dataset:
    require_pillow("load_image_folder")
    if size is not None:
        size = check_size(size, "load_image_folder: size")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        if (folder / name).is_dir():  # a test part need not have every class
            class_files = _class_files(folder / name)
            files += class_files
            labels += [label] * len(class_files)
    images = _stack(_read_files(files, size))
    return Dataset(images, np.array(labels, dtype=np.int64), tuple(class_names))


def _class_files(folder: Path) -> list[Path]:
    files = _visible(folder)
    if not files:
        raise ValueError(f"{folder} is an empty class folder: put images into it, or remove it")
    for file in files:
        if file.is_dir():
            raise ValueError(
                f"{file} is a folder inside the class folder {folder.name}: class folders must "
                "hold images alone (only folders named train and test may hold class folders)"
            )
    return files


def _read_files(files: Sequence[Path], size: tuple[int, int] | None) -> list[NDArray[np.uint8]]:
    """Every file as (1, H, W) or (3, H, W), all of one H and W."""
    images: list[NDArray[np.uint8]] = []
    for file in files:
        images.append(to_array(open_picture(file), size))
        (height, width), (first_height, first_width) = images[-1].shape[1:], images[0].shape[1:]
        if (height, width) != (first_height, first_width):
            raise ValueError(
                f"{files[0]} has {first_height} x {first_width} pixels (height x width) but "
                f"{file} {height} x {width}: give load or load_image_folder size=(H, W) to "
                "resize all images to one size"
            )
    return images


def _stack(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(N, C, H, W) with C = 1 if all are grey, else 3; grey is repeated in all three."""
    n_channels = max(len(image) for image in images)
    stacked = np.empty((len(images), n_channels, *images[0].shape[1:]), dtype=np.uint8)
    for n, image in enumerate(images):
        stacked[n] = image
    return stacked
