"""What every reader returns, and the checks every source passes on the way there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Classes are named one by one, so a damaged label of two thousand million would ask for as many
# names. ImageNet-21k, the largest set in common use, has 21,841.
MAX_CLASSES = 65_536

_CHANNEL_COUNTS = (1, 3, 4)  # grey, RGB, RGBA: a last axis this short is channels, not width


class Dataset(NamedTuple):
    """Images with their labels.

    Attributes
    ----------
    images : ndarray, (N, C, H, W)
        uint8 on 0..255, or float32 / float64 on 0..1; C-contiguous, native byte order.
    labels : ndarray of int64, (N,)
        Class of each image, in [0, len(class_names)).
    class_names : tuple of str
        Name of each class, by its label.
    """

    images: Array
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]


def make_dataset(
    images: Array,
    labels: Array,
    class_names: Sequence[str] | None,
    images_source: str,
    labels_source: str,
) -> Dataset:
    """Check images and labels as a file holds them, and pair them.

    Parameters
    ----------
    images : ndarray, (N, H, W) or (N, C, H, W), see `as_images`
    labels : ndarray, (N,), see `as_labels`
    class_names : sequence of str or None
        None names the classes "0", "1", ... up to the largest label.
    images_source, labels_source : str
        Where they come from; error messages begin with it.

    Raises
    ------
    ValueError
        If either is not what it should be, or they do not fit together.
    """
    checked_images = as_images(images, images_source)
    checked_labels = as_labels(labels, labels_source)
    if len(checked_images) != len(checked_labels):
        raise ValueError(
            f"{images_source} holds {len(checked_images)} images but {labels_source} holds "
            f"{len(checked_labels)} labels: every image needs its label"
        )
    n_classes = int(checked_labels.max()) + 1
    if class_names is None:
        names = tuple(str(label) for label in range(n_classes))
    else:
        names = tuple(class_names)
    if n_classes > len(names):
        raise ValueError(
            f"{labels_source} goes up to label {n_classes - 1} but there are {len(names)} class "
            f"names: name all {n_classes} classes"
        )
    return Dataset(checked_images, checked_labels, names)


def as_images(images: Array, source: str) -> Array:
    """Images in the layout and on the scale of `Dataset`.

    Parameters
    ----------
    images : ndarray, (N, H, W) or (N, C, H, W)
        uint8; any other whole numbers if they lie in 0..255; or floats if they lie in 0..1.
    source : str
        Where they come from; error messages begin with it.

    Returns
    -------
    ndarray, (N, C, H, W)
        uint8, float32 (from float16 or float32) or float64. Not copied if already so.

    Raises
    ------
    ValueError
        For another number of dimensions, no images at all, channels last, values off the scale,
        or a dtype that is neither whole numbers nor floats.
    """
    if images.ndim == 3:
        images = images[:, np.newaxis]
    if images.ndim != 4:
        raise ValueError(
            f"{source} has shape {images.shape}: images must be (N, H, W) or (N, C, H, W); "
            "reshape them"
        )
    if images.size == 0:
        raise ValueError(f"{source} holds no images: its shape is {images.shape}")
    _refuse_channels_last(images.shape, source)
    return np.ascontiguousarray(_on_scale(images, source))


def _refuse_channels_last(shape: tuple[int, ...], source: str) -> None:
    if shape[3] in _CHANNEL_COUNTS and shape[1] > max(_CHANNEL_COUNTS):
        raise ValueError(
            f"{source} has shape {shape}, channels last: images must be (N, C, H, W); "
            "apply images.transpose(0, 3, 1, 2)"
        )


def _on_scale(images: Array, source: str) -> Array:
    """Bytes as they are, other whole numbers as bytes, floats in native float32 or float64."""
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf":
        raise ValueError(
            f"{source} has dtype {images.dtype}: images must be bytes (uint8, 0..255) or floats "
            "(0..1); convert them"
        )
    low, high = images.min(), images.max()
    if images.dtype.kind == "f":
        if not (low >= 0 and high <= 1):  # so written, NaN is refused too
            raise ValueError(
                f"{source} holds floats from {low} to {high}: floats must lie in 0..1; divide "
                "by the largest possible value, or store bytes (uint8, 0..255)"
            )
        return images.astype(np.float32 if images.dtype.itemsize <= 4 else np.float64, copy=False)
    if low < 0 or high > 255:
        raise ValueError(
            f"{source} holds whole numbers from {low} to {high}: they must lie in 0..255; "
            "divide by the largest possible value and store floats on 0..1"
        )
    return images.astype(np.uint8)


def as_labels(labels: Array, source: str) -> NDArray[np.int64]:
    """Labels as int64.

    Parameters
    ----------
    labels : ndarray, (N,)
        Whole numbers from 0, of any dtype (floats and bools too).
    source : str
        Where they come from; error messages begin with it.

    Raises
    ------
    ValueError
        For another shape, no labels at all, or a label (the first is named) that is no whole
        number, negative, or beyond `MAX_CLASSES`.
    """
    if labels.ndim != 1:
        raise ValueError(
            f"{source} has shape {labels.shape}: labels must be (N,), one whole number per "
            "image; reshape them, or take argmax(axis=1) if they are one-hot"
        )
    if labels.size == 0:
        raise ValueError(f"{source} holds no labels: its shape is {labels.shape}")
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"{source} has dtype {labels.dtype}: labels must be whole numbers")
    if labels.dtype.kind == "f":
        labels = labels.astype(np.float64)  # float16 could not be compared to MAX_CLASSES
        _refuse_where(labels != np.floor(labels), labels, source, "is not a whole number")
    if labels.dtype.kind in "if":
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
