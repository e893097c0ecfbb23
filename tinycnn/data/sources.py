"""Which kind of source a path is, told by its content; and `load`, which reads any of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .dataset import Dataset
from .idx import GZIP_MAGIC, idx_folder_parts, is_idx_folder, load_idx_folder, load_idx_pair
from .image_folder import image_folder_parts, load_image_folder_part
from .npz import ZIP_MAGIC, load_npz, npz_parts

_Size = tuple[int, int] | None

_IDX_MAGIC = b"\0\0"
_NPY_MAGIC = b"\x93NUMPY"
_IMAGE_MAGICS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")


class _Source(NamedTuple):
    """A kind of source: what to call it, which parts it has, how to load one."""

    words: str
    parts: Callable[[Path], tuple[str, ...]]
    load: Callable[[Path, str, _Size], Dataset]


_IDX_FILE = _Source(
    "an IDX file", lambda path: ("train",), lambda path, part, size: load_idx_pair(path)
)
_IDX_FOLDER = _Source(
    "a folder of IDX files",
    idx_folder_parts,
    lambda path, part, size: load_idx_folder(path, part),
)
_NPZ = _Source("an NPZ archive", npz_parts, lambda path, part, size: load_npz(path, part))
_IMAGE_FOLDER = _Source("an image folder", image_folder_parts, load_image_folder_part)


def load(
    path: str | os.PathLike[str], part: str = "train", size: tuple[int, int] | None = None
) -> Dataset:
    """Load images and labels from any source this package reads, told by its content.

    Parameters
    ----------
    path : str or path
        One of

        - an IDX file of images, plain or gzip; its labels are found beside it by name
          (`train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz`);
        - a folder of IDX files: `train-images*`, `train-labels*`, and for the test part
          `t10k-images*`, `t10k-labels*` (or `test-`);
        - an NPZ archive with `images` and `labels`, or `x_train`, `y_train`, `x_test` and
          `y_test`; and `class_names`, if it has them;
        - a folder with one subfolder of pictures per class, or with such folders as its
          subfolders `train` and `test` (this needs Pillow).
    part : str
        "train" or "test". A source that is not divided is all "train".
    size : (H, W), optional
        Resize the pictures of an image folder; other sources refuse it.

    Returns
    -------
    Dataset
        Images (N, H, W) become (N, 1, H, W). Classes without names are "0", "1", ... up to the
        largest label of the part.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or an IDX file's labels are not beside it.
    ImportError
        For an image folder without Pillow.
    ValueError
        If the path is none of these, is damaged, has no such part, or its images and labels do
        not fit together. The message names the file and what to do.
    """
    path = Path(path)
    source = _recognise(path)
    if size is not None and source is not _IMAGE_FOLDER:
        raise ValueError(
            f"load: size={size} resizes the pictures of an image folder, but {path} is "
            f"{source.words}: leave size out"
        )
    there = source.parts(path)
    if part not in there:
        raise ValueError(
            f"load: part {part!r} is not in {path}, {source.words}: there is "
            f"{' and '.join(map(repr, there))}"
        )
    return source.load(path, part, size)


def parts(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Parts a source is divided in: those that `load` can be asked for.

    Parameters
    ----------
    path : str or path
        As for `load`.

    Returns
    -------
    tuple of str
        ("train",) or ("train", "test"); ("test",) where the test images alone are there.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load`, for a path that is no source.
    """
    path = Path(path)
    return _recognise(path).parts(path)


def _recognise(path: Path) -> _Source:
    if path.is_dir():
        return _IDX_FOLDER if is_idx_folder(path) else _IMAGE_FOLDER
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(ZIP_MAGIC):
        return _NPZ
    if start.startswith((GZIP_MAGIC, _IDX_MAGIC)):
        return _IDX_FILE
    raise ValueError(f"{path} {_what_else(path, start)}")


def _what_else(path: Path, start: bytes) -> str:
    """Say what a file that is no source seems to be, and what to do about it."""
    if path.suffix == ".npz":
        return "is no NPZ archive: it does not begin as a zip file; fetch it again"
    if start.startswith(_NPY_MAGIC):
        return (
            "is a single NPY array: load needs images and labels; save both with "
            "np.savez_compressed(path, images=images, labels=labels)"
        )
    if start.startswith(_IMAGE_MAGICS):
        return (
            "is one image: load needs a folder with one subfolder of images per class; read a "
            "single image with read_image"
        )
    return (
        f"is nothing load can read: it begins with bytes {start.hex(' ') or '(none)'}; it reads "
        "IDX files (plain or gzip), NPZ archives, and folders of IDX files or of images"
    )
