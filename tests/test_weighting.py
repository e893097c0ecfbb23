"""How much each image counts: weights of images and classes, label smoothing, and their errors.

PyTorch's numbers for all of it are in ``test_golden_objectives.py``.
"""

import numpy as np
import pytest
from conftest import (
    QUICK,
    fit_gradient,
    layered_gradient,
    numeric_gradient,
    relative_error,
    small_net,
    weighted_cross_entropy,
    with_biases,
)

import tinycnn
from tinycnn import SGD, stratified_split
from tinycnn.inputs import Examples
from tinycnn.training.weighting import image_weights

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

# image shape, filters, hidden units, classes, N
NETWORKS = [
    ((1, 9, 8), (3,), 0, 2, 1),
    ((1, 9, 8), (3,), 5, 4, 19),
    ((3, 13, 11), (5,), 0, 11, 70),
    ((2, 17, 19), (4, 3), 9, 7, 133),
]

LABELS = [0, 0, 0, 0, 0, 1, 1, 3, 3, 3, 3, 0]  # of five classes, two without images
EVERYTHING = np.arange(len(LABELS))


def make_network(rng, shape, channels, hidden, n_classes, dtype="float64"):
    """Make a network whose biases are not zero."""
    net = small_net(shape, channels=channels, n_classes=n_classes, dtype=dtype, hidden=hidden)
    return with_biases(net, rng)


def small_data(rng, n=24):
    """Images (n, 1, 6, 6) of three classes."""
    return rng.random((n, 1, 6, 6)), np.arange(n) % 3


def trained(images, labels, **arguments):
    """Return parameters and history after three epochs, all images in one batch."""
    net = small_net((1, 6, 6), n_classes=3, hidden=4, dtype="float64")
    fixed = {"epochs": 3, "batch_size": len(images), "optimizer": "sgd", "verbose": False}
    history = tinycnn.fit(net, images, labels, **fixed, **arguments)
    return net.flat, history


def draw_weights(rng, n):
    """Draw weights of which every third is 0."""
    weights = rng.exponential(size=n)
    weights[1::3] = 0
    return weights


# ------------------------------------------------------------------- the fused loss and gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("network", NETWORKS)
def test_fit_computes_what_the_layers_compute(rng, network, weighted, smoothing, pixel, dtype):
    *arguments, N = network
    net = make_network(rng, *arguments, dtype)
    images = rng.integers(0, 256, (N, *arguments[0]), dtype=np.uint8)
    images = images if pixel == "uint8" else (images / np.float32(256)).astype(pixel)
    labels = rng.integers(0, net.architecture.n_classes, N)
    weights = draw_weights(rng, N) if weighted else None
    loss, gradient = layered_gradient(net, images, labels, weights, smoothing)
    fit_loss, fits = fit_gradient(net, images, labels, weights, smoothing)
    assert fit_loss == pytest.approx(loss, rel=TOLERANCE[dtype])
    assert relative_error(fits, gradient) < TOLERANCE[dtype]


def test_fits_gradient_is_that_of_finite_differences(rng):
    net = make_network(rng, (1, 6, 6), (2,), 3, 4)
    images, labels = rng.normal(size=(9, 1, 6, 6)), rng.integers(0, 4, 9)
    weights = draw_weights(rng, 9)
    _, gradient = fit_gradient(net, images, labels, weights, 0.3)

    def loss():
        return fit_gradient(net, images, labels, weights, 0.3)[0]

    assert relative_error(gradient, numeric_gradient(loss, net.flat)) < 1e-7


@pytest.mark.parametrize("N", [5, 65, 500])
def test_the_number_of_threads_changes_no_bit(rng, N):
    net = make_network(rng, (1, 12, 12), (4,), 7, 10, "float32")
    images, labels = rng.integers(0, 256, (N, 1, 12, 12), np.uint8), rng.integers(0, 10, N)
    weights = draw_weights(rng, N)
    loss, gradient = fit_gradient(net, images, labels, weights, 0.2)
    for n_threads in (2, 3, 8):
        other = fit_gradient(net, images, labels, weights, 0.2, n_threads=n_threads)
        assert other[0] == loss
        np.testing.assert_array_equal(other[1], gradient)


