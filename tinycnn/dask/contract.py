"""``train`` on dask arrays: full-batch descent, each shard with its part of the gradient."""

from __future__ import annotations

import copy
import itertools
from typing import Any, NamedTuple

import dask
import dask.array as da
import distributed
import numpy as np
import numpy.typing as npt

from tinycnn._checks import FloatArray, as_array, as_count, as_labels, as_rate, require_finite
from tinycnn.dask.crew import TIMEOUT, Crew
from tinycnn.dask.parts import cut_alike
from tinycnn.inputs import slabs
from tinycnn.network import CNN
from tinycnn.training.contract import (
    contract_network,
    contract_step,
    contract_weights,
    summed_gradient,
)


def train(
    x: da.Array,
    y: da.Array | npt.ArrayLike,
    w_conv: npt.ArrayLike,
    w_fc: npt.ArrayLike,
    lr: float,
    n_epochs: int,
    *,
    client: distributed.Client | None = None,
    timeout: float = TIMEOUT,
) -> FloatArray:
    """Train as :func:`tinycnn.train`, on images that lie on the workers of a Dask cluster.

    Each worker adds up the gradient of its images, and the client makes the step. The result is
    that of ``tinycnn.train``: its sums are in float64, added in another order, so that float32
    weights come out the same to the bit, and float64 ones to within rounding.

    Parameters
    ----------
    x : dask.array.Array (N, 1, H, W)
        In chunks along N, of sizes that are known; about one for each thread of the workers. Chunks
        are moved by a few images, to begin where ``tinycnn.train`` begins to add up anew.
    y : dask.array.Array or array (N,)
    w_conv, w_fc, lr, n_epochs
        As for :func:`tinycnn.train`.
    client : distributed.Client, optional
        The default client, if there is one.
    timeout : float
        Seconds that the workers may take to answer.

    Returns
    -------
    w_fc : (K * P * Q, C)

    Raises
    ------
    ValueError, TypeError
        As :func:`tinycnn.train`, and for arrays that are not cut along N alone.
    TimeoutError
        If the workers do not answer in time.
    """
    if not isinstance(x, da.Array):
        raise TypeError(f"x: must be a dask array, got {type(x).__name__}; use tinycnn.train")
    w_conv, w_fc = contract_weights(w_conv, w_fc)
    if np.isnan(x.shape).any():
        raise ValueError("x: its chunks have unknown sizes; call x.compute_chunk_sizes() first")
    net = contract_network(x, w_conv, w_fc)
    lr, n_epochs = as_rate("lr", lr), as_count("n_epochs", n_epochs, 0)
    N = x.shape[0]
    x = x.rechunk((_whole_slabs(x.chunks[0], net.path.slab_images), -1, -1, -1))
    y = cut_alike("y", y, x.chunks[0])
    held = dask.delayed(_hold, pure=True)
    model, first, parts = dask.delayed(net, pure=True), 0, []
    for images, labels in zip(x.to_delayed().ravel(), y.to_delayed().ravel(), strict=True):
        parts.append(held(images, labels, model, first))
        first += x.chunks[0][len(parts) - 1]
    with Crew(parts, client, timeout) as crew:
        crew.ask(_ready)  # or what is wrong with x and y would not be told where nothing is trained
        for _ in range(n_epochs if lr else 0):
            gradients = crew.ask(_gradient, _Message(net.flat.copy(), N))
            gradient = np.sum(gradients, axis=0)  # over rows, one after the other: in their order
            contract_step(net, gradient, lr, N)
    return np.ascontiguousarray(net.parameters["linear1.weight"].T)


def _whole_slabs(chunks: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Move the ends of chunks to multiples of a size, so that all but the last is whole."""
    N = sum(chunks)
    ends = {min(N, round(end / size) * size) for end in itertools.accumulate(chunks)}
    borders = sorted(ends | {0, N})
    return tuple(last - first for first, last in itertools.pairwise(borders))


class _Part(NamedTuple):
    net: CNN
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]


class _Message(NamedTuple):
    flat: FloatArray
    N: int


def _hold(x: npt.ArrayLike, y: npt.ArrayLike, net: CNN, first: int) -> _Part:
    """Check a part of x and y, whose first image is number first of all."""
    x = as_array("x", x)
    y = as_labels("y", y, net.architecture.n_classes)
    for part in slabs(x):
        require_finite("x", x[part], net.flat.dtype, first + part.start)
    return _Part(net, x, y)


def _ready(part: _Part, _: None) -> int:
    return len(part.x)


def _gradient(part: _Part, message: _Message) -> FloatArray:
    """Add up a part's gradient, with parameters of its own: the network is others' too."""
    net = copy.deepcopy(part.net)
    net.flat = message.flat
    return summed_gradient(net, part.x, part.y, message.N, n_threads=1)
