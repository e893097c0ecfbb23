"""The minibatch loop: learning, shuffling, history, callbacks, validation, and what it refuses."""

import inspect
import io
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import QUICK, halves, named, relative_error, small_net

import tinycnn
from tinycnn import (
    CNN,
    SGD,
    Adam,
    AdamW,
    Augmentation,
    Callback,
    Checkpoint,
    Conv,
    Dropout,
    Flatten,
    Linear,
    OneCycle,
    ReLU,
)
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward
from tinycnn.training.defaults import LEARNING_RATES, auto_batch_size, auto_epochs
from tinycnn.training.progress import ProgressLines
from tinycnn.training.schedules import constant, cosine_decay, linear_decay


def two_classes(**arguments):
    """Make a network for the images of ``halves``."""
    return small_net((1, 6, 6), **({"n_classes": 2} | arguments))


def trained(data, net=None, **arguments):
    """Train a network on data, and return it with its history."""
    net = net or two_classes()
    fixed = {"epochs": 2, "batch_size": 16, "label_smoothing": 0.0, "verbose": False}
    arguments = {**fixed, **arguments}
    return net, tinycnn.fit(net, *data, **arguments)


# ---------------------------------------------------------------------------------------- learning


def test_digits_are_learned(digits):
    net = small_net()
    history = tinycnn.fit(net, *digits, **QUICK)
    assert net.score(*digits) > 0.95
    assert len(history.train_loss) == len(history.seconds) == 6
    assert history.train_loss[-1] < 0.2 * history.train_loss[0]
    assert history.validation_loss == history.validation_accuracy == []


@pytest.mark.parametrize(
    ("offset", "dtype"),
    [(0, "uint8"), (300, "uint16"), (30_000, "uint16"), (30_000, "float32"), (-5, "float64")],
)
def test_the_defaults_learn_digits_whatever_is_added_to_each_pixel(digits, offset, dtype):
    images = (digits[0] * 16 + offset).astype(dtype)
    order = np.random.default_rng(0).permutation(1797)
    train, test = order[:600], order[600:]
    net = small_net(channels=(16,), padding="same")
    net.standardize(images[train])
    tinycnn.fit(net, images[train], digits[1][train], epochs=12, verbose=False)
    assert net.score(images[test], digits[1][test]) > 0.94


def test_bytes_train_like_the_floats_they_stand_for(rng):
    images, labels = halves(rng)
    as_bytes = np.round(255 * images).clip(0, 255).astype(np.uint8)
    nets = [
        trained((data, labels), two_classes(dtype="float64"))[0]
        for data in (as_bytes, as_bytes / 255)
    ]
    assert relative_error(nets[0].flat, nets[1].flat) < 1e-12


def test_one_full_batch_epoch_is_one_descent_step(rng):
    images, labels = halves(rng)
    expected = two_classes(dtype="float64")
    logits, state = expected.forward(images)
    loss, loss_cache = cross_entropy_forward(logits, labels)
    expected.flat -= 0.3 * expected.backward(cross_entropy_backward(1.0, loss_cache), state).flat
    net, history = trained(
        (images, labels),
        two_classes(dtype="float64"),
        epochs=1,
        batch_size=60,
        optimizer=SGD(0.3, momentum=0),
        schedule=None,
    )
    assert relative_error(net.flat, expected.flat) < 1e-12
    assert history.train_loss == [pytest.approx(loss, rel=1e-12)]


@pytest.mark.parametrize("batch_size", [2**63 - 1, 2**63, 1e20])
def test_a_batch_of_any_size_holds_all_images_at_most(rng, batch_size):
    data = halves(rng)
    nets = [trained(data, batch_size=B)[0] for B in (60, batch_size)]
    np.testing.assert_array_equal(nets[0].flat, nets[1].flat)


