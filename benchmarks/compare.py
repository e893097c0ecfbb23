"""Before and after: this tinycnn beside that of another commit, interleaved.

python benchmarks/compare.py COMMIT [--only NAME ...] [--images N] [--rounds N] [--repeats N]

Builds the commit in a temporary folder, in an environment of its own with the same NumPy, and runs
tinycnn's part of the experiments in both, in turn. Each round starts new processes, since where a
process has its memory moves its times by a per cent or two. A ratio above 1: slower than before.

It compares what is installed for the interpreter that runs it. Compared with the commit that is
checked out, it tells how large the differences are that mean nothing.
"""

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

from benchmarks.experiments import Experiment, Ratio, every_experiment
from benchmarks.kinds import cpu_kind
from benchmarks.machine import load_average
from benchmarks.measure import measure_experiment
from benchmarks.report import absentees, seconds_text
from benchmarks.workloads import IMAGES, store_data

ROOT = Path(__file__).resolve().parent.parent
BEFORE, AFTER = "before", "after"
COLUMNS = (52, 10, 10, 8, 8, 16)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, measure, print; return 1 if something failed."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    commit = resolve(options.commit)
    failed = False
    with tempfile.TemporaryDirectory(prefix="tinycnn-compare-") as folder:
        python = build(commit, Path(folder))
        n_images = store_data(Path(folder), options.images, None)
        print(f"{cpu_kind()}, load average {load_average()}; before: {commit[:10]}")
        print_row("", BEFORE, AFTER, "ratio", "of minima", "round by round")
        for pair in pairs(every_experiment(n_images), options.only, python):
            tables = [
                measure_experiment(pair, Path(folder), options.repeats)
                for _ in range(options.rounds)
            ]
            failed = failed or any(table["failed"] for table in tables)
            print_pair(pair, tables)
        print(f"load average {load_average()} at the end")
    return int(failed)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/compare.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("commit", help="whatever git knows: a hash, a tag, HEAD~1")
    parser.add_argument(
        "--only", nargs="+", default=["epochs"], metavar="NAME",
        help="experiments or groups of them, as run.py --list has them (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--images", type=int, default=IMAGES, help="in an epoch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of new processes (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="in a round (%(default)s)")
    options = parser.parse_args(arguments)
    if min(options.images, options.rounds, options.repeats) < 1:
        parser.error("--images, --rounds and --repeats must be at least 1")
    if not list(pairs(every_experiment(options.images), options.only, "")):
        parser.error(f"--only: nothing of tinycnn is in {' '.join(options.only)}")
    return options


def resolve(commit: str) -> str:
    """Return the hash of a commit.

    Raises
    ------
    SystemExit
        If git does not know it.
    """
    command = [
        "git",
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{commit}^{{commit}}",
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SystemExit(f"compare.py: git knows no commit {commit!r} in {ROOT}")
    return found.stdout.strip()


def build(commit: str, folder: Path) -> str:
    """Install a commit's tinycnn into a new environment; return its interpreter."""
    source, environment = folder / "source", folder / "environment"
    archive = folder / "source.tar"
    run("git", "archive", "--output", str(archive), commit, cwd=ROOT)
    source.mkdir()
    run("tar", "--extract", "--file", str(archive), "--directory", str(source))
    run(sys.executable, "-m", "venv", str(environment))
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    numpy = f"numpy=={metadata.version('numpy')}"
    run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", numpy, ".",
        cwd=source)  # fmt: skip
    return str(python)


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a command; leave with what it printed if it fails."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=inherited, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}{done.stderr}compare.py: failed: {' '.join(command)}")


def pairs(experiments: Sequence[Experiment], only: Sequence[str], python: str) -> list[Experiment]:
    """Make an experiment of each of tinycnn's contestants: before and after."""
    return [
        Experiment(
            name=f"{experiment.name}, {contestant.name}",
            group="compare",
            title=experiment.name + f", {contestant.name}" * (contestant.name != "tinycnn"),
            contestants=(
                dataclasses.replace(contestant, name=BEFORE, python=python),
                dataclasses.replace(contestant, name=AFTER),
            ),
            ratios=(Ratio("after / before", (AFTER,), (BEFORE,)),),
            shows_memory=experiment.shows_memory,
        )
        for experiment in experiments
        if experiment.name in only or experiment.group in only
        for contestant in experiment.contestants
        if contestant.task.peer == "tinycnn"
    ]


def print_pair(pair: Experiment, tables: Sequence[dict[str, Any]]) -> None:
    """Print the times of both over all rounds, their ratio, and who could not take part."""
    rounds = [{row["name"]: row for row in table["contestants"]} for table in tables]
    both = [rows for rows in rounds if {BEFORE, AFTER} <= rows.keys()]
    if both:
        before, after = ([s for rows in both for s in rows[w]["seconds"]] for w in (BEFORE, AFTER))
        medians = statistics.median(before), statistics.median(after)
        each = [rows[AFTER]["median"] / rows[BEFORE]["median"] for rows in both]
        print_row(
            pair.title,
            *map(seconds_text, medians),
            f"{medians[1] / medians[0]:.3f}",
            f"{min(after) / min(before):.3f}",
            " ".join(f"{ratio:.2f}" for ratio in each),
        )
    if both and pair.shows_memory:
        print_row("  extra memory", *(memory_text(both, which) for which in (BEFORE, AFTER)))
    if not both:
        print_row(pair.title)
    for line in dict.fromkeys(line for table in tables for line in absentees(table)):
        print(f"  {line}")


def memory_text(rounds: Sequence[dict[str, dict[str, Any]]], which: str) -> str:
    """Return the most memory that one of the two took beyond its images."""
    return f"{max(rows[which]['extra_peak_bytes'] for rows in rounds) / 1e6:.1f} MB"


def print_row(name: str, *cells: str) -> None:
    """Print a line of the table."""
    padded = [cell.rjust(width) for cell, width in zip(cells, COLUMNS[1:], strict=False)]
    print("  ".join([name.ljust(COLUMNS[0]), *padded]).rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
