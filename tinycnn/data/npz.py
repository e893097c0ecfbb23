"""NPZ archives of images and labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinycnn.files.archive import open_archive, read_array

from .dataset import Dataset
from .image_arrays import Array
from .named_arrays import ArrayStore, load_store, store_images, store_parts
from .reader import Glance, Options, Reader

ZIP_MAGIC = b"PK"


@contextmanager
def npz_store(path: Path) -> Iterator[ArrayStore]:
    """Open the arrays of an NPZ archive, under their keys as `numpy.load` has them.

    Raises
    ------
    ValueError
        If the archive is damaged, or holds files but no arrays.
    """
    with open_archive(path) as archive:
        members = archive.namelist()
        keys = tuple(name.removesuffix(".npy") for name in members if name.endswith(".npy"))
        if members and not keys:
            raise ValueError(
                f"{path} is a zip archive of {len(members)} files, the first {members[0][:80]!r}: "
                f"unpack it first (unzip, or python -m zipfile -e {path.name} FOLDER) and give "
                "the folder"
            )
        yield ArrayStore(
            str(path),
            keys,
            lambda key: read_array(archive, path, key),
            lambda key: f"{path}: {key!r}",
        )


def _parts(path: Path, options: Options) -> tuple[str, ...]:
    with npz_store(path) as store:
        return store_parts(store)


def _load(path: Path, part: str, options: Options) -> Dataset:
    with npz_store(path) as store:
        return load_store(store, part)


def _images(path: Path) -> Array:
    with npz_store(path) as store:
        return store_images(store)


def _recognises(glance: Glance) -> bool:
    return glance.start.startswith(ZIP_MAGIC)


NPZ = Reader("an NPZ archive", _recognises, _parts, _load, _images)