@pytest.mark.parametrize("hidden", [0, (7, 5)])
@pytest.mark.parametrize("augmentation", [None, Augmentation(1, flip=True)])
def test_the_number_of_threads_changes_no_bit(rng, hidden, augmentation):
    images, labels = rng.integers(0, 256, (700, 2, 11, 9), np.uint8), rng.integers(0, 10, 700)
    weights = rng.permutation(np.arange(700) % 4)

    def flat_and_losses(n_threads):
        net = small_net((2, 11, 9), channels=(4, 5), padding="same", hidden=hidden)
        history = tinycnn.fit(
            net,
            images,
            labels,
            epochs=2,
            batch_size=300,
            augmentation=augmentation,
            sample_weight=weights,
            label_smoothing=0.1,
            validation_fraction=0.2,
            n_threads=n_threads,
            verbose=False,
        )
        return net.flat, history.train_loss, history.validation_loss

    expected = flat_and_losses(1)
    for n_threads in (2, 3, 8):
        for one, other in zip(expected, flat_and_losses(n_threads), strict=True):
            np.testing.assert_array_equal(one, other)


def test_dropout_is_drawn_anew_in_training_and_left_out_in_validation(rng):
    images, labels = halves(rng)
    layers = [Conv(4), ReLU(), Dropout(0.5), Flatten(), Linear(2)]
    net = CNN((1, 6, 6), layers)
    assert "dropout1" in [step.name for step in net.architecture.steps]
    fixed = {"optimizer": SGD(lr=0), "augmentation": None, "batch_size": 60, "epochs": 3}
    _, history = trained((images, labels), net, validation_data=(images, labels), **fixed)
    assert len(set(history.train_loss)) == 3  # each epoch drops others
    assert len(set(history.validation_loss)) == 1
    assert history.validation_loss[0] == pytest.approx(tinycnn.evaluate(net, images, labels)[0])
    again = [trained((images, labels), CNN((1, 6, 6), layers), seed=s)[0].flat for s in (1, 1, 2)]
    np.testing.assert_array_equal(again[0], again[1])
    assert (again[0] != again[2]).any()


# -------------------------------------------------------------------- what can be given by name


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("adamw", lambda: AdamW(0.01, weight_decay=0.01)),
        ("adam", lambda: Adam(0.01)),
        ("sgd", lambda: SGD(0.05)),
    ],
)
def test_an_optimizer_by_name_is_the_one_with_the_recipes_rate(rng, name, make):
    data = halves(rng)
    by_name, _ = trained(data, optimizer=name)
    by_hand, _ = trained(data, optimizer=make())
    np.testing.assert_array_equal(by_name.flat, by_hand.flat)
    assert LEARNING_RATES[name] == make().lr
    others = [trained(data, optimizer=other)[0].flat for other in LEARNING_RATES if other != name]
    assert all((other != by_name.flat).any() for other in others)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("one_cycle", OneCycle()),
        ("cosine", cosine_decay),
        ("linear", linear_decay),
        ("constant", constant),
        (None, constant),
        (lambda done: 1 - done, linear_decay),
    ],
)
def test_a_schedule_by_name_is_the_function(rng, name, schedule):
    data = halves(rng)
    expected, _ = trained(data, schedule=schedule)
    np.testing.assert_array_equal(trained(data, schedule=name)[0].flat, expected.flat)
    assert (trained(data, schedule=lambda done: 0.5)[0].flat != expected.flat).any()


def test_what_is_not_given_is_the_recipe(rng):
    images, labels = rng.random((100, 1, 16, 16)), np.arange(100) % 3
    net, expected = (small_net((1, 16, 16), channels=(2,), n_classes=3) for _ in range(2))
    history = tinycnn.fit(net, images, labels, verbose=False)
    assert len(history.train_loss) == auto_epochs(100) == 160
    tinycnn.fit(
        expected,
        images,
        labels,
        epochs=160,
        batch_size=auto_batch_size(100),
        optimizer=AdamW(0.01, weight_decay=0.01),
        schedule=OneCycle(),
        augmentation=Augmentation(shift=1),
        verbose=False,
    )
    np.testing.assert_array_equal(net.flat, expected.flat)


