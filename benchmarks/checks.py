"""Whether a contestant has computed what it was to compute: its results against an oracle's.

After its timed runs, a contestant's process runs the same code once more on a few images, and
hands over the results of that run and of its last timed one. They are compared here, in another
process, with plain NumPy in float64 (``oracle.py``, ``tinycnn.lesson``). Whoever is wrong is
listed as failed and has no times.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks import oracle
from benchmarks.networks import architecture_of
from benchmarks.peers import Result, sgemm
from benchmarks.workloads import CLASSES, LEARNING_RATE, Task, initial_parameters, load_data
from tinycnn import lesson
from tinycnn.architecture import Architecture

# Steps of the run that is checked, if they are of at most so many images: three whole batches,
# and a part of one.
CHECKED_STEPS = 3.3
MOST_CHECKED_IMAGES = 1200

# What the oracle's float64 and any float32 may differ by: of a parameter, as a share of the way it
# has gone; of probabilities and products of matrices, as a share of 1. Float32 stays below a
# tenth of these; a wrong gradient, padding or order is off by more than ten times as much.
TRAINING_TOLERANCE = 1e-2
TOLERANCE = 1e-4


class WrongResultError(Exception):
    """A contestant has computed something else; the message says what."""


def checked_images(task: Task) -> int:
    """Return the number of images in the run that is checked."""
    return min(task.n_images, MOST_CHECKED_IMAGES, round(CHECKED_STEPS * task.batch_size))


def error_of(task: Task, folder: Path, checked: Result, timed: Result) -> float:
    """Compute how far a contestant's results are from the oracle's.

    Parameters
    ----------
    task : Task
    folder : Path
        Where the data are stored.
    checked, timed : dict of str to array
        What came out of a run on the first :func:`checked_images` images, and of the last one that
        was timed.

    Returns
    -------
    error : float
        The largest difference, relative as the tolerances say.

    Raises
    ------
    WrongResultError
        If it is beyond the tolerance.
    """
    for part, judge in _JUDGES.items():
        if part in checked:
            return judge(task, folder, checked, timed)
    raise WrongResultError(f"nothing to check in {', '.join(checked)}")


def _training_error(task: Task, folder: Path, checked: Result, timed: Result) -> float:
    """Repeat the checked run's steps; the timed run must have brought the loss down."""
    architecture = architecture_of(task.layers)
    n = checked_images(task)
    images, labels = _data(folder, n)
    _require_all_once(checked, n)
    _require_all_once(timed, task.n_images)
    order = checked.get("order", np.arange(n))
    initial = _in_float64(initial_parameters(architecture.parameter_shapes))
    expected = {name: value.copy() for name, value in initial.items()}
    oracle.train(architecture, expected, images[order], labels[order], task.batch_size)
    found = _split(architecture, checked["flat"])
    errors = {
        name: _norm(found[name] - value) / _norm(value - initial[name])
        for name, value in expected.items()
    }
    worst = max(errors, key=lambda name: errors[name])
    _require(errors[worst], TRAINING_TOLERANCE, f"{worst} after {n} images")
    before, _ = oracle.loss_and_gradients(architecture, initial, images, labels)
    trained = _split(architecture, timed["flat"])
    after, _ = oracle.loss_and_gradients(architecture, trained, images, labels)
    if not after < before:
        raise WrongResultError(f"the loss after a timed run is {after:.4f}, before {before:.4f}")
    return errors[worst]


def _full_batch_error(task: Task, folder: Path, checked: Result, timed: Result) -> float:
    """Hold ``tinycnn.train`` to the lesson's; the timed run's weights must be finite."""
    shapes = architecture_of(task.layers).parameter_shapes
    weights = _in_float64(initial_parameters(shapes))
    w_conv, w_fc = weights["conv1.weight"], weights["linear1.weight"].T
    x, y = _data(folder, checked_images(task))
    expected = lesson.train(x, y, w_conv, w_fc, LEARNING_RATE, 1)
    error = _norm(checked["w_fc"] - expected) / _norm(expected - w_fc)
    _require(error, TRAINING_TOLERANCE, "w_fc")
    if not np.isfinite(timed["w_fc"]).all() or np.array_equal(timed["w_fc"], w_fc):
        raise WrongResultError("the timed run did not train w_fc")
    return error


