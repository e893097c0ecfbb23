"""tinycnn itself. Actions: fit, train, train_float32, predict, one_image."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinycnn
from benchmarks.peers import Job, Prepared
from benchmarks.workloads import (
    CHECKED_IMAGES,
    CLASSES,
    SIDE,
    Network,
    Task,
    as_floats,
    initial_parameters,
    load_data,
)
from tinycnn import _dispatch


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready for any of the actions."""
    actions = {
        "fit": _prepare_fit,
        "train": _prepare_train,
        "train_float32": _prepare_train,
        "predict": _prepare_predict,
        "one_image": _prepare_one_image,
    }
    return actions[task.action](task, folder)._replace(facts={"cpu_level": _dispatch.LEVEL})


def make_network(network: Network) -> tinycnn.CNN:
    """Build a network with the parameters that all peers start from."""
    net = tinycnn.CNN(
        (1, SIDE, SIDE), network.channels, network.kernel_size, CLASSES, padding=network.padding
    )
    for name, value in initial_parameters(network).items():
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


def _prepare_fit(task: Task, folder: Path) -> Prepared:
    """One epoch from bytes: shuffling, gathering and scaling are part of it."""
    images, labels = load_data(folder, task.n_images)
    fit = with_threads(tinycnn.fit, task.n_threads)

    def fresh() -> Job:
        net = make_network(task.network)
        optimizer = tinycnn.SGD(lr=0.05, momentum=0.0)

        def run() -> None:
            fit(
                net,
                images,
                labels,
                epochs=1,
                batch_size=task.batch_size,
                optimizer=optimizer,
                verbose=False,
            )

        return Job(run, lambda: net.score(images[:CHECKED_IMAGES], labels[:CHECKED_IMAGES]))

    return Prepared(fresh)


def _prepare_train(task: Task, folder: Path) -> Prepared:
    """One full-batch step of tinycnn.train, with x as floats or as bytes.

    It takes pixels as they are, so for bytes 0 to 255 the filters are made 255 times smaller.
    """
    x: np.ndarray
    x, labels = load_data(folder, task.n_images)
    parameters = initial_parameters(task.network)
    w_conv, w_fc = parameters["conv1.weight"], np.ascontiguousarray(parameters["fc.weight"].T)
    if task.action == "train_float32":
        x = as_floats(x)
    else:
        w_conv /= 255
    train = with_threads(tinycnn.train, task.n_threads)

    def run() -> None:
        train(x, labels, w_conv, w_fc, 0.05, 1)

    return Prepared(lambda: Job(run))


def _prepare_predict(task: Task, folder: Path) -> Prepared:
    """Probabilities of all images in one call."""
    images = as_floats(load_data(folder, task.n_images)[0])
    predict_proba = with_threads(make_network(task.network).predict_proba, task.n_threads)

    def run() -> None:
        predict_proba(images)

    check = functools.partial(_mean_confidence, predict_proba, images)
    return Prepared(lambda: Job(run, check))


def _prepare_one_image(task: Task, folder: Path) -> Prepared:
    """One call an image; the seconds of one call."""
    images = as_floats(load_data(folder, task.n_images)[0])
    predict_proba = with_threads(make_network(task.network).predict_proba, task.n_threads)

    def run() -> None:
        for i in range(len(images)):
            predict_proba(images[i : i + 1])

    check = functools.partial(_mean_confidence, predict_proba, images)
    return Prepared(lambda: Job(run, check), scale=1 / len(images))


def _mean_confidence(predict_proba: Callable[..., Any], images: np.ndarray) -> float:
    """Return the mean probability of the likeliest class."""
    return float(predict_proba(images).max(axis=1).mean())
