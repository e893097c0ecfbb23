"""Every layer as a checked NumPy function, forward and backward side by side.

Names, argument order and layout follow ``torch.nn.functional``: images are (N, C, H, W), filters
(K, C, R, S), linear weights (classes, features). A pair of functions works like this::

    out, cache = conv2d_forward(x, weight, bias)
    dx, dweight, dbias = conv2d_backward(dout, cache)

The forward function returns its result and a *cache*, what its backward function needs to know
of the forward pass; treat it as opaque. The backward function takes ``dout``, the gradient of
some loss with respect to ``out``, and returns the gradient with respect to each argument of the
forward function. All of them are true gradients, as finite differences confirm.

This is also the boundary: these functions check what they are given, allocate the results and
call the loops of ``_kernels.pyx``, which trust all shapes. All arrays of one call are float32, or
all are float64; results have that dtype. Arrays that are not C-contiguous are copied first. No
argument is ever written to. NaN and infinities are not refused: they spread as IEEE 754 says.

Raises, everywhere: TypeError for a dtype other than float32 and float64 or for mixed dtypes;
ValueError for shapes that do not fit.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tinycnn._checks import (
    FloatArray,
    as_array,
    as_float_array,
    as_labels,
    as_number,
    as_pair,
    as_share,
    require_same_dtype,
    shown,
)
from tinycnn.fast.dispatch import loops

AnyCache = TypeVar("AnyCache")

# Zeros around a map: (rows above, rows below), (columns to the left, columns to the right).
Border: TypeAlias = tuple[tuple[int, int], tuple[int, int]]


class Conv2dCache(NamedTuple):
    """What conv2d_backward needs of the forward pass: x with its border of zeros, and the rest."""

    x: FloatArray
    weight: FloatArray
    has_bias: bool
    border: Border


class MaxPool2dCache(NamedTuple):
    """What max_pool2d_backward needs: each window's winner, 0..3, and the input's shape."""

    winner: npt.NDArray[np.uint8]
    x_shape: tuple[int, ...]


class LinearCache(NamedTuple):
    """What linear_backward needs of the forward pass."""

    x: FloatArray
    weight: FloatArray
    has_bias: bool


class CrossEntropyCache(NamedTuple):
    """What cross_entropy_backward needs: softmax, labels, and how the mean weighs the images."""

    probabilities: FloatArray
    labels: npt.NDArray[np.intp]
    shares: npt.NDArray[np.float64]  # of each image in the mean (N,), or of all of them ()
    label_smoothing: float


def border_of(padding: Any, kernel: tuple[int, int]) -> Border:
    """Return the border of zeros that a padding stands for, with a kernel of (R, S).

    Parameters
    ----------
    padding : int, (int, int) or "same"
        Rows and columns on each side. "same" leaves as many positions as there are pixels: R - 1
        rows and S - 1 columns in all, of which an odd one stands below or to the right.
    kernel : (R, S)
    """
    if isinstance(padding, str) and padding == "same":
        rows, columns = (((size - 1) // 2, size // 2) for size in kernel)
        return rows, columns
    top, left = as_padding("padding", padding)
    return (top, top), (left, left)


def as_padding(name: str, padding: Any) -> tuple[int, int]:
    """Return the rows and columns of zeros on each side, of one number for both or of two."""
    if isinstance(padding, str):
        raise ValueError(f"{name}: must be 'same', a number or two, got {shown(padding)}")
    return as_pair(name, padding, 0)


def conv2d_forward(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    padding: int | tuple[int, int] | str = 0,
) -> tuple[FloatArray, Conv2dCache]:
    """Slide every filter over every image: cross-correlation, stride 1.

    ``out[n, k, i, j] = bias[k] + sum over c, r, s of x[n, c, i + r, j + s] * weight[k, c, r, s]``
    where x has its border of zeros.

    Parameters
    ----------
    x : (N, C, H, W)
        Images.
    weight : (K, C, R, S)
        K filters of R x S taps for each of the C channels; R and S may differ.
    bias : (K,), optional
        Added to every output of filter k.
    padding : int, (int, int) or "same"
        Rows and columns of zeros on each side of every image; "same" keeps rows and columns as
        many as they are.

    Returns
    -------
    out : (N, K, I, J)
        I = H - R + 1 and J = W - S + 1, where H and W count the zeros.
    cache : for :func:`conv2d_backward`
    """
    x = as_float_array("conv2d: x", x, 4)
    weight = as_float_array("conv2d: weight", weight, 4)
    has_bias = bias is not None
    bias = (
        np.zeros(len(weight), weight.dtype)
        if bias is None
        else as_float_array("conv2d: bias", bias, 1)
    )
    require_same_dtype(x=x, weight=weight, bias=bias)
    N, C, H, W = x.shape
    K, weight_channels, R, S = weight.shape
    _require(
        weight_channels == C, f"conv2d: weight has {weight_channels} channels, x has {C}", weight, x
    )
    _require(min(K, C, R, S) > 0, "conv2d: a weight needs at least one tap", weight, x)
    border = border_of(padding, (R, S))
    x = _with_border(x, border)
    N, C, H, W = x.shape
    if R > H or S > W:
        raise ValueError(
            f"conv2d: kernel ({R}, {S}) does not fit image ({H}, {W}): "
            f"use at most {H} rows and {W} columns"
        )
    _require(len(bias) == K, f"conv2d: bias needs {K} values, one a filter", bias, weight)

    out = np.empty((N, K, H - R + 1, W - S + 1), x.dtype)
    loops.conv2d_forward(x, weight, bias, out)
    return out, Conv2dCache(x, weight, has_bias, border)


def conv2d_backward(
    dout: npt.ArrayLike, cache: Conv2dCache, need_dx: bool = True
) -> tuple[FloatArray | None, FloatArray] | tuple[FloatArray | None, FloatArray, FloatArray]:
    """Gradients of :func:`conv2d_forward`.

    Parameters
    ----------
    dout : (N, K, I, J)
    cache : from :func:`conv2d_forward`
    need_dx : bool
        False leaves dx out (None in its place): the first layer of a network has no use for it.

    Returns
    -------
    dx : (N, C, H, W) or None
    dweight : (K, C, R, S)
    dbias : (K,)
        Only if the forward pass had a bias.
    """
    x, weight, has_bias, border = _of_forward("conv2d", cache, Conv2dCache)
    x, weight = (as_float_array("conv2d: cache", array, 4) for array in (x, weight))
    (N, C, H, W), (K, weight_channels, R, S) = x.shape, weight.shape
    _require(weight_channels == C, "conv2d: the cache was changed", x, weight)
    require_same_dtype(x=x, weight=weight)
    dout = _as_gradient("conv2d", dout, (N, K, H - R + 1, W - S + 1), x.dtype)

    dx = None
    if need_dx:
        dx = np.empty_like(x)
        loops.conv2d_backward_input(weight, dout, dx)
        dx = _without_border(dx, border)
    dweight = np.empty_like(weight)
    loops.conv2d_backward_weight(x, dout, dweight)
    if not has_bias:
        return dx, dweight
    dbias = np.empty(K, x.dtype)
    loops.conv2d_backward_bias(dout, dbias)
    return dx, dweight, dbias


def relu_forward(x: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Clip negative values: ``out = max(x, 0)``, for x of any shape.

    Returns
    -------
    out : as x
    cache : for :func:`relu_backward`
    """
    x = as_float_array("relu: x", x)
    out = np.empty_like(x)
    loops.relu_forward(x.ravel(), out.ravel())
    return out, x


