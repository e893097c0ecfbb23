"""The network as an object: parameters, shapes, predictions, and what it refuses."""

import copy
import pickle
import re

import numpy as np
import pytest
from conftest import (
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
from tinycnn import CNN, Conv, Dropout, Flatten, Linear, MaxPool, ReLU

TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

# (C, H, W) and layers: what networks are made of, in every order that is usual.
NETWORKS = {
    "one block": ((1, 9, 8), [Conv(3, (3, 2)), ReLU(), MaxPool(), Flatten(), Linear(4)]),
    "two blocks, two hidden": (
        (3, 13, 12),
        [
            *(Conv(4, padding="same"), ReLU(), MaxPool()),
            *(Conv(5, (2, 3), padding=1), ReLU(), MaxPool()),
            *(Flatten(), Linear(6), ReLU(), Linear(7), ReLU(), Linear(4)),
        ],
    ),
    "two convolutions a block, no bias": (
        (1, 10, 10),
        [
            *(Conv(3, bias=False), ReLU(), Conv(4, padding=(1, 0), bias=False), ReLU(), MaxPool()),
            *(Flatten(), Linear(4, bias=False)),
        ],
    ),
    "pool before ReLU": ((2, 8, 8), [Conv(3), MaxPool(), ReLU(), Flatten(), Linear(4)]),
    "no ReLU": ((1, 7, 7), [Conv(2), MaxPool(), Flatten(), Linear(4)]),
    "no pool": ((1, 6, 6), [Conv(2), ReLU(), Flatten(), Linear(4)]),
    "no conv": ((1, 5, 5), [Flatten(), Linear(8), ReLU(), Linear(4)]),
    "logits from a conv": ((1, 5, 5), [Conv(4, 5), Flatten()]),
}
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)


def make_network(name, rng, dtype="float64"):
    image_shape, layers = NETWORKS[name]
    return with_biases(CNN(image_shape, layers, dtype=dtype), rng)


# -------------------------------------------------------------------------- parameters and layers


def test_parameters_are_named_views_over_one_flat_vector():
    net = CNN((3, 20, 18), channels=(4, 6), kernel_size=[3, (2, 4)], hidden=(9, 7), n_classes=5)
    shapes = {name: parameter.shape for name, parameter in net.parameters.items()}
    assert list(shapes.items()) == [
        ("conv1.weight", (4, 3, 3, 3)),
        ("conv1.bias", (4,)),
        ("conv2.weight", (6, 4, 2, 4)),
        ("conv2.bias", (6,)),
        ("linear1.weight", (9, 6 * 4 * 2)),
        ("linear1.bias", (9,)),
        ("linear2.weight", (7, 9)),
        ("linear2.bias", (7,)),
        ("linear3.weight", (5, 7)),
        ("linear3.bias", (5,)),
    ]
    assert net.flat.size == sum(parameter.size for parameter in net.parameters.values())
    assert net.flat.size == net.architecture.n_parameters
    net.flat[:] = np.arange(net.flat.size)
    joined = np.concatenate([p.reshape(-1) for p in net.parameters.values()])
    np.testing.assert_array_equal(joined, net.flat)
    net.parameters["linear3.bias"][...] = -1
    assert (net.flat[-5:] == -1).all()


