"""Views: the mean of an image's logits and those of its moved and mirrored copies."""

import copy
import pickle

import numpy as np
import pytest
from conftest import layered_path, lesson_logits, moved, relative_error, small_net, with_biases

import tinycnn
from tinycnn import CNN, Conv, Dropout, Flatten, Linear, MaxPool, ReLU, Views
from tinycnn.evaluation import assess

SHAPE = (2, 9, 7)
# All views of an image but itself: pixels down and right, 1 to be mirrored before; what they count.
NEIGHBOURS = [(-2, 0, 0, 1), (2, 0, 0, 1), (0, -2, 0, 1), (0, 2, 0, 1)]
MIRRORED = [(0, 0, 1, 2), *((down, right, 1, 1) for down, right, _, _ in NEIGHBOURS)]
KINDS = {
    "moved": (Views(2), NEIGHBOURS),
    "mirrored": (Views(0, flip=True), [(0, 0, 1, 2)]),
    "both": (Views(2, flip=True), NEIGHBOURS + MIRRORED),
}


def oracle(net, images, others, margin=np.inf):
    """Weigh the lesson's logits of every view, all of them moved by NumPy's padding."""
    alone = lesson_logits(net, images)
    total, weights = 2 * alone, 2
    for *move, weight in others:
        total = total + weight * lesson_logits(net, moved(images, np.tile(move, (len(images), 1))))
        weights += weight
    best = np.sort(alone, axis=1)[:, ::-1]
    doubtful = best[:, 0] - best[:, 1] < margin
    return np.where(doubtful[:, None], total / weights, alone), doubtful


@pytest.fixture
def net(rng):
    net = with_biases(small_net(SHAPE, n_classes=4, dtype="float64"), rng)
    net.set_scaling([0.4, 0.6], [0.2, 0.3])
    return net


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (70, *SHAPE), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_logits_are_the_weighted_mean_over_all_views(net, images, kind, dtype):
    views, others = KINDS[kind]
    pixels = images if dtype == "uint8" else (images / 255).astype(dtype)
    before = pixels.copy()
    expected, _ = oracle(net, pixels, others)
    assert relative_error(net.logits(pixels, views=views), expected) < 1e-12
    np.testing.assert_array_equal(pixels, before)


def test_the_readable_path_has_views_too(net, images):
    views, others = KINDS["both"]
    net.path = layered_path(net)
    expected, _ = oracle(net, images, others)
    assert relative_error(net.logits(images, views=views), expected) < 1e-12


def test_only_images_in_doubt_are_averaged(net, images):
    alone = net.logits(images)
    gaps = np.diff(np.sort(alone, axis=1)[:, -2:]).ravel()
    margin = float(np.median(gaps))
    expected, doubtful = oracle(net, images, NEIGHBOURS, margin)
    assert 20 < doubtful.sum() < 50
    logits = net.logits(images, views=Views(2, margin=margin))
    assert relative_error(logits, expected) < 1e-12
    np.testing.assert_array_equal(logits[~doubtful], alone[~doubtful])
    assert (logits[doubtful] != alone[doubtful]).any(axis=1).all()


def test_no_image_in_doubt_or_none_at_all(net, images):
    certain = Views(margin=1e-9)
    np.testing.assert_array_equal(net.logits(images, views=certain), net.logits(images))
    for views in (certain, Views()):
        assert net.logits(images[:0], views=views).shape == (0, 4)
        assert net.predict(images[:0], views=views).shape == (0,)


def test_one_class_leaves_no_doubt(images):
    net = CNN(SHAPE, channels=(2,), n_classes=1)
    logits = net.logits(images, views=Views(margin=2.0))
    np.testing.assert_array_equal(logits, net.logits(images))
    assert not net.predict(images, views=Views()).any()


@pytest.mark.parametrize("margin", [None, 0.3])
def test_threads_change_nothing(rng, margin):
    net = with_biases(small_net((1, 8, 8)), rng)
    images = rng.random((500, 1, 8, 8)).astype(np.float32)
    views = Views(flip=True, margin=margin)
    expected = net.logits(images, 1, views=views)
    for n_threads in (2, 3, None):
        np.testing.assert_array_equal(net.logits(images, n_threads, views=views), expected)


