"""What a network does with images, in numbers: against the lesson, differences and definitions."""

import numpy as np
import pytest
from conftest import lesson_layer, small_net, with_biases

import tinycnn
from tinycnn.inspection import (
    confident_mistakes,
    input_gradient,
    layer_outputs,
    margins,
    multiply_adds,
    reliability,
    typical_images,
)
from tinycnn.lesson import conv2d


def network(rng: np.random.Generator) -> tinycnn.CNN:
    layers = [tinycnn.Conv(3, (2, 3), padding="same"), tinycnn.ReLU(), tinycnn.MaxPool()]
    layers += [tinycnn.Dropout(0.5), tinycnn.Flatten(), tinycnn.Linear(4)]
    net = with_biases(tinycnn.CNN((2, 5, 6), layers, dtype="float64"), rng)
    net.set_scaling([0.4, 0.1], [0.5, 2.0])
    return net


def test_outputs_of_layers_are_those_of_the_lesson(rng):
    net, images = network(rng), rng.random((3, 2, 5, 6))
    outputs = layer_outputs(net, images)
    mean, std = (each[:, None, None] for each in (net.input_mean, net.input_std))
    x = (images - mean) / std
    assert list(outputs) == [step.name for step in net.architecture.steps]
    for step in net.architecture.steps:
        if step.name != "dropout1":  # which does nothing here
            x = lesson_layer(step.layer, net.parameters.of(step.name), x)
        np.testing.assert_allclose(outputs[step.name], x, rtol=1e-12)


def test_the_input_gradient_is_what_differences_say(rng):
    net, images, labels = network(rng), rng.random((2, 2, 5, 6)), np.array([3, 1])
    gradient, step = input_gradient(net, images, labels), 1e-6
    for place in [(0, 0, 2, 3), (0, 1, 0, 0), (1, 1, 4, 2)]:
        above, below = images.copy(), images.copy()
        above[place] += step
        below[place] -= step
        change = (net.logits(above) - net.logits(below))[place[0], labels[place[0]]] / (2 * step)
        assert gradient[place] == pytest.approx(change, abs=1e-7)


def test_the_input_gradient_of_bytes_counts_from_black_to_white(rng):
    net, images = network(rng), rng.integers(0, 256, (2, 2, 5, 6), dtype=np.uint8)
    of_bytes = input_gradient(net, images, [0, 2])
    np.testing.assert_allclose(of_bytes, input_gradient(net, images / 255, [0, 2]), rtol=1e-9)


def test_labels_must_fit_the_images(rng):
    net = network(rng)
    with pytest.raises(ValueError, match="2 images need as many labels, got 1"):
        input_gradient(net, np.zeros((2, 2, 5, 6)), [0])
    with pytest.raises(ValueError, match=r"whole numbers in \[0, 4\)"):
        input_gradient(net, np.zeros((1, 2, 5, 6)), [4])


def test_multiply_adds_are_counted_as_the_lesson_makes_them():
    net = small_net((3, 10, 11), channels=(4, 5), hidden=7)
    counts = {step.name: multiply_adds(step) for step in net.architecture.steps}
    x, weight = np.ones((1, 3, 10, 11)), np.ones((4, 3, 3, 3))
    assert counts["conv1"] == conv2d(x, weight).sum()  # of ones, so each product adds 1
    assert counts["linear1"] == 5 * 7
    assert counts["relu1"] == counts["maxpool2"] == counts["flatten1"] == 0


def test_margins_are_the_lead_of_the_first():
    np.testing.assert_allclose(margins([[0.2, 0.7, 0.1], [0.5, 0.5, 0.0]]), [0.5, 0.0])
    with pytest.raises(ValueError, match="at least two classes"):
        margins([[1.0]])


def test_mistakes_come_with_the_most_confident_first():
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]]
    np.testing.assert_array_equal(confident_mistakes(probabilities, [0, 0, 0, 1]), [2, 1])


def test_the_most_typical_image_of_a_class_is_right_and_sure():
    probabilities = [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.6, 0.0, 0.4], [0.0, 1.0, 0]]
    np.testing.assert_array_equal(typical_images(probabilities, [0, 0, 1, 2, 0]), [0, 2])


def test_reliability_follows_its_definition():
    probabilities = np.array([[0.95, 0.05], [0.92, 0.08], [0.35, 0.65], [1.0, 0.0]])
    bins = reliability(probabilities, [0, 1, 1, 0])
    assert bins.counts.tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 3]
    assert bins.accuracy[9] == pytest.approx(2 / 3)
    assert bins.confidence[9] == pytest.approx((0.95 + 0.92 + 1) / 3)
    assert np.isnan(bins.accuracy[0])
    gap = (0.95 + 0.92 + 1 - 2) / 4 + (1 - 0.65) / 4
    assert bins.calibration_error == pytest.approx(gap)


@pytest.mark.parametrize("function", [margins, lambda p: confident_mistakes(p, [0, 0])])
def test_logits_are_no_probabilities(function):
    with pytest.raises(ValueError, match=r"in \[0, 1\], got -1 to 3; use net.predict_proba"):
        function([[3.0, -1.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"in \[0, 1\], got nan"):
        function([[np.nan, 0.5], [0.0, 1.0]])
