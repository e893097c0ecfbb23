"""Whole networks against PyTorch: logits, loss, every gradient, and ten steps of training.

The numbers are those of ``golden/network_cases.npz``; ``golden/make_network_cases.py`` made them
and says how.

Letters: N images of C x H x W; K filters of R x S; F features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinycnn
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward

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


def below(golden: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): values
        for name, values in golden.items()
        if name.startswith(prefix)
    }


def kernels(golden: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    """Return the (R, S) of each block."""
    return [(int(R), int(S)) for R, S in golden["kernels"]]


def make_network(golden: dict[str, np.ndarray], dtype: str, kernel_size=None) -> tinycnn.CNN:
    """Build a network and give it the golden parameters."""
    net = tinycnn.CNN(
        image_shape=tuple(golden["image_shape"].tolist()),
        channels=tuple(golden["channels"].tolist()),
        kernel_size=kernels(golden) if kernel_size is None else kernel_size,
        n_classes=int(golden["n_classes"]),
        bias=bool(golden["bias"]),
        dtype=dtype,
        seed=0,
        hidden=int(golden["hidden"]),
    )
    for name, levels in below(golden, "parameters/").items():
        net.parameters[name][...] = levels / 256
    return net


def make_images(golden: dict[str, np.ndarray], dtype: str) -> np.ndarray:
    """Return the golden images (N, C, H, W)."""
    return (golden["images"] / 128).astype(dtype)


def assert_close(result: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    """Compare relative to the largest expected value."""
    assert np.shape(result) == np.shape(expected)
    assert np.abs(result - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max()


@every_network
@every_dtype
def test_parameters_have_the_names_and_shapes_of_a_state_dict(name: str, dtype: str) -> None:
    golden = NETWORKS[name]

    parameters = make_network(golden, dtype).parameters

    assert {name: values.shape for name, values in parameters.items()} == {
        name: levels.shape for name, levels in below(golden, "parameters/").items()
    }
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
    assert_close(logits, golden[f"{dtype}/logits"], dtype)


@every_network
@every_dtype
def test_loss(name: str, dtype: str) -> None:
    golden = NETWORKS[name]
    logits, _ = make_network(golden, dtype).forward(make_images(golden, dtype))

    loss, _ = cross_entropy_forward(logits, golden["labels"])

    assert_close(loss, golden[f"{dtype}/loss"], dtype)


def loss_and_gradients(
    net: tinycnn.CNN, images: np.ndarray, labels: np.ndarray
) -> tuple[float, dict[str, np.ndarray]]:
    """Run one forward and backward pass."""
    logits, cache = net.forward(images)
    loss, loss_cache = cross_entropy_forward(logits, labels)
    return loss, net.backward(cross_entropy_backward(1.0, loss_cache), cache)


@every_network
@every_dtype
def test_gradients(name: str, dtype: str) -> None:
    golden = NETWORKS[name]
    net = make_network(golden, dtype)

    _, gradients = loss_and_gradients(net, make_images(golden, dtype), golden["labels"])

    assert gradients.keys() == net.parameters.keys()
    for parameter, expected in below(golden, f"{dtype}/gradients/").items():
        assert gradients[parameter].dtype == dtype
        assert_close(gradients[parameter], expected, dtype)


@every_network
@every_dtype
def test_ten_steps_of_training(name: str, dtype: str) -> None:
    golden = NETWORKS[name]
    net, images = make_network(golden, dtype), make_images(golden, dtype)
    optimizer = tinycnn.SGD(lr=0.05, momentum=0.9, weight_decay=1e-4)

    losses = []
    for _ in golden[f"{dtype}/losses"]:
        loss, gradients = loss_and_gradients(net, images, golden["labels"])
        gradient = np.concatenate([gradients[name].ravel() for name in net.parameters])
        optimizer.step(net.flat, gradient)
        losses.append(loss)

    assert_close(np.array(losses), golden[f"{dtype}/losses"], dtype)


@every_network
def test_forward_and_backward_write_to_nothing_they_are_given(name: str) -> None:
    golden = NETWORKS[name]
    net, images = make_network(golden, "float64"), make_images(golden, "float64")
    before = images.copy(), net.flat.copy()
    logits, cache = net.forward(images)
    dlogits = np.ones_like(logits)

    first = net.backward(dlogits, cache)
    second = net.backward(dlogits, cache)

    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(net.flat, before[1])
    np.testing.assert_array_equal(dlogits, 1)
    for parameter in first:
        np.testing.assert_array_equal(first[parameter], second[parameter])


@pytest.mark.parametrize(
    ("name", "kernel_size"),
    [
        ("two_blocks", 3),
        ("two_blocks", (3, 3)),
        ("two_blocks", [3, 3]),
        ("two_blocks", [3, (3, 3)]),
        ("two_blocks_wide", (2, 4)),
        ("two_blocks_wide", [(2, 4), (2, 4)]),
        ("one_block_colour", (2, 5)),
    ],
    ids=str,
)
def test_every_spelling_of_a_kernel_size(name: str, kernel_size) -> None:
    golden = NETWORKS[name]

    logits, _ = make_network(golden, "float64", kernel_size).forward(make_images(golden, "float64"))

    assert_close(logits, golden["float64/logits"], "float64")
