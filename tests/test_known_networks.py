"""Networks that people use can be written and trained, and compute what PyTorch computes.

They are those of ``known_networks.py``; the numbers are those of ``golden/known_cases.npz``, and
``golden/make_known_cases.py`` says how they were made.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from known_networks import KNOWN_NETWORKS, WITH_LAYERS_ALONE, WITH_LAYERS_OF_ONES_OWN, make
from own_layers import AvgPool, BatchNorm, GlobalAvgPool, LeakyReLU, Residual

import tinycnn
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward
from tinycnn.layers import LAYERS, Layer
from tinycnn.parameters import Parameters

TINYCNNS_OWN = {"conv", "relu", "maxpool", "dropout", "flatten", "linear"}
ROUNDING = 1e-10  # of float64, over some layers
STORED = 2e-7  # of the float32 that gradients are stored in


def read_cases() -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Return the arrays of each network and mode, prediction or training."""
    cases: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    with np.load(Path(__file__).parent / "golden" / "known_cases.npz") as file:
        for key, values in file.items():
            name, mode, array = key.split("/")
            cases.setdefault((name, mode), {})[array] = values
    return cases


CASES = read_cases()

every_network = pytest.mark.parametrize("name", KNOWN_NETWORKS)


def all_layers(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    """Go through layers, and through those inside others."""
    for layer in layers:
        yield layer
        if isinstance(layer, Residual):
            yield from all_layers(layer.main + layer.shortcut)


def kinds_of(name: str) -> set[str]:
    return {layer.kind for layer in all_layers(tuple(KNOWN_NETWORKS[name].layers))}


def loss_and_gradients(
    net: tinycnn.CNN, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator | None = None
) -> tuple[float, Parameters]:
    logits, state = net.forward(images, rng=rng)
    loss, cache = cross_entropy_forward(logits, labels)
    return loss, net.backward(cross_entropy_backward(1.0, cache), state)


def assert_close(result: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Compare relative to the largest expected value."""
    assert np.shape(result) == np.shape(expected)
    assert np.abs(result - expected).max() <= tolerance * np.abs(expected).max()


def test_how_many_networks_can_be_written() -> None:
    assert len(WITH_LAYERS_ALONE) == 23
    assert all(kinds_of(name) <= TINYCNNS_OWN for name in WITH_LAYERS_ALONE)
    assert len(KNOWN_NETWORKS) == 41
    assert all(not kinds_of(name) <= TINYCNNS_OWN for name in WITH_LAYERS_OF_ONES_OWN)
    assert {name for name, _ in CASES} == KNOWN_NETWORKS.keys()
    assert {kind for name in KNOWN_NETWORKS for kind in kinds_of(name)} <= LAYERS.keys()


def test_layers_of_ones_own_are_compared_with_pytorch() -> None:
    compared = {kind for name, _ in CASES for kind in kinds_of(name)}
    assert {layer.kind for layer in (AvgPool, GlobalAvgPool, BatchNorm, LeakyReLU)} <= compared
    assert any(mode == "training" and "batchnorm" in kinds_of(name) for name, mode in CASES)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_logits_loss_and_gradients_are_those_of_pytorch(name: str, mode: str) -> None:
    golden = CASES[name, mode]
    net, images, labels = make(name)
    rng = np.random.default_rng(0) if mode == "training" else None

    logits, _ = net.forward(images, rng=rng)
    net, images, labels = make(name)  # with moments that no batch has moved
    loss, gradients = loss_and_gradients(net, images, labels, rng)

    assert_close(logits, golden["logits"], ROUNDING)
    assert_close(loss, golden["loss"], ROUNDING)
    expected = Parameters(golden["gradients"], net.architecture.parameter_shapes)
    for parameter, gradient in gradients.items():
        # The bias before a batch norm has no gradient but rounding: the largest of all decides.
        scale = max(np.abs(expected[parameter]).max(), 1e-6 * np.abs(expected.flat).max())
        assert np.abs(gradient - expected[parameter]).max() <= STORED * scale, parameter
    if mode == "training":
        running = [p.ravel() for key, p in net.parameters.items() if "running" in key]
        assert_close(np.concatenate(running), golden["running"], ROUNDING)


@every_network
def test_the_gradient_is_the_slope_of_the_loss_in_training(name: str) -> None:
    net, images, labels = make(name)
    _, gradients = loss_and_gradients(net, images, labels, np.random.default_rng(0))
    start, steepness, step = net.flat.copy(), np.linalg.norm(gradients.flat), 1e-6

    def loss(distance: float) -> float:
        net.flat = start + distance * gradients.flat / steepness
        return loss_and_gradients(net, images, labels, np.random.default_rng(0))[0]

    slope = (loss(step) - loss(-step)) / (2 * step)
    assert slope == pytest.approx(steepness, rel=1e-5)


@every_network
def test_it_trains(name: str) -> None:
    image_shape, layers = KNOWN_NETWORKS[name]
    net, (_, images, labels) = tinycnn.CNN(image_shape, layers), make(name)
    before = {parameter: values.copy() for parameter, values in net.parameters.items()}

    history = tinycnn.fit(
        net, images.astype("float32"), labels, epochs=1, batch_size=len(images),
        optimizer=tinycnn.SGD(0.01), verbose=False,
    )  # fmt: skip

    assert np.isfinite(history.train_loss).all()
    assert np.isfinite(net.flat).all()
    moved = {key for key, values in net.parameters.items() if (values != before[key]).any()}
    assert moved >= {key for key in net.parameters if key.endswith("weight")}
