"""A function over many files, by several threads, in order and without running far ahead."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_ITEMS_A_TASK = 16  # a task a picture would cost as much as a small picture
_MOST_THREADS = 8


def n_decoders() -> int:
    """Threads that decode: one per processor this process may use, eight at most."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)


def map_in_order(
    function: Callable[[_In], _Out], items: Iterable[_In], n_threads: int | None = None
) -> Iterator[_Out]:
    """Yield function(item) of each item, in order; at most a few dozen are under way at once.

    What `function` raises is raised here. Whoever stops early should close the iterator.
    """
    n_threads = n_threads or n_decoders()
    iterator = iter(items)
    pending: deque[Future[list[_Out]]] = deque()

    def do(chunk: list[_In]) -> list[_Out]:
        return [function(item) for item in chunk]

    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="tinycnn-read")
    try:
        while True:
            while len(pending) < 2 * n_threads:
                chunk = list(islice(iterator, _ITEMS_A_TASK))
                if not chunk:
                    break
                pending.append(pool.submit(do, chunk))
            if not pending:
                return
            yield from pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
