"""Whole networks against PyTorch: logits, loss, every gradient, and ten steps of training.

The numbers are those of ``golden/network_cases.npz``; ``golden/make_network_cases.py`` made them
and says how.

Letters: N images of C x H x W; K filters of R x S; F features.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinycnn
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward
from tinycnn.layers import Layer, make_layer
from tinycnn.parameters import Parameters

GOLDEN = Path(__file__).parent / "golden"
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def read_networks(file_name: str) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of each network by its name."""
    networks: dict[str, dict[str, np.ndarray]] = {}
    with np.load(GOLDEN / file_name) as file:
        for key, values in file.items():
            network, name = key.split("/", 1)
            networks.setdefault(network, {})[name] = values
    return networks


NETWORKS = read_networks("network_cases.npz")

every_network = pytest.mark.parametrize("name", NETWORKS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def layers_of(golden: dict[str, np.ndarray]) -> list[Layer]:
    """Return the golden layers."""
    return [make_layer(description) for description in json.loads(str(golden["layers"]))]


def make_network(golden: dict[str, np.ndarray], dtype: str) -> tinycnn.CNN:
    """Build a network and give it the golden parameters."""
    net = tinycnn.CNN(golden["image_shape"].tolist(), layers_of(golden), dtype=dtype)
    set_parameters(net, golden)
    return net


def set_parameters(net: tinycnn.CNN, golden: dict[str, np.ndarray]) -> None:
    """Give a network the golden parameters."""
    net.flat = golden["parameters"] / 256


def make_images(golden: dict[str, np.ndarray], dtype: str) -> np.ndarray:
    """Return the golden images (N, C, H, W)."""
    return (golden["images"] / 128).astype(dtype)


def assert_close(result: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    """Compare relative to the largest expected value."""
    assert np.shape(result) == np.shape(expected)
    assert np.abs(result - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


@every_network
@every_dtype
def test_parameters_have_names_shapes_and_order_of_a_state_dict(name: str, dtype: str) -> None:
    golden = NETWORKS[name]

    parameters = make_network(golden, dtype).parameters

    assert [[name, list(values.shape)] for name, values in parameters.items()] == json.loads(
        str(golden["state_dict"])
    )
    assert all(values.dtype == dtype for values in parameters.values())


@every_network
@every_dtype
def test_parameters_are_views_of_the_flat_vector_in_its_order(name: str, dtype: str) -> None:
    net = make_network(NETWORKS[name], dtype)

    joined = np.concatenate([values.ravel() for values in net.parameters.values()])
    np.testing.assert_array_equal(joined, net.flat)
    net.flat[...] = 3
    assert all((values == 3).all() for values in net.parameters.values())


@every_network
@every_dtype
def test_logits(name: str, dtype: str) -> None:
    golden = NETWORKS[name]

    logits, _ = make_network(golden, dtype).forward(make_images(golden, dtype))

    assert logits.dtype == dtype
    assert_close(logits, golden["logits"], dtype)


@every_network
@every_dtype
def test_loss(name: str, dtype: str) -> None:
    golden = NETWORKS[name]
    logits, _ = make_network(golden, dtype).forward(make_images(golden, dtype))

    loss, _ = cross_entropy_forward(logits, golden["labels"])

    assert_close(loss, golden["loss"], dtype)


def loss_and_gradients(
    net: tinycnn.CNN, images: np.ndarray, labels: np.ndarray
) -> tuple[float, Parameters]:
    """Run one forward and backward pass."""
    logits, state = net.forward(images)
    loss, cache = cross_entropy_forward(logits, labels)
    return loss, net.backward(cross_entropy_backward(1.0, cache), state)


@every_network
@every_dtype
def test_gradients(name: str, dtype: str) -> None:
    golden = NETWORKS[name]
    net = make_network(golden, dtype)

    _, gradients = loss_and_gradients(net, make_images(golden, dtype), golden["labels"])

    assert gradients.keys() == net.parameters.keys()
    expected = Parameters(golden["gradients"], net.architecture.parameter_shapes)
    for parameter, gradient in gradients.items():
        assert gradient.dtype == dtype
        assert_close(gradient, expected[parameter], dtype)


@every_network
@every_dtype
def test_ten_steps_of_training(name: str, dtype: str) -> None:
    golden = NETWORKS[name]
    net, images = make_network(golden, dtype), make_images(golden, dtype)
    optimizer = tinycnn.SGD(lr=0.05, momentum=0.9, weight_decay=1e-4)

    losses = []
    for _ in golden["losses"]:
        loss, gradients = loss_and_gradients(net, images, golden["labels"])
        optimizer.step(net.flat, gradients.flat)
        losses.append(loss)

    assert_close(np.array(losses), golden["losses"], dtype)


@every_network
def test_forward_and_backward_write_to_nothing_they_are_given(name: str) -> None:
    golden = NETWORKS[name]
    net, images = make_network(golden, "float64"), make_images(golden, "float64")
    before = images.copy(), net.flat.copy()
    logits, state = net.forward(images)
    dlogits = np.ones_like(logits)

    first = net.backward(dlogits, state)
    second = net.backward(dlogits, state)

    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(net.flat, before[1])
    np.testing.assert_array_equal(dlogits, 1)
    for parameter in first:
        np.testing.assert_array_equal(first[parameter], second[parameter])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("one_block", {"channels": (3,), "n_classes": 4}),
        ("one_block_no_bias", {"channels": [3], "n_classes": 4, "bias": False}),
        ("one_block_colour", {"channels": (4,), "kernel_size": (2, 5), "n_classes": 3}),
        *(
            ("two_blocks", {"channels": (4, 6), "kernel_size": kernel_size, "n_classes": 5})
            for kernel_size in (3, (3, 3), [3, 3], [3, (3, 3)])
        ),
        *(
            ("two_blocks_wide", {"channels": (4, 6), "kernel_size": kernel_size, "n_classes": 5})
            for kernel_size in ((2, 4), [(2, 4), (2, 4)])
        ),
        ("hidden", {"channels": (3,), "hidden": 7, "n_classes": 4}),
        ("hidden", {"channels": (3,), "hidden": [7], "n_classes": 4}),
        ("hidden_twice", {"channels": (3,), "hidden": (12, 6), "n_classes": 4}),
        ("padded", {"channels": (4, 5), "padding": 1, "n_classes": 4}),
        ("padded", {"channels": (4, 5), "padding": "same", "n_classes": 4}),
        ("padded", {"channels": (4, 5), "padding": (1, 1), "n_classes": 4}),
        ("padded", {"channels": (4, 5), "padding": [1, "same"], "n_classes": 4}),
        ("same", {"channels": (4, 5), "kernel_size": 5, "padding": "same", "n_classes": 3}),
        ("same_then_none", {"channels": (4, 4), "padding": ["same", 0], "n_classes": 3}),
    ],
    ids=str,
)
def test_every_spelling_of_blocks(name: str, arguments: dict) -> None:
    golden = NETWORKS[name]
    net = tinycnn.CNN(golden["image_shape"].tolist(), **arguments, dtype="float64")
    set_parameters(net, golden)

    logits, _ = net.forward(make_images(golden, "float64"))

    assert_close(logits, golden["logits"], "float64")


def test_the_networks_cover_what_they_should() -> None:
    """Each kind of layer; kernels that are even or not square; every kind of padding."""
    layers = [layer for golden in NETWORKS.values() for layer in layers_of(golden)]
    assert {layer.kind for layer in layers} == {
        "conv", "relu", "maxpool", "dropout", "flatten", "linear",
    }  # fmt: skip
    convs = [layer for layer in layers if layer.kind == "conv"]
    assert {"same", (0, 0), (1, 1), (0, 3), (4, 4)} <= {conv.padding for conv in convs}
    kernels = {conv.kernel for conv in convs if conv.padding == "same"}
    assert {(5, 5), (2, 4), (4, 3)} <= kernels
    assert {len(golden["images"]) for golden in NETWORKS.values()} >= {1, 3, 7}
