"""Kill processes while they save.

Usage: kills.py SEED N

A child trains with checkpoints and then saves over and over, in one of three ways: from its main
thread, from four threads to one path, or as the command line. It is killed at a random moment.
What stands at the paths afterwards must be whole, a resumed training must have the right bits, and
the next save must leave no draft behind.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import tinycnn

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
LABELS = np.arange(60) % 10
EPOCHS = 12


def network() -> tinycnn.CNN:
    """Make the network that is trained and saved."""
    return tinycnn.CNN((1, 8, 8), channels=(16,), hidden=32, n_classes=10)


def train(path: Path | None) -> tinycnn.CNN:
    """Train, going on from a checkpoint if there is one."""
    net = network()
    callbacks = () if path is None else tinycnn.Checkpoint(path, resume=True)
    arguments = {"epochs": EPOCHS, "batch_size": 7, "n_threads": 1, "verbose": False}
    tinycnn.fit(net, IMAGES, LABELS, callbacks=callbacks, **arguments)
    return net


def save_for_ever(n_threads: int) -> None:
    """Train with a checkpoint, then save until somebody ends it."""
    net = train(Path("c.npz"))

    def save() -> None:
        while True:
            tinycnn.save_model(net, "m.npz")

    for _ in range(n_threads - 1):
        threading.Thread(target=save, daemon=True).start()
    save()


def kill_one(rng: random.Random) -> None:
    """Start a child, let it run for a moment, and kill it."""
    if rng.random() < 0.05:
        options = ["-q", "-o", "m.npz", "--checkpoint", "cli.npz", "--resume", "--epochs", "300"]
        command = [sys.executable, "-m", "tinycnn", "train", *options]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
            time.sleep(0.5 + rng.random() * 2)
            child.kill()
        return
    n_threads = rng.choice((1, 1, 4))
    pid = os.fork()
    if pid == 0:
        try:
            save_for_ever(n_threads)
        finally:
            os._exit(1)
    time.sleep(rng.random() ** 2 * 0.12)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def main() -> None:
    """Kill N times, in an empty folder."""
    rng, n = random.Random(int(sys.argv[1])), int(sys.argv[2])
    expected, damaged, wrong, resumed, most = train(None).flat.tobytes(), [], 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for _ in range(n):
            kill_one(rng)
            for path in Path().glob("*.npz"):
                try:
                    tinycnn.load_model(path)
                except (ValueError, OSError) as error:
                    damaged.append(f"{path}: {error}")
            most = max(most, len(list(Path().glob(".*.part"))))
            if rng.random() < 0.2:
                wrong += train(Path("c.npz")).flat.tobytes() != expected
                resumed += 1
                Path("c.npz").unlink(missing_ok=True)
        for name in ("m.npz", "c.npz", "cli.npz"):
            tinycnn.save_model(network(), name)
        left = list(Path().glob(".*.part"))
        os.chdir("/")
    print(
        f"kills: {n}, {len(damaged)} files damaged, {resumed} resumed, {wrong} with wrong bits, at "
        f"most {most} drafts at a time, {len(left)} left behind the next save",
        *damaged[:3],
        sep="\n",
    )
    sys.exit(bool(damaged or wrong or left))


if __name__ == "__main__":
    main()
