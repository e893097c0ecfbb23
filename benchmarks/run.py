"""The one command: measure, print the tables, write JSON, Markdown and plots.

python benchmarks/run.py [--images N] [--repeats N] [--only NAME ...] [--output FOLDER]
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

from benchmarks import report
from benchmarks.experiments import Experiment, every_experiment
from benchmarks.index import write_index
from benchmarks.kinds import RESULTS, cpu_kind, results_folder
from benchmarks.machine import describe_machine, load_average, versions
from benchmarks.measure import measure_experiment
from benchmarks.plots import draw_plots
from benchmarks.workloads import IMAGES, store_data

PEERS = ("tinycnn", "pytorch", "scikit_learn", "numpy_lesson", "sgemm", "onnx_runtime", "python")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return 1 if a contestant failed (a missing one is merely skipped)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="tinycnn-benchmarks-") as folder:
        n_images = store_data(Path(folder), options.images, options.data)
        results = start_results(arguments, n_images, options)
        chosen = choose(every_experiment(n_images), options.only, options.peers)
        for experiment in chosen:
            outcome = measure_experiment(experiment, Path(folder), options.repeats)
            report.add(results, outcome)
            results["machine"]["load_average_end"] = load_average()
            report.write(results, options.output)  # at once, so that an interrupt loses one only
            print(report.text_table(outcome, cpu_kind()), flush=True)
    try:
        results["plots"] = draw_plots(results, options.output)
    except ImportError as error:
        results["skipped"]["plots"] = str(error)
    report.write(results, options.output)
    if options.output.parent == RESULTS:
        write_index()
    print(report.closing_words(results, options.output))
    return 1 if results["failed"] else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=main.__doc__)
    parser.add_argument("--images", type=int, default=IMAGES, help="in an epoch (%(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="of everything (%(default)s)")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="experiments or groups of them; --list has them"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, help="who takes part (all)")
    parser.add_argument("--data", type=Path, help="folder of IDX files to use as images")
    parser.add_argument(
        "--output", type=Path, default=results_folder(), help="folder for the results (%(default)s)"
    )
    parser.add_argument("--list", action=ListNames, nargs=0, help="list the experiments and leave")
    options = parser.parse_args(arguments)
    if options.images < 1 or options.repeats < 1:
        parser.error("--images and --repeats must be at least 1")
    try:
        report.require_same_kind(options.output / "latest.json", cpu_kind())
    except FileExistsError as error:
        parser.error(str(error))
    known = {name for e in every_experiment(options.images) for name in (e.name, e.group)}
    unknown = sorted(set(options.only or ()) - known)
    if unknown:
        parser.error(f"--only: no experiment is called {', '.join(unknown)}; see --list")
    return options


class ListNames(argparse.Action):
    """``--list``: print group, name and title of every experiment."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and leave."""
        for experiment in every_experiment(IMAGES):
            print(f"{experiment.group:10} {experiment.name:28} {experiment.title}")
        parser.exit()


def choose(
    experiments: list[Experiment], only: list[str] | None, peers: list[str] | None
) -> list[Experiment]:
    """Keep the experiments named in only, and in them the contestants of the peers."""
    chosen = [e for e in experiments if only is None or e.name in only or e.group in only]
    if peers is not None:
        chosen = [e.restricted_to(peers) for e in chosen]
    return [e for e in chosen if e.contestants]


def start_results(
    arguments: Sequence[str], n_images: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return what is known before anything is measured."""
    return {
        "format": 1,
        "command": shlex.join(["python", "benchmarks/run.py", *arguments]),
        "data": "generated" if options.data is None else options.data.name,
        "images": n_images,
        "repeats": options.repeats,
        "machine": describe_machine(),
        "versions": versions(),
        "skipped": {},
        "failed": {},
        "plots": [],
        "experiments": [],
    }


if __name__ == "__main__":
    sys.exit(main())
