"""``train``: full-batch gradient descent of one block and a linear layer, in one function."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FLOAT_TYPES,
    FloatArray,
    as_array,
    as_count,
    as_labels,
    as_rate,
    require_finite,
    require_ndim,
)
from tinycnn.fast.threads import map_in_order, resolve_threads
from tinycnn.inputs import Inputs, slabs
from tinycnn.layered import SPREADING
from tinycnn.layers import Conv, Flatten, Linear, MaxPool, ReLU
from tinycnn.network import CNN
from tinycnn.parameters import Parameters

# Slabs that a thread computes before another one takes over their sum, at most; and runs of slabs
# that there are at least, where there are as many slabs: something to do for so many threads.
RUN_SLABS, LEAST_RUNS = 8, 32


def train(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    w_conv: npt.ArrayLike,
    w_fc: npt.ArrayLike,
    lr: float,
    n_epochs: int,
) -> FloatArray:
    """Train conv2d -> ReLU -> 2x2 max pool -> flatten -> linear by full-batch gradient descent.

    Every epoch is one step on the mean softmax cross-entropy of all N images. Both weights are
    trained; the final ``w_fc`` is returned.

    Note that the step of ``w_conv`` is smaller than that of ``w_fc``: the gradient of the mean
    loss is divided by N once more, so ``w_conv`` descends at the rate ``lr / N``.

    Parameters
    ----------
    x : (N, 1, H, W)
        Grey images, any real dtype. May be a ``numpy.memmap``: extra memory does not grow with N.
    y : (N,)
        Class labels, whole numbers in [0, C), of any real dtype.
    w_conv : (K, 1, R, S)
        Initial conv filters. No bias, stride 1, no padding.
    w_fc : (K * P * Q, C)
        Initial weights of the output layer, no bias; P = (H - R + 1) // 2 and
        Q = (W - S + 1) // 2, features in the order filter, row, column.
    lr : float
        Learning rate, at least 0.
    n_epochs : int
        Number of steps, at least 0.

    Returns
    -------
    w_fc : (K * P * Q, C)
        A new array, float64 if either weight is float64 (or whole numbers), else float32. All
        is computed in that dtype.

    Raises
    ------
    ValueError
        For shapes that do not fit, labels that are no classes, values that are not finite, a
        negative lr, a negative or fractional n_epochs.
    TypeError
        For arrays or numbers of another kind (complex, object, strings).
    """
    x = as_array("x", x)
    w_conv, w_fc = contract_weights(w_conv, w_fc)
    net = contract_network(x, w_conv, w_fc)
    y = as_labels("y", y, net.architecture.n_classes)
    N = len(x)
    if len(y) != N:
        raise ValueError(f"y: x has {N} images, y has {len(y)} labels")
    lr, n_epochs = as_rate("lr", lr), as_count("n_epochs", n_epochs, 0)
    _require_finite_images(x, net.flat.dtype)
    if lr == 0:
        return w_fc.copy()

    for _ in range(n_epochs):
        contract_step(net, summed_gradient(net, x, y, N), lr, N)
    return np.ascontiguousarray(net.parameters["linear1.weight"].T)


def _require_finite_images(x: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Raise ValueError at the first pixel that is not finite in the dtype of the weights."""

    def check(part: slice) -> None:
        require_finite("x", x[part], dtype, part.start)

    for _ in map_in_order(check, slabs(x), resolve_threads(None)):
        pass


def contract_step(net: CNN, gradient: FloatArray, lr: float, N: int) -> None:
    """Update both weights, given the gradient (n_parameters,) of the mean loss of N images."""
    w_conv, w_fc = net.parameters["conv1.weight"], net.parameters["linear1.weight"]
    dw_conv, dw_fc = Parameters(gradient, net.architecture.parameter_shapes).values()
    with np.errstate(over="ignore", invalid="ignore"):  # a huge lr is the caller's choice
        w_conv -= lr * (dw_conv / N)  # the contract's second division by N
        w_fc -= lr * dw_fc


