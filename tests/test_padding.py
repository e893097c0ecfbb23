"""Padding: zeros around what every convolution is given, the first one after the scaling."""

import numpy as np
import pytest
from conftest import (
    fit_gradient,
    layered_gradient,
    lesson_logits,
    moved,
    numeric_gradient,
    relative_error,
    small_net,
    split_gradient,
    with_biases,
)

import tinycnn
from tinycnn import CNN, Augmentation

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

# Kernels and paddings of two blocks on images of 10 x 11; "same" of even kernels is lopsided.
PADDINGS = [
    (3, 1),
    (3, "same"),
    ((3, 2), "same"),
    ((2, 4), "same"),
    (1, "same"),
    (5, 2),
    ((2, 3), (3, 0)),
    ([3, (2, 5)], [0, "same"]),
    ([5, 3], ["same", (1, 2)]),
]
EVERY_PADDING = pytest.mark.parametrize(("kernel_size", "padding"), PADDINGS)


def make_network(rng, kernel_size, padding, dtype="float64"):
    """Two blocks for two-channel images, scaled so that a zero pixel is not a zero."""
    options = {"hidden": 5, "n_classes": 4, "dtype": dtype}
    net = CNN((2, 10, 11), channels=(3, 4), kernel_size=kernel_size, padding=padding, **options)
    net.set_scaling([0.3, 0.1], [0.5, 2.0])
    return with_biases(net, rng)


def draw_images(rng, pixel, n=37):
    if pixel == "uint8":
        return rng.integers(0, 256, (n, 2, 10, 11), dtype=np.uint8)
    return rng.normal(0, 1, (n, 2, 10, 11)).astype(pixel)


@EVERY_PADDING
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_are_those_of_images_and_maps_padded_by_numpy(
    rng, kernel_size, padding, pixel, dtype
):
    net, images = make_network(rng, kernel_size, padding, dtype), draw_images(rng, pixel)
    expected = lesson_logits(net, images)
    assert relative_error(net.logits(images), expected) < TOLERANCE[dtype]
    assert relative_error(net.forward(images)[0], expected) < TOLERANCE[dtype]


@EVERY_PADDING
def test_gradients_are_those_of_finite_differences(rng, kernel_size, padding):
    net, images = make_network(rng, kernel_size, padding), draw_images(rng, "float64", 3)
    labels = np.array([0, 3, 1])

    def loss():
        logits = lesson_logits(net, images)
        return np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(3), labels])

    expected = numeric_gradient(loss, net.flat)
    for gradient in (split_gradient, fit_gradient, layered_gradient):
        assert relative_error(gradient(net, images, labels)[1], expected) < 1e-7


@EVERY_PADDING
@pytest.mark.parametrize("pixel", ["uint8", "float32"])
def test_what_moves_moves_within_the_border(rng, kernel_size, padding, pixel):
    net, images = make_network(rng, kernel_size, padding), draw_images(rng, pixel)
    labels, weights = rng.integers(0, 4, 37), rng.random(37)
    moves = Augmentation(shift=3, flip=True).draw(37, rng)
    expected_loss, expected = layered_gradient(net, moved(images, moves), labels, weights, 0.1)
    loss, gradient = fit_gradient(net, images, labels, weights, 0.1, moves=moves)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    assert relative_error(gradient, expected) < 1e-12


def test_the_border_is_the_mean_and_not_black(rng):
    """Zeros after the scaling: an offset of all pixels changes nothing, at the border neither."""
    images = rng.integers(0, 100, (50, 1, 8, 8), dtype=np.uint8)
    logits = []
    for offset in (0, 150):
        net = small_net((1, 8, 8), padding="same", dtype="float64")
        net.standardize(images + np.uint8(offset))
        logits.append(net.logits(images + np.uint8(offset)))
    assert relative_error(logits[1], logits[0]) < 1e-12


def test_blocks_fit_that_would_not_without_it():
    with pytest.raises(ValueError, match=r"conv2: its 3 x 3 kernel .* maps of 1 x 1.* padding"):
        CNN((1, 5, 5), channels=(4, 4), n_classes=3)
    net = CNN((1, 5, 5), channels=(4, 4), padding="same", n_classes=3)
    shapes = {step.name: step.output_shape for step in net.architecture.steps}
    assert (shapes["conv1"], shapes["conv2"], shapes["maxpool2"]) == (
        (4, 5, 5),
        (4, 2, 2),
        (4, 1, 1),
    )


@EVERY_PADDING
def test_it_is_saved(tmp_path, rng, kernel_size, padding):
    net = make_network(rng, kernel_size, padding)
    tinycnn.save_model(net, tmp_path / "m.npz")
    loaded = tinycnn.load_model(tmp_path / "m.npz")
    assert loaded.architecture == net.architecture
    images = draw_images(rng, "uint8")
    np.testing.assert_array_equal(loaded.logits(images), net.logits(images))
