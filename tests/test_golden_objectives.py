"""Weights, label smoothing and standardised input against PyTorch, on every path and in fit.

The numbers are those of ``golden/objective_cases.npz``; ``golden/make_objective_cases.py`` made
them and says how.
"""

from __future__ import annotations

import numpy as np
import pytest
from test_golden_networks import assert_close, make_network, read_networks

import tinycnn
from tinycnn.inputs import Examples
from tinycnn.layered import LayeredPath
from tinycnn.parameters import Parameters

CASES = read_networks("objective_cases.npz")
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}

every_case = pytest.mark.parametrize("name", CASES)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def make_case(golden: dict[str, np.ndarray], dtype: str) -> tuple[tinycnn.CNN, np.ndarray]:
    """Return the network and its images: bytes, or floats of its dtype."""
    net, images = make_network(golden, dtype), golden["images"]
    if images.dtype != np.uint8:
        images = (images / 128).astype(dtype)
    if golden["standardized"]:
        net.standardize(images)
    return net, images


def weights_of(golden: dict[str, np.ndarray]) -> np.ndarray | None:
    """Multiply the weights of images and classes; None if there are neither."""
    if not golden.keys() & {"image_weights", "class_weights"}:
        return None
    weights = np.ones(len(golden["labels"]))
    if "image_weights" in golden:
        weights *= golden["image_weights"] / 4
    if "class_weights" in golden:
        weights *= golden["class_weights"][golden["labels"]] / 4
    return weights


@every_case
@every_dtype
@pytest.mark.parametrize("path", ["own", "layered"])
def test_loss_and_gradients(name: str, dtype: str, path: str) -> None:
    golden = CASES[name]
    net, images = make_case(golden, dtype)
    examples = Examples(net.inputs(images), golden["labels"], weights=weights_of(golden))
    runner = net.path if path == "own" else LayeredPath(net.architecture, net.flat.dtype)

    gradients = runner.gradients(net.flat, 1, float(golden["smoothing"]))
    loss, gradient, _ = gradients.over(examples).differentiate()

    assert_close(loss, golden["loss"], dtype)
    shapes = net.architecture.parameter_shapes
    expected = Parameters(golden["gradients"], shapes)
    for parameter, values in Parameters(gradient, shapes).items():
        assert_close(values, expected[parameter], dtype)


@every_case
@every_dtype
def test_ten_epochs_of_fit(name: str, dtype: str) -> None:
    golden = CASES[name]
    net, images = make_case(golden, dtype)
    image_weights, class_weights = golden.get("image_weights"), golden.get("class_weights")

    history = tinycnn.fit(
        net,
        images,
        golden["labels"],
        epochs=len(golden["losses"]),
        batch_size=len(images),
        schedule=None,
        augmentation=None,
        optimizer=tinycnn.SGD(**SGD),
        sample_weight=None if image_weights is None else image_weights / 4,
        class_weight=None if class_weights is None else class_weights / 4,
        label_smoothing=float(golden["smoothing"]),
        verbose=False,
    )

    assert_close(np.array(history.train_loss), golden["losses"], dtype)
