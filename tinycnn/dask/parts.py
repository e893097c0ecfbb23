"""Shards: labelled images in parts, each of which stays where it is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed

from tinycnn._checks import as_weights, shown
from tinycnn.data import Dataset, conform, load
from tinycnn.network import CNN
from tinycnn.training.gradients import checked_data


class Shards:
    """Labelled images in parts, made by :func:`shards`; this holds how to make them, not them.

    Attributes
    ----------
    parts : tuple of Delayed
        Each gives a Dataset, or images (n, C, H, W), labels (n,) and perhaps weights (n,).
    """

    def __init__(self, parts: Sequence[Delayed]) -> None:
        self.parts = tuple(parts)

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.parts)

    def __repr__(self) -> str:
        """Say how many there are."""
        return f"<Shards: {len(self)} parts>"


def shards(images: Any, labels: Any = None, sample_weight: Any = None) -> Shards:
    """Say where labelled images are, for :func:`fit` and :func:`standardize`.

    Nothing is read or computed here, and the client never holds the images. About as many shards as
    the workers have threads are best, of about the same size; a result depends on the shards, and
    not on how many workers there are.

    Parameters
    ----------
    images : dask.array.Array (N, C, H, W), or sequence
        A dask array has a shard for each chunk along N. Otherwise each shard is one of

        - a path that :func:`tinycnn.load` reads, on the workers: its training part;
        - a ``Delayed`` of what ``load`` returns, or of (images, labels) or (images, labels,
          sample_weight);
        - a pair or triple of ``Delayed``: images, labels and perhaps sample_weight.
    labels : dask.array.Array or array (N,)
        Beside a dask array of images: whole numbers in [0, n_classes).
    sample_weight : dask.array.Array or array (N,), optional
        Beside a dask array of images: how much each counts, finite and not negative.

    Returns
    -------
    Shards

    Raises
    ------
    ValueError, TypeError
        If they do not fit each other. What is wrong with images that are not there yet is told when
        they are.
    """
    if isinstance(images, da.Array):
        return _of_arrays(images, labels, sample_weight)
    if labels is not None or sample_weight is not None:
        raise TypeError(
            "labels, sample_weight: they go beside a dask array of images; otherwise each shard "
            "has its own: shards([(images_0, labels_0), ...])"
        )
    if isinstance(images, str | os.PathLike | Delayed) or not isinstance(images, Sequence):
        raise TypeError(
            "images: must be a dask array, or a list of paths or of dask.delayed pairs, got "
            f"{shown(images)}; for arrays in memory use tinycnn.fit"
        )
    if not images:
        raise ValueError("images: at least one shard is needed, got none")
    return Shards([_as_part(f"images[{i}]", each) for i, each in enumerate(images)])


def _of_arrays(images: da.Array, labels: Any, sample_weight: Any) -> Shards:
    """Cut dask arrays along N, where the images are cut."""
    if labels is None:
        raise TypeError("labels: a dask array of images needs its labels: shards(images, labels)")
    if images.ndim != 4:
        raise ValueError(f"images: needs 4 dimensions (N, C, H, W), got {images.ndim}")
    images = images.rechunk({1: -1, 2: -1, 3: -1})
    columns = [images.to_delayed().ravel()]
    for name, values in (("labels", labels), ("sample_weight", sample_weight)):
        if values is not None:
            columns.append(cut_alike(name, values, images.chunks[0]).to_delayed().ravel())
    return Shards([_joined(*parts) for parts in zip(*columns, strict=True)])


def cut_alike(name: str, values: Any, chunks: tuple[int, ...]) -> da.Array:
    """Return one value for each image as a dask array, in the images' chunks."""
    array = values if isinstance(values, da.Array) else da.from_array(np.asarray(values), chunks=-1)
    if array.ndim != 1:
        raise ValueError(f"{name}: needs 1 dimension (N,), got {array.ndim}")
    unknown = np.isnan([*chunks, *array.chunks[0]]).any()
    if unknown and len(array.chunks[0]) != len(chunks):
        raise ValueError(
            f"{name}: the images have {len(chunks)} chunks of unknown sizes, got "
            f"{len(array.chunks[0])}; call compute_chunk_sizes() on both"
        )
    if unknown:
        return array
    if sum(chunks) != array.shape[0]:
        raise ValueError(f"{name}: {sum(chunks)} images need as many, got {array.shape[0]}")
    return array.rechunk((chunks,))


def _as_part(name: str, value: Any) -> Delayed:
    """Return what a shard may be as one Delayed."""
    if isinstance(value, Delayed):
        return value
    if isinstance(value, str | os.PathLike):
        return dask.delayed(load, pure=True)(os.fspath(value))
    if (
        isinstance(value, tuple | list)
        and len(value) in (2, 3)
        and all(isinstance(each, Delayed) for each in value)
    ):
        return _joined(*value)
    raise TypeError(
        f"{name}: a shard is a path, a dask.delayed, or a pair of these, got {shown(value)}"
    )


def _joined(*parts: Delayed) -> Delayed:
    return dask.delayed(_together, pure=True)(*parts)


def _together(*parts: Any) -> tuple[Any, ...]:
    return parts


class Shard(NamedTuple):
    """A shard on a worker, checked, with what a network needs to compute with it.

    Attributes
    ----------
    net : CNN
        For its path and scaling; its parameters are not those in training.
    images : (n, C, H, W)
    labels : (n,)
    weights : (n,) or None
    number : int
        Its place among the shards.
    """

    net: CNN
    images: npt.NDArray[Any]
    labels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64] | None
    number: int


def hold(part: Any, net: CNN, number: int) -> Shard:
    """Check a part against the network: a worker keeps what this returns."""
    name, weights = f"shards[{number}]", None
    if isinstance(part, Dataset):
        part = conform(part, net.architecture.image_shape, net.class_names)
        images, labels = part.images, part.labels
    elif isinstance(part, tuple | list) and len(part) in (2, 3):
        images, labels, *others = part
        weights = others[0] if others else None
    else:
        raise TypeError(
            f"{name}: must give (images, labels), (images, labels, sample_weight) or what "
            f"tinycnn.load returns, got {shown(part)}"
        )
    images, labels = checked_data(net, images, labels, (f"{name}: images", f"{name}: labels"))
    if weights is not None:
        weights = as_weights(f"{name}: sample_weight", weights, len(images), "image")
    return Shard(net, np.ascontiguousarray(images), labels, weights, number)
