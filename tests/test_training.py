"""The minibatch loop: learning, shuffling, history, callbacks, validation, and what it refuses."""

import io
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import relative_error

import tinycnn
from tinycnn import CNN, SGD, Callback
from tinycnn.callbacks import ProgressLines
from tinycnn.engine import BatchGradients
from tinycnn.functional import cross_entropy_backward, cross_entropy_forward


def small_data(rng, n=60):
    """Two classes that a bright left or right half tells apart; images (n, 1, 6, 6)."""
    labels = np.arange(n) % 2
    images = 0.1 * rng.random((n, 1, 6, 6))
    images[labels == 0, :, :, :3] += 0.8
    images[labels == 1, :, :, 3:] += 0.8
    return images, labels


def test_digits_are_learned(digits):
    images, labels = digits
    net = CNN((1, 8, 8))
    history = tinycnn.fit(net, images, labels, epochs=6, batch_size=32, verbose=False)
    assert net.score(images, labels) > 0.95
    assert len(history.train_loss) == len(history.seconds) == 6
    assert history.train_loss[-1] < 0.2 * history.train_loss[0]
    assert history.validation_loss == history.validation_accuracy == []


def test_bytes_train_like_the_floats_they_stand_for(rng):
    images, labels = small_data(rng)
    as_bytes = np.round(255 * images).clip(0, 255).astype(np.uint8)
    nets = [CNN((1, 6, 6), n_classes=2, dtype="float64") for _ in range(2)]
    for net, data in zip(nets, (as_bytes, as_bytes / 255), strict=True):
        tinycnn.fit(net, data, labels, epochs=2, verbose=False)
    assert relative_error(nets[0].flat, nets[1].flat) < 1e-12


def test_one_full_batch_epoch_is_one_descent_step(rng):
    images, labels = small_data(rng)
    net, expected = (CNN((1, 6, 6), n_classes=2, dtype="float64") for _ in range(2))
    logits, cache = expected.forward(images)
    loss, loss_cache = cross_entropy_forward(logits, labels)
    gradients = expected.backward(cross_entropy_backward(1.0, loss_cache), cache)
    expected.flat -= 0.3 * np.concatenate([g.reshape(-1) for g in gradients.values()])
    history = tinycnn.fit(
        net, images, labels, epochs=1, batch_size=60, optimizer=SGD(0.3, momentum=0), verbose=False
    )
    assert relative_error(net.flat, expected.flat) < 1e-12
    assert history.train_loss == [pytest.approx(loss, rel=1e-12)]


@pytest.mark.parametrize("batch_size", [2**63 - 1, 2**63, 1e20])
def test_a_batch_of_any_size_holds_all_images_at_most(rng, batch_size):
    images, labels = small_data(rng)
    nets = [CNN((1, 6, 6), n_classes=2) for _ in range(2)]
    for net, B in zip(nets, (len(labels), batch_size), strict=True):
        tinycnn.fit(net, images, labels, epochs=2, batch_size=B, verbose=False)
    np.testing.assert_array_equal(nets[0].flat, nets[1].flat)


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
    images, labels = small_data(rng, 10)
    first, second = Recorder(), Recorder(stop_after=2)
    net = CNN((1, 6, 6), n_classes=2)
    history = tinycnn.fit(
        net, images, labels, epochs=5, batch_size=6, verbose=False, callbacks=[second, first]
    )
    assert len(history.train_loss) == 2
    expected = ["begin", "batch", "batch", "epoch 1 1", "batch", "batch", "epoch 2 2", "end"]
    assert first.events == second.events == expected


def test_callbacks_hear_the_end_after_an_exception(rng):
    class Failing(Recorder):
        def on_batch_end(self, state):
            raise RuntimeError("mine")

    images, labels = small_data(rng, 10)
    callback = Failing()
    with pytest.raises(RuntimeError, match="mine"):
        tinycnn.fit(
            CNN((1, 6, 6), n_classes=2), images, labels, verbose=False, callbacks=[callback]
        )
    assert callback.events == ["begin", "end"]


def test_every_epoch_sees_every_image_once_in_a_new_order(rng, monkeypatch):
    images, labels = small_data(rng, 20)
    seen = []

    class Spy:
        """Notes which images are in each batch."""

        def __init__(self, batches, order):
            self.batches, self.order = batches, order

        def differentiate(self, first, last):
            seen.append(self.order[first:last].copy())
            return self.batches.differentiate(first, last)

    def over(self, pixels, labels, order, *others):
        return Spy(prepare(self, pixels, labels, order, *others), order)

    prepare = BatchGradients.over
    monkeypatch.setattr(BatchGradients, "over", over)
    tinycnn.fit(CNN((1, 6, 6), n_classes=2), images, labels, epochs=3, batch_size=8, verbose=False)
    epochs = [np.concatenate(seen[i : i + 3]) for i in (0, 3, 6)]
    assert [len(batch) for batch in seen[:3]] == [8, 8, 4]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        np.testing.assert_array_equal(np.sort(epochs[other]), np.arange(20))
        assert (epochs[one] != epochs[other]).any()
        # Images are shuffled, not whole batches.
        assert set(epochs[one][:8]) != set(epochs[other][:8])


