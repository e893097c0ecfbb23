"""What Dask costs and brings: rounds, full batches, predictions, and averaged training.

python benchmarks/many_machines.py [--data FASHION_MNIST] [--only PART ...] [--output FOLDER]

The cluster is this machine: worker processes with one thread each. What is compared runs in turn.
Each part is kept in ``many-machines.json`` in the folder of this kind of CPU, as soon as it is
measured; parts that are not asked for stay. It needs the extra ``dask`` and takes some minutes.
"""

import argparse
import json
import math
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

import dask
import dask.array as da
from dask.distributed import Client, LocalCluster

import tinycnn
import tinycnn.dask
from benchmarks.kinds import results_folder
from benchmarks.machine import describe_machine, load_average, versions
from benchmarks.workloads import CLASSES, IMAGE_SHAPE, as_floats, make_images

DATA = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it

WORKERS = (1, 2, 4)
HIDDEN = ((), (100,), (1000,))  # units, for networks of different size
ROUNDS, STEPS = 4, 10  # epochs, and steps of each

FULL_BATCH, EPOCHS, REPEATS = 57_344, 5, 7  # images in whole slabs

BLOCKS, BLOCK = 20, 50_000  # a million images
CONVS = {"8 filters 3x3": (8, 3), "16 filters 5x5": (16, 5)}

SHARDS, EVERY, PASSES, SEEDS = 4, 10, 8, 3


@contextmanager
def cluster(n_workers: int) -> Iterator[Client]:
    """Start worker processes of one thread each."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", processes=True
        ) as local,
        Client(local) as client,
    ):
        yield client


def cpu_seconds(client: Client | None = None) -> float:
    """Return the CPU time of this process and of all workers until now."""
    own = time.process_time()
    return own if client is None else own + sum(client.run(time.process_time).values())


def in_turn(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time functions one after the other, again and again, after one turn to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: each[1:] for name, each in seconds.items()}


# ------------------------------------------------------------------------------------------ rounds


class Clock(tinycnn.Callback):
    """Notes when each step is done."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_batch_end(self, state: Any) -> None:
        """Note the time."""
        self.seconds.append(time.perf_counter())


def measure_rounds(_: Path) -> dict[str, Any]:
    """Time steps of shards that have next to nothing to compute, for networks of several sizes."""
    rows = []
    for n_workers in WORKERS:
        n = 20 * n_workers
        images, labels = make_images(n)
        with cluster(n_workers):
            some = tinycnn.dask.shards(da.from_array(images, (20, *IMAGE_SHAPE)), labels)
            for hidden in HIDDEN:
                net = tinycnn.CNN(IMAGE_SHAPE, channels=(8,), hidden=hidden, n_classes=CLASSES)
                arguments = {"batch_size": math.ceil(n / STEPS), "verbose": False}
                clock = Clock()
                tinycnn.dask.fit(net, some, epochs=ROUNDS, callbacks=clock, **arguments)
                seconds = np.diff(clock.seconds)[STEPS:].tolist()
                rows.append(
                    {
                        "workers": n_workers,
                        "parameters": net.flat.size,
                        "seconds": seconds,
                        "median": statistics.median(seconds),
                        "min": min(seconds),
                    }
                )
    return {"rows": rows, "images_per_second": _rate()}


def _rate() -> float:
    """Return how many images a thread trains in a second of CPU time, at its best."""
    images, labels = make_images(20_000)
    net, best = tinycnn.CNN(IMAGE_SHAPE, channels=(8,), n_classes=CLASSES), 0.0
    for _ in range(5):
        start = time.process_time()
        tinycnn.loss_and_gradient(net, images, labels, n_threads=1)
        best = max(best, len(images) / (time.process_time() - start))
    return best


# -------------------------------------------------------------------------------------- full batch


