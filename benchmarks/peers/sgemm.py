"""What this core can do at most: NumPy's product of two 1024 x 1024 matrices of float32."""

from pathlib import Path

import numpy as np

from benchmarks.peers import Job, Prepared
from benchmarks.workloads import FloatArray, Task

SIZE = 1024
PRODUCTS = 10  # in a run


def prepare(task: Task, folder: Path) -> Prepared:
    """Get ready; the seconds are those of one product."""
    a, b = factors()
    out = np.empty((SIZE, SIZE), np.float32)

    def run() -> None:
        for _ in range(PRODUCTS):
            np.matmul(a, b, out=out)

    return Prepared(lambda n: Job(run, lambda: {"product": out}), scale=1 / PRODUCTS)


def factors() -> tuple[FloatArray, FloatArray]:
    """Draw the two matrices."""
    a, b = np.random.default_rng(0).random((2, SIZE, SIZE), np.float32)
    return a, b