def test_parameters_cannot_be_torn_off_the_flat_vector(rng):
    net = small_net()
    flat, images = net.flat, rng.random((3, 1, 8, 8))
    with pytest.raises(TypeError, match="assignment"):
        net.parameters["linear1.bias"] = np.ones(10)
    net.flat = np.full(flat.size, 0.25)
    net.flat += 0.25
    assert net.flat is flat
    assert flat.dtype == np.float32
    assert (net.parameters["linear1.bias"] == 0.5).all()
    np.testing.assert_allclose(net.logits(images), net.forward(images)[0], rtol=1e-5)
    for wrong in (np.zeros(3), [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"flat: needs shape \(810,\), got \(3,\)"):
            net.flat = wrong
    with pytest.raises(TypeError, match="flat: needs real numbers"):
        net.flat = ["a"] * 810
    assert (flat == 0.5).all()


@pytest.mark.parametrize(
    "name",
    ["architecture", "layers", "input_mean", "input_std", "parameters", "why_layered"],
)
def test_what_makes_a_network_cannot_be_replaced(name):
    net = small_net()
    with pytest.raises(AttributeError):
        setattr(net, name, getattr(net, name))


def test_layers_and_sugar_make_the_same_network():
    options = {"dtype": "float64", "seed": 3}
    sugar = CNN((1, 9, 8), channels=(3, 4), hidden=5, padding="same", n_classes=2, **options)
    layers = [Conv(3, 3, "same"), ReLU(), MaxPool(), Conv(4, 3, "same"), ReLU(), MaxPool()]
    layers += [Flatten(), Linear(5), ReLU(), Linear(2)]
    listed = CNN((1, 9, 8), layers, **options)
    assert sugar.layers == listed.layers == tuple(layers)
    assert sugar.architecture == listed.architecture
    np.testing.assert_array_equal(sugar.flat, listed.flat)


@pytest.mark.parametrize("name", ["one block", "two blocks, two hidden", "no conv"])
def test_the_usual_networks_run_on_the_fast_path(name):
    net = CNN(*NETWORKS[name])
    assert net.why_layered == ""
    assert "layer by layer" not in repr(net)


def test_without_bias_there_are_no_bias_entries():
    assert list(small_net(bias=False).parameters) == ["conv1.weight", "linear1.weight"]


def test_initial_weights_follow_he_and_the_seed():
    net = small_net((3, 40, 40), channels=(64,), kernel_size=5, seed=1)
    conv, linear = net.parameters["conv1.weight"], net.parameters["linear1.weight"]
    assert conv.std() == pytest.approx(np.sqrt(2 / 75), rel=0.05)
    assert linear.std() == pytest.approx(np.sqrt(1 / linear.shape[1]), rel=0.05)
    assert not net.parameters["conv1.bias"].any()
    assert (small_net(seed=4).flat == small_net(seed=4).flat).all()
    assert (small_net(seed=4).flat != small_net(seed=5).flat).any()
    assert (small_net(seed=None).flat != small_net(seed=None).flat).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_and_floats_are_the_same_grey(rng, dtype):
    net = small_net((1, 9, 8), dtype=dtype)
    images = rng.integers(0, 256, (5, 1, 9, 8), dtype=np.uint8)
    logits, _ = net.forward(images)
    as_floats, _ = net.forward(images / np.float64(255))
    assert logits.dtype == dtype
    np.testing.assert_allclose(logits, as_floats, rtol=1e-5)


def test_predictions_agree_with_each_other_and_with_forward(rng):
    net = small_net((1, 10, 9), n_classes=4, dtype="float64")
    images = rng.normal(size=(300, 1, 10, 9))  # several blocks
    logits, _ = net.forward(images)
    np.testing.assert_allclose(net.logits(images), logits, rtol=1e-12)
    probabilities = net.predict_proba(images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    predictions = net.predict(images)
    np.testing.assert_array_equal(predictions, probabilities.argmax(axis=1))
    assert net.score(images, predictions) == 1.0
    assert net.score(images, (predictions + 1.0) % 4) == 0.0
    assert net.predict(images[:0]).shape == (0,)


# ------------------------------------------------------------------------- forward and backward


@EVERY_NETWORK
def test_gradients_are_those_of_finite_differences(rng, name):
    net = make_network(name, rng)
    images, labels = rng.normal(size=(5, *net.architecture.image_shape)), np.array([0, 3, 1, 2, 3])
    expected = numeric_gradient(lambda: split_gradient(net, images, labels)[0], net.flat)
    assert expected.any()
    for gradient in (split_gradient, fit_gradient, layered_gradient):
        assert relative_error(gradient(net, images, labels)[1], expected) < 1e-7


@EVERY_NETWORK
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "uint16", "float32", "float64"])
def test_forward_and_backward_are_fits_own_gradient(rng, name, pixel, dtype):
    net = make_network(name, rng, dtype)
    N = 67
    images = rng.integers(0, 256, (N, *net.architecture.image_shape)).astype(pixel)
    net.standardize(images)
    labels = rng.integers(0, 4, N)
    expected_loss, expected = layered_gradient(net, images, labels)
    for loss, gradient in (
        split_gradient(net, images, labels),
        fit_gradient(net, images, labels),
    ):
        assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
        assert gradient.dtype == dtype
        assert relative_error(gradient, expected) < TOLERANCE[dtype]


