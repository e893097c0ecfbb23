"""Import times in new interpreters. Actions: numpy; tinycnn (on top of numpy)."""

import subprocess
import sys
from pathlib import Path

from benchmarks.peers import Job, Prepared
from benchmarks.workloads import Task

CODE = """
import sys, time
sys.path[:] = {path!r}
{before}
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready; the clock is in the new interpreter, its own start is not counted."""
    before = "import numpy" if task.action == "tinycnn" else ""
    code = CODE.format(path=sys.path, before=before, module=task.action)
    command = [sys.executable, "-c", code]

    def run() -> float:
        output = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(output.stdout)

    return Prepared(lambda n: Job(run))
