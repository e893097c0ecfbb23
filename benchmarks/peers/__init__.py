"""The contestants, one file each, with one function that the worker calls.

    prepare(task, folder) -> Prepared

The file imports its library (an ImportError means that the peer is skipped), and the function
loads and converts the data; neither is timed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# What came out of a run, for checks.py: see there what it wants of each action.
Result = dict[str, npt.NDArray[Any]]


class CannotTakePartError(Exception):
    """The task is none for this peer, or for this version of it; the message says why."""


class Job(NamedTuple):
    """One run from a fresh start.

    Attributes
    ----------
    run : callable
        What is timed. Returns None, or the seconds if it has a clock of its own.
    result : callable, optional
        Called afterwards, not timed: hands over what came out, to be checked by another process.
    """

    run: Callable[[], float | None]
    result: Callable[[], Result] | None = None


class Prepared(NamedTuple):
    """A peer that is ready to run.

    Attributes
    ----------
    fresh : callable
        Takes a number of images; returns the job of working on the first so many of them, all of
        them at most, from the start: with a network of initial parameters. Not timed.
    scale : float
        Factor from the seconds of a run to the seconds of the task, for peers that do a part of
        the task, or the task several times.
    facts : mapping
        What is worth knowing about the peer's settings.
    """

    fresh: Callable[[int], Job]
    scale: float = 1.0
    facts: Mapping[str, Any] = {}


def join(parameters: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Lay parameters end to end, in the order of the network's layers."""
    return np.concatenate([value.ravel() for value in parameters.values()])