@SPREADING
def summed_gradient(
    net: CNN, x: npt.NDArray[Any], y: npt.NDArray[Any], N: int, n_threads: int | None = None
) -> FloatArray:
    """Compute what some of N images add to the gradient of the mean loss, summed in float64.

    The images go through the network some at a time, so that memory does not grow with them: each
    thread takes the next ones from the first layer to the last and back, and while it computes a
    softmax, the others run the kernels.
    """
    path: Any = net.path  # the fast or the readable one: each takes the state that it has made
    scaling = np.ones(1), np.zeros(1)

    def gradient_of(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
        # conv2d, ReLU, max pool, linear
        logits, state = path.forward(net.flat, Inputs(x, *scaling), 1)
        _, dlogits = _softmax_loss(logits, y, N)
        gradient: FloatArray = path.backward(dlogits, state)
        return gradient

    @SPREADING  # here, too: a thread does not inherit it
    def sum_of(run: slice) -> FloatArray:
        images, labels, total = x[run], y[run], np.zeros(net.flat.size)
        for part in slabs(images, path.slab_images):
            total += gradient_of(images[part], labels[part])
        return total

    total, threads = np.zeros(net.flat.size), resolve_threads(n_threads)
    for gradient in map_in_order(sum_of, _runs(x, path.slab_images), threads):
        total += gradient
    return total


def _runs(x: npt.NDArray[Any], slab_images: int) -> Iterator[slice]:
    """Cut images into runs of slabs, whose gradients one thread sums up.

    Threads wait for each other where Python runs: the longer a run, the less often. The runs depend
    on the number of images alone, so that the order of sums does, too.
    """
    n_slabs = math.ceil(len(x) / slab_images)
    return slabs(x, slab_images * max(1, min(RUN_SLABS, n_slabs // LEAST_RUNS)))


def _softmax_loss(logits: FloatArray, y: npt.NDArray[Any], N: int) -> tuple[float, FloatArray]:
    """Compute what some of N images add to the mean loss, and dlogits = (softmax - one_hot) / N.

    A lean :func:`tinycnn.functional.cross_entropy_forward` and ``backward`` in the place of the
    logits (n, C), which are overwritten: between two passes of the kernels each call of NumPy
    finds an empty cache.
    """
    z = np.ascontiguousarray(logits.T)  # (C, n): as the fast path has them, no copy
    classes = as_labels("y", y.copy(), len(z)).astype(np.intp)  # they may have changed meanwhile
    values, correct = z.reshape(-1), classes * len(y) + np.arange(len(y))
    z -= np.maximum.reduce(z, axis=0)
    scores = values[correct]
    np.exp(z, out=z)
    sums = np.add.reduce(z, axis=0)
    loss = float(np.add.reduce(np.log(sums) - scores, dtype=np.float64)) / N
    z /= sums
    values[correct] -= 1
    z /= N
    return loss, z.T


def contract_weights(w_conv: npt.ArrayLike, w_fc: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Bring train's weights to their common dtype: float32 or float64, whole numbers as float64."""
    arrays = []
    for name, value in (("w_conv", w_conv), ("w_fc", w_fc)):
        array = as_array(name, value)
        if array.dtype.kind == "f" and array.dtype.type not in FLOAT_TYPES:
            raise TypeError(
                f"{name}: needs dtype float32 or float64, got {array.dtype}; "
                f"convert it first: {name}.astype('float32')"
            )
        arrays.append(array if array.dtype.kind == "f" else array.astype(np.float64))
    dtype = np.result_type(*arrays)
    conv, fc = (np.ascontiguousarray(array, dtype) for array in arrays)
    return conv, fc


def contract_network(x: npt.NDArray[Any], w_conv: FloatArray, w_fc: FloatArray) -> CNN:
    """Check the shapes of train's arrays and build the network they describe."""
    require_ndim("x", x, 4, "(N, 1, H, W)")
    require_ndim("w_conv", w_conv, 4, "(C_out, 1, kH, kW)")
    require_ndim("w_fc", w_fc, 2, "(C_out * H' * W', C)")
    (N, C, H, W), (K, weight_channels, R, S) = x.shape, w_conv.shape
    if N == 0:
        raise ValueError(f"x: at least one image is needed, got N = 0 with shape {x.shape}")
    if C != 1:
        raise ValueError(f"x: must have 1 channel, got {C} with shape {x.shape}; use tinycnn.CNN")
    if weight_channels != 1:
        raise ValueError(
            f"w_conv: must have 1 channel, got {weight_channels} with shape {w_conv.shape}"
        )
    if min(K, R, S) == 0:
        raise ValueError(f"w_conv: needs at least one filter of one tap, got shape {w_conv.shape}")
    if R > H or S > W:
        raise ValueError(
            f"w_conv: kernel ({R}, {S}) is larger than the images ({H}, {W}) of x: "
            f"use at most {H} rows and {W} columns"
        )
    P, Q = (H - R + 1) // 2, (W - S + 1) // 2
    if min(P, Q) == 0:
        raise ValueError(
            f"w_conv: kernel ({R}, {S}) on images ({H}, {W}) of x leaves a conv output of "
            f"({H - R + 1}, {W - S + 1}), too small for the 2x2 pool: use a smaller kernel"
        )
    rows, n_classes = w_fc.shape
    if rows != K * P * Q:
        raise ValueError(
            f"w_fc: needs C_out * H' * W' = {K} * {P} * {Q} = {K * P * Q} rows, got {rows}"
        )
    if n_classes == 0:
        raise ValueError(f"w_fc: needs a column for each class, got shape {w_fc.shape}")
    require_finite("w_conv", w_conv, w_conv.dtype)
    require_finite("w_fc", w_fc, w_fc.dtype)
    layers = [
        Conv(K, (R, S), bias=False),
        ReLU(),
        MaxPool(),
        Flatten(),
        Linear(n_classes, bias=False),
    ]
    net = CNN((1, H, W), layers, dtype=w_fc.dtype)
    net.parameters["conv1.weight"][...] = w_conv
    net.parameters["linear1.weight"][...] = w_fc.T
    return net
