"""Optimisers: their formulas, step by step."""

import numpy as np
import pytest

from tinycnn import SGD, linear_decay


def test_sgd_follows_its_formula(rng):
    optimizer = SGD(lr=0.1, momentum=0.8, weight_decay=0.01)
    flat = rng.normal(size=7)
    expected, velocity = flat.copy(), np.zeros(7)
    for factor in (1.0, 0.5, 2.0):
        gradient = rng.normal(size=7)
        kept = gradient.copy()
        optimizer.step(flat, gradient, factor)
        np.testing.assert_array_equal(gradient, kept)
        velocity = 0.8 * velocity + (gradient_of := kept + 0.01 * expected)
        expected = expected - 0.1 * factor * velocity
        np.testing.assert_allclose(flat, expected, rtol=1e-12)
        assert gradient_of.shape == flat.shape


def test_without_momentum_and_decay_it_is_plain_descent(rng):
    flat, gradient = rng.normal(size=5).astype(np.float32), rng.normal(size=5).astype(np.float32)
    expected = flat - np.float32(0.5) * gradient
    SGD(lr=0.5, momentum=0).step(flat, gradient)
    np.testing.assert_array_equal(flat, expected)
    assert flat.dtype == np.float32


def test_an_optimiser_does_not_move_to_another_network():
    optimizer = SGD()
    optimizer.step(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"has trained 3 parameters .* make a new one"):
        optimizer.step(np.zeros(4), np.zeros(4))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"lr": -1}, ValueError, "lr: must be finite and not negative, got -1"),
        ({"lr": float("nan")}, ValueError, "lr: must be finite"),
        ({"lr": "0.1"}, TypeError, "lr: must be a real number, got '0.1'"),
        ({"momentum": 1.0}, ValueError, "momentum: must be below 1, got 1.0"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay: must be finite"),
    ],
)
def test_wrong_settings_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        SGD(**arguments)


def test_linear_decay_falls_from_one_to_zero():
    assert [linear_decay(done) for done in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
