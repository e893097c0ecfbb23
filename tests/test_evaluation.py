"""What a result rests on, held to hand-counted examples and to the interval's definition."""

import math

import numpy as np
import pytest

import tinycnn
from tinycnn.evaluation import Evaluation, assess, wilson_interval


def evaluation(labels, predictions, class_names=("cat", "dog", "fox")):
    return Evaluation(class_names, np.array(labels), np.array(predictions), loss=0.5)


def test_counts_by_hand():
    result = evaluation([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2])
    assert (result.n_images, result.n_right, result.accuracy) == (6, 4, 4 / 6)
    assert result.class_counts.tolist() == [3, 2, 1]
    assert result.class_right.tolist() == [2, 1, 1]
    assert (result.majority_class, result.majority_share) == (0, 0.5)
    assert result.confusion().tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(("n_right", "n"), [(0, 1), (1, 1), (7, 10), (81, 263), (10, 10), (0, 50)])
def test_the_interval_has_the_shares_that_are_not_refuted(n_right, n):
    # Wilson: all p with |share - p| <= z sqrt(p (1 - p) / n). At the ends it holds as an equation.
    low, high = wilson_interval(n_right, n)
    assert 0 <= low <= n_right / n <= high <= 1
    for p in (low, high):
        distance = abs(n_right / n - p)
        assert distance == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / n), abs=1e-6)


def test_the_interval_of_newcombe_1998():
    # "Two-sided confidence intervals for the single proportion", table I, method 3.
    for n_right, n, expected in [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ]:
        assert wilson_interval(n_right, n) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("arguments", [(1, 0), (-1, 3), (4, 3), (0.5, 3)])
def test_an_interval_of_nothing_is_refused(arguments):
    with pytest.raises(ValueError, match=r"n_(images|right): must be"):
        wilson_interval(*arguments)


def test_no_better_than_the_majority_is_said():
    labels = [0] * 95 + [1] * 15
    always = evaluation(labels, [0] * 110, ("healthy", "sick"))
    assert not always.beats_majority
    assert "not clearly better than always answering healthy" in always.cautions()[0]
    good = evaluation(labels, labels, ("healthy", "sick"))
    assert good.beats_majority
    assert good.cautions() == []


def test_few_and_missing_images_of_a_class_are_said():
    labels = [0] * 40 + [1] * 9
    result = evaluation(labels, labels)
    assert result.cautions() == [
        "dog: fewer than 10 test images, too few to tell the accuracy of a class",
        "fox: no test images, so nothing is known about them",
    ]
    one_class = evaluation([1] * 20, [1] * 20)
    assert one_class.cautions() == [
        "all test images are of one class, dog: others are not measured"
    ]


def test_many_classes_are_not_all_listed():
    labels = np.arange(30)
    names = tuple(f"k{i}" for i in labels)
    [few] = evaluation(labels, labels, names).cautions()
    assert few.startswith("k0, k1, k2, k3, k4 and 25 more classes: fewer than 10")


def test_assess_measures_what_evaluate_measures(digits):
    images, labels = digits[0][:200], digits[1][:200]
    net = tinycnn.CNN((1, 8, 8), channels=(4,), n_classes=10)
    net.standardize(images)
    result = assess(net, images, labels)
    assert (result.loss, result.accuracy) == tinycnn.evaluate(net, images, labels)
    assert np.array_equal(result.predictions, net.predict(images))
    told = result.as_dict()
    assert told["classes"][3] == {
        "name": "3",
        "n_images": int((labels == 3).sum()),
        "n_right": int((net.predict(images)[labels == 3] == 3).sum()),
    }
    assert told["interval_95"] == list(wilson_interval(result.n_right, 200))


def test_assess_refuses_what_does_not_fit():
    net = tinycnn.CNN((1, 8, 8), channels=(4,), n_classes=10)
    for n_images, n_labels in [(0, 0), (3, 2)]:
        with pytest.raises(
            ValueError, match=r"3 images need as many labels|at least one image is needed"
        ):
            assess(net, np.zeros((n_images, 1, 8, 8)), np.zeros(n_labels, np.int64))
