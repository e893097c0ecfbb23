"""tinycnn itself. Actions: fit, train, train_float32, predict, one_image."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn
from benchmarks.peers import Job, Prepared
from benchmarks.peers.adapter import cpu_level, make_network
from benchmarks.workloads import LEARNING_RATE, Task, as_floats, initial_parameters, load_data


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for any of the actions."""
    actions = {
        "fit": _prepare_fit,
        "train": _prepare_train,
        "train_float32": _prepare_train,
        "predict": _prepare_predict,
        "one_image": _prepare_one_image,
    }
    return actions[task.action](task, folder)._replace(facts={"cpu_level": cpu_level()})


def fresh_network(task: Task) -> tinycnn.CNN:
    """Build the task's network with the parameters that all peers start from."""
    net = make_network(task.layers)
    shapes = {name: value.shape for name, value in net.parameters.items()}
    for name, value in initial_parameters(shapes).items():
        net.parameters[name][...] = value
    return net


def with_threads(function: Callable[..., Any], n_threads: int | None) -> Callable[..., Any]:
    """Fix the number of threads of a call; None leaves it to tinycnn.

    Raises
    ------
    RuntimeError
        If the function does not take one: a number of threads must not be pretended.
    """
    if n_threads is None:
        return function
    if "n_threads" not in inspect.signature(function).parameters:
        raise RuntimeError(
            f"tinycnn {tinycnn.__version__}: {function.__qualname__} has no argument n_threads, "
            f"so it cannot be measured with {n_threads}; this benchmark needs a newer tinycnn"
        )
    return functools.partial(function, n_threads=n_threads)


class Order(tinycnn.Callback):
    """Notes in which order the images were trained on."""

    def __init__(self) -> None:
        self.indices = np.empty(0, np.int64)

    def on_epoch_end(self, state: Any) -> None:
        """Keep the order of the epoch, after which nothing shuffles it again."""
        self.indices = state.order


def _prepare_fit(task: Task, folder: Path) -> Prepared:
    """One epoch from bytes: shuffling, gathering and scaling are part of it."""
    images, labels = load_data(folder, task.n_images)
    fit = with_threads(tinycnn.fit, task.n_threads)
    fresh_network(task)  # what cannot be built is said now

    def fresh(n: int) -> Job:
        net, order = fresh_network(task), Order()
        optimizer = tinycnn.SGD(lr=LEARNING_RATE, momentum=0.0)

        def run() -> None:
            fit(
                net,
                images[:n],
                labels[:n],
                epochs=1,
                batch_size=task.batch_size,
                optimizer=optimizer,
                schedule=None,
                augmentation=None,
                label_smoothing=0.0,
                callbacks=[order],
                verbose=False,
            )

        return Job(run, lambda: {"flat": net.flat.copy(), "order": order.indices})

    return Prepared(fresh)


def _prepare_train(task: Task, folder: Path) -> Prepared:
    """One full-batch step of tinycnn.train, with x as floats or as bytes.

    It takes pixels as they are, so for bytes 0 to 255 the filters are made 255 times smaller.
    """
    x: np.ndarray
    x, labels = load_data(folder, task.n_images)
    w_conv, w_fc = contract_weights(task)
    if task.action == "train_float32":
        x = as_floats(x)
    else:
        w_conv /= 255
    train = with_threads(tinycnn.train, task.n_threads)

    def fresh(n: int) -> Job:
        result = {}

        def run() -> None:
            result["w_fc"] = train(x[:n], labels[:n], w_conv, w_fc, LEARNING_RATE, 1)

        return Job(run, lambda: result)

    return Prepared(fresh)


def contract_weights(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return the filters of the task's one block, and the linear layer's weight as train has it."""
    weights = [value for value in fresh_network(task).parameters.values() if value.ndim > 1]
    w_conv, w_linear = weights
    return w_conv, np.ascontiguousarray(w_linear.T)


def _prepare_predict(task: Task, folder: Path) -> Prepared:
    """Probabilities of all images in one call."""
    images = as_floats(load_data(folder, task.n_images)[0])
    predict_proba = with_threads(fresh_network(task).predict_proba, task.n_threads)

    def fresh(n: int) -> Job:
        result = {}

        def run() -> None:
            result["probabilities"] = predict_proba(images[:n])

        return Job(run, lambda: result)

    return Prepared(fresh)


def _prepare_one_image(task: Task, folder: Path) -> Prepared:
    """One call an image; the seconds of one call."""
    images = as_floats(load_data(folder, task.n_images)[0])
    predict_proba = with_threads(fresh_network(task).predict_proba, task.n_threads)

    def fresh(n: int) -> Job:
        outputs: list[np.ndarray] = []

        def run() -> None:
            for i in range(min(n, len(images))):
                outputs.append(predict_proba(images[i : i + 1]))

        return Job(run, lambda: {"probabilities": np.concatenate(outputs)})

    return Prepared(fresh, scale=1 / len(images))
