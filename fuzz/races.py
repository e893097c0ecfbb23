"""Ten scenes in which threads meet, for a build with the thread sanitizer.

Usage: races.py [NAME...]

Each runs in a process of its own, which a report ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np

import tinycnn

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 1, 10, 10), dtype=np.uint8)
LABELS = np.arange(300) % 10


def network() -> tinycnn.CNN:
    """Make a small network whose batches keep several threads busy."""
    layers = {"channels": (5, 4), "hidden": 6, "padding": "same", "n_classes": 10}
    return tinycnn.CNN((1, 10, 10), seed=1, **layers)


def train(net: tinycnn.CNN | None = None, n_threads: int = 4, **arguments: object) -> None:
    """Train for three epochs, with everything that the kernels do."""
    tinycnn.fit(
        net or network(),
        IMAGES,
        LABELS,
        **{"epochs": 3, "batch_size": 150, "verbose": False, "n_threads": n_threads, **arguments},
        augmentation=tinycnn.Augmentation(1, True),
        sample_weight=np.ones(300),
    )


def at_once(*functions: Callable[[], object]) -> None:
    """Run functions in threads of their own."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def one_training() -> None:
    """A training, and predictions on other numbers of threads."""
    train()
    for n_threads in (2, 3, 4, 6):
        network().predict(IMAGES, n_threads)


def growing_pool() -> None:
    """Workers join while others are at work."""
    many = np.repeat(IMAGES, 5, axis=0)
    at_once(*(lambda n=n: network().predict(many, n) for n in range(2, 12)))


def four_trainings() -> None:
    """Trainings that want the workers at the same time."""
    at_once(*[train] * 4)


def floats() -> None:
    """Pixels whose sums tell whether all are finite: all threads have a say."""
    net, images = network(), IMAGES.astype(np.float32)
    for _ in range(5):
        net.logits(images, 4)


def one_network_predicts_in_many_threads() -> None:
    """What is promised of one network."""
    net = network()
    at_once(*[lambda: [net.predict_proba(IMAGES, 3) for _ in range(5)]] * 4)


def forward_and_backward_in_many_threads() -> None:
    """States of one network, kept and given back."""
    net = network()

    def descend() -> None:
        for _ in range(5):
            logits, state = net.forward(IMAGES, n_threads=3)
            net.backward(logits, state)

    at_once(*[descend] * 4)


def callback_predicts_on_more_threads() -> None:
    """A training whose callback makes the pool grow."""

    class Predict(tinycnn.Callback):
        def on_batch_end(self, state: object) -> None:
            network().predict(IMAGES, 7)

    train(n_threads=2, callbacks=Predict())


def saves_while_predicting() -> None:
    """One thread writes the model that others compute with."""
    net = network()
    save = [lambda: [tinycnn.save_model(net, "races.npz") for _ in range(5)]]
    at_once(*save, *[lambda: [net.predict(IMAGES, 3) for _ in range(5)]] * 2)
    os.remove("races.npz")


def interrupts() -> None:
    """Ctrl-C while workers compute, and a training after it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    for delay in range(1, 20):
        alarm = threading.Timer(delay / 200, os.kill, (os.getpid(), signal.SIGINT))
        try:
            alarm.start()
            train(epochs=10**6)
        except KeyboardInterrupt:
            pass
    train()


def children() -> None:
    """A fork between two trainings; each has its own pool."""
    train()
    pid = os.fork()
    if pid == 0:
        network().predict(IMAGES, 1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    train()


SCENES = (
    *(one_training, growing_pool, four_trainings, floats, one_network_predicts_in_many_threads),
    *(forward_and_backward_in_many_threads, callback_predicts_on_more_threads),
    *(saves_while_predicting, interrupts, children),
)


def main() -> None:
    """Run all scenes, or one by its name."""
    scenes = {scene.__name__: scene for scene in SCENES}
    if len(sys.argv) > 1:
        scenes[sys.argv[1]]()
        return
    failed = [
        name for name in scenes if subprocess.run([sys.executable, __file__, name]).returncode
    ]
    print(f"races: {len(scenes)} scenes, {len(failed)} failures", *failed, flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