def test_a_name_makes_a_new_optimizer_and_an_instance_keeps_its_momentum(rng):
    data, optimizer = halves(rng), SGD()
    first, _ = trained(data, optimizer=optimizer)
    assert optimizer.state()["n_steps"] == 2 * 4
    again, _ = trained(data, optimizer=optimizer)
    assert optimizer.state()["n_steps"] == 4 * 4
    assert (again.flat != first.flat).any()
    np.testing.assert_array_equal(trained(data, optimizer=SGD())[0].flat, first.flat)
    for _ in range(2):
        np.testing.assert_array_equal(trained(data, optimizer="sgd")[0].flat, first.flat)


# --------------------------------------------------------------------------------------- callbacks


class Recorder(Callback):
    """Writes down what it is told, and stops when asked to."""

    def __init__(self, stop_after=None):
        self.events = []
        self.stop_after = stop_after

    def on_fit_begin(self, state):
        self.events.append("begin")

    def on_batch_end(self, state):
        self.events.append("batch")

    def on_epoch_end(self, state):
        self.events.append(f"epoch {state.epoch} {len(state.history.train_loss)}")
        return state.epoch == self.stop_after

    def on_fit_end(self, state):
        self.events.append("end")


def test_callbacks_hear_everything_in_order_and_can_stop(rng):
    first, second = Recorder(), Recorder(stop_after=2)
    _, history = trained(halves(rng, 10), epochs=5, batch_size=6, callbacks=[second, first])
    assert len(history.train_loss) == 2
    expected = ["begin", "batch", "batch", "epoch 1 1", "batch", "batch", "epoch 2 2", "end"]
    assert first.events == second.events == expected


@pytest.mark.parametrize("several", [list, tuple, iter, lambda one: one[0]])
def test_one_callback_needs_no_list_and_several_come_in_any(rng, several):
    recorder = Recorder()
    trained(halves(rng, 10), epochs=1, batch_size=10, callbacks=several([recorder]))
    assert recorder.events == ["begin", "batch", "epoch 1 1", "end"]


@pytest.mark.parametrize("none", [(), [], None])
def test_no_callbacks(rng, none):
    trained(halves(rng, 10), callbacks=none)


@pytest.mark.parametrize("when", ["on_fit_begin", "on_batch_end", "on_epoch_end"])
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_callbacks_hear_the_end_after_an_exception(rng, when, kind):
    error = kind("mine")

    def fail(self, state):
        raise error

    failing = type("Failing", (Recorder,), {when: fail})()
    other = Recorder()
    with pytest.raises(kind, match="mine") as caught:
        trained(halves(rng, 10), callbacks=[failing, other])
    assert caught.value is error
    assert failing.events[-1] == other.events[-1] == "end"
    assert failing.events.count("end") == other.events.count("end") == 1


class FailsAtTheEnd(Recorder):
    """Raises an error once training is over."""

    def __init__(self, words):
        super().__init__()
        self.words = words

    def on_fit_end(self, state):
        super().on_fit_end(state)
        raise ValueError(self.words)


def test_all_hear_the_end_when_one_fails_at_it_and_the_first_error_is_raised(rng):
    callbacks = [FailsAtTheEnd("first"), Recorder(), FailsAtTheEnd("second"), Recorder()]
    with pytest.raises(ValueError, match="first") as caught:
        trained(halves(rng, 10), callbacks=callbacks)
    assert [each.events[-1] for each in callbacks] == ["end"] * 4
    [note] = caught.value.__notes__
    assert "FailsAtTheEnd.on_fit_end failed as well" in note
    assert "second" in note


def test_what_broke_training_is_raised_and_not_what_failed_after_it(rng):
    class Breaks(Recorder):
        def on_batch_end(self, state):
            raise KeyboardInterrupt("stop")

    callbacks = [FailsAtTheEnd("after"), Breaks()]
    with pytest.raises(KeyboardInterrupt, match="stop") as caught:
        trained(halves(rng, 10), callbacks=callbacks)
    assert [each.events[-1] for each in callbacks] == ["end"] * 2
    assert ["after" in note for note in caught.value.__notes__] == [True]


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_progress_says_nothing_of_a_training_that_could_not_begin(
    rng, tmp_path, monkeypatch, with_tqdm
):
    if with_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    checkpoint = Checkpoint(tmp_path / "none" / "run.npz")
    with pytest.raises(FileNotFoundError) as caught:
        trained(halves(rng, 10), callbacks=checkpoint, verbose=True)
    assert not hasattr(caught.value, "__notes__")


