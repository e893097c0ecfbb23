"""Checkpoints: broken off and resumed, a training ends like one that was not, bit for bit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import small_net

import tinycnn
from tinycnn import (
    SGD,
    Adam,
    AdamW,
    Augmentation,
    Callback,
    Checkpoint,
    Conv,
    Dropout,
    EarlyStopping,
    Flatten,
    Linear,
    OneCycle,
    ReLU,
    cosine_decay,
    linear_decay,
)

EPOCHS = 6


@pytest.fixture
def data(rng):
    """Two classes of images (41, 1, 6, 6), not too easy to tell apart."""
    labels = np.arange(41) % 2
    images = rng.normal(size=(41, 1, 6, 6))  # of both signs, so that no filter dies
    images[:, :, :, 3:] += 0.5 * labels[:, None, None, None]
    return images, labels


class BreakOff(Callback):
    """Raises an exception in the middle of the epoch that follows the given one."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, state):
        if state.epoch > self.epoch:
            raise KeyboardInterrupt


def make_net(**arguments):
    return small_net((1, 6, 6), **{"channels": (3,), "n_classes": 2, **arguments})


class Outcome:
    """A training, and all that is to be the same after it."""

    def __init__(self, data, *, optimizer=None, callbacks=(), net=None, **arguments):
        self.net = net or make_net()
        self.optimizer = optimizer or SGD()
        fixed = {"epochs": EPOCHS, "batch_size": 16, "schedule": None, "verbose": False}
        arguments = {**fixed, **arguments}
        self.stopping = next((each for each in callbacks if isinstance(each, EarlyStopping)), None)
        self.history = None
        try:
            self.history = tinycnn.fit(
                self.net, *data, optimizer=self.optimizer, callbacks=callbacks, **arguments
            )
        except KeyboardInterrupt:
            assert any(isinstance(each, BreakOff) for each in callbacks)

    def assert_same(self, other):
        np.testing.assert_array_equal(self.net.flat, other.net.flat)
        mine, theirs = self.optimizer.state(), other.optimizer.state()
        assert mine.keys() == theirs.keys()
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
        for name in ("train_loss", "validation_loss", "validation_accuracy"):
            assert getattr(self.history, name) == getattr(other.history, name)
        assert len(self.history.seconds) == len(other.history.seconds)
        if self.stopping:
            assert self.stopping.best_epoch == other.stopping.best_epoch
            assert self.stopping.best_value == other.stopping.best_value


TRAININGS = {
    "SGD": {"optimizer": lambda: SGD(0.1, momentum=0)},
    "momentum": {"optimizer": lambda: SGD(0.1, weight_decay=1e-3)},
    "Nesterov, one cycle": {
        "optimizer": lambda: SGD(0.1, nesterov=True),
        "schedule": OneCycle(0.2),
        "batch_size": 7,
    },
    "Adam, linear decay, held out": {
        "optimizer": lambda: Adam(0.01),
        "schedule": linear_decay,
        "validation_fraction": 0.2,
    },
    "AdamW, cosine decay, float64, early stopping": {
        "optimizer": lambda: AdamW(0.03),
        "schedule": cosine_decay,
        "validation_fraction": 0.3,
        "patience": 5,
        "net": {"dtype": "float64"},
    },
    "Dropout, padding, two hidden layers": {
        "optimizer": lambda: AdamW(0.01),
        "schedule": "one_cycle",
        "net": {
            "layers": [
                *(Conv(3, padding="same"), ReLU(), Dropout(0.3), Flatten()),
                *(Linear(5), ReLU(), Dropout(0.2), Linear(4), ReLU(), Linear(2)),
            ],
            "channels": None,
        },
    },
    "augmented, weighted, smoothed": {
        "optimizer": lambda: SGD(0.1),
        "augmentation": Augmentation(shift=1, flip=True),
        "class_weight": {0: 1, 1: 3},
        "label_smoothing": 0.1,
    },
    "early stopping soon": {
        "optimizer": lambda: SGD(0.2),
        "validation_fraction": 0.3,
        "patience": 1,
    },
}


def outcome(data, path, name, *others, resume=False, checkpoint_first=False, net_seed=0, **more):
    """Run one of the trainings above with a checkpoint and other callbacks."""
    arguments = {**TRAININGS[name], **more}
    patience = arguments.pop("patience", None)
    stopping = [EarlyStopping(patience)] if patience else []
    checkpoint = [Checkpoint(path, resume=resume)]
    arguments["net"] = make_net(seed=net_seed, **arguments.get("net", {}))
    callbacks = checkpoint + stopping if checkpoint_first else stopping + checkpoint
    arguments["optimizer"] = arguments["optimizer"]()
    return Outcome(data, callbacks=[*callbacks, *others], **arguments)