def test_copies_are_made_of_a_limited_number_of_images(net, images, monkeypatch):
    views, expected = Views(2, flip=True), net.logits(images, views=Views(2, flip=True))
    sizes, logits = [], net.path.logits

    def counted(flat, inputs, n_threads):
        sizes.append(len(inputs.images))
        return logits(flat, inputs, n_threads)

    monkeypatch.setattr(net.path, "logits", counted)
    monkeypatch.setattr("tinycnn.inputs.SLAB_IMAGES", 16)
    np.testing.assert_allclose(net.logits(images, views=views), expected, rtol=1e-12)
    assert sizes == [70, *[16] * (4 * 9), *[6] * 9]


def test_what_predicts_and_scores_averages_the_same(net, images):
    views, labels = Views(1, margin=0.5), np.arange(70) % 4
    logits = net.logits(images, views=views)
    classes = logits.argmax(axis=1)
    assert (classes != net.predict(images)).any()
    np.testing.assert_array_equal(net.predict(images, views=views), classes)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.predict_proba(images, views=views), probabilities)
    accuracy = np.mean(classes == labels)
    loss = -np.mean(np.log(probabilities[np.arange(70), labels]))
    assert net.score(images, labels, views=views) == accuracy
    assert tinycnn.evaluate(net, images, labels, views=views) == (
        pytest.approx(loss),
        accuracy,
    )
    result = assess(net, images, labels, views=views)
    assert (result.loss, result.accuracy) == (pytest.approx(loss), accuracy)
    np.testing.assert_array_equal(result.predictions, classes)


def test_dropout_takes_no_part(rng):
    layers = [Conv(3), ReLU(), MaxPool(), Flatten(), Dropout(0.5), Linear(4)]
    net = CNN(SHAPE, layers)
    same = CNN(SHAPE, [layer for layer in layers if not isinstance(layer, Dropout)])
    same.flat = net.flat
    images = rng.random((10, *SHAPE))
    expected = same.logits(images, views=Views())
    np.testing.assert_allclose(net.logits(images, views=Views()), expected, rtol=1e-5)


def test_unusual_images_are_told_once_and_as_the_caller_s(net, images):
    with pytest.warns(tinycnn.UnusualImagesWarning) as caught:
        net.predict(images.astype(np.float32), views=Views())
    [warning] = caught
    assert warning.filename == __file__


def test_pixels_that_are_not_finite_are_named_where_they_are(net, images):
    pixels = images / 255
    pixels[61, 1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"images\[61, 1, 2, 3\] = nan"):
        net.predict(pixels, views=Views())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"shift": 0}, ValueError, "leave no view but the image itself; give shift=1"),
        ({"shift": -1}, ValueError, "shift: must be a whole number of at least 0"),
        ({"shift": 1.5}, ValueError, "shift: must be a whole number"),
        ({"shift": "1"}, TypeError, "shift: must be a real number"),
        ({"flip": 1}, TypeError, "flip: must be True or False"),
        ({"margin": 0}, ValueError, "margin: must be above 0, got 0; None is for all"),
        ({"margin": -2}, ValueError, "margin: must be finite and not negative"),
        ({"margin": np.inf}, ValueError, "margin: must be finite and not negative"),
        ({"margin": np.nan}, ValueError, "margin: must be finite and not negative"),
        ({"margin": "2"}, TypeError, "margin: must be a real number"),
    ],
    ids=str,
)
def test_nonsense_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Views(**arguments)


def test_views_must_be_views_that_leave_something_to_see(net, images):
    with pytest.raises(TypeError, match=r"views: must be None or tinycnn\.Views\(shift=1\), say"):
        net.predict(images, views=1)
    with pytest.raises(TypeError, match=r"got the class Views; call it: Views\(\.\.\.\)"):
        net.predict(images, views=Views)
    net.predict(images, views=Views(6))
    with pytest.raises(ValueError, match=r"views: shift must be less than 7 for images of 9 x 7"):
        net.predict(images, views=Views(7))


def test_views_are_values():
    views = Views(np.int64(2), np.bool(True), np.float32(0.5))
    assert views == Views(2, True, 0.5)
    assert repr(views) == "Views(shift=2, flip=True, margin=0.5)"
    assert {views: 1}[Views(2, True, 0.5)] == 1
    assert copy.deepcopy(views) == pickle.loads(pickle.dumps(views)) == views
    with pytest.raises(AttributeError):
        views.shift = 3