# ----------------------------------------------------------------------- batches, seeds, schedules


def watch_batches(net, monkeypatch):
    """Return a list to which the images of each batch will be added, by their indices."""
    seen = []
    gradients_of = net.path.gradients

    class Spy:
        """Stands before what computes gradients, and notes which images they are of."""

        def __init__(self, gradients):
            self.gradients = gradients

        def __enter__(self):
            self.gradients.__enter__()
            return self

        def __exit__(self, *error):
            return self.gradients.__exit__(*error)

        def over(self, examples, *others):
            batches = self.gradients.over(examples, *others)

            def differentiate(first, last):
                seen.append(examples.order[first:last].copy())
                return batches.differentiate(first, last)

            return SimpleNamespace(differentiate=differentiate)

    monkeypatch.setattr(net.path, "gradients", lambda *others: Spy(gradients_of(*others)))
    return seen


def test_every_epoch_sees_every_image_once_in_a_new_order(rng, monkeypatch):
    net = two_classes()
    seen = watch_batches(net, monkeypatch)
    trained(halves(rng, 20), net, epochs=3, batch_size=8)
    epochs = [np.concatenate(seen[i : i + 3]) for i in (0, 3, 6)]
    assert [len(batch) for batch in seen[:3]] == [8, 8, 4]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        np.testing.assert_array_equal(np.sort(epochs[other]), np.arange(20))
        assert (epochs[one] != epochs[other]).any()
        # Images are shuffled, not whole batches.
        assert set(epochs[one][:8]) != set(epochs[other][:8])


def test_the_order_of_the_images_is_the_same_with_augmentation(rng, monkeypatch):
    orders = []
    for augmentation in (None, Augmentation(2, flip=True)):
        net = two_classes()
        seen = watch_batches(net, monkeypatch)
        trained(halves(rng, 40), net, epochs=3, augmentation=augmentation)
        orders.append(np.concatenate(seen))
    np.testing.assert_array_equal(orders[0], orders[1])


