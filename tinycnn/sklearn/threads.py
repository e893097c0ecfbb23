"""Threads: what ``n_jobs`` stands for."""

from __future__ import annotations

import os

import joblib
from joblib.parallel import get_active_backend


def threads_of(n_jobs: int | None) -> int:
    """Return how many threads n_jobs stands for.

    joblib tells its worker processes by OMP_NUM_THREADS how many CPUs are for each.
    """
    n_threads: int = joblib.effective_n_jobs(n_jobs)
    backend, _ = get_active_backend()
    share = os.environ.get("OMP_NUM_THREADS", "")
    if backend.nesting_level and share.isdigit():
        n_threads = min(n_threads, max(1, int(share)))
    return n_threads