@EVERY_NETWORK
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pixel", ["uint8", "uint16", ">f4", "float64"])
def test_logits_are_those_of_the_lesson(rng, name, pixel, dtype):
    net = make_network(name, rng, dtype)
    images = rng.integers(0, 256, (67, *net.architecture.image_shape)).astype(pixel)
    net.standardize(images)
    expected = lesson_logits(net, images)
    for logits in (net.forward(images)[0], net.logits(images), layered_logits(net, images)):
        assert logits.dtype == dtype
        assert relative_error(logits, expected) < TOLERANCE[dtype]


@EVERY_NETWORK
@pytest.mark.parametrize("N", [1, 65, 500])
def test_the_number_of_threads_changes_no_bit(rng, name, N):
    net = make_network(name, rng, "float32")
    images = rng.integers(0, 256, (N, *net.architecture.image_shape), np.uint8)
    labels = rng.integers(0, 4, N)

    def everything(n_threads):
        logits, state = net.forward(images, n_threads=n_threads)
        loss, gradient = fit_gradient(net, images, labels, n_threads=n_threads)
        return (
            logits,
            net.backward(logits, state).flat,
            net.logits(images, n_threads),
            net.features(images, n_threads),
            loss,
            gradient,
        )

    expected = everything(1)
    for n_threads in (2, 3, 8):
        for one, other in zip(expected, everything(n_threads), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_backward_pass_gives_gradients_by_name(rng):
    net = small_net((1, 8, 8), hidden=3)
    logits, state = net.forward(rng.random((4, 1, 8, 8)))
    gradients = net.backward(np.ones_like(logits), state)
    assert list(gradients) == list(net.parameters)
    for name, parameter in net.parameters.items():
        assert gradients[name].shape == parameter.shape
    assert gradients.flat.dtype == net.flat.dtype
    assert not np.shares_memory(gradients.flat, net.flat)
    np.testing.assert_array_equal(gradients["linear2.bias"], np.full(10, 4, np.float32))
    assert set(gradients.of("linear2")) == {"weight", "bias"}


def test_a_loss_of_ones_own_is_trained_in_ten_lines(digits):
    """Hinge loss after Crammer and Singer: the margin of the true class over the best other one."""
    images, labels = digits[0][:400], digits[1][:400]
    net, rows = small_net(), np.arange(400)
    optimizer = tinycnn.Adam(lr=0.01)
    for _ in range(60):
        logits, state = net.forward(images)
        margins = logits - logits[rows, labels][:, None] + 1
        margins[rows, labels] = 0
        rival = margins.argmax(axis=1)
        wrong = (margins[rows, rival] > 0) / np.float32(400)
        dlogits = np.zeros_like(logits)
        dlogits[rows, rival], dlogits[rows, labels] = wrong, -wrong
        optimizer.step(net.flat, net.backward(dlogits, state).flat)
    assert net.score(images, labels) > 0.95


@pytest.mark.parametrize(
    ("dlogits", "error", "words"),
    [
        (np.zeros((3, 10), np.float32), ValueError, r"\(4, 10\).*\(3, 10\)"),
        (np.zeros((4, 9), np.float32), ValueError, r"\(4, 10\).*\(4, 9\)"),
        (np.zeros(10, np.float32), ValueError, "dlogits: needs 2 dimensions"),
        (np.zeros((4, 10), int), TypeError, "dlogits: needs dtype float32 or float64"),
        (np.zeros((4, 10)), TypeError, "float32.*float64|float64.*float32"),
        ("zeros", TypeError, "dlogits"),
    ],
)
def test_a_gradient_of_the_logits_that_does_not_fit_is_refused(rng, dlogits, error, words):
    net = small_net()
    _, state = net.forward(rng.random((4, 1, 8, 8)))
    with pytest.raises(error, match=words):
        net.backward(dlogits, state)


def test_dropout_is_drawn_with_an_rng_and_left_out_without(rng):
    net = CNN((1, 6, 6), [Flatten(), Dropout(0.5), Linear(3)], dtype="float64")
    images = rng.random((5, 1, 6, 6))
    expected = images.reshape(5, -1) @ net.parameters["linear1.weight"].T
    np.testing.assert_allclose(net.forward(images)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(net.logits(images), expected, rtol=1e-12)
    drawn = [net.forward(images, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    assert (drawn[0] != expected).any()


def test_what_is_dropped_forward_is_dropped_backward(rng):
    net = CNN((1, 6, 6), [Conv(2), ReLU(), Dropout(0.4), Flatten(), Linear(3)], dtype="float64")
    images, labels = rng.random((5, 1, 6, 6)), np.array([0, 1, 2, 0, 1])

    def forward():
        return net.forward(images, rng=np.random.default_rng(7))

    def loss():
        logits = forward()[0]
        return tinycnn.functional.cross_entropy_forward(logits, labels)[0]

    logits, state = forward()
    _, cache = tinycnn.functional.cross_entropy_forward(logits, labels)
    gradient = net.backward(tinycnn.functional.cross_entropy_backward(1.0, cache), state).flat
    assert relative_error(gradient, numeric_gradient(loss, net.flat)) < 1e-7


def test_predicting_disturbs_no_state(rng):
    net = small_net(dtype="float64")
    images = rng.normal(size=(4, 1, 8, 8))
    logits, state = net.forward(images)
    before = net.backward(logits, state)
    net.predict(rng.normal(size=(50, 1, 8, 8)))
    net.forward(rng.normal(size=(50, 1, 8, 8)))
    for name, gradient in net.backward(logits, state).items():
        np.testing.assert_array_equal(gradient, before[name])


# -------------------------------------------------------------------------- copies, names, scaling


def test_parameters_may_arrive_at_any_address(rng):
    net, images = small_net(), rng.random((5, 1, 8, 8), np.float32)
    buffers = []
    pickled = pickle.dumps(net, protocol=5, buffer_callback=buffers.append)
    shifted = [np.frombuffer(b"." + bytes(each), np.uint8)[1:] for each in buffers]
    other = pickle.loads(pickled, buffers=shifted)
    np.testing.assert_array_equal(other.logits(images), net.logits(images))


def test_copies_and_pickles_are_whole_and_apart(rng):
    net = small_net(class_names=list("abcdefghij"))
    images = rng.random((4, 1, 8, 8))
    expected = net.logits(images)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.logits(images), expected)
        assert other.class_names == net.class_names
        other.parameters["linear1.bias"][...] = 1  # still a view over other.flat
        assert (other.flat[-10:] == 1).all()
    np.testing.assert_array_equal(net.logits(images), expected)


def test_default_class_names_are_numbers():
    assert small_net(n_classes=3).class_names == ("0", "1", "2")
    assert small_net(n_classes=2, class_names=["cat", "dog"]).class_names == ("cat", "dog")


@EVERY_NETWORK
def test_repr_tells_how_to_make_another_one(rng, name):
    net = make_network(name, rng)
    assert eval(repr(net)).architecture == net.architecture


@pytest.mark.parametrize("dtype", [np.float32, "float64", float, np.dtype(">f4")])
def test_scaling_is_set_and_kept_read_only(rng, dtype):
    net = small_net((2, 8, 8), dtype=dtype)
    assert net.flat.dtype.isnative
    assert not net.is_standardized
    mean, std = np.array([0.5, -1.0]), [2, 0.25]
    net.set_scaling(mean, std)
    mean[...] = 9  # what was passed in is no longer looked at
    assert net.is_standardized
    assert net.input_mean.tolist() == [0.5, -1.0]
    assert net.input_std.tolist() == [2.0, 0.25]
    for array in (net.input_mean, net.input_std):
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    images = rng.random((3, 2, 8, 8))
    by_hand = (images - [[[0.5]], [[-1.0]]]) / [[[2.0]], [[0.25]]]
    expected = layered_logits(small_net((2, 8, 8), dtype=dtype), by_hand)
    assert relative_error(net.logits(images), expected) < 1e-5
    net.set_scaling([0, 0], [1, 1])
    assert not net.is_standardized


@pytest.mark.parametrize(
    ("mean", "std", "error", "words"),
    [
        (0.5, [1, 1], ValueError, r"mean: needs one number for each of 2 channels, got 0\.5"),
        ([0], [1, 1], ValueError, r"mean: needs one number for each of 2 channels, got \[0\]"),
        ([0, 0], [[1, 1]], ValueError, r"std: needs one number for each of 2 channels"),
        ([0, np.nan], [1, 1], ValueError, r"mean: all values must be finite.*mean\[1\] = nan"),
        ([0, 0], [1, np.inf], ValueError, r"std: all values must be finite.*std\[1\] = inf"),
        ([0, 0], [1, 0], ValueError, r"std: must be above 0, got \[1, 0\]"),
        ([0, 0], [1, -1], ValueError, r"std: must be above 0, got \[1, -1\]"),
        ("ab", [1, 1], TypeError, "mean: needs real numbers"),
        ([0, 0], None, TypeError, "std: needs real numbers"),
    ],
)
def test_a_scaling_that_does_not_fit_is_refused_and_the_old_one_stays(mean, std, error, words):
    net = small_net((2, 8, 8))
    net.set_scaling([0.1, 0.2], [3, 4])
    with pytest.raises(error, match=words):
        net.set_scaling(mean, std)
    assert net.input_mean.tolist() == [0.1, 0.2]
    assert net.input_std.tolist() == [3, 4]


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"image_shape": (28, 28)},
            ValueError,
            r"image_shape: must be \(channels, rows",
        ),
        (
            {"image_shape": 28},
            ValueError,
            r"image_shape: must be .* got 28",
        ),
        ({"image_shape": "mnist"}, ValueError, r"image_shape: must be .* got 'mnist'"),
        ({"image_shape": (1, 28, 0)}, ValueError, r"image_shape: .* at least 1, got 0"),
        ({"channels": ()}, ValueError, r"channels: must be a sequence of at least one whole"),
        ({"channels": 8}, ValueError, r"such as \(8, 16\), got 8"),
        ({"channels": (8, 2.5)}, ValueError, r"channels: must be a whole number"),
        ({"channels": ("8",)}, TypeError, r"channels: must be a real number, got '8'"),
        (
            {"kernel_size": (3, 3, 3)},
            ValueError,
            r"kernel_size: must be one whole number or",
        ),
        ({"kernel_size": [3, 3]}, ValueError, r"kernel_size: a list needs one entry for each of 1"),
        ({"kernel_size": "3"}, TypeError, r"kernel_size: must be a real number, got '3'"),
        (
            {"kernel_size": 0},
            ValueError,
            r"kernel_size: must be a whole number .* 1, got 0",
        ),
        (
            {"kernel_size": 29},
            ValueError,
            r"conv1: its 29 x 29 kernel does not fit maps",
        ),
        ({"kernel_size": 28}, ValueError, r"pool1: maps of 1 x 1 leave no 2x2 window"),
        (
            {"channels": (4,) * 4},
            ValueError,
            r"conv4: its 3 x 3 kernel .* maps of 1 x 1; use",
        ),
        (
            {"padding": "valid"},
            ValueError,
            r"padding: must be 'same', a number or two",
        ),
        ({"padding": -1}, ValueError, r"padding: must be a whole number of at least 0, got -1"),
        ({"padding": 0.5}, ValueError, r"padding: must be a whole number of at least 0, got 0.5"),
        ({"n_classes": 0}, ValueError, r"n_classes: .* at least 1, got 0"),
        (
            {"n_classes": None},
            TypeError,
            r"CNN: needs layers=.* n_classes=None",
        ),
        ({"channels": None}, TypeError, r"CNN: needs layers=\[...\], or channels="),
        ({"bias": "no"}, TypeError, r"bias: must be True or False, got 'no'"),
        ({"seed": -1}, ValueError, r"seed: must be a whole number of at least 0, got -1"),
        ({"seed": "a"}, TypeError, r"seed: must be a real number, got 'a'"),
        ({"dtype": "float16"}, TypeError, r"dtype: must be 'float32' or 'float64', got 'float16'"),
        ({"dtype": "real"}, TypeError, r"dtype: must be 'float32' or 'float64', got 'real'"),
        ({"image_shape": [[1], 8, 8]}, ValueError, r"image_shape: must be .*got \[\[1\], 8, 8\]"),
        ({"channels": [[1], 2]}, ValueError, r"channels: must be a sequence of at least one whole"),
        ({"hidden": [[1], [2, 3]]}, TypeError, r"hidden: must be a real number, got \[\[1\], \["),
        ({"kernel_size": b"33"}, TypeError, r"kernel_size: must be a real number, got b'33'"),
        ({"seed": 10**5000}, ValueError, r"seed: .* got a value of type int"),
        ({"class_names": ["a"]}, ValueError, r"class_names: 10 classes need as many names"),
        ({"class_names": "abcdefghij"}, ValueError, r"class_names: 10 classes need as many names"),
        ({"class_names": 10}, ValueError, r"class_names: 10 classes need as many names, got 10"),
        ({"layers": [Linear(10)]}, TypeError, "CNN: give layers or channels, not both"),
        (
            {"layers": [Flatten(), Linear(10)], "channels": None, "n_classes": 9},
            ValueError,
            "n_classes: the last layer gives 10 values, got n_classes=9",
        ),
        (
            {"layers": [Flatten(), Linear(10)], "channels": None, "hidden": 9},
            TypeError,
            "CNN: give layers or hidden, not both",
        ),
    ],
)
def test_an_impossible_network_is_refused_in_clear_words(arguments, error, words):
    good = {"image_shape": (1, 28, 28), "channels": (8,), "n_classes": 10}
    with pytest.raises(error, match=words):
        CNN(**(good | arguments))


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ([], ValueError, "layers: needs at least one layer, got none"),
        ([Flatten()] * 5000, ValueError, "layers: at most 4,096, got 5,000"),
        (Linear(10), TypeError, "layers: must be a list of layers, got Linear"),
        (None, TypeError, r"CNN: needs layers=\[...\]"),
        ("conv relu", TypeError, r"layers\[0\]: must be a layer, such as Conv\(8\)"),
        (
            [Flatten, Linear(10)],
            TypeError,
            r"layers\[0\]: .*class Flatten; call it: Flatten\(",
        ),
        ([Flatten(), 10], TypeError, r"layers\[1\]: must be a layer, .*got 10"),
        (
            [Linear(10)],
            ValueError,
            r"linear1: it takes vectors.* put Flatten\(\) before",
        ),
        ([Conv(8), ReLU()], ValueError, r"last one must give one value for each class.*relu1"),
        ([Flatten(), Conv(3)], ValueError, r"layers: conv1: it takes maps .* before Flatten\(\)"),
        ([Conv(3), MaxPool(), MaxPool()] * 2, ValueError, r"layers: maxpool3: maps of 1 x 1"),
    ],
)
def test_an_impossible_list_of_layers_is_refused_in_clear_words(layers, error, words):
    with pytest.raises(error, match=words):
        CNN((1, 16, 16), layers)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (np.zeros((2, 8, 8)), ValueError, r"images: needs 4 dimensions \(N, C, H, W\), got 3"),
        (np.zeros((2, 3, 8, 8)), ValueError, r"of shape \(1, 8, 8\).*got \(3, 8, 8\)"),
        (
            np.zeros((2, 1, 8, 8), int),
            TypeError,
            r"int64 is neither bytes.*astype\('uint8'\)",
        ),
        (np.full((2, 1, 8, 8), np.nan), ValueError, r"images\[0, 0, 0, 0\] = nan"),
        (np.full((2, 1, 8, 8), 1e300), ValueError, r"finite as float32, got .* = 1e\+300"),
    ],
)
def test_images_that_do_not_fit_are_refused_in_clear_words(images, error, words):
    net = small_net()
    for method in (net.predict, net.predict_proba, lambda x: net.score(x, [0, 1])):
        with pytest.raises(error, match=words):
            method(images)


