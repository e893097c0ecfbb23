"""The hidden fully connected layer: its parameters, its gradients, and the fast path through it.

PyTorch's numbers for it are in ``test_golden_networks.py``.
"""

import numpy as np
import pytest
from conftest import fast_gradient, layered_gradient, numeric_gradient, relative_error

import tinycnn
from tinycnn import CNN

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


def make_network(rng, shape, channels, kernel_size, hidden, n_classes, bias, dtype):
    """Make a network whose biases are not zero."""
    net = CNN(shape, channels, kernel_size, n_classes, bias, dtype, hidden=hidden)
    net.flat += (0.1 * rng.normal(size=net.flat.shape)).astype(dtype)
    return net


def test_it_stands_between_the_last_block_and_the_logits():
    net = CNN((3, 20, 18), (4, 6), [3, (2, 4)], 5, hidden=7)
    shapes = {name: parameter.shape for name, parameter in net.parameters.items()}
    assert list(shapes.items()) == [
        ("conv1.weight", (4, 3, 3, 3)),
        ("conv1.bias", (4,)),
        ("conv2.weight", (6, 4, 2, 4)),
        ("conv2.bias", (6,)),
        ("hidden.weight", (7, 6 * 4 * 2)),
        ("hidden.bias", (7,)),
        ("fc.weight", (5, 7)),
        ("fc.bias", (5,)),
    ]
    assert net.flat.size == net.architecture.n_parameters
    assert net.architecture.n_features == 6 * 4 * 2
    net.flat[...] = np.arange(net.flat.size)
    joined = np.concatenate([parameter.reshape(-1) for parameter in net.parameters.values()])
    np.testing.assert_array_equal(joined, net.flat)


def test_without_bias_there_are_no_bias_entries():
    net = CNN((1, 8, 8), bias=False, hidden=3)
    assert list(net.parameters) == ["conv1.weight", "hidden.weight", "fc.weight"]


def test_hidden_of_0_is_a_network_without():
    with_argument, without = CNN((1, 8, 8), hidden=0), CNN((1, 8, 8))
    assert with_argument.architecture == without.architecture
    np.testing.assert_array_equal(with_argument.flat, without.flat)


def test_initial_weights_have_the_variances_that_the_notes_tell():
    parameters = CNN((1, 30, 30), (8,), n_classes=40, hidden=500, seed=1).parameters
    for name, variance in [("hidden.weight", 2 / (8 * 14 * 14)), ("fc.weight", 1 / 500)]:
        assert parameters[name].mean() == pytest.approx(0, abs=0.05 * np.sqrt(variance))
        assert parameters[name].std() == pytest.approx(np.sqrt(variance), rel=0.02)
    assert not parameters["hidden.bias"].any()


def test_repr_tells_how_to_make_another_one():
    net = CNN((1, 8, 8), hidden=12, bias=False)
    assert "hidden=12" in repr(net)
    assert "hidden" not in repr(CNN((1, 8, 8)))
    assert eval(repr(net)).architecture == net.architecture


@pytest.mark.parametrize(
    ("hidden", "error", "words"),
    [
        (-1, ValueError, r"hidden: must be a whole number of at least 0, got -1"),
        (2.5, ValueError, r"hidden: must be a whole number of at least 0, got 2.5"),
        (np.nan, ValueError, r"hidden: must be a whole number of at least 0, got nan"),
        ("4", TypeError, r"hidden: must be a real number, got '4'"),
        (None, TypeError, r"hidden: must be a real number, got None"),
        (True, TypeError, r"hidden: must be a real number, got True"),
        ((4,), TypeError, r"hidden: must be a real number, got \(4,\)"),
    ],
)
def test_impossible_sizes_are_refused_in_clear_words(hidden, error, words):
    with pytest.raises(error, match=words):
        CNN((1, 8, 8), hidden=hidden)


