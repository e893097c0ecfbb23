"""The fast path: any number of images through a network, forward, or forward and backward.

It computes what ``CNN.forward``, the cross-entropy and ``CNN.backward`` compute layer by layer, but
with the fused kernels of ``_fused/``: several images side by side in vector registers, a block's
conv, ReLU and pool in one pass, groups of images on several threads. Images are read where they
stand, bytes as bytes, in any order; memory depends on the network alone, not on their number.
Results are the same, bit for bit, for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray
from tinycnn.fast.dispatch import kernels
from tinycnn.fast.threads import borrowed_pool, resolve_threads
from tinycnn.architecture import Architecture

# Images whose gradient is computed in one go, at most: two of these groups make a batch of 128, so
# that two threads can share it. Fewer where their pooled values would take more memory than this.
GROUP_IMAGES = 64
GROUP_BYTES = 16 * 2**20

# Tasks that a batch is cut into at most. Fixed, so that the order of sums is, too.
MAX_CHUNKS = 16

# Values of images that are looked at together, so that a copy in another dtype stays small.
SLAB_VALUES = 2**21
SLAB_IMAGES = 2048

CACHE_LINE = 64

# Pixels that the kernels read as they are, with the kernels' numbers for them (PixelKind in
# _kernels.pxd); all others are converted first.
_PIXELS = {np.dtype(np.uint8): 0, np.dtype(np.float32): 1, np.dtype(np.float64): 2}


class Pixels:
    """Images as the kernels read them: flat in memory, with the scaling of their channels.

    Parameters
    ----------
    images : (N, C, H, W)
        Copied only if they are not C-contiguous or of a dtype that the kernels do not read.
    scale, shift : (C,)
        The network sees ``pixel * scale + shift``, channel by channel.
    """

    def __init__(
        self,
        images: npt.NDArray[Any],
        scale: npt.NDArray[np.float64],
        shift: npt.NDArray[np.float64],
    ) -> None:
        if images.dtype not in _PIXELS:
            images = images.astype(np.float32 if images.dtype.itemsize < 4 else np.float64)
        self.n_images = len(images)
        self.plane_size = math.prod(images.shape[2:])
        self.kind = _PIXELS[images.dtype]
        self.bytes = np.ascontiguousarray(images).reshape(-1).view(np.uint8)
        self.scale = scale
        self.shift = shift

    def moments(
        self, weights: npt.NDArray[np.float64] | None = None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Compute mean and standard deviation (C,) of each channel, before the scaling.

        Images count by their weights (N,), not all of which are 0, if there are any.
        The deviation of equal pixels is exactly 0, and not finite where a pixel is not.
        """
        C = len(self.scale)
        mean, squares = np.empty((2, self.n_images, C))
        n = self.plane_size
        kernels.plane_moments(self.bytes, self.kind, n, mean.reshape(-1), squares.reshape(-1))
        with np.errstate(over="ignore", invalid="ignore"):
            apart = mean - mean[0]  # exactly 0 where all images have the same mean
            center = np.average(apart, axis=0, weights=weights)
            spread = squares / n + (apart - center) ** 2
            variance = np.average(spread, axis=0, weights=weights)
        return mean[0] + center, np.sqrt(variance)