def relu_backward(dout: npt.ArrayLike, cache: FloatArray) -> FloatArray:
    """Gradient of :func:`relu_forward`: 0 where x <= 0, else dout; NaN passes it on as forward.

    Returns
    -------
    dx : as x
    """
    x = as_float_array("relu: cache", cache)
    dout = _as_gradient("relu", dout, x.shape, x.dtype)
    dx = np.empty_like(x)
    loops.relu_backward(dout.ravel(), x.ravel(), dx.ravel())
    return dx


def max_pool2d_forward(x: npt.ArrayLike) -> tuple[FloatArray, MaxPool2dCache]:
    """Keep the largest value of each 2x2 window, stride 2.

    An odd last row or column takes no part. Among equals the first in row-major order wins.

    Parameters
    ----------
    x : (N, K, H, W)
        At least 2 x 2 pixels.

    Returns
    -------
    out : (N, K, H // 2, W // 2)
    cache : for :func:`max_pool2d_backward`
    """
    x = as_float_array("max_pool2d: x", x, 4)
    N, K, H, W = x.shape
    if H < 2 or W < 2:
        raise ValueError(
            f"max_pool2d: a 2x2 window does not fit an image of ({H}, {W}): "
            "use larger images or smaller kernels before it"
        )
    out = np.empty((N, K, H // 2, W // 2), x.dtype)
    winner = np.empty(out.shape, np.uint8)
    loops.max_pool2d_forward(x, out, winner)
    return out, MaxPool2dCache(winner, x.shape)


def max_pool2d_backward(dout: npt.ArrayLike, cache: MaxPool2dCache) -> FloatArray:
    """Gradient of :func:`max_pool2d_forward`: each window hands its gradient to its winner.

    Returns
    -------
    dx : (N, K, H, W)
    """
    winner, x_shape = _of_forward("max_pool2d", cache, MaxPool2dCache)
    winner = as_array("max_pool2d: cache", winner)
    N, K, H, W = x_shape
    unchanged = winner.dtype == np.uint8 and winner.shape == (N, K, H // 2, W // 2)
    _require(unchanged and winner.max(initial=0) < 4, "max_pool2d: the cache was changed", winner)
    winner = np.ascontiguousarray(winner)
    dout = _as_gradient("max_pool2d", dout, winner.shape, None)
    dx = np.empty(x_shape, dout.dtype)
    loops.max_pool2d_backward(dout, winner, dx)
    return dx


def linear_forward(
    x: npt.ArrayLike, weight: npt.ArrayLike, bias: npt.ArrayLike | None = None
) -> tuple[FloatArray, LinearCache]:
    """Fully connected layer: ``out = x @ weight.T + bias``.

    Parameters
    ----------
    x : (N, F)
        F features of each image.
    weight : (M, F)
        One row of weights for each of M outputs.
    bias : (M,), optional

    Returns
    -------
    out : (N, M)
    cache : for :func:`linear_backward`
    """
    x = as_float_array("linear: x", x, 2)
    weight = as_float_array("linear: weight", weight, 2)
    require_same_dtype(x=x, weight=weight)
    F, M = x.shape[1], len(weight)
    _require(weight.shape[1] == F, f"linear: weight needs {F} columns", weight, x)
    out = x @ weight.T
    if bias is None:
        return out, LinearCache(x, weight, has_bias=False)
    bias = as_float_array("linear: bias", bias, 1)
    require_same_dtype(x=x, bias=bias)
    _require(len(bias) == M, f"linear: bias needs {M} values, one an output", bias, weight)
    out += bias
    return out, LinearCache(x, weight, has_bias=True)


def linear_backward(
    dout: npt.ArrayLike, cache: LinearCache
) -> tuple[FloatArray, FloatArray] | tuple[FloatArray, FloatArray, FloatArray]:
    """Gradients of :func:`linear_forward`.

    Returns
    -------
    dx : (N, F)
    dweight : (M, F)
    dbias : (M,)
        Only if the forward pass had a bias.
    """
    x, weight, has_bias = _of_forward("linear", cache, LinearCache)
    x, weight = (as_float_array("linear: cache", array, 2) for array in (x, weight))
    dout = _as_gradient("linear", dout, (len(x), len(weight)), x.dtype)
    dx = dout @ weight
    dweight = dout.T @ x
    if not has_bias:
        return dx, dweight
    return dx, dweight, dout.sum(axis=0)


def softmax(logits: npt.ArrayLike) -> FloatArray:
    """Turn each row of logits into probabilities: ``exp(logits) / sum of exp(logits)``.

    The row's maximum is subtracted first, so no exponential overflows.

    Parameters
    ----------
    logits : (N, classes)

    Returns
    -------
    probabilities : (N, classes)
        Each row sums to 1.
    """
    logits = as_float_array("softmax: logits", logits, 2)
    _require(logits.shape[1] > 0, "softmax: needs at least one class", logits)
    with np.errstate(over="ignore"):  # what is infinitely far below has the probability 0
        return unchecked_softmax(logits)


def unchecked_softmax(logits: FloatArray) -> FloatArray:
    """Compute :func:`softmax` of logits that the network has made: a check costs a tenth of it."""
    probabilities = _shifted(logits)
    np.exp(probabilities, out=probabilities)
    probabilities /= np.add.reduce(probabilities, axis=1, keepdims=True)
    return probabilities


def cross_entropy_forward(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, CrossEntropyCache]:
    """Mean over the images of ``-log(softmax(logits)[label])``.

    Computed as ``log(sum of exp(logits)) - logits[label]`` with the row's maximum subtracted
    first (log-sum-exp): finite for all finite logits.

    Parameters
    ----------
    logits : (N, classes)
        N at least 1.
    labels : (N,)
        Whole numbers in [0, classes), of any real dtype.
    weights : (N,), optional
        The mean is ``sum(weights * losses) / sum(weights)``; 0 where the weights add up to 0, or
        next to it. Each image weighs 1 by default.
    label_smoothing : float
        Share s of each target, in [0, 1), that is spread evenly over all classes: the loss of an
        image is then (1 - s) times the above, plus s times its mean over all classes as labels.

    Returns
    -------
    loss : float
        Summed in float64.
    cache : for :func:`cross_entropy_backward`
    """
    # One class after the other, NumPy finds maximum and sum in a tenth of the time.
    logits = as_float_array("cross_entropy: logits", logits, 2, order="F")
    N, n_classes = logits.shape
    _require(min(N, n_classes) > 0, "cross_entropy: no logits", logits)
    classes = as_labels("cross_entropy: labels", labels, n_classes).astype(np.intp)
    _require(len(classes) == N, f"cross_entropy: {N} rows of logits need {N} labels", classes)
    shares = _shares(weights, N)
    label_smoothing = as_share("cross_entropy: label_smoothing", label_smoothing)

    with np.errstate(over="ignore"):  # what is infinitely far below has the probability 0
        probabilities = np.exp(_shifted(logits))
    totals = probabilities.sum(axis=1)
    log_totals = np.log(totals)
    # In float64: two logits of float32 may be further apart than float32 has numbers.
    highest = logits.max(axis=1).astype(np.float64)
    losses = log_totals + (highest - logits[np.arange(N), classes])
    if label_smoothing:
        evenly = log_totals + (highest - logits.mean(axis=1, dtype=np.float64))
        losses = (1 - label_smoothing) * losses + label_smoothing * evenly
    loss = float((shares * losses).sum(dtype=np.float64))
    probabilities /= totals[:, None]
    return loss, CrossEntropyCache(probabilities, classes, shares, label_smoothing)


def cross_entropy_backward(dloss: float, cache: CrossEntropyCache) -> FloatArray:
    """Gradient of :func:`cross_entropy_forward`: ``dloss * (softmax - target) / N``.

    The target is one_hot(labels), smoothed if the loss was; 1 / N becomes each image's share of
    the total weight if there were weights.

    Returns
    -------
    dlogits : (N, classes)
    """
    probabilities, labels, shares, label_smoothing = _of_forward(
        "cross_entropy", cache, CrossEntropyCache
    )
    dloss = as_number("cross_entropy: dloss", dloss)
    N, n_classes = probabilities.shape
    scale = np.asarray(dloss * shares, probabilities.dtype)
    dlogits = probabilities * scale[..., None]
    if label_smoothing:
        dlogits -= (label_smoothing / n_classes * scale)[..., None]
    dlogits[np.arange(N), labels] -= (1 - label_smoothing) * scale
    return dlogits


def _shares(weights: npt.ArrayLike | None, N: int) -> npt.NDArray[np.float64]:
    """Return each image's share of the total weight, or one share () that all of them have.

    All are 0 where the total is 0, or next to it.
    """
    if weights is None:
        return np.array(1 / N)
    values = as_array("cross_entropy: weights", weights).astype(np.float64)
    _require(values.shape == (N,), f"cross_entropy: {N} images need {N} weights", values)
    total = values.sum()
    return values / total if total >= sys.float_info.min else np.zeros(N)


def _shifted(logits: FloatArray) -> FloatArray:
    """Subtract each row's maximum: the largest logit becomes 0."""
    shifted: FloatArray = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    return shifted


def _with_border(x: FloatArray, border: Border) -> FloatArray:
    """Put zeros around each map of x (N, C, H, W)."""
    return np.pad(x, ((0, 0), (0, 0), *border)) if border != ((0, 0), (0, 0)) else x


def _without_border(dx: FloatArray, border: Border) -> FloatArray:
    """Cut the border off again: nobody learns from the gradient of its zeros."""
    (top, bottom), (left, right) = border
    H, W = dx.shape[2:]
    return np.ascontiguousarray(dx[:, :, top : H - bottom, left : W - right])


def _as_gradient(
    layer: str, dout: npt.ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any] | None
) -> FloatArray:
    """Check dout against the shape (and dtype, if given) of the layer's output."""
    gradient = as_float_array(f"{layer}: dout", dout, len(shape))
    if gradient.shape != shape:
        raise ValueError(f"{layer}: dout has shape {gradient.shape}, the output has {shape}")
    if dtype is not None and gradient.dtype != dtype:
        raise TypeError(f"{layer}: dout is {gradient.dtype}, the forward pass was {dtype}")
    return gradient


def _of_forward(layer: str, cache: Any, kind: type[AnyCache]) -> AnyCache:
    """Return the cache, if it is one of the layer's forward function."""
    if not isinstance(cache, kind):
        raise TypeError(
            f"{layer}: cache: must be what {layer}_forward gave beside its result, got "
            f"{shown(cache)}"
        )
    return cache


def _require(condition: bool, rule: str, *arrays: npt.NDArray[Any]) -> None:
    """Raise ValueError with the rule and the shapes at hand unless the condition holds."""
    if not condition:
        shapes = " and ".join(str(array.shape) for array in arrays)
        raise ValueError(f"{rule} (got {shapes})")
