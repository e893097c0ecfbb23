"""Training in plain NumPy, on the formulas of ``tinycnn.lesson``: what all others must arrive at.

It walks a list of layers and computes in the dtype of what it is given: in float64 it is the
oracle that ``checks.py`` holds every contestant to, in float32 it is a contestant itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.workloads import LEARNING_RATE
from tinycnn import lesson
from tinycnn.architecture import Architecture, Step
from tinycnn.layers import Conv, Flatten, Layer, Linear, MaxPool, ReLU

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
Backward = Callable[[Array], tuple[Array, Arrays]]


def train(
    architecture: Architecture, parameters: Arrays, images: Array, labels: Array, batch_size: int
) -> None:
    """Descend the gradient of the mean cross-entropy once for every batch, in place."""
    for start in range(0, len(images), batch_size):
        batch = slice(start, start + batch_size)
        _, found = loss_and_gradients(architecture, parameters, images[batch], labels[batch])
        for name, gradient in found.items():
            parameters[name] -= parameters[name].dtype.type(LEARNING_RATE) * gradient


def loss_and_gradients(
    architecture: Architecture, parameters: Mapping[str, Array], x: Array, labels: Array
) -> tuple[float, Arrays]:
    """Compute the mean cross-entropy of a batch and its gradient."""
    logits, backwards = forward(architecture, parameters, x)
    loss, dx = lesson.softmax_cross_entropy(logits, labels)
    found = {}
    for step, backward in zip(reversed(architecture.steps), reversed(backwards), strict=True):
        dx, gradients = backward(dx)
        found.update({f"{step.name}.{part}": value for part, value in gradients.items()})
    return float(loss), found


def probabilities(architecture: Architecture, parameters: Mapping[str, Array], x: Array) -> Array:
    """Compute the softmax of the logits (N, n_classes)."""
    logits, _ = forward(architecture, parameters, x)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def forward(
    architecture: Architecture, parameters: Mapping[str, Array], x: Array
) -> tuple[Array, list[Backward]]:
    """Compute the logits, and for each layer the function from dout to dx and gradients."""
    backwards = []
    for step in architecture.steps:
        x, backward = _LAYERS[type(step.layer)](step.layer, x, _of(step, parameters))
        backwards.append(backward)
    return x, backwards


def _of(step: Step, parameters: Mapping[str, Array]) -> Arrays:
    """Return a layer's parameters by their short names."""
    return {name.removeprefix(f"{step.name}."): parameters[name] for name in step.parameter_shapes}


def _conv(layer: Conv, x: Array, parameters: Arrays) -> tuple[Array, Backward]:
    (top, bottom), (left, right) = layer.border
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    weight = parameters["weight"]
    R, S = weight.shape[2:]

    def backward(dout: Array) -> tuple[Array, Arrays]:
        wide = np.pad(dout, ((0, 0), (0, 0), (R - 1, R - 1), (S - 1, S - 1)))
        dpadded = lesson.conv2d(wide, weight[:, :, ::-1, ::-1].swapaxes(0, 1))
        H, W = x.shape[2:]
        dweight = lesson.conv2d_dweight(padded, dout)
        gradients = {"weight": dweight, "bias": dout.sum(axis=(0, 2, 3))}
        return dpadded[:, :, top : top + H, left : left + W], gradients

    return lesson.conv2d(padded, weight) + parameters["bias"][:, None, None], backward


def _relu(layer: ReLU, x: Array, parameters: Arrays) -> tuple[Array, Backward]:
    return np.maximum(x, 0), lambda dout: (dout * (x > 0), {})


def _max_pool(layer: MaxPool, x: Array, parameters: Arrays) -> tuple[Array, Backward]:
    pooled, winner = lesson.max_pool(x)
    return pooled, lambda dout: (lesson.max_pool_dx(dout, winner, x.shape), {})


def _flatten(layer: Flatten, x: Array, parameters: Arrays) -> tuple[Array, Backward]:
    return x.reshape(len(x), -1), lambda dout: (dout.reshape(x.shape), {})


def _linear(layer: Linear, x: Array, parameters: Arrays) -> tuple[Array, Backward]:
    weight, bias = parameters["weight"], parameters["bias"]

    def backward(dout: Array) -> tuple[Array, Arrays]:
        return dout @ weight, {"weight": dout.T @ x, "bias": dout.sum(axis=0)}

    return x @ weight.T + bias, backward


_LAYERS: dict[type[Layer], Callable[..., tuple[Array, Backward]]] = {
    Conv: _conv,
    ReLU: _relu,
    MaxPool: _max_pool,
    Flatten: _flatten,
    Linear: _linear,
}
