"""Which format a path is of; and `load`, which reads any of them."""

from __future__ import annotations

import os
from pathlib import Path

from tinycnn._checks import as_path, shown
from tinycnn.files.bounded import refuse_special

from .array_files import ARRAY_FILE, ARRAY_FOLDER
from .cifar import CIFAR
from .csv_pixels import CSV_FILE, CSV_FOLDER
from .dataset import Dataset
from .folders import visible
from .foreign import identify
from .hdf5 import HDF5
from .idx_files import IDX_FILE, IDX_FOLDER
from .image_arrays import Array
from .image_file import check_size
from .image_folder import IMAGE_FOLDER
from .libsvm import LIBSVM
from .mat import MAT
from .npz import NPZ
from .parquet import PARQUET_FILE, PARQUET_FOLDER
from .problems import shorten
from .reader import Glance, Options, Progress, Reader, glance
from .stl10 import STL10

# The first that recognises a path reads it; a folder that nothing else does is one of pictures.
READERS: tuple[Reader, ...] = (
    IDX_FOLDER,
    CIFAR,
    STL10,
    PARQUET_FOLDER,
    CSV_FOLDER,
    ARRAY_FOLDER,
    IMAGE_FOLDER,
    ARRAY_FILE,
    NPZ,
    MAT,
    HDF5,
    PARQUET_FILE,
    LIBSVM,
    CSV_FILE,
    IDX_FILE,
)

PICTURE_MAGICS = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    b"P5",
    b"P6",
)

_DEPTH = 2  # folders above the data that may be given: `MNIST/raw` by `MNIST`, or by its parent


