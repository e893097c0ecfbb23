"""The public gradient of a batch, whole and by parts."""

import numpy as np
import pytest
from conftest import numeric_gradient, relative_error, small_net, split_gradient, with_biases

import tinycnn
from tinycnn import Conv, Dropout, Flatten, Linear, ReLU, loss_and_gradient

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
N, PARTS = 700, ((0, 1), (1, 300), (300, 700))

LAYERS = {
    "fast": None,
    "layer by layer": [Conv(3, 3), ReLU(), Dropout(0.0), Flatten(), Linear(10)],
}


def make_case(rng, layers="fast", dtype="float64"):
    """A network with images, labels, and weights of which some are 0."""
    arguments = {"layers": LAYERS[layers], "channels": None} if LAYERS[layers] else {}
    net = with_biases(small_net(dtype=dtype, **arguments), rng)
    net.set_scaling([0.4], [0.3])
    images = rng.integers(0, 256, (N, 1, 8, 8), dtype=np.uint8)
    weights = rng.exponential(size=N)
    weights[::5] = 0
    return net, images, rng.integers(0, 10, N), weights


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_that_of_forward_loss_and_backward(rng, weighted, layers, dtype):
    net, images, labels, weights = make_case(rng, layers, dtype)
    weights = weights if weighted else None
    expected_loss, expected = split_gradient(net, images, labels, weights, 0.1)
    loss, gradient = loss_and_gradient(
        net, images, labels, sample_weight=weights, label_smoothing=0.1
    )
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
    assert relative_error(gradient.flat, expected) < TOLERANCE[dtype]
    assert gradient.flat.dtype == dtype
    assert {n: v.shape for n, v in gradient.items()} == {
        n: v.shape for n, v in net.parameters.items()
    }


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layers", LAYERS)
def test_parts_with_the_total_weight_add_up_to_the_batch(rng, layers, dtype):
    net, images, labels, weights = make_case(rng, layers, dtype)
    total = weights.sum()
    expected_loss, expected = loss_and_gradient(net, images, labels, sample_weight=weights)
    loss, flat = 0.0, np.zeros(net.flat.size)
    for first, last in PARTS:
        some = slice(first, last)
        part_loss, gradient = loss_and_gradient(
            net, images[some], labels[some], sample_weight=weights[some], total_weight=total
        )
        loss += part_loss
        flat += gradient.flat
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
    assert relative_error(flat, expected.flat) < TOLERANCE[dtype]


def test_it_is_that_of_finite_differences(rng):
    net, images, labels, weights = make_case(rng)
    some = slice(12)
    arguments = {"sample_weight": weights[some], "total_weight": 7.0, "label_smoothing": 0.2}

    def loss():
        return loss_and_gradient(net, images[some], labels[some], **arguments)[0]

    _, gradient = loss_and_gradient(net, images[some], labels[some], **arguments)
    assert relative_error(gradient.flat, numeric_gradient(loss, net.flat)) < 1e-6


def test_the_number_of_threads_changes_no_bit(rng):
    net, images, labels, _ = make_case(rng, dtype="float32")
    expected = loss_and_gradient(net, images, labels, n_threads=1)
    for n_threads in (2, 5):
        loss, gradient = loss_and_gradient(net, images, labels, n_threads=n_threads)
        assert loss == expected[0]
        np.testing.assert_array_equal(gradient.flat, expected[1].flat)


def test_no_weight_at_all_is_no_gradient(rng):
    net, images, labels, _ = make_case(rng)
    loss, gradient = loss_and_gradient(net, images, labels, sample_weight=np.zeros(N))
    assert loss == 0
    assert gradient.flat.shape == net.flat.shape
    assert not gradient.flat.any()


def test_dropout_drops_where_a_generator_is_given(rng):
    layers = [Conv(3, 3), ReLU(), Dropout(0.5), Flatten(), Linear(10)]
    net = tinycnn.CNN((1, 8, 8), layers)
    _, images, labels, _ = make_case(rng)
    losses = [
        loss_and_gradient(net, images, labels, rng=generator)[0]
        for generator in (None, *map(np.random.default_rng, (0, 0, 1)))
    ]
    assert losses[1] == losses[2]
    assert len(set(losses)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": np.full(N, 10)}, r"labels: labels must be whole numbers in \[0, 10\)"),
        ({"labels": np.zeros(3)}, "labels: 700 images need as many labels, got 3"),
        ({"images": np.zeros((0, 1, 8, 8), np.uint8), "labels": []}, "at least one image"),
        ({"images": np.full((N, 1, 8, 8), np.nan)}, "images: all values must be finite"),
        ({"sample_weight": -np.ones(N)}, "sample_weight: must not be negative"),
        ({"total_weight": 0}, "total_weight: must be above 0, got 0"),
        ({"total_weight": -1}, "total_weight: must be finite and not negative"),
        ({"label_smoothing": 1}, r"label_smoothing: must be in \[0, 1\), got 1"),
        ({"n_threads": 0}, "n_threads: must be a whole number of at least 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_does_not_fit_is_told(rng, arguments, message):
    net, images, labels, _ = make_case(rng)
    arguments = {"images": images, "labels": labels, **arguments}
    with pytest.raises(ValueError, match=message):
        loss_and_gradient(net, arguments.pop("images"), arguments.pop("labels"), **arguments)
