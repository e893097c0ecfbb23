"""How good networks get and how long it takes: accuracy on images held out, over many seeds.

python benchmarks/accuracy.py STUDY DATA [--seeds N] [--threads N] [--output FOLDER]

STUDY is one of those in ``studies.py``, DATA a folder of IDX files, as MNIST and Fashion-MNIST
have them. Writes ``accuracy-STUDY.md``, ``accuracy-STUDY.json`` and, where matplotlib is installed,
a plot.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

import tinycnn
from benchmarks.index import write_index
from benchmarks.kinds import RESULTS, cpu_kind, results_folder
from benchmarks.machine import cpus_available, describe_machine, load_average, versions
from benchmarks.plots import draw_accuracies
from benchmarks.report import require_same_kind
from benchmarks.studies import STUDIES, Recipe, Study
from tinycnn.data import Dataset


def main(arguments: Sequence[str] | None = None) -> int:
    """Train every recipe of a study with every seed, and write down what came out."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    study = STUDIES[options.study]
    train_set, test_set = load_parts(options.data, study)
    shown = [Path(word).name if word == options.data else word for word in arguments]
    results: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/accuracy.py", *shown]),
        "title": study.title,
        "train_images": len(train_set.images),
        "test_images": len(test_set.images),
        "threads": options.threads,
        "machine": describe_machine(),
        "versions": versions(),
        "recipes": [],
    }
    for recipe in study.recipes:
        runs = [
            run(recipe, train_set, test_set, seed, options.threads)
            for seed in range(options.seeds or study.n_seeds)
        ]
        results["recipes"].append(summary(recipe, runs))
        results["machine"]["load_average_end"] = load_average()
        write(results, options.output, options.study)
        print(row_text(results["recipes"][-1]), flush=True)
    try:
        draw_accuracies(results, options.output / f"accuracy-{options.study}.png")
        results["plot"] = f"accuracy-{options.study}.png"
    except ImportError as error:
        print(f"no plot: {error}")
    write(results, options.output, options.study)
    if options.output.parent == RESULTS:
        write_index()
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/accuracy.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("data", help="folder of IDX files")
    parser.add_argument("--seeds", type=int, help="how many; the study says it unless given")
    parser.add_argument("--threads", type=int, default=cpus_available(), help="(%(default)s)")
    parser.add_argument(
        "--output", type=Path, default=results_folder(), help="folder for the results (%(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        require_same_kind(options.output / f"accuracy-{options.study}.json", cpu_kind())
    except FileExistsError as error:
        parser.error(str(error))
    return options


def load_parts(path: str, study: Study) -> tuple[Dataset, Dataset]:
    """Read the images that train and those that test."""
    train_set = tinycnn.load(path, "train")
    if study.test_images is None:
        return train_set, tinycnn.load(path, "test")
    images, labels, names = train_set
    n = len(images) - study.test_images
    return Dataset(images[:n], labels[:n], names), Dataset(images[n:], labels[n:], names)


def run(
    recipe: Recipe, train_set: Dataset, test_set: Dataset, seed: int, threads: int
) -> dict[str, float]:
    """Train once; return accuracy in per cent, and seconds of training with evaluation.

    "alone" is the accuracy without views, measured when the clock has stopped.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    images, test_images = recipe.cropped(train_set.images), recipe.cropped(test_set.images)
    net = recipe.make_network(images.shape[1:], len(train_set.class_names), seed)
    net.standardize(images)
    tinycnn.fit(
        net,
        images,
        train_set.labels,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        optimizer=recipe.make_optimizer(net),
        schedule=tinycnn.OneCycle(warm_up=recipe.warm_up),
        seed=seed,
        n_threads=threads,
        verbose=False,
        label_smoothing=recipe.label_smoothing,
        augmentation=recipe.augmentation,
    )
    _, accuracy = tinycnn.evaluate(net, test_images, test_set.labels, threads, views=recipe.views)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    _, alone = tinycnn.evaluate(net, test_images, test_set.labels, threads)
    return {
        "accuracy": 100 * accuracy,
        "alone": 100 * alone,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "parameters": net.flat.size,
    }


def summary(recipe: Recipe, runs: list[dict[str, float]]) -> dict[str, Any]:
    """Put the runs of a recipe together."""
    accuracies = [run["accuracy"] for run in runs]
    return {
        "title": recipe.title,
        "settings": repr(recipe),
        "parameters": runs[0]["parameters"],
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_std": statistics.stdev(accuracies) if len(runs) > 1 else 0.0,
        "accuracy_min": min(accuracies),
        "accuracy_max": max(accuracies),
        "alone_mean": statistics.mean(run["alone"] for run in runs),
        "seconds_median": statistics.median(run["seconds"] for run in runs),
        "seconds_min": min(run["seconds"] for run in runs),
        "cpu_seconds_median": statistics.median(run["cpu_seconds"] for run in runs),
        "runs": runs,
    }


def row_text(row: dict[str, Any]) -> str:
    """Format the outcome of a recipe as a row of the table."""
    return (
        f"| {row['title']} | {row['parameters']:,} | {row['accuracy_mean']:.2f} | "
        f"{row['accuracy_std']:.2f} | {row['accuracy_min']:.2f} to {row['accuracy_max']:.2f} | "
        f"{row['alone_mean']:.2f} | {row['seconds_median']:.2f} | {row['seconds_min']:.2f} | "
        f"{row['cpu_seconds_median']:.2f} |"
    )


def write(results: dict[str, Any], folder: Path, name: str) -> None:
    """Write the results for people and for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    (folder / f"accuracy-{name}.json").write_text(text, encoding="utf-8")
    (folder / f"accuracy-{name}.md").write_text(markdown(results), encoding="utf-8")


def markdown(results: dict[str, Any]) -> str:
    """Format the results as a page."""
    machine = results["machine"]
    n_seeds = len(results["recipes"][0]["runs"])
    lines = [
        f"# {results['title']}",
        "",
        f"- command: `{results['command']}`",
        f"- date: {machine['date']}",
        f"- CPU: {machine['cpu_kind']} ({machine['cpu_model']}), {results['threads']} threads; "
        f"load average {machine['load_average_start']} at the start, "
        f"{machine['load_average_end']} at the end",
        f"- {results['train_images']:,} images to train on, {results['test_images']:,} to test; "
        f"{n_seeds} seeds",
        "- seconds: building the network, learning mean and spread of the input, training, and "
        "the evaluation of the test images; data in memory as bytes. Accuracy is a mean; alone: "
        "that of the same networks without views",
        "",
        f"| {machine['cpu_kind']} | parameters | accuracy, % | std. dev. | range | alone, % "
        "| seconds, median | least | CPU seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(row_text(row) for row in results["recipes"]),
        "",
        "Settings:",
        "",
        *(f"- `{row['settings']}`" for row in results["recipes"]),
    ]
    if "plot" in results:
        lines += ["", f"![Accuracy against seconds]({results['plot']})"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
