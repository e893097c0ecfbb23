"""Images on their way to the first layer: checked, moved, and brought to its scale.

Images stay as they are stored, bytes as bytes, until a batch of them is computed. Bytes (uint8)
stand for greys 0 to 1: byte b is b / 255. All other numbers are taken as they are. From that each
channel's mean is taken away, and what is left is divided by its deviation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_array, shown
from tinycnn.fast.dispatch import kernels

# Bytes 0..255 and floats 0..1 are the same greys.
BYTE_SCALE = 1 / 255

# Pixels that the kernels read as they are, with the kernels' numbers for them (PixelKind in
# _kernels.pxd); all others are converted first.
PIXEL_KINDS = {np.dtype(np.uint8): 0, np.dtype(np.float32): 1, np.dtype(np.float64): 2}

# Values of images that are looked at together, so that a copy in another dtype stays small.
SLAB_VALUES = 2**21
SLAB_IMAGES = 2048
LEAST_SLAB_IMAGES = 64


class Inputs(NamedTuple):
    """Images as they are stored, and what happens to their pixels on the way to the first layer.

    Attributes
    ----------
    images : (N, C, H, W)
        Checked by :func:`as_images`.
    scale, shift : (C,)
        The first layer sees ``pixel * scale + shift``, channel by channel.
    """

    images: npt.NDArray[Any]
    scale: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]


class Examples(NamedTuple):
    """Labelled images to learn from.

    Attributes
    ----------
    inputs : Inputs
        Of N images.
    labels : (N,)
        Of all images, not only of those in the order; so are weights and moves.
    order : (n,), optional
        Indices of the images that are used, n at least 1; all as they stand by default.
    weights : (N,), optional
        How much each image counts in a mean; 1 by default.
    moves : (N, 3), optional
        How far each image is moved down and right, and whether it is mirrored before.
    """

    inputs: Inputs
    labels: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64] | None = None
    weights: npt.NDArray[np.float64] | None = None
    moves: npt.NDArray[np.int8] | None = None


def private_examples(examples: Examples, n_classes: int) -> Examples:
    """Copy what the kernels trust and callbacks could change: labels, order, weights and moves.

    Raises
    ------
    ValueError
        If an index, a label or a move would lead outside the images or the classes.
    """
    N, _, H, W = examples.inputs.images.shape
    labels = np.array(examples.labels, np.int64)
    order = None if examples.order is None else _as_indices(examples.order, N)
    weights = None if examples.weights is None else np.array(examples.weights, np.float64)
    moves = None if examples.moves is None else np.array(examples.moves, np.int8)
    if labels.shape != (N,) or not _all_within(labels, 0, n_classes):
        raise ValueError(f"labels: must be {N} whole numbers in [0, {n_classes})")
    if weights is not None and weights.shape != (N,):
        raise ValueError(f"weights: {N} images need as many weights, got {weights.shape}")
    if moves is not None and not (
        moves.shape == (N, 3)
        and _all_within(moves[:, 0], 1 - H, H)
        and _all_within(moves[:, 1], 1 - W, W)
    ):
        raise ValueError(
            f"moves: must be {N} rows (down, right, mirrored) by less than {H} rows and {W} columns"
        )
    return Examples(examples.inputs, labels, order, weights, moves)


def _as_indices(order: npt.NDArray[Any], N: int) -> npt.NDArray[np.int64]:
    """Copy an order; ValueError unless it is one of some of N images."""
    copied = np.array(order)
    if not (copied.dtype.kind in "iu" and copied.ndim == 1 and len(copied)):
        raise ValueError(f"order: must be indices of {N} images, got {shown(order)}")
    if not _all_within(copied, 0, N):
        raise ValueError(f"order: must be indices of {N} images")
    return copied.astype(np.int64, copy=False)


def _all_within(values: npt.NDArray[Any], first: int, end: int) -> bool:
    return bool(len(values) == 0 or (values.min() >= first and values.max() < end))


def as_images(name: str, images: npt.ArrayLike, image_shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Check the shape and dtype of images for a network; returned as they are, bytes as bytes."""
    array = as_array(name, images)
    if array.ndim != 4:
        raise ValueError(
            f"{name}: needs 4 dimensions (N, C, H, W), got {array.ndim} with shape {array.shape}"
            f"{_way_out(name, array.shape, image_shape)}"
        )
    if array.shape[1:] != image_shape:
        raise ValueError(
            f"{name}: this network takes images of shape {image_shape} (C, H, W), got "
            f"{array.shape[1:]}{_way_out(name, array.shape, image_shape)}"
        )
    if array.dtype.kind != "f" and array.dtype not in (np.uint8, np.uint16):
        raise TypeError(
            f"{name}: dtype {array.dtype} is neither bytes (uint8, 0..255), uint16 nor floats; "
            f"convert with {name}.astype('uint8'), or .astype('float32') for values as they are"
        )
    return array


