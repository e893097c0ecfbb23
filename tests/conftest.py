"""What several test files share."""

from collections.abc import Callable

import numpy as np
import pytest

import tinycnn
from tinycnn.inputs import Examples
from tinycnn.layered import LayeredPath


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of the same random numbers in every run."""
    return np.random.default_rng(20240)


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """The bundled digits: images (1797, 1, 8, 8) and labels (1797,)."""
    return tinycnn.load_digits()


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


def layered_gradient(
    net: tinycnn.CNN,
    images: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    smoothing: float = 0,
) -> tuple[float, np.ndarray]:
    """Loss and flat gradient of a network, computed layer by layer."""
    path = LayeredPath(net.architecture, net.flat.dtype)
    logits, state = path.forward(net.flat, net.inputs(images))
    loss, dlogits = weighted_cross_entropy(logits, labels, weights, smoothing)
    return loss, path.backward(dlogits, state)


def fast_gradient(
    net: tinycnn.CNN,
    images: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    smoothing: float = 0,
    moves: np.ndarray | None = None,
    n_threads: int = 1,
) -> tuple[float, np.ndarray]:
    """Loss and flat gradient of a network, computed by its own path."""
    with net.path.gradients(net.flat, n_threads, smoothing) as gradients:
        batches = gradients.over(Examples(net.inputs(images), labels, None, weights, moves))
        loss, gradient, _ = batches.differentiate()
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