def test_the_seed_decides_the_result(rng):
    data = halves(rng)
    first, same, other = (trained(data, seed=seed)[0].flat for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert (trained(data, seed=None)[0].flat != trained(data, seed=None)[0].flat).any()


def test_schedule_gets_the_share_done_and_scales_the_rate(rng):
    shares = []

    def schedule(done):
        shares.append(done)
        return 0.0

    net = two_classes()
    before = net.flat.copy()
    trained(halves(rng, 12), net, epochs=2, batch_size=6, schedule=schedule)
    assert shares == [0.0, 0.25, 0.5, 0.75]
    np.testing.assert_array_equal(net.flat, before)


# -------------------------------------------------------------------------------------- validation


def test_validation_data_are_measured_after_each_epoch(rng):
    images, labels = halves(rng)
    validation = images[40:], labels[40:]
    for pair in (validation, list(validation)):
        net, history = trained((images[:40], labels[:40]), epochs=3, validation_data=pair)
        assert len(history.validation_loss) == len(history.validation_accuracy) == 3
        loss, accuracy = tinycnn.evaluate(net, *validation)
        assert (history.validation_loss[-1], history.validation_accuracy[-1]) == (loss, accuracy)


def test_validation_fraction_holds_images_out(rng):
    recorder = Recorder()
    _, history = trained(
        halves(rng), epochs=1, batch_size=12, validation_fraction=0.2, callbacks=recorder
    )
    assert recorder.events.count("batch") == 4  # 48 of 60 images
    assert len(history.validation_accuracy) == 1


# -------------------------------------------------------------------------------------- divergence


def assert_as_new(net, optimizer):
    np.testing.assert_array_equal(net.flat, two_classes().flat)
    assert list(optimizer.state()) == ["n_steps"]
    assert optimizer.state()["n_steps"] == 0


def test_divergence_is_told_and_undone(rng):
    net, optimizer = two_classes(), SGD(lr=1e30)
    with pytest.raises(FloatingPointError, match=r"the loss became .* epoch 1 .*lower learning"):
        trained(halves(rng), net, optimizer=optimizer, batch_size=4)
    assert_as_new(net, optimizer)


def test_divergence_in_the_last_step_is_noticed(rng):
    """The loss of a step is that before it: only the parameters tell."""
    net, optimizer = two_classes(), SGD(lr=1e38, momentum=0)
    arguments = {"epochs": 1, "batch_size": 60, "schedule": lambda done: 1e30}
    with pytest.raises(FloatingPointError, match=r"a parameter became infinite or NaN in epoch 1"):
        trained(halves(rng), net, optimizer=optimizer, **arguments)
    assert_as_new(net, optimizer)


def test_divergence_puts_a_used_optimizer_back_to_where_it_was(rng):
    data, net, optimizer = halves(rng), two_classes(), Adam(0.01)
    trained(data, net, optimizer=optimizer)
    flat, before = net.flat.copy(), optimizer.state()

    class Ruin(Callback):
        def on_batch_end(self, state):
            state.net.flat[0] = np.nan if state.epoch == 2 else state.net.flat[0]

    with pytest.raises(FloatingPointError, match="in epoch 2"):
        trained(data, net, optimizer=optimizer, callbacks=Ruin())
    np.testing.assert_array_equal(net.flat, flat)
    after = optimizer.state()
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.parametrize("moment", ["on_epoch_end", "after_epoch", "on_fit_end"])
def test_what_a_callback_ruins_after_the_last_batch_is_undone(rng, moment):
    def ruin(state):
        if state.epoch == state.epochs:
            state.net.flat[3] = np.nan

    net, optimizer, callback = two_classes(), Adam(0.01), Callback()
    setattr(callback, moment, ruin)
    before = net.flat.copy()
    with pytest.raises(FloatingPointError, match="a callback has made a parameter infinite or NaN"):
        trained(halves(rng), net, optimizer=optimizer, callbacks=callback)
    np.testing.assert_array_equal(net.flat, before)
    assert optimizer.state()["n_steps"] == 0


def test_a_callback_may_ask_for_fewer_epochs_than_are_done(rng):
    class Shorten(Callback):
        def after_epoch(self, state):
            state.epochs = 1 if state.epoch == 3 else state.epochs

    _, history = trained(halves(rng), epochs=9, schedule=None, callbacks=Shorten())
    assert len(history.train_loss) == 3


# ------------------------------------------------------------------------------------------ errors


class Mine(Callback):
    """A callback that is given as a class."""


# What must be refused, by keyword: the value, the kind of error, and what the message must say.
REFUSED = {
    "epochs": [
        (-1, ValueError, "must be a whole number of at least 0, got -1"),
        (2.5, ValueError, "must be a whole number of at least 0, got 2.5"),
        ("many", ValueError, "must be 'auto' or a whole number, got 'many'"),
        ("3", ValueError, "must be 'auto' or a whole number, got '3'"),
        (None, TypeError, "must be a real number, got None"),
        (True, TypeError, "must be a real number, got True"),
        ([3], TypeError, r"must be a real number, got \[3\]"),
    ],
    "batch_size": [
        (0, ValueError, "must be a whole number of at least 1, got 0"),
        ("64", ValueError, "must be 'auto' or a whole number, got '64'"),
        (None, TypeError, "must be a real number, got None"),
        (np.nan, ValueError, "must be a whole number of at least 1, got nan"),
        ((8,), TypeError, r"must be a real number, got \(8,\)"),
    ],
    "optimizer": [
        ("rmsprop", ValueError, "must be one of 'adamw', 'adam', 'sgd', got 'rmsprop'"),
        ("Adam", ValueError, "must be one of 'adamw', 'adam', 'sgd', got 'Adam'"),
        (Adam, TypeError, r"the class Adam; call it: Adam\(...\)"),
        (None, TypeError, r"must be a name .* or an optimiser such as tinycnn.Adam.*got None"),
        (0.1, TypeError, "must be a name .* got 0.1"),
        (lambda: None, TypeError, "must be a name .* got <function"),
    ],
    "schedule": [
        ("step", ValueError, "one of 'one_cycle', 'cosine', 'linear', 'constant', got 'step'"),
        (OneCycle, TypeError, r"the class OneCycle; call it: OneCycle\(...\)"),
        (0.5, TypeError, "must be a name .* or a function .* got 0.5"),
        ([1, 0.5], TypeError, r"must be a name .* got \[1, 0.5\]"),
    ],
    "augmentation": [
        ("shift", TypeError, r"must be 'auto', None or a tinycnn.Augmentation.*got 'shift'"),
        (1, TypeError, r"such as Augmentation\(shift=1\), got 1"),
        (Augmentation, TypeError, r"the class Augmentation; call it: Augmentation\(...\)"),
        (Augmentation(6), ValueError, "shift: must be less than 6 for images of 6 x 6, got 6"),
    ],
    "sample_weight": [
        ("balanced", TypeError, "needs real numbers"),
        ([1] * 9, ValueError, "10 images need as many weights, got 9"),
        (object(), TypeError, "needs real numbers"),
        ([-1] * 10, ValueError, r"must not be negative, got sample_weight\[0\]"),
    ],
    "class_weight": [
        ("auto", ValueError, "the only word it takes is 'balanced', got 'auto'"),
        ({2: 1}, ValueError, r"keys are classes in \[0, 2\), got 2"),
        ([1, 2, 3], ValueError, "2 classes need as many weights, got 3"),
        (object(), TypeError, "needs real numbers"),
    ],
    "label_smoothing": [
        (1, ValueError, r"must be in \[0, 1\), got 1"),
        ("0.1", TypeError, "must be a real number, got '0.1'"),
        (None, TypeError, "must be a real number, got None"),
    ],
    "validation_data": [
        (np.zeros((5, 1, 6, 6)), ValueError, r"must be a pair \(images, labels\), got"),
        ("images", ValueError, r"must be a pair \(images, labels\), got 'images'"),
        ((np.zeros((1, 1, 6, 6)),), ValueError, r"must be a pair \(images, labels\)"),
        ((np.zeros((1, 1, 6, 6)), [0], [1]), ValueError, r"must be a pair \(images, labels\)"),
        (3, ValueError, r"must be a pair \(images, labels\), got 3"),
        ((np.zeros((2, 1, 6, 6)), [0]), ValueError, r"\[1\]: 2 images need as many labels, got 1"),
        ((np.zeros((0, 1, 6, 6)), []), ValueError, r"\[0\]: at least one image is needed"),
        ((np.zeros((1, 1, 6, 7)), [0]), ValueError, r"\[0\]: this network takes images of shape"),
        ((np.zeros((1, 1, 6, 6)), [5]), ValueError, r"\[1\]: labels must be"),
        ((np.zeros((1, 1, 6, 6)), ["a"]), TypeError, r"\[1\]: needs real numbers"),
    ],
    "validation_fraction": [
        (1.5, ValueError, r"must be in \[0, 1\), got 1.5"),
        (-0.1, ValueError, r"must be in \[0, 1\), got -0.1"),
        (np.nan, ValueError, r"must be in \[0, 1\), got nan"),
        ("0.1", TypeError, "must be a real number, got '0.1'"),
        (None, TypeError, "must be a real number, got None"),
        (0.01, ValueError, "0.01 of 10 images holds none out.* give a larger share"),
    ],
    "callbacks": [
        (Mine, TypeError, r"got the class Mine; call it: Mine\(...\)"),
        ([Mine], TypeError, r"callbacks\[0\]: .*got the class Mine; call it: Mine\(...\)"),
        ([Mine(), print], TypeError, r"callbacks\[1\]: must be an instance of a subclass of"),
        (print, TypeError, r"must be a callback, such as tinycnn.EarlyStopping\(patience=5\)"),
        ("stop", TypeError, r"callbacks\[0\]: must be an instance .* got 's'"),
        (5, TypeError, "must be a callback.* got 5"),
    ],
    "seed": [
        (-1, ValueError, "must be a whole number of at least 0, got -1"),
        ("a", TypeError, "must be a real number, got 'a'"),
        (0.5, ValueError, "must be a whole number of at least 0, got 0.5"),
        (np.random.default_rng(0), TypeError, "must be a real number, got Generator"),
    ],
    "n_threads": [
        (0, ValueError, "must be a whole number of at least 1, got 0"),
        ("2", TypeError, "must be a real number, got '2'"),
        (1.5, ValueError, "must be a whole number of at least 1, got 1.5"),
    ],
    "verbose": [
        (1, TypeError, "must be True or False, got 1"),
        ("yes", TypeError, "must be True or False, got 'yes'"),
        (None, TypeError, "must be True or False, got None"),
    ],
    "net": [
        (CNN, TypeError, r"must be a tinycnn.CNN, got the class CNN; call it: CNN\(...\)"),
        ("model.npz", TypeError, "must be a tinycnn.CNN, got 'model.npz'"),
    ],
    "images": [
        (np.zeros((10, 1, 6, 6), int), TypeError, "dtype int64 is neither bytes"),
        (np.full((10, 1, 6, 6), np.inf), ValueError, r"images\[0, 0, 0, 0\] = inf"),
        (np.full((10, 1, 6, 6), 1e39), ValueError, r"finite as float32.* = 1e\+39"),
        (np.zeros((10, 6, 6)), ValueError, r"needs 4 dimensions \(N, C, H, W\), got 3"),
        ("digits", TypeError, "needs real numbers"),
        (None, TypeError, "needs real numbers"),
    ],
    "labels": [
        ([0] * 9, ValueError, "10 images need as many labels, got 9"),
        ([0.5] * 10, ValueError, r"whole numbers in \[0, 2\), got labels\[0\] = 0.5"),
        ([2] * 10, ValueError, r"labels\[0\] = 2"),
        (["a"] * 10, TypeError, r"number the classes: np\.unique\(labels, return_inverse=True\)"),
        (np.eye(10), ValueError, r"needs 1 dimension \(N,\), got 2 with shape \(10, 10\)$"),
        (np.eye(2)[[0, 1] * 5], ValueError, r"\(10, 2\); give labels\.argmax\(axis=1\)$"),
        (np.zeros((10, 1)), ValueError, r"\(10, 1\); give labels\[:, 0\]$"),
        (None, TypeError, "needs real numbers"),
    ],
}


def test_every_argument_of_fit_has_a_wrong_one():
    assert set(REFUSED) == set(inspect.signature(tinycnn.fit).parameters)


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [(name, *case) for name, cases in REFUSED.items() for case in cases],
    ids=lambda value: named(value)[:40],
)
def test_wrong_arguments_are_refused_before_anything_changes(name, value, error, words):
    net = two_classes()
    good = {"net": net, "images": np.zeros((10, 1, 6, 6)), "labels": [0, 1] * 5, "verbose": False}
    with pytest.raises(error, match=words) as caught:
        tinycnn.fit(**(good | {name: value}))
    message = str(caught.value)
    assert message.startswith((name, "shift")), "the message begins with the argument's name"
    assert len(message) < 500
    np.testing.assert_array_equal(net.flat, two_classes().flat)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="images: at least one image is needed, got 0"):
        trained((np.zeros((0, 1, 6, 6)), []))


