"""``tinycnn evaluate``: how good a saved model is, in all and class by class."""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from tinycnn.cli.options import Reading
from tinycnn.cli.sources import read_source
from tinycnn.cli.streams import say
from tinycnn.data import Dataset
from tinycnn.evaluation import assess
from tinycnn.files.model import load_model
from tinycnn.network import CNN


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Print loss and accuracy, in all and for each class."""
    net = load_model(arguments.model)
    source = read_source(arguments.data, Reading())
    result = assess(net, source.test.images, _labels_of_model(net, source.test))
    say(
        f"{source.name}: {result.n_images} images, loss {result.loss:.4f}, "
        f"accuracy {result.accuracy:.2%}"
    )
    width = max(map(len, net.class_names))
    for name, n, right in zip(
        net.class_names, result.class_counts, result.class_right, strict=True
    ):
        if n:
            say(f"  {name:{width}}  {right / n:7.2%} of {n}")
    return 0


def _labels_of_model(net: CNN, test_set: Dataset) -> npt.NDArray[np.int64]:
    """Number the data's classes as the model does, by name."""
    unknown = sorted(set(test_set.class_names) - set(net.class_names))
    if unknown:
        raise ValueError(
            f"the data have classes that the model does not know: {', '.join(unknown)} "
            f"(it knows {', '.join(net.class_names)})"
        )
    numbers = np.array([net.class_names.index(name) for name in test_set.class_names])
    return numbers[test_set.labels]