def test_weights_belong_to_images_and_not_to_places_in_a_batch(rng):
    net = make_network(rng, (1, 6, 6), (2,), 0, 4)
    images, labels = rng.random((50, 1, 6, 6)), rng.integers(0, 4, 50)
    weights, batch = draw_weights(rng, 50), rng.permutation(50)[:33]
    expected = layered_gradient(net, images[batch], labels[batch], weights[batch], 0.1)
    gradients = net.path.gradients(net.flat, 1, 0.1)
    batches = gradients.over(Examples(net.inputs(images), labels, batch, weights))
    loss, gradient, weight = batches.differentiate()
    assert loss == pytest.approx(expected[0], rel=1e-12)
    assert relative_error(gradient, expected[1]) < 1e-12
    assert weight == pytest.approx(weights[batch].sum(), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_of_1_and_no_smoothing_change_no_bit(rng, dtype):
    net = make_network(rng, (1, 9, 9), (3,), 4, 5, dtype)
    images, labels = rng.random((37, 1, 9, 9)), rng.integers(0, 5, 37)
    loss, gradient = fit_gradient(net, images, labels)
    other_loss, other = fit_gradient(net, images, labels, np.ones(37), 0.0)
    assert other_loss == loss
    np.testing.assert_array_equal(other, gradient)


def test_a_batch_whose_images_all_have_weight_0_moves_nothing(rng):
    net = make_network(rng, (1, 6, 6), (2,), 3, 4)
    images, labels = rng.random((20, 1, 6, 6)), rng.integers(0, 4, 20)
    loss, gradient = fit_gradient(net, images, labels, np.zeros(20), 0.1)
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_certain_networks_have_finite_losses(rng, dtype, smoothing):
    net = make_network(rng, (1, 6, 6), (2,), 0, 3, dtype)
    net.parameters["linear1.bias"][...] = [1e4, 0, -1e4]
    images, labels = rng.random((9, 1, 6, 6)).astype(dtype), np.arange(9) % 3
    loss, gradient = fit_gradient(net, images, labels, None, smoothing)
    expected, dlogits = weighted_cross_entropy(net.forward(images)[0], labels, None, smoothing)
    assert loss == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient[-3:], dlogits.sum(axis=0), rtol=1e-5)


# --------------------------------------------------------------------------------- weights in fit


def test_an_image_of_weight_2_counts_like_two_images(rng):
    images, labels = small_data(rng)
    weights = 1 + np.arange(24) % 2
    twice = np.repeat(np.arange(24), weights)
    flat, history = trained(images, labels, sample_weight=weights)
    expected, other = trained(images[twice], labels[twice])
    assert relative_error(flat, expected) < 1e-12
    assert history.train_loss == pytest.approx(other.train_loss, rel=1e-12)


def test_an_image_of_weight_0_is_as_if_it_were_not_there(rng):
    images, labels = small_data(rng)
    weights = np.ones(24)
    weights[[0, 7, 23]] = 0
    rest = np.flatnonzero(weights)
    flat, history = trained(images, labels, sample_weight=weights, label_smoothing=0.1)
    expected, other = trained(images[rest], labels[rest], label_smoothing=0.1)
    assert relative_error(flat, expected) < 1e-12
    assert history.train_loss == pytest.approx(other.train_loss, rel=1e-12)


def test_only_the_ratios_of_weights_count(rng):
    images, labels = small_data(rng)
    weights = draw_weights(rng, 24)
    expected, _ = trained(images, labels, sample_weight=weights)
    for factor in (1e-150, 3, 1e150):
        flat, _ = trained(images, labels, sample_weight=factor * weights)
        assert relative_error(flat, expected) < 1e-12


