"""The network as an object: parameters, shapes, predictions, and what it refuses."""

import copy
import pickle

import numpy as np
import pytest

from tinycnn import CNN


def test_parameters_are_named_views_over_one_flat_vector():
    net = CNN((3, 20, 18), channels=(4, 6), kernel_size=[3, (2, 4)], n_classes=5)
    shapes = {name: parameter.shape for name, parameter in net.parameters.items()}
    assert shapes == {
        "conv1.weight": (4, 3, 3, 3),
        "conv1.bias": (4,),
        "conv2.weight": (6, 4, 2, 4),
        "conv2.bias": (6,),
        "fc.weight": (5, 6 * 4 * 2),
        "fc.bias": (5,),
    }
    assert net.flat.size == sum(parameter.size for parameter in net.parameters.values())
    net.flat[:] = np.arange(net.flat.size)
    joined = np.concatenate([p.reshape(-1) for p in net.parameters.values()])
    np.testing.assert_array_equal(joined, net.flat)
    net.parameters["fc.bias"][...] = -1
    assert (net.flat[-5:] == -1).all()


def test_parameters_cannot_be_torn_off_the_flat_vector(rng):
    net = CNN((1, 8, 8))
    flat, images = net.flat, rng.random((3, 1, 8, 8))
    with pytest.raises(TypeError, match="assignment"):
        net.parameters["fc.bias"] = np.ones(10)
    net.flat = np.full(flat.size, 0.25)
    net.flat += 0.25
    assert net.flat is flat
    assert flat.dtype == np.float32
    assert (net.parameters["fc.bias"] == 0.5).all()
    np.testing.assert_allclose(net.logits(images), net.forward(images)[0], rtol=1e-5)
    with pytest.raises(ValueError, match=r"flat: needs shape \(810,\), got \(3,\)"):
        net.flat = np.zeros(3)
    assert (flat == 0.5).all()


def test_more_blocks_than_the_kernels_hold_are_refused():
    with pytest.raises(ValueError, match=r"channels: at most 16 blocks, got 17"):
        CNN((1, 2**18, 2**18), channels=(1,) * 17, kernel_size=1)


def test_without_bias_there_are_no_bias_entries():
    assert list(CNN((1, 8, 8), bias=False).parameters) == ["conv1.weight", "fc.weight"]


def test_initial_weights_follow_he_and_the_seed():
    net = CNN((3, 40, 40), channels=(64,), kernel_size=5, seed=1)
    conv, fc = net.parameters["conv1.weight"], net.parameters["fc.weight"]
    assert conv.std() == pytest.approx(np.sqrt(2 / 75), rel=0.05)
    assert fc.std() == pytest.approx(np.sqrt(1 / fc.shape[1]), rel=0.05)
    assert not net.parameters["conv1.bias"].any()
    assert (CNN((1, 8, 8), seed=4).flat == CNN((1, 8, 8), seed=4).flat).all()
    assert (CNN((1, 8, 8), seed=4).flat != CNN((1, 8, 8), seed=5).flat).any()
    assert (CNN((1, 8, 8), seed=None).flat != CNN((1, 8, 8), seed=None).flat).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_and_floats_are_the_same_grey(rng, dtype):
    net = CNN((1, 9, 8), dtype=dtype)
    images = rng.integers(0, 256, (5, 1, 9, 8), dtype=np.uint8)
    logits, _ = net.forward(images)
    as_floats, _ = net.forward(images / np.float64(255))
    assert logits.dtype == dtype
    np.testing.assert_allclose(logits, as_floats, rtol=1e-5)


def test_predictions_agree_with_each_other_and_with_forward(rng):
    net = CNN((1, 10, 9), n_classes=4, dtype="float64")
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


def test_predicting_disturbs_no_cache(rng):
    net = CNN((1, 8, 8), dtype="float64")
    images = rng.normal(size=(4, 1, 8, 8))
    logits, cache = net.forward(images)
    before = net.backward(logits, cache)
    net.predict(rng.normal(size=(50, 1, 8, 8)))
    for name, gradient in net.backward(logits, cache).items():
        np.testing.assert_array_equal(gradient, before[name])


