"""Interleaving: all contestants of an experiment run in turn, in rotating order, repeat by repeat.

Every contestant lives in a process of its own, so that none inherits the allocator, the thread
pools or the environment of another. While one runs, the others wait for a line of input.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import checks
from benchmarks.experiments import Contestant, Experiment, Ratio, why_not_here
from benchmarks.peers import Result

WORKER = Path(__file__).with_name("worker.py")

# Libraries' own thread pools get one thread each. tinycnn's threads are an argument of its calls.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)


class SkippedError(Exception):
    """A contestant cannot take part; the message says why."""


class FailedError(Exception):
    """A contestant broke down, or computed something else; the message says how."""


class Worker:
    """The process of one contestant.

    Raises
    ------
    SkippedError
        If something that the contestant needs is not installed or not supported here.
    FailedError
        If it breaks down while preparing.
    """

    def __init__(self, contestant: Contestant, folder: Path) -> None:
        self.process = subprocess.Popen(
            [contestant.python, str(WORKER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(contestant),
        )
        try:
            ready = self._ask(json.dumps(contestant.task._asdict()))
        except BaseException:
            self.close()
            raise
        self.task, self.folder = contestant.task, folder
        self.scale: float = ready["scale"]
        self.facts: dict[str, Any] = ready["facts"]
        self.extra_peak_bytes = 0
        self.page_faults = 0  # of the last run

    def run(self) -> float:
        """Run once; return the seconds, scaled if the contestant does a part or a multiple."""
        answer = self._ask("run")
        self.extra_peak_bytes = max(self.extra_peak_bytes, answer["extra_peak_bytes"])
        self.page_faults = answer["page_faults"]
        return float(answer["seconds"] * self.scale)

    def check(self) -> float | None:
        """Return how far what it computed is from the oracle's; None if there is nothing to check.

        Raises
        ------
        FailedError
            If it is too far.
        """
        path = self.folder / "results.npz"
        self._ask(f"results {checks.checked_images(self.task)} {path}")
        results: dict[str, Result] = {"timed": {}, "checked": {}}
        with np.load(path) as parts:
            for key in parts:
                which, _, name = key.partition("/")
                results[which][name] = parts[key]
        if not results["checked"]:
            return None
        try:
            return checks.error_of(self.task, self.folder, **results)
        except checks.WrongResultError as error:
            raise FailedError(f"wrong result: {error}") from None

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(line, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise FailedError(f"its process ended with code {self.process.wait()}") from None
        words = self.process.stdout.readline()
        if not words:
            raise FailedError(f"its process ended with code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(words)
        if "missing" in answer:
            raise SkippedError(answer["missing"])
        if "failed" in answer:
            raise FailedError(answer["failed"])
        return answer


def _environment(contestant: Contestant) -> dict[str, str]:
    """Return ours without what would steer tinycnn or malloc, and with what the contestant asks.

    Bytecode is kept, as that of an installed package is: the warm-up compiles it, not each import.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("TINYCNN_CPU_LEVEL", "PYTHONDONTWRITEBYTECODE")
        and not name.startswith("MALLOC_")
    }
    return {**inherited, **ONE_THREAD, **contestant.environment}


def measure_experiment(experiment: Experiment, folder: Path, repeats: int) -> dict[str, Any]:
    """Measure all contestants; return a table as it goes into the JSON file."""
    repeats = max(repeats, experiment.min_repeats)
    table: dict[str, Any] = {
        "name": experiment.name,
        "group": experiment.group,
        "title": experiment.title,
        "label": experiment.label,
        "repeats": repeats,
        "shows_memory": experiment.shows_memory,
        "skipped": {},
        "failed": {},
    }
    workers = _start_workers(experiment, folder, table)
    try:
        runners = {name: worker.run for name, worker in workers.items()}
        seconds = interleave(runners, repeats, table["failed"], experiment.name)
        errors = check(workers, seconds, table["failed"])
    finally:
        for worker in workers.values():
            worker.close()
    table["contestants"] = [
        {
            **_row(contestant, workers[contestant.name], seconds[contestant.name]),
            "error": errors[contestant.name],
        }
        for contestant in experiment.contestants
        if contestant.name in errors
    ]
    medians = {row["name"]: row["median"] for row in table["contestants"]}
    table["ratios"] = ratios(experiment.ratios, medians)
    table["sgemm"] = sgemm_share(experiment.flops, medians)
    return table