@pytest.mark.parametrize("hidden", [np.int64(3), 3.0])
def test_any_whole_number_is_a_size(hidden):
    assert CNN((1, 8, 8), hidden=hidden).parameters["fc.weight"].shape == (10, 3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("image_shape", "channels", "hidden"),
    [((1, 6, 7), (3,), 1), ((2, 6, 7), (4,), 7), ((3, 14, 12), (2, 3), 5)],
)
def test_gradients_are_those_of_finite_differences(rng, image_shape, channels, hidden, bias):
    net = make_network(rng, image_shape, channels, 3, hidden, 4, bias, "float64")
    if bias:
        net.parameters["hidden.bias"][0] = 1  # at least this unit is open
    images, labels = rng.normal(size=(4, *image_shape)), np.array([0, 3, 1, 1])

    def loss():
        return layered_gradient(net, images, labels)[0]

    expected = numeric_gradient(loss, net.flat)
    assert expected.any()
    for _, gradient in (
        layered_gradient(net, images, labels),
        fast_gradient(net, images, labels),
    ):
        assert relative_error(gradient, expected) < 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_fast_path_computes_what_the_layers_compute(rng, network, pixel, dtype):
    *arguments, N = network
    net = make_network(rng, *arguments, dtype)
    images = rng.integers(0, 256, (N, *arguments[0]), dtype=np.uint8)
    images = images if pixel == "uint8" else (images / np.float32(256)).astype(pixel)
    labels = rng.integers(0, net.architecture.n_classes, N)
    assert relative_error(net.logits(images), net.forward(images)[0]) < TOLERANCE[dtype]
    loss, gradient = layered_gradient(net, images, labels)
    fast_loss, fast = fast_gradient(net, images, labels)
    assert fast_loss == pytest.approx(loss, rel=TOLERANCE[dtype], abs=1e-12)
    assert relative_error(fast, gradient) < TOLERANCE[dtype]


def test_closed_units_pass_nothing_on(rng):
    net = make_network(rng, (1, 9, 9), (4,), 3, 6, 3, True, "float64")
    images, labels = rng.random((21, 1, 9, 9)), rng.integers(0, 3, 21)
    net.parameters["hidden.bias"][1:4] = -1e3
    net.parameters["hidden.weight"][4] = 0
    net.parameters["hidden.bias"][4] = 0  # exactly at the edge: closed
    _, expected = layered_gradient(net, images, labels)
    _, gradient = fast_gradient(net, images, labels)
    assert relative_error(gradient, expected) < 1e-13
    by_name = tinycnn.network.named_views(gradient, net.architecture.parameter_shapes)
    assert not by_name["hidden.weight"][1:5].any()
    assert not by_name["hidden.bias"][1:5].any()
    assert not by_name["fc.weight"][:, 1:5].any()
    assert by_name["hidden.weight"][[0, 5]].any()


@pytest.mark.parametrize("hidden", [3, 64])
@pytest.mark.parametrize("N", [1, 65, 700])
def test_the_number_of_threads_changes_no_bit(rng, hidden, N):
    net = CNN((1, 12, 12), (4,), hidden=hidden, seed=5)
    images, labels = rng.integers(0, 256, (N, 1, 12, 12), np.uint8), rng.integers(0, 10, N)
    loss, gradient = fast_gradient(net, images, labels)
    logits = net.logits(images, 1)
    for n_threads in (2, 3, 8):
        other_loss, other = fast_gradient(net, images, labels, n_threads=n_threads)
        assert other_loss == loss
        np.testing.assert_array_equal(other, gradient)
        np.testing.assert_array_equal(net.logits(images, n_threads), logits)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "where", ["image", "conv1.weight", "hidden.weight", "hidden.bias", "fc.weight", "fc.bias"]
)
def test_nan_and_infinities_spread_as_in_the_layers(rng, where, value, dtype):
    net = make_network(rng, (1, 10, 10), (3,), 3, 5, 3, True, dtype)
    images = rng.random((20, 1, 10, 10))
    if where == "image":
        images[3, 0, 5, 6] = value
    else:
        net.parameters[where].reshape(-1)[0] = value
    with np.errstate(all="ignore"):
        expected, _ = net.forward(images)
    actual, all_finite = net.engine.logits(net.flat, net.pixels(images), 1)
    assert all_finite == (where != "image")
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(actual), np.isposinf(expected))
    rest = np.isfinite(expected)
    np.testing.assert_allclose(actual[rest], expected[rest], rtol=1e-4)


def test_digits_are_learned(digits):
    images, labels = digits
    net = CNN((1, 8, 8), hidden=32)
    tinycnn.fit(net, images, labels, epochs=6, batch_size=32, verbose=False)
    assert net.score(images, labels) > 0.95
