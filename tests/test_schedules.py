"""Schedules: their ends, their shape, and the numbers that PyTorch gives for them."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from tinycnn.training.schedules import OneCycle, constant, cosine_decay, linear_decay

GOLDEN = np.load(Path(__file__).parent / "golden" / "optim_cases.npz")
ONE_CYCLES = [key for key in GOLDEN.files if key.startswith("one_cycle/")]


def test_constant_is_one_throughout():
    assert [constant(done) for done in (0.0, 0.25, 1.0)] == [1.0, 1.0, 1.0]


def test_linear_decay_falls_from_one_to_zero():
    assert [linear_decay(done) for done in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]


def test_cosine_decay_falls_from_one_to_zero():
    values = [cosine_decay(done) for done in (0.0, 1 / 3, 0.5, 1.0)]
    np.testing.assert_allclose(values, [1.0, 0.75, 0.5, 0.0], atol=1e-15)


def test_cosine_decay_gives_pytorchs_factors():
    ours = [cosine_decay(i / 50) for i in range(50)]
    np.testing.assert_allclose(ours, GOLDEN["cosine/50"], rtol=1e-12, atol=1e-15)


def test_one_cycle_rises_to_one_and_falls():
    schedule = OneCycle(warm_up=0.25, start=0.2, end=0.1)
    values = [schedule(done) for done in (0.0, 0.125, 0.25, 0.625, 1.0)]
    np.testing.assert_allclose(values, [0.2, 0.6, 1.0, 0.55, 0.1], rtol=1e-12)


@pytest.mark.parametrize("key", ONE_CYCLES)
def test_one_cycle_gives_pytorchs_factors_at_shifted_shares(key):
    # Its docstring says which step is which share.
    warm_up, n = float(key.split("/")[1]), int(key.split("/")[2])
    schedule = OneCycle(warm_up)
    rises = np.arange(n) <= warm_up * n - 1
    shares = np.where(rises, np.arange(n) / (n - 1 / warm_up), (np.arange(n) + 1) / n)
    ours = [schedule(done) for done in shares]
    np.testing.assert_allclose(ours, GOLDEN[key], rtol=1e-9, atol=1e-15)
    assert 0 < rises.sum() < n


def test_one_cycle_differs_from_pytorch_by_less_than_a_step():
    factors = GOLDEN["one_cycle/0.1/1000"]
    ours = [OneCycle(0.1)(i / 1000) for i in range(1000)]
    assert np.abs(ours - factors).max() <= 1.01 * np.abs(np.diff(factors)).max()


def test_one_cycle_without_warm_up_is_cosine_decay():
    schedule = OneCycle(warm_up=0, end=0)
    assert [schedule(done) for done in (0.0, 0.3, 0.9)] == pytest.approx(
        [cosine_decay(done) for done in (0.0, 0.3, 0.9)]
    )


def test_one_cycle_tells_how_to_make_it_and_can_be_pickled():
    schedule = OneCycle(warm_up=0.2)
    assert repr(schedule) == "OneCycle(warm_up=0.2, start=0.04, end=4e-06)"
    other = pickle.loads(pickle.dumps(schedule))
    assert repr(other) == repr(schedule)
    assert other(0.1) == schedule(0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"warm_up": 1.0}, ValueError, "warm_up: must be below 1, got 1.0"),
        ({"warm_up": -0.1}, ValueError, "warm_up: must be finite and not negative, got -0.1"),
        ({"warm_up": "0.3"}, TypeError, "warm_up: must be a real number, got '0.3'"),
        ({"start": -1}, ValueError, "start: must be finite and not negative, got -1"),
        ({"end": float("inf")}, ValueError, "end: must be finite and not negative, got inf"),
    ],
)
def test_wrong_settings_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        OneCycle(**arguments)