def _start_workers(
    experiment: Experiment, folder: Path, table: dict[str, Any]
) -> dict[str, Worker]:
    """Start the contestants that can take part; note the others in the table."""
    workers: dict[str, Worker] = {}
    for contestant in experiment.contestants:
        reason = why_not_here(contestant)
        try:
            if reason is not None:
                raise SkippedError(reason)
            workers[contestant.name] = Worker(contestant, folder)
        except SkippedError as reason:
            table["skipped"][contestant.name] = str(reason)
        except FailedError as reason:
            table["failed"][contestant.name] = str(reason)
    return workers


def interleave(
    runners: Mapping[str, Callable[[], float]],
    repeats: int,
    failed: dict[str, str],
    title: str = "",
) -> dict[str, list[float]]:
    """Run all in turn, once to warm up and then repeats times; each repeat starts with another.

    Parameters
    ----------
    runners : dict of callables
        Each runs once and returns its seconds.
    repeats : int
    failed : dict
        Receives the name and message of those that raise FailedError; they drop out.
    title : str
        For the progress on stderr.

    Returns
    -------
    seconds : dict of lists
        In the order of runners, without the run to warm up.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    names = list(runners)
    for repeat in range(repeats + 1):
        shift = repeat % max(len(names), 1)
        for name in names[shift:] + names[:shift]:
            _progress(f"{title}: repeat {repeat} of {repeats}, {name}")
            if name in seconds:
                try:
                    seconds[name].append(runners[name]())
                except FailedError as reason:
                    failed[name] = str(reason)
                    del seconds[name]
    _progress("")
    return {name: measured[1:] for name, measured in seconds.items()}


def check(
    workers: Mapping[str, Worker], measured: Iterable[str], failed: dict[str, str]
) -> dict[str, float | None]:
    """Check everybody who was measured; whoever is wrong is entered in failed, and left out."""
    errors: dict[str, float | None] = {}
    for name in measured:
        _progress(f"checking {name}")
        try:
            errors[name] = workers[name].check()
        except FailedError as reason:
            failed[name] = str(reason)
    _progress("")
    return errors


def _progress(words: str) -> None:
    """Show on the last line of a terminal what is going on; nothing if there is no terminal."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)


def _row(contestant: Contestant, worker: Worker, seconds: list[float]) -> dict[str, Any]:
    """Return the line of a contestant."""
    task = contestant.task
    return {
        "name": contestant.name,
        "peer": task.peer,
        "line": contestant.line,
        "value": contestant.value,
        "n_images": task.n_images,
        "batch_size": task.batch_size,
        "threads": task.n_threads,
        "environment": dict(contestant.environment),
        "seconds": seconds,
        "median": statistics.median(seconds),
        "min": min(seconds),
        "scale": worker.scale,
        "extra_peak_bytes": worker.extra_peak_bytes,
        "page_faults": worker.page_faults,
        "facts": worker.facts,
    }


def ratios(wanted: tuple[Ratio, ...], medians: Mapping[str, float]) -> dict[str, float]:
    """Compute the ratios of medians for which both sides were measured."""
    found = {}
    for ratio in wanted:
        over = [medians[name] for name in ratio.over if name in medians]
        under = [medians[name] for name in ratio.under if name in medians]
        if over and under:
            found[ratio.label] = min(over) / min(under)
    return found


def sgemm_share(flops: int, medians: Mapping[str, float]) -> dict[str, float]:
    """Compare the useful flops per second of tinycnn with the rate of a matrix product."""
    if not flops or not {"tinycnn", "sgemm 1024^3"} <= medians.keys():
        return {}
    rate = flops / medians["tinycnn"]
    sgemm = 2 * 1024**3 / medians["sgemm 1024^3"]
    return {
        "useful_gflops_per_second": rate / 1e9,
        "sgemm_gflops_per_second": sgemm / 1e9,
        "fraction": rate / sgemm,
    }