@pytest.mark.parametrize(
    ("C", "shape", "way"),
    [
        (1, (1, 8, 9), "images[None]"),
        (1, (8, 9), "images[None, None]"),
        (1, (5, 8, 9), "images[:, None]"),
        (1, (5, 8, 9, 1), "images.transpose(0, 3, 1, 2)"),
        (1, (5, 72), "images.reshape(-1, 1, 8, 9)"),
        (3, (5, 8, 9, 3), "images.transpose(0, 3, 1, 2)"),
        (3, (8, 9, 3), "images.transpose(2, 0, 1)[None]"),
        (3, (5, 216), "images.reshape(-1, 3, 8, 9)"),
    ],
)
def test_images_in_another_layout_are_refused_with_what_brings_them_to_ours(C, shape, way):
    net, images = CNN((C, 8, 9), channels=(2,), n_classes=3), np.zeros(shape)
    with pytest.raises(ValueError, match=f"; give {re.escape(way)}$"):
        net.predict(images)
    assert net.predict(eval(way)).shape == (5 if shape[0] == 5 else 1,)


def test_images_of_another_size_are_given_no_false_way_out():
    with pytest.raises(ValueError, match=r"got \(1, 9, 9\)$"):
        small_net().predict(np.zeros((2, 1, 9, 9)))


