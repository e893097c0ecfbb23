"""Clusters for tests: workers that are threads of this process, or processes; never a dashboard."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")


@contextmanager
def cluster(n_workers: int, *, processes: bool = False) -> Iterator[distributed.Client]:
    """Give a client of a cluster of workers with a thread each, and leave nothing of it behind."""
    before, environment = set(threading.enumerate()), dict(os.environ)
    arguments = {"threads_per_worker": 1, "dashboard_address": ":0", "processes": processes}
    with (
        # Who looks for a lost worker just when it is lost once more would not start it again.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        distributed.LocalCluster(n_workers=n_workers, **arguments) as local,
        distributed.Client(local) as client,
    ):
        yield client
    os.environ.clear()  # Dask sets OMP_NUM_THREADS for its processes here, too
    os.environ.update(environment)
    assert (local.status.name, client.status) == ("closed", "closed")
    assert not started_since(before), f"threads stay: {started_since(before)}"


def started_since(before: set[threading.Thread], seconds: float = 5) -> list[str]:
    """Name the threads of workers and clients that do not end in some seconds.

    Dask keeps some threads for the life of the process: those that serialise, and its profiler.
    """
    kept = (
        "Profile",
        "Dask-Offload",
        "Dask-Callback",
        "TCP-Executor",
        "AsyncProcess",
        "tqdm",
    )
    deadline = time.monotonic() + seconds
    while True:
        new = [t.name for t in threading.enumerate() if t not in before]
        left = [name for name in new if not name.startswith(kept)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)
