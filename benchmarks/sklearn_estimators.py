"""CNNClassifier with its defaults beside scikit-learn's own classifiers with theirs.

python benchmarks/sklearn_estimators.py digits [--seeds N] [--output FOLDER]
python benchmarks/sklearn_estimators.py fashion DATA [--output FOLDER]

The digits are scikit-learn's, in five folds, shuffled and as they stand (writers then do not mix).
DATA is a folder of IDX files. Writes ``sklearn-STUDY.md`` and ``sklearn-STUDY.json``. On a busy
machine, the threads of MLPClassifier's BLAS keep each other waiting: set OPENBLAS_NUM_THREADS=1
there.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

import tinycnn
from benchmarks.index import write_index
from benchmarks.kinds import RESULTS, cpu_kind, results_folder
from benchmarks.machine import describe_machine, load_average, versions
from benchmarks.report import require_same_kind
from tinycnn.sklearn import CNNClassifier


class Row(NamedTuple):
    """What a classifier reached on one task, one entry a seed."""

    model: str
    task: str
    accuracies: list[float]
    seconds: list[float]
    cpu_seconds: list[float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, and write it down."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    machine = describe_machine()
    rows = digits(options.seeds) if options.study == "digits" else fashion(options.data)
    machine["load_average_end"] = load_average()
    shown = [Path(argument).name for argument in arguments]  # not where on this machine they are
    command = shlex.join(["python", "benchmarks/sklearn_estimators.py", *shown])
    threads = os.environ.get("OPENBLAS_NUM_THREADS")
    results = {
        "command": f"OPENBLAS_NUM_THREADS={threads} {command}" if threads else command,
        "machine": machine,
        "versions": versions(),
        "rows": [row._asdict() for row in rows],
    }
    write(options.output, options.study, results)
    if options.output.parent == RESULTS:
        write_index()
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/sklearn_estimators.py", description=(__doc__ or "").splitlines()[0]
    )
    studies = parser.add_subparsers(dest="study", required=True)
    study = studies.add_parser("digits", help="five folds of scikit-learn's digits")
    study.add_argument("--seeds", type=int, default=5, help="for CNNClassifier (%(default)s)")
    study = studies.add_parser("fashion", help="train on 60,000 images, test on 10,000")
    study.add_argument("data", help="folder of IDX files")
    for study in studies.choices.values():
        study.add_argument("--output", type=Path, default=results_folder(), help="(%(default)s)")
    options = parser.parse_args(arguments)
    try:
        require_same_kind(options.output / f"sklearn-{options.study}.json", cpu_kind())
    except FileExistsError as error:
        parser.error(str(error))
    return options


def digits(n_seeds: int) -> list[Row]:
    """Cross-validate on the digits."""
    X, y = load_digits(return_X_y=True)
    folds = {
        "shuffled folds": StratifiedKFold(5, shuffle=True, random_state=0),
        "plain folds": StratifiedKFold(5),
    }
    makers: dict[str, tuple[Callable[[int], Any], int]] = {
        "CNNClassifier()": (lambda seed: CNNClassifier(random_state=seed), n_seeds),
        "MLPClassifier()": (lambda seed: MLPClassifier(random_state=seed), 1),
        "SVC(gamma=0.001)": (lambda seed: SVC(gamma=0.001), 1),
    }
    rows = []
    for task, cv in folds.items():
        for model, (make, seeds) in makers.items():

            def score(seed: int, make: Callable[[int], Any] = make, cv: Any = cv) -> float:
                return float(cross_val_score(make(seed), X, y, cv=cv).mean())

            rows.append(measure(model, task, score, seeds))
    return rows


def fashion(path: str) -> list[Row]:
    """Train and test once each."""
    train, test = tinycnn.load(path, "train"), tinycnn.load(path, "test")

    def cnn(seed: int) -> float:
        model = CNNClassifier(random_state=seed).fit(train.images, train.labels)
        return float(model.score(test.images, test.labels))

    def mlp(seed: int) -> float:
        X, X_test = (
            part.images.reshape(len(part.images), -1) / np.float32(255) for part in (train, test)
        )
        model = MLPClassifier(random_state=seed).fit(X, train.labels)
        return float(model.score(X_test, test.labels))

    task = f"{len(train.images):,} images of 28x28"
    return [measure("CNNClassifier()", task, cnn, 1), measure("MLPClassifier()", task, mlp, 1)]


def measure(model: str, task: str, score: Callable[[int], float], n_seeds: int) -> Row:
    """Score a model with several seeds, and take the time."""
    row = Row(model, task, [], [], [])
    for seed in range(n_seeds):
        start, cpu_start = time.perf_counter(), time.process_time()
        row.accuracies.append(100 * score(seed))
        row.seconds.append(time.perf_counter() - start)
        row.cpu_seconds.append(time.process_time() - cpu_start)
    print(row_text(row), flush=True)
    return row


def row_text(row: Row) -> str:
    """Format a row of the table."""
    return (
        f"| {row.model} | {row.task} | {statistics.mean(row.accuracies):.2f} | "
        f"{', '.join(f'{accuracy:.2f}' for accuracy in row.accuracies)} | "
        f"{statistics.median(row.seconds):.1f} | {statistics.median(row.cpu_seconds):.1f} |"
    )


def write(folder: Path, study: str, results: dict[str, Any]) -> None:
    """Write the results for people and for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    (folder / f"sklearn-{study}.json").write_text(text, encoding="utf-8")
    (folder / f"sklearn-{study}.md").write_text(markdown(results), encoding="utf-8")


def markdown(results: dict[str, Any]) -> str:
    """Format the results as a page."""
    machine = results["machine"]
    packages = ", ".join(
        f"{name} {version}"
        for name, version in results["versions"].items()
        if name in ("python", "tinycnn", "numpy", "scikit-learn")
    )
    lines = [
        "# CNNClassifier beside scikit-learn's classifiers",
        "",
        f"`{results['command']}`",
        "",
        f"{machine['date']}, {machine['cpu_kind']} ({machine['cpu_model']}), "
        f"{machine['cpus_available']} CPUs; {packages}. Load average "
        f"{machine['load_average_start']} at the start and {machine['load_average_end']} at the "
        "end.",
        "",
        "Accuracy in per cent, of each seed from 0 on. Seconds are those of one run, on the digits "
        "of all five folds, by the clock and of all CPUs. Where other work keeps the CPUs busy, as "
        "the load average tells, the latter are the fairer ones. CNNClassifier trains with one "
        "thread.",
        "",
        "| model | task | accuracy | seed by seed | seconds | CPU seconds |",
        "|---|---|---|---|---|---|",
        *(row_text(Row(**row)) for row in results["rows"]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
