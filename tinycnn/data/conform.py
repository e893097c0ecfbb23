"""Making one data set fit another, or a network: its channels, its depth, its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinycnn._checks import is_row, shown

from .dataset import Dataset
from .image_arrays import Array
from .problems import shorten

# Pillow's weights of red, green and blue in grey, in 65536ths.
_RED, _GREEN, _BLUE, _HALF, _BITS = 19595, 38470, 7471, 0x8000, 16

_IMAGES_AT_ONCE = 256


def conform(
    dataset: Dataset,
    image_shape: Sequence[int],
    class_names: Sequence[str],
    dtype: DTypeLike | None = None,
) -> Dataset:
    """Make a data set fit a network, or another data set, as `read_image` does with a picture.

    Parameters
    ----------
    dataset : Dataset
    image_shape : (C, H, W)
        Grey becomes colour and colour grey; sizes must be the same.
    class_names : sequence of str
        Names by the number a label shall have.
    dtype : dtype, optional
        Of the images the other has. Bytes and floats on 0..1 pass for each other; uint16 does not.

    Returns
    -------
    Dataset
        With `class_names`, and images of C channels.

    Raises
    ------
    ValueError
        If sizes, the number of channels or the depth differ in another way, or a class that has
        images is none of `class_names`.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"conform: dataset: must be what load gave, got {shown(dataset)}")
    for name, value in (("image_shape", image_shape), ("class_names", class_names)):
        if not is_row(value):
            raise TypeError(f"conform: {name}: must be a sequence, got {shown(value)}")
    images = _with_channels(dataset.images, tuple(image_shape))
    if dtype is not None:
        _check_depth(images.dtype, np.dtype(dtype))
    labels = _renumbered(dataset, tuple(class_names))
    return replace(dataset, images=images, labels=labels, class_names=tuple(class_names))


def fit_images(images: Array, image_shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """Images (N, C, H, W) with the channels of another shape, if size and depth fit.

    Raises
    ------
    ValueError
        If they do not.
    """
    _check_depth(images.dtype, dtype)
    return _with_channels(images, image_shape)


def _with_channels(images: Array, image_shape: tuple[int, ...]) -> Array:
    n_channels, shape = images.shape[1], images.shape[1:]
    if shape[1:] != image_shape[1:]:
        (H, W), (wanted_h, wanted_w) = shape[1:], image_shape[1:]
        raise ValueError(
            f"images of {H} x {W} pixels (height x width) do not fit {wanted_h} x {wanted_w}: "
            f"give size=({wanted_h}, {wanted_w}) if they are pictures; arrays are not resized"
        )
    if n_channels == image_shape[0]:
        return images
    if n_channels == 1 and image_shape[0] == 3:
        return np.repeat(images, 3, axis=1)
    if n_channels == 3 and image_shape[0] == 1:
        return to_grey(images)
    raise ValueError(
        f"images of {n_channels} channels do not fit {image_shape[0]}: only grey and RGB become "
        "each other"
    )


def to_grey(images: Array) -> Array:
    """Images (N, 3, H, W) as grey (N, 1, H, W), to the byte as Pillow has it."""
    grey = np.empty((len(images), 1, *images.shape[2:]), images.dtype)
    weights = np.array([_RED, _GREEN, _BLUE])[:, np.newaxis, np.newaxis]
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        some = images[start : start + _IMAGES_AT_ONCE]
        if images.dtype.kind == "u":
            total = (some.astype(np.int64) * weights).sum(axis=1) + _HALF
            grey[start : start + len(some), 0] = total >> _BITS
        else:
            grey[start : start + len(some), 0] = (some * (weights / (1 << _BITS))).sum(axis=1)
    return grey


def _check_depth(own: np.dtype[np.generic], wanted: np.dtype[np.generic]) -> None:
    if own != wanted and np.dtype(np.uint16) in (own, wanted):
        raise ValueError(
            f"images of {own} do not fit others of {wanted}, as no scale is common to both: save "
            "all of them in one depth"
        )


def _renumbered(dataset: Dataset, class_names: tuple[str, ...]) -> NDArray[np.int64]:
    if dataset.class_names == class_names:
        return dataset.labels
    there = np.unique(dataset.labels)
    unknown = [dataset.class_names[i] for i in there if dataset.class_names[i] not in class_names]
    if unknown:
        known = shorten(", ".join(class_names), 150)
        raise ValueError(
            f"the class {shorten(unknown[0], 60)} is none of {known}: a network can only tell the "
            "classes it learned; name its images by these, or leave them out"
        )
    numbers = np.zeros(len(dataset.class_names), dtype=np.int64)
    for i in there:
        numbers[i] = class_names.index(dataset.class_names[i])
    return numbers[dataset.labels]