@pytest.mark.parametrize(
    "class_weight",
    [
        {0: 0.5, 2: 3},
        {np.int64(0): np.float32(0.5), np.uint8(2): 3},
        {0.0: 0.5, np.float64(2): 3},  # as labels that are floats count them
        [0.5, 1, 3],
        (0.5, 1.0, 3.0),
    ],
)
def test_class_weights_are_those_of_their_images(rng, class_weight):
    images, labels = small_data(rng)
    by_hand = np.array([0.5, 1, 3])[labels]
    expected, _ = trained(images, labels, sample_weight=by_hand)
    flat, _ = trained(images, labels, class_weight=class_weight)
    np.testing.assert_array_equal(flat, expected)


def test_classes_may_be_called_true_and_false():
    weights = image_weights(np.array([0, 1, 2]), np.arange(3), 3, None, {True: 5})
    np.testing.assert_array_equal(weights, [1, 5, 1])


def test_weights_of_images_and_classes_are_multiplied(rng):
    images, labels = small_data(rng)
    weights = draw_weights(rng, 24)
    product = weights * np.array([0.5, 1, 3])[labels]
    expected, _ = trained(images, labels, sample_weight=product)
    flat, _ = trained(images, labels, sample_weight=weights, class_weight=[0.5, 1, 3])
    np.testing.assert_array_equal(flat, expected)


def test_balanced_class_weights_are_those_of_scikit_learn():
    # compute_class_weight("balanced", classes=np.unique(LABELS), y=LABELS)
    of_class = np.array([0.66666667, 2.0, 0, 1.0, 0])
    weights = image_weights(np.array(LABELS), EVERYTHING, 5, None, "balanced")
    np.testing.assert_allclose(weights, of_class[LABELS], rtol=1e-7)


def test_balanced_class_weights_with_image_weights_are_those_of_scikit_learn():
    sample_weight = [1, 2, 0.5, 0, 1, 3, 1, 0.25, 1, 1, 2, 4]
    # compute_class_weight(..., sample_weight=sample_weight)
    of_class = np.array([0.65686275, 1.39583333, 0, 1.31372549, 0])
    weights = image_weights(np.array(LABELS), EVERYTHING, 5, sample_weight, "balanced")
    np.testing.assert_allclose(weights, of_class[LABELS] * sample_weight, rtol=1e-7)


def test_balanced_classes_count_the_same():
    weights = image_weights(np.array(LABELS), EVERYTHING, 5, None, "balanced")
    totals = np.bincount(LABELS, weights, 5)
    assert totals == pytest.approx([4, 4, 0, 4, 0], rel=1e-12)


def test_balanced_classes_count_the_same_among_the_images_to_train_on():
    labels = np.array([0] * 9 + [1])
    training = np.array([0, 1, 2, 9])
    weights = image_weights(labels, training, 2, None, "balanced")
    np.testing.assert_allclose(np.bincount(labels[training], weights[training]), [2, 2])


def test_fit_balances_what_it_trains_on_and_not_what_it_holds_out(rng):
    images, labels = rng.random((10, 1, 6, 6)), np.array([0] * 9 + [1])
    training, _ = stratified_split(labels, 0.6, 0)
    net = small_net((1, 6, 6), n_classes=2, dtype="float64")
    weights = np.array([1 / 3, 1])[labels[training]]  # three images of class 0 and one of class 1
    logits, _ = net.forward(images[training])
    expected, _ = weighted_cross_entropy(logits, labels[training], weights)
    history = tinycnn.fit(
        net,
        images,
        labels,
        epochs=1,
        optimizer=SGD(lr=0),
        class_weight="balanced",
        validation_fraction=0.6,
        label_smoothing=0.0,
        verbose=False,
    )
    assert history.train_loss == [pytest.approx(expected, rel=1e-12)]


def test_without_weights_there_are_none():
    assert image_weights(np.array(LABELS), EVERYTHING, 5, None, None) is None