def test_validation_comes_from_one_place():
    data = np.zeros((10, 1, 6, 6)), [0, 1] * 5
    with pytest.raises(ValueError, match="validation_fraction: give this or validation_data, not"):
        trained(data, validation_fraction=0.5, validation_data=data)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint16"])
@pytest.mark.parametrize("where", ["images", "one channel"])
def test_pixels_of_0_to_255_are_not_taken_for_0_to_1(rng, dtype, where):
    images, labels = rng.random((30, 3, 8, 8)), np.arange(30) % 2
    images[:, 0 if where == "one channel" else slice(None)] *= 255
    images = images.astype(dtype)
    net = small_net((3, 8, 8), n_classes=2)
    before = net.flat.copy()
    with pytest.raises(
        ValueError,
        match=r"images: .*not standardised expects pixels of about 0..1, .*"
        r"call net.standardize\(images\) before fit",
    ):
        trained((images, labels), net)
    np.testing.assert_array_equal(net.flat, before)
    net.standardize(images)
    trained((images, labels), net)


@pytest.mark.parametrize(
    "images",
    [
        np.random.default_rng(0).integers(0, 256, (30, 1, 6, 6), np.uint8),
        np.random.default_rng(0).normal(size=(30, 1, 6, 6)),
        np.random.default_rng(0).random((30, 1, 6, 6)).astype("float16"),
        np.zeros((30, 1, 6, 6)),
    ],
    ids=["bytes", "standardised by hand", "shares of white", "black"],
)
def test_pixels_of_a_usual_scale_are_taken_as_they_are(images):
    trained((images, np.arange(30) % 2))


