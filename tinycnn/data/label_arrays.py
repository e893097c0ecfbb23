"""Labels as people store them: in a column, one-hot, as names, from 1 or with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Labels = NDArray[np.int64]

# Classes are named one by one, so a damaged label of two thousand million would ask for as many
# names. ImageNet-21k, the largest set in common use, has 21,841.
MAX_CLASSES = 65_536

_NAMED_IN_A_NOTE = 5


def flatten_labels(labels: Array, source: str) -> Array:
    """Labels as one value per image.

    Parameters
    ----------
    labels : ndarray, (N,), (N, 1), or (N, K) if one-hot
        Whole numbers of any dtype (floats and bools too), or strings.
    source : str
        Where they come from; error messages begin with it.

    Returns
    -------
    ndarray, (N,)
        int64 or str.

    Raises
    ------
    ValueError
        For another shape, no labels at all, or a label (the first is named) that is no whole
        number, negative (but for two classes, -1 and 1), or beyond `MAX_CLASSES`.
    """
    if labels.size == 0:
        raise ValueError(f"{source} holds no labels: its shape is {labels.shape}")
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else _from_one_hot(labels, source)
    if labels.ndim != 1:
        raise ValueError(
            f"{source} has shape {labels.shape}: labels must be (N,), one whole number or name "
            "per image; reshape them"
        )
    if labels.dtype.kind == "U":
        return labels
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            f"{source} has dtype {labels.dtype}: labels must be whole numbers or strings"
        )
    return _whole_numbers(labels, source)


def _from_one_hot(labels: Array, source: str) -> Array:
    if labels.dtype.kind in "biuf":
        ones = labels == 1
        if (ones.sum(axis=1) == 1).all() and (ones | (labels == 0)).all():
            return np.asarray(ones.argmax(axis=1))
    raise ValueError(
        f"{source} has shape {labels.shape}: labels must be (N,), one whole number or name per "
        "image, or one-hot, a single 1 in each row; several labels an image cannot be learned"
    )


def _whole_numbers(labels: Array, source: str) -> Labels:
    if labels.dtype.kind == "f":
        labels = labels.astype(np.float64)  # float16 could not be compared to MAX_CLASSES
        _refuse_where(labels != np.floor(labels), labels, source, "is not a whole number")
    if labels.dtype.kind in "if" and not np.isin(labels, (-1, 1)).all():
        _refuse_where(labels < 0, labels, source, "is negative")
    if labels.dtype.kind != "b":
        _refuse_where(labels >= MAX_CLASSES, labels, source, "is too large")
    return labels.astype(np.int64)


def _refuse_where(wrong: NDArray[np.bool_], labels: Array, source: str, why: str) -> None:
    if wrong.any():
        _refuse_label(int(wrong.argmax()), labels, source, why)


def _refuse_label(index: int, labels: Array, source: str, why: str) -> NoReturn:
    raise ValueError(
        f"{source}: label {labels[index]} at index {index} {why}: number the classes 0, 1, 2, "
        f"... below {MAX_CLASSES}, for instance by np.unique(labels, return_inverse=True)"
    )


def number_labels(
    labels: Array,
    class_names: Sequence[str] | None,
    source: str,
    train_labels: Array | None = None,
) -> tuple[Labels, tuple[str, ...], list[str]]:
    """Number the classes 0, 1, 2, ... and name them.

    Parameters
    ----------
    labels : ndarray of int64 or str, (N,)
        From `flatten_labels`.
    class_names : sequence of str or None
        None makes a class of each label that occurs, named by it: labels 1..26 are the classes
        "1".."26", numbered 0..25.
    source : str
        Where the labels come from; error messages and notes begin with it.
    train_labels : ndarray, (M,), optional
        Labels that decide which classes there are, if not `labels` do.

    Returns
    -------
    labels : ndarray of int64, (N,)
    class_names : tuple of str
    notes : list of str

    Raises
    ------
    ValueError
        If there are more labels than names, or labels that `train_labels` does not have.
    """
    deciding = labels if train_labels is None else train_labels
    if class_names is None:
        return _named_by_themselves(labels, deciding, source)
    return _named_by(tuple(class_names), labels, deciding, source)


def _named_by_themselves(
    labels: Array, deciding: Array, source: str
) -> tuple[Labels, tuple[str, ...], list[str]]:
    values = np.unique(deciding)
    if len(values) > MAX_CLASSES:
        raise ValueError(
            f"{source} holds {len(values)} different labels: there may be {MAX_CLASSES} classes"
        )
    numbers = _positions(labels, values, source)
    names = tuple(str(value) for value in values)
    notes = []
    if values.dtype.kind == "i" and int(values[-1]) != len(values) - 1:
        notes.append(
            f"{source}: the labels go from {values[0]} to {values[-1]}, {len(values)} of them "
            "different: each is a class named by its number"
        )
    return numbers, names, notes


def _positions(labels: Array, values: Array, source: str) -> Labels:
    """Where each label stands in the sorted `values`."""
    if labels.dtype.kind != values.dtype.kind:
        raise ValueError(
            f"{source} has labels of dtype {labels.dtype} where the training part has "
            f"{values.dtype}: store both as numbers, or both as names"
        )
    numbers = np.minimum(np.searchsorted(values, labels), len(values) - 1)
    unknown = values[numbers] != labels
    if unknown.any():
        index = int(unknown.argmax())
        raise ValueError(
            f"{source}: label {labels[index]} at index {index} does not occur in the training "
            "part: a network can only learn the classes of train; add images of it there"
        )
    return numbers.astype(np.int64)


def _named_by(
    names: tuple[str, ...], labels: Array, deciding: Array, source: str
) -> tuple[Labels, tuple[str, ...], list[str]]:
    if labels.dtype.kind == "U":
        numbers = _positions_of_names(labels, names, source)
        return numbers, names, empty_class_notes(numbers, names, source)
    low, high = int(deciding.min()), int(deciding.max())
    if low >= 1 and high == len(names):  # counted from 1
        low, high, labels = low - 1, high - 1, labels - 1
    low, high = min(low, int(labels.min())), max(high, int(labels.max()))
    if low < 0:
        raise ValueError(
            f"{source} holds the label {low}, which is no class: leave such images out"
        )
    if high >= len(names):
        raise ValueError(
            f"{source} goes up to label {high} but there are {len(names)} class names: name all "
            f"{high + 1} classes"
        )
    return labels, names, empty_class_notes(labels, names, source)


def _positions_of_names(labels: Array, names: tuple[str, ...], source: str) -> Labels:
    numbers = {name: number for number, name in enumerate(names)}
    unknown = sorted(set(labels.tolist()) - set(numbers))
    if unknown:
        raise ValueError(f"{source}: label {unknown[0]!r} is none of the class names: add it there")
    return np.array([numbers[label] for label in labels.tolist()], dtype=np.int64)


def empty_class_notes(labels: Labels, names: Sequence[str], source: str) -> list[str]:
    """Say which classes have no images, if any."""
    counts = np.bincount(labels, minlength=len(names))
    empty = [names[int(i)] for i in np.flatnonzero(counts == 0)]
    if not empty:
        return []
    more = ", ..." if len(empty) > _NAMED_IN_A_NOTE else ""
    shown = ", ".join(empty[:_NAMED_IN_A_NOTE]) + more
    return [f"{source}: {len(empty)} of {len(names)} classes have no images: {shown}"]
