"""Early stopping: when it stops, what it gives back, and what it refuses; by scripted curves."""

import contextlib
import itertools
import math

import numpy as np
import pytest
from conftest import small_net

import tinycnn
from tinycnn import SGD, Callback, EarlyStopping
from tinycnn.training import fitting


class Snapshots(Callback):
    """Keeps a copy of the parameters of every epoch."""

    def __init__(self):
        self.flats = {}

    def on_epoch_end(self, state):
        self.flats[state.epoch] = state.net.flat.copy()


class StopAfter(Callback):
    """Asks to stop after an epoch, or raises an exception in the middle of the next one."""

    def __init__(self, epoch, error=None):
        self.epoch, self.error = epoch, error

    def on_batch_end(self, state):
        if self.error and state.epoch > self.epoch:
            raise self.error

    def on_epoch_end(self, state):
        return state.epoch == self.epoch and not self.error


@pytest.fixture
def fit_along(monkeypatch, rng):
    """Return a function that trains along a given curve of validation losses and accuracies."""
    images, labels = rng.random((12, 1, 6, 6)), np.arange(12) % 2

    def fit(stopping, losses, accuracies=None, others=(), **arguments):
        accuracies = itertools.repeat(0.5) if accuracies is None else accuracies
        curve = iter(list(zip(losses, accuracies, strict=False)))
        monkeypatch.setattr(fitting, "evaluate", lambda *_: next(curve))
        net, snapshots = small_net((1, 6, 6), n_classes=2), Snapshots()
        arguments = {"epochs": len(losses), "validation_fraction": 0.2, **arguments}
        callbacks = [snapshots, stopping, *others]
        history = None
        with contextlib.suppress(KeyboardInterrupt, FloatingPointError):
            history = tinycnn.fit(
                net, images, labels, verbose=False, callbacks=callbacks, **arguments
            )
        return net, snapshots.flats, history

    return fit


@pytest.mark.parametrize(
    ("patience", "min_delta", "losses", "best", "n_epochs"),
    [
        (1, 0.0, [3, 2, 2.5, 1], 2, 3),
        (2, 0.0, [3, 2, 2.5, 1, 1.5, 1.4, 0.1], 4, 6),
        (2, 0.0, [3, 2, 2, 2, 1], 2, 4),  # as good is no better
        (3, 0.0, [3, 2, 1], 3, 3),  # epochs run out first
        (2, 0.0, [1, 2, 3, 0], 1, 3),
        (2, 0.5, [3, 2.6, 2.4, 2.1, 2.0, 0.1], 3, 5),  # small steps add up to an improvement
        (2, 0.5, [3, 2.5, 2.5, 0.1], 1, 3),  # just min_delta is none
        (2, 0.0, [math.nan, 2, math.nan, math.inf, 1], 2, 4),
    ],
)
def test_stops_and_gives_the_best_back(fit_along, patience, min_delta, losses, best, n_epochs):
    stopping = EarlyStopping(patience, min_delta)
    net, flats, history = fit_along(stopping, losses)
    assert len(history.train_loss) == n_epochs
    np.testing.assert_array_equal(history.validation_loss, losses[:n_epochs])
    assert (stopping.best_epoch, stopping.best_value) == (best, losses[best - 1])
    np.testing.assert_array_equal(net.flat, flats[best])
    assert (flats[best] != flats[1]).any() or best == 1


def test_an_accuracy_is_better_when_it_is_higher(fit_along):
    stopping = EarlyStopping(2, monitor="validation_accuracy")
    net, flats, history = fit_along(stopping, [9, 8, 7, 6, 5], [0.5, 0.7, 0.7, 0.6, 0.9])
    assert len(history.train_loss) == 4
    assert (stopping.best_epoch, stopping.best_value) == (2, 0.7)
    np.testing.assert_array_equal(net.flat, flats[2])


