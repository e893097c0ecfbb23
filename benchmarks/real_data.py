"""Real pictures as a new user has them: ``tinycnn train`` beside a forest and PyTorch.

python benchmarks/real_data.py FOLDER [--splits N] [--output FOLDER]

FOLDER is where ``real_images.py`` puts the pictures, which takes a Debian system. Everybody learns
from the same images and is tested on the same others, in every split of a data set anew. Writes
``real-data.json`` and ``real-data.md`` into the folder of this kind of CPU.
"""

import argparse
import json
import math
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import RandomForestClassifier

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

import tinycnn
from benchmarks.index import write_index
from benchmarks.kinds import RESULTS, results_folder
from benchmarks.machine import describe_machine, load_average, versions
from benchmarks.real_images import FASHION, TASKS, make_task
from tinycnn.architecture import Architecture, make_blocks
from tinycnn.data import Dataset
from tinycnn.training.defaults import KERNEL_SIZE, PADDING, auto_channels

TITLES = {
    **{name: task.title for name, task in TASKS.items()},
    FASHION: "Fashion-MNIST as 12,000 files, grey 28x28",
}
NAME = "real-data"

TREES = 300
BATCH_SIZE, LEARNING_RATE, EPOCHS = 64, 1e-3, 15  # of PyTorch, as its users have them


class Exam(NamedTuple):
    """What a contestant learns from and is tested on.

    Attributes
    ----------
    folder : Path
        The files.
    train, test : Dataset
        The same as arrays.
    seed : int
    """

    folder: Path
    train: Dataset
    test: Dataset
    seed: int

    @property
    def architecture(self) -> Architecture:
        """The network that tinycnn chooses for the images."""
        image_shape = self.train.images.shape[1:]
        channels = auto_channels(image_shape)
        n_classes = len(self.train.class_names)
        layers = make_blocks(channels, n_classes, kernel_size=KERNEL_SIZE, padding=PADDING)
        return Architecture(image_shape, tuple(layers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Let the contestants sit all exams, and write down what came out."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    shown = [Path(word).name if word == str(options.folder) else word for word in arguments]
    results: dict[str, Any] = {
        "command": shlex.join(["python", "benchmarks/real_data.py", *shown]),
        "machine": describe_machine(),
        "versions": versions(),
        "tasks": {name: {"title": title} for name, title in TITLES.items()},
    }
    for split in range(options.splits):
        for name, task in results["tasks"].items():
            make_task(name, options.folder, split)
            folder = options.folder / name / f"{split}"
            exam = Exam(folder, tinycnn.load(folder), tinycnn.load(folder, "test"), split)
            sit(exam, task)
            print(name, split, {who: runs[-1] for who, runs in task["accuracy"].items()})
        results["machine"]["load_average_end"] = load_average()
        write(results, options.output)
    if options.output.parent == RESULTS:
        write_index()
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/real_data.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="where the pictures are, or will be")
    parser.add_argument("--splits", type=int, default=3, help="of each data set (%(default)s)")
    parser.add_argument(
        "--output", type=Path, default=results_folder(), help="folder for the results (%(default)s)"
    )
    return parser.parse_args(arguments)


def sit(exam: Exam, task: dict[str, Any]) -> None:
    """Let all contestants sit an exam; the seed of each is the number of the split."""
    task |= {
        "train_images": len(exam.train),
        "test_images": len(exam.test),
        "layers": repr(list(exam.architecture.layers)),
        "parameters": exam.architecture.n_parameters,
        "majority": 100 * float(np.bincount(exam.test.labels).max() / len(exam.test)),
    }
    accuracy = task.setdefault("accuracy", {name: [] for name in CONTESTANTS})
    for name, contestant in CONTESTANTS.items():
        accuracy[name].append(100 * contestant(exam))


def command_line(exam: Exam) -> float:
    """Type ``tinycnn train FOLDER``; return the accuracy that it tells."""
    with tempfile.TemporaryDirectory() as temporary:
        command = ["tinycnn", "train", exam.folder, "-o", f"{temporary}/model.npz"]
        words = map(str, [sys.executable, "-m", *command, "--seed", exam.seed, "-q", "--json"])
        done = subprocess.run(list(words), check=True, capture_output=True, text=True)
    accuracy: float = json.loads(done.stdout)["test"]["accuracy"]
    return accuracy


def forest(exam: Exam) -> float:
    """Train a random forest on the pixels; return its accuracy."""
    flat, flat_test = (part.images.reshape(len(part), -1) for part in (exam.train, exam.test))
    model = RandomForestClassifier(TREES, random_state=exam.seed).fit(flat, exam.train.labels)
    return float(model.score(flat_test, exam.test.labels))


def pytorch(exam: Exam) -> float:
    """Train tinycnn's layers in PyTorch, as its users would; return the accuracy."""
    import torch
    from torch import nn

    from benchmarks.peers.pytorch import MODULES

    torch.manual_seed(exam.seed)
    images, test_images = (torch.from_numpy(part.images) / 255 for part in (exam.train, exam.test))
    mean, std = images.mean((0, 2, 3), keepdim=True), images.std((0, 2, 3), keepdim=True)
    images, test_images = (images - mean) / std, (test_images - mean) / std
    labels = torch.from_numpy(exam.train.labels)
    steps = exam.architecture.steps
    model = nn.Sequential(*(MODULES[type(step.layer)](step.layer, step) for step in steps))
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH_SIZE):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        answers = torch.cat([model(some).argmax(1) for some in test_images.split(BATCH_SIZE)])
    return float((answers.numpy() == exam.test.labels).mean())


