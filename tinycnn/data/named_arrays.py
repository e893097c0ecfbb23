"""Data sets that are arrays with names: in one file, or in several files of a folder.

NPZ, HDF5 and MATLAB files differ in how an array is read; which array is what is told by names
alone, for all of them here: `x_train` and `y_train`, `train_images` and `train_labels`, `X` and
`y`, `train/data` and `train/target`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .dataset import Dataset, make_dataset
from .image_arrays import Array, as_images
from .part_names import PARTS, Meaning, in_order, meaning

_MAX_NAMED = 8

_UNNAMED_PAIR = ["arr_0", "arr_1"]  # of np.savez(path, images, labels)


class ArrayStore(NamedTuple):
    """Arrays by name.

    Attributes
    ----------
    source : str
        Where they are; messages begin with it.
    keys : tuple of str
    read : callable
        From a key to its array.
    words : callable
        From a key to what a message calls the array.
    samples_last : bool
        Whether images may stand along the last axis, as MATLAB's do.
    """

    source: str
    keys: tuple[str, ...]
    read: Callable[[str], Array]
    words: Callable[[str], str]
    samples_last: bool = False


class _Layout(NamedTuple):
    """Keys of the images and of the labels of each part, and of the names of the classes."""

    images: dict[str, str]
    labels: dict[str, str]
    names: str | None


def store_parts(store: ArrayStore) -> tuple[str, ...]:
    """Parts whose images and labels are both there.

    Raises
    ------
    ValueError
        If there are none, or it is not clear which arrays are meant.
    """
    layout = _layout(store)
    there = in_order(set(layout.images) & set(layout.labels))
    if not there:
        raise ValueError(
            f"{store.source} has the keys {_listed(store.keys)}: it must have 'images' and "
            "'labels' (and may have 'class_names'), or 'x_train', 'y_train', 'x_test', 'y_test'; "
            "give an array without labels to predict"
        )
    return there


def load_store(store: ArrayStore, part: str) -> Dataset:
    """Load one part; the labels of the training part, if there is one, number the classes.

    Raises
    ------
    ValueError
        If the arrays do not fit together; see `make_dataset`.
    """
    layout = _layout(store)
    images_key, labels_key = layout.images[part], layout.labels[part]
    images, labels = store.read(images_key), store.read(labels_key)
    train_key = layout.labels.get("train", labels_key) if "train" in layout.images else labels_key
    names = None if layout.names is None else _class_names(store, layout.names)
    return make_dataset(
        _samples_first(images, labels, store),
        _as_column(labels, store),
        names,
        store.words(images_key),
        store.words(labels_key),
        train_labels=(
            None if train_key == labels_key else _as_column(store.read(train_key), store)
        ),
    )


def store_images(store: ArrayStore) -> Array:
    """Images alone, for prediction: those of the test part, else of any there is.

    Raises
    ------
    ValueError
        If no array is called by a name for images and there are several.
    """
    keys = _layout(store).images
    for part in reversed(PARTS):
        if part in keys:
            key = keys[part]
            break
    else:
        if len(store.keys) != 1:
            raise ValueError(
                f"{store.source} has the keys {_listed(store.keys)}: call the images 'images'"
            )
        key = store.keys[0]
    images = store.read(key)
    if store.samples_last and images.ndim == 4 and images.shape[-1] > images.shape[0]:
        images = np.moveaxis(images, -1, 0)
    return as_images(images, store.words(key))[0]


def _layout(store: ArrayStore) -> _Layout:
    """Which key is what, for each part; what belongs to no part is 'train' where that is free."""
    if sorted(store.keys) == _UNNAMED_PAIR:
        return _Layout({"train": _UNNAMED_PAIR[0]}, {"train": _UNNAMED_PAIR[1]}, None)
    meanings = {key: found for key in store.keys if (found := meaning(key)) is not None}
    images = _best_by_part(store, meanings, "images")
    labels = _best_by_part(store, meanings, "labels")
    names = _best_by_part(store, meanings, "names")
    whole_images, whole_labels = images.pop(None, None), labels.pop(None, None)
    if whole_images is not None and "train" not in images:
        images["train"] = whole_images
        if whole_labels is not None:
            labels["train"] = whole_labels
    return _Layout(_of_parts(images), _of_parts(labels), next(iter(names.values()), None))


def _of_parts(keys: dict[str | None, str]) -> dict[str, str]:
    return {part: key for part, key in keys.items() if part is not None}


def _best_by_part(
    store: ArrayStore, meanings: dict[str, Meaning], kind: str
) -> dict[str | None, str]:
    best: dict[str | None, str] = {}
    for key, found in sorted(meanings.items(), key=lambda item: item[1].rank):
        if found.kind != kind:
            continue
        rival = best.setdefault(found.part, key)
        if rival != key and meanings[rival].rank == found.rank:
            raise ValueError(
                f"{store.source} has several arrays that could be the {kind}: {rival!r} and "
                f"{key!r}; keep one set in it, or save the two you mean as 'images' and 'labels'"
            )
    return best


def _samples_first(images: Array, labels: Array, store: ArrayStore) -> Array:
    if store.samples_last and images.ndim > 2 and images.shape[-1] == labels.size:
        return np.moveaxis(images, -1, 0)
    return images


def _as_column(labels: Array, store: ArrayStore) -> Array:
    """Labels that MATLAB keeps as one row, as one column."""
    return labels.ravel() if store.samples_last and labels.shape[0] == 1 else labels


def _class_names(store: ArrayStore, key: str) -> list[str]:
    names = store.read(key)
    if names.ndim == 1 and names.dtype.kind in "iu":
        names = names.astype(str)  # as scikit-learn's digits have them
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError(
            f"{store.words(key)} has shape {names.shape} and dtype {names.dtype}: it must be a "
            "1-D array of strings, np.array(names, dtype=str)"
        )
    return [str(name) for name in names]


def _listed(keys: tuple[str, ...]) -> str:
    if not keys:
        return "no arrays"
    shown = ", ".join(sorted(keys)[:_MAX_NAMED])
    return shown + (", ..." if len(keys) > _MAX_NAMED else "")