def test_the_seed_decides_the_result(rng):
    images, labels = small_data(rng)

    def trained(seed):
        net = CNN((1, 6, 6), n_classes=2)
        tinycnn.fit(net, images, labels, epochs=2, batch_size=16, seed=seed, verbose=False)
        return net.flat

    np.testing.assert_array_equal(trained(1), trained(1))
    assert (trained(1) != trained(2)).any()


def test_schedule_gets_the_share_done_and_scales_the_rate(rng):
    images, labels = small_data(rng, 12)
    shares = []

    def schedule(done):
        shares.append(done)
        return 0.0

    net = CNN((1, 6, 6), n_classes=2)
    before = net.flat.copy()
    tinycnn.fit(net, images, labels, epochs=2, batch_size=6, schedule=schedule, verbose=False)
    assert shares == [0.0, 0.25, 0.5, 0.75]
    np.testing.assert_array_equal(net.flat, before)


def test_validation_data_are_measured_after_each_epoch(rng):
    images, labels = small_data(rng)
    net = CNN((1, 6, 6), n_classes=2)
    history = tinycnn.fit(
        net,
        images[:40],
        labels[:40],
        epochs=3,
        verbose=False,
        validation_data=(images[40:], labels[40:]),
    )
    assert len(history.validation_loss) == len(history.validation_accuracy) == 3
    loss, accuracy = tinycnn.evaluate(net, images[40:], labels[40:])
    assert (history.validation_loss[-1], history.validation_accuracy[-1]) == (loss, accuracy)


def test_validation_fraction_holds_images_out(rng):
    images, labels = small_data(rng)
    net = CNN((1, 6, 6), n_classes=2)
    recorder = Recorder()
    history = tinycnn.fit(
        net,
        images,
        labels,
        epochs=1,
        batch_size=12,
        verbose=False,
        validation_fraction=0.2,
        callbacks=[recorder],
    )
    assert recorder.events.count("batch") == 4  # 48 of 60 images
    assert len(history.validation_accuracy) == 1


def test_divergence_is_told_and_undone(rng):
    images, labels = small_data(rng)
    net = CNN((1, 6, 6), n_classes=2)
    before = net.flat.copy()
    with pytest.raises(FloatingPointError, match=r"the loss became .* epoch 1 .*lower learning"):
        tinycnn.fit(net, images, labels, optimizer=SGD(lr=1e30), batch_size=4, verbose=False)
    np.testing.assert_array_equal(net.flat, before)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"labels": [0] * 9}, ValueError, r"labels: 10 images need as many labels, got 9"),
        ({"labels": [0.5] * 10}, ValueError, r"whole numbers in \[0, 2\), got labels\[0\] = 0.5"),
        ({"labels": [2] * 10}, ValueError, r"labels\[0\] = 2"),
        ({"labels": ["a"] * 10}, TypeError, r"labels: needs real numbers"),
        ({"images": np.zeros((0, 1, 6, 6)), "labels": []}, ValueError, r"at least one image"),
        ({"images": np.zeros((10, 1, 6, 6), int)}, TypeError, r"images: dtype int64"),
        ({"images": np.full((10, 1, 6, 6), np.inf)}, ValueError, r"images\[0, 0, 0, 0\] = inf"),
        ({"epochs": -1}, ValueError, r"epochs: .* at least 0, got -1"),
        ({"seed": -1}, ValueError, r"seed: .* at least 0, got -1"),
        ({"batch_size": 0}, ValueError, r"batch_size: .* at least 1, got 0"),
        ({"validation_fraction": 1.5}, ValueError, r"1.5"),
        ({"validation_fraction": 0.01}, ValueError, r"validation_fraction: 0.01 of 10 images"),
        (
            {"validation_fraction": 0.5, "validation_data": (np.zeros((1, 1, 6, 6)), [0])},
            ValueError,
            r"validation_fraction: give this or validation_data, not both",
        ),
        (
            {"validation_data": (np.zeros((1, 1, 6, 7)), [0])},
            ValueError,
            r"validation_data\[0\]: this network takes images of shape",
        ),
        (
            {"validation_data": (np.zeros((1, 1, 6, 6)), [5])},
            ValueError,
            r"validation_data\[1\]: labels must be",
        ),
    ],
)
def test_bad_arguments_are_refused_before_anything_changes(arguments, error, words):
    net = CNN((1, 6, 6), n_classes=2)
    before = net.flat.copy()
    good = {"images": np.zeros((10, 1, 6, 6)), "labels": [0, 1] * 5, "verbose": False}
    with pytest.raises(error, match=words):
        tinycnn.fit(net, **(good | arguments))
    np.testing.assert_array_equal(net.flat, before)


def test_lines_are_written_where_tqdm_is_missing(rng, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    images, labels = small_data(rng)
    tinycnn.fit(CNN((1, 6, 6), n_classes=2), images, labels, epochs=2, validation_fraction=0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss 0.")
    assert "accuracy" in lines[1]


def test_a_bar_is_shown_where_tqdm_is_installed(rng, capsys):
    pytest.importorskip("tqdm")
    images, labels = small_data(rng)
    tinycnn.fit(CNN((1, 6, 6), n_classes=2), images, labels, epochs=2, batch_size=10)
    shown = capsys.readouterr().err
    assert "12/12" in shown
    assert "loss 0." in shown


def test_silent_on_request(rng, capsys):
    images, labels = small_data(rng)
    tinycnn.fit(CNN((1, 6, 6), n_classes=2), images, labels, epochs=1, verbose=False)
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