def test_the_loss_of_an_epoch_is_the_weighted_mean_over_its_images(rng):
    images, labels = small_data(rng)
    weights = draw_weights(rng, 24)
    weights[3:14] = 0  # some batches have no weight at all
    net = small_net((1, 6, 6), n_classes=3, dtype="float64")
    expected, _ = weighted_cross_entropy(net.forward(images)[0], labels, weights, 0.2)
    history = tinycnn.fit(
        net,
        images,
        labels,
        epochs=2,
        batch_size=5,
        optimizer=SGD(lr=0),
        sample_weight=weights,
        label_smoothing=0.2,
        verbose=False,
    )
    assert history.train_loss == pytest.approx([expected, expected], rel=1e-12)


def test_validation_knows_neither_weights_nor_smoothing(rng):
    images, labels = small_data(rng)
    net = small_net((1, 6, 6), n_classes=3)
    history = tinycnn.fit(
        net,
        images,
        labels,
        epochs=1,
        sample_weight=draw_weights(rng, 24),
        class_weight="balanced",
        label_smoothing=0.3,
        validation_data=(images[:7], labels[:7]),
        verbose=False,
    )
    loss, accuracy = tinycnn.evaluate(net, images[:7], labels[:7])
    assert (history.validation_loss, history.validation_accuracy) == ([loss], [accuracy])


def test_what_is_given_stays_as_it_is(rng):
    images, labels = small_data(rng)
    given = {"sample_weight": draw_weights(rng, 24), "class_weight": np.array([0.5, 1, 3])}
    before = {name: weights.copy() for name, weights in given.items()}
    for weights in given.values():
        weights.setflags(write=False)
    trained(images, labels, **given)
    for name, weights in given.items():
        np.testing.assert_array_equal(weights, before[name])


