"""Threads: what ``n_jobs`` stands for."""

from __future__ import annotations

import os

import joblib
from joblib.parallel import get_active_backend


def threads_of(n_jobs: int | None) -> int:
    """Return how many threads n_jobs stands for.

    Where joblib runs tasks side by side, OMP_NUM_THREADS says how many CPUs are for each. A task on
    Dask has one unless it says more: joblib would count the cores of the whole cluster.
    """
    backend, _ = get_active_backend()
    share = os.environ.get("OMP_NUM_THREADS", "")
    most = max(1, int(share)) if share.isdigit() else None
    if type(backend).__name__ == "DaskDistributedBackend":
        most = most or 1
        return min(n_jobs, most) if n_jobs is not None and n_jobs > 0 else most
    n_threads: int = joblib.effective_n_jobs(n_jobs)
    return min(n_threads, most) if backend.nesting_level and most else n_threads
