"""Folders of pictures: one subfolder per class, or labels in file names or a CSV file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tinycnn._checks import as_path

from .class_folders import Listing
from .dataset import Dataset
from .folder_layout import Layout, find_layout, list_part
from .image_file import check_size, require_pillow
from .label_arrays import empty_class_notes
from .part_names import in_order
from .pictures import Source, read_pictures
from .problems import relative
from .reader import Glance, Options, Progress, Reader


def load_image_folder(
    path: str | os.PathLike[str],
    size: tuple[int, int] | None = None,
    *,
    labels_from: str | None = None,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Load a folder of pictures that has one subfolder per class.

    Parameters
    ----------
    path : str or path
        The folder. Its subfolders' names, sorted as text ("10" before "2"), are the class names,
        and the files in each, sorted too, the images. Hidden and system files are passed over,
        as are texts and tables; `Dataset.notes` says so.
    size : (H, W), optional
        Resize every image to it; without it, all must have one size.
    labels_from : str, optional
        Where labels are if not in folders; see `load`.
    skip_broken : bool, default False
        Pass over files that cannot be read, instead of refusing the folder.
    progress : callable, optional
        Called as progress(done, total) while pictures are decoded.

    Returns
    -------
    Dataset
        images uint8, (N, 1, H, W) if every file is grey (Pillow's modes 1, L, LA), else
        (N, 3, H, W); uint16 or float32 if every file has more than 8 bits. How pictures become
        numbers, and how they are resized, stands in `tinycnn.data.image_file`.

    Raises
    ------
    ImportError
        Without Pillow.
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If there are no class folders; if anything in them is no picture or a damaged one, all of
        it in one report; if sizes differ, or are those of photographs, and `size` is not given.
    """
    path = as_path("load_image_folder: path", path)
    if size is not None:
        size = check_size(size, "load_image_folder: size")
    options = Options(size, labels_from, skip_broken, progress)
    require_pillow("load_image_folder")
    listing = list_part(path, path, labels_from)
    return _read(path, listing, listing.class_names, options)


def _parts(path: Path, options: Options) -> tuple[str, ...]:
    layout = find_layout(path, options.labels_from)
    if not layout.divided:
        list_part(
            layout.parts["train"], path, options.labels_from
        )  # says what is wrong with a folder without
    return in_order(layout.parts)


def _load(path: Path, part: str, options: Options) -> Dataset:
    """Load one part; the classes of every part are those of train."""
    layout = find_layout(path, options.labels_from)
    require_pillow("load")
    folder = layout.parts[part]
    listing = list_part(folder, path, options.labels_from)
    listing = listing._replace(notes=[*layout.notes, *listing.notes])
    names = listing.class_names
    if part != "train" and "train" in layout.parts:
        names = _names_of_train(path, layout, listing, folder, options)
    return _read(folder, listing, names, options)


def _names_of_train(
    path: Path, layout: Layout, listing: Listing, folder: Path, options: Options
) -> tuple[str, ...]:
    train = layout.parts["train"]
    names = list_part(train, path, options.labels_from).class_names
    unknown = [name for name in listing.class_names if name not in names]
    if unknown:
        raise ValueError(
            f"{folder / unknown[0]} is a class that is not in {train}: a network can only learn "
            "the classes of train; add it there, or remove it"
        )
    return names


def _read(
    folder: Path, listing: Listing, class_names: tuple[str, ...], options: Options
) -> Dataset:
    sources = [Source(file) for file in listing.files]
    pictures = read_pictures(sources, folder, options, listing.problems)
    files = [listing.files[i] for i in pictures.kept]
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = np.array([numbers[listing.classes[i]] for i in pictures.kept], dtype=np.int64)
    return Dataset(
        pictures.images,
        labels,
        class_names,
        tuple(relative(file, folder) for file in files),
        (*listing.notes, *pictures.notes, *empty_class_notes(labels, class_names, str(folder))),
    )


def _recognises(glance: Glance) -> bool:
    return glance.is_folder


IMAGE_FOLDER = Reader(
    "an image folder",
    _recognises,
    _parts,
    _load,
    options=frozenset({"size", "labels_from", "skip_broken"}),
)