def test_smoothing_keeps_a_network_from_being_certain(digits):
    images, labels = digits
    certainty = []
    for smoothing in (0.0, 0.5):
        net = small_net((1, 8, 8))
        tinycnn.fit(net, images, labels, **{**QUICK, "label_smoothing": smoothing})
        assert net.score(images, labels) > 0.9
        certainty.append(net.predict_proba(images).max(axis=1).mean())
    # The target of the true class is 0.5 + 0.5 / 10.
    assert certainty[1] < 0.6 < certainty[0]


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"sample_weight": [1] * 9}, ValueError, r"sample_weight: 10 images need .* got 9"),
        ({"sample_weight": 1}, ValueError, r"sample_weight: needs 1 dimension, got 0"),
        ({"sample_weight": np.ones((10, 1))}, ValueError, r"sample_weight: needs 1 dimension"),
        ({"sample_weight": [1] * 9 + [-2]}, ValueError, r"sample_weight\[9\] = -2"),
        ({"sample_weight": [1] * 9 + [np.nan]}, ValueError, r"sample_weight\[9\] = nan"),
        ({"sample_weight": [1] * 9 + [np.inf]}, ValueError, r"sample_weight\[9\] = inf"),
        ({"sample_weight": ["1"] * 10}, TypeError, r"sample_weight: needs real numbers"),
        ({"sample_weight": [1j] * 10}, TypeError, r"sample_weight: needs real numbers"),
        ({"sample_weight": "balanced"}, TypeError, r"sample_weight: needs real numbers"),
        (
            {"sample_weight": [0] * 10},
            ValueError,
            r"sample_weight, class_weight: .*to train on add up to 0",
        ),
        (
            {"class_weight": [0, 0]},
            ValueError,
            r"sample_weight, class_weight: .*to train on add up to 0",
        ),
        (
            {"class_weight": [0, 1], "sample_weight": [1, 0] * 5},
            ValueError,
            r"sample_weight, class_weight: .*to train on add up to 0",
        ),
        ({"class_weight": [1] * 3}, ValueError, r"class_weight: 2 classes need .* got 3"),
        ({"class_weight": [1, -1]}, ValueError, r"class_weight\[1\] = -1"),
        ({"class_weight": [1, np.nan]}, ValueError, r"class_weight\[1\] = nan"),
        ({"class_weight": 3}, ValueError, r"class_weight: needs 1 dimension"),
        ({"class_weight": ["1", "2"]}, TypeError, r"class_weight: needs real numbers"),
        ({"class_weight": "auto"}, ValueError, r"only word it takes is 'balanced', got 'auto'"),
        ({"class_weight": {2: 1}}, ValueError, r"keys are classes in \[0, 2\), got 2"),
        ({"class_weight": {-1: 1}}, ValueError, r"keys are classes in \[0, 2\), got -1"),
        ({"class_weight": {0.5: 1}}, ValueError, r"keys are classes in \[0, 2\), got 0.5"),
        ({"class_weight": {"1": 1}}, ValueError, r"keys are classes in \[0, 2\), got '1'"),
        ({"class_weight": {None: 1}}, ValueError, r"keys are classes in \[0, 2\), got None"),
        ({"class_weight": {1: -1}}, ValueError, r"class_weight\[1\]: .*not negative, got -1"),
        ({"class_weight": {1: np.nan}}, ValueError, r"class_weight\[1\]: .*finite.*got nan"),
        ({"class_weight": {1: np.inf}}, ValueError, r"class_weight\[1\]: .*finite.*got inf"),
        ({"class_weight": {1: "2"}}, TypeError, r"class_weight\[1\]: must be a real number"),
        ({"label_smoothing": 1}, ValueError, r"label_smoothing: must be in \[0, 1\), got 1"),
        ({"label_smoothing": -0.1}, ValueError, r"label_smoothing: .*\[0, 1\), got -0.1"),
        ({"label_smoothing": np.nan}, ValueError, r"label_smoothing: .*\[0, 1\), got nan"),
        ({"label_smoothing": "0.1"}, TypeError, r"label_smoothing: must be a real number"),
        ({"label_smoothing": None}, TypeError, r"label_smoothing: must be a real number"),
    ],
)
def test_bad_arguments_are_refused_before_anything_changes(rng, arguments, error, words):
    net, images = small_net((1, 6, 6), n_classes=2), rng.random((10, 1, 6, 6))
    before = net.flat.copy()
    with pytest.raises(error, match=words):
        tinycnn.fit(net, images, [0, 1] * 5, verbose=False, **arguments)
    np.testing.assert_array_equal(net.flat, before)


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        ({"sample_weight": [1e308] * 10}, "inf"),
        ({"sample_weight": [1e308] * 10, "class_weight": "balanced"}, "nan"),
        ({"sample_weight": [1e200] * 10, "class_weight": [1e200, 1]}, "inf"),
        ({"sample_weight": [1e307] * 10}, r"1e\+308"),
        ({"sample_weight": [1e-310] * 10}, "1e-309"),
        ({"sample_weight": [1e-200] * 10, "class_weight": [1e-200] * 2}, "0"),
    ],
)
def test_weights_whose_sum_is_nothing_to_compute_with_are_refused(rng, arguments, total):
    net, images = small_net((1, 6, 6), n_classes=2), rng.random((10, 1, 6, 6))
    with pytest.raises(ValueError, match=rf"images to train on add up to {total}.*about 1"):
        tinycnn.fit(net, images, [0, 1] * 5, verbose=False, **arguments)


def test_a_batch_of_next_to_no_weight_moves_nothing(rng):
    images, labels = rng.random((10, 1, 6, 6)), [0, 1] * 5
    nets = [small_net((1, 6, 6), n_classes=2) for _ in range(2)]
    for net, least in zip(nets, (0, 1e-320), strict=True):
        weights = [1] * 4 + [least] * 6
        tinycnn.fit(net, images, labels, batch_size=1, sample_weight=weights, verbose=False)
    np.testing.assert_array_equal(nets[1].flat, nets[0].flat)


def test_weights_that_are_0_but_for_images_held_out_are_refused(rng):
    net, images, labels = small_net((1, 6, 6), n_classes=2), rng.random((10, 1, 6, 6)), [0, 1] * 5
    _, held_out = stratified_split(labels, 0.2, 0)
    weights = np.zeros(10)
    weights[held_out] = 1
    with pytest.raises(ValueError, match=r"sample_weight, class_weight: .*to train on add up to 0"):
        tinycnn.fit(
            net, images, labels, sample_weight=weights, validation_fraction=0.2, verbose=False
        )