@pytest.mark.parametrize("name", TRAININGS)
def test_broken_off_after_any_epoch_and_resumed_it_ends_the_same(tmp_path, data, name):
    whole = outcome(data, tmp_path / "whole.npz", name)
    n_epochs = len(whole.history.train_loss)
    assert (n_epochs < EPOCHS) == (name == "early stopping soon")
    for epoch in range(1, n_epochs + 1):
        path = tmp_path / f"{epoch}.npz"
        # The callbacks' order is of no account, nor is what the network was before.
        broken = outcome(data, path, name, BreakOff(epoch), checkpoint_first=True)
        assert (broken.history is None) == (epoch < n_epochs)
        whole.assert_same(outcome(data, path, name, resume=True, net_seed=epoch))


@pytest.mark.parametrize("name", TRAININGS)
def test_without_a_file_it_starts_anew(tmp_path, data, name):
    whole = outcome(data, tmp_path / "whole.npz", name)
    whole.assert_same(outcome(data, tmp_path / "run.npz", name, resume=True))
    assert (tmp_path / "run.npz").exists()


def test_without_resume_a_file_is_overwritten(tmp_path, data):
    path = tmp_path / "run.npz"
    outcome(data, path, "SGD", BreakOff(2))
    whole = outcome(data, tmp_path / "whole.npz", "SGD", seed=5)
    whole.assert_same(outcome(data, path, "SGD", seed=5))  # resumed, it would be refused
    assert description(path)["epoch"] == EPOCHS


def test_a_training_can_be_resumed_again_and_again(tmp_path, data):
    name, path = "AdamW, cosine decay, float64, early stopping", tmp_path / "run.npz"
    whole = outcome(data, tmp_path / "whole.npz", name)
    outcome(data, path, name, BreakOff(1))
    for epoch in (2, 4):
        outcome(data, path, name, BreakOff(epoch), resume=True)
    whole.assert_same(outcome(data, path, name, resume=True))
    # Once it is over, there is nothing left to do.
    whole.assert_same(outcome(data, path, name, BreakOff(0), resume=True))


def test_threads_and_progress_may_be_others(tmp_path, data, capsys):
    pytest.importorskip("tqdm")
    path = tmp_path / "run.npz"
    whole = outcome(data, tmp_path / "whole.npz", "momentum", n_threads=1)
    outcome(data, path, "momentum", BreakOff(4), n_threads=1)
    resumed = outcome(data, path, "momentum", resume=True, n_threads=2, verbose=True)
    whole.assert_same(resumed)
    shown = capsys.readouterr().err
    batches = [int(n) for n in re.findall(r"(\d+)/18", shown)]  # 3 an epoch
    assert max(batches) == 18
    assert min(batches) >= 12


def test_without_schedule_more_epochs_may_follow(tmp_path, data):
    path = tmp_path / "run.npz"
    outcome(data, path, "momentum", epochs=3)
    resumed = outcome(data, path, "momentum", resume=True, epochs=8)
    outcome(data, path, "momentum", epochs=8).assert_same(resumed)


def test_more_patience_goes_on_where_less_had_stopped(tmp_path, data):
    name, path = "early stopping soon", tmp_path / "run.npz"
    whole = outcome(data, tmp_path / "whole.npz", name, patience=4)
    short = outcome(data, path, name)
    assert len(short.history.train_loss) < len(whole.history.train_loss)
    whole.assert_same(outcome(data, path, name, resume=True, patience=4))


def test_without_seed_the_same_images_stay_held_out(tmp_path, data, rng):
    arguments = {"seed": None, "validation_fraction": 0.4, "epochs": 9}
    copies = tmp_path / "copies"
    copies.mkdir()

    class Copy(Callback):
        def on_batch_end(self, state):
            if state.epoch == 4:
                shutil.copy(tmp_path / "run.npz", copies / "run.npz")

    checkpoint = Checkpoint(tmp_path / "run.npz")
    whole = Outcome(data, callbacks=[checkpoint, Copy()], **arguments)
    resumed = Checkpoint(copies / "run.npz", resume=True)
    whole.assert_same(Outcome(data, callbacks=[resumed], **arguments))