def load(
    path: str | os.PathLike[str],
    part: str = "train",
    size: tuple[int, int] | None = None,
    *,
    labels_from: str | None = None,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Load images and labels from any source this package reads, told by its content.

    Parameters
    ----------
    path : str or path
        One of

        - a folder with one subfolder of pictures per class, or with such folders as its parts
          (`train`, `Training_Set`, ..., `val`, `valid`, ..., `test`, ...); this needs Pillow;
        - a folder of pictures whose labels stand in their names or in a CSV file;
        - an IDX file of images, plain or gzip, whose labels are found beside it by name, or a
          folder of such files: MNIST, Fashion-MNIST, KMNIST, QMNIST, EMNIST;
        - an NPZ archive, a MATLAB file, or an HDF5 file (needs h5py, as does MATLAB 7.3) with
          `images` and `labels`, `X` and `y`, `x_train`, `y_train`, `x_test` and `y_test`,
          `train_images`, `train_labels`, ...; and `class_names`, if it has them; or a folder of
          such files and of NPY files;
        - CSV files of labels and pixels, or a libsvm file (needs scikit-learn);
        - Parquet files of encoded pictures (needs pyarrow);
        - the binary files of CIFAR-10, CIFAR-100 and STL-10.
    part : str
        "train", "validation" or "test". A source that is not divided is all "train".
    size : (H, W), optional
        Resize pictures; arrays must have this size, if it is given.
    labels_from : str, optional
        Where the labels of pictures are: "folder"; "name", for the letters that begin a file's
        name; a pattern of names, "*_{label}.png"; or the path of a CSV file with columns
        file,label. By default class folders, or a CSV file among or beside pictures.
    skip_broken : bool, default False
        Pass over pictures that cannot be read (`Dataset.notes` counts them), instead of refusing.
    progress : callable, optional
        Called as progress(done, total) while pictures are decoded.

    Returns
    -------
    Dataset
        Classes without names are named by their labels. The training part, if there is one,
        decides which classes there are, so that a label means the same in every part.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or an IDX file's labels are not beside it.
    ImportError
        If a library that the format needs is not there; the message tells how to install it.
    ValueError
        If the path is none of these, is damaged, has no such part, or its images and labels do
        not fit together. The message names the file and what to do.
    """
    path = as_path("load: path", path)
    if not isinstance(labels_from, str | None):
        raise TypeError(f"load: labels_from: must be a text, got {shown(labels_from)}")
    if not (progress is None or callable(progress)):
        raise TypeError(f"load: progress: must be a function, got {shown(progress)}")
    if size is not None:
        size = check_size(size, "load: size")
    options = Options(size, labels_from, skip_broken, progress)
    reader, place = recognise(path)
    _refuse_labels_from(reader, path, labels_from)
    there = reader.parts(place, options)
    if not isinstance(part, str) or part not in there:
        raise ValueError(
            f"load: part {shown(part)} is not in {path}, {reader.words}: there is "
            f"{' and '.join(map(repr, there)) or 'no part with labels'}"
        )
    dataset = reader.load(place, part, options)
    if size is not None and dataset.images.shape[2:] != size:
        H, W = dataset.images.shape[2:]
        raise ValueError(
            f"load: size={size} resizes pictures, but {path} is {reader.words} with images of "
            f"{H} x {W}: leave it out"
        )
    return dataset


def parts(path: str | os.PathLike[str], *, labels_from: str | None = None) -> tuple[str, ...]:
    """Parts a source is divided in: those that `load` can be asked for.

    Parameters
    ----------
    path : str or path
        As for `load`.
    labels_from : str, optional
        As for `load`.

    Returns
    -------
    tuple of str
        Those of "train", "validation" and "test" that are there with labels, in this order;
        ("train",) for a source that is not divided.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load`, for a path that is no source.
    """
    path = as_path("parts: path", path)
    reader, place = recognise(path)
    _refuse_labels_from(reader, path, labels_from)
    return reader.parts(place, Options(labels_from=labels_from))


def _refuse_labels_from(reader: Reader, path: Path, labels_from: str | None) -> None:
    if labels_from is not None and "labels_from" not in reader.options:
        raise ValueError(
            f"labels_from={labels_from!r} is for folders of pictures, but {path} is "
            f"{reader.words}: leave it out"
        )


def recognise(path: Path) -> tuple[Reader, Path]:
    """Find the reader of a path, and where its data are: there, or in a folder below.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If no reader recognises it.
    """
    refuse_special(path)
    seen = glance(path)
    for reader in READERS:
        if reader is IMAGE_FOLDER and seen.is_folder:
            below = _array_folder_below(path, _DEPTH)
            if below is not None:
                return below
        if reader.recognises(seen):
            return reader, path
    raise ValueError(f"{path} {_what_else(seen)}")


def _array_folder_below(folder: Path, depth: int) -> tuple[Reader, Path] | None:
    """Find the reader of the only folder in a folder, where that is no folder of pictures."""
    inside = [entry for entry in visible(folder) if entry.name != "processed"]
    if depth == 0 or len(inside) != 1 or not inside[0].is_dir():
        return None
    seen = glance(inside[0])
    for reader in READERS[: READERS.index(IMAGE_FOLDER)]:
        if reader.recognises(seen):
            return reader, inside[0]
    return _array_folder_below(inside[0], depth - 1)


def find_arrays(path: Path) -> Array | None:
    """Images of a source of arrays without regard to labels, for prediction.

    Returns
    -------
    ndarray or None, (N, C, H, W)
        Those of the test part, or of what there is; None if it holds pictures, or nothing that is
        known.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    seen = glance(path)
    for reader in READERS:
        if reader.images is not None and reader.recognises(seen):
            return reader.images(path)
    below = _array_folder_below(path, _DEPTH) if seen.is_folder else None
    if below is not None and below[0].images is not None:
        return below[0].images(below[1])
    return None


def _what_else(seen: Glance) -> str:
    """Say what a file that is no source seems to be, and what to do about it."""
    if seen.suffix == ".npz":
        return "is no NPZ archive: it does not begin as a zip file; fetch it again"
    if not seen.start:
        return (
            "is nothing load can read: it begins with bytes (none), as it is empty; fetch it again"
        )
    if seen.start.startswith(PICTURE_MAGICS):
        return (
            "is one image: load needs a folder with one subfolder of images per class; read a "
            "single image with read_image"
        )
    foreign = identify(seen.path, seen.start)
    if foreign is not None:
        return str(foreign)
    if seen.suffix in (".csv", ".tsv"):
        return (
            "is a table without pixels: if it tells files and labels, give the folder of the "
            f"pictures and labels_from={shorten(seen.path.name, 40)!r}; a table of pixels has a "
            "label and all pixels of an image in each line"
        )
    return (
        f"is nothing load can read: it begins with bytes {seen.start[:8].hex(' ')}; it reads "
        "folders of pictures, IDX, NPZ, NPY, HDF5, MATLAB, Parquet, libsvm and CSV files"
    )