def test_copies_and_pickles_are_whole_and_apart(rng):
    net = CNN((1, 8, 8), class_names=list("abcdefghij"))
    images = rng.random((4, 1, 8, 8))
    expected = net.logits(images)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.logits(images), expected)
        assert other.class_names == net.class_names
        other.parameters["fc.bias"][...] = 1  # still a view over other.flat
        assert (other.flat[-10:] == 1).all()
    np.testing.assert_array_equal(net.logits(images), expected)


def test_default_class_names_are_numbers():
    assert CNN((1, 8, 8), n_classes=3).class_names == ("0", "1", "2")
    assert CNN((1, 8, 8), n_classes=2, class_names=["cat", "dog"]).class_names == ("cat", "dog")


def test_repr_tells_how_to_make_another_one():
    net = CNN((1, 20, 20), channels=(2, 3), kernel_size=[3, (2, 1)], bias=False, dtype="float64")
    assert eval(repr(net)).architecture == net.architecture


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"image_shape": (28, 28)}, ValueError, r"image_shape: must be 3 whole numbers"),
        ({"image_shape": 28}, ValueError, r"image_shape: must be 3 whole numbers"),
        ({"image_shape": (1, 28, 0)}, ValueError, r"image_shape: .* at least 1, got 0"),
        ({"channels": ()}, ValueError, r"channels: must be at least one whole number"),
        ({"channels": (8, 2.5)}, ValueError, r"channels: must be a whole number"),
        ({"channels": ("8",)}, TypeError, r"channels: must be a real number, got '8'"),
        ({"kernel_size": (3, 3, 3)}, ValueError, r"kernel_size: must be 2 whole numbers"),
        ({"kernel_size": [3, 3]}, ValueError, r"kernel_size: a list needs one entry for each of 1"),
        ({"n_classes": 0}, ValueError, r"n_classes: .* at least 1, got 0"),
        ({"seed": -1}, ValueError, r"seed: must be a whole number of at least 0, got -1"),
        ({"seed": "a"}, TypeError, r"seed: must be a real number, got 'a'"),
        ({"dtype": "float16"}, TypeError, r"dtype: must be 'float32' or 'float64', got 'float16'"),
        ({"class_names": ["a"]}, ValueError, r"class_names: 10 classes need as many names"),
        ({"kernel_size": 28}, ValueError, r"too small for 1 block.*block 1 gets 28 x 28.*28 x 28"),
        (
            {"image_shape": (1, 8, 8), "channels": (4, 4), "kernel_size": 100_000},
            ValueError,
            "too small for 2 blocks: block 1 gets 8 x 8 and its 100000 x 100000 kernel",
        ),
        (
            {"image_shape": (1, 20_000, 20_000), "channels": (3, 4)},
            ValueError,
            "too large for 2 blocks: block 1 makes 3 x 9999 x 9999 values of each",
        ),
        (
            {"channels": (4, 4, 4, 4)},
            ValueError,
            r"28 x 28 are too small for 4 blocks: block 4 gets 1 x 1 .* at most 3 blocks fit",
        ),
    ],
)
def test_an_impossible_network_is_refused_in_clear_words(arguments, error, words):
    with pytest.raises(error, match=words):
        CNN(**({"image_shape": (1, 28, 28)} | arguments))


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
    net = CNN((1, 8, 8))
    for method in (net.predict, net.predict_proba, lambda x: net.score(x, [0, 1])):
        with pytest.raises(error, match=words):
            method(images)


def test_score_refuses_labels_that_do_not_fit(rng):
    net, images = CNN((1, 8, 8)), rng.random((2, 1, 8, 8))
    with pytest.raises(ValueError, match=r"2 images need as many labels, got 3"):
        net.score(images, [0, 1, 2])
    with pytest.raises(ValueError, match=r"\[0, 10\), got labels\[1\] = 10"):
        net.score(images, [0, 10])
    with pytest.raises(ValueError, match=r"at least one image"):
        net.score(images[:0], [])