def _mlp_error(task: Task, folder: Path, checked: Result, timed: Result) -> float:
    """Compute a perceptron's probabilities from its weights; it must have seen every image."""
    for result, n in ((checked, checked_images(task)), (timed, task.n_images)):
        if result["seen"] != n:
            raise WrongResultError(f"{result['seen']} of {n} images were trained on")
    images, _ = _data(folder, checked_images(task))
    x = images.reshape(len(images), -1)
    hidden = np.maximum(x @ checked["weight0"] + checked["bias0"], 0)
    powers = np.exp(hidden @ checked["weight1"] + checked["bias1"])
    expected = powers / powers.sum(axis=1, keepdims=True)
    return _difference(checked["probabilities"], expected, "probabilities")


def _prediction_error(task: Task, folder: Path, checked: Result, timed: Result) -> float:
    """Compare probabilities: all of the checked run, and those spread over the timed one."""
    architecture = architecture_of(task.layers)
    parameters = _in_float64(initial_parameters(architecture.parameter_shapes))
    images, _ = _data(folder, task.n_images)
    errors = []
    for result, n in ((checked, checked_images(task)), (timed, task.n_images)):
        if result["probabilities"].shape != (n, CLASSES):
            raise WrongResultError(f"{len(result['probabilities'])} of {n} images were predicted")
        rows = np.linspace(0, n - 1, min(n, MOST_CHECKED_IMAGES)).astype(int)
        expected = oracle.probabilities(architecture, parameters, images[rows])
        errors.append(_difference(result["probabilities"][rows], expected, "probabilities"))
    return max(errors)


def _product_error(task: Task, folder: Path, checked: Result, timed: Result) -> float:
    """Compare some rows of the product of matrices."""
    a, b = (factor.astype(np.float64) for factor in sgemm.factors())
    rows = slice(None, None, 64)
    expected = a[rows] @ b
    return _difference(timed["product"][rows] / expected, np.ones_like(expected), "product")


# By what a result holds. The parts of a result that has several stand in order.
_JUDGES: Mapping[str, Callable[[Task, Path, Result, Result], float]] = {
    "flat": _training_error,
    "w_fc": _full_batch_error,
    "seen": _mlp_error,
    "probabilities": _prediction_error,
    "product": _product_error,
}


def _data(folder: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Load the first n images as float64, 0 to 1, and their labels."""
    images, labels = load_data(folder, n)
    return images / 255, labels


def _require_all_once(result: Result, n: int) -> None:
    """Raise WrongResultError if there is an order and it has not each of n images once."""
    if "order" in result and not np.array_equal(np.sort(result["order"]), np.arange(n)):
        raise WrongResultError(f"the order of an epoch has not each of {n} images once")


def _split(architecture: Architecture, flat: np.ndarray) -> dict[str, np.ndarray]:
    """Cut a vector into parameters, as float64."""
    if flat.shape != (architecture.n_parameters,):
        raise WrongResultError(f"{flat.size} parameters, not {architecture.n_parameters}")
    if not np.isfinite(flat).all():
        raise WrongResultError("a parameter is not finite")
    found, start = {}, 0
    for name, shape in architecture.parameter_shapes.items():
        stop = start + int(np.prod(shape))
        found[name] = flat[start:stop].reshape(shape).astype(np.float64)
        start = stop
    return found


def _in_float64(parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value.astype(np.float64) for name, value in parameters.items()}


def _difference(found: np.ndarray, expected: np.ndarray, what: str) -> float:
    """Return the largest difference of two arrays of the same shape."""
    error = float(np.abs(found - expected).max())
    _require(error, TOLERANCE, what)
    return error


def _require(error: float, tolerance: float, what: str) -> None:
    if not error <= tolerance:  # NaN too
        raise WrongResultError(
            f"{what}: off by {error:.2g} of what NumPy in float64 gives, {tolerance:g} is allowed"
        )


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(array))