def measure_full_batch(_: Path) -> dict[str, Any]:
    """Time ``train`` on two threads, and ``tinycnn.dask.train`` on two workers of one."""
    images, labels = make_images(FULL_BATCH)
    x, rng = as_floats(images), np.random.default_rng(0)
    weights = [rng.normal(0, 0.3, (8, 1, 3, 3)), rng.normal(0, 0.03, (8 * 13 * 13, CLASSES))]
    arguments = [*(each.astype(np.float32) for each in weights), 0.1]
    with cluster(2) as client:
        some = client.scatter([x[: FULL_BATCH // 2], x[FULL_BATCH // 2 :]])
        half = (FULL_BATCH // 2, *IMAGE_SHAPE)
        parts = da.concatenate([da.from_delayed(dask.delayed(p), half, np.float32) for p in some])
        same = tinycnn.train(x, labels, *arguments, 2) == tinycnn.dask.train(
            parts, labels, *arguments, 2
        )
        cpu: dict[str, float] = {}

        def timed(name: str, train: Callable[[int], Any]) -> Callable[[], None]:
            """Make a function that trains; note its CPU time above that of no epoch."""

            def run() -> None:
                start = cpu_seconds(client)
                train(EPOCHS)
                cpu[name] = min(cpu.get(name, math.inf), cpu_seconds(client) - start)

            return run

        both = {
            "train": timed("train", lambda n: tinycnn.train(x, labels, *arguments, n)),
            "dask.train": timed(
                "dask.train", lambda n: tinycnn.dask.train(parts, labels, *arguments, n)
            ),
        }
        found = in_turn(both, REPEATS)
    medians = {name: statistics.median(each) for name, each in found.items()}
    return {
        "images": FULL_BATCH,
        "epochs": EPOCHS,
        "equal_bits": bool(same.all()),
        "seconds": found,
        "cpu_seconds": cpu,
        "ratio": medians["dask.train"] / medians["train"],
        "ratio_of_least": min(found["dask.train"]) / min(found["train"]),
        "ratio_of_cpu": cpu["dask.train"] / cpu["train"],
    }


# ------------------------------------------------------------------------------------- predictions


def measure_predictions(folder: Path) -> dict[str, Any]:
    """Compare the CPU time of a million predictions in one process and on two workers."""
    images, _ = make_images(BLOCK)
    for i in range(BLOCKS):
        np.save(folder / f"{i}.npy", np.roll(images, i, axis=0))
    paths = [folder / f"{i}.npy" for i in range(BLOCKS)]
    return {"images": BLOCKS * BLOCK, "rows": [_predictions(name, paths) for name in CONVS]}


def _predictions(name: str, paths: list[Path]) -> dict[str, Any]:
    """Compare the CPU time of the predictions of one network."""
    (filters, kernel_size), images = CONVS[name], np.load(paths[0])
    arguments = {"channels": (filters,), "kernel_size": kernel_size, "n_classes": CLASSES}
    net = tinycnn.CNN(IMAGE_SHAPE, **arguments)
    net.standardize(images)
    rounds: dict[str, list[float]] = {"one process": [], "dask.predict": [], "idle": []}
    with cluster(2) as client:
        for _ in range(4):
            start = cpu_seconds()
            alone = np.concatenate([net.predict(np.load(path), 1) for path in paths])
            rounds["one process"].append(cpu_seconds() - start)
            start = cpu_seconds(client)
            began = time.perf_counter()
            found = tinycnn.dask.predict(net, paths, lengths=[BLOCK] * BLOCKS).compute()
            lasted = time.perf_counter() - began
            rounds["dask.predict"].append(cpu_seconds(client) - start)
            start = cpu_seconds(client)
            time.sleep(lasted)
            rounds["idle"].append(cpu_seconds(client) - start)
        memory = max(client.run(_peak_memory).values())
    least = {who: min(each[1:]) for who, each in rounds.items()}
    at_work = np.subtract(rounds["dask.predict"], rounds["idle"])[1:].min()
    return {
        "network": name,
        "equal": bool((alone == found).all()),
        "cpu_seconds": rounds,
        "images_per_cpu_second": {who: len(alone) / each for who, each in least.items()},
        "ratio": least["dask.predict"] / least["one process"],
        "ratio_without_idling": at_work / least["one process"],
        "worker_peak_mb": memory / 1e6,
    }


def _peak_memory() -> int:
    """Return the most memory that a worker has had, in bytes, on Linux."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])


# ---------------------------------------------------------------------------------------- averages


def measure_averages(data: Path) -> dict[str, Any]:
    """Train with averages on shuffled and on sorted shards, and in one process; test each."""
    train, test = (tinycnn.load(data, part) for part in ("train", "test"))
    orders = {
        "shuffled": np.random.default_rng(0).permutation(len(train)),
        "sorted by label": np.argsort(train.labels, kind="stable"),
    }
    accuracy: dict[str, list[float]] = {name: [] for name in ("one process", *orders)}
    arguments = {"epochs": PASSES, "batch_size": 128, "verbose": False}
    with cluster(2):
        for seed in range(SEEDS):
            net = _new_net(train.images, seed)
            tinycnn.fit(net, train.images, train.labels, seed=seed, n_threads=2, **arguments)
            accuracy["one process"].append(100 * net.score(test.images, test.labels))
            for name, order in orders.items():
                net = _new_net(train.images, seed)
                size = math.ceil(len(order) / SHARDS)
                parts = [order[i : i + size] for i in range(0, len(order), size)]
                some = [dask.delayed(_part)(data, part) for part in parts]
                tinycnn.dask.fit(
                    net, tinycnn.dask.shards(some), average_every=EVERY, seed=seed, **arguments
                )
                accuracy[name].append(100 * net.score(test.images, test.labels))
    return {
        "shards": SHARDS,
        "average_every": EVERY,
        "epochs": PASSES,
        "channels": [16],
        "test_images": len(test),
        "accuracy": accuracy,
        "mean": {name: statistics.mean(each) for name, each in accuracy.items()},
    }


def _new_net(images: np.ndarray, seed: int) -> tinycnn.CNN:
    net = tinycnn.CNN(IMAGE_SHAPE, channels=(16,), padding="same", n_classes=CLASSES, seed=seed)
    net.standardize(images)
    return net


def _part(data: Path, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    images, labels, _ = tinycnn.load(data, "train")
    return images[order], labels[order]


# -------------------------------------------------------------------------------------------- main

PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "rounds": measure_rounds,
    "full batch": measure_full_batch,
    "predictions": measure_predictions,
    "averages": measure_averages,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and write the file."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of Fashion-MNIST")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, default=None, help="folder; by kind of CPU")
    options = parser.parse_args(words)
    path = (options.output or results_folder()) / "many-machines.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in options.only:
        machine = describe_machine()
        with tempfile.TemporaryDirectory() as folder:
            found = PARTS[name](options.data if name == "averages" else Path(folder))
        machine["load_average_end"] = load_average()
        found |= {
            "command": shlex.join(["python", "benchmarks/many_machines.py", "--only", name]),
            "machine": machine,
            "versions": {**versions(), "dask": dask.__version__},
        }
        results[name] = found
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{json.dumps(results, indent=1)}\n", encoding="utf-8")
        print(
            name, {key: value for key, value in found.items() if key not in ("machine", "versions")}
        )


if __name__ == "__main__":
    main()
