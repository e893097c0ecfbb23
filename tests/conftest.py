"""What several test files share."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tinycnn
from tinycnn import lesson
from tinycnn.inputs import Examples
from tinycnn.layered import LayeredPath
from tinycnn.layers import LAYERS


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of the same random numbers in every run."""
    return np.random.default_rng(20240)


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The bundled digits: images (1797, 1, 8, 8) and labels (1797,)."""
    return tinycnn.load_digits()


@pytest.fixture
def registered() -> Iterator[dict[str, type[tinycnn.Layer]]]:
    """The layers that files may name; what a test registers is forgotten behind it."""
    with mock.patch.dict(LAYERS):
        yield LAYERS


# ---------------------------------------------------------------------------------------- networks


def named(value: Any) -> str:
    """Name a value as a parameter of a test: as it shows itself, without its place in memory."""
    return re.sub(r" at 0x\w+", "", str(value))


# With these, ``fit`` teaches a network of 8 filters the digits in a quarter of a second.
QUICK: dict[str, Any] = {
    "epochs": 6,
    "batch_size": 32,
    "optimizer": "sgd",
    "augmentation": None,
    "label_smoothing": 0.0,
    "verbose": False,
}


def small_net(image_shape: tuple[int, int, int] = (1, 8, 8), **arguments: Any) -> tinycnn.CNN:
    """Make a network of one block of 8 filters for 10 classes, unless told otherwise."""
    return tinycnn.CNN(image_shape, **({"channels": (8,), "n_classes": 10} | arguments))


def with_biases(net: tinycnn.CNN, rng: np.random.Generator) -> tinycnn.CNN:
    """Move all parameters a little, so that no bias is 0."""
    net.flat += (0.1 * rng.normal(size=net.flat.shape)).astype(net.flat.dtype)
    return net


def halves(rng: np.random.Generator, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, told apart by their bright half: images (n, 1, 6, 6) and labels (n,)."""
    labels = np.arange(n) % 2
    images = 0.1 * rng.random((n, 1, 6, 6))
    images[labels == 0, :, :, :3] += 0.8
    images[labels == 1, :, :, 3:] += 0.8
    return images, labels


# ------------------------------------------------------------------------------------- comparisons


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, as a share of the largest expected value."""
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-300)
    return float(np.abs(np.asarray(actual) - expected).max(initial=0.0)) / scale


def numeric_gradient(
    loss: Callable[[], float], parameter: np.ndarray, step: float = 1e-6
) -> np.ndarray:
    """Central differences of loss() with respect to every value of parameter, in place."""
    gradient = np.zeros_like(parameter)
    for index in np.ndindex(parameter.shape):
        value = parameter[index]
        parameter[index] = value + step
        above = loss()
        parameter[index] = value - step
        below = loss()
        parameter[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


# ------------------------------------------------------------- losses and gradients, in three ways


def lesson_logits(net: tinycnn.CNN, images: np.ndarray) -> np.ndarray:
    """Logits of a network by NumPy's padding and the functions of the lesson, in float64.

    Nothing of what the network computes with takes part: neither its scaling nor its borders.
    """
    unit = 255 if images.dtype == np.uint8 else 1
    mean, std = (each[:, None, None] for each in (net.input_mean, net.input_std))
    x = (images.astype(np.float64) / unit - mean) / std
    for step in net.architecture.steps:
        parameters = net.parameters.of(step.name)
        x = lesson_layer(step.layer, parameters, x)
    return x


def lesson_layer(layer: tinycnn.Layer, parameters: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Output of one of the standard layers, by the lesson."""
    weight, bias = parameters.get("weight"), parameters.get("bias", np.zeros(1))
    if isinstance(layer, tinycnn.Conv):
        R, S = weight.shape[2:]
        rows, columns = borders(layer.padding, R, S)
        x = np.pad(x, ((0, 0), (0, 0), rows, columns))
        return lesson.conv2d(x, weight.astype(np.float64)) + bias[:, None, None]
    if isinstance(layer, tinycnn.ReLU):
        return np.maximum(x, 0)
    if isinstance(layer, tinycnn.MaxPool):
        return lesson.max_pool(x)[0]
    if isinstance(layer, tinycnn.Flatten):
        return x.reshape(len(x), -1)
    return x @ weight.astype(np.float64).T + bias


def borders(padding: Any, R: int, S: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros (above, below) and (left, right); of "same", the odd one stands at the end."""
    if padding == "same":
        return ((R - 1) // 2, R // 2), ((S - 1) // 2, S // 2)
    rows, columns = padding if isinstance(padding, tuple) else (padding, padding)
    return (rows, rows), (columns, columns)


def weighted_cross_entropy(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None, smoothing: float = 0
) -> tuple[float, np.ndarray]:
    """Weighted mean over images of the cross-entropy with smoothed targets, and its gradient.

    In float64, straight from the definition: targets are rows of probabilities.
    """
    N, n_classes = logits.shape
    weights = np.ones(N) if weights is None else weights
    targets = np.full((N, n_classes), smoothing / n_classes)
    targets[np.arange(N), labels] += 1 - smoothing
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    losses = -(targets * log_probabilities).sum(axis=1)
    dlogits = (np.exp(log_probabilities) - targets) * (weights / weights.sum())[:, None]
    return float((weights * losses).sum() / weights.sum()), dlogits.astype(logits.dtype)


def layered_path(net: tinycnn.CNN) -> LayeredPath:
    """Make the readable path of a network, whichever it runs on itself."""
    return LayeredPath(net.architecture, net.flat.dtype)


def layered_logits(net: tinycnn.CNN, images: np.ndarray) -> np.ndarray:
    """Logits of a network, computed layer by layer."""
    logits, _ = layered_path(net).forward(net.flat, net.inputs(images))
    return logits


def layered_gradient(
    net: tinycnn.CNN,
    images: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    smoothing: float = 0,
) -> tuple[float, np.ndarray]:
    """Loss and flat gradient of a network, computed layer by layer."""
    path = layered_path(net)
    logits, state = path.forward(net.flat, net.inputs(images))
    loss, dlogits = weighted_cross_entropy(logits, labels, weights, smoothing)
    return loss, path.backward(dlogits, state)


def split_gradient(
    net: tinycnn.CNN,
    images: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    smoothing: float = 0,
) -> tuple[float, np.ndarray]:
    """Loss and flat gradient of a network, computed by its public forward and backward."""
    logits, state = net.forward(images)
    loss, dlogits = weighted_cross_entropy(logits, labels, weights, smoothing)
    return loss, net.backward(dlogits, state).flat


def fit_gradient(
    net: tinycnn.CNN,
    images: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    smoothing: float = 0,
    *,
    n_threads: int = 1,
    **others: np.ndarray,
) -> tuple[float, np.ndarray]:
    """Loss and flat gradient of a network, computed as ``fit`` has them; others: order, moves."""
    gradients = net.path.gradients(net.flat, n_threads, smoothing)
    examples = Examples(net.inputs(images), labels, weights=weights, **others)
    loss, gradient, _ = gradients.over(examples).differentiate()
    return loss, gradient.copy()


def moved(images: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Each image as its row of moves (down, right, mirrored) has it, by padding and slicing."""
    _, H, W = images.shape[1:]
    out = np.empty_like(images)
    for image, (down, right, mirrored), result in zip(images, moves.tolist(), out, strict=True):
        border = max(H, W)
        image = image[:, :, ::-1] if mirrored else image
        padded = np.pad(image, [(0, 0), (border, border), (border, border)], mode="edge")
        top, left = border - down, border - right
        result[...] = padded[:, top : top + H, left : left + W]
    return out
