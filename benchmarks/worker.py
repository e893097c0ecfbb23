"""One contestant in a process of its own: prepares its task, then runs it whenever told to.

Started by ``measure.py`` with the folder of the data as argument. It reads the task as a line of
JSON and answers with one line. Of the lines that follow, "run" is one run, answered with its time;
"results N FILE" runs once more on N images, and writes what came out of that and of the run before
into a file, for ``checks.py``.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np

if not __package__:  # run as a file: let an installed tinycnn come before the one beside us
    here = Path(__file__).resolve().parent
    sys.path[:] = [*(path for path in sys.path if path != str(here)), str(here.parent)]

from benchmarks.peers import CannotTakePartError, Job, Prepared
from benchmarks.workloads import Task

resource: Any = import_module("resource") if sys.platform != "win32" else None

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


def main() -> None:
    """Serve one task."""
    lines, answers = sys.stdin, os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    try:
        task = Task(**json.loads(lines.readline()))
        prepared = prepare(task, Path(sys.argv[1]))
        answer(answers, {"ready": True, "scale": prepared.scale, "facts": facts(prepared)})
        serve(task, prepared, lines, answers)
    except (ImportError, CannotTakePartError) as error:
        answer(answers, {"missing": str(error)})
    except Exception as error:
        traceback.print_exc()
        answer(answers, {"failed": f"{type(error).__name__}: {error}"})


def prepare(task: Task, folder: Path) -> Prepared:
    """Let the peer get ready for its task."""
    peer = import_module(f"benchmarks.peers.{task.peer}")
    prepared: Prepared = peer.prepare(task, folder)
    return prepared


def serve(task: Task, prepared: Prepared, lines: TextIO, answers: TextIO) -> None:
    """Run once, or hand over results, for every line."""
    reset_peak_memory()
    peak_before = peak_memory()
    job: Job | None = None
    for line in lines:
        command, *arguments = line.rstrip("\n").split(" ", 2)
        if command == "results":
            assert job is not None
            n_images, path = arguments
            hand_over(job, prepared.fresh(int(n_images)), Path(path))
            answer(answers, {"handed_over": True})
            continue
        job = None  # let go of the last one's memory
        job = prepared.fresh(task.n_images)
        faults_before = page_faults()
        seconds = timed(job.run)
        measured = {
            "seconds": seconds,
            "page_faults": page_faults() - faults_before,
            "extra_peak_bytes": peak_memory() - peak_before,
        }
        answer(answers, measured)


def hand_over(last: Job, small: Job, path: Path) -> None:
    """Write the results of the last timed job, and of a small one, into one file."""
    small.run()
    jobs = (("timed", last), ("checked", small))
    parts = {
        f"{which}/{name}": array
        for which, job in jobs
        if job.result is not None
        for name, array in job.result().items()
    }
    np.savez(path, **parts)  # type: ignore[arg-type]


def timed(run: Callable[[], float | None]) -> float:
    """Return the seconds of a run by the wall clock, or by its own if it has one."""
    start = time.perf_counter()
    own_seconds = run()
    seconds = time.perf_counter() - start
    return seconds if own_seconds is None else own_seconds


def facts(prepared: Prepared) -> dict[str, Any]:
    """Collect what proves the settings: the peer's own facts and the threads of its libraries."""
    found = dict(prepared.facts)
    with contextlib.suppress(ImportError):
        from threadpoolctl import threadpool_info

        found["thread_pools"] = [
            {key: pool.get(key) for key in ("prefix", "version", "num_threads")}
            for pool in threadpool_info()
        ]
    return found


def peak_memory() -> int:
    """Return the most memory that this process has had resident, in bytes.

    Linux's VmHWM where there is one: ru_maxrss starts at the peak of the parent process.
    """
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) if resource else 0
    return peak if sys.platform == "darwin" else peak * 1024


def page_faults() -> int:
    """Return how many pages this process has had to ask the system for."""
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt) if resource else 0


def reset_peak_memory() -> None:
    """Have the peak start anew from what is resident now, where the system allows it."""
    with contextlib.suppress(OSError):
        CLEAR_REFS.write_text("5")


def answer(answers: TextIO, words: dict[str, Any]) -> None:
    """Send one line."""
    print(json.dumps(words), file=answers, flush=True)


if __name__ == "__main__":
    main()
