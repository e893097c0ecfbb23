"""What several test files share."""

from collections.abc import Callable

import numpy as np
import pytest

import tinycnn


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
