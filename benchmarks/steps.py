"""From the lesson to the fast path, step by step: the CPU time of the same epoch at each.

python benchmarks/steps.py

One conv block of 8 filters 3x3, minibatches of 128, one thread, float32, plain SGD. Each step runs
in a process of its own, once in every round, one after the other; the least of all rounds counts,
since what else the machine does only adds. The slow steps train on fewer images, and their time is
scaled up. It takes a minute or two, and writes ``steps.json`` into the folder of this kind of CPU.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

from benchmarks.kinds import cpu_kind, results_folder
from benchmarks.machine import describe_machine, load_average, versions
from benchmarks.report import require_same_kind
from benchmarks.workloads import CLASSES, IMAGE_SHAPE, IMAGES, LEARNING_RATE, as_floats, make_images

BATCH = 128
ROUNDS = 5

# Name, images, and the build of the kernels, if it matters.
STEPS = {
    "lesson": (1_024, None),
    "layer by layer": (6_000, None),
    "fused, baseline": (60_000, "baseline"),
    "fused, v3": (60_000, "v3"),
    "fused, v4": (60_000, "v4"),
}


def lesson_epoch(images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """Prepare an epoch with the functions of ``tinycnn.lesson`` alone."""
    from tinycnn.lesson import loss_and_gradients

    rng, pixels = np.random.default_rng(0), as_floats(images)
    w_conv = rng.normal(0, 0.3, (8, 1, 3, 3)).astype(np.float32)
    w_fc = rng.normal(0, 0.03, (8 * 13 * 13, CLASSES)).astype(np.float32)

    def epoch() -> None:
        for start in range(0, len(images), BATCH):
            batch = slice(start, start + BATCH)
            _, dw_conv, dw_fc = loss_and_gradients(pixels[batch], labels[batch], w_conv, w_fc)
            w_conv[...] -= LEARNING_RATE * dw_conv
            w_fc[...] -= LEARNING_RATE * dw_fc

    return epoch


def network_epoch(
    images: np.ndarray, labels: np.ndarray, *, is_layered: bool
) -> Callable[[], None]:
    """Prepare an epoch of ``tinycnn.fit``, on the fast path or layer by layer."""
    import tinycnn
    from tinycnn.layered import LayeredPath

    net = tinycnn.CNN(IMAGE_SHAPE, channels=(8,), n_classes=CLASSES)
    if is_layered:
        net.path = LayeredPath(net.architecture, net.flat.dtype)
    optimizer = tinycnn.SGD(lr=LEARNING_RATE)

    def epoch() -> None:
        tinycnn.fit(
            net,
            images,
            labels,
            epochs=1,
            batch_size=BATCH,
            optimizer=optimizer,
            schedule="constant",
            augmentation=None,
            n_threads=1,
            verbose=False,
        )

    return epoch


def run_step(name: str) -> float:
    """Return the CPU seconds of an epoch, after one of a tenth of the images to warm up."""
    images, labels = make_images(STEPS[name][0])
    if name == "lesson":
        warm_up, epoch = lesson_epoch(images[:128], labels[:128]), lesson_epoch(images, labels)
    else:
        is_layered = name == "layer by layer"
        tenth = slice(len(images) // 10)
        warm_up = network_epoch(images[tenth], labels[tenth], is_layered=is_layered)
        epoch = network_epoch(images, labels, is_layered=is_layered)
    warm_up()
    start = time.process_time()
    epoch()
    return time.process_time() - start


def measure(rounds: int) -> dict[str, list[float]]:
    """Run every step once a round, each in its own process; return seconds for all images."""
    seconds: dict[str, list[float]] = {name: [] for name in STEPS}
    for _ in range(rounds):
        for name, (n_images, level) in STEPS.items():
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            environment |= {"TINYCNN_CPU_LEVEL": level} if level else {}
            command = [sys.executable, __file__, "--step", name]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            seconds[name].append(float(done.stdout) * IMAGES / n_images)
    return seconds


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", choices=STEPS, help="run this one alone, and print its seconds")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, default=None, help="folder; by kind of CPU")
    arguments = parser.parse_args(words)
    if arguments.step:
        print(run_step(arguments.step))
        return
    folder = arguments.output or results_folder()
    try:
        require_same_kind(folder / "steps.json", cpu_kind())
    except FileExistsError as error:
        parser.error(str(error))
    machine: dict[str, Any] = describe_machine()
    seconds = measure(arguments.rounds)
    machine["load_average_end"] = load_average()
    rows = [{"name": name, "seconds": each, "min": min(each)} for name, each in seconds.items()]
    for row in rows:
        print(f"{row['name']:16} {row['min']:8.3f} s")
    results = {
        "command": "python benchmarks/steps.py",
        "images": IMAGES,
        "machine": machine,
        "versions": versions(),
        "experiments": [{"name": "steps", "contestants": rows}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "steps.json").write_text(f"{json.dumps(results, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
