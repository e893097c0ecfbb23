"""Images that look as no training image did are told, once; usual ones never."""

import pickle
import warnings

import numpy as np
import pytest

import tinycnn
from tinycnn import UnusualImagesWarning
from tinycnn.unusual import LOOKS_AT_FEW, what_is_unusual


@pytest.fixture(scope="module")
def digits():
    return tinycnn.load_digits()


@pytest.fixture
def net(digits):
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=10)
    net.standardize(digits[0])
    return net


def warnings_of(function, *arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*arguments)
    return [str(each.message) for each in caught if each.category is UnusualImagesWarning]


def test_usual_images_pass_in_silence_alone_and_together(net, digits):
    images, labels = digits
    for n in (1, 5, 32, 1797):
        for start in range(0, 1797, 300):
            assert what_is_unusual(images[start : start + n], net.input_mean, net.input_std) is None
    assert warnings_of(net.score, images, labels) == []


@pytest.mark.parametrize("factor", [16, 255, 1 / 255])
@pytest.mark.parametrize("n", [1, 1797])
def test_another_scale_is_told_with_both_scales(net, digits, factor, n):
    [message] = warnings_of(net.predict, digits[0][:n] * np.float32(factor))
    assert f"learned from pixels of mean {net.input_mean[0]:.3g} and deviation" in message
    assert "another scale" in message


def test_black_for_white_is_told(net, digits):
    [message] = warnings_of(net.predict_proba, 1 - digits[0])
    assert "black for white" in message
    as_bytes = np.round((1 - digits[0]) * 255).astype(np.uint8)
    assert "black for white" in what_is_unusual(as_bytes, net.input_mean, net.input_std)


def test_pixels_that_are_all_the_same_are_on_no_other_scale(net):
    for level in range(256):
        image = np.full((1, 1, 8, 8), level, np.uint8)
        told = what_is_unusual(image, net.input_mean, net.input_std)
        assert told is None or "black for white" in told


def test_a_stroke_of_ink_on_a_white_page_is_told_alone(net):
    page = np.ones((1, 1, 8, 8), np.float32)
    page[0, 0, 2:6, 3] = 0
    assert "black for white" in what_is_unusual(page, net.input_mean, net.input_std)


def test_bright_photos_are_no_negatives_where_the_mean_is_in_the_middle(rng):
    mean, std = np.array([0.45, 0.45, 0.42]), np.array([0.25, 0.24, 0.26])
    for brightness in (0.2, 0.45, 0.8):
        photo = np.clip(rng.normal(brightness, 0.2, (1, 3, 32, 32)), 0, 1)
        assert what_is_unusual(photo, mean, std) is None


def test_counts_of_16_bits_are_told_from_bytes(rng):
    counts = rng.integers(100, 400, (50, 1, 8, 8)).astype(np.uint16)
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=2)
    net.standardize(counts)
    assert warnings_of(net.predict, counts) == []
    assert len(warnings_of(net.predict, (counts / 65535 * 255).astype(np.uint8))) == 1


def test_it_is_told_once_a_network(net, digits):
    wrong = digits[0][:10] * 255
    assert len(warnings_of(net.predict, wrong)) == 1
    assert warnings_of(net.predict_proba, wrong) == []
    assert len(warnings_of(pickle.loads(pickle.dumps(net)).predict, wrong)) == 1


def test_score_tells_the_scale_too(net, digits):
    assert len(warnings_of(net.score, digits[0] * 16, digits[1])) == 1


def test_who_predicts_one_by_one_pays_for_a_few_looks(net, digits, monkeypatch):
    looks = []
    monkeypatch.setattr("tinycnn.unusual.what_is_unusual", lambda *_: looks.append(1))
    for i in range(3 * LOOKS_AT_FEW):
        net.predict(digits[0][i : i + 1])
    assert len(looks) == LOOKS_AT_FEW


def test_a_network_that_was_not_standardised_says_nothing(digits):
    net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=10)
    assert warnings_of(net.predict, digits[0] * 255) == []


def test_nothing_to_look_at_is_nothing_unusual(net):
    assert what_is_unusual(np.empty((0, 1, 8, 8)), net.input_mean, net.input_std) is None
