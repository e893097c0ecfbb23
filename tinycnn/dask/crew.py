"""The crew: workers that hold shards, asked one question at a time.

A question is a task for each shard, and an answer the results in the order of the shards. Dask
makes the shards of a lost worker again on another one; the same task gives the same bits there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

import dask
import distributed
import numpy as np
from dask.delayed import Delayed

from tinycnn._checks import as_rate, shown
from tinycnn.dask.parts import Shards, hold
from tinycnn.network import CNN

TIMEOUT = 600.0  # seconds; more than the 300 after which Dask gives a silent worker up

# How often the cluster may forget all that it holds, as when it is restarted, in one question.
MOST_RESTARTS = 3

# A message of more bytes is put on a worker once, instead of into each task.
LARGE_MESSAGE = 2**20


class Crew:
    """Workers with a part of the data each.

    Parameters
    ----------
    parts : sequence of Delayed
        Each gives what a worker is to hold. They are made again where they are lost.
    client : distributed.Client or None
        None for the default client.
    timeout : float
        Seconds that any answer may take.
    """

    def __init__(
        self, parts: Sequence[Delayed], client: distributed.Client | None, timeout: float
    ) -> None:
        self._parts = list(parts)
        self._client = _checked_client(client)
        self._timeout = as_rate("timeout", timeout)
        if self._timeout == 0:
            raise ValueError("timeout: must be above 0 seconds, got 0")
        self._held: list[distributed.Future] = []

    def __enter__(self) -> Crew:
        """Let the workers make their parts."""
        self._hold()
        return self

    def __exit__(self, *error: object) -> None:
        """Let the workers forget them."""
        self._held.clear()

    def ask(self, work: Callable[..., Any], message: Any = None) -> list[Any]:
        """Call work(part, message) for every part; return the results in the order of the parts.

        Raises
        ------
        TimeoutError
            If it takes too long.
        RuntimeError
            If workers die of it, or the cluster forgets what it holds again and again.
        Exception
            What a task raises.
        """
        for _ in range(MOST_RESTARTS):
            try:
                return self._answers(work, message)
            except CancelledError:
                self._hold()
        raise RuntimeError(
            f"the cluster lost its shards {MOST_RESTARTS} times in a row: if they rest on data "
            "scattered or persisted there, these are gone; give what they are made from"
        )

    def _hold(self) -> None:
        self._held = self._client.compute(self._parts)

    def _answers(self, work: Callable[..., Any], message: Any) -> list[Any]:
        """Ask once."""
        if _size(message) > LARGE_MESSAGE:
            message = self._client.scatter(message, hash=False, timeout=self._timeout)
        futures = [self._client.submit(work, part, message, pure=False) for part in self._held]

        async def gather() -> list[Any]:
            answers: list[Any] = await self._client.gather(futures, asynchronous=True)
            return answers

        try:
            answers: list[Any] = self._client.sync(gather, callback_timeout=self._timeout)
            return answers
        except TimeoutError as error:
            self._client.cancel(futures)
            raise TimeoutError(
                f"timeout: no answer from all {len(futures)} shards after {self._timeout:g} s; are "
                "there workers that run, and have they enough memory? Give a longer timeout, or "
                "smaller shards"
            ) from error
        except distributed.KilledWorker as error:
            raise RuntimeError(
                f"a task killed its workers again and again, as it does where memory is short: "
                f"{error}; give smaller shards, or workers more memory"
            ) from error


def crew_of(
    net: CNN, data: Any, client: distributed.Client | None, timeout: float = TIMEOUT
) -> Crew:
    """Give the shards of some data to a crew, with the network to compute with."""
    if not isinstance(net, CNN):
        raise TypeError(f"net: must be a tinycnn.CNN, got {shown(net)}")
    if not isinstance(data, Shards):
        raise TypeError(f"shards: must be what tinycnn.dask.shards returns, got {shown(data)}")
    model = dask.delayed(copy.deepcopy(net), pure=True)
    held = dask.delayed(hold, pure=True)
    return Crew([held(part, model, i) for i, part in enumerate(data.parts)], client, timeout)


def _checked_client(client: distributed.Client | None) -> distributed.Client:
    """Return the client, or the default one."""
    if client is None:
        try:
            client = distributed.default_client()
        except ValueError as error:
            raise ValueError(
                "client: there is none; make one first: client = dask.distributed.Client()"
            ) from error
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client: must be a dask.distributed.Client, got {shown(client)}")
    if client.asynchronous:
        raise ValueError("client: must be one with asynchronous=False")
    return client


def _size(message: Any) -> int:
    """Count the bytes of the arrays in a message."""
    if isinstance(message, np.ndarray):
        return message.nbytes
    if isinstance(message, dict):
        return sum(map(_size, message.values()))
    return sum(map(_size, message)) if isinstance(message, tuple) else 0
