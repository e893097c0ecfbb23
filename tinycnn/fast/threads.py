"""Threads: how many to use, and the pool of workers that they all share.

The pool is made when it is first needed. It survives fork (a child makes its own) and Ctrl-C (the
kernels finish the job at hand before Python gets to see the interrupt, so no worker writes to an
array after the call has returned).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinycnn._checks import as_count
from tinycnn.fast.dispatch import kernels

# How many times a waiting thread looks for work before it goes to sleep: some 100 microseconds,
# longer than a training run needs between two batches, and too short to matter to anybody else.
LOOKS = 4000

_in_use = threading.RLock()
_pool: Any = None
_lent: Any = None  # the pool, while it is in use


def resolve_threads(n_threads: int | None) -> int:
    """Return the number of threads to use: n_threads, or as many as this process has CPUs."""
    if n_threads is not None:
        return as_count("n_threads", n_threads, 1)
    return _available_cpus()


def _available_cpus() -> int:
    """Return the number of CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def borrowed_pool(n_threads: int) -> Iterator[Any]:
    """Lend a pool with the workers that n_threads threads need beside the caller's own.

    Lends a pool without workers when another thread is using the workers: two trainings at once
    each get a core, and the same results.
    """
    global _lent
    if n_threads > 1 and _in_use.acquire(blocking=False):
        outer = _lent
        # Within a training, a callback that predicts gets the training's workers, as many as there
        # are: a larger pool would take their place while the training counts on them.
        _lent = outer or _shared_pool(n_threads - 1)
        try:
            yield _lent
        finally:
            _lent = outer
            _in_use.release()
    else:
        yield kernels.Pool(0, 0)


def _shared_pool(n_workers: int) -> Any:
    """Return the shared pool, made anew if it has fewer workers."""
    global _pool
    if _pool is None or _pool.n_workers < n_workers:
        if _pool is not None:
            _pool.close()
        # More threads than CPUs would only keep each other from working by looking.
        _pool = kernels.Pool(n_workers, LOOKS if n_workers < _available_cpus() else 0)
        for worker in range(_pool.n_workers):
            threading.Thread(
                target=_pool.work, args=(worker,), name=f"tinycnn-{worker}", daemon=True
            ).start()
    return _pool


def _forget_pool() -> None:
    """Start over in a forked child, where the parent's threads do not exist."""
    global _pool, _lent, _in_use
    _pool, _lent, _in_use = None, None, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