def test_the_training_loss_is_watched_on_request(rng):
    # At so high a rate the loss does not only fall.
    images, labels = rng.random((30, 1, 6, 6)), rng.integers(0, 2, 30)
    stopping = EarlyStopping(3, monitor="train_loss")
    net = small_net((1, 6, 6), n_classes=2)
    history = tinycnn.fit(
        net,
        images,
        labels,
        epochs=500,
        optimizer=SGD(2.0),
        schedule=None,
        verbose=False,
        callbacks=stopping,
    )
    losses = history.train_loss
    assert stopping.best_epoch == np.argmin(losses) + 1 == len(losses) - 3
    assert stopping.best_value == min(losses)
    assert history.validation_loss == []


def test_nothing_finite_is_never_the_best(fit_along):
    stopping = EarlyStopping(3)
    net, flats, _ = fit_along(stopping, [math.nan] * 4)
    assert len(flats) == 3
    assert stopping.best_epoch == 0
    np.testing.assert_array_equal(net.flat, flats[3])


@pytest.mark.parametrize("error", [None, KeyboardInterrupt("mine")])
def test_the_best_comes_back_however_training_ends(fit_along, error):
    stopping = EarlyStopping(5)
    net, flats, _ = fit_along(stopping, [1, 2, 3, 4], others=[StopAfter(2, error)])
    assert len(flats) == 2
    np.testing.assert_array_equal(net.flat, flats[1])


def test_a_training_that_diverges_is_undone_as_ever(fit_along):
    class Ruin(Callback):
        def on_epoch_end(self, state):
            if state.epoch == 2:
                state.net.flat[...] = np.nan

    stopping = EarlyStopping(5)
    net, flats, history = fit_along(stopping, [1, 2, 3, 4], others=[Ruin()])
    assert history is None
    assert (len(flats), stopping.best_epoch) == (2, 1)
    np.testing.assert_array_equal(net.flat, small_net((1, 6, 6), n_classes=2).flat)


def test_can_be_used_again(fit_along):
    stopping = EarlyStopping(2)
    fit_along(stopping, [0.1, 2, 2])
    net, flats, _ = fit_along(stopping, [5, 4, 6, 7])
    assert (stopping.best_epoch, stopping.best_value) == (2, 4)
    np.testing.assert_array_equal(net.flat, flats[2])


def test_nothing_is_given_to_a_network_that_was_never_trained(fit_along):
    class Failing(Callback):
        def on_fit_begin(self, state):
            raise KeyboardInterrupt

    stopping = EarlyStopping(2)
    trained, _, _ = fit_along(stopping, [1, 2])
    net = small_net((1, 6, 6), n_classes=2)
    assert (trained.flat != net.flat).any()
    with pytest.raises(KeyboardInterrupt):
        tinycnn.fit(
            net, np.ones((9, 1, 6, 6)), [0] * 9, verbose=False, callbacks=[Failing(), stopping]
        )
    np.testing.assert_array_equal(net.flat, small_net((1, 6, 6), n_classes=2).flat)


@pytest.mark.parametrize("monitor", ["validation_loss", "validation_accuracy"])
def test_missing_validation_data_are_told_before_training(rng, monitor):
    net = small_net((1, 6, 6), n_classes=2)
    before = net.flat.copy()
    with pytest.raises(ValueError, match=rf"no {monitor} without validation data; give fit"):
        tinycnn.fit(
            net,
            rng.random((9, 1, 6, 6)),
            [0] * 9,
            verbose=False,
            callbacks=[EarlyStopping(2, monitor=monitor)],
        )
    np.testing.assert_array_equal(net.flat, before)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"patience": 0}, ValueError, "patience: must be a whole number of at least 1, got 0"),
        ({"patience": "3"}, TypeError, "patience: must be a real number"),
        ({"patience": 3, "min_delta": -1}, ValueError, "min_delta: must be finite and not neg"),
        ({"patience": 3, "monitor": "seconds"}, ValueError, "one of validation_loss, .*'seconds'"),
    ],
)
def test_wrong_settings_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        EarlyStopping(**arguments)