# ---------------------------------------------------------------------------------------- progress


def test_lines_are_written_where_tqdm_is_missing(rng, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    images, labels = halves(rng)
    tinycnn.fit(two_classes(), images, labels, epochs=2, validation_fraction=0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss 0.")
    assert "accuracy" in lines[1]


def test_a_bar_is_shown_where_tqdm_is_installed(rng, capsys):
    pytest.importorskip("tqdm")
    images, labels = halves(rng)
    tinycnn.fit(two_classes(), images, labels, epochs=2, batch_size=10)
    shown = capsys.readouterr().err
    assert "12/12" in shown
    assert "loss 0." in shown


def test_silent_on_request(rng, capsys):
    images, labels = halves(rng)
    tinycnn.fit(two_classes(), images, labels, epochs=1, verbose=False)
    assert capsys.readouterr() == ("", "")


def test_progress_line_names_the_epoch():
    history = tinycnn.History()
    history.train_loss, history.seconds = [0.5], [1.5]
    history.validation_loss, history.validation_accuracy = [0.25], [0.75]
    assert repr(history).startswith("History(train_loss=[0.5], validation_loss=[0.25]")
    stream = io.StringIO()
    ProgressLines(stream).on_epoch_end(SimpleNamespace(history=history, epoch=1, epochs=10))
    assert stream.getvalue() == (
        "epoch  1/10  loss 0.5000  validation loss 0.2500  accuracy 75.00%  1.50 s\n"
    )


@pytest.mark.parametrize(
    ("epochs", "seconds", "shown"),
    [
        (50, 0.1, [*range(1, 51)]),
        (200, 0.1, [1, *range(4, 201, 4)]),
        (101, 0.1, [1, *range(3, 101, 3), 101]),
        (101, 0.5, [*range(1, 102)]),
    ],
)
def test_of_hundreds_of_quick_epochs_not_each_gets_a_line(epochs, seconds, shown):
    stream = io.StringIO()
    lines = ProgressLines(stream)
    history = SimpleNamespace(train_loss=[0.5], seconds=[seconds], validation_accuracy=[])
    for epoch in range(1, epochs + 1):
        lines.on_epoch_end(SimpleNamespace(history=history, epoch=epoch, epochs=epochs))
    assert [int(line[6:].partition("/")[0]) for line in stream.getvalue().splitlines()] == shown


MEMORY_SCRIPT = """
import resource
import numpy as np
import tinycnn

x = np.random.default_rng(0).random((60_000, 1, 28, 28), dtype=np.float32)
y = (np.arange(60_000) % 10).astype(np.float64)
rng = np.random.default_rng(1)
w_conv = rng.normal(size=(8, 1, 3, 3)).astype(np.float32)
w_fc = 0.01 * rng.normal(size=(8 * 13 * 13, 10)).astype(np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tinycnn.train(x, y, w_conv, w_fc, 0.1, 1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss counts KiB on Linux")
def test_a_batch_of_60000_images_takes_little_extra_memory():
    result = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert float(result.stdout) < 100  # MiB above x itself