def test_a_callbacks_own_state_is_restored(tmp_path, data):
    class Counter(Callback):
        def __init__(self):
            self.count, self.words = 0, ["none"]

        def on_batch_end(self, state):
            self.count += 1

        def on_epoch_end(self, state):
            self.words.append(f"epoch {state.epoch}")

        def state(self):
            return {"count": self.count, "words": self.words}

        def set_state(self, state):
            self.count, self.words = int(state["count"]), state["words"].tolist()

    path = tmp_path / "run.npz"
    Outcome(data, callbacks=[Counter(), Checkpoint(path)], epochs=2)
    counter = Counter()
    Outcome(data, callbacks=[counter, Checkpoint(path, resume=True)], epochs=4)
    assert counter.count == 4 * 3
    assert counter.words == ["none", "epoch 1", "epoch 2", "epoch 3", "epoch 4"]

    class Wrong(Counter):
        def state(self):
            return {"friend": object()}

    with pytest.raises(ValueError, match="'callback0/friend' is an array of Python objects"):
        Outcome(data, callbacks=[Wrong(), Checkpoint(path)])
    # The older one is there still.
    Outcome(data, callbacks=[Counter(), Checkpoint(path, resume=True)], epochs=4)


def test_written_every_so_many_epochs_and_after_the_last(tmp_path, data):
    path, epochs_written = tmp_path / "run.npz", []

    class Look(Callback):
        def after_epoch(self, state):
            if path.exists():
                epochs_written.append(description(path)["epoch"])

    Outcome(data, callbacks=[Checkpoint(path, every=3), Look()], epochs=7)
    assert epochs_written == [3, 3, 3, 6, 7]
    assert os.listdir(tmp_path) == ["run.npz"]


def test_load_model_reads_the_network_of_the_last_epoch(tmp_path, data):
    path = tmp_path / "run.npz"
    trained = Outcome(data, callbacks=[Checkpoint(path)])
    loaded = tinycnn.load_model(path)
    np.testing.assert_array_equal(loaded.flat, trained.net.flat)
    assert loaded.architecture == trained.net.architecture


KILLED_SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
import tinycnn

path, n_seconds, die_in_write = Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])

class Slow(tinycnn.Callback):
    def on_batch_end(self, state):
        time.sleep(n_seconds)

savez, n_writes = np.savez, 0

def die_half_way(file, **arrays):
    global n_writes
    n_writes += 1
    if n_writes == die_in_write:
        file.write(b"half")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    savez(file, **arrays)

