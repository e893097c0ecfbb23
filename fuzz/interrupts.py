"""Interrupt trainings and predictions at random moments.

Usage: interrupts.py SEED N

After each of N interrupts, a training in the same process must have the right bits, on the workers
that are there.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

import tinycnn

IMAGES = np.random.default_rng(0).integers(0, 256, (600, 1, 12, 12), dtype=np.uint8)
LABELS = np.arange(600) % 10


def network() -> tinycnn.CNN:
    """Make the network that is trained."""
    return tinycnn.CNN((1, 12, 12), channels=(8,), n_classes=10, seed=1)


def trained(n_threads: int, epochs: int = 2, n: int = 600) -> bytes:
    """Train, and return the parameters."""
    net = network()
    arguments = {"epochs": epochs, "n_threads": n_threads, "verbose": False}
    tinycnn.fit(net, IMAGES[:n], LABELS[:n], **arguments)
    return net.flat.tobytes()


def interrupted(work: Callable[[], object], delay: float) -> bool:
    """Repeat work until an interrupt comes, after a delay; tell whether that raised."""
    alarm = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    try:
        alarm.start()
        while alarm.is_alive():
            work()
        for _ in range(10**6):  # the signal is on its way
            pass
    except KeyboardInterrupt:
        return True
    return False


def main() -> None:
    """Interrupt N times."""
    rng, n, wrong, raised = random.Random(int(sys.argv[1])), int(sys.argv[2]), 0, 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    expected, net, start = trained(1), network(), time.monotonic()
    for _ in range(n):
        n_threads = rng.randrange(1, 20)
        works: tuple[Callable[[], object], ...] = (
            lambda k=n_threads: trained(k, 1, 200),
            lambda k=n_threads: net.predict(IMAGES, k),
            lambda k=n_threads: net.backward(*net.forward(IMAGES[:200], n_threads=k)),
        )
        raised += interrupted(rng.choice(works), rng.random() * 0.02)
        wrong += trained(rng.randrange(1, 5)) != expected
    seconds = time.monotonic() - start
    print(
        f"interrupts: {n} sent, {raised} raised, {wrong} trainings with wrong bits, {seconds:.0f} s"
    )
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