class Engine:
    """The kernels, set up for networks of one architecture and dtype.

    Parameters
    ----------
    architecture : Architecture
    dtype : float32 or float64
    """

    def __init__(self, architecture: Architecture, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.padding = architecture.padding
        self.hidden = architecture.hidden
        self.n_classes = architecture.n_classes
        self.n_features = architecture.hidden or architecture.n_features
        self.n_parameters = architecture.n_parameters
        self.bias = architecture.bias
        self.shapes = np.array(
            [
                (*shape, K, R, S)
                for shape, K, (R, S) in zip(
                    architecture.block_shapes,
                    architecture.channels,
                    architecture.kernel_sizes,
                    strict=False,
                )
            ],
            np.int64,
        )
        lanes = kernels.lane_count(dtype.itemsize)
        lane_block_bytes = (architecture.n_features + self.hidden) * lanes * dtype.itemsize
        self.group = max(1, min(GROUP_IMAGES // lanes, GROUP_BYTES // lane_block_bytes))
        self.group_images = self.group * lanes
        self.table_bytes, self.predicting_bytes, self.training_bytes = kernels.memory_needs(
            self.shapes,
            self.padding,
            self.hidden,
            self.n_classes,
            self.bias,
            dtype.itemsize,
            self.group,
        )

    def logits(
        self, flat: FloatArray, pixels: Pixels, n_threads: int | None = None
    ) -> tuple[FloatArray, bool]:
        """Compute the logits (N, n_classes) of some images, given the network's parameters.

        Also returns whether all pixels were finite numbers.
        """
        return self._outputs(flat, pixels, n_threads, self.n_classes, self.n_classes)

    def features(
        self, flat: FloatArray, pixels: Pixels, n_threads: int | None = None
    ) -> tuple[FloatArray, bool]:
        """Compute what the last layer sees (N, n_features); else as :meth:`logits`."""
        return self._outputs(flat, pixels, n_threads, 0, self.n_features)

    def _outputs(
        self,
        flat: FloatArray,
        pixels: Pixels,
        n_threads: int | None,
        n_classes: int,
        width: int,
    ) -> tuple[FloatArray, bool]:
        """Compute the outputs (N, width) of the last layer, or of the one before for no classes."""
        outputs = np.empty((pixels.n_images, width), self.dtype)
        if pixels.n_images == 0:
            return outputs, True
        n_groups = math.ceil(pixels.n_images / self.group_images)
        threads = min(resolve_threads(n_threads), n_groups)
        with borrowed_pool(threads) as pool:
            all_finite = kernels.outputs(
                pool,
                threads,
                self.shapes,
                self.padding,
                self.hidden,
                n_classes,
                self.bias,
                self.dtype.itemsize,
                flat.view(np.uint8),
                pixels.bytes,
                pixels.kind,
                pixels.scale,
                pixels.shift,
                self.group,
                _aligned(np.empty, 1, self.table_bytes)[0],
                _aligned(np.empty, threads, self.predicting_bytes),
                outputs.view(np.uint8),
            )
        return outputs, bool(all_finite)


class BatchGradients:
    """Computes the loss and its gradient on one batch after the other; a context manager.

    It holds the threads and all work space, so that a step of training allocates nothing.

    Parameters
    ----------
    engine : Engine
    flat : (n_parameters,)
        The network's parameters, read anew for each batch.
    n_threads : int, optional
        As many as this process has CPUs by default.
    label_smoothing : float
        Share of each target that is spread evenly over all classes.
    """

    def __init__(
        self,
        engine: Engine,
        flat: FloatArray,
        n_threads: int | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self._engine = engine
        self._flat = flat.view(np.uint8)
        self._label_smoothing = label_smoothing
        self._gradient = np.empty_like(flat)
        self._threads = min(resolve_threads(n_threads), MAX_CHUNKS)
        self._chunks = np.empty((MAX_CHUNKS, flat.nbytes), np.uint8)
        self._losses = np.empty(MAX_CHUNKS)
        self._tables = _aligned(np.empty, 1, engine.table_bytes)[0]
        # Zeros: what stands behind the last filter is multiplied too, though nobody reads the
        # product, and what was in the memory before might be subnormal numbers, which are slow.
        self._slots = _aligned(np.zeros, self._threads, engine.training_bytes)
        self._borrowing = borrowed_pool(self._threads)

    def __enter__(self) -> Self:
        self._pool = self._borrowing.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._borrowing.__exit__(kind, error, traceback)

    def over(
        self,
        pixels: Pixels,
        labels: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64] | None = None,
        weights: npt.NDArray[np.float64] | None = None,
        moves: npt.NDArray[np.int8] | None = None,
    ) -> kernels.Batches:
        """Prepare for batches of images in an order; of no use any more when the context ends.

        ``batches.differentiate(first, last)`` gives the mean cross-entropy of the images
        ``order[first:last]``, its gradient (n_parameters,), which the next call overwrites, and
        what these images weigh; without arguments, those of all images in the order.

        Parameters
        ----------
        pixels : Pixels
        labels : (N,)
            Of all images, not only of those in the order; so are weights and moves.
        order : (n,), optional
            Indices, n at least 1; the images as they stand by default.
        weights : (N,), optional
            The mean is weighted by these; where they add up to 0, or next to it, loss and gradient
            are 0. Each image weighs 1 by default.
        moves : (N, 3), optional
            How far each image is moved down and right, and whether it is mirrored before.
        """
        engine = self._engine
        return kernels.Batches(
            self._pool,
            self._threads,
            engine.shapes,
            engine.padding,
            engine.hidden,
            engine.n_classes,
            engine.bias,
            engine.dtype.itemsize,
            self._flat,
            pixels.bytes,
            pixels.kind,
            order,
            moves,
            labels,
            weights,
            self._label_smoothing,
            pixels.scale,
            pixels.shift,
            engine.group,
            self._tables,
            self._slots,
            self._chunks,
            self._losses,
            self._gradient,
        )


def slabs(images: npt.NDArray[Any]) -> Iterator[slice]:
    """Cut images into consecutive slices of bounded size, which depends on their shape alone."""
    size = min(SLAB_IMAGES, max(GROUP_IMAGES, SLAB_VALUES // max(1, images[0].size)))
    return (slice(i, min(i + size, len(images))) for i in range(0, len(images), size))


def _aligned(
    make: Callable[..., npt.NDArray[np.uint8]], n_rows: int, row_bytes: int
) -> npt.NDArray[np.uint8]:
    """Make (n_rows, row_bytes) bytes, by np.empty or np.zeros, that begin at a cache line."""
    block = make(n_rows * row_bytes + CACHE_LINE, np.uint8)
    start = -block.ctypes.data % CACHE_LINE
    return block[start : start + n_rows * row_bytes].reshape(n_rows, row_bytes)