np.savez = die_half_way
images, labels = tinycnn.load_digits()
net = tinycnn.CNN((1, 8, 8), channels=(2,), n_classes=10)
stopping = tinycnn.EarlyStopping(40)
tinycnn.fit(
    net, images[:200], labels[:200], epochs=30, validation_fraction=0.2, verbose=False,
    optimizer=tinycnn.Adam(), schedule=tinycnn.cosine_decay,
    callbacks=[stopping, tinycnn.Checkpoint(path, resume=True), Slow()],
)
tinycnn.save_model(net, path.with_name("final.npz"))
"""


def run_killed_script(path, n_seconds=0.0, die_in_write=0, wait=True):
    command = [sys.executable, "-c", KILLED_SCRIPT, path, str(n_seconds), str(die_in_write)]
    process = subprocess.Popen(command)
    return process.wait(timeout=60) if wait else process


def description(path):
    """Read what a checkpoint says of itself."""
    return json.loads(str(contents(path)["checkpoint"][0]))


def contents(path):
    """All of a checkpoint but the seconds."""
    with np.load(path) as file:
        return {key: file[key] for key in file.files if key != "history/seconds"}


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_killed_at_any_moment_it_goes_on_from_the_last_checkpoint(tmp_path, rng):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, killed = (tmp_path / name / "run.npz" for name in ("whole", "killed"))
    assert run_killed_script(whole) == 0

    assert run_killed_script(killed, die_in_write=4) == -signal.SIGKILL
    assert description(killed)["epoch"] == 3
    assert len(os.listdir(killed.parent)) == 2  # and the draft that it died over
    for _ in range(2):
        process = run_killed_script(killed, n_seconds=0.02, wait=False)
        before = description(killed)["epoch"]
        while description(killed)["epoch"] < before + 2:
            time.sleep(0.005)
        time.sleep(0.04 * rng.random())
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert 7 <= description(killed)["epoch"] < 30
    assert run_killed_script(killed) == 0

    expected, actual = contents(whole), contents(killed)
    assert actual.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(actual[key], expected[key])
    loaded = [tinycnn.load_model(path.with_name("final.npz")) for path in (whole, killed)]
    np.testing.assert_array_equal(loaded[0].flat, loaded[1].flat)


@pytest.fixture
def written(tmp_path, data):
    """A checkpoint after 3 of 5 epochs, and the arguments that resume it."""
    path = tmp_path / "run.npz"
    arguments = {"epochs": 5, "validation_fraction": 0.2, "schedule": OneCycle()}
    callbacks = [EarlyStopping(9), Checkpoint(path), BreakOff(3)]
    Outcome(data, callbacks=callbacks, **arguments)
    return path, arguments


def refused(data, path, words, error=ValueError, **arguments):
    """Resume with arguments that do not fit; network and optimiser must stay as they were."""
    net = arguments.pop("net", None) or make_net()
    optimizer = arguments.pop("optimizer", None) or SGD()
    flat = net.flat.copy()
    callbacks = [*arguments.pop("callbacks", [EarlyStopping(9)]), Checkpoint(path, resume=True)]
    arguments = {"batch_size": 16, "schedule": None, "verbose": False, **arguments}
    with pytest.raises(error, match=words) as caught:
        tinycnn.fit(net, *data, optimizer=optimizer, callbacks=callbacks, **arguments)
    np.testing.assert_array_equal(net.flat, flat)
    assert list(optimizer.state()) == ["n_steps"]
    assert optimizer.state()["n_steps"] == 0
    return str(caught.value)


def test_other_arguments_are_refused_by_name(data, written):
    path, same = written
    images, labels = data
    standardized = make_net()
    standardized.standardize(images)
    for words, changes in [
        (r"batch_size: 16; this call has batch_size: 8; use the same", {"batch_size": 8}),
        ("seed: 0; this call has seed: 1", {"seed": 1}),
        ("seed: 0; this call has seed: None", {"seed": None}),
        (r"optimizer: SGD\(lr=0.05.*; this call has optimizer: Adam\(", {"optimizer": Adam()}),
        ("optimizer: .*momentum=0.9.*momentum=0.8", {"optimizer": SGD(momentum=0.8)}),
        ("schedule: OneCycle .*; this call has schedule: constant", {"schedule": None}),
        ("schedule: OneCycle .*; this call has schedule: One", {"schedule": OneCycle(0.1)}),
        ("schedule: OneCycle .*; .* cosine_decay", {"schedule": cosine_decay}),
        ("validation_fraction: 0.2; .* 0.3", {"validation_fraction": 0.3}),
        (
            "validation_data: None; .* with checksum",
            {"validation_fraction": 0.0, "validation_data": data},
        ),
        ("augmentation: None; .* Augmentation", {"augmentation": Augmentation(1)}),
        ("class_weight: None; .* with checksum", {"class_weight": "balanced"}),
        ("label_smoothing: 0.05; .* 0.1", {"label_smoothing": 0.1}),
        ("input_mean: ", {"net": standardized}),
        ("layers: ", {"net": make_net(channels=(4,))}),
        ("layers: ", {"net": make_net(padding=1, kernel_size=5)}),
        ("dtype: float32; .* float64", {"net": make_net(dtype=float)}),
        (
            "class_names: .*'cat'",
            {"net": make_net(class_names=["cat", "dog"])},
        ),
        ("epochs: .* has 3 epochs done, got epochs=2.*give at least 3", {"epochs": 2}),
        ("epochs: the schedule of .* over 5 epochs.*give epochs=5", {"epochs": 6}),
        ("callbacks: .* the state of EarlyStopping, this call has none", {"callbacks": []}),
        (
            "this call has EarlyStopping, EarlyStopping",
            {"callbacks": [EarlyStopping(9), EarlyStopping(9)]},
        ),
        (
            "EarlyStopping: monitor was 'validation_loss' before, now it is 'train_loss'",
            {"callbacks": [EarlyStopping(9, monitor="train_loss")]},
        ),
        ("min_delta was 0.0 before, now it is 0.1", {"callbacks": [EarlyStopping(9, 0.1)]}),
    ]:
        message = refused(data, path, words, **{**same, **changes})
        assert str(path) in message or "EarlyStopping:" in message

    other = images.copy()
    other[7, 0, 3, 3] += 0.5
    refused((other, labels), path, r"images: \(41, 1, 6, 6\) float64 with check", **same)
    refused((images[:40], labels[:40]), path, r"images: .*\(40, 1", **same)
    refused((images.astype(np.float32), labels), path, "images: .* float32", **same)
    refused((images, 1 - labels), path, "labels: ", **same)


def test_large_data_are_told_apart_by_a_sample(tmp_path, rng):
    images, labels = np.zeros((9000, 1, 16, 16)), np.arange(9000) % 2  # 18 MB
    path = tmp_path / "run.npz"
    net = small_net((1, 16, 16), channels=(1,), n_classes=2)
    arguments = {"epochs": 1, "verbose": False, "callbacks": Checkpoint(path, resume=True)}
    tinycnn.fit(net, images, labels, **arguments)
    tinycnn.fit(net, images, labels, **arguments)
    images[8000:] = 0.01
    with pytest.raises(ValueError, match="images: "):
        tinycnn.fit(net, images, labels, **arguments)


def rewrite(path, **changes):
    """Replace entries of a checkpoint, or take them out if they are None."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files} | changes
    np.savez(path, **{key: array for key, array in arrays.items() if array is not None})


