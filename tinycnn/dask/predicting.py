"""Predictions on more images than one machine holds: one task reads and predicts a block of them.

The network is a task of its own, whose result each worker fetches once.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.delayed import Delayed

from tinycnn._checks import as_count, shown
from tinycnn.data import Failure, stream_images
from tinycnn.inputs import as_images
from tinycnn.network import CNN, require_network

Paths: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
Images: TypeAlias = da.Array | Sequence[Paths | Delayed]

# What a network does with a block of images, and how many threads it may take.
_Predict: TypeAlias = Callable[[CNN, npt.NDArray[Any], int], npt.NDArray[Any]]


def predict(
    net: CNN,
    images: Images,
    *,
    lengths: Sequence[int] | None = None,
    dtype: npt.DTypeLike = np.uint8,
    n_threads: int = 1,
) -> da.Array:
    """Tell the most likely class of each image, lazily: as ``CNN.predict``, block by block.

    Parameters
    ----------
    net : CNN
        Copied: training it afterwards does not change the result.
    images : dask.array.Array (N, C, H, W), or sequence of blocks
        Each block of a sequence is a path that :func:`tinycnn.data.stream_images` reads, a list of
        such paths (of pictures, say), or a ``Delayed`` that gives images (n, C, H, W). One task
        reads and predicts a block; some 10,000 small images are a good size. An array should have
        chunks along N alone: others are brought together first.
    lengths : sequence of int, optional
        How many images each block of a sequence has. Without it, Dask knows neither the shape nor
        the chunks of the result (they are NaN) until its ``compute_chunk_sizes()`` is called.
    dtype : dtype
        Of the images that the network learned from, for blocks that are paths.
    n_threads : int
        Of each task.

    Returns
    -------
    dask.array.Array (N,)
        Whole numbers, in the images' chunks.

    Raises
    ------
    ValueError, TypeError
        For images that do not fit the network; of blocks that are not there yet, when the result is
        computed. So too if one image of a block cannot be read: no image is left out.
    """
    return _mapped(_predict, net, images, lengths, dtype=dtype, n_threads=n_threads)


def predict_proba(
    net: CNN,
    images: Images,
    *,
    lengths: Sequence[int] | None = None,
    dtype: npt.DTypeLike = np.uint8,
    n_threads: int = 1,
) -> da.Array:
    """Compute the probability (N, n_classes) of each class; arguments as for :func:`predict`."""
    return _mapped(_predict_proba, net, images, lengths, dtype=dtype, n_threads=n_threads)


def features(
    net: CNN,
    images: Images,
    *,
    lengths: Sequence[int] | None = None,
    dtype: npt.DTypeLike = np.uint8,
    n_threads: int = 1,
) -> da.Array:
    """Compute what the last layer sees (N, n_features); arguments as for :func:`predict`."""
    return _mapped(_features, net, images, lengths, dtype=dtype, n_threads=n_threads)


def _predict(net: CNN, images: npt.NDArray[Any], n_threads: int) -> npt.NDArray[Any]:
    return net.predict(images, n_threads)


def _predict_proba(net: CNN, images: npt.NDArray[Any], n_threads: int) -> npt.NDArray[Any]:
    return net.predict_proba(images, n_threads)


def _features(net: CNN, images: npt.NDArray[Any], n_threads: int) -> npt.NDArray[Any]:
    return net.features(images, n_threads)


def _mapped(
    function: _Predict,
    net: CNN,
    images: Images,
    lengths: Sequence[int] | None,
    *,
    dtype: npt.DTypeLike,
    n_threads: int,
) -> da.Array:
    """Call a function with the network and every block of images."""
    require_network(net)
    n_threads = as_count("n_threads", n_threads, 1)
    net = copy.deepcopy(net)
    model = dask.delayed(net, pure=True)
    # What comes out of no images is what comes out of many: dtype and the sizes of the rows.
    none = function(net, np.zeros((0, *net.architecture.image_shape), np.float32), 1)
    if not isinstance(images, da.Array):
        return _of_blocks(function, model, _Blocks(net, images, lengths, dtype), none, n_threads)
    if lengths is not None:
        raise ValueError("lengths: a dask array knows its own; leave them out")
    images = _whole_images(net, images)
    return da.map_blocks(
        _on_images,
        images,
        function=function,
        net=model,
        n_threads=n_threads,
        dtype=none.dtype,
        meta=none,
        chunks=(images.chunks[0], *((size,) for size in none.shape[1:])),
        drop_axis=[1, 2, 3],
        new_axis=list(range(1, none.ndim)) or None,
    )


def _whole_images(net: CNN, images: da.Array) -> da.Array:
    """Check a dask array against the network, and bring the parts of its images together."""
    if images.ndim == 4:
        images = images.rechunk({1: -1, 2: -1, 3: -1})
    as_images(
        "images", np.empty((0, *images.shape[1:]), images.dtype), net.architecture.image_shape
    )
    return images


class _Blocks:
    """Blocks of images that are not there yet: what each is, and how many images it has.

    Raises
    ------
    ValueError, TypeError
        If they are no blocks, or the lengths are not theirs.
    """

    def __init__(
        self,
        net: CNN,
        images: Sequence[Paths | Delayed],
        lengths: Sequence[int] | None,
        dtype: npt.DTypeLike,
    ) -> None:
        if isinstance(images, str | os.PathLike | Delayed) or not isinstance(images, Sequence):
            raise TypeError(
                "images: must be a dask array, or a list of paths or of dask.delayed blocks, got "
                f"{shown(images)}; for arrays in memory use net.predict"
            )
        if not images:
            raise ValueError("images: at least one block is needed, got none")
        self.sources = [
            each if isinstance(each, Delayed) else _as_paths(f"images[{i}]", each)
            for i, each in enumerate(images)
        ]
        if lengths is None:
            self.lengths: list[int | None] = [None] * len(images)
        elif len(lengths) != len(images):
            raise ValueError(f"lengths: {len(images)} blocks need as many, got {len(lengths)}")
        else:
            self.lengths = [as_count(f"lengths[{i}]", n, 0) for i, n in enumerate(lengths)]
        self.image_shape = net.architecture.image_shape
        self.dtype = np.dtype(dtype)


def _as_paths(name: str, value: Any) -> list[str]:
    """Return one path or several as strings."""
    paths = [value] if isinstance(value, str | os.PathLike) else value
    if not isinstance(paths, list | tuple) or not all(
        isinstance(path, str | os.PathLike) for path in paths
    ):
        raise TypeError(
            f"{name}: a block is a path, a list of paths or a dask.delayed, got {shown(value)}"
        )
    return [os.fspath(path) for path in paths]


def _of_blocks(
    function: _Predict, model: Delayed, blocks: _Blocks, none: npt.NDArray[Any], n_threads: int
) -> da.Array:
    """Make an array of one delayed task for each block."""
    on_images = dask.delayed(_on_images, pure=True)
    on_paths = dask.delayed(_on_paths, pure=True)
    arrays = []
    for i, (source, length) in enumerate(zip(blocks.sources, blocks.lengths, strict=True)):
        settings = {"function": function, "net": model, "n_threads": n_threads}
        if isinstance(source, Delayed):
            block = on_images(source, **settings, length=length, name=f"images[{i}]")
        else:
            block = on_paths(source, blocks.image_shape, blocks.dtype, length=length, **settings)
        rows = math.nan if length is None else length
        arrays.append(da.from_delayed(block, (rows, *none.shape[1:]), meta=none))
    return da.concatenate(arrays, allow_unknown_chunksizes=True)


def _on_paths(
    paths: list[str],
    image_shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    *,
    length: int | None,
    **settings: Any,
) -> npt.NDArray[Any]:
    """Read the images that paths name, and do with them what is to be done."""
    stream = stream_images(paths, image_shape, dtype=dtype, n_threads=1)
    batches = [batch.images for batch in stream]
    if stream.n_failures:
        raise ValueError(_told(stream.failures, stream.n_failures))
    images = np.concatenate(batches) if batches else np.zeros((0, *image_shape), dtype)
    return _on_images(images, length=length, name=", ".join(paths[:3]), **settings)


def _told(failures: list[Failure], n_failures: int) -> str:
    more = f" (and {n_failures - 1} more)" if n_failures > 1 else ""
    return f"images: {failures[0].reason}{more}; a block with an image missing has no result"


def _on_images(
    images: npt.NDArray[Any],
    *,
    function: _Predict,
    net: CNN,
    n_threads: int,
    length: int | None = None,
    name: str = "images",
) -> npt.NDArray[Any]:
    """Do with a block of images what is to be done: this is the task."""
    if length is not None and len(images) != length:
        raise ValueError(f"lengths: {name} has {len(images)} images, its length says {length}")
    return function(net, images, n_threads)
