"""Threads: how many to use, and the pool of workers that they all share.

There is one pool for all networks. Its workers start when they are first needed and stay. Whoever
computes takes them for one pass over some images and gives them back before Python sees anything
of it; who comes meanwhile computes on one thread, with the same results. A child that was forked
has a pool of its own. Where the system has no thread to give, there is one worker less.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from tinycnn._checks import as_count
from tinycnn.fast.dispatch import kernels

if TYPE_CHECKING:
    from concurrent.futures import Future

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# More would each take memory to work in, on machines that have so many CPUs.
MAX_THREADS = 256


def resolve_threads(n_threads: int | None) -> int:
    """Return the number of threads to use: n_threads, or as many as this process has CPUs."""
    wanted = _available_cpus() if n_threads is None else as_count("n_threads", n_threads, 1)
    return min(wanted, MAX_THREADS)


def _available_cpus() -> int:
    """Return the number of CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], n_threads: int
) -> Iterator[_Result]:
    """Yield what a function makes of each item, in their order, computed by threads of Python.

    At most one item a thread, and one more, is under way or waits to be taken. Whoever leaves
    early waits for those that have begun.
    """
    if n_threads == 1:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # a fifth of the time to import tinycnn

    with ThreadPoolExecutor(n_threads) as threads:
        ahead: deque[Future[_Result]] = deque()
        for item in items:
            ahead.append(threads.submit(function, item))
            if len(ahead) > n_threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


class _Shared:
    """The pool of this process, and how many threads it was given."""

    def __init__(self) -> None:
        self.pool = kernels.Pool(_available_cpus())
        self.hiring = threading.RLock()
        self.n_started = 0

    def hire(self, n_workers: int) -> None:
        """Start what is missing of so many workers, as far as the system has threads to give."""
        with self.hiring:
            while self.n_started < n_workers:
                try:
                    # A threading.Thread waits until it runs: for ever, where memory is too short.
                    _thread.start_new_thread(self.pool.work, ())
                except (RuntimeError, MemoryError):
                    return
                # Only now: an interrupt before this makes one worker too many, which harms nobody.
                self.n_started += 1


_shared = _Shared()


def pool_for(n_threads: int) -> kernels.Pool:
    """Return the pool, with the workers that n_threads threads need beside the caller's own."""
    shared = _shared
    if shared.n_started < n_threads - 1:
        shared.hire(n_threads - 1)
    return shared.pool


def _start_over() -> None:
    """Make a new pool in a forked child, where the parent's threads do not exist."""
    global _shared
    _shared = _Shared()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)