def _way_out(name: str, shape: tuple[int, ...], image_shape: tuple[int, ...]) -> str:
    """Say how arrays of the right images in another layout become (N, C, H, W); else nothing."""
    C, H, W = image_shape
    of_one: dict[tuple[int, ...], str] = {
        (C, H, W): "[None]",
        (H, W, C): ".transpose(2, 0, 1)[None]",
    }
    of_many: dict[tuple[int, ...], str] = {
        (H, W, C): ".transpose(0, 3, 1, 2)",
        (C * H * W,): f".reshape(-1, {C}, {H}, {W})",
    }
    if C == 1:
        of_one[H, W] = "[None, None]"
        of_many[H, W] = "[:, None]"
    change = of_one.get(shape) or of_many.get(shape[1:])
    return f"; give {name}{change}" if change else ""


def unit_of(dtype: np.dtype[Any]) -> float:
    """Return what a stored 1 stands for: 1/255 of white in bytes, itself elsewhere."""
    return BYTE_SCALE if dtype == np.uint8 else 1.0


def readable(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images in a dtype that the kernels read, without a copy where they are."""
    if images.dtype in PIXEL_KINDS:
        return images
    return images.astype(np.float32 if images.dtype.itemsize < 4 else np.float64)


def first_layer_input(inputs: Inputs, dtype: np.dtype[Any]) -> FloatArray:
    """Bring images to the scale and dtype that the first layer computes with."""
    with np.errstate(over="ignore", invalid="ignore"):  # whoever needs finite pixels checks them
        x: FloatArray = inputs.images.astype(dtype)
        x *= inputs.scale.astype(dtype)[:, None, None]
        x += inputs.shift.astype(dtype)[:, None, None]
    return x


def move_images(images: npt.NDArray[Any], moves: npt.NDArray[np.int8]) -> npt.NDArray[Any]:
    """Mirror and move images (N, C, H, W) as their rows of moves (N, 3) say.

    At the border that an image leaves, its outermost pixels are repeated.
    """
    N, C, H, W = images.shape
    down, right, mirrored = moves.astype(np.int64).T[:, :, None, None, None]
    n, c = np.arange(N)[:, None, None, None], np.arange(C)[:, None, None]
    h = np.clip(np.arange(H)[:, None] - down, 0, H - 1)
    w = np.clip(np.arange(W) - right, 0, W - 1)
    moved: npt.NDArray[Any] = images[n, c, h, np.where(mirrored, W - 1 - w, w)]
    return moved


def move_all(images: npt.NDArray[Any], down: int, right: int, mirrored: bool) -> npt.NDArray[Any]:
    """Mirror and move all images (N, C, H, W) alike; at the border as :func:`move_images`."""
    H, W = images.shape[2:]
    rows = np.clip(np.arange(H) - down, 0, H - 1)
    columns = np.clip(np.arange(W) - right, 0, W - 1)
    return images.take(rows, axis=2).take(W - 1 - columns if mirrored else columns, axis=3)


def moments(
    images: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute mean and standard deviation (C,) of each channel of stored images (N, C, H, W).

    Images count by their weights (N,), not all of which are 0, if there are any. The deviation of
    equal pixels is exactly 0, and not finite where a pixel is not.
    """
    N, C, H, W = images.shape
    stored = np.ascontiguousarray(readable(images))
    mean, squares = np.empty((2, N, C))
    kernels.plane_moments(
        stored.reshape(-1).view(np.uint8),
        PIXEL_KINDS[stored.dtype],
        H * W,
        mean.reshape(-1),
        squares.reshape(-1),
    )
    mean, variance = merge_moments(mean, squares / (H * W), weights)
    return mean, np.sqrt(variance)


def merge_moments(
    means: npt.NDArray[np.float64],
    variances: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compute mean and variance (C,) of the pixels of several parts, given those (n, C) of each.

    Parts count by their weights (n,), not all of which are 0, if there are any. The variance of
    equal pixels is exactly 0.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        apart = means - means[0]  # exactly 0 where all parts have the same mean
        center = np.average(apart, axis=0, weights=weights)
        spread = variances + (apart - center) ** 2
        variance = np.average(spread, axis=0, weights=weights)
    return means[0] + center, variance


def scaling_of(
    mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64], dtype: np.dtype[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Bring the :func:`moments` (C,) of stored images to the mean and deviation to scale them by.

    Both are in units of 1 for white where images are bytes. The mean of whole numbers is rounded
    to one; the deviation of equal pixels is taken for 1.
    """
    if dtype.kind == "u":
        mean = np.round(mean)
    unit = unit_of(dtype)
    return mean * unit, np.where(std == 0, 1.0, std * unit)


def slabs(images: npt.NDArray[Any], size: int | None = None) -> Iterator[slice]:
    """Cut images into consecutive slices of a size, by default one that bounds their values."""
    size = slab_size(images) if size is None else size
    return (slice(i, min(i + size, len(images))) for i in range(0, len(images), size))


def slab_size(images: npt.NDArray[Any]) -> int:
    """Return how many images of this shape to look at together."""
    fitting = SLAB_VALUES // max(1, math.prod(images.shape[1:]))
    return min(SLAB_IMAGES, max(LEAST_SLAB_IMAGES, fitting))