def test_score_refuses_labels_that_do_not_fit(rng):
    net, images = small_net(), rng.random((2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"2 images need as many labels, got 3"):
        net.score(images, [0, 1, 2])
    with pytest.raises(ValueError, match=r"\[0, 10\), got labels\[1\] = 10"):
        net.score(images, [0, 10])
    with pytest.raises(ValueError, match=r"at least one image"):
        net.score(images[:0], [])


def test_a_forward_pass_needs_an_image():
    with pytest.raises(ValueError, match="images: at least one image is needed, got 0"):
        small_net().forward(np.zeros((0, 1, 8, 8)))


@pytest.mark.parametrize(
    ("mean", "std", "dtype"),
    [(0, 1e-40, "float32"), (-1e308, 1e-10, "float64")],
)
def test_a_scaling_beyond_all_numbers_is_refused(mean, std, dtype):
    net = small_net(dtype=dtype)
    with pytest.raises(ValueError, match=f"std: .* are beyond {dtype}; bring the images"):
        net.set_scaling([mean], [std])
    assert not net.is_standardized


def test_images_whose_deviation_is_beyond_all_numbers_are_named(rng):
    net = small_net(dtype="float64")
    with pytest.raises(ValueError, match="images: their values are too large to compute a dev"):
        net.standardize(1e300 * rng.random((5, 1, 8, 8)))
    small = (1e-40 * rng.random((5, 1, 8, 8))).astype(np.float32)
    with pytest.raises(ValueError, match="beyond float32; bring the images to another scale"):
        small_net().standardize(small)
