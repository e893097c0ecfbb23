"""What this core can do at most: NumPy's product of two 1024 x 1024 matrices of float32."""

from pathlib import Path

import numpy as np

from benchmarks.peers import Job, Prepared
from benchmarks.workloads import Task

SIZE = 1024
PRODUCTS = 10  # in a run


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready; the seconds are those of one product."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, SIZE, SIZE), np.float32)
    out = np.empty((SIZE, SIZE), np.float32)

    def run() -> None:
        for _ in range(PRODUCTS):
            np.matmul(a, b, out=out)

    return Prepared(lambda: Job(run), scale=1 / PRODUCTS)
