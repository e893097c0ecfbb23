"""Hidden fully connected layers: their parameters, their gradients, and what closes a unit.

PyTorch's numbers for it are in ``test_golden_networks.py``.
"""

import numpy as np
import pytest
from conftest import (
    QUICK,
    fit_gradient,
    layered_gradient,
    layered_logits,
    lesson_logits,
    numeric_gradient,
    relative_error,
    small_net,
    split_gradient,
    with_biases,
)

import tinycnn
from tinycnn import CNN
from tinycnn.parameters import Parameters

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

# image shape, filters, kernels, units, classes, bias, N: nothing is a multiple of anything.
NETWORKS = [
    ((1, 2, 2), (1,), 1, 1, 1, True, 1),
    ((1, 9, 8), (3,), (3, 2), 1, 4, False, 17),
    ((3, 13, 11), (5,), 4, 7, 10, True, 37),
    ((1, 14, 14), (4,), 3, 64, 10, False, 130),
    ((2, 13, 21), (5,), (1, 6), 13, 2, True, 65),
    ((3, 20, 26), (5, 6), [3, (2, 4)], 8, 3, False, 150),
    ((2, 30, 33), (1, 2, 9), [3, 2, 2], 21, 11, True, 67),
]


def make_network(rng, network, dtype="float64"):
    """Make a network whose biases are not zero."""
    image_shape, channels, kernel_size, hidden, n_classes, bias, _ = network
    net = CNN(
        image_shape,
        channels=channels,
        kernel_size=kernel_size,
        hidden=hidden,
        n_classes=n_classes,
        bias=bias,
        dtype=dtype,
    )
    return with_biases(net, rng)


def test_without_bias_there_are_no_bias_entries():
    net = small_net(bias=False, hidden=(3, 4))
    assert list(net.parameters) == [
        "conv1.weight",
        "linear1.weight",
        "linear2.weight",
        "linear3.weight",
    ]


@pytest.mark.parametrize("none", [0, (), []])
def test_no_hidden_layer_is_a_network_without(none):
    with_argument, without = small_net(hidden=none), small_net()
    assert with_argument.architecture == without.architecture
    np.testing.assert_array_equal(with_argument.flat, without.flat)


def test_initial_weights_have_the_variances_that_the_notes_tell():
    net = small_net((1, 30, 30), channels=(8,), n_classes=40, hidden=(500, 300), seed=1)
    for name, variance in [
        ("linear1.weight", 2 / (8 * 14 * 14)),
        ("linear2.weight", 2 / 500),
        ("linear3.weight", 1 / 300),
    ]:
        weight = net.parameters[name]
        assert weight.mean() == pytest.approx(0, abs=0.05 * np.sqrt(variance))
        assert weight.std() == pytest.approx(np.sqrt(variance), rel=0.02)
    assert not net.parameters["linear1.bias"].any()


@pytest.mark.parametrize(
    ("hidden", "error", "words"),
    [
        (-1, ValueError, r"hidden: must be a whole number of at least 0, got -1"),
        (2.5, ValueError, r"hidden: must be a whole number of at least 0, got 2.5"),
        (np.nan, ValueError, r"hidden: must be a whole number of at least 0, got nan"),
        ("4", TypeError, r"hidden: must be a real number, got '4'"),
        (None, TypeError, r"hidden: must be a real number, got None"),
        (True, TypeError, r"hidden: must be a real number, got True"),
        ((4, 0), ValueError, r"hidden: must be a whole number of at least 1, got 0"),
        ((4, "4"), TypeError, r"hidden: must be a real number, got '4'"),
    ],
)
def test_impossible_sizes_are_refused_in_clear_words(hidden, error, words):
    with pytest.raises(error, match=words):
        small_net(hidden=hidden)


