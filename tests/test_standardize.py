"""Standardised input: what is learned, what the network then sees, and that it stays with it.

PyTorch's numbers of training with it are in ``test_golden_objectives.py``.
"""

import copy
import pickle

import numpy as np
import pytest
from conftest import (
    QUICK,
    fit_gradient,
    layered_gradient,
    layered_logits,
    lesson_logits,
    relative_error,
    small_net,
    split_gradient,
)

import tinycnn
from tinycnn.parameters import Parameters


def standardized(images, **arguments):
    """Make a network that has learned mean and deviation of some images."""
    net = small_net(images.shape[1:], n_classes=3, **({"kernel_size": 2} | arguments))
    net.standardize(images)
    return net


def colour_bytes(rng, n=40):
    """Images (n, 3, 9, 8) whose channels differ in brightness and contrast."""
    darkest = np.array([10, 120, 40])[:, None, None]
    contrast = np.array([50, 100, 200])[:, None, None]
    return (darkest + rng.integers(0, contrast, (n, 3, 9, 8))).astype(np.uint8)


# ---------------------------------------------------------------------------------- what is learned


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 1000])
def test_mean_and_deviation_are_numpys(rng, n):
    images = rng.normal([[[1.0]], [[-20.0]]], [[[0.1]], [[5.0]]], (n, 2, 5, 4))
    net = standardized(images)
    assert net.input_mean.dtype == net.input_std.dtype == np.float64
    np.testing.assert_allclose(net.input_mean, images.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(net.input_std, images.std((0, 2, 3)), rtol=1e-12)


def test_the_first_pixel_may_be_the_odd_one_out(rng):
    images = rng.normal(size=(600, 1, 6, 5))
    images[0, 0, 0, 0] = 1e9
    net = standardized(images)
    np.testing.assert_allclose(net.input_mean, images.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(net.input_std, images.std((0, 2, 3)), rtol=1e-12)


def test_a_small_deviation_beside_a_large_mean_is_not_lost(rng):
    noise = rng.normal(size=(700, 1, 6, 5))
    net = standardized(1e9 + noise, dtype="float64")
    assert net.input_mean == pytest.approx(1e9 + noise.mean(), rel=1e-15)
    assert net.input_std == pytest.approx(noise.std(), rel=1e-6)


def test_bytes_are_measured_as_the_floats_they_stand_for(rng):
    images = colour_bytes(rng, 300)
    net, other = standardized(images), standardized(images / 255)
    np.testing.assert_allclose(net.input_std, other.input_std, rtol=1e-13)
    np.testing.assert_array_equal(net.input_mean, np.round(images.mean((0, 2, 3))) / 255)
    assert np.abs(net.input_mean - other.input_mean).max() <= 0.5 / 255
    assert (net.input_mean != other.input_mean).all()


@pytest.mark.parametrize(("dtype", "unit"), [("uint8", 255), ("uint16", 1)])
def test_the_mean_of_whole_numbers_is_a_pixel_that_could_be_stored(rng, dtype, unit):
    """So that the zeros of the border are exactly such a pixel."""
    images = rng.integers(7, 200, (40, 3, 9, 8)).astype(dtype)
    net = standardized(images)
    stored = np.round(net.input_mean * unit)
    np.testing.assert_allclose(net.input_mean * unit, stored, rtol=1e-15)
    border = np.broadcast_to(stored[:, None, None], (1, 3, 9, 8)).astype(dtype)
    x = (border / unit - net.input_mean[:, None, None]) / net.input_std[:, None, None]
    np.testing.assert_allclose(x, 0, atol=1e-14)


def test_the_mean_of_floats_is_not_rounded(rng):
    images = rng.integers(7, 200, (40, 3, 9, 8)).astype(np.float64)
    np.testing.assert_allclose(standardized(images).input_mean, images.mean((0, 2, 3)), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", ">f8"])
def test_every_float_is_measured_in_float64(rng, dtype):
    images = (100 + rng.random((500, 1, 6, 5))).astype(dtype)
    net = standardized(images)
    exact = images.astype(np.float64)
    np.testing.assert_allclose(net.input_mean, [exact.mean()], rtol=1e-14)
    np.testing.assert_allclose(net.input_std, [exact.std()], rtol=1e-10)


def test_a_memory_map_and_every_memory_order_give_the_same(rng, tmp_path):
    images = colour_bytes(rng, 300)
    expected = standardized(images)
    np.save(tmp_path / "images.npy", images)
    for other in (
        np.load(tmp_path / "images.npy", mmap_mode="r"),
        np.asfortranarray(images),
        np.repeat(images, 2, axis=0)[::2],
    ):
        net = standardized(other)
        np.testing.assert_array_equal(net.input_mean, expected.input_mean)
        np.testing.assert_array_equal(net.input_std, expected.input_std)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_channel_of_equal_bytes_is_only_moved_to_0(rng, dtype):
    images = colour_bytes(rng, 300)
    images[:, 1] = 77
    net = standardized(images, dtype=dtype)
    assert net.input_mean[1] == pytest.approx(77 / 255, rel=1e-15)
    assert net.input_std[1] == 1
    assert net.input_std[0] != 1
    # A gradient of 0 for the taps of this channel: it shows 0 everywhere.
    for gradient in (fit_gradient, split_gradient, layered_gradient):
        flat = gradient(net, images, np.arange(300) % 3)[1]
        conv = Parameters(flat, net.architecture.parameter_shapes)["conv1.weight"]
        assert np.abs(conv[:, 1]).max() < 1e-6 * np.abs(conv).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.1, 1 / 3, -123.456, 1e-7])
def test_a_channel_of_equal_floats_is_only_moved_to_0(rng, value, dtype):
    images = rng.random((300, 3, 9, 8)).astype(dtype)
    images[:, 1] = value
    net = standardized(images, dtype=dtype)
    assert net.input_mean[1] == images[0, 1, 0, 0]
    assert net.input_std[1] == 1
    assert 0 < net.input_std[0] < 1


def test_learning_again_forgets_what_was_learned_before(rng):
    net, images = standardized(colour_bytes(rng)), rng.random((5, 3, 9, 8))
    net.standardize(images)
    np.testing.assert_allclose(net.input_mean, images.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(net.input_std, images.std((0, 2, 3)), rtol=1e-12)


def test_a_new_network_standardises_nothing():
    net = small_net((3, 9, 8))
    np.testing.assert_array_equal(net.input_mean, np.zeros(3))
    np.testing.assert_array_equal(net.input_std, np.ones(3))


# -------------------------------------------------------------------------- what the network sees


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64", "float16", ">f4"])
@pytest.mark.parametrize("hidden", [0, 5])
def test_the_network_sees_mean_0_and_deviation_1(rng, pixel, dtype, hidden):
    images = colour_bytes(rng)
    if pixel != "uint8":
        images = (images / np.float32(256)).astype(pixel)
    net = standardized(images, dtype=dtype, hidden=hidden)
    by_hand = images / 255 if pixel == "uint8" else images.astype(np.float64)
    mean, std = by_hand.mean((0, 2, 3)), by_hand.std((0, 2, 3))
    if pixel == "uint8":
        mean = np.round(255 * mean) / 255
    by_hand = (by_hand - mean[:, None, None]) / std[:, None, None]
    other = small_net((3, 9, 8), kernel_size=2, n_classes=3, dtype=dtype, hidden=hidden)
    labels = np.arange(40) % 3
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    expected = lesson_logits(other, by_hand)
    assert relative_error(net.forward(images)[0], expected) < tolerance
    assert relative_error(net.logits(images), expected) < tolerance
    expected_loss, expected_gradient = layered_gradient(other, by_hand, labels)
    for gradient_of in (layered_gradient, split_gradient, fit_gradient):
        loss, gradient = gradient_of(net, images, labels)
        assert loss == pytest.approx(expected_loss, rel=tolerance)
        assert relative_error(gradient, expected_gradient) < tolerance


def test_values_that_overflow_do_so_as_in_the_layers(rng):
    """The bound from which the kernels look out for infinities includes mean and deviation."""
    net = small_net((1, 9, 8), channels=(3,), n_classes=3)
    net.set_scaling([0], [1e-20])
    net.parameters["conv1.weight"][...] *= 1e20
    images = rng.integers(0, 256, (20, 1, 9, 8), np.uint8)
    with np.errstate(all="ignore"):
        expected = layered_logits(net, images)
        assert np.isnan(expected).any()
        np.testing.assert_array_equal(np.isnan(net.logits(images)), np.isnan(expected))


def test_images_and_what_is_passed_in_stay_as_they_are(rng):
    images = rng.random((5, 3, 9, 8))
    before = images.copy()
    images.setflags(write=False)
    net = standardized(images, dtype="float64")
    net.forward(images)
    net.predict(images)
    np.testing.assert_array_equal(images, before)


# -------------------------------------------------------------------------------- it stays with it


def test_training_on_standardised_images_learns(digits):
    images, labels = digits
    net = small_net()
    net.standardize(images)
    mean, std = net.input_mean.copy(), net.input_std.copy()
    tinycnn.fit(net, images, labels, **QUICK)
    assert net.score(images, labels) > 0.95
    np.testing.assert_array_equal(net.input_mean, mean)
    np.testing.assert_array_equal(net.input_std, std)


@pytest.mark.parametrize("padding", [0, 1, "same"])
@pytest.mark.parametrize(("offset", "dtype"), [(300, "uint16"), (30_000, "uint16"), (1e6, "f8")])
def test_digits_with_an_offset_are_learned_as_well_as_without(digits, offset, dtype, padding):
    images, labels = (16 * digits[0]).astype(dtype), digits[1]
    parts = slice(0, 1200), slice(1200, None)
    results = []
    for data in (images, (images + np.array(offset, dtype)).astype(dtype)):
        train, test = (data[part] for part in parts)
        net = small_net(padding=padding, dtype="float64")
        net.standardize(train)
        tinycnn.fit(net, train, labels[parts[0]], **QUICK)
        results.append((net.logits(test), net.score(test, labels[parts[1]])))
    (logits, accuracy), (logits_with, accuracy_with) = results
    assert accuracy > 0.9
    assert accuracy_with == pytest.approx(accuracy, abs=0.005)
    assert relative_error(logits_with, logits) < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [0, 4])
def test_copies_pickles_and_files_predict_the_same_bits(rng, tmp_path, dtype, hidden):
    images = colour_bytes(rng)
    net = standardized(images, dtype=dtype, hidden=hidden)
    expected = net.predict_proba(images)
    tinycnn.save_model(net, tmp_path / "m.npz")
    copies = [copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    for other in [*copies, tinycnn.load_model(tmp_path / "m.npz")]:
        assert other.architecture == net.architecture
        np.testing.assert_array_equal(other.input_mean, net.input_mean)
        np.testing.assert_array_equal(other.input_std, net.input_std)
        np.testing.assert_array_equal(other.predict_proba(images), expected)


def test_learning_anew_leaves_copies_alone(rng):
    images = colour_bytes(rng)
    net = standardized(images)
    copies = [copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    expected = net.input_mean.copy()
    net.standardize(rng.random((5, 3, 9, 8)))
    for other in copies:
        np.testing.assert_array_equal(other.input_mean, expected)


# ------------------------------------------------------------------------------------------ errors


def with_pixel(n, value):
    """Make images (n, 3, 9, 8) of zeros but for one pixel of the last one."""
    images = np.zeros((n, 3, 9, 8))
    images[-1, 1, 2, 3] = value
    return images


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((0, 3, 9, 8)), ValueError, r"images: at least one image is needed, got 0"),
        (np.zeros((3, 9, 8)), ValueError, r"images: needs 4 dimensions"),
        (np.zeros((5, 1, 9, 8)), ValueError, r"images: this network takes .* got \(1, 9, 8\)"),
        (np.zeros((5, 3, 9, 8), int), TypeError, r"images: dtype int64 is neither bytes"),
        (with_pixel(300, np.nan), ValueError, r"finite .* images\[299, 1, 2, 3\] = nan"),
        (with_pixel(300, -np.inf), ValueError, r"finite .* images\[299, 1, 2, 3\] = -inf"),
        (
            with_pixel(3, 1e300),
            ValueError,
            r"finite as float32, got images\[2, 1, 2, 3\] = 1e\+300",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused_and_nothing_is_forgotten(rng, images, error, words):
    net = standardized(colour_bytes(rng))
    before = net.input_mean.copy(), net.input_std.copy()
    with pytest.raises(error, match=words):
        net.standardize(images)
    np.testing.assert_array_equal((net.input_mean, net.input_std), before)
