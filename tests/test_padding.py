"""Padding: zeros around every image, on the fast path and layer by layer."""

import numpy as np
import pytest

import tinycnn
from tinycnn import CNN, Augmentation
from tinycnn.engine import BatchGradients


def padded_by_hand(images, padding):
    border = (padding, padding)
    return np.pad(images, ((0, 0), (0, 0), border, border))


def twins(padding, image_shape=(2, 7, 9), channels=(3, 2), kernel_size=(2, 3)):
    """A network that pads, and one with the same parameters for images that come padded."""
    C, H, W = image_shape
    larger = (C, H + 2 * padding, W + 2 * padding)
    options = {"n_classes": 4, "dtype": "float64", "hidden": 5}
    one = CNN(image_shape, channels, kernel_size, padding=padding, **options)
    other = CNN(larger, channels, kernel_size, **options)
    for net in (one, other):
        net.input_mean[...] = (0.3, 0.1)
        net.input_std[...] = (0.5, 2.0)
    return one, other


def images_of(kind, rng, n=37):
    if kind == "uint8":
        return rng.integers(0, 256, (n, 2, 7, 9), dtype=np.uint8)
    return rng.normal(0, 1, (n, 2, 7, 9)).astype(kind)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("padding", [1, 3])
def test_it_is_as_if_the_images_came_padded(rng, kind, padding):
    images = images_of(kind, rng)
    net, plain = twins(padding)
    padded = padded_by_hand(images, padding)
    np.testing.assert_array_equal(net.logits(images), plain.logits(padded))
    np.testing.assert_array_equal(net.features(images), plain.features(padded))
    np.testing.assert_array_equal(net.forward(images)[0], plain.forward(padded)[0])
    np.testing.assert_allclose(net.logits(images), net.forward(images)[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("moved", [False, True])
def test_so_is_the_gradient_and_what_moves_moves_within_the_border(rng, kind, moved):
    images, labels = images_of(kind, rng), rng.integers(0, 4, 37)
    batch = rng.permutation(37)[:29]
    moves = Augmentation(shift=3, flip=True).draw(37, rng) if moved else None
    results = []
    for net, data in zip(twins(2), (images, padded_by_hand(images, 2)), strict=True):
        with BatchGradients(net.engine, net.flat, 2) as gradients:
            batches = gradients.over(net.pixels(data), labels, batch, None, moves)
            loss, gradient, _ = batches.differentiate()
            results.append((loss, gradient.copy()))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_blocks_fit_that_would_not_without_it():
    with pytest.raises(ValueError, match="at most 1 block fits"):
        CNN((1, 8, 8), (4, 4), 3)
    assert CNN((1, 8, 8), (4, 4), 3, padding=2).architecture.block_shapes == [
        (1, 12, 12),
        (4, 5, 5),
        (4, 1, 1),
    ]


def test_it_is_saved_and_shown(tmp_path):
    net = CNN((1, 8, 8), padding=1)
    assert repr(net).endswith("dtype='float32', padding=1)")
    tinycnn.save_model(net, tmp_path / "m.npz")
    assert tinycnn.load_model(tmp_path / "m.npz").architecture == net.architecture


def test_a_negative_or_fractional_padding_is_refused():
    for wrong in (-1, 0.5):
        with pytest.raises(ValueError, match="padding: must be a whole number of at least 0"):
            CNN((1, 8, 8), padding=wrong)