@pytest.mark.parametrize("hidden", [np.int64(3), 3.0, (3,), [3.0], np.array([3])])
def test_any_whole_number_is_a_size(hidden):
    assert small_net(hidden=hidden).parameters["linear2.weight"].shape == (10, 3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("image_shape", "channels", "hidden"),
    [((1, 6, 7), (3,), 1), ((2, 6, 7), (4,), 7), ((3, 14, 12), (2, 3), (5, 4, 3))],
)
def test_gradients_are_those_of_finite_differences(rng, image_shape, channels, hidden, bias):
    net = make_network(rng, (image_shape, channels, 3, hidden, 4, bias, None))
    if bias:
        net.parameters["linear1.bias"][0] = 1  # at least this unit is open
    images, labels = rng.normal(size=(4, *image_shape)), np.array([0, 3, 1, 1])

    def loss():
        logits = lesson_logits(net, images)
        return np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(4), labels])

    expected = numeric_gradient(loss, net.flat)
    assert expected.any()
    for gradient in (layered_gradient, split_gradient, fit_gradient):
        assert relative_error(gradient(net, images, labels)[1], expected) < 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
def test_any_size_computes_what_the_lesson_computes(rng, network, pixel, dtype):
    net, N = make_network(rng, network, dtype), network[-1]
    images = rng.integers(0, 256, (N, *network[0]), dtype=np.uint8)
    images = images if pixel == "uint8" else (images / np.float32(256)).astype(pixel)
    labels = rng.integers(0, net.architecture.n_classes, N)
    assert relative_error(net.logits(images), lesson_logits(net, images)) < TOLERANCE[dtype]
    expected_loss, expected = layered_gradient(net, images, labels)
    for loss, gradient in (
        split_gradient(net, images, labels),
        fit_gradient(net, images, labels),
    ):
        assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype], abs=1e-12)
        assert relative_error(gradient, expected) < TOLERANCE[dtype]


def test_closed_units_pass_nothing_on(rng):
    net = make_network(rng, ((1, 9, 9), (4,), 3, 6, 3, True, None))
    images, labels = rng.random((21, 1, 9, 9)), rng.integers(0, 3, 21)
    net.parameters["linear1.bias"][1:4] = -1e3
    net.parameters["linear1.weight"][4] = 0
    net.parameters["linear1.bias"][4] = 0  # exactly at the edge: closed
    for gradient in (layered_gradient, split_gradient, fit_gradient):
        flat = gradient(net, images, labels)[1]
        by_name = Parameters(flat, net.architecture.parameter_shapes)
        assert not by_name["linear1.weight"][1:5].any()
        assert not by_name["linear1.bias"][1:5].any()
        assert not by_name["linear2.weight"][:, 1:5].any()
        assert by_name["linear1.weight"][[0, 5]].any()


@pytest.mark.parametrize("hidden", [3, 64, (7, 5)])
@pytest.mark.parametrize("N", [1, 65, 700])
def test_the_number_of_threads_changes_no_bit(rng, hidden, N):
    net = small_net((1, 12, 12), channels=(4,), hidden=hidden, seed=5)
    images, labels = rng.integers(0, 256, (N, 1, 12, 12), np.uint8), rng.integers(0, 10, N)
    loss, gradient = fit_gradient(net, images, labels)
    logits = net.logits(images, 1)
    for n_threads in (2, 3, 8):
        other_loss, other = fit_gradient(net, images, labels, n_threads=n_threads)
        assert other_loss == loss
        np.testing.assert_array_equal(other, gradient)
        np.testing.assert_array_equal(net.logits(images, n_threads), logits)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "where",
    ["image", "conv1.weight", "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"],
)
def test_nan_and_infinities_spread_as_in_the_layers(rng, where, value, dtype):
    net = make_network(rng, ((1, 10, 10), (3,), 3, 5, 3, True, None), dtype)
    images = rng.random((20, 1, 10, 10))
    if where == "image":
        images[3, 0, 5, 6] = value
    else:
        net.parameters[where].reshape(-1)[0] = value
    with np.errstate(all="ignore"):
        expected = layered_logits(net, images)
        actual, all_finite = net.path.logits(net.flat, net.inputs(images), 1)
    assert all_finite == (where != "image")
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(actual), np.isposinf(expected))
    rest = np.isfinite(expected)
    np.testing.assert_allclose(actual[rest], expected[rest], rtol=1e-4)


def test_digits_are_learned(digits):
    images, labels = digits
    net = small_net(hidden=32)
    tinycnn.fit(net, images, labels, **QUICK)
    assert net.score(images, labels) > 0.95