def test_damaged_and_foreign_files_are_refused(data, written):
    path, same = written
    whole = path.read_bytes()

    def refused_after(words, **changes):
        path.write_bytes(whole)
        rewrite(path, **changes)
        assert str(path) in refused(data, path, words, **same)

    def described(**changes):
        return np.array([json.dumps(known | changes)])

    known, order = description(path), contents(path)["order"]
    twice = order.copy()
    twice[0] = twice[1]
    random_state = {**known["random_state"], "bit_generator": "MT19937"}
    refused_after("is no checkpoint: it has no entry 'checkpoint'", checkpoint=None)
    refused_after("not a tinycnn model", tinycnn=None)
    refused_after("cannot be read", checkpoint=np.array(["{"]))
    refused_after("cannot be read", checkpoint=np.array(["[" * 100_000]))
    refused_after(
        "format version 1, this tinycnn reads 2: train it again",
        checkpoint=described(format_version=1),
    )
    refused_after(
        "format version 3, this tinycnn reads 2: install a later",
        checkpoint=described(format_version=3),
    )
    refused_after("incomplete: .*epoch", checkpoint=described(epoch="many"))
    refused_after("incomplete", checkpoint=described(arguments=None))
    refused_after("incomplete", checkpoint=described(callbacks=3))
    refused_after("incomplete", order=None)
    refused_after("incomplete: .*train_loss", **{"history/train_loss": None})
    refused_after(
        "train_loss must be 3 finite numbers", **{"history/train_loss": np.array([1.0, np.nan, 1])}
    )
    refused_after("train_loss must be 3 finite numbers", **{"history/train_loss": np.ones(2)})
    refused_after("cannot be resumed", checkpoint=described(random_state={}))
    refused_after("cannot be resumed", checkpoint=described(random_state=random_state))
    refused_after("cannot be resumed: state: after 9 steps", **{"optimizer/velocity": None})
    refused_after("velocity is float32", **{"optimizer/velocity": np.ones(3, np.float32)})
    refused_after("its order must be distinct indices of 33 images", order=order[1:])
    refused_after("its order must be distinct", order=twice)
    refused_after("its order must be distinct", order=order + np.uint8(41))
    refused_after("its order must be distinct", order=order.astype(np.float32))
    refused_after("conv1.bias is missing", **{"conv1.bias": None})

    for length in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        refused(data, path, r"run\.npz", **same)
    tinycnn.save_model(make_net(), path)
    refused(data, path, "no checkpoint: .*; give a file that tinycnn.Checkpoint", **same)


def test_a_missing_folder_is_told_before_training(tmp_path, data):
    path = tmp_path / "none" / "run.npz"
    refused(data, path, "there is no folder", FileNotFoundError, callbacks=[])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"path": 3}, TypeError, "Checkpoint: path: must be a path, got 3"),
        ({"path": None}, TypeError, "Checkpoint: path: must be a path, got None"),
        ({"every": 0}, ValueError, "every: must be a whole number of at least 1, got 0"),
        ({"every": "2"}, TypeError, "every: must be a real number, got '2'"),
        ({"resume": 1}, TypeError, "resume: must be True or False, got 1"),
        ({"resume": "run.npz"}, TypeError, "resume: must be True or False, got 'run.npz'"),
    ],
)
def test_wrong_settings_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Checkpoint(**({"path": "run.npz"} | arguments))