CONTESTANTS: dict[str, Callable[[Exam], float]] = {
    "tinycnn": command_line,
    "RandomForest": forest,
    "PyTorch": pytorch,
}


def lead(task: dict[str, Any]) -> tuple[str, float, float]:
    """Return the best of the others, by how much tinycnn is better, and that mean's error."""
    accuracy = dict(task["accuracy"])
    own = accuracy.pop("tinycnn")
    best = max(accuracy, key=lambda name: statistics.mean(accuracy[name]))
    gains = [a - b for a, b in zip(own, accuracy[best], strict=True)]
    error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
    return best, statistics.mean(gains), error


def spread(values: Sequence[float]) -> str:
    """Tell the mean and the standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.1f} ± {deviation:.1f}"


def row_text(task: dict[str, Any]) -> str:
    """Format the outcome of a task as a row of the table."""
    _, gain, error = lead(task)
    return (
        f"| {task['title']} | {task['train_images']:,} | {task['test_images']:,} | "
        f"{task['majority']:.1f} | {' | '.join(map(spread, task['accuracy'].values()))} | "
        f"{gain:+.1f} ± {error:.1f} |"
    )


def write(results: dict[str, Any], folder: Path) -> None:
    """Write the results for people and for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1) + "\n"
    (folder / f"{NAME}.json").write_text(text, encoding="utf-8")
    (folder / f"{NAME}.md").write_text(markdown(results), encoding="utf-8")


def markdown(results: dict[str, Any]) -> str:
    """Format the results as a page."""
    machine, found = results["machine"], results["versions"]
    packages = ", ".join(
        f"{name} {found[name]}" for name in ("tinycnn", "numpy", "scikit-learn", "torch")
    )
    tasks = list(results["tasks"].values())
    names = list(tasks[0]["accuracy"])
    n_splits = len(tasks[0]["accuracy"]["tinycnn"])
    lines = [
        "# Real pictures, with the defaults",
        "",
        f"- command: `{results['command']}`",
        f"- date: {machine['date']}; {packages}",
        f"- CPU: {machine['cpu_kind']} ({machine['cpu_model']}), load average "
        f"{machine['load_average_start']} at the start, {machine['load_average_end']} at the end",
        "- tinycnn: `tinycnn train FOLDER` with nothing but a seed. RandomForest: "
        f"scikit-learn's, of {TREES} trees. PyTorch: the same layers with PyTorch's initial "
        f"weights, Adam at {LEARNING_RATE:g}, batches of {BATCH_SIZE}, input of mean 0 and "
        f"deviation 1, {EPOCHS} epochs",
        f"- accuracy in per cent, mean and standard deviation over {n_splits} splits, each with "
        "other test images and another seed; majority is the share of the largest class, told with "
        "the numbers of images of the last split. The lead "
        "is over the best of the others, by the mean of the differences and its standard error",
        "",
        f"| images | to train | to test | majority | {' | '.join(names)} | lead |",
        "|---|" + "---:|" * (len(names) + 4),
        *map(row_text, tasks),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
